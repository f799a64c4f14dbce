# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Projects, as far as whose objects are whose (``ProjectManagerImpl``): no further members, invitations, roles and limits."""

from __future__ import annotations

from typing import Any

from ...store import Document
from .. import access, answers, errors, templates, vms
from ..answers import date
from ..cloud import Cloud
from ..ids import new_id
from ..plugin import snapshots as snapshot_driver
from ..plugin import volumes as volume_driver
from ..registry import command
from ..request import Request

ABOUT = ("Project", "id")
DISABLED, SUSPENDED = "Disabled", "Suspended"


def _shown(cloud: Cloud, project: Document) -> dict[str, Any]:
    domain, owner = cloud.domains[project["domain"]], cloud.accounts[project["owner"]]
    return {
        "id": project["id"],
        "name": project["name"],
        "displaytext": project["displaytext"],
        "state": project["state"],
        "domain": domain["name"],
        "domainid": domain["id"],
        "projectaccountname": cloud.accounts[project["account"]]["name"],
        "owner": [{"account": owner["name"]}],
        "created": date(project["created"]),
        "tags": [],
    }


def _project(request: Request) -> Document:
    project = request.found("id", request.cloud.projects)
    if not access.reaches(request, project["account"]):
        raise errors.denied(f"Account {request.caller.account['name']} does not have permission to operate with the resource.")
    return project


def _answer(request: Request, id: str) -> dict:
    return answers.single(request, _shown(request.cloud, request.cloud.projects[id]))


@command("listProjects", package="user.project")
def list_projects(request: Request) -> dict:
    """Without listall and domain those that the caller is in."""
    cloud, caller = request.cloud, request.caller
    domain, name = request.get("domainid"), request.get("account")
    if name is not None and domain is None:
        raise errors.invalid(f"could not find account {name} because domain is not specified")
    everything = request.get("listall") or domain is not None
    found = [
        one
        for one in cloud.living(cloud.projects)
        if access.reaches(request, one["account"])
        and (everything or one["owner"] == caller.account["id"])
        and (name is None or cloud.accounts[one["owner"]]["name"].lower() == name.lower())
        and (domain is None or request.get("isrecursive") or one["domain"] == domain)
        and request.matches(id=one["id"], name=one["name"], displaytext=one["displaytext"], state=one["state"])
        and request.has_keyword(one["name"], one["displaytext"])
    ]
    return answers.listing(request, found, lambda one: _shown(cloud, one))


def _create(request: Request) -> str:
    """Of the caller, or of account and domainid; with an account of its own. One name once in a domain."""
    cloud, params = request.cloud, request.params
    if ("account" in params) is not ("domainid" in params):
        raise errors.invalid("Account name and domain id must be specified together")
    owner = cloud.accounts[access.new_owner(request)]
    name = params["name"]
    if any(one["domain"] == owner["domain"] and one["name"].lower() == name.lower() for one in cloud.living(cloud.projects)):
        raise errors.invalid(f"Project with name {name} already exists in domain id={cloud.domains[owner['domain']]['dbid']}")
    account = cloud.add(
        "account",
        new_id(),
        name=f"PrjAcct-{name}-{cloud.domains[owner['domain']]['dbid']}",
        domain=owner["domain"],
        role="User",
        role_name="User",
        type=access.PROJECT_TYPE,
        state="enabled",
        key_access=False,
    )
    fields = {"name": name, "displaytext": params["displaytext"], "domain": owner["domain"], "owner": owner["id"]}
    return cloud.add("project", new_id(), **fields, account=account["id"], state=access.ACTIVE)["id"]


@command("createProject", create=_create, instance=("Project", ""), package="user.project")
def create_project(request: Request) -> dict:
    assert request.entity is not None
    return _answer(request, request.entity)


@command("activateProject", instance=ABOUT, package="user.project")
def activate_project(request: Request) -> dict:
    request.cloud.projects.change(_project(request)["id"], state=access.ACTIVE)
    return _answer(request, request.params["id"])


@command("suspendProject", instance=ABOUT, package="user.project")
def suspend_project(request: Request) -> dict:
    """Its VMs are stopped, and it gets nothing new."""
    cloud, project = request.cloud, _project(request)
    cloud.projects.change(project["id"], state=SUSPENDED)
    for vm in _of(cloud, "vm", project):
        if vm["host"]:
            vms.stop(cloud, vm)
    return _answer(request, project["id"])


def _of(cloud: Cloud, kind: str, project: Document) -> list[Document]:
    return [one for one in cloud.living(cloud.table(kind)) if one["account"] == project["account"]]


@command("deleteProject", instance=ABOUT, package="user.project")
def delete_project(request: Request) -> dict:
    """Snapshots go with it; one that has more than these only with cleanup."""
    cloud, project = request.cloud, _project(request)
    if not request.get("cleanup"):
        kinds = {"template": "VMTemplateVO", "vmsnapshot": "VMSnapshotVO", "vm": "UserVmVO", "volume": "VolumeVO"}
        for kind, entity in kinds.items():
            # Of volumes only those that are attached to nothing: the others are told with their VM
            kept = [one for one in _of(cloud, kind, project) if kind != "volume" or one["vm"] is None]
            if kept:
                raise errors.failure(f"Can't delete the project yet because it has {len(kept)} {entity} to clean up")
    cloud.projects.change(project["id"], state=DISABLED)
    for vm in _of(cloud, "vm", project):
        if vm["host"]:
            vms.stop(cloud, vm, forced=True)
        vms.expunge(cloud, cloud.vms[vm["id"]])
    for snapshot in _of(cloud, "snapshot", project):
        snapshot_driver.delete(cloud, snapshot, None)
    for volume in _of(cloud, "volume", project):
        volume_driver.expunge(cloud, cloud.volumes[volume["id"]])
    for template in _of(cloud, "template", project):
        templates.delete(cloud, template)
    now = cloud.world.clock.now()
    cloud.accounts.change(project["account"], removed=now)
    cloud.projects.change(project["id"], removed=now)
    return answers.success()
