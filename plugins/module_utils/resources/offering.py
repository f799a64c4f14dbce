# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 4: disk and compute offerings of CloudStack with their limits and their StorPool tier.

Facts: reference sheet cloudstack-storpool, table 0.3 and section 5.7 (what reaches StorPool), and sheet cloudstack-api (parameters: what
an offering is made with and what an update takes).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .._cloudstack import CloudStack, Command
from .._errors import ChangeRefused, OptionError
from .._plan import Change, Plan
from .._units import format_size, parse_size, parse_template_name, parse_whole
from ._cloud import Directory, alone, one_of, parse_names, parse_tags, parse_text, twin_of
from ._shared import quiet

GIB = 1 << 30
QOS_CLASS, TEMPLATE = "SP_QOSCLASS", "SP_TEMPLATE"
TIERS_SINCE = (4, 20)
ROOT_WITHOUT_IOPS_SINCE = (4, 21)
ACTIVE, INACTIVE = "Active", "Inactive"
_MOST = (1 << 31) - 1  # of CloudStack's integers


@dataclass(frozen=True)
class Kind:
    """How CloudStack calls one kind of offering: in its commands, as resource type of details, and where the details are."""

    noun: str
    key: str
    details: str
    tags: str
    tags_update: str
    encrypted: str

    def call(self, verb: str) -> str:
        """Return a command, as ``createDiskOffering``."""
        return f"{verb}{self.noun}{'s' if verb == 'list' else ''}"


KINDS = {
    "disk": Kind("DiskOffering", "diskoffering", "details", "tags", "tags", "encrypt"),
    "compute": Kind("ServiceOffering", "serviceoffering", "serviceofferingdetails", "storagetags", "storagetags", "encryptroot"),
}

# Fields that CloudStack takes only when an offering is made: name in results -> (parameter of the creation, key of listings), by kind.
_FIXED: dict[str, dict[str, tuple[str, str]]] = {
    "disk": {
        "size": ("disksize", "disksize"),
        "custom_size": ("customized", "iscustomized"),
        "strict_size": ("disksizestrictness", "disksizestrictness"),
    },
    "compute": {
        "cpu_number": ("cpunumber", "cpunumber"),
        "cpu_speed": ("cpuspeed", "cpuspeed"),
        "memory": ("memory", "memory"),
        "offer_ha": ("offerha", "offerha"),
        "root_size": ("rootdisksize", "rootdisksize"),
    },
}
_FIXED_IN_BOTH = {
    "min_iops": ("miniops", "miniops"),
    "max_iops": ("maxiops", "maxiops"),
    "custom_iops": ("customizediops", "iscustomizediops"),
    "provisioning_type": ("provisioningtype", "provisioningtype"),
}
_IN_GIB = ("size", "root_size")
_WHOLE = {"min_iops": 0, "max_iops": 0, "cpu_number": 1, "cpu_speed": 1, "memory": 32}
# What an offering is when its creation does not say otherwise.
_UNSAID = {"custom_size": False, "strict_size": False, "custom_iops": False, "offer_ha": False, "provisioning_type": "thin"}

_DELETE_HINTS = (("in use", "volumes or VMs have it; move them to another offering, or use state: inactive"),)


@dataclass
class WantedOffering:
    """One declared offering. ``fixed`` and ``tags`` hold what was given; ``details`` maps a key to its value, ``None`` to be without it."""

    label: str
    kind: str
    state: str
    name: str | None = None
    id: str | None = None
    renamed_from: str | None = None
    display_text: str | None = None
    fixed: dict[str, Any] = field(default_factory=dict)
    encrypt: bool | None = None
    storage_tags: list[str] | None = None
    host_tags: list[str] | None = None
    details: dict[str, str | None] = field(default_factory=dict)
    zones: list[str] | None = None
    domains: list[str] | None = None

    def names(self) -> Sequence[str]:
        return [f"{self.kind}/{name}" for name in (self.id, self.name, self.renamed_from) if name]

    def needs(self) -> Sequence[str]:
        return ()


@dataclass
class World:
    """What was read: the offerings by kind, ids of zones and domains by the name given, StorPool's templates, the server's version.

    ``templates`` and ``version`` are ``None`` when nothing declared depends on them; ``refused`` has the error of a name that is none.
    """

    offerings: dict[str, list[dict[str, Any]]]
    ids: dict[tuple[str, str], str] = field(default_factory=dict)
    refused: dict[tuple[str, str], OptionError] = field(default_factory=dict)
    templates: frozenset[str] | None = None
    version: tuple[int, ...] | None = None


class Offerings:
    """Disk and compute offerings, as the runner manages them."""

    kind = "offering"

    # -- desired

    def parse(self, options: Mapping[str, Any], now: float) -> WantedOffering:
        """Return what is wanted of one offering. :raises OptionError: names the option that cannot be meant."""
        texts = parse_names(options)
        label = texts["name"] or texts["id"]
        wanted = WantedOffering(label, options["type"], options["state"], **texts)
        wanted.display_text = parse_text(options, "display_text")  # CloudStack would enter the name for an empty one
        wanted.encrypt = options["encrypt"]
        self._parse_fixed(options, wanted)
        for name in ("storage_tags", "host_tags"):
            if options[name] is not None:
                setattr(wanted, name, parse_tags(options[name], name, label))
        if wanted.host_tags is not None and wanted.kind == "disk":
            raise OptionError("host_tags", options["host_tags"], "is an option of compute offerings", item=label)
        self._parse_details(options, wanted)
        for name in ("zones", "domains"):
            if options[name] is not None:
                setattr(wanted, name, list(dict.fromkeys(str(one).strip() for one in options[name])))
        return wanted

    @staticmethod
    def _parse_fixed(options: Mapping[str, Any], wanted: WantedOffering) -> None:
        other = "compute" if wanted.kind == "disk" else "disk"
        for name in _FIXED[other]:
            if options[name] is not None:
                raise OptionError(
                    name, options[name], f"is an option of {other} offerings, this is a {wanted.kind} offering", item=wanted.label
                )
        for name in (*_FIXED[wanted.kind], *_FIXED_IN_BOTH):
            value = options[name]
            if value is None:
                continue
            if name in _IN_GIB:
                value = parse_size(value, name)
                if value % GIB:
                    raise OptionError(name, options[name], "must be whole gibibytes, CloudStack's unit, as in 10G", item=wanted.label)
            elif name in _WHOLE:
                value = parse_whole(value, _WHOLE[name], _MOST)
                if value is None:
                    raise OptionError(name, options[name], f"must be a whole number, {_WHOLE[name]} or more", item=wanted.label)
            wanted.fixed[name] = value
        fixed = wanted.fixed
        if fixed.get("min_iops", 0) > fixed.get("max_iops", _MOST):
            raise OptionError("min_iops", fixed["min_iops"], f"is above max_iops ({fixed['max_iops']})", item=wanted.label)
        if "min_iops" in fixed and "max_iops" not in fixed:
            raise OptionError("min_iops", fixed["min_iops"], "needs max_iops; CloudStack takes both or none", item=wanted.label)
        for given, without in (("custom_iops", "max_iops"), ("custom_size", "size")):
            if fixed.get(given) and without in fixed:
                raise OptionError(without, fixed[without], f"cannot be combined with {given}: true", item=wanted.label)

    @staticmethod
    def _parse_details(options: Mapping[str, Any], wanted: WantedOffering) -> None:
        details = {str(key): None if value is None else str(value) for key, value in (options["details"] or {}).items()}
        for option, key in (("qos_class", QOS_CLASS), ("template", TEMPLATE)):
            if key in details:
                raise OptionError("details", key, f"has an option of its own, {option}", item=wanted.label)
            value = options[option]
            if value is not None:
                value = value.strip()
                details[key] = (parse_template_name(value) if option == "template" else value) if value else None
        if wanted.kind == "compute" and details.get(QOS_CLASS):
            raise OptionError(
                "qos_class", details[QOS_CLASS], "is read from disk offerings only; give it to one of those", item=wanted.label
            )
        empty = [key for key, value in details.items() if value == ""]
        if empty:
            raise OptionError("details", empty[0], "has an empty value, which CloudStack does not take; null removes it", item=wanted.label)
        wanted.details = details

    # -- observe

    def observe(self, client: CloudStack, wanted: Sequence[WantedOffering]) -> World:
        """List the offerings of each kind once; zones, domains, StorPool's templates and the version only where they matter."""
        directory = Directory(client)
        kinds = {one.kind for one in wanted}
        world = World({kind: _listing(client, kind) for kind in KINDS if kind in kinds})
        present = [one for one in wanted if one.state != "absent"]
        for option, find in (("zones", directory.zone), ("domains", directory.domain)):
            for name in dict.fromkeys(name for one in present for name in getattr(one, option) or ()):
                try:
                    world.ids[option, name] = find(name, option)
                except OptionError as exc:
                    world.refused[option, name] = exc
        if any(one.details.get(TEMPLATE) for one in present):
            world.templates = frozenset(template["name"] for template in client.storpool.templates())
        if any(one.details.get(QOS_CLASS) or one.details.get(TEMPLATE) or one.fixed.get("max_iops") for one in present):
            world.version = client.version
        return world

    # -- plan

    def plan(self, wanted: WantedOffering, world: World) -> Plan:
        """Return what it takes to have the offering as declared. Pure."""
        try:
            present = self._find(wanted, world)
            shown = present and _shown(present, wanted.kind)
            if wanted.state == "absent":
                return self._plan_absent(wanted, shown)
            self._check(wanted, world)
            return self._plan_new(wanted, world) if shown is None else self._plan_present(wanted, shown, world)
        except (OptionError, ChangeRefused) as exc:
            present = quiet(self._find, wanted, world)
            document = present and _shown(present, wanted.kind)
            return Plan(wanted.label, document, document, refused=exc)

    @staticmethod
    def _find(wanted: WantedOffering, world: World) -> Mapping[str, Any] | None:
        offerings = world.offerings[wanted.kind]
        what = f"{wanted.kind} offering"
        if wanted.id:
            found = next((one for one in offerings if one["id"] == wanted.id), None)
            if found is None and wanted.state != "absent":
                raise OptionError("id", wanted.id, f"is the id of no {what}")
            return found
        by_name = one_of([one for one in offerings if one["name"] == wanted.name], wanted.name, "name", what)
        if wanted.renamed_from and (by_name is None or wanted.state == "absent"):
            former = one_of([one for one in offerings if one["name"] == wanted.renamed_from], wanted.renamed_from, "renamed_from", what)
            return alone(by_name, former, wanted)
        return by_name

    @staticmethod
    def _check(wanted: WantedOffering, world: World) -> None:
        """:raises CollectionError: what is declared cannot work here."""
        for option in ("zones", "domains"):
            for name in getattr(wanted, option) or ():
                if (option, name) in world.refused:
                    raise world.refused[option, name]
        template = wanted.details.get(TEMPLATE)
        if template and template not in world.templates:
            known = ", ".join(sorted(world.templates)) or "none"
            raise OptionError("template", template, f"is no template of this StorPool; there are: {known}", item=wanted.label)
        tiers = [option for option, key in (("qos_class", QOS_CLASS), ("template", TEMPLATE)) if wanted.details.get(key)]
        if tiers and world.version < TIERS_SINCE:
            version = ".".join(map(str, world.version))
            raise ChangeRefused(
                f"{' and '.join(tiers)} of offering {wanted.label} would have no effect: CloudStack {version} does not read it",
                hint="it does from 4.20 on; until then one storage pool for each StorPool template, chosen by storage_tags, does the same",
            )

    @staticmethod
    def _traps(after: Mapping[str, Any], world: World) -> Iterator[str]:
        """Yield what an offering, as it will be, does not do although it says so; by version when a declared option made it be read."""
        qos, template, limited = after["details"].get(QOS_CLASS), after["details"].get(TEMPLATE), after["max_iops"]
        about, version = f"offering {after['name']}", world.version or ()
        if qos and template:
            yield f"{about} has a QoS class and a template: the class wins, volumes stay on the template of their pool"
        if limited and (qos or template) and version[:2] == TIERS_SINCE:
            yield f"{about}: CloudStack 4.20 sends no IOPS limit to StorPool for offerings with a QoS class or template"
        if limited and after["type"] == "compute" and version >= ROOT_WITHOUT_IOPS_SINCE:
            # A resize leaves the limit alone where there is a tier (section 5.4).
            later = "at all, because it has a StorPool template" if template else (
                "until they are resized or change offering; cloudstack_volume with repair: true mends it"
            )  # fmt: skip
            yield f"{about}: from CloudStack 4.21 on, ROOT volumes made from templates get no IOPS limit {later}"

    def _plan_new(self, wanted: WantedOffering, world: World) -> Plan:
        if wanted.id or not wanted.name:
            raise OptionError("id", wanted.id, f"is the id of no {wanted.kind} offering")
        kind, fixed = KINDS[wanted.kind], dict(wanted.fixed)
        if wanted.kind == "disk" and not fixed.get("size"):
            if fixed.get("custom_size") is False:
                raise OptionError("custom_size", False, "needs size: an offering has one or leaves it to each volume", item=wanted.label)
            fixed["custom_size"] = True
        missing = next((name for name in ("cpu_number", "cpu_speed", "memory") if fixed.get(name) is None), None)
        if wanted.kind == "compute" and missing:
            raise OptionError(missing, None, f"is needed: there is no compute offering {wanted.label}, and it takes that to make it")
        if "max_iops" in fixed:
            fixed.setdefault("min_iops", fixed["max_iops"])
        names = {**_FIXED[wanted.kind], **_FIXED_IN_BOTH}
        params: dict[str, Any] = {"name": wanted.name, "displaytext": wanted.display_text or wanted.name}
        for name, value in fixed.items():
            params[names[name][0]] = value // GIB if name in _IN_GIB else value
        if wanted.encrypt:
            params[kind.encrypted] = True
        details = {key: value for key, value in wanted.details.items() if value is not None}
        if details:
            params[kind.details] = details
        for option, parameter in (("storage_tags", "tags"), ("host_tags", "hosttags")):
            if getattr(wanted, option):
                params[parameter] = getattr(wanted, option)
        for option, parameter in (("zones", "zoneid"), ("domains", "domainid")):
            if getattr(wanted, option):
                params[parameter] = self._ids(wanted, option, world)
        after = _shown({"name": wanted.name, "state": ACTIVE}, wanted.kind)
        after.update({name: value for name, value in _UNSAID.items() if name in after})
        after.update(fixed, encrypt=bool(wanted.encrypt), details=details, display_text=params["displaytext"], id=None)
        after.update(storage_tags=wanted.storage_tags or [], zones=params.get("zoneid", []), domains=params.get("domainid", []))
        if wanted.kind == "compute":
            after["host_tags"] = wanted.host_tags or []
        changes = []
        if wanted.state == "inactive":
            after["state"] = INACTIVE
            later = {"id": None, "state": INACTIVE}
            changes.append(Change("deactivate", Command(kind.call("update"), later, wanted.label)))

        def learn(document: dict[str, Any], made: Mapping[str, Any]) -> None:
            document["id"] = made["id"]
            for change in changes:
                change.write.params["id"] = made["id"]

        twin = twin_of(kind.call("list"), kind.key, kind.call("delete"), wanted.label, (), state="all")
        create = Change("create", Command(kind.call("create"), params, wanted.label), {kind.key: learn}, twin=twin)
        return Plan(wanted.label, None, after, [create, *changes], warnings=list(self._traps(after, world)))

    def _plan_present(self, wanted: WantedOffering, shown: dict[str, Any], world: World) -> Plan:
        self._refuse_fixed(wanted, shown)
        kind, after, update, words = KINDS[wanted.kind], dict(shown), {}, []

        def put(name: str, value: Any, parameter: str, sent: Any, word: str) -> None:
            if value is not None and value != shown[name]:
                after[name] = value
                update[parameter] = sent
                words.append(word)

        put("name", wanted.name, "name", wanted.name, "rename")
        put("display_text", wanted.display_text, "displaytext", wanted.display_text, "display_text")
        put("storage_tags", wanted.storage_tags, kind.tags_update, ",".join(wanted.storage_tags or ()), "storage_tags")
        if wanted.kind == "compute":
            put("host_tags", wanted.host_tags, "hosttags", ",".join(wanted.host_tags or ()), "host_tags")
        for option, parameter, everywhere in (("zones", "zoneid", "all"), ("domains", "domainid", "public")):
            if getattr(wanted, option) is not None:
                ids = self._ids(wanted, option, world)
                put(option, ids, parameter, ",".join(ids) or everywhere, option)
        goal = {"present": shown["state"], "active": ACTIVE, "inactive": INACTIVE}[wanted.state]
        if goal != shown["state"]:
            if shown["state"] is None:
                raise ChangeRefused(
                    f"this CloudStack does not tell whether offering {wanted.label} is active; it is older than 4.19.3",
                    hint="upgrade CloudStack, or let state: present leave it as it is",
                )
            put("state", goal, "state", goal, "activate" if goal == ACTIVE else "deactivate")
        changes = []
        if update:
            # The change of state alone has the word that it has after a creation, so that both are told alike.
            action = words[0] if words[0] in ("activate", "deactivate") else f"update {', '.join(words)}"
            changes.append(Change(action, Command(kind.call("update"), {"id": shown["id"], **update}, wanted.label)))
        changes += self._details(wanted, kind, shown, after)
        return Plan(wanted.label, shown, after, changes, warnings=list(self._traps(after, world)))

    @staticmethod
    def _refuse_fixed(wanted: WantedOffering, shown: Mapping[str, Any]) -> None:
        """:raises ChangeRefused: something is declared that CloudStack takes only when an offering is made."""
        declared = {**wanted.fixed, **({} if wanted.encrypt is None else {"encrypt": wanted.encrypt})}
        unlike = [name for name, value in declared.items() if shown[name] != value]
        if unlike:
            told = ", ".join(f"{name} is {_text(name, shown[name])}, declared is {_text(name, declared[name])}" for name in unlike)
            raise ChangeRefused(
                f"offering {wanted.label} cannot become that: {told}; CloudStack sets these only when an offering is made",
                hint="make one under another name, move the volumes to it (cloudstack_volume, offering), then make this one inactive",
            )

    @staticmethod
    def _details(wanted: WantedOffering, kind: Kind, shown: Mapping[str, Any], after: dict[str, Any]) -> list[Change]:
        have = shown["details"]
        put = {key: value for key, value in wanted.details.items() if value is not None and have.get(key) != value}
        gone = [key for key, value in wanted.details.items() if value is None and key in have]
        if not put and not gone:
            return []
        after["details"] = {**{key: value for key, value in have.items() if key not in gone}, **put}
        target = {"resourceid": shown["id"], "resourcetype": kind.noun}
        changes = []
        if put:
            pairs: dict[str, Any] = {}
            for number, (key, value) in enumerate(sorted(put.items())):
                pairs.update({f"details[{number}].key": key, f"details[{number}].value": value})
            changes.append(Change(f"set {', '.join(sorted(put))}", Command("addResourceDetail", {**target, **pairs}, wanted.label)))
        for key in gone:
            changes.append(Change(f"remove {key}", Command("removeResourceDetail", {**target, "key": key}, wanted.label)))
        return changes

    @staticmethod
    def _ids(wanted: WantedOffering, option: str, world: World) -> list[str]:
        return sorted(world.ids[option, name] for name in getattr(wanted, option))

    @staticmethod
    def _plan_absent(wanted: WantedOffering, shown: dict[str, Any] | None) -> Plan:
        if shown is None:
            return Plan(wanted.label, None, None)
        delete = Command(KINDS[wanted.kind].call("delete"), {"id": shown["id"]}, wanted.label, hints=_DELETE_HINTS)
        return Plan(wanted.label, shown, None, [Change("delete", delete)])

    # -- after

    def predict(self, world: World, wanted: WantedOffering, plan: Plan) -> None:
        """Nothing: offerings do not depend on each other, and names declared twice are refused before."""

    def show(self, document: dict[str, Any]) -> dict[str, Any]:
        """Return an offering for the diff: sizes as people write them."""
        return {name: format_size(value) if name in _IN_GIB else value for name, value in document.items() if name != "id"}


def known_offerings(client: CloudStack, compute: bool) -> dict[str, dict[str, Any]]:
    """Return the disk offerings, and with ``compute`` those of machines, by id, as results show them."""
    found = {}
    for name in ("disk", "compute") if compute else ("disk",):
        for raw in _listing(client, name):
            found[raw["id"]] = _shown(raw, name)
    return found


def _listing(client: CloudStack, kind: str) -> list[dict[str, Any]]:
    how = KINDS[kind]
    # Without ``state`` only active ones are listed (4.19.3 and newer).
    return client.list(how.call("list"), how.key, unlimited=True, listall=True, state="all")


def _listed(text: Any) -> list[str]:
    return sorted({part.strip() for part in str(text or "").split(",") if part.strip()})


def _text(name: str, value: Any) -> str:
    return str(format_size(value) if name in _IN_GIB else value)


def _shown(raw: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Return an offering as results show it: sizes in bytes, zones and domains by id (an empty list: all of them)."""
    how = KINDS[kind]
    document: dict[str, Any] = {
        "id": raw.get("id"),
        "name": raw["name"],
        "type": kind,
        "display_text": raw.get("displaytext"),
        "state": raw.get("state"),
        "encrypt": bool(raw.get(how.encrypted)),
        "storage_tags": _listed(raw.get(how.tags)),
        "details": {str(key): str(value) for key, value in (raw.get(how.details) or {}).items()},
        "zones": _listed(raw.get("zoneid")),
        "domains": _listed(raw.get("domainid")),
    }
    for name, (_parameter, key) in {**_FIXED[kind], **_FIXED_IN_BOTH}.items():
        value = raw.get(key)
        if name in _IN_GIB:
            # An offering of no size, with a size that is chosen later, is listed with 0.
            value = int(value) * GIB if value else None
        elif name in _UNSAID and value is None:
            value = _UNSAID[name]
        document[name] = value
    if kind == "compute":
        document["host_tags"] = _listed(raw.get("hosttags"))
    return document


def raw_offering(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return what CloudStack would list of an offering as results show it: the reverse of :func:`_shown`."""
    how = KINDS[document["type"]]
    raw = {
        "id": document["id"],
        "name": document["name"],
        "displaytext": document["display_text"],
        "state": document["state"],
        how.encrypted: document["encrypt"],
        how.tags: ",".join(document["storage_tags"]),
        how.details: document["details"],
        "zoneid": ",".join(document["zones"]),
        "domainid": ",".join(document["domains"]),
        "hosttags": ",".join(document.get("host_tags", ())),
    }
    for name, (_parameter, key) in {**_FIXED[document["type"]], **_FIXED_IN_BOTH}.items():
        raw[key] = document[name] // GIB if name in _IN_GIB and document[name] else document[name]
    return raw


OFFERINGS = Offerings()
