# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs a play that writes agent.properties, again and again, and kills it at the first, second, third... thing that happens to the file.

python3 kill_at_each_write.py ADDRESS INVENTORY PLAYBOOK

Things are what inotify tells of the directory: a file made, written, renamed. Controller and module are killed at once (kill -9). Each
time the file has to be the old or the new one, whole, with its owner and mode. It ends when a run was through before it could be killed,
and some were killed before the file was the new one.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections import Counter

FILE = "/etc/cloudstack/agent/agent.properties"
KEY = "kvm.heartbeat.update.frequency"
LEAST, MOST, TRIES = 4, 80, 4  # kills, turns, turns of one thing for which the watcher was too late
OPTIONS = ("UserKnownHostsFile=/dev/null", "StrictHostKeyChecking=no", "LogLevel=ERROR")
SSH = ["ssh", "-i", os.environ["LABORATORY_KEY"], *(word for option in OPTIONS for word in ("-o", option))]
# Runs on the host. Modules are run by a Python that has them from its standard input or from a file with a name of its own.
WATCH = r"""
import ctypes, os, select, signal, struct, sys
libc, number = ctypes.CDLL(None), int(sys.argv[1])
watch = libc.inotify_init()
# create, modify, moved from and to, attributes, delete, closed after writing
libc.inotify_add_watch(watch, b"/etc/cloudstack/agent", 0x100 | 0x2 | 0x40 | 0x80 | 0x4 | 0x200 | 0x8)
print("ready", flush=True)
seen = 0
while seen < number:
    if watch not in select.select([watch, 0], [], [])[0]:
        print("seen", seen, flush=True)  # nobody waits for more
        sys.exit()
    data = os.read(watch, 4096)
    while data and seen < number:
        _watch, mask, _cookie, length = struct.unpack("iIII", data[:16])
        name, data = data[16:16 + length].rstrip(b"\0").decode(), data[16 + length:]
        seen += 1
victims = 0
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        words = open("/proc/%s/cmdline" % pid, "rb").read().split(b"\0")
    except OSError:
        continue
    if words[0].endswith(b"python3") and (words[1:2] in ([], [b""]) or b"AnsiballZ" in words[1]) and int(pid) != os.getpid():
        os.kill(int(pid), signal.SIGKILL)
        victims += 1
print("killed", victims, hex(mask), name, flush=True)
"""


def on_host(address: str, *command: str, **options) -> subprocess.Popen:
    return subprocess.Popen([*SSH, f"root@{address}", *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options)


def answer(address: str, command: str) -> str:
    return on_host(address, command).communicate()[0]


def attempt(address: str, number: int, play: list[str]) -> str:
    """One run, killed at the thing with this number: the watcher's words, `killed VICTIMS WHAT NAME`, or `seen N` when there were fewer.

    On a machine that is busy the watcher may be too late. Then the run was through before it; there are no victims, or their end was.
    """
    watcher = on_host(address, f"python3 -c '{WATCH}' {number}")
    if watcher.stdout.readline().strip() != "ready":
        sys.exit("the watcher did not start")
    run = subprocess.Popen(play, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
    # The watcher's line comes before the end of the run, or the run ends first.
    while run.poll() is None:
        ready = select.select([watcher.stdout, run.stdout], [], [])[0]
        if watcher.stdout in ready:
            line = watcher.stdout.readline().strip()
            os.killpg(run.pid, signal.SIGKILL)
            run.wait()
            watcher.wait()
            return line
        os.read(run.stdout.fileno(), 65536)
    line = watcher.communicate()[0].strip()
    if run.returncode and not hit(line):
        sys.exit(f"the run ended with status {run.returncode} and was not killed: {line}")
    return line


def hit(line: str) -> bool:
    return line.startswith("killed ") and line.split()[1] != "0"


def main() -> None:
    address, inventory, playbook = sys.argv[1:]
    play = ["ansible-playbook", f"--inventory={inventory}", playbook, "--extra-vars"]
    subprocess.run([*play, "value=10000"], check=True, stdout=subprocess.DEVNULL)
    mode = answer(address, f"stat -c '%a %u %g' {FILE}")
    old = answer(address, f"cat {FILE}")
    ends: Counter = Counter()
    number, late = 1, 0
    for turn in range(1, MOST + 1):
        value = str(10000 + turn)
        new = "\n".join(f"{KEY}={value}" if line.startswith(f"{KEY}=") else line for line in old.split("\n"))
        killed = attempt(address, number, [*play, f"value={value}"])
        now = answer(address, f"cat {FILE}")
        if now not in (old, new) or old == new:
            sys.exit(f"killed at thing {number} ({killed}), the file is neither the old nor the new one:\n{now}")
        if answer(address, f"stat -c '%a %u %g' {FILE}") != mode:
            sys.exit(f"killed at thing {number} ({killed}), the file has another owner or mode")
        end = "new" if now == new else "old"
        print(f"{number}: {killed}: the {end} file", flush=True)
        old = now
        if killed.startswith("seen ") and ends["old"] >= LEAST:
            print(f"killed {ends.total()} times in the middle: {ends['old']} times the old file, {ends['new']} times the new one")
            return
        ends[end] += hit(killed)
        # The last things of a write are followed by its end: there may be nothing to kill, however quick the watcher is.
        late = 0 if hit(killed) else late + 1
        if killed.startswith("seen "):
            number, late = 1, 0  # too late too often: once more
        elif late in (0, TRIES):
            number, late = number + 1, 0
    sys.exit(f"too few kills hit the middle of the write: {dict(ends)}")


main()
