# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""cloudstack_settings against each version of the simulated CloudStack."""

from __future__ import annotations

import json

import pytest

MODULE = "cloudstack_settings"
TOKEN = "815815815815815815"  # nobody's
STATS, DELETE_AFTER = "storpool.volumes.stats.interval", "storpool.delete.after.interval"
BYPASS, BACKUP, RUNNING = "sp.bypass.secondary.storage", "snapshot.backup.to.secondary", "kvm.snapshot.enabled"
FENCE = "kvm.ha.fence.on.storage.heartbeat.failure"
USE_ENDPOINT, ENDPOINT = "sp.enable.alternative.endpoint", "sp.alternative.endpoint"


@pytest.fixture
def simulator(cloud):
    return cloud


@pytest.fixture
def value(simulator):
    """`value(name, **scope)` is what the server lists."""

    def listed(name, **scope):
        status, answer = simulator.cs("listConfigurations", pagesize=-1, **scope)
        assert status == 200, answer
        return next(one.get("value") for one in answer["configuration"] if one["name"] == name)

    return listed


@pytest.fixture
def an_id(simulator):
    def find(command, key, name):
        return next(one["id"] for one in simulator.cs(command, listall=True)[1][key] if name in (one["name"], one.get("path")))

    return find


# -- setting and resetting


def test_many_at_once(declare, value):
    result = declare(
        settings=[
            {"name": STATS, "value": 1800},
            {"name": "force.ha", "value": True, "cluster": "kvm1"},
            {"name": "ha.tag", "value": " ha "},
            {"name": "kvm.ha.activity.check.failure.ratio", "value": 0.5, "cluster": "kvm1"},
        ]
    )
    assert result["changed"] is True and result["summary"]["changed"] == 4
    assert result["restart_required"] == ["ha.tag", STATS]
    assert value(STATS) == "1800" and value("ha.tag") == "ha"


def test_what_is_right_is_left_alone(run_module, calls):
    settings = [
        {"name": STATS, "value": "3600"},
        {"name": "force.ha", "value": "False"},
        {"name": "kvm.ha.activity.check.failure.ratio", "value": 0.70},
        {"name": "ha.tag", "value": ""},
        {"name": BACKUP, "state": "default"},
    ]
    result = run_module(MODULE, settings=settings)
    assert (result["changed"], result["settings"], result["restart_required"]) == (False, [], [])
    assert (calls().entries[0]["call"], result["api"]["reads"]) == ("listConfigurations", 1)


def test_back_to_the_default(declare, value):
    declare(name=STATS, value=5)
    assert declare(name=STATS, state="default")["settings"][0]["actions"] == ["reset"]
    assert value(STATS) == "3600"


def test_an_empty_value_clears(declare, value):
    declare(name="ha.tag", value="x")
    declare(name="ha.tag", value="")
    assert value("ha.tag") in (None, "")
    declare(name="ha.tag", value="x")
    declare(name="ha.tag", value="null")
    assert value("ha.tag") in (None, "")


@pytest.mark.parametrize(
    ("name", "scope", "setting", "goal", "listing", "parameter"),
    [
        ("zone", "sofia", FENCE, "true", ("listZones", "zone"), "zoneid"),
        ("cluster", "kvm1", "force.ha", "true", ("listClusters", "cluster"), "clusterid"),
        ("storage_pool", "storpool-nvme", DELETE_AFTER, "86400", ("listStoragePools", "storagepool"), "storageid"),
        ("account", "ops", "allow.public.user.templates", "false", ("listAccounts", "account"), "accountid"),
        ("domain", "ROOT/ops", "ldap.basedn", "dc=example", ("listDomains", "domain"), "domainid"),
        ("image_store", "nfs-secondary", "image.store.capacity.threshold", "0.8", ("listImageStores", "imagestore"), "imagestoreuuid"),
    ],
)
def test_scopes_by_name_and_by_id(declare, run_module, value, an_id, name, scope, setting, goal, listing, parameter):
    before = value(setting)
    result = declare(**{"name": setting, "value": goal, name: scope})
    assert result["settings"][0]["name"] == f"{setting} ({name.replace('_', ' ')} {scope})"
    identity = an_id(*listing, scope)
    assert value(setting, **{parameter: identity}) == goal
    assert value(setting) == before
    assert run_module(MODULE, **{"name": setting, "value": goal, name: identity})["changed"] is False
    result = declare(**{"name": setting, "state": "default", name: identity})
    assert result["settings"][0]["actions"] == ["reset"]
    assert value(setting, **{parameter: identity}) == before


def test_a_global_value_and_one_that_would_inherit_it(declare, simulator, value, an_id):
    """The pool keeps its declared value, although it had it only from the global one."""
    settings = [{"name": DELETE_AFTER, "value": 0, "storage_pool": "storpool-nvme"}, {"name": DELETE_AFTER, "value": 7}]
    declare(settings=settings)
    simulator.restart_server()
    declare(settings=settings)
    assert value(DELETE_AFTER) == "7"
    assert value(DELETE_AFTER, storageid=an_id("listStoragePools", "storagepool", "storpool-nvme")) == "0"


def test_settings_from_a_file(declare, tmp_path, value):
    path = tmp_path / "settings.csv"
    path.write_text(f"name,value,cluster\nforce.ha,true,kvm1\n{STATS},1800,\n")
    assert declare(settings_src=str(path))["summary"]["changed"] == 2
    assert value(STATS) == "1800"


# -- what it costs


def test_forty_settings_in_four_scopes(run_module, calls, simulator, an_id):
    """The listings, whatever there is to compare, and one call for each change."""
    pool, zone = an_id("listStoragePools", "storagepool", "storpool-nvme"), an_id("listZones", "zone", "sofia")
    cluster = an_id("listClusters", "cluster", "kvm1")
    rows = simulator.cs("listConfigurations", pagesize=-1)[1]["configuration"]
    plain = [one for one in rows if one["category"] == "Advanced" and one.get("value") and one["type"] in ("Number", "Boolean")]
    settings = [{"name": one["name"], "value": one["value"]} for one in plain][:30]
    for scope, identity, parameter in (("storage_pool", pool, "storageid"), ("zone", zone, "zoneid"), ("cluster", cluster, "clusterid")):
        mine = simulator.cs("listConfigurations", pagesize=-1, **{parameter: identity})[1]["configuration"]
        known = [one for one in mine if one.get("value") and one["category"] != "Secure"]
        settings += [{"name": one["name"], "value": one["value"], scope: identity} for one in known[:4]]
    settings = settings[-40:]
    assert len(settings) == 40
    calls()
    assert run_module(MODULE, settings=settings)["changed"] is False
    log = calls()
    assert (log.reads, log.writes) == (["listConfigurations"] * 4, [])
    change = {one["name"] for one in plain if one["type"] == "Number"} - {DELETE_AFTER}
    changed = 0
    for one in settings:
        if one["name"] in change and "e" not in one["value"] and "." not in one["value"] and len(one) == 2 and changed < 5:
            one["value"], changed = str(int(one["value"]) + 1), changed + 1
    assert changed == 5
    assert run_module(MODULE, settings=settings)["summary"]["changed"] == 5
    log = calls()
    assert (log.reads, log.writes) == (["listConfigurations"] * 4, ["updateConfiguration"] * 5)


# -- restarts


def test_what_waits_for_a_restart(declare, simulator):
    result = declare(settings=[{"name": STATS, "value": 60}, {"name": BYPASS, "value": True}, {"name": RUNNING, "state": "default"}])
    assert STATS in result["restart_required"] and BYPASS not in result["restart_required"]
    assert simulator.in_force()[STATS] == "3600" and simulator.in_force()[BYPASS] == "true"
    simulator.restart_server()
    assert simulator.in_force()[STATS] == "60"


# -- traps, by version


def test_traps(declare, simulator):
    warnings = declare(name=BYPASS, value=True).get("warnings", [])
    assert any("no effect from CloudStack 4.21 on" in text and BACKUP in text for text in warnings) == (simulator.release >= (4, 21))
    assert any(f"need {RUNNING}" in text for text in warnings) == (simulator.release < (4, 22))
    warnings = declare(settings=[{"name": BACKUP, "value": False}, {"name": RUNNING, "value": True}]).get("warnings", [])
    assert warnings == []
    warnings = declare(name=FENCE, value=True, zone="sofia")["warnings"]
    assert len(warnings) == 1 and "read globally" in warnings[0]
    warnings = declare(name=ENDPOINT, value="SP_API_HTTP=10.0.0.1:81;SP_AUTH_TOKEN=1;SP_TEMPLATE=nvme")["warnings"]
    assert len(warnings) == 1 and "meant for one storage pool" in warnings[0]
    assert "warnings" not in declare(settings=[{"name": FENCE, "value": True}, {"name": "force.ha", "value": True}])


def test_the_setting_that_is_not_listed(declare, simulator):
    result = declare(name=RUNNING, value=True)
    assert result["changed"] is (simulator.release < (4, 22))
    result = declare(name=RUNNING, value=False)
    assert result["changed"] is True and result["restart_required"] == [RUNNING]


@pytest.mark.parametrize("name", ["storpool.volume.stats.interval", "sp.bypass.secondary.storag"])
def test_unknown_names(run_module, calls, name):
    result = run_module(MODULE, settings=[{"name": name, "value": 1}, {"name": STATS, "value": 5}])
    assert result["failed"] and "did you mean s" in result["msg"], result["msg"]
    assert calls().writes == []


def test_names_of_another_version(run_module, simulator):
    result = run_module(MODULE, name="sp.cluster.location", value="x", storage_pool="storpool-nvme")
    assert result.get("failed", False) is (simulator.release < (4, 21))


def test_scopes_that_make_no_sense(run_module):
    result = run_module(MODULE, name=STATS, value=1, storage_pool="storpool-nvme")
    assert f"{STATS} cannot be set for a storage pool" in result["msg"]
    result = run_module(MODULE, name="force.ha", value=True, cluster="no-such")
    assert "option cluster: 'no-such' does not exist in CloudStack; there are: converged, kvm1" in result["msg"]
    result = run_module(MODULE, name="force.ha", value=True, cluster="628aa4c1-0000-4000-8000-000000000000")
    assert result["failed"]


def test_values_of_another_type(run_module, calls):
    for name, bad in ((STATS, "1h"), ("force.ha", "on"), (STATS, "")):
        result = run_module(MODULE, name=name, value=bad)
        assert "option value of" in result["msg"], result
    assert calls().writes == []


# -- secrets


def test_encrypted_settings(declare, run_module, calls):
    result = declare(name="alert.smtp.password", value="hunter2hunter2")
    assert result["diff"][0]["after"] == {"value": "(hidden)"}
    result = run_module(MODULE, name="alert.smtp.password", value="other-hunter2")
    assert result["changed"] is False and result["settings"][0]["compared"] is False and len(result["warnings"]) == 1
    result = run_module(MODULE, name="alert.smtp.password", value="other-hunter2", update_encrypted="always")
    assert result["changed"] is True
    result = declare(name="alert.smtp.password", state="default")
    assert result["diff"][0]["after"] == {"value": ""}


def address(token):
    return f"SP_API_HTTP=10.0.0.1:81;SP_AUTH_TOKEN={token};SP_TEMPLATE=nvme"


def test_an_endpoint(declare, value, an_id):
    settings = [{"name": USE_ENDPOINT, "value": True}, {"name": ENDPOINT, "value": address(TOKEN)}]
    result = declare(settings=settings, storage_pool="storpool-nvme")
    assert TOKEN not in json.dumps(result)
    assert value(ENDPOINT, storageid=an_id("listStoragePools", "storagepool", "storpool-nvme")) == address(TOKEN)
    result = declare(name=ENDPOINT, value=address(TOKEN[::-1]), storage_pool="storpool-nvme")
    assert TOKEN not in json.dumps(result) and TOKEN[::-1] not in json.dumps(result)
    assert result["diff"][0]["after"]["value"] == address("(hidden, changed)")


@pytest.mark.parametrize("in_process", [True, False])
def test_no_secret_in_any_output(playbook, simulator, in_process, tmp_path):
    if simulator.release not in ((4, 19, 3), (4, 22, 0)):
        pytest.skip("the oldest and the newest show it")
    simulator.fault("error", "updateConfiguration", object="ha.tag", status=530, descr=f"cannot store {TOKEN}", name="530")
    path = tmp_path / "settings.json"
    path.write_text(
        json.dumps([{"name": ENDPOINT, "value": address(TOKEN), "zone": "x", "cluster": "y"}, {"name": ENDPOINT, "value": [TOKEN]}])
    )
    pool = {"storage_pool": "storpool-nvme"}
    env = {"WRONG": TOKEN, "ADDRESS": f"SP_API_HTTP=10.0.0.1:81;SP_TEMPLATE=nvme;SP_AUTH_TOKEN={TOKEN}"}
    content = [
        {
            "name": "Endpoint",
            "storpool.cloudstack.cloudstack_settings": {"name": ENDPOINT, "value": "{{ lookup('env', 'ADDRESS') }}", **pool},
        },
        {
            "name": "Again",
            "storpool.cloudstack.cloudstack_settings": {"name": ENDPOINT, "value": "{{ lookup('env', 'ADDRESS') }}1", **pool},
        },
        {
            "name": "Secret",
            "storpool.cloudstack.cloudstack_settings": {"name": "ha.tag", "value": "{{ lookup('env', 'WRONG') }}", "secret": True},
        },
        {
            "name": "Type",
            "storpool.cloudstack.cloudstack_settings": {
                "name": STATS,
                "value": "{{ lookup('env', 'WRONG') }}",
                "secret": True,
                "state": "default",
            },
        },
        {"name": "File", "storpool.cloudstack.cloudstack_settings": {"settings_src": str(path)}},
        {
            "name": "Unknown option",
            "storpool.cloudstack.cloudstack_settings": {"name": ENDPOINT, "value": "{{ lookup('env', 'ADDRESS') }}", "zoen": 1},
        },
        {
            "name": "Entries",
            "storpool.cloudstack.cloudstack_settings": {
                "settings": [{"name": ENDPOINT, "value": "{{ lookup('env', 'ADDRESS') }}", **pool}],
                "x": 1,
            },
        },
        {
            "name": "Key",
            "storpool.cloudstack.cloudstack_settings": {
                "name": STATS,
                "value": 5,
                "api_key": "{{ lookup('env', 'WRONG') }}",
                "api_secret": "{{ lookup('env', 'WRONG') }}2",
            },
        },
    ]
    run = playbook([{**task, "ignore_errors": True} for task in content], "-vvv", in_process=in_process, diff=True, env=env)
    assert [record["status"] for record in run.tasks] == ["ok"] * 2 + ["failed"] * 6, run.output
    for secret in (TOKEN, simulator.cloudstack["key"], simulator.cloudstack["secret"]):
        assert secret not in run.output
        assert secret not in repr(run.records)


# -- what goes wrong


@pytest.mark.parametrize("kind", ["cut_after", "cut_before", "bad_json", "truncated"])
@pytest.mark.parametrize("call", ["updateConfiguration", "resetConfiguration"])
def test_lost_answers(simulator, run_module, value, kind, call):
    run_module(MODULE, name="ha.tag", value="old")
    simulator.fault(kind, call)
    options = {"value": "new"} if call == "updateConfiguration" else {"state": "default"}
    result = run_module(MODULE, name="ha.tag", **options)
    assert not result.get("failed") and result["changed"] is True, result
    assert value("ha.tag") == options.get("value")
    assert run_module(MODULE, name="ha.tag", **options)["changed"] is False


def test_a_busy_server(simulator, run_module, value):
    simulator.fault("error", "updateConfiguration", name="503", status=503, descr="shutting down")
    assert run_module(MODULE, name="ha.tag", value="new")["changed"] is True
    assert value("ha.tag") == "new"


def test_one_of_many_fails(simulator, run_module, value):
    simulator.fault("error", "updateConfiguration", name="530", status=530, descr="no", object="ha.tag")
    settings = [{"name": "ha.tag", "value": "x"}, {"name": STATS, "value": 5}]
    result = run_module(MODULE, settings=settings, on_error="continue", parallel=1)
    assert result["failed"] and result["summary"] == {"declared": 2, "changed": 1, "unchanged": 0, "failed": 1, "not_attempted": 0}
    assert result["restart_required"] == [STATS]
    assert (value("ha.tag"), value(STATS)) == (None, "5")


def test_a_server_that_insists_on_post(simulator, run_module, declare):
    if simulator.release < (4, 21):
        pytest.skip("came with 4.21")
    run_module(MODULE, name="enforce.post.requests.and.timestamps", value=True)
    simulator.restart_server()
    declare(settings=[{"name": STATS, "value": 77}, {"name": RUNNING, "value": False}])


def test_wrong_credentials(run_module):
    result = run_module(MODULE, name=STATS, value=5, cloudstack_secret="815815815815")
    assert result["failed"] and "refused the credentials" in result["msg"] and "815815815815" not in repr(result)
