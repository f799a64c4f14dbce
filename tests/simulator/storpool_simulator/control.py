# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The control interface under /_sim: what a test does to the world besides calling its API. From this machine only, no token."""

from __future__ import annotations

import asyncio
import ipaddress
import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from . import lifecycle
from .cloudstack.control import CloudControl
from .cluster import Cluster
from .errors import ApiError
from .store import Document
from .world import World

Handler = Callable[[Request], Awaitable[Response]]


def _bad(status: int, why: str) -> JSONResponse:
    return JSONResponse({"error": why}, status)


def is_local(request: Request) -> bool:
    """From loopback, or from the address that it was sent to: that is what a machine uses to speak to itself."""
    if request.client is None:
        return False
    server = request.scope["server"] or ("",)
    return ipaddress.ip_address(request.client.host).is_loopback or request.client.host == server[0]


class Control:
    def __init__(self, world: World) -> None:
        self.world = world

    def application(self) -> Starlette:
        def route(path: str, handler: Handler, *methods: str) -> Route:
            return Route("/_sim" + path, self._guarded(handler), methods=list(methods))

        return Starlette(
            routes=[
                route("/health", self.health, "GET"),
                route("/calls", self.calls, "GET", "DELETE"),
                route("/faults", self.faults, "GET", "POST", "DELETE"),
                route("/faults/{number:int}", self.fault, "DELETE"),
                route("/clock", self.clock, "POST"),
                route("/settle", self.settle, "POST"),
                route("/background", self.background, "POST"),
                route("/clients/{cluster}/{client:int}", self.client, "PUT"),
                route("/open/{cluster}/{name:path}", self.open, "PUT"),
                route("/content/{cluster}/{name}/raw", self.raw, "GET"),
                route("/content/{cluster}/{name}/fingerprint", self.fingerprint, "GET"),
                route("/content/{cluster}/{name}", self.content, "GET", "PUT"),
                route("/counters", self.counters, "GET"),
                route("/reset", self.reset, "POST"),
                *(CloudControl(self.world.cloud, self._json).routes(route) if self.world.cloud is not None else []),
            ]
        )

    def _guarded(self, handler: Handler) -> Handler:
        async def guarded(request: Request) -> Response:
            if not is_local(request):
                return _bad(403, "the control interface is for this machine alone")
            try:
                return await handler(request)
            except ApiError as error:
                self.world.rollback()
                return _bad(404 if error.name == "objectDoesNotExist" else 400, error.descr)
            except (ValueError, TypeError, KeyError) as error:
                self.world.rollback()
                return _bad(400, f"{type(error).__name__}: {error}")

        return guarded

    @staticmethod
    async def _json(request: Request) -> dict:
        body = await request.body()
        value = json.loads(body) if body.strip() else {}
        if not isinstance(value, dict):
            raise ValueError("the body is not a JSON object")
        return value

    def _cluster(self, request: Request) -> Cluster:
        name = request.path_params["cluster"]
        cluster = self.world.cluster_called(name)
        if cluster is None:
            raise ApiError("objectDoesNotExist", f"there is no cluster '{name}'")
        return cluster

    def _object(self, request: Request) -> tuple[Cluster, Document]:
        cluster = self._cluster(request)
        name = unquote(request.path_params["name"]) if "%" in request.path_params["name"] else request.path_params["name"]
        gid = cluster.gid_of(name)
        document = cluster.object(gid) if gid else None
        if document is None:
            raise ApiError("objectDoesNotExist", f"there is no volume or snapshot '{name}' in {cluster.name}")
        return cluster, document

    async def health(self, request: Request) -> Response:
        return JSONResponse({"ok": True})

    async def calls(self, request: Request) -> Response:
        if request.method == "DELETE":
            self.world.log.clear()
            return JSONResponse({"ok": True})
        return JSONResponse(self.world.log.shown(request.query_params.get("summary") in ("1", "true")))

    async def faults(self, request: Request) -> Response:
        if request.method == "POST":
            return JSONResponse({"id": self.world.faults.add(await self._json(request))})
        if request.method == "DELETE":
            self.world.faults.clear()
            return JSONResponse({"ok": True})
        return JSONResponse({"faults": self.world.faults.shown()})

    async def fault(self, request: Request) -> Response:
        number = request.path_params["number"]
        return JSONResponse({"ok": True}) if self.world.faults.remove(number) else _bad(404, f"there is no fault {number}")

    async def clock(self, request: Request) -> Response:
        body, clock = await self._json(request), self.world.clock
        if "stopped" in body:
            if not isinstance(body["stopped"], bool):
                raise ValueError("stopped is true or false")
            (clock.stop if body["stopped"] else clock.go_on)()
        else:
            clock.advance(float(body["advance"]))
        self.world.remember("clock", clock.offset)
        if self.world.background.auto:
            self.world.background.run()
        return JSONResponse({"now": self.world.clock.now()})

    async def settle(self, request: Request) -> Response:
        """Also what takes its time, and what follows from it."""
        self.world.background.settle()
        cloud = self.world.cloud
        while cloud is not None and cloud.workshop.under_way:
            await cloud.workshop.idle()
            self.world.background.settle()
        return JSONResponse({"ok": True})

    async def background(self, request: Request) -> Response:
        auto = (await self._json(request))["auto"]
        if not isinstance(auto, bool):
            raise ValueError("auto is true or false")
        self.world.background.auto = auto
        return JSONResponse({"auto": auto})

    async def client(self, request: Request) -> Response:
        """`lag`: seconds by which the client applies configurations late."""
        cluster, body = self._cluster(request), await self._json(request)
        number = request.path_params["client"]
        status = body.get("status", cluster.client(number)["status"])
        if status not in ("running", "down"):
            raise ValueError("status is running or down")
        cluster.set_client(number, status, None if "lag" not in body else float(body["lag"]))
        self.world.commit()
        return JSONResponse({"ok": True})

    async def open(self, request: Request) -> Response:
        """Only what is attached can be held open."""
        cluster, document = self._object(request)
        body = await self._json(request)
        client, is_open = int(body["client"]), body.get("open", True)
        if is_open and client not in cluster.attached.get(document["gid"], {}):
            raise ValueError(f"'{document['name'] or document['gid']}' is not attached to client {client}")
        lifecycle.set_open(cluster, document["gid"], client, bool(is_open))
        self.world.commit()
        return JSONResponse({"ok": True})

    async def content(self, request: Request) -> Response:
        if request.method == "PUT":
            data = await request.body()
            # From here to the commit nothing else runs: a snapshot has all of the write or nothing of it.
            cluster, document = self._object(request)
            if "bound" in document:
                raise ValueError("a snapshot cannot be written")
            self.world.payload.write(cluster, document, int(request.query_params.get("offset", 0)), data)
            self.world.commit()
            return JSONResponse({"ok": True, "written": len(data)})
        cluster, document = self._object(request)
        payload, files, size = self.world.payload, self.world.contents, document["size"]
        used, own = payload.used(cluster, document), payload.stored(cluster, document)
        content = payload.content(cluster, document["gid"])
        shown: dict[str, Any] = {"size": size, "sha256": await self._digest(files.digest, content, size), "stored": used, "own": own}
        return JSONResponse(shown)

    async def fingerprint(self, request: Request) -> Response:
        cluster, document = self._object(request)
        content = self.world.payload.current(cluster, document["gid"])
        return JSONResponse({"fingerprint": await self._digest(self.world.contents.fingerprint, content, document["size"])})

    async def _digest(self, how: Callable[[str | None, int], str], content: str | None, size: int) -> str:
        """Hashing takes its time; others go on, and a write in between starts it anew."""
        files = self.world.contents
        with files.held(content):
            while True:
                stamp = files.stamp(content)
                digest = await asyncio.to_thread(how, content, size)
                if files.stamp(content) == stamp:
                    return digest

    async def raw(self, request: Request) -> Response:
        cluster, document = self._object(request)
        offset = int(request.query_params.get("offset", 0))
        length = int(request.query_params.get("length", document["size"] - offset))
        return Response(self.world.payload.read(cluster, document, offset, length), media_type="application/octet-stream")

    async def counters(self, request: Request) -> Response:
        return JSONResponse(self.world.contents.counters())

    async def reset(self, request: Request) -> Response:
        self.world.reset()
        return JSONResponse({"ok": True})
