# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""One run of the benchmark: how big, against which servers, what was found."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contest import Arena, Contender, Row, ratio
from grounds import StandIn, Zone

HERE = Path(__file__).resolve().parent
BIN = Path(sys.executable).parent
CALLS = ("reads", "writes", "connections")


@dataclass(frozen=True)
class Goal:
    """What is asked for and what was reached; less is better unless `at_least`."""

    title: str
    reached: float
    limit: float
    unit: str = "x"
    at_least: bool = False

    @property
    def met(self) -> bool:
        return self.reached >= self.limit if self.at_least else self.reached <= self.limit

    @property
    def wanted(self) -> str:
        return f"{'at least' if self.at_least else 'within'} {self.limit:g}{self.unit}"

    def as_dict(self) -> dict[str, Any]:
        return {"title": self.title, "reached": round(self.reached, 3), "unit": self.unit.strip(), "wanted": self.wanted, "met": self.met}


@dataclass
class Bench:
    """What rows are made with. `settings` are those of the zone that rows declare, with the values that they have."""

    arena: Arena
    server: StandIn
    zone: Zone
    hetzner: StandIn
    proxmox: StandIn
    sizes: Sequence[int]
    growth: Sequence[int]
    looped: int
    rounds: int
    latencies: Sequence[float]
    only: re.Pattern
    settings: dict[str, str]
    small: bool
    groups: list[dict[str, Any]] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)

    BASE = "a play with no task"

    def wants(self, identity: str) -> bool:
        """Tell whether a group was asked for."""
        return bool(self.only.search(identity))

    # -- contenders

    def playbook(
        self,
        name: str,
        tasks: list[dict[str, Any]],
        prepare: Callable[[], Any] | None = None,
        ground: StandIn | Zone | None = None,
        *,
        kind: str = "ours",
        module: bool = False,
        memory: bool = False,
    ) -> Contender:
        """Return a play; `module` has our tasks run as ordinary modules instead of in the controller's worker."""
        path = self.arena.directory / f"{re.sub('[^a-z0-9]+', '-', name.lower())}.json"
        play = {"name": "Bench", "hosts": "localhost", "gather_facts": False, "vars": {"storpool_in_process": not module}, "tasks": tasks}
        path.write_text(json.dumps([play]), encoding="utf-8")
        command = [str(BIN / "ansible-playbook"), str(path)]
        return self._contender(name, "module" if module else kind, command, prepare, ground, memory)

    def both_ways(
        self, name: str, tasks: list[dict[str, Any]], prepare: Any = None, ground: Any = None, memory: bool = False
    ) -> list[Contender]:
        """Return a play as it is run by itself, and (not in a small run) with its tasks as ordinary modules."""
        ways = [self.playbook(name, tasks, prepare, ground, memory=memory and not self.small)]
        if not self.small:
            ways.append(self.playbook(f"{name} as an ordinary module", tasks, prepare, ground, module=True))
        return ways

    def empty(self, memory: bool = False) -> Contender:
        return self.playbook(self.BASE, [], kind="nothing", memory=memory)

    def client(
        self, name: str, which: str, operation: str, given: dict[str, Any], prepare: Callable[[], Any] | None = None, ground: Any = None
    ) -> Contender:
        command = [sys.executable, str(HERE / "clients.py"), which, operation, json.dumps(given)]
        return self._contender(name, which, command, prepare, ground)

    def _contender(self, name: str, kind: str, command: list[str], prepare: Any, ground: Any, memory: bool = False) -> Contender:
        ground = ground or self.server
        if prepare is None:
            prepare = ground.simulator.reset_calls if isinstance(ground, Zone) else ground.holding(0)
        return Contender(name, kind, command, prepare, ground.calls, ground.environment, memory)

    # -- what is found and printed

    def group(self, identity: str, title: str, latency: float, *contenders: Contender, objects: int | None = None) -> dict[str, Row] | None:
        """Run a group, unless it is not asked for, print its table and keep it. The first contender is what all are compared with."""
        if not self.wants(identity):
            return None
        print(f"\n{title}, {latency * 1000:g} ms latency", flush=True)
        for ground in (self.server, self.zone, self.hetzner, self.proxmox):
            ground.latency(latency)
        rows = self.arena.contest(contenders, self.rounds)
        base = rows[0]
        ours = next(row for row in rows if row.contender.kind == "ours")
        print(f"  {'':58}{'seconds':>8}  {'against ' + base.name:<30}{'reads':>6}{'writes':>8}{'conns':>7}{'MiB':>6}{'all':>6}")
        kept = []
        for row in rows:
            told = row.as_dict()
            told["of_base"], told["of_ours"] = ratio(row, base).as_dict(), ratio(row, ours).as_dict()
            against = "" if row is base else str(ratio(row, base))
            calls = [f"{row.calls.get(key, ''):>{width}}" for key, width in zip(CALLS, (6, 8, 7), strict=True)]
            together = "" if row.together is None else f"{row.together:.0f}"
            print(f"  {row.name:58}{told['median']:8.2f}  {against:<30}{''.join(calls)}{row.largest:6.0f}{together:>6}", flush=True)
            kept.append(told)
        sized = {} if objects is None else {"objects": objects}
        self.groups.append({"id": identity, "title": title, "latency_ms": latency * 1000, **sized, "rows": kept})
        return {row.name: row for row in rows}

    def goal(self, title: str, latency: float, reached: float, limit: float, **more: Any) -> None:
        self.goals.append(Goal(f"{title}, {latency * 1000:g} ms" if latency else title, reached, limit, **more))
