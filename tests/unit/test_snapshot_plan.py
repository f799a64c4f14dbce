# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What storpool_snapshot plans: pure functions of what is wanted and what is there."""

from __future__ import annotations

import copy
from datetime import datetime, timezone

import pytest
import things
from ansible_collections.storpool.cloudstack.plugins.module_utils._errors import OptionError
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources.retention import RULES
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources.snapshot import SNAPSHOTS
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources.snapshot_world import World, index_exports, snapshot_object
from ansible_collections.storpool.cloudstack.plugins.modules import storpool_snapshot
from things import actions, sound

NOW = 1795356000.5  # 2026-11-22 14:00:00 UTC
DAY = 86400


def parsed(now: float = NOW, **options):
    checked = things.checked(storpool_snapshot.DECLARED, **options)
    return SNAPSHOTS.parse({name: checked[name] for name in storpool_snapshot.DECLARED.item}, now)


def raw(name="s", number=1000, **fields):
    return things.raw_snapshot(name, number, **{"recoveringFromRemote": False, "creationTimestamp": int(NOW) - DAY, **fields})


def world(*snapshots, volumes=(), **fields):
    made = {one["name"]: one for one in snapshots}
    return World(made, {one["name"]: one for one in volumes or (things.raw_volume("db", 1), things.raw_volume("log", 2))}, **fields)


def planned(seen, **options):
    """The plan, which is made twice to see that nothing it was made from changed."""
    wanted = parsed(**options)
    before = copy.deepcopy((wanted.tags, wanted.members, seen.snapshots, seen.volumes, seen.fresh))
    plan = sound(SNAPSHOTS.plan(wanted, seen))
    again = SNAPSHOTS.plan(wanted, seen)
    assert (plan.before, plan.after, plan.notes) == (again.before, again.after, again.notes)
    assert actions(plan) == actions(again)
    assert [change.write for change in plan.changes] == [change.write for change in again.changes]
    assert (wanted.tags, wanted.members, seen.snapshots, seen.volumes, seen.fresh) == before
    return plan


def bodies(plan):
    assert plan.refused is None, plan.refused
    return [(change.write.call, change.write.on, change.write.body) for change in plan.changes]


def refusal(plan):
    assert plan.refused is not None and not plan.changes
    return str(plan.refused)


# -- what is wanted


@pytest.mark.parametrize(
    ("options", "label", "members"),
    [
        (dict(name="s", volume="db"), "s", [("db", "s")]),
        (dict(name="{volume}-%Y%m%d-%H", volume="db"), "db-20261122-14", [("db", "db-20261122-14")]),
        (dict(name="s-%H", volume="db", timezone="Europe/Sofia"), "s-16", [("db", "s-16")]),
        (dict(name="{volume}-%j", volumes=["db", "#log"]), "{volume}-326", [("db", "db-326"), ("#log", "log-326")]),
        (dict(name="x-{volume}", volumes=["~a1.b.c4"]), "x-{volume}", [("~a1.b.c4", "x-a1.b.c4")]),
        (dict(global_id="~a1.b.c4"), "~a1.b.c4", [(None, None)]),
        (dict(name="~a1.b.c4", state="absent"), "~a1.b.c4", [(None, None)]),
        (dict(name="db@12", state="absent"), "db@12", [(None, "db@12")]),
        (dict(name="{volume}-%Y", volume="db", state="pruned", keep_last=1), "db-%Y", [("db", "db-2026")]),
        (dict(state="pruned", series_tags={"a": "b"}, keep_last=1), "with tags a=b", [(None, None)]),
        (dict(name="b-%Y", volumes=["db", "log"], backup_to="far"), "b-2026", [("db", None), ("log", None)]),
        (dict(name="{volume}-%Y", volume="db", backup_to="far"), "db-2026", [("db", None)]),
    ],
)
def test_names_are_those_of_the_period(options, label, members):
    wanted = parsed(**options)
    assert (wanted.label, [tuple(one) for one in wanted.members]) == (label, members)


@pytest.mark.parametrize(
    ("options", "key"),
    [
        (dict(name="s", volume="db"), "s"),
        (dict(global_id="a1.b.c4", name="s"), "~a1.b.c4"),
        (dict(name="s", renamed_from="t"), None),
        (dict(name="{volume}", volumes=["db", "log"]), None),
        (dict(name="s-%Y", volume="db", keep_last=1), None),
    ],
)
def test_what_one_read_can_find(options, key):
    assert parsed(**options).by_key() == key


def test_the_names_that_two_entries_may_not_share():
    assert parsed(name="s", renamed_from="t", volume="db").names() == ["s", "t"]
    assert parsed(name="{volume}", volumes=["db", "log"]).names() == ["db", "log"]
    assert parsed(name="s-%Y", state="pruned", keep_last=1).names() == ["the series s-%Y"]
    assert parsed(name="s", volume="db", backup_to="far").names() == ["s in far"]


@pytest.mark.parametrize("name", ["s" * 200, "list", "a b", "*s", "s/t"])
def test_names_that_storpool_does_not_take(name):
    with pytest.raises(OptionError):
        parsed(name=name, volume="db")


@pytest.mark.parametrize("volumes", [[], ["db", "db"]])
def test_a_group_has_volumes_each_once(volumes):
    with pytest.raises(OptionError, match="must name at least one volume, and each once") as refused:
        parsed(name="{volume}", volumes=volumes)
    assert refused.value.parts["option"] == "volumes"


def test_exports_are_known_by_snapshot_and_location():
    found = [
        {"globalId": "sf.a.1", "location": "plovdiv"},
        {"globalId": "sf.a.1", "location": "varna", "backingUp": True},
        {"globalId": "sf.a.2", "location": "varna", "backingUp": False},
    ]
    assert index_exports(found) == {"sf.a.1": {"plovdiv": False, "varna": True}, "sf.a.2": {"varna": False}}


@pytest.mark.parametrize("rule", RULES)
def test_rules_are_counts(rule):
    assert getattr(parsed(name="s-%Y", volume="db", **{f"keep_{rule}": 3}).rules, rule) == 3
    with pytest.raises(OptionError, match=f"keep_{rule}"):
        parsed(name="s-%Y", volume="db", **{f"keep_{rule}": -1})


def test_tags_that_contradict_the_series():
    with pytest.raises(OptionError, match="contradicts series_tags"):
        parsed(name="s", volume="db", keep_last=1, series_tags={"job": "x"}, tags={"job": "y"})


# -- taking


def test_one_write_takes_it_with_all_that_the_call_can_say():
    plan = planned(world(), name="s", volume="db", tags={"a": "b", "none": ""}, bind=True, delete_after="1h")
    assert bodies(plan) == [("VolumeSnapshot", "db", {"name": "s", "tags": {"a": "b"}, "bind": True, "deleteAfter": 3600})]
    assert (plan.before, plan.after["delete_at"], plan.after["bound"]) == (None, int(NOW) + 3600, True)
    assert plan.after["on_volume"] == "db"


def test_a_date_is_sent_as_it_is():
    plan = planned(world(), name="s", volume="db", delete_at="2027-01-01")
    assert bodies(plan) == [
        ("VolumeSnapshot", "db", {"name": "s", "targetDeleteDate": int(datetime(2027, 1, 1, tzinfo=timezone.utc).timestamp())})
    ]


def test_renewing_does_not_touch_what_was_just_taken():
    assert len(bodies(planned(world(), name="s", volume="db", delete_after="1h", renew_expiry=True))) == 1


def test_what_never_dates_is_not_said():
    assert bodies(planned(world(), name="s", volume="db", delete_after="never", bind=False)) == [("VolumeSnapshot", "db", {"name": "s"})]


def test_a_template_gives_what_the_options_do_not():
    seen = world(templates={"fast": things.raw_template("fast", placeAll="nvme", placeHead="nvme", placeTail="nvme", iops=500)})
    plan = planned(seen, name="s", volume="db", template="fast", iops=7)
    assert bodies(plan)[1:] == [("SnapshotUpdate", "s", {"template": "fast", "iops": 7})]
    assert (plan.after["place_all"], plan.after["iops"], plan.after["bw"]) == ("nvme", 7, "unlimited")


def test_a_group_is_one_call_and_learns_its_ids():
    plan = planned(world(), name="{volume}-g", volumes=["db", "log"], tags={"a": "b"})
    members = [{"volume": "db", "name": "db-g"}, {"volume": "log", "name": "log-g"}]
    assert bodies(plan) == [("VolumesGroupSnapshot", None, {"volumes": members, "tags": {"a": "b"}})]
    plan.changes[0].learn["snapshots"](
        plan.after, [{"snapshot": "log-g", "snapshotGlobalId": "x.y.2"}, {"snapshot": "db-g", "snapshotGlobalId": "x.y.1"}]
    )
    assert [one["global_id"] for one in plan.after["snapshots"]] == ["x.y.1", "x.y.2"]


def test_a_name_that_a_volume_has():
    assert "share their names" in refusal(planned(world(), name="log", volume="db"))


def test_the_parent_of_a_second_snapshot_is_the_first():
    seen = world()
    first = parsed(name="one", volume="db")
    SNAPSHOTS.predict(seen, first, SNAPSHOTS.plan(first, seen))
    assert planned(seen, name="two", volume="db").after["parent"] == "one"


# -- what is there


def test_nothing_to_do_is_nothing():
    plan = planned(world(raw(tags={"a": "b", "more": "x"}, bound=True)), name="s", volume="gone", tags={"a": "b"}, bind=True)
    assert bodies(plan) == [] and plan.before == plan.after


@pytest.mark.parametrize(
    ("present", "options", "body"),
    [
        ({}, dict(tags={"a": "b"}), {"tags": {"a": "b"}}),
        ({"tags": {"a": "b"}}, dict(tags={"c": "d"}, tags_mode="exact"), {"tags": {"c": "d", "a": ""}}),
        ({"tags": {"a": "b"}}, dict(tags={}, tags_mode="exact"), {"tags": {"a": ""}}),
        ({"bound": True}, dict(bind=False), {"bind": False}),
        ({"bound": True}, dict(), None),
        ({}, dict(iops=5), {"iops": 5}),
        ({"iops": 5}, dict(iops="unlimited"), {"iops": "-"}),
        ({"iops": 0}, dict(iops="unlimited"), None),
        ({}, dict(delete_after="1d"), {"deleteAfter": DAY}),
        ({"targetDeleteDate": 5}, dict(delete_after="1d"), None),
        ({"targetDeleteDate": 5}, dict(delete_after="1d", renew_expiry=True), {"deleteAfter": DAY}),
        ({"targetDeleteDate": 5}, dict(delete_after="never"), {"deleteAfter": 0}),
        ({"targetDeleteDate": 0}, dict(delete_after="0"), None),
        ({}, dict(delete_at="never"), None),
        ({"targetDeleteDate": 5}, dict(delete_at=0), {"targetDeleteDate": 0}),
        ({"targetDeleteDate": 5}, dict(delete_at=int(NOW) + 9), {"targetDeleteDate": int(NOW) + 9}),
        ({"targetDeleteDate": int(NOW) + 9}, dict(delete_at=int(NOW) + 9), None),
    ],
)
def test_an_update_says_what_differs(present, options, body):
    plan = planned(world(raw(**present)), name="s", **options)
    assert bodies(plan) == ([("SnapshotUpdate", "s", body)] if body else [])


@pytest.mark.parametrize("marks", [{"deleted": True}, {"transient": True}, {"name": "*s"}])
def test_what_storpool_keeps_for_itself_is_not_there(marks):
    assert bodies(planned(world(raw(**marks)), name="s", state="absent")) == []
    assert bodies(planned(world(raw(**marks)), global_id="sf.a.1000", state="absent")) == []
    assert bodies(planned(world(raw(**marks)), name="s", volume="db"))[0][0] == "VolumeSnapshot"


def test_a_group_of_which_a_part_is_there():
    said = refusal(planned(world(raw("db-g", 1)), name="{volume}-g", volumes=["db", "log"]))
    assert "only db-g exists; a snapshot of log taken now would not be consistent" in said


# -- deleting


def test_the_way_to_a_deletion():
    seen = world(raw(), attachments={"s": {1: "ro"}}, exports={"sf.a.1000": {"far": False}})
    assert "attached to client 1 (ro)" in refusal(planned(seen, name="s", state="absent"))
    assert "exported to far" in refusal(planned(seen, name="s", state="absent", on_attached="detach"))
    assert bodies(planned(seen, name="s", state="absent", on_attached="detach_force", unexport=True)) == [
        ("VolumesReassignWait", None, {"reassign": [{"snapshot": "s", "detach": "all", "force": True}], "attachTimeout": 60}),
        ("SnapshotUnexport", None, {"snapshot": "s", "all": True, "force": True}),
        ("SnapshotDelete", "s", {}),
    ]


def test_a_backup_under_way_is_an_export():
    seen = world(raw(), attachments={}, exports={"sf.a.1000": {"far": True}})
    assert "far (a backup under way)" in refusal(planned(seen, name="s", state="absent"))


def test_waiting_asks_for_each_until_it_is_gone():
    class Client:
        left = 2

        def snapshot(self, name):
            assert name == "~sf.a.1000"
            self.left -= 1
            return {"deleted": True} if self.left else None

    seen = world(raw(), attachments={}, exports={})
    wait = planned(seen, name="s", state="absent", wait=True, wait_timeout="5m").waits[0]
    client = Client()
    assert (wait.seconds, wait.done(client), wait.done(client)) == (300, False, True)
    assert not planned(seen, name="s", state="absent").waits


# -- exports


@pytest.mark.parametrize(
    ("present", "options", "calls"),
    [
        ({}, dict(export_to=["far"]), [("SnapshotExport", "far")]),
        ({"far": False}, dict(export_to=["far"]), []),
        ({"far": True}, dict(export_to=["far"]), [("SnapshotExport", "far")]),
        ({"far": False}, dict(export_to=["further"]), [("SnapshotExport", "further")]),
        ({"far": False}, dict(export_to=["further"], export_mode="exact"), [("SnapshotExport", "further"), ("SnapshotUnexport", "far")]),
        ({"far": True}, dict(export_to=[], export_mode="exact"), []),
        ({"far": False}, dict(export_to=[]), []),
    ],
)
def test_exports(present, options, calls):
    seen = world(raw(), exports={"sf.a.1000": present}, locations=["far", "further"])
    assert [(call, body["location"]) for call, _on, body in bodies(planned(seen, name="s", **options))] == calls


# -- retention


def series(count, **fields):
    return [raw(f"db-{20260101 + number}", number, creationTimestamp=1767225600 + number * DAY, **fields) for number in range(count)]


def deleted(plan):
    assert plan.refused is None, plan.refused
    return [change.write.on for change in plan.changes if change.write.call == "SnapshotDelete"]


def test_what_is_taken_now_counts():
    seen = world(*series(4), attachments={}, exports={})
    plan = planned(seen, name="{volume}-%Y%m%d", volume="db", keep_last=3)
    assert actions(plan) == ["create", "delete (db-20260101)", "delete (db-20260102)"]
    assert plan.beside[1] == {"series": ["db-20260103", "db-20260104", "db-20261122"]}
    assert plan.notes["retention"]["kept"] == {"db-20261122": ["last"], "db-20260104": ["last"], "db-20260103": ["last"]}


def test_a_group_of_which_a_part_is_gone_stays_as_old_as_it_was():
    """Of groups made in one second the name tells which is the newest; the name of a member that is left must not."""
    left = [raw(f"{volume}-2026010{day}", number, creationTimestamp=1767225600) for number, (volume, day) in enumerate(
        [("log", 1), ("db", 2), ("log", 2), ("db", 3), ("log", 3)])]  # fmt: skip
    plan = planned(world(*left, attachments={}, exports={}), name="{volume}-%Y%m%d", volumes=["db", "log"], state="pruned", keep_last=2)
    assert deleted(plan) == ["log-20260101"]
    assert sorted(plan.notes["retention"]["kept"]) == ["db-20260102", "db-20260103"]


def test_what_is_taken_now_is_the_newest_whatever_the_clocks_say():
    ahead = raw("db-20260101", creationTimestamp=int(NOW) + 5 * DAY)
    plan = planned(world(ahead, attachments={}, exports={}), name="db-%Y%m%d", volume="db", keep_last=1)
    assert deleted(plan) == ["db-20260101"] and "db-20261122" in plan.notes["retention"]["kept"]


def test_others_are_not_of_the_series():
    others = [
        raw("db-manual", 50),
        raw("log-20260101", 51),
        raw("db-20260101-x", 52),
        raw("*db-20260105", 53),
        raw("db-20260106", 54, deleted=True),
    ]
    seen = world(*series(2), *others, raw("db-20260107", 55, tags={"cs": "snapshot"}), attachments={}, exports={})
    assert deleted(planned(seen, name="{volume}-%Y%m%d", volume="db", state="pruned", keep_last=1)) == ["db-20260101"]


def test_tags_narrow_a_series():
    seen = world(*series(2, tags={"job": "a"}), raw("db-20260301", 60, tags={"job": "b"}), attachments={}, exports={})
    assert deleted(planned(seen, name="db-%Y%m%d", state="pruned", keep_last=1, series_tags={"job": "a"})) == ["db-20260101"]
    assert deleted(planned(seen, state="pruned", keep_last=1, series_tags={"job": "a"})) == ["db-20260101"], "whatever their names"


def test_a_held_member_holds_its_group():
    snapshots = [
        raw(f"{volume}-{day}", number * 10 + day % 10) for number, volume in enumerate(("db", "log"), 1) for day in (20260101, 20260102)
    ]
    held = {"db-20260101": {7: "ro"}}
    plan = planned(
        world(*snapshots, attachments=held, exports={}), name="{volume}-%Y%m%d", volumes=["db", "log"], state="pruned", keep_last=1
    )
    assert deleted(plan) == [] and "db-20260101 is attached to client 7" in plan.warnings[0]
    free = planned(
        world(*snapshots, attachments={}, exports={}), name="{volume}-%Y%m%d", volumes=["db", "log"], state="pruned", keep_last=1
    )
    assert deleted(free) == ["db-20260101", "log-20260101"]


def test_the_guard_refuses_all_of_it():
    seen = world(*series(5), attachments={}, exports={})
    assert "would delete 4" in refusal(planned(seen, name="db-%Y%m%d", state="pruned", keep_last=1, max_deletes=3))


def test_entries_of_one_task_see_each_other():
    seen = world(*series(3), attachments={}, exports={})
    first = parsed(name="db-%Y%m%d", volume="db")
    SNAPSHOTS.predict(seen, first, SNAPSHOTS.plan(first, seen))
    plan = planned(seen, name="db-%Y%m%d", state="pruned", keep_last=1)
    assert deleted(plan) == ["db-20260101", "db-20260102", "db-20260103"]
    gone = parsed(name="db-%Y%m%d", state="pruned", keep_last=1)
    SNAPSHOTS.predict(seen, gone, SNAPSHOTS.plan(gone, seen))
    assert deleted(planned(seen, name="db-%Y%m%d", state="pruned", keep_last=1)) == []


def spread_plans(seen, *entries):
    """The plans of the entries of one task, without what each leaves behind for the next."""
    wanted = SNAPSHOTS.spread([parsed(**one) for one in entries], seen)
    assert SNAPSHOTS.spread(wanted, seen) == wanted
    return [SNAPSHOTS.plan(one, seen) for one in wanted]


PRUNED = {"name": "db-%Y%m%d", "state": "pruned", "keep_last": 1}


@pytest.mark.parametrize(
    ("other", "spared"),
    [
        ({"name": "db-20260102", "bind": True}, ["db-20260102"]),
        ({"global_id": raw(number=1)["globalId"], "bind": True}, ["db-20260102"]),
        ({"name": "kept", "renamed_from": "db-20260102"}, ["db-20260102"]),
        ({"name": "db-20260103", "renamed_from": "db-20260102"}, None),
        ({"name": "db-20260102", "state": "absent"}, []),
        ({"name": "db-20260102", "volume": "db", "backup_to": "far"}, []),
    ],
)
def test_what_the_task_declares_is_never_pruned_by_it(other, spared):
    """Its name need not tell the day on which it was made, and nothing keeps a user from declaring what the rules would delete."""
    seen = world(*series(4), attachments={}, exports={}, remote=[], locations=["far"])
    pruned, plan = spread_plans(seen, PRUNED, other)
    if spared is None:
        assert "both db-20260103 and db-20260102 exist" in str(plan.refused)
        spared = ["db-20260102", "db-20260103"]
    assert deleted(pruned) == [name for name in ("db-20260101", "db-20260102", "db-20260103") if name not in spared]
    kept = {"db-20260104": ["last"], **{name: ["declared"] for name in spared}}
    assert pruned.notes["retention"]["kept"] == kept


def test_a_snapshot_whose_own_series_would_delete_it():
    """It bears the name of today, and others of the series were made later."""
    today = raw("db-20261122", 90, creationTimestamp=1767225600 - DAY)
    (plan,) = spread_plans(world(*series(2), today, attachments={}, exports={}), {"name": "db-%Y%m%d", "volume": "db", "keep_last": 1})
    assert deleted(plan) == ["db-20260101"]
    assert plan.notes["retention"]["kept"] == {"db-20260102": ["last"], "db-20261122": ["declared"]}


def test_a_group_of_which_one_is_declared_stays_whole():
    every = [raw(f"{volume}-2026010{day}", 10 * day + number, creationTimestamp=1767225600 + day * DAY)
             for day in (1, 2, 3) for number, volume in enumerate(("db", "log"))]  # fmt: skip
    group = {"name": "{volume}-%Y%m%d", "volumes": ["db", "log"], "state": "pruned", "keep_last": 1}
    pruned, _plan = spread_plans(world(*every, attachments={}, exports={}), group, {"name": "log-20260101"})
    assert deleted(pruned) == ["db-20260102", "log-20260102"]


def test_without_retention_nobody_asks_who_declares_what():
    wanted = [parsed(name="a"), parsed(name="b")]
    assert SNAPSHOTS.spread(wanted, None) is wanted


# -- backups


def backup(remote_id="pd.a.9", name="b", volume="db", location="far", **fields):
    tags = {"ansible-backup": name, **({"ansible-volume": volume} if volume else {})}
    return {
        "name": f"~{remote_id}",
        "remoteId": remote_id,
        "location": location,
        "size": 512,
        "creationTimestamp": int(NOW) - DAY,
        "tags": tags,
        **fields,
    }


def test_a_backup_carries_its_identity():
    plan = planned(world(remote=[], locations=["far"]), name="b-%Y", volume="db", backup_to="far", tags={"why": "x"})
    assert bodies(plan) == [
        (
            "VolumeBackup",
            None,
            {"volume": "db", "location": "far", "tags": {"why": "x", "ansible-backup": "b-2026", "ansible-volume": "db"}},
        )
    ]
    plan.changes[0].learn["remoteId"](plan.after, "pd.a.1")
    assert (plan.after["remote_ids"], plan.after["copying"], plan.waits[0].seconds) == (["pd.a.1"], False, 3600)
    assert not planned(world(remote=[], locations=["far"]), name="b", volume="db", backup_to="far", wait=False).waits


@pytest.mark.parametrize(
    "other", [backup(name="c"), backup(volume="log"), backup(volume=None), backup(location="further"), {**backup(), "tags": {}}]
)
def test_another_backup_is_not_this_one(other):
    assert bodies(planned(world(remote=[other], locations=["far"]), name="b", volume="db", backup_to="far"))[0][0] == "VolumeBackup"


def test_a_backup_that_is_there():
    done = planned(world(remote=[backup()]), name="b", volume="db", backup_to="far")
    assert bodies(done) == [] and not done.waits and done.after["remote_ids"] == ["pd.a.9"]
    copying = planned(world(remote=[backup()], copying={"pd.a.9"}), name="b", volume="db", backup_to="far")
    assert bodies(copying) == [] and len(copying.waits) == 1


def test_the_end_of_backups():
    seen = world(remote=[backup("pd.a.1", volume=None), backup("pd.a.2", volume=None), backup("pd.a.3")])
    items = [{"location": "far", "globalSnapshotId": f"pd.a.{number}", "deleteAfter": 1} for number in (1, 2)]
    plan = planned(seen, name="b", volumes=["db", "log"], backup_to="far", state="absent")
    assert bodies(plan) == [("SnapshotsRemoteUnexport", None, {"remoteSnapshots": items})]


def test_a_backup_that_the_task_declares_is_not_pruned_by_it():
    names = ("b-20260101", "b-20260102", "b-20260103")
    every = [backup(f"pd.a.{number}", name, creationTimestamp=int(NOW) - (9 - number) * DAY) for number, name in enumerate(names)]
    pruned = {"name": "b-%Y%m%d", "volume": "db", "backup_to": "far", "state": "pruned", "keep_last": 1}
    for volume, kept in (("db", {"b-20260103": ["last"], "b-20260101": ["declared"]}), ("log", {"b-20260103": ["last"]})):
        (plan, _other) = spread_plans(
            world(remote=every, locations=["far"]), pruned, {"name": "b-20260101", "volume": volume, "backup_to": "far"}
        )
        assert plan.notes["retention"]["kept"] == kept
        assert plan.notes["retention"]["deleted"] == [name for name in names if name not in kept]


def test_the_wait_for_a_backup():
    class Client:
        def __init__(self, remote, exports):
            self.remote_snapshots, self.exports = lambda: remote, lambda: exports

    wait = planned(world(remote=[], locations=["far"]), name="b", volume="db", backup_to="far").waits[0]
    assert not wait.done(Client([], []))  # the location does not list it yet
    assert not wait.done(Client([backup()], [{"globalId": "pd.a.9", "location": "far", "backingUp": True}]))
    assert wait.done(Client([backup()], [{"globalId": "pd.a.9", "location": "far"}]))
    assert wait.done(Client([backup()], []))


# -- how it is shown


def test_the_diff_shows_people_what_they_write():
    shown = SNAPSHOTS.show(snapshot_object(raw(targetDeleteDate=1795356000), {"s": {1: "ro"}}))
    assert (shown["size"], shown["delete_at"], shown["attachments"]) == ("1G", "2026-11-22T14:00:00Z", ["1 ro"])
    assert "global_id" not in shown and "exported_to" not in shown
    assert snapshot_object(raw(onVolume="-"))["on_volume"] is None


# -- what cannot be taken of a volume


def test_one_volume_under_two_names_is_no_group():
    refused = refusal(planned(world(), name="{volume}-x", volumes=["db", "~sf.a.1"]))
    assert "option volumes: '~sf.a.1' is the same volume as db" in refused


def test_volumes_of_cloudstack_are_left_alone_unless_asked():
    theirs = world(volumes=[things.raw_volume("db", 1, tags={"cs": "volume"})])
    assert "allow_cloudstack_objects" in refusal(planned(theirs, name="s", volume="db"))
    assert planned(theirs, name="s", volume="db", allow_cloudstack_objects=True).refused is None


def test_a_new_name_that_a_volume_has_is_refused_before_the_server_does():
    theirs = world(raw("old"), volumes=[things.raw_volume("db", 1)])
    assert "a volume is called db" in refusal(planned(theirs, name="db", renamed_from="old"))
    assert planned(theirs, name="other", renamed_from="old").refused is None


@pytest.mark.parametrize("state", ["present", "absent"])
def test_of_two_that_could_be_meant_neither_is_touched(state):
    """Were one deleted now, the next run would delete the other."""
    seen = world(raw("s", 1), raw("t", 2), attachments={}, exports={})
    assert "both s and t exist" in refusal(planned(seen, name="s", renamed_from="t", state=state))


def test_renamed_from_the_same_name():
    with pytest.raises(OptionError, match="option renamed_from: 's' is the same as name"):
        parsed(name="s", volume="db", renamed_from="s")
