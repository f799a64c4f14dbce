# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The template cache: a snapshot on StorPool per template and pool (plugin sheet 4.1, 4.2, 4.5). Table `template_pool`."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import errors, qemu, secondary, storage, templates
from ..work import Chore, Steps
from . import agents, tags
from .client import Client, StorPoolError, address_of, gid_of, path_of

if TYPE_CHECKING:
    from ...store import Document
    from ..cloud import Cloud

UNKNOWN_SIZE = 1 << 30
GONE = ("Destroy", "Expunging", "Expunged")
PRELOADER = "TemplateManagerImpl"
CLEANER = "StorageManagerImpl"


def key_of(template: str, pool: str) -> str:
    return f"{template}/{pool}"


def row_of(cloud: Cloud, template: str, pool: str) -> Document | None:
    return cloud.template_pools.get(key_of(template, pool))


def is_cached(row: Document | None) -> bool:
    return row is not None and row["state"] == templates.READY and row["download_state"] == templates.DOWNLOADED


def ensure(cloud: Cloud, template: str, pool: str) -> Steps:
    """The row of the template on the pool, made if it is not there; one that was marked for collection is kept. Raises ServerError."""
    return (yield from cloud.workshop.alone(f"cache {key_of(template, pool)}", _ensure(cloud, template, pool)))


def _ensure(cloud: Cloud, template_id: str, pool_id: str) -> Steps:
    key, template, pool = key_of(template_id, pool_id), templates.found(cloud, template_id), cloud.pools[pool_id]
    row = cloud.template_pools.get(key)
    if row is not None and is_cached(row):
        return cloud.template_pools.change(key, marked=False)
    source = templates.ready_copy(cloud, template_id, pool["zone"])
    if source is None:
        raise errors.failure(f"Template {template['name']} is not ready in zone {cloud.zones[pool['zone']]['name']}")
    row = row or {"template": template_id, "pool": pool_id, "marked": False, "created": cloud.world.clock.now()}
    empty = {"local_path": None, "install_path": None, "size": 0}
    cloud.template_pools.put(key, {**row, **empty, "state": templates.CREATING, "download_state": templates.IN_PROGRESS})
    try:
        gid, size = yield from _make(cloud, template, pool, source)
    except (StorPoolError, agents.HostError, qemu.ImageError) as error:
        cloud.template_pools.change(key, state=templates.FAILED, download_state=templates.ERROR)
        cloud.world.commit()
        text = error.text if isinstance(error, StorPoolError) else str(error)
        raise errors.failure(f"Could not copy template {template['name']} to StorPool: {text}") from error
    except errors.ServerError:
        cloud.template_pools.change(key, state=templates.FAILED, download_state=templates.ERROR)
        cloud.world.commit()
        raise
    path = path_of(gid)
    return cloud.template_pools.change(
        key, local_path=path, install_path=path, size=size, state=templates.READY, download_state=templates.DOWNLOADED
    )


def _make(cloud: Cloud, template: Document, pool: Document, source: Document) -> Steps:
    """The globalId of the cached snapshot and its size."""
    client = Client.of_pool(cloud, pool)
    if template["direct"]:
        return (yield from _fetch(cloud, client, template, pool))
    base = _base(cloud, template, pool, source)
    if base is not None:
        # A template made from a volume or snapshot: a child of its base, without any copy (plugin sheet 4.1)
        size = client.snapshot(base)["size"]
        volume = client.volume_create(size, _tags(template, True), parent=base)
        return _snapshot_of(client, volume, template), size
    size = templates.rounded(source["size"] or template["size"] or UNKNOWN_SIZE)
    volume = client.volume_create(size, _tags(template, True))
    size = yield from _convert(cloud, client, template, pool, source, volume, size)
    if cloud.traits.freezes_cache:
        client.volume_freeze(volume)
        return volume, size
    return _snapshot_of(client, volume, template), size


def _base(cloud: Cloud, template: Document, pool: Document, source: Document) -> str | None:
    """The base snapshot, where the StorPool of the pool has it."""
    if source["local_path"] is None or template["storpool_pool"] is None:
        return None
    home = next((one for one in cloud.pools.values() if one["dbid"] == template["storpool_pool"]), None)
    if home is None:
        return None
    clusters = cloud.world.clusters
    return gid_of(source["local_path"]) if clusters[home["storpool"]].location == clusters[pool["storpool"]].location else None


def _tags(template: Document, policy: bool) -> dict[str, str]:
    return tags.tags(template["id"], tags.TEMPLATE, policy=tags.NO_POLICY if policy else None)


def _snapshot_of(client: Client, volume: str, template: Document) -> str:
    snapshot = client.volume_snapshot(volume, _tags(template, False))
    client.volume_delete(volume)
    return snapshot


def _convert(cloud: Cloud, client: Client, template: Document, pool: Document, source: Document, volume: str, size: int) -> Steps:
    """On a host: grow to the virtual size, attach, convert, detach (``StorPoolDownloadTemplateCommandWrapper``). The size."""
    host = agents.endpoint(cloud, pool["zone"], client.cluster.id)
    file = yield from cloud.secondary.present(template, source)
    yield from agents.delayed(cloud, agents.DOWNLOAD_TEMPLATE, template["id"], template["name"], pool["id"], pool["name"])
    form = secondary.FORMS[template["format"]]
    wanted = templates.rounded((yield Chore(lambda: qemu.virtual_size(file, form))))
    if cloud.traits.always_grows_cache or wanted > size:
        Client.of_host(cloud, host).post(f"VolumeUpdate/{address_of(volume)}", {"size": wanted, "shrinkOk": True})
        size = wanted
    agents.attach(cloud, host, volume)
    try:
        target = agents.writable(cloud, volume)
        yield Chore(lambda: qemu.convert(file, form, target, existing=True, empty=True))
        agents.written(cloud, volume)
    finally:
        agents.detach(cloud, host, volume)
    return size


def _fetch(cloud: Cloud, client: Client, template: Document, pool: Document) -> Steps:
    """Direct download (4.21): a host fetches the image and does it all by itself; no uuid tag tells the template (plugin sheet 4.1)."""
    if not cloud.traits.direct_download or template["format"] != "QCOW2":
        raise agents.HostError(f"direct download of {template['format']} templates is not supported")
    host = agents.endpoint(cloud, pool["zone"], client.cluster.id)
    yield from agents.delayed(cloud, agents.DOWNLOAD_TEMPLATE, template["id"], template["name"], pool["id"], pool["name"])
    own = Client.of_host(cloud, host)
    with tempfile.TemporaryDirectory(dir=cloud.world.state) as place:
        file = Path(place) / "image"
        yield Chore(lambda: templates.fetch(template["url"], file))
        size = templates.rounded((yield Chore(lambda: _checked(file, template))))
        volume = own.volume_create(size, tags.tags(None, tags.TEMPLATE), template=client.template)
        agents.attach(cloud, host, volume)
        try:
            target = agents.writable(cloud, volume)
            yield Chore(lambda: qemu.convert(file, "qcow2", target, existing=True, empty=True))
            agents.written(cloud, volume)
        finally:
            agents.detach(cloud, host, volume)
    snapshot = own.volume_snapshot(volume, tags.tags(None, tags.TEMPLATE))
    own.volume_delete(volume)
    cloud.templates.change(template["id"], size=size)
    return snapshot, size


def _checked(file: Path, template: Document) -> int:
    return templates.check(file, template["format"], template["checksum"], template["url"])


# prepareTemplate: a queue that threads of the management server serve; failures are only logged


def prepare(cloud: Cloud, template: Document, pool: Document) -> None:
    key = key_of(template["id"], pool["id"])
    if key not in cloud.preloads:
        cloud.preloads.put(key, {"template": template["id"], "pool": pool["id"]})


def begin_preloads(cloud: Cloud) -> bool:
    """As many at a time as template.preloader.pool.size says."""
    most = int(cloud.settings.number("template.preloader.pool.size", 8))
    began = False
    for key, row in cloud.preloads.items():
        name = f"preload {key}"
        running = sum(one.startswith("preload ") for one in cloud.workshop.under_way)
        if name in cloud.workshop.under_way or running >= most:
            continue
        cloud.workshop.start(name, ensure(cloud, row["template"], row["pool"]), partial(_preloaded, cloud, key))
        began = True
    return began


def _preloaded(cloud: Cloud, key: str, result: Any, error: Exception | None) -> None:
    row = cloud.preloads.get(key)
    if row is None:
        return
    cloud.preloads.drop(key)
    template, pool = cloud.templates[row["template"]], cloud.pools[row["pool"]]
    words = f"template {template['name']} ({template['id']}) on pool {pool['name']}"
    if error is None:
        cloud.journal.add("INFO", PRELOADER, f"Preloaded {words}", template=template["id"], pool=pool["id"])
    else:
        cloud.journal.add("WARN", PRELOADER, f"Failed to preload {words}: {error}", template=template["id"], pool=pool["id"])


def lose_preloads(cloud: Cloud) -> None:
    """The queue lives in the server's memory: with the server it is gone, and what was half done stays so."""
    for key in list(cloud.preloads):
        cloud.workshop.abandon(f"preload {key}")
        cloud.preloads.drop(key)


# Garbage collection


def is_used(cloud: Cloud, row: Document) -> bool:
    """An active volume on the pool was made from the template (``isAnyVolumeActivelyUsingTemplateOnPool``)."""
    return any(
        volume["template"] == row["template"] and volume["pool"] == row["pool"] and volume["state"] not in GONE
        for volume in cloud.living(cloud.volumes)
    )


def collect(cloud: Cloud) -> None:
    """One round: what is unused and marked is evicted, what is unused is marked for the next one."""
    for key, row in cloud.template_pools.items():
        template = cloud.templates[row["template"]]
        if row["download_state"] != templates.DOWNLOADED or template["type"] == templates.SYSTEM or is_used(cloud, row):
            continue
        if cloud.pools[row["pool"]]["state"] != storage.UP:
            continue
        if row["marked"]:
            _evict(cloud, key, row, template)
        else:
            cloud.template_pools.change(key, marked=True)


def _evict(cloud: Cloud, key: str, row: Document, template: Document) -> None:
    """A host deletes the snapshot; what it cannot delete is tried again in the next round."""
    pool = cloud.pools[row["pool"]]
    try:
        client = Client.of_pool(cloud, pool)
        host = agents.endpoint(cloud, pool["zone"], client.cluster.id)
        agents.fault(cloud, agents.DELETE_TEMPLATE, template["id"], template["name"], pool["id"], pool["name"])
        Client.of_host(cloud, host).snapshot_delete(gid_of(row["local_path"]))
    except (StorPoolError, agents.HostError, errors.ServerError) as error:
        text = error.text if isinstance(error, (StorPoolError, errors.ServerError)) else str(error)
        words = f"Unable to evict template {template['name']} from pool {pool['name']}: {text}"
        cloud.journal.add("WARN", CLEANER, words, template=template["id"], pool=pool["id"])
        return
    cloud.template_pools.drop(key)
    words = f"Evicted template {template['name']} from pool {pool['name']}"
    cloud.journal.add("INFO", CLEANER, words, template=template["id"], pool=pool["id"])
