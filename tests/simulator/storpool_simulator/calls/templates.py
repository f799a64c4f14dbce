# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Templates and placement groups (sheet 2.1, 3.7, 3.8)."""

from __future__ import annotations

from typing import Any

from .. import policy, views
from ..cluster import Cluster
from ..errors import ApiError, exists, invalid, missing
from ..store import Document
from ..topology import AG_SIZE
from .registry import Context, change, read


@read("VolumeTemplatesList")
def templates_list(context: Context) -> list:
    cluster = context.cluster
    return [views.template(cluster, one) for one in cluster.templates.values()]


@read("VolumeTemplateDescribe")
def template_describe(context: Context, name: str) -> dict:
    return views.template(context.cluster, context.cluster.template(name))


@read("VolumeTemplatesStatus")
def templates_status(context: Context) -> list:
    return status_of(context.cluster)


def status_of(cluster: Cluster) -> list:
    objects: dict[int, list[Document]] = {}
    for table in (cluster.volumes, cluster.snapshots):
        for one in table.values():
            objects.setdefault(one["template"], []).append(one)
    stored = {one["gid"]: cluster.world.payload.stored(cluster, one) for ones in objects.values() for one in ones}
    taken = _taken(cluster, objects, stored)
    return [_status(cluster, one, objects.get(one["id"], []), stored, taken) for one in cluster.templates.values()]


def _taken(cluster: Cluster, objects: dict[int, list[Document]], stored: dict[str, int]) -> dict[str, int]:
    """Bytes taken on the disks of each placement group: one copy on the tail's, the rest on the others'."""
    taken: dict[str, int] = dict.fromkeys(cluster.groups, 0)
    for ones in objects.values():
        for one in ones:
            taken[one["placeTail"]] += stored[one["gid"]]
            taken[one["placeAll"]] += stored[one["gid"]] * (one["replication"] - 1)
    return taken


def _group_space(cluster: Cluster, group: str, taken: dict[str, int]) -> tuple[int, int]:
    """Capacity and free bytes of a group, before replication."""
    disks = [cluster.disks[str(disk)] for disk in cluster.groups[group]["disks"]]
    capacity = sum(disk["agCount"] for disk in disks) * AG_SIZE
    return capacity, max(0, capacity - taken[group])


def _status(cluster: Cluster, template: Document, objects: list[Document], stored: dict[str, int], taken: dict[str, int]) -> dict:
    volumes = [one for one in objects if "bound" not in one]
    snapshots = [one for one in objects if "bound" in one]
    parents = [one for one in snapshots if cluster.children.get(one["gid"])]
    sizes = {
        name: sum(one["size"] for one in ones) for name, ones in (("volumes", volumes), ("snapshots", snapshots), ("parents", parents))
    }
    copies = template["replication"] if template["replication"] != "-" else cluster.world.assume.default_replication
    shown: dict[str, Any] = {
        "id": template["id"],
        "name": template["name"],
        "replication": template["replication"],
        "volumesCount": len(volumes),
        "snapshotsCount": len(snapshots),
        "removingSnapshotsCount": sum(one["deleted"] for one in snapshots),
        "size": sizes["volumes"],
        "totalSize": sizes["volumes"] + sizes["snapshots"],
        "volumesSize": sizes["volumes"],
        "snapshotsWithChildrenSize": sizes["parents"],
        "snapshotsWithoutChildrenSize": sizes["snapshots"] - sizes["parents"],
        "storedSize": sum(stored[one["gid"]] for one in objects),
        "onDiskSize": sum(stored[one["gid"]] * one["replication"] for one in objects),
    }
    estimates = {}
    for place in policy.PLACEMENT:
        capacity, free = _group_space(cluster, template[place], taken)
        shown[place] = template[place]
        shown["capacity" + place[0].upper() + place[1:]] = capacity
        shown["available" + place[0].upper() + place[1:]] = free
        share = copies - 1 if place == "placeAll" and copies > 1 else 1
        estimates[place] = {"capacity": capacity // share, "free": free // share}
    shown["stored"] = {
        "capacity": min(one["capacity"] for one in estimates.values()),
        "free": min(one["free"] for one in estimates.values()),
        **estimates,
    }
    return shown


@change("VolumeTemplateCreate")
def template_create(context: Context, body: dict) -> None:
    """Tags are accepted, as the table has them, and have no effect: no answer shows any and no source tells one."""
    cluster = context.cluster
    name = body["name"]
    if name in cluster.template_names:
        raise exists("Template", name)
    place_all = body.get("placeAll", "default")
    number = max((one["id"] for one in cluster.templates.rows.values()), default=0) + 1
    document = {
        "id": number,
        "name": name,
        "placeAll": place_all,
        "placeTail": body.get("placeTail", place_all),
        "placeHead": body.get("placeHead", place_all),
        "replication": body.get("replication", "-"),
        "size": body.get("size", "-"),
        "iops": body.get("iops", "-"),
        "bw": body.get("bw", "-"),
        "limitType": body.get("limitType", "total"),
        "reuseServer": body.get("reuseServer", False),
        "parent": _parent(cluster, body),
    }
    policy.check_placement(cluster, document)
    cluster.templates.put(str(number), document)


def _parent(cluster: Cluster, body: dict, present: str = "") -> str:
    return cluster.living_snapshot(body["parent"])["gid"] if "parent" in body else present


@change("VolumeTemplateUpdate")
def template_update(context: Context, name: str, body: dict) -> None:
    """Existing volumes and snapshots change only with `propagate` (rule template-propagate)."""
    cluster = context.cluster
    template = cluster.template(name)
    rename = body.get("rename", name)
    if rename != name and rename in cluster.template_names:
        raise exists("Template", rename)
    shared = {key: body[key] for key in policy.FIELDS if key in body}
    own = {"name": rename, "size": body.get("size", template["size"]), "parent": _parent(cluster, body, template["parent"])}
    changed = {**template, **shared, **own}
    policy.check_placement(cluster, changed)
    cluster.templates.put(str(template["id"]), changed)
    if body.get("propagate"):
        for one in cluster.objects_of_template(template["id"]):
            cluster.change_object(one["gid"], **policy.from_template(changed))


@change("VolumeTemplateDelete")
def template_delete(context: Context, name: str, body: dict) -> None:
    cluster = context.cluster
    template = cluster.template(name)
    users = cluster.objects_of_template(template["id"])
    if users:
        raise ApiError(cluster.world.assume.in_use_name, f"Template '{name}' is in use by {len(users)} volumes and snapshots")
    cluster.templates.drop(str(template["id"]))


# Placement groups


@read("PlacementGroupsList")
def placement_groups_list(context: Context) -> dict:
    return dict(context.cluster.groups.items())


@read("PlacementGroupDescribe")
def placement_group_describe(context: Context, name: str) -> dict:
    return context.cluster.group(name)


@read("FaultSetsList")
def fault_sets_list(context: Context) -> dict:
    """The simulator's clusters have none."""
    return {}


@change("PlacementGroupUpdate")
def placement_group_update(context: Context, name: str, body: dict) -> None:
    """A missing group is created (rule pg-upsert)."""
    cluster = context.cluster
    group = cluster.groups.get(name)
    if group is None:
        number = max((one["id"] for one in cluster.groups.rows.values()), default=0) + 1
        group = {"id": number, "name": name, "disks": []}
    disks = list(group["disks"])
    for disk in body.get("addDisks", []):
        if str(disk) not in cluster.disks:
            raise missing("Disk", disk)
        if disk not in disks:
            disks.append(disk)
    for disk in body.get("rmDisks", []):
        if disk not in disks:
            raise invalid(f"rmDisks: disk {disk} is not in placement group '{name}'")
        disks.remove(disk)
    rename = body.get("rename", name)
    if rename != name:
        if rename in cluster.groups:
            raise exists("Placement group", rename)
        _rename_group(cluster, name, rename)
    cluster.groups.put(rename, {**group, "name": rename, "disks": disks})


def _users(cluster: Cluster, group: str) -> list[tuple[Any, str, Document]]:
    return [
        (table, key, one)
        for table in (cluster.templates, cluster.volumes, cluster.snapshots)
        for key, one in table.items()
        if group in (one["placeAll"], one["placeTail"], one["placeHead"])
    ]


def _rename_group(cluster: Cluster, name: str, rename: str) -> None:
    for table, key, one in _users(cluster, name):
        table.change(key, **{place: rename for place in policy.PLACEMENT if one[place] == name})
    if name in cluster.groups:
        cluster.groups.drop(name)


@change("PlacementGroupDelete")
def placement_group_delete(context: Context, name: str, body: dict) -> None:
    cluster = context.cluster
    cluster.group(name)
    users = _users(cluster, name)
    if users:
        raise ApiError(
            cluster.world.assume.in_use_name, f"Placement group '{name}' is in use by {len(users)} templates, volumes and snapshots"
        )
    cluster.groups.drop(name)
