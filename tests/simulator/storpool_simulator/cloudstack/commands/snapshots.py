# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots of volumes (plugin sheet 5.5; ``SnapshotManagerImpl``, ``VolumeApiServiceImpl``)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...store import Document
from .. import access, answers, errors, resource_tags, snapshots, taking
from ..cloud import Cloud
from ..ids import new_id
from ..plugin import copying
from ..plugin import snapshots as plugin
from ..registry import command
from ..request import Request
from ..work import Steps

ABOUT = ("Snapshot", "id")


def _answer(request: Request, snapshot: str) -> dict:
    return answers.single(request, snapshots.shown(request.cloud, request.cloud.snapshots[snapshot]))


# Create


def _allocate(request: Request) -> str:
    cloud, params = request.cloud, request.params
    volume = access.own(request, "volumeid", cloud.volumes)
    # Nothing but managed storage has a choice of location, and StorPool is none
    if "locationtype" in params:
        raise errors.invalid(f"VolumeId: {volume['dbid']} LocationType is supported only for managed storage")
    zones, replicate = copying.target_zones(cloud, params.get("zoneids", [])), params.get("usestoragereplication", False)
    policy = request.found("policyid", cloud.policies) if params.get("policyid") else None
    pools = copying.target_pools(cloud, zones, params.get("storageids", []), replicate)
    if zones and policy is not None:
        raise errors.invalid("zoneids parameter can not be specified with policyid parameter")
    copying.refuse_without_backup(cloud, zones, replicate)
    taking.check(cloud, volume)
    access.check_active(cloud, volume["account"])
    wanted = {"type": policy["interval"], "policy": policy["id"]} if policy is not None else {}
    elsewhere = {"zones": [one for one in zones if one != volume["zone"]], "pools": pools}
    snapshot = snapshots.new(cloud, new_id(), volume, params.get("name"), copy_to=elsewhere, **wanted)
    for key, value in params.get("tags", {}).items():
        resource_tags.put(cloud, "Snapshot", snapshot["id"], key, value, volume["account"])
    return snapshot["id"]


@command("createSnapshot", create=_allocate, instance=("Snapshot", ""), package="user.snapshot")
def create_snapshot(request: Request) -> Steps:
    assert request.entity is not None
    yield from taking.make(request.cloud, request.entity, asynchronous=request.get("asyncbackup", False))
    return _answer(request, request.entity)


# Lists


def _type_matches(request: Request, snapshot: Document) -> bool:
    wanted, interval = request.get("snapshottype"), request.get("intervaltype")
    if wanted is not None:
        if wanted.upper() not in snapshots.TYPES:
            raise errors.invalid(f"Unsupported snapshot type {wanted}")
        return wanted.upper() in (snapshot["type"], snapshots.kind_of(snapshot))
    if interval is not None and "volumeid" in request.params:
        if interval.upper() not in snapshots.TYPES:
            raise errors.invalid(f"Unsupported snapstho interval type {interval}")
        return interval.upper() == snapshot["type"]
    return True


def _rows(request: Request, snapshot: Document) -> Iterable[Document | None]:
    """The copies that a listing is about; None stands for the snapshot as a whole."""
    cloud = request.cloud
    role = snapshots.LOCATIONS.get((request.get("locationtype") or "").lower())
    stores = [one for one in (request.get("storageid"), request.get("imagestoreid")) if one]
    rows = [row for row in snapshots.copies(cloud, snapshot["id"], None, request.get("zoneid")) if (not stores or row["store"] in stores)]
    if request.get("showunique", True):
        return [None] if rows or (not stores and request.same("zoneid", snapshot["zone"])) else []
    return [row for row in rows if role in (None, row["role"])]


@command("listSnapshots", package="user.snapshot")
def list_snapshots(request: Request) -> dict:
    """One row each; with showunique=false one for each store that has it."""
    cloud = request.cloud
    pending, scope = cloud.jobs.pending_of("Snapshot"), access.scope(request)
    found: list[tuple[Document, Document | None]] = []
    for snapshot in cloud.living(cloud.snapshots):
        if (
            scope.has(snapshot)
            and request.matches(id=snapshot["id"], name=snapshot["name"], volumeid=snapshot["volume"])
            and snapshot["id"] in request.get("ids", [snapshot["id"]])
            and request.has_keyword(snapshot["name"])
            and _type_matches(request, snapshot)
            and resource_tags.matches(cloud, "Snapshot", snapshot["id"], request.get("tags"))
        ):
            found += [(snapshot, row) for row in _rows(request, snapshot)]

    def view(one: tuple[Document, Document | None]) -> dict[str, Any]:
        return snapshots.shown(cloud, one[0], one[1], pending.get(one[0]["id"]), request.get("zoneid"), request.caller.is_root)

    return answers.listing(request, found, view)


@command("getVolumeSnapshotDetails", package="admin.solidfire")
def get_volume_snapshot_details(request: Request) -> dict:
    """The only way to StorPool's id of a snapshot. It ignores who asks, and knows deleted ones as well."""
    cloud, id = request.cloud, request.params["snapshotid"]
    snapshot = cloud.snapshots.get(id)
    if snapshot is None:
        raise errors.failure(f"Unable to find Snapshot for ID: {id}")

    def view(one: tuple[str, str]) -> dict[str, Any]:
        return {"volumeSnapshotId": snapshot["dbid"], "snapshotDetailsName": one[0], "snapshotDetailsValue": one[1]}

    return answers.listing(request, snapshot["details"].items(), view)


# Delete, revert, copy, archive


@command("deleteSnapshot", instance=ABOUT, package="user.snapshot")
def delete_snapshot(request: Request) -> dict:
    cloud = request.cloud
    snapshot = snapshots.found(cloud, request.params["id"])
    access.own(request, "id", cloud.snapshots)
    plugin.delete(cloud, snapshot, request.get("zoneid"))
    return answers.success()


@command("revertSnapshot", instance=ABOUT, package="user.snapshot")
def revert_snapshot(request: Request) -> dict:
    """Its preconditions are looked at in the job, so their failures are a failed job."""
    cloud = request.cloud
    snapshot = snapshots.found(cloud, request.params["id"])
    access.own(request, "id", cloud.snapshots)
    volume = cloud.volumes[snapshot["volume"]]
    if volume["removed"] is not None:
        raise errors.invalid("No such volume exist")
    if volume["state"] != "Ready":
        raise errors.invalid("The volume is not in Ready state.")
    vm = cloud.vms.get(volume["vm"]) if volume["vm"] else None
    if vm is not None:
        if vm["state"] not in ("Stopped", "Shutdown"):
            raise errors.invalid("The VM the specified disk is attached to is not in the shutdown state.")
        if any(one["vm"] == vm["id"] for one in cloud.living(cloud.vm_snapshots)):
            raise errors.invalid("Unable to revert snapshot for VM, please remove VM snapshots before reverting VM from snapshot")
    plugin.revert(cloud, snapshot, volume)
    return _answer(request, snapshot["id"])


@command("copySnapshot", instance=ABOUT, package="user.snapshot")
def copy_snapshot(request: Request) -> Steps:
    cloud, params = request.cloud, request.params
    snapshot = snapshots.found(cloud, params["id"])
    access.own(request, "id", cloud.snapshots)
    zones = [*params.get("destzoneids", []), *([params["destzoneid"]] if params.get("destzoneid") else [])]
    source = params.get("sourcezoneid") or snapshot["zone"]
    named, replicate = params.get("storageids", []), params.get("usestoragereplication", False)
    yield from copying.copy(cloud, snapshot, source, zones, named, replicate)
    return answers.single(request, _copied(cloud, cloud.snapshots[snapshot["id"]], zones))


def _copied(cloud: Cloud, snapshot: Document, zones: list[str]) -> dict[str, Any]:
    return snapshots.shown(cloud, snapshot, None, None, zones[0] if zones else None)


@command("archiveSnapshot", instance=ABOUT, package="user.snapshot")
def archive_snapshot(request: Request) -> Steps:
    """From StorPool to secondary storage; what was on StorPool goes."""
    cloud = request.cloud
    snapshot = snapshots.found(cloud, request.params["id"])
    access.own(request, "id", cloud.snapshots)
    rows = snapshots.copies(cloud, snapshot["id"], snapshots.PRIMARY)
    if not rows:
        raise errors.failure(
            f"Can only archive snapshots present on primary storage. Cannot find snapshot {snapshot['dbid']} on primary storage"
        )
    if snapshots.file_copy(cloud, snapshot["id"]) is None:
        yield from plugin.back_up(cloud, snapshot)
    plugin.leave_storpool(cloud, cloud.snapshots[snapshot["id"]])
    cloud.snapshots.change(snapshot["id"], location="SECONDARY")
    return _answer(request, snapshot["id"])


@command("extractSnapshot", instance=ABOUT, package="user.snapshot")
def extract_snapshot(request: Request) -> dict:
    """The url leads to the file on secondary storage itself."""
    cloud, zone = request.cloud, request.found("zoneid", request.cloud.zones)
    snapshot = snapshots.found(cloud, request.params["id"])
    access.own(request, "id", cloud.snapshots)
    row = snapshots.file_copy(cloud, snapshot["id"], zone["id"])
    if snapshot["state"] != snapshots.BACKED_UP or row is None:
        raise errors.invalid(f"Snapshot {snapshot['name']} is not on secondary storage of zone {zone['name']}")
    shown = {
        "id": snapshot["id"],
        "name": snapshot["name"],
        "accountid": snapshot["account"],
        "state": "DOWNLOAD_URL_CREATED",
        "url": snapshots.file_of(cloud, row).as_uri(),
        "zoneid": zone["id"],
        "zonename": zone["name"],
        "created": answers.date(cloud.world.clock.now()),
    }
    return answers.single(request, shown)
