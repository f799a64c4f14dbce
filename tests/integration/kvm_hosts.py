# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""KVM hosts that are directories: real files, and small real commands that answer as those of a host do.

Each host of the inventory is this machine (`connection: local`) with a directory of its own: the agent's file, the devices, the scripts,
the StorPool commands, which ask the simulator, and one `systemctl` for all, in which each host has an agent of its own name. Services that
systemd really runs are for the scenarios in `extensions/molecule`.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import yaml

SHIPPED = """\
#Storage
guid=3f1c2f1e
workers=5

# Reboot host and alert management on heartbeat timeout
#reboot.host.and.alert.management.on.heartbeat.timeout=true

# heartbeat update timeout (in ms)
#heartbeat.update.timeout=60000

host.reserved.mem.mb=8192
keystore.passphrase=ba5eba11
"""

# An agent is a file with its state, how often it was started again by itself, and what it has read of its properties; it connects a moment
# after its start.
SYSTEMCTL = """#!{python}
import json, os, sys, time, urllib.request
base, url = {base!r}, {url!r}
words = [word for word in sys.argv[1:] if not word.startswith("-")]

def log(line):
    with open(base + "/events", "a") as target:
        target.write(line + "\\n")

def control(host, agent):
    body = json.dumps({{"agent": agent}}).encode()
    request = urllib.request.Request(url + "/_sim/cloudstack/hosts/" + host, body, {{"Content-Type": "application/json"}}, method="PUT")
    urllib.request.urlopen(request).read()

def state(unit):
    try:
        with open(base + "/units/" + unit) as source:
            return json.load(source)
    except FileNotFoundError:
        return None

def keep(unit, content):
    with open(base + "/units/" + unit + ".new", "w") as target:
        json.dump(content, target)
    os.rename(base + "/units/" + unit + ".new", base + "/units/" + unit)

if words[0] == "show":
    for unit in words[1:]:
        unit = unit if "." in unit else unit + ".service"
        if "*" in unit:
            continue
        now = state(unit)
        print("Id=" + unit)
        print("LoadState=" + ("loaded" if now else "not-found"))
        print("ActiveState=" + (now["state"] if now else "inactive"))
        print("NRestarts=" + str(now["restarts"] if now else 0))
        print()
elif words[0] in ("restart", "start"):
    unit = words[1] if "." in words[1] else words[1] + ".service"
    host = unit[len("agent-"):-len(".service")]
    with open(base + "/" + host + "/broken") as source:
        broken = source.read()
    log("restart " + host)
    if broken == "restart":
        sys.exit("Job for " + unit + " failed.")
    # All of it before the agent is on its own: what that does comes after this, however late this process is.
    control(host, "down")
    with open(base + "/" + host + "/agent.properties") as source:
        now = {{"state": "active", "restarts": 0, "read": source.read()}}
    keep(unit, now)
    if os.fork():
        os._exit(0)
    for number in range(3):
        os.close(number)
    os.setsid()
    time.sleep(0.5)
    if broken == "crash":
        keep(unit, dict(now, state="failed"))
    elif broken == "again":
        keep(unit, dict(now, restarts=1))
    if broken in ("", "again"):
        log("up " + host)
        control(host, "up")
    os._exit(0)
else:
    sys.exit("no such verb: " + words[0])
"""

STORPOOL = """#!{python}
import sys, time, urllib.request
with open({mode!r}) as source:
    mode = source.read()
if mode == "hang":
    time.sleep(3600)
if mode == "error":
    sys.exit("storpool: could not connect to the API: Connection refused")
if mode == "words":
    print("no JSON at all")
    sys.exit()
calls = {{"service": "ServicesList", "attach": "AttachmentsList"}}
headers = {{"Authorization": "Storpool v1:" + {token!r}}}
print(urllib.request.urlopen(urllib.request.Request({url!r} + "/ctrl/1.0/" + calls[sys.argv[2]], headers=headers)).read().decode())
"""

CONFGET = """#!/bin/sh
echo SP_AUTH_TOKEN={token}
echo SP_API_HTTP_HOST=127.0.0.1
echo SP_CLUSTER_ID={cluster}
{ourid}
"""


class Hosts:
    """The hosts `names` (name of the host in CloudStack: StorPool node id) in a directory, against a simulator."""

    def __init__(self, directory: Path, simulator: Any, names: dict[str, int]) -> None:
        self.directory = directory
        self.names = names
        self._simulator = simulator
        (directory / "units").mkdir()
        (directory / "bin").mkdir()
        self._program(directory / "bin" / "systemctl", SYSTEMCTL.format(python=sys.executable, base=str(directory), url=simulator.url))
        for name in names:
            self._host(name)
        self.inventory = directory / "hosts.yml"
        self.inventory.write_text(yaml.safe_dump({"kvm": {"hosts": {name: self._variables(name) for name in names}}}))
        self.path = f"{directory / 'bin'}{os.pathsep}{os.environ['PATH']}"

    def with_controllers(self, group: str = "kvm", **of_all: str) -> Hosts:
        """Say each host's controller in the inventory, and variables of all hosts; `group` is what they are together."""
        hosts = yaml.safe_load(self.inventory.read_text())["kvm"]["hosts"]
        for number, host in enumerate(hosts.values(), 1):
            host["storpool_oobm_address"] = f"198.51.100.{number}"
        self.inventory.write_text(yaml.safe_dump({group: {"hosts": hosts, "vars": of_all}}))
        return self

    @staticmethod
    def _program(path: Path, text: str) -> None:
        path.write_text(text)
        path.chmod(0o755)

    def _host(self, name: str) -> None:
        own = self.directory / name
        scripts = own / "common" / "scripts" / "vm" / "hypervisor" / "kvm"
        for directory in (own / "bin", own / "storpool-byid", scripts):
            directory.mkdir(parents=True)
        (own / "agent.properties").write_text(SHIPPED)
        (own / "mode").write_text("")
        (own / "broken").write_text("")
        self._program(scripts / "kvmspheartbeat.sh", "#!/bin/sh\nexit 1\n")
        token = self._simulator.token
        self._program(
            own / "bin" / "storpool",
            STORPOOL.format(python=sys.executable, mode=str(own / "mode"), url=self._simulator.url, token=token),
        )
        self.says(name)
        (own / "bin" / "systemctl").symlink_to(self.directory / "bin" / "systemctl")
        for unit in (f"agent-{name}", f"block-{name}"):
            self.unit(unit, state="active", restarts=0, read=SHIPPED)

    def _variables(self, name: str) -> dict[str, Any]:
        own = self.directory / name
        return {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "heartbeat_properties_file": str(own / "agent.properties"),
            "heartbeat_pending_file": str(own / "run" / "pending"),
            "heartbeat_service": f"agent-{name}",
            "heartbeat_client_service": f"block-{name}",
            "heartbeat_device_dir": str(own / "storpool-byid"),
            "heartbeat_script_roots": [str(own / "lib"), str(own / "common")],
            "heartbeat_search_path": [str(own / "bin")],
            "heartbeat_settle": 0,
            # On a machine that is busy with other things a command may take a while; the tests that wait for its end say so.
            "heartbeat_command_timeout": 60,
        }

    # -- what happens to hosts

    def says(self, name: str, cluster: str = "nzkr.b", ourid: str | None = None) -> None:
        """What storpool_confget says."""
        line = f"echo SP_OURID={self.names[name]}" if ourid is None else ourid
        self._program(self.directory / name / "bin" / "storpool_confget", CONFGET.format(token="815815", cluster=cluster, ourid=line))

    def unit(self, unit: str, **content: Any) -> None:
        path = self.directory / "units" / f"{unit}.service"
        before = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps({**before, **content}))

    def breaks(self, name: str, how: str) -> None:
        """The agent: `restart` cannot be restarted, `silent` never connects, `crash` ends, `again` is started again, `` is well."""
        (self.directory / name / "broken").write_text(how)

    def storpool(self, name: str, mode: str) -> None:
        """The command: `hang`, `error`, `words`, or `` for well."""
        (self.directory / name / "mode").write_text(mode)

    # -- what is seen of them

    def file(self, name: str) -> Path:
        return self.directory / name / "agent.properties"

    def pending(self, name: str) -> Path:
        return self.directory / name / "run" / "pending"

    def in_force(self, name: str) -> str:
        """The file as the running agent has read it."""
        return json.loads((self.directory / "units" / f"agent-{name}.service").read_text())["read"]

    def events(self) -> list[str]:
        """Restarts, and agents that came up, since the last time, in order."""
        path = self.directory / "events"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines

    def touched(self) -> list[str]:
        """The hosts whose file is not the one they came with."""
        return [name for name in self.names if self.file(name).read_text() != SHIPPED]
