# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 4: what snapshots there are, in this cluster or in other locations."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from .. import _storpool as sp
from .._errors import OptionError
from .._units import parse_duration, parse_reference
from ._select import SLOWER, Selection, common_members, page, parse_selection, summary
from ._shared import index_attachments, is_passing
from .series import NamePattern, volume_word
from .snapshot_world import index_exports, snapshot_object

FIELDS = (
    "name", "global_id", "size", "template", "parent", "on_volume", "iops", "bw", "replication", "place_all", "place_head", "place_tail",
    "reuse_server", "tags", "attachments", "bound", "created", "delete_at", "recovering", "exported_to", "deleted", "transient",
    "auto_name", "backup", "backup_of", "cluster", "stored", "used", "status",
)
REMOTE_FIELDS = ("name", "remote_id", "location", "size", "on_volume", "tags", "local_snapshot", "created")

# Options that say something about this cluster's own snapshots alone.
_LOCAL_ONLY = (
    "templates", "parents", "attached", "attached_to", "healthy", "bound", "exported", "backup", "expires", "expires_within",
    "space", "status", "exports",
)
_EXPIRES = "targetDeleteDate"


def query(client: sp.StorPool, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the snapshots that fit, with one read of the snapshots and one each of what else matters.

    :raises OptionError: an option that cannot be meant.
    """
    return _remote(client, options) if options["remote"] else _local(client, options)


def _local(client: sp.StorPool, options: Mapping[str, Any]) -> dict[str, Any]:
    if options["locations"] is not None:
        raise OptionError("locations", options["locations"], "is only for remote: true")
    now = time.time()
    selection = parse_selection(options, FIELDS, now)
    selection.tests += _tests(options, now)
    found = _read(client, options, selection)
    attachments = index_attachments(client.attachments()) if selection.attachments else None
    status = client.volumes_status() if selection.status else {}
    exports = index_exports(client.exports()) if options["exported"] is not None or "exported_to" in selection.fields else None
    fits = selection.matching(found, attachments, status)
    if options["exported"] is not None:
        fits = [raw for raw in fits if (raw["globalId"] in exports) is options["exported"]]

    def entry(raw: dict[str, Any]) -> dict[str, Any]:
        return {
            **snapshot_object(raw, attachments, exports),
            **common_members(raw, status),
            "deleted": raw["deleted"],
            "transient": raw["transient"],
            "auto_name": raw["autoName"],
            "backup": bool(raw.get("backup")),
            "backup_of": raw.get("backupOfGlobalId") or None,
        }

    return {**page(fits, entry, selection, "snapshots"), "summary": summary(fits, attachments)}


def _read(client: sp.StorPool, options: Mapping[str, Any], selection: Selection) -> list[dict[str, Any]]:
    """Return the API objects that have to be looked at, by the cheapest call that has them all.

    The chain of a volume is a call of its own; the space listing has all that the plain one has.
    """
    chain = None
    if options["volume"] is not None:
        chain = client.volume_snapshots(parse_reference(options["volume"], "volume"))
        if not selection.space or not chain:
            return chain
    if selection.space:
        found = client.snapshots_space()
        wanted = None if chain is None else {raw["globalId"] for raw in chain}
        return [raw for raw in found if wanted is None or raw["globalId"] in wanted]
    only = selection.single()
    if only is None:
        return client.snapshots()
    one = client.snapshot(only)
    return [one] if one else []


def _tests(options: Mapping[str, Any], now: float) -> list[Callable[[Mapping[str, Any]], bool]]:
    """Return the tests that only snapshots know."""
    tests: list[Callable[[Mapping[str, Any]], bool]] = []
    for option in ("deleted", "transient"):
        if options[option] != "include":
            tests.append(_flag(option, options[option] == "only"))
    for option in ("bound", "backup"):
        if options[option] is not None:
            tests.append(_flag(option, options[option]))
    if options["expires"] is not None:
        tests.append(_flag(_EXPIRES, options["expires"]))
    if options["expires_within"] is not None:
        latest = now + parse_duration(options["expires_within"], "expires_within")
        tests.append(lambda raw: 0 < (raw.get(_EXPIRES) or 0) <= latest)
    if options["series"] is not None:
        tests.append(_in_series(options))
    return tests


def _flag(key: str, value: bool) -> Callable[[Mapping[str, Any]], bool]:
    return lambda raw: bool(raw.get(key)) is value


def _in_series(options: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], bool]:
    """Return a test for names that a pattern of storpool_snapshot makes. :raises OptionError: it is none, or it takes a volume."""
    pattern = NamePattern(options["series"], "series")
    if pattern.per_volume and options["volume"] is None:
        raise OptionError("series", options["series"], "has {volume} in it and needs volume, which says whose snapshots are meant")
    expression = pattern.expression(volume_word(options["volume"] or ""))
    return lambda raw: expression.fullmatch(raw["name"]) is not None


def _remote(client: sp.StorPool, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what other locations hold for this cluster or export to it. One read."""
    for option in _LOCAL_ONLY:
        if options[option] is not None and not (option in SLOWER and options[option] is False):
            raise OptionError(option, options[option], "cannot be combined with remote: true; the other location does not tell it")
    now = time.time()
    selection = parse_selection(options, REMOTE_FIELDS, now)
    if options["series"] is not None:
        selection.tests.append(_in_series(options))
    if options["locations"] is not None:
        locations = frozenset(options["locations"])
        selection.tests.append(lambda raw: raw["location"] in locations)
    if options["volume"] is not None:
        selection.tests.append(lambda raw: raw.get("onVolume") == options["volume"])
    # The id under which the other location knows it takes the place of the global id.
    fits = selection.matching([{**raw, "globalId": raw["remoteId"]} for raw in client.remote_snapshots()], None, {})

    def entry(raw: dict[str, Any]) -> dict[str, Any]:
        local = raw.get("localSnapshot")
        return {
            "name": raw["name"],
            "remote_id": raw["remoteId"],
            "location": raw["location"],
            "size": raw["size"],
            "on_volume": raw.get("onVolume") or None,
            "tags": raw.get("tags") or {},
            "local_snapshot": local if local and not is_passing(local) else None,
            "created": raw["creationTimestamp"],
        }

    return {
        **page(fits, entry, selection, "remote_snapshots"),
        "snapshots": [],
        "summary": {"count": len(fits), "size": sum(raw["size"] for raw in fits)},
    }
