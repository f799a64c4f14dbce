# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 4: host HA of KVM hosts, with the out-of-band management that it needs.

What is declared is a host, or all hosts of a cluster or zone; :meth:`HostHas.spread` makes hosts of it, and adds their clusters and zones,
whose switches have to be on as well. Facts: reference sheets cloudstack-storpool, sections 2.6 and 3, and cloudstack-api, section 8.

**The switches of clusters and zones.** No field of a listing is called so, but an administrator sees them among the ``resourcedetails`` of
listClusters and listZones (``resourceHAEnabled``, ``outOfBandManagementEnabled``); one that was never touched is not there, which means on.
So nothing has to be guessed, and a second run writes nothing.

**When the power is asked for.** A power action STATUS changes nothing on the host but is a write to CloudStack, which remembers the answer.
CloudStack itself asks every controller again and again with the stored credentials, and what it saw last is in the listing. So On (or Off,
of a host that is not Up) is the proof. STATUS is sent after out-of-band management was configured or enabled, on the host or above it, and
where CloudStack was told otherwise. Where it has just not looked yet (Disabled) its own look is waited for, if the task waits at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from .._cloudstack import HIDDEN_TOKEN, CloudStack, Command, pick
from .._errors import ChangeRefused, CollectionError, OptionError
from .._plan import Change, JointWait, Plan, Wait
from .._units import parse_duration, parse_whole
from . import hosts
from ._cloud import parse_text
from .ha_verdict import AVAILABLE, MAINTENANCE, judge
from .hosts import ENABLED, UP, Cluster, Host, Observation, Zone

FENCED, DISABLED = "Fenced", "Disabled"  # states of host HA
ON, OFF = "On", "Off"  # what is seen of the power
_MANY = 20  # names in one warning
# Codes of the verdict's reasons and warnings: what is said when a host is about to be protected, and what keeps one from being Available.
_WORTH_A_WARNING = (
    "client_down", "client_missing", "no_pool", "pool_not_up", "no_instances", "several_pools", "fence_waits", "fence_of_zone_ignored",
)  # fmt: skip
_HINDERS = ("agent_", "maintenance", "declared_", "host_", "no_peer", "oobm_", "power_", "ha_")
DEGRADED = "Degraded"  # a resource state, declared by an operator; host HA has a state of the same name
IPMITOOL, IPMI_PORT = "ipmitool", "623"
FIELDS = ("driver", "address", "port", "username")  # of out-of-band management, as far as CloudStack tells them
_KINDS = ("host", "cluster", "zone")  # of what is declared, the nearest first
_SWITCHES = (("oobm", "OutOfBandManagement", "out-of-band management"), ("ha", "HA", "HA"))

_POWER_HINTS = (
    (
        "is disabled for the host's",
        "the switch of the cluster or zone is off again; somebody else may have turned it off",
    ),
    (
        "Unable to establish",
        "check oobm_address, oobm_port, oobm_username and that the management servers reach the controller; to store the password again, "
        "set update_password: always",
    ),
    ("driver is not available", "set oobm_driver to one that this CloudStack has"),
    ("failed with error", "check oobm_address, oobm_username and oobm_password (update_password: always stores the password again)"),
)
_PROVIDER_HINTS = (("does not exist", "set ha_provider to one of listHostHAProviders"),)
_CANCEL_HINTS = (
    ("SSH", "the agent of the host has to be Up, or kvm.ssh.to.agent true and its credentials right, before its maintenance can end"),
)


@dataclass
class WantedHa:
    """What is declared of one host, or (``host`` is ``None``) of all hosts of a cluster or zone. ``None`` means not given.

    ``id`` is that of the host, once it is known; ``refused`` says why it cannot be.
    """

    label: str
    host: str | None
    cluster: str | None
    zone: str | None
    state: str
    oobm: dict[str, str] = field(default_factory=dict)
    password: str | None = field(default=None, repr=False)
    password_always: bool = False
    provider: str = ""
    allow_hyperconverged: bool = False
    allow_single_host_cluster: bool = False
    recover: bool = False
    wait: bool = True
    wait_timeout: int = 0
    node_ids: dict[str, int] = field(default_factory=dict)
    conf: str | None = None
    id: str | None = None
    above: tuple[str, ...] = ()
    refused: CollectionError | None = None

    def names(self) -> Sequence[str]:
        return (self.id or f"{self.zone or ''}/{self.cluster or ''}/{self.host or ''}",)

    def needs(self) -> Sequence[str]:
        return self.above


@dataclass
class WantedArea:
    """A cluster or zone whose switches have to be on for ``members``, those of its hosts that are declared enabled."""

    label: str
    kind: str
    id: str
    members: list[WantedHa]

    def names(self) -> Sequence[str]:
        return (self.id,)

    def needs(self) -> Sequence[str]:
        return ()


@dataclass
class World:
    """What was read. ``providers`` are the names of what CloudStack has for KVM, when one has to be configured."""

    seen: Observation
    providers: list[str] | None = None

    def __post_init__(self) -> None:
        self.by_id = {host.id: host for host in self.seen.hosts}
        # One for all hosts, so that one reading serves all that are waited for.
        self.look = partial(hosts.look_again, seen=self.seen)


class HostHas:
    """Host HA, as the runner manages it."""

    kind = "host"

    # -- desired

    def parse(self, options: Mapping[str, Any], now: float) -> WantedHa:
        """Return what is wanted. :raises OptionError: names the option that cannot be meant."""
        given = {name: parse_text(options, name) for name in ("host", "cluster", "zone", *(f"oobm_{field}" for field in FIELDS))}
        kind = next((kind for kind in _KINDS if given[kind] is not None), None)
        if kind is None:
            raise OptionError("host", None, "is needed, or cluster or zone for all KVM hosts of one")
        name = str(given[kind])
        wanted = WantedHa(name if kind == "host" else f"{kind} {name}", given["host"], given["cluster"], given["zone"], options["state"])
        wanted.oobm = {field: text for field in FIELDS if (text := given[f"oobm_{field}"]) is not None}
        port = wanted.oobm.get("port")
        if port is not None and parse_whole(port, 1, 65535) is None:
            raise OptionError("oobm_port", port, "is no port (1 to 65535)", item=wanted.label)
        if kind != "host" and "address" in wanted.oobm:
            raise OptionError(
                "oobm_address", wanted.oobm["address"], f"is that of one host, not of a {kind}; put the hosts into hosts", item=wanted.label
            )
        wanted.password = options["oobm_password"] or None
        wanted.password_always = options["update_password"] == "always"
        if wanted.password_always and wanted.password is None and wanted.state == "enabled":
            raise OptionError("update_password", "always", "needs oobm_password", item=wanted.label)
        wanted.provider = str(parse_text(options, "ha_provider"))
        for name in ("allow_hyperconverged", "allow_single_host_cluster", "recover", "wait"):
            setattr(wanted, name, bool(options[name]))
        wanted.wait_timeout = parse_duration(options["wait_timeout"], "wait_timeout")
        wanted.node_ids = hosts.parse_node_ids(options["sp_node_ids"])
        wanted.conf = options["storpool_conf"]
        return wanted

    # -- observe

    def observe(self, client: CloudStack, wanted: Sequence[WantedHa | WantedArea]) -> World:
        """Read the hosts of the zone (or of all, if several may be meant) with what host HA depends on."""
        every = [one for entry in wanted for one in (entry.members if isinstance(entry, WantedArea) else [entry])]
        world = World(hosts.observe(client, _selection(every)) if every else Observation((), (), (), hosts.Fence()))
        found = world.by_id
        spread = [one for one in self.spread(every, world) if isinstance(one, WantedHa) and one.state == "enabled" and one.id in found]
        if any(self._other_provider(one, found[one.id]) for one in spread):
            rows = client.list("listHostHAProviders", "haprovider", hypervisor="KVM")
            world.providers = [row["haprovider"] for row in rows]
        return world

    # -- from what is declared to hosts, clusters and zones

    def spread(self, wanted: Sequence[WantedHa], world: World) -> list[Any]:
        """Return the hosts that are meant, then the clusters and zones of those that are to be enabled.

        A host that is declared itself is so as it says, not as its cluster or zone is; a cluster goes before its zone.
        """
        entries: list[list[WantedHa]] = [[] for _one in wanted]
        taken: dict[str, tuple[int, str]] = {}
        for rank, kind in enumerate(_KINDS):
            for position, one in enumerate(wanted):
                if _kind(one) != kind:
                    continue
                try:
                    members = [host for host in world.seen.hosts if host.id == one.id] if one.id else self._members(one, world)
                except CollectionError as exc:
                    entries[position].append(replace(one, refused=exc))
                    continue
                for host in members:
                    first = taken.setdefault(host.id, (rank, one.label))
                    if first == (rank, one.label):
                        above = (host.cluster.id, host.zone.id) if one.state == "enabled" else ()
                        entries[position].append(replace(one, label=host.name, id=host.id, above=above))
                    elif first[0] == rank:
                        raise OptionError("hosts", one.label, f"is declared twice, also as {first[1]}; declare each once")
        found = [one for entry in entries for one in entry]
        return [*found, *self._areas(found, world)]

    @staticmethod
    def _members(wanted: WantedHa, world: World) -> list[Host]:
        """Return the hosts that are meant. :raises OptionError: there are none, or a name fits several."""
        found: Sequence[Host] = world.seen.hosts
        for kind, name in (("zone", wanted.zone), ("cluster", wanted.cluster)):
            if name is not None:
                areas = {getattr(host, kind).id: getattr(host, kind) for host in found}.values()
                fits = [{"id": one.id, "name": one.name} for one in areas if name in (one.name, one.id)]
                if not fits:
                    known = ", ".join(sorted(one.name for one in areas)) or "none"
                    raise OptionError(kind, name, f"does not exist in CloudStack, or has no KVM hosts; with KVM hosts there are: {known}")
                area = pick(fits, name, kind)
                found = [host for host in found if getattr(host, kind).id == area["id"]]
        if wanted.host is not None:
            one = pick([{"id": host.id, "name": host.name, "zonename": host.zone.name} for host in found], wanted.host, "host")
            found = [host for host in found if host.id == one["id"]]
        return list(found)

    @staticmethod
    def _areas(found: Sequence[WantedHa], world: World) -> Iterator[WantedArea]:
        """Yield the clusters and zones of the hosts that are to be enabled."""
        enabled = {one.id: one for one in found if one.id and one.state == "enabled"}
        for kind, areas in (("zone", world.seen.zones), ("cluster", world.seen.clusters)):
            for area in areas:
                members = [enabled[host.id] for host in world.seen.hosts if host.id in enabled and getattr(host, kind).id == area.id]
                if members:
                    yield WantedArea(area.name, kind, area.id, members)

    # -- plan

    def plan(self, wanted: WantedHa | WantedArea, world: World) -> Plan:
        """Return what to do about one host, cluster or zone."""
        if isinstance(wanted, WantedArea):
            return self._plan_area(wanted, world)
        host = world.by_id.get(wanted.id or "")
        if host is None:
            gone = OptionError("host", wanted.label, "is no KVM host of this CloudStack")
            return Plan(wanted.label, None, None, refused=wanted.refused or gone)
        before = shown(host)
        try:
            return self._plan_enabled(wanted, host, before, world) if wanted.state == "enabled" else self._plan_off(wanted, host, before)
        except CollectionError as exc:
            return Plan(wanted.label, before, before, refused=exc)

    # enabled

    def _plan_enabled(self, wanted: WantedHa, host: Host, before: dict[str, Any], world: World) -> Plan:
        _check_node(wanted, host)
        _check_neighbours(wanted, host, world)
        _check_state(wanted, host)
        after = {**before, "oobm": dict(before["oobm"]), "ha": dict(before["ha"])}
        changes, beside = self._oobm_changes(wanted, host, after)
        ha = after["ha"]
        if self._other_provider(wanted, host):
            known = {name.lower() for name in world.providers or ()}
            if wanted.provider.lower() not in known:
                raise OptionError("ha_provider", wanted.provider, f"does not exist for KVM; there are: {', '.join(world.providers or ())}")
            ha["provider"] = wanted.provider.lower()
            params = {"hostid": host.id, "provider": wanted.provider}
            changes.append(Change("configure HA", Command("configureHAForHost", params, host.name, hints=_PROVIDER_HINTS)))
        first = None
        if host.ha.state == FENCED:
            if host.resource_state in MAINTENANCE:
                changes.append(
                    Change("cancel maintenance", Command("cancelHostMaintenance", {"id": host.id}, host.name, hints=_CANCEL_HINTS))
                )
                after["resource_state"] = ENABLED
            first = Wait(f"CloudStack's look at the fenced host {host.name}", partial(_was_looked_at, host.id), wanted.wait_timeout)
        if not host.ha.enabled or first:
            changes.append(Change("enable HA", Command("enableHAForHost", {"hostid": host.id}, host.name), first=first))
            ha["enabled"] = True
        waits = []
        if wanted.wait:
            if changes or host.ha.state != AVAILABLE or not _power_is_proved(host):
                waits = [JointWait(world.look, partial(_missing, host.id), wanted.wait_timeout, _WAIT_HINT)]
            ha["state"] = AVAILABLE
            if after["oobm"]["power"] == DISABLED and host.state == UP:
                after["oobm"]["power"] = ON
        return Plan(wanted.label, before, after, changes, waits=waits, beside=beside)

    def _oobm_changes(self, wanted: WantedHa, host: Host, after: dict[str, Any]) -> tuple[list[Change], Any]:
        """Return what it takes to have out-of-band management as declared, enabled and proved, and what only the diff shows of it.

        :raises OptionError: what CloudStack has to be told is not among the options.
        """
        changes, beside = [], ({}, {})
        present, goal = host.oobm, after["oobm"]
        goal.update(wanted.oobm)
        fresh = not present.configured
        secrets = [wanted.password] if wanted.password else []
        if fresh or wanted.password_always or any(goal[name] != getattr(present, name) for name in FIELDS):
            self._complete(wanted, host, goal, fresh)
            params = {"hostid": host.id, **{name: goal[name] for name in FIELDS}, "password": wanted.password}
            changes.append(
                Change("configure out-of-band management", Command("configureOutOfBandManagement", params, host.name, secrets=secrets))
            )
            beside = ({}, {"oobm_password": HIDDEN_TOKEN})
        if not present.enabled:
            changes.append(
                Change("enable out-of-band management", Command("enableOutOfBandManagementForHost", {"hostid": host.id}, host.name))
            )
            goal["enabled"] = True
        if changes or _power_has_to_be_asked_for(wanted, host):
            status = Command(
                "issueOutOfBandManagementPowerAction",
                {"hostid": host.id, "action": "STATUS"},
                host.name,
                secrets=secrets,
                hints=_POWER_HINTS,
            )
            up = host.state == UP
            goal["power"] = ON if up else None
            learn = {"outofbandmanagement": _learn_power_of_running if up else _learn_power}
            changes.append(Change("prove power", status, learn, follows=bool(changes)))
        return changes, beside

    @staticmethod
    def _complete(wanted: WantedHa, host: Host, goal: dict[str, Any], fresh: bool) -> None:
        """Enter what is not declared and has one sensible value. :raises OptionError: for something else that is missing."""
        why = "has no out-of-band management yet" if fresh else "gets another one, and CloudStack takes all of it at once"
        goal["driver"] = goal["driver"] or IPMITOOL
        if goal["driver"] == IPMITOOL:
            goal["port"] = goal["port"] or IPMI_PORT
        missing = next((name for name in FIELDS if not goal[name]), None if wanted.password else "password")
        if missing:
            raise OptionError(f"oobm_{missing}", None, f"is needed: host {host.name} {why}", item=host.name)

    @staticmethod
    def _other_provider(wanted: WantedHa, host: Host) -> bool:
        """Tell whether HA has to be configured. CloudStack takes the name in any case and stores it in lower case."""
        return (host.ha.provider or "").lower() != wanted.provider.lower()

    # disabled, absent

    @staticmethod
    def _plan_off(wanted: WantedHa, host: Host, before: dict[str, Any]) -> Plan:
        after = {**before, "oobm": dict(before["oobm"]), "ha": dict(before["ha"])}
        changes = []
        if host.ha.enabled:
            changes.append(Change("disable HA", Command("disableHAForHost", {"hostid": host.id}, host.name)))
            after["ha"].update(enabled=False, state=DISABLED)
        if wanted.state == "absent" and host.oobm.enabled:
            write = Command("disableOutOfBandManagementForHost", {"hostid": host.id}, host.name)
            changes.append(Change("disable out-of-band management", write))
            after["oobm"].update(enabled=False, power=DISABLED)
        return Plan(wanted.label, before, after, changes)

    # clusters and zones

    def _plan_area(self, wanted: WantedArea, world: World) -> Plan:
        areas: Sequence[Cluster | Zone] = world.seen.clusters if wanted.kind == "cluster" else world.seen.zones
        area = next((one for one in areas if one.id == wanted.id), None)
        if area is None:
            return Plan(wanted.label, None, None, kind=wanted.kind, refused=OptionError(wanted.kind, wanted.label, "is not there any more"))
        before = {"name": area.name, "id": area.id, "oobm": area.oobm, "ha": area.ha}
        after, changes = dict(before), []
        members = [self.plan(one, world) for one in wanted.members]
        if not all(one.refused for one in members):
            for key, word, action in _SWITCHES:
                if not before[key]:
                    command = Command(f"enable{word}For{wanted.kind.capitalize()}", {f"{wanted.kind}id": area.id}, area.name)
                    changes.append(Change(f"enable {action}", command))
                    after[key] = True
        plan = Plan(wanted.label, before, after, changes, kind=wanted.kind)
        if wanted.kind == "cluster":
            # Here, and not with each host, so that each is said once.
            plan.warnings = list(_warnings([world.by_id[one.before["id"]] for one in members if one.before and one.changes], world))
        if after["ha"] != before["ha"]:
            self._consider_others(wanted, world, plan)
        return plan

    @staticmethod
    def _consider_others(wanted: WantedArea, world: World, plan: Plan) -> None:
        """Warn of hosts that begin to take part in HA without being declared; refuse when one of them also serves storage."""
        declared = {one.id for one in wanted.members}
        others = [
            host for host in world.seen.hosts if getattr(host, wanted.kind).id == wanted.id and host.ha.enabled and host.id not in declared
        ]
        if not others:
            return
        serving = [host.name for host in others if host.node.hyperconverged]
        if serving and not any(one.allow_hyperconverged for one in wanted.members):
            plan.refused = ChangeRefused(
                f"HA of the {wanted.kind} is off, and turning it on would also let CloudStack fence {', '.join(serving)}, "
                "where a StorPool server runs",
                allow_with="allow_hyperconverged: true",
                hint="disable HA of these hosts first (state: disabled), or set allow_hyperconverged: true",
            )
            plan.after, plan.changes = plan.before, ()
            return
        names = ", ".join(host.name for host in others)
        warning = f"HA of {wanted.kind} {wanted.label} was off; on, it also protects hosts that are not declared here: {names}"
        plan.warnings = [warning, *plan.warnings]

    # -- after

    def predict(self, world: World, wanted: WantedHa | WantedArea, plan: Plan) -> None:
        """No plan depends on another: clusters and zones come first, and are not looked at for their hosts."""

    def show(self, document: dict[str, Any]) -> dict[str, Any]:
        """Return a host, cluster or zone for the diff; what options set has their names."""
        if "resource_state" not in document:
            return {key: document[key] for key in ("oobm", "ha")}
        flat = {f"{part}_{key}": value for part in ("oobm", "ha") for key, value in document[part].items()}
        return {"resource_state": document["resource_state"], **flat}


_WAIT_HINT = "CloudStack goes on by itself; mend what is missing, or give it more wait_timeout; storpool_ha_info tells more"


def shown(host: Host) -> dict[str, Any]:
    """Return a host as results show it: never its password, which CloudStack does not tell either."""
    return {
        "name": host.name,
        "id": host.id,
        "zone": host.zone.name,
        "cluster": host.cluster.name,
        "state": host.state,
        "resource_state": host.resource_state,
        "oobm": {"enabled": host.oobm.enabled, **{name: getattr(host.oobm, name) for name in FIELDS}, "power": host.oobm.power},
        "ha": {"enabled": host.ha.enabled, "provider": host.ha.provider, "state": host.ha.state},
    }


# -- may it be


def _check_node(wanted: WantedHa, host: Host) -> None:
    """:raises ChangeRefused: fencing this host would do harm, nobody knows, or nobody could tell that it is dead."""
    node = host.node
    if not wanted.allow_hyperconverged and node.hyperconverged:
        raise ChangeRefused(
            f"host {host.name} is hyper-converged: a StorPool server runs on node {node.id} too, and fencing would stop it, "
            "whatever depends on its disks",
            allow_with="allow_hyperconverged: true",
        )
    if not wanted.allow_hyperconverged and node.hyperconverged is None:
        raise ChangeRefused(
            f"it is not known whether a StorPool server runs on host {host.name}, and fencing would stop it: {node.problem}",
            allow_with="allow_hyperconverged: true",
            hint=f"say which node it is, as in sp_node_ids: {{{host.name}: 11}} (SP_OURID of the host), or set allow_hyperconverged: true",
        )


def _check_neighbours(wanted: WantedHa, host: Host, world: World) -> None:
    """:raises ChangeRefused: the host is alone in its cluster, where nobody could tell that it is dead."""
    others = [one for one in world.seen.hosts if one.cluster.id == host.cluster.id and one.id != host.id]
    if not others and not wanted.allow_single_host_cluster:
        raise ChangeRefused(
            f"host {host.name} is the only one of cluster {host.cluster.name}; CloudStack asks a neighbour, so it would stay Ineligible",
            allow_with="allow_single_host_cluster: true",
            hint="add a host to the cluster, or set allow_single_host_cluster: true (with wait: false) to configure it all the same",
        )


def _check_state(wanted: WantedHa, host: Host) -> None:
    """:raises ChangeRefused: somebody has to act before HA can protect the host, and was not asked to."""
    if host.resource_state == DEGRADED:
        raise ChangeRefused(
            f"host {host.name} was declared degraded, and CloudStack does not speak to its controller",
            hint="call cancelHostAsDegraded first",
        )
    if host.ha.state == FENCED:
        sick = _sickness(host)
        if sick:
            raise ChangeRefused(
                f"host {host.name} was fenced and is not well yet: {sick}",
                hint=f"mend it, then run this {'again' if wanted.recover else 'with recover: true'}",
            )
        if not wanted.recover:
            raise ChangeRefused(
                f"host {host.name} was fenced; CloudStack leaves it alone until somebody ends its maintenance and enables HA again",
                allow_with="recover: true",
            )
        return
    if not wanted.wait:
        return
    if host.resource_state != ENABLED:
        what = "in maintenance" if host.resource_state in MAINTENANCE else "not enabled"
        raise ChangeRefused(
            f"host {host.name} is {what} ({host.resource_state}) and so cannot become {AVAILABLE}",
            hint="end that first, or set wait: false to configure HA all the same",
        )


def _sickness(host: Host) -> str | None:
    """Return why a fenced host cannot be recovered yet, ``None`` when it is well."""
    found = []
    if host.oobm.power == OFF:
        found.append("its power is off")
    if host.state != UP:
        found.append(f"its agent is {host.state}, not Up")
    if host.node.client not in (None, hosts.RUNNING):
        found.append(f"its StorPool client is {host.node.client}")
    return ", ".join(found) or None


def _power_has_to_be_asked_for(wanted: WantedHa, host: Host) -> bool:
    if _power_is_proved(host):
        return False
    looks_by_itself = host.oobm.power == DISABLED and host.cluster.oobm and host.zone.oobm
    return not (looks_by_itself and wanted.wait)


def _power_is_proved(host: Host) -> bool:
    return host.oobm.power == ON or (host.oobm.power == OFF and host.state != UP)


def _warnings(about: Sequence[Host], world: World) -> Iterator[str]:
    """Yield what an operator should know about hosts that are about to be protected; what is the same of several is said once."""
    found: dict[str, list[str]] = {}
    for host in about:
        verdict = judge(host, world.seen.fence, allow_hyperconverged=True)
        for one in (*verdict.reasons, *verdict.warnings):
            if one.code in _WORTH_A_WARNING:
                found.setdefault(f"{one.text} ({one.do})", []).append(host.name)
    for text, names in found.items():
        yield f"{_told(names)}: {text}"


def _told(names: Sequence[str]) -> str:
    some = ", ".join(names[:_MANY])
    return f"host{'s' if len(names) > 1 else ''} {some}" + (f" and {len(names) - _MANY} more" if len(names) > _MANY else "")


# -- waiting


def _learn_power(after: dict[str, Any], answer: Mapping[str, Any]) -> None:
    after["oobm"]["power"] = answer.get("powerstate")


def _learn_power_of_running(after: dict[str, Any], answer: Mapping[str, Any]) -> None:
    """:raises ChangeRefused: the controller says that a machine is off which CloudStack speaks to, so it is the controller of another."""
    _learn_power(after, answer)
    if after["oobm"]["power"] != ON:
        raise ChangeRefused(
            f"the controller at {after['oobm']['address']} says that the power is {after['oobm']['power']}, but host {after['name']} "
            "is Up: it seems to be the controller of another machine",
            hint="correct oobm_address before HA powers off the wrong one",
        )


def _was_looked_at(identity: str, client: CloudStack) -> bool:
    """Tell whether CloudStack has seen that a fenced host is well. It then switches HA off for it; enabling it earlier would be undone."""
    found = client.list("listHosts", "host", id=identity)
    ha = (found[0].get("hostha") or {}) if found else {}
    return ha.get("hastate") != FENCED and ha.get("haenable") is not True


def _missing(identity: str, seen: Observation) -> str | None:
    """Return why a host is not protected yet, ``None`` when it is Available and its controller answers.

    The latter is proved by STATUS before, but enabling out-of-band management, of which an answer may have been lost, makes CloudStack
    forget the power until its next look.
    """
    host = next((one for one in seen.hosts if one.id == identity), None)
    if host is None:
        return "CloudStack does not list it any more"
    if host.ha.state == AVAILABLE and _power_is_proved(host):
        return None
    reasons = [one.text for one in judge(host, seen.fence, allow_hyperconverged=True).reasons if one.code.startswith(_HINDERS)]
    return f"HA of it is {host.ha.state}, not {AVAILABLE} and proved: {'; '.join(reasons) or 'CloudStack tells no reason'}"


def _kind(wanted: WantedHa) -> str:
    return "host" if wanted.host is not None else "cluster" if wanted.cluster is not None else "zone"


def _selection(every: Sequence[WantedHa]) -> hosts.Selection:
    """Return what to read for all entries of a task. A storpool.conf serves the hosts of its entry; node ids may be of any host.

    :raises OptionError: entries give one host several node ids.
    """
    node_ids: dict[str, int] = {}
    for one in every:
        for host, number in one.node_ids.items():
            if node_ids.setdefault(host, number) != number:
                raise OptionError(
                    f"sp_node_ids.{host}", number, f"contradicts {node_ids[host]}, which another entry gives; give the host one node id",
                    item=one.label,
                )  # fmt: skip
    zones = {one.zone for one in every}
    nearest_first = sorted(every, key=lambda one: _KINDS.index(_kind(one)))
    confs = [hosts.OwnConf(one.conf, one.id or one.host, one.cluster, one.zone) for one in nearest_first]
    several = len({one.conf for one in confs}) > 1
    return hosts.Selection(
        zone=zones.pop() if len(zones) == 1 else None, node_ids=node_ids, conf=confs[0].conf, confs=confs if several else ()
    )


HOST_HAS = HostHas()
