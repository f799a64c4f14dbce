# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A populated cluster and, for every call of the API, arguments that make sense on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from storpool_simulator.testing import Simulator

from . import tables
from .support import MIB, NOT_SENT, Client

# Calls of the bindings that the simulator answers with its one error for what it does not have.
UNSUPPORTED = {
    "allPeersActiveRequests": lambda w: (),
    "clientActiveRequests": lambda w: (1,),
    "diskActiveRequests": lambda w: (101,),
    "diskEject": lambda w: (101,),
    "diskForget": lambda w: (101,),
    "diskIgnore": lambda w: (101,),
    "diskSoftEject": lambda w: (101,),
    "diskSoftEjectPause": lambda w: (101,),
    "diskSoftEjectCancel": lambda w: (101,),
    "diskSetDesc": lambda w: (101, {"description": "x"}),
    "diskScrubStart": lambda w: (101,),
    "diskScrubPause": lambda w: (101,),
    "diskScrubContinue": lambda w: (101,),
    "diskRetrim": lambda w: (101,),
    "volumeAbandonDisk": lambda w: ("vol", {"diskId": 101}),
    "snapshotAbandonDisk": lambda w: ("snap", {"diskId": 101}),
    "vagList": lambda w: (1,),
    "volumeUpdateVag": lambda w: ("vol", {"vagId": "parent"}),
    "snapshotUpdateVag": lambda w: ("snap", {"vagId": "parent"}),
    "vagUpdate": lambda w: ({"vagId": "1", "targetsCount": 1},),
    "volumeRelocatorStatus": lambda w: (),
    "volumeRelocatorDisks": lambda w: (),
    "volumeRelocatorVolumeDisks": lambda w: ("vol",),
    "volumeRelocatorSnapshotDisks": lambda w: ("snap",),
    "volumeBalancerGetStatus": lambda w: (),
    "volumeBalancerSetStatus": lambda w: ({"cmd": "start"},),
    "volumeBalancerVolumesStatus": lambda w: (),
    "volumeBalancerDisks": lambda w: (),
    "volumeBalancerVolumeDisks": lambda w: ("vol",),
    "volumeBalancerSnapshotDisks": lambda w: ("snap",),
    "volumeBalancerVolumeDiskSets": lambda w: ("vol",),
    "volumeBalancerSnapshotDiskSets": lambda w: ("snap",),
    "iSCSIConfig": lambda w: (),
    "iSCSIConfigChange": lambda w: ({"commands": []},),
    "iSCSISessionsInfo": lambda w: (),
    "iSCSInterfacesInfo": lambda w: (),
}

# Arguments of the reads, one tuple a call to make.
READS: dict[str, Callable[[dict], list[tuple]]] = {
    "peersList": lambda w: [()],
    "tasksList": lambda w: [()],
    "faultSetsList": lambda w: [()],
    "servicesList": lambda w: [()],
    "serversListBlocked": lambda w: [()],
    "serversList": lambda w: [()],
    "serverDisksList": lambda w: [(server,) for server in (1, 2, 3)],
    "serverDiskDescribe": lambda w: [w["disk"]],
    "clientsConfigDump": lambda w: [()],
    "clientConfigWait": lambda w: [(1,), (11,)],
    "disksList": lambda w: [()],
    "diskDescribe": lambda w: [(101,), (201,), (301,)],
    "volumesList": lambda w: [()],
    "volumesStatus": lambda w: [()],
    "volumesQuickStatus": lambda w: [()],
    "volumesSpace": lambda w: [()],
    "volumeList": lambda w: [(name,) for name in w["volumes"]],
    "volumeDescribe": lambda w: [(name,) for name in w["volumes"]],
    "volumeInfo": lambda w: [(name,) for name in w["volumes"]],
    "volumeListSnapshots": lambda w: [(name,) for name in w["volumes"]],
    "snapshotsList": lambda w: [()],
    "snapshotsSpace": lambda w: [()],
    "snapshotList": lambda w: [(name,) for name in w["snapshots"]],
    "snapshotDescribe": lambda w: [(name,) for name in w["snapshots"]],
    "snapshotInfo": lambda w: [(name,) for name in w["snapshots"]],
    "exportsList": lambda w: [()],
    "volumeExportsList": lambda w: [()],
    "snapshotsRemoteList": lambda w: [()],
    "volumesRemoteList": lambda w: [()],
    "attachmentsList": lambda w: [()],
    "placementGroupsList": lambda w: [()],
    "placementGroupDescribe": lambda w: [(name,) for name in ("default", "hdd", "ssd", "nvme")],
    "volumeTemplatesList": lambda w: [()],
    "volumeTemplatesStatus": lambda w: [()],
    "volumeTemplateDescribe": lambda w: [(name,) for name in ("hybrid", "nvme", "hdd", "full", "bare")],
    "locationsList": lambda w: [()],
    "clustersList": lambda w: [()],
    "remoteBridgesList": lambda w: [()],
    "maintenanceList": lambda w: [()],
    "kvsBuckets": lambda w: [()],
    "kvsList": lambda w: [("bucket",), ("empty",)],
    "kvsGet": lambda w: [("bucket", "key"), ("bucket", "other")],
}

# Arguments of the changes; each runs on a freshly populated cluster, the listed calls one after the other.
CHANGES: dict[str, Callable[[dict], list[tuple]]] = {
    "volumeCreate": lambda w: [
        (
            {
                "name": "n1",
                "size": MIB,
                "replication": 2,
                "iops": 5,
                "bw": "-",
                "tags": {"a": "b"},
                "placeAll": "ssd",
                "placeHead": "hdd",
                "placeTail": "nvme",
                "reuseServer": True,
            },
        ),
        ({"size": MIB},),
        ({"name": "n2", "parent": "snap"},),
        ({"name": "n3", "baseOn": "vol", "template": "nvme"},),
    ],
    "volumeUpdate": lambda w: [
        ("vol", {"rename": "vol2", "sizeAdd": 512, "tags": {"a": "", "z": "1"}, "iops": "-", "bw": 7}),
        ("vol2", {"size": MIB, "shrinkOk": True, "template": "nvme"}),
    ],
    "volumeFreeze": lambda w: [("plain",), ("limited", {"deleteAfter": 500})],
    "volumeRebase": lambda w: [("child", {}), ("deep", {"parentName": "mid"})],
    "volumeDelete": lambda w: [("plain",), (w["anonymous"],)],
    "volumeBackup": lambda w: [({"volume": "vol", "location": "plovdiv", "tags": {"b": "1"}},)],
    "volumesGroupBackup": lambda w: [({"volumes": ["vol", "plain"], "location": "plovdiv", "tags": {"b": "1"}},)],
    "volumeMoveToRemote": lambda w: [("plain", {"cluster": "sofia-b"}), ("limited", {"clusterId": "sf.b", "onAttached": "detach"})],
    "volumeExport": lambda w: [("plain", {"cluster": "sofia-b"}), ("limited", {"clusterId": "sf.b"})],
    "volumeAcquire": lambda w: [("vol", {}), ("vol", {"onRemoteAttached": "detach"})],
    "volumeFromRemote": lambda w: [
        ({"name": "from-far", "remoteId": w["far-exported"], "remoteLocation": "plovdiv", "tags": {"r": "1"}, "template": "hdd"},)
    ],
    "volumeRevert": lambda w: [("plain", {"toSnapshot": "snap"})],
    "snapshotCreate": lambda w: [
        ("vol", {"name": "s1", "tags": {"t": "1"}, "bind": True, "deleteAfter": 60}),
        ("vol", {}),
        (w["anonymous"], {}),
    ],
    "snapshotUpdate": lambda w: [
        ("snap", {"rename": "snap2", "bind": False, "deleteAfter": 90, "tags": {"q": "r"}, "iops": 4, "template": "nvme"})
    ],
    "snapshotRebase": lambda w: [("mid", {})],
    "snapshotDelete": lambda w: [("dated",), ("mid",)],
    "snapshotDeleteById": lambda w: [(w["dated-id"],)],
    "snapshotCreateGroup": lambda w: [
        ({"tags": {"g": "1"}, "volumes": [{"volume": "vol", "name": "g1", "tags": {"x": "y"}}, {"volume": "plain"}]},)
    ],
    "snapshotFromRemote": lambda w: [
        (
            {
                "name": "copy",
                "remoteId": w["far-exported"],
                "remoteLocation": "plovdiv",
                "tags": {"r": "1"},
                "template": "hdd",
                "export": True,
            },
        )
    ],
    "snapshotMoveToRemote": lambda w: [("lone", {"cluster": "sofia-b"})],
    "snapshotExport": lambda w: [({"snapshot": "snap", "location": "plovdiv"},)],
    "snapshotUnexport": lambda w: [
        ({"snapshot": "exported", "location": "plovdiv", "force": True},),
        ({"snapshot": w["other-exported"], "all": True},),
    ],
    "snapshotsRemoteUnexport": lambda w: [
        ({"remoteSnapshots": [{"location": "plovdiv", "globalSnapshotId": w["far-exported"], "deleteAfter": 500}]},)
    ],
    "volumesReassign": lambda w: [
        ([{"volume": "plain", "rw": [1], "ro": [2], "detach": [3], "force": True}, {"snapshot": "snap", "ro": [2], "detach": [1]}],)
    ],
    "volumesReassignWait": lambda w: [
        ({"attachTimeout": 10, "reassign": [{"volume": "plain", "rw": [1]}, {"snapshot": "snap", "ro": [2]}]},),
        (
            {
                "reassign": [
                    {"volume": "plain", "detach": "all", "mcMode": "export", "onRemoteAttached": "export", "allowRemoteExported": True}
                ]
            },
        ),
    ],
    "placementGroupUpdate": lambda w: [("fresh", {"addDisks": {101, 201}}), ("fresh", {"rename": "renamed", "rmDisks": {101}})],
    "placementGroupDelete": lambda w: [("unused",)],
    "volumeTemplateCreate": lambda w: [
        ({"name": "t1", "parent": "snap", "size": MIB, "replication": 2, "placeAll": "ssd", "iops": 3, "bw": 4, "reuseServer": True},)
    ],
    "volumeTemplateUpdate": lambda w: [("full", {"rename": "full2", "size": 2 * MIB, "propagate": True, "replication": 1})],
    "volumeTemplateDelete": lambda w: [("bare",)],
    "locationAdd": lambda w: [({"id": "vr", "name": "varna"},)],
    "locationRemove": lambda w: [({"location": "ruse"},)],
    "locationUpdate": lambda w: [({"location": "burgas", "recvBufferSize": 65536, "sendBufferSize": 32768},)],
    "locationRename": lambda w: [({"location": "burgas", "name": "bourgas"},)],
    "clusterAdd": lambda w: [({"id": "z", "location": "burgas", "name": "burgas-z"},), ({"id": "y", "location": "burgas"},)],
    "clusterRemove": lambda w: [({"name": "burgas-a", "clusterWillNotBeComingBack": True},)],
    "clusterRename": lambda w: [({"cluster": "burgas-a", "name": "burgas-aa"},)],
    "remoteBridgeAdd": lambda w: [
        ({"location": "burgas", "ip": "192.0.2.9", "publicKey": "key9", "minimumDeleteDelay": 60, "noCrypto": True},)
    ],
    "remoteBridgeRemove": lambda w: [({"ip": "192.0.2.8"},)],
    "maintenanceSet": lambda w: [({"nodeId": 2, "duration": 600, "description": "disks", "minOkReplicas": 1, "maxNodesInMaintenance": 3},)],
    "maintenanceComplete": lambda w: [({"nodeId": 1},)],
    "kvsCreate": lambda w: [("fresh",)],
    "kvsDelete": lambda w: [("empty",)],
    "kvsUpdate": lambda w: [
        ("bucket", {"set": {"key": "", "new": "value"}}),
        ("bucket", {"set": {"x": "y"}, "runIfVersionIs": w["bucket-version"] + 1}),
    ],
}


def request(name: str, args: tuple) -> tuple[str, str, Any]:
    """(method, query, body) of a call given in the way of the bindings: the parts of the path, then the body."""
    call = tables.CALLS[name]
    count = len(call["pathArgs"])
    query = call["query"].format(**{arg["name"]: value for arg, value in zip(call["pathArgs"], args, strict=False)})
    body = args[count] if len(args) > count else NOT_SENT
    return (
        call["http"],
        query,
        {key: sorted(item) if isinstance(item, set) else item for key, item in body.items()} if isinstance(body, dict) else body,
    )


def populate(sim: Simulator) -> dict[str, Any]:
    """A cluster with one of everything, made with the raw client so that no bindings stand between."""
    clients = {name: Client(sim.clusters[name]["url"], sim.token, cluster=name) for name in sim.clusters}
    api, near, far = clients["sofia-a"], clients["sofia-b"], clients["plovdiv-a"]
    sim.background(False)
    world: dict[str, Any] = {}
    api.do("PlacementGroupUpdate/unused", {"addDisks": [101, 102]})
    api.create("base", size=MIB)
    api.write("base", b"base" * 1024)
    api.snap("base", "golden")
    api.do(
        "VolumeTemplateCreate",
        {"name": "full", "replication": 2, "size": MIB, "placeAll": "hdd", "placeTail": "ssd", "iops": 10, "bw": 20, "parent": "golden"},
    )
    api.do("VolumeTemplateCreate", {"name": "bare"})
    api.create("vol", template="hybrid", tags={"a": "1", "cs": "volume"}, iops=1000, bw=2000)
    api.write("vol", b"data" * 4096)
    api.snap("vol", "mid")
    api.snap("vol", "snap", tags={"t": "1"})
    api.create("child", size=None, parent="snap")
    api.create("deep", size=2 * MIB, parent="snap")
    api.create("plain")
    api.create("gone")
    api.snap("gone", "lone")
    api.do("VolumeDelete/gone")
    api.create("limited", size=MIB, iops=5, bw="-", replication=2, placeAll="ssd")
    api.create("clone", size=None, baseOn="vol")
    api.create("templated", size=None, template="full")
    world["anonymous"] = api.create(None, tags={"anon": "yes"})["name"]
    api.snap("vol")
    auto = api.snap("vol")["autoName"]
    api.snap(world["anonymous"])
    api.snap("vol", "bound", bind=True)
    world["dated-id"] = api.snap("vol", "dated", deleteAfter=5000, tags={"d": "x"})["snapshotGlobalId"]
    api.snap("vol", "exported")
    api.do("SnapshotExport", {"snapshot": "exported", "location": "plovdiv"})
    api.snap("vol", "exported2")
    api.do("SnapshotExport", {"snapshot": "exported2", "location": "plovdiv"})
    world["other-exported"] = "exported2"
    api.snap("vol", "doomed")
    api.create("held", size=None, parent="doomed")
    api.do("SnapshotDelete/doomed")
    far.create("remote", size=MIB, tags={"r": "1"})
    far.write("remote", b"far" * 100)
    for key, name in (("far-exported", "rsnap"), ("far-recovering", "rsnap2")):
        world[key] = far.snap("remote", name, tags={"rs": "1"})["snapshotGlobalId"]
        far.do("SnapshotExport", {"snapshot": name, "location": "sofia"})
    api.do("SnapshotFromRemote", {"remoteId": world["far-recovering"], "remoteLocation": "plovdiv", "name": "recovering"})
    near.create("near-vol", size=MIB)
    near.snap("near-vol", "near-snap")
    api.do("VolumeBackup", {"volume": "vol", "location": "plovdiv"})
    api.attach("vol", rw=[1], ro=[2, 11])
    api.attach("snap", snapshot=True, ro=[1])
    api.attach(auto, snapshot=True, ro=[3])
    api.do("KV/Create/bucket")
    api.do("KV/Create/empty")
    api.do("KV/Set/bucket", {"set": {"key": "value", "other": "a b/c"}})
    world["bucket-version"] = api.get("KV/List/bucket").data["version"]
    api.do("MaintenanceSet", {"nodeId": 1, "duration": 3600, "description": "firmware"})
    api.do("LocationAdd", {"id": "bs", "name": "burgas"})
    api.do("LocationAdd", {"id": "rs", "name": "ruse"})
    api.do("ClusterAdd", {"id": "a", "location": "burgas", "name": "burgas-a"})
    api.do("RemoteBridgeAdd", {"location": "burgas", "ip": "192.0.2.8", "publicKey": "key8"})
    sim.client(13, "down")
    world["volumes"] = sorted(api.volumes())
    world["snapshots"] = sorted(api.snapshots())
    disks = api.get("DisksList").data
    world["disk"] = (disks["101"]["serverId"], 101)
    for client in clients.values():
        client.close()
    return world
