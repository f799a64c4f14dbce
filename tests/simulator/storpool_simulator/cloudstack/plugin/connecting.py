# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host that connects gets the pools, and proves it with a test volume for its cluster (``StorPoolHostListener``, plugin sheet 2.5).

Only with the assumption `test_volumes`: every listing of StorPool's volumes has them then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import storage
from . import agents, tags
from .client import Client, StorPoolError, gid_of, path_of

if TYPE_CHECKING:
    from ...store import Document
    from ..cloud import Cloud

SOURCE = "StorPoolHostListener"
DETAIL = "SP_VOLUME_ON_CLUSTER-"
BYTES = 512


def look(cloud: Cloud, host: Document) -> None:
    """Its pools, once after each connection of the agent."""
    if not cloud.assume.test_volumes:
        return
    if not cloud.takes_part(host):
        if host.get("connected"):
            cloud.hosts.change(host["id"], connected=[])
        return
    for pool in cloud.living(cloud.pools):
        known = cloud.hosts[host["id"]].get("connected", [])
        if storage.on_storpool(pool) and pool["zone"] == host["zone"] and pool["id"] not in known:
            cloud.hosts.change(host["id"], connected=[*known, pool["id"]])
            _connect(cloud, host, pool["id"])


def _connect(cloud: Cloud, host: Document, pool: str) -> None:
    """A host on which StorPool does not know the volume just stays without the pool, and the volume goes; other errors are an alert."""
    key = f"{DETAIL}{cloud.clusters[host['cluster']]['dbid']}"
    client = Client.of_pool(cloud, cloud.pools[pool])
    path = cloud.pools[pool]["details"].get(key)
    try:
        if path is None or not client.exists(gid_of(path), "volume"):
            path = path_of(client.volume_create(BYTES, tags.tags(None, tags.TEST)))
            cloud.pools.change(pool, details={**cloud.pools[pool]["details"], key: path})
            cloud.world.commit()
        agents.attach(cloud, host, gid_of(path))
    except StorPoolError as error:
        cloud.journal.add("WARN", SOURCE, f"host {host['name']} does not get pool {cloud.pools[pool]['name']}: {error.text}")
        if error.is_missing and path is not None:
            client.volume_delete(gid_of(path))
