# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Marvin's TestEncryptedVolumes. Which snapshots of running instances the releases allow is the sheet's (0.3), not Marvin's."""

from __future__ import annotations

from .world import World

BEHIND_THE_HEADER = 4 << 20
FILE = b"encrypted or not"


def _encrypted_vm(world: World) -> dict:
    vm = world.deploy(serviceofferingid=world.service_offering(encrypt=True))
    world.disk(vm, offering=world.disk_offering(encrypt=True))
    for disk in world.volumes(vm):
        assert world.read(disk, 4) == b"LUKS" and disk["encryptformat"] == "LUKS"
        world.same(disk)
        world.write(disk, FILE, BEHIND_THE_HEADER)
    return vm


def _content(world: World, vm: dict) -> list[bytes]:
    return [world.read(disk, len(FILE), BEHIND_THE_HEADER) for disk in world.volumes(vm)]


def test_01_migrate_vm_live(world: World) -> None:
    vm = _encrypted_vm(world)
    host = world.other_host(vm)
    world.migrate(vm, host)
    assert all(world.clients(disk) == [world.client_of(vm)] for disk in world.volumes(vm)) and _content(world, vm) == [FILE, FILE]


def test_02_create_vm_snapshots(world: World) -> None:
    vm = _encrypted_vm(world)
    assert len(world.tagged(world.group(vm)["id"])) == 2


def test_03_revert_vm_snapshots(world: World) -> None:
    vm = _encrypted_vm(world)
    group = world.group(vm)
    world.stop(vm)
    for disk in world.volumes(vm):
        world.write(disk, bytes(len(FILE)), BEHIND_THE_HEADER)
    world.revert_group(group)
    world.start(vm)
    assert _content(world, vm) == [FILE, FILE]


def test_04_delete_vm_snapshots(world: World) -> None:
    group = world.group(_encrypted_vm(world))
    world.drop_group(group)
    assert not world.tagged(group["id"])


def test_05_snapshot_volume_with_secondary(world: World) -> None:
    """Marvin expects it to fail; from 4.21 on the check lets it pass, since it is the other way round there."""
    disk = world.root(_encrypted_vm(world))
    if world.version < "4.21":
        assert "not supported if VM is running" in world.failed("createSnapshot", volumeid=disk["id"])
    else:
        assert world.snapshot(disk)["state"] == "BackedUp"


def test_06_snapshot_volume_on_primary(world: World) -> None:
    """Bypassed. From 4.21 on a snapshot on StorPool alone takes a stopped instance."""
    world.bypass(True)
    vm = _encrypted_vm(world)
    if world.version >= "4.21":
        assert "not supported if VM is running" in world.failed("createSnapshot", volumeid=world.root(vm)["id"])
        world.stop(vm)
    snapshot = world.snapshot(world.root(vm))
    assert world.there(world.snapshot_path(snapshot), "Snapshot")["size"] == snapshot["virtualsize"] + (2 << 20)


def test_07_revert_volume_snapshot(world: World) -> None:
    world.bypass(True)
    vm = _encrypted_vm(world)
    world.stop(vm)
    disk = world.root(vm)
    snapshot = world.snapshot(disk)
    world.write(disk, bytes(len(FILE)), BEHIND_THE_HEADER)
    world.revert(snapshot)
    world.start(vm)
    assert _content(world, vm) == [FILE, FILE]


def test_08_delete_volume_snapshot(world: World) -> None:
    world.bypass(True)
    vm = _encrypted_vm(world)
    world.stop(vm)
    snapshot = world.snapshot(world.root(vm))
    path = world.snapshot_path(snapshot)
    world.drop_snapshot(snapshot)
    assert world.sp(path, "Snapshot") is None


def test_09_live_migrate_volume(world: World) -> None:
    pool, vm = world.second_pool(), _encrypted_vm(world)
    for disk in world.volumes(vm):
        moved = world.move(disk, pool)
        assert moved["path"] == disk["path"] and world.there(moved)["templateName"] == "hybrid"
    assert _content(world, vm) == [FILE, FILE]
