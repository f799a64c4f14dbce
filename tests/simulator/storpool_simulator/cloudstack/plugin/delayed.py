# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Delayed delete: a last snapshot of a deleted volume that StorPool removes by itself after a while (plugin sheet 5.11)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import snapshots, storage
from ..ids import new_id
from . import tags
from .client import Client, StorPoolError, address_of, gid_of, path_of

if TYPE_CHECKING:
    from ...store import Document
    from ..cloud import Cloud

INTERVAL, POLLED = "storpool.delete.after.interval", "storpool.list.snapshots.delete.after.interval"
LAST = "delayed_delete_check"


def seconds(cloud: Cloud, pool: Document) -> int:
    """A value of the pool's own works at once, the global one when it is in force."""
    setting = cloud.settings.known.get(INTERVAL)
    text = cloud.settings.effective(setting, pool["id"]) if setting is not None else None
    try:
        return int(text or 0)
    except ValueError:
        return 0


def keep(cloud: Cloud, volume: Document, client: Client) -> None:
    """Before the volume goes; nothing for an encrypted one, or where it is off. Raises StorPoolError."""
    pool = cloud.pools[volume["pool"]]
    delay = seconds(cloud, pool)
    if delay <= 0 or volume["encrypt"]:
        return
    wanted = tags.tags(volume["id"], tags.DELAYED)
    gid = client.volume_snapshot(gid_of(volume["path"]), wanted, deleteAfter=delay)
    # Its detail is an address and no path, so the report of abandoned objects takes it for one (plugin sheet 4.6)
    details = {snapshots.DELAY_DELETE: address_of(gid)}
    kept = {"type": snapshots.RECURRING, "state": snapshots.BACKED_UP, "location": "PRIMARY", "details": details}
    snapshot = snapshots.new(cloud, new_id(), volume, gid, zones=[volume["zone"]], **kept)
    # The plugin records the internal number of the zone as that of the pool
    store = next((one for one in cloud.pools.values() if one["dbid"] == cloud.zones[volume["zone"]]["dbid"]), None)
    if store is not None:
        snapshots.put_copy(cloud, snapshot, store, snapshots.PRIMARY, path=path_of(gid), physical=volume["size"])
    cloud.world.commit()


def is_on(cloud: Cloud) -> bool:
    """Whether any pool has it: a server that starts then looks after those snapshots, and no other one does."""
    return any(seconds(cloud, pool) > 0 for pool in cloud.living(cloud.pools) if storage.on_storpool(pool))


def look(cloud: Cloud, now: float) -> None:
    """Now and then: those that StorPool has removed are Destroyed."""
    if not any(server.get("looks_after_delayed") for server in cloud.servers.values()):
        return
    period, last = cloud.settings.number(POLLED, 360), cloud.meta.get(LAST)
    if last is not None and (period <= 0 or now < last["at"] + period):
        return
    cloud.meta.put(LAST, {"at": now})
    for snapshot in cloud.living(cloud.snapshots):
        address = snapshot["details"].get(snapshots.DELAY_DELETE)
        if address is None:
            continue
        try:
            there = Client.of_pool(cloud, cloud.pools[snapshot["pool"]]).exists(gid_of(address.lstrip("~")))
        except StorPoolError as error:
            cloud.journal.add("WARN", "StorPoolStatsCollector", f"Could not list snapshots: {error.text}")
            return
        if not there:
            snapshots.end(cloud, snapshot)
