# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs real `ansible-playbook` processes and hands back every task's result.

    run = playbooks.run(tasks_or_plays, env=playbooks.connection(sim))
    assert run.rc == 0 and run.changed == 1
    run.result("the task's name")["volumes"]

`way` says where the collection's tasks run: "worker" leaves the play as it is (the fast path, in the controller's worker process),
"module" gives every play an environment, which makes each task an ordinary module. Both have to give the same results.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BIN = Path(sys.executable).parent
COLLECTIONS = ROOT / ".cache" / "collections"

WAYS = ("worker", "module")


@dataclass
class Run:
    rc: int
    output: str
    records: list[dict[str, Any]]
    began: float = 0.0  # both by time.monotonic
    ended: float = 0.0

    @property
    def tasks(self) -> list[dict[str, Any]]:
        """The records of whole tasks; a loop's items have records of their own."""
        return [record for record in self.records if not record["status"].startswith("item")]

    @property
    def changed(self) -> int:
        return sum(record["changed"] for record in self.tasks)

    @property
    def failures(self) -> list[dict[str, Any]]:
        return [record for record in self.tasks if record["status"] in ("failed", "unreachable") and not record["ignored"]]

    def record(self, task: str) -> dict[str, Any]:
        """The record of the one task with this name."""
        found = [record for record in self.tasks if record["task"] == task]
        assert len(found) == 1, f"{len(found)} tasks named {task!r} ran:\n{self.output}"
        return found[0]

    def result(self, task: str) -> dict[str, Any]:
        return self.record(task)["result"]


def connection(sim: Any) -> dict[str, str]:
    """The environment variables by which tasks find a simulator."""
    found = {"SP_API_HTTP_HOST": str(sim.host), "SP_API_HTTP_PORT": str(sim.port), "SP_AUTH_TOKEN": str(sim.token)}
    if "cloudstack" in sim.ready:
        cloud = sim.cloudstack
        found.update(CLOUDSTACK_ENDPOINT=cloud["url"], CLOUDSTACK_KEY=cloud["key"], CLOUDSTACK_SECRET=cloud["secret"])
    return found


def plays(content: list[dict[str, Any]], way: str = "worker") -> list[dict[str, Any]]:
    """Plays as they are; tasks become one play on localhost."""
    if content and not any({"hosts", "import_playbook", "ansible.builtin.import_playbook"} & item.keys() for item in content):
        content = [{"name": "Test", "hosts": "localhost", "gather_facts": False, "tasks": content}]
    if way == "module":
        content = [
            {**play, "environment": {**play.get("environment", {}), "TESTED_AS": "module"}} if "hosts" in play else play for play in content
        ]
    return content


def environment(directory: Path, collections: Path = COLLECTIONS) -> dict[str, str]:
    """A clean environment for Ansible: nothing of the user's settings, results recorded, all files in `directory`."""
    # An empty one, because the user's own would change what is tested.
    configuration = directory / "ansible.cfg"
    configuration.touch()
    env = {name: value for name, value in os.environ.items() if not name.startswith(("SP_", "CLOUDSTACK_", "ANSIBLE_"))}
    env.update(
        PATH=f"{BIN}{os.pathsep}{env.get('PATH', os.defpath)}",
        ANSIBLE_CONFIG=str(configuration),
        ANSIBLE_HOME=str(directory / "ansible"),
        ANSIBLE_COLLECTIONS_PATH=str(collections),
        ANSIBLE_CALLBACK_PLUGINS=str(HERE / "callback_plugins"),
        ANSIBLE_CALLBACKS_ENABLED="record",
        ANSIBLE_LOCALHOST_WARNING="false",
        ANSIBLE_INVENTORY_UNPARSED_WARNING="false",
        ANSIBLE_PYTHON_INTERPRETER=sys.executable,
        ANSIBLE_RETRY_FILES_ENABLED="false",
        ANSIBLE_NOCOLOR="true",
        PYTHONDONTWRITEBYTECODE="1",
        RECORD_FILE=str(directory / "records.jsonl"),
    )
    return env


def run(
    content: str | Path | list[dict[str, Any]],
    *options: str,
    env: dict[str, str] | None = None,
    way: str = "worker",
    check: bool = False,
    diff: bool = False,
    variables: dict[str, Any] | None = None,
    collections: Path = COLLECTIONS,
    timeout: float = 800,
) -> Run:
    """Run tasks, plays, YAML text or a playbook file (or its FQCN as a `Path`) and return what every task said."""
    with tempfile.TemporaryDirectory(prefix="playbook-") as name:
        directory = Path(name)
        if isinstance(content, Path):
            target = str(content)
        else:
            if isinstance(content, str):
                content = yaml.safe_load(content)
            playbook = directory / "playbook.yml"
            playbook.write_text(yaml.safe_dump(plays(content, way), sort_keys=False), encoding="utf-8")
            target = str(playbook)
        command = [str(BIN / "ansible-playbook"), target, *options]
        if check:
            command.append("--check")
        if diff:
            command.append("--diff")
        if variables:
            command += ["--extra-vars", json.dumps(variables)]
        began = time.monotonic()
        done = subprocess.run(
            command,
            cwd=directory,
            env={**environment(directory, collections), **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )
        recorded = directory / "records.jsonl"
        lines = recorded.read_text(encoding="utf-8").splitlines() if recorded.exists() else []
    return Run(done.returncode, done.stdout, [json.loads(line) for line in lines], began, time.monotonic())
