# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Marked secrets, looked for wherever a run leaves traces: output at -vvvv, log, events, artifacts, fact cache, temporary files, processes.

Every example of every module runs with them, and every playbook; those of a new module do by themselves. What Ansible itself shows,
whatever a module does, is tested as such at the end and told in SECURITY.md.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import playbooks
import pytest
import yaml
from image import disk_image
from integration.conftest import connection
from kvm_hosts import Hosts
from test_bad_inputs import LEAST
from ways import FAST, MODULES, PLUGINS, ROOT, as_module, in_worker, module_of, spec_of

PLAYBOOKS = sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml"))
PASSWORD = "Marked-oobm_password-7391"
NODES = {"kvm11": 11, "kvm12": 12, "kvm13": 13}


@dataclass
class Prepared:
    """What a playbook is run with: variables, further arguments and environment. ``ends``: it comes to its end."""

    variables: dict[str, Any] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    ends: bool = True


def for_demo(cloud: Any, elsewhere: Path) -> Prepared:
    known = cloud.hosts()
    secret = elsewhere / "secret.json"  # what stands on a command line, all can read
    secret.write_text(json.dumps({"demo_oobm_password": PASSWORD}))
    devices = cloud.devices / cloud.first
    # Its chapters about CloudStack go on from what tests/demo does between them; without that it ends there.
    return Prepared(
        {
            "demo_image": str(disk_image()), "demo_grown_size": "32M", "demo_client": 11, "demo_other_client": 12,
            "demo_devices": str(devices / "11" / "storpool"), "demo_other_devices": str(devices / "12" / "storpool"),
            "demo_ha_hosts": [{"host": name, "oobm_address": known[name]["bmc"]} for name in NODES], "demo_oobm_username": "ADMIN",
            "demo_sp_node_ids": NODES, "demo_zone": "sofia", "demo_qos_class": "fast",
        },
        ("-e", f"@{secret}"),
        ends=False,
    )  # fmt: skip


def for_host_ha(cloud: Any, elsewhere: Path) -> Prepared:
    hosts = Hosts(elsewhere, cloud, NODES).with_controllers(storpool_oobm_username="ADMIN", storpool_oobm_password=PASSWORD)
    for number in (1, 2, 3):
        cloud.bmc(f"198.51.100.{number}", password=PASSWORD)
    declared = {
        "storpool_heartbeat_self_reboot": False, "storpool_snapshots_of_running_vms": True, "storpool_storage_stats_interval": 900,
        "heartbeat_up_timeout": 60,
    }  # fmt: skip
    return Prepared(declared, ("-i", str(hosts.inventory)), {"PATH": hosts.path, "ANSIBLE_PIPELINING": "true"})


def for_moving(cloud: Any, elsewhere: Path) -> Prepared:
    cloud.deploy("db1")
    volume = cloud.cs_volumes()[0]["name"]
    made = as_module(
        "cloudstack_storage_pool", {**connection(cloud, "cloudstack_storage_pool"), "name": "other", "zone": "sofia", "template": "hybrid"}
    )
    assert not made.get("failed"), made
    return Prepared({"move_volumes_names": [volume], "move_volumes_storage_pool": "other"})


def for_vm_snapshots(cloud: Any, elsewhere: Path) -> Prepared:
    cloud.deploy("db1")
    return Prepared({"snapshot_vms_vms": ["db1"], "snapshot_vms_name": "s"})


def for_a_revert(cloud: Any, elsewhere: Path) -> Prepared:
    cloud.deploy("db1")
    made = as_module("cloudstack_vm_snapshot", {**connection(cloud, "cloudstack_vm_snapshot"), "vm": "db1", "name": "s"})
    assert not made.get("failed"), made
    return Prepared({"revert_vm_vm": "db1", "revert_vm_snapshot": "s", "revert_vm_stop": True, "revert_vm_keep_as": "undo"})


# As modules the two long ones would take minutes; LONG_TEST has them, too.
LONG_ONES = () if os.environ.get("LONG_TEST") else ("configure_host_ha", "demo")

# How each playbook is made to do all that it can; a playbook that is not here fails a test.
PLAYED = {
    "assess_host_ha": lambda cloud, elsewhere: Prepared({"assess_host_ha_node_ids": NODES, "assess_host_ha_fail_on": "never"}),
    "configure_host_ha": for_host_ha,
    "demo": for_demo,
    "demo_clean_up": lambda cloud, elsewhere: Prepared(),
    "move_volumes": for_moving,
    "revert_vm": for_a_revert,
    "snapshot_vms": for_vm_snapshots,
    "warm_template_cache": lambda cloud, elsewhere: Prepared({"warm_template_cache_names": ["debian-12"]}),
}


def secrets_of(simulator: Any) -> dict[str, str]:
    """All that may appear nowhere: the true ones of this simulator, and marked ones for every secret option of every module."""
    found = {"token": simulator.token, "key": simulator.cloudstack["key"], "secret": simulator.cloudstack["secret"]}
    for module in MODULES:
        for option in secret_options(spec_of(module)):
            found[option] = f"Marked-{option}-7391"
    return found


def secret_options(spec: dict[str, Any]) -> Iterator[str]:
    for name, one in spec.items():
        if one.get("no_log"):
            yield name
        yield from secret_options(one.get("options") or {})


def marked(module: str, simulator: Any) -> list[dict[str, Any]]:
    """Tasks of a module that carry its secrets: right ones, wrong ones, beside what is wrong, and under a misspelt name."""
    right = {**connection(simulator, module), **LEAST.get(module, {})}
    spec = spec_of(module)
    wrong = {name: f"Marked-{name}-7391" for name, one in spec.items() if one.get("no_log")}
    tasks: list[dict[str, Any]] = [{**right}, {**right, **wrong}, {**right, **wrong, "no_such_option": "x"}, {**right, "parallel": "x"}]
    tasks += [{**right, f"{name}x": value} for name, value in wrong.items()]
    for name, one in spec.items():
        inner = {option: f"Marked-{option}-7391" for option in secret_options(one.get("options") or {})}
        if inner:
            for entry in (
                {"name": "v", **inner},
                {**inner, "no_such_option": 1},
                json.dumps({**inner, "x": 1}),
                " ".join(f"{k}={v}" for k, v in inner.items()),
            ):
                options = {key: value for key, value in right.items() if key not in ("name", "host")}
                tasks.append({**options, name: [entry] if one["type"] == "list" else entry})
    return tasks


def hits(place: str, text: str, secrets: dict[str, str]) -> list[str]:
    return [
        f"{name} in {place}: ...{text[max(0, text.find(value) - 160) :][:200]!r}..." for name, value in secrets.items() if value in text
    ]


def hits_in_files(directory: Path, secrets: dict[str, str], but: tuple[str, ...] = ()) -> list[str]:
    found = []
    for path in sorted(directory.rglob("*")):
        if path.is_file() and path.name not in but:
            found += hits(str(path.relative_to(directory)), path.read_bytes().decode("utf-8", "replace"), secrets)
    return found


class Watch:
    """Looks at the command lines of all processes, and at the environments of none: those are their owner's alone.

    And at the temporary files, if it is told where they are: what is gone at the end was there all the same.
    """

    def __init__(self, secrets: dict[str, str], files: Path | None = None) -> None:
        self.files = files
        self.values = {value.encode() for value in secrets.values()}
        self.looks = 0
        self.seen: set[bytes] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_unused: object) -> None:
        assert self._thread.is_alive(), "nobody has looked since it ended"
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(0.05):
            self.looks += 1
            for entry in Path("/proc").iterdir():
                if entry.name.isdigit() and int(entry.name) != os.getpid():
                    try:
                        line = (entry / "cmdline").read_bytes()
                    except OSError:
                        continue
                    if (
                        any(value in line for value in self.values)
                        and b"storpool_simulator" not in line
                        and b"storpool-simulator" not in line
                    ):
                        self.seen.add(line[:300])
            # os.walk, since directories come and go meanwhile: it passes over those that are gone, where pathlib ends with an error.
            for directory, _unused, names in os.walk(self.files) if self.files else ():
                for path in (Path(directory, name) for name in names):
                    try:
                        content = path.read_bytes() if path.is_file() else b""
                    except OSError:
                        continue
                    if any(value in content for value in self.values):
                        self.seen.add(bytes(path) + b": " + content[:200])


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Where a run leaves its traces: temporary files, log, fact cache."""
    for name in ("tmp", "facts", "home"):
        (tmp_path / name).mkdir()
    return tmp_path


def everywhere(place: Path, debug: bool = False) -> dict[str, str]:
    return {
        "TMPDIR": str(place / "tmp"),
        "ANSIBLE_LOCAL_TEMP": str(place / "tmp" / "local"),
        "ANSIBLE_REMOTE_TEMP": str(place / "tmp" / "remote"),
        "ANSIBLE_LOG_PATH": str(place / "ansible.log"),
        "ANSIBLE_CACHE_PLUGIN": "jsonfile",
        "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(place / "facts"),
        "ANSIBLE_INJECT_INVOCATION": "true",
        "ANSIBLE_DEBUG": str(debug).lower(),
        "ANSIBLE_DISPLAY_TRACEBACK": "always",
    }


def secret_from_file(tasks: list[dict[str, Any]], secrets: dict[str, str], place: Path) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The tasks with secrets read from a file by a lookup, as from a vault: what stands in a playbook, its owner has written there."""
    file = place / "home" / "secrets.json"
    file.write_text(json.dumps(secrets))
    text = json.dumps(tasks)
    for name, value in secrets.items():
        text = text.replace(json.dumps(value), json.dumps("{{ (lookup('file', '" + str(file) + "') | from_json)['" + name + "'] }}"))
        text = text.replace(value, "{{ (lookup('file', '" + str(file) + "') | from_json)['" + name + "'] }}")
    return json.loads(text), {}


@pytest.mark.parametrize("in_process", [True, False], ids=["worker", "module"])
def test_marked_secrets_leave_no_trace(in_process, cloud, place):
    """Every module with its secrets: right, wrong, broken off, misspelt; at -vvvv with --diff, and Ansible's debugging."""
    secrets = secrets_of(cloud)
    asked = []
    for module in MODULES:
        if not any(True for _unused in secret_options(spec_of(module))):
            continue
        # As a module each takes a second: the code that hides is the same for all.
        chosen = marked(module, cloud)
        asked += [
            (module, options)
            for options in (chosen if in_process else chosen[1:3] if module in ("storpool_ha", "cloudstack_storage_pool") else chosen[2:3])
        ]
    content = [
        {
            "name": f"Case {number}",
            f"storpool.cloudstack.{module}": options,
            "check_mode": True,
            "ignore_errors": True,
            "register": f"made_{number}",
        }
        for number, (module, options) in enumerate(asked)
    ]
    content, env = secret_from_file(content, secrets, place)
    env.update(everywhere(place, debug=in_process))
    with Watch(secrets, place / "tmp" if in_process else None) as watch:
        run = playbooks.run(content, "-vvvv", diff=True, variables={"storpool_in_process": in_process}, env=env)
    assert len(run.tasks) == len(asked), run.output[-3000:]
    wrong = [
        *hits("output", run.output, secrets),
        *hits("results", json.dumps(run.records), secrets),
        *hits_in_files(place, secrets, ("secrets.json",)),
    ]
    assert not wrong, "\n".join(wrong)
    assert watch.looks
    assert not watch.seen
    assert sum(record["status"] == "failed" for record in run.tasks) >= len(asked) // 3


@pytest.mark.parametrize("in_process", [True, False], ids=["worker", "module"])
def test_a_crash_shows_no_secret(in_process, cloud, place):
    """A defect that puts the connection into its message: the traceback of it comes out without secrets."""
    module = "cloudstack_storage_pool"
    options = {**connection(cloud, module), "name": "p", "pool_auth_token": "Marked-pool_auth_token-7391"}
    secrets = secrets_of(cloud)
    declared = module_of(module).DECLARED
    resource = type(declared.resource)
    real = resource.parse

    def crash(self: Any, given: Any, now: float) -> Any:
        raise RuntimeError(f"{given} {options}")

    resource.parse = crash
    try:
        result = (in_worker if in_process else as_module)(module, options)
    finally:
        resource.parse = real
    assert "defect" in result["msg"]
    assert "RuntimeError" in result["error"]["message"]
    assert hits("result", json.dumps(result), secrets) == []


def examples(module: str) -> list[dict[str, Any]]:
    return yaml.safe_load(importlib.import_module(f"{PLUGINS}.modules.{module}").EXAMPLES)


def test_every_example_through_ansible_runner(cloud, place):
    """Events and artifacts of ansible-runner, for all examples in one playbook, check mode and -vvvv; they may fail, they may not tell."""
    secrets = secrets_of(cloud)
    content: list[dict[str, Any]] = []
    for module in MODULES:
        content += [{"block": [task], "rescue": [], "ignore_errors": True} for task in examples(module)]
    play = {"name": "All examples", "hosts": "localhost", "gather_facts": False, "tasks": content}
    env = {**playbooks.environment(place / "home"), **everywhere(place), **playbooks.connection(cloud)}
    assert through_runner(place, [play], "--check", env, secrets) > 3 * len(MODULES)


def through_runner(place: Path, play: list[dict[str, Any]], cmdline: str, env: dict[str, str], secrets: dict[str, str]) -> int:
    """Run plays by ansible-runner and look for secrets in all that it leaves; return how many events there were."""
    project = place / "runner" / "project"
    project.mkdir(parents=True)
    (project / "all.yml").write_text(yaml.safe_dump(play, sort_keys=False), encoding="utf-8")
    runner = Path(sys.executable).parent / "ansible-runner"
    with Watch(secrets) as watch:
        done = subprocess.run(
            [str(runner), "run", str(place / "runner"), "-p", "all.yml", f"--cmdline=-vvvv --diff {cmdline}", "--ident", "all"],
            env=env, text=True, capture_output=True, timeout=800, check=False,
        )  # fmt: skip
    # ansible-runner itself keeps the environment that it was started with, in the file `command` of its artifacts, for its owner alone.
    kept = place / "runner" / "artifacts" / "all" / "command"
    assert hits("command", kept.read_text(), secrets), done.stdout[-3000:] + done.stderr[-2000:]
    assert kept.stat().st_mode & 0o077 == 0
    wrong = [*hits("output", done.stdout + done.stderr, secrets), *hits_in_files(place, secrets, ("command",))]
    assert not wrong, "\n".join(wrong[:20])
    assert not watch.seen
    return len(list((place / "runner" / "artifacts" / "all" / "job_events").glob("*.json")))


@pytest.mark.parametrize("name", [name for name in PLAYBOOKS if name not in LONG_ONES])
def test_every_playbook_through_ansible_runner(name, cloud, place, tmp_path_factory):
    """For real, as AWX runs it."""
    prepared = PLAYED[name](cloud, tmp_path_factory.mktemp("elsewhere"))
    env = {**playbooks.environment(place / "home"), **everywhere(place), **playbooks.connection(cloud), **prepared.env}
    (place / "runner" / "env").mkdir(parents=True)
    (place / "runner" / "env" / "extravars").write_text(json.dumps(prepared.variables))
    play = [{"name": "All of it", "import_playbook": f"storpool.cloudstack.{name}"}]
    assert through_runner(place, play, " ".join(prepared.arguments), env, secrets_of(cloud)) > 5


def test_every_playbook_is_played():
    assert sorted(PLAYED) == PLAYBOOKS


def played(name: str, cloud: Any, place: Path, elsewhere: Path, in_process: bool = True, **more: Any) -> playbooks.Run:
    """Run a playbook, looking everywhere for secrets while it runs and after it."""
    prepared, told = PLAYED[name](cloud, elsewhere), dict(more)
    secrets = secrets_of(cloud)
    env = {**playbooks.connection(cloud), **prepared.env, **everywhere(place), **more.pop("env", {})}
    variables = {"storpool_in_process": in_process, **prepared.variables}
    # As modules, tasks are files for a moment, which only their owner may read; see the end of this file.
    with Watch(secrets, place / "tmp" if in_process else None) as watch:
        run = playbooks.run(
            Path(f"storpool.cloudstack.{name}"), *prepared.arguments, "-vvvv", diff=True, env=env, variables=variables, timeout=800, **more
        )
    assert "PLAY" in run.output
    wrong = [*hits("output", run.output, secrets), *hits("results", json.dumps(run.records), secrets), *hits_in_files(place, secrets)]
    assert not wrong, "\n".join(wrong[:20])
    assert watch.looks
    assert not watch.seen
    assert run.rc == 0 or not prepared.ends or "env" in told, run.output[-4000:]
    return run


@pytest.mark.parametrize("name", PLAYBOOKS)
def test_every_playbook_in_check_mode(name, cloud, place, tmp_path_factory):
    played(name, cloud, place, tmp_path_factory.mktemp("elsewhere"), check=True)


BOTH_WAYS = [(name, in_process) for name in PLAYBOOKS for in_process in (True, False) if in_process or name not in LONG_ONES]


@pytest.mark.parametrize(("name", "in_process"), BOTH_WAYS, ids=[f"{name}-{'worker' if here else 'module'}" for name, here in BOTH_WAYS])
def test_every_playbook_for_real(name, in_process, cloud, place, tmp_path_factory):
    """All that it does, done: to the end, with the writes that carry secrets."""
    cloud.reset_calls()
    played(name, cloud, place, tmp_path_factory.mktemp("elsewhere"), in_process)
    wrote = [call["call"] for call in cloud.calls()["calls"] if call["write"]]
    assert wrote or name in ("assess_host_ha", "demo_clean_up")


WRONG = {"SP_AUTH_TOKEN": "4711471147114711471", "CLOUDSTACK_KEY": "Marked-wrong-key-7391", "CLOUDSTACK_SECRET": "Marked-wrong-secret-7391"}


@pytest.mark.parametrize(("name", "in_process"), BOTH_WAYS, ids=[f"{name}-{'worker' if here else 'module'}" for name, here in BOTH_WAYS])
def test_every_playbook_that_fails(name, in_process, cloud, place, tmp_path_factory):
    """With credentials that are refused: neither they nor the right ones are told."""
    run = played(name, cloud, place, tmp_path_factory.mktemp("elsewhere"), in_process, env=WRONG)
    assert run.failures or run.rc, run.output[-3000:]
    assert [*hits("output", run.output, WRONG), *hits_in_files(place, WRONG)] == []


# -- a secret that is a word


@pytest.mark.parametrize("word", ["true", "True", "storpool", "1", "127", "failed", "msg", "option", "unreachable"])
@pytest.mark.parametrize("way", [as_module, in_worker], ids=["module", "worker"])
def test_a_secret_that_is_a_common_word_takes_no_result_apart(way, word, cloud):
    options = {**connection(cloud, "storpool_volume"), "name": "v"}
    # Arguments that Ansible refuses, options that we refuse, a server that refuses.
    for more, kind in (({"parallel": "many"}, None), ({"size": "10X"}, "bad_option"), ({"size": "1M"}, "unauthorized")):
        result = way("storpool_volume", {**options, **more, "sp_auth_token": word})
        assert result["failed"] is True
        assert isinstance(result["msg"], str)
        if kind:
            assert result["error"]["type"] == kind
            assert result["changed"] is False
        else:
            assert "cannot be converted" in result["msg"] or "parallel" in result["msg"]
        assert result["invocation"]["module_args"]["sp_auth_token"] == "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"
        assert result["invocation"]["module_args"]["name"] == "v"


# -- what Ansible itself keeps or shows (SECURITY.md tells it)


def test_kept_remote_files_hold_the_options(cloud, place):
    """ANSIBLE_KEEP_REMOTE_FILES is for debugging: what Ansible sends to a host, options among it, stays there for its owner alone."""
    options = {**connection(cloud, "storpool_volume_info")}
    env = {**everywhere(place), "ANSIBLE_KEEP_REMOTE_FILES": "true"}
    tasks, more = secret_from_file([{"name": "Kept", "storpool.cloudstack.storpool_volume_info": options}], secrets_of(cloud), place)
    run = playbooks.run(tasks, env={**env, **more}, variables={"storpool_in_process": False})
    assert run.rc == 0, run.output
    kept = [path for path in (place / "tmp" / "remote").rglob("*") if path.is_file()]
    assert any(cloud.token in path.read_text(errors="replace") for path in kept)
    assert all(path.parent.stat().st_mode & 0o077 == 0 for path in kept)
    # On the fast path nothing is sent, and so nothing is kept.
    for path in kept:
        path.unlink()
    run = playbooks.run(tasks, env={**env, **more}, variables={"storpool_in_process": True})
    assert run.rc == 0, run.output
    assert [path for path in (place / "tmp" / "remote").rglob("*") if path.is_file()] == []


def test_debugging_of_ansible_shows_the_options_of_a_module(cloud, place):
    """ANSIBLE_DEBUG prints the arguments of each module that Ansible starts; on the fast path it starts none."""
    tasks, more = secret_from_file(
        [{"name": "Shown", "storpool.cloudstack.storpool_volume_info": connection(cloud, "storpool_volume_info")}], secrets_of(cloud), place
    )
    for in_process in (True, False):
        run = playbooks.run(tasks, env={**everywhere(place, debug=True), **more}, variables={"storpool_in_process": in_process})
        assert run.rc == 0, run.output[-2000:]
        assert (cloud.token in run.output) is not in_process
        assert cloud.token not in json.dumps(run.records)


def test_the_environment_of_a_task_stands_on_its_command_line(cloud, place):
    """`environment:` goes into the command that Ansible runs: -vvv and the list of processes show it. So no token goes there."""
    secret = "Marked-environment-7391"
    task = {"name": "Told", "storpool.cloudstack.storpool_volume_info": {}, "environment": {"SP_AUTH_TOKEN": secret}, "ignore_errors": True}
    run = playbooks.run([task], "-vvv", env={**playbooks.connection(cloud), **everywhere(place)})
    assert secret in run.output
    assert secret not in json.dumps(run.records)


def test_a_loop_shows_its_items_and_a_list_in_one_task_does_not(cloud, place):
    """Whatever a module hides of its options: the item of a loop is Ansible's own."""
    secret = "Marked-loop-7391"
    file = place / "home" / "hosts.json"
    file.write_text(json.dumps([{"host": "no-such-host", "oobm_password": secret}]))
    hosts = "{{ lookup('file', '" + str(file) + "') | from_json }}"
    module, given = "storpool.cloudstack.storpool_ha", connection(cloud, "storpool_ha")
    one = {"name": "Shown", module: {**given, "host": "{{ item.host }}", "oobm_password": "{{ item.oobm_password }}"}, "loop": hosts}
    every = {"name": "Not shown", module: {**given, "hosts": hosts}}
    for task, told in ((one, True), (every, False)):
        run = playbooks.run([{**task, "ignore_errors": True}], "-vvvv", env=everywhere(place))
        assert "no-such-host" in run.output
        assert (secret in run.output) is told


def test_all_modules_with_a_fast_path_have_one():
    assert set(MODULES) >= FAST
