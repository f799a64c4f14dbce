# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules about names, ids, sizes and what a create takes over."""

from __future__ import annotations

import re

import pytest

from .support import GIB, MIB, Client, state

GLOBAL_ID = re.compile(r"[a-z0-9]+\.[a-z0-9]+\.[a-z0-9]+")


@pytest.mark.rule("names-shared")
def test_a_name_is_unique_across_volumes_and_snapshots(api: Client) -> None:
    api.create("taken")
    api.create("other")
    api.snap("other", "snap-taken")
    before = state(api)
    refused = [
        api.post("VolumeCreate", {"name": "taken", "size": MIB}),
        api.post("VolumeCreate", {"name": "snap-taken", "size": MIB}),
        api.post("VolumeSnapshot/other", {"name": "taken"}),
        api.post("VolumeSnapshot/other", {"name": "snap-taken"}),
        api.post("VolumeUpdate/other", {"rename": "taken"}),
        api.post("VolumeUpdate/other", {"rename": "snap-taken"}),
        api.post("SnapshotUpdate/snap-taken", {"rename": "taken"}),
        api.post("VolumesGroupSnapshot", {"volumes": [{"volume": "taken", "name": "g1"}, {"volume": "other", "name": "taken"}]}),
        api.post("VolumesGroupSnapshot", {"volumes": [{"volume": "taken", "name": "g1"}, {"volume": "other", "name": "g1"}]}),
    ]
    assert [reply.error for reply in refused] == ["objectExists"] * len(refused)
    assert state(api) == before


@pytest.mark.rule("names-shared")
def test_a_name_is_free_again_after_delete_and_rename(api: Client) -> None:
    first = api.create("name")["globalId"]
    api.do("VolumeUpdate/name", {"rename": "moved"})
    assert api.get("Volume/name").error == "objectDoesNotExist"
    second = api.create("name")["globalId"]
    assert first != second
    assert api.volume("moved")["globalId"] == first
    api.do("VolumeDelete/name")
    api.do("VolumeUpdate/moved", {"rename": "name"})
    assert {name: item["globalId"] for name, item in api.volumes().items()} == {"name": first}


@pytest.mark.rule("global-id")
def test_the_global_id_stands_for_the_name_in_every_call(api: Client) -> None:
    gid = api.create("vol", tags={"k": "v"})["globalId"]
    assert GLOBAL_ID.fullmatch(gid)
    ref = f"~{gid}"
    for query in ("Volume", "VolumeDescribe", "VolumeGetInfo"):
        data = api.get(f"{query}/{ref}").data
        assert (data[0] if isinstance(data, list) else data)["name"] == "vol"
    sid = api.do(f"VolumeSnapshot/{ref}", {"name": "snap"})["snapshotGlobalId"]
    sref = f"~{sid}"
    for query in ("Snapshot", "SnapshotDescribe", "SnapshotGetInfo"):
        data = api.get(f"{query}/{sref}").data
        assert (data[0] if isinstance(data, list) else data)["name"] == "snap"
    assert "snap" in [item["name"] for item in api.get(f"VolumeListSnapshots/{ref}").data]
    api.do(f"VolumeUpdate/{ref}", {"tags": {"more": "1"}})
    assert api.volume("vol")["tags"] == {"k": "v", "more": "1"}
    api.do(f"SnapshotUpdate/{sref}", {"tags": {"s": "1"}})
    assert api.snapshot("snap")["tags"] == {"s": "1"}
    api.create("child", size=None, parent=sref)
    assert api.volume("child")["parentName"] == "snap"
    api.create("clone", size=None, baseOn=ref)
    group = api.do("VolumesGroupSnapshot", {"volumes": [{"volume": ref, "name": "grouped"}]})["snapshots"]
    assert group[0]["volumeGlobalId"] == gid
    api.attach(ref, rw=[1])
    assert api.attached("vol") == {1: "rw"}
    api.attach(ref, detach="all")
    api.attach(sref, snapshot=True, ro=[2])
    assert api.attached("snap") == {2: "ro"}
    api.attach(sref, snapshot=True, detach=[2])
    api.do(f"VolumeRevert/{ref}", {"toSnapshot": sref})
    api.do(f"VolumeDelete/{ref}")
    assert api.get(f"Volume/{ref}").error == "objectDoesNotExist"


@pytest.mark.rule("global-id")
def test_snapshot_delete_by_id_takes_the_id_without_tilde(api: Client) -> None:
    api.create("vol")
    sid = api.snap("vol", "snap")["snapshotGlobalId"]
    assert api.post(f"SnapshotDeleteById/~{sid}").failed
    assert "snap" in api.snapshots()
    api.do(f"SnapshotDeleteById/{sid}")
    api.sim("POST", "settle")
    assert api.snapshots() == {}
    assert api.post(f"SnapshotDeleteById/{sid}").error == "objectDoesNotExist"


@pytest.mark.rule("global-id")
def test_the_global_id_never_changes_and_is_never_reused(api: Client) -> None:
    gid = api.create("vol")["globalId"]
    sid = api.snap("vol", "snap")["snapshotGlobalId"]
    api.do("VolumeUpdate/vol", {"rename": "renamed"})
    api.do("VolumeUpdate/renamed", {"size": 2 * MIB, "template": "nvme", "tags": {"a": "b"}})
    api.do("VolumeRevert/renamed", {"toSnapshot": "snap"})
    api.do("SnapshotUpdate/snap", {"rename": "snap2"})
    assert api.volume("renamed")["globalId"] == gid
    assert api.snapshot("snap2")["globalId"] == sid
    seen = {gid, sid}
    for _unused in range(3):
        again = api.create("again")["globalId"]
        assert again not in seen
        seen.add(again)
        api.do("VolumeDelete/again")


@pytest.mark.rule("global-id-parts")
def test_the_id_is_location_cluster_object(api: Client, neighbour: Client, far: Client) -> None:
    for client, start in ((api, "sf.a."), (neighbour, "sf.b."), (far, "pd.a.")):
        volume = client.create("vol")
        snapshot = client.snap("vol")
        for gid in (volume["globalId"], snapshot["snapshotGlobalId"]):
            assert gid.startswith(start) and GLOBAL_ID.fullmatch(gid)


@pytest.mark.rule("anon-volume")
@pytest.mark.parametrize("more", [{}, {"name": ""}], ids=["left out", "empty"])
def test_a_volume_without_a_name_is_listed_by_its_id(api: Client, more: dict) -> None:
    made = api.do("VolumeCreate", {"size": MIB, **more})
    assert made["name"] == f"~{made['globalId']}"
    listed = api.volumes()
    assert list(listed) == [made["name"]]
    assert listed[made["name"]]["globalId"] == made["globalId"]
    api.do(f"VolumeUpdate/{made['name']}", {"rename": "named"})
    assert list(api.volumes()) == ["named"]
    api.do("VolumeUpdate/named", {"rename": ""})
    assert list(api.volumes()) == [made["name"]]


@pytest.mark.rule("anon-snapshot")
@pytest.mark.parametrize("more", [{}, {"name": ""}], ids=["left out", "empty"])
def test_a_snapshot_without_a_name_gets_the_volume_and_a_number(api: Client, more: dict) -> None:
    api.create("vol")
    first = api.do("VolumeSnapshot/vol", more)
    second = api.do("VolumeSnapshot/vol", more)
    listed = api.snapshots()
    assert set(listed) == {first["autoName"], second["autoName"]} and len(listed) == 2
    for made in (first, second):
        assert re.fullmatch(r"vol@[0-9]+", made["autoName"])
        entry = listed[made["autoName"]]
        assert entry["autoName"] is True
        assert entry["globalId"] == made["snapshotGlobalId"]
        assert entry["visibleVolumeId"] == made.get("snapshotVisibleVolumeId", entry["visibleVolumeId"])
    api.snap("vol", "named")
    assert api.snapshot("named")["autoName"] is False


@pytest.mark.rule("anon-snapshot-tilde")
@pytest.mark.parametrize("more", [{}, {"name": ""}], ids=["left out", "empty"])
def test_an_unnamed_snapshot_of_an_anonymous_volume_is_listed_by_its_id(api: Client, more: dict) -> None:
    volume = api.create(None)
    made = api.do(f"VolumeSnapshot/{volume['name']}", more)
    assert list(api.snapshots()) == [f"~{made['snapshotGlobalId']}"]
    assert api.volume(volume["name"])["parentName"] == f"~{made['snapshotGlobalId']}"


@pytest.mark.rule("star-names")
def test_transient_and_deleted_snapshots_have_star_names(api: Client) -> None:
    api.sim("POST", "background", {"auto": False})
    api.create("vol")
    auto = api.create("clone", size=None, baseOn="vol")["autoName"]
    api.snap("vol", "doomed")
    api.create("child", size=None, parent="doomed")
    doomed = api.snapshot("doomed")["globalId"]
    api.do("SnapshotDelete/doomed")
    assert "doomed" not in api.snapshots()
    for name, item in api.snapshots().items():
        assert name.startswith("*") is bool(item["transient"] or item["deleted"]), item
    assert auto.startswith("*") and api.snapshots()[auto]["transient"] is True
    gone = [item for item in api.snapshots().values() if item["globalId"] == doomed]
    assert gone and gone[0]["deleted"] is True
    assert not any(name.startswith("*") for name in api.volumes())


@pytest.mark.rule("reserved-names")
@pytest.mark.parametrize("word", ["list", "status"])
def test_list_and_status_name_no_volume_or_snapshot(api: Client, word: str) -> None:
    api.create("vol")
    api.snap("vol", "snap")
    before = state(api)
    for query, body in (
        ("VolumeCreate", {"name": word, "size": MIB}),
        ("VolumeUpdate/vol", {"rename": word}),
        ("VolumeSnapshot/vol", {"name": word}),
        ("SnapshotUpdate/snap", {"rename": word}),
        ("VolumesGroupSnapshot", {"volumes": [{"volume": "vol", "name": word}]}),
    ):
        reply = api.post(query, body)
        assert reply.error == "invalidParam" and ("name" in reply.descr), (query, reply.descr)
    assert state(api) == before


@pytest.mark.rule("reserved-names")
def test_list_names_no_template_group_location_or_cluster(api: Client) -> None:
    before = state(api)
    for query, body in (
        ("VolumeTemplateCreate", {"name": "list", "replication": 3}),
        ("VolumeTemplateUpdate/hdd", {"rename": "list"}),
        ("PlacementGroupUpdate/list", {"addDisks": [101], "rmDisks": []}),
        ("PlacementGroupUpdate/hdd", {"rename": "list"}),
        ("LocationAdd", {"id": "ls", "name": "list"}),
        ("LocationRename", {"location": "plovdiv", "name": "list"}),
        ("ClusterAdd", {"id": "q", "location": "plovdiv", "name": "list"}),
        ("ClusterRename", {"cluster": "sofia-b", "name": "list"}),
    ):
        assert api.post(query, body).error == "invalidParam", query
    assert state(api) == before
    api.do("VolumeTemplateCreate", {"name": "status", "replication": 3})
    api.do("PlacementGroupUpdate/status", {"addDisks": [101], "rmDisks": []})


@pytest.mark.rule("size")
def test_sizes_are_positive_multiples_of_512(api: Client) -> None:
    for size in (512, MIB, 3 * 512, 5 * GIB + 512):
        api.create(f"v{size}", size=size)
        assert api.volume(f"v{size}")["size"] == size
        assert api.content(f"v{size}" if size < GIB else "v512")["size"] == min(size, size if size < GIB else 512)
    before = state(api)
    for size in (0, -512, 1, 511, 513, MIB + 1, 512.5, True, "1x", None, [512]):
        for query, body in (
            ("VolumeCreate", {"name": "bad", "size": size}),
            ("VolumeUpdate/v512", {"size": size, "shrinkOk": True}),
            ("VolumeUpdate/v512", {"sizeAdd": size}),
            ("VolumeTemplateCreate", {"name": "bad", "size": size}),
        ):
            reply = api.post(query, body)
            assert reply.error == "invalidParam" and "size" in reply.descr, (query, size, reply.descr)
    assert state(api) == before


@pytest.mark.rule("create-defaults")
def test_the_size_comes_from_template_parent_or_base(api: Client) -> None:
    api.do("VolumeTemplateCreate", {"name": "sized", "replication": 2, "size": 3 * MIB})
    api.create("from-template", size=None, template="sized")
    assert api.volume("from-template")["size"] == 3 * MIB
    api.create("vol", size=2 * MIB)
    api.snap("vol", "snap")
    api.create("from-parent", size=None, parent="snap")
    api.create("from-base", size=None, baseOn="vol")
    api.create("given", size=8 * MIB, parent="snap")
    assert [api.volume(name)["size"] for name in ("from-parent", "from-base", "given")] == [2 * MIB, 2 * MIB, 8 * MIB]
    reply = api.post("VolumeCreate", {"name": "nothing"})
    assert reply.error == "invalidParam" and "size" in reply.descr
    reply = api.post("VolumeCreate", {"name": "nothing", "template": "nvme"})
    assert reply.error == "invalidParam" and "size" in reply.descr
    assert "nothing" not in api.volumes()


@pytest.mark.rule("create-defaults")
def test_the_template_of_parent_or_base_is_taken_over(api: Client) -> None:
    api.create("vol", template="nvme", tags={"a": "b"})
    api.snap("vol", "snap")
    assert api.snapshot("snap")["templateName"] == "nvme"
    api.create("from-parent", size=None, parent="snap")
    api.create("from-base", size=None, baseOn="vol")
    api.create("other", size=None, parent="snap", template="hdd")
    api.create("other-base", size=None, baseOn="vol", template="hdd")
    templates = {name: item["templateName"] for name, item in api.volumes().items()}
    assert templates == {"vol": "nvme", "from-parent": "nvme", "from-base": "nvme", "other": "hdd", "other-base": "hdd"}
    volumes = api.volumes()
    for name, template in templates.items():
        expected = api.get(f"VolumeTemplateDescribe/{template}").data
        for key in ("placeAll", "placeHead", "placeTail", "replication"):
            assert volumes[name][key] == expected[key], (name, key)


@pytest.mark.rule("create-defaults")
def test_the_request_wins_over_the_template(api: Client) -> None:
    api.do("VolumeTemplateCreate", {"name": "limits", "replication": 3, "placeAll": "ssd", "iops": 500, "bw": 1000, "size": MIB})
    api.create("plain", size=None, template="limits")
    api.create("own", size=2 * MIB, template="limits", iops=7, replication=2, placeTail="nvme")
    plain, own = api.volume("plain"), api.volume("own")
    keys = ("size", "iops", "bw", "replication", "placeAll", "placeTail")
    assert [plain[key] for key in keys] == [MIB, 500, 1000, 3, "ssd", "ssd"]
    assert [own[key] for key in keys] == [2 * MIB, 7, 1000, 2, "ssd", "nvme"]


@pytest.mark.rule("create-defaults")
def test_a_create_from_something_missing_is_refused(api: Client) -> None:
    before = state(api)
    for more in ({"template": "none"}, {"parent": "none"}, {"baseOn": "none"}, {"parent": "~sf.a.zzz"}, {"baseOn": "~sf.a.zzz"}):
        assert api.post("VolumeCreate", {"name": "x", "size": MIB, **more}).error == "objectDoesNotExist", more
    assert state(api) == before


@pytest.mark.rule("place-defaults")
def test_place_all_defaults_to_default_and_the_others_to_it(api: Client) -> None:
    api.create("plain")
    api.create("all", placeAll="ssd")
    api.create("tail", placeAll="hdd", placeTail="ssd")
    api.create("head", placeAll="hdd", placeHead="nvme")
    api.create("only-tail", placeTail="ssd")
    found = {name: tuple(item[key] for key in ("placeAll", "placeTail", "placeHead")) for name, item in api.volumes().items()}
    assert found == {
        "plain": ("default", "default", "default"),
        "all": ("ssd", "ssd", "ssd"),
        "tail": ("hdd", "ssd", "hdd"),
        "head": ("hdd", "hdd", "nvme"),
        "only-tail": ("default", "ssd", "default"),
    }
    api.do("VolumeTemplateCreate", {"name": "t1", "replication": 2, "placeAll": "nvme"})
    template = api.get("VolumeTemplateDescribe/t1").data
    assert (template["placeTail"], template["placeHead"]) == ("nvme", "nvme")
    assert api.post("VolumeCreate", {"name": "bad", "size": MIB, "placeAll": "nowhere"}).failed
    assert "bad" not in api.volumes()
