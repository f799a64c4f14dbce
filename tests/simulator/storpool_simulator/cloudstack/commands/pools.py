# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Storage pools: the generic commands with what the StorPool provider makes of them (plugin sheet 1.3)."""

from __future__ import annotations

from .. import answers, storage
from ..registry import command
from ..request import Request


@command("listStoragePools", package="admin.storage")
def list_storage_pools(request: Request) -> dict:
    """podid and clusterid also match pools of the whole zone, as StorPool's are (sheet section 7)."""
    cloud = request.cloud
    pending = cloud.jobs.pending_of("StoragePool")
    found = [
        pool
        for pool in cloud.living(cloud.pools)
        if request.same("id", pool["id"])
        and request.same("name", pool["name"])
        and request.same("zoneid", pool["zone"])
        and request.same("path", storage.DEVICES)
        and request.same("scope", "ZONE")
        and request.same("status", pool["state"])
        and request.get("ipaddress", "n/a") == "n/a"
        and request.has_keyword(pool["name"], storage.KIND)
    ]
    return answers.listing(request, found, lambda pool: storage.shown(cloud, pool, pending.get(pool["id"])))
