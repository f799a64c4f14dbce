# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The tour: the playbooks of playbooks/demo, chapter by chapter, against a simulated StorPool.

Each chapter runs three times: in check mode with diff, for real, and again. The tour fails when the real run does not do what check
mode said, when check mode or the second run writes anything, or when a chapter's own proofs (contents, compared byte by byte) fail.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "integration"))

import playbooks  # noqa: E402
from storpool_simulator.testing import Simulator  # noqa: E402

CHAPTERS = ROOT / "playbooks" / "demo"
OURS = "storpool.cloudstack."
CLIENT = 11
MANY = 500


class DemoError(Exception):
    pass


@dataclass
class Tour:
    sim: Simulator
    variables: dict[str, Any]
    env: dict[str, str]

    def play(self, chapter: Path, **how: Any) -> tuple[playbooks.Run, int]:
        """Run a chapter; also tell how many writes StorPool saw."""
        self.sim.reset_calls()
        done = playbooks.run(chapter, env=self.env, variables=self.variables, **how)
        if done.rc != 0:
            raise DemoError(f"{chapter.name} failed:\n{done.output}")
        return done, self.sim.calls()["writes"]

    def chapter(self, chapter: Path, before: Callable[[Tour], str] | None = None) -> None:
        print(f"\n{chapter.stem.replace('_', ' ')}")
        if before:
            print(f"    before  {before(self)}")
        started = time.monotonic()
        predicted, writes = self.play(chapter, check=True, diff=True)
        if writes:
            raise DemoError(f"{chapter.name}: check mode sent {writes} writes")
        print(f"    check   {outline(predicted)}; no write sent")
        for line in diff_lines(predicted):
            print(f"              {line}")
        real, writes = self.play(chapter, diff=True)
        compare(chapter.name, predicted, real)
        print(f"    run     {outline(real)}, as predicted; {writes} writes sent")
        again, writes = self.play(chapter, diff=True)
        if again.changed or writes:
            found = f"{again.changed} tasks changed something and {writes} writes were sent"
            raise DemoError(f"{chapter.name}: run again, {found}:\n{again.output}")
        print(f"    again   {outline(again)}; no write sent ({time.monotonic() - started:.0f} s)")
        for record in real.tasks:
            if record["action"] == "ansible.builtin.debug" and record["status"] == "ok":
                for line in str(record["result"].get("msg", "")).splitlines():
                    print(f"    proof   {line}")


def ours(done: playbooks.Run) -> list[dict[str, Any]]:
    return [record for record in done.tasks if record["action"].startswith(OURS)]


def outline(done: playbooks.Run) -> str:
    changed = sum(record["changed"] for record in ours(done))
    return f"{len(ours(done))} tasks, changed={changed}"


def compare(name: str, predicted: playbooks.Run, real: playbooks.Run) -> None:
    """Check mode has to have told the truth about every task of ours."""
    if [record["task"] for record in ours(predicted)] != [record["task"] for record in ours(real)]:
        raise DemoError(f"{name}: check mode ran other tasks than the real run")
    for said, done in zip(ours(predicted), ours(real), strict=True):
        for what in ("changed", "diff", "summary"):
            foretold, found = said["result"].get(what), done["result"].get(what)
            if foretold != found:
                raise DemoError(f"{name}: {done['task']}: check mode said that {what} would be\n{foretold}\nand it was\n{found}")


def diff_lines(done: playbooks.Run, most: int = 14) -> list[str]:
    """What the diffs say, shortened: the header of each object and the lines that differ."""
    lines = []
    for record in ours(done):
        diffs = record["result"].get("diff") or []
        for diff in diffs if isinstance(diffs, list) else [diffs]:
            lines += difference(diff)
    if len(lines) > most:
        lines = [*lines[: most - 1], f"... and {len(lines) - most + 1} lines more"]
    return lines


def difference(diff: dict[str, Any]) -> list[str]:
    if "prepared" in diff:
        return str(diff["prepared"]).splitlines()
    before, after = (as_lines(diff.get(side)) for side in ("before", "after"))
    header = diff.get("after_header") or diff.get("before_header") or ""
    changes = [f"- {line}" for line in before if line not in after] + [f"+ {line}" for line in after if line not in before]
    return ([header] if header else []) + changes


def as_lines(side: Any) -> list[str]:
    if isinstance(side, dict):
        return [f"{key}: {value}" for key, value in side.items()]
    return str(side or "").splitlines()


def damage(tour: Tour) -> str:
    """Overwrite the beginning of one machine's disk, as a mistake inside the machine would."""
    tour.sim.write("demo-vm-2", os.urandom(1024 * 1024), 0)
    return "the first MiB of demo-vm-2 is overwritten with random bytes"


BEFORE = {"07_revert": damage}


def many_volumes(path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as target:
        writer = csv.writer(target)
        writer.writerow(["name", "size", "iops"])
        writer.writerows([f"demo-many-{number:03}", f"{1 + number % 8}G", 1000 + number] for number in range(MANY))


def run_tour(image: Path, directory: Path) -> None:
    state = directory / "state"
    many = directory / "many.csv"
    many_volumes(many)
    chapters = sorted(CHAPTERS.glob("[0-9]*.yml"))
    if not chapters:
        raise DemoError(f"{CHAPTERS.relative_to(ROOT)} holds no chapter")
    with Simulator(state, devices="auto") as sim:
        tour = Tour(
            sim=sim,
            env=playbooks.connection(sim),
            variables={
                "demo_image": str(image),
                "demo_image_size": image.stat().st_size,
                "demo_image_sha256": hashlib.sha256(image.read_bytes()).hexdigest(),
                "demo_client": CLIENT,
                "demo_devices": str(state / "dev" / "sofia-a" / str(CLIENT)),
                "demo_many": str(many),
            },
        )
        print(f"A simulated StorPool answers at {sim.url}; the disk image has {image.stat().st_size} bytes.")
        for chapter in chapters:
            tour.chapter(chapter, BEFORE.get(chapter.stem))


def main() -> int:
    parser = argparse.ArgumentParser(description="The tour of the collection")
    parser.add_argument("--image", type=Path, required=True, help="a disk image")
    arguments = parser.parse_args()
    started = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="storpool-demo-") as name:
            run_tour(arguments.image, Path(name))
    except DemoError as error:
        print(f"\nThe demo failed. {error}", file=sys.stderr)
        return 1
    print(f"\nThe demo is over after {time.monotonic() - started:.0f} s. The simulator has ended and its state is gone.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
