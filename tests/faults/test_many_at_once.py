# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Failures among many objects, a server that dies under load, playbooks that are killed, and tasks that race with each other.

Whatever is drawn by lot is drawn from a seed that the test prints; FAULT_SEED sets the first one, FAULT_RUNS how many kills there are,
FAULT_RACES how many races of each kind.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import playbooks
import pytest
from ansible_collections.storpool.cloudstack.plugins.module_utils import _http, _runner
from integration.conftest import declared
from lab import PATIENCE, SEED, Clients, Lab, counted, differences, is_honest, raced, settles, silent, storpool_state
from of_cloudstack import both_states, machines, policies
from of_infrastructure import all_offerings, stored_settings
from registry import MIB

KILLS = int(os.environ.get("FAULT_RUNS", "20"))
RACES = int(os.environ.get("FAULT_RACES", "6"))  # of each kind

VOLUME, SNAPSHOT = "storpool_volume", "storpool_snapshot"


def volumes(lab: Lab) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in lab.get("VolumesList") if one["name"] != "other"}


def attached(lab: Lab) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for one in lab.get("AttachmentsList"):
        found.setdefault(one["volume"], []).append(one["client"])
    return found


# -- one of a thousand

NAMES = [f"v{number:04}" for number in range(1, 1001)]
THE_500TH = NAMES[499]


@pytest.fixture
def ahead(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """`ahead(3)` lets no more than three objects behind the one that fails be begun before that one has ended, however late it is."""

    def let(most: int) -> None:
        ended, carry_out = threading.Event(), _runner._Run._carry_out

        def in_turn(self: Any, wanted: Any, outcome: Any) -> None:
            if outcome.plan.name > NAMES[499 + most]:
                assert ended.wait(120)
            carry_out(self, wanted, outcome)
            if outcome.plan.name == THE_500TH:
                ended.set()

        monkeypatch.setattr(_runner._Run, "_carry_out", in_turn)

    return let


@pytest.mark.parametrize("parallel", [1, 8])
@pytest.mark.parametrize("on_error", ["stop", "continue"])
def test_item_500_of_1000_fails(lab, ahead, on_error, parallel):
    """The result and the cluster agree item by item, and the next run does the rest."""
    lab.clear()
    ahead(parallel - 1)
    names = NAMES
    options = {"names": names, "size": MIB, "parallel": parallel, "return_objects": "all"}
    lab.simulator.fault("error", "VolumeCreate", object="v0500", name="insufficientResources", descr="no space left")
    result = lab.run(VOLUME, {**options, "on_error": on_error})
    is_honest(result)
    there = volumes(lab)
    told = {entry["name"]: entry for entry in result["volumes"]}
    assert sorted(told) == names
    assert {name for name, entry in told.items() if entry["changed"]} == set(there)
    assert {name for name, entry in told.items() if entry.get("not_done")} == set(names) - set(there)
    assert [name for name, entry in told.items() if entry.get("failed")] == ["v0500"]
    assert all(told[name]["object"]["global_id"] == raw["globalId"] for name, raw in there.items())
    counts = result["summary"]
    assert (counts["changed"], counts["failed"], counts["not_attempted"]) == (len(there), 1, 999 - len(there))
    assert result["error"]["object"] == "v0500" and "1 of 1000 failed" in result["msg"]
    if on_error == "continue":
        assert len(there) == 999
    else:
        # Those that others were at were finished, and none was begun any more.
        assert 499 - parallel < len(there) < 499 + parallel
    again = lab.run(VOLUME, options)
    assert (again["summary"]["changed"], sorted(volumes(lab))) == (1000 - len(there), names)
    silent(lab, VOLUME, options)


@dataclass(frozen=True)
class Many:
    """A thousand objects of another module: the call that makes one, what goes wrong with it, and the names that are there."""

    module: str
    options: dict[str, Any]
    call: str
    fault: dict[str, Any]
    there: Callable[[Lab], list[str]]
    world: str = "storpool"


def offerings_there(lab: Lab) -> list[str]:
    return [one["name"] for one in lab.simulator.cs("listDiskOfferings", listall=True, pagesize=-1)[1]["diskoffering"]]


MANY = [
    Many(
        SNAPSHOT, {"volume": "other"}, "VolumeSnapshot", {"name": "insufficientResources", "descr": "no space left"},
        lambda lab: [one["name"] for one in lab.get("SnapshotsList")],
    ),
    Many("storpool_template", {"replication": 2, "place_all": "hdd"}, "VolumeTemplateCreate",
         {"name": "insufficientResources", "descr": "no space left"}, lambda lab: [one["name"] for one in lab.get("VolumeTemplatesList")]),
    Many(
        "cloudstack_offering", {"size": "5G"}, "createDiskOffering", {"name": "530", "descr": "no space left"},
        offerings_there, "cloudstack",
    ),
]  # fmt: skip


# CloudStack's take longest; how a task stops is the same for all.
@pytest.mark.parametrize(
    ("many", "on_error"),
    [
        pytest.param(one, how, id=f"{one.module}-{how}")
        for one in MANY
        for how in ("stop", "continue")
        if one.world == "storpool" or how != "stop"
    ],
)
def test_item_500_of_1000_of_other_modules_fails(lab_of, ahead, many, on_error):
    lab = lab_of(many.world)
    lab.clear()
    parallel = declared(many.module).argument_spec()["parallel"]["default"]
    ahead(parallel - 1)
    names = NAMES
    options = {"names": names, **many.options, "return_objects": "all"}
    lab.simulator.fault("error", many.call, object="v0500", **many.fault)
    result = lab.run(many.module, {**options, "on_error": on_error})
    is_honest(result)
    there = set(many.there(lab)) & set(names)
    told = {entry["name"]: entry for entry in result[declared(many.module).plural]}
    assert sorted(told) == names
    assert {name for name, entry in told.items() if entry["changed"]} == there
    assert {name for name, entry in told.items() if entry.get("not_done")} == set(names) - there
    assert [name for name, entry in told.items() if entry.get("failed")] == ["v0500"] and "no space left" in result["msg"]
    assert len(there) == 999 if on_error == "continue" else 499 - parallel < len(there) < 499 + parallel
    again = lab.run(many.module, options)
    assert again["summary"]["changed"] == 1000 - len(there) and set(names) <= set(many.there(lab))
    silent(lab, many.module, options)


# -- the server dies and comes back


@pytest.mark.parametrize("number", range(4))
def test_a_server_killed_under_load(lab, patient, number, monkeypatch):
    """The task goes on where it was; what was acknowledged before the kill is there once, after it too."""
    # How long a server takes to come back depends on the machine; however long that is, somebody is still there.
    monkeypatch.setattr(_http, "CONNECT_ATTEMPTS", 1000)
    lab.clear()
    seed = SEED + number
    print(f"seed {seed}")
    lot = random.Random(seed)
    names = [f"v{index:03}" for index in range(300)]
    options = {"names": names, "size": MIB, "attach_to": [11], "tags": {"run": str(seed)}, "return_objects": "all"}
    results: list[dict[str, Any]] = []
    lab.simulator.fault("delay", "VolumeCreate", count=-1, seconds=0.005)
    work = threading.Thread(target=lambda: results.append(lab.run(VOLUME, options, Clients(5 * PATIENCE))))
    work.start()
    after = lot.randrange(1, 400)
    while lab.simulator.calls(summary=True)["writes"] < after and work.is_alive():
        time.sleep(0.005)
    lab.simulator.kill()
    time.sleep(lot.uniform(0, 0.5))
    lab.simulator.start()
    work.join()
    (result,) = results
    is_honest(result)
    assert not result.get("failed"), result["msg"]
    there = volumes(lab)
    assert sorted(there) == names
    assert attached(lab) == {"other": [13], **{name: [11] for name in names}}
    assert all(entry["object"]["global_id"] == there[entry["name"]]["globalId"] for entry in result["volumes"])
    silent(lab, VOLUME, options)


def restarted(lab: Lab) -> None:
    """The management servers restart and forget their jobs; what is on record stays."""
    lab.simulator.restart_server(lose_jobs=True)


def killed_and_started(lab: Lab) -> None:
    lab.simulator.kill()
    lab.simulator.start()


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("dies", [restarted, killed_and_started], ids=["jobs lost", "killed"])
def test_a_cloudstack_that_dies_under_load(lab_of, dies, number):
    """Jobs are lost, or begin anew: no volume is made twice, and the next run does what is missing."""
    lab = lab_of("cloudstack")
    lab.clear()
    seed = SEED + number
    print(f"seed {seed}")
    lot = random.Random(seed)
    lab.simulator.deploy("db1")
    names = [f"d{index}" for index in range(8)]
    options = {"zone": "sofia", "offering": "Custom", "size": "1G", "names": names, "vm": "db1", "parallel": 4, "on_error": "continue"}
    results: list[dict[str, Any]] = []
    lab.simulator.reset_calls()
    work = threading.Thread(target=lambda: results.append(lab.run("cloudstack_volume", options, Clients(PATIENCE))))
    work.start()
    after = lot.randrange(1, 3 * len(names))
    while lab.simulator.calls(summary=True)["writes"] < after and work.is_alive():
        time.sleep(0.002)
    dies(lab)
    work.join()
    (result,) = results
    is_honest(result)
    told = [] if not result.get("failed") else result["volumes"]
    assert all(entry.get("failed") for entry in told if entry.get("unknown") or entry.get("not_done")), told
    again = lab.run("cloudstack_volume", options, Clients(PATIENCE))
    assert not again.get("failed"), f"seed {seed}: {again['msg']}"
    there = [one["name"] for one in lab.simulator.cs("listVolumes", listall=True, type="DATADISK")[1]["volume"]]
    assert sorted(there) == names, f"seed {seed}: {result.get('msg')}"
    made = [one for one in lab.get("VolumesList") if one["size"] == 1 << 30]
    assert sorted(attached(lab).values()) == [[11]] * (1 + len(names)) + [[13]] and len(made) == len(names)
    silent(lab, "cloudstack_volume", options)


# -- the playbook dies

TASKS: list[tuple[str, dict[str, Any]]] = [
    ("storpool_template", {"name": "tier", "replication": 2, "place_all": "ssd"}),
    (VOLUME, {"names": [f"v{number:02}" for number in range(24)], "size": MIB, "template": "tier", "attach_to": [11], "parallel": 4}),
    (VOLUME, {"match_tags": {"uuid": "1"}, "size": MIB}),
    (VOLUME, {"name": "copy", "base_on": "v00", "tags": {"a": "b"}}),
    (SNAPSHOT, {"name": "{volume}-snap", "volumes": ["v00", "v01", "v02"], "bind": True}),
    (SNAPSHOT, {"name": "b", "volume": "v01", "backup_to": "plovdiv"}),
    (VOLUME, {"names": ["old1", "old2", "old3"], "state": "absent", "on_attached": "detach", "keep_snapshot": {}}),
    (SNAPSHOT, {"name": "other-s", "export_to": ["plovdiv"], "tags": {"a": "b"}}),
]


def with_old_volumes(lab: Lab) -> None:
    lab.clear()
    for name in ("old1", "old2", "old3"):
        lab.volume(name, name.encode() * 100)
        lab.attach(name, rw=[12])


def killed(lab: Lab, directory: Path, playbook: Path, lot: random.Random, writes: int) -> bool:
    """Run the playbook and kill it, with all its workers, at one of its `writes`; tell whether it was still at work."""
    after, pause = lot.randrange(0, writes), lot.uniform(0, 0.01)
    process = subprocess.Popen(
        [str(playbooks.BIN / "ansible-playbook"), str(playbook)],
        cwd=directory,
        env={**playbooks.environment(directory), **playbooks.connection(lab.simulator)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while process.poll() is None and lab.simulator.calls(summary=True)["writes"] < after:
        time.sleep(0.001)
    time.sleep(pause)
    running = process.poll() is None
    if running:
        kill_whole(process.pid)
    process.wait()
    return running


def kill_whole(process: int) -> None:
    """Kill a process and all that it has begun: since ansible-core 2.19 a worker leads a group of its own, and would go on alone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGSTOP)  # so that it begins no more of them
        for one in children(process):
            kill_whole(one)
        os.kill(process, signal.SIGKILL)


def children(process: int) -> list[int]:
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            # Behind the name, which is in brackets and may have any in it, come the state and the parent.
            if int(status.read_text().rpartition(")")[2].split()[1]) == process:
                found.append(int(status.parent.name))
    return found


def cloud_world(lab: Lab) -> None:
    lab.clear()
    for name in ("db1", "db2"):
        lab.simulator.deploy(name)
    for name in ("old", "moves"):
        made = lab.run("cloudstack_volume", {**DATA, "name": name, "vm": "db1"})
        assert not made.get("failed"), made["msg"]


DATA = {"zone": "sofia", "offering": "Custom", "size": "1G"}
CLOUD_TASKS: list[tuple[str, dict[str, Any]]] = [
    ("cloudstack_settings", {"settings": [{"name": "ha.tag", "value": "ha"}, {"name": "force.ha", "value": True, "cluster": "kvm1"}]}),
    ("cloudstack_offering", {"offerings": [{"name": "gold", "size": "2G", "max_iops": 100}, {"name": "silver", "details": {"a": "b"}}]}),
    ("cloudstack_volume", {**DATA, "names": ["a", "b"], "vm": "db1", "parallel": 1}),
    ("cloudstack_volume", {"name": "moved", "renamed_from": "moves", "size": "2G", "vm": "db2", "device_id": 5}),
    ("cloudstack_volume", {"name": "old", "state": "absent", "on_attached": "detach"}),
    ("cloudstack_snapshot_policy", {"volume": "a", "policies": [{"interval": "daily", "schedule": "0:3", "keep": 2}]}),
    ("cloudstack_vm_snapshot", {"vm": "db2", "name": "before"}),
    ("cloudstack_storage_pool", {"name": "archive", "zone": "sofia", "template": "hybrid", "state": "disabled"}),
]


def cloud_state(lab: Lab) -> dict[str, Any]:
    """What the tasks are about, on both sides."""
    disks = machines(lab)
    # CloudStack deals the numbers of devices out in the order of the calls.
    disks["volume"] = sorted(({**one, "deviceid": None} for one in disks["volume"]), key=repr)
    return {**disks, **stored_settings(lab), "offerings": all_offerings(lab), "policies": policies(lab), "pools": both_states(lab)["pools"]}


WORLDS = {"storpool": (with_old_volumes, TASKS, storpool_state), "cloudstack": (cloud_world, CLOUD_TASKS, cloud_state)}


@pytest.mark.parametrize("world", WORLDS)
def test_playbooks_killed_at_any_moment(world, lab_of, tmp_path):
    """The next run, whole, ends where one ends that was never disturbed, and the one after that is silent.

    A quarter of them speaks to CloudStack.
    """
    lab = lab_of(world)
    prepare, tasks, state = WORLDS[world]
    kills = max(1, KILLS // 4) if world == "cloudstack" else KILLS - KILLS // 4
    plays = [{f"storpool.cloudstack.{module}": options, "name": f"Task {number}"} for number, (module, options) in enumerate(tasks)]
    playbook = tmp_path / "playbook.yml"
    playbook.write_text(json.dumps(playbooks.plays(plays)), encoding="utf-8")
    prepare(lab)
    lab.simulator.reset_calls()
    for module, options in tasks:
        assert not (result := lab.run(module, options, Clients(PATIENCE))).get("failed"), result["msg"]
    writes = lab.simulator.calls(summary=True)["writes"]
    expected = state(lab)
    # One that has ended before its turn was not killed, and does not count.
    seeds = itertools.count(SEED)
    for _unused in range(kills):
        while True:
            seed = next(seeds)
            print(f"seed {seed}", flush=True)
            prepare(lab)
            lab.simulator.reset_calls()
            if killed(lab, tmp_path, playbook, random.Random(seed), writes):
                break
            assert seed < SEED + 2 * kills + 10, "most playbooks end before they are killed"
        lab.quiet()
        for module, options in tasks:
            result = lab.run(module, options, Clients(PATIENCE))
            assert not result.get("failed"), f"seed {seed}: {result['msg']}"
        wrong = differences(expected, state(lab))
        assert not wrong, f"seed {seed}:\n" + "\n".join(wrong)
        for module, options in tasks:
            silent(lab, module, options)
    counted("kills", f"{kills} playbooks for {world}")


# -- races

PRESENT = {"size": MIB, "template": "hdd"}
RACE_KINDS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "overlapping": (VOLUME, {"names": ["v1", "v2", "v3", "v4"], **PRESENT}, {"names": ["v3", "v4", "v5", "v6"], **PRESENT}),
    "tags": (VOLUME, {"names": ["v1", "v2"], **PRESENT, "tags": {"a": "1"}}, {"names": ["v1", "v2"], **PRESENT, "tags": {"a": "2"}}),
    "sizes": (VOLUME, {"name": "v1", **PRESENT}, {"name": "v1", **PRESENT, "size": 2 * MIB}),
    "there and not": (VOLUME, {"names": ["w1", "v1"], **PRESENT, "attach_to": [11]},
                      {"names": ["w1", "v1"], "state": "absent", "on_attached": "detach"}),
    "no names": (VOLUME, {"match_tags": {"uuid": "1"}, **PRESENT, "attach_to": [11]}, {"match_tags": {"uuid": "1"}, **PRESENT}),
    "whose it is": (VOLUME, {"name": "w1", "attach_to": [11], "exclusive": True}, {"name": "w1", "attach_to": [12], "exclusive": True}),
    "names": (VOLUME, {"name": "n1", "renamed_from": "w1"}, {"name": "n2", "renamed_from": "w1"}),
    "same group": (SNAPSHOT, {"name": "{volume}-s", "volumes": ["w1", "w2"], "bind": True},
                   {"name": "{volume}-s", "volumes": ["w1", "w2"], "bind": True}),
    "bound or not": (SNAPSHOT, {"name": "s", "volume": "w1", "bind": True}, {"name": "s", "volume": "w1", "bind": False}),
    "templates": ("storpool_template", {"name": "t", "replication": 2, "place_all": "ssd"}, {"name": "t", "state": "absent"}),
}  # fmt: skip


def ends(kind: str, lab: Lab) -> list[str]:
    """What is wrong with the end of a race: things in neither of their two declared states, or there twice."""
    there = volumes(lab)
    names = Counter(one["name"] for listing in ("VolumesList", "SnapshotsList") for one in lab.get(listing))
    wrong = [f"{name} is there {count} times" for name, count in names.items() if count > 1]
    snapshots = {one["name"]: one for one in lab.get("SnapshotsList") if not one["deleted"]}

    def expect(holds: bool, what: str) -> None:
        if not holds:
            wrong.append(what)

    if kind == "overlapping":
        expect(there.keys() == {"v1", "v2", "v3", "v4", "v5", "v6", "w1", "w2"}, f"there are {sorted(there)}")
    elif kind == "tags":
        expect(all(there[name]["tags"] in ({"a": "1"}, {"a": "2"}) for name in ("v1", "v2")), f"tags {there}")
    elif kind == "sizes":
        expect(there["v1"]["size"] in (MIB, 2 * MIB), f"size {there['v1']['size']}")
    elif kind == "there and not":
        expect(all(one["size"] == MIB for one in there.values()), "sizes")
    elif kind == "no names":
        expect(sum(one["tags"] == {"uuid": "1"} for one in there.values()) == 1, f"volumes {there}")
    elif kind == "whose it is":
        expect(attached(lab)["w1"] in ([11], [12]), f"attached to {attached(lab)['w1']}")
    elif kind == "names":
        expect(len({"n1", "n2", "w1"} & there.keys()) == 1 and "w1" not in there, f"there are {sorted(there)}")
    elif kind == "same group":
        expect({"w1-s", "w2-s"} <= snapshots.keys() and all(snapshots[name]["bound"] for name in ("w1-s", "w2-s")), "group")
    elif kind == "bound or not":
        expect("s" in snapshots, "no snapshot")
    return wrong


@pytest.mark.parametrize("kind", RACE_KINDS)
def test_two_tasks_race(lab, kind):
    """Both end with a success or an error that says what happened; every object is in one of its two declared states."""
    module, one, other = RACE_KINDS[kind]
    for seed in range(SEED, SEED + RACES):
        print(f"seed {seed}")
        lot = random.Random(seed)
        lab.clear()
        for name in ("w1", "w2"):
            lab.volume(name, template="hdd")
        results = raced(lab, lot, 0.02, 0.02, module, one, other)
        told = [(result.get("msg"), result.get("warnings")) for result in results]
        assert ends(kind, lab) == [], f"seed {seed}: {told}"
        if kind in ("overlapping", "same group"):
            assert not any(result.get("failed") for result in results), f"seed {seed}: {told}"
        # Whoever runs again, alone, has it as declared.
        if kind not in ("names", "sizes"):
            settles(lab, module, lot.choice([one, other]))
    counted("races", f"{RACES} races: {kind}")
