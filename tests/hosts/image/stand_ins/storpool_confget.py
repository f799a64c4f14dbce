# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""In the place of StorPool's command: the configuration that is in force on this host, a line each."""

import sys

from storpool_configuration import read

if len(sys.argv) > 1:
    sys.exit("storpool_confget: this stand-in takes no options")
for name, value in sorted(read().items()):
    print(f"{name}={value}")
