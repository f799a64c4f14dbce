# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbooks snapshot_vms, revert_vm and move_volumes, by their names: check mode, the real run, another one, and what they refuse."""

from __future__ import annotations

import json
from datetime import datetime, timezone

import pytest
from conftest import CLOUDSTACKS
from storpool_simulator.testing import address


@pytest.fixture(params=[CLOUDSTACKS[-1]])
def simulator(request, cloud_of):
    return cloud_of(request.param)


on_oldest_and_newest = pytest.mark.parametrize("simulator", [CLOUDSTACKS[0], CLOUDSTACKS[-1]], indirect=True)


@pytest.fixture
def db1(simulator):
    machine = simulator.deploy("db1")
    root = simulator.cs_volumes()[0]
    return {**machine, "root": address(root)}


@on_oldest_and_newest
def test_snapshot_vms(thrice, play, simulator, db1):
    simulator.deploy("web1")
    real = thrice("snapshot_vms", vms=["db1", "web1"], name="nightly-%Y", keep_last=1)
    year = datetime.now(timezone.utc).strftime("%Y")
    assert real.result("Summary")["msg"] == [f"{vm}/nightly-{year}: create" for vm in ("db1", "web1")]
    # Every rule reaches the module; what is kept has one member for several of them.
    rules = {f"keep_{rule}": 1 for rule in ("last", "hourly", "daily", "weekly", "monthly", "yearly")}
    run = thrice("snapshot_vms", vms="db1", name="often-%Y", timezone="Europe/Sofia", max_deletes=0, **rules)
    (entry,) = next(one["result"]["vm_snapshots"] for one in run.records if "vm_snapshots" in one["result"])
    (reasons,) = entry["retention"]["kept"].values()
    assert [reason.split()[0] for reason in reasons] == ["last", "hourly", "daily", "weekly", "monthly", "yearly"]


@on_oldest_and_newest
def test_revert_vm_keeps_what_is_lost(thrice, play, simulator, run_module, db1):
    assert run_module("cloudstack_vm_snapshot", vm="db1", name="before")["changed"]
    content = simulator.content(db1["root"])["sha256"]
    simulator.write(db1["root"], b"x" * 4096)
    real = thrice("revert_vm", vm="db1", snapshot="before", stop=True, keep_as="undo")
    assert "revert, start the VM" in real.result("Summary")["msg"] and "written to volume" in real.result("Summary")["msg"]
    assert simulator.content(db1["root"])["sha256"] == content
    names = {one["displayname"] for one in simulator.cs("listVMSnapshot", listall=True)[1]["vmSnapshot"]}
    assert names == {"before", "undo"}


def test_revert_vm_keeps_nothing_under_the_name_of_something_else(play, simulator, run_module, db1, calls):
    """A snapshot of an earlier undoing does not hold what is about to be lost now; one of an interrupted run does."""
    for name in ("before", "undo"):
        assert run_module("cloudstack_vm_snapshot", vm="db1", name=name)["changed"]
    simulator.write(db1["root"], b"x" * 4096)
    calls()
    for check in (True, False):
        run = play("revert_vm", check, vm="db1", snapshot="before", stop=True, keep_as="undo")
        assert run.rc == 2 and calls().writes == []
        assert "undo was there already, and is of something else: 4096 bytes were written" in json.dumps(run.failures)
    assert run_module("cloudstack_vm_snapshot", vm="db1", name="undo", state="absent")["changed"]
    assert run_module("cloudstack_vm_snapshot", vm="db1", name="undo")["changed"]
    run = play("revert_vm", vm="db1", snapshot="before", stop=True, keep_as="undo")
    assert run.rc == 0 and "revert, start the VM" in run.result("Summary")["msg"], run.output


def test_revert_vm_refuses_a_running_vm(play, simulator, run_module, db1, calls):
    assert run_module("cloudstack_vm_snapshot", vm="db1", name="before")["changed"]
    simulator.write(db1["root"], b"x" * 4096)
    calls()
    run = play("revert_vm", vm="db1", snapshot="before")
    assert run.rc == 2 and "reverts disks only of stopped VMs" in json.dumps(run.failures) and calls().writes == []


@on_oldest_and_newest
def test_move_volumes(thrice, simulator, run_module, db1):
    assert run_module("cloudstack_storage_pool", name="storpool-hybrid", zone="sofia", template="hybrid")["changed"]
    made = run_module("cloudstack_volume", names=["a", "b"], zone="sofia", offering="Custom", size="1G", vm="db1")
    assert made["summary"]["changed"] == 2, made
    real = thrice("move_volumes", names=["a", "b"], storage_pool="storpool-hybrid")
    assert real.result("Summary")["msg"] == ["a: migrate", "b: migrate"]
    rows = {one["name"]: one for one in simulator.cs_volumes()}
    for name in ("a", "b"):
        there = simulator.get(f"Volume/{address(rows[name])}")[1]["data"][0]
        assert (rows[name]["storage"], there["templateName"]) == ("storpool-hybrid", "hybrid")


@pytest.mark.parametrize(
    "name", ["assess_host_ha", "configure_host_ha", "move_volumes", "revert_vm", "snapshot_vms", "warm_template_cache"]
)
def test_a_host_to_run_on_that_there_is_not(play, calls, name):
    """Ansible itself would say that no host matched, and end well."""
    calls()
    run = play(name, run_on="nohwere")
    assert run.rc == 2 and f"has no host nohwere, which {name}_run_on names" in json.dumps(run.failures), run.output
    assert calls().entries == []


def test_a_host_to_run_on_that_there_is(play, db1):
    run = play("snapshot_vms", vms="db1", run_on="localhost")
    assert run.rc == 0 and run.changed == 1, run.output


def test_move_volumes_of_a_project(thrice, simulator, run_module):
    """Those of the same names outside of it stay where they are."""
    project = simulator.cs_job("createProject", name="web", displaytext="web")["jobresult"]["project"]["id"]
    assert run_module("cloudstack_storage_pool", name="storpool-hybrid", zone="sofia", template="hybrid")["changed"]
    for vm, where in (("inside", {"projectid": project}), ("outside", {})):
        simulator.deploy(vm, **where)
        more = {"project": "web"} if where else {}
        assert run_module("cloudstack_volume", name="data", zone="sofia", offering="Custom", size="1G", vm=vm, **more)["changed"]
    real = thrice("move_volumes", names="data", storage_pool="storpool-hybrid", project="web")
    assert real.result("Summary")["msg"] == ["data: migrate"]
    (inside,) = simulator.cs("listVolumes", name="data", projectid=project)[1]["volume"]
    (outside,) = simulator.cs("listVolumes", name="data", listall=True)[1]["volume"]
    assert (inside["storage"], outside["storage"]) == ("storpool-hybrid", "storpool-nvme")


@pytest.mark.parametrize(
    ("name", "given", "problem"),
    [
        ("snapshot_vms", {"vms": []}, "There is nothing in snapshot_vms_vms"),
        ("snapshot_vms", {"vms": ""}, "There is nothing in snapshot_vms_vms"),
        ("move_volumes", {"names": [], "storage_pool": "p"}, "There is nothing in move_volumes_names"),
        ("snapshot_vms", {}, "missing required arguments: snapshot_vms_vms"),
        ("snapshot_vms", {"vms": ["a"], "keep_dayly": 1}, "Nobody knows the variables snapshot_vms_keep_dayly"),
        ("revert_vm", {"vm": "a"}, "missing required arguments: revert_vm_snapshot"),
        ("revert_vm", {"vm": "a", "snapshot": "b", "stop": "perhaps"}, "revert_vm_stop"),
        ("move_volumes", {"names": ["a"]}, "missing required arguments: move_volumes_storage_pool"),
        ("move_volumes", {"names": ["a"], "storage_pool": "p", "parallel": "many"}, "move_volumes_parallel"),
    ],
)
def test_variables_that_cannot_be_meant(play, calls, name, given, problem):
    calls()
    run = play(name, **given)
    assert run.rc == 2 and problem in json.dumps(run.failures), run.output
    assert calls().entries == []
