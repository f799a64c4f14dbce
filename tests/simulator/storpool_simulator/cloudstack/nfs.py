# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Primary storage on NFS: a directory per pool that stands for the export, a raw file per volume, named by its path.

There for what StorPool is compared with: volumes that come from elsewhere, or go there (plugin sheet 5.8). KVM would use qcow2;
a raw file can be looked at and written as it is.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from . import errors, qemu, secondary, storage, templates, volumes
from .work import Chore, Steps

if TYPE_CHECKING:
    from ..store import Document
    from .cloud import Cloud


def directory(cloud: Cloud, pool: str) -> Path:
    place = cloud.world.state / "primary" / pool
    place.mkdir(parents=True, exist_ok=True)
    return place


def file_of(cloud: Cloud, volume: Document) -> Path:
    return directory(cloud, volume["pool"]) / volume["path"]


def refuse(cloud: Cloud, volume: Document, what: str) -> None:
    """What the simulator does with volumes on StorPool alone. Raises ServerError."""
    if volume["pool"] is not None and not storage.on_storpool(cloud.pools[volume["pool"]]):
        raise errors.ServerError(cloud.assume.unsupported_command_status, f"the simulator {what} of volumes on NFS")


def make(path: Path, size: int) -> None:
    """An empty file of that size."""
    with open(path, "wb") as file:
        file.truncate(size)


def create(cloud: Cloud, volume: Document, pool: Document) -> Steps:
    """Empty, or with the content of its template. Raises ServerError."""
    if volume["encrypt"]:
        raise errors.failure(f"Volume {volume['name']} is to be encrypted, which the simulator's NFS pools cannot do")
    if volume["upload"] is not None:
        raise errors.failure(f"Volume {volume['name']} was uploaded, and the simulator brings such volumes to StorPool alone")
    target, size = directory(cloud, pool["id"]) / volume["id"], volume["size"]
    cloud.volumes.change(volume["id"], state=volumes.CREATING, pool=pool["id"])
    try:
        if volume["template"] is not None:
            source, form = yield from _template(cloud, volume, pool)
            yield Chore(lambda: qemu.convert(source, form, target))
            os.truncate(target, max(size, target.stat().st_size))
        else:
            make(target, size)
    except (qemu.ImageError, errors.ServerError) as error:
        cloud.volumes.change(volume["id"], state=volumes.ALLOCATED, pool=None)
        cloud.world.commit()
        raise errors.failure(f"Unable to create volume {volume['name']} on {pool['name']}: {error}") from error
    changed = cloud.volumes.change(volume["id"], state=volumes.READY, path=volume["id"])
    cloud.world.commit()
    return changed


def _template(cloud: Cloud, volume: Document, pool: Document) -> Steps:
    template = cloud.templates[volume["template"]]
    row = templates.ready_copy(cloud, template["id"], pool["zone"])
    if row is None:
        raise errors.failure(f"Template {template['name']} is not ready in zone {cloud.zones[pool['zone']]['name']}")
    path = yield from cloud.secondary.present(template, row)
    return path, secondary.FORMS[template["format"]]


def resize(cloud: Cloud, volume: Document, size: int) -> None:
    os.truncate(file_of(cloud, volume), size)


def drop(cloud: Cloud, volume: Document) -> None:
    """The file goes once that is on record."""
    path = file_of(cloud, volume)
    cloud.world.after_commit(lambda: path.unlink(missing_ok=True))


def clear(cloud: Cloud) -> None:
    secondary.discard(cloud.world.state / "primary")
