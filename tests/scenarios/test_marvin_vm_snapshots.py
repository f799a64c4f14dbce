# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Marvin's TestVmSnapshots: files of the guest before and after."""

from __future__ import annotations

from .world import World

FILE = b"random data of a file"


def _with_files(world: World) -> tuple[dict, dict]:
    vm = world.deploy()
    world.disk(vm)
    for disk in world.volumes(vm):
        world.write(disk, FILE)
    return vm, world.group(vm)


def test_01_create_vm_snapshots(world: World) -> None:
    vm, group = _with_files(world)
    rows = world.tagged(group["id"])
    assert {row["createdFromGlobalId"] for row in rows} == {disk["path"].rpartition("/")[2] for disk in world.volumes(vm)}
    assert all(row["tags"]["cvm"] == vm["id"] and row["tags"]["cs"] == "group" for row in rows)


def test_02_revert_vm_snapshots(world: World) -> None:
    vm, group = _with_files(world)
    for disk in world.volumes(vm):
        world.write(disk, bytes(len(FILE)))
    assert "is not allowed for running VMs" in world.failed("revertToVMSnapshot", vmsnapshotid=group["id"])
    world.stop(vm)
    world.revert_group(group)
    world.start(vm)
    assert [world.read(disk, len(FILE)) for disk in world.volumes(vm)] == [FILE, FILE]


def test_03_delete_vm_snapshots(world: World) -> None:
    _unused, group = _with_files(world)
    world.drop_group(group)
    assert not world.tagged(group["id"]) and "vmSnapshot" not in world.ok("listVMSnapshot", vmsnapshotid=group["id"])
