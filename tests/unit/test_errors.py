# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is refused says what to do instead."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from ansible_collections.storpool.cloudstack.plugins.module_utils import _errors

PLUGINS = Path(_errors.__file__).parents[1]


def refusals(path):
    calls = [node for node in ast.walk(ast.parse(path.read_bytes())) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    return [call for call in calls if call.func.id == "ChangeRefused"]


@pytest.mark.parametrize("path", [one for one in sorted(PLUGINS.rglob("*.py")) if refusals(one)], ids=lambda one: one.stem)
def test_every_refusal_names_the_way_out(path):
    without = [call.lineno for call in refusals(path) if not {keyword.arg for keyword in call.keywords} & {"hint", "allow_with"}]
    assert not without, f"lines {without} of {path.name} refuse and name neither a hint nor the option that allows it"


@pytest.mark.parametrize(
    ("value", "way_out", "told"),
    [
        (None, "is needed to make it", "option size of v is needed to make it"),
        ("", "is needed", "option size of v: '' is needed"),
        (None, "is not a size", "option size of v: None is not a size"),
        ("1Q", "is not a size", "option size of v: '1Q' is not a size"),
    ],
)
def test_an_option_that_is_not_given_has_no_value(value, way_out, told):
    """ "None is needed" says the contrary of what is meant."""
    assert str(_errors.OptionError("size", value, way_out, item="v")) == told


def test_what_allows_a_change_is_its_way_out():
    assert str(_errors.ChangeRefused("no", allow_with="force: true")) == "no (set force: true to allow it)"
    assert str(_errors.ChangeRefused("no", allow_with="force: true", hint="think first")) == "no (think first)"
    assert _errors.ChangeRefused("no", allow_with="force: true").as_dict()["allow_with"] == "force: true"
