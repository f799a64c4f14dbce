# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""/etc/storpool.conf and /etc/storpool.conf.d: what stands before the first section and in the section of this host."""

import glob
import socket


def read():
    values = {}
    for path in ["/etc/storpool.conf", *sorted(glob.glob("/etc/storpool.conf.d/*.conf"))]:
        section = None
        with open(path, encoding="utf-8") as source:
            for line in source:
                line = line.strip()
                if line.startswith("[") and line.endswith("]"):
                    section = line[1:-1]
                elif line and not line.startswith("#") and section in (None, socket.gethostname()):
                    name, _equals, value = line.partition("=")
                    values[name.strip()] = value.strip()
    return values
