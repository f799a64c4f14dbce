# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs contenders side by side: whole processes, in turn, again and again, so that a slow moment of the machine hits all of them alike.

What counts are ratios. A ratio is taken within each round, and the median over the rounds is what is told, with the lowest and the highest.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

MIB = 1 << 20
PATIENCE = 8.0  # seconds; a contender that took as long in all is not run again
KINDS = ("nothing", "bare", "bindings", "ours", "module", "peer")  # what a contender is, for charts


class BenchError(Exception):
    """A contender failed, so that its time means nothing."""


@dataclass
class Contender:
    """A process to be timed, one of `KINDS`, with what it finds in its environment beside what all find there.

    `prepare` brings the server into the state it starts from, `calls` tells what the server was asked since.
    """

    name: str
    kind: str
    command: Sequence[str]
    prepare: Callable[[], Any] = lambda: None
    calls: Callable[[], dict[str, int]] = dict
    environment: Mapping[str, str] = field(default_factory=dict)
    measure_memory: bool = False


@dataclass
class Row:
    """What became of one contender: seconds of each round, memory in MiB (of the largest process, of all together), calls of one run."""

    contender: Contender
    seconds: list[float] = field(default_factory=list)
    largest: float = 0.0
    together: float | None = None
    calls: dict[str, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.contender.name

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "kind": self.contender.kind,
            "seconds": [round(one, 4) for one in self.seconds],
            "median": round(median(self.seconds), 4),
            "largest_process_mib": round(self.largest, 1),
            "all_processes_mib": None if self.together is None else round(self.together, 1),
            "calls": self.calls,
        }


@dataclass(frozen=True)
class Ratio:
    """One row's time over that of others together: median, lowest, highest."""

    middle: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.middle:.2f} ({self.low:.2f}-{self.high:.2f})"

    def as_dict(self) -> dict[str, float]:
        return {"median": round(self.middle, 4), "lowest": round(self.low, 4), "highest": round(self.high, 4)}


def ratio(row: Row, *others: Row) -> Ratio:
    """Return how many times as long as `others` together `row` took, round by round."""
    rounds = zip(row.seconds, *(other.seconds for other in others), strict=False)  # a slow contender sits out the later ones
    found = [mine / sum(theirs) for mine, *theirs in rounds]
    return Ratio(median(found), min(found), max(found))


class Arena:
    """Where contenders run: an environment, a directory, and a small process that starts them."""

    def __init__(self, environment: dict[str, str], directory: Path) -> None:
        self.environment = environment
        self.directory = directory
        command = [sys.executable, "-I", "-S", str(Path(__file__).with_name("launcher.py"))]
        self._launcher = subprocess.Popen(command, cwd=directory, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def close(self) -> None:
        self._launcher.communicate()

    def contest(self, contenders: Sequence[Contender], rounds: int) -> list[Row]:
        """Run each contender once in each round, slow ones in fewer."""
        rows = [Row(contender) for contender in contenders]
        for _round in range(rounds):
            for row in rows:
                if sum(row.seconds) < PATIENCE:
                    seconds, row.largest = self.run(row.contender)
                    row.seconds.append(seconds)
                    row.calls = row.contender.calls()
        for row in rows:
            if row.contender.measure_memory:
                row.together = self.memory(row.contender)
        return rows

    def run(self, contender: Contender) -> tuple[float, float]:
        """Return the seconds that one run took and the MiB of its largest process."""
        contender.prepare()
        output = self.directory / "output"
        asked = {
            "command": list(contender.command),
            "environment": {**self.environment, **contender.environment},
            "output": str(output),
        }
        print(json.dumps(asked), file=self._launcher.stdin, flush=True)
        told = json.loads(self._launcher.stdout.readline())
        self._check(contender, told["status"], output)
        return told["seconds"], told["largest_kib"] * 1024 / MIB

    def memory(self, contender: Contender) -> float:
        """Return the most MiB that the processes of one run held together, pages they share counted once.

        Looking costs time, so this run is not timed.
        """
        contender.prepare()
        highest, output = 0, self.directory / "output"
        with output.open("wb") as target:
            process = subprocess.Popen(
                list(contender.command),
                stdin=subprocess.DEVNULL,
                stdout=target,
                stderr=subprocess.STDOUT,
                env={**self.environment, **contender.environment},
                cwd=self.directory,
            )
            while process.poll() is None:
                highest = max(highest, held(process.pid))
                time.sleep(0.02)
        self._check(contender, process.returncode, output)
        return highest / MIB

    @staticmethod
    def _check(contender: Contender, status: int, output: Path) -> None:
        if status:
            raise BenchError(f"{contender.name} ended with status {status}:\n{output.read_text(errors='replace')[-4000:]}")


def held(root: int) -> int:
    """Return the bytes that a process and its descendants hold (their proportional set size)."""
    parents: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as stat:
                    parent = int(stat.read().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue
            parents.setdefault(parent, []).append(int(entry))
    family, total = [root], 0
    while family:
        pid = family.pop()
        family += parents.get(pid, [])
        try:
            with open(f"/proc/{pid}/smaps_rollup", encoding="utf-8") as rollup:
                total += next(int(line.split()[1]) * 1024 for line in rollup if line.startswith("Pss:"))
        except (OSError, StopIteration):
            continue
    return total
