# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Volumes and snapshots that go from one cluster of a location to another (sheet 3.5, 4.4)."""

from __future__ import annotations

from .. import lifecycle
from ..cluster import Cluster
from ..errors import busy, invalid, missing
from ..store import Document
from ..views import name_of
from .registry import Context, change, first_argument, read


def _other_cluster(cluster: Cluster, body: dict) -> Cluster:
    """The `cluster` or `clusterId` of a request: another cluster of the same location."""
    name, identifier = body.get("cluster"), body.get("clusterId")
    if (name is None) == (identifier is None):
        raise invalid("cluster: give either cluster or clusterId")
    for one in cluster.neighbours():
        if name == one.name or identifier == one.id:
            if one is cluster:
                raise invalid(f"cluster: '{one.name}' is the cluster itself")
            return one
    raise missing("Cluster", name or identifier)


def _carry(source: Cluster, target: Cluster, document: Document, parent: str, **fields: object) -> Document:
    """The object as the target has it: same globalId and bytes; templates and groups are matched by name."""
    if document["name"]:
        target.free_name(document["name"], document["gid"])
    template = source.template_of(document)
    number = target.template_names.get(template["name"], 0) if template else 0
    places = {key: document[key] if document[key] in target.groups else "default" for key in ("placeAll", "placeTail", "placeHead")}
    carried = {**document, **places, "template": number, "parent": parent, **fields}
    target.put_object(carried)
    source.world.payload.share(source, document["gid"], target, document["gid"])
    return carried


def _needed(cluster: Cluster, document: Document) -> bool:
    """Others here are built on the snapshot, or another location may copy it."""
    gid = document["gid"]
    return bool(cluster.children.get(gid) or cluster.exported_to(gid))


def _going(snapshot: Document) -> bool:
    """On its way out, so it is not taken along; its data is in its children anyway."""
    return snapshot["deleted"] or snapshot["transient"]


def _carry_chain(source: Cluster, target: Cluster, gid: str, alone: bool) -> tuple[str, list[Document]]:
    """The parents go along. One that others need too stays, and the target gets a copy of it.

    `alone`: the object itself leaves, so it does not need its parent here any more.
    """
    chain = []
    while gid:
        snapshot = source.snapshots[gid]
        if gid in target.snapshots:
            break
        chain.append(snapshot)
        gid = snapshot["parent"]
    leaving = []
    only = alone
    for snapshot in chain:
        only = only and len(source.children.get(snapshot["gid"], ())) == 1 and not source.attachments_of(snapshot["gid"])
        only = only and not source.exported_to(snapshot["gid"]) and not _going(snapshot)
        if only:
            leaving.append(snapshot)
    parent = gid
    for snapshot in reversed(chain):
        if not _going(snapshot):
            state = "owner" if snapshot in leaving else "slaveCopy"
            _carry(source, target, snapshot, parent, mcState=state, originalParent=0)
            parent = snapshot["gid"]
    return parent, leaving


def _move(source: Cluster, target: Cluster, document: Document, on_attached: str) -> Document:
    gid = document["gid"]
    # Clusters that go on using the volume, wherever it is.
    users = {one["cluster"] for one in source.volume_exports.values() if one["gid"] == gid}
    if on_attached == "export":
        users.update(one.name for one, _unused in source.attachments_of(gid))
    else:
        lifecycle.detach_all(source, document, on_attached, "move")
    if _needed(source, document):
        parent, _unused = _carry_chain(source, target, document["parent"], False)
        moved = _carry(source, target, document, parent, mcState="owner")
        source.snapshots.change(document["gid"], mcState="slaveCopy")
    else:
        parent, leaving = _carry_chain(source, target, document["parent"], True)
        moved = _carry(source, target, document, parent, **({"mcState": "owner"} if "bound" in document else {}))
        for one in (document, *leaving):
            lifecycle.take_away(source, one)
        lifecycle.release(source, leaving[-1]["parent"] if leaving else document["parent"])
    for user in sorted(users - {target.name}):
        target.volume_exports.put(f"{gid}/{user}", {"gid": gid, "cluster": user})
    attachments = target.attachments_of(gid)
    if attachments:
        target.world.payload.prepare_device(target, moved, any(one["rights"] == "rw" for _unused, one in attachments))
    return moved


def move_volume(source: Cluster, target: Cluster, volume: Document, on_attached: str) -> Document:
    return _move(source, target, volume, on_attached)


@change("VolumeMoveToRemote", first_argument)
def volume_move(context: Context, name: str, body: dict) -> None:
    volume = context.cluster.volume(name)
    _move(context.cluster, _other_cluster(context.cluster, body), volume, body.get("onAttached", "fail"))


@change("SnapshotMoveToRemote", first_argument)
def snapshot_move(context: Context, name: str, body: dict) -> None:
    """What is built on it, or exported, stays here on a copy of it."""
    cluster = context.cluster
    snapshot = cluster.living_snapshot(name)
    target = _other_cluster(cluster, body)
    if snapshot["gid"] in target.snapshots:
        raise busy(f"cannot move '{name_of(snapshot)}': cluster '{target.name}' has a copy")
    _move(cluster, target, snapshot, body.get("onAttached", "fail"))


@change("VolumeAcquire")
def volume_acquire(context: Context, name: str, body: dict) -> None:
    """Pulls a volume to this cluster; no effect when it is here."""
    cluster = context.cluster
    if cluster.find_volume(name) is not None:
        return
    for one in cluster.neighbours()[1:]:
        volume = one.find_volume(name)
        if volume is not None:
            _move(one, cluster, volume, body.get("onRemoteAttached", cluster.world.assume.acquire_attached))
            return
    raise missing("Volume", name)


@change("VolumeExport")
def volume_export(context: Context, name: str, body: dict) -> None:
    """Another cluster of the location may attach the volume; its data stays here."""
    cluster = context.cluster
    volume = cluster.volume(name)
    target = _other_cluster(cluster, body)
    cluster.volume_exports.put(f"{volume['gid']}/{target.name}", {"gid": volume["gid"], "cluster": target.name})


@read("VolumeExportsList")
def volume_exports_list(context: Context) -> dict:
    cluster = context.cluster
    exports = []
    for one in cluster.volume_exports.values():
        volume = cluster.volumes[one["gid"]]
        shown = {"globalId": volume["gid"], "snapshot": name_of(volume), "location": cluster.location}
        exports.append({**shown, "visibleVolumeId": volume["vid"], "volumeId": volume["vid"]})
    return {"exports": exports}


@read("VolumesRemoteList")
def volumes_remote_list(context: Context) -> dict:
    """Volumes that other clusters of the location export to this one."""
    cluster = context.cluster
    volumes = []
    for one in cluster.neighbours()[1:]:
        for export in one.volume_exports.values():
            if export["cluster"] == cluster.name:
                volume = one.volumes[export["gid"]]
                volumes.append(
                    {
                        "name": name_of(volume),
                        "remoteId": volume["gid"],
                        "location": one.location,
                        "size": volume["size"],
                        "creationTimestamp": volume["created"],
                        "tags": volume["tags"],
                    }
                )
    return {"volumes": volumes}
