# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ASGI application: StorPool under /ctrl/1.0/, CloudStack under /client/api of its own port, the control interface under /_sim."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from . import paths
from .api import Api
from .cloudstack import api as cloudstack
from .control import Control
from .transport import Answer
from .world import World

NOT_FOUND = Answer(404, b"<html><body><h1>404 Not Found</h1></body></html>", b"text/html")


class Application:
    def __init__(self, world: World) -> None:
        self.api = Api(world)
        self.control = Control(world).application()
        self.cloudstack = cloudstack.Api(world, world.cloud) if world.cloud is not None else None
        self.cloudstack_ports: set[int] = set()
        if world.cloud is not None:
            world.cloud.storpool = self.api

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        if scope["type"] != "http":
            return
        if scope["path"].startswith("/_sim"):
            await self.control(scope, receive, send)
        elif self.cloudstack is not None and scope["server"][1] in self.cloudstack_ports | self.cloudstack.unsigned:
            await self._to_cloudstack(scope, receive, send)
        elif paths.is_api(scope["storpool_simulator.target"]):
            await self.api(scope, receive, send)
        else:
            await NOT_FOUND.send(send)

    async def _to_cloudstack(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        assert self.cloudstack is not None
        if scope["path"].rstrip("/") == cloudstack.PATH and scope["method"] in ("GET", "POST"):
            await self.cloudstack(scope, receive, send)
        else:
            await NOT_FOUND.send(send)
