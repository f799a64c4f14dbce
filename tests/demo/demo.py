# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The demo: the chapters of playbooks/demo.yml against a simulated StorPool that holds real bytes.

Each chapter runs three times: in check mode with diff, for real, and again. The demo fails when a run fails, when the real run is not what
check mode predicted, when check mode or the last run sends StorPool a single write, when the last run changes anything, or when the contents
are not what they have to be. The playbooks prove contents on the devices; what only a simulator can tell (bytes copied, what a snapshot
holds, what happened in the very moment of a snapshot) is looked at here, by the witnesses.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "demo"
sys.path.insert(0, str(ROOT / "tests" / "integration"))

import playbooks  # noqa: E402
import screen  # noqa: E402
from prediction import differences, not_silent, ours  # noqa: E402
from storpool_simulator.testing import Simulator  # noqa: E402

TOUR = ROOT / "playbooks" / "demo.yml"
CLEAN_UP = ROOT / "playbooks" / "demo_clean_up.yml"
CLUSTER = "sofia-a"
CLIENT, OTHER_CLIENT = 11, 12


class DemoFailed(Exception):
    """What the demo shows turned out not to be so."""


@dataclass
class Chapter:
    """One playbook: its short name, and a sentence. ``facts`` is what was proved, in words."""

    path: Path
    short: str
    title: str
    facts: list[str] = field(default_factory=list)
    actions: str = ""
    seconds: float = 0.0

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def command(self) -> str:
        """How a user runs it."""
        inside = self.path.relative_to(ROOT / "playbooks").with_suffix("")
        return f"ansible-playbook storpool.cloudstack.{'.'.join(inside.parts)}"

    def fail(self, why: str, *details: str) -> DemoFailed:
        return DemoFailed("\n  ".join([f"chapter {self.name}: {why}", *details]))


def chapters() -> list[Chapter]:
    """The chapters in their order; demo.yml and the plays' names are the only places that know them."""
    found = []
    for one in yaml.safe_load(TOUR.read_text(encoding="utf-8")):
        path = TOUR.parent / one["ansible.builtin.import_playbook"]
        found.append(Chapter(path, one["name"], yaml.safe_load(path.read_text(encoding="utf-8"))[0]["name"]))
    return found


@dataclass
class Tour:
    sim: Simulator
    image: Path
    env: dict[str, str]
    variables: dict[str, Any]

    # -- what is there

    def names(self) -> list[str]:
        """The demo's volumes and snapshots."""
        found = []
        for listing in ("VolumesList", "SnapshotsList"):
            status, answer = self.sim.get(listing)
            if status != 200:
                raise DemoFailed(f"{listing} answered {status}: {answer}")
            found += [one["name"] for one in answer["data"] if not one["name"].startswith("*")]
        return sorted(found)

    def contents(self) -> dict[str, str]:
        """The SHA-256 of every byte of every object."""
        return {name: self.sim.content(name)["sha256"] for name in self.names()}

    # -- one run of a playbook

    def play(self, chapter: Chapter, **how: Any) -> tuple[playbooks.Run, list[str]]:
        """Run it as its command says; also return the writes that StorPool was sent."""
        self.sim.reset_calls()
        target = chapter.command.split()[1]
        done = playbooks.run(Path(target), env=self.env, variables=self.variables, **how)
        if done.rc != 0:
            raise chapter.fail("ansible-playbook failed", *done.output.splitlines())
        return done, [one["call"] for one in self.sim.calls()["calls"] if one["write"]]

    # -- one chapter

    def chapter(self, chapter: Chapter) -> playbooks.Run:
        """Show one chapter: check, real, again. :raises DemoFailed: at the first thing that is not as it has to be."""
        started = time.monotonic()
        at_first = self.contents()
        screen.command(f"{chapter.command} --check --diff")
        predicted, writes = self.play(chapter, check=True, diff=True)
        if writes:
            raise chapter.fail("check mode wrote", *writes)
        if self.contents() != at_first:
            raise chapter.fail("check mode changed the content of a volume")
        self._show_prediction(predicted)

        screen.command(f"{chapter.command} --diff")
        with WITNESSES[chapter.name](self, chapter) if chapter.name in WITNESSES else nullcontext():
            real, writes = self.play(chapter, diff=True)
        wrong = differences(predicted, real)
        if wrong:
            raise chapter.fail("the real run was not what check mode predicted", *wrong)
        self._show_real(chapter, real, writes)

        after = self.contents()
        screen.command(chapter.command)
        again, writes = self.play(chapter, diff=True)
        wrong = not_silent(again, writes)
        if wrong:
            raise chapter.fail("run again, it was not silent", *wrong)
        if self.contents() != after:
            raise chapter.fail("run again, it changed the content of a volume")
        reads = sum(record["result"]["api"]["reads"] for record in ours(again))
        chapter.seconds = time.monotonic() - started
        screen.line("changed=0", f"{reads} reads, no write, every byte as it was")
        return real

    @staticmethod
    def _show_prediction(run: playbooks.Run) -> None:
        for record in ours(run):
            screen.line("would change" if record["changed"] else "right already", record["task"])
            for text in screen.changes(record["result"].get("diff")):
                screen.show(f"       {text}")
        skipped = [record["task"] for record in run.tasks if record["status"] == "skipped"]
        if skipped:
            screen.line("left out", f"{', '.join(skipped)} (works on devices, which check mode does not make)")

    @staticmethod
    def _show_real(chapter: Chapter, run: playbooks.Run, writes: list[str]) -> None:
        actions: dict[str, int] = {}
        for record in run.tasks:
            if record["action"].startswith("ansible.builtin.assert"):
                chapter.facts.append(str(record["result"]["msg"]))
            elif record in ours(run):
                for plural in ("volumes", "snapshots", "templates"):
                    for entry in record["result"].get(plural) or []:
                        for action in entry.get("actions", []):
                            actions[action] = actions.get(action, 0) + 1
                if record["changed"]:
                    screen.line("changed", f"{record['task']} - as predicted")
            elif record["changed"]:
                screen.line("changed", record["task"])
        chapter.actions = ", ".join(f"{action} x{count}" if count > 1 else action for action, count in actions.items())
        if writes:
            kinds = {call: writes.count(call) for call in writes}
            screen.line("StorPool", f"got {', '.join(f'{count} {call}' for call, count in kinds.items())}")
        for fact in chapter.facts:
            screen.line("proved", fact)


# -- witnesses: what only a simulator can tell, around the real run of a chapter


@contextmanager
def nothing_is_copied(tour: Tour, chapter: Chapter) -> Iterator[None]:
    before = tour.sim.counters()
    yield
    after = tour.sim.counters()
    copied = after["bytes_copied"] - before["bytes_copied"]
    if copied:
        raise chapter.fail(f"{copied} bytes were copied")
    chapter.facts.append(f"0 bytes were copied; the whole cluster stores {screen.bytes_of(after['bytes_stored'])}")


WITNESSES: dict[str, Callable[[Tour, Chapter], Any]] = {
    "clones": nothing_is_copied,
}


# -- the whole


def run_tour(image: Path, directory: Path, devices: str) -> None:
    state = directory / "state"
    with Simulator(state, devices=devices) as sim:
        tour = Tour(
            sim=sim,
            image=image,
            env={
                **playbooks.connection(sim),
                "TMPDIR": str(directory),
                "ANSIBLE_REMOTE_TMP": str(directory / "remote"),
                "ANSIBLE_FORCE_COLOR": "false",
            },
            variables={
                "demo_image": str(image),
                "demo_client": CLIENT,
                "demo_devices": str(sim.devices / CLUSTER / str(CLIENT) / "storpool"),
                "demo_other_client": OTHER_CLIENT,
                "demo_other_devices": str(sim.devices / CLUSTER / str(OTHER_CLIENT) / "storpool"),
            },
        )
        screen.show(f"A simulated StorPool answers at {sim.url}. The disk image is {image.name}, {screen.bytes_of(image.stat().st_size)},")
        screen.show(f"sha256 {hashlib.sha256(image.read_bytes()).hexdigest()}.")
        story = chapters()
        for number, chapter in enumerate(story, 1):
            screen.heading(f"{number}/{len(story)}  {chapter.short}: {chapter.title}")
            tour.chapter(chapter)
        screen.heading("What was shown")
        screen.table(
            ["chapter", "what was done", "check = real", "again", "proof"],
            [(one.short, one.actions, "yes", "silent", "; ".join(one.facts)) for one in story],
        )


def ended(number: int, _frame: Any) -> None:
    sys.exit(128 + number)


def main() -> int:
    parser = argparse.ArgumentParser(description="The demo of the collection")
    parser.add_argument("--image", type=Path, required=True, help="a disk image")
    parser.add_argument("--devices", default="auto", help="how attached volumes appear: as loop devices, as links to files, or as it goes")
    arguments = parser.parse_args()
    # An end by SIGTERM leaves the `with` blocks like any other: the simulator ends and its files go.
    signal.signal(signal.SIGTERM, ended)
    started = time.monotonic()
    CACHE.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="run-", dir=CACHE))
    tempfile.tempdir = str(directory)
    try:
        run_tour(arguments.image.resolve(), directory, arguments.devices)
    except DemoFailed as failure:
        screen.show("\n" + screen.paint("failed", "The demo failed: ") + str(failure))
        return 1
    except KeyboardInterrupt:
        screen.show("\nThe demo was broken off; nothing is left running.")
        return 130
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    screen.show(f"\nThe demo took {time.monotonic() - started:.0f} s. The simulator has ended and its files are gone.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
