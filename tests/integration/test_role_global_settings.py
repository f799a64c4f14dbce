# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role global_settings on localhost, against each version of the simulated CloudStack."""

from __future__ import annotations

import json
import os
import sys

import pytest
import role_settings
import yaml
from prediction import differences, not_silent

ROLE = "storpool.cloudstack.global_settings"
DECLARED = {
    **role_settings.DECLARED,
    "storpool_bypass_secondary": True,
    "storpool_snapshots_of_running_vms": True,
    "storpool_delayed_delete": {"storpool-nvme": 86400},
    "global_settings_settings": [{"name": "force.ha", "value": True, "cluster": "kvm1"}, {"name": "ha.tag", "value": "ha"}],
}
EVERYWHERE = {**role_settings.BEHIND, "kvm.snapshot.enabled": "true", "ha.tag": "ha"}
TASK = "Make the settings as declared"


@pytest.fixture
def simulator(cloud):
    return cloud


@pytest.fixture
def apply(playbook):
    def run(declared, **more):
        return playbook(
            [{"name": "Play", "hosts": "localhost", "gather_facts": False, "roles": [{"role": ROLE, "vars": declared}]}], **more
        )

    return run


def result_of(run):
    return next(record["result"] for record in run.tasks if record["task"].endswith(TASK))


def test_the_settings_of_this_version(apply, simulator, calls):
    old = simulator.cloudstack["version"] < "4.21"
    predicted = apply(DECLARED, check=True, diff=True)
    assert predicted.rc == 0, predicted.output
    assert calls().writes == []
    real = apply(DECLARED, diff=True)
    assert real.rc == 0, real.output
    assert differences(predicted, real) == []
    calls()
    again = apply(DECLARED)
    assert (again.rc, not_silent(again, calls().writes)) == (0, []), again.output
    simulator.restart_server()
    force = simulator.in_force()
    expected = {
        **EVERYWHERE,
        "sp.bypass.secondary.storage": "true" if old else "false",
        "snapshot.backup.to.secondary": "true" if old else "false",
    }
    assert {name: force[name] for name in expected} == expected
    pool = simulator.cs("listStoragePools")[1]["storagepool"][0]["id"]
    rows = simulator.cs("listConfigurations", storageid=pool, pagesize=-1)[1]["configuration"]
    assert {one["name"]: one.get("value") for one in rows}["storpool.delete.after.interval"] == "86400"
    waits = result_of(real)["restart_required"]
    assert ("snapshot.backup.to.secondary" in waits) is not old and "storpool.volumes.stats.interval" in waits
    assert "restarted: " in next(record["result"]["msg"] for record in real.tasks if record["task"].endswith("waits for a restart"))


def test_nothing_declared_is_nothing_done(apply, calls):
    run = apply({})
    assert run.rc == 0, run.output
    assert (run.changed, calls().writes) == (0, [])


def test_contradictions(apply, simulator, calls):
    run = apply({"storpool_bypass_secondary": True, "storpool_snapshot_backup": True})
    if simulator.cloudstack["version"] < "4.21":
        assert run.rc == 0, run.output
    else:
        assert run.rc != 0 and "contradict each other" in run.output
        assert calls().writes == []
        assert apply({"storpool_bypass_secondary": True, "storpool_snapshot_backup": False}).rc == 0


def test_wrong_values_and_unknown_pools(apply, calls):
    assert "storpool_cleanup_delay" in apply({"storpool_cleanup_delay": "soon"}).output
    assert "'no-such' does not exist in CloudStack" in apply({"storpool_delayed_delete": {"no-such": 5}}).output
    assert calls().writes == []


def test_endpoints_and_their_tokens(apply, simulator):
    token = "815815815815815815"
    declared = {"storpool_alternative_endpoints": {"storpool-nvme": f"SP_API_HTTP=10.0.0.1:81;SP_AUTH_TOKEN={token};SP_TEMPLATE=nvme"}}
    run = apply(declared, diff=True)
    assert run.rc == 0, run.output
    assert result_of(run)["summary"]["changed"] == 2
    assert token not in run.output and token not in json.dumps(run.records)


def test_a_wrong_secret_is_no_old_version(apply):
    run = apply({"storpool_bypass_secondary": True}, env={"CLOUDSTACK_SECRET": "815815815815"})
    assert run.rc != 0 and "refused the credentials" in run.output
    assert run.failures[0]["task"].endswith("4.21 or newer")


# -- restarts, with a systemctl that restarts the simulated management servers

SYSTEMCTL = """#!{python}
import json, sys, urllib.request
done = {log!r}
if "restart" in sys.argv:
    with open(done, "a+") as log:
        log.seek(0)
        server = "ms%d" % (len(log.readlines()) + 1)
        log.write(server + "\\n")
    if server in {broken!r}:
        sys.exit("no")
    body = json.dumps({{"server": server}}).encode()
    urllib.request.urlopen(urllib.request.Request({control!r}, body, {{"Content-Type": "application/json"}}))
else:
    print("Id=cloudstack-management.service\\nLoadState=loaded\\nActiveState=active")
"""


@pytest.fixture
def servers(simulator, playbook, tmp_path):
    """`servers(broken, **declared)` applies the role with restarts, and returns the run and which servers were restarted, in order."""
    inventory = tmp_path / "hosts.yml"
    host = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "ansible_become": False}
    inventory.write_text(yaml.safe_dump({"cloudstack_management": {"hosts": {"one": host, "two": host}}}))

    def run(broken=(), check=False, **declared):
        log = tmp_path / "restarted"
        log.unlink(missing_ok=True)
        program = tmp_path / "systemctl"
        control = f"{simulator.url}/_sim/cloudstack/restart"
        program.write_text(SYSTEMCTL.format(python=sys.executable, log=str(log), broken=list(broken), control=control))
        program.chmod(0o755)
        declared = {**declared, "global_settings_api_url": simulator.cloudstack["url"], "global_settings_restart_timeout": 5}
        play = {"name": "Play", "hosts": "localhost", "gather_facts": False, "roles": [{"role": ROLE, "vars": declared}]}
        env = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
        done = playbook([play], "-i", str(inventory), env=env, check=check)
        return done, log.read_text().split() if log.exists() else []

    return run


def test_servers_are_restarted_one_by_one_where_that_is_needed(servers, simulator):
    if simulator.cloudstack["version"] != "4.22.0":
        pytest.skip("restarting is the same with all")
    settings = {"storpool_storage_stats_interval": 77, "global_settings_restart": "when_needed"}
    assert servers(check=True, **settings)[1] == []
    run, restarted = servers(**settings)
    assert (run.rc, restarted) == (0, ["ms1", "ms2"]), run.output
    assert simulator.in_force()["storpool.storage.stats.interval"] == "77"
    assert any(record["task"].endswith("after the restart") and record["status"] == "ok" for record in run.tasks), run.output
    assert servers(**settings)[1] == []
    run, restarted = servers(**{**settings, "global_settings_restart": "always"})
    assert (run.rc, restarted) == (0, ["ms1", "ms2"]), run.output


def test_a_server_that_does_not_come_back_is_the_last(servers, simulator):
    if simulator.cloudstack["version"] != "4.22.0":
        pytest.skip("restarting is the same with all")
    run, restarted = servers(broken=["ms1"], storpool_storage_stats_interval=78, global_settings_restart="when_needed")
    assert run.rc != 0 and restarted == ["ms1"], run.output
