# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""cloudstack_snapshot_policy against each version of the simulated CloudStack."""

from __future__ import annotations

import pytest
from conftest import CLOUDSTACKS

MODULE = "cloudstack_snapshot_policy"
HOURLY = {"interval": "hourly", "schedule": "5", "keep": 8}
DAILY = {"interval": "daily", "schedule": "30:2", "timezone": "Europe/Sofia", "keep": 7}
WEEKLY = {"interval": "weekly", "schedule": "0:3:1", "keep": 4}


@pytest.fixture
def simulator(cloud):
    return cloud


@pytest.fixture
def volumes(simulator, run_module):
    """Two volumes on StorPool, by name."""
    simulator.deploy("db1")
    made = run_module("cloudstack_volume", names=["data", "log"], zone="sofia", offering="Custom", size="1G", vm="db1")
    assert made["changed"], made
    return {one["name"]: one["id"] for one in simulator.cs_volumes()}


@pytest.fixture
def listed(simulator, volumes):
    """`listed(name)` are the policies as CloudStack has them, by the number of their interval."""

    def policies(name):
        found = simulator.cs("listSnapshotPolicies", volumeid=volumes[name])[1].get("snapshotpolicy", [])
        return {one["intervaltype"]: (one["schedule"], one["timezone"], one["maxsnaps"]) for one in found}

    return policies


def entry(result):
    return result["snapshot_policies"][0]


def test_made_changed_and_removed(declare, listed):
    made = declare(volume="data", policies=[HOURLY, DAILY])
    assert entry(made)["actions"] == ["create hourly", "create daily"]
    assert listed("data") == {0: ("05", "UTC", 8), 1: ("30:02", "Europe/Sofia", 7)}
    changed = declare(volume="data", policies=[{**HOURLY, "schedule": "06"}])
    assert entry(changed)["actions"] == ["update hourly"] and len(listed("data")) == 2
    exact = declare(volume="data", policies=[WEEKLY], exact=True)
    assert entry(exact)["actions"] == ["delete hourly", "delete daily", "create weekly"] and list(listed("data")) == [2]
    declare(volume="data", state="absent")
    assert listed("data") == {}


def test_of_many_volumes(declare, run_module, listed, calls, simulator):
    declare(volumes=["data", "log"], policies=[HOURLY, WEEKLY])
    assert listed("data") == listed("log")
    calls()
    again = run_module(MODULE, volumes=["data", "log"], policies=[HOURLY, WEEKLY])
    # From 4.22 on, one call lists the policies of all volumes.
    assert (again["changed"], len(calls().reads)) == (False, 2 if simulator.cloudstack["version"] >= "4.22" else 3)
    declare(volumes=["data", "log"], state="absent", policies=[{"interval": "hourly"}])
    assert list(listed("data")) == list(listed("log")) == [2]


def test_the_way_that_somebody_wrote_a_schedule_is_no_difference(run_module, volumes, simulator, calls):
    given = {"intervaltype": "DAILY", "schedule": "5:3", "timezone": "UTC", "maxsnaps": 2}
    assert simulator.cs("createSnapshotPolicy", volumeid=volumes["data"], **given)[0] == 200
    calls()
    result = run_module(MODULE, volume="data", policies=[{"interval": "daily", "schedule": "05:03", "keep": 2}])
    assert result["changed"] is False and calls().writes == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"policies": [{**HOURLY, "keep": 9}]}, "raise the setting snapshot.max.hourly"),
        ({"volume": "unborn", "policies": [HOURLY]}, "is Allocated"),
        ({"volume": "none", "policies": [HOURLY]}, "does not exist in CloudStack"),
        ({"policies": [{**DAILY, "schedule": "30"}]}, "is not of the form MM:HH"),
        ({"policies": [{**DAILY, "schedule": "30:24"}]}, "for the hour, which is 0 to 23"),
        ({"policies": [{**DAILY, "timezone": "Sofia"}]}, "is no time zone known here"),
        ({"policies": [HOURLY, HOURLY]}, "is there twice"),
        ({"policies": []}, "needs at least one policy"),
        ({"policies": [{"interval": "daily", "schedule": "1:1"}]}, "how many snapshots"),
    ],
)
@pytest.mark.parametrize("cloud", CLOUDSTACKS[-1:], indirect=True)  # the rules are those of every version
def test_refused_before_anything_is_sent(run_module, given, words, volumes, calls):
    run_module("cloudstack_volume", name="unborn", zone="sofia", offering="Custom", size="1G")
    calls()
    result = run_module(MODULE, **{"volume": "data", **given})
    assert result["failed"] and words in result["msg"] and calls().writes == []


def test_not_for_encrypted_volumes(run_module, volumes, simulator, calls):
    run_module("cloudstack_offering", name="secret", encrypt=True)
    made = run_module("cloudstack_volume", name="hidden", zone="sofia", offering="secret", size="1G", vm="db1")
    assert made["changed"] and not made.get("failed"), made
    calls()
    result = run_module(MODULE, volume="hidden", policies=[HOURLY])
    assert "has no snapshot policies for encrypted volumes" in result["msg"] and calls().writes == []
