# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which volumes and snapshots an info module returns, which of their members, how much at once, and with how many reads."""

from __future__ import annotations

import json

import pytest
from ansible_collections.storpool.cloudstack.plugins.module_utils._errors import OptionError
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources import _select, snapshot_info, volume_info
from ansible_collections.storpool.cloudstack.plugins.modules import storpool_snapshot_info, storpool_volume_info

GIB = 1 << 30
NOW = 2_000_000_000


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    monkeypatch.setattr("time.time", lambda: NOW)


def volume(name, **more):
    return {
        "name": name, "globalId": f"a.b.{name.lstrip('~*')}", "size": GIB, "templateName": "nvme", "parentName": "", "iops": "-", "bw": "-",
        "replication": 3, "placeAll": "nvme", "placeHead": "nvme", "placeTail": "nvme", "tags": {}, "creationTimestamp": NOW - 3600, **more,
    }  # fmt: skip


def snapshot(name, **more):
    special = {"onVolume": "-", "bound": False, "deleted": False, "transient": False, "autoName": False, "recoveringFromRemote": False}
    return volume(name, **{**special, **more})


def with_space(raw, stored=512):
    return {**raw, "storedSize": stored, "spaceUsed": 2 * stored}


def quick(**more):
    return {
        "status": "up", "decreasedRedundancy": False, "migrating": False, "balancerBlocked": False, "downBytes": 0, "syncingDataBytes": 0,
        "downDrives": [], "missingDrives": [], "softEjectingDrives": [], **more,
    }  # fmt: skip


class Cluster:
    """Answers reads from lists and remembers which were made; it has no writes at all."""

    def __init__(self, **listings):
        self.listings = listings
        self.reads = []

    def __getattr__(self, name):
        def read(*arguments):
            self.reads.append((name, *arguments))
            if name in ("volume", "snapshot"):
                bare = arguments[0].lstrip("~")
                return next((one for one in self.listings[f"{name}s"] if one["name"] == arguments[0] or one["globalId"] == bare), None)
            return self.listings.get(name, [])

        return read

    def names(self):
        return [read[0] for read in self.reads]


def ask(cluster, module=storpool_volume_info, **options):
    spec = module.DECLARED.options
    return module.DECLARED.query(cluster, {**{name: one.get("default") for name, one in spec.items()}, **options})


def found(cluster, module=storpool_volume_info, **options):
    result = ask(cluster, module, **options)
    return [one["name"] for one in result["volumes" if module is storpool_volume_info else "snapshots"]]


# -- filters

VOLUMES = [
    volume("db-1", tags={"owner": "dba", "cs": "volume"}, size=10 * GIB, parentName="golden"),
    volume("db-2", tags={"owner": "dba", "env": "test"}, templateName="hybrid", creationTimestamp=NOW - 10 * 86400),
    volume("web", tags={"owner": "web"}, templateName="hybrid", parentName="golden-2"),
    volume("~a.b.x1", globalId="a.b.x1", templateName=""),
]
ATTACHED = [
    {"volume": "db-1", "client": 11, "rights": "rw", "globalId": "a.b.db-1"},
    {"volume": "~a.b.x1", "client": 12, "rights": "ro", "globalId": "a.b.x1"},
]


@pytest.fixture
def cluster():
    status = {one["name"]: quick() for one in VOLUMES}
    status["web"] = quick(decreasedRedundancy=True, missingDrives=[101])
    status["db-2"] = quick(migrating=True)
    return Cluster(volumes=VOLUMES, volumes_space=[with_space(one) for one in VOLUMES], attachments=ATTACHED, volumes_status=status)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, ["db-1", "db-2", "web", "~a.b.x1"]),
        ({"names": ["db-*"]}, ["db-1", "db-2"]),
        ({"names": ["db-[2-9]", "web", "none"]}, ["db-2", "web"]),
        ({"names": ["DB-*"]}, []),
        ({"names": ["web"], "global_ids": ["~a.b.x1"]}, ["web", "~a.b.x1"]),
        ({"names": []}, []),
        ({"templates": ["hy*"]}, ["db-2", "web"]),
        ({"templates": ["*"]}, ["db-1", "db-2", "web"]),
        ({"parents": ["golden*"]}, ["db-1", "web"]),
        ({"parents": ["golden"]}, ["db-1"]),
        ({"tags": {"owner": "dba"}}, ["db-1", "db-2"]),
        ({"tags": {"owner": "*", "env": ""}}, ["db-1", "web"]),
        ({"tags": {"owner": "db?", "env": "t*"}}, ["db-2"]),
        ({"tags": {"owner": None}}, ["~a.b.x1"]),
        ({"cloudstack": True}, ["db-1"]),
        ({"cloudstack": False}, ["db-2", "web", "~a.b.x1"]),
        ({"attached": True}, ["db-1", "~a.b.x1"]),
        ({"attached": False}, ["db-2", "web"]),
        ({"attached_to": [12, 13]}, ["~a.b.x1"]),
        ({"min_size": "2G"}, ["db-1"]),
        ({"max_size": "1G"}, ["db-2", "web", "~a.b.x1"]),
        ({"older_than": "7d"}, ["db-2"]),
        ({"newer_than": "7d"}, ["db-1", "web", "~a.b.x1"]),
        ({"healthy": True}, ["db-1", "db-2", "~a.b.x1"]),
        ({"healthy": False}, ["web"]),
        ({"cloudstack": False, "templates": ["hybrid"], "attached": False, "tags": {"env": "test"}}, ["db-2"]),
    ],
)
def test_filters_leave_what_fits_in_the_order_of_names(cluster, options, names):
    assert found(cluster, **options) == names


# -- reads


@pytest.mark.parametrize(
    ("options", "reads"),
    [
        ({}, [("volumes",), ("attachments",)]),
        ({"names": ["web"]}, [("volume", "web"), ("attachments",)]),
        ({"global_ids": ["~a.b.web"]}, [("volume", "~a.b.web"), ("attachments",)]),
        ({"names": ["web"], "fields": ["size"]}, [("volume", "web")]),
        ({"names": ["web"], "fields": ["size"], "attached": True}, [("volume", "web"), ("attachments",)]),
        ({"names": ["web", "db-1"], "fields": ["size"]}, [("volumes",)]),
        ({"names": ["we*"], "fields": ["size"]}, [("volumes",)]),
        ({"names": ["web"], "global_ids": ["a.b.x1"], "fields": ["size"]}, [("volumes",)]),
        ({"space": True, "fields": ["size"]}, [("volumes_space",)]),
        ({"fields": ["stored"]}, [("volumes_space",)]),
        ({"fields": ["status"]}, [("volumes",), ("volumes_status",)]),
        ({"healthy": True, "fields": ["name"]}, [("volumes",), ("volumes_status",)]),
        ({"space": True, "status": True}, [("volumes_space",), ("attachments",), ("volumes_status",)]),
    ],
)
def test_only_what_is_needed_is_read(cluster, options, reads):
    ask(cluster, **options)
    assert cluster.reads == reads


def test_what_does_not_exist_is_no_failure(cluster):
    result = ask(cluster, names=["none"])
    assert (result["volumes"], result["total"], result["truncated"], result["summary"]["count"]) == ([], 0, False, 0)


def test_a_volume_that_vanishes_between_two_reads_has_no_status():
    cluster = Cluster(volumes=[volume("v")], attachments=[], volumes_status={})
    assert ask(cluster, status=True)["volumes"][0]["status"] is None
    # Nothing is known of its health, so it is neither.
    assert found(cluster, healthy=True) == found(cluster, healthy=False) == []


# -- members


def test_an_object_is_that_of_the_managing_module_and_more(cluster):
    one = ask(cluster, names=["db-1"], space=False)["volumes"][0]
    assert one == {
        "name": "db-1", "global_id": "a.b.db-1", "size": 10 * GIB, "template": "nvme", "parent": "golden", "iops": "unlimited",
        "bw": "unlimited", "replication": 3, "place_all": "nvme", "place_head": "nvme", "place_tail": "nvme", "reuse_server": False,
        "tags": {"owner": "dba", "cs": "volume"}, "attachments": [{"client": 11, "rights": "rw"}], "created": NOW - 3600,
    }  # fmt: skip


def test_what_takes_more_reads_comes_when_asked_for(cluster):
    one = ask(cluster, names=["web"], space=True, status=True)["volumes"][0]
    assert (one["stored"], one["used"]) == (512, 1024)
    assert one["status"]["missing_disks"] == [101]
    assert set(one) <= set(volume_info.FIELDS)


def test_fields_select_and_the_name_is_always_there(cluster):
    assert ask(cluster, names=["web"], fields=["tags", "size"])["volumes"] == [{"name": "web", "size": GIB, "tags": {"owner": "web"}}]
    result = ask(cluster, names=["web"], fields=["size"], space=True)
    assert result["volumes"] == [{"name": "web", "size": GIB, "stored": 512, "used": 1024}]


def test_members_of_several_clusters_tell_theirs():
    cluster = Cluster(volumes=[volume("v", clusterName="sofia-b")], attachments=[])
    assert ask(cluster, fields=["cluster"])["volumes"] == [{"name": "v", "cluster": "sofia-b"}]


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"fields": ["colour"]}, "fields"),
        ({"names": [""]}, "names"),
        ({"names": ["v*", "ö"]}, "names"),
        ({"global_ids": ["A.B.C"]}, "global_ids"),
        ({"min_size": "much"}, "min_size"),
        ({"max_size": "1000"}, "max_size"),
        ({"older_than": "long"}, "older_than"),
        ({"limit": 0}, "limit"),
        ({"attached": False, "attached_to": [11]}, "attached_to"),
    ],
)
def test_what_cannot_be_meant_is_an_error_before_anything_is_read(cluster, options, option):
    with pytest.raises(OptionError) as caught:
        ask(cluster, **options)
    assert caught.value.parts["option"] == option
    assert cluster.reads == []


# -- pages


def test_pages_together_are_everything(cluster):
    names, after, pages = [], None, 0
    while pages < 10:
        result = ask(cluster, limit=3, after=after)
        names += [one["name"] for one in result["volumes"]]
        assert result["total"] == 4
        assert "warnings" not in result
        pages += 1
        if not result["truncated"]:
            break
        after = result["next"]
    assert (names, pages, result["next"]) == ([one["name"] for one in VOLUMES], 2, None)


def test_a_page_begins_behind_an_object_that_is_gone(cluster):
    assert found(cluster, after="db-15") == ["db-2", "web", "~a.b.x1"]


def test_a_page_that_ends_with_the_last_object_is_not_truncated(cluster):
    assert ask(cluster, limit=4)["truncated"] is False


def test_objects_of_one_name_stay_on_one_page():
    cluster = Cluster(volumes=[volume("v", globalId=f"a.b.{number}") for number in range(3)] + [volume("w")], attachments=[])
    first = ask(cluster, limit=2)
    assert [len(first["volumes"]), first["next"], first["truncated"]] == [3, "v", True]
    assert found(cluster, limit=2, after="v") == ["w"]


def test_ten_thousand_volumes_stay_within_what_a_result_may_have():
    many = [volume(f"v{number:05}", tags={"owner": "x" * 50}) for number in range(10_000)]
    cluster = Cluster(volumes=many, attachments=[{"volume": one["name"], "client": 11, "rights": "rw"} for one in many])
    result = ask(cluster)
    assert len(json.dumps(result)) < 700_000
    assert result["truncated"] and result["total"] == 10_000 > len(result["volumes"])
    assert result["next"] == result["volumes"][-1]["name"]
    assert result["summary"]["count"] == result["summary"]["attached"] == 10_000
    (warning,) = result["warnings"]
    assert f"10000 volumes fit and {len(result['volumes'])} are in the result" in warning
    assert f"after: {result['next']}" in warning
    names, after = [], None
    while True:
        result = ask(cluster, after=after)
        names += [one["name"] for one in result["volumes"]]
        after = result["next"]
        if not result["truncated"]:
            break
    assert names == [one["name"] for one in many]


def test_fields_let_ten_thousand_fit_into_one_result():
    cluster = Cluster(volumes=[volume(f"v{number:05}") for number in range(10_000)])
    result = ask(cluster, fields=["size"])
    assert (len(result["volumes"]), result["truncated"]) == (10_000, False)
    assert len(json.dumps(result)) < 700_000


def test_a_single_object_longer_than_all_that_fits_is_still_returned(cluster, monkeypatch):
    monkeypatch.setattr(_select, "BUDGET", 10)
    result = ask(cluster)
    assert (len(result["volumes"]), result["next"]) == (1, "db-1")


def test_summary_only_has_the_figures_of_all(cluster):
    result = ask(cluster, summary_only=True, space=True, names=["db-*", "web"])
    assert result["volumes"] == []
    assert (result["total"], result["truncated"]) == (3, False)
    assert result["summary"] == {
        "count": 3, "size": 12 * GIB, "cloudstack": 1, "attached": 1, "stored": 3 * 512, "used": 3 * 1024,
        "templates": [{"template": "hybrid", "count": 2, "size": 2 * GIB}, {"template": "nvme", "count": 1, "size": 10 * GIB}],
    }  # fmt: skip


# -- snapshots

SNAPSHOTS = [
    snapshot("nightly-20330517", onVolume="db", targetDeleteDate=NOW + 86400),
    snapshot("nightly-20330518", targetDeleteDate=NOW + 30 * 86400, bound=True),
    snapshot("db-20330518", backup=True, backupOfGlobalId="c.d.e"),
    snapshot("*gone", deleted=True),
    snapshot("*base@7", transient=True),
    snapshot("golden", targetDeleteDate=0),
]
EXPORTS = [{"globalId": "a.b.golden", "location": "plovdiv", "snapshot": "golden"}]
REMOTE = [
    {
        "location": "plovdiv", "remoteId": "p.d.1", "name": "~p.d.1", "size": GIB, "creationTimestamp": NOW - 60, "tags": {"owner": "dba"},
        "onVolume": "db", "localSnapshot": "*db@1005",
    },
    {
        "location": "varna", "remoteId": "v.a.2", "name": "exported", "size": 2 * GIB, "creationTimestamp": NOW - 86400,
        "localSnapshot": "golden",
    },
]  # fmt: skip


@pytest.fixture
def snapshots():
    space = [with_space(one) for one in SNAPSHOTS]
    return Cluster(
        snapshots=SNAPSHOTS, snapshots_space=space, volume_snapshots=SNAPSHOTS[:2], exports=EXPORTS, attachments=[], volumes_status={},
        remote_snapshots=REMOTE,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, ["db-20330518", "golden", "nightly-20330517", "nightly-20330518"]),
        ({"deleted": "only"}, ["*gone"]),
        ({"transient": "only"}, ["*base@7"]),
        ({"deleted": "include", "transient": "include", "names": ["[*]*"]}, ["*base@7", "*gone"]),
        ({"volume": "db"}, ["nightly-20330517", "nightly-20330518"]),
        ({"series": "nightly-%Y%m%d"}, ["nightly-20330517", "nightly-20330518"]),
        ({"series": "{volume}-%Y%m%d", "volume": "db"}, []),
        ({"series": "night-%Y%m%d"}, []),
        ({"bound": True}, ["nightly-20330518"]),
        ({"bound": False, "names": ["n*"]}, ["nightly-20330517"]),
        ({"exported": True}, ["golden"]),
        ({"exported": False, "names": ["g*", "d*"]}, ["db-20330518"]),
        ({"backup": True}, ["db-20330518"]),
        ({"backup": False, "names": ["db*"]}, []),
        ({"expires": True}, ["nightly-20330517", "nightly-20330518"]),
        ({"expires": False}, ["db-20330518", "golden"]),
        ({"expires_within": "7d"}, ["nightly-20330517"]),
    ],
)
def test_filters_of_snapshots(snapshots, options, names):
    assert found(snapshots, storpool_snapshot_info, **options) == names


@pytest.mark.parametrize(
    ("options", "reads"),
    [
        ({"fields": ["size"]}, [("snapshots",)]),
        ({"names": ["golden"], "fields": ["size"]}, [("snapshot", "golden")]),
        ({"volume": "db", "fields": ["size"]}, [("volume_snapshots", "db")]),
        ({"volume": "db", "fields": ["stored"]}, [("volume_snapshots", "db"), ("snapshots_space",)]),
        ({"exported": True}, [("snapshots",), ("attachments",), ("exports",)]),
        ({"fields": ["exported_to"]}, [("snapshots",), ("exports",)]),
        ({"exports": True, "fields": ["name"]}, [("snapshots",), ("exports",)]),
        ({"remote": True}, [("remote_snapshots",)]),
    ],
)
def test_only_what_is_needed_is_read_of_snapshots(snapshots, options, reads):
    ask(snapshots, storpool_snapshot_info, **options)
    assert snapshots.reads == reads


def test_the_members_of_a_snapshot(snapshots):
    result = ask(snapshots, storpool_snapshot_info, names=["g*", "d*"], space=True, status=True, exports=True)
    backup, golden = result["snapshots"]
    assert tuple(name for name in snapshot_info.FIELDS if name != "cluster") == tuple(golden)
    assert (golden["exported_to"], golden["delete_at"], golden["backup_of"], golden["on_volume"]) == (["plovdiv"], None, None, None)
    assert (backup["backup"], backup["backup_of"], backup["exported_to"]) == (True, "c.d.e", [])


def test_what_other_locations_hold(snapshots):
    result = ask(snapshots, storpool_snapshot_info, remote=True)
    assert result["snapshots"] == []
    assert result["remote_snapshots"] == [
        {
            "name": "exported", "remote_id": "v.a.2", "location": "varna", "size": 2 * GIB, "on_volume": None, "tags": {},
            "local_snapshot": "golden", "created": NOW - 86400,
        },
        {
            "name": "~p.d.1", "remote_id": "p.d.1", "location": "plovdiv", "size": GIB, "on_volume": "db", "tags": {"owner": "dba"},
            "local_snapshot": None, "created": NOW - 60,
        },
    ]  # fmt: skip
    assert result["summary"] == {"count": 2, "size": 3 * GIB}


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        ({"locations": ["varna"]}, ["v.a.2"]),
        ({"global_ids": ["p.d.1"]}, ["p.d.1"]),
        ({"volume": "db"}, ["p.d.1"]),
        ({"tags": {"owner": "*"}}, ["p.d.1"]),
        ({"newer_than": "1h"}, ["p.d.1"]),
        ({"min_size": "2G"}, ["v.a.2"]),
        ({"limit": 1}, ["v.a.2"]),
    ],
)
def test_filters_of_other_locations(snapshots, options, ids):
    result = ask(snapshots, storpool_snapshot_info, remote=True, **options)
    assert [one["remote_id"] for one in result["remote_snapshots"]] == ids


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"remote": True, "templates": ["nvme"]}, "templates"),
        ({"remote": True, "attached": False}, "attached"),
        ({"remote": True, "space": True}, "space"),
        ({"remote": True, "fields": ["iops"]}, "fields"),
        ({"locations": ["plovdiv"]}, "locations"),
        ({"series": "{volume}-%Y"}, "series"),
        ({"series": "x-%A"}, "series"),
        ({"expires_within": "soon"}, "expires_within"),
        ({"volume": "a b"}, "volume"),
    ],
)
def test_what_cannot_be_meant_of_snapshots(snapshots, options, option):
    with pytest.raises(OptionError) as caught:
        ask(snapshots, storpool_snapshot_info, **options)
    assert caught.value.parts["option"] == option
