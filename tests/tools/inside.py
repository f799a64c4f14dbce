# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs a Python script of this repository in a virtual environment, which it sets up first: the default core's, or another one.

python3 tests/tools/inside.py [--in bench] SCRIPT [ARGUMENTS]
"""

from __future__ import annotations

import os

from collection import link
from common import DEFAULT_CORE, ROOT, ToolError, environment, main
from virtualenvs import ensure


def tool(arguments: list[str]) -> int:
    name = f"core-{DEFAULT_CORE}"
    if arguments[:1] == ["--in"]:
        name, arguments = "".join(arguments[1:2]), arguments[2:]
    if not arguments or not (ROOT / arguments[0]).is_file():
        raise ToolError(f"there is no script {' '.join(arguments[:1]) or '(none named)'} in this checkout")
    path = ensure(name)
    link()
    python = str(path / "bin" / "python")
    # The script takes this process's place, so that it gets signals and its exit status counts.
    os.chdir(ROOT)
    os.execve(python, [python, str(ROOT / arguments[0]), *arguments[1:]], environment())


if __name__ == "__main__":
    main(tool)
