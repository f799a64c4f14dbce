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
from datetime import tzinfo
from functools import partial
from typing import Any, Callable

from .._cloudstack import CloudStack, Command
from .._errors import ChangeRefused, CollectionError, OptionError
from .._plan import Change, JointWait, Plan
from .._units import parse_whole
from ._cloud import (
    PROOF,
    Directory,
    Owner,
    asked_or_all,
    of_project,
    one_of,
    parse_owner,
    settled,
    settled_vms,
    short_enough,
    storpool_address,
    within_reach,
)
from ._shared import quiet
from .cloud_series import (
    KEEPING,
    LATER,
    RUNNING,
    STOPPED,
    Naming,
    Standing,
    changed_since,
    parse_naming,
    shown_revert,
    standings,
    with_retention,
    with_vm_stopped,
)
from .retention import spared_names
from .series import parse_zone

READY, ERROR, EXPUNGING = "Ready", "Error", "Expunging"
_BUSY = frozenset({"Allocated", "Creating", "Reverting"})  # what passes by itself
DISK = "Disk"
MOST = "vmsnapshot.max"  # the setting that says how many a VM may have
_MANY = (1 << 31) - 1
_CREATE_HINTS = (("volume snapshot", "wait until the volume snapshots of this VM are done"),)


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
    naming: Naming
    description: str | None = None
    stop_vm: bool = False
    verify: str = "strict"
    # What is declared beside it decides the rest: which other of the same VM is to be done before, and what retention leaves alone.
    follows: str | None = None
    spared: frozenset[str] = frozenset()

    def names(self) -> Sequence[str]:
        own = self.id or f"{self.owner}{'the series ' if self.state == 'pruned' else ''}{self.label}"
        return [own, f"{self.owner}the content of VM {self.vm}"] if self.state == "reverted" else [own]

    def needs(self) -> Sequence[str]:
        return (self.follows,) if self.follows else ()


@dataclass
class World:
    """What was read: VMs by owner, VM snapshots and volumes by the id of their VM, and of StorPool the groups by the id of the VM snapshot
    (``None``: it was not asked).

    ``written`` is, for each of StorPool's volumes (by address) and snapshots (by name), the snapshot it stands on and the bytes it has of
    its own. ``most`` is how many VM snapshots a VM may have (``None``: not asked, as none is to be taken). ``look`` reads again.
    """

    machines: dict[Owner, list[dict[str, Any]]]
    snapshots: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    volumes: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    groups: dict[str, list[dict[str, Any]]] | None = None
    written: dict[str, Standing] = field(default_factory=dict)
    most: int | None = None
    look: Callable[[CloudStack], World] | None = None


class VmSnapshots:
    """VM snapshots, as the runner manages them."""

    kind = "VM snapshot"

    # -- desired

    def parse(self, options: Mapping[str, Any], now: float) -> WantedVmSnapshot:
        """Return what is wanted of one VM snapshot or series. :raises OptionError: names the option that cannot be meant."""
        machine, identity = (options[name] and options[name].strip() for name in ("vm", "id"))
        if not machine:
            raise OptionError("vm", options["vm"], "is needed: the name or id of the VM")
        state, zone = options["state"], parse_zone(options["timezone"])
        naming = parse_naming(options, now, zone, ("absent", "reverted"), "a VM snapshot is one of all volumes")
        label = f"{machine}/{naming.name or identity}"
        wanted = WantedVmSnapshot(label, state, parse_owner(options), machine, naming.name, identity, now, zone, naming)
        wanted.description = short_enough(options["description"], "description")
        wanted.stop_vm, wanted.verify = bool(options["stop_vm"]), options["verify"]
        if wanted.stop_vm and state != "reverted":
            raise OptionError("stop_vm", True, "is for state: reverted; CloudStack takes VM snapshots of running VMs")
        return wanted

    # -- observe

    def observe(self, client: CloudStack, wanted: Sequence[WantedVmSnapshot]) -> World:
        """List VMs, their snapshots and volumes, and StorPool's snapshots, each once, for however many VMs."""
        directory = Directory(client)
        world = World({}, look=partial(self.observe, wanted=wanted))
        for owner in dict.fromkeys(one.owner for one in wanted):
            mine = [one for one in wanted if one.owner == owner]
            read = partial(asked_or_all, client, directory, owner, "listVirtualMachines", "virtualmachine", {one.vm for one in mine})
            world.machines[owner] = settled_vms(client, read, {one.vm for one in mine if one.state == "reverted"})
        machines = {}
        for one in wanted:
            machine = quiet(_machine, one, world)
            if machine:
                machines[machine["id"]] = machine
        if not machines:
            return world
        only = {"virtualmachineid": next(iter(machines))} if len(machines) == 1 else {}
        places = [of_project(machine) for machine in machines.values()]
        within = [{"listall": True, **place, **only} for number, place in enumerate(places) if place not in places[:number]]

        def listed(call: str, key: str) -> list[dict[str, Any]]:
            return [one for params in within for one in client.list(call, key, unlimited=True, **params)]

        read = partial(listed, "listVMSnapshot", "vmSnapshot")
        busy = partial(_busy, frozenset(one.name or one.id for one in wanted), frozenset(machines))
        for snapshot in settled(read, busy, client.connection.job_timeout):
            world.snapshots.setdefault(snapshot["virtualmachineid"], []).append(snapshot)
        on_storpool = [one for one in wanted if one.state == "reverted" or (one.state == "present" and one.verify != "off")]
        if on_storpool or any(one.state == "present" for one in wanted):
            for volume in listed("listVolumes", "volume"):
                if volume.get("virtualmachineid"):
                    world.volumes.setdefault(volume["virtualmachineid"], []).append(volume)
        if any(self._is_new(one, world) for one in wanted):
            for setting in client.list("listConfigurations", "configuration", name=MOST):
                if setting["name"] == MOST:
                    world.most = parse_whole(setting.get("value"), 0, _MANY)
        if on_storpool:
            world.groups = {}
            snapshots = client.storpool.snapshots()
            for snapshot in snapshots:
                if snapshot["tags"].get("cs") == "group" and not snapshot["deleted"]:
                    world.groups.setdefault(snapshot["tags"].get("uuid", ""), []).append(snapshot)
            if any(one.state == "reverted" for one in wanted):
                world.written = standings(client.storpool, snapshots)
        return world

    def _is_new(self, wanted: WantedVmSnapshot, world: World) -> bool:
        machine = wanted.state == "present" and quiet(_machine, wanted, world)
        return bool(machine) and quiet(self._find, wanted, machine, world) is None

    def spread(self, wanted: Sequence[WantedVmSnapshot], world: World) -> list[WantedVmSnapshot]:
        """Let those of one VM follow each other: CloudStack does one thing with a VM at a time. Retention spares what is declared."""
        machines = [quiet(_machine, one, world) or {} for one in wanted]
        names = [one.name if one.state in KEEPING else None for one in wanted]
        spared = spared_names([(machine.get("id"), [name]) for machine, name in zip(machines, names)])
        last: dict[str | None, str] = {}
        found = []
        for one, machine, names in zip(wanted, machines, spared):
            found.append(replace(one, spared=names, follows=last.get(machine.get("id")) if machine else None))
            last[machine.get("id")] = one.names()[0]
        return found

    # -- plan

    def plan(self, wanted: WantedVmSnapshot, world: World) -> Plan:
        """Return what it takes to have the VM snapshot, or the series, as declared. Pure."""
        present = None
        try:
            machine = _machine(wanted, world)
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
            if wanted.naming.rules:
                plan = self._with_retention(wanted, plan, machine, world)
            return self._with_room(plan, machine, world) if present is None else plan
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
            raise ChangeRefused(f"VM {machine['name']} is {machine.get('state')}; no snapshot can be taken of it now", hint=LATER)
        volumes = world.volumes.get(machine["id"], ())
        if not volumes:
            raise ChangeRefused(f"VM {machine['name']} has no volumes to take a snapshot of", hint="start it once, or attach a volume")
        elsewhere = [f"{one['name']} on {one.get('storage')}" for one in volumes if not _on_storpool(one)]
        unborn = [one["name"] for one in volumes if one.get("state") == "Allocated"]
        if unborn:
            raise ChangeRefused(f"VM {machine['name']} has volumes that are not there yet ({', '.join(unborn)})", hint="start it once")
        if elsewhere:
            raise ChangeRefused(
                f"VM {machine['name']} has volumes that are not on StorPool ({', '.join(elsewhere)}), so no consistent group can be taken",
                hint="move them to a StorPool pool first (cloudstack_volume, storage_pool)",
            )
        alike = [one["displayname"] for one in world.snapshots.get(machine["id"], ()) if one["displayname"].lower() == wanted.name.lower()]
        if alike:
            raise OptionError("name", wanted.name, f"is for CloudStack the same as {alike[0]}, which there is; use that, or another name")
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
                hint="delete it (state: absent) and take another" if present["state"] in (ERROR, EXPUNGING) else LATER,
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
        made_from = {f"~{one.get('createdFromGlobalId', '')}" for one in group}
        if group and "~" not in made_from:  # not every version of StorPool tells it
            addresses = {one["name"]: storpool_address(one.get("path")) or "" for one in volumes}
            lacking = [name for name, address in addresses.items() if address.startswith("~") and address not in made_from]
            found += [f"StorPool has no snapshot of volume {name} among them" for name in sorted(lacking)]
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

        return [JointWait(world.look, missing, PROOF, "delete it (state: absent) and take another")]

    # retention

    @staticmethod
    def _with_room(plan: Plan, machine: Mapping[str, Any], world: World) -> Plan:
        """Return ``plan`` with what retention deletes before the new one, where a VM has as many as it may have.

        :raises ChangeRefused: that does not make room.
        """
        taken = len(world.snapshots.get(machine["id"], ()))
        if world.most is None or taken < world.most:
            return plan
        create, *deletions = plan.changes
        if taken - len(deletions) >= world.most:
            raise ChangeRefused(
                f"VM {machine['name']} has {taken} VM snapshots, and CloudStack lets it have {world.most}",
                hint=f"delete some, keep fewer of the series, or raise the setting {MOST} (cloudstack_settings)",
            )
        return replace(plan, changes=[*deletions, create])

    @staticmethod
    def _with_retention(wanted: WantedVmSnapshot, plan: Plan, machine: Mapping[str, Any], world: World) -> Plan:
        """Return ``plan`` with the deletions that leave of the series only what the rules keep."""
        rows = [{**one, "name": one.get("displayname")} for one in world.snapshots.get(machine["id"], ())]
        return with_retention(
            wanted, plan, rows, READY, ERROR, lambda row, action: _removal(row["id"], f"{wanted.vm}/{row['name']}", action)
        )

    # reverted

    def _plan_reverted(self, wanted: WantedVmSnapshot, machine: Mapping[str, Any], present: Mapping[str, Any] | None, world: World) -> Plan:
        if present is None:
            known = ", ".join(sorted(str(one.get("displayname")) for one in world.snapshots.get(machine["id"], ()))[:20]) or "none"
            raise OptionError("name", wanted.name or wanted.id, f"is no snapshot of VM {machine['name']}; there are: {known}")
        if present["state"] != READY:
            raise ChangeRefused(f"VM snapshot {wanted.label} is {present['state']}", hint=LATER)
        if present.get("type") != DISK:
            raise ChangeRefused(
                f"VM snapshot {wanted.label} has the VM's memory in it, so StorPool does not have it as a group",
                hint="revert it in CloudStack",
            )
        shown = _shown(present)
        differences = self._compared(present, machine["id"], world)
        if differences:
            raise ChangeRefused(
                f"VM snapshot {wanted.label} cannot be reverted to: {'; '.join(differences)}",
                hint="nothing was changed; use another snapshot",
            )
        because = self._changed_since(present, machine["id"], world)
        revert = Change("revert", Command("revertToVMSnapshot", {"vmsnapshotid": present["id"]}, wanted.label))
        changes = with_vm_stopped(machine, wanted, because, revert, "disks")
        notes = {
            "storpool": _group(present["id"], world),
            "differences": [],
            "revert": {"needed": bool(because), "because": because or "all volumes stand on it and nothing was written to them since"},
        }
        beside = shown_revert(wanted.label, because, machine, changes)
        return Plan(wanted.label, shown, shown, changes, notes, beside=beside)

    @staticmethod
    def _changed_since(present: Mapping[str, Any], machine: str, world: World) -> str | None:
        """Return why a volume may not have the content of the snapshot; ``None`` when all are known to have it."""
        names = {one["name"] for one in world.groups.get(present["id"], ())}
        reasons = (changed_since(volume, names, world.written) for volume in world.volumes.get(machine, ()))
        return next((reason for reason in reasons if reason), None)

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


def _machine(wanted: WantedVmSnapshot, world: World) -> Mapping[str, Any] | None:
    """Return the VM, ``None`` when there is none of that name. :raises OptionError: several have it."""
    return within_reach(one_of(world.machines[wanted.owner], wanted.vm, "vm", "VM"), wanted.owner, "VM")


def _busy(names: frozenset[str], machines: frozenset[str], rows: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether something goes on with a declared VM snapshot. A deletion that failed leaves it Expunging, without a job."""
    return any(
        (one.get("state") in _BUSY or (one.get("state") == EXPUNGING and one.get("jobid")))
        and one["virtualmachineid"] in machines
        and (one["id"] in names or one.get("displayname") in names)
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
    """Only root admins see where a volume lies; for others it is taken to be there, and CloudStack knows."""
    return not volume.get("storage") or storpool_address(volume.get("path")) is not None


VM_SNAPSHOTS = VmSnapshots()
