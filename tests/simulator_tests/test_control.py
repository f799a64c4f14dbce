# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The helper that other tests use, several callers at once, and plain HTTP as other clients speak it."""

from __future__ import annotations

import json
import socket
import threading
import time
from pathlib import Path

import pytest
from starlette.requests import Request
from storpool_simulator.control import is_local
from storpool_simulator.testing import Simulator, SimulatorError

from .conftest import client_of
from .support import MIB, Client, sha256


def test_the_helper_says_where_the_clusters_are(sim: Simulator) -> None:
    assert sim.url == f"http://{sim.host}:{sim.port}" == sim.clusters["sofia-a"]["url"]
    assert sim.host == "127.0.0.1" and sim.token.isdigit()
    assert list(sim.clusters) == ["sofia-a", "sofia-b", "plovdiv-a"]


def test_the_helper_makes_raw_calls(sim: Simulator) -> None:
    status, answer = sim.post("VolumeCreate", {"name": "vol", "size": MIB})
    assert status == 200 and answer["data"]["ok"] is True
    status, answer = sim.get("VolumesList")
    assert status == 200 and [item["name"] for item in answer["data"]] == ["vol"]
    status, answer = sim.get("Volume/none")
    assert status != 200 and answer["error"]["name"] == "objectDoesNotExist"


@pytest.mark.parametrize(
    ("client", "server", "local"),
    [
        (("127.0.0.1", 5), ("127.0.0.1", 80), True),
        (("::1", 5), ("::1", 80), True),
        (("192.0.2.10", 5), ("192.0.2.10", 80), True),
        (("10.1.0.1", 5), ("192.0.2.10", 80), False),
        (None, ("127.0.0.1", 80), False),
    ],
)
def test_the_control_interface_is_for_its_machine(client: tuple | None, server: tuple, local: bool) -> None:
    """A machine that speaks to an address of its own comes from that address."""
    assert is_local(Request({"type": "http", "client": client, "server": server})) is local


def test_the_helper_controls(sim: Simulator, api: Client, far: Client) -> None:
    api.create("vol")
    sim.write("vol", b"by the helper", 512)
    assert sim.read("vol", 512, 13) == b"by the helper" == api.read("vol", 512, 13)
    image = bytes(512) + b"by the helper".ljust(MIB - 512, b"\0")
    assert sim.content("vol")["sha256"] == sha256(image) and sim.content("vol")["size"] == MIB
    far.create("elsewhere")
    assert sim.content("elsewhere", "plovdiv-a")["size"] == MIB
    api.attach("vol", rw=[1])
    sim.open("vol", 1)
    assert api.post("VolumesReassign", [{"volume": "vol", "detach": "all"}]).error == "busy"
    sim.open("vol", 1, open=False)
    api.attach("vol", detach="all")
    sim.client(11, "down")
    sim.client(12, "down", cluster="plovdiv-a")
    assert [client.get("ServicesList").data["clients"]["11"]["status"] for client in (api, far)] == ["down", "running"]
    assert [client.get("ServicesList").data["clients"]["12"]["status"] for client in (api, far)] == ["running", "down"]
    sim.reset()
    assert api.volumes() == far.volumes() == {}


def test_the_control_interface_is_the_same_on_every_port(api: Client, far: Client) -> None:
    api.create("vol")
    assert far.sim("GET", "content/sofia-a/vol") == api.sim("GET", "content/sofia-a/vol")
    assert far.sim("GET", "calls?summary=1") == api.sim("GET", "calls?summary=1")
    for path in ("content/sofia-a/none", "content/nowhere/vol", "nonsense"):
        assert api.raw("GET", f"/_sim/{path}", headers={}).status >= 400, path
    for name in ("none", "vol"):
        assert api.raw("PUT", f"/_sim/open/sofia-a/{name}", b'{"client": 1, "open": true}', {}).status >= 400, name


def test_the_background_can_be_stopped(sim: Simulator, api: Client) -> None:
    for auto in (False, True):
        api.create("vol")
        api.snap("vol", "snap", deleteAfter=10)
        sim.background(auto)
        sim.advance(20)
        assert ("snap" in api.snapshots()) is not auto
        sim.settle()
        assert api.snapshots() == {}
        api.do("VolumeDelete/vol")


def test_the_clock_can_be_stopped(sim: Simulator) -> None:
    def now() -> float:
        return sim.control("POST", "/clock", {"advance": 0})["now"]

    sim.advance(1000)
    sim.stop_clock()
    stopped = now()
    sim.stop_clock()
    time.sleep(0.01)
    assert now() == stopped
    sim.advance(20)
    assert now() == stopped + 20
    sim.stop_clock(False)
    time.sleep(0.01)
    assert stopped + 20 < now() < stopped + 1000, "it goes on from there"
    sim.stop_clock()
    sim.reset()
    assert now() < stopped
    for wrong in ({"stopped": 1}, {"stopped": None}, {}):
        with pytest.raises(SimulatorError, match="400"):
            sim.control("POST", "/clock", wrong)


def test_many_at_once_make_each_name_once(sim: Simulator, api: Client) -> None:
    made: list[str] = []
    refused: list[str] = []

    def work() -> None:
        client = client_of(sim)
        for index in range(40):
            reply = client.post("VolumeCreate", {"name": f"v{index}", "size": 512})
            (refused if reply.failed else made).append(reply.error if reply.failed else f"v{index}")
        client.close()

    threads = [threading.Thread(target=work) for _unused in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == sorted(f"v{index}" for index in range(40)) and refused == ["objectExists"] * 120
    assert len({item["globalId"] for item in api.volumes().values()}) == 40


def test_two_that_want_one_thing_get_it_once(sim: Simulator, api: Client) -> None:
    """Compare-and-set in the key-value store: every increment counts."""
    api.do("KV/Create/bucket")

    def work() -> None:
        client = client_of(sim)
        done = 0
        while done < 25:
            bucket = client.get("KV/List/bucket").data
            value = int(bucket["pairs"].get("count", "0"))
            reply = client.post("KV/Set/bucket", {"set": {"count": str(value + 1)}, "runIfVersionIs": bucket["version"]})
            done += not reply.failed
            assert not reply.failed or reply.error == "runIfVersionIsMismatch"
        client.close()

    threads = [threading.Thread(target=work) for _unused in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert api.get("KV/List/bucket").data["pairs"] == {"count": "75"}


def talk(sim: Simulator, request: bytes) -> bytes:
    """What the server sends until it closes the connection."""
    with socket.create_connection((sim.host, sim.port), timeout=10) as connection:
        connection.sendall(request)
        answer = b""
        while part := connection.recv(65536):
            answer += part
        return answer


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_connection_for_each_call(sim: Simulator, version: str) -> None:
    close = "Connection: close\r\nHost: x\r\n" if version == "1.1" else ""
    request = f"GET /ctrl/1.0/VolumesList HTTP/{version}\r\n{close}Authorization: Storpool v1:{sim.token}\r\n\r\n"
    head, _unused, body = talk(sim, request.encode()).partition(b"\r\n\r\n")
    assert b" 200 " in head.split(b"\r\n")[0] and b"application/json" in head.lower()
    assert json.loads(body)["data"] == []


def test_a_body_in_chunks(sim: Simulator, api: Client) -> None:
    pieces = (b'{"name": "chu', b'nky", "size"', b": 512}")
    head = f"POST /ctrl/1.0/VolumeCreate HTTP/1.1\r\nHost: x\r\nAuthorization: Storpool v1:{sim.token}\r\n"
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    answer = talk(sim, head.encode() + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")
    assert b" 200 " in answer.split(b"\r\n")[0]
    assert set(api.volumes()) == {"chunky"}


def test_the_header_may_be_written_in_any_case(sim: Simulator) -> None:
    request = f"GET /ctrl/1.0/VolumesList HTTP/1.1\r\nhost: x\r\nconnection: close\r\nAUTHORIZATION: Storpool v1:{sim.token}\r\n\r\n"
    assert b" 200 " in talk(sim, request.encode()).split(b"\r\n")[0]


def test_nothing_is_left_of_a_simulator_that_ended(tmp_path: Path) -> None:
    with Simulator(tmp_path / "state", devices="none") as running:
        api = client_of(running)
        api.create("vol")
        api.close()
        host, port, pid = running.host, running.port, running.pid
    with pytest.raises(OSError):
        socket.create_connection((host, port), timeout=2)
    assert not Path(f"/proc/{pid}").exists()


def test_a_topology_of_ones_own(tmp_path: Path) -> None:
    plan = {
        "locations": [
            {"id": "x1", "name": "here", "clusters": [{"id": "q", "name": "here-q", "clients": [21, 22]}]},
            {"id": "x2", "name": "there", "clusters": [{"id": "r", "name": "there-r", "clients": []}]},
        ]
    }
    path = tmp_path / "topology.json"
    path.write_text(json.dumps(plan))
    with Simulator(tmp_path / "state", devices="none", topology=path) as running:
        assert {name: (item["id"], item["location"]) for name, item in running.clusters.items()} == {
            "here-q": ("x1.q", "here"),
            "there-r": ("x2.r", "there"),
        }
        here, there = client_of(running, "here-q"), client_of(running, "there-r")
        clients = here.get("ServicesList").data["clients"]
        assert {"21", "22"} <= set(clients) and "11" not in clients
        assert here.create("vol")["globalId"].startswith("x1.q.")
        made = here.do("VolumeBackup", {"volume": "vol", "location": "there"})
        running.settle()
        assert made["remoteId"] in {item["globalId"] for item in there.snapshots().values()}
        here.close()
        there.close()
