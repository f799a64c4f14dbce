# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A simulator for the session, emptied before each test that asks for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from storpool_simulator.testing import Simulator


@pytest.fixture(scope="session")
def simulator_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    with Simulator(tmp_path_factory.mktemp("simulator")) as sim:
        yield sim


@pytest.fixture
def sim(simulator_process: Simulator) -> Simulator:
    simulator_process.reset()
    simulator_process.clear_faults()
    simulator_process.reset_calls()
    return simulator_process
