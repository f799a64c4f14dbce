# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose objects a caller sees and may change (sheet section 7; ``AccountManagerImpl``).

What belongs to a project belongs to its project account, of a type of its own, which nobody else's call may name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import errors

if TYPE_CHECKING:
    from ..store import Document, Table
    from .cloud import Cloud
    from .request import Request

# ``Account.Type.PROJECT``
PROJECT_TYPE = 5
EVERY_PROJECT = "-1"
ACTIVE = "Active"


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


def project_of(cloud: Cloud, account: str) -> Document | None:
    """The project behind an account, a deleted one too; None for the account of a person."""
    if cloud.accounts[account]["type"] != PROJECT_TYPE:
        return None
    return next(one for one in cloud.projects.values() if one["account"] == account)


def owner_shown(cloud: Cloud, account: str) -> dict[str, Any]:
    """How answers tell whose something is: by account, or by project; and the domain (``ApiResponseHelper.populateOwner``)."""
    document = cloud.accounts[account]
    domain, project = cloud.domains[document["domain"]], project_of(cloud, account)
    name = {"account": document["name"]} if project is None else {"project": project["name"], "projectid": project["id"]}
    return {**name, "domain": domain["name"], "domainid": domain["id"], **cloud.since("4.19.3", {"domainpath": domain["path"]})}


@dataclass(frozen=True)
class Scope:
    """What a listing is about (``buildACLSearchParameters``).

    ``accounts``: those whose objects it shows, None for all. ``domain``: the path of the one that has them, with those below it when
    ``deep``. ``projects``: True for objects of projects alone, False for all others alone, None for both.
    """

    cloud: Cloud
    accounts: frozenset[str] | None
    domain: str | None
    deep: bool
    projects: bool | None

    def kind_fits(self, document: Document) -> bool:
        return self.projects in (None, self.cloud.accounts[document["account"]]["type"] == PROJECT_TYPE)

    def names(self, document: Document) -> bool:
        """Whether it is one of the accounts, or of the domain."""
        if self.accounts is not None:
            return document["account"] in self.accounts
        if self.domain is None:
            return True
        path = self.cloud.domains[self.cloud.accounts[document["account"]]["domain"]]["path"]
        return path == self.domain or (self.deep and path.startswith(f"{self.domain}/"))

    def has(self, document: Document) -> bool:
        return self.kind_fits(document) and self.names(document)


def _listed_domain(request: Request) -> str | None:
    """The path of the domain that a listing asks for. Raises ServerError."""
    cloud, id = request.cloud, request.get("domainid")
    if id is None:
        return None
    if id not in cloud.domains:
        raise errors.invalid(f"Unable to find domain by id {id}")
    own, path = cloud.domains[request.caller.account["domain"]]["path"], cloud.domains[id]["path"]
    if not request.caller.is_root and not f"{path}/".startswith(f"{own}/"):
        raise errors.denied(f"Account {request.caller.account['name']} does not have permission to operate within domain id={id}")
    return path


def _listed_account(request: Request, name: str) -> str:
    """The account that a listing asks for, in the domain asked for or the caller's. Raises ServerError."""
    cloud = request.cloud
    domain = request.get("domainid") or request.caller.account["domain"]
    found = _account_named(cloud, name, domain)
    if found is None:
        raise errors.invalid(f"could not find account {name} in domain {domain}")
    if not reaches(request, found["id"]):
        raise errors.denied(f"Account {request.caller.account['name']} does not have permission to operate with the resource.")
    return found["id"]


def _account_named(cloud: Cloud, name: str, domain: str) -> Document | None:
    return next((one for one in cloud.living(cloud.accounts) if one["domain"] == domain and one["name"].lower() == name.lower()), None)


def _memberships(request: Request) -> set[str]:
    """The accounts of the projects that the caller is in. Here only the one who made a project is."""
    mine = request.caller.account["id"]
    return {one["account"] for one in request.cloud.living(request.cloud.projects) if one["owner"] == mine}


def scope(request: Request, *, id: str = "id", listall: bool = False) -> Scope:
    """What a listing shows: the caller's own, with listall also what others have, with account and domainid what these have.

    Objects of projects are left out unless the parameter ``id`` names the object, or projectid a project or all of them (-1: these
    alone, with listall everything). ``listall``: the command lists all in any case. Raises ServerError.
    """
    cloud, caller = request.cloud, request.caller
    project, name = request.get("projectid"), request.get("account")
    everything = listall or bool(request.get("listall"))
    path, deep = _listed_domain(request), bool(request.get("isrecursive"))
    if name is not None and project is not None:
        raise errors.invalid("Account and projectId can't be specified together")
    accounts = {_listed_account(request, name)} if name is not None else set()
    projects: bool | None = None
    if project == EVERY_PROJECT:
        projects = None if everything else True
        if not caller.is_root:
            accounts |= _memberships(request)
            if everything or not accounts:
                accounts.add(caller.account["id"])
    elif project is not None:
        accounts.add(_project(request)["account"])
    else:
        named = request.get(id) is not None
        projects = None if named else False
        if not accounts and path is None:
            if not named and not everything:
                accounts.add(caller.account["id"])
            elif not caller.is_root:
                path, deep = cloud.domains[caller.account["domain"]]["path"], True
    return Scope(cloud, frozenset(accounts) or None, path, deep, projects)


def _project(request: Request, name: str = "projectid") -> Document:
    """The project that a parameter names. Raises ServerError."""
    project = request.found(name, request.cloud.projects)
    if not reaches(request, project["account"]):
        raise errors.denied(f"Account {request.caller.account['name']} can't access project id={project['id']}")
    return project


def new_owner(request: Request) -> str:
    """The account that a new object belongs to: that of account and domainid, of the project, or the caller's. Raises ServerError."""
    name, domain = request.get("account"), request.get("domainid")
    if "projectid" in request.params:
        if name is not None and domain is not None:
            raise errors.invalid("ProjectId and account/domainId can't be specified together")
        project = _project(request)
        check_active(request.cloud, project["account"])
        return project["account"]
    if name is None:
        return request.caller.account["id"]
    if domain is None:
        raise errors.invalid("Account must be specified with domain id parameter")
    found = _account_named(request.cloud, name, domain)
    # Nobody makes anything for a project by the name of its account (``finalizeAccountId``)
    if found is None or found["type"] == PROJECT_TYPE:
        raise errors.invalid(f"Unable to find account {name} in domain {domain}")
    if not reaches(request, found["id"]):
        raise errors.denied(f"Account {request.caller.account['name']} does not have permission to operate with the resource.")
    return found["id"]


def check_active(cloud: Cloud, account: str) -> None:
    """Raises ServerError when the account is that of a project that is suspended: it gets nothing new."""
    project = project_of(cloud, account)
    if project is not None and project["state"] != ACTIVE:
        raise errors.denied(
            f"Can't add resources to the project with specified projectId in state={project['state']} as it's no longer active"
        )
