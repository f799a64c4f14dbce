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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import playbooks
import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.storpool.cloudstack.plugins.module_utils import _runner
from storpool_simulator.testing import Simulator


@pytest.fixture(scope="session")
def simulator_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    with Simulator(tmp_path_factory.mktemp("simulator"), devices="link") as sim:
        yield sim


@pytest.fixture
def sim(simulator_process: Simulator) -> Simulator:
    simulator_process.clear_faults()
    simulator_process.reset()
    simulator_process.background(True)
    simulator_process.reset_calls()
    return simulator_process


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


def declared(name: str) -> Any:
    """What the module declares: its spec and its resource or query."""
    return importlib.import_module(f"ansible_collections.storpool.cloudstack.plugins.modules.{name}").DECLARED


def validated(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """The options as Ansible hands them to the module; wrong ones fail the test."""
    result = ArgumentSpecValidator(declared(name).argument_spec()).validate(options)
    assert not result.error_messages, result.error_messages
    return result.validated_parameters


@pytest.fixture
def run_module(simulator: Simulator) -> Callable[..., dict[str, Any]]:
    """`run_module(name, check=False, diff=True, in_process=True, **options)` returns the result of one task against the simulator.

    In process it is the runner that is called, without Ansible around it; otherwise a playbook runs the ordinary module.
    """
    clients: dict[Any, Any] = {}

    def run(name: str, /, check: bool = False, diff: bool = True, in_process: bool = True, **options: Any) -> dict[str, Any]:
        options = {
            "sp_api_http_host": [simulator.host],
            "sp_api_http_port": simulator.port,
            "sp_auth_token": simulator.token,
            "sp_timeout": 20,
            **options,
        }
        if in_process:
            return _runner.execute(declared(name), validated(name, options), check, diff, clients)
        task = {"name": "Module", f"storpool.cloudstack.{name}": options, "ignore_errors": True}
        return playbooks.run([task], check=check, diff=diff, variables={"storpool_in_process": False}).result("Module")

    return run


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
