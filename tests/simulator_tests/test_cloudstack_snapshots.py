# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots of volumes through CloudStack, looked at on StorPool and on secondary storage too (plugin sheet 0.3, 5.1, 5.2, 5.5)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import pytest
from storpool_simulator.cloudstack import schedules
from storpool_simulator.testing import Simulator

from .cloudstack_support import VERSIONS, failed_job, job, named, ok, one, refused
from .plugin_support import (
    GIB,
    address,
    configure,
    data_disk,
    deploy,
    digest,
    idle,
    listed,
    of_running_vms,
    on_storpool,
    pool_id,
    primary_only,
    raw_digest,
    root,
    row_of,
    snapshot,
    stop,
    stored,
    storpool_path,
    tagged,
    volume,
    zone_id,
)
from .support import wait_until

every_version = pytest.mark.parametrize("version", VERSIONS)
Clouds = Callable[[str], Simulator]


@pytest.fixture
def stopped(cloud: Simulator) -> tuple[Simulator, dict, dict]:
    """A cloud with a stopped instance, and its ROOT volume."""
    vm = deploy(cloud)
    stop(cloud, vm)
    return cloud, vm, root(cloud, vm)


# Taking, and where it is


@every_version
def test_backed_up_by_default(clouds: Clouds, version: str) -> None:
    sim = clouds(version)
    vm = deploy(sim)
    stop(sim, vm)
    disk = root(sim, vm)
    before = digest(sim, disk)
    sim.reset_calls()
    made = snapshot(sim, disk["id"], "first")
    assert (made["name"], made["state"], made["volumeid"], made["virtualsize"]) == ("first", "BackedUp", disk["id"], disk["size"])
    assert (made["snapshottype"], made["intervaltype"], made["revertable"]) == ("MANUAL", "MANUAL", True)
    # On StorPool it stays, raw, with its tags
    path = storpool_path(sim, made["id"])
    assert path is not None and path.startswith("/dev/storpool-byid/")
    row = on_storpool(sim, path, "Snapshot")
    assert row is not None and row["tags"] == {"uuid": made["id"], "cs": "snapshot", "cvm": vm["id"]}
    assert digest(sim, path) == before
    # On secondary storage it is a qcow2 file with the same content
    (file,) = [place for name, place in stored(sim).items() if name.startswith("snapshots/")]
    assert file.name == made["id"] and file.read_bytes()[:4] == b"QFI\xfb" and raw_digest(file) == before
    calls = [call["call"] for call in sim.calls()["calls"] if call["write"] and call["cluster"] == "sofia-a"]
    assert calls.count("VolumeSnapshot") == 1 and calls.count("VolumesReassignWait") == 2, "a host attaches and detaches it"
    rows = listed(sim, made["id"], showunique=False)
    assert [(row["datastoretype"], row["datastorestate"]) for row in rows] == [("Primary", "Ready"), ("Image", "Ready")]
    assert rows[0]["datastoreid"] == pool_id(sim) and rows[1]["datastorename"] == "nfs-secondary"
    assert "datastoreid" not in listed(sim, made["id"])[0]


@every_version
def test_kept_on_storpool_alone(clouds: Clouds, version: str) -> None:
    """With bypass the record on the image store points at StorPool; with snapshot.backup.to.secondary=false there is none."""
    sim = clouds(version)
    primary_only(sim)
    vm = deploy(sim)
    stop(sim, vm)
    made = snapshot(sim, root(sim, vm)["id"])
    assert made["state"] == "BackedUp" and on_storpool(sim, storpool_path(sim, made["id"]), "Snapshot")
    assert not [name for name in stored(sim) if name.startswith("snapshots/")]
    roles = [row["datastoretype"] for row in listed(sim, made["id"], showunique=False)]
    assert roles == (["Primary", "Image"] if version < "4.21" else ["Primary"])


@pytest.mark.parametrize("version", ["4.21.0", "4.22.0"])
def test_bypass_has_no_effect_any_more(clouds: Clouds, version: str) -> None:
    sim = clouds(version)
    configure(sim, "sp.bypass.secondary.storage", "true")
    vm = deploy(sim)
    stop(sim, vm)
    snapshot(sim, root(sim, vm)["id"])
    assert [name for name in stored(sim) if name.startswith("snapshots/")]


def test_the_older_releases_know_the_other_switch_too(stopped: tuple) -> None:
    sim, _unused, disk = stopped
    ok(sim, "updateConfiguration", name="snapshot.backup.to.secondary", value="false")
    snapshot(sim, disk["id"], "before the restart")
    assert len([name for name in stored(sim) if name.startswith("snapshots/")]) == 1, "it is in force after a restart"
    sim.restart_server()
    made = snapshot(sim, disk["id"], "after it")
    assert [row["datastoretype"] for row in listed(sim, made["id"], showunique=False)] == ["Primary"]


@every_version
def test_of_a_running_vm(clouds: Clouds, version: str) -> None:
    sim = clouds(version)
    disk = root(sim, deploy(sim))
    if version < "4.22":
        answer = refused(sim, "createSnapshot", volumeid=disk["id"])
        assert answer["errorcode"] == 530 and answer["errortext"].startswith("KVM Snapshot is not supported for Running VMs")
        assert "snapshot" not in ok(sim, "listSnapshots"), "refused before there is a record"
        of_running_vms(sim)
    else:
        assert sim.in_force()["kvm.snapshot.enabled"] == "true"
    assert snapshot(sim, disk["id"])["state"] == "BackedUp"


def test_refusals(cloud: Simulator) -> None:
    unborn = data_disk(cloud)
    assert unborn["state"] == "Allocated"
    answer = refused(cloud, "createSnapshot", volumeid=unborn["id"])
    assert answer["errorcode"] == 431 and "is not in Ready state but Allocated. Cannot take snapshot." in answer["errortext"]
    vm = deploy(cloud)
    stop(cloud, vm)
    disk = root(cloud, vm)
    assert (
        "LocationType is supported only for managed storage"
        in refused(cloud, "createSnapshot", volumeid=disk["id"], locationtype="PRIMARY")["errortext"]
    )
    started = ok(cloud, "createSnapshot", volumeid=disk["id"])
    assert set(started) == {"jobid", "id"} and listed(cloud, started["id"])[0]["state"] == "Allocated"
    configure(cloud, "snapshot.backup.to.secondary", "false")
    answer = refused(cloud, "createSnapshot", volumeid=disk["id"], zoneids=zone_id(cloud))
    assert answer["errortext"].startswith("Backing up of snapshot has been disabled")


def test_without_a_name_it_is_made_of_vm_volume_and_time(stopped: tuple) -> None:
    sim, _unused, disk = stopped
    made = snapshot(sim, disk["id"], None)
    stamp = made["name"].removeprefix(f"web_{disk['name']}_")
    assert datetime.strptime(stamp, "%Y%m%d%H%M%S")
    loose = data_disk(sim, deploy(sim, "other"))
    job(sim, "detachVolume", id=loose["id"])
    assert snapshot(sim, loose["id"], None)["name"].startswith("detached_data_")


def test_a_detached_volume_has_no_cvm(cloud: Simulator) -> None:
    disk = data_disk(cloud, deploy(cloud))
    job(cloud, "detachVolume", id=disk["id"])
    made = snapshot(cloud, disk["id"])
    assert tagged(cloud, made["id"])[0]["tags"] == {"uuid": made["id"], "cs": "snapshot"}


def test_storpool_says_no(stopped: tuple) -> None:
    sim, _unused, disk = stopped
    sim.fault("error", "VolumeSnapshot", name="insufficientResources", descr="no room")
    text = failed_job(sim, "createSnapshot", volumeid=disk["id"])["errortext"]
    assert text.startswith(f"Could not snapshot StorPool volume {address(disk)}. Error ") and "no room" in text
    (row,) = ok(sim, "listSnapshots")["snapshot"]
    assert row["state"] == "Error"
    job(sim, "deleteSnapshot", id=row["id"])
    assert ok(sim, "listSnapshots") == {}


def test_a_failed_backup_takes_storpools_snapshot_with_it(stopped: tuple) -> None:
    sim, _unused, disk = stopped
    sim.fault("host_fails", "StorPoolBackupSnapshot", text="no space left on device")
    assert "no space left on device" in failed_job(sim, "createSnapshot", volumeid=disk["id"])["errortext"]
    (row,) = ok(sim, "listSnapshots")["snapshot"]
    assert row["state"] == "Error" and not tagged(sim, row["id"])
    assert not [name for name in stored(sim) if name.startswith("snapshots/")]


@pytest.mark.parametrize("version", ["4.20.2", "4.21.0"])
def test_a_backup_needs_a_cluster_that_is_near(clouds: Clouds, version: str) -> None:
    """sp.cluster.id of the KVM clusters says which one is (plugin sheet 5.12); without one nothing stays of the snapshot."""
    sim = clouds(version)
    vm = deploy(sim)
    stop(sim, vm)
    disk, clusters = root(sim, vm), [row["id"] for row in ok(sim, "listClusters")["cluster"]]
    for id in clusters:
        ok(sim, "updateConfiguration", name="sp.cluster.id", value="n/a", clusterid=id)
    _fails_without_a_trace(sim, disk, "Could not find the right clusterId")
    ok(sim, "updateConfiguration", name="sp.cluster.id", value="sf.a", clusterid=clusters[-1])
    assert snapshot(sim, disk["id"])["state"] == "BackedUp"


def test_a_backup_needs_a_host(stopped: tuple) -> None:
    sim, _unused, disk = stopped
    for host in sim.hosts():
        sim.agent(host, "down")
    _fails_without_a_trace(sim, disk, "No remote endpoint to send command")


def test_a_backup_that_takes_too_long_fails(stopped: tuple) -> None:
    sim, _unused, disk = stopped
    configure(sim, "backup.snapshot.wait", "1")
    sim.fault("host_slow", "StorPoolBackupSnapshot", seconds=600)
    _fails_without_a_trace(sim, disk, "no answer within 1 s")


def _fails_without_a_trace(sim: Simulator, disk: dict, words: str) -> None:
    assert words in failed_job(sim, "createSnapshot", volumeid=disk["id"])["errortext"]
    (row,) = ok(sim, "listSnapshots")["snapshot"]
    assert row["state"] == "Error" and not tagged(sim, row["id"]) and not listed(sim, row["id"], showunique=False)


# In the background


def test_an_asynchronous_backup_goes_on_after_the_job(stopped: tuple) -> None:
    sim, _unused, disk = stopped
    sim.background(False)
    made = snapshot(sim, disk["id"], asyncbackup=True)
    assert made["state"] == "CreatedOnPrimary"
    assert [row["datastoretype"] for row in listed(sim, made["id"], showunique=False)] == ["Primary"]
    answer = refused(sim, "createVolume", snapshotid=made["id"], name="early")
    assert "is not in BackedUp state yet" in answer["errortext"]
    sim.background(True)
    wait_until(lambda: listed(sim, made["id"])[0]["state"] == "BackedUp")
    assert [row["datastoretype"] for row in listed(sim, made["id"], showunique=False)] == ["Primary", "Image"]


def test_a_slow_backup_shows_its_state(stopped: tuple) -> None:
    """In the background: a deletion would wait for the end of a job on the snapshot."""
    sim, vm, disk = stopped
    held = sim.fault("host_held", "StorPoolBackupSnapshot")
    made = snapshot(sim, disk["id"], asyncbackup=True)
    wait_until(lambda: listed(sim, made["id"])[0]["state"] == "BackingUp")
    assert "There is other active snapshot tasks" in refused(sim, "createSnapshot", volumeid=disk["id"])["errortext"]
    assert "There is other active volume snapshot tasks" in refused(sim, "createVMSnapshot", virtualmachineid=vm["id"])["errortext"]
    assert "due to it is in BackingUp Status" in failed_job(sim, "deleteSnapshot", id=made["id"])["errortext"]
    sim.lift(held)
    wait_until(lambda: listed(sim, made["id"])[0]["state"] == "BackedUp")


@pytest.mark.parametrize("version", ["4.20.2", "4.21.0"])
def test_a_host_near_the_snapshot_is_asked(clouds: Clouds, version: str) -> None:
    """From 4.21 on StorPool tells the cluster, by an update of nothing; earlier it was read off the globalId."""
    sim = clouds(version)
    vm = deploy(sim)
    stop(sim, vm)
    sim.reset_calls()
    snapshot(sim, root(sim, vm)["id"])
    asked = [call["body"] for call in sim.calls()["calls"] if call["call"] == "SnapshotUpdate"]
    assert asked == ([{}] if version >= "4.21" else [])


def test_an_asynchronous_backup_is_tried_again_in_vain(stopped: tuple) -> None:
    """The first failure takes StorPool's snapshot with it, so the tries that follow fail too; backup.retry + 1 in all."""
    sim, _unused, disk = stopped
    sim.fault("host_fails", "StorPoolBackupSnapshot", text="the store is full")
    made = snapshot(sim, disk["id"], asyncbackup=True)
    wait_until(lambda: not tagged(sim, made["id"]))
    idle(sim)

    def state() -> str:
        return listed(sim, made["id"])[0]["state"]

    for _unused in range(3):
        assert state() == "CreatedOnPrimary"
        tries = row_of(sim, "snapshots", made["id"])["backup_tries"]
        sim.advance(301)
        wait_until(lambda tries=tries: row_of(sim, "snapshots", made["id"])["backup_tries"] < tries or state() == "Error")
        idle(sim)
    wait_until(lambda: state() == "Error")


@pytest.mark.parametrize("call", ["createSnapshot", "revertSnapshot", "deleteSnapshot", "createVolume"])
def test_a_killed_server_goes_on_with_its_jobs(start: Callable[..., Simulator], call: str) -> None:
    sim = start(cloudstack="4.20.2")
    vm = deploy(sim)
    stop(sim, vm)
    disk = root(sim, vm)
    if call == "createSnapshot":
        sim.fault("host_held", "StorPoolBackupSnapshot")
        started = ok(sim, "createSnapshot", volumeid=disk["id"])
        wait_until(lambda: ok(sim, "queryAsyncJobResult", jobid=started["jobid"]) and listed(sim, started["id"])[0]["state"] == "BackingUp")
    else:
        made = snapshot(sim, disk["id"])
        params = {"snapshotid": made["id"], "name": "copy"} if call == "createVolume" else {"id": made["id"]}
        started = ok(sim, call, **params)
    sim.kill()
    sim.start()

    def finished() -> dict | None:
        known = ok(sim, "queryAsyncJobResult", jobid=started["jobid"])
        return known if known["jobstatus"] else None

    assert wait_until(finished)["jobstatus"] == 1
    if call == "createSnapshot":
        assert listed(sim, started["id"])[0]["state"] == "BackedUp" and len(tagged(sim, started["id"])) == 1, "it was taken once"


# Lists


def test_what_listings_find(stopped: tuple) -> None:
    sim, _unused, disk = stopped
    first = snapshot(sim, disk["id"], "alpha", **{"tags[0].key": "use", "tags[0].value": "test"})
    second = snapshot(sim, disk["id"], "beta")

    def ids(**params: object) -> list[str]:
        return [row["id"] for row in ok(sim, "listSnapshots", **params).get("snapshot", ())]

    both = [first["id"], second["id"]]
    assert ids() == both and ids(volumeid=disk["id"]) == both and ids(name="alpha") == [first["id"]] and ids(keyword="et") == [second["id"]]
    assert ids(ids=",".join(both)) == both and ids(zoneid=zone_id(sim)) == both
    assert ids(**{"tags[0].key": "use", "tags[0].value": "test"}) == both[:1]
    assert ids(snapshottype="MANUAL") == both and ids(snapshottype="RECURRING") == [] and ids(snapshottype="daily") == []
    assert refused(sim, "listSnapshots", snapshottype="NONE")["errorcode"] == 431
    assert ids(showunique=False, locationtype="primary") == both and ids(showunique=False, storageid=pool_id(sim)) == both
    store = named(sim, "listImageStores", "imagestore", "nfs-secondary")
    assert ids(showunique=False, imagestoreid=store) == both
    assert len(ids(showunique=False)) == 4 and ok(sim, "listSnapshots", showunique=False, page=1, pagesize=3)["count"] == 4
    assert listed(sim, first["id"])[0]["tags"][0]["value"] == "test"
    assert refused(sim, "getVolumeSnapshotDetails", snapshotid="none")["errorcode"] == 530


# Deleting


@every_version
def test_deleting_cascades(clouds: Clouds, version: str) -> None:
    sim = clouds(version)
    vm = deploy(sim)
    stop(sim, vm)
    made = snapshot(sim, root(sim, vm)["id"])
    path = storpool_path(sim, made["id"])
    sim.reset_calls()
    job(sim, "deleteSnapshot", id=made["id"])
    assert on_storpool(sim, path, "Snapshot") is None and ok(sim, "listSnapshots") == {}
    assert not [name for name in stored(sim) if name.startswith("snapshots/")]
    writes = [call["call"] for call in sim.calls()["calls"] if call["write"] and call["cluster"] == "sofia-a"]
    assert writes == ["VolumesReassign", "SnapshotDelete"]
    assert "already destroyed" in failed_job(sim, "deleteSnapshot", id=made["id"])["errortext"]


@every_version
def test_deleting_what_storpool_has_lost(clouds: Clouds, version: str) -> None:
    """Up to 4.20 the call fails and marks the record, so the next one works; later it counts as deleted."""
    sim = clouds(version)
    vm = deploy(sim)
    stop(sim, vm)
    made = snapshot(sim, root(sim, vm)["id"])
    path = storpool_path(sim, made["id"])
    assert sim.post(f"SnapshotDelete/{address(path)}")[0] == 200
    if version < "4.21":
        assert failed_job(sim, "deleteSnapshot", id=made["id"])["errortext"].startswith("Failed to clean-up Storpool snapshot ")
        assert [row["datastoretype"] for row in listed(sim, made["id"], showunique=False)] == ["Image"]
    job(sim, "deleteSnapshot", id=made["id"])
    assert ok(sim, "listSnapshots") == {}


def test_snapshots_outlive_their_volume(cloud: Simulator) -> None:
    vm = deploy(cloud)
    disk = data_disk(cloud, vm)
    job(cloud, "detachVolume", id=disk["id"])
    content = b"kept" * 1024
    cloud.write(address(disk), content)
    made = snapshot(cloud, disk["id"])
    path = storpool_path(cloud, made["id"])
    ok(cloud, "deleteVolume", id=disk["id"])
    assert on_storpool(cloud, disk) is None and on_storpool(cloud, path, "Snapshot")
    copy = job(cloud, "createVolume", snapshotid=made["id"], name="copy")["volume"]
    assert cloud.read(address(copy), 0, len(content)) == content
    job(cloud, "deleteSnapshot", id=made["id"])
    assert ok(cloud, "listSnapshots") == {}


def test_a_fault_of_storpool_leaves_the_record(stopped: tuple) -> None:
    sim, _unused, disk = stopped
    made = snapshot(sim, disk["id"])
    sim.fault("transient", "SnapshotDelete")
    assert "Failed to clean-up Storpool snapshot" in failed_job(sim, "deleteSnapshot", id=made["id"])["errortext"]
    assert listed(sim, made["id"])[0]["state"] == "BackedUp"
    job(sim, "deleteSnapshot", id=made["id"])


# Reverting


@every_version
def test_revert(clouds: Clouds, version: str) -> None:
    sim = clouds(version)
    vm = deploy(sim)
    disk = data_disk(sim, vm, miniops=100, maxiops=2000, diskofferingid=_custom_iops(sim))
    stop(sim, vm)
    sim.write(address(disk), b"before")
    made = snapshot(sim, disk["id"])
    sim.write(address(disk), b"after!")
    job(sim, "resizeVolume", id=disk["id"], size=2, miniops=100, maxiops=2000)
    sim.reset_calls()
    answer = job(sim, "revertSnapshot", id=made["id"])["snapshot"]
    assert answer["id"] == made["id"] and sim.read(address(disk), 0, 6) == b"before"
    now = volume(sim, disk["id"])
    row = on_storpool(sim, disk)
    assert now["path"] == disk["path"] and now["size"] == GIB, "CloudStack takes the snapshot's size"
    # StorPool keeps the volume's: the plugin does not ask for more
    assert row is not None and (row["size"], row["iops"]) == (2 * GIB, 2000)
    writes = [call["call"] for call in sim.calls()["calls"] if call["write"] and call["cluster"] == "sofia-a"]
    assert writes == ["VolumesReassign", "VolumeRevert", "VolumeUpdate"]


def _custom_iops(sim: Simulator) -> str:
    return ok(sim, "createDiskOffering", name="iops", displaytext="iops", customized=True, customizediops=True)["diskoffering"]["id"]


@every_version
def test_revert_refused(clouds: Clouds, version: str) -> None:
    cloud = clouds(version)
    of_running_vms(cloud)
    vm = deploy(cloud)
    disk = root(cloud, vm)
    made = snapshot(cloud, disk["id"])
    text = failed_job(cloud, "revertSnapshot", id=made["id"])["errortext"]
    assert text == "The VM the specified disk is attached to is not in the shutdown state."
    stop(cloud, vm)
    group = job(cloud, "createVMSnapshot", virtualmachineid=vm["id"])["vmsnapshot"]
    text = failed_job(cloud, "revertSnapshot", id=made["id"])["errortext"]
    assert text == "Unable to revert snapshot for VM, please remove VM snapshots before reverting VM from snapshot"
    job(cloud, "deleteVMSnapshot", vmsnapshotid=group["id"])
    cloud.fault("error", "VolumeRevert", name="busy", descr="not now")
    text = failed_job(cloud, "revertSnapshot", id=made["id"])["errortext"]
    assert text.startswith(f"Could not revert StorPool volume {address(disk)} to the ")
    job(cloud, "revertSnapshot", id=made["id"])


def test_revert_of_a_detached_volume_and_of_a_deleted_one(cloud: Simulator) -> None:
    vm = deploy(cloud)
    disk = data_disk(cloud, vm)
    cloud.write(address(disk), b"one")
    job(cloud, "detachVolume", id=disk["id"])
    made = snapshot(cloud, disk["id"])
    cloud.write(address(disk), b"two")
    job(cloud, "revertSnapshot", id=made["id"])
    assert cloud.read(address(disk), 0, 3) == b"one"
    ok(cloud, "deleteVolume", id=disk["id"])
    assert failed_job(cloud, "revertSnapshot", id=made["id"])["errortext"] == "No such volume exist"


# Volumes from snapshots


@every_version
def test_volume_from_primary_copies_nothing(clouds: Clouds, version: str) -> None:
    sim = clouds(version)
    vm = deploy(sim)
    stop(sim, vm)
    disk = root(sim, vm)
    made = snapshot(sim, disk["id"])
    copied = sim.counters()
    sim.reset_calls()
    fresh = job(sim, "createVolume", snapshotid=made["id"], name="fresh")["volume"]
    assert (fresh["state"], fresh["snapshotid"], fresh["size"]) == ("Ready", made["id"], disk["size"])
    row = on_storpool(sim, fresh)
    assert row is not None and address(storpool_path(sim, made["id"])) == "~" + row["parentName"].lstrip("~")
    assert (row["tags"]["cs"], row["tags"]["uuid"], row["templateName"]) == ("volume", fresh["id"], "nvme")
    assert digest(sim, fresh) == digest(sim, disk)
    after = sim.counters()
    assert (after["bytes_copied"], after["bytes_converted"]) == (copied["bytes_copied"], copied["bytes_converted"])
    assert [call["call"] for call in sim.calls()["calls"] if call["write"] and call["cluster"] == "sofia-a"] == ["VolumeCreate"]


@every_version
def test_volume_from_secondary_is_brought_back_once(clouds: Clouds, version: str) -> None:
    sim = clouds(version)
    vm = deploy(sim)
    stop(sim, vm)
    disk = root(sim, vm)
    wanted = digest(sim, disk)
    made = snapshot(sim, disk["id"])
    lost = storpool_path(sim, made["id"])
    assert sim.post(f"SnapshotDelete/{address(lost)}")[0] == 200
    sim.write(address(disk), b"something else")
    fresh = job(sim, "createVolume", snapshotid=made["id"], name="fresh")["volume"]
    assert digest(sim, fresh) == wanted
    back = storpool_path(sim, made["id"])
    assert back is not None and back != lost and digest(sim, back) == wanted
    (row,) = tagged(sim, made["id"])
    assert row["tags"]["cs"] == "snapshot"
    converted = sim.counters()["bytes_converted"]
    second = job(sim, "createVolume", snapshotid=made["id"], name="second")["volume"]
    assert digest(sim, second) == wanted and sim.counters()["bytes_converted"] == converted, "the next one finds it on StorPool"


@every_version
def test_volume_from_a_snapshot_that_is_nowhere(clouds: Clouds, version: str) -> None:
    sim = clouds(version)
    primary_only(sim)
    vm = deploy(sim)
    stop(sim, vm)
    made = snapshot(sim, root(sim, vm)["id"])
    path = storpool_path(sim, made["id"])
    assert sim.post(f"SnapshotDelete/{address(path)}")[0] == 200
    text = failed_job(sim, "createVolume", snapshotid=made["id"], name="none")["errortext"]
    assert text.startswith(f"The snapshot {address(path)} does not exists neither on primary, neither on secondary storage")


def test_a_failed_way_back_leaves_nothing_on_storpool(stopped: tuple) -> None:
    sim, _unused, disk = stopped
    made = snapshot(sim, disk["id"])
    assert sim.post(f"SnapshotDelete/{address(storpool_path(sim, made['id']))}")[0] == 200
    sim.settle()
    volumes = len(sim.get("VolumesList")[1]["data"])
    sim.fault("host_fails", "StorPoolDownloadTemplate", text="the host said no")
    assert "the host said no" in failed_job(sim, "createVolume", snapshotid=made["id"], name="none")["errortext"]
    assert len(sim.get("VolumesList")[1]["data"]) == volumes and not tagged(sim, made["id"])


def test_size_and_iops_of_a_volume_from_a_snapshot(cloud: Simulator) -> None:
    vm = deploy(cloud)
    disk = data_disk(cloud, vm, miniops=100, maxiops=700, diskofferingid=_custom_iops(cloud), gib=2)
    job(cloud, "detachVolume", id=disk["id"])
    made = snapshot(cloud, disk["id"])
    small = named(cloud, "listDiskOfferings", "diskoffering", "Custom")
    assert (
        "Invalid size for volume creation: 1GB, snapshot size is: 2GB"
        in refused(cloud, "createVolume", snapshotid=made["id"], name="x", diskofferingid=small, size=1)["errortext"]
    )
    grown = job(cloud, "createVolume", snapshotid=made["id"], name="x", diskofferingid=small, size=3)["volume"]
    row = on_storpool(cloud, grown)
    assert row is not None and (row["size"], row["iops"]) == (3 * GIB, 700), "the IOPS are those of the source volume"


# Templates from snapshots


@every_version
def test_template_by_file(clouds: Clouds, version: str) -> None:
    """With backup, StorPool is not asked: the copy on secondary storage is enough."""
    sim = clouds(version)
    vm = deploy(sim)
    stop(sim, vm)
    disk = root(sim, vm)
    made = snapshot(sim, disk["id"])
    template = _template(sim, made)
    assert not tagged(sim, template["id"])
    assert raw_digest(_template_file(sim, template)) == digest(sim, disk)


@every_version
def test_template_by_storpool(clouds: Clouds, version: str) -> None:
    sim = clouds(version)
    vm = deploy(sim)
    stop(sim, vm)
    disk = root(sim, vm)
    made = snapshot(sim, disk["id"], "backed up")
    primary_only(sim)
    template = _template(sim, made)
    (base,) = tagged(sim, template["id"])
    assert base["tags"] == {"uuid": template["id"], "cs": "template"} and digest(sim, base["globalId"]) == digest(sim, disk)
    assert raw_digest(_template_file(sim, template)) == digest(sim, disk)
    assert not tagged(sim, template["id"], "VolumesList"), "the clone is gone"
    # The cache of such a template is a child of its base, without a copy
    converted = sim.counters()["bytes_converted"]
    other = deploy(sim, "other", templateid=template["id"])
    assert digest(sim, root(sim, other)) == digest(sim, disk) and sim.counters()["bytes_converted"] == converted


def test_template_refused(stopped: tuple) -> None:
    sim, _unused, disk = stopped
    sim.background(False)
    made = snapshot(sim, disk["id"], asyncbackup=True)
    system = ok(sim, "listOsTypes")["ostype"][0]["id"]
    assert "is not in BackedUp state yet" in refused(sim, "createTemplate", name="t", snapshotid=made["id"], ostypeid=system)["errortext"]


def _template(sim: Simulator, made: dict) -> dict:
    system = ok(sim, "listOsTypes")["ostype"][0]["id"]
    template = job(sim, "createTemplate", name="made", displaytext="made", snapshotid=made["id"], ostypeid=system)["template"]
    assert template["isready"] and template["size"] == made["virtualsize"]
    return template


def _template_file(sim: Simulator, template: dict) -> Path:
    (file,) = [place for name, place in stored(sim).items() if template["id"] in name]
    return file


# Archive


def test_archive(stopped: tuple) -> None:
    sim, _unused, disk = stopped
    made = snapshot(sim, disk["id"])
    path = storpool_path(sim, made["id"])
    answer = job(sim, "archiveSnapshot", id=made["id"])["snapshot"]
    assert answer["locationtype"] == "SECONDARY" and on_storpool(sim, path, "Snapshot") is None
    assert [row["datastoretype"] for row in listed(sim, made["id"], showunique=False)] == ["Image"]
    assert "Can only archive snapshots present on primary storage" in failed_job(sim, "archiveSnapshot", id=made["id"])["errortext"]
    fresh = job(sim, "createVolume", snapshotid=made["id"], name="fresh")["volume"]
    assert digest(sim, fresh) == digest(sim, disk)


def test_archive_with_bypass_loses_it(stopped: tuple) -> None:
    """No source says so, but the record on the image store only points at what archiving deletes (plugin sheet 1.1)."""
    sim, _unused, disk = stopped
    primary_only(sim)
    made = snapshot(sim, disk["id"])
    path = storpool_path(sim, made["id"])
    job(sim, "archiveSnapshot", id=made["id"])
    assert on_storpool(sim, path, "Snapshot") is None
    text = failed_job(sim, "createVolume", snapshotid=made["id"], name="lost")["errortext"]
    assert "does not exists neither on primary, neither on secondary storage" in text


@every_version
def test_extract(clouds: Clouds, version: str) -> None:
    sim = clouds(version)
    vm = deploy(sim)
    stop(sim, vm)
    disk, zone = root(sim, vm), zone_id(sim)
    made = snapshot(sim, disk["id"])
    if version < "4.20":
        assert refused(sim, "extractSnapshot", id=made["id"], zoneid=zone)["errorcode"] == 401, "as any command that is not known"
        return
    found = job(sim, "extractSnapshot", id=made["id"], zoneid=zone)["snapshot"]
    assert found["name"] == made["name"] and raw_digest(Path(found["url"].removeprefix("file://"))) == digest(sim, disk)
    primary_only(sim)
    made = snapshot(sim, disk["id"], "not copied")
    assert "is not on secondary storage" in failed_job(sim, "extractSnapshot", id=made["id"], zoneid=zone)["errortext"]


# Policies


def moment(*parts: int) -> float:
    return datetime(*parts, tzinfo=timezone.utc).timestamp()


@pytest.mark.parametrize(
    ("interval", "schedule", "zone", "after", "wanted"),
    [
        ("HOURLY", "10", "UTC", (2026, 5, 1, 8, 9, 59), (2026, 5, 1, 8, 10)),
        ("HOURLY", "10", "UTC", (2026, 5, 1, 8, 10), (2026, 5, 1, 9, 10)),
        ("DAILY", "30:01", "Europe/Sofia", (2026, 5, 1, 8, 0), (2026, 5, 1, 22, 30)),
        ("DAILY", "30:01", "nowhere", (2026, 5, 1, 8, 0), (2026, 5, 2, 1, 30)),
        ("WEEKLY", "00:12:1", "UTC", (2026, 5, 1, 8, 0), (2026, 5, 3, 12, 0)),
        ("WEEKLY", "00:12:7", "UTC", (2026, 5, 2, 13, 0), (2026, 5, 9, 12, 0)),
        ("MONTHLY", "00:12:28", "UTC", (2026, 12, 28, 12, 0), (2027, 1, 28, 12, 0)),
    ],
)
def test_when_a_policy_runs(interval: str, schedule: str, zone: str, after: tuple, wanted: tuple) -> None:
    assert schedules.next_run(interval, schedule, zone, moment(*after)) == moment(*wanted)


POLICY = {"intervaltype": "hourly", "schedule": "10", "timezone": "UTC", "maxsnaps": 2}


@every_version
def test_policies_as_records(clouds: Clouds, version: str) -> None:
    sim = clouds(version)
    disk = root(sim, deploy(sim))
    first = ok(sim, "createSnapshotPolicy", volumeid=disk["id"], **POLICY)["snapshotpolicy"]
    assert (first["intervaltype"], first["schedule"], first["timezone"], first["maxsnaps"]) == (0, "10", "UTC", 2)
    again = ok(sim, "createSnapshotPolicy", volumeid=disk["id"], **{**POLICY, "schedule": "20", "maxsnaps": 8})["snapshotpolicy"]
    assert again["id"] == first["id"] and (again["schedule"], again["maxsnaps"]) == ("20", 8), "one for a volume and interval"
    daily = {"intervaltype": "DAILY", "schedule": "00:03", "timezone": "UTC", "maxsnaps": 1}
    second = ok(sim, "createSnapshotPolicy", volumeid=disk["id"], **daily)["snapshotpolicy"]
    assert [row["id"] for row in ok(sim, "listSnapshotPolicies", volumeid=disk["id"])["snapshotpolicy"]] == [first["id"], second["id"]]
    assert one(sim, "listSnapshotPolicies", "snapshotpolicy", id=second["id"])["intervaltype"] == 1
    assert job(sim, "updateSnapshotPolicy", id=second["id"], fordisplay=False)["snapshotpolicy"]["fordisplay"] is False
    if version < "4.22":
        assert refused(sim, "listSnapshotPolicies")["errorcode"] == 431
    else:
        assert ok(sim, "listSnapshotPolicies", listall=True)["count"] == 2
    assert ok(sim, "deleteSnapshotPolicies", ids=f"{first['id']},{second['id']}") == {"success": True}
    assert ok(sim, "listSnapshotPolicies", volumeid=disk["id"]) == {}
    assert "does not exist" in refused(sim, "deleteSnapshotPolicies", id=first["id"])["errortext"]
    assert refused(sim, "deleteSnapshotPolicies")["errorcode"] == 431


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"intervaltype": "YEARLY"}, "Unsupported interval type"),
        ({"schedule": "70"}, "invalid schedule"),
        ({"intervaltype": "DAILY"}, "invalid schedule"),
        ({"intervaltype": "MONTHLY", "schedule": "00:01:29"}, "invalid schedule"),
        ({"maxsnaps": 0}, "should be greater than 0"),
        ({"maxsnaps": 9}, "exceeds limit [8]"),
    ],
)
def test_policies_refused(cloud: Simulator, change: dict, words: str) -> None:
    disk = root(cloud, deploy(cloud))
    assert words in refused(cloud, "createSnapshotPolicy", volumeid=disk["id"], **{**POLICY, **change})["errortext"]


def test_policies_run_and_keep_no_more_than_they_may(stopped: tuple) -> None:
    sim, _unused, disk = stopped
    manual = snapshot(sim, disk["id"], "manual")
    ok(sim, "createSnapshotPolicy", volumeid=disk["id"], **POLICY)
    sim.advance(4 * 3600)

    def recurring() -> list[dict]:
        return ok(sim, "listSnapshots", snapshottype="RECURRING").get("snapshot", [])

    wait_until(lambda: not sim.control("GET", "/cloudstack/work")["under_way"] and len(recurring()) == 2)
    rows = recurring()
    assert {(row["state"], row["intervaltype"], row["snapshottype"]) for row in rows} == {("BackedUp", "HOURLY", "RECURRING")}
    assert all(row["created"][14:16] == "10" for row in rows), "each at its own time, though the clock skipped them"
    hours = [datetime.strptime(row["created"], "%Y-%m-%dT%H:%M:%S%z").timestamp() for row in rows]
    assert hours[1] - hours[0] == 3600
    sim.settle()
    assert sum(row["tags"].get("cs") == "snapshot" for row in sim.get("SnapshotsList")[1]["data"]) == 3
    assert listed(sim, manual["id"])[0]["state"] == "BackedUp", "what was made by hand is not touched"


def test_a_policy_whose_snapshot_is_refused_only_logs(cloud: Simulator) -> None:
    """kvm.snapshot.enabled is off and the instance runs."""
    disk = root(cloud, deploy(cloud))
    ok(cloud, "createSnapshotPolicy", volumeid=disk["id"], **POLICY)
    cloud.advance(3600)
    lines = wait_until(lambda: [line for line in cloud.control("GET", "/cloudstack/log")["lines"] if "Scheduled snapshot" in line["text"]])
    assert "KVM Snapshot is not supported for Running VMs" in lines[0]["text"]
    assert {row["state"] for row in ok(cloud, "listSnapshots")["snapshot"]} == {"Error"}


def test_policies_end_with_their_volume(cloud: Simulator) -> None:
    disk = data_disk(cloud, deploy(cloud))
    job(cloud, "detachVolume", id=disk["id"])
    policy = ok(cloud, "createSnapshotPolicy", volumeid=disk["id"], **POLICY)["snapshotpolicy"]
    ok(cloud, "deleteVolume", id=disk["id"])
    cloud.advance(3600)
    wait_until(lambda: "snapshotpolicy" not in ok(cloud, "listSnapshotPolicies", id=policy["id"]))
    assert ok(cloud, "listSnapshots") == {}


def test_the_hash_of_a_raw_copy_is_that_of_its_volume(stopped: tuple) -> None:
    """The helper itself: an image made by hand has the hash that the simulator tells."""
    sim, _unused, disk = stopped
    data = sim.read(address(disk), 0, disk["size"])
    assert hashlib.sha256(data).hexdigest() == digest(sim, disk)
