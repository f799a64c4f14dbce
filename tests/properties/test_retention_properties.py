# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What holds for every series of snapshots: which members are kept, over years, in any time zone, and across changes of the clocks."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from ansible_collections.storpool.cloudstack.plugins.module_utils.resources._cloud import Owner
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources.retention import RULES, Rules, kept
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources.series import NamePattern
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources.vm_snapshot import VM_SNAPSHOTS, World
from ansible_collections.storpool.cloudstack.plugins.modules import cloudstack_vm_snapshot
from hypothesis import given
from hypothesis import strategies as st
from test_snapshot_plan import DAY, NOW, bodies, deleted, planned, raw, world
from things import checked

UTC = timezone.utc
ZONES = [UTC, ZoneInfo("Europe/Sofia"), ZoneInfo("Asia/Kathmandu"), ZoneInfo("Pacific/Apia")]

SERIES = st.lists(st.integers(0, 3 * 365 * 86400), max_size=60).map(
    lambda moments: [(f"s{number}", 1_700_000_000 + moment) for number, moment in enumerate(moments)]
)
RULE = st.builds(Rules, **{name: st.integers(0, 6) for name in RULES})


@given(SERIES, RULE, st.sampled_from(ZONES))
def test_keeping_what_is_kept_keeps_it(series, rules, zone):
    first = kept(series, rules, zone)
    assert kept([one for one in series if one[0] in first], rules, zone) == first


@given(SERIES, RULE, st.sampled_from(ZONES), st.randoms())
def test_order_does_not_matter_and_bounds_hold(series, rules, zone, random):
    mixed = list(series)
    random.shuffle(mixed)
    found = kept(series, rules, zone)
    assert kept(mixed, rules, zone) == found
    assert len(found) <= sum(getattr(rules, name) for name in RULES)
    assert set(found) <= {name for name, _moment in series}
    if series and any(getattr(rules, name) for name in RULES):
        newest = max(series, key=lambda one: (one[1], one[0]))[0]
        assert newest in found  # whatever the rules, the newest stays
    for name in RULES:
        wanted = getattr(rules, name)
        assert sum(any(reason.split()[0] == name for reason in reasons) for reasons in found.values()) <= wanted


@given(SERIES, RULE, st.sampled_from(RULES), st.sampled_from(ZONES))
def test_a_more_generous_rule_keeps_no_less(series, rules, name, zone):
    more = Rules(**{rule: getattr(rules, rule) + (rule == name) for rule in RULES})
    assert set(kept(series, rules, zone)) <= set(kept(series, more, zone))


@given(st.lists(st.integers(1, 40), min_size=1, max_size=80), RULE)
def test_pruning_after_each_snapshot_keeps_all_periods_that_pruning_once_would(hours, rules):
    """A schedule that prunes each time has for each rule as many members as one that prunes at the end."""
    series, moment = [], 1_700_000_000
    alive: list[tuple[str, int]] = []
    for number, pause in enumerate(hours):
        moment += pause * 3600
        series.append((f"s{number}", moment))
        alive = [*alive, series[-1]]
        left = kept(alive, rules, UTC)
        alive = [one for one in alive if one[0] in left]
    once = kept(series, rules, UTC)
    assert {reason for reasons in kept(alive, rules, UTC).values() for reason in reasons} == {
        reason for reasons in once.values() for reason in reasons
    }


@given(st.datetimes(datetime(1980, 1, 1), datetime(2100, 1, 1)), st.sampled_from(["%Y%m%d-%H%M%S", "{volume}-%G-%V-%u", "x%j.%y{volume}"]))
def test_whatever_the_time_a_pattern_knows_its_own_names(moment, text):
    pattern = NamePattern(text)
    name = pattern.render(moment.replace(tzinfo=UTC), "vol")
    assert pattern.expression("vol").fullmatch(name)
    assert name.startswith(pattern.prefix("vol"))


# -- of StorPool's snapshots


@given(st.sets(st.integers(0, 400), max_size=40), st.dictionaries(st.sampled_from(RULES), st.integers(1, 5), min_size=1), st.booleans())
def test_carrying_a_plan_out_leaves_nothing_to_do(days, numbers, pruned):
    """The series after the plan is one that the same options leave alone."""
    start = int(NOW) - 500 * DAY
    snapshots = {}
    for number, day in enumerate(sorted(days)):
        moment = start + day * DAY
        name = datetime.fromtimestamp(moment, timezone.utc).strftime("db-%Y%m%d")
        snapshots[name] = raw(name, number, creationTimestamp=moment)
    options = dict(
        name="db-%Y%m%d", volume="db", state="pruned" if pruned else "present", **{f"keep_{rule}": most for rule, most in numbers.items()}
    )
    plan = planned(world(*snapshots.values(), attachments={}, exports={}), **options)
    for name in deleted(plan):
        del snapshots[name]
    if not pruned:
        snapshots[plan.after["name"]] = raw(plan.after["name"], 999, creationTimestamp=int(NOW))
    again = planned(world(*snapshots.values(), attachments={}, exports={}), **options)
    assert bodies(again) == []
    assert sorted(snapshots) == list(plan.beside[1]["series"])
    assert bool(snapshots) == (bool(days) or not pruned)


# -- of a VM, by a schedule, while the clocks change


# Hours around which the clocks of these zones change, by an hour or by half of one.
CHANGES = {
    "Europe/Sofia": [datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC)],
    "Australia/Lord_Howe": [datetime(2026, 4, 4, 15, tzinfo=UTC), datetime(2026, 10, 3, 15, tzinfo=UTC)],
    "America/New_York": [datetime(2026, 3, 8, 7, tzinfo=UTC), datetime(2026, 11, 1, 6, tzinfo=UTC)],
}


@given(
    st.sampled_from(sorted(CHANGES)).flatmap(lambda zone: st.tuples(st.just(zone), st.sampled_from(CHANGES[zone]))),
    st.integers(-30, 0),
    st.lists(st.integers(10, 26 * 60), min_size=1, max_size=30),
    st.sampled_from(["n-%Y%m%d", "n-%Y%m%d-%H", "n-%Y%m%d-%H%M", "n-%G%V"]),
    st.dictionaries(st.sampled_from(RULES), st.integers(1, 4), min_size=1),
    st.sampled_from([UTC, ZoneInfo("Europe/Sofia"), ZoneInfo("America/New_York")]),
)
def test_a_schedule_that_prunes_each_time(change, before, pauses, pattern, rules, servers):
    """Each run leaves the snapshot that it declares, and nothing to do for the next one; what is kept is the newest of its periods."""
    zone, moment = change
    moment += timedelta(hours=before)
    rows = []
    numbers = {f"keep_{rule}": most for rule, most in rules.items()}
    for pause in pauses:
        moment += timedelta(minutes=pause)
        wanted = VM_SNAPSHOTS.parse(
            checked(cloudstack_vm_snapshot.DECLARED, vm="db1", name=pattern, timezone=zone, verify="off", **numbers), moment.timestamp()
        )
        plan = VM_SNAPSHOTS.plan(wanted, _vm(rows))
        assert plan.refused is None
        for one in plan.changes:
            if one.action == "create":
                created = moment.astimezone(servers).strftime("%Y-%m-%dT%H:%M:%S%z")  # a server tells its own time
                fields = {"displayname": wanted.name, "created": created, "state": "Ready", "type": "Disk"}
                rows.append({"id": f"s{moment.timestamp()}", "virtualmachineid": "m1", "virtualmachinename": "db1", **fields})
            else:
                rows = [row for row in rows if row["id"] != one.write.params["vmsnapshotid"]]
        names = [row["displayname"] for row in rows]
        assert wanted.name in names and len(set(names)) == len(names)
        again = VM_SNAPSHOTS.plan(wanted, _vm(rows))
        assert not again.changes and again.notes["retention"]["kept"].keys() == set(names)
        assert sorted(names) == plan.beside[1]["series"]
        assert len(names) <= sum(rules.values()) + 1


def _vm(rows):
    machines = {Owner(): [{"id": "m1", "name": "db1", "state": "Running"}]}
    volumes = {"m1": [{"id": "v1", "name": "disk", "path": "/dev/storpool-byid/sf.a.1"}]}
    return World(machines, {"m1": [dict(row) for row in rows]}, volumes, look=lambda client: None)
