# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 4: templates of CloudStack that are made from a snapshot or a volume, proved on secondary storage and on StorPool.

Facts: reference sheet cloudstack-storpool, sections 0.3, 5.5, 5.10 and 5.11. CloudStack does not tell of what a template was made, so its
display text ends in it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Callable

from .._cloudstack import CloudStack, Command
from .._errors import ChangeRefused, CollectionError, OptionError
from .._foresight import MADE_UP
from .._plan import Change, JointWait, Plan, Wait
from .._units import parse_duration
from ._cloud import MOST_OF_A_DESCRIPTION, PROOF, Directory, Owner, asked_or_all, one_of, parse_owner, short_enough, twin_of
from ._shared import for_diff, quiet
from .cache_place import OWNER_ID, is_template_object
from .cloud_series import LATER, STOPPED
from .cloud_snapshot_world import BACKED_UP, backs_up, read_settings

DELAYED = "SP_DELAY_DELETE"  # a snapshot's detail: StorPool removes it by itself (section 5.11)
_ORIGIN = re.compile(rf"\(from (snapshot|volume) ([0-9a-f-]{{36}}|{re.escape(MADE_UP)}[0-9a-f]+)\)$")
_USED = "delete these VMs first; CloudStack keeps a template that VMs were made from"
# What becomes of a snapshot that its pool alone has when backups are on again, the sheet does not say for all releases.
_CREATE_HINTS = (
    (
        "on secondary storage",
        "a snapshot that was taken without a backup makes a template while snapshots are not backed up (snapshot.backup.to.secondary, "
        "before 4.21 also sp.bypass.secondary.storage); set that as it was then, or take another snapshot",
    ),
)
_DELETE_HINTS = (("are using it", _USED),)


@dataclass
class WantedTemplate:
    """One declared template, and what it is made of."""

    label: str
    state: str
    owner: Owner
    snapshot: str | None = None
    volume: str | None = None
    os_type: str | None = None
    display_text: str | None = None
    public: bool = False
    featured: bool = False
    verify: str = "strict"
    wait: int = 0

    @property
    def kind(self) -> str:
        return "snapshot" if self.snapshot else "volume"

    def names(self) -> Sequence[str]:
        return [f"{self.owner}{self.label}"]

    def needs(self) -> Sequence[str]:
        return ()


@dataclass
class World:
    """What was read.

    ``templates`` are CloudStack's by owner, one for each id, with the ``zones`` that have them; ``storpool`` are StorPool's snapshots of
    templates by the template's id (``None``: not asked). ``sources`` are what is to be made into a template, by what declared it, or why
    it cannot be; ``os_types`` and ``belongs`` likewise. ``users`` are the names of the VMs made from templates that are to go, by the
    template's id. ``look`` reads again.
    """

    templates: dict[Owner, list[dict[str, Any]]] = field(default_factory=dict)
    storpool: dict[str, list[Mapping[str, Any]]] | None = None
    sources: dict[tuple[Owner, str | None, str | None], Mapping[str, Any] | CollectionError] = field(default_factory=dict)
    os_types: dict[str, str | CollectionError] = field(default_factory=dict)
    belongs: dict[Owner, dict[str, Any] | CollectionError] = field(default_factory=dict)
    users: dict[str, list[str]] = field(default_factory=dict)
    capabilities: Mapping[str, Any] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    version: tuple[int, ...] = ()
    look: Callable[[CloudStack], World] | None = None


class MadeTemplates:
    """Templates made from snapshots and volumes, as the runner manages them."""

    kind = "template"

    # -- desired

    def parse(self, options: Mapping[str, Any], now: float) -> WantedTemplate:
        """Return what is wanted of one template. :raises OptionError: names the option that cannot be meant."""
        texts = {name: options[name] and options[name].strip() for name in ("name", "snapshot", "volume", "os_type", "display_text")}
        name = short_enough(texts.pop("name"), "name")
        if not name:
            raise OptionError("name", options["name"], "is needed")
        if options["state"] == "present" and not (texts["snapshot"] or texts["volume"]):
            raise OptionError("snapshot", options["snapshot"], "is needed (or volume): what the template is made of", item=name)
        short_enough(texts["display_text"], "display_text", MOST_OF_A_DESCRIPTION)
        wanted = WantedTemplate(name, options["state"], parse_owner(options), **texts)
        wanted.public, wanted.featured, wanted.verify = bool(options["public"]), bool(options["featured"]), options["verify"]
        wanted.wait = parse_duration(options["wait_timeout"], "wait_timeout")
        return wanted

    # -- observe

    def observe(self, client: CloudStack, wanted: Sequence[WantedTemplate]) -> World:
        """List templates once for each owner, StorPool's snapshots once; the sources only of those that are to be made."""
        directory = Directory(client)
        world = World(look=partial(self.observe, wanted=wanted))
        for owner in dict.fromkeys(one.owner for one in wanted):
            names = {one.label for one in wanted if one.owner == owner}
            only = {"name": next(iter(names))} if len(names) == 1 else {}
            within = directory.within(owner)
            rows = client.list("listTemplates", "template", unlimited=True, templatefilter="all", **only, **within)
            world.templates[owner] = _by_id([row for row in rows if _belongs(row, owner, within)])
        kept = [one for one in wanted if one.state == "present"]
        if any(one.verify != "off" for one in kept) and any(quiet(_template, one, world) for one in kept):
            world.storpool = {}
            for snapshot in client.storpool.snapshots():
                if is_template_object(snapshot):
                    world.storpool.setdefault(snapshot["tags"].get(OWNER_ID, ""), []).append(snapshot)
        new = [one for one in kept if quiet(_template, one, world) is None]
        for one in new:
            _keep(world.belongs, one.owner, partial(directory.belongs, one.owner))
            if one.os_type:
                _keep(world.os_types, one.os_type, partial(_os_type, directory, one.os_type))
        for owner in dict.fromkeys(one.owner for one in kept):
            made, there = [], []
            for one in (one for one in kept if one.owner == owner):
                present = quiet(_template, one, world)
                if present is None:
                    made.append(one)
                elif (_shown(present)["origin"] or {}).get("kind") == one.kind:  # then it is compared which object that was
                    there.append(one)
            self._look_up(client, directory, owner, made, there, world)
        if any(one.snapshot for one in new):
            read_settings(client, world)
        doomed = {row["id"] for row in (quiet(_template, one, world) for one in wanted if one.state == "absent") if row}
        if doomed:
            only = {"templateid": next(iter(doomed))} if len(doomed) == 1 else {}
            for machine in client.list("listVirtualMachines", "virtualmachine", unlimited=True, listall=True, **only):
                if machine.get("templateid") in doomed:
                    world.users.setdefault(machine["templateid"], []).append(machine["name"])
        return world

    @staticmethod
    def _look_up(
        client: CloudStack,
        directory: Directory,
        owner: Owner,
        made: Sequence[WantedTemplate],
        there: Sequence[WantedTemplate],
        world: World,
    ) -> None:
        """List what templates of one owner are made of, once; of those to be made also what may forbid it."""

        def listed(names: set[str], call: str, key: str, within: Owner = owner) -> list[dict[str, Any]]:
            return asked_or_all(client, directory, within, call, key, names) if names else []

        anywhere = replace(owner, zone=None)  # a snapshot may lie in other zones than its volume
        volumes = listed({one.volume for one in (*made, *(t for t in there if not t.snapshot)) if one.volume}, "listVolumes", "volume")
        snapshots = listed({one.snapshot for one in (*made, *there) if one.snapshot}, "listSnapshots", "snapshot", anywhere)
        for one in (*made, *there):
            _keep(world.sources, _origin_key(one), partial(_source, one, volumes, snapshots))
        found = {key: world.sources[key] for key in dict.fromkeys(_origin_key(one) for one in made)}
        found = {key: source for key, source in found.items() if isinstance(source, Mapping)}
        known = {volume["id"]: volume for volume in volumes}
        origins = {source["volumeid"] for source in found.values() if source.get("volumeid")} - known.keys()
        known.update({volume["id"]: volume for volume in listed(origins, "listVolumes", "volume", anywhere)})
        for key, source in found.items():
            volume = known.get(source.get("volumeid", source["id"]), {})  # it may be gone
            world.sources[key] = whole = {**source, "encrypted": bool(volume.get("encryptformat")), "delayed": False}
            if "volumeid" in source:
                details = client.list("getVolumeSnapshotDetails", "apivolumesnapshotdetails", snapshotid=source["id"])
                whole["delayed"] = any(detail.get("snapshotDetailsName") == DELAYED for detail in details)

    # -- plan

    def plan(self, wanted: WantedTemplate, world: World) -> Plan:
        """Return what it takes to have the template as declared, on both systems. Pure."""
        present = None
        try:
            present = _template(wanted, world)
            if wanted.state == "absent":
                if present is None:
                    return Plan(wanted.label, None, None)
                users = world.users.get(present["id"])
                if users:
                    raise ChangeRefused(
                        f"template {wanted.label} cannot be deleted, VMs were made from it: {', '.join(sorted(users)[:20])}", hint=_USED
                    )
                params = {"id": present["id"], **({"zoneid": present["zoneids"][0]} if wanted.owner.zone else {})}
                delete = Command("deleteTemplate", params, wanted.label, hints=_DELETE_HINTS)
                return Plan(wanted.label, _shown(present), None, [Change("delete", delete)])
            return self._plan_new(wanted, world) if present is None else self._plan_present(wanted, present, world)
        except CollectionError as exc:
            document = present and _shown(present)
            return Plan(wanted.label, document, document, refused=exc)

    def _plan_new(self, wanted: WantedTemplate, world: World) -> Plan:
        source = world.sources[_origin_key(wanted)]
        belongs = world.belongs[wanted.owner]
        system: Any = world.os_types.get(wanted.os_type or "")
        for one in (source, belongs, system):
            if isinstance(one, CollectionError):
                raise one
        kind = wanted.kind
        self._check(wanted, kind, source)
        system = system or source.get("ostypeid")
        if not system:
            raise OptionError("os_type", None, f"is needed: CloudStack does not tell that of {kind} {source['name']}", item=wanted.label)
        origin = {"kind": kind, "id": source["id"]}
        text = f"{wanted.display_text or wanted.label} (from {kind} {source['id']})"
        params = {
            "name": wanted.label, "displaytext": text, f"{kind}id": source["id"], "ostypeid": system, "ispublic": wanted.public,
            "isfeatured": wanted.featured, **belongs,
        }  # fmt: skip
        size = source.get("virtualsize") if kind == "snapshot" else source.get("size")
        zone = source.get("zonename") if belongs.get("zoneid") in (None, source.get("zoneid")) else wanted.owner.zone
        after: dict[str, Any] = {
            "id": None, "name": wanted.label, "display_text": text, "ready": True, "size": size, "origin": origin, "account": None,
            "project": source.get("project") if wanted.owner.project else None,  # which was looked for there, too
            "public": wanted.public, "featured": wanted.featured, "zones": [zone],
        }  # fmt: skip
        if kind == "volume":
            base, because = True, "it is made from a volume"
        else:
            backed_up, because = backs_up(world)
            base = not backed_up
        notes: dict[str, Any] = {"storpool": None, "differences": [], "base": {"expected": base, "because": because}}

        def learn(document: dict[str, Any], made: Mapping[str, Any]) -> None:
            document.update(id=made["id"], ready=bool(made.get("isready")), size=made.get("size") or size)
            document.update(account=made.get("account"), project=made.get("project"))

        create = Command("createTemplate", params, wanted.label, waits=wanted.wait, hints=_CREATE_HINTS)
        owner = ("zoneid", "account", "domainid")
        twin = twin_of("listTemplates", "template", "deleteTemplate", wanted.label, owner, templatefilter="all")
        waits = self._waits(wanted, after, notes, world)
        return Plan(wanted.label, None, after, [Change("create", create, {"template": learn}, twin=twin)], notes, waits=waits)

    @staticmethod
    def _check(wanted: WantedTemplate, kind: str, source: Mapping[str, Any]) -> None:
        """:raises ChangeRefused: CloudStack makes no template of this."""
        about = f"template {wanted.label} cannot be made from {kind} {source['name']}"
        if source.get("encrypted"):
            raise ChangeRefused(f"{about}: it is encrypted, and CloudStack makes no templates of encrypted volumes", hint="copy the data")
        if kind == "snapshot":
            if source.get("delayed"):
                raise ChangeRefused(
                    f"{about}: it is the last snapshot of a deleted volume", hint="make a volume of it first (cloudstack_volume, snapshot)"
                )
            if source.get("state") != BACKED_UP:
                raise ChangeRefused(f"{about}: it is {source.get('state')}, not {BACKED_UP}", hint=LATER)
            return
        if source.get("state") != "Ready" or not source.get("path"):
            raise ChangeRefused(f"{about}: it is {source.get('state')}", hint="attach it once; it is on StorPool only then")
        if source.get("virtualmachineid") and source.get("vmstate") != STOPPED:
            raise ChangeRefused(
                f"{about}: its VM {source.get('vmname')} is {source.get('vmstate')}",
                hint="stop the VM, or make the template from a snapshot of the volume",
            )

    def _plan_present(self, wanted: WantedTemplate, present: Mapping[str, Any], world: World) -> Plan:
        shown = _shown(present)
        warnings = []
        origin, source = shown["origin"], world.sources.get(_origin_key(wanted))
        if origin is None:
            warnings.append(f"template {wanted.label} is there, but its display text does not say what it was made of")
        elif origin["kind"] != wanted.kind or (isinstance(source, Mapping) and source["id"] != origin["id"]):
            # What it was made of may be gone, and then cannot be compared by its name.
            raise self._other_origin(wanted, origin)
        notes: dict[str, Any] = {"storpool": _on_storpool(present["id"], world), "differences": []}
        after = dict(shown)
        waits = [] if shown["ready"] else self._waits(wanted, after, notes, world)
        return Plan(wanted.label, shown, after, (), notes, warnings, waits=waits)

    @staticmethod
    def _other_origin(wanted: WantedTemplate, origin: Mapping[str, Any]) -> ChangeRefused:
        return ChangeRefused(
            f"template {wanted.label} was made from {origin['kind']} {origin['id']}, declared is {wanted.kind} "
            f"{wanted.snapshot or wanted.volume}",
            hint="delete it first (state: absent), or give the other one another name",
        )

    @staticmethod
    def _waits(wanted: WantedTemplate, after: dict[str, Any], notes: dict[str, Any], world: World) -> list[Wait | JointWait]:
        """Return what follows: until it is ready on secondary storage, and the proof of its base on StorPool."""

        def done(client: CloudStack) -> bool:
            if after["ready"]:
                return True
            rows = client.list("listTemplates", "template", templatefilter="all", id=after["id"], listall=True)
            if not rows:
                raise ChangeRefused(
                    f"template {wanted.label} is gone: CloudStack could not make it", hint="the log of the management server says why"
                )
            after["ready"] = any(row.get("isready") for row in rows)
            return after["ready"]

        def missing(now: World) -> str | None:
            row = next((one for one in now.templates[wanted.owner] if one["id"] == after["id"]), None)
            if row is None or not row["ready"]:
                return f"template {wanted.label} is not on secondary storage"
            after.update(_shown(row))
            notes["storpool"] = _on_storpool(row["id"], now)
            expected = notes.get("base", {}).get("expected")
            if expected and notes["storpool"] is None:
                notes["differences"] = [f"StorPool has no snapshot with the tags cs=template and uuid={row['id']}"]
                if wanted.verify == "strict":
                    return f"template {wanted.label}: {notes['differences'][0]}"
            return None

        waits: list[Wait | JointWait] = [Wait(f"the making of template {wanted.label}", done, wanted.wait)]
        if wanted.verify != "off":
            waits.append(JointWait(world.look, missing, PROOF, "verify: warn goes on without"))
        return waits

    # -- after

    def predict(self, world: World, wanted: WantedTemplate, plan: Plan) -> None:
        """Nothing: templates do not depend on each other, and names declared twice are refused before."""

    def show(self, document: dict[str, Any]) -> dict[str, Any]:
        """Return a template for the diff."""
        return for_diff(document, "id")


def _keep(into: dict[Any, Any], key: Any, find: Callable[[], Any]) -> None:
    """Enter what is found, once, or why there is none."""
    if key not in into:
        try:
            into[key] = find()
        except CollectionError as exc:
            into[key] = exc


def _origin_key(one: WantedTemplate) -> tuple[Owner, str | None, str | None]:
    return one.owner, one.volume, one.snapshot


def _source(one: WantedTemplate, volumes: Sequence[Mapping[str, Any]], snapshots: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the snapshot or volume that a template is made of. :raises OptionError: there is none, or several."""
    if one.snapshot:
        option, name, others = "snapshot", one.snapshot, "volume, zone, account or project"
        rows = [row for row in snapshots if one.volume in (None, row.get("volumename"), row.get("volumeid"))]
    else:
        option, name, others, rows = "volume", one.volume, "zone, account or project", list(volumes)
    found = one_of(rows, name, option, option, others)
    if found is None:
        raise OptionError(option, name, "does not exist in CloudStack", item=one.label)
    return found


def _os_type(directory: Directory, name: str) -> str:
    rows = [{**one, "name": one.get("description") or one.get("name")} for one in directory.all("listOsTypes", "ostype")]
    found = one_of(rows, name, "os_type", "operating system")
    if found is None:
        raise OptionError("os_type", name, "is no operating system that CloudStack knows (listOsTypes)")
    return str(found["id"])


def _by_id(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return templates once each: a listing has a row for each zone."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        one = found.setdefault(row["id"], {**row, "zones": [], "zoneids": [], "ready": False})
        if row.get("zonename"):
            one["zones"].append(row["zonename"])
            one["zoneids"].append(row.get("zoneid"))
        one["ready"] = one["ready"] or bool(row.get("isready"))
    return list(found.values())


def _belongs(row: Mapping[str, Any], owner: Owner, within: Mapping[str, Any]) -> bool:
    """Tell whether a template is that owner's: to a root admin the filter ``all`` shows those of all accounts, domains and projects.

    (``searchForTemplatesInternal``)
    """
    if owner.project:
        return row.get("projectid") == within["projectid"]
    if owner.account:
        return row.get("domainid") == within["domainid"] and str(row.get("account")).lower() == owner.account.lower()
    return not owner.domain or row.get("domainid") == within["domainid"]


def _template(wanted: WantedTemplate, world: World) -> Mapping[str, Any] | None:
    """Return the template, ``None`` when there is none of that name. :raises OptionError: several have it."""
    return one_of(world.templates[wanted.owner], wanted.label, "name", "template")


def _on_storpool(identity: str, world: World) -> dict[str, Any] | None:
    """Return the snapshot of a template on StorPool that the others of it stand on, ``None`` when there is none or it was not asked."""
    every = (world.storpool or {}).get(identity, [])
    names = {one["name"] for one in every}
    base = next((one for one in every if one["parentName"] not in names), None)
    return base and {
        "global_id": base["globalId"],
        "size": base["size"],
        "template": base["templateName"],
        "tags": {key: value for key, value in base["tags"].items() if value != ""},
    }


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a template as results show it; its size in bytes."""
    text = str(row.get("displaytext") or "")
    origin = _ORIGIN.search(text)
    return {
        "id": row["id"],
        "name": row["name"],
        "display_text": text,
        "ready": row["ready"],
        "size": row.get("size"),
        "origin": {"kind": origin.group(1), "id": origin.group(2)} if origin else None,
        "account": row.get("account"),
        "project": row.get("project"),
        "public": bool(row.get("ispublic")),
        "featured": bool(row.get("isfeatured")),
        "zones": sorted(row["zones"]),
    }


MADE_TEMPLATES = MadeTemplates()
