# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""storpool_ha against each version of the simulated CloudStack, its fake controllers and the StorPool behind it."""

from __future__ import annotations

import json
import time
from functools import partial

import pytest
from ansible_collections.storpool.cloudstack.plugins.module_utils import _runner
from conftest import CLOUDSTACKS, SOON, connection, declared, validated
from storpool_simulator.testing import Simulator

MODULE = "storpool_ha"
NODES = {"kvm11": 11, "kvm12": 12, "kvm13": 13, "hc1": 1, "hc2": 2, "hc3": 3}
PASSWORD = "bmc-secret"
PATIENCE = "60"  # seconds; on a busy machine nothing happens for some of them
NAMES = ("kvm11", "kvm12", "kvm13")
FRESH = ["configure out-of-band management", "enable out-of-band management", "prove power", "configure HA", "enable HA"]


@pytest.fixture
def simulator(cloud):
    return cloud


@pytest.fixture
def controllers(simulator):
    """The address of each host's controller."""
    return {name: host["bmc"] for name, host in simulator.hosts().items()}


@pytest.fixture
def options(controllers):
    """`options("kvm11", "kvm12", **more)` declares hosts with their controllers."""

    def declare(*names, **more):
        entries = [{"host": name, "oobm_address": controllers[name]} for name in names]
        shared = {"oobm_username": "ADMIN", "oobm_password": PASSWORD, "sp_node_ids": NODES, "wait_timeout": PATIENCE, **more}
        return {"hosts": entries, **shared}

    return declare


@pytest.fixture
def run(run_module):
    return partial(run_module, MODULE)


@pytest.fixture
def listed(simulator):
    """`listed("kvm11")` is what the server tells of a host."""
    return lambda name: simulator.cs("listHosts", name=name)[1]["host"][0]


@pytest.fixture
def ids(listed):
    return lambda name: listed(name)["id"]


def entry(result, name, among="hosts"):
    return next(one for one in result[among] if one["name"] == name)


def until(true, seconds=60.0):
    """Wait for something that the simulator does by itself."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)


# -- protect


def test_hosts_of_a_list(declare, options, listed, controllers):
    result = declare(**options(*NAMES), return_objects="all")
    assert [one["actions"] for one in result["hosts"]] == [FRESH] * 3
    assert result["summary"] == {"declared": 3, "changed": 3, "unchanged": 0, "failed": 0, "not_attempted": 0}
    host = listed("kvm12")
    assert entry(result, "kvm12")["object"] == {
        "id": host["id"], "name": "kvm12", "zone": "sofia", "cluster": "kvm1", "state": "Up", "resource_state": "Enabled",
        "oobm": {
            "enabled": True, "driver": "ipmitool", "address": controllers["kvm12"], "port": "623", "username": "ADMIN", "power": "On",
        },
        "ha": {"enabled": True, "provider": "kvmhaprovider", "state": "Available"},
    }  # fmt: skip
    assert host["hostha"] == {"haenable": True, "hastate": "Available", "haprovider": "kvmhaprovider"}
    assert PASSWORD not in json.dumps({**result, "invocation": None})


def test_a_cluster(declare, options, run, simulator, listed):
    declare(**options("kvm11", "kvm12"))
    result = run(cluster="kvm1", sp_node_ids=NODES)
    assert result["failed"] and "option oobm_address of kvm13 is needed: host kvm13 has no out-of-band management yet" in result["msg"]
    result = declare(
        **{
            **options("kvm13"),
            "hosts": [{"cluster": "kvm1"}, {"host": "kvm13", "oobm_address": options("kvm13")["hosts"][0]["oobm_address"]}],
        }
    )
    assert [one["name"] for one in result["hosts"]] == ["kvm13"], "the others were right already"
    assert result["summary"]["unchanged"] == 2
    result = run(cluster="kvm1", sp_node_ids=NODES)
    assert (result["changed"], [one["name"] for one in result["hosts"]]) == (False, list(NAMES))
    assert all(listed(name)["hostha"]["hastate"] == "Available" for name in NAMES)


def test_a_zone_without_its_hyperconverged_hosts(declare, options, run, listed):
    declare(**options(*NAMES))
    result = run(zone="sofia", sp_node_ids=NODES, on_error="continue")
    failed = [one["name"] for one in result["hosts"] if one.get("failed")]
    assert failed == ["hc1", "hc2", "hc3"] and result["summary"]["unchanged"] == 3
    assert not result["changed"] and listed("hc1")["hostha"]["haenable"] is False


def test_an_address_is_that_of_one_host(run, calls):
    result = run(cluster="kvm1", oobm_address="10.1.1.1")
    assert result["failed"] and "is that of one host, not of a cluster" in result["msg"] and calls().entries == []


# -- out-of-band management


def test_changes_of_the_controller(declare, options, run, listed, simulator, controllers):
    declare(**options("kvm11"))
    result = run(host="kvm11", oobm_port=624, sp_node_ids=NODES)
    assert "option oobm_password of kvm11 is needed: host kvm11 gets another one" in result["msg"]
    result = declare(**options("kvm11", oobm_port=624))
    assert result["hosts"][0]["actions"] == ["configure out-of-band management", "prove power"]
    assert listed("kvm11")["outofbandmanagement"]["port"] == "624"
    simulator.control("PUT", f"/cloudstack/bmc/{controllers['kvm11']}", {"password": "another-secret"})
    changes = options("kvm11", oobm_password="another-secret", update_password="always", oobm_port=624)
    result = run(**changes)
    assert result["hosts"][0]["actions"] == ["configure out-of-band management", "prove power"]
    assert result["diff"][0]["after"]["oobm_password"] == "(hidden)"
    assert run(**changes)["changed"] is True, "what cannot be compared is sent again"
    assert run(**{**changes, "update_password": "on_create"})["changed"] is False


def test_a_wrong_password_is_found_before_anything_is_enabled(run, options, listed):
    result = run(**options("kvm11", oobm_password="not-the-one"))
    assert result["failed"] and "authentication failed" in result["msg"] and "update_password: always" in result["error"]["hint"]
    assert result["hosts"][0]["actions"] == FRESH[:2] and result["hosts"][0]["not_done"] == FRESH[2:]
    assert listed("kvm11")["hostha"]["haenable"] is False
    assert "not-the-one" not in json.dumps({**result, "invocation": None})
    result = run(**options("kvm11", update_password="always"))
    assert not result.get("failed"), result["msg"]


def test_a_controller_that_is_silent_is_asked_again_and_the_task_fails_again(run, options, simulator, controllers, listed):
    run(**options("kvm11"))
    simulator.bmc(controllers["kvm11"], broken=True)
    until(lambda: listed("kvm11")["outofbandmanagement"]["powerstate"] == "Unknown")
    for _unused in range(2):
        result = run(**options("kvm11"))
        assert result["failed"] and "Unable to establish" in result["msg"] and result["changed"] is False
    simulator.bmc(controllers["kvm11"], broken=False)
    assert not run(**options("kvm11")).get("failed")


def test_the_controller_of_another_machine(run, options, simulator, controllers):
    """The address is that of a machine that is off, while the host is Up."""
    simulator.bmc("198.51.100.99", power="off", user="ADMIN", password=PASSWORD)
    entry = {"host": "kvm11", "oobm_address": "198.51.100.99"}
    for actions in (FRESH[:3], FRESH[2:3]):
        result = run(**{**options("kvm11"), "hosts": [entry]})
        assert result["failed"] and "controller of another machine" in result["msg"]
        assert result["hosts"][0]["actions"] == actions
    assert not run(**options("kvm11")).get("failed")


# -- the switches of clusters and zones


@pytest.mark.parametrize("kind", ["cluster", "zone"])
def test_switches_above_the_host(declare, run, options, simulator, listed, kind):
    declare(**options(*NAMES))
    name, identity = {"cluster": ("kvm1", listed("kvm11")["clusterid"]), "zone": ("sofia", listed("kvm11")["zoneid"])}[kind]
    for word in ("HA", "OutOfBandManagement"):
        simulator.cs_done(f"disable{word}For{kind.capitalize()}", **{f"{kind}id": identity})
    until(lambda: listed("kvm11")["outofbandmanagement"]["powerstate"] == "Disabled")
    result = declare(**options("kvm11", "kvm12"))
    (area,) = result[f"{kind}s"]
    assert area["actions"] == ["enable out-of-band management", "enable HA"]
    assert area["object"] == {"name": name, "id": identity, "oobm": True, "ha": True}
    assert any(one["after_header"] == f"{kind} {name}" and one["after"] == {"oobm": True, "ha": True} for one in result["diff"])
    others, idle = sorted(result["warnings"])
    assert others == f"HA of {kind} {name} was off; on, it also protects hosts that are not declared here: kvm13"
    assert idle.startswith("hosts kvm11, kvm12: it has no VMs")
    assert {"prove power"} == {action for one in result["hosts"] for action in one["actions"]}
    until(lambda: listed("kvm13")["hostha"]["hastate"] == "Available")


def test_a_switch_that_would_let_storage_be_fenced(run, options, simulator, listed, calls):
    run(**options("hc1", allow_hyperconverged=True))
    run(**options("kvm11"))
    simulator.cs_done("disableHAForZone", zoneid=listed("kvm11")["zoneid"])
    calls()
    result = run(**options("kvm11"))
    assert result["failed"] and result["msg"].startswith("zone sofia: HA of the zone is off"), result["msg"]
    assert result["summary"]["not_attempted"] == 1
    assert "would also let CloudStack fence hc1" in result["msg"] and calls().writes == []
    assert result["zones"][0]["error"]["allow_with"] == "allow_hyperconverged: true"
    simulator.cs_done("disableHAForHost", hostid=listed("hc1")["id"])
    assert run(**options("kvm11"))["zones"][0]["actions"] == ["enable HA"]


def test_an_area_is_left_alone_when_all_its_hosts_are_refused(run, options, simulator, listed, calls):
    simulator.cs_done("disableHAForCluster", clusterid=listed("hc1")["clusterid"])
    calls()
    result = run(**options("hc1", "hc2"), on_error="continue")
    assert result["failed"] and calls().writes == []


# -- refused


def test_hyperconverged_hosts(declare, run, options, calls):
    for check in (True, False):
        result = run(check=check, **options("kvm11", "hc1"))
        assert result["failed"] and "host hc1 is hyper-converged: a StorPool server runs on node 1 too" in result["msg"]
        assert result["error"]["allow_with"] == "allow_hyperconverged: true"
        assert result["summary"] == {"declared": 2, "changed": 0, "unchanged": 0, "failed": 1, "not_attempted": 1}
    assert calls().writes == []
    declare(**options("hc1", allow_hyperconverged=True))


def test_a_node_that_nobody_knows(run, options, calls, tmp_path, declare):
    result = run(**options("kvm11", sp_node_ids=None))
    assert "it is not known whether a StorPool server runs on host kvm11" in result["msg"] and "sp_node_ids: {kvm11: 11}" in result["msg"]
    assert calls().writes == []
    conf = tmp_path / "storpool.conf"
    conf.write_text("[kvm11]\nSP_OURID=11\n")
    declare(**options("kvm11", sp_node_ids=None, storpool_conf=str(conf)))


def test_each_entry_reads_its_own_storpool_conf(run, options, calls, tmp_path, declare):
    """The other file tells something else of each host: it would be a host that nobody knows, or that serves storage."""
    (tmp_path / "a.conf").write_text("[kvm11]\nSP_OURID=11\n[kvm12]\nSP_OURID=1\n")
    (tmp_path / "b.conf").write_text("[kvm12]\nSP_OURID=12\n")
    given = options("kvm11", "kvm12", sp_node_ids=None)
    for one, name in zip(given["hosts"], ("a", "b"), strict=True):
        one["storpool_conf"] = str(tmp_path / f"{name}.conf")
    declare(**given)
    given["hosts"][1]["storpool_conf"] = str(tmp_path / "a.conf")
    result = run(**given)
    assert "host kvm12 is hyper-converged: a StorPool server runs on node 1 too" in result["msg"]
    given["hosts"][1]["storpool_conf"] = str(tmp_path / "missing.conf")
    result = run(**given)
    assert "option storpool_conf" in result["msg"] and str(tmp_path / "missing.conf") in result["msg"]
    given["hosts"][1].update(storpool_conf=None, sp_node_ids={"kvm11": 12})
    given["hosts"][0]["sp_node_ids"] = NODES
    result = run(**given)
    assert "option sp_node_ids.kvm11 of kvm12: 12 contradicts 11, which another entry gives; give the host one node id" in result["msg"]
    assert calls().writes == []


def test_a_host_alone_in_its_cluster(tmp_path):
    topology = tmp_path / "topology.json"
    clusters = [{"id": "a", "name": "sofia-a", "clients": [11]}]
    locations = [{"id": "sf", "name": "sofia", "clusters": clusters}]
    topology.write_text(json.dumps({"locations": locations, "cloudstack": {"clusters": 1, "hosts_per_cluster": 1}}))
    with Simulator(tmp_path / "state", cloudstack=CLOUDSTACKS[-1], topology=str(topology), assume=SOON) as lonely:
        host = lonely.hosts()["kvm11"]
        shared = {"oobm_username": "ADMIN", "oobm_password": PASSWORD, "sp_node_ids": NODES, "oobm_address": host["bmc"], "host": "kvm11"}

        def run(**more):
            given = {**connection(lonely, MODULE), **shared, **more}
            return _runner.execute(declared(MODULE), validated(MODULE, given), False, False)

        result = run()
        assert result["failed"] and "host kvm11 is the only one of cluster kvm1" in result["msg"]
        assert lonely.calls()["writes"] == 0
        result = run(allow_single_host_cluster=True, wait=False)
        assert not result.get("failed"), result["msg"]
        result = run(allow_single_host_cluster=True, wait_timeout="0")
        assert result["failed"] and "no other KVM host of cluster kvm1 is Up" in result["msg"]


def test_a_host_in_maintenance(run, options, simulator, calls, listed, declare):
    simulator.cs_done("prepareHostForMaintenance", id=listed("kvm11")["id"])
    until(lambda: listed("kvm11")["resourcestate"] == "Maintenance")
    calls()
    result = run(**options("kvm11", recover=True))
    assert "is in maintenance (Maintenance) and so cannot become Available" in result["msg"] and calls().writes == []
    declare(**options("kvm11", wait=False))
    assert listed("kvm11")["resourcestate"] == "Maintenance"


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"host": "kvm99"}, "option host: 'kvm99' does not exist in CloudStack"),
        ({"host": None, "cluster": "none"}, "option cluster: 'none' does not exist in CloudStack, or has no KVM hosts"),
        ({"host": None, "zone": "none"}, "option zone: 'none' does not exist in CloudStack"),
        ({"host": None}, "option host is needed"),
        ({"host": " "}, "option host: ' ' is empty"),
        ({"host": "kvm11", "cluster": "converged"}, "option host: 'kvm11' does not exist"),
        ({"host": "kvm11", "ha_provider": "nobody"}, "option ha_provider: 'nobody' does not exist for KVM; there are: KVMHAProvider"),
        ({"host": "kvm11", "oobm_port": 70000}, "is no port"),
        ({"host": "kvm11", "update_password": "always"}, "needs oobm_password"),
        ({"host": "kvm11", "sp_node_ids": {"kvm11": "x"}}, "is no StorPool node id"),
        ({"host": "kvm11", "wait_timeout": "soon"}, "is not a duration"),
    ],
)
def test_what_cannot_be_meant(run, calls, controllers, wrong, problem):
    options = {"oobm_username": "ADMIN", "oobm_password": PASSWORD, "sp_node_ids": NODES}
    if wrong.get("host") == "kvm11":
        options["oobm_address"] = controllers["kvm11"]
    if wrong.get("update_password"):
        del options["oobm_password"]
    result = run(**{**options, **wrong})
    assert result["failed"] and problem in result["msg"], result["msg"]
    assert calls().writes == []


def test_declared_twice(run, ids):
    result = run(hosts=[{"host": "kvm11"}, {"host": ids("kvm11")}], sp_node_ids=NODES)
    assert result["failed"] and "is declared twice, also as kvm11" in result["msg"]


# -- off


def test_disabled_and_absent(declare, options, listed):
    assert declare(host="kvm11", state="disabled")["changed"] is False, "it never was configured"
    declare(**options(*NAMES))
    result = declare(host="kvm11", state="disabled")
    assert result["hosts"][0]["actions"] == ["disable HA"] and "clusters" not in result
    assert listed("kvm11")["hostha"]["hastate"] == "Disabled" and listed("kvm11")["outofbandmanagement"]["enabled"] is True
    result = declare(cluster="kvm1", state="absent")
    assert [one["actions"] for one in result["hosts"]] == [
        ["disable out-of-band management"],
        ["disable HA", "disable out-of-band management"],
        ["disable HA", "disable out-of-band management"],
    ]
    host = listed("kvm12")
    assert (host["hostha"]["haenable"], host["outofbandmanagement"]["enabled"]) == (False, False)
    result = declare(cluster="kvm1", sp_node_ids=NODES, wait_timeout=PATIENCE)
    assert result["hosts"][0]["actions"] == ["enable out-of-band management", "prove power", "enable HA"], "CloudStack kept the rest"


# -- waiting


def test_what_is_missing_is_told_of_each_host(run, options, simulator):
    simulator.agent("kvm12", "down")
    declared = options("kvm11", "kvm12")
    declared["hosts"][1]["wait_timeout"] = "1"
    result = run(**declared)
    assert result["failed"] and result["summary"]["failed"] == 1 and result["summary"]["changed"] == 1
    error = entry(result, "kvm12")["error"]
    assert error["type"] == "deadline" and "its agent is not connected" in error["message"]
    assert entry(result, "kvm12")["object"]["ha"]["state"] != "Available", "it is told as it is"
    simulator.agent("kvm12", "up")
    result = run(**options("kvm11", "kvm12"))
    assert (result.get("failed"), result["changed"]) == (None, False)


def test_not_waiting(run, options, listed, simulator):
    simulator.background(False)
    result = run(**options("kvm11", wait=False))
    assert not result.get("failed") and result["hosts"][0]["object"]["ha"] == {
        "enabled": True,
        "provider": "kvmhaprovider",
        "state": "Disabled",
    }
    simulator.background(True)


# -- warnings


def test_warnings(run, options, simulator):
    simulator.vm("web", "kvm11")
    result = run(check=True, **options("kvm11", "kvm12"))
    assert len(result["warnings"]) == 1 and result["warnings"][0].startswith("host kvm12: it has no VMs"), result["warnings"]
    result = run(**options("kvm11", "kvm12"))
    assert len(result["warnings"]) == 1
    assert "warnings" not in run(**options("kvm11", "kvm12")), "only when a host is about to be protected"


def test_a_warning_about_several_pools(run, run_module, options, simulator):
    simulator.vm("web", "kvm11")
    made = run_module("cloudstack_storage_pool", name="second", zone="sofia", template="hybrid")
    assert not made.get("failed"), made
    (warning,) = run(check=True, **options("kvm11"))["warnings"]
    assert "2 pools have a heartbeat (second, storpool-nvme)" in warning and "false the last one" in warning
    made = run_module("cloudstack_settings", name="kvm.ha.fence.on.storage.heartbeat.failure", value=True)
    assert not made.get("failed"), made
    assert "changed after the management servers were started" in run(check=True, **options("kvm11"))["warnings"][0]
    simulator.restart_server()
    assert "warnings" not in run(check=True, **options("kvm11"))


# -- after fencing


@pytest.fixture
def fenced(simulator, options, run, listed, controllers):
    """kvm11 was protected, lost its power, and has been fenced."""
    simulator.vm("web", "kvm11")
    for name, value in (("activity.check.max.attempts", 2), ("activity.check.interval", 1), ("recover.wait.period", 1)):
        assert simulator.cs("updateConfiguration", name=f"kvm.ha.{name}", value=value)[0] == 200
    result = run(**options(*NAMES))
    assert not result.get("failed"), result["msg"]
    simulator.bmc(controllers["kvm11"], power="off")
    until(lambda: listed("kvm11")["hostha"]["hastate"] == "Fenced" and listed("kvm11")["resourcestate"] == "Maintenance")


def heal(simulator, controllers, listed):
    simulator.bmc(controllers["kvm11"], power="on")
    simulator.client(11, "running")
    simulator.agent("kvm11", "up")
    until(lambda: listed("kvm11")["state"] == "Up" and listed("kvm11")["outofbandmanagement"]["powerstate"] == "On")


def test_recovery(fenced, declare, run, options, simulator, controllers, listed, calls):
    calls()
    for recover in (True, False):
        result = run(**options(*NAMES, recover=recover))
        assert result["failed"] and "host kvm11 was fenced and is not well yet: its power is off, its agent is Down" in result["msg"]
    heal(simulator, controllers, listed)
    simulator.client(11, "down")
    result = run(**options(*NAMES, recover=True))
    assert "is not well yet: its StorPool client is down" in result["msg"]
    simulator.client(11, "running")
    result = run(**options(*NAMES))
    assert result["failed"] and result["error"]["allow_with"] == "recover: true"
    assert calls().writes == []
    result = declare(**options(*NAMES, recover=True))
    assert [one["actions"] for one in result["hosts"]] == [["cancel maintenance", "enable HA"]]
    host = listed("kvm11")
    assert (host["resourcestate"], host["hostha"]["hastate"], host["hostha"]["haenable"]) == ("Enabled", "Available", True)
    history = [step["to"] for step in simulator.hosts()["kvm11"]["ha"]["history"]]
    assert history[-4:] == ["Fenced", "Ineligible", "Disabled", "Available"], "it was enabled after CloudStack had looked"


@pytest.mark.parametrize("kind", ["cut_after", "cut_before", "bad_json"])
def test_recovery_with_lost_answers(fenced, run, options, simulator, controllers, listed, kind):
    heal(simulator, controllers, listed)
    for call in ("cancelHostMaintenance", "enableHAForHost"):
        simulator.fault(kind, call)
    result = run(**options("kvm11", recover=True))
    assert not result.get("failed"), result["msg"]
    assert result["hosts"][0]["actions"] == ["cancel maintenance", "enable HA"]
    assert listed("kvm11")["hostha"]["hastate"] == "Available"


def test_recovery_that_somebody_began(fenced, declare, options, simulator, controllers, listed):
    heal(simulator, controllers, listed)
    simulator.cs_done("cancelHostMaintenance", id=listed("kvm11")["id"])
    until(lambda: listed("kvm11")["hostha"]["haenable"] is False)
    assert declare(**options("kvm11"))["hosts"][0]["actions"] == ["enable HA"], "it needs no recover any more"


# -- what goes wrong (each call in each way: tests/faults)


@pytest.mark.parametrize("effect", [True, False])
def test_a_lost_job(run, options, simulator, listed, effect):
    simulator.fault("job_lost", "enableHAForHost", effect=effect)
    result = run(**options("kvm11"))
    if not effect:
        # It is never sent a second time, because what is lost may still come; the next run does it.
        assert result["failed"] and result["hosts"][0]["unknown"] == ["enable HA"], result
        result = run(**options("kvm11"))
    assert not result.get("failed"), result["msg"]
    assert listed("kvm11")["hostha"]["hastate"] == "Available"


def test_a_failing_job_tells_no_secret(run, options, simulator):
    text = f"ipmitool -U ADMIN -P {PASSWORD} chassis power status failed with error: no route"
    simulator.fault("job_fails", "issueOutOfBandManagementPowerAction", code=530, text=text)
    result = run(**options("kvm11"))
    assert result["failed"] and "no route" in result["msg"] and PASSWORD not in json.dumps({**result, "invocation": None})
