# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every tool here needs: where things are, how to say what is done, Debian packages, Pythons.

Only the standard library of Python 3.10 and newer: these tools run before anything is installed.
"""

from __future__ import annotations

import fcntl
import glob
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache"
VENVS = ROOT / ".venv"
COLLECTIONS = CACHE / "collections"
APT_LOG = CACHE / "log" / "apt.log"

# The Pythons that each ansible-core takes, the one to use first at the front. The order spreads the matrix over all Pythons
# where a machine has several, and finds Debian 12's 3.11 for all cores that take it.
CORES = {
    "2.16": ("3.11", "3.10", "3.12"),
    "2.17": ("3.10", "3.12", "3.11"),
    "2.18": ("3.13", "3.12", "3.11"),
    "2.19": ("3.11", "3.12", "3.13"),
    "2.20": ("3.12", "3.13"),
    "2.21": ("3.13", "3.12"),
}
DEFAULT_CORE = "2.19"
OLDEST_CORE = "2.16"


class ToolError(Exception):
    """Something that the reader can mend; its text is all that is printed."""


def say(text: str) -> None:
    print(f"==> {text}", flush=True)


def main(function) -> None:
    """Run a tool: a ToolError becomes one line, a failed command its exit status."""
    try:
        sys.exit(function(sys.argv[1:]))
    except ToolError as error:
        sys.exit(f"error: {error}")
    except subprocess.CalledProcessError as error:
        sys.exit(f"error: `{' '.join(map(str, error.cmd))}` ended with status {error.returncode}")
    except KeyboardInterrupt:
        sys.exit(130)


def run(command, **options) -> subprocess.CompletedProcess:
    options.setdefault("cwd", ROOT)
    return subprocess.run([str(part) for part in command], check=options.pop("check", True), **options)


def output(command, **options) -> str:
    return run(command, stdout=subprocess.PIPE, text=True, **options).stdout


def debian_packages(reason: str, **commands: str) -> None:
    """Install the Debian packages whose command is not there: `debian_packages("...", shellcheck="shellcheck")` (command=package)."""
    missing = [package for command, package in commands.items() if not shutil.which(command.replace("_", "-"))]
    if missing:
        install_debian(reason, missing)


def apt_get(reason: str, *arguments: str, **options) -> bool:
    """Run apt-get, as root when that is needed for it; tell whether it worked. What it says goes to a log."""
    command = ["apt-get", "-q", "-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=5"]
    if os.geteuid() != 0 and arguments[0] != "download":
        if not shutil.which("sudo"):
            raise ToolError(f"{reason} needs root for `apt-get {' '.join(arguments)}`: please run that as root, and this again")
        command = ["sudo", "DEBIAN_FRONTEND=noninteractive", *command]
    with APT_LOG.open("ab") as log:
        env = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
        return run([*command, *arguments], env=env, stdout=log, stderr=subprocess.STDOUT, check=False, **options).returncode == 0


def with_fresh_lists(reason: str, *arguments: str, **options) -> None:
    """Run apt-get; its lists of packages may be absent or old, so they are fetched when it does not work at once."""
    if not shutil.which("apt-get"):
        raise ToolError(f"{reason} needs `apt-get {' '.join(arguments)}`, and this is no Debian machine")
    APT_LOG.parent.mkdir(parents=True, exist_ok=True)
    # Stages run side by side, and only installing waits for others by itself, fetching the lists does not.
    with APT_LOG.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not apt_get(reason, *arguments, **options):
            apt_get(reason, "update")
            if not apt_get(reason, *arguments, **options):
                raise ToolError(f"`apt-get {' '.join(arguments)}` for {reason} did not work; {APT_LOG.relative_to(ROOT)} tells why")


def install_debian(reason: str, packages: list[str]) -> None:
    say(f"installing Debian packages for {reason}: {' '.join(packages)}")
    with_fresh_lists(reason, "install", "-y", "--no-install-recommends", *packages)


def fetch_debian(reason: str, package: str, directory: Path) -> Path:
    """Fetch a Debian package's file without installing it."""
    with_fresh_lists(reason, "download", package, cwd=directory)
    return next(directory.glob("*.deb"))


def find_python(version: str) -> str | None:
    """The path of a Python of this version (such as 3.11) that really runs, else None.

    A `python3.12` on PATH can be a pyenv shim that only tells that 3.12 is not selected, so each candidate is asked.
    """
    pyenv = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
    candidates = [shutil.which(f"python{version}"), shutil.which("python3")]
    # Neither glob nor access minds a directory that may not be read, such as another user's.
    candidates += sorted(glob.glob(f"{glob.escape(pyenv)}/versions/{version}.*/bin/python{version}"), reverse=True)
    candidates += [f"/usr/bin/python{version}", f"/usr/local/bin/python{version}"]
    asking = "import sys; print('%d.%d' % sys.version_info[:2], getattr(sys, '_base_executable', sys.executable))"
    for candidate in candidates:
        if not candidate or not os.access(candidate, os.X_OK):
            continue
        answer = subprocess.run([candidate, "-c", asking], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
        found, _space, path = answer.stdout.strip().partition(" ")
        if answer.returncode == 0 and found == version:
            return path
    return None


def python_for(core: str) -> str | None:
    """The Python for a core, by the order in CORES."""
    if core not in CORES:
        raise ToolError(f"ansible-core {core} is not known here; known: {', '.join(CORES)}")
    for version in CORES[core]:
        path = find_python(version)
        if path:
            return path
    return None


def bin_dir(core: str = DEFAULT_CORE) -> Path:
    return VENVS / f"core-{core}" / "bin"


def environment(core: str = DEFAULT_CORE) -> dict[str, str]:
    """The environment in which Ansible and the tests run: the core's virtual environment first on PATH, everything else under .cache."""
    env = dict(os.environ)
    for name in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"):
        env.pop(name, None)
    for name in list(env):
        # Neither the user's settings nor a connection from the user's shell may be what a test uses.
        if name.startswith(("ANSIBLE_", "SP_", "CLOUDSTACK_")):
            del env[name]
    configuration = CACHE / "ansible.cfg"
    configuration.parent.mkdir(exist_ok=True)
    configuration.touch()
    env.update(
        ANSIBLE_CONFIG=str(configuration),
        PATH=f"{bin_dir(core)}{os.pathsep}{env.get('PATH', os.defpath)}",
        ANSIBLE_HOME=str(CACHE / "ansible"),
        ANSIBLE_COLLECTIONS_PATH=str(COLLECTIONS),
        ANSIBLE_LOCALHOST_WARNING="false",
        ANSIBLE_NOCOWS="true",
        PYTHONDONTWRITEBYTECODE="1",
    )
    # Ansible refuses to start under a locale that is not UTF-8.
    if "utf" not in (env.get("LC_ALL") or env.get("LC_CTYPE") or env.get("LANG") or "").lower():
        env["LC_ALL"] = "C.UTF-8"
    return env
