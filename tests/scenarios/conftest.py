# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cloud for each module and release, as Marvin's classes have one; every scenario makes its own instances in it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible_collections.storpool.cloudstack.plugins.module_utils import _cloudstack
from simulator_tests.conftest import restore
from storpool_simulator.testing import Simulator
from storpool_simulator.topology import BUILT_IN

from .world import World

VERSIONS = ("4.19.3", "4.20.2", "4.21.0", "4.22.0")
TOPOLOGIES: dict[str, dict[str, Any]] = {
    "plain": {},
    # A zone in another location
    "zones": {"zones": 2},
    # KVM clusters on two StorPool clusters of one location
    "clusters": {"clusters": 2, "hosts_per_cluster": 3},
}
# A job is done when it is first asked for: how it is waited for is tested elsewhere
AT_ONCE = {"job_polls": 0}
# Of topology "clusters", hosts on the StorPool cluster of the pool and on the other one
LOCAL, REMOTE = ("kvm11", "kvm12"), ("kvm14", "kvm15")
Clouds = Callable[..., World]


@pytest.fixture(scope="session")
def clouds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clouds]:
    """A world as at first start; the simulator behind it is started once for the run."""
    running: dict[tuple[str, str], Simulator] = {}

    def of(version: str, topology: str = "plain", zone: str = "sofia", hosts: tuple[str, ...] = ()) -> World:
        key = (version, topology)
        if key not in running:
            place = tmp_path_factory.mktemp(f"{topology}-{version}")
            file = place / "topology.json"
            file.write_text(json.dumps({**BUILT_IN, "cloudstack": TOPOLOGIES[topology]} if topology != "plain" else BUILT_IN))
            running[key] = Simulator(place / "state", devices="none", cloudstack=version, topology=file, assume=AT_ONCE)
            running[key].__enter__()
        else:
            restore(running[key])
        return World(running[key], zone, hosts)

    patch = pytest.MonkeyPatch()
    patch.setattr(_cloudstack, "POLL_FIRST", 0.01)  # what hosts convert takes a little while
    yield of
    patch.undo()
    for sim in running.values():
        sim.kill()


@pytest.fixture(scope="module", params=VERSIONS)
def world(request: pytest.FixtureRequest, clouds: Clouds) -> World:
    return clouds(request.param)


@pytest.fixture(autouse=True)
def _as_it_was(request: pytest.FixtureRequest) -> Iterator[None]:
    """The switches that a scenario turned are back for the next one."""
    yield
    if "world" in request.fixturenames:
        request.getfixturevalue("world").put_back()
