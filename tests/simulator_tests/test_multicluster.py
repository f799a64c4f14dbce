# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several clusters: path forms, envelopes, remote commands, exports, backups, moves."""

from __future__ import annotations

import pytest
from storpool_simulator.testing import Simulator

from .conftest import client_of
from .support import MIB, Client, state

# Path forms


def test_clusters_do_not_see_each_other_by_plain_paths(api: Client, neighbour: Client, far: Client) -> None:
    for client, name in ((api, "one"), (neighbour, "two"), (far, "three")):
        client.create(name)
    assert [set(client.volumes()) for client in (api, neighbour, far)] == [{"one"}, {"two"}, {"three"}]
    assert neighbour.get("Volume/one").error == "objectDoesNotExist"
    assert neighbour.post("VolumeDelete/one").error == "objectDoesNotExist"
    api.create("two")
    assert set(api.volumes()) == {"one", "two"}


def test_multi_cluster_spans_one_location_with_names_and_ids(api: Client, neighbour: Client, far: Client) -> None:
    api.create("one", tags={"a": "1"})
    neighbour.create("two")
    far.create("three")
    api.snap("one", "s1")
    neighbour.snap("two", "s2")
    for client in (api, neighbour):
        multi = client.at("MultiCluster/")
        assert {name: (item["clusterName"], item["clusterId"]) for name, item in multi.volumes().items()} == {
            "one": ("sofia-a", "sf.a"),
            "two": ("sofia-b", "sf.b"),
        }
        assert {name: item["clusterId"] for name, item in multi.snapshots().items()} == {"s1": "sf.a", "s2": "sf.b"}
        assert {item["name"] for item in multi.get("VolumesSpace").data} == {"one", "two"}
        assert set(multi.get("VolumesGetStatus").data) == {"one", "two", "s1", "s2"}
        assert multi.volume("one")["clusterName"] == "sofia-a" and multi.volume("two")["clusterName"] == "sofia-b"
    assert set(far.at("MultiCluster/").volumes()) == {"three"}
    assert not any("clusterName" in item or "clusterId" in item for item in [*api.volumes().values(), *api.snapshots().values()])


def test_one_name_in_two_clusters_of_a_location(api: Client, neighbour: Client) -> None:
    """Nothing stops it; listings show both, and the one of the called cluster is meant by the name."""
    ids = {api.create("same")["globalId"], neighbour.create("same")["globalId"]}
    multi = neighbour.at("MultiCluster/")
    assert {item["globalId"] for item in multi.get("VolumesList").data} == ids
    for query in ("VolumesGetStatus", "VolumesGetStatusQuick"):
        assert {item["globalId"] for item in multi.get(query).data.values()} == ids
    multi.do("VolumeUpdate/same", {"tags": {"a": "b"}})
    assert neighbour.volume("same")["tags"] == {"a": "b"} and api.volume("same").get("tags", {}) == {}


def test_multi_cluster_waits_for_the_clients_of_all_clusters(api: Client, neighbour: Client) -> None:
    """Client 2 of one cluster is not client 2 of the other."""
    for late, prompt in ((api, neighbour), (neighbour, api)):
        for client in (api, neighbour):
            client.sim("PUT", f"clients/{client.cluster}/2", {"status": "running", "lag": 0.6 if client is late else 0})
        api.create("vol")
        api.attach("vol", rw=[2])
        neighbour.at("MultiCluster/").attach("vol", rw=[2], mcMode="export")
        assert len(api.at("MultiCluster/").attachments("vol")) == 2
        reply = prompt.at("MultiCluster/").post("VolumesReassignWait", [{"volume": "vol", "detach": "all"}])
        assert not reply.failed and reply.seconds > 0.5
        assert api.at("MultiCluster/").attachments() == []
        api.at("MultiCluster/").do("VolumeDelete/vol")


def test_multi_cluster_changes_reach_the_cluster_of_the_object(api: Client, neighbour: Client) -> None:
    api.create("vol", size=MIB)
    multi = neighbour.at("MultiCluster/")
    multi.do("VolumeUpdate/vol", {"size": 2 * MIB, "tags": {"x": "1"}})
    assert (api.volume("vol")["size"], api.volume("vol")["tags"]) == (2 * MIB, {"x": "1"})
    multi.do("VolumeSnapshot/vol", {"name": "snap"})
    assert "snap" in api.snapshots() and "snap" not in neighbour.snapshots()
    reply = multi.post("SnapshotUpdate/snap", {})
    assert reply.body["clusterId"] == "sf.a"
    multi.do("SnapshotDelete/snap")
    multi.do("VolumeDelete/vol")
    api.sim("POST", "settle")
    assert api.volumes() == {} == api.snapshots()
    assert multi.get("Volume/vol").error == "objectDoesNotExist"


def test_multi_cluster_attachments_tell_the_cluster(api: Client, neighbour: Client) -> None:
    api.create("one")
    neighbour.create("two")
    api.attach("one", rw=[1])
    neighbour.attach("two", ro=[1])
    found = {(item["volume"], item["cluster"], item["clusterId"], item["client"]) for item in api.at("MultiCluster/").attachments()}
    assert found == {("one", "sofia-a", "sf.a", 1), ("two", "sofia-b", "sf.b", 1)}
    assert {item["volume"] for item in api.attachments()} == {"one"}


@pytest.mark.parametrize("where", ["sofia-b", "~sf.b"])
def test_a_remote_command_acts_on_the_named_cluster(api: Client, neighbour: Client, far: Client, where: str) -> None:
    for sender in (api, far, neighbour):
        remote = sender.at(f"RemoteCommand/{where}/")
        remote.create("vol")
        assert set(neighbour.volumes()) == {"vol"} and api.volumes() == far.volumes() == {}
        remote.attach("vol", rw=[2])
        assert neighbour.attached("vol") == {2: "rw"}
        remote.attach("vol", detach="all")
        remote.do("VolumeDelete/vol")
        assert neighbour.volumes() == {}


@pytest.mark.parametrize("where", ["plovdiv-a", "~pd.a", "sofia-a", "~sf.a"])
def test_a_remote_command_reaches_every_cluster(api: Client, where: str) -> None:
    gid = api.at(f"RemoteCommand/{where}/").create("vol")["globalId"]
    assert gid.startswith("pd.a." if "p" in where.replace("~sf", "") else "sf.a.")


def test_a_remote_command_may_be_multi_cluster(api: Client, neighbour: Client, far: Client) -> None:
    api.create("one")
    neighbour.create("two")
    for where in ("sofia-a", "sofia-b", "~sf.a"):
        assert set(far.at(f"RemoteCommand/{where}/MultiCluster/").volumes()) == {"one", "two"}
    assert far.at("RemoteCommand/nowhere/").get("VolumesList").failed
    assert far.at("RemoteCommand/~pd.zz/").get("VolumesList").failed


def test_the_all_clusters_form_wraps_each_answer(api: Client, neighbour: Client, far: Client) -> None:
    api.create("one")
    neighbour.create("two")
    far.create("three")
    api.snap("one", "snap")
    every = api.at("MultiCluster/AllClusters/")
    space = every.get("VolumesSpace").data["clusters"]
    assert [sorted(item["name"] for item in entry["response"]["data"]) for entry in space] in ([["one"], ["two"]], [["two"], ["one"]])
    assert all(isinstance(entry["response"]["generation"], int) for entry in space)
    status = every.get("VolumeTemplatesStatus").data["clusters"]
    assert all({"hybrid", "nvme", "hdd"} <= {item["name"] for item in entry["response"]["data"]} for entry in status)
    snapshots = every.get("SnapshotsList").data["clusters"]
    assert sorted(len(entry["response"]["data"]) for entry in snapshots) == [0, 1]


# Exports, backups and copies between locations


def test_an_export_shows_on_the_other_side(api: Client, far: Client) -> None:
    api.create("vol", size=2 * MIB)
    sid = api.snap("vol", "snap", tags={"t": "1"})["snapshotGlobalId"]
    assert far.get("SnapshotsRemoteList").data["snapshots"] == []
    api.do("SnapshotExport", {"snapshot": "snap", "location": "plovdiv"})
    (entry,) = far.get("SnapshotsRemoteList").data["snapshots"]
    assert (entry["remoteId"], entry["location"], entry["size"], entry["name"], entry.get("tags")) == (
        sid,
        "sofia",
        2 * MIB,
        "snap",
        {"t": "1"},
    )
    assert api.post("SnapshotExport", {"snapshot": "snap", "location": "nowhere"}).failed
    assert api.post("SnapshotExport", {"snapshot": "none", "location": "plovdiv"}).error == "objectDoesNotExist"
    api.do("SnapshotUnexport", {"snapshot": "snap", "location": "plovdiv"})
    assert far.get("SnapshotsRemoteList").data["snapshots"] == [] and api.get("ExportsList").data["exports"] == []


def test_a_backup_makes_a_copy_in_the_other_location(api: Client, far: Client, sim: Simulator) -> None:
    api.create("vol", size=MIB, tags={"own": "1"})
    api.write("vol", b"backup me" * 1000)
    content = api.sha("vol")
    sim.background(False)
    made = api.do("VolumeBackup", {"volume": "vol", "location": "plovdiv", "tags": {"b": "1"}})
    api.write("vol", b"changed afterwards")
    assert any(item["recoveringFromRemote"] for item in far.snapshots().values())
    sim.settle()
    copies = [
        item
        for item in far.snapshots().values()
        if made["remoteId"] in (item["globalId"], item.get("backupOfGlobalId"), item.get("createdFromGlobalId"))
    ]
    assert len(copies) == 1
    assert copies[0]["recoveringFromRemote"] is False and copies[0]["tags"] == {"b": "1"}
    assert far.sha(copies[0]["name"]) == content


def test_a_group_backup_makes_a_copy_of_each(api: Client, far: Client, sim: Simulator) -> None:
    for name in ("a", "b"):
        api.create(name)
        api.write(name, name.encode() * 5000)
    wanted = sorted(api.sha(name) for name in ("a", "b"))
    made = api.do("VolumesGroupBackup", {"volumes": ["a", "b"], "location": "plovdiv", "tags": {"g": "1"}})
    assert set(made["backups"]) == {"a", "b"}
    assert len({item["remoteId"] for item in made["backups"].values()}) == 2
    sim.settle()
    assert sorted(far.sha(name) for name in far.snapshots()) == wanted
    assert all(item["tags"] == {"g": "1"} for item in far.snapshots().values())
    before = state(far)
    assert api.post("VolumesGroupBackup", {"volumes": ["a", "none"], "location": "plovdiv"}).error == "objectDoesNotExist"
    sim.settle()
    assert state(far) == before


def test_a_backup_is_restored_where_it_came_from(api: Client, far: Client, sim: Simulator) -> None:
    api.create("vol", size=MIB)
    api.write("vol", b"precious" * 500)
    content = api.sha("vol")
    api.do("VolumeBackup", {"volume": "vol", "location": "plovdiv"})
    sim.settle()
    api.do("VolumeDelete/vol")
    for export in api.get("ExportsList").data["exports"]:
        api.do("SnapshotUnexport", {"snapshot": export["snapshot"], "all": True, "force": True})
    for name in list(api.snapshots()):
        api.do(f"SnapshotDelete/{name}")
    sim.settle()
    assert api.snapshots() == {}
    (name,) = far.snapshots()
    gid = far.snapshot(name)["globalId"]
    if not any(item["globalId"] == gid for item in far.get("ExportsList").data["exports"]):
        far.do("SnapshotExport", {"snapshot": name, "location": "sofia"})
    api.do("SnapshotFromRemote", {"remoteId": gid, "remoteLocation": "plovdiv", "name": "restored"})
    sim.settle()
    api.create("vol", size=None, parent="restored")
    assert api.sha("vol") == content


def test_a_volume_from_remote_recovers_and_is_written_afterwards(api: Client, far: Client, sim: Simulator) -> None:
    api.create("vol", size=MIB)
    api.write("vol", b"origin" * 100)
    sid = api.snap("vol", "snap")["snapshotGlobalId"]
    api.do("SnapshotExport", {"snapshot": "snap", "location": "plovdiv"})
    far.do("VolumeFromRemote", {"name": "new", "remoteId": sid, "remoteLocation": "sofia", "tags": {"x": "y"}, "template": "hdd"})
    sim.settle()
    volume = far.volume("new")
    assert (volume["size"], volume["tags"], volume["templateName"]) == (MIB, {"x": "y"}, "hdd")
    assert far.sha("new") == api.sha("snap")
    far.write("new", b"changed")
    assert far.read("new", 0, 7) == b"changed" and api.read("snap", 0, 6) == b"origin"
    assert far.post("VolumeFromRemote", {"name": "other", "remoteId": "sf.a.zzz", "remoteLocation": "sofia"}).error == "objectDoesNotExist"
    assert far.post("VolumeFromRemote", {"name": "other", "remoteId": sid, "remoteLocation": "nowhere"}).failed
    assert set(far.volumes()) == {"new"}


def test_recovering_lasts_until_the_data_is_there(api: Client, far: Client, sim: Simulator) -> None:
    api.create("vol")
    sid = api.snap("vol", "snap")["snapshotGlobalId"]
    api.do("SnapshotExport", {"snapshot": "snap", "location": "plovdiv"})
    sim.background(False)
    far.do("SnapshotFromRemote", {"remoteId": sid, "remoteLocation": "sofia", "name": "copy"})
    for _unused in range(3):
        assert far.snapshot("copy")["recoveringFromRemote"] is True
    assert far.get("VolumesGetStatus").data["copy"]["recoveringFromRemote"] is True
    refused = api.post("SnapshotUnexport", {"snapshot": "snap", "all": True})
    assert refused.failed
    sim.settle()
    assert far.snapshot("copy")["recoveringFromRemote"] is False
    api.do("SnapshotUnexport", {"snapshot": "snap", "all": True})


def test_remote_unexport_ends_the_export_on_the_other_side(api: Client, far: Client, sim: Simulator) -> None:
    api.create("vol")
    sid = api.snap("vol", "snap")["snapshotGlobalId"]
    api.do("SnapshotExport", {"snapshot": "snap", "location": "plovdiv"})
    far.do("SnapshotsRemoteUnexport", {"remoteSnapshots": [{"location": "sofia", "globalSnapshotId": sid, "deleteAfter": 100}]})
    assert api.get("ExportsList").data["exports"] == [] and far.get("SnapshotsRemoteList").data["snapshots"] == []
    assert api.snapshot("snap").get("targetDeleteDate", 0) > 0
    sim.advance(120)
    sim.settle()
    assert api.snapshots() == {}


# Moves between the clusters of one location


@pytest.mark.parametrize("target", [{"cluster": "sofia-b"}, {"clusterId": "sf.b"}], ids=["name", "id"])
def test_a_volume_moves_with_its_snapshots_and_content(api: Client, neighbour: Client, target: dict) -> None:
    gid = api.create("vol", tags={"a": "1"}, iops=9)["globalId"]
    api.write("vol", b"before" * 100)
    api.snap("vol", "snap")
    api.write("vol", b"after" * 100, 8192)
    content = api.sha("vol")
    api.do("VolumeMoveToRemote/vol", target)
    api.sim("POST", "settle")
    assert "vol" not in api.volumes()
    volume = neighbour.volume("vol")
    assert (volume["globalId"], volume["tags"], volume["iops"]) == (gid, {"a": "1"}, 9)
    assert neighbour.sha("vol") == content
    multi = api.at("MultiCluster/")
    assert {name: item["clusterId"] for name, item in multi.volumes().items()} == {"vol": "sf.b"}
    multi.do("VolumeAcquire/vol", {})
    api.sim("POST", "settle")
    assert api.volume("vol")["globalId"] == gid and neighbour.volumes() == {} and api.sha("vol") == content
    multi.do("VolumeAcquire/vol", {})
    assert api.volume("vol")["globalId"] == gid


@pytest.mark.parametrize(
    ("choice", "opened", "fine"),
    [(None, False, False), ("fail", False, False), ("detach", False, True), ("detach", True, False), ("detachForce", True, True)],
)
def test_moving_an_attached_volume(api: Client, neighbour: Client, choice: str | None, opened: bool, fine: bool) -> None:
    api.create("vol")
    api.attach("vol", rw=[1])
    if opened:
        api.sim("PUT", "open/sofia-a/vol", {"client": 1, "open": True})
    reply = api.post("VolumeMoveToRemote/vol", {"cluster": "sofia-b", **({"onAttached": choice} if choice else {})})
    if fine:
        assert not reply.failed
        assert "vol" not in api.volumes() and "vol" in neighbour.volumes() and api.attachments() == [] == neighbour.attachments()
    else:
        assert reply.error == "busy"
        assert api.attached("vol") == {1: "rw"} and neighbour.volumes() == {}


def test_a_move_to_nowhere_is_refused(api: Client, neighbour: Client) -> None:
    api.create("vol")
    before = state(api)
    for body in ({"cluster": "nowhere"}, {"clusterId": "no.where"}, {}):
        assert api.post("VolumeMoveToRemote/vol", body).failed, body
    assert api.post("VolumeMoveToRemote/none", {"cluster": "sofia-b"}).error == "objectDoesNotExist"
    assert state(api) == before


def test_a_snapshot_moves(api: Client, neighbour: Client) -> None:
    api.create("vol")
    api.write("vol", b"snapped")
    sid = api.snap("vol", "snap")["snapshotGlobalId"]
    content = api.sha("snap")
    api.do("VolumeDelete/vol")
    api.do("SnapshotMoveToRemote/snap", {"cluster": "sofia-b"})
    api.sim("POST", "settle")
    assert api.snapshots() == {}
    assert neighbour.snapshot("snap")["globalId"] == sid and neighbour.sha("snap") == content


def test_an_exported_volume_is_attached_by_the_neighbour_where_it_stays(api: Client, neighbour: Client) -> None:
    api.create("vol")
    api.write("vol", b"shared")
    api.do("VolumeExport/vol", {"cluster": "sofia-b"})
    exports = api.get("VolumeExportsList").data["exports"]
    assert len(exports) == 1 and exports[0]["globalId"] == api.volume("vol")["globalId"]
    remote = neighbour.get("VolumesRemoteList").data["volumes"]
    assert [item["name"] for item in remote] == ["vol"]
    neighbour.at("MultiCluster/").attach("vol", rw=[1], mcMode="export", allowRemoteExported=True)
    assert "vol" in api.volumes()
    assert ("sf.b", 1) in {(item["clusterId"], item["client"]) for item in api.at("MultiCluster/").attachments("vol")}
    assert api.post("VolumeDelete/vol").error == "busy"
    neighbour.at("MultiCluster/").attach("vol", detach="all")
    assert api.at("MultiCluster/").attachments() == []


# Locations, clusters, bridges


def test_locations_clusters_and_bridges_are_configured(api: Client) -> None:
    api.do("LocationAdd", {"id": "vr", "name": "varna"})
    assert api.post("LocationAdd", {"id": "vr", "name": "other"}).error == "objectExists"
    assert api.post("LocationAdd", {"id": "xx", "name": "varna"}).error == "objectExists"
    api.do("LocationUpdate", {"location": "varna", "recvBufferSize": 12345})
    entry = next(item for item in api.get("LocationsList").data["locations"] if item["id"] == "vr")
    assert (entry["name"], entry["recvBufferSize"]) == ("varna", 12345)
    api.do("ClusterAdd", {"id": "c", "location": "varna", "name": "varna-c"})
    api.do("RemoteBridgeAdd", {"location": "varna", "ip": "192.0.2.7", "publicKey": "k", "minimumDeleteDelay": 9})
    bridge = next(item for item in api.get("RemoteBridgesList").data["remoteBridges"] if item["ip"] == "192.0.2.7")
    assert (bridge["location"], bridge["publicKey"], bridge["minimumDeleteDelay"]) == ("varna", "k", 9)
    assert api.post("RemoteBridgeAdd", {"location": "nowhere", "ip": "192.0.2.6", "publicKey": "k"}).failed
    api.do("LocationRename", {"location": "varna", "name": "odessos"})
    assert "odessos" in {item["name"] for item in api.get("LocationsList").data["locations"]}
    assert {item["location"] for item in api.get("ClustersList").data["clusters"] if item["id"] == "c"} == {"odessos"}
    api.do("ClusterRename", {"cluster": "varna-c", "name": "odessos-c"})
    api.do("RemoteBridgeRemove", {"ip": "192.0.2.7"})
    api.do("ClusterRemove", {"name": "odessos-c"})
    api.do("LocationRemove", {"location": "odessos"})
    assert "vr" not in {item["id"] for item in api.get("LocationsList").data["locations"]}
    assert api.post("LocationRemove", {"location": "odessos"}).error == "objectDoesNotExist"


def test_the_generation_counts_in_each_cluster_by_itself(sim: Simulator, api: Client, neighbour: Client) -> None:
    before = neighbour.generation()
    api.create("vol")
    assert neighbour.generation() == before
    first = api.generation()
    client_of(sim, "plovdiv-a", "RemoteCommand/sofia-a/").create("other")
    assert api.generation() > first
