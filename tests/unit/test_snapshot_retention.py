# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Retention as calendar arithmetic, and names with a time in them."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from ansible_collections.storpool.cloudstack.plugins.module_utils._errors import ChangeRefused, OptionError
from ansible_collections.storpool.cloudstack.plugins.module_utils._units import parse_moment
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources.retention import Rules, check_most, kept
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources.series import NamePattern, parse_zone, volume_word

UTC = timezone.utc
SOFIA = ZoneInfo("Europe/Sofia")


def at(text: str, zone=UTC) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=zone).timestamp())


def every(hours: int, count: int, start: str = "2026-01-01T00:00:00", zone=UTC) -> list[tuple[str, int]]:
    """`count` members of a series, one every `hours` hours, named by their UTC time."""
    first = datetime.fromisoformat(start).replace(tzinfo=zone).astimezone(UTC)
    moments = [first + timedelta(hours=hours * number) for number in range(count)]
    return [(moment.strftime("s-%Y%m%d-%H"), int(moment.timestamp())) for moment in moments]


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (Rules(last=1), ["s-20260110-23"]),
        (Rules(last=3), ["s-20260110-21", "s-20260110-22", "s-20260110-23"]),
        (Rules(hourly=2), ["s-20260110-22", "s-20260110-23"]),
        (Rules(daily=3), ["s-20260108-23", "s-20260109-23", "s-20260110-23"]),
        # 2026-01-04 is a Sunday, the end of ISO week 1; week 2 is still going on.
        (Rules(weekly=2), ["s-20260104-23", "s-20260110-23"]),
        (Rules(weekly=9), ["s-20260104-23", "s-20260110-23"]),
        (Rules(monthly=5), ["s-20260110-23"]),
        (Rules(yearly=1), ["s-20260110-23"]),
        (Rules(last=2, daily=2), ["s-20260109-23", "s-20260110-22", "s-20260110-23"]),
        (Rules(), []),
    ],
)
def test_what_ten_days_of_hourly_snapshots_leave(rules, expected):
    assert sorted(kept(every(1, 240), rules, UTC)) == expected


def test_reasons_name_rule_and_period():
    assert kept(every(24, 3), Rules(last=1, daily=2, weekly=1, monthly=1, yearly=1), UTC) == {
        "s-20260103-00": ["last", "daily 2026-01-03", "weekly 2026-W01", "monthly 2026-01", "yearly 2026"],
        "s-20260102-00": ["daily 2026-01-02"],
    }


def test_a_day_begins_where_the_calendar_is():
    series = [("before", at("2026-06-01T20:59:00")), ("after", at("2026-06-01T21:01:00"))]
    assert set(kept(series, Rules(daily=5), UTC)) == {"after"}
    assert set(kept(series, Rules(daily=5), SOFIA)) == {"before", "after"}  # midnight in Sofia is 21:00 UTC in summer


def test_the_hour_that_comes_twice_is_two_hours():
    # On 2026-10-25 the clocks in Sofia go back from 04:00 to 03:00.
    series = [("summer", at("2026-10-25T00:30:00")), ("winter", at("2026-10-25T01:30:00"))]
    assert [datetime.fromtimestamp(moment, SOFIA).hour for _name, moment in series] == [3, 3]
    assert set(kept(series, Rules(hourly=5), SOFIA)) == {"summer", "winter"}


def test_iso_weeks_at_the_turn_of_a_year():
    series = [("thursday", at("2026-12-31T12:00:00")), ("sunday", at("2027-01-03T12:00:00")), ("monday", at("2027-01-04T12:00:00"))]
    assert set(kept(series, Rules(weekly=2), UTC)) == {"sunday", "monday"}  # both other days are in 2026-W53
    assert set(kept(series, Rules(yearly=2), UTC)) == {"thursday", "monday"}


def test_a_pause_in_the_schedule_costs_no_history():
    old = every(24, 5, "2025-01-01T00:00:00")
    assert set(kept(old + every(24, 1), Rules(daily=4), UTC)) == {"s-20250103-00", "s-20250104-00", "s-20250105-00", "s-20260101-00"}


def test_of_one_second_the_name_decides():
    assert list(kept([("a", 100), ("b", 100)], Rules(last=1), UTC)) == ["b"]


def test_the_guard_counts():
    check_most("s", ["a", "b"], 2)
    check_most("s", ["a", "b"], None)
    with pytest.raises(ChangeRefused, match="would delete 2, more than max_deletes \\(1\\): a, b") as caught:
        check_most("s", ["a", "b"], 1)
    assert "raise max_deletes" in caught.value.hint
    with pytest.raises(ChangeRefused, match="s9, \\.\\.\\."):
        check_most("s", [f"s{number}" for number in range(20)], 0)


# -- names


NOW = datetime(2026, 11, 22, 14, 5, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("pattern", "volume", "name"),
    [
        ("db", "v", "db"),
        ("db-%Y%m%d-%H", "v", "db-20261122-14"),
        ("{volume}-%Y%m%d", "data", "data-20261122"),
        ("%G-W%V-%u.{volume}", "data", "2026-W47-7.data"),
        ("%j-%y-%M%S", "v", "326-26-0509"),
    ],
)
def test_a_name_is_made_and_recognised(pattern, volume, name):
    made = NamePattern(pattern)
    assert made.render(NOW, volume) == name
    assert made.expression(volume).fullmatch(name)
    assert name.startswith(made.prefix(volume))


@pytest.mark.parametrize(
    "name", ["data-20261322", "data-20261132", "data-2026112", "data-202611220", "xdata-20261122", "data-manual", "dato-20261122"]
)
def test_other_names_are_not_of_the_series(name):
    assert not NamePattern("{volume}-%Y%m%d").expression("data").fullmatch(name)


def test_dots_of_a_volume_are_no_wildcards():
    assert not NamePattern("{volume}-%Y").expression("a.b").fullmatch("axb-2026")


def test_members_of_a_group_have_their_time_in_common():
    pattern = NamePattern("{volume}-%Y%m%d-%H")
    groups = {volume: pattern.expression(volume).fullmatch(f"{volume}-20261122-14").groups() for volume in ("a", "b-1")}
    assert groups["a"] == groups["b-1"] == ("2026", "11", "22", "14")


@pytest.mark.parametrize(
    ("text", "word"), [("a-%B", "%B"), ("a-%", "has %"), ("{name}-a", "{name}"), ("{volume-a", "{volume-a"), ("a-%-d", "%-")]
)
def test_what_makes_no_name_is_refused(text, word):
    with pytest.raises(OptionError, match=re.escape(word)):
        NamePattern(text)


def test_words_for_volumes():
    assert [volume_word(name) for name in ("db", "#db", "~a1.b.c4")] == ["db", "db", "a1.b.c4"]


def test_zones():
    assert parse_zone("UTC") is UTC
    assert parse_zone("utc") is UTC
    assert parse_zone("Europe/Sofia") == SOFIA
    for wrong in ("Europe/Nowhere", "../etc/passwd", "", "Europe"):
        with pytest.raises(OptionError, match="no time zone"):
            parse_zone(wrong)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("never", 0),
        ("0", 0),
        (1795356000, 1795356000),
        ("1795356000", 1795356000),
        ("2026-12-31T23:00:00Z", at("2026-12-31T23:00:00")),
        ("2026-12-31T23:00:00+02:00", at("2026-12-31T21:00:00")),
        ("2026-12-31 23:00", at("2026-12-31T21:00:00")),
        ("2026-06-30", at("2026-06-29T21:00:00")),
        ("9999-12-31T23:59:59-05:00", 253402300799),
    ],
)
def test_moments(value, expected):
    assert parse_moment(value, "delete_at", SOFIA) == expected


@pytest.mark.parametrize("value", ["tomorrow", "2026-13-01", "", "-5", True, "7d", 999999999999])
def test_what_is_no_moment(value):
    with pytest.raises(OptionError, match="is no time"):
        parse_moment(value, "delete_at", UTC)
