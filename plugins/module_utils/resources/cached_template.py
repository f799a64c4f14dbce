# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 4: CloudStack templates cached on StorPool pools, seen on both layers.

A cache is a row in CloudStack (template and pool) and a snapshot on StorPool; what makes it a sound one stands in :mod:`.cache_place`.
Facts: reference sheet cloudstack-storpool, section 4.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from .. import _storpool as sp
from .._cloudstack import ANY_PROJECT, CloudStack, Command, pick
from .._errors import ChangeRefused, CollectionError, OptionError
from .._plan import Change, Plan, Wait
from .._units import parse_duration, parse_whole
from ._shared import quiet
from .cache_place import PROVIDER, TEMPLATES, Place, World, by_id, check_location, find_place, location_of, storpool_template, templates_of
from .cache_watch import Watch
from .hosts import SP_CLUSTER_ID
from .orphans import Finding, find_orphans

UP = "Up"
ORPHANS_ONLY = "storpool_orphans_only"
WAIT = 10800  # seconds; as long as CloudStack gives a copy (primary.storage.download.wait)

FILTER_SPEC: dict[str, dict[str, Any]] = dict(
    name=dict(type="list", elements="str"),
    featured=dict(type="bool"),
    public=dict(type="bool"),
    account=dict(type="str"),
    tags=dict(type="dict"),
    type=dict(type="list", elements="str"),
)

_SYSTEM_TYPES = frozenset({"SYSTEM", "ROUTING"})
_CLEANUP = ("storage.cleanup.enabled", "storage.template.cleanup.enabled", "storage.cleanup.interval")
_GONE_STATES = frozenset({"Destroy", "Expunging", "Expunged"})  # of volumes that keep no cache (VolumeDaoImpl)
_PREPARE_HINTS = (("not ready", "wait until CloudStack has downloaded the template to the zone's secondary storage"),)


@dataclass
class WantedCache:
    """One template (or with ``filter`` several, or with neither the orphans) and the pools meant; ``None``: the option was not given."""

    label: str
    name: str | None
    id: str | None
    filter: dict[str, Any] | None
    zone: str | None
    pools: list[str] | None
    state: str
    keep: bool
    evict: bool
    wait_timeout: int

    def names(self) -> Sequence[str]:
        what = f"{self.zone or ''}/{self.id or self.label}"
        return [f"{what} on {pool}" for pool in self.pools] if self.pools else [what]

    def needs(self) -> Sequence[str]:
        return ()

    @property
    def about_orphans(self) -> bool:
        """Whether it is about what lies on the pools, and not about a template."""
        return not (self.name or self.id or self.filter)


class CachedTemplates:
    """The template cache of StorPool pools, through CloudStack."""

    kind = "template"

    # -- desired

    def parse(self, options: Mapping[str, Any]) -> WantedCache:
        """Return what is wanted of one template. :raises OptionError: names the option that cannot be meant."""
        name, identity, chosen = options["name"] or None, options["id"] or None, options["filter"]
        state = options["state"] or "present"
        if chosen is not None and all(value is None for value in chosen.values()):
            raise OptionError("filter", {}, "says nothing; give it at least one part, as in name: ['*'] for all templates")
        if options["pools"] is not None and not options["pools"]:
            raise OptionError("pools", [], "is empty; leave it out to mean all StorPool pools of the zone")
        if chosen and (name or identity):
            raise OptionError("filter", chosen, "cannot be combined with name or id, which say what is meant already")
        evict = options["evict"] == ORPHANS_ONLY
        if not (name or identity or chosen) and state != "absent":
            raise OptionError("name", None, "is needed to say which template is meant (or id, or filter, or image)")
        if evict and state != "absent":
            raise OptionError("evict", ORPHANS_ONLY, "is only for state: absent")
        if options["keep"] and state == "absent":
            raise OptionError("keep", True, "contradicts state: absent")
        zone = options["zone"]
        return WantedCache(
            label=name or identity or ("filter" if chosen else f"orphans in zone {zone}" if zone else "orphans"),
            name=name,
            id=identity,
            filter={key: value for key, value in chosen.items() if value is not None} if chosen else None,
            zone=zone,
            pools=list(options["pools"]) if options["pools"] else None,
            state=state,
            keep=bool(options["keep"]),
            evict=evict,
            wait_timeout=parse_duration(options["wait_timeout"], "wait_timeout") if options["wait_timeout"] is not None else WAIT,
        )

    # -- observe

    def observe(self, client: CloudStack | sp.StorPool, wanted: Sequence[WantedCache]) -> World:
        """List the pools, what each of them has a row for, and StorPool's snapshots: ``2 + m`` calls when all is there.

        Templates are listed only for what these do not settle: a filter, a template that is not on all its pools, orphans.
        """
        if isinstance(client, sp.StorPool):
            return World(missing=client.without_cloudstack)
        every = client.list("listStoragePools", "storagepool", unlimited=True)
        world = World([pool for pool in every if pool.get("provider") == PROVIDER])
        asked = [(one, quiet(_pools, one, world) or []) for one in wanted]
        meant = {pool["id"]: pool for _one, pools in asked for pool in pools}
        # StorPool first: CloudStack makes a row before anything on StorPool, so what has none afterwards is not a copy that began just now.
        world.snapshots = client.storpool.snapshots()
        world.homes = self._homes(client, meant.values(), world.pools)
        if world.homes and not world.snapshots:
            world.volumes = client.storpool.volumes()
        if any(one.state == "absent" for one in wanted):
            self._observe_to_go(client, asked, meant, world)
        else:
            for pool in meant:
                world.rows[pool] = by_id(templates_of(client, storageid=pool))
            for zone in {pool["zoneid"] for pool in meant.values()}:
                self._observe_zone(client, zone, [(one, pools) for one, pools in asked if pools and pools[0]["zoneid"] == zone], world)
        if any(self._in_doubt(one, pools, world) for one, pools in asked):
            world.known_templates = frozenset(one["name"] for one in client.storpool.templates())
        return world

    @staticmethod
    def _homes(client: CloudStack, meant: Iterable[Mapping[str, Any]], pools: Iterable[Mapping[str, Any]]) -> dict[str, set[str]]:
        """Return the locations of StorPool in each zone, where pools of two zones have StorPool templates of one name.

        Such pools are on different clusters (section 1.3), and a snapshot of the one would pass for a cache on the other.
        """
        zones: dict[str, set[str]] = {}
        for pool in pools:
            zones.setdefault(storpool_template(pool), set()).add(pool["zoneid"])
        if all(len(zones[storpool_template(pool)]) == 1 for pool in meant):
            return {}
        found: dict[str, set[str]] = {}
        for cluster in client.list("listClusters", "cluster", unlimited=True):
            identity = str((cluster.get("resourcedetails") or {}).get(SP_CLUSTER_ID) or "")
            if "." in identity:
                found.setdefault(cluster["zoneid"], set()).add(location_of(identity))
        return found

    def _observe_zone(self, client: CloudStack, zone: str, asked: Sequence[tuple[WantedCache, list[dict[str, Any]]]], world: World) -> None:
        """List a zone's templates when the rows leave something open; those of projects too when one that is meant is not among them."""
        if all(self._is_settled(one, pools, world) for one, pools in asked):
            return
        world.templates[zone] = _of_zone(templates_of(client, zoneid=zone), zone)
        if all(one.filter or _fitting(one, world.templates[zone]) for one, _pools_of in asked):
            return
        world.templates[zone] = _once([*world.templates[zone], *_of_zone(templates_of(client, zoneid=zone, projectid=ANY_PROJECT), zone)])
        for pool in {pool["id"] for _one, pools in asked for pool in pools}:
            world.rows[pool].update(by_id(templates_of(client, storageid=pool, projectid=ANY_PROJECT)))

    @staticmethod
    def _is_settled(wanted: WantedCache, pools: Sequence[Mapping[str, Any]], world: World) -> bool:
        """Tell whether the rows alone say which template is meant and that it is on all pools. ``keep`` writes, and so looks closer."""
        if wanted.filter:
            return False
        found = [_fitting(wanted, world.rows[pool["id"]].values()) for pool in pools]
        same = {tuple(one["id"] for one in fits) for fits in found}
        if len(same) != 1 or len(next(iter(same))) != 1 or (wanted.keep and not wanted.id):
            return False
        return all(find_place(fits[0], pool, world).verified for fits, pool in zip(found, pools))

    @staticmethod
    def _in_doubt(wanted: WantedCache, pools: Sequence[Mapping[str, Any]], world: World) -> bool:
        """Tell whether a row without a snapshot may come of looking at another cluster than the pool's."""
        template = quiet(_template, wanted, pools, world) if pools else None
        return template is not None and any(find_place(template, pool, world).problem for pool in pools)

    @staticmethod
    def _observe_to_go(
        client: CloudStack,
        asked: Sequence[tuple[WantedCache, list[dict[str, Any]]]],
        meant: Mapping[str, Mapping[str, Any]],
        world: World,
    ) -> None:
        """Read what keeps caches from being collected, and all that might be left over: here nothing may be overlooked."""
        if any(one.about_orphans or one.evict for one, _pools_of in asked):
            world.volumes = client.storpool.volumes()
            world.attached = frozenset(one["volume"] for one in client.storpool.attachments())
        if any(one.about_orphans for one, _pools_of in asked):
            world.exports = {one["globalId"]: one["location"] for one in client.storpool.exports()}
            of_volumes = _everybodys(client, "listSnapshots", "snapshot")
            of_machines = _everybodys(client, "listVMSnapshot", "vmSnapshot")
            world.known_snapshots = frozenset(one["id"] for one in (*of_volumes, *of_machines))
        # Another zone can have a pool on a StorPool template of the same name, and with several clusters its caches are seen here.
        shared = {storpool_template(pool) for pool in meant.values()}
        for pool in world.pools:
            if storpool_template(pool) in shared:
                world.rows[pool["id"]] = by_id(_everybodys(client, **TEMPLATES, storageid=pool["id"], showremoved=True))
        every = world.templates[""] = _everybodys(client, **TEMPLATES)
        for zone in {pool["zoneid"] for pool in meant.values()}:
            world.templates[zone] = _of_zone(every, zone)
        listed = client.list("listConfigurations", "configuration", unlimited=True)
        world.settings = {one["name"]: str(one.get("value")) for one in listed if one["name"] in _CLEANUP}
        for pool in meant:
            listed = _everybodys(client, "listVolumes", "volume", storageid=pool)
            for volume in by_id(listed).values():
                if volume.get("templateid") and volume.get("state") not in _GONE_STATES:
                    key = (volume["templateid"], pool)
                    world.users[key] = world.users.get(key, 0) + 1

    def spread(self, wanted: Sequence[WantedCache], world: World) -> list[WantedCache]:
        """Return the templates that filters mean. :raises OptionError: one that is to be present means none."""
        found: list[WantedCache] = []
        for one in wanted:
            if not one.filter or world.missing:
                found.append(one)
                continue
            pools = _pools(one, world)
            fits = [each for each in world.templates.get(pools[0]["zoneid"], ()) if _passes(each, one.filter)]
            if one.state == "absent":
                known = {each["id"] for each in fits}
                gone = {each["id"]: each for pool in pools for each in world.rows[pool["id"]].values() if each["id"] not in known}
                fits += [each for each in gone.values() if _passes(each, one.filter)]
            if not fits and one.state == "present":
                raise OptionError("filter", one.filter, f"fits no template in zone {pools[0].get('zonename')}")
            fits.sort(key=lambda each: (each["name"], each["id"]))
            found += [replace(one, label=each["name"], name=each["name"], id=each["id"], filter=None) for each in fits]
        return found

    # -- plan

    def plan(self, wanted: WantedCache, world: World) -> Plan:
        """Return what to do about one template."""
        before = None
        try:
            if world.missing:
                raise world.missing
            pools = _pools(wanted, world)
            if wanted.about_orphans:
                return self._plan_orphans(wanted, pools, world)
            template = _template(wanted, pools, world)
            if template is None:
                unknown = f"zone {pools[0].get('zonename')} has no template {wanted.label} and no cache of one; is it misspelt?"
                return Plan(wanted.label, None, None, notes={"collection": []}, warnings=[unknown])
            places = [(pool, find_place(template, pool, world)) for pool in pools]
            before = cache_object(template, places)
            if wanted.state == "absent":
                return self._plan_absent(wanted, template, places, before, world)
            return self._plan_present(wanted, template, places, before, world)
        except CollectionError as exc:
            return Plan(wanted.label, before, before, refused=exc)

    def _plan_present(
        self, wanted: WantedCache, template: Mapping[str, Any], places: Sequence[tuple[Any, Place]], before: dict[str, Any], world: World
    ) -> Plan:
        to_do = [(pool, place) for pool, place in places if not place.verified]
        for pool, place in to_do:
            self._check(template, pool, place, world)
        changes = [Change(f"prepare on {pool['name']}", _prepare(template, pool)) for pool, _place in to_do]
        renewals = [_prepare(template, pool) for pool, place in places if place.verified] if wanted.keep else []
        after = before
        if to_do:
            there = {pool["id"]: Place(True, place.cache, place.extra, counted=True) for pool, place in to_do}
            after = cache_object(template, [(pool, there.get(pool["id"], place)) for pool, place in places])
        waits = []
        if to_do:
            # What lay there before is no proof that the copy which begins now has ended.
            old = {one["globalId"] for one in world.snapshots_of(template["id"])}
            watch = Watch(template, to_do, old, world.homes)
            what = f"the copy of template {template['name']} to StorPool"
            waits.append(Wait(what, watch.done, float(wanted.wait_timeout), watch.explain))
        notes = {"kept": [pool["name"] for pool, _place in places]} if wanted.keep else {}
        return Plan(template["name"], before, after, changes, notes, waits=waits, renewals=renewals, read_back=True)

    @staticmethod
    def _check(template: Mapping[str, Any], pool: Mapping[str, Any], place: Place, world: World) -> None:
        """:raises ChangeRefused: CloudStack would do nothing, or what it does could not be seen."""
        name = template["name"]
        check_location(pool, world)
        if world.known_templates is not None and place.row and storpool_template(pool) not in world.known_templates:
            raise ChangeRefused(
                f"this StorPool cluster has no template {storpool_template(pool)}, so pool {pool['name']} is on another one",
                hint="point sp_api_http_host (or sp_cluster) at the cluster of the pool; with sp_multi_cluster all of a location are seen",
            )
        listed = next((one for one in world.templates.get(pool["zoneid"], ()) if one["id"] == template["id"]), None)
        if listed is not None and not listed.get("isready"):
            raise ChangeRefused(
                f"template {name} is not ready in zone {pool.get('zonename')}: {listed.get('status') or 'no status'}",
                hint="wait until CloudStack has downloaded it to the zone's secondary storage",
            )
        if place.row and place.extra:
            raise ChangeRefused(
                f"the cache of template {name} on {pool['name']} is no good ({place.problem}), and CloudStack takes it for good",
                hint="let its cleanup collect it (state: absent says when), then prepare it again",
            )
        if pool.get("state") != UP:
            raise ChangeRefused(
                f"storage pool {pool['name']} is {pool.get('state')}; CloudStack would skip it and say nothing",
                hint="enable it (cloudstack_storage_pool), or leave it out of pools",
            )

    def _plan_absent(
        self, wanted: WantedCache, template: Mapping[str, Any], places: Sequence[tuple[Any, Place]], before: dict[str, Any], world: World
    ) -> Plan:
        notes = {"collection": [_collection(template, pool, place, world) for pool, place in places if place.row]}
        if not wanted.evict:
            return Plan(template["name"], before, before, notes=notes)
        pools = [pool for pool, _place in places]
        self._check_cluster(pools, world)
        orphans = [one for one in self._orphans(pools, world) if one.template_id == template["id"] and one.removable]
        gone = {one.global_id for one in orphans}
        left = [(pool, replace(place, extra=tuple(one for one in place.extra if one["globalId"] not in gone))) for pool, place in places]
        return Plan(template["name"], before, cache_object(template, left) if gone else before, _deletions(orphans), notes)

    def _plan_orphans(self, wanted: WantedCache, pools: Sequence[Mapping[str, Any]], world: World) -> Plan:
        if wanted.evict:
            self._check_cluster(pools, world)
        found = self._orphans(pools, world)
        to_go = [one for one in found if one.removable] if wanted.evict else []
        before = {"name": wanted.label, "found": [one.as_dict() for one in found]}
        after = {"name": wanted.label, "found": [one.as_dict() for one in found if one not in to_go]} if to_go else before
        return Plan(wanted.label, before, after, _deletions(to_go))

    @staticmethod
    def _check_cluster(pools: Sequence[Mapping[str, Any]], world: World) -> None:
        """:raises ChangeRefused: what lies on this StorPool cluster may well be another CloudStack's."""
        for pool in pools:
            places = [find_place(row, pool, world) for row in world.rows[pool["id"]].values() if not row.get("directdownload")]
            if places and not any(place.cache for place in places):
                raise ChangeRefused(
                    f"CloudStack has {len(places)} caches on pool {pool['name']}, and this StorPool cluster has none of them, so it is "
                    "probably not that of the pool, and what looks like an orphan may be needed",
                    hint="point sp_api_http_host (or sp_cluster) at the cluster of the pool",
                )

    @staticmethod
    def _orphans(pools: Sequence[Mapping[str, Any]], world: World) -> list[Finding]:
        living = {one["id"]: one for listed in world.templates.values() for one in listed if not one.get("removed")}
        return find_orphans(pools, world, living)

    # -- after

    def predict(self, world: World, wanted: WantedCache, plan: Plan) -> None:
        """Nothing that one template becomes matters to another."""

    def show(self, document: dict[str, Any]) -> dict[str, Any]:
        """Return a template for the diff: a word for each pool."""
        if "found" in document:
            return {"found": [f"{one['kind']} {one['global_id'] or ''}: {one['what']}" for one in document["found"]]}
        return {"id": document["id"], "pools": {one["pool"]: _word(one) for one in document["pools"]}}


def cache_object(template: Mapping[str, Any], places: Sequence[tuple[Mapping[str, Any], Place]]) -> dict[str, Any]:
    """Return a template and its caches as results show them."""
    shown = []
    for pool, place in places:
        one: dict[str, Any] = {
            "pool": pool["name"],
            "cached": place.row,
            "verified": place.verified,
            "global_id": place.cache["globalId"] if place.cache else None,
        }
        if place.problem:
            one["problem"] = place.problem
        if place.extra:
            one["extra"] = sorted(each["globalId"] for each in place.extra)
        shown.append(one)
    zone = places[0][0].get("zonename") if places else None
    return {"name": template["name"], "id": template["id"], "zone": zone, "size": template.get("size"), "pools": shown}


def _everybodys(client: CloudStack, call: str, key: str, **which: Any) -> list[dict[str, Any]]:
    """List what belongs to any account or project."""
    several = ({}, {"projectid": ANY_PROJECT})
    return _once([one for more in several for one in client.list(call, key, unlimited=True, listall=True, **which, **more)])


def _once(listed: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows once each: with listall, and to root admins always where templates are concerned, projects do not come alone."""
    return list({(one["id"], one.get("zoneid")): one for one in listed}.values())


def _of_zone(listed: Sequence[dict[str, Any]], zone: str) -> list[dict[str, Any]]:
    return [one for one in listed if one.get("zoneid") in (None, zone)]


def _word(place: Mapping[str, Any]) -> str:
    word = "cached" if place["verified"] else "unfinished" if place["cached"] else "not cached"
    return f"{word}, {len(place['extra'])} not needed" if place.get("extra") else word


def _prepare(template: Mapping[str, Any], pool: Mapping[str, Any]) -> Command:
    params = {"templateid": template["id"], "zoneid": pool["zoneid"], "storageid": pool["id"]}
    return Command("prepareTemplate", params, f"{template['name']} on {pool['name']}", hints=_PREPARE_HINTS)


def _deletions(orphans: Sequence[Finding]) -> list[Change]:
    calls = {"snapshot": sp.snapshot_delete, "volume": sp.volume_delete}
    return [Change(f"delete {one.kind} {one.global_id}", calls[one.kind](f"~{one.global_id}")) for one in orphans]


def _pools(wanted: WantedCache, world: World) -> list[dict[str, Any]]:
    """Return the StorPool pools that are meant. :raises OptionError: a zone or pool is not there, or it is not clear which."""
    zones = {pool["zoneid"]: pool.get("zonename") for pool in world.pools}
    if wanted.zone is not None:
        zones = {identity: name for identity, name in zones.items() if wanted.zone in (identity, name)}
        if not zones:
            known = ", ".join(sorted({str(pool.get("zonename")) for pool in world.pools})) or "none"
            raise OptionError("zone", wanted.zone, f"has no StorPool pool; zones with such pools: {known}")
    pools = [pool for pool in world.pools if pool["zoneid"] in zones]
    if wanted.pools:
        pools = [dict(pick(pools, name, "pools")) for name in dict.fromkeys(wanted.pools)]
        pools = list({pool["id"]: pool for pool in pools}.values())
    if not pools:
        raise OptionError("zone", None, "has no StorPool pool: CloudStack has none at all")
    if len({pool["zoneid"] for pool in pools}) > 1:
        raise OptionError("zone", None, f"is needed: there are StorPool pools in {', '.join(sorted(map(str, zones.values())))}")
    return sorted(pools, key=lambda pool: (str(pool["name"]), pool["id"]))


def _fitting(wanted: WantedCache, templates: Any) -> list[dict[str, Any]]:
    return [one for one in templates if (one["id"] == wanted.id if wanted.id else one["name"] == wanted.name)]


def _template(wanted: WantedCache, pools: Sequence[Mapping[str, Any]], world: World) -> dict[str, Any] | None:
    """Return the template that is meant, or ``None``: what is to go is known nowhere. :raises OptionError: none is, or several are."""
    rows = {one["id"]: one for pool in pools for one in world.rows[pool["id"]].values()}
    listed = world.templates.get(pools[0]["zoneid"])
    # What was removed from CloudStack has only its rows, and they count when it is to go.
    if wanted.state == "absent" or listed is None:
        known = {**rows, **{one["id"]: one for one in listed or ()}}
    else:
        known = {one["id"]: one for one in listed}
    fits = {one["id"]: one for one in _fitting(wanted, known.values())}
    if len(fits) == 1:
        return next(iter(fits.values()))
    if fits:
        several = ", ".join(f"{one['id']} (account {one.get('account')})" for one in fits.values())
        raise OptionError("name", wanted.name, f"is the name of {len(fits)} templates: {several}; give the id")
    if wanted.state == "absent":
        return {"id": wanted.id, "name": wanted.name or wanted.id} if wanted.id else None
    option = "id" if wanted.id else "name"
    names = ", ".join(sorted({str(one["name"]) for one in known.values()})[:20]) or "none"
    raise OptionError(option, wanted.id or wanted.name, f"is no template in zone {pools[0].get('zonename')}; there are: {names}")


def _passes(template: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Tell whether a filter lets a template through. CloudStack's own templates for system VMs only when their type is named."""
    kind = template.get("templatetype")
    if kind not in wanted["type"] if "type" in wanted else kind in _SYSTEM_TYPES:
        return False
    if "name" in wanted and not any(fnmatchcase(template["name"], pattern) for pattern in wanted["name"]):
        return False
    for option, field_name in (("featured", "isfeatured"), ("public", "ispublic"), ("account", "account")):
        if option in wanted and template.get(field_name) != wanted[option]:
            return False
    tags = {tag.get("key"): tag.get("value") for tag in template.get("tags") or ()}
    return all(tags.get(key) == str(value) for key, value in (wanted.get("tags") or {}).items())


def _collection(template: Mapping[str, Any], pool: Mapping[str, Any], place: Place, world: World) -> dict[str, Any]:
    """Return when CloudStack's cleanup collects a cache (sheet, section 4.5): marked in one round, evicted in the next."""
    interval = parse_whole(world.settings.get(_CLEANUP[2]), 1, 1 << 31) or 86400
    off = next((name for name in _CLEANUP[:2] if world.settings.get(name, "true").lower() != "true"), None)
    volumes = world.users.get((template["id"], pool["id"]), 0)
    found: dict[str, Any] = {"pool": pool["name"], "volumes": volumes, "within": None}
    if off:
        found["because"] = f"{off} is not true, so CloudStack collects no caches"
    elif template.get("templatetype") in _SYSTEM_TYPES:
        found["because"] = "CloudStack never collects its own templates"
    elif volumes:
        found["because"] = f"{volumes} volumes on this pool were made from it; it is collected when they are gone"
    elif place.lost:
        found["because"] = f"{place.problem}: there is nothing to collect, and its row stays"
    else:
        found.update(
            within=2 * interval,
            because=f"no volume on this pool was made from it; one round of the cleanup (every {interval} s) marks it, the next evicts it",
        )
    return found


CACHED_TEMPLATES = CachedTemplates()
