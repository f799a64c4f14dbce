# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The register: every rule of the reference sheet has a test that names it."""

from __future__ import annotations

import ast

from . import tables

RULES = """
names-shared global-id global-id-parts anon-volume anon-snapshot anon-snapshot-tilde star-names reserved-names size create-defaults
place-defaults base-on tags-not-inherited tags-merge size-update resize-online delete-attached delete-volume-keeps-snapshots
snapshot-delete-children snapshot-delete-attached snapshot-delete-exported from-remote bind delete-date no-trash group-snapshot freeze revert
reassign reassign-idempotent reassign-force reassign-wait snapshot-ro client-limit generation generation-reads client-wait limits bw-unit
template-propagate pg-upsert numeric-strings ref-qc mc-attach http-status null-values
""".split()


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
    ids = [rule["id"] for rule in tables.TABLES.get("emulatorRules", [])] or RULES
    assert len(ids) == len(set(ids)) == 46
    missing = sorted(set(ids) - set(marked()))
    assert not missing, f"rules without a test: {missing}"


def test_no_test_names_an_unknown_rule() -> None:
    assert set(marked()) <= set(RULES), sorted(set(marked()) - set(RULES))


def test_the_list_here_is_that_of_the_tables() -> None:
    ids = {rule["id"] for rule in tables.TABLES.get("emulatorRules", [])}
    assert ids in (set(), set(RULES)), sorted(ids ^ set(RULES))
