# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Volumes of CloudStack: what is declared, what is planned for it, what is refused, and how the two systems are compared."""

from __future__ import annotations

import pytest
from ansible_collections.storpool.cloudstack.plugins.module_utils._errors import ChangeRefused, OptionError
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources._both_layers import origin_of, way_out
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources._cloud import Owner
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources._shared import index_attachments
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources.cloud_volume import CLOUD_VOLUMES, World
from ansible_collections.storpool.cloudstack.plugins.modules.cloudstack_volume import DECLARED
from things import actions, checked, raw_snapshot, raw_volume, sent, sound

GIB = 1 << 30
LUKS_HEADER = 2 << 20  # section 5.9
SOFIA = Owner(zone="sofia")
POOL = "nvme;3f1c2f1e-0a0b-4c0d-8e0f-000000000001"
OTHER_POOL = "hybrid;3f1c2f1e-0a0b-4c0d-8e0f-000000000002"
OFFERINGS = {
    "o-fixed": {"size": 20 * GIB, "custom_size": False, "min_iops": 5000, "max_iops": 5000, "custom_iops": False},
    "o-open": {"size": None, "custom_size": True, "min_iops": None, "max_iops": None, "custom_iops": True},
    "o-small": {"size": 10 * GIB, "custom_size": False, "min_iops": None, "max_iops": None, "custom_iops": False},
    "o-any": {"size": None, "custom_size": True, "min_iops": None, "max_iops": None, "custom_iops": False},
    "o-luks": {"size": None, "custom_size": True, "min_iops": None, "max_iops": None, "custom_iops": False, "encrypt": True},
    "o-tier": {"size": None, "custom_size": True, "max_iops": None, "custom_iops": False, "details": {"SP_QOSCLASS": "gold"}},
}


def wanted(**given):
    return CLOUD_VOLUMES.parse(checked(DECLARED, **{"name": "data", "zone": "sofia", **given}), 0.0)


def row(offering="o-open", **more):
    """A volume as listVolumes has it: detached, on StorPool."""
    fields = {"id": "v1", "name": "data", "state": "Ready", "type": "DATADISK", "zonename": "sofia", "account": "admin", "domain": "ROOT"}
    fields.update(
        size=20 * GIB, miniops=5000, maxiops=5000, diskofferingid=offering, diskofferingname=offering, storage="nvme", storageid=POOL
    )
    fields.update(path="/dev/storpool-byid/sf.a.1", deleteprotection=False)
    return {**fields, **more}


def attached(state="Running", **more):
    return row(virtualmachineid="m1", vmname="db1", vmstate=state, deviceid=1, **more)


def there(**more):
    """The same on StorPool."""
    tags = {"cs": "volume", "uuid": "v1"}
    return raw_volume("", 1, **{"size": 20 * GIB, "iops": 5000, "templateName": "nvme", "tags": {**tags, **more.pop("tags", {})}, **more})


def world(*rows, storpool=None, vms=(), snapshots=(), with_snapshots=(), attached_to=None, **more):
    offerings = {
        identity: {"id": identity, "name": identity, "type": "disk", "encrypt": False, "min_iops": None, "details": {}, **fields}
        for identity, fields in OFFERINGS.items()
    }
    volumes = [there()] if storpool is None else storpool
    by_name = {one["name"]: one for one in volumes}
    attachments = (
        None
        if attached_to is None
        else index_attachments([{"volume": "~sf.a.1", "client": client, "rights": "rw"} for client in attached_to])
    )
    return World(
        {SOFIA: list(rows)}, offerings, by_name, attachments, vms={(SOFIA, one["name"]): one for one in vms},
        snapshots={SOFIA: list(snapshots)}, with_snapshots=set(with_snapshots), belongs={SOFIA: {"zoneid": "z1"}},
        places={SOFIA: {"zone": "sofia"}},
        **{"version": (4, 22, 0, 0), "look": lambda client: None, **more},
    )  # fmt: skip


VM = {"id": "m1", "name": "db1", "state": "Running"}
OTHER_VM = {"id": "m2", "name": "db2", "state": "Stopped"}


def plan(this, **given):
    return sound(CLOUD_VOLUMES.plan(wanted(**given), this))


@pytest.mark.parametrize(
    ("given", "option", "words"),
    [
        ({"name": " "}, "name", "is needed"),
        ({"name": None, "id": "v1", "renamed_from": "x"}, "renamed_from", "needs name"),
        ({"size": "1500M"}, "size", "whole gibibytes"),
        ({"min_iops": 5}, "min_iops", "needs max_iops"),
        ({"min_iops": 6, "max_iops": 5}, "min_iops", "above max_iops"),
        ({"device_id": 2}, "device_id", "needs vm"),
        ({"device_id": -1, "vm": "db1"}, "device_id", "0 or more"),
        ({"device_id": 0, "vm": "db1"}, "device_id", "is that of the ROOT volume"),
        ({"device_id": 3, "vm": "db1"}, "device_id", "is that of the CD-ROM"),
        ({"offering": ""}, "offering", "is empty"),
        ({"repair": True, "verify": "off"}, "repair", "needs verify"),
        ({"account": "ops"}, "account", "needs domain"),
    ],
)
def test_bad_options(given, option, words):
    with pytest.raises(OptionError, match=words) as refused:
        wanted(**given)
    assert refused.value.parts["option"] == option
    assert refused.value.parts["item"] == (None if option in ("name", "renamed_from", "account") else "data")


def test_a_volume_is_called_by_its_name_or_by_its_id():
    assert [wanted(**given).label for given in ({}, {"id": "v1"}, {"name": None, "id": "v1"})] == ["data", "data", "v1"]


def test_a_new_volume_is_allocated_only():
    made = plan(world(), offering="o-open", size="4G", max_iops=100)
    assert sent(made) == [
        ("create", "createVolume", {"name": "data", "zoneid": "z1", "diskofferingid": "o-open", "size": 4, "miniops": 100, "maxiops": 100})
    ]
    assert made.after["state"] == "Allocated" and made.after["size"] == 4 * GIB and made.after["global_id"] is None
    unproved = plan(world(), offering="o-fixed", verify="off")
    assert [(len(one.waits), one.read_back) for one in (made, unproved)] == [(1, False), (0, True)], "what is not proved is read back"


def test_a_new_volume_for_a_vm_learns_its_id():
    made = plan(world(vms=[VM]), offering="o-fixed", vm="db1", delete_protection=True)
    assert actions(made) == ["create", "protect", "attach"]
    assert made.after["state"] == "Ready" and made.after["vm"] == "db1" and made.after["size"] == 20 * GIB
    made.changes[0].learn["volume"](made.after, {"id": "v9", "name": "data", "state": "Allocated"})
    assert [change.write.params["id"] for change in made.changes[1:]] == ["v9", "v9"] and made.after["id"] == "v9"


def test_a_volume_from_a_snapshot():
    snapshot = {"id": "s1", "name": "before", "state": "BackedUp", "virtualsize": 20 * GIB}
    made = plan(world(snapshots=[snapshot]), snapshot="before")
    assert sent(made) == [("create", "createVolume", {"name": "data", "zoneid": "z1", "snapshotid": "s1"})]
    assert made.after["state"] == "Ready" and made.after["snapshot_id"] == "s1"
    small = plan(world(snapshots=[snapshot]), snapshot="before", size="10G")
    assert isinstance(small.refused, OptionError) and "less than the snapshot's (20G)" in str(small.refused)
    early = plan(world(snapshots=[{**snapshot, "state": "BackingUp"}]), snapshot="before")
    assert "not BackedUp" in str(early.refused)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "option offering"),
        ({"offering": "none"}, "there are: o-any, o-fixed, o-luks"),
        ({"offering": "o-open", "size": "1G"}, "option max_iops"),
        ({"offering": "o-luks"}, "option size"),
        ({"offering": "o-fixed", "size": "30G"}, "has 20G for all its volumes"),
        ({"offering": "o-fixed", "max_iops": 1}, "has 5000 for all its volumes"),
        ({"offering": "o-fixed", "encrypted": True}, "is not encrypted"),
        ({"offering": "o-fixed", "storage_pool": "nvme"}, "option storage_pool of data: 'nvme' is for a volume that is there"),
        ({"zone": None, "offering": "o-fixed"}, "option zone"),
        ({"id": "v9", "offering": "o-fixed"}, "option id: 'v9' is the id of no volume"),
    ],
)
def test_a_new_volume_refused(given, words):
    this = world()
    this.volumes[Owner()] = []
    made = plan(this, **given)
    assert made.refused and words in str(made.refused) and not made.changes


def test_nothing_to_do():
    made = plan(
        world(row()), offering="o-open", size="20G", max_iops=5000, vm="", encrypted=False, delete_protection=False, storage_pool="nvme"
    )
    assert made.changes == [] and made.before == made.after and made.notes["differences"] == [] and not made.waits
    assert made.notes["storpool"]["template"] == "nvme" and made.notes["storpool"]["iops"] == 5000


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"size": "30G"}, [("resize", "resizeVolume", {"id": "v1", "size": 30})]),
        ({"max_iops": 9}, [("limit", "resizeVolume", {"id": "v1", "miniops": 9, "maxiops": 9})]),
        ({"size": "10G", "allow_shrink": True}, [("resize", "resizeVolume", {"id": "v1", "size": 10, "shrinkok": True})]),
        ({"offering": "o-fixed"}, [("change offering", "changeOfferingForVolume", {"id": "v1", "diskofferingid": "o-fixed"})]),
        (
            {"offering": "o-any", "size": "40G"},
            [("change offering and resize", "changeOfferingForVolume", {"id": "v1", "diskofferingid": "o-any", "size": 40})],
        ),
        ({"delete_protection": True}, [("protect", "updateVolume", {"id": "v1", "deleteprotection": True})]),
    ],
)
def test_changes(given, expected):
    assert sent(plan(world(row()), **given)) == expected


def test_renamed():
    made = plan(world(row(name="old")), renamed_from="old")
    assert sent(made) == [("rename", "updateVolume", {"id": "v1", "name": "data"})] and made.after["name"] == "data"


def test_moved_to_another_vm_and_grown_between():
    made = plan(world(attached(), storpool=[there(tags={"cvm": "m1"})], vms=[OTHER_VM]), vm="db2", device_id=4, size="30G")
    assert sent(made) == [
        ("detach", "detachVolume", {"id": "v1"}),
        ("resize", "resizeVolume", {"id": "v1", "size": 30}),
        ("attach", "attachVolume", {"id": "v1", "virtualmachineid": "m2", "deviceid": 4}),
    ]


@pytest.mark.parametrize(
    ("rows", "given", "words"),
    [
        ([row()], {"size": "10G"}, "what lies beyond would be lost (set allow_shrink: true once file systems and partitions"),
        ([row(state="Snapshotting")], {"size": "30G"}, "is Snapshotting"),
        ([attached(type="ROOT")], {"size": "10G", "allow_shrink": True}, "which runs"),
        ([attached(type="ROOT")], {"vm": ""}, "it stays with it"),
        ([attached()], {"vm": "db1", "device_id": 7}, "is device 1 of VM db1, declared is 7"),
        ([row("o-small", size=10 * GIB)], {"size": "11G"}, "has 10G for all its volumes"),
        ([row("o-small", maxiops=None, miniops=None)], {"max_iops": 7}, "has none for all its volumes"),
        ([row(encryptformat="LUKS")], {"encrypted": False}, "is encrypted"),
        ([row()], {"offering": "o-luks", "vm": ""}, "is not encrypted, and offering o-luks would change that"),
        ([row("o-luks", encryptformat="LUKS")], {"offering": "o-open"}, "is encrypted, and offering o-open would change that"),
        ([row("o-luks", state="Allocated", path=None)], {"offering": "o-fixed"}, "is encrypted, and offering o-fixed would change that"),
        ([row(), row(id="v2")], {}, "is the name of 2 volumes"),
    ],
)
def test_changes_refused(rows, given, words):
    made = plan(world(*rows), verify="off", **given)
    assert made.refused and words in str(made.refused) and not made.changes


def test_a_device_that_cloudstack_will_choose_is_not_known():
    """In a check run, of a volume that an earlier task attaches."""
    soon = {**attached(foreseen=True), "deviceid": None}
    made = plan(world(soon), verify="off", vm="db1", device_id=7)
    assert not made.changes and made.warnings == [
        "volume data: an earlier task attaches it, and CloudStack chooses its device then; if that is not 7, this task will be refused"
    ]
    assert not plan(world(soon), verify="off", vm="db1").warnings


@pytest.mark.parametrize("given", [{"vm": ""}, {"size": "30G"}, {"storage_pool": "hybrid"}])
def test_vm_snapshots_forbid(given):
    pool = {"id": OTHER_POOL, "name": "hybrid", "state": "Up", "provider": "StorPool"}
    made = plan(world(attached(), storpool=[there(tags={"cvm": "m1"})], pools=[pool], with_snapshots=["m1"]), **given)
    assert isinstance(made.refused, ChangeRefused) and "has VM snapshots" in str(made.refused)


def test_vm_snapshots_forbid_an_attachment():
    refused = plan(world(row(), vms=[VM], with_snapshots=["m1"]), vm="db1").refused
    assert refused and "volume data cannot be attached to it: VM db1 has VM snapshots" in str(refused)


STORPOOL, NFS = {"provider": "StorPool", "state": "Up"}, {"provider": "DefaultPrimary", "state": "Up"}
BY_HOST = "migrateVirtualMachineWithVolume virtualmachineid=m1 hostid=... migrateto[0].volume=v1"


@pytest.mark.parametrize(
    ("volume", "pool", "outcome"),
    [
        (row(), STORPOOL, {}),
        (attached(), STORPOOL, {"livemigrate": True}),
        (attached("Stopped"), STORPOOL, {}),
        (row(), NFS, {}),
        (attached(), NFS, "one of the two pools is not on StorPool (stop the VM (stopVirtualMachine id=m1) and run the task again)"),
        (attached(path="file"), STORPOOL, BY_HOST),
        (row(encryptformat="LUKS"), STORPOOL, "it is encrypted"),
        (attached("Stopped", encryptformat="LUKS"), STORPOOL, "startVirtualMachine id=m1"),
        (row(zoneid="z9"), {**STORPOOL, "zoneid": "z1"}, "option storage_pool"),
        (row(), {**STORPOOL, "lonely": [{"id": "s1", "name": "monday"}]}, "its old pool alone has its snapshots monday (s1)"),
        (attached(encryptformat="LUKS"), STORPOOL, {"livemigrate": True}),
        (attached(encryptformat="LUKS"), NFS, "it is encrypted"),
        (row(), {**STORPOOL, "state": "Maintenance"}, "the pool is Maintenance"),
        (row(state="Allocated", path=None), STORPOOL, "on no pool before it is attached first"),
    ],
)
def test_migration(volume, pool, outcome):
    lonely = {"v1": pool.get("lonely", [])}
    made = plan(world(volume, pools=[{"id": OTHER_POOL, "name": "hybrid", **pool}], lonely=lonely), storage_pool="hybrid", verify="off")
    if isinstance(outcome, str):
        assert outcome in str(made.refused) and not made.changes
    else:
        assert sent(made) == [("migrate", "migrateVolume", {"volumeid": "v1", "storageid": OTHER_POOL, **outcome})]
        assert made.after["storage_pool"] == "hybrid"


@pytest.mark.parametrize(
    ("volume", "storpool", "fields"),
    [
        (row(), [there()], []),
        (row(), [there(tags={"uuid": "~sf.a.1"})], []),
        (attached(), [there(tags={"cvm": "m1", "disk": "1"})], []),
        (attached("Stopped"), [there()], []),
        (row("o-tier", maxiops=None), [there(iops=77, tags={"qc": "gold"})], []),
        (row(encryptformat="LUKS"), [there(size=20 * GIB + LUKS_HEADER)], []),
        (row(state="Allocated", path=None), [], []),
        (row(path="nfs-file"), [], []),
        (row(), [], [("existence", False)]),
        (row(), [there(size=10 * GIB)], [("size", True)]),
        (row(), [there(size=30 * GIB)], [("size", False)]),
        (row(), [there(iops="-")], [("max_iops", True)]),
        (row(maxiops=None), [there()], [("max_iops", True)]),
        (row(), [there(templateName="hdd")], [("template", False)]),
        (row(), [there(tags={"cs": "template", "uuid": "other"})], [("tag cs", False), ("tag uuid", False)]),
        (row(), [there(tags={"qc": "gold"})], [("tag qc", False)]),
        (row("o-tier", maxiops=None), [there()], [("tag qc", True)]),
        (attached(), [there()], [("tag cvm", False)]),
        (row(), [there(tags={"cvm": "m9"})], [("tag cvm", False)]),
        (attached(), [there(tags={"cvm": "m1", "disk": "4"})], [("tag disk", False)]),
    ],
)
def test_compared(volume, storpool, fields):
    this = world(volume, storpool=storpool)
    assert [(one["field"], one["mend"]) for one in this.differences(volume, this.offerings[volume["diskofferingid"]])] == fields


@pytest.mark.parametrize(
    ("volume", "clients", "host", "told"),
    [
        (attached(), [11], 11, None),
        (attached(), [11], None, None),
        (attached(), [12], 11, ("client 11 (VM db1 is Running)", "client 12")),
        (attached(), [11, 12], None, ("one client (VM db1 is Running)", "client 11 and 12")),
        (attached(), [], None, ("one client (VM db1 is Running)", "none")),
        (attached("Stopped"), [], 11, None),
        (attached("Stopped"), [11], None, ("none (VM db1 is Stopped)", "client 11")),
        (row(), [13], None, ("none", "client 13")),
        (row(), None, None, None),
        (attached("Migrating"), [11, 12], 11, None),
        (attached("Starting"), [], None, None),
    ],
)
def test_attachments(volume, clients, host, told):
    tags = {"cvm": "m1"} if volume.get("virtualmachineid") else {}
    this = world(volume, storpool=[there(tags=tags)], attached_to=clients, clients={"m1": host} if host else {})
    found = [(one["cloudstack"], one["storpool"]) for one in this.differences(volume, OFFERING) if one["field"] == "attachment"]
    assert found == ([told] if told else [])


OFFERING = world().offerings["o-open"]


@pytest.mark.parametrize(
    ("storpool", "given", "fields"),
    [
        ({"iops": "-"}, {"size": "30G"}, []),
        ({"iops": "-"}, {"offering": "o-any"}, []),
        ({"size": 30 * GIB}, {"size": "40G"}, []),
        ({"size": 30 * GIB}, {"size": "25G"}, ["size"]),
        ({"size": 30 * GIB}, {"offering": "o-fixed"}, ["size"]),
        ({"templateName": "hdd"}, {"size": "30G"}, ["template"]),
        ({"tags": {"qc": "gold"}}, {"offering": "o-tier"}, []),
        ({"tags": {"qc": "gold"}}, {"offering": "o-any"}, ["tag qc"]),
        ({"tags": {"cs": "x"}}, {"size": "30G"}, ["tag cs"]),
    ],
)
def test_what_a_resize_leaves_different_is_told_before(storpool, given, fields):
    made = plan(world(row(), storpool=[there(**storpool)]), **given)
    found = made.refused.parts["differences"] if made.refused else []
    assert [one["field"] for one in found] == fields
    if not fields:
        assert made.changes


SOMEBODY, BY_CLOUDSTACK = "find out who changed it and set it right there", "CloudStack would leave it so; choose another offering or pool"


@pytest.mark.parametrize(
    ("volume", "storpool", "given", "hint"),
    [
        (row(), {"tags": {"cs": "x", "cvm": "m1"}}, {"size": "30G", "vm": "db1"}, SOMEBODY),
        (row(), {"tags": {"cs": "x"}, "iops": "-"}, {"size": "30G"}, SOMEBODY),
        (row(), {"size": 30 * GIB}, {"size": "25G"}, "size: 30G has CloudStack take"),
        (row("o-tier", maxiops=None), {"tags": {"qc": "gold"}}, {"offering": "o-any"}, BY_CLOUDSTACK),
        (row("o-tier", maxiops=None), {"tags": {"qc": "gold", "cs": "x"}}, {"offering": "o-any"}, BY_CLOUDSTACK),
    ],
)
def test_the_way_out_tells_what_was_there_before_from_what_a_change_brings(volume, storpool, given, hint):
    refused = plan(world(volume, storpool=[there(**storpool)], vms=[VM]), **given).refused
    assert refused and refused.hint.startswith(hint)


@pytest.mark.parametrize(
    ("volume", "storpool", "expected"),
    [
        (row("o-tier", maxiops=None), {}, {"id": "v1", "diskofferingid": "o-tier", "size": 20}),
        (row("o-tier", maxiops=None), {"tags": {"qc": "other"}, "size": 10 * GIB}, {"id": "v1", "diskofferingid": "o-tier", "size": 20}),
        (row(), {"iops": 7}, {"id": "v1"}),
    ],
)
def test_repairs(volume, storpool, expected):
    ((word, call, params),) = sent(plan(world(volume, storpool=[there(**storpool)]), repair=True))
    assert word.startswith("repair ") and params == expected
    assert call == ("changeOfferingForVolume" if "diskofferingid" in expected else "resizeVolume")


@pytest.mark.parametrize(
    ("offering", "given", "storpool", "expected"),
    [
        ("o-tier", {"size": "30G"}, {"tags": {"qc": "other"}}, {"diskofferingid": "o-tier", "size": 30}),
        ("o-tier", {"size": "10G", "allow_shrink": True}, {}, {"diskofferingid": "o-tier", "size": 10, "shrinkok": True}),
        ("o-template", {"max_iops": 9}, {}, {"diskofferingid": "o-template", "size": 20, "miniops": 9, "maxiops": 9}),
        ("o-template", {"size": "30G"}, {}, {"diskofferingid": "o-template", "size": 30, "miniops": 5000, "maxiops": 5000}),
    ],
)
def test_a_resize_repairs_what_it_alone_would_leave(offering, given, storpool, expected):
    this = world(row(offering), storpool=[there(**storpool)])
    this.offerings["o-template"] = {**this.offerings["o-open"], "id": "o-template", "details": {"SP_TEMPLATE": "hdd"}}
    assert "repair: true has CloudStack set StorPool right" in str(plan(this, **given).refused)
    made = plan(this, repair=True, **given)
    ((word, call, params),) = sent(made)
    what = "repair tag qc" if offering == "o-tier" else "repair template"
    assert (word, call) == (f"{'resize' if 'size' in given else 'limit'} and {what}", "changeOfferingForVolume")
    assert params == {"id": "v1", **expected} and made.notes["differences"] == []


@pytest.mark.parametrize(
    ("details", "storpool", "words"),
    [
        ({}, {}, None),
        ({}, {"templateName": "hdd"}, None),
        (
            {"SP_TEMPLATE": "hdd"},
            {"templateName": "hdd"},
            "would not be the same in CloudStack and on StorPool: template is hdd in CloudStack",
        ),
        ({"SP_QOSCLASS": "gold", "SP_TEMPLATE": "hdd"}, {"tags": {"qc": "gold"}}, None),
    ],
)
def test_a_move_gives_the_template_of_the_pool(details, storpool, words):
    this = world(row(), storpool=[there(**storpool)], pools=[{"id": OTHER_POOL, "name": "hybrid", **STORPOOL}])
    this.offerings["o-open"]["details"] = details
    made = plan(this, storage_pool="hybrid")
    assert (words in str(made.refused)) if words else actions(made) == ["migrate"]


@pytest.mark.parametrize(
    ("volume", "given", "words"),
    [
        ({"snapshotid": "s1"}, {"snapshot": "monday"}, None),
        ({"snapshotid": "s1"}, {"snapshot": "s1"}, None),
        ({"snapshotid": "s2"}, {"snapshot": "monday"}, "made from snapshot tuesday, declared is snapshot monday"),
        ({"snapshotid": "s9"}, {"snapshot": "monday"}, "made from snapshot s9"),
        ({"snapshotid": "s2"}, {"snapshot": "gone"}, None),
        ({"state": "Allocated", "path": None}, {"snapshot": "monday"}, "was made empty"),
        ({"state": "Allocated", "path": None, "snapshotid": "s1"}, {"snapshot": "monday"}, "has nothing of snapshot monday"),
        ({}, {"snapshot": "monday"}, None),
    ],
)
def test_origins(volume, given, words):
    snapshots = [{"id": "s1", "name": "monday", "volumeid": "v0"}, {"id": "s2", "name": "tuesday", "volumeid": "v0"}]
    made = plan(world(row(**volume), snapshots=snapshots), verify="off", **given)
    assert (words in str(made.refused)) if words else not made.refused


@pytest.mark.parametrize(
    ("chain", "origin"),
    [
        (["s1"], "s1"),
        (["own", "s2", "s1"], "s2"),
        (["group", "s1"], "s1"),
        (["unknown", "s1"], "s1"),
        (["own"], None),
        ([], None),
        (["own", "own"], None),
    ],
)
def test_what_storpool_tells_of_the_origin(chain, origin):
    """The nearest snapshot below that CloudStack knows and that is not of the volume itself; a deleted one is none."""
    bases, below = {}, ""
    for name in reversed(chain):
        tags = {"cs": "group" if name == "group" else "snapshot", "uuid": name}
        bases[name] = raw_snapshot(name, parentName=below, tags=tags)
        below = name
    taken_of = {"s1": "v0", "s2": "v0", "own": "v1"}
    assert origin_of(row(), {"~sf.a.1": there(parentName=below)}, bases, taken_of) == origin


@pytest.mark.parametrize(
    ("offering", "pools", "words"),
    [
        ("o-hybrid", {"hybrid": "hybrid", "nvme": "nvme"}, None),
        ("o-open", {"hybrid": "hybrid"}, None),
        ("o-open", {"hybrid": "hybrid", "nvme": "nvme"}, "those with the storage tags of its offering (none): hybrid, nvme"),
        ("o-hybrid", {"hybrid": "other", "nvme": "hybrid,x"}, "(hybrid): nvme"),
        ("o-hybrid", {"hybrid": "other"}, "(hybrid): none"),
    ],
)
def test_the_pool_of_a_new_volume(offering, pools, words):
    rows = [{"id": name, "name": name, "zoneid": "z1", "tags": tags, **STORPOOL} for name, tags in pools.items()]
    rows.append({"id": "elsewhere", "name": "hybrid", "zoneid": "z2", "tags": "hybrid", **STORPOOL})
    this = world(vms=[VM], pools=rows)
    this.offerings["o-hybrid"] = {**this.offerings["o-open"], "id": "o-hybrid", "name": "o-hybrid", "storage_tags": ["hybrid"]}
    made = plan(this, offering=offering, size="1G", max_iops=5, vm="db1", storage_pool="hybrid")
    assert (words in str(made.refused)) if words else made.after["storage_pool"] == "hybrid"


@pytest.mark.parametrize(("version", "told"), [((4, 20, 0, 0), 1), ((4, 20, 1, 0), 0), ((4, 19, 3, 0), 0)])
def test_the_release_that_does_not_tell_the_vm(version, told):
    this = world(attached(), storpool=[there(tags={"cvm": "m1"})], version=version)
    assert len(plan(this, size="30G").warnings) == told
    assert not plan(this, max_iops=7).warnings and not plan(world(row(), version=version), size="30G").warnings


def test_limits_of_a_volume_from_a_snapshot():
    """They are those of the snapshot's volume (section 5.7); only an offering that leaves them open lets them be set."""
    snapshot = {"id": "s1", "name": "before", "state": "BackedUp", "virtualsize": 20 * GIB, "volumeid": "v0"}
    this = world(snapshots=[snapshot], sources={"v0": {"id": "v0", "miniops": 100, "maxiops": 100, "diskofferingid": "o-open"}})
    plain = plan(this, snapshot="before")
    assert actions(plain) == ["create"] and plain.after["max_iops"] == 100
    limited = plan(this, snapshot="before", max_iops=300)
    assert sent(limited)[1] == ("limit", "resizeVolume", {"id": None, "miniops": 300, "maxiops": 300}) and limited.after["max_iops"] == 300
    fixed = plan(this, snapshot="before", offering="o-fixed")
    assert fixed.after["max_iops"] == 100 and "not that of offering o-fixed (5000)" in fixed.warnings[0]
    assert "which is of an encrypted volume" in str(
        plan(world(snapshots=[snapshot], sources={"v0": {"encryptformat": "LUKS"}}), snapshot="before").refused
    )


def test_a_limit_that_the_offering_of_the_snapshots_volume_fixes_is_refused():
    snapshot = {"id": "s1", "name": "before", "state": "BackedUp", "virtualsize": 20 * GIB, "volumeid": "v0"}
    this = world(snapshots=[snapshot], sources={"v0": {"id": "v0", "miniops": 5000, "maxiops": 5000, "diskofferingid": "o-fixed"}})
    assert "cannot have max_iops 7: its offering o-fixed has 5000" in str(plan(this, snapshot="before", max_iops=7).refused)
    assert plan(this, snapshot="before", max_iops=5000).after["max_iops"] == 5000


@pytest.mark.parametrize(
    ("more", "offering"),
    [
        ({}, "o-open"),
        ({"diskofferingname": None}, "o-open"),
        ({"diskofferingname": None, "serviceofferingname": "small"}, "small"),
        ({"diskofferingid": None, "diskofferingname": None, "serviceofferingid": "o-fixed"}, "o-fixed"),
        ({"diskofferingid": None, "diskofferingname": None}, None),
    ],
)
def test_the_offering_of_a_volume_is_its_own_or_that_of_its_vm(more, offering):
    assert plan(world(row(**more))).before["offering"] == offering


def test_the_diff_shows_what_can_be_declared():
    made = plan(world(row()), size="30G")
    shown = CLOUD_VOLUMES.show(made.after)
    assert shown.keys() == made.after.keys() - {"id", "global_id", "snapshot_id", "state", "type"} and shown["size"] == "30G"


def test_the_end_is_looked_at_as_the_beginning_was():
    made = plan(world(row(), storpool=[there()]), size="30G")
    (wait,) = made.waits
    done = {"size": 30 * GIB}
    assert wait.missing(world(row(**done), storpool=[there(**done)])) is None and made.after["size"] == 30 * GIB
    text = wait.missing(world(row(size=35 * GIB), storpool=[there(size=35 * GIB)]))
    assert "somebody else changes it" in text and made.after["size"] == 35 * GIB
    assert "max_iops is 5000 in CloudStack and 7 on StorPool" in wait.missing(world(row(**done), storpool=[there(iops=7, **done)]))
    assert wait.missing(world(storpool=[])) is not None
    lenient = plan(world(row()), size="30G", verify="warn")
    assert lenient.waits[0].missing(world(row(size=25 * GIB), storpool=[there(size=25 * GIB)])) is None
    assert "it takes resize still" in lenient.warnings[-1]


def test_a_deletion_is_proved():
    (wait,) = plan(world(row()), state="absent").waits
    assert "is still on StorPool (~sf.a.1)" in wait.missing({"~sf.a.1": there()}) and wait.missing({}) is None
    assert not plan(world(row()), state="absent", verify="off").waits
    assert not plan(world(row(path="a-file")), state="absent").waits


def test_a_device_that_another_volume_is():
    this = world(row(), vms=[VM], devices={"m1": {0: "ROOT-1", 4: "log"}})
    refused = plan(this, vm="db1", device_id=4).refused
    assert refused and "cannot be device 4 of VM db1: volume log is" in str(refused)
    assert actions(plan(this, vm="db1", device_id=5)) == ["attach"]


def test_differences_are_an_error_or_a_warning_or_mended():
    this = world(row(), storpool=[there(iops="-", size=10 * GIB)])
    refused = plan(this).refused
    assert isinstance(refused, ChangeRefused) and "max_iops is 5000 in CloudStack and unlimited on StorPool" in str(refused)
    notes = plan(this).notes
    assert notes["storpool"]["iops"] == "unlimited" and [one["field"] for one in notes["differences"]] == ["size", "max_iops"]
    assert plan(this, verify="off", size="10G").notes == {}, "it was not looked at"
    assert "repair: true" in str(refused)
    warned = plan(this, verify="warn")
    assert not warned.refused and not warned.changes and "unlimited on StorPool" in warned.warnings[0]
    assert sent(plan(this, repair=True)) == [("repair max_iops and size", "resizeVolume", {"id": "v1"})]
    assert actions(plan(this, size="30G")) == ["resize"], "a resize sends size and limit anyway"
    larger = plan(world(row(), storpool=[there(size=30 * GIB)]), repair=True)
    assert larger.refused and not larger.changes, "nothing makes a volume smaller that may hold data"


@pytest.mark.parametrize(
    ("tags", "refused"),
    [({"cvm": "m1", "disk": "1"}, []), ({"cvm": "m9"}, []), ({"cvm": "m1", "cs": "x"}, ["tag cs"])],
)
def test_what_an_attachment_that_was_cut_short_left_is_set_by_the_next(tags, refused):
    """CloudStack's record says free, StorPool's tags tell of a VM already."""
    made = plan(world(row(), storpool=[there(tags=tags)], vms=[VM]), vm="db1")
    assert ([one["field"] for one in made.refused.parts["differences"]] if made.refused else []) == refused
    assert refused or actions(made) == ["attach"]


def test_of_a_volume_as_a_check_run_foresees_it_the_sizes_are_compared():
    """Nothing else is known of both; a revert to a smaller snapshot leaves them unlike."""
    refused = plan(world(row(foreseen=True), storpool=[there(size=30 * GIB, tags={"cs": "x"})], vms=[VM])).refused
    assert refused and [one["field"] for one in refused.parts["differences"]] == ["size"]
    assert not plan(world(row(foreseen=True), storpool=[there(tags={"cs": "x"})], vms=[VM])).refused
    assert not plan(world(row(foreseen=True), storpool=[], vms=[VM])).refused


@pytest.mark.parametrize(
    ("leaver", "follows"),
    [
        ({"vm": ""}, True),
        ({"vm": "db2"}, True),
        ({"state": "absent"}, True),
        ({}, False),
        ({"vm": "db1"}, False),
        ({"vm": "", "name": "free"}, False),
    ],
)
def test_who_gets_a_device_follows_who_leaves_it(leaver, follows):
    here = world(attached(), row(id="v2", name="new"), row(id="v3", name="free"), vms=[VM, OTHER_VM])
    other = wanted(name="other", vm="db1", device_id=2)
    declared = [wanted(name="new", vm="db1", device_id=1), wanted(**{"name": "data", **leaver}), other]
    made = CLOUD_VOLUMES.spread(declared, here)
    assert [list(one.needs()) for one in made] == [[made[1].names()[0]] if follows else [], [], []]
    assert CLOUD_VOLUMES.spread(declared[1:2], here) == declared[1:2]


def test_a_volume_on_a_client_that_cloudstack_does_not_know_of_is_not_attached_elsewhere():
    refused = plan(world(row(), storpool=[there()], attached_to=[13], vms=[VM]), vm="db1").refused
    assert refused and "attachment is none in CloudStack and client 13 on StorPool" in str(refused)


@pytest.mark.parametrize(
    ("mend", "words"),
    [
        ([True, True], "repair: true has CloudStack set StorPool right"),
        ([True, False], "repair: true mends field 0; for the rest find out who changed it"),
        ([False], "find out who changed it"),
    ],
)
def test_the_way_out_of_differences(mend, words):
    assert way_out([{"field": f"field {number}", "mend": one} for number, one in enumerate(mend)]).startswith(words)


@pytest.mark.parametrize(
    ("size", "declared"), [(2 * GIB, "2G"), (2 * GIB + LUKS_HEADER, "2G"), (2 * GIB + 512, "3G"), (8 << 20, "1G"), (2048 * GIB, "2T")]
)
def test_the_way_out_of_a_volume_that_is_larger_on_storpool(size, declared):
    larger = {"field": "size", "storpool": size, "mend": False}
    assert way_out([larger]).startswith(f"size: {declared} has CloudStack take the size that StorPool has; verify: warn")
    assert "for the rest find out" in way_out([larger, {"field": "tag cs", "mend": False}])


def test_absent():
    assert sent(plan(world(row()), state="absent")) == [("delete", "deleteVolume", {"id": "v1"})]
    assert plan(world(), state="absent").changes == ()
    assert plan(world(row(state="Expunged")), state="absent").changes == ()
    assert "is attached to VM db1" in str(plan(world(attached()), state="absent").refused)
    assert actions(plan(world(attached()), state="absent", on_attached="detach")) == ["detach", "delete"]
    protected = world(row(deleteprotection=True))
    assert "is protected" in str(plan(protected, state="absent").refused)
    assert actions(plan(protected, state="absent", delete_protection=False)) == ["unprotect", "delete"]
    assert "ROOT volume of VM" in str(plan(world(attached(type="ROOT")), state="absent").refused)


def test_protection_needs_4_20():
    made = plan(world(row(deleteprotection=None), version=(4, 19, 3, 0)), delete_protection=True)
    assert isinstance(made.refused, ChangeRefused) and "from 4.20 on" in str(made.refused)


def test_deleting_by_two_names_never_takes_two():
    made = plan(world(row(), row(id="v2", name="old")), state="absent", renamed_from="old")
    assert "option renamed_from: 'old' exists beside data" in str(made.refused) and not made.changes
    assert sent(plan(world(row(name="old")), state="absent", renamed_from="old")) == [("delete", "deleteVolume", {"id": "v1"})]
    assert not plan(world(row(), row(id="v2", name="old")), renamed_from="old").refused
