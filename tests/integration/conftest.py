# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A simulator for the session, emptied before each test that asks for it, and the two ways of running a module against it.

def test_it(simulator, run_module, playbook, calls):
    result = run_module("storpool_volume", name="v", size="1G")           # the module's code in this process, a few ms
    run = playbook([{"storpool.cloudstack.storpool_volume": {"name": "v"}}])  # a real ansible-playbook, about a second
    assert calls().writes == []
"""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import playbooks
import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.storpool.cloudstack.plugins.module_utils import _runner
from ansible_collections.storpool.cloudstack.plugins.module_utils._cloudstack import CloudStack
from documented import undocumented
from prediction import differences, not_silent, unlike
from storpool_simulator.testing import Simulator

CLOUDSTACKS = ("4.19.3", "4.20.2", "4.21.0", "4.22.0")
# What goes on by itself does so soon, for the tests that wait for it; but policies that a test declares take no snapshots at some minute.
SOON = {"poll_seconds": 0.2, "job_seconds": 0.2, "maintenance_seconds": 0.2, "policies_run": False}


@pytest.fixture(scope="session")
def simulator_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    with Simulator(tmp_path_factory.mktemp("simulator"), devices="link") as sim:
        yield sim


def as_at_first_start(process: Simulator) -> Simulator:
    process.clear_faults()
    process.reset()
    process.background(True)
    process.reset_calls()
    return process


@pytest.fixture
def sim(simulator_process: Simulator) -> Simulator:
    return as_at_first_start(simulator_process)


@pytest.fixture(scope="session")
def cloud_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Simulator]]:
    """`cloud_of(version)` is a simulator with a CloudStack of that version, started when it is first asked for."""
    running: dict[str, Simulator] = {}

    def get(version: str) -> Simulator:
        if version not in running:
            process = Simulator(tmp_path_factory.mktemp("cloud"), devices="link", cloudstack=version, assume=SOON)
            process.start()
            running[version] = process
        return as_at_first_start(running[version])

    yield get
    for process in running.values():
        process.stop()


@pytest.fixture(params=CLOUDSTACKS)
def cloud(request: pytest.FixtureRequest, cloud_of: Callable[[str], Simulator]) -> Simulator:
    """A simulator with a CloudStack, as at first start; the test runs with each version.

    A test module that is about CloudStack makes it its `simulator`, and the other fixtures work with it.
    """
    return cloud_of(request.param)


@pytest.fixture
def simulator(sim: Simulator) -> Simulator:
    """The simulator as at first start."""
    return sim


@pytest.fixture
def do(simulator: Simulator) -> Callable[..., Any]:
    """`do(call, body={})` changes something by the API itself, which must succeed, and returns the answer's data."""

    def change(call: str, body: Any = None) -> Any:
        status, answer = simulator.post(call, body or {})
        assert status == 200, answer
        return answer["data"]

    return change


@dataclass(frozen=True)
class Calls:
    """What the simulator was asked since the log was last emptied: names of calls, in order."""

    reads: list[str]
    writes: list[str]
    entries: list[dict[str, Any]]


@pytest.fixture
def calls(simulator: Simulator) -> Callable[..., Calls]:
    """`calls()` tells what was asked since the last `calls()`, and empties the log."""

    def since() -> Calls:
        entries = simulator.calls()["calls"]
        simulator.reset_calls()
        return Calls(
            reads=[entry["call"] for entry in entries if not entry["write"]],
            writes=[entry["call"] for entry in entries if entry["write"]],
            entries=entries,
        )

    return since


@pytest.fixture
def held(simulator: Simulator) -> Callable[..., AbstractContextManager[None]]:
    """`with held("StorPoolDownloadTemplate", until, count=-1):` has hosts keep that command from going on until `until()` is true.

    A thread of its own looks, so the body may only run modules and playbooks. `until` takes the fault as the simulator shows it.
    """

    @contextmanager
    def hold(command: str, until: Callable[[dict[str, Any]], Any], **more: Any) -> Iterator[None]:
        number = simulator.fault("host_held", command, **more)
        over = threading.Event()

        def look() -> None:
            while not until(next(one for one in simulator.faults() if one["id"] == number)) and not over.wait(0.02):
                pass
            simulator.lift(number)

        with ThreadPoolExecutor(1) as pool:
            looking = pool.submit(look)
            try:
                yield
            finally:
                over.set()
                looking.result()

    return hold


@pytest.fixture
def after_the(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Callable[[], Any]], None]:
    """`after_the("resizeVolume", act)` lets somebody else act as soon as that call of a task is done."""

    def arrange(call: str, act: Callable[[], Any]) -> None:
        send = CloudStack.send

        def sent(client: CloudStack, write: Any) -> Any:
            answer = send(client, write)
            if getattr(write, "call", None) == call:
                act()
            return answer

        monkeypatch.setattr(CloudStack, "send", sent)

    return arrange


@pytest.fixture
def when_listed(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Callable[[dict[str, Any]], Any], Callable[[], Any]], None]:
    """`when_listed("listVolumes", is_so, act)` lets somebody else act as soon as a task has read a row for which `is_so(row)` is true."""

    def arrange(call: str, is_so: Callable[[dict[str, Any]], Any], act: Callable[[], Any]) -> None:
        listing, acted = CloudStack.list, []

        def listed(client: CloudStack, of: str, key: str, *args: Any, **params: Any) -> Any:
            rows = listing(client, of, key, *args, **params)
            if of == call and not acted and any(map(is_so, rows)):
                acted.append(True)
                act()
            return rows

        monkeypatch.setattr(CloudStack, "list", listed)

    return arrange


@pytest.fixture
def task_time(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Tasks of this test go by the clock `task_time.seconds` (UNIX seconds), which stands still: no hour and no day ends between two.

    It is that of tasks alone: the simulator, waits and signatures go by their own.
    """
    clock = SimpleNamespace(seconds=int(time.time()))
    monkeypatch.setattr(_runner, "time", SimpleNamespace(time=lambda: clock.seconds, monotonic=time.monotonic, sleep=time.sleep))
    return clock


def declared(name: str) -> Any:
    """What the module declares: its spec and its resource or query."""
    return importlib.import_module(f"ansible_collections.storpool.cloudstack.plugins.modules.{name}").DECLARED


def needs_cloudstack(name: str) -> bool:
    """Whether the module speaks to CloudStack."""
    return "cloudstack" in getattr(declared(name), "systems", ())


def on_host(name: str) -> bool:
    """Whether the module is about the host that it runs on, and speaks to no API."""
    return not declared(name).systems


def validated(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """The options as Ansible hands them to the module; wrong ones fail the test."""
    result = ArgumentSpecValidator(declared(name).argument_spec()).validate(options)
    assert not result.error_messages, result.error_messages
    return result.validated_parameters


def connection(simulator: Simulator, name: str) -> dict[str, Any]:
    """The connection options that a module takes."""
    every = {
        "sp_api_http_host": [simulator.host],
        "sp_api_http_port": simulator.port,
        "sp_auth_token": simulator.token,
        "sp_timeout": 20,
    }
    if "cloudstack" in simulator.ready:
        cloud = simulator.cloudstack
        every.update(cloudstack_url=cloud["url"], cloudstack_key=cloud["key"], cloudstack_secret=cloud["secret"], cloudstack_timeout=20)
    taken = declared(name).argument_spec()
    return {option: value for option, value in every.items() if option in taken}


@pytest.fixture
def run_module(simulator: Simulator) -> Callable[..., dict[str, Any]]:
    """`run_module(name, check=False, diff=True, in_process=True, **options)` returns the result of one task against the simulator.

    In process it is the runner that is called, without Ansible around it; otherwise a playbook runs the ordinary module.
    """
    clients: dict[Any, Any] = {}

    def run(name: str, /, check: bool = False, diff: bool = True, in_process: bool = True, **options: Any) -> dict[str, Any]:
        options = {**connection(simulator, name), **options}
        if in_process:
            result = _runner.execute(declared(name), validated(name, options), check, diff, clients)
            wrong = undocumented(name, result)
            assert not wrong, "; ".join(wrong)
            return result
        task = {"name": "Module", f"storpool.cloudstack.{name}": options, "ignore_errors": True}
        return playbooks.run([task], check=check, diff=diff, variables={"storpool_in_process": False}).result("Module")

    return run


@pytest.fixture
def three_runs(run_module: Callable[..., dict[str, Any]], calls: Callable[..., Calls]) -> Callable[..., dict[str, Any]]:
    """`three_runs(name, **options)` predicts, does, and does again; returns the result of the real run.

    The prediction has to be true, and neither it nor the second run may write.
    """

    def run(name: str, /, **options: Any) -> dict[str, Any]:
        calls()
        predicted = run_module(name, check=True, **options)
        assert calls().writes == []
        real = run_module(name, **options)
        assert not real.get("failed"), real
        assert unlike(predicted, real) == []
        calls()
        again = run_module(name, **options)
        assert (again["changed"], calls().writes) == (False, []), again
        return real

    return run


@pytest.fixture
def declare(request: pytest.FixtureRequest, three_runs: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """`declare(**options)` is `three_runs` of the module that the test file is about, its `MODULE`."""
    return partial(three_runs, request.module.MODULE)


@pytest.fixture
def playbook(simulator: Simulator) -> Callable[..., playbooks.Run]:
    """`playbook(tasks, check=False, diff=False, env={}, variables={}, in_process=True)` runs a real ansible-playbook; see playbooks.run."""

    def run(
        content: Any,
        *options: str,
        env: dict[str, str] | None = None,
        variables: dict[str, Any] | None = None,
        in_process: bool = True,
        **more: Any,
    ) -> playbooks.Run:
        return playbooks.run(
            content,
            *options,
            env={**playbooks.connection(simulator), **(env or {})},
            variables={"storpool_in_process": in_process, **(variables or {})},
            **more,
        )

    return run


@pytest.fixture
def play(playbook: Callable[..., playbooks.Run]) -> Callable[..., playbooks.Run]:
    """`play("revert_vm", check=False, env={}, vm="db1")` runs a playbook of the collection with revert_vm_vm and so on."""

    def run(name: str, /, check: bool = False, env: dict[str, str] | None = None, **given: Any) -> playbooks.Run:
        variables = {f"{name}_{key}": value for key, value in given.items()}
        return playbook(Path(f"storpool.cloudstack.{name}"), variables=variables, check=check, diff=True, env=env)

    return run


@pytest.fixture
def thrice(play: Callable[..., playbooks.Run], calls: Callable[..., Calls]) -> Callable[..., playbooks.Run]:
    """`thrice("revert_vm", ...)` predicts, does and does again, and returns the real run; as `three_runs`, for a whole playbook."""

    def run(name: str, /, **given: Any) -> playbooks.Run:
        calls()
        predicted = play(name, check=True, **given)
        assert (predicted.rc, calls().writes) == (0, []), predicted.output
        real = play(name, **given)
        assert real.rc == 0, real.output
        assert differences(predicted, real) == []
        calls()
        again = play(name, **given)
        assert again.rc == 0 and not_silent(again, calls().writes) == [], again.output
        return real

    return run
