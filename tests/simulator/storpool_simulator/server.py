# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several clusters on several ports in one process and one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import uvicorn

from .app import Application
from .cloudstack import api as cloudstack
from .transport import Protocol
from .world import World

LOG = logging.getLogger(__name__)
TICK = 0.05
WARM_STEP = 100
BACKLOG = 2048
CLOUDSTACK = cloudstack.NAME
CLOUDSTACK_VARIABLES = {"ENDPOINT": "url", "KEY": "key", "SECRET": "secret"}


class _Server(uvicorn.Server):
    """uvicorn's, with our own way to end: it would die of the signal before anything could be cleaned up."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    sock.listen(BACKLOG)
    sock.setblocking(False)
    return sock


def _sockets(world: World, host: str, port: int) -> dict[str, socket.socket]:
    """Port P and the ones after it; or free ones, by preference those of the last time."""
    names = [*world.clusters, *([CLOUDSTACK] if world.cloud is not None else [])]
    if port:
        return {name: _bound(host, port + number) for number, name in enumerate(names)}
    known = world.recall("ports", {})
    sockets = {}
    for name in names:
        try:
            sockets[name] = _bound(host, known.get(name, 0))
        except OSError:
            sockets[name] = _bound(host, 0)
    world.remember("ports", {**known, **{name: sock.getsockname()[1] for name, sock in sockets.items()}})
    return sockets


def _ready(world: World, urls: dict[str, str], unsigned: str | None) -> dict:
    ready = {
        "ready": True,
        "pid": os.getpid(),
        "token": world.token,
        "control": f"{next(iter(urls.values()))}/_sim",
        "devices": str(world.devices.directory) if world.devices.visible else None,
        "deviceMode": world.devices.mode,
        "clusters": {name: {"id": cluster.id, "location": cluster.location, "url": urls[name]} for name, cluster in world.clusters.items()},
    }
    if world.cloud is not None:
        key, secret = world.cloud.keys()
        ready["cloudstack"] = {
            "url": urls[CLOUDSTACK] + cloudstack.PATH,
            "key": key,
            "secret": secret,
            "version": world.cloud.facts.version,
            "integration_url": unsigned,
        }
    return ready


def _write_environment(path: Path, host: str, port: int, ready: dict) -> None:
    """For the shell to source; it holds secrets, so it is the owner's alone."""
    values = {"SP_API_HTTP_HOST": host, "SP_API_HTTP_PORT": port, "SP_AUTH_TOKEN": ready["token"]}
    if "cloudstack" in ready:
        values.update({f"CLOUDSTACK_{name}": ready["cloudstack"][key] for name, key in CLOUDSTACK_VARIABLES.items()})
    text = "".join(f"export {name}={value}\n" for name, value in values.items())
    path.unlink(missing_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(text)


class Unsigned:
    """The port without signatures: open while integration.api.port is in force with another value than 0."""

    def __init__(self, server: uvicorn.Server, application: Application, host: str, shown: str) -> None:
        assert application.cloudstack is not None
        self.server = server
        self.application = application
        self.api = application.cloudstack
        self.host = host
        self.shown = shown
        self.port = 0
        self._listener: asyncio.Server | None = None

    @property
    def url(self) -> str | None:
        return f"http://{self.shown}:{self.port}{cloudstack.PATH}" if self._listener is not None else None

    async def follow(self) -> None:
        """Open or close it as the setting in force says."""
        port = int(self.api.cloud.settings.number("integration.api.port"))
        if port == self.port:
            return
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        self.port = port
        self.api.unsigned = {port} if port > 0 else set()
        if port <= 0:
            return
        try:
            sock = _bound(self.host, port)
        except OSError as why:
            LOG.error("integration.api.port %s: %s", port, why)
            return
        self._listener = await asyncio.get_running_loop().create_server(
            lambda: Protocol(config=self.server.config, server_state=self.server.server_state, app_state={}), sock=sock
        )


async def _work(world: World, unsigned: Unsigned | None) -> None:
    """Background work, while nobody stopped it."""
    while True:
        await asyncio.sleep(TICK)
        if unsigned is not None:
            await unsigned.follow()
        if world.background.auto:
            try:
                world.background.run()
            except Exception:
                LOG.exception("background work failed")
                world.rollback()


async def _warm(world: World) -> None:
    """After a restart nothing is encoded yet; do it while nobody asks, a little at a time."""
    for cluster in world.clusters.values():
        for table in (cluster.volumes, cluster.snapshots):
            for number, document in enumerate(table.values()):
                if table.get(document["gid"]) is document:
                    cluster.fragment(document)
                if number % WARM_STEP == 0:
                    await asyncio.sleep(0)


async def serve(world: World, host: str, port: int, env_file: Path | None) -> None:
    sockets = _sockets(world, host, port)
    ports = {name: sock.getsockname()[1] for name, sock in sockets.items()}
    application = Application(world)
    for name, number in ports.items():
        if name == CLOUDSTACK:
            application.cloudstack_ports.add(number)
        else:
            application.api.ports[number] = world.clusters[name]
    config = uvicorn.Config(
        application,
        http=Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        # Answers tell the date themselves: CloudStack's clock may be another one
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=600,
        timeout_graceful_shutdown=1,
    )
    server = _Server(config)

    def end() -> None:
        server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, end)
    shown = f"[{host}]" if ":" in host else host
    unsigned = Unsigned(server, application, host, shown) if world.cloud is not None else None
    if unsigned is not None:
        await unsigned.follow()
    urls = {name: f"http://{shown}:{number}" for name, number in ports.items()}
    if world.cloud is not None:
        world.cloud.addresses = {name: f"{shown}:{number}" for name, number in ports.items() if name != CLOUDSTACK}
    ready = _ready(world, urls, unsigned.url if unsigned is not None else None)
    if env_file is not None:
        _write_environment(env_file, host, next(iter(ports.values())), ready)
    workers = [asyncio.create_task(_work(world, unsigned)), asyncio.create_task(_warm(world))]
    serving = asyncio.create_task(server.serve(sockets=list(sockets.values())))
    while not server.started and not serving.done():
        await asyncio.sleep(0.001)
    if not serving.done():
        sys.stdout.write(json.dumps(ready) + "\n")
        sys.stdout.flush()
    try:
        await serving
    finally:
        for worker in workers:
            worker.cancel()
