# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role global_settings on localhost, against each version of the simulated CloudStack. Restarts are tested on real hosts."""

from __future__ import annotations

import json

import pytest
from prediction import differences, not_silent

ROLE = "storpool.cloudstack.global_settings"
DECLARED = {
    "storpool_bypass_secondary": True,
    "storpool_snapshots_of_running_vms": True,
    "storpool_fence_on_heartbeat_failure": True,
    "storpool_delayed_delete": {"storpool-nvme": 86400},
    "storpool_delayed_delete_check": 300,
    "storpool_volume_tags_checkup": 0,
    "storpool_snapshot_tags_checkup": 43200,
    "storpool_volumes_stats_interval": 1800,
    "storpool_storage_stats_interval": 900,
    "storpool_cleanup": True,
    "storpool_cleanup_interval": 43200,
    "storpool_cleanup_delay": 3600,
    "storpool_cache_cleanup": False,
    "global_settings_settings": [{"name": "force.ha", "value": True, "cluster": "kvm1"}, {"name": "ha.tag", "value": "ha"}],
}
EVERYWHERE = {
    "kvm.ha.fence.on.storage.heartbeat.failure": "true",
    "storpool.list.snapshots.delete.after.interval": "300",
    "storpool.volume.tags.checkup": "0",
    "storpool.snapshot.tags.checkup": "43200",
    "storpool.volumes.stats.interval": "1800",
    "storpool.storage.stats.interval": "900",
    "storage.cleanup.enabled": "true",
    "storage.cleanup.interval": "43200",
    "storage.cleanup.delay": "3600",
    "storage.template.cleanup.enabled": "false",
    "kvm.snapshot.enabled": "true",
    "ha.tag": "ha",
}
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
