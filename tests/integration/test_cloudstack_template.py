# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""cloudstack_template against each version of the simulated CloudStack, with the StorPool that its plugin drives."""

from __future__ import annotations

import pytest

MODULE = "cloudstack_template"
SYSTEM = "Debian GNU/Linux 12 (64-bit)"


@pytest.fixture
def simulator(cloud):
    return cloud


@pytest.fixture
def root(simulator):
    """The ROOT volume of a stopped VM."""
    machine = simulator.deploy("db1")
    simulator.cs_done("stopVirtualMachine", id=machine["id"])
    return simulator.cs_volumes(virtualmachineid=machine["id"])[0]


@pytest.fixture
def snapshot(run_module, root):
    """`snapshot(name)` takes one of the volume; gives its id."""

    def take(name):
        made = run_module("cloudstack_snapshot", volume=root["name"], name=name)
        assert not made.get("failed"), made
        return made["snapshots"][0]["object"]["id"]

    return take


@pytest.fixture
def primary_only(simulator):
    """`primary_only()` has snapshots stay on StorPool, by what the version has for it; `primary_only(False)` has them backed up again."""

    def configure(on=True):
        old = simulator.cloudstack["version"] < "4.21"
        name = "sp.bypass.secondary.storage" if old else "snapshot.backup.to.secondary"
        simulator.cs("updateConfiguration", name=name, value="true" if old is on else "false")
        simulator.restart_server()

    return configure


@pytest.fixture
def listed(simulator):
    return lambda: [one["name"] for one in simulator.cs("listTemplates", templatefilter="self")[1].get("template", [])]


def entry(result):
    return result["templates"][0]


def test_from_a_snapshot_by_its_copy_on_secondary_storage(declare, snapshot, listed):
    identity = snapshot("golden")
    made = declare(name="t", zone="sofia", snapshot="golden", os_type=SYSTEM)
    assert entry(made)["object"]["origin"] == {"kind": "snapshot", "id": identity} and entry(made)["object"]["ready"] is True
    assert entry(made)["base"]["expected"] is False and entry(made)["storpool"] is None
    declare(name="t", state="absent")
    assert "t" not in listed()


def test_a_template_of_vms_stays(run_module, simulator, calls):
    simulator.deploy("db1")
    calls()
    results = [run_module(MODULE, check=check, name="debian-12", zone="sofia", state="absent") for check in (True, False)]
    assert [one["msg"] for one in results] == 2 * [results[0]["msg"]] and "VMs were made from it: db1" in results[0]["msg"]
    assert calls().writes == []


def test_from_a_snapshot_by_way_of_storpool(declare, snapshot, primary_only, root, simulator):
    """Its base stays there, and machines are cloned from it without copying."""
    primary_only()
    snapshot("golden")
    made = declare(name="t", zone="sofia", snapshot="golden", volume=root["name"], display_text="The model", os_type=SYSTEM)
    base = entry(made)["storpool"]
    assert entry(made)["base"]["expected"] is True and base["tags"] == {"cs": "template", "uuid": entry(made)["object"]["id"]}
    assert entry(made)["object"]["display_text"].startswith("The model (from snapshot ")
    converted = simulator.counters()["bytes_converted"]
    simulator.deploy("clone", template="t")
    assert simulator.counters()["bytes_converted"] == converted


def test_from_a_snapshot_of_other_times(declare, run_module, snapshot, primary_only, listed):
    """Taken without a backup, when snapshots have backups again."""
    primary_only()
    snapshot("golden")
    primary_only(False)
    failed = run_module(MODULE, name="t", zone="sofia", snapshot="golden", os_type=SYSTEM)
    assert failed["failed"] and "set that as it was then, or take another snapshot" in failed["error"]["hint"] and "t" not in listed()
    primary_only()
    declare(name="t", zone="sofia", snapshot="golden", os_type=SYSTEM)


def test_from_a_volume(declare, run_module, root, simulator, calls):
    made = declare(name="t", zone="sofia", volume=root["name"], os_type=SYSTEM)
    assert entry(made)["object"]["origin"] == {"kind": "volume", "id": root["id"]} and entry(made)["storpool"]["size"] == root["size"]
    simulator.cs_done("startVirtualMachine", id=root["virtualmachineid"])
    calls()
    refused = run_module(MODULE, name="u", zone="sofia", volume=root["name"], os_type=SYSTEM)
    assert "its VM db1 is Running" in refused["msg"] and calls().writes == []


def test_another_origin_is_refused(declare, run_module, snapshot, root, calls, simulator):
    snapshot("golden")
    declare(name="t", zone="sofia", snapshot="golden", os_type=SYSTEM)
    snapshot("silver")
    calls()
    for origin in ({"snapshot": "silver"}, {"volume": root["name"]}):
        assert "was made from snapshot" in run_module(MODULE, name="t", **origin)["msg"]
    # A snapshot that is gone cannot be compared, and is no reason to make another template.
    run_module("cloudstack_snapshot", volume=root["name"], name="golden", state="absent")
    assert run_module(MODULE, name="t", snapshot="golden")["changed"] is False
    known = simulator.cs("listTemplates", templatefilter="all", name="debian-12")[1]["template"][0]["name"]
    assert "does not say what it was made of" in run_module(MODULE, name=known, snapshot="silver")["warnings"][0]


def test_encrypted_volumes_are_refused(run_module, simulator, root, calls):
    run_module("cloudstack_offering", name="secret", encrypt=True)
    assert run_module("cloudstack_volume", name="hidden", zone="sofia", offering="secret", size="1G", vm="db1")["changed"]
    assert not run_module("cloudstack_snapshot", volume="hidden", name="s").get("failed")
    calls()
    for origin in ({"snapshot": "s"}, {"volume": "hidden"}):
        result = run_module(MODULE, name="t", zone="sofia", os_type=SYSTEM, **origin)
        assert "it is encrypted" in result["msg"] and calls().writes == []


def test_the_last_snapshot_of_a_deleted_volume_is_refused(run_module, simulator, root, calls):
    pool = simulator.cs("listStoragePools", name="storpool-nvme")[1]["storagepool"][0]
    simulator.cs("updateConfiguration", name="storpool.delete.after.interval", value="3600", storageid=pool["id"])
    assert run_module("cloudstack_volume", name="data", zone="sofia", offering="Custom", size="1G", vm="db1")["changed"]
    assert run_module("cloudstack_volume", name="data", state="absent", on_attached="detach")["changed"]
    (last,) = simulator.cs("listSnapshots", listall=True)[1]["snapshot"]
    calls()
    result = run_module(MODULE, name="t", zone="sofia", snapshot=last["id"], os_type=SYSTEM)
    assert "it is the last snapshot of a deleted volume" in result["msg"] and calls().writes == []
