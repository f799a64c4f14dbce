# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Storage pools: the generic commands around the StorPool provider (plugin sheet 1.3; ``StorageManagerImpl``)."""

from __future__ import annotations

from typing import Any

from ...store import Document
from .. import answers, errors, instances, storage
from ..registry import command
from ..request import Request

ABOUT_POOL = ("StoragePool", "id")
ZONE_HYPERVISORS = ("kvm", "vmware", "hyperv", "lxc", "any", "simulator")
SCOPES = ("zone", "cluster", "host")
PROVIDERS = ("DefaultPrimary", "SolidFire", "SolidFireShared", "StorPool", "Linstor", "Primera", "Flash Array", "PowerFlex")


def _pool(request: Request) -> Document:
    return request.found("id", request.cloud.pools)


def _answer(request: Request, pool: Document) -> dict:
    return answers.single(request, storage.shown(request.cloud, pool))


@command("listStoragePools", package="admin.storage")
def list_storage_pools(request: Request) -> dict:
    """podid and clusterid also match pools of the whole zone, as StorPool's are (sheet section 7)."""
    cloud = request.cloud
    pending = cloud.jobs.pending_of("StoragePool")
    found = [
        pool
        for pool in cloud.living(cloud.pools)
        if request.matches(id=pool["id"], name=pool["name"], zoneid=pool["zone"], status=pool["state"])
        and _placed(request, pool)
        and request.has_keyword(pool["name"], storage.KIND if storage.on_storpool(pool) else storage.NFS_KIND)
    ]
    return answers.listing(request, found, lambda pool: storage.shown(cloud, pool, pending.get(pool["id"])))


def _placed(request: Request, pool: Document) -> bool:
    if storage.on_storpool(pool):
        return request.matches(path=storage.DEVICES, scope="ZONE") and request.get("ipaddress", "n/a") == "n/a"
    return request.matches(path=pool["export"], scope=pool["scope"], ipaddress=pool["server"])


def _check_scope(request: Request) -> str:
    """The scope, checked before the provider is asked; without one it is that of a cluster."""
    scope = request.get("scope", "cluster").lower()
    if scope not in SCOPES:
        raise errors.invalid(f"invalid scope for pool {request.get('scope')}")
    if scope != "zone":
        if "clusterid" not in request.params:
            raise errors.invalid("cluster id can't be null, if scope is cluster")
        return scope
    hypervisor = request.get("hypervisor")
    if not hypervisor:
        raise errors.invalid("Missing parameter hypervisor. Hypervisor type is required to create zone wide primary storage.")
    if hypervisor.lower() not in ZONE_HYPERVISORS:
        raise errors.invalid(f"zone wide storage pool is not supported for hypervisor type {hypervisor}")
    return scope


@command("createStoragePool", package="admin.storage")
def create_storage_pool(request: Request) -> dict:
    """Whatever the provider objects to is a run-time error that begins with the same words."""
    cloud, provider = request.cloud, request.get("provider", "DefaultPrimary")
    if provider not in PROVIDERS:
        raise errors.invalid(f"can't find provider: {provider}")
    if provider not in (storage.PROVIDER, storage.NFS_PROVIDER):
        raise errors.ServerError(cloud.assume.unsupported_command_status, f"the simulator has no storage of provider {provider}")
    scope = _check_scope(request)
    params = request.params
    if provider == storage.NFS_PROVIDER:
        return _create_on_nfs(request, scope)
    try:
        fields = storage.initialize(cloud, params["name"], params["url"], params.get("capacitybytes"), params.get("tags"))
        if scope != "zone":
            raise errors.failure("Only Zone-Wide scope is supported!")
        if params["hypervisor"].lower() != "kvm":
            raise errors.failure("Only KVM hypervisors supported!")
    except errors.ServerError as error:
        raise errors.failure(f"Failed to add data store: {error.text}") from error
    fields["details"] = {**params.get("details", {}), **fields["details"]}
    request.found("zoneid", cloud.zones)
    pool = storage.add_pool(
        cloud, **fields, zone=params["zoneid"], iops=params.get("capacityiops"), tag_rule=params.get("istagarule", False)
    )
    return _answer(request, pool)


def _create_on_nfs(request: Request, scope: str) -> dict:
    cloud, params = request.cloud, request.params
    zone = request.found("zoneid", cloud.zones)
    cluster = request.found("clusterid", cloud.clusters)["id"] if scope == "cluster" else None
    fields = storage.initialize_nfs(cloud, params["name"], params["url"], params.get("capacitybytes"), params.get("tags"), cluster)
    fields["details"] = params.get("details", {})
    return _answer(request, storage.add_pool(cloud, **fields, zone=zone["id"], iops=params.get("capacityiops")))


@command("updateStoragePool", package="admin.storage")
def update_storage_pool(request: Request) -> dict:
    """Details are laid over the present ones, none is removed; a url changes nothing; with nothing to do it is a 530 (sheet section 8)."""
    cloud, pool, params = request.cloud, _pool(request), request.params
    if params.keys() <= {"id"}:
        raise errors.ServerError(530, "Failed to update storage pool")
    fields: dict[str, Any] = {key: params[name] for name, key in UPDATES.items() if name in params}
    if "tags" in params:
        fields["tags"] = ",".join(params["tags"])
    if params.get("details") and cloud.assume.pool_details_update == "overlay":
        fields["details"] = {**pool["details"], **params["details"]}
    if "enabled" in params:
        before, after = (storage.DISABLED, storage.UP) if params["enabled"] else (storage.UP, storage.DISABLED)
        if pool["state"] != before:
            word = "enabled" if params["enabled"] else "disabled"
            raise errors.invalid(f"Primary storage with id {pool['dbid']} cannot be {word}. Storage pool state : {pool['state']}")
        fields["state"] = after
    return _answer(request, cloud.pools.change(pool["id"], **fields))


UPDATES = {"name": "name", "capacitybytes": "capacity", "capacityiops": "iops", "istagarule": "tag_rule"}


@command("deleteStoragePool", package="admin.storage")
def delete_storage_pool(request: Request) -> dict:
    """Only in maintenance and without volumes; the provider adds its refusals."""
    cloud, pool = request.cloud, _pool(request)
    if pool["state"] != storage.MAINTENANCE:
        raise errors.invalid(f"Unable to delete storage due to it is not in Maintenance state, id: {pool['dbid']}")
    counts = storage.load(cloud, pool)
    if counts["volumes"] and not request.get("forced"):
        raise errors.failure(f"Cannot delete pool {pool['name']} as there are associated non-destroyed vols for this pool")
    for kind, words in (("snapshots", "snapshots"), ("template_snapshots", "template snapshots")):
        if counts[kind]:
            raise errors.failure(f"This primary storage cannot be deleted because it currently contains one or more {words}.")
    cloud.pools.change(pool["id"], removed=cloud.world.clock.now())
    return answers.success()


@command("enableStorageMaintenance", instance=ABOUT_POOL, package="admin.storage")
def enable_storage_maintenance(request: Request) -> dict:
    """Instances with volumes there are stopped."""
    cloud, pool = request.cloud, _pool(request)
    if pool["state"] not in (storage.UP, "ErrorInMaintenance"):
        raise errors.invalid(f"Primary storage with id {pool['dbid']} is not ready for migration, as the status is:{pool['state']}")
    instances.stop_on_pool(cloud, pool)
    return _answer(request, cloud.pools.change(pool["id"], state=storage.MAINTENANCE))


@command("cancelStorageMaintenance", instance=ABOUT_POOL, package="admin.storage")
def cancel_storage_maintenance(request: Request) -> dict:
    cloud, pool = request.cloud, _pool(request)
    if pool["state"] in (storage.UP, storage.DISABLED):
        raise errors.failure(f"Primary storage with id {pool['dbid']} is not ready to complete migration, as the status is:{pool['state']}")
    return _answer(request, cloud.pools.change(pool["id"], state=storage.UP))


@command("listStorageProviders", package="admin.storage")
def list_storage_providers(request: Request) -> dict:
    names = {"primary": PROVIDERS, "image": ("DefaultImage", "NFS", "S3", "Swift")}.get(request.params["type"].lower())
    if names is None:
        raise errors.ServerError(431, "Illegal storage provider type: it must be image or primary")
    kind = request.params["type"].upper()
    return answers.listing(request, names, lambda name: {"name": name, "type": kind})


@command("listStorageTags", package="admin.storage")
def list_storage_tags(request: Request) -> dict:
    cloud = request.cloud
    found = [
        {"id": f"{pool['dbid']}-{tag}", "name": tag, "poolid": pool["dbid"]}
        for pool in cloud.living(cloud.pools)
        for tag in pool["tags"].split(",")
        if tag and request.has_keyword(tag)
    ]
    return answers.listing(request, found)
