# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules about tags, limits, resize, delete, freeze, revert and templates."""

from __future__ import annotations

import pytest
from storpool_simulator.testing import Simulator

from .support import KIB, MIB, Client, sha256, state


@pytest.mark.rule("base-on")
def test_base_on_makes_a_transient_snapshot(api: Client) -> None:
    api.sim("POST", "background", {"auto": False})
    api.create("vol", size=MIB, template="nvme")
    api.write("vol", b"first" * 100)
    made = api.create("clone", size=None, baseOn="vol")
    auto = made["autoName"]
    entry = api.snapshots()[auto]
    assert (entry["transient"], entry["deleted"]) == (True, False)
    assert api.volume("clone")["parentName"] == auto
    reply = api.post("VolumesReassignWait", {"reassign": [{"snapshot": auto, "ro": [1]}]})
    assert reply.failed and api.attachments() == []
    reply = api.post("VolumesReassign", [{"snapshot": f"~{entry['globalId']}", "ro": [1]}])
    assert reply.failed and api.attachments() == []
    api.write("vol", b"later")
    assert api.read("clone", 0, 500) == b"first" * 100
    api.sim("POST", "settle")
    assert api.snapshots() == {}
    assert api.read("clone", 0, 500) == b"first" * 100
    assert api.read("vol", 0, 5) == b"later"


@pytest.mark.rule("base-on")
def test_parent_and_base_are_alternatives_of_the_same_content(api: Client) -> None:
    api.create("vol")
    api.write("vol", b"x" * 4096, 8192)
    api.snap("vol", "snap")
    made = api.create("by-parent", size=None, parent="snap")
    assert "autoName" not in made
    api.create("by-base", size=None, baseOn="vol")
    assert len({api.sha(name) for name in ("vol", "snap", "by-parent", "by-base")}) == 1


@pytest.mark.rule("tags-not-inherited")
def test_snapshots_and_clones_do_not_get_the_tags_of_the_volume(api: Client) -> None:
    api.create("vol", tags={"owner": "a"})
    api.snap("vol", "plain")
    api.snap("vol", "tagged", tags={"own": "b"})
    api.snap("vol")
    api.do("VolumesGroupSnapshot", {"volumes": [{"volume": "vol", "name": "grouped"}]})
    tags = {item["name"]: item.get("tags", {}) for item in api.snapshots().values()}
    assert tags.pop("tagged") == {"own": "b"}
    assert all(value == {} for value in tags.values()) and len(tags) == 3
    api.create("clone", size=None, parent="tagged")
    assert api.volume("clone").get("tags", {}) == {}
    assert api.volume("vol")["tags"] == {"owner": "a"}


@pytest.mark.rule("tags-merge")
def test_the_tags_of_an_update_are_merged_and_an_empty_value_clears(api: Client) -> None:
    api.create("vol", tags={"a": "1", "b": "2"})
    api.do("VolumeUpdate/vol", {"tags": {"c": "3"}})
    assert api.volume("vol")["tags"] == {"a": "1", "b": "2", "c": "3"}
    api.do("VolumeUpdate/vol", {"tags": {"a": "", "b": "22"}})
    assert api.volume("vol")["tags"] == {"b": "22", "c": "3"}
    api.do("VolumeUpdate/vol", {"tags": {"nowhere": ""}})
    api.do("VolumeUpdate/vol", {"tags": {}})
    api.do("VolumeUpdate/vol", {"iops": 5})
    assert api.volume("vol")["tags"] == {"b": "22", "c": "3"}
    api.snap("vol", "snap", tags={"s": "1", "t": "2"})
    api.do("SnapshotUpdate/snap", {"tags": {"t": "", "u": "3"}})
    assert api.snapshot("snap")["tags"] == {"s": "1", "u": "3"}
    api.do("VolumeUpdate/vol", {"tags": {"b": "", "c": ""}})
    assert api.volume("vol").get("tags", {}) == {}


@pytest.mark.rule("size-update")
def test_growing_by_size_and_by_amount(api: Client) -> None:
    api.create("vol", size=MIB)
    api.write("vol", b"tail" * 128, MIB - 512)
    api.do("VolumeUpdate/vol", {"size": 2 * MIB})
    api.do("VolumeUpdate/vol", {"sizeAdd": 512})
    api.do("VolumeUpdate/vol", {"size": 2 * MIB + 512})
    assert api.volume("vol")["size"] == 2 * MIB + 512
    expected = bytes(MIB - 512) + b"tail" * 128 + bytes(MIB + 512)
    assert api.content("vol")["size"] == len(expected)
    assert api.sha("vol") == sha256(expected)


@pytest.mark.rule("size-update")
def test_size_and_size_add_are_alternatives_and_shrinking_is_asked_for(api: Client) -> None:
    api.create("vol", size=2 * MIB)
    before = state(api)
    both = api.post("VolumeUpdate/vol", {"size": 4 * MIB, "sizeAdd": MIB})
    negative = api.post("VolumeUpdate/vol", {"sizeAdd": -MIB, "shrinkOk": True})
    shrink = api.post("VolumeUpdate/vol", {"size": MIB})
    denied = api.post("VolumeUpdate/vol", {"size": MIB, "shrinkOk": False})
    assert [reply.error for reply in (both, negative, shrink, denied)] == ["invalidParam"] * 4
    assert "sizeAdd" in both.descr and "sizeAdd" in negative.descr and "shrinkOk" in shrink.descr
    assert state(api) == before
    api.do("VolumeUpdate/vol", {"size": MIB, "shrinkOk": True})
    assert api.volume("vol")["size"] == MIB


@pytest.mark.rule("size-update")
def test_what_was_cut_off_by_shrinking_does_not_come_back(api: Client) -> None:
    api.create("vol", size=2 * MIB)
    api.write("vol", b"\xff" * (2 * MIB))
    api.snap("vol", "snap")
    api.do("VolumeUpdate/vol", {"size": MIB, "shrinkOk": True})
    api.do("VolumeUpdate/vol", {"size": 2 * MIB})
    assert api.sha("vol") == sha256(b"\xff" * MIB + bytes(MIB))
    assert api.sha("snap") == sha256(b"\xff" * (2 * MIB))


@pytest.mark.rule("resize-online")
def test_an_attached_volume_grows_and_the_client_learns_it(api: Client) -> None:
    api.create("vol", size=MIB)
    api.attach("vol", rw=[1, 2])
    api.sim("PUT", "open/sofia-a/vol", {"client": 1, "open": True})
    wanted = api.do("VolumeUpdate/vol", {"size": 3 * MIB})["generation"]
    assert api.volume("vol")["size"] == 3 * MIB
    assert api.attached("vol") == {1: "rw", 2: "rw"}
    for client in (1, 2):
        entry = next(item for item in api.get(f"ClientConfigWait/{client}").data if item["id"] == client)
        assert entry["clientGeneration"] >= wanted and entry["configStatus"] == "ok"
    api.write("vol", b"end!" * 128, 3 * MIB - 512)
    assert api.read("vol", 3 * MIB - 512, 4) == b"end!"


@pytest.mark.rule("delete-attached")
def test_an_attached_volume_is_deleted_only_when_the_detach_is_asked_for(api: Client, sim: Simulator) -> None:
    for name in ("a", "b", "c"):
        api.create(name)
        api.attach(name, rw=[1])
    assert api.post("VolumeDelete/a").error == "busy"
    assert api.post("VolumeDelete/a", {}).error == "busy"
    assert api.post("VolumeDelete/a", {"onAttached": "fail"}).error == "busy"
    assert set(api.volumes()) == {"a", "b", "c"} and api.attached("a") == {1: "rw"}
    api.do("VolumeDelete/a", {"onAttached": "detach"})
    sim.open("b", 1)
    assert api.post("VolumeDelete/b", {"onAttached": "detach"}).error == "busy"
    assert api.attached("b") == {1: "rw"}
    api.do("VolumeDelete/b", {"onAttached": "detachForce"})
    api.attach("c", detach="all")
    api.do("VolumeDelete/c")
    assert api.volumes() == {} and api.attachments() == []
    assert api.post("VolumeDelete/c").error == "objectDoesNotExist"
    assert api.post("VolumeDelete/c", {"onAttached": "detachForce"}).error == "objectDoesNotExist"


@pytest.mark.rule("delete-volume-keeps-snapshots")
def test_snapshots_outlive_their_volume(api: Client) -> None:
    api.create("vol")
    api.write("vol", b"kept")
    api.snap("vol", "snap")
    api.snap("vol")
    before = {name: item["globalId"] for name, item in api.snapshots().items()}
    api.do("VolumeDelete/vol")
    api.sim("POST", "settle")
    assert {name: item["globalId"] for name, item in api.snapshots().items()} == before
    assert api.read("snap", 0, 4) == b"kept"
    assert api.snapshot("snap")["onVolume"] != "vol"
    api.create("again", size=None, parent="snap")
    assert api.read("again", 0, 4) == b"kept"


@pytest.mark.rule("no-trash")
def test_a_deleted_volume_is_gone_and_a_snapshot_with_a_date_is_the_delay(api: Client, sim: Simulator) -> None:
    sim.stop_clock()
    api.create("plain")
    api.do("VolumeDelete/plain")
    assert api.volumes() == {} and api.snapshots() == {}
    for query in ("VolumeUndelete/plain", "VolumeRestore/plain", "VolumesDeletedList"):
        assert api.at("").post(query).failed
    api.create("vol")
    api.write("vol", b"precious")
    api.snap("vol", "bin", deleteAfter=3600)
    api.do("VolumeDelete/vol")
    sim.advance(3590)
    sim.settle()
    api.create("rescued", size=None, parent="bin")
    assert api.read("rescued", 0, 8) == b"precious"
    sim.advance(20)
    sim.settle()
    assert "bin" not in api.snapshots() and api.get("Snapshot/bin").error == "objectDoesNotExist"
    assert api.read("rescued", 0, 8) == b"precious"


@pytest.mark.rule("freeze")
def test_freezing_makes_a_snapshot_of_the_same_name_and_id(api: Client) -> None:
    gid = api.create("vol", size=MIB, template="nvme")["globalId"]
    api.write("vol", b"ice" * 1000)
    content = api.sha("vol")
    api.do("VolumeFreeze/vol")
    assert api.volumes() == {} and api.get("Volume/vol").error == "objectDoesNotExist"
    entry = api.snapshot("vol")
    assert (entry["globalId"], entry["size"], entry["templateName"], entry["autoName"]) == (gid, MIB, "nvme", False)
    assert api.sha("vol") == content
    assert api.post("VolumeFreeze/vol").error == "objectDoesNotExist"
    api.create("child", size=None, parent="vol")
    assert api.sha("child") == content


@pytest.mark.rule("freeze")
def test_freeze_with_a_delete_date_and_of_an_attached_volume(api: Client, sim: Simulator) -> None:
    api.create("vol")
    api.attach("vol", rw=[1])
    assert api.post("VolumeFreeze/vol").error == "busy"
    assert "vol" in api.volumes() and api.snapshots() == {}
    api.attach("vol", detach="all")
    api.do("VolumeFreeze/vol", {"deleteAfter": 60})
    assert api.snapshot("vol")["targetDeleteDate"] > 0
    sim.advance(61)
    sim.settle()
    assert api.snapshots() == {}
    api.create("plain")
    api.do("VolumeFreeze/plain", {})
    assert api.snapshot("plain").get("targetDeleteDate", 0) == 0


@pytest.mark.rule("revert")
def test_revert_takes_the_content_of_any_snapshot_and_keeps_the_identity(api: Client) -> None:
    gid = api.create("vol", size=MIB, tags={"a": "b"}, template="nvme", iops=100)["globalId"]
    api.write("vol", b"one")
    api.snap("vol", "mine", tags={"other": "tag"})
    api.write("vol", b"two")
    api.create("stranger", size=MIB)
    api.write("stranger", b"strange")
    api.snap("stranger", "foreign")
    api.do("VolumeRevert/vol", {"toSnapshot": "mine"})
    assert api.sha("vol") == api.sha("mine") and api.read("vol", 0, 3) == b"one"
    api.do("VolumeRevert/vol", {"toSnapshot": "foreign"})
    assert api.sha("vol") == api.sha("foreign") and api.read("vol", 0, 7) == b"strange"
    after = api.volume("vol")
    assert (after["globalId"], after["name"], after["tags"], after["size"]) == (gid, "vol", {"a": "b"}, MIB)
    api.write("vol", b"new")
    assert api.read("foreign", 0, 7) == b"strange" and api.read("stranger", 0, 7) == b"strange"


@pytest.mark.rule("revert")
def test_revert_changes_the_size_only_when_told(api: Client) -> None:
    api.create("vol", size=MIB)
    api.write("vol", b"\x01" * MIB)
    api.snap("vol", "small")
    api.do("VolumeUpdate/vol", {"size": 2 * MIB})
    api.write("vol", b"\x02" * (2 * MIB))
    api.snap("vol", "large")
    api.do("VolumeRevert/vol", {"toSnapshot": "small"})
    assert api.volume("vol")["size"] == 2 * MIB
    assert api.sha("vol") == sha256(b"\x01" * MIB + bytes(MIB))
    api.do("VolumeRevert/vol", {"toSnapshot": "small", "revertSize": False})
    assert api.volume("vol")["size"] == 2 * MIB
    api.do("VolumeRevert/vol", {"toSnapshot": "small", "revertSize": True})
    assert api.volume("vol")["size"] == MIB
    assert api.sha("vol") == sha256(b"\x01" * MIB)
    api.do("VolumeRevert/vol", {"toSnapshot": "large"})
    assert api.volume("vol")["size"] == MIB and api.sha("vol") == sha256(b"\x02" * MIB)
    api.do("VolumeRevert/vol", {"toSnapshot": "large", "revertSize": True})
    assert api.volume("vol")["size"] == 2 * MIB and api.sha("vol") == sha256(b"\x02" * (2 * MIB))


@pytest.mark.rule("revert")
def test_revert_needs_a_detached_volume_and_an_existing_snapshot(api: Client) -> None:
    api.create("vol")
    api.snap("vol", "snap")
    api.attach("vol", rw=[1])
    api.write("vol", b"later")
    assert api.post("VolumeRevert/vol", {"toSnapshot": "snap"}).error == "busy"
    assert api.read("vol", 0, 5) == b"later"
    api.attach("vol", detach="all")
    assert api.post("VolumeRevert/vol", {"toSnapshot": "none"}).error == "objectDoesNotExist"
    assert api.post("VolumeRevert/none", {"toSnapshot": "snap"}).error == "objectDoesNotExist"
    assert api.post("VolumeRevert/vol", {"toSnapshot": "vol"}).error == "objectDoesNotExist"
    assert api.post("VolumeRevert/vol", {}).error == "invalidParam"
    assert api.read("vol", 0, 5) == b"later"


@pytest.mark.rule("limits")
def test_a_dash_is_unlimited_and_zero_lifts_the_limit(api: Client) -> None:
    api.create("plain")
    api.create("limited", iops=100, bw=200)
    api.create("dash", iops="-", bw="-")
    limits = {name: (item["iops"], item["bw"]) for name, item in api.volumes().items()}
    assert limits == {"plain": ("-", "-"), "limited": (100, 200), "dash": ("-", "-")}
    api.do("VolumeUpdate/limited", {"iops": "-"})
    assert (api.volume("limited")["iops"], api.volume("limited")["bw"]) == ("-", 200)
    api.do("VolumeUpdate/limited", {"bw": 0, "iops": 50})
    assert api.volume("limited")["bw"] in (0, "-") and api.volume("limited")["iops"] == 50
    before = state(api)
    for key in ("iops", "bw"):
        for value in (None, -1, "", "unlimited", 1.5, True):
            reply = api.post("VolumeUpdate/limited", {key: value})
            assert reply.error == "invalidParam" and key in reply.descr, (key, value)
    assert state(api) == before


@pytest.mark.rule("bw-unit")
def test_the_bandwidth_is_kept_in_the_unit_it_was_sent_in(api: Client) -> None:
    """The API takes and gives KB/s everywhere; nothing is scaled to the MB/s of the command line on the way."""
    api.create("vol", bw=1500)
    api.do("VolumeTemplateCreate", {"name": "slow", "replication": 2, "bw": 1024})
    api.create("by-template", template="slow")
    api.snap("vol", "snap")
    assert api.volume("vol")["bw"] == 1500
    assert api.get("VolumeDescribe/vol").data["bw"] == 1500
    assert api.get("VolumeTemplateDescribe/slow").data["bw"] == 1024
    assert api.volume("by-template")["bw"] == 1024
    api.do("VolumeUpdate/vol", {"bw": 1})
    assert api.volume("vol")["bw"] == 1
    api.do("VolumeTemplateUpdate/slow", {"bw": 2047, "propagate": True})
    assert api.volume("by-template")["bw"] == 2047


@pytest.mark.rule("template-propagate")
def test_a_template_update_reaches_existing_objects_only_with_propagate(api: Client) -> None:
    api.do("VolumeTemplateCreate", {"name": "tier", "replication": 3, "placeAll": "hdd", "iops": 10})
    api.create("vol", template="tier")
    api.snap("vol", "snap")
    api.create("bystander", template="hdd")
    untouched = api.volume("bystander")
    change = {"replication": 2, "placeAll": "ssd", "placeTail": "nvme", "iops": 99}
    keys = ("replication", "placeAll", "placeTail", "iops")
    old = [api.volume("vol")[key] for key in keys]
    api.do("VolumeTemplateUpdate/tier", change)
    assert [api.get("VolumeTemplateDescribe/tier").data[key] for key in keys] == [2, "ssd", "nvme", 99]
    assert [api.volume("vol")[key] for key in keys] == old
    api.create("new", template="tier")
    assert [api.volume("new")[key] for key in keys] == [2, "ssd", "nvme", 99]
    api.do("VolumeTemplateUpdate/tier", {"iops": 100, "propagate": False})
    assert [api.volume("vol")[key] for key in keys] == old
    api.do("VolumeTemplateUpdate/tier", {**change, "propagate": True})
    assert [api.volume("vol")[key] for key in keys] == [2, "ssd", "nvme", 99]
    assert [api.snapshot("snap")[key] for key in keys[:3]] == [2, "ssd", "nvme"]
    assert api.volume("bystander") == untouched


@pytest.mark.rule("template-propagate")
def test_a_renamed_template_keeps_its_volumes_and_one_in_use_is_not_deleted(api: Client) -> None:
    api.do("VolumeTemplateCreate", {"name": "tier", "replication": 2})
    api.create("vol", template="tier")
    api.do("VolumeTemplateUpdate/tier", {"rename": "level"})
    assert api.volume("vol")["templateName"] == "level"
    assert api.get("VolumeTemplateDescribe/tier").error == "objectDoesNotExist"
    assert api.post("VolumeTemplateDelete/level").error == "busy"
    api.do("VolumeDelete/vol")
    api.do("VolumeTemplateDelete/level")
    assert "level" not in [item["name"] for item in api.get("VolumeTemplatesList").data]
    assert api.post("VolumeTemplateCreate", {"name": "hdd", "replication": 2}).error == "objectExists"


@pytest.mark.rule("ref-qc")
def test_the_template_follows_the_qc_tag_when_none_is_given(api: Client) -> None:
    api.create("tiered", size=64 * KIB, tags={"qc": "nvme"})
    api.create("given", size=64 * KIB, tags={"qc": "nvme"}, template="hdd")
    api.create("plain", size=64 * KIB, tags={"other": "nvme"})
    found = {name: item["templateName"] for name, item in api.volumes().items()}
    assert found == {"tiered": "nvme", "given": "hdd", "plain": ""}
    template = api.get("VolumeTemplateDescribe/nvme").data
    assert [api.volume("tiered")[key] for key in ("placeAll", "placeTail", "replication")] == [
        template[key] for key in ("placeAll", "placeTail", "replication")
    ]
