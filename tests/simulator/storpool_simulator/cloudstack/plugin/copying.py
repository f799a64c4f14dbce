# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies of snapshots in other zones: files on secondary storage, from 4.21 on StorPool's own (plugin sheet 5.5; ``SnapshotHelper``)."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from .. import errors, snapshots, storage
from ..work import Chore, Steps
from . import tags
from .client import Client, StorPoolError, address_of, gid_of

if TYPE_CHECKING:
    from ...store import Document
    from ..cloud import Cloud

LOCATION, REPLICATION = "sp.cluster.location", "use.storage.replication"
RECOVERY_CHECK = "storpool.snapshot.recovery.from.remote.check"


def target_zones(cloud: Cloud, zones: list[str]) -> list[str]:
    """Raises ServerError."""
    for zone in zones:
        if zone not in cloud.zones or cloud.zones[zone]["removed"] is not None:
            raise errors.invalid("Unable to find the specified zone")
    return list(dict.fromkeys(zones))


def refuse_without_backup(cloud: Cloud, zones: list[str], replicate: bool) -> None:
    """Other zones get their copy from secondary storage, unless StorPool copies. Raises ServerError."""
    if zones and not snapshots.backs_up(cloud) and not replicate:
        raise errors.invalid("Backing up of snapshot has been disabled. Snapshot can not be taken for multiple zones")


def target_pools(cloud: Cloud, zones: list[str], named: list[str], replicate: bool) -> list[str]:
    """The pools that get a copy: those named, and with replication the marked one of each zone. Raises ServerError."""
    if not cloud.traits.replication:
        return []
    found = list(named)
    if replicate:
        if not zones and not named:
            raise errors.invalid("There is no destination zone provided")
        found += [_marked_pool(cloud, zone) for zone in zones]
    found = list(dict.fromkeys(found))
    if len({cloud.pools[id]["zone"] for id in found}) < len(found):
        raise errors.invalid("Cannot copy the snapshot on multiple storage pools in one zone")
    for id in found:
        if cloud.pools[id]["removed"] is not None or not storage.on_storpool(cloud.pools[id]):
            raise errors.invalid("The storage pool does not support copy between zones")
    return found


def _marked_pool(cloud: Cloud, zone: str) -> str:
    setting = cloud.settings.known[REPLICATION]
    for pool in cloud.living(cloud.pools):
        if pool["zone"] == zone and storage.on_storpool(pool) and cloud.settings.effective(setting, pool["id"]) == "true":
            return pool["id"]
    # The server does not look whether there is one (plugin sheet 5.5)
    raise errors.ServerError(errors.INTERNAL, "Index 0 out of bounds for length 0")


def copy_new(cloud: Cloud, snapshot: Document) -> Steps:
    """What createSnapshot was asked for; a copy that fails is only logged, the snapshot is there."""
    wanted = snapshot.get("copy_to") or {"zones": [], "pools": []}
    if not wanted["zones"] and not wanted["pools"]:
        return
    try:
        yield from _copies(cloud, snapshot, snapshot["zone"], wanted["zones"], wanted["pools"])
    except errors.ServerError as error:
        cloud.journal.add("WARN", "SnapshotManagerImpl", f"post process snapshot failed: {error.text}", snapshot=snapshot["id"])


def copy(cloud: Cloud, snapshot: Document, source: str, zones: list[str], named: list[str], replicate: bool) -> Steps:
    """copySnapshot. Raises ServerError."""
    zones = [one for one in target_zones(cloud, zones) if one != source]
    pools = target_pools(cloud, zones, named, replicate)
    if not zones and not pools:
        raise errors.invalid("Please specify valid destination zone(s).")
    if snapshot["state"] != snapshots.BACKED_UP:
        raise errors.invalid(f"Snapshot {snapshot['name']} is not in {snapshots.BACKED_UP} state yet and can't be copied")
    yield from _copies(cloud, snapshot, source, zones, pools)


def _copies(cloud: Cloud, snapshot: Document, source: str, zones: list[str], pools: list[str]) -> Steps:
    if pools:
        for id in pools:
            replicate_to(cloud, snapshot, source, cloud.pools[id])
        return
    for zone in zones:
        yield from _file_to(cloud, snapshot, source, zone)


# Files


def _file_to(cloud: Cloud, snapshot: Document, source: str, zone: str) -> Steps:
    origin, store = snapshots.file_copy(cloud, snapshot["id"], source), cloud.secondary.store_of(zone)
    if origin is None:
        raise errors.invalid(f"There is no snapshot ID: {snapshot['id']} ready on image store")
    if store is None:
        raise errors.failure(f"Unable to find image store in zone {cloud.zones[zone]['name']}")
    if snapshots.copies(cloud, snapshot["id"], snapshots.IMAGE, zone):
        return
    snapshots.put_copy(cloud, snapshot, store, snapshots.IMAGE, path=origin["path"], state=snapshots.COPYING, physical=origin["physical"])
    here, there = snapshots.file_of(cloud, origin), cloud.secondary.place(store, origin["path"])
    try:
        yield Chore(lambda: shutil.copyfile(here, there))
    except OSError as error:
        snapshots.drop_copy(cloud, cloud.snapshot_stores[snapshots.store_key(snapshot["id"], store["id"])])
        cloud.world.commit()
        raise errors.failure(f"Failed to copy snapshot {snapshot['name']} to zone {cloud.zones[zone]['name']}: {error}") from error
    cloud.snapshot_stores.change(snapshots.store_key(snapshot["id"], store["id"]), state=snapshots.READY)
    _in_zone(cloud, snapshot, zone)


def _in_zone(cloud: Cloud, snapshot: Document, zone: str) -> None:
    zones = cloud.snapshots[snapshot["id"]]["zones"]
    if zone not in zones:
        cloud.snapshots.change(snapshot["id"], zones=[*zones, zone])


# StorPool's own copies


def location_of(cloud: Cloud, pool: Document) -> str | None:
    return cloud.settings.effective(cloud.settings.known[LOCATION], pool["id"])


def replicate_to(cloud: Cloud, snapshot: Document, source: str, pool: Document) -> None:
    """Exported here, copied there, with the same globalId; exported it stays until the copy is seen complete. Raises ServerError."""
    origin = next(iter(snapshots.copies(cloud, snapshot["id"], snapshots.PRIMARY, source)), None)
    if origin is None:
        raise errors.invalid("Cannot copy snapshot to primary storage. There aren't storage pools that support this operation")
    if snapshots.store_key(snapshot["id"], pool["id"]) in cloud.snapshot_stores:
        return
    here, there = cloud.pools[origin["store"]], pool
    location, own = location_of(cloud, there), location_of(cloud, here)
    if location is None or own is None:
        raise errors.failure("The snapshot is not in the right location")
    gid = gid_of(origin["path"])
    near, far = Client.of_pool(cloud, here), Client.of_pool(cloud, there)
    mine = tags.tags(snapshot["id"], tags.SNAPSHOT)
    wanted = {"remoteId": gid, "remoteLocation": own, "name": "", "template": far.template, "tags": mine}
    exported = {"snapshot": address_of(gid), "location": location}
    _step(f"Failed to export snapshot {gid} from {location} due to", near, "SnapshotExport", exported)
    _step(f"Failed to copy snapshot {gid} to {location} due to", far, "SnapshotFromRemote", wanted)
    details = snapshots.with_details(cloud, snapshot, **{snapshots.RECOVERED: f"{address_of(gid)};{location}"})
    cloud.snapshots.change(snapshot["id"], details=details)
    _step(f"Failed to reconcile snapshot {gid} from {location} due to", far, f"SnapshotReconcile/{address_of(gid)}", {})
    snapshots.put_copy(cloud, snapshot, there, snapshots.PRIMARY, path=origin["path"], physical=origin["physical"])
    _in_zone(cloud, snapshot, there["zone"])
    cloud.world.commit()


def _step(text: str, client: Client, call: str, body: dict) -> None:
    try:
        client.post(call, body, prefix="")
    except StorPoolError as error:
        raise errors.failure(f"{text} {error.text}") from error


def check_recovered(cloud: Cloud, now: float) -> None:
    """Now and then: what has arrived in the other location need not be exported any more (``StorPoolAbandonObjectsCollector``)."""
    if not cloud.traits.replication:
        return
    period = cloud.settings.number(RECOVERY_CHECK, 300)
    last = cloud.meta.get("recovery_check")
    if last is None:
        cloud.meta.put("recovery_check", {"at": now})
        return
    if period <= 0 or now < last["at"] + period:
        return
    cloud.meta.put("recovery_check", {"at": now})
    for snapshot in cloud.living(cloud.snapshots):
        waiting = snapshot["details"].get(snapshots.RECOVERED)
        if waiting is not None:
            _let_go(cloud, snapshot, *waiting.split(";", 1))


def _let_go(cloud: Cloud, snapshot: Document, address: str, location: str) -> None:
    rows = snapshots.copies(cloud, snapshot["id"], snapshots.PRIMARY)
    there = [row for row in rows if location_of(cloud, cloud.pools[row["store"]]) == location]
    here = [row for row in rows if row not in there]
    try:
        if there and Client.of_pool(cloud, cloud.pools[there[0]["store"]]).snapshot(address.lstrip("~"))["recoveringFromRemote"]:
            return
        if here:
            body = {"snapshot": address, "location": location}
            Client.of_pool(cloud, cloud.pools[here[0]["store"]]).post("SnapshotUnexport", body, prefix="")
    except StorPoolError as error:
        if not error.is_missing:
            text = f"Could not unexport snapshot {address} from {location} due to {error.text}"
            cloud.journal.add("WARN", "StorPoolAbandonObjectsCollector", text, snapshot=snapshot["id"])
            return
    details = snapshots.with_details(cloud, snapshot, **{snapshots.RECOVERED: None})
    cloud.snapshots.change(snapshot["id"], details=details)
