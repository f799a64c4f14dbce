# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts and the instances on them."""

from __future__ import annotations

from typing import Any

from ...store import Document
from .. import answers, errors, hosts, hostviews, maintenance, outofband
from ..registry import command
from ..request import Request

ABOUT_HOST = ("Host", "id")


def _wanted(request: Request, host: Document) -> bool:
    powered = request.get("outofbandmanagementpowerstate")
    return (
        request.matches(
            id=host["id"],
            name=host["name"],
            zoneid=host["zone"],
            podid=host["pod"],
            clusterid=host["cluster"],
            type="Routing",
            hypervisor="KVM",
            state=host["state"],
            resourcestate=host["resource"],
            managementserverid=hosts.server_of(request.cloud, host),
            arch="x86_64",
            outofbandmanagementenabled=host["oobm"] is not None and host["oobm_enabled"],
        )
        and (powered is None or powered.lower() == outofband.power_state(host).lower())
        and request.has_keyword(host["name"], host["state"], "Routing")
    )


@command("listHosts", package="admin.host")
def list_hosts(request: Request) -> dict:
    """`details` chooses groups of fields; all of them by default."""
    cloud = request.cloud
    left_out = hostviews.left_out(request.get("details") or ["all"])
    pending = cloud.jobs.pending_of("Host")
    found = [host for host in cloud.living(cloud.hosts) if _wanted(request, host)]

    def view(host: Document) -> dict[str, Any]:
        shown = hostviews.shown(cloud, host, pending.get(host["id"]))
        return {key: value for key, value in shown.items() if key not in left_out}

    return answers.listing(request, found, view)


@command("updateHost", package="admin.host")
def update_host(request: Request) -> dict:
    """allocationstate is Enable or Disable here; the state becomes Enabled or Disabled."""
    cloud, host = request.cloud, request.found("id", request.cloud.hosts)
    fields: dict[str, Any] = {}
    wanted = request.get("allocationstate")
    if wanted is not None:
        states = {"enable": "Enabled", "disable": "Disabled"}
        if wanted.lower() not in states:
            raise errors.ServerError(431, f"Invalid value for allocationstate: {wanted}")
        if host["resource"] not in states.values():
            raise errors.failure(f"No next resource state for host {host['dbid']} while current state is {host['resource']}")
        fields["resource"] = states[wanted.lower()]
    if "hosttags" in request.params:
        fields["tags"] = ",".join(request.params["hosttags"])
    if "name" in request.params:
        fields["name"] = request.params["name"]
    return answers.single(request, hostviews.shown(cloud, cloud.hosts.change(host["id"], **fields)))


# Maintenance


def _host_answer(request: Request, host: Document) -> dict:
    return answers.single(request, hostviews.shown(request.cloud, host))


@command("prepareHostForMaintenance", instance=ABOUT_HOST, package="admin.host")
def prepare_host_for_maintenance(request: Request) -> dict:
    """The job is done when instances have been told to leave; the host reaches Maintenance later."""
    return _host_answer(request, maintenance.prepare(request.cloud, request.found("id", request.cloud.hosts)))


@command("cancelHostMaintenance", instance=ABOUT_HOST, package="admin.host")
def cancel_host_maintenance(request: Request) -> dict:
    return _host_answer(request, maintenance.cancel(request.cloud, request.found("id", request.cloud.hosts)))


@command("reconnectHost", instance=ABOUT_HOST, package="admin.host")
def reconnect_host(request: Request) -> dict:
    """Only an agent that is connected can be told to connect anew."""
    host = request.found("id", request.cloud.hosts)
    if host["agent"] != "up":
        raise errors.failure(f"Unable to reconnect host because it is not in the correct state: {host['dbid']}; state={host['state']}")
    return _host_answer(request, host)


@command("declareHostAsDegraded", instance=ABOUT_HOST, package="admin.host")
def declare_host_as_degraded(request: Request) -> dict:
    """For a host that is out of reach; out-of-band management then counts as disabled for it."""
    host = request.found("id", request.cloud.hosts)
    if host["state"] not in (hosts.DISCONNECTED, hosts.DOWN, "Alert") or host["resource"] == maintenance.DEGRADED:
        raise errors.failure(f"Host can be declared as degraded only in state Alert or Disconnected, not {host['state']}")
    return _host_answer(request, request.cloud.hosts.change(host["id"], resource=maintenance.DEGRADED))


@command("cancelHostAsDegraded", instance=ABOUT_HOST, package="admin.host")
def cancel_host_as_degraded(request: Request) -> dict:
    host = request.found("id", request.cloud.hosts)
    if host["resource"] != maintenance.DEGRADED:
        raise errors.failure(f"Cannot perform cancelHostAsDegraded when resource state is {host['resource']}")
    return _host_answer(request, request.cloud.hosts.change(host["id"], resource=maintenance.ENABLED))
