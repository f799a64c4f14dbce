# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The management server's world: its tables, and the look-ups that commands share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import nfs
from .bmc import Bmcs
from .engine import Engine
from .facts import Facts
from .index import Index
from .jobs import Jobs
from .journal import Journal
from .parameters import is_internal
from .plugin.traits import Traits
from .secondary import Secondary
from .settings import Settings
from .timeline import Timeline
from .work import Workshop

if TYPE_CHECKING:
    from ..api import Api
    from ..store import Document, Table
    from ..world import World
    from .assumptions import CloudAssumptions

SPACE = "cloudstack"
# Response classes that id parameters name, and the tables they lead to
RELATED = {
    "ZoneResponse": "zone",
    "PodResponse": "pod",
    "ClusterResponse": "cluster",
    "HostResponse": "host",
    "StoragePoolResponse": "pool",
    "ImageStoreResponse": "store",
    "DomainResponse": "domain",
    "AccountResponse": "account",
    "UserResponse": "user",
    "ProjectResponse": "project",
    "UserVmResponse": "vm",
    "ManagementServerResponse": "server",
    "AsyncJobResponse": "job",
    "TemplateResponse": "template",
    "IsoVmResponse": "template",
    "GuestOSResponse": "ostype",
    "DiskOfferingResponse": "diskoffering",
    "ServiceOfferingResponse": "serviceoffering",
    "VolumeResponse": "volume",
    "SnapshotResponse": "snapshot",
    "SnapshotPolicyResponse": "policy",
    "VMSnapshotResponse": "vmsnapshot",
}


class Cloud:
    def __init__(self, world: World, version: str, assume: CloudAssumptions) -> None:
        self.world = world
        self.assume = assume
        self.facts = Facts(version)
        self.meta = self.table("meta")
        self.zones = self.table("zone")
        self.pods = self.table("pod")
        self.clusters = self.table("cluster")
        self.hosts = self.table("host")
        self.servers = self.table("server")
        self.domains = self.table("domain")
        self.accounts = self.table("account")
        self.users = self.table("user")
        self.projects = self.table("project")
        self.stores = self.table("store")
        self.pools = self.table("pool")
        self.vms = self.table("vm")
        # Images: template, its copies on secondary storage (template_store_ref) and on pools (template_spool_ref)
        self.ostypes = self.table("ostype")
        self.templates = self.table("template")
        self.template_stores = self.table("template_store")
        self.template_pools = self.table("template_pool")
        self.disk_offerings = self.table("diskoffering")
        self.service_offerings = self.table("serviceoffering")
        self.volumes = self.table("volume")
        # Snapshots, their copies (snapshot_store_ref) and details (snapshot_details); policies; VM snapshots
        self.snapshots = self.table("snapshot")
        self.snapshot_stores = self.table("snapshot_store")
        self.policies = self.table("policy")
        self.vm_snapshots = self.table("vmsnapshot")
        self.tags = self.table("tag")
        self.volumes_of_vm = Index(self.volumes, lambda one: one["vm"] if one["removed"] is None else None)
        self.tags_of_object = Index(self.tags, lambda one: f"{one['kind']}/{one['id']}")
        # What prepareTemplate put into the queue
        self.preloads = self.table("preload")
        self.bmcs = Bmcs(self)
        # StorPool cluster -> host:port of its API, once the ports are known
        self.addresses: dict[str, str] = {}
        self.settings = Settings(self)
        self.jobs = Jobs(self)
        self.engine = Engine(self)
        self.workshop = Workshop(self)
        self.traits = Traits(self.facts)
        self.secondary = Secondary(self, world.state / "secondary")
        self.journal = Journal(world.clock)
        # The StorPool API, once the application is built; what is asked of it here goes through `plugin.client`
        self.storpool: Api | None = None
        self.timeline = Timeline(self)
        world.background.others += [self.jobs.run_due, self.timeline.run_due]

    def start_anew(self) -> None:
        """Before a reset: nothing of what was goes on."""
        self.workshop.abandon_all()
        self.timeline.start_anew()
        self.secondary.clear()
        nfs.clear(self)
        self.journal.clear()

    def table(self, kind: str) -> Table:
        return self.world.store.table(SPACE, kind)

    @property
    def exists(self) -> bool:
        """Whether the state has a CloudStack already."""
        return len(self.zones) > 0

    def since(self, version: str, fields: dict[str, Any]) -> dict[str, Any]:
        """The fields, where the release has them."""
        return fields if self.facts.has(version) else {}

    def keys(self) -> tuple[str, str]:
        """API key and secret of the admin."""
        user = next(iter(self.users.values()))
        return user["key"], user["secret"]

    @property
    def skew(self) -> float:
        """Seconds by which the servers' clock is ahead of the machine's, as far as signatures are concerned."""
        known = self.meta.get("skew")
        return known["seconds"] if known else 0.0

    @property
    def page_size(self) -> int:
        return int(self.settings.number("default.page.size", 500))

    # Objects

    def set_switch(self, kind: str, id: str, name: str, on: bool) -> None:
        """One of the details of a cluster or zone that say enabled or not."""
        table = self.table(kind)
        table.change(id, details={**table[id]["details"], name: str(on).lower()})

    def add(self, kind: str, id: str, **fields: Any) -> Document:
        """A new object; it also gets an internal number and the time."""
        table = self.table(kind)
        number = self.meta.get(kind)
        count = (number["last"] if number else 0) + 1
        self.meta.put(kind, {"last": count})
        document = {"id": id, "dbid": count, "created": self.world.clock.now(), "removed": None, **fields}
        table.put(id, document)
        return document

    @staticmethod
    def living(table: Table) -> list[Document]:
        return [one for one in table.values() if one["removed"] is None]

    def resolve(self, related: str, text: str) -> str | None:
        """The id of the object that a parameter names, by id or internal number; removed ones are found too (sheet section 5)."""
        kind = RELATED.get(related)
        if kind is None:
            return None
        table = self.table(kind)
        if text in table:
            return text
        if is_internal(text):
            return next((key for key, one in table.items() if one["dbid"] == int(text)), None)
        return None

    @staticmethod
    def takes_part(host: Document) -> bool:
        """Its agent answers and nothing keeps instances away."""
        return host["state"] == "Up" and host["resource"] == "Enabled"

    def hosts_of(self, *, cluster: str | None = None, zone: str | None = None) -> list[Document]:
        return [one for one in self.living(self.hosts) if cluster in (None, one["cluster"]) and zone in (None, one["zone"])]
