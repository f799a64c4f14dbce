# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plans for templates made from snapshots and volumes: pure functions of what is declared and what both systems hold."""

from __future__ import annotations

import pytest
from ansible_collections.storpool.cloudstack.plugins.module_utils._errors import ChangeRefused, OptionError
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources._cloud import Owner
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources.cloud_snapshot_world import BACKUP, BYPASS
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources.made_template import MADE_TEMPLATES, World, _by_id
from ansible_collections.storpool.cloudstack.plugins.modules.cloudstack_template import DECLARED
from things import checked, raw_volume, sound

GIB = 1 << 30
SNAPSHOT_ID = "6c1b6a4e-3a0d-4d1c-9a39-0a0b1c2d3e4f"
SNAPSHOT = {"id": SNAPSHOT_ID, "name": "golden", "state": "BackedUp", "virtualsize": GIB, "zonename": "sofia", "ostypeid": "o1"}
VOLUME = {"id": "v1", "name": "data", "state": "Ready", "path": "/dev/storpool-byid/sf.a.1", "size": GIB, "zonename": "sofia"}
FROM_SNAPSHOT = f"t (from snapshot {SNAPSHOT_ID})"


def wanted(**given):
    return MADE_TEMPLATES.parse(checked(DECLARED, **{"name": "t", "snapshot": "golden", **given}), 0.0)


def row(text=FROM_SNAPSHOT, **more):
    return {"id": "t1", "name": "t", "displaytext": text, "isready": True, "size": GIB, "zonename": "sofia", "zoneid": "z1", **more}


def world(*rows, snapshot=None, volume=None, version=(4, 22, 0, 0), settings=None, storpool=None):
    owner, snapshot, volume = Owner(), snapshot or SNAPSHOT, volume or VOLUME
    this = World({owner: _by_id(rows)}, storpool, {(owner, None, "golden"): snapshot, (owner, "data", None): volume}, {"Debian": "o2"})
    this.belongs, this.version, this.settings = {owner: {}}, version, settings or {}
    this.look = lambda client: None
    return this


def plan(this, **given):
    return sound(MADE_TEMPLATES.plan(wanted(**given), this))


OF_VOLUME = {"snapshot": None, "volume": "data", "os_type": "Debian"}


@pytest.mark.parametrize(
    ("given", "option"),
    [({"name": " "}, "name"), ({"snapshot": None}, "snapshot"), ({"wait_timeout": "soon"}, "wait_timeout"), ({"account": "a"}, "account")],
)
def test_bad_options(given, option):
    with pytest.raises(OptionError) as refused:
        wanted(**given)
    assert refused.value.parts["option"] == option


def test_made_from_a_snapshot():
    (change,) = plan(world(), display_text="Model", public=True).changes
    assert change.write.params == {
        "name": "t", "displaytext": f"Model (from snapshot {SNAPSHOT_ID})", "snapshotid": SNAPSHOT_ID, "ostypeid": "o1", "ispublic": True,
        "isfeatured": False,
    }  # fmt: skip


def test_made_from_a_volume():
    made = plan(world(), **OF_VOLUME)
    assert made.changes[0].write.params["volumeid"] == "v1" and made.changes[0].write.params["ostypeid"] == "o2"
    assert made.notes["base"] == {"expected": True, "because": "it is made from a volume"}


@pytest.mark.parametrize(
    ("version", "settings", "expected"),
    [
        ((4, 20, 2, 0), {BYPASS: "true"}, True),
        ((4, 20, 2, 0), {}, False),
        ((4, 22, 0, 0), {BYPASS: "true"}, False),
        ((4, 22, 0, 0), {BACKUP: "false"}, True),
    ],
)
def test_whether_it_gets_a_base_on_storpool(version, settings, expected):
    assert plan(world(version=version, settings=settings)).notes["base"]["expected"] is expected


@pytest.mark.parametrize(
    ("this", "given", "words"),
    [
        (world(snapshot={**SNAPSHOT, "encrypted": True}), {}, "it is encrypted"),
        (world(snapshot={**SNAPSHOT, "delayed": True}), {}, "last snapshot of a deleted volume"),
        (world(snapshot={**SNAPSHOT, "state": "BackingUp"}), {}, "it is BackingUp, not BackedUp"),
        (world(snapshot={**SNAPSHOT, "ostypeid": None}), {}, "option os_type"),
        (world(snapshot=OptionError("snapshot", "golden", "does not exist in CloudStack")), {}, "does not exist"),
        (world(volume={**VOLUME, "encrypted": True}), OF_VOLUME, "it is encrypted"),
        (world(volume={**VOLUME, "state": "Allocated", "path": None}), OF_VOLUME, "it is Allocated"),
        (world(volume={**VOLUME, "virtualmachineid": "m", "vmname": "db1", "vmstate": "Running"}), OF_VOLUME, "its VM db1 is Running"),
        (world(row(), row(id="t2")), {}, "is the name of 2 templates"),
        (world(row()), OF_VOLUME, "was made from snapshot"),
        (world(row(), snapshot={**SNAPSHOT, "id": "other"}), {}, "was made from snapshot"),
    ],
)
def test_refused(this, given, words):
    made = plan(this, **given)
    assert isinstance(made.refused, (ChangeRefused, OptionError)) and words in str(made.refused) and not made.changes


def test_nothing_to_do():
    made = plan(world(row(), row(zonename="plovdiv", zoneid="z2")))
    assert made.changes == () and made.before["zones"] == ["plovdiv", "sofia"] and not made.warnings and not made.waits
    assert made.before["origin"] == {"kind": "snapshot", "id": SNAPSHOT_ID}
    gone = plan(world(row(), snapshot=OptionError("snapshot", "golden", "does not exist")))
    assert gone.refused is None and gone.changes == ()


def test_an_origin_that_is_not_told():
    made = plan(world(row("somebody's")))
    assert made.changes == () and "does not say what it was made of" in made.warnings[0] and made.before["origin"] is None


def test_one_that_is_not_ready_is_waited_for():
    assert plan(world(row(isready=False))).waits


def test_the_base_is_what_the_caches_stand_on():
    tags = {"cs": "template", "uuid": "t1"}
    base, cache = raw_volume("", 1, tags=tags), raw_volume("", 2, tags=tags, parentName="~sf.a.1")
    assert plan(world(row(), storpool={"t1": [cache, base]})).notes["storpool"]["global_id"] == "sf.a.1"


def test_the_proof():
    made = plan(world(settings={BACKUP: "false"}))
    made.changes[0].learn["template"](made.after, {"id": "t1", "isready": True})
    proof = made.waits[-1].missing
    assert "is not on secondary storage" in proof(world())
    assert "StorPool has no snapshot with the tags cs=template" in proof(world(row(), storpool={}))
    assert proof(world(row(), storpool={"t1": [raw_volume("", 1, tags={"cs": "template", "uuid": "t1"})]})) is None
    assert made.notes["storpool"]["global_id"] == "sf.a.1"


def test_a_template_that_vms_were_made_from():
    this = world(row())
    this.users = {row()["id"]: ["db2", "db1"]}
    used = plan(this, state="absent", snapshot=None)
    assert isinstance(used.refused, ChangeRefused) and "VMs were made from it: db1, db2" in str(used.refused) and not used.changes


def test_absent():
    made = plan(world(row()), state="absent", snapshot=None)
    assert [(change.action, dict(change.write.params)) for change in made.changes] == [("delete", {"id": "t1"})] and made.after is None
    assert plan(world(), state="absent", snapshot=None).changes == ()
