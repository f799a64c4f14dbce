# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Volumes from pool to pool, alone or with their VM (plugin sheet 5.8; ``VolumeApiServiceImpl.migrateVolume``, ``UserVmManagerImpl``)."""

from __future__ import annotations

from ...store import Document
from .. import access, answers, errors, offerings, parameters, snapshots, storage, vms, volumes
from ..cloud import Cloud
from ..plugin import agents, motion
from ..registry import command
from ..request import Request
from ..work import Steps

ABOUT = ("Volume", "volumeid")
MIGRATING = "Migrating"
BY_HOST = (
    "KVM does not support volume live migration due to the limited possibility to refresh VM XML domain. "
    "Therefore, to live migrate a volume between storage pools, one must migrate the VM to a different host as well "
    "to force the VM XML domain update. Use 'migrateVirtualMachineWithVolumes' instead."
)


# Refusals


def _refuse_vm_snapshots(cloud: Cloud, volume: Document) -> None:
    if volumes.has_vm_snapshots(cloud, volume["vm"]):
        raise errors.invalid("Volume cannot be migrated, please remove all VM snapshots for VM to which this volume is attached")


def _refuse_lonely_snapshots(cloud: Cloud, volume: Document, pool: Document) -> None:
    """Snapshots that only the old pool has; with bypass there is a record on the image store, which is enough for the server."""
    lonely = [one for one in snapshots.of_volume(cloud, volume["id"]) if _is_lonely(cloud, one)]
    if lonely:
        names = ", ".join(one["id"] for one in lonely)
        why = f"Volume {volume['name']} has snapshots only in primary storage [{names}]; it cannot be migrated while it has them"
        raise errors.failure(f"Unable to migrate {volume['name']} to the destination storage pool [{pool['name']}] due to [{why}]")


def _is_lonely(cloud: Cloud, snapshot: Document) -> bool:
    roles = {row["role"] for row in snapshots.copies(cloud, snapshot["id"])}
    return snapshots.PRIMARY in roles and snapshots.IMAGE not in roles


def _check_pool(cloud: Cloud, volume: Document, pool: Document) -> None:
    if pool["state"] != storage.UP:
        raise errors.invalid(
            f"Cannot migrate volume {volume['name']} to the destination storage pool {pool['name']} "
            "as the storage pool is in maintenance mode."
        )
    _refuse_lonely_snapshots(cloud, volume, pool)
    if pool["zone"] != volume["zone"]:
        raise errors.failure(f"Storage pool {pool['name']} is not suitable to migrate volume {volume['name']}")


def _check_offering(request: Request, volume: Document, pool: Document) -> Document | None:
    if "newdiskofferingid" not in request.params:
        return None
    offering = request.found("newdiskofferingid", request.cloud.disk_offerings)
    if not _suits(offering, pool):
        raise errors.invalid(
            f"Migration failed: target pool [{pool['name']}, tags:{pool['tags']}] has no matching tags for volume "
            f"[{volume['name']}, uuid:{volume['id']}, tags:{offering['tags']}]"
        )
    return offering


def _suits(offering: Document | None, pool: Document) -> bool:
    return offering is None or offerings.tags_of(offering["tags"]) <= offerings.tags_of(pool["tags"])


def _check_volume(request: Request, volume: Document, pool: Document) -> bool:
    """In the server's order; whether it is live. Raises ServerError."""
    cloud = request.cloud
    if volume["state"] == MIGRATING and not cloud.workshop.is_busy(_key(volume["id"])):
        volume = cloud.volumes.change(volume["id"], state=volumes.READY)
    if volume["state"] != volumes.READY or volume["path"] is None:
        raise errors.invalid("Volume must be in ready state")
    if volume["pool"] == pool["id"]:
        raise errors.invalid(f"Volume {volume['name']} is already on the destination storage pool")
    vm = cloud.vms.get(volume["vm"] or "")
    _refuse_vm_snapshots(cloud, volume)
    both = storage.on_storpool(cloud.pools[volume["pool"]]) and storage.on_storpool(pool)
    live = vm is not None and vm["state"] == vms.RUNNING
    if live and not both:
        raise errors.invalid(BY_HOST)
    # The exception for encrypted volumes is made for running VMs alone
    if volume["encrypt"] and not (live and both):
        raise errors.invalid("Migration of encrypted volumes is unsupported")
    if live and not request.get("livemigrate"):
        raise errors.invalid(
            f"The volume {volume['name']}is attached to a vm and for migrating it the parameter livemigrate should be specified"
        )
    _check_pool(cloud, volume, pool)
    return live


# Volumes


@command("migrateVolume", instance=ABOUT, package="user.volume")
def migrate_volume(request: Request) -> Steps:
    """The new disk offering is only noted: StorPool hears of it with the next change."""
    cloud = request.cloud
    volume, pool = access.own(request, "volumeid", cloud.volumes), request.found("storageid", cloud.pools)
    live = _check_volume(request, volume, pool)
    offering = _check_offering(request, volume, pool)
    if live:
        motion.change_template(cloud, volume, pool)
    else:
        yield from _moved(cloud, volume, pool)
    if offering is not None:
        cloud.volumes.change(volume["id"], offering=offering["id"])
    return answers.single(request, volumes.shown(cloud, cloud.volumes[volume["id"]], request.caller.is_root))


def _key(id: str) -> str:
    """What says in the workshop that the volume or the VM is on its way."""
    return f"move {id}"


def _moved(cloud: Cloud, volume: Document, pool: Document) -> Steps:
    moving = cloud.volumes.change(volume["id"], state=MIGRATING)
    try:
        yield from cloud.workshop.alone(_key(volume["id"]), motion.move(cloud, moving, pool))
    finally:
        cloud.volumes.change(volume["id"], state=volumes.READY)
        cloud.world.commit()


@command("findStoragePoolsForMigration", package="admin.storage")
def find_pools(request: Request) -> dict:
    cloud, volume = request.cloud, request.found("id", request.cloud.volumes)
    offering = cloud.disk_offerings.get(volume["offering"] or "")
    pools = [pool for pool in cloud.living(cloud.pools) if pool["zone"] == volume["zone"] and pool["state"] == storage.UP]
    found = [pool for pool in pools if pool["id"] != volume["pool"] and request.has_keyword(pool["name"])]
    return answers.listing(request, found, lambda pool: {**storage.shown(cloud, pool), "suitableformigration": _suits(offering, pool)})


# With the VM


def _wanted(request: Request, vm: Document) -> dict[str, str]:
    """The pool of each volume that is to move. Raises ServerError."""
    cloud, found = request.cloud, {}
    for one in parameters.entries(request.raw, "migrateto"):
        volume, pool = cloud.volumes.get(one.get("volume", "")), cloud.pools.get(one.get("pool", ""))
        if volume is None or volume["vm"] != vm["id"]:
            raise errors.invalid(f"Unable to find volume with ID: {one.get('volume')}")
        if pool is None or pool["removed"] is not None:
            raise errors.invalid(f"Unable to find storage pool with ID: {one.get('pool')}")
        if pool["id"] != volume["pool"]:
            found[volume["id"]] = pool["id"]
    return found


@command("migrateVirtualMachineWithVolume", instance=("VirtualMachine", "virtualmachineid"), package="admin.vm")
def migrate_with_volumes(request: Request) -> Steps:
    """A running VM goes to another host with its volumes; the volumes of a stopped one move alone."""
    cloud, params = request.cloud, request.params
    vm = access.own(request, "virtualmachineid", cloud.vms)
    if vm["state"] == vms.MIGRATING and not cloud.workshop.is_busy(_key(vm["id"])):
        vm = cloud.vms.change(vm["id"], state=vms.RUNNING)
    if "hostid" not in params and "migrateto" not in params and not params.get("autoselect"):
        raise errors.invalid("Either hostid or migrateto must be passed for migrating the VM.")
    if vm["state"] == vms.STOPPED and "hostid" in params:
        raise errors.invalid(f"VM ID: {vm['id']} is not in Running state to migrate it to new host")
    wanted = _wanted(request, vm)
    for volume in volumes.of_vm(cloud, vm["id"]):
        _refuse_vm_snapshots(cloud, volume)
        if volume["id"] in wanted:
            _check_pool(cloud, volume, cloud.pools[wanted[volume["id"]]])
    if vm["state"] == vms.RUNNING:
        yield from _live(request, vm, wanted)
    elif vm["state"] == vms.STOPPED:
        for id, pool in wanted.items():
            if cloud.volumes[id]["encrypt"]:
                raise errors.invalid("Migration of encrypted volumes is unsupported")
            yield from _moved(cloud, cloud.volumes[id], cloud.pools[pool])
        cloud.vms.change(vm["id"], pool=vms.pool_of(cloud, vm["id"]))
    else:
        raise errors.invalid(f"VM ID: {vm['id']} is not in Stopped state to migrate, use the hostid parameter to migrate it to a new host")
    return answers.single(request, vms.shown(cloud, cloud.vms[vm["id"]], request.caller.is_root))


def _target(request: Request, vm: Document) -> Document:
    cloud = request.cloud
    if "hostid" not in request.params:
        if not request.get("autoselect"):
            raise errors.invalid(
                f"VM ID: {vm['id']} is not in Stopped state to migrate, use the hostid parameter to migrate it to a new host"
            )
        others = [host for host in agents.able(cloud, vm["zone"]) if host["id"] != vm["host"]]
        if not others:
            raise errors.ServerError(vms.NO_ROOM, f"Unable to create a deployment for VM instance {vm['name']}")
        return min(others, key=lambda host: (vms.running_on(cloud, host["id"]), host["dbid"]))
    host = request.found("hostid", cloud.hosts)
    if host["id"] == vm["host"]:
        raise errors.invalid(f"Cannot migrate VM {vm['name']} with its volumes: it is already on the destination host {host['name']}")
    if host not in agents.able(cloud, vm["zone"]):
        raise errors.invalid(f"Cannot migrate VM, host {host['name']} is not in correct state")
    return host


def _live(request: Request, vm: Document, wanted: dict[str, str]) -> Steps:
    cloud, host = request.cloud, _target(request, vm)
    others = [one for one in volumes.of_vm(cloud, vm["id"]) if one["id"] not in wanted and one["path"] is not None]
    if not wanted:
        vms.migrate(cloud, vm, host)
        return
    if not all(storage.on_storpool(cloud.pools[pool]) for pool in wanted.values()):
        # The plugin does not do it (plugin sheet 5.8), and no other strategy is served here
        raise errors.failure(f"Unable to find a strategy to live migrate the volumes of VM {vm['name']} to other storage than StorPool")
    cloud.vms.change(vm["id"], state=vms.MIGRATING)
    try:
        yield from cloud.workshop.alone(_key(vm["id"]), motion.move_with_vm(cloud, vm, host, wanted, others))
    except errors.ServerError:
        cloud.vms.change(vm["id"], state=vms.RUNNING)
        cloud.world.commit()
        raise
    cloud.vms.change(vm["id"], state=vms.RUNNING, host=host["id"], last_host=host["id"], pool=vms.pool_of(cloud, vm["id"]))


def move_all(request: Request, vm: Document, pool: Document) -> Steps:
    """migrateVirtualMachine with a storageid: all volumes of a stopped VM. Raises ServerError."""
    cloud = request.cloud
    if vm["state"] != vms.STOPPED:
        raise errors.invalid("VM is not in Stopped state, only stopped VMs can be migrated to another storage pool")
    moving = [one for one in volumes.of_vm(cloud, vm["id"]) if one["path"] is not None and one["pool"] != pool["id"]]
    for volume in moving:
        _refuse_vm_snapshots(cloud, volume)
        if volume["encrypt"]:
            raise errors.invalid("Migration of encrypted volumes is unsupported")
        _check_pool(cloud, volume, pool)
    for volume in moving:
        yield from _moved(cloud, volume, pool)
    cloud.vms.change(vm["id"], pool=vms.pool_of(cloud, vm["id"]))
