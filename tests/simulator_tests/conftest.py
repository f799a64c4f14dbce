# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One simulator for the whole run, put back to its first state before each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from storpool_simulator.testing import Simulator

from .support import Client
from .world import populate


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "rule(id, ...): the rules of the reference sheet that a test proves")


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    with Simulator(tmp_path_factory.mktemp("shared"), devices="none") as running:
        yield running


@pytest.fixture(scope="session")
def populated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Simulator, dict]]:
    """A simulator of its own with one of everything, for tests that only read."""
    with Simulator(tmp_path_factory.mktemp("populated"), devices="none") as running:
        yield running, populate(running)


def restore(running: Simulator) -> None:
    running.clear_faults()
    running.reset()
    running.background(True)
    running.reset_calls()


@pytest.fixture
def sim(shared: Simulator) -> Simulator:
    """The shared simulator as at first start."""
    restore(shared)
    return shared


def client_of(running: Simulator, cluster: str = "sofia-a", prefix: str = "") -> Client:
    return Client(running.clusters[cluster]["url"], running.token, prefix, cluster)


@pytest.fixture
def api(sim: Simulator) -> Iterator[Client]:
    """Cluster sofia-a of the shared simulator."""
    client = client_of(sim)
    yield client
    client.close()


@pytest.fixture
def neighbour(sim: Simulator) -> Iterator[Client]:
    """Cluster sofia-b: the same location."""
    client = client_of(sim, "sofia-b")
    yield client
    client.close()


@pytest.fixture
def far(sim: Simulator) -> Iterator[Client]:
    """Cluster plovdiv-a: another location."""
    client = client_of(sim, "plovdiv-a")
    yield client
    client.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Simulator]]:
    """Start further simulators with flags of their own; they end with the test."""
    running: list[Simulator] = []

    def begin(**flags: Any) -> Simulator:
        sim = Simulator(tmp_path / f"state-{len(running)}", **{"devices": "none", **flags})
        sim.__enter__()
        running.append(sim)
        return sim

    yield begin
    for sim in reversed(running):
        sim.__exit__(None, None, None)


# CloudStack


def one_of_each(of: Callable[[str], Simulator]) -> Iterator[Callable[[str], Simulator]]:
    """What a fixture yields that has one simulator of each version, started when it is first asked for, as at first start each time."""
    running: dict[str, Simulator] = {}

    def get(version: str) -> Simulator:
        if version in running:
            restore(running[version])
        else:
            running[version] = of(version)
            running[version].__enter__()
        return running[version]

    yield get
    for sim in running.values():
        sim.__exit__(None, None, None)


@pytest.fixture(scope="session")
def clouds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Simulator]]:
    """A simulator with a CloudStack of the given version; each is started once and put back to its first state for each test."""
    yield from one_of_each(lambda version: Simulator(tmp_path_factory.mktemp(f"cloudstack-{version}"), devices="none", cloudstack=version))


@pytest.fixture
def cloud(clouds: Callable[[str], Simulator]) -> Simulator:
    """CloudStack 4.20.2."""
    return clouds("4.20.2")
