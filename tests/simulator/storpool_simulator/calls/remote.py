# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Other locations: who they are, exports, copies and backups (sheet 2.1 Remote, 3.5, 3.11)."""

from __future__ import annotations

from typing import Any

from .. import lifecycle, policy
from ..cluster import Cluster
from ..errors import ApiError, busy, exists, invalid, missing
from ..store import Document
from ..topology import BUFFER
from ..views import name_of
from .registry import Context, change, read
from .snapshots import group_members

# Locations, clusters, bridges


@read("LocationsList")
def locations_list(context: Context) -> dict:
    return {"locations": context.cluster.locations.values()}


def _location(cluster: Cluster, name: str) -> Document:
    location = cluster.locations.get(name)
    if location is None:
        raise missing("Location", name)
    return location


def _in_use(cluster: Cluster, what: str, name: str, users: list) -> None:
    if users:
        raise ApiError(cluster.world.assume.in_use_name, f"{what} '{name}' is in use")


@change("LocationAdd")
def location_add(context: Context, body: dict) -> None:
    cluster = context.cluster
    if body["name"] in cluster.locations:
        raise exists("Location", body["name"])
    if any(one["id"] == body["id"] for one in cluster.locations.values()):
        raise exists("Location with id", body["id"])
    cluster.locations.put(body["name"], {"id": body["id"], "name": body["name"], "recvBufferSize": BUFFER, "sendBufferSize": BUFFER})


@change("LocationRemove")
def location_remove(context: Context, body: dict) -> None:
    cluster = context.cluster
    name = body["location"]
    _location(cluster, name)
    users = [
        one for table in (cluster.bridges, cluster.remote_clusters, cluster.exports) for one in table.values() if one["location"] == name
    ]
    _in_use(cluster, "Location", name, users)
    cluster.locations.drop(name)


@change("LocationUpdate")
def location_update(context: Context, body: dict) -> None:
    cluster = context.cluster
    _location(cluster, body["location"])
    cluster.locations.change(body["location"], **{key: body[key] for key in ("recvBufferSize", "sendBufferSize") if key in body})


@change("LocationRename")
def location_rename(context: Context, body: dict) -> None:
    """What refers to the location follows."""
    cluster = context.cluster
    old, new = body["location"], body["name"]
    location = _location(cluster, old)
    if old == new:
        return
    if new in cluster.locations:
        raise exists("Location", new)
    cluster.locations.drop(old)
    cluster.locations.put(new, {**location, "name": new})
    for table in (cluster.bridges, cluster.remote_clusters, cluster.exports):
        for key, one in table.items():
            if one["location"] == old:
                more = {"remote": new} if one.get("remote") == old else {}
                table.change(key, location=new, **more)


@read("ClustersList")
def clusters_list(context: Context) -> dict:
    return {"clusters": context.cluster.remote_clusters.values()}


@change("ClusterAdd")
def cluster_add(context: Context, body: dict) -> None:
    cluster = context.cluster
    location = _location(cluster, body["location"])
    name = body.get("name", f"{location['id']}.{body['id']}")
    if name in cluster.remote_clusters:
        raise exists("Cluster", name)
    if any((one["id"], one["location"]) == (body["id"], body["location"]) for one in cluster.remote_clusters.values()):
        raise exists("Cluster with id", body["id"])
    cluster.remote_clusters.put(name, {"id": body["id"], "location": body["location"], "name": name})


def _remote_cluster(cluster: Cluster, name: str) -> Document:
    document = cluster.remote_clusters.get(name)
    if document is None:
        raise missing("Cluster", name)
    return document


@change("ClusterRemove")
def cluster_remove(context: Context, body: dict) -> None:
    """By name, or by location and id."""
    cluster = context.cluster
    if "name" in body:
        document = _remote_cluster(cluster, body["name"])
    elif "id" in body and "location" in body:
        wanted = (body["id"], body["location"])
        found = [one for one in cluster.remote_clusters.values() if (one["id"], one["location"]) == wanted]
        if not found:
            raise missing("Cluster", ".".join(wanted))
        document = found[0]
    else:
        raise invalid("name: give a name, or location and id")
    name = document["name"]
    if name == cluster.name:
        raise invalid(f"name: '{name}' is the cluster itself")
    if not body.get("clusterWillNotBeComingBack"):
        _in_use(cluster, "Cluster", name, [one for one in cluster.bridges.values() if one.get("cluster") == name])
    cluster.remote_clusters.drop(name)


@change("ClusterRename")
def cluster_rename(context: Context, body: dict) -> None:
    cluster = context.cluster
    old, new = body["cluster"], body["name"]
    document = _remote_cluster(cluster, old)
    if old == new:
        return
    if new in cluster.remote_clusters:
        raise exists("Cluster", new)
    cluster.remote_clusters.drop(old)
    cluster.remote_clusters.put(new, {**document, "name": new})
    for key, one in cluster.bridges.items():
        if one.get("cluster") == old:
            cluster.bridges.change(key, cluster=new, remote=new)


@read("RemoteBridgesList")
def remote_bridges_list(context: Context) -> dict:
    return {"remoteBridges": context.cluster.bridges.values()}


@change("RemoteBridgeAdd")
def remote_bridge_add(context: Context, body: dict) -> None:
    """For a location, or for another cluster of the own one."""
    cluster = context.cluster
    if body["ip"] in cluster.bridges:
        raise exists("Bridge", body["ip"])
    bridge = {"minimumDeleteDelay": 0, "noCrypto": False, **body}
    if "location" in body:
        bridge["remote"] = _location(cluster, body["location"])["name"]
    else:
        remote = _remote_cluster(cluster, body["remote"])
        bridge.update(location=remote["location"], cluster=remote["name"])
    cluster.bridges.put(body["ip"], bridge)


@change("RemoteBridgeRemove")
def remote_bridge_remove(context: Context, body: dict) -> None:
    cluster = context.cluster
    if body["ip"] not in cluster.bridges:
        raise missing("Bridge", body["ip"])
    cluster.bridges.drop(body["ip"])


# Who is on the other side


def _far_side(cluster: Cluster, name: str) -> list[Cluster]:
    """The clusters of the named remote location; they can be reached only over a bridge."""
    location = _location(cluster, name)
    if location["id"] == cluster.location_id:
        raise invalid(f"location: '{name}' is the location of the cluster itself")
    clusters = cluster.world.by_location(location["id"])
    if not clusters or not any(one["location"] == name for one in cluster.bridges.values()):
        raise busy(f"there is no connection to location '{name}'")
    return clusters


def _name_of_location(cluster: Cluster, location_id: str) -> str | None:
    """What a cluster calls another location; None when it does not know it."""
    return next((one["name"] for one in cluster.locations.values() if one["id"] == location_id), None)


def _far_sides(cluster: Cluster) -> list[tuple[str, Cluster]]:
    """All clusters of other locations, each with the name its location has here."""
    return [
        (one["name"], far)
        for one in cluster.locations.values()
        if one["id"] != cluster.location_id
        for far in cluster.world.by_location(one["id"])
    ]


def _exports_to(far: Cluster, near: Cluster) -> list[Document]:
    """What a cluster of another location exports to ours."""
    ours = _name_of_location(far, near.location_id)
    return [one for one in far.exports.values() if one["location"] == ours]


# Exports


def _export(cluster: Cluster, snapshot: Document, location: str, backing_up: bool = False) -> None:
    key = f"{snapshot['gid']}/{location}"
    if key not in cluster.exports:
        cluster.exports.put(key, {"key": key, "gid": snapshot["gid"], "location": location, "backingUp": backing_up})


@change("SnapshotExport")
def snapshot_export(context: Context, body: dict) -> None:
    cluster = context.cluster
    snapshot = cluster.living_snapshot(body["snapshot"])
    _far_side(cluster, body["location"])
    if snapshot["transient"]:
        raise invalid(f"snapshot: '{body['snapshot']}' is transient")
    _export(cluster, snapshot, body["location"])


@change("SnapshotUnexport")
def snapshot_unexport(context: Context, body: dict) -> None:
    cluster = context.cluster
    snapshot = cluster.snapshot(body["snapshot"])
    policy.refuse_both(body, "all", "location")
    if not body.get("all") and "location" not in body:
        raise invalid("location: give a location, or all")
    exports = [one for one in cluster.exported_to(snapshot["gid"]) if body.get("all") or one["location"] == body["location"]]
    if not exports and not body.get("all") and context.world.assume.unexport_missing == "error":
        raise missing(f"Export to '{body['location']}' of snapshot", body["snapshot"])
    for one in exports:
        if not body.get("force") and _still_copying(cluster, one):
            raise busy(f"Snapshot '{body['snapshot']}' is still being copied by '{one['location']}'")
        cluster.exports.drop(one["key"])
    lifecycle.release(cluster, snapshot["gid"])


def _still_copying(cluster: Cluster, export: Document) -> bool:
    location = cluster.locations.get(export["location"])
    far = cluster.world.by_location(location["id"]) if location else []
    return any(export["gid"] in one.snapshots and one.snapshots[export["gid"]]["recovering"] for one in far)


@read("ExportsList")
def exports_list(context: Context) -> dict:
    cluster = context.cluster
    exports = []
    for one in cluster.exports.values():
        snapshot = cluster.snapshots[one["gid"]]
        shown = {"globalId": one["gid"], "snapshot": name_of(snapshot), "location": one["location"], "backingUp": one["backingUp"]}
        exports.append({**shown, "visibleVolumeId": snapshot["vid"], "volumeId": snapshot["vid"]})
    return {"exports": exports}


@read("SnapshotsRemoteList")
def snapshots_remote_list(context: Context) -> dict:
    """Snapshots that other locations export to this one."""
    cluster = context.cluster
    snapshots = []
    for location, far in _far_sides(cluster):
        for export in _exports_to(far, cluster):
            snapshot = far.snapshots[export["gid"]]
            shown: dict[str, Any] = {
                # The table has no room for the "@" and "*" of names that nobody gave.
                "name": "~" + snapshot["gid"] if set(snapshot["name"]) & set("@*") else name_of(snapshot),
                "remoteId": snapshot["gid"],
                "location": location,
                "size": snapshot["size"],
                "creationTimestamp": snapshot["created"],
                "tags": snapshot["tags"],
            }
            origin = snapshot["backupOf"] or snapshot["createdFrom"]
            if origin:
                shown["createdFromGlobalId"], shown["createdFromVisibleVolumeId"] = origin
                volume = cluster.volumes.get(origin[0])
                if volume is not None:
                    shown["onVolume"] = name_of(volume)
            local = cluster.snapshots.get(snapshot["gid"])
            if local is not None:
                shown["localSnapshot"] = name_of(local)
            snapshots.append(shown)
    return {"snapshots": snapshots}


@change("SnapshotsRemoteUnexport")
def snapshots_remote_unexport(context: Context, body: dict) -> None:
    """Lets go of what another location exports to us; a date makes that side delete it, the bridge's delay being the least."""
    cluster = context.cluster
    for item in body.get("remoteSnapshots", []):
        clusters = _far_side(cluster, item["location"])
        gid = item["globalSnapshotId"]
        found = [(far, one) for far in clusters for one in _exports_to(far, cluster) if one["gid"] == gid]
        if not found:
            raise missing("Remote snapshot", gid)
        far, export = found[0]
        local = cluster.snapshots.get(gid)
        if local is not None and local["recovering"]:
            raise busy(f"Remote snapshot '{gid}' is still being copied")
        far.exports.drop(export["key"])
        date = lifecycle.delete_date(cluster, item)
        if date:
            ours = _name_of_location(far, cluster.location_id)
            delays = [one["minimumDeleteDelay"] for one in far.bridges.values() if one["location"] == ours]
            least = cluster.world.clock.seconds() + max(delays, default=0)
            far.snapshots.change(gid, deleteAt=max(date, least))
        lifecycle.release(far, gid)


# Copies from elsewhere


def _remote_snapshot(cluster: Cluster, location: str, gid: str) -> tuple[Cluster, Document]:
    for far in _far_side(cluster, location):
        if any(one["gid"] == gid for one in _exports_to(far, cluster)):
            return far, far.snapshots[gid]
    raise missing(f"Snapshot exported by '{location}'", gid)


def _copy(near: Cluster, far: Cluster, snapshot: Document, fields: dict, **more: Any) -> Document:
    """The copy has the remote globalId, and its data arrives in the background (rule from-remote)."""
    world = near.world
    copy = {
        **lifecycle.snapshot_document(
            {"size": snapshot["size"], **fields},
            gid=snapshot["gid"],
            vid=near.new_number(),
            created=world.clock.seconds(),
            recovering=True,
            until=world.clock.now() + world.assume.copy_delay,
            createdFrom=snapshot["createdFrom"],
            mcState="clusterLocal",
        ),
        **more,
    }
    near.snapshots.put(copy["gid"], copy)
    # Reads of what is still under way are served by the other side, so the bytes may be there at once.
    world.payload.share(far, snapshot["gid"], near, copy["gid"])
    return copy


def _local_policy(cluster: Cluster, body: dict) -> dict:
    return policy.resolve(cluster, body, policy.template_for(cluster, body, None), None)


@change("SnapshotFromRemote")
def snapshot_from_remote(context: Context, body: dict) -> None:
    cluster = context.cluster
    name, gid = body.get("name", ""), body["remoteId"]
    far, snapshot = _remote_snapshot(cluster, body["remoteLocation"], gid)
    if cluster.object(gid) is not None:
        raise exists("Snapshot", "~" + gid)
    cluster.free_name(name)
    tags = lifecycle.merged_tags(cluster, {}, body.get("tags"))
    lifecycle.check_name_and_tags(cluster, name, tags)
    copy = _copy(cluster, far, snapshot, _local_policy(cluster, body), name=name, autoName=not name, tags=tags)
    if body.get("export"):
        _export(cluster, copy, body["remoteLocation"])


@change("VolumeFromRemote")
def volume_from_remote(context: Context, body: dict) -> None:
    """A volume on a copy that goes away with its last child; a copy that is here already serves."""
    cluster = context.cluster
    far, snapshot = _remote_snapshot(cluster, body["remoteLocation"], body["remoteId"])
    cluster.free_name(body["name"])
    tags = lifecycle.merged_tags(cluster, {}, body.get("tags"))
    lifecycle.check_name_and_tags(cluster, body["name"], tags)
    fields = _local_policy(cluster, body)
    parent = cluster.snapshots.get(snapshot["gid"])
    if parent is None or parent["deleted"]:
        if cluster.object(snapshot["gid"]) is not None:
            raise exists("Object", "~" + snapshot["gid"])
        parent = _copy(cluster, far, snapshot, fields, name="", autoName=True, bound=True)
    volume = lifecycle.new_volume(cluster, body["name"], parent["size"], parent, fields, tags)
    cluster.world.payload.share(cluster, parent["gid"], cluster, volume["gid"])
    if body.get("export"):
        _export(cluster, parent, body["remoteLocation"])


# Backups


def _backup(cluster: Cluster, volume: Document, location: str, tags: dict) -> Document:
    """A snapshot of the volume is copied to the other location, which exports it back to us; ours goes when the copy is complete."""
    far = _far_side(cluster, location)[0]
    snapshot = lifecycle.take_snapshot(cluster, volume)
    _export(cluster, snapshot, location, backing_up=True)
    ours = _name_of_location(far, cluster.location_id)
    if ours is None:
        raise busy(f"location '{location}' does not know this one")
    copy = _copy(
        far,
        cluster,
        snapshot,
        policy.resolve(far, {}, None, None),
        name="",
        autoName=True,
        tags=lifecycle.merged_tags(far, {}, tags),
        backupOf=[volume["gid"], volume["vid"]],
        copyOf=cluster.name,
    )
    _export(far, copy, ours)
    return snapshot


@change("VolumeBackup", lambda arguments, body: [body["volume"]])
def volume_backup(context: Context, body: dict) -> dict:
    cluster = context.cluster
    snapshot = _backup(cluster, cluster.volume(body["volume"]), body["location"], body.get("tags", {}))
    reply = {"remoteId": snapshot["gid"], "globalId": snapshot["gid"]}
    if snapshot["name"]:
        reply["autoName"] = snapshot["name"]
    return reply


@change("VolumesGroupBackup", lambda arguments, body: body["volumes"])
def volumes_group_backup(context: Context, body: dict) -> dict:
    cluster = context.cluster
    backups = {}
    for volume in group_members(cluster, body.get("volumes", [])):
        snapshot = _backup(cluster, volume, body["location"], body.get("tags", {}))
        backups[name_of(volume)] = {"remoteId": snapshot["gid"], "snapshotGlobalId": snapshot["gid"]}
    return {"backups": backups}
