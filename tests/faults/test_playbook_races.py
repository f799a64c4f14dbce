# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two real playbooks at once, each of several modules, with desired states that overlap and that contradict each other.

They begin together, up to a moment that is drawn by lot, with their tasks in an order that is drawn too. What there is at the end is
compared with what there is when the two run one after the other, in either order: each object has to be as one of the two orders leaves
it, once.
FAULT_RACES, when it is set, times five says how many there are in each world; FAULT_SEED sets the first seed.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import playbooks
import pytest
from lab import PATIENCE, SEED, Clients, Lab, at_once, counted, is_honest, storpool_state, wrong_end
from of_cloudstack import policies, snapshots
from of_infrastructure import all_offerings, ready, stored_settings
from registry import MIB

APART = (0.03, 0.3)  # seconds between the two beginnings, at most: head to head, or one ahead of the other
LATE = 0.06  # seconds more that a call takes, at most: what one has read, the other may have changed when it writes
NO_TRACEBACK = ("exception", "(traceback unavailable)")  # what newer Ansible adds to a failure


@dataclass(frozen=True)
class Contest:
    """A task of each playbook that is about the same objects, and about none of another contest.

    Where they agree about those that both declare, neither may fail.
    """

    module: str
    one: dict[str, Any]
    other: dict[str, Any]
    agree: bool = False


@dataclass(frozen=True)
class World:
    contests: Sequence[Contest]
    prepare: Callable[[Lab], object]
    state: Callable[[Lab], dict[str, Any]]
    few: int  # races in `make test`


# -- StorPool

VOLUME, SNAPSHOT, TEMPLATE = "storpool_volume", "storpool_snapshot", "storpool_template"
PRESENT = {"size": MIB, "template": "hdd"}
COPY = {"name": "copy", "base_on": "other", "tags": {"a": "b"}}
NAMELESS = {"match_tags": {"job": "x"}, "size": 2 * MIB}
GROUP = {"name": "{volume}-s", "volumes": ["group1", "group2"], "bind": True}
SERIES = {"name": "series-%Y%m%d", "state": "pruned"}
# Whole, because what is left out depends on who made the template.
PLACES = {disks: {f"place_{part}": disks for part in ("all", "head", "tail")} for disks in ("ssd", "hdd")}
NAMES = ("tags", "gone1", "gone2", "whose", "group1", "group2", "once", "series")
STORPOOL = [
    Contest(TEMPLATE, {"name": "t1", "replication": 2, **PLACES["ssd"]}, {"name": "t1", "replication": 3, **PLACES["hdd"]}),
    Contest(TEMPLATE, {"name": "t2", "replication": 2, "place_all": "ssd"}, {"name": "t2", "state": "absent"}),
    Contest(VOLUME, {"names": ["v1", "v2", "v3"], **PRESENT}, {"names": ["v2", "v3", "v4"], **PRESENT}, agree=True),
    Contest(VOLUME, {"name": "tags", "tags": {"a": "1", "b": "1"}}, {"name": "tags", "tags": {"a": "2", "b": "2"}}),
    Contest(VOLUME, {"names": ["gone1", "gone2"], **PRESENT, "attach_to": [11]},
            {"names": ["gone1", "gone2"], "state": "absent", "on_attached": "detach"}),
    Contest(VOLUME, {"name": "whose", "attach_to": [11], "exclusive": True}, {"name": "whose", "attach_to": [12], "exclusive": True}),
    Contest(VOLUME, COPY, COPY, agree=True),
    Contest(VOLUME, NAMELESS, NAMELESS, agree=True),
    Contest(SNAPSHOT, GROUP, GROUP, agree=True),
    Contest(SNAPSHOT, {"name": "once-s", "volume": "once", "tags": {"a": "b"}}, {"name": "once-s", "state": "absent"}),
    Contest(SNAPSHOT, {**SERIES, "keep_last": 1}, {**SERIES, "keep_last": 2}),
]  # fmt: skip


def with_volumes(lab: Lab) -> None:
    lab.clear()
    for name in NAMES:
        # Those that may go are empty: one that stays is then like one that went and was made anew.
        lab.volume(name, b"" if name.startswith("gone") else name.encode() * 100, template="hdd")
    lab.attach("gone1", rw=[12])
    for day in range(1, 6):
        lab.snapshot("series", f"series-2026010{day}")


# -- CloudStack

DATA = {"zone": "sofia", "offering": "Custom"}
CLOUD = [
    Contest("cloudstack_settings", {"name": "ha.tag", "value": "one"}, {"name": "ha.tag", "value": "other"}),
    Contest(
        "cloudstack_settings",
        {"settings": [{"name": "force.ha", "value": True, "cluster": "kvm1"}, {"name": "storage.stats.interval", "value": 77000}]},
        {"settings": [{"name": "force.ha", "value": True, "cluster": "kvm1"}, {"name": "ping.timeout", "value": 3}]},
        agree=True,
    ),
    Contest(
        "cloudstack_offering",
        {"offerings": [{"name": "gold", "size": "2G"}, {"name": "silver", "size": "3G"}]},
        {"offerings": [{"name": "silver", "size": "3G"}, {"name": "bronze", "size": "4G"}]},
        agree=True,
    ),
    Contest("cloudstack_offering", {"name": "plain", "display_text": "One"}, {"name": "plain", "display_text": "Other"}),
    Contest("cloudstack_offering", {"name": "old", "size": "5G"}, {"name": "old", "state": "absent"}),
    Contest(
        "cloudstack_volume",
        {**DATA, "names": ["a", "b"], "size": "1G", "vm": "db1"}, {**DATA, "names": ["b", "c"], "size": "1G", "vm": "db1"}, agree=True,
    ),
    Contest(
        "cloudstack_volume",
        {**DATA, "name": "gone", "size": "3G", "vm": "db1"}, {"name": "gone", "state": "absent", "on_attached": "detach"},
    ),
    Contest("cloudstack_snapshot", {"volume": "data", "name": "s"}, {"volume": "data", "name": "s"}, agree=True),
    Contest("cloudstack_snapshot", {"volume": "more", "name": "t"}, {"volume": "more", "name": "t", "state": "absent"}),
    Contest(
        "cloudstack_snapshot_policy",
        {"volume": "data", "policies": [{"interval": "daily", "schedule": "0:3", "keep": 2}]},
        {"volume": "data", "policies": [{"interval": "daily", "schedule": "0:4", "keep": 3}]},
    ),
]  # fmt: skip


def with_machines(lab: Lab) -> None:
    lab.clear()
    lab.simulator.deploy("db1")
    for name, size in (("gone", "3G"), ("data", "4G"), ("more", "5G")):
        ready(lab.run("cloudstack_volume", {**DATA, "name": name, "size": size, "vm": "db1"}))
    for name in ("data", "more"):
        ready(lab.run("cloudstack_volume", {"name": name, "vm": ""}))
    for name, size in (("plain", "1G"), ("old", "5G")):
        ready(lab.run("cloudstack_offering", {"name": name, "size": size}))


def cloud_state(lab: Lab) -> dict[str, Any]:
    state = {**snapshots(lab), **stored_settings(lab), **all_offerings(lab), "policies": policies(lab)}
    # CloudStack deals the numbers of devices out in the order of the calls.
    return {**state, "volume": [{**one, "deviceid": None} for one in state["volume"]]}


WORLDS = {
    "storpool": World(STORPOOL, with_volumes, storpool_state, 2),
    "cloudstack": World(CLOUD, with_machines, cloud_state, 1),
}

# -- a race


def tasks_of(contests: Sequence[Contest], side: str) -> list[dict[str, Any]]:
    """The tasks of one side; whichever of them fails, the next one follows."""
    return [
        {"name": f"{one.module}: {options}", f"storpool.cloudstack.{one.module}": options, "ignore_errors": True}
        for one in contests
        for options in [getattr(one, side)]
    ]


def gate(directory: Path, side: str) -> dict[str, Any]:
    """The first task of a playbook, which is up by then: it waits until it may begin."""
    waits = f"touch {directory}/{side}-is-up; until test -e {directory}/{side}-may-begin; do sleep 0.01; done"
    return {"name": "Wait for the other playbook", "ansible.builtin.shell": waits}


def opened(directory: Path, lot: random.Random) -> None:
    """Let both begin, one of them a little later, once both are up; one that never comes up tells in its output why."""
    deadline = time.monotonic() + 60
    while len(list(directory.glob("*-is-up"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.005)
    first, second = lot.sample(["one", "other"], 2)
    (directory / f"{first}-may-begin").touch()
    time.sleep(lot.uniform(0, lot.choice(APART)))
    (directory / f"{second}-may-begin").touch()


def one_after_the_other(world: World, lab: Lab, *sides: str) -> dict[str, Any]:
    world.prepare(lab)
    for side in sides:
        for one in world.contests:
            ready(lab.run(one.module, getattr(one, side), Clients(PATIENCE)))
    return world.state(lab)


def told(run: playbooks.Run) -> list[Any]:
    shown = ("changed", "failed", "msg", "warnings")
    return [(record["task"], {key: record["result"][key] for key in shown if record["result"].get(key)}) for record in run.tasks[1:]]


def is_told_well(run: playbooks.Run, contests: Sequence[Contest]) -> None:
    """All tasks of a racing playbook were carried out, and none says more than one structured error."""
    assert run.rc == 0 and len(run.tasks) == 1 + len(contests), run.output
    assert "Traceback" not in run.output and "unexpected error" not in run.output, run.output
    for record, contest in zip(run.tasks[1:], contests, strict=True):
        is_honest({name: value for name, value in record["result"].items() if (name, value) != NO_TRACEBACK})
        assert not (contest.agree and record["result"].get("failed")), run.output


def settles(world: World, lab: Lab, side: str) -> None:
    """The playbook alone brings about what it declares; when it runs once more it changes nothing."""
    tasks = tasks_of(world.contests, side)
    run = playbooks.run(tasks * 2, "-v", env=playbooks.connection(lab.simulator))
    assert run.rc == 0 and len(run.tasks) == 2 * len(tasks), run.output
    assert not any(record["result"].get("failed") for record in run.tasks), run.output
    quiet = [record["result"] for record in run.tasks[len(tasks) :]]
    assert not any(result["changed"] or result["api"]["writes"] for result in quiet), run.output


@pytest.mark.parametrize("name", WORLDS)
def test_two_playbooks_race(name: str, lab_of: Callable[[str], Lab], tmp_path: Path):
    world, lab = WORLDS[name], lab_of(name)
    races = 5 * int(os.environ["FAULT_RACES"]) if "FAULT_RACES" in os.environ else world.few
    orders = {last: one_after_the_other(world, lab, first, last) for first, last in (("one", "other"), ("other", "one"))}
    disturbed = 0
    for seed in range(SEED, SEED + races):
        print(f"seed {seed}", flush=True)
        lot = random.Random(seed)
        world.prepare(lab)
        before = world.state(lab)
        lab.simulator.fault("delay", count=-1, seconds=lot.uniform(0, LATE))
        contests = {"one": lot.sample(world.contests, len(world.contests))}
        contests["other"] = lot.choice([contests["one"], contests["one"], lot.sample(world.contests, len(world.contests))])
        place = tmp_path / str(seed)
        place.mkdir()
        plays = [
            partial(playbooks.run, [gate(place, side), *tasks_of(contests[side], side)], "-v", env=playbooks.connection(lab.simulator))
            for side in contests
        ]
        runs = at_once(lot, 0, *plays, partial(opened, place, lot))[:2]
        lab.simulator.clear_faults()
        for run, side in zip(runs, contests, strict=True):
            is_told_well(run, contests[side])
        said = "\n".join(str(one) for run in runs for one in told(run))
        failed = any(record["result"].get("failed") for run in runs for record in run.tasks[1:])
        disturbed += failed or "by somebody else" in said
        # What a task that failed has not done is as it was.
        wrong = wrong_end(world.state(lab), *orders.values(), *([before] if failed else []))
        assert not wrong, f"seed {seed}: {said}\n" + "\n".join(wrong)
        last = lot.choice(list(orders))
        settles(world, lab, last)
        wrong = wrong_end(world.state(lab), *(orders.values() if failed else [orders[last]]))
        assert not wrong, f"seed {seed}, after {last} once more: {said}\n" + "\n".join(wrong)
    print(f"{disturbed} of {races} races were felt by a task")
    counted("races", f"{races} races of two playbooks: {name}")
