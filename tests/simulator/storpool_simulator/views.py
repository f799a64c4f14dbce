# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How objects look in answers (sheet 3.3, 3.4, 3.6, 3.7). Everything here is read-only."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

from . import tables
from .store import Document

if TYPE_CHECKING:
    from .cluster import Cluster

OBJECT_SIZE = 32 << 20
MC_STATES = (
    "owner",
    "ownerExported",
    "slaveCopy",
    "clusterLocal",
    "clusterLocalExported",
    "clusterLocalAutoReconcile",
    "clusterLocalAutoReconcileExported",
)


_TEXT = json.JSONEncoder(separators=(",", ":")).encode


def encode(value: Any) -> bytes:
    return _TEXT(value).encode()


class BrokenAnswer(Exception):
    """An answer that its table refuses: a bug of the simulator."""


@cache
def object_check(name: str) -> tables.Check:
    return tables.load().check({"kind": "object", "name": name}, strict=True)


def checked(name: str, value: Any) -> Any:
    try:
        return object_check(name)(value, "")
    except tables.Mismatch as why:
        raise BrokenAnswer(f"{name}: {why}") from why


def objects_count(size: int) -> int:
    return -(-size // OBJECT_SIZE)


def name_of(document: Document) -> str:
    """The name in listings: "~" and the globalId for what has none (rules anon-volume, anon-snapshot-tilde)."""
    return document["name"] or "~" + document["gid"]


def summary(cluster: Cluster, document: Document) -> dict:
    """VolumeSummary or SnapshotSummary, as plain data."""
    parent = cluster.snapshots.get(document["parent"]) if document["parent"] else None
    template = cluster.template_of(document)
    shown = {
        "name": name_of(document),
        "globalId": document["gid"],
        "id": document["vid"],
        "visibleVolumeId": document["vid"],
        "size": document["size"],
        "objectsCount": objects_count(document["size"]),
        "creationTimestamp": document["created"],
        "parentName": name_of(parent) if parent else "",
        "parentVolumeId": parent["vid"] if parent else 0,
        "originalParentVolumeId": document["originalParent"],
        "firstNotParentObjectId": objects_count(parent["size"]) if parent else 0,
        "templateName": template["name"] if template else "",
        "templateId": document["template"],
        "replication": document["replication"],
        "placeAll": document["placeAll"],
        "placeHead": document["placeHead"],
        "placeTail": document["placeTail"],
        "reuseServer": document["reuseServer"],
        "iops": document["iops"],
        "bw": document["bw"],
        "limitType": document["limitType"],
        "flags": 0,
        "tags": document["tags"],
    }
    if "bound" in document:
        shown.update(_snapshot_fields(cluster, document))
    return shown


def _snapshot_fields(cluster: Cluster, document: Document) -> dict:
    volume = _volume_on(cluster, document)
    state = document["mcState"]
    if cluster.exported_to(document["gid"]) and state + "Exported" in MC_STATES:
        state += "Exported"
    fields = {
        "onVolume": name_of(volume) if volume else cluster.world.assume.no_on_volume,
        "autoName": document["autoName"],
        "bound": document["bound"],
        "deleted": document["deleted"],
        "destroyed": False,
        "transient": document["transient"],
        "recoveringFromRemote": document["recovering"],
        "deleteBlocked": _delete_blocked(cluster, document),
        "dematerializationStatus": "pending",
        "volumeMoveSource": False,
        "mcState": state,
        "mcStateVal": MC_STATES.index(state),
    }
    if document["deleteAt"]:
        fields["targetDeleteDate"] = document["deleteAt"]
    elif cluster.world.assume.no_delete_date == "zero":
        fields["targetDeleteDate"] = 0
    if document["createdFrom"]:
        fields["createdFromGlobalId"], fields["createdFromVisibleVolumeId"] = document["createdFrom"]
    if document["backupOf"]:
        fields["backup"] = True
        fields["backupOfGlobalId"], fields["backupOfVisibleVolumeId"] = document["backupOf"]
    return fields


def _volume_on(cluster: Cluster, snapshot: Document) -> Document | None:
    """The volume that the snapshot is the parent of: by preference the one it was made from, else the oldest."""
    volumes = [cluster.volumes[child] for child in cluster.children.get(snapshot["gid"], ()) if child in cluster.volumes]
    source = snapshot["createdFrom"][0] if snapshot["createdFrom"] else None
    return min(volumes, key=lambda volume: (volume["gid"] != source, volume["vid"], volume["gid"]), default=None)


def _delete_blocked(cluster: Cluster, document: Document) -> str:
    if not document["deleted"]:
        return "not blocked"
    if document["recovering"]:
        return "recovering from remote"
    return "multiple children" if len(cluster.children.get(document["gid"], ())) > 1 else "pending"


def encode_summary(cluster: Cluster, document: Document) -> bytes:
    return encode(checked("SnapshotSummary" if "bound" in document else "VolumeSummary", summary(cluster, document)))


def with_more(fragment: bytes, more: dict) -> bytes:
    """An encoded object with more fields at its end."""
    return fragment[:-1] + b"," + encode(more)[1:] if more else fragment


def whereabouts(cluster: Cluster, multi: bool) -> dict:
    """Multi-cluster listings tell the cluster of each object (sheet 4.4)."""
    return {"clusterName": cluster.name, "clusterId": cluster.id} if multi else {}


# Placement of the storage objects: invented, but the same for the same volume at any time.


def disk_sets(cluster: Cluster, document: Document) -> list[list[int]]:
    """One set of disks a chain: the head group, the group for all, the tail group, on different servers where possible."""
    groups = ([document["placeHead"]] + [document["placeAll"]] * 3)[: max(0, document["replication"] - 1)] + [document["placeTail"]]
    pools = [sorted(cluster.groups[name]["disks"]) for name in groups if name in cluster.groups]
    pools = [pool for pool in pools if pool]
    sets = []
    for chain in range(3):
        chosen: list[int] = []
        servers: set[int] = set()
        for copy, pool in enumerate(pools):
            order = pool[(chain + copy) % len(pool) :] + pool[: (chain + copy) % len(pool)]
            best = min(order, key=lambda disk: (disk in chosen, cluster.disks[str(disk)]["serverId"] in servers))
            chosen.append(best)
            servers.add(cluster.disks[str(best)]["serverId"])
        sets.append(chosen)
    return [chosen for number, chosen in enumerate(sets) if chosen not in sets[:number]]


def info(cluster: Cluster, document: Document) -> dict:
    sets, count = disk_sets(cluster, document), objects_count(document["size"])
    shares = [(one, len(range(number, count, len(sets)))) for number, one in enumerate(sets)]
    per_disk: dict[str, int] = {}
    for disks, share in shares:
        for disk in disks:
            per_disk[str(disk)] = per_disk.get(str(disk), 0) + share
    chains = [{"disks": disks, "count": share} for disks, share in shares if share]
    return {
        "disksCount": len([disk for disk, share in per_disk.items() if share]),
        "objectsPerDisk": per_disk,
        "objectsPerChain": chains,
        "objectsPerDiskSet": chains,
    }


def description(cluster: Cluster, document: Document) -> dict:
    sets = disk_sets(cluster, document)
    return {"objects": [sets[number % len(sets)] for number in range(objects_count(document["size"]))], "targetDiskSets": sets}


def quick_status(document: Document) -> dict:
    return {
        "status": "up",
        "snapshot": "bound" in document,
        "migrating": False,
        "decreasedRedundancy": False,
        "balancerBlocked": False,
        "syncingDataBytes": 0,
        "syncingMetaObjects": 0,
        "downBytes": 0,
        "upSoonChainsCount": 0,
        "downDrives": [],
        "missingDrives": [],
        "missingTargetDrives": [],
        "softEjectingDrives": [],
    }


def attachment(cluster: Cluster, document: Document, multi: bool) -> dict:
    """AttachmentDesc; the tags are those of the object (sheet 2.3)."""
    owner = cluster.owner_of(document["gid"])
    attached = owner.object(document["gid"]) if owner else None
    shown = {
        "client": document["client"],
        "volume": name_of(attached) if attached else "~" + document["gid"],
        "globalId": document["gid"],
        "pos": document["pos"],
        "rights": document["rights"],
        "snapshot": document["snapshot"],
        "tags": attached["tags"] if attached else {},
    }
    if multi:
        shown["cluster"], shown["clusterId"] = cluster.name, cluster.id
    return shown


def template(cluster: Cluster, document: Document) -> dict:
    """VolumeTemplateDesc."""
    parent = cluster.snapshots.get(document["parent"]) if document["parent"] else None
    return {
        "id": document["id"],
        "name": document["name"],
        "parentName": parent["name"] if parent else "",
        **{
            key: document[key]
            for key in ("placeAll", "placeHead", "placeTail", "replication", "size", "iops", "bw", "limitType", "reuseServer")
        },
    }
