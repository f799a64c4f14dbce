# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""storpool_template against the simulator: what is declared is what is there, check mode tells it beforehand, the second run is silent."""

from __future__ import annotations

import json

import pytest
from prediction import unlike

MIB = 1 << 20


@pytest.fixture
def template(run_module, calls):
    """`template(**options)` runs check mode, the real run and a second run; returns the result of the real one.

    Check mode writes nothing and says what the real run then does; the second run writes and changes nothing and shows the same object.
    """

    def three_times(**options):
        calls()
        said = run_module("storpool_template", check=True, **options)
        assert calls().writes == []
        done = run_module("storpool_template", **options)
        assert unlike(said, done) == []
        if not done.get("failed"):
            calls()
            again = run_module("storpool_template", return_objects="all", **options)
            assert (again["changed"], again["diff"], calls().writes) == (False, [], [])
            objects = {one["name"]: one["object"] for one in again["templates"]}
            assert all(objects[one["name"]] == one["object"] for one in done["templates"])
        return done

    return three_times


def described(simulator, name):
    status, answer = simulator.get(f"VolumeTemplateDescribe/{name}")
    return answer["data"] if status == 200 else None


def only(result):
    (entry,) = result["templates"]
    return entry


# -- create, change, rename, delete


def test_a_template_is_created_changed_renamed_and_deleted(template, simulator):
    made = template(name="tier", replication=2, place_all="hdd", place_tail="ssd", iops=1000, bw="100M", size="10G", reuse_server=True)
    assert only(made)["actions"] == ["create"]
    raw = described(simulator, "tier")
    assert [raw[key] for key in ("replication", "placeAll", "placeHead", "placeTail", "iops", "bw", "size", "reuseServer")] == [
        2, "hdd", "hdd", "ssd", 1000, 102400, 10 << 30, True,
    ]  # fmt: skip
    changed = template(name="tier", iops="unlimited", bw=2048, place_head="nvme", size="20G", replication=3, reuse_server=False)
    assert only(changed)["actions"] == ["update size, iops, bw, replication, place_head, reuse_server"]
    raw = described(simulator, "tier")
    assert [raw[key] for key in ("replication", "placeHead", "iops", "bw", "size", "reuseServer")] == [
        3,
        "nvme",
        "-",
        2048,
        20 << 30,
        False,
    ]
    renamed = template(name="level", renamed_from="tier", iops=5)
    assert only(renamed)["actions"] == ["update rename, iops"]
    assert described(simulator, "tier") is None
    assert described(simulator, "level")["iops"] == 5
    assert only(template(name="level", state="absent"))["actions"] == ["delete"]
    assert described(simulator, "level") is None


def test_no_change_takes_one_read(run_module, calls):
    run_module("storpool_template", name="nvme", replication=3, place_all="nvme")
    made = calls()
    assert (made.reads, made.writes) == (["VolumeTemplatesList"], [])


def test_an_absent_template_takes_one_read(run_module, calls):
    run_module("storpool_template", name="none", state="absent")
    made = calls()
    assert (made.reads, made.writes) == (["VolumeTemplatesList"], [])


def test_a_template_has_a_parent(template, simulator, do):
    do("VolumeCreate", {"name": "v", "size": MIB})
    do("VolumeSnapshot/v", {"name": "golden"})
    template(name="tier", parent="golden", replication=2)
    assert described(simulator, "tier")["parentName"] == "golden"
    failed = template(name="tier", parent="silver")
    assert failed["failed"] and "parent of tier: 'silver' is no snapshot of this cluster" in failed["msg"]


def test_many_templates_take_one_listing_and_a_write_each(run_module, calls, simulator):
    entries = [{"name": f"tier-{number}", "iops": 100 * number} for number in range(1, 21)]
    result = run_module("storpool_template", templates=entries, replication=3, place_all="nvme", return_objects="none")
    assert result["summary"]["changed"] == 20
    made = calls()
    assert made.reads == ["VolumeTemplatesList", "PlacementGroupsList"]
    assert made.writes == ["VolumeTemplateCreate"] * 20
    assert described(simulator, "tier-7")["iops"] == 700
    gone = run_module("storpool_template", names=[entry["name"] for entry in entries], state="absent")
    assert gone["summary"]["changed"] == 20


def test_templates_come_from_a_file(run_module, tmp_path, simulator):
    source = tmp_path / "templates.json"
    source.write_text(json.dumps([{"name": "a", "iops": "10"}, {"name": "b", "replication": 2}]))
    assert run_module("storpool_template", templates_src=str(source), replication=3)["summary"]["changed"] == 2
    assert (described(simulator, "a")["replication"], described(simulator, "b")["replication"]) == (3, 2)


# -- propagate


@pytest.fixture
def populated(do, simulator):
    """Template tier with volumes, one of which is as another task left it, a snapshot, and objects of another template."""
    do("VolumeTemplateCreate", {"name": "tier", "replication": 3, "placeAll": "hdd", "iops": 10})
    do("VolumeTemplateCreate", {"name": "bystander", "replication": 2, "placeAll": "hdd"})
    for name in ("v1", "v2"):
        do("VolumeCreate", {"name": name, "size": MIB, "template": "tier"})
    do("VolumeCreate", {"name": "other", "size": MIB, "template": "bystander"})
    do("VolumeSnapshot/v1", {"name": "s1"})
    do("VolumeUpdate/v2", {"iops": 500, "bw": 7})
    simulator.reset_calls()


def held(simulator, name, kind="Volume"):
    _status, answer = simulator.get(f"{kind}/{name}")
    return {key: answer["data"][0][key] for key in ("iops", "bw", "replication", "placeAll", "placeTail")}


def test_a_changed_template_leaves_its_volumes_alone(template, simulator, populated):
    before = held(simulator, "v1")
    entry = only(template(name="tier", iops=99, place_tail="ssd"))
    assert "propagated" not in entry
    assert held(simulator, "v1") == before


def test_propagate_changes_what_differs_and_says_what(template, simulator, populated):
    bystander = held(simulator, "other")
    result = template(name="tier", iops=500, place_tail="ssd", propagate=True)
    entry = only(result)
    assert entry["actions"] == ["update iops, place_tail and propagate"]
    assert entry["propagated"] == {
        "options": ["iops", "bw", "place_tail"],
        "volumes": {"count": 2, "names": ["v1", "v2"], "all_named": True},
        "snapshots": {"count": 1, "names": ["s1"], "all_named": True},
    }
    assert result["diff"][0]["before"]["existing"] == {
        "volume v1": {"iops": 10, "place_tail": "hdd"},
        "volume v2": {"bw": 7, "place_tail": "hdd"},
        "snapshot s1": {"iops": 10, "place_tail": "hdd"},
    }
    assert result["diff"][0]["after"]["existing"]["volume v2"] == {"bw": "unlimited", "place_tail": "ssd"}
    now = {"iops": 500, "bw": "-", "replication": 3, "placeAll": "hdd", "placeTail": "ssd"}
    assert held(simulator, "v1") == held(simulator, "v2") == held(simulator, "s1", "Snapshot") == now
    assert held(simulator, "other") == bystander


def test_the_prediction_of_propagating_names_every_object_that_then_differs(run_module, simulator, populated):
    """Compares the diff with what the API tells of each object before and after, whatever the diff claims."""

    def everything():
        found = {}
        for call in ("VolumesList", "SnapshotsList"):
            for one in simulator.get(call)[1]["data"]:
                found[one["name"]] = {key: one[key] for key in ("iops", "bw", "replication", "placeAll", "placeHead", "placeTail")}
        return found

    before = everything()
    said = run_module("storpool_template", check=True, name="tier", bw=7, propagate=True)
    run_module("storpool_template", name="tier", bw=7, propagate=True)
    after = everything()
    differing = sorted(name for name in before if before[name] != after[name])
    named = only(said)["propagated"]
    assert sorted(named["volumes"]["names"] + named["snapshots"]["names"]) == differing == ["s1", "v1", "v2"]


def test_propagate_alone_brings_volumes_to_what_the_template_says(template, simulator, populated):
    entry = only(template(name="tier", propagate=True))
    assert (entry["changed"], entry["actions"]) == (True, ["propagate"])
    assert entry["propagated"]["volumes"] == {"count": 1, "names": ["v2"], "all_named": True}
    assert (held(simulator, "v2")["iops"], held(simulator, "v2")["bw"]) == (10, "-")


def test_propagating_nothing_takes_three_reads_and_no_write(run_module, calls, populated):
    run_module("storpool_template", name="bystander", propagate=True)
    made = calls()
    assert (made.reads, made.writes) == (["VolumeTemplatesList", "VolumesList", "SnapshotsList"], [])


def test_a_new_size_does_not_reach_existing_volumes(template, simulator, populated, calls):
    assert only(template(name="tier", size="2G", iops=99, propagate=True))["actions"] == ["update size", "update iops and propagate"]
    assert simulator.get("Volume/v1")[1]["data"][0]["size"] == MIB


def test_renaming_and_propagating_at_once(template, simulator, populated):
    entry = only(template(name="level", renamed_from="tier", iops=99, propagate=True))
    assert entry["actions"] == ["update rename", "update iops and propagate"]
    assert held(simulator, "v1")["iops"] == 99


def test_propagating_to_objects_of_cloudstack_has_to_be_allowed(template, simulator, populated, do, calls):
    do("VolumeUpdate/v1", {"tags": {"cs": "volume"}})
    before = held(simulator, "v1")
    calls()
    refused = template(name="tier", iops=99, propagate=True)
    assert refused["error"]["type"] == "refused"
    assert "1 volume (v1)" in refused["msg"]
    assert calls().writes == []
    assert held(simulator, "v1") == before
    assert described(simulator, "tier")["iops"] == 10
    assert only(template(name="tier", iops=99, propagate=True, allow_cloudstack_objects=True))["changed"]
    assert held(simulator, "v1")["iops"] == 99


def test_volumes_with_a_quality_tier_are_warned_of(template, populated, do):
    do("VolumeUpdate/v2", {"tags": {"qc": "gold"}})
    result = template(name="tier", propagate=True)
    assert "1 volume (v2) have a QoS tier" in result["warnings"][0]


# -- refused and failed


def test_a_template_in_use_is_not_deleted(template, populated, simulator, do, calls):
    calls()
    refused = template(name="tier", state="absent")
    assert refused["error"]["type"] == "refused"
    assert "template tier is in use by 2 volumes (v1, v2) and 1 snapshot (s1)" in refused["msg"]
    assert calls().writes == []
    for path in ("VolumeDelete/v1", "VolumeDelete/v2", "SnapshotDelete/s1"):
        do(path)
    simulator.settle()
    assert only(template(name="tier", state="absent"))["actions"] == ["delete"]


def test_a_template_that_comes_into_use_meanwhile_is_the_error_of_the_api(run_module, simulator):
    simulator.fault("error", call="VolumeTemplateDelete", name="busy", descr="Template 'hdd' is in use", status=500)
    failed = run_module("storpool_template", name="hdd", state="absent")
    assert failed["error"]["name"] == "busy"
    assert failed["templates"][0]["not_done"] == ["delete"]


def test_an_unknown_placement_group_is_an_error_that_names_those_there_are(template, calls):
    calls()
    failed = template(name="tier", place_tail="tape")
    assert "option place_tail of tier: 'tape' is no placement group of this cluster; there are: default, hdd, nvme, ssd" in failed["msg"]
    assert calls().writes == []


@pytest.mark.parametrize(
    "options", [{"name": "new", "iops": 5}, {"name": "tier", "iops": 99, "propagate": True}, {"name": "tier", "size": "1G"}]
)
def test_a_lost_answer_is_settled_by_reading(run_module, simulator, populated, calls, options):
    for kind in ("cut_after", "cut_before"):
        simulator.fault(kind, call="write")
        result = run_module("storpool_template", **options)
        assert not result.get("failed"), result
        again = run_module("storpool_template", **options)
        assert again["changed"] is False
        simulator.clear_faults()


def test_a_size_that_was_set_stays_when_propagating_then_fails(run_module, simulator, populated):
    simulator.fault("error", call="VolumeTemplateUpdate", name="invalidParam", descr="no", status=500, skip=1)
    failed = run_module("storpool_template", name="tier", size="1G", iops=99, propagate=True)
    assert only(failed)["actions"] == ["update size"]
    assert only(failed)["not_done"] == ["update iops and propagate"]
    done = run_module("storpool_template", name="tier", size="1G", iops=99, propagate=True)
    assert only(done)["actions"] == ["update iops and propagate"]
    assert run_module("storpool_template", name="tier", size="1G", iops=99, propagate=True)["changed"] is False


# -- real playbooks


@pytest.mark.parametrize("in_process", [True, False])
def test_a_playbook_propagates_with_a_diff(playbook, populated, in_process):
    tasks = [{"name": "Tier", "storpool.cloudstack.storpool_template": {"name": "tier", "iops": 99, "propagate": True}}]
    run = playbook(tasks, diff=True, in_process=in_process)
    assert run.rc == 0, run.output
    assert "volume v2" in run.output
    again = playbook(tasks, diff=True, in_process=in_process)
    assert (again.rc, again.changed) == (0, 0)
