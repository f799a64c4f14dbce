# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs `ansible-test sanity`, without ignore files, on a copy of what git knows.

python3 tests/tools/sanity.py CORE [ansible-test options]

It needs no container: `--venv` makes virtual environments for every Python from 3.9 on that the machine has, and skips the others.
Nor a download other than Python packages: ansible-test fetches pip's installer from a server, unless its cache holds one; what it
finds there is a stand-in that uses the `ensurepip` of the Python at hand.
"""

from __future__ import annotations

from pathlib import Path

from collection import copy
from common import CACHE, DEFAULT_CORE, bin_dir, debian_packages, environment, find_python, main, run
from virtualenvs import ensure, write_pip_conf

PYTHONS = ("3.9", "3.10", "3.11", "3.12", "3.13")

# The names under which the supported cores look for pip's installer.
INSTALLERS = ("23_1_2", "24_2", "25_2")
STAND_IN = """\
# A stand-in for get-pip, made by tests/tools/sanity.py: installs the pip that comes with this Python.
import ensurepip

ensurepip.bootstrap(upgrade=True, default_pip=True)
"""


def home(core: str) -> Path:
    """A home directory for ansible-test: its cache of virtual environments outlives a run and stays out of the user's home."""
    path = CACHE / "ansible-test"
    cache = path / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    for version in INSTALLERS:
        (cache / f"get_pip_{version}.py").write_text(STAND_IN, encoding="utf-8")
    # ansible-test hands pip neither the user's home nor the user's environment.
    write_pip_conf(bin_dir(core) / "python", path / ".config" / "pip" / "pip.conf")
    return path


def pythons() -> Path:
    """A directory with a link to each Python that really runs: on PATH there may be pyenv's shims, which do not."""
    path = CACHE / "pythons"
    path.mkdir(parents=True, exist_ok=True)
    for version in PYTHONS:
        link = path / f"python{version}"
        link.unlink(missing_ok=True)
        found = find_python(version)
        if found:
            link.symlink_to(found)
    return path


def sanity(core: str, options: list[str]) -> int:
    ensure(f"core-{core}")
    debian_packages("the sanity test of shell scripts", shellcheck="shellcheck")
    env = environment(core)
    env["HOME"] = str(home(core))
    env["PATH"] = f"{bin_dir(core)}:{pythons()}:{env['PATH']}"
    del env["ANSIBLE_COLLECTIONS_PATH"]
    command = [bin_dir(core) / "ansible-test", "sanity", "--color", "no", "--venv", *options]
    return run(command, cwd=copy(CACHE / "sanity" / core), env=env, check=False).returncode


def tool(arguments: list[str]) -> int:
    core, *options = arguments or [DEFAULT_CORE]
    return sanity(core, options)


if __name__ == "__main__":
    main(tool)
