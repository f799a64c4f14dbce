# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""cloudstack_vm_snapshot against each version of the simulated CloudStack: consistent groups, proved by content."""

from __future__ import annotations

import pytest
from storpool_simulator.testing import address

MODULE = "cloudstack_vm_snapshot"


@pytest.fixture
def simulator(cloud):
    return cloud


@pytest.fixture
def db1(simulator, run_module):
    """A running VM with two disks."""
    machine = simulator.deploy("db1")
    made = run_module("cloudstack_volume", name="data", zone="sofia", offering="Custom", size="1G", vm="db1")
    assert made["changed"], made
    return machine


@pytest.fixture
def disks(simulator):
    """`disks()` are the StorPool addresses of the volumes, by name."""
    return lambda: {one["name"].partition("-")[0]: address(one) for one in simulator.cs_volumes()}


@pytest.fixture
def listed(simulator):
    return lambda: [one["displayname"] for one in simulator.cs("listVMSnapshot", listall=True)[1].get("vmSnapshot", [])]


def entry(result):
    return result["vm_snapshots"][0]


def test_one_consistent_group(declare, db1, simulator, listed):
    result = declare(vm="db1", name="before", description="an upgrade")
    group = entry(result)["storpool"]
    assert group["consistent"] is True and len(group["snapshots"]) == 2 and entry(result)["differences"] == []
    assert listed() == ["before"]
    tagged = [one for one in simulator.get("SnapshotsList")[1]["data"] if one["tags"].get("uuid") == entry(result)["object"]["id"]]
    assert {one["globalId"] for one in tagged} == {one["global_id"] for one in group["snapshots"]}
    assert {one["tags"]["cs"] for one in tagged} == {"group"}


def test_reverted_by_content(declare, run_module, db1, disks, simulator, calls):
    for number, there in enumerate(disks().values()):
        simulator.write(there, bytes([number + 1]) * 4096)
    declare(vm="db1", name="before")
    contents = {name: simulator.content(there)["sha256"] for name, there in disks().items()}
    for there in disks().values():
        simulator.write(there, b"x" * 4096)
    calls()
    refused = run_module(MODULE, vm="db1", name="before", state="reverted")
    assert "CloudStack reverts disks only of stopped VMs" in refused["msg"] and refused["error"]["allow_with"] == "stop_vm: true"
    assert calls().writes == []
    result = declare(vm="db1", name="before", state="reverted", stop_vm=True)
    steps = ["mark the VM", "stop the VM", "revert", "start the VM", "unmark the VM"]
    assert entry(result)["actions"] == steps and entry(result)["revert"]["needed"] is True
    assert {name: simulator.content(there)["sha256"] for name, there in disks().items()} == contents
    assert simulator.cs("listVirtualMachines", name="db1")[1]["virtualmachine"][0]["state"] == "Running"


def test_an_unchanged_vm_needs_no_revert(declare, run_module, db1, calls):
    declare(vm="db1", name="before")
    calls()
    result = run_module(MODULE, vm="db1", name="before", state="reverted")
    assert result["changed"] is False and entry(result)["revert"]["needed"] is False and calls().writes == []


def test_retention(declare, run_module, db1, listed, simulator):
    for year in (2021, 2022, 2023):  # not days: what the next one is called has to stay the same for three runs
        assert run_module(MODULE, vm="db1", name=f"yearly-{year}")["changed"]
        simulator.advance(2)
    run_module(MODULE, vm="db1", name="by-hand")
    result = declare(vm="db1", name="yearly-%Y", state="pruned", keep_last=2)
    assert entry(result)["retention"]["deleted"] == ["yearly-2021"]
    assert sorted(listed()) == ["by-hand", "yearly-2022", "yearly-2023"]
    result = declare(vm="db1", name="yearly-%Y", keep_last=1)
    assert entry(result)["actions"] == ["create", "delete (yearly-2022)", "delete (yearly-2023)"]
    assert len(listed()) == 2
    refused = run_module(MODULE, vm="db1", name="yearly-%Y%m%d%H%M%S", keep_last=1, max_deletes=0)
    assert not refused.get("failed"), "another pattern is another series"


def test_vm_snapshots_forbid_other_things(declare, run_module, db1, calls):
    declare(vm="db1", name="before")
    calls()
    for options in ({"size": "2G"}, {"vm": ""}):
        result = run_module("cloudstack_volume", name="data", **options)
        if options.get("size") and not result.get("failed"):
            pytest.fail("a resize was planned although VM snapshots are there")
        assert "has VM snapshots" in result["msg"]
    assert calls().writes == []


def test_a_part_that_is_gone_on_storpool_is_seen(declare, run_module, db1, do):
    group = entry(declare(vm="db1", name="before"))["storpool"]["snapshots"]
    do(f"SnapshotDelete/~{group[0]['global_id']}")
    result = run_module(MODULE, vm="db1", name="before")
    assert "StorPool has 1 snapshots of it, the VM has 2 volumes" in result["msg"]
    assert run_module(MODULE, vm="db1", name="before", verify="warn")["warnings"]
    reverted = run_module(MODULE, vm="db1", name="before", state="reverted", stop_vm=True)
    assert "cannot be reverted to" in reverted["msg"]


def test_no_more_than_cloudstack_lets_a_vm_have(declare, run_module, simulator, db1, listed, calls):
    simulator.cs("updateConfiguration", name="vmsnapshot.max", value="2")
    simulator.restart_server()
    for year in (2021, 2022):
        assert run_module(MODULE, vm="db1", name=f"yearly-{year}")["changed"]
        simulator.advance(2)
    calls()
    refused = run_module(MODULE, vm="db1", name="third")
    assert "has 2 VM snapshots, and CloudStack lets it have 2" in refused["msg"] and calls().writes == []
    result = declare(vm="db1", name="yearly-%Y", keep_last=2)
    assert entry(result)["actions"] == ["delete (yearly-2021)", "create"] and len(listed()) == 2


def test_a_deletion_that_failed_is_done_by_the_next_run(declare, run_module, simulator, db1, listed):
    """CloudStack leaves it Expunging, with nobody at it."""
    declare(vm="db1", name="before")
    simulator.fault("error", "SnapshotDelete", plugin=True, name="busy", descr="come back later")
    assert "Failed to delete vm snapshot" in run_module(MODULE, vm="db1", name="before", state="absent")["msg"]
    assert "is Expunging" in run_module(MODULE, vm="db1", name="before")["msg"]
    declare(vm="db1", name="before", state="absent")
    assert listed() == []


def test_of_a_vm_that_was_never_started(run_module, simulator, calls):
    simulator.deploy("new1", startvm=False)
    calls()
    result = run_module(MODULE, vm="new1", name="before")
    assert "volumes that are not there yet (ROOT-" in result["msg"] and calls().writes == []


def test_several_of_one_vm(declare, db1, listed, calls):
    """CloudStack does one thing with a VM at a time."""
    result = declare(vm_snapshots=[{"vm": "db1", "name": name} for name in "abc"])
    assert result["summary"]["changed"] == 3 and sorted(listed()) == ["a", "b", "c"]
    mixed = [{"vm": "db1", "name": name, "state": "present" if name == "d" else "absent"} for name in "adb"]
    assert declare(vm_snapshots=mixed)["summary"]["changed"] == 3 and sorted(listed()) == ["c", "d"]


def test_several_vms(declare, simulator, listed):
    simulator.deploy("web1")
    simulator.deploy("web2")
    result = declare(vms=["web1", "web2"], name="before")
    assert [one["name"] for one in result["vm_snapshots"]] == ["web1/before", "web2/before"]
    assert listed() == ["before", "before"]
    again = declare(vms=["web1", "web2"], name="before", state="absent")
    assert again["summary"]["changed"] == 2 and listed() == []


def test_reads(run_module, declare, db1, calls):
    declare(vm="db1", name="before")
    calls()
    result = run_module(MODULE, vm="db1", name="before")
    assert result["api"]["reads"] == 4, "the VM, its snapshots, its volumes, StorPool's snapshots"
