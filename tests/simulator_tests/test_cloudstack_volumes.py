# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Volumes on both layers: birth at first attach, tags, resize, deletion (plugin sheet 5.1 to 5.4)."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from storpool_simulator.testing import Simulator

from . import plugin_support as plugin
from .cloudstack_support import VERSIONS, call, failed_job, job, named, ok, one, refused
from .support import wait_until

GIB = 1 << 30
DAY = 86400


def custom(sim: Simulator) -> str:
    return named(sim, "listDiskOfferings", "diskoffering", "Custom")


def attach(sim: Simulator, volume: dict[str, Any], vm: dict[str, Any], **more: Any) -> dict[str, Any]:
    return job(sim, "attachVolume", id=volume["id"], virtualmachineid=vm["id"], **more)["volume"]


def clients(sim: Simulator, volume: dict[str, Any]) -> set[int]:
    """Where StorPool has it attached."""
    name = plugin.address(volume)
    rows = sim.get("AttachmentsList")[1]["data"]
    return {row["client"] for row in rows if row["volume"] == name}


def client_of(sim: Simulator, vm: dict[str, Any]) -> int:
    return sim.hosts()[vm["hostname"]]["storpool"]["client"]


def seen(sim: Simulator, vm: str, volume: dict[str, Any]) -> int | None:
    """The size that the VM knows of."""
    return next(disk["seen"] for disk in sim.vms()[vm]["disks"] if disk["id"] == volume["id"])


@pytest.mark.parametrize("version", VERSIONS)
def test_a_data_volume_is_born_at_its_first_attach(clouds: Callable[[str], Simulator], version: str) -> None:
    sim = clouds(version)
    vm = plugin.deploy(sim)
    status, started = sim.cs("createVolume", name="data", zoneid=plugin.zone_id(sim), diskofferingid=custom(sim), size=2)
    # The answer has the id before the job is done
    assert status == 200 and set(started) == {"id", "jobid"}
    made = plugin.data_disk(sim, name="second", gib=2)
    assert (made["state"], made["size"], made["type"]) == ("Allocated", 2 * GIB, "DATADISK")
    assert not {"path", "storageid", "virtualmachineid", "deviceid"} & set(made)
    assert len(sim.get("VolumesList")[1]["data"]) == 1
    attached = attach(sim, made, vm)
    assert (attached["state"], attached["deviceid"], attached["virtualmachineid"]) == ("Ready", 1, vm["id"])
    assert (attached["storageid"], attached["storage"]) == (plugin.pool_id(sim), "storpool-nvme")
    row = plugin.on_storpool(sim, attached)
    assert row is not None and (row["size"], row["templateName"], row["name"]) == (2 * GIB, "nvme", plugin.address(attached))
    assert clients(sim, attached) == {client_of(sim, vm)}
    # The trap of 4.21: the uuid tag is the address
    uuid = made["id"] if version < "4.21" else plugin.address(attached)
    disk = {"disk": "1"} if version >= "4.21" else {}
    assert plugin.tags(sim, attached) == {"uuid": uuid, "cs": "volume", "cvm": vm["id"], **disk}
    assert ("deleteprotection" in attached) is (version >= "4.20")


@pytest.mark.parametrize("version", ["4.20.2", "4.22.0"])
def test_detach_and_attach_again(clouds: Callable[[str], Simulator], version: str) -> None:
    """TestStorPoolVolumes 13, 14, 17; TestTagsOnStorPool 06, 10."""
    sim = clouds(version)
    first, second = plugin.deploy(sim, "first"), plugin.deploy(sim, "second")
    data = plugin.data_disk(sim, first)
    detached = job(sim, "detachVolume", id=data["id"])["volume"]
    assert "virtualmachineid" not in detached and detached["path"] == data["path"]
    assert clients(sim, data) == set() and not {"cvm", "disk"} & set(plugin.tags(sim, data))
    attach(sim, data, second, deviceid=5)
    assert clients(sim, data) == {client_of(sim, second)}
    assert plugin.tags(sim, data)["cvm"] == second["id"] and plugin.tags(sim, data).get("disk") == ("5" if version >= "4.21" else None)
    job(sim, "detachVolume", virtualmachineid=second["id"], deviceid=5)
    plugin.stop(sim, first)
    attach(sim, data, first)
    assert clients(sim, data) == set()
    job(sim, "startVirtualMachine", id=first["id"])
    assert len(clients(sim, data)) == 1


def test_what_cannot_be_attached(cloud: Simulator) -> None:
    vm, other = plugin.deploy(cloud, "one"), plugin.deploy(cloud, "two")
    data = plugin.data_disk(cloud, vm)
    assert "not attached" in refused(cloud, "attachVolume", id=data["id"], virtualmachineid=other["id"])["errortext"]
    loose = plugin.data_disk(cloud, name="loose")
    refused(cloud, "attachVolume", id=loose["id"], virtualmachineid=vm["id"], deviceid=1)
    refused(cloud, "attachVolume", id=loose["id"], virtualmachineid=vm["id"], deviceid=3)
    refused(cloud, "attachVolume", id=plugin.root(cloud, vm)["id"], virtualmachineid=other["id"])
    refused(cloud, "detachVolume", id=loose["id"])
    refused(cloud, "detachVolume", id=plugin.root(cloud, vm)["id"])
    refused(cloud, "detachVolume", id=data["id"], virtualmachineid=vm["id"], deviceid=1)


def test_a_failed_attach_leaves_the_volume_detached(cloud: Simulator) -> None:
    vm, data = plugin.deploy(cloud), plugin.data_disk(cloud)
    cloud.fault("host_fails", "Attach", text="no device", object=data["id"])
    assert "no device" in failed_job(cloud, "attachVolume", id=data["id"], virtualmachineid=vm["id"])["errortext"]
    left = plugin.volume(cloud, data["id"])
    # It is on StorPool from now on
    assert "virtualmachineid" not in left and left["state"] == "Ready" and "cvm" not in plugin.tags(cloud, left)
    cloud.fault("error", "VolumeCreate", name="insufficientResources", descr="full")
    other = plugin.data_disk(cloud, name="other")
    assert "full" in failed_job(cloud, "attachVolume", id=other["id"], virtualmachineid=vm["id"])["errortext"]
    assert plugin.volume(cloud, other["id"])["state"] == "Allocated"


def test_create_for_a_vm_attaches_at_once(cloud: Simulator) -> None:
    vm = plugin.deploy(cloud)
    made = plugin.data_disk(cloud, virtualmachineid=vm["id"])
    assert (made["state"], made["virtualmachineid"]) == ("Ready", vm["id"])


@pytest.mark.parametrize(
    "change",
    [{"diskofferingid": None}, {"zoneid": None}, {"size": None}, {"size": 0}, {"size": 5000}, {"miniops": "x"}, {"projectid": "-1"}],
)
def test_what_cannot_be_created(cloud: Simulator, change: dict[str, Any]) -> None:
    wanted = {"name": "x", "zoneid": plugin.zone_id(cloud), "diskofferingid": custom(cloud), "size": 1, **change}
    assert refused(cloud, "createVolume", **wanted)["errorcode"] == 431


# vc-policy


@pytest.mark.parametrize("version", VERSIONS)
def test_vc_policy_reaches_all_volumes(clouds: Callable[[str], Simulator], version: str) -> None:
    """TestTagsOnStorPool 01, 02, 06, 07, 09."""
    sim = clouds(version)
    vm = plugin.deploy(sim)
    data, root = plugin.data_disk(sim, vm), plugin.root(sim, vm)
    policy = {"tags[0].key": "vc-policy", "tags[0].value": "daily"}
    assert job(sim, "createTags", resourceids=vm["id"], resourcetype="UserVm", **policy) == {"success": True}
    assert [plugin.tags(sim, one)["vc-policy"] for one in (root, data)] == ["daily", "daily"]
    later = plugin.data_disk(sim, vm, "later")
    assert plugin.tags(sim, later)["vc-policy"] == "daily"
    job(sim, "detachVolume", id=later["id"])
    assert "vc-policy" not in plugin.tags(sim, later)
    (tag,) = one(sim, "listVirtualMachines", "virtualmachine", id=vm["id"])["tags"]
    assert (tag["key"], tag["value"], tag["resourcetype"]) == ("vc-policy", "daily", "UserVm")
    assert one(sim, "listTags", "tag", resourceid=vm["id"])["key"] == "vc-policy"
    assert ok(sim, "listVirtualMachines", **policy)["count"] == 1
    failed_job(sim, "createTags", resourceids=vm["id"], resourcetype="UserVm", **policy)
    job(sim, "deleteTags", resourceids=vm["id"], resourcetype="UserVm", **policy)
    assert all("vc-policy" not in plugin.tags(sim, one) for one in (root, data))
    job(sim, "createTags", resourceids=vm["id"], resourcetype="UserVm", **policy)
    job(sim, "destroyVirtualMachine", id=vm["id"])
    assert not {"vc-policy", "cvm", "disk"} & set(plugin.tags(sim, data))


def test_tags_of_volumes(cloud: Simulator) -> None:
    data = plugin.data_disk(cloud)
    job(cloud, "createTags", resourceids=[data["id"]], resourcetype="volume", tags={"color": "red"})
    assert plugin.volume(cloud, data["id"])["tags"][0]["value"] == "red"
    refused(cloud, "createTags", resourceids="nobody", resourcetype="Volume", tags={"a": "b"})
    refused(cloud, "createTags", resourceids=data["id"], resourcetype="Cow", tags={"a": "b"})
    failed_job(cloud, "deleteTags", resourceids=data["id"], resourcetype="Volume", tags={"size": "1"})


# Resize


@pytest.mark.parametrize("version", ["4.19.3", "4.22.0"])
@pytest.mark.parametrize("state", ["running", "stopped", "detached"])
def test_resize_of_data_volumes(clouds: Callable[[str], Simulator], version: str, state: str) -> None:
    """TestStorPoolVolumes 16, 18, 19."""
    sim = clouds(version)
    vm = plugin.deploy(sim)
    data = plugin.data_disk(sim, vm, gib=2)
    if state == "stopped":
        plugin.stop(sim, vm)
    elif state == "detached":
        job(sim, "detachVolume", id=data["id"])
    for size in (4, 1):
        resized = job(sim, "resizeVolume", id=data["id"], size=size, shrinkok=True)["volume"]
        row = plugin.on_storpool(sim, data)
        assert row is not None and (resized["size"], resized["state"], row["size"]) == (size * GIB, "Ready", size * GIB)
        if state == "running":
            assert seen(sim, "web", data) == size * GIB
    assert clients(sim, data) == ({client_of(sim, vm)} if state == "running" else set())


def test_resize_of_a_root_volume(cloud: Simulator) -> None:
    """TestStorPoolVolumes 15; a shrink needs the VM to be stopped."""
    vm = plugin.deploy(cloud)
    root = plugin.root(cloud, vm)
    assert job(cloud, "resizeVolume", id=root["id"], size=2)["volume"]["size"] == 2 * GIB
    assert "Stopped" in failed_job(cloud, "resizeVolume", id=root["id"], size=1, shrinkok=True)["errortext"]
    plugin.stop(cloud, vm)
    assert "shrinkok" in failed_job(cloud, "resizeVolume", id=root["id"], size=1)["errortext"]
    assert job(cloud, "resizeVolume", id=root["id"], size=1, shrinkok=True)["volume"]["size"] == GIB


def test_a_resize_that_the_vm_is_not_told_of_succeeds(cloud: Simulator) -> None:
    vm = plugin.deploy(cloud)
    data = plugin.data_disk(cloud, vm)
    cloud.fault("host_fails", "NotifyResize", text="libvirt is away")
    assert job(cloud, "resizeVolume", id=data["id"], size=3)["volume"]["size"] == 3 * GIB
    assert seen(cloud, "web", data) == GIB
    assert "needs a reboot" in cloud.log()[-1]["text"] and "libvirt is away" in cloud.log()[-1]["text"]
    job(cloud, "rebootVirtualMachine", id=vm["id"])
    assert seen(cloud, "web", data) == 3 * GIB


def test_a_resize_that_the_host_refuses_is_undone(cloud: Simulator) -> None:
    vm = plugin.deploy(cloud)
    data = plugin.data_disk(cloud, vm, diskofferingid=_limited(cloud))
    cloud.fault("host_fails", "StorPoolResizeVolume", text="agent is away")
    error = failed_job(cloud, "resizeVolume", id=data["id"], size=3)
    assert error == {"errorcode": 530, "errortext": f"Could not resize StorPool volume {data['id']}. agent is away"}
    row, left = plugin.on_storpool(cloud, data), plugin.volume(cloud, data["id"])
    assert row is not None and (row["size"], row["iops"], left["size"], left["state"]) == (GIB, 300, GIB, "Ready")
    cloud.fault("error", "VolumeUpdate", name="busy", descr="not now")
    assert "not now" in failed_job(cloud, "resizeVolume", id=data["id"], size=3)["errortext"]


def _limited(sim: Simulator) -> str:
    return ok(sim, "createDiskOffering", name="limited", customized=True, miniops=1, maxiops=300)["diskoffering"]["id"]


def test_resize_of_what_is_not_on_storpool(cloud: Simulator) -> None:
    data = plugin.data_disk(cloud)
    assert job(cloud, "resizeVolume", id=data["id"], size=4)["volume"]["size"] == 4 * GIB
    assert cloud.get("VolumesList")[1]["data"] == []


def test_a_fixed_offering_does_not_let_the_size_change(cloud: Simulator) -> None:
    small = named(cloud, "listDiskOfferings", "diskoffering", "Small")
    made = job(cloud, "createVolume", name="x", zoneid=plugin.zone_id(cloud), diskofferingid=small)["volume"]
    assert "customizable" in failed_job(cloud, "resizeVolume", id=made["id"], size=6)["errortext"]
    medium = named(cloud, "listDiskOfferings", "diskoffering", "Medium")
    changed = job(cloud, "resizeVolume", id=made["id"], diskofferingid=medium)["volume"]
    assert (changed["size"], changed["diskofferingname"]) == (20 * GIB, "Medium")


# End


@pytest.mark.parametrize("version", VERSIONS)
def test_deletion(clouds: Callable[[str], Simulator], version: str) -> None:
    sim = clouds(version)
    vm = plugin.deploy(sim)
    data = plugin.data_disk(sim, vm)
    assert "not attached" in refused(sim, "deleteVolume", id=data["id"])["errortext"]
    job(sim, "detachVolume", id=data["id"])
    assert ok(sim, "deleteVolume", id=data["id"]) == {"success": True}
    assert plugin.on_storpool(sim, data) is None and "count" not in ok(sim, "listVolumes", id=data["id"])
    refused(sim, "deleteVolume", id=data["id"])


@pytest.mark.parametrize("version", VERSIONS)
def test_delete_protection(clouds: Callable[[str], Simulator], version: str) -> None:
    sim = clouds(version)
    data = plugin.data_disk(sim)
    job(sim, "updateVolume", id=data["id"], deleteprotection=True)
    if version < "4.20":
        ok(sim, "deleteVolume", id=data["id"])
        return
    assert "delete protection" in refused(sim, "deleteVolume", id=data["id"])["errortext"]
    assert "delete protection" in refused(sim, "destroyVolume", id=data["id"], expunge=True)["errortext"]
    job(sim, "updateVolume", id=data["id"], deleteprotection=False)
    ok(sim, "deleteVolume", id=data["id"])


def test_destroy_and_recover(cloud: Simulator) -> None:
    vm = plugin.deploy(cloud)
    data = plugin.data_disk(cloud, vm)
    destroyed = job(cloud, "destroyVolume", id=data["id"])["volume"]
    assert (destroyed["state"], destroyed["destroyed"]) == ("Destroy", True)
    assert clients(cloud, data) == set() and plugin.on_storpool(cloud, data)
    assert ok(cloud, "recoverVolume", id=data["id"])["volume"]["state"] == "Ready"
    job(cloud, "destroyVolume", id=data["id"])
    cloud.advance(2 * DAY + 10)
    assert plugin.on_storpool(cloud, data) is None
    other = plugin.data_disk(cloud, name="other")
    job(cloud, "destroyVolume", id=other["id"], expunge=True)
    assert "count" not in ok(cloud, "listVolumes", id=other["id"])


def test_a_volume_that_storpool_cannot_delete_stays(cloud: Simulator) -> None:
    vm = plugin.deploy(cloud)
    data = plugin.data_disk(cloud, vm)
    job(cloud, "detachVolume", id=data["id"])
    cloud.fault("error", "VolumeDelete", name="busy", descr="not now")
    assert "not now" in refused(cloud, "deleteVolume", id=data["id"])["errortext"]
    assert plugin.volume(cloud, data["id"])["path"] == data["path"]
    # One that is gone already is as good as deleted
    cloud.post(f"VolumeDelete/{plugin.address(data)}", {})
    ok(cloud, "deleteVolume", id=data["id"])


# Others


def test_update_points_to_another_volume(cloud: Simulator) -> None:
    """Plugin sheet 5.12: how DR does it."""
    vm = plugin.deploy(cloud)
    data = plugin.data_disk(cloud)
    failed_job(cloud, "updateVolume", id=data["id"], path="/dev/storpool-byid/x")
    attach(cloud, data, vm)
    job(cloud, "detachVolume", id=data["id"])
    other = cloud.post("VolumeCreate", {"name": "", "size": GIB, "template": "nvme"})[1]["data"]["globalId"]
    path = f"/dev/storpool-byid/{other}"
    assert job(cloud, "updateVolume", id=data["id"], path=path, name="restored")["volume"]["path"] == path
    attach(cloud, data, vm)
    assert len(clients(cloud, {"path": path})) == 1


def test_extract(cloud: Simulator) -> None:
    """TestStorPoolVolumes 28."""
    vm = plugin.deploy(cloud)
    root = plugin.root(cloud, vm)
    cloud.write(plugin.address(root), b"mine", 8192)
    refused(cloud, "extractVolume", id=root["id"], zoneid=plugin.zone_id(cloud), mode="HTTP_DOWNLOAD")
    plugin.stop(cloud, vm)
    found = job(cloud, "extractVolume", id=root["id"], zoneid=plugin.zone_id(cloud), mode="HTTP_DOWNLOAD")["volume"]
    assert plugin.raw_digest(Path(found["url"].removeprefix("file://"))) == plugin.digest(cloud, root)
    assert [row["tags"]["cs"] for row in cloud.get("SnapshotsList")[1]["data"] if not row["deleted"]] == ["template"]


def test_a_reset_while_a_host_works(cloud: Simulator) -> None:
    """What it would have cleaned up at the end is no more, and nothing of it comes afterwards."""
    vm = plugin.deploy(cloud)
    plugin.stop(cloud, vm)
    cloud.fault("host_held", "StorPoolCopyVolumeToSecondary")
    begun = ok(cloud, "extractVolume", id=plugin.root(cloud, vm)["id"], zoneid=plugin.zone_id(cloud), mode="HTTP_DOWNLOAD")
    wait_until(lambda: ok(cloud, "queryAsyncJobResult", jobid=begun["jobid"]) and cloud.faults()[0]["hits"])
    cloud.reset()
    assert cloud.faults() == [] and cloud.control("GET", "/cloudstack/work")["under_way"] == []
    assert cloud.get("SnapshotsList")[1]["data"] == cloud.get("VolumesList")[1]["data"] == []


def test_an_uploaded_volume_comes_to_storpool_at_its_first_attach(cloud: Simulator, tmp_path: Path) -> None:
    raw, image = tmp_path / "disk.raw", tmp_path / "disk.qcow2"
    raw.write_bytes(b"uploaded" * 65536)
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(image)], check=True)
    wanted = {"name": "up", "zoneid": plugin.zone_id(cloud), "url": image.as_uri(), "format": "QCOW2"}
    made = job(cloud, "uploadVolume", **wanted)["volume"]
    assert (made["state"], made["size"]) == ("Uploaded", raw.stat().st_size) and "path" not in made
    attached = attach(cloud, made, plugin.deploy(cloud))
    assert attached["state"] == "Ready" and cloud.read(plugin.address(attached), 0, 16) == b"uploaded" * 2
    assert not any(name.startswith("volumes/") for name in cloud.secondary()["files"])
    assert "checksum" in failed_job(cloud, "uploadVolume", **wanted, checksum="0" * 32)["errortext"]
    refused(cloud, "uploadVolume", **{**wanted, "format": "ISO"})
    ok(cloud, "deleteVolume", id=job(cloud, "uploadVolume", **wanted)["volume"]["id"])
    assert not any(name.startswith("volumes/") for name in cloud.secondary()["files"]), "never attached, it takes its file along"


def test_lists(cloud: Simulator) -> None:
    vm = plugin.deploy(cloud)
    for number in range(3):
        plugin.data_disk(cloud, name=f"data-{number}")
    everything = ok(cloud, "listVolumes")
    assert everything["count"] == 4
    page = ok(cloud, "listVolumes", page=2, pagesize=3)
    assert (page["count"], len(page["volume"])) == (4, 1)
    assert ok(cloud, "listVolumes", type="root")["count"] == 1 == ok(cloud, "listVolumes", virtualmachineid=vm["id"])["count"]
    assert ok(cloud, "listVolumes", state="Allocated")["count"] == 3
    assert ok(cloud, "listVolumes", storageid=plugin.pool_id(cloud))["count"] == 1
    assert ok(cloud, "listVolumes", keyword="data-")["count"] == 3 and ok(cloud, "listVolumes", name="DATA-1")["count"] == 1
    user = cloud.control("GET", "/cloudstack/users")["ops"]
    keys = (user["key"], user["secret"])
    assert "count" not in call(cloud, "listVolumes", keys=keys, listall="true").content
    assert call(cloud, "deleteVolume", keys=keys, id=everything["volume"][1]["id"]).content["errorcode"] == 531
    foreign = plugin.data_disk(cloud, name="theirs", account="ops", domainid=named(cloud, "listDomains", "domain", "ops"))
    assert ok(cloud, "listVolumes")["count"] == 4 and ok(cloud, "listVolumes", listall=True)["count"] == 5
    (seen_by_them,) = call(cloud, "listVolumes", keys=keys, listall="true").content["volume"]
    # Where it lies is for root admins alone
    assert seen_by_them["id"] == foreign["id"] and not {"path", "storageid", "storage"} & set(seen_by_them)


@pytest.mark.parametrize("kind", ["job_fails", "job_lost"])
def test_faults_of_jobs(cloud: Simulator, kind: str) -> None:
    vm = plugin.deploy(cloud)
    data = plugin.data_disk(cloud)
    cloud.fault(kind, "attachVolume")
    started = ok(cloud, "attachVolume", id=data["id"], virtualmachineid=vm["id"])
    if kind == "job_fails":
        ok(cloud, "queryAsyncJobResult", jobid=started["jobid"])
        assert ok(cloud, "queryAsyncJobResult", jobid=started["jobid"])["jobstatus"] == 2
        assert plugin.volume(cloud, data["id"])["state"] == "Allocated"
        return
    refused(cloud, "queryAsyncJobResult", jobid=started["jobid"])
    cloud.advance(5)
    cloud.settle()
    assert plugin.volume(cloud, data["id"])["virtualmachineid"] == vm["id"]


def test_what_was_acknowledged_outlives_a_kill(start: Callable[..., Simulator]) -> None:
    sim = start(cloudstack="4.22.0")
    vm = plugin.deploy(sim)
    data = plugin.data_disk(sim, vm)
    before = {table: sim.db()[table] for table in ("volumes", "vms", "templates", "template_spool_ref", "disk_offerings")}
    files = sim.secondary()["files"]
    sim.kill()
    sim.restart()
    assert {table: sim.db()[table] for table in before} == before and sim.secondary()["files"] == files
    job(sim, "resizeVolume", id=data["id"], size=2)
    row = plugin.on_storpool(sim, data)
    assert row is not None and row["size"] == 2 * GIB


def test_reset_clears_everything(start: Callable[..., Simulator]) -> None:
    sim = start(cloudstack="4.20.2")
    plugin.deploy(sim)
    sim.reset()
    assert sim.secondary()["files"] == {} and "count" not in ok(sim, "listVolumes") and sim.log() == []
    assert len(ok(sim, "listTemplates", templatefilter="all")["template"]) == 3
    plugin.deploy(sim)
