# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every supported answer conforms to the field tables, in every path form, checked over the raw JSON.

The client of these tests checks each answer of the whole folder (see `Client.call`); here every call is made at least once for that.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from storpool_simulator.testing import Simulator

from . import tables
from .conftest import client_of
from .support import MIB, Client
from .world import CHANGES, READS, populate, request

MULTI = {name for name, call in tables.CALLS.items() if call["multiCluster"]} | {"snapshotUpdate"}
FORMS = {"plain": "", "multi": "MultiCluster/", "remote": "RemoteCommand/sofia-a/", "remote-multi": "RemoteCommand/~sf.a/MultiCluster/"}


def send(client: Client, name: str, args: tuple) -> Any:
    method, query, body = request(name, args)
    return client.call(method, query, body).data


def cases() -> Iterator[Any]:
    for name in sorted(READS):
        for form, prefix in FORMS.items():
            if "MultiCluster" not in prefix or name in MULTI:
                yield pytest.param(name, prefix, id=f"{name}-{form}")


@pytest.mark.parametrize(("name", "prefix"), list(cases()))
def test_the_answer_of_a_read_conforms(populated: tuple[Simulator, dict], name: str, prefix: str) -> None:
    sim, world = populated
    client = client_of(sim, "plovdiv-a" if prefix.startswith("RemoteCommand") else "sofia-a", prefix)
    for args in READS[name](world):
        send(client, name, args)
    client.close()


@pytest.mark.parametrize("name", sorted(CHANGES))
def test_the_answer_of_a_change_conforms(sim: Simulator, name: str) -> None:
    world = populate(sim)
    client = client_of(sim)
    for args in CHANGES[name](world):
        assert send(client, name, args)["ok"] is True
    for read in (
        "volumesList",
        "snapshotsList",
        "volumesStatus",
        "volumesSpace",
        "snapshotsSpace",
        "attachmentsList",
        "volumeTemplatesStatus",
    ):
        send(client, read, ())
    sim.settle()
    for read in ("volumesList", "snapshotsList", "volumesQuickStatus", "volumeTemplatesList", "placementGroupsList", "exportsList"):
        send(client, read, ())
    client.close()


@pytest.mark.parametrize("name", sorted(set(CHANGES) & MULTI))
def test_the_answer_of_a_multi_cluster_change_conforms(sim: Simulator, name: str) -> None:
    world = populate(sim)
    client = client_of(sim, prefix="MultiCluster/")
    method, query, body = request(name, CHANGES[name](world)[0])
    reply = client.call(method, query, body)
    assert reply.data["ok"] is True
    assert reply.body.get("clusterId", "sf.a") in ("sf.a", "sf.b")
    client.close()


@pytest.mark.parametrize("listing", ["VolumesSpace", "VolumeTemplatesStatus", "SnapshotsList"])
def test_the_all_clusters_form_conforms(populated: tuple[Simulator, dict], listing: str) -> None:
    sim, _unused = populated
    client = client_of(sim, prefix="MultiCluster/AllClusters/")
    clusters = client.get(listing).data["clusters"]
    assert len(clusters) == 2 and all(item["response"]["data"] for item in clusters)
    client.close()


def test_the_calls_of_other_clients_conform(populated: tuple[Simulator, dict], api: Client) -> None:
    sim, world = populated
    client = client_of(sim)
    mixed = client.get("VolumesAndSnapshotsList").data["volumes"]
    assert {item["name"] for item in mixed if item["snapshot"]} == set(world["snapshots"])
    assert {item["name"] for item in mixed if not item["snapshot"]} == set(world["volumes"])
    client.close()
    api.create("vol")
    api.snap("vol", "snap")
    assert api.do("SnapshotReconcile/snap")["ok"] is True
    reply = api.at("MultiCluster/").post("SnapshotUpdate/snap", {})
    assert reply.body["clusterId"] == "sf.a" and reply.data["ok"] is True
    assert api.post("SnapshotReconcile/none").failed


def test_an_empty_cluster_conforms(api: Client) -> None:
    for name in sorted(READS):
        if not tables.CALLS[name]["pathArgs"]:
            send(api, name, ())
    assert api.get("VolumesList").data == api.get("SnapshotsList").data == api.get("AttachmentsList").data == []
    assert api.get("VolumesGetStatus").data == {}


def test_the_listings_agree_with_each_other(populated: tuple[Simulator, dict]) -> None:
    """The same object looks the same wherever it is listed."""
    sim, _unused = populated
    client = client_of(sim)
    volumes, snapshots = client.volumes(), client.snapshots()
    space = {item["name"]: item for item in [*client.get("VolumesSpace").data, *client.get("SnapshotsSpace").data]}
    status, quick = client.get("VolumesGetStatus").data, client.get("VolumesGetStatusQuick").data
    assert set(space) == set(volumes) | set(snapshots) == set(status) == set(quick)
    for name, summary in {**volumes, **snapshots}.items():
        kind = "Snapshot" if name in snapshots else "Volume"
        views = [client.get(f"{kind}/{name}").data[0], client.get(f"{kind}Describe/{name}").data, client.get(f"{kind}GetInfo/{name}").data]
        for view in [*views, space[name], status[name], quick[name]]:
            different = {key: (view.get(key), value) for key, value in summary.items() if view.get(key) != value}
            assert not different, (name, different)
        assert status[name]["snapshot"] is (name in snapshots)
        assert summary["objectsCount"] >= 1
    parents = {item["parentName"] for item in [*volumes.values(), *snapshots.values()]} - {""}
    assert parents <= set(snapshots)
    for name, summary in snapshots.items():
        if summary["onVolume"] in volumes:
            assert volumes[summary["onVolume"]]["parentName"] == name
    client.close()


def test_space_is_that_of_the_bytes_written(api: Client) -> None:
    api.create("vol", size=4 * MIB, replication=2)
    api.write("vol", b"\x01" * MIB)
    api.snap("vol", "snap")
    api.write("vol", b"\x02" * (MIB // 2), 2 * MIB)
    volume = next(item for item in api.get("VolumesSpace").data if item["name"] == "vol")
    snapshot = next(item for item in api.get("SnapshotsSpace").data if item["name"] == "snap")
    assert volume["storedSize"] == MIB // 2 and volume["spaceUsed"] == MIB + MIB // 2
    assert snapshot["storedSize"] == MIB


def test_template_figures_follow_the_objects(api: Client) -> None:
    def figures() -> dict:
        return next(item for item in api.get("VolumeTemplatesStatus").data if item["name"] == "nvme")

    before = figures()
    assert (before["volumesCount"], before["snapshotsCount"], before["totalSize"]) == (0, 0, 0)
    assert 0 < before["stored"]["free"] <= before["stored"]["capacity"]
    api.create("vol", size=8 * MIB, template="nvme")
    api.write("vol", b"\x01" * (4 * MIB))
    api.snap("vol", "snap")
    after = figures()
    assert (after["volumesCount"], after["snapshotsCount"]) == (1, 1)
    assert after["totalSize"] >= 8 * MIB and after["storedSize"] >= 4 * MIB
    assert after["stored"]["free"] < before["stored"]["free"] and after["stored"]["capacity"] == before["stored"]["capacity"]


def test_the_topology_is_the_written_one(api: Client, neighbour: Client, far: Client) -> None:
    for client in (api, neighbour, far):
        services = client.get("ServicesList").data
        assert services["clusterStatus"] == "running"
        assert set(services["servers"]) == {"1", "2", "3"} and set(services["clients"]) == {"1", "2", "3", "11", "12", "13"}
        assert sorted(item["active"] for item in services["mgmt"].values()) == [False, True]
        assert {item["nodeId"] for item in services["servers"].values()} == {1, 2, 3}
        disks = client.get("DisksList").data
        assert set(disks) == {str(base + index) for base in (100, 200, 300) for index in (1, 2, 3)}
        assert {key for key, disk in disks.items() if not disk["ssd"]} == {"101", "102", "103"}
        assert {disk["serverId"] for disk in disks.values()} == {1, 2, 3}
        groups = client.get("PlacementGroupsList").data
        assert set(groups) == {"default", "hdd", "ssd", "nvme"}
        assert [sorted(groups[name]["disks"]) for name in ("hdd", "ssd", "nvme")] == [[101, 102, 103], [201, 202, 203], [301, 302, 303]]
        templates = {item["name"]: item for item in client.get("VolumeTemplatesList").data}
        assert {name: item["replication"] for name, item in templates.items()} == {"hybrid": 3, "nvme": 3, "hdd": 2}
        peers = client.get("NetworkPeersList").data
        assert all(peer["beaconStatus"] == "NODE_UP" for peer in peers.values())
    clusters = api.get("ClustersList").data["clusters"]
    assert ("sofia", "b", "sofia-b") in [(item["location"], item["id"], item["name"]) for item in clusters]
    assert ("plovdiv", "pd") in [(item["name"], item["id"]) for item in api.get("LocationsList").data["locations"]]
