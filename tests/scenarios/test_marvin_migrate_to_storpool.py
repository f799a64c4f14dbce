# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Marvin's MigrateVolumeToStorPool, and migration_from_nfs and migrate_vm_with_volumes of the integration repository.

Their volumes on Ceph are NFS ones here: to the plugin it is all the same where a volume comes from.
"""

from __future__ import annotations

from pathlib import Path

from simulator_tests.support import wait_until

from .world import GIB, World

FILE = b"a file of the guest"


def _nfs(world: World) -> tuple[str, str, str]:
    """The pool, and a service and a disk offering whose volumes go there."""
    known = world.ok("listStoragePools", name="nfs-primary").get("storagepool")
    if not known:
        wanted = {"name": "nfs-primary", "zoneid": world.zone_id, "scope": "zone", "hypervisor": "KVM", "tags": "nfs"}
        known = [world.ok("createStoragePool", **wanted, url="nfs://192.0.2.9/export/primary")["storagepool"]]
    return known[0]["id"], world.service_offering(storage_tags=["nfs"]), world.disk_offering(storage_tags=["nfs"])


def _file(world: World, disk: dict) -> Path:
    return world.sim.state_dir / "primary" / disk["storageid"] / disk["path"]


def _read(path: Path, length: int = len(FILE)) -> bytes:
    """The beginning: the whole file is a gibibyte of holes."""
    with open(path, "rb") as file:
        return file.read(length)


def _vm_on_nfs(world: World, disks: int = 0) -> dict:
    _unused, service, offering = _nfs(world)
    vm = world.deploy(serviceofferingid=service)
    for _number in range(disks):
        world.disk(vm, offering=offering)
    for disk in world.volumes(vm):
        with open(_file(world, disk), "r+b") as file:
            file.write(FILE)
    return vm


def _live(world: World, vm: dict, disks: list[dict], host: str | None = None) -> None:
    pool = world.named("listStoragePools", "storagepool", world.pool)
    wanted = {f"migrateto[{number}].volume": disk["id"] for number, disk in enumerate(disks)}
    wanted.update({f"migrateto[{number}].pool": pool for number in range(len(disks))})
    target = host or world.other_host(vm)
    world.job("migrateVirtualMachineWithVolume", virtualmachineid=vm["id"], hostid=target, **wanted)
    assert world.ok("listVirtualMachines", id=vm["id"])["virtualmachine"][0]["hostid"] == target


def _offline(world: World, disk: dict) -> dict:
    pool = world.named("listStoragePools", "storagepool", world.pool)
    return world.move(disk, pool)


def _on_storpool(world: World, vm: dict) -> None:
    for disk in world.volumes(vm):
        assert disk["storage"] == world.pool and world.tags(disk)["cvm"] == vm["id"] and world.same(disk)
        assert world.read(disk, len(FILE)) == FILE


# MigrateVolumeToStorPool


def test_1_migrate_vm_from_nfs_to_storpool(world: World) -> None:
    vm = _vm_on_nfs(world)
    _live(world, vm, world.volumes(vm))
    _on_storpool(world, vm)


def test_2_migrate_volume_from_nfs_to_storpool(world: World) -> None:
    vm = _vm_on_nfs(world, 1)
    disk = world.detach(world.volumes(vm)[1])
    moved = _offline(world, disk)
    assert moved["storage"] == world.pool and world.same(moved)


def test_3_migrate_volume_from_nfs_to_storpool_with_data(world: World) -> None:
    vm = _vm_on_nfs(world, 1)
    disk = world.detach(world.volumes(vm)[1])
    content = _read(_file(world, disk), 1 << 20)
    moved = world.attach(_offline(world, disk), vm)
    assert world.read(moved, 1 << 20) == content and world.clients(moved) == [world.client_of(vm)]


# migration_from_nfs


def test_migration_from_nfs_01_vm_live_and_offline(world: World) -> None:
    vm = _vm_on_nfs(world)
    _live(world, vm, world.volumes(vm))
    _on_storpool(world, vm)
    vm = _vm_on_nfs(world)
    world.stop(vm)
    _offline(world, world.root(vm))
    _on_storpool(world, vm)
    world.start(vm)


def test_migration_from_nfs_02_volume_attached_to_stopped_vm(world: World) -> None:
    vm = _vm_on_nfs(world, 1)
    world.stop(vm)
    for disk in world.volumes(vm):
        _offline(world, disk)
    world.start(vm)
    _on_storpool(world, vm)


def test_migration_from_nfs_03_grown_before(world: World) -> None:
    vm = _vm_on_nfs(world, 1)
    disk = world.volumes(vm)[1]
    world.resize(disk, 2)
    world.detach(disk)
    moved = _offline(world, world.volume(disk["id"]))
    assert world.same(moved)["size"] == 2 * GIB


def test_migration_from_nfs_04_snapshot_afterwards(world: World) -> None:
    vm = _vm_on_nfs(world)
    _live(world, vm, world.volumes(vm))
    disk = world.root(vm)
    snapshot = world.snapshot(disk)
    assert world.digest(world.snapshot_path(snapshot)) == world.digest(disk)


def test_migration_from_nfs_05_back_again(world: World) -> None:
    """Away from StorPool the plugin only gives: by a temporary snapshot and secondary storage."""
    pool, _service, _offering = _nfs(world)
    disk = world.detached()
    world.write(disk, FILE)
    moved = world.move(disk, pool)
    assert _read(_file(world, moved)) == FILE and world.sp(disk) is None


# migrate_vm_with_volumes


def test_migrate_vm_with_volumes_01_all_live(world: World) -> None:
    vm = _vm_on_nfs(world, 2)
    _live(world, vm, world.volumes(vm))
    _on_storpool(world, vm)


def test_migrate_vm_with_volumes_02_some_live(world: World) -> None:
    vm = _vm_on_nfs(world, 1)
    root, disk = world.volumes(vm)
    _live(world, vm, [root])
    assert [one["storage"] for one in world.volumes(vm)] == [world.pool, "nfs-primary"]
    assert _read(_file(world, world.volume(disk["id"]))) == FILE


def test_migrate_vm_with_volumes_03_offline(world: World) -> None:
    vm = _vm_on_nfs(world, 1)
    world.stop(vm)
    pool = world.named("listStoragePools", "storagepool", world.pool)
    world.job("migrateVirtualMachine", virtualmachineid=vm["id"], storageid=pool)
    world.start(vm)
    _on_storpool(world, vm)


def test_migrate_vm_with_volumes_04_hosts_without_storpool(world: World) -> None:
    """A host whose StorPool does not run can be no target, and is asked for nothing."""
    vm = _vm_on_nfs(world)
    host = world.ok("listVirtualMachines", id=vm["id"])["virtualmachine"][0]["hostname"]
    without = next(name for name, known in world.sim.hosts().items() if name != host and known["storpool"]["cluster"] == world.cluster)
    client = world.sim.hosts()[without]["storpool"]["client"]
    world.sim.client(client, "down", world.cluster)
    try:
        target = world.named("listHosts", "host", without)
        disk = world.root(vm)
        params = {"migrateto[0].volume": disk["id"], "migrateto[0].pool": world.named("listStoragePools", "storagepool", world.pool)}
        text = world.failed("migrateVirtualMachineWithVolume", virtualmachineid=vm["id"], hostid=target, **params)
        assert "is not in correct state" in text
        world.stop(vm)
        moved = _offline(world, world.root(vm))
        assert world.read(moved, len(FILE)) == FILE
    finally:
        world.sim.client(client, "running", world.cluster)
    wait_until(lambda: world.sim.hosts()[without]["agent"] == "up")
