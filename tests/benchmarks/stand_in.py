# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A stand-in for StorPool that is fast enough to measure clients with: it answers a call in about 0.05 ms, keeps nothing, proves nothing.

What is right is tested against the simulator; here the server must not be what is measured. It knows the calls that the benchmark makes, in
the shape of the API reference, and holds every answer back for as long as it is told (the latency of a real cluster).

    python stand_in.py [ANSWERS [CERTIFICATE]]      prints one JSON line, {"port": N}, and serves until its standard input ends

    POST /bench/fill {"volumes": N, "size": BYTES}   has exactly the volumes b-00000 ... and forgets the calls
    POST /bench/latency {"seconds": S}               answers after S seconds
    POST /bench/calls                                {"reads": N, "writes": N, "connections": N} since the last fill

ANSWERS, a JSON map, are what other paths answer, for what other collections speak to; with CERTIFICATE, a file that holds the key, too, it
serves HTTPS.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from typing import Any

PREFIX = "/ctrl/1.0/"
CONTROL = "/bench/"
TEMPLATE = {
    "bw": "-",
    "id": 1,
    "iops": "-",
    "limitType": "total",
    "name": "nvme",
    "parentName": "",
    "placeAll": "nvme",
    "placeHead": "nvme",
    "placeTail": "nvme",
    "replication": 3,
    "reuseServer": False,
    "size": "-",
}


def name_of(number: int) -> str:
    return f"b-{number:05d}"


def dump(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


class Cluster:
    """Volumes as the API shows them, kept as the JSON texts that a listing is made of."""

    def __init__(self, answers: dict[str, Any] | None = None) -> None:
        self.answers = {path: dump(value) for path, value in (answers or {}).items()}
        self.latency = 0.0
        self.fill(0, 0)

    def fill(self, volumes: int, size: int) -> None:
        self.volumes: dict[str, dict[str, Any]] = {}
        self.texts: dict[str, bytes] = {}
        self.reads = self.writes = self.connections = self.created = 0
        for number in range(volumes):
            self.create({"name": name_of(number), "size": size, "template": "nvme"})

    def put(self, volume: dict[str, Any]) -> None:
        self.volumes[volume["name"]] = volume
        self.texts[volume["name"]] = dump(volume)

    def create(self, body: dict[str, Any]) -> dict[str, Any]:
        self.created += 1
        identity = f"a1.b.{self.created:x}"
        name = body.get("name") or "~" + identity
        self.put(
            {
                "bw": body.get("bw", "-"),
                "creationTimestamp": 1700000000,
                "firstNotParentObjectId": 0,
                "flags": 0,
                "globalId": identity,
                "id": self.created,
                "iops": body.get("iops", "-"),
                "limitType": "total",
                "name": name,
                "objectsCount": 32,
                "originalParentVolumeId": 0,
                "parentName": "",
                "parentVolumeId": 0,
                "placeAll": "nvme",
                "placeHead": "nvme",
                "placeTail": "nvme",
                "replication": 3,
                "reuseServer": False,
                "size": body["size"],
                "tags": body.get("tags", {}),
                "templateId": 1,
                "templateName": body.get("template", ""),
                "visibleVolumeId": self.created,
            }
        )
        return {"ok": True, "generation": self.created, "globalId": identity, "name": name}

    def fixed(self, method: str, path: str) -> bytes:
        """Return the answer to a call of another API: always the same."""
        if method == "GET":
            self.reads += 1
        else:
            self.writes += 1
        return self.answers[path.partition("?")[0]]

    def answer(self, method: str, path: str, body: bytes) -> bytes:
        """Return the body of the answer to a call."""
        call, _slash, on = path[len(PREFIX) :].partition("/")
        if method == "GET":
            self.reads += 1
            if call == "VolumesList":
                return b'{"generation":1,"data":[' + b",".join(self.texts.values()) + b"]}"
            if call == "Volume" and on in self.texts:
                return b'{"generation":1,"data":[' + self.texts[on] + b"]}"
            if call == "VolumeTemplatesList":
                return dump({"generation": 1, "data": [TEMPLATE]})
            if call == "AttachmentsList":
                return dump({"generation": 1, "data": []})
            return dump({"error": {"name": "objectDoesNotExist", "descr": f"no {call} {on}", "transient": False}})
        self.writes += 1
        request = json.loads(body) if body else {}
        if call == "VolumeCreate":
            data = self.create(request)
        elif on not in self.volumes:
            return dump({"error": {"name": "objectDoesNotExist", "descr": f"no volume {on}", "transient": False}})
        elif call == "VolumeUpdate":
            self.put({**self.volumes[on], **{key: value for key, value in request.items() if key in ("size", "iops", "bw", "tags")}})
            data = {"ok": True, "generation": self.created, "name": on}
        else:
            del self.volumes[on], self.texts[on]
            data = {"ok": True, "generation": self.created}
        return dump({"generation": self.created, "data": data})

    def control(self, path: str, body: bytes) -> bytes:
        request = json.loads(body) if body else {}
        if path == CONTROL + "fill":
            self.fill(request["volumes"], request["size"])
        elif path == CONTROL + "latency":
            self.latency = request["seconds"]
        return dump({"reads": self.reads, "writes": self.writes, "connections": self.connections})


class Connection(asyncio.Protocol):
    """As much HTTP as the clients here speak: requests with Content-Length, one after the other, kept alive unless told otherwise."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.received = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.cluster.connections += 1

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, found, rest = self.received.partition(b"\r\n\r\n")
        if not found:
            return
        start, _end, headers = head.decode("latin-1").partition("\r\n")
        fields = {name.lower(): value.strip() for name, _colon, value in (line.partition(":") for line in headers.split("\r\n"))}
        length = int(fields.get("content-length", 0))
        if len(rest) < length:
            return
        self.received = rest[length:]
        method, path, version = start.split(" ")
        close = version == "HTTP/1.0" or fields.get("connection", "").lower() == "close"
        delay = self.cluster.latency
        if path.startswith(PREFIX):
            body = self.cluster.answer(method, path, rest[:length])
        elif path.startswith(CONTROL):
            body, delay = self.cluster.control(path, rest[:length]), 0.0
        else:
            body = self.cluster.fixed(method, path)
        answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        if delay:
            asyncio.get_running_loop().call_later(delay, self.reply, answer, close)
        else:
            self.reply(answer, close)

    def reply(self, answer: bytes, close: bool) -> None:
        self.transport.write(answer)
        if close:
            self.transport.close()


async def serve(answers: str = "null", certificate: str | None = None) -> None:
    loop = asyncio.get_running_loop()
    cluster = Cluster(json.loads(answers))
    tls = None
    if certificate:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(certificate)
    server = await loop.create_server(lambda: Connection(cluster), "127.0.0.1", 0, backlog=1024, ssl=tls)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    try:
        import uvloop
    except ImportError:
        asyncio.run(serve(*sys.argv[1:]))
    else:
        uvloop.run(serve(*sys.argv[1:]))
