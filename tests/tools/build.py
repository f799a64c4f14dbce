# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Builds the artifact from a copy of what git knows and prints its path.

python3 tests/tools/build.py [DIRECTORY]    .cache/dist unless told otherwise
"""

from __future__ import annotations

import re
from pathlib import Path

from collection import copy
from common import CACHE, DEFAULT_CORE, bin_dir, environment, main, output
from virtualenvs import ensure


def tool(arguments: list[str]) -> int:
    ensure(f"core-{DEFAULT_CORE}")
    place = copy(CACHE / "build")
    target = Path(arguments[0]).absolute() if arguments else CACHE / "dist"
    command = [bin_dir() / "ansible-galaxy", "collection", "build", "--force", "--output-path", target]
    said = output(command, cwd=place, env=environment())
    # ansible-galaxy folds its sentence at the width of a terminal.
    print(re.search(r"\S+\.tar\.gz", said.replace("\n", "")).group())
    return 0


if __name__ == "__main__":
    main(tool)
