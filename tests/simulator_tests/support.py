# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A raw client of its own that checks every answer against the field tables, and small helpers for the tests."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import random
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from storpool_simulator.testing import Simulator

from . import tables

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


def no_duplicates(pairs: list[tuple[str, Any]]) -> dict:
    """An object of JSON whose keys differ from each other."""
    keys = [key for key, _unused in pairs]
    assert len(keys) == len(set(keys)), f"a key twice in one object: {sorted(keys)}"
    return dict(pairs)


@dataclass
class Reply:
    method: str
    path: str
    status: int
    body: Any
    headers: dict[str, str]
    seconds: float = 0.0

    @property
    def data(self) -> Any:
        assert isinstance(self.body, dict) and "error" not in self.body, f"{self.method} {self.path}: {self.status} {self.body}"
        return self.body["data"]

    @property
    def generation(self) -> int:
        assert isinstance(self.body, dict) and "error" not in self.body, f"{self.method} {self.path}: {self.status} {self.body}"
        return self.body["generation"]

    @property
    def failed(self) -> bool:
        return isinstance(self.body, dict) and "error" in self.body

    @property
    def error(self) -> str:
        assert self.failed, f"{self.method} {self.path} should have failed: {self.status} {self.body}"
        return self.body["error"]["name"]

    @property
    def descr(self) -> str:
        assert self.failed, f"{self.method} {self.path} should have failed: {self.status} {self.body}"
        return self.body["error"]["descr"]


NOT_SENT = object()


@dataclass
class Client:
    """One cluster's port, over one keep-alive connection; `prefix` gives the path form."""

    url: str
    token: str
    prefix: str = ""
    cluster: str = "sofia-a"
    validate: bool = True
    timeout: float = 30.0
    auth: str | None = None
    _conn: http.client.HTTPConnection | None = field(default=None, repr=False)

    def at(self, prefix: str) -> Client:
        return Client(self.url, self.token, prefix, self.cluster, self.validate, self.timeout, self.auth)

    def close(self) -> None:
        if self._conn is not None:
            self._conn.close()
            self._conn = None

    def _send(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> tuple[http.client.HTTPResponse, bytes]:
        parts = urlsplit(self.url)
        fresh = self._conn is None
        if self._conn is None:
            self._conn = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=self.timeout)
        try:
            self._conn.request(method, path, body, headers)
            response = self._conn.getresponse()
            return response, response.read()
        except http.client.RemoteDisconnected:
            self.close()
            if fresh:
                raise
            return self._send(method, path, body, headers)
        except Exception:
            self.close()
            raise

    def raw(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Reply:
        """Any request at all; the body of the answer is decoded when it is JSON and left as bytes otherwise."""
        if headers is None:
            headers = {"Authorization": self.auth if self.auth is not None else f"Storpool v1:{self.token}"}
        started = time.monotonic()
        response, data = self._send(method, path, body, headers)
        took = time.monotonic() - started
        if response.getheader("Connection", "").lower() == "close":
            self.close()
        decoded: Any = data
        if "json" in response.getheader("Content-Type", ""):
            decoded = json.loads(data, object_pairs_hook=no_duplicates)
        return Reply(method, path, response.status, decoded, dict(response.getheaders()), took)

    def call(self, method: str, query: str, body: Any = NOT_SENT) -> Reply:
        path = f"/ctrl/1.0/{self.prefix}{query}"
        reply = self.raw(method, path, None if body is NOT_SENT else json.dumps(body).encode())
        if self.validate:
            faults = tables.check_envelope(method, path, reply.status, reply.body)
            assert not faults, f"{method} {path} answered out of form:\n" + "\n".join(faults[:20])
        return reply

    def get(self, query: str, arg: Any = NOT_SENT) -> Reply:
        return self.call("GET", query if arg is NOT_SENT else f"{query}?json={quote(json.dumps(arg), safe='')}")

    def post(self, query: str, body: Any = NOT_SENT) -> Reply:
        return self.call("POST", query, body)

    def do(self, query: str, body: Any = NOT_SENT) -> Any:
        """A change that must succeed; gives its data."""
        return self.post(query, body).data

    def sim(self, method: str, path: str, body: Any = NOT_SENT, raw: bytes | None = None) -> Any:
        """The control interface."""
        data = raw if raw is not None else None if body is NOT_SENT else json.dumps(body).encode()
        reply = self.raw(method, f"/_sim/{path}", data, {"Content-Type": "application/json"} if raw is None else {})
        assert reply.status in (200, 201, 204), f"{method} /_sim/{path}: {reply.status} {reply.body!r}"
        return reply.body

    # Contents, by the control interface

    def write(self, name: str, data: bytes, offset: int = 0) -> None:
        self.sim("PUT", f"content/{self.cluster}/{quote(name, safe='')}?offset={offset}", raw=data)

    def content(self, name: str) -> dict:
        return self.sim("GET", f"content/{self.cluster}/{quote(name, safe='')}")

    def sha(self, name: str) -> str:
        return self.content(name)["sha256"]

    def read(self, name: str, offset: int, length: int) -> bytes:
        path = f"/_sim/content/{self.cluster}/{quote(name, safe='')}/raw?offset={offset}&length={length}"
        reply = self.raw("GET", path, headers={})
        assert reply.status == 200 and isinstance(reply.body, bytes), reply
        return reply.body

    # What exists

    def volumes(self) -> dict[str, dict]:
        return by_name(self.get("VolumesList").data)

    def snapshots(self) -> dict[str, dict]:
        return by_name(self.get("SnapshotsList").data)

    def volume(self, name: str) -> dict:
        found = self.get(f"Volume/{name}").data
        assert len(found) == 1, found
        return found[0]

    def snapshot(self, name: str) -> dict:
        found = self.get(f"Snapshot/{name}").data
        assert len(found) == 1, found
        return found[0]

    def attachments(self, name: str | None = None) -> list[dict]:
        return [item for item in self.get("AttachmentsList").data if name in (None, item["volume"])]

    def attached(self, name: str) -> dict[int, str]:
        return {item["client"]: item["rights"] for item in self.attachments(name)}

    def generation(self) -> int:
        return self.get("ServicesList").generation

    # Short forms of frequent changes

    def create(self, name: str | None = None, size: int | None = MIB, **more: Any) -> dict:
        body = {key: value for key, value in {"name": name, "size": size, **more}.items() if value is not None}
        return self.do("VolumeCreate", body)

    def snap(self, volume: str, name: str | None = None, **more: Any) -> dict:
        return self.do(f"VolumeSnapshot/{volume}", {**({} if name is None else {"name": name}), **more})

    def attach(self, name: str, *, snapshot: bool = False, **more: Any) -> dict:
        return self.do("VolumesReassignWait", {"reassign": [{"snapshot" if snapshot else "volume": name, **more}]})


def by_name(items: list[dict]) -> dict[str, dict]:
    names = [item["name"] for item in items]
    assert len(names) == len(set(names)), f"a name twice in one listing: {sorted(names)}"
    return {item["name"]: item for item in items}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def state(api: Client) -> dict[str, Any]:
    """All that a change could have changed, generation included."""
    listing = api.get("VolumesList")
    queries = (
        "SnapshotsList",
        "AttachmentsList",
        "VolumeTemplatesList",
        "PlacementGroupsList",
        "LocationsList",
        "ClustersList",
        "RemoteBridgesList",
        "MaintenanceList",
        "KV",
        "ExportsList",
    )
    found = {query: api.get(query).data for query in queries}
    for node in found["MaintenanceList"]["nodes"]:
        node.pop("remaining", None)
    for bucket in found["KV"]["buckets"]:
        found[f"KV/List/{bucket}"] = api.get(f"KV/List/{bucket}").data
    return {"generation": listing.generation, "VolumesList": listing.data, **found}


def files_of(sim: Simulator) -> dict[str, int]:
    """The files below the state directory with the bytes they take, whatever the simulator itself says of them."""
    paths = [path for path in Path(sim.state_dir).rglob("*") if path.is_file() and not path.is_symlink()]
    return {str(path): path.stat().st_blocks * 512 for path in paths if ".sqlite" not in path.name and ".db" not in path.name}


def free_ports(count: int = 1) -> int:
    """The first of so many ports in a row that nobody has, below those that Linux hands out: nobody else takes them meanwhile."""
    while True:
        first = random.randrange(20000, 32000)
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            for number in range(first, first + count):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", number))
            return first


def wait_until(what: Callable[[], Any], seconds: float = 60.0, pause: float = 0.02) -> Any:
    """Wait until something is true; gives its value."""
    deadline = time.monotonic() + seconds
    while True:
        value = what()
        if value:
            return value
        assert time.monotonic() < deadline, f"not so within {seconds} s"
        time.sleep(pause)
