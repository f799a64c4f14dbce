# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules about the life of snapshots: delete, bind, dates, groups, exports and remote copies."""

from __future__ import annotations

import pytest
from storpool_simulator.testing import Simulator

from .support import MIB, Client, state


@pytest.mark.rule("snapshot-delete-children")
def test_a_snapshot_with_children_is_deleted_by_merging(api: Client, sim: Simulator) -> None:
    sim.background(False)
    api.create("vol", size=MIB)
    api.write("vol", b"base" * 64)
    api.snap("vol", "base")
    api.write("vol", b"mid" * 64, 4096)
    api.snap("vol", "mid")
    api.write("vol", b"top" * 64, 8192)
    api.create("child", size=None, parent="mid")
    hashes = {name: api.sha(name) for name in ("vol", "child", "base")}
    mid = api.snapshot("mid")["globalId"]
    api.do("SnapshotDelete/mid")
    lingering = [item for item in api.snapshots().values() if item["globalId"] == mid]
    assert len(lingering) == 1 and lingering[0]["deleted"] is True
    assert {name: api.sha(name) for name in hashes} == hashes
    sim.settle()
    assert set(api.snapshots()) == {"base"}
    assert api.get("Snapshot/mid").error == "objectDoesNotExist"
    assert {name: api.sha(name) for name in hashes} == hashes
    assert api.volume("vol")["parentName"] == "base" and api.volume("child")["parentName"] == "base"
    api.do("SnapshotDelete/base")
    sim.settle()
    assert api.snapshots() == {} and api.volume("vol")["parentName"] == ""
    assert [api.sha(name) for name in ("vol", "child")] == [hashes["vol"], hashes["child"]]


@pytest.mark.rule("snapshot-delete-children")
def test_the_name_of_a_deleted_snapshot_is_free_at_once_and_background_work_ends_it(api: Client, sim: Simulator) -> None:
    sim.background(False)
    api.create("vol")
    api.snap("vol", "snap")
    api.do("SnapshotDelete/snap")
    assert api.get("Snapshot/snap").error == "objectDoesNotExist"
    assert api.post("SnapshotDelete/snap").error == "objectDoesNotExist"
    api.snap("vol", "snap")
    sim.settle()
    assert set(api.snapshots()) == {"snap"}


@pytest.mark.rule("snapshot-delete-attached")
def test_an_attached_snapshot_is_detached_before_it_is_deleted(api: Client, sim: Simulator) -> None:
    api.create("vol")
    sid = api.snap("vol", "snap")["snapshotGlobalId"]
    api.attach("snap", snapshot=True, ro=[3])
    assert api.post("SnapshotDelete/snap").error == "busy"
    assert api.post(f"SnapshotDeleteById/{sid}").error == "busy"
    assert api.snapshot("snap")["deleted"] is False and api.attached("snap") == {3: "ro"}
    api.attach("snap", snapshot=True, detach="all")
    api.do("SnapshotDelete/snap")
    sim.settle()
    assert api.snapshots() == {}


@pytest.mark.rule("snapshot-delete-exported")
def test_an_exported_snapshot_is_unexported_before_it_is_deleted(api: Client, sim: Simulator) -> None:
    api.create("vol")
    sid = api.snap("vol", "snap")["snapshotGlobalId"]
    api.do("SnapshotExport", {"snapshot": "snap", "location": "plovdiv"})
    exports = api.get("ExportsList").data["exports"]
    assert [(item["snapshot"], item["globalId"], item["location"]) for item in exports] == [("snap", sid, "plovdiv")]
    reply = api.post("SnapshotDelete/snap")
    assert "still exported" in reply.descr
    assert "still exported" in api.post(f"SnapshotDeleteById/{sid}").descr
    assert api.snapshot("snap")["deleted"] is False
    api.do("SnapshotUnexport", {"snapshot": "snap", "all": True, "force": True})
    assert api.get("ExportsList").data["exports"] == []
    api.do("SnapshotDelete/snap")
    sim.settle()
    assert api.snapshots() == {}


@pytest.mark.rule("from-remote")
def test_a_copy_from_remote_recovers_in_the_background(api: Client, far: Client, sim: Simulator) -> None:
    api.create("vol", size=2 * MIB)
    api.write("vol", b"remote" * 1000, MIB)
    sid = api.snap("vol", "snap", tags={"t": "1"})["snapshotGlobalId"]
    content = api.sha("snap")
    body = {"remoteId": sid, "remoteLocation": "sofia", "name": "copy", "template": "hdd"}
    assert far.post("SnapshotFromRemote", body).error == "objectDoesNotExist"
    api.do("SnapshotExport", {"snapshot": "snap", "location": "plovdiv"})
    sim.background(False)
    far.do("SnapshotFromRemote", body)
    entry = far.snapshot("copy")
    assert (entry["recoveringFromRemote"], entry["globalId"], entry["size"], entry["templateName"]) == (True, sid, 2 * MIB, "hdd")
    assert far.post("SnapshotFromRemote", {**body, "name": "again"}).error == "objectExists"
    sim.settle()
    entry = far.snapshot("copy")
    assert (entry["recoveringFromRemote"], entry["globalId"]) == (False, sid)
    assert far.sha("copy") == content
    assert api.snapshot("snap")["globalId"] == sid


@pytest.mark.rule("from-remote")
@pytest.mark.parametrize("more", [{}, {"name": ""}], ids=["left out", "empty"])
def test_an_anonymous_copy_keeps_the_remote_id(api: Client, far: Client, sim: Simulator, more: dict) -> None:
    api.create("vol")
    sid = api.snap("vol", "snap")["snapshotGlobalId"]
    api.do("SnapshotExport", {"snapshot": "snap", "location": "plovdiv"})
    far.do("SnapshotFromRemote", {"remoteId": sid, "remoteLocation": "sofia", **more})
    sim.settle()
    assert [(name, item["globalId"]) for name, item in far.snapshots().items()] == [(f"~{sid}", sid)]


@pytest.mark.rule("bind")
def test_a_bound_snapshot_goes_with_its_last_child(api: Client, sim: Simulator) -> None:
    api.create("vol")
    api.snap("vol", "bound", bind=True)
    api.snap("vol", "free")
    assert (api.snapshot("bound")["bound"], api.snapshot("free")["bound"]) == (True, False)
    sim.settle()
    assert set(api.snapshots()) == {"bound", "free"}
    api.create("child", size=None, parent="bound")
    api.do("VolumeDelete/vol")
    sim.settle()
    assert set(api.snapshots()) == {"bound", "free"}
    api.do("SnapshotDelete/free")
    sim.settle()
    assert set(api.snapshots()) == {"bound"}
    api.do("VolumeDelete/child")
    sim.settle()
    assert api.snapshots() == {}


@pytest.mark.rule("bind")
def test_an_attachment_holds_a_bound_snapshot_and_unbinding_keeps_it(api: Client, sim: Simulator) -> None:
    for name in ("held", "unbound", "late"):
        api.create("vol")
        api.snap("vol", name, bind=name != "late")
        if name == "held":
            api.attach(name, snapshot=True, ro=[1])
        elif name == "unbound":
            api.do(f"SnapshotUpdate/{name}", {"bind": False})
        api.do("VolumeDelete/vol")
    sim.settle()
    assert set(api.snapshots()) == {"held", "unbound", "late"}
    api.do("SnapshotUpdate/late", {"tags": {"x": "y"}})
    sim.settle()
    assert "late" in api.snapshots() and api.snapshot("late")["bound"] is False
    api.do("SnapshotUpdate/late", {"bind": True})
    api.attach("held", snapshot=True, detach="all")
    sim.settle()
    assert set(api.snapshots()) == {"unbound"}


@pytest.mark.rule("delete-date")
def test_delete_after_counts_from_now_and_the_date_is_absolute(api: Client, sim: Simulator) -> None:
    sim.stop_clock()
    api.create("vol")
    api.snap("vol", "after", deleteAfter=100)
    entry = api.snapshot("after")
    now = entry["creationTimestamp"]
    assert entry["targetDeleteDate"] - now in (100, 101)
    api.snap("vol", "date", targetDeleteDate=now + 500)
    assert api.snapshot("date")["targetDeleteDate"] == now + 500
    api.snap("vol", "none", deleteAfter=0)
    api.snap("vol", "none-either", targetDeleteDate=0)
    assert all(api.snapshot(name).get("targetDeleteDate", 0) == 0 for name in ("none", "none-either"))
    sim.advance(95)
    sim.settle()
    assert set(api.snapshots()) == {"after", "date", "none", "none-either"}
    sim.advance(10)
    sim.settle()
    assert set(api.snapshots()) == {"date", "none", "none-either"}
    sim.advance(500)
    sim.settle()
    assert set(api.snapshots()) == {"none", "none-either"}


@pytest.mark.rule("delete-date")
def test_a_date_can_be_set_moved_and_cancelled_later(api: Client, sim: Simulator) -> None:
    sim.stop_clock()
    api.create("vol")
    for name in ("cancel-after", "cancel-date", "moved", "late"):
        api.snap("vol", name, **({} if name == "late" else {"deleteAfter": 50}))
    api.do("SnapshotUpdate/cancel-after", {"deleteAfter": 0})
    api.do("SnapshotUpdate/cancel-date", {"targetDeleteDate": 0})
    api.do("SnapshotUpdate/moved", {"deleteAfter": 1000})
    api.do("SnapshotUpdate/late", {"deleteAfter": 50})
    api.do("SnapshotUpdate/late", {"tags": {"no": "change"}})
    sim.advance(60)
    sim.settle()
    assert set(api.snapshots()) == {"cancel-after", "cancel-date", "moved"}
    assert api.snapshot("cancel-after").get("targetDeleteDate", 0) == 0


@pytest.mark.rule("delete-date")
def test_a_date_in_the_past_is_refused(api: Client) -> None:
    api.create("vol")
    api.snap("vol", "snap")
    now = api.snapshot("snap")["creationTimestamp"]
    before = state(api)
    for query, more in (("VolumeSnapshot/vol", {"name": "x"}), ("SnapshotUpdate/snap", {}), ("VolumeFreeze/vol", {})):
        for value in (now - 10, 1, -5):
            reply = api.post(query, {**more, "targetDeleteDate": value})
            assert reply.error == "invalidParam" and "targetDeleteDate" in reply.descr, (query, value)
    assert state(api) == before


@pytest.mark.rule("group-snapshot")
def test_a_group_is_one_transaction_with_tags_for_each_and_for_all(api: Client) -> None:
    ids = {name: api.create(name)["globalId"] for name in ("a", "b", "c")}
    result = api.do(
        "VolumesGroupSnapshot",
        {
            "tags": {"all": "1", "who": "everyone"},
            "volumes": [
                {"volume": "a", "name": "ga", "tags": {"own": "a", "who": "me"}},
                {"volume": "b", "name": "gb"},
                {"volume": f"~{ids['c']}"},
            ],
        },
    )
    assert result["ok"] is True
    assert [item["volumeGlobalId"] for item in result["snapshots"]] == [ids["a"], ids["b"], ids["c"]]
    listed = {item["globalId"]: item for item in api.snapshots().values()}
    assert len(listed) == 3
    for item in result["snapshots"]:
        assert {"volume", "volumeGlobalId", "snapshot", "snapshotGlobalId", "remoteId"} == set(item)
        assert listed[item["snapshotGlobalId"]]["name"] == item["snapshot"]
    assert {item["snapshot"] for item in result["snapshots"][:2]} == {"ga", "gb"}
    assert api.snapshot("gb")["tags"] == {"all": "1", "who": "everyone"}
    tags = api.snapshot("ga")["tags"]
    assert (tags["all"], tags["own"]) == ("1", "a") and tags["who"] in ("me", "everyone")
    assert listed[result["snapshots"][2]["snapshotGlobalId"]]["tags"] == {"all": "1", "who": "everyone"}


@pytest.mark.rule("group-snapshot")
def test_a_group_with_one_fault_makes_nothing(api: Client) -> None:
    for name in ("a", "b"):
        api.create(name)
    before = state(api)
    for second, error in (
        ({"volume": "missing"}, "objectDoesNotExist"),
        ({"volume": "b", "name": "a"}, "objectExists"),
        ({"volume": "b", "name": "bad name"}, "invalidParam"),
        ({"volume": "b", "bogus": 1}, "invalidParam"),
        ({}, "invalidParam"),
    ):
        assert api.post("VolumesGroupSnapshot", {"volumes": [{"volume": "a", "name": "ga"}, second]}).error == error, second
    assert state(api) == before


@pytest.mark.rule("group-snapshot")
def test_group_snapshots_become_the_parents_of_their_volumes(api: Client) -> None:
    for name in ("a", "b"):
        api.create(name)
        api.write(name, name.encode() * 100)
    api.do("VolumesGroupSnapshot", {"volumes": [{"volume": "a", "name": "ga"}, {"volume": "b", "name": "gb"}]})
    for name in ("a", "b"):
        assert api.volume(name)["parentName"] == f"g{name}"
        assert api.snapshot(f"g{name}")["onVolume"] == name
        assert [item["name"] for item in api.get(f"VolumeListSnapshots/{name}").data] == [f"g{name}"]
        assert api.sha(name) == api.sha(f"g{name}")
