# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Out-of-band management, host HA and its state machine, maintenance of hosts (plugin sheet section 3)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from storpool_simulator.cloudstack.hostha import STATES, TRANSITIONS
from storpool_simulator.testing import Simulator

from .cloudstack_support import VERSIONS, failed_job, job, named, ok, one, refused

POLL = 4.0


@dataclass
class Host:
    """One host, as a test handles it. Background work stands still but for `pass_time`."""

    sim: Simulator
    name: str

    @property
    def id(self) -> str:
        return named(self.sim, "listHosts", "host", self.name)

    @property
    def listed(self) -> dict[str, Any]:
        return one(self.sim, "listHosts", "host", name=self.name)

    @property
    def world(self) -> dict[str, Any]:
        return self.sim.hosts()[self.name]

    @property
    def state(self) -> str:
        return self.listed["hostha"]["hastate"]

    @property
    def went(self) -> list[str]:
        """The states it was in, in order."""
        history = self.world["ha"]["history"]
        return [history[0]["from"], *(step["to"] for step in history)] if history else []

    def configure_oobm(self, **changes: str) -> dict[str, Any]:
        given = {
            "driver": "ipmitool",
            "address": self.world["bmc"],
            "port": "623",
            "username": "ADMIN",
            "password": "bmc-secret",
            **changes,
        }
        return ok(self.sim, "configureOutOfBandManagement", hostid=self.id, **given)["outofbandmanagement"]

    def enable_oobm(self) -> None:
        self.configure_oobm()
        job(self.sim, "enableOutOfBandManagementForHost", hostid=self.id)

    def enable_ha(self) -> None:
        job(self.sim, "configureHAForHost", hostid=self.id, provider="KVMHAProvider")
        job(self.sim, "enableHAForHost", hostid=self.id)

    def protect(self) -> None:
        self.enable_oobm()
        self.enable_ha()
        self.pass_time(2 * POLL)

    def pass_time(self, seconds: float) -> None:
        pass_time(self.sim, seconds)

    def until(self, state: str, limit: float) -> float:
        """How many seconds pass until it is in that state."""
        passed = 0.0
        while self.state != state:
            assert passed < limit, f"{self.name} is {self.state} after {passed} s: {self.went}"
            self.pass_time(POLL)
            passed += POLL
        return passed

    def lose_agent(self) -> None:
        self.sim.agent(self.name, "down")

    def lose_client(self) -> None:
        place = self.world["storpool"]
        self.sim.client(place["client"], "down", place["cluster"])


def pass_time(sim: Simulator, seconds: float) -> None:
    sim.background(True)
    sim.advance(seconds)
    sim.background(False)


@pytest.fixture
def still(cloud: Simulator) -> Iterator[Simulator]:
    """Nothing happens by itself, and no time passes, but when a test lets it, however long it takes itself."""
    cloud.background(False)
    cloud.stop_clock()
    yield cloud
    cloud.stop_clock(False)
    cloud.background(True)


@pytest.fixture
def host(still: Simulator) -> Host:
    return Host(still, "kvm11")


# Out-of-band management


def test_a_fresh_host_has_neither(host: Host) -> None:
    assert host.listed["outofbandmanagement"] == {"enabled": False, "powerstate": "Disabled"}
    assert host.listed["hostha"] == {"haenable": False, "hastate": "Disabled"}
    assert ok(host.sim, "listHostHAResources") == {}


@pytest.mark.parametrize("version", VERSIONS)
def test_configuration_is_shown_without_the_password(clouds: Callable[[str], Simulator], version: str) -> None:
    host = Host(clouds(version), "kvm12")
    first = host.configure_oobm()
    assert first["status"] is True and first["password"] == "b****" and first["port"] == "623"
    assert host.configure_oobm() == first, "it is a success again"
    assert host.configure_oobm(username="other")["username"] == "other"
    assert host.listed["outofbandmanagement"]["username"] == "other"
    assert "bmc-secret" not in str(ok(host.sim, "listHosts"))


def test_drivers(host: Host) -> None:
    host.enable_oobm()
    given = {"hostid": host.id, "address": "a", "port": "1", "username": "u", "password": "p"}
    content = refused(host.sim, "configureOutOfBandManagement", driver="floppy", **given)
    assert (content["errorcode"], content["cserrorcode"]) == (530, 4250)
    host.configure_oobm(driver="IPMITOOL")
    result = failed_job(host.sim, "issueOutOfBandManagementPowerAction", hostid=host.id, action="STATUS")
    assert result["errortext"].startswith("Configured out-of-band management driver is not available."), "the name is used as it was given"
    host.configure_oobm(driver="redfish")
    job(host.sim, "issueOutOfBandManagementPowerAction", hostid=host.id, action="STATUS")


def test_enabling_needs_a_configuration(host: Host) -> None:
    result = failed_job(host.sim, "enableOutOfBandManagementForHost", hostid=host.id)
    assert result["errorcode"] == 530 and "Please configure the host before" in result["errortext"]


def test_the_power_state_is_what_was_seen_last(host: Host) -> None:
    host.enable_oobm()
    assert host.listed["outofbandmanagement"]["powerstate"] == "Disabled"
    result = job(host.sim, "issueOutOfBandManagementPowerAction", hostid=host.id, action="STATUS")["outofbandmanagement"]
    assert (result["powerstate"], result["action"], result["status"], result["hostid"]) == ("On", "STATUS", True, host.id)
    host.sim.bmc(host.world["bmc"], power="off")
    assert host.listed["outofbandmanagement"]["powerstate"] == "On"
    host.pass_time(POLL)
    assert host.listed["outofbandmanagement"]["powerstate"] == "Off"
    host.sim.bmc(host.world["bmc"], broken=True)
    host.pass_time(POLL)
    assert host.listed["outofbandmanagement"]["powerstate"] == "Unknown"
    assert ok(host.sim, "listHosts", outofbandmanagementpowerstate="unknown")["count"] == 1
    assert ok(host.sim, "listHosts", outofbandmanagementenabled=True)["count"] == 1


@pytest.mark.parametrize("action", ["on", "REBOOT", ""])
def test_actions_are_six_words_in_capitals(host: Host, action: str) -> None:
    host.enable_oobm()
    if not action:
        assert refused(host.sim, "issueOutOfBandManagementPowerAction", hostid=host.id, action=action)["errorcode"] == 431
        return
    assert "No enum constant" in failed_job(host.sim, "issueOutOfBandManagementPowerAction", hostid=host.id, action=action)["errortext"]


def test_losses_of_power_are_counted(host: Host) -> None:
    """Whoever plays the host has to see a reset too, after which the power is on as before."""
    host.enable_oobm()
    for action, losses in (("ON", 0), ("RESET", 1), ("CYCLE", 2), ("OFF", 3), ("ON", 3)):
        job(host.sim, "issueOutOfBandManagementPowerAction", hostid=host.id, action=action)
        assert host.sim.hosts()["kvm11"]["losses"] == losses, action
    host.sim.bmc(host.world["bmc"], power="off")
    assert host.sim.hosts()["kvm11"]["losses"] == losses + 1


def test_actions_reach_the_controller_and_the_host(host: Host) -> None:
    host.enable_oobm()
    host.sim.control("PUT", "/cloudstack/hosts/kvm11", {"boots": True})
    job(host.sim, "issueOutOfBandManagementPowerAction", hostid=host.id, action="OFF")
    assert (host.world["power"], host.world["agent"], host.listed["state"]) == ("off", "down", "Disconnected")
    client = str(host.world["storpool"]["client"])
    assert host.sim.get("ServicesList")[1]["data"]["clients"][client]["status"] == "down"
    for action in ("RESET", "CYCLE", "SOFT"):
        assert "present state" in failed_job(host.sim, "issueOutOfBandManagementPowerAction", hostid=host.id, action=action)["errortext"]
    job(host.sim, "issueOutOfBandManagementPowerAction", hostid=host.id, action="ON")
    assert (host.world["power"], host.world["agent"]) == ("on", "down")
    host.pass_time(130)
    assert (host.world["agent"], host.listed["state"]) == ("up", "Up")
    assert host.sim.get("ServicesList")[1]["data"]["clients"][client]["status"] == "running"


def test_a_wrong_password_or_a_broken_controller(host: Host) -> None:
    host.enable_oobm()
    host.configure_oobm(password="wrong")
    assert (
        "authentication failed" in failed_job(host.sim, "issueOutOfBandManagementPowerAction", hostid=host.id, action="STATUS")["errortext"]
    )
    assert host.listed["outofbandmanagement"]["powerstate"] == "Disabled", "a failing job changes nothing"
    host.sim.bmc(host.world["bmc"], password="wrong")
    job(host.sim, "issueOutOfBandManagementPowerAction", hostid=host.id, action="STATUS")
    job(host.sim, "changeOutOfBandManagementPassword", hostid=host.id, password="new")
    assert host.sim.control("GET", f"/cloudstack/bmc/{host.world['bmc']}")["password"] == "new"
    job(host.sim, "issueOutOfBandManagementPowerAction", hostid=host.id, action="STATUS")


@pytest.mark.parametrize("level", ["Cluster", "Zone"])
def test_clusters_and_zones_switch_it(host: Host, level: str) -> None:
    host.enable_oobm()
    ids = {"Cluster": {"clusterid": host.listed["clusterid"]}, "Zone": {"zoneid": host.listed["zoneid"]}}[level]
    result = job(host.sim, f"disableOutOfBandManagementFor{level}", **ids)["outofbandmanagement"]
    assert result == {"enabled": False, "status": True}
    text = failed_job(host.sim, "issueOutOfBandManagementPowerAction", hostid=host.id, action="STATUS")["errortext"]
    assert text == f"Out-of-band management is disabled for the host's {level.lower()}. Aborting Operation."
    key, command = ("cluster", "listClusters") if level == "Cluster" else ("zone", "listZones")
    details = one(host.sim, command, key, id=next(iter(ids.values())))["resourcedetails"]
    assert details["outOfBandManagementEnabled"] == "false"
    job(host.sim, f"enableOutOfBandManagementFor{level}", **ids)
    job(host.sim, "issueOutOfBandManagementPowerAction", hostid=host.id, action="STATUS")


# Host HA: configuration


def test_providers(still: Simulator) -> None:
    assert ok(still, "listHostHAProviders", hypervisor="KVM") == {"count": 1, "haprovider": [{"haprovider": "KVMHAProvider"}]}
    assert ok(still, "listHostHAProviders", hypervisor="XenServer") == {}


def test_enabling_needs_a_provider(host: Host) -> None:
    result = failed_job(host.sim, "enableHAForHost", hostid=host.id)
    assert result["errorcode"] == 431 and result["errortext"].startswith("HAProvider is not provided for the resource")
    result = failed_job(host.sim, "configureHAForHost", hostid=host.id, provider="nobody")
    assert result == {"errorcode": 530, "errortext": "Given HA provider [nobody] does not exist."}
    result = failed_job(host.sim, "configureHAForHost", hostid=host.id, provider="SimulatorHAProvider")
    assert result["errorcode"] == 431 and "Incompatible haprovider" in result["errortext"]


def test_provider_names_come_back_in_lower_case(host: Host) -> None:
    result = job(host.sim, "configureHAForHost", hostid=host.id, provider="kvmHAprovider")["hostha"]
    assert result == {"hostid": host.id, "haprovider": "kvmhaprovider", "status": True}
    assert ok(host.sim, "listHostHAResources")["hostha"] == [
        {"hostid": host.id, "haenable": False, "hastate": "Disabled", "haprovider": "kvmhaprovider"}
    ]
    assert ok(host.sim, "listHostHAResources", hostid=named(host.sim, "listHosts", "host", "kvm12")) == {}


def test_enabling_takes_effect_at_the_next_look(host: Host) -> None:
    host.enable_oobm()
    host.enable_ha()
    assert host.listed["hostha"] == {"haenable": True, "hastate": "Disabled", "haprovider": "kvmhaprovider"}
    host.pass_time(POLL)
    assert host.state == "Available"
    job(host.sim, "disableHAForHost", hostid=host.id)
    assert host.listed["hostha"]["haenable"] is False and host.state == "Disabled"


@pytest.mark.parametrize("level", ["Cluster", "Zone"])
def test_clusters_and_zones_switch_ha(host: Host, level: str) -> None:
    host.protect()
    ids = {"Cluster": {"clusterid": host.listed["clusterid"]}, "Zone": {"zoneid": host.listed["zoneid"]}}[level]
    assert job(host.sim, f"disableHAFor{level}", **ids) == {"success": True}
    assert host.state == "Disabled" and host.listed["hostha"]["haenable"] is True
    host.pass_time(10)
    assert host.state == "Disabled"
    job(host.sim, f"enableHAFor{level}", **ids)
    host.pass_time(10)
    assert host.state == "Available"


# Eligibility


def ineligible_by_oobm(host: Host) -> None:
    job(host.sim, "disableOutOfBandManagementForHost", hostid=host.id)


def ineligible_by_oobm_of_the_cluster(host: Host) -> None:
    job(host.sim, "disableOutOfBandManagementForCluster", clusterid=host.listed["clusterid"])


def ineligible_by_being_disabled(host: Host) -> None:
    ok(host.sim, "updateHost", id=host.id, allocationstate="Disable")


def ineligible_by_maintenance(host: Host) -> None:
    job(host.sim, "prepareHostForMaintenance", id=host.id)


def ineligible_by_having_no_neighbour(host: Host) -> None:
    for other in ("kvm12", "kvm13"):
        host.sim.agent(other, "down")


@pytest.mark.parametrize(
    "spoil",
    [
        ineligible_by_oobm,
        ineligible_by_oobm_of_the_cluster,
        ineligible_by_being_disabled,
        ineligible_by_maintenance,
        ineligible_by_having_no_neighbour,
    ],
    ids=lambda function: function.__name__,
)
def test_what_makes_a_host_ineligible(host: Host, spoil: Callable[[Host], None]) -> None:
    host.protect()
    assert host.state == "Available"
    spoil(host)
    host.pass_time(10)
    assert host.state == "Ineligible"


def test_a_host_becomes_eligible_again(host: Host) -> None:
    host.enable_ha()
    host.pass_time(10)
    assert host.state == "Ineligible"
    host.enable_oobm()
    host.pass_time(10)
    assert host.state == "Available"


# The state machine


def test_the_transitions_of_the_sheet() -> None:
    assert all((state, "Disabled") in TRANSITIONS for state in STATES)
    assert {state for state in STATES if (state, "Ineligible") not in TRANSITIONS} == {"Disabled", "Fenced", "Ineligible"}
    assert TRANSITIONS[("Fenced", "HealthCheckPassed")] == "Ineligible"
    assert len(TRANSITIONS) == 21 + 10 + 7


def test_an_agent_that_comes_back_in_time(host: Host) -> None:
    host.protect()
    host.lose_agent()
    host.pass_time(2 * POLL)
    assert host.state == "Suspect" and host.listed["state"] == "Disconnected"
    host.sim.agent("kvm11", "up")
    host.pass_time(POLL)
    assert host.state == "Available" and host.world["ha"]["checks"] == 0


def test_a_dead_agent_with_a_living_client_is_degraded(host: Host) -> None:
    """The StorPool client runs, so there is activity: neither recovered nor fenced."""
    host.sim.vm("web", "kvm11")
    host.protect()
    host.lose_agent()
    took = host.until("Degraded", 900)
    assert 540 <= took <= 700, "ten checks, one a minute"
    assert "Recovering" not in host.went
    host.until("Suspect", 400)
    host.until("Degraded", 900)
    host.sim.agent("kvm11", "up")
    host.pass_time(POLL)
    assert host.state == "Available"


def test_a_question_takes_until_the_next_look(host: Host) -> None:
    host.protect()
    host.lose_agent()
    host.pass_time(POLL)
    assert host.state == "Checking" and host.world["ha"]["checks"] == 0
    host.sim.agent("kvm11", "up")
    host.pass_time(POLL)
    assert host.state == "Available"


def test_memory_tells_whether_anything_runs_on_a_host(host: Host) -> None:
    assert host.listed["memoryallocatedbytes"] == 0
    host.sim.vm("web", "kvm11")
    assert host.listed["memoryallocatedbytes"] == host.listed["memoryallocated"] == 1 << 30


def test_a_host_without_instances_is_never_fenced(host: Host) -> None:
    host.protect()
    host.lose_agent()
    host.lose_client()
    host.pass_time(4000)
    assert {"Recovering", "Fencing"}.isdisjoint(host.went) and "Degraded" in host.went


def test_a_dead_host_is_recovered_then_fenced(host: Host) -> None:
    host.sim.vm("web", "kvm11")
    host.sim.vm("plain", "kvm11", ha=False)
    host.protect()
    host.lose_agent()
    host.lose_client()
    assert 540 <= host.until("Recovered", 900) <= 700
    assert host.world["power"] == "on" and "Recovering" in host.went
    assert 600 <= host.until("Suspect", 900) <= 640, "kvm.ha.recover.wait.period"
    host.until("Fenced", 900)
    assert host.went[-3:] == ["Recovering", "Fencing", "Fenced"]
    assert host.world["power"] == "off" and host.listed["state"] == "Down"
    vms = {vm["name"]: vm for vm in ok(host.sim, "listVirtualMachines", listall=True)["virtualmachine"]}
    assert vms["web"]["state"] == "Running" and vms["web"]["hostname"] in ("kvm12", "kvm13")
    assert vms["plain"]["state"] == "Stopped"
    host.pass_time(2 * POLL)
    assert host.listed["resourcestate"] == "Maintenance"


def fenced(host: Host) -> None:
    host.sim.vm("web", "kvm11")
    ok(host.sim, "updateConfiguration", name="kvm.ha.activity.check.max.attempts", value=2)
    ok(host.sim, "updateConfiguration", name="kvm.ha.activity.check.interval", value=5)
    ok(host.sim, "updateConfiguration", name="kvm.ha.recover.wait.period", value=10)
    host.protect()
    host.sim.bmc(host.world["bmc"], power="off")
    host.until("Fenced", 200)
    host.pass_time(2 * POLL)


def test_settings_of_the_cluster_rule_the_machine(host: Host) -> None:
    """A host without power cannot be reset; the attempt counts, and fencing follows."""
    fenced(host)
    assert "Recovered" not in host.went and host.went[-3:] == ["Recovering", "Fencing", "Fenced"]


def test_after_fencing_an_operator_has_to_act(host: Host) -> None:
    fenced(host)
    host.sim.bmc(host.world["bmc"], power="on")
    host.sim.agent("kvm11", "up")
    host.pass_time(20)
    assert host.state == "Fenced", "in maintenance nobody looks at it"
    job(host.sim, "cancelHostMaintenance", id=host.id)
    host.pass_time(POLL)
    assert host.listed["hostha"]["haenable"] is False and host.state == "Disabled"
    assert host.went[-2:] == ["Ineligible", "Disabled"]
    host.pass_time(20)
    assert host.state == "Disabled"
    job(host.sim, "enableHAForHost", hostid=host.id)
    host.pass_time(POLL)
    assert host.state == "Available" and host.listed["state"] == "Up"


def test_with_a_dead_controller_fencing_never_ends(host: Host) -> None:
    host.sim.vm("web", "kvm11")
    ok(host.sim, "updateConfiguration", name="kvm.ha.activity.check.max.attempts", value=2)
    host.protect()
    host.sim.bmc(host.world["bmc"], power="off", broken=True)
    host.until("Fencing", 400)
    host.pass_time(3000)
    assert host.state == "Fencing" and host.listed["state"] == "Disconnected"
    assert one(host.sim, "listVirtualMachines", "virtualmachine")["hostname"] == "kvm11", "its instances are not restarted"
    host.sim.bmc(host.world["bmc"], broken=False)
    host.pass_time(POLL)
    assert host.state == "Fenced"


def test_a_host_that_boots_comes_back_after_its_reset(host: Host) -> None:
    host.sim.vm("web", "kvm11")
    host.sim.control("PUT", "/cloudstack/hosts/kvm11", {"boots": True})
    host.protect()
    host.lose_agent()
    host.lose_client()
    host.until("Recovered", 900)
    host.until("Available", 900)
    host.pass_time(60)
    assert host.state == "Available" and host.listed["state"] == "Up"
    assert host.world["ha"]["recoveries"] == 0


def test_the_threshold_is_strict(host: Host) -> None:
    """7 failures of 10 with a ratio of 0.7 are not more than it."""
    host.sim.vm("web", "kvm11")
    host.protect()
    host.lose_agent()
    while host.world["ha"]["checks"] < 3:
        host.pass_time(POLL)
    host.lose_client()
    host.until("Degraded", 900)
    assert "Recovering" not in host.went


def test_states_survive_a_kill(start: Callable[..., Simulator]) -> None:
    sim = start(cloudstack="4.20.2")
    sim.background(False)
    host = Host(sim, "kvm11")
    host.protect()
    before = host.world["ha"]
    sim.kill()
    sim.start()
    assert host.world["ha"] == before and host.state == "Available"


def test_skipped_time_is_lived_through_in_one_piece_or_many(start: Callable[..., Simulator]) -> None:
    ways = []
    for pieces in (1, 50):
        sim = start(cloudstack="4.20.2")
        sim.background(False)
        host = Host(sim, "kvm11")
        sim.vm("web", "kvm11")
        host.protect()
        host.lose_agent()
        host.lose_client()
        for _unused in range(pieces):
            host.pass_time(3000 / pieces)
        ways.append(host.went)
    assert ways[0] == ways[1] and ways[0][-1] == "Fenced"


# Without host HA


def test_without_host_ha_the_heartbeat_decides(still: Simulator) -> None:
    still.vm("web", "kvm11")
    host = Host(still, "kvm11")
    host.lose_agent()
    host.pass_time(400)
    assert host.listed["state"] == "Disconnected", "the StorPool client runs"
    host.lose_client()
    host.pass_time(10)
    assert host.listed["state"] == "Down"
    assert one(still, "listVirtualMachines", "virtualmachine")["hostname"] != "kvm11"


# Maintenance and reconnect


def test_maintenance_moves_instances(host: Host) -> None:
    host.sim.vm("web", "kvm11")
    result = job(host.sim, "prepareHostForMaintenance", id=host.id)["host"]
    assert result["resourcestate"] == "PrepareForMaintenance"
    result = failed_job(host.sim, "prepareHostForMaintenance", id=named(host.sim, "listHosts", "host", "kvm12"))
    assert result["errortext"].startswith("Failed to prepare host for maintenance due to: There are other servers attempting migrations")
    host.pass_time(10)
    assert host.listed["resourcestate"] == "Maintenance"
    assert one(host.sim, "listVirtualMachines", "virtualmachine")["hostname"] == "kvm12"
    assert "already in state Maintenance" in failed_job(host.sim, "prepareHostForMaintenance", id=host.id)["errortext"]
    assert job(host.sim, "cancelHostMaintenance", id=host.id)["host"]["resourcestate"] == "Enabled"
    text = failed_job(host.sim, "cancelHostMaintenance", id=host.id)["errortext"]
    assert text == "Cannot perform cancelMaintenance when resource state is Enabled, hostId = 1"


def test_instances_without_a_place_hold_maintenance_up(host: Host) -> None:
    host.sim.vm("web", "kvm11")
    for other in ("kvm12", "kvm13"):
        ok(host.sim, "updateHost", id=named(host.sim, "listHosts", "host", other), allocationstate="Disable")
    job(host.sim, "prepareHostForMaintenance", id=host.id)
    host.pass_time(10)
    assert host.listed["resourcestate"] == "ErrorInPrepareForMaintenance"


def test_leaving_maintenance_restarts_the_agent_by_ssh(host: Host) -> None:
    job(host.sim, "prepareHostForMaintenance", id=host.id)
    host.pass_time(10)
    host.sim.bmc(host.world["bmc"], power="off")
    assert "Can't SSH to agent" in failed_job(host.sim, "cancelHostMaintenance", id=host.id)["errortext"]
    host.sim.bmc(host.world["bmc"], power="on")
    ok(host.sim, "updateConfiguration", name="kvm.ssh.to.agent", value=False)
    host.sim.restart_server()
    assert "SSH access is disabled" in failed_job(host.sim, "cancelHostMaintenance", id=host.id)["errortext"]
    ok(host.sim, "updateConfiguration", name="kvm.ssh.to.agent", value=True)
    host.sim.restart_server()
    job(host.sim, "cancelHostMaintenance", id=host.id)
    assert host.listed["state"] == "Up"


def test_reconnect(host: Host) -> None:
    assert job(host.sim, "reconnectHost", id=host.id)["host"]["state"] == "Up"
    host.lose_agent()
    assert failed_job(host.sim, "reconnectHost", id=host.id)["errorcode"] == 530


def test_a_degraded_host(host: Host) -> None:
    host.protect()
    assert failed_job(host.sim, "declareHostAsDegraded", id=host.id)
    host.lose_agent()
    assert job(host.sim, "declareHostAsDegraded", id=host.id)["host"]["resourcestate"] == "Degraded"
    host.pass_time(10)
    assert host.state == "Ineligible"
    job(host.sim, "cancelHostAsDegraded", id=host.id)
    host.sim.agent("kvm11", "up")
    host.pass_time(10)
    assert host.state == "Available"


def test_hosts_are_found_by_their_state(host: Host) -> None:
    host.lose_agent()
    assert [one["name"] for one in ok(host.sim, "listHosts", state="Disconnected")["host"]] == ["kvm11"]
    assert "managementserverid" not in host.listed and "disconnected" in host.listed
    job(host.sim, "prepareHostForMaintenance", id=named(host.sim, "listHosts", "host", "hc1"))
    assert [one["name"] for one in ok(host.sim, "listHosts", resourcestate="PrepareForMaintenance")["host"]] == ["hc1"]
