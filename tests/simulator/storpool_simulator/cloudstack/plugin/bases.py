# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Templates from volumes: a copy on secondary storage, and a base snapshot on StorPool (plugin sheet 4.1, 5.10)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import errors, nfs, qemu, templates
from ..work import Chore, Steps
from . import agents, tags
from .client import Client, StorPoolError, gid_of, path_of

if TYPE_CHECKING:
    from ...store import Document
    from ..cloud import Cloud


def check(cloud: Cloud, volume: Document) -> None:
    """Before there is a job. Raises ServerError."""
    nfs.refuse(cloud, volume, "makes no templates")
    if volume["encrypt"]:
        raise errors.failure("Cannot create templates from encrypted volumes")
    vm = cloud.vms.get(volume["vm"]) if volume["vm"] else None
    if vm is not None and vm["state"] not in ("Stopped", "Shutdown"):
        raise errors.failure(f"Volume {volume['name']} is attached to the running instance {vm['name']}; stop it first")
    if volume["state"] != "Ready" or volume["path"] is None:
        raise errors.failure(f"The volume {volume['name']} is not in state Ready, and a template cannot be created from it")


def from_volume(cloud: Cloud, template: Document, volume: Document) -> Steps:
    """A host copies the volume to secondary storage; a snapshot of it, tagged as the template, stays on StorPool. Raises ServerError."""
    pool = cloud.pools[volume["pool"]]
    store = cloud.secondary.store_of(volume["zone"])
    if store is None:
        forget(cloud, template)
        raise errors.failure(f"Unable to find image store in zone {cloud.zones[volume['zone']]['name']}")
    row = templates.add_copy(cloud, template, store, state=templates.CREATING, download_state=templates.IN_PROGRESS)
    try:
        client = Client.of_pool(cloud, pool)
        base = client.volume_snapshot(gid_of(volume["path"]), tags.tags(template["id"], tags.TEMPLATE))
        try:
            physical = yield from to_secondary(
                cloud, template, row, base, volume["zone"], client.cluster.id, agents.COPY_VOLUME, volume["id"]
            )
        except Exception:
            client.snapshot_delete(base)
            raise
    except (StorPoolError, agents.HostError, qemu.ImageError, errors.ServerError) as error:
        forget(cloud, template)
        text = error.text if isinstance(error, (StorPoolError, errors.ServerError)) else str(error)
        raise errors.failure(f"Could not copy volume {volume['name']} to secondary storage: {text}") from error
    finish(cloud, template, row, physical, volume["size"], path_of(base), pool)


def to_secondary(
    cloud: Cloud, template: Document, row: Document, gid: str, zone: str, storpool: str, command: str, *objects: str, kind: str = "snapshot"
) -> Steps:
    """A host attaches the StorPool snapshot (or volume) and converts it to the template's file; its bytes on disk."""
    host = agents.endpoint(cloud, zone, storpool)
    yield from agents.delayed(cloud, command, template["id"], template["name"], *objects)
    agents.attach(cloud, host, gid, kind, "ro")
    target = cloud.secondary.place(cloud.stores[row["store"]], row["path"])
    try:
        source = agents.readable(cloud, gid)
        yield Chore(lambda: qemu.convert(source, "raw", target, "qcow2"))
    except Exception:
        target.unlink(missing_ok=True)
        raise
    finally:
        agents.detach(cloud, host, gid, kind, force=True)
    return target.stat().st_size


def finish(cloud: Cloud, template: Document, row: Document, physical: int, size: int, base: str | None, pool: Document) -> None:
    """The copy is ready; `base` is the path of the base snapshot on the pool."""
    templates.change_copy(
        cloud, row, state=templates.READY, download_state=templates.DOWNLOADED, percent=100, physical=physical, size=size, local_path=base
    )
    cloud.templates.change(template["id"], size=size, storpool_pool=pool["dbid"] if base is not None else None)


def forget(cloud: Cloud, template: Document) -> None:
    """A template that could not be made is gone."""
    templates.drop_copies(cloud, template, None)
    cloud.templates.change(template["id"], removed=cloud.world.clock.now(), state=templates.INACTIVE)
    cloud.world.commit()
