# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sets up what the tour needs, a disk image that Debian ships among it, and starts it. Its options go to tests/demo/demo.py."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from common import CACHE, ROOT, ToolError, fetch_debian, main, say
from inside import tool as run_inside

PACKAGE = "grub-rescue-pc"
IMAGE = "usr/lib/grub-rescue/grub-rescue-cdrom.iso"


def image() -> Path:
    """A bootable disk image. The package is only unpacked, not installed."""
    target = CACHE / "demo" / "image.iso"
    if not target.exists():
        place = target.parent / "package"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        say(f"getting a disk image from Debian's package {PACKAGE}")
        package = fetch_debian("the demo's disk image", PACKAGE, place)
        subprocess.run(["dpkg-deb", "-x", str(package), str(place)], check=True)
        if not (place / IMAGE).is_file():
            raise ToolError(f"{PACKAGE} holds no {IMAGE}")
        os.replace(place / IMAGE, target)
        shutil.rmtree(place)
    return target


def tool(arguments: list[str]) -> int:
    disk = image()
    return run_inside([str((ROOT / "tests" / "demo" / "demo.py").relative_to(ROOT)), "--image", str(disk), *arguments])


if __name__ == "__main__":
    main(tool)
