# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The forms of answers ask for nothing that a real server's answer has not: the schema of CloudStack's API, as read from its sources, says
of which type each field is."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import pytest
import storpool_simulator
from ansible_collections.storpool.cloudstack.plugins.module_utils import _forms
from ansible_collections.storpool.cloudstack.plugins.module_utils._forms import Form, cloudstack_misfit

SCHEMA = json.loads((Path(storpool_simulator.__file__).parent / "schema" / "cloudstack-api.json").read_text(encoding="utf-8"))
# What an answer has of these as: a text, whatever Java's type. A long is a number, but of events and accounts that nobody lists here.
TEXTS = {"string", "date", "uuid", "hastate", "powerstate", "scopetype", "status", "state", "storagepoolstatus"}


def types_of() -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for fields in SCHEMA["classes"].values():
        for one in fields:
            found[one["name"]].add(one["type"])
    return found


@pytest.mark.parametrize("name", sorted(_forms._TEXTS))
def test_a_text_is_one_in_every_answer(name):
    known = types_of()[name] - ({"long"} if name == "id" else set())
    assert known and known <= TEXTS


@pytest.mark.parametrize("name", sorted(_forms._NUMBERS))
def test_a_number_is_one_in_every_answer(name):
    known = types_of()[name]
    assert known == {"long"}


def test_what_is_within_a_host():
    for answer, names in (("HostHAResponse", ("haprovider", "hastate")),
                          ("OutOfBandManagementResponse", ("address", "driver", "powerstate", "username"))):  # fmt: skip
        fields = {one["name"]: one["type"] for one in SCHEMA["classes"][answer]}
        assert {fields[name] for name in names} <= TEXTS


HOST = {"id": "1", "name": "h", "zoneid": "z", "clusterid": "c"}


@pytest.mark.parametrize(
    ("key", "row", "wrong"),
    [
        ("host", HOST, None),
        ("host", {**HOST, "hostha": {"hastate": None}, "outofbandmanagement": {"powerstate": "On", "more": [1]}}, None),
        ("host", {**HOST, "hostha": {"hastate": []}}, "hostha: hastate is a list, not a text"),
        ("host", {**HOST, "hostha": []}, "hostha: "),
        ("host", {"id": "1"}, "name is missing"),
        ("volume", {"id": "1", "name": "v", "virtualmachineid": ["x"]}, "virtualmachineid is a list"),
        ("volume", {"id": "1", "name": "v", "size": "1"}, "size is a text, not a whole number"),
        ("volume", {"id": "1", "name": "v", "size": True}, "size is true or false, not a whole number"),
        ("snapshotpolicy", {"id": "1", "storage": [], "zone": []}, None),
        ("anything", {}, None),
        ("anything", [], "entry 1: is a list, not a map"),
    ],
)
def test_a_row(key, row, wrong):
    found = cloudstack_misfit(key, {"count": 1, key: [row]})
    assert (found is None) if wrong is None else wrong in found


def test_an_endless_one_is_told_in_short():
    assert len(Form({"a": _forms.TEXT}, {}, dict).misfit({"k" * 10_000: {"a": 1}})) < 200


def test_a_management_node_tells_whether_it_is_active():
    node = {"status": "running", "version": "20", "startTime": 1, "nodeId": 1}
    services = {"clusterStatus": "running", "mgmt": {"1": {**node, "active": True}, "2": node}}
    assert _forms.STORPOOL["ServicesList"].misfit(services) == "mgmt: entry 2: active is missing"
    services["mgmt"]["2"]["active"] = False
    assert _forms.STORPOOL["ServicesList"].misfit(services) is None
