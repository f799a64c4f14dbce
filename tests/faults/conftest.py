# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every call of every module goes wrong in every way, and nothing is lost, doubled or lied about.

The simulators and the way of running a module are those of tests/integration. Here the pauses between attempts are short, and so is the
time that a remote copy takes; what depends on the real pauses says so by the fixture `patient`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.storpool.cloudstack.plugins.module_utils import _cloudstack, _http, _runner
from storpool_simulator.testing import Simulator

TESTS = Path(__file__).resolve().parents[1]
sys.path += [str(TESTS), str(TESTS / "integration")]

from integration.conftest import as_at_first_start, cloud_of  # noqa: E402
from lab import Lab  # noqa: E402

__all__ = ["cloud_of"]

CLOUDSTACK = "4.20.2"
SOON = {"copy_delay": 0.01, "merge_delay": 0.01}


@pytest.fixture(scope="session")
def storpool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    with Simulator(tmp_path_factory.mktemp("simulator"), devices="link", assume=SOON) as sim:
        yield sim


@pytest.fixture(autouse=True)
def short_pauses(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "patient" not in request.fixturenames:
        monkeypatch.setattr(_http, "BACKOFF_FIRST", 0.002)
        monkeypatch.setattr(_http, "BACKOFF_LONGEST", 0.01)
        monkeypatch.setattr(_cloudstack, "POLL_FIRST", 0.02)
        monkeypatch.setattr(_runner, "LATE_EFFECTS", (0.02, 0.4))


@pytest.fixture
def patient() -> None:
    """The test wants the pauses that users have."""


@pytest.fixture
def lab(storpool: Simulator) -> Lab:
    """The simulated StorPool, as at first start."""
    return Lab(as_at_first_start(storpool))


@pytest.fixture
def lab_of(lab: Lab, cloud_of: Callable[[str], Simulator]) -> Callable[[str], Lab]:
    """`lab_of(world)` is the lab that a scenario asks for: "storpool", or "cloudstack" with a management server as well."""
    return lambda world: lab if world == "storpool" else Lab(cloud_of(CLOUDSTACK))
