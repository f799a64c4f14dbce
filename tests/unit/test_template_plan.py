# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The planner of templates: pure, so thousands of objects cost nothing here."""

from __future__ import annotations

import pytest
from ansible_collections.storpool.cloudstack.plugins.module_utils._errors import ChangeRefused, OptionError
from ansible_collections.storpool.cloudstack.plugins.module_utils._plan import diff_of
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources._shared import template_object
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources.template import SHOWN, TEMPLATES, World
from ansible_collections.storpool.cloudstack.plugins.modules.storpool_template import DECLARED
from things import sound

GIB = 1 << 30
POLICY = {"placeAll": "hdd", "placeHead": "hdd", "placeTail": "ssd", "replication": 3, "iops": 100, "bw": "-", "reuseServer": False}


def raw(name="tier", **more):
    """A template as the API tells of it."""
    return {"name": name, "id": 7, "size": "-", "parentName": "", **POLICY, **more}


def used(name, kind="volume", template="tier", **more):
    """A volume or snapshot made from a template."""
    extra = {"deleted": False} if kind == "snapshot" else {}
    return kind, {"name": name, "globalId": f"a.b.{name}", "templateName": template, "size": GIB, "tags": {}, **POLICY, **extra, **more}


def wanted(**options):
    every = {name: spec.get("default") for name, spec in DECLARED.item.items()}
    return TEMPLATES.parse({**every, "name": "tier", **options}, 0.0)


def world(*templates, objects=(), groups=("default", "hdd", "ssd", "nvme"), snapshots=()):
    reached = {}
    for kind, one in objects:
        reached.setdefault(one["templateName"], []).append((kind, one))
    return World({one["name"]: one for one in templates}, reached, {one["name"]: one for one in snapshots}, dict.fromkeys(groups))


def plan(world, **options):
    return sound(TEMPLATES.plan(wanted(**options), world))


def calls(made):
    return [(change.action, change.write.call, change.write.on, change.write.body) for change in made.changes]


# -- create


def test_a_new_template_has_the_defaults_of_the_api():
    made = plan(world(), replication=2, place_all="nvme", iops="unlimited")
    assert calls(made) == [("create", "VolumeTemplateCreate", None, {"name": "tier", "iops": "-", "replication": 2, "placeAll": "nvme"})]
    assert made.before is None
    assert made.after == {
        "name": "tier", "size": None, "parent": None, "iops": "unlimited", "bw": "unlimited", "replication": 2,
        "place_all": "nvme", "place_head": "nvme", "place_tail": "nvme", "reuse_server": False,
    }  # fmt: skip


def test_a_new_template_without_placement_is_on_the_default_group():
    made = plan(world(groups=()))
    assert calls(made) == [("create", "VolumeTemplateCreate", None, {"name": "tier"})]
    assert [made.after[place] for place in ("place_all", "place_head", "place_tail")] == ["default"] * 3
    assert made.after["replication"] is None


def test_size_and_parent_are_sent_in_the_units_of_the_api():
    class Client:
        """What is looked up, and nothing else."""

        def templates(self):
            return []

        def snapshot(self, name):
            return {"name": name, "globalId": "a.b.g", "deleted": False}

        def snapshots(self):
            raise AssertionError("one is asked for by its name")

    given = {"size": "10G", "parent": "golden", "bw": "1M"}
    made = TEMPLATES.plan(wanted(**given), TEMPLATES.observe(Client(), [wanted(**given)]))
    assert calls(made)[0][3] == {"name": "tier", "size": 10 * GIB, "parent": "golden", "bw": 1024}
    assert TEMPLATES.show(made.after)["size"] == "10G"


# -- update


def test_nothing_that_differs_is_no_change():
    same = {"iops": 100, "bw": "unlimited", "replication": 3, "place_all": "hdd", "place_tail": "ssd", "reuse_server": False}
    made = plan(world(raw()), **same)
    assert calls(made) == []
    assert made.before == made.after == template_object(raw())


@pytest.mark.parametrize(
    ("options", "body"),
    [
        ({"iops": 200}, {"iops": 200}),
        ({"iops": "unlimited", "replication": 3}, {"iops": "-"}),
        ({"bw": 5, "place_tail": "hdd"}, {"bw": 5, "placeTail": "hdd"}),
        ({"reuse_server": True}, {"reuseServer": True}),
        ({"size": "1G"}, {"size": GIB}),
        ({"place_all": "nvme"}, {"placeAll": "nvme"}),
    ],
)
def test_only_what_differs_is_sent(options, body):
    made = plan(world(raw()), **options)
    assert [call[3] for call in calls(made)] == [body]
    assert "propagated" not in made.notes


@pytest.mark.parametrize(("present", "looked_for"), [("golden", []), ("old", ["golden"]), ("", ["golden"])])
def test_another_parent_is_looked_for_and_sent(present, looked_for):
    asked = []

    class Client:
        """What is looked up, and nothing else."""

        def templates(self):
            return [raw(parentName=present)]

        def snapshot(self, name):
            asked.append(name)
            return {"name": name, "globalId": "a.b.g", "deleted": False}

        snapshots = None  # one is asked for by its name

    declared = wanted(parent="golden")
    made = TEMPLATES.plan(declared, TEMPLATES.observe(Client(), [declared, wanted(name="other")]))
    assert asked == looked_for and made.after["parent"] == "golden"
    assert [call[3] for call in calls(made)] == [{"parent": "golden"} for _name in looked_for]


def test_objects_are_no_concern_without_propagate():
    made = plan(world(raw(), objects=[used("v", iops=5)]), iops=100)
    assert calls(made) == []
    assert made.beside == ({}, {})


# -- rename


def test_a_former_name_is_renamed_once():
    made = plan(world(raw("old")), renamed_from="old", iops=200)
    assert calls(made) == [("update rename, iops", "VolumeTemplateUpdate", "old", {"rename": "tier", "iops": 200})]
    assert (made.before["name"], made.after["name"], made.name) == ("old", "tier", "tier")
    assert calls(plan(world(raw("tier", iops=200)), renamed_from="old", iops=200)) == []


def test_both_names_are_refused():
    made = plan(world(raw("old"), raw("tier")), renamed_from="old")
    assert isinstance(made.refused, ChangeRefused)
    assert "both tier and old exist" in made.refused.message


# -- propagate


def test_propagating_reaches_only_what_differs_and_says_so():
    objects = [
        used("same", iops=200),
        used("slow", iops=5),
        used("other", template="hdd", iops=5),
        used("snap", "snapshot", iops=200, replication=2),
        used("*gone", "snapshot", iops=1, deleted=True),
    ]
    made = plan(world(raw(), objects=objects), iops=200, propagate=True)
    whole = {"iops": 200, "bw": "-", "replication": 3, "placeAll": "hdd", "placeHead": "hdd", "placeTail": "ssd", "reuseServer": False}
    assert calls(made) == [("update iops and propagate", "VolumeTemplateUpdate", "tier", {**whole, "propagate": True})]
    assert made.notes["propagated"] == {
        "options": ["iops", "replication"],
        "volumes": {"count": 1, "names": ["slow"], "all_named": True},
        "snapshots": {"count": 1, "names": ["snap"], "all_named": True},
    }
    assert made.beside == (
        {"existing": {"volume slow": {"iops": 5}, "snapshot snap": {"replication": 2}}},
        {"existing": {"volume slow": {"iops": 200}, "snapshot snap": {"replication": 3}}},
    )
    shown = diff_of(made, TEMPLATES.show, "template")
    assert (shown["before"]["iops"], shown["before"]["existing"]["volume slow"]) == (100, {"iops": 5})
    assert (shown["after"]["iops"], shown["after"]["existing"]["volume slow"]) == (200, {"iops": 200})


def test_objects_that_differ_are_a_change_though_the_template_is_right():
    made = plan(world(raw(), objects=[used("v", placeTail="hdd")]), propagate=True)
    assert [call[0] for call in calls(made)] == ["propagate"]
    assert made.before == made.after
    assert made.notes["propagated"]["volumes"]["names"] == ["v"]


def test_what_propagating_left_behind_is_silent():
    made = plan(world(raw(), objects=[used("v"), used("s", "snapshot")]), iops=100, propagate=True)
    assert calls(made) == []
    assert made.notes["propagated"]["volumes"] == {"count": 0, "names": [], "all_named": True}


def test_nothing_to_carry_over_is_not_propagated():
    made = plan(world(raw(), objects=[used("v", iops=200)]), iops=200, propagate=True)
    assert calls(made) == [("update iops", "VolumeTemplateUpdate", "tier", {"iops": 200})]


def test_a_replication_that_the_template_does_not_set_reaches_nobody():
    made = plan(world(raw(replication="-"), objects=[used("v", replication=1)]), iops=100, propagate=True)
    assert calls(made) == []


def test_name_size_and_parent_never_go_with_propagate():
    made = plan(world(raw("old"), objects=[used("v", template="old", iops=1)]), renamed_from="old", size="2G", propagate=True)
    assert [(call[0], call[2]) for call in calls(made)] == [("update rename, size", "old"), ("propagate", "tier")]
    assert calls(made)[0][3] == {"rename": "tier", "size": 2 * GIB}
    assert "size" not in calls(made)[1][3]


def test_thousands_of_objects_are_counted_and_the_first_are_named():
    objects = [used(f"v{number:05}", iops=1) for number in range(5000)]
    made = plan(world(raw(), objects=objects), propagate=True)
    told = made.notes["propagated"]["volumes"]
    assert (told["count"], len(told["names"]), told["names"][0], told["all_named"]) == (5000, SHOWN, "v00000", False)
    before, after = made.beside
    assert len(before["existing"]) == SHOWN + 1
    assert before["existing"]["others"] == "4900 more"
    assert after["existing"]["others"] == "4900 more, changed as well"


def test_objects_of_cloudstack_are_changed_only_when_allowed():
    objects = [used("mine", iops=1), used("~a.b.cs1", iops=1, tags={"cs": "vol"}), used("cs2", "snapshot", iops=1, tags={"cs": "snap"})]
    refused = plan(world(raw(), objects=objects), propagate=True).refused
    assert isinstance(refused, ChangeRefused)
    assert "1 volume (~a.b.cs1) and 1 snapshot (cs2)" in refused.message
    assert refused.as_dict()["allow_with"] == "allow_cloudstack_objects: true"
    made = plan(world(raw(), objects=objects), propagate=True, allow_cloudstack_objects=True)
    assert made.notes["propagated"]["volumes"]["count"] == 2
    # An object that would not change is no reason to refuse.
    assert plan(world(raw(), objects=[used("v", tags={"cs": "vol"})]), propagate=True).refused is None


def test_volumes_with_a_quality_tier_are_warned_of():
    objects = [used("v", iops=1, tags={"qc": "gold"}), used("w", placeTail="hdd", tags={"qc": "gold"})]
    made = plan(world(raw(), objects=objects), propagate=True)
    assert made.warnings == ["template tier: 1 volume (v) have a QoS tier (tag qc); storpool_qos will set their limits again"]


# -- absent


def test_absent_deletes_what_nothing_uses():
    assert calls(plan(world(raw()), state="absent")) == [("delete", "VolumeTemplateDelete", "tier", {})]
    assert calls(plan(world(), state="absent")) == []


def test_absent_names_what_uses_the_template():
    objects = [*(used(f"v{number}") for number in range(7)), used("*gone", "snapshot", deleted=True)]
    refused = plan(world(raw(), objects=objects), state="absent").refused
    assert refused.message == (
        "template tier is in use by 7 volumes (v0, v1, v2, v3, v4, ...) and 1 snapshot (*gone), 1 of them being deleted already"
    )


# -- options


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"name": None}, "name"),
        ({"name": "a b"}, "name"),
        ({"name": "list"}, "name"),
        ({"renamed_from": "tier"}, "renamed_from"),
        ({"size": "511"}, "size"),
        ({"replication": 4}, "replication"),
        ({"iops": "fast"}, "iops"),
        ({"place_all": "a.b"}, "place_all"),
        ({"parent": "~a.b.c"}, "parent"),
    ],
)
def test_what_cannot_be_meant_is_an_error_that_names_the_option(options, option):
    with pytest.raises(OptionError) as caught:
        wanted(**options)
    assert caught.value.parts["option"] == option


@pytest.mark.parametrize(("options", "known"), [({"place_tail": "tape"}, "hdd"), ({"parent": "none"}, "no snapshot")])
@pytest.mark.parametrize("templates", [(), (raw(),)])
def test_names_that_do_not_exist_are_errors_before_anything_is_sent(options, known, templates):
    refused = plan(world(*templates), **options).refused
    assert isinstance(refused, OptionError)
    assert known in refused.message


def test_planning_changes_neither_argument():
    everything = world(raw(), objects=[used("v", iops=1)])
    before = repr(everything)
    asked = wanted(iops=300, propagate=True)
    first = TEMPLATES.plan(asked, everything)
    assert repr(everything) == before
    assert repr(TEMPLATES.plan(asked, everything)) == repr(first)
