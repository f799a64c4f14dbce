# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules about the cluster as a whole: generation, placement groups, numbers, errors, several clusters."""

from __future__ import annotations

import pytest

from .support import MIB, Client, state


@pytest.mark.rule("generation")
def test_every_change_increases_the_generation_and_replies_carry_it(api: Client, far: Client) -> None:
    last = api.generation()
    changes: list[tuple[str, object]] = [
        ("VolumeCreate", {"name": "vol", "size": MIB}),
        ("VolumeCreate", {"name": "vol2", "size": MIB}),
        ("VolumeUpdate/vol", {"tags": {"a": "b"}}),
        ("VolumeUpdate/vol", {"sizeAdd": 512}),
        ("VolumeSnapshot/vol", {"name": "snap"}),
        ("SnapshotUpdate/snap", {"tags": {"a": "b"}}),
        ("VolumesGroupSnapshot", {"volumes": [{"volume": "vol", "name": "g"}]}),
        ("VolumesReassign", [{"volume": "vol", "rw": [1]}]),
        ("VolumesReassignWait", {"reassign": [{"volume": "vol", "detach": "all"}]}),
        ("VolumeRevert/vol", {"toSnapshot": "snap"}),
        ("VolumeTemplateCreate", {"name": "tmpl", "replication": 2}),
        ("VolumeTemplateUpdate/tmpl", {"iops": 5}),
        ("VolumeTemplateDelete/tmpl", {}),
        ("PlacementGroupUpdate/pg", {"addDisks": [101], "rmDisks": []}),
        ("PlacementGroupDelete/pg", {}),
        ("SnapshotDelete/g", {}),
        ("VolumeFreeze/vol2", {}),
        ("VolumeDelete/vol", {}),
    ]
    api.sim("POST", "background", {"auto": False})
    for query, body in changes:
        reply = api.post(query, body)
        assert reply.generation > last, query
        assert reply.data.get("generation", reply.generation) == reply.generation, query
        assert api.generation() == reply.generation, query
        last = reply.generation


@pytest.mark.rule("generation")
def test_a_refused_change_does_not_count(api: Client) -> None:
    api.create("vol")
    before = api.generation()
    assert api.post("VolumeCreate", {"name": "vol", "size": MIB}).failed
    assert api.post("VolumeDelete/none").failed
    assert api.generation() == before


@pytest.mark.rule("generation-reads")
def test_reads_do_not_count(api: Client) -> None:
    api.create("vol")
    before = api.generation()
    for query in (
        "VolumesList",
        "VolumesGetStatus",
        "SnapshotsList",
        "ServicesList",
        "DisksList",
        "VolumeDescribe/vol",
        "ClientConfigWait/1",
    ):
        assert api.get(query).generation == before, query
    assert api.get("Volume/none").failed
    assert api.generation() == before


@pytest.mark.rule("pg-upsert")
def test_a_placement_group_update_creates_a_missing_group(api: Client) -> None:
    assert api.get("PlacementGroupDescribe/fresh").error == "objectDoesNotExist"
    api.do("PlacementGroupUpdate/fresh", {"addDisks": [101, 201], "rmDisks": []})
    assert sorted(api.get("PlacementGroupDescribe/fresh").data["disks"]) == [101, 201]
    api.do("PlacementGroupUpdate/fresh", {"addDisks": [301], "rmDisks": [101, 201]})
    assert api.get("PlacementGroupsList").data["fresh"]["disks"] == [301]
    api.do("PlacementGroupUpdate/fresh", {"rename": "renamed"})
    groups = api.get("PlacementGroupsList").data
    assert "fresh" not in groups and groups["renamed"]["name"] == "renamed" and groups["renamed"]["disks"] == [301]
    before = state(api)
    assert api.post("PlacementGroupUpdate/fresh", {"addDisks": [999], "rmDisks": []}).failed
    assert state(api) == before
    api.create("vol", placeAll="renamed", replication=1)
    assert api.post("PlacementGroupDelete/renamed").failed
    assert "renamed" in api.get("PlacementGroupsList").data
    api.do("VolumeDelete/vol")
    api.do("PlacementGroupDelete/renamed")
    assert "renamed" not in api.get("PlacementGroupsList").data


@pytest.mark.rule("numeric-strings")
def test_numbers_may_come_as_strings(api: Client) -> None:
    api.do("VolumeCreate", {"name": "vol", "size": str(MIB), "replication": "2", "iops": "150"})
    entry = api.volume("vol")
    assert (entry["size"], entry["replication"], entry["iops"]) == (MIB, 2, 150)
    api.do("VolumesReassignWait", {"reassign": [{"volume": "vol", "rw": ["1"], "ro": ["2", 3]}], "attachTimeout": "5"})
    assert api.attached("vol") == {1: "rw", 2: "ro", 3: "ro"}
    api.do("VolumesReassign", [{"volume": "vol", "detach": ["1", "3"]}])
    assert api.attached("vol") == {2: "ro"}
    api.do("PlacementGroupUpdate/strings", {"addDisks": ["101"]})
    assert api.get("PlacementGroupDescribe/strings").data["disks"] == [101]
    before = state(api)
    for body in (
        [{"volume": "vol", "rw": ["one"]}],
        [{"volume": "vol", "rw": [""]}],
        [{"volume": "vol", "rw": ["1.0"]}],
        [{"volume": "vol", "rw": ["-1"]}],
    ):
        assert api.post("VolumesReassign", body).error == "invalidParam", body
    assert state(api) == before


@pytest.mark.rule("http-status")
def test_errors_carry_a_status_and_always_a_readable_body(api: Client) -> None:
    for reply in (
        api.get("Volume/none"),
        api.post("VolumeCreate", {"name": "x", "bogus": 1}),
        api.post("VolumeDelete/none"),
        api.get("NoSuchCall"),
    ):
        assert 400 <= reply.status < 600, reply
        assert reply.error and reply.descr


@pytest.mark.rule("null-values")
def test_unknown_keys_are_refused_also_when_null(api: Client) -> None:
    before = state(api)
    for value in (None, 1, "x", {}, []):
        reply = api.post("VolumeCreate", {"name": "vol", "size": MIB, "unheardOf": value})
        assert reply.error == "invalidParam" and "unheardOf" in reply.descr
    reply = api.post("VolumesReassign", [{"volume": "vol", "rw": [1], "unheardOf": None}])
    assert reply.error == "invalidParam" and "unheardOf" in reply.descr
    assert state(api) == before


@pytest.mark.rule("mc-attach")
def test_a_multi_cluster_attach_moves_the_volume_by_default(api: Client, neighbour: Client) -> None:
    gid = api.create("vol", tags={"k": "v"})["globalId"]
    api.write("vol", b"travels" * 10)
    content = api.sha("vol")
    neighbour.at("MultiCluster/").attach("vol", rw=[1])
    assert "vol" not in api.volumes()
    entry = neighbour.volume("vol")
    assert (entry["globalId"], entry["tags"]) == (gid, {"k": "v"})
    assert neighbour.attached("vol") == {1: "rw"} and api.attachments() == []
    assert neighbour.sha("vol") == content


@pytest.mark.rule("mc-attach")
def test_a_volume_attached_elsewhere_is_exported_by_default(api: Client, neighbour: Client) -> None:
    api.create("vol")
    api.attach("vol", rw=[2])
    neighbour.at("MultiCluster/").attach("vol", rw=[1])
    assert list(neighbour.at("MultiCluster/").volumes()) == ["vol"]
    everywhere = neighbour.at("MultiCluster/").attachments("vol")
    assert {(item["clusterId"], item["client"], item["rights"]) for item in everywhere} == {("sf.a", 2, "rw"), ("sf.b", 1, "rw")}


@pytest.mark.rule("mc-attach")
@pytest.mark.parametrize(
    ("choice", "opened", "error"),
    [("fail", False, "busy"), ("detach", True, "busy"), ("detach", False, None), ("detachForce", True, None)],
)
def test_the_choices_for_a_volume_attached_elsewhere(api: Client, neighbour: Client, choice: str, opened: bool, error: str | None) -> None:
    api.create("vol")
    api.attach("vol", rw=[2])
    if opened:
        api.sim("PUT", "open/sofia-a/vol", {"client": 2, "open": True})
    reply = neighbour.at("MultiCluster/").post(
        "VolumesReassignWait", {"reassign": [{"volume": "vol", "rw": [1], "onRemoteAttached": choice}]}
    )
    if error:
        assert reply.error == error
        assert api.attached("vol") == {2: "rw"} and neighbour.at("MultiCluster/").attached("vol") == {2: "rw"}
    else:
        assert not reply.failed
        assert "vol" not in api.volumes() and neighbour.attached("vol") == {1: "rw"} and api.attachments() == []


@pytest.mark.rule("mc-attach")
def test_mc_mode_export_leaves_the_volume_where_it_is(api: Client, neighbour: Client) -> None:
    api.create("vol")
    neighbour.at("MultiCluster/").attach("vol", rw=[1], mcMode="export")
    assert "vol" in api.volumes()
    assert {(item["clusterId"], item["client"]) for item in api.at("MultiCluster/").attachments("vol")} == {("sf.b", 1)}
    api.create("mover")
    neighbour.at("MultiCluster/").attach("mover", rw=[1], mcMode="move")
    assert "mover" not in api.volumes() and neighbour.attached("mover") == {1: "rw"}


@pytest.mark.rule("mc-attach")
def test_a_plain_attach_does_not_reach_other_clusters(api: Client, neighbour: Client) -> None:
    api.create("vol")
    assert neighbour.post("VolumesReassignWait", [{"volume": "vol", "rw": [1]}]).error == "objectDoesNotExist"
    assert "vol" in api.volumes() and api.attachments() == []
