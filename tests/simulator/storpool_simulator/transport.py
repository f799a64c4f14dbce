# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers on the wire, whole and broken; how a connection is cut."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

SLOW_STEPS = 20
_JSON = b"application/json"


class Protocol(HttpToolsProtocol):
    """uvicorn's, which also tells the application the target as it came on the wire and the connection to cut."""

    def on_headers_complete(self) -> None:
        self.scope["storpool_simulator.target"] = self.url.decode("latin-1")
        self.scope["storpool_simulator.transport"] = self.transport
        super().on_headers_complete()


class Answer:
    def __init__(self, status: int, body: bytes, content_type: bytes = _JSON) -> None:
        self.status = status
        self.body = body
        self.content_type = content_type

    async def _start(self, send: Callable[[MutableMapping[str, Any]], Awaitable[None]]) -> None:
        headers = [(b"content-type", self.content_type), (b"cache-control", b"private"), (b"content-length", str(len(self.body)).encode())]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})

    async def send(self, send: Callable[[MutableMapping[str, Any]], Awaitable[None]]) -> None:
        await self._start(send)
        await send({"type": "http.response.body", "body": self.body})

    async def send_half(self, send: Callable[[MutableMapping[str, Any]], Awaitable[None]]) -> None:
        await self._start(send)
        await send({"type": "http.response.body", "body": self.body[: len(self.body) // 2], "more_body": True})

    async def send_slowly(self, send: Callable[[MutableMapping[str, Any]], Awaitable[None]], seconds: float) -> None:
        await self._start(send)
        step = max(1, -(-len(self.body) // SLOW_STEPS))
        starts = range(0, len(self.body), step)
        for at in starts:
            await asyncio.sleep(seconds / len(starts))
            await send({"type": "http.response.body", "body": self.body[at : at + step], "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def cut(scope: MutableMapping[str, Any]) -> None:
    """The client sees the connection reset."""
    transport = scope["storpool_simulator.transport"]
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    # uvicorn has to learn that the connection is gone before the application returns.
    await asyncio.sleep(0.01)


async def close_early(scope: MutableMapping[str, Any]) -> None:
    """The client gets what was sent so far, then the end of the connection."""
    scope["storpool_simulator.transport"].close()
    await asyncio.sleep(0.01)
