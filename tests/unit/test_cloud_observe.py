# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Volumes, snapshots and VM snapshots of CloudStack: which listings are read for what is declared, and what the planner gets of them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from ansible_collections.storpool.cloudstack.plugins.module_utils._errors import ApiError, OptionError
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources._cloud import Owner
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources.cloud_snapshot import CLOUD_SNAPSHOTS
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources.cloud_volume import CLOUD_VOLUMES
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources.vm_snapshot import VM_SNAPSHOTS
from ansible_collections.storpool.cloudstack.plugins.modules import cloudstack_snapshot, cloudstack_vm_snapshot, cloudstack_volume
from things import checked, raw_snapshot, raw_volume

ZONES = {"listZones": [{"id": "z1", "name": "sofia"}]}
SOFIA = Owner(zone="sofia")
WITHIN = {"listall": True, "zoneid": "z1"}


class Server:
    """Answers listings from tables, by name and id where these are asked for, and keeps what it was asked."""

    def __init__(self, volumes=(), snapshots=(), exports=(), **listings):
        self.listings = {**ZONES, **listings}
        self.asked = []
        self.connection = SimpleNamespace(job_timeout=0.0)
        self.version = (4, 22, 0, 0)
        by_name = {one["name"]: one for one in volumes}
        self.storpool = SimpleNamespace(
            volume=by_name.get, volumes=lambda: list(volumes), snapshots=lambda: list(snapshots), volumes_space=list, snapshots_space=list,
            attachments=list, exports=lambda: list(exports), connection=SimpleNamespace(multi_cluster=False),
        )  # fmt: skip

    def capabilities(self):
        return {"kvmsnapshotenabled": True}

    def list(self, call, key, unlimited=False, **params):
        assert call.lower().removeprefix("list").rstrip("s") == key.lower().rstrip("s") or key.startswith("api"), (call, key)
        assert unlimited or params.keys() & {"id", "name", "snapshotid"}, f"all of {call} are asked for at once"
        self.asked.append((call, params))
        rows = self.listings.get(call, [])
        for name in ("id", "name", "virtualmachineid", "volumeid", "snapshotid"):
            rows = [one for one in rows if params.get(name) in (None, one.get(name))]
        return rows if "showunique" in params else list({one.get("id", number): one for number, one in enumerate(rows)}.values())


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
    assert world.look(server).volumes == world.volumes, "the proof reads the same again"


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


def test_a_new_volume_is_told_with_the_names_of_its_places():
    listings = {"listDomains": [{"id": "d0", "name": "ROOT", "path": "ROOT"}, {"id": "d1", "name": "ops", "path": "ROOT/ops"}]}
    server = Server(**listings)
    world = volumes(server, {"name": "new", "domain": "ops", "account": "eve"})
    assert list(world.places.values()) == [{"zone": "sofia", "domain": "ROOT/ops", "account": "eve", "project": None}]
    assert list(world.belongs.values()) == [{"zoneid": "z1", "domainid": "d1", "account": "eve"}]
    assert [calls(server).count(call) for call in ("listZones", "listDomains", "listProjects")] == [1, 1, 0]
    nowhere = volumes(Server(), {"name": "new", "zone": "sofia"}, {"name": "far", "zone": "sofia"})
    assert nowhere.places == {SOFIA: {"zone": "sofia", "domain": None, "account": None, "project": None}}


SNAPSHOTS = [
    {"id": "s1", "name": "monday", "volumeid": "id-source", "state": "BackedUp", "datastoretype": "Primary"},
    {"id": "s1", "name": "monday", "volumeid": "id-source", "state": "BackedUp", "datastoretype": "Image"},
    {"id": "s2", "name": "lonely", "volumeid": "id-data", "state": "BackedUp", "datastoretype": "Primary"},
]


def test_what_a_volume_is_made_from():
    server = Server(listVolumes=[row("source", maxiops=100)], listSnapshots=SNAPSHOTS[:1])
    world = volumes(server, {"name": "copy", "snapshot": "monday"}, {"name": "more", "snapshot": "monday"})
    assert calls(server).count("listSnapshots") == 1 and ("listSnapshots", {"name": "monday", **WITHIN}) in server.asked
    assert ("listVolumes", {"id": "id-source", "listall": True}) in server.asked and calls(server).count("listVolumes") == 2
    assert world.sources["id-source"]["maxiops"] == 100 and [one["id"] for one in world.snapshots[SOFIA]] == ["s1"]
    gone = volumes(Server(listSnapshots=SNAPSHOTS[:1]), {"name": "copy", "snapshot": "monday"})
    assert gone.sources == {"id-source": {}}, "the volume is gone, its snapshot is not"
    two = Server(listVolumes=[row("source")], listSnapshots=[*SNAPSHOTS[:1], {**SNAPSHOTS[2], "name": "monday"}])
    assert volumes(two, {"name": "copy", "snapshot": "monday"}).sources == {}, "which of them is meant is not known"
    several = Server(listSnapshots=SNAPSHOTS)
    volumes(several, {"name": "copy", "snapshot": "monday"}, {"name": "more", "snapshot": "lonely"})
    assert ("listSnapshots", WITHIN) in several.asked and calls(several).count("listSnapshots") == 1


def test_what_a_volume_was_made_from_is_asked_of_storpool_only_when_cloudstack_does_not_tell():
    chain = [raw_snapshot("base", tags={"cs": "snapshot", "uuid": "s1"})]
    server = Server(listVolumes=[row(snapshotid="s1")], listSnapshots=SNAPSHOTS, volumes=[raw_volume("", 1)], snapshots=chain)
    assert "listSnapshots" not in calls(server) and volumes(server, {"name": "data", "snapshot": "s1"}).bases == {}
    assert "listSnapshots" not in calls(server), "the id says it"
    server = Server(listVolumes=[row()], listSnapshots=SNAPSHOTS, volumes=[raw_volume("", 1, parentName="base")], snapshots=chain)
    world = volumes(server, {"name": "data", "snapshot": "monday"})
    assert ("listSnapshots", WITHIN) in server.asked and list(world.bases) == ["base"]
    assert world.taken_of == {"s1": "id-source", "s2": "id-data"} and world.origin(row()) == "s1"


def test_snapshots_that_forbid_a_move():
    pools = [{"id": "p2", "name": "other"}]
    here = {"storage": "here", "storageid": "p1"}
    one = Server(listVolumes=[row(**here)], listSnapshots=SNAPSHOTS, listStoragePools=pools, volumes=[raw_volume("", 1)])
    world = volumes(one, {"name": "data", "storage_pool": "other"})
    assert [(call, asked) for call, asked in one.asked if call == "listSnapshots"] == [
        ("listSnapshots", {"showunique": False, "volumeid": "id-data", **WITHIN})
    ]
    assert [row["id"] for row in world.lonely["id-data"]] == ["s2"] and world.pools == pools
    both = Server(
        listVolumes=[row(**here), row("source", **here)], listSnapshots=SNAPSHOTS, listStoragePools=pools, volumes=[raw_volume("", 1)]
    )
    world = volumes(both, {"name": "data", "storage_pool": "other"}, {"name": "source", "storage_pool": "other"})
    assert ("listSnapshots", {"showunique": False, **WITHIN}) in both.asked and list(world.lonely) == ["id-data"]
    there = Server(listVolumes=[row(**here)], volumes=[raw_volume("", 1)])
    assert not volumes(there, {"name": "data", "storage_pool": "here"}).pools and "listSnapshots" not in calls(there)
    unborn = Server(listVolumes=[row(state="Allocated", path=None)], listStoragePools=pools)
    assert volumes(unborn, {"name": "data", "storage_pool": "other"}).pools == pools and "listSnapshots" not in calls(unborn)


def test_the_clients_of_hosts():
    machines = [{"id": "m1", "name": "db1", "hostname": "kvm11"}, {"id": "m2", "name": "db2", "hostname": "kvm99"}]
    attached = row(virtualmachineid="m1", vmname="db1", vmstate="Running")
    server = Server(listVolumes=[attached], listVirtualMachines=machines, volumes=[raw_volume("", 1)])
    world = volumes(server, {"name": "data", "sp_node_ids": {"kvm11": 11}})
    assert world.clients == {"m1": 11} and ("listVirtualMachines", WITHIN) in server.asked
    for rows, more in (([attached], {}), ([row()], {"sp_node_ids": {"kvm11": 11}})):
        server = Server(listVolumes=rows, listVirtualMachines=machines, volumes=[raw_volume("", 1)])
        assert volumes(server, {"name": "data", **more}).clients == {} and "listVirtualMachines" not in calls(server)


def test_attachments_of_several_clusters_are_not_known():
    server = Server(listVolumes=[row()], volumes=[raw_volume("", 1)])
    assert volumes(server, {"name": "data"}).attachments == {}
    server.storpool.connection.multi_cluster = True
    assert volumes(server, {"name": "data"}).attachments is None


@pytest.mark.parametrize(
    ("more", "given", "read"),
    [
        ({"vmstate": "Running"}, {"size": "2G"}, True),
        ({"vmstate": "Running"}, {"offering": "other"}, True),
        ({"vmstate": "Running"}, {"max_iops": 5}, False),
        ({"vmstate": "Stopped"}, {"size": "2G"}, False),
        ({}, {"size": "2G"}, False),
        ({}, {"delete_protection": True}, True),
        ({"deleteprotection": False}, {"delete_protection": True}, False),
    ],
)
def test_the_release_is_asked_for_what_depends_on_it(more, given, read):
    world = volumes(Server(listVolumes=[row(**more)], volumes=[raw_volume("", 1)]), {"name": "data", **given})
    assert (world.version is not None) is read


@pytest.mark.parametrize(("status", "refused"), [(431, False), (530, True)])
def test_an_id_that_there_is_not(status, refused):
    class Refusing(Server):
        def list(self, call, key, unlimited=False, **params):
            if "id" in params:
                raise ApiError(str(status), "invalid value", status=status)
            return super().list(call, key, unlimited, **params)

    wanted = [CLOUD_VOLUMES.parse(checked(cloudstack_volume.DECLARED, id="id-gone", state="absent"), 0.0)]
    if refused:
        with pytest.raises(ApiError):
            CLOUD_VOLUMES.observe(Refusing(), wanted)
    else:
        assert not CLOUD_VOLUMES.plan(wanted[0], CLOUD_VOLUMES.observe(Refusing(), wanted)).changes


@pytest.mark.parametrize(
    ("state", "name", "looks"),
    [("Resizing", "data", 2), ("Migrating", "old", 2), ("Resizing", "other", 1), ("Ready", "data", 1)],
)
def test_a_volume_that_a_job_is_about_is_waited_for(state, name, looks):
    class Slow(Server):
        def list(self, call, key, unlimited=False, **params):
            found = super().list(call, key, unlimited, **params)
            if call == "listVolumes":
                self.listings["listVolumes"] = [{**one, "state": "Ready"} for one in self.listings["listVolumes"]]
            return found

    server = Slow(listVolumes=[row(name, state=state), row("more")], volumes=[raw_volume("", 1)])
    server.connection.job_timeout = 5.0
    volumes(server, {"name": "data", "renamed_from": "old"})
    assert calls(server).count("listVolumes") == looks


# -- snapshots


def snapshots(server, *entries):
    wanted = [
        CLOUD_SNAPSHOTS.parse(checked(cloudstack_snapshot.DECLARED, **{"volume": "data", "name": "s", **one}), 0.0) for one in entries
    ]
    return CLOUD_SNAPSHOTS.observe(server, wanted)


def taken(name="s", of="data", **more):
    fields = {"id": f"{name}-{of}", "name": name, "state": "BackedUp", "volumeid": f"id-{of}", "volumename": of, "datastoretype": "Primary"}
    return {**fields, "virtualsize": 1, "zoneid": "z1", "zonename": "sofia", **more}


def on_storpool(identity, number=50, **more):
    return raw_snapshot("", number, **{"tags": {"cs": "snapshot", "uuid": identity}, **more})


GONE_ID = "3f1c2f1e-0a0b-4c0d-8e0f-000000000009"


@pytest.mark.parametrize(
    ("entries", "of_volumes", "of_snapshots"),
    [
        ([{}], [{"name": "data"}], {"volumeid": "id-data"}),
        ([{"zone": "sofia"}], [{"name": "data", "zoneid": "z1"}], {"volumeid": "id-data"}),
        ([{}, {"name": "t"}], [{"name": "data"}], {"volumeid": "id-data"}),
        ([{}, {"volume": "log"}], [{}], {}),
        ([{}, {"volume": "gone"}], [{}], {}),
        ([{"volume": "gone"}], [{"name": "gone"}], {"name": "s"}),
        ([{"volume": "gone", "name": "s-%Y", "state": "pruned", "keep_last": 1}], [{"name": "gone"}], {}),
        ([{"volume": "gone", "name": "a", "state": "absent"}, {"volume": "gone", "name": "b", "state": "absent"}], [{"name": "gone"}], {}),
        ([{"volume": None, "name": None, "id": GONE_ID, "state": "absent"}], [], {"id": GONE_ID}),
    ],
)
def test_snapshots_are_listed_of_the_volume_or_by_name_or_all(entries, of_volumes, of_snapshots):
    """Not of the zone alone: a snapshot may lie in others than its volume."""
    server = Server(listVolumes=[row("data"), row("log")])
    snapshots(server, *entries)
    assert [asked for call, asked in server.asked if call == "listVolumes"] == [{"listall": True, **one} for one in of_volumes]
    assert [asked for call, asked in server.asked if call == "listSnapshots"] == [{"listall": True, **of_snapshots}]


@pytest.mark.parametrize(
    ("given", "listed", "copies"),
    [
        ({}, [taken()], {"s-data": 2}),
        ({}, [], {}),
        ({"verify": "off"}, [taken()], None),
        ({"verify": "off", "zones": ["sofia"]}, [taken()], {"s-data": 2}),
        ({"verify": "off", "backup": False}, [taken()], {"s-data": 2}),
        ({"state": "absent"}, [taken()], None),
        ({"state": "absent", "zones": ["sofia"]}, [taken()], {"s-data": 2}),
    ],
)
def test_where_a_snapshot_lies_is_asked_when_it_matters(given, listed, copies):
    server = Server(listVolumes=[row()], listSnapshots=listed * 2, snapshots=[on_storpool("s-data")])
    world = snapshots(server, given)
    assert (world.copies and {key: len(rows) for key, rows in world.copies.items()}) == (copies or (copies if copies is None else {}))
    asked = [params for call, params in server.asked if call == "listSnapshots" and "showunique" in params]
    assert asked == ([{"showunique": False, "volumeid": "id-data", "listall": True}] if copies else [])


@pytest.mark.parametrize(
    ("given", "exported", "read", "exports"),
    [
        ({}, True, ["s-data"], {}),
        ({"verify": "off"}, True, None, {}),
        ({"state": "reverted"}, True, ["s-data"], {}),
        ({"state": "absent"}, True, ["s-data"], {"sf.a.50": ["far", "farther"]}),
        ({"state": "absent"}, False, None, {}),
        ({"state": "absent", "name": "other"}, True, None, {}),
        ({"name": "n-%Y", "state": "pruned", "keep_last": 1}, True, ["s-data"], {"sf.a.50": ["far", "farther"]}),
    ],
)
def test_storpools_snapshots_are_read_of_what_is_proved_or_exported(given, exported, read, exports):
    listed = [on_storpool("s-data"), on_storpool("x", 51, deleted=True), on_storpool("y", 52, tags={"cs": "group", "uuid": "y"})]
    there = [{"globalId": "sf.a.50", "location": place} for place in ("far", "farther")]
    server = Server(listVolumes=[row()], listSnapshots=[taken()], snapshots=listed, exports=there if exported else [])
    world = snapshots(server, given)
    assert (world.storpool and list(world.storpool), world.exports) == (read, exports)
    assert "getVolumeSnapshotDetails" not in calls(server)


@pytest.mark.parametrize(
    ("detail", "found"),
    [
        ({}, True),
        ({"snapshotDetailsName": "s-other"}, False),
        ({"snapshotDetailsValue": "/dev/storpool-byid/sf.a.60"}, False),
        ({"snapshotDetailsValue": "no-path"}, False),
    ],
)
def test_a_snapshot_without_its_tags_is_found_by_what_cloudstack_noted(detail, found):
    noted = {"snapshotid": "s-data", "snapshotDetailsName": "s-data", "snapshotDetailsValue": "/dev/storpool-byid/sf.a.50", **detail}
    listed = [raw_snapshot("", 50), raw_snapshot("", 60, deleted=True)]
    server = Server(listVolumes=[row()], listSnapshots=[taken()], snapshots=listed, getVolumeSnapshotDetails=[noted])
    assert list(snapshots(server, {}).storpool) == (["s-data"] if found else [])


def test_a_revert_looks_at_the_vm_and_at_what_was_written():
    attached = row(virtualmachineid="m1", vmname="db1")
    machines = [{"id": "m1", "name": "db1"}, {"id": "m2", "name": "db2"}]
    listings = {"listSnapshots": [taken()], "listVirtualMachines": machines, "snapshots": [on_storpool("s-data")]}
    for group, seen in (([], set()), ([{"id": "g", "virtualmachineid": "m1"}], {"m1"}), ([{"id": "g", "virtualmachineid": "m2"}], set())):
        server = Server(listVolumes=[attached], listVMSnapshot=group, volumes=[raw_volume("", 1)], **listings)
        world = snapshots(server, {"state": "reverted"})
        assert (world.machines, world.with_vm_snapshots) == ({"m1": machines[0]}, seen)
        assert set(world.written) == {"~sf.a.1", "~sf.a.50"}
    for entry, volume in (({"state": "reverted"}, row()), ({}, attached)):
        server = Server(listVolumes=[volume], volumes=[raw_volume("", 1)], **listings)
        world = snapshots(server, entry)
        assert not world.machines and bool(world.written) is bool(entry) and "listVirtualMachines" not in calls(server)


@pytest.mark.parametrize(
    ("version", "given", "volume", "asked"),
    [
        ((4, 20, 2, 0), {}, "data", ["snapshot.backup.to.secondary", "sp.bypass.secondary.storage"]),
        ((4, 21, 0, 0), {}, "data", ["snapshot.backup.to.secondary"]),
        ((4, 21, 0, 0), {}, "log", []),
        ((4, 21, 0, 0), {"state": "absent"}, "data", []),
    ],
)
def test_the_settings_are_asked_before_one_is_taken(version, given, volume, asked):
    listed = [{"name": name, "value": name.startswith("sp")} for name in ("snapshot.backup.to.secondary", "sp.bypass.secondary.storage")]
    server = Server(listVolumes=[row(volume)], listConfigurations=[*listed, {"name": "other"}])
    server.version = version
    world = snapshots(server, given)
    assert [params["name"] for call, params in server.asked if call == "listConfigurations"] == asked
    assert world.settings == {name: str(name.startswith("sp")).lower() for name in asked}
    assert bool(world.capabilities) is bool(asked)


@pytest.mark.parametrize(
    ("state", "name", "given", "reads"),
    [
        ("BackedUp", "s", {"state": "absent"}, 1),
        ("Destroying", "s", {"state": "absent"}, 2),
        ("Destroying", "s", {}, 2),
        ("Destroying", "other", {"state": "absent"}, 1),
        ("BackingUp", "s", {"state": "absent"}, 2),
        ("BackingUp", "s", {}, 1),  # the plan waits for it: that may take hours
    ],
)
def test_a_snapshot_that_a_job_is_about_is_waited_for(state, name, given, reads, monkeypatch):
    server = Server(listVolumes=[row()], listSnapshots=[taken(name, state=state)])
    server.connection.job_timeout = 60.0

    def pause(_seconds):
        server.listings["listSnapshots"] = []

    monkeypatch.setattr("ansible_collections.storpool.cloudstack.plugins.module_utils.resources._cloud.time.sleep", pause)
    snapshots(server, {"verify": "off", **given})
    assert calls(server).count("listSnapshots") == reads


FAR = {"listZones": [{"id": "z1", "name": "sofia"}, {"id": "z2", "name": "plovdiv"}, {"id": "z3", "name": "varna"}]}


@pytest.mark.parametrize(
    ("version", "zones", "copies", "targets"),
    [
        ((4, 22, 0, 0), ["plovdiv"], ["z1"], ["z1", "z2"]),
        ((4, 22, 0, 0), ["plovdiv", "sofia"], ["z1", "z2"], []),
        ((4, 22, 0, 0), ["plovdiv"], None, ["z1", "z2"]),
        ((4, 22, 0, 0), ["sofia"], None, []),
        ((4, 22, 0, 0), ["nowhere"], None, []),
        ((4, 20, 2, 0), ["plovdiv"], ["z1"], []),
        ((4, 21, 0, 0), ["plovdiv"], ["z1"], ["z1", "z2"]),
    ],
)
def test_pools_of_zones_that_lack_a_copy_are_looked_at(version, zones, copies, targets):
    pools = [{"id": f"p{number}", "name": f"pool{number}", "zoneid": f"z{number}", "provider": "StorPool"} for number in (1, 2, 3)]
    pools += [{"id": "nfs", "name": "nfs", "zoneid": "z2", "provider": "DefaultPrimary"}]
    settings = [{"name": "use.storage.replication", "value": "true"}, {"name": "sp.cluster.location"}, {"name": "other", "value": "x"}]
    rows = [taken(zoneid=zone) for zone in copies or ()]
    server = Server(
        listVolumes=[row(zoneid="z1")], listSnapshots=rows, listStoragePools=pools, listConfigurations=settings,
        snapshots=[on_storpool("s-data")], **FAR,
    )  # fmt: skip
    server.version = version
    world = snapshots(server, {"zones": zones})
    assert sorted(world.targets) == targets
    for zone, found in world.targets.items():
        assert found == [{"name": f"pool{zone[1:]}", "use.storage.replication": "true", "sp.cluster.location": ""}]
    names = {"sofia": ("z1", "sofia"), "plovdiv": ("z2", "plovdiv")}
    for zone in zones:
        assert world.zones[zone] == names.get(zone) or zone == "nowhere"
    if "nowhere" in zones:
        with pytest.raises(OptionError, match="option zones: 'nowhere' does not exist"):
            world.zone("nowhere")


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
    assert (world.groups is not None) == asks_storpool and bool(world.written) == (given.get("state") == "reverted")
    if asks_storpool:
        assert {key: len(group) for key, group in world.groups.items()} == {"s1": 1, "s2": 1}


def test_how_many_a_vm_may_have_is_asked_before_one_is_taken():
    listed = [{"name": "vmsnapshot.max", "value": "7"}, {"name": "vmsnapshot.max.other", "value": "1"}]
    server = with_two_vms(listConfigurations=listed)
    assert vm_snapshots(server, {"vm": "db1", "name": "new"}).most == 7
    assert server.asked[-1] == ("listConfigurations", {"name": "vmsnapshot.max"})


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
