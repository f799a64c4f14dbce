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
from .transport import Protocol
from .world import World

LOG = logging.getLogger(__name__)
TICK = 0.05
WARM_STEP = 100
BACKLOG = 2048


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
    names = list(world.clusters)
    if port:
        return {name: _bound(host, port + number) for number, name in enumerate(names)}
    known = world.recall("ports", {})
    sockets = {}
    for name in names:
        try:
            sockets[name] = _bound(host, known.get(name, 0))
        except OSError:
            sockets[name] = _bound(host, 0)
    world.remember("ports", {name: sock.getsockname()[1] for name, sock in sockets.items()})
    return sockets


def _ready(world: World, host: str, ports: dict[str, int]) -> dict:
    shown = f"[{host}]" if ":" in host else host
    urls = {name: f"http://{shown}:{port}" for name, port in ports.items()}
    return {
        "ready": True,
        "pid": os.getpid(),
        "token": world.token,
        "control": f"{next(iter(urls.values()))}/_sim",
        "devices": str(world.devices.directory) if world.devices.visible else None,
        "deviceMode": world.devices.mode,
        "clusters": {name: {"id": cluster.id, "location": cluster.location, "url": urls[name]} for name, cluster in world.clusters.items()},
    }


def _write_environment(path: Path, host: str, port: int, token: str) -> None:
    """For the shell to source; it holds the token, so it is the owner's alone."""
    text = f"export SP_API_HTTP_HOST={host}\nexport SP_API_HTTP_PORT={port}\nexport SP_AUTH_TOKEN={token}\n"
    path.unlink(missing_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(text)


async def _work(world: World) -> None:
    """Background work, while nobody stopped it."""
    while True:
        await asyncio.sleep(TICK)
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
        application.api.ports[number] = world.clusters[name]
    config = uvicorn.Config(
        application,
        http=Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
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
    if env_file is not None:
        _write_environment(env_file, host, next(iter(ports.values())), world.token)
    workers = [asyncio.create_task(_work(world)), asyncio.create_task(_warm(world))]
    serving = asyncio.create_task(server.serve(sockets=list(sockets.values())))
    while not server.started and not serving.done():
        await asyncio.sleep(0.001)
    if not serving.done():
        sys.stdout.write(json.dumps(_ready(world, host, ports)) + "\n")
        sys.stdout.flush()
    try:
        await serving
    finally:
        for worker in workers:
            worker.cancel()
