# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots in other zones: files on secondary storage, and StorPool's own copies from 4.21 on (plugin sheet 5.5)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from storpool_simulator.testing import Simulator
from storpool_simulator.topology import BUILT_IN

from .cloudstack_support import failed_job, job, named, ok, refused
from .conftest import one_of_each
from .plugin_support import (
    address,
    configure,
    deploy,
    digest,
    listed,
    on_storpool,
    pool_id,
    primary_only,
    raw_digest,
    root,
    service_id,
    snapshot,
    stop,
    stored,
    storpool_path,
    tagged,
    zone_id,
)
from .support import wait_until
from .test_cloudstack_migration import second_pool

replicating = pytest.mark.parametrize("version", ["4.21.0", "4.22.0"])
FAR, FAR_POOL, FAR_STORE, FAR_CLUSTER = "plovdiv", "storpool-nvme-plovdiv", "nfs-secondary-plovdiv", "plovdiv-a"
Zones = Callable[[str], Simulator]


@pytest.fixture(scope="module")
def two_zones(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zones]:
    """CloudStack with a zone in each of two locations."""

    def of(version: str) -> Simulator:
        place = tmp_path_factory.mktemp(f"zones-{version}")
        topology = place / "topology.json"
        topology.write_text(json.dumps({**BUILT_IN, "cloudstack": {"zones": 2}}))
        return Simulator(place / "state", devices="none", cloudstack=version, topology=topology)

    yield from one_of_each(of)


def disk_of(sim: Simulator) -> dict[str, Any]:
    """The ROOT volume of a stopped instance in the first zone."""
    vm = deploy(sim)
    stop(sim, vm)
    return root(sim, vm)


def marked(sim: Simulator) -> None:
    """The pool of the second zone takes copies."""
    ok(sim, "updateConfiguration", name="use.storage.replication", value="true", storageid=pool_id(sim, FAR_POOL))


def places(sim: Simulator, id: str) -> list[tuple[str, str]]:
    return [(row["zonename"], row["datastoretype"]) for row in listed(sim, id, showunique=False)]


def test_the_second_zone_is_like_the_first(two_zones: Zones) -> None:
    sim = two_zones("4.20.2")
    assert [row["name"] for row in ok(sim, "listZones")["zone"]] == ["sofia", FAR]
    (pool,) = ok(sim, "listStoragePools", zoneid=zone_id(sim, FAR))["storagepool"]
    assert pool["name"] == FAR_POOL and pool["disksizetotal"] > 0
    assert {row["name"] for row in ok(sim, "listHosts", zoneid=zone_id(sim, FAR))["host"]} == {"plovdiv11", "plovdiv12", "plovdiv13"}


# Files


@pytest.mark.parametrize("version", ["4.19.3", "4.20.2", "4.21.0"])
def test_copies_of_the_file(two_zones: Zones, version: str) -> None:
    sim = two_zones(version)
    disk = disk_of(sim)
    made = snapshot(sim, disk["id"])
    job(sim, "copySnapshot", id=made["id"], sourcezoneid=zone_id(sim), destzoneids=zone_id(sim, FAR))
    assert places(sim, made["id"]) == [("sofia", "Primary"), ("sofia", "Image"), (FAR, "Image")]
    (file,) = [file for name, file in stored(sim, FAR_STORE).items() if name.startswith("snapshots/")]
    assert raw_digest(file) == digest(sim, disk)
    there = job(sim, "createVolume", snapshotid=made["id"], name="there", zoneid=zone_id(sim, FAR))["volume"]
    assert there["zonename"] == FAR and digest(sim, there, FAR_CLUSTER) == digest(sim, disk)
    job(sim, "deleteSnapshot", id=made["id"], zoneid=zone_id(sim, FAR))
    assert {zone for zone, _unused in places(sim, made["id"])} == {"sofia"}
    assert not [name for name in stored(sim, FAR_STORE) if name.startswith("snapshots/")]


def test_createsnapshot_for_another_zone(two_zones: Zones) -> None:
    sim = two_zones("4.20.2")
    made = snapshot(sim, disk_of(sim)["id"], zoneids=zone_id(sim, FAR))
    assert places(sim, made["id"]) == [("sofia", "Primary"), ("sofia", "Image"), (FAR, "Image")]
    job(sim, "deleteSnapshot", id=made["id"])
    assert listed(sim, made["id"]) == []


def test_file_copies_refused(two_zones: Zones) -> None:
    sim = two_zones("4.20.2")
    disk = disk_of(sim)
    primary_only(sim)
    made = snapshot(sim, disk["id"])
    text = failed_job(sim, "copySnapshot", id=made["id"], destzoneids=zone_id(sim, FAR))["errortext"]
    assert "ready on image store" in text
    assert "valid destination zone" in failed_job(sim, "copySnapshot", id=made["id"])["errortext"]
    assert "is not in zone plovdiv" in refused(sim, "createVolume", snapshotid=made["id"], name="x", zoneid=zone_id(sim, FAR))["errortext"]


# StorPool's own copies


@replicating
def test_straight_to_two_zones(two_zones: Zones, version: str) -> None:
    sim = two_zones(version)
    marked(sim)
    disk = disk_of(sim)
    sim.reset_calls()
    made = snapshot(sim, disk["id"], zoneids=zone_id(sim, FAR), usestoragereplication=True)
    assert places(sim, made["id"]) == [("sofia", "Primary"), ("sofia", "Image"), (FAR, "Primary")]
    path = storpool_path(sim, made["id"])
    here, there = on_storpool(sim, path, "Snapshot"), on_storpool(sim, path, "Snapshot", FAR_CLUSTER)
    assert here is not None and there is not None and here["globalId"] == there["globalId"], "the same globalId in both zones"
    assert there["tags"] == {"uuid": made["id"], "cs": "snapshot"} and digest(sim, path, FAR_CLUSTER) == digest(sim, disk)
    names = ("SnapshotExport", "SnapshotFromRemote", "SnapshotReconcile")
    calls = [(call["call"], call["cluster"]) for call in sim.calls()["calls"] if call["call"] in names]
    assert calls == [("SnapshotExport", "sofia-a"), ("SnapshotFromRemote", FAR_CLUSTER), ("SnapshotReconcile", FAR_CLUSTER)]
    rows = ok(sim, "getVolumeSnapshotDetails", snapshotid=made["id"])["apivolumesnapshotdetails"]
    recovered = [row["snapshotDetailsValue"] for row in rows if row["snapshotDetailsName"] == "SP_RECOVERED_SNAPSHOT"]
    assert f"{address(path)};{FAR}" in recovered


@replicating
def test_an_export_keeps_it_from_being_deleted_for_minutes(two_zones: Zones, version: str) -> None:
    sim = two_zones(version)
    marked(sim)
    made = snapshot(sim, disk_of(sim)["id"], zoneids=zone_id(sim, FAR), usestoragereplication=True)
    for params in ({}, {"zoneid": zone_id(sim)}):
        text = failed_job(sim, "deleteSnapshot", id=made["id"], **params)["errortext"]
        assert "was exported to another cluster" in text and "still exported" in text
    assert len(places(sim, made["id"])) == 3 and listed(sim, made["id"])[0]["state"] == "BackedUp"
    sim.advance(420)
    wait_until(lambda: not sim.get("ExportsList")[1]["data"]["exports"])
    job(sim, "deleteSnapshot", id=made["id"], zoneid=zone_id(sim))
    assert places(sim, made["id"]) == [(FAR, "Primary")] and on_storpool(sim, storpool_path(sim, made["id"]), "Snapshot", FAR_CLUSTER)
    job(sim, "deleteSnapshot", id=made["id"])
    assert listed(sim, made["id"]) == [] and not tagged(sim, made["id"], cluster=FAR_CLUSTER)


@replicating
def test_copied_afterwards(two_zones: Zones, version: str) -> None:
    sim = two_zones(version)
    primary_only(sim)
    made = snapshot(sim, disk_of(sim)["id"])
    pool = pool_id(sim, FAR_POOL)
    assert refused(sim, "createSnapshot", volumeid=made["volumeid"], zoneids=zone_id(sim, FAR))["errortext"].startswith("Backing up of")
    answer = job(sim, "copySnapshot", id=made["id"], storageids=pool)["snapshot"]
    assert answer["id"] == made["id"] and places(sim, made["id"]) == [("sofia", "Primary"), (FAR, "Primary")]
    job(sim, "copySnapshot", id=made["id"], storageids=pool)
    assert len(places(sim, made["id"])) == 2, "once more is once"
    fresh = job(sim, "createVolume", snapshotid=made["id"], name="there", zoneid=zone_id(sim, FAR))["volume"]
    row = on_storpool(sim, fresh, cluster=FAR_CLUSTER)
    assert row is not None and address(storpool_path(sim, made["id"])) == "~" + row["parentName"].lstrip("~")
    wanted = {"zoneid": zone_id(sim, FAR), "serviceofferingid": service_id(sim), "name": "far"}
    vm = job(sim, "deployVirtualMachine", **wanted, snapshotid=made["id"])["virtualmachine"]
    assert vm["zonename"] == FAR and vm["hostname"].startswith(FAR)
    system = ok(sim, "listOsTypes")["ostype"][0]["id"]
    template = job(sim, "createTemplate", name="far", snapshotid=made["id"], ostypeid=system, zoneid=zone_id(sim, FAR))["template"]
    assert template["zonename"] == FAR and len(tagged(sim, template["id"], cluster=FAR_CLUSTER)) == 1 and not tagged(sim, template["id"])


@replicating
def test_copies_refused(two_zones: Zones, version: str) -> None:
    sim = two_zones(version)
    disk = disk_of(sim)
    made = snapshot(sim, disk["id"])
    machine = {"zoneid": zone_id(sim, FAR), "serviceofferingid": service_id(sim), "name": "far", "snapshotid": made["id"]}
    assert "is not in zone plovdiv" in refused(sim, "deployVirtualMachine", **machine)["errortext"]
    nobody = refused(sim, "createSnapshot", volumeid=disk["id"], zoneids=zone_id(sim, FAR), usestoragereplication=True)
    assert nobody["errorcode"] == 530 and "Index 0 out of bounds" in nobody["errortext"], "no pool of the zone is marked"
    text = failed_job(sim, "copySnapshot", id=made["id"], usestoragereplication=True)["errortext"]
    assert text == "There is no destination zone provided"
    both = f"{pool_id(sim)},{second_pool(sim)}"
    assert "multiple storage pools in one zone" in failed_job(sim, "copySnapshot", id=made["id"], storageids=both)["errortext"]
    nfs = {"name": "nfs", "zoneid": zone_id(sim, FAR), "scope": "zone", "hypervisor": "KVM", "url": "nfs://192.0.2.7/export/far"}
    other = ok(sim, "createStoragePool", **nfs)["storagepool"]["id"]
    text = failed_job(sim, "copySnapshot", id=made["id"], storageids=other)["errortext"]
    assert text == "The storage pool does not support copy between zones"
    sim.fault("error", "SnapshotFromRemote", name="busy", descr="the bridge is down")
    marked(sim)
    params = {"id": made["id"], "destzoneids": zone_id(sim, FAR), "usestoragereplication": True}
    assert "Failed to copy snapshot" in failed_job(sim, "copySnapshot", **params)["errortext"]
    job(sim, "copySnapshot", **params)


@pytest.mark.parametrize("version", ["4.20.2", "4.21.0", "4.22.0"])
def test_a_policys_snapshots_get_copies_too(two_zones: Zones, version: str) -> None:
    """On secondary storage of the zone, or (4.21) on its StorPool."""
    sim = two_zones(version)
    by_storpool = version >= "4.21"
    if by_storpool:
        marked(sim)
    disk = disk_of(sim)
    wanted = {"intervaltype": "HOURLY", "schedule": "10", "timezone": "UTC", "maxsnaps": 2, "zoneids": zone_id(sim, FAR)}
    ok(sim, "createSnapshotPolicy", volumeid=disk["id"], **wanted, **({"usestoragereplication": True} if by_storpool else {}))
    sim.advance(3600)
    last = (FAR, "Primary" if by_storpool else "Image")

    def found() -> list[tuple[str, str]]:
        return [place for row in ok(sim, "listSnapshots", listall=True).get("snapshot", []) for place in places(sim, row["id"])]

    wait_until(lambda: last in found() and not sim.control("GET", "/cloudstack/work")["under_way"])
    assert set(found()) == {("sofia", "Primary"), ("sofia", "Image"), last}


def test_what_older_releases_do_not_know_they_ignore(two_zones: Zones) -> None:
    sim = two_zones("4.20.2")
    marked_ones = ok(sim, "listConfigurations", name="use.storage.replication").get("configuration", [])
    assert not marked_ones
    made = snapshot(sim, disk_of(sim)["id"], zoneids=zone_id(sim, FAR), usestoragereplication=True)
    assert places(sim, made["id"])[-1] == (FAR, "Image")
    assert named(sim, "listStoragePools", "storagepool", FAR_POOL)


def test_the_checker_waits_for_the_recovery(two_zones: Zones) -> None:
    sim = two_zones("4.21.0")
    marked(sim)
    configure(sim, "storpool.snapshot.recovery.from.remote.check", "60")
    sim.background(False)
    made = snapshot(sim, disk_of(sim)["id"], zoneids=zone_id(sim, FAR), usestoragereplication=True)
    assert sim.get("ExportsList")[1]["data"]["exports"], "with background work off nothing is seen"
    row = on_storpool(sim, storpool_path(sim, made["id"]), "Snapshot", FAR_CLUSTER)
    assert row is not None and row["recoveringFromRemote"]
    sim.background(True)
    sim.settle()  # the recovery ends; the checker sees it when it looks next
    sim.advance(130)
    wait_until(lambda: not sim.get("ExportsList")[1]["data"]["exports"])


@pytest.mark.parametrize("version", ["4.19.3", "4.22.0"])
def test_templates_are_copied_as_files(two_zones: Zones, version: str) -> None:
    """A template from a volume has its base on StorPool in its own zone alone; in the other one the file is brought to StorPool."""
    sim = two_zones(version)
    vm = deploy(sim)
    stop(sim, vm)
    system = ok(sim, "listOsTypes")["ostype"][0]["id"]
    made = job(sim, "createTemplate", name="golden", ostypeid=system, volumeid=root(sim, vm)["id"])["template"]
    call = {"id": made["id"], "sourcezoneid": zone_id(sim)}
    assert "different source and destination zones" in failed_job(sim, "copyTemplate", **call, destzoneids=zone_id(sim))["errortext"]
    assert "have to be specified" in failed_job(sim, "copyTemplate", **call)["errortext"]
    answer = job(sim, "copyTemplate", **call, destzoneids=zone_id(sim, FAR))["template"]
    assert (answer["zonename"], answer["isready"]) == (FAR, True)
    assert {row["zonename"] for row in ok(sim, "listTemplates", templatefilter="all", id=made["id"])["template"]} == {"sofia", FAR}
    job(sim, "copyTemplate", **call, destzoneids=zone_id(sim, FAR))
    far = deploy(sim, "far", zoneid=zone_id(sim, FAR), templateid=made["id"])
    assert digest(sim, root(sim, far), FAR_CLUSTER) == digest(sim, root(sim, vm))
    near, away = (tagged(sim, made["id"], cluster=cluster) for cluster in ("sofia-a", FAR_CLUSTER))
    assert (len(near), len(away)) == (1, 1), "the base here, the cache there"
    job(sim, "deleteTemplate", id=made["id"], zoneid=zone_id(sim, FAR), forced=True)
    assert [row["zonename"] for row in ok(sim, "listTemplates", templatefilter="all", id=made["id"])["template"]] == ["sofia"]
