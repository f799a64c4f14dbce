# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 4: VM snapshots of CloudStack, which StorPool takes as one consistent group.

Facts: reference sheet cloudstack-storpool, section 5.6. CloudStack knows a VM snapshot by the name that it was given (``displayname``) and
StorPool by the tag ``uuid``, which is CloudStack's id, on one snapshot for each volume.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, tzinfo
from functools import partial
from typing import Any, Callable

from .._cloudstack import CloudStack, Command
from .._errors import ChangeRefused, CollectionError, OptionError
from .._plan import Change, JointWait, Plan
from ._cloud import Directory, Owner, one_of, parse_owner, settled, storpool_address
from .retention import RULES, Rules, check_most, kept, parse_rules
from .series import NamePattern, parse_zone

READY, ERROR = "Ready", "Error"
_BUSY = frozenset({"Allocated", "Creating", "Reverting", "Expunging"})  # what passes by itself
DISK = "Disk"
RUNNING, STOPPED = "Running", "Stopped"
# A VM that is stopped to be reverted carries this tag until it runs again, so that a run after an interrupted one starts it.
MARK = "ansible-start-after-revert"
_PROOF = 10  # seconds in which StorPool has to show the group
_LATER = "wait until CloudStack is done with it and run the task again"
_CREATE_HINTS = (
    ("maximum", "delete some (retention does: keep_last), or raise the setting vmsnapshot.max"),
    ("volume snapshot", "wait until the volume snapshots of this VM are done"),
)


@dataclass
class WantedVmSnapshot:
    """One declared VM snapshot, or, pruned, a series of them."""

    label: str
    state: str
    owner: Owner
    vm: str
    name: str | None
    id: str | None
    now: float
    zone: tzinfo
    pattern: NamePattern | None = None
    description: str | None = None
    stop_vm: bool = False
    rules: Rules | None = None
    max_deletes: int | None = None
    verify: str = "strict"

    def names(self) -> Sequence[str]:
        return [self.id or f"{self.owner}/{self.vm}/{'the series ' if self.state == 'pruned' else ''}{self.label}"]

    def needs(self) -> Sequence[str]:
        return ()


@dataclass
class World:
    """What was read: VMs by owner, VM snapshots and volumes by the id of their VM, and of StorPool the groups by the id of the VM snapshot
    (``None``: it was not asked).

    ``written`` is, for each volume of StorPool's by address, the snapshot it stands on and the bytes written since. ``look`` reads again.
    """

    machines: dict[Owner, list[dict[str, Any]]]
    snapshots: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    volumes: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    groups: dict[str, list[dict[str, Any]]] | None = None
    written: dict[str, tuple[str, int | None]] = field(default_factory=dict)
    look: Callable[[CloudStack], World] | None = None


class VmSnapshots:
    """VM snapshots, as the runner manages them."""

    kind = "VM snapshot"

    # -- desired

    def parse(self, options: Mapping[str, Any], now: float) -> WantedVmSnapshot:
        """Return what is wanted of one VM snapshot or series. :raises OptionError: names the option that cannot be meant."""
        texts = {name: options[name] and options[name].strip() for name in ("name", "id", "vm")}
        if not texts["vm"]:
            raise OptionError("vm", options["vm"], "is needed: the name or id of the VM")
        state, zone = options["state"], parse_zone(options["timezone"])
        if not texts["name"] and not (texts["id"] and state in ("absent", "reverted")):
            raise OptionError("name", options["name"], "is needed: without a name each run would take another snapshot")
        pattern = NamePattern(texts["name"]) if texts["name"] else None
        if pattern and pattern.per_volume:
            raise OptionError("name", texts["name"], "has {volume} in it; a VM snapshot is one of all volumes")
        rules = parse_rules(options)
        name = pattern and (pattern.text if state == "pruned" else pattern.render(datetime.fromtimestamp(now, zone)))
        wanted = WantedVmSnapshot(
            f"{texts['vm']}/{name or texts['id']}", state, parse_owner(options), texts["vm"], name, texts["id"], now, zone
        )
        if rules is None and state == "pruned":
            raise OptionError("state", state, "needs at least one of " + ", ".join(f"keep_{rule}" for rule in RULES))
        if rules is not None and state not in ("present", "pruned"):
            raise OptionError("state", state, "cannot be combined with retention; use state: pruned to take no snapshot")
        if rules is not None and not pattern.timed:
            raise OptionError("name", texts["name"], "has no time in it, as in nightly-%Y%m%d, so retention has no series")
        wanted.pattern, wanted.rules, wanted.max_deletes = pattern, rules, options["max_deletes"]
        if wanted.max_deletes is not None and (rules is None or wanted.max_deletes < 0):
            raise OptionError("max_deletes", wanted.max_deletes, "is for retention (keep_last and the like), and not negative")
        wanted.description, wanted.stop_vm, wanted.verify = options["description"], bool(options["stop_vm"]), options["verify"]
        if wanted.stop_vm and state != "reverted":
            raise OptionError("stop_vm", True, "is for state: reverted; CloudStack takes VM snapshots of running VMs")
        return wanted

    # -- observe

    def observe(self, client: CloudStack, wanted: Sequence[WantedVmSnapshot]) -> World:
        """List VMs, their snapshots and volumes, and StorPool's snapshots, each once, for however many VMs."""
        directory = Directory(client)
        world = World({}, look=partial(self.observe, wanted=wanted))
        for owner in dict.fromkeys(one.owner for one in wanted):
            names = {one.vm for one in wanted if one.owner == owner}
            world.machines[owner] = _machines(client, directory, owner, names)
        machines = {}
        for one in wanted:
            machine = _quietly(one, world)
            if machine:
                machines[machine["id"]] = machine
        if not machines:
            return world
        only = {"virtualmachineid": next(iter(machines))} if len(machines) == 1 else {}
        read = partial(client.list, "listVMSnapshot", "vmSnapshot", unlimited=True, listall=True, **only)
        busy = partial(_busy, frozenset(one.name or one.id for one in wanted), frozenset(machines))
        for snapshot in settled(read, busy, client.connection.job_timeout):
            world.snapshots.setdefault(snapshot["virtualmachineid"], []).append(snapshot)
        on_storpool = [one for one in wanted if one.state == "reverted" or (one.state == "present" and one.verify != "off")]
        if on_storpool or any(one.state == "present" for one in wanted):
            for volume in client.list("listVolumes", "volume", unlimited=True, listall=True, **only):
                if volume.get("virtualmachineid"):
                    world.volumes.setdefault(volume["virtualmachineid"], []).append(volume)
        if on_storpool:
            world.groups = {}
            for snapshot in client.storpool.snapshots():
                if snapshot["tags"].get("cs") == "group" and not snapshot["deleted"]:
                    world.groups.setdefault(snapshot["tags"].get("uuid", ""), []).append(snapshot)
        if any(one.state == "reverted" for one in wanted):
            stored = {one["name"]: one["storedSize"] for one in client.storpool.volumes_space()}
            for volume in client.storpool.volumes():
                world.written[f"~{volume['globalId']}"] = world.written[volume["name"]] = (volume["parentName"], stored.get(volume["name"]))
        return world

    # -- plan

    def plan(self, wanted: WantedVmSnapshot, world: World) -> Plan:
        """Return what it takes to have the VM snapshot, or the series, as declared. Pure."""
        present = None
        try:
            machine = one_of(world.machines[wanted.owner], wanted.vm, "vm", "VM")
            if machine is None:
                if wanted.state == "absent":
                    return Plan(wanted.label, None, None)
                raise OptionError("vm", wanted.vm, "does not exist in CloudStack")
            present = self._find(wanted, machine, world)
            if wanted.state == "absent":
                return self._plan_absent(wanted, present)
            if wanted.state == "reverted":
                return self._plan_reverted(wanted, machine, present, world)
            if wanted.state == "pruned":
                return self._with_retention(wanted, Plan(wanted.label, None, None), machine, world)
            plan = self._plan_new(wanted, machine, world) if present is None else self._plan_present(wanted, machine, present, world)
            return self._with_retention(wanted, plan, machine, world) if wanted.rules else plan
        except CollectionError as exc:
            document = present and _shown(present)
            return Plan(wanted.label, document, document, refused=exc)

    @staticmethod
    def _find(wanted: WantedVmSnapshot, machine: Mapping[str, Any], world: World) -> Mapping[str, Any] | None:
        rows = [{**one, "name": one.get("displayname")} for one in world.snapshots.get(machine["id"], ()) if one.get("state") != "Removed"]
        if wanted.state == "pruned":
            return None
        if wanted.id:
            return next((one for one in rows if one["id"] == wanted.id), None)
        return one_of([one for one in rows if one["name"] == wanted.name], wanted.name, "name", "VM snapshot")

    # present

    def _plan_new(self, wanted: WantedVmSnapshot, machine: Mapping[str, Any], world: World) -> Plan:
        if machine.get("state") not in (RUNNING, STOPPED):
            raise ChangeRefused(f"VM {machine['name']} is {machine.get('state')}; no snapshot can be taken of it now", hint=_LATER)
        volumes = world.volumes.get(machine["id"], ())
        if not volumes:
            raise ChangeRefused(f"VM {machine['name']} has no volumes to take a snapshot of", hint="start it once, or attach a volume")
        elsewhere = [f"{one['name']} on {one.get('storage')}" for one in volumes if not _on_storpool(one)]
        if elsewhere:
            raise ChangeRefused(
                f"VM {machine['name']} has volumes that are not on StorPool ({', '.join(elsewhere)}), so no consistent group can be taken",
                hint="move them to a StorPool pool first (cloudstack_volume, storage_pool)",
            )
        params = {"virtualmachineid": machine["id"], "name": wanted.name, "description": wanted.description, "snapshotmemory": False}
        after = {
            "id": None, "name": wanted.name, "vm": machine["name"], "state": READY, "type": DISK, "description": wanted.description,
        }  # fmt: skip
        notes: dict[str, Any] = {"storpool": None, "differences": []}
        create = Change("create", Command("createVMSnapshot", params, wanted.label, hints=_CREATE_HINTS), {"vmsnapshot": _learn})
        return Plan(wanted.label, None, after, [create], notes, waits=self._proof(wanted, after, notes, machine["id"], world))

    def _plan_present(self, wanted: WantedVmSnapshot, machine: Mapping[str, Any], present: Mapping[str, Any], world: World) -> Plan:
        shown = _shown(present)
        if present["state"] != READY:
            raise ChangeRefused(
                f"VM snapshot {wanted.label} is {present['state']}",
                hint="delete it (state: absent) and take another" if present["state"] == ERROR else _LATER,
            )
        notes = {"storpool": _group(present["id"], world), "differences": self._compared(present, machine["id"], world)}
        if notes["differences"] and wanted.verify == "strict":
            raise ChangeRefused(
                f"VM snapshot {wanted.label} is not what CloudStack says: {'; '.join(notes['differences'])}",
                hint="a part of it is gone on StorPool; delete it (state: absent) and take another, or set verify: warn",
            )
        warnings = [f"VM snapshot {wanted.label}: {'; '.join(notes['differences'])}"] if notes["differences"] else []
        return Plan(wanted.label, shown, shown, (), notes, warnings)

    @staticmethod
    def _compared(present: Mapping[str, Any], machine: str, world: World) -> list[str]:
        """Return what StorPool does not hold as CloudStack says; nothing when StorPool was not asked.

        While a VM has VM snapshots its volumes can neither be attached nor detached, so each has its snapshot in the group.
        """
        if world.groups is None:
            return []
        group, volumes = world.groups.get(present["id"], []), world.volumes.get(machine, [])
        found = []
        if len(group) != len(volumes):
            found.append(f"StorPool has {len(group)} snapshots of it, the VM has {len(volumes)} volumes")
        moments = {one["creationTimestamp"] for one in group}
        if len(moments) > 1:
            found.append(f"its snapshots on StorPool were taken at {len(moments)} different moments")
        return found

    def _proof(self, wanted: WantedVmSnapshot, after: dict[str, Any], notes: dict[str, Any], machine: str, world: World) -> list[JointWait]:
        """Return the look at StorPool that follows the writes: one snapshot for each volume, all of one moment."""
        if wanted.verify == "off":
            return []

        def missing(now: World) -> str | None:
            present = next((one for one in now.snapshots.get(machine, ()) if one["id"] == after["id"]), None)
            if present is None:
                return f"VM snapshot {wanted.label} is not listed"
            notes["storpool"], notes["differences"] = _group(present["id"], now), self._compared(present, machine, now)
            wrong = notes["differences"] and wanted.verify == "strict"
            return f"VM snapshot {wanted.label}: {'; '.join(notes['differences'])}" if wrong else None

        return [JointWait(world.look, missing, _PROOF, "delete it (state: absent) and take another")]

    # retention

    def _with_retention(self, wanted: WantedVmSnapshot, plan: Plan, machine: Mapping[str, Any], world: World) -> Plan:
        """Return ``plan`` with the deletions that leave of the series only what the rules keep."""
        creating = plan.before is None and plan.after is not None
        expression = wanted.pattern.expression("")
        rows = [one for one in world.snapshots.get(machine["id"], ()) if expression.fullmatch(one.get("displayname") or "")]
        busy = [one for one in rows if one["state"] not in (READY, ERROR)]
        series = [(one["displayname"], _moment(one["created"])) for one in rows if one["state"] == READY]
        newest = max((moment for _name, moment in series), default=0)
        if creating:
            # What is made now is the newest, however the clocks of this machine and of the server differ.
            series.append((wanted.name, max(int(wanted.now), newest)))
        reasons = kept(series, wanted.rules, wanted.zone)
        doomed = sorted(
            (one for one in rows if one["displayname"] not in reasons and one not in busy), key=lambda one: _moment(one["created"])
        )
        deleted = [one["displayname"] for one in doomed]
        check_most(wanted.label, deleted, wanted.max_deletes)
        removals = [_removal(one["id"], f"{wanted.vm}/{one['displayname']}", f"delete ({one['displayname']})") for one in doomed]
        before = sorted(one["displayname"] for one in rows)
        after = sorted({*before, *([wanted.name] if creating else [])} - {*deleted})
        warnings = [*plan.warnings, *(f"retention leaves {one['displayname']} alone, which is {one['state']}" for one in busy)]
        notes = {**plan.notes, "retention": {"kept": reasons, "deleted": deleted}}
        if plan.notes:
            plan.notes.update(notes)  # the proof completes this one
            notes = plan.notes
        changes = [*plan.changes, *removals]
        return replace(plan, changes=changes, notes=notes, warnings=warnings, beside=({"series": before}, {"series": after}))

    # reverted

    def _plan_reverted(self, wanted: WantedVmSnapshot, machine: Mapping[str, Any], present: Mapping[str, Any] | None, world: World) -> Plan:
        if present is None:
            known = ", ".join(sorted(str(one.get("displayname")) for one in world.snapshots.get(machine["id"], ()))[:20]) or "none"
            raise OptionError("name", wanted.name or wanted.id, f"is no snapshot of VM {machine['name']}; there are: {known}")
        if present["state"] != READY:
            raise ChangeRefused(f"VM snapshot {wanted.label} is {present['state']}", hint=_LATER)
        if present.get("type") != DISK:
            raise ChangeRefused(
                f"VM snapshot {wanted.label} has the VM's memory in it, so StorPool does not have it as a group",
                hint="revert it in CloudStack",
            )
        shown, state = _shown(present), machine.get("state")
        differences = self._compared(present, machine["id"], world)
        if differences:
            raise ChangeRefused(
                f"VM snapshot {wanted.label} cannot be reverted to: {'; '.join(differences)}",
                hint="nothing was changed; use another snapshot",
            )
        because = self._changed_since(present, machine["id"], world)
        marked = any(tag.get("key") == MARK for tag in machine.get("tags") or ())
        restart = wanted.stop_vm and (marked or (bool(because) and state == RUNNING))
        if because and state == RUNNING and not wanted.stop_vm:
            raise ChangeRefused(
                f"VM {machine['name']} runs; CloudStack reverts disks only of stopped VMs",
                hint="stop it, or set stop_vm: true, which also starts it again", allow_with="stop_vm: true",
            )  # fmt: skip
        if (because or restart) and state not in (RUNNING, STOPPED):
            raise ChangeRefused(f"VM {machine['name']} is {state}", hint=_LATER)
        about, tag = f"VM {machine['name']}", {"resourceids": machine["id"], "resourcetype": "UserVm", "tags[0].key": MARK}
        changes: list[Change] = []
        if restart and because and state == RUNNING:
            if not marked:
                changes.append(Change("mark the VM", Command("createTags", {**tag, "tags[0].value": wanted.label}, about)))
            changes.append(Change("stop the VM", Command("stopVirtualMachine", {"id": machine["id"]}, about)))
        if because:
            changes.append(Change("revert", Command("revertToVMSnapshot", {"vmsnapshotid": present["id"]}, wanted.label)))
        if restart:
            if because or state == STOPPED:
                changes.append(Change("start the VM", Command("startVirtualMachine", {"id": machine["id"]}, about)))
            changes.append(Change("unmark the VM", Command("deleteTags", tag, about)))
        notes = {
            "storpool": _group(present["id"], world),
            "differences": [],
            "revert": {"needed": bool(because), "because": because or "all volumes stand on it and nothing was written to them since"},
        }
        beside = ({"content": f"its own: {because}"}, {"content": f"that of {wanted.label}"}) if because else ({}, {})
        return Plan(wanted.label, shown, shown, changes, notes, beside=beside)

    @staticmethod
    def _changed_since(present: Mapping[str, Any], machine: str, world: World) -> str | None:
        """Return why a volume may not have the content of the snapshot; ``None`` when all are known to have it.

        StorPool compares no contents; a volume that stands on a snapshot of the group and has no bytes of its own has its content.
        """
        names = {one["name"] for one in world.groups.get(present["id"], ())}
        for volume in world.volumes.get(machine, ()):
            parent, stored = world.written.get(storpool_address(volume.get("path")) or "", ("", None))
            if parent not in names:
                return f"volume {volume['name']} does not stand on it"
            if stored is None:
                return f"StorPool does not say how much was written to volume {volume['name']}"
            if stored:
                return f"{stored} bytes were written to volume {volume['name']} since"
        return None

    # absent

    @staticmethod
    def _plan_absent(wanted: WantedVmSnapshot, present: Mapping[str, Any] | None) -> Plan:
        if present is None:
            return Plan(wanted.label, None, None)
        return Plan(wanted.label, _shown(present), None, [_removal(present["id"], wanted.label, "delete")])

    # -- after

    def predict(self, world: World, wanted: WantedVmSnapshot, plan: Plan) -> None:
        """Nothing: VM snapshots declared twice are refused before, and do not depend on each other."""

    def show(self, document: dict[str, Any]) -> dict[str, Any]:
        """Return a VM snapshot for the diff."""
        return {key: value for key, value in document.items() if key != "id"}


def _machines(client: CloudStack, directory: Directory, owner: Owner, names: set[str]) -> list[dict[str, Any]]:
    """Return the VMs that may be meant: one is asked for, several come from the listing."""
    within = directory.within(owner)
    if len(names) == 1:
        name = next(iter(names))
        return client.list("listVirtualMachines", "virtualmachine", **directory.asked(name), **within)
    return client.list("listVirtualMachines", "virtualmachine", unlimited=True, **within)


def _quietly(wanted: WantedVmSnapshot, world: World) -> Mapping[str, Any] | None:
    try:
        return one_of(world.machines[wanted.owner], wanted.vm, "vm", "VM")
    except OptionError:
        return None


def _busy(names: frozenset[str], machines: frozenset[str], rows: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether something goes on with a declared VM snapshot."""
    return any(
        one.get("state") in _BUSY and one["virtualmachineid"] in machines and (one["id"] in names or one.get("displayname") in names)
        for one in rows
    )


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a VM snapshot as results show it."""
    return {
        "id": row["id"],
        "name": row.get("displayname"),
        "vm": row.get("virtualmachinename"),
        "state": row.get("state"),
        "type": row.get("type"),
        "description": row.get("description"),
    }


def _learn(document: dict[str, Any], made: Mapping[str, Any]) -> None:
    document.update(id=made["id"], state=made.get("state", READY), type=made.get("type", DISK))


def _group(identity: str, world: World) -> dict[str, Any] | None:
    """Return StorPool's side of a VM snapshot: one snapshot for each volume, and whether they are of one moment."""
    if world.groups is None:
        return None
    group = sorted(world.groups.get(identity, ()), key=lambda one: one["globalId"])
    return {
        "snapshots": [{"global_id": one["globalId"], "size": one["size"], "created": one["creationTimestamp"]} for one in group],
        "consistent": bool(group) and len({one["creationTimestamp"] for one in group}) == 1,
    }


def _removal(identity: str, label: str, action: str) -> Change:
    return Change(action, Command("deleteVMSnapshot", {"vmsnapshotid": identity}, label))


def _on_storpool(volume: Mapping[str, Any]) -> bool:
    return str(volume.get("path") or "").startswith("/dev/storpool")


def _moment(text: str) -> int:
    """Return UNIX seconds of a time as CloudStack tells it, ``2026-11-22T18:00:00+0000``."""
    return int(datetime.strptime(text, "%Y-%m-%dT%H:%M:%S%z").timestamp())


VM_SNAPSHOTS = VmSnapshots()
