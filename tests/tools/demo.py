# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sets up what the demo needs, a disk image that Debian ships among it, and starts it. Its options go to tests/demo/demo.py."""

from __future__ import annotations

from common import main
from image import disk_image
from inside import tool as run_inside


def tool(arguments: list[str]) -> int:
    given = [] if "--image" in arguments else ["--image", str(disk_image())]
    return run_inside(["tests/demo/demo.py", *given, *arguments])


if __name__ == "__main__":
    main(tool)
