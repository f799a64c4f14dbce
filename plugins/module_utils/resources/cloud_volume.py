# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 4: volumes of CloudStack, compared with what StorPool holds.

Facts: reference sheet cloudstack-storpool, sections 5.1 to 5.4 and 5.7 to 5.9. A DATA volume is born on StorPool when it is attached for
the first time; until then CloudStack calls it Allocated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .._cloudstack import CloudStack, Command, is_id
from .._errors import ChangeRefused, CollectionError, OptionError
from .._plan import Change, JointWait, Plan
from .._units import format_size
from ._both_layers import held, on_storpool, told, way_out
from ._cloud import GONE, PROOF, one_of, storpool_address, twin_of
from ._shared import for_diff, named
from .cloud_volume_changes import attachment, detachment, fixed, left_different, migration, repair, resizing, untold, update
from .cloud_volume_wanted import WantedVolume, parse_volume
from .cloud_volume_world import (
    ALLOCATED,
    READY,
    ROOT,
    World,
    declared_offering,
    declared_pool,
    declared_snapshots,
    find,
    in_order,
    is_vm,
    observe,
    offering_of,
    pools_for,
)
from .offering import GIB

DELETE_PROTECTION_SINCE = (4, 20)


class CloudVolumes:
    """Volumes of CloudStack, as the runner manages them."""

    kind = "volume"

    # -- desired

    def parse(self, options: Mapping[str, Any], now: float) -> WantedVolume:
        """Return what is wanted of one volume. :raises OptionError: names the option that cannot be meant."""
        return parse_volume(options)

    # -- observe

    def observe(self, client: CloudStack, wanted: Sequence[WantedVolume]) -> World:
        """See :func:`.cloud_volume_world.observe`."""
        return observe(client, wanted)

    def spread(self, wanted: Sequence[WantedVolume], world: World) -> list[WantedVolume]:
        """See :func:`.cloud_volume_world.in_order`."""
        return in_order(wanted, world)

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
        offering = declared_offering(wanted, world) if wanted.offering else world.offerings.get(source.get("diskofferingid") or "")
        size = snapshot and snapshot.get("virtualsize")
        if snapshot:
            params["snapshotid"] = snapshot["id"]
        if snapshot and wanted.offering and offering["encrypt"]:
            # It would be a child of the snapshot on StorPool (sheet 5.2), and no host encrypts that.
            raise ChangeRefused(
                f"volume {wanted.label} cannot be made from snapshot {wanted.snapshot} with offering {offering['name']}, which encrypts: "
                "a volume from a snapshot has the snapshot's bytes as they are",
                hint="choose an offering that does not encrypt; or make an empty volume with this one and copy the data in a VM",
            )
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
        pool, fits = declared_pool(wanted, zone, world), pools_for(offering, zone, world.pools)
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
            raise fixed(wanted, "max_iops", wanted.max_iops, source.get("maxiops"), {"name": after["offering"]})
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
                raise fixed(wanted, "size", format_size(wanted.size), format_size(offering["size"]), offering)
            size = offering["size"]
        if not offering["custom_iops"]:
            if wanted.max_iops is not None and wanted.max_iops != offering["max_iops"]:
                raise fixed(wanted, "max_iops", wanted.max_iops, offering["max_iops"], offering)
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
            steps.append(update(wanted, {"id": None, "deleteprotection": True}))
            after["delete_protection"] = True
        if wanted.vm:
            steps.append(attachment(wanted, None, after, world))
        return steps

    # present

    def _plan_present(self, wanted: WantedVolume, row: Mapping[str, Any], world: World) -> Plan:
        shown = self._shown(row, world)
        after = dict(shown)
        self._check_not_gone(wanted, row)
        self._check_origin(wanted, row, world)
        offering = offering_of(row, world)
        changes: list[Change] = []
        fields: dict[str, Any] = {}
        if wanted.name and row["name"] != wanted.name:
            fields["name"] = after["name"] = wanted.name
        if wanted.delete_protection is not None and wanted.delete_protection != shown["delete_protection"]:
            if row.get("deleteprotection") is None:
                self._check_protection(wanted, world)
            fields["deleteprotection"] = after["delete_protection"] = wanted.delete_protection
        if fields:
            changes.append(update(wanted, {"id": row["id"], **fields}))
        moved = wanted.vm is not None and shown["vm"] is not None and not is_vm(row, wanted.vm)
        if moved:
            changes.append(detachment(wanted, row, after, world))
        resize = resizing(wanted, row, offering, after, world)
        goal = world.offerings.get(resize.write.params.get("diskofferingid", "")) if resize else None
        if wanted.repair:
            resize = repair(wanted, row, after, goal or offering, resize, world)
        if row.get("state") == ALLOCATED and wanted.vm:
            self._check_pool_of_new(wanted, goal or offering, row["zoneid"], False, after, world)
            migrate = None
        else:
            migrate = migration(wanted, row, moved, after, world)
        changes += [one for one in (resize, migrate) if one]
        device_unknown = "foreseen" in row and shown["vm"] is not None and shown["device_id"] is None and wanted.device_id is not None
        if wanted.vm and (moved or shown["vm"] is None):
            changes.append(attachment(wanted, row, after, world))
        elif wanted.vm and wanted.device_id not in (None, shown["device_id"]) and not device_unknown:
            raise ChangeRefused(
                f"volume {wanted.label} is device {shown['device_id']} of VM {shown['vm']}, declared is {wanted.device_id}",
                hint='detach it first (vm: ""), then attach it as that device',
            )
        self._check_encryption(wanted, after["encrypted"], after["offering"])
        left = left_different(row, after, goal or offering, changes, world) if wanted.verify != "off" else []
        warnings = list(untold(wanted, row, after, world))
        if device_unknown and not moved:
            warnings.append(
                f"volume {wanted.label}: an earlier task attaches it, and CloudStack chooses its device then; "
                f"if that is not {wanted.device_id}, this task will be refused"
            )
        if migrate and "foreseen" in row and not row.get("storage"):
            warnings.append(
                f"volume {wanted.label}: an earlier task attaches it for the first time, and CloudStack chooses its pool then; "
                f"it is moved only if that is not {after['storage_pool']}"
            )
        if left:
            is_not = "would not be" if resize or migrate else "is not"
            text = f"volume {wanted.label} {is_not} the same in CloudStack and on StorPool: {told(left)}"
            # What StorPool has already is somebody's doing; only the rest comes of what is declared.
            there = [(one["field"], one["storpool"]) for one in world.differences(row, offering)]
            hint = way_out(left) if all((one["field"], one["storpool"]) in there for one in left) else _LEFT_BEHIND
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
            changes.append(update(wanted, {"id": row["id"], "deleteprotection": False}))
        if row.get("virtualmachineid"):
            if wanted.on_attached == "fail":
                raise ChangeRefused(
                    f"volume {wanted.label} is attached to VM {row.get('vmname')}",
                    hint='detach it (vm: ""), or set on_attached: detach', allow_with="on_attached: detach",
                )  # fmt: skip
            changes.append(detachment(wanted, row, {}, world))
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


def _encrypted(row: Mapping[str, Any], offering: Mapping[str, Any] | None) -> bool:
    return bool(row.get("encryptformat")) or bool(row.get("state") == ALLOCATED and offering and offering["encrypt"])


CLOUD_VOLUMES = CloudVolumes()
