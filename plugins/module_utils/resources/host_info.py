# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 4: what StorPool is on the host that this runs on, seen the way the CloudStack agent of the host sees it.

The agent runs ``storpool_confget`` and ``storpool -j service list`` as root with the search path of a systemd service, and takes every
error for "not running" (sheet cloudstack-storpool, sections 2.2 and 2.5). It gives those commands an hour; here they end after a limit.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import stat
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .. import _properties as properties
from .._errors import CollectionError, OptionError, plain_text
from .._files import absolute, read_bytes

SCRIPT = "kvmspheartbeat.sh"
SCRIPTS_DIR = "scripts/vm/hypervisor/kvm"  # kvm.scripts.dir when the agent's file says nothing
RUNNING = "running"
_SERVICE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9:_.\\@-]*")
_LONGEST = 3600  # seconds; the agent's own limit
_MOST = 1 << 20  # bytes of the agent's file


@dataclass(frozen=True)
class Said:
    """What became of a command: its standard output, or why there is none worth reading."""

    text: str = ""
    problem: str = ""


def act(options: Mapping[str, Any], _check: bool) -> dict[str, Any]:
    """Look at the host, change nothing, and return the result of the task. :raises OptionError: an option cannot be meant."""
    _refuse(options)
    look = _Look(options)
    look.identity()
    look.services()
    look.cluster()
    look.devices()
    look.script()
    return {"changed": False, "host": look.host, "problems": look.problems}


def _refuse(options: Mapping[str, Any]) -> None:
    for option in ("client_service", "agent_service"):
        if not _SERVICE.fullmatch(options[option]):
            raise OptionError(option, options[option], "is no name of a service")
    if not 1 <= options["command_timeout"] <= _LONGEST:
        raise OptionError("command_timeout", options["command_timeout"], f"is no number of seconds from 1 to {_LONGEST}")
    for option in ("device_dir", "properties_file"):
        absolute(options[option], option)
    for option in ("script_roots", "search_path"):
        if not options[option]:
            raise OptionError(option, options[option], "is empty, so nothing would be found")
        for one in options[option]:
            absolute(one, option)
    scripts = options["scripts_dir"]
    if scripts is not None and (not scripts.strip() or not scripts.isprintable()):
        raise OptionError("scripts_dir", scripts, "is no directory")


class _Look:
    """Collects what is there, and what is wrong with it."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = options
        self.problems: list[dict[str, str]] = []
        self.host: dict[str, Any] = {
            "node_id": None,
            "cluster_id": None,
            "client_service": None,
            "client_status": None,
            "servers": [],
            "device_dir": None,
            "script": None,
            "agent": None,
        }

    def _problem(self, check: str, message: str, hint: str) -> None:
        self.problems.append({"check": check, "message": message, "hint": hint})

    def _run(self, *command: str) -> Said:
        return run(command, self._options["search_path"], self._options["command_timeout"])

    def identity(self) -> None:
        """The ids that the agent takes from storpool_confget. Its output also has the token, of which nothing is kept."""
        said = self._run("storpool_confget")
        if said.problem:
            self._problem("identity", said.problem, "without it the agent does not know its own id, and its heartbeat stops silently")
            return
        settings = {}
        for line in said.text.splitlines():
            name, _equals, value = line.partition("=")
            if line.count("=") == 1:  # others the agent ignores
                settings[name.strip()] = value.strip()
        self.host["node_id"] = _number(settings.get("SP_OURID"))
        self.host["cluster_id"] = settings.get("SP_CLUSTER_ID") or None
        if self.host["node_id"] is None:
            self._problem("identity", "storpool_confget says no SP_OURID that is a number", "set SP_OURID in /etc/storpool.conf")
        if self.host["cluster_id"] is None:
            self._problem(
                "identity", "storpool_confget says no SP_CLUSTER_ID", "set it: without, CloudStack does not connect the pool here"
            )

    def services(self) -> None:
        """What systemd says of the StorPool client and of the agent, and which StorPool servers it has."""
        client, agent = (_unit(self._options[name]) for name in ("client_service", "agent_service"))
        said = self._run("systemctl", "show", f"--property={','.join(_SHOWN)}", client, agent, "storpool_server*.service")
        if said.problem:
            self._problem("client_service", said.problem, "this needs systemd")
            return
        units = {}
        for block in said.text.split("\n\n"):
            shown = dict(line.partition("=")[::2] for line in block.splitlines())
            units[shown.get("Id")] = shown
        self.host["client_service"] = units.get(client, {}).get("ActiveState", "unknown")
        if self.host["client_service"] != "active":
            state = "not installed" if units.get(client, {}).get("LoadState") == "not-found" else self.host["client_service"]
            self._problem("client_service", f"the service {client} is {state}", f"systemctl start {client}; see journalctl -u {client}")
        shown = units.get(agent, {})
        self.host["agent"] = {"state": shown.get("ActiveState", "unknown"), "restarts": _number(shown.get("NRestarts"))}
        if shown.get("LoadState") in (None, "not-found"):
            self._problem("agent", f"the service {agent} does not exist", "is this a KVM host of CloudStack?")
        self.host["servers"] = sorted(
            name for name, one in units.items() if name and name.startswith("storpool_server") and one.get("ActiveState") == "active"
        )

    def cluster(self) -> None:
        """Whether the cluster sees the client of this node running: the heartbeat itself."""
        said = self._run("storpool", "-j", "service", "list")
        if said.problem:
            hint = "the agent takes it for a lost StorPool; see SP_API_HTTP_HOST, _PORT and SP_AUTH_TOKEN in /etc/storpool.conf"
            self._problem("client", said.problem, hint)
            return
        data = _data(said.text)
        if data is None:
            self._problem("client", "storpool -j service list did not answer with JSON that has data.clients", "is it StorPool's own tool?")
            return
        node = self.host["node_id"]
        if node is None:
            return
        mine = [one for one in _entries(data, "clients") if _number(one.get("nodeId")) == node]
        self.host["client_status"] = str(mine[0].get("status")) if mine else None
        if self.host["client_status"] != RUNNING:
            what = f"is {self.host['client_status']}" if mine else "is not among the clients of the cluster"
            self._problem("client", f"the client of node {node} {what}, says storpool service list", "see storpool_block on this host")
        servers = sum(_number(one.get("nodeId")) == node for one in _entries(data, "servers"))
        if servers and not self.host["servers"]:
            self.host["servers"] = [f"server of node {node}"]

    def devices(self) -> None:
        """The directory of the devices comes with the first attached volume; when it is missing, nothing may be attached."""
        path = self._options["device_dir"]
        self.host["device_dir"] = os.path.isdir(path)
        if self.host["device_dir"] or self.host["node_id"] is None:
            return
        said = self._run("storpool", "-j", "attach", "list")
        try:
            attached = [one for one in json.loads(said.text or "null")["data"] if _number(one.get("client")) == self.host["node_id"]]
        except (ValueError, KeyError, TypeError, AttributeError):
            problem = said.problem or "storpool -j attach list did not answer with JSON"
            self._problem("device_dir", f"{path} does not exist, and {problem}", "it comes with the first volume that is attached here")
            return
        if attached:
            self._problem(
                "device_dir",
                f"{path} does not exist, although {len(attached)} volumes and snapshots are attached here",
                "see the udev rules of StorPool on this host",
            )

    def script(self) -> None:
        """The script that resets the host, where the agent looks for it."""
        scripts = self._options["scripts_dir"] or _scripts_dir(self._options["properties_file"])
        candidates = [os.path.join(root, scripts, SCRIPT) for root in self._options["script_roots"]]
        found = [path for path in candidates if os.path.isfile(path)]
        if not found:
            self._problem("script", f"{SCRIPT} is at none of {', '.join(candidates)}", "it comes with cloudstack-common 4.19 and newer")
            return
        self.host["script"] = found[0]
        if not os.stat(found[0]).st_mode & stat.S_IXUSR:
            self._problem("script", f"{found[0]} is not executable", f"chmod +x {found[0]}")


_SHOWN = ("Id", "LoadState", "ActiveState", "NRestarts")


def run(command: Sequence[str], path: Sequence[str], limit: float) -> Said:
    """Run a command with a search path, for at most so many seconds; whatever it has started ends then, too."""
    shown = " ".join(command[:4])
    program = next((os.path.join(one, command[0]) for one in path if os.access(os.path.join(one, command[0]), os.X_OK)), None)
    if program is None:
        return Said(problem=f"{command[0]} is in none of {', '.join(path)}")
    env = {**os.environ, "PATH": os.pathsep.join(path), "LC_ALL": "C"}
    try:
        process = subprocess.Popen(
            [program, *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=env,
            start_new_session=True,
        )
    except OSError as exc:
        return Said(problem=f"{shown} cannot be run: {exc.strerror}")
    try:
        out, err = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):  # one that waits for a device does not even die
            process.communicate(timeout=1)
        return Said(problem=f"{shown} did not end within {limit} s")
    if process.returncode:
        # Of the output only the last line of the errors, which is for people; the rest may be of any kind.
        words = err.decode("utf-8", "replace").strip().splitlines()
        ended = f"with status {process.returncode}" if process.returncode > 0 else f"by signal {-process.returncode}"
        return Said(problem=f"{shown} ended {ended}{': ' + plain_text(words[-1], 200) if words else ''}")
    return Said(text=out.decode("utf-8", "replace"))


def _unit(name: str) -> str:
    return name if "." in name else f"{name}.service"


def _number(value: Any) -> int | None:
    try:
        return int(str(value))
    except ValueError:
        return None


def _data(text: str) -> Mapping[str, Any] | None:
    try:
        data = json.loads(text)["data"]
    except (ValueError, KeyError, TypeError):
        return None
    return data if isinstance(data, dict) and isinstance(data.get("clients"), dict) else None


def _entries(data: Mapping[str, Any], kind: str) -> list[Mapping[str, Any]]:
    found = data.get(kind)
    return [one for one in found.values() if isinstance(one, dict)] if isinstance(found, dict) else []


def _scripts_dir(path: str) -> str:
    """Return where the agent of this host looks for its scripts. :raises OptionError: what is there is no file that can be read."""
    if not os.path.exists(path) and not os.path.islink(path):
        return SCRIPTS_DIR  # a host without an agent
    try:
        text = read_bytes(path, "properties_file", _MOST).decode(properties.ENCODING)
        return properties.values(properties.parse(text)).get("kvm.scripts.dir", "").strip() or SCRIPTS_DIR
    except OptionError:
        raise
    except CollectionError:  # Java would refuse it
        return SCRIPTS_DIR
