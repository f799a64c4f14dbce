# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 4: StorPool volume templates.

Identity is the name. What a template gives to the volumes and snapshots that exist already changes only with ``propagate`` (rule
``template-propagate``); the planner compares each of them, so that propagating is a state like any other and the second run is silent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .. import _storpool as sp
from .._errors import ChangeRefused, CollectionError, OptionError
from .._plan import Change, Plan
from .._units import limit_from_api, limit_to_api, parse_reference, parse_size, parse_template_name
from ._shared import (
    PLACES,
    POLICY,
    UNSAID_POLICY,
    check_known,
    fetch_named,
    for_diff,
    named,
    parse_policy,
    raw_template,
    template_object,
)

# VolumePolicyDesc as far as a template can be asked for it: its tags are write-only (sheet 3.7), so they cannot be a state.
CARRIED = {**POLICY, "reuse_server": "reuseServer"}
_LIMITS = ("iops", "bw")
SHOWN = 100  # of thousands of objects that a template reaches, this many are named


@dataclass
class WantedTemplate:
    """One declared template, in canonical units; ``None`` means that the option was not given."""

    label: str
    name: str
    state: str
    renamed_from: str | None = None
    size: int | None = None
    parent: str | None = None
    policy: dict[str, Any] = field(default_factory=dict)
    propagate: bool = False
    allow_cloudstack_objects: bool = False

    def names(self) -> Sequence[str]:
        return [self.name, self.renamed_from] if self.renamed_from else [self.name]

    def needs(self) -> Sequence[str]:
        return ()


class Reached(NamedTuple):
    """An existing object that propagating changes: its kind, the API object, and what it has now of the options that differ."""

    kind: str
    raw: Mapping[str, Any]
    held: dict[str, Any]


@dataclass
class World:
    """What was read. ``used`` holds the volumes and snapshots of each template as ``(kind, API object)``, where they matter."""

    templates: dict[str, dict[str, Any]]
    used: dict[str, list[tuple[str, dict[str, Any]]]] = field(default_factory=dict)
    snapshots: dict[str, dict[str, Any]] = field(default_factory=dict)
    groups: Mapping[str, Any] = field(default_factory=dict)


def _held(raw: Mapping[str, Any], option: str) -> Any:
    """Return what a volume or snapshot has for ``option``, in the terms of results."""
    if option == "reuse_server":
        return bool(raw.get("reuseServer"))
    return limit_from_api(raw[option]) if option in _LIMITS else raw[POLICY[option]]


def _tag(raw: Mapping[str, Any], name: str) -> str | None:
    return (raw.get("tags") or {}).get(name)


def _to_api(options: Mapping[str, Any]) -> dict[str, Any]:
    return {CARRIED[option]: limit_to_api(value) if option in _LIMITS else value for option, value in options.items()}


class Templates:
    """The volume templates of a cluster, as the runner manages them."""

    kind = "template"

    # -- desired

    def parse(self, options: Mapping[str, Any], now: float) -> WantedTemplate:
        """Return what is wanted of one template. :raises OptionError: names the option that cannot be meant."""
        if options["name"] is None:
            raise OptionError("name", None, "is needed to say which template is meant")
        name = parse_template_name(options["name"], "name")
        wanted = WantedTemplate(
            label=name, name=name, state=options["state"] or "present", allow_cloudstack_objects=bool(options["allow_cloudstack_objects"])
        )
        if options["renamed_from"] is not None:
            wanted.renamed_from = parse_template_name(options["renamed_from"], "renamed_from")
            if wanted.renamed_from == name:
                raise OptionError("renamed_from", name, "is the same as name")
        if options["size"] is not None:
            wanted.size = parse_size(options["size"])
        if options["parent"] is not None:
            wanted.parent = parse_reference(options["parent"], "parent")
            if wanted.parent.startswith(("~", "#")):
                raise OptionError("parent", wanted.parent, "must be the name of a snapshot; templates do not take a global id")
        wanted.policy = parse_policy(options)
        if options["reuse_server"] is not None:
            wanted.policy["reuse_server"] = bool(options["reuse_server"])
        wanted.propagate = bool(options["propagate"]) and wanted.state == "present"
        return wanted

    # -- observe

    def observe(self, client: sp.StorPool, wanted: Sequence[WantedTemplate]) -> World:
        """Read the templates; the objects made from them only where they are changed or stand in the way, the rest only to check names."""
        world = World(sp.by_name(client.templates()))
        parents, groups, reached = set(), False, set()
        for one in wanted:
            raw = world.templates.get(one.name) or world.templates.get(one.renamed_from or "")
            if raw is not None and (one.propagate or one.state == "absent"):
                reached.add(raw["name"])
            if one.state == "present":
                if one.parent and (raw is None or raw["parentName"] != one.parent):
                    parents.add(one.parent)
                given = [option for option in PLACES if option in one.policy]
                groups = groups or any(raw is None or raw[POLICY[option]] != one.policy[option] for option in given)
        if reached:
            for kind, found in (("volume", client.volumes()), ("snapshot", client.snapshots())):
                for item in found:
                    if item["templateName"] in reached:
                        world.used.setdefault(item["templateName"], []).append((kind, item))
        if parents:
            world.snapshots = fetch_named(parents, client.snapshot, client.snapshots)
        if groups:
            world.groups = client.placement_groups()
        return world

    # -- plan

    def plan(self, wanted: WantedTemplate, world: World) -> Plan:
        """Return what to do about one template."""
        try:
            template = self._find(wanted, world)
            if wanted.state == "absent":
                return self._plan_absent(wanted, template, world)
            self._check_names(wanted, template, world)
            return self._plan_create(wanted) if template is None else self._plan_update(wanted, template, world)
        except CollectionError as exc:
            return Plan(wanted.label, None, None, refused=exc)

    @staticmethod
    def _find(wanted: WantedTemplate, world: World) -> dict[str, Any] | None:
        """Return the template that is meant, or ``None``. :raises ChangeRefused: it exists under both its names."""
        found = world.templates.get(wanted.name)
        former = world.templates.get(wanted.renamed_from) if wanted.renamed_from else None
        if found and former:
            raise ChangeRefused(f"both {wanted.name} and {wanted.renamed_from} exist", hint="delete one of them, or leave renamed_from out")
        raw = found or former
        return template_object(raw) if raw else None

    @staticmethod
    def _check_names(wanted: WantedTemplate, template: Mapping[str, Any] | None, world: World) -> None:
        """:raises OptionError: a placement group or a parent that is to be entered does not exist."""
        present = template or {}
        for option in PLACES:
            group = wanted.policy.get(option)
            if group is not None and group != present.get(option):
                check_known(option, group, world.groups, "placement group", wanted.label)
        if wanted.parent and wanted.parent != present.get("parent"):
            snapshot = named(world.snapshots, wanted.parent)
            if snapshot is None or snapshot.get("deleted"):
                raise OptionError("parent", wanted.parent, "is no snapshot of this cluster", item=wanted.label)

    @staticmethod
    def _plan_create(wanted: WantedTemplate) -> Plan:
        given = {key: value for key, value in (("size", wanted.size), ("parent", wanted.parent)) if value is not None}
        after: dict[str, Any] = {
            "name": wanted.name,
            "size": None,
            "parent": None,
            **UNSAID_POLICY,
            "reuse_server": False,
            **given,
            **wanted.policy,
        }
        for option in ("place_head", "place_tail"):
            after[option] = after[option] or after["place_all"]  # rule place-defaults
        body = {"name": wanted.name, **given, **_to_api(wanted.policy)}
        notes = _propagation_note([]) if wanted.propagate else {}
        return Plan(wanted.name, None, after, [Change("create", sp.template_create(body))], notes)

    def _plan_update(self, wanted: WantedTemplate, template: dict[str, Any], world: World) -> Plan:
        own: dict[str, Any] = {}
        if wanted.name != template["name"]:
            own["rename"] = wanted.name
        if wanted.size is not None and wanted.size != template["size"]:
            own["size"] = wanted.size
        if wanted.parent is not None and wanted.parent != template["parent"]:
            own["parent"] = wanted.parent
        differing = {option: value for option, value in wanted.policy.items() if template[option] != value}
        after = {**template, "name": wanted.name, **{key: own[key] for key in ("size", "parent") if key in own}, **wanted.policy}
        # Sent in full, so that it makes no difference whether a server carries over what the call names or the whole template.
        carried = {option: after[option] for option in CARRIED if after[option] is not None}
        reached = self._reached(carried, world.used.get(template["name"], ())) if wanted.propagate else []
        plan = Plan(wanted.name, template, after)
        if reached:
            # In a write of its own: no source tells whether a new size or parent would reach existing volumes too, and it must not.
            first = [self._update(template["name"], own, list(own))] if own else []
            words = f"update {', '.join(differing)} and propagate" if differing else "propagate"
            plan.changes = [*first, Change(words, sp.template_update(wanted.name, {**_to_api(carried), "propagate": True}))]
            self._guard(wanted, reached)
            plan.beside = _beside(carried, reached)
            plan.warnings = _qos_warning(wanted, reached)
        elif own or differing:
            plan.changes = [self._update(template["name"], {**own, **_to_api(differing)}, [*own, *differing])]
        if wanted.propagate:
            plan.notes = _propagation_note(reached)
        return plan

    @staticmethod
    def _update(name: str, body: dict[str, Any], words: Sequence[str]) -> Change:
        return Change("update " + ", ".join(words), sp.template_update(name, body))

    @staticmethod
    def _reached(carried: Mapping[str, Any], used: Sequence[tuple[str, dict[str, Any]]]) -> list[Reached]:
        """Return the objects that propagating would really change, volumes first, by name.

        A snapshot that is being deleted is left out: it is on its way out whatever its template says.
        """
        found = []
        for kind, raw in used:
            held = {option: _held(raw, option) for option, value in carried.items() if _held(raw, option) != value}
            if held and not raw.get("deleted"):
                found.append(Reached(kind, raw, held))
        return sorted(found, key=lambda one: (one.kind != "volume", one.raw["name"]))

    @staticmethod
    def _guard(wanted: WantedTemplate, reached: Sequence[Reached]) -> None:
        """:raises ChangeRefused: propagating would change objects of CloudStack, and that was not asked for."""
        owned = [(one.kind, one.raw) for one in reached if _tag(one.raw, "cs")]
        if owned and not wanted.allow_cloudstack_objects:
            raise ChangeRefused(
                f"propagating template {wanted.name} would change {_counted(owned)} that belong to CloudStack (tag cs)",
                allow_with="allow_cloudstack_objects: true",
                hint="CloudStack sets the limits of its volumes by their offerings; set allow_cloudstack_objects: true to change them "
                "in StorPool, or leave propagate out to change the template for new volumes only",
            )

    @staticmethod
    def _plan_absent(wanted: WantedTemplate, template: dict[str, Any] | None, world: World) -> Plan:
        if template is None:
            return Plan(wanted.name, None, None)
        used = sorted(world.used.get(template["name"], ()), key=lambda one: one[1]["name"])
        if used:
            going = sum(bool(raw.get("deleted")) for _kind, raw in used)
            waiting = f", {going} of them being deleted already" if going else ""
            raise ChangeRefused(
                f"template {template['name']} is in use by {_counted(used)}{waiting}",
                hint="delete them or give them another template first (storpool_volume with template)",
            )
        return Plan(template["name"], template, None, [Change("delete", sp.template_delete(template["name"]))])

    # -- after

    def predict(self, world: World, wanted: WantedTemplate, plan: Plan) -> None:
        """Do nothing: no template is planned from another one."""

    def foresee(self, client: sp.StorPool, wanted: WantedTemplate, plan: Plan, world: World) -> None:
        """Enter the template as it will be, and what it gives to the objects made from it."""
        before, after = plan.before, plan.after
        if before and (after is None or after["name"] != before["name"]):
            client.foresee("template", before["name"], None)
        if after is None:
            return
        client.foresee("template", after["name"], {**world.templates.get((before or after)["name"], {}), **raw_template(after)})
        if before and after["name"] != before["name"]:
            for kind, found in (("volume", client.volumes()), ("snapshot", client.snapshots())):
                for one in found:
                    if one["templateName"] == before["name"]:
                        client.foresee(kind, one["globalId"], {**client.as_foreseen(kind, one), "templateName": after["name"]})
        if wanted.propagate and before:
            carried = {option: after[option] for option in CARRIED if after[option] is not None}
            for one in self._reached(carried, world.used.get(before["name"], ())):
                becomes = {**_to_api(carried), "templateName": after["name"]}
                client.foresee(one.kind, one.raw["globalId"], {**client.as_foreseen(one.kind, one.raw), **becomes})

    def show(self, document: dict[str, Any]) -> dict[str, Any]:
        """Return a template for the diff."""
        return for_diff(document)


def _counted(objects: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """Return how many volumes and snapshots, and the first few names: ``2 volumes (a, b) and 1 snapshot (c)``."""
    parts = []
    for kind in ("volume", "snapshot"):
        names = [raw["name"] for its, raw in objects if its == kind]
        if names:
            more = ", ..." if len(names) > 5 else ""
            parts.append(f"{len(names)} {kind}{'' if len(names) == 1 else 's'} ({', '.join(names[:5])}{more})")
    return " and ".join(parts)


def _propagation_note(reached: Sequence[Reached]) -> dict[str, Any]:
    """Return the result's word on which existing objects are changed."""
    note: dict[str, Any] = {"options": [option for option in CARRIED if any(option in one.held for one in reached)]}
    for plural, kind in (("volumes", "volume"), ("snapshots", "snapshot")):
        names = [one.raw["name"] for one in reached if one.kind == kind]
        note[plural] = {"count": len(names), "names": names[:SHOWN], "all_named": len(names) <= SHOWN}
    return {"propagated": note}


def _beside(carried: Mapping[str, Any], reached: Sequence[Reached]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the existing objects before and after, for the diff."""
    before, after = {}, {}
    for one in reached[:SHOWN]:
        before[f"{one.kind} {one.raw['name']}"] = one.held
        after[f"{one.kind} {one.raw['name']}"] = {option: carried[option] for option in one.held}
    if len(reached) > SHOWN:
        before["others"] = f"{len(reached) - SHOWN} more"
        after["others"] = f"{len(reached) - SHOWN} more, changed as well"
    return {"existing": before}, {"existing": after}


def _qos_warning(wanted: WantedTemplate, reached: Sequence[Reached]) -> list[str]:
    """Return a warning when storpool_qos will set limits of some volumes again (sheet 3.14: their tag ``qc`` names a tier)."""
    tiered = [(one.kind, one.raw) for one in reached if _tag(one.raw, "qc") and any(option in one.held for option in _LIMITS)]
    if not tiered:
        return []
    return [f"template {wanted.name}: {_counted(tiered)} have a QoS tier (tag qc); storpool_qos will set their limits again"]


TEMPLATES = Templates()
