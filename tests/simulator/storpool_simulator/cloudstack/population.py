# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The CloudStack at first start (README, "The CloudStack server")."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from ..topology import SERVERS, ClusterPlan
from . import layout, offerings, storage, templates
from .facts import ADMIN
from .ids import identity

if TYPE_CHECKING:
    from .cloud import Cloud

ZONE, POD = "sofia", "pod1"
MEMORY, CORES, MHZ = 256 << 30, 64, 2600
POOL, TEMPLATE = "storpool-nvme", "nvme"
SECONDARY_BYTES = 20 << 40
BMC_USER, BMC_PASSWORD = "ADMIN", "bmc-secret"
# Names and number of the account types (``Account.Type``)
ROLES = {"admin": (ADMIN, "Root Admin", 1), "ops": ("DomainAdmin", "Domain Admin", 2)}


def populate(cloud: Cloud) -> None:
    _organisation(cloud)
    _servers(cloud)
    zone = cloud.add("zone", identity("zone", ZONE), name=ZONE, allocation="Enabled", details={})
    pod = cloud.add("pod", identity("pod", POD), name=POD, zone=zone["id"], allocation="Enabled")
    backing = next(iter(cloud.world.clusters.values()))
    number = 0
    for index, places in enumerate(cloud.world.topology.kvm_clusters, 1):
        cluster = _cluster(cloud, zone, pod, f"kvm{index}", places[0][0])
        for storpool, client in places:
            _host(cloud, cluster, f"kvm{layout.FIRST_HOST + number}", number + 1, storpool, client)
            number += 1
    cluster = _cluster(cloud, zone, pod, "converged", backing.name)
    for node in SERVERS:
        number += 1
        _host(cloud, cluster, f"hc{node}", number, backing.name, node)
    store = _secondary(cloud, zone, "nfs-secondary")
    offerings.populate(cloud)
    templates.populate(cloud, zone["id"], store)
    storage.add_first_pool(cloud, zone["id"], backing, POOL, TEMPLATE)
    for plan in cloud.world.topology.further_zones:
        number = _further_zone(cloud, plan, number)


def _further_zone(cloud: Cloud, plan: ClusterPlan, number: int) -> int:
    """A zone in another location, named after it; its hosts are the compute-only clients there. The number of the last host."""
    place = plan.location
    zone = cloud.add("zone", identity("zone", place), name=place, allocation="Enabled", details={})
    pod = cloud.add("pod", identity("pod", f"pod1-{place}"), name=f"pod1-{place}", zone=zone["id"], allocation="Enabled")
    cluster = _cluster(cloud, zone, pod, f"kvm1-{place}", plan.name)
    for client in plan.clients:
        number += 1
        _host(cloud, cluster, f"{place}{client}", number, plan.name, client)
    templates.add_to_zone(cloud, zone["id"], _secondary(cloud, zone, f"nfs-secondary-{place}"))
    storage.add_first_pool(cloud, zone["id"], cloud.world.clusters[plan.name], f"{POOL}-{place}", TEMPLATE)
    return number


def _secondary(cloud: Cloud, zone: dict, name: str) -> dict:
    """The zone's secondary storage."""
    return cloud.add(
        "store",
        identity("store", name),
        name=name,
        zone=zone["id"],
        url=f"nfs://192.0.2.200/export/{name.partition('-')[2]}",
        protocol="nfs",
        provider="NFS",
        readonly=False,
        total=SECONDARY_BYTES,
        used=0,
    )


def _organisation(cloud: Cloud) -> None:
    root = cloud.add("domain", identity("domain", "ROOT"), name="ROOT", path="ROOT", level=0, parent=None)
    ops = cloud.add("domain", identity("domain", "ops"), name="ops", path="ROOT/ops", level=1, parent=root["id"])
    keys = cloud.world.recall("keys", {})
    for name, domain in (("admin", root), ("ops", ops)):
        role, role_name, kind = ROLES[name]
        account = cloud.add(
            "account",
            identity("account", name),
            name=name,
            domain=domain["id"],
            role=role,
            role_name=role_name,
            type=kind,
            state="enabled",
            key_access=True,
        )
        pair = keys.setdefault(name, [secrets.token_urlsafe(64), secrets.token_urlsafe(64)])
        cloud.add("user", identity("user", name), name=name, account=account["id"], state="enabled", key=pair[0], secret=pair[1])
    cloud.world.settings.put("keys", {"value": keys})


def _servers(cloud: Cloud) -> None:
    now = cloud.world.clock.now()
    for number, name in enumerate(("ms1", "ms2"), 1):
        cloud.add("server", identity("server", name), name=name, address=f"192.0.2.{240 + number}", started=now, loaded={})


def _cluster(cloud: Cloud, zone: dict, pod: dict, name: str, storpool: str) -> dict:
    """CloudStack itself notes the id of the StorPool cluster when a host connects (plugin sheet 1.1)."""
    id = identity("cluster", name)
    cloud.settings.store(cloud.settings.known["sp.cluster.id"], cloud.world.clusters[storpool].id, id)
    return cloud.add("cluster", id, name=name, zone=zone["id"], pod=pod["id"], allocation="Enabled", details={})


def _host(cloud: Cloud, cluster: dict, name: str, number: int, storpool: str, client: int) -> dict:
    """`storpool` and `client`: the StorPool client that runs on the host."""
    servers = list(cloud.servers.values())
    address = f"198.51.{100 + number // 250}.{number % 250}"
    cloud.bmcs.add(address, BMC_USER, BMC_PASSWORD)
    return cloud.add(
        "host",
        identity("host", name),
        name=name,
        zone=cluster["zone"],
        pod=cluster["pod"],
        cluster=cluster["id"],
        address=f"10.1.{number // 250}.{number % 250}",
        bmc=address,
        storpool=storpool,
        client=client,
        server=servers[number % len(servers)]["id"],
        agent="up",
        state="Up",
        resource="Enabled",
        disconnected=None,
        # When it will have booted, or gone into maintenance; whether it comes back by itself after a power-on or a reset
        booting=None,
        leaving=None,
        boots=False,
        # cryptsetup, and a qemu with LUKS: what host.volume.encryption tells
        encryption=True,
        tags="",
        oobm=None,
        oobm_enabled=False,
        ha=None,
        memory=MEMORY,
        cores=CORES,
        mhz=MHZ,
    )
