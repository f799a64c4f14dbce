# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Volumes and VM snapshots of CloudStack: which listings are read for what is declared, and what the planner gets of them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources._cloud import Owner
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources.cloud_volume import CLOUD_VOLUMES
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources.vm_snapshot import VM_SNAPSHOTS
from ansible_collections.storpool.cloudstack.plugins.modules import cloudstack_vm_snapshot, cloudstack_volume
from things import checked, raw_snapshot, raw_volume

ZONES = {"listZones": [{"id": "z1", "name": "sofia"}]}
SOFIA = Owner(zone="sofia")
WITHIN = {"listall": True, "zoneid": "z1"}


class Server:
    """Answers listings from tables, by name and id where these are asked for, and keeps what it was asked."""

    def __init__(self, volumes=(), snapshots=(), **listings):
        self.listings = {**ZONES, **listings}
        self.asked = []
        self.connection = SimpleNamespace(job_timeout=0.0)
        self.version = (4, 22, 0, 0)
        by_name = {one["name"]: one for one in volumes}
        self.storpool = SimpleNamespace(
            volume=by_name.get, volumes=lambda: list(volumes), snapshots=lambda: list(snapshots), volumes_space=list, snapshots_space=list,
            attachments=list, connection=SimpleNamespace(multi_cluster=False),
        )  # fmt: skip

    def list(self, call, key, unlimited=False, **params):
        assert call.lower().removeprefix("list").rstrip("s") == key.lower().rstrip("s"), (call, key)
        self.asked.append((call, params))
        rows = self.listings.get(call, [])
        for name in ("id", "name", "virtualmachineid"):
            rows = [one for one in rows if params.get(name) in (None, one.get(name))]
        return rows


def calls(server):
    return [call for call, _params in server.asked]


# -- volumes


def volumes(server, *entries):
    wanted = [CLOUD_VOLUMES.parse(checked(cloudstack_volume.DECLARED, **{"zone": "sofia", **one}), 0.0) for one in entries]
    return CLOUD_VOLUMES.observe(server, wanted)


def row(name="data", **more):
    return {"id": f"id-{name}", "name": name, "state": "Ready", "type": "DATADISK", "path": "/dev/storpool-byid/sf.a.1", "size": 1, **more}


@pytest.mark.parametrize(
    ("entries", "params"),
    [
        ([{"name": "data"}], {"name": "data"}),
        ([{"name": None, "id": "id-data"}], {"id": "id-data"}),
        ([{"name": "data"}, {"name": "log"}], {}),
        ([{"name": "data", "renamed_from": "old"}], {}),
        ([{"name": "data"}, {"name": None, "id": "id-log"}], {}),
    ],
)
def test_volumes_are_listed_once_and_always_within_their_owner(entries, params):
    server = Server(listVolumes=[row("data"), row("log")], volumes=[raw_volume("", 1)])
    world = volumes(server, *entries)
    assert [asked for call, asked in server.asked if call == "listVolumes"] == [{**params, **WITHIN}]
    assert "data" in [one["name"] for one in world.volumes[SOFIA]]


def test_what_stays_as_it_is_takes_no_more_reads():
    server = Server(listVolumes=[row()], volumes=[raw_volume("", 1)])
    world = volumes(server, {"name": "data"})
    assert calls(server) == ["listZones", "listVolumes", "listDiskOfferings"]
    assert list(world.storpool) == ["~sf.a.1"]
    assert "listDiskOfferings" not in calls(again := Server(listVolumes=[row()])) and volumes(again, {"name": "data", "state": "absent"})
    assert calls(again) == ["listZones", "listVolumes"]


def test_the_vm_is_looked_for_only_when_it_is_another():
    machines = {"listVirtualMachines": [{"id": "m1", "name": "db1"}, {"id": "m2", "name": "db2"}], "listVMSnapshot": []}
    attached = row(virtualmachineid="m1", vmname="db1")
    server = Server(listVolumes=[attached], volumes=[raw_volume("", 1)], **machines)
    world = volumes(server, {"name": "data", "vm": "db1"})
    assert "listVirtualMachines" not in calls(server) and not world.vms
    server = Server(listVolumes=[attached], volumes=[raw_volume("", 1)], **machines)
    world = volumes(server, {"name": "data", "vm": "db2"})
    assert ("listVirtualMachines", {"name": "db2", **WITHIN}) in server.asked
    assert world.vms[SOFIA, "db2"]["id"] == "m2"
    asked = [params["virtualmachineid"] for call, params in server.asked if call == "listVMSnapshot"]
    assert sorted(asked) == ["m1", "m2"]  # neither may have VM snapshots


def test_vm_snapshots_are_seen_of_both_vms():
    snapshots = [{"id": "s", "virtualmachineid": "m2"}]
    machines = [{"id": "m1", "name": "db1"}, {"id": "m2", "name": "db2"}]
    attached = row(virtualmachineid="m1", vmname="db1")
    server = Server(listVolumes=[attached], listVirtualMachines=machines, listVMSnapshot=snapshots, volumes=[raw_volume("", 1)])
    assert volumes(server, {"name": "data", "vm": "db2"}).with_snapshots == {"m2"}


def test_a_destroyed_volume_is_none_unless_its_id_is_given():
    server = Server(listVolumes=[row(state="Destroy")])
    world = volumes(server, {"name": "data"})
    assert world.belongs == {SOFIA: {"zoneid": "z1"}}, "one of this name is to be made"
    by_id = CLOUD_VOLUMES.parse(checked(cloudstack_volume.DECLARED, id="id-data", zone="sofia"), 0.0)
    made = CLOUD_VOLUMES.plan(by_id, CLOUD_VOLUMES.observe(Server(listVolumes=[row(state="Destroy")]), [by_id]))
    assert "is destroyed" in str(made.refused) and not made.changes


# -- VM snapshots


def vm_snapshots(server, *entries):
    wanted = [VM_SNAPSHOTS.parse(checked(cloudstack_vm_snapshot.DECLARED, **{"name": "before", **one}), 0.0) for one in entries]
    return VM_SNAPSHOTS.observe(server, wanted)


def with_two_vms(**more):
    machines = [{"id": "m1", "name": "db1"}, {"id": "m2", "name": "db2"}]
    taken = [{"id": f"s{number}", "displayname": "before", "virtualmachineid": f"m{number}", "state": "Ready"} for number in (1, 2)]
    disks = [row(f"disk{number}", virtualmachineid=f"m{number}") for number in (1, 2)]
    group = [raw_snapshot("", 50 + number, tags={"cs": "group", "uuid": f"s{number}"}) for number in (1, 2)]
    others = [raw_snapshot("", 60, tags={"cs": "group", "uuid": "s1"}, deleted=True), raw_snapshot("x", 61, tags={"cs": "snapshot"})]
    listings = {"listVirtualMachines": machines, "listVMSnapshot": taken, "listVolumes": disks, **more}
    return Server(snapshots=[*group, *others], **listings)


@pytest.mark.parametrize(
    ("given", "reads", "asks_storpool"),
    [
        ({}, ["listVirtualMachines", "listVMSnapshot", "listVolumes"], True),
        ({"verify": "off"}, ["listVirtualMachines", "listVMSnapshot", "listVolumes"], False),
        ({"state": "reverted"}, ["listVirtualMachines", "listVMSnapshot", "listVolumes"], True),
        ({"state": "absent"}, ["listVirtualMachines", "listVMSnapshot"], False),
        ({"name": "n-%Y", "state": "pruned", "keep_last": 1}, ["listVirtualMachines", "listVMSnapshot"], False),
    ],
)
def test_what_a_vm_snapshot_takes_to_be_planned(given, reads, asks_storpool):
    server = with_two_vms()
    world = vm_snapshots(server, {"vm": "db1", **given})
    assert calls(server) == reads
    assert all(params.get("virtualmachineid") == "m1" for call, params in server.asked if call != "listVirtualMachines")
    assert [one["id"] for one in world.snapshots["m1"]] == ["s1"] and "m2" not in world.snapshots
    assert (world.groups is not None) == asks_storpool
    if asks_storpool:
        assert {key: len(group) for key, group in world.groups.items()} == {"s1": 1, "s2": 1}


def test_how_many_a_vm_may_have_is_asked_before_one_is_taken():
    listed = [{"name": "vmsnapshot.max", "value": "7"}, {"name": "vmsnapshot.max.other", "value": "1"}]
    server = with_two_vms(listConfigurations=listed)
    assert vm_snapshots(server, {"vm": "db1", "name": "new"}).most == 7 and calls(server)[-1] == "listConfigurations"


def test_several_vms_are_read_with_the_same_few_calls():
    server = with_two_vms()
    world = vm_snapshots(server, {"vm": "db1"}, {"vm": "db2"})
    assert calls(server) == ["listVirtualMachines", "listVMSnapshot", "listVolumes"]
    assert all("virtualmachineid" not in params and params["listall"] is True for _call, params in server.asked)
    assert sorted(world.snapshots) == sorted(world.volumes) == ["m1", "m2"]


def test_a_vm_that_is_not_there_takes_no_more_reads():
    server = with_two_vms()
    vm_snapshots(server, {"vm": "no-such"})
    assert calls(server) == ["listVirtualMachines"]


@pytest.mark.parametrize(("state", "vm", "reads"), [("reverted", "db1", 2), ("reverted", "db2", 1), ("present", "db1", 1)])
def test_a_vm_that_a_job_is_about_is_waited_for_before_it_is_reverted(state, vm, reads, monkeypatch):
    """An earlier run may have begun to stop it; then what is listed is neither what it was nor what it will be."""
    idle = [{"id": "m1", "name": "db1"}, {"id": "m2", "name": "db2"}]
    server = with_two_vms(listVirtualMachines=[{**idle[0], "jobid": "j1"}, idle[1]])
    server.connection.job_timeout = 60.0

    def pause(_seconds):
        server.listings["listVirtualMachines"] = idle

    monkeypatch.setattr("ansible_collections.storpool.cloudstack.plugins.module_utils.resources._cloud.time.sleep", pause)
    world = vm_snapshots(server, {"vm": vm, "state": state})
    assert calls(server).count("listVirtualMachines") == reads
    assert [one for one in world.machines[Owner()] if "jobid" in one] == ([] if reads > 1 or vm == "db2" else [{**idle[0], "jobid": "j1"}])


@pytest.mark.parametrize(
    ("name", "state", "job", "reads"),
    [
        ("before", "Creating", None, 2),
        ("other", "Creating", None, 1),
        ("before", "Ready", None, 1),
        ("before", "Expunging", "j1", 2),
        ("before", "Expunging", None, 1),  # a deletion that failed: nobody is at it
    ],
)
def test_a_declared_snapshot_that_is_being_made_is_waited_for(name, state, job, reads, monkeypatch):
    server = with_two_vms(listVMSnapshot=[{"id": "s1", "displayname": name, "virtualmachineid": "m1", "state": state, "jobid": job}])
    server.connection.job_timeout = 60.0

    def pause(_seconds):
        server.listings["listVMSnapshot"] = []

    monkeypatch.setattr("ansible_collections.storpool.cloudstack.plugins.module_utils.resources._cloud.time.sleep", pause)
    vm_snapshots(server, {"vm": "db1"})
    assert calls(server).count("listVMSnapshot") == reads
