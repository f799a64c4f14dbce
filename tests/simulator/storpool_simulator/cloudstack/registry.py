# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which functions carry out which commands."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass

from .facts import Facts
from .request import Request
from .work import Steps

# Of an asynchronous command it may be a generator (work.py)
Work = Callable[[Request], dict | Steps]
Check = Callable[[Request], None]
Create = Callable[[Request], str]

_MODULES = (
    *("discovery", "jobs", "infrastructure", "hosts", "organisation", "configuration", "pools", "outofband", "hostha", "events"),
    *("templates", "details", "offerings", "volumes", "vms", "tags", "snapshots", "policies", "vmsnapshots", "migration", "projects"),
)


@dataclass(frozen=True)
class Deed:
    """`work` gives the content of the answer, or of the job's result; `check` runs before the job exists, so its errors are HTTP errors.

    `create` runs then too: it makes the object of a command that answers with the new id, which `work` finds in `request.entity`.
    """

    work: Work
    check: Check | None
    create: Create | None
    # What a job is about: its jobinstancetype and the parameter that names it; for a new object its id stands for the parameter
    instance: tuple[str, str] | None
    # The Java package of the command, below org.apache.cloudstack.api.command
    package: str


_DEEDS: dict[str, Deed] = {}


def command(
    name: str,
    *,
    check: Check | None = None,
    create: Create | None = None,
    instance: tuple[str, str] | None = None,
    package: str = "admin",
) -> Callable[[Work], Work]:
    def mark(work: Work) -> Work:
        _DEEDS[name] = Deed(work, check, create, instance, package)
        return work

    return mark


def deeds(facts: Facts) -> dict[str, Deed]:
    """What the simulator carries out in this release."""
    for module in _MODULES:
        importlib.import_module(f".commands.{module}", __package__)
    return {name: deed for name, deed in _DEEDS.items() if name in facts.commands}
