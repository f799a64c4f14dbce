# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""VM snapshots (plugin sheet 5.6; ``VMSnapshotManagerImpl``)."""

from __future__ import annotations

from typing import Any

from ...store import Document
from .. import access, answers, errors, resource_tags, snapshots, taking, vm_snapshots, vms
from ..cloud import Cloud
from ..ids import new_id
from ..plugin import snapshots as storpool_snapshots
from ..plugin import vmsnapshots as plugin
from ..registry import command
from ..request import Request
from ..work import Steps

ABOUT = ("VMSnapshot", "vmsnapshotid")
LONGEST = 255
RUNNING, STOPPED = "Running", "Stopped"
BUSY = "There is other active vm snapshot tasks on the instance, please try again later"


def _allocate(request: Request) -> str:
    """The checks in the server's order (``allocVMSnapshot``)."""
    cloud, params = request.cloud, request.params
    vm = access.own(request, "virtualmachineid", cloud.vms)
    name, memory = params.get("name"), params.get("snapshotmemory", False)
    if name is not None and any(one["displayname"].lower() == name.lower() for one in vm_snapshots.of_vm(cloud, vm["id"])):
        raise errors.invalid(f"Creating VM snapshot failed due to VM snapshot with name{name}  already exists")
    if vm["state"] not in (RUNNING, STOPPED):
        raise errors.invalid(f"Creating VM snapshot failed due to VM:{vm['dbid']} is not in the running or Stopped state")
    if memory and vm["state"] != RUNNING:
        raise errors.invalid("Can not snapshot memory when VM is not in Running state")
    if not any(one["type"] == "ROOT" for one in plugin.volumes_of(cloud, vm["id"])):
        raise errors.failure(f"Unable to find root volume for the user vm:{vm['id']}")
    if not plugin.can_handle(cloud, vm["id"], memory):
        # No other strategy is served here: memory of a VM on raw devices, and disks that are not all on StorPool
        if not memory and not cloud.settings.truth("kvm.vmstoragesnapshot.enabled"):
            raise errors.failure("Creating a snapshot of a running KVM instance without memory is not supported")
        raise errors.failure("KVM does not support the type of snapshot requested")
    most = int(cloud.settings.number("vmsnapshot.max", 10))
    if len(vm_snapshots.of_vm(cloud, vm["id"])) >= most:
        raise errors.failure(f"Creating vm snapshot failed due to a VM can just have : {most} VM snapshots. Please delete old ones")
    if snapshots.active_of_vm(cloud, vm["id"]):
        raise errors.failure(
            "There is other active volume snapshot tasks on the instance to which the volume is attached, please try again later."
        )
    if _busy(cloud, vm["id"]):
        raise errors.failure(BUSY)
    return vm_snapshots.new(cloud, new_id(), vm, vms.instance_name(vm), name, params.get("description"))["id"]


def _busy(cloud: Cloud, vm: str, but: str | None = None) -> bool:
    return any(one["state"] in vm_snapshots.ACTIVE and one["id"] != but for one in vm_snapshots.of_vm(cloud, vm))


@command("createVMSnapshot", create=_allocate, instance=("VMSnapshot", ""), package="user.vmsnapshot")
def create_vm_snapshot(request: Request) -> dict:
    cloud, id = request.cloud, request.entity
    assert id is not None
    plugin.take(cloud, cloud.vm_snapshots[id])
    return answers.single(request, vm_snapshots.shown(cloud, cloud.vm_snapshots[id]))


@command("listVMSnapshot", package="user.vmsnapshot")
def list_vm_snapshots(request: Request) -> dict:
    cloud = request.cloud
    pending, scope = cloud.jobs.pending_of("VMSnapshot"), access.scope(request, id="vmsnapshotid")
    found = [
        one
        for one in cloud.living(cloud.vm_snapshots)
        if scope.has(one)
        and request.matches(vmsnapshotid=one["id"], virtualmachineid=one["vm"], name=one["displayname"], state=one["state"])
        and one["id"] in request.get("vmsnapshotids", [one["id"]])
        and request.has_keyword(one["name"], one["displayname"], one["description"])
        and resource_tags.matches(cloud, "VMSnapshot", one["id"], request.get("tags"))
    ]

    def view(one: Document) -> dict[str, Any]:
        return vm_snapshots.shown(cloud, one, pending.get(one["id"]))

    return answers.listing(request, found, view)


@command("revertToVMSnapshot", instance=ABOUT, package="user.vmsnapshot")
def revert_to_vm_snapshot(request: Request) -> dict:
    """Its preconditions are looked at in the job."""
    cloud = request.cloud
    snapshot = access.own(request, "vmsnapshotid", cloud.vm_snapshots)
    vm = cloud.vms[snapshot["vm"]]
    if vm["removed"] is not None:
        raise errors.invalid(f"Revert vm to snapshot: {snapshot['dbid']} failed due to vm: {vm['dbid']} is not found")
    if _busy(cloud, vm["id"], snapshot["id"]):
        raise errors.invalid(BUSY)
    if vm["state"] not in (RUNNING, STOPPED):
        raise errors.invalid("VM Snapshot reverting failed due to vm is not in the state of Running or Stopped.")
    if vm["state"] == RUNNING:
        raise errors.invalid(
            "Reverting to the VM Snapshot is not allowed for running VMs as this would result in a VM state change. "
            "For running VMs only snapshots with memory can be reverted. "
            "In order to revert to a snapshot without memory you need to first stop the VM."
        )
    # A revert is one go; one that is under way here was cut short with its server
    if snapshot["state"] not in (vm_snapshots.READY, vm_snapshots.REVERTING):
        raise errors.invalid("VM Snapshot reverting failed due to vm snapshot is not in the state of Created.")
    plugin.revert(cloud, snapshot)
    return answers.single(request, vms.shown(cloud, cloud.vms[vm["id"]], request.caller.is_root))


@command("deleteVMSnapshot", instance=ABOUT, package="user.vmsnapshot")
def delete_vm_snapshot(request: Request) -> dict:
    cloud = request.cloud
    snapshot = access.own(request, "vmsnapshotid", cloud.vm_snapshots)
    if snapshot["state"] not in (vm_snapshots.READY, vm_snapshots.EXPUNGING, vm_snapshots.ERROR):
        raise errors.invalid(
            f"Can't delete the vm snapshotshot {snapshot['dbid']} due to it is not in Created or Error, or Expunging State"
        )
    if _busy(cloud, snapshot["vm"], snapshot["id"]):
        raise errors.invalid(BUSY)
    plugin.delete(cloud, snapshot)
    return answers.success()


# A snapshot of one volume out of it


def _allocate_part(request: Request) -> str:
    cloud = request.cloud
    group, volume = access.own(request, "vmsnapshotid", cloud.vm_snapshots), access.own(request, "volumeid", cloud.volumes)
    if group["state"] != vm_snapshots.READY:
        raise errors.invalid(f"VM snapshot {group['dbid']} is in state {group['state']}, no snapshot can be made from it")
    if volume["id"] not in group["details"]:
        raise errors.invalid(f"Volume {volume['name']} is not part of VM snapshot {group['displayname']}")
    taking.check(cloud, volume, running=False)
    return snapshots.new(cloud, new_id(), volume, request.params.get("name"))["id"]


@command("createSnapshotFromVMSnapshot", create=_allocate_part, instance=("Snapshot", ""), package="user.snapshot")
def create_snapshot_from_vm_snapshot(request: Request) -> Steps:
    cloud, id = request.cloud, request.entity
    assert id is not None
    yield from storpool_snapshots.of_group(cloud, cloud.snapshots[id], cloud.vm_snapshots[request.params["vmsnapshotid"]])
    return answers.single(request, snapshots.shown(cloud, cloud.snapshots[id]))
