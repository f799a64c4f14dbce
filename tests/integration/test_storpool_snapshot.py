# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""storpool_snapshot against the simulator: what it does, how it is predicted, how few calls it takes, and what lost answers cannot harm."""

from __future__ import annotations

import pytest
from prediction import unlike

MIB = 1 << 20
A_DAY = 86400
MODULE = "storpool_snapshot"


@pytest.fixture
def volumes(simulator):
    """Two volumes, `db` with limits and `log` as its template makes it."""
    for body in (
        {"name": "db", "size": MIB, "template": "nvme", "iops": 1000, "tags": {"of": "volume"}},
        {"name": "log", "size": 2 * MIB, "template": "hybrid"},
    ):
        status, answer = simulator.post("VolumeCreate", body)
        assert status == 200, answer
    simulator.reset_calls()


@pytest.fixture
def snap(run_module, calls):
    """`snap(**options)` runs the module in check mode, for real and again, holds it to its promises and returns the real result."""

    def run(again: bool = True, **options):
        calls()
        predicted = run_module(MODULE, check=True, **options)
        assert calls().writes == []
        real = run_module(MODULE, **options)
        made = calls()
        assert unlike(predicted, real) == []
        assert "api" not in real or (len(made.reads), len(made.writes)) == (real["api"]["reads"], real["api"]["writes"])
        if again and not real.get("failed"):
            repeated = run_module(MODULE, **options)
            quiet = calls()
            assert (repeated["changed"], quiet.writes) == (False, [])
            real["again"] = repeated
            real["quiet_reads"] = quiet.reads
        real["writes"] = made.writes
        real["reads"] = made.reads
        return real

    return run


@pytest.fixture
def clock(task_time, simulator):
    """`clock(seconds)` moves the clocks of the task and of the simulator on together; whatever time it is, it begins after noon (UTC)."""
    start = (
        simulator.post("VolumeCreate", {"name": "clock-probe", "size": 512})[1]
        and one(simulator, "Volume/clock-probe")["creationTimestamp"]
    )
    simulator.post("VolumeDelete/clock-probe", {})
    task_time.seconds = start

    def advance(seconds):
        task_time.seconds += seconds
        simulator.advance(seconds)

    advance(A_DAY - start % A_DAY + A_DAY // 2 + 60)
    return advance


def one(simulator, path):
    status, answer = simulator.get(path)
    assert status == 200, answer
    data = answer["data"]
    return data[0] if isinstance(data, list) else data


def names(simulator):
    return sorted(raw["name"] for raw in simulator.get("SnapshotsList")[1]["data"] if not raw["deleted"])


def entry(result):
    assert not result.get("failed"), result["msg"]
    return result["snapshots"][0]


# -- one snapshot


def test_a_snapshot_is_taken_once(snap, simulator, volumes):
    result = snap(name="s", volume="db", tags={"owner": "dba"}, bind=True, delete_after="7d")
    assert entry(result)["actions"] == ["create"]
    assert result["writes"] == ["VolumeSnapshot"]
    assert sorted(result["reads"]) == ["Snapshot", "Volume"]
    assert result["quiet_reads"] == ["Snapshot"]
    raw = one(simulator, "Snapshot/s")
    assert (raw["bound"], raw["tags"], raw["onVolume"]) == (True, {"owner": "dba"}, "db")
    assert raw["targetDeleteDate"] - raw["creationTimestamp"] in range(7 * 86400 - 5, 7 * 86400 + 5)
    shown, known = entry(result)["object"], entry(result["again"])["object"]
    assert shown["global_id"] == raw["globalId"]
    assert unlike({**shown, "created": None}, {**known, "created": None}) == []


def test_limits_and_template_follow_in_one_update(snap, simulator, volumes):
    result = snap(name="s", volume="db", template="hdd", iops="unlimited", bw="10M", replication=2)
    assert result["writes"] == ["VolumeSnapshot", "SnapshotUpdate"]
    raw = one(simulator, "Snapshot/s")
    assert (raw["templateName"], raw["iops"], raw["bw"], raw["replication"]) == ("hdd", "-", 10240, 2)
    assert unlike({**entry(result)["object"], "created": 0}, {**entry(result["again"])["object"], "created": 0}) == []


def test_everything_that_an_update_changes(snap, simulator, volumes):
    snap(name="s", volume="db", tags={"a": "1", "b": "2"}, bind=True, delete_after="1h")
    result = snap(name="s", tags={"a": "9"}, tags_mode="exact", bind=False, delete_after="never", iops=5)
    assert entry(result)["actions"] == ["update iops, tags, bind, deleteAfter"]
    raw = one(simulator, "Snapshot/s")
    assert (raw["tags"], raw["bound"], raw["iops"], raw.get("targetDeleteDate", 0)) == ({"a": "9"}, False, 5, 0)
    assert unlike(entry(result)["object"], entry(result["again"])["object"]) == []


def test_a_volume_of_that_name_is_in_the_way(run_module, calls, volumes):
    calls()
    checked = run_module(MODULE, check=True, name="log", volume="db")
    assert (checked["error"]["type"], calls().writes) == ("refused", [])
    assert "a volume is called log" in checked["msg"]
    real = run_module(MODULE, name="log", volume="db")
    assert (real["failed"], real["changed"], real["error"]["name"]) == (True, False, "objectExists")


def test_renaming_keeps_identity(snap, simulator, volumes):
    gid = entry(snap(name="old", volume="db"))["object"]["global_id"]
    assert entry(snap(name="new", renamed_from="old"))["actions"] == ["update rename"]
    assert one(simulator, "Snapshot/new")["globalId"] == gid
    assert entry(snap(global_id=gid, name="third"))["actions"] == ["update rename"]
    assert entry(snap(global_id=f"~{gid}", tags={"x": "y"}))["name"] == "third"
    snap(name="other", volume="db")
    failed = snap(name="third", renamed_from="other")
    assert failed["error"]["type"] == "refused" and "both third and other exist" in failed["msg"]


def test_an_automatic_name_is_found_but_not_given(snap, simulator, volumes):
    auto = simulator.post("VolumeSnapshot/db", {})[1]["data"]["autoName"]
    assert entry(snap(name=auto, tags={"x": "y"}))["actions"] == ["update tags"]
    assert "is not a name" in snap(name="db@77777", volume="db")["msg"]


def test_expiry_moves_only_when_asked(run_module, simulator, volumes, clock):
    run_module(MODULE, name="s", volume="db", delete_after="1d")
    date = one(simulator, "Snapshot/s")["targetDeleteDate"]
    clock(3600)
    assert not run_module(MODULE, name="s", delete_after="1d")["changed"]
    assert not run_module(MODULE, name="s", delete_after="9d")["changed"]
    assert run_module(MODULE, name="s", delete_after="1d", renew_expiry=True)["changed"]
    assert one(simulator, "Snapshot/s")["targetDeleteDate"] - date in range(3600, 3900)
    assert run_module(MODULE, name="s", delete_at="2099-01-01T00:00:00Z")["changed"]
    assert one(simulator, "Snapshot/s")["targetDeleteDate"] == 4070908800
    assert not run_module(MODULE, name="s", delete_at=4070908800)["changed"]
    assert run_module(MODULE, name="s", delete_at="never")["changed"]
    assert not one(simulator, "Snapshot/s").get("targetDeleteDate")
    assert "in the past" in run_module(MODULE, name="s", delete_at="2020-01-01")["msg"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (dict(name="s"), "is needed to take the snapshot"),
        (dict(name="s", volume="nowhere"), "is no volume of this cluster"),
        (dict(volume="db"), "without a name or global_id each run would take another snapshot"),
        (dict(name="s", volume="db", template="none"), "does not exist on this cluster"),
        (dict(name="s", volume="db", export_to=["mars"]), "is no location that this cluster knows"),
        (dict(global_id="sf.a.zzz", volume="db"), "there is no snapshot with global_id"),
        (dict(name="s", volume="db", attach_to=["1:rw"]), "attached read-only"),
        (dict(name="s", volume="db", delete_after="1d", delete_at="never"), "cannot be combined with delete_after"),
        (dict(name="s", volume="db", renew_expiry=True), "needs delete_after"),
        (dict(name="s", volumes=["db", "log"]), "gives several volumes the same name"),
        (dict(name="{volume}", volumes=["db", "db"]), "each once"),
        (dict(name="{volume}", volumes=["db"], volume="db"), "cannot be combined with volume"),
        (dict(volumes=["db"]), "is needed for a group"),
        (dict(name="{volume}-x"), "so volume or volumes is needed"),
        (dict(name="s-%B", volume="db"), "has %B"),
        (dict(name="s", volume="db", timezone="Mars/Base"), "no time zone"),
        (dict(name="s-%Y", volume="db", state="pruned"), "needs at least one of keep_last"),
        (dict(name="s-%Y", volume="db", keep_daily=0), "would keep nothing"),
        (dict(name="s", volume="db", keep_daily=1), "needs a series"),
        (dict(name="s-%Y", volume="db", keep_daily=1, state="absent"), "use state: pruned"),
        (dict(name="s", volume="db", max_deletes=1), "is only for retention"),
        (dict(name="s", volume="db", exclusive=True), "needs attach_to"),
        (dict(name="s", volume="db", tags_mode="exact"), "needs tags"),
        (dict(name="s", volume="db", export_mode="exact"), "needs export_to"),
        (dict(name="s", backup_to="plovdiv"), "needs volume or volumes"),
        (dict(name="s", volume="db", backup_to="plovdiv", bind=True), "is for local snapshots"),
        (dict(name="s", volume="db", backup_to="mars"), "is no location that this cluster knows"),
        (dict(name="{volume}", volumes=["db", "log"], backup_to="plovdiv"), "leave {volume} out"),
    ],
)
def test_what_cannot_be_meant_is_said_before_anything_is_done(snap, simulator, volumes, options, words):
    result = snap(**options)
    assert result["failed"] and words in result["msg"], result["msg"]
    assert result["writes"] == [] and names(simulator) == []


# -- groups


def test_a_group_is_one_write(snap, simulator, volumes):
    result = snap(name="{volume}-g", volumes=["db", "log"], tags={"job": "nightly"})
    assert result["writes"] == ["VolumesGroupSnapshot"]
    assert result["quiet_reads"] == ["SnapshotsList"]
    assert names(simulator) == ["db-g", "log-g"]
    members = entry(result)["object"]["snapshots"]
    assert [member["global_id"] for member in members] == [one(simulator, f"Snapshot/{name}")["globalId"] for name in ("db-g", "log-g")]
    assert {member["tags"]["job"] for member in members} == {"nightly"}


def test_what_a_group_cannot_be_made_with_follows(snap, simulator, volumes):
    result = snap(name="{volume}-g", volumes=["db", "log"], bind=True, delete_after="1d")
    assert entry(result)["actions"] == ["create", "update bind, deleteAfter (db-g)", "update bind, deleteAfter (log-g)"]
    assert all(one(simulator, f"Snapshot/{name}")["bound"] for name in ("db-g", "log-g"))


def test_half_a_group_is_refused_and_can_be_deleted(snap, simulator, volumes):
    options = dict(name="{volume}-g", volumes=["db", "log"])
    snap(**options)
    simulator.post("SnapshotDelete/db-g", {})
    result = snap(**options)
    assert result["error"]["type"] == "refused" and "only log-g exists" in result["msg"] and "state: absent" in result["msg"]
    assert entry(snap(**options, state="absent"))["actions"] == ["delete (log-g)"]
    assert entry(snap(**options))["actions"] == ["create"]


def test_a_volume_under_two_names_is_one(snap, simulator, volumes):
    gid = one(simulator, "Volume/db")["globalId"]
    assert "is the same volume as db" in snap(name="{volume}-g", volumes=["db", f"~{gid}"])["msg"]


# -- names with a time


def test_a_period_has_one_snapshot(run_module, simulator, volumes, clock):
    options = dict(name="{volume}-%Y%m%d-%H", volume="db")
    assert run_module(MODULE, **options)["changed"]
    clock(1800)
    assert not run_module(MODULE, **options)["changed"]
    clock(1800)
    assert run_module(MODULE, **options)["changed"]
    group = dict(name="g-{volume}-%Y%m%d-%H", volumes=["db", "log"])
    assert [run_module(MODULE, **group)["changed"] for _time in range(2)] == [True, False]
    assert len(names(simulator)) == 4


# -- retention


def test_a_schedule_with_retention_settles(run_module, simulator, volumes, clock):
    options = dict(name="{volume}-%Y%m%d-%H", volume="db", keep_last=3, keep_daily=2)
    simulator.post("VolumeSnapshot/log", {"name": "log-20200101-00"})
    simulator.post("VolumeSnapshot/db", {"name": "db-manual"})
    for _hour in range(30):
        predicted = run_module(MODULE, check=True, **options)
        result = run_module(MODULE, **options)
        assert unlike(predicted, result) == [] and not result.get("failed")
        assert not run_module(MODULE, **options)["changed"]
        clock(3600)
    series = [name for name in names(simulator) if name.startswith("db-2")]
    assert len(series) == 4  # the last three, and the newest one of the day before
    assert {"db-manual", "log-20200101-00"} <= set(names(simulator))
    retention = entry(result)["retention"]
    assert sorted(retention["kept"]) == series
    assert result["diff"][0]["after"]["series"] == series


def test_groups_are_kept_or_deleted_whole(run_module, simulator, volumes, clock):
    options = dict(name="{volume}-%Y%m%d-%H", volumes=["db", "log"], keep_last=2)
    for _hour in range(4):
        result = run_module(MODULE, **options)
        clock(3600)
    assert len(entry(result)["retention"]["deleted"]) == 2
    assert len(names(simulator)) == 4
    held = names(simulator)[0]
    simulator.post("SnapshotExport", {"snapshot": held, "location": "plovdiv"})
    pruned = run_module(MODULE, **{**options, "keep_last": 1}, state="pruned")
    assert not pruned["changed"] and len(names(simulator)) == 4
    assert entry(pruned)["retention"]["held"] == {held: f"{held} is exported to plovdiv"}
    assert any(held in warning for warning in pruned["warnings"])
    pruned = run_module(MODULE, **{**options, "keep_last": 1}, state="pruned", unexport=True, wait=True)
    assert len(entry(pruned)["retention"]["deleted"]) == 2 and len(names(simulator)) == 2
    simulator.settle()
    assert len(simulator.get("SnapshotsList")[1]["data"]) == 2


def test_pruning_takes_nothing_and_reads_once(snap, simulator, volumes):
    for day in range(1, 6):
        simulator.post("VolumeSnapshot/db", {"name": f"db-2026010{day}"})
    result = snap(name="db-%Y%m%d", state="pruned", keep_last=2)
    assert entry(result)["retention"]["deleted"] == ["db-20260101", "db-20260102", "db-20260103"]
    assert sorted(result["reads"]) == ["AttachmentsList", "ExportsList", "SnapshotsList"]
    assert result["quiet_reads"] == ["SnapshotsList"]
    assert result["writes"] == ["SnapshotDelete"] * 3


def test_the_guard_of_retention(snap, simulator, volumes):
    for day in range(1, 6):
        simulator.post("VolumeSnapshot/db", {"name": f"db-2026010{day}"})
    result = snap(name="db-%Y%m%d", volume="db", keep_last=2, max_deletes=2)
    assert result["error"]["type"] == "refused" and "would delete 4" in result["msg"]
    assert result["writes"] == []


def test_what_the_task_declares_is_not_pruned_by_it(snap, simulator, volumes):
    """One entry prunes, another declares what the rules would delete; also while answers are lost."""
    for day in range(1, 6):
        simulator.post("VolumeSnapshot/db", {"name": f"db-2026010{day}"})
    entries = [{"name": "db-%Y%m%d", "state": "pruned", "keep_last": 1}, {"name": "db-20260102", "volume": "db", "bind": True}]
    result = snap(snapshots=entries)
    retention = entry(result)["retention"]
    assert retention["deleted"] == ["db-20260101", "db-20260103", "db-20260104"] and retention["kept"]["db-20260102"] == ["declared"]
    assert result["quiet_reads"] == ["SnapshotsList"] and one(simulator, "Snapshot/db-20260102")["bound"]
    for day in (6, 7):
        simulator.post("VolumeSnapshot/db", {"name": f"db-2026010{day}"})
    simulator.fault("cut_after", "SnapshotDelete", count=1)
    result = snap(snapshots=entries)
    assert not result.get("failed"), result["msg"]
    assert names(simulator) == ["db-20260102", "db-20260107"]


def test_a_series_by_tags(snap, run_module, simulator, volumes):
    for number in range(4):
        simulator.post("VolumeSnapshot/db", {"name": f"any{number}", "tags": {"job": "x"}})
    simulator.post("VolumeSnapshot/db", {"name": "other"})
    result = snap(state="pruned", series_tags={"job": "x"}, keep_last=1)
    assert len(entry(result)["retention"]["deleted"]) == 3
    assert len(names(simulator)) == 2
    snap(name="mine", volume="db", series_tags={"job": "x"}, keep_last=2)
    assert one(simulator, "Snapshot/mine")["tags"] == {"job": "x"}


def test_attached_ones_are_kept_unless_told(snap, simulator, volumes):
    for day in (1, 2, 3):
        simulator.post("VolumeSnapshot/db", {"name": f"db-2026010{day}"})
    simulator.post("VolumesReassignWait", {"reassign": [{"snapshot": "db-20260101", "ro": [1]}]})
    result = snap(name="db-%Y%m%d", state="pruned", keep_last=1)
    assert entry(result)["retention"]["deleted"] == ["db-20260102"]
    assert "attached to client 1" in entry(result)["retention"]["held"]["db-20260101"]
    result = snap(name="db-%Y%m%d", state="pruned", keep_last=1, on_attached="detach")
    assert entry(result)["actions"] == ["detach (db-20260101)", "delete (db-20260101)"]


# -- what belongs to CloudStack


def test_cloudstack_objects_are_left_alone(snap, simulator, volumes):
    simulator.post("VolumeUpdate/db", {"tags": {"cs": "volume"}})
    refused = snap(name="s", volume="db")
    assert (
        refused["error"]["type"] == "refused" and "volume db belongs to CloudStack" in refused["msg"] and "createSnapshot" in refused["msg"]
    )
    assert "belongs to CloudStack" in snap(name="g-{volume}", volumes=["log", "db"])["msg"]
    assert "belongs to CloudStack" in snap(name="b", volume="db", backup_to="plovdiv")["msg"]
    snap(name="s", volume="db", allow_cloudstack_objects=True, tags={"cs": "snapshot"})
    for options in (dict(tags={"x": "y"}), dict(state="absent"), dict(attach_to=[1])):
        assert "snapshot s belongs to CloudStack" in snap(name="s", **options)["msg"]
    assert not snap(name="s")["changed"]  # looking is no change
    for day in (1, 2):
        simulator.post("VolumeSnapshot/log", {"name": f"log-2026010{day}", "tags": {"cs": "snapshot"}})
    assert not snap(name="log-%Y%m%d", state="pruned", keep_last=1)["changed"]
    result = snap(name="log-%Y%m%d", state="pruned", keep_last=1, allow_cloudstack_objects=True)
    assert entry(result)["retention"]["deleted"] == ["log-20260101"]


# -- deleting


def test_deleting_with_children_and_waiting(snap, simulator, volumes):
    simulator.write("db", b"x" * 4096)
    snap(name="s", volume="db")
    simulator.post("VolumeCreate", {"name": "child", "parent": "s"})
    gid = one(simulator, "Snapshot/s")["globalId"]
    before = simulator.content("child")["sha256"]
    result = snap(name="s", state="absent", wait=True)
    assert entry(result)["actions"] == ["delete"] and entry(result)["object"] is None
    assert sorted(set(result["reads"])) == ["AttachmentsList", "ExportsList", "Snapshot"]
    assert simulator.get(f"Snapshot/~{gid}")[0] != 200
    assert simulator.content("child")["sha256"] == before


def test_waiting_has_a_deadline(run_module, simulator, volumes):
    run_module(MODULE, name="s", volume="db")
    simulator.background(False)
    result = run_module(MODULE, name="s", state="absent", wait=True, wait_timeout="1s")
    assert result["error"]["type"] == "deadline" and "has not ended" in result["msg"] and "Done before that: delete" in result["msg"]
    assert result["changed"]
    assert not run_module(MODULE, name="s", state="absent")["changed"]


def test_deleting_what_others_use(snap, simulator, volumes):
    snap(name="s", volume="db", attach_to=[1, 2], export_to=["plovdiv"])
    attached = snap(name="s", state="absent")
    assert "attached to client 1 (ro), 2 (ro)" in attached["msg"] and "on_attached: detach" in attached["msg"]
    exported = snap(name="s", state="absent", on_attached="detach")
    assert "exported to plovdiv" in exported["msg"] and "unexport: true" in exported["msg"]
    assert entry(snap(name="s", state="absent", on_attached="detach", unexport=True))["actions"] == ["detach", "unexport", "delete"]
    assert names(simulator) == []


def test_internal_snapshots_are_not_there(snap, simulator, volumes):
    simulator.post("VolumeCreate", {"name": "copy", "baseOn": "db"})
    transient = next(raw for raw in simulator.get("SnapshotsList")[1]["data"] if raw["transient"])
    assert not snap(global_id=transient["globalId"], state="absent")["changed"]
    assert "is not a name" in snap(name=transient["name"], state="absent")["msg"]


# -- attachments and exports


def test_attachments_as_declared(snap, simulator, volumes):
    result = snap(name="s", volume="db", attach_to=[1, {"client": 2}])
    assert entry(result)["object"]["attachments"] == [{"client": 1, "rights": "ro"}, {"client": 2, "rights": "ro"}]
    assert result["quiet_reads"] == ["Snapshot", "AttachmentsList"]
    assert not snap(name="s", attach_to=["1:ro"])["changed"]
    assert entry(snap(name="s", attach_to=[3], exclusive=True))["actions"] == ["attach and detach"]
    assert entry(snap(name="s", attach_to=[], exclusive=True))["object"]["attachments"] == []


def test_exports_as_declared(snap, simulator, volumes):
    result = snap(name="s", volume="db", export_to=["plovdiv"])
    assert result["writes"] == ["VolumeSnapshot", "SnapshotExport"]
    assert result["quiet_reads"] == ["Snapshot", "ExportsList"]
    assert not snap(name="s", export_to=[])["changed"]
    assert entry(snap(name="s", export_to=[], export_mode="exact"))["actions"] == ["unexport from plovdiv"]
    group = snap(name="{volume}-g", volumes=["db", "log"], export_to=["plovdiv"])
    assert entry(group)["actions"] == ["create", "export to plovdiv (db-g)", "export to plovdiv (log-g)"]


# -- backups


def remote(simulator):
    return simulator.get("SnapshotsRemoteList")[1]["data"]["snapshots"]


def test_a_backup_is_made_once_and_waited_for(snap, simulator, volumes):
    simulator.write("db", b"y" * 4096)
    content = simulator.content("db")["sha256"]
    result = snap(name="{volume}-1", volume="db", backup_to="plovdiv", tags={"why": "test"})
    assert result["writes"] == ["VolumeBackup"]
    assert result["quiet_reads"] == ["SnapshotsRemoteList", "ExportsList"]
    shown = entry(result)["object"]
    assert (shown["name"], shown["copying"]) == ("db-1", False)
    found = remote(simulator)
    assert [one["remoteId"] for one in found] == shown["remote_ids"]
    assert found[0]["tags"] == {"ansible-backup": "db-1", "ansible-volume": "db", "why": "test"}
    assert simulator.content(f"~{shown['remote_ids'][0]}", "plovdiv-a")["sha256"] == content
    assert simulator.get("ExportsList")[1]["data"]["exports"] == []
    assert "has other tags" in snap(name="{volume}-1", volume="db", backup_to="plovdiv", tags={"why": "other"})["msg"]


def test_a_group_backup_and_its_end(snap, simulator, volumes):
    options = dict(name="both-1", volumes=["db", "log"], backup_to="plovdiv")
    result = snap(**options)
    assert result["writes"] == ["VolumesGroupBackup"]
    assert len(entry(result)["object"]["remote_ids"]) == 2
    snap(name="both-1", volume="db", backup_to="plovdiv")  # another thing of the same name
    assert len(remote(simulator)) == 3
    assert entry(snap(**options, state="absent"))["actions"] == ["delete"]
    assert len(remote(simulator)) == 1


def test_half_a_backup_is_refused(snap, simulator, volumes):
    options = dict(name="both-1", volumes=["db", "log"], backup_to="plovdiv")
    snap(**options)
    simulator.post(
        "SnapshotsRemoteUnexport", {"remoteSnapshots": [{"location": "plovdiv", "globalSnapshotId": remote(simulator)[0]["remoteId"]}]}
    )
    assert "only 1 of 2 volumes are there" in snap(**options)["msg"]


def test_a_backup_under_way_is_waited_for_by_the_next_run(run_module, simulator, volumes):
    simulator.background(False)
    options = dict(name="b", volume="db", backup_to="plovdiv")
    result = run_module(MODULE, **options, wait_timeout="1s")
    assert result["error"]["type"] == "deadline" and "the copy of b to plovdiv" in result["msg"] and result["changed"]
    left = run_module(MODULE, **options, wait=False)
    assert not left["changed"] and entry(left)["object"]["copying"]
    simulator.background(True)
    done = run_module(MODULE, **options)
    assert not done["changed"] and not entry(done)["object"]["copying"]


def test_retention_of_backups(run_module, simulator, volumes, clock):
    options = dict(name="%Y%m%d-%H", volumes=["db", "log"], backup_to="plovdiv", keep_last=2)
    for _hour in range(4):
        predicted = run_module(MODULE, check=True, **options)
        result = run_module(MODULE, **options)
        assert unlike(predicted, result) == []
        clock(3600)
    assert result["api"]["writes"] == 2
    assert len(remote(simulator)) == 4
    pruned = run_module(MODULE, **{**options, "keep_last": 1}, state="pruned")
    assert entry(pruned)["actions"] == ["delete old backups"] and len(remote(simulator)) == 2
    simulator.settle()


# -- many


def test_many_take_one_listing(snap, simulator, volumes):
    result = snap(names=[f"n{number}" for number in range(20)], volume="db")
    assert result["summary"]["changed"] == 20 and result["writes"] == ["VolumeSnapshot"] * 20
    assert result["quiet_reads"] == ["SnapshotsList"]
    listed = snap(
        snapshots=[dict(name="n1", tags={"a": "b"}), dict(name="{volume}-g", volumes=["db", "log"]), dict(name="n3", state="absent")]
    )
    assert listed["summary"]["changed"] == 3
    assert "is declared twice" in snap(snapshots=[dict(name="n1"), dict(name="n1")])["msg"]


# -- lost answers and faults


@pytest.mark.parametrize("kind", ["cut_before", "cut_after", "transient", "bad_json", "truncated"])
@pytest.mark.parametrize(
    ("call", "options"),
    [
        ("VolumeSnapshot", dict(name="s", volume="db", iops=7, delete_after="1d")),
        ("SnapshotUpdate", dict(name="s", volume="db", iops=7, delete_after="1d")),
        ("VolumesGroupSnapshot", dict(name="{volume}-g", volumes=["db", "log"], bind=True, export_to=["plovdiv"])),
        ("SnapshotExport", dict(name="{volume}-g", volumes=["db", "log"], export_to=["plovdiv"])),
        ("VolumesReassignWait", dict(name="s", volume="db", attach_to=[1])),
        ("VolumeBackup", dict(name="s", volume="db", backup_to="plovdiv")),
        ("VolumesGroupBackup", dict(name="s", volumes=["db", "log"], backup_to="plovdiv")),
    ],
)
def test_a_lost_answer_leaves_no_second_object(run_module, simulator, volumes, call, options, kind):
    simulator.fault(kind, call=call)
    result = run_module(MODULE, **options)
    assert not result.get("failed"), result["msg"]
    assert not run_module(MODULE, **options)["changed"]
    count = 2 if options.get("volumes") else 1
    assert len(names(simulator)) + len(remote(simulator)) == count
    shown = entry(result)["object"]
    assert (
        all(one["global_id"] for one in shown.get("snapshots", [shown])) if "backup_to" not in shown else len(shown["remote_ids"]) == count
    )


@pytest.mark.parametrize("kind", ["cut_before", "cut_after", "transient"])
@pytest.mark.parametrize("call", ["VolumesReassignWait", "SnapshotUnexport", "SnapshotDelete"])
def test_a_lost_answer_while_deleting(run_module, simulator, volumes, call, kind):
    run_module(MODULE, name="s", volume="db", attach_to=[1], export_to=["plovdiv"])
    simulator.fault(kind, call=call)
    result = run_module(MODULE, name="s", state="absent", on_attached="detach", unexport=True, wait=True)
    assert not result.get("failed"), result["msg"]
    assert entry(result)["actions"] == ["detach", "unexport", "delete"]
    assert names(simulator) == []


@pytest.mark.parametrize("kind", ["cut_before", "cut_after"])
@pytest.mark.parametrize("skip", range(4))
def test_a_lost_answer_while_pruning(run_module, simulator, volumes, clock, kind, skip):
    """Whichever of its writes is lost, the snapshot is taken once and the series ends as the rules say."""
    for day in range(1, 5):
        simulator.post("VolumeSnapshot/db", {"name": f"db-2020010{day}"})
    simulator.fault(kind, call="write", skip=skip)
    options = dict(name="{volume}-%Y%m%d", volume="db", keep_last=2)
    result = run_module(MODULE, **options)
    assert not result.get("failed"), result["msg"]
    assert len(entry(result)["actions"]) == 4
    assert len(names(simulator)) == 2 and names(simulator)[0] == "db-20200104"
    assert not run_module(MODULE, **options)["changed"]


# -- through ansible-playbook


@pytest.mark.parametrize("in_process", [True, False])
def test_a_playbook_does_the_same(playbook, simulator, volumes, in_process):
    tasks = [
        {"name": "Group", f"storpool.cloudstack.{MODULE}": {"name": "{volume}-%Y", "volumes": ["db", "log"], "keep_last": 1}},
        {"name": "Gone", f"storpool.cloudstack.{MODULE}": {"name": "{volume}-%Y", "volumes": ["db", "log"], "state": "absent"}},
    ]
    predicted = playbook(tasks[:1], check=True, diff=True, in_process=in_process)
    real = playbook(tasks[:1], diff=True, in_process=in_process)
    assert (predicted.rc, real.rc) == (0, 0), real.output
    assert unlike(predicted.result("Group"), real.result("Group")) == []
    run = playbook(tasks, diff=True, in_process=in_process)
    assert (run.rc, run.changed) == (0, 1), run.output
    assert names(simulator) == []
