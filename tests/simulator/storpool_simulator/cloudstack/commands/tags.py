# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Resource tags; vc-policy of a VM goes on to its volumes on StorPool (plugin sheet 5.1; ``TaggedResourceManagerImpl``)."""

from __future__ import annotations

from ...store import Document
from .. import access, answers, errors, resource_tags
from ..plugin import tags, volumes
from ..registry import command
from ..request import Request

USER_VM = "UserVm"


def _kind(request: Request) -> str:
    wanted = request.params["resourcetype"]
    kind = next((one for one in resource_tags.TABLES if one.lower() == wanted.lower()), None)
    if kind is None:
        raise errors.invalid(f"Invalid resource type: {wanted}")
    return kind


def _objects(request: Request, kind: str) -> list[Document]:
    table, found = request.cloud.table(resource_tags.TABLES[kind]), []
    for id in request.params["resourceids"]:
        document = table.get(id) or next((one for one in table.values() if str(one["dbid"]) == id), None)
        if document is None or document["removed"] is not None:
            raise errors.invalid(f"Unable to find resource by id {id} and type {kind}")
        if "account" in document and not access.reaches(request, document["account"]):
            raise errors.denied(f"Account {request.caller.account['name']} does not have permission to operate with the resource.")
        found.append(document)
    return found


def _check(request: Request) -> None:
    _objects(request, _kind(request))


@command("createTags", check=_check, package="user.tag")
def create_tags(request: Request) -> dict:
    """A key that an object has already is refused."""
    cloud, kind = request.cloud, _kind(request)
    wanted = request.params["tags"]
    objects = _objects(request, kind)
    for one in objects:
        for key, value in wanted.items():
            if not value:
                raise errors.invalid(f"Value for the key {key} is either null or empty")
            if resource_tags.value(cloud, kind, one["id"], key) is not None:
                raise errors.failure(f"tag {key} already on {kind} with id {one['id']}")
            own = request.caller.account["id"]
            resource_tags.put(cloud, kind, one["id"], key, value, one.get("account") or own, own)
    if kind == USER_VM and tags.POLICY in wanted:
        for one in objects:
            volumes.set_policy(cloud, one["id"], wanted[tags.POLICY])
    return answers.success()


@command("deleteTags", check=_check, package="user.tag")
def delete_tags(request: Request) -> dict:
    """Those of the keys, where a value is given with that value; without keys all. A user may not delete what an admin set."""
    cloud, kind = request.cloud, _kind(request)
    wanted = request.get("tags")
    objects = _objects(request, kind)
    going = [
        row
        for one in objects
        for row in resource_tags.of(cloud, kind, one["id"])
        if not wanted or (row["key"] in wanted and wanted[row["key"]] in ("", row["value"]))
    ]
    if not going:
        raise errors.invalid("Unable to find any tags which conform to specified delete parameters.")
    for row in going:
        if not access.reaches(request, row["by"]):
            raise errors.denied(f"Account {request.caller.account['name']} does not have permission to operate with the resource.")
        resource_tags.drop(cloud, kind, row["id"], row["key"])
    for row in going:
        if kind == USER_VM and row["key"] == tags.POLICY:
            volumes.set_policy(cloud, row["id"], None)
    return answers.success()


@command("listTags", package="user.tag")
def list_tags(request: Request) -> dict:
    cloud, scope = request.cloud, access.scope(request)
    found = [
        row
        for row in cloud.tags.rows.values()
        if scope.has(row)
        and request.matches(key=row["key"], value=row["value"], resourceid=row["id"])
        and request.get("resourcetype", row["kind"]).lower() == row["kind"].lower()
        and request.get("customer") is None
        and request.has_keyword(row["key"], row["value"])
    ]
    return answers.listing(request, found, lambda row: resource_tags.row_shown(cloud, row))
