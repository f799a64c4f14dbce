# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 4: what is read of StorPool snapshots, and how results show one."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ._shared import Attachments, Registered, attachments_of, is_passing, object_fields


@dataclass
class World:
    """What was read, and on top of it what earlier plans of the same task will have made. ``None``: nobody had to look."""

    snapshots: dict[str, dict[str, Any]]
    volumes: dict[str, dict[str, Any]] = field(default_factory=dict)
    attachments: Attachments | None = None
    exports: dict[str, dict[str, bool]] | None = None  # global id -> location -> whether it is a backup under way
    locations: list[str] | None = None
    templates: dict[str, dict[str, Any]] = field(default_factory=dict)
    remote: list[dict[str, Any]] | None = None
    registered: Registered = field(default_factory=Registered)
    copying: set[str] = field(default_factory=set)  # ids of backups whose data is on its way
    fresh: dict[str, tuple[int, dict[str, str]]] = field(default_factory=dict)  # name -> time and tags of what the task will have made
    gone: set[str] = field(default_factory=set)  # names of what it will have deleted
    parents: dict[str, str] = field(default_factory=dict)  # volume -> snapshot that it will stand on
    _by_id: dict[str, str] | None = None
    _sorted: list[str] | None = None

    def snapshot(self, reference: str | None) -> dict[str, Any] | None:
        """Return the API's snapshot of that name or ``~global_id``, unless it is on its way out or StorPool's own (rule star-names)."""
        raw = self.snapshots.get(reference) if reference else None
        if raw is None and reference and reference.startswith("~"):
            if self._by_id is None:
                self._by_id = {"~" + one["globalId"]: one["name"] for one in self.snapshots.values()}
            raw = self.snapshots.get(self._by_id.get(reference, ""))
        return raw if raw is not None and _lives(raw) else None

    def beginning_with(self, prefix: str) -> Iterator[dict[str, Any]]:
        """Return the living snapshots whose names begin with ``prefix``."""
        if self._sorted is None:
            self._sorted = sorted(self.snapshots)
        for position in range(bisect_left(self._sorted, prefix), len(self._sorted)):
            name = self._sorted[position]
            if not name.startswith(prefix):
                return
            if _lives(self.snapshots[name]):
                yield self.snapshots[name]


def _lives(raw: Mapping[str, Any]) -> bool:
    return not (raw["deleted"] or raw["transient"] or is_passing(raw["name"]))


def snapshot_object(
    raw: Mapping[str, Any], attachments: Attachments | None = None, exports: Mapping[str, Mapping[str, bool]] | None = None
) -> dict[str, Any]:
    """Return a snapshot as results, diffs and info modules show it, from the API's SnapshotSummary.

    ``attachments`` and ``exported_to`` are ``None`` when they were not read.
    """
    return {
        **object_fields(raw),
        "on_volume": raw["onVolume"] if raw["onVolume"] not in ("", "-") else None,
        "bound": raw["bound"],
        "created": raw["creationTimestamp"],
        "delete_at": raw.get("targetDeleteDate") or None,
        "recovering": raw["recoveringFromRemote"],
        "exported_to": None
        if exports is None
        else sorted(place for place, under_way in exports.get(raw["globalId"], {}).items() if not under_way),
        "attachments": None if attachments is None else attachments_of(attachments, raw),
    }


def index_exports(found: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, bool]]:
    """Return exports by global id and location, each with whether it is a backup under way."""
    index: dict[str, dict[str, bool]] = {}
    for one in found:
        index.setdefault(one["globalId"], {})[one["location"]] = bool(one.get("backingUp"))
    return index
