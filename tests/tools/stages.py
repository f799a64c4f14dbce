# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs stages of the tests and adds up what they counted.

python3 tests/tools/stages.py [--core CORE] STAGE... [-- pytest options]
python3 tests/tools/stages.py test      every stage, as CI does
python3 tests/tools/stages.py long      what takes hours: far more generated examples, all faults, more kills and races
python3 tests/tools/stages.py matrix    sanity, units and integration on every core that a Python here can run

`test` runs several stages at a time: each of its lines takes the next one when it is free, so that all end at about the same time. What a
stage prints is shown when it has ended. A stage that fails does not stop the next one. The last line is `N passed, N failed` (with
`, N skipped` when some were), where a linter, a sanity test and a step of a Molecule scenario count as one each.
Full output of the linters, of ansible-test, of Molecule and of each stage: .cache/log.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from collection import copy, link
from common import CACHE, CORES, DEFAULT_CORE, OLDEST_CORE, ROOT, VENVS, ToolError, debian_packages, environment, main, python_for, run, say
from image import disk_image
from virtualenvs import ensure

# One test may take this many seconds before it counts as hung.
TEST_TIMEOUT = 900

# What `make test` does a little of, and `make long-test` much more; whoever sets one of these has it as it is set. Two hours for one test.
LONG_TIMEOUT = 7200
LONG_STAGES = ("properties", "faults", "hostile")
LONG = {
    "HYPOTHESIS_PROFILE": "thorough",  # 10,000 examples of each property; 625 of those that drive the simulators
    "ALL_FAULTS": "1",  # of every scenario every call with every fault
    "FAULT_RUNS": "200",  # playbooks that are killed
    "FAULT_RACES": "12",  # of each kind of races, and five times as many of two playbooks in each world
    "LONG_TEST": "1",  # ten times the bad inputs, and all odd values in answers
}

# The summary repeats this many failures of a stage; the stage's own output has all of them.
MOST_FAILURES = 20

FOLDERS = {
    "simulator-tests": "tests/simulator_tests",
    "unit": "tests/unit",
    "properties": "tests/properties",
    "faults": "tests/faults",
    "hostile": "tests/hostile",
    "scenarios": "tests/scenarios",
    "integration": "tests/integration",
    "artifact": "tests/artifact",
}

# Parts of the longest stages, which `test` runs as stages of their own, `integration:roles` for one: by how the names of files
# begin. The last one has all that no other has.
PARTS = {
    "integration": {
        "roles": ("role_", "configure_", "assess_", "warm_", "cloudstack_playbooks", "demo", "readme", "examples"),
        "snapshots": ("cloudstack_snapshot", "cloudstack_template", "cloudstack_vm_snapshot", "template_", "storpool_snapshot"),
        "both-ways": ("both_ways", "bench", "call_budgets", "cloudstack_call_budgets"),
        "others": ("",),
    },
    "faults": {"each-call": ("each_call",), "others": ("",)},
}

# The order in which `test` begins them: what takes long goes first, so that all lines end together.
QUEUE = (
    "faults:each-call", "integration:others", "integration:roles", "integration:snapshots", "molecule", "hostile", "integration:both-ways",
    "sanity", "sanity:oldest", "faults:others", "simulator-tests", "scenarios", "properties", "artifact", "lint", "unit",
)  # fmt: skip
# Tests wait a good part of their time, for jobs, deadlines and processes: four lines keep two processors busy.
LINES = 4
TELL = "tell"  # `stages.py tell FILE STAGE` leaves the result in a file
# Of these only one at a time: they share ansible-test's virtual environments.
ALONE = ("sanity",)

# Stages that show the demo a disk, and those whose simulators work on images of disks
WITH_DISK = ("integration", "hostile")
WITH_IMAGES = ("simulator-tests", "faults", "scenarios", "integration")


@dataclass
class Result:
    title: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    note: str = ""
    seconds: float = 0.0
    failures: list[str] = field(default_factory=list)

    def counts(self) -> str:
        text = f"{self.passed} passed, {self.failed} failed"
        return f"{text}, {self.skipped} skipped" if self.skipped else text


def log_path(name: str) -> Path:
    path = CACHE / "log" / f"{name}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def lint() -> Result:
    result = Result("lint")
    ensure("lint")
    place = copy(CACHE / "lint")
    tools = VENVS / "lint" / "bin"
    env = environment()
    env["PATH"] = f"{tools}:{env['PATH']}"
    env["ANSIBLE_COLLECTIONS_PATH"] = str(CACHE / "lint")
    checks = {
        "ruff": ["ruff", "check", "--quiet", "--output-format", "concise", "--cache-dir", CACHE / "ruff", "."],
        "yamllint": ["yamllint", "--strict", "."],
        "antsibull-changelog": ["antsibull-changelog", "lint"],
        "antsibull-docs": ["antsibull-docs", "lint-collection-docs", "--plugin-docs", "--disallow-unknown-collection-refs", "."],
        "ansible-lint": ["ansible-lint", "--offline", "--nocolor", "-q"],
    }
    for name, command in checks.items():
        started = time.monotonic()
        command[0] = tools / command[0]
        done = run(command, cwd=place, env=env, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        log_path(f"lint-{name}").write_text(done.stdout, encoding="utf-8")
        verdict = "ok" if done.returncode == 0 else "FAILED"
        print(f"{name:20} {verdict} ({time.monotonic() - started:.0f} s)", flush=True)
        if done.returncode == 0:
            result.passed += 1
        else:
            print(done.stdout, flush=True)
            result.failed += 1
            result.failures.append(name)
    return result


def sanity(core: str) -> Result:
    """ansible-test says which tests it runs, and at the end which of them failed."""
    result = Result(f"sanity, ansible-core {core}")
    log = log_path(f"sanity-{core}")
    with log.open("w", encoding="utf-8") as target:
        command = [sys.executable, ROOT / "tests" / "tools" / "sanity.py", core]
        status = run(command, check=False, stdout=target, stderr=subprocess.STDOUT).returncode
    text = log.read_text(encoding="utf-8", errors="replace")
    # At the end it repeats its warnings, so each is counted once.
    skips = sorted(set(re.findall(r"^WARNING: (Skipping .*)$", text, re.MULTILINE)))
    for line in skips:
        print(line)
    for line in re.findall(r"^(?:ERROR|error): .*$", text, re.MULTILINE):
        print(line)
    started = len(re.findall(r"^Running sanity test ", text, re.MULTILINE))
    listed = re.search(r"^FATAL: The \d+ sanity test\(s\) listed below \(out of \d+\) failed.*?\n((?:.+\n?)+)", text, re.MULTILINE)
    if listed:
        result.failures = [line.strip() for line in listed.group(1).splitlines() if re.match(r"[a-z]", line)]
    elif status != 0 or not started:
        result.failures = ["ansible-test itself"]
        print(text[-3000:])
    result.failed = len(result.failures)
    result.passed = max(started - result.failed, 0)
    result.skipped = len(skips)
    return result


def files_of(stage: str) -> list[str]:
    """The files of a part of a stage, or its whole folder."""
    name, _colon, part = stage.partition(":")
    if not part:
        return [FOLDERS[name]]
    every = sorted(path.name for path in (ROOT / FOLDERS[name]).glob("test_*.py"))
    of = {file: next(own for own, begin in PARTS[name].items() if file.startswith(tuple(f"test_{one}" for one in begin))) for file in every}
    mine = [file for file in every if of[file] == part]
    return [f"{FOLDERS[name]}/{file}" for file in mine]


def tests(stage: str, core: str, options: list[str], timeout: int) -> Result:
    """A folder of pytest tests, or a part of it, counted from pytest's own report."""
    name = stage.partition(":")[0]
    folder = FOLDERS[name]
    result = Result(stage if core == DEFAULT_CORE else f"{stage}, ansible-core {core}")
    if not (ROOT / folder).is_dir():
        result.note = f"{folder} does not exist yet"
        print(result.note)
        return result
    ensure(f"core-{core}")
    if name in WITH_IMAGES:
        debian_packages("the simulated CloudStack, which converts real images", qemu_img="qemu-utils", cryptsetup="cryptsetup-bin")
    if name in WITH_DISK:
        disk_image()  # here, because tests that wait for a download would look as if they hung
    link()
    report = CACHE / "results" / f"{stage.replace(':', '-')}-{core}.xml"
    report.parent.mkdir(parents=True, exist_ok=True)
    report.unlink(missing_ok=True)
    command = [VENVS / f"core-{core}" / "bin" / "python", "-m", "pytest", *files_of(stage), "-q", "-rs", f"--timeout={timeout}"]
    command.append(f"--junitxml={report}")
    status = run([*command, *options], env=environment(core), check=False).returncode
    if report.exists():
        for case in ElementTree.parse(report).getroot().iter("testcase"):
            outcomes = {part.tag for part in case}
            if outcomes & {"failure", "error"}:
                result.failed += 1
                result.failures.append(f"{case.get('classname')}::{case.get('name')}")
            elif "skipped" in outcomes:
                result.skipped += 1
            else:
                result.passed += 1
    if status != 0 and not result.failed:
        # No test found, a broken conftest or a crash must not look like success.
        result.failed += 1
        result.failures.append(f"pytest {folder} ended with status {status}")
    if status == 0 and not result.passed:
        result.failed += 1
        result.failures.append(f"{folder}: no test ran")
    return result


def molecule(names: list[str]) -> Result:
    """Scenarios on hosts that run systemd; a machine that cannot have them fails the stage."""
    result = Result("molecule")
    report = CACHE / "results" / "molecule.json"
    report.unlink(missing_ok=True)
    status = run([sys.executable, ROOT / "tests" / "tools" / "molecule.py", *names], check=False).returncode
    for scenario in json.loads(report.read_text(encoding="utf-8")) if report.exists() else []:
        for step, end in scenario["steps"].items():
            if end == "ok":
                result.passed += 1
            else:
                result.failed += 1
                result.failures.append(f"{scenario['name']}, step {step}: {end} ({scenario['log']})")
    if not result.failed and (status or not result.passed):
        result.failed += 1
        result.failures.append("the hosts could not be had, or no scenario ran; the reason is printed above")
    return result


def run_stage(name: str, core: str, options: list[str], timeout: int = TEST_TIMEOUT) -> Result:
    print(f"\n=== {name} (ansible-core {core}) {'=' * 60}"[:100], flush=True)
    started = time.monotonic()
    try:
        if name == "lint":
            result = lint()
        elif name == "sanity":
            result = sanity(core)
        elif name == "molecule":
            result = molecule(options)
        else:
            result = tests(name, core, options, timeout)
    except (ToolError, subprocess.CalledProcessError) as error:
        # A set-up that fails fails its own stage only.
        print(f"error: {error}", flush=True)
        result = Result(name, failed=1, failures=[str(error)])
    result.seconds = time.monotonic() - started
    print(f"--- {result.title}: {result.counts()} in {result.seconds:.0f} s", flush=True)
    return result


def summary(results: list[Result]) -> int:
    total = Result("all")
    print("\n=== summary " + "=" * 60)
    for result in results:
        print(f"{result.title:30} {result.seconds:6.0f} s   {result.note or result.counts()}")
        total.passed += result.passed
        total.failed += result.failed
        total.skipped += result.skipped
    for result in results:
        for failure in result.failures[:MOST_FAILURES]:
            print(f"FAILED {result.title}: {failure}")
        if len(result.failures) > MOST_FAILURES:
            print(f"FAILED {result.title}: and {len(result.failures) - MOST_FAILURES} more")
    if not total.passed and not total.failed:
        total.failed = 1
        print("FAILED: nothing was run")
    totals = CACHE / "results" / "totals"
    totals.parent.mkdir(parents=True, exist_ok=True)
    totals.write_text(total.counts() + "\n", encoding="utf-8")
    print(total.counts(), flush=True)
    return 1 if total.failed else 0


def planned(names: list[str], core: str) -> list[tuple[str, str]]:
    """The stages in order, each with its core."""
    if names == ["test"]:
        return [("sanity", OLDEST_CORE) if name == "sanity:oldest" else (name, core) for name in QUEUE]
    if names == ["long"]:
        return [(name, core) for name in LONG_STAGES]
    if names == ["matrix"]:
        stages = []
        for version in CORES:
            if python_for(version):
                stages += [(name, version) for name in ("sanity", "unit", "integration")]
            else:
                say(f"ansible-core {version} is left out: none of Python {', '.join(CORES[version])} is on this machine")
        return stages
    parts = {f"{name}:{part}" for name, own in PARTS.items() for part in own}
    unknown = set(names) - {"lint", "sanity", "molecule", *FOLDERS, *parts}
    if unknown or not names:
        raise ToolError(f"stages: test, long, matrix, lint, sanity, molecule, {', '.join(FOLDERS)}")
    return [(name, core) for name in names]


def tool(arguments: list[str]) -> int:
    options: list[str] = []
    if "--" in arguments:
        at = arguments.index("--")
        arguments, options = arguments[:at], arguments[at + 1 :]
    core = DEFAULT_CORE
    if "--core" in arguments:
        at = arguments.index("--core")
        core = "".join(arguments[at + 1 : at + 2])
        arguments = arguments[:at] + arguments[at + 2 :]
    if arguments == ["long"]:
        return long_test(core, options)
    if arguments == ["test"]:
        return whole_test(core)
    if arguments[:1] == [TELL]:
        where, name = arguments[1:]
        result = run_stage(name, core, [])
        Path(where).write_text(json.dumps(asdict(result)), encoding="utf-8")
        return 0
    return summary([run_stage(name, version, options) for name, version in planned(arguments, core)])


def whole_test(core: str) -> int:
    """Run everything that CI runs, several stages at a time."""
    for needed in (f"core-{core}", "lint"):
        ensure(needed)  # what all lines may begin with
    link()
    left = planned(["test"], core)
    order = list(left)
    results: dict[tuple[str, str], Result] = {}
    begun: list[tuple[str, str]] = []
    processes: list[subprocess.Popen] = []
    turn = threading.Condition()

    def next_one() -> tuple[str, str] | None:
        """The next stage that may begin now; waits while there is one that may not yet."""
        with turn:
            while left:
                busy = {name for name, _core in begun if name in ALONE}
                for stage in left:
                    if stage[0] not in busy:
                        left.remove(stage)
                        begun.append(stage)
                        return stage
                turn.wait()
        return None

    def line() -> None:
        while stage := next_one():
            results[stage] = in_a_process(*stage, processes)
            with turn:
                begun.remove(stage)
                turn.notify_all()

    lines = [threading.Thread(target=line, daemon=True) for _unused in range(LINES)]
    try:
        for one in lines:
            one.start()
        for one in lines:
            one.join()
    finally:
        for process in processes:
            if process.poll() is None:
                process.terminate()
    return summary([results.get(stage) or Result(stage[0], failed=1, failures=["it was not run to its end"]) for stage in order])


def in_a_process(name: str, core: str, processes: list[subprocess.Popen]) -> Result:
    """Run a stage beside others; what it printed is shown in one piece, and its result comes by a file."""
    told = CACHE / "results" / f"{name.replace(':', '-')}-{core}.json"
    told.parent.mkdir(parents=True, exist_ok=True)
    told.unlink(missing_ok=True)
    log = log_path(f"stage-{name.replace(':', '-')}-{core}")
    with log.open("wb") as target:
        command = [sys.executable, str(Path(__file__)), "--core", core, TELL, str(told), name]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=target, stderr=subprocess.STDOUT)
        processes.append(process)
        process.wait()
    sys.stdout.write(log.read_text(encoding="utf-8", errors="replace"))
    sys.stdout.flush()
    if told.exists():
        return Result(**json.loads(told.read_text(encoding="utf-8")))
    return Result(name, failed=1, failures=[f"the stage ended with status {process.returncode}"])


def long_test(core: str, options: list[str]) -> int:
    """Run what takes hours, and say how much of what that was."""
    for name, value in LONG.items():
        os.environ.setdefault(name, value)
    counted = CACHE / "results" / "faults-counted"
    counted.parent.mkdir(parents=True, exist_ok=True)
    counted.unlink(missing_ok=True)
    os.environ["COUNT_FAULTS"] = str(counted)
    say(" ".join(f"{name}={os.environ[name]}" for name in LONG))
    status = summary([run_stage(name, version, options, LONG_TIMEOUT) for name, version in planned(["long"], core)])
    for kind, (number, tests) in fault_counts(counted).items():
        print(f"{kind}: {number} in {tests} tests", flush=True)
    return status


def fault_counts(counted: Path) -> dict[str, tuple[int, int]]:
    """What the tests of faults wrote down, by kind: how many there were (`faults: 31 ...`), in how many tests."""
    found: dict[str, tuple[int, int]] = {}
    for line in counted.read_text(encoding="utf-8").splitlines() if counted.exists() else ():
        kind, _colon, what = line.partition(": ")
        number, tests = found.get(kind, (0, 0))
        found[kind] = number + int(what.split()[0]), tests + 1
    return found


if __name__ == "__main__":
    main(tool)
