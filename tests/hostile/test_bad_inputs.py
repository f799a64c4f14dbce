# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A thousand generated inputs that nobody should give, over all options of all modules and roles.

Each ends in an error that names option and value (a secret's never), without a traceback and without a write, alike both ways; a few
turn out to be good ones. LONG_TEST makes ten times as many.
"""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import playbooks
import pytest
import yaml
from bad_inputs import MARK, Bad, of_spec
from integration.conftest import connection
from ways import FAST, MODULES, ROOT, as_module, in_worker, spec_of

SEED = int(os.environ.get("HOSTILE_SEED", "7"))
COUNT = 1000 * (10 if os.environ.get("LONG_TEST") else 1)

# What a module needs to be told before anything else of it is looked at. A module that says "name is needed" needs an entry here.
LEAST: dict[str, dict[str, Any]] = {
    "cloudstack_offering": {"name": "o"},
    "cloudstack_settings": {"name": "force.ha", "value": True},
    "cloudstack_snapshot": {"name": "s", "volume": "no-volume"},
    "cloudstack_snapshot_policy": {"volume": "no-volume", "state": "absent"},
    "cloudstack_storage_pool": {"name": "p"},
    "cloudstack_template": {"name": "t", "volume": "no-volume"},
    "storpool_ha": {"host": "kvm11"},
    "storpool_snapshot": {"name": "s", "volume": "seed"},
    "cloudstack_vm_snapshot": {"name": "s", "vm": "no-vm"},
    "cloudstack_volume": {"name": "d", "zone": "sofia"},
    "storpool_template": {"name": "t"},
    "storpool_template_cache": {"name": "no-template", "pools": ["storpool-nvme"]},
    "storpool_volume": {"name": "v", "size": "1M"},
}
# What an option is of no use without.
BESIDE = {"profile_file": {"profile": "p"}, "names": {"name": None}}
# Kinds of errors that only a server's word can bring: a write may have gone before it.
OF_THE_SERVER = {"api", "deadline", "refused", "answer_lost", "unreachable"}


def given(module: str, simulator: Any, bad: Bad) -> dict[str, Any]:
    options = {**connection(simulator, module), "sp_timeout": 20, "cloudstack_timeout": 20, **LEAST.get(module, {})}
    taken = spec_of(module)
    options = {name: value for name, value in options.items() if name in taken}
    for name in bad.options:
        options.update(BESIDE.get(name, {}))
        if name.endswith("_src") or (taken.get(name, {}).get("options") and taken[name]["type"] == "list"):
            options.pop("name", None)  # the entries have names of their own
    return {name: value for name, value in {**options, **bad.options}.items() if value is not None}


def wrong_with(bad: Bad, spec: dict[str, Any], result: dict[str, Any], writes: list[str]) -> list[str]:
    """What is wrong with the result of a bad input."""
    found = []
    text = json.dumps(result)
    error = result.get("error") or {}
    if bad.secret and MARK in text:
        found.append("the secret is in the result")
    if "exception" in result or "Traceback" in text or error.get("type") == "defect" or "defect of this" in text:
        found.append(f"not handled: {result.get('msg')} {result.get('exception', '')[-1500:]}")
    if not result.get("failed"):
        return found
    message = result.get("msg") or ""
    if not message or len(message) > 4100:
        found.append(f"a message of {len(message)} characters: {message:.300}")
    if any(not one.isprintable() and one != "\n" for one in message):
        found.append(f"characters that a terminal obeys: {message!r:.300}")
    if writes and error.get("type") not in OF_THE_SERVER:
        found.append(f"wrote {writes}")
    aliases = {alias for name in bad.names for alias in spec.get(name, {}).get("aliases", ())}
    about = str(error.get("option") or "").partition(".")[0]
    if error.get("type") == "bad_option":
        if not about or "value" not in error:
            found.append(f"names no option or value: {error}")
    elif not error and not any(name in message for name in (*bad.names, *aliases)):
        found.append(f"does not name the option: {message:.300}")
    return found


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    def told(result: dict[str, Any]) -> Any:
        message = re.sub(r"gave up after \d+ attempts", "gave up", result.get("msg") or "")
        return bool(result.get("failed")), message, (result.get("error") or {}).get("type")

    return told(one) == told(other)


@pytest.mark.usefixtures("short_pauses", "no_names")
@pytest.mark.parametrize("module", MODULES)
def test_bad_inputs_of_a_module(module, cloud, oddities, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    cloud.post("VolumeCreate", {"name": "seed", "size": 1 << 20})
    spec = spec_of(module)
    inputs = of_spec(spec, [str(path) for path in oddities.values()], -(-COUNT // len(MODULES)), SEED)
    wrong, failures = [], 0
    for bad in inputs:
        options = given(module, cloud, bad)
        results, wrote = [], False
        for way in (as_module, in_worker) if module in FAST else (as_module,):
            cloud.reset_calls()
            try:
                result = way(module, options)
            except Exception as exc:
                wrong.append(f"{way.__name__} {bad}: raised {type(exc).__name__}: {exc!s:.600}")
                continue
            writes = [call["call"] for call in cloud.calls()["calls"] if call["write"]]
            wrong += [f"{way.__name__} {bad}: {line}" for line in wrong_with(bad, spec, result, writes)]
            results.append(result)
            wrote = wrote or bool(writes)
        failures += bool(results and results[0].get("failed"))
        # What the first changed, the second finds changed.
        if len(results) == 2 and not wrote and not same(*results):
            wrong.append(f"{bad}: {results[0].get('msg')!r:.300} as a module, {results[1].get('msg')!r:.300} in the worker")
    print(f"{module}: {len(inputs)} inputs (seed {SEED}), {failures} refused")
    assert not wrong, f"{len(wrong)} complaints about {len(inputs)} inputs (seed {SEED}):\n" + "\n".join(wrong[:40])
    assert failures >= len(inputs) // 3, "most of them were good"


# -- through Ansible


def sample(module: str, simulator: Any, paths: list[str]) -> list[Bad]:
    """Inputs that YAML and JSON can carry, few but of all options in turn."""
    chosen = []
    for bad in of_spec(spec_of(module), paths, 400, SEED + 1):
        if "\\ud800" not in json.dumps(bad.options) and len(json.dumps(bad.options)) < 10_000 and "{{" not in json.dumps(bad.options):
            chosen.append(bad)
    return chosen[:8]


@pytest.mark.parametrize("in_process", [True, False], ids=["worker", "module"])
def test_bad_inputs_through_ansible(in_process, cloud, oddities):
    """All modules in one playbook: each task fails as in this process, the playbook's exit status tells it, and no secret is shown."""
    tasks, asked = [], []
    for module in MODULES:
        for bad in sample(module, cloud, [str(path) for path in oddities.values()])[: 8 if in_process else 1]:
            options = given(module, cloud, bad)
            tasks.append(
                {
                    "name": f"Case {len(tasks)}",
                    f"storpool.cloudstack.{module}": json.loads(json.dumps(options)),
                    "ignore_errors": True,
                    "check_mode": True,
                }
            )
            asked.append((module, bad))
    cloud.reset_calls()
    run = playbooks.run(tasks, "-vvv", diff=True, variables={"storpool_in_process": in_process}, env={"ANSIBLE_PIPELINING": "true"})
    assert run.rc == 0, run.output[-3000:]
    assert [call["call"] for call in cloud.calls()["calls"] if call["write"]] == []
    wrong = []
    for number, (module, bad) in enumerate(asked):
        result = run.result(f"Case {number}")
        # Ansible's own traceback to where a module failed is no traceback of ours.
        result.pop("exception", None)
        wrong += [f"{module} {bad}: {line}" for line in wrong_with(bad, spec_of(module), result, [])]
    assert not wrong, "\n".join(wrong)
    assert MARK not in run.output
    assert sum(record["status"] == "failed" for record in run.tasks) > len(asked) // 2


@pytest.mark.parametrize("in_process", [True, False], ids=["worker", "module"])
def test_the_exit_status_of_a_playbook(in_process, cloud):
    task = {"name": "Bad", "storpool.cloudstack.storpool_volume": {**connection(cloud, "storpool_volume"), "name": "v", "size": "10X"}}
    run = playbooks.run([task], variables={"storpool_in_process": in_process})
    assert run.rc == 2
    assert "option size: '10X' is not a size" in run.result("Bad")["msg"]


# -- roles

ROLES = sorted(path.parents[1].name for path in (ROOT / "roles").glob("*/meta/argument_specs.yml"))


def test_every_role_has_an_argument_spec():
    assert sorted(path.name for path in (ROOT / "roles").iterdir() if (path / "tasks").is_dir()) == ROLES


def role_spec(role: str) -> dict[str, Any]:
    document = yaml.safe_load((ROOT / "roles" / role / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))
    return document["argument_specs"]["main"].get("options") or {}


@pytest.mark.parametrize("role", ROLES)
def test_bad_inputs_of_a_role(role, cloud, tmp_path):
    """What the argument spec can tell is refused before the first task: named, and nothing was written."""
    mapped = {
        "str": TEXT_REFUSED,
        "int": ["x", [], {"a": 1}],
        "bool": ["perhaps", []],
        "list": [5, {"a": 1}],
        "dict": ["x", 5, ["a"]],
        "path": [[], {}],
    }
    cases = []
    for name, one in role_spec(role).items():
        kind = one.get("type", "str")
        values = ["gone"] if "choices" in one and kind == "str" else mapped.get(kind, [])
        cases += [(name, value) for value in values]
    if role_spec(role):
        cases = cases[:: max(1, len(cases) // 12)]
    tasks = []
    for number, (name, value) in enumerate(cases):
        include = {"name": f"Case {number}", "ansible.builtin.include_role": {"name": f"storpool.cloudstack.{role}"}, "vars": {name: value}}
        rescue = {"name": f"Refused {number}", "ansible.builtin.debug": {"msg": "{{ ansible_failed_result }}"}}
        tasks.append(
            {
                "name": f"Block {number}",
                "block": [include, {"name": f"Went through {number}", "ansible.builtin.debug": {"msg": "!"}}],
                "rescue": [rescue],
            }
        )
    cloud.reset_calls()
    run = playbooks.run(tasks, env=playbooks.connection(cloud))
    assert run.rc == 0, run.output[-3000:]
    assert cloud.calls()["calls"] == []
    told = {record["task"]: record["result"] for record in run.tasks}
    wrong = []
    for number, (name, value) in enumerate(cases):
        if f"Refused {number}" not in told:
            wrong.append(f"{name}={value!r} went through")
        elif name not in json.dumps(told[f"Refused {number}"]):
            wrong.append(f"{name}={value!r}: {told[f'Refused {number}']}")
    assert not wrong, "\n".join(wrong)
    assert cases or not role_spec(role)


TEXT_REFUSED: list[Any] = []  # Ansible makes a text of anything


# -- playbooks

PLAYBOOKS = sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml"))
NOT_MEANT = {"int": "x", "bool": "perhaps", "dict": "x", "list": {"a": 1}, "raw": None, "float": "x"}


def specs_in(document: Any) -> Iterator[dict[str, Any]]:
    """The argument specs that a playbook holds its variables to."""
    if isinstance(document, dict):
        for name in ("argument_spec", "variables_spec"):
            if isinstance(document.get(name), dict):
                yield document[name]
        for value in document.values():
            yield from specs_in(value)
    elif isinstance(document, list):
        for value in document:
            yield from specs_in(value)


def variables_of(playbook: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for spec in specs_in(yaml.safe_load((ROOT / "playbooks" / f"{playbook}.yml").read_text(encoding="utf-8"))):
        found.update(spec)
    return found


@pytest.mark.parametrize("playbook", [name for name in PLAYBOOKS if variables_of(name)])
def test_bad_inputs_of_a_playbook(playbook, cloud):
    """All its variables wrong at once: each is named, nothing was asked of either system, and the exit status tells it."""
    bad = {}
    for name, one in variables_of(playbook).items():
        value = "gone" if one.get("choices") else NOT_MEANT.get(one.get("type", "str"))
        if value is not None and not name.endswith("_run_on"):
            bad[name] = value
    assert bad, "nothing of it can be wrong"
    cloud.reset_calls()
    inventory = ["-i", "localhost,"]
    run = playbooks.run(Path(f"storpool.cloudstack.{playbook}"), *inventory, variables=bad, env=playbooks.connection(cloud))
    assert run.rc == 2, run.output[-3000:]
    told = json.dumps([record["result"] for record in run.failures])
    assert [name for name in bad if name not in told] == [], told[:3000]
    assert "Traceback" not in run.output
    assert cloud.calls()["calls"] == []


@pytest.mark.parametrize("playbook", [name for name in PLAYBOOKS if variables_of(name)])
def test_misspelt_variables_of_a_playbook(playbook, cloud):
    """What begins like its variables and is none would be passed over in silence."""
    cloud.reset_calls()
    needed = {name: ["x"] if one.get("type") == "list" else "x" for name, one in variables_of(playbook).items() if one.get("required")}
    variables = {**needed, f"{playbook}_zoen": "x"}
    run = playbooks.run(Path(f"storpool.cloudstack.{playbook}"), variables=variables, env=playbooks.connection(cloud))
    assert run.rc == 2, run.output[-3000:]
    assert f"{playbook}_zoen" in run.output
    assert cloud.calls()["calls"] == []


def test_inputs_are_the_same_with_the_same_seed():
    spec = spec_of("storpool_volume")
    one, other = (of_spec(spec, ["/x"], 200, 5) for _unused in range(2))
    assert repr(one) == repr(other)
    covered = set(itertools.chain.from_iterable(bad.names for bad in of_spec(spec, [str(Path("/x"))], 400, SEED)))
    assert set(spec) <= covered
