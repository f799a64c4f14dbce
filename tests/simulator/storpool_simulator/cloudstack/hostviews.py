# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How answers show hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import errors, instances, outofband
from .answers import date
from .hosts import encrypts, server_of

if TYPE_CHECKING:
    from ..store import Document
    from .cloud import Cloud

EVENTS = (
    "StartAgentRebalance; AgentConnected; ManagementServerDown; PingTimeout; ShutdownRequested; HostDown; AgentDisconnected; Ping; Remove"
)


VM_MEMORY = 1 << 30  # bytes of each instance


# Groups of fields that `details` of listHosts chooses (``ApiConstants.HostDetails``)
GROUPS = {
    "capacity": (
        "cpuallocated", "cpuallocatedvalue", "cpuallocatedpercentage", "cpuallocatedwithoverprovisioning", "cpuwithoverprovisioning",
        "memorywithoverprovisioning", "memoryallocated", "memoryallocatedbytes", "memoryallocatedpercentage",
    ),
    "events": ("events",),
    "stats": ("cpuused",),
    "min": (),
}  # fmt: skip


def left_out(details: list[str]) -> set[str]:
    """The fields of groups that were not asked for. Raises ServerError."""
    wanted = {one.lower() for one in details}
    unknown = wanted - GROUPS.keys() - {"all"}
    if unknown:
        allowed = ", ".join(["all", *GROUPS])
        raise errors.parameter(f"The details parameter contains a non permitted value. The allowed values are [{allowed}]")
    return set() if "all" in wanted else {field for group, fields in GROUPS.items() if group not in wanted for field in fields}


def ha_shown(host: Document, **more: Any) -> dict[str, Any]:
    """Of a host that was never configured: not enabled, Disabled, without a provider."""
    ha = host["ha"] or {"provider": None, "enabled": False, "state": "Disabled"}
    return {"haenable": ha["enabled"], "hastate": ha["state"], "haprovider": ha["provider"], **more}


def shown(cloud: Cloud, host: Document, job: Document | None = None) -> dict[str, Any]:
    """`job`: the running one on the host, if there is one."""
    server = cloud.servers.get(server_of(cloud, host) or "")
    memory, speed = host["memory"], host["cores"] * host["mhz"]
    allocated = VM_MEMORY * len(instances.running_on(cloud, host))
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
        "memoryallocated": allocated,
        "memoryallocatedbytes": allocated,
        "memoryallocatedpercentage": f"{100 * allocated / memory:.2f}%",
        "hahost": False,
        "hasannotations": False,
        "islocalstorageactive": False,
        "encryptionsupported": encrypts(host),
        "ueficapability": True,
        "hosttags": host["tags"] or None,
        "details": {"host.volume.encryption": str(encrypts(host)).lower(), "Host.OS": "Debian GNU/Linux", "Host.OS.Version": "12"},
        "hostha": ha_shown(host),
        "outofbandmanagement": outofband.shown(host),
        "jobid": job and job["id"],
        "jobstatus": job and job["status"],
        **cloud.since("4.19.0", {"istagarule": False}),
        **cloud.since("4.19.3", {"instanceconversionsupported": False}),
        **cloud.since("4.20.0", {"arch": "x86_64", "explicithosttags": host["tags"] or None}),
        **cloud.since("4.21.0", {"managementservername": server and server["name"]}),
    }
