# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 4: the copies of a CloudStack template to StorPool pools, watched until they have ended."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from .._cloudstack import CloudStack
from .._errors import ChangeRefused
from .._units import parse_whole
from .cache_place import OWNER_ID, Place, World, by_id, check_location, find_place, is_template_object, storpool_template, templates_of

LOOK, IDLE = 5.0, 30.0  # seconds between looks for the volumes of copies; without any, until a copy counts as one that will never end
_THREADS = "template.preloader.pool.size"


class Watch:
    """Looks whether the copies of a template to several pools have ended, or will never.

    Of a row that was there before it is not visible whether CloudStack takes it for that of a finished cache, of which it copies nothing.
    What tells is that there is no volume with the template's id on StorPool for a while: with that a copy begins.
    """

    def __init__(
        self,
        template: Mapping[str, Any],
        places: Sequence[tuple[Mapping[str, Any], Place]],
        old: Collection[str],
        homes: Mapping[str, set[str]],
    ) -> None:
        self._template = template
        self._homes = homes
        self._pools = [pool for pool, _place in places]
        self._doubtful = {pool["id"] for pool, place in places if place.lost}
        self._old = old
        self._next: float | None = None  # when to look for volumes again
        self._idle: dict[str, float] = {}  # since when nothing is copied, by pool

    def done(self, client: CloudStack) -> bool:
        """Read both layers for the pools that are left. :raises ChangeRefused: CloudStack copies nothing to one of them."""
        volumes = None
        now = time.monotonic()
        if self._next is None:
            self._next = now + LOOK
        if self._doubtful and now >= self._next:
            # Before the snapshots: a copy has its snapshot before it loses its volume.
            volumes = [one for one in client.storpool.volumes() if is_template_object(one)]
            self._next = now + LOOK
        self._pools = [pool for pool, place in self._look(client) if not place.verified]
        self._doubtful &= {pool["id"] for pool in self._pools}
        if volumes is not None:
            self._refuse_the_dead(client, volumes)
        return not self._pools

    def _refuse_the_dead(self, client: CloudStack, volumes: Sequence[Mapping[str, Any]]) -> None:
        idle = [pool for pool in self._pools if pool["id"] in self._doubtful and not self._own(volumes, pool)]
        if idle and volumes and len(volumes) >= self._threads(client):
            idle = []  # it may have to wait until others have ended
        now = time.monotonic()
        self._idle = {pool["id"]: self._idle.get(pool["id"], now) for pool in idle}
        dead = [str(pool["name"]) for pool in idle if now - self._idle[pool["id"]] >= IDLE]
        if dead:
            raise ChangeRefused(
                f"on {', '.join(dead)} CloudStack has a row, StorPool has no snapshot, and asked for a copy CloudStack makes none: the "
                "snapshot of a finished cache was deleted by hand, or the copy has failed again",
                hint="of a failed copy the management server's log tells, then run the task again; if it tells of none, register the "
                "template anew and use that one, or delete the row from CloudStack's database (template_spool_ref; no cleanup does it)",
            )

    @staticmethod
    def _threads(client: CloudStack) -> int:
        listed = client.list("listConfigurations", "configuration", name=_THREADS)
        return next((parse_whole(one.get("value"), 1, 1 << 31) for one in listed if one["name"] == _THREADS), None) or 8

    def _own(self, volumes: Sequence[Mapping[str, Any]], pool: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """Return those of the volumes that can be this template's on a pool; of direct downloads they do not say it."""
        return [
            one
            for one in volumes
            if one["templateName"] == storpool_template(pool) and one["tags"].get(OWNER_ID, self._template["id"]) == self._template["id"]
        ]

    def _look(self, client: CloudStack, rows: bool = False) -> list[tuple[Mapping[str, Any], Place]]:
        """Read StorPool, and CloudStack only of pools where a snapshot is there now, or with ``rows`` of all."""
        world = World(snapshots=[one for one in client.storpool.snapshots() if one["globalId"] not in self._old], homes=dict(self._homes))
        for pool in self._pools:
            check_location(pool, world)
        # Of direct downloads all rows count and no snapshot says of which it is, of others only this one.
        untold = self._template.get("directdownload")
        which = {} if untold else {"id": self._template["id"]}
        arrived = {one["templateName"] for one in world.snapshots_of(self._template["id"])}
        for pool in self._pools:
            if rows or untold or storpool_template(pool) in arrived:
                world.rows[pool["id"]] = by_id(templates_of(client, storageid=pool["id"], **which))
        # How large it is may have become known with the copy.
        known = {pool["id"]: world.rows.get(pool["id"], {}).get(self._template["id"], self._template) for pool in self._pools}
        return [(pool, find_place(known[pool["id"]], pool, world)) for pool in self._pools]

    def explain(self, client: CloudStack) -> str:
        """Say for each pool how far it is, from what can be seen: CloudStack tells of no failure."""
        attached = {one["volume"] for one in client.storpool.attachments()}
        volumes = [one for one in client.storpool.volumes() if is_template_object(one)]
        words = []
        for pool, place in self._look(client, rows=True):
            own = self._own(volumes, pool)
            if not place.row:
                what = "CloudStack has not begun (template.preloader.pool.size copies go on at once)"
            elif any(one["name"] in attached for one in own):
                what = f"a host is writing volume {next(one['name'] for one in own if one['name'] in attached)}"
            elif own:
                what = f"volume {own[0]['name']} is there and no host has it, so the copy has not begun or has failed"
            elif place.lost:
                what = "CloudStack has a row and nothing is being written, so the copy has failed, or the snapshot was deleted by hand"
            else:
                what = place.problem or "it has just ended"
            words.append(f"{pool['name']}: {what}")
        return "; ".join(words) + ". The management server's log has the reason of a failure, CloudStack's API does not"
