# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""storpool_ha_info against each version of the simulated CloudStack: the same verdicts, reasons and warnings on all of them.

Nothing happens by itself here but when a test lets time pass: the simulator's clock is stopped, whatever a test takes.
"""

from __future__ import annotations

import json
from functools import partial

import pytest
from conftest import SOON

MODULE = "storpool_ha_info"
KVM = ("kvm11", "kvm12", "kvm13")
NODES = {"kvm11": 11, "kvm12": 12, "kvm13": 13, "hc1": 1, "hc2": 2, "hc3": 3}
FENCE = "kvm.ha.fence.on.storage.heartbeat.failure"
LOOK = SOON["poll_seconds"]  # of the simulator's clock, from one look at the hosts to the next
LESS = LOOK / 2  # in which there is one look at most: some states last from one to the next
A_WHILE = 20 * LOOK
PASSWORD = "bmc-secret"


@pytest.fixture
def simulator(cloud):
    stand_still(cloud)
    yield cloud
    cloud.background(True)


def stand_still(simulator):
    simulator.background(False)
    simulator.stop_clock()


class World:
    """The simulated hosts, as these tests handle them."""

    def __init__(self, simulator):
        self.sim = simulator
        self.rows = {row["name"]: row for row in self.ok("listHosts")["host"]}

    def ok(self, command, **params):
        status, content = self.sim.cs(command, **params)
        assert status == 200, content
        return content

    def id(self, name, key="id"):
        return self.rows[name][key]

    def pass_time(self, seconds=A_WHILE):
        self.sim.background(True)
        self.sim.advance(seconds)
        self.sim.background(False)

    def protect(self, *names, instances=True):
        """Configure and enable all that a protected host needs; an instance runs on each."""
        hosts = self.sim.hosts()
        for name in names:
            oobm = {"driver": "ipmitool", "address": hosts[name]["bmc"], "port": 623, "username": "ADMIN", "password": PASSWORD}
            self.ok("configureOutOfBandManagement", hostid=self.id(name), **oobm)
            self.sim.cs_done("enableOutOfBandManagementForHost", hostid=self.id(name))
            self.sim.cs_done("configureHAForHost", hostid=self.id(name), provider="KVMHAProvider")
            self.sim.cs_done("enableHAForHost", hostid=self.id(name))
            if instances:
                self.sim.vm(f"vm-{name}", name)
        self.pass_time()
        self.sim.reset_calls()

    def state(self, name):
        return self.ok("listHosts", name=name)["host"][0]["hostha"]["hastate"]

    def until(self, name, state, limit=120.0):
        passed = 0.0
        while self.state(name) != state:
            assert passed < limit, f"{name} is {self.state(name)}"
            self.pass_time(LESS)
            passed += LESS

    def faster(self):
        """Two checks instead of ten, and no long waits."""
        for name, value in {"activity.check.max.attempts": 2, "activity.check.interval": 5, "recover.wait.period": 20}.items():
            self.ok("updateConfiguration", name=f"kvm.ha.{name}", value=value)

    def lose_agent(self, name="kvm11"):
        self.sim.agent(name, "down")

    def lose_client(self, name="kvm11"):
        place = self.sim.hosts()[name]["storpool"]
        self.sim.client(place["client"], "down", place["cluster"])

    def break_controller(self, name="kvm11", **more):
        self.sim.bmc(self.sim.hosts()[name]["bmc"], broken=True, **more)


@pytest.fixture
def world(simulator):
    return World(simulator)


@pytest.fixture
def ask(run_module, calls):
    """`ask(**options)` returns the result; nothing may be written, and check mode has to tell the same."""

    def once(**options):
        options.setdefault("sp_node_ids", NODES)
        calls()
        result = run_module(MODULE, **options)
        made = calls()
        assert not result.get("failed"), result
        assert (made.writes, result["changed"], result["api"]["reads"], result["api"]["writes"]) == ([], False, len(made.reads), 0)
        said = run_module(MODULE, check=True, **options)
        assert {**said, "api": None} == {**result, "api": None}
        calls()
        return result

    return once


def codes(result, name="kvm11", kind="reasons"):
    return [one["code"] for one in host_of(result, name)[kind]]


def host_of(result, name="kvm11"):
    return next(one for one in result["hosts"] if one["name"] == name)


# -- a zone from nothing to protected


def test_a_fresh_zone(ask):
    result = ask(zone="sofia")
    assert [one["name"] for one in result["hosts"]] == ["hc1", "hc2", "hc3", *KVM]
    assert codes(result) == ["oobm_not_configured", "ha_not_configured"]
    assert codes(result, "hc1") == ["oobm_not_configured", "ha_not_configured", "hyperconverged"]
    assert result["summary"]["status"] == "critical"
    assert (result["summary"]["hosts"], result["summary"]["protected"], result["summary"]["not_protected"]) == (6, 0, 6)
    assert result["summary"]["reasons"] == {"oobm_not_configured": 6, "ha_not_configured": 6, "hyperconverged": 3}
    assert result["summary"]["ha_states"] == {"Disabled": 6}
    assert [(one["name"], one["type"], one["state"]) for one in result["pools"]] == [("storpool-nvme", "StorPool", "Up")]


def test_a_protected_cluster(ask, world):
    world.protect(*KVM)
    result = ask(cluster="kvm1")
    assert result["summary"] == {
        "status": "ok",
        "hosts": 3,
        "protected": 3,
        "not_protected": 0,
        "protected_with_warnings": 0,
        "not_protected_hosts": [],
        "ha_states": {"Available": 3},
        "reasons": {},
        "warnings": {},
    }
    assert "warnings" not in result
    host = host_of(result)
    known = {
        "zone": "sofia", "cluster": "kvm1", "pod": "pod1", "state": "Up", "resource_state": "Enabled",
        "version": f"{world.sim.cloudstack['version']}.0", "protected": True, "eligible": True,
        "ha_enabled": True, "ha_state": "Available", "ha_provider": "kvmhaprovider",
        "node_id": 11, "node_id_from": "sp_node_ids", "storpool_cluster": "sf.a", "client_state": "running", "hyperconverged": False,
        "peers": 2, "instances": True, "in_force": True, "reasons": [], "warnings": [],
    }  # fmt: skip
    assert {key: host[key] for key in known} == known
    address = world.sim.hosts()["kvm11"]["bmc"]
    assert host["oobm"] == {
        "enabled": True, "power": "On", "driver": "ipmitool", "address": address, "port": "623", "username": "ADMIN",
    }  # fmt: skip
    assert PASSWORD not in json.dumps(result) and "b****" not in json.dumps(result)


def test_an_idle_host_is_protected_with_a_warning(ask, world):
    world.protect(*KVM, instances=False)
    world.sim.vm("web", "kvm11")
    result = ask(cluster="kvm1")
    assert [codes(result, name, "warnings") for name in KVM] == [[], ["no_instances"], ["no_instances"]]
    assert (result["summary"]["status"], result["summary"]["protected"], result["summary"]["protected_with_warnings"]) == ("warning", 3, 2)
    assert len(result["warnings"]) == 1 and result["warnings"][0].startswith("no_instances: kvm12, kvm13: it has no VMs")


def test_hyperconverged_hosts_when_allowed(ask, world):
    world.protect("hc1", "hc2", "hc3")
    assert codes(ask(cluster="converged"), "hc1") == ["hyperconverged"]
    result = ask(cluster="converged", allow_hyperconverged=True)
    assert (result["summary"]["protected"], codes(result, "hc1", "warnings")) == (3, ["hyperconverged"])


# -- states of host HA, driven by the clock


def suspect(world):
    """Right after a look that found the agent gone, and one that had no answer yet."""
    world.lose_agent()
    world.until("kvm11", "Suspect")


def checking(world):
    world.lose_agent()
    world.until("kvm11", "Checking")


def degraded(world):
    world.faster()
    world.lose_agent()
    world.until("kvm11", "Degraded")


def recovering(world):
    world.faster()
    world.lose_agent()
    world.lose_client()
    world.break_controller()
    world.until("kvm11", "Recovering")


def recovered(world):
    world.faster()
    world.lose_agent()
    world.lose_client()
    world.until("kvm11", "Recovered")


def fencing(world):
    world.faster()
    world.break_controller(power="off")
    world.until("kvm11", "Fencing")


def fenced(world):
    world.faster()
    world.sim.bmc(world.sim.hosts()["kvm11"]["bmc"], power="off")
    world.until("kvm11", "Fenced")
    world.pass_time()


def ineligible(world):
    for name in ("kvm12", "kvm13"):
        world.lose_agent(name)
    world.until("kvm11", "Ineligible")


def just_enabled(world):
    world.sim.cs_done("disableHAForHost", hostid=world.id("kvm11"))
    world.sim.cs_done("enableHAForHost", hostid=world.id("kvm11"))


def switched_off(world):
    world.sim.cs_done("disableHAForHost", hostid=world.id("kvm11"))


STATES = {
    suspect: ("Suspect", {"agent_down", "ha_suspect"}),
    checking: ("Checking", {"agent_down", "ha_checking"}),
    degraded: ("Degraded", {"agent_down", "ha_degraded"}),
    recovering: ("Recovering", {"agent_down", "client_down", "power_unknown", "ha_recovering"}),
    recovered: ("Recovered", {"agent_down", "client_down", "ha_recovered"}),
    fencing: ("Fencing", {"agent_down", "client_down", "power_unknown", "ha_fencing"}),
    fenced: ("Fenced", {"agent_down", "client_down", "maintenance", "power_off", "ha_fenced"}),
    ineligible: ("Ineligible", {"no_peer", "ha_ineligible"}),
    just_enabled: ("Disabled", {"ha_disabled"}),
    switched_off: ("Disabled", {"ha_not_enabled"}),
}


@pytest.mark.parametrize("drive", STATES, ids=lambda drive: drive.__name__)
def test_states(ask, world, drive):
    state, expected = STATES[drive]
    world.protect(*KVM)
    drive(world)
    result = ask(cluster="kvm1")
    host = host_of(result)
    assert (host["ha_state"], host["protected"], set(codes(result))) == (state, False, expected)
    assert all(one["text"] and one["do"] for one in host["reasons"])
    assert "kvm11" in result["summary"]["not_protected_hosts"]
    assert result["summary"]["ha_states"][state] >= 1


def test_back_from_fenced(ask, world):
    """CloudStack switches HA off for a fenced host that comes back; the reason says what to do."""
    world.protect(*KVM)
    fenced(world)
    world.sim.bmc(world.sim.hosts()["kvm11"]["bmc"], power="on")
    world.sim.agent("kvm11", "up")
    place = world.sim.hosts()["kvm11"]["storpool"]
    world.sim.client(place["client"], "running", place["cluster"])
    world.sim.cs_done("cancelHostMaintenance", id=world.id("kvm11"))
    world.pass_time()
    result = ask(hosts=["kvm11"])
    assert codes(result) == ["ha_not_enabled"]
    assert "storpool_ha" in host_of(result)["reasons"][0]["do"]


# -- what else takes protection away


def client_down(world):
    world.lose_client()


def controller_broken(world):
    world.break_controller()


def maintenance(world):
    world.sim.cs_done("prepareHostForMaintenance", id=world.id("kvm11"))
    world.pass_time()


def disabled(world):
    world.ok("updateHost", id=world.id("kvm11"), allocationstate="Disable")


def declared_degraded(world):
    world.lose_agent()
    world.pass_time()
    world.sim.cs_done("declareHostAsDegraded", id=world.id("kvm11"))


def controller_switched_off(world):
    world.sim.cs_done("disableOutOfBandManagementForHost", hostid=world.id("kvm11"))


def controllers_of_the_cluster_off(world):
    world.sim.cs_done("disableOutOfBandManagementForCluster", clusterid=world.id("kvm11", "clusterid"))


def controllers_of_the_zone_off(world):
    world.sim.cs_done("disableOutOfBandManagementForZone", zoneid=world.id("kvm11", "zoneid"))


def ha_of_the_cluster_off(world):
    world.sim.cs_done("disableHAForCluster", clusterid=world.id("kvm11", "clusterid"))


def ha_of_the_zone_off(world):
    world.sim.cs_done("disableHAForZone", zoneid=world.id("kvm11", "zoneid"))


def pool_in_maintenance(world):
    world.sim.cs_done("enableStorageMaintenance", id=world.ok("listStoragePools")["storagepool"][0]["id"])


AGAINST = {
    client_down: {"client_down"},
    controller_broken: {"power_unknown"},
    maintenance: {"maintenance", "ha_ineligible"},
    disabled: {"host_disabled", "ha_ineligible"},
    declared_degraded: {"agent_down", "declared_degraded", "ha_ineligible"},
    controller_switched_off: {"oobm_not_enabled", "ha_ineligible"},
    controllers_of_the_cluster_off: {"oobm_off_in_cluster", "ha_ineligible"},
    controllers_of_the_zone_off: {"oobm_off_in_zone", "ha_ineligible"},
    ha_of_the_cluster_off: {"ha_off_in_cluster"},
    ha_of_the_zone_off: {"ha_off_in_zone"},
    pool_in_maintenance: {"pool_not_up"},
}


@pytest.mark.parametrize("spoil", AGAINST, ids=lambda spoil: spoil.__name__)
def test_what_takes_protection_away(ask, world, spoil):
    world.protect(*KVM)
    spoil(world)
    world.pass_time()
    result = ask(hosts=["kvm11"])
    assert set(codes(result)) == AGAINST[spoil]
    assert host_of(result)["eligible"] is not bool({"ha_ineligible", "ha_off_in_cluster", "ha_off_in_zone"} & AGAINST[spoil])


def test_a_client_that_is_down_leaves_the_state_as_it_is(ask, world):
    """CloudStack does not look at the client while the agent answers: only the verdict tells."""
    world.protect(*KVM)
    world.lose_client()
    world.pass_time(60)
    host = host_of(ask(hosts=["kvm11"]))
    assert (host["ha_state"], host["eligible"], host["client_state"], host["protected"]) == ("Available", True, "down", False)


# -- the fence setting


def second_pool(world):
    url = f"SP_API_HTTP={world.sim.host}:{world.sim.port};SP_AUTH_TOKEN={world.sim.token};SP_TEMPLATE=hybrid"
    zone = world.id("kvm11", "zoneid")
    world.ok(
        "createStoragePool", name="hybrid", zoneid=zone, provider="StorPool", scope="zone", hypervisor="KVM", url=url, capacitybytes=1 << 40
    )


def test_the_setting_waits_for_a_restart(ask, world):
    world.protect(*KVM)
    second_pool(world)
    result = ask(cluster="kvm1")
    assert codes(result, kind="warnings") == ["several_pools"]
    assert (result["fence_setting"]["value"], result["fence_setting"]["in_force"]) == (False, True)
    world.ok("updateConfiguration", name=FENCE, value="true")
    result = ask(cluster="kvm1")
    assert world.sim.in_force()[FENCE] == "false"
    assert result["fence_setting"] == {"name": FENCE, "value": True, "in_force": False, "restart_required": True, "ignored": {}}
    assert codes(result, kind="warnings") == ["fence_waits", "several_pools"]
    assert host_of(result)["in_force"] is False and host_of(result)["protected"] is True
    world.sim.restart_server("ms1")
    assert ask(cluster="kvm1")["fence_setting"]["in_force"] is False, "one server works with the old value"
    world.sim.restart_server()
    assert world.sim.in_force()[FENCE] == "true"
    result = ask(cluster="kvm1")
    assert (result["fence_setting"]["in_force"], result["fence_setting"]["restart_required"]) == (True, False)
    assert codes(result, kind="warnings") == []
    world.pass_time(60)
    world.ok("resetConfiguration", name=FENCE)
    result = ask(cluster="kvm1")
    assert (result["fence_setting"]["value"], result["fence_setting"]["in_force"]) == (False, False)


def test_a_pool_of_a_cluster_counts_for_its_hosts(ask, world):
    """An NFS pool has a heartbeat too."""
    world.protect(*KVM)
    fields = {key: world.id("kvm11", key) for key in ("zoneid", "podid", "clusterid")}
    world.ok("createStoragePool", name="nfs", provider="DefaultPrimary", scope="cluster", url="nfs://192.0.2.9/pool", **fields)
    result = ask(zone="sofia", allow_hyperconverged=True)
    assert codes(result, kind="warnings") == ["several_pools"] and host_of(result)["protected"] is True
    assert "several_pools" not in codes(result, "hc1", "warnings")
    assert [(one["name"], one["type"], one["cluster"]) for one in result["pools"]] == [
        ("nfs", "NetworkFilesystem", "kvm1"),
        ("storpool-nvme", "StorPool", None),
    ]


def test_another_setting_does_not_make_it_wait(ask, world):
    world.ok("updateConfiguration", name=FENCE, value="true")
    world.sim.restart_server()
    world.pass_time(60)
    world.ok("updateConfiguration", name="storage.cleanup.interval", value="1000")
    assert ask()["fence_setting"]["in_force"] is True


def test_the_value_of_a_zone_has_no_effect(ask, world):
    world.protect(*KVM)
    world.ok("updateConfiguration", name=FENCE, value="true", zoneid=world.id("kvm11", "zoneid"))
    world.sim.restart_server()
    assert world.sim.in_force()[FENCE] == "false"
    result = ask(cluster="kvm1")
    assert (codes(result, kind="warnings"), result["fence_setting"]["ignored"]) == (["fence_of_zone_ignored"], {"sofia": "true"})
    assert result["fence_setting"]["value"] is False and result["summary"]["protected"] == 3


# -- which hosts, and which nodes they are


def test_a_selection(ask, run_module):
    assert [one["name"] for one in ask(host="kvm12")["hosts"]] == ["kvm12"]
    assert [one["name"] for one in ask(hosts=["kvm13", "hc1"])["hosts"]] == ["hc1", "kvm13"]
    assert [one["name"] for one in ask(cluster="converged", zone="sofia")["hosts"]] == ["hc1", "hc2", "hc3"]
    run = partial(run_module, MODULE)
    for wrong in ({"hosts": ["kvm99"]}, {"cluster": "none"}, {"zone": "none"}, {"hosts": ["hc1"], "cluster": "kvm1"}):
        assert "does not exist in CloudStack" in run(**wrong)["msg"], wrong
    assert "option sp_node_ids.kvm11: 0 is no StorPool node id" in run(sp_node_ids={"kvm11": 0})["msg"]
    assert "option hosts" in run(hosts=[" "])["msg"]
    assert "option zone" in run(zone=" ")["msg"]


def test_an_id_is_a_name(ask, world):
    assert [one["name"] for one in ask(hosts=[world.id("kvm12")], sp_node_ids={world.id("kvm12"): 12})["hosts"]] == ["kvm12"]


def test_nodes_from_storpool_conf(ask, world, tmp_path):
    world.protect(*KVM)
    conf = tmp_path / "storpool.conf"
    conf.write_text("SP_CLUSTER_ID=sf.a\n[kvm11]\nSP_OURID=11\n[kvm12]\nSP_OURID=12\n", encoding="utf-8")
    result = ask(cluster="kvm1", storpool_conf=str(conf), sp_node_ids={})
    assert [(one["node_id"], one["node_id_from"], one["protected"]) for one in result["hosts"]] == [
        (11, "storpool.conf", True),
        (12, "storpool.conf", True),
        (None, None, False),
    ]
    assert codes(result, "kvm13") == ["node_unknown"]
    assert "SP_OURID" in host_of(result, "kvm13")["reasons"][0]["do"]


def test_wrong_nodes(ask, world):
    world.protect(*KVM)
    result = ask(cluster="kvm1", sp_node_ids={"kvm11": 77, "kvm12": 12, "kvm13": 12})
    assert [codes(result, name) for name in KVM] == [["client_missing"], ["node_unknown"], ["node_unknown"]]
    assert "StorPool cluster sf.a has no client on node 77" in host_of(result)["reasons"][0]["text"]
    assert "is told of 2 hosts" in host_of(result, "kvm12")["reasons"][0]["text"]


def test_the_cluster_is_that_of_the_host_whatever_the_connection_says(ask, simulator):
    """The client 11 of another cluster is down; that of the hosts' is not."""
    simulator.client(11, "down", "sofia-b")
    assert host_of(ask(hosts=["kvm11"], sp_cluster="sofia-b"))["client_state"] == "running"
    simulator.client(11, "down", "sofia-a")
    assert host_of(ask(hosts=["kvm11"], sp_cluster="sofia-b"))["client_state"] == "down"


def test_a_storpool_cluster_that_refuses(run_module, simulator, world):
    world.protect(*KVM)
    simulator.fault("error", "ServicesList", count=-1, name="clusterNotOperational", descr="no quorum", status=500)
    result = run_module(MODULE, hosts=["kvm11"], sp_node_ids=NODES)
    assert codes(result) == ["client_unknown"]
    assert "no quorum" in host_of(result)["reasons"][0]["text"]
