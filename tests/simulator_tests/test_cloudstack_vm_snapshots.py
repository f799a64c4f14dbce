# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""VM snapshots: one consistent group on StorPool (plugin sheet 5.6)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from storpool_simulator.testing import Simulator

from .cloudstack_support import VERSIONS, failed_job, job, named, ok, one, refused
from .plugin_support import address, configure, data_disk, deploy, listed, on_storpool, root, row_of, stop, tagged, volume, volumes
from .support import wait_until

every_version = pytest.mark.parametrize("version", VERSIONS)
Clouds = Callable[[str], Simulator]


def take(sim: Simulator, vm: dict, name: str = "g1", **more: object) -> dict:
    return job(sim, "createVMSnapshot", virtualmachineid=vm["id"], name=name, **more)["vmsnapshot"]


def groups(sim: Simulator, vm: dict) -> list[dict]:
    return ok(sim, "listVMSnapshot", virtualmachineid=vm["id"]).get("vmSnapshot", [])


@every_version
def test_a_group_of_all_disks(clouds: Clouds, version: str) -> None:
    sim = clouds(version)
    vm = deploy(sim)
    data_disk(sim, vm, "one")
    data_disk(sim, vm, "two")
    disks = volumes(sim, vm)
    for number, disk in enumerate(disks):
        sim.write(address(disk), f"before {number}".encode())
    sim.reset_calls()
    made = take(sim, vm, description="all three")
    assert (made["displayname"], made["description"], made["state"], made["type"]) == ("g1", "all three", "Ready", "Disk")
    assert made["current"] is True and made["name"].startswith("i-2-")
    writes = [call["call"] for call in sim.calls()["calls"] if call["write"] and call["cluster"] == "sofia-a"]
    assert writes == ["VolumesGroupSnapshot"], "one call, so one moment"
    rows = tagged(sim, made["id"])
    assert len(rows) == 3 and all(row["tags"] == {"uuid": made["id"], "cs": "group", "cvm": vm["id"]} for row in rows)
    details = row_of(sim, "vm_snapshots", made["id"])["details"]
    assert {details[disk["id"]] for disk in disks} == {f"/dev/storpool-byid/{row['globalId']}" for row in rows}
    # The instance has to be stopped for the way back
    text = failed_job(sim, "revertToVMSnapshot", vmsnapshotid=made["id"])["errortext"]
    assert text.startswith("Reverting to the VM Snapshot is not allowed for running VMs")
    stop(sim, vm)
    for disk in disks:
        sim.write(address(disk), b"after...")
    answer = job(sim, "revertToVMSnapshot", vmsnapshotid=made["id"])["virtualmachine"]
    assert (answer["id"], answer["state"]) == (vm["id"], "Stopped")
    assert [sim.read(address(disk), 0, 8) for disk in disks] == [b"before 0", b"before 1", b"before 2"]
    assert [disk["path"] for disk in volumes(sim, vm)] == [disk["path"] for disk in disks]
    job(sim, "deleteVMSnapshot", vmsnapshotid=made["id"])
    assert not groups(sim, vm) and not tagged(sim, made["id"])
    job(sim, "startVirtualMachine", id=vm["id"])


@every_version
def test_a_snapshot_of_one_volume_out_of_it(clouds: Clouds, version: str) -> None:
    """It goes to secondary storage and is nowhere else; the VM snapshot stays whole."""
    sim = clouds(version)
    vm = deploy(sim)
    disk, other = data_disk(sim, vm, "one"), data_disk(sim, None, "other")
    sim.write(address(disk), b"then")
    group = take(sim, vm)
    sim.write(address(disk), b"now.")
    text = refused(sim, "createSnapshotFromVMSnapshot", vmsnapshotid=group["id"], volumeid=other["id"])["errortext"]
    assert "is not part of VM snapshot g1" in text
    params = {"vmsnapshotid": group["id"], "volumeid": disk["id"], "name": "part"}
    made = job(sim, "createSnapshotFromVMSnapshot", **params)["snapshot"]
    assert (made["name"], made["state"], made["volumeid"]) == ("part", "BackedUp", disk["id"])
    assert [row["datastoretype"] for row in listed(sim, made["id"], showunique=False)] == ["Image"] and not tagged(sim, made["id"])
    copy = job(sim, "createVolume", snapshotid=made["id"], name="copy")["volume"]
    assert sim.read(address(copy), 0, 4) == b"then"
    job(sim, "deleteSnapshot", id=made["id"])
    assert len(tagged(sim, group["id"])) == 2 and not listed(sim, made["id"])
    sim.fault("host_fails", "StorPoolBackupSnapshot", text="disk full")
    assert "disk full" in failed_job(sim, "createSnapshotFromVMSnapshot", **params)["errortext"]
    job(sim, "deleteVMSnapshot", vmsnapshotid=group["id"])


def test_the_tree_of_snapshots(cloud: Simulator) -> None:
    vm = deploy(cloud)
    stop(cloud, vm)
    disk = root(cloud, vm)
    made = []
    for name in ("a", "b", "c"):
        cloud.write(address(disk), name.encode())
        made.append(take(cloud, vm, name))

    def tree() -> list[tuple]:
        return [(row["displayname"], row["current"], row.get("parentName")) for row in groups(cloud, vm)]

    assert tree() == [("a", False, None), ("b", False, "a"), ("c", True, "b")]
    job(cloud, "revertToVMSnapshot", vmsnapshotid=made[0]["id"])
    assert cloud.read(address(disk), 0, 1) == b"a"
    job(cloud, "revertToVMSnapshot", vmsnapshotid=made[2]["id"])
    assert cloud.read(address(disk), 0, 1) == b"c", "to and fro"
    job(cloud, "deleteVMSnapshot", vmsnapshotid=made[1]["id"])
    assert tree() == [("a", False, None), ("c", True, "a")]
    job(cloud, "deleteVMSnapshot", vmsnapshotid=made[2]["id"])
    assert [row["current"] for row in groups(cloud, vm)] == [True]
    assert cloud.read(address(disk), 0, 1) == b"c"


def test_iops_are_set_again_after_a_revert(cloud: Simulator) -> None:
    offering = ok(cloud, "createDiskOffering", name="iops", displaytext="iops", customized=True, customizediops=True)["diskoffering"]["id"]
    vm = deploy(cloud)
    disk = data_disk(cloud, vm, diskofferingid=offering, miniops=1, maxiops=900)
    stop(cloud, vm)
    made = take(cloud, vm)
    job(cloud, "revertToVMSnapshot", vmsnapshotid=made["id"])
    row = on_storpool(cloud, disk)
    assert row is not None and row["iops"] == 900


@pytest.mark.parametrize("version", ["4.20.2", "4.22.0"])
def test_limits_and_names(clouds: Clouds, version: str) -> None:
    sim = clouds(version)
    configure(sim, "vmsnapshot.max", "2")
    vm = deploy(sim)
    first = take(sim, vm, "one")
    answer = refused(sim, "createVMSnapshot", virtualmachineid=vm["id"], name="one")
    assert answer["errorcode"] == 431 and "already exists" in answer["errortext"]
    take(sim, vm, "two")
    answer = refused(sim, "createVMSnapshot", virtualmachineid=vm["id"], name="three")
    assert answer["errortext"] == "Creating vm snapshot failed due to a VM can just have : 2 VM snapshots. Please delete old ones"
    job(sim, "deleteVMSnapshot", vmsnapshotid=first["id"])
    take(sim, vm, "three")


def test_refused(cloud: Simulator) -> None:
    vm = deploy(cloud)
    answer = refused(cloud, "createVMSnapshot", virtualmachineid=vm["id"], snapshotmemory=True)
    assert (answer["errorcode"], answer["errortext"]) == (530, "KVM does not support the type of snapshot requested")
    stop(cloud, vm)
    assert refused(cloud, "createVMSnapshot", virtualmachineid=vm["id"], snapshotmemory=True)["errortext"] == (
        "Can not snapshot memory when VM is not in Running state"
    )
    bare = cloud.vm("bare", "kvm12")
    assert "Unable to find root volume" in refused(cloud, "createVMSnapshot", virtualmachineid=bare)["errortext"]
    made = take(cloud, vm)
    job(cloud, "destroyVirtualMachine", id=vm["id"])
    answer = refused(cloud, "createVMSnapshot", virtualmachineid=vm["id"])
    assert "is not in the running or Stopped state" in answer["errortext"]
    assert "vm is not in the state of Running or Stopped" in failed_job(cloud, "revertToVMSnapshot", vmsnapshotid=made["id"])["errortext"]


@every_version
def test_what_they_keep_from_happening(clouds: Clouds, version: str) -> None:
    sim = clouds(version)
    vm = deploy(sim)
    disk = data_disk(sim, vm)
    loose = data_disk(sim, name="loose")
    stop(sim, vm)
    made = take(sim, vm)
    assert (
        "please specify a VM that does not have VM snapshots"
        in refused(sim, "attachVolume", id=loose["id"], virtualmachineid=vm["id"])["errortext"]
    )
    assert "does not have VM snapshots" in refused(sim, "detachVolume", id=disk["id"])["errortext"]
    if version < "4.22":
        assert "with any VM snapshots cannot be resized" in failed_job(sim, "resizeVolume", id=disk["id"], size=2)["errortext"]
    else:
        assert job(sim, "resizeVolume", id=disk["id"], size=2)["volume"]["size"] == 2 << 30
    job(sim, "deleteVMSnapshot", vmsnapshotid=made["id"])
    job(sim, "detachVolume", id=disk["id"])
    assert "virtualmachineid" not in volume(sim, disk["id"])


def test_storpool_says_no(cloud: Simulator) -> None:
    vm = deploy(cloud)
    stop(cloud, vm)
    cloud.fault("error", "VolumesGroupSnapshot", name="insufficientResources", descr="no room")
    text = failed_job(cloud, "createVMSnapshot", virtualmachineid=vm["id"], name="bad")["errortext"]
    assert "Could not create VM snapshot:" in text and "no room" in text
    assert [row["state"] for row in groups(cloud, vm)] == ["Error"]
    job(cloud, "deleteVMSnapshot", vmsnapshotid=groups(cloud, vm)[0]["id"])
    made = take(cloud, vm)
    cloud.fault("error", "VolumeRevert", name="busy", descr="not now")
    assert "Could not complete revert task" in failed_job(cloud, "revertToVMSnapshot", vmsnapshotid=made["id"])["errortext"]
    assert groups(cloud, vm)[0]["state"] == "Ready"


def test_a_deletion_that_fails_half_way_is_finished_by_the_next(cloud: Simulator) -> None:
    vm = deploy(cloud)
    data_disk(cloud, vm)
    made = take(cloud, vm)
    cloud.fault("error", "SnapshotDelete", name="busy", descr="not now", skip=1)
    assert failed_job(cloud, "deleteVMSnapshot", vmsnapshotid=made["id"])["errortext"] == "Failed to delete vm snapshot"
    assert groups(cloud, vm)[0]["state"] == "Expunging" and len(tagged(cloud, made["id"])) == 1
    assert "There is other active vm snapshot tasks" in refused(cloud, "createVMSnapshot", virtualmachineid=vm["id"])["errortext"]
    job(cloud, "deleteVMSnapshot", vmsnapshotid=made["id"])
    assert not groups(cloud, vm) and not tagged(cloud, made["id"])


def test_lists(cloud: Simulator) -> None:
    vm, other = deploy(cloud), deploy(cloud, "other")
    first, second = take(cloud, vm, "alpha"), take(cloud, other, "beta")

    def ids(**params: object) -> list[str]:
        return [row["id"] for row in ok(cloud, "listVMSnapshot", **params).get("vmSnapshot", ())]

    assert ids() == [first["id"], second["id"]] and ids(name="alpha") == [first["id"]] and ids(keyword="bet") == [second["id"]]
    assert ids(vmsnapshotids=second["id"]) == [second["id"]] and ids(state="Error") == [] and ids(state="Ready") == ids()
    assert one(cloud, "listVMSnapshot", "vmSnapshot", vmsnapshotid=first["id"])["virtualmachinename"] == "web"
    assert named(cloud, "listVMSnapshot", "vmSnapshot", "beta") == second["id"]


@pytest.mark.parametrize("call", ["createVMSnapshot", "revertToVMSnapshot", "deleteVMSnapshot"])
def test_a_killed_server_goes_on(start: Callable[..., Simulator], call: str) -> None:
    sim = start(cloudstack="4.21.0")
    vm = deploy(sim)
    stop(sim, vm)
    params = {"virtualmachineid": vm["id"], "name": "g"} if call == "createVMSnapshot" else {"vmsnapshotid": take(sim, vm)["id"]}
    started = ok(sim, call, **params)
    sim.kill()
    sim.start()
    wait_until(lambda: ok(sim, "queryAsyncJobResult", jobid=started["jobid"])["jobstatus"] == 1)
    assert len(groups(sim, vm)) == (0 if call == "deleteVMSnapshot" else 1)
