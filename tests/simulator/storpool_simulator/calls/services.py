# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services, servers, clients, peers, disks and tasks (sheet 2.1, 3.9, 3.10, 5.3)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from .. import views
from ..cluster import Cluster
from ..errors import invalid, missing
from ..store import Document
from .registry import Context, read

POLL = 0.01
ENTRIES_AN_OBJECT = 8


def _status(cluster: Cluster, *kinds: str) -> dict:
    shown: dict[str, Any] = {"clusterStatus": "running"}
    if "servers" in kinds:
        shown["servers"] = {key: {**one, "missingDisks": [], "pendingDisks": []} for key, one in cluster.servers.items()}
    if "clients" in kinds:
        fields = ("id", "nodeId", "status", "startTime", "version")
        shown["clients"] = {key: {name: one[name] for name in fields} for key, one in cluster.clients.items()}
    if "mgmt" in kinds:
        shown["mgmt"] = dict(cluster.mgmt.items())
    if "bridges" in kinds:
        shown["bridges"] = dict(cluster.bridge_services.items())
        shown["iscsiTargets"] = {}
    return shown


@read("ServicesList")
def services_list(context: Context) -> dict:
    return _status(context.cluster, "servers", "clients", "mgmt", "bridges")


@read("ServersList")
@read("ServersListBlocked")
def servers_list(context: Context) -> dict:
    """The second one also tells which disks servers wait for; the simulator's are all there."""
    return _status(context.cluster, "servers")


@read("NetworkPeersList")
def peers_list(context: Context) -> dict:
    """By node. A compute-only node has no vote, and is gone with its client."""
    cluster = context.cluster
    voting = {one["nodeId"] for one in cluster.servers.values()}
    peers = {}
    for client in cluster.clients.values():
        node = client["nodeId"]
        up = client["status"] == "running" or node in voting
        peers[str(node)] = {
            "beaconStatus": "NODE_UP" if up else "NODE_DOWN",
            "clusterStatus": "CNODE_UP" if up else "CNODE_DOWN",
            "joined": up,
            "nonVoting": node not in voting,
            "networks": {str(net): {"mac": f"02:00:00:00:{net:02x}:{node:02x}"} for net in (0, 1)},
            "rdma": {},
        }
    return peers


# Clients


def _config(cluster: Cluster, delay: int = 0) -> list[dict]:
    dump = []
    for client in cluster.clients.values():
        applied = cluster.client_generation(client)
        status = "down" if client["status"] == "down" else "ok" if applied >= cluster.generation else "updating"
        dump.append(
            {"id": client["id"], "configStatus": status, "clientGeneration": applied, "generation": cluster.generation, "delay": delay}
        )
    return dump


@read("ClientsConfigDump")
def clients_config_dump(context: Context) -> list:
    return _config(context.cluster)


@read("ClientConfigWait")
def client_config_wait(context: Context, number: int) -> list:
    """Answers once the client has reached the generation of the request (rule client-wait)."""
    cluster = context.cluster
    client = cluster.client(number)
    goal, began = cluster.generation, cluster.world.clock.now()
    if cluster.client_generation(client) < goal:
        context.wait = _until(cluster, number, goal, began)
    return _config(cluster)


def _until(cluster: Cluster, number: int, goal: int, began: float) -> Callable:
    async def wait(gone: Callable[[], bool]) -> list:
        while cluster.client_generation(cluster.client(number)) < goal and not gone():
            await asyncio.sleep(POLL)
        return _config(cluster, int(cluster.world.clock.now() - began))

    return wait


# Disks


def _objects_on(cluster: Cluster) -> dict[int, list[tuple[Document, int]]]:
    """disk id -> the objects on it and how many storage objects of each; one walk for all disks."""
    found: dict[int, list[tuple[Document, int]]] = {disk["id"]: [] for disk in cluster.disks.values()}
    for table in (cluster.volumes, cluster.snapshots):
        for one in table.values():
            for disk, count in views.info(cluster, one)["objectsPerDisk"].items():
                if count:
                    found[int(disk)].append((one, count))
    return found


def _stored_on(cluster: Cluster, document: Document, count: int) -> int:
    """The share of the object's bytes that a disk has, when it has `count` of its storage objects."""
    return cluster.world.payload.stored(cluster, document) * count // views.objects_count(document["size"])


def _summary(cluster: Cluster, disk: Document, on_it: list[tuple[Document, int]]) -> dict:
    objects = sum(count for _unused, count in on_it)
    stored = sum(_stored_on(cluster, one, count) for one, count in on_it)
    allocated = min(disk["agCount"], -(-stored // (512 << 20)))
    return {
        **disk,
        "agAllocated": allocated,
        "agFree": disk["agCount"] - allocated,
        "agFreeing": 0,
        "agFull": 0,
        "agPartial": allocated,
        "agMaxSizeFull": 0,
        "agMaxSizePartial": 0,
        "agFreeNotTrimmed": 0,
        "aggregateScore": {"entries": 0, "space": 0, "total": 0},
        "empty": objects == 0,
        "entriesAllocated": objects * ENTRIES_AN_OBJECT,
        "entriesFree": disk["entriesCount"] - objects * ENTRIES_AN_OBJECT,
        "objectsAllocated": objects,
        "objectsFree": disk["objectsCount"] - objects,
        "objectsOnDiskSize": stored,
        "noFlush": False,
        "noFua": False,
        "noTrim": False,
        "lastScrubCompleted": 0,
        "scrubbedBytes": 0,
        "scrubbing": False,
        "scrubbingBW": 0,
        "scrubbingFinishAfter": 0,
        "scrubbingPaused": False,
        "scrubbingPausedFor": 0,
        "scrubbingStartedBefore": 0,
        "pendingErrorRecoveries": 0,
        "totalErrorsDetected": 0,
        "wbc": {"maxPages": 4096, "pages": 0, "pagesPending": 0} if disk["isWbc"] else None,
    }


@read("DisksList")
def disks_list(context: Context) -> dict:
    cluster = context.cluster
    found = _objects_on(cluster)
    return {key: _summary(cluster, disk, found[disk["id"]]) for key, disk in cluster.disks.items()}


@read("ServerDisksList")
def server_disks_list(context: Context, server: int) -> dict:
    _server(context.cluster, server)
    return {key: disk for key, disk in disks_list(context).items() if disk["serverId"] == server}


@read("DiskDescribe")
def disk_describe(context: Context, number: int) -> dict:
    cluster = context.cluster
    disk = cluster.disks.get(str(number))
    if disk is None:
        raise missing("Disk", number)
    on_it = _objects_on(cluster)[number]
    objects: dict[str, dict] = {}
    for one, count in on_it:
        parent = cluster.snapshots.get(one["parent"]) if one["parent"] else None
        for index in range(count):
            stored = _stored_on(cluster, one, count) // count
            objects[str(len(objects))] = {
                "objectId": index,
                "generation": cluster.generation,
                "version": 1,
                "volume": views.name_of(one),
                "volumeId": one["vid"],
                "parentVolume": views.name_of(parent) if parent else "",
                "onDiskSize": stored,
                "storedSize": stored,
                "state": 1,
            }
    return {**_summary(cluster, disk, on_it), "objects": objects}


@read("ServerDiskDescribe")
def server_disk_describe(context: Context, server: int, number: int) -> dict:
    _server(context.cluster, server)
    described = disk_describe(context, number)
    if described["serverId"] != server:
        raise missing(f"Disk of server {server}", number)
    return described


def _server(cluster: Cluster, number: int) -> Document:
    server = cluster.servers.get(str(number))
    if server is None:
        raise invalid(f"No such server registered: {number}")
    return server


@read("TasksList")
def tasks_list(context: Context) -> list:
    """Data on the move: copies from elsewhere, and merges of deleted snapshots."""
    cluster = context.cluster
    tasks = []
    for one in cluster.snapshots.values():
        if one["recovering"] or one["deleted"]:
            count = views.objects_count(one["size"])
            disk = views.disk_sets(cluster, one)[0][0]
            shown = {"diskId": disk, "transactionId": one["vid"], "allObjects": count, "completedObjects": 0}
            tasks.append({**shown, "dispatchedObjects": count, "unresolvedObjects": 0})
    return tasks
