# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Modules about the host that they run on, in real playbooks: three runs, their examples, and no secret in any output.

What they make of strange hosts and files is in tests/unit/test_host_info.py and tests/unit/test_agent_properties.py.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys

import playbooks
import pytest
import yaml
from conftest import CLOUDSTACKS
from kvm_hosts import SHIPPED, Hosts
from prediction import unlike

SECRET = "hunter2hunter2"


@pytest.fixture
def simulator(cloud_of):
    return cloud_of(CLOUDSTACKS[-1])


@pytest.fixture
def hosts(tmp_path, simulator):
    return Hosts(tmp_path, simulator, {"kvm11": 11})


@pytest.fixture
def run(hosts):
    def apply(tasks, *options, **more):
        play = {"name": "Play", "hosts": "kvm", "gather_facts": False, "tasks": tasks}
        return playbooks.run([play], "-i", str(hosts.inventory), *options, env={"PATH": hosts.path}, **more)

    return apply


def examples(module, defaults):
    """The examples of a module, with options that lead to the host in a directory."""
    found = yaml.safe_load(importlib.import_module(f"ansible_collections.storpool.cloudstack.plugins.modules.{module}").EXAMPLES)
    name = f"storpool.cloudstack.{module}"
    return [{**task, name: {**(task[name] or {}), **defaults}} if name in task else task for task in found]


def test_three_runs_of_agent_properties(run, hosts):
    declared = {"properties": {"workers": 6, "keystore.passphrase": SECRET, "guid": None}, "path": str(hosts.file("kvm11"))}
    task = [{"name": "Properties", "storpool.cloudstack.cloudstack_agent_properties": declared}]
    predicted = run(task, check=True, diff=True)
    assert hosts.file("kvm11").read_text() == SHIPPED
    real = run(task, "-vvv", diff=True)
    assert real.rc == 0, real.output
    done = real.result("Properties")
    assert done.pop("backup_file")
    assert unlike(predicted.result("Properties"), done) == []
    assert f"keystore.passphrase={SECRET}" in hosts.file("kvm11").read_text()
    again = run(task, diff=True)
    assert again.changed == 0
    assert "diff" not in run(task).result("Properties")
    said = real.output + json.dumps(real.records) + predicted.output + json.dumps(predicted.records)
    assert SECRET not in said and "ba5eba11" not in said
    assert "-workers=5" in real.output and "+workers=6" in real.output


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"path": "/nowhere/agent.properties"}, "is the CloudStack agent installed"),
        ({"properties": {"a.token": [SECRET]}}, "is neither a text"),
        ({"properties": {"a.token": SECRET}, "backup": "perhaps"}, "unable to convert to bool"),
        ({"properties": {"a.token": SECRET}, "syze": 1}, "Unsupported parameters for"),
    ],
)
def test_wrong_options_show_no_secret(run, hosts, options, says):
    given = {"path": str(hosts.file("kvm11")), **options}
    failed = run([{"name": "Wrong", "storpool.cloudstack.cloudstack_agent_properties": given}])
    assert failed.rc != 0 and says in failed.output, failed.output
    assert SECRET not in failed.output + json.dumps(failed.records)
    assert hosts.file("kvm11").read_text() == SHIPPED


def test_the_examples_of_agent_properties(run, hosts):
    tasks = examples("cloudstack_agent_properties", {"path": str(hosts.file("kvm11"))})
    for task in tasks:
        options = task.get("storpool.cloudstack.cloudstack_agent_properties", {})
        if "pending" in options:
            options["pending"] = str(hosts.pending("kvm11"))
    done = run(tasks)
    assert (done.rc, done.changed) == (0, 1), done.output
    assert "restart needed: True" in done.output and hosts.pending("kvm11").exists()
    assert run(tasks).changed == 0


def test_the_examples_of_host_info(run):
    own = {
        name: f"{{{{ heartbeat_{name} }}}}" for name in ("device_dir", "script_roots", "properties_file", "search_path", "client_service")
    }
    done = run(examples("storpool_host_info", {**own, "agent_service": "{{ heartbeat_service }}"}), "-vvv")
    assert (done.rc, done.changed) == (0, 0), done.output
    look = done.result("Look at the host")
    assert look["problems"] == [] and look["host"]["client_status"] == "running"
    assert "815815" not in done.output + json.dumps(done.records), "the token of storpool_confget"


@pytest.mark.parametrize("module", ["cloudstack_agent_properties", "storpool_host_info"])
def test_they_need_no_requests(module):
    """They run on KVM hosts, where nobody has installed anything for us."""
    code = f"import sys, ansible_collections.storpool.cloudstack.plugins.modules.{module}; print('requests' in sys.modules)"
    env = {"PYTHONPATH": str(playbooks.COLLECTIONS), "PYTHONDONTWRITEBYTECODE": "1"}
    assert subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stdout == "False\n"
