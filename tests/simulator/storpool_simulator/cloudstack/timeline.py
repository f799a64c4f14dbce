# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes on by itself, look by look, also through a time that the clock skips."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import cleanup, hostha, hosts, instances, maintenance, outofband, policies, taking, templates
from .plugin import cache, connecting, copying, delayed

if TYPE_CHECKING:
    from ..store import Document
    from .cloud import Cloud


class Timeline:
    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self._next: float | None = None

    def start_anew(self) -> None:
        """The clock went back."""
        self._next = None

    def run_due(self) -> bool:
        """All looks that are due; each happens at its own moment, so skipped minutes are lived through."""
        clock, period = self.cloud.world.clock, self.cloud.assume.poll_seconds
        now = clock.now()
        if self._next is None:
            self._next = now
        did = False
        while self._next <= now:
            with clock.at(self._next):
                self.look(self._next)
            self._next += period
            did = True
        began = templates.begin_downloads(self.cloud)
        began = taking.begin_due(self.cloud) or began
        return cache.begin_preloads(self.cloud) or began or did

    def look(self, now: float) -> None:
        for host in self.cloud.living(self.cloud.hosts):
            if host["booting"] is not None and host["booting"] <= now:
                hosts.finish_boot(self.cloud, host)
            maintenance.proceed(self.cloud, host, now)
            outofband.look(self.cloud, self.cloud.hosts[host["id"]])
            self._investigate(self.cloud.hosts[host["id"]], now)
            connecting.look(self.cloud, self.cloud.hosts[host["id"]])
        hostha.poll(self.cloud, now)
        cleanup.look(self.cloud, now)
        policies.run_due(self.cloud, now)
        copying.check_recovered(self.cloud, now)
        delayed.look(self.cloud, now)

    def _investigate(self, host: Document, now: float) -> None:
        """Without host HA the neighbours' view of the StorPool client decides whether a silent host is Down (plugin sheet 3.4)."""
        if host["state"] != hosts.DISCONNECTED or now - host["disconnected"] < self.cloud.assume.investigate_seconds:
            return
        guarded = host["ha"] is not None and host["ha"]["state"] not in (hostha.DISABLED, hostha.INELIGIBLE)
        if guarded or hosts.client_runs(self.cloud, host) or not hosts.neighbours(self.cloud, host):
            return
        instances.restart_elsewhere(self.cloud, self.cloud.hosts.change(host["id"], state=hosts.DOWN))
