# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""`make bench` works, and its stand-in answers as StorPool does. No time is looked at: on a busy machine it says nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import playbooks
import pytest

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = ROOT / "tests" / "benchmarks"
MIB = 1 << 20
TASK = "storpool_volume"
COUNT = 30  # volumes in a quick run
BULK = f"{COUNT} volumes: "


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict]:
    """What a quick run prints and keeps."""
    directory = tmp_path_factory.mktemp("bench")
    kept = directory / "quick.json"
    command = [sys.executable, str(BENCHMARKS / "bench.py"), "--quick", "--json", str(kept)]
    environment = playbooks.environment(directory)
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stdout
    return done.stdout, json.loads(kept.read_text())


def test_each_row_is_printed_and_kept(quick):
    output, kept = quick
    titles = [group["title"] for group in kept["groups"]]
    assert titles == [
        "One task that changes nothing",
        "A loop of 3 that changes nothing",
        *(f"{BULK}{operation}, 2 ms latency" for operation in ("create", "unchanged", "change", "delete")),
        "The simulator",
    ]
    for group in kept["groups"]:
        assert group["title"] in output
        for row in group["rows"]:
            assert row["name"] in output
            assert all(seconds > 0 for seconds in row["seconds"])
    for goal in kept["goals"]:
        assert goal["title"] in output
    assert {True, False} >= {goal["met"] for goal in kept["goals"]}
    assert all(row["largest_process_mib"] > 1 for group in kept["groups"][:-1] for row in group["rows"])


def test_calls_are_counted(quick):
    _output, kept = quick
    reads = {"create": 2, "unchanged": 1, "change": 1, "delete": 2}
    for group in kept["groups"]:
        if not group["title"].startswith(BULK):
            continue
        operation = group["title"][len(BULK) :].split(",")[0]
        writes = 0 if operation == "unchanged" else COUNT
        for row in group["rows"][1:]:
            calls = row["calls"]
            ours = row["name"].startswith(TASK)
            assert calls["reads"] == (reads[operation] if ours else int(not writes)), (group["title"], row)
            assert calls["writes"] == writes, (group["title"], row)
            if "bindings" in row["name"]:
                assert calls["connections"] == calls["reads"] + calls["writes"]
            elif ours:
                assert 1 <= calls["connections"] <= 17
    loop = {row["name"]: row["calls"] for row in kept["groups"][1]["rows"]}
    assert loop[f"{TASK} in the loop"] == {"reads": 3, "writes": 0, "connections": 1}
    assert loop[f"{TASK} in the loop as an ordinary module"] == {"reads": 3, "writes": 0, "connections": 3}


@pytest.fixture
def stand_in():
    """Asks the stand-in of the benchmark, as `simulator.get` and `simulator.post` ask the simulator."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        from bench import StandIn
        from clients import Bare
    finally:
        sys.path.remove(str(BENCHMARKS))
    server = StandIn()
    client = Bare("127.0.0.1", server.port, "1")
    yield client.call
    client.connection.close()
    server.close()


def test_the_stand_in_answers_as_the_simulator_does(stand_in, simulator, do):
    volume = {"name": "b-00001", "size": MIB, "template": "nvme"}
    assert stand_in("POST", "VolumeCreate", volume).keys() == do("VolumeCreate", volume).keys()
    for call in ("VolumesList", "Volume/b-00001"):
        (real,) = simulator.get(call)[1]["data"]
        (stood_in,) = stand_in("GET", call)
        same = real.keys() - {"creationTimestamp", "globalId", "id", "visibleVolumeId", "templateId", "objectsCount"}
        assert stood_in.keys() == real.keys()
        assert {key: stood_in[key] for key in same} == {key: real[key] for key in same}
    real = next(one for one in simulator.get("VolumeTemplatesList")[1]["data"] if one["name"] == "nvme")
    (stood_in,) = stand_in("GET", "VolumeTemplatesList")
    assert {**stood_in, "id": real["id"]} == real
    assert stand_in("GET", "AttachmentsList") == simulator.get("AttachmentsList")[1]["data"] == []
    for call, body in (("VolumeUpdate/b-00001", {"size": 2 * MIB}), ("VolumeDelete/b-00001", {})):
        assert stand_in("POST", call, body).keys() == do(call, body).keys()
    assert stand_in("GET", "VolumesList") == simulator.get("VolumesList")[1]["data"] == []
