# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""For every scenario: the calls of a clean run, then each of them gone wrong in every way.

A faulted task succeeds, or fails with one error whose word on what was done is true; the next run ends where an undisturbed one ends; the
run after it writes nothing. Contents, attachments, exports and templates of all clusters are compared, those of bystanders too.
"""

from __future__ import annotations

import importlib
import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from gate import Gate
from integration.conftest import declared
from lab import PATIENCE, SEED, Clients, Lab, counted, differences, identities, tables
from places import Place, noting_changes
from registry import SCENARIOS, Scenario

HERE = Path(__file__).resolve().parent

for found in sorted(HERE.glob("of_*.py")):
    importlib.import_module(found.stem)

ACCIDENTAL = {"api", "invocation", "created", "global_id", "delete_at", "started", "id", "remote_id"}
IMPATIENT = 0.12  # seconds after which the caller of a slow server gives up here
LATER = 0.08  # seconds after that


@dataclass(frozen=True)
class Kind:
    """A way to go wrong.

    `fault` is the simulator's; `gate` says what helps when connections are refused: it "opens", or another "endpoint".
    """

    name: str
    fault: dict[str, Any] | None = None
    gate: str = ""
    recovers: bool = False  # a task that retries as it should succeeds
    slow: bool = False  # the caller gives up on it: what the call itself waits for is added
    writes_only: bool = False
    late: bool = False  # from that call on the clock here is behind that of CloudStack


def one(kind: str, **more: Any) -> dict[str, Any]:
    return {"kind": kind, **more}


def for_good(kind: str, **more: Any) -> dict[str, Any]:
    return {"kind": kind, "count": -1, **more}


KINDS = [
    Kind("transient", one("transient", count=2), recovers=True),
    Kind("cut before", one("cut_before"), recovers=True),
    Kind("cut after", one("cut_after"), recovers=True),
    Kind("status 503", one("status", status=503), recovers=True),
    Kind("no JSON", one("bad_json"), recovers=True),
    Kind("truncated", one("truncated"), recovers=True),
    Kind("slow body in time", one("slow_body", seconds=0.03), recovers=True),
    Kind("slow body too late", one("slow_body", seconds=IMPATIENT + LATER), slow=True, writes_only=True),
    Kind("answer too late", one("delay", seconds=IMPATIENT + LATER), slow=True, writes_only=True),
    Kind("refused for a while", gate="opens", recovers=True),
    Kind("one endpoint gone", gate="endpoint", recovers=True),
    Kind("error", one("error", name="insufficientResources", descr="no space left"), writes_only=True),
    Kind("transient for good", for_good("transient"), slow=True, writes_only=True),
    Kind("cut before for good", for_good("cut_before")),
    Kind("cut after for good", for_good("cut_after"), writes_only=True),
    Kind("status 502 for good", for_good("status", status=502), writes_only=True),
    Kind("clocks differ", late=True),
]


@dataclass
class Clean:
    """What an undisturbed run did, and how it left the world; `kept` are the objects that it left as they were made."""

    result: dict[str, Any]
    calls: list[dict[str, Any]]
    state: Any
    options: dict[str, Any]
    changes: set[Place]
    kept: set[tuple[str, str]]


def plural(scenario: Scenario) -> str:
    return getattr(declared(scenario.module), "plural", "")


def entries(scenario: Scenario, result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The entries of all objects: those of the module's own kind by name, those that change along (`clusters`) by kind and name."""
    own = plural(scenario)
    return {
        entry["name"] if among == own else f"{among} {entry['name']}": entry
        for among, listed in result.items()
        if isinstance(listed, list)
        for entry in listed
        if isinstance(entry, dict) and "actions" in entry
    }


def prepared(scenario: Scenario, lab: Lab) -> dict[str, Any]:
    lab.clear()
    options = scenario.declare(lab)
    lab.before = identities(lab)
    lab.simulator.reset_calls()
    return options if scenario.reads_only else {"return_objects": "all", **options}


CLEAN: dict[tuple[str, str], Clean] = {}


def clean_run(scenario: Scenario, lab: Lab) -> Clean:
    """The undisturbed run; there is one of each scenario and release, which all tests compare with."""
    key = str(scenario), lab.release
    if key not in CLEAN:
        options = prepared(scenario, lab)
        with noting_changes(made := set()):
            result = lab.run(scenario.module, options)
        assert not result.get("failed"), result["msg"]
        calls = lab.log()
        assert any(call["write"] for call in calls) != scenario.reads_only
        state, now = whole_state(scenario, lab), identities(lab)
        kept = {one for one, ids in lab.before.items() if now.get(one) == ids}
        assert kept, "bystanders are not kept"
        CLEAN[key] = Clean(result, calls, state, options, made, kept)
    return CLEAN[key]


def whole_state(scenario: Scenario, lab: Lab) -> Any:
    """What the scenario compares, and all that CloudStack has where there is one."""
    state = scenario.state(lab)
    return {**(state if isinstance(state, dict) else {"listed": state}), **tables(lab)} if scenario.on_cloud else state


def made_anew(clean: Clean, lab: Lab) -> list[str]:
    """What an undisturbed run leaves alone and this one has put another thing in the place of."""
    now = identities(lab)
    return [
        f"{kind} {name} has another id: {lab.before[kind, name]} before, {now.get((kind, name))} now"
        for kind, name in sorted(clean.kept & lab.before.keys())
        if now.get((kind, name)) != lab.before[kind, name]
    ]


def untrue(scenario: Scenario, clean: Clean, result: dict[str, Any], log: list[dict[str, Any]]) -> list[str]:
    """Where a failed task lied: about what was done, or by saying too much."""
    if not isinstance(result.get("error"), dict) or not result["error"].get("type") or not result.get("msg"):
        return [f"no structured error: {result}"]
    found = []
    if "exception" in result or "defect" in result["msg"] or result["error"]["type"] == "defect":
        found.append(f"a defect: {result['msg']} {result.get('exception', '')}")
    effects = sum(call["write"] and call["status"] == 200 for call in log)
    told = entries(scenario, result)
    done = sum(len(entry["actions"]) for entry in told.values())
    unknown = sum(len(entry.get("unknown", [])) for entry in told.values())
    if not done <= effects <= done + unknown:
        found.append(f"says that {done} were done and {unknown} are not known, {effects} writes had an effect: {result['msg']}")
    if result["changed"] != bool(done):
        found.append(f"changed is {result['changed']}, {done} were done")
    for name, entry in told.items():
        planned = entries(scenario, clean.result)[name]["actions"] if name in entries(scenario, clean.result) else None
        said = [*entry["actions"], *entry.get("unknown", []), *entry.get("not_done", [])]
        refused_at_once = not said and not effects
        if planned is not None and not refused_at_once and sorted(said) != sorted(planned):
            found.append(f"{name}: {said} are not the actions of an undisturbed run, {planned}")
    return found


def lasting(told: Any) -> Any:
    """A result without what differs from run to run."""
    if isinstance(told, dict):
        return {key: lasting(value) for key, value in told.items() if key not in ACCIDENTAL}
    return [lasting(value) for value in told] if isinstance(told, list) else told


def after_the_fault(
    scenario: Scenario, clean: Clean, lab: Lab, options: dict[str, Any], result: dict[str, Any], recovers: bool
) -> list[str]:
    """What is wrong with a faulted run, with the world it left, with the next one, and with the one after that."""
    log = lab.quiet()
    lab.simulator.clear_faults()
    if lab.simulator.token in repr(result):
        return ["the token is in the result"]
    if result.get("failed"):
        wrong = untrue(scenario, clean, result, log)
        if recovers:
            wrong.append(f"failed: {result['msg']}")
    else:
        wrong = []
        if scenario.reads_only:
            wrong += [f"read otherwise: {line}" for line in differences(lasting(clean.result), lasting(result))]
        elif {name: entry["actions"] for name, entry in entries(scenario, result).items()} != {
            name: entry["actions"] for name, entry in entries(scenario, clean.result).items()
        }:
            wrong.append(f"other actions: {[entry['actions'] for entry in entries(scenario, result).values()]}")
    again = lab.run(scenario.module, options)
    if again.get("failed"):
        return [*wrong, f"the next run failed: {again['msg']}"]
    wrong += [f"the end is another: {line}" for line in differences(clean.state, whole_state(scenario, lab))]
    wrong += made_anew(clean, lab)
    lab.simulator.reset_calls()
    third = lab.run(scenario.module, options)
    if third.get("failed") or third["changed"] or lab.writes():
        wrong.append(f"the third run was not silent: {third.get('msg')} {lab.writes()}")
    return wrong


def faulted(scenario: Scenario, lab: Lab, kind: Kind, number: int, call: dict[str, Any], clean: Clean) -> list[str]:
    options = prepared(scenario, lab)
    if kind.fault is not None:
        fault = dict(kind.fault)
        if kind.slow and "seconds" in fault:
            fault["seconds"] += float((call["body"] or {}).get("attachTimeout", 0))
        lab.simulator.fault(fault.pop("kind"), "*", skip=number, plugin=False, **fault)
        result = lab.run(scenario.module, options, Clients(IMPATIENT) if kind.slow else None)
        return after_the_fault(scenario, clean, lab, options, result, kind.recovers)
    before = sum(through_the_gate(scenario, earlier) for earlier in clean.calls[:number])
    if kind.late:
        clients = Clients(PATIENCE, in_time=before)
        result = lab.run(scenario.module, options, clients)
        wrong = after_the_fault(scenario, clean, lab, options, result, kind.recovers)
        if clients.late and (not result.get("failed") or "the clocks differ by" not in result["msg"]):
            wrong.append(f"says nothing of clocks: {result.get('msg')}")
        return wrong
    port = urlsplit(lab.simulator.cloudstack["url"]).port if scenario.on_cloud else lab.simulator.port
    assert port
    with Gate(port) as gate:
        gate.shut_at(before)
        if scenario.on_cloud:
            there = {"cloudstack_url": lab.simulator.cloudstack["url"].replace(str(port), str(gate.port))}
        else:
            hosts = (gate.port, *([port] if kind.gate == "endpoint" else []))
            there = {"sp_api_http_host": [f"{lab.simulator.host}:{one}" for one in hosts]}
        clients = Clients(PATIENCE, gate.open if kind.gate == "opens" else None)
        result = lab.run(scenario.module, {**options, **there}, clients)
        return after_the_fault(scenario, clean, lab, options, result, kind.recovers)


def through_the_gate(scenario: Scenario, call: dict[str, Any]) -> bool:
    """Whether a call is one of the system that stands behind the gate: CloudStack where there is one."""
    return call["path"].startswith("/ctrl/") != scenario.on_cloud


Case = tuple[int, dict[str, Any], Kind]  # number of the call, the call, what goes wrong


def cases(scenario: Scenario, clean: Clean) -> list[Case]:
    chosen = []
    for number, call in enumerate(clean.calls):
        for position, kind in enumerate(KINDS):
            if kind.writes_only and not call["write"]:
                continue
            # All reads are repeated by the same few lines: every second way of failing is enough for each, all for modules that only read.
            if not call["write"] and not scenario.reads_only and (number + position) % 2:
                continue
            if (kind.gate or kind.late) and not through_the_gate(scenario, call):
                continue
            if kind.late and not scenario.on_cloud:
                continue  # StorPool has no signatures
            if kind.gate == "endpoint" and scenario.on_cloud:
                continue  # it has one address
            # Who waits for clients for a minute would have to be kept waiting for a minute.
            if kind.slow and float((call["body"] or {}).get("attachTimeout", 0) if call["write"] else 0) > 1:
                continue
            chosen.append((number, call, kind))
    return chosen if "ALL_FAULTS" in os.environ else sample(scenario, chosen)


def sample(scenario: Scenario, every: list[Case]) -> list[Case]:
    """Some of the cases: each call, each kind, and of kinds and commands as many pairs as there is room for; what is left is chance."""
    if len(every) <= scenario.sample:
        return every
    print(f"{scenario}: {scenario.sample} of {len(every)} cases, FAULT_SEED={SEED}; ALL_FAULTS=1 runs all")
    left = random.Random(SEED).sample(every, len(every))
    seen: set[Any] = set()
    chosen: list[Case] = []

    def news(case: Case) -> set[Any]:
        number, call, kind = case
        return {number, kind.name, (call["call"], kind.name)} - seen

    while len(chosen) < scenario.sample:
        # A write is worth more than a read: all reads are repeated by the same lines.
        best = max(left, key=lambda case: len(news(case)) + bool(case[1]["write"]))
        left.remove(best)
        chosen.append(best)
        seen |= news(best)
    return sorted(chosen, key=lambda case: case[0])


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_a_fault_at_each_call(scenario: Scenario, lab_of: Callable[[str], Lab]):
    lab = lab_of(scenario.world)
    clean = clean_run(scenario, lab)
    wrong = []
    chosen = cases(scenario, clean)
    for number, call, kind in chosen:
        wrong += [
            f"{kind.name} at call {number + 1} ({call['call']}): {line}" for line in faulted(scenario, lab, kind, number, call, clean)
        ]
    counted("faults", f"{len(chosen)} faults in {len(clean.calls)} calls: {scenario}")
    assert not wrong, f"{len(wrong)} complaints in {len(chosen)} cases:\n" + "\n".join(wrong)
