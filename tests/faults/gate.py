# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A way to the simulator that can be shut: connections break, new ones are refused."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading


class Gate:
    """Passes requests on to `port`; `shut_at` counts them. Shut, it refuses connections on its own port, until `open`.

    with Gate(simulator.port) as gate:
        gate.shut_at(3)     # the request after three more breaks off unheard, and then nobody answers
    """

    def __init__(self, to: int) -> None:
        self.to = to
        self.port = 0
        self._lock = threading.Lock()
        self._left = -1
        self._ends: set[socket.socket] = set()
        self._listener: socket.socket | None = None

    def __enter__(self) -> Gate:
        self.open()
        return self

    def __exit__(self, *_unused: object) -> None:
        self.shut()

    def open(self) -> None:
        with self._lock:
            if self._listener is None:
                self._listener = socket.create_server(("127.0.0.1", self.port), backlog=64)
                self.port = self._listener.getsockname()[1]
                threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def shut(self) -> None:
        with self._lock:
            listener, self._listener = self._listener, None
            ends, self._ends = self._ends, set()
        if listener:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        for end in ends:
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def shut_at(self, requests: int) -> None:
        """Shut when `requests` more have passed and another comes."""
        with self._lock:
            self._left = requests

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client = listener.accept()[0]
                server = socket.create_connection(("127.0.0.1", self.to))
            except OSError:
                return
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._ends |= {client, server}
            for source, target, counts in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._pass_on, args=(source, target, counts), daemon=True).start()

    def _passes(self, data: bytes) -> bool:
        if not data.startswith((b"GET ", b"POST ")):
            return True
        with self._lock:
            self._left -= 1
            return self._left != -1

    def _pass_on(self, source: socket.socket, target: socket.socket, counts: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if counts and not self._passes(data):
                    self.shut()
                    return
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
