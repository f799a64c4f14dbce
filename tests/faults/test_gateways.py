# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A gateway before a server loses its patience (504), and the server does what it was asked all the same, after the task has ended.

Nothing is made twice: neither by the task, which would have to send it again, nor by the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from hostile.servers import Proxy
from lab import Lab, silent

MIB = 1 << 20

# What makes something, of which a server would also make two: module, the call, options, and how many there are.
MADE: dict[str, tuple[str, dict[str, Any], Callable[[Lab], int]]] = {
    "createDiskOffering": (
        "cloudstack_offering", {"name": "gold", "size": "10G"},
        lambda lab: count(lab, "listDiskOfferings", "diskoffering", name="gold", state="all"),
    ),
    "createVolume": (
        "cloudstack_volume", {"name": "data", "zone": "sofia", "offering": "Custom", "size": "1G"},
        lambda lab: count(lab, "listVolumes", "volume", name="data"),
    ),
    "createStoragePool": (
        "cloudstack_storage_pool", {"name": "archive", "zone": "sofia", "template": "hybrid"},
        lambda lab: count(lab, "listStoragePools", "storagepool", name="archive"),
    ),
}  # fmt: skip


def count(lab: Lab, call: str, key: str, **params: Any) -> int:
    return len(lab.simulator.cs(call, listall=True, **params)[1].get(key, []))


@contextmanager
def impatient(url: str, call: str) -> Iterator[Proxy]:
    """A gateway that does not wait for the first such call."""
    seen: list[str] = []

    def hold(path: str, sent: bytes) -> bool:
        if call in path or f"command={call}&" in sent.decode():
            seen.append(path)
        return len(seen) == 1 and (call in path or f"command={call}&" in sent.decode())

    with Proxy(url, hold=hold) as gateway:
        yield gateway


@pytest.mark.parametrize("call", MADE)
def test_what_a_gateway_did_not_wait_for_is_made_once(call: str, lab_of: Callable[[str], Lab]):
    lab = lab_of("cloudstack")
    lab.clear()
    module, options, how_many = MADE[call]
    address = urlsplit(lab.simulator.cloudstack["url"])
    with impatient(f"http://{address.hostname}:{address.port}", call) as gateway:
        there = {**options, "cloudstack_url": f"http://127.0.0.1:{gateway.port}/client/api"}
        result = lab.run(module, there)
        assert result["failed"]
        assert result["error"]["type"] == "answer_lost"
        assert "HTTP 504" in result["msg"] and "was not sent again" in result["msg"]
        assert not result["changed"]
        assert len(gateway.held) == 1 and how_many(lab) == 0
        ((status, _answer),) = gateway.release()
        assert status == 200
        again = lab.run(module, there)
        assert not again.get("failed"), again["msg"]
    assert how_many(lab) == 1
    silent(lab, module, options)


def test_what_came_to_pass_behind_the_gateway_counts_as_done(lab_of: Callable[[str], Lab]):
    """The server is quicker than the second look: the task finds it, and says that it made it."""
    lab = lab_of("cloudstack")
    lab.clear()
    module, options, how_many = MADE["createDiskOffering"]
    address = urlsplit(lab.simulator.cloudstack["url"])
    with impatient(f"http://{address.hostname}:{address.port}", "createDiskOffering") as gateway:
        lab.simulator.reset_calls()
        looks: list[str] = []

        def change(path: str, status: int, body: bytes) -> tuple[int, bytes]:
            if "command=listDiskOfferings" in path and gateway.held:
                looks.append(path)
                if len(looks) == 2:
                    gateway.release()
            return status, body

        gateway.change = change
        result = lab.run(module, {**options, "cloudstack_url": f"http://127.0.0.1:{gateway.port}/client/api"})
    assert not result.get("failed"), result["msg"]
    assert result["offerings"][0]["actions"] == ["create"]
    assert how_many(lab) == 1
    assert lab.writes() == ["createDiskOffering"]


def test_a_name_can_be_taken_only_once(lab: Lab):
    """StorPool makes no second volume of a name, so that it is asked again; what was held is refused then."""
    lab.clear()
    with impatient(f"http://{lab.simulator.host}:{lab.simulator.port}", "VolumeCreate") as gateway:
        result = lab.run("storpool_volume", {"name": "v", "size": MIB, "sp_api_http_host": [f"127.0.0.1:{gateway.port}"]})
        assert not result.get("failed"), result["msg"]
        made = lab.get("Volume/v")
        ((status, _answer),) = gateway.release()
        assert status != 200
    assert lab.get("Volume/v") == made


def test_a_backup_is_not_asked_for_twice(lab: Lab):
    """Each would be another one."""
    lab.clear()
    options = {"name": "b", "volume": "other", "backup_to": "plovdiv"}
    with impatient(f"http://{lab.simulator.host}:{lab.simulator.port}", "VolumeBackup") as gateway:
        result = lab.run("storpool_snapshot", {**options, "sp_api_http_host": [f"127.0.0.1:{gateway.port}"]})
        assert result["failed"] and "was not sent again" in result["msg"], result
        assert len(gateway.held) == 1
