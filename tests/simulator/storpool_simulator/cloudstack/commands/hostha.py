# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands of host HA (plugin sheet 3.1)."""

from __future__ import annotations

from .. import answers, hostha, hostviews
from ..registry import command
from ..request import Request
from . import switches

ABOUT_HOST = ("Host", "hostid")
PACKAGE = "admin.ha"


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
    host = hostha.configure(request.cloud, switches.host_of(request), request.params["provider"])
    return answers.single(request, {"hostid": host["id"], "haprovider": host["ha"]["provider"], "status": True})


switches.register(
    switches.Kind(
        word="HA",
        package=PACKAGE,
        detail=hostha.SWITCH,
        enabled="haenable",
        switch_host=hostha.switch_host,
        disable_all=hostha.disable_all,
        level_answer=lambda request, on: answers.success(),
    )
)
