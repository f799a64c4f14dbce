# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of abandoned objects (``StorPoolAbandonObjectsCollector``, plugin sheet 4.6): a line in the log for each, nothing more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import recurring, storage
from . import tags
from .client import Client, StorPoolError, gid_of

if TYPE_CHECKING:
    from ..cloud import Cloud

SOURCE = "StorPoolAbandonObjectsCollector"
DAY = 86400
READY = "Ready"


def look(cloud: Cloud, now: float) -> None:
    for task, setting in (("volume", "storpool.volume.tags.checkup"), ("snapshot", "storpool.snapshot.tags.checkup")):
        if recurring.is_due(cloud, f"abandoned {task}s", setting, DAY, now):
            _report(cloud, task)


def _listed(cloud: Cloud, call: str) -> list[dict[str, Any]]:
    """Of one pool per zone; each object once."""
    found: dict[str, dict[str, Any]] = {}
    for zone in cloud.living(cloud.zones):
        pool = next((one for one in cloud.living(cloud.pools) if one["zone"] == zone["id"] and storage.on_storpool(one)), None)
        if pool is None:
            continue
        try:
            found.update({one["globalId"]: one for one in Client.of_pool(cloud, pool).get(call)})
        except StorPoolError as error:
            cloud.journal.add("WARN", SOURCE, f"Could not get {call} of pool {pool['name']}: {error.text}")
    return list(found.values())


def _known(cloud: Cloud) -> dict[str, set[str]]:
    """What the database knows, by the tag cs; snapshot_details is for all that is not named."""
    bases = {row["local_path"] for row in cloud.template_stores.values()}
    cached = {row["local_path"] for row in cloud.template_pools.values()}
    details = {value for one in cloud.snapshots.values() for value in one["details"].values()}
    groups = {value for one in cloud.vm_snapshots.values() for value in one.get("details", {}).values()}
    paths = {
        tags.VOLUME: {one["path"] for one in cloud.volumes.values() if one["state"] == READY},
        tags.TEMPLATE: bases | cached,
        tags.GROUP: groups,
        tags.SNAPSHOT: details,
        tags.TEST: {value for one in cloud.living(cloud.pools) for value in one["details"].values()},
    }
    return {kind: {gid_of(path) for path in known if isinstance(path, str)} for kind, known in paths.items()}


def _report(cloud: Cloud, task: str) -> None:
    known = _known(cloud)
    for one in _listed(cloud, "VolumesList" if task == "volume" else "SnapshotsList"):
        kind = one.get("tags", {}).get(tags.KIND)
        if kind is None or one["name"].startswith("*") or "@" in one["name"]:
            continue
        if one["globalId"] not in known.get(kind, known[tags.SNAPSHOT]):
            text = f"StorPool {task} [{one['name']}] with tag cs={kind} is not in the database of CloudStack"
            cloud.journal.add("INFO", SOURCE, text, gid=one["globalId"])
