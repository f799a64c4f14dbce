# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that one process serves: clusters, bytes, devices, clock, faults, call log, and the transaction around a change.

A second system may live here too: store, contents, faults, call log and clock know nothing of StorPool.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Callable
from pathlib import Path

from .assumptions import Assumptions
from .background import Background
from .calllog import CallLog
from .clock import Clock
from .cloudstack.assumptions import CloudAssumptions
from .cloudstack.cloud import Cloud
from .cloudstack.population import populate as populate_cloud
from .cluster import QUIET, Cluster
from .content import Contents
from .devices import Devices
from .faults import Faults
from .payload import Payload
from .store import Document, Store
from .topology import BUILT_IN, Topology, populate

LOG = logging.getLogger(__name__)
# Settings that a reset leaves alone, besides the topology
KEPT = ("token", "ports", "keys")


class World:
    def __init__(
        self,
        state: Path,
        *,
        topology: Topology | None,
        assume: Assumptions,
        devices: str,
        token: str | None,
        cloudstack: str | None = None,
        cloud_assume: CloudAssumptions | None = None,
    ) -> None:
        state = state.resolve()
        state.mkdir(parents=True, exist_ok=True)
        self.state = state
        self.assume = assume
        self.clock = Clock()
        self.log = CallLog()
        self.faults = Faults()
        self.store = Store(state / "state.sqlite")
        self.contents = Contents(state / "content")
        self.payload = Payload(self)
        self.background = Background(self)
        self.devices = Devices(self, state / "dev", devices)
        self.clusters: dict[str, Cluster] = {}
        self.resets = 0
        self._after_commit: list[Callable[[], None]] = []
        self.settings = self.store.table("", "settings")

        known = self._known_topology()
        self.topology = Topology(known) if known else (topology or Topology(BUILT_IN))
        if known and topology and topology.document != known:
            raise ValueError("the state holds another topology; give an empty directory")
        for plan in self.topology.clusters:
            self.clusters[plan.name] = Cluster(self, plan)
        self.cloud = Cloud(self, cloudstack, cloud_assume or CloudAssumptions()) if cloudstack else None
        self.store.load()
        if not known:
            self._first_start()
        elif self.cloud is not None and not self.cloud.exists:
            populate_cloud(self.cloud)
            self.commit()
        if token or "token" not in self.settings:
            # The tokens of the documentation are decimal numbers of 19 digits (sheet 1.2).
            self.remember("token", token or str(10**18 + secrets.randbelow(9 * 10**18)))
        self.token: str = self.recall("token")
        self.clock.offset = self.recall("clock", 0.0)
        self.contents.sweep_all()
        self.payload.trim_all()
        self.devices.start()

    # Settings that outlive the process

    def recall(self, key: str, default=None):
        document = self.settings.get(key)
        return document["value"] if document else default

    def remember(self, key: str, value) -> None:
        self.settings.put(key, {"value": value})
        self.store.commit()

    def _known_topology(self) -> Document | None:
        row = self.store.connection.execute(
            "SELECT json_extract(body, '$.value') FROM documents WHERE space = '' AND key = 'topology'"
        ).fetchone()
        return json.loads(row[0]) if row else None

    def _first_start(self) -> None:
        self.settings.put("topology", {"value": self.topology.document})
        for cluster in self.clusters.values():
            populate(cluster, self.topology)
        if self.cloud is not None:
            populate_cloud(self.cloud)
        self.commit()

    def reset(self) -> None:
        """Back to the first start; token, ports and topology stay. What is on the way by then comes to nothing."""
        self.resets += 1
        self.faults.clear()
        if self.cloud is not None:
            # What is cut short cleans up after itself, and needs what is there for that.
            self.cloud.start_anew()
        self.log.clear()
        self.clock.start_anew()
        self.contents.bytes_copied = self.contents.bytes_converted = 0
        kept = {key: document for key, document in self.settings.items() if key in KEPT}
        self.store.clear()
        for key, document in kept.items():
            self.settings.put(key, document)
        self.background.auto = True
        self._first_start()

    # One change

    def after_commit(self, action: Callable[[], None]) -> None:
        """For what cannot be undone: it is done only once the change is on record."""
        self._after_commit.append(action)

    def prepare(self) -> None:
        """Settle what the change makes of generations, and encode (so check) what it touched, while it can still be undone."""
        touched = self.store.changed()
        raised = {table.space for table, _unused in touched if table.kind not in QUIET}
        for name in raised:
            if name in self.clusters and "cluster" in self.clusters[name].meta:
                self.clusters[name].raise_generation()
        for table, key in touched:
            if table.kind in ("volume", "snapshot") and table.space in self.clusters and key in table:
                self.clusters[table.space].fragment(table[key])

    def commit(self, *, prepared: bool = False) -> None:
        if self.store.dirty:
            if not prepared:
                self.prepare()
            self.store.commit()
        actions, self._after_commit = self._after_commit, []
        for action in actions:
            action()
        self.devices.sync()
        self.contents.sweep()

    def rollback(self) -> None:
        self.store.rollback()
        self._after_commit.clear()
        self.devices.sync()
        self.contents.sweep()

    def close(self) -> None:
        self.devices.stop()
        self.store.close()

    # Look-ups over all clusters

    def by_location(self, location_id: str) -> list[Cluster]:
        return [cluster for cluster in self.clusters.values() if cluster.location_id == location_id]

    def cluster_called(self, name: str) -> Cluster | None:
        """By name, or "~" and the id (sheet 1.1, RemoteCommand)."""
        if name.startswith("~"):
            return next((cluster for cluster in self.clusters.values() if cluster.id == name[1:]), None)
        return self.clusters.get(name)
