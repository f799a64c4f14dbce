# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 4: KVM hosts as host HA sees them, read from CloudStack and StorPool with as few calls as can be.

:func:`observe` takes a client and a :class:`Selection` and returns an :class:`Observation`: plain frozen data, the same for the module that
tells (``storpool_ha_info``) and the one that changes (``storpool_ha``). All listings but that of events come whole, in one call each:

- CloudStack: ``listZones``, ``listClusters``, ``listStoragePools``, ``listHosts``, ``listConfigurations``; and ``listManagementServers``
  and the pages of ``listEvents`` when the fence setting is not the default or several pools make it matter.
- StorPool: one call for each location. When clusters of a location have clients of the same id in different states, one more for each of
  those clusters.

**Which StorPool node a host is.** CloudStack keeps the node id of a host in its database only (column ``parent`` of the host table), no
call of its API tells it, and no call of StorPool's tells the name of a host. So the id comes, in this order, from what the user gives
(:attr:`Selection.node_ids`), and from the section of the host in ``/etc/storpool.conf`` where the task runs, which StorPool's nodes usually
share (``[kvm11]`` with ``SP_OURID``). Else it is ``None``, with the reason in :attr:`Node.problem`. Which StorPool *cluster* a host belongs
to, CloudStack tells: ``sp.cluster.id``, which it notes for a cluster when its hosts connect, is among the details of that cluster.

Facts: reference sheet cloudstack-storpool, sections 1.4, 2.2, 2.4 and 3; cloudstack-api, section 8.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from .._cloudstack import CloudStack, pick
from .._errors import ApiError, OptionError
from .._options import read_node_ids
from .._storpool import StorPool
from .._units import parse_whole

FENCE = "kvm.ha.fence.on.storage.heartbeat.failure"
SP_CLUSTER_ID = "sp.cluster.id"
HA_SWITCH, OOBM_SWITCH = "resourceHAEnabled", "outOfBandManagementEnabled"  # details of clusters and zones; absent means enabled
HA_POOLS = ("StorPool", "NetworkFilesystem")  # types of pools that have a heartbeat (sheet 2.3)
UP, RUNNING, ENABLED = "Up", "running", "Enabled"
_UNSET = ("", "n/a", None)
_CHANGED = "CONFIGURATION.VALUE.EDIT"  # type of the event of a changed setting
_EVENTS_KEPT = 14 * 86400  # seconds; the default of event.purge.delay is 15 days
_LONGEST_ID = 4095


# -- what is asked for


@dataclass(frozen=True)
class OwnConf:
    """The storpool.conf that one entry of a task names for its hosts: for one, or for those of a cluster or a zone, by name or id."""

    conf: str | None
    host: str | None = None
    cluster: str | None = None
    zone: str | None = None

    def serves(self, raw: Mapping[str, Any], cluster: Cluster, zone: Zone) -> bool:
        about = ((self.host, raw["name"], raw["id"]), (self.cluster, cluster.name, cluster.id), (self.zone, zone.name, zone.id))
        return all(given is None or given in known for given, *known in about)


@dataclass(frozen=True)
class Selection:
    """Which hosts, each by name or id; what is left out does not narrow it. All that is given holds at once.

    ``node_ids``: StorPool node id by name or id of a host; it may name hosts that are not selected. ``conf`` is the storpool.conf in which
    the others are looked for, ``None`` for ``/etc/storpool.conf``. Where entries of a task name several, ``confs`` has each with the hosts
    that it is for, of which the first that fits counts; a host that none is for is looked for in all of them.
    """

    hosts: Sequence[str] = ()
    cluster: str | None = None
    zone: str | None = None
    node_ids: Mapping[str, int] = field(default_factory=dict)
    conf: str | None = None
    confs: Sequence[OwnConf] = ()


def parse_node_ids(value: Mapping[str, Any] | None, option: str = "sp_node_ids") -> dict[str, int]:
    """Return node ids by host. :raises OptionError: one is no node id (1 to 4095)."""
    found = {}
    for host, given in (value or {}).items():
        number = parse_whole(given, 1, _LONGEST_ID)
        if number is None:
            raise OptionError(f"{option}.{host}", given, f"is no StorPool node id (1 to {_LONGEST_ID}, SP_OURID on that host)")
        found[str(host)] = number
    return found


# -- what there is


@dataclass(frozen=True)
class HostHa:
    """``hostha`` of a host. ``provider`` is ``None`` while host HA is not configured, else lower case (``kvmhaprovider``)."""

    enabled: bool = False
    state: str = "Disabled"
    provider: str | None = None


@dataclass(frozen=True)
class Oobm:
    """``outofbandmanagement`` of a host, without the password, which the API never tells. ``driver`` is ``None`` when not configured.

    ``power`` is what CloudStack saw last: On, Off, Unknown (the controller does not answer) or Disabled (not looked at).
    """

    enabled: bool = False
    power: str = "Disabled"
    driver: str | None = None
    address: str | None = None
    port: str | None = None
    username: str | None = None

    @property
    def configured(self) -> bool:
        return bool(self.driver and self.address)


@dataclass(frozen=True)
class Pool:
    """A primary storage pool that has a heartbeat. ``cluster`` is ``None`` for one of the whole zone (ids both)."""

    id: str
    name: str
    provider: str
    kind: str
    state: str
    zone: str
    cluster: str | None

    @property
    def is_storpool(self) -> bool:
        return self.kind == "StorPool"


@dataclass(frozen=True)
class Zone:
    """A zone. ``ha`` and ``oobm`` are its switches, ``fence`` its own value of the fence setting, which CloudStack never reads."""

    id: str
    name: str
    ha: bool = True
    oobm: bool = True
    fence: str | None = None


@dataclass(frozen=True)
class Cluster:
    """A cluster. ``ha`` and ``oobm`` are its switches, ``storpool`` the id of the StorPool cluster of its hosts (``sf.a``), if known."""

    id: str
    name: str
    zone: str
    ha: bool = True
    oobm: bool = True
    storpool: str | None = None


@dataclass(frozen=True)
class Node:
    """The StorPool node of a host.

    ``id`` is ``None`` when it cannot be told; ``source`` says where it is from (``sp_node_ids`` or ``storpool.conf``). ``client`` is the
    state of its client service, ``running`` or ``down``, and ``None`` when StorPool knows no such client or was not to be asked.
    ``hyperconverged``: a StorPool server is known on the same node; ``None`` when that is not known. ``problem`` says why something is
    not known.
    """

    id: int | None = None
    source: str | None = None
    cluster: str | None = None
    client: str | None = None
    hyperconverged: bool | None = None
    problem: str | None = None


@dataclass(frozen=True)
class Host:
    """A KVM host. ``peers`` are the names of the other hosts of its cluster that are Up.

    ``instances``: whether anything is placed on it, system VMs too, or was within the hour that CloudStack reserves room for what was
    stopped (it is read from the memory allocated there); ``None`` when CloudStack does not tell.
    """

    id: str
    name: str
    zone: Zone
    cluster: Cluster
    pod: str | None
    address: str | None
    state: str
    resource_state: str
    version: str | None
    ha: HostHa
    oobm: Oobm
    node: Node
    peers: tuple[str, ...]
    pools: tuple[Pool, ...]
    instances: bool | None


@dataclass(frozen=True)
class Fence:
    """The setting :data:`FENCE`, the global value of which alone CloudStack reads, once, when a management server starts.

    ``value`` is what CloudStack shows; ``None`` when this CloudStack does not have the setting. ``changed`` says whether somebody set it
    since the management server that has run longest was started, ``None`` when that cannot be told; it is asked for where it matters.
    """

    value: bool | None = None
    default: bool = False
    dynamic: bool = False
    changed: bool | None = False

    @property
    def in_force(self) -> bool | None:
        """Whether the shown value is the one that CloudStack works with; ``False``: it waits for a restart of all management servers.

        ``None`` when it cannot be told: the servers have run longer than events are kept. A default counts as never changed then.
        """
        if self.value is None:
            return None
        if self.dynamic or (self.changed is None and self.value == self.default):
            return True
        return None if self.changed is None else not self.changed


@dataclass(frozen=True)
class Observation:
    """What was read: ``hosts`` are the selected ones by name; ``zones`` and ``clusters`` those that they are in."""

    hosts: tuple[Host, ...]
    zones: tuple[Zone, ...]
    clusters: tuple[Cluster, ...]
    fence: Fence


# -- reading


def observe(client: CloudStack, selection: Selection) -> Observation:
    """Read all that host HA depends on, for the selected hosts.

    :raises OptionError: a host, cluster or zone of that name does not exist, or several do.
    :raises CollectionError: CloudStack refused or is not to be reached; StorPool is not to be reached. A StorPool cluster that refuses to
        answer is told in :attr:`Node.problem` of its hosts.
    """
    raw_zones = client.list("listZones", "zone", unlimited=True)
    raw_clusters = client.list("listClusters", "cluster", unlimited=True, hypervisor="KVM")
    within: dict[str, str] = {}
    if selection.zone is not None:
        within["zoneid"] = pick(raw_zones, selection.zone, "zone")["id"]
        raw_clusters = [one for one in raw_clusters if one["zoneid"] == within["zoneid"]]
    if selection.cluster is not None:
        within["clusterid"] = pick(raw_clusters, selection.cluster, "cluster")["id"]
    raw_hosts = client.list("listHosts", "host", unlimited=True, type="Routing", hypervisor="KVM", **within)
    # What was moved or removed between two readings stands in one of them alone.
    known = {one["id"] for one in (*raw_zones, *raw_clusters)}
    raw_hosts = [one for one in raw_hosts if one["zoneid"] in known and one["clusterid"] in known]
    chosen = _chosen(raw_hosts, selection)
    zones = {one["id"]: _zone(one) for one in raw_zones}
    clusters = {one["id"]: _cluster(one) for one in raw_clusters}
    pools = [_pool(one) for one in client.list("listStoragePools", "storagepool", unlimited=True) if one.get("type") in HA_POOLS]
    nodes = _nodes(client.storpool, chosen, clusters, zones, selection)
    hosts = tuple(_host(raw, zones, clusters, nodes[raw["id"]], raw_hosts, pools) for raw in chosen)
    return Observation(
        hosts,
        _each(host.zone for host in hosts),
        _each(host.cluster for host in hosts),
        _fence(client, any(len(host.pools) > 1 for host in hosts)),
    )


def look_again(client: CloudStack, seen: Observation) -> Observation:
    """Read again what changes by itself or by changes to hosts: their states, HA, out-of-band management and neighbours; one call.

    Zones, clusters, pools, nodes and the fence setting are as they were ``seen``. Hosts that are not listed any more are left out.
    """
    within = {"zoneid": seen.zones[0].id} if len(seen.zones) == 1 else {}
    raw_hosts = client.list("listHosts", "host", unlimited=True, type="Routing", hypervisor="KVM", **within)
    zones = {one.id: one for one in seen.zones}
    clusters = {one.id: one for one in seen.clusters}
    found = {raw["id"]: raw for raw in raw_hosts}
    now = tuple(_host(found[one.id], zones, clusters, one.node, raw_hosts, one.pools) for one in seen.hosts if one.id in found)
    return replace(seen, hosts=now)


def _chosen(found: Sequence[Mapping[str, Any]], selection: Selection) -> list[Mapping[str, Any]]:
    """Return the selected ones, each once, by name. :raises OptionError: one does not exist, or several have its name."""
    chosen = found
    if selection.hosts:
        chosen = {one["id"]: one for one in (pick(found, name, "host") for name in selection.hosts)}.values()
    return sorted(chosen, key=lambda one: (one["name"], one["id"]))


def _each(found: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(sorted({one.id: one for one in found}.values(), key=lambda one: (one.name, one.id)))


def _switches(raw: Mapping[str, Any]) -> dict[str, bool]:
    details = raw.get("resourcedetails") or {}
    return {name: str(details.get(key, "true")).lower() != "false" for name, key in (("ha", HA_SWITCH), ("oobm", OOBM_SWITCH))}


def _zone(raw: Mapping[str, Any]) -> Zone:
    return Zone(raw["id"], raw["name"], fence=(raw.get("resourcedetails") or {}).get(FENCE), **_switches(raw))


def _cluster(raw: Mapping[str, Any]) -> Cluster:
    storpool = (raw.get("resourcedetails") or {}).get(SP_CLUSTER_ID)
    return Cluster(raw["id"], raw["name"], raw["zoneid"], storpool=None if storpool in _UNSET else str(storpool), **_switches(raw))


def _pool(raw: Mapping[str, Any]) -> Pool:
    return Pool(
        raw["id"], raw["name"], raw.get("provider", ""), raw["type"], raw.get("state", ""), raw.get("zoneid", ""), raw.get("clusterid")
    )


def _host(
    raw: Mapping[str, Any],
    zones: Mapping[str, Zone],
    clusters: Mapping[str, Cluster],
    node: Node,
    every: Sequence[Mapping[str, Any]],
    pools: Sequence[Pool],
) -> Host:
    cluster = clusters[raw["clusterid"]]
    ha, oobm = raw.get("hostha") or {}, raw.get("outofbandmanagement") or {}
    memory = raw.get("memoryallocatedbytes", raw.get("memoryallocated"))
    return Host(
        id=raw["id"],
        name=raw["name"],
        zone=zones[raw["zoneid"]],
        cluster=cluster,
        pod=raw.get("podname"),
        address=raw.get("ipaddress"),
        state=raw.get("state", "Unknown"),
        resource_state=raw.get("resourcestate", "Unknown"),
        version=raw.get("version"),
        ha=HostHa(bool(ha.get("haenable")), ha.get("hastate") or "Disabled", ha.get("haprovider")),
        oobm=Oobm(
            bool(oobm.get("enabled")),
            oobm.get("powerstate") or "Disabled",
            *(oobm.get(name) for name in ("driver", "address", "port", "username")),
        ),
        node=node,
        peers=tuple(
            sorted(one["name"] for one in every if one["clusterid"] == cluster.id and one["id"] != raw["id"] and one.get("state") == UP)
        ),
        pools=tuple(pool for pool in pools if pool.zone == raw["zoneid"] and pool.cluster in (None, cluster.id)),
        instances=None if memory is None else memory > 0,
    )


# the fence setting


def _fence(client: CloudStack, several_pools: bool) -> Fence:
    """Return the fence setting. The name of listConfigurations may match others too, so it is compared again.

    With one pool and the default, nobody has to know whether another value is still in force: both mean the same then.
    """
    rows = client.list("listConfigurations", "configuration", name=FENCE)
    raw = next((one for one in rows if one["name"] == FENCE), None)
    if raw is None:
        return Fence()
    default = str(raw.get("defaultvalue", "false")).lower() == "true"
    shown = str(raw["value"]).lower() == "true" if raw.get("value") else default
    dynamic = raw.get("isdynamic") is True
    matters = not dynamic and (shown != default or several_pools)
    if "foreseen" in raw:
        # An earlier task of a check run would set it; nobody knows whether its playbook restarts the servers before this one.
        return Fence(shown, default, dynamic, None if matters else False)
    return Fence(shown, default, dynamic, _changed_since_start(client) if matters else False)


def _changed_since_start(client: CloudStack) -> bool | None:
    """Return whether the setting was changed since the management server that has run longest was started, ``None``: it cannot be told.

    An event of the right type tells of it, and its description names the setting; one that names none (a reset) may be about it. So may
    one about the value of a zone: then a restart is asked for that would not be needed. In the same second counts as since.
    """
    servers = client.list("listManagementServers", "managementserver", unlimited=True)
    started = [one.get("lastserverstart") for one in servers if one.get("state") == UP]
    moments = [_moment(one) for one in started]
    if not moments or None in moments:
        return None
    first = min(range(len(moments)), key=moments.__getitem__)
    try:
        found = client.list("listEvents", "event", type=_CHANGED, startdate=started[first], listall=True)
    except ApiError:
        return None  # a role that may not see events
    texts = [one.get("description", "") for one in found if one.get("level") != "ERROR" and one.get("type") == _CHANGED]
    if any(FENCE in text or "Name:" not in text for text in texts):
        return True
    return None if time.time() - moments[first] > _EVENTS_KEPT else False


def _moment(text: str | None) -> float | None:
    """Return a date of the API (``2026-11-22T18:13:24+0000``) in UNIX seconds."""
    try:
        return datetime.strptime(str(text), "%Y-%m-%dT%H:%M:%S%z").timestamp()
    except ValueError:
        return None


# the StorPool side


@dataclass(frozen=True)
class _Services:
    """What one StorPool cluster tells of its clients (by node) and servers (nodes)."""

    clients: Mapping[int, str] = field(default_factory=dict)
    servers: frozenset[int] = frozenset()
    problem: str | None = None

    def facts(self, node: int) -> tuple[str | None, bool]:
        return self.clients.get(node), node in self.servers


def _services(raw: Mapping[str, Any]) -> _Services:
    clients = {int(one.get("nodeId", key)): one["status"] for key, one in (raw.get("clients") or {}).items()}
    return _Services(clients, frozenset(int(one.get("nodeId", key)) for key, one in (raw.get("servers") or {}).items()))


def _nodes(
    storpool: StorPool,
    chosen: Sequence[Mapping[str, Any]],
    clusters: Mapping[str, Cluster],
    zones: Mapping[str, Zone],
    selection: Selection,
) -> dict[str, Node]:
    """Return the StorPool node of each host, by the host's id."""
    confs = selection.confs or (OwnConf(selection.conf),)
    named = {conf: read_node_ids(conf) for conf in dict.fromkeys(one.conf for one in confs)}
    nodes = {}
    for raw in chosen:
        cluster = clusters[raw["clusterid"]]
        own = [one.conf for one in confs if one.serves(raw, cluster, zones[raw["zoneid"]])][:1] or named
        nodes[raw["id"]] = _identify(raw, cluster.storpool, selection.node_ids, [named[conf] for conf in own])
    taken: dict[tuple[str | None, int], list[str]] = {}
    for raw in chosen:
        node = nodes[raw["id"]]
        if node.id is not None:
            taken.setdefault((node.cluster, node.id), []).append(raw["name"])
    wanted: dict[str | None, set[int]] = {}
    for cluster, number in taken:
        wanted.setdefault(cluster, set()).add(number)
    known = _ask(storpool, wanted)
    for raw in chosen:
        node = nodes[raw["id"]]
        if node.id is not None:
            nodes[raw["id"]] = _seen(node, known[node.cluster, node.id], taken[node.cluster, node.id])
    return nodes


def _identify(raw: Mapping[str, Any], cluster: str | None, given: Mapping[str, int], files: Sequence[Mapping[str, int]]) -> Node:
    """Return the node id of a host, as far as it can be told. A host may be known by its name without the domain in storpool.conf."""
    for key in (raw["name"], raw["id"]):
        if key in given:
            return Node(given[key], "sp_node_ids", cluster)
    for key in (raw["name"], raw["name"].partition(".")[0]):
        told = sorted({named[key] for named in files if key in named})
        if len(told) == 1:
            return Node(told[0], "storpool.conf", cluster)
        if told:
            return Node(cluster=cluster, problem=f"the files of storpool_conf disagree about it: {', '.join(map(str, told))}")
    return Node(cluster=cluster, problem="neither sp_node_ids nor a section of storpool.conf tells it, and no call of either system does")


def _seen(node: Node, found: _Services, hosts: Sequence[str]) -> Node:
    if len(hosts) > 1:
        problem = f"node id {node.id} is told of {len(hosts)} hosts of StorPool cluster {node.cluster or '?'}: {', '.join(sorted(hosts))}"
        return Node(None, node.source, node.cluster, problem=problem)
    client, server = found.facts(node.id)
    problem = found.problem
    if not problem and client is None:
        problem = f"StorPool cluster {node.cluster or '?'} has no client on node {node.id}"
    return Node(node.id, node.source, node.cluster, client, None if found.problem else server, problem)


def _ask(storpool: StorPool, wanted: Mapping[str | None, set[int]]) -> dict[tuple[str | None, int], _Services]:
    """Return what StorPool tells of the nodes in each cluster; ``None`` is the cluster of the connection.

    Clusters of one location are asked with one call, the answer of which does not say which is which. That is no matter as long as they
    tell the same of a node, or only one knows it; else the clusters are asked one by one.
    """
    known: dict[tuple[str | None, int], _Services] = {}
    locations: dict[str, list[str]] = {}
    for cluster in wanted:
        if cluster is not None:
            locations.setdefault(cluster.partition(".")[0], []).append(cluster)
    single = len(wanted) == 1
    for _location, clusters in sorted(locations.items()):
        together = _together(storpool, clusters) if len(clusters) > 1 else None
        for cluster in clusters:
            told = {number: _agreed(together, number) for number in wanted[cluster]}
            if None in told.values():
                alone = _alone(storpool, cluster, single)
                told = dict.fromkeys(told, alone)
            known.update({(cluster, number): one for number, one in told.items()})
    if None in wanted:
        here = _services(storpool.services())
        known.update({(None, number): here for number in wanted[None]})
    return known


def _together(storpool: StorPool, clusters: Sequence[str]) -> list[_Services] | None:
    """Return what all clusters of a location tell, or ``None`` when not all answered."""
    try:
        found = storpool.services_of_location(min(clusters))
    except ApiError:
        return None
    return [_services(one) for one in found] if None not in found and len(found) >= len(clusters) else None


def _agreed(together: Sequence[_Services] | None, number: int) -> _Services | None:
    """Return what is told of a node in whichever of the clusters, or ``None`` when that is not one thing."""
    if together is None:
        return None
    fits = [one for one in together if one.facts(number) != (None, False)]
    return (fits or together)[0] if len({one.facts(number) for one in fits}) <= 1 else None


def _alone(storpool: StorPool, cluster: str, single: bool) -> _Services:
    """Return what one cluster tells. Where only one is asked for and the connection's knows no other, that is the one."""
    try:
        return _services(storpool.services_of(cluster))
    except ApiError as exc:
        if single and len(storpool.clusters()) < 2:
            return _services(storpool.services())
        return _Services(problem=f"StorPool cluster {cluster} did not answer: {exc.name}: {exc.description}")
