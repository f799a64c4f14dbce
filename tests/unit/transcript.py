# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A server on the loopback that plays a transcript: the exact requests it expects, in order, and what it does about each.

    with Server(GET("/ctrl/1.0/VolumesList", data=[])) as server:
        ...
    # a request too many, too few or another one than expected fails the test here

It works on bare sockets, because most of what a client has to survive is not HTTP any more.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

ANYTHING = object()


@dataclass
class Exchange:
    """One expected request and the answer to it."""

    method: str
    path: str
    sent: Any = ANYTHING  # the decoded body
    data: Any = None
    error: dict[str, Any] | None = None
    status: int = 200
    body: bytes | None = None  # instead of an envelope
    headers: tuple[tuple[str, str], ...] = ()
    act: str = "answer"  # answer, cut (close without a word), truncate, close (answer, then close), hang, drip
    seconds: float = 0.0
    chunked: bool = False

    def payload(self) -> bytes:
        if self.body is not None:
            return self.body
        if self.error is not None:
            return json.dumps({"error": self.error}).encode()
        return json.dumps({"generation": 1, "data": self.data}).encode()


def GET(path: str, **more: Any) -> Exchange:
    return Exchange("GET", path, b"", **more)


def POST(path: str, sent: Any = ANYTHING, **more: Any) -> Exchange:
    return Exchange("POST", path, sent, **more)


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Server:
    """Plays `script`; `seen` are the requests, `connections` how many connections were made."""

    def __init__(self, *script: Exchange) -> None:
        self.script = list(script)
        self.seen: list[Request] = []
        self.complaints: list[str] = []
        self.connections = 0
        self.ended = 0  # connections that were closed here
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self._stop = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(self, kind: Any, *_rest: Any) -> None:
        if kind is None:
            # Who gave up may have done so before his request was read here.
            until(lambda: not self.script or bool(self.complaints))
        self._stop.set()
        # Closing a listening socket does not wake its accept() everywhere; a connection does.
        with socket.socket() as waker:
            waker.connect_ex(("127.0.0.1", self.port))
        self._thread.join(5)
        self._socket.close()
        for one in self._open:
            _close(one)
        if kind is None:
            assert not self.complaints, self.complaints
            assert not self.script, f"never asked: {[(one.method, one.path) for one in self.script]}"

    def _accept(self) -> None:
        while True:
            connection, _address = self._socket.accept()
            if self._stop.is_set():
                connection.close()
                return
            self._open.append(connection)
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        stream = connection.makefile("rb")
        try:
            while (request := _read(stream)) is not None:
                with self._lock:
                    self.seen.append(request)
                    exchange = self._expected(request)
                if not self._play(connection, exchange):
                    break
        except OSError:
            pass
        finally:
            _close(connection)
            self.ended += 1

    def _expected(self, request: Request) -> Exchange:
        if not self.script:
            self.complaints.append(f"one too many: {request.method} {request.path}")
            return Exchange("", "", status=599, error={"name": "unexpected", "descr": "one request too many"})
        exchange = self.script.pop(0)
        body = json.loads(request.body) if request.body else b""
        if (exchange.method, exchange.path) != (request.method, request.path):
            self.complaints.append(f"expected {exchange.method} {exchange.path}, got {request.method} {request.path}")
        elif exchange.sent is not ANYTHING and exchange.sent != body:
            self.complaints.append(f"{request.path}: expected {exchange.sent}, got {body}")
        return exchange

    def _play(self, connection: socket.socket, exchange: Exchange) -> bool:
        """Answer; tells whether the connection stays."""
        if exchange.act == "cut":
            return False
        if exchange.act == "hang":
            self._stop.wait(exchange.seconds or 30)
            return False
        payload = exchange.payload()
        head = f"HTTP/1.1 {exchange.status} x\r\nContent-Type: application/json\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in exchange.headers)
        head += "Transfer-Encoding: chunked\r\n\r\n" if exchange.chunked else f"Content-Length: {len(payload)}\r\n\r\n"
        if exchange.act == "truncate":
            connection.sendall(head.encode() + payload[: len(payload) // 2])
            return False
        if exchange.act == "drip":
            connection.sendall(head.encode())
            for number in range(len(payload)):
                connection.sendall(payload[number : number + 1])
                time.sleep(exchange.seconds / len(payload))
            return True
        if exchange.chunked:
            payload = b"%x\r\n%s\r\n0\r\n\r\n" % (len(payload), payload)
        connection.sendall(head.encode() + payload)
        return exchange.act != "close"


def _read(stream: Any) -> Request | None:
    first = stream.readline()
    if not first:
        return None
    method, path, _version = first.decode().split(" ")
    headers = {}
    while (line := stream.readline().strip()) != b"":
        name, _colon, value = line.decode().partition(":")
        headers[name.strip().lower()] = value.strip()
    return Request(method, path, headers, stream.read(int(headers.get("content-length", 0))))


def _close(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    connection.close()


def until(holds: Callable[[], bool]) -> None:
    """Wait until that is so, a minute at most."""
    deadline = time.monotonic() + 60
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.002)


_TAKEN: list[socket.socket] = []


def closed_port() -> int:
    """A port of the loopback on which nobody listens, nor anybody will: it is taken."""
    one = socket.socket()
    one.bind(("127.0.0.1", 0))
    _TAKEN.append(one)
    return one.getsockname()[1]
