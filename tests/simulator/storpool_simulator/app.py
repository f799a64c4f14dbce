# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ASGI application: the API under /ctrl/1.0/, the control interface under /_sim, nothing else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from . import paths
from .api import Api
from .control import Control
from .transport import Answer
from .world import World


class Application:
    def __init__(self, world: World) -> None:
        self.api = Api(world)
        self.control = Control(world).application()

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        if scope["type"] != "http":
            return
        if paths.is_api(scope["storpool_simulator.target"]):
            await self.api(scope, receive, send)
        elif scope["path"].startswith("/_sim"):
            await self.control(scope, receive, send)
        else:
            await Answer(404, b"<html><body><h1>404 Not Found</h1></body></html>", b"text/html").send(send)
