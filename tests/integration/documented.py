# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Holds results to what the modules' documentation says of them (RETURN). Every result of the fixture `run_module` is.

A member that is not documented, or one that is documented to be there always and is not, is a difference. The members of a dictionary are
documented by `contains`; where there is none, by the sample, or by their names in the description, as C(name).
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import yaml

# What Ansible itself knows of results.
OF_ANSIBLE = {"changed", "deprecations", "diff", "exception", "failed", "invocation", "msg", "warnings"}
# Dictionaries whose members are the users' or the servers': tags, what retention keeps, the parts of an error.
FREE = {"details", "error", "ha_states", "ignored", "kept", "held", "reasons", "tags", "warnings", "cluster_ids"}
ALWAYS_WHOLE = {"object", "api", "summary"}  # a form with other members than the sample's has its own


@cache
def documented(module: str) -> dict[str, Any]:
    return yaml.safe_load(importlib.import_module(f"ansible_collections.storpool.cloudstack.plugins.modules.{module}").RETURN)


def undocumented(module: str, result: dict[str, Any]) -> list[str]:
    """Return where a result is not what RETURN says."""
    return list(_members(documented(module), result, "", OF_ANSIBLE, failed=bool(result.get("failed"))))


def _members(docs: dict[str, Any], found: dict[str, Any], where: str, also: set[str] = frozenset(), failed: bool = False) -> Iterator[str]:
    yield from (f"{where}{key} is not documented" for key in sorted(found.keys() - docs.keys() - also))
    failed = failed or bool(found.get("failed"))
    for key, doc in docs.items():
        if key in found:
            yield from _value(key, doc, found[key], f"{where}{key}")
        elif doc["returned"] in ("always", "success") and not failed:
            yield f"{where}{key} is documented to be there: {doc['returned']}"


def _value(key: str, doc: dict[str, Any], value: Any, where: str) -> Iterator[str]:
    if isinstance(value, list):
        for one in value:
            yield from _value(key, doc, one, f"{where}[]")
    elif isinstance(value, dict) and "contains" in doc:
        yield from _members(doc["contains"], value, f"{where}.")
    elif isinstance(value, dict) and key not in FREE:
        sample = doc["sample"]
        sample = sample[0] if isinstance(sample, list) and sample else sample
        told = set(re.findall(r"C\((\w+)\)", str(doc["description"])))
        yield from _sampled(key, sample if isinstance(sample, dict) else {}, told, value, where)


def _sampled(key: str, sample: dict[str, Any], told: set[str], value: dict[str, Any], where: str) -> Iterator[str]:
    yield from (f"{where}.{name} is neither in the sample nor in the description" for name in sorted(value.keys() - sample.keys() - told))
    if key in ALWAYS_WHOLE and value.keys() <= sample.keys():
        yield from (f"{where}.{name} is in the sample only" for name in sorted(sample.keys() - value.keys()))
    for name, inner in value.items():
        if isinstance(inner, dict) and isinstance(sample.get(name), dict) and name not in FREE:
            yield from _sampled(name, sample[name], told, inner, f"{where}.{name}")
