# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs a Python script of this repository in the default core's virtual environment, which it sets up first.

python3 tests/tools/inside.py SCRIPT [ARGUMENTS]
"""

from __future__ import annotations

import os

from collection import link
from common import DEFAULT_CORE, ROOT, ToolError, bin_dir, environment, main
from virtualenvs import ensure


def tool(arguments: list[str]) -> int:
    if not arguments or not (ROOT / arguments[0]).is_file():
        raise ToolError(f"there is no script {' '.join(arguments[:1]) or '(none named)'} in this checkout")
    ensure(f"core-{DEFAULT_CORE}")
    link()
    python = str(bin_dir() / "python")
    # The script takes this process's place, so that it gets signals and its exit status counts.
    os.chdir(ROOT)
    os.execve(python, [python, str(ROOT / arguments[0]), *arguments[1:]], environment())


if __name__ == "__main__":
    main(tool)
