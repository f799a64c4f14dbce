# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults on demand: which call, how often, and what goes wrong."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

HELD_LOOK = 0.005  # seconds between two looks whether a fault that holds a call is still there

# kind -> the fields it takes besides those of every fault; a default of ... has to be given
KINDS: dict[str, dict[str, Any]] = {
    "transient": {"name": "transientError", "descr": "a fault on demand", "status": None},
    "error": {"name": ..., "descr": "a fault on demand", "status": None},
    "delay": {"seconds": ...},
    "held": {},
    "cut_before": {},
    "cut_after": {},
    "bad_json": {},
    "truncated": {},
    "slow_body": {"seconds": ...},
    "status": {"status": ..., "body": "<html><body><h1>A fault on demand</h1></body></html>"},
    "client_down": {"client": ...},
    # Of CloudStack's asynchronous commands
    "job_fails": {"code": 530, "text": "a fault on demand"},
    "job_lost": {"effect": True},
    "job_slow": {"polls": ...},
    # Of commands to CloudStack's hosts; `call` is the name of the command to the host
    "host_fails": {"text": "a fault on demand"},
    "host_slow": {"seconds": ...},
    "host_held": {},
}
JOB_KINDS = frozenset(kind for kind in KINDS if kind.startswith("job_"))
HOST_KINDS = frozenset(kind for kind in KINDS if kind.startswith("host_"))
COMMON = {"call": "*", "skip": 0, "count": 1, "object": None, "cluster": None, "plugin": None}


@dataclass
class Fault:
    id: int
    kind: str
    call: str = "*"
    skip: int = 0
    count: int = 1
    object: str | None = None
    cluster: str | None = None
    plugin: bool | None = None
    more: dict[str, Any] = field(default_factory=dict)
    hits: int = 0

    def matches(self, cluster: str, call: str, write: bool, objects: set[str], plugin: bool = False) -> bool:
        if self.call not in ("*", call, "write" if write else "read"):
            return False
        if self.plugin is not None and self.plugin is not plugin:
            return False
        return (self.cluster is None or self.cluster == cluster) and (self.object is None or self.object in objects)

    def shown(self) -> dict:
        common = {key: getattr(self, key) for key in ("id", "kind", "call", "skip", "count", "object", "cluster", "plugin", "hits")}
        return {**common, **self.more}


class Faults:
    def __init__(self) -> None:
        self._faults: dict[int, Fault] = {}
        self._last = 0

    def __bool__(self) -> bool:
        return bool(self._faults)

    def add(self, wish: dict) -> int:
        """Raises ValueError when the wish is not one of README's faults."""
        kind = wish.get("kind")
        if kind not in KINDS:
            raise ValueError(f"kind is one of {', '.join(KINDS)}, not {kind!r}")
        unknown = wish.keys() - COMMON.keys() - KINDS[kind].keys() - {"kind"}
        if unknown:
            raise ValueError(f"a fault of kind {kind} has no {', '.join(sorted(unknown))}")
        more = {key: wish.get(key, default) for key, default in KINDS[kind].items()}
        absent = [key for key, value in more.items() if value is ...]
        if absent:
            raise ValueError(f"a fault of kind {kind} needs {', '.join(absent)}")
        self._last += 1
        common = {key: wish.get(key, default) for key, default in COMMON.items()}
        self._faults[self._last] = Fault(id=self._last, kind=kind, more=more, **common)
        return self._last

    def take(
        self, cluster: str, call: str, write: bool, objects: set[str], job: bool = False, host: bool = False, plugin: bool = False
    ) -> Fault | None:
        """The fault for this call; every matching fault counts it, the first that is due acts.

        `job`: the call begins one; `host`: it is a command to a host, for which there are faults of their own; `plugin`: CloudStack's
        plugin makes it.
        """
        acting = None
        for fault in self._faults.values():
            if not fault.matches(cluster, call, write, objects, plugin) or (fault.kind in HOST_KINDS) is not host:
                continue
            if fault.kind in JOB_KINDS and not job:
                continue
            if fault.skip > 0:
                fault.skip -= 1
            elif fault.count != 0 and acting is None:
                if fault.count > 0:
                    fault.count -= 1
                fault.hits += 1
                acting = fault
        return acting

    def is_there(self, number: int) -> bool:
        """Whether nobody has removed it; one that has acted as often as it should is still there."""
        return number in self._faults

    async def hold(self, fault: Fault) -> None:
        """Until somebody has removed it."""
        while self.is_there(fault.id):
            await asyncio.sleep(HELD_LOOK)

    def remove(self, number: int) -> bool:
        return self._faults.pop(number, None) is not None

    def clear(self) -> None:
        self._faults.clear()

    def shown(self) -> list[dict]:
        return [fault.shown() for fault in self._faults.values()]
