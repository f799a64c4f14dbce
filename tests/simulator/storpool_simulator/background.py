# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work that clusters do by themselves: merging deleted snapshots, collecting transient ones, expiry, copies from elsewhere.

What is due follows from the snapshots alone, so it goes on after a restart. The heap only says where to look.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from . import lifecycle
from .errors import ApiError
from .store import Document

if TYPE_CHECKING:
    from .cluster import Cluster
    from .world import World

LOG = logging.getLogger(__name__)
RETRY = 1.0


def due(snapshot: Document) -> float | None:
    """When something has to happen to the snapshot, or None."""
    if snapshot["recovering"] or snapshot["deleted"] or snapshot["transient"]:
        times = [snapshot["until"]]
    else:
        times = []
    if snapshot["deleteAt"] and not snapshot["deleted"]:
        times.append(snapshot["deleteAt"])
    return min(times, default=None)


class Background:
    def __init__(self, world: World) -> None:
        self.world = world
        self.auto = True
        # What else works by itself: each does what is due and tells whether there was anything
        self.others: list[Callable[[], bool]] = []
        self._heap: list[tuple[float, int, str, str]] = []
        self._count = 0

    def plan(self, cluster: Cluster, snapshot: Document) -> None:
        when = due(snapshot)
        if when is not None:
            self._push(when, cluster.name, snapshot["gid"])

    def _push(self, when: float, cluster: str, gid: str) -> None:
        self._count += 1
        heapq.heappush(self._heap, (when, self._count, cluster, gid))

    def run(self) -> bool:
        """Do what is due by the clock."""
        did = False
        while self._heap and self._heap[0][0] <= (now := self.world.clock.now()):
            _unused, _unused, name, gid = heapq.heappop(self._heap)
            cluster = self.world.clusters[name]
            snapshot = cluster.snapshots.get(gid)
            when = due(snapshot) if snapshot else None
            if snapshot is not None and when is not None and when <= now:
                if self._work(cluster, snapshot, now, False):
                    did = True
                else:
                    self._push(now + RETRY, name, gid)
        for other in self.others:
            did = other() or did
        self.world.commit()
        return did

    def settle(self) -> None:
        """Do everything now, whatever the clock says; only expiry keeps its date."""
        again = True
        while again:
            again = self.run()
            now = self.world.clock.now()
            for cluster in self.world.clusters.values():
                for snapshot in cluster.snapshots.values():
                    current = cluster.snapshots.get(snapshot["gid"])
                    if current is not None and (current["recovering"] or current["deleted"] or current["transient"]):
                        again = self._work(cluster, current, now, True) or again
            self.world.commit()

    def _work(self, cluster: Cluster, snapshot: Document, now: float, force: bool) -> bool:
        """One step for one snapshot; False: nothing to do, or not possible at present."""
        ready = force or (snapshot["until"] or 0) <= now
        if snapshot["recovering"]:
            if ready:
                lifecycle.finish_copy(cluster, snapshot)
            return ready
        if snapshot["deleted"]:
            if ready:
                lifecycle.merge(cluster, snapshot)
            return ready
        if snapshot["transient"]:
            if ready:
                lifecycle.merge(cluster, snapshot)
            return ready
        if snapshot["deleteAt"] and snapshot["deleteAt"] <= now:
            return self._delete(cluster, snapshot)
        return False

    @staticmethod
    def _delete(cluster: Cluster, snapshot: Document) -> bool:
        try:
            lifecycle.delete_snapshot(cluster, snapshot)
        except ApiError as error:
            LOG.debug("%s stays for now: %s", snapshot["name"], error)
            return False
        return True
