# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""`make bench`: what our work costs beside everything else that could do it, as ratios of one run.

    make bench                              all of it, about a quarter of an hour
    make bench ARGS="--only loop"           the groups whose title matches
    make bench ARGS=--quick                 small numbers, once: shows that it works, says nothing about speed

Clients are measured against a stand-in (stand_in.py) that answers in 0.05 ms, so that they and not the server take the time, with and
without the latency of a real cluster; at the end comes the simulator's own speed. Results are kept in .cache/bench/*.json.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from ansible import __version__ as ansible_version
from clients import Bare
from contest import Arena, Contender, Ratio, Row, ratio
from stand_in import name_of
from storpool_simulator.testing import Simulator

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CACHE = ROOT / ".cache" / "bench"
BIN = Path(sys.executable).parent
GIB = 1 << 30
LATENCIES = {0.0: "no latency", 0.002: "2 ms latency"}
MODULE = "storpool.cloudstack.storpool_volume"


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

    def __str__(self) -> str:
        wanted = f"{'at least' if self.at_least else 'within'} {self.limit:g}{self.unit}"
        return f"{'reached' if self.met else 'MISSED':8} {self.title}: {self.reached:.2f}{self.unit}, wanted {wanted}"


class StandIn:
    """The process of stand_in.py, and its controls."""

    def __init__(self) -> None:
        self.process = subprocess.Popen([sys.executable, HERE / "stand_in.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = json.loads(self.process.stdout.readline())["port"]

    def close(self) -> None:
        self.process.communicate()

    def ask(self, path: str, **body: Any) -> dict[str, int]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.request("POST" if body else "GET", f"/bench/{path}", json.dumps(body) if body else None)
        answer = json.loads(connection.getresponse().read())
        connection.close()
        return answer

    def holding(self, volumes: int, size: int = GIB):
        """Return what brings the server to hold just so many volumes, its counts at 0."""
        return lambda: self.ask("fill", volumes=volumes, size=size)

    def calls(self) -> dict[str, int]:
        counts = self.ask("calls")
        counts["connections"] -= 1  # this question's
        return counts


@dataclass
class Bench:
    """One run of `make bench`: where it runs, how big, what it found."""

    arena: Arena
    server: StandIn
    sizes: tuple[int, ...]
    loop: int
    rounds: int
    only: re.Pattern
    groups: list[dict[str, Any]] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)

    # -- contenders

    def playbook(
        self, name: str, tasks: list[dict[str, Any]], holding: int = 0, size: int = GIB, module: bool = False, memory: bool = False
    ) -> Contender:
        """Return a play; `module` has its tasks run as ordinary modules instead of in the controller's worker."""
        path = self.arena.directory / f"{re.sub('[^a-z0-9]+', '-', name.lower())}.json"
        play = {"name": "Bench", "hosts": "localhost", "gather_facts": False, "vars": {"storpool_in_process": not module}, "tasks": tasks}
        path.write_text(json.dumps([play]), encoding="utf-8")
        return Contender(
            name, [str(BIN / "ansible-playbook"), str(path)], self.server.holding(holding, size), self.server.calls, measure_memory=memory
        )

    def empty(self) -> Contender:
        return self.playbook("a play with no task", [])

    def client(self, name: str, which: str, operation: str, count: int, size: int, holding: int, parallel: int = 1) -> Contender:
        command = [sys.executable, str(HERE / "clients.py"), which, operation, str(count), str(size), str(parallel)]
        return Contender(name, command, self.server.holding(holding), self.server.calls)

    # -- what is printed

    def group(self, title: str, *contenders: Contender) -> dict[str, Row] | None:
        """Run a group, unless it is not asked for, and print its table."""
        if not self.only.search(title):
            return None
        print(f"\n{title}", flush=True)
        rows = self.arena.contest(contenders, self.rounds)
        base = rows[0]
        print(f"  {'':58}{'seconds':>8}  {'against ' + base.name:<30}{'reads':>6}{'writes':>8}{'conns':>7}{'MiB':>6}{'all':>6}")
        for row in rows:
            told = row.as_dict()
            against = "" if row is base else str(ratio(row, base))
            calls = [f"{row.calls.get(key, 0):>{width}}" for key, width in (("reads", 6), ("writes", 8), ("connections", 7))]
            together = "" if row.together is None else f"{row.together:.0f}"
            print(f"  {row.name:58}{told['median']:8.2f}  {against:<30}{''.join(calls)}{row.largest:6.0f}{together:>6}", flush=True)
        self.groups.append({"title": title, "rows": [row.as_dict() for row in rows]})
        return {row.name: row for row in rows}

    def compare(self, text: str, found: Ratio) -> Ratio:
        print(f"  = {text}: {found}", flush=True)
        self.groups[-1].setdefault("ratios", {})[text] = {"median": found.middle, "lowest": found.low, "highest": found.high}
        return found

    def goal(self, *parts: Any, **more: Any) -> None:
        self.goals.append(Goal(*parts, **more))


# -- the groups


def single_task(bench: Bench) -> None:
    task = {MODULE: {"name": name_of(1), "size": "1G", "template": "nvme"}}
    rows = bench.group(
        "One task that changes nothing",
        bench.empty(),
        bench.playbook("ansible.builtin.debug", [{"ansible.builtin.debug": {"msg": "x"}}]),
        bench.playbook("ansible.builtin.ping", [{"ansible.builtin.ping": {}}]),
        bench.playbook("storpool_volume", [task], 1000),
        bench.playbook("storpool_volume as an ordinary module", [task], 1000, module=True),
    )
    if rows:
        bench.compare("storpool_volume against ansible.builtin.ping", ratio(rows["storpool_volume"], rows["ansible.builtin.ping"]))
        bench.compare(
            "as an ordinary module against ansible.builtin.ping",
            ratio(rows["storpool_volume as an ordinary module"], rows["ansible.builtin.ping"]),
        )


def loop(bench: Bench) -> None:
    count = bench.loop
    task = {MODULE: {"name": "b-{{ '%05d' | format(item) }}", "size": "1G", "template": "nvme"}, "loop": f"{{{{ range({count}) | list }}}}"}
    echo = {"ansible.builtin.debug": {"msg": "{{ item }}"}, "loop": f"{{{{ range({count}) | list }}}}"}
    rows = bench.group(
        f"A loop of {count} that changes nothing",
        bench.empty(),
        bench.playbook("ansible.builtin.debug in the loop", [echo]),
        bench.playbook("storpool_volume in the loop", [task], 1000),
        bench.playbook("storpool_volume in the loop as an ordinary module", [task], 1000, module=True),
    )
    if rows:
        found = ratio(rows["storpool_volume in the loop"], rows["a play with no task"])
        bench.goal(f"loop of {count} unchanged against an empty play", found.middle, 3)


def bulk(bench: Bench, operation: str, count: int, latency: float) -> None:
    """One task over `count` volumes, beside the loops that a person would write."""
    bench.server.ask("latency", seconds=latency)
    before = 0 if operation == "create" else count
    size = 2 * GIB if operation == "change" else GIB
    source = bench.arena.directory / f"volumes-{operation}-{count}.json"
    source.write_text(json.dumps([{"name": name_of(number), "size": f"{size // GIB}G"} for number in range(count)]), encoding="utf-8")
    from_file = {"volumes_src": str(source)}
    by_names = {"names": f"{{{{ query('ansible.builtin.sequence', 'start=0 count={count} format=b-%05d') }}}}", "size": f"{size // GIB}G"}
    common = {"template": "nvme", "parallel": 16, "state": "absent" if operation == "delete" else "present"}
    writes = operation != "unchanged"

    def ours(name: str, how: dict[str, Any], memory: bool = False, module: bool = False, **more: Any) -> Contender:
        return bench.playbook(name, [{MODULE: {**how, **common, **more}}], before, module=module, memory=memory)

    contenders = [bench.empty(), bench.client("bare client", "bare", operation, count, size, before)]
    if writes:
        contenders.append(bench.client("bare client, 16 in parallel", "bare", operation, count, size, before, 16))
    contenders.append(bench.client("official bindings", "bindings", operation, count, size, before))
    contenders.append(ours("storpool_volume from a file", from_file, memory=True))
    if writes:
        contenders.append(ours("storpool_volume from a file, return_objects: none", from_file, return_objects="none"))
    contenders.append(ours("storpool_volume by names", by_names))
    contenders.append(ours("storpool_volume from a file as an ordinary module", from_file, module=True))
    rows = bench.group(f"{count:,} volumes: {operation}, {LATENCIES[latency]}", *contenders)
    if not rows:
        return
    mine, base, bindings = rows["storpool_volume from a file"], rows["a play with no task"], rows["official bindings"]
    if not writes:
        bench.goal(f"{count:,} unchanged from a file against an empty play", ratio(mine, base).middle, 2)
        bench.goal(f"calls for {count:,} unchanged", sum(mine.calls[key] for key in ("reads", "writes")), 1, unit="")
    else:
        bare = rows["bare client, 16 in parallel"]
        for row in (mine, rows["storpool_volume from a file, return_objects: none"]):
            found = bench.compare(f"{row.name} against the bare client, 16 in parallel, and an empty play", ratio(row, bare, base))
            gain = bench.compare(f"official bindings against {row.name}", ratio(bindings, row))
            if operation == "create" and latency and count == bench.sizes[-1]:
                bench.goal(f"{count:,} creates against bare client and empty play ({row.name})", found.middle, 1.3)
                bench.goal(f"{count:,} creates, the bindings' loop against us ({row.name})", gain.middle, 8, at_least=True)
    if mine.together is not None:
        bench.goal(f"memory of all processes, {operation} of {count:,}", mine.together, 150, unit=" MiB")


def simulator(bench: Bench) -> None:
    """Measure the ground itself: it has to be quick enough not to hide what stands on it."""
    title = "The simulator"
    if not bench.only.search(title):
        return
    print(f"\n{title}", flush=True)
    many, some = bench.sizes[-1], min(bench.sizes[-1], 1000)
    rows: dict[str, list[float]] = {}

    def timed(name: str, work: Callable[[], Any]) -> None:
        started = time.monotonic()
        work()
        rows.setdefault(name, []).append(time.monotonic() - started)

    def create(client: Bare, numbers: range) -> None:
        for number in numbers:
            client.call("POST", "VolumeCreate", {"name": name_of(number), "size": GIB, "template": "nvme"})

    for _round in range(min(bench.rounds, 3)):
        with tempfile.TemporaryDirectory(prefix="simulator-", dir=bench.arena.directory) as state:
            server = Simulator(state, devices="none")
            try:
                timed("start-up", server.start)
                client = Bare("127.0.0.1", server.port, server.token)
                timed(f"{some:,} creates over one connection", partial(create, client, range(some)))
                create(client, range(some, many))
                timed(f"listing of {many:,} volumes", partial(client.call, "GET", "VolumesList"))
            finally:
                server.stop()
    for (name, seconds), limit in zip(rows.items(), (1, 2, 0.25), strict=True):
        print(f"  {name:58}{median(seconds):8.3f}  ({min(seconds):.3f}-{max(seconds):.3f})", flush=True)
        bench.goal(f"simulator: {name}", median(seconds), limit, unit=" s")
    bench.groups.append({"title": title, "rows": [{"name": name, "seconds": seconds} for name, seconds in rows.items()]})


# -- the whole


@contextmanager
def arena(port: int) -> Iterator[Arena]:
    """A clean directory and an environment in which compiled Python is kept, as on any machine that runs Ansible a second time."""
    compiled = CACHE / "pycache"
    compiled.mkdir(parents=True, exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SP_", "PYTHONDONTWRITEBYTECODE"))}
    directory = Path(tempfile.mkdtemp(prefix="run-", dir=CACHE))
    environment.update(
        ANSIBLE_INVENTORY_UNPARSED_WARNING="false",
        ANSIBLE_LOCALHOST_WARNING="false",
        ANSIBLE_PYTHON_INTERPRETER=sys.executable,
        PYTHONPYCACHEPREFIX=str(compiled),
        SP_API_HTTP_HOST="127.0.0.1",
        SP_API_HTTP_PORT=str(port),
        SP_AUTH_TOKEN="4815162342481516234",
    )
    try:
        yield Arena(environment, directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def keep(bench: Bench, seconds: float, quick: bool, path: Path) -> None:
    """Write what was found as JSON."""
    document = {
        "when": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "quick": quick,
        "took": round(seconds),
        "machine": {
            "python": platform.python_version(),
            "ansible_core": ansible_version,
            "system": platform.system(),
            "cores": os.cpu_count(),
            "load": os.getloadavg()[0],
        },
        "groups": bench.groups,
        "goals": [
            {"title": one.title, "reached": round(one.reached, 3), "limit": one.limit, "unit": one.unit.strip(), "met": one.met}
            for one in bench.goals
        ],
    }
    path.write_text(json.dumps(document, indent=1), encoding="utf-8")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small numbers, once")
    parser.add_argument("--rounds", type=int, default=5, help="how often each contender runs (default 5)")
    parser.add_argument("--only", type=re.compile, default=re.compile(""), metavar="REGEX", help="groups whose title matches")
    parser.add_argument("--json", type=Path, help="file for the results (default: a new one in .cache/bench)")
    given = parser.parse_args(arguments)
    started = time.monotonic()
    server = StandIn()
    try:
        with arena(server.port) as place:
            sizes, looped, rounds = ((30,), 3, 1) if given.quick else ((1_000, 10_000), 100, given.rounds)
            bench = Bench(place, server, sizes, looped, rounds, given.only)
            for module in (False, True):  # compiles what is not compiled yet
                place.run(bench.playbook("warm-up", [{MODULE: {"name": name_of(1), "size": "1G"}}], module=module))
            single_task(bench)
            loop(bench)
            for count in sizes:
                for latency in list(LATENCIES)[-1 if given.quick else 0 :]:
                    for operation in ("create", "unchanged", "change", "delete"):
                        if operation != "unchanged" or not latency or given.quick:  # the latency is that of writes
                            bulk(bench, operation, count, latency)
            simulator(bench)
    finally:
        server.close()
    print("\nGoals" + (" (of a quick run: they mean nothing)" if given.quick else ""))
    for goal in bench.goals:
        print(f"  {goal}")
    path = given.json or CACHE / f"{'quick' if given.quick else 'bench'}-{time.strftime('%Y%m%d-%H%M%S')}.json"
    keep(bench, time.monotonic() - started, given.quick, path)
    print(f"\nkept in {os.path.relpath(path)} after {time.monotonic() - started:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
