# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""VMs: deploy, life, destruction, migration (plugin sheet 5.2; ``UserVmManagerImpl``)."""

from __future__ import annotations

from typing import Any

from ...store import Document
from .. import access, answers, errors, hostviews, offerings, parameters, resource_tags, vms, volumes
from ..cloud import Cloud
from ..ids import new_id
from ..plugin import agents
from ..plugin import snapshots as snapshot_driver
from ..plugin import volumes as driver
from ..registry import command
from ..request import Request
from ..vms import GIB
from ..work import Steps
from . import migration
from . import volumes as volume_commands

ABOUT = ("VirtualMachine", "id")
ABOUT_OTHER = ("VirtualMachine", "virtualmachineid")
PROTECTED = "Instance [id = {id}, name = {name}] has delete protection enabled and cannot be deleted."


def _answer(request: Request, vm: str) -> dict:
    return answers.single(request, vms.shown(request.cloud, request.cloud.vms[vm], request.caller.is_root))


def _vm(request: Request, name: str = "id") -> Document:
    return access.own(request, name, request.cloud.vms)


def _settled(vm: Document, *states: str) -> None:
    """Raises ServerError unless it is in one of the states."""
    if vm["state"] not in states:
        raise errors.failure(f"VM {vm['name']} is in state {vm['state']}; it has to be {' or '.join(states)}")


@command("listVirtualMachines", package="user.vm")
def list_virtual_machines(request: Request) -> dict:
    """Without listall only those of the caller's account. Destroyed ones are listed until they are expunged."""
    cloud = request.cloud
    pending, scope = cloud.jobs.pending_of("VirtualMachine"), access.scope(request)
    found = [
        vm
        for vm in cloud.living(cloud.vms)
        if scope.has(vm)
        and vm["id"] in request.get("ids", [vm["id"]])
        and request.matches(
            id=vm["id"],
            name=vm["name"],
            zoneid=vm["zone"],
            hostid=vm["host"],
            state=vm["state"],
            haenable=vm["ha"],
            serviceofferingid=vm["offering"],
            templateid=vm["template"],
            isoid=vm["iso"],
            hypervisor="KVM",
        )
        and (request.get("storageid") is None or request.get("storageid") in vms.pools_of(cloud, vm))
        and (request.get("clusterid") is None or (vm["host"] and cloud.hosts[vm["host"]]["cluster"] == request.get("clusterid")))
        and (request.get("podid") is None or (vm["host"] and cloud.hosts[vm["host"]]["pod"] == request.get("podid")))
        and resource_tags.matches(cloud, "UserVm", vm["id"], request.get("tags"))
        and request.has_keyword(vm["name"], vm["display_name"], vms.instance_name(vm) if request.caller.is_root else None)
    ]
    return answers.listing(request, found, lambda vm: vms.shown(cloud, vm, request.caller.is_root, pending.get(vm["id"])))


# Deploy


def _root_size(request: Request, size: int, disk: Document) -> int:
    """Bytes of the ROOT volume: rootdisksize, else the offering's, else the image's."""
    wanted = request.get("rootdisksize")
    if wanted is None:
        return disk["size"] or size
    if wanted <= 0:
        raise errors.invalid("Root disk size should be a positive number.")
    if wanted * GIB < size:
        raise errors.invalid(f"Unsupported: rootdisksize override ({wanted} GB) is smaller than template size {size} bytes")
    return wanted * GIB


def _iops(request: Request, disk: Document) -> dict[str, Any]:
    """Custom IOPS of `details` are lost since 4.20 (#14103); before they count."""
    low, high = disk["min_iops"], disk["max_iops"]
    details = request.get("details", {})
    if disk["custom_iops"] and not request.cloud.traits.loses_custom_iops:
        low, high = (int(details[name]) if str(details.get(name, "")).isdigit() else None for name in ("minIops", "maxIops"))
        offerings.check_iops(low, high)
    return {"miniops": low, "maxiops": high}


def _disk(request: Request, service: Document) -> Document:
    """The disk offering of the ROOT volume."""
    if "overridediskofferingid" in request.params:
        if service["disk_strict"]:
            raise errors.invalid("Since disk offering strictness is true in the service offering, the disk offering cannot be overridden")
        return request.found("overridediskofferingid", request.cloud.disk_offerings)
    return offerings.disk_of(request.cloud, service)


def _root(request: Request, vm: Document, source: Document | None, service: Document) -> None:
    """The record of the ROOT volume."""
    cloud, params = request.cloud, request.params
    name = f"ROOT-{vm['dbid']}"
    if "volumeid" in params:
        volume = access.own(request, "volumeid", cloud.volumes)
        if volume["vm"] is not None or volume["state"] != volumes.READY:
            raise errors.invalid(f"Volume {volume['name']} cannot be the root volume: it is attached, or not in state Ready")
        if volume["zone"] != vm["zone"]:
            raise errors.invalid(f"Volume {volume['name']} is not in the zone of the instance")
        cloud.volumes.change(volume["id"], type=volumes.ROOT, vm=vm["id"], device=0, attached=cloud.world.clock.now())
        return
    if "snapshotid" in params:
        snapshot = access.own(request, "snapshotid", cloud.snapshots)
        snapshot_driver.check_source(cloud, snapshot, vm["zone"])
        disk = _disk(request, service)
        size = max(snapshot["size"], _root_size(request, snapshot["size"], disk))
        _new_root(request, vm, name, size, disk, service, snapshot=snapshot["id"])
        return
    assert source is not None
    disk = _disk(request, service)
    if not source["iso"]:
        _new_root(request, vm, name, _root_size(request, source["size"], disk), disk, service, template=source["id"])
        return
    if "diskofferingid" not in params:
        raise errors.invalid("Installing from ISO requires a disk offering to be specified for the root disk.")
    disk = request.found("diskofferingid", cloud.disk_offerings)
    _new_root(request, vm, name, _sized(disk, params.get("size")), disk, service, iso=source["id"])


def _new_root(request: Request, vm: Document, name: str, size: int, disk: Document, service: Document, **more: Any) -> None:
    volumes.new(
        request.cloud,
        new_id(),
        name,
        vm["account"],
        vm["zone"],
        size,
        type=volumes.ROOT,
        offering=disk["id"],
        service_offering=service["id"],
        vm=vm["id"],
        device=0,
        # A child of a snapshot is what the snapshot is (plugin sheet 5.2): no host encrypts it
        encrypt="LUKS" if disk["encrypt"] and "snapshot" not in more else None,
        attached=request.cloud.world.clock.now(),
        **_iops(request, disk),
        **more,
    )


def _sized(disk: Document, size: int | None) -> int:
    """Bytes: of the offering, or for one with a size to choose the given GiB."""
    if not disk["customized"]:
        return disk["size"]
    if size is None or size <= 0:
        raise errors.invalid("Disk offering requires a size to be specified")
    return size * GIB


def _data_disks(request: Request, vm: Document, iso: bool) -> None:
    """A disk offering besides a template, and from 4.21 on datadisksdetails."""
    cloud, params = request.cloud, request.params
    wanted: list[tuple[Document, int | None]] = []
    if "diskofferingid" in params and not iso:
        wanted.append((request.found("diskofferingid", cloud.disk_offerings), params.get("size")))
    for one in parameters.entries(request.raw, "datadisksdetails"):
        offering = cloud.disk_offerings.get(one.get("diskofferingid", ""))
        if offering is None or offering["removed"] is not None:
            raise errors.invalid(f"Unable to find disk offering {one.get('diskofferingid')}")
        size = one.get("size", "")
        wanted.append((offering, int(size) if size.isdigit() else None))
    for offering, size in wanted:
        device = volumes.free_device(cloud, vm["id"])
        volumes.new(
            cloud,
            new_id(),
            f"DATA-{vm['dbid']}",
            vm["account"],
            vm["zone"],
            _sized(offering, size),
            offering=offering["id"],
            miniops=offering["min_iops"],
            maxiops=offering["max_iops"],
            vm=vm["id"],
            device=device,
            encrypt="LUKS" if offering["encrypt"] else None,
            attached=cloud.world.clock.now(),
        )


def _create(request: Request) -> str:
    """The records of the VM and its volumes, before the job."""
    cloud, params = request.cloud, request.params
    zone = request.found("zoneid", cloud.zones)["id"]
    service = request.found("serviceofferingid", cloud.service_offerings)
    sources = [name for name in ("templateid", "volumeid", "snapshotid") if name in params]
    if len(sources) != 1:
        raise errors.invalid(
            "Please specify one of templateid, volumeid and snapshotid" if sources else "Template ID, volume ID or snapshot ID is needed"
        )
    source = vms.check_template(cloud, params["templateid"], zone) if "templateid" in params else None
    iso = source is not None and source["iso"]
    if iso and "hypervisor" not in params:
        raise errors.invalid("Hypervisor parameter is needed to deploy VM or the hypervisor parameter value passed is invalid")
    id = new_id()
    name = params.get("name") or f"VM-{id}"
    account = access.new_owner(request)
    if any(vm["name"].lower() == name.lower() and vm["account"] == account for vm in cloud.living(cloud.vms)):
        raise errors.invalid(f"The vm with hostName {name} already exists in the network domain")
    vm = vms.new(
        cloud,
        id,
        name,
        account,
        zone,
        display_name=params.get("displayname"),
        offering=service["id"],
        template=source["id"] if source is not None and not iso else None,
        iso=source["id"] if source is not None and iso else None,
        ostype=source and source["ostype"],
        details=params.get("details", {}),
        user=request.caller.user["id"],
        ha=service["ha"],
    )
    _root(request, vm, source, service)
    _data_disks(request, vm, iso)
    return id


@command("deployVirtualMachine", create=_create, instance=("VirtualMachine", ""), package="user.vm")
def deploy_virtual_machine(request: Request) -> Steps:
    cloud, params = request.cloud, request.params
    assert request.entity is not None
    vm = cloud.vms[request.entity]
    if params.get("startvm", True):
        try:
            host = vms.host_for(cloud, vm, id=params.get("hostid"), cluster=params.get("clusterid"), pod=params.get("podid"))
            if "volumeid" in params:
                driver.retag(cloud, volumes.of_vm(cloud, vm["id"])[0])
            yield from vms.start(cloud, vm["id"], host)
        except errors.ServerError:
            cloud.vms.change(vm["id"], state=vms.ERROR, host=None)
            cloud.world.commit()
            raise
    return _answer(request, vm["id"])


# Life


@command("startVirtualMachine", instance=ABOUT, package="user.vm")
def start_virtual_machine(request: Request) -> Steps:
    """By preference where it ran last (considerlasthost)."""
    cloud, params, vm = request.cloud, request.params, _vm(request)
    if vm["state"] == vms.RUNNING:
        raise errors.failure(f"VM {vm['name']} is running already")
    # One in Starting is that of a job which began before
    _settled(vm, vms.STOPPED, vms.STARTING)
    last = cloud.hosts.get(vm["last_host"] or "")
    asked = {"id": params.get("hostid"), "cluster": params.get("clusterid"), "pod": params.get("podid")}
    if not any(asked.values()) and last is not None and last in vms.hosts_for(cloud, vm):
        host = last
    else:
        host = vms.host_for(cloud, vm, **asked)
    # On another host it is detached everywhere before (#10799, since 4.19.3 and 4.20.1: in every release served here)
    elsewhere = vm["last_host"] not in (None, host["id"])
    yield from vms.start(cloud, vm["id"], host, elsewhere=elsewhere)
    return _answer(request, vm["id"])


@command("stopVirtualMachine", instance=ABOUT, package="user.vm")
def stop_virtual_machine(request: Request) -> dict:
    cloud, vm = request.cloud, _vm(request)
    if vm["state"] == vms.STOPPED:
        return _answer(request, vm["id"])
    _settled(vm, vms.RUNNING, *((vms.STARTING, vms.MIGRATING) if request.get("forced") else ()))
    vms.stop(cloud, vm, bool(request.get("forced")))
    return _answer(request, vm["id"])


@command("rebootVirtualMachine", instance=ABOUT, package="user.vm")
def reboot_virtual_machine(request: Request) -> dict:
    """On the same host; its disks stay attached, and it sees their sizes anew."""
    cloud, vm = request.cloud, _vm(request)
    _settled(vm, vms.RUNNING)
    for volume in volumes.of_vm(cloud, vm["id"]):
        cloud.volumes.change(volume["id"], seen=volume["size"])
    return _answer(request, vm["id"])


def _refuse_protected(cloud: Cloud, vm: Document) -> None:
    if cloud.traits.delete_protection and vm["protected"]:
        raise errors.invalid(PROTECTED.format(**vm))


def _check_destroy(request: Request) -> None:
    cloud, vm = request.cloud, _vm(request)
    _refuse_protected(cloud, vm)
    if request.get("expunge") and not request.caller.is_root and not cloud.settings.truth("allow.user.expunge.recover.vm"):
        raise errors.denied("Parameter expunge can be passed by Admin only. Or when the allow.user.expunge.recover.vm key is set.")


@command("destroyVirtualMachine", check=_check_destroy, instance=ABOUT, package="user.vm")
def destroy_virtual_machine(request: Request) -> dict:
    """Its data disks are detached; those of volumeids go too. Without expunge it can be recovered for a while (expunge.delay)."""
    cloud, vm = request.cloud, _vm(request)
    if vm["state"] == vms.DESTROYED and not request.get("expunge"):
        return _answer(request, vm["id"])
    named = request.get("volumeids", [])
    for id in named:
        volume = cloud.volumes.get(id)
        if volume is None:
            raise errors.invalid(f"Unable to find volume with ID: {id}")
        if volume["vm"] != vm["id"] or volume["type"] != volumes.DATA:
            raise errors.invalid(f"Unable to delete volume {volume['name']}: it is no data disk of the instance")
        volume_commands.refuse_protected(cloud, volume)
    if vm["host"]:
        vms.stop(cloud, vm, cloud.settings.truth("vm.destroy.forcestop"))
    for volume in volumes.of_vm(cloud, vm["id"]):
        if volume["type"] != volumes.DATA:
            continue
        driver.untag(cloud, volume)
        cloud.volumes.change(volume["id"], vm=None, device=None, attached=None, seen=None)
    for id in named:
        driver.expunge(cloud, cloud.volumes[id])
    cloud.vms.change(vm["id"], state=vms.DESTROYED, destroyed=cloud.world.clock.now())
    if request.get("expunge"):
        vms.expunge(cloud, cloud.vms[vm["id"]])
    return _answer(request, vm["id"])


def _check_expunge(request: Request) -> None:
    vm = _vm(request)
    if vm["state"] not in (vms.DESTROYED, vms.EXPUNGING):
        raise errors.invalid("Please destroy vm with specified vmId before expunge")
    _refuse_protected(request.cloud, vm)


@command("expungeVirtualMachine", check=_check_expunge, instance=ABOUT, package="admin.vm")
def expunge_virtual_machine(request: Request) -> dict:
    cloud = request.cloud
    vms.expunge(cloud, cloud.vms[request.params["id"]])
    return answers.success()


@command("recoverVirtualMachine", package="admin.vm")
def recover_virtual_machine(request: Request) -> dict:
    cloud, vm = request.cloud, _vm(request)
    if vm["state"] != vms.DESTROYED:
        raise errors.invalid(f"The vm {vm['name']} is not in state Destroyed and cannot be recovered")
    cloud.vms.change(vm["id"], state=vms.STOPPED, destroyed=None)
    return _answer(request, vm["id"])


@command("restoreVirtualMachine", instance=ABOUT_OTHER, package="user.vm")
def restore_virtual_machine(request: Request) -> Steps:
    """A new ROOT volume from the template; the old one is destroyed, with expunge at once. A running VM is stopped and started."""
    cloud, params, vm = request.cloud, request.params, _vm(request, "virtualmachineid")
    _settled(vm, vms.RUNNING, vms.STOPPED)
    old = volumes.root_of(cloud, vm["id"])
    source = params.get("templateid") or vm["template"]
    if old is None or source is None:
        raise errors.invalid("Cannot restore a vm without a template")
    if volumes.has_vm_snapshots(cloud, vm["id"]):
        raise errors.invalid(f"Unable to restore VM, please remove VM snapshots before restoring VM {vm['name']}")
    template = vms.check_template(cloud, source, vm["zone"])
    disk = cloud.disk_offerings[old["offering"]]
    if "diskofferingid" in params:
        disk = request.found("diskofferingid", cloud.disk_offerings)
    size = _root_size(request, template["size"], disk) if "rootdisksize" in params or "diskofferingid" in params else old["size"]
    host = cloud.hosts.get(vm["host"] or "")
    if host is not None:
        vms.stop(cloud, vm)
    keep = {key: old[key] for key in ("service_offering", "miniops", "maxiops", "encrypt")}
    cloud.volumes.change(
        old["id"], vm=None, device=None, attached=None, state=volumes.DESTROY, seen=None, destroyed=cloud.world.clock.now()
    )
    volumes.new(
        cloud,
        new_id(),
        old["name"],
        vm["account"],
        vm["zone"],
        max(size, template["size"]),
        type=volumes.ROOT,
        offering=disk["id"],
        template=template["id"],
        vm=vm["id"],
        device=0,
        attached=cloud.world.clock.now(),
        **keep,
    )
    cloud.vms.change(vm["id"], template=template["id"])
    if params.get("expunge"):
        driver.expunge(cloud, cloud.volumes[old["id"]])
    if host is not None:
        yield from vms.start(cloud, vm["id"], host)
    return _answer(request, vm["id"])


@command("migrateVirtualMachine", instance=ABOUT_OTHER, package="admin.vm")
def migrate_virtual_machine(request: Request) -> Steps:
    """Live, to another host; the host is chosen with autoselect. With a storageid the volumes of a stopped one move."""
    cloud, vm = request.cloud, _vm(request, "virtualmachineid")
    if "storageid" in request.params:
        if "hostid" in request.params:
            raise errors.invalid("Only one of hostId and storageId can be specified")
        yield from migration.move_all(request, vm, request.found("storageid", cloud.pools))
        return _answer(request, vm["id"])
    _settled(vm, vms.RUNNING)
    if "hostid" not in request.params and not request.get("autoselect", True):
        raise errors.invalid("Either hostId or storageId must be specified")
    if "hostid" in request.params:
        target = request.found("hostid", cloud.hosts)
        if target["id"] == vm["host"]:
            raise errors.invalid(
                "Cannot migrate VM, VM is already present on this host, please specify valid destination host to migrate the VM"
            )
        if target["zone"] != vm["zone"] or target not in agents.able(cloud, vm["zone"]):
            raise errors.invalid(
                f"Cannot migrate VM, destination host is not in correct state, has state {target['state']}, {target['resource']}"
            )
    else:
        others = [host for host in vms.hosts_for(cloud, vm) if host["id"] != vm["host"]]
        if not others:
            raise errors.ServerError(vms.NO_ROOM, f"Unable to create a deployment for VM instance {vm['name']}")
        target = min(others, key=lambda host: (vms.running_on(cloud, host["id"]), host["dbid"]))
    vms.migrate(cloud, vm, target)
    return _answer(request, vm["id"])


@command("findHostsForMigration", package="admin.host")
def find_hosts_for_migration(request: Request) -> dict:
    cloud, vm = request.cloud, _vm(request, "virtualmachineid")
    _settled(vm, vms.RUNNING)
    able = {host["id"] for host in vms.hosts_for(cloud, vm)}
    found = [host for host in cloud.hosts_of(zone=vm["zone"]) if host["id"] != vm["host"] and request.has_keyword(host["name"])]
    known = set(request.command.response)

    def view(host: Document) -> dict[str, Any]:
        shown = {key: value for key, value in hostviews.shown(cloud, host).items() if key in known}
        return {**shown, "suitableformigration": host["id"] in able, "requiresStorageMotion": False}

    return answers.listing(request, found, view)


@command("updateVirtualMachine", package="user.vm")
def update_virtual_machine(request: Request) -> dict:
    cloud, params, vm = request.cloud, request.params, _vm(request)
    names = {"name": "name", "displayname": "display_name", "haenable": "ha", "ostypeid": "ostype", "deleteprotection": "protected"}
    fields = {key: params[name] for name, key in {**names, "displayvm": "display"}.items() if name in params}
    if params.get("cleanupdetails"):
        fields["details"] = {}
    elif "details" in params:
        fields["details"] = params["details"]
    cloud.vms.change(vm["id"], **fields)
    return _answer(request, vm["id"])


@command("scaleVirtualMachine", instance=ABOUT, package="user.vm")
def scale_virtual_machine(request: Request) -> dict:
    """Another service offering; a disk offering that comes with it changes the ROOT volume as well."""
    cloud, params, vm = request.cloud, request.params, _vm(request)
    _settled(vm, vms.RUNNING, vms.STOPPED)
    service = request.found("serviceofferingid", cloud.service_offerings)
    if service["id"] == vm["offering"]:
        raise errors.invalid(f"Not upgrading vm {vm['name']} since it already has the requested service offering {service['name']}")
    root = volumes.root_of(cloud, vm["id"])
    old = cloud.service_offerings.get(vm["offering"] or "")
    disk = offerings.disk_of(cloud, service)
    if root is not None and disk["id"] != root["offering"] and not (old is not None and old["disk_strict"]):
        low, high = disk["min_iops"], disk["max_iops"]
        if disk["custom_iops"]:
            low, high = params.get("miniops"), params.get("maxiops")
            offerings.check_iops(low, high)
        size = max(disk["size"], root["size"]) if not params.get("shrinkok") else disk["size"] or root["size"]
        volume_commands.change(cloud, root, size, low, high, disk["id"], bool(params.get("shrinkok")))
        cloud.volumes.change(root["id"], service_offering=service["id"])
    elif root is not None:
        cloud.volumes.change(root["id"], service_offering=service["id"])
    cloud.vms.change(vm["id"], offering=service["id"])
    return answers.success()
