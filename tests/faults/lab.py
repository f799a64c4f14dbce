# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A simulated world: prepares it, runs tasks in it, and tells all of its state in a form that two runs of the same story share."""

from __future__ import annotations

import itertools
import os
import random
import re
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from ansible_collections.storpool.cloudstack.plugins.module_utils import _runner
from integration.conftest import as_at_first_start, connection, declared, validated
from storpool_simulator.testing import Simulator

MIB = 1 << 20
SEED = int(os.environ.get("FAULT_SEED", "20261122"))  # of all that is drawn by lot here
PATIENCE = 20.0  # seconds that a call may take; no test needs that they run out
A_YEAR = 365 * 86400
SECONDS = 3
LATE = 2000  # seconds between two clocks; a signature holds for 600, and the server takes none that holds for more than 900

# What differs between two runs of the same story, and what is told by other fields.
ACCIDENTAL = {
    "globalId", "id", "visibleVolumeId", "creationTimestamp", "parentVolumeId", "originalParentVolumeId", "createdFromGlobalId",
    "createdFromVisibleVolumeId", "backupOfGlobalId", "backupOfVisibleVolumeId", "name", "targetDeleteDate", "templateId",
}  # fmt: skip
NAMING = ("parentName", "onVolume", "snapshot", "volume")


class Clients(dict):
    """The clients that a task makes; each gives up after `timeout` seconds, which as an option are whole ones.

    `before_pause` is called whenever one is about to wait before it tries again. After `in_time` calls to CloudStack the clock here is
    `LATE` seconds behind, for signatures; `late` tells whether that came to pass, since a task that waits may make fewer calls next time.
    """

    def __init__(self, timeout: float, before_pause: Callable[[], None] | None = None, in_time: int | None = None) -> None:
        super().__init__()
        self.timeout = timeout
        self.before_pause = before_pause
        self.in_time = in_time
        self.late = False

    def __setitem__(self, key: Any, client: Any) -> None:
        client.http.timeout = self.timeout
        if self.before_pause:
            client.http._sleep = self._sleep
        if self.in_time is not None and hasattr(client, "_query"):
            self._lose_the_time(client, self.in_time)
        super().__setitem__(key, client)

    def _lose_the_time(self, client: Any, in_time: int) -> None:
        sign, calls = client._query, itertools.count()

        def query(*arguments: Any) -> str:
            if next(calls) == in_time:
                client._clock = lambda: time.time() - LATE
                self.late = True
            return sign(*arguments)

        client._query = query

    def _sleep(self, pause: float) -> None:
        assert self.before_pause
        self.before_pause()
        time.sleep(pause)


class Lab:
    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self.clients = Clients(PATIENCE)
        self.facts: dict[str, Any] = {}
        self.before: dict[tuple[str, str], list[str]] = {}  # the identities before the task

    @property
    def release(self) -> str:
        """The version of its CloudStack; empty without one."""
        return self.simulator.ready.get("cloudstack", {}).get("version", "")

    # -- preparation

    def clear(self) -> None:
        """Everything as at first start, and some things that no task is about."""
        as_at_first_start(self.simulator)
        self.volume("other", template="hybrid", tags={"of": "nobody"})
        self.simulator.write("other", b"precious" * 64)
        self.snapshot("other", "other-s", tags={"of": "nobody"})
        self.attach("other", rw=[13])
        self.do("VolumeTemplateCreate", {"name": "spare", "replication": 2, "placeAll": "hdd"})

    def do(self, call: str, body: Any = None, cluster: str | None = None) -> Any:
        """Change something by the API itself, which must succeed."""
        status, answer = self.simulator.post(call, body or {}, cluster)
        assert status == 200, f"{call} {body}: {answer}"
        return answer["data"]

    def get(self, call: str, cluster: str | None = None) -> Any:
        status, answer = self.simulator.get(call, cluster)
        assert status == 200, f"{call}: {answer}"
        return answer["data"]

    def volume(self, name: str, written: bytes = b"", **more: Any) -> dict[str, Any]:
        made = self.do("VolumeCreate", {"name": name, **({} if {"parent", "baseOn"} & more.keys() else {"size": MIB}), **more})
        if written:
            self.simulator.write(name, written)
        return made

    def snapshot(self, volume: str, name: str, **more: Any) -> dict[str, Any]:
        return self.do(f"VolumeSnapshot/{volume}", {"name": name, **more})

    def attach(self, name: str, kind: str = "volume", **rights: list[int]) -> None:
        self.do("VolumesReassignWait", {"reassign": [{kind: name, **rights}]})

    def backup(self, volume: str, **tags: str) -> str:
        """A backup in the other location; its id."""
        made = self.do("VolumeBackup", {"volume": volume, "location": "plovdiv", "tags": tags})["remoteId"]
        self.simulator.settle()
        return made

    # -- tasks

    def run(self, module: str, options: dict[str, Any], clients: dict[Any, Any] | None = None, check: bool = False) -> dict[str, Any]:
        """The result of one task, without Ansible around it."""
        options = {**connection(self.simulator, module), **options}
        return _runner.execute(declared(module), validated(module, options), check, False, self.clients if clients is None else clients)

    def log(self) -> list[dict[str, Any]]:
        """The calls that the task made; not those by which CloudStack's plugin carries them out."""
        return [call for call in self.simulator.calls()["calls"] if not call["plugin"]]

    def writes(self) -> list[str]:
        return [entry["call"] for entry in self.log() if entry["write"]]

    def quiet(self) -> list[dict[str, Any]]:
        """The log, once every call has ended, also one that nobody waits for any more."""
        self.simulator.heard()
        for _unused in range(200):
            log = self.log()
            if all(entry["status"] is not None or entry["fault"] == "cut_before" for entry in log):
                return log
            time.sleep(0.02)
        raise AssertionError(f"calls do not end: {log}")


# -- the state


def storpool_state(lab: Lab) -> dict[str, Any]:
    """All of all clusters: volumes, snapshots, contents, attachments, exports, templates; without ids and times."""
    simulator = lab.simulator
    _let_expire(lab)
    simulator.settle()
    listed = {cluster: {kind: lab.get(f"{kind}List", cluster) for kind in ("Volumes", "Snapshots")} for cluster in simulator.clusters}
    labels = {}
    for cluster, kinds in listed.items():
        for raw in (*kinds["Volumes"], *kinds["Snapshots"]):
            labels[raw["name"]] = labels["~" + raw["globalId"]] = labels[cluster, raw["name"]] = _label(lab, raw, cluster)
    state = {}
    for cluster, kinds in listed.items():
        for kind, objects in kinds.items():
            state[f"{kind} of {cluster}"] = _sorted(_shown(raw, labels[cluster, raw["name"]], labels) for raw in objects)
        state[f"attachments of {cluster}"] = _sorted(
            (labels[one["volume"]], one["client"], one["rights"]) for one in lab.get("AttachmentsList", cluster)
        )
        state[f"exports of {cluster}"] = _sorted(
            (labels["~" + one["globalId"]], one["location"], one["backingUp"]) for one in lab.get("ExportsList", cluster)["exports"]
        )
        state[f"templates of {cluster}"] = _sorted({**one, "id": None} for one in lab.get("VolumeTemplatesList", cluster))
    return state


# What differs in CloudStack's tables between two runs of the same story; ids, names with a time in them and ids of StorPool do as well.
_MOMENTS = {"created", "dbid", "updated", "removed", "started", "loaded", "last", "seen", "next", "since", "at"}
_OTHERWISE = (
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "an id"),
    (re.compile(r"_VS_\d+"), "_VS_then"),
    (re.compile(r"~?\b[a-z]+\.[a-z]\.\w+"), "an id of StorPool"),
)
_OF_THE_RUN = {"jobs", "servers"}  # tables


def tables(lab: Lab) -> dict[str, Any]:
    """All that the simulated CloudStack keeps, whether or not a listing tells it."""
    return {
        f"table {name}": _sorted(_alike(row) for row in rows if not row.get("removed"))
        for name, rows in lab.simulator.db().items()
        if name not in _OF_THE_RUN
    }


def _alike(value: Any) -> Any:
    if isinstance(value, dict):
        return {_alike(key): _alike(one) for key, one in value.items() if key not in _MOMENTS}
    if isinstance(value, list):
        return _sorted(_alike(one) for one in value)
    if isinstance(value, str):
        for form, word in _OTHERWISE:
            value = form.sub(word, value)
    return "a number" if isinstance(value, float) else value


def identities(lab: Lab) -> dict[tuple[str, str], list[str]]:
    """The ids of all objects that have a name, by kind and name: made anew, an object has another one, however much it is like the old."""
    found: dict[tuple[str, str], list[str]] = {}
    for name, rows in lab.simulator.db().items() if lab.release else ():
        for row in rows if name not in _OF_THE_RUN else ():
            # The name that was given: CloudStack's own for a VM snapshot tells the second, in which a test may have made one or several.
            given = row.get("displayname") or row.get("name")
            if row.get("id") and given and not row.get("removed"):
                found.setdefault((name, given), []).append(row["id"])
    for cluster in lab.simulator.clusters:
        for kind in ("Volumes", "Snapshots"):
            for raw in lab.get(f"{kind}List", cluster):
                if raw["name"][0] not in "~*":
                    found.setdefault((f"{kind} of {cluster}", raw["name"]), []).append(raw["globalId"])
    return {key: sorted(ids) for key, ids in found.items()}


def _let_expire(lab: Lab) -> None:
    """What is to go within seconds goes now."""
    now = lab.simulator.control("POST", "/clock", {"advance": 0})["now"]
    dates = [raw.get("targetDeleteDate") for cluster in lab.simulator.clusters for raw in lab.get("SnapshotsList", cluster)]
    if any(date and date < now + SECONDS for date in dates):
        lab.simulator.advance(SECONDS)


def _sorted(things: Any) -> list[Any]:
    return sorted(things, key=repr)


def _label(lab: Lab, raw: dict[str, Any], cluster: str) -> str:
    """What stands for an object in place of its name: the same in every run, and telling its content."""
    name = raw["name"]
    stable = name[0] if name[0] in "~*" else re.sub(r"-deleted-\w+$", "-deleted-(id)", name)
    return f"{stable} {raw['size']} {lab.simulator.fingerprint(name, cluster)[:12]}"


def _shown(raw: dict[str, Any], label: str, labels: dict[Any, str]) -> dict[str, Any]:
    shown = {key: value for key, value in raw.items() if key not in ACCIDENTAL}
    shown.update({key: labels.get(raw[key], raw[key]) for key in NAMING if key in raw})
    expires = raw.get("targetDeleteDate")
    if expires:
        left = expires - raw["creationTimestamp"]
        shown["expires"] = f"{round(left / 60)} minutes after creation" if left < A_YEAR else expires
    return {"label": label, **shown}


# -- two at once


def at_once(lot: random.Random, longest: float, *works: Callable[[], Any]) -> list[Any]:
    """Do all of `works` at once, each begun after a pause by lot of at most `longest` seconds; what they return, in their order."""

    def after(pause: float, work: Callable[[], Any]) -> Any:
        time.sleep(pause)
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        begun = [pool.submit(after, lot.uniform(0, longest), work) for work in works]
    return [one.result() for one in begun]


def raced(lab: Lab, lot: random.Random, late: float, longest: float, module: str, *tasks: dict[str, Any]) -> list[dict[str, Any]]:
    """The results of tasks of a module that run at once, where every write takes up to `late` seconds more."""
    lab.simulator.fault("delay", "write", count=-1, seconds=lot.uniform(0, late))
    results = at_once(lot, longest, *(partial(lab.run, module, options, Clients(PATIENCE)) for options in tasks))
    lab.simulator.clear_faults()
    for result in results:
        is_honest(result)
    return results


def is_honest(result: dict[str, Any]) -> None:
    """A result is a success, or one structured error."""
    assert "exception" not in result and "defect" not in result.get("msg", ""), result.get("exception", result.get("msg"))
    if result.get("failed"):
        assert result["error"]["type"] and result["msg"]


def silent(lab: Lab, module: str, options: dict[str, Any]) -> None:
    lab.simulator.reset_calls()
    result = lab.run(module, options)
    assert not result.get("failed") and not result["changed"], result.get("msg")
    assert lab.writes() == []


def settles(lab: Lab, module: str, options: dict[str, Any]) -> None:
    """Run alone, the task brings about what it declares; the next time it has nothing to do."""
    result = lab.run(module, options, Clients(PATIENCE))
    assert not result.get("failed"), result["msg"]
    silent(lab, module, options)


# -- what is wrong, and how much was done


def objects(state: Any) -> dict[str, Counter[str]]:
    """What a state tells of, by kind and name: each as it is, and how often. What has no name of its own is told by all it is."""
    found: dict[str, Counter[str]] = {}
    for kind, listed in (state if isinstance(state, dict) else {"all": state}).items():
        for one in listed:
            found.setdefault(f"{kind}: {_named(one) or one}", Counter())[repr(one)] += 1
    return found


def _named(thing: Any) -> str:
    """The name of an object in a state; empty for one that has only an id."""
    if isinstance(thing, (list, tuple)):
        thing = thing[0]
    if isinstance(thing, dict):
        thing = next((thing[key] for key in ("label", "name", "displayname") if thing.get(key)), "")
    words = str(thing or "").split()
    return words[0] if words and words[0][0] not in "~*" else ""


def wrong_end(found: Any, *expected: Any) -> list[str]:
    """What is wrong with a state of which each object should be as one of the expected states has it: lost, doubled, half-made."""
    there, may = objects(found), [objects(one) for one in expected]
    names = sorted(there.keys() | {name for one in may for name in one})
    return [
        f"{name}:\n    found    {dict(there.get(name, {}))}\n    expected {' or '.join(str(dict(one.get(name, {}))) for one in may)}"
        for name in names
        if all(there.get(name) != one.get(name) for one in may)
    ]


def differences(expected: Any, state: Any) -> list[str]:
    if isinstance(expected, dict) and isinstance(state, dict):
        return [
            f"{key}:\n    expected {expected.get(key)}\n    found    {state.get(key)}"
            for key in expected
            if expected[key] != state.get(key)
        ]
    return [] if expected == state else [f"\n    expected {expected}\n    found    {state}"]


def counted(kind: str, what: str) -> None:
    """Tell `make long-test`, which adds them up by kind, that this many were done; the number is the first word of `what`."""
    if "COUNT_FAULTS" in os.environ:
        with open(os.environ["COUNT_FAULTS"], "a", encoding="utf-8") as file:
            file.write(f"{kind}: {what}\n")
