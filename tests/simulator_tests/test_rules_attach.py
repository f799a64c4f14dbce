# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules about attachments and client nodes."""

from __future__ import annotations

import threading
import time

import pytest
from storpool_simulator.testing import Simulator

from .conftest import client_of
from .support import Client, Reply, state, wait_until


@pytest.mark.rule("reassign")
def test_one_item_combines_detach_rw_and_ro(api: Client) -> None:
    api.create("vol")
    api.attach("vol", rw=[1], ro=[2])
    assert api.attached("vol") == {1: "rw", 2: "ro"}
    api.attach("vol", detach=[1], rw=[3], ro=[11])
    assert api.attached("vol") == {2: "ro", 3: "rw", 11: "ro"}
    api.attach("vol", detach="all", rw=[12])
    assert api.attached("vol") == {12: "rw"}
    api.attach("vol", detach="all", rw=[12])
    assert api.attached("vol") == {12: "rw"}
    api.attach("vol", detach="all")
    assert api.attached("vol") == {}


@pytest.mark.rule("reassign")
def test_two_clients_may_write_at_once_and_rights_change(api: Client) -> None:
    gid = api.create("vol", tags={"pve": "x"})["globalId"]
    api.attach("vol", rw=[1])
    api.attach("vol", rw=[2])
    assert api.attached("vol") == {1: "rw", 2: "rw"}
    api.attach("vol", ro=[1])
    assert api.attached("vol") == {1: "ro", 2: "rw"}
    api.attach("vol", detach=[1])
    assert api.attached("vol") == {2: "rw"}
    (entry,) = api.attachments("vol")
    assert (entry["globalId"], entry["snapshot"], entry["tags"]) == (gid, False, {"pve": "x"})


@pytest.mark.rule("reassign")
def test_both_calls_take_the_bare_list(api: Client) -> None:
    for name in ("a", "b"):
        api.create(name)
    api.do("VolumesReassign", [{"volume": "a", "rw": [1]}, {"volume": "b", "ro": [1]}])
    assert (api.attached("a"), api.attached("b")) == ({1: "rw"}, {1: "ro"})
    positions = [item["pos"] for item in api.attachments()]
    assert len(set(positions)) == 2
    api.do("VolumesReassignWait", [{"volume": "a", "detach": [1]}, {"volume": "b", "detach": "all"}])
    assert api.attachments() == []


@pytest.mark.rule("reassign")
def test_a_list_with_one_fault_changes_nothing(api: Client, sim: Simulator) -> None:
    for name in ("a", "b"):
        api.create(name)
    api.snap("b", "snap")
    api.attach("b", rw=[2])
    sim.open("b", 2)
    before = state(api)
    first = {"volume": "a", "rw": [1]}
    for second, error in (
        ({"volume": "missing", "rw": [1]}, "objectDoesNotExist"),
        ({"snapshot": "missing", "ro": [1]}, "objectDoesNotExist"),
        ({"volume": "b", "rw": [99]}, "invalidParam"),
        ({"volume": "b", "detach": "all"}, "busy"),
        ({"snapshot": "snap", "rw": [1]}, "invalidParam"),
    ):
        for query, body in (("VolumesReassign", [first, second]), ("VolumesReassignWait", {"reassign": [first, second]})):
            assert api.post(query, body).error == error, (query, second)
            assert state(api) == before, (query, second)


@pytest.mark.rule("reassign")
def test_an_unregistered_client_is_named_so(api: Client) -> None:
    api.create("vol")
    for query in ("VolumesReassign", "VolumesReassignWait"):
        for item in ({"volume": "vol", "rw": [4]}, {"volume": "vol", "ro": [99]}):
            reply = api.post(query, [item])
            assert reply.error == "invalidParam" and "No such client registered" in reply.descr
    assert api.attachments() == []


@pytest.mark.rule("reassign-idempotent")
def test_attaching_and_detaching_twice_succeed(api: Client) -> None:
    api.create("vol")
    api.snap("vol", "snap")
    for _unused in range(2):
        api.attach("vol", rw=[1])
        api.attach("snap", snapshot=True, ro=[1])
    entries = api.attachments()
    assert len(entries) == 2
    api.attach("vol", rw=[1])
    assert api.attachments() == entries
    for _unused in range(2):
        api.attach("vol", detach=[1])
        api.attach("vol", detach="all")
        api.attach("snap", snapshot=True, detach=[1, 2])
    assert api.attachments() == []


@pytest.mark.rule("reassign-force")
def test_an_open_volume_is_detached_only_by_force(api: Client, sim: Simulator) -> None:
    api.create("vol")
    api.attach("vol", rw=[1, 2])
    sim.open("vol", 1)
    for more in ({"detach": [1]}, {"detach": "all"}, {"detach": [1], "force": False}, {"detach": "all", "rw": [3]}):
        for query in ("VolumesReassign", "VolumesReassignWait"):
            reply = api.post(query, [{"volume": "vol", **more}])
            assert reply.error == "busy" and "is open at" in reply.descr, more
            assert api.attached("vol") == {1: "rw", 2: "rw"}
    api.attach("vol", detach=[2])
    api.attach("vol", detach=[1], force=True)
    assert api.attached("vol") == {}
    api.attach("vol", rw=[1])
    api.attach("vol", detach=[1])
    api.attach("vol", rw=[1])
    sim.open("vol", 1)
    sim.open("vol", 1, open=False)
    api.attach("vol", detach=[1])
    assert api.attached("vol") == {}


@pytest.mark.rule("reassign-force")
def test_exclusive_take_over_needs_force_while_the_old_host_holds_it(api: Client, sim: Simulator) -> None:
    api.create("vol")
    api.attach("vol", rw=[1])
    sim.open("vol", 1)
    assert api.post("VolumesReassignWait", [{"volume": "vol", "detach": "all", "rw": [2]}]).error == "busy"
    api.attach("vol", detach="all", rw=[2], force=True)
    assert api.attached("vol") == {2: "rw"}


@pytest.mark.rule("reassign-wait", "client-wait")
def test_reassign_wait_returns_when_the_client_caught_up(api: Client, sim: Simulator) -> None:
    api.create("vol")
    wanted = api.attach("vol", rw=[1, 11])["generation"]
    for entry in api.get("ClientsConfigDump").data:
        if entry["id"] in (1, 11):
            assert entry["clientGeneration"] >= wanted and entry["configStatus"] == "ok"


@pytest.mark.rule("reassign-wait")
def test_the_timeout_limits_the_wait_for_a_client_that_is_down(api: Client, sim: Simulator) -> None:
    api.create("vol")
    sim.client(2, "down")
    # Whoever is not answered before the client comes back is never answered here: it does not come back.
    at_once = api.post("VolumesReassignWait", {"reassign": [{"volume": "vol", "rw": [2]}], "attachTimeout": 0})
    assert at_once.data["ok"] is True
    api.post("VolumesReassign", [{"volume": "vol", "detach": "all"}])
    limited = api.post("VolumesReassignWait", {"reassign": [{"volume": "vol", "rw": [2]}], "attachTimeout": 1})
    assert limited.seconds > 0.8
    unwaited = api.post("VolumesReassign", [{"volume": "vol", "ro": [2]}])
    assert unwaited.data["ok"] is True
    # 60 s are longer than a client waits for an answer here.
    healthy = api.post("VolumesReassignWait", {"reassign": [{"volume": "vol", "rw": [3]}], "attachTimeout": 60})
    assert healthy.data["ok"] is True


@pytest.mark.rule("reassign-wait")
def test_without_a_timeout_the_wait_has_no_limit(api: Client, sim: Simulator) -> None:
    api.create("vol")
    sim.client(2, "down")
    answers: list[Reply] = []
    waiter = client_of(sim)
    thread = threading.Thread(target=lambda: answers.append(waiter.post("VolumesReassignWait", [{"volume": "vol", "rw": [2]}])))
    thread.start()
    time.sleep(0.8)
    assert not answers and thread.is_alive()
    assert api.get("VolumesList").status == 200
    sim.client(2, "running")
    thread.join(60)
    assert answers and answers[0].data["ok"] is True
    assert api.attached("vol") == {2: "rw"}
    waiter.close()


@pytest.mark.rule("snapshot-ro")
def test_snapshots_attach_read_only(api: Client) -> None:
    api.create("vol")
    sid = api.snap("vol", "snap")["snapshotGlobalId"]
    for query in ("VolumesReassign", "VolumesReassignWait"):
        assert api.post(query, [{"snapshot": "snap", "rw": [1]}]).error == "invalidParam"
        assert api.post(query, [{"volume": "snap", "rw": [1]}]).failed
    assert api.attachments() == []
    api.attach("snap", snapshot=True, ro=[1, 12])
    entries = api.attachments("snap")
    assert {(item["client"], item["rights"], item["snapshot"], item["globalId"]) for item in entries} == {
        (1, "ro", True, sid),
        (12, "ro", True, sid),
    }


@pytest.mark.rule("client-limit")
def test_a_client_holds_1024_attachments(api: Client) -> None:
    names = [f"v{index}" for index in range(1025)]
    for name in names:
        api.create(name, size=512)
    api.do("VolumesReassign", [{"volume": name, "rw": [11]} for name in names[:1023]])
    api.attach(names[1023], ro=[11])
    positions = [item["pos"] for item in api.attachments() if item["client"] == 11]
    assert sorted(positions) == list(range(1024))
    reply = api.post("VolumesReassign", [{"volume": names[1024], "rw": [11]}])
    assert reply.error == "invalidParam"
    assert api.post("VolumesReassignWait", [{"volume": names[1024], "rw": [11]}]).error == "invalidParam"
    assert len(api.attachments()) == 1024
    api.attach(names[1024], rw=[12])
    freed = api.attachments(names[7])[0]["pos"]
    api.attach(names[7], detach=[11])
    api.attach(names[1024], rw=[11])
    assert [item["pos"] for item in api.attachments(names[1024]) if item["client"] == 11] == [freed]


@pytest.mark.rule("client-limit")
def test_the_position_stays_while_attached(api: Client) -> None:
    for name in ("a", "b", "c"):
        api.create(name)
        api.attach(name, rw=[1])
    before = {item["volume"]: item["pos"] for item in api.attachments()}
    api.attach("b", detach=[1])
    api.do("VolumeUpdate/c", {"size": 4 * 1024 * 1024})
    api.attach("c", ro=[1])
    after = {item["volume"]: item["pos"] for item in api.attachments()}
    assert after == {"a": before["a"], "c": before["c"]}


@pytest.mark.rule("client-wait")
def test_client_config_wait_blocks_until_the_client_caught_up(api: Client, sim: Simulator) -> None:
    clients = {item["id"] for item in api.get("ClientConfigWait/1").data}
    assert clients == {1, 2, 3, 11, 12, 13} == {item["id"] for item in api.get("ClientsConfigDump").data}
    assert all(item["delay"] == 0 for item in api.get("ClientsConfigDump").data)
    sim.client(3, "down")
    api.create("vol")
    api.attach("vol", rw=[1])
    wanted = api.generation()
    answers: list[Reply] = []
    waiter = client_of(sim)
    thread = threading.Thread(target=lambda: answers.append(waiter.get("ClientConfigWait/3")))
    thread.start()
    time.sleep(0.6)
    assert not answers and thread.is_alive()
    dump = {item["id"]: item for item in api.get("ClientsConfigDump").data}
    assert dump[3]["configStatus"] == "down" and dump[3]["clientGeneration"] < wanted
    sim.client(3, "running")
    thread.join(60)
    entry = next(item for item in answers[0].data if item["id"] == 3)
    assert entry["clientGeneration"] >= wanted and entry["configStatus"] == "ok"
    waiter.close()


@pytest.mark.rule("client-wait")
def test_waiting_for_a_client_that_does_not_exist_is_refused(api: Client) -> None:
    assert api.get("ClientConfigWait/99").failed  # at once: nobody would ever end that wait


@pytest.mark.rule("reassign-force")
def test_a_client_that_went_down_keeps_its_attachments_until_forced(api: Client, sim: Simulator) -> None:
    api.create("vol")
    api.attach("vol", rw=[2])
    sim.client(2, "down")
    services = api.get("ServicesList").data["clients"]["2"]
    assert (services["status"], services["startTime"]) == ("down", None)
    assert api.attached("vol") == {2: "rw"}
    reply = api.post(
        "VolumesReassignWait", {"reassign": [{"volume": "vol", "detach": "all", "rw": [1], "force": True}], "attachTimeout": 60}
    )
    assert not reply.failed  # nor did it wait: a client here gives up after 30 s
    assert api.attached("vol") == {1: "rw"}
    sim.client(2, "running")
    wait_until(lambda: api.get("ServicesList").data["clients"]["2"]["status"] == "running")
    assert api.attached("vol") == {1: "rw"}
