# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the plugin does with volumes (``StorPoolPrimaryDataStoreDriver``; plugin sheet 5.1, 5.2, 5.4, 5.7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import errors, hosts, nfs, storage, volumes
from . import agents, delayed, tags
from .client import Client, StorPoolError, gid_of, path_of

if TYPE_CHECKING:
    from ...store import Document
    from ..cloud import Cloud

LUKS_HEADER = 2097152
DRIVER = "StorPoolPrimaryDataStoreDriver"


@dataclass(frozen=True)
class Tier:
    """What an offering asks of StorPool: a QoS class, or else another template (the class wins)."""

    qos: str | None = None
    template: str | None = None

    def __bool__(self) -> bool:
        return self.qos is not None or self.template is not None


def tier_of(cloud: Cloud, offering: str | None) -> Tier:
    """Of a disk offering; the template also of a service offering that has its disk offering for itself."""
    disk = cloud.disk_offerings.get(offering) if offering else None
    if disk is None or not cloud.traits.tiers:
        return Tier()
    qos, template = disk["details"].get(tags.QOS_CLASS), disk["details"].get(tags.SP_TEMPLATE)
    if template is None and disk["compute_only"]:
        template = cloud.service_offerings[disk["compute_only"]]["details"].get(tags.SP_TEMPLATE)
    return Tier(qos, None if qos is not None else template)


def size_on_storpool(volume: Document, size: int | None = None) -> int:
    return (volume["size"] if size is None else size) + (LUKS_HEADER if volume["encrypt"] else 0)


def vm_of(cloud: Cloud, volume: Document) -> Document | None:
    return cloud.vms.get(volume["vm"]) if volume["vm"] else None


def on_storpool(cloud: Cloud, volume: Document) -> bool:
    """Whether it is there; one that is on an NFS pool is of no concern to the plugin."""
    return volume["path"] is not None and storage.on_storpool(cloud.pools[volume["pool"]])


def all_tags(cloud: Cloud, volume: Document, tier: Tier, uuid: str | None = None) -> dict[str, str]:
    """With `uuid` the trap of 4.21: the address stands in for CloudStack's id."""
    vm = vm_of(cloud, volume)
    more = {tags.TIER: tier.qos}
    if cloud.traits.disk_tag and vm is not None and volume["device"] is not None:
        more[tags.DISK] = str(volume["device"])
    return tags.tags(uuid or volume["id"], tags.VOLUME, vm and vm["id"], tags.policy_of(cloud, vm), **more)


def create(cloud: Cloud, volume: Document, pool: Document, *, parent: str | None = None, iops: bool = True, tier: bool = True) -> Document:
    """On StorPool, empty or from the snapshot with the globalId `parent`; with a tier no IOPS are sent. Raises ServerError.

    `iops` and `tier`: whether the release sends these for such a volume.
    """
    wanted = tier_of(cloud, volume["offering"]) if tier else Tier()
    cloud.volumes.change(volume["id"], state=volumes.CREATING, pool=pool["id"])
    try:
        client = Client.of_pool(cloud, pool)
        size = size_on_storpool(volume)
        if parent is not None:
            # What is smaller than its parent is raised to it; the database is not told (plugin sheet 5.2)
            known = client.snapshot(parent)["size"]
            size = max(size, known)
            if not volume["size"]:
                # Of a template of direct download nobody knew it before
                cloud.volumes.change(volume["id"], size=known)
        gid = client.volume_create(
            size,
            all_tags(cloud, volume, wanted),
            parent=parent,
            template=wanted.template,
            iops=volume["maxiops"] if iops and not wanted else None,
        )
    except StorPoolError as error:
        cloud.volumes.change(volume["id"], state=volumes.ALLOCATED, pool=None)
        cloud.world.commit()
        raise errors.failure(f"Could not create StorPool volume {volume['id']}. Error: {error.text}") from error
    changed = cloud.volumes.change(volume["id"], state=volumes.READY, pool=pool["id"], path=path_of(gid))
    cloud.world.commit()
    return changed


def create_from_cache(cloud: Cloud, volume: Document, pool: Document, row: Document) -> Document:
    """A ROOT volume is a child of the cached snapshot: no byte is copied. Raises ServerError."""
    return create(cloud, volume, pool, parent=gid_of(row["local_path"]), iops=cloud.traits.root_iops)


def retag(cloud: Cloud, volume: Document) -> None:
    """At attach; from 4.21 on all tags anew, and the template (plugin sheet 5.1). Raises ServerError."""
    if not on_storpool(cloud, volume):
        return
    client = Client.of_pool(cloud, cloud.pools[volume["pool"]])
    gid, tier, vm = gid_of(volume["path"]), tier_of(cloud, volume["offering"]), vm_of(cloud, volume)
    try:
        if cloud.traits.uuid_trap:
            fields: dict[str, Any] = {"tags": all_tags(cloud, volume, tier, uuid="~" + gid), "template": tier.template or client.template}
        else:
            fields = {"tags": tags.tags(None, None, vm["id"] if vm is not None else "", tags.policy_of(cloud, vm))}
        client.volume_update(gid, **fields)
    except StorPoolError as error:
        raise errors.failure(f"Could not update tags of StorPool volume {volume['id']}: {error.text}") from error


def untag(cloud: Cloud, volume: Document) -> None:
    """At detach. What fails is only logged."""
    emptied = {tags.VM: "", tags.POLICY: "", **({tags.DISK: ""} if cloud.traits.disk_tag else {})}
    _tag(cloud, volume, emptied)


def set_policy(cloud: Cloud, vm: str, policy: str | None) -> None:
    """The VM's resource tag vc-policy goes to all its volumes at once; None takes it away."""
    for volume in volumes.of_vm(cloud, vm):
        _tag(cloud, volume, {tags.POLICY: policy or ""})


def _tag(cloud: Cloud, volume: Document, wanted: dict[str, str]) -> None:
    if not on_storpool(cloud, volume):
        return
    try:
        Client.of_pool(cloud, cloud.pools[volume["pool"]]).volume_update(gid_of(volume["path"]), tags=wanted)
    except StorPoolError as error:
        cloud.journal.add("WARN", DRIVER, f"Could not update VC policy tags of a volume with id [{volume['id']}]: {error.text}")


# On hosts


def attach(cloud: Cloud, volume: Document, host: Document) -> None:
    """The host gets the volume's device and the VM opens it; a file on NFS it opens as it is. Raises ServerError."""
    if volume["encrypt"] and not hosts.encrypts(host):
        # The sheet tells no words for it
        raise errors.failure(f"Volume {volume['name']} is encrypted, and host {host['name']} does not support volume encryption")
    gid = gid_of(volume["path"])
    plugged = on_storpool(cloud, volume)
    try:
        agents.fault(cloud, agents.ATTACH, volume["id"], volume["name"], host["id"], host["name"])
        if plugged:
            agents.attach(cloud, host, gid)
    except (StorPoolError, agents.HostError) as error:
        text = error.text if isinstance(error, StorPoolError) else str(error)
        raise errors.failure(f"Failed to attach volume {volume['name']} on host {host['name']}: {text}") from error
    if plugged:
        agents.hold_open(cloud, host, gid, True)
    cloud.volumes.change(volume["id"], seen=volume["size"])
    cloud.world.commit()


def detach(cloud: Cloud, volume: Document, host: Document) -> None:
    """Raises ServerError."""
    gid = gid_of(volume["path"])
    try:
        agents.fault(cloud, agents.DETACH, volume["id"], volume["name"], host["id"], host["name"])
        if on_storpool(cloud, volume):
            agents.hold_open(cloud, host, gid, False)
            agents.detach(cloud, host, gid)
    except (StorPoolError, agents.HostError) as error:
        text = error.text if isinstance(error, StorPoolError) else str(error)
        raise errors.failure(f"Could not detach StorPool volume {volume['name']} from host {host['name']}: {text}") from error
    cloud.volumes.change(volume["id"], seen=None)
    cloud.world.commit()


def leave(cloud: Cloud, volume: Document, host: Document) -> None:
    """After the VM is gone from the host: a disk that the host does not let go of is only logged (#10799 came of such)."""
    try:
        detach(cloud, volume, host)
    except errors.ServerError as error:
        if on_storpool(cloud, volume):
            agents.hold_open(cloud, host, gid_of(volume["path"]), False)
        cloud.volumes.change(volume["id"], seen=None)
        cloud.journal.add("WARN", DRIVER, error.text, volume=volume["id"])


def detach_everywhere(cloud: Cloud, volume: Document) -> None:
    """By force, wherever it is attached: before a VM starts on another host after its own is lost (#10799). What fails is logged."""
    if not on_storpool(cloud, volume):
        return
    try:
        Client.of_pool(cloud, cloud.pools[volume["pool"]]).detach_everywhere(gid_of(volume["path"]))
    except StorPoolError as error:
        cloud.journal.add("WARN", DRIVER, f"Could not detach StorPool volume {volume['id']} from all clients: {error.text}")


# Resize


def resize(cloud: Cloud, volume: Document, size: int, maxiops: int | None, offering: str | None) -> Document:
    """On StorPool, then the host is told; on an error the old size and IOPS are restored. Raises ServerError.

    With a tier in the new offering no IOPS are sent. 0 stands for no limit (#6902).
    """
    if not on_storpool(cloud, volume):
        nfs.resize(cloud, volume, size)
        return cloud.volumes.change(volume["id"], size=size, seen=size if volume["seen"] else None)
    tier = tier_of(cloud, offering or volume["offering"])
    pool, gid = cloud.pools[volume["pool"]], gid_of(volume["path"])
    old = {"size": size_on_storpool(volume), "iops": volume["maxiops"] or 0, "shrinkOk": True}
    fields: dict[str, Any] = {"size": size_on_storpool(volume, size), "shrinkOk": True}
    if tier:
        fields.update({"tags": {tags.TIER: tier.qos}} if tier.qos is not None else {"template": tier.template})
        del old["iops"]
    else:
        fields["iops"] = maxiops or 0
    try:
        client = Client.of_pool(cloud, pool)
        client.volume_update(gid, **fields)
    except StorPoolError as error:
        raise errors.failure(f"Could not resize StorPool volume {volume['id']}. Error: {error.text}") from error
    try:
        seen = _tell_host(cloud, volume, size)
    except (StorPoolError, agents.HostError, errors.ServerError) as error:
        client.volume_update(gid, **old)
        text = str(error) if isinstance(error, agents.HostError) else error.text
        raise errors.failure(f"Could not resize StorPool volume {volume['id']}. {text}") from error
    return cloud.volumes.change(volume["id"], size=size, seen=seen)


def _tell_host(cloud: Cloud, volume: Document, size: int) -> int | None:
    """The host of the running VM tells libvirt; without one any host attaches and detaches for it. The size that the VM knows then."""
    vm = vm_of(cloud, volume)
    host = cloud.hosts[vm["host"]] if vm is not None and vm["host"] else None
    about = (volume["id"], volume["name"])
    if host is None:
        host = agents.endpoint(cloud, volume["zone"], cloud.world.clusters[cloud.pools[volume["pool"]]["storpool"]].id)
        agents.fault(cloud, agents.RESIZE, *about)
        agents.attach(cloud, host, gid_of(volume["path"]))
        agents.detach(cloud, host, gid_of(volume["path"]))
        return None
    agents.fault(cloud, agents.RESIZE, *about)
    try:
        agents.fault(cloud, agents.NOTIFY, *about)
    except agents.HostError as error:
        # The job succeeds all the same
        words = f"Resize of volume {volume['name']} succeeded, but the VM was not told; it needs a reboot to see the new size: {error}"
        cloud.journal.add("WARN", DRIVER, words, volume=volume["id"])
        return volume["seen"]
    return size


# Deletion


def delete(cloud: Cloud, volume: Document) -> None:
    """On StorPool, with whatever attachments there are; one that is gone already is as good. Raises ServerError."""
    if not on_storpool(cloud, volume):
        if volume["path"] is not None:
            nfs.drop(cloud, volume)
        return
    try:
        client = Client.of_pool(cloud, cloud.pools[volume["pool"]])
        delayed.keep(cloud, volume, client)
        client.volume_delete(gid_of(volume["path"]))
    except StorPoolError as error:
        if not error.is_missing:
            raise errors.failure(f"Could not delete StorPool volume {volume['id']}. Error: {error.text}") from error


def drop_upload(cloud: Cloud, volume: Document) -> None:
    """The file of an uploaded volume that has not come to StorPool goes once that is on record."""
    upload = volume["upload"]
    if upload is not None:
        cloud.world.after_commit(lambda: cloud.secondary.drop(cloud.stores[upload["store"]], upload["path"]))


def expunge(cloud: Cloud, volume: Document) -> None:
    """Raises ServerError; the volume then stays as it is."""
    delete(cloud, volume)
    drop_upload(cloud, volume)
    cloud.volumes.change(
        volume["id"], state=volumes.EXPUNGED, removed=cloud.world.clock.now(), vm=None, device=None, attached=None, path=None, seen=None
    )
    cloud.world.commit()


def is_on(cloud: Cloud, pool: str) -> list[Document]:
    """The volumes that CloudStack has on a pool."""
    return [one for one in cloud.living(cloud.volumes) if one["pool"] == pool]


def cluster_id(cloud: Cloud, pool: Document) -> str:
    return cloud.world.clusters[pool["storpool"]].id
