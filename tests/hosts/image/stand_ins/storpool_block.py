# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""In the place of StorPool's block service: while it runs, the cluster says that the client of this host runs."""

import os
import sys

import laboratory
from storpool_configuration import read

for directory in ("/dev/storpool", "/dev/storpool-byid"):
    os.makedirs(directory, exist_ok=True)
values = read()
try:
    laboratory.hold("storpool_block", client=int(values["SP_OURID"]))
except (KeyError, ValueError):
    sys.exit("SP_OURID is not configured")
