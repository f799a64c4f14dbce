# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""VMs with volumes on StorPool: deploy, life, destruction, migration, loss of their host (plugin sheet 3.4, 5.2)."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from storpool_simulator.testing import Simulator

from . import plugin_support as plugin
from .cloudstack_support import VERSIONS, failed_job, job, named, ok, one, refused
from .support import wait_until
from .test_cloudstack_encryption import encrypted_root
from .test_cloudstack_migration import second_pool
from .test_cloudstack_templates import register

MIB, GIB = 1 << 20, 1 << 30
DAY = 86400


def vm_of(sim: Simulator, name: str = "web") -> dict[str, Any]:
    return one(sim, "listVirtualMachines", "virtualmachine", name=name, listall=True)


def wanted(sim: Simulator, **more: Any) -> dict[str, Any]:
    return {
        "name": "web",
        "zoneid": plugin.zone_id(sim),
        "serviceofferingid": plugin.service_id(sim),
        "templateid": plugin.template_id(sim),
        **more,
    }


def attachments(sim: Simulator, volume: dict[str, Any]) -> set[tuple[int, str]]:
    rows = sim.get("AttachmentsList")[1]["data"]
    return {(row["client"], row["rights"]) for row in rows if row["volume"] == plugin.address(volume)}


def client(sim: Simulator, host: str) -> int:
    return sim.hosts()[host]["storpool"]["client"]


# Deploy


@pytest.mark.parametrize("version", VERSIONS)
def test_deploy_from_a_template(clouds: Callable[[str], Simulator], version: str) -> None:
    sim = clouds(version)
    vm = plugin.deploy(sim)
    assert (vm["state"], vm["templatename"], vm["instancename"]) == ("Running", "debian-12", "i-2-1-VM")
    assert ("deleteprotection" in vm) is (version >= "4.20") and ("arch" in vm) is (version >= "4.20.1")
    root = plugin.root(sim, vm)
    assert (root["name"], root["type"], root["deviceid"], root["size"]) == ("ROOT-1", "ROOT", 0, 8 * MIB)
    disk = {"disk": "0"} if version >= "4.21" else {}
    assert plugin.tags(sim, root) == {"uuid": root["id"], "cs": "volume", "cvm": vm["id"], **disk}
    assert attachments(sim, root) == {(client(sim, vm["hostname"]), "rw")}
    # The VM holds its disk open, so a plain detach is refused
    status, answer = sim.post("VolumesReassign", [{"volume": plugin.address(root), "detach": [client(sim, vm["hostname"])]}])
    assert status != 200 and "is open at" in answer["error"]["descr"]


@pytest.mark.parametrize("version", VERSIONS)
def test_deploy_from_an_iso(clouds: Callable[[str], Simulator], version: str) -> None:
    sim = clouds(version)
    iso = ok(sim, "listIsos", isofilter="featured")["iso"][0]["id"]
    refused(sim, "deployVirtualMachine", **wanted(sim, templateid=iso, hypervisor="KVM"))
    custom = named(sim, "listDiskOfferings", "diskoffering", "Custom")
    refused(sim, "deployVirtualMachine", **wanted(sim, templateid=iso, diskofferingid=custom, size=1))
    vm = plugin.deploy(sim, templateid=iso, hypervisor="KVM", diskofferingid=custom, size=1)
    assert vm["isoname"] == "debian-12-netinst" and "templateid" not in vm
    (root,) = plugin.volumes(sim, vm)
    row = plugin.on_storpool(sim, root)
    assert row is not None and (row["size"], row["parentName"]) == (GIB, "") and root["type"] == "ROOT"


def test_size_of_the_root(cloud: Simulator) -> None:
    vm = plugin.deploy(cloud, rootdisksize=2)
    root = plugin.root(cloud, vm)
    row = plugin.on_storpool(cloud, root)
    assert row is not None and (root["size"], row["size"]) == (2 * GIB, 2 * GIB)


@pytest.mark.parametrize("version", ["4.19.3", "4.22.0"])
def test_a_root_below_its_template_is_raised_on_storpool_alone(clouds: Callable[[str], Simulator], version: str, tmp_path: Path) -> None:
    """The database is not told (plugin sheet 5.2)."""
    sim = clouds(version)
    image = tmp_path / "large.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(image), "3G"], check=True)
    small = {"name": "small", "cpunumber": 1, "cpuspeed": 500, "memory": 512, "rootdisksize": 2}
    service = ok(sim, "createServiceOffering", **small)["serviceoffering"]["id"]
    root = plugin.root(sim, plugin.deploy(sim, templateid=register(sim, image)["id"], serviceofferingid=service))
    row = plugin.on_storpool(sim, root)
    assert row is not None and (root["size"], row["size"]) == (2 * GIB, 3 * GIB)


@pytest.mark.parametrize("version", VERSIONS)
def test_deploy_with_data_disks(clouds: Callable[[str], Simulator], version: str) -> None:
    """TestTagsOnStorPool 10."""
    sim = clouds(version)
    custom = named(sim, "listDiskOfferings", "diskoffering", "Custom")
    more = {"datadisksdetails[0].diskofferingid": custom, "datadisksdetails[0].size": "2"} if version >= "4.21" else {}
    vm = plugin.deploy(sim, diskofferingid=custom, size=1, **more)
    _unused, *data = plugin.volumes(sim, vm)
    assert [one["size"] for one in data] == ([GIB, 2 * GIB] if version >= "4.21" else [GIB])
    for number, disk in enumerate(data, 1):
        assert (plugin.tags(sim, disk)["cvm"], plugin.tags(sim, disk).get("disk")) == (vm["id"], str(number) if version >= "4.21" else None)
    job(sim, "detachVolume", id=data[0]["id"])
    assert not {"cvm", "disk"} & set(plugin.tags(sim, data[0]))


@pytest.mark.parametrize("version", ["4.21.0", "4.22.0"])
def test_deploy_from_a_volume(clouds: Callable[[str], Simulator], version: str) -> None:
    """test_storpool_tiers 13; the volume's tags are written anew, the uuid among them."""
    sim = clouds(version)
    first = plugin.deploy(sim, "first")
    root = plugin.root(sim, first)
    plugin.stop(sim, first)
    job(sim, "detachVolume", id=root["id"])
    vm = plugin.deploy(sim, "second", volumeid=root["id"])
    assert plugin.root(sim, vm)["path"] == root["path"]
    assert plugin.tags(sim, root) == {"uuid": plugin.address(root), "cs": "volume", "cvm": vm["id"], "disk": "0"}
    assert attachments(sim, root) == {(client(sim, vm["hostname"]), "rw")}


@pytest.mark.parametrize("version", ["4.21.0", "4.22.0"])
def test_deploy_from_a_snapshot(clouds: Callable[[str], Simulator], version: str) -> None:
    """test_storpool_tiers 14."""
    sim = clouds(version)
    first = plugin.deploy(sim, "first")
    sim.write(plugin.address(plugin.root(sim, first)), b"kept", 4096)
    plugin.stop(sim, first)
    snapshot = plugin.snapshot(sim, plugin.root(sim, first)["id"])
    before = sim.counters()
    vm = plugin.deploy(sim, "second", snapshotid=snapshot["id"])
    assert sim.counters()["bytes_converted"] == before["bytes_converted"]
    root = plugin.root(sim, vm)
    assert sim.read(plugin.address(root), 4096, 4) == b"kept" and plugin.tags(sim, root)["cvm"] == vm["id"]


@pytest.mark.parametrize("version", ["4.21.0", "4.22.0"])
def test_no_machine_from_these_snapshots(clouds: Callable[[str], Simulator], version: str) -> None:
    """What no volume is made from is no source of a machine either."""
    sim = clouds(version)
    for name, more in (("plain", {}), ("secret", {"serviceofferingid": encrypted_root(sim)})):
        plugin.stop(sim, plugin.deploy(sim, name, **more))
    plain, secret = (plugin.root(sim, vm_of(sim, name)) for name in ("plain", "secret"))

    def answer(snapshot: dict[str, Any]) -> str:
        return refused(sim, "deployVirtualMachine", **wanted(sim, templateid=None, snapshotid=snapshot["id"]))["errortext"]

    assert answer(plugin.snapshot(sim, secret["id"])) == "Cannot create new volumes from encrypted volume snapshots"
    sim.background(False)
    assert "is not in BackedUp state yet" in answer(plugin.snapshot(sim, plain["id"], asyncbackup=True))
    assert set(sim.vms()) == {"plain", "secret"}


def test_nobody_encrypts_what_comes_from_a_snapshot(clouds: Callable[[str], Simulator]) -> None:
    """A child of the snapshot has its bytes, whatever the offering says."""
    sim = clouds("4.22.0")
    first = plugin.deploy(sim, "first")
    plugin.stop(sim, first)
    made = plugin.snapshot(sim, plugin.root(sim, first)["id"])
    vm = plugin.deploy(sim, snapshotid=made["id"], serviceofferingid=encrypted_root(sim))
    root = plugin.root(sim, vm)
    assert "encryptformat" not in root and plugin.digest(sim, root) == plugin.digest(sim, plugin.root(sim, first))
    plugin.stop(sim, vm)
    job(sim, "startVirtualMachine", id=vm["id"])
    assert plugin.root(sim, vm)["path"] == root["path"]


def test_sources_that_an_older_release_does_not_know(cloud: Simulator) -> None:
    """Unknown parameters are ignored, so there is no source then."""
    data = plugin.data_disk(cloud)
    refused(cloud, "deployVirtualMachine", **wanted(cloud, templateid=None, volumeid=data["id"]))


def test_deploy_without_a_start(cloud: Simulator) -> None:
    vm = plugin.deploy(cloud, startvm=False)
    assert vm["state"] == "Stopped" and "hostid" not in vm
    assert plugin.root(cloud, vm)["state"] == "Allocated" and cloud.get("VolumesList")[1]["data"] == []
    job(cloud, "startVirtualMachine", id=vm["id"])
    assert plugin.root(cloud, vm)["state"] == "Ready"


def test_a_host_may_be_chosen(cloud: Simulator) -> None:
    assert plugin.deploy(cloud, hostid=cloud.hosts()["hc2"]["id"])["hostname"] == "hc2"
    hosts = {plugin.deploy(cloud, f"vm{number}")["hostname"] for number in range(3)}
    assert len(hosts) == 3


@pytest.mark.parametrize(
    "change",
    [{"templateid": None}, {"name": "taken"}, {"rootdisksize": -1}, {"serviceofferingid": None}, {"zoneid": None}, {"account": "ops"}],
)
def test_deploys_that_are_refused(cloud: Simulator, change: dict[str, Any]) -> None:
    plugin.deploy(cloud, "taken")
    assert refused(cloud, "deployVirtualMachine", **wanted(cloud, **change))["errorcode"] == 431
    assert len(cloud.vms()) == 1


def test_a_failed_deploy_leaves_an_instance_in_error(cloud: Simulator) -> None:
    cloud.fault("host_fails", "Start", text="no memory")
    error = failed_job(cloud, "deployVirtualMachine", **wanted(cloud))
    assert (error["errorcode"], "no memory" in error["errortext"]) == (533, True)
    vm = vm_of(cloud)
    assert vm["state"] == "Error"
    job(cloud, "destroyVirtualMachine", id=vm["id"], expunge=True)
    for host in cloud.hosts():
        cloud.agent(host, "down")
    assert failed_job(cloud, "deployVirtualMachine", **wanted(cloud))["errorcode"] == 533


# Life


@pytest.mark.parametrize("version", ["4.19.3", "4.22.0"])
def test_stop_start_reboot(clouds: Callable[[str], Simulator], version: str) -> None:
    sim = clouds(version)
    vm = plugin.deploy(sim)
    data, root = plugin.data_disk(sim, vm), plugin.root(sim, vm)
    stopped = job(sim, "stopVirtualMachine", id=vm["id"])["virtualmachine"]
    assert stopped["state"] == "Stopped" and "hostid" not in stopped
    assert attachments(sim, root) == set() == attachments(sim, data)
    started = job(sim, "startVirtualMachine", id=vm["id"])["virtualmachine"]
    # Where it ran last
    assert started["hostid"] == vm["hostid"]
    assert attachments(sim, root) == attachments(sim, data) == {(client(sim, vm["hostname"]), "rw")}
    failed_job(sim, "startVirtualMachine", id=vm["id"])
    assert job(sim, "rebootVirtualMachine", id=vm["id"])["virtualmachine"]["state"] == "Running"
    plugin.stop(sim, vm)
    elsewhere = job(sim, "startVirtualMachine", id=vm["id"], hostid=sim.hosts()["hc1"]["id"])["virtualmachine"]
    assert elsewhere["hostname"] == "hc1" and attachments(sim, root) == {(client(sim, "hc1"), "rw")}


def test_a_failed_start_gives_the_disks_back(cloud: Simulator) -> None:
    vm = plugin.deploy(cloud)
    data = plugin.data_disk(cloud, vm)
    plugin.stop(cloud, vm)
    cloud.fault("host_fails", "Attach", text="no device", object=data["id"])
    failed_job(cloud, "startVirtualMachine", id=vm["id"])
    assert vm_of(cloud)["state"] == "Stopped"
    assert attachments(cloud, plugin.root(cloud, vm)) == set() == attachments(cloud, data)


def test_a_forced_stop_takes_the_disks_from_a_lost_host(cloud: Simulator) -> None:
    vm = plugin.deploy(cloud)
    root = plugin.root(cloud, vm)
    cloud.client(client(cloud, vm["hostname"]), "down")
    failed_job(cloud, "stopVirtualMachine", id=vm["id"])
    job(cloud, "stopVirtualMachine", id=vm["id"], forced=True)
    assert attachments(cloud, root) == set()


@pytest.mark.parametrize("version", ["4.20.2", "4.22.0"])
def test_live_migration(clouds: Callable[[str], Simulator], version: str) -> None:
    sim = clouds(version)
    vm = plugin.deploy(sim)
    root = plugin.root(sim, vm)
    targets = ok(sim, "findHostsForMigration", virtualmachineid=vm["id"])["host"]
    assert vm["hostname"] not in {host["name"] for host in targets} and all(host["suitableformigration"] for host in targets)
    sim.reset_calls()
    moved = job(sim, "migrateVirtualMachine", virtualmachineid=vm["id"], hostid=targets[0]["id"])["virtualmachine"]
    assert moved["hostname"] == targets[0]["name"]
    assert attachments(sim, root) == {(client(sim, moved["hostname"]), "rw")}
    steps = [call["body"]["reassign"][0] for call in sim.calls()["calls"] if call["call"] == "VolumesReassignWait"]
    assert [set(step) & {"rw", "detach"} for step in steps] == [{"rw"}, {"detach"}]
    failed_job(sim, "migrateVirtualMachine", virtualmachineid=vm["id"], hostid=moved["hostid"])


def test_a_failed_migration_leaves_it_where_it_is(cloud: Simulator) -> None:
    vm = plugin.deploy(cloud)
    plugin.data_disk(cloud, vm)
    cloud.fault("host_fails", "Attach", text="no device", skip=1)
    failed_job(cloud, "migrateVirtualMachine", virtualmachineid=vm["id"], hostid=cloud.hosts()["hc1"]["id"])
    assert (vm_of(cloud)["state"], vm_of(cloud)["hostname"]) == ("Running", vm["hostname"])
    for volume in plugin.volumes(cloud, vm):
        assert attachments(cloud, volume) == {(client(cloud, vm["hostname"]), "rw")}


@pytest.mark.parametrize("moving", [False, True])
def test_a_host_that_keeps_a_disk_holds_no_migration_up(cloud: Simulator, moving: bool) -> None:
    """The VM runs on the other host by then; only the log tells."""
    vm, pool = plugin.deploy(cloud), second_pool(cloud)
    root, target = plugin.root(cloud, vm), cloud.hosts()["hc1"]["id"]
    cloud.fault("host_fails", "Detach", text="device busy")
    if moving:
        params = {"migrateto[0].volume": root["id"], "migrateto[0].pool": pool}
        job(cloud, "migrateVirtualMachineWithVolume", virtualmachineid=vm["id"], hostid=target, **params)
    else:
        job(cloud, "migrateVirtualMachine", virtualmachineid=vm["id"], hostid=target)
    assert (vm_of(cloud)["state"], vm_of(cloud)["hostname"]) == ("Running", "hc1") and "device busy" in cloud.log()[-1]["text"]
    left = set() if moving else {(client(cloud, vm["hostname"]), "rw")}
    assert attachments(cloud, plugin.root(cloud, vm)) == {(client(cloud, "hc1"), "rw"), *left}
    cloud.settle()
    assert len(cloud.get("VolumesList")[1]["data"]) == 1


def test_a_host_that_keeps_a_disk_loses_it_at_the_next_start_elsewhere(cloud: Simulator) -> None:
    """#10799."""
    vm = plugin.deploy(cloud)
    cloud.fault("host_fails", "Detach", text="device busy")
    plugin.stop(cloud, vm)
    assert attachments(cloud, plugin.root(cloud, vm)) == {(client(cloud, vm["hostname"]), "rw")}
    job(cloud, "startVirtualMachine", id=vm["id"], hostid=cloud.hosts()["hc1"]["id"])
    assert attachments(cloud, plugin.root(cloud, vm)) == {(client(cloud, "hc1"), "rw")}


def test_restore_makes_a_new_root(cloud: Simulator) -> None:
    vm = plugin.deploy(cloud)
    old = plugin.root(cloud, vm)
    cloud.write(plugin.address(old), b"changed", 0)
    job(cloud, "restoreVirtualMachine", virtualmachineid=vm["id"])
    new = plugin.root(cloud, vm)
    assert new["id"] != old["id"] and cloud.read(plugin.address(new), 0, 7) != b"changed" and vm_of(cloud)["state"] == "Running"
    assert plugin.volume(cloud, old["id"])["state"] == "Destroy"
    job(cloud, "restoreVirtualMachine", virtualmachineid=vm["id"], templateid=plugin.template_id(cloud, "rocky-9"), expunge=True)
    assert vm_of(cloud)["templatename"] == "rocky-9" and plugin.on_storpool(cloud, new) is None


def test_update(cloud: Simulator) -> None:
    vm = plugin.deploy(cloud)
    changed = ok(cloud, "updateVirtualMachine", id=vm["id"], displayname="Web", haenable=True, details={"a": "b"})["virtualmachine"]
    assert (changed["displayname"], changed["haenable"], changed["details"]) == ("Web", True, {"a": "b"})


# End


@pytest.mark.parametrize("version", VERSIONS)
def test_destroy_recover_expunge(clouds: Callable[[str], Simulator], version: str) -> None:
    sim = clouds(version)
    vm = plugin.deploy(sim)
    data, root = plugin.data_disk(sim, vm), plugin.root(sim, vm)
    assert refused(sim, "expungeVirtualMachine", id=vm["id"])["errorcode"] == 431
    assert job(sim, "destroyVirtualMachine", id=vm["id"])["virtualmachine"]["state"] == "Destroyed"
    # The data disk is detached, the root stays for a while
    assert "virtualmachineid" not in plugin.volume(sim, data["id"]) and not {"cvm", "disk"} & set(plugin.tags(sim, data))
    assert plugin.on_storpool(sim, root) is not None and attachments(sim, root) == set()
    assert ok(sim, "recoverVirtualMachine", id=vm["id"])["virtualmachine"]["state"] == "Stopped"
    job(sim, "startVirtualMachine", id=vm["id"])
    job(sim, "destroyVirtualMachine", id=vm["id"])
    assert job(sim, "expungeVirtualMachine", id=vm["id"]) == {"success": True}
    assert "count" not in ok(sim, "listVirtualMachines", id=vm["id"]) and plugin.on_storpool(sim, root) is None
    assert plugin.on_storpool(sim, data) is not None


def test_destroyed_instances_are_expunged_by_themselves(cloud: Simulator) -> None:
    vm = plugin.deploy(cloud)
    root = plugin.root(cloud, vm)
    job(cloud, "destroyVirtualMachine", id=vm["id"])
    cloud.advance(2 * DAY + 10)
    assert cloud.vms() == {} and plugin.on_storpool(cloud, root) is None


def test_destroy_with_named_volumes(cloud: Simulator) -> None:
    vm = plugin.deploy(cloud)
    kept, gone = plugin.data_disk(cloud, vm, "kept"), plugin.data_disk(cloud, vm, "gone")
    job(cloud, "destroyVirtualMachine", id=vm["id"], expunge=True, volumeids=[gone["id"]])
    assert [row["name"] for row in ok(cloud, "listVolumes")["volume"]] == [kept["name"]]
    assert plugin.on_storpool(cloud, gone) is None


@pytest.mark.parametrize("version", VERSIONS)
def test_delete_protection_of_instances(clouds: Callable[[str], Simulator], version: str) -> None:
    sim = clouds(version)
    vm = plugin.deploy(sim)
    ok(sim, "updateVirtualMachine", id=vm["id"], deleteprotection=True)
    if version < "4.20":
        job(sim, "destroyVirtualMachine", id=vm["id"])
    else:
        assert "delete protection" in refused(sim, "destroyVirtualMachine", id=vm["id"])["errortext"]


# Hosts


def test_instances_of_a_lost_host_run_elsewhere(cloud: Simulator) -> None:
    """The disks are taken from it by force before."""
    service = ok(cloud, "createServiceOffering", name="ha", cpunumber=1, cpuspeed=500, memory=512, offerha=True)["serviceoffering"]["id"]
    vm = plugin.deploy(cloud, serviceofferingid=service)
    data, root = plugin.data_disk(cloud, vm), plugin.root(cloud, vm)
    lost = client(cloud, vm["hostname"])
    cloud.agent(vm["hostname"], "down")
    cloud.client(lost, "down")
    cloud.reset_calls()
    cloud.advance(200)
    moved = vm_of(cloud)
    assert moved["state"] == "Running" and moved["hostname"] != vm["hostname"]
    now = {(client(cloud, moved["hostname"]), "rw")}
    assert attachments(cloud, root) == now == attachments(cloud, data)
    forced = [call["body"] for call in cloud.calls()["calls"] if call["call"] == "VolumesReassign"]
    assert {"volume": plugin.address(root), "detach": "all", "force": True} in [item for body in forced for item in body]


def test_without_ha_it_is_stopped(cloud: Simulator) -> None:
    vm = plugin.deploy(cloud)
    cloud.agent(vm["hostname"], "down")
    cloud.client(client(cloud, vm["hostname"]), "down")
    cloud.advance(200)
    assert vm_of(cloud)["state"] == "Stopped" and attachments(cloud, plugin.root(cloud, vm)) == set()


def test_maintenance_of_a_host_moves_the_disks(cloud: Simulator) -> None:
    vm = plugin.deploy(cloud)
    job(cloud, "prepareHostForMaintenance", id=vm["hostid"])
    cloud.advance(20)
    moved = vm_of(cloud)
    assert moved["hostid"] != vm["hostid"]
    assert attachments(cloud, plugin.root(cloud, vm)) == {(client(cloud, moved["hostname"]), "rw")}


def test_maintenance_of_a_pool_stops_the_instances(cloud: Simulator) -> None:
    vm = plugin.deploy(cloud)
    job(cloud, "enableStorageMaintenance", id=plugin.pool_id(cloud))
    assert vm_of(cloud)["state"] == "Stopped" and attachments(cloud, plugin.root(cloud, vm)) == set()
    pool = one(cloud, "listStoragePools", "storagepool", id=plugin.pool_id(cloud))
    assert pool["disksizeallocated"] == 8 * MIB
    assert "non-destroyed vols" in refused(cloud, "deleteStoragePool", id=pool["id"])["errortext"]


def test_bare_instances_of_host_ha_go_on(cloud: Simulator) -> None:
    id = cloud.vm("bare", "kvm11")
    (row,) = ok(cloud, "listVirtualMachines", id=id)["virtualmachine"]
    assert (row["hostname"], row["state"]) == ("kvm11", "Running") and "templateid" not in row
    assert ok(cloud, "listVirtualMachines", storageid=plugin.pool_id(cloud))["count"] == 1


def test_a_job_goes_on_after_a_kill(start: Callable[..., Simulator]) -> None:
    sim = start(cloudstack="4.21.0")
    sim.fault("host_held", "StorPoolDownloadTemplate")
    started = ok(sim, "deployVirtualMachine", **wanted(sim))
    for _unused in range(3):
        assert ok(sim, "queryAsyncJobResult", jobid=started["jobid"])["jobstatus"] == 0
    sim.kill()
    sim.restart()
    wait_until(lambda: ok(sim, "queryAsyncJobResult", jobid=started["jobid"])["jobstatus"])
    done = ok(sim, "queryAsyncJobResult", jobid=started["jobid"])
    assert (done["jobstatus"], done["jobresult"]["virtualmachine"]["id"], done["jobinstanceid"]) == (1, started["id"], started["id"])
    assert plugin.on_storpool(sim, plugin.root(sim, started)) is not None
