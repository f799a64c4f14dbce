# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The register: every rule of the reference sheet has a test that names it."""

from __future__ import annotations

import ast
import json

from . import tables


def marked() -> dict[str, list[str]]:
    """The rule ids that test functions of this folder carry, with the tests; read from the source, so one file alone can be run."""
    found: dict[str, list[str]] = {}
    for path in sorted(tables.HERE.glob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef) or not node.name.startswith("test_"):
                continue
            for decorator in node.decorator_list:
                if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.rule":
                    for arg in decorator.args:
                        found.setdefault(ast.literal_eval(arg), []).append(f"{path.name}::{node.name}")
    return found


def test_every_rule_has_a_test() -> None:
    assert len(tables.RULES) == 46
    missing = sorted(set(tables.RULES) - set(marked()))
    assert not missing, f"rules without a test: {missing}"


def test_no_test_names_an_unknown_rule() -> None:
    assert set(marked()) <= set(tables.RULES), sorted(set(marked()) - set(tables.RULES))


def test_the_simulator_knows_the_same_rules() -> None:
    path = tables.HERE.parent / "simulator" / "storpool_simulator" / "schema" / "storpool-api.json"
    assert {rule["id"] for rule in json.loads(path.read_text(encoding="utf-8"))["rules"]} == set(tables.RULES)
