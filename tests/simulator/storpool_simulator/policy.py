# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Placement, replication and limits: where a volume gets them from, and what is refused (sheet 4.3 step 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import ApiError, insufficient, invalid
from .store import Document

if TYPE_CHECKING:
    from .cluster import Cluster

PLACEMENT = ("placeAll", "placeTail", "placeHead")
LIMITS = ("iops", "bw", "limitType")
FIELDS = (*PLACEMENT, "replication", "reuseServer", *LIMITS)


def resolve(cluster: Cluster, request: dict, template: Document | None, base: Document | None) -> dict:
    """From the request, else the template, else the parent or the source, else the cluster's defaults."""
    policy: dict[str, Any] = {"template": template["id"] if template else 0}

    def first(key: str, default: Any, unset: Any = None) -> Any:
        for source in (request, template, base):
            if source is not None and source.get(key, unset) != unset:
                return source[key]
        return default

    # placeAll defaults to "default"; tail and head default to placeAll (rule place-defaults).
    policy["placeAll"] = first("placeAll", "default")
    policy["placeTail"] = first("placeTail", policy["placeAll"])
    policy["placeHead"] = first("placeHead", policy["placeAll"])
    policy["replication"] = next(
        (source["replication"] for source in (request, template, base) if source is not None and source.get("replication", "-") != "-"),
        cluster.world.assume.default_replication,
    )
    policy["reuseServer"] = first("reuseServer", False)
    limits = template or base
    if template is not None and base is not None and cluster.world.assume.template_limits == "parent":
        limits = base
    for key, default in (("iops", "-"), ("bw", "-"), ("limitType", "total")):
        policy[key] = request.get(key, limits[key] if limits is not None else default)
    check_placement(cluster, policy)
    return policy


def changed(cluster: Cluster, document: Document, request: dict) -> dict:
    """The fields that an update sets: those of a new template first, then those named in the request."""
    fields: dict[str, Any] = {}
    if "template" in request:
        template = cluster.template(request["template"])
        if template["id"] != document["template"]:
            fields = from_template(template)
            if cluster.world.assume.move_limits == "keep":
                fields = {key: value for key, value in fields.items() if key not in LIMITS}
            fields["template"] = template["id"]
    fields.update({key: request[key] for key in FIELDS if key in request})
    if fields:
        check_placement(cluster, {**document, **fields})
    return fields


def from_template(template: Document) -> dict:
    return {key: template[key] for key in FIELDS if not (key == "replication" and template[key] == "-")}


def check_placement(cluster: Cluster, policy: dict) -> None:
    """The groups exist, and have as many servers as there are copies."""
    disks = {disk for place in PLACEMENT for disk in cluster.group(policy[place])["disks"]}
    servers = {cluster.disks[str(disk)]["serverId"] for disk in disks if str(disk) in cluster.disks}
    replication = policy["replication"]
    if replication == "-":
        return
    if not servers or (len(servers) < replication and not policy["reuseServer"]):
        raise ApiError(cluster.world.assume.servers_name, f"Not enough servers or fault sets for replication {replication}")


def check_size(cluster: Cluster, size: int) -> None:
    if size > cluster.world.assume.max_volume_size:
        raise insufficient(f"the cluster has no room for a volume of {size} bytes")


def template_for(cluster: Cluster, request: dict, base: Document | None) -> Document | None:
    """The named template, else the one that the QoS class names, else that of the parent or source (rules ref-qc, create-defaults)."""
    if "template" in request:
        return cluster.template(request["template"])
    tier = request.get("tags", {}).get("qc")
    if tier and cluster.world.assume.qc_template and tier in cluster.template_names:
        return cluster.template(tier)
    return cluster.template_of(base) if base is not None else None


def refuse_both(request: dict, one: str, other: str) -> None:
    if one in request and other in request:
        raise invalid(f"{one} and {other} cannot be given together")
