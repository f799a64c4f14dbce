# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disk and service offerings (plugin sheet 5.7; ``ConfigurationManagerImpl``)."""

from __future__ import annotations

from typing import Any

from ...store import Document
from .. import answers, errors, offerings
from ..ids import new_id
from ..offerings import GIB
from ..registry import command
from ..request import Request

STATES = {"active": offerings.ACTIVE, "inactive": offerings.INACTIVE}


def _given_places(request: Request) -> dict[str, list[str]]:
    """Where alone a new offering is for. Raises ServerError."""
    cloud, found = request.cloud, {}
    for name, key, table in (("domainid", "domains", cloud.domains), ("zoneid", "zones", cloud.zones)):
        found[key] = list(request.get(name, []))
        unknown = [one for one in found[key] if one not in table]
        if unknown:
            raise errors.invalid(f"Please specify a valid {name}: {unknown[0]}")
    return found


def _disk_fields(request: Request, tags: str | None, size: int | None, encrypt: bool) -> dict[str, Any]:
    """What both kinds say about a disk."""
    params = request.params
    low, high = params.get("miniops"), params.get("maxiops")
    custom = params.get("customizediops", False)
    if custom and (low is not None or high is not None):
        raise errors.invalid("If customizediops is true, miniops and maxiops cannot be given")
    offerings.check_iops(low, high)
    provisioning = params.get("provisioningtype", "thin").lower()
    if provisioning not in ("thin", "sparse", "fat"):
        raise errors.invalid(f"Invalid provisioning type: {provisioning}")
    storage_type = params.get("storagetype", "shared").lower()
    if storage_type not in ("shared", "local"):
        raise errors.invalid(f"Invalid storage type {storage_type} specified, valid types are: 'local' and 'shared'")
    return {
        "size": (size or 0) * GIB,
        "custom_iops": custom,
        "min_iops": low,
        "max_iops": high,
        "tags": tags or "",
        "storage_type": storage_type,
        "provisioning": provisioning,
        "cache_mode": params.get("cachemode", "none"),
        "rates": {key: params[key] for key in offerings.RATES if key in params},
        "encrypt": encrypt,
        "reserve": params.get("hypervisorsnapshotreserve"),
        **_given_places(request),
    }


@command("createDiskOffering", package="admin.offering")
def create_disk_offering(request: Request) -> dict:
    cloud, params = request.cloud, request.params
    customized, size = params.get("customized", False), params.get("disksize")
    if customized and size is not None:
        raise errors.invalid("Disksize is not allowed for a customized disk offering")
    if not customized and (size is None or size <= 0):
        raise errors.invalid("Disksize is required for a non-customized disk offering")
    offering = offerings.new_disk(
        cloud,
        new_id(),
        params["name"],
        **_disk_fields(request, params.get("tags"), size, params.get("encrypt", False)),
        displaytext=params.get("displaytext") or params["name"],
        customized=customized,
        display=params.get("displayoffering", True),
        strict=params.get("disksizestrictness", False),
        details=params.get("details", {}),
    )
    return answers.single(request, offerings.disk_shown(cloud, offering))


def _changes(request: Request, names: dict[str, str]) -> dict[str, Any]:
    fields = {key: request.params[name] for name, key in names.items() if name in request.params}
    if "state" in request.params:
        state = STATES.get(request.params["state"].lower())
        if state is None:
            raise errors.invalid(f"Invalid state: {request.params['state']}")
        fields["state"] = state
    return fields


def _places(request: Request) -> dict[str, list[str]]:
    """domainid and zoneid of an update: ids, "public" or "all" for everywhere."""
    found = {}
    for name, key, related, everywhere in (("domainid", "domains", "DomainResponse", "public"), ("zoneid", "zones", "ZoneResponse", "all")):
        text = request.get(name)
        if not text:
            continue
        wanted = [] if text.lower() == everywhere else text.split(",")
        ids = [request.cloud.resolve(related, one) for one in wanted]
        if None in ids:
            raise errors.invalid(f"Please specify valid {name}: {text}")
        found[key] = [one for one in ids if one is not None]
    return found


@command("updateDiskOffering", package="admin.offering")
def update_disk_offering(request: Request) -> dict:
    """Size, IOPS, encryption and details stay as they are."""
    cloud = request.cloud
    offering = request.found("id", cloud.disk_offerings)
    names = {"name": "name", "displaytext": "displaytext", "displayoffering": "display", "tags": "tags", "cachemode": "cache_mode"}
    fields = {**_changes(request, names), **_places(request)}
    rates = {key: request.params[key] for key in offerings.RATES if key in request.params}
    if rates:
        fields["rates"] = {**offering["rates"], **rates}
    return answers.single(request, offerings.disk_shown(cloud, cloud.disk_offerings.change(offering["id"], **fields)))


@command("deleteDiskOffering", package="admin.offering")
def delete_disk_offering(request: Request) -> dict:
    """Volumes keep it."""
    cloud = request.cloud
    offering = request.found("id", cloud.disk_offerings)
    cloud.disk_offerings.change(offering["id"], removed=cloud.world.clock.now(), state=offerings.INACTIVE)
    return answers.success()


def _is_listed(request: Request, offering: Document) -> bool:
    wanted = request.get("state", "active").lower()
    return (
        wanted in ("all", offering["state"].lower())
        and request.matches(id=offering["id"], name=offering["name"])
        and request.get("domainid") in (None, *(offering["domains"] or [request.get("domainid")]))
        and request.get("zoneid") in (None, *(offering["zones"] or [request.get("zoneid")]))
        and request.has_keyword(offering["name"], offering["displaytext"])
    )


def _pool_takes(request: Request, offering: Document) -> bool:
    """storageid: offerings whose tags the pool has."""
    pool = request.cloud.pools.get(request.get("storageid") or "")
    return pool is None or offerings.tags_of(offering["tags"]) <= offerings.tags_of(pool["tags"])


@command("listDiskOfferings", package="user.offering")
def list_disk_offerings(request: Request) -> dict:
    """Those that a service offering has for its ROOT disk alone are not among them."""
    cloud = request.cloud
    volume = cloud.volumes.get(request.get("volumeid") or "")
    found = [
        offering
        for offering in cloud.living(cloud.disk_offerings)
        if offering["compute_only"] is None
        and _is_listed(request, offering)
        and request.matches(encrypt=offering["encrypt"], storagetype=offering["storage_type"])
        and (volume is None or volume["offering"] != offering["id"])
        and _pool_takes(request, offering)
    ]
    return answers.listing(request, found, lambda one: offerings.disk_shown(cloud, one))


@command("createServiceOffering", package="admin.offering")
def create_service_offering(request: Request) -> dict:
    cloud, params = request.cloud, request.params
    sizes = [params.get(name) for name in ("cpunumber", "cpuspeed", "memory")]
    given = [one for one in sizes if one is not None]
    if given and len(given) < len(sizes) and not params.get("customized"):
        raise errors.invalid("For creating a custom compute offering cpu and memory all should be null or all should be given")
    if any(one <= 0 for one in given):
        raise errors.invalid("Failed to create service offering: cpunumber, cpuspeed and memory are numbers greater than 0")
    id, own = offerings.fresh_ids()
    if "diskofferingid" in params:
        clashing = [name for name in ("rootdisksize", "miniops", "maxiops", "encryptroot", "tags") if name in params]
        if clashing:
            raise errors.invalid(f"Disk offering parameters cannot be given together with a disk offering id: {', '.join(clashing)}")
        disk = request.found("diskofferingid", cloud.disk_offerings)["id"]
    else:
        fields = _disk_fields(request, params.get("tags"), params.get("rootdisksize"), params.get("encryptroot", False))
        disk = offerings.new_disk(cloud, own, params["name"], **fields, compute_only=id)["id"]
    offering = offerings.new_service(
        cloud,
        id,
        params["name"],
        disk,
        displaytext=params.get("displaytext") or params["name"],
        disk_strict=params.get("diskofferingstrictness", False),
        cpus=params.get("cpunumber"),
        mhz=params.get("cpuspeed"),
        memory=params.get("memory"),
        customized=len(given) < len(sizes),
        ha=params.get("offerha", False),
        limit_cpu=params.get("limitcpuuse", False),
        volatile=params.get("isvolatile", False),
        scaling=params.get("dynamicscalingenabled", True),
        hosttags=params.get("hosttags", ""),
        network_rate=params.get("networkrate"),
        planner=params.get("deploymentplanner"),
        system=params.get("issystem", False),
        systemvmtype=params.get("systemvmtype"),
        purge=params.get("purgeresources", False),
        **_given_places(request),
        details=params.get("serviceofferingdetails", {}),
    )
    return answers.single(request, offerings.service_shown(cloud, offering))


@command("updateServiceOffering", package="admin.offering")
def update_service_offering(request: Request) -> dict:
    cloud = request.cloud
    offering = request.found("id", cloud.service_offerings)
    names = {"name": "name", "displaytext": "displaytext", "hosttags": "hosttags", "purgeresources": "purge"}
    if "storagetags" in request.params:
        cloud.disk_offerings.change(offering["disk"], tags=request.params["storagetags"])
    offering = cloud.service_offerings.change(offering["id"], **_changes(request, names), **_places(request))
    return answers.single(request, offerings.service_shown(cloud, offering))


@command("deleteServiceOffering", package="admin.offering")
def delete_service_offering(request: Request) -> dict:
    cloud = request.cloud
    offering = request.found("id", cloud.service_offerings)
    gone = {"removed": cloud.world.clock.now(), "state": offerings.INACTIVE}
    cloud.service_offerings.change(offering["id"], **gone)
    if offerings.disk_of(cloud, offering)["compute_only"] == offering["id"]:
        cloud.disk_offerings.change(offering["disk"], **gone)
    return answers.success()


@command("listServiceOfferings", package="user.offering")
def list_service_offerings(request: Request) -> dict:
    cloud = request.cloud
    vm = cloud.vms.get(request.get("virtualmachineid") or "")
    found = [
        offering
        for offering in cloud.living(cloud.service_offerings)
        if _is_listed(request, offering)
        and request.get("issystem", False) == offering["system"]
        and request.matches(
            cpunumber=offering["cpus"],
            cpuspeed=offering["mhz"],
            memory=offering["memory"],
            encryptroot=offerings.disk_of(cloud, offering)["encrypt"],
            storagetype=offerings.disk_of(cloud, offering)["storage_type"],
        )
        and (vm is None or vm["offering"] != offering["id"])
    ]
    return answers.listing(request, found, lambda one: offerings.service_shown(cloud, one))
