# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshot policies (plugin sheet 5.5)."""

from __future__ import annotations

from .. import access, answers, errors, policies, resource_tags
from ..plugin import copying
from ..registry import command
from ..request import Request


@command("createSnapshotPolicy", package="user.snapshot")
def create_snapshot_policy(request: Request) -> dict:
    """For a volume that has a policy of that interval it changes this one."""
    cloud, params = request.cloud, request.params
    volume = access.own(request, "volumeid", cloud.volumes)
    interval = params["intervaltype"].upper()
    policies.check(cloud, volume, interval, params)
    zones, replicate = copying.target_zones(cloud, params.get("zoneids", [])), params.get("usestoragereplication", False)
    copying.refuse_without_backup(cloud, zones, replicate)
    fields = {
        "schedule": params["schedule"],
        "timezone": params["timezone"],
        "maxsnaps": params["maxsnaps"],
        "display": params.get("fordisplay", True),
        "zones": zones,
        "pools": copying.target_pools(cloud, zones, params.get("storageids", []), replicate),
    }
    policy = policies.declare(cloud, volume, interval, fields)
    for key, value in params.get("tags", {}).items():
        resource_tags.put(cloud, "SnapshotPolicy", policy["id"], key, value, volume["account"])
    return answers.single(request, policies.shown(cloud, policy))


@command("updateSnapshotPolicy", instance=("SnapshotPolicy", "id"), package="user.snapshot")
def update_snapshot_policy(request: Request) -> dict:
    cloud = request.cloud
    if "id" not in request.params:
        raise errors.invalid("Unable to find snapshot policy by id null")
    policy = access.own(request, "id", cloud.policies)
    if "fordisplay" in request.params:
        policy = cloud.policies.change(policy["id"], display=request.params["fordisplay"])
    return answers.single(request, policies.shown(cloud, policy))


@command("listSnapshotPolicies", package="user.snapshot")
def list_snapshot_policies(request: Request) -> dict:
    """Of one volume, or one policy; from 4.22 on also of all volumes.

    Then the command has listall, account and projectid like other listings, and is taken to go by them also where a volume is named
    (the sheet does not say so).
    """
    cloud, params = request.cloud, request.params
    scope = access.scope(request) if cloud.traits.lists_all_policies else None
    if "volumeid" in params:
        access.own(request, "volumeid", cloud.volumes)
    elif "id" not in params and not cloud.traits.lists_all_policies:
        raise errors.invalid("Unable to find a volume with id null")
    found = [
        one
        for one in cloud.living(cloud.policies)
        if request.matches(id=one["id"], volumeid=one["volume"], fordisplay=one["display"])
        and (scope.has(cloud.volumes[one["volume"]]) if scope is not None else access.reaches(request, one["account"]))
        and request.has_keyword(one["schedule"])
    ]
    return answers.listing(request, found, lambda one: policies.shown(cloud, one))


@command("deleteSnapshotPolicies", package="user.snapshot")
def delete_snapshot_policies(request: Request) -> dict:
    cloud, params = request.cloud, request.params
    ids = params.get("ids") or ([params["id"]] if params.get("id") else None)
    if ids is None:
        raise errors.invalid("No policy id (or list of ids) specified.")
    for id in ids:
        policy = cloud.policies.get(id)
        if policy is None or policy["removed"] is not None:
            raise errors.invalid(f"Policy id given: {id} does not exist")
        if not access.reaches(request, policy["account"]):
            raise errors.denied(f"Account {request.caller.account['name']} does not have permission to operate with the resource.")
    for id in ids:
        policies.drop(cloud, cloud.policies[id])
    return answers.success()
