# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What holds for every properties file that there can be, and everything that can be declared of it; Java's own reading is the judge."""

from __future__ import annotations

import re

import java_properties
from ansible_collections.storpool.cloudstack.plugins.module_utils import _properties as properties
from ansible_collections.storpool.cloudstack.plugins.module_utils._errors import CollectionError
from hypothesis import assume, given
from hypothesis import strategies as st

# Pieces of files that mean something to a reader of the format, so that most files are strange ones.
PIECES = [
    "a",
    "b",
    "key",
    "=",
    ":",
    " ",
    "\t",
    "\f",
    "\n",
    "\r",
    "\r\n",
    "\\",
    "\\\\",
    "\\\n",
    "\\\r\n",
    "\\\n  ",
    "#",
    "!",
    "\\u0041",
    "\\u00",
]
PIECES += ["\\ud83d\\ude00", "\xe9", "\xa0", "a=1\n", "#a=b\n", "# key = v\n", "\\=", "\\ ", "a.b", "  "]
FILES = st.lists(st.sampled_from(PIECES), max_size=14).map("".join) | st.text(st.characters(max_codepoint=255), max_size=20)
KEYS = ["a", "b", "key", "a.b", "x", "=", "#a", "a b", "\xe9"]
VALUES = st.sampled_from(["", "1", "01", "true", "True", " x", "x ", "a\\", "=", "#", "\n", "\xe9", "\U0001f600", "p:q"]) | st.text(
    max_size=5
)
DECLARED = st.dictionaries(st.sampled_from(KEYS), VALUES | st.none(), min_size=1, max_size=3)
FALLBACKS = st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=2)


def read(text):
    have = java_properties.load(text)
    assume(have is not None)
    return have


@given(FILES)
def test_a_file_is_read_as_java_reads_it(text):
    have = java_properties.load(text)
    try:
        lines = properties.parse(text)
    except CollectionError as exc:
        assert have is None and "Java refuses" in str(exc)
        return
    assert properties.values(lines) == have
    assert "".join(line.raw for line in lines) == text


@given(FILES, DECLARED, FALLBACKS)
def test_the_new_file_has_what_is_declared_and_all_else_as_it_was(text, declared, fallbacks):
    have = read(text)
    planned = properties.plan(text, declared, fallbacks)
    expected = dict(have)
    for key, value in fallbacks.items():
        if key not in declared and not have.get(key, "").strip():
            expected[key] = value
    for key, value in declared.items():
        if value is None:
            expected.pop(key, None)
        elif not properties.same(have.get(key), value):
            expected[key] = value
    assert java_properties.load(planned.text) == expected
    assert {change.key: (change.before, change.after) for change in planned.changes} == {
        key: (have.get(key), expected.get(key)) for key in {*have, *expected} if have.get(key) != expected.get(key)
    }


@given(FILES, DECLARED, FALLBACKS)
def test_a_second_run_changes_nothing(text, declared, fallbacks):
    read(text)
    again = properties.plan(properties.plan(text, declared, fallbacks).text, declared, fallbacks)
    assert again.changes == ()


@given(FILES, DECLARED)
def test_other_lines_stay_byte_for_byte(text, declared):
    read(text)
    planned = properties.plan(text, declared)
    if not planned.changes:
        assert planned.text == text
        return
    touched = {change.key for change in planned.changes}
    kept = [line.raw for line in properties.parse(text) if line.key not in touched]
    rest = planned.text
    for raw in kept:
        _before, found, rest = rest.partition(raw)
        assert found, f"{raw!r} is gone or stands elsewhere"


@given(FILES, DECLARED)
def test_what_looks_secret_is_shown_nowhere(text, declared):
    secret = "hunter2hunter2"
    text = f"{text}\n\nkeystore.passphrase={secret}\\\n  {secret}\n#db.password = {secret}\n"
    assume(java_properties.load(text) is not None)
    declared = {**declared, "keystore.passphrase": None}
    planned = properties.plan(text, declared)
    assert secret in planned.text
    assert secret not in properties.shown(text) + properties.shown(planned.text)
    shown = properties.shown(properties.plan(text, {**declared, "keystore.passphrase": secret + "3"}).text, {"keystore.passphrase"})
    assert secret not in shown and "changed" in shown


@given(st.text(max_size=8), st.text(max_size=8))
def test_values_that_mean_the_same_are_symmetric(one, other):
    assert properties.same(one, one)
    assert properties.same(one, other) == properties.same(other, one)
    if re.fullmatch("[0-9]+", one):
        assert properties.same(one, "0" + one)
