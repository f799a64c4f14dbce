# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The client against servers that mean ill: bounded memory and time, one structured error, and no credentials for anybody else."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from ansible_collections.storpool.cloudstack.plugins.module_utils import _http, _storpool
from ansible_collections.storpool.cloudstack.plugins.module_utils._options import StorPoolConnection
from integration.conftest import connection
from servers import Proxy, Raw, document, drip, places, replaced
from test_bad_inputs import LEAST
from ways import MODULES, as_module, module_of, spec_of

TOKEN = "15569137291803321"
KEY, SECRET = "KeyOfNobody7391", "SecretOfNobody7391"
MOST_MEMORY = 450  # MiB that a task may have taken at most
MOST_SECONDS = 200  # after which a task counts as hung; each may take 2 by its options, and whatever a busy machine makes of them
PARTS = 4  # of the answers, each a test with a time of its own
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"


def whole(body: bytes, head: bytes = OK) -> Any:
    return lambda send: send(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)


def endless(head: bytes, piece: bytes) -> Any:
    def answer(send: Any) -> None:
        send(head)
        while True:
            send(piece)

    return answer


def dripping(head: bytes, piece: bytes) -> Any:
    def answer(send: Any) -> None:
        send(head)
        drip(send, piece)

    return answer


BLOCK = b"x" * (1 << 20)
ANSWERS = {
    "endless body": endless(OK + b"\r\n", BLOCK),
    "endless chunks": endless(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"100000\r\n" + BLOCK + b"\r\n"),
    "endless trailers": endless(OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X-T: 1\r\n" * 1000),
    "endless interim answers": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
    "endless status line": endless(b"HTTP/1.1 200 ", BLOCK),
    "endless header": endless(OK + b"X-Long: ", BLOCK),
    "endless headers": endless(OK, b"X-Many: 1\r\n" * 1000),
    "a body of a huge length": endless(OK + b"Content-Length: 99999999999999999999\r\n\r\n", BLOCK),
    "a body of no length": dripping(OK + b"Content-Length: -5\r\n\r\n", b"{"),
    "dripping status line": dripping(b"HTTP/1.1 2", b"0"),
    "dripping headers": dripping(OK, b"X: 1\r\n"),
    "dripping header": dripping(OK + b"X: ", b"x"),
    "dripping body": dripping(OK + b"Content-Length: 100000\r\n\r\n", b" "),
    "dripping chunks": dripping(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "chunks that are none": whole(b"", OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n"),
    "chunks of less than nothing": endless(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"-5\r\nxxxxx\r\n"),
    "silence": lambda send: drip(send, b"", 0.1),
    "deep JSON": whole(b"[" * 3_000_000 + b"]" * 3_000_000),
    "deep objects": whole(b'{"data":' * 200_000 + b"1" + b"}" * 200_000),
    "millions of empty lists": whole(b'{"data":[' + b"[]," * 15_000_000 + b"[]]}"),
    "millions of small texts": whole(b'{"data":[' + b'"ab",' * 12_000_000 + b'""]}'),
    "a number of a million digits": whole(b'{"data":' + b"9" * 1_000_000 + b"}"),
    "a text of a hundred million letters": whole(b'{"error":{"name":"x","descr":"' + b"y" * 100_000_000 + b'"}}'),
    "packed": whole(gzip.compress(b'{"data":[' + b"0," * 50_000_000 + b"0]}", 1), OK + b"Content-Encoding: gzip\r\n"),
    "another charset": whole('{"data": []}'.encode("utf-16"), OK.replace(b"json", b"json; charset=iso-8859-1")),
    "no text at all": whole(bytes(range(256)) * 50),
    "no HTTP": whole(b"", b"SSH-2.0-OpenSSH_9.6\r\n"),
    "HTTP 0.9": lambda send: send(b'{"data": []}'),
    "two lengths": whole(b'{"data": []}', OK + b"Content-Length: 3\r\n"),
    "an error with escapes": whole(b'{"error":{"name":"\\u001b[2Jx","descr":"a\\r\\nb\\u001b]0;title\\u0007\\ud800","transient":false}}'),
    "an error that is none": whole(b'{"error":{"name":[1],"descr":{"a":[]},"transient":"yes"}}'),
    "an envelope with escapes": whole(b'{"listconfigurationsresponse":{"errorcode":431,"errortext":"\\u001b[2J\\r\\nx\\ud800"}}'),
    "a page": whole(b"<html>" + b"<p>" * 100_000),
    "nothing": whole(b""),
    "null": whole(b"null"),
    "NaN": whole(b'{"data": NaN}'),
    "an unknown status": whole(b"{}", b"HTTP/1.1 999 Odd\r\n"),
    "no status": whole(b"{}", b"HTTP/1.1 abc Odd\r\n"),
}

MEASURED = """
import json, re, sys
sys.path[:0] = [{here!r}]
from ways import as_module
result = as_module({module!r}, json.loads(sys.stdin.read()))
# Not getrusage: its maximum begins with that of the process which started this one.
print(json.dumps([int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read()).group(1)) // 1024, result]))
"""


def alone(module: str, options: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """The most memory (MiB) that the task took in a process of its own, and its result."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURED.format(here=str(Path(__file__).parent), module=module)],
        input=json.dumps(options), text=True, capture_output=True, timeout=MOST_SECONDS, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return tuple(json.loads(done.stdout.splitlines()[-1]))


def to(module: str, port: int, seconds: int = 20) -> dict[str, Any]:
    options = {
        "sp_api_http_host": ["127.0.0.1"], "sp_api_http_port": port, "sp_auth_token": TOKEN,
        "sp_timeout": seconds, "cloudstack_url": f"http://127.0.0.1:{port}/client/api", "cloudstack_key": KEY,
        "cloudstack_secret": SECRET, "cloudstack_timeout": seconds,
    }  # fmt: skip
    return {name: value for name, value in options.items() if name in spec_of(module)}


def complaints(result: dict[str, Any]) -> list[str]:
    text = json.dumps(result)
    found = [f"{secret} is in the result" for secret in (TOKEN, KEY, SECRET) if secret in text]
    if not isinstance(result.get("error"), dict) or result["error"].get("type") in (None, "defect") or "exception" in result:
        found.append(f"no structured error: {text:.600}")
    message = result.get("msg", "")
    if not message.isprintable() or not 0 < len(message) < 4100:
        found.append(f"not one plain line: {message!r:.300}")
    return found


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("module", ["storpool_volume_info", "cloudstack_settings"])
def test_every_answer_ends_in_time_and_in_memory(module, part):
    def one(name: str) -> list[str]:
        with Raw(ANSWERS[name]) as server:
            try:
                memory, result = alone(module, {**LEAST.get(module, {}), **to(module, server.port, 2)})
            except subprocess.TimeoutExpired:
                return [f"{name}: hung"]
            wrong = [f"{name}: {line}" for line in complaints(result)] if result.get("failed") else []
            if not result.get("failed") and name not in ("another charset", "two lengths"):
                wrong.append(f"{name}: taken for an answer")
            if memory > MOST_MEMORY:
                wrong.append(f"{name}: took {memory} MiB")
            assert server.was_asked()
            return wrong

    # CloudStack's client differs only behind the transport.
    names = [name for name in ANSWERS if module.startswith("storpool_") or "JSON" in name or name.startswith(("an ", "a page", "no"))]
    with ThreadPoolExecutor(4) as pool:
        wrong = [line for lines in pool.map(one, names[part::PARTS]) for line in lines]
    assert not wrong, "\n".join(wrong)


# -- answers of the right form with one thing in them that is not

ODD: list[Any] = [
    None, "x", -7, [], {}, True, 1.5, [[]], [None], {"": None}, 10**30, "\x00",
    # What JSON has no word for but Python reads; more than a float, a day or a calendar holds; digits that are none; times that are none.
    float("nan"), float("inf"), 10**400, 2**63, "\u00b2", "9" * 5000, "-", "2026-13-45T99:99:99+0000", "a\x1b[2J\r\nb",
]  # fmt: skip
MISSING = object()
MOST_CALLS = 1_000_000 if os.environ.get("LONG_TEST") else 300  # for one module; where there are more values, not all get their turn


def without(value: Any, path: tuple[Any, ...]) -> Any:
    made = dict(value) if isinstance(value, dict) else list(value)
    if len(path) == 1:
        del made[path[0]]
    else:
        made[path[0]] = without(value[path[0]], path[1:])
    return made


@pytest.fixture
def short_timeouts(monkeypatch):
    monkeypatch.setattr(_http, "CONNECT_ATTEMPTS", 2)
    monkeypatch.setattr(_http, "BACKOFF_FIRST", 0.001)
    monkeypatch.setattr(_http, "BACKOFF_LONGEST", 0.001)


@pytest.mark.usefixtures("short_timeouts")
@pytest.mark.parametrize(
    "module", [name for name in MODULES if "systems" in vars(module_of(name).DECLARED) and module_of(name).DECLARED.systems]
)
def test_one_odd_value_in_an_answer(module, cloud):
    """Every value of every answer that the module reads, replaced or left out: it is understood, or one error says so."""
    for name in ("v", "seed"):
        cloud.post("VolumeCreate", {"name": name, "size": 1 << 20, "template": "hdd", "tags": {"a": "b"}})
    cloud.post("VolumeSnapshot/seed", {"name": "s", "tags": {"a": "b"}})
    cloud.post("VolumesReassignWait", {"reassign": [{"volume": "seed", "rw": [11]}]})
    with_odd_values(cloud, module, LEAST.get(module, {}))


NODES = {"kvm11": 11, "kvm12": 12, "kvm13": 13}
SERIES = ("s-20260101", "s-20260102", "s-20260103")
# Tasks that read more, of a world in which there is more.
RICH: list[tuple[str, dict[str, Any]]] = [
    ("storpool_snapshot", {"name": "s-%Y%m%d", "volume": "seed", "keep_last": 1, "keep_daily": 2, "keep_monthly": 1}),
    ("cloudstack_snapshot", {"name": "s-%Y%m%d", "volume": "data", "keep_daily": 1}),
    ("cloudstack_snapshot_policy", {"volume": "data", "exact": True, "policies": [{"interval": "weekly", "schedule": "0:3:1", "keep": 2}]}),
    ("cloudstack_volume", {"name": "data", "vm": ""}),
    ("cloudstack_storage_pool", {"name": "storpool-nvme", "state": "maintenance", "tags": ["x"]}),
    ("storpool_ha", {"host": "kvm11", "sp_node_ids": NODES, "state": "disabled"}),
]  # fmt: skip


@pytest.mark.usefixtures("short_timeouts")
@pytest.mark.parametrize(("module", "options"), RICH, ids=[module for module, _options in RICH])
def test_one_odd_value_among_much(module, options, cloud):
    def done(what: str, **given: Any) -> None:
        made = as_module(what, {**connection(cloud, what), **given})
        assert not made.get("failed"), made

    if module.startswith("storpool_snapshot"):
        cloud.post("VolumeCreate", {"name": "seed", "size": 1 << 20, "template": "hdd"})
        for name in SERIES:
            cloud.post("VolumeSnapshot/seed", {"name": name, "tags": {"a": "b"}})
    elif module == "storpool_ha":
        controller = {"oobm_address": "198.51.100.1", "oobm_username": "ADMIN", "oobm_password": "bmc-secret"}
        done("storpool_ha", host="kvm11", **controller, sp_node_ids=NODES, wait=False)
    else:
        cloud.deploy("db1")
        done("cloudstack_volume", name="data", zone="sofia", offering="Custom", size="1G", vm="db1")
        for name in SERIES if module == "cloudstack_snapshot" else ():
            done("cloudstack_snapshot", volume="data", name=name)
        if module == "cloudstack_snapshot_policy":
            done(module, volume="data", policies=[{"interval": "daily", "schedule": "0:3", "keep": 2}])
    with_odd_values(cloud, module, options)


def with_odd_values(cloud: Any, module: str, given: dict[str, Any]) -> None:
    plan: dict[str, Any] = {}
    answers: list[tuple[str, bytes]] = []

    def change(path: str, status: int, body: bytes) -> tuple[int, bytes]:
        number = len(answers)
        answers.append((path, body))
        if plan and number == plan["answer"]:
            return status, plan["body"]
        return status, body

    address = urlsplit(cloud.cloudstack["url"])
    with (
        Proxy(f"http://{cloud.host}:{cloud.port}", change) as storpool,
        Proxy(f"http://{address.hostname}:{address.port}", change) as cloudstack,
    ):
        options = {**connection(cloud, module), **given}
        there = {
            "sp_api_http_port": storpool.port,
            "cloudstack_url": f"http://127.0.0.1:{cloudstack.port}/client/api",
            "sp_timeout": 20,
            "cloudstack_timeout": 20,
        }
        options.update({name: value for name, value in there.items() if name in spec_of(module)})
        clean = as_module(module, options, check=True)
        # A module that cannot do anything with what is here fails with a reason, after it has read.
        assert "exception" not in clean, clean
        recorded, wrong, cases = list(answers), [], 0
        assert recorded, f"{module} read nothing: give it an entry in LEAST of test_bad_inputs.py ({clean.get('msg')})"
        cloud.reset_calls()
        every = [(number, place) for number, (_path, body) in enumerate(recorded) for place in places(document(body))]
        for turn, (number, place) in enumerate(every):
            path, body = recorded[number]
            odds = [ODD[turn % len(ODD)], ODD[(turn * 7 + 3) % len(ODD)], MISSING]
            # The more answers a run takes, the longer it is.
            turns = 3 * len(every) * len(recorded) // MOST_CALLS
            if turns and turn % turns:
                continue
            for odd in odds if not turns else odds[turn // turns % 3 :][:1]:
                if odd is MISSING and not place:
                    continue
                made = without(document(body), place) if odd is MISSING else replaced(document(body), place, odd)
                plan.update(answer=number, body=json.dumps(made).encode())
                answers.clear()
                result = as_module(module, options, check=True)
                cases += 1
                if result.get("failed"):
                    what = "left out" if odd is MISSING else repr(odd)
                    wrong += [f"{urlsplit(path).path} {'.'.join(map(str, place))}: {what}: {line}" for line in complaints(result)]
        assert [call["call"] for call in cloud.calls()["calls"] if call["write"]] == []
    print(f"{module}: {len(recorded)} answers, {cases} odd ones")
    assert not wrong, f"{len(wrong)} of {cases}:\n" + "\n".join(wrong[:25])


# -- nobody else gets the credentials


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("module", ["storpool_volume_info", "cloudstack_settings"])
@pytest.mark.usefixtures("short_timeouts")
def test_redirects_are_not_followed(module, status):
    with Raw(whole(b'{"data": []}')) as elsewhere:
        where = b"Location: http://127.0.0.1:%d/elsewhere\r\n" % elsewhere.port
        with Raw(whole(b"{}", b"HTTP/1.1 %d Elsewhere\r\n" % status + where)) as server:
            result = as_module(module, {**LEAST.get(module, {}), **to(module, server.port)})
            assert result["failed"]
            assert complaints(result) == []
            assert server.heard
        assert elsewhere.heard == []


def test_neither_proxies_nor_netrc_get_the_token(tmp_path, monkeypatch, cloud):
    with Raw(whole(b"{}")) as elsewhere:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{elsewhere.port}")
        (tmp_path / ".netrc").write_text(f"machine {cloud.host} login somebody password else\n")
        monkeypatch.setenv("HOME", str(tmp_path))
        for module in ("storpool_volume_info", "cloudstack_settings"):
            result = as_module(module, {**LEAST.get(module, {}), **connection(cloud, module)}, check=True)
            assert not result.get("failed"), result
        assert elsewhere.heard == []


BREAKS = [
    "a\r\nX-Injected: yes",
    "a\nX-Injected: yes",
    "a HTTP/1.1\r\nX-Injected: yes\r\n\r\n",
    "a\x00b",
    "a b",
    "a?x=y&z",
    "a#b",
    "a%0d%0aX-Injected: yes",
    "../x",
]


@pytest.mark.usefixtures("short_timeouts")
def test_names_cannot_become_headers():
    """What is checked nowhere else comes to the client: each name stays within its place in the request."""
    with Raw(whole(b'{"data": []}')) as server:
        client = _storpool.StorPool(StorPoolConnection((("127.0.0.1", server.port),), TOKEN, None, False, 5, {}))
        for name in BREAKS:
            client.volume(name)
            client.send(_storpool.volume_update(name, {"tags": {name: name}}))
        client.http.close()
        for name in BREAKS:
            as_module(
                "cloudstack_settings", {"name": name, "value": name, "zone": name, **to("cloudstack_settings", server.port)}, check=True
            )
    assert len(server.heard) > 3 * len(BREAKS) - 1
    for head in server.heard:
        lines = head.partition(b"\r\n\r\n")[0].split(b"\r\n")
        assert [line for line in lines if line.startswith(b"X-Injected")] == [], head
        assert len(lines[0].split(b" ")) == 3, head
        assert b"\n" not in head.partition(b"\r\n\r\n")[0].replace(b"\r\n", b""), head


@pytest.mark.parametrize("option", ["sp_auth_token", "cloudstack_key", "cloudstack_secret"])
def test_secrets_cannot_become_headers(option):
    module = "storpool_volume_info" if option.startswith("sp_") else "cloudstack_settings"
    with Raw(whole(b'{"data": []}')) as server:
        for broken in ("x7391\r\nX-Injected: yes", "x7391\nX", "x7391 y", "x7391\x00", "x7391é"):
            result = as_module(module, {**LEAST.get(module, {}), **to(module, server.port), option: broken})
            assert result["failed"]
            assert f"option {option}" in result["msg"]
            assert "x7391" not in json.dumps(result)
        assert server.heard == []


# -- a host that accepts connections and never answers


def test_a_silent_host_does_not_use_up_the_time(cloud, monkeypatch):
    real = _http.Http._send

    def send(self: Any, method: str, endpoint: Any, path: str, data: Any, deadline: float, patience: float | None = None) -> Any:
        """Half a second for the silent one; the other one may be late, on a machine that has much else to do."""
        assert patience is None or patience > 0
        return real(self, method, endpoint, path, data, deadline, patience and (0.5 if str(silent.port) in endpoint.host else 20))

    monkeypatch.setattr(_http.Http, "_send", send)
    with Raw(lambda send: drip(send, b"", 0.1)) as silent:
        hosts = [f"127.0.0.1:{silent.port}", f"{cloud.host}:{cloud.port}"]
        result = as_module(
            "storpool_volume",
            {**connection(cloud, "storpool_volume"), "sp_api_http_host": hosts, "sp_timeout": 20, "name": "v", "size": "1M"},
        )
        assert not result.get("failed"), result
        assert result["changed"]
        # One read was silent; whatever came next went to the other one at once.
        assert len(silent.heard) == 1


def test_all_but_the_last_silent_host_share_a_quarter():
    asked: list[float] = []
    with Raw(lambda send: drip(send, b"", 0.1)) as silent:
        hosts = tuple(("127.0.0.1", silent.port) for _unused in range(3))
        client = _storpool.StorPool(StorPoolConnection(hosts, TOKEN, None, False, 2, {}))
        send, passed = client.http._send, [0.0]

        def seen(*arguments: Any) -> Any:
            asked.append(arguments[5])
            try:
                return send(*arguments)
            finally:
                passed[0] += arguments[5] or 2

        # No time passes but what is waited for, however busy the machine is.
        client.http._send, client.http._clock = seen, lambda: passed[0]
        with pytest.raises(_storpool.Unreachable, match="did not answer within"):
            client.volumes()
        assert asked == [0.25, 0.25, None]


def test_a_write_to_a_host_that_fell_silent_is_looked_for_at_the_other(cloud, monkeypatch):
    """The answer is lost, so it is looked for; that reading does not go to the silent host again."""
    address = f"http://{cloud.host}:{cloud.port}"
    hung: list[str] = []
    over, call = threading.Event(), _http.Http._call

    def change(path: str, status: int, body: bytes) -> tuple[int, bytes]:
        if path.endswith("VolumeCreate"):
            hung.append(path)
            over.wait(100)
        return status, body

    def impatient(self: Any, method: str, path: str, data: Any, write: bool, waits: float) -> Any:
        """The write alone runs out of time."""
        self.timeout = 2.0 if write else 20.0
        return call(self, method, path, data, write, waits)

    monkeypatch.setattr(_http.Http, "_call", impatient)
    with Proxy(address, change) as falls_silent:
        hosts = [f"127.0.0.1:{falls_silent.port}", f"{cloud.host}:{cloud.port}"]
        result = as_module(
            "storpool_volume",
            {**connection(cloud, "storpool_volume"), "sp_api_http_host": hosts, "sp_timeout": 20, "name": "v", "size": "1M"},
        )
        over.set()
        assert not result.get("failed"), result
        assert result["volumes"][0]["actions"] == ["create"]
        assert len(hung) == 1
        assert [call["call"] for call in cloud.calls()["calls"] if call["write"]] == ["VolumeCreate"]
