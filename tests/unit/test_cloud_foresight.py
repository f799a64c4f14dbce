# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What plans leave behind in CloudStack and, by its plugin's doing, on StorPool, as the next tasks of a check run are told."""

from __future__ import annotations

import pytest
from ansible_collections.storpool.cloudstack.plugins.module_utils import _storpool as sp
from ansible_collections.storpool.cloudstack.plugins.module_utils._cloudstack import CloudStack, Command, cached_on
from ansible_collections.storpool.cloudstack.plugins.module_utils._foresight import Foresight, is_made_up
from ansible_collections.storpool.cloudstack.plugins.module_utils._http import Stats
from ansible_collections.storpool.cloudstack.plugins.module_utils._options import CloudStackConnection
from ansible_collections.storpool.cloudstack.plugins.module_utils._plan import Change, Plan
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources import cloud_foresight
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources.offering import known_offerings
from test_http import connect
from things import GIB, raw_snapshot, raw_volume

LUKS_HEADER = 2 << 20  # sheet cloudstack-storpool, section 5.9
FAST = {"id": "nvme;1", "name": "fast", "provider": "StorPool", "zoneid": "z1", "state": "Up", "tags": "fast"}
NFS = {**FAST, "id": "p2", "name": "nfs", "provider": "DefaultPrimary"}
OTHER = {**FAST, "id": "hdd;2", "name": "other"}
TAGGED = {
    "id": "o1", "name": "Fast", "tags": "fast", "encrypt": False, "iscustomized": True, "iscustomizediops": True, "state": "Active",
}  # fmt: skip
VM = {"id": "m1", "name": "i-2-VM", "displayname": "db1", "state": "Running", "account": "ops", "domainid": "d1", "zoneid": "z1"}
DATA = {
    "id": "v1", "name": "data", "state": "Ready", "size": GIB, "path": "/dev/storpool-byid/sf.a.1", "storageid": "nvme;1",
    "storage": "fast", "zoneid": "z1", "zonename": "sofia", "account": "ops", "virtualmachineid": "m1", "vmname": "i-2-VM",
    "vmdisplayname": "db1", "vmstate": "Running", "deviceid": 1, "diskofferingid": "o1", "type": "DATADISK",
}  # fmt: skip
ALLOCATED = {"id": "v2", "name": "log", "state": "Allocated", "size": GIB, "zoneid": "z1", "diskofferingid": "o1"}
THERE = raw_volume("", 1, templateName="nvme", tags={"cs": "volume", "uuid": "v1"}, parentName="base", storedSize=7, spaceUsed=9)
AFTER = {
    "id": None, "name": "data", "state": "Ready", "size": 2 * GIB, "min_iops": 100, "max_iops": 300, "delete_protection": True,
    "zone": "sofia", "account": "ops", "domain": "ROOT", "project": None, "offering": "Fast", "encrypted": False, "storage_pool": None,
    "device_id": 4,
}  # fmt: skip


def clients(storpool=(), snapshots=(), copies=(), **listings):
    """The clients of a CloudStack that lists these rows by their key (`copies` are those of snapshots) and of the StorPool behind it."""
    client = CloudStack(CloudStackConnection("http://127.0.0.1:1/client/api", "key", "secret", True, 5, 10, {}))

    client.asked = []

    def listed(call, key, unlimited, params):
        client.asked.append((call, unlimited, params))
        rows = copies if params.get("showunique") is False else listings.get(key, ())
        return [] if params.get("projectid") else [dict(one) for one in rows]

    client._listed = listed
    client.storpool = connect(1)
    answers = {"VolumesList": storpool, "SnapshotsList": snapshots, "AttachmentsList": (), "VolumesSpace": storpool}
    client.storpool._get = lambda call, name=None: [dict(one) for one in answers[call]]
    client.begin(Stats(), read_only=True, foresight=Foresight([]))
    return client


def plan(before, after, *calls, secrets=(), **more):
    changes = [Change(call, Command(call, params, secrets=secrets)) for call, params in calls]
    return Plan("it", before, after, changes, **more)


def foresee(client, *given, **more):
    """Let the clients foresee one plan; what belongs to others is found as well."""
    client.asked.clear()
    cloud_foresight.foresee(client, [plan(*given, **more)])
    assert all(unlimited and params["listall"] for _call, unlimited, params in client.asked)


def only(rows):
    (row,) = rows
    return row


def made_up(row, *keys):
    """A row without the members that only the server can know."""
    assert all(is_made_up(row[key]) for key in keys), row
    return {key: value for key, value in row.items() if key not in keys}


def volumes(client):
    return client.list("listVolumes", "volume")


def told(row, *keys):
    return tuple(row.get(key) for key in keys)


# -- volumes

CREATE = ("createVolume", {"name": "data", "zoneid": "z1", "diskofferingid": "o1", "domainid": "d1"})
ATTACH = ("attachVolume", {"id": None, "virtualmachineid": "m1"})


def test_a_new_volume_is_nowhere_yet():
    client = clients()
    foresee(client, None, {**AFTER, "state": "Allocated"}, CREATE)
    assert made_up(only(volumes(client)), "id") == {
        "name": "data", "state": "Allocated", "size": 2 * GIB, "miniops": 100, "maxiops": 300, "deleteprotection": True, "zoneid": "z1",
        "zonename": "sofia", "account": "ops", "domainid": "d1", "domainpath": "ROOT", "project": None, "diskofferingid": "o1",
        "diskofferingname": "Fast", "snapshotid": None, "encryptformat": None, "type": "DATADISK", "tags": [], "foreseen": True,
    }  # fmt: skip
    assert client.storpool.volumes() == []


@pytest.mark.parametrize(
    ("pools", "name", "identity", "template"),
    [
        ([FAST, {**OTHER, "tags": "slow"}, {**OTHER, "zoneid": "z2"}, {**OTHER, "state": "Maintenance"}], "fast", "nvme;1", "nvme"),
        ([FAST, OTHER], None, None, ""),
    ],
)
def test_a_volume_comes_to_storpool_when_it_is_attached(pools, name, identity, template):
    client = clients(storagepool=pools, virtualmachine=[VM], diskoffering=[TAGGED])
    foresee(client, None, AFTER, CREATE, ATTACH)
    row = only(volumes(client))
    assert told(row, "storage", "storageid") == (name, identity)
    assert told(row, "virtualmachineid", "vmname", "vmdisplayname", "vmstate", "deviceid") == ("m1", "i-2-VM", "db1", "Running", 4)
    there = only(client.storpool.volumes())
    assert row["path"] == f"/dev/storpool-byid/{there['globalId']}" and there["name"] == f"~{there['globalId']}"
    assert (there["size"], there["iops"], there["templateName"], there["parentName"]) == (2 * GIB, 300, template, "")
    assert there["tags"] == {"cs": "volume", "uuid": row["id"]}
    space = only(client.storpool.volumes_space())
    assert (space["storedSize"], space["spaceUsed"]) == (0, 0), "nothing was written yet"


def test_a_volume_on_other_storage_is_not_on_storpool():
    client = clients(storagepool=[NFS], virtualmachine=[VM], diskoffering=[TAGGED])
    foresee(client, None, AFTER, CREATE, ATTACH)
    row = only(volumes(client))
    assert row["storage"] == "nfs" and row["path"] and "/" not in row["path"] and client.storpool.volumes() == []


def test_an_encrypted_volume_is_larger_there():
    client = clients(storagepool=[FAST], virtualmachine=[VM], diskoffering=[TAGGED])
    foresee(client, None, {**AFTER, "encrypted": True, "max_iops": None}, CREATE, ATTACH)
    there = only(client.storpool.volumes())
    assert only(volumes(client))["encryptformat"] == "LUKS" and (there["size"], there["iops"]) == (2 * GIB + LUKS_HEADER, "-")


def test_a_volume_from_a_snapshot_stands_on_it():
    snapshot = raw_snapshot("~sf.a.9", 9, tags={"cs": "snapshot", "uuid": "s1"})
    client = clients(snapshots=[raw_snapshot("~sf.a.8", 8, tags={"cs": "group", "uuid": "s1"}), snapshot], storagepool=[FAST])
    foresee(client, None, AFTER, ("createVolume", {**CREATE[1], "snapshotid": "s1", "diskofferingid": None}))
    assert only(volumes(client))["snapshotid"] == "s1" and only(client.storpool.volumes())["parentName"] == "~sf.a.9"


@pytest.mark.parametrize(
    ("call", "cloud", "storpool"),
    [
        (("resizeVolume", {"id": "v1"}), {}, {}),
        (("changeOfferingForVolume", {"id": "v1", "diskofferingid": "o2"}), {"diskofferingid": "o2", "diskofferingname": "Fast"}, {}),
        (("migrateVolume", {"volumeid": "v1", "storageid": "hdd;2"}), {"storageid": "hdd;2", "storage": "other"}, {"templateName": "hdd"}),
        (
            ("detachVolume", {"id": "v1"}),
            dict.fromkeys(("virtualmachineid", "vmname", "vmdisplayname", "vmstate", "deviceid")),
            {},
        ),
    ],
)
def test_a_changed_volume(call, cloud, storpool):
    client = clients(storpool=[THERE], volume=[DATA, ALLOCATED])
    foresee(client, {"id": "v1"}, {**AFTER, "id": "v1", "storage_pool": "other"}, call)
    changed, other = volumes(client)
    same = {"size": 2 * GIB, "miniops": 100, "maxiops": 300, "deleteprotection": True, "foreseen": True, "tags": []}
    assert changed == {**DATA, **same, **cloud} and other == ALLOCATED
    there = only(client.storpool.volumes())
    expected = {**THERE, "size": 2 * GIB, "iops": 300, **storpool}
    assert {key: there[key] for key in there} == {key: expected[key] for key in expected if key not in ("storedSize", "spaceUsed")}


@pytest.mark.parametrize(("gone", "left"), [("v1", 0), ("v2", 1)])
def test_a_deleted_volume(gone, left):
    client = clients(storpool=[THERE], volume=[DATA, ALLOCATED])
    foresee(client, {"id": gone}, None, ("deleteVolume", {"id": gone}))
    assert [one["id"] for one in volumes(client)] == [one for one in ("v1", "v2") if one != gone]
    assert len(client.storpool.volumes()) == left


def test_plans_of_one_task_follow_each_other():
    client = clients(storpool=[THERE], volume=[DATA])
    plans = [
        plan({"id": "v1"}, {**AFTER, "id": "v1"}, ("resizeVolume", {"id": "v1"})),
        plan({"id": "v1"}, {**AFTER, "id": "v1", "size": 3 * GIB}, ("migrateVolume", {"volumeid": "v1", "storageid": "hdd;2"})),
    ]
    cloud_foresight.foresee(client, plans)
    each = [{"listall": True}, {"listall": True, "projectid": "-1"}]
    assert client.asked == [("listVolumes", True, params) for params in each], "once for all of them"
    there = only(client.storpool.volumes())
    assert (there["size"], there["iops"], there["templateName"]) == (3 * GIB, 300, "hdd") and only(volumes(client))["size"] == 3 * GIB


# -- snapshots

TAKEN = {"id": None, "state": "BackedUp", "type": "MANUAL", "size": GIB, "account": "ops"}
SNAPSHOT = {"id": "s1", "name": "before", "volumeid": "v1", "zoneid": "z1", "virtualsize": 5 * GIB}
OF_S1 = raw_snapshot("~sf.a.9", 9, tags={"cs": "snapshot", "uuid": "s1"}, parentName="base")


def copies(client, **asked):
    return [told(one, "id", "zoneid", "datastoretype") for one in client.list("listSnapshots", "snapshot", showunique=False, **asked)]


@pytest.mark.parametrize(("backup", "stores"), [(True, ["Primary", "Image"]), (False, ["Primary"])])
def test_a_snapshot_is_on_storpool_and_where_it_is_backed_up(backup, stores):
    client = clients(storpool=[THERE], volume=[DATA])
    foresee(client, None, {**TAKEN, "backup": backup}, ("createSnapshot", {"volumeid": "v1", "name": "before"}))
    row = only(client.list("listSnapshots", "snapshot"))
    known = told(row, "name", "volumeid", "volumename", "state", "snapshottype", "virtualsize", "zoneid", "account", "datastorestate")
    assert known == ("before", "v1", "data", "BackedUp", "MANUAL", GIB, "z1", "ops", "Ready") and is_made_up(row["id"])
    assert copies(client) == [(row["id"], "z1", store) for store in stores]
    there = only(client.storpool.snapshots())
    assert told(there, "tags", "onVolume", "parentName") == ({"cs": "snapshot", "uuid": row["id"]}, "~sf.a.1", "base")
    assert only(client.storpool.volumes())["parentName"] == there["name"]


def test_a_snapshot_of_a_volume_that_is_not_on_storpool():
    client = clients(volume=[ALLOCATED])
    foresee(client, None, {**TAKEN, "backup": False}, ("createSnapshot", {"volumeid": "v2", "name": "before"}))
    assert len(client.list("listSnapshots", "snapshot")) == 1 and client.storpool.snapshots() == []


IN_BOTH = [{**SNAPSHOT, "datastoretype": "Primary"}, {**SNAPSHOT, "zoneid": "z2", "datastoretype": "Image"}]
ZONES = [{"id": "z1", "name": "sofia"}, {"id": "z2", "name": "plovdiv"}]


@pytest.mark.parametrize(
    ("call", "after", "left", "there"),
    [
        (("copySnapshot", {"id": "s1", "destzoneids": ["z3"]}), {"id": "s1"}, ["z1", "z2", "z3"], 1),
        (("deleteSnapshot", {"id": "s1", "zoneid": "z2"}), {"id": "s1"}, ["z1"], 1),
        (("deleteSnapshot", {"id": "s1", "zoneid": "z1"}), None, [], 0),
        (("deleteSnapshot", {"id": "s1"}), None, [], 0),
    ],
)
def test_copies_of_a_snapshot(call, after, left, there):
    client = clients(snapshots=[OF_S1], copies=IN_BOTH, snapshot=[SNAPSHOT], zone=ZONES)
    foresee(client, {"id": "s1"}, after, call)
    assert [zone for _id, zone, _store in copies(client)] == left
    assert len(client.storpool.snapshots()) == there
    assert len(client.list("listSnapshots", "snapshot")) == (0 if after is None else 1)


AS_FILE = {"datastoretype": "Image", "physicalsize": 0}


@pytest.mark.parametrize(
    ("copy", "params", "kind"),
    [
        (IN_BOTH[0], {}, AS_FILE),
        (IN_BOTH[0], {"usestoragereplication": True}, {}),
        (SNAPSHOT, {}, {}),
    ],
)
def test_a_copy_has_the_name_of_its_zone_and_is_where_it_was_made(copy, params, kind):
    """On a pool when StorPool makes it, else a file; who is no root admin sees neither."""
    client = clients(copies=[copy], snapshot=[SNAPSHOT], zone=ZONES)
    foresee(client, {"id": "s1"}, {"id": "s1"}, ("copySnapshot", {"id": "s1", "destzoneids": ["z2"], **params}))
    assert client.list("listSnapshots", "snapshot", showunique=False)[1] == {**copy, **kind, "zoneid": "z2", "zonename": "plovdiv"}


def test_what_stood_on_a_deleted_snapshot_stands_on_its_parent():
    client = clients(storpool=[{**THERE, "parentName": "~sf.a.9"}], snapshots=[OF_S1], volume=[DATA], snapshot=[SNAPSHOT])
    foresee(client, {"id": "s1"}, None, ("deleteSnapshot", {"id": "s1"}))
    assert only(client.storpool.volumes())["parentName"] == "base"


def test_a_reverted_volume_stands_on_the_snapshot():
    client = clients(storpool=[THERE], snapshots=[OF_S1], volume=[DATA], snapshot=[SNAPSHOT])
    foresee(client, {"id": "s1"}, {"id": "s1"}, ("revertSnapshot", {"id": "s1"}))
    assert told(only(volumes(client)), "size", "foreseen") == (5 * GIB, True)
    there = only(client.storpool.volumes_space())
    assert told(there, "parentName", "storedSize", "size") == ("~sf.a.9", 0, GIB), "a revert does not change the size there"


# -- VM snapshots

LOG = {**DATA, "id": "v3", "name": "log", "path": "/dev/storpool-byid/sf.a.3"}
ELSEWHERE = {**DATA, "id": "v4", "virtualmachineid": "m2", "path": "/dev/storpool-byid/sf.a.4"}
OF_VM = [raw_volume("", number, parentName=parent) for number, parent in ((1, "own"), (3, "g3"), (4, "g1"))]
GROUP = [raw_snapshot(name, number, tags={"cs": "group", "uuid": "vs1"}) for name, number in (("g1", 51), ("g3", 53))]
CHAIN = [*GROUP, raw_snapshot("own", 55, parentName="g1")]


def vm_cloud():
    return clients(
        storpool=OF_VM, snapshots=CHAIN, volume=[DATA, LOG, ELSEWHERE], virtualmachine=[VM],
        vmSnapshot=[{"id": "vs1", "virtualmachineid": "m1"}],
    )  # fmt: skip


def test_a_vm_snapshot_is_one_of_each_of_its_volumes():
    client = vm_cloud()
    after = {"state": "Ready", "type": "Disk", "description": "why"}
    foresee(client, None, after, ("createVMSnapshot", {"virtualmachineid": "m1", "name": "before"}))
    _old, row = client.list("listVMSnapshot", "vmSnapshot")
    keys = ("displayname", "virtualmachineid", "virtualmachinename", "state", "type", "description", "account", "domainid", "zoneid")
    assert told(row, *keys) == ("before", "m1", "i-2-VM", "Ready", "Disk", "why", "ops", "d1", "z1")
    new = [one for one in client.storpool.snapshots() if one["tags"].get("uuid") == row["id"]]
    assert [(one["onVolume"], one["tags"]["cs"]) for one in new] == [("~sf.a.1", "group"), ("~sf.a.3", "group")]


def test_a_deleted_vm_snapshot():
    client = vm_cloud()
    foresee(client, {}, None, ("deleteVMSnapshot", {"vmsnapshotid": "vs1"}))
    assert client.list("listVMSnapshot", "vmSnapshot") == [] and [one["name"] for one in client.storpool.snapshots()] == ["own"]


def test_a_reverted_vm():
    """Each of its volumes stands on its snapshot of the group, at once or through others; those of other VMs stay."""
    client = vm_cloud()
    foresee(client, {}, {}, ("revertToVMSnapshot", {"vmsnapshotid": "vs1"}))
    assert [(one["globalId"], one["parentName"]) for one in client.storpool.volumes()] == [
        ("sf.a.1", "g1"), ("sf.a.3", "g3"), ("sf.a.4", "g1"),
    ]  # fmt: skip


# -- the rest


def test_policies_keep_their_ids():
    client = clients(snapshotpolicy=[{"id": "p1", "volumeid": "v1"}, {"id": "p2", "volumeid": "v1"}])
    before = {"policies": [{"interval": "daily", "id": "p1"}, {"interval": "hourly", "id": "p2"}]}
    made = [("createSnapshotPolicy", {"intervaltype": kind, "volumeid": "v1"}) for kind in ("DAILY", "WEEKLY")]
    foresee(client, before, {}, ("deleteSnapshotPolicies", {"id": "p2"}), *made)
    daily, weekly = client.list("listSnapshotPolicies", "snapshotpolicy")
    assert daily == {"id": "p1", "volumeid": "v1", "intervaltype": "DAILY"}
    assert made_up(weekly, "id") == {"volumeid": "v1", "intervaltype": "WEEKLY"}


@pytest.mark.parametrize(("base", "objects"), [({}, 0), ({"base": {"expected": False}}, 0), ({"base": {"expected": True}}, 1)])
def test_a_template_may_be_a_snapshot_on_storpool(base, objects):
    client = clients(zone=ZONES, template=[{"id": "t1", "name": "old"}])
    after = {
        "name": "new", "display_text": "New", "size": GIB + 1, "public": True, "featured": False, "zones": ["plovdiv"], "project": None,
    }  # fmt: skip
    foresee(client, None, after, ("createTemplate", {"account": "ops", "domainid": "d1"}), notes=base)
    old, row = client.list("listTemplates", "template")
    keys = ("name", "displaytext", "isready", "size", "ispublic", "isfeatured", "zonename", "zoneid", "domainid", "account", "templatetype")
    assert told(row, *keys) == ("new", "New", True, GIB + 1, True, False, "plovdiv", "z2", "d1", "ops", "USER")
    found = client.storpool.snapshots()
    assert [told(one, "tags", "size") for one in found] == [({"cs": "template", "uuid": row["id"]}, GIB + 512)] * objects
    foresee(client, old, None, ("deleteTemplate", {"id": "t1"}))
    assert [one["name"] for one in client.list("listTemplates", "template")] == ["new"]


def test_a_cached_template_is_kept_without_its_secrets():
    row = {"id": "t1", "name": "debian", "url": "https://me:secret@x/", "details": {"a": "b"}, "size": GIB}
    client = clients(template=[row])
    foresee(client, None, {}, ("prepareTemplate", {"templateid": "t1", "storageid": "nvme;1"}))
    _place, listing, identity, entered = client._foresight.new[0]
    assert (listing, identity, entered) == (cached_on("nvme;1"), "t1", {"id": "t1", "name": "debian", "url": True, "size": GIB})
    there = only(client.storpool.snapshots())
    assert told(there, "tags", "templateName", "size", "onVolume") == ({"cs": "template", "uuid": "t1"}, "nvme", GIB, "-")


def test_orphans_are_gone():
    orphan = raw_snapshot("~sf.a.9", 9)
    client = clients(storpool=[THERE], snapshots=[orphan, OF_S1])
    writes = [sp.snapshot_delete("~sf.a.9"), sp.volume_delete("~sf.a.1"), sp.snapshot_delete("named"), sp.volume_update("~sf.a.1", {})]
    cloud_foresight.foresee(client, [Plan("it", {}, None, [Change(write.call, write) for write in writes])])
    assert client.storpool.volumes() == [] and client.storpool.snapshots() == []
    assert [identity for _place, _listing, identity, _row in client._foresight.new] == ["sf.a.9", "sf.a.1"]


POOL = {
    "id": None, "name": "fast", "state": "Up", "tags": ["a", "b"], "capacity": 7, "template": "nvme", "api": "10.0.0.1:81", "zone": "sofia",
}  # fmt: skip
TOKEN = "storpool://1234567@10.0.0.1:81/nvme"


def pools(client):
    return client.list("listStoragePools", "storagepool")


def test_a_pool_has_no_token_in_what_is_foreseen():
    client = clients(storagepool=[OTHER])
    foresee(client, None, POOL, ("createStoragePool", {"zoneid": "z1", "url": TOKEN, "details": {"SP_AUTH_TOKEN": "1234567"}}))
    assert "1234567" not in repr(client._foresight.new)
    _other, new = pools(client)
    assert new["id"].startswith("nvme;") and made_up(new, "id") == {
        "name": "fast", "state": "Up", "tags": "a,b", "capacitybytes": 7, "provider": "StorPool", "type": "StorPool", "scope": "ZONE",
        "zoneid": "z1", "zonename": "sofia", "istagarule": False,
        "details": {"SP_API_HTTP_HOST": "10.0.0.1:81", "SP_TEMPLATE": "nvme"},
    }  # fmt: skip
    later = {**POOL, "id": new["id"], "state": "Maintenance", "tags": []}
    foresee(client, later, later, ("enableStorageMaintenance", {"id": new["id"]}))
    assert pools(client)[1] == {**new, "state": "Maintenance", "tags": ""}, "what is new itself keeps the rest of its row"


def test_a_pool_that_is_there_changes_and_goes():
    client = clients(storagepool=[FAST, OTHER])
    foresee(client, {"id": "nvme;1"}, {**POOL, "id": "nvme;1", "name": "faster"}, ("updateStoragePool", {"id": "nvme;1"}))
    assert pools(client) == [{**FAST, "name": "faster", "tags": "a,b", "capacitybytes": 7}, OTHER]
    foresee(client, {"id": "nvme;1"}, None, ("deleteStoragePool", {"id": "nvme;1"}))
    assert pools(client) == [OTHER]


@pytest.mark.parametrize(
    ("call", "secrets", "value"),
    [
        (("updateConfiguration", {"name": "a", "value": "9", "zoneid": "z1"}), (), "9"),
        (("resetConfiguration", {"name": "a", "zoneid": "z1"}), (), "the default"),
        (("updateConfiguration", {"name": "a", "value": "9", "zoneid": "z1"}), ("9",), "1"),
    ],
)
def test_the_value_of_a_setting_that_is_no_secret(call, secrets, value):
    client = clients(configuration=[{"name": "a", "value": "1"}])
    foresee(client, {}, {"value": "the default"}, call, secrets=secrets)
    assert only(client.list("listConfigurations", "configuration", zoneid="z1"))["value"] == value
    assert only(client.list("listConfigurations", "configuration"))["value"] == "1"


def offerings(client):
    return list(known_offerings(client, compute=False).values())


def test_an_offering_is_as_it_was_made_and_then_gone():
    client = clients(diskoffering=[TAGGED])
    (shown,) = offerings(client)
    foresee(client, None, {**shown, "id": None, "name": "New"}, ("createDiskOffering", {}))
    old, new = offerings(client)
    assert old == shown and made_up(new, "id") == {**{key: shown[key] for key in shown if key != "id"}, "name": "New"}
    foresee(client, shown, None, ("deleteDiskOffering", {"id": "o1"}))
    assert [one["id"] for one in offerings(client)] == [new["id"]]


HOST = {
    "id": "h1", "name": "kvm11", "clusterid": "c1", "zoneid": "z1", "state": "Up", "resourcestate": "Enabled", "memoryallocated": 5,
    "details": {"password": "secret"},
}  # fmt: skip


@pytest.mark.parametrize(("power", "becomes"), [("Off", "Off"), (None, "On")])
def test_a_host_is_kept_without_its_secrets(power, becomes):
    client = clients(host=[HOST])
    after = {
        "id": "h1", "resource_state": "Maintenance", "ha": {"enabled": True, "state": "Available", "provider": "kvmhaprovider"},
        "oobm": {"enabled": True, "address": "10.0.0.9", "power": power},
    }  # fmt: skip
    foresee(client, after, after, ("enableHAForHost", {"hostid": "h1"}), ("configureHAForHost", {"hostid": "h1"}))
    assert client.asked == [("listHosts", True, {"listall": True, "type": "Routing", "hypervisor": "KVM"})]
    _place, *where, entered = only(client._foresight.new)
    assert where == ["host", "h1"] and entered == {
        **{key: HOST[key] for key in ("id", "name", "clusterid", "zoneid", "state", "memoryallocated")}, "resourcestate": "Maintenance",
        "outofbandmanagement": {"enabled": True, "address": "10.0.0.9", "powerstate": becomes},
        "hostha": {"haenable": True, "hastate": "Available", "haprovider": "kvmhaprovider"},
    }  # fmt: skip
    assert after["oobm"]["power"] == power, "the plan stays as it is"
    foresee(client, {}, {**after, "id": "h2"}, ("enableHAForHost", {"hostid": "h2"}))
    assert len(client._foresight.new) == 1, "a host that is not listed leaves nothing"


@pytest.mark.parametrize("kind", ["zone", "cluster"])
def test_the_switches_of_an_area(kind):
    details = {"sp.cluster.id": "sf.a", "kvm.ha.fence.on.storage.heartbeat.failure": "true", "token": "secret"}
    row = {"id": "a1", "name": "east", "zoneid": "z1", "resourcedetails": details, "dns1": "8.8.8.8"}
    client = clients(**{kind: [row]})
    call = "enableHAForZone" if kind == "zone" else "enableOutOfBandManagementForCluster"
    foresee(client, {}, {"id": "a1", "ha": True, "oobm": False}, (call, {}), kind=kind)
    _place, *where, entered = only(client._foresight.new)
    switches = {"resourceHAEnabled": "true", "outOfBandManagementEnabled": "false"}
    kept = {key: details[key] for key in ("sp.cluster.id", "kvm.ha.fence.on.storage.heartbeat.failure")}
    assert where == [kind, "a1"] and entered == {"id": "a1", "name": "east", "zoneid": "z1", "resourcedetails": {**kept, **switches}}


def test_calls_that_leave_nothing_behind():
    client = clients(volume=[DATA])
    foresee(client, {}, {}, ("startVirtualMachine", {"id": "m1"}))
    assert client._foresight.new == []
