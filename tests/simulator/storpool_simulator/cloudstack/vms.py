# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""VMs with volumes: the records, their life on hosts, what listings tell. Bare instances, as tests put them on hosts, have no volumes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import access, errors, hosts, nfs, offerings, resource_tags, storage, templates, vm_snapshots, volumes
from .answers import date
from .plugin import agents, cache, encryption, snapshots, uploads, vmsnapshots
from .plugin import volumes as driver
from .plugin.client import gid_of
from .work import Steps

if TYPE_CHECKING:
    from ..store import Document
    from .cloud import Cloud

RUNNING, STOPPED, STARTING, STOPPING = "Running", "Stopped", "Starting", "Stopping"
MIGRATING, DESTROYED, EXPUNGING, ERROR = "Migrating", "Destroyed", "Expunging", "Error"
NO_ROOM = 533  # InsufficientServerCapacity
GIB = 1 << 30

FIELDS: dict[str, Any] = {
    "display_name": None,
    "offering": None,
    "template": None,
    "iso": None,
    "ostype": None,
    "details": {},
    "display": True,
    "protected": False,
    "user": None,
    "last_host": None,
    "pool": None,
    "host": None,
    "ha": False,
    "destroyed": None,
    "state": STOPPED,
}


def new(cloud: Cloud, id: str, name: str, account: str, zone: str, **more: Any) -> Document:
    return cloud.add("vm", id, **{**FIELDS, "name": name, "account": account, "zone": zone, **more})


def instance_name(vm: Document) -> str:
    return f"i-2-{vm['dbid']}-VM"


def running_on(cloud: Cloud, host: str) -> int:
    return sum(vm["host"] == host for vm in cloud.living(cloud.vms))


def hosts_for(cloud: Cloud, vm: Document) -> list[Document]:
    """Those that can run it: with its host tags, and with encryption if it has encrypted disks."""
    tags = offerings.tags_of(cloud.service_offerings[vm["offering"]]["hosttags"]) if vm["offering"] else set()
    encrypted = any(volume["encrypt"] for volume in volumes.of_vm(cloud, vm["id"]))
    found = agents.able(cloud, vm["zone"])
    return [host for host in found if tags <= offerings.tags_of(host["tags"]) and (hosts.encrypts(host) or not encrypted)]


def host_for(cloud: Cloud, vm: Document, **wanted: str | None) -> Document:
    """The emptiest host that can run it. `wanted`: id, cluster, pod of the host. Raises ServerError."""
    found = [host for host in hosts_for(cloud, vm) if all(value in (None, host[key]) for key, value in wanted.items())]
    if not found:
        raise errors.ServerError(NO_ROOM, f"Unable to create a deployment for VM instance {vm['name']}")
    return min(found, key=lambda host: (running_on(cloud, host["id"]), host["dbid"]))


# Volumes on StorPool


def materialise(cloud: Cloud, volume: Document) -> Steps:
    """The volume is on its pool afterwards: on StorPool the ROOT of a template as a child of its cache, anything else empty.

    An encrypted one is a copy instead, made by a host. Raises ServerError.
    """
    if volume["path"] is not None and not encryption.is_unfinished(volume):
        return volume
    if volume["snapshot"] is not None:
        yield from snapshots.volume_from(cloud, volume, cloud.snapshots[volume["snapshot"]])
        driver.retag(cloud, cloud.volumes[volume["id"]])
        return cloud.volumes[volume["id"]]
    offering = cloud.disk_offerings.get(volume["offering"] or "")
    pool = cloud.pools[volume["pool"]] if volume["path"] is not None else volumes.pool_for(cloud, volume["zone"], offering)
    if not storage.on_storpool(pool):
        return (yield from nfs.create(cloud, volume, pool))
    if volume["upload"] is not None:
        return (yield from uploads.bring(cloud, volume, pool))
    row = None
    if volume["template"] is not None:
        row = yield from cache.ensure(cloud, volume["template"], pool["id"])
    volume = cloud.volumes[volume["id"]]
    if volume["encrypt"]:
        if volume["path"] is None:
            volume = driver.create(cloud, volume, pool, iops=row is None or cloud.traits.root_iops)
        return (yield from encryption.seal(cloud, volume, gid_of(row["local_path"]) if row is not None else None))
    return driver.create(cloud, volume, pool) if row is None else driver.create_from_cache(cloud, volume, pool, row)


# Life


def start(cloud: Cloud, vm_id: str, host: Document, *, elsewhere: bool = False) -> Steps:
    """`elsewhere`: its disks may still be attached where it ran, and are taken from there. Raises ServerError."""
    cloud.vms.change(vm_id, state=STARTING)
    attached = []
    try:
        agents.fault(cloud, agents.START, vm_id, cloud.vms[vm_id]["name"], host["id"], host["name"])
        for volume in volumes.of_vm(cloud, vm_id):
            known = yield from materialise(cloud, volume)
            if elsewhere:
                driver.detach_everywhere(cloud, known)
            driver.attach(cloud, known, host)
            attached.append(known["id"])
    except (errors.ServerError, agents.HostError) as error:
        _give_back(cloud, attached, host)
        cloud.vms.change(vm_id, state=STOPPED, host=None)
        cloud.world.commit()
        if isinstance(error, errors.ServerError):
            raise
        raise errors.ServerError(
            NO_ROOM, f"Unable to orchestrate start VM instance {cloud.vms[vm_id]['name']} due to [{error}]."
        ) from error
    return cloud.vms.change(vm_id, state=RUNNING, host=host["id"], last_host=host["id"], pool=pool_of(cloud, vm_id))


def _give_back(cloud: Cloud, attached: list[str], host: Document) -> None:
    for id in attached:
        driver.leave(cloud, cloud.volumes[id], host)


def pool_of(cloud: Cloud, vm: str) -> str | None:
    root = volumes.root_of(cloud, vm)
    return root["pool"] if root is not None else cloud.vms[vm]["pool"]


def pools_of(cloud: Cloud, vm: Document) -> set[str]:
    """Where its volumes lie; of a bare instance where a test says."""
    found = {volume["pool"] for volume in volumes.of_vm(cloud, vm["id"])} | {vm["pool"]}
    return {pool for pool in found if pool is not None}


def stop(cloud: Cloud, vm: Document, forced: bool = False) -> Document:
    """Raises ServerError."""
    host = cloud.hosts.get(vm["host"]) if vm["host"] else None
    about = (vm["id"], vm["name"])
    if host is not None and not forced:
        try:
            agents.fault(cloud, agents.STOP, *about, host["id"], host["name"])
        except agents.HostError as error:
            raise errors.failure(f"Unable to stop {vm['name']}: {error}") from error
    if host is not None and not forced and not hosts.client_runs(cloud, host):
        raise errors.failure(f"Unable to stop {vm['name']}: host {host['name']} cannot be reached")
    for volume in volumes.of_vm(cloud, vm["id"]):
        if volume["path"] is None:
            continue
        if host is not None and hosts.client_runs(cloud, host):
            driver.leave(cloud, volume, host)
        if forced:
            driver.detach_everywhere(cloud, volume)
            cloud.volumes.change(volume["id"], seen=None)
    return cloud.vms.change(vm["id"], state=STOPPED, host=None)


def migrate(cloud: Cloud, vm: Document, target: Document) -> Document:
    """Live: the disks are attached on both hosts for a moment. Raises ServerError."""
    source = cloud.hosts[vm["host"]]
    cloud.vms.change(vm["id"], state=MIGRATING)
    attached = []
    try:
        for volume in volumes.of_vm(cloud, vm["id"]):
            driver.attach(cloud, volume, target)
            attached.append(volume["id"])
    except errors.ServerError:
        _give_back(cloud, attached, target)
        cloud.vms.change(vm["id"], state=RUNNING)
        cloud.world.commit()
        raise
    for volume in volumes.of_vm(cloud, vm["id"]):
        driver.leave(cloud, volume, source)
        cloud.volumes.change(volume["id"], seen=volume["seen"] or volume["size"])
    return cloud.vms.change(vm["id"], state=RUNNING, host=target["id"], last_host=target["id"])


def move_by_force(cloud: Cloud, vm: Document, target: Document | None) -> None:
    """After its host is gone: the disks are taken from it and attached on the target, if there is one (plugin sheet 3.4)."""
    state, host = (RUNNING, target["id"]) if target is not None else (STOPPED, None)
    for volume in volumes.of_vm(cloud, vm["id"]):
        driver.detach_everywhere(cloud, volume)
        if target is None or volume["path"] is None:
            continue
        try:
            driver.attach(cloud, volume, target)
        except errors.ServerError as error:
            cloud.journal.add("WARN", "HighAvailabilityManagerImpl", error.text, vm=vm["id"])
            state, host = STOPPED, None
    cloud.vms.change(vm["id"], state=state, host=host)


def expunge(cloud: Cloud, vm: Document) -> None:
    """With its ROOT volume. Raises ServerError; the VM then stays in Expunging."""
    cloud.vms.change(vm["id"], state=EXPUNGING)
    for snapshot in vm_snapshots.of_vm(cloud, vm["id"]):
        vmsnapshots.delete(cloud, snapshot)
    for volume in volumes.of_vm(cloud, vm["id"]):
        driver.expunge(cloud, volume)
    resource_tags.forget(cloud, "UserVm", vm["id"])
    cloud.vms.change(vm["id"], removed=cloud.world.clock.now(), host=None)


# Views


def shown(cloud: Cloud, vm: Document, root: bool, job: Document | None = None) -> dict[str, Any]:
    """`root`: the caller is a root admin, who also sees where it runs."""
    host = cloud.hosts.get(vm["host"]) if vm["host"] else None
    offering = cloud.service_offerings.get(vm["offering"]) if vm["offering"] else None
    template = cloud.templates.get(vm["template"]) if vm["template"] else None
    system = cloud.ostypes.get(vm["ostype"]) if vm["ostype"] else None
    user = cloud.users.get(vm["user"]) if vm["user"] else None
    disk = volumes.root_of(cloud, vm["id"])
    disk_offering = offerings.disk_of(cloud, offering) if offering is not None else None
    plain = disk_offering is not None and disk_offering["compute_only"] is None
    fields = {
        "id": vm["id"],
        "name": vm["name"],
        "displayname": vm["display_name"] or vm["name"],
        **access.owner_shown(cloud, vm["account"]),
        "userid": user and user["id"],
        "username": user and user["name"],
        "state": vm["state"],
        "haenable": vm["ha"],
        "hypervisor": "KVM",
        "zoneid": vm["zone"],
        "zonename": cloud.zones[vm["zone"]]["name"],
        "created": date(vm["created"]),
        "displayvm": vm["display"],
        "serviceofferingid": offering and offering["id"],
        "serviceofferingname": offering and offering["name"],
        "cpunumber": offering and offering["cpus"],
        "cpuspeed": offering and offering["mhz"],
        "memory": offering and offering["memory"],
        "diskofferingid": disk_offering["id"] if disk_offering is not None and plain else None,
        "diskofferingname": disk_offering["name"] if disk_offering is not None and plain else None,
        **volumes.origin_shown(cloud, vm),
        "ostypeid": system and system["id"],
        "osdisplayname": system and system["name"],
        "guestosid": system and system["id"],
        "passwordenabled": bool(template and template["password"]),
        "isdynamicallyscalable": False,
        "rootdeviceid": disk["device"] if disk is not None else None,
        "rootdevicetype": "ROOT" if disk is not None else None,
        "pooltype": "StorPool" if disk is not None and disk["pool"] else None,
        "details": vm["details"] or None,
        "hasannotations": False,
        "tags": resource_tags.shown(cloud, "UserVm", vm["id"]),
        "nic": [],
        "securitygroup": [],
        "affinitygroup": [],
        "jobid": job and job["id"],
        "jobstatus": job and job["status"],
        **(cloud.since("4.19.0", {"templatetype": template["type"]}) if template is not None else {}),
        **cloud.since("4.19.3", {"templateformat": template and template["format"]}),
        **cloud.since("4.20.0", {"deleteprotection": vm["protected"], "vmtype": "User"}),
        **cloud.since("4.20.1", {"arch": "x86_64"}),
    }
    if root:
        fields.update(hostid=host and host["id"], hostname=host and host["name"], instancename=instance_name(vm))
    return fields


def check_template(cloud: Cloud, id: str, zone: str) -> Document:
    """A template or ISO that a VM can be made from. Raises ServerError."""
    template = cloud.templates.get(id)
    if template is None or template["removed"] is not None:
        raise errors.invalid(f"Unable to use template {id}")
    if zone not in template["zones"]:
        raise errors.invalid(f"Template {template['name']} is not in zone {cloud.zones[zone]['name']}")
    if templates.ready_copy(cloud, id, zone) is None:
        raise errors.invalid(f"Template {template['name']} is not ready in zone {cloud.zones[zone]['name']}")
    return template
