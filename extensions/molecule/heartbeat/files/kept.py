# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the role may not touch in agent.properties: the lines that are not about a key that it sets, and their order; owner and mode."""

import os
import sys

SET = (
    "reboot.host.and.alert.management.on.heartbeat.timeout",
    "kvm.heartbeat.update.frequency",
    "kvm.heartbeat.update.max.tries",
    "kvm.heartbeat.update.retry.sleep",
    "kvm.heartbeat.checker.timeout",
    "heartbeat.update.timeout",
    "kvm.scripts.dir",
    "host.reserved.mem.mb",
    "host.reserved.cpu.count",
)
before, after = "/root/before.properties", "/etc/cloudstack/agent/agent.properties"


def lines(path):
    with open(path, encoding="latin-1") as source:
        return source.read().splitlines()


def others(path):
    return [line for line in lines(path) if line.split("=")[0].strip() not in SET]


if others(before) != others(after):
    sys.exit("lines were lost or added:\n" + "\n".join(sorted(set(others(before)) ^ set(others(after)))))
old, new = os.stat(before), os.stat(after)
if (old.st_mode, old.st_uid, old.st_gid) != (new.st_mode, new.st_uid, new.st_gid):
    sys.exit("owner or mode changed")
print(f"{len(others(before))} lines kept")
