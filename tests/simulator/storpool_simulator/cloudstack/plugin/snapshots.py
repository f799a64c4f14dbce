# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the plugin does with snapshots of volumes (``StorPoolPrimaryDataStoreDriver``, ``StorPoolSnapshotStrategy``; plugin sheet 5.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import errors, qemu, snapshots, storage, templates
from ..work import Chore, Steps
from . import agents, bases, tags
from .client import Client, StorPoolError, address_of, gid_of, path_of

if TYPE_CHECKING:
    from ...store import Document
    from ..cloud import Cloud

FAILURES = (StorPoolError, agents.HostError, qemu.ImageError)


def text_of(error: Exception) -> str:
    return error.text if isinstance(error, (StorPoolError, errors.ServerError)) else str(error)


# Taking


def take(cloud: Cloud, snapshot: Document) -> Document:
    """On StorPool; one that a job took before its server went down is there already. Raises ServerError."""
    if snapshots.storpool_path(snapshot) is not None:
        return cloud.snapshots[snapshot["id"]]
    volume = cloud.volumes[snapshot["volume"]]
    pool = cloud.pools[volume["pool"]]
    cloud.snapshots.change(snapshot["id"], state=snapshots.CREATING)
    wanted = tags.tags(snapshot["id"], tags.SNAPSHOT, volume["vm"])
    try:
        client = Client.of_pool(cloud, pool)
        gid = _taken_before(cloud, client, snapshot) or client.volume_snapshot(gid_of(volume["path"]), wanted)
    except StorPoolError as error:
        snapshots.fail(cloud, snapshot)
        raise errors.failure(f"Could not snapshot StorPool volume {address_of(volume['path'])}. Error {error.text}") from error
    details = snapshots.with_details(cloud, snapshot, **{snapshot["id"]: path_of(gid), snapshots.POOL_DETAIL: str(pool["dbid"])})
    snapshots.put_copy(cloud, snapshot, pool, snapshots.PRIMARY, path=path_of(gid), physical=snapshot["size"])
    changed = cloud.snapshots.change(snapshot["id"], state=snapshots.ON_PRIMARY, details=details, zones=[snapshot["zone"]])
    cloud.world.commit()
    return changed


def _taken_before(cloud: Cloud, client: Client, snapshot: Document) -> str | None:
    """The server may have gone down between StorPool's answer and its own record."""
    if snapshot["state"] != snapshots.CREATING:
        return None
    for one in client.cluster.snapshots.values():
        if one["tags"].get(tags.UUID) == snapshot["id"] and not one["deleted"]:
            return one["gid"]
    return None


# Backing up


def back_up(cloud: Cloud, snapshot: Document) -> Steps:
    """To secondary storage; with bypass the record there points at StorPool. Raises ServerError; then StorPool's snapshot is gone too."""
    store = cloud.secondary.store_of(snapshot["zone"])
    if store is None:
        raise errors.failure(f"Unable to find image store in zone {cloud.zones[snapshot['zone']]['name']}")
    path = snapshots.storpool_path(snapshot)
    cloud.snapshots.change(snapshot["id"], state=snapshots.BACKING_UP)
    if snapshots.bypasses(cloud):
        snapshots.put_copy(cloud, snapshot, store, snapshots.IMAGE, path=path, physical=snapshot["size"])
        cloud.snapshots.change(snapshot["id"], state=snapshots.BACKED_UP, backup_at=None)
        return
    relative = snapshots.secondary_path(cloud, snapshot)
    client = Client.of_pool(cloud, cloud.pools[snapshot["pool"]])
    snapshots.put_copy(cloud, snapshot, store, snapshots.IMAGE, path=relative, state=snapshots.COPYING)
    try:
        if path is None:
            raise agents.HostError(f"snapshot {snapshot['name']} is not on primary storage")
        yield from _to_file(cloud, snapshot, client, gid_of(path), store, relative)
    except FAILURES as error:
        _clean_up(cloud, client, snapshot, store)
        raise errors.failure(f"Failed to backup snapshot {snapshot['name']}: {text_of(error)}") from error
    physical = cloud.secondary.path(store, relative).stat().st_size
    cloud.snapshot_stores.change(snapshots.store_key(snapshot["id"], store["id"]), state=snapshots.READY, physical=physical)
    cloud.snapshots.change(snapshot["id"], state=snapshots.BACKED_UP, backup_at=None)


def _to_file(cloud: Cloud, snapshot: Document, client: Client, gid: str, store: Document, relative: str) -> Steps:
    """A host attaches the StorPool snapshot and converts it (raw) to a qcow2 file."""
    host = agents.endpoint(cloud, snapshot["zone"], home_of(cloud, client, gid))
    yield from agents.delayed(cloud, agents.BACKUP_SNAPSHOT, snapshot["id"], snapshot["name"], snapshot["volume"])
    agents.attach(cloud, host, gid, "snapshot", "ro")
    target = cloud.secondary.place(store, relative)
    try:
        source = agents.readable(cloud, gid)
        yield Chore(lambda: qemu.convert(source, "raw", target, "qcow2"))
    finally:
        agents.detach(cloud, host, gid, "snapshot", force=True)


def home_of(cloud: Cloud, client: Client, gid: str) -> str:
    """The id of the StorPool cluster near the snapshot: asked, or (earlier) read off its globalId. Raises StorPoolError."""
    if cloud.traits.asks_cluster:
        return client.cluster_of_snapshot(gid)
    location, sub, _unused = gid.split(".", 2)
    return f"{location}.{sub}"


def _clean_up(cloud: Cloud, client: Client, snapshot: Document, store: Document) -> None:
    """A failed backup takes the StorPool snapshot with it; what is left can only fail again."""
    path = snapshots.storpool_path(snapshot)
    row = cloud.snapshot_stores.get(snapshots.store_key(snapshot["id"], store["id"]))
    if row is not None:
        snapshots.drop_copy(cloud, row)
    cloud.snapshots.change(snapshot["id"], state=snapshots.ON_PRIMARY)
    if path is None:
        return
    try:
        remove_on_storpool(client, gid_of(path))
    except StorPoolError as error:
        cloud.journal.add("ERROR", "StorPoolPrimaryDataStoreDriver", f"Failed to cleanup StorPool snapshot '{address_of(path)}'. Error: {error.text}.")
        return
    cloud.snapshots.change(snapshot["id"], details=snapshots.with_details(cloud, snapshot, **{snapshot["id"]: None}))


def remove_on_storpool(client: Client, gid: str) -> None:
    """Raises StorPoolError."""
    client.detach_everywhere(gid, "snapshot")
    client.snapshot_delete(gid)


# Deleting


def delete(cloud: Cloud, snapshot: Document, zone: str | None) -> None:
    """In one zone or everywhere: StorPool's, then the copies on secondary storage. Raises ServerError."""
    if zone is not None and snapshot["state"] in (snapshots.ALLOCATED, snapshots.ON_PRIMARY):
        raise errors.invalid(f"Snapshot in {snapshot['state']} can not be deleted for a zone")
    if snapshot["state"] not in (snapshots.ALLOCATED, snapshots.ON_PRIMARY, snapshots.BACKED_UP, snapshots.ERROR, snapshots.DESTROYING):
        raise errors.invalid(f"Can't delete snapshot {snapshot['dbid']} due to it is in {snapshot['state']} Status")
    for row in snapshots.copies(cloud, snapshot["id"], snapshots.PRIMARY, zone):
        _delete_on_pool(cloud, snapshot, row)
    for row in snapshots.copies(cloud, snapshot["id"], snapshots.IMAGE, zone):
        snapshots.drop_copy(cloud, row)
    zones = [one for one in cloud.snapshots[snapshot["id"]]["zones"] if zone is not None and one != zone]
    cloud.snapshots.change(snapshot["id"], zones=zones)
    if not snapshots.copies(cloud, snapshot["id"]):
        details = snapshots.with_details(cloud, snapshot, **{snapshot["id"]: None, snapshots.POOL_DETAIL: None, snapshots.RECOVERED: None})
        cloud.snapshots.change(snapshot["id"], details=details)
        snapshots.end(cloud, snapshot)


def _delete_on_pool(cloud: Cloud, snapshot: Document, row: Document) -> None:
    path = address_of(row["path"])
    try:
        remove_on_storpool(Client.of_pool(cloud, cloud.pools[row["store"]]), gid_of(row["path"]))
    except StorPoolError as error:
        if "still exported" in error.descr:
            raise errors.failure(
                "Failed to delete snapshot:com.cloud.utils.exception.CloudRuntimeException: Cannot delete snapshot due to "
                f"The snapshot [{path}] was exported to another cluster. [{error.text}]"
            ) from error
        missing = error.is_missing
        if missing:
            # Older releases mark the copy and fail all the same; the next call finds nothing to do on StorPool
            snapshots.drop_copy(cloud, row)
            cloud.world.commit()
        if not (missing and cloud.traits.missing_is_deleted):
            raise errors.failure(f"Failed to clean-up Storpool snapshot {path}. Error: {error.text}") from error
        return
    snapshots.drop_copy(cloud, row)
    cloud.world.commit()


# Reverting


def revert(cloud: Cloud, snapshot: Document, volume: Document) -> None:
    """The volume keeps its globalId and, on StorPool, its size: CloudStack alone takes the snapshot's size. Raises ServerError."""
    path, gid = snapshots.storpool_path(snapshot), gid_of(volume["path"])
    if path is None:
        raise errors.failure(f"snapshot {snapshot['name']} [{snapshot['id']}] does not exists in data store")
    try:
        client = Client.of_pool(cloud, cloud.pools[volume["pool"]])
        client.detach_everywhere(gid)
    except StorPoolError as error:
        raise errors.failure(f"Could not detach StorPool volume {address_of(gid)} due to {error.text}") from error
    try:
        client.volume_revert(gid, gid_of(path))
    except StorPoolError as error:
        raise errors.failure(
            f"Could not revert StorPool volume {address_of(gid)} to the {address_of(path)} snapshot: "
            f"could not create the new volume: error {error.text}"
        ) from error
    restore_iops(cloud, client, volume)
    cloud.volumes.change(volume["id"], size=snapshot["size"])


def restore_iops(cloud: Cloud, client: Client, volume: Document) -> None:
    """After a revert the limit is set again; a failure is only logged."""
    if volume["maxiops"] is None:
        return
    try:
        client.volume_update(gid_of(volume["path"]), iops=volume["maxiops"], tags={})
    except StorPoolError as error:
        text = f"Volume was reverted successfully but max iops could not be set due to {error.descr}"
        cloud.journal.add("WARN", "StorPoolPrimaryDataStoreDriver", text)
