# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""In the place of cloudstack-agent: reads agent.properties once at its start, connects to the management server that it names, and
runs the heartbeat of StorPool pools by the keys' timing.

A file that misses what an agent cannot be without, or that Java cannot read, is the end of it. What it read and what its heartbeat
did is told in /run/cloudstack-agent.json, for tests.
"""

import json
import os
import re
import subprocess
import sys
import threading
import time

import laboratory

FILE = "/etc/cloudstack/agent/agent.properties"
TOLD = "/run/cloudstack-agent.json"
NEEDED = ("guid", "host", "port", "resource", "workers", "zone", "pod", "cluster")
REBOOT = "reboot.host.and.alert.management.on.heartbeat.timeout"
DEFAULTS = {
    REBOOT: "true",
    "kvm.heartbeat.update.frequency": "60000",
    "kvm.heartbeat.update.max.tries": "5",
    "kvm.heartbeat.update.retry.sleep": "10000",
    "kvm.heartbeat.checker.timeout": "360000",
    "heartbeat.update.timeout": "60000",
    "kvm.scripts.dir": "scripts/vm/hypervisor/kvm",
    "host.reserved.mem.mb": "1024",
    "host.reserved.cpu.count": "0",
    "port": "8250",
    "workers": "5",
}
SCRIPTS = ("/usr/share/cloudstack-agent/lib", "/usr/share/cloudstack-common")
ESCAPES = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}


def unescaped(text):
    def one(found):
        if found.group(1):
            return chr(int(found.group(1), 16))
        if found.group(2) == "u":
            sys.exit(f"{FILE}: Malformed \\uxxxx encoding.")
        return ESCAPES.get(found.group(2), found.group(2))

    return re.sub(r"\\(?:u([0-9A-Fa-f]{4})|(.))", one, text)


def properties(text):
    """As java.util.Properties reads them."""
    values = {}
    lines = iter(text.splitlines())
    for line in lines:
        line = line.lstrip(" \t\f")
        if not line or line[0] in "#!":
            continue
        while re.search(r"(?<!\\)(?:\\\\)*\\$", line):
            line = line[:-1] + next(lines, "").lstrip(" \t\f")
        key, value = re.fullmatch(r"((?:\\.|[^\\=: \t\f])*)(?:[ \t\f]*[=:][ \t\f]*|[ \t\f]+)?(.*)", line, re.DOTALL).groups()
        values[unescaped(key)] = unescaped(value)
    return values


class Agent:
    def __init__(self):
        with open(FILE, encoding="latin-1") as source:
            self.read = properties(source.read())
        self.values = {**DEFAULTS, **self.read}
        missing = [key for key in NEEDED if not self.values.get(key)]
        if missing:
            sys.exit(f"{FILE} misses {', '.join(missing)}")
        for key, default in DEFAULTS.items():
            value = self.values[key]
            if default.isdigit() and not value.isdigit():
                sys.exit(f"{FILE}: {key} is {value!r} and no number")
            if default in ("true", "false") and value not in ("true", "false"):
                sys.exit(f"{FILE}: {key} is {value!r}, neither true nor false")
        self.own = self.confget("SP_OURID")
        self.beats = {"good": 0, "bad": 0, "reboots": 0}
        self.tell()

    @staticmethod
    def confget(name):
        """Lines with more than one `=` are not seen, as the agent does it."""
        answer = subprocess.run(["storpool_confget"], stdout=subprocess.PIPE, text=True, check=False).stdout
        pairs = [line.split("=") for line in answer.splitlines()]
        return dict(pair for pair in pairs if len(pair) == 2).get(name)

    def tell(self):
        with open(TOLD + ".new", "w", encoding="utf-8") as target:
            json.dump({"pid": os.getpid(), "read": self.read, "own": self.own, "heartbeat": self.beats}, target)
        os.replace(TOLD + ".new", TOLD)

    def seconds(self, key):
        return int(self.values[key]) / 1000

    def beats_now(self):
        """StorPool says that the client of this host runs; any trouble with the question counts as no."""
        answer = subprocess.run(["storpool", "-j", "service", "list"], stdout=subprocess.PIPE, text=True, check=False)
        if answer.returncode != 0:
            return False
        clients = json.loads(answer.stdout)["data"]["clients"].values()
        return any(str(client["nodeId"]) == self.own and client["status"] == "running" for client in clients)

    def round(self):
        """Up to so many tries; then one more, and the script. The order of the agent's own code."""
        for _number in range(int(self.values["kvm.heartbeat.update.max.tries"])):
            if self.beats_now():
                self.beats["good"] += 1
                return
            self.beats["bad"] += 1
            time.sleep(self.seconds("kvm.heartbeat.update.retry.sleep"))
        if self.values[REBOOT] != "true" or self.beats_now():
            return
        self.beats["reboots"] += 1
        for top in SCRIPTS:
            script = f"{top}/{self.values['kvm.scripts.dir']}/kvmspheartbeat.sh"
            if os.path.exists(script):
                subprocess.run([script, "-c"], timeout=self.seconds("heartbeat.update.timeout"), check=False)
                return

    def watch(self):
        while True:
            self.round()
            self.tell()
            time.sleep(self.seconds("kvm.heartbeat.update.frequency"))

    def keep_number(self):
        """What the server says about this host is kept in the same file, as the real agent does it: its number."""
        if "id" not in self.read:
            with open(FILE, "a", encoding="latin-1") as target:
                target.write("id=7\n")


agent = Agent()
agent.keep_number()
if agent.own:
    threading.Thread(target=agent.watch, daemon=True).start()
else:
    print("SP_OURID is not configured: nobody watches the heartbeat", flush=True)
laboratory.hold("cloudstack-agent", (agent.values["host"], int(agent.values["port"])), guid=agent.values["guid"])
