# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Marvin's test_snapshot_copy_on_primary_storage (4.21+): two zones, usestoragereplication."""

from __future__ import annotations

import pytest
from simulator_tests.plugin_support import pool_id, zone_id
from simulator_tests.support import wait_until

from .conftest import Clouds
from .world import CLUSTERS, World

FAR = "plovdiv"


@pytest.fixture(scope="module", params=["4.21.0", "4.22.0"])
def world(request: pytest.FixtureRequest, clouds: Clouds) -> World:
    made = clouds(request.param, "zones")
    pool = pool_id(made.sim, f"storpool-nvme-{FAR}")
    made.ok("updateConfiguration", name="use.storage.replication", value="true", storageid=pool)
    return made


def _far(world: World) -> str:
    return zone_id(world.sim, FAR)


def _in_both(world: World) -> dict:
    """Straight to two zones."""
    return world.snapshot(world.root(world.deploy()), zones=[FAR])


def _copy(world: World, snapshot: dict) -> None:
    entry = world.declare("snapshot", id=snapshot["id"], volume=snapshot["volumeid"], zones=[FAR])
    assert entry["actions"] == [f"copy to {FAR} by StorPool"]


def _zones(world: World, snapshot: dict) -> set[str]:
    rows = world.ok("listSnapshots", id=snapshot["id"], showunique=False).get("snapshot", [])
    return {row["zonename"] for row in rows}


def _wait(world: World) -> None:
    """Marvin sleeps for 420 seconds here, until the exports are gone."""
    world.sim.advance(420)
    wait_until(lambda: not world.sim.get("ExportsList")[1]["data"]["exports"])


def test_01_take_snapshot_multi_zone(world: World) -> None:
    assert _zones(world, _in_both(world)) == {"sofia", FAR}


def test_02_copy_snapshot_multi_pools(world: World) -> None:
    snapshot = world.snapshot(world.root(world.deploy()))
    _copy(world, snapshot)
    assert _zones(world, snapshot) == {"sofia", FAR}


def test_03_take_snapshot_multi_pools_delete_single_zone(world: World) -> None:
    snapshot = _in_both(world)
    _wait(world)
    world.drop_snapshot(snapshot, zones=[world.zone])
    assert _zones(world, snapshot) == {FAR}


def test_04_copy_snapshot_multi_zone_delete_all(world: World) -> None:
    snapshot = world.snapshot(world.root(world.deploy()))
    _copy(world, snapshot)
    assert "was exported to another cluster" in world.failed("deleteSnapshot", id=snapshot["id"])
    _wait(world)
    world.drop_snapshot(snapshot)
    assert "snapshot" not in world.ok("listSnapshots", id=snapshot["id"])


def test_05_take_snapshot_multi_zone_create_volume_additional_zone(world: World) -> None:
    snapshot = _in_both(world)
    volume = world.copy_of(snapshot, zone=FAR)
    assert volume["zonename"] == FAR and world.sim.content("~" + volume["path"].rpartition("/")[2], CLUSTERS[FAR])["stored"] > 0


def test_06_take_snapshot_multi_zone_create_template_additional_zone(world: World) -> None:
    template = world.template(snapshot=_in_both(world)["id"], zone=FAR)
    assert template["zonename"] == FAR


def test_07_take_snapshot_multi_zone_deploy_vm_additional_zone(world: World) -> None:
    vm = world.deploy(zoneid=_far(world), snapshotid=_in_both(world)["id"])
    assert vm["zonename"] == FAR and vm["state"] == "Running"


def test_08_take_snapshot_multi_zone_create_volume_additional_zone_deploy_vm(world: World) -> None:
    snapshot = _in_both(world)
    volume = world.copy_of(snapshot, zone=FAR)
    vm = world.deploy(zoneid=_far(world), volumeid=volume["id"])
    assert vm["zonename"] == FAR and vm["state"] == "Running"
