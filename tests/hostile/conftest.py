# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Input that nobody should give, servers that mean ill, and secrets that must not be seen.

Everything here goes over all modules, roles and playbooks that there are: one that is added is covered by itself, or a test fails and says
what it needs. The simulators and the way of running playbooks are those of tests/integration.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.storpool.cloudstack.plugins.module_utils import _http
from storpool_simulator.testing import Simulator

TESTS = Path(__file__).resolve().parents[1]
sys.path += [str(TESTS), str(TESTS / "integration"), str(TESTS / "tools")]

from integration.conftest import as_at_first_start, cloud_of  # noqa: E402

__all__ = ["cloud_of"]

NEWEST = "4.22.0"


@pytest.fixture
def cloud(cloud_of: Callable[[str], Simulator]) -> Simulator:
    """A simulated StorPool with the newest CloudStack, as at first start."""
    return as_at_first_start(cloud_of(NEWEST))


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_http, "BACKOFF_FIRST", 0.002)
    monkeypatch.setattr(_http, "BACKOFF_LONGEST", 0.01)


@pytest.fixture
def no_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only addresses can be reached: what a name leads to depends on the machine."""
    real = socket.getaddrinfo

    def numeric(host, *arguments, **more):
        more["flags"] = more.get("flags", 0) | socket.AI_NUMERICHOST
        return real(host, *arguments, **more)

    monkeypatch.setattr(socket, "getaddrinfo", numeric)


@pytest.fixture
def oddities(tmp_path: Path) -> Iterator[dict[str, Path]]:
    """What a path may lead to besides a file that one would read."""
    (tmp_path / "directory.json").mkdir()
    os.mkfifo(tmp_path / "pipe.json")
    with open(tmp_path / "huge.json", "wb") as stream:
        stream.truncate(1 << 34)  # nothing but a hole
    (tmp_path / "binary.json").write_bytes(bytes(range(256)) * 8)
    (tmp_path / "deep.json").write_text("[" * 200_000)
    (tmp_path / "deep.yml").write_text("[" * 5_000)
    laughs = ["a: &a [x, x, x, x, x, x, x, x, x]"] + [
        f"{new}: &{new} [{', '.join(['*' + old] * 9)}]" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
    ]
    (tmp_path / "laughs.yml").write_text("\n".join(laughs) + "\nvolumes: [*i]\nsettings: [*i]\n")
    (tmp_path / "loop.json").symlink_to("loop.json")
    found = {path.name: path for path in tmp_path.iterdir()}
    device = tmp_path / "zero.json"
    try:
        os.mknod(device, 0o666 | 0o020000, os.makedev(1, 5))
        device.open("rb").close()
        found[device.name] = device
    except OSError:
        device.unlink(missing_ok=True)  # who is not root, or in a container, cannot make one
    found["missing"] = tmp_path / "missing.json"
    found["beyond"] = tmp_path / ("n" * 300) / "x.json"
    yield found
