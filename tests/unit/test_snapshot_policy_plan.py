# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plans for snapshot policies of CloudStack: pure functions of what is declared and what is there."""

from __future__ import annotations

import pytest
from ansible_collections.storpool.cloudstack.plugins.module_utils._errors import ChangeRefused, OptionError
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources._cloud import Owner
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources.snapshot_policy import SNAPSHOT_POLICIES, World
from ansible_collections.storpool.cloudstack.plugins.modules.cloudstack_snapshot_policy import DECLARED
from things import actions, checked, sound

DAILY = {"interval": "daily", "schedule": "0:3", "keep": 7}
VOLUME = {"id": "v1", "name": "data", "state": "Ready"}


def wanted(**given):
    return SNAPSHOT_POLICIES.parse(checked(DECLARED, **{"volume": "data", "policies": [DAILY], **given}), 0.0)


def row(kind=1, schedule="00:03", keep=7, timezone="UTC", identity=None):
    return {"id": identity or f"p{kind}", "intervaltype": kind, "schedule": schedule, "maxsnaps": keep, "timezone": timezone}


def world(*rows, volume=(), most=8):
    volume = VOLUME if volume == () else volume
    kinds = ("hourly", "daily", "weekly", "monthly")
    return World({Owner(): [volume] if volume else []}, {"v1": list(rows)}, dict.fromkeys(kinds, most), look=lambda client: None)


def plan(this, **given):
    return sound(SNAPSHOT_POLICIES.plan(wanted(**given), this))


@pytest.mark.parametrize(
    ("given", "option", "words"),
    [
        ({"volume": ""}, "volume", "is needed"),
        ({"policies": None}, "policies", "at least one policy"),
        ({"policies": []}, "policies", "at least one policy"),
        ({"policies": [DAILY, DAILY]}, "policies", "is there twice"),
        ({"policies": [{**DAILY, "schedule": None}]}, "schedule", "form MM:HH"),
        ({"policies": [{**DAILY, "schedule": "1:2:3"}]}, "schedule", "form MM:HH"),
        ({"policies": [{**DAILY, "schedule": "60:0"}]}, "schedule", "for the minute, which is 0 to 59"),
        ({"policies": [{**DAILY, "schedule": "0:24"}]}, "schedule", "for the hour, which is 0 to 23"),
        ({"policies": [{**DAILY, "schedule": "x:0"}]}, "schedule", "for the minute"),
        ({"policies": [{**DAILY, "schedule": "-1:0"}]}, "schedule", "for the minute"),
        ({"policies": [{"interval": "weekly", "schedule": "0:0:0", "keep": 1}]}, "schedule", "day of the week"),
        ({"policies": [{"interval": "monthly", "schedule": "0:0:29", "keep": 1}]}, "schedule", "day of the month"),
        ({"policies": [{**DAILY, "keep": 0}]}, "keep", "at least 1"),
        ({"policies": [{**DAILY, "timezone": "Mars"}]}, "timezone", "is no time zone"),
        ({"state": "absent", "exact": True}, "exact", "state: present"),
    ],
)
def test_bad_options(given, option, words):
    with pytest.raises(OptionError, match=words) as refused:
        wanted(**given)
    assert refused.value.parts["option"] == option


def test_made_as_cloudstack_writes_it():
    made = plan(world())
    (change,) = made.changes
    params = {"volumeid": "v1", "intervaltype": "DAILY", "schedule": "00:03", "timezone": "UTC", "maxsnaps": 7}
    assert (change.action, change.write.call, change.write.params) == ("create daily", "createSnapshotPolicy", params)
    assert made.after["policies"] == [{"id": None, "interval": "daily", "schedule": "00:03", "timezone": "UTC", "keep": 7}]


@pytest.mark.parametrize("there", [row(), row(schedule="0:3"), row(kind="DAILY", schedule="00:3")])
def test_nothing_to_do(there):
    assert plan(world(there)).changes == [] and not plan(world(there)).waits


@pytest.mark.parametrize("there", [row(keep=6), row(timezone="Europe/Sofia"), row(schedule="1:3")])
def test_changed(there):
    made = plan(world(there))
    assert actions(made) == ["update daily"] and made.after["policies"][0]["id"] == "p1"


def test_others_stay_unless_exact():
    this = world(row(0, "5"), row(2, "0:3:1"))
    assert actions(plan(this)) == ["create daily"] and [one["interval"] for one in plan(this).after["policies"]] == [
        "hourly",
        "daily",
        "weekly",
    ]
    assert actions(plan(this, exact=True)) == ["delete hourly", "delete weekly", "create daily"]
    assert actions(plan(this, exact=True, policies=[])) == ["delete hourly", "delete weekly"]


def test_absent():
    this = world(row(0, "5"), row())
    assert actions(plan(this, state="absent", policies=None)) == ["delete hourly", "delete daily"]
    assert actions(plan(this, state="absent", policies=[{"interval": "daily"}, {"interval": "monthly"}])) == ["delete daily"]
    assert plan(world(volume=None), state="absent", policies=None).changes == ()


@pytest.mark.parametrize(
    ("this", "words"),
    [
        (world(volume=None), "does not exist"),
        (world(volume={**VOLUME, "encryptformat": "LUKS"}), "is encrypted"),
        (world(volume={**VOLUME, "state": "Allocated"}), "is Allocated"),
        (world(most=6), "raise the setting snapshot.max.daily"),
    ],
)
def test_refused(this, words):
    made = plan(this)
    assert isinstance(made.refused, (ChangeRefused, OptionError)) and words in str(made.refused) and not made.changes


def test_what_is_right_already_is_not_refused():
    assert plan(world(row(), volume={**VOLUME, "state": "Snapshotting"}, most=1)).refused is None


def test_the_proof_is_the_listing():
    made = plan(world())
    (wait,) = made.waits
    assert "lists other policies" in wait.missing(world())
    assert "lists other policies" in wait.missing(world(row(keep=6)))
    assert wait.missing(world(row())) is None and made.after["policies"][0]["id"] == "p1"


LIMITS = [
    ("hourly", "59"), ("hourly", "0"), ("daily", "59:23"), ("daily", "0:0"), ("weekly", "0:0:1"), ("weekly", "0:0:7"),
    ("monthly", "0:0:1"), ("monthly", "0:0:28"),
]  # fmt: skip


@pytest.mark.parametrize(("interval", "schedule"), LIMITS)
def test_the_limits_of_a_schedule_belong_to_it(interval, schedule):
    wanted(policies=[{"interval": interval, "schedule": schedule, "keep": 1}])


@pytest.mark.parametrize(
    ("interval", "schedule"), [("hourly", "60"), ("daily", "0:24"), ("weekly", "0:0:0"), ("weekly", "0:0:8"), ("monthly", "0:0:0")]
)
def test_what_is_beyond_them_does_not(interval, schedule):
    with pytest.raises(OptionError, match="option schedule of data"):
        wanted(policies=[{"interval": interval, "schedule": schedule, "keep": 1}])
