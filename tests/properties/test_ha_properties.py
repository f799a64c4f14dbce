# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What holds for host HA however it is declared, over every state in which hosts, clusters and zones can be.

The plans' writes are carried out by a small model of CloudStack, written from the reference sheet without a look at the planner.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import partial
from typing import Any

import planning
from ansible_collections.storpool.cloudstack.plugins.module_utils._errors import CollectionError, OptionError
from ansible_collections.storpool.cloudstack.plugins.module_utils._plan import plan_all, waves
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources.ha import HOST_HAS, WantedArea, World
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources.hosts import (
    Cluster,
    Fence,
    Host,
    HostHa,
    Node,
    Observation,
    Oobm,
    Pool,
    Zone,
)
from ansible_collections.storpool.cloudstack.plugins.modules.storpool_ha import DECLARED
from hypothesis import given
from hypothesis import strategies as st

HOSTS = ["kvm1", "kvm2", "kvm3"]
POOL = Pool("nvme;1", "fast", "StorPool", "StorPool", "Up", "z1", None)
PASSWORD = "bmc-secret-1"
STATES = ["Available", "Ineligible", "Suspect", "Degraded", "Checking", "Recovering", "Recovered", "Fencing", "Fenced"]


class Model:
    """CloudStack as far as host HA is concerned. The controllers of all machines tell the truth."""

    def __init__(self, hosts: list[Host], zones: list[Zone], clusters: list[Cluster]) -> None:
        self.hosts = {host.id: host for host in hosts}
        self.zones = {zone.id: zone for zone in zones}
        self.clusters = {cluster.id: cluster for cluster in clusters}

    def world(self) -> World:
        hosts = tuple(replace(host, zone=self.zones[host.zone.id], cluster=self.clusters[host.cluster.id]) for host in self.hosts.values())
        return World(Observation(hosts, tuple(self.zones.values()), tuple(self.clusters.values()), Fence(False)), ["KVMHAProvider"])

    def send(self, change: Any, after: dict[str, Any]) -> None:
        call, params = change.write.call, dict(change.write.params)
        answer: dict[str, Any] = {}
        for kind, areas in (("Cluster", self.clusters), ("Zone", self.zones)):
            if call.endswith(f"For{kind}"):
                switch = {"enableHA": "ha", "enableOutOfBandManagement": "oobm"}[call.removesuffix(f"For{kind}")]
                identity = params.pop(f"{kind.lower()}id")
                areas[identity] = replace(areas[identity], **{switch: True})
                assert not params
                return
        host = self.hosts[params.pop("id" if call == "cancelHostMaintenance" else "hostid")]
        cluster, zone = self.clusters[host.cluster.id], self.zones[host.zone.id]
        ha, oobm = host.ha, host.oobm
        if call == "configureOutOfBandManagement":
            password = params.pop("password")
            assert password and all(params.values()), "CloudStack takes all of it at once"
            oobm = replace(oobm, **params)
        elif call == "enableOutOfBandManagementForHost":
            assert oobm.configured
            oobm = replace(oobm, enabled=True, power="Disabled")
        elif call == "issueOutOfBandManagementPowerAction":
            assert params == {"action": "STATUS"} and oobm.configured and oobm.enabled and cluster.oobm and zone.oobm
            oobm = replace(oobm, power="On" if host.state == "Up" else "Off")
            answer = {"outofbandmanagement": {"powerstate": oobm.power}}
        elif call == "configureHAForHost":
            ha = replace(ha, provider=params["provider"].lower())
        elif call == "enableHAForHost":
            assert ha.provider
            up = host.state == "Up" and host.resource_state == "Enabled"
            ha = replace(ha, enabled=True, state="Available" if up else "Ineligible")
        elif call == "cancelHostMaintenance":
            host = replace(host, resource_state="Enabled")
        elif call == "disableHAForHost":
            ha = replace(ha, enabled=False, state="Disabled")
        elif call == "disableOutOfBandManagementForHost":
            oobm = replace(oobm, enabled=False, power="Disabled")
        else:
            raise AssertionError(call)
        self.hosts[host.id] = replace(host, ha=ha, oobm=oobm)
        for key, take in change.learn.items():
            take(after, answer[key])

    def looked_at(self) -> None:
        """CloudStack's own look at hosts and controllers, which goes on all the time."""
        for host in list(self.hosts.values()):
            cluster, zone = self.clusters[host.cluster.id], self.zones[host.zone.id]
            ha, oobm = host.ha, host.oobm
            if oobm.enabled and oobm.configured and cluster.oobm and zone.oobm:
                oobm = replace(oobm, power="On" if host.state == "Up" else "Off")
            well = host.state == "Up" and host.resource_state == "Enabled" and cluster.ha and zone.ha
            if ha.enabled and ha.state != "Fenced":
                ha = replace(ha, state="Available" if well else "Ineligible")
            self.hosts[host.id] = replace(host, ha=ha, oobm=oobm)

    def state(self) -> tuple[Any, ...]:
        return self.world().seen.hosts, self.world().seen.zones, self.world().seen.clusters


flags = st.booleans()


@st.composite
def models(draw):
    zone = Zone("z1", "sofia", draw(flags), draw(flags))
    clusters = [Cluster(f"c{number}", f"rack{number}", "z1", draw(flags), draw(flags)) for number in (1, 2)]
    hosts = []
    for number, name in enumerate(draw(st.lists(st.sampled_from(HOSTS), unique=True, min_size=1)), 1):
        configured = draw(flags)
        about = ("ipmitool", "10.0.0.1", "623", "ADMIN") if configured else (None, None, None, None)
        on = configured and draw(flags)
        power = draw(st.sampled_from(["On", "Off", "Unknown", "Disabled"])) if on else "Disabled"
        provider = draw(st.sampled_from([None, "kvmhaprovider", "other"]))
        enabled = provider is not None and draw(flags)
        ha_state = draw(st.sampled_from(STATES)) if enabled else "Disabled"
        hosts.append(
            Host(
                id=f"h{number}",
                name=name,
                zone=zone,
                cluster=draw(st.sampled_from(clusters)),
                pod="pod1",
                address=f"10.1.0.{number}",
                state=draw(st.sampled_from(["Up", "Up", "Up", "Down", "Alert"])),
                resource_state=draw(st.sampled_from(["Enabled", "Enabled", "Enabled", "Maintenance", "Disabled", "Degraded"])),
                version="4.20.2.0",
                ha=HostHa(enabled, ha_state, provider),
                oobm=Oobm(on, power, *about),
                node=Node(number, "sp_node_ids", "sf.a", "running", draw(st.sampled_from([False, False, True, None])), "for some reason"),
                peers=("other",),
                pools=(POOL,),
                instances=True,
            )
        )
    used = {host.cluster.id for host in hosts}
    return Model(hosts, [zone], [one for one in clusters if one.id in used])


@st.composite
def wishes(draw):
    """Options of one entry as somebody might write them; not all of them make sense together."""
    kind = draw(st.sampled_from(["host", "host", "cluster", "zone"]))
    names = {"host": [*HOSTS, "h1", "no-such"], "cluster": ["rack1", "c2"], "zone": ["sofia", "z1"]}
    options: dict[str, Any] = {
        kind: draw(st.sampled_from(names[kind])),
        "state": draw(st.sampled_from(["enabled", "enabled", "enabled", "disabled", "absent"])),
        "oobm_address": draw(st.sampled_from([None, "10.0.0.1", "10.0.0.2"])) if kind == "host" else None,
        "oobm_username": draw(st.sampled_from([None, "ADMIN", "root"])),
        "oobm_password": draw(st.sampled_from([None, PASSWORD, PASSWORD])),
        "oobm_port": draw(st.sampled_from([None, 623, 624])),
        "allow_hyperconverged": draw(flags),
        "allow_single_host_cluster": draw(st.sampled_from([True, True, False])),
        "recover": draw(flags),
        "wait": draw(flags),
        "ha_provider": draw(st.sampled_from([None, None, "kvmhaprovider", "no-such"])),
    }
    return {key: value for key, value in options.items() if value is not None}


parsed = partial(planning.parsed, DECLARED)


def planned(model, entries):
    world = model.world()
    wanted = HOST_HAS.spread(entries, world)
    groups = waves(wanted, "hosts")
    return wanted, groups, plan_all(HOST_HAS, wanted, groups, world)


def carried_out(model, groups, plans):
    for group in groups:
        for position in group:
            for change in plans[position].changes:
                model.send(change, plans[position].after)


def without_states(document: dict[str, Any]) -> dict[str, Any]:
    """A host without what CloudStack finds out by itself: whether it is available, and what its power is."""
    if "resource_state" not in document:
        return document
    return {**document, "oobm": {**document["oobm"], "power": None}, "ha": {**document["ha"], "state": None}}


def held(model):
    found = {}
    for area in (*model.zones.values(), *model.clusters.values()):
        found[area.id] = {"name": area.name, "id": area.id, "oobm": area.oobm, "ha": area.ha}
    for host in model.hosts.values():
        oobm = {"enabled": host.oobm.enabled, "driver": host.oobm.driver, "address": host.oobm.address, "port": host.oobm.port}
        found[host.id] = {
            "name": host.name, "id": host.id, "zone": host.zone.name, "cluster": host.cluster.name, "state": host.state,
            "resource_state": host.resource_state, "oobm": {**oobm, "username": host.oobm.username, "power": None},
            "ha": {"enabled": host.ha.enabled, "provider": host.ha.provider, "state": None},
        }  # fmt: skip
    return found


@given(models(), st.lists(wishes(), min_size=1, max_size=3))
def test_what_is_declared_comes_to_be(model, options):
    """The planner never raises; what it predicts comes to be; once CloudStack has looked, nothing is left to do."""
    entries = [parsed(one) for one in options]
    try:
        wanted, groups, plans = planned(model, entries)
    except OptionError as exc:
        assert "is declared twice" in str(exc)
        return
    for plan in plans:
        assert plan.refused is None or (isinstance(plan.refused, CollectionError) and not plan.changes)
        assert PASSWORD not in repr((plan.before, plan.after, plan.notes, plan.warnings, plan.beside, str(plan.refused)))
    if any(plan.refused for plan in plans):
        return
    carried_out(model, groups, plans)
    now = held(model)
    for plan in plans:
        assert without_states(plan.after) == now[plan.after["id"]]
    model.looked_at()
    for one in wanted:
        if isinstance(one, WantedArea) or one.state != "enabled":
            continue
        host = model.hosts[one.id]
        assert host.ha.enabled and host.oobm.enabled and host.oobm.configured
        assert host.ha.state == "Available" or not one.wait or host.state != "Up"
    _wanted, _groups, again = planned(model, [replace(one, password_always=False) for one in entries])
    assert [plan.changes for plan in again if plan.changes] == [] and not any(plan.refused for plan in again)


@given(models(), st.lists(wishes(), min_size=2, max_size=3), st.randoms())
def test_the_order_of_a_list_does_not_matter(model, options, random):
    mixed = list(options)
    random.shuffle(mixed)
    ends = []
    for order in (options, mixed):
        there = copy.deepcopy(model)
        try:
            _wanted, groups, plans = planned(there, [parsed(one) for one in order])
        except OptionError:
            ends.append("twice")
            continue
        if any(plan.refused for plan in plans):
            ends.append("refused")
            continue
        carried_out(there, groups, plans)
        ends.append(there.state())
    assert ends[0] == ends[1]


@given(models(), wishes())
def test_hyperconverged_hosts_are_never_enabled_unasked(model, options):
    entry = parsed({**options, "allow_hyperconverged": False})
    _wanted, _groups, plans = planned(model, [entry])
    for plan in plans:
        if plan.changes and "resource_state" in plan.before and entry.state == "enabled":
            assert model.hosts[plan.before["id"]].node.hyperconverged is False
