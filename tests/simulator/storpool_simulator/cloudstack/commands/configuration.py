# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings: listConfigurations, updateConfiguration, resetConfiguration (plugin sheet 1.2; ``ConfigurationManagerImpl``)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from .. import answers, errors
from ..cloud import Cloud
from ..parameters import INT_MAX, LONG_MAX
from ..registry import command
from ..request import Request
from ..settings import HIDDEN, Setting
from . import events

# Parameter -> scope; the image store's has two names
SCOPES = {
    "zoneid": "Zone",
    "clusterid": "Cluster",
    "accountid": "Account",
    "domainid": "Domain",
    "storageid": "StoragePool",
    "imagestoreuuid": "ImageStore",
    "imagestoreid": "ImageStore",
}
# Scope -> the table of its objects
OWNERS = {"Zone": "zone", "Cluster": "cluster", "Account": "account", "Domain": "domain", "StoragePool": "pool", "ImageStore": "store"}
GROUP, SUBGROUP = "Miscellaneous", "Others"
UNSCOPED_DOMAIN_ADMIN = ("accountid", "domainid")
_FLOAT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?[fFdD]?\Z")


def _scope(request: Request) -> tuple[str, str] | None:
    """(scope, id of its object); domain admins always ask within their domain."""
    given = [(scope, request.params[name]) for name, scope in SCOPES.items() if name in request.params]
    if not request.caller.is_root and not any(name in request.params for name in UNSCOPED_DOMAIN_ADMIN):
        given.append(("Domain", request.caller.account["domain"]))
    if len(given) > 1:
        raise errors.invalid("cannot handle multiple IDs, provide only one ID corresponding to the scope")
    return given[0] if given else None


def _shown(cloud: Cloud, setting: Setting, value: str | None, scope: str | None) -> dict[str, Any]:
    """The scope is told only when it was asked for by an id, and in lower case (``ListCfgsByCmd.setScope``)."""
    shown_scope = scope.lower() if scope is not None else setting.scope if cloud.assume.setting_scope_shown == "always" else None
    return {
        "name": setting.name,
        "category": setting.category,
        "component": setting.component,
        "group": GROUP,
        "subgroup": SUBGROUP,
        "description": setting.words,
        "displaytext": setting.words,
        "type": setting.value_type,
        "isdynamic": setting.dynamic,
        "defaultvalue": setting.default,
        "value": cloud.settings.shown(setting, value),
        "scope": shown_scope,
    }


@command("listConfigurations", package="admin.config")
def list_configurations(request: Request) -> dict:
    cloud, scope = request.cloud, _scope(request)
    for name, known in (("group", GROUP), ("subgroup", SUBGROUP)):
        if request.get(name) is not None and not request.same(name, known):
            raise errors.invalid(f"Invalid configuration {name}: {request.get(name)}")
    found = [
        setting
        for setting in cloud.settings.known.values()
        if setting.category != HIDDEN
        and (scope is None or setting.scope == scope[0])
        and _is_named(request, setting)
        and request.same("category", setting.category)
        and request.get("parent") is None
        and request.has_keyword(setting.name, "DEFAULT", setting.component, setting.words, setting.category, cloud.settings.value(setting))
    ]

    def view(setting: Setting) -> dict[str, Any]:
        if scope is None:
            return _shown(cloud, setting, cloud.settings.value(setting), None)
        return _shown(cloud, setting, cloud.settings.effective(setting, scope[1]), scope[0])

    # With a scope the count is the length of the page (sheet section 7).
    return answers.listing(request, found, view, count="all" if scope is None else "page")


def _is_named(request: Request, setting: Setting) -> bool:
    name = request.get("name")
    if name is None:
        return True
    if request.cloud.assume.setting_name_match == "exact":
        return request.same("name", setting.name)
    return name.lower() in setting.name.lower()


def _known(request: Request) -> Setting:
    name = request.params["name"]
    setting = request.cloud.settings.find(name)
    if setting is None:
        raise errors.invalid(f"Config parameter with name {name} doesn't exist")
    return setting


def _check_scope(cloud: Cloud, setting: Setting, scope: tuple[str, str] | None) -> None:
    """The setting has that scope, and the object is there."""
    if scope is None:
        return
    if setting.scope != scope[0]:
        raise errors.invalid(f"Invalid scope id provided for the parameter {setting.name}")
    kind = OWNERS[scope[0]]
    owner = cloud.table(kind).get(scope[1])
    if owner is None or owner["removed"] is not None:
        raise errors.invalid(f"unable to find {kind} by id {scope[1]}")


def _is_number(text: str, most: int) -> bool:
    return bool(re.match(r"[+-]?[0-9]{1,19}\Z", text)) and -most - 1 <= int(text) <= most


# Which texts the class of a setting takes, and what it is called in the refusal; other classes take anything.
NUMBERS: dict[str, tuple[str, Callable[[str], bool]]] = {
    "Integer": ("integer", lambda text: _is_number(text, INT_MAX)),
    "Long": ("long", lambda text: _is_number(text, LONG_MAX)),
    "Float": ("float", lambda text: bool(_FLOAT.match(text))),
}


def _check_value(setting: Setting, value: str | None) -> None:
    if setting.type in NUMBERS:
        kind, fits = NUMBERS[setting.type]
        if value is None or not fits(value):
            shown = "null" if value is None else value
            raise errors.invalid(
                f"There was error in trying to parse value: {shown}. Please enter a valid {kind} value for parameter {setting.name}"
            )
    if setting.type == "Boolean" and value not in ("true", "false"):
        raise errors.invalid("Please enter either 'true' or 'false'.")


@command("updateConfiguration", package="admin.config")
def update_configuration(request: Request) -> dict:
    """No value: just the row. An empty one, or "null", clears; in a scope it stays as the empty text. The answer echoes what was asked."""
    cloud, setting, asked = request.cloud, _known(request), request.get("value")
    if asked is None:
        return answers.single(request, _shown(cloud, setting, cloud.settings.value(setting), None))
    scope = _scope(request)
    value: str | None = asked.strip()
    if value in ("", "null"):
        value = None if scope is None else ""
    _check_scope(cloud, setting, scope)
    _check_value(setting, value)
    cloud.settings.store(setting, value, scope and scope[1])
    told = "*****" if setting.encrypted else asked
    events.record(
        request, events.SETTING_CHANGED, f"Successfully completed updating configuration.  Name: {setting.name} New Value: {told}"
    )
    return answers.single(request, _shown(cloud, setting, asked, scope and scope[0]))


@command("resetConfiguration", package="admin.config")
def reset_configuration(request: Request) -> dict:
    """Back to the value above it, or to the default."""
    cloud, setting, scope = request.cloud, _known(request), _scope(request)
    if scope is None:
        cloud.settings.forget(setting)
        value = cloud.settings.value(setting)
    else:
        _check_scope(cloud, setting, scope)
        cloud.settings.forget(setting, scope[1])
        value = cloud.settings.effective(setting, scope[1])
    # Nothing in it tells which setting it was (``ConfigurationManagerImpl.resetConfiguration`` sets no details).
    events.record(request, events.SETTING_CHANGED, "Successfully completed resetting configuration")
    return answers.single(request, _shown(cloud, setting, value, scope and scope[0]))
