# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bytes of volumes and snapshots: which content each one has, and when it has to become private."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import invalid
from .store import Document

if TYPE_CHECKING:
    from .cluster import Cluster
    from .world import World


class Payload:
    def __init__(self, world: World) -> None:
        self.world = world
        self.files = world.contents
        # content of a written volume -> (its stamp, the copy a snapshot took then, that one's stamp): unchanged bytes
        # are copied once.
        self._taken: dict[str, tuple[tuple, str, tuple]] = {}

    def content(self, cluster: Cluster, gid: str) -> str | None:
        """None: nothing was ever written."""
        document = cluster.contents.get(gid)
        return document["id"] if document else None

    def assign(self, cluster: Cluster, gid: str, content: str | None) -> None:
        if content is not None:
            cluster.contents.put(gid, {"id": content})
        elif gid in cluster.contents:
            cluster.contents.drop(gid)

    def _writable_outside(self, cluster: Cluster, gid: str) -> bool:
        """Somebody may write without asking us: through the device of a read-write attachment."""
        return self.world.devices.visible and any(one["rights"] == "rw" for _unused, one in cluster.attachments_of(gid))

    # Reads

    def current(self, cluster: Cluster, gid: str) -> str | None:
        self.world.devices.flush(cluster, gid)
        return self.content(cluster, gid)

    def read(self, cluster: Cluster, document: Document, offset: int, length: int) -> bytes:
        length = max(0, min(length, document["size"] - offset))
        return self.files.read(self.current(cluster, document["gid"]), offset, length)

    def used(self, cluster: Cluster, document: Document) -> int:
        """Bytes including those of the parents."""
        return self.files.used(self.current(cluster, document["gid"]), document["size"])

    def stored(self, cluster: Cluster, document: Document) -> int:
        """Bytes of the object itself: what differs from its parent."""
        content = self.current(cluster, document["gid"])
        parent = self.content(cluster, document["parent"]) if document["parent"] else None
        return self.files.own(content, parent, document["size"])

    def freed_by_delete(self, cluster: Cluster, document: Document) -> int:
        """SnapshotSpace.spaceUsed: what a delete gives back. Children take over what they still show."""
        children = cluster.child_documents(document["gid"])
        own = self.stored(cluster, document)
        if not children:
            return own
        if len(children) > 1:
            return 0
        child = children[0]
        grandparent = self.content(cluster, document["parent"]) if document["parent"] else None
        merged = self.files.own(self.current(cluster, child["gid"]), grandparent, child["size"])
        return max(0, own + self.stored(cluster, child) - merged)

    # Changes

    def share(self, source: Cluster, source_gid: str, target: Cluster, target_gid: str) -> None:
        """The target has the source's bytes of this moment. Nothing is copied unless the source is written from outside."""
        content = self.current(source, source_gid)
        if content is not None and self._writable_outside(source, source_gid):
            content = self._taken_copy(content, self._object(source, source_gid)["size"])
        self.assign(target, target_gid, content)

    def _object(self, cluster: Cluster, gid: str) -> Document:
        document = cluster.object(gid)
        assert document is not None
        return document

    def _taken_copy(self, content: str, size: int) -> str | None:
        stamp, taken, taken_stamp = self._taken.get(content, ((), "", ()))
        if taken in self.files.owners and stamp == self.files.stamp(content) and taken_stamp == self.files.stamp(taken):
            return taken
        if not self.files.used(content, size):
            return None
        copy = self.files.copy(content, size)
        self._taken[content] = (self.files.stamp(content), copy, self.files.stamp(copy))
        return copy

    def make_private(self, cluster: Cluster, document: Document) -> str:
        """The volume's own content, for writing."""
        gid = document["gid"]
        content = self.content(cluster, gid)
        if content is None:
            content = self.files.create(document["size"])
        elif self.files.owners[content] != {(cluster.name, gid)}:
            content = self.files.copy(content, document["size"])
        else:
            return content
        self.assign(cluster, gid, content)
        return content

    def prepare_device(self, cluster: Cluster, document: Document, writable: bool) -> None:
        """Before an attachment is committed: the device needs a file, and a writable one needs its own."""
        if not self.world.devices.visible:
            return
        if writable:
            self.make_private(cluster, document)
        elif self.content(cluster, document["gid"]) is None:
            self.assign(cluster, document["gid"], self.files.create(document["size"]))

    def write(self, cluster: Cluster, document: Document, offset: int, data: bytes) -> None:
        if offset < 0 or offset + len(data) > document["size"]:
            raise invalid(f"the write ends beyond the size of '{document['name'] or document['gid']}'")
        if not self.world.devices.write(cluster, document["gid"], offset, data):
            self.files.write(self.make_private(cluster, document), offset, data)

    def resize(self, cluster: Cluster, document: Document, size: int) -> None:
        """Growing needs nothing; what a shrink cuts off must not come back when the volume grows again."""
        gid = document["gid"]
        content = self.content(cluster, gid)
        if content is None or size >= document["size"]:
            return
        if self.files.owners[content] == {(cluster.name, gid)}:
            self.world.after_commit(lambda: self.files.fit(content, size))
        else:
            self.assign(cluster, gid, self.files.copy(content, size))

    def revert(self, cluster: Cluster, volume: Document, snapshot: Document, size: int) -> None:
        content = self.content(cluster, snapshot["gid"])
        if content is not None and snapshot["size"] > size:
            content = self.files.copy(content, size)
        self.assign(cluster, volume["gid"], content)
        if any(one["rights"] == "rw" for _unused, one in cluster.attachments_of(volume["gid"])):
            self.prepare_device(cluster, {**volume, "size": size}, True)

    def trim_all(self) -> None:
        """At start: cut files that an interrupted shrink left too long."""
        longest: dict[str, int] = {}
        for cluster in self.world.clusters.values():
            for table in (cluster.volumes, cluster.snapshots):
                for gid, document in table.rows.items():
                    content = self.content(cluster, gid)
                    if content is not None:
                        longest[content] = max(longest.get(content, 0), document["size"])
        for content, size in longest.items():
            if self.files.path(content).stat().st_size > size:
                self.files.fit(content, size)
