# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Disk and compute offerings: what is declared, what is planned for it, and what is refused."""

from __future__ import annotations

import pytest
from ansible_collections.storpool.cloudstack.plugins.module_utils._errors import ChangeRefused, OptionError
from ansible_collections.storpool.cloudstack.plugins.module_utils._plan import plan_all, waves
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources.offering import OFFERINGS, World
from ansible_collections.storpool.cloudstack.plugins.modules.cloudstack_offering import DECLARED
from things import actions, checked, sent, sound

GIB = 1 << 30
V4_19, V4_20, V4_22 = (4, 19, 3, 0), (4, 20, 2, 0), (4, 22, 0, 0)
ZONE = "3f1c2f1e-0a0b-4c0d-8e0f-000000000001"


def wanted(**given):
    return OFFERINGS.parse(checked(DECLARED, **{"name": "gold", **given}), 0.0)


def disk(**more):
    """A disk offering as listDiskOfferings has it."""
    fields = {"id": "d1", "name": "gold", "displaytext": "gold", "disksize": 20, "iscustomized": False, "miniops": 500, "maxiops": 5000}
    return {
        **fields,
        "iscustomizediops": False,
        "provisioningtype": "thin",
        "encrypt": False,
        "state": "Active",
        "tags": "nvme,fast",
        **more,
    }


def compute(**more):
    fields = {"id": "c1", "name": "small", "displaytext": "small", "cpunumber": 1, "cpuspeed": 1000, "memory": 512, "offerha": False}
    return {**fields, "provisioningtype": "thin", "state": "Active", "storagetags": "nvme", "hosttags": "", **more}


def world(*offerings, version=V4_22, templates=("nvme", "hdd"), **more):
    by_kind = {"disk": [], "compute": []}
    for one in offerings:
        by_kind["compute" if "cpunumber" in one else "disk"].append(one)
    return World(by_kind, templates=frozenset(templates), version=version, **more)


def plan(there, **given):
    return sound(OFFERINGS.plan(wanted(**given), there))


@pytest.mark.parametrize(
    ("given", "option", "words"),
    [
        ({"name": None}, "name", "is needed"),
        ({"name": None, "id": "d1", "renamed_from": "old"}, "renamed_from", "needs name"),
        ({"size": "1500M"}, "size", "whole gibibytes"),
        ({"size": "many"}, "size", "10G"),
        ({"size": "10G", "custom_size": True}, "size", "custom_size"),
        ({"max_iops": 100, "custom_iops": True}, "max_iops", "custom_iops"),
        ({"min_iops": 100}, "min_iops", "needs max_iops"),
        ({"min_iops": 200, "max_iops": 100}, "min_iops", "above max_iops"),
        ({"max_iops": -1}, "max_iops", "0 or more"),
        ({"memory": 512}, "memory", "compute offerings"),
        ({"host_tags": ["a"]}, "host_tags", "compute offerings"),
        ({"type": "compute", "size": "1G"}, "size", "disk offerings"),
        ({"type": "compute", "qos_class": "tier1"}, "qos_class", "disk offerings"),
        ({"storage_tags": ["a,b"]}, "storage_tags", "comma"),
        ({"details": {"SP_TEMPLATE": "nvme"}}, "details", "template"),
        ({"details": {"note": ""}}, "details", "null removes it"),
        ({"template": "no such name!"}, "template", "letters"),
        ({"display_text": " "}, "display_text", "is empty"),
    ],
)
def test_bad_options(given, option, words):
    with pytest.raises(OptionError, match=words) as refused:
        wanted(**given)
    assert refused.value.parts["option"] == option


def test_a_new_disk_offering():
    made = plan(world(), size="20G", max_iops=5000, storage_tags=["nvme", "fast"], template="hdd", state="inactive")
    assert actions(made) == ["create", "deactivate"]
    create = made.changes[0]
    assert create.write.call == "createDiskOffering"
    assert create.write.params == {
        "name": "gold",
        "displaytext": "gold",
        "disksize": 20,
        "miniops": 5000,
        "maxiops": 5000,
        "details": {"SP_TEMPLATE": "hdd"},
        "tags": ["fast", "nvme"],
    }
    assert made.after["size"] == 20 * GIB and made.after["state"] == "Inactive" and made.after["details"] == {"SP_TEMPLATE": "hdd"}
    create.learn["diskoffering"](made.after, {"id": "d7"})
    assert made.after["id"] == "d7" and made.changes[1].write.params["id"] == "d7"


def test_without_size_it_is_chosen_with_each_volume():
    made = plan(world())
    assert made.changes[0].write.params["customized"] is True and made.after["custom_size"] is True


def test_a_new_disk_offering_without_size_cannot_have_a_fixed_one():
    assert str(plan(world(), custom_size=False).refused).startswith("option custom_size of gold: False needs size")
    assert not plan(world(disk()), custom_size=False).changes


def test_an_offering_by_name_and_by_id_is_refused():
    entries = [wanted(display_text="one"), wanted(name=None, id="d1", display_text="two")]
    plans = plan_all(OFFERINGS, entries, waves(entries, "offerings"), world(disk()))
    assert ["gold is declared twice, under two names" in str(one.refused) for one in plans] == [True, True]


def test_what_was_made_needs_nothing():
    given = {"size": "20G", "max_iops": 5000, "storage_tags": ["fast", "nvme"], "display_text": "gold", "state": "active"}
    made = plan(world(disk()), **given)
    assert made.changes == [] and made.before == made.after and not made.refused


def test_what_converges():
    made = plan(
        world(disk(details={"SP_TEMPLATE": "nvme", "kept": "1", "gone": "2"}), ids={("zones", "sofia"): ZONE}),
        display_text="better", storage_tags=[], template="hdd", details={"gone": None}, zones=["sofia"], domains=[], state="inactive",
    )  # fmt: skip
    assert sent(made) == [
        (
            "update display_text, storage_tags, zones, deactivate",
            "updateDiskOffering",
            {"id": "d1", "displaytext": "better", "tags": "", "zoneid": ZONE, "state": "Inactive"},
        ),
        (
            "set SP_TEMPLATE",
            "addResourceDetail",
            {"resourceid": "d1", "resourcetype": "DiskOffering", "details[0].key": "SP_TEMPLATE", "details[0].value": "hdd"},
        ),
        ("remove gone", "removeResourceDetail", {"resourceid": "d1", "resourcetype": "DiskOffering", "key": "gone"}),
    ]
    assert made.after["details"] == {"SP_TEMPLATE": "hdd", "kept": "1"} and made.after["zones"] == [ZONE]


def test_renamed_once():
    there = world(disk(name="old"))
    assert sent(plan(there, renamed_from="old")) == [("update rename", "updateDiskOffering", {"id": "d1", "name": "gold"})]
    assert plan(world(disk()), renamed_from="old").changes == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"max_iops": 6000}, "max_iops is 5000, declared is 6000"),
        ({"size": "30G"}, "size is 20G, declared is 30G"),
        ({"encrypt": True}, "encrypt is False, declared is True"),
        ({"custom_size": True}, "custom_size is False, declared is True"),
    ],
)
def test_what_cloudstack_sets_only_once_is_refused(given, words):
    made = plan(world(disk()), **given)
    assert isinstance(made.refused, ChangeRefused) and words in str(made.refused) and made.changes == ()


def test_min_iops_of_an_old_one_is_left_alone():
    assert plan(world(disk(miniops=100)), max_iops=5000).changes == []


def test_compute():
    made = plan(
        world(), name="small", type="compute", cpu_number=2, cpu_speed=500, memory=2048, root_size="8G", max_iops=100, host_tags=["ssd"]
    )
    assert made.changes[0].write.params == {
        "name": "small", "displaytext": "small", "cpunumber": 2, "cpuspeed": 500, "memory": 2048, "rootdisksize": 8,
        "miniops": 100, "maxiops": 100, "hosttags": ["ssd"],
    }  # fmt: skip
    there = world(compute())
    assert sent(plan(there, name="small", type="compute", storage_tags=["hdd"], host_tags=["ssd"])) == [
        ("update storage_tags, host_tags", "updateServiceOffering", {"id": "c1", "storagetags": "hdd", "hosttags": "ssd"})
    ]
    missing = plan(world(), name="small", type="compute", cpu_number=2, cpu_speed=500)
    assert isinstance(missing.refused, OptionError) and missing.refused.parts["option"] == "memory"


def test_a_template_has_to_exist_on_storpool():
    made = plan(world(disk()), template="nvm")
    assert isinstance(made.refused, OptionError) and "there are: hdd, nvme" in str(made.refused)


def test_tiers_before_4_20_are_refused():
    made = plan(world(disk(), version=V4_19), qos_class="tier1")
    assert isinstance(made.refused, ChangeRefused) and "4.19.3.0 does not read it" in str(made.refused)
    assert plan(world(disk(), version=V4_19), qos_class="").changes == [], "to be without one is no trap"


@pytest.mark.parametrize(
    ("given", "version", "words"),
    [
        ({"qos_class": "tier1", "template": "hdd"}, V4_22, ["the class wins"]),
        ({"template": "hdd", "max_iops": 5000}, V4_20, ["sends no IOPS limit"]),
        ({"template": "hdd", "max_iops": 5000}, V4_22, []),
        ({"type": "compute", "cpu_number": 1, "cpu_speed": 1, "memory": 512, "max_iops": 5}, V4_22, ["repair: true"]),
        ({"type": "compute", "cpu_number": 1, "cpu_speed": 1, "memory": 512, "max_iops": 5}, V4_20, []),
        (
            {"type": "compute", "cpu_number": 1, "cpu_speed": 1, "memory": 512, "max_iops": 5, "template": "hdd"},
            V4_22,
            ["at all, because it has a StorPool template"],
        ),
    ],
)
def test_traps(given, version, words):
    warnings = plan(world(version=version), name="new", **given).warnings
    assert len(warnings) == len(words) and all(word in warning for word, warning in zip(words, warnings, strict=True))


def test_several_of_one_name():
    made = plan(world(disk(), disk(id="d2")))
    assert isinstance(made.refused, OptionError) and "is the name of 2 disk offerings" in str(made.refused)
    assert plan(world(disk(), disk(id="d2")), name=None, id="d2").before["id"] == "d2"


def test_absent():
    assert sent(plan(world(disk()), state="absent")) == [("delete", "deleteDiskOffering", {"id": "d1"})]
    assert plan(world(), state="absent").changes == ()


def test_inactive_needs_a_version_that_tells():
    there = disk()
    del there["state"]
    made = plan(world(there), state="inactive")
    assert isinstance(made.refused, ChangeRefused) and "4.19.3" in str(made.refused)


def test_deleting_by_two_names_never_takes_two():
    both = world(disk(), disk(id="d2", name="old"))
    made = plan(both, state="absent", renamed_from="old")
    assert "option renamed_from: 'old' exists beside gold" in str(made.refused) and not made.changes
    assert [params for _action, _call, params in sent(plan(world(disk(name="old")), state="absent", renamed_from="old"))] == [{"id": "d1"}]
    assert not plan(both, renamed_from="old").refused
