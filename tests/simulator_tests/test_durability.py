# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was acknowledged survives kill -9; faults do what they say, seen from a plain client; the call log; the command."""

from __future__ import annotations

import copy
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from storpool_simulator.testing import Simulator

from .conftest import client_of
from .support import MIB, Client, files_of, free_ports, sha256, state, wait_until

LOST = (http.client.HTTPException, OSError)


@dataclass
class Model:
    """What one writer knows: what was acknowledged, and the one request whose answer never came."""

    volumes: dict[str, dict] = field(default_factory=dict)
    snapshots: dict[str, dict] = field(default_factory=dict)
    pending: Callable[[Model], None] | None = None
    done: int = 0

    def create(self, name: str, size: int, tags: dict, content: bytes) -> None:
        self.volumes[name] = {"size": size, "tags": tags, "content": bytearray(content.ljust(size, b"\0")), "attached": {}}

    def update(self, name: str, size: int, tags: dict) -> None:
        volume = self.volumes[name]
        volume["content"] = bytearray(bytes(volume["content"][:size]).ljust(size, b"\0"))
        volume["size"] = size
        volume["tags"] = {**volume["tags"], **tags}

    def write(self, name: str, data: bytes, offset: int) -> None:
        self.volumes[name]["content"][offset : offset + len(data)] = data

    def snapshot(self, names: dict[str, str]) -> None:
        for volume, snapshot in names.items():
            self.snapshots[snapshot] = {"size": self.volumes[volume]["size"], "content": bytes(self.volumes[volume]["content"])}

    def revert(self, name: str, snapshot: str) -> None:
        size = self.volumes[name]["size"]
        self.volumes[name]["content"] = bytearray(self.snapshots[snapshot]["content"][:size].ljust(size, b"\0"))

    def picture(self) -> dict:
        return {
            "volumes": {
                name: (item["size"], item["tags"], sha256(bytes(item["content"])), item["attached"]) for name, item in self.volumes.items()
            },
            "snapshots": {name: (item["size"], sha256(item["content"])) for name, item in self.snapshots.items()},
        }


class Writer(threading.Thread):
    """Sends one change after the other on objects of its own until the connection breaks."""

    def __init__(self, sim: Simulator, label: str, seed: int, model: Model) -> None:
        super().__init__()
        self.api = client_of(sim)
        self.label = label
        self.dice = random.Random(seed)
        self.model = model
        self.broken: Exception | None = None

    def run(self) -> None:
        try:
            while self.model.pending is None:
                self.step()
        except Exception as exc:
            self.broken = exc
        finally:
            self.api.close()

    def change(self, send: Callable[[], Any], effect: Callable[[Model], None]) -> None:
        try:
            send()
        except LOST:
            self.model.pending = effect
            return
        effect(self.model)
        self.model.done += 1

    def name_for(self, kind: str) -> str:
        return f"{self.label}-{kind}-{self.dice.randrange(10**12)}"

    def step(self) -> None:
        volumes = sorted(self.model.volumes)
        if len(volumes) < 2 or (len(volumes) < 8 and self.dice.random() < 0.15):
            name, size, tags = self.name_for("v"), self.dice.randrange(1, 65) * 512, {"n": str(self.dice.randrange(1000))}
            if self.model.snapshots and self.dice.random() < 0.4:
                parent = self.dice.choice(sorted(self.model.snapshots))
                content, size = self.model.snapshots[parent]["content"], self.model.snapshots[parent]["size"]
                return self.change(
                    lambda: self.api.do("VolumeCreate", {"name": name, "parent": parent, "tags": tags}),
                    lambda m: m.create(name, size, tags, content),
                )
            return self.change(lambda: self.api.create(name, size, tags=tags), lambda m: m.create(name, size, tags, b""))
        name = self.dice.choice(volumes)
        volume = self.model.volumes[name]
        kind = self.dice.choice(
            ["write"] * 4 + ["update", "attach", "detach", "snapshot", "group", "delete", "drop", "drop", "drop", "revert"]
        )
        if kind == "write":
            length = self.dice.randrange(1, volume["size"] + 1)
            offset = self.dice.randrange(0, volume["size"] - length + 1)
            data = self.dice.randbytes(length)
            return self.change(lambda: self.api.write(name, data, offset), lambda m: m.write(name, data, offset))
        if kind == "update":
            size, tags = self.dice.randrange(1, 65) * 512, {self.dice.choice("abc"): str(self.dice.randrange(1, 1000))}
            return self.change(
                lambda: self.api.do(f"VolumeUpdate/{name}", {"size": size, "shrinkOk": True, "tags": tags}),
                lambda m: m.update(name, size, tags),
            )
        if kind == "attach":
            client, rights = self.dice.choice([1, 2, 11]), self.dice.choice(["rw", "ro"])
            return self.change(
                lambda: self.api.attach(name, **{rights: [client]}), lambda m: m.volumes[name]["attached"].__setitem__(client, rights)
            )
        if kind == "detach":
            return self.change(lambda: self.api.attach(name, detach="all"), lambda m: m.volumes[name]["attached"].clear())
        if kind == "snapshot":
            snapshot = self.name_for("s")
            return self.change(lambda: self.api.snap(name, snapshot), lambda m: m.snapshot({name: snapshot}))
        if kind == "group":
            group = {volume: self.name_for("g") for volume in volumes[:2]}
            body = {"volumes": [{"volume": volume, "name": snapshot} for volume, snapshot in group.items()]}
            return self.change(lambda: self.api.do("VolumesGroupSnapshot", body), lambda m: m.snapshot(group))
        if kind == "delete" and not volume["attached"]:
            return self.change(lambda: self.api.do(f"VolumeDelete/{name}"), lambda m: m.volumes.pop(name))
        if kind == "drop" and len(self.model.snapshots) > 4:
            snapshot = self.dice.choice(sorted(self.model.snapshots))
            return self.change(lambda: self.api.do(f"SnapshotDelete/{snapshot}"), lambda m: m.snapshots.pop(snapshot))
        if kind == "revert" and self.model.snapshots and not volume["attached"]:
            snapshot = self.dice.choice(sorted(self.model.snapshots))
            return self.change(lambda: self.api.do(f"VolumeRevert/{name}", {"toSnapshot": snapshot}), lambda m: m.revert(name, snapshot))
        return None


def are_at_it(writers: list[Writer], goals: dict[str, int]) -> bool:
    """Each has done so many changes; or one has ended, which is told elsewhere."""
    return all(writer.model.done >= goals[writer.label] for writer in writers) or not all(writer.is_alive() for writer in writers)


def pictures(api: Client, labels: Iterable[str]) -> dict[str, dict]:
    """The present state in the form of `Model.picture`, by writer."""
    attached: dict[str, dict] = {}
    for item in api.attachments():
        attached.setdefault(item["volume"], {})[item["client"]] = item["rights"]
    volumes = {name: (item["size"], item.get("tags", {}), api.sha(name), attached.pop(name, {})) for name, item in api.volumes().items()}
    assert not attached, "an attachment of a volume that does not exist"
    snapshots = {name: (item["size"], api.sha(name)) for name, item in api.snapshots().items()}
    return {
        label: {
            "volumes": {name: item for name, item in volumes.items() if name.startswith(label)},
            "snapshots": {name: item for name, item in snapshots.items() if name.startswith(label)},
        }
        for label in labels
    }


def test_kill_under_a_stream_of_changes_loses_nothing_acknowledged(start: Callable[..., Simulator]) -> None:
    sim = start()
    initial, files = sim.counters(), set(files_of(sim))
    models = {label: Model() for label in ("alpha", "beta", "gamma")}
    url = sim.url
    for turn in range(8):
        dice = random.Random(turn)
        writers = [Writer(sim, label, 100 * turn + index, model) for index, (label, model) in enumerate(models.items())]
        goals = {label: model.done + 15 for label, model in models.items()}
        for writer in writers:
            writer.start()
        wait_until(partial(are_at_it, writers, goals))
        time.sleep(dice.random() * 0.5)
        sim.kill()
        for writer in writers:
            writer.join(60)
            assert writer.broken is None, writer.broken
        sim.restart()
        assert sim.url == url
        sim.settle()
        api = client_of(sim)
        assert not [name for name in api.snapshots() if name.startswith("*")]
        present = pictures(api, models)
        for label, model in models.items():
            found = present[label]
            after = copy.deepcopy(model)
            assert after.pending is not None
            after.pending(after)
            possible = [model.picture(), after.picture()]
            assert found in possible, explain(found, possible)
            if found == possible[1] != possible[0]:
                model.pending(model)
            model.pending = None
        statuses = api.get("VolumesGetStatus").data
        assert set(statuses) == set(api.volumes()) | set(api.snapshots())
        api.close()
    assert min(model.done for model in models.values()) > 100
    api = client_of(sim)
    for name in list(api.volumes()):
        api.do(f"VolumeDelete/{name}", {"onAttached": "detachForce"})
    for name in list(api.snapshots()):
        api.do(f"SnapshotDelete/{name}")
    sim.settle()
    assert api.volumes() == {} and api.snapshots() == {}
    end = sim.counters()
    assert (end["files"], end["bytes_stored"]) == (initial["files"], initial["bytes_stored"])
    assert set(files_of(sim)) == files
    api.close()


def explain(found: dict, possible: list[dict]) -> str:
    lines = ["neither what was acknowledged nor that with the last request:"]
    for kind in ("volumes", "snapshots"):
        for name in sorted(set(found[kind]) | set(possible[0][kind])):
            if found[kind].get(name) not in [form[kind].get(name) for form in possible]:
                lines.append(f"{name}: found {found[kind].get(name)}, possible {[form[kind].get(name) for form in possible]}")
    return "\n".join(lines[:10])


def test_everything_else_is_there_after_a_kill(start: Callable[..., Simulator]) -> None:
    sim = start()
    api, far = client_of(sim), client_of(sim, "plovdiv-a")
    api.create("vol", template="nvme", iops=7)
    api.write("vol", b"kept" * 1000)
    made = api.create(None)
    api.snap("vol", "dated", deleteAfter=1000, bind=True)
    api.do("VolumeTemplateCreate", {"name": "tier", "replication": 2})
    api.do("PlacementGroupUpdate/group", {"addDisks": [101]})
    api.do("KV/Create/bucket")
    api.do("KV/Set/bucket", {"set": {"k": "v"}})
    api.do("MaintenanceSet", {"nodeId": 2, "duration": 6000, "description": "x"})
    api.do("LocationAdd", {"id": "vr", "name": "varna"})
    sid = api.snap("vol", "exported")["snapshotGlobalId"]
    api.do("SnapshotExport", {"snapshot": "exported", "location": "plovdiv"})
    sim.background(False)
    far.do("SnapshotFromRemote", {"remoteId": sid, "remoteLocation": "sofia", "name": "copy"})
    sim.client(3, "down")
    far.create("elsewhere")
    before = state(api)
    token, ids = sim.token, {item["globalId"] for item in [*api.volumes().values(), *api.snapshots().values()]}
    sim.kill()
    with pytest.raises(LOST):
        Client(sim.url, token).get("VolumesList")
    sim.restart()
    api, far = client_of(sim), client_of(sim, "plovdiv-a")
    assert sim.token == token
    after = state(api)
    assert after.pop("generation") >= before.pop("generation")
    assert after == before
    assert api.get("ServicesList").data["clients"]["3"]["status"] == "down"
    assert api.read("vol", 0, 4000) == b"kept" * 1000
    sim.settle()
    assert far.snapshot("copy")["recoveringFromRemote"] is False and far.sha("copy") == api.sha("exported")
    assert "elsewhere" in far.volumes()
    assert api.create(None)["globalId"] not in ids and made["globalId"] in {item["globalId"] for item in api.volumes().values()}


def test_a_second_start_with_the_same_state_finds_it(tmp_path: Path) -> None:
    with Simulator(tmp_path / "state", devices="none") as first:
        client_of(first).create("vol")
        client_of(first).write("vol", b"here")
        token = first.token
    with Simulator(tmp_path / "state", devices="none") as second:
        api = client_of(second)
        assert list(api.volumes()) == ["vol"] and api.read("vol", 0, 4) == b"here"
        assert second.token == token


# Faults


def once(sim: Simulator) -> Client:
    """A client on a connection of its own, so that a cut is seen and not tried again."""
    return client_of(sim)


def test_a_transient_error_has_no_effect(sim: Simulator, api: Client) -> None:
    sim.fault("transient", "VolumeCreate", count=2)
    for _unused in range(2):
        reply = api.post("VolumeCreate", {"name": "vol", "size": MIB})
        assert reply.failed and reply.body["error"]["transient"] is True and reply.status != 200
        assert api.volumes() == {}
    api.create("vol")
    assert set(api.volumes()) == {"vol"}


def test_a_named_error(sim: Simulator, api: Client) -> None:
    sim.fault("error", "VolumeCreate", name="strangeThing", descr="quite strange", status=418)
    reply = api.post("VolumeCreate", {"name": "vol", "size": MIB})
    assert (reply.error, reply.descr, reply.status, reply.body["error"].get("transient", False)) == (
        "strangeThing",
        "quite strange",
        418,
        False,
    )
    assert api.volumes() == {}


def test_a_delay_comes_before_the_effect(sim: Simulator, api: Client) -> None:
    fault = sim.fault("delay", "VolumeCreate", seconds=2)
    replies = []
    thread = threading.Thread(target=lambda: replies.append(once(sim).post("VolumeCreate", {"name": "vol", "size": MIB})))
    started = time.monotonic()
    thread.start()
    wait_until(lambda: any(one["id"] == fault and one["hits"] for one in sim.faults()))
    present = api.volumes()
    # Whoever looks later than that may see what comes of it.
    assert present == {} or time.monotonic() - started >= 2
    thread.join()
    assert replies[0].data["ok"] is True and replies[0].seconds > 1.9
    assert set(api.volumes()) == {"vol"}


def test_calls_are_held_until_the_fault_is_lifted(sim: Simulator, api: Client) -> None:
    fault = sim.fault("held", "VolumeCreate", count=2)
    names = ("one", "other")
    threads = [threading.Thread(target=once(sim).create, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    wait_until(lambda: sim.faults()[0]["hits"] == 2, 60)
    api.create("third")
    assert set(api.volumes()) == {"third"}
    sim.lift(fault)
    for thread in threads:
        thread.join()
    assert set(api.volumes()) == {"third", *names}


@pytest.mark.parametrize("kind", [{"kind": "held"}, {"kind": "delay", "seconds": 0.3}], ids=lambda kind: kind["kind"])
def test_a_call_that_a_reset_overtakes_comes_to_nothing(sim: Simulator, api: Client, kind: dict[str, Any]) -> None:
    """What one test has left under way is not done in the next one."""
    sim.fault(**kind, call="VolumeCreate")
    ends: list[Exception] = []

    def create() -> None:
        try:
            once(sim).create("vol")
        except LOST as exc:
            ends.append(exc)

    thread = threading.Thread(target=create)
    thread.start()
    wait_until(lambda: sim.faults()[0]["hits"])
    sim.reset()
    thread.join()
    # A delay that was over before the reset, on a machine that has much else to do, was answered.
    assert (len(ends) == 1 or kind["kind"] == "delay") and api.volumes() == {}


def test_what_was_sent_before_is_heard(sim: Simulator, api: Client) -> None:
    """Also of somebody who does not wait for an answer, on a connection that the server has not seen yet."""
    body = b'{"name": "vol", "size": 512}'
    request = b"POST /ctrl/1.0/VolumeCreate HTTP/1.1\r\nHost: x\r\nAuthorization: Storpool v1:%b\r\nContent-Length: %d\r\n\r\n%b"
    for turn in range(20):
        sim.reset()
        os.kill(sim.pid, signal.SIGSTOP)
        try:
            with socket.create_connection((sim.host, sim.port)) as connection:
                connection.sendall(request % (sim.token.encode(), len(body), body))
            threading.Timer(0.01, os.kill, (sim.pid, signal.SIGCONT)).start()
            sim.heard()
        finally:
            os.kill(sim.pid, signal.SIGCONT)
        assert [one["call"] for one in sim.calls()["calls"]] == ["VolumeCreate"], turn
        assert set(api.volumes()) == {"vol"}


def test_nobody_gets_the_ports_of_one_that_was_killed(start: Callable[..., Simulator]) -> None:
    sim = start(cloudstack="4.20.2")
    addresses = [urlsplit(url) for url in (sim.url, sim.clusters["plovdiv-a"]["url"], sim.cloudstack["url"])]
    sim.kill()
    for address in addresses:
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind((address.hostname, address.port))
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((address.hostname, address.port))
    sim.restart()
    assert [urlsplit(url) for url in (sim.url, sim.clusters["plovdiv-a"]["url"], sim.cloudstack["url"])] == addresses


def test_a_cut_before_has_no_effect(sim: Simulator, api: Client) -> None:
    sim.fault("cut_before", "VolumeCreate")
    with pytest.raises(LOST):
        once(sim).create("vol")
    time.sleep(0.2)  # what happened after the cut would have happened by now
    assert api.volumes() == {}
    api.create("vol")


def test_a_cut_after_has_its_effect(sim: Simulator, api: Client) -> None:
    sim.fault("cut_after", "VolumeCreate")
    with pytest.raises(LOST):
        once(sim).create("vol")
    assert set(api.volumes()) == {"vol"}


def test_bad_json_comes_after_the_effect(sim: Simulator, api: Client) -> None:
    sim.fault("bad_json", "VolumeCreate")
    client = once(sim)
    with pytest.raises((ValueError, AssertionError)):
        json.loads(raw_body(client, {"name": "vol", "size": MIB}))
    assert set(api.volumes()) == {"vol"}


def raw_body(client: Client, body: dict) -> bytes:
    conn = http.client.HTTPConnection(client.url.removeprefix("http://"), timeout=10)
    conn.request("POST", "/ctrl/1.0/VolumeCreate", json.dumps(body), {"Authorization": f"Storpool v1:{client.token}"})
    response = conn.getresponse()
    assert response.status == 200
    data = response.read()
    conn.close()
    return data


def test_a_truncated_body_comes_after_the_effect(sim: Simulator, api: Client) -> None:
    sim.fault("truncated", "VolumeCreate")
    with pytest.raises(http.client.IncompleteRead) as caught:
        raw_body(once(sim), {"name": "vol", "size": MIB})
    assert caught.value.partial and caught.value.expected
    assert abs(len(caught.value.partial) - caught.value.expected) <= 2
    assert set(api.volumes()) == {"vol"}


def test_a_slow_body_comes_after_the_effect(sim: Simulator, api: Client) -> None:
    sim.fault("slow_body", "VolumeCreate", seconds=2)
    replies = []
    thread = threading.Thread(target=lambda: replies.append(once(sim).post("VolumeCreate", {"name": "vol", "size": MIB})))
    started = time.monotonic()
    thread.start()
    wait_until(lambda: "vol" in api.volumes())
    assert not replies or time.monotonic() - started >= 2
    thread.join()
    assert replies[0].data["ok"] is True and replies[0].seconds > 1.8


def test_a_status_comes_with_html_and_without_effect(sim: Simulator, api: Client) -> None:
    sim.fault("status", "VolumeCreate", status=503)
    reply = api.raw("POST", "/ctrl/1.0/VolumeCreate", b'{"name": "vol", "size": 512}')
    assert reply.status == 503 and isinstance(reply.body, bytes) and b"<" in reply.body
    assert "html" in {key.lower(): value for key, value in reply.headers.items()}["content-type"]
    assert api.volumes() == {}


def test_a_client_goes_down_when_the_call_arrives(sim: Simulator, api: Client) -> None:
    api.create("vol")
    sim.fault("client_down", "VolumesReassignWait", client=2)
    assert api.get("ServicesList").data["clients"]["2"]["status"] == "running"
    reply = api.post("VolumesReassignWait", {"reassign": [{"volume": "vol", "rw": [2]}], "attachTimeout": 1})
    assert reply.seconds > 0.8
    assert api.get("ServicesList").data["clients"]["2"]["status"] == "down"
    sim.client(2, "running")
    wait_until(lambda: api.get("ServicesList").data["clients"]["2"]["status"] == "running")


def test_skip_and_count(sim: Simulator, api: Client) -> None:
    sim.fault("error", "VolumeCreate", skip=2, count=2, name="x", descr="y")
    failed = [api.post("VolumeCreate", {"size": 512}).failed for _unused in range(6)]
    assert failed == [False, False, True, True, False, False]
    sim.clear_faults()
    sim.fault("error", "VolumesList", count=-1, name="x", descr="y")
    assert all(api.get("VolumesList").failed for _unused in range(8))
    sim.clear_faults()
    assert len(api.volumes()) == 4


@pytest.mark.parametrize(("which", "read", "write"), [("read", True, False), ("write", False, True), ("*", True, True)])
def test_classes_of_calls(sim: Simulator, api: Client, which: str, read: bool, write: bool) -> None:
    api.create("vol")
    sim.fault("transient", which, count=-1)
    assert [api.get(query).failed for query in ("VolumesList", "Volume/vol", "ServicesList")] == [read] * 3
    changes = (("VolumeCreate", {"name": "new", "size": 512}), ("VolumeUpdate/vol", {"tags": {"a": "b"}}), ("VolumeDelete/vol", {}))
    assert [api.post(query, body).failed for query, body in changes] == [write] * 3
    assert api.at("MultiCluster/").get("VolumesList").failed is read
    sim.clear_faults()
    assert set(api.volumes()) == ({"vol"} if write else {"new"})


def test_a_fault_for_one_object(sim: Simulator, api: Client) -> None:
    api.create("a")
    api.create("b")
    sim.fault("error", "VolumeUpdate", object="b", count=-1, name="x", descr="y")
    assert not api.post("VolumeUpdate/a", {"iops": 5}).failed
    assert api.post("VolumeUpdate/b", {"iops": 5}).failed
    assert (api.volume("a")["iops"], api.volume("b")["iops"]) == (5, "-")
    sim.clear_faults()
    sim.fault("error", "VolumeCreate", object="c", count=-1, name="x", descr="y")
    assert api.post("VolumeCreate", {"name": "c", "size": 512}).failed
    assert not api.post("VolumeCreate", {"name": "d", "size": 512}).failed


def test_a_fault_for_one_cluster_is_told_in_the_log(sim: Simulator, api: Client) -> None:
    sim.fault("transient", "VolumesList", count=-1, cluster="sofia-b")
    other = client_of(sim, "sofia-b")
    sim.reset_calls()
    assert [client.get("VolumesList").failed for client in (api, other)] == [False, True]
    assert [(item["cluster"], item["fault"]) for item in sim.calls()["calls"]] == [("sofia-a", None), ("sofia-b", "transient")]
    other.close()


def test_faults_are_listed_with_their_hits_and_removed(sim: Simulator, api: Client) -> None:
    one = sim.fault("transient", "VolumesList", count=5)
    two = sim.fault("transient", "SnapshotsList")
    assert one != two
    for _unused in range(3):
        assert api.get("VolumesList").failed
    listed = api.sim("GET", "faults")
    listed = listed["faults"] if isinstance(listed, dict) else listed
    assert {item["id"]: item["hits"] for item in listed} == {one: 3, two: 0}
    api.sim("DELETE", f"faults/{one}")
    assert not api.get("VolumesList").failed and api.get("SnapshotsList").failed
    sim.fault("transient", "VolumesList", count=-1)
    api.sim("DELETE", "faults")
    assert not api.get("VolumesList").failed
    assert api.raw("POST", "/_sim/faults", b'{"kind": "nonsense", "call": "*"}', {}).status >= 400
    assert not api.get("VolumesList").failed


def test_faults_act_on_one_connection_only(sim: Simulator, api: Client) -> None:
    """A slow answer to one does not hold up the others."""
    fault = sim.fault("held", "VolumeCreate")
    thread = threading.Thread(target=lambda: once(sim).create("slow"))
    thread.start()
    wait_until(lambda: sim.faults()[0]["hits"])
    for _unused in range(20):
        assert api.get("VolumesList").data == []
    sim.lift(fault)
    thread.join()
    assert set(api.volumes()) == {"slow"}


def test_faults_from_a_file_act_from_the_start(tmp_path: Path, start: Callable[..., Simulator]) -> None:
    path = tmp_path / "faults.json"
    path.write_text(
        json.dumps(
            [
                {"call": "VolumesList", "kind": "error", "name": "early", "descr": "bird", "count": 2},
                {"call": "VolumeCreate", "kind": "cut_after"},
            ]
        )
    )
    sim = start(faults=path)
    api = client_of(sim)
    assert [api.get("VolumesList").failed for _unused in range(3)] == [True, True, False]
    with pytest.raises(LOST):
        once(sim).create("vol")
    assert set(api.volumes()) == {"vol"}


# The call log


def test_the_call_log(sim: Simulator, api: Client) -> None:
    sim.reset_calls()
    assert sim.calls() == {"reads": 0, "writes": 0, "calls": []}
    api.create("vol", size=MIB)
    api.get("Volume/vol")
    api.post("VolumeDelete/none")
    api.at("MultiCluster/").get("VolumesList")
    api.at("RemoteCommand/sofia-b/").get("SnapshotsList")
    client_of(sim, "sofia-b").get("VolumesGetStatus")
    log = sim.calls()
    assert (log["reads"], log["writes"]) == (4, 2)
    calls = log["calls"]
    assert [item["call"] for item in calls] == [
        "VolumeCreate",
        "Volume",
        "VolumeDelete",
        "VolumesList",
        "SnapshotsList",
        "VolumesGetStatus",
    ]
    assert [item["write"] for item in calls] == [True, False, True, False, False, False]
    assert [item["n"] for item in calls] == sorted({item["n"] for item in calls})
    assert calls[0]["body"] == {"name": "vol", "size": MIB} and calls[0]["method"] == "POST" and calls[0]["status"] == 200
    assert calls[0]["path"].endswith("VolumeCreate") and calls[0]["cluster"] == "sofia-a" and calls[0]["error"] is None
    assert calls[2]["error"] == "objectDoesNotExist" and calls[2]["status"] >= 400
    assert "MultiCluster/VolumesList" in calls[3]["path"] and "RemoteCommand/sofia-b/SnapshotsList" in calls[4]["path"]
    assert calls[5]["cluster"] == "sofia-b"
    assert api.sim("GET", "calls?summary=1") == {"reads": 4, "writes": 2}
    assert sim.calls()["calls"] == calls
    sim.reset_calls()
    assert sim.calls() == {"reads": 0, "writes": 0, "calls": []}


def test_reset_goes_back_to_the_first_start(sim: Simulator, api: Client, far: Client) -> None:
    first = [
        api.get(query).data
        for query in ("VolumeTemplatesList", "PlacementGroupsList", "LocationsList", "ClustersList", "KV", "MaintenanceList")
    ]
    files = sim.counters()["files"]
    api.create("vol")
    api.write("vol", b"x" * 10000)
    api.snap("vol", "snap")
    far.create("far")
    api.do("VolumeTemplateCreate", {"name": "tier", "replication": 2})
    api.do("KV/Create/bucket")
    api.do("PlacementGroupUpdate/group", {"addDisks": [101]})
    sim.client(1, "down")
    sim.reset()
    assert api.volumes() == api.snapshots() == far.volumes() == {}
    assert [
        api.get(query).data
        for query in ("VolumeTemplatesList", "PlacementGroupsList", "LocationsList", "ClustersList", "KV", "MaintenanceList")
    ] == first
    assert api.get("ServicesList").data["clients"]["1"]["status"] == "running"
    assert sim.counters()["files"] == files


# The command


def command(tmp_path: Path, *flags: str) -> tuple[subprocess.Popen, dict]:
    process = subprocess.Popen(
        [sys.executable, "-m", "storpool_simulator", "--state", str(tmp_path / "state"), "--devices", "none", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())


def end(process: subprocess.Popen) -> int:
    process.send_signal(signal.SIGTERM)
    code = process.wait(60)
    if process.stdout is not None:
        process.stdout.close()
    return code


def test_the_command_says_where_it_listens_and_ends_cleanly(tmp_path: Path) -> None:
    env = tmp_path / "env"
    process, ready = command(tmp_path, "--token", "42", "--env-file", str(env))
    try:
        assert ready["ready"] is True and ready["token"] == "42"
        assert {name: (item["id"], item["location"]) for name, item in ready["clusters"].items()} == {
            "sofia-a": ("sf.a", "sofia"),
            "sofia-b": ("sf.b", "sofia"),
            "plovdiv-a": ("pd.a", "plovdiv"),
        }
        assert len({item["url"] for item in ready["clusters"].values()}) == 3
        assert all(item["url"].startswith("http://127.0.0.1:") for item in ready["clusters"].values())
        assert ready["control"].endswith("/_sim") and ready["pid"] == process.pid
        for item in ready["clusters"].values():
            assert Client(item["url"], "42").get("VolumesList").data == []
        port = ready["clusters"]["sofia-a"]["url"].rsplit(":", 1)[1]
        assert set(env.read_text().split("\n")) - {""} == {
            "export SP_API_HTTP_HOST=127.0.0.1",
            f"export SP_API_HTTP_PORT={port}",
            "export SP_AUTH_TOKEN=42",
        }
        assert env.stat().st_mode & 0o777 == 0o600
    finally:
        code = end(process)
    assert code in (0, -signal.SIGTERM)
    with pytest.raises(LOST):
        Client(ready["clusters"]["sofia-a"]["url"], "42").get("VolumesList")


def test_ports_follow_each_other(tmp_path: Path) -> None:
    base = free_ports(3)
    process, ready = command(tmp_path, "--port", str(base))
    try:
        assert [item["url"] for item in ready["clusters"].values()] == [f"http://127.0.0.1:{base + index}" for index in range(3)]
    finally:
        end(process)


def test_a_wrong_flag_is_refused(tmp_path: Path) -> None:
    for flags in (
        ["--assume", "nonsense=1"],
        ["--assume", "atomic_reassign=maybe"],
        ["--devices", "magic"],
        ["--faults", str(tmp_path / "none")],
    ):
        result = subprocess.run(
            [sys.executable, "-m", "storpool_simulator", "--state", str(tmp_path / "state"), *flags],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert result.returncode != 0 and result.stderr.strip() and "Traceback" not in result.stderr, flags
        assert '"ready"' not in result.stdout
