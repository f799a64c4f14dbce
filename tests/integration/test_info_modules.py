# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The info modules against the simulator: they tell what is there, with the reads that it takes and never a write."""

from __future__ import annotations

import importlib
import json

import pytest

MIB = 1 << 20
INFO = ("storpool_volume_info", "storpool_snapshot_info", "storpool_cluster_info")


@pytest.fixture
def populated(do, simulator):
    """Volumes and snapshots of several kinds; the log is empty afterwards."""
    do("VolumeCreate", {"name": "db-1", "size": 4 * MIB, "template": "nvme", "tags": {"owner": "dba", "cs": "volume"}, "iops": 100})
    do("VolumeCreate", {"name": "db-2", "size": 2 * MIB, "template": "hybrid", "tags": {"owner": "dba"}})
    do("VolumeCreate", {"name": "web", "size": MIB, "replication": 2})
    anonymous = do("VolumeCreate", {"size": MIB})["globalId"]
    simulator.write("db-1", b"x" * 65536)
    do("VolumeSnapshot/db-1", {"name": "nightly-20260301", "deleteAfter": 3600})
    do("VolumeSnapshot/db-1", {"name": "before-upgrade", "bind": True, "tags": {"reason": "upgrade"}})
    do("VolumeSnapshot/db-2", {})
    do("VolumeCreate", {"name": "copy", "parent": "before-upgrade"})
    do("VolumesReassignWait", {"reassign": [{"volume": "db-1", "rw": [11], "ro": [12]}, {"volume": f"~{anonymous}", "rw": [11]}]})
    do("VolumesReassignWait", {"reassign": [{"snapshot": "nightly-20260301", "ro": [13]}]})
    do("SnapshotExport", {"snapshot": "before-upgrade", "location": "plovdiv"})
    do("VolumeBackup", {"volume": "db-2", "location": "plovdiv", "tags": {"owner": "dba"}})
    simulator.settle()
    simulator.reset_calls()
    return anonymous


@pytest.fixture
def ask(run_module, calls):
    """`ask(module, **options)` returns the result and which reads it took; nothing is ever written, and check mode tells the same."""

    def once(module, **options):
        calls()
        result = run_module(module, **options)
        made = calls()
        assert not result.get("failed"), result
        assert made.writes == []
        assert (result["changed"], result["api"]["reads"], result["api"]["writes"]) == (False, len(made.reads), 0)
        said = run_module(module, check=True, **options)
        assert lasting(said) == lasting(result)
        return result, made.reads

    return once


def lasting(result):
    """A result without its calls and without what becomes less with each second."""
    nodes = [{**one, "remaining": None} for one in result["maintenance"]] if "maintenance" in result else None
    return {**result, "api": None, "maintenance": nodes}


def names(result, plural):
    return [one["name"] for one in result[plural]]


# -- volumes


def test_volumes_are_shown_as_the_managing_module_shows_them(ask, run_module, populated):
    result, reads = ask("storpool_volume_info", name="db-1")
    assert reads == ["Volume", "AttachmentsList"]
    managed = run_module("storpool_volume", name="db-1", attach_to=[11, "12:ro"], allow_cloudstack_objects=True)
    assert managed["changed"] is False
    told = result["volumes"][0]
    assert {key: told[key] for key in managed["volumes"][0]["object"]} == managed["volumes"][0]["object"]
    assert told["attachments"] == [{"client": 11, "rights": "rw"}, {"client": 12, "rights": "ro"}]


def test_all_volumes_take_one_listing_and_the_attachments(ask, populated):
    result, reads = ask("storpool_volume_info")
    assert reads == ["VolumesList", "AttachmentsList"]
    assert names(result, "volumes") == ["copy", "db-1", "db-2", "web", f"~{populated}"]
    assert result["summary"]["attached"] == 2
    assert {one["template"]: one["count"] for one in result["summary"]["templates"]} == {"nvme": 2, "hybrid": 1, None: 2}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"names": ["db-*"], "templates": ["hyb*"]}, ["db-2"]),
        ({"tags": {"owner": "dba"}, "cloudstack": False}, ["db-2"]),
        ({"attached": False}, ["copy", "db-2", "web"]),
        ({"attached_to": [12]}, ["db-1"]),
        ({"parents": ["before-*"]}, ["copy", "db-1"]),
        ({"min_size": "4M"}, ["copy", "db-1"]),
        ({"older_than": "1h"}, []),
        ({"names": ["db-*"], "healthy": True}, ["db-1", "db-2"]),
    ],
)
def test_volumes_are_filtered(ask, populated, options, expected):
    assert names(ask("storpool_volume_info", **options)[0], "volumes") == expected


def test_anonymous_volumes_are_found_by_their_id(ask, populated):
    for options in ({"global_id": populated}, {"name": f"~{populated}"}, {"global_ids": [f"~{populated}"]}):
        result, reads = ask("storpool_volume_info", **options)
        assert reads == ["Volume", "AttachmentsList"]
        assert result["volumes"][0]["global_id"] == populated
        assert result["volumes"][0]["attachments"] == [{"client": 11, "rights": "rw"}]


def test_space_and_status_of_volumes(ask, populated):
    result, reads = ask("storpool_volume_info", names=["db-1"], space=True, status=True)
    assert reads == ["VolumesSpace", "AttachmentsList", "VolumesGetStatusQuick"]
    told = result["volumes"][0]
    assert told["used"] >= 65536
    assert (told["status"]["status"], told["status"]["missing_disks"]) == ("up", [])


def test_fields_spare_reads(ask, populated):
    result, reads = ask("storpool_volume_info", names=["web"], fields=["size", "replication"])
    assert reads == ["Volume"]
    assert result["volumes"] == [{"name": "web", "size": MIB, "replication": 2}]


@pytest.mark.parametrize("options", [{"name": "none"}, {"global_id": "sf.a.zzz"}, {"names": ["none*"]}])
@pytest.mark.parametrize("module", INFO[:2])
def test_what_does_not_exist_is_no_failure(ask, options, module):
    result, _reads = ask(module, **options)
    assert (result["total"], result["truncated"]) == (0, False)


def test_volumes_that_vanish_between_two_reads_fail_nothing(run_module, simulator, do, populated):
    """The status is read after the volumes: here it is of a cluster in which one is gone."""
    client = importlib.import_module("ansible_collections.storpool.cloudstack.plugins.module_utils._storpool").StorPool
    real, gone = client.volumes_status, []

    def status_after_a_delete(self):
        if not gone:
            gone.append(do("VolumeDelete/web"))
        return real(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client, "volumes_status", status_after_a_delete)
        result = run_module("storpool_volume_info", status=True)
    assert not result.get("failed"), result
    assert {one["name"]: one["status"] is None for one in result["volumes"]} == {
        "copy": False, "db-1": False, "db-2": False, "web": True, f"~{populated}": False,
    }  # fmt: skip


def test_a_listing_in_pages(ask, run_module):
    made = run_module("storpool_volume", names=[f"v{number:04}" for number in range(250)], size="1M", return_objects="none")
    assert made["summary"]["changed"] == 250
    found, after = [], None
    for _page in range(3):
        result, _reads = ask("storpool_volume_info", limit=100, fields=["size"], **({"after": after} if after else {}))
        found += names(result, "volumes")
        after = result["next"]
    assert (found, after, result["total"]) == ([f"v{number:04}" for number in range(250)], None, 250)


def test_several_clusters_at_once(ask, do, simulator, populated):
    status, answer = simulator.post("VolumeCreate", {"name": "neighbour", "size": MIB}, cluster="sofia-b")
    assert status == 200, answer
    result, _reads = ask("storpool_volume_info", sp_multi_cluster=True, fields=["cluster"], names=["web", "neighbour"])
    assert result["volumes"] == [{"name": "neighbour", "cluster": "sofia-b"}, {"name": "web", "cluster": "sofia-a"}]
    result, _reads = ask("storpool_volume_info", sp_cluster="sofia-b", fields=["size"])
    assert names(result, "volumes") == ["neighbour"]


# -- snapshots


def test_snapshots_are_shown_as_the_managing_module_shows_them(ask, run_module, populated):
    result, reads = ask("storpool_snapshot_info", name="before-upgrade", exports=True)
    assert reads == ["Snapshot", "AttachmentsList", "ExportsList"]
    managed = run_module("storpool_snapshot", name="before-upgrade", volume="db-1", tags={"reason": "upgrade"})
    assert managed["changed"] is False, managed
    told, shown = result["snapshots"][0], managed["snapshots"][0]["object"]
    assert {key: told[key] for key in shown if shown[key] is not None} == {key: value for key, value in shown.items() if value is not None}
    assert (told["bound"], told["exported_to"], told["attachments"]) == (True, ["plovdiv"], [])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"names": ["n*", "b*"]}, ["before-upgrade", "nightly-20260301"]),
        ({"volume": "db-1"}, ["before-upgrade", "nightly-20260301"]),
        ({"volume": "none"}, []),
        ({"series": "nightly-%Y%m%d"}, ["nightly-20260301"]),
        ({"bound": True}, ["before-upgrade"]),
        ({"names": ["[nb]*"], "exported": False}, ["nightly-20260301"]),
        ({"exported": True}, ["before-upgrade"]),
        ({"expires_within": "2h"}, ["nightly-20260301"]),
        ({"names": ["[nb]*"], "expires": False}, ["before-upgrade"]),
        ({"attached_to": [13]}, ["nightly-20260301"]),
        ({"tags": {"reason": "up*"}}, ["before-upgrade"]),
        ({"templates": ["nvme"]}, ["before-upgrade", "nightly-20260301"]),
    ],
)
def test_snapshots_are_filtered(ask, populated, options, expected):
    assert names(ask("storpool_snapshot_info", **options)[0], "snapshots") == expected


def test_the_chain_of_a_volume_is_a_call_of_its_own(ask, populated):
    assert ask("storpool_snapshot_info", volume="db-1", fields=["created"])[1] == ["VolumeListSnapshots"]
    result, reads = ask("storpool_snapshot_info", volume="db-1", fields=["stored"])
    assert reads == ["VolumeListSnapshots", "SnapshotsSpace"]
    assert sum(one["stored"] for one in result["snapshots"]) >= 65536


def test_snapshots_that_are_being_deleted_are_told_when_asked_for(ask, do, simulator, populated):
    simulator.background(False)
    do("SnapshotUnexport", {"snapshot": "before-upgrade", "all": True})
    do("SnapshotDelete/before-upgrade")
    do("VolumeCreate", {"name": "twin", "baseOn": "web"})
    assert "before-upgrade" not in str(ask("storpool_snapshot_info")[0]["snapshots"])
    (dying,) = ask("storpool_snapshot_info", deleted="only")[0]["snapshots"]
    assert (dying["name"][0], dying["deleted"]) == ("*", True)
    (transient,) = ask("storpool_snapshot_info", transient="only")[0]["snapshots"]
    assert transient["transient"] is True
    both = ask("storpool_snapshot_info", deleted="include", transient="include")[0]["snapshots"]
    assert {dying["name"], transient["name"]} < {one["name"] for one in both}


def test_what_other_locations_hold(ask, populated):
    result, reads = ask("storpool_snapshot_info", remote=True, location="plovdiv")
    assert reads == ["SnapshotsRemoteList"]
    assert [one["tags"] for one in result["remote_snapshots"]] == [{"owner": "dba"}]
    assert result["remote_snapshots"][0]["location"] == "plovdiv"
    assert ask("storpool_snapshot_info", remote=True, location="nowhere")[0]["remote_snapshots"] == []


# -- the cluster


def test_everything_of_a_cluster(ask, populated):
    result, reads = ask("storpool_cluster_info")
    assert sorted(reads) == sorted([
        "ServicesList", "ClientsConfigDump", "DisksList", "NetworkPeersList", "VolumeTemplatesStatus", "VolumeTemplatesList",
        "PlacementGroupsList", "AttachmentsList", "LocationsList", "ClustersList", "MaintenanceList",
    ])  # fmt: skip
    assert result["services"]["status"] == "running"
    assert [one["id"] for one in result["clients"]] == [1, 2, 3, 11, 12, 13]
    assert result["attachments_summary"]["count"] == 4
    nvme = next(one for one in result["templates"] if one["name"] == "nvme")
    assert (nvme["place_all"], nvme["space"]["volumes"], nvme["space"]["capacity"] > 0) == ("nvme", 2, True)
    assert {one["name"] for one in result["clusters"]} >= {"sofia-b", "plovdiv-a"}
    assert result["health"] == {
        "status": "ok",
        "reasons": [],
        "checked": ["services", "clients", "disks", "peers", "templates", "maintenance"],
    }


@pytest.mark.parametrize(
    ("gather", "reads"),
    [
        (["services"], ["ServicesList"]),
        (["clients"], ["ServicesList", "ClientsConfigDump"]),
        (["services", "clients"], ["ServicesList", "ClientsConfigDump"]),
        (["disks"], ["DisksList"]),
        (["peers"], ["NetworkPeersList"]),
        (["templates"], ["VolumeTemplatesStatus", "VolumeTemplatesList"]),
        (["placement_groups"], ["PlacementGroupsList"]),
        (["attachments"], ["AttachmentsList"]),
        (["locations", "clusters"], ["LocationsList", "ClustersList"]),
        (["maintenance"], ["MaintenanceList"]),
    ],
)
def test_only_what_is_gathered_is_read(ask, gather, reads):
    result, made = ask("storpool_cluster_info", gather=gather)
    assert made == reads
    assert set(gather) <= set(result)


def test_a_client_that_is_down_shows_in_the_verdict(ask, simulator, do, populated):
    simulator.client(12, "down")
    result, _reads = ask("storpool_cluster_info")
    assert result["health"]["status"] == "warning"
    told = {one["about"]: one["message"] for one in result["health"]["reasons"]}
    assert told["client 12"] == "is down; volumes and snapshots attached to it: 1"
    assert "NODE_DOWN" in told["node 12"]
    do("MaintenanceSet", {"nodeId": 12, "duration": 600, "description": "kernel"})
    result, _reads = ask("storpool_cluster_info")
    told = {one["about"]: one["message"] for one in result["health"]["reasons"]}
    assert told["client 12"].startswith("is down (its node is in maintenance)")
    assert result["maintenance"][0]["description"] == "kernel"
    assert 0 < result["maintenance"][0]["remaining"] <= 600


# -- all of them


@pytest.mark.parametrize("module", INFO)
def test_what_is_told_is_what_is_documented(module, ask, populated, run_module):
    """RETURN names every member of the result and of its objects, and nothing that is never there."""
    import yaml

    documented = yaml.safe_load(importlib.import_module(f"ansible_collections.storpool.cloudstack.plugins.modules.{module}").RETURN)
    options = {} if module == "storpool_cluster_info" else {"space": True, "status": True}
    if module == "storpool_snapshot_info":
        options["exports"] = True
    result = ask(module, **options)[0]
    assert set(result) - {"changed", "invocation"} == set(documented) - {"error", "remote_snapshots"}
    for plural, object_docs in documented.items():
        found = result.get(plural)
        if isinstance(found, list) and found and "contains" in object_docs and plural != "templates":
            assert set(found[0]) == set(object_docs["contains"]) - {"cluster"}, plural
        elif isinstance(found, dict) and "contains" in object_docs:
            assert set(found) == set(object_docs["contains"]), plural


@pytest.mark.parametrize("module", INFO)
def test_a_read_that_fails_is_the_error_of_the_task(module, run_module, simulator):
    simulator.fault("error", call="read", name="internal", descr="out of order", status=500)
    failed = run_module(module)
    assert (failed["failed"], failed["changed"], failed["error"]["name"]) == (True, False, "internal")


@pytest.mark.parametrize("module", INFO)
def test_transient_errors_are_ridden_out(module, run_module, simulator):
    simulator.fault("transient", call="read", count=2)
    result = run_module(module)
    assert not result.get("failed"), result
    assert result["api"]["attempts"] == result["api"]["reads"] + 2


def test_both_ways_tell_the_same(playbook, populated):
    tasks = [{"name": module, f"storpool.cloudstack.{module}": {}} for module in INFO]
    tasks.append({"name": "long", "storpool.cloudstack.storpool_volume_info": {"limit": 1}})
    here, there = (playbook(tasks, in_process=in_process) for in_process in (True, False))
    assert (here.rc, there.rc) == (0, 0), here.output + there.output
    for task in (*INFO, "long"):
        one, other = (json.loads(json.dumps(run.result(task))) for run in (here, there))
        for result in (one, other):
            result.pop("api")
        assert one == other, task
