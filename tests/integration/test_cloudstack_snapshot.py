# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""cloudstack_snapshot against each version of the simulated CloudStack, with the StorPool that its plugin drives."""

from __future__ import annotations

import json
import threading
import time
from types import SimpleNamespace

import pytest
from ansible_collections.storpool.cloudstack.plugins.module_utils import _cloudstack
from ansible_collections.storpool.cloudstack.plugins.module_utils._cloudstack import CloudStack
from conftest import CLOUDSTACKS, as_at_first_start
from storpool_simulator.testing import Simulator, address
from storpool_simulator.topology import BUILT_IN

MODULE = "cloudstack_snapshot"
GIB = 1 << 30


@pytest.fixture
def simulator(cloud):
    return cloud


@pytest.fixture
def configure(simulator):
    """`configure(name, value)` sets it, and restarts the servers."""

    def set_to(name, value):
        assert simulator.cs("updateConfiguration", name=name, value=value)[0] == 200
        simulator.restart_server()

    return set_to


@pytest.fixture
def db1(simulator):
    """A stopped VM; its ROOT volume is what is taken snapshots of."""
    machine = simulator.deploy("db1")
    simulator.cs_done("stopVirtualMachine", id=machine["id"])
    return machine


@pytest.fixture
def root(simulator, db1):
    return simulator.cs_volumes(virtualmachineid=db1["id"])[0]


@pytest.fixture
def listed(simulator):
    return lambda **more: simulator.cs("listSnapshots", listall=True, **more)[1].get("snapshot", [])


def entry(result):
    return result["snapshots"][0]


# -- taking


def test_taken_backed_up_and_gone_again(declare, root, simulator, listed):
    made = declare(volume=root["name"], name="before")
    assert entry(made)["backup"] == {"done": True, "because": "snapshot.backup.to.secondary is true"}
    (there,) = [one for one in simulator.get("SnapshotsList")[1]["data"] if one["tags"].get("uuid") == entry(made)["object"]["id"]]
    assert entry(made)["storpool"]["global_id"] == there["globalId"] and entry(made)["storpool"]["tags"]["cs"] == "snapshot"
    assert simulator.content(f"~{there['globalId']}")["sha256"] == simulator.content(address(root))["sha256"]
    assert entry(made)["object"]["zones"] == ["sofia"] and entry(made)["object"]["backup"] is True
    assert [(one["name"], one["state"]) for one in listed()] == [("before", "BackedUp")]
    gone = declare(volume=root["name"], name="before", state="absent")
    assert entry(gone)["actions"] == ["delete"] and listed() == []


def test_without_a_backup_as_the_version_has_it(declare, run_module, root, simulator, calls, configure):
    """Up to 4.20 one setting bypasses secondary storage, from 4.21 another one does."""
    calls()
    refused = run_module(MODULE, volume=root["name"], name="fast", backup=False)
    old = simulator.release < (4, 21)
    setting = "sp.bypass.secondary.storage" if old else "snapshot.backup.to.secondary"
    assert "would be copied to secondary storage, because snapshot.backup.to.secondary is true" in refused["msg"]
    assert f"set {setting} to {'true' if old else 'false'}" in refused["msg"] and calls().writes == []
    configure(setting, "true" if old else "false")
    made = declare(volume=root["name"], name="fast", backup=False)
    assert entry(made)["backup"] == {"done": False, "because": f"{setting} is {'true' if old else 'false'}"}
    assert entry(made)["object"]["backup"] is False
    refused = run_module(MODULE, volume=root["name"], name="other", backup=True)
    assert f"set {setting} to {'false' if old else 'true'}" in refused["msg"]
    assert "has no copy on secondary storage" in run_module(MODULE, volume=root["name"], name="fast", backup=True)["msg"]


def test_a_setting_that_waits_for_a_restart_is_noticed(run_module, root, simulator):
    """What is stored is not what is in force."""
    simulator.cs("updateConfiguration", name="snapshot.backup.to.secondary", value="false")
    result = run_module(MODULE, volume=root["name"], name="s")
    assert "it has a copy on secondary storage, although snapshot.backup.to.secondary is false" in result["msg"]


def test_of_a_running_vm(declare, run_module, simulator, calls, configure, db1, root):
    simulator.cs_done("startVirtualMachine", id=db1["id"])
    if simulator.release < (4, 22):
        calls()
        refused = run_module(MODULE, volume=root["name"], name="live")
        assert "kvm.snapshot.enabled is false" in refused["msg"] and calls().writes == []
        configure("kvm.snapshot.enabled", "true")
    made = declare(volume=root["name"], name="live")
    assert entry(made)["storpool"]["tags"]["cvm"] == db1["id"]


def test_two_volumes_of_one_vm(declare, run_module, simulator, db1, root, listed):
    """CloudStack takes one at a time."""
    assert run_module("cloudstack_volume", name="data", zone="sofia", offering="Custom", size="1G", vm="db1")["changed"]
    declare(volumes=[root["name"], "data"], name="both")
    assert sorted(one["volumename"] for one in listed()) == sorted([root["name"], "data"])


def test_one_that_goes_on_is_waited_for(run_module, root, simulator, listed, calls, when_listed):
    """As after a task that was interrupted, or a CloudStack that was asked by somebody else."""
    held = simulator.fault("host_held", "StorPoolBackupSnapshot")
    status, _answer = simulator.cs("createSnapshot", volumeid=root["id"], name="slow")
    assert status == 200
    when_listed("listSnapshots", lambda row: row["state"] == "BackingUp", lambda: simulator.lift(held))
    calls()
    result = run_module(MODULE, volume=root["name"], name="slow")
    assert not result.get("failed"), result
    assert result["changed"] is False and entry(result)["object"]["state"] == "BackedUp" and calls().writes.count("createSnapshot") == 0
    assert len(listed()) == 1


def test_one_that_takes_too_long(run_module, root, simulator, listed):
    simulator.fault("host_held", "StorPoolBackupSnapshot")
    assert simulator.cs("createSnapshot", volumeid=root["id"], name="slow")[0] == 200
    while [one["state"] for one in listed()] != ["BackingUp"]:
        time.sleep(0.02)
    result = run_module(MODULE, volume=root["name"], name="slow", wait_timeout="1")
    assert "the backup of snapshot" in result["msg"] and "has not ended: it is BackingUp (run the task again" in result["msg"]


def test_a_failed_one_is_taken_anew(declare, run_module, root, simulator, listed):
    simulator.fault("host_fails", "StorPoolBackupSnapshot", text="no space left on device")
    failed = run_module(MODULE, volume=root["name"], name="s")
    assert failed["failed"] and "no space left on device" in failed["msg"]
    assert [one["state"] for one in listed()] == ["Error"]
    assert entry(declare(volume=root["name"], name="s"))["actions"] == ["delete (failed)", "create"]
    assert [one["state"] for one in listed()] == ["BackedUp"]


def test_of_a_volume_that_was_never_attached(run_module, calls):
    run_module("cloudstack_volume", name="unborn", zone="sofia", offering="Custom", size="1G")
    calls()
    result = run_module(MODULE, volume="unborn", name="s")
    assert "it is Allocated" in result["msg"] and calls().writes == []


def test_what_is_gone_on_storpool_is_seen(declare, run_module, root, do):
    made = declare(volume=root["name"], name="s")
    do(f"SnapshotDelete/~{entry(made)['storpool']['global_id']}")
    assert "StorPool has no snapshot with the tags" in run_module(MODULE, volume=root["name"], name="s")["msg"]
    assert run_module(MODULE, volume=root["name"], name="s", verify="warn")["warnings"]
    assert "StorPool does not have it" in run_module(MODULE, volume=root["name"], name="s", state="reverted")["msg"]


# -- reverting


def test_reverted_by_content(declare, run_module, simulator, calls, db1, root):
    declare(volume=root["name"], name="before")
    content = simulator.content(address(root))["sha256"]
    silent = run_module(MODULE, volume=root["name"], name="before", state="reverted")
    assert silent["changed"] is False and entry(silent)["revert"]["needed"] is False
    simulator.write(address(root), b"x" * 4096)
    simulator.cs_done("startVirtualMachine", id=db1["id"])
    calls()
    refused = run_module(MODULE, volume=root["name"], name="before", state="reverted")
    assert "CloudStack reverts volumes only of stopped VMs" in refused["msg"] and refused["error"]["allow_with"] == "stop_vm: true"
    assert calls().writes == []
    result = declare(volume=root["name"], name="before", state="reverted", stop_vm=True)
    assert entry(result)["actions"] == ["mark the VM", "stop the VM", "revert", "start the VM", "unmark the VM"]
    assert simulator.content(address(root))["sha256"] == content
    assert simulator.cs("listVirtualMachines", name="db1")[1]["virtualmachine"][0]["state"] == "Running"


@pytest.fixture
def two_disks(simulator, run_module, configure, db1, root):
    """A running VM whose two volumes were written to since their snapshot `s`: volumes by name, and what they held then."""
    assert run_module("cloudstack_volume", name="data", zone="sofia", offering="Custom", size="1G", vm="db1")["changed"]
    assert run_module(MODULE, volumes=[root["name"], "data"], name="s")["summary"]["changed"] == 2
    volumes = {one["name"]: address(one) for one in simulator.cs_volumes(virtualmachineid=db1["id"])}
    contents = {name: simulator.content(where)["sha256"] for name, where in volumes.items()}
    for where in volumes.values():
        simulator.write(where, b"x" * 4096)
    simulator.cs_done("startVirtualMachine", id=db1["id"])
    return volumes, contents


def test_several_volumes_of_a_vm_stop_and_start_it_once(declare, run_module, simulator, calls, two_disks):
    volumes, contents = two_disks
    calls()
    result = declare(volumes=list(volumes), name="s", state="reverted", stop_vm=True)
    assert [one["actions"] for one in result["snapshots"]] == [
        ["mark the VM", "stop the VM", "revert"],
        ["revert", "start the VM", "unmark the VM"],
    ]
    assert {name: simulator.content(where)["sha256"] for name, where in volumes.items()} == contents
    machine = simulator.cs("listVirtualMachines", name="db1")[1]["virtualmachine"][0]
    assert (machine["state"], machine["tags"]) == ("Running", [])


def test_a_vm_that_stays_stopped_between_two_volumes_is_started_by_the_next_run(declare, run_module, simulator, two_disks):
    volumes, contents = two_disks
    simulator.fault("job_fails", "revertSnapshot", skip=1, code=530, text="the storage said no")
    failed = run_module(MODULE, volumes=list(volumes), name="s", state="reverted", stop_vm=True, return_objects="all")
    assert "the storage said no" in failed["msg"]
    assert [one.get("not_done", []) for one in failed["snapshots"]] == [[], ["revert", "start the VM", "unmark the VM"]]
    assert simulator.cs("listVirtualMachines", name="db1")[1]["virtualmachine"][0]["state"] == "Stopped"
    result = declare(volumes=list(volumes), name="s", state="reverted", stop_vm=True)
    assert [one["actions"] for one in result["snapshots"]] == [["revert", "start the VM", "unmark the VM"]]
    assert {name: simulator.content(where)["sha256"] for name, where in volumes.items()} == contents
    assert simulator.cs("listVirtualMachines", name="db1")[1]["virtualmachine"][0]["state"] == "Running"


def test_a_size_that_changes_is_told(declare, run_module, simulator, db1):
    assert run_module("cloudstack_volume", name="data", zone="sofia", offering="Custom", size="1G", vm="db1")["changed"]
    declare(volume="data", name="small")
    assert run_module("cloudstack_volume", name="data", size="2G")["changed"]
    result = declare(volume="data", name="small", state="reverted")
    assert (entry(result)["revert"]["size_before"], entry(result)["revert"]["size_after"]) == (2 * GIB, GIB)
    assert (result["diff"][0]["before"]["volume_size"], result["diff"][0]["after"]["volume_size"]) == ("2G", "1G")
    assert "2G on StorPool as before" in result["warnings"][0] and "cloudstack_volume with size: 2G makes" in result["warnings"][0]
    assert "size: 2G has CloudStack take" in run_module("cloudstack_volume", name="data")["error"]["hint"]
    assert not run_module("cloudstack_volume", name="data", size="2G").get("failed")


def test_vm_snapshots_forbid_a_revert(declare, run_module, simulator, db1, root, calls):
    declare(volume=root["name"], name="before")
    assert run_module("cloudstack_vm_snapshot", vm="db1", name="group")["changed"]
    simulator.write(address(root), b"x" * 4096)
    calls()
    result = run_module(MODULE, volume=root["name"], name="before", state="reverted")
    assert "VM db1 has VM snapshots" in result["msg"] and calls().writes == []


# -- deleting


def test_snapshots_outlive_their_volume(declare, run_module, simulator, db1, listed):
    run_module("cloudstack_volume", name="data", zone="sofia", offering="Custom", size="1G", vm="db1")
    made = declare(volume="data", name="last")
    run_module("cloudstack_volume", name="data", state="absent", on_attached="detach")
    assert "does not exist any more" in run_module(MODULE, volume="data", name="last", state="reverted")["msg"]
    declare(id=entry(made)["object"]["id"], state="absent")
    assert listed() == []


def test_what_storpool_lost_is_deleted_in_one_run(declare, run_module, root, do, listed):
    """Up to 4.20 CloudStack's first attempt fails, and leaves nothing for the second one to stumble over."""
    made = declare(volume=root["name"], name="s")
    do(f"SnapshotDelete/~{entry(made)['storpool']['global_id']}")
    assert entry(declare(volume=root["name"], name="s", state="absent"))["actions"] == ["delete"] and listed() == []


def test_retention(declare, run_module, root, listed, simulator):
    volume = root["name"]
    for year in (2021, 2022, 2023):  # not days: what the next one is called has to stay the same for three runs
        assert run_module(MODULE, volume=volume, name=f"yearly-{year}")["changed"]
        simulator.advance(2)
    run_module(MODULE, volume=volume, name="by-hand")
    result = declare(volume=volume, name="yearly-%Y", state="pruned", keep_last=2)
    assert entry(result)["retention"]["deleted"] == ["yearly-2021"]
    result = declare(volume=volume, name="yearly-%Y", keep_last=1)
    assert entry(result)["actions"] == ["create", "delete (yearly-2022)", "delete (yearly-2023)"]
    assert sum(one["name"].startswith("yearly-") for one in listed()) == 1 and len(listed()) == 2


# -- a server that goes down


def test_a_job_that_is_lost_is_found_by_its_effect(run_module, root, simulator, listed):
    simulator.fault("job_lost", "createSnapshot")
    result = run_module(MODULE, volume=root["name"], name="s")
    assert not result.get("failed"), result
    assert entry(result)["actions"] == ["create"] and len(listed()) == 1


def test_a_job_that_goes_down_with_its_server_is_not_begun_again(run_module, root, simulator, listed, calls, monkeypatch):
    """The job ends as failed; the snapshot, which is on StorPool already, is no reason to take another."""
    simulator.fault("host_held", "StorPoolBackupSnapshot")
    read = CloudStack.read

    def down_with_it(client, call, **params):
        if call == "queryAsyncJobResult" and [one["state"] for one in listed()] == ["BackingUp"]:
            simulator.restart_server(lose_jobs=True)
        return read(client, call, **params)

    monkeypatch.setattr(CloudStack, "read", down_with_it)
    # However long it takes until then, it is not this that is waited for too long.
    monkeypatch.setattr(_cloudstack, "time", SimpleNamespace(**{**vars(time), "monotonic": lambda: 0.0}))
    calls()
    result = run_module(MODULE, volume=root["name"], name="s", wait_timeout="1")
    assert "has not ended: it is BackingUp; no job is at it" in result["msg"] and result["error"]["type"] == "deadline", result
    assert entry(result)["actions"] == ["create"] and entry(result)["object"]["state"] == "BackingUp"
    assert calls().writes.count("createSnapshot") == 1 and len(listed()) == 1


# -- calls


def test_however_many_the_reads_stay_the_same(declare, run_module, calls, db1, root):
    names = [f"v{number}" for number in range(4)]
    run_module("cloudstack_volume", names=names, zone="sofia", offering="Custom", size="1G", vm="db1")
    declare(volumes=names, name="s")
    calls()
    result = run_module(MODULE, volumes=names, name="s")
    assert not result["changed"] and calls().writes == []
    assert result["api"]["reads"] == 4, "the volumes, the snapshots, where they are, StorPool's snapshots"


# -- other zones


@pytest.fixture(scope="module")
def zones_of(tmp_path_factory):
    """`zones_of(version)` is a CloudStack with a zone in each of two locations."""
    running = {}

    def get(version):
        if version not in running:
            place = tmp_path_factory.mktemp("zones")
            (place / "topology.json").write_text(json.dumps({**BUILT_IN, "cloudstack": {"zones": 2}}))
            running[version] = Simulator(place / "state", devices="link", cloudstack=version, topology=place / "topology.json")
            running[version].start()
        return as_at_first_start(running[version])

    yield get
    for process in running.values():
        process.stop()


class TestZones:
    """Files are copied by every version, StorPool's own copies come with 4.21."""

    @pytest.fixture(params=CLOUDSTACKS)
    def simulator(self, request, zones_of):
        return zones_of(request.param)

    @pytest.fixture
    def root(self, simulator):
        machine = simulator.deploy("db1")
        simulator.cs_done("stopVirtualMachine", id=machine["id"])
        return simulator.cs_volumes(virtualmachineid=machine["id"])[0]

    @pytest.fixture
    def mark(self, simulator):
        """`mark()` has the pool of the other zone take StorPool's copies."""
        pools = {one["zonename"]: one["id"] for one in simulator.cs("listStoragePools")[1]["storagepool"]}
        return lambda: simulator.cs("updateConfiguration", name="use.storage.replication", value="true", storageid=pools["plovdiv"])

    @pytest.fixture
    def places(self, listed):
        return lambda: sorted((one["zonename"], one["datastoretype"]) for one in listed(showunique=False))

    def test_by_secondary_storage(self, declare, root, places):
        made = declare(volume=root["name"], name="s", zones=["plovdiv"])
        assert entry(made)["actions"] == ["create", "copy to plovdiv"] and entry(made)["object"]["zones"] == ["plovdiv", "sofia"]
        assert places() == [("plovdiv", "Image"), ("sofia", "Image"), ("sofia", "Primary")]
        alone = declare(volume=root["name"], name="s", state="absent", zones=["plovdiv"])
        assert entry(alone)["actions"] == ["delete in plovdiv"] and entry(alone)["object"]["zones"] == ["sofia"]
        assert places() == [("sofia", "Image"), ("sofia", "Primary")]

    def test_back_to_the_zone_of_its_volume(self, declare, run_module, root, places):
        """What was deleted there comes from where it still is."""
        declare(volume=root["name"], name="s", zones=["plovdiv"])
        declare(volume=root["name"], name="s", state="absent", zones=["sofia"])
        assert places() == [("plovdiv", "Image")]
        made = declare(volume=root["name"], name="s", zones=["sofia"])
        assert entry(made)["actions"] == ["copy to sofia"] and ("sofia", "Image") in places()

    def test_by_storpool(self, declare, run_module, root, places, mark, simulator, configure, calls):
        """Without a copy on secondary storage it is the only way."""
        old = simulator.release < (4, 21)
        configure("sp.bypass.secondary.storage" if old else "snapshot.backup.to.secondary", "true" if old else "false")
        calls()
        refused = run_module(MODULE, volume=root["name"], name="s", zones=["plovdiv"])
        why = "StorPool's own copies need CloudStack 4.21" if old else "no StorPool pool of zone plovdiv has use.storage.replication"
        assert "cannot be copied to plovdiv" in refused["msg"] and why in refused["msg"] and calls().writes == []
        if old:
            return
        mark()
        assert entry(declare(volume=root["name"], name="s"))["actions"] == ["create"]
        made = declare(volume=root["name"], name="s", zones=["plovdiv"])
        assert entry(made)["actions"] == ["copy to plovdiv by StorPool"]
        assert places() == [("plovdiv", "Primary"), ("sofia", "Primary")]
        # It stays exported until CloudStack has seen that the copy is complete; a deletion waits for that.
        impatient = run_module(MODULE, volume=root["name"], name="s", state="absent", wait_timeout="1")
        assert "is exported to" in impatient["msg"] and impatient["error"]["type"] == "deadline"
        later = threading.Timer(0.5, lambda: (simulator.settle(), simulator.advance(301)))
        later.start()
        gone = run_module(MODULE, volume=root["name"], name="s", state="absent", wait_timeout="60")
        later.join()
        assert entry(gone)["actions"] == ["delete"] and places() == []
