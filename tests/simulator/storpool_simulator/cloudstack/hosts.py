# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the server knows of a host, and how an answer shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .answers import date
from .bmc import BmcError

if TYPE_CHECKING:
    from ..store import Document
    from .cloud import Cloud

EVENTS = (
    "StartAgentRebalance; AgentConnected; ManagementServerDown; PingTimeout; ShutdownRequested; HostDown; AgentDisconnected; Ping; Remove"
)
DISABLED = "Disabled"


def server_of(cloud: Cloud, host: Document) -> str | None:
    """The management server that the agent is connected to."""
    return host["server"] if host["agent"] == "up" else None


def running(cloud: Cloud, host: Document) -> list[Document]:
    """The instances on the host."""
    return [vm for vm in cloud.living(cloud.vms) if vm["host"] == host["id"]]


def set_agent(cloud: Cloud, host: Document, agent: str) -> None:
    """The agent connects, or goes away: the host is Up, or Disconnected."""
    if agent == host["agent"]:
        return
    state = "Up" if agent == "up" else "Disconnected"
    disconnected = None if agent == "up" else cloud.world.clock.now()
    cloud.hosts.change(host["id"], agent=agent, state=state, disconnected=disconnected)


def follow_power(cloud: Cloud, address: str) -> None:
    """Without power neither the agent nor the StorPool client of the host runs."""
    power = cloud.bmcs.table[address]["power"]
    for host in cloud.living(cloud.hosts):
        if host["bmc"] == address and power == "off":
            set_agent(cloud, host, "down")
            cloud.world.clusters[host["storpool"]].set_client(host["client"], "down")


def is_up(host: Document) -> bool:
    """An agent that answers, on a host that takes part."""
    return host["state"] == "Up" and host["resource"] == "Enabled"


# Out-of-band management


def power_state(cloud: Cloud, host: Document) -> str:
    """On, Off, Unknown or Disabled (plugin sheet 3.1)."""
    if not oobm_enabled(cloud, host):
        return DISABLED
    oobm = host["oobm"]
    try:
        return cloud.bmcs.status(oobm["address"], oobm["username"], oobm["password"]).capitalize()
    except BmcError:
        return "Unknown"


def oobm_enabled(cloud: Cloud, host: Document) -> bool:
    """Configured, and enabled on host, cluster and zone; there an absent switch counts as enabled."""
    switches = (cloud.clusters[host["cluster"]]["details"], cloud.zones[host["zone"]]["details"])
    return bool(host["oobm"] and host["oobm_enabled"] and all(one.get("outOfBandManagementEnabled", "true") == "true" for one in switches))


def oobm_shown(cloud: Cloud, host: Document, **more: Any) -> dict[str, Any]:
    """The password only by its first character (plugin sheet 3.1)."""
    oobm = host["oobm"] or {}
    shown = {key: oobm.get(key) for key in ("driver", "address", "port", "username")}
    if oobm.get("password"):
        shown["password"] = oobm["password"][0] + "****"
    return {"enabled": bool(host["oobm"]) and host["oobm_enabled"], "powerstate": power_state(cloud, host), **shown, **more}


def ha_shown(host: Document, **more: Any) -> dict[str, Any]:
    """Of a host that was never configured: not enabled, Disabled, without a provider."""
    ha = host["ha"] or {"provider": None, "enabled": False, "state": DISABLED}
    return {"haenable": ha["enabled"], "hastate": ha["state"], "haprovider": ha["provider"], **more}


# The host


def shown(cloud: Cloud, host: Document, job: Document | None = None) -> dict[str, Any]:
    """`job`: the running one on the host, if there is one."""
    server = cloud.servers.get(server_of(cloud, host) or "")
    memory, speed = host["memory"], host["cores"] * host["mhz"]
    return {
        "id": host["id"],
        "name": host["name"],
        "type": "Routing",
        "state": host["state"],
        "resourcestate": host["resource"],
        "zoneid": host["zone"],
        "zonename": cloud.zones[host["zone"]]["name"],
        "podid": host["pod"],
        "podname": cloud.pods[host["pod"]]["name"],
        "clusterid": host["cluster"],
        "clustername": cloud.clusters[host["cluster"]]["name"],
        "clustertype": "CloudManaged",
        "ipaddress": host["address"],
        "hypervisor": "KVM",
        "hypervisorversion": "12",
        "version": cloud.facts.version + ".0",
        "capabilities": "hvm,snapshot",
        "created": date(host["created"]),
        "disconnected": date(host["disconnected"]),
        "lastpinged": date(cloud.world.clock.now() if host["agent"] == "up" else host["disconnected"]),
        "events": EVENTS,
        "managementserverid": server and server["id"],
        "cpunumber": host["cores"],
        "cpusockets": 2,
        "cpuspeed": host["mhz"],
        "cpuallocated": "0%",
        "cpuallocatedvalue": 0,
        "cpuallocatedpercentage": "0%",
        "cpuallocatedwithoverprovisioning": "0%",
        "cpuwithoverprovisioning": f"{float(speed)}",
        "cpuused": "0%",
        "memorytotal": memory,
        "memorywithoverprovisioning": str(memory),
        "memoryallocated": 0,
        "memoryallocatedbytes": 0,
        "memoryallocatedpercentage": "0%",
        "hahost": False,
        "hasannotations": False,
        "islocalstorageactive": False,
        "encryptionsupported": True,
        "ueficapability": True,
        "hosttags": host["tags"] or None,
        "details": {"host.volume.encryption": "true", "Host.OS": "Debian GNU/Linux", "Host.OS.Version": "12"},
        "hostha": ha_shown(host),
        "outofbandmanagement": oobm_shown(cloud, host) if host["oobm"] else {"enabled": False, "powerstate": DISABLED},
        "jobid": job and job["id"],
        "jobstatus": job and job["status"],
        **cloud.since("4.19.0", {"istagarule": False}),
        **cloud.since("4.19.3", {"instanceconversionsupported": False}),
        **cloud.since("4.20.0", {"arch": "x86_64", "explicithosttags": host["tags"] or None}),
        **cloud.since("4.21.0", {"managementservername": server and server["name"]}),
    }
