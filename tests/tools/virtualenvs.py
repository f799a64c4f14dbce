# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes the virtual environments, and makes them again only when what they hold has changed.

python3 tests/tools/virtualenvs.py core-2.19    .venv/core-2.19: ansible-core 2.19, the test tools, the simulator (from this checkout)
python3 tests/tools/virtualenvs.py lint         .venv/lint: the linters
python3 tests/tools/virtualenvs.py molecule     .venv/molecule: the default ansible-core with Molecule and the simulator
python3 tests/tools/virtualenvs.py bench        .venv/bench: the default ansible-core with what `make bench` measures against and draws with
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from common import CACHE, DEFAULT_CORE, ROOT, VENVS, ToolError, install_debian, main, output, python_for, run, say

REQUIREMENTS = ROOT / "tests" / "requirements"
SIMULATOR = ROOT / "tests" / "simulator"


def make_venv(python: str, path: Path) -> None:
    """`python -m venv`, with Debian's split-off part of the standard library installed when it is missing."""
    probe = subprocess.run([python, "-c", "import ensurepip, venv"], stderr=subprocess.DEVNULL, check=False)
    if probe.returncode != 0:
        version = output([python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]).strip()
        install_debian("virtual environments", [f"python{version}-venv"])
    shutil.rmtree(path, ignore_errors=True)
    run([python, "-m", "venv", path])


def uv(python: str) -> Path | None:
    """The path of uv, which installs in seconds what takes pip minutes; None when it cannot be had, then pip does it."""
    path = VENVS / "uv"
    command = path / "bin" / "uv"
    if (path / ".unusable").exists():
        return None
    if not command.exists():
        say("getting uv, a fast installer of Python packages")
        make_venv(python, path)
        got = run([path / "bin" / "python", "-m", "pip", "install", "--quiet", "--only-binary=:all:", "uv"], check=False)
        if got.returncode != 0 or run([command, "--version"], check=False, stdout=subprocess.DEVNULL).returncode != 0:
            say("uv is not to be had here; pip does its work, more slowly")
            (path / ".unusable").touch()
            return None
    return command


def pip_configuration(python: Path) -> dict[str, str]:
    """The user's pip configuration, from files and environment, as pip itself understands it."""
    configuration: dict[str, str] = {}
    answer = run([python, "-m", "pip", "config", "list"], check=False, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    for line in answer.stdout.splitlines():
        name, equals, value = line.partition("=")
        section, _dot, option = name.partition(".")
        # The environment (`:env:`) is listed last and wins over the files, as with pip.
        if equals and section in (":env:", "global", "install"):
            configuration[option] = value.strip("'\"").replace("\\n", " ")
    return configuration


def uv_environment() -> dict[str, str]:
    """The user's pip configuration in uv's words: uv does not read pip's."""
    env = dict(os.environ)
    pip = pip_configuration(VENVS / "uv" / "bin" / "python")
    indexes = [index for index in pip.get("extra-index-url", "").split() if index.startswith(("http://", "https://"))]
    if "index-url" in pip:
        env.setdefault("UV_DEFAULT_INDEX", pip["index-url"])
    if indexes:
        env.setdefault("UV_INDEX", " ".join(indexes))
    if "cert" in pip:
        env.setdefault("SSL_CERT_FILE", pip["cert"])
    if "proxy" in pip:
        env.setdefault("ALL_PROXY", pip["proxy"])
    if "trusted-host" in pip:
        env.setdefault("UV_INSECURE_HOST", pip["trusted-host"])
    env.setdefault("UV_CACHE_DIR", str(CACHE / "uv"))
    env.setdefault("UV_HTTP_TIMEOUT", pip.get("default-timeout", "180"))
    env["UV_PYTHON_DOWNLOADS"] = "never"
    env["UV_NO_PROGRESS"] = "1"
    env.pop("VIRTUAL_ENV", None)
    return env


def write_pip_conf(python: Path, path: Path) -> None:
    """The same configuration as a file, for a tool that keeps neither the user's environment nor the user's home (ansible-test)."""
    configuration = pip_configuration(python)
    # What pip would take from the environment without being configured.
    silent = {"cert": ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"), "proxy": ("HTTPS_PROXY", "https_proxy")}
    for option, variables in silent.items():
        values = [os.environ[variable] for variable in variables if os.environ.get(variable)]
        if values:
            configuration.setdefault(option, values[0])
    lines = ["[global]", *(f"{name} = {value}" for name, value in sorted(configuration.items()))]
    path.parent.mkdir(parents=True, exist_ok=True)
    # It may name a private index with a password.
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as target:
        target.write("\n".join(lines) + "\n")


def install(python: str, path: Path, requirements: list[str], keep: bool) -> None:
    """A virtual environment with pip and the requirements in it; `keep` adds to the one that is there, which may be in use."""
    fast = uv(python)
    target = path / "bin" / "python"
    if fast:
        env = uv_environment()
        if not keep:
            shutil.rmtree(path, ignore_errors=True)
            run([fast, "venv", "--quiet", "--seed", "--no-project", "--python", python, path], env=env)
        # Compiled, because the tests write no bytecode: every ansible-playbook starts twice as fast.
        options = ["--quiet", "--link-mode=copy", "--compile-bytecode"]
        done = run([fast, "pip", "install", *options, "--python", target, *requirements], check=False, env=env)
        if done.returncode == 0:
            return
        say("uv did not manage; trying with pip")
    elif not keep:
        make_venv(python, path)
    run([target, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements])


def plan(name: str) -> tuple[str, list[str], list[Path]]:
    """The Python, the requirements and the files that they depend on."""
    if name == "lint":
        python = python_for(DEFAULT_CORE)
        files = [REQUIREMENTS / "lint.txt"]
        requirements = ["-r", str(files[0])]
    elif name in ("molecule", "bench") or name.startswith("core-"):
        core = name[len("core-") :] if name.startswith("core-") else DEFAULT_CORE
        python = python_for(core)
        files = [REQUIREMENTS / ("test.txt" if name.startswith("core-") else f"{name}.txt")]
        requirements = [f"ansible-core=={core}.*", "-r", str(files[0])]
        if (SIMULATOR / "pyproject.toml").exists():
            files.append(SIMULATOR / "pyproject.toml")
            requirements += ["-e", str(SIMULATOR)]
    else:
        raise ToolError(f"there is no virtual environment {name!r}: say lint, molecule, bench or core-VERSION")
    if python is None:
        raise ToolError(f"no Python on this machine fits {name}")
    return python, requirements, files


def ensure(name: str) -> Path:
    """The virtual environment's path, after making it if it is absent or out of date."""
    path = VENVS / name
    python, requirements, files = plan(name)
    contents = hashlib.sha256("\0".join(requirements).encode())
    for file in files:
        contents.update(file.read_bytes())
    base = f"{python} {path}"
    wanted = f"{base}\n{contents.hexdigest()}\n"
    stamp = path / ".made-of"
    VENVS.mkdir(exist_ok=True)
    with (VENVS / ".lock").open("w") as lock:
        # Two `make` at the same time: the second waits and finds the work done.
        fcntl.flock(lock, fcntl.LOCK_EX)
        present = stamp.read_text(encoding="utf-8") if stamp.exists() else ""
        if present != wanted:
            keep = present.startswith(base + "\n")
            say(f"{'bringing up to date' if keep else 'making'} .venv/{name} ({Path(python).name})")
            install(python, path, requirements, keep)
            stamp.write_text(wanted, encoding="utf-8")
    return path


def tool(arguments: list[str]) -> int:
    if not arguments:
        raise ToolError("usage: virtualenvs.py NAME... (lint, molecule, core-2.19, ...)")
    for name in arguments:
        ensure(name)
    return 0


if __name__ == "__main__":
    main(tool)
