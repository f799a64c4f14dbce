# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the scenarios do again and again, and how they compare both layers, as Marvin's sp_util does."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from simulator_tests import plugin_support as support
from simulator_tests.cloudstack_support import failed_job, job, named, ok, refused
from simulator_tests.test_cloudstack_pools import url_of
from storpool_simulator.testing import Simulator

GIB = 1 << 30
CLUSTERS = {"sofia": "sofia-a", "plovdiv": "plovdiv-a"}
Row = dict[str, Any]


class World:
    def __init__(self, sim: Simulator, zone: str = "sofia") -> None:
        self.sim = sim
        self.version: str = sim.cloudstack["version"]
        self.zone = zone
        self.zone_id = support.zone_id(sim, zone)
        self.cluster = CLUSTERS[zone]
        self.pool = "storpool-nvme" if zone == "sofia" else f"storpool-nvme-{zone}"
        self.store = "nfs-secondary" if zone == "sofia" else f"nfs-secondary-{zone}"
        self._numbers = itertools.count(1)
        self._bypassing = False
        support.of_running_vms(sim)
        self.os_type = ok(sim, "listOsTypes")["ostype"][0]["id"]

    # Calls

    def ok(self, command: str, **params: Any) -> Row:
        return ok(self.sim, command, **params)

    def refused(self, command: str, **params: Any) -> str:
        return refused(self.sim, command, **params)["errortext"]

    def job(self, command: str, **params: Any) -> Row:
        return job(self.sim, command, **params)

    def failed(self, command: str, **params: Any) -> str:
        return failed_job(self.sim, command, **params)["errortext"]

    def named(self, command: str, key: str, name: str) -> str:
        return named(self.sim, command, key, name)

    def name(self, what: str) -> str:
        return f"{what}-{next(self._numbers)}"

    # Switches

    def bypass(self, on: bool) -> None:
        """Snapshots on StorPool alone, by what the release has for it: from 4.21 on Marvin's own switch does nothing."""
        self.ok("updateConfiguration", name="sp.bypass.secondary.storage", value=str(on).lower())
        if self.version >= "4.21" and on != self._bypassing:
            support.configure(self.sim, "snapshot.backup.to.secondary", str(not on).lower())
        self._bypassing = on

    def put_back(self) -> None:
        self.sim.clear_faults()
        if self._bypassing:
            self.bypass(False)

    def only_since(self, version: str) -> None:
        """Marvin has the scenario only for later releases."""
        if self.version < version:
            pytest.skip(f"since {version}")

    # Instances and volumes

    def deploy(self, **more: Any) -> Row:
        return support.deploy(self.sim, self.name("vm"), **{"zoneid": self.zone_id, **more})

    def stop(self, vm: Row) -> None:
        support.stop(self.sim, vm)

    def start(self, vm: Row) -> None:
        self.job("startVirtualMachine", id=vm["id"])

    def stopped(self, **more: Any) -> Row:
        vm = self.deploy(**more)
        self.stop(vm)
        return vm

    def root(self, vm: Row) -> Row:
        return support.root(self.sim, vm)

    def volumes(self, vm: Row) -> list[Row]:
        return support.volumes(self.sim, vm)

    def volume(self, id: str) -> Row:
        return support.volume(self.sim, id)

    def disk(self, vm: Row | None = None, **more: Any) -> Row:
        return support.data_disk(self.sim, vm, self.name("disk"), **{"zoneid": self.zone_id, **more})

    def detached(self, **more: Any) -> Row:
        """A volume that was attached once, so it is on StorPool."""
        disk = self.disk(self.stopped(), **more)
        self.job("detachVolume", id=disk["id"])
        return self.volume(disk["id"])

    def attach(self, disk: Row, vm: Row) -> Row:
        self.job("attachVolume", id=disk["id"], virtualmachineid=vm["id"])
        return self.volume(disk["id"])

    def detach(self, disk: Row) -> Row:
        self.job("detachVolume", id=disk["id"])
        return self.volume(disk["id"])

    def resize(self, disk: Row, gib: int, **more: Any) -> Row:
        return self.job("resizeVolume", id=disk["id"], size=gib, **more)["volume"]

    # StorPool

    def sp(self, what: Any, kind: str = "Volume") -> Row | None:
        """As StorPool has it, looked for as Marvin does: the last part of the path after "~"."""
        return support.on_storpool(self.sim, what, kind, self.cluster)

    def there(self, what: Any, kind: str = "Volume") -> Row:
        row = self.sp(what, kind)
        assert row is not None, f"StorPool has no {kind} {what}"
        return row

    def same(self, disk: Row) -> Row:
        """Both layers agree on size and IOPS."""
        disk, row = self.volume(disk["id"]), self.there(self.volume(disk["id"]))
        extra = 2 << 20 if disk.get("encryptformat") else 0
        assert row["size"] == disk["size"] + extra and row["iops"] in (disk.get("maxiops") or 0, disk.get("maxiops") or "-")
        return row

    def tags(self, disk: Row) -> Row:
        return self.there(disk)["tags"]

    def clients(self, disk: Row) -> list[int]:
        rows = self.sim.get("AttachmentsList", self.cluster)[1]["data"]
        return [row["client"] for row in rows if "~" + row["globalId"] == support.gid(disk)]

    def client_of(self, vm: Row) -> int:
        host = self.ok("listVirtualMachines", id=vm["id"])["virtualmachine"][0]["hostname"]
        return self.sim.hosts()[host]["storpool"]["client"]

    def write(self, disk: Row, data: bytes, offset: int = 0) -> None:
        self.sim.write(support.gid(disk), data, offset, self.cluster)

    def read(self, disk: Row, length: int, offset: int = 0) -> bytes:
        return self.sim.read(support.gid(disk), offset, length, self.cluster)

    def digest(self, what: Any) -> str:
        return support.digest(self.sim, what, self.cluster)

    def tagged(self, uuid: str, kind: str = "SnapshotsList") -> list[Row]:
        return support.tagged(self.sim, uuid, kind, self.cluster)

    # Snapshots, templates, VM snapshots

    def snapshot(self, disk: Row, **more: Any) -> Row:
        return support.snapshot(self.sim, disk["id"], self.name("snapshot"), **more)

    def snapshot_path(self, snapshot: Row) -> str:
        """Of getVolumeSnapshotDetails, as all Marvin tests look for it."""
        path = support.storpool_path(self.sim, snapshot["id"])
        assert path is not None
        return path

    def template(self, **source: str) -> Row:
        wanted = {"name": self.name("template"), "displaytext": "made", "ostypeid": self.os_type, **source}
        return self.job("createTemplate", **wanted)["template"]

    def group(self, vm: Row, **more: Any) -> Row:
        return self.job("createVMSnapshot", virtualmachineid=vm["id"], name=self.name("group"), **more)["vmsnapshot"]

    # More of everything

    def second_pool(self) -> str:
        """A pool on another StorPool template, once."""
        known = self.ok("listStoragePools", name="storpool-hybrid").get("storagepool")
        if known:
            return known[0]["id"]
        wanted = {"name": "storpool-hybrid", "zoneid": self.zone_id, "provider": "StorPool", "scope": "zone", "hypervisor": "KVM"}
        url = url_of(self.sim, "hybrid", cluster=self.cluster)
        return self.ok("createStoragePool", **wanted, url=url, capacitybytes=1 << 40)["storagepool"]["id"]

    def disk_offering(self, **more: Any) -> str:
        name = self.name("offering")
        wanted = {"name": name, "displaytext": name, "customized": "disksize" not in more, **more}
        return self.ok("createDiskOffering", **wanted)["diskoffering"]["id"]

    def service_offering(self, **more: Any) -> str:
        name = self.name("service")
        wanted = {"name": name, "displaytext": name, "cpunumber": 1, "cpuspeed": 500, "memory": 512, **more}
        return self.ok("createServiceOffering", **wanted)["serviceoffering"]["id"]

    def details(self, kind: str, id: str, **wanted: str) -> None:
        for key, value in wanted.items():
            self.job("addResourceDetail", resourceid=id, resourcetype=kind, **{"details[0].key": key, "details[0].value": value})

    def other_host(self, vm: Row, prefix: str = "") -> str:
        host = self.ok("listVirtualMachines", id=vm["id"])["virtualmachine"][0]["hostname"]
        rows = self.ok("listHosts", type="Routing", zoneid=self.zone_id)["host"]
        return next(row["id"] for row in rows if row["name"] != host and row["name"].startswith(prefix))

    def migrate(self, vm: Row, host: str | None = None) -> None:
        self.job("migrateVirtualMachine", virtualmachineid=vm["id"], hostid=host or self.other_host(vm))

    def tag(self, vm: Row, value: str = "gold") -> None:
        self.job("createTags", resourceids=vm["id"], resourcetype="UserVm", **{"tags[0].key": "vc-policy", "tags[0].value": value})

    def untag(self, vm: Row) -> None:
        self.job("deleteTags", resourceids=vm["id"], resourcetype="UserVm", **{"tags[0].key": "vc-policy"})
