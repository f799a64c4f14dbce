# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots of whole instances: the records and what listings tell (plugin sheet 5.6; ``VMSnapshotManagerImpl``). Table `vmsnapshot`."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from . import access, resource_tags
from .answers import date

if TYPE_CHECKING:
    from ..store import Document
    from .cloud import Cloud

# ``VMSnapshot.State``
ALLOCATED, CREATING, READY, REVERTING, EXPUNGING, REMOVED, ERROR = (
    *("Allocated", "Creating", "Ready", "Reverting", "Expunging", "Removed", "Error"),
)
ACTIVE = (ALLOCATED, CREATING, REVERTING, EXPUNGING)
DISK = "Disk"
POOL_DETAIL = "spStoragePoolId"


def new(cloud: Cloud, id: str, vm: Document, instance: str, name: str | None, description: str | None) -> Document:
    """`instance`: the instance's name on its host."""
    now = datetime.fromtimestamp(cloud.world.clock.now(), timezone.utc)
    internal = f"{instance}_VS_{now:%Y%m%d%H%M%S}"
    return cloud.add(
        "vmsnapshot",
        id,
        name=internal,
        displayname=name or internal,
        description=description,
        vm=vm["id"],
        account=vm["account"],
        zone=vm["zone"],
        type=DISK,
        state=ALLOCATED,
        parent=None,
        current=False,
        # vm_snapshot_details: by volume the path of its snapshot on StorPool; the pool
        details={},
    )


def of_vm(cloud: Cloud, vm: str) -> list[Document]:
    return [one for one in cloud.living(cloud.vm_snapshots) if one["vm"] == vm]


def make_current(cloud: Cloud, chosen: str | None, vm: str) -> None:
    for one in of_vm(cloud, vm):
        if one["current"] != (one["id"] == chosen):
            cloud.vm_snapshots.change(one["id"], current=one["id"] == chosen)


def end(cloud: Cloud, snapshot: Document) -> None:
    """Its children follow its parent, and so does what the instance is based on."""
    for one in of_vm(cloud, snapshot["vm"]):
        if one["parent"] == snapshot["id"]:
            cloud.vm_snapshots.change(one["id"], parent=snapshot["parent"])
    if snapshot["current"]:
        make_current(cloud, snapshot["parent"], snapshot["vm"])
    resource_tags.forget(cloud, "VMSnapshot", snapshot["id"])
    cloud.vm_snapshots.change(snapshot["id"], state=REMOVED, removed=cloud.world.clock.now(), current=False, details={})


def shown(cloud: Cloud, snapshot: Document, job: Document | None = None) -> dict[str, Any]:
    vm = cloud.vms[snapshot["vm"]]
    parent = cloud.vm_snapshots.get(snapshot["parent"]) if snapshot["parent"] else None
    return {
        "id": snapshot["id"],
        "name": snapshot["name"],
        "displayname": snapshot["displayname"],
        "description": snapshot["description"],
        "virtualmachineid": vm["id"],
        "virtualmachinename": vm["display_name"] or vm["name"],
        **access.owner_shown(cloud, snapshot["account"]),
        "zoneid": snapshot["zone"],
        "zonename": cloud.zones[snapshot["zone"]]["name"],
        "created": date(snapshot["created"]),
        "state": snapshot["state"],
        "type": snapshot["type"],
        "current": snapshot["current"],
        "parent": parent and parent["id"],
        "parentName": parent and parent["displayname"],
        "hypervisor": "KVM",
        "hasannotations": False,
        "tags": resource_tags.shown(cloud, "VMSnapshot", snapshot["id"]),
        "jobid": job and job["id"],
        "jobstatus": job and job["status"],
    }
