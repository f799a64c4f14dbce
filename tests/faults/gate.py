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
        # Bound for as long as the gate is there, so that nobody else gets the port while it is shut.
        self._place = socket.socket()
        self._place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._place.bind(("127.0.0.1", 0))
        self.port = self._place.getsockname()[1]
        self._lock = threading.Lock()
        self._remaining = -1
        self._ends: dict[socket.socket, int] = {}  # how many threads are at each
        self._listener: socket.socket | None = None

    def __enter__(self) -> Gate:
        self.open()
        return self

    def __exit__(self, *_unused: object) -> None:
        self.shut()
        self._place.close()

    def open(self) -> None:
        with self._lock:
            if self._listener is None:
                self._listener = socket.create_server(("127.0.0.1", self.port), backlog=64)
                threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def shut(self) -> None:
        with self._lock:
            listener, self._listener = self._listener, None
            if listener:
                with contextlib.suppress(OSError):
                    listener.shutdown(socket.SHUT_RDWR)
            # Threads close what they are at: the number of a socket that is closed under them is soon that of another one.
            for end in self._ends:
                with contextlib.suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    end.shutdown(socket.SHUT_RDWR)

    def shut_at(self, requests: int) -> None:
        """Shut when `requests` more have passed and another comes."""
        with self._lock:
            self._remaining = requests

    def _accept(self, listener: socket.socket) -> None:
        with listener, contextlib.suppress(OSError):
            while True:
                client = listener.accept()[0]
                with contextlib.ExitStack() as stack:
                    stack.enter_context(client)
                    server = stack.enter_context(socket.create_connection(("127.0.0.1", self.to)))
                    with self._lock:
                        if self._listener is not listener:  # it was shut meanwhile
                            return
                        self._ends.update({client: 2, server: 2})
                    stack.pop_all()
                for end in (client, server):
                    with contextlib.suppress(OSError):
                        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for source, target, counts in ((client, server, True), (server, client, False)):
                    threading.Thread(target=self._pass_on, args=(source, target, counts), daemon=True).start()

    def _passes(self, data: bytes) -> bool:
        if not data.startswith((b"GET ", b"POST ")):
            return True
        with self._lock:
            self._remaining -= 1
            return self._remaining != -1

    def _pass_on(self, source: socket.socket, target: socket.socket, counts: bool) -> None:
        try:
            with contextlib.suppress(OSError):
                while data := source.recv(1 << 16):
                    if counts and not self._passes(data):
                        self.shut()
                        return
                    target.sendall(data)
                target.shutdown(socket.SHUT_WR)
        finally:
            self._leave(source, target)

    def _leave(self, *ends: socket.socket) -> None:
        """A thread is done with them; the last one closes them."""
        with self._lock:
            for end in ends:
                self._ends[end] -= 1
                if not self._ends[end]:
                    del self._ends[end]
                    end.close()
