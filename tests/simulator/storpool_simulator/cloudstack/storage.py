# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""StorPool primary storage as the server records it (plugin sheet 1.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..calls import templates
from .answers import date
from .cloud import identity

if TYPE_CHECKING:
    from ..cluster import Cluster
    from ..store import Document
    from .cloud import Cloud

PROVIDER, KIND = "StorPool", "StorPool"
DEVICES = "/dev/storpool-byid/"
TOKEN, ADDRESS, TEMPLATE = "SP_AUTH_TOKEN", "SP_API_HTTP_HOST", "SP_TEMPLATE"
DETAILS = (TOKEN, ADDRESS, TEMPLATE)


def add_pool(cloud: Cloud, id: str, **fields: Any) -> Document:
    """`details` are those of the plugin; `cluster` is the StorPool cluster of this process behind it."""
    document = {
        "state": "Up",
        "capacity": 0,
        "iops": None,
        "tags": "",
        "tag_rule": False,
        "details": {},
        "hidden": [],
        "volumes": 0,
        "snapshots": 0,
        "template_snapshots": 0,
        **fields,
    }
    return cloud.add("pool", id, **document)


def add_first_pool(cloud: Cloud, zone: str, backing: Cluster, name: str, template: str) -> None:
    """Token and address of the StorPool side change with the start; None stands for the present ones (`details`)."""
    total, _ = space(backing, template)
    add_pool(
        cloud,
        f"{template};{identity('pool', name)}",
        name=name,
        zone=zone,
        tags=name,
        capacity=total,
        storpool=backing.name,
        details={TOKEN: None, ADDRESS: None, TEMPLATE: template},
    )


def space(cluster: Cluster, template: str) -> tuple[int, int]:
    """Bytes that a template has and has given away, as the statistics of the plugin take them from VolumeTemplatesStatus."""
    status = next((one for one in templates.status_of(cluster) if one["name"] == template), None)
    if status is None:
        return 0, 0
    stored = status["stored"]
    return stored["capacity"], stored["capacity"] - stored["free"]


def details(cloud: Cloud, pool: Document) -> dict[str, str]:
    """All details, the token in the clear; those of the first pool that name the StorPool side are those of the present start."""
    present = {TOKEN: cloud.world.token, ADDRESS: cloud.addresses.get(pool["storpool"], "")}
    return {key: present[key] if value is None else value for key, value in pool["details"].items()}


def shown(cloud: Cloud, pool: Document, job: Document | None = None) -> dict[str, Any]:
    """`job`: the running one on the pool, if there is one."""
    backing = cloud.world.clusters.get(pool["storpool"])
    total, used = space(backing, pool["details"].get(TEMPLATE, "")) if backing else (pool["capacity"], 0)
    return {
        "id": pool["id"],
        "name": pool["name"],
        "zoneid": pool["zone"],
        "zonename": cloud.zones[pool["zone"]]["name"],
        "hypervisor": "KVM",
        "path": DEVICES,
        "ipaddress": "n/a",
        "provider": PROVIDER,
        "type": KIND,
        "scope": "ZONE",
        "state": pool["state"],
        "created": date(pool["created"]),
        "tags": pool["tags"] or None,
        "disksizetotal": total,
        "disksizeused": used,
        "disksizeallocated": pool["volumes"],
        "capacityiops": pool["iops"],
        "overprovisionfactor": cloud.settings.effective(cloud.settings.known["storage.overprovisioning.factor"], pool["id"]),
        "storagecapabilities": {"VOLUME_SNAPSHOT_QUIESCEVM": "false"},
        "hasannotations": False,
        "jobid": job and job["id"],
        "jobstatus": job and job["status"],
        **cloud.since("4.19.0", {"istagarule": pool["tag_rule"]}),
        **cloud.since("4.19.3", {"managed": False}),
        **cloud.since("4.21.0", {"details": details(cloud, pool)}),
        **cloud.since("4.22.0", {"capacitybytes": pool["capacity"]}),
    }
