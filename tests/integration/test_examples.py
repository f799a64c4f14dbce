# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The examples in the modules' documentation do what they say.

Each module's examples run as one play, in the order in which a reader meets them, against a fresh simulator. Then, each by itself on the
same ground: check mode predicts the real run, and a second run is silent.
"""

from __future__ import annotations

import importlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import CLOUDSTACKS, needs_cloudstack, on_host
from documented import undocumented
from prediction import unlike

ROOT = Path(__file__).resolve().parents[2]
# Modules about the host that they run on need one: their examples run in test_host_modules.py.
MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("[a-z]*.py") if not on_host(path.stem))

TWO_VOLUMES = [("cloudstack_volume", {"names": ["db-data", "db-log"], "zone": "sofia", "offering": "Custom", "size": "1G", "vm": "db1"})]

# What is there before a module's examples begin: module and options, in order.
GROUND: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "cloudstack_snapshot": TWO_VOLUMES,
    "cloudstack_snapshot_policy": TWO_VOLUMES,
    "cloudstack_template": TWO_VOLUMES,
    "storpool_ha": [
        (
            "storpool_ha",
            {
                "hosts": [{"host": f"kvm1{number}", "oobm_address": f"198.51.100.{number}"} for number in (1, 2, 3)],
                "oobm_username": "ADMIN",
                "oobm_password": "bmc-secret",
                "sp_node_ids": {"kvm11": 11, "kvm12": 12, "kvm13": 13},
            },
        )
    ],
    "storpool_snapshot": [
        ("storpool_volume", {"volumes": [{"name": "db-data"}, {"name": "db-log"}], "size": "1M", "template": "hybrid"}),
        ("storpool_snapshot", {"name": "golden", "volume": "db-data"}),
    ],
    # Its example gives a template the name of one that the simulator begins with.
    "storpool_template": [("storpool_template", {"name": "hybrid", "state": "absent"})],
    "storpool_volume_info": [("storpool_volume", {"name": "db-data", "size": "100G", "template": "nvme", "tags": {"owner": "dba"}})],
}


# VMs of CloudStack's that are there as well.
MACHINES = {
    "cloudstack_snapshot": ["db1"],
    "cloudstack_snapshot_policy": ["db1"],
    "cloudstack_template": ["db1"],
    "cloudstack_vm_snapshot": ["db1", "web1"],
    "cloudstack_volume": ["db1"],
}


CLIENT = 11  # of StorPool, where the tasks run


def variables(simulator: Any, directory: Path) -> dict[str, Any]:
    """What examples call by a variable: a directory with images, and where devices appear."""
    with open(directory / "debian-12.qcow2", "wb") as image:
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image.name, "1M"], check=True)
    return {"images": str(directory), "devices": f"{simulator.devices}/sofia-a/{CLIENT}/storpool"}


def renews(options: dict[str, Any]) -> bool:
    """A keep signal is sent by every run; its documentation says so."""
    return bool(options.get("keep"))


def examples(module: str) -> list[dict[str, Any]]:
    return yaml.safe_load(importlib.import_module(f"ansible_collections.storpool.cloudstack.plugins.modules.{module}").EXAMPLES)


def flat(tasks: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The tasks, those of blocks among them."""
    for task in tasks:
        if "block" in task:
            yield from flat(task["block"])
        else:
            yield task


@pytest.fixture
def simulator(request):
    """Modules that speak to CloudStack have one, of the newest version."""
    if needs_cloudstack(request.node.callspec.params["module"]):
        return request.getfixturevalue("cloud_of")(CLOUDSTACKS[-1])
    return request.getfixturevalue("sim")


@pytest.fixture
def ground(run_module, simulator):
    """`ground(module)` makes what the examples of a module stand on."""

    def make(module: str) -> None:
        for name in MACHINES.get(module, []):
            simulator.deploy(name)
        for name, options in GROUND.get(module, []):
            result = run_module(name, **options)
            assert not result.get("failed"), result

    return make


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_run_as_one_play(module, ground, playbook, simulator, tmp_path):
    tasks = examples(module)
    own = [task for task in flat(tasks) if f"storpool.cloudstack.{module}" in task]
    assert own, f"{module} has no example of itself"
    ground(module)
    run = playbook(tasks, diff=True, env={"SP_OURID": str(CLIENT)}, variables=variables(simulator, tmp_path))
    assert run.rc == 0, run.output
    assert len(run.tasks) == len(list(flat(tasks))), run.output


@pytest.mark.parametrize("module", MODULES)
def test_each_example_is_predicted_and_then_silent(module, ground, run_module, calls, task_time):
    ground(module)
    for task in flat(examples(module)):
        name = next((key.rpartition(".")[2] for key in task if key.startswith("storpool.cloudstack.")), None)
        if name is None or "{{" in str(task):
            continue  # it needs Ansible around it, and ran in the play above
        options = task[f"storpool.cloudstack.{name}"] or {}
        task_time.seconds = int(time.time())  # the same in all three runs: names have the hour in them
        calls()
        predicted = run_module(name, check=True, **options)
        assert calls().writes == [], task["name"]
        real = run_module(name, **options)
        assert not real.get("failed"), (task["name"], real["msg"])
        assert unlike(predicted, real) == [], task["name"]
        calls()
        again = run_module(name, **options)
        assert again["changed"] is False and (calls().writes == [] or renews(options)), task["name"]


def test_results_that_are_not_as_documented_are_noticed():
    """The fixture `run_module` holds every result to it."""
    summary = {"declared": 0, "changed": 0, "unchanged": 0, "failed": 0, "not_attempted": 0}
    whole = {"changed": False, "volumes": [], "summary": summary, "api": {"reads": 1, "writes": 0, "attempts": 1, "waited": 0.0}}
    assert undocumented("storpool_volume", whole) == []
    assert undocumented("storpool_volume", {**whole, "more": 1}) == ["more is not documented"]
    entry = {"name": "v", "changed": False, "actions": [], "object": {"name": "v", "colour": "red"}}
    found = undocumented("storpool_volume", {**whole, "volumes": [entry]})
    assert "volumes[].object.colour is neither in the sample nor in the description" in found
    del entry["actions"]
    assert "volumes[].actions is documented to be there: always" in undocumented("storpool_volume", {**whole, "volumes": [entry]})
