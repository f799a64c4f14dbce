# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""cloudstack_volume where the release of CloudStack makes no difference: whose a volume is, what forbids a move, what others do meanwhile,
jobs that get lost."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from ansible_collections.storpool.cloudstack.plugins.module_utils._cloudstack import CloudStack
from conftest import CLOUDSTACKS, SOON, as_at_first_start
from prediction import differences, not_silent
from storpool_simulator.testing import Simulator
from storpool_simulator.topology import BUILT_IN

MODULE = "cloudstack_volume"
GIB = 1 << 30
NEW = {"zone": "sofia", "offering": "Custom", "size": "1G"}


@pytest.fixture
def simulator(cloud_of):
    return cloud_of(CLOUDSTACKS[-1])


@pytest.fixture
def volumes(simulator):
    """`volumes()` is what CloudStack lists, by name."""
    return lambda: {one["name"]: one for one in simulator.cs_volumes()}


@pytest.fixture
def refused(run_module, calls):
    """`refused(name=...)` is the result of a task that failed without a write, check mode and real run alike."""

    def run(**options):
        calls()
        results = [run_module(MODULE, check=check, **options) for check in (True, False)]
        assert [one.get("failed") for one in results] == [True, True] and results[0]["msg"] == results[1]["msg"], results
        assert calls().writes == []
        return results[1]

    return run


@pytest.fixture
def db1(simulator):
    return simulator.deploy("db1")


@pytest.fixture
def hybrid(run_module):
    assert run_module("cloudstack_storage_pool", name="hybrid", zone="sofia", template="hybrid")["changed"]


def entry(result):
    return result["volumes"][0]


# -- what others do meanwhile


def test_a_result_that_changes_under_the_task(declare, run_module, volumes, simulator, after_the, monkeypatch, db1):
    monkeypatch.setattr("ansible_collections.storpool.cloudstack.plugins.module_utils.resources.cloud_volume.PROOF", 0.5)
    declare(name="data", zone="sofia", offering="Custom", size="1G", vm="db1")
    after_the("resizeVolume", lambda: simulator.cs_job("resizeVolume", id=volumes()["data"]["id"], size=5))
    result = run_module(MODULE, name="data", size="2G")
    assert result["failed"] and "somebody else changes it" in result["msg"], result
    assert entry(result)["object"]["size"] == 5 * GIB and entry(result)["actions"] == ["resize"]


def test_a_volume_that_another_vm_gets_first(declare, run_module, volumes, simulator, after_the, db1):
    other = simulator.deploy("db2")
    after_the("createVolume", lambda: simulator.cs_job("attachVolume", id=volumes()["data"]["id"], virtualmachineid=other["id"]))
    result = run_module(MODULE, name="data", vm="db1", **NEW)
    # Whether it gives up or does once more what was declared, it says what it met, and what is there.
    assert "not attached to any VM" in " ".join([result.get("msg", ""), *result.get("warnings", ())]), result
    assert entry(result)["object"]["vm"] == volumes()["data"]["vmname"] and "create" in entry(result)["actions"]


def test_a_job_that_has_not_ended_is_waited_for(declare, run_module, volumes, simulator, calls, when_listed, db1):
    """Somebody's job resizes the volume while the task looks: what it makes is what counts, and it is not sent once more."""
    declare(name="data", zone="sofia", offering="Custom", size="1G", vm="db1")
    identity = volumes()["data"]["id"]
    simulator.background(False)  # nor does the job end, as long as nobody asks for it
    status, begun = simulator.cs("resizeVolume", id=identity, size=5)
    assert status == 200 and volumes()["data"]["jobid"] == begun["jobid"] and volumes()["data"]["size"] == GIB
    when_listed("listVolumes", lambda row: row.get("jobid"), lambda: simulator.background(True))
    calls()
    result = run_module(MODULE, name="data", size="5G")
    assert not result.get("failed") and not result["changed"] and entry(result)["object"]["size"] == 5 * GIB, result
    assert [one["call"] for one in calls().entries if one["write"] and not one["plugin"]] == []


# -- devices


def test_a_device_that_is_taken_is_refused_unless_the_task_frees_it(declare, refused, volumes, db1):
    declare(name="log", vm="db1", device_id=4, **NEW)
    assert "cannot be device 4 of VM db1: volume log is" in refused(name="data", vm="db1", device_id=4, **NEW)["msg"]
    declare(volumes=[{"name": "data", "vm": "db1", "device_id": 4}, {"name": "log", "vm": ""}], **NEW)
    assert volumes()["data"]["deviceid"] == 4 and not volumes()["log"].get("virtualmachineid")
    assert "device 5 of VM db1' is declared twice" in refused(names=["a", "b"], vm="db1", device_id=5, **NEW)["msg"]


def test_two_volumes_that_change_places_take_two_tasks(declare, refused, volumes, simulator, db1):
    simulator.deploy("db2")
    here, there = {"vm": "db1", "device_id": 4}, {"vm": "db2", "device_id": 4}
    declare(volumes=[{"name": "a", **here}, {"name": "b", **there}], **NEW)
    told = refused(volumes=[{"name": "a", **there}, {"name": "b", **here}])["msg"]
    assert "a, b need each other in a circle; split them over two tasks" in told.replace("'", "")
    declare(name="a", vm="")
    declare(volumes=[{"name": "a", **there}, {"name": "b", **here}])
    assert [(volumes()[name]["vmname"], volumes()[name]["deviceid"]) for name in "ab"] == [("db2", 4), ("db1", 4)]


# -- jobs that get lost


LOST = {
    "createVolume": {"name": "new", "zone": "sofia", "offering": "Custom", "size": "1G"},
    "updateVolume": {"name": "disk", "renamed_from": "data"},
    "attachVolume": {"name": "free", "vm": "db1"},
    "detachVolume": {"name": "data", "vm": ""},
    "resizeVolume": {"name": "data", "size": "2G"},
    "changeOfferingForVolume": {"name": "data", "offering": "Small"},
    "migrateVolume": {"name": "data", "storage_pool": "hybrid"},
}


@pytest.mark.parametrize("call", LOST)
def test_a_lost_job_is_found_by_its_effect(run_module, simulator, calls, hybrid, db1, call):
    """Its management server was restarted: the job is known no more, or ended by that. It took effect, and is sent once."""
    made = run_module(MODULE, volumes=[{"name": "data", "vm": "db1"}, {"name": "free"}], **NEW)
    assert not made.get("failed"), made
    calls()
    simulator.fault("job_lost", call, effect=True)
    result = run_module(MODULE, **LOST[call])
    assert not result.get("failed"), result["msg"]
    sent = [one["call"] for one in calls().entries if one["write"] and not one["plugin"]]
    assert result["changed"] and sent == [call]
    assert not run_module(MODULE, **LOST[call])["changed"]


# -- snapshots


@pytest.fixture
def monday(simulator, run_module, declare, db1):
    """A snapshot of a stopped VM's volume."""
    declare(name="source", vm="db1", **NEW)
    simulator.cs_done("stopVirtualMachine", id=db1["id"])
    assert run_module("cloudstack_snapshot", volume="source", name="monday")["changed"]
    return simulator.cs("listSnapshots", name="monday", listall=True)[1]["snapshot"][0]["id"]


def test_two_snapshots_of_one_name(run_module, declare, simulator, calls, monday):
    source = simulator.cs_volumes(name="source")[0]["id"]
    simulator.cs_done("createSnapshot", volumeid=source, name="monday")
    calls()
    result = run_module(MODULE, name="copy", zone="sofia", snapshot="monday")
    assert "is the name of 2 snapshots" in result["msg"] and monday in result["msg"] and calls().writes == []
    assert f"{monday} (volume source, zone sofia" in result["msg"], "what tells them apart"
    told = run_module("cloudstack_template", name="t", snapshot="monday", os_type="Other Linux (64-bit)")["msg"]
    assert f"{monday} (volume source, zone sofia" in told and "give the id, or volume, zone, account or project" in told
    declare(name="copy", zone="sofia", snapshot=monday)
    assert not run_module(MODULE, name="copy", snapshot="monday")["changed"], "it is one of them"


def test_no_volume_from_an_encrypted_snapshot(run_module, simulator, calls, db1):
    run_module("cloudstack_offering", name="luks", encrypt=True)
    made = run_module(MODULE, name="secret", zone="sofia", offering="luks", size="1G", vm="db1", encrypted=True)
    assert not made.get("failed") and entry(made)["storpool"]["size"] == GIB + (2 << 20)
    run_module(MODULE, name="secret", vm="")
    identity = simulator.cs_volumes(name="secret")[0]["id"]
    simulator.cs_done("createSnapshot", volumeid=identity, name="sealed")
    calls()
    result = run_module(MODULE, name="copy", zone="sofia", snapshot="sealed")
    assert result["failed"] and "which is of an encrypted volume" in result["msg"] and calls().writes == []


@pytest.mark.parametrize("more", [{}, {"encrypted": True}])
def test_no_encrypted_volume_from_a_snapshot(run_module, refused, simulator, db1, more):
    """CloudStack would make one that has an offering which encrypts, and is not encrypted."""
    run_module("cloudstack_offering", name="luks", encrypt=True)
    simulator.cs_done("createSnapshot", volumeid=simulator.cs_volumes(virtualmachineid=db1["id"])[0]["id"], name="plain")
    assert "with offering luks, which encrypts" in refused(name="copy", zone="sofia", snapshot="plain", offering="luks", **more)["msg"]


# -- moves


def nfs(simulator):
    """A pool that is not on StorPool, and the offering of volumes on it."""
    zone = simulator.cs("listZones")[1]["zone"][0]["id"]
    wanted = {"name": "nfs1", "zoneid": zone, "scope": "zone", "hypervisor": "KVM", "tags": "nfs", "url": "nfs://192.0.2.7/export/nfs1"}
    pool = simulator.cs("createStoragePool", **wanted)[1]["storagepool"]["id"]
    assert simulator.cs("createDiskOffering", name="nfs", displaytext="nfs", customized=True, tags="nfs")[0] == 200
    return pool


def test_to_storpool_with_a_running_vm(declare, refused, volumes, simulator, hybrid, db1):
    """The refusal has the command that moves it; the other way out is to stop the VM."""
    nfs(simulator)
    simulator.cs_done("stopVirtualMachine", id=db1["id"])
    declare(name="data", zone="sofia", offering="nfs", size="1G", vm="db1", storage_pool="nfs1")
    simulator.cs_done("startVirtualMachine", id=db1["id"])
    hint = refused(name="data", storage_pool="hybrid")["error"]["hint"]
    command, given = re.match(r"(migrateVirtualMachineWithVolume) (.*) moves it", hint).groups()
    params = dict(one.split("=") for one in given.split())
    assert params["migrateto[0].volume"] == volumes()["data"]["id"] and params.pop("hostid") == "..."
    here = simulator.cs("listVirtualMachines", id=db1["id"])[1]["virtualmachine"][0]["hostid"]
    hosts = simulator.cs("listHosts", type="Routing")[1]["host"]
    host = next(one["id"] for one in hosts if one["id"] != here and one["clustername"] == "kvm1")
    simulator.cs_done(command, hostid=host, **params)
    assert volumes()["data"]["storage"] == "hybrid"
    assert not declare(name="data", storage_pool="hybrid")["changed"]


def test_from_storpool_with_a_running_vm(declare, refused, volumes, simulator, db1):
    """The plugin does not do it; the VM has to be stopped, as the refusal says, which tells no command that would fail."""
    nfs(simulator)
    declare(name="data", vm="db1", **NEW)
    hint = refused(name="data", storage_pool="nfs1")["error"]["hint"]
    assert hint == f"stop the VM (stopVirtualMachine id={db1['id']}) and run the task again"
    simulator.cs_done("stopVirtualMachine", id=db1["id"])
    declare(name="data", storage_pool="nfs1")
    assert volumes()["data"]["storage"] == "nfs1"


def test_an_encrypted_volume_moves_with_a_running_vm_alone(declare, run_module, refused, volumes, simulator, hybrid, db1):
    run_module("cloudstack_offering", name="luks", encrypt=True)
    declare(name="secret", zone="sofia", offering="luks", size="1G", vm="db1")
    simulator.cs_done("stopVirtualMachine", id=db1["id"])
    assert f"startVirtualMachine id={db1['id']}" in refused(name="secret", storage_pool="hybrid")["msg"]
    simulator.cs_done("startVirtualMachine", id=db1["id"])
    refused(name="secret", storage_pool="hybrid", vm="")  # detached it would not move, and it is not detached for nothing
    declare(name="secret", storage_pool="hybrid")
    assert volumes()["secret"]["storage"] == "hybrid"


def test_a_volume_whose_snapshots_only_its_pool_has(declare, run_module, refused, simulator, hybrid, db1):
    simulator.cs("updateConfiguration", name="snapshot.backup.to.secondary", value="false")
    simulator.restart_server()
    declare(name="data", vm="db1", **NEW)
    simulator.cs_done("stopVirtualMachine", id=db1["id"])
    assert run_module("cloudstack_snapshot", volume="data", name="lonely")["changed"]
    identity = simulator.cs("listSnapshots", name="lonely", listall=True)[1]["snapshot"][0]["id"]
    told = refused(name="data", storage_pool="hybrid")
    assert f"its old pool alone has its snapshots lonely ({identity})" in told["msg"] and "archiveSnapshot" in told["error"]["hint"]
    simulator.cs_done("archiveSnapshot", id=identity)
    declare(name="data", storage_pool="hybrid")


def test_detached_and_moved_in_one_task(declare, volumes, hybrid, db1):
    declare(name="data", vm="db1", **NEW)
    result = declare(name="data", vm="", storage_pool="hybrid")
    assert entry(result)["actions"] == ["detach", "migrate"] and entry(result)["storpool"]["template"] == "hybrid"


def test_a_move_that_the_offering_would_undo(declare, run_module, refused, hybrid, db1):
    """Its offering has a StorPool template of its own, a move gives it that of the pool."""
    run_module("cloudstack_offering", name="archive", template="hdd")
    declare(name="data", zone="sofia", offering="archive", size="1G", vm="db1")
    assert "template is hdd in CloudStack and hybrid on StorPool" in refused(name="data", storage_pool="hybrid")["msg"]


# -- the pool of a new volume


def test_a_new_volume_on_a_declared_pool(declare, run_module, refused, volumes, hybrid, db1):
    """CloudStack chooses by the tags of the offering; what it may choose otherwise is not promised."""
    run_module("cloudstack_offering", name="on-hybrid", storage_tags=["hybrid"])
    declare(name="data", zone="sofia", offering="on-hybrid", size="1G", vm="db1", storage_pool="hybrid")
    assert volumes()["data"]["storage"] == "hybrid"
    told = refused(name="other", vm="db1", storage_pool="hybrid", **NEW)
    assert "hybrid, storpool-nvme" in told["msg"] and "leave storage_pool out" in told["msg"]
    assert "storpool-nvme" not in volumes()
    declare(name="unborn", zone="sofia", offering="on-hybrid", size="1G")
    declare(name="unborn", vm="db1", storage_pool="hybrid")


# -- whose it is


@pytest.fixture(scope="session")
def zones_process(tmp_path_factory):
    place = tmp_path_factory.mktemp("zones")
    (place / "topology.json").write_text(json.dumps({**BUILT_IN, "cloudstack": {"zones": 2}}))
    with Simulator(place / "state", devices="link", cloudstack=CLOUDSTACKS[-1], topology=place / "topology.json", assume=SOON) as process:
        yield process


class TestInTwoZones:
    @pytest.fixture
    def simulator(self, zones_process):
        return as_at_first_start(zones_process)

    @pytest.fixture
    def other(self, simulator):
        """The name of the second zone."""
        return next(one["name"] for one in simulator.cs("listZones")[1]["zone"] if one["name"] != "sofia")

    def test_one_name_in_two_zones(self, declare, refused, volumes, simulator, other):
        for zone in ("sofia", other):
            declare(name="data", zone=zone, offering="Custom", size="1G")
        told = refused(name="data", size="2G")["msg"]
        assert "is the name of 2 volumes" in told and "zone sofia" in told and f"zone {other}" in told and "give the id, or zone" in told
        result = declare(name="data", zone=other, size="2G")
        assert entry(result)["object"]["zone"] == other
        sizes = {one["zonename"]: one["size"] for one in simulator.cs_volumes()}
        assert sizes == {"sofia": GIB, other: 2 * GIB}

    def test_a_pool_of_another_zone(self, declare, refused, simulator, other):
        simulator.deploy("db1")
        declare(name="data", vm="db1", **NEW)
        assert (
            "does not exist in CloudStack; there are: storpool-nvme" in refused(name="data", storage_pool=f"storpool-nvme-{other}")["msg"]
        )


def test_one_name_in_two_accounts(declare, refused, simulator, volumes):
    declare(name="data", account="admin", domain="ROOT", **NEW)
    declare(name="data", account="ops", domain="ROOT/ops", **NEW)
    told = refused(name="data", size="2G")["msg"]
    assert "is the name of 2 volumes" in told and "account ops" in told and "account admin" in told
    result = declare(name="data", account="ops", domain="ops", size="2G")
    assert entry(result)["object"]["account"] == "ops"
    declare(name="data", account="ops", domain="ops", state="absent")
    assert [one["account"] for one in simulator.cs_volumes()] == ["admin"]


def test_by_id(declare, refused, volumes, simulator):
    declare(name="data", **NEW)
    identity = volumes()["data"]["id"]
    zone = simulator.cs("listZones")[1]["zone"][0]["id"]
    declare(id=identity, size="2G")
    declare(id=identity, name="disk")
    assert volumes()["disk"]["size"] == 2 * GIB
    assert "is the id of no volume" in refused(id="3f1c2f1e-0a0b-4c0d-8e0f-00000000ffff", size="2G")["msg"]
    declare(name="by-ids", zone=zone, offering="Custom", size="1G")
    declare(id=identity, state="absent")


def test_the_name_of_a_volume_that_can_still_be_recovered(declare, volumes, simulator, db1):
    """It stays in the listings until CloudStack expunges it, and is neither the volume that is declared nor a second one of it."""
    declare(name="data", vm="db1", **NEW)
    declare(name="data", zone="sofia", vm="")
    destroyed = volumes()["data"]["id"]
    simulator.cs_done("destroyVolume", id=destroyed, expunge=False)
    declare(name="data", vm="db1", **NEW)
    rows = simulator.cs_volumes()
    assert sorted(row["state"] for row in rows if row["name"] == "data") == ["Destroy", "Ready"]
    assert next(row["state"] for row in rows if row["id"] == destroyed) == "Destroy"


# -- releases that tell of what a volume was made only when it is made


def test_an_origin_that_only_storpool_tells(run_module, refused, declare, volumes, simulator, monkeypatch, monday, db1):
    """The server's listings leave `snapshotid` out (VolumeJoinDaoImpl); it stands on the snapshot, below those of itself."""
    assert run_module("cloudstack_snapshot", volume="source", name="tuesday")["changed"]
    listing = CloudStack.list

    def without_origin(self, call, key, **params):
        rows = listing(self, call, key, **params)
        return [{name: value for name, value in row.items() if name != "snapshotid"} for row in rows] if key == "volume" else rows

    monkeypatch.setattr(CloudStack, "list", without_origin)
    made = declare(name="copy", zone="sofia", snapshot="tuesday")
    assert entry(made)["object"]["snapshot_id"]
    assert run_module("cloudstack_snapshot", volume="copy", name="of-itself")["changed"]
    assert not run_module(MODULE, name="copy", snapshot="tuesday")["changed"]
    assert "was made from snapshot tuesday" in refused(name="copy", snapshot="monday")["msg"], "on which it stands as well, further down"
    assert not run_module(MODULE, name="source", snapshot="tuesday").get("failed"), "what neither system tells is not compared"


# -- the playbook move_volumes


@pytest.fixture
def move(playbook):
    """`move(names=[...], storage_pool=...)` runs it, with move_volumes_names and so on."""

    def run(check=False, **given):
        variables = {f"move_volumes_{key}": value for key, value in given.items()}
        return playbook(Path("storpool.cloudstack.move_volumes"), variables=variables, check=check, diff=True)

    return run


def test_the_playbook_moves_live_and_offline_at_once(declare, move, volumes, simulator, calls, hybrid, db1):
    """In an account that shares the names with another; check mode says the same, and then nothing is left to do."""
    ops = {"account": "ops", "domain": "ROOT/ops"}
    declare(names=["live", "offline"], **NEW)
    other = simulator.cs_done("deployVirtualMachine", name="db2", **ops_machine(simulator))["virtualmachine"]
    declare(volumes=[{"name": "live", "vm": "db2"}, {"name": "offline"}], **ops, **NEW)
    declare(volumes=[{"name": "offline", "vm": other["id"]}], **ops)
    declare(volumes=[{"name": "offline", "vm": ""}], **ops)
    given = {"names": ["live", "offline"], "storage_pool": "hybrid", **ops}
    calls()
    predicted = move(check=True, **given)
    assert (predicted.rc, calls().writes) == (0, []), predicted.output
    real = move(**given)
    assert real.rc == 0 and differences(predicted, real) == [], real.output
    assert real.result("Summary")["msg"] == ["live: migrate", "offline: migrate"]
    listed = simulator.cs_volumes()
    moved = {(one["account"], one["name"]) for one in listed if one.get("storage") == "hybrid"}
    assert moved == {("ops", "live"), ("ops", "offline")}
    calls()
    again = move(**given)
    assert again.rc == 0 and not_silent(again, calls().writes) == [], again.output


def ops_machine(simulator):
    """What it takes to deploy a VM for the account ops."""
    zone = simulator.cs("listZones")[1]["zone"][0]["id"]
    offering = next(one["id"] for one in simulator.cs("listServiceOfferings")[1]["serviceoffering"] if one["name"] == "Small Instance")
    template = simulator.cs("listTemplates", templatefilter="all", name="debian-12")[1]["template"][0]["id"]
    domain = next(one["id"] for one in simulator.cs("listDomains", listall=True)[1]["domain"] if one["name"] == "ops")
    return {"zoneid": zone, "serviceofferingid": offering, "templateid": template, "account": "ops", "domainid": domain}


def test_the_playbook_moves_nothing_when_one_cannot_move(declare, move, run_module, volumes, simulator, calls, hybrid, db1):
    run_module("cloudstack_offering", name="luks", encrypt=True)
    declare(name="plain", vm="db1", **NEW)
    declare(name="secret", zone="sofia", offering="luks", size="1G", vm="db1")
    simulator.cs_done("stopVirtualMachine", id=db1["id"])
    calls()
    for check in (True, False):
        run = move(check=check, names=["plain", "secret"], storage_pool="hybrid")
        assert run.rc == 2 and "it is encrypted" in json.dumps(run.failures) and calls().writes == [], run.output
