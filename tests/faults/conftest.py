# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every call of every module goes wrong in every way, and nothing is lost, doubled or lied about.

The simulators and the way of running a module are those of tests/integration. Here the pauses between attempts are short, and so is the
time that a remote copy takes; what depends on the real pauses says so by the fixture `patient`.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.storpool.cloudstack.plugins.module_utils import _cloudstack, _http, _runner
from storpool_simulator.testing import Simulator
from storpool_simulator.topology import BUILT_IN

TESTS = Path(__file__).resolve().parents[1]
sys.path += [str(TESTS), str(TESTS / "integration")]

from integration import conftest as integration  # noqa: E402
from integration.conftest import as_at_first_start, cloud_of  # noqa: E402
from lab import Lab  # noqa: E402

__all__ = ["cloud_of"]

CLOUDSTACK = "4.20.2"
SOON = {"copy_delay": 0.01, "merge_delay": 0.01}


HASTE = 0.2  # of the seconds between two looks


class InHaste:
    """The runner's clock here: the same time, shorter pauses."""

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    @staticmethod
    def sleep(seconds: float) -> None:
        time.sleep(HASTE * seconds)


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
        monkeypatch.setattr(_cloudstack, "LATE", (0.02, 0.05, 0.1))
        monkeypatch.setattr(_runner, "time", InHaste())
        monkeypatch.setattr(_runner, "LATE_EFFECTS", (0.02 / HASTE, 0.4 / HASTE))


@pytest.fixture
def patient() -> None:
    """The test wants the pauses that users have."""


@pytest.fixture
def lab(storpool: Simulator) -> Lab:
    """The simulated StorPool, as at first start."""
    return Lab(as_at_first_start(storpool))


@pytest.fixture(scope="session")
def two_zones(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """A simulated CloudStack with a zone in each of two locations; started when it is first asked for."""
    place = tmp_path_factory.mktemp("zones")
    (place / "topology.json").write_text(json.dumps({**BUILT_IN, "cloudstack": {"zones": 2}}), encoding="utf-8")
    with Simulator(
        place / "state", devices="link", cloudstack=CLOUDSTACK, topology=place / "topology.json", assume=integration.SOON
    ) as sim:
        yield sim


@pytest.fixture
def lab_of(request: pytest.FixtureRequest, cloud_of: Callable[[str], Simulator]) -> Callable[[str], Lab]:
    """`lab_of(world)` is the lab that a scenario asks for: "storpool", or "cloudstack" or "two zones" with a management server as well."""

    def lab(world: str) -> Lab:
        if world == "cloudstack":
            return Lab(cloud_of(CLOUDSTACK))
        return Lab(as_at_first_start(request.getfixturevalue("two_zones"))) if world == "two zones" else request.getfixturevalue("lab")

    return lab
