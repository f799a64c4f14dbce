# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A volume as a file on secondary storage (plugin sheet 5.10)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .. import errors, qemu
from ..work import Chore, Steps
from . import agents, tags
from .client import Client, StorPoolError, gid_of

if TYPE_CHECKING:
    from ...store import Document
    from ..cloud import Cloud


def extract(cloud: Cloud, volume: Document) -> Steps:
    """The path of the qcow2 file. Raises ServerError; the temporary snapshot goes in any case."""
    store = cloud.secondary.store_of(volume["zone"])
    if store is None:
        raise errors.failure(f"Unable to find image store in zone {cloud.zones[volume['zone']]['name']}")
    account = cloud.accounts[volume["account"]]
    target = cloud.secondary.place(store, f"volumes/{account['dbid']}/{volume['dbid']}/{volume['id']}.qcow2")
    try:
        client = Client.of_pool(cloud, cloud.pools[volume["pool"]])
        snapshot = client.volume_snapshot(gid_of(volume["path"]), tags.tags(volume["id"], tags.TEMPORARY))
        try:
            yield from _copy(cloud, volume, snapshot, client, target)
        finally:
            client.detach_everywhere(snapshot, "snapshot")
            client.snapshot_delete(snapshot)
    except (StorPoolError, agents.HostError, qemu.ImageError) as error:
        target.unlink(missing_ok=True)
        text = error.text if isinstance(error, StorPoolError) else str(error)
        raise errors.failure(f"Could not copy volume {volume['name']} to secondary storage: {text}") from error
    return target


def _copy(cloud: Cloud, volume: Document, snapshot: str, client: Client, target: Path) -> Steps:
    host = agents.endpoint(cloud, volume["zone"], client.cluster.id)
    yield from agents.delayed(cloud, agents.COPY_VOLUME, volume["id"], volume["name"])
    agents.attach(cloud, host, snapshot, "snapshot", "ro")
    source = agents.readable(cloud, snapshot)
    yield Chore(lambda: qemu.convert(source, "raw", target, "qcow2"))
