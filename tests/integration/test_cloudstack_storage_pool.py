# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""cloudstack_storage_pool against each version of the simulated CloudStack and the StorPool behind it."""

from __future__ import annotations

import json

import pytest

MODULE = "cloudstack_storage_pool"
TOKEN = "815815815815815815"  # nobody's


@pytest.fixture
def simulator(cloud):
    return cloud


@pytest.fixture
def pools(simulator):
    """`pools()` is what the server lists, by name."""
    return lambda: {one["name"]: one for one in simulator.cs("listStoragePools")[1].get("storagepool", [])}


def hidden(simulator, *results):
    text = json.dumps(results)
    assert simulator.token not in text and simulator.cloudstack["secret"] not in text and TOKEN not in text


NEW = {"name": "archive", "zone": "sofia", "template": "hybrid"}


# -- make


def test_a_pool_is_made(declare, pools, simulator):
    result = declare(**NEW, tags=["storpool", "hybrid"], capacity="10T")
    assert result["pools"][0]["actions"] == ["create"]
    made = pools()["archive"]
    assert result["pools"][0]["object"] == {
        "id": made["id"], "name": "archive", "zone": "sofia", "state": "Up", "tags": ["hybrid", "storpool"],
        "template": "hybrid", "api": f"{simulator.host}:{simulator.port}", "capacity": 10 << 40,
    }  # fmt: skip
    assert made["id"].startswith("hybrid;") and made["provider"] == "StorPool"
    assert made.get("capacitybytes", 10 << 40) == 10 << 40  # told from 4.22 on
    hidden(simulator, result)


def test_what_is_not_said_comes_from_storpool_and_the_name(declare, pools, simulator):
    result = declare(**NEW)
    capacity = next(one["stored"]["capacity"] for one in simulator.get("VolumeTemplatesStatus")[1]["data"] if one["name"] == "hybrid")
    assert result["pools"][0]["object"]["capacity"] == capacity == pools()["archive"].get("capacitybytes", capacity)
    assert pools()["archive"]["tags"] == "archive"


def test_a_pool_made_without_tags(declare, pools):
    """CloudStack gives it its name as tag, which goes again."""
    result = declare(**NEW, tags=[])
    assert result["pools"][0]["actions"] == ["create", "update tags"] and not pools()["archive"].get("tags")


def test_several_at_once(declare, pools):
    result = declare(pools=[{"name": "a", "template": "hybrid"}, {"name": "b", "template": "hdd", "tags": ["slow"]}], zone="sofia")
    assert result["summary"]["changed"] == 2
    assert {"a", "b"} <= pools().keys()


@pytest.mark.parametrize("state", ["enabled", "disabled", "maintenance"])
def test_made_into_a_state(declare, pools, state):
    result = declare(**NEW, state=state)
    assert pools()["archive"]["state"] == {"enabled": "Up", "disabled": "Disabled", "maintenance": "Maintenance"}[state]
    assert result["pools"][0]["actions"][0] == "create"


# -- prove


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"template": "no-such"}, "option template: 'no-such' is no template of the StorPool at"),
        ({"pool_auth_token": TOKEN}, r"option pool_auth_token: '(hidden)' is refused by StorPool at"),
        # As long as it asks an address where nobody is; others may take their time.
        ({"pool_api_http": "127.0.0.1:1", "sp_timeout": 1}, "option pool_api_http: '127.0.0.1:1' is not where a StorPool answers"),
        ({"zone": "no-such"}, "option zone: 'no-such' does not exist in CloudStack; there are: sofia"),
    ],
)
def test_which_one_is_wrong(run_module, calls, simulator, options, problem):
    for check in (True, False):
        result = run_module(MODULE, check=check, **{**NEW, **options})
        assert result["failed"] and problem in result["msg"], result["msg"]
        hidden(simulator, {key: value for key, value in result.items() if key != "invocation"})
    assert calls().writes == []


def test_a_template_without_placement_would_be_no_use(run_module, simulator, do):
    do("VolumeTemplateCreate", {"name": "bare"})
    result = run_module(MODULE, **{**NEW, "template": "bare"})
    assert "has no replication or placement" in result["msg"]


def test_two_pools_on_one_template(run_module, calls):
    result = run_module(MODULE, name="second", zone="sofia", template="nvme")
    assert result["failed"] and result["error"]["pool"] == "storpool-nvme"
    assert "is that of storage pool storpool-nvme already" in result["msg"]
    assert calls().writes == []


def test_a_pool_that_exists_is_proved(run_module, simulator, do):
    result = run_module(MODULE, name="storpool-nvme")
    assert result["changed"] is False and result["pools"][0]["storpool"] == {"verified": True}, result
    assert result["pools"][0]["object"]["template"] == "nvme"
    hidden(simulator, result)
    do("VolumeTemplateUpdate/nvme", {"rename": "nvme-2"})
    result = run_module(MODULE, name="storpool-nvme")
    assert result["failed"] and "cannot work" in result["msg"] and "has no template nvme" in result["msg"]
    result = run_module(MODULE, name="storpool-nvme", state="disabled")
    assert result["changed"] is True and "has no template nvme" in result["warnings"][0]


def test_what_cannot_be_changed(run_module, calls, simulator):
    for options, problem in (
        ({"template": "hybrid"}, "was made with template nvme, not hybrid"),
        ({"pool_api_http": "10.9.9.9:81"}, "was made with pool_api_http"),
        ({"pool_auth_token": TOKEN}, "was made with another token"),
    ):
        result = run_module(MODULE, name="storpool-nvme", **options)
        assert result["failed"] and problem in result["msg"], result["msg"]
        hidden(simulator, result)
    assert calls().writes == []


# -- change


def test_tags_and_names(declare, pools):
    identity = pools()["storpool-nvme"]["id"]
    declare(name="storpool-nvme", tags=["b", "a"])
    assert sorted(pools()["storpool-nvme"]["tags"].split(",")) == ["a", "b"]
    result = declare(name="fast", renamed_from="storpool-nvme", tags=["c"])
    assert result["pools"][0]["actions"] == ["update rename and tags"]
    assert pools()["fast"]["id"] == identity
    declare(id=identity, name="faster")
    assert "faster" in pools()
    declare(id=identity, tags=[])
    assert not pools()["faster"].get("tags")


def test_states(declare, pools):
    for state, steps, becomes in (
        ("disabled", ["disable"], "Disabled"),
        ("maintenance", ["enable", "maintain"], "Maintenance"),
        ("disabled", ["end maintenance", "disable"], "Disabled"),
        ("enabled", ["enable"], "Up"),
        ("maintenance", ["maintain"], "Maintenance"),
        ("enabled", ["end maintenance"], "Up"),
    ):
        result = declare(name="storpool-nvme", state=state)
        assert result["pools"][0]["actions"] == steps
        assert pools()["storpool-nvme"]["state"] == becomes
        assert result["pools"][0]["object"]["state"] == becomes


# -- delete


def test_delete(declare, run_module, pools, calls):
    declare(**NEW)
    calls()
    result = run_module(MODULE, name="archive", state="absent")
    assert result["failed"] and result["error"]["allow_with"] == "maintenance_first: true" and calls().writes == []
    declare(name="archive", state="maintenance")
    assert declare(name="archive", state="absent")["pools"][0]["actions"] == ["delete"]
    assert "archive" not in pools()
    declare(**NEW)
    assert declare(name="archive", state="absent", maintenance_first=True, forced=True)["pools"][0]["actions"] == ["maintain", "delete"]
    assert "archive" not in pools()


@pytest.mark.parametrize("kind", ["snapshots", "template snapshots"])
def test_a_refused_deletion_is_explained(declare, run_module, simulator, kind):
    declare(**NEW, state="maintenance")
    text = f"This primary storage cannot be deleted because it currently contains one or more {kind}."
    simulator.fault("error", "deleteStoragePool", name="530", status=530, descr=text)
    result = run_module(MODULE, name="archive", state="absent")
    assert result["failed"] and "delete" in result["error"]["hint"], result


# -- what goes wrong


@pytest.mark.parametrize("kind", ["cut_after", "cut_before", "bad_json"])
@pytest.mark.parametrize(
    "call", ["createStoragePool", "enableStorageMaintenance", "deleteStoragePool", "updateStoragePool", "cancelStorageMaintenance"]
)
def test_lost_answers(run_module, simulator, pools, kind, call):
    def do(**options):
        result = run_module(MODULE, **options)
        assert not result.get("failed"), result
        return result

    simulator.fault(kind, call)
    result = do(**NEW, state="maintenance")
    assert result["pools"][0]["actions"][:1] == ["create"] and len(pools()) == 2
    assert pools()["archive"]["state"] == "Maintenance"
    do(name="archive", state="enabled", tags=["x"])
    assert (pools()["archive"]["state"], pools()["archive"]["tags"]) == ("Up", "x")
    do(name="archive", state="absent", maintenance_first=True)
    assert "archive" not in pools()
    assert simulator.faults()[0]["hits"] == 1


@pytest.mark.parametrize("effect", [True, False])
def test_a_lost_job(run_module, simulator, pools, effect):
    simulator.fault("job_lost", "enableStorageMaintenance", effect=effect)
    result = run_module(MODULE, name="storpool-nvme", state="maintenance")
    if not effect:
        # It is never sent a second time, because what is lost may still come; the next run does it.
        assert result["failed"] and result["pools"][0]["unknown"] == ["maintain"], result
        result = run_module(MODULE, name="storpool-nvme", state="maintenance")
    assert not result.get("failed") and result["changed"] is True, result
    assert pools()["storpool-nvme"]["state"] == "Maintenance"


def test_a_job_that_fails(run_module, simulator, pools):
    simulator.fault("job_fails", "enableStorageMaintenance", code=530, text="hosts do not answer")
    result = run_module(MODULE, name="storpool-nvme", state="maintenance")
    assert result["failed"] and "hosts do not answer" in result["msg"]


@pytest.mark.parametrize("in_process", [True, False])
def test_no_token_in_any_output(playbook, simulator, in_process):
    if simulator.cloudstack["version"] not in ("4.19.3", "4.22.0"):
        pytest.skip("the oldest and the newest show it")
    simulator.fault("error", "createStoragePool", name="530", status=530, descr=f"cannot reach {simulator.token}")
    module = f"storpool.cloudstack.{MODULE}"
    content = [
        {"name": "Refused", module: NEW},
        {"name": "New", module: {**NEW, "pool_auth_token": "{{ lookup('env', 'SP_AUTH_TOKEN') }}"}},
        {"name": "There", module: {"name": "storpool-nvme", "state": "enabled"}},
        {"name": "Wrong", module: {"pools": [{**NEW, "name": "x", "template": "hdd", "pool_auth_token": "{{ lookup('env', 'WRONG') }}"}]}},
        {"name": "Wrong option", module: {"pools": [{**NEW, "pool_auth_token": "{{ lookup('env', 'WRONG') }}"}], "x": 1}},
    ]
    run = playbook([{**task, "ignore_errors": True} for task in content], "-vvv", in_process=in_process, diff=True, env={"WRONG": TOKEN})
    assert [record["status"] for record in run.tasks] == ["failed", "ok", "ok", "failed", "failed"], run.output
    for secret in (TOKEN, simulator.token, simulator.cloudstack["key"], simulator.cloudstack["secret"]):
        assert secret not in run.output
        assert secret not in repr(run.records)
