# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens to volumes and snapshots over their life, shared by the calls and by background work (sheet 4.3)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from .errors import ApiError, busy, invalid
from .store import Document
from .views import name_of

if TYPE_CHECKING:
    from .cluster import Cluster

LOG = logging.getLogger(__name__)

POLICY = ("placeAll", "placeHead", "placeTail", "replication", "reuseServer", "iops", "bw", "limitType", "template")
LONGEST_NAME = 199


# Tags and dates


def merged_tags(cluster: Cluster, present: dict, change: dict | None) -> dict:
    """Key by key; an empty value clears (rule tags-merge)."""
    tags = dict(present)
    for key, value in (change or {}).items():
        if value == "" and cluster.world.assume.empty_tag == "remove":
            tags.pop(key, None)
        else:
            tags[key] = value
    return tags


def check_name_and_tags(cluster: Cluster, name: str, tags: dict) -> None:
    limit = cluster.world.assume.name_and_tags_bytes
    if limit and len(name) + sum(len(key) + len(value) for key, value in tags.items()) > limit:
        raise invalid(f"the name and the tags together are longer than {limit} bytes")


def delete_date(cluster: Cluster, request: dict, present: int = 0) -> int:
    """The date of the scheduled deletion, 0 for none (rule delete-date)."""
    after, date = request.get("deleteAfter"), request.get("targetDeleteDate")
    if after is not None and date is not None:
        raise invalid("deleteAfter and targetDeleteDate cannot be given together")
    now = cluster.world.clock.seconds()
    if after is not None:
        if after < 0:
            raise invalid("deleteAfter: cannot be negative")
        return now + after if after else 0
    if date is not None:
        if date and date < now:
            raise invalid("targetDeleteDate: is in the past")
        return date
    return present


# Making


def new_volume(cluster: Cluster, name: str, size: int, parent: Document | None, policy: dict, tags: dict) -> Document:
    number = cluster.new_number()
    document = {
        "gid": cluster.global_id(number),
        "vid": number,
        "name": name,
        "size": size,
        "parent": parent["gid"] if parent else "",
        "originalParent": parent["vid"] if parent else 0,
        "created": cluster.world.clock.seconds(),
        "tags": tags,
        **policy,
    }
    cluster.volumes.put(document["gid"], document)
    return document


def snapshot_document(source: Document, **fields: Any) -> Document:
    """A snapshot with the size and the policy of what it was made from; its tags are its own (rule tags-not-inherited)."""
    return {
        "size": source["size"],
        "parent": "",
        "originalParent": 0,
        **{key: source[key] for key in POLICY},
        "tags": {},
        "autoName": False,
        "bound": False,
        "transient": False,
        "deleted": False,
        "deleteAt": 0,
        "recovering": False,
        "until": None,
        "createdFrom": None,
        "backupOf": None,
        "copyOf": None,
        "mcState": "clusterLocal",
        **fields,
    }


def auto_name(volume: Document, number: int) -> str:
    """<volume>@<number>; nothing for a snapshot of an anonymous volume (rules anon-snapshot, anon-snapshot-tilde)."""
    if not volume["name"]:
        return ""
    # "#" may start the name of a volume but not that of a snapshot.
    suffix = f"@{number}"
    return volume["name"].lstrip("#")[: LONGEST_NAME - len(suffix)] + suffix


def star_name(cluster: Cluster, base: str, number: int) -> str:
    """Names of what is on its way out or internal start with "*" (rule star-names)."""
    name = "*" + base.lstrip("*~#")[: LONGEST_NAME - 1]
    if name in cluster.names:
        suffix = f"@{number}"
        name = name[: LONGEST_NAME - len(suffix)] + suffix
    return name


def take_snapshot(cluster: Cluster, volume: Document, name: str | None = None, tags: dict | None = None, **fields: Any) -> Document:
    """The snapshot comes between the volume and its parent, and has the bytes of this moment."""
    if name:
        cluster.free_name(name)
    number = cluster.new_number()
    automatic = not name
    if automatic and not fields.get("transient"):
        name = auto_name(volume, number)
    elif automatic:
        name = star_name(cluster, f"{volume['name'] or volume['gid']}@{number}", number)
    gid = cluster.global_id(number)
    snapshot = snapshot_document(
        volume,
        gid=gid,
        vid=number,
        name=name,
        autoName=automatic,
        parent=volume["parent"],
        originalParent=volume["originalParent"],
        created=cluster.world.clock.seconds(),
        createdFrom=[volume["gid"], volume["vid"]],
        tags=merged_tags(cluster, {}, tags),
        **fields,
    )
    check_name_and_tags(cluster, snapshot["name"], snapshot["tags"])
    cluster.snapshots.put(gid, snapshot)
    cluster.volumes.change(volume["gid"], parent=gid)
    cluster.world.payload.share(cluster, volume["gid"], cluster, gid)
    return snapshot


# Unmaking


def take_away(cluster: Cluster, document: Document) -> None:
    """The cluster has the object no more, nor anything that refers to it."""
    gid = document["gid"]
    for key in [key for key, one in cluster.volume_exports.items() if one["gid"] == gid]:
        cluster.volume_exports.drop(key)
    cluster.world.payload.assign(cluster, gid, None)
    (cluster.snapshots if cluster.is_snapshot(gid) else cluster.volumes).drop(gid)
    for template in cluster.templates.values():
        if template["parent"] == gid:
            cluster.templates.change(str(template["id"]), parent="")


def _drop(cluster: Cluster, document: Document) -> None:
    take_away(cluster, document)
    if document["gid"] in cluster.opened:
        cluster.opened.drop(document["gid"])


def release(cluster: Cluster, gid: str) -> None:
    """A bound snapshot disappears when it has no children and no attachments (rule bind)."""
    while gid:
        snapshot = cluster.snapshots.get(gid)
        if (
            snapshot is None
            or not snapshot["bound"]
            or cluster.children.get(gid)
            or cluster.attachments_of(gid)
            or cluster.exported_to(gid)
        ):
            return
        # Its own parent may have waited for just that.
        gid = snapshot["parent"]
        _drop(cluster, snapshot)


def remove_volume(cluster: Cluster, volume: Document) -> None:
    """Snapshots outlive their volume (rule delete-volume-keeps-snapshots)."""
    _drop(cluster, volume)
    release(cluster, volume["parent"])


def reparent(cluster: Cluster, document: Document, parent: str) -> None:
    if document["parent"] != parent:
        cluster.change_object(document["gid"], parent=parent)
        release(cluster, document["parent"])


def merge(cluster: Cluster, snapshot: Document) -> None:
    """The end of a deleted snapshot: its data is the children's now (rule snapshot-delete-children)."""
    for child in cluster.child_documents(snapshot["gid"]):
        cluster.change_object(child["gid"], parent=snapshot["parent"])
    _drop(cluster, snapshot)
    release(cluster, snapshot["parent"])


def delete_snapshot(cluster: Cluster, snapshot: Document) -> None:
    gid, world = snapshot["gid"], cluster.world
    if cluster.exported_to(gid):
        raise ApiError(world.assume.exported_name, f"Snapshot '{name_of(snapshot)}' is still exported")
    attachments = cluster.attachments_of(gid)
    if attachments:
        if world.assume.snapshot_delete_attached == "busy":
            raise busy(f"Snapshot '{name_of(snapshot)}' is attached to client {attachments[0][1]['client']}")
        for one, attachment in attachments:
            drop_attachment(one, attachment)
    if not cluster.children.get(gid):
        _drop(cluster, snapshot)
        release(cluster, snapshot["parent"])
        return
    name = star_name(cluster, name_of(snapshot), snapshot["vid"]) if not snapshot["name"].startswith("*") else snapshot["name"]
    until = world.clock.now() + world.assume.merge_delay
    cluster.snapshots.change(gid, name=name, deleted=True, transient=False, deleteAt=0, until=until)


def finish_copy(cluster: Cluster, snapshot: Document) -> None:
    """The data from the other location has arrived (rule from-remote); a backup lets go of what it was made from."""
    cluster.snapshots.change(snapshot["gid"], recovering=False, until=None, copyOf=None)
    if not snapshot["copyOf"]:
        return
    source = cluster.world.clusters[snapshot["copyOf"]]
    original = source.snapshots.get(snapshot["gid"])
    if original is not None:
        for export in source.exported_to(original["gid"]):
            if export["backingUp"]:
                source.exports.drop(export["key"])
        try:
            delete_snapshot(source, original)
        except ApiError as error:
            LOG.warning("the snapshot behind a finished backup stays: %s", error)


# Attachments


def attachment_key(client: int, gid: str) -> str:
    return f"{client}/{gid}"


def drop_attachment(cluster: Cluster, attachment: Document) -> None:
    gid = attachment["gid"]
    cluster.attachments.drop(attachment_key(attachment["client"], gid))
    set_open(cluster, gid, attachment["client"], False)


def set_open(cluster: Cluster, gid: str, client: int, is_open: bool) -> None:
    clients = [one for one in cluster.open_clients(gid) if one != client] + ([client] if is_open else [])
    if clients:
        cluster.opened.put(gid, {"clients": sorted(clients)})
    elif gid in cluster.opened:
        cluster.opened.drop(gid)


def refuse_open(cluster: Cluster, document: Document, client: int) -> None:
    """Callers look for "is open at" (sheet 4.2)."""
    if client in cluster.open_clients(document["gid"]):
        kind = "Snapshot" if "bound" in document else "Volume"
        raise ApiError(cluster.world.assume.open_name, f"{kind} '{name_of(document)}' is open at client {client}")


def detach_all(cluster: Cluster, document: Document, mode: str, doing: str) -> None:
    """What `onAttached` asks for before a volume goes away (rule delete-attached)."""
    attachments = cluster.attachments_of(document["gid"])
    if not attachments:
        return
    if mode not in ("detach", "detachForce"):
        clients = ", ".join(str(one["client"]) for _unused, one in attachments)
        raise busy(f"cannot {doing} '{name_of(document)}': it is attached to client {clients}")
    for one, attachment in attachments:
        if mode == "detach":
            refuse_open(one, document, attachment["client"])
        drop_attachment(one, attachment)
