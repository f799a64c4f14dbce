# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 4: what there is of a CloudStack template on a StorPool pool, on both layers.

A row of CloudStack's is there from the beginning of the copy and stays when the copy fails, so it proves nothing by itself; a snapshot
without a row is not used. Facts: reference sheet cloudstack-storpool, section 4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .._cloudstack import CloudStack
from .._errors import ChangeRefused, CollectionError
from .._foresight import is_made_up
from .._units import SECTOR, format_size
from ._shared import is_passing

PROVIDER = "StorPool"
OWNER, OWNER_ID, OF_TEMPLATE = "cs", "uuid", "template"  # tags of the plugin's objects, and the value of the first on caches
TEMPLATES = {"call": "listTemplates", "key": "template", "templatefilter": "all"}


@dataclass(frozen=True)
class Place:
    """A template on a pool: whether CloudStack has a row, the snapshot that is the cache, others that are none, and what is wrong."""

    row: bool
    cache: Mapping[str, Any] | None
    extra: tuple[Mapping[str, Any], ...] = ()
    problem: str | None = None
    lost: bool = False  # a row without a snapshot: the copy goes on or has failed, or somebody deleted the snapshot by hand
    counted: bool = False  # a direct download: there are enough snapshots, and none says of which template it is

    @property
    def verified(self) -> bool:
        """Whether both layers have it, and fit together."""
        return self.row and self.problem is None and (self.cache is not None or self.counted)


@dataclass
class World:
    """What was read. ``rows`` are the templates that have a row on a pool, by pool and template id (removed ones among them when something
    is to go); ``templates`` those of a zone by its id, as far as listed; ``users`` count the volumes of a template on a pool."""

    pools: list[dict[str, Any]] = field(default_factory=list)
    rows: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    snapshots: list[dict[str, Any]] = field(default_factory=list)
    templates: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    users: dict[tuple[str, str], int] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    volumes: list[dict[str, Any]] = field(default_factory=list)
    attached: frozenset[str] = frozenset()
    exports: dict[str, str] = field(default_factory=dict)  # locations by global id
    known_snapshots: frozenset[str] = frozenset()  # ids of CloudStack's volume and VM snapshots
    missing: CollectionError | None = None
    known_templates: frozenset[str] | None = None  # of StorPool, when that was in doubt
    homes: dict[str, set[str]] = field(default_factory=dict)  # StorPool's locations by zone, where a template's name does not tell the zone
    _of: dict[str, list[dict[str, Any]]] | None = field(default=None, compare=False)

    def snapshots_of(self, template: str) -> list[dict[str, Any]]:
        """Return the living snapshots that carry the id of a template."""
        if self._of is None:
            self._of = {}
            for one in self.snapshots:
                if is_template_object(one):
                    self._of.setdefault(one["tags"].get(OWNER_ID, ""), []).append(one)
        return self._of.get(template, [])

    def locations(self) -> set[str]:
        """Return the locations that what is on the cluster asked comes from; that is one, unless something was brought from elsewhere."""
        return {location_of(one["globalId"]) for one in (*self.snapshots, *self.volumes) if not is_made_up(one["globalId"])}

    def is_at_home(self, raw: Mapping[str, Any], pool: Mapping[str, Any]) -> bool:
        """Tell whether an object can be on the cluster of a pool: its global id begins with its location (as the plugin looks, 5.12)."""
        homes = self.homes.get(pool["zoneid"])
        return not homes or is_made_up(raw["globalId"]) or location_of(raw["globalId"]) in homes


def is_template_object(raw: Mapping[str, Any]) -> bool:
    """Tell whether a snapshot or volume of StorPool's is, or was to become, the cache or base of a template."""
    return (raw.get("tags") or {}).get(OWNER) == OF_TEMPLATE and not raw.get("deleted") and not is_passing(raw["name"])


def location_of(identity: str) -> str:
    """Return the location in the id of a cluster or object of StorPool's: what stands before the first dot."""
    return identity.partition(".")[0].lower()


def storpool_template(pool: Mapping[str, Any]) -> str:
    """Return the StorPool template of a pool; the pool's id begins with it (sheet, section 1.3)."""
    return pool["id"].partition(";")[0]


def check_location(pool: Mapping[str, Any], world: World) -> None:
    """:raises ChangeRefused: the pool is on another StorPool cluster than the one that is asked."""
    homes = world.homes.get(pool["zoneid"], set())
    asked = world.locations() if homes else set()
    if asked and not homes & asked:
        raise ChangeRefused(
            f"storage pool {pool['name']} is on a StorPool cluster of location {', '.join(sorted(homes))}, "
            f"and the one that is asked is of {', '.join(sorted(asked))}",
            hint="point sp_api_http_host (or sp_cluster) at the cluster of the pool; pools of several locations take a task each",
        )


def find_place(template: Mapping[str, Any], pool: Mapping[str, Any], world: World) -> Place:
    """Return what there is of a template on a pool."""
    row = template["id"] in world.rows.get(pool["id"], {})
    every = world.snapshots_of(template["id"])
    # The base of a template that was made from a volume has the same tags; it is what the caches stand on.
    bases = {one["parentName"] for one in every}
    on_pool = storpool_template(pool)
    found = [one for one in every if one["templateName"] == on_pool and one["name"] not in bases and world.is_at_home(one, pool)]
    if not row:
        # One without an address was made from a volume or snapshot: what is here may be its base.
        return Place(False, None, tuple(found) if template.get("url") else ())
    if not found and template.get("directdownload"):
        return _direct_place(pool, world)
    if not found:
        return Place(True, None, (), "CloudStack has a row, StorPool no snapshot: being copied, failed, or deleted by hand", lost=True)
    needed = -(-int(template.get("size") or 0) // SECTOR) * SECTOR
    fitting = [one for one in found if one["size"] >= needed]
    if not fitting:
        sizes = ", ".join(str(format_size(one["size"])) for one in found)
        return Place(True, None, tuple(found), f"the snapshot has {sizes}, the template {format_size(needed)}")
    newest = max(fitting, key=lambda one: (one.get("creationTimestamp") or 0, one["name"]))
    return Place(True, newest, tuple(one for one in found if one is not newest))


def _direct_place(pool: Mapping[str, Any], world: World) -> Place:
    """Caches of direct downloads carry no id (sheet, section 4.1): what can be proved is that there are as many as there are rows."""
    rows = sum(bool(one.get("directdownload")) for one in world.rows.get(pool["id"], {}).values())
    there = sum(one["templateName"] == storpool_template(pool) for one in world.snapshots_of(""))
    if there < rows:
        return Place(True, None, (), f"{rows} direct downloads have a row on this pool, and StorPool has {there} snapshots of such")
    return Place(True, None, counted=True)


def templates_of(client: CloudStack, **which: Any) -> list[dict[str, Any]]:
    """List templates of all accounts, private ones too; one in several zones is listed for each of them."""
    return client.list(**TEMPLATES, unlimited=True, listall=True, **which)


def by_id(listed: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {one["id"]: one for one in listed}
