# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the scenarios do again and again, and how they compare both layers, as Marvin's sp_util does.

What a playbook can declare with this collection (volumes, snapshots, templates, VM snapshots, offerings, pools, settings) is declared, each
time by three runs (declared.py); machines, their tags and what the server refuses go through CloudStack's API itself.
"""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from simulator_tests import plugin_support as support
from simulator_tests.cloudstack_support import failed_job, job, named, ok, refused
from storpool_simulator.testing import Simulator

from . import declared

GIB = 1 << 30
CLUSTERS = {"sofia": "sofia-a", "plovdiv": "plovdiv-a"}
EVERYWHERE = "MultiCluster/"
Row = dict[str, Any]


class World:
    """`hosts`: where its machines run, the first by preference; otherwise CloudStack chooses."""

    def __init__(self, sim: Simulator, zone: str = "sofia", hosts: tuple[str, ...] = ()) -> None:
        self.sim = sim
        self.version: str = sim.cloudstack["version"]
        self.zone = zone
        self.zone_id = support.zone_id(sim, zone)
        self.hosts = hosts
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

    # Tasks

    def run(self, module: str, **options: Any) -> Row:
        """The result of one run."""
        return declared.task(self.sim, f"cloudstack_{module}", self.cluster, **options)

    def declare(self, module: str, **options: Any) -> Row:
        """The entry of the one object that the task is about."""
        result = declared.three_runs(self.sim, f"cloudstack_{module}", self.cluster, **options)
        (entry,) = next(value for value in result.values() if isinstance(value, list))
        return entry

    def declined(self, module: str, **options: Any) -> str:
        """Why a task is refused, in check mode and in a real run alike, and before anything is written."""
        self.sim.reset_calls()
        first, second = (declared.task(self.sim, f"cloudstack_{module}", self.cluster, check=check, **options) for check in (True, False))
        assert first.get("failed") and first["msg"] == second.get("msg"), (first, second)
        assert self.sim.calls(summary=True)["writes"] == 0
        return first["msg"]

    # Switches

    def bypass(self, on: bool) -> None:
        """Snapshots on StorPool alone, by what the release has for it: from 4.21 on Marvin's own switch does nothing."""
        wanted = {"sp.bypass.secondary.storage": on}
        if self.version >= "4.21":
            wanted["snapshot.backup.to.secondary"] = not on
        if on != self._bypassing:
            rows = [{"name": name, "value": value} for name, value in wanted.items()]
            declared.three_runs(self.sim, "cloudstack_settings", self.cluster, settings=rows)
            if self.version >= "4.21":
                self.sim.restart_server()
        self._bypassing = on

    def put_back(self) -> None:
        self.sim.clear_faults()
        if self._bypassing:
            self.ok("updateConfiguration", name="sp.bypass.secondary.storage", value="false")
            support.configure(self.sim, "snapshot.backup.to.secondary", "true")
            self._bypassing = False

    def only_since(self, version: str) -> None:
        """Marvin has the scenario only for later releases."""
        if self.version < version:
            pytest.skip(f"since {version}")

    # Machines

    def _on_host(self) -> Row:
        return {"hostid": self.host(self.hosts[0])} if self.hosts else {}

    def host(self, name: str) -> str:
        return self.named("listHosts", "host", name)

    def deploy(self, **more: Any) -> Row:
        return support.deploy(self.sim, self.name("vm"), **{"zoneid": self.zone_id, **self._on_host(), **more})

    def stop(self, vm: Row) -> None:
        support.stop(self.sim, vm)

    def start(self, vm: Row, **more: Any) -> None:
        self.job("startVirtualMachine", id=vm["id"], **{**self._on_host(), **more})

    def stopped(self, **more: Any) -> Row:
        vm = self.deploy(**more)
        self.stop(vm)
        return vm

    def machine(self, vm: Row) -> Row:
        return self.ok("listVirtualMachines", id=vm["id"])["virtualmachine"][0]

    def other_host(self, vm: Row) -> str:
        known = self.machine(vm)["hostname"]
        rows = self.ok("listHosts", type="Routing", zoneid=self.zone_id)["host"]
        return next(row["id"] for row in rows if row["name"] != known and (not self.hosts or row["name"] in self.hosts))

    def migrate(self, vm: Row, host: str | None = None) -> None:
        self.job("migrateVirtualMachine", virtualmachineid=vm["id"], hostid=host or self.other_host(vm))

    def tag(self, vm: Row, value: str = "gold") -> None:
        self.job("createTags", resourceids=vm["id"], resourcetype="UserVm", **{"tags[0].key": "vc-policy", "tags[0].value": value})

    def untag(self, vm: Row) -> None:
        self.job("deleteTags", resourceids=vm["id"], resourcetype="UserVm", **{"tags[0].key": "vc-policy"})

    # Volumes

    def root(self, vm: Row) -> Row:
        return support.root(self.sim, vm)

    def volumes(self, vm: Row) -> list[Row]:
        return support.volumes(self.sim, vm)

    def volume(self, id: str) -> Row:
        return support.volume(self.sim, id)

    def change(self, disk: Row, **wanted: Any) -> Row:
        """A volume that is there, as it is to be; as CloudStack lists it afterwards."""
        self.declare("volume", id=disk["id"], **wanted)
        return self.volume(disk["id"])

    def new_volume(self, **wanted: Any) -> Row:
        entry = self.declare("volume", **{"name": self.name("disk"), "zone": self.zone, **wanted})
        return self.volume(entry["object"]["id"])

    def disk(self, vm: Row | None = None, gib: int = 1, **wanted: Any) -> Row:
        """A data volume; attached, so on StorPool, when there is a machine."""
        place = {"vm": vm["id"]} if vm is not None else {}
        return self.new_volume(**{"offering": "Custom", "size": f"{gib}G", **place, **wanted})

    def detached(self, **wanted: Any) -> Row:
        """A volume that was attached once, so it is on StorPool."""
        return self.detach(self.disk(self.stopped(), **wanted))

    def attach(self, disk: Row, vm: Row) -> Row:
        return self.change(disk, vm=vm["id"])

    def detach(self, disk: Row) -> Row:
        return self.change(disk, vm="")

    def resize(self, disk: Row, gib: int, **more: Any) -> Row:
        return self.change(disk, size=f"{gib}G", **more)

    def move(self, disk: Row, pool: str) -> Row:
        """To another pool, live or offline as it has to be."""
        return self.change(disk, storage_pool=pool)

    def copy_of(self, snapshot: Row, **wanted: Any) -> Row:
        """A volume from a snapshot."""
        far = {"sp_cluster": CLUSTERS[wanted["zone"]]} if "zone" in wanted else {}
        return self.new_volume(**{"name": self.name("copy"), "snapshot": snapshot["id"], **far, **wanted})

    def drop(self, disk: Row) -> None:
        self.declare("volume", id=disk["id"], state="absent")

    # StorPool

    def sp(self, what: Any, kind: str = "Volume") -> Row | None:
        """As StorPool has it, looked for as Marvin does (the last part of the path after "~"), in all clusters of the location."""
        return support.on_storpool(self.sim, what, EVERYWHERE + kind, self.cluster)

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
        """On which clients it is attached, by the cluster that has it now."""
        rows = self.sim.get("AttachmentsList", self._home(disk))[1]["data"]
        return [row["client"] for row in rows if "~" + row["globalId"] == support.address(disk)]

    def client_of(self, vm: Row) -> int:
        return self.sim.hosts()[self.machine(vm)["hostname"]]["storpool"]["client"]

    def _home(self, what: Any) -> str:
        """The cluster that has it: the pool's, unless a host of another one took it over."""
        if not self.hosts:
            return self.cluster
        names = [name for name, known in self.sim.clusters.items() if known["location"] == self.sim.clusters[self.cluster]["location"]]
        kinds = [f"{kind}/{support.address(what)}" for kind in ("Volume", "Snapshot")]
        return next(name for name in names for path in kinds if self.sim.get(path, name)[0] == 200)

    def write(self, disk: Row, data: bytes, offset: int = 0) -> None:
        self.sim.write(support.address(disk), data, offset, self._home(disk))

    def read(self, disk: Row, length: int, offset: int = 0) -> bytes:
        return self.sim.read(support.address(disk), offset, length, self._home(disk))

    def digest(self, what: Any) -> str:
        """Equal for equal size and content."""
        return self.sim.fingerprint(support.address(what), self._home(what))

    def tagged(self, uuid: str, kind: str = "SnapshotsList") -> list[Row]:
        return support.tagged(self.sim, uuid, EVERYWHERE + kind, self.cluster)

    def copied_bytes(self) -> tuple[int, int]:
        """What hosts converted and StorPool copied up to now."""
        counted = self.sim.counters()
        return counted["bytes_converted"], counted["bytes_copied"]

    def seen(self, vm: Row, disk: Row) -> int:
        """The size that the running machine knows of."""
        return next(one["seen"] for one in self.sim.vms()[vm["name"]]["disks"] if one["id"] == disk["id"])

    def files(self, what: Row) -> list[str]:
        """Of a snapshot or a template on secondary storage."""
        return [name for name in self.sim.secondary(self.store)["files"] if what["id"] in name]

    # Snapshots, templates, VM snapshots

    def snapshot(self, disk: Row, **wanted: Any) -> Row:
        entry = self.declare("snapshot", volume=disk["id"], name=self.name("snapshot"), **wanted)
        return self.ok("listSnapshots", id=entry["object"]["id"])["snapshot"][0]

    def snapshot_path(self, snapshot: Row) -> str:
        """Of getVolumeSnapshotDetails, as all Marvin tests look for it."""
        path = support.storpool_path(self.sim, snapshot["id"])
        assert path is not None
        return path

    def revert(self, snapshot: Row) -> None:
        self.declare("snapshot", id=snapshot["id"], volume=snapshot["volumeid"], state="reverted")

    def drop_snapshot(self, snapshot: Row, **wanted: Any) -> None:
        self.declare("snapshot", id=snapshot["id"], state="absent", **wanted)

    def template(self, **wanted: Any) -> Row:
        """Of a snapshot or a volume."""
        entry = self.declare("template", **{"name": self.name("template"), "zone": self.zone, "os_type": self.os_type, **wanted})
        return self.ok("listTemplates", templatefilter="all", id=entry["object"]["id"])["template"][0]

    def drop_template(self, template: Row) -> None:
        self.declare("template", name=template["name"], state="absent")

    def group(self, vm: Row) -> Row:
        entry = self.declare("vm_snapshot", vm=vm["id"], name=self.name("group"))
        return self.ok("listVMSnapshot", vmsnapshotid=entry["object"]["id"])["vmSnapshot"][0]

    def revert_group(self, group: Row) -> None:
        self.declare("vm_snapshot", vm=group["virtualmachineid"], name=group["displayname"], state="reverted")

    def drop_group(self, group: Row) -> None:
        self.declare("vm_snapshot", vm=group["virtualmachineid"], name=group["displayname"], state="absent")

    # More of everything

    def new_pool(self, name: str, template: str) -> str:
        """A pool on that StorPool template, once."""
        address = self.sim.clusters[self.cluster]["url"].removeprefix("http://")
        wanted = {"zone": self.zone, "template": template, "capacity": "1T", "pool_api_http": address, "pool_auth_token": self.sim.token}
        return self.declare("storage_pool", name=name, **wanted)["object"]["id"]

    def second_pool(self) -> str:
        """A pool on another StorPool template, once."""
        known = self.ok("listStoragePools", name="storpool-hybrid").get("storagepool")
        return known[0]["id"] if known else self.new_pool("storpool-hybrid", "hybrid")

    def disk_offering(self, **wanted: Any) -> str:
        return self.declare("offering", name=self.name("offering"), **wanted)["object"]["id"]

    def service_offering(self, **wanted: Any) -> str:
        machine = {"type": "compute", "cpu_number": 1, "cpu_speed": 500, "memory": 512}
        return self.declare("offering", name=self.name("service"), **machine, **wanted)["object"]["id"]
