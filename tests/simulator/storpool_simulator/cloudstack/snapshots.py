# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots of volumes: the records, their copies in stores, what listings tell (plugin sheet 5.5; ``SnapshotManagerImpl``).

Table `snapshot`; table `snapshot_store` has a row per store that has it (snapshot_store_ref), by `<snapshot>/<store>`: a pool (role
Primary) or an image store (role Image). What StorPool calls it is in its `details`.
"""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import access, errors, resource_tags, storage
from .answers import date
from .schedules import INTERVALS

if TYPE_CHECKING:
    from ..store import Document
    from .cloud import Cloud

# ``Snapshot.State``
ALLOCATED, CREATING, ON_PRIMARY, BACKING_UP, BACKED_UP = "Allocated", "Creating", "CreatedOnPrimary", "BackingUp", "BackedUp"
COPYING, DESTROYING, DESTROYED, ERROR = "Copying", "Destroying", "Destroyed", "Error"
ACTIVE = (CREATING, ON_PRIMARY, BACKING_UP)
# ``Snapshot.Type``: that of a policy's snapshots is its interval
MANUAL, RECURRING = "MANUAL", "RECURRING"
TYPES = (MANUAL, RECURRING, "TEMPLATE", *INTERVALS, "GROUP", "FROM_GROUP")
PRIMARY, IMAGE = "Primary", "Image"
# ``ObjectInDataStoreStateMachine.State`` of a copy
READY = "Ready"
POOL_DETAIL, DELAY_DELETE, RECOVERED = "spStoragePoolId", "SP_DELAY_DELETE", "SP_RECOVERED_SNAPSHOT"
LOCATIONS = {"primary": PRIMARY, "secondary": IMAGE}


def new(cloud: Cloud, id: str, volume: Document, name: str | None, **more: Any) -> Document:
    """In state Allocated: nothing is anywhere yet."""
    vm = cloud.vms.get(volume["vm"]) if volume["vm"] else None
    moment = datetime.fromtimestamp(more.get("created") or cloud.world.clock.now(), timezone.utc)
    fields = {
        "name": name or f"{vm['name'] if vm else 'detached'}_{volume['name']}_{moment:%Y%m%d%H%M%S}",
        "volume": volume["id"],
        "account": volume["account"],
        "zone": volume["zone"],
        "pool": volume["pool"],
        "state": ALLOCATED,
        "type": MANUAL,
        "policy": None,
        "size": volume["size"],
        # The IOPS of the volume at that time, which volumes made from it get
        "miniops": volume["miniops"],
        "maxiops": volume["maxiops"],
        "offering": volume["offering"],
        "encrypt": volume["encrypt"],
        "location": None,
        # snapshot_details: what StorPool calls it, under its own id; its pool; a copy that has to be un-exported
        "details": {},
        # No job is about it: a policy's, or one whose backup goes on in the background (when, and with how many tries left)
        "unattended": False,
        "backup_at": None,
        "backup_tries": 0,
        # Where it is, and where createSnapshot wants copies of it
        "zones": [],
        "copy_to": {"zones": [], "pools": []},
    }
    return cloud.add("snapshot", id, **{**fields, **more})


# Copies


def store_key(snapshot: str, store: str) -> str:
    return f"{snapshot}/{store}"


def put_copy(cloud: Cloud, snapshot: Document, store: Document, role: str, **more: Any) -> Document:
    fields = {
        "snapshot": snapshot["id"],
        "store": store["id"],
        "role": role,
        "zone": store["zone"],
        "state": READY,
        "path": None,
        "physical": 0,
        "created": cloud.world.clock.now(),
    }
    key = store_key(snapshot["id"], store["id"])
    cloud.snapshot_stores.put(key, {**fields, **more})
    return cloud.snapshot_stores[key]


def copies(cloud: Cloud, snapshot: str, role: str | None = None, zone: str | None = None) -> list[Document]:
    """Where it is, in the order of coming there."""
    return [
        row
        for row in cloud.snapshot_stores.values()
        if row["snapshot"] == snapshot and role in (None, row["role"]) and zone in (None, row["zone"])
    ]


def drop_copy(cloud: Cloud, row: Document) -> None:
    """A file goes with its record, once that is on record."""
    cloud.snapshot_stores.drop(store_key(row["snapshot"], row["store"]))
    if row["role"] == IMAGE and row["path"] and not on_storpool(row["path"]):
        store, path = cloud.stores[row["store"]], row["path"]
        cloud.world.after_commit(lambda: cloud.secondary.drop(store, path))


def on_storpool(path: str | None) -> bool:
    """With bypass the copy on the image store is no file but points at StorPool."""
    return bool(path) and str(path).startswith(storage.DEVICES)


def storpool_path(snapshot: Document) -> str | None:
    """What the plugin knows it by on StorPool (``StorPoolHelper.getSnapshotName``)."""
    path, delayed = snapshot["details"].get(snapshot["id"]), snapshot["details"].get(DELAY_DELETE)
    return storage.DEVICES + delayed.lstrip("~") if path is None and delayed is not None else path


def file_copy(cloud: Cloud, snapshot: str, zone: str | None = None) -> Document | None:
    """A real copy on secondary storage."""
    return next((row for row in copies(cloud, snapshot, IMAGE, zone) if row["state"] == READY and not on_storpool(row["path"])), None)


def file_of(cloud: Cloud, row: Document) -> Path:
    return cloud.secondary.path(cloud.stores[row["store"]], row["path"])


def secondary_path(cloud: Cloud, snapshot: Document) -> str:
    account, volume = cloud.accounts[snapshot["account"]], cloud.volumes[snapshot["volume"]]
    return f"snapshots/{account['dbid']}/{volume['dbid']}/{snapshot['id']}"


def with_details(cloud: Cloud, snapshot: Document, **fields: str | None) -> dict[str, str]:
    """The details with these changed; None takes one away."""
    merged = {**cloud.snapshots[snapshot["id"]]["details"], **fields}
    return {key: value for key, value in merged.items() if value is not None}


def of_volume(cloud: Cloud, volume: str) -> list[Document]:
    return [one for one in cloud.living(cloud.snapshots) if one["volume"] == volume]


def active_of_vm(cloud: Cloud, vm: str) -> list[Document]:
    """Snapshots under way of any volume of the VM."""
    volumes = {one["id"] for one in cloud.living(cloud.volumes) if one["vm"] == vm}
    return [one for one in cloud.living(cloud.snapshots) if one["volume"] in volumes and one["state"] in ACTIVE]


def backs_up(cloud: Cloud) -> bool:
    """snapshot.backup.to.secondary as it is in force."""
    return cloud.settings.truth("snapshot.backup.to.secondary")


def bypasses(cloud: Cloud) -> bool:
    """Whether a snapshot stays on StorPool alone by the plugin's own setting, which later releases do not read any more."""
    return cloud.traits.bypass_setting and cloud.settings.truth("sp.bypass.secondary.storage")


def end(cloud: Cloud, snapshot: Document, state: str = DESTROYED) -> None:
    """It is nowhere any more; listings do not show it."""
    for row in copies(cloud, snapshot["id"]):
        drop_copy(cloud, row)
    resource_tags.forget(cloud, "Snapshot", snapshot["id"])
    cloud.snapshots.change(snapshot["id"], state=state, removed=cloud.world.clock.now(), backup_at=None)


def fail(cloud: Cloud, snapshot: Document) -> None:
    """It could not be made: in state Error, with nothing left of it."""
    for row in copies(cloud, snapshot["id"]):
        drop_copy(cloud, row)
    cloud.snapshots.change(snapshot["id"], state=ERROR, backup_at=None, details={})
    cloud.world.commit()


# Views


def kind_of(snapshot: Document) -> str:
    return RECURRING if snapshot["type"] in INTERVALS else snapshot["type"]


def shown(
    cloud: Cloud, snapshot: Document, row: Document | None = None, job: Document | None = None, zone: str | None = None, root: bool = True
) -> dict[str, Any]:
    """`row`: the copy that a listing of all copies is about; a listing of snapshots tells no store. `root`: who sees which store."""
    volume = cloud.volumes[snapshot["volume"]]
    vm = cloud.vms.get(volume["vm"]) if volume["vm"] else None
    image = next(iter(copies(cloud, snapshot["id"], IMAGE)), None)
    place = row["zone"] if row is not None else zone or snapshot["zone"]
    fields = {
        "id": snapshot["id"],
        "name": snapshot["name"],
        **access.owner_shown(cloud, snapshot["account"]),
        "created": date(snapshot["created"]),
        "volumeid": volume["id"],
        "volumename": volume["name"],
        "volumetype": volume["type"],
        "virtualsize": snapshot["size"],
        "physicalsize": row["physical"] if row is not None else image["physical"] if image is not None else snapshot["size"],
        "snapshottype": kind_of(snapshot),
        "intervaltype": snapshot["type"],
        "state": snapshot["state"],
        "locationtype": snapshot["location"],
        "revertable": bool(copies(cloud, snapshot["id"], PRIMARY, volume["zone"])),
        "zoneid": place,
        "ostypeid": _os_type(cloud, volume, vm),
        "hasannotations": False,
        "tags": resource_tags.shown(cloud, "Snapshot", snapshot["id"]),
        "jobid": job and job["id"],
        "jobstatus": job and job["status"],
        **cloud.since("4.19.0", {"zonename": cloud.zones[place]["name"]}),
        **cloud.since("4.19.3", {"volumestate": volume["state"]}),
    }
    if row is not None:
        store = (cloud.pools if row["role"] == PRIMARY else cloud.stores)[row["store"]]
        store_shown = {"datastoreid": store["id"], "datastorename": store["name"], "datastoretype": row["role"]} if root else {}
        details = {"downloadPercent": "0", "downloadState": ""}
        seen = {"datastorestate": row["state"], "status": snapshot["state"], "downloaddetails": details}
        fields.update(cloud.since("4.19.0", {**store_shown, **seen}))
    return fields


def _os_type(cloud: Cloud, volume: Document, vm: Document | None) -> str | None:
    if volume["type"] != "ROOT" or vm is None or not vm.get("ostype"):
        return None
    return vm["ostype"]


def found(cloud: Cloud, id: str) -> Document:
    """A living snapshot. Raises ServerError."""
    snapshot = cloud.snapshots.get(id)
    if snapshot is None or (snapshot["removed"] is not None and snapshot["state"] != DESTROYED):
        raise errors.invalid(f"unable to find a snapshot with id {snapshot['dbid'] if snapshot else id}")
    if snapshot["removed"] is not None:
        raise errors.invalid(f"Snapshot with id: {snapshot['dbid']} is already destroyed")
    return snapshot
