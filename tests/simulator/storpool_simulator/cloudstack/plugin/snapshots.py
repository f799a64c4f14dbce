# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the plugin does with snapshots of volumes (``StorPoolPrimaryDataStoreDriver``, ``StorPoolSnapshotStrategy``; plugin sheet 5.5)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .. import errors, offerings, qemu, snapshots, storage, templates, volumes
from ..work import Chore, Steps
from . import agents, bases, tags
from . import volumes as storpool_volumes
from .client import Client, StorPoolError, address_of, gid_of, path_of, text_of

if TYPE_CHECKING:
    from ...store import Document
    from ..cloud import Cloud

FAILURES = (StorPoolError, agents.HostError, qemu.ImageError)
CLUSTER_ID = "sp.cluster.id"
NO_CLUSTER = "Could not find the right clusterId to send the command to: no KVM cluster has StorPool's cluster id {} in its " + CLUSTER_ID


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
    client = Client.of_pool(cloud, cloud.pools[snapshot["pool"]])
    try:
        yield from _to_store(cloud, snapshot, client, path, store)
    except (*FAILURES, errors.ServerError) as error:
        _clean_up(cloud, client, snapshot, store)
        raise errors.failure(f"Failed to backup snapshot {snapshot['name']}: {text_of(error)}") from error


def of_group(cloud: Cloud, snapshot: Document, group: Document) -> Steps:
    """createSnapshotFromVMSnapshot: the volume's part of a VM snapshot goes to secondary storage, and is nowhere else.

    The sheet has the command and not what the plugin makes of it; this is what its users would want. Raises ServerError.
    """
    store = cloud.secondary.store_of(snapshot["zone"])
    if store is None:
        raise errors.failure(f"Unable to find image store in zone {cloud.zones[snapshot['zone']]['name']}")
    cloud.snapshots.change(snapshot["id"], state=snapshots.BACKING_UP, zones=[snapshot["zone"]], location="SECONDARY")
    try:
        client = Client.of_pool(cloud, cloud.pools[snapshot["pool"]])
        yield from _to_store(cloud, snapshot, client, group["details"].get(snapshot["volume"]), store)
    except (*FAILURES, errors.ServerError) as error:
        snapshots.fail(cloud, snapshot)
        raise errors.failure(f"Failed to backup snapshot {snapshot['name']} from VM snapshot: {text_of(error)}") from error


def _to_store(cloud: Cloud, snapshot: Document, client: Client, path: str | None, store: Document) -> Steps:
    """Of the StorPool snapshot with that path a file on an image store. Raises StorPoolError, HostError, ImageError, ServerError."""
    relative = snapshots.secondary_path(cloud, snapshot)
    snapshots.put_copy(cloud, snapshot, store, snapshots.IMAGE, path=relative, state=snapshots.COPYING)
    if path is None:
        raise agents.HostError(f"snapshot {snapshot['name']} is not on primary storage")
    yield from _to_file(cloud, snapshot, client, gid_of(path), store, relative)
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
    """The id of the StorPool cluster near the snapshot: asked, or (earlier) read off its globalId. Raises StorPoolError, ServerError.

    With several KVM clusters one has to be known to be near it, by its setting (plugin sheet 5.12).
    """
    if cloud.traits.asks_cluster:
        found = client.cluster_of_snapshot(gid)
    else:
        found = ".".join(gid.split(".", 2)[:2])
    clusters, setting = cloud.living(cloud.clusters), cloud.settings.known[CLUSTER_ID]
    if len(clusters) > 1 and all(cloud.settings.effective(setting, one["id"]) != found for one in clusters):
        raise errors.failure(NO_CLUSTER.format(found))
    return found


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
        text = f"Failed to cleanup StorPool snapshot '{address_of(path)}'. Error: {error.text}."
        cloud.journal.add("ERROR", "StorPoolPrimaryDataStoreDriver", text)
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


def leave_storpool(cloud: Cloud, snapshot: Document) -> None:
    """After archiveSnapshot the copy on secondary storage is the only one. Raises ServerError."""
    for row in snapshots.copies(cloud, snapshot["id"], snapshots.PRIMARY):
        _delete_on_pool(cloud, snapshot, row)
    cloud.snapshots.change(snapshot["id"], details=snapshots.with_details(cloud, snapshot, **{snapshot["id"]: None}))


# Volumes from snapshots


def check_source(cloud: Cloud, snapshot: Document, zone: str) -> None:
    """Before there is a volume in the zone. Raises ServerError."""
    if snapshot["state"] != snapshots.BACKED_UP:
        raise errors.invalid(
            f"Snapshot id={snapshot['dbid']} is not in {snapshots.BACKED_UP} state yet and can't be used for volume creation"
        )
    if snapshot["encrypt"]:
        raise errors.failure("Cannot create new volumes from encrypted volume snapshots")
    if zone not in snapshot["zones"]:
        raise errors.invalid(f"Snapshot {snapshot['name']} is not in zone {cloud.zones[zone]['name']}")


def volume_from(cloud: Cloud, volume: Document, snapshot: Document) -> Steps:
    """A child of StorPool's snapshot, without a copy; else the copy on secondary storage is brought back first. Raises ServerError."""
    volume = cloud.volumes[volume["id"]]
    pool = _pool_for(cloud, volume, snapshot)
    cloud.volumes.change(volume["id"], state=volumes.CREATING, pool=pool["id"])
    try:
        gid = yield from _child(cloud, Client.of_pool(cloud, pool), volume, snapshot, pool)
    except (*FAILURES, errors.ServerError) as error:
        cloud.volumes.change(volume["id"], state=volumes.ALLOCATED, pool=None)
        cloud.world.commit()
        if isinstance(error, errors.ServerError):
            raise
        path = snapshots.storpool_path(snapshot)
        raise errors.failure(
            f"Could not create Storpool volume {volume['id']} from snapshot {address_of(path) if path else None}. Error: {text_of(error)}"
        ) from error
    cloud.volumes.change(volume["id"], state=volumes.READY, pool=pool["id"], path=path_of(gid))
    cloud.world.commit()


def _pool_for(cloud: Cloud, volume: Document, snapshot: Document) -> Document:
    """One that suits the volume's offering; by preference the snapshot's own, then one where StorPool has the snapshot."""
    offering = cloud.disk_offerings.get(volume["offering"] or "")
    tagged = offerings.tags_of(offering["tags"]) if offering is not None else set()
    suitable = [
        pool
        for pool in cloud.living(cloud.pools)
        if pool["zone"] == volume["zone"] and pool["state"] == storage.UP and tagged <= offerings.tags_of(pool["tags"])
    ]
    homes = {row["store"] for row in snapshots.copies(cloud, snapshot["id"], snapshots.PRIMARY, volume["zone"])}
    places = {cloud.world.clusters[cloud.pools[id]["storpool"]].location for id in homes}
    for wanted in (
        lambda pool: pool["id"] in homes,
        lambda pool: storage.on_storpool(pool) and cloud.world.clusters[pool["storpool"]].location in places,
        storage.on_storpool,
    ):
        for pool in suitable:
            if wanted(pool):
                return pool
    raise errors.failure(f"Unable to find suitable primary storage when creating volume {volume['name']}")


def _child(cloud: Cloud, client: Client, volume: Document, snapshot: Document, pool: Document) -> Steps:
    """The globalId of the new volume. Its IOPS are those of the snapshot's volume, not the offering's (plugin sheet 5.7)."""
    tier = storpool_volumes.tier_of(cloud, volume["offering"]) if cloud.traits.tiers_from_snapshots else storpool_volumes.Tier()

    def create(parent: str) -> str:
        return client.volume_create(
            volume["size"],
            tags.tags(volume["id"], tags.VOLUME, **{tags.TIER: tier.qos}),
            parent=parent,
            template=tier.template,
            iops=snapshot["maxiops"] if not tier else None,
        )

    path = snapshots.storpool_path(snapshot)
    if path is not None:
        try:
            return create(gid_of(path))
        except StorPoolError as error:
            if not error.is_missing:
                raise
    name = f"snapshot {snapshot['id']} on {pool['id']}"
    copied = yield from cloud.workshop.alone(name, _brought_back(cloud, client, volume, snapshot, pool, path))
    return create(copied)


def _brought_back(cloud: Cloud, client: Client, volume: Document, snapshot: Document, pool: Document, lost: str | None) -> Steps:
    """From secondary storage to a StorPool snapshot, which the next volume finds (its globalId). `lost`: the path that leads nowhere."""
    known = snapshots.storpool_path(cloud.snapshots[snapshot["id"]])
    if known is not None and known != lost:
        return gid_of(known)  # by somebody who was first
    row = snapshots.file_copy(cloud, snapshot["id"], volume["zone"])
    if row is None:
        raise errors.failure(
            f"The snapshot {address_of(known) if known else None} does not exists neither on primary, neither on secondary storage. "
            "Cannot create volume from snapshot"
        )
    wanted = tags.tags(snapshot["id"], tags.SNAPSHOT, policy=tags.NO_POLICY)
    gid = client.volume_create(volume["size"], wanted, iops=snapshot["maxiops"])
    try:
        yield from fill(cloud, client, gid, snapshots.file_of(cloud, row), "qcow2", volume["zone"], snapshot["id"], snapshot["name"])
    except Exception:
        client.volume_delete(gid)
        raise
    if cloud.traits.freezes_cache:
        client.volume_freeze(gid)
    else:
        gid = _snapshot_of(client, gid, tags.tags(snapshot["id"], tags.SNAPSHOT))
    details = snapshots.with_details(cloud, snapshot, **{snapshot["id"]: path_of(gid), snapshots.POOL_DETAIL: str(pool["dbid"])})
    cloud.snapshots.change(snapshot["id"], details=details)
    snapshots.put_copy(cloud, snapshot, pool, snapshots.PRIMARY, path=path_of(gid), physical=snapshot["size"])
    cloud.world.commit()
    return gid


def _snapshot_of(client: Client, volume: str, wanted: dict[str, str]) -> str:
    snapshot = client.volume_snapshot(volume, wanted)
    client.volume_delete(volume)
    return snapshot


def fill(cloud: Cloud, client: Client, gid: str, source: Path, form: str, zone: str, *objects: str) -> Steps:
    """A host attaches the volume and converts an image into it. Raises HostError, ImageError, StorPoolError."""
    host = agents.endpoint(cloud, zone, client.cluster.id)
    yield from agents.delayed(cloud, agents.DOWNLOAD_TEMPLATE, *objects)
    agents.attach(cloud, host, gid)
    try:
        target = agents.writable(cloud, gid)
        yield Chore(lambda: qemu.convert(source, form, target, existing=True, empty=True))
        agents.written(cloud, gid)
    finally:
        agents.detach(cloud, host, gid, force=True)


# Templates from snapshots


def check_template_source(cloud: Cloud, snapshot: Document) -> None:
    """Before there is a template. Raises ServerError."""
    if snapshot["state"] != snapshots.BACKED_UP:
        raise errors.invalid(
            f"Snapshot {snapshot['name']} is not in {snapshots.BACKED_UP} state yet and can't be used for template creation"
        )
    if snapshot["encrypt"]:
        raise errors.failure("Cannot create templates from encrypted volumes")
    if snapshots.DELAY_DELETE in snapshot["details"]:
        raise errors.failure("Cannot create a template from the last snapshot of deleted volume. You can only restore the volume.")


def on_storpool_first(cloud: Cloud, snapshot: Document) -> bool:
    """Whether a template is cloned on StorPool (``StorPoolDataMotionStrategy``): with bypass, or when snapshots are not backed up."""
    if snapshots.storpool_path(snapshot) is None:
        return False
    return snapshots.bypasses(cloud) or not snapshots.backs_up(cloud)


def template_from(cloud: Cloud, template: Document, snapshot: Document) -> Steps:
    """A file on secondary storage; made by way of a clone on StorPool there is a base snapshot too. Raises ServerError."""
    zone = next(iter(template["zones"]), snapshot["zone"])
    store = cloud.secondary.store_of(zone)
    if store is None:
        bases.forget(cloud, template)
        raise errors.failure(f"Unable to find image store in zone {cloud.zones[zone]['name']}")
    row = templates.add_copy(cloud, template, store, state=templates.CREATING, download_state=templates.IN_PROGRESS)
    try:
        if on_storpool_first(cloud, snapshot):
            yield from _by_storpool(cloud, template, snapshot, row, zone)
        else:
            yield from _by_file(cloud, template, snapshot, row, zone)
    except (*FAILURES, errors.ServerError, OSError) as error:
        bases.forget(cloud, template)
        raise errors.failure(f"Failed to create template from snapshot {snapshot['name']}: {text_of(error)}") from error


def _by_storpool(cloud: Cloud, template: Document, snapshot: Document, row: Document, zone: str) -> Steps:
    """A clone of the snapshot is copied by a host, becomes the base snapshot, and goes."""
    home = next(iter(snapshots.copies(cloud, snapshot["id"], snapshots.PRIMARY, zone)), None)
    pool = cloud.pools[home["store"] if home is not None else snapshot["pool"]]
    client = Client.of_pool(cloud, pool)
    path = snapshots.storpool_path(snapshot)
    assert path is not None
    wanted = tags.tags(template["id"], tags.TEMPLATE, policy=tags.NO_POLICY)
    clone = client.volume_create(snapshot["size"], wanted, parent=gid_of(path))
    try:
        home_cluster = home_of(cloud, client, gid_of(path))
        about = (template["id"], template["name"], snapshot["id"])
        physical = yield from bases.to_secondary(
            cloud, template, row, clone, zone, home_cluster, agents.BACKUP_TEMPLATE, *about, kind="volume"
        )
        base = client.volume_snapshot(clone, tags.tags(template["id"], tags.TEMPLATE))
    finally:
        client.volume_delete(clone)
    bases.finish(cloud, template, row, physical, snapshot["size"], path_of(base), pool)


def _by_file(cloud: Cloud, template: Document, snapshot: Document, row: Document, zone: str) -> Steps:
    """The copy on secondary storage is all that is used; StorPool hears nothing of it."""
    origin = snapshots.file_copy(cloud, snapshot["id"], zone) or snapshots.file_copy(cloud, snapshot["id"])
    if origin is None:
        raise errors.failure(f"Cannot find the snapshot {snapshot['name']} on secondary storage")
    source, target = snapshots.file_of(cloud, origin), cloud.secondary.place(cloud.stores[row["store"]], row["path"])
    yield Chore(lambda: qemu.convert(source, "qcow2", target, "qcow2"))
    templates.change_copy(
        cloud,
        row,
        state=templates.READY,
        download_state=templates.DOWNLOADED,
        percent=100,
        physical=target.stat().st_size,
        size=snapshot["size"],
    )
    cloud.templates.change(template["id"], size=snapshot["size"])
