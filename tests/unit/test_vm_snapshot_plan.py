# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""VM snapshots: what is declared, what is planned for it, and what is refused."""

from __future__ import annotations

import pytest
from ansible_collections.storpool.cloudstack.plugins.module_utils._errors import ChangeRefused, OptionError
from ansible_collections.storpool.cloudstack.plugins.module_utils._plan import waves
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources._cloud import Owner
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources.cloud_series import MARK, Standing
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources.vm_snapshot import VM_SNAPSHOTS, World
from ansible_collections.storpool.cloudstack.plugins.modules.cloudstack_vm_snapshot import DECLARED
from things import checked, raw_snapshot, sound, steps

NOW = 1763800000.0  # 2025-11-22 08:26:40 UTC


def wanted(**given):
    return VM_SNAPSHOTS.parse(checked(DECLARED, **{"vm": "db1", "name": "before", **given}), NOW)


def machine(state="Running", **more):
    return {"id": "m1", "name": "db1", "state": state, **more}


def taken(name="before", identity="s1", state="Ready", created="2025-11-21T00:00:00+0000", **more):
    fields = {"id": identity, "displayname": name, "virtualmachineid": "m1", "virtualmachinename": "db1", "state": state}
    return {**fields, "type": "Disk", "created": created, **more}


def volume(number, **more):
    return {"id": f"v{number}", "name": f"disk{number}", "path": f"/dev/storpool-byid/sf.a.{number}", "storage": "nvme", **more}


def group(identity="s1", disks=2, **more):
    return {identity: [raw_snapshot("", 50 + number, tags={"cs": "group", "uuid": identity}, **more) for number in range(disks)]}


def world(*snapshots, machines=None, volumes=None, groups=None, written=None):
    of_machine = {"m1": list(snapshots)} if snapshots else {}
    machines = [machine()] if machines is None else list(machines)
    volumes = [volume(1), volume(2)] if volumes is None else list(volumes)
    standing = {name: Standing(parent, stored, 1 << 30) for name, (parent, stored) in (written or {}).items()}
    return World({Owner(): machines}, of_machine, {"m1": volumes}, groups or {}, standing, look=lambda client: None)


def plan(this, **given):
    return sound(VM_SNAPSHOTS.plan(wanted(**given), this))


@pytest.mark.parametrize(
    ("given", "option", "words"),
    [
        ({"vm": " "}, "vm", "is needed"),
        ({"name": None}, "name", "is needed"),
        ({"name": "{volume}-x"}, "name", "one of all volumes"),
        ({"state": "pruned"}, "state", "at least one of"),
        ({"name": "n-%Y", "state": "absent", "keep_last": 1}, "state", "state: pruned"),
        ({"keep_last": 2}, "name", "has no time in it"),
        ({"name": "n-%Y", "keep_last": -1}, "keep_last", "must not be negative"),
        ({"name": "n-%Y", "keep_last": 0}, "keep_last", "would keep nothing"),
        ({"max_deletes": 1}, "max_deletes", "is for retention"),
        ({"stop_vm": True}, "stop_vm", "is for state: reverted"),
        ({"timezone": "Mars"}, "timezone", "no time zone"),
    ],
)
def test_bad_options(given, option, words):
    with pytest.raises(OptionError, match=words) as refused:
        wanted(**given)
    assert refused.value.parts["option"] == option


def test_the_name_is_that_of_the_moment():
    assert wanted(name="nightly-%Y%m%d-%H", timezone="Europe/Sofia").name == "nightly-20251122-10"


def test_the_hour_that_comes_twice_has_one_name():
    """Where the clocks are set back, a name with the hour is there already when that hour comes again; nothing is pruned for it."""
    rows = []
    for moment, actions in ((1792888200, ["create"]), (1792891800, [])):  # 2026-10-25 03:30 in Sofia, in summer time and an hour later
        options = {"vm": "db1", "name": "n-%Y%m%d-%H", "timezone": "Europe/Sofia", "keep_hourly": 1}
        declared = VM_SNAPSHOTS.parse(checked(DECLARED, **options), float(moment))
        made = VM_SNAPSHOTS.plan(declared, world(*rows, groups=group()))
        assert (declared.name, [word for word, _call in steps(made)]) == ("n-20261025-03", actions)
        rows = [taken(declared.name, created="2026-10-25T03:30:00+0300")]


def test_taken_and_then_nothing():
    made = plan(world(), description="why")
    assert steps(made) == [("create", "createVMSnapshot")]
    assert made.changes[0].write.params == {"virtualmachineid": "m1", "name": "before", "description": "why", "snapshotmemory": False}
    again = plan(world(taken(), groups=group()), description="why")
    assert again.changes == () and not again.refused and again.notes["storpool"]["consistent"] is True


@pytest.mark.parametrize(
    ("this", "words"),
    [
        (world(machines=()), "does not exist in CloudStack"),
        (world(machines=(machine("Migrating"),)), "is Migrating"),
        (world(volumes=()), "has no volumes"),
        (world(volumes=(volume(1), volume(2, path="nfs", storage="nfs1"))), "disk2 on nfs1"),
        (world(volumes=(volume(1), volume(2, path=None, storage=None, state="Allocated"))), "volumes that are not there yet (disk2)"),
        (world(taken("Before")), "is for CloudStack the same as Before"),
        (world(taken(state="Error")), "is Error"),
        (world(taken(state="Expunging")), "delete it (state: absent)"),
        (world(taken(), groups=group(disks=1)), "StorPool has 1 snapshots of it, the VM has 2 volumes"),
        (world(taken(), taken(identity="s2")), "is the name of 2 VM snapshots"),
    ],
)
def test_refused(this, words):
    made = plan(this)
    assert made.refused and words in str(made.refused) and not made.changes


def test_each_volume_has_its_own_in_the_group():
    """Where StorPool tells of which volume a snapshot was made, their number is not enough."""
    groups = group()
    for one, origin in zip(groups["s1"], ("sf.a.1", "sf.a.2"), strict=True):
        one["createdFromGlobalId"] = origin
    assert plan(world(taken(), groups=groups)).refused is None
    groups["s1"][1]["createdFromGlobalId"] = "sf.a.1"
    assert "StorPool has no snapshot of volume disk2 among them" in str(plan(world(taken(), groups=groups)).refused)


def test_moments_that_differ_are_seen():
    groups = group()
    groups["s1"][0]["creationTimestamp"] += 60
    assert "2 different moments" in str(plan(world(taken(), groups=groups)).refused)
    assert "2 different moments" in plan(world(taken(), groups=groups), verify="warn").warnings[0]
    unseen = plan(World({Owner(): [machine()]}, {"m1": [taken()]}), verify="off")
    assert unseen.changes == () and unseen.notes == {"storpool": None, "differences": []}


def test_the_proof_is_the_group_on_storpool():
    made = plan(world())
    (wait,) = made.waits
    made.changes[0].learn["vmsnapshot"](made.after, {"id": "s1", "state": "Ready"})
    assert (made.after["id"], made.after["state"], made.after["type"]) == ("s1", "Ready", "Disk")
    assert wait.missing(world(taken(identity="s2"), groups=group())) == "VM snapshot db1/before is not listed"
    assert "StorPool has 1 snapshots of it" in wait.missing(world(taken(), groups=group(disks=1)))
    assert made.notes["differences"] and wait.missing(world(taken(identity="s0"), taken(), groups=group())) is None
    assert made.notes["differences"] == [] and len(made.notes["storpool"]["snapshots"]) == 2
    assert plan(world(), verify="off").waits == []


def test_the_diff_shows_all_but_the_id():
    made = plan(world(), description="why")
    assert VM_SNAPSHOTS.show({**made.after, "id": "s1"}) == {key: value for key, value in made.after.items() if key != "id"}


# -- revert

CLEAN = {"~sf.a.1": ("~sf.a.50", 0), "~sf.a.2": ("~sf.a.51", 0)}
WRITTEN = {**CLEAN, "~sf.a.2": ("later", 0), "later": ("~sf.a.51", 4096)}


def test_nothing_was_written():
    made = plan(world(taken(), groups=group(), written=CLEAN), state="reverted")
    assert made.changes == [] and made.notes["revert"]["needed"] is False


@pytest.mark.parametrize(
    ("written", "because"),
    [
        (WRITTEN, "4096 bytes were written to volume disk2 since"),
        ({**CLEAN, "~sf.a.2": ("other", 0)}, "volume disk2 does not stand on it"),
        ({**CLEAN, "~sf.a.2": ("~sf.a.51", None)}, "StorPool does not say how much was written to volume disk2"),
        ({}, "volume disk1 does not stand on it"),
    ],
)
def test_why_it_is_reverted(written, because):
    made = plan(world(taken(), groups=group(), written=written, machines=(machine("Stopped"),)), state="reverted")
    assert steps(made) == [("revert", "revertToVMSnapshot")] and made.notes["revert"] == {"needed": True, "because": because}


def test_a_running_vm_is_stopped_and_started_only_when_asked():
    refused = plan(world(taken(), groups=group(), written=WRITTEN), state="reverted").refused
    assert isinstance(refused, ChangeRefused) and refused.parts["allow_with"] == "stop_vm: true"
    made = plan(world(taken(), groups=group(), written=WRITTEN), state="reverted", stop_vm=True)
    assert [word for word, _call in steps(made)] == ["mark the VM", "stop the VM", "revert", "start the VM", "unmark the VM"]
    why = made.notes["revert"]["because"]
    assert made.beside[0] == {"content": f"its own: {why}", "vm": "db1 is Running"}
    assert made.beside[1] == {"content": "that of db1/before", "vm": "db1 is stopped for it and started again"}


def test_a_vm_that_an_interrupted_run_left_stopped_is_started():
    marked = {"tags": [{"key": MARK, "value": "db1/before"}]}
    stopped = world(taken(), groups=group(), written=CLEAN, machines=(machine("Stopped", **marked),))
    assert steps(plan(stopped, state="reverted", stop_vm=True)) == [
        ("start the VM", "startVirtualMachine"),
        ("unmark the VM", "deleteTags"),
    ]
    running = world(taken(), groups=group(), written=CLEAN, machines=(machine("Running", **marked),))
    assert steps(plan(running, state="reverted", stop_vm=True)) == [("unmark the VM", "deleteTags")]
    assert plan(stopped, state="reverted").changes == [], "who did not allow to stop it does not start it"


@pytest.mark.parametrize(
    ("this", "words"),
    [
        (world(taken("other")), "there are: other"),
        (world(taken(type="DiskAndMemory"), groups=group()), "has the VM's memory in it"),
        (world(taken(), groups=group(disks=1), written=WRITTEN), "cannot be reverted to"),
        (world(taken(), groups=group(), written=WRITTEN, machines=(machine("Starting"),)), "is Starting"),
    ],
)
def test_reverts_refused(this, words):
    made = plan(this, state="reverted", stop_vm=True)
    assert made.refused and words in str(made.refused) and not made.changes


# -- absent, retention


def test_absent():
    assert steps(plan(world(taken()), state="absent")) == [("delete", "deleteVMSnapshot")]
    assert plan(world(), state="absent").changes == () and plan(world(machines=()), state="absent").changes == ()


SERIES = [taken(f"n-2025110{day}", f"s{day}", created=f"2025-11-0{day}T01:00:00+0000") for day in (1, 2, 3)]


def test_retention():
    this = world(*SERIES, taken("by hand", "s9"), groups={})
    made = plan(this, name="n-%Y%m%d", state="pruned", keep_last=1)
    assert [word for word, _call in steps(made)] == ["delete (n-20251101)", "delete (n-20251102)"]
    assert made.notes["retention"]["kept"] == {"n-20251103": ["last"]} and made.beside[1] == {"series": ["n-20251103"]}
    made = plan(this, name="n-%Y%m%d", keep_last=2)
    assert [word for word, _call in steps(made)] == ["create", "delete (n-20251101)", "delete (n-20251102)"]
    assert "more than max_deletes (1)" in str(plan(this, name="n-%Y%m%d", keep_last=2, max_deletes=1).refused)


def full(*snapshots, most):
    this = world(*snapshots)
    this.most = most
    return this


def test_where_there_is_no_room_what_is_pruned_goes_first():
    """CloudStack lets a VM have so many; a rule that keeps as many has to work."""
    made = plan(full(*SERIES, most=3), name="n-%Y%m%d", keep_last=3)
    assert [word for word, _call in steps(made)] == ["delete (n-20251101)", "create"]
    assert [word for word, _call in steps(plan(full(*SERIES, most=4), name="n-%Y%m%d", keep_last=3))] == ["create", "delete (n-20251101)"]
    for given in ({"name": "n-%Y%m%d", "keep_last": 4}, {"name": "another"}):
        refused = plan(full(*SERIES, most=3), **given)
        assert "has 3 VM snapshots, and CloudStack lets it have 3" in str(refused.refused) and not refused.changes
    assert plan(full(*SERIES, most=3), name="n-%Y%m%d", state="pruned", keep_last=9).refused is None


def test_retention_leaves_alone_what_is_being_made():
    this = world(SERIES[0], {**SERIES[1], "state": "Creating"}, SERIES[2])
    made = plan(this, name="n-%Y%m%d", state="pruned", keep_last=1)
    assert [word for word, _call in steps(made)] == ["delete (n-20251101)"] and "which is Creating" in made.warnings[0]


def test_what_the_task_declares_is_never_pruned_by_it():
    """Its name may tell another day than the one on which it was made."""
    early = taken("n-20251122", "s0", created="2025-10-01T01:00:00+0000")
    this = world(*SERIES, early, groups=group("s0"))
    made = plan(this, name="n-%Y%m%d", keep_last=1)
    assert [word for word, _call in steps(made)] == ["delete (n-20251101)", "delete (n-20251102)"]
    assert made.notes["retention"]["kept"] == {"n-20251103": ["last"], "n-20251122": ["declared"]}
    declared = [wanted(name="n-%Y%m%d", state="pruned", keep_last=1), wanted(name="n-20251101"), wanted(vm="m1", name="n-20251122")]
    pruned = VM_SNAPSHOTS.spread(declared, this)[0]
    assert [change.action for change in VM_SNAPSHOTS.plan(pruned, this).changes] == ["delete (n-20251102)"]


def test_those_of_one_vm_follow_each_other():
    this = world(machines=(machine(), machine(id="m2", name="web1")))
    declared = [wanted(), wanted(vm="web1"), wanted(vm="m1", name="other"), wanted(state="absent", name="old"), wanted(vm="none")]
    spread = VM_SNAPSHOTS.spread(declared, this)
    names = [one.names()[0] for one in declared]
    assert [one.needs() for one in spread] == [(), (), (names[0],), (names[2],), ()]


def test_a_vm_cannot_be_reverted_to_two():
    declared = [wanted(state="reverted"), wanted(name="other", state="reverted")]
    with pytest.raises(OptionError, match="'the content of VM db1' is declared twice"):
        waves(declared, "vm_snapshots")
    with pytest.raises(OptionError, match="'zone sofia: db1/before' is declared twice"):
        waves([wanted(zone="sofia"), wanted(zone="sofia")], "vm_snapshots")
    assert waves([wanted(state="reverted"), wanted(vm="web1", state="reverted")], "vm_snapshots") == [[0, 1]]
