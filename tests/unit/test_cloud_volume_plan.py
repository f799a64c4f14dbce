# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Volumes of CloudStack: what is declared, what is planned for it, what is refused, and how the two systems are compared."""

from __future__ import annotations

import pytest
from ansible_collections.storpool.cloudstack.plugins.module_utils._errors import ChangeRefused, OptionError
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources._both_layers import LUKS_HEADER
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources._cloud import Owner
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources._shared import index_attachments
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources.cloud_volume import CLOUD_VOLUMES, World
from ansible_collections.storpool.cloudstack.plugins.modules.cloudstack_volume import DECLARED
from things import checked, raw_volume

GIB = 1 << 30
SOFIA = Owner(zone="sofia")
POOL = "nvme;3f1c2f1e-0a0b-4c0d-8e0f-000000000001"
OTHER_POOL = "hybrid;3f1c2f1e-0a0b-4c0d-8e0f-000000000002"
OFFERINGS = {
    "o-fixed": {"size": 20 * GIB, "custom_size": False, "min_iops": 5000, "max_iops": 5000, "custom_iops": False},
    "o-open": {"size": None, "custom_size": True, "min_iops": None, "max_iops": None, "custom_iops": True},
    "o-small": {"size": 10 * GIB, "custom_size": False, "min_iops": None, "max_iops": None, "custom_iops": False},
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
    return CLOUD_VOLUMES.plan(wanted(**given), this)


def sent(made):
    return [(change.action, change.write.call, dict(change.write.params)) for change in made.changes]


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
        ({"offering": ""}, "offering", "is empty"),
        ({"repair": True, "verify": "off"}, "repair", "needs verify"),
        ({"account": "ops"}, "account", "needs domain"),
    ],
)
def test_bad_options(given, option, words):
    with pytest.raises(OptionError, match=words) as refused:
        wanted(**given)
    assert refused.value.parts["option"] == option


def test_a_new_volume_is_allocated_only():
    made = plan(world(), offering="o-open", size="4G", max_iops=100)
    assert sent(made) == [
        ("create", "createVolume", {"name": "data", "zoneid": "z1", "diskofferingid": "o-open", "size": 4, "miniops": 100, "maxiops": 100})
    ]
    assert made.after["state"] == "Allocated" and made.after["size"] == 4 * GIB and made.after["global_id"] is None


def test_a_new_volume_for_a_vm_learns_its_id():
    made = plan(world(vms=[VM]), offering="o-fixed", vm="db1", delete_protection=True)
    assert [action for action, _call, _params in sent(made)] == ["create", "protect", "attach"]
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
        ({"offering": "none"}, "there are: o-fixed, o-luks"),
        ({"offering": "o-open", "size": "1G"}, "option max_iops"),
        ({"offering": "o-luks"}, "option size"),
        ({"offering": "o-fixed", "size": "30G"}, "has 20G for all its volumes"),
        ({"offering": "o-fixed", "max_iops": 1}, "has 5000 for all its volumes"),
        ({"offering": "o-fixed", "encrypted": True}, "is not encrypted"),
        ({"offering": "o-fixed", "storage_pool": "nvme"}, "when it is attached first"),
        ({"zone": None, "offering": "o-fixed"}, "option zone"),
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
            {"offering": "o-luks", "size": "40G"},
            [("change offering and resize", "changeOfferingForVolume", {"id": "v1", "diskofferingid": "o-luks", "size": 40})],
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
    made = plan(world(attached(), storpool=[there(tags={"cvm": "m1"})], vms=[OTHER_VM]), vm="db2", device_id=3, size="30G")
    assert sent(made) == [
        ("detach", "detachVolume", {"id": "v1"}),
        ("resize", "resizeVolume", {"id": "v1", "size": 30}),
        ("attach", "attachVolume", {"id": "v1", "virtualmachineid": "m2", "deviceid": 3}),
    ]


@pytest.mark.parametrize(
    ("rows", "given", "words"),
    [
        ([row()], {"size": "10G"}, "what lies beyond would be lost"),
        ([row(state="Snapshotting")], {"size": "30G"}, "is Snapshotting"),
        ([attached(type="ROOT")], {"size": "10G", "allow_shrink": True}, "which runs"),
        ([attached(type="ROOT")], {"vm": ""}, "it stays with it"),
        ([attached()], {"vm": "db1", "device_id": 7}, "is device 1 of VM db1, declared is 7"),
        ([row("o-small", size=10 * GIB)], {"size": "11G"}, "has 10G for all its volumes"),
        ([row("o-small", maxiops=None, miniops=None)], {"max_iops": 7}, "has None for all its volumes"),
        ([row(encryptformat="LUKS")], {"encrypted": False}, "is encrypted"),
        ([row(), row(id="v2")], {}, "is the name of 2 volumes"),
    ],
)
def test_changes_refused(rows, given, words):
    made = plan(world(*rows), verify="off", **given)
    assert made.refused and words in str(made.refused) and not made.changes


@pytest.mark.parametrize("given", [{"vm": ""}, {"size": "30G"}, {"storage_pool": "hybrid"}])
def test_vm_snapshots_forbid(given):
    pool = {"id": OTHER_POOL, "name": "hybrid", "state": "Up", "provider": "StorPool"}
    made = plan(world(attached(), storpool=[there(tags={"cvm": "m1"})], pools=[pool], with_snapshots=["m1"]), **given)
    assert isinstance(made.refused, ChangeRefused) and "has VM snapshots" in str(made.refused)


STORPOOL, NFS = {"provider": "StorPool", "state": "Up"}, {"provider": "DefaultPrimary", "state": "Up"}


@pytest.mark.parametrize(
    ("volume", "pool", "outcome"),
    [
        (row(), STORPOOL, {}),
        (attached(), STORPOOL, {"livemigrate": True}),
        (attached("Stopped"), STORPOOL, {}),
        (row(), NFS, {}),
        (attached(), NFS, "one of the two pools is not on StorPool"),
        (attached(path="file"), STORPOOL, "one of the two pools is not on StorPool"),
        (row(encryptformat="LUKS"), STORPOOL, "it is encrypted"),
        (attached(encryptformat="LUKS"), STORPOOL, {"livemigrate": True}),
        (attached(encryptformat="LUKS"), NFS, "it is encrypted"),
        (row(), {**STORPOOL, "state": "Maintenance"}, "the pool is Maintenance"),
        (row(state="Allocated", path=None), STORPOOL, "on no pool before it is attached first"),
    ],
)
def test_migration(volume, pool, outcome):
    made = plan(world(volume, pools=[{"id": OTHER_POOL, "name": "hybrid", **pool}]), storage_pool="hybrid", verify="off")
    if isinstance(outcome, str):
        assert isinstance(made.refused, ChangeRefused) and outcome in str(made.refused)
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


def test_differences_are_an_error_or_a_warning_or_mended():
    this = world(row(), storpool=[there(iops="-", size=10 * GIB)])
    refused = plan(this).refused
    assert isinstance(refused, ChangeRefused) and "max_iops is 5000 in CloudStack and unlimited on StorPool" in str(refused)
    assert "repair: true" in str(refused)
    warned = plan(this, verify="warn")
    assert not warned.refused and not warned.changes and "unlimited on StorPool" in warned.warnings[0]
    assert sent(plan(this, repair=True)) == [("repair max_iops and size", "resizeVolume", {"id": "v1"})]
    assert [word for word, _call, _params in sent(plan(this, size="30G"))] == ["resize"], "a resize sends size and limit anyway"
    larger = plan(world(row(), storpool=[there(size=30 * GIB)]), repair=True)
    assert larger.refused and not larger.changes, "nothing makes a volume smaller that may hold data"


def test_absent():
    assert sent(plan(world(row()), state="absent")) == [("delete", "deleteVolume", {"id": "v1"})]
    assert plan(world(), state="absent").changes == ()
    assert plan(world(row(state="Expunged")), state="absent").changes == ()
    assert "is attached to VM db1" in str(plan(world(attached()), state="absent").refused)
    assert [word for word, _call, _params in sent(plan(world(attached()), state="absent", on_attached="detach"))] == ["detach", "delete"]
    protected = world(row(deleteprotection=True))
    assert "is protected" in str(plan(protected, state="absent").refused)
    assert [word for word, _call, _params in sent(plan(protected, state="absent", delete_protection=False))] == ["unprotect", "delete"]
    assert "ROOT volume of VM" in str(plan(world(attached(type="ROOT")), state="absent").refused)


def test_protection_needs_4_20():
    made = plan(world(row(deleteprotection=None), version=(4, 19, 3, 0)), delete_protection=True)
    assert isinstance(made.refused, ChangeRefused) and "from 4.20 on" in str(made.refused)


def test_deleting_by_two_names_never_takes_two():
    made = plan(world(row(), row(id="v2", name="old")), state="absent", renamed_from="old")
    assert "option renamed_from: 'old' exists beside data" in str(made.refused) and not made.changes
    assert sent(plan(world(row(name="old")), state="absent", renamed_from="old")) == [("delete", "deleteVolume", {"id": "v1"})]
    assert not plan(world(row(), row(id="v2", name="old")), renamed_from="old").refused
