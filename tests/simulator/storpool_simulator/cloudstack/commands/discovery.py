# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the server can do: listApis and listCapabilities."""

from __future__ import annotations

from typing import Any

from .. import answers, errors
from ..cloud import Cloud
from ..facts import Command, Facts, Field, Parameter
from ..registry import command
from ..request import Request
from ..settings import HIDDEN

SNAPSHOTS_OF_RUNNING = "kvm.snapshot.enabled"


def _parameter(facts: Facts, one: Parameter) -> dict[str, Any]:
    return {
        "name": one.name,
        "type": one.type,
        "length": one.length,
        "required": one.required,
        "since": one.since or None,
        "related": ",".join(facts.related_apis.get(one.related, ())) or None,
    }


def _field(one: Field) -> dict[str, Any]:
    shown: dict[str, Any] = {"name": one.name, "type": one.type}
    if one.fields is not None:
        shown["response"] = [_field(inner) for inner in one.fields.values()]
    return shown


def _api(facts: Facts, one: Command) -> dict[str, Any]:
    return {
        "name": one.name,
        "isasync": one.is_async,
        "since": one.since or None,
        "params": [{key: value for key, value in _parameter(facts, inner).items() if value is not None} for inner in one.params.values()],
        "response": [_field(inner) for inner in one.response.values()],
    }


@command("listApis", package="user.discovery")
def list_apis(request: Request) -> dict:
    """Generated from the facts; commands that the simulator cannot carry out are listed too, as a server would."""
    facts, role, name = request.cloud.facts, request.caller.role, request.get("name")
    found = [one for one in facts.commands.values() if one.is_for(role)]
    if name is not None:
        found = [one for one in found if one.name.lower() == name.lower()]
        if not found:
            raise errors.ServerError(530, f"Api not found: {name}", errors.RUNTIME)
    return answers.listing(request, found, lambda one: _api(facts, one))


def _snapshots_of_running(cloud: Cloud) -> bool:
    """Up to 4.21 ``listCapabilities`` asks the database (``_configDao.getValue``), later the value in force (``ConfigKey.value``)."""
    known = cloud.settings.known[SNAPSHOTS_OF_RUNNING]
    return (cloud.settings.value(known) if known.category == HIDDEN else cloud.settings.in_force(known.name)) == "true"


@command("listCapabilities", package="user.config")
def list_capabilities(request: Request) -> dict:
    cloud = request.cloud
    truth, number = cloud.settings.truth, cloud.settings.number
    shown = {
        "cloudstackversion": cloud.facts.version + ".0",
        "securitygroupsenabled": False,
        "dynamicrolesenabled": truth("dynamic.apichecker.enabled"),
        "userpublictemplateenabled": truth("allow.public.user.templates"),
        "allowusercreateprojects": truth("allow.user.create.projects"),
        "allowuserexpungerecovervm": truth("allow.user.expunge.recover.vm"),
        "allowuserexpungerecovervolume": truth("allow.user.expunge.recover.volume"),
        "allowuserviewdestroyedvm": truth("allow.user.view.destroyed.vm"),
        "allowuserviewalldomainaccounts": False,
        "customdiskofferingminsize": int(number("custom.diskoffering.size.min", 1)),
        "customdiskofferingmaxsize": int(number("custom.diskoffering.size.max", 1024)),
        "defaultuipagesize": int(number("default.ui.page.size", 20)),
        "kvmsnapshotenabled": _snapshots_of_running(cloud),
        "projectinviterequired": truth("project.invite.required"),
        "kubernetesserviceenabled": truth("cloud.kubernetes.service.enabled"),
        "kubernetesclusterexperimentalfeaturesenabled": truth("cloud.kubernetes.cluster.experimental.features.enabled"),
        "regionsecondaryenabled": False,
        "supportELB": "false",
    }
    return answers.single(request, shown)
