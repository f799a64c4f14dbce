# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Attachments (sheet 2.1 Attachments, 3.6, rules reassign*, mc-attach)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from .. import lifecycle, tables, views
from ..cluster import Cluster
from ..errors import ApiError, invalid, missing
from ..store import Document
from .multicluster import move_volume
from .registry import Context, change, read

POLL = 0.01
# A client is known by its number only within its cluster.
Client = tuple[Cluster, int]


@read("AttachmentsList")
def attachments_list(context: Context) -> list:
    return [views.attachment(cluster, one, context.multi) for cluster in context.scope for one in cluster.attachments.values()]


@change("VolumesReassign")
def volumes_reassign(context: Context, body: list) -> None:
    _reassign_all(context, body)


@change("VolumesReassignWait")
def volumes_reassign_wait(context: Context, body: Any) -> None:
    """The list may come without its wrapper (sheet 2.3). The change is on record before the wait begins."""
    if isinstance(body, list):
        body = {"reassign": body}
    timeout = body.get("attachTimeout")
    if timeout is not None and timeout < 0:
        raise invalid("attachTimeout: cannot be negative")
    clients = _reassign_all(context, body["reassign"])
    if clients and timeout != 0:
        context.wait = _waiting(context, clients, timeout)


def _reassign_all(context: Context, items: list) -> list[Client]:
    """Apply all items; the clients whose configuration they change."""
    clients: list[Client] = []
    store = context.world.store
    for item in items:
        mark = store.mark()
        try:
            clients += _reassign(context, item)
        except ApiError:
            if not context.world.assume.atomic_reassign:
                # What came before stays; the error still tells of this item.
                store.rollback(mark)
                context.world.commit()
            raise
    return clients


def _subject(context: Context, item: dict) -> tuple[Cluster, Document]:
    """The object of an item and the cluster that has it; a multi-cluster call finds and moves volumes of neighbours."""
    cluster = context.cluster
    if "snapshot" in item:
        name = item["snapshot"]
        for one in context.scope:
            snapshot = one.find_snapshot(name)
            if snapshot is not None and not snapshot["deleted"]:
                if snapshot["transient"]:
                    # Rule base-on.
                    raise invalid(f"Snapshot '{name}' is transient and cannot be attached")
                return one, snapshot
        raise missing("Snapshot", name)
    name = item["volume"]
    volume = cluster.find_volume(name)
    if volume is not None:
        return cluster, volume
    for one in cluster.neighbours()[1:]:
        volume = one.find_volume(name)
        if volume is None:
            continue
        exported = f"{volume['gid']}/{cluster.name}" in one.volume_exports
        if not context.multi:
            if item.get("allowRemoteExported") and exported:
                return one, volume
            continue
        if not (item.get("rw") or item.get("ro")):
            return one, volume
        if item.get("mcMode", "move") == "export":
            if not exported:
                one.volume_exports.put(f"{volume['gid']}/{cluster.name}", {"gid": volume["gid"], "cluster": cluster.name})
            return one, volume
        return cluster, move_volume(one, cluster, volume, item.get("onRemoteAttached", "export"))
    raise missing("Volume", name)


def _reassign(context: Context, item: dict) -> list[Client]:
    """One item may combine detach, rw and ro (rule reassign); what is so already stays (rule reassign-idempotent).

    Returns the clients that have to catch up: those that attach, and those that detach unless they are down.
    """
    local = context.cluster
    rw, ro = item.get("rw", []), item.get("ro", [])
    wanted = {**dict.fromkeys(ro, "ro"), **dict.fromkeys(rw, "rw")}
    both = set(rw) & set(ro)
    if both:
        raise invalid(f"client {min(both)} is named in rw and in ro")
    detach = item.get("detach", [])
    for client in wanted if detach == "all" else [*wanted, *detach]:
        local.client(client)
    owner, document = _subject(context, item)
    gid = document["gid"]

    touched: list[Client] = []
    for cluster, attachment in owner.attachments_of(gid):
        client = attachment["client"]
        # "all" means all clusters when the call spans them.
        if cluster is local:
            leaves = client not in wanted and (detach == "all" or client in detach)
        else:
            leaves = detach == "all" and context.multi
        if leaves:
            if not item.get("force"):
                lifecycle.refuse_open(cluster, document, client)
            lifecycle.drop_attachment(cluster, attachment)
            if cluster.client(client)["status"] != "down" or cluster.world.assume.wait_for_down_detach:
                touched.append((cluster, client))
    for client, rights in wanted.items():
        _attach(local, document, client, rights)
        touched.append((local, client))
    # One with another's rights may have made it writable or not.
    attachments = owner.attachments_of(gid)
    if attachments:
        local.world.payload.prepare_device(owner, document, any(one["rights"] == "rw" for _unused, one in attachments))
    elif owner.is_snapshot(gid):
        lifecycle.release(owner, gid)
    return touched


def _attach(cluster: Cluster, document: Document, client: int, rights: str) -> None:
    """At the lowest free position (rule client-limit)."""
    gid = document["gid"]
    present = cluster.attached.get(gid, {}).get(client)
    if present is not None:
        position = present["pos"]
    else:
        taken = cluster.positions.get(client, set())
        limit = tables.load().constants["MAX_CLIENT_DISKS"]
        if len(taken) >= limit:
            raise invalid(f"client {client} has {limit} attachments, which is the limit")
        position = next(number for number in range(limit) if number not in taken)
    cluster.attachments.put(
        lifecycle.attachment_key(client, gid),
        {"client": client, "gid": gid, "pos": position, "rights": rights, "snapshot": "bound" in document},
    )


def _waiting(context: Context, clients: list[Client], timeout: int | None) -> Callable:
    """Until the clients caught up (rule reassign-wait); other calls go on meanwhile."""
    world = context.world
    deadline = None if timeout is None else world.clock.now() + timeout

    async def wait(gone: Callable[[], bool]) -> None:
        # Only now the change has its generation.
        goals = {cluster.name: cluster.generation for cluster, _unused in clients}
        while True:
            behind = [number for one, number in clients if one.client_generation(one.client(number)) < goals[one.name]]
            if not behind or gone():
                return
            if deadline is not None and world.clock.now() >= deadline:
                if world.assume.attach_timeout == "error":
                    raise ApiError(world.assume.attach_timeout_name, f"client {behind[0]} did not catch up in {timeout} seconds")
                return
            await asyncio.sleep(POLL)

    return wait
