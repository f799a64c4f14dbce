# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""StorPool primary storage: what the server records and what the StorPool provider checks (plugin sheet 1.3)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from ..calls import templates
from . import errors
from .answers import date
from .ids import identity, new_id

if TYPE_CHECKING:
    from ..cluster import Cluster
    from ..store import Document
    from .cloud import Cloud

PROVIDER, KIND = "StorPool", "StorPool"
# The generic provider, here of NFS exports alone
NFS_PROVIDER, NFS_KIND = "DefaultPrimary", "NetworkFilesystem"
NFS_BYTES = 10 << 40
DEVICES = "/dev/storpool-byid/"
TOKEN, ADDRESS, TEMPLATE = "SP_AUTH_TOKEN", "SP_API_HTTP_HOST", "SP_TEMPLATE"
URL_ADDRESS = "SP_API_HTTP"
UP, MAINTENANCE, DISABLED = "Up", "Maintenance", "Disabled"
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_NFS_URL = re.compile(r"nfs://(?P<server>[^/]+)(?P<path>/.+)\Z")
_URI = re.compile(r"storpool://(?P<token>[^@]*)@(?P<address>[^/]+)/(?P<template>.+)\Z")


@dataclass(frozen=True)
class Connection:
    """Where a pool's StorPool is, as its url tells (``SpConnectionDesc``)."""

    address: str | None
    token: str | None
    template: str | None


def connection(cloud: Cloud, url: str) -> Connection:
    """The three forms of the url; a plain template name takes the rest from /etc/storpool.conf of the management server."""
    uri = _URI.match(url)
    if uri:
        return Connection(uri["address"], unquote(uri["token"]) or None, uri["template"])
    if "=" in url:
        given = dict(part.split("=", 1) for part in url.split(";") if "=" in part)
        return Connection(given.get(URL_ADDRESS), given.get(TOKEN), given.get(TEMPLATE))
    if not cloud.assume.servers_have_storpool_conf:
        return Connection(None, None, url)
    return Connection(next(iter(cloud.addresses.values()), None), cloud.world.token, url)


def _split(address: str) -> tuple[str, str]:
    """Host and port."""
    host, _unused, port = address.rpartition(":")
    return host, port


def cluster_at(cloud: Cloud, address: str) -> Cluster | None:
    """The StorPool cluster of this process that answers there."""
    host, port = _split(address)
    for name, known in cloud.addresses.items():
        known_host, known_port = _split(known)
        if port == known_port and (host == known_host or host in LOOPBACK):
            return cloud.world.clusters[name]
    return None


def initialize(cloud: Cloud, name: str, url: str, capacity: int | None, tags: str | None) -> dict[str, Any]:
    """The checks of the provider in their order, with its texts (``StorPoolPrimaryDataStoreLifeCycle.initialize``); the pool's fields."""
    wanted = connection(cloud, url)
    if not wanted.address:
        raise errors.failure(f"No {URL_ADDRESS}")
    if not wanted.token:
        raise errors.failure(f"No {TOKEN}")
    if not wanted.template:
        raise errors.failure(f"No {TEMPLATE}")
    cluster = cluster_at(cloud, wanted.address)
    if cluster is None or wanted.token != cloud.world.token or wanted.template not in cluster.template_names:
        raise errors.failure(f"No such storpool template {wanted.template} or credentials are invalid")
    for pool in cloud.living(cloud.pools):
        known = details(cloud, pool)
        if (known.get(ADDRESS), known.get(TEMPLATE)) == (wanted.address, wanted.template):
            raise errors.failure(f"StorPool cluster and template already in use by pool {pool['name']}")
    if capacity is None:
        raise errors.failure("Capcity bytes is required")
    return {
        "id": f"{wanted.template};{new_id()}",
        "name": name,
        "capacity": capacity,
        "tags": tags or name,
        "storpool": cluster.name,
        "details": {TOKEN: wanted.token, ADDRESS: wanted.address, TEMPLATE: wanted.template},
    }


def initialize_nfs(cloud: Cloud, name: str, url: str, capacity: int | None, tags: str | None, cluster: str | None) -> dict[str, Any]:
    """An NFS export, of the zone or of one cluster; the volumes on it are files in a directory of the state."""
    wanted = _NFS_URL.match(url)
    if not wanted:
        raise errors.invalid(f"Unable to figure out the scheme for URI: {url}; the simulator has NFS alone: nfs://host/path")
    taken = [pool for pool in cloud.living(cloud.pools) if not on_storpool(pool)]
    if any((pool["server"], pool["export"]) == (wanted["server"], wanted["path"]) for pool in taken):
        raise errors.failure(f"Storage pool {url} already exists")
    return {
        "id": new_id(),
        "name": name,
        "provider": NFS_PROVIDER,
        "storpool": None,
        "server": wanted["server"],
        "export": wanted["path"],
        "scope": "CLUSTER" if cluster else "ZONE",
        "cluster": cluster,
        "capacity": capacity,
        "tags": tags or "",
        "details": {},
    }


def add_pool(cloud: Cloud, id: str, **fields: Any) -> Document:
    """A pool; at the first connect of a host CloudStack also notes where its StorPool is (plugin sheet 1.1)."""
    document = {
        "state": UP,
        "iops": None,
        "tag_rule": False,
        # Keys of details that are not for display
        "hidden": [],
        # What a test says lies on it: bytes given to volumes, numbers of volumes, snapshots, cached templates
        "allocated": 0,
        "volumes": 0,
        "snapshots": 0,
        "template_snapshots": 0,
        **fields,
    }
    pool = cloud.add("pool", id, **document)
    location = cloud.settings.known.get("sp.cluster.location")
    if location is not None and on_storpool(pool):
        cloud.settings.store(location, cloud.world.clusters[pool["storpool"]].location, pool["id"])
    return pool


def add_first_pool(cloud: Cloud, zone: str, backing: Cluster, name: str, template: str) -> None:
    """Token and address of the StorPool side change with the start; None stands for the present ones (`details`)."""
    add_pool(
        cloud,
        f"{template};{identity('pool', name)}",
        name=name,
        zone=zone,
        tags=name,
        capacity=space(backing, template)[0],
        storpool=backing.name,
        details={TOKEN: None, ADDRESS: None, TEMPLATE: template},
    )


def provider_of(pool: Document) -> str:
    return pool.get("provider") or PROVIDER


def on_storpool(pool: Document) -> bool:
    return provider_of(pool) == PROVIDER


def space(cluster: Cluster, template: str) -> tuple[int, int]:
    """Bytes that a template has and has given away, as the statistics of the plugin take them from VolumeTemplatesStatus."""
    status = next((one for one in templates.status_of(cluster) if one["name"] == template), None)
    if status is None:
        return 0, 0
    stored = status["stored"]
    return stored["capacity"], stored["capacity"] - stored["free"]


def details(cloud: Cloud, pool: Document) -> dict[str, str]:
    """All details, the token in the clear."""
    if not on_storpool(pool):
        return dict(pool["details"])
    present = {TOKEN: cloud.world.token, ADDRESS: cloud.addresses.get(pool["storpool"], "")}
    return {key: present[key] if value is None else value for key, value in pool["details"].items()}


def load(cloud: Cloud, pool: Document) -> dict[str, int]:
    """What lies on a pool: by the tables, and what a test says besides.

    `snapshots` and `template_snapshots` are what snapshot_details and vm_template_details (spStoragePoolId) know; a template's stays
    when the template is deleted (plugin sheet 4.6).
    """
    number = str(pool["dbid"])
    found = [one for one in cloud.living(cloud.volumes) if one["pool"] == pool["id"]]
    return {
        "allocated": pool["allocated"] + sum(one["size"] for one in found),
        "volumes": pool["volumes"] + len(found),
        "snapshots": pool["snapshots"] + sum(one["details"].get("spStoragePoolId") == number for one in cloud.living(cloud.snapshots)),
        "template_snapshots": pool["template_snapshots"] + sum(one["storpool_pool"] == pool["dbid"] for one in cloud.templates.values()),
    }


def shown(cloud: Cloud, pool: Document, job: Document | None = None) -> dict[str, Any]:
    """`job`: the running one on the pool, if there is one."""
    fields = {**_shown_everywhere(cloud, pool), "jobid": job and job["id"], "jobstatus": job and job["status"]}
    return {**fields, **(_shown_on_storpool(cloud, pool) if on_storpool(pool) else _shown_on_nfs(pool))}


def _shown_on_storpool(cloud: Cloud, pool: Document) -> dict[str, Any]:
    total, used = space(cloud.world.clusters[pool["storpool"]], pool["details"].get(TEMPLATE) or "")
    return {
        "path": DEVICES,
        "ipaddress": "n/a",
        "provider": PROVIDER,
        "type": KIND,
        "scope": "ZONE",
        "disksizetotal": total,
        "disksizeused": used,
        **cloud.since("4.21.0", {"details": details(cloud, pool)}),
    }


def _shown_on_nfs(pool: Document) -> dict[str, Any]:
    return {
        "path": pool["export"],
        "ipaddress": pool["server"],
        "provider": NFS_PROVIDER,
        "type": NFS_KIND,
        "scope": pool["scope"],
        "clusterid": pool["cluster"],
        "disksizetotal": pool["capacity"] or NFS_BYTES,
        "disksizeused": 0,
    }


def _shown_everywhere(cloud: Cloud, pool: Document) -> dict[str, Any]:
    return {
        "id": pool["id"],
        "name": pool["name"],
        "zoneid": pool["zone"],
        "zonename": cloud.zones[pool["zone"]]["name"],
        "hypervisor": "KVM",
        "state": pool["state"],
        "created": date(pool["created"]),
        "tags": pool["tags"] or None,
        "disksizeallocated": load(cloud, pool)["allocated"],
        "capacityiops": pool["iops"],
        "overprovisionfactor": "1",
        "storagecapabilities": {"VOLUME_SNAPSHOT_QUIESCEVM": "false"},
        "hasannotations": False,
        **cloud.since("4.19.0", {"istagarule": pool["tag_rule"]}),
        **cloud.since("4.19.3", {"managed": False}),
        **cloud.since("4.22.0", {"capacitybytes": pool["capacity"]}),
    }
