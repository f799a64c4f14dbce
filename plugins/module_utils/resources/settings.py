# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 4: CloudStack settings (global, and in the scope of a zone, cluster, pool, account, domain or image store).

One listing a scope serves all settings of a task. Facts: reference sheets cloudstack-storpool, section 1, and
cloudstack-api, sections 7 and 8.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from .._cloudstack import CloudStack, Command, hide_tokens, is_id, pick, tokens_in
from .._errors import ChangeRefused, CollectionError, OptionError
from .._foresight import is_made_up
from .._plan import Change, Plan
from ._cloud import MOST_OF_A_DESCRIPTION

_HIDDEN = "(hidden)"


@dataclass(frozen=True)
class ScopeKind:
    """How a kind of scope is named: the parameter with its id, and the listing that turns a name into one."""

    parameter: str
    listing: str
    key: str
    reset_parameter: str | None = None


SCOPES = {
    "zone": ScopeKind("zoneid", "listZones", "zone"),
    "cluster": ScopeKind("clusterid", "listClusters", "cluster"),
    "storage_pool": ScopeKind("storageid", "listStoragePools", "storagepool"),
    "account": ScopeKind("accountid", "listAccounts", "account"),
    "domain": ScopeKind("domainid", "listDomains", "domain"),
    # resetConfiguration calls the image store otherwise than listConfigurations and updateConfiguration do.
    "image_store": ScopeKind("imagestoreuuid", "listImageStores", "imagestore", "imagestoreid"),
}

# Types as listings call them: those of ``Configuration.ValueType``, and Java's own.
_WHOLE = frozenset({"Number", "Integer", "Long", "Short"})
_DECIMAL = frozenset({"Decimal", "Float", "Double", "Range"})
_SECURE = "secure"  # the category whose values are stored, and listed, encrypted
_NAMES_OF_SECRETS = re.compile(r"(^|\.)(password|secret|auth)$")  # of that category, for when nothing has been read yet

# Settings that from some version on do not do what their name says, or only together with another (table 0.3 and section 1).
_BYPASS = "sp.bypass.secondary.storage"
_BACKUP = "snapshot.backup.to.secondary"
_FENCE = "kvm.ha.fence.on.storage.heartbeat.failure"
_SNAPSHOTS_OF_RUNNING = "kvm.snapshot.enabled"
_USE_ENDPOINT, _ENDPOINT = "sp.enable.alternative.endpoint", "sp.alternative.endpoint"
# Known from 4.21 on: its presence tells the version without another call.
_SINCE_4_21 = "storpool.snapshot.recovery.from.remote.check"
_BY_POSITION = "sp.cluster.endpoint"  # KEY=host:port;KEY=token


@dataclass(frozen=True)
class Scope:
    """Where a setting is to hold: ``kind`` is a key of :data:`SCOPES`, ``None`` for global; ``within`` is the domain of an account."""

    kind: str | None = None
    name: str = ""
    within: str | None = None

    def __str__(self) -> str:
        within = f" of {self.within}" if self.within else ""
        return f"{self.kind.replace('_', ' ')} {self.name}{within}" if self.kind else "global"


EVERYWHERE = Scope()


@dataclass
class WantedSetting:
    """One declared setting; ``value`` is ``None`` for ``state: default``."""

    label: str
    name: str
    scope: Scope
    value: str | None
    secret: bool = False
    update_encrypted: str = "on_create"

    def names(self) -> Sequence[str]:
        return (self.label,)

    def needs(self) -> Sequence[str]:
        """What a scope inherits changes with the global value, so that one comes first; and an endpoint is there before it is used."""
        first = [self.name] if self.scope.kind else []
        if self.name == _USE_ENDPOINT:
            first.append(_label(_ENDPOINT, self.scope))
        return first


@dataclass
class World:
    """What was read: the settings of each scope by name, and the ids of the scopes.

    ``refused`` are the scopes, and the declared settings by label, that make no sense. ``declared`` are the global values that the task
    declares, ``replaced`` the former global values of those that it changes.
    """

    settings: dict[Scope, dict[str, dict[str, Any]]] = field(default_factory=dict)
    ids: dict[Scope, str] = field(default_factory=dict)
    refused: dict[Scope | str, CollectionError] = field(default_factory=dict)
    declared: dict[str, str | None] = field(default_factory=dict)
    replaced: dict[str, str] = field(default_factory=dict)

    @property
    def everywhere(self) -> dict[str, dict[str, Any]]:
        """The global settings, when they were read."""
        return self.settings.get(EVERYWHERE, {})


class Settings:
    """The settings of a CloudStack, as the runner manages them."""

    kind = "setting"

    # -- desired

    def parse(self, options: Mapping[str, Any], now: float) -> WantedSetting:
        """Return what is wanted of one setting. :raises OptionError: names the option that cannot be meant."""
        name = str(options["name"] or "").strip()
        if not name:
            raise OptionError("name", options["name"], "is needed: the name of the setting, as the API calls it")
        scope = self._scope(options, name)
        value = options["value"]
        if isinstance(value, (dict, list)):
            raise OptionError("value", _HIDDEN, "is not a single value; join a list with commas", item=name)
        if options["state"] == "default":
            if value is not None:
                raise OptionError("value", _HIDDEN, "cannot be combined with state: default", item=name)
            text = None
        elif value is None:
            raise OptionError("value", None, "is needed (an empty text clears the setting; state: default resets it)", item=name)
        else:
            whole = isinstance(value, float) and value.is_integer()
            text = ("true" if value else "false") if isinstance(value, bool) else str(int(value) if whole else value).strip()
            text = "" if text == "null" else text  # the API's own word for clearing a setting
            if len(text) > MOST_OF_A_DESCRIPTION:
                raise OptionError("value", _HIDDEN, f"has {len(text)} characters; CloudStack takes {MOST_OF_A_DESCRIPTION}", item=name)
        return WantedSetting(_label(name, scope), name, scope, text, bool(options["secret"]), options["update_encrypted"])

    @staticmethod
    def _scope(options: Mapping[str, Any], name: str) -> Scope:
        """Return the one scope that is given. :raises OptionError: there are several, or an empty one."""
        given = {kind: options[kind] for kind in SCOPES if options[kind] is not None}
        for kind, value in given.items():
            if not str(value).strip():
                raise OptionError(kind, value, "is empty; leave it out for the global value", item=name)
        within = given.pop("domain") if {"account", "domain"} <= given.keys() else None
        if len(given) > 1:
            first, second = list(given)[:2]
            raise OptionError(second, given[second], f"cannot be combined with {first}; a setting has one scope", item=name)
        return Scope(*next(iter(given.items())), within) if given else EVERYWHERE

    # -- observe

    def observe(self, client: CloudStack, wanted: Sequence[WantedSetting]) -> World:
        """List the settings of each scope once, and whatever it takes to find the scopes named by name."""
        world = World(declared={one.name: one.value for one in wanted if not one.scope.kind})
        scopes = list(dict.fromkeys(one.scope for one in wanted))
        for kind in dict.fromkeys(scope.kind for scope in scopes if scope.kind):
            self._find_scopes(client, kind, [scope for scope in scopes if scope.kind == kind], world)
        self._find_twins(wanted, world)
        for scope in scopes:
            if scope not in world.refused:
                self._list(client, scope, world)
        resets = any(one.value is None and one.scope.kind for one in wanted)
        strange = any(one.scope in world.settings and one.name not in world.settings[one.scope] for one in wanted)
        if (resets or strange) and EVERYWHERE not in world.settings:
            # What a scope falls back to, and whether a name exists at all, only the global listing tells.
            self._list(client, EVERYWHERE, world)
        if _SNAPSHOTS_OF_RUNNING in world.declared and _SNAPSHOTS_OF_RUNNING not in world.everywhere:
            world.everywhere[_SNAPSHOTS_OF_RUNNING] = self._snapshots_of_running(client)
        return world

    def _list(self, client: CloudStack, scope: Scope, world: World) -> None:
        params = {SCOPES[scope.kind].parameter: world.ids[scope]} if scope.kind else {}
        if is_made_up(world.ids.get(scope)):
            found = client.as_foreseen("configuration", self._of_new(client, SCOPES[scope.kind]), params)
        else:
            found = client.list("listConfigurations", "configuration", unlimited=True, **params)
        world.settings[scope] = {one["name"]: one for one in found}

    @staticmethod
    def _of_new(client: CloudStack, how: ScopeKind) -> list[dict[str, Any]]:
        """Return the settings of what an earlier task of a check run would make: those that others of its kind have, with global values.

        Where there is no other, nothing tells which settings have that scope, so that all are taken to have it.
        """
        everywhere = {one["name"]: one for one in client.list("listConfigurations", "configuration", unlimited=True)}
        other = next((one["id"] for one in client.list(how.listing, how.key, unlimited=True) if not is_made_up(one["id"])), None)
        if other is None:
            return list(everywhere.values())
        known = client.list("listConfigurations", "configuration", unlimited=True, **{how.parameter: other})
        return [{**one, "value": everywhere.get(one["name"], one).get("value")} for one in known]

    @staticmethod
    def _snapshots_of_running(client: CloudStack) -> dict[str, Any]:
        """Return the setting that no listing shows up to 4.21 (its category is Hidden there); its value is among the capabilities."""
        enabled = client.read("listCapabilities")["capability"].get("kvmsnapshotenabled")
        value = "true" if enabled is True else "false"
        return {"name": _SNAPSHOTS_OF_RUNNING, "value": value, "defaultvalue": "false", "type": "Boolean", "isdynamic": False}

    @staticmethod
    def _find_scopes(client: CloudStack, kind: str, scopes: Sequence[Scope], world: World) -> None:
        """Enter the ids of scopes of one kind; a name that fits none or several is remembered with its error."""
        world.ids.update({scope: scope.name for scope in scopes if is_id(scope.name)})
        named = [scope for scope in scopes if scope not in world.ids]
        if not named:
            return
        how = SCOPES[kind]
        everyone = {"listall": True} if kind in ("account", "domain") else {}
        # One name is asked for; a domain may be named by its path, which the listing cannot be asked for.
        only = {"name": named[0].name} if len(named) == 1 and kind != "domain" else {}
        found = client.list(how.listing, how.key, **only, **everyone)
        if only and not found:
            found = client.list(how.listing, how.key, **everyone)
        for scope in named:
            candidates = found
            if scope.within is not None:
                candidates = [one for one in found if scope.within in (one.get("domain"), one.get("domainpath"), one.get("domainid"))]
            try:
                world.ids[scope] = pick(candidates, scope.name, kind)["id"]
            except OptionError as exc:
                world.refused[scope] = exc

    @staticmethod
    def _find_twins(wanted: Sequence[WantedSetting], world: World) -> None:
        """Refuse a setting that is declared twice for one scope, by its name and by its id."""
        seen: dict[tuple[str | None, str, str], str] = {}
        for one in wanted:
            if one.scope.kind and one.scope in world.ids:
                first = seen.setdefault((one.scope.kind, world.ids[one.scope], one.name), one.label)
                if first != one.label:
                    world.refused[one.label] = OptionError("settings", one.label, f"is declared twice, also as {first}")

    # -- plan

    def plan(self, wanted: WantedSetting, world: World) -> Plan:
        """Return what to do about one setting."""
        try:
            refused = world.refused.get(wanted.scope) or world.refused.get(wanted.label)
            if refused:
                raise refused
            present = world.settings[wanted.scope].get(wanted.name)
            if present is None:
                raise self._no_such(wanted, world)
            return self._plan(wanted, present, world)
        except CollectionError as exc:
            return Plan(wanted.label, None, None, refused=exc)

    @staticmethod
    def _no_such(wanted: WantedSetting, world: World) -> CollectionError:
        """Return why a setting cannot be found in its scope."""
        if wanted.scope.kind and wanted.name in world.everywhere:
            scope = wanted.scope.kind.replace("_", " ")
            return ChangeRefused(f"{wanted.name} cannot be set for a {scope}", hint="give its own scope, or none to set it globally")
        known = {**world.everywhere, **world.settings[wanted.scope]}
        near = get_close_matches(wanted.name, known, n=3, cutoff=0.6)
        hint = f"did you mean {' or '.join(near)}?" if near else "settings come and go with CloudStack's versions"
        return ChangeRefused(f"this CloudStack has no setting {wanted.name}", hint=hint)

    def _plan(self, wanted: WantedSetting, present: Mapping[str, Any], world: World) -> Plan:
        kind = str(present.get("type") or "String")
        encrypted = str(present.get("category", "")).lower() == _SECURE
        hidden = wanted.secret or encrypted
        have, default = _text(present.get("value")), _text(present.get("defaultvalue"))
        goal = self._goal(wanted, kind, default, hidden, world)
        dynamic = str(present.get("isdynamic")).lower() == "true"
        # What is shown of a value never has a secret in it.
        shown = {"name": wanted.name, "scope": str(wanted.scope), "default": default, "dynamic": dynamic, "type": kind}
        before = {**shown, "value": _shown(wanted.name, have, hidden)}
        warnings = list(self._traps(wanted, goal, world))
        # A scope that has the former global value may just have inherited it: it is written, so that it holds afterwards.
        inherited = wanted.scope.kind and have == world.replaced.get(wanted.name)
        if encrypted and have and goal and not inherited and wanted.update_encrypted == "on_create":
            # The listing has it encrypted, so it cannot be compared; writing it at every run would never be silent.
            warnings.append(
                f"{wanted.label} is set, and stored encrypted: whether it has the declared value cannot be read; "
                "update_encrypted: always writes it"
            )
            return Plan(wanted.label, before, before, notes={"compared": False}, warnings=warnings)
        if same(have, goal, kind) and not (encrypted and goal) and not inherited:
            return Plan(wanted.label, before, before, warnings=warnings)
        after = {**shown, "value": _shown(wanted.name, goal, hidden)}
        if after["value"] == before["value"] and have != goal and _HIDDEN in after["value"]:
            after["value"] = after["value"].replace(_HIDDEN, "(hidden, changed)")
        secrets = [goal] if hidden and goal else tokens_in(goal, wanted.name == _BY_POSITION)
        return Plan(
            wanted.label,
            before,
            after,
            [Change("reset" if wanted.value is None else "set", self._write(wanted, goal, secrets, world))],
            {} if dynamic else {"restart_required": True},
            warnings,
        )

    @staticmethod
    def _goal(wanted: WantedSetting, kind: str, default: str, hidden: bool, world: World) -> str:
        """Return the value that a setting shall have. :raises OptionError: it cannot be one of the setting's type."""
        if wanted.value is not None:
            check_type(wanted.value, kind, wanted.label, hidden)
            return wanted.value.lower() if kind == "Boolean" else wanted.value
        if wanted.scope.kind and wanted.name in world.everywhere:
            return _text(world.everywhere[wanted.name].get("value"))
        return default

    @staticmethod
    def _write(wanted: WantedSetting, goal: str, secrets: Sequence[str], world: World) -> Command:
        params: dict[str, Any] = {"name": wanted.name}
        scope = wanted.scope
        if wanted.value is None:
            if scope.kind:
                how = SCOPES[scope.kind]
                params[how.reset_parameter or how.parameter] = world.ids[scope]
            return Command("resetConfiguration", params, wanted.label)
        params["value"] = goal
        if scope.kind:
            params[SCOPES[scope.kind].parameter] = world.ids[scope]
        return Command("updateConfiguration", params, wanted.label, secrets=secrets)

    @staticmethod
    def _traps(wanted: WantedSetting, goal: str, world: World) -> Iterator[str]:
        """Yield warnings about settings that will not do what they seem to, on this server."""
        if wanted.name == _BYPASS and goal == "true" and _SINCE_4_21 in world.everywhere:
            yield f"{_BYPASS} has no effect from CloudStack 4.21 on; set {_BACKUP} to false instead"
        if wanted.name == _FENCE and wanted.scope.kind:
            yield f"{_FENCE} is accepted for a {wanted.scope.kind} but read globally: only the global value has an effect"
        if wanted.name in (_USE_ENDPOINT, _ENDPOINT) and not wanted.scope.kind and goal not in ("", "false"):
            yield f"{wanted.name} is meant for one storage pool (option storage_pool); the global value reaches every StorPool pool"
        if (wanted.name, goal) in ((_BYPASS, "true"), (_BACKUP, "false")):
            running = world.everywhere.get(_SNAPSHOTS_OF_RUNNING)
            declared = world.declared.get(_SNAPSHOTS_OF_RUNNING)
            enabled = declared if declared is not None else running and _text(running.get("value"))
            if str(enabled).lower() != "true":
                state = "is false" if enabled else "this CloudStack does not list; declare it in the same task"
                yield f"snapshots of running VMs, also on StorPool, need {_SNAPSHOTS_OF_RUNNING}, which {state}"

    # -- after

    def predict(self, world: World, wanted: WantedSetting, plan: Plan) -> None:
        """Let the scopes that are planned next know that the global value they may inherit is another one."""
        if not wanted.scope.kind:
            present = world.everywhere[wanted.name]
            world.replaced[wanted.name] = _text(present.get("value"))
            goal = wanted.value if wanted.value is not None else _text(present.get("defaultvalue"))
            world.everywhere[wanted.name] = {**present, "value": goal}

    def show(self, document: dict[str, Any]) -> dict[str, Any]:
        """Return a setting for the diff."""
        return {"value": document["value"]}

    def finish(self, entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return what the result of the whole task says besides: the changed settings that wait for a restart of all management servers."""
        return {"restart_required": sorted({one["name"] for one in entries if one["changed"] and one.get("restart_required")})}

    def hide(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options as the invocation may show them: without values that are secret, and without the tokens in others."""
        shown = dict(options)
        if shown.get("value") is not None:
            shown["value"] = self._hide_one(shown, shown.get("secret"))
        entries = shown.get("settings")
        if isinstance(entries, list):
            shown["settings"] = [self._hide_entry(one, shown.get("secret")) for one in entries]
        elif entries is not None:
            shown["settings"] = _HIDDEN
        return shown

    def _hide_entry(self, entry: Any, secret: Any) -> Any:
        if not isinstance(entry, Mapping):
            return _HIDDEN
        return {**entry, "value": self._hide_one(entry, entry.get("secret") or secret)} if entry.get("value") is not None else entry

    @staticmethod
    def _hide_one(entry: Mapping[str, Any], secret: Any) -> Any:
        value, name = entry["value"], str(entry.get("name")).strip()
        if _NAMES_OF_SECRETS.search(name) or str(secret).lower() not in ("none", "false", "no", "off", "n", "f", "0", ""):
            return _HIDDEN
        text = str(value)
        shown = _shown(name, text, False)
        return value if shown == text else shown


def same(have: str, want: str, kind: str) -> bool:
    """Tell whether two values mean the same to CloudStack, by the setting's type.

    Blanks at the ends never count, booleans ignore case, numbers compare as numbers; an empty value and none at all are the same.
    """
    have, want = have.strip(), want.strip()
    if have == want:
        return True
    if kind == "Boolean":
        return have.lower() == want.lower()
    if kind in _WHOLE | _DECIMAL and have and want:
        try:
            return float(have) == float(want)
        except ValueError:
            return False
    return False


def check_type(value: str, kind: str, label: str, hidden: bool = False) -> None:
    """:raises OptionError: the value cannot be one of the setting's type."""
    pattern, problem = "", ""
    if kind == "Boolean":
        pattern, problem = r"(?i:true|false)", "neither true nor false"
    elif kind in _WHOLE:
        pattern, problem = r"[+-]?\d+", "not a whole number"
    elif kind in _DECIMAL:
        pattern, problem = r"[+-]?(\d+(\.\d*)?|\.\d+)", "not a number"
    if pattern and not value:
        raise OptionError("value", value, f"is {problem}; use state: default to take it back", item=label)
    if pattern and not re.fullmatch(pattern, value, re.ASCII):
        raise OptionError("value", _HIDDEN if hidden else hide_tokens(value, False), f"is {problem}", item=label)


def _label(name: str, scope: Scope) -> str:
    return f"{name} ({scope})" if scope.kind else name


def _text(value: Any) -> str:
    """Return a value of the API, which leaves out what is not set."""
    return "" if value is None else str(value)


def _shown(name: str, text: str, hidden: bool) -> str:
    """Return a value without what is secret in it: nothing of it, or the token inside the address of a pool."""
    return (_HIDDEN if text else "") if hidden else hide_tokens(text, name == _BY_POSITION)


SETTINGS = Settings()
