# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The call log: what clients asked for, with bodies. Cheap to write, dear only to read."""

from __future__ import annotations

import json


class Entry:
    """One call; `body` stays as it came until somebody reads the log. `plugin`: CloudStack's own plugin made it, no client."""

    __slots__ = ("body", "call", "cluster", "error", "fault", "method", "path", "plugin", "status", "write")

    def __init__(self, cluster: str, method: str, path: str, call: str, write: bool, body: bytes, plugin: bool = False) -> None:
        self.cluster = cluster
        self.method = method
        self.path = path
        self.call = call
        self.write = write
        self.body = body
        self.plugin = plugin
        self.status: int | None = None
        self.error: str | None = None
        self.fault: str | None = None

    def shown(self, number: int) -> dict:
        body: object = None
        if self.body:
            try:
                body = json.loads(self.body)
            except ValueError:
                body = self.body.decode("utf-8", "replace")
        return {
            "n": number,
            "cluster": self.cluster,
            "method": self.method,
            "path": self.path,
            "call": self.call,
            "write": self.write,
            "plugin": self.plugin,
            "body": body,
            "status": self.status,
            "error": self.error,
            "fault": self.fault,
        }


class CallLog:
    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.writes = 0

    def add(self, entry: Entry) -> None:
        self.entries.append(entry)
        self.writes += entry.write

    def clear(self) -> None:
        self.entries = []
        self.writes = 0

    def shown(self, summary: bool) -> dict:
        totals: dict = {"reads": len(self.entries) - self.writes, "writes": self.writes}
        if not summary:
            totals["calls"] = [entry.shown(number) for number, entry in enumerate(self.entries, 1)]
        return totals
