# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 4: what it takes to change a volume of CloudStack: the calls, what CloudStack allows, and what they leave different.

Facts: reference sheet cloudstack-storpool, sections 5.3, 5.4, 5.8 and 5.9. Each function takes the volume as CloudStack lists it and
enters in ``after`` what becomes of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from .._cloudstack import Command
from .._errors import ChangeRefused
from .._plan import Change
from .._units import format_size
from . import _both_layers
from ._both_layers import RUNNING, STOPPED, on_storpool
from ._cloud import storpool_address
from ._shared import named
from .cloud_volume_wanted import WantedVolume
from .cloud_volume_world import ALLOCATED, READY, ROOT, World, declared_offering, declared_pool
from .offering import GIB

NO_WORD_OF_RESIZE = (4, 20, 0)

_LATER = "wait until CloudStack is done with it and run the task again"
_MIGRATE_HINTS = (("livemigrate", "the VM has been started meanwhile; run the task again"),)
_RESIZE_HINTS = (("snapshot", "wait until its snapshots are backed up, and remove the VM's snapshots"),)


def update(wanted: WantedVolume, params: dict[str, Any]) -> Change:
    """Return the change of name and protection."""
    words = []
    if "name" in params:
        words.append("rename")
    if "deleteprotection" in params:
        words.append("protect" if params["deleteprotection"] else "unprotect")
    return Change(" and ".join(words), Command("updateVolume", params, wanted.label))


def resizing(
    wanted: WantedVolume, row: Mapping[str, Any], offering: Mapping[str, Any] | None, after: dict[str, Any], world: World
) -> Change | None:
    """Return the change of offering, size and limit: one call does all three.

    :raises CollectionError: the offering does not exist or allows no other value, CloudStack would refuse it, or data would be lost.
    """
    goal = declared_offering(wanted, world) if wanted.offering else None
    changed = goal is not None and goal["id"] != row.get("diskofferingid")
    fixes = goal if changed else offering
    root = row.get("type") == ROOT
    size = wanted.size
    if changed and not goal["custom_size"]:
        if size not in (None, goal["size"]):
            raise fixed(wanted, "size", format_size(size), format_size(goal["size"]), goal)
        size = goal["size"]
    elif changed and size is None:
        size = row["size"]
    elif size is not None and size != row["size"] and not changed and not root and fixes and not fixes["custom_size"]:
        raise fixed(wanted, "size", format_size(size), format_size(fixes["size"]), fixes)
    low, high = wanted.min_iops, wanted.max_iops
    if changed and not goal["custom_iops"]:
        if high not in (None, goal["max_iops"]):
            raise fixed(wanted, "max_iops", high, goal["max_iops"], goal)
        low, high = goal["min_iops"], goal["max_iops"]
    elif high is not None and high != row.get("maxiops") and not root and fixes and not fixes["custom_iops"]:
        raise fixed(wanted, "max_iops", high, fixes["max_iops"], fixes)
    resized = size is not None and size != row["size"]
    limited = not changed and high is not None and (high != row.get("maxiops") or low not in (None, row.get("miniops")))
    if not (changed or resized or limited):
        return None
    if changed:
        _check_same_encryption(wanted, goal, after["encrypted"])
    _check_resize(wanted, row, size if resized else row["size"], world)
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


def _check_same_encryption(wanted: WantedVolume, goal: Mapping[str, Any], encrypted: bool) -> None:
    """:raises ChangeRefused: the offering would encrypt the volume or end that, which CloudStack does with no change of offering."""
    if goal["encrypt"] != encrypted:
        raise ChangeRefused(
            f"volume {wanted.label} {'is' if encrypted else 'is not'} encrypted, and offering {goal['name']} would change that",
            hint="make another volume with that offering and copy the data",
        )


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
        raise ChangeRefused(f"volume {wanted.label} is the ROOT volume of VM {row.get('vmname')}, which runs", hint="stop it to shrink it")
    if row.get("virtualmachineid") in world.with_snapshots:
        raise _has_vm_snapshots(wanted, row.get("vmname"), "resized")


def _notified(document: dict[str, Any], volume: Mapping[str, Any]) -> None:
    """Take the size that the answer tells."""
    if volume.get("size"):
        document["size"] = volume["size"]


def repair(
    wanted: WantedVolume,
    row: Mapping[str, Any],
    after: Mapping[str, Any],
    offering: Mapping[str, Any] | None,
    resize: Change | None,
    world: World,
) -> Change | None:
    """Return the call that has CloudStack send to StorPool once more what it has of the volume, or will have after ``resize``."""
    different = left_different(row, after, offering, [resize] if resize else [], world)
    fields = sorted(one["field"] for one in different if one["mend"])
    if not fields:
        return resize
    call = resize or Change("", Command("resizeVolume", {"id": row["id"]}, wanted.label, hints=_RESIZE_HINTS))
    params, name = dict(call.write.params), call.write.call
    if "template" in fields or "tag qc" in fields:
        # A resize sends size and limit; the tier goes with an offering.
        name, params["diskofferingid"] = "changeOfferingForVolume", offering["id"]
        if offering["custom_size"]:
            params["size"] = -(-after["size"] // GIB)
        if offering["custom_iops"]:
            params.update(miniops=after["min_iops"], maxiops=after["max_iops"])
    mended = f"repair {' and '.join(fields)}"
    action = f"{call.action} and {mended}" if resize else mended
    return replace(call, action=action, write=replace(call.write, call=name, params=params))


def migration(wanted: WantedVolume, row: Mapping[str, Any], detached: bool, after: dict[str, Any], world: World) -> Change | None:
    """Return the move to another pool, by the table of section 5.8. :raises ChangeRefused: it would not be allowed.

    :param detached: it is detached before.
    """
    if not wanted.storage_pool or wanted.storage_pool in (row.get("storage"), row.get("storageid")):
        return None
    pool = declared_pool(wanted, row.get("zoneid"), world)
    about = f"volume {wanted.label} cannot be moved to storage pool {pool['name']}"
    if row.get("state") == ALLOCATED:
        raise ChangeRefused(f"{about}: it is on no pool before it is attached first", hint="attach it first; its offering's tags choose")
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
            hint="archiveSnapshot id=... moves one to secondary storage (up to 4.20 not while sp.bypass.secondary.storage is true); "
            "or delete them (cloudstack_snapshot, state: absent)",
        )
    after["storage_pool"] = pool["name"]
    params = {"volumeid": row["id"], "storageid": pool["id"], **({"livemigrate": True} if running else {})}
    return Change("migrate", Command("migrateVolume", params, wanted.label, hints=_MIGRATE_HINTS))


def attachment(wanted: WantedVolume, row: Mapping[str, Any] | None, after: dict[str, Any], world: World) -> Change:
    """Return the attachment to the declared VM. :raises CollectionError: there is no such VM, or it cannot have the volume now.

    :param row: ``None`` for a volume that is still to be made.
    """
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


def detachment(wanted: WantedVolume, row: Mapping[str, Any], after: dict[str, Any], world: World) -> Change:
    """Return the detachment from its VM. :raises ChangeRefused: the VM does not let go of it."""
    if row.get("type") == ROOT:
        raise ChangeRefused(f"volume {wanted.label} is the ROOT volume of VM {row.get('vmname')}; it stays with it", hint="leave vm out")
    if row["virtualmachineid"] in world.with_snapshots:
        raise _has_vm_snapshots(wanted, row.get("vmname"), "detached")
    after.update(vm=None, device_id=None)
    return Change("detach", Command("detachVolume", {"id": row["id"]}, wanted.label))


def left_different(
    row: Mapping[str, Any], after: Mapping[str, Any], offering: Mapping[str, Any] | None, changes: Sequence[Change], world: World
) -> list[dict[str, Any]]:
    """Return in what the two systems will differ after the changes, or differ if nothing changes.

    Whatever tells on StorPool which VM has the volume is set with an attachment; one that was cut short left it as it was, or as it would
    have become.
    """
    calls = {change.write.call: change.write.params for change in changes}
    resize, move = calls.get("resizeVolume") or calls.get("changeOfferingForVolume"), calls.get("migrateVolume")
    there = named(world.storpool, storpool_address(row.get("path")))
    if there is None or not (resize or move):
        found = world.differences(row, offering)
    else:
        becomes, then = {**row, "size": after["size"], "maxiops": after["max_iops"]}, dict(there)
        if resize:
            then.update(_both_layers.sent(row, becomes, there, offering, "diskofferingid" in resize))
        if move:
            becomes["storageid"] = move["storageid"]
            then["templateName"] = becomes["storageid"].partition(";")[0]
        found = world.differences(becomes, offering, {there["name"]: then})
    if "attachVolume" in calls or "detachVolume" in calls:
        found = [one for one in found if one["field"] not in ("tag cvm", "tag disk")]
    return found


def untold(wanted: WantedVolume, row: Mapping[str, Any], after: Mapping[str, Any], world: World) -> Iterator[str]:
    """Yield what a running VM does not learn of a resize: one release does not tell its host (#10775, table 0.3)."""
    if after["size"] != row["size"] and row.get("vmstate") == RUNNING and (world.version or ())[:3] == NO_WORD_OF_RESIZE:
        machine = row.get("vmname")
        yield f"volume {wanted.label}: CloudStack 4.20.0 does not tell VM {machine} of the new size; it sees it when it is started again"


def fixed(wanted: WantedVolume, option: str, declared: Any, value: Any, offering: Mapping[str, Any]) -> ChangeRefused:
    """Return the refusal of a size or limit that is not the one ``value`` of an offering."""
    return ChangeRefused(
        f"volume {wanted.label} cannot have {option} {declared}: its offering {offering['name']} has {value or 'none'} for all its volumes",
        hint=f"choose an offering with that {option}, or one that leaves it open",
    )


def _has_vm_snapshots(wanted: WantedVolume, machine: str | None, word: str) -> ChangeRefused:
    return ChangeRefused(
        f"volume {wanted.label} cannot be {word}: VM {machine} has VM snapshots",
        hint="delete them first (cloudstack_vm_snapshot, state: absent)",
    )
