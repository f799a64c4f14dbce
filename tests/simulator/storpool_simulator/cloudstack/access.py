# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose objects a caller sees and may change (sheet section 7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import errors

if TYPE_CHECKING:
    from ..store import Document, Table
    from .request import Request


def reaches(request: Request, account: str) -> bool:
    """Whether the caller may act on what is that account's: root admins reach all, others their domain and what is below it."""
    cloud, caller = request.cloud, request.caller
    if caller.is_root or account == caller.account["id"]:
        return True
    own = cloud.domains[caller.account["domain"]]["path"]
    return f"{cloud.domains[cloud.accounts[account]['domain']]['path']}/".startswith(f"{own}/")


def own(request: Request, name: str, table: Table, *, shared: bool = False) -> Document:
    """The object that a parameter names, if the caller may change it (`shared`: or use it). Raises ServerError."""
    document = request.found(name, table)
    if not (shared and document.get("public")) and not reaches(request, document["account"]):
        raise errors.denied(f"Account {request.caller.account['name']} does not have permission to operate with the resource.")
    return document


def owned(request: Request, document: Document, *, shared: bool = False) -> bool:
    """Whether a listing shows the object: the caller's own, with listall also those of others, with account and domainid theirs.

    `shared`: it may be seen by anybody.
    """
    cloud, caller = request.cloud, request.caller
    if request.get("projectid") not in (None, "-1"):
        return False
    domain, name = request.get("domainid"), request.get("account")
    account = cloud.accounts[document["account"]]
    if domain is not None and domain not in cloud.domains:
        return False  # -1, which is no domain
    if name is not None and domain is not None:
        return reaches(request, account["id"]) and account["domain"] == domain and account["name"].lower() == name.lower()
    if domain is not None:
        wanted, path = cloud.domains[domain]["path"], cloud.domains[account["domain"]]["path"]
        inside = account["domain"] == domain or (request.get("isrecursive") and f"{path}/".startswith(f"{wanted}/"))
        return reaches(request, account["id"]) and bool(inside)
    if shared or "id" in request.params or "ids" in request.params or request.get("listall"):
        return shared or reaches(request, account["id"])
    return account["id"] == caller.account["id"]


def new_owner(request: Request) -> str:
    """The account that a new object belongs to: that of account and domainid, or the caller's. Raises ServerError."""
    name, domain = request.get("account"), request.get("domainid")
    if "projectid" in request.params:
        raise errors.invalid("Unable to find project by id")
    if name is None:
        return request.caller.account["id"]
    if domain is None:
        raise errors.invalid("Account must be specified with domain id parameter")
    cloud = request.cloud
    found = [one for one in cloud.living(cloud.accounts) if one["domain"] == domain and one["name"].lower() == name.lower()]
    if not found:
        raise errors.invalid(f"Unable to find account {name} in domain {domain}")
    if not reaches(request, found[0]["id"]):
        raise errors.denied(f"Account {request.caller.account['name']} does not have permission to operate with the resource.")
    return found[0]["id"]
