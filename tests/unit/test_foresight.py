# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What tasks of a check run leave behind for the next: rows that are laid over listings, and ids that nobody has given yet."""

from __future__ import annotations

import pytest
from ansible_collections.storpool.cloudstack.plugins.module_utils._foresight import (
    MADE_UP,
    Foresight,
    is_made_up,
    made_up_id,
    without_made_up,
)

ROWS = [{"id": "a", "size": 1, "name": "one"}, {"id": "b", "size": 2, "name": "two"}]


def test_without_entries_a_listing_is_what_was_read():
    assert Foresight().active is False and Foresight([]).active is True
    foresight = Foresight([["here", "volume", "c", {"id": "c"}]])
    for place, listing in (("there", "volume"), ("here", "snapshot")):
        assert foresight.over(place, listing, ROWS, "id") is ROWS and foresight.each(place, listing, ROWS, "id") is ROWS


@pytest.mark.parametrize(
    ("entered", "listed"),
    [
        ([("a", {"size": 9})], [{"id": "a", "size": 9, "name": "one"}, ROWS[1]]),
        ([("a", None)], [ROWS[1]]),
        ([("c", {"id": "c"})], [*ROWS, {"id": "c"}]),
        ([("c", {"id": "c"}), ("c", None)], ROWS),
        ([("c", None)], ROWS),
        ([("a", None), ("a", {"id": "a", "size": 5})], [{"id": "a", "size": 5, "name": "one"}, ROWS[1]]),
        ([("b", {"size": 7}), ("d", {"id": "d"}), ("a", None)], [{"id": "b", "size": 7, "name": "two"}, {"id": "d"}]),
    ],
)
def test_what_was_entered_is_laid_over_a_listing(entered, listed):
    """By the task that entered it, and by the next."""
    first = Foresight([])
    for identity, row in entered:
        first.enter("here", "volume", identity, row)
    assert first.new == [["here", "volume", identity, row] for identity, row in entered]
    second = Foresight(first.new)
    assert second.new == []
    for foresight in (first, second):
        assert foresight.over("here", "volume", ROWS, "id") == listed
    assert ROWS[0] == {"id": "a", "size": 1, "name": "one"}, "what was read stays as it is"


def test_several_rows_of_one_identity_go_together():
    found = [{"of": "a", "n": 1}, {"of": "a", "n": 2}, {"of": "b", "n": 3}]
    foresight = Foresight([["here", "attachment", "a", []], ["here", "attachment", "c", [{"of": "c", "n": 4}, {"of": "c", "n": 5}]]])
    assert foresight.each("here", "attachment", found, "of") == [found[2], {"of": "c", "n": 4}, {"of": "c", "n": 5}]


def test_ids_that_nobody_has_given():
    first, second = made_up_id(), made_up_id()
    assert first != second and first.startswith(MADE_UP) and is_made_up(first) and is_made_up(f"/dev/storpool-byid/{first}")
    assert not is_made_up("sf.a.1") and not is_made_up(None) and not is_made_up(7)
    shown = without_made_up(
        {"id": first, "ids": [second, "sf.a.1"], "path": f"/dev/{first}", "text": f"volume ~{first} of {second}", "n": 7}
    )
    assert shown == {"id": None, "ids": [None, "sf.a.1"], "path": None, "text": "volume (not known yet) of (not known yet)", "n": 7}
