# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Instances as host HA cares for them: on which host they run. Those that tests put there have no volumes, only a pool (vms.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import errors, vms
from .ids import new_id

if TYPE_CHECKING:
    from ..store import Document
    from .cloud import Cloud

RUNNING, STOPPED = "Running", "Stopped"


def place(cloud: Cloud, name: str, host: Document, pool: Document | None, ha: bool) -> Document:
    """Run an instance of that name on the host; without a pool its volumes lie on the first one."""
    pool = pool or next(iter(cloud.living(cloud.pools)), None)
    known = next((vm for vm in cloud.living(cloud.vms) if vm["name"] == name), None)
    account = next(iter(cloud.accounts.values()))
    fields = {"host": host["id"], "pool": pool and pool["id"], "ha": ha, "state": RUNNING}
    if known is not None:
        return cloud.vms.change(known["id"], zone=host["zone"], **fields)
    return vms.new(cloud, new_id(), name, account["id"], host["zone"], **fields)


def running_on(cloud: Cloud, host: Document) -> list[Document]:
    return [vm for vm in cloud.living(cloud.vms) if vm["host"] == host["id"]]


def stop_on_pool(cloud: Cloud, pool: Document) -> None:
    for vm in cloud.living(cloud.vms):
        if pool["id"] in vms.pools_of(cloud, vm) and vm["host"]:
            vms.stop(cloud, vm, forced=True)


def _other_hosts(cloud: Cloud, host: Document) -> list[Document]:
    """Where the instances of a host can go: hosts of its cluster that are up and take part, the emptiest first."""
    others = [one for one in cloud.hosts_of(cluster=host["cluster"]) if one["id"] != host["id"] and cloud.takes_part(one)]
    return sorted(others, key=lambda one: len(running_on(cloud, one)))


def migrate_away(cloud: Cloud, host: Document) -> bool:
    """For maintenance; False: some have nowhere to go."""
    for vm in running_on(cloud, host):
        others = _other_hosts(cloud, host)
        if not others:
            return False
        try:
            vms.migrate(cloud, vm, others[0])
        except errors.ServerError as error:
            cloud.journal.add("WARN", "ResourceManagerImpl", error.text, vm=vm["id"])
            return False
    return True


def restart_elsewhere(cloud: Cloud, host: Document) -> None:
    """After their host is gone: those with HA run on another host of the cluster, the rest, and those without a place, are stopped."""
    forced = cloud.settings.effective(cloud.settings.known["force.ha"], host["cluster"]) == "true"
    for vm in running_on(cloud, host):
        others = _other_hosts(cloud, host) if vm["ha"] or forced else []
        vms.move_by_force(cloud, vm, others[0] if others else None)
