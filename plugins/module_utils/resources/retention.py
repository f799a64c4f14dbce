# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 4: which members of a series are kept. Calendar arithmetic alone: it knows neither StorPool nor a clock."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, tzinfo
from typing import Any

from .._errors import ChangeRefused, CollectionError, OptionError, brief

# A period is told apart by this text of a moment in the calendar of the time zone. The hour has its offset with it, because one hour of the
# day on which summer time ends comes twice.
_PERIODS = {"hourly": "%Y-%m-%d %H%z", "daily": "%Y-%m-%d", "weekly": "%G-W%V", "monthly": "%Y-%m", "yearly": "%Y"}


@dataclass(frozen=True)
class Rules:
    """How many to keep: of all the newest ones, and of each kind of period the newest one of as many newest periods."""

    last: int = 0
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0


RULES = tuple(one.name for one in fields(Rules))


def parse_rules(options: Mapping[str, Any]) -> Rules | None:
    """Return the rules that the options ``keep_*`` make, ``None`` when none is given.

    :raises OptionError: a number is negative, or nothing would be kept.
    """
    numbers = {rule: options[f"keep_{rule}"] for rule in RULES if options[f"keep_{rule}"] is not None}
    for rule, number in numbers.items():
        if number < 0:
            raise OptionError(f"keep_{rule}", number, "must not be negative")
    if numbers and not any(numbers.values()):
        first = f"keep_{next(iter(numbers))}"
        raise OptionError(first, 0, "would keep nothing of the series; to delete all of it, name the snapshots with state: absent")
    return Rules(**numbers) if numbers else None


def kept(series: Iterable[tuple[str, int]], rules: Rules, zone: tzinfo, declared: Collection[str] = ()) -> dict[str, list[str]]:
    """Return the names that ``rules`` keep of ``series``, each with its reasons; all others are to go.

    Only periods that have a member count, so a pause in a schedule costs no history, and the answer needs no clock. A member may serve
    several rules. Keeping what this returns and asking again returns the same.

    :param series: names with their times of creation in UNIX seconds. Of two at the same second the one whose name sorts last is the newer.
    :param zone: the calendar in which days, weeks (ISO, from Monday), months and years begin.
    :param declared: names that stay whatever the rules say (:func:`spared_names`); they take no place of another.
    """
    newest_first = sorted(series, key=lambda one: (one[1], one[0]), reverse=True)
    reasons: dict[str, list[str]] = {name: ["last"] for name, _moment in newest_first[: rules.last]}
    for period, form in _PERIODS.items():
        most = getattr(rules, period)
        seen: set[str] = set()
        for name, moment in newest_first if most else ():
            label = _in_calendar(moment, zone, name).strftime(form)
            if label in seen:
                continue
            if len(seen) == most:
                break
            seen.add(label)
            reasons.setdefault(name, []).append(f"{period} {label}")
    for name in sorted({name for name, _moment in newest_first}.intersection(declared)):
        reasons.setdefault(name, ["declared"])
    return reasons


def _in_calendar(moment: int, zone: tzinfo, name: str) -> datetime:
    """:raises CollectionError: what the server tells is no time."""
    try:
        return datetime.fromtimestamp(moment, zone)
    except (OverflowError, ValueError, OSError):
        raise CollectionError(f"{name} was made, the server says, {brief(moment)} seconds after 1970, which no calendar has") from None


def spared_names(declared: Sequence[tuple[Hashable, Iterable[str | None]]]) -> list[frozenset[str]]:
    """Return for each declared object the names that retention spares, because the task declares them of the same volume, VM or place.

    A name need not fit the time at which its snapshot was made, so the rules alone might delete what was declared.

    :param declared: of each object what tells its volume, VM or place, and the names of the snapshots that are to be there (``None``: not
        known).
    """
    names: dict[Hashable, set[str]] = {}
    for identity, its_own in declared:
        names.setdefault(identity, set()).update(name for name in its_own if name)
    spared = {identity: frozenset(every) for identity, every in names.items()}
    return [spared[identity] for identity, _its_own in declared]


def check_most(label: str, deleted: Sequence[str], most: int | None) -> None:
    """Refuse a retention that would delete more than ``most`` at once. :raises ChangeRefused: says what it would delete."""
    if most is not None and len(deleted) > most:
        raise ChangeRefused(
            f"retention of {label} would delete {len(deleted)}, more than max_deletes ({most}): "
            f"{', '.join(deleted[:10])}{', ...' if len(deleted) > 10 else ''}",
            hint="look at the rules and at the time zone; raise max_deletes when this is meant",
        )
