# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Marvin's TestTagsOnStorPool (storpool_tags of the integration repository is the same set)."""

from __future__ import annotations

from .world import World


def _tagged_vm(world: World, disks: int = 1) -> dict:
    vm = world.deploy()
    for _unused in range(disks):
        world.disk(vm)
    world.tag(vm)
    return vm


def _policies(world: World, vm: dict) -> set[str | None]:
    return {world.tags(disk).get("vc-policy") for disk in world.volumes(vm)}


def test_01_set_vcpolicy_tag_to_vm_with_attached_disks(world: World) -> None:
    vm = _tagged_vm(world)
    assert len(world.volumes(vm)) == 2 and _policies(world, vm) == {"gold"}
    assert all(world.tags(disk)["cvm"] == vm["id"] for disk in world.volumes(vm))


def test_02_set_vcpolicy_tag_to_attached_disk(world: World) -> None:
    vm = _tagged_vm(world, 0)
    disk = world.attach(world.detached(), vm)
    assert world.tags(disk)["vc-policy"] == "gold" and world.tags(disk)["cvm"] == vm["id"]


def test_03_create_vm_snapshot_vc_policy_tag(world: World) -> None:
    """The volumes keep it; their snapshots in the group have none (plugin sheet 5.1, 5.6)."""
    vm = _tagged_vm(world)
    group = world.group(vm)
    assert _policies(world, vm) == {"gold"}
    assert [row["tags"] for row in world.tagged(group["id"])] == [{"uuid": group["id"], "cs": "group", "cvm": vm["id"]}] * 2


def test_04_revert_vm_snapshots_vc_policy_tag(world: World) -> None:
    vm = _tagged_vm(world)
    group = world.group(vm)
    world.stop(vm)
    world.revert_group(group)
    assert _policies(world, vm) == {"gold"}


def test_05_delete_vm_snapshots(world: World) -> None:
    vm = _tagged_vm(world)
    group = world.group(vm)
    world.drop_group(group)
    assert not world.tagged(group["id"]) and _policies(world, vm) == {"gold"}


def test_06_remove_vcpolicy_tag_when_disk_detached(world: World) -> None:
    vm = _tagged_vm(world)
    disk = world.volumes(vm)[1]
    if world.version >= "4.21":
        assert world.tags(disk)["disk"] == "1"
    world.detach(disk)
    assert not {"vc-policy", "cvm", "disk"} & set(world.tags(disk)) and _policies(world, vm) == {"gold"}


def test_07_delete_vcpolicy_tag(world: World) -> None:
    vm = _tagged_vm(world)
    world.untag(vm)
    assert _policies(world, vm) == {None}


def test_08_vcpolicy_tag_to_reverted_disk(world: World) -> None:
    vm = _tagged_vm(world)
    snapshot = world.snapshot(world.root(vm))
    world.stop(vm)
    world.revert(snapshot)
    assert _policies(world, vm) == {"gold"}


def test_09_remove_vm_tags_on_datadisks_attached_to_destroyed_vm(world: World) -> None:
    vm = _tagged_vm(world)
    disk = world.volumes(vm)[1]
    world.job("destroyVirtualMachine", id=vm["id"], expunge=True)
    assert not {"vc-policy", "cvm", "disk"} & set(world.tags(disk))


def test_10_cvm_and_disk_on_vm_deployed_with_a_data_disk(world: World) -> None:
    world.only_since("4.21")
    vm = world.deploy(diskofferingid=world.disk_offering(size="1G"))
    root, disk = world.volumes(vm)
    assert (world.tags(root)["cvm"], world.tags(disk)["cvm"]) == (vm["id"], vm["id"])
    assert (world.tags(root)["disk"], world.tags(disk)["disk"]) == ("0", "1")
    world.detach(disk)
    assert not {"cvm", "disk"} & set(world.tags(disk))
