# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshot policies and their runs (plugin sheet 5.5; ``SnapshotManagerImpl``, ``SnapshotSchedulerImpl``). Table `policy`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import errors, resource_tags, schedules, snapshots
from .ids import new_id

if TYPE_CHECKING:
    from ..store import Document
    from .cloud import Cloud


def of_volume(cloud: Cloud, volume: str) -> list[Document]:
    return [one for one in cloud.living(cloud.policies) if one["volume"] == volume]


def declare(cloud: Cloud, volume: Document, interval: str, fields: dict[str, Any]) -> Document:
    """One for each volume and interval: a second call changes the first one."""
    known = next((one for one in of_volume(cloud, volume["id"]) if one["interval"] == interval), None)
    following = schedules.next_run(interval, fields["schedule"], fields["timezone"], cloud.world.clock.now())
    fields = {**fields, "next": following}
    if known is not None:
        kept = {key: value for key, value in fields.items() if key not in ("zones", "pools") or value}
        return cloud.policies.change(known["id"], **kept)
    return cloud.add("policy", new_id(), volume=volume["id"], account=volume["account"], interval=interval, **fields)


def drop(cloud: Cloud, policy: Document) -> None:
    resource_tags.forget(cloud, "SnapshotPolicy", policy["id"])
    cloud.policies.change(policy["id"], removed=cloud.world.clock.now())


def limit(cloud: Cloud, interval: str) -> int:
    return int(cloud.settings.number(f"snapshot.max.{interval.lower()}", 8))


def run_due(cloud: Cloud, now: float) -> None:
    """Each run makes a record; its steps follow by themselves (`taking`)."""
    if not cloud.assume.policies_run:
        return
    for policy in cloud.living(cloud.policies):
        if policy["next"] > now:
            continue
        cloud.policies.change(policy["id"], next=schedules.next_run(policy["interval"], policy["schedule"], policy["timezone"], now))
        volume = cloud.volumes[policy["volume"]]
        if volume["removed"] is not None:
            drop(cloud, policy)
        elif policy["display"] and volume["path"] is not None:
            elsewhere = {"zones": [zone for zone in policy["zones"] if zone != volume["zone"]], "pools": policy["pools"]}
            wanted = {"type": policy["interval"], "policy": policy["id"], "copy_to": elsewhere}
            snapshots.new(cloud, new_id(), volume, None, created=now, unattended=True, **wanted)


def shown(cloud: Cloud, policy: Document) -> dict[str, Any]:
    volume = cloud.volumes[policy["volume"]]

    def zone(id: str) -> dict[str, Any]:
        return {"id": id, "name": cloud.zones[id]["name"], "allocationstate": cloud.zones[id]["allocation"]}

    return {
        "id": policy["id"],
        "volumeid": volume["id"],
        "schedule": policy["schedule"],
        "timezone": policy["timezone"],
        "intervaltype": schedules.INTERVALS.index(policy["interval"]),
        "maxsnaps": policy["maxsnaps"],
        "fordisplay": policy["display"],
        "hasannotations": False,
        "tags": resource_tags.shown(cloud, "SnapshotPolicy", policy["id"]),
        **cloud.since("4.19.0", {"zone": [zone(id) for id in policy["zones"]]}),
        **cloud.since("4.21.0", {"storage": [{"id": id, "name": cloud.pools[id]["name"]} for id in policy["pools"]]}),
        **cloud.since("4.22.0", {"volumename": volume["name"]}),
    }


def check(cloud: Cloud, volume: Document, interval: str, params: dict[str, Any]) -> None:
    """Raises ServerError."""
    about = f"volume {volume['name']}"
    if volume["encrypt"]:
        raise errors.failure(
            f"Encrypted volumes don't support snapshot schedules, cannot create snapshot policy for the volume [{volume['id']}]"
        )
    if volume["state"] != "Ready" and params.get("fordisplay", True):
        raise errors.invalid(f"VolumeId: {volume['dbid']} is not in Ready state but {volume['state']}. Cannot take snapshot.")
    if interval not in schedules.INTERVALS:
        raise errors.invalid(f"Unsupported interval type {params['intervaltype']}")
    try:
        schedules.numbers(interval, params["schedule"])
    except ValueError as error:
        raise errors.invalid(f"{about} has an invalid schedule [{params['schedule']}] for interval type [{interval}].") from error
    if params["maxsnaps"] <= 0:
        raise errors.invalid(f"maxSnaps [{params['maxsnaps']}] for volume {about} should be greater than 0.")
    if params["maxsnaps"] > limit(cloud, interval):
        raise errors.invalid(
            f"maxSnaps [{params['maxsnaps']}] for volume {about} exceeds limit [{limit(cloud, interval)}] for interval type [{interval}]."
        )
