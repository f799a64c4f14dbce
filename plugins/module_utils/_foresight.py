# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 1: what the tasks of a check run would leave behind, for the tasks that follow them.

In check mode nothing is written, so by itself a task finds neither what an earlier task of the run would have made, nor that gone which it
would have deleted. Every task therefore tells what its plan leaves behind, as rows of the listings that would show it, and the clients lay
these rows over what the servers answer. The action plugin carries them from task to task (plugin_utils/_in_process.py).
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

OPTION = "_foreseen"  # of modules, and of their results; no user's
# What ids begin with that no server has given yet. They have the form of StorPool's and, as those of what is new, come last in their order.
MADE_UP = "zzforeseen.id."
_ID = re.compile(f"~?{re.escape(MADE_UP)}[0-9a-f]+")


def made_up_id() -> str:
    """Return an id for what is not there yet. Calls never carry it, and results show ``None`` in its place."""
    return f"{MADE_UP}{time.time_ns():016x}{uuid.uuid4().hex}"


def is_made_up(value: Any) -> bool:
    """Tell whether a value is an id of ours, or has one in it (a path, an address)."""
    return isinstance(value, str) and MADE_UP in value


def without_made_up(value: Any) -> Any:
    """Return a result as check mode shows it: ``None`` for every id that only the server can know, a word for it in texts."""
    if isinstance(value, dict):
        return {key: without_made_up(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [without_made_up(inner) for inner in value]
    if is_made_up(value):
        return _ID.sub("(not known yet)", value) if " " in value else None
    return value


class Foresight:
    """Rows by place (which server), listing and identity; ``None`` for what is gone.

    :param entries: what earlier tasks have entered, as they returned it in ``new``; ``None`` when this task is alone, and nothing is kept.
    """

    def __init__(self, entries: Sequence[Sequence[Any]] | None = None) -> None:
        self.active = entries is not None
        self.new: list[list[Any]] = []
        self._rows: dict[tuple[str, str], dict[str, Any]] = {}
        for place, listing, identity, row in entries or ():
            self._rows.setdefault((place, listing), {})[identity] = row

    def enter(self, place: str, listing: str, identity: str, row: Any) -> None:
        """Take in one row of a listing; it replaces what stood there."""
        self._rows.setdefault((place, listing), {})[identity] = row
        self.new.append([place, listing, identity, row])

    def rows(self, place: str, listing: str) -> Mapping[str, Any]:
        """Return what was entered of a listing, by identity."""
        return self._rows.get((place, listing), {})

    def over(self, place: str, listing: str, found: list[dict[str, Any]], key: str) -> list[dict[str, Any]]:
        """Return a listing as it would be: rows laid over those with the same ``key``, without what is gone, the new ones at its end."""
        rows = self.rows(place, listing)
        if not rows:
            return found
        there = {one[key] for one in found}
        laid = [{**one, **(rows.get(one[key], one) or {})} for one in found if rows.get(one[key], one) is not None]
        return laid + [row for identity, row in rows.items() if row is not None and identity not in there]

    def each(self, place: str, listing: str, found: list[dict[str, Any]], key: str) -> list[dict[str, Any]]:
        """Return a listing that has several rows for one identity, as it would be; what was entered are lists of rows."""
        rows = self.rows(place, listing)
        if not rows:
            return found
        return [one for one in found if one[key] not in rows] + [row for several in rows.values() for row in several]


NOTHING = Foresight()
