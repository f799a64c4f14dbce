# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What goes wrong with CloudStack alone, at every call of every scenario that it can happen to: jobs that fail, jobs that nobody knows any
more, clocks that differ. And some of all faults on the releases that test_each_call.py does not run with.
"""

from __future__ import annotations

import itertools
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import storpool_simulator
from integration.conftest import CLOUDSTACKS
from lab import LATE, SEED, Lab, counted, identities
from registry import SCENARIOS, Scenario
from test_each_call import Kind, after_the_fault, cases, clean_run, entries, faulted, one, prepared

FACTS = json.loads((Path(storpool_simulator.__file__).parent / "schema" / "cloudstack-api.json").read_text(encoding="utf-8"))
ASYNCHRONOUS = {name for name, command in FACTS["commands"].items() if command.get("isasync")}
OF_CLOUDSTACK = [scenario for scenario in SCENARIOS if scenario.on_cloud]
MODULES = sorted({scenario.module for scenario in OF_CLOUDSTACK})
USUAL = "4.20.2"

JOBS = [
    Kind("job fails", one("job_fails", code=530, text="the storage said no"), writes_only=True),
    # As after a restart of a management server: the job is not known any more, whether or not it was done.
    Kind("job lost after its effect", one("job_lost", effect=True), writes_only=True),
    Kind("job lost without effect", one("job_lost", effect=False), writes_only=True),
]


# The records of these are made before the job, and the simulator's faults leave them as they are: not ready, for ever. The next task waits
# for them as long as it may, so that only a loss after the effect can be tried here.
LASTING = {"createTemplate", "createSnapshot", "createVMSnapshot"}


def lasting(call: dict[str, Any]) -> bool:
    """Whether a record stays behind without its content; so it does of a volume from a snapshot, which is then Allocated and empty."""
    return call["call"] in LASTING or (call["call"] == "createVolume" and "snapshotid" in (call["body"] or {}))


@pytest.mark.parametrize("scenario", OF_CLOUDSTACK, ids=str)
def test_a_job_that_fails_or_gets_lost(scenario: Scenario, lab_of: Callable[[str], Lab]):
    lab = lab_of(scenario.world)
    clean = clean_run(scenario, lab)
    jobs = [(number, call) for number, call in enumerate(clean.calls) if call["write"] and call["call"] in ASYNCHRONOUS]
    wrong: list[str] = []
    # One of the kinds at each job, the kinds taking turns; in the long run all.
    turn = random.Random(f"{SEED} {scenario}").randrange(len(JOBS))
    some = [(job, JOBS[(turn + place) % len(JOBS)]) for place, job in enumerate(jobs)]
    every = list(itertools.product(jobs, JOBS)) if "ALL_FAULTS" in os.environ else some
    chosen = [(job, JOBS[1] if lasting(job[1]) else kind) for job, kind in every]
    for (number, call), kind in chosen:
        options = prepared(scenario, lab)
        earlier = sum(before["call"] == call["call"] for before in clean.calls[:number])
        fault = dict(kind.fault or {})
        lab.simulator.fault(fault.pop("kind"), call["call"], skip=earlier, **fault)
        result = lab.run(scenario.module, options)
        found = after_the_fault(scenario, clean, lab, options, result, kind.recovers)
        told, planned = entries(scenario, result), entries(scenario, clean.result)
        if all(set(entry["actions"]) <= set(planned[name]["actions"]) for name, entry in told.items() if name in planned):
            # While a lost job is looked for, what would have been proved by a call may have become known by itself.
            found = [line for line in found if not line.startswith("other actions")]
        if kind.name == "job fails":
            # Its call was answered as one that began something, and nothing came of it.
            found = [line for line in found if not line.startswith("says that")]
            if not result.get("failed") or "the storage said no" not in result["msg"]:
                found.append(f"does not tell why the job failed: {result.get('msg')}")
        elif not result.get("failed"):
            # It was found again by what it did, and only what was not done was sent again.
            sent = sum(entry["call"] == call["call"] for entry in lab.simulator.calls()["calls"])
            expected = sum(entry["call"] == call["call"] for entry in clean.calls)
            if sent > expected + (kind.name == "job lost without effect"):
                found.append(f"sent {call['call']} {sent} times, an undisturbed run sends it {expected} times")
        wrong += [f"{kind.name} at call {number + 1} ({call['call']}): {line}" for line in found]
    counted("jobs", f"{len(chosen)} jobs that fail or get lost: {scenario}")
    assert not wrong, "\n".join(wrong)


def test_a_lost_job_that_took_effect_is_not_repeated(lab_of: Callable[[str], Lab]):
    """The proof by the log: the pool goes into maintenance once, though nobody knows of the job that brought it there."""
    lab = lab_of("cloudstack")
    lab.clear()
    made = lab.run("cloudstack_storage_pool", {"name": "archive", "zone": "sofia", "template": "hybrid"})
    assert not made.get("failed"), made["msg"]
    lab.simulator.reset_calls()
    lab.simulator.fault("job_lost", "enableStorageMaintenance", effect=True)
    result = lab.run("cloudstack_storage_pool", {"name": "archive", "zone": "sofia", "state": "maintenance"})
    assert not result.get("failed"), result["msg"]
    assert result["changed"]
    assert [entry["call"] for entry in lab.simulator.calls()["calls"] if entry["write"]] == ["enableStorageMaintenance"]


@pytest.mark.parametrize("kind", [JOBS[0], JOBS[2]], ids=lambda kind: kind.name)
def test_a_volume_that_nothing_was_copied_to_is_not_taken_for_one_that_has_it(kind: Kind, lab_of: Callable[[str], Lab]):
    """The record that such a job leaves behind names the snapshot, and a volume that is empty hangs on it."""
    scenario = next(one for one in OF_CLOUDSTACK if str(one).endswith("make_a_volume_from_a_snapshot"))
    lab = lab_of(scenario.world)
    options = prepared(scenario, lab)
    fault = dict(kind.fault or {})
    lab.simulator.fault(fault.pop("kind"), "createVolume", **fault)
    assert lab.run(scenario.module, options).get("failed")
    lab.simulator.clear_faults()
    lab.simulator.reset_calls()
    refused = lab.run(scenario.module, options)
    assert refused.get("failed")
    assert "has nothing of snapshot before" in refused["msg"]
    assert "state: absent" in refused["msg"]
    assert not [entry["call"] for entry in lab.simulator.calls()["calls"] if entry["write"]]
    for again in ({"name": options["name"], "zone": options["zone"], "state": "absent"}, options):
        done = lab.run(scenario.module, again)
        assert not done.get("failed"), done["msg"]
        assert done["changed"]


def test_vm_snapshots_of_one_second_are_told_apart(lab_of: Callable[[str], Lab]):
    """CloudStack's own name for one tells the second, which says nothing of whether it was made anew."""
    lab = lab_of("cloudstack")
    lab.clear()
    lab.simulator.deploy("db1")
    for name in ("first", "second"):
        made = lab.run("cloudstack_vm_snapshot", {"vm": "db1", "name": name})
        assert not made.get("failed"), made["msg"]
    found = {name: ids for (kind, name), ids in identities(lab).items() if kind == "vm_snapshots"}
    assert found.keys() == {"first", "second"}
    assert [len(ids) for ids in found.values()] == [1, 1]


@pytest.mark.parametrize("module", MODULES)
def test_a_server_whose_clock_is_ahead(module: str, lab_of: Callable[[str], Lab]):
    """No signature holds: one error that names the clocks, nothing written; once the clock is right, it is done.

    A clock that is behind does no harm before `enforce.post.requests.and.timestamps` is switched on, which these releases do not.
    """
    scenario = next(one for one in OF_CLOUDSTACK if one.module == module)
    lab = lab_of(scenario.world)
    options = prepared(scenario, lab)
    lab.simulator.control("POST", "/cloudstack/skew", {"seconds": LATE})
    try:
        result = lab.run(module, options)
    finally:
        lab.simulator.control("POST", "/cloudstack/skew", {"seconds": 0})
    assert result["failed"]
    assert result["error"]["type"] == "unauthorized"
    assert "the clocks differ by" in result["msg"]
    assert lab.writes() == []
    again = lab.run(module, options)
    assert not again.get("failed"), again["msg"]


@pytest.mark.parametrize("version", [version for version in CLOUDSTACKS if version != USUAL])
def test_some_faults_on_each_release(version: str, cloud_of: Callable[[str], Any]):
    """The first scenario of two modules with every twelfth of its faults, beginning elsewhere in each release."""
    wrong: list[str] = []
    tried = 0
    for module in ("cloudstack_settings", "cloudstack_storage_pool"):  # quick to prepare
        scenario = next(one for one in OF_CLOUDSTACK if one.module == module)
        lab = Lab(cloud_of(version))
        clean = clean_run(scenario, lab)
        chosen = cases(scenario, clean)[CLOUDSTACKS.index(version) :: 12][:5]
        tried += len(chosen)
        for number, call, kind in chosen:
            wrong += [f"{module}, {kind.name} at {call['call']}: {line}" for line in faulted(scenario, lab, kind, number, call, clean)]
    assert tried
    assert not wrong, "\n".join(wrong)
