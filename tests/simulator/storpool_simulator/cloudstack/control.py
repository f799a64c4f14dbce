# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a test does to the CloudStack side besides calling its API (README, "The CloudStack server")."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ..errors import missing
from ..store import Document, Table
from . import hosts, instances, outofband, servers, storage, volumes
from .cloud import Cloud

Handler = Callable[[Request], Awaitable[Response]]
BMC_FIELDS = {"power": ("on", "off"), "broken": (True, False)}
AGENTS = ("up", "down")
POOL_FIELDS = {"allocated", "volumes", "snapshots", "template_snapshots"}


def _named(table: Table, what: str, name: str) -> Document:
    found = next((one for one in Cloud.living(table) if name in (one["id"], one["name"])), None)
    if found is None:
        raise missing(what, name)
    return found


def _choice(body: dict, key: str, choices: tuple) -> Any:
    if body[key] not in choices:
        raise ValueError(f"{key} is one of {', '.join(map(str, choices))}, not {body[key]!r}")
    return body[key]


def _sizes(place: Path) -> dict[str, int]:
    """The files under a directory, where a host may be at work: what goes away while they are listed is not there."""
    found = {}
    for directory, _unused, names in os.walk(place):
        for path in (Path(directory, name) for name in names):
            with contextlib.suppress(FileNotFoundError):
                found[str(path.relative_to(place))] = path.stat().st_size
    return dict(sorted(found.items()))


class CloudControl:
    def __init__(self, cloud: Cloud, read: Callable[[Request], Awaitable[dict]]) -> None:
        self.cloud = cloud
        self.read = read

    def routes(self, route: Callable[..., Route]) -> list[Route]:
        return [
            route("/cloudstack/in_force", self.in_force, "GET"),
            route("/cloudstack/restart", self.restart, "POST"),
            route("/cloudstack/skew", self.skew, "POST"),
            route("/cloudstack/users", self.users, "GET"),
            route("/cloudstack/hosts", self.hosts, "GET"),
            route("/cloudstack/hosts/{name}", self.host, "PUT"),
            route("/cloudstack/bmc/{address}", self.bmc, "GET", "PUT"),
            route("/cloudstack/pools/{name}", self.pool, "PUT"),
            route("/cloudstack/vms", self.vms, "GET"),
            route("/cloudstack/vms/{name}", self.vm, "PUT", "DELETE"),
            route("/cloudstack/passphrases", self.passphrases, "GET"),
            route("/cloudstack/db", self.db, "GET"),
            route("/cloudstack/log", self.log, "GET", "DELETE"),
            route("/cloudstack/work", self.work, "GET"),
            route("/cloudstack/secondary", self.secondary, "GET"),
        ]

    def _done(self, shown: Any = None) -> Response:
        self.cloud.world.commit()
        return JSONResponse({"ok": True} if shown is None else shown)

    async def in_force(self, request: Request) -> Response:
        return JSONResponse({"global": self.cloud.settings.all_in_force()})

    async def restart(self, request: Request) -> Response:
        body = await self.read(request)
        wanted = body.get("server")
        chosen = [_named(self.cloud.servers, "Management server", wanted)] if wanted else self.cloud.servers.values()
        servers.restart(self.cloud, chosen, bool(body.get("lose_jobs", False)))
        return self._done()

    async def skew(self, request: Request) -> Response:
        """How far the servers' clock is ahead of the machine's, for signatures that expire."""
        self.cloud.meta.put("skew", {"seconds": float((await self.read(request))["seconds"])})
        return self._done()

    async def users(self, request: Request) -> Response:
        """With their secrets, so that a test can ask as another one than the admin."""
        return JSONResponse({user["name"]: {"key": user["key"], "secret": user["secret"]} for user in self.cloud.users.values()})

    # Hosts and their controllers

    def _host_shown(self, host: Document) -> dict[str, Any]:
        bmc = self.cloud.bmcs.table.get(host["bmc"])
        return {
            "id": host["id"],
            "agent": host["agent"],
            "state": host["state"],
            "resourcestate": host["resource"],
            "storpool": {"cluster": host["storpool"], "client": host["client"]},
            "bmc": host["bmc"],
            "power": bmc and bmc["power"],
            "losses": bmc and bmc.get("losses", 0),
            "vms": [vm["name"] for vm in instances.running_on(self.cloud, host)],
            "boots": host["boots"],
            "encryption": hosts.encrypts(host),
            "oobm": host["oobm"] and {key: value for key, value in host["oobm"].items() if key != "password"},
            "ha": host["ha"],
        }

    async def hosts(self, request: Request) -> Response:
        return JSONResponse({host["name"]: self._host_shown(host) for host in self.cloud.living(self.cloud.hosts)})

    async def host(self, request: Request) -> Response:
        body = await self.read(request)
        host = _named(self.cloud.hosts, "Host", request.path_params["name"])
        if "boots" in body:
            host = self.cloud.hosts.change(host["id"], boots=_choice(body, "boots", (True, False)))
        if "encryption" in body:
            host = self.cloud.hosts.change(host["id"], encryption=_choice(body, "encryption", (True, False)))
        if "agent" in body:
            hosts.set_agent(self.cloud, host, _choice(body, "agent", AGENTS))
        return self._done()

    async def bmc(self, request: Request) -> Response:
        """An address that nothing answers at gets a controller."""
        address, bmcs = request.path_params["address"], self.cloud.bmcs
        known = bmcs.table.get(address)
        if request.method == "GET":
            if known is None:
                raise missing("BMC", address)
            return JSONResponse(known)
        body = await self.read(request)
        known = known or bmcs.add(address, str(body.get("user", "ADMIN")), str(body.get("password", "")))
        changes = {key: _choice(body, key, choices) for key, choices in BMC_FIELDS.items() if key in body}
        changes.update({key: str(body[key]) for key in ("user", "password") if key in body})
        bmcs.table.change(address, **changes)
        if changes.get("power", known["power"]) != known["power"]:
            outofband.power_changed(self.cloud, address, changes["power"])
        return self._done()

    async def pool(self, request: Request) -> Response:
        """What lies on a pool, for its refusals: numbers of volumes, snapshots, cached templates, bytes given away."""
        pool = _named(self.cloud.pools, "Storage pool", request.path_params["name"])
        body = await self.read(request)
        unknown = body.keys() - POOL_FIELDS
        if unknown:
            raise ValueError(f"a pool has no {', '.join(sorted(unknown))}")
        self.cloud.pools.change(pool["id"], **{key: int(value) for key, value in body.items()})
        return self._done()

    # Instances

    async def vms(self, request: Request) -> Response:
        return JSONResponse({vm["name"]: {**vm, "disks": self._disks(vm)} for vm in self.cloud.living(self.cloud.vms)})

    def _disks(self, vm: Document) -> list[dict[str, Any]]:
        """What the VM has by device: `seen` is the size that it knows of while it runs."""
        keys = ("id", "name", "type", "device", "path", "size", "seen", "state")
        return [{key: volume[key] for key in keys} for volume in volumes.of_vm(self.cloud, vm["id"])]

    async def vm(self, request: Request) -> Response:
        """Puts an instance on a host, or takes it away."""
        name = request.path_params["name"]
        if request.method == "DELETE":
            vm = _named(self.cloud.vms, "Instance", name)
            self.cloud.vms.change(vm["id"], removed=self.cloud.world.clock.now(), host=None, state="Destroyed")
            return self._done()
        body = await self.read(request)
        host = _named(self.cloud.hosts, "Host", body["host"])
        pool = _named(self.cloud.pools, "Storage pool", body["pool"]) if "pool" in body else None
        return self._done({"id": instances.place(self.cloud, name, host, pool, bool(body.get("ha", True)))["id"]})

    async def log(self, request: Request) -> Response:
        """What the management servers logged of what nothing else tells."""
        if request.method == "DELETE":
            self.cloud.journal.clear()
        return JSONResponse({"lines": self.cloud.journal.shown()})

    async def work(self, request: Request) -> Response:
        """Work that is under way, and what waits to be preloaded."""
        return JSONResponse({"under_way": list(self.cloud.workshop.under_way), "preloads": self.cloud.preloads.values()})

    async def secondary(self, request: Request) -> Response:
        """The directory of each image store, and the files in it."""
        shown = {}
        for store in self.cloud.living(self.cloud.stores):
            place = self.cloud.secondary.path(store, "")
            shown[store["name"]] = {"directory": str(place), "files": _sizes(place)}
        return JSONResponse(shown)

    async def passphrases(self, request: Request) -> Response:
        """The passphrase of each encrypted volume, so that a test can look behind its LUKS header."""
        return JSONResponse({one["id"]: one["passphrase"] for one in self.cloud.volumes.values() if one.get("passphrase")})

    # The database

    async def db(self, request: Request) -> Response:
        """Tables as they are, without secrets of users."""
        cloud = self.cloud
        pools = [{**pool, "details": storage.details(cloud, pool)} for pool in cloud.pools.values()]
        return JSONResponse(
            {
                "pools": pools,
                "configurations": cloud.settings.stored.values(),
                "hosts": cloud.hosts.values(),
                "clusters": cloud.clusters.values(),
                "zones": cloud.zones.values(),
                "servers": cloud.servers.values(),
                "vms": cloud.vms.values(),
                "jobs": cloud.jobs.table.values(),
                "templates": cloud.templates.values(),
                "template_store_ref": cloud.template_stores.values(),
                "template_spool_ref": cloud.template_pools.values(),
                "disk_offerings": cloud.disk_offerings.values(),
                "service_offerings": cloud.service_offerings.values(),
                "volumes": [{key: value for key, value in one.items() if key != "passphrase"} for one in cloud.volumes.values()],
                "snapshots": cloud.snapshots.values(),
                "snapshot_store_ref": cloud.snapshot_stores.values(),
                "vm_snapshots": cloud.vm_snapshots.values(),
            }
        )
