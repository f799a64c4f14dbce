# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 4: what templates have left on StorPool that CloudStack does not need, as far as that can be told from outside.

The plugin's own collector compares with the database and only logs (reference sheet cloudstack-storpool, section 4.6); its false positives
are told apart here. ``removable`` is only what no row of CloudStack's can be about: of a row it is not visible which snapshot it names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Callable

from ._shared import is_passing
from .cache_place import World, find_place, storpool_template

_TAKEN = ("snapshot", "group")  # of volumes and of VMs
_TEMPORARY, _DELAYED, _HEARTBEAT = "temporary", "delayDelete", "check-volume-is-on-host"


@dataclass(frozen=True)
class Finding:
    """Something that is left over, or looks like it.

    ``what`` names its kind: ``orphan``, ``leftover``, ``waiting``, ``surplus``, ``under way``, ``temporary``, ``delayed``,
    ``heartbeat``, ``exported``, ``unknown``, ``broken row``; ``because`` says how that is known.
    """

    kind: str
    what: str
    because: str
    pool: str
    global_id: str | None = None
    template_id: str | None = None
    template: str | None = None
    size: int | None = None
    removable: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return it as results show it."""
        return asdict(self)


def find_orphans(pools: Sequence[Mapping[str, Any]], world: World, living: Mapping[str, Mapping[str, Any]]) -> list[Finding]:
    """Return what is left over on these pools, in the order of pools and ids.

    :param living: the templates that CloudStack has, by id.
    """
    found = []
    for pool in pools:
        rows = world.rows.get(pool["id"], {})
        on = storpool_template(pool)
        # A pool of another zone on a StorPool template of the same name: with several clusters both see the caches of each other.
        others = [listed for other, listed in world.rows.items() if other != pool["id"] and other.partition(";")[0] == on]
        elsewhere = {identity for listed in others for identity in listed} - rows.keys()
        here = [one for one in world.snapshots if one["templateName"] == on and not one.get("deleted") and not is_passing(one["name"])]
        volumes = [one for one in world.volumes if one["templateName"] == on]
        surplus = _untold(here, [row for listed in (rows, *others) for row in listed.values()])
        for one in sorted((*here, *volumes), key=lambda raw: raw["globalId"]):
            if _tags(one).get("uuid") in elsewhere:
                continue
            finding = _judge(one, one in volumes, pool, world, living, rows, surplus)
            if finding:
                found.append(finding)
        found += [
            Finding("row", "broken row", place.problem, pool["name"], None, identity, row["name"], row.get("size"))
            for identity, row in sorted(rows.items())
            for place in [find_place(row, pool, world)]
            if place.problem and not row.get("removed")
        ]
    return found


def _untold(here: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]) -> str | None:
    """Return what is to be said of snapshots of direct downloads, when there are more of them than rows; they carry no id."""
    there = sum(_tags(one).get("cs") == "template" and not _tags(one).get("uuid") for one in here)
    needed = sum(bool(row.get("directdownload")) for row in rows)
    return f"{there} snapshots of direct downloads are here, and CloudStack has {needed} rows of such" if there > needed else None


def _tags(raw: Mapping[str, Any]) -> Mapping[str, str]:
    return raw.get("tags") or {}


def _judge(
    raw: Mapping[str, Any],
    is_volume: bool,
    pool: Mapping[str, Any],
    world: Any,
    living: Mapping[str, Mapping[str, Any]],
    rows: Mapping[str, Mapping[str, Any]],
    surplus: str | None,
) -> Finding | None:
    """Return what is wrong with one snapshot or volume, or ``None`` when nothing is or it is not about templates."""
    owner, identity = _tags(raw).get("cs"), _tags(raw).get("uuid") or None
    kind = "volume" if is_volume else "snapshot"

    def finding(what: str, because: str, removable: bool = False) -> Finding:
        name = (rows.get(identity or "") or living.get(identity or "") or {}).get("name")
        return Finding(kind, what, because, pool["name"], raw["globalId"], identity, name, raw["size"], removable)

    if owner == _TEMPORARY:
        return finding("temporary", "a running export needs it; one that crashed has left it")
    if owner == _DELAYED:
        return finding("delayed", "StorPool deletes it by itself at its date (storpool.delete.after.interval)")
    if owner == _HEARTBEAT and is_volume:
        return finding("heartbeat", "the heartbeat of a cluster, unless that cluster was removed from CloudStack")
    if owner in _TAKEN:
        return _judge_taken(raw, identity, world, finding)
    if owner != "template":
        return None
    if is_volume:
        if raw["name"] in world.attached:
            return finding("under way", "a host has it attached and is writing it, or died over it")
        if identity is None:
            return finding("leftover", "of a direct download, under way or failed; it does not say of which template")
        if identity in rows:
            return finding("under way", "CloudStack has a row of this template here: the copy has not ended, or failed")
        return finding("leftover", "a copy that failed: no host has it, and CloudStack has no row of this template here", True)
    if identity is None:
        return finding("surplus", surplus) if surplus else None
    template = living.get(identity)
    if template is None:
        if identity in rows:
            return finding("waiting", "its template is deleted; CloudStack's cleanup will collect it")
        return finding("orphan", "cache or base of a template that CloudStack does not have (any more), and without a row", True)
    place = find_place(template, pool, world)
    if all(one["globalId"] != raw["globalId"] for one in place.extra):
        return None  # the cache, or the base under one
    if place.row:
        return finding("surplus", "CloudStack's row is about one of several snapshots of this template; about which cannot be seen")
    return finding("orphan", "CloudStack has the template, but no row of it on this pool", True)


def _judge_taken(raw: Mapping[str, Any], identity: str | None, world: Any, finding: Callable[..., Finding]) -> Finding | None:
    """Return what is odd about a snapshot that CloudStack took of a volume or a VM; it is left to people."""
    if raw["globalId"] in world.exports:
        return finding(
            "exported", f"a copy in {world.exports[raw['globalId']]} needs it, or CloudStack has forgotten to end the export after one"
        )
    if identity not in world.known_snapshots:
        return finding("unknown", "CloudStack lists no snapshot with this id; it may be forgotten, or another CloudStack's")
    return None
