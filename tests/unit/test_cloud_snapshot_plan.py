# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plans for snapshots of CloudStack volumes: pure functions of what is declared and what both systems hold."""

from __future__ import annotations

import pytest
from ansible_collections.storpool.cloudstack.plugins.module_utils._errors import ChangeRefused, OptionError
from ansible_collections.storpool.cloudstack.plugins.module_utils._plan import waves
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources._cloud import Owner
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources.cloud_series import MARK, Standing
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources.cloud_snapshot import CLOUD_SNAPSHOTS
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources.cloud_snapshot_world import (
    BACKUP,
    BYPASS,
    LOCATION,
    REPLICATION,
    World,
    backs_up,
)
from ansible_collections.storpool.cloudstack.plugins.modules.cloudstack_snapshot import DECLARED
from things import actions, checked, raw_volume, sound, steps

GIB = 1 << 30
NOW = 1795374000.0  # 2026-11-22 19:00 UTC
OLD, NEW = (4, 20, 2, 0), (4, 22, 0, 0)


def wanted(**given):
    return CLOUD_SNAPSHOTS.parse(checked(DECLARED, **{"volume": "data", "name": "s", **given}), NOW)


def volume(**more):
    fields = {"id": "v1", "name": "data", "state": "Ready", "size": GIB, "zoneid": "z1", "zonename": "sofia", "account": "admin"}
    return {**fields, "path": "/dev/storpool-byid/sf.a.1", **more}


def attached(state="Running", **more):
    return volume(virtualmachineid="m1", vmname="db1", vmstate=state, **more)


def row(name="s", identity="s1", state="BackedUp", **more):
    fields = {"id": identity, "name": name, "state": state, "volumeid": "v1", "volumename": "data", "virtualsize": GIB}
    return {**fields, "zoneid": "z1", "zonename": "sofia", "created": "2026-11-20T10:00:00+0000", "snapshottype": "MANUAL", **more}


def copies(*places, identity="s1"):
    """Rows of the stores: (zone, Primary or Image)."""
    names = {"z1": "sofia", "z2": "plovdiv"}
    return {identity: [{"zoneid": zone, "zonename": names[zone], "datastoretype": role, "physicalsize": 4096} for zone, role in places]}


def there(**more):
    return raw_volume("", 9, **{"tags": {"cs": "snapshot", "uuid": "s1"}, "deleted": False, **more})


def world(*rows, volumes=None, places=(("z1", "Primary"), ("z1", "Image")), storpool=None, version=NEW, running=True, **more):
    this = World({Owner(): [volume()] if volumes is None else volumes}, {Owner(): list(rows)}, copies(*places) if rows else {})
    this.storpool = {"s1": there()} if storpool is None else storpool
    this.version, this.capabilities, this.settings = version, {"kvmsnapshotenabled": running}, {BACKUP: "true", BYPASS: "false"}
    this.zones = {"sofia": ("z1", "sofia"), "plovdiv": ("z2", "plovdiv")}
    this.look = lambda client: None
    for key, value in more.items():
        setattr(this, key, value)
    return this


def plan(this, **given):
    return sound(CLOUD_SNAPSHOTS.plan(wanted(**given), this))


@pytest.mark.parametrize(
    ("given", "option", "words"),
    [
        ({"volume": " "}, "volume", "is needed"),
        ({"volume": None, "id": "s1"}, "volume", "is needed"),
        ({"name": None}, "name", "is needed"),
        ({"name": "{volume}-s"}, "name", "told apart by their volume"),
        ({"stop_vm": True}, "stop_vm", "state: reverted"),
        ({"state": "reverted", "zones": ["sofia"]}, "zones", "present and absent"),
        ({"zones": [" "]}, "zones", "empty name"),
        ({"state": "absent", "backup": True}, "backup", "state: present"),
        ({"keep_last": 2}, "name", "has no time in it"),
        ({"state": "pruned"}, "state", "needs at least one of"),
        ({"state": "absent", "name": "s-%Y", "keep_last": 1}, "state", "cannot be combined with retention"),
        ({"max_deletes": 1}, "max_deletes", "is for retention"),
        ({"name": "s-%Y", "keep_last": 1, "max_deletes": -1}, "max_deletes", "not negative"),
        ({"name": "s" * 256}, "name", "CloudStack takes 255"),
        ({"wait_timeout": "soon"}, "wait_timeout", "soon"),
        ({"account": "ops"}, "account", "needs domain"),
    ],
)
def test_bad_options(given, option, words):
    with pytest.raises(OptionError, match=words) as refused:
        wanted(**given)
    assert refused.value.parts["option"] == option


def test_an_id_is_enough_to_delete():
    made = CLOUD_SNAPSHOTS.plan(wanted(volume=None, name=None, id="s1", state="absent"), world(row(), volumes=[]))
    assert steps(made) == [("delete", "deleteSnapshot")]


# -- taking


def test_a_new_one():
    made = plan(world())
    assert steps(made) == [("create", "createSnapshot")] and made.changes[0].write.params == {"volumeid": "v1", "name": "s"}
    assert made.after["state"] == "BackedUp" and made.after["backup"] is True and made.after["zones"] == ["sofia"]
    made.changes[0].learn["snapshot"](made.after, {"id": "s9", "state": "CreatedOnPrimary", "virtualsize": 2 * GIB})
    assert (made.after["id"], made.after["state"], made.after["size"]) == ("s9", "CreatedOnPrimary", 2 * GIB)


@pytest.mark.parametrize(
    ("version", "settings", "kept", "because"),
    [
        (OLD, {BACKUP: "true", BYPASS: "false"}, True, f"{BACKUP} is true"),
        (OLD, {BACKUP: "true", BYPASS: "true"}, False, f"{BYPASS} is true"),
        (OLD, {BACKUP: "false", BYPASS: "false"}, False, f"{BACKUP} is false"),
        (NEW, {BACKUP: "true", BYPASS: "true"}, True, f"{BACKUP} is true"),
        (NEW, {BACKUP: "false"}, False, f"{BACKUP} is false"),
        (NEW, {}, True, f"{BACKUP} is true"),
    ],
)
def test_what_decides_about_the_backup(version, settings, kept, because):
    assert backs_up(world(version=version, settings=settings)) == (kept, because)


@pytest.mark.parametrize(
    ("version", "settings", "backup", "way_out"),
    [
        (OLD, {}, False, f"set {BYPASS} to true"),
        (OLD, {BYPASS: "true"}, True, f"set {BYPASS} to false"),
        (OLD, {BACKUP: "false"}, True, f"set {BACKUP} to true and restart"),
        (NEW, {}, False, f"set {BACKUP} to false and restart"),
        (NEW, {BACKUP: "false"}, True, f"set {BACKUP} to true and restart"),
    ],
)
def test_a_backup_that_the_settings_do_not_give_is_refused(version, settings, backup, way_out):
    made = plan(world(version=version, settings=settings), backup=backup)
    assert isinstance(made.refused, ChangeRefused) and way_out in str(made.refused) and not made.changes
    assert plan(world(version=version, settings=settings), backup=not backup).changes


@pytest.mark.parametrize(
    ("version", "settings", "allowed"),
    [(OLD, {}, False), (OLD, {BYPASS: "true"}, True), (NEW, {}, True), (NEW, {BACKUP: "false"}, False), (NEW, {BYPASS: "true"}, True)],
)
def test_the_gate_of_encrypted_volumes(version, settings, allowed):
    """From 4.21 on it is the other way round."""
    this = world(volumes=[attached(encryptformat="LUKS")], version=version, settings=settings)
    assert bool(plan(this).changes) is allowed and ("is encrypted" in str(plan(this).refused)) is not allowed
    assert plan(world(volumes=[attached("Stopped", encryptformat="LUKS")], version=version, settings=settings)).changes


@pytest.mark.parametrize(
    ("volumes", "running", "words"),
    [
        ([], True, "does not exist in CloudStack"),
        ([volume(), volume(id="v2")], True, "is the name of 2 volumes"),
        ([volume(state="Allocated", path=None)], True, "it is Allocated"),
        ([volume(path="nfs-file", storage="nfs")], True, "it is not on StorPool but on nfs"),
        ([attached("Destroyed")], True, "is Destroyed"),
        ([attached()], False, "kvm.snapshot.enabled is false"),
        ([attached("Migrating")], False, "kvm.snapshot.enabled is false"),
    ],
)
def test_volumes_that_cannot_be_taken(volumes, running, words):
    made = plan(world(volumes=volumes, running=running))
    assert made.refused and words in str(made.refused) and not made.changes


def test_a_failed_one_goes_first():
    made = plan(world(row(state="Error", identity="e1"), row("other", "s2")))
    assert steps(made) == [("delete (failed)", "deleteSnapshot"), ("create", "createSnapshot")]
    assert made.changes[0].write.params == {"id": "e1"}


def test_nothing_to_do():
    made = plan(world(row()), backup=True, zones=["sofia"])
    assert made.changes == [] and made.waits == [] and made.notes["differences"] == [] and made.notes["storpool"]["global_id"] == "sf.a.9"


@pytest.mark.parametrize("state", ["Allocated", "Creating", "CreatedOnPrimary", "BackingUp", "Copying"])
def test_one_under_way_is_waited_for(state):
    made = plan(world(row(state=state)))
    assert made.changes == [] and made.waits and made.after["state"] == state


@pytest.mark.parametrize(
    ("this", "words"),
    [
        (world(row(), storpool={}), "StorPool has no snapshot with the tags"),
        (world(row(), storpool={"s1": there(size=2 * GIB)}), "its size is 1073741824 in CloudStack and 2147483648"),
        (world(row(), storpool={"s1": there(tags={"cs": "group", "uuid": "s1"})}), "tag cs is group"),
        (world(row(state="Destroying")), "is Destroying"),
    ],
)
def test_what_differs_is_refused_or_told(this, words):
    assert words in str(plan(this).refused)
    if "Destroying" not in words:
        assert words in plan(this, verify="warn").warnings[0] and not plan(this, verify="warn").refused
        assert plan(this, verify="off").refused is None


def test_one_that_is_on_secondary_storage_alone_is_not_missed_on_storpool():
    assert plan(world(row(), places=[("z1", "Image")], storpool={})).refused is None


def test_a_bypassed_one_has_a_row_that_is_no_copy():
    """Up to 4.20 it points at StorPool, and has the size of the volume."""
    this = world(row(), version=OLD)
    this.copies["s1"][1]["physicalsize"] = GIB
    assert plan(this).before["backup"] is False and "has no copy" in str(plan(this, backup=True).refused)


class Listed:
    """Lists one snapshot, in each state for one look."""

    def __init__(self, *rows):
        self.rows = list(rows)

    def list(self, call, key, **params):
        assert (call, key, params) == ("listSnapshots", "snapshot", {"id": "s1", "listall": True})
        return self.rows.pop(0)


def test_a_backup_is_waited_for_until_it_has_ended():
    made = plan(world(row(state="BackingUp")), verify="off", wait_timeout="1h")
    (wait,) = made.waits
    assert (wait.what, wait.seconds) == ("the backup of snapshot data/s", 3600)
    assert [wait.done(Listed([row(state=state)])) for state in ("CreatedOnPrimary", "BackingUp")] == [False, False]
    assert made.after["state"] == "BackingUp"
    assert wait.explain(Listed([row(jobid="j1")])) == "it is BackingUp"
    assert "it is BackingUp; no job is at it any more" in wait.explain(Listed([row()]))
    for rows, state in (([row(state="Error")], "Error"), ([], "not listed")):
        with pytest.raises(ChangeRefused, match=f"snapshot data/s is {state} now: CloudStack could not finish it"):
            wait.done(Listed(rows))
    assert wait.done(Listed([row()])) is True and made.after["state"] == "BackedUp"
    assert wait.done(Listed()) is True, "what has ended is not asked again"


# -- zones

POOLS = {"z1": [{"name": "near", LOCATION: "sofia"}], "z2": [{"name": "far", REPLICATION: "true", LOCATION: "plovdiv"}]}


def test_copied_by_storpool_where_the_zones_are_made_for_it():
    made = plan(world(row(), targets=POOLS), zones=["plovdiv", "sofia"])
    (change,) = made.changes
    assert change.action == "copy to plovdiv by StorPool" and change.write.waits == 6 * 3600
    assert change.write.params == {"id": "s1", "sourcezoneid": "z1", "destzoneids": ["z2"], "usestoragereplication": True}
    new = plan(world(targets=POOLS), zones=["plovdiv"])
    assert actions(new) == ["create", "copy to plovdiv by StorPool"]
    new.changes[0].learn["snapshot"](new.after, {"id": "s9"})
    assert new.changes[1].write.params["id"] == "s9"


@pytest.mark.parametrize(
    ("version", "targets", "why"),
    [
        (OLD, {}, "need CloudStack 4.21"),
        (NEW, {}, "no StorPool pool of zone plovdiv has use.storage.replication"),
        (NEW, {**POOLS, "z2": [{"name": "far", REPLICATION: "false", LOCATION: "x"}]}, "no StorPool pool of zone plovdiv"),
        (NEW, {**POOLS, "z2": [{"name": "far", REPLICATION: "true", LOCATION: ""}]}, "pool far of zone plovdiv has no sp.cluster.location"),
        (NEW, {**POOLS, "z1": [{"name": "near"}]}, "the pools of zone sofia have no sp.cluster.location"),
    ],
)
def test_without_that_it_takes_a_copy_on_secondary_storage(version, targets, why):
    made = plan(world(row(), version=version, targets=targets), zones=["plovdiv"])
    assert made.changes[0].action == "copy to plovdiv" and "usestoragereplication" not in made.changes[0].write.params
    alone = plan(world(row(), version=version, targets=targets, places=[("z1", "Primary")]), zones=["plovdiv"])
    assert isinstance(alone.refused, ChangeRefused) and why in str(alone.refused) and not alone.changes


# -- reverting


def standing(parent="~sf.a.9", stored=0, size=GIB):
    return {"~sf.a.1": Standing(parent, stored, size)}


@pytest.mark.parametrize(
    ("written", "size", "because"),
    [
        (standing(), GIB, None),
        (standing(stored=512), GIB, "512 bytes were written to volume data since"),
        (standing("~sf.a.8"), GIB, "volume data does not stand on it"),
        (standing(stored=None), GIB, "StorPool does not say how much"),
        (standing(size=2 * GIB), 2 * GIB, "its size is 2G, the snapshot's 1G"),
    ],
)
def test_reverted_only_when_it_may_differ(written, size, because):
    made = plan(world(row(), volumes=[volume(size=size)], written=written), state="reverted")
    assert steps(made) == ([("revert", "revertSnapshot")] if because else [])
    assert made.notes["revert"]["needed"] is bool(because) and (because is None or because in made.notes["revert"]["because"])
    assert (made.notes["revert"]["size_before"], made.notes["revert"]["size_after"]) == (size, GIB)
    assert bool(made.warnings) is (size != GIB), "StorPool keeps the larger size"


WRITTEN = standing(stored=512)


@pytest.mark.parametrize(
    ("this", "words"),
    [
        (world(written=WRITTEN), "is no snapshot of volume data; there are: none"),
        (world(row(), volumes=[], written=WRITTEN), "does not exist any more"),
        (world(row(state="BackingUp"), written=WRITTEN), "is BackingUp"),
        (world(row(), storpool={}, written=WRITTEN), "StorPool does not have it"),
        (world(row(), volumes=[volume(state="Snapshotting")], written=WRITTEN), "is Snapshotting"),
        (world(row(), volumes=[attached()], written=WRITTEN, machines={"m1": {"id": "m1", "name": "db1", "state": "Running"}}), "db1 runs"),
        (
            world(
                row(),
                volumes=[attached("Stopped")],
                written=WRITTEN,
                machines={"m1": {"id": "m1", "name": "db1", "state": "Stopped"}},
                with_vm_snapshots={"m1"},
            ),
            "VM db1 has VM snapshots",
        ),
    ],
)
def test_reverts_refused(this, words):
    made = plan(this, state="reverted")
    assert made.refused and words in str(made.refused) and not made.changes


# -- deleting


def test_absent():
    assert steps(plan(world(row()), state="absent")) == [("delete", "deleteSnapshot")]
    assert plan(world(row()), state="absent").changes[0].write.hints[0][0] == "was exported"
    assert plan(world(), state="absent").changes == () and plan(world(volumes=[]), state="absent").changes == ()
    assert steps(plan(world(row(), row("s", "e1", "Error")), state="absent")) == [("delete", "deleteSnapshot")] * 2
    assert "is BackingUp" in str(plan(world(row(state="BackingUp")), state="absent").refused)
    assert steps(plan(world(row(), volumes=[]), state="absent")) == [("delete", "deleteSnapshot")], "of a volume that is gone"


@pytest.mark.parametrize(("zone", "identity"), [("sofia", "s1"), ("z1", "s1"), ("plovdiv", "s2"), ("z2", "s2"), ("varna", None)])
def test_of_a_volume_that_is_gone_those_of_the_declared_zone_are_meant(zone, identity):
    this, owner = world(volumes=[]), Owner(zone=zone)
    this.volumes[owner], this.snapshots[owner] = [], [row(), row("s", "s2", zoneid="z2", zonename="plovdiv")]
    assert [change.write.params for change in plan(this, zone=zone, state="absent").changes] == ([{"id": identity}] if identity else [])


def test_absent_in_one_zone():
    places = [("z1", "Primary"), ("z2", "Primary")]
    made = plan(world(row(), places=places), state="absent", zones=["plovdiv"])
    assert made.changes[0].write.params == {"id": "s1", "zoneid": "z2"} and made.after["zones"] == ["sofia"]
    every = plan(world(row(), places=places), state="absent", zones=["plovdiv", "sofia"])
    assert len(every.changes) == 2 and every.after is None


def test_an_exported_one_is_waited_for_before_it_is_deleted():
    assert plan(world(row(), exports={"sf.a.9": ["plovdiv"]}), state="absent").changes[0].work is not None
    assert plan(world(row(), exports={"sf.a.8": ["plovdiv"]}), state="absent").changes[0].work is None


def test_retention():
    days = [row(f"n-202611{day}", f"d{day}", created=f"2026-11-{day}T10:00:00+0000") for day in (18, 19, 20)]
    busy = row("n-20261117", "d17", "BackingUp", created="2026-11-17T10:00:00+0000")
    made = plan(world(*days, busy, row("by-hand", "h1")), name="n-%Y%m%d", keep_last=2)
    assert actions(made) == ["create", "delete (n-20261118)", "delete (n-20261119)"]
    assert "leaves n-20261117 alone" in made.warnings[0] and made.beside[1]["series"] == ["n-20261117", "n-20261120", "n-20261122"]
    pruned = plan(world(*days), name="n-%Y%m%d", state="pruned", keep_last=1, max_deletes=1)
    assert isinstance(pruned.refused, ChangeRefused) and "more than max_deletes (1)" in str(pruned.refused)


@pytest.mark.parametrize("declared", ["present", "pruned"])
def test_retention_counts_the_declared_one_that_is_being_made_and_waits_for_it(declared):
    """Its task was interrupted. Were it to fail after all, what is older would be missed."""
    days = [row(f"n-202611{day}", f"d{day}", created=f"2026-11-{day}T10:00:00+0000") for day in (18, 19, 20)]
    coming = row("n-20261122", "d22", "BackingUp", created="2026-11-22T10:00:00+0000")
    made = plan(world(*days, coming), name="n-%Y%m%d", state=declared, keep_last=2)
    if declared == "pruned":
        assert actions(made) == ["delete (n-20261118)"] and made.changes[0].first is None
        assert "leaves n-20261122 alone" in made.warnings[0]
        return
    assert actions(made) == ["delete (n-20261118)", "delete (n-20261119)"]
    assert made.changes[0].first is made.waits[0] and not made.warnings
    assert made.notes["retention"]["kept"] == {"n-20261122": ["last"], "n-20261120": ["last"]}


def test_those_of_one_vm_follow_each_other():
    volumes = [attached(), attached(id="v2", name="log"), volume(id="v3", name="loose")]
    declared = [wanted(volume=name) for name in ("data", "log", "loose")]
    spread = CLOUD_SNAPSHOTS.spread(declared, world(volumes=volumes))
    assert [one.needs() for one in spread] == [(), (declared[0].names()[0],), ()]


def spread(this, *declared):
    return CLOUD_SNAPSHOTS.spread([wanted(**one) for one in declared], this)


def test_what_the_task_declares_is_never_pruned_by_it():
    """Its name may tell another day than the one on which it was made."""
    rows = [row(f"n-202611{day}", f"d{day}", created=f"2026-11-{made}T10:00:00+0000") for day, made in ((18, 18), (19, 20), (22, 17))]
    today = plan(world(*rows), name="n-%Y%m%d", keep_last=1, verify="off")
    assert actions(today) == ["delete (n-20261118)"]
    assert today.notes["retention"]["kept"] == {"n-20261119": ["last"], "n-20261122": ["declared"]}
    this = world(*rows)
    (pruned, _present, _reverted, elsewhere) = spread(
        this,
        {"name": "n-%Y%m%d", "state": "pruned", "keep_last": 1},
        {"name": "n-20261118"},
        {"name": None, "id": "d22", "state": "reverted"},
        {"volume": "log", "name": "n-20261119"},
    )
    assert pruned.spared == {"n-20261118", "n-20261122"} and elsewhere.spared == {"n-20261119"}
    assert CLOUD_SNAPSHOTS.plan(pruned, this).changes == []


# -- several volumes of one VM


def stopping(*sizes, state="Running", **more):
    """A world with a VM of as many volumes; each stands on its snapshot, and so many bytes were written to it since."""
    numbers = range(len(sizes))
    volumes = [attached(state, id=f"v{number}", name=f"d{number}", path=f"/dev/storpool-byid/sf.a.{number}") for number in numbers]
    rows = [row("s", f"s{number}", volumeid=f"v{number}", volumename=f"d{number}") for number in numbers]
    storpool = {f"s{number}": {**there(), "name": f"~sf.b.{number}"} for number in numbers}
    written = {f"~sf.a.{number}": Standing(f"~sf.b.{number}", size, GIB) for number, size in enumerate(sizes)}
    machines = {"m1": {"id": "m1", "name": "db1", "state": state, **more}}
    return world(*rows, volumes=volumes, storpool=storpool, written=written, machines=machines)


def together(this, *stop):
    declared = spread(this, *({"volume": f"d{number}", "state": "reverted", "stop_vm": one} for number, one in enumerate(stop)))
    return [[change.action for change in CLOUD_SNAPSHOTS.plan(one, this).changes] for one in declared]


BEGIN, END = ["mark the VM", "stop the VM", "revert"], ["revert", "start the VM", "unmark the VM"]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ([512, 512], [BEGIN, END]),
        ([512, 512, 512], [BEGIN, ["revert"], END]),
        ([0, 512, 0, 512, 0], [[], BEGIN, [], END, []]),
        ([0, 512, 0], [[], [*BEGIN, *END[1:]], []]),
        ([0, 0], [[], []]),
    ],
)
def test_a_vm_is_stopped_and_started_once(written, expected):
    assert together(stopping(*written), *[True] * len(written)) == expected


MARKED = {"tags": [{"key": MARK}]}


@pytest.mark.parametrize(
    ("written", "state", "more", "expected"),
    [
        # What an interrupted run has left: stopped before any, after the first, after all; started, and still marked.
        ([512, 512], "Stopped", MARKED, [["revert"], END]),
        ([0, 512], "Stopped", MARKED, [[], END]),
        ([512, 0], "Stopped", MARKED, [END, []]),
        ([0, 0], "Stopped", MARKED, [[], END[1:]]),
        ([0, 0], "Running", MARKED, [[], ["unmark the VM"]]),
        ([512, 512], "Running", MARKED, [["stop the VM", "revert"], END]),
        # Who stopped it is not us.
        ([512, 512], "Stopped", {}, [["revert"], ["revert"]]),
    ],
)
def test_what_an_interrupted_run_has_left_is_finished(written, state, more, expected):
    assert together(stopping(*written, state=state, **more), *[True] * len(written)) == expected


def test_the_diff_tells_which_of_them_stops_and_which_starts_the_vm():
    this = stopping(512, 512, 512)
    declared = spread(this, *({"volume": f"d{number}", "state": "reverted", "stop_vm": True} for number in range(3)))
    told = [CLOUD_SNAPSHOTS.plan(one, this).beside[1].get("vm") for one in declared]
    assert told == ["db1 is stopped for it", None, "db1 is started again"]


def test_those_that_cannot_be_reverted_neither_stop_nor_start_the_vm():
    this = stopping(512, 512, 512, 512)
    del this.storpool["s0"], this.storpool["s3"]
    assert together(this, True, True, True, True) == [[], BEGIN, END, []]
    assert together(stopping(512, 512), False, True) == [[], [*BEGIN, *END[1:]]], "who did not allow to stop it is refused"


def test_a_volume_cannot_be_reverted_to_two():
    with pytest.raises(OptionError, match="'the content of volume data' is declared twice"):
        waves([wanted(state="reverted"), wanted(name="other", state="reverted")], "snapshots")
    with pytest.raises(OptionError, match="'project web: data/s' is declared twice"):
        waves([wanted(project="web"), wanted(project="web")], "snapshots")
