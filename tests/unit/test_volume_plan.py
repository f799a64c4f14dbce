# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The planner of volumes: what is declared and what is there give the writes, the prediction, or a refusal. No client, no clock."""

from __future__ import annotations

import copy

import pytest
from ansible_collections.storpool.cloudstack.plugins.module_utils._errors import ChangeRefused, OptionError
from ansible_collections.storpool.cloudstack.plugins.module_utils._plan import plan_all, waves
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources import volume as module
from things import GIB, actions, raw_snapshot, raw_template, raw_volume, sound, volume_options

VOLUMES = module.VOLUMES
TEMPLATES = {
    "hybrid": raw_template(),
    "nvme": raw_template("nvme", placeAll="nvme", placeHead="nvme", placeTail="nvme", iops=1000),
    "sized": raw_template("sized", size=5 * GIB, replication="-", parentName="golden"),
}


def world(*volumes, attached=None, snapshots=(), **more):
    """`attached`: name to {client: rights}; None means that attachments were not read."""
    return module.World(
        {one["name"]: one for one in volumes},
        attachments=attached,
        snapshots={one["name"]: one for one in snapshots},
        templates=TEMPLATES,
        **more,
    )


def parse(**given):
    return VOLUMES.parse(volume_options(**given), 1_700_000_000.0)


def plan(there, **given):
    before = copy.deepcopy(there)
    made = VOLUMES.plan(parse(**given), there)
    assert there == before, "the planner changed the world"
    return sound(made)


def writes(made):
    return [(change.write.call, change.write.on, change.write.body) for change in made.changes]


def changed(made):
    """The fields that differ afterwards."""
    before, after = made.before or {}, made.after or {}
    return {key: after.get(key) for key in after if before.get(key) != after.get(key)}


def refusal(there, **given):
    made = plan(there, **given)
    assert made.refused is not None
    assert not made.changes
    return str(made.refused)


# -- parse


@pytest.mark.parametrize(
    ("given", "option", "words"),
    [
        ({}, "name", "is needed to say which volume is meant"),
        ({"name": "a b"}, "name", "is not a name StorPool takes"),
        ({"name": "list"}, "name", "reserved word"),
        ({"name": "~x"}, "global_id", "is not a StorPool global id"),
        ({"global_id": "a.b.c", "match_tags": {"a": "b"}}, "match_tags", "cannot be combined with global_id"),
        ({"match_tags": {"a": ""}}, "match_tags", "has an empty value"),
        ({"match_tags": {"a": "b"}, "tags": {"a": "c"}}, "tags.a", "contradicts match_tags"),
        ({"match_tags": {"a": "b"}, "tags": {"a": ""}}, "tags.a", "contradicts match_tags"),
        ({"global_id": "a.b.c", "renamed_from": "x"}, "renamed_from", "needs name"),
        ({"name": "a", "size": "10X"}, "size", "is not a size"),
        ({"name": "a", "size": 513}, "size", "multiple of 512"),
        ({"name": "a", "iops": "x"}, "iops", "operations per second"),
        ({"name": "a", "bw": "1x"}, "bw", "bandwidth"),
        ({"name": "a", "replication": 4}, "replication", "1, 2 or 3"),
        ({"name": "a", "replication": 0}, "replication", "1, 2 or 3"),
        ({"name": "a", "place_all": "a.b"}, "place_all", "is not a name"),
        ({"name": "a", "template": "a.b"}, "template", "is not a name"),
        ({"name": "a", "parent": "s", "base_on": "v"}, "base_on", "cannot be combined with parent"),
        ({"name": "a", "parent": "s", "remote": {"location": "l", "id": "a.b.c"}}, "remote", "cannot be combined with parent"),
        ({"name": "a", "remote": {"location": "l", "id": "x"}}, "remote.id", "global id"),
        ({"match_tags": {"a": "b"}, "remote": {"location": "l", "id": "a.b.c"}}, "remote", "needs name"),
        ({"name": "a", "tags_mode": "exact"}, "tags_mode", "needs tags"),
        ({"name": "a", "tags": {"a": "b c"}}, "tags.a", "is not a tag value"),
        ({"name": "a", "exclusive": True}, "exclusive", "needs attach_to"),
        ({"name": "a", "attach_to": ["x"]}, "attach_to", "is no client id"),
        ({"name": "a", "attach_to": [0]}, "attach_to", "is no client id"),
        ({"name": "a", "attach_to": [4096]}, "attach_to", "is no client id"),
        ({"name": "a", "attach_to": ["²"]}, "attach_to", "is no client id"),
        ({"name": "a", "attach_to": [True]}, "attach_to", "is no client id"),
        ({"name": "a", "attach_to": ["11:wr"]}, "attach_to", "is no kind of access"),
        ({"name": "a", "attach_to": [11, "11:ro"]}, "attach_to", "is named twice"),
        ({"name": "a", "attach_to": [{"client": 11, "mode": "ro"}]}, "attach_to", "is not of the form"),
        ({"name": "a", "attach_to": [{"rights": "ro"}]}, "attach_to", "is not of the form"),
        ({"name": "a", "wait_timeout": "soon"}, "wait_timeout", "is not a duration"),
        ({"name": "a", "state": "reverted"}, "revert_to", "is needed with state: reverted"),
        ({"name": "a", "revert_to": "s"}, "revert_to", "is only for state: reverted"),
        ({"name": "a", "renamed_from": "a"}, "renamed_from", "is the same as name"),
        ({"name": "a", "keep_snapshot": {}}, "keep_snapshot", "is only for state: absent"),
        ({"name": "a", "state": "absent", "keep_snapshot": {"name": "a@1"}}, "keep_snapshot.name", "is not a name"),
        ({"name": "a", "state": "absent", "keep_snapshot": {"delete_after": "x"}}, "keep_snapshot.delete_after", "is not a duration"),
    ],
)
def test_options_that_cannot_be_meant(given, option, words):
    with pytest.raises(OptionError, match=words) as caught:
        parse(**given)
    assert caught.value.parts["option"] == option


@pytest.mark.parametrize(
    ("given", "clients"),
    [
        ([11], {11: "rw"}),
        (["11"], {11: "rw"}),
        (["11:ro", 12], {11: "ro", 12: "rw"}),
        ([{"client": 11}, {"client": "12", "rights": "ro"}], {11: "rw", 12: "ro"}),
        ([], {}),
    ],
)
def test_clients(given, clients):
    assert parse(name="a", attach_to=given).attach == clients


def test_the_name_of_an_anonymous_volume_is_its_global_id():
    wanted = parse(name="~sf.a.1")
    assert (wanted.name, wanted.global_id) == (None, "sf.a.1")


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({"name": "a"}, ["a"]),
        ({"name": "a", "renamed_from": "b"}, ["a", "b"]),
        ({"global_id": "x.y.z"}, ["~x.y.z"]),
        ({"match_tags": {"b": "2", "a": "1"}}, ["tags a=1, b=2"]),
    ],
)
def test_names_under_which_it_is_declared(given, names):
    assert list(parse(**given).names()) == names


def test_the_same_tags_declare_the_same_volume():
    with pytest.raises(OptionError, match="is declared twice"):
        waves([parse(match_tags={"a": "1", "b": "2"}), parse(match_tags={"b": "2", "a": "1"})], "volumes")


# -- create


def test_create_from_a_template():
    made = plan(world(), name="v", size="10G", template="nvme", tags={"owner": "dba", "none": ""})
    assert writes(made) == [("VolumeCreate", None, {"name": "v", "template": "nvme", "size": 10 * GIB, "tags": {"owner": "dba"}})]
    assert made.before is None
    assert made.after == {
        "name": "v",
        "global_id": None,
        "size": 10 * GIB,
        "template": "nvme",
        "parent": None,
        "iops": 1000,
        "bw": "unlimited",
        "replication": 3,
        "place_all": "nvme",
        "place_head": "nvme",
        "place_tail": "nvme",
        "tags": {"owner": "dba"},
        "attachments": [],
    }
    assert made.changes[0].learn["globalId"] == "global_id"


def test_create_with_everything():
    made = plan(
        world(), name="v", size=512, template="nvme", iops=5, bw="1M", replication=2, place_all="hdd", place_head="ssd", place_tail="nvme"
    )
    assert writes(made)[0][2] == {
        "name": "v", "template": "nvme", "size": 512, "iops": 5, "bw": 1024, "replication": 2,
        "placeAll": "hdd", "placeHead": "ssd", "placeTail": "nvme",
    }  # fmt: skip
    assert changed(made) == {
        "name": "v", "size": 512, "template": "nvme", "iops": 5, "bw": 1024, "replication": 2,
        "place_all": "hdd", "place_head": "ssd", "place_tail": "nvme", "tags": {}, "attachments": [],
    }  # fmt: skip


def test_unlimited_is_sent_as_the_api_has_it():
    made = plan(world(), name="v", size="1G", template="nvme", iops="unlimited")
    assert writes(made)[0][2]["iops"] == "-"
    assert made.after["iops"] == "unlimited"


def test_create_without_a_template():
    made = plan(world(), name="v", size="1G", replication=2, place_all="ssd")
    assert writes(made)[0][2] == {"name": "v", "size": GIB, "replication": 2, "placeAll": "ssd"}
    assert (made.after["place_head"], made.after["place_tail"], made.after["template"]) == ("ssd", "ssd", None)


def test_size_of_the_template():
    made = plan(world(snapshots=[raw_snapshot("golden", size=5 * GIB)]), name="v", template="sized")
    assert "size" not in writes(made)[0][2]
    assert (made.after["size"], made.after["parent"]) == (5 * GIB, "golden")


def test_no_size_anywhere():
    assert "option size of v is needed" in refusal(world(), name="v", template="hybrid")


def test_unknown_template():
    assert "option template: 'nope' does not exist on this cluster; there are: hybrid, nvme, sized" in refusal(
        world(), name="v", size="1G", template="nope"
    )


@pytest.mark.parametrize("reference", ["s", "~sf.a.1000"])
def test_create_from_a_snapshot(reference):
    snapshot = raw_snapshot("s", size=2 * GIB, iops=77, templateName="nvme", placeAll="nvme", placeHead="nvme", placeTail="nvme")
    made = plan(world(snapshots=[snapshot]), name="v", parent=reference)
    assert writes(made) == [("VolumeCreate", None, {"name": "v", "parent": reference})]
    assert {key: made.after[key] for key in ("size", "parent", "template", "place_all")} == {
        "size": 2 * GIB, "parent": "s", "template": "nvme", "place_all": "nvme",
    }  # fmt: skip
    assert made.after["tags"] == {}


def test_create_bigger_than_the_snapshot():
    made = plan(world(snapshots=[raw_snapshot("s")]), name="v", parent="s", size="2G", template="nvme")
    assert made.after["size"] == 2 * GIB
    assert made.after["template"] == "nvme"


def test_create_smaller_than_the_snapshot():
    assert "the source of v has 1G, more than the 512M asked for" in refusal(
        world(snapshots=[raw_snapshot("s")]), name="v", parent="s", size="512M"
    )


@pytest.mark.parametrize("snapshots", [[], [raw_snapshot("s", deleted=True)]])
def test_unknown_snapshot(snapshots):
    assert "option parent: 's' is no snapshot" in refusal(world(snapshots=snapshots), name="v", parent="s")


def test_create_as_a_copy():
    there = world(raw_volume("w", size=3 * GIB, tags={"cs": "x"}, iops=9, templateName=""))
    made = plan(there, name="v", base_on="w")
    assert writes(made) == [("VolumeCreate", None, {"name": "v", "baseOn": "w"})]
    assert (made.after["size"], made.after["iops"], made.after["tags"], made.after["template"]) == (3 * GIB, 9, {}, None)
    assert made.changes[0].learn["autoName"] == "parent"


def test_copy_of_what_is_not_there():
    assert "option base_on: 'w' is no volume" in refusal(world(), name="v", base_on="w")


def test_copy_of_a_volume_of_the_same_task():
    wanted = [parse(name="v", base_on="w"), parse(name="w", size="2G", template="nvme")]
    plans = plan_all(VOLUMES, wanted, waves(wanted, "volumes"), world())
    assert [one.refused for one in plans] == [None, None]
    assert plans[0].after["size"] == 2 * GIB


def test_copy_of_a_volume_that_the_same_task_renames():
    wanted = [parse(name="c", base_on="new"), parse(name="new", renamed_from="old")]
    plans = plan_all(VOLUMES, wanted, waves(wanted, "volumes"), world(raw_volume("old", size=2 * GIB)))
    assert plans[0].refused is None
    assert plans[0].after["size"] == 2 * GIB


def test_copy_of_a_volume_that_the_same_task_deletes():
    wanted = [parse(name="w", state="absent"), parse(name="v", base_on="w")]
    plans = plan_all(VOLUMES, wanted, waves(wanted, "volumes"), world(raw_volume("w"), attached={}))
    assert "is no volume of this cluster" in str(plans[1].refused)


@pytest.mark.parametrize(
    "other",
    [
        {"global_id": "sf.a.1", "name": "new"},
        {"global_id": "sf.a.1", "state": "absent"},
        {"match_tags": {"app": "db"}, "size": "4G"},
    ],
)
@pytest.mark.parametrize("backwards", [False, True])
def test_one_volume_under_two_names_is_refused_in_any_order(other, backwards):
    wanted = [parse(name="v", size="2G"), parse(**other)]
    wanted = wanted[::-1] if backwards else wanted
    there = world(raw_volume("v", 1, tags={"app": "db"}))
    plans = plan_all(VOLUMES, wanted, waves(wanted, "volumes"), there)
    assert ["declared twice, under two names" in str(one.refused) for one in plans] == [True, True]


@pytest.mark.parametrize("backwards", [False, True])
def test_a_name_that_another_volume_leaves_is_not_free_in_the_same_task(backwards):
    """Both writes may go out at once."""
    wanted = [parse(global_id="sf.a.1", name="new"), parse(global_id="sf.a.2", name="v")]
    wanted = wanted[::-1] if backwards else wanted
    plans = plan_all(VOLUMES, wanted, waves(wanted, "volumes"), world(raw_volume("v", 1), raw_volume("w", 2)))
    assert "a volume of that name exists" in str(plans[0 if backwards else 1].refused)
    assert plans[1 if backwards else 0].refused is None


def test_create_from_a_remote_backup():
    there = world(remote={("far", "pd.a.7"): {"size": 2 * GIB}})
    made = plan(there, name="v", remote={"location": "far", "id": "~pd.a.7"}, size="4G", iops=50, tags={"a": "b"}, template="hybrid")
    assert writes(made) == [
        ("VolumeFromRemote", None, {"name": "v", "template": "hybrid", "tags": {"a": "b"}, "remoteLocation": "far", "remoteId": "pd.a.7"}),
        ("VolumeUpdate", "v", {"iops": 50, "size": 4 * GIB}),
    ]
    assert (made.after["size"], made.after["iops"]) == (4 * GIB, 50)
    # Whoever finds the volume there, because the answer to its creation was lost, goes on with the same change.
    found = plan(world(raw_volume("v", size=2 * GIB)), name="v", size="4G", iops=50)
    assert made.changes[1] == found.changes[0]


def test_remote_backup_alone_is_one_call():
    there = world(remote={("far", "pd.a.7"): {"size": GIB}})
    assert len(plan(there, name="v", remote={"location": "far", "id": "pd.a.7"}, size="1G").changes) == 1


def test_unknown_remote_backup():
    message = refusal(world(), name="v", remote={"location": "far", "id": "pd.a.7"})
    assert "is no snapshot that this location holds" in message


def test_sources_matter_only_when_it_is_created():
    for source in ({"parent": "nope"}, {"base_on": "nope"}, {"remote": {"location": "l", "id": "a.b.c"}}):
        assert not plan(world(raw_volume("v")), name="v", **source).changes


def test_create_by_tags_is_anonymous():
    made = plan(world(), match_tags={"uuid": "1"}, tags={"more": "2"}, size="1G")
    assert writes(made) == [("VolumeCreate", None, {"tags": {"uuid": "1", "more": "2"}, "size": GIB})]
    assert made.after["name"] is None
    assert made.changes[0].learn["name"] == "name"


def test_create_by_tags_with_a_name():
    assert writes(plan(world(), match_tags={"uuid": "1"}, name="v", size="1G"))[0][2]["name"] == "v"


def test_create_and_attach():
    made = plan(world(), name="v", size="1G", attach_to=[12, "11:ro"], wait_timeout="5s")
    assert actions(made) == ["create", "attach"]
    assert writes(made)[1] == ("VolumesReassignWait", None, {"reassign": [{"volume": "v", "rw": [12], "ro": [11]}], "attachTimeout": 5})
    assert made.changes[1].write.waits == 5.0
    assert made.after["attachments"] == [{"client": 11, "rights": "ro"}, {"client": 12, "rights": "rw"}]


def test_create_anonymous_and_attach_is_two_tasks():
    assert "an anonymous one is attached by a second task" in refusal(world(), match_tags={"a": "b"}, size="1G", attach_to=[11])


# -- find


def test_unknown_global_id():
    assert "there is no volume with global_id a.b.c" in refusal(world(), global_id="a.b.c", size="1G")
    assert plan(world(), global_id="a.b.c", state="absent").changes == ()


def test_by_global_id_whatever_it_is_called():
    there = world(raw_volume("v", 5), raw_volume("", 6))
    assert plan(there, global_id="sf.a.5", size="2G").changes[0].write.on == "v"
    assert plan(there, global_id="sf.a.6", size="2G").changes[0].write.on == "~sf.a.6"
    assert plan(there, name="~sf.a.6", size="2G").changes[0].write.on == "~sf.a.6"


def test_by_tags():
    there = world(raw_volume("v", 1, tags={"a": "1", "b": "2"}), raw_volume("w", 2, tags={"a": "1"}))
    assert plan(there, match_tags={"a": "1", "b": "2"}, size="2G").changes[0].write.on == "v"
    message = refusal(there, match_tags={"a": "1"}, size="2G")
    assert "2 volumes fit match_tags: v, w (say which one is meant with name or global_id)" in message


def test_by_tags_renames():
    there = world(raw_volume("v", 1, tags={"a": "1"}))
    assert writes(plan(there, match_tags={"a": "1"}, name="w")) == [("VolumeUpdate", "v", {"rename": "w"})]


# -- update


def test_nothing_to_do():
    made = plan(
        world(raw_volume("v", iops=5, bw=7, tags={"a": "b"})),
        name="v",
        size="1G",
        template="hybrid",
        iops=5,
        bw=7,
        tags={"a": "b"},
        replication=3,
    )
    assert not made.changes
    assert made.before == made.after


def test_nothing_said():
    assert not plan(world(raw_volume("v", iops=5, tags={"a": "b"})), name="v").changes


def test_grow_limit_and_tag_in_one_call():
    made = plan(world(raw_volume("v")), name="v", size="2G", iops=100, tags={"a": "b"})
    assert writes(made) == [("VolumeUpdate", "v", {"size": 2 * GIB, "iops": 100, "tags": {"a": "b"}})]
    assert made.changes[0].action == "update size, iops, tags"
    assert changed(made) == {"size": 2 * GIB, "iops": 100, "tags": {"a": "b"}}


def test_shrinking_is_refused():
    made = plan(world(raw_volume("v")), name="v", size="512M")
    assert str(made.refused) == "v has 1G; making it 512M would cut its end off (set allow_shrink: true to allow it)"
    assert isinstance(made.refused, ChangeRefused)
    assert made.before["size"] == made.after["size"] == GIB  # what is there is told, though nothing is done


def test_shrinking_when_told():
    made = plan(world(raw_volume("v")), name="v", size="512M", allow_shrink=True)
    assert writes(made) == [("VolumeUpdate", "v", {"size": GIB // 2, "shrinkOk": True})]
    assert made.changes[0].action == "update size"


def test_growing_does_not_say_that_shrinking_is_fine():
    assert "shrinkOk" not in writes(plan(world(raw_volume("v")), name="v", size="2G", allow_shrink=True))[0][2]


@pytest.mark.parametrize(("there", "wish", "sent"), [(5, "unlimited", "-"), ("-", 5, 5), (5, 6, 6), (5, 0, "-")])
@pytest.mark.parametrize("limit", ["iops", "bw"])
def test_limits(limit, there, wish, sent):
    assert writes(plan(world(raw_volume("v", **{limit: there})), name="v", **{limit: wish})) == [("VolumeUpdate", "v", {limit: sent})]


@pytest.mark.parametrize(("there", "wish"), [("-", "unlimited"), ("-", 0), (0, "unlimited"), (5, 5)])
@pytest.mark.parametrize("limit", ["iops", "bw"])
def test_limits_that_are_as_they_should_be(limit, there, wish):
    assert not plan(world(raw_volume("v", **{limit: there})), name="v", **{limit: wish}).changes


@pytest.mark.parametrize(
    ("mode", "there", "wish", "sent"),
    [
        ("merge", {"a": "1", "b": "2"}, {"b": "3", "c": "4"}, {"b": "3", "c": "4"}),
        ("merge", {"a": "1"}, {"a": ""}, {"a": ""}),
        ("merge", {"a": "1"}, {"b": ""}, None),
        ("merge", {"a": "1"}, {}, None),
        ("exact", {"a": "1", "b": "2"}, {"b": "2"}, {"a": ""}),
        ("exact", {"a": "1", "b": "2"}, {"b": "3"}, {"a": "", "b": "3"}),
        ("exact", {"a": "1"}, {}, {"a": ""}),
        ("exact", {}, {}, None),
        ("exact", {"a": "1"}, {"a": "1", "b": ""}, None),
        ("merge", {"a": ""}, {"a": ""}, None),
    ],
)
def test_tags(mode, there, wish, sent):
    made = plan(world(raw_volume("v", tags=there)), name="v", tags=wish, tags_mode=mode)
    assert writes(made) == ([("VolumeUpdate", "v", {"tags": sent})] if sent else [])
    left = {key: value for key, value in {**there, **(sent or {})}.items() if value}
    assert made.after["tags"] == left


def test_change_of_template():
    made = plan(world(raw_volume("v", iops=5)), name="v", template="nvme")
    assert writes(made) == [("VolumeUpdate", "v", {"template": "nvme"})]
    assert changed(made) == {"template": "nvme", "place_all": "nvme", "place_head": "nvme", "place_tail": "nvme", "iops": 1000}


def test_change_of_template_with_a_limit_of_ones_own():
    made = plan(world(raw_volume("v", iops=5)), name="v", template="nvme", iops=5)
    assert writes(made) == [("VolumeUpdate", "v", {"template": "nvme", "iops": 5})]
    assert made.after["iops"] == 5


def test_change_to_an_unknown_template():
    made = plan(world(raw_volume("v")), name="v", template="nope")
    assert "does not exist on this cluster" in str(made.refused)
    assert made.after["name"] == "v"


def test_rename():
    made = plan(world(raw_volume("old")), name="new", renamed_from="old", size="2G")
    assert writes(made) == [("VolumeUpdate", "old", {"rename": "new", "size": 2 * GIB})]
    assert (made.name, made.before["name"], made.after["name"]) == ("new", "old", "new")


def test_rename_is_done_once():
    assert not plan(world(raw_volume("new")), name="new", renamed_from="old").changes


def test_rename_of_what_is_not_there_creates():
    assert writes(plan(world(), name="new", renamed_from="old", size="1G"))[0][0] == "VolumeCreate"


def test_rename_when_both_are_there():
    assert "both new and old exist" in refusal(world(raw_volume("new"), raw_volume("old", 2)), name="new", renamed_from="old")


def test_absent_when_both_are_there():
    """Else the first run would delete the one and the second run the other."""
    there = world(raw_volume("new"), raw_volume("old", 2), attached={})
    assert "both new and old exist" in refusal(there, name="new", renamed_from="old", state="absent")


def test_rename_by_global_id():
    there = world(raw_volume("old", 1), raw_volume("taken", 2))
    assert writes(plan(there, global_id="sf.a.1", name="new")) == [("VolumeUpdate", "old", {"rename": "new"})]
    assert "a volume of that name exists" in refusal(there, global_id="sf.a.1", name="taken")


def test_an_anonymous_volume_gets_a_name():
    assert writes(plan(world(raw_volume("", 1)), global_id="sf.a.1", name="new")) == [("VolumeUpdate", "~sf.a.1", {"rename": "new"})]


def test_rename_and_attach():
    made = plan(world(raw_volume("old"), attached={}), name="new", renamed_from="old", attach_to=[11])
    assert [write[:2] for write in writes(made)] == [("VolumeUpdate", "old"), ("VolumesReassignWait", None)]
    assert writes(made)[1][2]["reassign"] == [{"volume": "new", "rw": [11]}]


# -- attachments


def attach(there, **given):
    """The one item of the reassignment, or None."""
    made = plan(world(raw_volume("v"), attached={"v": there} if there else {}), name="v", **given)
    items = [write[2]["reassign"] for write in writes(made)]
    assert all(len(one) == 1 for one in items)
    assert made.before["attachments"] == [{"client": client, "rights": there[client]} for client in sorted(there)]
    item = items[0][0] if items else None
    if item:
        assert item.pop("volume") == "v"
    return item, {one["client"]: one["rights"] for one in made.after["attachments"]}


@pytest.mark.parametrize(
    ("there", "given", "item", "after"),
    [
        ({}, {"attach_to": [11]}, {"rw": [11]}, {11: "rw"}),
        ({11: "rw"}, {"attach_to": [11]}, None, {11: "rw"}),
        ({11: "rw"}, {"attach_to": []}, None, {11: "rw"}),
        ({11: "rw"}, {"attach_to": [12]}, {"rw": [12]}, {11: "rw", 12: "rw"}),
        ({11: "rw"}, {"attach_to": ["11:ro"]}, {"ro": [11]}, {11: "ro"}),
        ({11: "ro"}, {"attach_to": ["11:rw"]}, {"rw": [11]}, {11: "rw"}),
        ({11: "rw", 13: "ro"}, {"attach_to": [12], "exclusive": True}, {"rw": [12], "detach": "all"}, {12: "rw"}),
        ({}, {"attach_to": [12], "exclusive": True}, {"rw": [12], "detach": "all"}, {12: "rw"}),
        ({11: "rw", 13: "ro"}, {"attach_to": ["13:ro"], "exclusive": True}, {"detach": [11]}, {13: "ro"}),
        ({11: "rw"}, {"attach_to": [], "exclusive": True}, {"detach": "all"}, {}),
        ({11: "rw"}, {"attach_to": [], "exclusive": True, "force": True}, {"detach": "all", "force": True}, {}),
        ({}, {"attach_to": [], "exclusive": True}, None, {}),
        ({11: "rw"}, {"attach_to": [11], "exclusive": True, "force": True}, None, {11: "rw"}),
        ({}, {"attach_to": [11, "12:ro", 13]}, {"rw": [11, 13], "ro": [12]}, {11: "rw", 12: "ro", 13: "rw"}),
    ],
)
def test_attachments(there, given, item, after):
    assert attach(there, **given) == (item, after)


@pytest.mark.parametrize(
    ("given", "action"),
    [
        ({"attach_to": [12]}, "attach"),
        ({"attach_to": [], "exclusive": True}, "detach"),
        ({"attach_to": [12], "exclusive": True}, "attach and detach"),
    ],
)
def test_words_for_attaching(given, action):
    made = plan(world(raw_volume("v"), attached={"v": {11: "rw"}}), name="v", **given)
    assert actions(made) == [action]


def test_an_anonymous_volume_is_attached_under_its_id():
    made = plan(world(raw_volume("", 1), attached={}), global_id="sf.a.1", attach_to=[11])
    assert writes(made)[0][2]["reassign"] == [{"volume": "~sf.a.1", "rw": [11]}]


def test_attachments_that_were_not_read_are_not_claimed():
    made = plan(world(raw_volume("v")), name="v", size="2G")
    assert made.before["attachments"] is None
    assert made.after["attachments"] is None
    assert "attachments" not in VOLUMES.show(made.after)


# -- absent


def test_absent():
    made = plan(world(raw_volume("v"), attached={}), name="v", state="absent")
    assert writes(made) == [("VolumeDelete", "v", {})]
    assert made.after is None


def test_absent_already():
    assert not plan(world(), name="v", state="absent").changes


def test_absent_takes_no_notice_of_the_shape():
    assert writes(plan(world(raw_volume("v"), attached={}), name="v", state="absent", size="5M", template="nope", tags={"a": "b"})) == [
        ("VolumeDelete", "v", {})
    ]


def test_absent_while_attached():
    message = refusal(world(raw_volume("v"), attached={"v": {12: "ro", 11: "rw"}}), name="v", state="absent")
    assert message == "v is attached to client 11 (rw), 12 (ro); deleting it needs it detached (set on_attached: detach to allow it)"


@pytest.mark.parametrize(("how", "item"), [("detach", {}), ("detach_force", {"force": True})])
def test_absent_with_detaching(how, item):
    made = plan(world(raw_volume("v"), attached={"v": {11: "rw"}}), name="v", state="absent", on_attached=how)
    assert writes(made) == [
        ("VolumesReassignWait", None, {"reassign": [{"volume": "v", "detach": "all", **item}], "attachTimeout": 60}),
        ("VolumeDelete", "v", {}),
    ]
    assert actions(made) == ["detach", "delete"]


def test_absent_under_the_former_name():
    assert writes(plan(world(raw_volume("old"), attached={}), name="new", renamed_from="old", state="absent")) == [
        ("VolumeDelete", "old", {})
    ]


def test_absent_by_tags_that_fit_several():
    there = world(raw_volume("v", 1, tags={"a": "1"}), raw_volume("w", 2, tags={"a": "1"}), attached={})
    assert "2 volumes fit" in refusal(there, match_tags={"a": "1"}, state="absent")


# -- keep a snapshot


def test_keep_snapshot():
    made = plan(
        world(raw_volume("v"), attached={"v": {11: "rw"}}),
        name="v", state="absent", on_attached="detach", keep_snapshot={"delete_after": "7d", "tags": {"why": "gone"}},
    )  # fmt: skip
    assert actions(made) == ["detach", "snapshot", "delete"]
    assert writes(made)[1] == ("VolumeSnapshot", "v", {"name": "v-deleted-1", "deleteAfter": 604800, "tags": {"why": "gone"}})
    assert made.notes == {"kept_snapshot": "v-deleted-1"}


def test_keep_snapshot_with_a_name():
    made = plan(world(raw_volume("v"), attached={}), name="v", state="absent", keep_snapshot={"name": "last"})
    assert writes(made)[0] == ("VolumeSnapshot", "v", {"name": "last"})


@pytest.mark.parametrize("name", ["x" * 199, "#" + "x" * 198])
def test_keep_snapshot_of_a_long_name(name):
    made = plan(world(raw_volume(name), attached={}), name=name, state="absent", keep_snapshot={})
    kept = made.notes["kept_snapshot"]
    assert len(kept) == 199 or name.startswith("#")
    assert kept.endswith("-deleted-1")
    assert not kept.startswith("#")


def test_keep_snapshot_of_an_anonymous_volume():
    made = plan(world(raw_volume("", 7), attached={}), global_id="sf.a.7", state="absent", keep_snapshot={})
    assert writes(made)[0] == ("VolumeSnapshot", "~sf.a.7", {"name": "sf.a.7-deleted-7"})


def test_a_snapshot_that_was_taken_already_is_not_taken_twice():
    there = world(raw_volume("v", parentName="v-deleted-1"), attached={}, snapshots=[raw_snapshot("v-deleted-1")], volume_space={"v": 0})
    assert writes(plan(there, name="v", state="absent", keep_snapshot={})) == [("VolumeDelete", "v", {})]


@pytest.mark.parametrize(("parent", "space"), [("other", {"v": 0}), ("", {"v": 0}), ("last", {"v": 4096}), ("last", {})])
def test_a_snapshot_of_that_name_with_other_content_does_not_let_the_volume_go(parent, space):
    there = world(raw_volume("v", parentName=parent), attached={}, snapshots=[raw_snapshot("last")], volume_space=space)
    message = refusal(there, name="v", state="absent", keep_snapshot={"name": "last"})
    assert "a snapshot last exists, and it is not known to hold what v holds now; nothing was deleted" in message


# -- reverted


def revert(volume, snapshots, space=None, snapshot_space=None, attached=None, **given):
    there = world(volume, snapshots=snapshots, attached=attached or {}, volume_space=space or {}, snapshot_space=snapshot_space or {})
    return plan(there, name="v", state="reverted", revert_to="s", **given)


def test_revert_of_what_was_written_to():
    made = revert(raw_volume("v", parentName="s"), [raw_snapshot("s")], {"v": 4096})
    assert writes(made) == [("VolumeRevert", "v", {"toSnapshot": "s"})]
    assert made.notes["revert"] == {
        "needed": True,
        "because": "4096 bytes were written to it since its parent snapshot s; whether they differ cannot be known",
    }
    assert made.after["size"] == GIB


def test_revert_is_not_needed():
    made = revert(raw_volume("v", parentName="s"), [raw_snapshot("s")], {"v": 0})
    assert not made.changes
    assert made.notes["revert"] == {"needed": False, "because": "it stands on s and nothing was written to it since"}


def test_revert_when_the_server_does_not_say():
    made = revert(raw_volume("v", parentName="s"), [raw_snapshot("s")])
    assert made.notes["revert"]["needed"] is True
    assert "StorPool did not say" in made.notes["revert"]["because"]


def test_revert_to_an_ancestor_with_nothing_between():
    chain = [raw_snapshot("s", 10), raw_snapshot("t", 11, parentName="s"), raw_snapshot("u", 12, parentName="t")]
    made = revert(raw_volume("v", parentName="u"), chain, {"v": 0}, {"t": 0, "u": 0, "s": 99})
    assert made.notes["revert"]["needed"] is False


def test_revert_to_an_ancestor_with_something_between():
    chain = [raw_snapshot("s", 10), raw_snapshot("t", 11, parentName="s"), raw_snapshot("u", 12, parentName="t")]
    made = revert(raw_volume("v", parentName="u"), chain, {"v": 0}, {"t": 512, "u": 0, "s": 99})
    assert made.notes["revert"] == {"needed": True, "because": "512 bytes were written between s and its parent u"}


@pytest.mark.parametrize("parent", ["", "other"])
def test_revert_to_what_it_does_not_stand_on(parent):
    made = revert(raw_volume("v", parentName=parent), [raw_snapshot("s"), raw_snapshot("other", 7)], {"v": 0}, {"other": 0})
    assert made.notes["revert"] == {"needed": True, "because": "it does not stand on s"}
    assert made.after["parent"] == "s"


def test_a_circle_of_parents_ends():
    circle = [raw_snapshot("s"), raw_snapshot("a", 1, parentName="b"), raw_snapshot("b", 2, parentName="a")]
    assert revert(raw_volume("v", parentName="a"), circle, {"v": 0}, {"a": 0, "b": 0}).notes["revert"]["needed"] is True


def test_revert_with_the_size():
    made = revert(raw_volume("v", parentName="s", size=2 * GIB), [raw_snapshot("s")], {"v": 0}, revert_size=True)
    assert writes(made) == [("VolumeRevert", "v", {"toSnapshot": "s", "revertSize": True})]
    assert made.after["size"] == GIB
    assert "its size is 2G, the snapshot's 1G" in made.notes["revert"]["because"]


def test_revert_without_the_size_keeps_it():
    made = revert(raw_volume("v", parentName="s", size=2 * GIB), [raw_snapshot("s")], {"v": 1})
    assert made.after["size"] == 2 * GIB


def test_revert_while_attached():
    made = revert(raw_volume("v", parentName="s"), [raw_snapshot("s")], {"v": 1}, attached={"v": {11: "rw"}})
    assert "v is attached to client 11 (rw); reverting it needs it detached" in str(made.refused)


def test_revert_with_detaching_and_attaching_again():
    made = revert(
        raw_volume("v", parentName="s"), [raw_snapshot("s")], {"v": 1}, attached={"v": {11: "rw", 12: "ro"}},
        on_attached="detach_force", attach_to=[11],
    )  # fmt: skip
    assert actions(made) == ["detach", "revert", "attach"]
    assert writes(made)[0][2]["reassign"] == [{"volume": "v", "detach": "all", "force": True}]
    assert made.after["attachments"] == [{"client": 11, "rights": "rw"}]


def test_revert_that_is_not_needed_still_attaches():
    made = revert(raw_volume("v", parentName="s"), [raw_snapshot("s")], {"v": 0}, attached={"v": {11: "rw"}}, attach_to=[12])
    assert actions(made) == ["attach"]


@pytest.mark.parametrize("snapshots", [[], [raw_snapshot("s", deleted=True)]])
def test_revert_to_an_unknown_snapshot(snapshots):
    assert "option revert_to: 's' is no snapshot" in str(revert(raw_volume("v"), snapshots, {"v": 0}).refused)


def test_revert_of_an_unknown_volume():
    assert "there is no volume v to revert" in refusal(world(snapshots=[raw_snapshot("s")]), name="v", state="reverted", revert_to="s")


@pytest.mark.parametrize("other", [{"global_id": "sf.a.1"}, {"name": "~sf.a.1"}, {"match_tags": {"role": "db"}}])
def test_one_volume_under_two_names(other):
    wanted = [parse(name="v", iops=5), parse(name="w", size="1G"), parse(**other, iops=7)]
    plans = plan_all(VOLUMES, wanted, waves(wanted, "volumes"), world(raw_volume("v", 1, tags={"role": "db"})))
    assert [bool(one.refused) for one in plans] == [True, False, True]
    assert [bool(one.changes) for one in plans] == [False, True, False]
    assert "v is declared twice" in str(plans[0].refused)


# -- objects of CloudStack


@pytest.mark.parametrize(
    ("given", "instead"),
    [
        ({"size": "2G"}, "resizeVolume"),
        ({"tags": {"a": "b"}}, "resizeVolume or changeOfferingForVolume"),
        ({"tags": {"cs": ""}}, "resizeVolume or changeOfferingForVolume"),
        ({"attach_to": [11]}, "attachVolume"),
        ({"state": "absent"}, "destroyVolume"),
        ({"state": "absent", "keep_snapshot": {}}, "createSnapshot"),
        ({"state": "reverted", "revert_to": "s"}, "revertSnapshot"),
    ],
)
def test_objects_of_cloudstack_are_left_alone(given, instead):
    def there():
        return world(raw_volume("v", tags={"cs": "uuid"}), attached={}, snapshots=[raw_snapshot("s")])

    message = refusal(there(), name="v", **given)
    assert "volume v belongs to CloudStack (tag cs=uuid)" in message
    assert f"use CloudStack: {instead}" in message
    assert plan(there(), name="v", **given, allow_cloudstack_objects=True).changes


def test_objects_of_cloudstack_that_are_right_are_no_error():
    assert plan(world(raw_volume("v", tags={"cs": "uuid"})), name="v", size="1G").refused is None


# -- show


def test_show():
    made = plan(world(raw_volume("v", size=3 * GIB, tags={"a": "b"}), attached={"v": {12: "ro", 11: "rw"}}), name="v")
    shown = VOLUMES.show(made.after)
    assert shown["size"] == "3G"
    assert shown["attachments"] == ["11 rw", "12 ro"]
    assert "global_id" not in shown


def test_a_name_in_several_clusters_is_nobody_in_particular():
    there = world(raw_volume("v", **{"(clusters)": ["sofia-a", "sofia-b"]}))
    refused = refusal(there, name="v", state="absent")
    assert "2 volumes are called v, in the clusters sofia-a, sofia-b" in refused and "sp_cluster" in refused


def test_a_revert_with_detaching_leaves_it_attached_to_nobody():
    made = revert(raw_volume("v", parentName="s"), [raw_snapshot("s")], {"v": 1}, attached={"v": {11: "rw"}}, on_attached="detach")
    assert actions(made) == ["detach", "revert"]
    assert made.before["attachments"] == [{"client": 11, "rights": "rw"}] and made.after["attachments"] == []
