# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The multicluster_* suites of storpool-cloudstack-integration, as far as TestStorPoolVolumes does not have them.

KVM clusters on two StorPool clusters of one location: `kvm11` to `kvm13` on sofia-a, `kvm14` to `kvm16` on sofia-b.
"""

from __future__ import annotations

import pytest
from simulator_tests.plugin_support import gid

from .conftest import Clouds
from .world import GIB, World

CONTENT = b"what the guest wrote"
LOCAL, REMOTE = ("kvm11", "kvm12"), ("kvm14", "kvm15")


@pytest.fixture(scope="module", params=["4.20.2", "4.22.0"])
def world(request: pytest.FixtureRequest, clouds: Clouds) -> World:
    return clouds(request.param, "clusters")


def _host(world: World, name: str) -> str:
    return world.named("listHosts", "host", name)


def _vm(world: World, hosts: tuple[str, ...] = LOCAL, **more: object) -> dict:
    return world.deploy(hostid=_host(world, hosts[0]), **more)


def _there(world: World, disk: dict) -> dict:
    """As the cluster tells it that has the volume now."""
    status, answer = world.sim.get(f"MultiCluster/Volume/{gid(world.volume(disk['id']))}")
    assert status == 200
    return answer["data"][0]


def _limited(world: World) -> str:
    return world.disk_offering(custom_iops=True)


# multicluster_bypass_secondary_storage: 01 to 09 as TestStorPoolVolumes


def test_10_bypassed_template_of_a_snapshot_on_secondary(world: World) -> None:
    snapshot = world.snapshot(world.root(_vm(world)))
    world.bypass(True)
    assert world.tagged(world.template(snapshot=snapshot["id"])["id"])


def test_11_volume_from_primary_only_snapshot(world: World) -> None:
    world.bypass(True)
    disk = world.root(_vm(world))
    volume = world.copy_of(world.snapshot(disk))
    assert world.digest(volume) == world.digest(disk)


def test_12_volume_from_snapshot_that_is_nowhere(world: World) -> None:
    world.bypass(True)
    snapshot = world.snapshot(world.root(_vm(world)))
    assert world.sim.post(f"SnapshotDelete/{gid(world.snapshot_path(snapshot))}")[0] == 200
    text = world.failed("createVolume", snapshotid=snapshot["id"], name=world.name("none"))
    assert "does not exists neither on primary, neither on secondary storage" in text


def test_13_volume_from_snapshot_on_secondary_alone(world: World) -> None:
    disk = world.root(_vm(world))
    snapshot = world.snapshot(disk)
    assert world.sim.post(f"SnapshotDelete/{gid(world.snapshot_path(snapshot))}")[0] == 200
    volume = world.copy_of(snapshot)
    assert world.digest(volume) == world.digest(disk)


# multicluster_max_iops


def test_max_iops_01_resize_attached_volume(world: World) -> None:
    disk = world.disk(_vm(world), offering=_limited(world), max_iops=1000)
    assert _there(world, disk)["iops"] == 1000
    world.resize(disk, 2, max_iops=2000)
    assert _there(world, disk)["iops"] == 2000


def test_max_iops_02_resize_detached_volume(world: World) -> None:
    disk = world.detached(offering=_limited(world), max_iops=1000)
    world.resize(disk, 2, max_iops=3000)
    assert _there(world, disk)["iops"] == 3000


def test_max_iops_03_resize_root_volume(world: World) -> None:
    """From 4.21 on a ROOT volume from a template has no limit before such a change (plugin sheet 0.3)."""
    disk = world.root(_vm(world, serviceofferingid=world.service_offering(max_iops=700)))
    assert _there(world, disk)["iops"] == (700 if world.version < "4.21" else "-")
    world.resize(disk, 2)
    assert _there(world, disk)["iops"] == 700


def test_max_iops_04_after_revert(world: World) -> None:
    vm = _vm(world)
    disk = world.disk(vm, offering=_limited(world), max_iops=900)
    snapshot = world.snapshot(disk)
    world.stop(vm)
    world.revert(snapshot)
    assert _there(world, disk)["iops"] == 900


@pytest.mark.parametrize("target", [LOCAL, REMOTE], ids=["local", "remote"])
@pytest.mark.parametrize("what", ["plain", "new-disk", "snapshots", "resized", "restored"])
def test_max_iops_05_to_14_after_live_migration(world: World, target: tuple[str, ...], what: str) -> None:
    vm = _vm(world)
    disk = world.disk(vm, offering=_limited(world), max_iops=800)
    expected = 800
    if what == "new-disk":
        world.disk(vm)
    elif what == "snapshots":
        world.snapshot(disk)
    elif what == "resized":
        world.resize(disk, 2, max_iops=850)
        expected = 850
    elif what == "restored":
        snapshot = world.snapshot(disk)
        world.stop(vm)
        world.revert(snapshot)
        world.job("startVirtualMachine", id=vm["id"], hostid=_host(world, LOCAL[0]))
    world.migrate(vm, _host(world, target[1]))
    assert _there(world, disk)["iops"] == expected


# multicluster_live_migration: as max_iops without limits, and 11 between clusters


@pytest.mark.parametrize("target", [LOCAL, REMOTE], ids=["local", "remote"])
@pytest.mark.parametrize("what", ["plain", "new-disk", "snapshots", "resized", "restored"])
def test_live_migration_01_to_10(world: World, target: tuple[str, ...], what: str) -> None:
    vm = _vm(world)
    disk = world.disk(vm)
    world.sim.write(gid(disk), CONTENT)
    if what == "new-disk":
        world.disk(vm)
    elif what == "snapshots":
        world.snapshot(disk)
    elif what == "resized":
        world.resize(disk, 2)
    elif what == "restored":
        world.stop(vm)
        world.job("restoreVirtualMachine", virtualmachineid=vm["id"])
        world.job("startVirtualMachine", id=vm["id"], hostid=_host(world, LOCAL[0]))
    world.migrate(vm, _host(world, target[1]))
    assert _read(world, disk) == CONTENT and world.ok("listVirtualMachines", id=vm["id"])["virtualmachine"][0]["hostname"] == target[1]


def _read(world: World, disk: dict) -> bytes:
    """From the cluster that has it."""
    disk = world.volume(disk["id"])
    cluster = next(name for name in ("sofia-a", "sofia-b") if world.sim.get(f"Volume/{gid(disk)}", name)[0] == 200)
    return world.sim.read(gid(disk), 0, len(CONTENT), cluster)


def test_live_migration_11_between_clusters(world: World) -> None:
    vm = _vm(world)
    for name in (REMOTE[0], LOCAL[0], REMOTE[1], LOCAL[1]):
        world.migrate(vm, _host(world, name))
    world.stop(vm)
    world.start(vm)


# multicluster_on_local_cluster, multicluster_on_remote_cluster


@pytest.mark.parametrize("hosts", [LOCAL, REMOTE], ids=["local", "remote"])
def test_on_cluster_attach_detach(world: World, hosts: tuple[str, ...]) -> None:
    vm = _vm(world, hosts)
    disk = world.disk(vm)
    rows = [row for name in ("sofia-a", "sofia-b") for row in world.sim.get("AttachmentsList", name)[1]["data"]]
    assert ["~" + row["globalId"] for row in rows].count(gid(disk)) == 1
    world.detach(disk)
    assert "virtualmachineid" not in world.volume(disk["id"])


@pytest.mark.parametrize("hosts", [LOCAL, REMOTE], ids=["local", "remote"])
def test_on_cluster_resize(world: World, hosts: tuple[str, ...]) -> None:
    vm = _vm(world, hosts)
    disk = world.disk(vm)
    world.resize(disk, 2)
    assert _there(world, disk)["size"] == 2 * GIB
    world.resize(world.detach(disk), 1, allow_shrink=True)
    assert _there(world, disk)["size"] == GIB


@pytest.mark.parametrize("hosts", [LOCAL, REMOTE], ids=["local", "remote"])
def test_on_cluster_snapshot_volume_and_template(world: World, hosts: tuple[str, ...]) -> None:
    disk = world.root(_vm(world, hosts))
    snapshot = world.snapshot(disk)
    volume = world.copy_of(snapshot)
    assert _read(world, volume) == _read(world, disk)
    template = world.template(snapshot=snapshot["id"])
    assert _read(world, world.root(_vm(world, hosts, templateid=template["id"]))) == _read(world, disk)
    world.drop_snapshot(snapshot)


@pytest.mark.parametrize("hosts", [LOCAL, REMOTE], ids=["local", "remote"])
def test_on_cluster_vm_snapshot(world: World, hosts: tuple[str, ...]) -> None:
    """multicluster_vm_snapshot too: create, revert, delete."""
    vm = _vm(world, hosts)
    disk = world.root(vm)
    cluster = "sofia-a" if world.sim.get(f"Volume/{gid(disk)}")[0] == 200 else "sofia-b"
    world.sim.write(gid(disk), CONTENT, 0, cluster)
    group = world.group(vm)
    world.sim.write(gid(disk), bytes(len(CONTENT)), 0, cluster)
    world.stop(vm)
    world.revert_group(group)
    assert _read(world, disk) == CONTENT
    world.drop_group(group)


def test_14_vm_on_second_cluster_with_a_template_cached_in_the_first(world: World) -> None:
    _vm(world, LOCAL)
    counted = world.sim.counters()["bytes_converted"]
    vm = _vm(world, REMOTE)
    assert vm["hostname"] == REMOTE[0] and world.sim.counters()["bytes_converted"] == counted


# multicluster_primary_storage


def _fresh_pool(world: World) -> tuple[str, str]:
    """A pool on a StorPool template of its own, and the name of both; offerings lead there by it."""
    template = world.name("tier").replace("-", "_")
    row = {"name": template, "replication": 2, "placeAll": "ssd", "placeTail": "ssd"}
    assert world.sim.post("VolumeTemplateCreate", row)[0] == 200
    return world.new_pool(template, template), template


def test_primary_storage_01_vm_on_a_new_pool(world: World) -> None:
    pool, template = _fresh_pool(world)
    vm = _vm(world, serviceofferingid=world.service_offering(storage_tags=[template]))
    assert world.root(vm)["storageid"] == pool and _there(world, world.root(vm))["templateName"] == template


def test_primary_storage_02_volume_on_a_new_pool(world: World) -> None:
    pool, template = _fresh_pool(world)
    disk = world.disk(_vm(world), offering=world.disk_offering(storage_tags=[template]))
    assert disk["storageid"] == pool and _there(world, disk)["templateName"] == template


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
