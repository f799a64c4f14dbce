# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One StorPool cluster: its tables, its indexes, and the look-ups that the calls share.

Documents hold only facts of their own; everything that depends on other objects (names of parents, the volume a snapshot is
on) is put together by `views`. The encoded form of each object is kept until it or a neighbour changes, so a
listing of ten thousand volumes is one join.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from . import views
from .errors import exists, invalid, missing
from .store import Document, Table

if TYPE_CHECKING:
    from .topology import ClusterPlan
    from .world import World

# Kinds whose change is no change of the configuration: bytes, host-side facts, book-keeping.
QUIET = frozenset({"content", "open", "client", "meta"})
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def base36(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits or "0"


class Cluster:
    def __init__(self, world: World, plan: ClusterPlan) -> None:
        self.world = world
        self.name = plan.name
        self.location = plan.location
        self.location_id, self.sub_id = plan.id.split(".")
        self.id = plan.id

        def table(kind: str) -> Table:
            return world.store.table(plan.name, kind)

        self.meta = table("meta")
        self.volumes = table("volume")
        self.snapshots = table("snapshot")
        self.contents = table("content")
        self.attachments = table("attachment")
        self.opened = table("open")
        self.templates = table("template")
        self.groups = table("group")
        self.disks = table("disk")
        self.servers = table("server")
        self.clients = table("client")
        self.mgmt = table("mgmt")
        self.bridge_services = table("bridgeService")
        self.locations = table("location")
        self.remote_clusters = table("remoteCluster")
        self.bridges = table("bridge")
        self.exports = table("export")
        self.volume_exports = table("volumeExport")
        self.maintenance = table("maintenance")
        self.buckets = table("bucket")

        self.names: dict[str, str] = {}
        self.children: dict[str, dict[str, None]] = {}
        self.attached: dict[str, dict[int, Document]] = {}
        self.positions: dict[int, set[int]] = {}
        self.exported: dict[str, dict[str, Document]] = {}
        self.fragments: dict[str, bytes] = {}
        self.template_names: dict[str, int] = {}
        self._history: deque[tuple[float, int]] = deque(maxlen=10000)

        self.volumes.watchers.append(self._object_changed)
        self.snapshots.watchers.append(self._object_changed)
        self.snapshots.watchers.append(self._work_changed)
        self.attachments.watchers.append(self._attachment_changed)
        self.contents.watchers.append(self._content_changed)
        self.templates.watchers.append(self._template_changed)
        self.exports.watchers.append(self._export_changed)

    def __repr__(self) -> str:
        return f"<Cluster {self.name}>"

    # Watchers: indexes follow the documents, in changes, undoes and loads alike.

    def _object_changed(self, gid: str, old: Document | None, new: Document | None) -> None:
        self.fragments.pop(gid, None)
        old_name, new_name = old and old["name"], new and new["name"]
        if old_name != new_name:
            if old_name and self.names.get(old_name) == gid:
                del self.names[old_name]
            if new_name:
                self.names[new_name] = gid
        # The listed name also changes when a name comes or goes.
        if old is None or new is None or old_name != new_name:
            for child in self.children.get(gid, ()):
                self.fragments.pop(child, None)
        old_parent, new_parent = old and old["parent"], new and new["parent"]
        if old_parent != new_parent or old_name != new_name:
            for parent in (old_parent, new_parent):
                if parent:
                    self.fragments.pop(parent, None)
        if old_parent != new_parent:
            if old_parent:
                siblings = self.children.get(old_parent, {})
                siblings.pop(gid, None)
                if not siblings:
                    self.children.pop(old_parent, None)
            if new_parent:
                self.children.setdefault(new_parent, {})[gid] = None
        self.world.devices.mark(self, gid)

    def _work_changed(self, gid: str, old: Document | None, new: Document | None) -> None:
        if new is not None:
            self.world.background.plan(self, new)

    def _attachment_changed(self, key: str, old: Document | None, new: Document | None) -> None:
        if old is not None:
            clients = self.attached[old["gid"]]
            del clients[old["client"]]
            if not clients:
                del self.attached[old["gid"]]
            self.positions[old["client"]].discard(old["pos"])
        if new is not None:
            self.attached.setdefault(new["gid"], {})[new["client"]] = new
            self.positions.setdefault(new["client"], set()).add(new["pos"])
        for document in (old, new):
            if document is not None:
                self.world.devices.mark(self, document["gid"])

    def _content_changed(self, gid: str, old: Document | None, new: Document | None) -> None:
        if new is not None:
            self.world.contents.refer(new["id"], (self.name, gid))
        if old is not None and (new is None or new["id"] != old["id"]):
            self.world.contents.release(old["id"], (self.name, gid))
        self.world.devices.mark(self, gid)

    def _template_changed(self, key: str, old: Document | None, new: Document | None) -> None:
        if old is not None:
            self.template_names.pop(old["name"], None)
        if new is not None:
            self.template_names[new["name"]] = new["id"]
        if old is not None and (new is None or new["name"] != old["name"]):
            self.fragments.clear()

    def _export_changed(self, key: str, old: Document | None, new: Document | None) -> None:
        gid = (old or new or {})["gid"]
        # mcState tells whether a snapshot is exported.
        self.fragments.pop(gid, None)
        exports = self.exported.setdefault(gid, {})
        if new is None:
            exports.pop(key, None)
        else:
            exports[key] = new

    # Generation and ids

    @property
    def generation(self) -> int:
        return self.meta["cluster"]["generation"]

    def raise_generation(self) -> None:
        generation = self.generation + 1
        self.meta.change("cluster", generation=generation)
        if any(client["lag"] for client in self.clients.rows.values()):
            self._history.append((self.world.clock.now(), generation))

    def new_number(self) -> int:
        number = self.meta["cluster"]["next"]
        self.meta.change("cluster", next=number + 1)
        return number

    def global_id(self, number: int) -> str:
        """Location, sub-cluster, object (rule global-id-parts)."""
        return f"{self.id}.{base36(number)}"

    # Objects

    def object(self, gid: str) -> Document | None:
        return self.volumes.get(gid) or self.snapshots.get(gid)

    def is_snapshot(self, gid: str) -> bool:
        return gid in self.snapshots

    def gid_of(self, name: str) -> str | None:
        """ "~" and a globalId are accepted wherever a name is (rule global-id)."""
        return name[1:] if name.startswith("~") else self.names.get(name)

    def find_volume(self, name: str) -> Document | None:
        gid = self.gid_of(name)
        return self.volumes.get(gid) if gid else None

    def find_snapshot(self, name: str) -> Document | None:
        gid = self.gid_of(name)
        return self.snapshots.get(gid) if gid else None

    def volume(self, name: str) -> Document:
        document = self.find_volume(name)
        if document is None:
            raise missing("Volume", name)
        return document

    def snapshot(self, name: str) -> Document:
        document = self.find_snapshot(name)
        if document is None:
            raise missing("Snapshot", name)
        return document

    def living_snapshot(self, name: str) -> Document:
        """A snapshot that is not on its way out."""
        document = self.snapshot(name)
        if document["deleted"]:
            raise missing("Snapshot", name)
        return document

    def free_name(self, name: str, own_gid: str | None = None) -> None:
        """Volumes and snapshots share one name space (rule names-shared)."""
        taken = self.names.get(name) if name else None
        if taken is not None and taken != own_gid:
            raise exists("Snapshot" if self.is_snapshot(taken) else "Volume", name)

    def put_object(self, document: Document) -> None:
        (self.snapshots if "bound" in document else self.volumes).put(document["gid"], document)

    def change_object(self, gid: str, **fields: Any) -> Document:
        return (self.snapshots if gid in self.snapshots else self.volumes).change(gid, **fields)

    def child_documents(self, gid: str) -> list[Document]:
        return [document for child in self.children.get(gid, ()) if (document := self.object(child)) is not None]

    def open_clients(self, gid: str) -> list[int]:
        return self.opened[gid]["clients"] if gid in self.opened else []

    def exported_to(self, gid: str) -> list[Document]:
        return list(self.exported.get(gid, {}).values())

    def fragment(self, document: Document) -> bytes:
        """The encoded summary of a volume or snapshot, checked when it was made."""
        gid = document["gid"]
        known = self.fragments.get(gid)
        if known is None:
            known = self.fragments[gid] = views.encode_summary(self, document)
        return known

    # Templates, groups, clients

    def template(self, name: str) -> Document:
        number = self.template_names.get(name)
        if number is None:
            raise missing("Template", name)
        return self.templates[str(number)]

    def template_of(self, document: Document) -> Document | None:
        return self.templates.get(str(document["template"]))

    def objects_of_template(self, number: int) -> list[Document]:
        return [one for table in (self.volumes, self.snapshots) for one in table.values() if one["template"] == number]

    def group(self, name: str) -> Document:
        document = self.groups.get(name)
        if document is None:
            raise missing("Placement group", name)
        return document

    def client(self, number: int) -> Document:
        document = self.clients.get(str(number))
        if document is None:
            raise invalid(f"No such client registered: {number}")
        return document

    def client_generation(self, client: Document) -> int:
        """What the client has applied: everything, unless it is down or lags behind (rules reassign-wait, client-wait)."""
        if client["status"] == "down":
            return client["applied"]
        if not client["lag"]:
            return self.generation
        known, horizon = client["applied"], self.world.clock.now() - client["lag"]
        for when, generation in self._history:
            if when > horizon:
                break
            known = max(known, generation)
        return known

    def set_client(self, number: int, status: str, lag: float | None = None) -> None:
        client = self.client(number)
        fields: dict[str, Any] = {"status": status, "applied": self.client_generation(client)}
        if lag is not None:
            fields["lag"] = lag
        if status != client["status"]:
            fields["startTime"] = None if status == "down" else self.world.clock.seconds()
        lag = fields.get("lag", client["lag"])
        if status == "running" and lag:
            self._history.append((self.world.clock.now(), self.generation))
        self.clients.change(str(number), **fields)

    def neighbours(self) -> list[Cluster]:
        """All clusters of the location, this one first: what MultiCluster/ spans (sheet 4.4)."""
        return [self, *(one for one in self.world.clusters.values() if one.location == self.location and one is not self)]

    # A volume of another cluster of the location may be attached here while it is exported to us (sheet 4.4).

    def owner_of(self, gid: str) -> Cluster | None:
        """The cluster of the location that holds the object, this one first."""
        return next((one for one in self.neighbours() if one.object(gid) is not None), None)

    def attachments_of(self, gid: str) -> list[tuple[Cluster, Document]]:
        """Attachments of our object, also those on clients of neighbours that have no object of that id themselves."""
        return [
            (one, attachment)
            for one in self.neighbours()
            if one is self or one.object(gid) is None
            for attachment in list(one.attached.get(gid, {}).values())
        ]
