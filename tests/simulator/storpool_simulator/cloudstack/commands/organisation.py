# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Domains, accounts, users."""

from __future__ import annotations

from typing import Any

from ...store import Document
from .. import access, answers
from ..answers import date
from ..cloud import Cloud
from ..registry import command
from ..request import Request


def _domains_seen(request: Request) -> set[str]:
    """Root admins see all, others their domain and what is below it."""
    domains = request.cloud.domains.values()
    if request.caller.is_root:
        return {domain["id"] for domain in domains}
    own = request.cloud.domains[request.caller.account["domain"]]["path"]
    return {domain["id"] for domain in domains if f"{domain['path']}/".startswith(f"{own}/")}


def _below(cloud: Cloud, domain: str, wanted: str | None, recursive: bool) -> bool:
    if wanted is None or domain == wanted:
        return True
    return recursive and f"{cloud.domains[domain]['path']}/".startswith(f"{cloud.domains[wanted]['path']}/")


def _domain_shown(cloud: Cloud, domain: Document) -> dict[str, Any]:
    parent = cloud.domains.get(domain["parent"]) if domain["parent"] else None
    return {
        "id": domain["id"],
        "name": domain["name"],
        "path": domain["path"],
        "level": domain["level"],
        "haschild": any(one["parent"] == domain["id"] for one in cloud.domains.values()),
        "parentdomainid": parent and parent["id"],
        "parentdomainname": parent and parent["name"],
        "state": "Active",
        "created": date(domain["created"]),
        "hasannotations": False,
    }


@command("listDomains", package="admin.domain")
def list_domains(request: Request) -> dict:
    """Without listall or a filter only the caller's own."""
    cloud, seen = request.cloud, _domains_seen(request)
    own = request.caller.account["domain"]
    everything = request.get("listall") or any(name in request.params for name in ("id", "name", "level", "keyword"))
    found = [
        domain
        for domain in cloud.living(cloud.domains)
        if domain["id"] in seen
        and (everything or domain["id"] == own)
        and request.matches(id=domain["id"], name=domain["name"], level=domain["level"])
        and request.has_keyword(domain["name"])
    ]
    return answers.listing(request, found, lambda domain: _domain_shown(cloud, domain))


def _account_shown(request: Request, account: Document) -> dict[str, Any]:
    cloud = request.cloud
    domain = cloud.domains[account["domain"]]
    users = [_user_shown(request, user) for user in cloud.living(cloud.users) if user["account"] == account["id"]]
    return {
        "id": account["id"],
        "name": account["name"],
        "accounttype": account["type"],
        "rolename": account["role_name"],
        "roletype": account["role"],
        "domain": domain["name"],
        "domainid": domain["id"],
        "domainpath": domain["path"],
        "state": account["state"],
        "created": date(account["created"]),
        "isdefault": account["dbid"] == 1,
        "iscleanuprequired": False,
        "groups": [],
        "user": users,
        **cloud.since("4.20.1", {"apikeyaccess": "INHERIT"}),
    }


def _wanted_account(request: Request, account: Document) -> bool:
    """listall, or a domain or an id, shows other accounts than the caller's own (sheet section 7). Those of projects are never shown."""
    if account["type"] == access.PROJECT_TYPE or account["domain"] not in _domains_seen(request):
        return False
    if not request.get("listall") and not any(name in request.params for name in ("domainid", "id", "name", "account")):
        return account["id"] == request.caller.account["id"]
    return _below(request.cloud, account["domain"], request.get("domainid"), bool(request.get("isrecursive")))


@command("listAccounts", package="user.account")
def list_accounts(request: Request) -> dict:
    cloud = request.cloud
    found = [
        account
        for account in cloud.living(cloud.accounts)
        if _wanted_account(request, account)
        and request.matches(id=account["id"], name=account["name"], accounttype=account["type"], state=account["state"])
        and request.has_keyword(account["name"])
    ]
    return answers.listing(request, found, lambda account: _account_shown(request, account))


def _user_shown(request: Request, user: Document) -> dict[str, Any]:
    """The secret is the user's own to see."""
    cloud = request.cloud
    account = cloud.accounts[user["account"]]
    domain = cloud.domains[account["domain"]]
    return {
        "id": user["id"],
        "username": user["name"],
        "firstname": user["name"],
        "lastname": "cloud",
        "state": user["state"],
        "account": account["name"],
        "accountid": account["id"],
        "accounttype": account["type"],
        "rolename": account["role_name"],
        "roletype": account["role"],
        "domain": domain["name"],
        "domainid": domain["id"],
        "apikey": user["key"],
        "created": date(user["created"]),
        "isdefault": user["dbid"] == 1,
        "iscallerchilddomain": domain["id"] != request.caller.account["domain"],
        "usersource": "native",
    }


@command("listUsers", package="admin.user")
def list_users(request: Request) -> dict:
    cloud = request.cloud
    found = [
        user
        for user in cloud.living(cloud.users)
        if _wanted_account(request, cloud.accounts[user["account"]])
        and request.matches(id=user["id"], username=user["name"], account=cloud.accounts[user["account"]]["name"], state=user["state"])
        and request.has_keyword(user["name"])
    ]
    return answers.listing(request, found, lambda user: _user_shown(request, user))
