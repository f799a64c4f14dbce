# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook storpool.cloudstack.configure_host_ha, by its name, on hosts that are directories (see kvm_hosts.py)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import CLOUDSTACKS
from kvm_hosts import Hosts
from prediction import differences

PLAYBOOK = "storpool.cloudstack.configure_host_ha"
NAMES = {"kvm11": 11, "kvm12": 12, "kvm13": 13}
PASSWORD = "bmc-secret"
DECLARED = {
    "storpool_heartbeat_self_reboot": False,
    "storpool_snapshots_of_running_vms": True,
    "storpool_storage_stats_interval": 900,
    "heartbeat_up_timeout": 60,
}


@pytest.fixture
def simulator(cloud_of):
    return cloud_of(CLOUDSTACKS[-1])


@pytest.fixture
def hosts(tmp_path, simulator):
    """Each host's controller is said in the inventory."""
    return Hosts(tmp_path, simulator, NAMES).with_controllers(storpool_oobm_username="ADMIN", storpool_oobm_password=PASSWORD)


@pytest.fixture
def configure(hosts, playbook):
    def run(*options, check=False, diff=False, **declared):
        variables = {name: value for name, value in {**DECLARED, **declared}.items() if value is not None}
        env = {"PATH": hosts.path, "ANSIBLE_PIPELINING": "true"}
        return playbook(Path(PLAYBOOK), "-i", str(hosts.inventory), *options, check=check, diff=diff, variables=variables, env=env)

    return run


def states(simulator):
    found = simulator.cs("listHosts", type="Routing", hypervisor="KVM")[1]["host"]
    return {one["name"]: (one["hostha"]["hastate"], one["outofbandmanagement"]["powerstate"]) for one in found if one["name"] in NAMES}


def test_from_nothing_to_every_host_protected(configure, hosts, simulator, calls):
    predicted = configure(check=True, diff=True)
    assert predicted.rc == 0, predicted.output
    assert (calls().writes, hosts.touched(), hosts.events()) == ([], [], [])
    real = configure("-vvv", diff=True)
    assert real.rc == 0, real.output
    assert hosts.events() == [f"{what} {name}" for name in NAMES for what in ("restart", "up")]
    assert states(simulator) == dict.fromkeys(NAMES, ("Available", "On"))
    assert "3 of 3 hosts are protected" in real.output
    # Of what is told of states, check mode can only tell those from before.
    proofs = ("is Up in CloudStack", "StorPool on the host")
    for run in (predicted, real):
        run.records = [record for record in run.records if not record["task"].endswith(proofs)]
        run.records.sort(key=lambda record: record["host"])
        for record in run.records:
            record["result"].pop("backup_file", None)
    assert predicted.changed == real.changed
    assert differences(predicted, real) == []
    said = real.output + json.dumps(real.records) + predicted.output
    assert PASSWORD not in said and "815815" not in said
    calls()
    again = configure()
    assert (again.rc, again.changed, calls().writes, hosts.events()) == (0, 0, [], []), again.output


def test_a_host_that_does_not_come_back_ends_it_before_host_ha(configure, hosts, simulator, calls):
    hosts.breaks("kvm11", "silent")
    calls()
    run = configure(heartbeat_up_timeout=20)
    assert run.rc != 0 and "kvm11 is Disconnected" in run.output
    assert (hosts.events(), hosts.touched()) == (["restart kvm11"], ["kvm11"])
    assert {name for name in calls().writes if "HA" in name or "OutOfBand" in name} == set()
    assert not any(record["task"] == "Out-of-band management and host HA" for record in run.records)


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        ({"storpool_heartbeat_self_reboot": None}, "missing required arguments: storpool_heartbeat_self_reboot"),
        ({"storpool_heartbeat_self_reboot": "perhaps"}, "storpool_heartbeat_self_reboot"),
        ({"configure_host_ha_recover": "perhaps"}, "configure_host_ha_recover"),
        ({"configure_host_ha_grop": "kvm"}, "Nobody knows the variables configure_host_ha_grop"),
        ({"configure_host_ha_group": "kvms"}, "has no hosts in the group kvms"),
        ({"storpool_oobm_address": ""}, "oobm_address"),
    ],
)
def test_what_is_declared_wrong_is_said_before_anything_is_changed(configure, hosts, calls, declared, says):
    calls()
    run = configure(**declared)
    assert run.rc != 0 and says in run.output, run.output
    assert (calls().writes, hosts.touched(), hosts.events()) == ([], [], [])


def test_a_host_that_is_not_ready_stops_it_before_the_settings(configure, hosts, simulator, calls):
    simulator.client(13, "down")
    calls()
    run = configure()
    assert run.rc != 0 and "the client of node 13 is down" in run.output
    assert (calls().writes, hosts.touched(), hosts.events()) == ([], [], [])
