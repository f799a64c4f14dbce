# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Uploaded volumes: a file on secondary storage that a host converts at the first attach (plugin sheet 5.10)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import errors, qemu, secondary, volumes
from ..work import Steps
from . import agents, snapshots
from . import volumes as driver
from .client import Client, StorPoolError, gid_of

if TYPE_CHECKING:
    from ...store import Document
    from ..cloud import Cloud


def bring(cloud: Cloud, volume: Document, pool: Document) -> Steps:
    """The volume on StorPool with the bytes of its file, which goes. Raises ServerError; the volume is then as it was."""
    upload = volume["upload"]
    store = cloud.stores[upload["store"]]
    file, form = cloud.secondary.path(store, upload["path"]), secondary.FORMS[upload["format"]]
    made = driver.create(cloud, volume, pool)
    try:
        client, gid = Client.of_pool(cloud, pool), gid_of(made["path"])
        yield from snapshots.fill(cloud, client, gid, file, form, volume["zone"], volume["id"], volume["name"])
    except (StorPoolError, agents.HostError, qemu.ImageError) as error:
        driver.delete(cloud, made)
        cloud.volumes.change(volume["id"], state=volumes.UPLOADED, pool=None, path=None)
        cloud.world.commit()
        text = error.text if isinstance(error, StorPoolError) else str(error)
        raise errors.failure(f"Could not copy volume {volume['name']} to StorPool: {text}") from error
    driver.drop_upload(cloud, volume)
    return cloud.volumes.change(volume["id"], upload=None)
