# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Paths and bodies of the calls, as the reference sheet has them."""

from __future__ import annotations

import pytest
from ansible_collections.storpool.cloudstack.plugins.module_utils import _storpool as sp
from ansible_collections.storpool.cloudstack.plugins.module_utils._errors import ApiError, Unauthorized, Unreachable
from test_http import answers_of_any_form, connect
from transcript import GET, POST, Server

__all__ = ["answers_of_any_form"]

NOT_THERE = {"name": "objectDoesNotExist", "descr": "no such volume"}


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("db-data", "db-data"),
        ("#internal", "%23internal"),
        ("~a1.b.c4", "~a1.b.c4"),
        ("db@12", "db@12"),
        ("a:b.c", "a:b.c"),
        ("a/b", "a%2Fb"),
        ("a?b", "a%3Fb"),
        ("a b", "a%20b"),
    ],
)
def test_names_in_paths(name, path):
    with Server(GET(f"/ctrl/1.0/Volume/{path}", data=[{"name": name}]), POST(f"/ctrl/1.0/VolumeDelete/{path}", {}, data={})) as server:
        client = connect(server)
        assert client.volume(name) == {"name": name}
        client.send(sp.volume_delete(name))


@pytest.mark.parametrize(
    ("cluster", "multi", "prefix", "unmarked"),
    [
        (None, False, "/ctrl/1.0/", "/ctrl/1.0/"),
        (None, True, "/ctrl/1.0/MultiCluster/", "/ctrl/1.0/"),
        ("sofia-b", False, "/ctrl/1.0/RemoteCommand/sofia-b/", "/ctrl/1.0/RemoteCommand/sofia-b/"),
        ("~sf.b", True, "/ctrl/1.0/RemoteCommand/~sf.b/MultiCluster/", "/ctrl/1.0/RemoteCommand/~sf.b/"),
        ("#far", False, "/ctrl/1.0/RemoteCommand/%23far/", "/ctrl/1.0/RemoteCommand/%23far/"),
    ],
)
def test_prefixes(cluster, multi, prefix, unmarked):
    script = [
        GET(f"{prefix}VolumesList", data=[]),
        GET(f"{prefix}AttachmentsList", data=[]),
        GET(f"{unmarked}VolumeTemplatesList", data=[]),  # not marked for it in the table of calls
        POST(f"{prefix}VolumeUpdate/v", {"size": 512}, data={}),
        POST(f"{unmarked}VolumeFromRemote", data={}),
    ]
    with Server(*script) as server:
        client = connect(server, cluster=cluster, multi=multi)
        client.volumes()
        client.attachments()
        client.templates()
        client.send(sp.volume_update("v", {"size": 512}))
        client.send(sp.volume_from_remote({"name": "v"}))


def test_one_object_that_is_not_there():
    with Server(
        GET("/ctrl/1.0/Volume/v", error=NOT_THERE, status=404),
        GET("/ctrl/1.0/Snapshot/s", error=NOT_THERE),
        GET("/ctrl/1.0/Volume/w", data=[]),
        GET("/ctrl/1.0/Volume/x", error={"name": "busy", "descr": "no"}),
    ) as server:
        client = connect(server)
        assert client.volume("v") is None
        assert client.snapshot("s") is None
        assert client.volume("w") is None
        with pytest.raises(ApiError, match="Volume on x failed: busy: no"):
            client.volume("x")


def test_a_cluster_that_is_not_there_is_no_missing_object():
    far, gone = "/ctrl/1.0/RemoteCommand/far", {"name": "objectDoesNotExist", "descr": "no such cluster"}
    with Server(
        GET(f"{far}/Volume/v", error=gone),
        GET(f"{far}/MaintenanceList", error=gone),
        GET(f"{far}/Snapshot/s", error=gone),
        GET(f"{far}/MaintenanceList", error=gone),
        GET(f"{far}/VolumesList", error=gone),
    ) as server:
        client = connect(server, cluster="far")
        for read in (lambda: client.volume("v"), lambda: client.snapshot("s"), client.volumes):
            with pytest.raises(ApiError, match=r"no such cluster \(check sp_cluster"):
                read()
    with Server(
        GET(f"{far}/Volume/v", error=NOT_THERE),
        GET(f"{far}/MaintenanceList", data={"nodes": []}),
        GET(f"{far}/Volume/w", error=NOT_THERE),
    ) as server:
        client = connect(server, cluster="far")
        assert (client.volume("v"), client.volume("w")) == (None, None)


@pytest.mark.parametrize(
    ("write", "path", "body"),
    [
        (sp.volume_create({"name": "v"}), "VolumeCreate", {"name": "v"}),
        (sp.volume_update("v", {"rename": "w"}), "VolumeUpdate/v", {"rename": "w"}),
        (sp.volume_delete("v"), "VolumeDelete/v", {}),
        (sp.volume_revert("v", "s", False), "VolumeRevert/v", {"toSnapshot": "s"}),
        (sp.volume_revert("v", "s", True), "VolumeRevert/v", {"toSnapshot": "s", "revertSize": True}),
        (sp.volume_backup("v", "far", {}), "VolumeBackup", {"volume": "v", "location": "far"}),
        (sp.volume_backup("v", "far", {"a": "b"}), "VolumeBackup", {"volume": "v", "location": "far", "tags": {"a": "b"}}),
        (sp.volumes_group_backup(["v", "w"], "far", {}), "VolumesGroupBackup", {"volumes": ["v", "w"], "location": "far"}),
        (sp.snapshot_create("v", {"name": "s"}), "VolumeSnapshot/v", {"name": "s"}),
        (
            sp.snapshot_create_group([{"volume": "v"}], {"a": "b"}),
            "VolumesGroupSnapshot",
            {"volumes": [{"volume": "v"}], "tags": {"a": "b"}},
        ),
        (sp.snapshot_update("s", {"bind": True}), "SnapshotUpdate/s", {"bind": True}),
        (sp.snapshot_delete("s@1"), "SnapshotDelete/s@1", {}),
        (sp.snapshot_export("s", "far"), "SnapshotExport", {"snapshot": "s", "location": "far"}),
        (sp.snapshot_unexport("s", None, True), "SnapshotUnexport", {"snapshot": "s", "all": True, "force": True}),
        (sp.snapshot_unexport("s", "far"), "SnapshotUnexport", {"snapshot": "s", "location": "far"}),
        (sp.template_create({"name": "t"}), "VolumeTemplateCreate", {"name": "t"}),
        (sp.template_update("t", {"propagate": True}), "VolumeTemplateUpdate/t", {"propagate": True}),
        (sp.template_delete("t"), "VolumeTemplateDelete/t", {}),
        (sp.reassign_wait([{"volume": "v", "rw": [1]}], None), "VolumesReassignWait", {"reassign": [{"volume": "v", "rw": [1]}]}),
        (sp.reassign_wait([{"volume": "v"}], 0), "VolumesReassignWait", {"reassign": [{"volume": "v"}], "attachTimeout": 0}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_writes(write, path, body):
    with Server(POST(f"/ctrl/1.0/{path}", body, data={"ok": True})) as server:
        assert connect(server).send(write) == {"ok": True}


@pytest.mark.parametrize(
    ("method", "path", "data", "returned"),
    [
        ("volumes", "VolumesList", [], []),
        ("volumes_space", "VolumesSpace", [], []),
        ("volumes_status", "VolumesGetStatusQuick", {}, {}),
        ("snapshots", "SnapshotsList", [], []),
        ("snapshots_space", "SnapshotsSpace", [], []),
        ("attachments", "AttachmentsList", [], []),
        ("templates", "VolumeTemplatesList", [], []),
        ("templates_status", "VolumeTemplatesStatus", [], []),
        ("placement_groups", "PlacementGroupsList", {}, {}),
        ("services", "ServicesList", {}, {}),
        ("clients_config", "ClientsConfigDump", [], []),
        ("peers", "NetworkPeersList", {}, {}),
        ("disks", "DisksList", {}, {}),
        ("locations", "LocationsList", {"locations": [1]}, [1]),
        ("clusters", "ClustersList", {"clusters": [1]}, [1]),
        ("exports", "ExportsList", {"exports": [1]}, [1]),
        ("remote_snapshots", "SnapshotsRemoteList", {"snapshots": [1]}, [1]),
        ("maintenance", "MaintenanceList", {}, {}),
    ],
)
def test_reads(method, path, data, returned):
    with Server(GET(f"/ctrl/1.0/{path}", data=data)) as server:
        assert getattr(connect(server), method)() == returned


def test_the_services_of_other_clusters():
    """Of one, and of all in its location, whatever the task's own cluster is."""
    script = [
        GET("/ctrl/1.0/RemoteCommand/~sf.b/ServicesList", data={"a": {}}),
        GET("/ctrl/1.0/RemoteCommand/~sf.b/MultiCluster/AllClusters/ServicesList", data={"clusters": [{"response": {"data": {}}}, {}]}),
        GET("/ctrl/1.0/VolumeListSnapshots/v", data=[]),
        GET("/ctrl/1.0/VolumeListSnapshots/w", error=NOT_THERE),
    ]
    with Server(*script) as server:
        client = connect(server)
        assert (client.services_of("sf.b"), client.services_of_location("sf.b")) == ({"a": {}}, [{}, None])
        assert (client.volume_snapshots("v"), client.volume_snapshots("w")) == ([], [])


def test_by_name():
    assert sp.by_name([{"name": "a"}, {"name": "~x.y.z"}]) == {"a": {"name": "a"}, "~x.y.z": {"name": "~x.y.z"}}


def test_names_that_several_clusters_have():
    listed = [{"name": "a", "clusterName": "y"}, {"name": "b", "clusterName": "x"}, {"name": "a", "clusterName": "x"}]
    found = sp.by_name(listed)
    assert found["a"][sp.IN_CLUSTERS] == ["x", "y"]
    assert sp.IN_CLUSTERS not in found["b"]


@pytest.mark.parametrize(
    ("write", "path", "about"),
    [
        (sp.volume_update("v", {"size": 512}), "VolumeUpdate/v", "VolumeUpdate on v"),
        (sp.snapshot_create("v", {"name": "s"}), "VolumeSnapshot/v", "VolumeSnapshot on s"),
        (sp.snapshot_create("v", {}), "VolumeSnapshot/v", "VolumeSnapshot on v"),
    ],
)
def test_a_refused_write_says_what_it_was(write, path, about):
    with Server(POST(f"/ctrl/1.0/{path}", error={"name": "busy", "descr": "no"}, status=409)) as server:
        with pytest.raises(ApiError, match=f"{about} failed: busy: no") as caught:
            connect(server).send(write)
    assert (caught.value.parts["status"], caught.value.parts["transient"], caught.value.hint) == (409, False, None)


@pytest.mark.parametrize(
    ("name", "words", "hint"),
    [
        ("objectExists", "it is there", "volumes and snapshots share their names"),
        ("invalidParam", "volume v is open at client 1", "the device is in use on that host"),
        ("insufficientResources", "no room", "the cluster has not enough free space"),
        ("other", "no word of that", None),
    ],
)
def test_the_way_out_of_errors_whose_words_do_not_tell_it(name, words, hint):
    with Server(GET("/ctrl/1.0/VolumesList", error={"name": name, "descr": words})) as server, pytest.raises(ApiError) as caught:
        connect(server).volumes()
    assert (caught.value.hint or "").startswith(hint or "") and bool(caught.value.hint) is bool(hint)


@pytest.mark.parametrize("status", [401, 403])
def test_a_token_that_is_refused_in_json_too(status):
    with Server(GET("/ctrl/1.0/VolumesList", error={"name": "denied", "descr": "no"}, status=status)) as server:
        with pytest.raises(Unauthorized, match="refused the token"):
            connect(server).volumes()


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ({"body": b" \n<!DOCTYPE html><html></html>"}, "an HTML page"),
        ({"body": b"<p>no</p>", "status": 404}, "an HTML page"),
        ({"body": b"", "status": 302}, "a redirect"),
        ({"body": b"", "status": 300}, "a redirect"),
    ],
)
def test_another_service_on_that_port(more, what):
    with Server(GET("/ctrl/1.0/VolumesList", **more)) as server, pytest.raises(Unreachable, match=f"answered with {what}") as caught:
        connect(server).volumes()
    assert "this is not the StorPool API" in str(caught.value) and "check sp_api_http_port (from " in str(caught.value)


def test_too_many_requests_is_waited_out_whatever_the_body_says():
    script = [GET("/ctrl/1.0/VolumesList", body=body, status=429) for body in (b"{}", b"slow down")]
    with Server(*script, GET("/ctrl/1.0/VolumesList", data=[])) as server:
        assert connect(server).volumes() == []


@pytest.mark.parametrize("body", [b"{}", b"slow down"])
def test_a_write_that_is_one_too_many_was_not_taken_and_is_sent_again(body):
    with Server(POST("/ctrl/1.0/VolumeDelete/v", body=body, status=429), POST("/ctrl/1.0/VolumeDelete/v", data={"ok": True})) as server:
        assert connect(server).send(sp.volume_delete("v")) == {"ok": True}


@pytest.mark.parametrize("more", [{"body": b"[]"}, {"body": b"{}"}, {"body": b"<p>busy</p>", "status": 500}])
def test_what_is_no_answer_is_asked_for_again(more):
    with Server(GET("/ctrl/1.0/VolumesList", **more), GET("/ctrl/1.0/VolumesList", data=[])) as server:
        assert connect(server).volumes() == []
