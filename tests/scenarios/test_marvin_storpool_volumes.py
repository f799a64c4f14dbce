# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Marvin's TestStorPoolVolumes; and again in a second zone, as sp_cluster_on_second_zone does, and on hosts of either of two StorPool
clusters, as far as multicluster_on_local_cluster and multicluster_on_remote_cluster have it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest

from .conftest import LOCAL, REMOTE, VERSIONS, Clouds
from .world import GIB, World

CONTENT = b"what the guest wrote"


# Where the world is, and which scenarios Marvin has there
PLACES: dict[str, tuple[dict[str, Any], Collection[int]]] = {
    "": ({}, range(1, 30)),
    " second zone": ({"topology": "zones", "zone": "plovdiv"}, range(1, 30)),
    " local cluster": ({"topology": "clusters", "hosts": LOCAL}, (*range(10, 13), *range(14, 27))),
    " remote cluster": ({"topology": "clusters", "hosts": REMOTE}, (1, 2, *range(10, 13), *range(14, 17), 22, 23)),
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    number = int(metafunc.function.__name__.split("_")[1])
    worlds = [f"{version}{place}" for place, (_unused, numbers) in PLACES.items() if number in numbers for version in VERSIONS]
    metafunc.parametrize("world", worlds, indirect=True, scope="module")


@pytest.fixture(scope="module")
def world(request: pytest.FixtureRequest, clouds: Clouds) -> World:
    version, space, place = request.param.partition(" ")
    return clouds(version, **PLACES[space + place][0])


def _from_template(world: World, template: dict) -> dict:
    vm = world.deploy(templateid=template["id"])
    assert vm["state"] == "Running"
    return vm


def test_01_snapshot_to_template(world: World) -> None:
    disk = world.root(world.deploy())
    snapshot = world.snapshot(disk)
    world.there(world.snapshot_path(snapshot), "Snapshot")
    template = world.template(snapshot=snapshot["id"])
    vm = _from_template(world, template)
    assert world.digest(world.root(vm)) == world.digest(disk)


def test_02_snapshot_to_template_bypass_secondary(world: World) -> None:
    world.bypass(True)
    disk = world.root(world.deploy())
    snapshot = world.snapshot(disk)
    world.there(world.snapshot_path(snapshot), "Snapshot")
    template = world.template(snapshot=snapshot["id"])
    assert world.tagged(template["id"]), "the template exists on StorPool too"
    assert world.files(template) and not world.files(snapshot), "it is made on secondary storage, where the snapshot is not"
    assert world.digest(world.root(_from_template(world, template))) == world.digest(disk)


def test_03_snapshot_volume_with_secondary(world: World) -> None:
    snapshot = world.snapshot(world.root(world.deploy()))
    world.there(world.snapshot_path(snapshot), "Snapshot")
    roles = [row["datastoretype"] for row in world.ok("listSnapshots", id=snapshot["id"], showunique=False)["snapshot"]]
    assert roles == ["Primary", "Image"] and world.files(snapshot)


def test_04_snapshot_volume_bypass_secondary(world: World) -> None:
    world.bypass(True)
    snapshot = world.snapshot(world.root(world.deploy()))
    world.there(world.snapshot_path(snapshot), "Snapshot")
    assert not world.files(snapshot)


def test_05_delete_template_bypassed_secondary(world: World) -> None:
    """Nothing deletes the base snapshot of such a template: it stays as an orphan (plugin sheet 4.6)."""
    world.bypass(True)
    template = world.template(snapshot=world.snapshot(world.root(world.deploy()))["id"])
    (base,) = world.tagged(template["id"])
    world.drop_template(template)
    assert world.sp(base["globalId"], "Snapshot") is not None
    assert "template" not in world.ok("listTemplates", templatefilter="all", id=template["id"])


def test_06_template_from_snapshot(world: World) -> None:
    """The snapshot was made with a backup, the template with bypass: StorPool is used all the same."""
    snapshot = world.snapshot(world.root(world.deploy()))
    world.bypass(True)
    template = world.template(snapshot=snapshot["id"])
    assert world.tagged(template["id"])
    _from_template(world, template)


def test_07_delete_snapshot_of_deleted_volume(world: World) -> None:
    _snapshot_of_deleted_volume(world)


def test_08_delete_snapshot_of_deleted_volume_bypass_secondary(world: World) -> None:
    world.bypass(True)
    _snapshot_of_deleted_volume(world)


def _snapshot_of_deleted_volume(world: World) -> None:
    disk = world.detached()
    snapshot = world.snapshot(disk)
    path = world.snapshot_path(snapshot)
    template = world.template(snapshot=snapshot["id"])
    world.drop(disk)
    assert world.sp(disk) is None
    world.drop_snapshot(snapshot)
    assert world.sp(path, "Snapshot") is None and "snapshot" not in world.ok("listSnapshots", id=snapshot["id"])
    world.drop_template(template)


def test_09_vm_from_bypassed_template(world: World) -> None:
    world.bypass(True)
    template = world.template(snapshot=world.snapshot(world.root(world.deploy()))["id"])
    world.bypass(False)
    _from_template(world, template)


def test_10_create_vm_snapshots(world: World) -> None:
    vm = world.deploy()
    world.write(world.root(vm), CONTENT)
    group = world.group(vm)
    assert group["state"] == "Ready" and len(world.tagged(group["id"])) == 1


def test_11_revert_vm_snapshots(world: World) -> None:
    vm = world.deploy()
    disk = world.root(vm)
    world.write(disk, CONTENT)
    group = world.group(vm)
    world.write(disk, bytes(len(CONTENT)))
    world.stop(vm)
    world.revert_group(group)
    world.start(vm)
    assert world.read(disk, len(CONTENT)) == CONTENT


def test_12_delete_vm_snapshots(world: World) -> None:
    vm = world.deploy()
    group = world.group(vm)
    world.drop_group(group)
    assert "vmSnapshot" not in world.ok("listVMSnapshot", virtualmachineid=vm["id"]) and not world.tagged(group["id"])


def test_13_detach_volume(world: World) -> None:
    vm = world.deploy()
    disk = world.disk(vm)
    assert world.clients(disk) == [world.client_of(vm)]
    assert world.clients(world.detach(disk)) == [] and world.sp(disk) is not None


def test_14_attach_detach_volume_to_running_vm(world: World) -> None:
    vm, disk = world.deploy(), world.detached()
    world.attach(disk, vm)
    assert world.clients(disk) == [world.client_of(vm)]
    world.detach(disk)
    assert world.clients(disk) == []


def test_15_resize_root_volume_on_working_vm(world: World) -> None:
    vm = world.deploy()
    disk = world.root(vm)
    assert world.resize(disk, 2)["size"] == 2 * GIB
    assert world.same(disk)["size"] == 2 * GIB == world.seen(vm, disk)


def test_16_resize_attached_volume_on_working_vm(world: World) -> None:
    vm = world.deploy()
    disk = world.disk(vm)
    world.resize(disk, 3)
    assert world.same(disk)["size"] == 3 * GIB == world.seen(vm, disk)
    world.resize(disk, 1, allow_shrink=True)
    assert world.same(disk)["size"] == GIB == world.seen(vm, disk)


def test_17_attach_detach_volume_to_stopped_vm(world: World) -> None:
    vm, disk = world.stopped(), world.detached()
    world.attach(disk, vm)
    assert world.clients(disk) == []
    world.start(vm)
    assert world.clients(disk) == [world.client_of(vm)]
    world.stop(vm)
    world.detach(disk)
    assert world.clients(disk) == []


def test_18_resize_attached_volume(world: World) -> None:
    disk = world.disk(world.stopped())
    world.resize(disk, 2)
    assert world.same(disk)["size"] == 2 * GIB
    world.resize(disk, 1, allow_shrink=True)
    world.same(disk)


def test_19_resize_detached_volume(world: World) -> None:
    disk = world.detached()
    world.resize(disk, 2)
    assert world.same(disk)["size"] == 2 * GIB
    assert "would shrink the volume" in world.failed("resizeVolume", id=disk["id"], size=1)
    world.resize(disk, 1, allow_shrink=True)
    world.same(disk)


def test_20_snapshot_to_volume(world: World) -> None:
    disk = world.disk(world.deploy())
    world.write(disk, CONTENT)
    snapshot = world.snapshot(disk)
    counted = world.copied_bytes()
    volume = world.copy_of(snapshot)
    assert world.copied_bytes() == counted, "StorPool kept the snapshot, so nothing is copied"
    assert world.read(volume, len(CONTENT)) == CONTENT and world.there(volume)["size"] == disk["size"]


def test_21_snapshot_detached_volume(world: World) -> None:
    snapshot = world.snapshot(world.detached())
    world.there(world.snapshot_path(snapshot), "Snapshot")


def test_22_snapshot_root_disk(world: World) -> None:
    snapshot = world.snapshot(world.root(world.deploy()))
    world.there(world.snapshot_path(snapshot), "Snapshot")


def test_23_volume_to_template(world: World) -> None:
    vm = world.stopped()
    template = world.template(volume=world.root(vm)["id"])
    assert world.tagged(template["id"])
    assert world.digest(world.root(_from_template(world, template))) == world.digest(world.root(vm))


def test_24_migrate_vm_to_another_storage(world: World) -> None:
    pool, vm = world.second_pool(), world.stopped()
    world.job("migrateVirtualMachine", virtualmachineid=vm["id"], storageid=pool)
    disk = world.root(vm)
    assert disk["storageid"] == pool and world.there(disk)["templateName"] == "hybrid"
    world.start(vm)


def test_25_migrate_volume_to_another_storage(world: World) -> None:
    pool, disk = world.second_pool(), world.detached()
    moved = world.move(disk, pool)
    assert moved["storageid"] == pool and world.there(moved)["templateName"] == "hybrid" and world.sp(disk) is None


def test_26_create_vm_on_another_storpool_storage(world: World) -> None:
    pool = world.second_pool()
    vm = world.deploy(serviceofferingid=world.service_offering(storage_tags=["storpool-hybrid"]))
    assert world.root(vm)["storageid"] == pool and world.there(world.root(vm))["templateName"] == "hybrid"


def test_27_snapshot_to_volume_of_root_disk(world: World) -> None:
    disk = world.root(world.deploy())
    volume = world.copy_of(world.snapshot(disk))
    assert volume["type"] == "DATADISK" and world.digest(volume) == world.digest(disk)


def test_28_download_volume(world: World) -> None:
    disk = world.detached()
    answer = world.job("extractVolume", id=disk["id"], zoneid=world.zone_id, mode="HTTP_DOWNLOAD")["volume"]
    with open(answer["url"].removeprefix("file://"), "rb") as file:
        assert file.read(4) == b"QFI\xfb", "a qcow2 image"
    assert not [row for row in world.tagged(disk["id"]) if row["tags"]["cs"] == "temporary"]


def test_29_create_vm_from_template_not_on_storpool(world: World) -> None:
    """A snapshot with the template's uuid is deleted by hand, the first that StorPool lists: the base of a template made from a volume."""
    template = world.template(volume=world.root(world.stopped())["id"])
    (base,) = world.tagged(template["id"])
    _from_template(world, template)
    assert world.sim.post(f"SnapshotDelete/~{base['globalId']}", cluster=world.cluster)[0] == 200
    _from_template(world, template)
