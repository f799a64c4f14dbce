# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What no source on CloudStack settles: every switch is turned the other way here and seen to matter; other roles than the admin's."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from email.utils import parsedate_to_datetime

import pytest
from storpool_simulator.cloudstack.assumptions import CloudAssumptions
from storpool_simulator.testing import Simulator

from .cloudstack_support import call, job, named, ok, one, refused, setting
from .conftest import restore
from .plugin_support import deploy, root
from .test_cloudstack_ha import Host, pass_time
from .test_cloudstack_pools import details_of, wanted

TEST_VOLUME = "check-volume-is-on-host"
FLIPS: dict[str, object] = {
    "names_ignore_case": "false",
    "setting_name_match": "exact",
    "setting_scope_shown": "always",
    "scope_falls_back_to": "stored",
    "job_polls": 3,
    "job_seconds": 100,
    "lost_job_text": "gone",
    "poll_seconds": 1,
    "boot_seconds": 7,
    "maintenance_seconds": 50,
    "investigate_seconds": 20,
    "servers_have_storpool_conf": "false",
    "pool_details_update": "ignored",
    "unsupported_command_status": 432,
    "test_volumes": "true",
    "policies_run": "false",
}


@pytest.fixture(scope="module")
def turned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    assume = {name: str(value) for name, value in FLIPS.items()}
    with Simulator(tmp_path_factory.mktemp("turned-cloud"), devices="none", cloudstack="4.20.2", assume=assume) as running:
        yield running


@pytest.fixture
def flipped(turned: Simulator) -> Simulator:
    restore(turned)
    turned.background(False)
    turned.stop_clock()
    return turned


def pool_id(sim: Simulator) -> str:
    return named(sim, "listStoragePools", "storagepool", "storpool-nvme")


def test_every_switch_is_turned_here() -> None:
    defaults = {item.name: item.default for item in dataclasses.fields(CloudAssumptions)}
    assert set(FLIPS) == set(defaults)
    assert not [name for name, value in defaults.items() if str(value).lower() == str(FLIPS[name])]


def test_names_and_settings(flipped: Simulator) -> None:
    assert ok(flipped, "listHosts", name="KVM11") == {}
    assert refused(flipped, "updateConfiguration", name="FORCE.HA", value=True)["errorcode"] == 431
    assert ok(flipped, "listConfigurations", name="sp.cluster") == {}
    assert setting(flipped, "sp.cluster.id")["scope"] == "Cluster"
    ok(flipped, "updateConfiguration", name="storpool.delete.after.interval", value="3600")
    assert setting(flipped, "storpool.delete.after.interval", storageid=pool_id(flipped))["value"] == "3600"


def test_jobs(flipped: Simulator) -> None:
    started = ok(flipped, "enableStorageMaintenance", id=pool_id(flipped))
    seen = [ok(flipped, "queryAsyncJobResult", jobid=started["jobid"])["jobstatus"] for _unused in range(5)]
    assert seen == [0, 0, 0, 1, 1]
    started = ok(flipped, "cancelStorageMaintenance", id=pool_id(flipped))
    pass_time(flipped, 200)
    assert one(flipped, "listStoragePools", "storagepool")["state"] == "Maintenance"
    flipped.restart_server(lose_jobs=True)
    assert ok(flipped, "queryAsyncJobResult", jobid=started["jobid"])["jobresult"]["errortext"] == "gone"


def test_times_of_hosts(flipped: Simulator) -> None:
    host = Host(flipped, "kvm11")
    host.protect()
    assert host.state == "Available"
    host.lose_agent()
    host.pass_time(1.5)
    assert host.state in ("Suspect", "Checking")
    other = Host(flipped, "kvm12")
    flipped.control("PUT", "/cloudstack/hosts/kvm12", {"boots": True})
    flipped.bmc(other.world["bmc"], power="off")
    flipped.bmc(other.world["bmc"], power="on")
    other.pass_time(9)
    assert other.listed["state"] == "Up"
    other.lose_agent()
    other.lose_client()
    other.pass_time(25)
    assert other.listed["state"] == "Down"
    job(flipped, "prepareHostForMaintenance", id=named(flipped, "listHosts", "host", "hc1"))
    host.pass_time(20)
    assert one(flipped, "listHosts", "host", name="hc1")["resourcestate"] == "PrepareForMaintenance"


def test_pools_and_commands(flipped: Simulator) -> None:
    assert refused(flipped, "createStoragePool", **wanted(flipped, url="hybrid"))["errortext"].endswith("No SP_API_HTTP")
    ok(flipped, "updateStoragePool", id=pool_id(flipped), details={"x": "1"})
    assert "x" not in details_of(flipped, pool_id(flipped))
    given = {"clustername": "c", "clustertype": "CloudManaged", "hypervisor": "KVM", "podid": "1", "zoneid": "1"}
    assert refused(flipped, "addCluster", **given)["errorcode"] == 432


def test_volumes_of_connecting_hosts(flipped: Simulator) -> None:
    """One for each pool and cluster, on all hosts; the report of abandoned objects knows them by the details of the pool."""
    pass_time(flipped, 2)
    volumes = {"~" + row["globalId"]: row for row in flipped.get("VolumesList")[1]["data"]}
    assert len(volumes) == 2 and all((row["size"], row["tags"]) == (512, {"cs": TEST_VOLUME}) for row in volumes.values())
    details = {key: value for key, value in details_of(flipped, pool_id(flipped)).items() if key.startswith("SP_VOLUME_ON_CLUSTER-")}
    assert {"~" + path.rpartition("/")[2] for path in details.values()} == set(volumes) and len(details) == 2
    clients = [row["client"] for row in flipped.get("AttachmentsList")[1]["data"]]
    assert sorted(clients) == [1, 2, 3, 11, 12, 13]
    flipped.agent("kvm11", "down")
    flipped.post("VolumesReassign", [{"volume": next(iter(volumes)), "detach": "all", "force": True}])
    pass_time(flipped, 2)
    flipped.agent("kvm11", "up")
    pass_time(flipped, 2)
    assert 11 in [row["client"] for row in flipped.get("AttachmentsList")[1]["data"]] and len(flipped.get("VolumesList")[1]["data"]) == 2
    flipped.control("DELETE", "/cloudstack/log")
    flipped.post("VolumeCreate", {"name": "", "size": 512, "template": "nvme", "tags": {"cs": TEST_VOLUME}})
    pass_time(flipped, 86400 + 10)
    told = [line for line in flipped.log() if line["source"] == "StorPoolAbandonObjectsCollector"]
    assert len(told) == 1 and TEST_VOLUME in told[0]["text"], "that of nobody alone"


def test_policies_that_do_not_run(flipped: Simulator) -> None:
    disk = root(flipped, deploy(flipped))
    ok(flipped, "createSnapshotPolicy", volumeid=disk["id"], intervaltype="hourly", schedule="10", timezone="UTC", maxsnaps=2)
    pass_time(flipped, 2 * 3600)
    assert ok(flipped, "listSnapshots") == {} and not [line for line in flipped.log() if "Scheduled" in line["text"]]


# Other roles


@pytest.fixture
def ops(cloud: Simulator) -> tuple[str, str]:
    """Key and secret of a domain admin."""
    user = cloud.control("GET", "/cloudstack/users")["ops"]
    return user["key"], user["secret"]


def test_a_domain_admin_sees_his_domain(cloud: Simulator, ops: tuple[str, str]) -> None:
    assert [row["name"] for row in call(cloud, "listDomains", keys=ops, listall="true").content["domain"]] == ["ops"]
    assert [row["name"] for row in call(cloud, "listAccounts", keys=ops, listall="true").content["account"]] == ["ops"]
    assert call(cloud, "listZones", keys=ops).content["count"] == 1
    assert [row["name"] for row in ok(cloud, "listDomains", listall=True)["domain"]] == ["ROOT", "ops"]
    assert [row["name"] for row in ok(cloud, "listAccounts")["account"]] == ["admin"]
    assert "secretkey" not in ok(cloud, "listUsers", username="ops", listall=True)["user"][0]


def test_a_domain_admin_has_settings_of_his_domain_alone(cloud: Simulator, ops: tuple[str, str]) -> None:
    rows = call(cloud, "listConfigurations", keys=ops).content["configuration"]
    assert {row["scope"] for row in rows} == {"domain"}


def test_commands_of_root_admins_are_not_for_others(cloud: Simulator, ops: tuple[str, str]) -> None:
    for command in ("listHosts", "listStoragePools", "updateConfiguration", "listHostHAResources"):
        reply = call(cloud, command, "POST", keys=ops, name="x", hostid="1")
        assert (reply.status, reply.content["cserrorcode"]) == (401, 9999)
    names = {api["name"] for api in call(cloud, "listApis", keys=ops).content["api"]}
    assert names.isdisjoint({"enableHAForHost", "listHosts"}) and "listZones" in names


# The clock that clients see


def test_the_date_header_follows_the_skew(cloud: Simulator) -> None:
    cloud.control("POST", "/cloudstack/skew", {"seconds": 3600})
    ahead = parsedate_to_datetime(call(cloud, "listZones").headers["date"])
    cloud.control("POST", "/cloudstack/skew", {"seconds": 0})
    assert 3590 < (ahead - parsedate_to_datetime(call(cloud, "listZones").headers["date"])).total_seconds() <= 3600


def test_details_of_hosts_choose_groups_of_fields(cloud: Simulator) -> None:
    whole, least = one(cloud, "listHosts", "host", name="kvm11"), one(cloud, "listHosts", "host", name="kvm11", details="min")
    assert whole.keys() - least.keys() >= {"events", "cpuallocated"} and "hostha" in least
    assert one(cloud, "listHosts", "host", name="kvm11", details=["events", "min"])["events"]
    assert refused(cloud, "listHosts", details="everything")["errorcode"] == 431
