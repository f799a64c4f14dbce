# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Volumes (sheet 2.1 Volumes, 3.2, 3.3)."""

from __future__ import annotations

from typing import Any

from .. import lifecycle, policy, views
from ..cluster import Cluster
from ..errors import ApiError, busy, invalid
from ..store import Document
from .registry import Context, Encoded, change, first_argument, read


def array(parts: list[bytes]) -> Encoded:
    return Encoded(b"[" + b",".join(parts) + b"]")


def entry(context: Context, cluster: Cluster, document: Document, more: dict | None = None) -> bytes:
    """One object of a listing."""
    return views.with_more(cluster.fragment(document), {**views.whereabouts(cluster, context.multi), **(more or {})})


def space(cluster: Cluster, document: Document) -> dict:
    payload = cluster.world.payload
    used = payload.freed_by_delete(cluster, document) if "bound" in document else payload.used(cluster, document)
    return {"spaceUsed": used, "storedSize": payload.stored(cluster, document)}


@read("VolumesList")
def volumes_list(context: Context) -> Encoded:
    return array([entry(context, cluster, one) for cluster in context.scope for one in cluster.volumes.values()])


@read("VolumesSpace")
def volumes_space(context: Context) -> Encoded:
    return array([entry(context, cluster, one, space(cluster, one)) for cluster in context.scope for one in cluster.volumes.values()])


@read("VolumesAndSnapshotsList")
def volumes_and_snapshots_list(context: Context) -> Encoded:
    parts = [
        entry(context, cluster, one, {"snapshot": "bound" in one})
        for cluster in context.scope
        for table in (cluster.volumes, cluster.snapshots)
        for one in table.values()
    ]
    return Encoded(b'{"ok":true,"volumes":' + array(parts) + b"}")


def _status(context: Context, full: bool) -> Encoded:
    """A map by name that mixes volumes and snapshots; a name that two clusters use is told apart by the globalId."""
    parts = []
    keys: set[str] = set()
    for cluster in context.scope:
        for table in (cluster.volumes, cluster.snapshots):
            for one in table.values():
                more = views.quick_status(one)
                if full:
                    stored = cluster.world.payload.stored(cluster, one)
                    more.update(storedSize=stored, onDiskSize=stored * one["replication"])
                key = views.name_of(one)
                if key in keys:
                    key = "~" + one["gid"]
                keys.add(key)
                parts.append(views.encode(key) + b":" + entry(context, cluster, one, more))
    return Encoded(b"{" + b",".join(parts) + b"}")


@read("VolumesGetStatus")
def volumes_status(context: Context) -> Encoded:
    return _status(context, True)


@read("VolumesGetStatusQuick")
def volumes_quick_status(context: Context) -> Encoded:
    return _status(context, False)


@read("Volume", first_argument)
def volume_list(context: Context, name: str) -> Encoded:
    """A list of one."""
    return array([entry(context, context.cluster, context.cluster.volume(name))])


@read("VolumeDescribe", first_argument)
def volume_describe(context: Context, name: str) -> dict:
    cluster = context.cluster
    return detailed(context, cluster.volume(name), views.description)


@read("VolumeGetInfo", first_argument)
def volume_info(context: Context, name: str) -> dict:
    return detailed(context, context.cluster.volume(name), views.info)


def detailed(context: Context, document: Document, more: Any) -> dict:
    cluster = context.cluster
    return {**views.summary(cluster, document), **views.whereabouts(cluster, context.multi), **more(cluster, document)}


@read("VolumeListSnapshots")
def volume_list_snapshots(context: Context, name: str) -> Encoded:
    """The parents of the volume, the nearest first."""
    cluster = context.cluster
    parts, parent = [], cluster.volume(name)["parent"]
    while parent:
        snapshot = cluster.snapshots[parent]
        parts.append(cluster.fragment(snapshot))
        parent = snapshot["parent"]
    return array(parts)


# Create


def _named_bases(arguments: list, body: dict) -> list[str]:
    return [body[key] for key in ("parent", "baseOn") if key in body]


@change("VolumeCreate", _named_bases)
def volume_create(context: Context, body: dict) -> dict:
    """Empty, from a snapshot (`parent`), or from a volume through a transient snapshot (`baseOn`)."""
    cluster = context.cluster
    policy.refuse_both(body, "parent", "baseOn")
    name = body.get("name", "")
    if name:
        cluster.free_name(name)
    base: Document | None = None
    if "parent" in body:
        base = cluster.living_snapshot(body["parent"])
    elif "baseOn" in body:
        base = cluster.volume(body["baseOn"])
    template = policy.template_for(cluster, body, base)
    if base is None and template is not None and template["parent"]:
        base = cluster.snapshots[template["parent"]]
    fields = policy.resolve(cluster, body, template, base)
    size = _size(cluster, body, template, base)

    reply: dict[str, Any] = {}
    parent = base
    if base is not None and "baseOn" in body:
        until = cluster.world.clock.now() + cluster.world.assume.transient_lifetime
        parent = lifecycle.take_snapshot(cluster, base, transient=True, until=until)
        reply["autoName"] = parent["name"]
    tags = lifecycle.merged_tags(cluster, {}, body.get("tags"))
    lifecycle.check_name_and_tags(cluster, name, tags)
    volume = lifecycle.new_volume(cluster, name, size, parent, fields, tags)
    if parent is not None:
        _inherit_bytes(cluster, parent, volume)
    return {"name": views.name_of(volume), "globalId": volume["gid"], **reply}


def _size(cluster: Cluster, body: dict, template: Document | None, base: Document | None) -> int:
    """From the request, else the template, else the parent or source (rule create-defaults)."""
    size = body.get("size")
    if size is None and template is not None and template["size"] != "-":
        size = template["size"]
    if size is None and base is not None:
        size = base["size"]
    if size is None:
        raise invalid("size: required when neither a template nor a parent supplies it")
    if base is not None and size < base["size"] and cluster.world.assume.smaller_than_parent == "refuse":
        raise invalid(f"size: {size} is smaller than the parent's {base['size']}")
    policy.check_size(cluster, size)
    return size


def _inherit_bytes(cluster: Cluster, parent: Document, volume: Document) -> None:
    cluster.world.payload.share(cluster, parent["gid"], cluster, volume["gid"])
    if volume["size"] < parent["size"]:
        cluster.world.payload.resize(cluster, {**volume, "size": parent["size"]}, volume["size"])


# Change


@change("VolumeUpdate", first_argument)
def volume_update(context: Context, name: str, body: dict) -> dict:
    cluster = context.cluster
    volume = cluster.volume(name)
    gid = volume["gid"]
    fields = policy.changed(cluster, volume, body)
    fields.update(renamed(cluster, volume, body))
    size = _new_size(cluster, volume, body)
    if size != volume["size"]:
        cluster.world.payload.resize(cluster, volume, size)
        fields["size"] = size
    if "tags" in body:
        fields["tags"] = lifecycle.merged_tags(cluster, volume["tags"], body["tags"])
    volume = cluster.volumes.change(gid, **fields)
    lifecycle.check_name_and_tags(cluster, volume["name"], volume["tags"])
    return {"name": views.name_of(volume)} if cluster.world.assume.update_reply_name else {}


def renamed(cluster: Cluster, document: Document, body: dict) -> dict:
    """An empty name makes the object anonymous (sheet 2.3)."""
    name = body.get("rename")
    if name is None or name == document["name"]:
        return {}
    if not cluster.world.assume.rename_attached and cluster.attachments_of(document["gid"]):
        raise busy(f"cannot rename '{views.name_of(document)}': it is attached")
    cluster.free_name(name, document["gid"])
    return {"name": name}


def _new_size(cluster: Cluster, volume: Document, body: dict) -> int:
    """Rules size-update and resize-online."""
    policy.refuse_both(body, "size", "sizeAdd")
    size = body.get("size", volume["size"] + body.get("sizeAdd", 0))
    if size < volume["size"] and not body.get("shrinkOk"):
        raise ApiError(cluster.world.assume.shrink_name, f"size: {size} is below the present {volume['size']}; shrinkOk is not set")
    policy.check_size(cluster, size)
    return size


@change("VolumeDelete", first_argument)
def volume_delete(context: Context, name: str, body: dict) -> None:
    cluster = context.cluster
    volume = cluster.volume(name)
    lifecycle.detach_all(cluster, volume, body.get("onAttached", cluster.world.assume.on_attached), "delete")
    lifecycle.remove_volume(cluster, volume)


@change("VolumeFreeze", first_argument)
def volume_freeze(context: Context, name: str, body: dict) -> None:
    """The volume becomes a snapshot under the same name and globalId (rule freeze)."""
    cluster = context.cluster
    volume = cluster.volume(name)
    lifecycle.detach_all(cluster, volume, "fail", "freeze")
    kept = {key: volume[key] for key in ("gid", "vid", "name", "parent", "originalParent", "created", "tags")}
    snapshot = lifecycle.snapshot_document(volume, **kept, deleteAt=lifecycle.delete_date(cluster, body))
    cluster.volumes.drop(volume["gid"])
    cluster.snapshots.put(snapshot["gid"], snapshot)


@change("VolumeRebase")
def volume_rebase(context: Context, name: str, body: dict) -> None:
    rebase(context.cluster, context.cluster.volume(name), body)


def rebase(cluster: Cluster, document: Document, body: dict) -> None:
    """Onto an ancestor, or onto nothing; the contents stay."""
    wanted = body.get("parentName")
    target = cluster.living_snapshot(wanted)["gid"] if wanted else ""
    ancestor = document["parent"]
    while ancestor and ancestor != target:
        ancestor = cluster.snapshots[ancestor]["parent"]
    if target and not ancestor:
        raise invalid(f"parentName: '{wanted}' is not an ancestor of '{views.name_of(document)}'")
    lifecycle.reparent(cluster, document, target)


@change("VolumeRevert", first_argument)
def volume_revert(context: Context, name: str, body: dict) -> None:
    """Any local snapshot will do; name, globalId and tags stay (rule revert)."""
    cluster = context.cluster
    assume = cluster.world.assume
    volume = cluster.volume(name)
    snapshot = cluster.living_snapshot(body["toSnapshot"])
    if assume.revert_attached == "busy":
        lifecycle.detach_all(cluster, volume, "fail", "revert")
    size = snapshot["size"] if body.get("revertSize") else volume["size"]
    fields: dict[str, Any] = {"size": size, "parent": snapshot["gid"]}
    if assume.revert_limits == "snapshot":
        fields.update({key: snapshot[key] for key in lifecycle.POLICY})
    cluster.world.payload.revert(cluster, volume, snapshot, size)
    cluster.volumes.change(volume["gid"], **fields)
    if volume["parent"] != snapshot["gid"]:
        lifecycle.release(cluster, volume["parent"])
