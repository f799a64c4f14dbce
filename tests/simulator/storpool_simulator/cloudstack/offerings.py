# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disk and service offerings. The ROOT disk of a service offering is a disk offering of its own, or one that it names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import errors
from .answers import date
from .ids import identity, new_id

if TYPE_CHECKING:
    from ..store import Document
    from .cloud import Cloud

GIB = 1 << 30
ACTIVE, INACTIVE = "Active", "Inactive"
# Parameters and fields that are only kept and told
RATES = {
    f"{kind}{way}rate{suffix}": f"disk{kind.capitalize()}{way.capitalize()}Rate{shown}"
    for kind in ("bytes", "iops")
    for way in ("read", "write")
    for suffix, shown in (("", ""), ("max", "Max"), ("maxlength", "MaxLength"))
}
# There from the start, as in a new CloudStack: GiB, None for a size to choose
DISKS = (("Small", 5), ("Medium", 20), ("Large", 100), ("Custom", None))
INSTANCES = (("Small Instance", 500, 512), ("Medium Instance", 1000, 1024))


def new_disk(cloud: Cloud, id: str, name: str, **more: Any) -> Document:
    fields = {
        "name": name,
        "displaytext": name,
        "size": 0,
        "customized": False,
        "custom_iops": False,
        "min_iops": None,
        "max_iops": None,
        "tags": "",
        "storage_type": "shared",
        "provisioning": "thin",
        "cache_mode": "none",
        "rates": {},
        "display": True,
        "encrypt": False,
        "strict": False,
        "reserve": None,
        "domains": [],
        "zones": [],
        "state": ACTIVE,
        "details": {},
        "hidden": [],
        # The service offering whose ROOT disk alone it describes
        "compute_only": None,
    }
    return cloud.add("diskoffering", id, **{**fields, **more})


def new_service(cloud: Cloud, id: str, name: str, disk: str, **more: Any) -> Document:
    fields = {
        "name": name,
        "displaytext": name,
        "disk": disk,
        "disk_strict": False,
        "cpus": None,
        "mhz": None,
        "memory": None,
        "customized": False,
        "ha": False,
        "limit_cpu": False,
        "volatile": False,
        "scaling": True,
        "hosttags": "",
        "network_rate": None,
        "planner": None,
        "system": False,
        "systemvmtype": None,
        "purge": False,
        "domains": [],
        "zones": [],
        "state": ACTIVE,
        "details": {},
        "hidden": [],
    }
    return cloud.add("serviceoffering", id, **{**fields, **more})


def populate(cloud: Cloud) -> None:
    for name, size in DISKS:
        new_disk(cloud, identity("diskoffering", name), name, size=(size or 0) * GIB, customized=size is None)
    for name, mhz, memory in INSTANCES:
        id, disk = identity("serviceoffering", name), identity("diskoffering", name)
        new_disk(cloud, disk, name, compute_only=id)
        new_service(cloud, id, name, disk, cpus=1, mhz=mhz, memory=memory)


def disk_of(cloud: Cloud, service: Document) -> Document:
    return cloud.disk_offerings[service["disk"]]


def tags_of(text: str | None) -> set[str]:
    return {tag.strip() for tag in (text or "").split(",") if tag.strip()}


def check_iops(low: int | None, high: int | None) -> None:
    """Both or none. Raises ServerError."""
    if (low is None) != (high is None):
        raise errors.invalid("Either 'miniops' and 'maxiops' must both be provided or neither must be provided.")
    if low is not None and high is not None and low > high:
        raise errors.invalid("The 'miniops' parameter must be less than or equal to the 'maxiops' parameter.")


def _places(cloud: Cloud, offering: Document) -> dict[str, Any]:
    return {
        "domainid": ",".join(offering["domains"]) or None,
        "domain": ",".join(cloud.domains[one]["name"] for one in offering["domains"]) or None,
        "zoneid": ",".join(offering["zones"]) or None,
        "zone": ",".join(cloud.zones[one]["name"] for one in offering["zones"]) or None,
    }


def disk_shown(cloud: Cloud, offering: Document) -> dict[str, Any]:
    return {
        "id": offering["id"],
        "name": offering["name"],
        "displaytext": offering["displaytext"],
        "created": date(offering["created"]),
        "disksize": offering["size"] // GIB,
        "iscustomized": offering["customized"],
        "iscustomizediops": offering["custom_iops"],
        "miniops": offering["min_iops"],
        "maxiops": offering["max_iops"],
        "tags": offering["tags"] or None,
        "storagetype": offering["storage_type"],
        "provisioningtype": offering["provisioning"],
        "cacheMode": offering["cache_mode"],
        "displayoffering": offering["display"],
        "disksizestrictness": offering["strict"],
        "encrypt": offering["encrypt"],
        "hypervisorsnapshotreserve": offering["reserve"],
        "details": offering["details"] or None,
        "hasannotations": False,
        **{RATES[key]: value for key, value in offering["rates"].items()},
        **_places(cloud, offering),
        **cloud.since("4.19.3", {"state": offering["state"]}),
    }


def service_shown(cloud: Cloud, offering: Document) -> dict[str, Any]:
    disk = disk_of(cloud, offering)
    return {
        "id": offering["id"],
        "name": offering["name"],
        "displaytext": offering["displaytext"],
        "created": date(offering["created"]),
        "cpunumber": offering["cpus"],
        "cpuspeed": offering["mhz"],
        "memory": offering["memory"],
        "iscustomized": offering["customized"],
        "offerha": offering["ha"],
        "limitcpuuse": offering["limit_cpu"],
        "isvolatile": offering["volatile"],
        "dynamicscalingenabled": offering["scaling"],
        "hosttags": offering["hosttags"] or None,
        "networkrate": offering["network_rate"],
        "deploymentplanner": offering["planner"],
        "issystem": offering["system"],
        "systemvmtype": offering["systemvmtype"],
        "defaultuse": False,
        "serviceofferingdetails": offering["details"] or None,
        "diskofferingid": disk["id"],
        "diskofferingname": disk["name"],
        "diskofferingdisplaytext": disk["displaytext"],
        "diskofferingstrictness": offering["disk_strict"],
        "rootdisksize": disk["size"] // GIB,
        "iscustomizediops": disk["custom_iops"],
        "miniops": disk["min_iops"],
        "maxiops": disk["max_iops"],
        "storagetags": disk["tags"] or None,
        "storagetype": disk["storage_type"],
        "provisioningtype": disk["provisioning"],
        "cacheMode": disk["cache_mode"],
        "encryptroot": disk["encrypt"],
        "hypervisorsnapshotreserve": disk["reserve"],
        "hasannotations": False,
        **{RATES[key]: value for key, value in disk["rates"].items()},
        **_places(cloud, offering),
        **cloud.since("4.19.3", {"state": offering["state"]}),
        **cloud.since("4.20.0", {"purgeresources": offering["purge"]}),
    }


def fresh_ids() -> tuple[str, str]:
    return new_id(), new_id()
