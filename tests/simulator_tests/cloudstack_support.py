# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the CloudStack side share: a signature of their own, raw requests, and what an answer must look like."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from storpool_simulator.testing import Simulator

VERSIONS = ("4.19.3", "4.20.2", "4.21.0", "4.22.0")
KEPT_BY_JAVA = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-*_")


def java_encoded(text: str) -> str:
    """java.net.URLEncoder, with the space as %20, byte by byte."""
    return "".join(chr(byte) if byte in KEPT_BY_JAVA else f"%{byte:02X}" for byte in text.encode())


def sign(params: dict[str, str], secret: str, encode: Any = java_encoded) -> str:
    text = "&".join(f"{name}={encode(params[name])}" for name in sorted(params)).lower()
    return base64.b64encode(hmac.new(secret.encode(), text.encode(), hashlib.sha1).digest()).decode()


def in_seconds(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S+0000", time.gmtime(time.time() + seconds))


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    text: bytes

    @property
    def document(self) -> dict[str, Any]:
        return json.loads(self.text)

    @property
    def envelope(self) -> str:
        (name,) = self.document
        return name

    @property
    def content(self) -> dict[str, Any]:
        return self.document[self.envelope]


def send(url: str, params: dict[str, str], method: str = "GET", body: dict[str, str] | None = None) -> Reply:
    """`params` go by the query string when it is a GET, or when there is a `body` as well."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)

    def joined(some: dict[str, str]) -> str:
        return "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in some.items())

    try:
        if method == "GET" or body is not None:
            connection.request(
                method, f"{parts.path}?{joined(params)}", joined(body or {}), {"Content-Type": "application/x-www-form-urlencoded"}
            )
        else:
            connection.request(method, parts.path, joined(params), {"Content-Type": "application/x-www-form-urlencoded"})
        response = connection.getresponse()
        return Reply(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
    finally:
        connection.close()


def call(
    sim: Simulator, command: str, method: str = "GET", encode: Any = java_encoded, keys: tuple[str, str] | None = None, **params: str
) -> Reply:
    """Signed without an expiry, unless the parameters have one."""
    key, secret = keys or (sim.cloudstack["key"], sim.cloudstack["secret"])
    wanted = {"command": command, "response": "json", "apiKey": key, **params}
    return send(sim.cloudstack["url"], {**wanted, "signature": sign(wanted, secret, encode)}, method)


def ok(sim: Simulator, command: str, **params: Any) -> dict[str, Any]:
    status, content = sim.cs(command, **params)
    assert status == 200, f"{command}: {status} {content}"
    return content


def refused(sim: Simulator, command: str, **params: Any) -> dict[str, Any]:
    """The body of a refusal, whose status is its error code."""
    status, content = sim.cs(command, **params)
    assert status != 200, f"{command} should have been refused: {content}"
    assert content["errorcode"] == status and content["uuidList"] == []
    return content


def one(sim: Simulator, command: str, key: str, **params: Any) -> dict[str, Any]:
    (found,) = ok(sim, command, **params)[key]
    return found


def named(sim: Simulator, command: str, key: str, name: str, **params: Any) -> str:
    """The id of the object of that name."""
    return one(sim, command, key, name=name, **params)["id"]


def setting(sim: Simulator, name: str, **scope: str) -> dict[str, Any]:
    (found,) = [row for row in ok(sim, "listConfigurations", name=name, **scope).get("configuration", ()) if row["name"] == name]
    return found


def job(sim: Simulator, command: str, **params: Any) -> dict[str, Any]:
    """The result of a job that must succeed."""
    return sim.cs_done(command, **params)


def failed_job(sim: Simulator, command: str, **params: Any) -> dict[str, Any]:
    done = sim.cs_job(command, **params)
    assert done["jobstatus"] == 2, done
    assert done["jobresultcode"] == done["jobresult"]["errorcode"] and set(done["jobresult"]) == {"errorcode", "errortext"}
    return done["jobresult"]
