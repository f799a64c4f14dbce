# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 4: what is read of volumes of CloudStack, of both systems, for what is declared.

Facts: reference sheet cloudstack-storpool, sections 5.1 to 5.3, 5.7 and 5.8.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Callable

from .._cloudstack import CloudStack, pick
from .._errors import ApiError, CollectionError, OptionError
from ._both_layers import RUNNING, compared, on_storpool, origin_of
from ._cloud import (
    GONE,
    PROOF,
    Directory,
    OfVolumes,
    Owner,
    alone,
    of_project,
    one_of,
    settled,
    storpool_address,
    with_strangers,
    within_reach,
)
from ._shared import Attachments, fetch_named, index_attachments, quiet
from .cloud_volume_wanted import WantedVolume
from .offering import known_offerings

ALLOCATED, READY = "Allocated", "Ready"
ROOT = "ROOT"
BAD_PARAMETER = 431
# What passes by itself (Volume.java).
_BUSY = frozenset(
    {"Creating", "Migrating", "Snapshotting", "RevertSnapshotting", "Resizing", "Copying", "Attaching", "Restoring", "Destroying"}
)


@dataclass
class World(OfVolumes):
    """What was read.

    CloudStack's volumes and ``snapshots`` by owner, its ``offerings`` by id, its ``pools``, the volumes that snapshots were taken of by id
    (``sources``), the snapshots that are on the pool of their volume alone by the volume's id (``lonely``), the ids of VMs
    ``with_snapshots``, and the names of volumes that are ``devices`` of VMs, by the VM's id and the number. StorPool's volumes by address
    (``storpool``), their ``attachments`` (``None``: not known), its snapshots by name (``bases``; ``taken_of`` are the ids of the volumes
    of CloudStack's, by theirs), the client of the host of a VM by the VM's id (``clients``). ``vms`` are VMs by owner and the name given,
    or why there is none; ``belongs`` the parameters of creation by owner, ``places`` what results will say of them. ``look`` reads all of
    this once more, ``look_for_deleted`` what StorPool has left of the volumes that are to go.
    """

    offerings: dict[str, dict[str, Any]] = field(default_factory=dict)
    storpool: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    attachments: Attachments | None = None
    clients: dict[str, int] = field(default_factory=dict)
    snapshots: dict[Owner, list[dict[str, Any]]] = field(default_factory=dict)
    bases: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    sources: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    vms: dict[tuple[Owner, str], Mapping[str, Any] | CollectionError] = field(default_factory=dict)
    pools: Sequence[Mapping[str, Any]] = ()
    with_snapshots: set[str] = field(default_factory=set)
    devices: dict[str, dict[int, str]] = field(default_factory=dict)
    lonely: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)
    belongs: dict[Owner, dict[str, Any] | CollectionError] = field(default_factory=dict)
    places: dict[Owner, dict[str, Any]] = field(default_factory=dict)
    version: tuple[int, ...] | None = None
    taken_of: dict[str, Any] = field(default_factory=dict)
    look: Callable[[CloudStack], World] | None = None
    look_for_deleted: Callable[[CloudStack], Mapping[str, Any]] | None = None

    def vm(self, wanted: WantedVolume) -> Mapping[str, Any]:
        """Return the VM that a volume is to be attached to. :raises CollectionError: there is none, or several."""
        found = self.vms[wanted.owner, wanted.vm]
        if isinstance(found, CollectionError):
            raise found
        return found

    def differences(
        self, row: Mapping[str, Any], offering: Mapping[str, Any] | None, storpool: Mapping[str, Mapping[str, Any]] | None = None
    ) -> list[dict[str, Any]]:
        """Return in what the two systems differ, or would if StorPool's volumes were these."""
        client = self.clients.get(row.get("virtualmachineid") or "")
        return list(compared(row, offering, self.storpool if storpool is None else storpool, self.attachments, client))

    def origin(self, row: Mapping[str, Any]) -> str | None:
        """Return the id of the snapshot that a volume was made from, as far as it can be told."""
        return origin_of(row, self.storpool, self.bases, self.taken_of)


def observe(client: CloudStack, wanted: Sequence[WantedVolume]) -> World:
    """List volumes and offerings once and StorPool's volumes and attachments once; further reads only for what is to change."""
    directory = Directory(client)
    world = World(look=partial(observe, wanted=wanted))
    for owner in dict.fromkeys(one.owner for one in wanted):
        its = [one for one in wanted if one.owner == owner]
        read = partial(_volumes, client, directory, owner, its)
        rows = settled(read, partial(_busy, its), client.connection.job_timeout)
        if _is_empty(its, rows):
            # What copies the snapshot may be about to begin. If nothing does, the record is left of one that failed.
            settled(read, partial(_is_empty, its), PROOF)
            rows = settled(read, partial(_busy, its), client.connection.job_timeout)
        world.volumes[owner] = rows
    present = [(one, quiet(find, one, world)) for one in wanted]
    kept = [(one, row) for one, row in present if one.state == "present"]
    if kept:
        world.offerings = known_offerings(client, compute=any(row and row.get("type") == ROOT for _one, row in kept))
    _look_at_storpool(client, directory, present, world)
    _look_at_snapshots(client, directory, [(one, row) for one, row in kept if one.snapshot], world)
    _look_at_pools(client, directory, [(one, row) for one, row in kept if one.storage_pool], world)
    for one, row in kept:
        _look_up(client, directory, one, row, world)
    _look_at_devices(directory, present, world)
    return world


def _volumes(client: CloudStack, directory: Directory, owner: Owner, wanted: Sequence[WantedVolume]) -> list[dict[str, Any]]:
    names = {name for one in wanted for name in (one.name, one.renamed_from) if name and not one.id}
    ids = {one.id for one in wanted if one.id}
    within = directory.within(owner)
    if not ids and len(names) == 1:
        return client.list("listVolumes", "volume", name=next(iter(names)), **within)
    if len(ids) == 1 and not names:
        return _listed(client, "listVolumes", "volume", id=next(iter(ids)), **within)
    return with_strangers(client, owner, "listVolumes", "volume", client.list("listVolumes", "volume", unlimited=True, **within), ids)


def _look_at_storpool(client: CloudStack, directory: Directory, present: Sequence[_Pair], world: World) -> None:
    """Read what StorPool holds of the volumes that are compared, and which client is the VM's host."""
    there = [(one, row) for one, row in present if row and one.verify != "off" and on_storpool(row)]
    kept = [(one, row) for one, row in there if one.state == "present"]
    deleted = {storpool_address(row["path"]) for one, row in there if one.state == "absent"}
    if deleted:
        world.look_for_deleted = lambda client: fetch_named(deleted, client.storpool.volume, client.storpool.volumes)
    if not kept:
        return
    addresses = {storpool_address(row["path"]) for _one, row in kept}
    world.storpool = fetch_named(addresses, client.storpool.volume, client.storpool.volumes)
    if not client.storpool.connection.multi_cluster:  # of several clusters only one would tell
        world.attachments = index_attachments(client.storpool.attachments())
    node_ids = {host: number for one, _row in kept for host, number in one.node_ids.items()}
    for owner in dict.fromkeys(one.owner for one, row in kept if row.get("vmstate") == RUNNING) if node_ids else ():
        for machine in client.list("listVirtualMachines", "virtualmachine", unlimited=True, **directory.within(owner)):
            if machine.get("hostname") in node_ids:
                world.clients[machine["id"]] = node_ids[machine["hostname"]]


def _look_at_snapshots(client: CloudStack, directory: Directory, pairs: Sequence[_Pair], world: World) -> None:
    """Read the snapshots that volumes are made from, and what tells those that volumes were made from."""
    for owner in dict.fromkeys(one.owner for one, _row in pairs):
        its = [(one, row) for one, row in pairs if one.owner == owner]
        names = {one.snapshot for one, row in its if row is None or row.get("snapshotid") != one.snapshot}
        if any(row and not row.get("snapshotid") for _one, row in its):
            # What the volume stands on may also be a snapshot of itself, so all are needed to tell.
            world.snapshots[owner] = client.list("listSnapshots", "snapshot", unlimited=True, **directory.within(owner))
            world.bases = world.bases or {one["name"]: one for one in client.storpool.snapshots()}
        elif names:
            asked = directory.asked(next(iter(names))) if len(names) == 1 else {"unlimited": True}
            world.snapshots[owner] = _listed(client, "listSnapshots", "snapshot", **asked, **directory.within(owner))
    world.taken_of = {one["id"]: one.get("volumeid") for rows in world.snapshots.values() for one in rows}
    for one, row in pairs:
        snapshots = declared_snapshots(one, world)
        volume = snapshots[0].get("volumeid") if row is None and len(snapshots) == 1 else None
        if volume and volume not in world.sources:
            world.sources[volume] = next(iter(client.list("listVolumes", "volume", id=volume, listall=True)), {})


def _look_at_pools(client: CloudStack, directory: Directory, pairs: Sequence[_Pair], world: World) -> None:
    """Read the storage pools, and of volumes that are to be moved the snapshots that would forbid it."""
    pairs = [(one, row) for one, row in pairs if row is None or one.storage_pool not in (row.get("storage"), row.get("storageid"))]
    if pairs:
        world.pools = directory.all("listStoragePools", "storagepool")
    for owner in dict.fromkeys(one.owner for one, _row in pairs):
        ids = [row["id"] for one, row in pairs if one.owner == owner and row and row.get("state") == READY]
        only = {"volumeid": ids[0]} if len(ids) == 1 else {}
        if not ids:
            continue
        copies: dict[str, list[dict[str, Any]]] = {}
        for row in client.list("listSnapshots", "snapshot", unlimited=True, showunique=False, **only, **directory.within(owner)):
            copies.setdefault(row["id"], []).append(row)
        for rows in copies.values():
            if {one.get("datastoretype") for one in rows} == {"Primary"}:
                world.lonely.setdefault(rows[0].get("volumeid") or "", []).append(rows[0])


def _look_up(client: CloudStack, directory: Directory, one: WantedVolume, row: Mapping[str, Any] | None, world: World) -> None:
    """Read what only this volume's changes need."""
    if row is None:
        try:
            world.belongs.setdefault(one.owner, directory.belongs(one.owner))
            world.places.setdefault(one.owner, _place(directory, one.owner, world.belongs[one.owner]))
        except CollectionError as exc:
            world.belongs[one.owner] = exc
    if one.vm and not (row and is_vm(row, one.vm)) and (one.owner, one.vm) not in world.vms:
        try:
            rows = _listed(client, "listVirtualMachines", "virtualmachine", **directory.asked(one.vm), **directory.within(one.owner))
            found = within_reach(one_of(rows, one.vm, "vm", "VM"), one.owner, "VM")
            if found is None:
                raise OptionError("vm", one.vm, "does not exist in CloudStack", item=one.label)
            world.vms[one.owner, one.vm] = found
        except CollectionError as exc:
            world.vms[one.owner, one.vm] = exc
    machines = {row.get("virtualmachineid"): of_project(row)} if row and _disturbs(one, row) else {}
    target = world.vms.get((one.owner, one.vm))
    if isinstance(target, Mapping):
        machines[target["id"]] = of_project(target)
    for machine, project in machines.items():
        if machine and directory.all("listVMSnapshot", "vmSnapshot", virtualmachineid=machine, listall=True, **project):
            world.with_snapshots.add(machine)
    unprotected = one.delete_protection and (row is None or row.get("deleteprotection") is None)
    if unprotected or (row and row.get("vmstate") == RUNNING and _resizes(one, row)):
        world.version = client.version


def _look_at_devices(directory: Directory, pairs: Sequence[_Pair], world: World) -> None:
    """Read which volumes VMs have already, where one is to get a certain number; what the task itself takes away is none of them."""
    leaving = {row["id"] for one, row in pairs if row and _leaves(one, row)}
    for wanted, row in pairs:
        machine = world.vms.get((wanted.owner, wanted.vm)) if wanted.device_id is not None else None
        if isinstance(machine, Mapping) and machine["id"] not in world.devices and not (row and is_vm(row, wanted.vm)):
            there = directory.all("listVolumes", "volume", virtualmachineid=machine["id"], listall=True, **of_project(machine))
            world.devices[machine["id"]] = {one.get("deviceid"): one["name"] for one in there if one["id"] not in leaving}


def _leaves(wanted: WantedVolume, row: Mapping[str, Any]) -> bool:
    """Tell whether a volume will not be where it is attached."""
    return wanted.state == "absent" or (wanted.vm is not None and not is_vm(row, wanted.vm))


def in_order(wanted: Sequence[WantedVolume], world: World) -> list[WantedVolume]:
    """Let a volume that gets a certain device of a VM follow the one that is declared beside it and leaves that device.

    Two that change places follow each other, which is refused when the objects are put in order (``_plan.waves``).
    """
    if all(one.device_id is None for one in wanted):
        return list(wanted)
    left: dict[tuple[Any, Any], WantedVolume] = {}
    for one in wanted:
        row = quiet(find, one, world)
        if row and row.get("virtualmachineid") and _leaves(one, row):
            left[row["virtualmachineid"], row.get("deviceid")] = one
    found = []
    for one in wanted:
        machine = world.vms.get((one.owner, one.vm)) if one.vm and one.device_id is not None else None
        leaver = left.get((machine["id"], one.device_id)) if isinstance(machine, Mapping) else None
        found.append(replace(one, follows=leaver.names()[0]) if leaver and leaver is not one else one)
    return found


def _place(directory: Directory, owner: Owner, belongs: Mapping[str, Any]) -> dict[str, Any]:
    """Return where a new volume is and whose, as results tell it: by name, a domain by its path, ``None`` for what CloudStack chooses."""
    found: dict[str, Any] = {"account": owner.account, "zone": owner.zone, "domain": owner.domain, "project": owner.project}
    listings = {
        "zone": ("listZones", "zone", "name", {}),
        "domain": ("listDomains", "domain", "path", {"listall": True}),
        "project": ("listProjects", "project", "name", {"listall": True}),
    }
    for place, (call, key, told_as, params) in listings.items():
        if found[place]:
            rows = directory.all(call, key, **params)
            found[place] = next((row.get(told_as) for row in rows if row["id"] == belongs[f"{key}id"]), found[place])
    return found


def _listed(client: CloudStack, call: str, key: str, **params: Any) -> list[dict[str, Any]]:
    """Return a listing; nothing for an id that there is not, where CloudStack calls the parameter bad."""
    try:
        return client.list(call, key, **params)
    except ApiError as exc:
        if "id" not in params or exc.parts.get("status") != BAD_PARAMETER:
            raise
        return []


_Pair = tuple  # tuple[WantedVolume, Mapping[str, Any] | None]: what is declared, and the volume that is there


def find(wanted: WantedVolume, world: World) -> Mapping[str, Any] | None:
    """Return the volume that is meant, ``None`` when there is none.

    :raises OptionError: there are several, or it belongs to a project that is not named.
    """
    rows = world.indexed("volumes", wanted.owner, "id", "name")
    if wanted.id:
        return within_reach(next((row for row in rows.get(wanted.id, ()) if row["id"] == wanted.id), None), wanted.owner, "volume")

    def called(name: str | None, option: str) -> Mapping[str, Any] | None:
        fits = [row for row in rows.get(name, ()) if row["name"] == name and row.get("state") not in GONE]
        return one_of(fits, str(name), option, "volume")

    by_name = called(wanted.name, "name")
    if wanted.renamed_from and (by_name is None or wanted.state == "absent"):
        return alone(by_name, called(wanted.renamed_from, "renamed_from"), wanted)
    return by_name


def _busy(wanted: Sequence[WantedVolume], rows: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether something goes on with a declared volume: a state that passes, or a job that has not ended."""
    meant = {name for one in wanted for name in (one.id, one.name, one.renamed_from)} - {None}
    return any((row.get("state") in _BUSY or row.get("jobid")) and (row["id"] in meant or row["name"] in meant) for row in rows)


def _is_empty(wanted: Sequence[WantedVolume], rows: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether a volume that is declared with a snapshot is a record that names one, and nothing more."""
    meant = {name for one in wanted if one.snapshot for name in (one.id, one.name)} - {None}
    return any(row.get("state") == ALLOCATED and row.get("snapshotid") and (row["id"] in meant or row["name"] in meant) for row in rows)


def offering_of(row: Mapping[str, Any], world: World) -> Mapping[str, Any] | None:
    """Return the offering of a volume; that of a ROOT volume is its VM's, unless it has a disk offering of its own."""
    return world.offerings.get(row.get("diskofferingid") or "") or world.offerings.get(row.get("serviceofferingid") or "")


def pools_for(offering: Mapping[str, Any] | None, zone: str | None, pools: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the pools of a zone among which CloudStack chooses for a new volume: those that have all storage tags of its offering."""
    tags = set((offering or {}).get("storage_tags", ()))
    up = [one for one in pools if one.get("zoneid") == zone and one.get("state") == "Up"]
    return [one for one in up if tags <= set(str(one.get("tags") or "").split(","))]


def declared_snapshots(wanted: WantedVolume, world: World) -> list[Mapping[str, Any]]:
    """Return the snapshots that the declared name or id may mean."""
    known = wanted.owner in world.snapshots
    return world.indexed("snapshots", wanted.owner, "id", "name").get(wanted.snapshot, []) if known else []


def declared_offering(wanted: WantedVolume, world: World) -> Mapping[str, Any]:
    """Return the declared disk offering. :raises OptionError: there is none of that name or id, or several."""
    rows = [one for one in world.offerings.values() if one["type"] == "disk"]
    found = one_of(rows, wanted.offering, "offering", "disk offering")
    if found is None:
        known = ", ".join(sorted(one["name"] for one in rows)[:20]) or "none"
        raise OptionError("offering", wanted.offering, f"is no disk offering; there are: {known}", item=wanted.label)
    return found


def declared_pool(wanted: WantedVolume, zone: str | None, world: World) -> Mapping[str, Any]:
    """Return the declared storage pool. :raises OptionError: the zone of the volume has none of that name or id, or several."""
    return pick([one for one in world.pools if zone in (None, one.get("zoneid"))], wanted.storage_pool, "storage_pool")


def is_vm(row: Mapping[str, Any], vm: str) -> bool:
    return bool(row.get("virtualmachineid")) and vm in (row["virtualmachineid"], row.get("vmname"), row.get("vmdisplayname"))


def _resizes(wanted: WantedVolume, row: Mapping[str, Any]) -> bool:
    """Tell whether another size or offering is declared."""
    other_offering = wanted.offering and wanted.offering not in (row.get("diskofferingid"), row.get("diskofferingname"))
    return bool(wanted.size not in (None, row.get("size")) or other_offering)


def _disturbs(wanted: WantedVolume, row: Mapping[str, Any]) -> bool:
    """Tell whether something is declared that VM snapshots may forbid."""
    other_vm = wanted.vm is not None and not is_vm(row, wanted.vm)
    other_pool = wanted.storage_pool and wanted.storage_pool not in (row.get("storage"), row.get("storageid"))
    return bool(other_vm or other_pool or _resizes(wanted, row))
