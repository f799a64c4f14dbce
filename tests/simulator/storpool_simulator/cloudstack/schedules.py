# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a snapshot policy runs (``DateUtil.getNextRunTime``)."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

# In the order of ``IntervalType``: answers tell the ordinal
INTERVALS = ("HOURLY", "DAILY", "WEEKLY", "MONTHLY")
# The last day that every month has
LAST_DAY = 28
# What each part of a schedule may be: minute, hour, then the day of the week (Sunday is 1) or of the month
_TIME = ((0, 59), (0, 23))
_PARTS = {"HOURLY": _TIME[:1], "DAILY": _TIME, "WEEKLY": (*_TIME, (1, 7)), "MONTHLY": (*_TIME, (1, LAST_DAY))}


def zone(name: str) -> tzinfo:
    """Java takes a name it does not know for GMT."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return timezone.utc


def numbers(interval: str, schedule: str) -> tuple[int, ...]:
    """The parts of a schedule. Raises ValueError."""
    limits = _PARTS[interval]
    parts = schedule.split(":")
    if len(parts) < len(limits):
        raise ValueError(f"{schedule} has too few parts")
    found = tuple(int(part) for part in parts[: len(limits)])
    for number, (least, most) in zip(found, limits, strict=True):
        if not least <= number <= most:
            raise ValueError(f"{number} is not between {least} and {most}")
    return found


def next_run(interval: str, schedule: str, timezone_name: str, after: float) -> float:
    """The first moment of the schedule after `after`."""
    parts = numbers(interval, schedule)
    start = datetime.fromtimestamp(after, zone(timezone_name))
    moment = start.replace(minute=parts[0], second=0, microsecond=0)
    if interval != "HOURLY":
        moment = moment.replace(hour=parts[1])
    if interval == "WEEKLY":
        # isoweekday: Monday is 1, Sunday 7
        moment += timedelta(days=(parts[2] - 1 - moment.isoweekday() % 7) % 7)
    elif interval == "MONTHLY":
        moment = moment.replace(day=parts[2])
    while moment <= start:
        moment = _following(interval, moment)
    return moment.timestamp()


def _following(interval: str, moment: datetime) -> datetime:
    if interval == "HOURLY":
        # In absolute time, so that an hour that a change of the clock leaves out is no trap
        return (moment.astimezone(timezone.utc) + timedelta(hours=1)).astimezone(moment.tzinfo)
    if interval != "MONTHLY":
        return moment + timedelta(days=7 if interval == "WEEKLY" else 1)
    return moment.replace(year=moment.year + moment.month // 12, month=moment.month % 12 + 1)
