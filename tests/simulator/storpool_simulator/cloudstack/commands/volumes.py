# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Volumes (plugin sheet 5.2 to 5.4; ``VolumeApiServiceImpl``)."""

from __future__ import annotations

from typing import Any

from ...store import Document
from .. import access, answers, errors, nfs, offerings, qemu, resource_tags, secondary, templates, vms, volumes
from ..cloud import Cloud
from ..ids import new_id
from ..plugin import extraction
from ..plugin import snapshots as snapshot_driver
from ..plugin import volumes as driver
from ..registry import command
from ..request import Request
from ..volumes import GIB
from ..work import Chore, Steps

ABOUT = ("Volume", "id")
PROTECTED = "Volume [id = {id}, name = {name}] has delete protection enabled and cannot be deleted."
UNRESIZABLE_OLD = "A volume that is attached to a VM with any VM snapshots cannot be resized."
UNRESIZABLE = "The volume {name} is attached to a VM with memory&disk VM snapshots; therefore, it cannot be resized."


def _volume(request: Request, name: str = "id") -> Document:
    return access.own(request, name, request.cloud.volumes)


def _answer(request: Request, id: str) -> dict:
    return answers.single(request, volumes.shown(request.cloud, request.cloud.volumes[id], request.caller.is_root))


def refuse_protected(cloud: Cloud, volume: Document) -> None:
    if cloud.traits.delete_protection and volume["protected"]:
        raise errors.invalid(PROTECTED.format(**volume))


@command("listVolumes", package="user.volume")
def list_volumes(request: Request) -> dict:
    """Without listall only those of the caller's account; `type` is a substring (sheet section 7)."""
    cloud = request.cloud
    pending, scope = cloud.jobs.pending_of("Volume"), access.scope(request)
    found = [
        volume
        for volume in cloud.living(cloud.volumes)
        for vm in [volumes.vm_of(cloud, volume) or {"id": None, "host": None}]
        for host in [cloud.hosts.get(vm["host"] or "") or {"id": None, "cluster": None, "pod": None}]
        if scope.has(volume)
        and volume["id"] in request.get("ids", [volume["id"]])
        and request.matches(
            id=volume["id"],
            name=volume["name"],
            zoneid=volume["zone"],
            storageid=volume["pool"],
            state=volume["state"],
            virtualmachineid=vm["id"],
            diskofferingid=volume["offering"],
            serviceofferingid=volume["service_offering"],
            isencrypted=volume["encrypt"] is not None,
            displayvolume=volume["display"],
            hostid=host["id"],
            clusterid=host["cluster"],
            podid=host["pod"],
        )
        and request.get("type", "").lower() in volume["type"].lower()
        and resource_tags.matches(cloud, "Volume", volume["id"], request.get("tags"))
        and request.has_keyword(volume["name"], volume["type"], volume["state"])
    ]
    return answers.listing(request, found, lambda one: volumes.shown(cloud, one, request.caller.is_root, pending.get(one["id"])))


# Create


def _size(request: Request, offering: Document) -> int:
    """Bytes: of the offering, or for one with a size to choose the given GiB."""
    wanted = request.get("size")
    if not offering["customized"]:
        if wanted is not None and wanted * GIB != offering["size"]:
            raise errors.invalid("This disk offering does not allow custom size")
        return offering["size"]
    if wanted is None:
        raise errors.invalid("Disk offering requires a size to be specified")
    low, high = (
        int(request.cloud.settings.number(f"custom.diskoffering.size.{end}", default)) for end, default in (("min", 1), ("max", 1024))
    )
    if not low <= wanted <= high:
        raise errors.invalid(f"Volume size: {wanted} GB is out of allowed range. Min: {low}. Max: {high}")
    return wanted * GIB


def _size_from(request: Request, offering: Document | None, snapshot: Document) -> int:
    """Bytes of a volume from a snapshot: never less than that has."""
    if offering is None or (offering["customized"] and "size" not in request.params):
        wanted = request.get("size", 0) * GIB
    else:
        wanted = _size(request, offering)
    if wanted and wanted < snapshot["size"]:
        raise errors.invalid(f"Invalid size for volume creation: {wanted // GIB}GB, snapshot size is: {snapshot['size'] // GIB}GB")
    return wanted or snapshot["size"]


def _iops(request: Request, offering: Document) -> dict[str, Any]:
    low, high = request.get("miniops"), request.get("maxiops")
    if not offering["custom_iops"]:
        return {"miniops": offering["min_iops"], "maxiops": offering["max_iops"]}
    offerings.check_iops(low, high)
    return {"miniops": low, "maxiops": high}


def _create(request: Request) -> str:
    """The record, before the job: state Allocated, nothing on StorPool."""
    cloud, params = request.cloud, request.params
    snapshot = access.own(request, "snapshotid", cloud.snapshots) if "snapshotid" in params else None
    if snapshot is None and "diskofferingid" not in params:
        raise errors.invalid("Missing parameter(s),either a positive volume size or a valid disk offering id must be specified.")
    offering = request.found("diskofferingid", cloud.disk_offerings) if "diskofferingid" in params else None
    if snapshot is not None:
        zone = request.found("zoneid", cloud.zones)["id"] if params.get("zoneid") else snapshot["zone"]
        snapshot_driver.check_source(cloud, snapshot, zone)
        size = _size_from(request, offering, snapshot)
        source = cloud.volumes.get(snapshot["volume"])
        offering = offering or (cloud.disk_offerings.get(source["offering"] or "") if source is not None else None)
        more = {"offering": offering and offering["id"], "snapshot": snapshot["id"]}
        # The IOPS of the source volume, whatever the offering says (plugin sheet 5.7)
        more.update({key: source[key] for key in ("miniops", "maxiops")} if source is not None else {})
    else:
        assert offering is not None
        if "zoneid" not in params:
            raise errors.invalid("zoneId must be specified")
        zone, size = request.found("zoneid", cloud.zones)["id"], _size(request, offering)
        more = {"offering": offering["id"], "encrypt": "LUKS" if offering["encrypt"] else None, **_iops(request, offering)}
    if "virtualmachineid" in params:
        vm = access.own(request, "virtualmachineid", cloud.vms)
        if vm["state"] not in (vms.RUNNING, vms.STOPPED):
            raise errors.invalid(f"Please specify a VM that is either running or stopped; it is {vm['state']}")
    custom = params.get("customid")
    if custom is not None and (custom in cloud.volumes or not request.caller.is_root):
        raise errors.invalid("This custom ID is taken, or may be given by a root admin alone")
    id = custom or new_id()
    name = params.get("name") or f"DATA-{id}"
    volumes.new(cloud, id, name, access.new_owner(request), zone, size, display=params.get("displayvolume", True), **more)
    return id


@command("createVolume", create=_create, instance=("Volume", ""), package="user.volume")
def create_volume(request: Request) -> Steps:
    """A data volume comes to StorPool at its first attach; one from a snapshot, for a VM, or (4.22.1) for a pool at once."""
    cloud, params = request.cloud, request.params
    assert request.entity is not None
    volume = cloud.volumes[request.entity]
    if "snapshotid" in params and volume["path"] is None:
        yield from snapshot_driver.volume_from(cloud, volume, cloud.snapshots[params["snapshotid"]])
    elif "storageid" in params and volume["path"] is None:
        driver.create(cloud, volume, request.found("storageid", cloud.pools))
    if "virtualmachineid" in params and volumes.vm_of(cloud, cloud.volumes[volume["id"]]) is None:
        vm = cloud.vms[params["virtualmachineid"]]
        yield from attach(cloud, cloud.volumes[volume["id"]], vm, None)
    return _answer(request, volume["id"])


def _create_upload(request: Request) -> str:
    cloud, params = request.cloud, request.params
    zone, form = request.found("zoneid", cloud.zones)["id"], params["format"].upper()
    if form not in secondary.FORMS or form == "ISO":
        raise errors.invalid(f"File format {params['format']} is not supported")
    if not params["url"].lower().startswith(templates.SCHEMES):
        raise errors.invalid(f"Unsupported scheme for url: {params['url']}")
    offering = request.found("diskofferingid", cloud.disk_offerings)["id"] if "diskofferingid" in params else None
    store = cloud.secondary.store_of(zone)
    if store is None:
        raise errors.failure(f"Unable to find image store in zone {cloud.zones[zone]['name']}")
    id, account = new_id(), access.new_owner(request)
    volume = volumes.new(cloud, id, params["name"], account, zone, 0, state="NotUploaded", offering=offering)
    path = f"volumes/{cloud.accounts[account]['dbid']}/{volume['dbid']}/{id}.{secondary.SUFFIXES[form]}"
    cloud.volumes.change(id, upload={"store": store["id"], "path": path, "format": form})
    return id


@command("uploadVolume", create=_create_upload, instance=("Volume", ""), package="user.volume")
def upload_volume(request: Request) -> Steps:
    """The job waits for the download, which CloudStack lets go on behind it; the volume comes to StorPool at its first attach."""
    cloud, params = request.cloud, request.params
    assert request.entity is not None
    volume = cloud.volumes[request.entity]
    upload = volume["upload"]
    path = cloud.secondary.place(cloud.stores[upload["store"]], upload["path"])
    try:
        yield Chore(lambda: templates.fetch(params["url"], path))
        size = yield Chore(lambda: templates.check(path, upload["format"], params.get("checksum"), params["url"]))
    except qemu.ImageError as error:
        path.unlink(missing_ok=True)
        cloud.volumes.change(volume["id"], state=volumes.UPLOAD_ERROR)
        cloud.world.commit()
        raise errors.failure(f"Failed to upload volume {volume['name']}: {error}") from error
    cloud.volumes.change(volume["id"], state=volumes.UPLOADED, size=templates.rounded(size))
    return _answer(request, volume["id"])


# Attach, detach


def _check_attach(request: Request) -> None:
    cloud, volume = request.cloud, _volume(request)
    vm = access.own(request, "virtualmachineid", cloud.vms)
    if volume["type"] != volumes.DATA and not (request.get("deviceid") == 0 and volumes.root_of(cloud, vm["id"]) is None):
        raise errors.invalid("Please specify a volume of type DATADISK")
    if volume["vm"] is not None:
        raise errors.invalid("Please specify a volume that is not attached to any VM.")
    if volume["state"] not in (volumes.ALLOCATED, volumes.READY, volumes.UPLOADED):
        raise errors.invalid(f"Volume state must be in Allocated, Ready or in Uploaded state; it is {volume['state']}")
    if vm["state"] not in (vms.RUNNING, vms.STOPPED):
        raise errors.invalid("Please specify a VM that is either running or stopped.")
    if volume["zone"] != vm["zone"]:
        raise errors.invalid("Please specify a VM that is in the same zone as the volume.")
    if volumes.has_vm_snapshots(cloud, vm["id"]):
        raise errors.invalid("Unable to attach volume, please specify a VM that does not have VM snapshots")
    if "deviceid" in request.params:
        volumes.free_device(cloud, vm["id"], request.params["deviceid"])


def attach(cloud: Cloud, volume: Document, vm: Document, device: int | None) -> Steps:
    """The device number is taken first; one that was never on StorPool comes there now. Raises ServerError."""
    # What a server that died had begun takes no number
    cloud.volumes.change(volume["id"], vm=None, device=None, attached=None)
    number = volumes.free_device(cloud, vm["id"], device)
    kind = volumes.ROOT if number == 0 else volume["type"]
    volume = cloud.volumes.change(volume["id"], vm=vm["id"], device=number, type=kind)
    try:
        # One that never started has its volumes made at its start
        root = volumes.root_of(cloud, vm["id"])
        if root is None or root["path"] is not None or volume["path"] is not None:
            yield from vms.materialise(cloud, volume)
        volume = cloud.volumes[volume["id"]]
        if volume["path"] is not None:
            driver.retag(cloud, volume)
            if vm["host"]:
                driver.attach(cloud, volume, cloud.hosts[vm["host"]])
        cloud.volumes.change(volume["id"], attached=cloud.world.clock.now())
    except GeneratorExit:
        # Its server is gone, and nobody ever tells of it
        cloud.volumes.change(volume["id"], vm=None, device=None)
        raise
    except errors.ServerError:
        cloud.volumes.change(volume["id"], vm=None, device=None, attached=None, seen=None)
        driver.untag(cloud, cloud.volumes[volume["id"]])
        cloud.world.commit()
        raise


@command("attachVolume", check=_check_attach, instance=ABOUT, package="user.volume")
def attach_volume(request: Request) -> Steps:
    cloud, volume = request.cloud, _volume(request)
    vm = cloud.vms[request.params["virtualmachineid"]]
    if volume["vm"] != vm["id"]:
        _check_attach(request)
    yield from attach(cloud, volume, vm, request.get("deviceid"))
    return _answer(request, volume["id"])


def _to_detach(request: Request) -> Document:
    """By id, or by VM and device. Raises ServerError."""
    cloud, params = request.cloud, request.params
    by_device = "deviceid" in params and "virtualmachineid" in params
    if ("id" in params) is by_device:
        raise errors.invalid("Please provide either a volume id, or a tuple(device id, instance id)")
    if not by_device:
        return _volume(request)
    vm = access.own(request, "virtualmachineid", cloud.vms)
    found = next((one for one in volumes.of_vm(cloud, vm["id"]) if one["device"] == params["deviceid"]), None)
    if found is None:
        raise errors.invalid(f"Unable to find volume attached to device id {params['deviceid']} of VM {vm['name']}")
    return found


def _check_detach(request: Request) -> None:
    cloud, volume = request.cloud, _to_detach(request)
    vm = cloud.vms.get(volume["vm"] or "")
    if vm is None:
        raise errors.invalid("The specified volume is not attached to a VM.")
    if volume["type"] != volumes.DATA and vm["state"] != vms.STOPPED:
        raise errors.invalid("Please specify a VM that is stopped to detach its root volume.")
    if vm["state"] not in (vms.RUNNING, vms.STOPPED, vms.DESTROYED):
        raise errors.invalid("Please specify a VM that is either running or stopped.")
    if volumes.has_vm_snapshots(cloud, vm["id"]):
        raise errors.invalid("Unable to detach volume, please specify a volume attached to a VM that does not have VM snapshots")


@command("detachVolume", check=_check_detach, instance=ABOUT, package="user.volume")
def detach_volume(request: Request) -> dict:
    cloud, volume = request.cloud, _to_detach(request)
    _check_detach(request)
    vm = cloud.vms[volume["vm"]]
    if vm["host"] and volume["path"] is not None:
        driver.detach(cloud, volume, cloud.hosts[vm["host"]])
    driver.untag(cloud, volume)
    cloud.volumes.change(volume["id"], vm=None, device=None, attached=None, seen=None)
    return _answer(request, volume["id"])


# Size, IOPS, offering


def _refuse_resize(cloud: Cloud, volume: Document) -> None:
    if volume["state"] not in (volumes.READY, volumes.ALLOCATED):
        raise errors.invalid(
            f"Volume should be in ready or allocated state before attempting a resize. Volume {volume['id']} is in state {volume['state']}."
        )
    kept = [one for one in cloud.living(cloud.vm_snapshots) if volume["vm"] is not None and one["vm"] == volume["vm"]]
    if cloud.traits.disk_vm_snapshots_allow_resize:
        if any(one["type"] == "DiskAndMemory" for one in kept):
            raise errors.invalid(UNRESIZABLE.format(**volume))
    elif kept:
        raise errors.invalid(UNRESIZABLE_OLD)


def change(cloud: Cloud, volume: Document, size: int, low: int | None, high: int | None, offering: str, shrinkok: bool) -> Document:
    """Size, IOPS and offering of a volume. Raises ServerError."""
    _refuse_resize(cloud, volume)
    if size < volume["size"]:
        vm = cloud.vms.get(volume["vm"] or "")
        if volume["type"] == volumes.ROOT and vm is not None and vm["state"] != vms.STOPPED:
            raise errors.invalid(f"Cannot shrink ROOT volume {volume['name']} when VM {vm['name']} is not Stopped but {vm['state']}")
        if not shrinkok:
            raise errors.invalid(
                f"Going from existing size of {volume['size']} to size of {size} would shrink the volume. "
                "Need to sign off by supplying the shrinkok parameter with value of true."
            )
    fields = {"miniops": low, "maxiops": high, "offering": offering}
    if volume["path"] is None:
        return cloud.volumes.change(volume["id"], size=size, **fields)
    cloud.volumes.change(volume["id"], state=volumes.RESIZING)
    try:
        driver.resize(cloud, volume, size, high, offering)
    except errors.ServerError:
        cloud.volumes.change(volume["id"], state=volumes.READY)
        cloud.world.commit()
        raise
    return cloud.volumes.change(volume["id"], state=volumes.READY, **fields)


def _new_offering(request: Request, volume: Document, offering: Document) -> tuple[int, int | None, int | None]:
    """Size and IOPS that the volume has with a new offering."""
    if offering["compute_only"] is not None:
        raise errors.invalid("Please specify a valid disk offering")
    if volume["offering"] == offering["id"] and not (offering["customized"] or offering["custom_iops"]):
        raise errors.invalid(f"Volume {volume['name']} has the disk offering {offering['name']} already")
    if bool(volume["encrypt"]) is not offering["encrypt"]:
        raise errors.invalid("Cannot change the encryption of a volume by its disk offering")
    pool = request.cloud.pools.get(volume["pool"] or "")
    if pool is not None and not offerings.tags_of(offering["tags"]) <= offerings.tags_of(pool["tags"]):
        raise errors.invalid(
            f"Disk offering {offering['name']} has storage tags that pool {pool['name']} lacks; migrateVolume moves the volume"
        )
    wanted = request.get("size")
    if offering["customized"]:
        size = wanted * GIB if wanted is not None else volume["size"]
    else:
        size = offering["size"] or volume["size"]
    low, high = offering["min_iops"], offering["max_iops"]
    if offering["custom_iops"]:
        low, high = request.get("miniops"), request.get("maxiops")
        offerings.check_iops(low, high)
    return size, low, high


@command("changeOfferingForVolume", instance=ABOUT, package="user.volume")
def change_offering_for_volume(request: Request) -> dict:
    cloud, volume = request.cloud, _volume(request)
    offering = request.found("diskofferingid", cloud.disk_offerings)
    size, low, high = _new_offering(request, volume, offering)
    change(cloud, volume, size, low, high, offering["id"], bool(request.get("shrinkok")))
    return _answer(request, volume["id"])


@command("resizeVolume", instance=ABOUT, package="user.volume")
def resize_volume(request: Request) -> dict:
    """Without a new offering the present one must leave the size to choose, unless it is a ROOT volume."""
    cloud, volume, params = request.cloud, _volume(request), request.params
    if "diskofferingid" in params and params["diskofferingid"] != volume["offering"]:
        offering = request.found("diskofferingid", cloud.disk_offerings)
        size, low, high = _new_offering(request, volume, offering)
        change(cloud, volume, size, low, high, offering["id"], bool(params.get("shrinkok")))
        return _answer(request, volume["id"])
    current = cloud.disk_offerings[volume["offering"]]
    low, high = volume["miniops"], volume["maxiops"]
    if "miniops" in params or "maxiops" in params:
        if not current["custom_iops"] and volume["type"] != volumes.ROOT:
            raise errors.invalid("The current disk offering does not support customization of the 'Min IOPS' or 'Max IOPS'.")
        low, high = params.get("miniops"), params.get("maxiops")
        offerings.check_iops(low, high)
    size = volume["size"]
    if "size" in params:
        if not current["customized"] and volume["type"] != volumes.ROOT:
            raise errors.invalid(
                "To change a volume's size without providing a new disk offering, its current disk offering must be customizable "
                "or it must be a root volume (if providing a disk offering, make sure it is different from the current disk offering)."
            )
        if params["size"] <= 0:
            raise errors.invalid("Requested size out of range")
        size = params["size"] * GIB
    # Without any of them the volume's own values go to the storage once more (VolumeApiServiceImpl.resizeVolume).
    change(cloud, volume, size, low, high, current["id"], bool(params.get("shrinkok")))
    return _answer(request, volume["id"])


@command("updateVolume", instance=ABOUT, package="user.volume")
def update_volume(request: Request) -> dict:
    """The database alone changes: `path` is how a volume is pointed to another one on StorPool (plugin sheet 5.3, 5.12)."""
    cloud, params = request.cloud, request.params
    if "id" not in params:
        raise errors.invalid("The volume to update was not given")
    volume = _volume(request)
    names = {"name": "name", "path": "path", "storageid": "pool", "state": "state", "displayvolume": "display", "chaininfo": "chain"}
    fields = {key: params[name] for name, key in {**names, "deleteprotection": "protected"}.items() if name in params}
    if "path" in fields and volume["state"] == volumes.ALLOCATED:
        # DR attaches and detaches such a volume before (plugin sheet 5.12)
        raise errors.invalid(f"Volume {volume['name']} is in state Allocated; its path cannot be changed")
    cloud.volumes.change(volume["id"], **fields)
    return _answer(request, volume["id"])


@command("assignVolume", package="user.volume")
def assign_volume(request: Request) -> dict:
    cloud, volume = request.cloud, _volume(request, "volumeid")
    if ("accountid" in request.params) is ("projectid" in request.params):
        raise errors.invalid("Please specify either a project ID or an account ID")
    if volume["vm"] is not None:
        raise errors.invalid(f"The volume {volume['name']} is attached to a VM; detach it first")
    if "projectid" in request.params:
        account = access.new_owner(request)
    else:
        account = request.found("accountid", cloud.accounts)["id"]
    cloud.volumes.change(volume["id"], account=account)
    return _answer(request, volume["id"])


# Extract


def _check_extract(request: Request) -> None:
    cloud, volume = request.cloud, _volume(request)
    nfs.refuse(cloud, volume, "extracts no content")
    if volume["encrypt"]:
        raise errors.invalid("Extraction of encrypted volumes is unsupported")
    vm = cloud.vms.get(volume["vm"] or "")
    if vm is not None and vm["state"] != vms.STOPPED:
        raise errors.invalid(
            f"Invalid state of the volume {volume['name']}. It should be either detached or the VM should be in stopped state."
        )
    if volume["state"] != volumes.READY or volume["path"] is None:
        raise errors.invalid("Volume to be extracted has not been created yet")


@command("extractVolume", check=_check_extract, instance=ABOUT, package="user.volume")
def extract_volume(request: Request) -> Steps:
    """A temporary snapshot is copied to secondary storage; the url leads to the file there (plugin sheet 5.10)."""
    cloud, volume = request.cloud, _volume(request)
    file = yield from extraction.extract(cloud, volume)
    shown = {
        "id": volume["id"],
        "name": volume["name"],
        "state": "DOWNLOAD_URL_CREATED",
        "url": file.as_uri(),
        "zoneid": volume["zone"],
        "zonename": cloud.zones[volume["zone"]]["name"],
        "storagetype": "secondary",
        "created": answers.date(cloud.world.clock.now()),
    }
    return answers.single(request, {key: value for key, value in shown.items() if key in request.command.response})


# End


def _check_delete(cloud: Cloud, volume: Document) -> None:
    refuse_protected(cloud, volume)
    if volume["vm"] is not None:
        raise errors.invalid("Please specify a volume that is not attached to any VM.")
    if volume["state"] not in (volumes.ALLOCATED, volumes.READY, volumes.DESTROY, volumes.UPLOAD_ERROR, volumes.UPLOADED):
        raise errors.invalid(f"Please specify a volume that can be deleted; this one is in state {volume['state']}")


@command("deleteVolume", package="user.volume")
def delete_volume(request: Request) -> dict:
    cloud, volume = request.cloud, _volume(request)
    _check_delete(cloud, volume)
    driver.expunge(cloud, volume)
    return answers.success()


def _check_destroy(request: Request) -> None:
    cloud, volume = request.cloud, _volume(request)
    refuse_protected(cloud, volume)
    if request.get("expunge") and not request.caller.is_root and not cloud.settings.truth("allow.user.expunge.recover.volume"):
        raise errors.denied("Expunging a volume can only be done by an Admin. Or when the allow.user.expunge.recover.volume key is set.")


@command("destroyVolume", check=_check_destroy, instance=ABOUT, package="admin.volume")
def destroy_volume(request: Request) -> dict:
    """A data volume that is attached is detached first; without expunge it can be recovered."""
    cloud, volume = request.cloud, _volume(request)
    vm = cloud.vms.get(volume["vm"] or "")
    if vm is not None:
        if volume["type"] == volumes.ROOT:
            raise errors.invalid("A root volume goes with its instance")
        if vm["host"] and volume["path"] is not None:
            driver.detach(cloud, volume, cloud.hosts[vm["host"]])
        driver.untag(cloud, volume)
        volume = cloud.volumes.change(volume["id"], vm=None, device=None, attached=None, seen=None)
    _check_delete(cloud, volume)
    cloud.volumes.change(volume["id"], state=volumes.DESTROY, destroyed=cloud.world.clock.now())
    answer = _answer(request, volume["id"])
    if request.get("expunge"):
        driver.expunge(cloud, cloud.volumes[volume["id"]])
    return answer


@command("recoverVolume", package="admin.volume")
def recover_volume(request: Request) -> dict:
    cloud, volume = request.cloud, _volume(request)
    if volume["state"] != volumes.DESTROY:
        raise errors.invalid("Please specify a volume in Destroy state.")
    cloud.volumes.change(volume["id"], state=volumes.READY if volume["path"] else volumes.ALLOCATED)
    return _answer(request, volume["id"])
