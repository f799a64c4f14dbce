# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The client against servers that keep connections, drop them, lie, hang and vanish. What is sent is checked request by request."""

from __future__ import annotations

import json
import socket
import threading
import time

import pytest
from ansible_collections.storpool.cloudstack.plugins.module_utils import _http, _storpool
from ansible_collections.storpool.cloudstack.plugins.module_utils._errors import (
    AnswerLost,
    ApiError,
    Unauthorized,
    Unreachable,
    WriteInCheckMode,
)
from ansible_collections.storpool.cloudstack.plugins.module_utils._forms import Form
from ansible_collections.storpool.cloudstack.plugins.module_utils._options import StorPoolConnection
from transcript import GET, POST, Server, closed_port, until

TOKEN = "1556129910218014736"
LIST = "/ctrl/1.0/VolumesList"
CREATE = "/ctrl/1.0/VolumeCreate"
PASSING = {"name": "busyNow", "descr": "try again", "transient": True}
REFUSAL = {"name": "invalidParam", "descr": "no"}


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self):
        self.now = 0.0
        self.slept = []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


def connect(*servers, timeout=20, clock=None, cluster=None, multi=False, parallel=8):
    """A client of these servers (or ports)."""
    hosts = tuple(("127.0.0.1", one if isinstance(one, int) else one.port) for one in servers)
    sources = {
        "sp_auth_token": "option sp_auth_token",
        "sp_api_http_host": "profile lab of /x.ini",
        "sp_api_http_port": "option sp_api_http_port",
    }
    client = _storpool.StorPool(StorPoolConnection(hosts, TOKEN, cluster, multi, timeout, sources), parallel)
    if clock is not None:
        client.http._clock, client.http._sleep = clock, clock.sleep
    return client


@pytest.fixture(autouse=True)
def answers_of_any_form(monkeypatch):
    """These tests are about the way of an answer; what is in it is looked at by tests/unit/test_forms.py."""
    monkeypatch.setattr(Form, "misfit", lambda _form, _found: None)


@pytest.fixture
def clock():
    return Clock()


def create(client, name="v"):
    return client.send(_storpool.volume_create({"name": name, "size": 512}))


# -- connections


def test_what_is_sent():
    with Server(GET(LIST, data=[1]), POST(CREATE, {"name": "v", "size": 512}, data={"ok": True})) as server:
        client = connect(server)
        assert client.volumes() == [1]
        assert create(client) == {"ok": True}
    for request in server.seen:
        assert request.headers["authorization"] == f"Storpool v1:{TOKEN}"
        assert request.headers["host"] == f"127.0.0.1:{server.port}"
        assert "cookie" not in request.headers


def test_one_connection_serves_many_calls():
    with Server(*(GET(LIST, data=[]) for _unused in range(20)), *(POST(CREATE, data={}) for _unused in range(20))) as server:
        client = connect(server)
        for _unused in range(20):
            client.volumes()
        for _unused in range(20):
            create(client)
    assert server.connections == 1
    assert client.http.stats.as_dict() == {"reads": 20, "writes": 20, "attempts": 40, "waited": 0.0}


@pytest.mark.parametrize("answer", [{"error": REFUSAL, "status": 500}, {"error": REFUSAL}, {"body": b"<html>", "status": 503}])
def test_errors_keep_the_connection(answer, clock):
    with Server(GET(LIST, **answer), *(GET(LIST, data=[]) for _unused in range(3))) as server:
        client = connect(server, clock=clock)
        for _unused in range(3):
            try:
                client.volumes()
            except ApiError:
                pass
        while server.script:
            client.volumes()
    assert server.connections == 1


def test_closed_connections_are_made_anew():
    with Server(GET(LIST, data=[1], act="close"), GET(LIST, data=[2])) as server:
        client = connect(server)
        assert client.volumes() == [1]
        until(lambda: server.ended == 1)
        time.sleep(2 * _http.RESTED)
        assert client.volumes() == [2]
    assert server.connections == 2
    assert client.http.stats.retries == 0


def test_threads_share_a_client():
    count = 40
    with Server(*(GET(LIST, data=[]) for _unused in range(count))) as server:
        client = connect(server, parallel=4)
        threads = [threading.Thread(target=lambda: [client.volumes() for _unused in range(count // 4)]) for _unused in range(4)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
    assert server.connections <= 4
    assert client.http.stats.reads == count


def test_chunked_answers_and_a_big_one():
    big = [{"name": f"v{number}", "text": "x" * 100} for number in range(20000)]
    with Server(GET(LIST, data=[1], chunked=True), GET(LIST, data=big), GET(LIST, data=big, chunked=True)) as server:
        client = connect(server)
        assert client.volumes() == [1]
        assert client.volumes() == big
        assert client.volumes() == big
    assert server.connections == 1


def test_proxies_of_the_environment_are_not_used(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port()}")
    with Server(GET(LIST, data=[])) as server:
        connect(server).volumes()


# -- failover, retries, deadline


def test_failover_to_the_next_endpoint_without_a_pause(clock):
    with Server(GET(LIST, data=[1]), GET(LIST, data=[2])) as server:
        client = connect(closed_port(), server, clock=clock)
        assert client.volumes() == [1]
        assert client.volumes() == [2]  # the endpoint that answered last is asked first
    assert clock.slept == []
    assert client.http.stats.as_dict() == {"reads": 2, "writes": 0, "attempts": 3, "waited": 0.0}


def test_failover_of_a_read_that_was_cut(clock):
    with Server(GET(LIST, act="cut")) as first, Server(GET(LIST, data=[2])) as second:
        assert connect(first, second, clock=clock).volumes() == [2]
    assert clock.slept == []


def test_failover_of_a_write_that_was_never_sent(clock):
    with Server(POST(CREATE, data={"ok": True})) as server:
        assert create(connect(closed_port(), server, clock=clock)) == {"ok": True}


def test_failover_back(clock):
    with Server(GET(LIST, data=[1]), GET(LIST, data=[3])) as first, Server(GET(LIST, act="cut"), GET(LIST, data=[2])) as second:
        client = connect(first, second, clock=clock)
        client.http._preferred = 1
        assert client.volumes() == [1]
        client.http._preferred = 1
        assert client.volumes() == [2]
        client.http._preferred = 0
        assert client.volumes() == [3]


def test_an_error_is_an_answer_and_no_reason_to_fail_over():
    with Server(GET(LIST, error=REFUSAL)) as first, Server() as second:
        with pytest.raises(ApiError):
            connect(first, second).volumes()


@pytest.mark.parametrize(
    "answer",
    [
        {"error": PASSING, "status": 500},
        {"error": PASSING, "status": 200},
        {"status": 429, "body": b"slow down"},
        {"status": 429, "error": REFUSAL},
        {"status": 429, "body": b"{}"},
        {"status": 503, "body": b"<html>Service Unavailable</html>"},
        {"status": 502, "body": b""},
        {"status": 500, "body": b"{}"},
        {"status": 200, "body": b"{}"},
        {"status": 200, "body": b"[]"},
        {"status": 200, "body": b'{"generation": 1, "da'},
        {"status": 200, "body": b"\xff\xfe"},
        {"act": "truncate", "data": ["x" * 1000]},
        {"act": "truncate", "data": ["x" * 1000], "chunked": True},
        {"act": "cut"},
    ],
    ids=str,
)
def test_reads_are_repeated_with_growing_pauses(answer, clock):
    with Server(*(GET(LIST, **answer) for _unused in range(3)), GET(LIST, data=["at last"])) as server:
        client = connect(server, clock=clock)
        assert client.volumes() == ["at last"]
    assert client.http.stats.as_dict() == {"reads": 1, "writes": 0, "attempts": 4, "waited": round(sum(clock.slept), 1)}
    assert len(clock.slept) == 3
    for number, pause in enumerate(clock.slept):
        longest = _http.BACKOFF_FIRST * 2**number
        assert longest / 2 <= pause <= longest


def test_pauses_are_capped_and_differ(clock):
    with Server(*(GET(LIST, error=PASSING) for _unused in range(12)), GET(LIST, data=[])) as server:
        connect(server, clock=clock, timeout=600).volumes()
    assert max(clock.slept) <= _http.BACKOFF_LONGEST
    assert len(set(clock.slept[6:])) > 1


@pytest.mark.parametrize("answer", [{"error": PASSING, "status": 500}, {"status": 429, "body": b""}])
def test_a_write_that_the_server_put_off_is_sent_again(answer, clock):
    with Server(POST(CREATE, **answer), POST(CREATE, {"name": "v", "size": 512}, data={"ok": True})) as server:
        client = connect(server, clock=clock)
        assert create(client) == {"ok": True}
    assert client.http.stats.as_dict()["attempts"] == 2


def test_transient_errors_end_with_the_deadline(clock):
    with Server(*(GET(LIST, error=PASSING) for _unused in range(100))) as server:
        client = connect(server, clock=clock, timeout=20)
        with pytest.raises(ApiError) as caught:
            client.volumes()
        server.script.clear()
    assert clock.now <= 20
    assert caught.value.name == "busyNow"
    assert caught.value.parts["attempts"] == len(server.seen) > 5


def test_nobody_listens(clock):
    client = connect(closed_port(), clock=clock)
    with pytest.raises(Unreachable) as caught:
        client.volumes()
    assert caught.value.parts["attempts"] == _http.CONNECT_ATTEMPTS
    assert "cannot be reached: Connection refused; gave up after 6 attempts" in str(caught.value)
    assert "check sp_api_http_port (from option sp_api_http_port) and sp_api_http_host (from profile lab of /x.ini)" in str(caught.value)
    assert f"StorPool at 127.0.0.1:{client.connection.hosts[0][1]}" in str(caught.value)


def test_nobody_listens_anywhere(clock):
    ports = [closed_port(), closed_port(), closed_port()]
    with pytest.raises(Unreachable) as caught:
        create(connect(*ports, clock=clock))
    assert caught.value.parts["attempts"] == 3 * _http.CONNECT_ATTEMPTS
    assert len(clock.slept) == _http.CONNECT_ATTEMPTS - 1  # one pause a round


def test_a_host_that_does_not_exist(clock):
    client = connect(closed_port(), clock=clock)
    client.http.endpoints = [_http.Endpoint("http://no-such-host.invalid:81", "StorPool at no-such-host.invalid:81")]
    with pytest.raises(Unreachable, match=r"StorPool at no-such-host\.invalid:81 cannot be reached"):
        client.volumes()


def test_a_server_that_never_answers():
    with Server(GET(LIST, act="hang")) as server:
        with pytest.raises(Unreachable, match="did not answer within"):
            connect(server, timeout=0.4).volumes()


def test_a_server_that_drips_its_answer_does_not_outlast_the_deadline():
    with Server(GET(LIST, data=["x" * 50], act="drip", seconds=40)) as server:
        with pytest.raises(Unreachable):  # that it ends at all proves that it did not wait for the end
            connect(server, timeout=0.5).volumes()


def test_what_the_server_may_wait_is_added_to_the_deadline():
    path = "/ctrl/1.0/VolumesReassignWait"
    body = {"reassign": [{"volume": "v", "rw": [1]}], "attachTimeout": 60}
    with Server(POST(path, body, data={"ok": True}, act="drip", seconds=1)) as server:
        assert connect(server, timeout=0.3).send(_storpool.reassign_wait([{"volume": "v", "rw": [1]}], 60)) == {"ok": True}


# -- writes


@pytest.mark.parametrize(
    "answer",
    [
        {"act": "cut"},
        {"act": "truncate", "data": {"ok": True}},
        {"act": "truncate", "data": {"ok": True}, "chunked": True},
        {"body": b"oops"},
        {"body": b'{"generation": 1}'},
        {"body": b"[]"},
        {"body": b""},
        {"status": 502, "body": b"<html>Bad Gateway</html>"},
        {"status": 503, "body": b""},
        {"status": 500, "body": b"{}"},
    ],
    ids=str,
)
def test_a_write_whose_answer_is_lost_is_never_sent_again(answer, clock):
    with Server(POST(CREATE, **answer)) as first, Server() as second:
        client = connect(first, second, clock=clock)
        with pytest.raises(AnswerLost) as caught:
            create(client)
    assert client.http.stats.as_dict()["attempts"] == 1
    assert "StorPool at 127.0.0.1" in str(caught.value)


def test_a_write_that_times_out_is_never_sent_again():
    with Server(POST(CREATE, act="hang")) as server:
        with pytest.raises(AnswerLost, match="did not answer") as caught:
            create(connect(server, timeout=0.3))
    assert caught.value.parts["under_way"] is None  # its name can be taken only once


def test_a_write_that_can_be_done_twice_tells_that_the_server_may_be_at_it():
    with Server(POST("/ctrl/1.0/VolumeCreate", act="hang")) as server:
        with pytest.raises(AnswerLost) as caught:
            connect(server, timeout=0.3).send(_storpool.volume_create({"size": 512}))
    assert caught.value.as_dict()["under_way"] is True


def test_a_write_with_a_dripping_answer_is_never_sent_again():
    with Server(POST(CREATE, data={"x": "y" * 50}, act="drip", seconds=40)) as server:
        with pytest.raises(AnswerLost):
            create(connect(server, timeout=0.4))


def test_a_write_that_is_refused_is_over():
    with Server(POST(CREATE, error=REFUSAL, status=400)) as server:
        with pytest.raises(ApiError) as caught:
            create(connect(server))
    assert str(caught.value) == "VolumeCreate on v failed: invalidParam: no"
    assert caught.value.as_dict() == {
        "type": "api",
        "message": "VolumeCreate on v failed: invalidParam: no",
        "name": "invalidParam",
        "description": "no",
        "transient": False,
        "status": 400,
        "call": "VolumeCreate",
        "object": "v",
    }


def test_check_mode_refuses_to_write():
    with Server(GET(LIST, data=[])) as server:
        client = connect(server)
        client.http.read_only = True
        client.volumes()
        with pytest.raises(WriteInCheckMode, match="VolumeCreate"):
            create(client)
    assert client.http.stats.writes == 0


# -- what else may answer


@pytest.mark.parametrize(
    ("status", "what"), [(200, "an HTML page"), (404, "an HTML page"), (301, "a redirect"), (302, "a redirect"), (307, "a redirect")]
)
@pytest.mark.parametrize("call", ["read", "write"])
def test_another_service_on_that_port(status, what, call):
    exchange = GET(LIST) if call == "read" else POST(CREATE)
    exchange.status, exchange.body = status, b"  <!DOCTYPE html><html>Web console</html>"
    with Server() as elsewhere:
        exchange.headers = (("Location", f"http://127.0.0.1:{elsewhere.port}/login"),)
        with Server(exchange) as server:
            with pytest.raises(Unreachable) as caught:
                client = connect(server)
                client.volumes() if call == "read" else create(client)
    assert elsewhere.connections == 0  # the token goes nowhere else
    message = str(caught.value)
    assert f"answered with {what} (HTTP {status}): this is not the StorPool API" in message
    assert "check sp_api_http_port (from option sp_api_http_port) and sp_api_http_host (from profile lab of /x.ini)" in message


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("body", [b'{"error": {"name": "unauthorized", "descr": "no"}}', b"<html>", b""])
def test_a_wrong_token(status, body):
    with Server(GET(LIST, status=status, body=body)) as server:
        with pytest.raises(Unauthorized) as caught:
            connect(server).volumes()
    assert "refused the token (sp_auth_token from option sp_auth_token)" in str(caught.value)
    assert TOKEN not in str(caught.value) + str(caught.value.as_dict())


def test_an_error_that_quotes_the_token_is_shown_without_it():
    with Server(GET(LIST, error={"name": "x", "descr": f"bad {TOKEN}!"})) as server:
        with pytest.raises(ApiError) as caught:
            connect(server).volumes()
    assert caught.value.description == "bad (token)!"


@pytest.mark.parametrize("status", [200, 400, 404, 409, 500, 503])
def test_an_error_object_counts_whatever_the_status(status):
    with Server(GET(LIST, error={"name": "objectDoesNotExist", "descr": "gone"}, status=status)) as server:
        with pytest.raises(ApiError) as caught:
            connect(server).volumes()
    assert (caught.value.name, caught.value.parts["status"]) == ("objectDoesNotExist", status)


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        ({"name": "busy", "descr": "Volume v is open at client 11"}, "force"),
        ({"name": "invalidParam", "descr": "No such client registered: 99"}, "storpool_cluster_info"),
        ({"name": "x", "descr": "still exported"}, "unexport"),
        ({"name": "insufficientResources", "descr": "no"}, "free space"),
    ],
)
def test_hints(error, hint):
    with Server(POST(CREATE, error=error)) as server:
        with pytest.raises(ApiError) as caught:
            create(connect(server))
    assert hint in caught.value.hint
    assert hint in str(caught.value)


@pytest.mark.parametrize("call", ["read", "write"])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_runaway_body_is_bounded(call, chunked, monkeypatch, clock):
    monkeypatch.setattr(_http, "BODY_LIMIT", 10_000)
    exchange = GET(LIST) if call == "read" else POST(CREATE)
    exchange.data, exchange.chunked = "x" * 100_000, chunked
    with Server(exchange) as server:
        client = connect(server, clock=clock)
        # The write took effect, whatever its answer looks like.
        with pytest.raises(Unreachable if call == "read" else AnswerLost, match="more than 10000 bytes"):
            client.volumes() if call == "read" else create(client)


def test_a_body_of_just_the_limit_is_taken(monkeypatch):
    data = ["x" * 1000]
    size = len(json.dumps({"generation": 1, "data": data}))
    monkeypatch.setattr(_http, "BODY_LIMIT", size)
    with Server(GET(LIST, data=data)) as server:
        assert connect(server).volumes() == data


def test_no_wait_for_a_piece_of_an_answer_goes_beyond_the_deadline():
    clock = Clock()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(20)
        theirs.sendall(b"abc")
        ear = _http._Ear(ours, 5.0, clock)
        for clock.now, wait in ((0.0, 20), (4.0, 1), (4.5, 0.5)):
            assert (ear.readinto(bytearray(1)), ours.gettimeout()) == (1, wait)
        clock.now = 5.0
        with pytest.raises(_http._Cut, match="had not ended its answer when the time was up"):
            ear.readinto(bytearray(1))


def test_a_kept_connection_waits_as_long_as_the_call_that_takes_it():
    with Server(GET(LIST, data=[])) as server:
        client = connect(server)
        client.volumes()
        connections = client.http._connections(client.http.endpoints[0])
        for seconds in (7.0, 3.0):
            connection = connections.take(seconds)
            assert connection.sock.gettimeout() == pytest.approx(seconds, abs=0.11)
            connections.give_back(connection)
        assert server.connections == 1
        client.http.close()


@pytest.mark.parametrize(
    ("servers", "write", "waits", "patience"),
    [
        (1, False, 0.0, [None]),
        (2, False, 0.0, [5.0, None]),
        (3, False, 0.0, [2.5, 2.5, None]),
        (3, True, 0.0, [None]),
        (1, True, 30.0, [None]),
    ],
)
def test_those_that_say_nothing_share_a_quarter_of_the_time_and_the_last_one_has_the_rest(servers, write, waits, patience):
    """Of reads: a write is taken nowhere else. What the server itself may wait is added."""
    clock = Clock()
    client = connect(*range(1, servers + 1), clock=clock)
    given = []

    def silence(_method, _endpoint, _path, _data, deadline, patient):
        assert deadline == client.http.timeout + waits
        given.append(patient)
        if patient is None:
            clock.now = deadline
        raise _http._TimeUp("says nothing")

    client.http._send = silence
    with pytest.raises(AnswerLost if write else Unreachable):
        client.http.post("/", b"", **({"waits": waits} if waits else {})) if write else client.http.get("/")
    assert given == patience
