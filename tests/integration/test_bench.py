# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""`make bench` measures and draws, and its stand-in answers as StorPool does. No time is looked at: on a busy machine it says nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = ROOT / "tests" / "benchmarks"
DOCS = ROOT / "docs"
MIB = 1 << 20
COUNT = 30  # volumes in a quick run
LOOP = 3
GROWTH = (10, 30)
BULK = [f"bulk-{COUNT}-{operation}" for operation in ("create", "unchanged", "few", "delete")]
CLOUDSTACK = ["settings", "settings-changed", "role", "hosts", "templates"]
PATIENCE = 800  # seconds; a minute on a machine that does nothing else
CHARTS = ["bulk-30", "cloudstack", "goal", "growth", "loop", "one", "overview", "storpool"]

pytestmark = pytest.mark.timeout(PATIENCE + 60)


def bench(*arguments: str) -> str:
    """Return what `make bench` prints."""
    command = [sys.executable, str(ROOT / "tests/tools/inside.py"), "--in", "bench", "tests/benchmarks/bench.py", *arguments]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict, Path]:
    """What a quick run prints and keeps, and where its page and charts are."""
    directory = tmp_path_factory.mktemp("bench")
    output = bench("--quick", "--output", str(directory))
    return output, json.loads((directory / "results.json").read_text()), directory


def rows_of(kept: dict, identity: str) -> dict[str, dict]:
    (group,) = (one for one in kept["groups"] if one["id"] == identity)
    return {row["name"]: row for row in group["rows"]}


def test_each_row_is_printed_and_kept(quick):
    output, kept, _directory = quick
    growth = ["growth"] * len(GROWTH)
    assert [group["id"] for group in kept["groups"]] == ["single", "setting", "loop", *BULK, "info", "group", *CLOUDSTACK, "goal", *growth]
    for group in kept["groups"]:
        assert f"{group['title']}, {group['latency_ms']:g} ms latency" in output
        assert group["rows"][0]["kind"] == "nothing"
        assert {"ours", "bare"} <= {row["kind"] for row in group["rows"]}
        for row in group["rows"]:
            assert row["name"] in output
            assert all(seconds > 0 for seconds in row["seconds"])
            assert row["largest_process_mib"] > 1
            assert row["calls"].keys() >= {"reads", "writes"}
        # What starts the processes is not counted as theirs.
        bare = next(row for row in group["rows"] if row["kind"] == "bare")
        assert bare["largest_process_mib"] < group["rows"][0]["largest_process_mib"]
    assert all(goal["title"] in output for goal in kept["goals"])
    assert {type(goal["met"]) for goal in kept["goals"]} == {bool}


def test_results_say_how_they_were_measured(quick):
    _output, kept, directory = quick
    assert kept["small"] is True
    assert {"cores", "processor", "load_before", "others"} <= kept["machine"].keys()
    peers = {"community.proxmox", "hetzner.hcloud", "ngine_io.cloudstack"}
    assert {"storpool.cloudstack", "Python", "ansible-core", "storpool", *peers} <= kept["versions"].keys()
    assert kept["commit"]
    page = (directory / "performance.md").read_text()
    for told in (kept["when"][:10], kept["commit"], *kept["versions"].values(), "A quick run"):
        assert told in page
    for path in directory.rglob("*.*"):
        for secret in (str(ROOT), str(directory), "127.0.0.1"):
            assert secret not in path.read_text(), path


def test_calls_are_counted(quick):
    _output, kept, _directory = quick
    reads = {"create": 2, "unchanged": 1, "few": 1, "delete": 2}
    writes = {"create": COUNT, "unchanged": 0, "few": 1, "delete": COUNT}
    for identity in BULK:
        operation = identity.split("-")[2]
        for row in list(rows_of(kept, identity).values())[1:]:
            calls, least = row["calls"], int(operation in ("unchanged", "few"))
            assert calls["reads"] == (reads[operation] if row["kind"] == "ours" else least), (identity, row)
            assert calls["writes"] == writes[operation], (identity, row)
            if row["kind"] == "bindings":
                assert calls["connections"] == calls["reads"] + calls["writes"]
            elif row["kind"] == "ours":
                assert 1 <= calls["connections"] <= 9
    loop = rows_of(kept, "loop")["storpool_volume in the loop"]["calls"]
    assert loop == {"reads": LOOP, "writes": 0, "connections": 1}
    for identity, expected in (
        ("settings", (1, 0)),
        ("settings-changed", (1, 3)),
        ("hosts", (6, 0)),
        ("templates", (3, 0)),
        ("group", (2, 1)),
    ):
        (ours,) = (row for row in rows_of(kept, identity).values() if row["kind"] == "ours")
        assert (ours["calls"]["reads"], ours["calls"]["writes"]) == expected, identity
    single = rows_of(kept, "single")
    for name in ("hetzner.hcloud.volume", "community.proxmox.proxmox_pool"):
        assert (single[name]["calls"]["reads"], single[name]["calls"]["writes"]) == (2, 0)
    grown = [group for group in kept["groups"] if group["id"] == "growth"]
    assert [group["objects"] for group in grown] == list(GROWTH)
    for group in grown:
        made = next(row for row in group["rows"] if row["name"] == "create")
        assert (made["calls"]["reads"], made["calls"]["writes"]) == (2, group["objects"])
        assert made["all_processes_mib"] > 1


def test_it_draws(quick):
    output, kept, directory = quick
    charts = {path.stem: path for path in (directory / "performance").iterdir()}
    assert sorted(charts) == CHARTS
    page = (directory / "performance.md").read_text()
    drawn = ""
    for name, path in charts.items():
        assert f"(performance/{name}.svg)" in page
        assert str(path.name) in output
        drawn += "".join(ElementTree.parse(path).getroot().itertext())
    for group in kept["groups"]:
        assert group["title"] in drawn or group["id"] == "growth"
        for row in group["rows"]:
            assert row["name"] in page or group["id"] == "growth"
            if group["id"] != "growth":
                assert f"{row['median']:.2f} s, " in drawn


def test_the_kept_page_is_drawn_from_the_kept_results(tmp_path):
    """Nobody has written a number by hand, or changed the drawing without drawing anew: `make bench ARGS=--draw`."""
    bench("--draw", "--output", str(tmp_path))
    made = {path.relative_to(tmp_path): path.read_text() for path in tmp_path.rglob("*.*")}
    kept = [DOCS / "performance.md", *(DOCS / "performance").iterdir()]
    assert made == {path.relative_to(DOCS): path.read_text() for path in kept}
    assert json.loads((BENCHMARKS / "results.json").read_text())["small"] is False


@pytest.fixture
def stand_in():
    """Asks the stand-in of the benchmark, as `simulator.get` and `simulator.post` ask the simulator."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        from clients import Bare
        from grounds import StandIn
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
