# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The multicluster_* suites of storpool-cloudstack-integration, as far as TestStorPoolVolumes does not have them.

KVM clusters on two StorPool clusters of one location: `kvm11` to `kvm13` on sofia-a, where the pool is, `kvm14` to `kvm16` on sofia-b.
"""

from __future__ import annotations

import pytest
from simulator_tests.plugin_support import address

from .conftest import LOCAL, REMOTE, VERSIONS, Clouds
from .world import GIB, World

CONTENT = b"what the guest wrote"
# What Marvin does to a machine before it moves, for max_iops and for live_migration
BEFORE = ("plain", "attach_disk", "with_snapshots", "resize_volume", "restore")
either_cluster = pytest.mark.parametrize("target", [LOCAL[1], REMOTE[1]], ids=["local", "remote"])


@pytest.fixture(scope="module", params=VERSIONS)
def world(request: pytest.FixtureRequest, clouds: Clouds) -> World:
    return clouds(request.param, "clusters", hosts=LOCAL)


def _limited(world: World) -> str:
    return world.disk_offering(custom_iops=True)


# multicluster_bypass_secondary_storage: 01 to 09 as TestStorPoolVolumes


def test_10_bypassed_template_of_a_snapshot_on_secondary(world: World) -> None:
    snapshot = world.snapshot(world.root(world.deploy()))
    world.bypass(True)
    assert world.tagged(world.template(snapshot=snapshot["id"])["id"])


def test_11_volume_from_primary_only_snapshot(world: World) -> None:
    world.bypass(True)
    disk = world.root(world.deploy())
    volume = world.copy_of(world.snapshot(disk))
    assert world.digest(volume) == world.digest(disk)


def test_12_volume_from_snapshot_that_is_nowhere(world: World) -> None:
    world.bypass(True)
    snapshot = world.snapshot(world.root(world.deploy()))
    assert world.sim.post(f"SnapshotDelete/{address(world.snapshot_path(snapshot))}")[0] == 200
    text = world.failed("createVolume", snapshotid=snapshot["id"], name=world.name("none"))
    assert "does not exists neither on primary, neither on secondary storage" in text


def test_13_volume_from_snapshot_on_secondary_alone(world: World) -> None:
    disk = world.root(world.deploy())
    snapshot = world.snapshot(disk)
    assert world.sim.post(f"SnapshotDelete/{address(world.snapshot_path(snapshot))}")[0] == 200
    volume = world.copy_of(snapshot)
    assert world.digest(volume) == world.digest(disk)


# multicluster_max_iops


def test_max_iops_01_resize_attached_volume(world: World) -> None:
    disk = world.disk(world.deploy(), offering=_limited(world), max_iops=1000)
    assert world.same(disk)["iops"] == 1000
    world.resize(disk, 2, max_iops=2000)
    assert world.same(disk)["iops"] == 2000


def test_max_iops_02_resize_detached_volume(world: World) -> None:
    disk = world.detached(offering=_limited(world), max_iops=1000)
    world.resize(disk, 2, max_iops=3000)
    assert world.same(disk)["iops"] == 3000


def test_max_iops_03_resize_iops_root_volume(world: World) -> None:
    """From 4.21 on a ROOT volume from a template has no limit before such a change (plugin sheet 0.3); `repair` makes one."""
    disk = world.root(world.deploy(serviceofferingid=world.service_offering(max_iops=700)))
    if world.version >= "4.21":
        assert world.there(disk)["iops"] == "-"
        assert "max_iops is 700 in CloudStack and unlimited on StorPool" in world.declined("volume", id=disk["id"])
        world.change(disk, repair=True)
    assert world.same(disk)["iops"] == 700
    world.resize(disk, 2)
    assert world.same(disk)["iops"] == 700


def test_max_iops_04_iops_root_volume_reverted(world: World) -> None:
    vm = world.deploy(serviceofferingid=world.service_offering(max_iops=900))
    disk = world.change(world.root(vm), repair=True)
    snapshot = world.snapshot(disk)
    world.stop(vm)
    world.revert(snapshot)
    assert world.same(disk)["iops"] == 900


def _moved(world: World, target: str, before: str, **limit: int) -> tuple[dict, dict]:
    """A machine and its data disk, after all that and after a live migration of the machine."""
    vm = world.deploy()
    disk = world.disk(vm, **({"offering": _limited(world), **limit} if limit else {}))
    world.write(disk, CONTENT)
    if before == "attach_disk":
        world.disk(vm)
    elif before == "with_snapshots":
        for one in world.volumes(vm):
            world.snapshot(one)
    elif before == "resize_volume":
        world.resize(disk, 2, **{name: value + 50 for name, value in limit.items()})
    elif before == "restore":
        world.job("restoreVirtualMachine", virtualmachineid=vm["id"])
        world.stop(vm)
        world.start(vm)
    world.migrate(vm, world.host(target))
    assert world.machine(vm)["hostname"] == target and world.read(disk, len(CONTENT)) == CONTENT
    return vm, disk


@either_cluster
@pytest.mark.parametrize("before", BEFORE)
def test_max_iops_05_to_14_migrate_vm_live(world: World, target: str, before: str) -> None:
    vm, disk = _moved(world, target, before, max_iops=800)
    for one in world.volumes(vm):
        world.same(one)
    assert world.there(world.volume(disk["id"]))["iops"] == (850 if before == "resize_volume" else 800)


# multicluster_live_migration: as max_iops without limits, and 11 between clusters


@either_cluster
@pytest.mark.parametrize("before", BEFORE)
def test_live_migration_01_to_10(world: World, target: str, before: str) -> None:
    vm, disk = _moved(world, target, before)
    assert all(world.clients(one) == [world.client_of(vm)] for one in world.volumes(vm))
    assert world.there(disk)["size"] == (2 if before == "resize_volume" else 1) * GIB


def test_live_migration_11_between_clusters(world: World) -> None:
    vm = world.deploy()
    for name in (REMOTE[0], LOCAL[0], REMOTE[1], LOCAL[1]):
        world.migrate(vm, world.host(name))
        assert world.clients(world.root(vm)) == [world.client_of(vm)]
    world.stop(vm)
    world.start(vm)


# multicluster_on_local_cluster, multicluster_on_remote_cluster: what TestStorPoolVolumes does not do on hosts of either cluster


def test_on_local_cluster_14_create_vm_on_second_cluster_with_template_from_first(world: World) -> None:
    """The template is of a machine on the first cluster and cached there; the second machine moves none of its bytes."""
    template = world.template(snapshot=world.snapshot(world.root(world.deploy()))["id"])
    first = world.deploy(templateid=template["id"])
    counted = world.sim.counters()["bytes_converted"]
    second = world.deploy(templateid=template["id"], hostid=world.host(REMOTE[0]))
    assert second["hostname"] == REMOTE[0] and world.sim.counters()["bytes_converted"] == counted
    assert world.digest(world.root(second)) == world.digest(world.root(first))


def test_on_remote_cluster_01_start_vm_on_remote_cluster(world: World) -> None:
    vm = world.stopped()
    world.start(vm, hostid=world.host(REMOTE[0]))
    assert world.machine(vm)["hostname"] == REMOTE[0] and world.clients(world.root(vm)) == [world.client_of(vm)]


# multicluster_primary_storage


def _fresh_pool(world: World) -> tuple[str, str]:
    """A pool on a StorPool template of its own, and the name of both; offerings lead there by it."""
    template = world.name("tier").replace("-", "_")
    row = {"name": template, "replication": 2, "placeAll": "ssd", "placeTail": "ssd"}
    assert world.sim.post("VolumeTemplateCreate", row)[0] == 200
    return world.new_pool(template, template), template


def test_primary_storage_01_vm_on_a_new_pool(world: World) -> None:
    pool, template = _fresh_pool(world)
    vm = world.deploy(serviceofferingid=world.service_offering(storage_tags=[template]))
    assert world.root(vm)["storageid"] == pool and world.there(world.root(vm))["templateName"] == template


def test_primary_storage_02_volume_on_a_new_pool(world: World) -> None:
    pool, template = _fresh_pool(world)
    disk = world.disk(world.deploy(), offering=world.disk_offering(storage_tags=[template]))
    assert disk["storageid"] == pool and world.there(disk)["templateName"] == template


def test_primary_storage_03_delete_pool_with_snapshots(world: World) -> None:
    pool, template = _fresh_pool(world)
    disk = world.detached(offering=world.disk_offering(storage_tags=[template]))
    snapshot = world.snapshot(disk)
    world.drop(disk)
    world.job("enableStorageMaintenance", id=pool)
    assert "contains one or more snapshots" in world.refused("deleteStoragePool", id=pool)
    world.job("cancelStorageMaintenance", id=pool)
    world.drop_snapshot(snapshot)
    world.job("enableStorageMaintenance", id=pool)
    assert world.ok("deleteStoragePool", id=pool) == {"success": True}


def test_primary_storage_04_delete_pool_with_templates(world: World) -> None:
    pool, template = _fresh_pool(world)
    disk = world.detached(offering=world.disk_offering(storage_tags=[template]))
    world.template(volume=disk["id"])
    world.drop(disk)
    world.job("enableStorageMaintenance", id=pool)
    assert "template snapshots" in world.refused("deleteStoragePool", id=pool)
