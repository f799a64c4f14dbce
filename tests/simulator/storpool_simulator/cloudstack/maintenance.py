# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts in and out of maintenance (``ResourceManagerImpl``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import bmc, errors, hosts, instances

if TYPE_CHECKING:
    from ..store import Document
    from .cloud import Cloud

ENABLED, DISABLED, DEGRADED = "Enabled", "Disabled", "Degraded"
PREPARING, STUCK, MAINTENANCE = "PrepareForMaintenance", "ErrorInPrepareForMaintenance", "Maintenance"
STATES = (PREPARING, STUCK, MAINTENANCE, "ErrorInMaintenance")


def prepare(cloud: Cloud, host: Document) -> Document:
    """The way into maintenance begins. Raises ServerError."""
    if host["resource"] in STATES:
        raise _not_prepared(f"Host is already in state {host['resource']}. Cannot recall for maintenance until resolved.")
    cluster = cloud.clusters[host["cluster"]]["name"]
    if any(one["resource"] in (PREPARING, STUCK) for one in cloud.hosts_of(cluster=host["cluster"])):
        raise _not_prepared(
            "There are other servers attempting migrations for maintenance. "
            f"Found hosts in PrepareForMaintenance OR ErrorInPrepareForMaintenance STATUS in cluster {cluster}"
        )
    return begin(cloud, host)


def _not_prepared(why: str) -> errors.ServerError:
    return errors.ServerError(errors.INTERNAL, f"Failed to prepare host for maintenance due to: {why}")


def begin(cloud: Cloud, host: Document) -> Document:
    return cloud.hosts.change(host["id"], resource=PREPARING, leaving=cloud.world.clock.now() + cloud.assume.maintenance_seconds)


def proceed(cloud: Cloud, host: Document, now: float) -> None:
    """Instances leave; a host that still runs some which have nowhere to go is stuck."""
    if host["resource"] == PREPARING and host["leaving"] <= now:
        gone = instances.migrate_away(cloud, host)
        cloud.hosts.change(host["id"], resource=MAINTENANCE if gone else STUCK, leaving=None)


def cancel(cloud: Cloud, host: Document) -> Document:
    """An agent that is not connected is restarted by ssh, if that is allowed and the host runs (kvm.ssh.to.agent). Raises ServerError."""
    if host["resource"] not in STATES:
        raise errors.failure(f"Cannot perform cancelMaintenance when resource state is {host['resource']}, hostId = {host['dbid']}")
    if host["agent"] != "up":
        if not cloud.settings.truth("kvm.ssh.to.agent"):
            raise errors.failure("SSH access is disabled, cannot cancel maintenance mode as host agent is not connected")
        controller = cloud.bmcs.table.get(host["bmc"])
        if controller is not None and controller["power"] == bmc.OFF:
            raise errors.failure("Can't SSH to agent, due to: There was a problem while connecting to " + host["address"] + ":22")
        hosts.set_agent(cloud, host, "up")
    return cloud.hosts.change(host["id"], resource=ENABLED, leaving=None)
