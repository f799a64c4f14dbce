# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""`make bench`: what our work costs beside everything else that could do it, as ratios of one run.

    make bench                                all of it, some 20 minutes; writes tests/benchmarks/results.json,
                                              docs/performance.md and its charts
    make bench ARGS="--only '^(single|loop)'" the groups whose id matches
    make bench ARGS=--quick                   small numbers, once: shows that it works, says nothing about speed
    make bench ARGS=--draw                    page and charts once more, of the kept results

Unless all of it is run as it is, JSON, page and charts go to a directory of their own in .cache/bench.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import peers
import rows
from contest import Arena, BenchError
from grounds import StandIn, Zone
from measuring import Bench

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CACHE = ROOT / ".cache" / "bench"
RESULTS = HERE / "results.json"
COLLECTIONS = ROOT / ".cache" / "collections"
FULL = {
    "rounds": 4,
    "latency": [0.0, 5.0],
    "loop": 100,
    "sizes": [1_000, 10_000],
    "growth": [100, 1_000, 10_000, 50_000],
    "hosts": 200,
    "settings": 30,
}
QUICK = {"rounds": 1, "latency": [5.0], "loop": 3, "sizes": [30], "growth": [10, 30], "hosts": 8, "settings": 3}


@contextmanager
def arena(others: Path) -> Iterator[Arena]:
    """A clean directory and an environment in which compiled Python is kept, as on any machine that runs Ansible a second time."""
    compiled = CACHE / "pycache"
    compiled.mkdir(parents=True, exist_ok=True)
    unwanted = ("SP_", "CLOUDSTACK_", "PYTHONDONTWRITEBYTECODE")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    directory = Path(tempfile.mkdtemp(prefix="run-", dir=CACHE))
    environment.update(
        ANSIBLE_COLLECTIONS_PATH=f"{COLLECTIONS}{os.pathsep}{others}",
        ANSIBLE_INVENTORY_UNPARSED_WARNING="false",
        ANSIBLE_LOCALHOST_WARNING="false",
        ANSIBLE_PYTHON_INTERPRETER=sys.executable,
        PYTHONPYCACHEPREFIX=str(compiled),
    )
    place = Arena(environment, directory)
    try:
        yield place
    finally:
        place.close()
        shutil.rmtree(directory, ignore_errors=True)


def some_settings(zone: Zone, count: int) -> dict[str, str]:
    """Settings that can be changed with no harm, with their values: of the server as a whole, neither StorPool's nor of host HA."""
    found = zone.simulator.cs("listConfigurations", pagesize=-1)[1]["configuration"]
    plain = {
        one["name"]: one["value"]
        for one in sorted(found, key=lambda one: one["name"])
        if one.get("value") in ("true", "false")
        and one["value"] == one.get("defaultvalue")
        and one.get("type") == "Boolean"
        and not re.search("storpool|^sp\\.|ha\\.|snapshot|secure|encrypt|auth", one["name"])
    }
    return dict(list(plain.items())[:count])


# -- how it was measured


class Processors:
    """How much of the machine's processors went to others while we measured."""

    def __init__(self) -> None:
        self.load = os.getloadavg()[0]
        self._before = self._busy()

    @staticmethod
    def _busy() -> tuple[float, float, float]:
        """Return seconds of all processors that were used by anyone, seconds of all there were, seconds of ours."""
        with open("/proc/stat", encoding="utf-8") as stat:
            ticks = [int(one) for one in stat.readline().split()[1:9]]
        tick = os.sysconf("SC_CLK_TCK")
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        idle = ticks[3] + ticks[4]
        return (sum(ticks) - idle) / tick, sum(ticks) / tick, sum(one.ru_utime + one.ru_stime for one in used)

    def others(self) -> float:
        """Return the part (0 to 1) that others took; our servers have to have ended."""
        busy, there, ours = (now - then for now, then in zip(self._busy(), self._before, strict=True))
        return max(0.0, busy - ours) / max(there, 0.01)


def commit() -> str:
    """Return the commit that is measured, and whether files that matter for it were changed since."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
        return done.stdout.strip()

    try:
        short = git("rev-parse", "--short=10", "HEAD")
        changed = git("status", "--porcelain", "--", "plugins", "roles", "tests/simulator", str(HERE), f":(exclude){RESULTS}")
    except OSError:
        return "not known"
    return f"{short}{' with local changes' if changed else ''}" if short else "not known"


def machine() -> dict[str, Any]:
    """Return what the numbers depend on."""
    model = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    system = platform.freedesktop_os_release() if hasattr(platform, "freedesktop_os_release") else {}
    return {
        "cores": os.cpu_count(),
        "processor": model[1] if model else platform.machine(),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / (1 << 30)),
        "system": system.get("PRETTY_NAME", platform.system()),
    }


def versions(others: Path) -> dict[str, str]:
    """Return the versions of what was measured."""
    manifest = (ROOT / "galaxy.yml").read_text(encoding="utf-8")
    found = {"storpool.cloudstack": re.search(r"^version: (\S+)", manifest, re.MULTILINE)[1], "Python": platform.python_version()}
    found.update({name: version(name) for name in ("ansible-core", "requests", "storpool")})
    return {**found, **peers.versions(others)}


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """Run what is asked for and return the results."""
    started, processors = time.monotonic(), Processors()
    others = peers.collections(CACHE)
    with ExitStack() as stack:
        place = stack.enter_context(arena(others))

        def running(ground: Any) -> Any:
            stack.callback(ground.close)
            return ground

        zone = running(Zone(place.directory / "zone", given.hosts // 4))
        bench = Bench(
            arena=place,
            server=running(StandIn()),
            zone=zone,
            hetzner=running(StandIn(peers.HETZNER_ANSWERS)),
            proxmox=running(StandIn(peers.PROXMOX_ANSWERS, peers.certificate(place.directory / "proxmox.pem"))),
            sizes=given.sizes,
            growth=given.growth,
            looped=given.loop,
            rounds=given.rounds,
            latencies=[one / 1000 for one in given.latency],
            only=given.only,
            settings=some_settings(zone, given.settings),
            small=given.quick,
        )
        for way in bench.both_ways("warm-up", [{rows.VOLUME: {"name": "warm-up", "size": "1G"}}]):
            place.run(way)  # compiles what is not compiled yet
        rows.everything(bench)
    return {
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": commit(),
        "took_seconds": round(time.monotonic() - started),
        "small": given.quick,
        "whole": given.whole,
        "rounds": given.rounds,
        "machine": {**machine(), "load_before": round(processors.load, 2), "others": round(processors.others(), 3)},
        "versions": versions(others),
        "groups": bench.groups,
        "goals": [goal.as_dict() for goal in bench.goals],
    }


def options(arguments: list[str]) -> argparse.Namespace:
    """Return what is asked for; `whole` when it is all of it, as it is to be kept."""

    def numbers(kind: type) -> Any:
        return lambda text: [kind(one) for one in text.split(",")]

    parser = argparse.ArgumentParser(prog="make bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small numbers, once")
    parser.add_argument("--draw", action="store_true", help="measure nothing, draw the kept results again")
    parser.add_argument("--only", type=re.compile, metavar="REGEX", help="groups whose id matches")
    parser.add_argument("--rounds", type=int, help="how often each contender runs; the slow ones run less often")
    parser.add_argument("--sizes", type=numbers(int), metavar="N,N", help="numbers of volumes")
    parser.add_argument("--growth", type=numbers(int), metavar="N,N,...", help="numbers of volumes that show how cost grows")
    parser.add_argument("--loop", type=int, metavar="N", help="how often a loop goes round")
    parser.add_argument("--latency", type=numbers(float), metavar="MS,MS", help="milliseconds that servers wait before they answer")
    parser.add_argument("--hosts", type=int, metavar="N", help="KVM hosts of the zone")
    parser.add_argument("--settings", type=int, metavar="N", help="settings of CloudStack that are declared")
    parser.add_argument("--output", type=Path, metavar="DIRECTORY", help="where results.json, performance.md and the charts go")
    given = parser.parse_args(arguments)
    asked = [name for name, value in vars(given).items() if value not in (None, False) and name not in ("draw", "output")]
    given.whole = not asked
    for name, value in (QUICK if given.quick else FULL).items():
        if getattr(given, name) is None:
            setattr(given, name, value)
    given.only = given.only or re.compile("")
    return given


def main(arguments: list[str]) -> int:
    given = options(arguments)
    if given.draw or (given.whole and not given.output):
        kept, directory = RESULTS, ROOT / "docs"
    else:
        directory = given.output or CACHE / time.strftime("%Y%m%d-%H%M%S")
        kept = directory / "results.json"
    if given.draw:
        directory = given.output or directory
        results = json.loads(kept.read_text(encoding="utf-8"))
    else:
        try:
            results = measure(given)
        except BenchError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        print("\nGoals" + (" (of a quick run: they mean nothing)" if given.quick else ""))
        for goal in results["goals"]:
            told = f"{goal['reached']:.2f} {goal['unit']}".replace(" x", "x")
            print(f"  {'reached' if goal['met'] else 'MISSED':8} {goal['title']}: {told}, wanted {goal['wanted']}")
        print(f"\n{os.path.relpath(kept)}, after {results['took_seconds']} s", flush=True)
    import page  # only now: what we hold ourselves is not to be large while we measure

    for path in page.write(results, directory):
        print(os.path.relpath(path), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
