# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every playbook of the collection, imported by its name into a playbook of a user's, with variables of that import.

What comes before and after it is the user's own. For real where that is cheap; the others are run by themselves in their own tests.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import CLOUDSTACKS
from kvm_hosts import Hosts

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests" / "tools"))

from image import disk_image  # noqa: E402

PLAYBOOKS = sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml"))
NODES = {"kvm11": 11, "kvm12": 12, "kvm13": 13}


@pytest.fixture
def simulator(cloud_of):
    return cloud_of(CLOUDSTACKS[-1])


@dataclass
class Import:
    """The variables of an import, what else the run is given, and what a real run of it writes; ``check`` leaves it at check mode."""

    variables: dict[str, Any] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    more: dict[str, Any] = field(default_factory=dict)
    writes: set[str] = field(default_factory=set)
    check: bool = False


@pytest.fixture
def prepared(simulator, run_module, tmp_path) -> Callable[[str], Import]:
    """What each playbook needs; one that is not here fails a test."""

    def done(module: str, **options: Any) -> None:
        result = run_module(module, **options)
        assert not result.get("failed"), result["msg"]

    def move_volumes() -> Import:
        simulator.deploy("db1")
        done("cloudstack_storage_pool", name="other", zone="sofia", template="hybrid")
        volume = simulator.cs_volumes()[0]["name"]
        return Import({"move_volumes_names": [volume], "move_volumes_storage_pool": "other"}, writes={"migrateVolume"})

    def snapshot_vms() -> Import:
        simulator.deploy("db1")
        return Import({"snapshot_vms_vms": ["db1"], "snapshot_vms_name": "s-%Y", "snapshot_vms_keep_last": 1}, writes={"createVMSnapshot"})

    def revert_vm() -> Import:
        simulator.deploy("db1")
        done("cloudstack_vm_snapshot", vm="db1", name="s")
        simulator.write(f"~{simulator.cs_volumes()[0]['path'].rpartition('/')[2]}", b"x" * 4096)
        given = {"revert_vm_vm": "db1", "revert_vm_snapshot": "s", "revert_vm_stop": True, "revert_vm_keep_as": "undo"}
        return Import(given, writes={"createVMSnapshot", "stopVirtualMachine", "revertToVMSnapshot", "startVirtualMachine"})

    def configure_host_ha() -> Import:
        hosts = Hosts(tmp_path, simulator, NODES).with_controllers("machines")
        given = {
            "configure_host_ha_group": "machines", "storpool_heartbeat_self_reboot": False, "storpool_snapshots_of_running_vms": True,
            "storpool_oobm_username": "ADMIN", "storpool_oobm_password": "bmc-secret",
        }  # fmt: skip
        env = {"PATH": hosts.path, "ANSIBLE_PIPELINING": "true"}
        return Import(given, ("-i", str(hosts.inventory)), {"env": env}, check=True)

    def demo() -> Import:
        devices = simulator.devices / simulator.first
        # The demo reads its variables from a file of its own, which only extra variables go before.
        given = {
            "demo_image": str(disk_image()), "demo_grown_size": "32M",
            "demo_devices": str(devices / "11" / "storpool"), "demo_other_devices": str(devices / "12" / "storpool"),
        }  # fmt: skip
        return Import(more={"variables": given}, check=True)

    ways = {
        "assess_host_ha": lambda: Import({"assess_host_ha_node_ids": NODES, "assess_host_ha_fail_on": "never"}),
        "configure_host_ha": configure_host_ha,
        "demo": demo,
        "demo_clean_up": Import,
        "move_volumes": move_volumes,
        "revert_vm": revert_vm,
        "snapshot_vms": snapshot_vms,
        "warm_template_cache": lambda: Import({"warm_template_cache_names": ["debian-12"]}, writes={"prepareTemplate"}),
    }
    assert sorted(ways) == PLAYBOOKS
    return lambda name: ways[name]()


def tasks_in(content: Any) -> Iterator[dict[str, Any]]:
    """Every mapping in a playbook, tasks among them."""
    if isinstance(content, dict):
        yield content
    for one in content.values() if isinstance(content, dict) else content if isinstance(content, list) else ():
        yield from tasks_in(one)


def imports(*playbooks: tuple[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The plays of a user, with theirs between."""

    def play(name: str, task: dict[str, Any]) -> dict[str, Any]:
        return {"name": name, "hosts": "localhost", "gather_facts": False, "tasks": [{"name": name, **task}]}

    return [
        play("Mine before", {"ansible.builtin.set_fact": {"mine": "kept"}}),
        *(
            {"name": f"Of the collection: {name}", "ansible.builtin.import_playbook": f"storpool.cloudstack.{name}", "vars": given}
            for name, given in playbooks
        ),
        play("Mine after", {"ansible.builtin.assert": {"that": "mine == 'kept'"}}),
    ]


@pytest.mark.parametrize("name", PLAYBOOKS)
def test_imported_with_variables(name, prepared, playbook, calls):
    one = prepared(name)
    calls()
    run = playbook(imports((name, one.variables)), *one.arguments, check=one.check, **one.more)
    assert run.rc == 0, run.output
    assert run.record("Mine after")["status"] == "ok"
    assert len(run.tasks) > 3, "nothing of the collection's was done"
    # Readings of the power and calls of tags come and go with the state of the VM.
    assert one.writes <= set(calls().writes) if one.writes else calls().writes == []


def test_imported_twice_with_other_variables(playbook):
    """Nothing of the first is left for the second."""
    run = playbook(
        imports(
            ("warm_template_cache", {"warm_template_cache_names": ["small-raw"]}),
            ("warm_template_cache", {"warm_template_cache_filter": {"name": ["debian-*"]}, "warm_template_cache_zone": "sofia"}),
        )
    )
    assert run.rc == 0, run.output
    summaries = [record["result"]["msg"] for record in run.tasks if record["task"] == "Summary"]
    assert summaries == [["small-raw: prepare on storpool-nvme"], ["debian-12: prepare on storpool-nvme"]]


def test_nothing_that_a_playbook_keeps_is_called_like_its_variables():
    """Imported once more, it would take it for one that nobody knows."""
    for name in PLAYBOOKS:
        text = (ROOT / "playbooks" / f"{name}.yml").read_text(encoding="utf-8")
        kept = re.findall(r"^ *register: (\S+)", text, re.MULTILINE)
        kept += [key for task in tasks_in(yaml.safe_load(text)) for key in task.get("ansible.builtin.set_fact", {})]
        assert [one for one in kept if one.startswith(f"{name}_")] == []


def test_variables_of_an_import_that_nobody_knows(playbook, calls):
    calls()
    run = playbook(imports(("snapshot_vms", {"snapshot_vms_vms": ["db1"], "snapshot_vms_keep_dayly": 3})))
    assert run.rc == 2 and "Nobody knows the variables snapshot_vms_keep_dayly" in run.output, run.output
    assert calls().entries == []
