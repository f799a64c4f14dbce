# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which clusters there are at first start, and what each of them holds."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .cloudstack import layout

if TYPE_CHECKING:
    from .cluster import Cluster

VERSION = "20.0.987.0000000"
AG_SIZE = 512 << 20  # the allocation unit that capacity sums use (sheet 3.1)
SECTOR = 512
SERVERS = (1, 2, 3)
# (first disk id, group, capacity in allocation units, is it an SSD, model)
DISK_KINDS = ((100, "hdd", 4096, False, "SIM-HDD"), (200, "ssd", 2048, True, "SIM-SSD"), (300, "nvme", 2048, True, "SIM-NVME"))
TEMPLATES = (
    {"name": "hybrid", "replication": 3, "placeAll": "hdd", "placeTail": "ssd"},
    {"name": "nvme", "replication": 3, "placeAll": "nvme", "placeTail": "nvme"},
    {"name": "hdd", "replication": 2, "placeAll": "hdd", "placeTail": "hdd"},
)
FIRST_NUMBER = 1000
BUFFER = 256 << 10

BUILT_IN = {
    "locations": [
        {
            "id": "sf",
            "name": "sofia",
            "clusters": [{"id": "a", "name": "sofia-a"}, {"id": "b", "name": "sofia-b"}],
        },
        {"id": "pd", "name": "plovdiv", "clusters": [{"id": "a", "name": "plovdiv-a"}]},
    ]
}


@dataclass
class ClusterPlan:
    name: str
    id: str
    location: str
    clients: list[int] = field(default_factory=lambda: [11, 12, 13])


class Topology:
    """`document`: {"locations": [{"id", "name", "clusters": [{"id", "name", "clients"?: [compute-only client ids]}]}]};
    for CloudStack: {"cloudstack": {"clusters": N, "hosts_per_cluster": N, "zones": N}}"""

    def __init__(self, document: dict) -> None:
        self.document = document
        try:
            self.locations = [(one["id"], one["name"]) for one in document["locations"]]
            self.clusters = [
                ClusterPlan(
                    one["name"],
                    f"{location['id']}.{one['id']}",
                    location["name"],
                    **({"clients": [int(number) for number in one["clients"]]} if "clients" in one else {}),
                )
                for location in document["locations"]
                for one in location["clusters"]
            ]
            self.kvm_clusters = layout.kvm_clusters(document, self.clusters) if self.clusters else []
            self.further_zones = layout.further_zones(document, self.clusters) if self.clusters else []
        except (KeyError, TypeError, ValueError) as why:
            raise ValueError(f"the topology is not as the README tells: {why!r}") from why
        if not self.clusters:
            raise ValueError("the topology has no cluster")
        if len({one.name for one in self.clusters}) < len(self.clusters) or len({one.id for one in self.clusters}) < len(self.clusters):
            raise ValueError("two clusters of the topology have the same name or id")

    @classmethod
    def read(cls, path: Path) -> Topology:
        return cls(json.loads(path.read_text()))


def _disk(number: int, server: int, units: int, ssd: bool, model: str) -> dict[str, Any]:
    entries = units * 4096
    return {
        "id": number,
        "serverId": server,
        "description": "",
        "generationLeft": -1,
        "model": model,
        "serial": f"SIM{number:06d}",
        "softEject": "off",
        "ssd": ssd,
        "device": f"/dev/sim{number}",
        "isWbc": not ssd,
        "journaled": not ssd,
        "sectorsCount": units * AG_SIZE // SECTOR,
        "agCount": units,
        "entriesCount": entries,
        "objectsCount": units * 16,
    }


def populate(cluster: Cluster, topology: Topology) -> None:
    """Everything a fresh cluster has."""
    now = cluster.world.clock.seconds()
    plan = next(one for one in topology.clusters if one.name == cluster.name)
    cluster.meta.put("cluster", {"generation": 1, "next": FIRST_NUMBER})
    service = {"startTime": now, "version": VERSION}
    for number in SERVERS:
        cluster.servers.put(str(number), {"id": number, "nodeId": number, "status": "running", **service})
    for number in (*SERVERS, *plan.clients):
        client = {"id": number, "nodeId": number, "status": "running", "applied": 1, "lag": 0, **service}
        cluster.clients.put(str(number), client)
    for number in (1, 2):
        cluster.mgmt.put(str(number), {"id": number, "nodeId": number, "status": "running", "active": number == 1, "prio": 0, **service})
    cluster.bridge_services.put("1", {"id": 1, "nodeId": 1, "status": "running", **service})

    groups: dict[str, list[int]] = {"default": []}
    for first, group, units, ssd, model in DISK_KINDS:
        for server in SERVERS:
            disk = _disk(first + server, server, units, ssd, model)
            cluster.disks.put(str(disk["id"]), disk)
            groups.setdefault(group, []).append(disk["id"])
            groups["default"].append(disk["id"])
    for number, (name, disks) in enumerate(groups.items(), 1):
        cluster.groups.put(name, {"id": number, "name": name, "disks": disks})

    for number, template in enumerate(TEMPLATES, 1):
        document = {
            "id": number,
            "placeHead": template["placeAll"],
            "size": "-",
            "iops": "-",
            "bw": "-",
            "limitType": "total",
            "reuseServer": False,
            "parent": "",
            **template,
        }
        cluster.templates.put(str(number), document)

    for identifier, name in topology.locations:
        cluster.locations.put(name, {"id": identifier, "name": name, "recvBufferSize": BUFFER, "sendBufferSize": BUFFER})
    own_id, own_location = cluster.id, cluster.location
    bridged: set[str] = set()
    for number, other in enumerate(topology.clusters, 1):
        cluster.remote_clusters.put(other.name, {"id": other.id.split(".")[1], "location": other.location, "name": other.name})
        if other.id == own_id or (other.location != own_location and other.location in bridged):
            continue
        bridged.add(other.location)
        bridge = {
            "ip": f"192.0.2.{number}",
            "publicKey": f"sim.{other.id}.key",
            "minimumDeleteDelay": 0,
            "noCrypto": False,
            "location": other.location,
        }
        if other.location == own_location:
            bridge.update(cluster=other.name, remote=other.name)
        else:
            bridge["remote"] = other.location
        cluster.bridges.put(bridge["ip"], bridge)
