# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 4: StorPool primary storage in CloudStack.

CloudStack keeps a pool's StorPool address, template and token where no update reaches them, and tells "no such template" and "wrong token"
with one sentence, so both are proved on StorPool before a pool is made. Facts: reference sheet cloudstack-storpool, section 1.3.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .._cloudstack import HIDDEN_TOKEN, CloudStack, Command, pick
from .._errors import ApiError, ChangeRefused, CollectionError, OptionError, Unauthorized, Unreachable, without_credentials
from .._foresight import is_made_up
from .._options import DEFAULT_PORT, StorPoolConnection
from .._plan import Change, Plan, Wait
from .._storpool import StorPool
from .._units import format_size, parse_size, parse_template_name, parse_whole
from ._cloud import MOST_CHARACTERS, parse_tags, parse_text
from ._shared import quiet

PROVIDER = "StorPool"
UP, MAINTENANCE, DISABLED, BROKEN, PREPARING = "Up", "Maintenance", "Disabled", "ErrorInMaintenance", "PrepareForMaintenance"
_RESTING = {"enabled": UP, "disabled": DISABLED, "maintenance": MAINTENANCE}  # option state: what CloudStack calls it

# What leads from one state to another (StorageManagerImpl): only a pool that is Up can be disabled or maintained.
_STEPS: dict[tuple[str, str], tuple[str, ...]] = {
    (UP, DISABLED): ("disable",),
    (UP, MAINTENANCE): ("maintain",),
    (DISABLED, UP): ("enable",),
    (DISABLED, MAINTENANCE): ("enable", "maintain"),
    (MAINTENANCE, UP): ("end maintenance",),
    (MAINTENANCE, DISABLED): ("end maintenance", "disable"),
    (BROKEN, MAINTENANCE): ("maintain",),
    (BROKEN, UP): ("end maintenance",),
    (BROKEN, DISABLED): ("end maintenance", "disable"),
}

_DELETE_HINTS = (
    ("template snapshots", "templates made from snapshots of this pool are recorded in CloudStack; delete those templates first"),
    ("snapshots", "delete the volume snapshots of this pool in CloudStack first, those of deleted volumes too"),
    ("non-destroyed", "delete or migrate its volumes first"),
    ("associated volumes", "delete or migrate its volumes first; forced: true also expunges those that are destroyed already"),
    ("not in Maintenance", "put it into maintenance first (state: maintenance), or set maintenance_first: true"),
)
_CREATE_HINTS = (
    (
        "credentials are invalid",
        "address, token and template are right as seen from here; the management servers may reach another StorPool at that address",
    ),
)

_ADDRESS = re.compile(r"((?:[^\s:;=/@\[\]]+)|(?:\[[0-9a-fA-F:.]+\]))(?::([0-9]{1,5}))?")
_TOKEN = re.compile(r"[A-Za-z0-9_.+/-]+")


@dataclass(frozen=True)
class Address:
    """Where the plugin finds the storage of a pool: ``host:port`` of the API, template, token."""

    api: str
    template: str
    token: str = field(default="", repr=False)

    def url(self) -> str:
        """Return it in the form that every version of the plugin takes (``storpool://`` came with 4.19.3)."""
        return f"SP_API_HTTP={self.api};SP_AUTH_TOKEN={self.token};SP_TEMPLATE={self.template}"


@dataclass
class WantedPool:
    """One declared pool; ``None`` means that the option was not given."""

    label: str
    name: str | None
    state: str
    id: str | None = None
    renamed_from: str | None = None
    zone: str | None = None
    template: str | None = None
    api: str | None = None
    token: str | None = field(default=None, repr=False)
    capacity: int | None = None
    tags: list[str] | None = None
    maintenance_first: bool = False
    forced: bool = False

    def names(self) -> Sequence[str]:
        known = [self.id] if self.id else []
        return (*known, *(f"{self.zone or ''}/{name}" for name in (self.name, self.renamed_from) if name))

    def needs(self) -> Sequence[str]:
        return ()


@dataclass
class World:
    """What was read.

    ``addresses`` are those of pools, by id, as far as they matter. ``storpool`` is, for each API address and token, what is there: the
    templates by name, or why there is none. ``here`` is the address and token of the StorPool connection, ``reach`` all its addresses.
    """

    pools: list[dict[str, Any]]
    here: Address
    reach: frozenset[str]
    job_timeout: float
    addresses: dict[str, Address] = field(default_factory=dict)
    zones: list[dict[str, Any]] = field(default_factory=list)
    storpool: dict[tuple[str, str], dict[str, dict[str, Any]] | CollectionError] = field(default_factory=dict)


class StoragePools:
    """StorPool primary storage, as the runner manages it."""

    kind = "storage pool"

    # -- desired

    def parse(self, options: Mapping[str, Any], now: float) -> WantedPool:
        """Return what is wanted of one pool. :raises OptionError: names the option that cannot be meant."""
        name, identity = parse_text(options, "name"), parse_text(options, "id")
        if not (name or identity):
            raise OptionError("name", options["name"], "is needed (or id)")
        renamed_from, zone = parse_text(options, "renamed_from"), parse_text(options, "zone")
        wanted = WantedPool(name or identity, name, options["state"], identity, renamed_from, zone)
        if wanted.renamed_from and not name:
            raise OptionError("renamed_from", wanted.renamed_from, "needs name, the new one")
        if options["template"] is not None:
            wanted.template = parse_template_name(options["template"])
        if options["pool_api_http"] is not None:
            wanted.api = parse_address(options["pool_api_http"])
        if options["pool_auth_token"]:
            wanted.token = options["pool_auth_token"].strip()
            if not _TOKEN.fullmatch(wanted.token):
                raise OptionError(
                    "pool_auth_token", HIDDEN_TOKEN, "has characters that the address of a pool cannot have", item=wanted.label
                )
        if options["capacity"] is not None:
            wanted.capacity = parse_size(options["capacity"], "capacity")
        if options["tags"] is not None:
            wanted.tags = parse_tags(options["tags"], "tags", wanted.label)
        wanted.maintenance_first, wanted.forced = bool(options["maintenance_first"]), bool(options["forced"])
        return wanted

    # -- observe

    def observe(self, client: CloudStack, wanted: Sequence[WantedPool]) -> World:
        """List the pools once, and read the details of those that matter; look on StorPool at what they stand on."""
        connection = client.storpool.connection
        reach = [f"{host}:{port}" for host, port in connection.hosts]
        pools = client.list("listStoragePools", "storagepool", unlimited=True)
        world = World(pools, Address(reach[0], "", connection.token), frozenset(reach), client.connection.job_timeout)
        missing = []
        for one in wanted:
            pool = quiet(self._find, one, world)
            if pool is None:
                missing.append(one)
            elif one.state != "absent":
                self._read_address(client, pool, world)
        to_make = [one for one in missing if one.state != "absent" and one.template and not one.id]
        if to_make:
            world.zones = client.list("listZones", "zone", unlimited=True)
            for template in {one.template for one in to_make}:
                for pool in pools:
                    if pool["id"].startswith(f"{template};"):
                        self._read_address(client, pool, world)
        places = {(self._address(one, world).api, self._address(one, world).token) for one in to_make}
        places |= {(one.api, one.token) for one in world.addresses.values() if one.api and one.token}
        for api, token in places:
            world.storpool[api, token] = self._look_at(client, api, token)
        return world

    @staticmethod
    def _read_address(client: CloudStack, pool: Mapping[str, Any], world: World) -> None:
        """Enter what the plugin keeps about a pool: from 4.21 on it is in the listing, before that among the resource's details."""
        if pool.get("provider") != PROVIDER or pool["id"] in world.addresses:
            return
        details = pool.get("details")
        if not details:
            rows = client.list("listResourceDetails", "resourcedetail", resourcetype="Storage", resourceid=pool["id"])
            details = {row["key"]: row.get("value") for row in rows}
        api, template, token = (str(details.get(key) or "") for key in ("SP_API_HTTP_HOST", "SP_TEMPLATE", "SP_AUTH_TOKEN"))
        # The token of a pool that is only foreseen was not kept; it is the one that pools are made with.
        token = client.storpool.connection.token if is_made_up(pool["id"]) else token
        world.addresses[pool["id"]] = Address(api, template or pool["id"].partition(";")[0], token)

    @staticmethod
    def _look_at(client: CloudStack, api: str, token: str) -> dict[str, dict[str, Any]] | CollectionError:
        """Return the templates that the plugin would find there: this address alone, this token, no other cluster behind it."""
        given: StorPoolConnection = client.storpool.connection
        try:
            host, _colon, port = parse_address(api).rpartition(":")
        except OptionError as exc:
            return exc
        plain = replace(given, hosts=((host, int(port)),), token=token, cluster=None, multi_cluster=False)
        at = client.storpool
        if plain != replace(given, multi_cluster=False):
            at = StorPool(plain, 1)
            at.begin(client.http.stats, read_only=True)
        try:
            return {one["name"]: one for one in at.templates_status()}
        except (Unreachable, Unauthorized, ApiError) as exc:
            return exc

    # -- plan

    def plan(self, wanted: WantedPool, world: World) -> Plan:
        """Return what to do about one pool."""
        shown = None
        try:
            pool = self._find(wanted, world)
            if pool is not None:
                shown = self._shown(pool, world)
                if pool.get("provider") != PROVIDER:
                    raise ChangeRefused(
                        f"storage pool {wanted.label} is not StorPool's but of the provider {pool.get('provider')}",
                        hint="choose another name, or rename that one in CloudStack",
                    )
            if wanted.state == "absent":
                return self._plan_absent(wanted, pool, shown)
            if pool is None:
                return self._plan_new(wanted, world)
            return self._plan_present(wanted, pool, shown, world)
        except CollectionError as exc:
            return Plan(wanted.label, shown, shown, refused=exc)

    @staticmethod
    def _find(wanted: WantedPool, world: World) -> dict[str, Any] | None:
        """Return the pool that is meant. :raises OptionError: there are several, or none that has to be there."""
        pools = world.pools
        if wanted.zone is not None:
            pools = [pool for pool in pools if wanted.zone in (pool.get("zonename"), pool.get("zoneid"))]
        if wanted.id is not None:
            found = next((pool for pool in pools if pool["id"] == wanted.id), None)
            if found is None and wanted.state != "absent":
                raise OptionError("id", wanted.id, "is no storage pool of this CloudStack")
            return found
        for name in (wanted.name, wanted.renamed_from):
            if name and any(pool["name"] == name for pool in pools):
                return pick([pool for pool in pools if pool["name"] == name], name, "name")
        return None

    @staticmethod
    def _address(wanted: WantedPool, world: World) -> Address:
        return Address(wanted.api or world.here.api, wanted.template or "", wanted.token or world.here.token)

    @staticmethod
    def _shown(pool: Mapping[str, Any], world: World) -> dict[str, Any]:
        """Return a pool as results show it: never its token."""
        address = world.addresses.get(pool["id"])
        return {
            "id": pool["id"],
            "name": pool["name"],
            "zone": pool.get("zonename"),
            "state": pool.get("state"),
            "tags": _tags(pool),
            "template": address.template if address else pool["id"].partition(";")[0],
            "api": address.api or None if address else None,
            "capacity": pool.get("capacitybytes", pool.get("disksizetotal")),
        }

    # new

    def _plan_new(self, wanted: WantedPool, world: World) -> Plan:
        for option in ("zone", "template"):
            if getattr(wanted, option) is None:
                raise OptionError(option, None, f"is needed: there is no storage pool {wanted.label}, and it takes that to make it")
        zone = pick(world.zones, wanted.zone, "zone")
        address = self._address(wanted, world)
        if not _TOKEN.fullmatch(address.token):
            raise OptionError("sp_auth_token", HIDDEN_TOKEN, "has characters that the address of a pool cannot have; give pool_auth_token")
        found = self._proved(address, world, wanted)
        warnings = self._others_on(address, world)
        capacity = wanted.capacity or found["stored"]["capacity"]
        params: dict[str, Any] = {
            "provider": PROVIDER, "scope": "zone", "hypervisor": "KVM",
            "name": wanted.name, "zoneid": zone["id"], "url": address.url(), "capacitybytes": capacity,
        }  # fmt: skip
        if len(params["url"]) > MOST_CHARACTERS:
            raise OptionError("pool_auth_token", HIDDEN_TOKEN, f"makes an address of more than {MOST_CHARACTERS} characters")
        if wanted.tags:
            params["tags"] = wanted.tags
        steps = self._steps(wanted, UP, None)
        # CloudStack gives a pool without tags its name as one.
        tags = [wanted.name] if wanted.tags is None else wanted.tags
        untag = [] if tags else [Change("update tags", Command("updateStoragePool", {"id": None, "tags": ""}, wanted.label))]

        def learn(after: dict[str, Any], pool: Mapping[str, Any]) -> None:
            # What follows has to name the pool as well.
            for known in (after, *(step.write.params for step in (*untag, *steps))):
                known["id"] = pool["id"]

        create = Command("createStoragePool", params, wanted.label, secrets=[address.token], hints=_CREATE_HINTS)
        after = {
            "id": None, "name": wanted.name, "zone": zone["name"], "state": _RESTING.get(wanted.state, UP),
            "tags": tags, "template": address.template, "api": address.api, "capacity": capacity,
        }  # fmt: skip
        changes = [Change("create", create, {"storagepool": learn}), *untag, *steps]
        return Plan(wanted.label, None, after, changes, warnings=warnings, waits=self._waits(steps, wanted, world))

    @staticmethod
    def _proved(address: Address, world: World, wanted: WantedPool) -> dict[str, Any]:
        """Return the template on StorPool. :raises CollectionError: says which of address, token and template is wrong."""
        there = world.storpool.get((address.api, address.token))
        if isinstance(there, Unauthorized):
            option = "pool_auth_token" if wanted.token else "sp_auth_token"
            raise OptionError(
                option, HIDDEN_TOKEN, f"is refused by StorPool at {address.api}, so the pool could not work with it"
            ) from there
        if isinstance(there, CollectionError):
            option = "pool_api_http" if wanted.api else "sp_api_http_host"
            raise OptionError(option, address.api, f"is not where a StorPool answers: {there.message}") from there
        found = (there or {}).get(address.template)
        if found is None:
            known = ", ".join(sorted(there or {})) or "none"
            raise OptionError("template", address.template, f"is no template of the StorPool at {address.api}; there are: {known}")
        if found["replication"] == "-" or not found["placeAll"]:
            raise OptionError("template", address.template, "has no replication or placement; CloudStack's volumes take both from it")
        return found

    @staticmethod
    def _others_on(address: Address, world: World) -> list[str]:
        """Return a warning about pools that may be on the same template. :raises ChangeRefused: one is."""
        warnings = []
        for pool in world.pools:
            other = world.addresses.get(pool["id"])
            if other is None or other.template != address.template:
                continue
            if other.api == address.api or {other.api, address.api} <= world.reach:
                raise ChangeRefused(
                    f"template {address.template} at {address.api} is that of storage pool {pool['name']} already",
                    hint="one pool a template: use that pool, or make another template",
                    pool=pool["name"],
                )
            warnings.append(
                f"storage pool {pool['name']} is on a template {address.template} too, at {other.api}: "
                f"if {address.api} leads to the same StorPool cluster, the two count the same space"
            )
        return warnings

    # present

    def _plan_present(self, wanted: WantedPool, pool: Mapping[str, Any], shown: dict[str, Any], world: World) -> Plan:
        address = world.addresses[pool["id"]]
        self._same_storage(wanted, address)
        proof = self._verify(wanted, address, world)
        warnings = [f"storage pool {wanted.label} is not proved on StorPool: {proof['reason']}"] if "reason" in proof else []
        update: dict[str, Any] = {}
        after = dict(shown)
        if wanted.name is not None and pool["name"] != wanted.name:
            update["name"] = after["name"] = wanted.name
        if wanted.tags is not None and wanted.tags != shown["tags"]:
            if pool.get("istagarule"):
                raise ChangeRefused(f"the tag of storage pool {wanted.label} is a rule; change it in CloudStack", hint="or leave tags out")
            after["tags"] = wanted.tags
            update["tags"] = ",".join(wanted.tags)
        changes = []
        if update:
            words = " and ".join("rename" if key == "name" else key for key in update)
            changes.append(Change(f"update {words}", Command("updateStoragePool", {"id": pool["id"], **update}, wanted.label)))
        state = str(pool.get("state"))
        steps = self._steps(wanted, state, pool["id"])
        if wanted.state in _RESTING:
            after["state"] = _RESTING[wanted.state]
        waits = self._waits(steps, wanted, world, pool["id"] if state == PREPARING and wanted.state == "maintenance" else None)
        return Plan(wanted.label, shown, after, [*changes, *steps], {"storpool": proof}, warnings, waits=waits)

    @staticmethod
    def _same_storage(wanted: WantedPool, address: Address) -> None:
        """:raises ChangeRefused: another template, address or token is declared than the pool was made with."""
        told = {"template": (wanted.template, address.template), "pool_api_http": (wanted.api, address.api)}
        for option, (declared, have) in told.items():
            if declared is not None and have and declared != have:
                way_out = "make another pool and migrate the volumes" if option == "template" else _ALTERNATIVE
                raise ChangeRefused(f"storage pool {wanted.label} was made with {option} {have}, not {declared}", hint=way_out)
        if wanted.token and address.token and wanted.token != address.token:
            raise ChangeRefused(f"storage pool {wanted.label} was made with another token than pool_auth_token", hint=_ALTERNATIVE)

    @staticmethod
    def _verify(wanted: WantedPool, address: Address, world: World) -> dict[str, Any]:
        """Return what StorPool says about a pool that exists, asked as the plugin asks.

        :raises ChangeRefused: the pool is to work, and StorPool says that it cannot.
        """
        there = world.storpool.get((address.api, address.token))
        if there is None:
            return {"verified": False, "reason": "CloudStack shows neither its address nor its token"}
        if isinstance(there, Unreachable):
            return {"verified": False, "reason": f"{address.api} cannot be reached from here ({there.message})"}
        if isinstance(there, Unauthorized):
            problem = f"StorPool at {address.api} refuses the token that the pool was made with"
        elif isinstance(there, CollectionError):
            problem = there.message
        elif address.template not in there:
            problem = f"the StorPool at {address.api} has no template {address.template}"
        else:
            return {"verified": True}
        if wanted.state in ("present", "enabled"):
            raise ChangeRefused(f"storage pool {wanted.label} cannot work: {problem}", hint=_ALTERNATIVE)
        return {"verified": False, "reason": problem}

    # states

    @staticmethod
    def _steps(wanted: WantedPool, state: str, identity: str | None) -> list[Change]:
        """Return the changes from one state to the declared one.

        :raises ChangeRefused: the pool is on its way to another state.
        """
        goal = _RESTING.get(wanted.state, state)
        if state == goal or (state == PREPARING and goal == MAINTENANCE):
            return []
        if (state, goal) not in _STEPS:
            raise ChangeRefused(f"storage pool {wanted.label} is {state}; it cannot be made {goal} now", hint=_LATER)
        return [_step(word, wanted.label, identity) for word in _STEPS[state, goal]]

    @staticmethod
    def _waits(steps: Sequence[Change], wanted: WantedPool, world: World, preparing: str | None = None) -> list[Wait]:
        """Return what to wait for: maintenance that begins with one of ``steps``, also when the answer to its job is lost, or has begun
        in the pool ``preparing``."""
        begins = next((step.write.params for step in steps if step.action == "maintain"), {"id": preparing} if preparing else None)
        if begins is None:
            return []

        def done(client: CloudStack) -> bool:
            now = client.list("listStoragePools", "storagepool", id=begins["id"])
            states = [pool.get("state") for pool in now]
            if BROKEN in states:
                text = "CloudStack could not put it into maintenance"
                raise ApiError(BROKEN, text, call="enableStorageMaintenance", object_name=wanted.label)
            return PREPARING not in states

        return [Wait(f"maintenance of storage pool {wanted.label}", done, world.job_timeout)]

    # absent

    def _plan_absent(self, wanted: WantedPool, pool: Mapping[str, Any] | None, shown: dict[str, Any] | None) -> Plan:
        if pool is None:
            return Plan(wanted.label, None, None)
        state = str(pool.get("state"))
        steps: list[Change] = []
        if state != MAINTENANCE:
            if not wanted.maintenance_first:
                raise ChangeRefused(
                    f"storage pool {wanted.label} is {state}; CloudStack deletes only what is in maintenance",
                    hint="use state: maintenance first, or set maintenance_first: true; CloudStack stops VMs with volumes on it",
                    allow_with="maintenance_first: true",
                )
            if (state, MAINTENANCE) not in _STEPS:
                raise ChangeRefused(f"storage pool {wanted.label} is {state}; it cannot be deleted now", hint=_LATER)
            steps = [_step(word, wanted.label, pool["id"]) for word in _STEPS[state, MAINTENANCE]]
        params = {"id": pool["id"], **({"forced": True} if wanted.forced else {})}
        delete = Change("delete", Command("deleteStoragePool", params, wanted.label, hints=_DELETE_HINTS))
        return Plan(wanted.label, shown, None, [*steps, delete])

    # -- after

    def predict(self, world: World, wanted: WantedPool, plan: Plan) -> None:
        """Let ``world`` have a new pool, so that no second one is planned on its template."""
        if plan.before is None and plan.after is not None:
            address = self._address(wanted, world)
            identity = f"{address.template};new {wanted.name}"
            world.pools.append({"id": identity, "name": wanted.name, "provider": PROVIDER, "zonename": plan.after["zone"]})
            world.addresses[identity] = address

    def show(self, document: dict[str, Any]) -> dict[str, Any]:
        """Return a pool for the diff."""
        return {**document, "capacity": format_size(document["capacity"])}


_LATER = "wait until CloudStack is done with it and run the task again; if it stays so, look at the management server's log"
_ALTERNATIVE = (
    "CloudStack does not change these; set sp.alternative.endpoint and sp.enable.alternative.endpoint for the pool (cloudstack_settings)"
)


def parse_address(value: str) -> str:
    """Return ``host:port`` of a StorPool API. :raises OptionError: it is none."""
    match = _ADDRESS.fullmatch(value.strip())
    port = match and parse_whole(match.group(2) or DEFAULT_PORT, 1, 65535)
    if not port:
        raise OptionError("pool_api_http", without_credentials(value), "is not the address of a StorPool API, as in 10.0.0.1:81")
    return f"{match.group(1)}:{port}"


def _tags(pool: Mapping[str, Any]) -> list[str]:
    text = str(pool.get("tags") or "")
    return [text] if pool.get("istagarule") and text else sorted({tag.strip() for tag in text.split(",") if tag.strip()})


def _step(word: str, label: str, identity: str | None) -> Change:
    """Return one change of state. Its parameters are a dictionary of its own: a new pool has its id only when it is there."""
    params: dict[str, Any] = {"id": identity}
    if word in ("enable", "disable"):
        return Change(word, Command("updateStoragePool", {**params, "enabled": word == "enable"}, label))
    return Change(word, Command("enableStorageMaintenance" if word == "maintain" else "cancelStorageMaintenance", params, label))


STORAGE_POOLS = StoragePools()
