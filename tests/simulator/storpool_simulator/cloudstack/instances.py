# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The few instances that host HA has to care for. Their volumes lie on one pool each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .cloud import new_id

if TYPE_CHECKING:
    from ..store import Document
    from .cloud import Cloud

RUNNING = "Running"


def place(cloud: Cloud, name: str, host: Document, pool: Document | None, ha: bool) -> Document:
    """Run an instance of that name on the host; without a pool its volumes lie on the first one."""
    pool = pool or next(iter(cloud.living(cloud.pools)), None)
    known = next((vm for vm in cloud.living(cloud.vms) if vm["name"] == name), None)
    account = next(iter(cloud.accounts.values()))
    fields = {"host": host["id"], "zone": host["zone"], "pool": pool and pool["id"], "ha": ha, "state": RUNNING}
    if known is not None:
        return cloud.vms.change(known["id"], **fields)
    return cloud.add("vm", new_id(), name=name, account=account["id"], **fields)
