# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands of out-of-band management (plugin sheet 3.1)."""

from __future__ import annotations

from ...store import Document
from .. import answers, errors, outofband
from ..registry import command
from ..request import Request

ABOUT_HOST = ("Host", "hostid")
PACKAGE = "admin.outofbandmanagement"
FIELDS = ("driver", "address", "port", "username", "password")


def _host(request: Request) -> Document:
    return request.cloud.hosts[request.params["hostid"]]


@command("configureOutOfBandManagement", package=PACKAGE)
def configure(request: Request) -> dict:
    """Always a success, whether anything changed or not."""
    host = outofband.configure(request.cloud, _host(request), {key: request.params[key] for key in FIELDS})
    text = f"Out-of-band management successfully configured for {host['name']}."
    return answers.single(request, outofband.shown(host, hostid=host["id"], description=text, status=True))


def _switched(request: Request, on: bool) -> dict:
    return answers.single(request, {"enabled": on, "status": True})


def _switch_host(request: Request, on: bool) -> dict:
    outofband.switch_host(request.cloud, _host(request), on)
    return answers.single(request, {"hostid": request.params["hostid"], "enabled": on, "status": True})


@command("enableOutOfBandManagementForHost", instance=ABOUT_HOST, package=PACKAGE)
def enable_for_host(request: Request) -> dict:
    return _switch_host(request, True)


@command("disableOutOfBandManagementForHost", instance=ABOUT_HOST, package=PACKAGE)
def disable_for_host(request: Request) -> dict:
    return _switch_host(request, False)


@command("enableOutOfBandManagementForCluster", instance=("Cluster", "clusterid"), package=PACKAGE)
def enable_for_cluster(request: Request) -> dict:
    request.cloud.set_switch("cluster", request.params["clusterid"], outofband.SWITCH, True)
    return _switched(request, True)


@command("disableOutOfBandManagementForCluster", instance=("Cluster", "clusterid"), package=PACKAGE)
def disable_for_cluster(request: Request) -> dict:
    cloud, id = request.cloud, request.params["clusterid"]
    cloud.set_switch("cluster", id, outofband.SWITCH, False)
    outofband.disable_all(cloud, cloud.hosts_of(cluster=id))
    return _switched(request, False)


@command("enableOutOfBandManagementForZone", instance=("Zone", "zoneid"), package=PACKAGE)
def enable_for_zone(request: Request) -> dict:
    request.cloud.set_switch("zone", request.params["zoneid"], outofband.SWITCH, True)
    return _switched(request, True)


@command("disableOutOfBandManagementForZone", instance=("Zone", "zoneid"), package=PACKAGE)
def disable_for_zone(request: Request) -> dict:
    cloud, id = request.cloud, request.params["zoneid"]
    cloud.set_switch("zone", id, outofband.SWITCH, False)
    outofband.disable_all(cloud, cloud.hosts_of(zone=id))
    return _switched(request, False)


@command("issueOutOfBandManagementPowerAction", instance=ABOUT_HOST, package=PACKAGE)
def issue_power_action(request: Request) -> dict:
    """An action that is not one of the six, in capitals, is an error of Java."""
    action = request.params["action"]
    if action not in outofband.ACTIONS:
        kind = "org.apache.cloudstack.outofbandmanagement.OutOfBandManagement.PowerOperation"
        raise errors.failure(f"No enum constant {kind}.{action}")
    text = outofband.act(request.cloud, _host(request), action)
    host = _host(request)
    return answers.single(request, outofband.shown(host, hostid=host["id"], action=action, description=text, status=True))


@command("changeOutOfBandManagementPassword", instance=ABOUT_HOST, package=PACKAGE)
def change_password(request: Request) -> dict:
    outofband.change_password(request.cloud, _host(request), request.get("password"))
    return answers.single(request, {"hostid": request.params["hostid"], "status": True})
