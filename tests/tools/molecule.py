# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs the Molecule scenarios of extensions/molecule against hosts: containers with systemd (tests/hosts/README.md).

python3 tests/tools/molecule.py [SCENARIO...]        each scenario's whole sequence; all of them without a name
python3 tests/tools/molecule.py shell                a shell in which `molecule converge -s heartbeat`, `podman ps` and ssh work
python3 tests/tools/molecule.py clean                takes away .cache/molecule (make clean)
    --collections DIR    another copy of the collection than this checkout (DIR/ansible_collections/storpool/cloudstack)

Everything runs in mount, process and network namespaces of its own, so that all of it ends with this process, however that ends, and
neither podman's storage and configuration nor the network of the machine is touched. That takes root, which sudo gives.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from collection import INSIDE, link
from common import CACHE, COLLECTIONS, ROOT, VENVS, ToolError, debian_packages, environment, install_debian, main, run, say
from host_image import HOSTS, LOGS, WORK, elevated, laboratory, make_images, own_namespaces, podman, root_file_system, ulimits
from virtualenvs import ensure

RUN = WORK / "run"  # memory, gone with the namespace
RESULTS = CACHE / "results" / "molecule.json"
SCENARIOS = Path("extensions/molecule")
DEFAULT = "default"
SCENARIO_SECONDS = 2400
CAPABILITIES = {"CAP_SYS_ADMIN": 21, "CAP_NET_ADMIN": 12, "CAP_MKNOD": 27}
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
# What Molecule tells of a scenario: its steps beforehand, and of each how it ended.
PLAN = re.compile(r"scenario test matrix: (.*)$", re.MULTILINE)
END = re.compile(r"^[A-Z]+\s+\[\S+ > (?P<step>\S+)\] Executed: (?P<end>\w+)", re.MULTILINE)


def check_machine() -> None:
    """Say in one sentence what is missing, before podman says it in many."""
    effective = int(re.search(r"^CapBnd:\s*(\w+)$", Path("/proc/self/status").read_text(), re.MULTILINE).group(1), 16)
    missing = [name for name, bit in CAPABILITIES.items() if not effective >> bit & 1]
    if missing:
        raise ToolError(f"hosts that run systemd take {', '.join(missing)}; this machine or container has none (docker: --privileged)")
    probe = run(elevated([*own_namespaces("--net"), "true"]), check=False, stderr=subprocess.PIPE, text=True)
    if probe.returncode:
        raise ToolError(f"hosts that run systemd take namespaces of their own, which this machine refuses: {probe.stderr.strip()}")
    if not os.statvfs("/sys/fs/cgroup").f_flag & os.ST_RDONLY and any(Path("/sys/fs/cgroup").iterdir()):
        return
    raise ToolError("hosts that run systemd take control groups, and /sys/fs/cgroup is absent or read-only here (docker: --privileged)")


# Inside the namespaces


def configure() -> dict[str, str]:
    """Podman's own place and the network; returns the environment in which it is used."""
    os.umask(0o022)
    # /run has what podman, runc and netavark take for the machine's state, /dev/shm podman's locks.
    for place in (RUN, Path("/run"), Path("/dev/shm")):
        place.mkdir(parents=True, exist_ok=True)
        run(["mount", "-t", "tmpfs", "tmpfs", place])
    run(["ip", "link", "set", "lo", "up"])
    for address in (laboratory.STORPOOL, laboratory.MANAGEMENT):
        run(["ip", "address", "add", f"{address}/32", "dev", "lo"])
    (RUN / "containers.conf").write_text(
        f"""[containers]
default_ulimits={json.dumps(ulimits())}
pids_limit=0
[engine]
runtime="runc"
cgroup_manager="cgroupfs"
events_logger="file"
static_dir="{RUN}/static"
tmp_dir="{RUN}/tmp"
volume_path="{RUN}/volumes"
[network]
network_backend="netavark"
network_config_dir="{RUN}/networks"
""",
        encoding="utf-8",
    )
    (RUN / "storage.conf").write_text(f'[storage]\ndriver="overlay"\ngraphroot="{WORK}/storage"\nrunroot="{RUN}/root"\n', encoding="utf-8")
    settings = {"CONTAINERS_CONF": str(RUN / "containers.conf"), "CONTAINERS_STORAGE_CONF": str(RUN / "storage.conf"), "TMPDIR": str(RUN)}
    os.environ.update(settings)
    # Containers of a run that was killed; podman's own list of them went with that run's memory.
    left = podman("ps", "--all", "--external", "--quiet", stdout=subprocess.PIPE, text=True).stdout.split()
    if left:
        podman("rm", "--force", "--time=0", *left)
    podman("network", "create", "--disable-dns", "--subnet", laboratory.SUBNET, "--gateway", laboratory.GATEWAY, laboratory.NETWORK)
    return settings


def key() -> Path:
    """A key pair for this run, in memory."""
    path = RUN / "ssh" / "key"
    path.parent.mkdir(mode=0o700)
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "molecule", "-f", path])
    return path


def start_laboratory(env: dict[str, str]) -> tuple[subprocess.Popen, dict[str, str]]:
    log = (LOGS / "molecule-laboratory.log").open("w", encoding="utf-8")
    command = [VENVS / "molecule" / "bin" / "python", HOSTS / "laboratory.py", "serve"]
    process = subprocess.Popen([str(word) for word in command], cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=log, text=True)
    line = process.stdout.readline()
    if not line:
        raise ToolError(f"the laboratory did not start; {log.name} tells why")
    # From here on its words go to the log.
    subprocess.Popen(["cat"], stdin=process.stdout, stdout=log)
    return process, json.loads(line)["ready"]


def inside_environment(collections: Path) -> dict[str, str]:
    private = key()
    env = environment()
    for name in ("SSH_AUTH_SOCK", "MOLECULE_EPHEMERAL_DIRECTORY"):
        env.pop(name, None)
    env.update(
        PATH=f"{VENVS / 'molecule' / 'bin'}{os.pathsep}{os.environ['PATH']}",
        HOME=str(RUN),
        # Molecule keeps what it thinks of the hosts below it.
        ANSIBLE_HOME=str(RUN / "ansible"),
        ANSIBLE_COLLECTIONS_PATH=str(collections),
        ANSIBLE_CALLBACK_PLUGINS=str(ROOT / "tests" / "integration" / "callback_plugins"),
        ANSIBLE_CALLBACKS_ENABLED="record",
        ANSIBLE_SSH_CONTROL_PATH_DIR="/dev/shm/ssh",
        RECORD_FILE=str(RUN / "records.jsonl"),
        LABORATORY=str(HOSTS / "laboratory.py"),
        LABORATORY_KEY=str(private),
        LABORATORY_WORK=str(RUN),
        NO_COLOR="1",
    )
    return env


def run_scenario(name: str, where: Path, env: dict[str, str]) -> dict:
    """One scenario from create to destroy: its steps with how they ended."""
    log = LOGS / f"molecule-{name}.log"
    (RUN / "records.jsonl").unlink(missing_ok=True)
    say(f"scenario {name}")
    started = time.monotonic()
    with log.open("w", encoding="utf-8") as target:
        command = ["molecule", "test", "--scenario-name", name, "--shared-state"]
        process = subprocess.Popen(command, cwd=where, env=env, stdout=target, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            status = process.wait(SCENARIO_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            target.write(f"\nended after {SCENARIO_SECONDS} s\n")
            status = 1
    text = COLOUR.sub("", log.read_text(encoding="utf-8", errors="replace"))
    steps = steps_of(text, status)
    for step, end in steps.items():
        print(f"{name:20} {step:34} {end}", flush=True)
    if status:
        print(failures_in(text), flush=True)
    return {"name": name, "steps": steps, "seconds": round(time.monotonic() - started), "log": str(log.relative_to(ROOT))}


def steps_of(text: str, status: int) -> dict[str, str]:
    """Each step that the scenario was to have, and how it ended: ok, FAILED, not reached."""
    plan = PLAN.search(text)
    planned = plan.group(1).split(", ") if plan else ["start"]
    ends = [(found["step"], found["end"]) for found in END.finditer(text)]
    steps: dict[str, str] = {}
    for number, step in enumerate(planned, 1):
        name = f"{number}. {step}"
        if ends and ends[0][0] == step.split()[0]:
            steps[name] = "ok" if ends.pop(0)[1] == "Successful" else "FAILED"
        elif step == "destroy" and ends and ends[-1] == ("destroy", "Successful"):
            # After a failure the hosts are taken away all the same.
            steps[name] = "ok"
        else:
            steps[name] = "not reached"
            ends = ends[-1:]
    if status and all(end == "ok" for end in steps.values()):
        steps[f"molecule itself, status {status}"] = "FAILED"
    return steps


def failures_in(text: str) -> str:
    """The lines of the log that say what failed; the end of it when there are none."""
    lines = [line for line in text.splitlines() if re.match(r"(fatal|failed|ERROR|CRITICAL|\[ERROR\])\b", line) or "UNREACHABLE!" in line]
    return "\n".join(line[:1500] for line in lines) or text[-3000:]


def inside(arguments: list[str], collections: Path, tar: Path) -> int:
    """Runs as the first process but one of its namespaces."""
    configure()
    make_images(tar)
    env = inside_environment(collections)
    _process, ready = start_laboratory(env)
    env.update(ready)
    where = collections / INSIDE
    if arguments == ["shell"]:
        say("hosts are made by `molecule create`, and go with this shell")
        return run([os.environ.get("SHELL", "/bin/sh")], cwd=where, env=env, check=False).returncode
    results = [run_scenario(name, where, env) for name in arguments]
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return 1 if any(end != "ok" for one in results for end in one["steps"].values()) else 0


# Outside


def cgroups() -> list[Path]:
    return [path for path in Path("/sys/fs/cgroup").glob(f"**{laboratory.CGROUP}") if path.is_dir()]


def take_away_leftovers() -> None:
    """Of a run that was killed: its hosts, known by the name of their control group, and that group."""
    for top in cgroups():
        for path in sorted((one for one in [top, *top.rglob("*")] if one.is_dir()), key=lambda one: -len(one.parts)):
            with contextlib.suppress(OSError):
                for pid in (path / "cgroup.procs").read_text().split():
                    os.kill(int(pid), signal.SIGKILL)
            with contextlib.suppress(OSError):
                path.rmdir()


def install_packages() -> None:
    names = ("podman", "runc", "mmdebstrap", "catatonit", "iptables", "mount")
    # A user's PATH may lack root's places.
    os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    debian_packages("hosts that run systemd", **{name: name for name in names}, ip="iproute2", ssh="openssh-client")
    if not any(Path(place, "netavark").exists() for place in ("/usr/lib/podman", "/usr/libexec/podman")):
        install_debian("hosts that run systemd", ["netavark"])


def end_with_parent() -> None:
    """A killed `make` leaves nothing running (Linux: PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def tool(arguments: list[str]) -> int:
    end_with_parent()
    collections = COLLECTIONS
    if "--collections" in arguments:
        at = arguments.index("--collections")
        collections = Path(arguments[at + 1]).resolve()
        del arguments[at : at + 2]
    if arguments[:1] == ["inside"]:
        return inside(arguments[2:], collections, Path(arguments[1]))
    if arguments == ["clean"]:
        if WORK.exists():
            run(elevated([*own_namespaces(), "rm", "-rf", WORK]))
        return 0
    known = sorted(path.parent.name for path in (ROOT / SCENARIOS).glob("*/molecule.yml") if path.parent.name != DEFAULT)
    unknown = set(arguments) - {*known, "shell"}
    if unknown:
        raise ToolError(f"there is no scenario {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    wanted = arguments or known
    check_machine()
    install_packages()
    ensure("molecule")
    link()
    RESULTS.unlink(missing_ok=True)
    LOGS.mkdir(parents=True, exist_ok=True)
    WORK.mkdir(parents=True, exist_ok=True)
    with (WORK / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        take_away_leftovers()
        tar = root_file_system()
        again = [sys.executable, __file__, "inside", tar, *wanted, "--collections", collections]
        status = run(elevated([*own_namespaces("--net"), "catatonit", "--", *again]), check=False).returncode
        take_away_leftovers()
    return status


if __name__ == "__main__":
    main(tool)
