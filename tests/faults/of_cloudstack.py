# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the CloudStack modules can change."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

from lab import Lab, storpool_state
from registry import scenario

ACCIDENTAL = {"id", "created", "jobid", "jobstatus", "zoneid", "ipaddress", "path"}


def both_states(lab: Lab) -> dict[str, Any]:
    """What CloudStack tells of settings and pools, besides all of StorPool."""
    simulator = lab.simulator
    pools = simulator.cs("listStoragePools")[1].get("storagepool", [])
    names = ("ha.tag", "storage.stats.interval")
    listed = [one for name in names for one in simulator.cs("listConfigurations", name=name)[1]["configuration"]]
    return {
        "settings": sorted((one["name"], str(one.get("value"))) for one in listed),
        "offerings": offerings(lab),
        "pools": sorted(({key: value for key, value in one.items() if key not in ACCIDENTAL} for one in pools), key=repr),
        **storpool_state(lab),
    }


def offerings(lab: Lab) -> list[dict[str, Any]]:
    """The disk offerings without what differs from one world to the next."""
    listed = lab.simulator.cs("listDiskOfferings", listall=True, state="all")[1].get("diskoffering", [])
    return sorted(({key: value for key, value in one.items() if key not in ACCIDENTAL} for one in listed), key=repr)


cloud = partial(scenario, world="cloudstack", state=both_states)


def with_templates(lab: Lab) -> dict[str, Any]:
    """The rows of the template cache as well."""
    simulator = lab.simulator
    pools = simulator.cs("listStoragePools")[1]["storagepool"]
    rows = {
        pool["name"]: [
            one["name"] for one in simulator.cs("listTemplates", templatefilter="all", storageid=pool["id"])[1].get("template", [])
        ]
        for pool in pools
    }
    return {"rows": rows, **both_states(lab)}


@partial(scenario, world="cloudstack", state=with_templates)("storpool_template_cache")
def evict_orphans(lab: Lab) -> dict[str, Any]:
    # How a copy by CloudStack fails is in tests/integration/test_template_cache.py: its own calls are among those that would go wrong here.
    for number in range(2):
        lab.volume(f"v{number}", template="nvme")
        tags = {"cs": "template", "uuid": f"00000000-0000-4000-8000-00000000000{number}"}
        lab.snapshot(f"v{number}", f"orphan-{number}", tags=tags)
    return {"zone": "sofia", "state": "absent", "evict": "storpool_orphans_only"}


def without_ids(value: Any) -> Any:
    """A state without the ids that CloudStack makes up, which the plugin also writes into tags."""
    if isinstance(value, dict):
        return {key: without_ids(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return sorted((without_ids(one) for one in value), key=repr)
    return re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|~[a-z]+\.[a-z]\.\w+", "an id", value) if isinstance(value, str) else value


EVERY_PROJECT = "-1"  # with listall: everything, whosever it is


def machines(lab: Lab) -> dict[str, Any]:
    """VMs, volumes and VM snapshots as CloudStack lists them, those of projects as well, besides all of StorPool."""
    listed = {"listVirtualMachines": "virtualmachine", "listVolumes": "volume", "listVMSnapshot": "vmSnapshot"}
    told = (
        "name", "displayname", "state", "tags", "size", "maxiops", "diskofferingname", "vmname", "deviceid", "storage", "deleteprotection",
        "account", "project",
    )  # fmt: skip
    cloud_side = {
        # CloudStack gives VM snapshots a name with the time in it; people's is the other.
        key: [
            {name: one.get(name) for name in told if name != "name" or key != "vmSnapshot"}
            for one in lab.simulator.cs(call, listall=True, projectid=EVERY_PROJECT)[1].get(key, [])
        ]
        for call, key in listed.items()
    }
    return without_ids({**cloud_side, **storpool_state(lab)})


def host_states(lab: Lab) -> dict[str, Any]:
    """What CloudStack tells of its hosts, and of the switches of clusters and zones, besides all of StorPool."""
    simulator = lab.simulator
    told = ("name", "state", "resourcestate", "hostha", "outofbandmanagement")
    areas = [one for command, key in (("listClusters", "cluster"), ("listZones", "zone")) for one in simulator.cs(command)[1][key]]
    return {
        "hosts": [{key: one[key] for key in told} for one in sorted(simulator.cs("listHosts")[1]["host"], key=lambda one: one["name"])],
        "areas": sorted((one["name"], sorted(one.get("resourcedetails", {}).items())) for one in areas),
        **storpool_state(lab),
    }


@cloud("cloudstack_host_info")
def see_hosts(lab: Lab) -> dict[str, Any]:
    return {"hosts": ["kvm11", "kvm12"], "wait_for": "Up", "wait_timeout": 0}


@cloud("cloudstack_settings")
def change_settings(lab: Lab) -> dict[str, Any]:
    lab.simulator.cs("updateConfiguration", name="ha.tag", value="old")
    return {"settings": [{"name": "ha.tag", "state": "default"}, {"name": "storage.stats.interval", "value": 77000}], "parallel": 1}


@cloud("storpool_ha_info")
def tell_who_is_protected(lab: Lab) -> dict[str, Any]:
    lab.simulator.cs("updateConfiguration", name="kvm.ha.fence.on.storage.heartbeat.failure", value="true")
    return {"zone": "sofia", "sp_node_ids": {"kvm11": 11, "kvm12": 12, "hc1": 1}}


@cloud("cloudstack_storage_pool")
def make_a_pool(lab: Lab) -> dict[str, Any]:
    return {"name": "archive", "zone": "sofia", "template": "hybrid", "tags": ["hybrid"], "capacity": "10T"}


@cloud("cloudstack_storage_pool")
def make_a_pool_without_tags(lab: Lab) -> dict[str, Any]:
    return {"name": "archive", "zone": "sofia", "template": "hybrid", "tags": []}


@cloud("cloudstack_storage_pool")
def remove_a_pool(lab: Lab) -> dict[str, Any]:
    made = lab.run("cloudstack_storage_pool", {"name": "archive", "zone": "sofia", "template": "hybrid"})
    assert not made.get("failed"), made["msg"]
    return {"name": "archive", "zone": "sofia", "state": "absent", "maintenance_first": True}


@cloud("cloudstack_offering")
def make_and_change_offerings(lab: Lab) -> dict[str, Any]:
    made = lab.run("cloudstack_offering", {"name": "silver", "details": {"gone": "1"}})
    assert not made.get("failed"), made["msg"]
    changed = {"name": "silver", "display_text": "Silver", "details": {"gone": None, "note": "2"}}
    return {"offerings": [{"name": "gold", "size": "10G", "max_iops": 100, "state": "inactive"}, changed], "parallel": 1}


@cloud("cloudstack_volume", state=machines)
def make_and_attach_a_volume(lab: Lab) -> dict[str, Any]:
    lab.simulator.deploy("db1")
    return {"name": "data", "zone": "sofia", "offering": "Custom", "size": "1G", "vm": "db1", "delete_protection": True}


def a_project(lab: Lab, name: str) -> str:
    """Make a project; returns its id."""
    return lab.simulator.cs_job("createProject", name=name, displaytext=name)["jobresult"]["project"]["id"]


@cloud("cloudstack_volume", state=machines, sample=6)
def make_a_volume_in_a_project(lab: Lab) -> dict[str, Any]:
    """Another project has one of that name, and so has the account."""
    lab.simulator.deploy("db1", projectid=a_project(lab, "web"))
    a_project(lab, "mail")
    declared = {"name": "data", "zone": "sofia", "offering": "Custom", "size": "1G"}
    for place in ({"project": "mail"}, {}):
        made = lab.run("cloudstack_volume", {**declared, **place})
        assert not made.get("failed"), made["msg"]
    return {**declared, "project": "web", "vm": "db1"}


@cloud("cloudstack_volume", state=machines)
def move_and_grow_a_volume(lab: Lab) -> dict[str, Any]:
    lab.simulator.deploy("db1")
    lab.simulator.deploy("db2")
    made = lab.run("cloudstack_volume", {"name": "data", "zone": "sofia", "offering": "Custom", "size": "1G", "vm": "db1"})
    assert not made.get("failed"), made["msg"]
    return {"name": "disk", "renamed_from": "data", "size": "2G", "vm": "db2", "device_id": 5}


@cloud("cloudstack_volume", state=machines)
def remove_a_volume(lab: Lab) -> dict[str, Any]:
    lab.simulator.deploy("db1")
    made = lab.run("cloudstack_volume", {"name": "data", "zone": "sofia", "offering": "Custom", "size": "1G", "vm": "db1"})
    assert not made.get("failed"), made["msg"]
    return {"name": "data", "state": "absent", "on_attached": "detach"}


def a_stopped_vm(lab: Lab) -> dict[str, Any]:
    """The ROOT volume of a stopped VM."""
    machine = lab.simulator.deploy("db1")
    assert lab.simulator.cs_job("stopVirtualMachine", id=machine["id"])["jobstatus"] == 1
    return lab.simulator.cs("listVolumes", listall=True)[1]["volume"][0]


def snapshots(lab: Lab) -> dict[str, Any]:
    """Snapshots of volumes and where they are, besides volumes and all of StorPool."""
    rows = lab.simulator.cs("listSnapshots", listall=True, showunique=False)[1].get("snapshot", [])
    told = ("name", "state", "volumename", "datastoretype", "datastorestate", "zonename")
    return {"rows": sorted(([one.get(name) for name in told] for one in rows), key=repr), **machines(lab)}


@cloud("cloudstack_snapshot", state=snapshots)
def take_a_snapshot(lab: Lab) -> dict[str, Any]:
    root = a_stopped_vm(lab)
    for name in ("nightly-20261101", "nightly-20261102"):
        made = lab.run("cloudstack_snapshot", {"volume": root["name"], "name": name})
        assert not made.get("failed"), made["msg"]
    return {"volume": root["name"], "name": "nightly-%Y", "keep_last": 1}


@cloud("cloudstack_snapshot", state=snapshots)
def revert_a_volume(lab: Lab) -> dict[str, Any]:
    root = a_stopped_vm(lab)
    made = lab.run("cloudstack_snapshot", {"volume": root["name"], "name": "before"})
    assert not made.get("failed"), made["msg"]
    lab.simulator.write(f"~{root['path'].rpartition('/')[2]}", b"x" * 4096)
    return {"volume": root["name"], "name": "before", "state": "reverted"}


@cloud("cloudstack_snapshot", state=snapshots)
def revert_two_volumes_of_a_running_vm(lab: Lab) -> dict[str, Any]:
    """It is stopped once and started once; whatever goes wrong, it runs in the end."""
    root = a_stopped_vm(lab)
    made = lab.run("cloudstack_volume", {"name": "data", "zone": "sofia", "offering": "Custom", "size": "1G", "vm": "db1"})
    assert not made.get("failed"), made["msg"]
    reverted = {"volumes": [root["name"], "data"], "name": "before"}
    made = lab.run("cloudstack_snapshot", reverted)
    assert not made.get("failed"), made["msg"]
    for volume in lab.simulator.cs("listVolumes", listall=True)[1]["volume"]:
        lab.simulator.write(f"~{volume['path'].rpartition('/')[2]}", b"x" * 4096)
    assert lab.simulator.cs_job("startVirtualMachine", id=root["virtualmachineid"])["jobstatus"] == 1
    return {**reverted, "state": "reverted", "stop_vm": True}


def templates(lab: Lab) -> dict[str, Any]:
    """Templates, besides volumes and all of StorPool."""
    rows = lab.simulator.cs("listTemplates", templatefilter="all", projectid=EVERY_PROJECT)[1].get("template", [])
    told = ("name", "isready", "displaytext", "size", "zonename", "account", "project")
    return without_ids({"templates": [{name: one.get(name) for name in told} for one in rows], **machines(lab)})


@cloud("cloudstack_template", state=templates)
def make_a_template(lab: Lab) -> dict[str, Any]:
    root = a_stopped_vm(lab)
    return {"name": "golden", "zone": "sofia", "volume": root["name"], "os_type": "Rocky Linux 9", "wait_timeout": "30"}


@cloud("cloudstack_template", state=templates, sample=6)
def make_a_template_in_a_project(lab: Lab) -> dict[str, Any]:
    """Another project has one of that name, and so has the account."""
    declared = {"name": "golden", "zone": "sofia", "os_type": "Rocky Linux 9", "wait_timeout": "30"}
    given = {}
    for name in ("web", "mail"):
        machine = lab.simulator.deploy("db1", projectid=a_project(lab, name))
        assert lab.simulator.cs_job("stopVirtualMachine", id=machine["id"])["jobstatus"] == 1
        (root,) = lab.simulator.cs("listVolumes", virtualmachineid=machine["id"], projectid=machine["projectid"])[1]["volume"]
        given[name] = {**declared, "project": name, "volume": root["name"]}
    for other in (given["mail"], {**declared, "volume": a_stopped_vm(lab)["name"]}):
        made = lab.run("cloudstack_template", other)
        assert not made.get("failed"), made["msg"]
    return given["web"]


def policies(lab: Lab) -> list[Any]:
    """The snapshot policies of all volumes."""
    told = ("volumename", "intervaltype", "schedule", "timezone", "maxsnaps")
    listed = lab.simulator.cs("listSnapshotPolicies", listall=True)[1].get("snapshotpolicy", [])
    return sorted([[one.get(name) for name in told] for one in listed], key=repr)


@cloud("cloudstack_snapshot_policy", state=policies)
def change_policies(lab: Lab) -> dict[str, Any]:
    lab.simulator.deploy("db1")
    root = lab.simulator.cs("listVolumes", listall=True)[1]["volume"][0]
    weekly = {"interval": "weekly", "schedule": "0:3:1", "keep": 2}
    made = lab.run("cloudstack_snapshot_policy", {"volume": root["name"], "policies": [weekly]})
    assert not made.get("failed"), made["msg"]
    return {"volume": root["name"], "exact": True, "policies": [{"interval": "daily", "schedule": "0:3", "keep": 2}]}


@cloud("cloudstack_vm_snapshot", state=machines)
def take_a_vm_snapshot(lab: Lab) -> dict[str, Any]:
    lab.simulator.deploy("db1")
    for name in ("nightly-20261101", "nightly-20261102"):
        made = lab.run("cloudstack_vm_snapshot", {"vm": "db1", "name": name})
        assert not made.get("failed"), made["msg"]
    return {"vm": "db1", "name": "nightly-%Y", "keep_last": 1}


@cloud("cloudstack_vm_snapshot", state=machines)
def revert_a_vm(lab: Lab) -> dict[str, Any]:
    lab.simulator.deploy("db1")
    made = lab.run("cloudstack_vm_snapshot", {"vm": "db1", "name": "before"})
    assert not made.get("failed"), made["msg"]
    root = lab.simulator.cs("listVolumes", listall=True)[1]["volume"][0]
    lab.simulator.write(f"~{root['path'].rpartition('/')[2]}", b"x" * 4096)
    return {"vm": "db1", "name": "before", "state": "reverted", "stop_vm": True}


NODES = {"kvm11": 11, "kvm12": 12, "kvm13": 13}
CONTROLLER = {"oobm_address": "198.51.100.1", "oobm_username": "ADMIN", "oobm_password": "bmc-secret"}


@cloud("storpool_ha", state=host_states)
def protect_a_host(lab: Lab) -> dict[str, Any]:
    """Its cluster is switched off, so that goes first."""
    cluster = lab.simulator.cs("listHosts", name="kvm11")[1]["host"][0]["clusterid"]
    lab.simulator.cs_job("disableHAForCluster", clusterid=cluster)
    return {"host": "kvm11", **CONTROLLER, "sp_node_ids": NODES, "wait_timeout": "20"}


@cloud("storpool_ha", state=host_states)
def switch_a_host_off(lab: Lab) -> dict[str, Any]:
    made = lab.run("storpool_ha", {"host": "kvm11", **CONTROLLER, "sp_node_ids": NODES, "wait_timeout": "20"})
    assert not made.get("failed"), made["msg"]
    return {"host": "kvm11", "state": "absent"}
