# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands of host HA (plugin sheet 3.1)."""

from __future__ import annotations

from ...store import Document
from .. import answers, hostha, hostviews
from ..registry import command
from ..request import Request

ABOUT_HOST = ("Host", "hostid")
PACKAGE = "admin.ha"


def _host(request: Request) -> Document:
    return request.cloud.hosts[request.params["hostid"]]


@command("listHostHAProviders", package=PACKAGE)
def list_providers(request: Request) -> dict:
    """Class names; a hypervisor without a provider has an empty list."""
    found = [name for hypervisor, name in hostha.PROVIDERS.items() if hypervisor.lower() == request.params["hypervisor"].lower()]
    return answers.listing(request, found, lambda name: {"haprovider": name})


@command("listHostHAResources", package=PACKAGE)
def list_resources(request: Request) -> dict:
    """All hosts that were ever configured, or one of them."""
    cloud = request.cloud
    found = [host for host in cloud.living(cloud.hosts) if host["ha"] is not None and request.same("hostid", host["id"])]
    return answers.listing(request, found, lambda host: hostviews.ha_shown(host, hostid=host["id"]))


@command("configureHAForHost", instance=ABOUT_HOST, package=PACKAGE)
def configure(request: Request) -> dict:
    host = hostha.configure(request.cloud, _host(request), request.params["provider"])
    return answers.single(request, {"hostid": host["id"], "haprovider": host["ha"]["provider"], "status": True})


def _switch_host(request: Request, on: bool) -> dict:
    hostha.switch_host(request.cloud, _host(request), on)
    return answers.single(request, {"hostid": request.params["hostid"], "haenable": on, "status": True})


@command("enableHAForHost", instance=ABOUT_HOST, package=PACKAGE)
def enable_for_host(request: Request) -> dict:
    return _switch_host(request, True)


@command("disableHAForHost", instance=ABOUT_HOST, package=PACKAGE)
def disable_for_host(request: Request) -> dict:
    return _switch_host(request, False)


@command("enableHAForCluster", instance=("Cluster", "clusterid"), package=PACKAGE)
def enable_for_cluster(request: Request) -> dict:
    request.cloud.set_switch("cluster", request.params["clusterid"], hostha.SWITCH, True)
    return answers.success()


@command("disableHAForCluster", instance=("Cluster", "clusterid"), package=PACKAGE)
def disable_for_cluster(request: Request) -> dict:
    cloud, id = request.cloud, request.params["clusterid"]
    cloud.set_switch("cluster", id, hostha.SWITCH, False)
    hostha.disable_all(cloud, cloud.hosts_of(cluster=id))
    return answers.success()


@command("enableHAForZone", instance=("Zone", "zoneid"), package=PACKAGE)
def enable_for_zone(request: Request) -> dict:
    request.cloud.set_switch("zone", request.params["zoneid"], hostha.SWITCH, True)
    return answers.success()


@command("disableHAForZone", instance=("Zone", "zoneid"), package=PACKAGE)
def disable_for_zone(request: Request) -> dict:
    cloud, id = request.cloud, request.params["zoneid"]
    cloud.set_switch("zone", id, hostha.SWITCH, False)
    hostha.disable_all(cloud, cloud.hosts_of(zone=id))
    return answers.success()
