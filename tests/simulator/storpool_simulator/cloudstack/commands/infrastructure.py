# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Zones, pods, clusters, management servers, secondary storage."""

from __future__ import annotations

from typing import Any

from ...store import Document
from .. import answers, errors
from ..answers import date
from ..cloud import Cloud
from ..registry import command
from ..request import Request

ALLOCATION = ("Enabled", "Disabled")


def _allocation(request: Request) -> dict[str, str]:
    """The new allocation state, as a field to change."""
    wanted = request.get("allocationstate")
    if wanted is None:
        return {}
    known = next((one for one in ALLOCATION if one.lower() == wanted.lower()), None)
    if known is None:
        raise errors.invalid(f"Unable to resolve Allocation State '{wanted}' to a supported state")
    return {"allocation": known}


def _named(request: Request) -> dict[str, str]:
    return {"name": request.params["name"]} if "name" in request.params else {}


# Zones


def _own_settings(cloud: Cloud, owner: Document) -> dict[str, str]:
    """Values of settings that belong to one zone or cluster lie among its details."""
    return {row["name"]: row["value"] for row in cloud.settings.stored.values() if row["owner"] == owner["id"]}


def zone_shown(cloud: Cloud, zone: Document) -> dict[str, Any]:
    return {
        "id": zone["id"],
        "name": zone["name"],
        "dns1": "192.0.2.53",
        "internaldns1": "192.0.2.53",
        "guestcidraddress": "10.1.1.0/24",
        "networktype": "Advanced",
        "allocationstate": zone["allocation"],
        "dhcpprovider": "VirtualRouter",
        "localstorageenabled": False,
        "securitygroupsenabled": False,
        "type": "Core",
        "zonetoken": zone["id"].replace("-", ""),
        "tags": [],
        "hasannotations": False,
        "resourcedetails": {**_own_settings(cloud, zone), **zone["details"]} or None,
    }


@command("listZones", package="user.zone")
def list_zones(request: Request) -> dict:
    cloud = request.cloud
    found = [
        zone
        for zone in cloud.living(cloud.zones)
        if zone["id"] in request.get("ids", [zone["id"]])
        and request.matches(id=zone["id"], name=zone["name"], networktype="Advanced")
        and request.has_keyword(zone["name"])
    ]
    return answers.listing(request, found, lambda zone: zone_shown(cloud, zone))


@command("updateZone", package="admin.zone")
def update_zone(request: Request) -> dict:
    cloud = request.cloud
    zone = cloud.zones.change(request.found("id", cloud.zones)["id"], **_allocation(request), **_named(request))
    return answers.single(request, zone_shown(cloud, zone))


# Pods


def _pod_shown(cloud: Cloud, pod: Document) -> dict[str, Any]:
    return {
        "id": pod["id"],
        "name": pod["name"],
        "zoneid": pod["zone"],
        "zonename": cloud.zones[pod["zone"]]["name"],
        "gateway": "10.1.0.1",
        "netmask": "255.255.0.0",
        "startip": ["10.1.255.1"],
        "endip": ["10.1.255.200"],
        "forsystemvms": ["0"],
        "vlanid": ["untagged"],
        "allocationstate": pod["allocation"],
        "hasannotations": False,
    }


@command("listPods", package="admin.pod")
def list_pods(request: Request) -> dict:
    cloud = request.cloud
    found = [
        pod
        for pod in cloud.living(cloud.pods)
        if request.matches(id=pod["id"], zoneid=pod["zone"], name=pod["name"], allocationstate=pod["allocation"])
        and request.has_keyword(pod["name"])
    ]
    return answers.listing(request, found, lambda pod: _pod_shown(cloud, pod))


# Clusters


def cluster_shown(cloud: Cloud, cluster: Document) -> dict[str, Any]:
    """`resourcedetails` tells the switches of HA and out-of-band management, and values of settings (sheet section 8)."""
    return {
        "id": cluster["id"],
        "name": cluster["name"],
        "zoneid": cluster["zone"],
        "zonename": cloud.zones[cluster["zone"]]["name"],
        "podid": cluster["pod"],
        "podname": cloud.pods[cluster["pod"]]["name"],
        "hypervisortype": "KVM",
        "clustertype": "CloudManaged",
        "allocationstate": cluster["allocation"],
        "managedstate": "Managed",
        "cpuovercommitratio": "1.0",
        "memoryovercommitratio": "1.0",
        "hasannotations": False,
        "resourcedetails": {
            "cpuOvercommitRatio": "1.0",
            "memoryOvercommitRatio": "1.0",
            **_own_settings(cloud, cluster),
            **cluster["details"],
        },
        **cloud.since("4.20.0", {"arch": "x86_64"}),
    }


@command("listClusters", package="admin.cluster")
def list_clusters(request: Request) -> dict:
    cloud = request.cloud
    found = [
        cluster
        for cluster in cloud.living(cloud.clusters)
        if request.matches(
            id=cluster["id"],
            zoneid=cluster["zone"],
            podid=cluster["pod"],
            name=cluster["name"],
            hypervisor="KVM",
            clustertype="CloudManaged",
            managedstate="Managed",
            allocationstate=cluster["allocation"],
        )
        and request.has_keyword(cluster["name"], "KVM")
    ]
    return answers.listing(request, found, lambda cluster: cluster_shown(cloud, cluster))


@command("updateCluster", package="admin.cluster")
def update_cluster(request: Request) -> dict:
    cloud = request.cloud
    name = {"name": request.params["clustername"]} if "clustername" in request.params else {}
    cluster = cloud.clusters.change(request.found("id", cloud.clusters)["id"], **_allocation(request), **name)
    return answers.single(request, cluster_shown(cloud, cluster))


# Management servers


def _server_shown(cloud: Cloud, server: Document) -> dict[str, Any]:
    agents = [host["id"] for host in cloud.living(cloud.hosts) if host["server"] == server["id"] and host["agent"] == "up"]
    pending = sum(job["server"] == server["id"] for job in cloud.jobs.pending())
    return {
        "id": server["id"],
        "name": server["name"],
        "state": "Up",
        "version": cloud.facts.version + ".0",
        "javadistribution": "Debian",
        "javaversion": "17.0.13" if cloud.facts.has("4.20.0") else "11.0.25",
        "osdistribution": "Debian GNU/Linux 12",
        "kernelversion": "6.1.0-28-amd64",
        "lastserverstart": date(server["started"]),
        "lastboottime": date(server["created"]),
        **cloud.since("4.19.0", {"serviceip": server["address"]}),
        **cloud.since("4.20.1", {"ipaddress": server["address"]}),
        **cloud.since("4.21.0", {"agents": agents, "agentscount": len(agents), "lastagents": [], "pendingjobscount": pending}),
    }


@command("listManagementServers", package="admin.management")
def list_management_servers(request: Request) -> dict:
    cloud = request.cloud
    found = [
        server
        for server in cloud.servers.values()
        if request.same("id", server["id"]) and request.same("name", server["name"]) and request.has_keyword(server["name"])
    ]
    return answers.listing(request, found, lambda server: _server_shown(cloud, server))


# Secondary storage


def _store_shown(cloud: Cloud, store: Document) -> dict[str, Any]:
    return {
        "id": store["id"],
        "name": store["name"],
        "zoneid": store["zone"],
        "zonename": cloud.zones[store["zone"]]["name"],
        "providername": store["provider"],
        "protocol": store["protocol"],
        "url": store["url"],
        "scope": "ZONE",
        "readonly": store["readonly"],
        "disksizetotal": store["total"],
        "disksizeused": store["used"],
        "hasannotations": False,
    }


@command("listImageStores", package="admin.storage")
def list_image_stores(request: Request) -> dict:
    cloud = request.cloud
    found = [
        store
        for store in cloud.living(cloud.stores)
        if request.matches(
            id=store["id"],
            name=store["name"],
            zoneid=store["zone"],
            provider=store["provider"],
            protocol=store["protocol"],
            readonly=store["readonly"],
        )
        and request.has_keyword(store["name"], store["provider"])
    ]
    return answers.listing(request, found, lambda store: _store_shown(cloud, store))
