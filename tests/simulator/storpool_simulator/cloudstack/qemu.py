# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""qemu-img, as hosts run it. Everything here takes its time, so it is for a `Chore` (work.py)."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

PROGRAM = "qemu-img"


class ImageError(Exception):
    """What the tool said."""


def run(*arguments: str | Path, program: str = PROGRAM, stdin: bytes | None = None) -> str:
    command = [program, *map(str, arguments)]
    try:
        done = subprocess.run(
            command, input=stdin, stdin=None if stdin is not None else subprocess.DEVNULL, capture_output=True, check=False
        )
    except OSError as error:
        raise ImageError(f"{program}: {error.strerror} (Debian's qemu-utils has qemu-img)") from error
    if done.returncode:
        raise ImageError((done.stderr or done.stdout).decode(errors="replace").strip() or f"{program} ended with {done.returncode}")
    return done.stdout.decode(errors="replace")


def info(path: Path, form: str | None = None) -> dict[str, Any]:
    return json.loads(run("info", "--output=json", *(["-f", form] if form else []), path))


def virtual_size(path: Path, form: str | None = None) -> int:
    return info(path, form)["virtual-size"]


def convert(source: Path, source_form: str, target: Path, target_form: str = "raw", *, existing: bool = False, empty: bool = False) -> None:
    """`existing`: the target is there and is written into (a device); `empty`: it reads as zeros."""
    options = ["-n"] if existing else []
    options += ["--target-is-zero"] if existing and empty else []
    run("convert", *options, "-f", source_form, "-O", target_form, source, target)


def data_bytes(path: Path) -> int:
    """Bytes of a file that hold data."""
    return os.stat(path).st_blocks * 512
