# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Servers that mean ill: real sockets, real HTTP as far as that goes."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Raw:
    """Answers every request with what `answer(send, heard)` sends: `send(bytes)` until the other side goes away."""

    def __init__(self, answer: Callable[[Callable[[bytes], None]], None], context: ssl.SSLContext | None = None) -> None:
        self.answer = answer
        self.context = context
        self.heard: list[bytes] = []
        self._stop = threading.Event()

    def __enter__(self) -> Raw:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=32)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_unused: object) -> None:
        self._stop.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def was_asked(self) -> bool:
        """Whether a request came; who gave up may have done so before it was read here."""
        deadline = time.monotonic() + 60
        while not self.heard and time.monotonic() < deadline:
            time.sleep(0.005)
        return bool(self.heard)

    def _accept(self) -> None:
        while True:
            try:
                client = self._listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        def send(data: bytes) -> None:
            if self._stop.is_set():
                raise OSError("stopped")
            client.sendall(data)

        with contextlib.suppress(OSError, ValueError), client:
            head = b""
            while b"\r\n\r\n" not in head:
                data = client.recv(65536)
                if not data:
                    return
                head += data
            self.heard.append(head)
            self.answer(send)


def drip(send: Callable[[bytes], None], piece: bytes, pause: float = 0.02) -> None:
    """For ever."""
    while True:
        send(piece)
        time.sleep(pause)


class Proxy:
    """Stands before a simulator and passes on what `change(path, status, body)` makes of its answers; `context` gives it TLS.

    With `hold(path, sent)` it is a gateway with too little patience: of what that returns true for it says 504, and has the server do it
    all the same, once `release` is called.
    """

    def __init__(
        self,
        to: str,
        change: Callable[[str, int, bytes], tuple[int, bytes]] | None = None,
        context: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
        hold: Callable[[str, bytes], bool] | None = None,
    ) -> None:
        self.to = to
        self.hold = hold or (lambda _path, _sent: False)
        self.held: list[urllib.request.Request] = []
        self.change = change or (lambda _path, status, body: (status, body))
        self.context = context
        self.host = host
        self.seen: list[str] = []

    def __enter__(self) -> Proxy:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 20

            def handle_one(self) -> None:
                proxy.seen.append(self.path)
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length) if length or self.command == "POST" else None
                headers = {
                    name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection", "content-length")
                }
                request = urllib.request.Request(proxy.to + self.path, data=body, headers=headers, method=self.command)
                if proxy.hold(self.path, body or b""):
                    proxy.held.append(request)
                    status, content = 504, b"<html><h1>504 Gateway Time-out</h1></html>"
                else:
                    status, content = proxy.ask(request)
                status, content = proxy.change(self.path, status, content)
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = handle_one

            def log_message(self, *_unused: Any) -> None:
                """Nobody reads it."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_unused: Any) -> None:
                """A client that hangs up (a certificate it does not like) is what is tested."""

        self._server = Server((self.host, 0), Handler)
        if self.context:
            self._server.socket = self.context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_unused: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def release(self) -> list[tuple[int, bytes]]:
        """Let the server do what was held; what it answered nobody has heard."""
        held, self.held = self.held, []
        return [self.ask(request) for request in held]

    @staticmethod
    def ask(request: urllib.request.Request) -> tuple[int, bytes]:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=20) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as exc:
            return exc.code, exc.read()


def document(body: bytes) -> Any:
    return json.loads(body)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The ways to all values within one; of a list, and of a map by numbers, only to the first."""
    yield path
    if isinstance(value, dict):
        numbered = all(key.isdigit() for key in value)
        for key, inner in list(value.items())[: 1 if numbered else None]:
            yield from places(inner, (*path, key))
    elif isinstance(value, list) and value:
        yield from places(value[0], (*path, 0))


def replaced(value: Any, path: tuple[Any, ...], by: Any) -> Any:
    """The value with another at that place."""
    if not path:
        return by
    made = dict(value) if isinstance(value, dict) else list(value)
    made[path[0]] = replaced(value[path[0]], path[1:], by)
    return made
