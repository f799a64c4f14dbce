# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens to hosts: agents come and go, power, boots; and who can be asked about them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..store import Document
    from .cloud import Cloud

UP, DISCONNECTED, DOWN = "Up", "Disconnected", "Down"


def server_of(cloud: Cloud, host: Document) -> str | None:
    """The management server that the agent is connected to."""
    return host["server"] if host["agent"] == "up" else None


def encrypts(host: Document) -> bool:
    """Whether it can make encrypted volumes, and run machines that have them (plugin sheet 2.5)."""
    return host.get("encryption", True)


def set_agent(cloud: Cloud, host: Document, agent: str) -> None:
    """The agent connects, or goes away: the host is Up, or Disconnected."""
    if agent == host["agent"]:
        return
    state = UP if agent == "up" else DISCONNECTED
    disconnected = None if agent == "up" else cloud.world.clock.now()
    cloud.hosts.change(host["id"], agent=agent, state=state, disconnected=disconnected, booting=None)


def client_runs(cloud: Cloud, host: Document) -> bool:
    """Whether StorPool says that the client of the host runs: the heartbeat (plugin sheet 2.2)."""
    client = cloud.world.clusters[host["storpool"]].clients.get(str(host["client"]))
    return client is not None and client["status"] == "running"


def set_client(cloud: Cloud, host: Document, status: str) -> None:
    cloud.world.clusters[host["storpool"]].set_client(host["client"], status)


def lose_power(cloud: Cloud, host: Document) -> None:
    """Without power neither the agent nor the StorPool client of the host runs."""
    set_agent(cloud, host, "down")
    set_client(cloud, host, "down")
    cloud.hosts.change(host["id"], booting=None)


def begin_boot(cloud: Cloud, host: Document) -> None:
    """It comes back after a while, if it is one that comes back."""
    if host["boots"]:
        cloud.hosts.change(host["id"], booting=cloud.world.clock.now() + cloud.assume.boot_seconds)


def finish_boot(cloud: Cloud, host: Document) -> None:
    set_client(cloud, host, "running")
    set_agent(cloud, host, "up")


def of_bmc(cloud: Cloud, address: str) -> Document | None:
    """The host that the controller at the address belongs to."""
    return next((host for host in cloud.living(cloud.hosts) if host["bmc"] == address), None)


def neighbours(cloud: Cloud, host: Document) -> list[Document]:
    """Other hosts of the cluster that are Up: those that can be asked about it (plugin sheet 2.4, 3.2)."""
    return [one for one in cloud.hosts_of(cluster=host["cluster"]) if one["id"] != host["id"] and one["state"] == UP]
