# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checker of these tests can itself say no."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from . import tables

GOOD: dict[str, Any] = {
    "bw": "-",
    "iops": 100,
    "creationTimestamp": 1,
    "globalId": "sf.a.b1",
    "objectsCount": 1,
    "parentName": "",
    "placeAll": "hdd",
    "placeHead": "hdd",
    "placeTail": "ssd",
    "replication": 3,
    "size": 512,
    "templateName": "",
    "visibleVolumeId": 7,
    "name": "vol",
    "tags": {"a": "b"},
}


def answer(entry: dict) -> list[str]:
    return tables.check_envelope("GET", "/ctrl/1.0/VolumesList", 200, {"generation": 1, "data": [entry]})


def test_a_good_answer_passes() -> None:
    assert answer(GOOD) == []


@pytest.mark.parametrize("key", sorted(set(GOOD) - {"tags"}))
def test_a_missing_field_is_seen(key: str) -> None:
    assert answer({name: value for name, value in GOOD.items() if name != key})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("iops", -1),
        ("iops", "100"),
        ("iops", None),
        ("iops", True),
        ("iops", "unlimited"),
        ("replication", 4),
        ("size", 513),
        ("size", 0),
        ("size", 512.0),
        ("name", "list"),
        ("name", "a" * 200),
        ("name", "vol@1"),
        ("name", "~SF.a.b"),
        ("globalId", "~sf.a.b"),
        ("parentName", None),
        ("templateName", "list"),
        ("tags", {"bad key": ""}),
        ("tags", {"a": 5}),
        ("tags", []),
        ("limitType", "other"),
        ("reuseServer", "yes"),
        ("clusterId", "x"),
        ("surprise", 1),
    ],
)
def test_a_wrong_field_is_seen(key: str, value: Any) -> None:
    assert answer({**GOOD, key: value})


@pytest.mark.parametrize(
    "body",
    [
        {"data": []},
        {"generation": 1},
        {"generation": "1", "data": []},
        {"generation": 1, "data": {}},
        {"generation": 1, "data": [], "more": 1},
        {"generation": 1, "data": [], "clusterId": "sf.a"},
        {"error": {"name": "x"}},
        {"error": {"name": "x", "descr": ""}},
        {"error": {"name": "x", "descr": "y", "transient": 1}},
        {"error": {"name": "simulatorBug", "descr": "y"}},
        {"error": {"name": "x", "descr": "y"}, "data": []},
        [],
    ],
)
def test_a_wrong_envelope_is_seen(body: Any) -> None:
    assert tables.check_envelope("GET", "/ctrl/1.0/VolumesList", 200, body)


def test_changes_answer_ok_and_generation() -> None:
    path = "/ctrl/1.0/VolumeDelete/x"
    assert not tables.check_envelope("POST", path, 200, {"generation": 2, "data": {"ok": True, "generation": 2}})
    for data in ({"ok": True}, {"generation": 2}, {"ok": False, "generation": 2}, {"ok": 1, "generation": 2}, {}):
        assert tables.check_envelope("POST", path, 200, {"generation": 2, "data": data})


def test_maps_with_numbers_for_keys() -> None:
    service = {"clusterStatus": "running", "clients": {"1": {"id": 1, "status": "running", "version": "1", "startTime": None}}}
    good = {"generation": 1, "data": service}
    assert tables.check_envelope("GET", "/ctrl/1.0/ServicesList", 200, good) == []
    for key in ("0", "x", "01", "4096"):
        bad = copy.deepcopy(good)
        bad["data"]["clients"] = {key: service["clients"]["1"]}
        assert tables.check_envelope("GET", "/ctrl/1.0/ServicesList", 200, bad), key


def test_every_call_is_found_by_its_path() -> None:
    for name, call in tables.CALLS.items():
        path = "/ctrl/1.0/" + call["query"].format(**{arg["name"]: "x1" for arg in call["pathArgs"]})
        for prefix in ("", "MultiCluster/", "RemoteCommand/a/", "RemoteCommand/~a.b/MultiCluster/", "MultiCluster/AllClusters/"):
            found = tables.find_call(call["http"], path.replace("/ctrl/1.0/", f"/ctrl/1.0/{prefix}"))
            assert found is not None and found["query"].split("/")[0] == call["query"].split("/")[0], name
    assert tables.find_call("GET", "/ctrl/1.0/NoSuchCall") is None and tables.find_call("GET", "/ctrl/1.0/VolumeCreate") is None


def test_the_tables_hold_together() -> None:
    text = json.dumps(tables.TABLES)
    assert len(tables.CALLS) == 122 and len(tables.OBJECTS) == 163 and len(tables.TYPES) == 64 and len(tables.RULES) == 46
    assert "emulator" not in text
    for call in tables.CALLS.values():
        for schema in (call["request"], call["response"]):
            if schema is not None:
                list(tables.walk_answer_fields(schema))
