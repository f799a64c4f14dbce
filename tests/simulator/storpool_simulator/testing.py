# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A simulator as a child process, for tests."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from .cloudstack import client

START_SECONDS = 120.0  # a machine that has much else to do may take a while
STOP_SECONDS = 60.0
POLL = 0.005
IDLE = 60.0  # seconds after which a kept connection is not trusted any more


class SimulatorError(Exception):
    """The simulator did not start, or refused what a test asked of it."""


def address(of: dict[str, Any] | str) -> str:
    """How StorPool's calls name what CloudStack lists with a path, or knows by that path."""
    path = of if isinstance(of, str) else of["path"]
    return "~" + path.rpartition("/")[2]


class Simulator:
    """`flags` are those of the command: devices="none", port=8100, assume={"error_status": 200}, env_file=..., topology=..."""

    def __init__(self, state_dir: str | Path, **flags: Any) -> None:
        self.state_dir = Path(state_dir)
        self.flags = flags
        self.ready: dict[str, Any] = {}
        self.log_path = self.state_dir / "simulator.log"
        self._process: subprocess.Popen | None = None
        self._control: http.client.HTTPConnection | None = None
        self._api: dict[str, http.client.HTTPConnection] = {}
        self._used: dict[int, float] = {}
        self._reserved: list[socket.socket] = []

    # Life

    def __enter__(self) -> Simulator:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _command(self) -> list[str]:
        command = [sys.executable, "-m", "storpool_simulator", "--state", str(self.state_dir)]
        for name, value in self.flags.items():
            if value is None:
                continue
            option = "--" + name.replace("_", "-")
            if name == "assume":
                pairs = [f"{key}={one}" for key, one in value.items()] if isinstance(value, dict) else list(value)
                for pair in pairs:
                    command += [option, pair]
            else:
                command += [option, str(value)]
        return command

    def start(self) -> None:
        if self._process is not None:
            raise SimulatorError("the simulator runs already")
        self.state_dir.mkdir(parents=True, exist_ok=True)
        with open(self.log_path, "ab") as log:
            self._process = subprocess.Popen(self._command(), stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL)
        line = self._first_line()
        self._release()
        if not line:
            self._end(signal.SIGKILL)
            raise SimulatorError(f"the simulator did not start:\n{self.log_path.read_text()[-4000:]}")
        self.ready = json.loads(line)

    def _first_line(self) -> bytes:
        assert self._process is not None and self._process.stdout is not None
        fd, line, deadline = self._process.stdout.fileno(), b"", time.monotonic() + START_SECONDS
        while not line.endswith(b"\n") and (left := deadline - time.monotonic()) > 0:
            if not select.select([fd], [], [], left)[0]:
                break
            part = os.read(fd, 65536)
            if not part:
                return b""
            line += part
        return line if line.endswith(b"\n") else b""

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        for connection in (self._control, *self._api.values()):
            if connection is not None:
                connection.close()
        self._control, self._api = None, {}
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(number)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        assert process.stdout is not None
        process.stdout.close()

    def stop(self) -> None:
        """SIGTERM: devices are detached."""
        self._end(signal.SIGTERM)
        self._release()

    def kill(self) -> None:
        """kill -9. Nobody else gets its ports before the next start."""
        self._end(signal.SIGKILL)
        self._reserve()

    def restart(self) -> None:
        """Same state, same ports; after `kill` a plain start."""
        self.stop()
        self._reserve()
        self.start()

    def _reserve(self) -> None:
        """Take the ports without listening: the system gives them to nobody, and the simulator can have them all the same."""
        if self._reserved:
            return
        urls = [cluster["url"] for cluster in self.ready.get("clusters", {}).values()]
        if "cloudstack" in self.ready:
            urls.append(self.cloudstack["url"])
        for parts in map(urlsplit, urls):
            one = socket.socket(socket.AF_INET6 if ":" in (parts.hostname or "") else socket.AF_INET)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._reserved.append(one)
            with contextlib.suppress(OSError):
                one.bind((parts.hostname, parts.port))

    def _release(self) -> None:
        while self._reserved:
            self._reserved.pop().close()

    @property
    def pid(self) -> int:
        return self.ready["pid"]

    # Where it is

    @property
    def clusters(self) -> dict[str, dict[str, str]]:
        return self.ready["clusters"]

    @property
    def first(self) -> str:
        """The name of the first cluster."""
        return next(iter(self.clusters))

    @property
    def url(self) -> str:
        return self.clusters[self.first]["url"]

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 0

    @property
    def token(self) -> str:
        return self.ready["token"]

    @property
    def devices(self) -> Path | None:
        """The directory with CLUSTER/CLIENT/storpool/NAME, or None."""
        return Path(self.ready["devices"]) if self.ready["devices"] else None

    @property
    def cloudstack(self) -> dict[str, Any]:
        """url, key, secret, version and integration_url, when it was started with cloudstack="4.20.2" or the like."""
        if "cloudstack" not in self.ready:
            raise SimulatorError("the simulator was started without a CloudStack")
        return self.ready["cloudstack"]

    @property
    def release(self) -> tuple[int, ...]:
        """CloudStack's version, to be compared."""
        return tuple(int(part) for part in self.cloudstack["version"].split("."))

    # Control

    @staticmethod
    def _connect(url: str) -> http.client.HTTPConnection:
        parts = urlsplit(url)
        return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=120)

    def _refresh(self, connection: http.client.HTTPConnection) -> None:
        """Let a connection that has been idle be made anew: the server closes it after ten minutes."""
        now = time.monotonic()
        if now - self._used.get(id(connection), now) > IDLE:
            connection.close()
        self._used[id(connection)] = now

    def _send(self, method: str, path: str, body: bytes | None = None) -> bytes:
        if self._control is None:
            self._control = self._connect(self.url)
        self._refresh(self._control)
        try:
            self._control.request(method, "/_sim" + path, body)
            response = self._control.getresponse()
            answer = response.read()
        except (http.client.HTTPException, OSError):
            self._control.close()
            self._control = None
            raise
        if response.status != 200:
            raise SimulatorError(f"{method} /_sim{path}: {response.status} {answer.decode(errors='replace')}")
        return answer

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """A request of the control interface, JSON both ways."""
        return json.loads(self._send(method, path, None if body is None else json.dumps(body).encode()))

    def calls(self, summary: bool = False) -> dict:
        return self.control("GET", "/calls?summary=1" if summary else "/calls")

    def heard(self) -> None:
        """Return once the server has begun with all that was sent to it before, also by those who do not wait for an answer any more.

        It takes connections in their order; those that it has are read in turns, and with the second one everybody had a turn.
        """
        for _unused in range(2):
            connection = self._connect(self.url)
            connection.request("GET", "/_sim/health")
            connection.getresponse().read()
            connection.close()

    def reset_calls(self) -> None:
        self.control("DELETE", "/calls")

    def fault(self, kind: str, call: str = "*", **more: Any) -> int:
        return self.control("POST", "/faults", {"kind": kind, "call": call, **more})["id"]

    def lift(self, fault: int) -> None:
        """Remove one fault; what it held goes on."""
        self.control("DELETE", f"/faults/{fault}")

    def faults(self) -> list[dict]:
        return self.control("GET", "/faults")["faults"]

    def clear_faults(self) -> None:
        self.control("DELETE", "/faults")

    def advance(self, seconds: float) -> None:
        self.control("POST", "/clock", {"advance": seconds})

    def stop_clock(self, stopped: bool = True) -> None:
        """Let no time pass but what `advance` says, however long the test takes; False lets it go on from there."""
        self.control("POST", "/clock", {"stopped": stopped})

    def settle(self) -> None:
        self.control("POST", "/settle")

    def background(self, auto: bool) -> None:
        self.control("POST", "/background", {"auto": auto})

    def client(self, id: int, status: str, cluster: str | None = None, lag: float | None = None) -> None:
        body = {"status": status} if lag is None else {"status": status, "lag": lag}
        self.control("PUT", f"/clients/{cluster or self.first}/{id}", body)

    def open(self, name: str, client: int, open: bool = True, cluster: str | None = None) -> None:
        self.control("PUT", f"/open/{cluster or self.first}/{quote(name, safe='')}", {"client": client, "open": open})

    def _content_path(self, name: str, cluster: str | None) -> str:
        return f"/content/{cluster or self.first}/{quote(name, safe='')}"

    def content(self, name: str, cluster: str | None = None) -> dict:
        return self.control("GET", self._content_path(name, cluster))

    def fingerprint(self, name: str, cluster: str | None = None) -> str:
        """Equal for equal size and bytes, as sha256 in `content`, but holes take no time."""
        return self.control("GET", self._content_path(name, cluster) + "/fingerprint")["fingerprint"]

    def write(self, name: str, data: bytes, offset: int = 0, cluster: str | None = None) -> None:
        self._send("PUT", f"{self._content_path(name, cluster)}?offset={offset}", data)

    def read(self, name: str, offset: int, length: int, cluster: str | None = None) -> bytes:
        return self._send("GET", f"{self._content_path(name, cluster)}/raw?offset={offset}&length={length}")

    # The CloudStack side

    def in_force(self) -> dict[str, str | None]:
        """Every setting with the value that the server really works with."""
        return self.control("GET", "/cloudstack/in_force")["global"]

    def restart_server(self, server: str | None = None, lose_jobs: bool = False) -> None:
        """Restart one management server, or all."""
        self.control("POST", "/cloudstack/restart", {"server": server, "lose_jobs": lose_jobs})

    def hosts(self) -> dict[str, dict]:
        return self.control("GET", "/cloudstack/hosts")

    def agent(self, host: str, agent: str) -> None:
        self.control("PUT", f"/cloudstack/hosts/{quote(host, safe='')}", {"agent": agent})

    def bmc(self, address: str, **fields: Any) -> None:
        self.control("PUT", f"/cloudstack/bmc/{quote(address, safe='')}", fields)

    def vm(self, name: str, host: str, **more: Any) -> str:
        """Put an instance on a host; gives its id."""
        return self.control("PUT", f"/cloudstack/vms/{quote(name, safe='')}", {"host": host, **more})["id"]

    def deploy(self, name: str, template: str = "debian-12", offering: str = "Small Instance", zone: str = "sofia", **more: Any) -> dict:
        """Deploy a VM from a template by CloudStack's API; gives the VM."""
        named = {one["name"]: one["id"] for one in self.cs("listTemplates", templatefilter="all")[1]["template"]}
        offerings = {one["name"]: one["id"] for one in self.cs("listServiceOfferings")[1]["serviceoffering"]}
        zones = {one["name"]: one["id"] for one in self.cs("listZones")[1]["zone"]}
        given = {"templateid": named[template], "serviceofferingid": offerings[offering], "zoneid": zones[zone], **more}
        return self.cs_done("deployVirtualMachine", name=name, **given)["virtualmachine"]

    def log(self) -> list[dict]:
        """What only the management servers' log tells: what became of prepareTemplate, collected caches, abandoned objects."""
        return self.control("GET", "/cloudstack/log")["lines"]

    def vms(self) -> dict[str, dict]:
        """By name, with their disks."""
        return self.control("GET", "/cloudstack/vms")

    def db(self) -> dict[str, list[dict]]:
        return self.control("GET", "/cloudstack/db")

    def secondary(self, store: str = "nfs-secondary") -> dict:
        """The directory of an image store, and the files in it."""
        return self.control("GET", "/cloudstack/secondary")[store]

    def counters(self) -> dict:
        return self.control("GET", "/counters")

    def reset(self) -> None:
        self.control("POST", "/reset")

    # The API itself

    def _call(self, method: str, path: str, body: Any, cluster: str | None) -> tuple[int, Any]:
        data = None if method == "GET" else b"" if body is None else json.dumps(body).encode()
        url = self.clusters[cluster or self.first]["url"]
        return self._exchange(url, method, "/ctrl/1.0/" + path, data, {"Authorization": f"Storpool v1:{self.token}"})

    def _exchange(self, url: str, method: str, path: str, data: bytes | None, headers: dict[str, str]) -> tuple[int, Any]:
        """A request and its answer: (status, decoded JSON). The connection is kept for the next one; threads have one each."""
        place = urlsplit(url).netloc
        connection = self._api.pop(place, None) or self._connect(url)
        self._refresh(connection)
        try:
            connection.request(method, path, data, headers)
            response = connection.getresponse()
            answer = response.read()
        except BaseException:
            connection.close()
            raise
        self._api[place] = connection
        return response.status, json.loads(answer)

    def get(self, path: str, cluster: str | None = None) -> tuple[int, Any]:
        """A raw API call, the path after /ctrl/1.0/: (status, decoded JSON)."""
        return self._call("GET", path, None, cluster)

    def cs(self, command: str, **params: Any) -> tuple[int, dict[str, Any]]:
        """A signed CloudStack call by POST: (status, content of the envelope). Booleans, lists and maps go out as the API takes them."""
        status, document = self.cs_raw(client.signed(client.query(command, params, self.cloudstack["key"]), self.cloudstack["secret"]))
        return status, next(iter(document.values()))

    def cs_raw(self, query: str, method: str = "POST", url: str | None = None) -> tuple[int, Any]:
        """A CloudStack request as it stands: (status, decoded JSON)."""
        wanted = url or self.cloudstack["url"]
        path = urlsplit(wanted).path
        if method == "POST":
            return self._exchange(wanted, method, path, query.encode(), {"Content-Type": "application/x-www-form-urlencoded"})
        return self._exchange(wanted, method, f"{path}?{query}", None, {})

    def cs_job(self, command: str, **params: Any) -> dict[str, Any]:
        """An asynchronous command, waited for: the job as queryAsyncJobResult shows it at its end."""
        status, started = self.cs(command, **params)
        if status != 200:
            raise SimulatorError(f"{command}: {status} {started}")
        while True:
            job = self.cs("queryAsyncJobResult", jobid=started["jobid"])[1]
            if job["jobstatus"]:
                return job
            # Others need the processor meanwhile
            time.sleep(POLL)

    def cs_done(self, command: str, **params: Any) -> dict[str, Any]:
        """The result of an asynchronous command that must succeed."""
        job = self.cs_job(command, **params)
        if job["jobstatus"] != 1:
            raise SimulatorError(f"{command} failed: {job}")
        return job["jobresult"]

    def cs_volumes(self, **which: Any) -> list[dict[str, Any]]:
        """The volumes of everybody, as CloudStack lists them."""
        status, listed = self.cs("listVolumes", listall=True, **which)
        if status != 200:
            raise SimulatorError(f"listVolumes: {status} {listed}")
        return listed.get("volume", [])

    def post(self, path: str, body: Any = None, cluster: str | None = None) -> tuple[int, Any]:
        return self._call("POST", path, body, cluster)
