# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook storpool.cloudstack.assess_host_ha, by its name: what it says, what it sets for AWX, and when it fails."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml
from conftest import CLOUDSTACKS
from test_storpool_ha_info import KVM, NODES, World, stand_still

PLAYBOOK = "storpool.cloudstack.assess_host_ha"


@pytest.fixture
def simulator(cloud_of):
    process = cloud_of(CLOUDSTACKS[-1])
    stand_still(process)
    yield process
    process.background(True)


def python_of(tmp_path, name):
    """A Python that finds the tools of that host first, as if it were a machine of its own."""
    made = tmp_path / f"python-{name}"
    made.write_text(f'#!/bin/sh\nPATH={tmp_path}/bin/{name}:$PATH exec {sys.executable} "$@"\n', encoding="utf-8")
    made.chmod(0o755)
    return made


@pytest.fixture
def world(simulator):
    return World(simulator)


@pytest.fixture
def assess(playbook, calls):
    """`assess(zone="sofia")` runs it with assess_host_ha_zone; nothing may be written nor be changed."""

    def run(*options, check=False, **given):
        variables = {f"assess_host_ha_{name}": value for name, value in {"node_ids": NODES, **given}.items() if value is not None}
        calls()
        done = playbook(Path(PLAYBOOK), *options, variables=variables, check=check, env={"ANSIBLE_SHOW_CUSTOM_STATS": "true"})
        assert (calls().writes, done.changed) == ([], 0), done.output
        return done

    return run


def summary(run):
    return run.result("Summary")["msg"]


def stats(run):
    """What `set_stats` has set, as the end of the output shows it."""
    line = next(line for line in run.output.splitlines() if line.strip().startswith("RUN: "))
    return json.loads(line.partition("RUN: ")[2])


@pytest.mark.parametrize("check", [False, True])
def test_a_protected_cluster(assess, world, check):
    world.protect(*KVM)
    run = assess(cluster="kvm1", check=check)
    assert run.rc == 0, run.output
    assert summary(run) == [
        "OK: 3 of 3 hosts are protected",
        *(f"{name} (zone sofia, cluster kvm1, HA Available): protected" for name in KVM),
    ]
    assert stats(run)["host_ha"]["status"] == "ok"
    assert stats(run)["host_ha_reasons"] == {}


@pytest.mark.parametrize("check", [False, True])
def test_a_host_that_is_not_protected_fails_it(assess, world, check):
    world.protect(*KVM)
    world.lose_client("kvm12")
    run = assess(cluster="kvm1", check=check)
    assert run.rc == 2
    assert summary(run)[:1] == ["CRITICAL: 2 of 3 hosts are protected"]
    assert summary(run)[2] == "kvm12 (zone sofia, cluster kvm1, HA Available): NOT PROTECTED"
    assert "its StorPool client 12 is down" in summary(run)[3] and "[client_down]. What to do: start storpool_block" in summary(run)[3]
    assert "1 of 3 hosts are not protected (kvm12), and 0 are with warnings" in run.result("Every host is protected")["msg"]
    told = stats(run)
    assert told["host_ha"]["not_protected_hosts"] == ["kvm12"] and told["host_ha"]["reasons"] == {"client_down": 1}
    assert [one["code"] for one in told["host_ha_reasons"]["kvm12"]] == ["client_down"]


def test_it_can_only_report(assess):
    run = assess(fail_on="never")
    assert run.rc == 0, run.output
    assert summary(run)[0] == "CRITICAL: 0 of 6 hosts are protected"


def test_warnings_fail_it_when_asked(assess, world):
    world.protect(*KVM, instances=False)
    run = assess(cluster="kvm1")
    assert run.rc == 0 and summary(run)[0] == "WARNING: 3 of 3 hosts are protected", run.output
    assert "warning: it has no VMs" in summary(run)[2]
    assert assess(cluster="kvm1", fail_on="warning").rc == 2


def test_a_list_of_hosts_as_a_command_line_gives_it(assess, world):
    world.protect(*KVM)
    run = assess(hosts="kvm11,kvm13", node_ids=json.dumps(NODES))
    assert run.rc == 0 and len(summary(run)) == 3, run.output


def test_a_profile_and_a_storpool_conf(assess, world, simulator, tmp_path):
    world.protect(*KVM)
    cloud = simulator.cloudstack
    profiles = tmp_path / "profiles.ini"
    given = {"sp_api_http_host": simulator.host, "sp_api_http_port": simulator.port, "sp_auth_token": simulator.token}
    given.update(cloudstack_url=cloud["url"], cloudstack_key=cloud["key"], cloudstack_secret=cloud["secret"])
    profiles.write_text("[sofia]\n" + "".join(f"{key} = {value}\n" for key, value in given.items()), encoding="utf-8")
    conf = tmp_path / "storpool.conf"
    conf.write_text("".join(f"[{name}]\nSP_OURID={NODES[name]}\n" for name in KVM), encoding="utf-8")
    run = assess(cluster="kvm1", node_ids=None, storpool_conf=str(conf), profile="sofia", profile_file=str(profiles))
    assert run.rc == 0, run.output
    assert cloud["secret"] not in run.output and simulator.token not in run.output


def test_hosts_are_asked_for_their_node_ids(assess, world, tmp_path):
    """Those of the group that answer; the stand-in for StorPool's tool tells the id by the host's name."""
    world.protect(*KVM)
    hosts = {}
    for name, node in (("kvm11", "11"), ("kvm12", "12"), ("kvm13", "none")):
        tool = tmp_path / "bin" / name / "storpool_confget"
        tool.parent.mkdir(parents=True)
        tool.write_text(f'#!/bin/sh\n[ {node} = none ] && exit 1\necho "SP_OURID={node}"\n', encoding="utf-8")
        tool.chmod(0o755)
        hosts[name] = {"ansible_connection": "local", "ansible_python_interpreter": str(python_of(tmp_path, name))}
    inventory = tmp_path / "inventory.yml"
    inventory.write_text(yaml.safe_dump({"kvm": {"hosts": hosts}}), encoding="utf-8")
    run = assess("-i", str(inventory), cluster="kvm1", node_ids=None, ask_group="kvm")
    assert run.rc == 2, run.output
    assert summary(run)[:3] == [
        "CRITICAL: 2 of 3 hosts are protected",
        "kvm11 (zone sofia, cluster kvm1, HA Available): protected",
        "kvm12 (zone sofia, cluster kvm1, HA Available): protected",
    ]
    assert "[node_unknown]" in summary(run)[4]


@pytest.mark.parametrize(
    "given, says",
    [
        ({"fail_on": "always"}, "value of assess_host_ha_fail_on must be one of"),
        ({"allow_hyperconverged": "perhaps"}, "assess_host_ha_allow_hyperconverged"),
        ({"node_ids": 5}, "assess_host_ha_node_ids"),
        ({"zoen": "sofia"}, "Nobody knows the variables assess_host_ha_zoen"),
        ({"ask_group": "kmv"}, "The inventory has no hosts in the group kmv"),
        ({"zone": "varna"}, "'varna' does not exist in CloudStack"),
        ({"node_ids": {"kvm11": 0}}, "is no StorPool node id"),
    ],
)
def test_wrong_variables(assess, given, says):
    run = assess(**given)
    assert run.rc == 2 and says in run.output, run.output
