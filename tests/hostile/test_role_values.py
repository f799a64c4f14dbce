# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Values of role variables that have the right type and cannot be meant: out of range, unknown names, files that are not there.

Each ends in an error that names variable and value, before anything was written to CloudStack or to a host. A variable of a role that is
neither here nor among those without such a rule fails a test.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import playbooks
import pytest
from bad_inputs import MARK
from kvm_hosts import Hosts
from test_bad_inputs import ROLES, role_spec

TOO_MUCH = 1 << 31


@dataclass(frozen=True)
class Role:
    """`cases` are values that are refused, each with what the error says besides the variable's name (by itself: the value).

    `free` are variables that have no rule beyond their type or choices; `needs` is given in every case.
    """

    cases: Sequence[tuple[str, Any, str]]
    free: Mapping[str, str]
    needs: Mapping[str, Any] = field(default_factory=dict)


def out_of(least: int, *names: str) -> list[tuple[str, Any, str]]:
    return [(name, value, str(value)) for name in names for value in (least - 1, TOO_MUCH)]


ENDPOINT = f"SP_API_HTTP=10.0.0.1:81;SP_AUTH_TOKEN={MARK};SP_TEMPLATE=nvme"
SWITCH = "yes or no"
VALUES = {
    "global_settings": Role(
        cases=[
            *out_of(1, "storpool_delayed_delete_check", "storpool_cleanup_interval", "global_settings_restart_timeout"),
            *out_of(0, "storpool_volume_tags_checkup", "storpool_snapshot_tags_checkup", "storpool_volumes_stats_interval",
                    "storpool_storage_stats_interval", "storpool_cleanup_delay"),
            ("storpool_delayed_delete", {"storpool-nvme": -1}, "-1 of storpool-nvme"),
            ("storpool_delayed_delete", {"storpool-nvme": "a day"}, "a day of storpool-nvme"),
            ("storpool_delayed_delete", {"storpool-nvme": None}, "of storpool-nvme is no number of seconds"),
            ("storpool_delayed_delete", {"no-such-pool": 60}, "'no-such-pool' does not exist in CloudStack"),
            ("storpool_alternative_endpoints", {"storpool-nvme": MARK}, "given for storpool-nvme"),
            ("storpool_alternative_endpoints", {"storpool-nvme": f"SP_AUTH_TOKEN={MARK}"}, "given for storpool-nvme"),
            ("storpool_alternative_endpoints", {"no-such-pool": ENDPOINT}, "'no-such-pool' does not exist in CloudStack"),
            ("global_settings_settings", [{"name": "force.ha", "value": True, "storage_pool": "no-such"}], "'no-such' does not exist"),
            ("global_settings_management_group", "no-such-group", "no-such-group is no group"),
            ("global_settings_service", "", "''"),
            ("global_settings_service", "a b", "'a b'"),
            ("global_settings_api_url", "10.0.0.1:8080", "10.0.0.1:8080 is no address"),
        ],
        free={
            "storpool_bypass_secondary": SWITCH, "storpool_snapshot_backup": SWITCH, "storpool_snapshots_of_running_vms": SWITCH,
            "storpool_fence_on_heartbeat_failure": SWITCH, "storpool_cleanup": SWITCH, "storpool_cache_cleanup": SWITCH,
            "global_settings_restart": "choices", "global_settings_run_on": "any host, also one that the inventory does not have",
        },
        needs={"global_settings_restart": "when_needed", "global_settings_management_group": "managers"},
    ),
    "heartbeat": Role(
        cases=[
            *out_of(1, "storpool_heartbeat_frequency", "storpool_heartbeat_tries", "storpool_heartbeat_timeout",
                    "storpool_heartbeat_checker_timeout", "heartbeat_up_timeout", "heartbeat_command_timeout"),
            *out_of(0, "storpool_heartbeat_retry_sleep", "storpool_reserved_memory", "storpool_reserved_cores", "heartbeat_settle"),
            ("storpool_scripts_dir", " ", "' '"),
            ("storpool_scripts_dir", "/no/such/scripts", "/no/such/scripts/"),
            ("storpool_health_check_script", "", '""'),
            ("storpool_health_check_script", "check.sh", '"check.sh"'),
            ("heartbeat_properties", {"": 1}, "'' is no name of a property"),
            ("heartbeat_properties", {"workers": [1]}, "neither a text, a number nor a boolean"),
            ("heartbeat_cloudstack_host", "no-such-host", "'no-such-host' is not a host of CloudStack"),
            ("heartbeat_properties_file", "agent.properties", '"agent.properties"'),
            ("heartbeat_properties_file", "/no/such/file", "/no/such/file is no file"),
            ("heartbeat_properties_file", "/dev", "/dev is no file"),
            ("heartbeat_pending_file", "pending", '"pending"'),
            ("heartbeat_service", "no-such-agent", "no-such-agent.service does not exist"),
            ("heartbeat_service", "", "''"),
            ("heartbeat_client_service", "no-such-client", "no-such-client.service is not installed"),
            ("heartbeat_client_service", "a; b", "'a; b'"),
            ("heartbeat_device_dir", "dev", '"dev"'),
            ("heartbeat_script_roots", [], "an empty list"),
            ("heartbeat_script_roots", ["/no/such/root"], "/no/such/root/"),
            ("heartbeat_search_path", ["bin"], '"bin"'),
            ("heartbeat_search_path", ["/no/such/bin"], "is in none of /no/such/bin"),
        ],
        free={
            "storpool_heartbeat_self_reboot": SWITCH, "heartbeat_allow_hyperconverged": SWITCH, "heartbeat_restart": "choices",
            "heartbeat_run_on": "any host, also one that the inventory does not have",
        },
        needs={"storpool_heartbeat_self_reboot": False},
    ),
}  # fmt: skip
# The module speaks for itself about the entries that are its own.
OF_THE_MODULE = {"heartbeat_properties": "properties"}


@pytest.mark.parametrize("role", ROLES)
def test_every_variable_has_a_case_or_a_reason(role):
    known = VALUES[role]
    assert sorted({name for name, _value, _says in known.cases} | known.free.keys()) == sorted(role_spec(role))
    assert not {name for name, _value, _says in known.cases} & known.free.keys()


def include(role: str, number: int, variables: dict[str, Any]) -> dict[str, Any]:
    """The role with these variables; the error it ends with is kept."""
    return {
        "name": f"Case {number}",
        "block": [
            {"name": f"Role {number}", "ansible.builtin.include_role": {"name": f"storpool.cloudstack.{role}"}, "vars": variables},
            {"name": f"Went through {number}", "ansible.builtin.debug": {"msg": "!"}},
        ],
        "rescue": [{"name": f"Refused {number}", "ansible.builtin.debug": {"msg": "{{ ansible_failed_result.msg }}"}}],
    }


@pytest.mark.parametrize("role", ROLES)
def test_values_that_cannot_be_meant(role: str, cloud: Any, tmp_path: Path):
    known = VALUES[role]
    hosts = Hosts(tmp_path, cloud, {"kvm11": 11})
    tasks = [include(role, number, {**known.needs, name: value}) for number, (name, value, _says) in enumerate(known.cases)]
    play = {"name": "Play", "hosts": "kvm11", "gather_facts": False, "tasks": tasks}
    inventory = tmp_path / "more.yml"
    inventory.write_text(json.dumps({"managers": {"hosts": {"kvm11": None}}}), encoding="utf-8")
    cloud.reset_calls()
    env = {**playbooks.connection(cloud), "PATH": hosts.path, "ANSIBLE_PIPELINING": "true"}
    run = playbooks.run([play], "-i", str(hosts.inventory), "-i", str(inventory), env=env)
    assert run.rc == 0, run.output[-3000:]
    told = {record["task"]: str(record["result"].get("msg")) for record in run.tasks}
    wrong = []
    for number, (name, value, says) in enumerate(known.cases):
        message = told.get(f"Refused {number}")
        if message is None:
            wrong.append(f"{name}={value!r} went through")
        elif OF_THE_MODULE.get(name, name) not in message or says not in message:
            wrong.append(f"{name}={value!r}: {message}")
    assert not wrong, "\n".join(wrong)
    assert [call["call"] for call in cloud.calls()["calls"] if call["write"]] == []
    assert (hosts.touched(), hosts.events()) == ([], [])
    assert MARK not in run.output and MARK not in json.dumps(run.records)
