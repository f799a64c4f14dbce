# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a call is: its table, its checks, its function."""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .. import tables

if TYPE_CHECKING:
    from ..cluster import Cluster
    from ..world import World

# gone() tells whether the client has hung up
Wait = Callable[[Callable[[], bool]], Awaitable[Any]]


class Encoded(bytes):
    """An answer that is encoded already, from objects that were checked when they changed."""


@dataclass
class Context:
    """One call on one cluster. `multi`: it came by MultiCluster/; `scope` are the clusters a listing covers."""

    world: World
    cluster: Cluster
    multi: bool = False
    scope: list[Cluster] = field(default_factory=list)
    # Set by a call whose answer comes later than its effect; what it returns replaces the data when it is not None.
    wait: Wait | None = None


@dataclass
class Call:
    query: str
    write: bool
    multi: bool
    arguments: list[tuple[str, tables.Check]]
    request: tables.Check | None
    # A body may be left out
    optional: bool
    response: tables.Check
    tells_generation: bool
    # None: the simulator does not have the call
    function: Callable[..., Any] | None
    # Where a multi-cluster call goes: (arguments, body) -> names of the volumes or snapshots it is about
    subjects: Callable[[list, Any], list[str]] | None


_FUNCTIONS: dict[tuple[bool, str], tuple[Callable[..., Any], Any]] = {}
_MODULES = ("volumes", "snapshots", "attachments", "templates", "services", "remote", "multicluster", "maintenance", "kvs")


def _register(write: bool, query: str, subjects: Any) -> Callable:
    def mark(function: Callable[..., Any]) -> Callable[..., Any]:
        _FUNCTIONS[(write, query)] = (function, subjects)
        return function

    return mark


def first_argument(arguments: list, body: Any) -> list[str]:
    return arguments[:1]


def read(query: str, subjects: Any = None) -> Callable:
    """A GET call; the function takes the context and the path's arguments and returns the data."""
    return _register(False, query, subjects)


def change(query: str, subjects: Any = None) -> Callable:
    """A POST call; the function also takes the body and returns fields besides `ok` and `generation`."""
    return _register(True, query, subjects)


class Calls:
    def __init__(self) -> None:
        for module in _MODULES:
            importlib.import_module(f".{module}", __package__)
        known = tables.load()
        self._calls: dict[tuple[bool, str], Call] = {}
        for entry in known.calls:
            key = (entry["http"] == "POST", entry["query"])
            if key in self._calls:
                continue  # VolumeAbandonDisk serves volumes and snapshots under one path
            function, subjects = _FUNCTIONS.get(key, (None, None))
            request = entry["request"]
            self._calls[key] = Call(
                query=entry["query"],
                write=key[0],
                multi=entry["multiCluster"],
                arguments=[(argument["name"], known.check(argument["schema"], strict=False)) for argument in entry["pathArgs"]],
                request=known.check(request, strict=False) if request else None,
                optional=request is None or request["kind"] == "optional",
                response=known.check(entry["response"], strict=True),
                tells_generation=known.has_field(entry["response"], "generation"),
                function=function,
                subjects=subjects,
            )
        strangers = _FUNCTIONS.keys() - self._calls.keys()
        assert not strangers, f"calls without a table: {sorted(strangers)}"

    def get(self, write: bool, query: str) -> Call | None:
        return self._calls.get((write, query))

    def supported(self) -> list[Call]:
        return [call for call in self._calls.values() if call.function is not None]
