# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Volumes between pools, alone and with their VM, and all that is refused (plugin sheet 5.8)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from storpool_simulator.testing import Simulator

from .cloudstack_support import VERSIONS, failed_job, job, named, ok, refused
from .plugin_support import (
    address,
    data_disk,
    deploy,
    digest,
    of_running_vms,
    on_storpool,
    pool_id,
    primary_only,
    root,
    snapshot,
    stop,
    stored,
    volume,
    volumes,
    zone_id,
)
from .support import wait_until
from .test_cloudstack_pools import url_of

every_version = pytest.mark.parametrize("version", VERSIONS)
Clouds = Callable[[str], Simulator]


def second_pool(sim: Simulator) -> str:
    """Another StorPool template of the same cluster."""
    wanted = {"name": "storpool-hybrid", "zoneid": zone_id(sim), "provider": "StorPool", "scope": "zone", "hypervisor": "KVM"}
    return ok(sim, "createStoragePool", **wanted, url=url_of(sim, "hybrid"), capacitybytes=1 << 40)["storagepool"]["id"]


def nfs_pool(sim: Simulator, name: str = "nfs1", **more: str) -> str:
    wanted = {"name": name, "zoneid": zone_id(sim), "scope": "zone", "hypervisor": "KVM", "tags": "nfs", **more}
    return ok(sim, "createStoragePool", **wanted, url=f"nfs://192.0.2.7/export/{name}")["storagepool"]["id"]


def on_nfs(sim: Simulator) -> dict:
    """Offerings whose volumes go to the NFS pool."""
    disk = ok(sim, "createDiskOffering", name="nfs", displaytext="nfs", customized=True, tags="nfs")["diskoffering"]["id"]
    service = ok(sim, "createServiceOffering", name="nfs", displaytext="nfs", cpunumber=1, cpuspeed=500, memory=512, tags="nfs")[
        "serviceoffering"
    ]["id"]
    return {"disk": disk, "service": service}


def file_of(sim: Simulator, pool: str, disk: dict) -> Path:
    return sim.state_dir / "primary" / pool / disk["path"]


# Between StorPool pools


@every_version
def test_live_between_storpool_pools(clouds: Clouds, version: str) -> None:
    """Nothing moves but the placement: same globalId, same path."""
    sim = clouds(version)
    pool, disk = second_pool(sim), root(sim, deploy(sim))
    text = failed_job(sim, "migrateVolume", volumeid=disk["id"], storageid=pool)["errortext"]
    assert text.endswith("the parameter livemigrate should be specified")
    before = digest(sim, disk)
    sim.reset_calls()
    moved = job(sim, "migrateVolume", volumeid=disk["id"], storageid=pool, livemigrate=True)["volume"]
    assert (moved["path"], moved["storageid"], moved["storage"]) == (disk["path"], pool, "storpool-hybrid")
    row = on_storpool(sim, disk)
    assert row is not None and row["templateName"] == "hybrid" and digest(sim, disk) == before
    assert [call["call"] for call in sim.calls()["calls"] if call["write"] and call["cluster"] == "sofia-a"] == ["VolumeUpdate"]


@every_version
@pytest.mark.parametrize("attached", [True, False])
def test_offline_between_storpool_pools(clouds: Clouds, version: str, attached: bool) -> None:
    """StorPool copies by reference; the path changes and the old volume goes."""
    sim = clouds(version)
    pool, vm = second_pool(sim), deploy(sim)
    disk = data_disk(sim, vm)
    stop(sim, vm)
    sim.write(address(disk), b"content")
    if not attached:
        job(sim, "detachVolume", id=disk["id"])
    counted = sim.counters()
    moved = job(sim, "migrateVolume", volumeid=disk["id"], storageid=pool)["volume"]
    assert moved["path"] != disk["path"] and moved["storageid"] == pool and moved["state"] == "Ready"
    assert on_storpool(sim, disk) is None and sim.read(address(moved), 0, 7) == b"content"
    row = on_storpool(sim, moved)
    assert row is not None and row["templateName"] == "hybrid" and row["tags"]["uuid"] == disk["id"] and row["tags"]["cs"] == "volume"
    assert row["tags"].get("cvm") == (vm["id"] if attached else None)
    assert sim.counters()["bytes_converted"] == counted["bytes_converted"]
    job(sim, "startVirtualMachine", id=vm["id"])


def test_a_stopped_vm_to_another_pool(cloud: Simulator) -> None:
    pool, vm = second_pool(cloud), deploy(cloud)
    data_disk(cloud, vm)
    assert "only stopped VMs" in failed_job(cloud, "migrateVirtualMachine", virtualmachineid=vm["id"], storageid=pool)["errortext"]
    stop(cloud, vm)
    before = [digest(cloud, disk) for disk in volumes(cloud, vm)]
    job(cloud, "migrateVirtualMachine", virtualmachineid=vm["id"], storageid=pool)
    assert {disk["storageid"] for disk in volumes(cloud, vm)} == {pool}
    assert [digest(cloud, disk) for disk in volumes(cloud, vm)] == before
    job(cloud, "startVirtualMachine", id=vm["id"])


def test_a_new_disk_offering_goes_along(cloud: Simulator) -> None:
    pool, disk = second_pool(cloud), data_disk(cloud, deploy(cloud))
    other = ok(cloud, "createDiskOffering", name="hybrid", displaytext="h", disksize=1, tags="storpool-hybrid")["diskoffering"]["id"]
    wrong = ok(cloud, "createDiskOffering", name="wrong", displaytext="w", disksize=1, tags="elsewhere")["diskoffering"]["id"]
    params = {"volumeid": disk["id"], "storageid": pool, "livemigrate": True}
    assert "has no matching tags for volume" in failed_job(cloud, "migrateVolume", **params, newdiskofferingid=wrong)["errortext"]
    assert job(cloud, "migrateVolume", **params, newdiskofferingid=other)["volume"]["diskofferingid"] == other


def test_where_a_volume_could_go(cloud: Simulator) -> None:
    disk = data_disk(cloud, deploy(cloud))
    assert ok(cloud, "findStoragePoolsForMigration", id=disk["id"]) == {}
    pool, nfs = second_pool(cloud), nfs_pool(cloud)
    found = ok(cloud, "findStoragePoolsForMigration", id=disk["id"])["storagepool"]
    assert {row["id"]: row["suitableformigration"] for row in found} == {pool: True, nfs: True}


# From NFS and to it


@every_version
def test_from_nfs_offline(clouds: Clouds, version: str) -> None:
    sim = clouds(version)
    nfs = nfs_pool(sim)
    vm = deploy(sim, serviceofferingid=on_nfs(sim)["service"])
    disk = root(sim, vm)
    assert disk["storageid"] == nfs and not disk["path"].startswith("/dev")
    stop(sim, vm)
    file = file_of(sim, nfs, disk)
    with open(file, "r+b") as image:
        image.write(b"written by the guest")
    content = file.read_bytes()
    moved = job(sim, "migrateVolume", volumeid=disk["id"], storageid=pool_id(sim))["volume"]
    assert moved["path"].startswith("/dev/storpool-byid/") and moved["storage"] == "storpool-nvme"
    assert sim.read(address(moved), 0, disk["size"]) == content and not file.exists()
    row = on_storpool(sim, moved)
    assert row is not None and row["tags"] == {"uuid": disk["id"], "cs": "volume", "cvm": vm["id"]}
    job(sim, "startVirtualMachine", id=vm["id"])


@every_version
def test_from_nfs_with_the_running_vm(clouds: Clouds, version: str) -> None:
    sim = clouds(version)
    nfs = nfs_pool(sim)
    kinds = on_nfs(sim)
    vm = deploy(sim, serviceofferingid=kinds["service"])
    data_disk(sim, vm, diskofferingid=kinds["disk"])
    disks = volumes(sim, vm)
    text = failed_job(sim, "migrateVolume", volumeid=disks[0]["id"], storageid=pool_id(sim), livemigrate=True)["errortext"]
    assert "Use 'migrateVirtualMachineWithVolumes' instead." in text
    files = [file_of(sim, nfs, disk) for disk in disks]
    content = [file.read_bytes()[: 1 << 20] for file in files]
    host = next(name for name in sim.hosts() if name.startswith("kvm") and name != vm["hostname"])
    wanted = {f"migrateto[{number}].volume": disk["id"] for number, disk in enumerate(disks)}
    wanted.update({f"migrateto[{number}].pool": pool_id(sim) for number in range(len(disks))})
    target = named(sim, "listHosts", "host", host)
    answer = job(sim, "migrateVirtualMachineWithVolume", virtualmachineid=vm["id"], hostid=target, **wanted)["virtualmachine"]
    assert (answer["hostname"], answer["state"]) == (host, "Running")
    moved = volumes(sim, vm)
    assert {disk["storage"] for disk in moved} == {"storpool-nvme"} and not any(file.exists() for file in files)
    assert [sim.read(address(disk), 0, 1 << 20) for disk in moved] == content
    clients = {row["client"] for row in sim.get("AttachmentsList")[1]["data"] if "~" + row["globalId"] in [address(disk) for disk in moved]}
    assert clients == {sim.hosts()[host]["storpool"]["client"]}
    stop(sim, vm)
    job(sim, "startVirtualMachine", id=vm["id"])


def test_a_volume_that_stays_goes_along_with_the_vm(cloud: Simulator) -> None:
    nfs_pool(cloud)
    vm = deploy(cloud)
    disk = data_disk(cloud, vm, diskofferingid=on_nfs(cloud)["disk"])
    target = next(id for name, id in hosts(cloud).items() if name.startswith("kvm") and name != vm["hostname"])
    params = {"migrateto[0].volume": disk["id"], "migrateto[0].pool": pool_id(cloud)}
    job(cloud, "migrateVirtualMachineWithVolume", virtualmachineid=vm["id"], hostid=target, **params)
    before, after = volumes(cloud, vm)
    assert after["storage"] == "storpool-nvme" and before["path"].startswith("/dev/storpool-byid/")
    assert len([row for row in cloud.get("AttachmentsList")[1]["data"] if not row["snapshot"]]) == 2


def hosts(sim: Simulator) -> dict[str, str]:
    return {row["name"]: row["id"] for row in ok(sim, "listHosts", type="Routing")["host"]}


def test_to_nfs_offline_by_secondary_storage(cloud: Simulator) -> None:
    nfs, vm = nfs_pool(cloud), deploy(cloud)
    disk = data_disk(cloud, vm)
    cloud.write(address(disk), b"to the other side")
    job(cloud, "detachVolume", id=disk["id"])
    cloud.reset_calls()
    moved = job(cloud, "migrateVolume", volumeid=disk["id"], storageid=nfs)["volume"]
    assert moved["storageid"] == nfs and file_of(cloud, nfs, moved).read_bytes()[:17] == b"to the other side"
    assert file_of(cloud, nfs, moved).stat().st_size == disk["size"] and on_storpool(cloud, disk) is None
    (taken,) = [call for call in cloud.calls()["calls"] if call["call"] == "VolumeSnapshot"]
    assert taken["body"]["tags"]["cs"] == "temporary"
    cloud.settle()
    assert not [row for row in cloud.get("SnapshotsList")[1]["data"] if row["tags"].get("cs") == "temporary"]
    assert not [name for name in stored(cloud) if name.startswith("volumes/")]
    job(cloud, "attachVolume", id=disk["id"], virtualmachineid=vm["id"])
    job(cloud, "detachVolume", id=disk["id"])
    back = job(cloud, "migrateVolume", volumeid=disk["id"], storageid=pool_id(cloud))["volume"]
    assert cloud.read(address(back), 0, 17) == b"to the other side"


@every_version
def test_not_live_to_nfs(clouds: Clouds, version: str) -> None:
    cloud = clouds(version)
    nfs, vm = nfs_pool(cloud), deploy(cloud)
    target = next(id for name, id in hosts(cloud).items() if name.startswith("kvm") and name != vm["hostname"])
    params = {"migrateto[0].volume": root(cloud, vm)["id"], "migrateto[0].pool": nfs}
    text = failed_job(cloud, "migrateVirtualMachineWithVolume", virtualmachineid=vm["id"], hostid=target, **params)["errortext"]
    assert "Unable to find a strategy" in text and volume(cloud, root(cloud, vm)["id"])["storage"] == "storpool-nvme"
    text = failed_job(cloud, "migrateVolume", volumeid=root(cloud, vm)["id"], storageid=nfs, livemigrate=True)["errortext"]
    assert "Use 'migrateVirtualMachineWithVolumes' instead." in text


# Refusals


@every_version
def test_refused(clouds: Clouds, version: str) -> None:
    cloud = clouds(version)
    vm = deploy(cloud)
    disk, pool = root(cloud, vm), second_pool(cloud)
    params = {"volumeid": disk["id"], "storageid": pool, "livemigrate": True}
    text = failed_job(cloud, "migrateVolume", **{**params, "storageid": pool_id(cloud)})["errortext"]
    assert "is already on the destination storage pool" in text
    unborn = data_disk(cloud)
    assert failed_job(cloud, "migrateVolume", volumeid=unborn["id"], storageid=pool)["errortext"] == "Volume must be in ready state"
    job(cloud, "enableStorageMaintenance", id=pool)
    assert "as the storage pool is in maintenance mode." in failed_job(cloud, "migrateVolume", **params)["errortext"]
    job(cloud, "cancelStorageMaintenance", id=pool)
    group = job(cloud, "createVMSnapshot", virtualmachineid=vm["id"])["vmsnapshot"]
    assert "please remove all VM snapshots" in failed_job(cloud, "migrateVolume", **params)["errortext"]
    job(cloud, "deleteVMSnapshot", vmsnapshotid=group["id"])
    cloud.fault("error", "VolumeUpdate", name="busy", descr="not now")
    assert "Could not migrate volume" in failed_job(cloud, "migrateVolume", **params)["errortext"]
    assert volume(cloud, disk["id"])["storage"] == "storpool-nvme"
    job(cloud, "migrateVolume", **params)


@every_version
def test_snapshots_on_primary_alone_keep_a_volume_where_it_is(clouds: Clouds, version: str) -> None:
    """With bypass there is a record on the image store, so the older releases do not see it."""
    sim = clouds(version)
    of_running_vms(sim)
    primary_only(sim)
    disk, pool = root(sim, deploy(sim)), second_pool(sim)
    made = snapshot(sim, disk["id"])
    params = {"volumeid": disk["id"], "storageid": pool, "livemigrate": True}
    if version >= "4.21":
        assert "has snapshots only in primary storage" in failed_job(sim, "migrateVolume", **params)["errortext"]
        job(sim, "deleteSnapshot", id=made["id"])
    job(sim, "migrateVolume", **params)


def test_refused_with_the_vm(cloud: Simulator) -> None:
    vm = deploy(cloud)
    call = {"virtualmachineid": vm["id"]}
    assert "Either hostid or migrateto" in failed_job(cloud, "migrateVirtualMachineWithVolume", **call)["errortext"]
    own = named(cloud, "listHosts", "host", vm["hostname"])
    assert "already on the destination host" in failed_job(cloud, "migrateVirtualMachineWithVolume", **call, hostid=own)["errortext"]
    other = next(id for name, id in hosts(cloud).items() if name.startswith("kvm") and id != own)
    cloud.fault("host_fails", "Migrate", text="the guest does not converge")
    params = {"migrateto[0].volume": root(cloud, vm)["id"], "migrateto[0].pool": second_pool(cloud)}
    text = failed_job(cloud, "migrateVirtualMachineWithVolume", **call, hostid=other, **params)["errortext"]
    assert "failed in StorPoolDataMotionStrategy.copyAsync. Error message: [the guest does not converge]" in text
    assert ok(cloud, "listVirtualMachines", id=vm["id"])["virtualmachine"][0]["hostname"] == vm["hostname"]
    assert len(cloud.get("VolumesList")[1]["data"]) == 1, "the new volume is gone again"
    job(cloud, "migrateVirtualMachineWithVolume", **call, hostid=other, **params)
    assert root(cloud, vm)["storage"] == "storpool-hybrid"
    stop(cloud, vm)
    assert "is not in Running state" in failed_job(cloud, "migrateVirtualMachineWithVolume", **call, hostid=own)["errortext"]
    back = {"migrateto[0].volume": root(cloud, vm)["id"], "migrateto[0].pool": pool_id(cloud)}
    job(cloud, "migrateVirtualMachineWithVolume", **call, **back)
    assert root(cloud, vm)["storage"] == "storpool-nvme"


def test_a_host_that_fails_leaves_nothing_behind(cloud: Simulator) -> None:
    nfs_pool(cloud)
    disk = data_disk(cloud, deploy(cloud), diskofferingid=on_nfs(cloud)["disk"])
    job(cloud, "detachVolume", id=disk["id"])
    before = len(cloud.get("VolumesList")[1]["data"])
    cloud.fault("host_fails", "StorPoolDownloadVolume", text="no route to the export")
    assert "no route to the export" in failed_job(cloud, "migrateVolume", volumeid=disk["id"], storageid=pool_id(cloud))["errortext"]
    assert len(cloud.get("VolumesList")[1]["data"]) == before and volume(cloud, disk["id"])["state"] == "Ready"
    job(cloud, "migrateVolume", volumeid=disk["id"], storageid=pool_id(cloud))


# Volumes on NFS by themselves


def test_volumes_on_nfs(cloud: Simulator) -> None:
    nfs, kinds = nfs_pool(cloud), on_nfs(cloud)
    row = ok(cloud, "listStoragePools", id=nfs)["storagepool"][0]
    shown = (row["type"], row["provider"], row["path"], row["ipaddress"])
    assert shown == ("NetworkFilesystem", "DefaultPrimary", "/export/nfs1", "192.0.2.7")
    vm = deploy(cloud, serviceofferingid=kinds["service"])
    disk = data_disk(cloud, vm, diskofferingid=kinds["disk"])
    assert not cloud.get("VolumesList")[1]["data"]
    job(cloud, "resizeVolume", id=disk["id"], size=2)
    assert file_of(cloud, nfs, disk).stat().st_size == 2 << 30
    stop(cloud, vm)
    job(cloud, "startVirtualMachine", id=vm["id"])
    job(cloud, "destroyVirtualMachine", id=vm["id"], expunge=True)
    ok(cloud, "deleteVolume", id=disk["id"])
    assert not list((cloud.state_dir / "primary" / nfs).iterdir())


# A server that goes down


@pytest.mark.parametrize("call", ["migrateVolume", "migrateVirtualMachineWithVolume"])
def test_a_killed_server_goes_on(start: Callable[..., Simulator], call: str) -> None:
    sim = start(cloudstack="4.20.2")
    nfs_pool(sim)
    vm = deploy(sim, serviceofferingid=on_nfs(sim)["service"])
    disk = root(sim, vm)
    if call == "migrateVolume":
        stop(sim, vm)
        sim.fault("host_held", "StorPoolDownloadVolume")
        started = ok(sim, call, volumeid=disk["id"], storageid=pool_id(sim))
    else:
        sim.fault("host_held", "Migrate")
        target = next(id for name, id in hosts(sim).items() if name.startswith("kvm") and name != vm["hostname"])
        params = {"migrateto[0].volume": disk["id"], "migrateto[0].pool": pool_id(sim)}
        started = ok(sim, call, virtualmachineid=vm["id"], hostid=target, **params)

    def states() -> tuple[str, str]:
        ok(sim, "queryAsyncJobResult", jobid=started["jobid"])
        return volume(sim, disk["id"])["state"], ok(sim, "listVirtualMachines", id=vm["id"])["virtualmachine"][0]["state"]

    wait_until(lambda: "Migrating" in states())
    sim.kill()
    sim.start()
    wait_until(lambda: ok(sim, "queryAsyncJobResult", jobid=started["jobid"])["jobstatus"] == 1)
    assert volume(sim, disk["id"])["storage"] == "storpool-nvme" and "Migrating" not in states()


def test_what_is_not_served_for_volumes_on_nfs(cloud: Simulator, tmp_path: Path) -> None:
    """No snapshots, templates and extraction; uploads come to StorPool alone."""
    nfs_pool(cloud)
    kinds = on_nfs(cloud)
    vm = deploy(cloud, serviceofferingid=kinds["service"])
    stop(cloud, vm)
    disk, system = root(cloud, vm)["id"], ok(cloud, "listOsTypes")["ostype"][0]["id"]
    for command, params in (
        ("createSnapshot", {"volumeid": disk}),
        ("createTemplate", {"volumeid": disk, "name": "t", "ostypeid": system}),
        ("extractVolume", {"id": disk, "zoneid": zone_id(cloud), "mode": "HTTP_DOWNLOAD"}),
    ):
        assert refused(cloud, command, **params)["errorcode"] == 501, command
    image = tmp_path / "disk.raw"
    image.write_bytes(bytes(1 << 20))
    params = {"name": "up", "zoneid": zone_id(cloud), "url": image.as_uri(), "format": "RAW", "diskofferingid": kinds["disk"]}
    made = job(cloud, "uploadVolume", **params)["volume"]
    assert "to StorPool alone" in failed_job(cloud, "attachVolume", id=made["id"], virtualmachineid=vm["id"])["errortext"]
