# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 4: volumes of CloudStack, compared with what StorPool holds.

Facts: reference sheet cloudstack-storpool, sections 5.1 to 5.4 and 5.7 to 5.9. A DATA volume is born on StorPool when it is attached for
the first time; until then CloudStack calls it Allocated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Callable

from .._cloudstack import CloudStack, Command, pick
from .._errors import ChangeRefused, CollectionError, OptionError
from .._plan import Change, JointWait, Plan
from .._units import UNLIMITED, format_size, limit_from_api, parse_size, parse_whole
from ._cloud import Directory, Owner, alone, one_of, parse_names, parse_owner, settled, storpool_address
from ._shared import fetch_named, named, quiet
from .offering import GIB, QOS_CLASS, TEMPLATE, known_offerings

ALLOCATED, READY = "Allocated", "Ready"
ROOT = "ROOT"
LUKS_HEADER = 2097152  # bytes that an encrypted volume has more on StorPool (section 5.9)
DELETE_PROTECTION_SINCE = (4, 20)
_GONE = frozenset({"Destroy", "Expunging", "Expunged"})
# What passes by itself (Volume.java).
_BUSY = frozenset(
    {"Creating", "Migrating", "Snapshotting", "RevertSnapshotting", "Resizing", "Copying", "Attaching", "Restoring", "Destroying"}
)
_ON_STORPOOL = "/dev/storpool"
_PROOF = 10  # seconds in which both systems have to agree after the last write; they do at once
_MOST = (1 << 31) - 1

_MIGRATE_HINTS = (
    ("snapshots only in primary", "its snapshots are on the old pool alone; delete them or back them up first"),
    ("livemigrate", "the VM has been started meanwhile; run the task again"),
)
_RESIZE_HINTS = (("snapshot", "wait until its snapshots are backed up, and remove the VM's snapshots"),)


@dataclass
class WantedVolume:
    """One declared volume; ``None`` means that the option was not given. ``vm`` is empty when it shall be attached to none."""

    label: str
    state: str
    owner: Owner
    name: str | None = None
    id: str | None = None
    renamed_from: str | None = None
    offering: str | None = None
    size: int | None = None
    min_iops: int | None = None
    max_iops: int | None = None
    allow_shrink: bool = False
    snapshot: str | None = None
    vm: str | None = None
    device_id: int | None = None
    storage_pool: str | None = None
    encrypted: bool | None = None
    delete_protection: bool | None = None
    on_attached: str = "fail"
    verify: str = "strict"
    repair: bool = False

    def names(self) -> Sequence[str]:
        known = [self.id] if self.id else []
        return (*known, *(f"{self.owner}/{name}" for name in (self.name, self.renamed_from) if name))

    def needs(self) -> Sequence[str]:
        return ()


@dataclass
class World:
    """What was read.

    ``volumes`` are CloudStack's by owner; ``storpool`` are StorPool's by address; ``found`` has what was looked up by (option, name), or
    why it could not be; ``with_snapshots`` are the ids of VMs with VM snapshots. ``belongs`` are the parameters of creation by owner.
    ``look`` reads all of this once more.
    """

    volumes: dict[Owner, list[dict[str, Any]]]
    offerings: dict[str, dict[str, Any]] = field(default_factory=dict)
    storpool: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    found: dict[tuple[str, Any, str], Mapping[str, Any] | CollectionError] = field(default_factory=dict)
    with_snapshots: set[str] = field(default_factory=set)
    belongs: dict[Owner, dict[str, Any] | CollectionError] = field(default_factory=dict)
    version: tuple[int, ...] | None = None
    look: Callable[[CloudStack], World] | None = None

    def get(self, option: str, owner: Owner | None, name: str) -> Mapping[str, Any]:
        """Return what was looked up. :raises CollectionError: there is none, or several."""
        found = self.found[option, owner, name]
        if isinstance(found, CollectionError):
            raise found
        return found


class CloudVolumes:
    """Volumes of CloudStack, as the runner manages them."""

    kind = "volume"

    # -- desired

    def parse(self, options: Mapping[str, Any], now: float) -> WantedVolume:
        """Return what is wanted of one volume. :raises OptionError: names the option that cannot be meant."""
        texts = parse_names(options)
        label = texts["name"] or texts["id"]
        wanted = WantedVolume(label, options["state"], parse_owner(options), **texts)
        if options["size"] is not None:
            wanted.size = parse_size(options["size"])
            if wanted.size % GIB:
                raise OptionError("size", options["size"], "must be whole gibibytes, CloudStack's unit, as in 10G", item=label)
        for name in ("min_iops", "max_iops", "device_id"):
            if options[name] is not None:
                value = parse_whole(options[name], 0, _MOST)
                if value is None:
                    raise OptionError(name, options[name], "must be a whole number, 0 or more", item=label)
                setattr(wanted, name, value)
        if wanted.min_iops is not None and wanted.max_iops is None:
            raise OptionError("min_iops", wanted.min_iops, "needs max_iops; CloudStack takes both or none", item=label)
        if wanted.max_iops is not None and (wanted.min_iops or 0) > wanted.max_iops:
            raise OptionError("min_iops", wanted.min_iops, f"is above max_iops ({wanted.max_iops})", item=label)
        for name in ("offering", "snapshot", "storage_pool"):
            if options[name] is not None:
                if not options[name].strip():
                    raise OptionError(name, options[name], "is empty", item=label)
                setattr(wanted, name, options[name].strip())
        wanted.vm = options["vm"] if options["vm"] is None else options["vm"].strip()
        if wanted.device_id is not None and not wanted.vm:
            raise OptionError("device_id", wanted.device_id, "needs vm", item=label)
        for name in ("encrypted", "delete_protection", "on_attached", "verify"):
            setattr(wanted, name, options[name])
        wanted.allow_shrink, wanted.repair = bool(options["allow_shrink"]), bool(options["repair"])
        if wanted.repair and wanted.verify == "off":
            raise OptionError("repair", True, "needs verify: strict or warn", item=label)
        return wanted

    # -- observe

    def observe(self, client: CloudStack, wanted: Sequence[WantedVolume]) -> World:
        """List volumes and offerings once and StorPool's volumes once; further reads only for what is to change."""
        directory = Directory(client)
        world = World({}, look=partial(self.observe, wanted=wanted))
        for owner in dict.fromkeys(one.owner for one in wanted):
            its = [one for one in wanted if one.owner == owner]
            read = partial(self._volumes, client, directory, owner, its)
            world.volumes[owner] = settled(read, partial(_busy, its), client.connection.job_timeout)
        present = [(one, quiet(_find, one, world)) for one in wanted]
        kept = [(one, row) for one, row in present if one.state == "present"]
        if kept:
            world.offerings = known_offerings(client, compute=any(row and row.get("type") == ROOT for _one, row in kept))
        addresses = {address for one, row in kept if one.verify != "off" and (address := row and storpool_address(row.get("path")))}
        if addresses:
            world.storpool = fetch_named(addresses, client.storpool.volume, client.storpool.volumes)
        for one, row in kept:
            self._look_up(client, directory, one, row, world)
        return world

    @staticmethod
    def _volumes(client: CloudStack, directory: Directory, owner: Owner, wanted: Sequence[WantedVolume]) -> list[dict[str, Any]]:
        names = {name for one in wanted for name in (one.name, one.renamed_from) if name and not one.id}
        ids = {one.id for one in wanted if one.id}
        within = directory.within(owner)
        if not ids and len(names) == 1:
            return client.list("listVolumes", "volume", name=next(iter(names)), **within)
        if len(ids) == 1 and not names:
            return client.list("listVolumes", "volume", id=next(iter(ids)), **within)
        return client.list("listVolumes", "volume", unlimited=True, **within)

    @staticmethod
    def _look_up(client: CloudStack, directory: Directory, one: WantedVolume, row: Mapping[str, Any] | None, world: World) -> None:
        """Read what only this volume's changes need."""

        def look(option: str, name: str, owner: Owner | None, find: Any) -> None:
            if (option, owner, name) not in world.found:
                try:
                    world.found[option, owner, name] = find()
                except CollectionError as exc:
                    world.found[option, owner, name] = exc

        def listed(call: str, key: str, name: str, option: str, **params: Any) -> Any:
            rows = client.list(call, key, **directory.asked(name), **params)
            found = one_of(rows, name, option, option)
            if found is None:
                raise OptionError(option, name, "does not exist in CloudStack", item=one.label)
            return found

        if row is None:
            try:
                world.belongs.setdefault(one.owner, directory.belongs(one.owner))
            except CollectionError as exc:
                world.belongs[one.owner] = exc
            if one.snapshot:
                listing = ("listSnapshots", "snapshot", one.snapshot, "snapshot")
                look("snapshot", one.snapshot, one.owner, lambda: listed(*listing, **directory.within(one.owner)))
                origin = world.found["snapshot", one.owner, one.snapshot]
                if isinstance(origin, Mapping) and not one.offering:
                    # The new volume gets the offering of the one that the snapshot was taken of.
                    sources = client.list("listVolumes", "volume", id=origin.get("volumeid"), listall=True)
                    world.found["source", one.owner, one.snapshot] = sources[0] if sources else {}
        if one.vm and not (row and _is_vm(row, one.vm)):
            listing = ("listVirtualMachines", "virtualmachine", one.vm, "vm")
            look("vm", one.vm, one.owner, lambda: listed(*listing, **directory.within(one.owner)))
        if one.storage_pool and row and one.storage_pool not in (row.get("storage"), row.get("storageid")):
            pools = directory.all
            look(
                "storage_pool",
                one.storage_pool,
                None,
                lambda: pick(pools("listStoragePools", "storagepool"), one.storage_pool, "storage_pool"),
            )
        if row is not None or one.vm:
            machines = {row.get("virtualmachineid")} if row and _disturbs(one, row) else set()
            target = world.found.get(("vm", one.owner, one.vm))
            machines |= {target["id"]} if isinstance(target, Mapping) else set()
            for machine in machines - {None}:
                if directory.all("listVMSnapshot", "vmSnapshot", virtualmachineid=machine, listall=True):
                    world.with_snapshots.add(machine)
        known = row.get("deleteprotection") if row else None
        if one.delete_protection and known is None and world.version is None:
            world.version = client.version

    # -- plan

    def plan(self, wanted: WantedVolume, world: World) -> Plan:
        """Return what it takes to have the volume as declared, on both systems. Pure."""
        row = None
        try:
            row = _find(wanted, world)
            if wanted.state == "absent":
                return self._plan_absent(wanted, row, world)
            return self._plan_new(wanted, world) if row is None else self._plan_present(wanted, row, world)
        except CollectionError as exc:
            document = row and self._shown(row, world)
            return Plan(wanted.label, document, document, refused=exc)

    @staticmethod
    def _shown(row: Mapping[str, Any], world: World) -> dict[str, Any]:
        """Return a volume as results show it; sizes in bytes."""
        offering = _offering_of(row, world)
        address = storpool_address(row.get("path"))
        return {
            "id": row["id"],
            "name": row["name"],
            "state": row.get("state"),
            "type": row.get("type"),
            "zone": row.get("zonename"),
            "account": row.get("account"),
            "domain": row.get("domainpath") or row.get("domain"),
            "project": row.get("project"),
            "offering": row.get("diskofferingname") or row.get("serviceofferingname") or (offering or {}).get("name"),
            "size": row.get("size"),
            "min_iops": row.get("miniops"),
            "max_iops": row.get("maxiops"),
            "vm": row.get("vmname") or None,
            "device_id": row.get("deviceid") if row.get("virtualmachineid") else None,
            "storage_pool": row.get("storage"),
            "encrypted": _encrypted(row, offering),
            "delete_protection": bool(row.get("deleteprotection")),
            "snapshot_id": row.get("snapshotid"),
            "global_id": address and address.lstrip("~"),
        }

    # new

    def _plan_new(self, wanted: WantedVolume, world: World) -> Plan:
        if wanted.id or not wanted.name:
            raise OptionError("id", wanted.id, "is the id of no volume")
        if not wanted.owner.zone:
            raise OptionError("zone", None, f"is needed: there is no volume {wanted.label}, and it takes that to make it")
        belongs = world.belongs[wanted.owner]
        if isinstance(belongs, CollectionError):
            raise belongs
        params: dict[str, Any] = {"name": wanted.name, **belongs}
        snapshot = world.get("snapshot", wanted.owner, wanted.snapshot) if wanted.snapshot else None
        if snapshot:
            params["snapshotid"] = snapshot["id"]
            if snapshot.get("state") != "BackedUp":
                raise ChangeRefused(f"snapshot {wanted.snapshot} is {snapshot.get('state')}, not BackedUp", hint="wait until it is done")
        if not wanted.offering and not snapshot:
            raise OptionError("offering", None, f"is needed: there is no volume {wanted.label}, and it takes that (or snapshot) to make it")
        offering = _offering(wanted, world) if wanted.offering else None
        size, low, high = snapshot and snapshot.get("virtualsize"), None, None
        if offering:
            params["diskofferingid"] = offering["id"]
            size, low, high = self._new_limits(wanted, offering, size, params)
        elif wanted.size and wanted.size != size:
            params["size"] = wanted.size // GIB
            size = wanted.size
        if snapshot and size is not None and snapshot.get("virtualsize") and size < snapshot["virtualsize"]:
            least = format_size(snapshot["virtualsize"])
            raise OptionError(
                "size", format_size(wanted.size), f"is less than the snapshot's ({least}); give at least that", item=wanted.label
            )
        if wanted.storage_pool and not wanted.vm and not snapshot:
            raise OptionError(
                "storage_pool", wanted.storage_pool, "is for a volume that is there; a new one gets its pool, by the tags of its "
                "offering, when it is attached first", item=wanted.label
            )  # fmt: skip
        after = self._shown({"id": None, "name": wanted.name, "state": READY if snapshot else ALLOCATED, "type": "DATADISK"}, world)
        after.update(zone=wanted.owner.zone, account=wanted.owner.account, domain=wanted.owner.domain, project=wanted.owner.project)
        source = world.found.get(("source", wanted.owner, wanted.snapshot), {})
        if not offering and isinstance(source, Mapping):
            low, high = source.get("miniops"), source.get("maxiops")
        name = offering["name"] if offering else (source.get("diskofferingname") if isinstance(source, Mapping) else None)
        after.update(offering=name, size=size, min_iops=low, max_iops=high)
        after.update(encrypted=bool(offering and offering["encrypt"]), snapshot_id=snapshot and snapshot["id"])
        self._check_encryption(wanted, after["encrypted"], after["offering"])
        steps = self._after_creation(wanted, after, world)

        def learn(document: dict[str, Any], made: Mapping[str, Any]) -> None:
            found = self._shown(made, world)
            document.update(
                {key: value for key, value in found.items() if value is not None and key not in ("delete_protection", "encrypted")}
            )
            for step in steps:
                step.write.params["id"] = made["id"]

        create = Change("create", Command("createVolume", params, wanted.label), {"volume": learn})
        notes: dict[str, Any] = {"storpool": None, "differences": []}
        warnings: list[str] = []
        proof = self._proof(wanted, after, notes, warnings, world)
        return Plan(wanted.label, None, after, [create, *steps], notes, warnings, read_back=not proof, waits=proof)

    @staticmethod
    def _new_limits(
        wanted: WantedVolume, offering: Mapping[str, Any], size: int | None, params: dict[str, Any]
    ) -> tuple[int | None, int | None, int | None]:
        """Return size and limits of a new volume, and enter those that its offering leaves open."""
        if offering["custom_size"]:
            size = wanted.size or size
            if size is None:
                raise OptionError("size", None, f"is needed: offering {offering['name']} leaves it open", item=wanted.label)
            if wanted.size:
                params["size"] = wanted.size // GIB
        else:
            if wanted.size not in (None, offering["size"]):
                raise _fixed(wanted, "size", format_size(wanted.size), format_size(offering["size"]), offering)
            size = offering["size"]
        if not offering["custom_iops"]:
            if wanted.max_iops is not None and wanted.max_iops != offering["max_iops"]:
                raise _fixed(wanted, "max_iops", wanted.max_iops, offering["max_iops"], offering)
            return size, offering["min_iops"], offering["max_iops"]
        if wanted.max_iops is None:
            raise OptionError("max_iops", None, f"is needed: offering {offering['name']} leaves it open", item=wanted.label)
        low = wanted.max_iops if wanted.min_iops is None else wanted.min_iops
        params.update(miniops=low, maxiops=wanted.max_iops)
        return size, low, wanted.max_iops

    def _after_creation(self, wanted: WantedVolume, after: dict[str, Any], world: World) -> list[Change]:
        steps = []
        if wanted.delete_protection:
            self._check_protection(wanted, world)
            steps.append(_update(wanted, {"id": None, "deleteprotection": True}))
            after["delete_protection"] = True
        if wanted.vm:
            steps.append(self._attach(wanted, None, after, world))
        return steps

    # present

    def _plan_present(self, wanted: WantedVolume, row: Mapping[str, Any], world: World) -> Plan:
        shown = self._shown(row, world)
        after = dict(shown)
        self._check_not_gone(wanted, row)
        offering = _offering_of(row, world)
        changes: list[Change] = []
        update: dict[str, Any] = {}
        if wanted.name and row["name"] != wanted.name:
            update["name"] = after["name"] = wanted.name
        if wanted.delete_protection is not None and wanted.delete_protection != shown["delete_protection"]:
            if row.get("deleteprotection") is None:
                self._check_protection(wanted, world)
            update["deleteprotection"] = after["delete_protection"] = wanted.delete_protection
        if update:
            changes.append(_update(wanted, {"id": row["id"], **update}))
        moved = wanted.vm is not None and shown["vm"] is not None and not _is_vm(row, wanted.vm)
        if moved:
            changes.append(self._detach(wanted, row, after, world))
        resize = self._resize(wanted, row, offering, after, world)
        differences = list(compared(row, world, offering)) if wanted.verify != "off" else []
        mended = {"size", "max_iops"} if resize and resize.write.call == "resizeVolume" else set()
        if wanted.repair and not resize:
            mended = {one["field"] for one in differences if one["mend"]}
            if mended:
                # A resize to what CloudStack has already sends size and limit to StorPool once more.
                resize = Change(f"repair {' and '.join(sorted(mended))}", Command("resizeVolume", {"id": row["id"]}, wanted.label))
        if resize:
            changes.append(resize)
        migrate = self._migrate(wanted, row, after, world)
        changes += [migrate] if migrate else []
        if wanted.vm and (moved or shown["vm"] is None):
            changes.append(self._attach(wanted, row, after, world))
        elif wanted.vm and wanted.device_id not in (None, shown["device_id"]):
            raise ChangeRefused(
                f"volume {wanted.label} is device {shown['device_id']} of VM {shown['vm']}, declared is {wanted.device_id}",
                hint='detach it first (vm: ""), then attach it as that device',
            )
        self._check_encryption(wanted, after["encrypted"], after["offering"])
        left = [one for one in differences if one["field"] not in mended and not (one["field"] == "template" and (migrate or resize))]
        warnings = []
        if left:
            if wanted.verify == "strict":
                raise ChangeRefused(
                    f"volume {wanted.label} is not the same in CloudStack and on StorPool: {_told(left)}",
                    hint=_way_out(left),
                    differences=left,
                )
            warnings.append(f"volume {wanted.label} is not the same in CloudStack and on StorPool: {_told(left)}; {_way_out(left)}")
        notes = {"storpool": _on_storpool(row, world), "differences": left}
        proof = self._proof(wanted, after, notes, warnings, world) if changes else []
        return Plan(wanted.label, shown, after, changes, notes, warnings, read_back=bool(changes) and not proof, waits=proof)

    @staticmethod
    def _check_not_gone(wanted: WantedVolume, row: Mapping[str, Any]) -> None:
        if row.get("state") in _GONE:
            raise ChangeRefused(
                f"volume {wanted.label} is destroyed", hint="recoverVolume in CloudStack brings it back, or take another name"
            )

    def _resize(
        self, wanted: WantedVolume, row: Mapping[str, Any], offering: Mapping[str, Any] | None, after: dict[str, Any], world: World
    ) -> Change | None:
        """Return the change of offering, size and limit: one call does all three."""
        goal = _offering(wanted, world) if wanted.offering else None
        changed = goal is not None and goal["id"] != row.get("diskofferingid")
        fixes = goal if changed else offering
        root = row.get("type") == ROOT
        size = wanted.size
        if changed and not goal["custom_size"]:
            if size not in (None, goal["size"]):
                raise _fixed(wanted, "size", format_size(size), format_size(goal["size"]), goal)
            size = goal["size"]
        elif changed and size is None:
            size = row["size"]
        elif size is not None and size != row["size"] and not changed and not root and fixes and not fixes["custom_size"]:
            raise _fixed(wanted, "size", format_size(size), format_size(fixes["size"]), fixes)
        low, high = wanted.min_iops, wanted.max_iops
        if changed and not goal["custom_iops"]:
            if high not in (None, goal["max_iops"]):
                raise _fixed(wanted, "max_iops", high, goal["max_iops"], goal)
            low, high = goal["min_iops"], goal["max_iops"]
        elif high is not None and high != row.get("maxiops") and not root and fixes and not fixes["custom_iops"]:
            raise _fixed(wanted, "max_iops", high, fixes["max_iops"], fixes)
        resized = size is not None and size != row["size"]
        limited = not changed and high is not None and (high != row.get("maxiops") or low not in (None, row.get("miniops")))
        if not (changed or resized or limited):
            return None
        self._check_resize(wanted, row, size if resized else row["size"], world)
        params: dict[str, Any] = {"id": row["id"]}
        words = []
        if changed:
            words.append("change offering")
            params["diskofferingid"] = goal["id"]
            after.update(offering=goal["name"], min_iops=low, max_iops=high)
        if resized:
            words.append("resize")
            after["size"] = size
            if size < row["size"]:
                params["shrinkok"] = True
        if (resized and not (changed and not goal["custom_size"])) or (changed and goal["custom_size"]):
            params["size"] = size // GIB if size % GIB == 0 else -(-size // GIB)
        if limited or (changed and goal["custom_iops"] and high is not None):
            low = high if low is None else low
            params.update(miniops=low, maxiops=high)
            after.update(min_iops=low, max_iops=high)
            words += ["limit"] if limited else []
        call = "changeOfferingForVolume" if changed else "resizeVolume"
        return Change(" and ".join(words), Command(call, params, wanted.label, hints=_RESIZE_HINTS), {"volume": _notified})

    @staticmethod
    def _check_resize(wanted: WantedVolume, row: Mapping[str, Any], size: int, world: World) -> None:
        """:raises ChangeRefused: CloudStack would refuse it, or data would be lost."""
        if row.get("state") not in (READY, ALLOCATED):
            raise ChangeRefused(f"volume {wanted.label} is {row.get('state')}; it cannot be resized now", hint=_LATER)
        if size == row["size"]:
            return
        if size < row["size"] and not wanted.allow_shrink:
            raise ChangeRefused(
                f"volume {wanted.label} has {format_size(row['size'])}, declared are {format_size(size)}; what lies beyond would be lost",
                hint="set allow_shrink: true once file systems and partitions on it are smaller",
                allow_with="allow_shrink: true",
            )
        if size < row["size"] and row.get("type") == ROOT and row.get("vmstate") != "Stopped":
            raise ChangeRefused(
                f"volume {wanted.label} is the ROOT volume of VM {row.get('vmname')}, which runs", hint="stop it to shrink it"
            )
        if row.get("virtualmachineid") in world.with_snapshots:
            raise _has_vm_snapshots(wanted, row.get("vmname"), "resized")

    def _migrate(self, wanted: WantedVolume, row: Mapping[str, Any], after: dict[str, Any], world: World) -> Change | None:
        """Return the move to another pool, by the table of section 5.8. :raises ChangeRefused: it would not be allowed."""
        if not wanted.storage_pool or wanted.storage_pool in (row.get("storage"), row.get("storageid")):
            return None
        pool = world.get("storage_pool", None, wanted.storage_pool)
        about = f"volume {wanted.label} cannot be moved to storage pool {pool['name']}"
        if row.get("state") == ALLOCATED:
            raise ChangeRefused(
                f"{about}: it is on no pool before it is attached first", hint="attach it first; its offering's tags choose"
            )
        if row.get("state") != READY:
            raise ChangeRefused(f"{about}: it is {row.get('state')}", hint=_LATER)
        if pool.get("state") != "Up":
            raise ChangeRefused(f"{about}: the pool is {pool.get('state')}", hint="choose one that is Up, or end its maintenance")
        both = str(row.get("path", "")).startswith(_ON_STORPOOL) and pool.get("provider") == "StorPool"
        running = row.get("vmstate") == "Running"
        if after["encrypted"] and not (running and both):
            raise ChangeRefused(
                f"{about}: it is encrypted", hint="CloudStack moves encrypted volumes of running VMs between StorPool pools, and no others"
            )
        if running and not both:
            raise ChangeRefused(
                f"{about} while VM {row.get('vmname')} runs: one of the two pools is not on StorPool",
                hint="stop the VM, or move it with its volumes to another host (migrateVirtualMachineWithVolume)",
            )
        if row.get("virtualmachineid") in world.with_snapshots:
            raise _has_vm_snapshots(wanted, row.get("vmname"), "moved")
        after["storage_pool"] = pool["name"]
        params = {"volumeid": row["id"], "storageid": pool["id"], **({"livemigrate": True} if running else {})}
        return Change("migrate", Command("migrateVolume", params, wanted.label, hints=_MIGRATE_HINTS))

    def _attach(self, wanted: WantedVolume, row: Mapping[str, Any] | None, after: dict[str, Any], world: World) -> Change:
        machine = world.get("vm", wanted.owner, wanted.vm)
        if row is not None and row.get("type") == ROOT:
            raise ChangeRefused(f"volume {wanted.label} is a ROOT volume; it is attached only by hand", hint="leave vm out")
        if machine["id"] in world.with_snapshots:
            raise _has_vm_snapshots(wanted, machine["name"], "attached to it")
        if machine.get("state") not in ("Running", "Stopped"):
            raise ChangeRefused(f"VM {machine['name']} is {machine.get('state')}; nothing can be attached to it now", hint=_LATER)
        after.update(vm=machine["name"], device_id=wanted.device_id, state=READY)
        params: dict[str, Any] = {"id": row and row["id"], "virtualmachineid": machine["id"]}
        if wanted.device_id is not None:
            params["deviceid"] = wanted.device_id

        def learn(document: dict[str, Any], volume: Mapping[str, Any]) -> None:
            document.update(device_id=volume.get("deviceid"), state=volume.get("state", READY), storage_pool=volume.get("storage"))

        return Change("attach", Command("attachVolume", params, wanted.label), {"volume": learn})

    @staticmethod
    def _detach(wanted: WantedVolume, row: Mapping[str, Any], after: dict[str, Any], world: World) -> Change:
        if row.get("type") == ROOT:
            raise ChangeRefused(
                f"volume {wanted.label} is the ROOT volume of VM {row.get('vmname')}; it stays with it", hint="leave vm out"
            )
        if row["virtualmachineid"] in world.with_snapshots:
            raise _has_vm_snapshots(wanted, row.get("vmname"), "detached")
        after.update(vm=None, device_id=None)
        return Change("detach", Command("detachVolume", {"id": row["id"]}, wanted.label))

    @staticmethod
    def _check_encryption(wanted: WantedVolume, encrypted: bool, offering: str | None) -> None:
        if wanted.encrypted is not None and wanted.encrypted != encrypted:
            is_so = "is" if encrypted else "is not"
            raise ChangeRefused(
                f"volume {wanted.label} {is_so} encrypted, because its offering {offering} says so; it cannot be changed afterwards",
                hint=f"make another volume with an offering that has encrypt: {str(wanted.encrypted).lower()}, and copy the data",
            )

    @staticmethod
    def _check_protection(wanted: WantedVolume, world: World) -> None:
        if wanted.delete_protection and (world.version or ()) < DELETE_PROTECTION_SINCE:
            raise ChangeRefused(
                f"volume {wanted.label} cannot be protected: CloudStack has delete_protection from 4.20 on",
                hint="leave delete_protection out",
            )

    def _proof(
        self, wanted: WantedVolume, after: dict[str, Any], notes: dict[str, Any], warnings: list[str], world: World
    ) -> list[JointWait]:
        """Return the comparison of both systems that follows the writes; what differs then is an error, or a warning.

        It also completes ``after`` and ``notes`` with what is there now.
        """
        if wanted.verify == "off":
            return []

        def missing(now: World) -> str | None:
            row = next((one for one in now.volumes[wanted.owner] if one["id"] == after["id"]), None)
            if row is None:
                return f"volume {wanted.label} is not listed"
            after.update(self._shown(row, now))
            notes.update(storpool=_on_storpool(row, now), differences=list(compared(row, now, _offering_of(row, now))))
            if not notes["differences"]:
                return None
            text = f"volume {wanted.label} is not the same in CloudStack and on StorPool: {_told(notes['differences'])}"
            if wanted.verify == "strict":
                return text
            warnings.append(f"{text}; {_way_out(notes['differences'])}")
            return None

        return [JointWait(world.look, missing, _PROOF, "repair: true mends what CloudStack can mend")]

    # absent

    def _plan_absent(self, wanted: WantedVolume, row: Mapping[str, Any] | None, world: World) -> Plan:
        if row is None or row.get("state") in _GONE:
            return Plan(wanted.label, None, None)
        shown = self._shown(row, world)
        if row.get("type") == ROOT and row.get("virtualmachineid"):
            raise ChangeRefused(
                f"volume {wanted.label} is the ROOT volume of VM {row.get('vmname')}", hint="it goes with the VM (destroyVirtualMachine)"
            )
        changes = []
        if row.get("deleteprotection"):
            if wanted.delete_protection is not False:
                raise ChangeRefused(
                    f"volume {wanted.label} is protected from deletion",
                    hint="set delete_protection: false",
                    allow_with="delete_protection: false",
                )
            changes.append(_update(wanted, {"id": row["id"], "deleteprotection": False}))
        if row.get("virtualmachineid"):
            if wanted.on_attached == "fail":
                raise ChangeRefused(
                    f"volume {wanted.label} is attached to VM {row.get('vmname')}",
                    hint='detach it (vm: ""), or set on_attached: detach', allow_with="on_attached: detach",
                )  # fmt: skip
            changes.append(self._detach(wanted, row, {}, world))
        changes.append(Change("delete", Command("deleteVolume", {"id": row["id"]}, wanted.label)))
        return Plan(wanted.label, shown, None, changes)

    # -- after

    def predict(self, world: World, wanted: WantedVolume, plan: Plan) -> None:
        """Nothing: volumes do not depend on each other, and names declared twice are refused before."""

    def show(self, document: dict[str, Any]) -> dict[str, Any]:
        """Return a volume for the diff: what can be declared."""
        hidden = ("id", "global_id", "snapshot_id", "state", "type")
        return {**{key: value for key, value in document.items() if key not in hidden}, "size": format_size(document["size"])}


_LATER = "wait until CloudStack is done with it and run the task again"


def compared(row: Mapping[str, Any], world: World, offering: Mapping[str, Any] | None) -> Iterator[dict[str, Any]]:
    """Yield what CloudStack and StorPool say differently of a volume: the field, both values, and whether ``repair`` can mend it.

    Sections 5.1, 5.3 and 5.7. The tag ``uuid`` is the StorPool address instead of CloudStack's id once 4.21 has attached a volume;
    ``cvm`` is there only while the VM runs.
    """
    address = storpool_address(row.get("path"))
    if address is None or not str(row["path"]).startswith(_ON_STORPOOL):
        return
    there = named(world.storpool, address)
    if there is None:
        yield _difference("existence", row["state"], "does not exist")
        return
    expected = row["size"] + (LUKS_HEADER if row.get("encryptformat") == "LUKS" else 0)
    if there["size"] != expected:
        # A volume that is larger on StorPool may hold data there: making it smaller is nobody's repair.
        yield _difference("size", expected, there["size"], mend=there["size"] < expected)
    details = (offering or {}).get("details", {})
    tier, template = details.get(QOS_CLASS), details.get(TEMPLATE)
    limit = row.get("maxiops") or UNLIMITED
    if not (tier or template) and limit_from_api(there["iops"]) != limit:
        yield _difference("max_iops", limit, limit_from_api(there["iops"]), mend=True)
    expected = template if template and not tier else str(row.get("storageid", "")).partition(";")[0]
    if expected and there["templateName"] != expected:
        yield _difference("template", expected, there["templateName"])
    tags = there["tags"]
    if tags.get("cs") != "volume":
        yield _difference("tag cs", "volume", tags.get("cs") or None)
    if tags.get("uuid") not in (row["id"], address):
        yield _difference("tag uuid", row["id"], tags.get("uuid") or None)
    if (tags.get("qc") or None) != tier:
        yield _difference("tag qc", tier, tags.get("qc") or None)
    machine = row.get("virtualmachineid") or None
    if (tags.get("cvm") or None) not in ((machine,) if row.get("vmstate") == "Running" else (machine, None)):
        yield _difference("tag cvm", machine, tags.get("cvm") or None)
    if machine and tags.get("disk") and tags["disk"] != str(row.get("deviceid")):
        yield _difference("tag disk", str(row.get("deviceid")), tags["disk"])


def _difference(name: str, cloudstack: Any, storpool: Any, mend: bool = False) -> dict[str, Any]:
    return {"field": name, "cloudstack": cloudstack, "storpool": storpool, "mend": mend}


def _told(differences: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(f"{one['field']} is {one['cloudstack']} in CloudStack and {one['storpool']} on StorPool" for one in differences)


def _way_out(differences: Sequence[Mapping[str, Any]]) -> str:
    if all(one["mend"] for one in differences):
        return "repair: true has CloudStack set StorPool right; verify: warn goes on without"
    return "find out who changed it and set it right there; verify: warn goes on without"


def _find(wanted: WantedVolume, world: World) -> Mapping[str, Any] | None:
    rows = [row for row in world.volumes[wanted.owner] if row.get("state") not in _GONE or wanted.id == row["id"]]
    if wanted.id:
        found = next((row for row in rows if row["id"] == wanted.id), None)
        if found is None and wanted.state != "absent":
            raise OptionError("id", wanted.id, "is the id of no volume")
        return found
    by_name = one_of([row for row in rows if row["name"] == wanted.name], wanted.name, "name", "volume")
    if wanted.renamed_from and (by_name is None or wanted.state == "absent"):
        former = one_of([row for row in rows if row["name"] == wanted.renamed_from], wanted.renamed_from, "renamed_from", "volume")
        return alone(by_name, former, wanted)
    return by_name


def _busy(wanted: Sequence[WantedVolume], rows: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether something goes on with a declared volume."""
    meant = {name for one in wanted for name in (one.id, one.name, one.renamed_from)} - {None}
    return any(row.get("state") in _BUSY and (row["id"] in meant or row["name"] in meant) for row in rows)


def _offering_of(row: Mapping[str, Any], world: World) -> Mapping[str, Any] | None:
    """Return the offering of a volume; that of a ROOT volume is its VM's, unless it has a disk offering of its own."""
    return world.offerings.get(row.get("diskofferingid") or "") or world.offerings.get(row.get("serviceofferingid") or "")


def _on_storpool(row: Mapping[str, Any], world: World) -> dict[str, Any] | None:
    """Return what StorPool holds of a volume, ``None`` when it has none or was not asked."""
    there = named(world.storpool, storpool_address(row.get("path")))
    return there and {
        "global_id": there["globalId"],
        "size": there["size"],
        "iops": limit_from_api(there["iops"]),
        "template": there["templateName"],
        "tags": there["tags"],
    }


def _offering(wanted: WantedVolume, world: World) -> Mapping[str, Any]:
    rows = [one for one in world.offerings.values() if one["type"] == "disk"]
    found = one_of(rows, wanted.offering, "offering", "disk offering")
    if found is None:
        known = ", ".join(sorted(one["name"] for one in rows)[:20]) or "none"
        raise OptionError("offering", wanted.offering, f"is no disk offering; there are: {known}", item=wanted.label)
    return found


def _fixed(wanted: WantedVolume, option: str, declared: Any, value: Any, offering: Mapping[str, Any]) -> ChangeRefused:
    return ChangeRefused(
        f"volume {wanted.label} cannot have {option} {declared}: its offering {offering['name']} has {value} for all its volumes",
        hint=f"choose an offering with that {option}, or one that leaves it open",
    )


def _has_vm_snapshots(wanted: WantedVolume, machine: str | None, word: str) -> ChangeRefused:
    return ChangeRefused(
        f"volume {wanted.label} cannot be {word}: VM {machine} has VM snapshots",
        hint="delete them first (cloudstack_vm_snapshot, state: absent)",
    )


def _update(wanted: WantedVolume, params: dict[str, Any]) -> Change:
    words = []
    if "name" in params:
        words.append("rename")
    if "deleteprotection" in params:
        words.append("protect" if params["deleteprotection"] else "unprotect")
    return Change(" and ".join(words), Command("updateVolume", params, wanted.label))


def _notified(document: dict[str, Any], volume: Mapping[str, Any]) -> None:
    """Take the size that the answer tells."""
    if volume.get("size"):
        document["size"] = volume["size"]


def _is_vm(row: Mapping[str, Any], vm: str) -> bool:
    return bool(row.get("virtualmachineid")) and vm in (row["virtualmachineid"], row.get("vmname"), row.get("vmdisplayname"))


def _disturbs(wanted: WantedVolume, row: Mapping[str, Any]) -> bool:
    """Tell whether something is declared that VM snapshots may forbid."""
    other_vm = wanted.vm is not None and not _is_vm(row, wanted.vm)
    other_pool = wanted.storage_pool and wanted.storage_pool not in (row.get("storage"), row.get("storageid"))
    other_size = wanted.size not in (None, row.get("size"))
    other_offering = wanted.offering and wanted.offering not in (row.get("diskofferingid"), row.get("diskofferingname"))
    return bool(other_vm or other_pool or other_size or other_offering)


def _encrypted(row: Mapping[str, Any], offering: Mapping[str, Any] | None) -> bool:
    return bool(row.get("encryptformat")) or bool(row.get("state") == ALLOCATED and offering and offering["encrypt"])


CLOUD_VOLUMES = CloudVolumes()
