# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands of out-of-band management (plugin sheet 3.1)."""

from __future__ import annotations

from .. import answers, errors, outofband
from ..registry import command
from ..request import Request
from . import switches

ABOUT_HOST = ("Host", "hostid")
PACKAGE = "admin.outofbandmanagement"
FIELDS = ("driver", "address", "port", "username", "password")


@command("configureOutOfBandManagement", package=PACKAGE)
def configure(request: Request) -> dict:
    """Always a success, whether anything changed or not."""
    host = outofband.configure(request.cloud, switches.host_of(request), {key: request.params[key] for key in FIELDS})
    text = f"Out-of-band management successfully configured for {host['name']}."
    return answers.single(request, outofband.shown(host, hostid=host["id"], description=text, status=True))


switches.register(
    switches.Kind(
        word="OutOfBandManagement",
        package=PACKAGE,
        detail=outofband.SWITCH,
        enabled="enabled",
        switch_host=outofband.switch_host,
        disable_all=outofband.disable_all,
        level_answer=lambda request, on: answers.single(request, {"enabled": on, "status": True}),
    )
)


@command("issueOutOfBandManagementPowerAction", instance=ABOUT_HOST, package=PACKAGE)
def issue_power_action(request: Request) -> dict:
    """An action that is not one of the six, in capitals, is an error of Java."""
    action = request.params["action"]
    if action not in outofband.ACTIONS:
        kind = "org.apache.cloudstack.outofbandmanagement.OutOfBandManagement.PowerOperation"
        raise errors.failure(f"No enum constant {kind}.{action}")
    text = outofband.act(request.cloud, switches.host_of(request), action)
    host = switches.host_of(request)
    return answers.single(request, outofband.shown(host, hostid=host["id"], action=action, description=text, status=True))


@command("changeOutOfBandManagementPassword", instance=ABOUT_HOST, package=PACKAGE)
def change_password(request: Request) -> dict:
    outofband.change_password(request.cloud, switches.host_of(request), request.get("password"))
    return answers.single(request, {"hostid": request.params["hostid"], "status": True})
