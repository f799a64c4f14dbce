# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small cloud for the tests of what the StorPool plugin does: an instance, its volumes, and both layers side by side."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path
from typing import Any

from storpool_simulator.testing import Simulator, address

from .cloudstack_support import job, named, ok, one
from .support import wait_until

GIB = 1 << 30
TEMPLATE = "debian-12"
BYPASS_ENDS = "4.21"
RUNNING_VMS = "kvm.snapshot.enabled"


def zone_id(sim: Simulator, name: str = "sofia") -> str:
    return named(sim, "listZones", "zone", name)


def pool_id(sim: Simulator, name: str = "storpool-nvme") -> str:
    return named(sim, "listStoragePools", "storagepool", name)


def template_id(sim: Simulator, name: str = TEMPLATE) -> str:
    return ok(sim, "listTemplates", templatefilter="all", name=name)["template"][0]["id"]


def service_id(sim: Simulator) -> str:
    return named(sim, "listServiceOfferings", "serviceoffering", "Small Instance")


def configure(sim: Simulator, name: str, value: str, **scope: str) -> None:
    """Set and, where that takes one, restart the servers."""
    ok(sim, "updateConfiguration", name=name, value=value, **scope)
    if not scope:
        sim.restart_server()


def deploy(sim: Simulator, name: str = "web", **more: Any) -> dict[str, Any]:
    wanted = {"zoneid": zone_id(sim), "serviceofferingid": service_id(sim), "name": name, **more}
    if not {"templateid", "volumeid", "snapshotid"} & set(more):
        wanted["templateid"] = template_id(sim)
    return job(sim, "deployVirtualMachine", **wanted)["virtualmachine"]


def stop(sim: Simulator, vm: dict[str, Any]) -> None:
    job(sim, "stopVirtualMachine", id=vm["id"])


def volumes(sim: Simulator, vm: dict[str, Any]) -> list[dict[str, Any]]:
    """By device."""
    return sorted(ok(sim, "listVolumes", virtualmachineid=vm["id"], listall=True)["volume"], key=lambda one: one["deviceid"])


def root(sim: Simulator, vm: dict[str, Any]) -> dict[str, Any]:
    return volumes(sim, vm)[0]


def volume(sim: Simulator, id: str) -> dict[str, Any]:
    return one(sim, "listVolumes", "volume", id=id)


def data_disk(sim: Simulator, vm: dict[str, Any] | None = None, name: str = "data", gib: int = 1, **more: Any) -> dict[str, Any]:
    """A data volume; attached, so on StorPool, when there is a VM."""
    offering = more.pop("diskofferingid", None) or named(sim, "listDiskOfferings", "diskoffering", "Custom")
    wanted = {"zoneid": zone_id(sim), "diskofferingid": offering, "size": gib, **more}
    made = job(sim, "createVolume", name=name, **wanted)["volume"]
    if vm is not None:
        job(sim, "attachVolume", id=made["id"], virtualmachineid=vm["id"])
    return volume(sim, made["id"])


def on_storpool(sim: Simulator, path_or_volume: Any, kind: str = "Volume", cluster: str | None = None) -> dict[str, Any] | None:
    """As StorPool tells it, or None; what is on its way out does not count."""
    status, answer = sim.get(f"{kind}/{address(path_or_volume)}", cluster)
    row = answer["data"][0] if status == 200 else None
    return None if row is None or row.get("deleted") or row["name"].startswith("*") else row


def tags(sim: Simulator, volume: dict[str, Any]) -> dict[str, str]:
    """What StorPool says of a volume that is there."""
    row = on_storpool(sim, volume)
    assert row is not None
    return row["tags"]


def digest(sim: Simulator, path_or_volume: Any, cluster: str | None = None) -> str:
    return sim.content(address(path_or_volume), cluster)["sha256"]


def tagged(sim: Simulator, uuid: str, kind: str = "SnapshotsList", cluster: str | None = None) -> list[dict[str, Any]]:
    """Living objects on StorPool whose uuid tag is that."""
    found = sim.get(kind, cluster)[1]["data"]
    return [row for row in found if row["tags"].get("uuid") == uuid and not row.get("deleted") and not row["name"].startswith("*")]


# Snapshots


def snapshot(sim: Simulator, volume_id: str, name: str = "s1", **more: Any) -> dict[str, Any]:
    return job(sim, "createSnapshot", volumeid=volume_id, name=name, **more)["snapshot"]


def listed(sim: Simulator, id: str, **more: Any) -> list[dict[str, Any]]:
    return ok(sim, "listSnapshots", id=id, listall=True, **more).get("snapshot", [])


def storpool_path(sim: Simulator, id: str) -> str | None:
    """What getVolumeSnapshotDetails tells: the way to StorPool's id."""
    rows = ok(sim, "getVolumeSnapshotDetails", snapshotid=id).get("apivolumesnapshotdetails", [])
    return next((row["snapshotDetailsValue"] for row in rows if row["snapshotDetailsName"] == id), None)


def primary_only(sim: Simulator) -> None:
    """Snapshots stay on StorPool, by what the release has for it."""
    if sim.cloudstack["version"] < BYPASS_ENDS:
        configure(sim, "sp.bypass.secondary.storage", "true")
    else:
        configure(sim, "snapshot.backup.to.secondary", "false")


def of_running_vms(sim: Simulator) -> None:
    configure(sim, RUNNING_VMS, "true")


def stored(sim: Simulator, store: str = "nfs-secondary") -> dict[str, Path]:
    """The files on secondary storage."""
    place = sim.control("GET", "/cloudstack/secondary")[store]
    return {name: Path(place["directory"]) / name for name in place["files"]}


def raw_digest(image: Path, form: str = "qcow2") -> str:
    """The hash of an image's content."""
    raw = image.with_name(image.name + ".raw-for-test")
    subprocess.run(["qemu-img", "convert", "-f", form, "-O", "raw", str(image), str(raw)], check=True)
    try:
        return hashlib.sha256(raw.read_bytes()).hexdigest()
    finally:
        raw.unlink()


def idle(sim: Simulator) -> None:
    """Until nothing goes on in the background of the management servers."""
    wait_until(lambda: not sim.control("GET", "/cloudstack/work")["under_way"])


def row_of(sim: Simulator, table: str, id: str) -> dict[str, Any]:
    return next(row for row in sim.control("GET", "/cloudstack/db")[table] if row["id"] == id)
