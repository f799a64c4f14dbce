# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a person would write without the collection: a loop over the API, with the least calls that do it.

    python clients.py bare|bindings OPERATION [ARGUMENTS]      ARGUMENTS is a JSON map

`bare` is http.client with kept connections, `bindings` the official package, which opens a connection for each call. Both find the servers
by the variables that the collection reads. What changes nothing compares listings with what is wanted, as any idempotent program has to,
and ends with an error when they differ.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import os
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import quote, urlsplit

from stand_in import name_of

FEW = 100  # one in so many is changed


def connection() -> tuple[str, int, str]:
    return os.environ["SP_API_HTTP_HOST"], int(os.environ["SP_API_HTTP_PORT"]), os.environ["SP_AUTH_TOKEN"]


def each(items: Iterable[Any], parallel: int, worker: Callable[[Any], None]) -> None:
    """Let `parallel` threads work through the items; each worker gets an iterator of those that nobody else gets."""
    queue = iter(items)
    lock = threading.Lock()

    def following():
        while True:
            with lock:
                try:
                    item = next(queue)
                except StopIteration:
                    return
            yield item

    threads = [threading.Thread(target=worker, args=(following(),)) for _unused in range(parallel)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def agree(different: list[Any]) -> None:
    if different:
        raise SystemExit(f"{len(different)} differ, {different[0]} for one")


class Bare:
    """StorPool's API over one kept connection."""

    def __init__(self, host: str, port: int, token: str) -> None:
        self.connection = http.client.HTTPConnection(host, port)
        self.headers = {"Authorization": f"Storpool v1:{token}", "Content-Type": "application/json"}

    def call(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body)
        self.connection.request(method, f"/ctrl/1.0/{path}", data, self.headers)
        answer = json.loads(self.connection.getresponse().read())
        if "error" in answer:
            raise SystemExit(f"{path}: {answer['error']}")
        return answer["data"]


class Cloud:
    """CloudStack's API over one kept connection."""

    def __init__(self) -> None:
        address = urlsplit(os.environ["CLOUDSTACK_ENDPOINT"])
        self.path = address.path
        self.connection = http.client.HTTPConnection(address.hostname, address.port)

    def call(self, command: str, **parameters: str) -> dict[str, Any]:
        given = {**parameters, "command": command, "response": "json", "apiKey": os.environ["CLOUDSTACK_KEY"]}
        query = "&".join(f"{name}={quote(value, safe='')}" for name, value in sorted(given.items(), key=lambda one: one[0].lower()))
        signature = hmac.new(os.environ["CLOUDSTACK_SECRET"].encode(), query.lower().encode(), hashlib.sha1).digest()
        body = f"{query}&signature={quote(base64.b64encode(signature), safe='')}"
        self.connection.request("POST", self.path, body, {"Content-Type": "application/x-www-form-urlencoded"})
        answer = self.connection.getresponse()
        content = next(iter(json.loads(answer.read()).values()))
        if answer.status != 200:
            raise SystemExit(f"{command}: {answer.status} {content}")
        return content


# -- the bare client


class BareOperations:
    def __init__(self) -> None:
        self.api = Bare(*connection())

    def one(self, name: str, size: int) -> None:
        agree([one["size"] for one in self.api.call("GET", f"Volume/{name}") if one["size"] != size])

    def loop(self, count: int, size: int) -> None:
        for number in range(count):
            self.one(name_of(number), size)

    def info(self) -> None:
        self.api.call("GET", "VolumesList")

    def _write(self, numbers: Iterable[int], parallel: int, call: str, body: dict[str, Any]) -> None:
        def worker(mine: Iterable[int]) -> None:
            client = Bare(*connection())
            for number in mine:
                name = name_of(number)
                if call == "VolumeCreate":
                    client.call("POST", call, {"name": name, **body})
                else:
                    client.call("POST", f"{call}/{name}", body)

        each(numbers, parallel, worker)

    def create(self, count: int, size: int, parallel: int) -> None:
        self._write(range(count), parallel, "VolumeCreate", {"size": size, "template": "nvme"})

    def _different(self, count: int, sizes: Callable[[int], int]) -> list[int]:
        have = {volume["name"]: volume for volume in self.api.call("GET", "VolumesList")}
        return [number for number in range(count) if have[name_of(number)]["size"] != sizes(number)]

    def unchanged(self, count: int, size: int, parallel: int) -> None:
        agree(self._different(count, lambda _number: size))

    def few(self, count: int, size: int, parallel: int) -> None:
        different = self._different(count, lambda number: size * (1 + (number % FEW == 0)))
        self._write(different, min(parallel, len(different)), "VolumeUpdate", {"size": 2 * size})

    def delete(self, count: int, size: int, parallel: int) -> None:
        self._write(range(count), parallel, "VolumeDelete", {})

    def group(self, volumes: list[str], name: str) -> None:
        there = {one["name"] for one in self.api.call("GET", "SnapshotsList")}
        wanted = [{"volume": volume, "name": f"{volume}-{name}"} for volume in volumes if f"{volume}-{name}" not in there]
        self.api.call("POST", "VolumesGroupSnapshot", {"volumes": wanted})

    # CloudStack

    def settings(self, values: dict[str, str], write: bool, parallel: int) -> None:
        found = Cloud().call("listConfigurations", pagesize="-1")["configuration"]
        have = {one["name"]: one.get("value") for one in found}
        different = [(name, value) for name, value in values.items() if have[name] != value]
        if not write:
            agree(different)

        def worker(mine: Iterable[tuple[str, str]]) -> None:
            client = Cloud()
            for name, value in mine:
                client.call("updateConfiguration", name=name, value=value)

        each(different, min(parallel, len(different)), worker)

    def hosts(self, count: int) -> None:
        cloud = Cloud()
        for command in ("listZones", "listClusters", "listStoragePools"):
            cloud.call(command)
        cloud.call("listConfigurations", pagesize="-1")
        self.api.call("GET", "ServicesList")
        hosts = cloud.call("listHosts", type="Routing")["host"]
        agree([len(hosts)] if len(hosts) != count else [])

    def templates(self, names: list[str]) -> None:
        cloud = Cloud()
        pools = [one for one in cloud.call("listStoragePools")["storagepool"] if one["provider"] == "StorPool"]
        snapshots = {one["name"] for one in self.api.call("GET", "SnapshotsList")}
        for _pool in pools:
            found = {one["name"] for one in cloud.call("listTemplates", templatefilter="all")["template"]}
            agree([name for name in names if name not in found or not snapshots])


# -- the official bindings


class BindingsOperations:
    def __init__(self) -> None:
        from storpool import spapi

        self.api = spapi.Api(*connection())

    def one(self, name: str, size: int) -> None:
        agree([one.size for one in self.api.volumeList(name) if one.size != size])

    def loop(self, count: int, size: int) -> None:
        for number in range(count):
            self.one(name_of(number), size)

    def info(self) -> None:
        self.api.volumesList()

    def create(self, count: int, size: int, parallel: int) -> None:
        for number in range(count):
            self.api.volumeCreate({"name": name_of(number), "size": size, "template": "nvme"})

    def _different(self, count: int, sizes: Callable[[int], int]) -> list[int]:
        have = {volume.name: volume for volume in self.api.volumesList()}
        return [number for number in range(count) if have[name_of(number)].size != sizes(number)]

    def unchanged(self, count: int, size: int, parallel: int) -> None:
        agree(self._different(count, lambda _number: size))

    def few(self, count: int, size: int, parallel: int) -> None:
        for number in self._different(count, lambda number: size * (1 + (number % FEW == 0))):
            self.api.volumeUpdate(name_of(number), {"size": 2 * size})

    def delete(self, count: int, size: int, parallel: int) -> None:
        for number in range(count):
            self.api.volumeDelete(name_of(number))

    def group(self, volumes: list[str], name: str) -> None:
        there = {one.name for one in self.api.snapshotsList()}
        wanted = [{"volume": volume, "name": f"{volume}-{name}"} for volume in volumes if f"{volume}-{name}" not in there]
        self.api.snapshotCreateGroup({"volumes": wanted})


if __name__ == "__main__":
    operations = {"bare": BareOperations, "bindings": BindingsOperations}[sys.argv[1]]()
    getattr(operations, sys.argv[2])(**json.loads((sys.argv[3:] or ["{}"])[0]))
