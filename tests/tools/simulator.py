# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Starts the simulators in the foreground, to try playbooks against. Its options go to `storpool-simulator`.

The state is kept in .cache/simulator, so what was made is found again; `.cache/simulator/env` is the file to source.
"""

from __future__ import annotations

import json
import signal
import subprocess

from collection import link
from common import CACHE, DEFAULT_CORE, ROOT, bin_dir, environment, main, say
from virtualenvs import ensure


def announce(ready: dict, env_file: str) -> None:
    for name, cluster in ready["clusters"].items():
        print(f"    {name:12} {cluster['url']}  (id {cluster['id']}, location {cluster['location']})")
    print(f"    control      {ready['control']}")
    say("in another shell, then any playbook of the collection works:")
    print(f"    . {env_file}")
    print(f"    export ANSIBLE_COLLECTIONS_PATH={ROOT / '.cache' / 'collections'}")
    print(f"    PATH={bin_dir()}:$PATH", flush=True)
    say("Ctrl-C ends the simulators; what they hold stays in .cache/simulator")


def tool(arguments: list[str]) -> int:
    ensure(f"core-{DEFAULT_CORE}")
    link()
    state = CACHE / "simulator"
    state.mkdir(parents=True, exist_ok=True)
    env_file = state / "env"
    say("starting the simulators")
    command = [bin_dir() / "storpool-simulator", "--state", state / "state", "--env-file", env_file, *arguments]
    with subprocess.Popen([str(part) for part in command], cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True) as server:
        # A Ctrl-C reaches the server as well, and it ends by itself; this process only waits for it.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda _number, _frame: server.terminate())
        for line in server.stdout:
            try:
                ready = json.loads(line)
            except ValueError:
                print(line, end="", flush=True)
                continue
            announce(ready, str(env_file))
        status = server.wait()
    return 0 if status in (0, -signal.SIGINT, -signal.SIGTERM) else status


if __name__ == "__main__":
    main(tool)
