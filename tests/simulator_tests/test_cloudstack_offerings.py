# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Offerings, and what their IOPS and StorPool details come to on StorPool in each release (plugin sheet 0.3, 5.7)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from storpool_simulator.testing import Simulator

from . import plugin_support as plugin
from .cloudstack_support import VERSIONS, failed_job, job, named, ok, one, refused

GIB = 1 << 30
SMALL = {"cpunumber": 1, "cpuspeed": 500, "memory": 512}


def disk_offering(sim: Simulator, name: str = "d", **more: Any) -> str:
    return ok(sim, "createDiskOffering", **{"name": name, "customized": True, **more})["diskoffering"]["id"]


def service_offering(sim: Simulator, name: str = "s", **more: Any) -> str:
    return ok(sim, "createServiceOffering", **{"name": name, **SMALL, **more})["serviceoffering"]["id"]


def details_of(sim: Simulator, kind: str, id: str) -> dict[str, str]:
    rows = ok(sim, "listResourceDetails", resourcetype=kind, resourceid=id).get("resourcedetail", [])
    return {row["key"]: row["value"] for row in rows}


def limit(row: dict[str, Any] | None) -> int | None:
    """The IOPS limit on StorPool, None for none."""
    assert row is not None
    return None if row["iops"] in ("-", 0) else row["iops"]


# The records


def test_what_is_there_from_the_start(cloud: Simulator) -> None:
    disks = ok(cloud, "listDiskOfferings")["diskoffering"]
    assert [(row["name"], row["disksize"], row["iscustomized"]) for row in disks] == [
        ("Small", 5, False),
        ("Medium", 20, False),
        ("Large", 100, False),
        ("Custom", 0, True),
    ]
    services = ok(cloud, "listServiceOfferings")["serviceoffering"]
    assert [(row["name"], row["cpunumber"], row["memory"]) for row in services] == [
        ("Small Instance", 1, 512),
        ("Medium Instance", 1, 1024),
    ]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_disk_offering_with_everything(clouds: Callable[[str], Simulator], version: str) -> None:
    sim = clouds(version)
    made = ok(
        sim,
        "createDiskOffering",
        name="gold",
        displaytext="Gold disks",
        disksize=2,
        miniops=100,
        maxiops=500,
        tags="storpool-nvme",
        encrypt=True,
        bytesreadrate=10,
        details={"SP_QOSCLASS": "gold"},
    )["diskoffering"]
    wanted = {
        "name": "gold",
        "displaytext": "Gold disks",
        "disksize": 2,
        "miniops": 100,
        "maxiops": 500,
        "tags": "storpool-nvme",
        "encrypt": True,
        "iscustomized": False,
        "iscustomizediops": False,
        "diskBytesReadRate": 10,
        "details": {"SP_QOSCLASS": "gold"},
        "provisioningtype": "thin",
        "storagetype": "shared",
    }
    assert {key: made[key] for key in wanted} == wanted
    assert ("state" in made) is (version >= "4.19.3")
    assert one(sim, "listDiskOfferings", "diskoffering", name="GOLD") == made
    assert details_of(sim, "DiskOffering", made["id"]) == {"SP_QOSCLASS": "gold"}


@pytest.mark.parametrize(
    "change",
    [
        {"disksize": 5},
        {"customized": False},
        {"customized": False, "disksize": -1},
        {"miniops": 10},
        {"maxiops": 10},
        {"miniops": 20, "maxiops": 10},
        {"customizediops": True, "miniops": 1, "maxiops": 2},
        {"storagetype": "tape"},
        {"provisioningtype": "very"},
    ],
)
def test_disk_offerings_that_are_refused(cloud: Simulator, change: dict[str, Any]) -> None:
    assert refused(cloud, "createDiskOffering", **{"name": "x", "customized": True, **change})["errorcode"] == 431


def test_change_and_delete_a_disk_offering(cloud: Simulator) -> None:
    id = disk_offering(cloud)
    changed = ok(cloud, "updateDiskOffering", id=id, name="new", displaytext="New", tags="a,b", displayoffering=False)["diskoffering"]
    assert (changed["name"], changed["displaytext"], changed["tags"], changed["displayoffering"]) == ("new", "New", "a,b", False)
    ok(cloud, "updateDiskOffering", id=id, state="inactive")
    assert "count" not in ok(cloud, "listDiskOfferings", id=id)
    assert ok(cloud, "listDiskOfferings", id=id, state="all")["count"] == 1
    assert ok(cloud, "deleteDiskOffering", id=id) == {"success": True}
    assert "count" not in ok(cloud, "listDiskOfferings", id=id, state="all")
    refused(cloud, "updateDiskOffering", id=id, name="again")


def test_resource_details_converge(cloud: Simulator) -> None:
    id = disk_offering(cloud)
    job(cloud, "addResourceDetail", resourcetype="DiskOffering", resourceid=id, **pairs(SP_QOSCLASS="a", other="x"))
    job(cloud, "addResourceDetail", resourcetype="diskoffering", resourceid=id, **pairs(SP_QOSCLASS="b"))
    assert details_of(cloud, "DiskOffering", id) == {"SP_QOSCLASS": "b", "other": "x"}
    job(cloud, "removeResourceDetail", resourcetype="DiskOffering", resourceid=id, key="other")
    assert details_of(cloud, "DiskOffering", id) == {"SP_QOSCLASS": "b"}
    (row,) = ok(cloud, "listResourceDetails", resourcetype="DiskOffering", key="SP_QOSCLASS", value="b")["resourcedetail"]
    assert row["resourceid"] == id
    failed_job(cloud, "addResourceDetail", resourcetype="DiskOffering", resourceid="nobody", **pairs(a="b"))


def pairs(**details: str) -> dict[str, str]:
    """In the style of addResourceDetail."""
    found = {}
    for number, (key, value) in enumerate(details.items()):
        found.update({f"details[{number}].key": key, f"details[{number}].value": value})
    return found


def test_a_service_offering_has_a_disk_of_its_own(cloud: Simulator) -> None:
    made = ok(cloud, "createServiceOffering", name="big", **SMALL, rootdisksize=3, maxiops=700, miniops=10, offerha=True, encryptroot=True)[
        "serviceoffering"
    ]
    assert (made["rootdisksize"], made["maxiops"], made["offerha"], made["encryptroot"]) == (3, 700, True, True)
    assert "count" not in ok(cloud, "listDiskOfferings", id=made["diskofferingid"])
    details = {"serviceofferingdetails[0].key": "SP_TEMPLATE", "serviceofferingdetails[0].value": "hdd"}
    other = ok(cloud, "createServiceOffering", name="other", **SMALL, **details)["serviceoffering"]
    assert other["serviceofferingdetails"] == {"SP_TEMPLATE": "hdd"} == details_of(cloud, "ServiceOffering", other["id"])
    changed = ok(cloud, "updateServiceOffering", id=other["id"], displaytext="Other")["serviceoffering"]
    assert changed["displaytext"] == "Other"
    ok(cloud, "deleteServiceOffering", id=made["id"])
    assert "count" not in ok(cloud, "listServiceOfferings", id=made["id"], state="all")


def test_a_service_offering_with_a_named_disk_offering(cloud: Simulator) -> None:
    disk = disk_offering(cloud)
    made = ok(cloud, "createServiceOffering", name="two", **SMALL, diskofferingid=disk)["serviceoffering"]
    assert made["diskofferingid"] == disk
    refused(cloud, "createServiceOffering", name="three", **SMALL, diskofferingid=disk, rootdisksize=5)


# On StorPool


@pytest.mark.parametrize("version", VERSIONS)
def test_iops_of_root_and_data(clouds: Callable[[str], Simulator], version: str) -> None:
    """From 4.21 on a ROOT of a template gets none, until its first resize."""
    sim = clouds(version)
    service = service_offering(sim, miniops=10, maxiops=300)
    vm = plugin.deploy(sim, serviceofferingid=service)
    root = plugin.root(sim, vm)
    assert root["maxiops"] == 300
    assert limit(plugin.on_storpool(sim, root)) == (300 if version < "4.21" else None)
    data = plugin.data_disk(sim, vm, diskofferingid=disk_offering(sim, miniops=10, maxiops=400))
    assert (data["maxiops"], limit(plugin.on_storpool(sim, data))) == (400, 400)
    job(sim, "resizeVolume", id=root["id"], size=1)
    assert limit(plugin.on_storpool(sim, root)) == 300


@pytest.mark.parametrize("version", VERSIONS)
def test_tiers_of_data_volumes(clouds: Callable[[str], Simulator], version: str) -> None:
    """The QoS class is a tag, the template another one; with either no IOPS are sent, and of both the class wins."""
    sim = clouds(version)
    vm = plugin.deploy(sim)
    known = version >= "4.20"
    for name, details, tag, template in (
        ("class", {"SP_QOSCLASS": "tier1"}, "tier1", "nvme"),
        ("template", {"SP_TEMPLATE": "hdd"}, None, "hdd"),
        ("both", {"SP_QOSCLASS": "tier2", "SP_TEMPLATE": "hdd"}, "tier2", "nvme"),
    ):
        offering = disk_offering(sim, name, details=details, miniops=10, maxiops=500)
        row = plugin.on_storpool(sim, plugin.data_disk(sim, vm, name, diskofferingid=offering))
        assert row is not None
        assert (row["tags"].get("qc"), row["templateName"]) == ((tag, template) if known else (None, "nvme")), name
        assert limit(row) == (None if known else 500)


@pytest.mark.parametrize("version", ["4.20.2", "4.22.0"])
def test_tiers_of_root_volumes(clouds: Callable[[str], Simulator], version: str) -> None:
    """test_storpool_tiers 01, 04, 05."""
    sim = clouds(version)
    compute = service_offering(sim, "compute")
    job(sim, "addResourceDetail", resourcetype="ServiceOffering", resourceid=compute, **pairs(SP_TEMPLATE="hdd"))
    disk = disk_offering(sim, "disk", details={"SP_QOSCLASS": "tier1"})
    named_disk = service_offering(sim, "named", diskofferingid=disk)
    first = plugin.on_storpool(sim, plugin.root(sim, plugin.deploy(sim, "one", serviceofferingid=compute)))
    second = plugin.on_storpool(sim, plugin.root(sim, plugin.deploy(sim, "two", serviceofferingid=named_disk)))
    third = plugin.on_storpool(sim, plugin.root(sim, plugin.deploy(sim, "three", overridediskofferingid=disk)))
    assert first is not None and second is not None and third is not None
    assert (first["templateName"], first["tags"].get("qc")) == ("hdd", None)
    assert (second["templateName"], second["tags"]["qc"]) == ("nvme", "tier1") == (third["templateName"], third["tags"]["qc"])
    # The cache stays on the template of the pool
    (cache,) = plugin.tagged(sim, plugin.template_id(sim))
    assert cache["templateName"] == "nvme"


@pytest.mark.parametrize("version", ["4.20.2", "4.22.0"])
def test_another_offering_changes_the_tier(clouds: Callable[[str], Simulator], version: str) -> None:
    """test_storpool_tiers 02, 03, 06, 07, 08."""
    sim = clouds(version)
    vm = plugin.deploy(sim)
    data = plugin.data_disk(sim, vm, diskofferingid=disk_offering(sim, "plain", miniops=10, maxiops=200))
    loose = plugin.data_disk(sim, vm, "loose")
    job(sim, "detachVolume", id=loose["id"])
    tier = disk_offering(sim, "tier", details={"SP_QOSCLASS": "t1"}, miniops=1, maxiops=900)
    template = disk_offering(sim, "template", details={"SP_TEMPLATE": "hdd"})
    both = disk_offering(sim, "both", details={"SP_TEMPLATE": "hdd", "SP_QOSCLASS": "t2"})
    job(sim, "changeOfferingForVolume", id=data["id"], diskofferingid=tier)
    row = plugin.on_storpool(sim, data)
    # IOPS stay as they are
    assert row is not None and (row["tags"]["qc"], row["templateName"], limit(row)) == ("t1", "nvme", 200)
    assert plugin.volume(sim, data["id"])["maxiops"] == 900
    job(sim, "changeOfferingForVolume", id=loose["id"], diskofferingid=template)
    row = plugin.on_storpool(sim, loose)
    assert row is not None and (row["tags"].get("qc"), row["templateName"]) == (None, "hdd")
    job(sim, "changeOfferingForVolume", id=data["id"], diskofferingid=both)
    row = plugin.on_storpool(sim, data)
    assert row is not None and (row["tags"]["qc"], row["templateName"]) == ("t2", "nvme")
    root = plugin.root(sim, vm)
    job(sim, "changeOfferingForVolume", id=root["id"], diskofferingid=tier)
    row = plugin.on_storpool(sim, root)
    assert row is not None and row["tags"]["qc"] == "t1"


@pytest.mark.parametrize("version", VERSIONS)
def test_tiers_of_volumes_from_snapshots(clouds: Callable[[str], Simulator], version: str) -> None:
    """They have the class from 4.21 on; before, only what a later change of the offering sends."""
    sim = clouds(version)
    vm = plugin.deploy(sim)
    offering = disk_offering(sim, "tier", details={"SP_QOSCLASS": "t1"}, miniops=10, maxiops=500)
    disk = plugin.data_disk(sim, vm, diskofferingid=offering)
    plugin.stop(sim, vm)
    made = plugin.snapshot(sim, disk["id"])
    copy = job(sim, "createVolume", snapshotid=made["id"], name="copy", diskofferingid=offering)["volume"]
    row = plugin.on_storpool(sim, copy)
    assert row is not None and row["tags"].get("qc") == ("t1" if version >= "4.21" else None)
    assert limit(row) == (None if version >= "4.21" else 500), "with a class no IOPS are sent"


@pytest.mark.parametrize("version", VERSIONS)
def test_custom_iops_of_a_new_machine(clouds: Callable[[str], Simulator], version: str) -> None:
    """Since 4.20 they are lost on the way (#14103)."""
    sim = clouds(version)
    offering = service_offering(sim, customizediops=True)
    vm = plugin.deploy(sim, serviceofferingid=offering, details={"minIops": 10, "maxIops": 321})
    assert limit(plugin.on_storpool(sim, plugin.root(sim, vm))) == (321 if version < "4.20" else None)


def test_an_offering_without_iops_lifts_the_limit(cloud: Simulator) -> None:
    vm = plugin.deploy(cloud)
    data = plugin.data_disk(cloud, vm, diskofferingid=disk_offering(cloud, miniops=1, maxiops=200))
    job(cloud, "changeOfferingForVolume", id=data["id"], diskofferingid=disk_offering(cloud, "free"))
    assert limit(plugin.on_storpool(cloud, data)) is None and "maxiops" not in plugin.volume(cloud, data["id"])


def test_custom_iops(cloud: Simulator) -> None:
    custom = disk_offering(cloud, customizediops=True)
    vm = plugin.deploy(cloud)
    data = plugin.data_disk(cloud, vm, diskofferingid=custom, miniops=5, maxiops=50)
    assert limit(plugin.on_storpool(cloud, data)) == 50
    job(cloud, "resizeVolume", id=data["id"], miniops=6, maxiops=60)
    assert limit(plugin.on_storpool(cloud, data)) == 60 and plugin.volume(cloud, data["id"])["miniops"] == 6
    failed_job(cloud, "resizeVolume", id=data["id"], maxiops=70)
    plain = plugin.data_disk(cloud, vm, "plain")
    failed_job(cloud, "resizeVolume", id=plain["id"], miniops=6, maxiops=60)
    refused(cloud, "createVolume", name="x", zoneid=plugin.zone_id(cloud), diskofferingid=custom, size=1, maxiops=50)


@pytest.mark.parametrize("version", ["4.19.3", "4.22.0"])
def test_scaling_a_vm_changes_its_root(clouds: Callable[[str], Simulator], version: str) -> None:
    sim = clouds(version)
    vm = plugin.deploy(sim)
    bigger = service_offering(sim, "bigger", miniops=10, maxiops=800)
    assert job(sim, "scaleVirtualMachine", id=vm["id"], serviceofferingid=bigger) == {"success": True}
    assert one(sim, "listVirtualMachines", "virtualmachine", id=vm["id"])["serviceofferingid"] == bigger
    root = plugin.root(sim, vm)
    assert (root["maxiops"], root["serviceofferingid"], limit(plugin.on_storpool(sim, root))) == (800, bigger, 800)
    failed_job(sim, "scaleVirtualMachine", id=vm["id"], serviceofferingid=bigger)


def test_storage_tags_choose_the_pool(cloud: Simulator) -> None:
    vm = plugin.deploy(cloud)
    nowhere = disk_offering(cloud, tags="gold")
    made = plugin.data_disk(cloud, diskofferingid=nowhere)
    assert "gold" in failed_job(cloud, "attachVolume", id=made["id"], virtualmachineid=vm["id"])["errortext"]
    ok(cloud, "updateStoragePool", id=plugin.pool_id(cloud), tags="storpool-nvme,gold")
    job(cloud, "attachVolume", id=made["id"], virtualmachineid=vm["id"])
    assert named(cloud, "listStoragePools", "storagepool", "storpool-nvme") == plugin.volume(cloud, made["id"])["storageid"]
