# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers on the wire, whole and broken; how a connection is cut."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Awaitable, Callable, MutableMapping
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    from .faults import Fault

SLOW_STEPS = 20
_JSON = b"application/json"


class Protocol(HttpToolsProtocol):
    """uvicorn's, which also tells the application the target as it came on the wire and the connection to cut."""

    def on_headers_complete(self) -> None:
        self.scope["storpool_simulator.target"] = self.url.decode("latin-1")
        self.scope["storpool_simulator.transport"] = self.transport
        super().on_headers_complete()


class Answer:
    def __init__(self, status: int, body: bytes, content_type: bytes = _JSON, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        self.status = status
        self.body = body
        self.content_type = content_type
        self.headers = headers
        # Seconds by which the sender's clock is ahead of the machine's
        self.ahead = 0.0

    async def _start(self, send: Callable[[MutableMapping[str, Any]], Awaitable[None]]) -> None:
        length = str(len(self.body)).encode()
        headers = [
            (b"date", formatdate(time.time() + self.ahead, usegmt=True).encode()),
            (b"content-type", self.content_type),
            (b"cache-control", b"private"),
            (b"content-length", length),
            *self.headers,
        ]
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


async def deliver(
    fault: Fault | None,
    answer: Answer,
    garbage: bytes,
    scope: MutableMapping[str, Any],
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
) -> None:
    """Send the answer the way the fault wants it; `garbage` begins a body that is no JSON."""
    kind = fault.kind if fault is not None else None
    if kind == "cut_after":
        await cut(scope)
    elif kind == "truncated":
        await answer.send_half(send)
        await close_early(scope)
    elif kind == "bad_json":
        await Answer(200, garbage + answer.body[:20]).send(send)
    elif kind == "slow_body":
        assert fault is not None
        await answer.send_slowly(send, fault.more["seconds"])
    else:
        await answer.send(send)


async def read_body(receive: Callable[[], Awaitable[MutableMapping[str, Any]]]) -> bytes:
    """The whole body of a request."""
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        return body
    parts = [body]
    while message.get("more_body"):
        message = await receive()
        parts.append(message.get("body", b""))
    return b"".join(parts)
