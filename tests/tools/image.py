# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real disk image for the demo, taken out of a Debian package that is only unpacked, not installed."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from common import CACHE, ToolError, fetch_debian, run, say

PACKAGE = "grub-rescue-pc"
INSIDE = Path("usr/lib/grub-rescue/grub-rescue-cdrom.iso")


def disk_image() -> Path:
    """The path of the image: a bootable disk with a partition table and a file system. It is fetched once."""
    target = CACHE / "demo" / INSIDE.name
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        say(f"getting a disk image from Debian's package {PACKAGE}")
        # A directory of its own: two that do this at once do not meet.
        place = Path(tempfile.mkdtemp(prefix="package-", dir=target.parent))
        try:
            run(["dpkg-deb", "-x", fetch_debian("the demo's disk image", PACKAGE, place), place])
            if not (place / INSIDE).is_file():
                raise ToolError(f"Debian's package {PACKAGE} holds no {INSIDE}; give an image of your own: make demo ARGS='--image FILE'")
            os.replace(place / INSIDE, target)
        finally:
            shutil.rmtree(place)
    return target
