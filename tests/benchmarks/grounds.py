# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The servers that contenders are run against. Each has the environment by which they find it, a latency, and counts what it is asked.

What speaks to StorPool alone is measured against a stand-in that answers in 0.05 ms, so that clients and not the server take the time. What
speaks to CloudStack needs its answers to be right, so there it is the simulator: its time is in every contender's alike.
"""

from __future__ import annotations

import http.client
import json
import ssl
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from storpool_simulator.testing import Simulator

HERE = Path(__file__).resolve().parent
GIB = 1 << 30
TOKEN = "4815162342481516234"


class StandIn:
    """The process of stand_in.py, and its controls. With `answers` (by path) it is a stand-in for what another collection speaks to."""

    def __init__(self, answers: Mapping[str, Any] | None = None, certificate: Path | None = None) -> None:
        command = [sys.executable, str(HERE / "stand_in.py"), json.dumps(answers), *([str(certificate)] if certificate else [])]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = json.loads(self.process.stdout.readline())["port"]
        self.environment = {"SP_API_HTTP_HOST": "127.0.0.1", "SP_API_HTTP_PORT": str(self.port), "SP_AUTH_TOKEN": TOKEN}
        self._tls = ssl.create_default_context(cafile=str(certificate)) if certificate else None

    def close(self) -> None:
        self.process.communicate()

    def ask(self, path: str, **body: Any) -> dict[str, int]:
        if self._tls:
            connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=self._tls)
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.request("POST", f"/bench/{path}", json.dumps(body))
        answer = json.loads(connection.getresponse().read())
        connection.close()
        return answer

    def latency(self, seconds: float) -> None:
        self.ask("latency", seconds=seconds)

    def holding(self, volumes: int, size: int = GIB) -> Callable[[], Any]:
        """Return what brings the server to hold just so many volumes, its counts at 0."""
        return lambda: self.ask("fill", volumes=volumes, size=size)

    def calls(self) -> dict[str, int]:
        counts = self.ask("calls")
        counts["connections"] -= 1  # this question's
        return counts


class Zone:
    """A simulated CloudStack on a simulated StorPool, with hosts in four clusters, of which each has a StorPool cluster of its own."""

    def __init__(self, directory: Path, hosts_per_cluster: int) -> None:
        directory.mkdir()
        clusters = [{"id": name, "name": f"sofia-{name}", "clients": []} for name in "abcd"]
        topology = {
            "locations": [{"id": "sf", "name": "sofia", "clusters": clusters}],
            "cloudstack": {"clusters": 4, "hosts_per_cluster": hosts_per_cluster},
        }
        (directory / "topology.json").write_text(json.dumps(topology), encoding="utf-8")
        self.simulator = Simulator(directory / "state", devices="none", cloudstack="4.22.0", topology=str(directory / "topology.json"))
        self.simulator.start()
        cloud = self.simulator.cloudstack
        self.environment = {
            "SP_API_HTTP_HOST": self.simulator.host,
            "SP_API_HTTP_PORT": str(self.simulator.port),
            "SP_AUTH_TOKEN": self.simulator.token,
            "CLOUDSTACK_ENDPOINT": cloud["url"],
            "CLOUDSTACK_KEY": cloud["key"],
            "CLOUDSTACK_SECRET": cloud["secret"],
        }
        self._seconds = 0.0
        self.afresh()

    def close(self) -> None:
        self.simulator.stop()

    def latency(self, seconds: float) -> None:
        self._seconds = seconds
        self.simulator.clear_faults()
        if seconds:
            self.simulator.fault("delay", seconds=seconds, count=-1, plugin=False)

    def afresh(self) -> None:
        """Bring it back to its first start."""
        self.simulator.reset()
        self.simulator.background(False)
        self.simulator.reset_calls()
        self.latency(self._seconds)

    def calls(self) -> dict[str, int]:
        clients = [one["write"] for one in self.simulator.calls()["calls"] if not one["plugin"]]
        return {"reads": clients.count(False), "writes": clients.count(True)}
