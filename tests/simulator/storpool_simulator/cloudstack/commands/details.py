# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Resource details of pools, offerings and others (plugin sheet 5.7, sheet section 8)."""

from __future__ import annotations

from ...store import Document, Table
from .. import answers, errors, storage
from ..cloud import Cloud
from ..registry import command
from ..request import Request

POOL = "Storage"
# Resource types with details here, and the tables of their objects
TABLES = {
    POOL: "pool",
    "DiskOffering": "diskoffering",
    "ServiceOffering": "serviceoffering",
    "Template": "template",
    "Volume": "volume",
    "UserVm": "vm",
}


def _kind(request: Request) -> str:
    wanted = request.params["resourcetype"]
    kind = next((one for one in TABLES if one.lower() == wanted.lower()), None)
    if kind is None:
        raise errors.ServerError(request.cloud.assume.unsupported_command_status, f"the simulator has no resource details of {wanted}")
    return kind


def _table(request: Request) -> Table:
    return request.cloud.table(TABLES[_kind(request)])


def _found(request: Request, id: str) -> Document:
    """The object that a resource detail is about, by id or internal number."""
    table = _table(request)
    document = table.get(id) or next((one for one in table.values() if str(one["dbid"]) == id), None)
    if document is None or document["removed"] is not None:
        raise errors.invalid(f"Unable to find resource by id {id} and type {_kind(request)}")
    return document


def _of(cloud: Cloud, kind: str, document: Document) -> dict[str, str]:
    return storage.details(cloud, document) if kind == POOL else document.get("details") or {}


@command("listResourceDetails", package="user.volume")
def list_resource_details(request: Request) -> dict:
    """Admins also see details that are not for display, the token of a pool among them (sheet section 8)."""
    cloud, id = request.cloud, request.get("resourceid")
    if id is None and (request.get("key") is None or request.get("value") is None):
        raise errors.ServerError(431, "Please specify either resource id or key/value")
    kind = _kind(request)
    owners = [_found(request, id)] if id is not None else cloud.living(_table(request))
    found = [
        {"resourceid": one["id"], "resourcetype": kind, "key": key, "value": value, "fordisplay": key not in one.get("hidden", ())}
        for one in owners
        for key, value in _of(cloud, kind, one).items()
        if request.get("key") in (None, key) and request.get("value") in (None, value)
    ]
    return answers.listing(request, [one for one in found if request.get("fordisplay") in (None, one["fordisplay"])])


@command("addResourceDetail", package="admin.volume")
def add_resource_detail(request: Request) -> dict:
    """One that is there already gets the new value."""
    owner = _found(request, request.params["resourceid"])
    given = request.params["details"]
    empty = [key for key, value in given.items() if not value]
    if empty:
        raise errors.invalid(f"Value for key {empty[0]} can't be empty")
    hidden = [key for key in owner.get("hidden", ()) if key not in given]
    hidden += [] if request.get("fordisplay", True) else list(given)
    _table(request).change(owner["id"], details={**(owner.get("details") or {}), **given}, hidden=hidden)
    return answers.success()


@command("removeResourceDetail", package="admin.volume")
def remove_resource_detail(request: Request) -> dict:
    """Without a key all of them."""
    owner, key = _found(request, request.params["resourceid"]), request.get("key")
    kept = {} if key is None else {name: value for name, value in (owner.get("details") or {}).items() if name != key}
    _table(request).change(owner["id"], details=kept)
    return answers.success()
