# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Starts the processes that are measured. It is small itself: Linux counts the memory of whoever starts a process as the process's own.

It reads a JSON line {"command": [...], "environment": {...}, "output": PATH} and answers {"seconds": S, "status": N, "largest_kib": N}.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time

LIMIT = 600  # seconds, after which something waits for what never comes


def main() -> None:
    for line in sys.stdin:
        asked = json.loads(line)
        streams = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, asked["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ]
        started = time.monotonic()
        pid = os.posix_spawn(asked["command"][0], asked["command"], asked["environment"], file_actions=streams)
        signal.signal(signal.SIGALRM, lambda _number, _frame, pid=pid: os.kill(pid, signal.SIGKILL))
        signal.alarm(LIMIT)
        _pid, status, usage = os.wait4(pid, 0)
        seconds = time.monotonic() - started
        signal.alarm(0)
        print(json.dumps({"seconds": seconds, "status": os.waitstatus_to_exitcode(status), "largest_kib": usage.ru_maxrss}), flush=True)


if __name__ == "__main__":
    main()
