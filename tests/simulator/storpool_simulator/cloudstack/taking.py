# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a snapshot comes about: what has to be so before, the steps, what goes on without a job (plugin sheet 5.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import errors, nfs, snapshots, vms
from .plugin import copying
from .plugin import snapshots as plugin
from .work import Steps, no_error

if TYPE_CHECKING:
    from ..store import Document
    from .cloud import Cloud

RUNNING_VMS = (
    "KVM Snapshot is not supported for Running VMs. It is disabled by default due to a possible volume corruption in certain cases. "
    "To enable it set global settings kvm.snapshot.enabled to True. See the documentation for more details."
)
ENCRYPTED_RUNNING = "Volume snapshots for encrypted volumes are not supported if VM is running"
BUSY = "There is other active {} tasks on the instance to which the volume is attached, please try again later"
UNFINISHED = (snapshots.ALLOCATED, *snapshots.ACTIVE)
MANAGER = "SnapshotManagerImpl"


# Before


def check(cloud: Cloud, volume: Document, *, running: bool = True) -> None:
    """`running`: a running machine matters. Raises ServerError."""
    if volume["state"] != "Ready" or volume["path"] is None:
        raise errors.invalid(f"VolumeId: {volume['dbid']} is not in Ready state but {volume['state']}. Cannot take snapshot.")
    nfs.refuse(cloud, volume, "takes no snapshots")
    vm = cloud.vms.get(volume["vm"]) if volume["vm"] else None
    if vm is None:
        return
    if running and vm["state"] not in ("Stopped", "Destroyed") and not _of_running_vms(cloud):
        raise errors.failure(RUNNING_VMS)
    if vm["state"] in ("Destroyed", "Expunging"):
        about = f"volume:{volume['dbid']} is associated with vm:{vms.instance_name(vm)} is in {vm['state']} state"
        raise errors.failure(f"Creating snapshot failed due to {about}")
    if snapshots.active_of_vm(cloud, vm["id"]):
        raise errors.invalid(BUSY.format("snapshot"))
    if any(one["vm"] == vm["id"] and one["state"] in ("Creating", "Reverting", "Expunging") for one in cloud.living(cloud.vm_snapshots)):
        raise errors.failure(BUSY.format("vm snapshot"))


def _of_running_vms(cloud: Cloud) -> bool:
    """kvm.snapshot.enabled: up to 4.21 what is stored counts, later what is in force (``hostSupportsSnapsthotForVolume``)."""
    setting = cloud.settings.known["kvm.snapshot.enabled"]
    if cloud.traits.snapshot_switch_is_stored:
        return cloud.settings.value(setting) == "true"
    return cloud.settings.truth(setting.name)


def _check_encrypted(cloud: Cloud, volume: Document) -> None:
    """The gate for running VMs (plugin sheet 0.3): with bypass; from 4.21 on with backup, which looks inverted. Raises ServerError."""
    vm = cloud.vms.get(volume["vm"]) if volume["vm"] else None
    if not volume["encrypt"] or vm is None or vm["state"] == "Stopped":
        return
    if not (snapshots.backs_up(cloud) if cloud.traits.encrypted_needs_backup else snapshots.bypasses(cloud)):
        raise errors.failure(ENCRYPTED_RUNNING)


# The steps


def make(cloud: Cloud, id: str, *, asynchronous: bool = False) -> Steps:
    """From the record to a snapshot that can be used; without waiting for the backup if it is asynchronous. Raises ServerError."""
    snapshot = cloud.snapshots[id]
    if snapshots.storpool_path(snapshot) is None:
        try:
            _check_encrypted(cloud, cloud.volumes[snapshot["volume"]])
        except errors.ServerError:
            snapshots.fail(cloud, snapshot)
            raise
    snapshot = plugin.take(cloud, snapshot)
    if not snapshots.backs_up(cloud):
        cloud.snapshots.change(id, state=snapshots.BACKED_UP)
    elif asynchronous:
        tries = int(cloud.settings.number("backup.retry", 3)) + 1
        cloud.snapshots.change(id, unattended=True, backup_at=cloud.world.clock.now(), backup_tries=tries)
        return
    elif snapshot["state"] != snapshots.BACKED_UP:
        try:
            yield from plugin.back_up(cloud, snapshot)
        except errors.ServerError:
            snapshots.fail(cloud, snapshot)
            raise
    _trim(cloud, cloud.snapshots[id])
    yield from copying.copy_new(cloud, cloud.snapshots[id])


def _trim(cloud: Cloud, snapshot: Document) -> None:
    """Of a policy's snapshots the oldest go; one that cannot is only logged."""
    policy = cloud.policies.get(snapshot["policy"]) if snapshot["policy"] else None
    if policy is None:
        return
    most = min(policy["maxsnaps"], int(cloud.settings.number(f"snapshot.max.{policy['interval'].lower()}", 8)))
    kept = [one for one in snapshots.of_volume(cloud, snapshot["volume"]) if one["type"] == snapshot["type"]]
    kept.sort(key=lambda one: one["created"])
    while len(kept) > max(1, most):
        oldest = kept.pop(0)
        try:
            plugin.delete(cloud, oldest, None)
        except errors.ServerError as error:
            cloud.journal.add("WARN", MANAGER, f"Failed to delete snapshot {oldest['name']}: {error.text}", snapshot=oldest["id"])


# Without a job: policies, and backups in the background


def _work_name(id: str) -> str:
    return f"snapshot {id}"


def begin_due(cloud: Cloud) -> bool:
    """Those whose time has come, or that another process had begun."""
    now, began = cloud.world.clock.now(), False
    for snapshot in cloud.living(cloud.snapshots):
        if not snapshot["unattended"] or snapshot["state"] not in UNFINISHED or (snapshot["backup_at"] or 0) > now:
            continue
        name = _work_name(snapshot["id"])
        if name not in cloud.workshop.under_way:
            # One after the other, as they were due
            steps = cloud.workshop.alone(f"snapshots of {snapshot['volume']}", _unattended(cloud, snapshot["id"]))
            cloud.workshop.start(name, steps, no_error)
            began = True
    return began


def _unattended(cloud: Cloud, id: str) -> Steps:
    snapshot = cloud.snapshots[id]
    if snapshot["removed"] is not None:
        return
    if not snapshot["backup_tries"]:
        try:
            if snapshot["state"] == snapshots.ALLOCATED:
                check(cloud, cloud.volumes[snapshot["volume"]])
            yield from make(cloud, id)
        except errors.ServerError as error:
            cloud.journal.add("WARN", MANAGER, f"Scheduled snapshot {snapshot['name']} failed: {error.text}", snapshot=id)
            snapshots.fail(cloud, cloud.snapshots[id])
        return
    try:
        yield from plugin.back_up(cloud, snapshot)
    except errors.ServerError as error:
        left = snapshot["backup_tries"] - 1
        text = f"Backing up of snapshot failed, for snapshot with ID {snapshot['dbid']}, left with {left} more attempts: {error.text}"
        cloud.journal.add("WARN", MANAGER, text, snapshot=id)
        if not left:
            snapshots.fail(cloud, snapshot)
            return
        again = cloud.world.clock.now() + cloud.settings.number("backup.retry.interval", 300)
        cloud.snapshots.change(id, state=snapshots.ON_PRIMARY, backup_at=again, backup_tries=left)
        return
    yield from copying.copy_new(cloud, cloud.snapshots[id])
