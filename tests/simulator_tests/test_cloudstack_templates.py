# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Templates, ISOs and the template cache on StorPool (plugin sheet 4)."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from storpool_simulator.cloudstack import secondary
from storpool_simulator.testing import Simulator

from . import plugin_support as plugin
from .cloudstack_support import VERSIONS, failed_job, job, ok, one, refused
from .support import wait_until

MIB = 1 << 20
DAY = 86400
MULTI = "/ctrl/1.0/MultiCluster/"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A qcow2 image of 3 MiB with known content."""
    raw, made = tmp_path / "disk.raw", tmp_path / "disk.qcow2"
    raw.write_bytes(b"storpool" * (MIB // 8) + bytes(2 * MIB))
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(made)], check=True)
    return made


def raw_of(image: Path) -> bytes:
    return image.with_suffix(".raw").read_bytes()


def prepare(sim: Simulator, template: str | None = None, **more: Any) -> str:
    """Prepared and settled; the template's id."""
    id = template or plugin.template_id(sim)
    ok(sim, "prepareTemplate", templateid=id, zoneid=plugin.zone_id(sim), **more)
    sim.settle()
    return id


def is_cached(sim: Simulator, template: str, pool: str | None = None) -> bool:
    return "count" in ok(sim, "listTemplates", templatefilter="all", id=template, storageid=pool or plugin.pool_id(sim))


def ref(sim: Simulator) -> dict[str, Any]:
    (row,) = sim.db()["template_spool_ref"]
    return row


def calls(sim: Simulator) -> list[tuple[str, str]]:
    """What was asked of StorPool: method, path without the base."""
    return [(call["method"], call["path"].removeprefix(MULTI)) for call in sim.calls()["calls"] if call["cluster"] != "cloudstack"]


def os_type(sim: Simulator) -> str:
    return one(sim, "listOsTypes", "ostype", description="Rocky Linux 9")["id"]


def add_pool(sim: Simulator, template: str = "hdd", name: str = "slow") -> str:
    address = sim.url.removeprefix("http://")
    pool = ok(
        sim,
        "createStoragePool",
        name=name,
        zoneid=plugin.zone_id(sim),
        provider="StorPool",
        scope="zone",
        hypervisor="KVM",
        capacitybytes=1 << 40,
        url=f"SP_API_HTTP={address};SP_AUTH_TOKEN={sim.token};SP_TEMPLATE={template}",
    )
    return pool["storagepool"]["id"]


def register(sim: Simulator, path: Path, **more: Any) -> dict[str, Any]:
    wanted = {"name": "mine", "url": path.as_uri(), "format": "QCOW2", "hypervisor": "KVM", "zoneid": plugin.zone_id(sim), **more}
    (template,) = ok(sim, "registerTemplate", **wanted)["template"]
    sim.settle()
    return ok(sim, "listTemplates", templatefilter="self", id=template["id"])["template"][0]


# The cache


@pytest.mark.parametrize("version", VERSIONS)
def test_prepare_makes_the_cache(clouds: Callable[[str], Simulator], version: str) -> None:
    sim = clouds(version)
    id = plugin.template_id(sim)
    assert not is_cached(sim, id)
    sim.reset_calls()
    answer = ok(sim, "prepareTemplate", templateid=id, zoneid=plugin.zone_id(sim))
    assert [one["id"] for one in answer["template"]] == [id]
    sim.settle()
    assert is_cached(sim, id)
    (snapshot,) = plugin.tagged(sim, id)
    frozen = version < "4.20.1"
    assert snapshot["tags"] == {"uuid": id, "cs": "template", **({"vc-policy": "no"} if frozen else {})}
    assert (snapshot["size"], snapshot["templateName"], snapshot["name"]) == (8 * MIB, "nvme", "~" + snapshot["globalId"])
    assert sim.get("VolumesList")[1]["data"] == []
    row = ref(sim)
    path = f"/dev/storpool-byid/{snapshot['globalId']}"
    assert (row["local_path"], row["install_path"], row["size"]) == (path, path, 8 * MIB)
    assert (row["state"], row["download_state"], row["marked"]) == ("Ready", "DOWNLOADED", False)
    made = [path.partition("/")[0] for method, path in calls(sim) if method == "POST"]
    assert made == [
        "VolumeCreate",
        *(["VolumeUpdate"] if version < "4.21" else []),
        *["VolumesReassignWait"] * 2,
        *(["VolumeFreeze"] if frozen else ["VolumeSnapshot", "VolumeDelete"]),
    ]
    created = next(one for one in sim.calls()["calls"] if one["call"] == "VolumeCreate")["body"]
    assert created == {"name": "", "size": 8 * MIB, "template": "nvme", "tags": {"uuid": id, "cs": "template", "vc-policy": "no"}}


def test_the_cache_has_the_bytes_of_the_image(cloud: Simulator) -> None:
    id = prepare(cloud)
    (file,) = plugin.stored(cloud).values()
    (snapshot,) = plugin.tagged(cloud, id)
    assert plugin.digest(cloud, snapshot["globalId"]) == plugin.raw_digest(file)
    assert cloud.counters()["bytes_converted"] > 0


@pytest.mark.parametrize("version", ["4.19.3", "4.22.0"])
def test_first_use_makes_the_cache_and_clones_copy_nothing(clouds: Callable[[str], Simulator], version: str) -> None:
    sim = clouds(version)
    first = plugin.root(sim, plugin.deploy(sim, "one"))
    id = plugin.template_id(sim)
    assert is_cached(sim, id)
    before = sim.counters()
    second = plugin.root(sim, plugin.deploy(sim, "two"))
    after = sim.counters()
    assert {key: after[key] - before[key] for key in before} == {"bytes_copied": 0, "bytes_converted": 0, "bytes_stored": 0, "files": 0}
    (snapshot,) = plugin.tagged(sim, id)
    parents = {plugin.on_storpool(sim, one)["parentName"] for one in (first, second)}
    assert parents == {snapshot["name"]}
    assert plugin.digest(sim, first) == plugin.digest(sim, second) == plugin.digest(sim, snapshot["globalId"])


def test_prepare_for_one_pool_and_for_all(cloud: Simulator) -> None:
    slow = add_pool(cloud)
    id = prepare(cloud, storageid=slow)
    assert (is_cached(cloud, id), is_cached(cloud, id, slow)) == (False, True)
    prepare(cloud)
    assert is_cached(cloud, id)
    assert {one["templateName"] for one in plugin.tagged(cloud, id)} == {"hdd", "nvme"}


def test_prepare_again_copies_nothing(cloud: Simulator) -> None:
    id = prepare(cloud)
    cloud.reset_calls()
    prepare(cloud, id)
    assert calls(cloud) == []


def test_prepare_skips_pools_that_are_not_up(cloud: Simulator) -> None:
    slow = add_pool(cloud)
    job(cloud, "enableStorageMaintenance", id=slow)
    id = prepare(cloud)
    assert (is_cached(cloud, id), is_cached(cloud, id, slow)) == (True, False)
    assert [line["level"] for line in cloud.log()] == ["INFO"]


def test_prepare_leaves_pools_on_nfs_alone(cloud: Simulator) -> None:
    nfs = {"name": "nfs1", "zoneid": plugin.zone_id(cloud), "scope": "zone", "hypervisor": "KVM", "url": "nfs://192.0.2.7/export/nfs1"}
    pool = ok(cloud, "createStoragePool", **nfs)["storagepool"]["id"]
    id = prepare(cloud)
    assert (is_cached(cloud, id), is_cached(cloud, id, pool)) == (True, False)
    assert [line["level"] for line in cloud.log()] == ["INFO"]


def test_prepare_refuses_what_is_not_ready(cloud: Simulator) -> None:
    cloud.background(False)
    (template,) = ok(
        cloud, "registerTemplate", name="new", url="file:///nowhere", format="QCOW2", hypervisor="KVM", zoneid=plugin.zone_id(cloud)
    )["template"]
    assert refused(cloud, "prepareTemplate", templateid=template["id"], zoneid=plugin.zone_id(cloud))["errorcode"] == 431
    refused(cloud, "prepareTemplate", templateid="00000000-0000-0000-0000-000000000000", zoneid=plugin.zone_id(cloud))


@pytest.mark.parametrize("version", ["4.19.3", "4.21.0"])
def test_a_failed_preparation_is_only_logged(clouds: Callable[[str], Simulator], version: str) -> None:
    sim = clouds(version)
    sim.fault("host_fails", "StorPoolDownloadTemplate", text="no space left", object="debian-12")
    id = prepare(sim)
    assert "no space left" in sim.log()[-1]["text"] and sim.log()[-1]["level"] == "WARN"
    # The row is there all the same (plugin sheet 4.3), and so is the volume (4.6)
    assert is_cached(sim, id)
    assert (ref(sim)["state"], ref(sim)["download_state"]) == ("Failed", "DOWNLOAD_ERROR")
    (left,) = plugin.tagged(sim, id, "VolumesList")
    assert left["tags"]["cs"] == "template" and plugin.tagged(sim, id) == []
    prepare(sim, id)
    assert len(plugin.tagged(sim, id)) == 1 and ref(sim)["state"] == "Ready"


def test_a_failure_of_storpool_is_logged_too(cloud: Simulator) -> None:
    cloud.fault("error", "VolumeSnapshot", name="insufficientResources", descr="no room")
    prepare(cloud)
    assert "no room" in cloud.log()[-1]["text"]


def test_a_slow_preparation_keeps_nobody_waiting(cloud: Simulator) -> None:
    held = cloud.fault("host_held", "StorPoolDownloadTemplate")
    id = plugin.template_id(cloud)
    ok(cloud, "prepareTemplate", templateid=id, zoneid=plugin.zone_id(cloud))
    wait_until(lambda: cloud.faults()[0]["hits"])
    assert is_cached(cloud, id) and ref(cloud)["download_state"] == "DOWNLOAD_IN_PROGRESS"
    assert plugin.tagged(cloud, id) == []
    cloud.lift(held)
    cloud.settle()
    assert ref(cloud)["download_state"] == "DOWNLOADED"


def test_a_preparation_that_takes_too_long_fails(cloud: Simulator) -> None:
    """primary.storage.download.wait (plugin sheet 4.2)."""
    plugin.configure(cloud, "primary.storage.download.wait", "1")
    cloud.fault("host_slow", "StorPoolDownloadTemplate", seconds=600)
    prepare(cloud)
    assert ref(cloud)["download_state"] == "DOWNLOAD_ERROR" and "no answer within 1 s" in cloud.log()[-1]["text"]


def test_a_preparation_that_is_held_goes_on_when_it_is_let_go(cloud: Simulator) -> None:
    held = cloud.fault("host_held", "StorPoolDownloadTemplate")
    id = plugin.template_id(cloud)
    ok(cloud, "prepareTemplate", templateid=id, zoneid=plugin.zone_id(cloud))
    wait_until(lambda: cloud.faults()[0]["hits"])
    cloud.advance(3600)
    assert ref(cloud)["download_state"] == "DOWNLOAD_IN_PROGRESS" and plugin.tagged(cloud, id) == []
    cloud.lift(held)
    cloud.settle()
    assert ref(cloud)["download_state"] == "DOWNLOADED" and plugin.tagged(cloud, id)


def test_who_is_held_longer_than_the_server_waits_has_failed(cloud: Simulator) -> None:
    plugin.configure(cloud, "primary.storage.download.wait", "1")
    cloud.fault("host_held", "StorPoolDownloadTemplate")
    prepare(cloud)
    assert ref(cloud)["download_state"] == "DOWNLOAD_ERROR" and "no answer within 1 s" in cloud.log()[-1]["text"]


def test_two_at_once_make_one_cache(cloud: Simulator) -> None:
    held = cloud.fault("host_held", "StorPoolDownloadTemplate")
    id, zone = plugin.template_id(cloud), plugin.zone_id(cloud)
    wanted = {"zoneid": zone, "serviceofferingid": plugin.service_id(cloud), "templateid": id}
    started = [ok(cloud, "deployVirtualMachine", name=name, **wanted)["jobid"] for name in ("one", "two")]
    wait_until(lambda: len(cloud.control("GET", "/cloudstack/work")["under_way"]) == 2)
    cloud.lift(held)

    def done() -> bool:
        found = [ok(cloud, "queryAsyncJobResult", jobid=one)["jobstatus"] for one in started]
        assert 2 not in found
        return found == [1, 1]

    wait_until(done)
    assert len(plugin.tagged(cloud, id)) == 1


def test_the_preloader_has_so_many_threads(clouds: Callable[[str], Simulator]) -> None:
    sim = clouds("4.21.0")
    plugin.configure(sim, "template.preloader.pool.size", "1")
    sim.fault("host_held", "StorPoolDownloadTemplate", count=-1)
    for name in ("debian-12", "rocky-9"):
        ok(sim, "prepareTemplate", templateid=plugin.template_id(sim, name), zoneid=plugin.zone_id(sim))
    wait_until(lambda: sim.faults()[0]["hits"])
    work = sim.control("GET", "/cloudstack/work")
    assert (len(work["under_way"]), len(work["preloads"])) == (1, 2)
    sim.clear_faults()
    sim.settle()
    assert len(sim.db()["template_spool_ref"]) == 2


def test_a_restart_of_the_server_loses_the_queue(cloud: Simulator) -> None:
    cloud.fault("host_held", "StorPoolDownloadTemplate")
    ok(cloud, "prepareTemplate", templateid=plugin.template_id(cloud), zoneid=plugin.zone_id(cloud))
    wait_until(lambda: cloud.faults()[0]["hits"])
    cloud.restart_server(lose_jobs=True)
    cloud.clear_faults()
    cloud.settle()
    assert cloud.control("GET", "/cloudstack/work") == {"under_way": [], "preloads": []}
    assert ref(cloud)["state"] == "Creating"


# Collection


@pytest.mark.parametrize("version", ["4.19.3", "4.22.0"])
def test_collection_takes_two_rounds(clouds: Callable[[str], Simulator], version: str) -> None:
    sim = clouds(version)
    id = prepare(sim)
    sim.advance(DAY + 10)
    assert ref(sim)["marked"] and len(plugin.tagged(sim, id)) == 1
    sim.advance(DAY)
    assert not is_cached(sim, id) and plugin.tagged(sim, id) == []
    assert "Evicted" in sim.log()[-1]["text"]


def test_preparing_again_saves_a_marked_cache(cloud: Simulator) -> None:
    id = prepare(cloud)
    cloud.advance(DAY + 10)
    prepare(cloud, id)
    assert not ref(cloud)["marked"]
    cloud.advance(DAY)
    assert ref(cloud)["marked"] and len(plugin.tagged(cloud, id)) == 1


def test_a_volume_keeps_the_cache(cloud: Simulator) -> None:
    vm = plugin.deploy(cloud)
    id = plugin.template_id(cloud)
    cloud.advance(3 * DAY)
    assert not ref(cloud)["marked"]
    job(cloud, "destroyVirtualMachine", id=vm["id"], expunge=True)
    cloud.advance(2 * DAY)
    cloud.settle()
    assert not is_cached(cloud, id) and plugin.tagged(cloud, id) == []


@pytest.mark.parametrize("name", ["storage.cleanup.enabled", "storage.template.cleanup.enabled"])
def test_the_switches_of_collection_need_a_restart(cloud: Simulator, name: str) -> None:
    id = prepare(cloud)
    ok(cloud, "updateConfiguration", name=name, value="false")
    cloud.advance(DAY + 10)
    assert ref(cloud)["marked"]
    cloud.restart_server()
    cloud.advance(2 * DAY)
    assert len(plugin.tagged(cloud, id)) == 1


def test_the_interval_of_collection(cloud: Simulator) -> None:
    plugin.configure(cloud, "storage.cleanup.interval", "60")
    id = prepare(cloud)
    cloud.advance(150)
    assert not is_cached(cloud, id)


def test_what_cannot_be_evicted_is_tried_again(cloud: Simulator) -> None:
    id = prepare(cloud)
    cloud.fault("host_fails", "DestroyTemplate", text="not now", object=id)
    cloud.advance(2 * DAY + 10)
    assert is_cached(cloud, id) and "not now" in cloud.log()[-1]["text"]
    cloud.advance(DAY)
    assert not is_cached(cloud, id)


def test_a_deleted_template_leaves_its_cache_to_the_collection(cloud: Simulator) -> None:
    id = prepare(cloud)
    job(cloud, "deleteTemplate", id=id)
    assert "count" not in ok(cloud, "listTemplates", templatefilter="all", id=id)
    assert len(plugin.tagged(cloud, id)) == 1 and plugin.stored(cloud) == {}
    cloud.advance(2 * DAY + 10)
    assert plugin.tagged(cloud, id) == []


def test_a_cache_deleted_by_hand_breaks_the_next_deploy(cloud: Simulator) -> None:
    """Plugin sheet 4.6: the row stays, and nothing heals it."""
    id = prepare(cloud)
    (snapshot,) = plugin.tagged(cloud, id)
    assert cloud.post(f"SnapshotDelete/~{snapshot['globalId']}", {})[0] == 200
    assert is_cached(cloud, id)
    wanted = {"zoneid": plugin.zone_id(cloud), "serviceofferingid": plugin.service_id(cloud), "templateid": id}
    assert "objectDoesNotExist" in failed_job(cloud, "deployVirtualMachine", name="one", **wanted)["errortext"]
    assert ok(cloud, "listVirtualMachines", name="one")["virtualmachine"][0]["state"] == "Error"


def test_abandoned_objects_are_reported(cloud: Simulator) -> None:
    id = prepare(cloud)
    cloud.post("VolumeCreate", {"name": "", "size": MIB, "template": "nvme", "tags": {"cs": "volume", "uuid": "x"}})
    cloud.post("VolumeCreate", {"name": "plain", "size": MIB, "template": "nvme"})
    vm = plugin.deploy(cloud, templateid=id)
    cloud.advance(DAY + 10)
    lines = [line["text"] for line in cloud.log() if line["source"] == "StorPoolAbandonObjectsCollector"]
    assert len(lines) == 1 and "cs=volume" in lines[0]
    # It only reports
    assert plugin.on_storpool(cloud, plugin.root(cloud, vm)) and len(cloud.get("VolumesList")[1]["data"]) == 3


# Registration


@pytest.mark.parametrize("version", VERSIONS)
def test_a_registered_template_is_downloaded_and_used(clouds: Callable[[str], Simulator], version: str, image: Path) -> None:
    sim = clouds(version)
    digest = hashlib.sha256(image.read_bytes()).hexdigest()
    template = register(sim, image, checksum=f"{{SHA-256}}{digest}")
    assert (template["isready"], template["status"], template["size"]) == (True, "Download Complete", 3 * MIB)
    assert (template["format"], template["templatetype"], template["physicalsize"]) == ("QCOW2", "USER", image.stat().st_size)
    prepare(sim, template["id"])
    (snapshot,) = plugin.tagged(sim, template["id"])
    assert snapshot["size"] == 3 * MIB
    assert sim.read("~" + snapshot["globalId"], 0, 3 * MIB) == raw_of(image)


def test_a_raw_template(cloud: Simulator, image: Path) -> None:
    template = register(cloud, image.with_suffix(".raw"), format="RAW")
    prepare(cloud, template["id"])
    (snapshot,) = plugin.tagged(cloud, template["id"])
    assert cloud.read("~" + snapshot["globalId"], 0, MIB) == raw_of(image)[:MIB]


@pytest.mark.parametrize(
    "change, text",
    [
        ({"checksum": "0" * 64}, "checksum"),
        ({"format": "VMDK"}, "mismatch"),
        ({"url": "file:///nowhere/at/all"}, "Failed to download"),
    ],
)
def test_a_download_that_fails_is_told_by_the_status(cloud: Simulator, image: Path, change: dict[str, str], text: str) -> None:
    template = register(cloud, image, **change)
    assert not template["isready"] and text in template["status"]
    assert plugin.stored(cloud) == {}


def test_an_image_with_a_backing_file_is_refused(cloud: Simulator, image: Path, tmp_path: Path) -> None:
    child = tmp_path / "child.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", str(image), str(child)], check=True)
    assert "another file" in register(cloud, child)["status"]


@pytest.mark.parametrize(
    "change",
    [{"url": "gopher://a/b"}, {"format": "ISO"}, {"format": "TAPE"}, {"hypervisor": "VMware"}, {"zoneid": None}],
)
def test_what_cannot_be_registered(cloud: Simulator, change: dict[str, Any]) -> None:
    wanted = {"name": "x", "url": "file:///x", "format": "QCOW2", "hypervisor": "KVM", "zoneid": plugin.zone_id(cloud), **change}
    refused(cloud, "registerTemplate", **wanted)


@pytest.mark.parametrize("version", VERSIONS)
def test_direct_download(clouds: Callable[[str], Simulator], version: str, image: Path) -> None:
    """From 4.21 on a host fetches the image; its cache has no uuid tag (plugin sheet 4.1)."""
    sim = clouds(version)
    template = register(sim, image, directdownload=True)
    assert (template["isready"], template["directdownload"], template["status"]) == (True, True, "Bypassed")
    assert plugin.stored(sim) == {}
    prepare(sim, template["id"])
    if version < "4.21":
        assert ref(sim)["state"] == "Failed" and "not supported" in sim.log()[-1]["text"]
        return
    assert plugin.tagged(sim, template["id"]) == [] and plugin.stored(sim) == {}
    (snapshot,) = sim.get("SnapshotsList")[1]["data"]
    assert snapshot["tags"] == {"cs": "template"} and ref(sim)["local_path"].endswith(snapshot["globalId"])
    assert sim.read("~" + snapshot["globalId"], 0, MIB) == raw_of(image)[:MIB]
    assert plugin.root(sim, plugin.deploy(sim, templateid=template["id"]))["size"] == 3 * MIB


@pytest.mark.parametrize("suffix", ["gz", "bz2", "zip"])
def test_packed_images_are_unpacked(clouds: Callable[[str], Simulator], image: Path, suffix: str) -> None:
    """By hosts (plugin sheet 4.1), and on the way to secondary storage too; the checksum is that of what is fetched."""
    sim = clouds("4.22.0")
    packed = image.with_name(f"{image.name}.{suffix}")
    if suffix == "zip":
        with zipfile.ZipFile(packed, "w") as archive:
            archive.write(image, image.name)
    else:
        packed.write_bytes({"gz": gzip.compress, "bz2": bz2.compress}[suffix](image.read_bytes()))
    wanted = {"checksum": hashlib.sha256(packed.read_bytes()).hexdigest()}
    assert register(sim, packed, name="stored", **wanted)["size"] == 3 * MIB
    prepare(sim, register(sim, packed, directdownload=True, **wanted)["id"])
    (snapshot,) = sim.get("SnapshotsList")[1]["data"]
    assert sim.read("~" + snapshot["globalId"], 0, 3 * MIB) == raw_of(image)
    packed.write_bytes(b"no archive")
    assert "Failed to unpack" in register(sim, packed, name="broken")["status"]


def test_isos(cloud: Simulator, tmp_path: Path) -> None:
    file = tmp_path / "cd.iso"
    file.write_bytes(b"cd" * 1024)
    (iso,) = ok(cloud, "registerIso", name="cd", displaytext="CD", url=file.as_uri(), zoneid=plugin.zone_id(cloud))["iso"]
    assert not iso["isready"]
    cloud.settle()
    (listed,) = ok(cloud, "listIsos", name="cd")["iso"]
    assert (listed["isready"], listed["size"], listed["format"], listed["bootable"]) == (True, 2048, "ISO", True)
    job(cloud, "deleteIso", id=iso["id"])
    assert "count" not in ok(cloud, "listIsos", name="cd") and plugin.stored(cloud) == {}


# Lists


def test_filters_of_templates(cloud: Simulator) -> None:
    everything = ok(cloud, "listTemplates", templatefilter="all")
    assert [one["name"] for one in everything["template"]] == ["debian-12", "rocky-9", "small-raw"]
    assert ok(cloud, "listTemplates", templatefilter="featured")["count"] == 3
    assert "count" not in ok(cloud, "listTemplates", templatefilter="community")
    assert refused(cloud, "listTemplates", templatefilter="mine")["errorcode"] == 431
    assert refused(cloud, "listTemplates")["errorcode"] == 431
    page = ok(cloud, "listTemplates", templatefilter="all", page=2, pagesize=2)
    assert (page["count"], len(page["template"])) == (3, 1)
    ids = [one["id"] for one in everything["template"][:2]]
    assert ok(cloud, "listTemplates", templatefilter="all", ids=ids)["count"] == 2
    assert one(cloud, "listOsTypes", "ostype", id=os_type(cloud))["description"] == "Rocky Linux 9"


@pytest.mark.parametrize("version", VERSIONS)
def test_details_of_downloads_tell_nothing_of_pools(clouds: Callable[[str], Simulator], version: str) -> None:
    """Plugin sheet 4.3."""
    sim = clouds(version)
    id = prepare(sim)
    (template,) = ok(sim, "listTemplates", templatefilter="all", id=id)["template"]
    assert [one["datastoreRole"] for one in template["downloaddetails"]] == ["Image"]
    assert ("arch" in template) is (version >= "4.20")


# Made from volumes


@pytest.mark.parametrize("version", VERSIONS)
def test_a_template_from_a_volume_has_a_base_on_storpool(clouds: Callable[[str], Simulator], version: str) -> None:
    sim = clouds(version)
    vm = plugin.deploy(sim)
    root = plugin.root(sim, vm)
    sim.write(plugin.address(root), b"changed", 4096)
    plugin.stop(sim, vm)
    system = os_type(sim)
    template = job(sim, "createTemplate", name="golden", volumeid=root["id"], ostypeid=system)["template"]
    assert (template["isready"], template["size"]) == (True, 8 * MIB)
    (base,) = plugin.tagged(sim, template["id"])
    assert base["tags"] == {"uuid": template["id"], "cs": "template"}
    before = sim.counters()["bytes_converted"]
    prepare(sim, template["id"])
    # The cache is a child of the base, and no byte was copied
    cache = next(one for one in plugin.tagged(sim, template["id"]) if one["globalId"] != base["globalId"])
    assert cache["parentName"] == base["name"] and sim.counters()["bytes_converted"] == before
    assert sim.read("~" + cache["globalId"], 4096, 7) == b"changed"
    # Deletion leaves base and cache; the base stays for ever, and keeps the pool (plugin sheet 4.6)
    job(sim, "deleteTemplate", id=template["id"])
    sim.advance(2 * DAY + 10)
    assert [one["globalId"] for one in plugin.tagged(sim, template["id"])] == [base["globalId"]]
    job(sim, "destroyVirtualMachine", id=vm["id"], expunge=True)
    job(sim, "enableStorageMaintenance", id=plugin.pool_id(sim))
    assert "template snapshots" in refused(sim, "deleteStoragePool", id=plugin.pool_id(sim))["errortext"]


def test_a_template_of_a_running_vm_is_refused(cloud: Simulator) -> None:
    root = plugin.root(cloud, plugin.deploy(cloud))
    system = os_type(cloud)
    refused(cloud, "createTemplate", name="golden", volumeid=root["id"], ostypeid=system)
    refused(cloud, "createTemplate", name="golden", ostypeid=system)
    assert ok(cloud, "listTemplates", templatefilter="all")["count"] == 3


def test_a_template_in_use_is_deleted_by_force_alone(cloud: Simulator) -> None:
    plugin.deploy(cloud, "one")
    assert "one" in failed_job(cloud, "deleteTemplate", id=plugin.template_id(cloud))["errortext"]
    job(cloud, "deleteTemplate", id=plugin.template_id(cloud), forced=True)


def test_extract_tells_where_the_file_is(cloud: Simulator, image: Path) -> None:
    template = register(cloud, image, isextractable=True)
    found = job(cloud, "extractTemplate", id=template["id"], mode="HTTP_DOWNLOAD", zoneid=plugin.zone_id(cloud))["template"]
    assert Path(found["url"].removeprefix("file://")).read_bytes() == image.read_bytes()


# Durability


def test_who_writes_while_a_reset_clears_the_store_writes_to_nowhere(tmp_path: Path) -> None:
    store = tmp_path / "secondary" / "nfs"
    store.mkdir(parents=True)
    with open(store / "half", "w") as file:
        secondary.discard(store.parent)
        file.write("more")
        with pytest.raises(FileNotFoundError):
            (store / "new").write_text("late")
    assert list(tmp_path.iterdir()) == []
    secondary.discard(store.parent)


def test_kill_in_the_midst_of_a_preparation(start: Callable[..., Simulator]) -> None:
    sim = start(cloudstack="4.21.0")
    sim.fault("host_held", "StorPoolDownloadTemplate")
    id = plugin.template_id(sim)
    ok(sim, "prepareTemplate", templateid=id, zoneid=plugin.zone_id(sim))
    wait_until(lambda: sim.faults()[0]["hits"])
    sim.kill()
    sim.restart()
    sim.settle()
    assert ref(sim)["state"] == "Ready" and len(plugin.tagged(sim, id)) == 1
    # The volume of the interrupted attempt stays behind
    assert len(plugin.tagged(sim, id, "VolumesList")) == 1
