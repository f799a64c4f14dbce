# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/scenarios.md tells the truth: each scenario and each section has its tests, and they are there."""

from __future__ import annotations

import pytest

from . import catalogue

# How many scenarios there are, by what StorPool's Marvin tests have
UPSTREAM = {
    "TestStorPoolVolumes": 29,
    "TestVmSnapshots": 3,
    "TestTagsOnStorPool": 10,
    "TestEncryptedVolumes": 9,
    "test_storpool_tiers": 14,
    "MigrateVolumeToStorPool": 3,
    "test_snapshot_copy_on_primary_storage": 8,
}


def test_the_document_is_up_to_date() -> None:
    assert catalogue.DOCUMENT.read_text(encoding="utf-8") == catalogue.render(), "run python3 tests/scenarios/catalogue.py"


def test_every_upstream_scenario_has_its_test() -> None:
    found = {suite.name: [name for name, _unused, _remark in suite.lines()] for suite in catalogue.upstream()}
    assert {name: len(rows) for name, rows in found.items()} == UPSTREAM
    for name, rows in found.items():
        assert [int(row.split("_")[0]) for row in rows] == list(range(1, UPSTREAM[name] + 1)), name


def test_every_row_has_tests_or_a_reason() -> None:
    for suite in (*catalogue.upstream(), *catalogue.integration(), catalogue.ours()):
        assert bool(suite.lines()) is not bool(suite.without), suite.name
        assert all(tests for _unused, tests, _remark in suite.lines()), suite.name
    assert len(catalogue.sections()) == 13 and all(tests for _unused, tests in catalogue.sections())


def test_every_test_that_is_named_is_there() -> None:
    for test in sorted(catalogue.mentioned()):
        path, _unused, name = test.partition("::")
        assert name in catalogue.tests_of(path), test


@pytest.mark.parametrize("path", sorted(catalogue.ROOT.glob(f"{catalogue.HERE}/test_marvin_*.py")), ids=lambda path: path.stem)
def test_every_scenario_is_named(path: catalogue.Path) -> None:
    relative = path.relative_to(catalogue.ROOT)
    assert {f"{relative}::{name}" for name in catalogue.tests_of(str(relative))} <= catalogue.mentioned()
