# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Marvin's test_storpool_tiers (4.20+): QoS classes and StorPool templates of offerings."""

from __future__ import annotations

import pytest

from .conftest import Clouds
from .world import GIB, World

TIER1, TIER2 = "ssd", "virtual"


@pytest.fixture(scope="module", params=["4.20.2", "4.21.0", "4.22.0"])
def world(request: pytest.FixtureRequest, clouds: Clouds) -> World:
    return clouds(request.param)


def _tier(world: World, qos: str | None = None, template: str | None = None, **more: object) -> str:
    """A disk offering that asks for it."""
    wanted = {"qos_class": qos, "template": template, **more}
    return world.disk_offering(**{key: value for key, value in wanted.items() if value})


def _vm(world: World, offering: str) -> dict:
    """ROOT and data disk of that offering."""
    vm = world.deploy(overridediskofferingid=offering, rootdisksize=1)
    world.disk(vm, offering=offering)
    return vm


def _classes(world: World, vm: dict) -> set[str | None]:
    return {world.tags(disk).get("qc") for disk in world.volumes(vm)}


def _templates(world: World, vm: dict) -> set[str]:
    return {world.there(disk)["templateName"] for disk in world.volumes(vm)}


def _change(world: World, disk: dict, offering: str, **more: object) -> dict:
    return world.change(disk, **{"offering": offering, "size": f"{disk['size'] // GIB or 1}G", **more})


def test_01_check_tags_on_deployed_vm_and_datadisk(world: World) -> None:
    assert _classes(world, _vm(world, _tier(world, TIER1))) == {TIER1}


def test_02_change_offering_on_attached_root_disk(world: World) -> None:
    disk = world.root(_vm(world, _tier(world, TIER1)))
    _change(world, disk, _tier(world, TIER2))
    assert world.tags(disk)["qc"] == TIER2


def test_03_change_offering_on_attached_data_disk(world: World) -> None:
    disk = world.volumes(_vm(world, _tier(world, TIER1)))[1]
    changed = _change(world, disk, _tier(world, TIER2))
    assert world.tags(disk)["qc"] == TIER2 and changed["diskofferingid"] != disk["diskofferingid"]


def test_04_check_templates_on_deployed_vm_and_datadisk(world: World) -> None:
    assert _templates(world, _vm(world, _tier(world, template="hybrid"))) == {"hybrid"}


def test_05_check_templates_on_deployed_vm_and_datadisk_tier2_template(world: World) -> None:
    assert _templates(world, _vm(world, _tier(world, template="hdd"))) == {"hdd"}


def test_06_change_offering_on_detached_volume(world: World) -> None:
    disk = world.detached(offering=_tier(world, TIER1))
    _change(world, disk, _tier(world, TIER2))
    assert world.tags(disk)["qc"] == TIER2


def test_07_change_template_on_detached_volume(world: World) -> None:
    disk = world.detached(offering=_tier(world, template="hybrid"))
    _change(world, disk, _tier(world, template="hdd"))
    assert world.there(disk)["templateName"] == "hdd"


def test_08_deploy_vm_with_tag_and_template_in_offerings(world: World) -> None:
    """The class wins; the template stays the pool's."""
    vm = _vm(world, _tier(world, TIER1, "hybrid"))
    rows = [world.there(disk) for disk in world.volumes(vm)]
    assert {(row["tags"]["qc"], row["templateName"]) for row in rows} == {(TIER1, "nvme")}


def test_09_resize_root_volume(world: World) -> None:
    _grow(world, 0)


def test_10_shrink_root_volume(world: World) -> None:
    _shrink(world, 0)


def test_11_resize_data_volume(world: World) -> None:
    _grow(world, 1)


def test_12_shrink_data_volume(world: World) -> None:
    _shrink(world, 1)


def _grow(world: World, number: int) -> None:
    """Marvin's own step is too small to change anything; here it is a whole GiB."""
    disk = world.volumes(_vm(world, _tier(world, TIER1)))[number]
    _change(world, disk, _tier(world, TIER2), size="2G")
    assert world.there(disk)["size"] == 2 * GIB and world.tags(disk)["qc"] == TIER2


def _shrink(world: World, number: int) -> None:
    vm = _vm(world, _tier(world, TIER1))
    disk = world.volumes(vm)[number]
    _change(world, disk, _tier(world, TIER2), size="3G")
    world.stop(vm)
    _change(world, world.volume(disk["id"]), _tier(world, TIER1), size="1G", allow_shrink=True)
    assert world.there(disk)["size"] == GIB and world.tags(disk)["qc"] == TIER1


def test_13_deploy_vm_from_volume(world: World) -> None:
    world.only_since("4.21")
    vm = world.stopped(overridediskofferingid=_tier(world, TIER1), rootdisksize=1)
    copy = world.copy_of(world.snapshot(world.root(vm)))
    other = world.deploy(volumeid=copy["id"])
    tags = world.tags(world.root(other))
    assert world.root(other)["path"] == copy["path"] and (tags["cvm"], tags["qc"]) == (other["id"], TIER1)


def test_14_deploy_vm_from_snapshot(world: World) -> None:
    world.only_since("4.21")
    offering = _tier(world, TIER1)
    snapshot = world.snapshot(world.root(world.deploy()))
    vm = world.deploy(snapshotid=snapshot["id"], overridediskofferingid=offering, rootdisksize=1)
    assert world.tags(world.root(vm))["qc"] == TIER1 and world.tags(world.root(vm))["cvm"] == vm["id"]
