# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 4: what is declared of snapshots of volumes of CloudStack, and what is read for it, of both systems.

Facts: reference sheet cloudstack-storpool, sections 0.3 and 5.5. StorPool knows a snapshot by the tag ``uuid``, which is CloudStack's id;
a listing with ``showunique=false`` has a row for each store (a pool is Primary, secondary storage is Image).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from functools import partial
from typing import Any, Callable

from .._cloudstack import CloudStack, pick
from .._errors import CollectionError, OptionError
from ._cloud import Directory, OfVolumes, Owner, asked_or_all, of_project, one_of, settled, settled_vms, storpool_address, within_reach
from ._shared import quiet
from .cloud_series import Naming, Standing, standings

BACKED_UP, ERROR = "BackedUp", "Error"
UNDER_WAY = frozenset({"Allocated", "Creating", "CreatedOnPrimary", "BackingUp", "Copying"})
READY = "Ready"
PRIMARY, IMAGE = "Primary", "Image"
BACKUP, BYPASS = "snapshot.backup.to.secondary", "sp.bypass.secondary.storage"
BYPASS_UNTIL = (4, 21)  # from there on it is read nowhere, and a snapshot can be copied from StorPool to StorPool (table 0.3)
REPLICATION, LOCATION = "use.storage.replication", "sp.cluster.location"


@dataclass
class WantedSnapshot:
    """One declared snapshot, or, pruned, a series of them.

    What is declared beside it decides the rest: ``follows`` is that of another volume of the same VM, to be done before; of all that are
    reverted of a VM with ``stop_vm``, one ``stops`` it and one ``starts`` it; ``spared`` are names that retention leaves alone.
    """

    label: str
    state: str
    owner: Owner
    volume: str | None
    id: str | None
    now: float
    zone: tzinfo
    naming: Naming
    backup: bool | None = None
    zones: tuple[str, ...] = ()
    stop_vm: bool = False
    verify: str = "strict"
    wait: int = 0
    follows: str | None = None
    stops: bool = True
    starts: bool = True
    spared: frozenset[str] = frozenset()

    @property
    def name(self) -> str | None:
        return self.naming.name

    def names(self) -> Sequence[str]:
        own = self.id or f"{self.owner}{'the series ' if self.state == 'pruned' else ''}{self.label}"
        return [own, f"{self.owner}the content of volume {self.volume}"] if self.state == "reverted" else [own]

    def needs(self) -> Sequence[str]:
        return (self.follows,) if self.follows else ()


@dataclass
class World(OfVolumes):
    """What was read.

    ``volumes`` and ``snapshots`` (one row each) are CloudStack's by owner; ``copies`` are the rows of a snapshot by its id, one for each
    store (``None``: not asked). Of StorPool: snapshots by the id that they are tagged with (``None``: not asked), volumes with what they
    stand on, and where snapshots are exported to, by global id. ``machines`` are the VMs of volumes to be reverted. ``zones`` are id and
    name of zones by how they were given, or why there is none; ``targets`` the storage pools of other zones with those settings of theirs
    that copies need.
    """

    snapshots: dict[Owner, list[dict[str, Any]]] = field(default_factory=dict)
    copies: dict[str, list[dict[str, Any]]] | None = None
    storpool: dict[str, Mapping[str, Any]] | None = None
    written: dict[str, Standing] = field(default_factory=dict)
    exports: dict[str, list[str]] = field(default_factory=dict)
    machines: dict[str, dict[str, Any]] = field(default_factory=dict)
    with_vm_snapshots: set[str] = field(default_factory=set)
    settings: dict[str, str] = field(default_factory=dict)
    capabilities: Mapping[str, Any] = field(default_factory=dict)
    version: tuple[int, ...] = ()
    zones: dict[str, tuple[str, str] | CollectionError] = field(default_factory=dict)
    targets: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    look: Callable[[CloudStack], World] | None = None

    def snapshots_of(self, owner: Owner, volume: str) -> list[Mapping[str, Any]]:
        """Return the snapshots of a volume, by its id or name."""
        return self.indexed("snapshots", owner, "volumeid", "volumename").get(volume, [])

    def zone(self, given: str) -> tuple[str, str]:
        """Return id and name of a zone. :raises CollectionError: there is none."""
        found = self.zones[given]
        if isinstance(found, CollectionError):
            raise found
        return found

    def rows(self, identity: str, role: str | None = None) -> list[dict[str, Any]]:
        """Return the copies of a snapshot in stores of this role."""
        return [one for one in (self.copies or {}).get(identity, ()) if role in (None, one.get("datastoretype"))]


def observe(client: CloudStack, wanted: Sequence[WantedSnapshot]) -> World:
    """List volumes and snapshots once for each owner, StorPool's snapshots once; more only for what is to change."""
    directory = Directory(client)
    world = World(look=partial(observe, wanted=wanted))
    for owner in dict.fromkeys(one.owner for one in wanted):
        _list(client, directory, owner, [one for one in wanted if one.owner == owner], world)
    found = []
    for one in wanted:
        volume = quiet(volume_of, one, world)
        found.append((one, volume, quiet(find, one, world)))
    proved = [row["id"] for one, _volume_row, row in found if row and (one.state == "reverted" or is_proved(one))]
    doomed = [one for one, _volume_row, row in found if (one.state == "absent" and row) or one.naming.rules]
    if doomed:
        for export in client.storpool.exports():
            world.exports.setdefault(export["globalId"], []).append(export["location"])
    listed: list[dict[str, Any]] = []
    if proved or world.exports:
        listed = _look_at_storpool(client, proved, world)
    if any(one.state == "reverted" for one in wanted):
        world.written = standings(client.storpool, listed)
        reverted = [volume for one, volume, _row in found if volume and one.state == "reverted" and volume.get("virtualmachineid")]
        for machine, place in {volume["virtualmachineid"]: of_project(volume) for volume in reverted}.items():
            read = partial(client.list, "listVirtualMachines", "virtualmachine", id=machine, listall=True)
            world.machines.update((one["id"], one) for one in settled_vms(client, read, {machine}))
            if client.list("listVMSnapshot", "vmSnapshot", unlimited=True, listall=True, virtualmachineid=machine, **place):
                world.with_vm_snapshots.add(machine)
    if any(one.state == "present" and volume and row is None for one, volume, row in found):
        read_settings(client, world)
    _look_at_zones(client, directory, found, world)
    return world


def _list(client: CloudStack, directory: Directory, owner: Owner, wanted: Sequence[WantedSnapshot], world: World) -> None:
    """List volumes and snapshots of one owner; and where the snapshots are, when that is declared or proved."""
    names = {one.volume for one in wanted if one.volume}
    world.volumes[owner] = asked_or_all(client, directory, owner, "listVolumes", "volume", names) if names else []
    # A snapshot may lie in other zones than its volume, and may outlive it.
    params = {key: value for key, value in directory.within(owner).items() if key != "zoneid"}
    volumes = [quiet(volume_of, one, world) for one in wanted]
    only = {volume["id"] for volume in volumes if volume}
    if len(only) == 1 and all(volumes):
        params["volumeid"] = next(iter(only))
    elif len(wanted) == 1 and (wanted[0].id or wanted[0].name) and wanted[0].state != "pruned":
        params.update({"id": wanted[0].id} if wanted[0].id else {"name": wanted[0].name})
    read = partial(client.list, "listSnapshots", "snapshot", unlimited=True, **params)
    # What is being taken is waited for as part of the plan (it may take hours); what is being made away with, here.
    going = {name for one in wanted for name in (one.id, one.name)} - {None}
    busy = partial(_going, going, [one for one in wanted if one.state != "present"])
    world.snapshots[owner] = settled(read, busy, client.connection.job_timeout)
    if any(one.zones or one.backup is not None or is_proved(one) for one in wanted):
        world.copies = world.copies or {}
        if world.snapshots[owner]:
            for row in client.list("listSnapshots", "snapshot", unlimited=True, showunique=False, **params):
                world.copies.setdefault(row["id"], []).append(row)


def _look_at_storpool(client: CloudStack, proved: Sequence[str], world: World) -> list[dict[str, Any]]:
    """Find StorPool's snapshots by their tags; those that are not found so by what CloudStack has noted of them (an admin's call).

    Returns the whole listing.
    """
    world.storpool = {}
    by_global_id = {}
    listed = client.storpool.snapshots()
    for snapshot in listed:
        if not snapshot["deleted"]:
            by_global_id[f"~{snapshot['globalId']}"] = snapshot
            if snapshot["tags"].get("cs") == "snapshot":
                world.storpool[snapshot["tags"].get("uuid", "")] = snapshot
    for identity in proved:
        if identity not in world.storpool:
            for detail in client.list("getVolumeSnapshotDetails", "apivolumesnapshotdetails", snapshotid=identity):
                there = by_global_id.get(storpool_address(detail.get("snapshotDetailsValue")) or "")
                if detail.get("snapshotDetailsName") == identity and there:
                    world.storpool[identity] = there
    return listed


def _look_at_zones(client: CloudStack, directory: Directory, found: Sequence[tuple[Any, Any, Any]], world: World) -> None:
    """Find the zones that are declared, and of those that lack a copy the pools that could take one."""
    given = list(dict.fromkeys(zone for one, _volume_row, _row in found for zone in one.zones))
    for zone in given:
        try:
            row = pick(directory.all("listZones", "zone"), zone, "zones")
            world.zones[zone] = (row["id"], row["name"])
        except OptionError as exc:
            world.zones[zone] = exc
    missing: dict[str, None] = {}
    for one, volume, row in found:
        if one.state == "present" and volume:
            here = {copy.get("zoneid") for copy in world.rows(row["id"])} if row else {volume.get("zoneid")}
            declared = {world.zones[zone][0] for zone in one.zones if isinstance(world.zones[zone], tuple)}
            if declared - here:
                missing.update(dict.fromkeys([*sorted(declared - here), volume.get("zoneid")]))
    if not missing:
        return
    world.version = world.version or client.version
    if world.version < BYPASS_UNTIL:
        return
    for pool in directory.all("listStoragePools", "storagepool"):
        if pool.get("zoneid") in missing and pool.get("provider") == "StorPool":
            listed = client.list("listConfigurations", "configuration", unlimited=True, storageid=pool["id"])
            values = {one["name"]: str(one.get("value") or "") for one in listed if one["name"] in (REPLICATION, LOCATION)}
            world.targets.setdefault(pool["zoneid"], []).append({"name": pool["name"], **values})


def volume_of(wanted: WantedSnapshot, world: World) -> Mapping[str, Any] | None:
    """Return the volume. :raises OptionError: several are meant."""
    return world.volume(wanted.owner, wanted.volume) if wanted.volume else None


def rows_of(wanted: WantedSnapshot, world: World) -> list[Mapping[str, Any]]:
    """Return the snapshots of the volume, also of one that is gone."""
    volume = quiet(volume_of, wanted, world)
    if volume:
        return [one for one in world.snapshots_of(wanted.owner, volume["id"]) if one.get("volumeid") == volume["id"]]
    if wanted.volume is None:
        return list(world.snapshots[wanted.owner])
    rows = world.snapshots_of(wanted.owner, wanted.volume)
    return [one for one in rows if wanted.owner.zone in (None, one.get("zonename"), one.get("zoneid"))]


def find(wanted: WantedSnapshot, world: World) -> Mapping[str, Any] | None:
    """Return the snapshot; one that failed is none, unless it is meant by its id. :raises OptionError: several are meant."""
    if wanted.state == "pruned":
        return None
    rows = rows_of(wanted, world)
    if wanted.id:
        return within_reach(next((one for one in rows if one["id"] == wanted.id), None), wanted.owner, "snapshot")
    return one_of([one for one in rows if one["name"] == wanted.name and one["state"] != ERROR], wanted.name, "name", "snapshot")


def is_proved(wanted: WantedSnapshot) -> bool:
    return wanted.state == "present" and wanted.verify != "off"


def _going(names: set[str], others: Sequence[WantedSnapshot], rows: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether CloudStack is at a declared snapshot, so that no plan can be made yet."""
    states = {"Destroying", *(UNDER_WAY if others else ())}
    return any(one["state"] in states and (one["id"] in names or one["name"] in names) for one in rows)


def read_settings(client: CloudStack, world: Any) -> None:
    """Read into ``world`` what decides how a snapshot is taken and used: version, capabilities, and the settings of backups."""
    world.capabilities = client.capabilities()
    world.version = client.version
    for name in (BACKUP, BYPASS) if world.version < BYPASS_UNTIL else (BACKUP,):
        for setting in client.list("listConfigurations", "configuration", name=name):
            if setting["name"] == name:
                world.settings[name] = str(setting.get("value")).lower()


def backs_up(world: Any) -> tuple[bool, str]:
    """Return whether CloudStack copies new snapshots to secondary storage, and the setting that says so (table 0.3)."""
    if world.version < BYPASS_UNTIL and world.settings.get(BYPASS) == "true":
        return False, f"{BYPASS} is true"
    kept = world.settings.get(BACKUP) != "false"
    return kept, f"{BACKUP} is {'true' if kept else 'false'}"
