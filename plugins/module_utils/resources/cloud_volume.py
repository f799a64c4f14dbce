# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 4: volumes of CloudStack, compared with what StorPool holds.

Facts: reference sheet cloudstack-storpool, sections 5.1 to 5.4 and 5.7 to 5.9. A DATA volume is born on StorPool when it is attached for
the first time; until then CloudStack calls it Allocated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .._cloudstack import CloudStack, Command, is_id, pick
from .._errors import ChangeRefused, CollectionError, OptionError
from .._plan import Change, JointWait, Plan
from .._units import format_size, parse_size, parse_whole
from . import _both_layers
from ._both_layers import RUNNING, STOPPED, held, on_storpool, told, way_out
from ._cloud import GONE, PROOF, one_of, parse_names, parse_owner, storpool_address, twin_of
from ._shared import for_diff, named
from .cloud_volume_world import (
    ALLOCATED,
    READY,
    RESERVED,
    ROOT,
    WantedVolume,
    World,
    declared_snapshots,
    find,
    is_vm,
    observe,
    offering_of,
    pools_for,
)
from .hosts import parse_node_ids
from .offering import GIB

DELETE_PROTECTION_SINCE = (4, 20)
NO_WORD_OF_RESIZE = (4, 20, 0)
_MOST = (1 << 31) - 1

_MIGRATE_HINTS = (("livemigrate", "the VM has been started meanwhile; run the task again"),)
_RESIZE_HINTS = (("snapshot", "wait until its snapshots are backed up, and remove the VM's snapshots"),)


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
        if wanted.min_iops is not None:
            if wanted.max_iops is None:
                raise OptionError("min_iops", wanted.min_iops, "needs max_iops; CloudStack takes both or none", item=label)
            if wanted.min_iops > wanted.max_iops:
                raise OptionError("min_iops", wanted.min_iops, f"is above max_iops ({wanted.max_iops})", item=label)
        for name in ("offering", "snapshot", "storage_pool"):
            if options[name] is not None:
                if not options[name].strip():
                    raise OptionError(name, options[name], "is empty", item=label)
                setattr(wanted, name, options[name].strip())
        wanted.vm = options["vm"] if options["vm"] is None else options["vm"].strip()
        if wanted.device_id is not None and not wanted.vm:
            raise OptionError("device_id", wanted.device_id, "needs vm", item=label)
        if wanted.device_id in RESERVED:
            whose = RESERVED[wanted.device_id]
            raise OptionError("device_id", wanted.device_id, f"is that of {whose}; data volumes have 1, 2, 4 and on", item=label)
        for name in ("encrypted", "delete_protection", "on_attached", "verify"):
            setattr(wanted, name, options[name])
        wanted.allow_shrink, wanted.repair = bool(options["allow_shrink"]), bool(options["repair"])
        if wanted.repair and wanted.verify == "off":
            raise OptionError("repair", True, "needs verify: strict or warn", item=label)
        wanted.node_ids = parse_node_ids(options["sp_node_ids"])
        return wanted

    # -- observe

    def observe(self, client: CloudStack, wanted: Sequence[WantedVolume]) -> World:
        """See :func:`.cloud_volume_world.observe`."""
        return observe(client, wanted)

    # -- plan

    def plan(self, wanted: WantedVolume, world: World) -> Plan:
        """Return what it takes to have the volume as declared, on both systems. Pure."""
        row = None
        try:
            row = find(wanted, world)
            if wanted.state == "absent":
                return self._plan_absent(wanted, row, world)
            return self._plan_new(wanted, world) if row is None else self._plan_present(wanted, row, world)
        except CollectionError as exc:
            document = row and self._shown(row, world)
            notes = {}
            if row and wanted.state == "present" and wanted.verify != "off":
                notes = {"storpool": held(row, world.storpool, world.attachments), "differences": exc.parts.get("differences", [])}
            return Plan(wanted.label, document, document, notes=notes, refused=exc)

    @staticmethod
    def _shown(row: Mapping[str, Any], world: World) -> dict[str, Any]:
        """Return a volume as results show it; sizes in bytes."""
        offering = offering_of(row, world)
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
            "snapshot_id": world.origin(row),
            "global_id": address and address.lstrip("~"),
        }

    # new

    def _plan_new(self, wanted: WantedVolume, world: World) -> Plan:
        if wanted.id:
            raise OptionError("id", wanted.id, "is the id of no volume")
        if not wanted.owner.zone:
            raise OptionError("zone", None, f"is needed: there is no volume {wanted.label}, and it takes that to make it")
        belongs = world.belongs[wanted.owner]
        if isinstance(belongs, CollectionError):
            raise belongs
        if not wanted.offering and not wanted.snapshot:
            raise OptionError("offering", None, f"is needed: there is no volume {wanted.label}, and it takes that (or snapshot) to make it")
        params: dict[str, Any] = {"name": wanted.name, **belongs}
        snapshot, source = _snapshot(wanted, world) if wanted.snapshot else (None, {})
        offering = _offering(wanted, world) if wanted.offering else world.offerings.get(source.get("diskofferingid") or "")
        size = snapshot and snapshot.get("virtualsize")
        if snapshot:
            params["snapshotid"] = snapshot["id"]
        if wanted.offering:
            params["diskofferingid"] = offering["id"]
            size, low, high = self._new_limits(wanted, offering, size, params)
        else:
            low, high = wanted.min_iops, wanted.max_iops
            if wanted.size and wanted.size != size:
                params["size"] = wanted.size // GIB
                size = wanted.size
        if snapshot and size is not None and snapshot.get("virtualsize") and size < snapshot["virtualsize"]:
            least = format_size(snapshot["virtualsize"])
            raise OptionError(
                "size", format_size(wanted.size), f"is less than the snapshot's ({least}); give at least that", item=wanted.label
            )
        after = self._shown({"id": None, "name": wanted.name, "state": READY if snapshot else ALLOCATED, "type": "DATADISK"}, world)
        after.update(world.places[wanted.owner])
        name = offering["name"] if offering else source.get("diskofferingname")
        after.update(offering=name, size=size, min_iops=low, max_iops=high)
        after.update(encrypted=bool(offering and offering["encrypt"]), snapshot_id=snapshot and snapshot["id"])
        self._check_encryption(wanted, after["encrypted"], after["offering"])
        self._check_pool_of_new(wanted, offering, belongs["zoneid"], bool(snapshot), after, world)
        warnings: list[str] = []
        steps = self._limits_of_source(wanted, source, offering, after, warnings) if snapshot else []
        steps += self._after_creation(wanted, after, world)

        def learn(document: dict[str, Any], made: Mapping[str, Any]) -> None:
            document["id"] = made["id"]
            for step in steps:
                step.write.params["id"] = made["id"]

        twin = twin_of("listVolumes", "volume", "deleteVolume", wanted.label, ("zoneid", "account", "domainid"))
        create = Change("create", Command("createVolume", params, wanted.label), {"volume": learn}, twin=twin)
        notes: dict[str, Any] = {"storpool": None, "differences": []}
        proof = self._proof(wanted, after, notes, warnings, world)
        return Plan(wanted.label, None, after, [create, *steps], notes, warnings, read_back=not proof, waits=proof)

    @staticmethod
    def _check_pool_of_new(
        wanted: WantedVolume, offering: Mapping[str, Any] | None, zone: str, born: bool, after: dict[str, Any], world: World
    ) -> None:
        """Enter the pool that a volume gets when it comes to StorPool (at once when it is ``born`` with data, else at its first attach).

        :raises CollectionError: it may not be the declared one. CloudStack chooses by the storage tags of the offering.
        """
        if not wanted.storage_pool:
            return
        if not (wanted.vm or born):
            raise OptionError(
                "storage_pool", wanted.storage_pool, "is for a volume that is there; a new one gets its pool, by the tags of its "
                "offering, when it is attached first", item=wanted.label
            )  # fmt: skip
        pool, fits = _pool(wanted, zone, world), pools_for(offering, zone, world.pools)
        if [one["id"] for one in fits] != [pool["id"]]:
            names = ", ".join(sorted(one["name"] for one in fits)) or "none"
            tags = (offering or {}).get("storage_tags", ())
            raise OptionError(
                "storage_pool", wanted.storage_pool, "cannot be promised to a volume that is on no pool yet: CloudStack chooses among "
                f"those with the storage tags of its offering ({', '.join(sorted(tags)) or 'none'}): {names}; choose an offering that "
                "leaves that pool alone, or leave storage_pool out now and move the volume afterwards", item=wanted.label
            )  # fmt: skip
        after["storage_pool"] = pool["name"]

    @staticmethod
    def _limits_of_source(
        wanted: WantedVolume, source: Mapping[str, Any], offering: Mapping[str, Any] | None, after: dict[str, Any], warnings: list[str]
    ) -> list[Change]:
        """Return the change that gives a volume from a snapshot the declared limit: it is made with that of the snapshot's volume (5.7)."""
        low, high = after["min_iops"], after["max_iops"]
        after.update(min_iops=source.get("miniops"), max_iops=source.get("maxiops"))
        if high == source.get("maxiops") or (high is None and not wanted.offering):
            return []
        if offering and offering["custom_iops"]:
            low = high if low is None else low
            after.update(min_iops=low, max_iops=high)
            return [Change("limit", Command("resizeVolume", {"id": None, "miniops": low, "maxiops": high}, wanted.label))]
        if wanted.max_iops is not None and not wanted.offering:
            raise _fixed(wanted, "max_iops", wanted.max_iops, source.get("maxiops"), {"name": after["offering"]})
        warnings.append(
            f"volume {wanted.label}: CloudStack gives volumes from snapshots the IOPS limit of the snapshot's volume "
            f"({source.get('maxiops') or 'unlimited'}), not that of offering {after['offering']} ({high or 'unlimited'}); "
            "changing its offering to another and back sets it"
        )
        return []

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
        self._check_origin(wanted, row, world)
        offering = offering_of(row, world)
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
        moved = wanted.vm is not None and shown["vm"] is not None and not is_vm(row, wanted.vm)
        if moved:
            changes.append(self._detach(wanted, row, after, world))
        resize = self._resize(wanted, row, offering, after, world) or self._repair(wanted, row, offering, world)
        goal = world.offerings.get(resize.write.params.get("diskofferingid", "")) if resize else None
        if row.get("state") == ALLOCATED and wanted.vm:
            self._check_pool_of_new(wanted, goal or offering, row["zoneid"], False, after, world)
            migrate = None
        else:
            migrate = self._migrate(wanted, row, moved, after, world)
        changes += [one for one in (resize, migrate) if one]
        if wanted.vm and (moved or shown["vm"] is None):
            changes.append(self._attach(wanted, row, after, world))
        elif wanted.vm and wanted.device_id not in (None, shown["device_id"]):
            raise ChangeRefused(
                f"volume {wanted.label} is device {shown['device_id']} of VM {shown['vm']}, declared is {wanted.device_id}",
                hint='detach it first (vm: ""), then attach it as that device',
            )
        self._check_encryption(wanted, after["encrypted"], after["offering"])
        left = self._left(row, after, goal or offering, resize, migrate, world) if wanted.verify != "off" else []
        if any(one.action in ("attach", "detach") for one in changes):
            # CloudStack sets these with it; one that was cut short left them as they were, or as they would have become.
            left = [one for one in left if one["field"] not in ("tag cvm", "tag disk")]
        warnings = list(_untold(wanted, row, after, world))
        if migrate and "foreseen" in row and not row.get("storage"):
            warnings.append(
                f"volume {wanted.label}: an earlier task attaches it for the first time, and CloudStack chooses its pool then; "
                f"it is moved only if that is not {after['storage_pool']}"
            )
        if left:
            later = resize or migrate
            text = f"volume {wanted.label} {'would not be' if later else 'is not'} the same in CloudStack and on StorPool: {told(left)}"
            hint = _LEFT_BEHIND if later and left != world.differences(row, offering) else way_out(left)
            if wanted.verify == "strict":
                raise ChangeRefused(text, hint=hint, differences=left)
            warnings.append(f"{text}; {hint}")
        notes = {"storpool": held(row, world.storpool, world.attachments), "differences": left}
        proof = self._proof(wanted, after, notes, warnings, world) if changes else []
        return Plan(wanted.label, shown, after, changes, notes, warnings, read_back=bool(changes) and not proof, waits=proof)

    @staticmethod
    def _check_not_gone(wanted: WantedVolume, row: Mapping[str, Any]) -> None:
        if row.get("state") in GONE:
            raise ChangeRefused(
                f"volume {wanted.label} is destroyed", hint="recoverVolume in CloudStack brings it back, or take another name"
            )

    @staticmethod
    def _check_origin(wanted: WantedVolume, row: Mapping[str, Any], world: World) -> None:
        """:raises ChangeRefused: it was not made from the declared snapshot. A snapshot that is gone is not compared."""
        if not wanted.snapshot:
            return
        meant = {wanted.snapshot} if is_id(wanted.snapshot) else {one["id"] for one in declared_snapshots(wanted, world)}
        origin, empty = world.origin(row), row.get("state") == ALLOCATED
        if origin in meant and empty:
            # CloudStack makes the record first; what is made from a snapshot is Ready, attached or not, once that has been done.
            raise ChangeRefused(
                f"volume {wanted.label} has nothing of snapshot {wanted.snapshot}: the job that copies it has not ended, or failed",
                hint="if nobody is making it, delete it (state: absent) and run this again",
            )
        if not meant or origin in meant or (origin is None and not empty):
            return
        known = {one["id"]: one["name"] for one in world.snapshots.get(wanted.owner, ())}
        made = f"from snapshot {known.get(origin, origin)}" if origin else "empty"
        raise ChangeRefused(
            f"volume {wanted.label} was made {made}, declared is snapshot {wanted.snapshot}",
            hint="make one from it under another name, or delete this one first (state: absent)",
        )

    @staticmethod
    def _repair(wanted: WantedVolume, row: Mapping[str, Any], offering: Mapping[str, Any] | None, world: World) -> Change | None:
        """Return the call that has CloudStack send to StorPool once more what it has of the volume."""
        fields = {one["field"] for one in world.differences(row, offering) if one["mend"]} if wanted.repair else set()
        if not fields:
            return None
        params, call = {"id": row["id"]}, "resizeVolume"
        if fields & {"template", "tag qc"}:
            # A resize sends size and limit; the tier goes with an offering.
            call, params["diskofferingid"] = "changeOfferingForVolume", offering["id"]
            if offering["custom_size"]:
                params["size"] = -(-row["size"] // GIB)
            if offering["custom_iops"]:
                params.update(miniops=row.get("miniops"), maxiops=row.get("maxiops"))
        return Change(f"repair {' and '.join(sorted(fields))}", Command(call, params, wanted.label, hints=_RESIZE_HINTS))

    @staticmethod
    def _left(
        row: Mapping[str, Any],
        after: Mapping[str, Any],
        offering: Mapping[str, Any] | None,
        resize: Change | None,
        migrate: Change | None,
        world: World,
    ) -> list[dict[str, Any]]:
        """Return in what the two systems will differ after the changes, or differ if nothing changes."""
        there = named(world.storpool, storpool_address(row.get("path")))
        if there is None or not (resize or migrate):
            return world.differences(row, offering)
        becomes, then = {**row, "size": after["size"], "maxiops": after["max_iops"]}, dict(there)
        if resize:
            then.update(_both_layers.sent(row, becomes, there, offering, "diskofferingid" in resize.write.params))
        if migrate:
            becomes["storageid"] = migrate.write.params["storageid"]
            then["templateName"] = becomes["storageid"].partition(";")[0]
        return world.differences(becomes, offering, {there["name"]: then})

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
        if goal["custom_size"] if changed else resized:
            params["size"] = -(-size // GIB)
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
        if size < row["size"] and row.get("type") == ROOT and row.get("vmstate") != STOPPED:
            raise ChangeRefused(
                f"volume {wanted.label} is the ROOT volume of VM {row.get('vmname')}, which runs", hint="stop it to shrink it"
            )
        if row.get("virtualmachineid") in world.with_snapshots:
            raise _has_vm_snapshots(wanted, row.get("vmname"), "resized")

    def _migrate(self, wanted: WantedVolume, row: Mapping[str, Any], detached: bool, after: dict[str, Any], world: World) -> Change | None:
        """Return the move to another pool, by the table of section 5.8. :raises ChangeRefused: it would not be allowed.

        :param detached: it is detached before.
        """
        if not wanted.storage_pool or wanted.storage_pool in (row.get("storage"), row.get("storageid")):
            return None
        pool = _pool(wanted, row.get("zoneid"), world)
        about = f"volume {wanted.label} cannot be moved to storage pool {pool['name']}"
        if row.get("state") == ALLOCATED:
            raise ChangeRefused(
                f"{about}: it is on no pool before it is attached first", hint="attach it first; its offering's tags choose"
            )
        if row.get("state") != READY:
            raise ChangeRefused(f"{about}: it is {row.get('state')}", hint=_LATER)
        if pool.get("state") != "Up":
            raise ChangeRefused(f"{about}: the pool is {pool.get('state')}", hint="choose one that is Up, or end its maintenance")
        machine = None if detached else row.get("virtualmachineid")
        running = bool(machine) and row.get("vmstate") == RUNNING
        source, target = on_storpool(row), pool.get("provider") == "StorPool"
        if after["encrypted"] and not (running and source and target):
            start = f"; start the VM (startVirtualMachine id={machine})" if machine and not running else ""
            raise ChangeRefused(
                f"{about}: it is encrypted",
                hint=f"CloudStack moves encrypted volumes between StorPool pools alone, and only while their VM runs{start}",
            )
        if running and not (source and target):
            stop = f"stop the VM (stopVirtualMachine id={machine}) and run the task again"
            to_host = (
                f"migrateVirtualMachineWithVolume virtualmachineid={machine} hostid=... migrateto[0].volume={row['id']} "
                f"migrateto[0].pool={pool['id']} moves it with its VM to another host; or "
            )
            raise ChangeRefused(
                f"{about} while VM {row.get('vmname')} runs: one of the two pools is not on StorPool",
                hint=stop if source else f"{to_host}{stop}",
            )
        if machine in world.with_snapshots:
            raise _has_vm_snapshots(wanted, row.get("vmname"), "moved")
        lonely = world.lonely.get(row["id"], [])
        if lonely:
            names = ", ".join(f"{one['name']} ({one['id']})" for one in lonely[:20])
            raise ChangeRefused(
                f"{about}: its old pool alone has its snapshots {names}",
                hint="archiveSnapshot id=... moves one to secondary storage; or delete them (cloudstack_snapshot, state: absent)",
            )
        after["storage_pool"] = pool["name"]
        params = {"volumeid": row["id"], "storageid": pool["id"], **({"livemigrate": True} if running else {})}
        return Change("migrate", Command("migrateVolume", params, wanted.label, hints=_MIGRATE_HINTS))

    def _attach(self, wanted: WantedVolume, row: Mapping[str, Any] | None, after: dict[str, Any], world: World) -> Change:
        machine = world.vm(wanted)
        if row is not None and row.get("type") == ROOT:
            raise ChangeRefused(f"volume {wanted.label} is a ROOT volume; it is attached only by hand", hint="leave vm out")
        if machine["id"] in world.with_snapshots:
            raise _has_vm_snapshots(wanted, machine["name"], "attached to it")
        if machine.get("state") not in (RUNNING, STOPPED):
            raise ChangeRefused(f"VM {machine['name']} is {machine.get('state')}; nothing can be attached to it now", hint=_LATER)
        holder = world.devices.get(machine["id"], {}).get(wanted.device_id)
        if holder:
            raise ChangeRefused(
                f"volume {wanted.label} cannot be device {wanted.device_id} of VM {machine['name']}: volume {holder} is",
                hint="choose another device_id, or leave it out for CloudStack to choose",
            )
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
        """Return the look at both systems that follows the writes: what is not as declared then is an error, or a warning.

        It also completes ``after`` and ``notes`` with what is there now.
        """
        if wanted.verify == "off":
            return []

        def missing(now: World) -> str | None:
            again = self.plan(wanted, now)
            if again.before is not None:
                after.update(again.before, snapshot_id=again.before["snapshot_id"] or after["snapshot_id"])
                notes.update(again.notes)
            text = again.refused.message if again.refused else None
            if again.changes:
                text = f"it takes {', '.join(change.action for change in again.changes)} still"
            if text and not (again.refused and "differences" in again.refused.parts):
                why = "somebody else changes it, or CloudStack did not do all of it"
                text = f"volume {wanted.label} is not as declared now, because {why}: {text}"
            if text is None or wanted.verify == "strict":
                return text
            warnings.append(text)
            return None

        return [JointWait(world.look, missing, PROOF, "run the task again; repair: true mends what CloudStack can mend")]

    # absent

    def _plan_absent(self, wanted: WantedVolume, row: Mapping[str, Any] | None, world: World) -> Plan:
        if row is None or row.get("state") in GONE:
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
        warnings: list[str] = []
        waits = [] if wanted.verify == "off" or not on_storpool(row) else [self._proof_of_deletion(wanted, row, warnings, world)]
        return Plan(wanted.label, shown, None, changes, warnings=warnings, waits=waits)

    @staticmethod
    def _proof_of_deletion(wanted: WantedVolume, row: Mapping[str, Any], warnings: list[str], world: World) -> JointWait:
        def missing(there: Mapping[str, Any]) -> str | None:
            text = f"volume {wanted.label} is still on StorPool ({storpool_address(row['path'])})"
            if named(there, storpool_address(row["path"])) is None:
                return None
            if wanted.verify == "strict":
                return text
            warnings.append(text)
            return None

        return JointWait(world.look_for_deleted, missing, PROOF, "CloudStack has it no more; delete it there (storpool_volume)")

    # -- after

    def predict(self, world: World, wanted: WantedVolume, plan: Plan) -> None:
        """Nothing: volumes do not depend on each other, and names declared twice are refused before."""

    def show(self, document: dict[str, Any]) -> dict[str, Any]:
        """Return a volume for the diff: what can be declared."""
        return for_diff(document, "id", "global_id", "snapshot_id", "state", "type")


_LEFT_BEHIND = "CloudStack would leave it so; choose another offering or pool, or let verify: warn go on without"
_LATER = "wait until CloudStack is done with it and run the task again"


def _snapshot(wanted: WantedVolume, world: World) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Return the snapshot that a volume is to be made from, and the volume that it was taken of (empty when that is gone).

    :raises CollectionError: there is none or several, or nothing can be made from it.
    """
    found = one_of(declared_snapshots(wanted, world), wanted.snapshot, "snapshot", "snapshot")
    if found is None:
        raise OptionError("snapshot", wanted.snapshot, "does not exist in CloudStack", item=wanted.label)
    if found.get("state") != "BackedUp":
        raise ChangeRefused(f"snapshot {wanted.snapshot} is {found.get('state')}, not BackedUp", hint="wait until it is done")
    source = world.sources.get(found.get("volumeid") or "", {})
    if source.get("encryptformat"):
        raise ChangeRefused(
            f"volume {wanted.label} cannot be made from snapshot {wanted.snapshot}, which is of an encrypted volume",
            hint="CloudStack makes no volumes from encrypted snapshots; revert the volume itself (cloudstack_snapshot, state: reverted)",
        )
    return found, source


def _pool(wanted: WantedVolume, zone: str | None, world: World) -> Mapping[str, Any]:
    """Return the declared storage pool. :raises OptionError: the zone of the volume has none of that name or id, or several."""
    return pick([one for one in world.pools if zone in (None, one.get("zoneid"))], wanted.storage_pool, "storage_pool")


def _offering(wanted: WantedVolume, world: World) -> Mapping[str, Any]:
    rows = [one for one in world.offerings.values() if one["type"] == "disk"]
    found = one_of(rows, wanted.offering, "offering", "disk offering")
    if found is None:
        known = ", ".join(sorted(one["name"] for one in rows)[:20]) or "none"
        raise OptionError("offering", wanted.offering, f"is no disk offering; there are: {known}", item=wanted.label)
    return found


def _fixed(wanted: WantedVolume, option: str, declared: Any, value: Any, offering: Mapping[str, Any]) -> ChangeRefused:
    return ChangeRefused(
        f"volume {wanted.label} cannot have {option} {declared}: its offering {offering['name']} has {value or 'none'} for all its volumes",
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


def _untold(wanted: WantedVolume, row: Mapping[str, Any], after: Mapping[str, Any], world: World) -> Iterator[str]:
    """Yield what a running VM does not learn of a resize: one release does not tell its host (#10775, table 0.3)."""
    if after["size"] != row["size"] and row.get("vmstate") == RUNNING and (world.version or ())[:3] == NO_WORD_OF_RESIZE:
        machine = row.get("vmname")
        yield f"volume {wanted.label}: CloudStack 4.20.0 does not tell VM {machine} of the new size; it sees it when it is started again"


def _encrypted(row: Mapping[str, Any], offering: Mapping[str, Any] | None) -> bool:
    return bool(row.get("encryptformat")) or bool(row.get("state") == ALLOCATED and offering and offering["encrypt"])


CLOUD_VOLUMES = CloudVolumes()
