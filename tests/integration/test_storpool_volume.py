# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""storpool_volume against the simulator: check mode tells what the run does, the run does what was asked, the second run does nothing."""

from __future__ import annotations

import json
import threading
import time

import prediction
import pytest

GIB = 1 << 30
MIB = 1 << 20
MODULE = "storpool_volume"


class World:
    """The simulated cluster, seen through its API and its control interface, without any code of the collection."""

    def __init__(self, simulator, run_module, calls):
        self.simulator, self.run_module, self.calls = simulator, run_module, calls

    # -- what is there

    def get(self, path):
        status, document = self.simulator.get(path)
        assert "error" not in document, (status, document)
        return document["data"]

    def post(self, path, **body):
        status, document = self.simulator.post(path, body)
        assert "error" not in document, (status, document)
        return document["data"]

    def volumes(self):
        return {one["name"]: one for one in self.get("VolumesList")}

    def snapshots(self):
        return {one["name"]: one for one in self.get("SnapshotsList") if not one["deleted"]}

    def attachments(self, name):
        return {one["client"]: one["rights"] for one in self.get("AttachmentsList") if one["volume"] == name}

    def object(self, name):
        """A volume as a result has to show it."""
        raw = self.volumes()[name]
        limits = {key: "unlimited" if raw[key] == "-" else raw[key] for key in ("iops", "bw")}
        return {
            "name": raw["name"],
            "global_id": raw["globalId"],
            "size": raw["size"],
            "template": raw["templateName"] or None,
            "parent": raw["parentName"] or None,
            **limits,
            "replication": raw["replication"],
            "place_all": raw["placeAll"],
            "place_head": raw["placeHead"],
            "place_tail": raw["placeTail"],
            "tags": raw.get("tags", {}),
            "attachments": [{"client": client, "rights": rights} for client, rights in sorted(self.attachments(name).items())],
        }

    def hash(self, name):
        return self.simulator.content(name)["sha256"]

    # -- what is done

    def volume(self, name, **body):
        return self.post("VolumeCreate", name=name, **{"size": 64 * MIB, "template": "hybrid", **body})

    def snapshot(self, volume, name, **body):
        return self.post(f"VolumeSnapshot/{volume}", name=name, **body)

    def attach(self, volume, **rights):
        self.post("VolumesReassignWait", reassign=[{"volume": volume, **rights}])

    def run(self, check=False, **options):
        return self.run_module(MODULE, check=check, **options)

    def ok(self, **options):
        result = self.run(**options)
        assert "failed" not in result, result
        return result

    def thrice(self, **options):
        """Check, run, run again; returns the result of the run."""
        self.calls()
        said = self.run(check=True, **options)
        assert self.calls().writes == []
        done = self.run(**options)
        assert "failed" not in done, done
        # Names that StorPool makes up cannot be foretold: of an anonymous volume, of the snapshot under a volume from a remote backup.
        assert not [line for line in prediction.unlike(said, done) if ": check mode said None, the real run '~" not in line]
        wrote = self.calls().writes
        assert len(wrote) == done["api"]["writes"] > 0
        assert done["changed"] is True
        for one in done["volumes"]:
            self.matches(one["object"])
        self.calls()
        again = self.run(**options)
        assert "failed" not in again, again
        assert again["changed"] is False
        assert again["diff"] == []
        assert again["api"]["writes"] == 0
        log = self.calls()
        assert log.writes == []
        assert len(log.reads) == again["api"]["reads"]
        for one in again["volumes"]:
            self.matches(one["object"])
        return done

    def matches(self, shown):
        """What a result shows is what is there."""
        if shown is None:
            return
        there = self.object(shown["name"])
        if shown["attachments"] is None:
            there["attachments"] = None  # not read, and not claimed to be known
        if str(there["parent"]).startswith("*"):
            # A transient snapshot: StorPool makes one under a volume at each copy of it, and collects it again.
            shown = {**shown, "parent": there["parent"]}
        assert shown == there


@pytest.fixture
def world(simulator, run_module, calls):
    return World(simulator, run_module, calls)


def only(result):
    (entry,) = result["volumes"]
    return entry


# -- every option in real life


@pytest.mark.parametrize(
    "options",
    [
        {"size": "10G", "template": "nvme"},
        {"size": "512"},
        {"size": "1G", "replication": 2, "place_all": "ssd"},
        {"size": "1G", "place_tail": "nvme"},
        {"size": "1G", "template": "hybrid", "place_all": "ssd"},
        {"size": "1G", "template": "hybrid", "place_tail": "nvme", "replication": 2},
        {"size": "1G", "template": "hdd", "iops": 5000, "bw": "100M"},
        {"size": "1G", "template": "limited"},
        {"size": "1G", "template": "limited", "iops": "unlimited"},
        {"size": "1G", "tags": {"owner": "dba", "empty": ""}, "tags_mode": "exact"},
        {"size": "1G", "attach_to": [11]},
        {"size": "1G", "attach_to": ["11:ro", {"client": 12}], "exclusive": True},
        {"template": "sized"},
        {"template": "golden"},
        {"parent": "base"},
        {"parent": "base", "size": "1G"},
        {"parent": "base", "template": "nvme"},
        {"parent": "base", "template": "limited", "iops": 7},
        {"parent": "base", "place_all": "nvme"},
        {"parent": "base", "replication": 1, "tags": {"a": "b"}},
        {"parent": "bare"},
        {"parent": "tight"},
        {"base_on": "source"},
        {"base_on": "source", "size": "1G", "template": "limited"},
        {"base_on": "slow"},
        {"base_on": "slow", "place_all": "nvme", "attach_to": [11]},
    ],
    ids=",".join,
)
def test_create(world, options):
    world.post("VolumeTemplateCreate", name="limited", replication=2, placeAll="ssd", placeTail="ssd", iops=1000, bw=2000)
    world.post("VolumeTemplateCreate", name="sized", placeAll="hdd", size=3 * GIB)
    world.volume("source", tags={"a": "b"})
    world.snapshot("source", "base")
    world.post("VolumeTemplateCreate", name="golden", placeAll="ssd", parent="base")
    world.post("VolumeCreate", name="plain", size=64 * MIB, replication=2, placeAll="ssd", iops=77)
    world.snapshot("plain", "bare")
    world.volume("slow", template="limited", iops=5)
    world.snapshot("slow", "tight")
    done = world.thrice(name="v", **options)
    assert only(done)["actions"] == (["create", "attach"] if "attach_to" in options else ["create"])


@pytest.mark.parametrize(
    ("there", "options"),
    [
        ({}, {"size": "1G"}),
        ({}, {"size": "32M", "allow_shrink": True}),
        ({}, {"iops": 100, "bw": 4096}),
        ({"iops": 100, "bw": 4096}, {"iops": "unlimited", "bw": 0}),
        ({"tags": {"a": "1", "b": "2"}}, {"tags": {"b": "3", "c": "4"}}),
        ({"tags": {"a": "1", "b": "2"}}, {"tags": {"b": "3"}, "tags_mode": "exact"}),
        ({"tags": {"a": "1", "b": "2"}}, {"tags": {"a": ""}}),
        ({"tags": {"a": "1"}}, {"tags": {}, "tags_mode": "exact"}),
        ({"iops": 100}, {"template": "nvme"}),
        ({"iops": 100}, {"template": "limited"}),
        ({"iops": 100}, {"template": "limited", "iops": 100}),
        ({}, {"template": "limited", "place_tail": "nvme"}),
        ({}, {"replication": 2}),
        ({}, {"place_all": "nvme"}),
        ({}, {"place_head": "nvme", "place_tail": "nvme", "place_all": "nvme"}),
        ({}, {"size": "1G", "template": "nvme", "iops": 7, "tags": {"a": "b"}, "attach_to": [11]}),
    ],
    ids=",".join,
)
def test_change(world, there, options):
    world.post("VolumeTemplateCreate", name="limited", replication=2, placeAll="ssd", placeTail="ssd", iops=1000, bw=2000)
    world.volume("v", **there)
    world.thrice(name="v", **options)


@pytest.mark.parametrize(
    ("there", "options"),
    [
        ({}, {"attach_to": [11]}),
        ({}, {"attach_to": [11, "12:ro"]}),
        ({"rw": [11]}, {"attach_to": ["11:ro"]}),
        ({"ro": [11]}, {"attach_to": ["11:rw"]}),
        ({"rw": [11]}, {"attach_to": [12]}),
        ({"rw": [11], "ro": [13]}, {"attach_to": [12], "exclusive": True}),
        ({"rw": [11], "ro": [13]}, {"attach_to": ["13:ro"], "exclusive": True}),
        ({"rw": [11, 12]}, {"attach_to": [], "exclusive": True}),
        ({"rw": [11], "ro": [12]}, {"attach_to": ["11:ro", "12:rw"], "exclusive": True}),
    ],
    ids=str,
)
def test_attach(world, there, options):
    world.volume("v")
    if there:
        world.attach("v", **there)
    done = world.thrice(name="v", **options)
    assert done["api"]["writes"] == 1


def test_attached_volumes_appear_as_devices(world):
    world.ok(name="v", size="1M", attach_to=[11])
    device = world.simulator.devices / world.simulator.first / "11" / "storpool" / "v"
    assert device.exists()
    world.ok(name="v", attach_to=[], exclusive=True)
    assert not device.exists()


def test_a_device_in_use(world):
    world.volume("v")
    world.attach("v", rw=[11])
    world.simulator.open("v", 11)
    result = world.run(name="v", attach_to=[12], exclusive=True)
    assert result["error"]["name"] == "busy"
    assert "set force" in result["msg"]
    assert world.attachments("v") == {11: "rw"}
    world.thrice(name="v", attach_to=[12], exclusive=True, force=True)
    assert world.attachments("v") == {12: "rw"}


def test_an_unknown_client(world):
    world.volume("v")
    result = world.run(name="v", attach_to=[99])
    assert "No such client registered" in result["msg"]
    assert "storpool_cluster_info" in result["error"]["hint"]


@pytest.mark.parametrize(
    "options",
    [
        {"name": "new", "renamed_from": "old"},
        {"name": "new", "renamed_from": "old", "size": "1G", "attach_to": [11]},
        {"name": "new", "match_tags": {"uuid": "1"}},
        {"name": "new", "global_id": None},
    ],
    ids=",".join,
)
def test_rename(world, options):
    made = world.volume("old", tags={"uuid": "1"})
    if "global_id" in options:
        options = {**options, "global_id": made["globalId"]}
    done = world.thrice(**options)
    assert only(done)["object"]["global_id"] == made["globalId"]
    assert set(world.volumes()) == {"new"}


def test_identity_by_tags(world):
    done = world.thrice(match_tags={"uuid": "1"}, size="1G", tags={"more": "x"})
    (name,) = world.volumes()
    assert name == only(done)["object"]["name"] == "~" + only(done)["object"]["global_id"]
    world.thrice(match_tags={"uuid": "1"}, size="2G")
    world.thrice(match_tags={"uuid": "1"}, attach_to=[11])
    world.thrice(match_tags={"uuid": "1"}, state="absent", on_attached="detach")
    assert world.volumes() == {}


def test_identity_by_global_id(world):
    identity = world.volume("")["globalId"]
    world.thrice(global_id=identity, size="1G", attach_to=[11])
    world.thrice(name=f"~{identity}", size="2G")
    world.thrice(global_id=identity, name="named")
    assert set(world.volumes()) == {"named"}


def test_absent(world):
    world.volume("v")
    done = world.thrice(name="v", state="absent")
    assert only(done)["object"] is None
    assert done["diff"][0]["after"] == {}
    assert world.volumes() == {}


def test_absent_while_attached(world):
    world.volume("v")
    world.attach("v", rw=[11])
    result = world.run(name="v", state="absent")
    assert result["error"]["type"] == "refused"
    assert only(result)["object"]["attachments"] == [{"client": 11, "rights": "rw"}]
    assert world.calls().writes[2:] == []
    done = world.thrice(name="v", state="absent", on_attached="detach")
    assert only(done)["actions"] == ["detach", "delete"]


def test_absent_while_in_use(world):
    world.volume("v")
    world.attach("v", rw=[11])
    world.simulator.open("v", 11)
    result = world.run(name="v", state="absent", on_attached="detach")
    assert result["error"]["name"] == "busy"
    assert "v" in world.volumes()
    world.thrice(name="v", state="absent", on_attached="detach_force")


def test_absent_with_a_way_back(world):
    world.volume("v")
    world.simulator.write("v", b"precious" * 512)
    before = world.hash("v")
    done = world.thrice(name="v", state="absent", keep_snapshot={"delete_after": "7d", "tags": {"why": "gone"}})
    kept = only(done)["kept_snapshot"]
    snapshot = world.snapshots()[kept]
    assert snapshot["tags"] == {"why": "gone"}
    assert snapshot["targetDeleteDate"] > snapshot["creationTimestamp"]
    world.ok(name="again", parent=kept)
    assert world.hash("again") == before


def test_a_way_back_that_is_none(world):
    world.volume("other")
    world.snapshot("other", "last")
    world.volume("v")
    world.simulator.write("v", b"precious" * 512)
    result = world.run(name="v", state="absent", keep_snapshot={"name": "last"})
    assert "is not known to hold what v holds now" in result["msg"]
    assert "v" in world.volumes()


def test_a_delete_that_fails_after_the_snapshot_goes_on_with_it(world):
    world.volume("v")
    world.simulator.fault("error", "VolumeDelete", name="busy", descr="not now")
    result = world.run(name="v", state="absent", keep_snapshot={})
    assert result["msg"].endswith("Done before that: snapshot; not done: delete")
    assert only(result)["object"]["name"] == "v"
    done = world.ok(name="v", state="absent", keep_snapshot={})
    assert only(done)["actions"] == ["delete"]
    # ... but not when something was written meanwhile.
    world.volume("v")
    world.simulator.fault("error", "VolumeDelete", name="busy", descr="not now")
    kept = only(world.run(name="v", state="absent", keep_snapshot={}))["kept_snapshot"]
    world.simulator.write("v", b"new" * 4096)
    assert f"a snapshot {kept} exists" in world.run(name="v", state="absent", keep_snapshot={})["msg"]


# -- contents


def test_parent_and_copy_hold_the_content(world):
    world.volume("v")
    world.simulator.write("v", b"one" * 4096)
    one = world.hash("v")
    world.snapshot("v", "s")
    world.simulator.write("v", b"two" * 4096)
    two = world.hash("v")
    world.thrice(name="from-snapshot", parent="s")
    world.thrice(name="from-volume", base_on="v")
    assert (world.hash("from-snapshot"), world.hash("from-volume")) == (one, two)


def test_revert(world):
    world.volume("v")
    world.simulator.write("v", b"one" * 4096)
    one = world.hash("v")
    world.snapshot("v", "s")
    quiet = world.ok(name="v", state="reverted", revert_to="s")
    assert quiet["changed"] is False
    assert only(quiet)["revert"]["needed"] is False
    world.simulator.write("v", b"two" * 4096)
    done = world.thrice(name="v", state="reverted", revert_to="s")
    assert only(done)["revert"]["needed"] is True
    assert world.hash("v") == one


def test_revert_over_another_snapshot(world):
    world.volume("v")
    world.simulator.write("v", b"one" * 4096)
    one = world.hash("v")
    world.snapshot("v", "s")
    world.simulator.write("v", b"two" * 4096)
    world.snapshot("v", "t")
    world.thrice(name="v", state="reverted", revert_to="s")
    assert world.hash("v") == one
    world.snapshot("v", "u")
    quiet = world.ok(name="v", state="reverted", revert_to="s")
    assert quiet["changed"] is False
    assert "t" in world.snapshots()


def test_revert_with_the_size(world):
    world.volume("v")
    world.snapshot("v", "s")
    world.ok(name="v", size="1G")
    world.thrice(name="v", state="reverted", revert_to="s", revert_size=True)
    assert world.volumes()["v"]["size"] == 64 * MIB


def test_revert_to_a_foreign_snapshot(world):
    world.volume("w")
    world.simulator.write("w", b"other" * 4096)
    world.snapshot("w", "s")
    world.volume("v")
    world.thrice(name="v", state="reverted", revert_to="s")
    assert world.hash("v") == world.hash("w")


def test_revert_while_attached(world):
    world.volume("v")
    world.snapshot("v", "s")
    world.attach("v", rw=[11])
    world.simulator.write("v", b"two" * 4096)
    assert world.run(name="v", state="reverted", revert_to="s")["error"]["type"] == "refused"
    done = world.thrice(name="v", state="reverted", revert_to="s", on_attached="detach", attach_to=[11])
    assert only(done)["actions"] == ["detach", "revert", "attach"]


def test_from_a_remote_backup(world):
    world.volume("v")
    world.simulator.write("v", b"one" * 4096)
    identity = world.post("VolumeBackup", volume="v", location="plovdiv")["remoteId"]
    world.simulator.settle()
    world.post("VolumeDelete/v")
    world.thrice(name="back", remote={"location": "plovdiv", "id": identity}, template="nvme", size="1G", iops=50, tags={"a": "b"})
    world.simulator.settle()
    assert world.simulator.read("back", 0, 12288) == b"one" * 4096
    world.thrice(name="again", remote={"location": "plovdiv", "id": identity})


# -- what it costs


@pytest.mark.parametrize(
    ("options", "reads"),
    [
        ({"name": "v"}, ["Volume"]),
        ({"name": "v", "size": "64M", "template": "hybrid", "iops": "unlimited", "tags": {}}, ["Volume"]),
        ({"global_id": None}, ["Volume"]),
        ({"name": "gone", "state": "absent"}, ["Volume"]),
        ({"name": "v", "attach_to": []}, ["Volume", "AttachmentsList"]),
        ({"names": ["v", "w"]}, ["VolumesList"]),
        ({"volumes": [{"name": "v"}, {"name": "w", "size": "64M"}], "template": "hybrid"}, ["VolumesList"]),
        ({"volumes": [{"name": "v"}, {"name": "w", "attach_to": []}]}, ["VolumesList", "AttachmentsList"]),
        ({"name": "v", "renamed_from": "u"}, ["VolumesList"]),
        ({"match_tags": {"uuid": "1"}}, ["VolumesList"]),
    ],
    ids=str,
)
def test_reads_when_nothing_changes(world, options, reads):
    identity = world.volume("v", tags={"uuid": "1"})["globalId"]
    world.volume("w")
    if "global_id" in options:
        options = {"global_id": identity}
    world.calls()
    result = world.ok(**options)
    log = world.calls()
    assert result["changed"] is False
    assert (log.reads, log.writes) == (reads, [])


# -- many


def test_a_thousand_in_one_task(world):
    names = [f"v{number:04}" for number in range(1000)]
    said = world.run(check=True, names=names, size="1M", template="hdd", return_objects="none")
    assert world.calls().writes == []
    done = world.ok(names=names, size="1M", template="hdd", return_objects="none")
    assert done["summary"] == said["summary"] == {"declared": 1000, "changed": 1000, "unchanged": 0, "failed": 0, "not_attempted": 0}
    assert len(done["diff"]) == 1000
    assert done["volumes"] == []
    log = world.calls()
    assert (len(log.writes), len(log.reads)) == (1000, 2)
    assert sorted(world.volumes()) == names
    world.calls()
    again = world.ok(names=names, size="1M", template="hdd")
    assert again["changed"] is False
    assert (world.calls().reads, again["api"]["writes"]) == (["VolumesList"], 0)
    grown = world.ok(volumes=[{"name": name, "size": "2M" if name.endswith("7") else "1M"} for name in names])
    assert grown["summary"]["changed"] == 100
    assert len(grown["volumes"]) == 100


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("v.json", json.dumps([{"name": "a", "size": "1G"}, {"name": "b", "attach_to": [11], "tags": {"x": "y"}}])),
        ("v.yaml", "volumes:\n- {name: a, size: 1G}\n- {name: b, attach_to: [11], tags: {x: y}}\n"),
        ("v.csv", "name,size,attach_to,tags\na,1G,,\nb,,11,x=y\n"),
    ],
)
def test_volumes_from_a_file(world, tmp_path, file, content):
    (tmp_path / file).write_text(content)
    world.thrice(volumes_src=str(tmp_path / file), size="2G", template="nvme")
    assert {name: raw["size"] for name, raw in world.volumes().items()} == {"a": GIB, "b": 2 * GIB}
    assert world.volumes()["b"]["tags"] == {"x": "y"}
    assert world.attachments("b") == {11: "rw"}


def test_a_list_with_copies_of_its_own_members(world):
    done = world.thrice(
        template="hybrid",
        volumes=[{"name": "c", "base_on": "b"}, {"name": "b", "base_on": "a"}, {"name": "a", "size": "1G"}, {"name": "d", "size": "2G"}],
        return_objects="all",
    )
    assert [one["name"] for one in done["volumes"]] == ["c", "b", "a", "d"]


def test_everything_at_once(world):
    for name in ("old", "grow", "gone", "same"):
        world.volume(name)
    done = world.thrice(
        volumes=[
            {"name": "new", "renamed_from": "old"},
            {"name": "grow", "size": "1G"},
            {"name": "gone", "state": "absent"},
            {"name": "same"},
            {"name": "made", "size": "1G", "attach_to": [11]},
        ],
    )
    assert {one["name"]: one["actions"] for one in done["volumes"]} == {
        "new": ["update rename"],
        "grow": ["update size"],
        "gone": ["delete"],
        "made": ["create", "attach"],
    }


@pytest.mark.parametrize("on_error", ["stop", "continue"])
def test_one_of_fifty_is_refused_by_the_server(world, on_error):
    names = [f"v{number:02}" for number in range(50)]
    # How far the others get while one thread learns of its failure is up to the machine, so what has to stop goes one by one.
    options = {"names": names, "size": "1G", "template": "hdd", "on_error": on_error, "parallel": 1 if on_error == "stop" else 8}
    world.simulator.fault("error", "VolumeCreate", object="v20", name="insufficientResources", descr="no space")
    world.calls()
    result = world.run(**options)
    counts = result["summary"]
    assert (result["failed"], result["changed"], counts["failed"]) == (True, True, 1)
    assert "First failure: volume v20: VolumeCreate on v20 failed: insufficientResources: no space" in result["msg"]
    assert "storpool_cluster_info" in result["error"]["hint"]
    assert len(world.volumes()) == counts["changed"]
    if on_error == "stop":
        assert (counts["changed"], counts["not_attempted"]) == (20, 29)
    else:
        assert (counts["changed"], counts["not_attempted"]) == (49, 0)
    again = world.ok(**options)
    assert again["summary"]["changed"] == 50 - counts["changed"]
    assert len(world.volumes()) == 50


@pytest.mark.parametrize("on_error", ["stop", "continue"])
def test_one_of_fifty_is_refused_by_the_planner(world, on_error):
    world.volume("v20", size=2 * GIB)
    options = {"names": [f"v{number:02}" for number in range(50)], "size": "1G", "on_error": on_error}
    world.calls()
    said = world.run(check=True, **options)
    result = world.run(**options)
    assert not prediction.unlike(said, result)
    assert result["error"]["type"] == "refused"
    assert len(world.calls().writes) == (0 if on_error == "stop" else 49)
    assert result["summary"]["not_attempted"] == (49 if on_error == "stop" else 0)


# -- faults: any write, any way of failing; the end is right and nothing is there twice

CREATE = {"name": "v", "size": "128M", "template": "nvme", "tags": {"a": "b"}}
COPY = {"name": "v", "base_on": "w", "attach_to": [11]}


def nothing(world):
    world.volume("w")


def small(world):
    nothing(world)
    world.volume("v")


def attached(world):
    small(world)
    world.attach("v", rw=[12])
    world.snapshot("v", "s")
    world.simulator.write("v", b"x" * 4096)


def snapped(world):
    small(world)
    world.snapshot("v", "s")
    world.simulator.write("v", b"x" * 4096)


FAULTS = ["transient", "cut_before", "cut_after", "bad_json", "truncated"]
REVERT = {"name": "v", "state": "reverted", "revert_to": "s", "on_attached": "detach", "attach_to": [11]}
DELETE = {"name": "v", "state": "absent", "keep_snapshot": {}, "on_attached": "detach"}
WRITES = [
    (nothing, CREATE, "VolumeCreate"),
    (nothing, {**CREATE, "name": None, "match_tags": {"uuid": "1"}}, "VolumeCreate"),
    (nothing, COPY, "VolumeCreate"),
    (nothing, COPY, "VolumesReassignWait"),
    (small, {**CREATE, "iops": 5}, "VolumeUpdate"),
    (small, {"name": "new", "renamed_from": "v"}, "VolumeUpdate"),
    (attached, {"name": "v", "attach_to": [11], "exclusive": True}, "VolumesReassignWait"),
    (attached, REVERT, "VolumesReassignWait"),
    (attached, REVERT, "VolumeRevert"),
    (snapped, DELETE, "VolumeSnapshot"),
    (snapped, DELETE, "VolumeDelete"),
    (attached, DELETE, "VolumesReassignWait"),
]


def comparable(world):
    """The end state, without what differs from run to run."""
    shown = []
    for raw in [*world.volumes().values(), *world.snapshots().values()]:
        name = raw["name"]
        stable = name if not name.startswith(("~", "*")) and "-deleted-" not in name else name[:1]
        kept = {key: raw[key] for key in ("size", "templateName", "iops", "bw", "replication", "placeAll", "tags") if key in raw}
        shown.append((stable, kept, sorted(world.attachments(name).items())))
    return sorted(shown, key=repr)


@pytest.fixture(scope="module")
def expected():
    return {}


@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.parametrize(("prepare", "options", "call"), WRITES, ids=lambda value: value if isinstance(value, str) else "")
def test_a_fault_at_a_write(world, prepare, options, call, kind, expected):
    prepare(world)
    key = repr((prepare.__name__, options))
    if key not in expected:
        plain = world.ok(**options)
        expected[key] = (comparable(world), only(plain)["actions"])
        world.simulator.reset()
        prepare(world)
    end, actions = expected[key]
    world.simulator.fault(kind, call)
    world.calls()
    result = world.ok(**options)
    assert result["changed"] is True
    assert only(result)["actions"] == actions
    assert comparable(world) == end
    took_effect = kind in ("cut_after", "bad_json", "truncated")
    sent = world.calls().writes.count(call)
    assert sent == actions_with(call, options, actions) + (0 if took_effect else 1)
    again = world.ok(**options)
    assert again["changed"] is False
    assert world.calls().writes == []
    if only(result)["object"] and only(again)["object"]:
        known = {
            key: value for key, value in only(result)["object"].items() if only(again)["object"][key] is not None or key != "attachments"
        }
        assert known == {key: only(again)["object"][key] for key in known}


def actions_with(call, options, actions):
    """How many writes of that name the plan has."""
    words = {
        "VolumeCreate": ("create",),
        "VolumesReassignWait": ("attach", "detach", "attach and detach"),
        "VolumeRevert": ("revert",),
        "VolumeSnapshot": ("snapshot",),
        "VolumeDelete": ("delete",),
    }
    return sum(action in words.get(call, ()) or (call == "VolumeUpdate" and action.startswith("update")) for action in actions)


@pytest.mark.parametrize("kind", FAULTS)
def test_faults_at_many_writes_of_a_list(world, kind):
    names = [f"v{number:02}" for number in range(40)]
    # By their names: whichever come together then, none meets more than a task bears.
    for call, unlucky in (("VolumeCreate", names[::2]), ("VolumesReassignWait", names[::3])):
        for name in unlucky:
            world.simulator.fault(kind, call, object=name, count=2)
    result = world.ok(names=names, size="1G", attach_to=[11], return_objects="all")
    # What took effect is not sent again, so the second time is still to come.
    times = 1 if kind in ("cut_after", "bad_json", "truncated") else 2
    assert {fault["hits"] for fault in world.simulator.faults()} == {times}
    assert result["summary"]["changed"] == 40
    assert sorted(world.volumes()) == names
    for one in result["volumes"]:
        world.matches(one["object"])


@pytest.mark.parametrize("kind", ["transient", "cut_before", "bad_json", "truncated", "status"])
@pytest.mark.parametrize("call", ["Volume", "AttachmentsList", "VolumeTemplatesList"])
def test_faults_at_reads(world, kind, call):
    world.volume("v")
    world.simulator.fault(kind, call, count=2, **({"status": 503} if kind == "status" else {}))
    result = world.ok(name="v", size="1G", template="nvme", attach_to=[11])
    assert result["api"]["attempts"] == result["api"]["reads"] + result["api"]["writes"] + 2
    assert result["api"]["waited"] > 0


def test_a_named_error_is_not_repeated(world):
    world.simulator.fault("error", "VolumeCreate", name="invalidParam", descr="no")
    world.calls()
    result = world.run(**CREATE)
    assert result["error"]["name"] == "invalidParam"
    assert world.calls().writes == ["VolumeCreate"]
    assert world.volumes() == {}


def test_a_server_that_never_comes_back(world):
    world.simulator.fault("cut_after", "*", count=-1)
    result = world.run(**CREATE, sp_timeout=5)
    assert result["error"]["type"] == "unreachable"
    assert "gave up after" in result["msg"]


# -- others


def test_two_tasks_create_the_same_at_once(world):
    """One of them wins; the other finds it and agrees, or makes it so."""
    results = []
    held = world.simulator.fault("held", "VolumeCreate", count=2)

    def work():
        results.append(world.run(name="v", size="1G", template="nvme", tags={"a": "b"}))

    threads = [threading.Thread(target=work) for _unused in range(2)]
    for one in threads:
        one.start()
    # Neither creates it before the other has seen that it is not there.
    while world.simulator.faults()[0]["hits"] < len(threads) and all(one.is_alive() for one in threads):
        time.sleep(0.01)
    world.simulator.lift(held)
    for one in threads:
        one.join()
    assert all("failed" not in result for result in results), results
    assert sorted(result["changed"] for result in results) == [False, True]
    assert sum("warnings" in result for result in results) == 1
    for result in results:
        world.matches(only(result)["object"])


def test_a_snapshot_of_that_name(world):
    world.volume("w")
    world.snapshot("w", "v")
    for name in ({"name": "v", "size": "1G"}, {"name": "v", "renamed_from": "w"}):
        checked = world.run(check=True, **name)
        assert (checked["error"]["type"], checked["changed"]) == ("refused", False)
        assert "a snapshot is called v" in checked["msg"]
        result = world.run(**name)
        assert result["error"]["name"] == "objectExists"
        assert "share their names" in result["msg"]
        assert result["changed"] is False
    assert world.run(check=True, names=["a", "v"], size="1G")["summary"]["failed"] == 1


def test_objects_of_cloudstack(world):
    world.volume("v", tags={"cs": "uuid-1"})
    world.calls()
    result = world.run(name="v", size="1G")
    assert (result["error"]["type"], world.calls().writes) == ("refused", [])
    assert "use CloudStack: resizeVolume" in result["msg"]
    assert world.ok(name="v")["changed"] is False
    world.thrice(name="v", size="1G", allow_cloudstack_objects=True)


def test_another_cluster(world):
    assert world.ok(name="v", size="1G", sp_cluster="sofia-b")["changed"] is True
    assert world.volumes() == {}
    again = world.ok(name="v", size="1G", sp_cluster="~sf.b")
    assert again["changed"] is False


@pytest.mark.parametrize("how", [{"name": "v"}, {"volumes": [{"name": "v"}, {"name": "w", "size": "1M"}]}, {"global_id": None}])
def test_a_name_that_two_clusters_have(world, how):
    world.volume("v")
    there = only(world.ok(name="v", size="1M", sp_cluster="sofia-b"))["object"]["global_id"]
    world.calls()
    how = {"global_id": there} if "global_id" in how else how
    result = world.run(**how, iops=5, sp_multi_cluster=True)
    assert "2 volumes are called v, in the clusters sofia-a, sofia-b" in result["msg"]
    assert world.calls().writes == []


def test_a_cluster_that_is_not_there(world):
    result = world.run(name="v", state="absent", sp_cluster="nowhere")
    assert "(check sp_cluster (from option sp_cluster))" in result["msg"]


def test_errors_that_come_with_status_200(world, tmp_path):
    from storpool_simulator.testing import Simulator

    with Simulator(tmp_path, devices="none", assume={"error_status": 200}) as other:
        options = {"sp_api_http_host": [other.host], "sp_api_http_port": other.port, "sp_auth_token": other.token}
        assert world.ok(name="v", size="1G", template="hdd", **options)["changed"] is True
        assert world.ok(name="v", size="1G", template="hdd", **options)["changed"] is False
        assert world.run(name="w", size="1G", attach_to=[99], **options)["error"]["name"] == "invalidParam"
