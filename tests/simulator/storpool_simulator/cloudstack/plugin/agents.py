# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the agents of KVM hosts do for the plugin (``StorPoolStorageAdaptor``, ``StorPool*CommandWrapper``; plugin sheet 2.5).

A command to a host may be made to fail, to be slow or to be held by a fault of kind host_fails, host_slow or host_held whose `call` is its
name here.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ... import lifecycle
from .. import errors, hosts
from ..work import Chore, Pause, Steps
from .client import Client, StorPoolError, address_of

if TYPE_CHECKING:
    from ...cluster import Cluster
    from ...faults import Fault
    from ...store import Document
    from ..cloud import Cloud

DOWNLOAD_TEMPLATE = "StorPoolDownloadTemplate"
DOWNLOAD_VOLUME = "StorPoolDownloadVolume"
BACKUP_SNAPSHOT = "StorPoolBackupSnapshot"
BACKUP_TEMPLATE = "StorPoolBackupTemplateFromSnapshot"
COPY_VOLUME = "StorPoolCopyVolumeToSecondary"
RESIZE = "StorPoolResizeVolume"
# What a resize tells libvirt; a failure leaves the resize as it is
NOTIFY = "NotifyResize"
SET_ENCRYPTION = "StorPoolSetVolumeEncryption"
DELETE_TEMPLATE = "DestroyTemplate"
START, STOP, MIGRATE, ATTACH, DETACH = "Start", "Stop", "Migrate", "Attach", "Detach"

# How long the server waits for an answer (plugin sheet 1.4, 4.2)
WAITS = {
    DOWNLOAD_TEMPLATE: "primary.storage.download.wait",
    BACKUP_SNAPSHOT: "backup.snapshot.wait",
    COPY_VOLUME: "copy.volume.wait",
    DOWNLOAD_VOLUME: "copy.volume.wait",
}

NO_ENDPOINT = "No remote endpoint to send command, check if host or ssvm is down?"
NO_ENCRYPTION = "Could not find a host with volume encryption"


class HostError(Exception):
    """A host answered a command with a failure; its text is in the errors of the plugin."""


# Which host


def able(cloud: Cloud, zone: str, storpool: str | None = None) -> list[Document]:
    """Hosts that can be asked, of the zone or of those one StorPool cluster (by id)."""
    return [
        host
        for host in cloud.hosts_of(zone=zone)
        if cloud.takes_part(host) and storpool in (None, cloud.world.clusters[host["storpool"]].id) and hosts.client_runs(cloud, host)
    ]


def endpoint(cloud: Cloud, zone: str, storpool: str | None = None, *, encryption: bool = False) -> Document:
    """Any host near the data, or one that also encrypts. Raises ServerError."""
    found = able(cloud, zone, storpool) or able(cloud, zone)
    if encryption:
        near = [host for host in found if hosts.encrypts(host)]
        found = near or [host for host in able(cloud, zone) if hosts.encrypts(host)]
    if not found:
        raise errors.failure(NO_ENCRYPTION if encryption else NO_ENDPOINT)
    return found[0]


# Faults


def fault(cloud: Cloud, command: str, *objects: str) -> Fault | None:
    """What makes the host take longer, where a command may. Raises HostError."""
    wanted = cloud.world.faults.take("cloudstack", command, True, set(objects), host=True) if cloud.world.faults else None
    if wanted is not None and wanted.kind == "host_fails":
        raise HostError(str(wanted.more["text"]))
    return wanted


def delayed(cloud: Cloud, command: str, *objects: str) -> Steps:
    """The same for a command that may take time: as long as the server waits for it, then it has failed."""
    wanted = fault(cloud, command, *objects)
    if wanted is None:
        return
    most = cloud.settings.number(WAITS[command]) if command in WAITS else math.inf
    if wanted.kind == "host_held":
        end = time.monotonic() + most
        while (in_time := time.monotonic() < end) and cloud.world.faults.is_there(wanted.id):
            yield Pause()
    else:
        seconds = float(wanted.more["seconds"])
        in_time = seconds <= most
        yield Chore(lambda: time.sleep(min(seconds, most)))
    if not in_time:
        raise HostError(f"Command {command} timed out: no answer within {most:g} s")


# Attachments


def attach(cloud: Cloud, host: Document, gid: str, kind: str = "volume", rights: str = "rw") -> None:
    """On the host, as its StorPool CLI does; one that another cluster has is moved, and exported to where it was. Raises StorPoolError."""
    if not hosts.client_runs(cloud, host):
        raise StorPoolError("clientDown", f"client {host['client']} is down")
    item: dict[str, Any] = {kind: address_of(gid), rights: [host["client"]]}
    if kind == "volume":
        item["onRemoteAttached"] = "export"
    Client.of_host(cloud, host).post("VolumesReassignWait", {"reassign": [item]})


def detach(cloud: Cloud, host: Document, gid: str, kind: str = "volume", force: bool = False) -> None:
    item: dict[str, Any] = {kind: address_of(gid), "detach": [host["client"]]}
    if force:
        item["force"] = True
    Client.of_host(cloud, host).post("VolumesReassignWait", {"reassign": [item]})


def hold_open(cloud: Cloud, host: Document, gid: str, is_open: bool) -> None:
    """A running VM holds its disks open; a StorPool without the attachment has nothing to note."""
    cluster = cloud.world.clusters[host["storpool"]]
    if not is_open or host["client"] in cluster.attached.get(gid, {}):
        lifecycle.set_open(cluster, gid, host["client"], is_open)


# Bytes: what lies behind a device of a host


def owner(cloud: Cloud, gid: str) -> tuple[Cluster, Document]:
    """The StorPool cluster that has the object, and the object. Raises HostError."""
    for cluster in cloud.world.clusters.values():
        document = cluster.object(gid)
        if document is not None:
            return cluster, document
    raise HostError(f"there is no device for {gid}")


def readable(cloud: Cloud, gid: str) -> Path:
    """The file with an object's bytes of this moment, at least as long as the object. It must not be written."""
    cluster, document = owner(cloud, gid)
    world = cloud.world
    world.devices.flush(cluster, gid)
    content = world.payload.content(cluster, gid)
    if content is None:
        content = world.contents.create(document["size"])
        world.payload.assign(cluster, gid, content)
        world.commit()
    world.contents.grow(content, document["size"])
    return world.contents.path(content)


def writable(cloud: Cloud, gid: str) -> Path:
    """The file or the device with a volume's own bytes, as long as the volume."""
    cluster, document = owner(cloud, gid)
    world = cloud.world
    content = world.payload.make_private(cluster, document)
    world.commit()
    world.contents.fit(content, document["size"])
    return world.devices.target(cluster, gid) or world.contents.path(content)


def written(cloud: Cloud, gid: str) -> None:
    """A host wrote into a volume past the content interface: count its bytes."""
    cluster, document = owner(cloud, gid)
    world = cloud.world
    world.devices.flush(cluster, gid)
    content = world.payload.content(cluster, gid)
    if content is not None:
        world.contents.touched(content)
        world.contents.bytes_converted += world.contents.used(content, document["size"])
