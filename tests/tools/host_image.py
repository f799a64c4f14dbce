# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The image of the hosts that Molecule's scenarios run against: a Debian root file system, and tests/hosts/image on top of it.

Both are kept in .cache/molecule and made anew when what they are made of changes.
"""

from __future__ import annotations

import hashlib
import os
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

from common import CACHE, ROOT, ToolError, output, run, say

HOSTS = ROOT / "tests" / "hosts"
WORK = CACHE / "molecule"
LOGS = CACHE / "log"

sys.path.insert(0, str(HOSTS))
import laboratory  # noqa: E402 (it lies with the hosts)

IMAGE = laboratory.IMAGE
BASE = "localhost/storpool-cloudstack-host:debian"
PACKAGES = "systemd,systemd-sysv,dbus,python3,openssh-server,iproute2,procps,kmod"
LEFT_OUT = ("man", "doc", "locale")
# What a container may have, where the machine itself allows that much.
MOST_FILES = MOST_PROCESSES = 20000


def elevated(command: list) -> list[str]:
    """The command as root; raises ToolError where nobody can make it so."""
    words = [str(word) for word in command]
    if os.geteuid() == 0:
        return words
    if not shutil.which("sudo"):
        raise ToolError("hosts that run systemd take root: please run this as root, or install sudo")
    return ["sudo", "--preserve-env", f"PATH={os.environ['PATH']}", *words]


def own_namespaces(*more: str) -> list[str]:
    """The start of a command whose processes and mounts end with it; the parent's end is its end, too."""
    return ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", *more, "--"]


def mirror() -> list[str]:
    """The suite of this machine's Debian and where it gets its packages from."""
    system = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    if system.get("ID") != "debian" or "VERSION_CODENAME" not in system:
        return ["bookworm"]
    sources = [Path("/etc/apt/sources.list"), Path("/etc/apt/sources.list.d/debian.sources")]
    used = [str(path) for path in sources if path.exists() and re.search(r"^(deb |URIs:)", path.read_text(), re.MULTILINE)]
    return [system["VERSION_CODENAME"], *used]


def root_file_system() -> Path:
    """The tar of a Debian with systemd; it is made when there is none of this recipe."""
    suite, *sources = mirror()
    settings = output(["apt-config", "dump", "Acquire"]) if shutil.which("apt-config") else ""
    recipe = ["--mode=root", "--format=tar", "--variant=minbase", f"--include={PACKAGES}"]
    recipe += [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in LEFT_OUT]
    recipe += [f"--aptopt={line}" for line in settings.splitlines() if re.match(r"Acquire::\w+::(Proxy|CaInfo)\b.*\"..*\"", line)]
    known = "\0".join([suite, *recipe, *(Path(path).read_text() for path in sources)])
    target = WORK / f"debian-{hashlib.sha256(known.encode()).hexdigest()[:16]}.tar"
    if not target.exists():
        say(f"making a root file system of Debian {suite} for the hosts")
        for old in WORK.glob("debian-*"):
            run(elevated(["rm", "-rf", old]))
        with (LOGS / "molecule-debian.log").open("w", encoding="utf-8") as log:
            command = [*own_namespaces(), "mmdebstrap", *recipe, suite, f"{target}.new", *sources]
            done = run(elevated(command), check=False, stdout=log, stderr=subprocess.STDOUT)
        if done.returncode:
            raise ToolError(f"mmdebstrap did not manage; {log.name} tells why")
        run(elevated(["mv", f"{target}.new", target]))
    return target


def image_recipe(tar: Path) -> str:
    """What the image is made of, as one word."""
    known = hashlib.sha256(tar.name.encode())
    for path in sorted((HOSTS / "image").rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            known.update(f"{path.relative_to(HOSTS)}\0".encode() + path.read_bytes())
    return known.hexdigest()


def ulimits() -> list[str]:
    files = min(MOST_FILES, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    most = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    processes = MOST_PROCESSES if most == resource.RLIM_INFINITY else min(MOST_PROCESSES, most)
    return [f"nofile={files}:{files}", f"nproc={processes}:{processes}"]


def podman(*words: str, **options) -> subprocess.CompletedProcess:
    options.setdefault("stdout", subprocess.DEVNULL)
    return run(["podman", *words], **options)


def make_images(tar: Path) -> None:
    """What podman does not have already."""
    base, whole = tar.name, image_recipe(tar)

    def has(image: str, made_of: str) -> bool:
        quiet = {"check": False, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
        shown = podman("image", "inspect", "--format", '{{index .Labels "made-of"}}', image, **quiet)
        return shown.returncode == 0 and shown.stdout.strip() == made_of

    limits = [f"--ulimit={limit}" for limit in ulimits()]
    if not has(BASE, base):
        say("making the hosts' image")
        podman("import", "--quiet", "--change", f"LABEL made-of={base}", str(tar), BASE)
    if not has(IMAGE, whole):
        with (LOGS / "molecule-image.log").open("w", encoding="utf-8") as log:
            words = ["--network=none", "--pull=never", *limits, "--label", f"made-of={whole}", "--tag", IMAGE]
            podman("build", *words, str(HOSTS / "image"), stdout=log, stderr=subprocess.STDOUT)
        podman("image", "prune", "--force")
