# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Volumes: the records, where they may lie, what listings tell (plugin sheet 5.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import access, errors, offerings, resource_tags, storage
from .answers import date

if TYPE_CHECKING:
    from ..store import Document
    from .cloud import Cloud

ROOT, DATA = "ROOT", "DATADISK"
ALLOCATED, CREATING, READY, RESIZING = "Allocated", "Creating", "Ready", "Resizing"
UPLOADED, UPLOAD_ERROR = "Uploaded", "UploadError"
DESTROY, EXPUNGING, EXPUNGED = "Destroy", "Expunging", "Expunged"
GIB = 1 << 30
# Device 3 is the CD-ROM's
CDROM_DEVICE = 3
MOST_DEVICES = 64


def new(cloud: Cloud, id: str, name: str, account: str, zone: str, size: int, **more: Any) -> Document:
    fields = {
        "name": name,
        "account": account,
        "zone": zone,
        "type": DATA,
        "state": ALLOCATED,
        # As CloudStack tells it; an encrypted one is 2 MiB larger on StorPool
        "size": size,
        "pool": None,
        "path": None,
        "template": None,
        "iso": None,
        # The disk offering; for a ROOT also the service offering
        "offering": None,
        "service_offering": None,
        "miniops": None,
        "maxiops": None,
        "vm": None,
        "device": None,
        "attached": None,
        # The snapshot it was made from
        "snapshot": None,
        "display": True,
        "protected": False,
        "encrypt": None,
        # Of an uploaded one: its image store, and its file there
        "upload": None,
        "provisioning": "thin",
        "extractable": True,
        "chain": None,
        # When it was destroyed, while it can still be recovered
        "destroyed": None,
        # The size that the running VM knows of
        "seen": None,
    }
    return cloud.add("volume", id, **{**fields, **more})


def of_vm(cloud: Cloud, vm: str) -> list[Document]:
    """By device; ROOT first."""
    found = [one for one in cloud.volumes_of_vm.of(vm) if one["state"] not in (EXPUNGING, EXPUNGED)]
    return sorted(found, key=lambda one: (one["device"] is None, one["device"], one["dbid"]))


def vm_of(cloud: Cloud, volume: Document) -> Document | None:
    """The VM that CloudStack tells. It does so once the host has answered, though the device number is taken before."""
    return cloud.vms.get(volume["vm"]) if volume["vm"] and volume["attached"] is not None else None


def root_of(cloud: Cloud, vm: str) -> Document | None:
    return next((one for one in of_vm(cloud, vm) if one["type"] == ROOT), None)


def free_device(cloud: Cloud, vm: str, wanted: int | None = None) -> int:
    """Raises ServerError."""
    taken = {one["device"]: one for one in of_vm(cloud, vm)}
    if wanted is not None:
        if not 0 <= wanted < MOST_DEVICES or wanted == CDROM_DEVICE:
            raise errors.failure(f"deviceId {wanted} can't be used: it is not between 0 and {MOST_DEVICES - 1}, or the CD-ROM's")
        if wanted in taken:
            raise errors.failure(f"deviceId {wanted} is used by vm {cloud.vms[vm]['name']}")
        return wanted
    return next(number for number in range(1, MOST_DEVICES) if number != CDROM_DEVICE and number not in taken)


def pool_for(cloud: Cloud, zone: str, offering: Document | None) -> Document:
    """The first pool of the zone that is Up and has the storage tags of the offering. Raises ServerError."""
    wanted = offerings.tags_of(offering["tags"]) if offering is not None else set()
    for pool in cloud.living(cloud.pools):
        if pool["zone"] == zone and pool["state"] == storage.UP and wanted <= offerings.tags_of(pool["tags"]):
            return pool
    raise errors.failure(
        "Unable to find suitable primary storage: no pool of the zone that is Up has the storage tags " + ",".join(sorted(wanted))
    )


def has_vm_snapshots(cloud: Cloud, vm: str | None) -> bool:
    return vm is not None and any(one["vm"] == vm for one in cloud.living(cloud.vm_snapshots))


def origin_shown(cloud: Cloud, of: Document) -> dict[str, Any]:
    """Which template and which ISO image a volume or a VM is made of."""
    shown = {}
    for kind in ("template", "iso"):
        origin = cloud.templates.get(of[kind]) if of[kind] else None
        shown.update({f"{kind}id": origin and origin["id"], f"{kind}name": origin and origin["name"]})
        shown[f"{kind}displaytext"] = origin and origin["displaytext"]
    return shown


def shown(cloud: Cloud, volume: Document, root: bool, job: Document | None = None) -> dict[str, Any]:
    """`root`: the caller is a root admin, who also sees where it lies."""
    vm = vm_of(cloud, volume)
    pool = cloud.pools.get(volume["pool"]) if volume["pool"] else None
    offering = cloud.disk_offerings.get(volume["offering"]) if volume["offering"] else None
    service = cloud.service_offerings.get(volume["service_offering"]) if volume["service_offering"] else None
    plain = offering is not None and offering["compute_only"] is None
    fields: dict[str, Any] = {
        "id": volume["id"],
        "name": volume["name"],
        "type": volume["type"],
        "state": volume["state"],
        "status": "" if volume["state"] != READY else None,
        "size": volume["size"],
        "virtualsize": volume["size"] if volume["path"] else None,
        "physicalsize": volume["size"] if volume["path"] else None,
        "miniops": volume["miniops"],
        "maxiops": volume["maxiops"],
        **access.owner_shown(cloud, volume["account"]),
        "zoneid": volume["zone"],
        "zonename": cloud.zones[volume["zone"]]["name"],
        "created": date(volume["created"]),
        "attached": date(volume["attached"]),
        "deviceid": volume["device"] if vm is not None else None,
        "destroyed": volume["state"] == DESTROY,
        "displayvolume": volume["display"],
        "hypervisor": "KVM" if volume["pool"] or vm is not None else "None",
        "isextractable": volume["extractable"],
        "provisioningtype": volume["provisioning"],
        "storagetype": "shared",
        "quiescevm": False,
        "supportsstoragesnapshot": False,
        "hasannotations": False,
        "chaininfo": volume["chain"],
        "diskofferingid": offering["id"] if offering is not None and plain else None,
        "diskofferingname": offering["name"] if offering is not None and plain else None,
        "diskofferingdisplaytext": offering["displaytext"] if offering is not None and plain else None,
        "serviceofferingid": service and service["id"],
        "serviceofferingname": service and service["name"],
        "serviceofferingdisplaytext": service and service["displaytext"],
        **origin_shown(cloud, volume),
        "snapshotid": volume["snapshot"],
        "tags": resource_tags.shown(cloud, "Volume", volume["id"]),
        "jobid": job and job["id"],
        "jobstatus": job and job["status"],
        **cloud.since("4.19.3", {"encryptformat": volume["encrypt"]}),
        **cloud.since("4.20.0", {"deleteprotection": volume["protected"]}),
    }
    if vm is not None:
        fields.update(
            virtualmachineid=vm["id"], vmname=vm["name"], vmdisplayname=vm["display_name"] or vm["name"], vmstate=vm["state"], vmtype="User"
        )
    if root:
        fields.update(path=volume["path"], storage=pool and pool["name"], storageid=pool and pool["id"])
        host = cloud.hosts.get(vm["host"]) if vm is not None and vm["host"] else None
        if host is not None:
            cluster, pod = cloud.clusters[host["cluster"]], cloud.pods[host["pod"]]
            fields.update(clusterid=cluster["id"], clustername=cluster["name"], podid=pod["id"], podname=pod["name"])
    return fields
