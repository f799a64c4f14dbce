# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is told of a cluster, with which reads, and the verdict on it."""

from __future__ import annotations

import json

import pytest
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources.cluster_info import GATHER, health, query


def service(number, status="running", **more):
    return {"id": number, "nodeId": number, "status": status, "startTime": 1, "version": "20", **more}


def answers():
    """A cluster in good order."""
    space = {"capacity": 1000, "free": 500}
    return {
        "services": {
            "clusterStatus": "running",
            "servers": {"2": service(2), "10": service(10), "1": service(1)},
            "clients": {"11": service(11), "12": service(12)},
            "mgmt": {"1": service(1, active=True), "2": service(2, active=False)},
        },
        "clients_config": [{"id": number, "configStatus": "ok", "clientGeneration": 5, "generation": 5, "delay": 0} for number in (11, 12)],
        "disks": {"101": disk(101), "201": disk(201, ssd=True)},
        "peers": {"1": peer(), "11": peer(nonVoting=True)},
        "templates": [
            {
                "name": "nvme", "size": "-", "parentName": "", "iops": "-", "bw": "-", "replication": 3, "placeAll": "nvme",
                "placeHead": "nvme", "placeTail": "nvme",
            }
        ],
        "templates_status": [
            {
                "name": "nvme", "stored": space, "storedSize": 1, "onDiskSize": 3, "totalSize": 7, "volumesCount": 1, "snapshotsCount": 0,
                "removingSnapshotsCount": 0, "availablePlaceAll": 1, "availablePlaceHead": 2, "availablePlaceTail": 3,
            }
        ],
        "placement_groups": {"ssd": {"name": "ssd", "disks": [202, 201]}, "hdd": {"name": "hdd"}},
        "attachments": [attachment("b", 12, 0), attachment("a", 11, 1), attachment("s@1", 11, 0, snapshot=True, rights="ro")],
        "locations": [{"name": "sofia", "id": "sf", "sendBufferSize": 0, "recvBufferSize": 0}],
        "clusters": [{"name": "sofia-b", "id": "b", "location": "sofia"}],
        "maintenance": {"nodes": []},
    }  # fmt: skip


def disk(number, left=-1, **more):
    base = {
        "id": number, "serverId": 1, "generationLeft": left, "ssd": False, "model": "m", "serial": "s", "description": "",
        "softEject": "off",
    }  # fmt: skip
    if left == -1:
        base.update(device="/dev/sda", sectorsCount=2048, objectsOnDiskSize=512)
    return {**base, **more}


def peer(up=True, **more):
    return {"beaconStatus": "NODE_UP" if up else "NODE_DOWN", "clusterStatus": "CNODE_UP", "joined": up, "nonVoting": False, **more}


def attachment(name, client, pos, **more):
    return {"volume": name, "client": client, "pos": pos, "rights": "rw", "snapshot": False, "globalId": f"a.b.{pos}", **more}


class Cluster:
    def __init__(self, **changes):
        self.answers = {**answers(), **changes}
        self.reads = []

    def __getattr__(self, name):
        self.reads.append(name)
        return lambda: self.answers[name]


def ask(gather=None, **changes):
    return query(Cluster(**changes), {"gather": gather})


def reasons(result):
    return [(one["level"], one["about"], one["message"]) for one in result["health"]["reasons"]]


@pytest.mark.parametrize(
    ("gather", "reads"),
    [
        (["services"], ["services"]),
        (["clients"], ["services", "clients_config"]),
        (["clients", "services"], ["services", "clients_config"]),
        (["templates"], ["templates_status", "templates"]),
        (["attachments", "maintenance"], ["attachments", "maintenance"]),
        ([], sorted(answers())),
        (None, sorted(answers())),
    ],
)
def test_each_listing_is_read_once_and_only_when_it_is_needed(gather, reads):
    cluster = Cluster()
    query(cluster, {"gather": gather})
    assert (cluster.reads if gather else sorted(cluster.reads)) == reads


def test_everything_is_told_in_order():
    result = ask()
    assert set(GATHER) <= set(result)
    assert [one["id"] for one in result["services"]["servers"]] == [1, 2, 10]
    assert result["services"]["iscsi_targets"] == []
    assert result["clients"][0] == {
        "id": 11, "node": 11, "status": "running", "version": "20", "started": 1, "config_status": "ok", "client_generation": 5,
        "generation": 5,
    }  # fmt: skip
    assert result["disks_summary"] == {"count": 2, "up": 2, "down": 0, "soft_ejecting": 0, "size": 2 << 20, "stored": 1024}
    assert result["peers"][1]["voting"] is False
    assert result["templates"][0]["space"]["available"] == {"all": 1, "head": 2, "tail": 3}
    assert result["placement_groups"] == [{"name": "hdd", "disks": []}, {"name": "ssd", "disks": [201, 202]}]
    assert [(one["client"], one["name"]) for one in result["attachments"]] == [(11, "s@1"), (11, "a"), (12, "b")]
    assert result["attachments_summary"] == {
        "count": 3,
        "clients": [{"client": 11, "count": 2}, {"client": 12, "count": 1}],
        "truncated": False,
    }
    assert result["locations"] == [{"name": "sofia", "id": "sf"}]
    assert result["health"] == {
        "status": "ok",
        "reasons": [],
        "checked": ["services", "clients", "disks", "peers", "templates", "maintenance"],
    }


def test_only_what_was_gathered_is_judged():
    result = ask(["attachments"])
    assert set(result) == {"attachments", "attachments_summary", "health"}
    assert result["health"] == {"status": "ok", "reasons": [], "checked": []}


def test_a_client_that_only_one_listing_knows_is_told_of():
    changes = answers()
    del changes["services"]["clients"]["12"]
    del changes["clients_config"][0]
    first, second = ask(["clients"], **changes)["clients"]
    assert (first["id"], first["status"], first["config_status"], first["generation"]) == (11, "running", "down", None)
    assert (second["id"], second["status"], second["version"]) == (12, "down", None)


def test_a_template_that_came_or_went_meanwhile_has_no_figures():
    result = ask(["templates"], templates_status=[])
    assert result["templates"][0]["space"] is None
    assert result["health"]["status"] == "ok"


def test_thirty_thousand_attachments_are_cut_and_said_to_be():
    many = [attachment(f"volume-{number}", 11, number) for number in range(30_000)]
    result = ask(["attachments"], attachments=many)
    assert len(json.dumps(result)) < 700_000
    assert result["attachments_summary"] == {"count": 30_000, "clients": [{"client": 11, "count": 30_000}], "truncated": True}
    assert "30000 attachments" in result["warnings"][0]


# -- the verdict


def test_what_stops_the_cluster_is_critical_and_comes_first():
    changes = answers()["services"]
    changes["clusterStatus"] = "waiting"
    changes["servers"]["2"] = service(2, "down", missingDisks=[201, 202])
    changes["mgmt"]["1"] = service(1, "down", active=False)
    result = ask(["services"], services=changes)
    assert result["health"]["status"] == "critical"
    assert reasons(result) == [
        ("critical", "cluster", "is waiting"),
        ("critical", "management", "no management node is active"),
        ("warning", "server 2", "is down"),
        ("warning", "server 2", "misses disks 201, 202"),
        ("warning", "management node 1", "is down"),
    ]


def test_a_client_that_is_down_or_behind_is_a_warning_with_what_it_holds():
    changes = answers()
    changes["services"]["clients"]["11"] = service(11, "down")
    changes["clients_config"][1]["configStatus"] = "updating"
    result = ask(["clients", "attachments"], **changes)
    assert result["health"]["status"] == "warning"
    assert reasons(result) == [
        ("warning", "client 11", "is down; volumes and snapshots attached to it: 2"),
        ("warning", "client 12", "has not applied the present configuration (updating); volumes and snapshots attached to it: 1"),
    ]


def test_what_is_down_by_intent_is_said_to_be():
    changes = answers()
    changes["services"]["clients"]["11"] = service(11, "down")
    changes["peers"]["11"] = peer(up=False)
    changes["maintenance"] = {"nodes": [{"nodeId": 11, "description": "", "duration": 1, "overrun": True, "started": 1}]}
    assert reasons(ask(["clients", "peers", "maintenance"], **changes)) == [
        ("warning", "client 11", "is down (its node is in maintenance)"),
        ("warning", "node 11", "is not in the cluster (beacon NODE_DOWN, cluster CNODE_UP) (its node is in maintenance)"),
        ("warning", "node 11", "its maintenance has overrun"),
    ]


def test_disks_that_are_down_are_told_and_many_are_counted():
    disks = {str(number): disk(number, left=7) for number in range(101, 126)}
    result = ask(["disks"], disks=disks)
    assert result["disks_summary"] == {"count": 25, "up": 0, "down": 25, "soft_ejecting": 0, "size": 0, "stored": 0}
    assert (result["disks"][0]["up"], result["disks"][0]["size"], result["disks"][0]["device"]) == (False, None, None)
    told = reasons(result)
    assert (told[0], told[-1], len(told)) == (("warning", "disk 101", "of server 1 is down"), ("warning", "disks", "5 more are down"), 21)


def test_a_disk_whose_size_is_not_told():
    untold = disk(102)
    del untold["sectorsCount"], untold["objectsOnDiskSize"]
    result = ask(["disks"], disks={"101": disk(101), "102": untold})
    assert [(one["size"], one["stored"]) for one in result["disks"]] == [(1 << 20, 512), (None, None)]
    assert (result["disks_summary"]["up"], result["disks_summary"]["size"], result["disks_summary"]["stored"]) == (2, 1 << 20, 512)


@pytest.mark.parametrize(("free", "told"), [(99, 1), (100, 0), (0, 1)])
def test_a_template_that_is_nearly_full_is_a_warning(free, told):
    figures = answers()["templates_status"]
    figures[0]["stored"] = {"capacity": 1000, "free": free}
    result = ask(["templates"], templates_status=figures)
    assert len(reasons(result)) == told
    if told:
        assert reasons(result)[0][2] == f"has {free // 10}% of its capacity free: {free} of 1000 bytes"


def test_the_verdict_takes_parts():
    assert health({}) == {"status": "ok", "reasons": [], "checked": []}
