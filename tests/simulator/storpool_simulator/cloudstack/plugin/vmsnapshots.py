# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""VM snapshots as consistent groups of StorPool snapshots (``StorPoolVMSnapshotStrategy``, plugin sheet 5.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import errors, storage, vm_snapshots
from . import snapshots, tags
from .client import Client, StorPoolError, address_of, gid_of, path_of, text_of

if TYPE_CHECKING:
    from ...store import Document
    from ..cloud import Cloud

STRATEGY = "StorPoolVMSnapshotStrategy"


def volumes_of(cloud: Cloud, vm: str) -> list[Document]:
    """Its volumes that are somewhere, the ROOT volume first."""
    found = [one for one in cloud.living(cloud.volumes) if one["vm"] == vm and one["path"] is not None]
    return sorted(found, key=lambda one: (one["type"] != "ROOT", one["device"] or 0))


def can_handle(cloud: Cloud, vm: str, memory: bool) -> bool:
    """Without memory, and with all volumes on StorPool."""
    found = volumes_of(cloud, vm)
    return not memory and bool(found) and all(storage.on_storpool(cloud.pools[one["pool"]]) for one in found)


def _client(cloud: Cloud, volumes: list[Document]) -> Client:
    return Client.of_pool(cloud, cloud.pools[volumes[0]["pool"]])


def take(cloud: Cloud, snapshot: Document) -> None:
    """One call for all volumes. Raises ServerError."""
    volumes, vm = volumes_of(cloud, snapshot["vm"]), cloud.vms[snapshot["vm"]]
    if not volumes:
        raise errors.failure("Create vm to snapshot failed because no root disk was found")
    cloud.vm_snapshots.change(snapshot["id"], state=vm_snapshots.CREATING)
    wanted = tags.tags(snapshot["id"], tags.GROUP, vm["id"])
    try:
        client = _client(cloud, volumes)
        made = _taken_before(client, snapshot, volumes) or _grouped(client, wanted, volumes)
    except StorPoolError as error:
        cloud.vm_snapshots.change(snapshot["id"], state=vm_snapshots.ERROR)
        cloud.world.commit()
        about = f"Could not create VM snapshot:Could not create vm snapshot {error.text}"
        raise errors.failure(f"Failed to create vm snapshot: [{snapshot['name']}] due to: {about}") from error
    details = {one["id"]: path_of(made[gid_of(one["path"])]) for one in volumes}
    details[vm_snapshots.POOL_DETAIL] = str(cloud.pools[volumes[0]["pool"]]["dbid"])
    before = next((one["id"] for one in vm_snapshots.of_vm(cloud, vm["id"]) if one["current"]), None)
    cloud.vm_snapshots.change(snapshot["id"], state=vm_snapshots.READY, details=details, parent=before)
    vm_snapshots.make_current(cloud, snapshot["id"], vm["id"])


def _grouped(client: Client, wanted: dict[str, str], volumes: list[Document]) -> dict[str, str]:
    """By volume the globalId of its snapshot. The plugin also sends empty names, which the tables of the API do not have here."""
    body = {"tags": wanted, "volumes": [{"volume": address_of(one["path"])} for one in volumes]}
    answer = client.post("VolumesGroupSnapshot", body)["data"]
    return {one["volumeGlobalId"]: one["snapshotGlobalId"] for one in answer["snapshots"]}


def _taken_before(client: Client, snapshot: Document, volumes: list[Document]) -> dict[str, str] | None:
    """The server may have gone down between StorPool's answer and its own record."""
    found = {
        one["createdFrom"][0]: one["gid"]
        for cluster in client.cluster.neighbours()
        for one in cluster.snapshots.values()
        if one["tags"].get(tags.UUID) == snapshot["id"] and one["createdFrom"] and not one["deleted"]
    }
    return found if {gid_of(one["path"]) for one in volumes} <= set(found) else None


def revert(cloud: Cloud, snapshot: Document) -> None:
    """Volume by volume: detached everywhere, reverted, its IOPS set again. Raises ServerError."""
    cloud.vm_snapshots.change(snapshot["id"], state=vm_snapshots.REVERTING)
    try:
        volumes = volumes_of(cloud, snapshot["vm"])
        client = _client(cloud, volumes)
        for volume in volumes:
            _revert_one(cloud, client, snapshot, volume)
    except (StorPoolError, errors.ServerError) as error:
        cloud.vm_snapshots.change(snapshot["id"], state=vm_snapshots.READY)
        cloud.world.commit()
        text = text_of(error)
        raise errors.failure(f"Error while finalize create vm snapshot [{snapshot['name']}] due to {text}") from error
    cloud.vm_snapshots.change(snapshot["id"], state=vm_snapshots.READY)
    vm_snapshots.make_current(cloud, snapshot["id"], snapshot["vm"])


def _revert_one(cloud: Cloud, client: Client, snapshot: Document, volume: Document) -> None:
    gid, path = gid_of(volume["path"]), snapshot["details"].get(volume["id"])
    if path is None:
        raise errors.failure(f"Could not find StorPool's snapshot vm snapshot uuid={snapshot['id']} and volume uui={volume['id']}")
    try:
        client.detach_everywhere(gid)
    except StorPoolError as error:
        raise errors.failure(f"Could not detach StorPool volume {address_of(gid)} from a group snapshot, due to {error.text}") from error
    try:
        client.volume_revert(gid, gid_of(path))
    except StorPoolError as error:
        raise errors.failure(
            f"Create Could not complete revert task for volumeName={address_of(gid)} , and snapshotName={address_of(path)}"
        ) from error
    snapshots.restore_iops(cloud, client, volume)


def delete(cloud: Cloud, snapshot: Document) -> None:
    """A failure leaves it Expunging, with those of its snapshots that are gone forgotten. Raises ServerError."""
    cloud.vm_snapshots.change(snapshot["id"], state=vm_snapshots.EXPUNGING)
    pools = {str(one["dbid"]): one for one in cloud.pools.values()}
    pool = pools.get(snapshot["details"].get(vm_snapshots.POOL_DETAIL, ""))
    for volume, path in snapshot["details"].items():
        if volume == vm_snapshots.POOL_DETAIL or pool is None:
            continue
        try:
            snapshots.remove_on_storpool(Client.of_pool(cloud, pool), gid_of(path))
        except StorPoolError as error:
            about = f"delete snapshot={address_of(path)} of gropusnapshot={snapshot['name']} failed due to {error.text}"
            cloud.journal.add("ERROR", STRATEGY, f"deleteVMSnapshot {about}", vmsnapshot=snapshot["id"])
            cloud.world.commit()
            raise errors.ServerError(errors.INTERNAL, "Failed to delete vm snapshot") from error
        left = {key: value for key, value in cloud.vm_snapshots[snapshot["id"]]["details"].items() if key != volume}
        cloud.vm_snapshots.change(snapshot["id"], details=left)
    vm_snapshots.end(cloud, cloud.vm_snapshots[snapshot["id"]])
