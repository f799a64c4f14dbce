# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes in maintenance (sheet 3.13)."""

from __future__ import annotations

from ..errors import busy, exists, invalid, missing
from .registry import Context, change, read


@read("MaintenanceList")
def maintenance_list(context: Context) -> dict:
    now = context.world.clock.seconds()
    nodes = []
    for one in context.cluster.maintenance.values():
        left = one["started"] + one["duration"] - now
        nodes.append({**one, "remaining": max(0, left), "overrun": left < 0})
    return {"nodes": nodes}


@change("MaintenanceSet")
def maintenance_set(context: Context, body: dict) -> None:
    cluster = context.cluster
    node = body["nodeId"]
    known = {one["nodeId"] for table in (cluster.servers, cluster.clients) for one in table.values()}
    if node not in known:
        raise invalid(f"nodeId: there is no node {node}")
    if str(node) in cluster.maintenance:
        raise exists("Maintenance of node", node)
    limit = body.get("maxNodesInMaintenance")
    if limit is not None and len(cluster.maintenance) >= limit:
        raise busy(f"{len(cluster.maintenance)} nodes are in maintenance, and maxNodesInMaintenance is {limit}")
    if body["duration"] <= 0:
        raise invalid("duration: has to be positive")
    entry = {"nodeId": node, "description": body["description"], "duration": body["duration"], "started": context.world.clock.seconds()}
    cluster.maintenance.put(str(node), entry)


@change("MaintenanceComplete")
def maintenance_complete(context: Context, body: dict) -> None:
    node = body["nodeId"]
    if str(node) not in context.cluster.maintenance:
        raise missing("Maintenance of node", node)
    context.cluster.maintenance.drop(str(node))
