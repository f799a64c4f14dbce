# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots and groups of them (sheet 2.1 Snapshots, 3.4)."""

from __future__ import annotations

from typing import Any

from .. import lifecycle, policy, views
from ..cluster import Cluster
from ..errors import invalid, missing
from ..store import Document
from .registry import Context, Encoded, change, first_argument, read
from .volumes import array, detailed, entry, rebase, renamed, space


@read("SnapshotsList")
def snapshots_list(context: Context) -> Encoded:
    return array([entry(context, cluster, one) for cluster in context.scope for one in cluster.snapshots.values()])


@read("SnapshotsSpace")
def snapshots_space(context: Context) -> Encoded:
    return array([entry(context, cluster, one, space(cluster, one)) for cluster in context.scope for one in cluster.snapshots.values()])


@read("Snapshot", first_argument)
def snapshot_list(context: Context, name: str) -> Encoded:
    """A list of one."""
    return array([entry(context, context.cluster, context.cluster.snapshot(name))])


@read("SnapshotDescribe", first_argument)
def snapshot_describe(context: Context, name: str) -> dict:
    return detailed(context, context.cluster.snapshot(name), views.description)


@read("SnapshotGetInfo", first_argument)
def snapshot_info(context: Context, name: str) -> dict:
    return detailed(context, context.cluster.snapshot(name), views.info)


@change("VolumeSnapshot", first_argument)
def snapshot_create(context: Context, name: str, body: dict) -> dict:
    cluster = context.cluster
    volume = cluster.volume(name)
    more: dict[str, Any] = {"deleteAt": lifecycle.delete_date(cluster, body), "bound": body.get("bind", False)}
    if "template" in body:
        more.update(policy.changed(cluster, volume, {"template": body["template"]}))
    snapshot = lifecycle.take_snapshot(cluster, volume, body.get("name"), body.get("tags"), **more)
    reply = {"snapshotGlobalId": snapshot["gid"], "snapshotVisibleVolumeId": snapshot["vid"]}
    if snapshot["autoName"] and snapshot["name"]:
        reply["autoName"] = snapshot["name"]
    return reply


@change("SnapshotUpdate", first_argument)
def snapshot_update(context: Context, name: str, body: dict) -> None:
    cluster = context.cluster
    snapshot = cluster.living_snapshot(name)
    gid = snapshot["gid"]
    fields = policy.changed(cluster, snapshot, body)
    fields.update(renamed(cluster, snapshot, body))
    if fields.get("name"):
        fields["autoName"] = False
    if "tags" in body:
        fields["tags"] = lifecycle.merged_tags(cluster, snapshot["tags"], body["tags"])
    if "bind" in body:
        fields["bound"] = body["bind"]
    fields["deleteAt"] = lifecycle.delete_date(cluster, body, snapshot["deleteAt"])
    snapshot = cluster.snapshots.change(gid, **fields)
    lifecycle.check_name_and_tags(cluster, snapshot["name"], snapshot["tags"])
    lifecycle.release(cluster, gid)


@change("SnapshotDelete", first_argument)
def snapshot_delete(context: Context, name: str, body: dict) -> None:
    lifecycle.delete_snapshot(context.cluster, context.cluster.living_snapshot(name))


@change("SnapshotDeleteById")
def snapshot_delete_by_id(context: Context, gid: str, body: dict) -> None:
    """The id comes without the "~" (rule global-id)."""
    lifecycle.delete_snapshot(context.cluster, context.cluster.living_snapshot("~" + gid))


@change("SnapshotRebase")
def snapshot_rebase(context: Context, name: str, body: dict) -> None:
    rebase(context.cluster, context.cluster.living_snapshot(name), body)


# Groups


def group_members(cluster: Cluster, names: list[str]) -> list[Document]:
    volumes = [cluster.volume(name) for name in names]
    if len({volume["gid"] for volume in volumes}) < len(volumes):
        raise invalid("volumes: a volume is named twice")
    return volumes


def _named_volumes(arguments: list, body: dict) -> list[str]:
    return [one["volume"] for one in body["volumes"]]


@change("VolumesGroupSnapshot", _named_volumes)
def group_snapshot(context: Context, body: dict) -> dict:
    """One transaction and one moment: all snapshots or none, and no write of ours comes between them (rule group-snapshot)."""
    cluster = context.cluster
    volumes = group_members(cluster, [one["volume"] for one in body["volumes"]])
    for volume in volumes:
        # What was written through devices before the call is in; copies come afterwards.
        cluster.world.devices.flush(cluster, volume["gid"])
    moment = cluster.world.clock.now()
    results = []
    for item, volume in zip(body["volumes"], volumes, strict=True):
        if item.get("name", "").startswith("*"):
            raise invalid(f"name: '{item['name']}' is a name that only the cluster gives")
        tags = {**body.get("tags", {}), **item.get("tags", {})}
        with cluster.world.clock.at(moment):
            snapshot = lifecycle.take_snapshot(cluster, volume, item.get("name"), tags)
        results.append(
            {
                "volume": views.name_of(volume),
                "volumeGlobalId": volume["gid"],
                "snapshot": views.name_of(snapshot),
                "snapshotGlobalId": snapshot["gid"],
                "remoteId": snapshot["gid"],
            }
        )
    return {"snapshots": results}


@change("SnapshotReconcile", first_argument)
def snapshot_reconcile(context: Context, name: str, body: dict) -> None:
    """Called on the remote cluster after a copy (sheet 2.2): the copy is looked at and found complete or under way."""
    if context.cluster.find_snapshot(name) is None:
        raise missing("Snapshot", name)
