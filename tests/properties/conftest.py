# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""How many examples: some hundred, the same each time; with HYPOTHESIS_PROFILE=thorough 10,000, other ones each time.

With the simulators, where an example is several tasks, there is one for sixteen of those.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

TESTS = Path(__file__).resolve().parents[1]
# The objects and options that tests of units use serve here too; so do the simulated worlds of others.
sys.path[:0] = [str(TESTS / "unit"), str(TESTS), str(TESTS / "faults"), str(TESTS / "integration"), str(TESTS / "hostile")]

from ansible_collections.storpool.cloudstack.plugins.module_utils import _cloudstack  # noqa: E402
from integration.conftest import as_at_first_start  # noqa: E402
from lab import Lab  # noqa: E402
from storpool_simulator.testing import Simulator  # noqa: E402

# The set-up of a whole world is one example; on a busy machine that may look slow.
COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}
settings.register_profile("quick", max_examples=200, derandomize=True, database=None, **COMMON)
settings.register_profile("thorough", max_examples=10_000, **COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

# What goes on by itself does so at once; but policies that a story declares take no snapshots at some minute.
AT_ONCE = {"poll_seconds": 0.05, "job_seconds": 0.01, "maintenance_seconds": 0.02, "policies_run": False}


@pytest.fixture(scope="session")
def world_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[object], Lab]]:
    """`world_of(story)` is the simulated world of a story, as it is at its beginning."""
    running: dict[str, Simulator] = {}

    def get(story: object) -> Lab:
        if story.world not in running:
            more = {"cloudstack": "4.22.0", "assume": AT_ONCE} if story.world == "cloudstack" else {}
            running[story.world] = Simulator(tmp_path_factory.mktemp(story.world), devices="none", **more)
            running[story.world].start()
        lab = Lab(as_at_first_start(running[story.world]))
        story.prepare(lab)
        return lab

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_cloudstack, "POLL_FIRST", 0.005)
        yield get
    for simulator in running.values():
        simulator.stop()
