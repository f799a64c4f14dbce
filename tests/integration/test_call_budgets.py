# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a task may ask of the servers: however many objects it declares, a handful of listings, and a write for each change.

Time is noise, calls are not: a budget that is exceeded here is what would be slow on a cluster. Each case runs in check mode (the same
reads and those of `check`, no write), for real, and again (no write).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from conftest import CLOUDSTACKS, _runner, connection, validated
from conftest import declared as what_is_declared
from storpool_simulator.testing import Simulator

MIB = 1 << 20
MANY = 40
NAMES = [f"v{number:02}" for number in range(MANY)]


@dataclass(frozen=True)
class Budget:
    """One task: what it reads first and, when it writes, `after`; how many writes it makes; what it reads when nothing is left to do."""

    module: str
    options: dict[str, Any]
    reads: list[str]
    writes: int
    again: list[str]
    before: list[tuple[str, Any]] = field(default_factory=list)
    after: list[str] = field(default_factory=list)
    check: list[str] = field(default_factory=list)


def volumes(**more: Any) -> list[tuple[str, Any]]:
    return [("VolumeCreate", {"name": name, "size": MIB, "template": "hdd", **more}) for name in NAMES]


def snapshots() -> list[tuple[str, Any]]:
    return [*volumes(), *((f"VolumeSnapshot/{name}", {"name": f"{name}-s"}) for name in NAMES)]


ONE = "one"
A_VOLUME = [("VolumeCreate", {"name": ONE, "size": MIB, "template": "hdd"})]

BUDGETS = {
    # Volumes and snapshots share their names: a server refuses a name that is taken, check mode has to look.
    # Without a template nothing tells how many copies the volume will have, so it is read back.
    "create one volume": Budget(
        "storpool_volume", {"name": ONE, "size": "1M"}, ["Volume"], 1, ["Volume"], after=["Volume"], check=["Snapshot"]
    ),
    "create one volume on a template": Budget(
        "storpool_volume",
        {"name": ONE, "size": "1M", "template": "hdd"},
        ["Volume", "VolumeTemplatesList"],
        1,
        ["Volume"],
        check=["Snapshot"],
    ),
    "change one volume": Budget("storpool_volume", {"name": ONE, "size": "2M", "iops": 50}, ["Volume"], 1, ["Volume"], A_VOLUME),
    # That there is such a client is for the server to say; check mode has to look.
    "attach one volume": Budget(
        "storpool_volume",
        {"name": ONE, "attach_to": [11]},
        ["Volume", "AttachmentsList"],
        1,
        ["Volume", "AttachmentsList"],
        A_VOLUME,
        check=["ClientsConfigDump"],
    ),
    "delete one volume": Budget(
        "storpool_volume", {"name": ONE, "state": "absent"}, ["Volume", "AttachmentsList"], 1, ["Volume"], A_VOLUME
    ),
    "create many volumes": Budget(
        "storpool_volume",
        {"names": NAMES, "size": "1M"},
        ["VolumesList"],
        MANY,
        ["VolumesList"],
        after=["VolumesList"],
        check=["SnapshotsList"],
    ),
    "create many volumes on a template": Budget(
        "storpool_volume",
        {"names": NAMES, "size": "1M", "template": "hdd"},
        ["VolumesList", "VolumeTemplatesList"],
        MANY,
        ["VolumesList"],
        check=["SnapshotsList"],
    ),
    "change many volumes": Budget(
        "storpool_volume", {"names": NAMES, "size": "2M", "tags": {"a": "b"}}, ["VolumesList"], MANY, ["VolumesList"], volumes()
    ),
    "change few of many volumes": Budget(
        "storpool_volume",
        {"volumes": [{"name": name, "size": "2M" if name < "v03" else "1M"} for name in NAMES]},
        ["VolumesList"],
        3,
        ["VolumesList"],
        volumes(),
    ),
    "delete many volumes": Budget(
        "storpool_volume",
        {"names": NAMES, "state": "absent"},
        ["VolumesList", "AttachmentsList"],
        MANY,
        ["VolumesList"],
        volumes(),
    ),
    "find many volumes by their tags": Budget(
        "storpool_volume",
        {"volumes": [{"match_tags": {"n": name}, "size": "2M"} for name in NAMES]},
        ["VolumesList"],
        MANY,
        ["VolumesList"],
        [("VolumeCreate", {"size": MIB, "template": "hdd", "tags": {"n": name}}) for name in NAMES],
    ),
    "snapshot many volumes, each by itself": Budget(
        "storpool_snapshot",
        {"snapshots": [{"name": f"{name}-s", "volume": name} for name in NAMES]},
        ["SnapshotsList", "VolumesList"],
        MANY,
        ["SnapshotsList"],
        volumes(),
    ),
    "change many snapshots": Budget(
        "storpool_snapshot",
        {"names": [f"{name}-s" for name in NAMES], "tags": {"a": "b"}},
        ["SnapshotsList"],
        MANY,
        ["SnapshotsList"],
        snapshots(),
    ),
    "delete many snapshots": Budget(
        "storpool_snapshot",
        {"names": [f"{name}-s" for name in NAMES], "state": "absent"},
        ["SnapshotsList", "AttachmentsList", "ExportsList"],
        MANY,
        ["SnapshotsList"],
        snapshots(),
    ),
    "create many templates": Budget(
        "storpool_template",
        {"templates": [{"name": name, "replication": 3, "place_all": "ssd"} for name in NAMES]},
        ["VolumeTemplatesList", "PlacementGroupsList"],
        MANY,
        ["VolumeTemplatesList"],
    ),
}

READERS = {
    "volumes": ("storpool_volume_info", {}, ["VolumesList", "AttachmentsList"]),
    "one volume": ("storpool_volume_info", {"name": "v03"}, ["Volume", "AttachmentsList"]),
    "snapshots": ("storpool_snapshot_info", {}, ["SnapshotsList", "AttachmentsList"]),
}


@pytest.mark.parametrize("budget", BUDGETS.values(), ids=BUDGETS)
def test_a_task_keeps_to_its_budget(budget, run_module, do, calls):
    for call, body in budget.before:
        do(call, body)
    calls()
    said = run_module(budget.module, check=True, **budget.options)
    spent = calls()
    assert (said.get("failed"), sorted(spent.reads), spent.writes) == (None, sorted(budget.reads + budget.check), []), said.get("msg")
    done = run_module(budget.module, **budget.options)
    spent = calls()
    assert (spent.reads, len(spent.writes)) == (budget.reads + budget.after, budget.writes), done.get("msg")
    assert done["api"] == {"reads": len(spent.reads), "writes": budget.writes, "attempts": len(spent.entries), "waited": 0.0}
    again = run_module(budget.module, **budget.options)
    spent = calls()
    assert (again["changed"], spent.reads, spent.writes) == (False, budget.again, [])


@pytest.mark.parametrize(("module", "options", "reads"), READERS.values(), ids=READERS)
def test_a_question_keeps_to_its_budget(module, options, reads, run_module, do, calls):
    for call, body in snapshots():
        do(call, body)
    calls()
    assert "failed" not in run_module(module, **options)
    spent = calls()
    assert (spent.reads, spent.writes) == (reads, [])


@pytest.mark.parametrize("source", ["list", "names", "json", "csv"])
def test_the_way_of_declaring_costs_no_calls(source, run_module, do, calls, tmp_path):
    for call, body in volumes():
        do(call, body)
    entries = [{"name": name, "size": "1M"} for name in NAMES]
    ways = {"list": {"volumes": entries}, "names": {"names": NAMES, "size": "1M"}}
    if source == "json":
        (tmp_path / "v.json").write_text(json.dumps(entries))
    if source == "csv":
        (tmp_path / "v.csv").write_text("name,size\n" + "".join(f"{one['name']},{one['size']}\n" for one in entries))
    calls()
    result = run_module("storpool_volume", **ways.get(source, {"volumes_src": str(tmp_path / f"v.{source}")}))
    spent = calls()
    assert (result["changed"], spent.reads, spent.writes) == (False, ["VolumesList"], [])


@pytest.mark.parametrize("version", CLOUDSTACKS)
@pytest.mark.parametrize("pools", [1, 2, 3])
def test_a_warm_template_cache_costs_two_calls_and_one_for_each_pool(pools, version, cloud_of):
    process = cloud_of(version)

    def run(module: str, check: bool = False, **options: Any) -> dict[str, Any]:
        process.reset_calls()
        result = _runner.execute(what_is_declared(module), validated(module, {**connection(process, module), **options}), check, False)
        assert not result.get("failed"), result
        return result

    on = ["hybrid", "hdd"][: pools - 1]
    if on:
        run("cloudstack_storage_pool", zone="sofia", pools=[{"name": f"storpool-{name}", "template": name} for name in on])
    templates = ["debian-12", "rocky-9", "small-raw"]
    assert run("storpool_template_cache", names=templates)["summary"]["changed"] == len(templates)
    for check in (True, False):
        assert run("storpool_template_cache", check=check, names=templates)["changed"] is False
        spent = process.calls()
        asked = [entry["call"] for entry in spent["calls"]]
        assert (asked, spent["writes"]) == (["listStoragePools", "SnapshotsList", *["listTemplates"] * pools], 0)


def test_images_cost_two_listings(run_module, simulator, calls, tmp_path):
    entries = []
    for number in range(MANY):
        path = tmp_path / f"{number}.raw"
        path.write_bytes(bytes([number]) * 512)
        entries.append({"name": f"i{number:02}", "image": str(path)})
    where = {"format": "raw", "client": 11, "device_directory": f"{simulator.devices}/sofia-a/11/storpool", "template": "hdd"}
    calls()
    assert run_module("storpool_template_cache", templates=entries, **where)["summary"]["changed"] == MANY
    spent = calls()
    assert sorted(spent.reads) == ["ClientsConfigDump", "SnapshotsList", "VolumeTemplatesList", "VolumesList"]
    assert len(spent.writes) == MANY * 6
    assert run_module("storpool_template_cache", templates=entries, **where)["changed"] is False
    spent = calls()
    assert (spent.reads, spent.writes) == (["SnapshotsList", "VolumesList"], [])


def test_a_loop_reads_once_for_each_item(playbook, do, calls):
    for call, body in volumes():
        do(call, body)
    calls()
    task = {"storpool.cloudstack.storpool_volume": {"name": "{{ item }}", "size": "1M"}, "loop": NAMES}
    assert playbook([task]).changed == 0
    spent = calls()
    assert (spent.reads, spent.writes) == (["Volume"] * MANY, [])


# -- hosts of a zone: both systems together


HOSTS_READS = ["listZones", "listClusters", "listHosts", "listStoragePools", "ServicesList", "listConfigurations"]


@pytest.fixture(scope="module")
def large_zone(tmp_path_factory):
    """200 KVM hosts in four clusters, each cluster on a StorPool cluster of its own; three more that are hyper-converged."""
    directory = tmp_path_factory.mktemp("large")
    clusters = [{"id": name, "name": f"sofia-{name}", "clients": []} for name in "abcd"]
    topology = {"locations": [{"id": "sf", "name": "sofia", "clusters": clusters}], "cloudstack": {"clusters": 4, "hosts_per_cluster": 50}}
    (directory / "topology.json").write_text(json.dumps(topology))
    with Simulator(directory / "state", cloudstack="4.22.0", topology=str(directory / "topology.json")) as process:
        process.background(False)
        yield process


class TestHostsOfALargeZone:
    """Six calls, of which one is the page of hosts; a page of events and one call more while the fence setting may wait for a restart."""

    @pytest.fixture
    def simulator(self, large_zone):
        large_zone.reset()
        large_zone.background(False)
        return large_zone

    @pytest.fixture
    def ask(self, simulator, run_module, calls):
        nodes = {name: host["storpool"]["client"] for name, host in simulator.hosts().items()}

        def once(**options):
            calls()
            result = run_module("storpool_ha_info", sp_node_ids=nodes, **options)
            spent = calls()
            assert ("failed" in result, spent.writes, result["api"]["reads"]) == (False, [], len(spent.reads))
            return result, spent.reads

        return once

    def test_six_calls(self, ask):
        result, reads = ask(zone="sofia")
        assert (len(result["hosts"]), reads) == (203, HOSTS_READS)
        assert {one["client_state"] for one in result["hosts"]} == {"running"}
        assert {one["storpool_cluster"] for one in result["hosts"]} == {"sf.a", "sf.b", "sf.c", "sf.d"}

    def test_one_host_costs_no_more(self, ask):
        result, reads = ask(hosts=["kvm11"])
        assert (len(result["hosts"]), reads) == (1, HOSTS_READS)

    def test_a_changed_fence_setting_costs_two_more(self, ask, simulator):
        simulator.cs("updateConfiguration", name="kvm.ha.fence.on.storage.heartbeat.failure", value="true")
        result, reads = ask(zone="sofia")
        assert reads == [*HOSTS_READS, "listManagementServers", "listEvents"]
        assert result["fence_setting"]["restart_required"] is True

    def test_a_client_that_is_down_where_ids_are_the_same_costs_one_for_each_cluster(self, ask, simulator):
        """The clients of all four clusters are 11 to 60 here, and no answer for a location tells the clusters apart."""
        simulator.client(11, "down", "sofia-c")
        result, reads = ask(zone="sofia")
        assert sorted(reads) == sorted([*HOSTS_READS, *["ServicesList"] * 4])
        assert [(one["name"], one["node_id"]) for one in result["hosts"] if one["client_state"] == "down"] == [("kvm111", 11)]


# -- CloudStack


@pytest.fixture
def simulator(request):
    """The budgets of what speaks to CloudStack have one, of the newest version."""
    return request.getfixturevalue("cloud_of")(CLOUDSTACKS[-1]) if "cloudstack" in request.node.name else request.getfixturevalue("sim")


HOSTS = ("kvm11", "kvm12", "kvm13")
# All that host HA depends on: five listings of CloudStack's, and what runs on StorPool's nodes.
HA_READS = ["ServicesList", "listClusters", "listConfigurations", "listHosts", "listStoragePools", "listZones"]
HA_WRITES = [
    "configureHAForHost", "configureOutOfBandManagement", "enableHAForHost", "enableOutOfBandManagementForHost",
    "issueOutOfBandManagementPowerAction",
]  # fmt: skip


def test_host_ha_of_cloudstack(simulator, run_module, calls):
    addresses = {name: host["bmc"] for name, host in simulator.hosts().items()}
    options = {
        "hosts": [{"host": name, "oobm_address": addresses[name]} for name in HOSTS],
        "oobm_username": "ADMIN",
        "oobm_password": "bmc-secret",
        "sp_node_ids": {name: int(name[3:]) for name in HOSTS},
    }
    calls()
    assert not run_module("storpool_ha", check=True, **options).get("failed")
    spent = calls()
    assert (sorted(spent.reads), spent.writes) == (sorted([*HA_READS, "listHostHAProviders"]), [])
    done = run_module("storpool_ha", **options)
    assert not done.get("failed"), done["msg"]
    spent = calls()
    assert sorted(spent.writes) == sorted(HA_WRITES * len(HOSTS))
    waited = {"queryAsyncJobResult", "listHosts"}
    assert sorted(one for one in spent.reads if one not in waited) == sorted({*HA_READS, "listHostHAProviders"} - waited)
    for declared in (options, {"cluster": "kvm1", "sp_node_ids": options["sp_node_ids"]}, {"host": "kvm12", "sp_node_ids": {"kvm12": 12}}):
        again = run_module("storpool_ha", **declared)
        spent = calls()
        assert (again["changed"], sorted(spent.reads), spent.writes) == (False, HA_READS, []), "no wait, no question about the power"
    assert not run_module("storpool_ha", cluster="kvm1", state="absent").get("failed")
    assert sorted(calls().writes) == sorted(["disableHAForHost", "disableOutOfBandManagementForHost"] * len(HOSTS))


# Volumes, their snapshots, where those are, StorPool's snapshots; before any is taken also capabilities and the setting of backups.
SNAPSHOT_READS = ["SnapshotsList", "listSnapshots", "listSnapshots", "listVolumes"]
SETTING_READS = ["listCapabilities", "listConfigurations"]


def test_snapshots_of_cloudstack(simulator, run_module, calls):
    """However many volumes there are, and of however many VMs."""
    names = [f"v{number}" for number in range(6)]
    for name in ("db1", "db2"):
        simulator.deploy(name)
    made = run_module(
        "cloudstack_volume",
        volumes=[{"name": name, "vm": f"db{1 + number % 2}"} for number, name in enumerate(names)],
        zone="sofia",
        offering="Custom",
        size="1G",
    )
    assert not made.get("failed"), made["msg"]
    declared = {"volumes": names, "name": "s"}
    calls()
    run_module("cloudstack_snapshot", check=True, **declared)
    # Nothing is there yet, so nothing is looked for on StorPool.
    assert sorted(calls().reads) == sorted(["listSnapshots", "listVolumes", *SETTING_READS])
    done = run_module("cloudstack_snapshot", **declared)
    assert not done.get("failed"), done["msg"]
    spent = [entry for entry in calls().entries if not entry["plugin"]]
    assert [entry["call"] for entry in spent if entry["write"]] == ["createSnapshot"] * len(names)
    again = run_module("cloudstack_snapshot", **declared)
    spent = calls()
    assert (again["changed"], sorted(spent.reads), spent.writes) == (False, SNAPSHOT_READS, [])
    nothing = run_module("cloudstack_snapshot", volumes=names, name="none", state="absent")
    assert (nothing["changed"], calls().reads) == (False, ["listVolumes", "listSnapshots"])


def test_templates_of_cloudstack(simulator, run_module, calls):
    """However many there are: what they were made of is listed once. Each one that is made takes one question about its snapshot."""
    simulator.deploy("db1")
    names = ["v0", "v1", "v2"]
    assert not run_module("cloudstack_volume", names=names, zone="sofia", offering="Custom", size="1G", vm="db1").get("failed")
    assert not run_module("cloudstack_snapshot", volumes=names, name="s").get("failed")
    templates = [{"name": f"t-{name}", "snapshot": "s", "volume": name} for name in names]
    declared = {"templates": templates, "zone": "sofia", "os_type": "Rocky Linux 9"}
    listings = ["listSnapshots", "listTemplates", "listZones"]
    calls()
    assert not run_module("cloudstack_template", check=True, **declared).get("failed")
    asked = [*listings, "listOsTypes", "listVolumes", *SETTING_READS, *["getVolumeSnapshotDetails"] * len(names)]
    spent = calls()
    assert (sorted(spent.reads), spent.writes) == (sorted(asked), [])
    assert not run_module("cloudstack_template", **declared).get("failed")
    assert [entry["call"] for entry in calls().entries if entry["write"] and not entry["plugin"]] == ["createTemplate"] * len(names)
    again = run_module("cloudstack_template", **declared)
    spent = calls()
    assert (again["changed"], sorted(spent.reads), spent.writes) == (False, sorted([*listings, "SnapshotsList"]), [])


def test_vm_snapshots_of_cloudstack(simulator, run_module, calls):
    names = ["db1", "db2", "db3"]
    for name in names:
        simulator.deploy(name)
    declared = {"vms": names, "name": "s"}
    listings = ["listVMSnapshot", "listVirtualMachines", "listVolumes", "SnapshotsList"]
    calls()
    run_module("cloudstack_vm_snapshot", check=True, **declared)
    assert sorted(calls().reads) == sorted([*listings, "listConfigurations"])
    assert not run_module("cloudstack_vm_snapshot", **declared).get("failed")
    assert [entry["call"] for entry in calls().entries if entry["write"] and not entry["plugin"]] == ["createVMSnapshot"] * len(names)
    again = run_module("cloudstack_vm_snapshot", **declared)
    spent = calls()
    assert (again["changed"], sorted(spent.reads), spent.writes) == (False, sorted(listings), [])
    written = ["SnapshotsSpace", "VolumesList", "VolumesSpace"]
    reverted = run_module("cloudstack_vm_snapshot", **declared, state="reverted")
    assert (reverted["changed"], sorted(calls().reads)) == (False, sorted([*listings, *written]))


def test_policies_of_cloudstack(simulator, run_module, calls):
    simulator.deploy("db1")
    names = ["v0", "v1", "v2"]
    made = run_module("cloudstack_volume", names=names, zone="sofia", offering="Custom", size="1G", vm="db1")
    assert not made.get("failed"), made["msg"]
    declared = {"volumes": names, "policies": [{"interval": "daily", "schedule": "0:3", "keep": 7}]}
    assert not run_module("cloudstack_snapshot_policy", **declared).get("failed")
    calls()
    again = run_module("cloudstack_snapshot_policy", **declared)
    assert (again["changed"], calls().reads) == (False, ["listVolumes", "listSnapshotPolicies"])
    assert not run_module("cloudstack_snapshot_policy", **declared, exact=True)["changed"]
