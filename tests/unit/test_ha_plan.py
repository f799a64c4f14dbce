# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Host HA: what is declared, which hosts it means, what is planned for them, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from ansible_collections.storpool.cloudstack.plugins.module_utils._errors import ChangeRefused, OptionError
from ansible_collections.storpool.cloudstack.plugins.module_utils._plan import plan_all, waves
from ansible_collections.storpool.cloudstack.plugins.module_utils._shown import shown_options
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources import hosts
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources.ha import HOST_HAS, World
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources.ha_verdict import MAINTENANCE
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources.hosts import (
    Cluster,
    Fence,
    Host,
    HostHa,
    Node,
    Observation,
    Oobm,
    OwnConf,
    Pool,
    Zone,
)
from ansible_collections.storpool.cloudstack.plugins.modules.storpool_ha import DECLARED
from things import actions, calls, sound

SOFIA = Zone("z1", "sofia")
KVM1, KVM2 = Cluster("c1", "kvm1", "z1"), Cluster("c2", "kvm2", "z1")
POOL = Pool("nvme;1", "fast", "StorPool", "StorPool", "Up", "z1", None)
CONFIGURED = Oobm(True, "On", "ipmitool", "10.0.0.1", "623", "ADMIN")
PROTECTED = HostHa(True, "Available", "kvmhaprovider")
OFFERED = {"oobm_address": "10.0.0.1", "oobm_username": "ADMIN", "oobm_password": "bmc-secret"}
FRESH = [
    ("configureOutOfBandManagement", {"hostid": "h1", "driver": "ipmitool", "address": "10.0.0.1", "port": "623", "username": "ADMIN",
                                      "password": "bmc-secret"}),
    ("enableOutOfBandManagementForHost", {"hostid": "h1"}),
    ("issueOutOfBandManagementPowerAction", {"hostid": "h1", "action": "STATUS"}),
    ("configureHAForHost", {"hostid": "h1", "provider": "KVMHAProvider"}),
    ("enableHAForHost", {"hostid": "h1"}),
]  # fmt: skip


def host(number=1, cluster=KVM1, **more):
    every = {
        "id": f"h{number}", "name": f"kvm{number}", "zone": SOFIA, "cluster": cluster, "pod": "pod1", "address": f"10.1.0.{number}",
        "state": "Up", "resource_state": "Enabled", "version": "4.20.2.0", "ha": HostHa(), "oobm": Oobm(),
        "node": Node(number, "sp_node_ids", "sf.a", "running", False), "peers": ("other",), "pools": (POOL,), "instances": True,
    }  # fmt: skip
    return Host(**{**every, **more})


def world(*hosts, providers=("KVMHAProvider",), fence=None):
    every = hosts or (host(1), host(2))
    zones = {one.zone.id: one.zone for one in every}
    clusters = {one.cluster.id: one.cluster for one in every}
    return World(Observation(tuple(every), tuple(zones.values()), tuple(clusters.values()), fence or Fence(False)), list(providers))


def wanted(**options):
    every = {name: spec.get("default") for name, spec in DECLARED.item.items()}
    return HOST_HAS.parse({**every, **options}, 0.0)


def plans(there, *entries):
    every = HOST_HAS.spread([wanted(**entry) for entry in entries], there)
    return [sound(one) for one in plan_all(HOST_HAS, every, waves(every, "hosts"), there)]


def plan(there, **options):
    return plans(there, {"host": "kvm1", **options})[0]


def refused(made, kind, problem):
    assert isinstance(made.refused, kind) and problem in str(made.refused), made.refused
    assert not made.changes and made.after == made.before


# -- what is declared


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, "option host is needed, or cluster or zone"),
        ({"cluster": "c", "oobm_address": "1.1.1.1"}, "option oobm_address of cluster c: '1.1.1.1' is that of one host, not of a cluster"),
        ({"host": ""}, "option host: '' is empty"),
        ({"host": "h", "oobm_username": " "}, "option oobm_username: ' ' is empty"),
        ({"host": "h", "oobm_port": 0}, r"option oobm_port of h: '?0'? is no port"),
        ({"host": "h", "oobm_port": 65536}, r"option oobm_port of h: '?65536'? is no port"),
        ({"host": "h", "update_password": "always"}, "option update_password of h: 'always' needs oobm_password"),
        ({"host": "h", "sp_node_ids": {"h": 0}}, "is no StorPool node id"),
        ({"host": "h", "ha_provider": ""}, "option ha_provider: '' is empty"),
    ],
)
def test_what_cannot_be_meant(options, problem):
    with pytest.raises(OptionError, match=problem):
        wanted(**options)


@pytest.mark.parametrize("port", [1, 65535])
def test_the_first_and_the_last_port(port):
    assert wanted(host="h", oobm_port=port).oobm["port"] == str(port)


def test_the_password_is_hidden():
    assert "bmc-secret" not in repr(wanted(host="h", **OFFERED))
    assert "bmc-secret" not in str(shown_options(DECLARED, {"host": "h", **OFFERED, "hosts": [{"host": "h", **OFFERED}]}))


def test_a_host_that_there_is_not():
    assert "option host: 'kvm1' does not exist in CloudStack; there are: kvm2" in str(plan(world(host(2))).refused)
    (known,) = (one for one in HOST_HAS.spread([wanted(host="kvm1", state="disabled")], world()) if not hasattr(one, "members"))
    removed = HOST_HAS.plan(known, world(host(2)))
    assert "option host: 'kvm1' is no KVM host of this CloudStack" in str(removed.refused), "somebody has removed it since"


# -- which hosts are meant


def names(there, *entries):
    return [one.label for one in HOST_HAS.spread([wanted(**entry) for entry in entries], there) if not hasattr(one, "members")]


def test_clusters_and_zones_stand_for_their_hosts():
    there = world(host(1), host(2), host(3, KVM2))
    assert names(there, {"cluster": "kvm1"}) == ["kvm1", "kvm2"]
    assert names(there, {"cluster": "c2"}) == ["kvm3"]
    assert names(there, {"zone": "sofia"}) == ["kvm1", "kvm2", "kvm3"]
    assert names(there, {"zone": "sofia"}, {"cluster": "kvm2"}, {"host": "kvm2"}) == ["kvm1", "kvm3", "kvm2"], "the nearer entry counts"


def test_a_host_of_its_own_is_as_it_says():
    there = world(host(1, ha=PROTECTED, oobm=CONFIGURED), host(2, ha=PROTECTED, oobm=CONFIGURED))
    made = plans(there, {"cluster": "kvm1"}, {"host": "kvm2", "state": "disabled"})
    assert [(one.name, actions(one)) for one in made] == [("kvm1", []), ("kvm2", ["disable HA"]), ("sofia", []), ("kvm1", [])]


@pytest.mark.parametrize("entries", [({"host": "kvm1"}, {"host": "h1"}), ({"cluster": "kvm1"}, {"cluster": "c1"})])
def test_declared_twice(entries):
    with pytest.raises(OptionError, match=r"option hosts: '.*' is declared twice, also as"):
        plans(world(), *entries)


def selected(monkeypatch, *entries):
    """The selection of hosts that the entries of a task make."""
    asked = []

    def observe(client, selection):
        asked.append(selection)
        return world().seen

    monkeypatch.setattr(hosts, "observe", observe)
    HOST_HAS.observe(None, [wanted(state="disabled", **entry) for entry in entries])
    return asked[0]


def test_what_entries_say_of_nodes(monkeypatch):
    shared = selected(monkeypatch, {"host": "kvm1", "sp_node_ids": {"kvm1": 1}}, {"host": "kvm2", "sp_node_ids": {"kvm2": 2, "kvm1": 1}})
    assert (shared.node_ids, shared.conf, shared.confs) == ({"kvm1": 1, "kvm2": 2}, None, ())
    same = selected(monkeypatch, {"host": "kvm1", "storpool_conf": "/a"}, {"host": "kvm2", "storpool_conf": "/a"})
    assert (same.conf, same.confs) == ("/a", ())
    assert selected(monkeypatch, {"host": "kvm1", "storpool_conf": "/a"}).conf == "/a"
    own = selected(monkeypatch, {"zone": "sofia"}, {"cluster": "kvm1", "storpool_conf": "/a"}, {"host": "h2", "storpool_conf": "/b"})
    assert own.confs == [OwnConf("/b", host="h2"), OwnConf("/a", cluster="kvm1"), OwnConf(None, zone="sofia")], "the nearest first"
    assert selected(monkeypatch, {"host": "kvm1", "zone": "sofia"}, {"cluster": "kvm2", "zone": "sofia"}).zone == "sofia"
    assert selected(monkeypatch, {"host": "kvm1", "zone": "sofia"}, {"host": "kvm2"}).zone is own.zone is None
    with pytest.raises(OptionError, match=r"option sp_node_ids\.kvm1 of kvm2: 9 contradicts 1, which another entry gives"):
        selected(monkeypatch, {"host": "kvm1", "sp_node_ids": {"kvm1": 1}}, {"host": "kvm2", "sp_node_ids": {"kvm1": 9}})


def test_a_host_of_an_area_keeps_the_file_of_its_entry():
    entries = [wanted(cluster="kvm1", storpool_conf="/a"), wanted(host="kvm2", storpool_conf="/b")]
    assert [(one.label, one.conf) for one in HOST_HAS.spread(entries, world()) if not hasattr(one, "members")] == [
        ("kvm1", "/a"),
        ("kvm2", "/b"),
    ]


def test_spreading_again_changes_nothing():
    there = world(host(1), host(2), host(3, KVM2))
    once = HOST_HAS.spread([wanted(zone="sofia"), wanted(cluster="kvm2"), wanted(host="kvm2")], there)
    hosts = [one for one in once if not hasattr(one, "members")]
    assert HOST_HAS.spread(hosts, there) == once


def test_what_is_not_there_is_refused_by_itself():
    made = plans(world(), {"host": "kvm9"}, {"cluster": "none"}, {"host": "kvm1", "state": "disabled"})
    assert [bool(one.refused) for one in made] == [True, True, False]
    assert "'none' does not exist in CloudStack, or has no KVM hosts; with KVM hosts there are: kvm1" in str(made[1].refused)


# -- from nothing


def test_everything_in_order():
    made = plan(world(), **OFFERED)
    assert calls(made) == FRESH
    assert made.after["ha"] == {"enabled": True, "provider": "kvmhaprovider", "state": "Available"}
    assert made.after["oobm"] == {
        "enabled": True, "driver": "ipmitool", "address": "10.0.0.1", "port": "623", "username": "ADMIN", "power": "On",
    }  # fmt: skip
    assert made.before["ha"]["enabled"] is False and made.before["oobm"]["address"] is None
    assert len(made.waits) == 1 and made.beside == ({}, {"oobm_password": "(hidden)"})
    assert "bmc-secret" not in str((made.before, made.after, made.beside))


def test_every_half_done_host_becomes_the_same():
    """Whatever was done already, what is planned leads to the same end, and then nothing is planned."""
    done = plan(world(), **OFFERED).after
    states = product(
        (Oobm(), CONFIGURED, replace(CONFIGURED, enabled=False, power="Disabled"), replace(CONFIGURED, address="10.0.0.9")),
        (HostHa(), HostHa(False, "Disabled", "kvmhaprovider"), HostHa(True, "Disabled", "KVMHAProvider"), PROTECTED),
    )
    for oobm, ha in states:
        made = plan(world(host(1, oobm=oobm, ha=ha), host(2)), **OFFERED)
        assert {**made.after, "ha": {**made.after["ha"], "provider": "kvmhaprovider"}} == done, (oobm, ha)
        assert actions(made) == [action for action in actions(plan(world(), **OFFERED)) if action in actions(made)], "in the same order"
    made = plan(world(host(1, oobm=CONFIGURED, ha=PROTECTED), host(2)), **OFFERED)
    assert (actions(made), made.waits) == ([], [])


@pytest.mark.parametrize(
    ("left_out", "driver", "missing"),
    [
        ("oobm_address", None, "oobm_address"),
        ("oobm_username", None, "oobm_username"),
        ("oobm_password", None, "oobm_password"),
        ("none", "redfish", "oobm_port"),
    ],
)
def test_what_a_new_controller_needs(left_out, driver, missing):
    options = {key: value for key, value in OFFERED.items() if key != left_out}
    refused(plan(world(), **options, oobm_driver=driver), OptionError, f"option {missing} of kvm1 is needed")


# -- the power


@pytest.mark.parametrize(
    ("power", "state", "asked"),
    [
        ("On", "Up", False),
        ("On", "Down", False),
        ("Off", "Down", False),
        ("Off", "Up", True),
        ("Unknown", "Up", True),
        ("Disabled", "Up", False),
    ],
)
def test_when_the_power_is_asked_for(power, state, asked):
    there = world(host(1, state=state, ha=PROTECTED, oobm=replace(CONFIGURED, power=power)), host(2))
    made = plan(there)
    assert actions(made) == (["prove power"] if asked else [])
    assert bool(made.waits) == (asked or power == "Disabled")


def test_nobody_else_asks_for_the_power():
    """CloudStack looks by itself where out-of-band management is on at all levels; when nobody waits for that, the task asks."""
    oobm = replace(CONFIGURED, power="Disabled")
    for zone, cluster in ((replace(SOFIA, oobm=False), KVM1), (SOFIA, replace(KVM1, oobm=False))):
        assert actions(plan(world(*(host(number, cluster, zone=zone, ha=PROTECTED, oobm=oobm) for number in (1, 2))))) == ["prove power"]
    made = plan(world(host(1, ha=PROTECTED, oobm=oobm), host(2)), wait=False)
    assert (actions(made), made.waits) == (["prove power"], [])


def test_a_machine_that_is_off_is_not_this_one():
    (change,) = plan(world(host(1, ha=PROTECTED, oobm=replace(CONFIGURED, power="Unknown")), host(2))).changes
    after = {"name": "kvm1", "oobm": {"address": "10.0.0.1", "power": "On"}}
    change.learn["outofbandmanagement"](after, {"powerstate": "On"})
    with pytest.raises(ChangeRefused, match="controller of another machine"):
        change.learn["outofbandmanagement"](after, {"powerstate": "Off"})


# -- refused


@pytest.mark.parametrize(
    ("there", "options", "problem", "allowed_by"),
    [
        ({"node": Node(1, "x", "sf.a", "running", True)}, {}, "is hyper-converged", {"allow_hyperconverged": True}),
        ({"node": Node(problem="nobody told")}, {}, "nobody told", {"allow_hyperconverged": True}),
        ({"ha": replace(PROTECTED, state="Fenced")}, {}, "was fenced; CloudStack leaves it alone", {"recover": True}),
        ({"resource_state": "Maintenance"}, {"recover": True}, "is in maintenance", {"wait": False}),
        ({"resource_state": "Disabled"}, {}, "is not enabled (Disabled)", {"wait": False}),
    ],
)
def test_what_has_to_be_allowed(there, options, problem, allowed_by):
    there = world(host(1, **there), host(2))
    refused(plan(there, **OFFERED, **options), ChangeRefused, problem)
    assert not plan(there, **OFFERED, **{**options, **allowed_by}).refused


def test_a_host_without_neighbours():
    there = world(host(1), host(2, KVM2))
    refused(plan(there, **OFFERED), ChangeRefused, "is the only one of cluster kvm1")
    assert not plan(there, **OFFERED, allow_single_host_cluster=True).refused


def test_a_host_that_was_declared_degraded():
    there = world(host(1, resource_state="Degraded", ha=PROTECTED, oobm=CONFIGURED), host(2))
    for wait in (True, False):
        refused(plan(there, wait=wait), ChangeRefused, "declared degraded")


def test_none_of_it_hinders_switching_off():
    there = world(host(1, ha=PROTECTED, oobm=CONFIGURED, resource_state="Maintenance", node=Node(1, hyperconverged=True)))
    assert actions(plan(there, state="disabled")) == ["disable HA"]
    made = plan(there, state="absent")
    assert actions(made) == ["disable HA", "disable out-of-band management"]
    assert calls(made) == [("disableHAForHost", {"hostid": "h1"}), ("disableOutOfBandManagementForHost", {"hostid": "h1"})]
    assert made.after["oobm"]["address"] == "10.0.0.1", "CloudStack keeps it"
    assert actions(plan(world(), state="absent")) == []


# -- recovery


FENCED = {"ha": replace(PROTECTED, state="Fenced"), "oobm": CONFIGURED}


@pytest.mark.parametrize(
    ("sick", "problem"),
    [
        ({"state": "Down"}, "its agent is Down"),
        ({"oobm": replace(CONFIGURED, power="Off")}, "its power is off"),
        ({"node": Node(1, "x", "sf.a", "down", False)}, "its StorPool client is down"),
    ],
)
@pytest.mark.parametrize("recover", [True, False])
def test_a_sick_host_is_not_taken_back(sick, problem, recover):
    there = world(host(1, resource_state="Maintenance", **{**FENCED, **sick}), host(2))
    refused(plan(there, recover=recover), ChangeRefused, f"was fenced and is not well yet: {problem}")


@pytest.mark.parametrize("state", [*MAINTENANCE, "Enabled"])
def test_taking_back(state):
    made = plan(world(host(1, resource_state=state, **FENCED), host(2)), recover=True)
    assert actions(made) == (["enable HA"] if state == "Enabled" else ["cancel maintenance", "enable HA"])
    assert made.changes[-1].first is not None, "not before CloudStack has looked"
    assert state == "Enabled" or (made.changes[0].write.call, bool(made.changes[0].write.hints)) == ("cancelHostMaintenance", True)
    assert (made.after["resource_state"], made.after["ha"]["state"]) == ("Enabled", "Available")


@pytest.mark.parametrize(
    ("ha", "seen"),
    [
        ({"hastate": "Fenced", "haenable": True}, False),
        ({"hastate": "Fenced", "haenable": False}, False),
        ({"hastate": "Ineligible", "haenable": True}, False),
        ({"hastate": "Disabled", "haenable": False}, True),
    ],
)
def test_what_counts_as_looked_at(ha, seen):
    class Client:
        def list(self, call, key, **params):
            assert (call, params) == ("listHosts", {"id": "h1"})
            return [{"id": "h1", "hostha": ha}]

    change = plan(world(host(1, **FENCED), host(2)), recover=True).changes[-1]
    assert change.first.done(Client()) is seen


# -- clusters and zones


def areas(there, *entries):
    return {(one.kind, one.name): one for one in plans(there, *entries) if one.kind}


@pytest.mark.parametrize("off", [("ha",), ("oobm",), ("oobm", "ha")])
@pytest.mark.parametrize("kind", ["cluster", "zone"])
def test_switches(off, kind):
    changed = dict.fromkeys(off, False)
    zone = replace(SOFIA, **changed) if kind == "zone" else SOFIA
    cluster = replace(KVM1, **changed) if kind == "cluster" else KVM1
    there = world(*(host(number, cluster, zone=zone, ha=PROTECTED, oobm=CONFIGURED) for number in (1, 2)))
    made = areas(there, {"host": "kvm1"}, {"host": "kvm2"})
    words = {"ha": "HA", "oobm": "OutOfBandManagement"}
    area = made[kind, {"cluster": "kvm1", "zone": "sofia"}[kind]]
    identity = {"cluster": ("clusterid", "c1"), "zone": ("zoneid", "z1")}[kind]
    assert calls(area) == [(f"enable{words[name]}For{kind.capitalize()}", dict([identity])) for name in off]
    assert (area.after["ha"], area.after["oobm"]) == (True, True)
    assert not any(one.changes for key, one in made.items() if key[0] != kind)


def test_hosts_go_after_their_cluster_and_zone():
    every = HOST_HAS.spread([wanted(cluster="kvm1")], world())
    first, then = waves(every, "hosts")
    assert {type(every[position]).__name__ for position in first} == {"WantedArea"}
    assert [every[position].label for position in then] == ["kvm1", "kvm2"]


def test_nothing_is_switched_on_for_hosts_that_are_refused_or_off():
    off = replace(KVM1, ha=False)
    there = world(host(1, off, node=Node(1, hyperconverged=True)), host(2, off, ha=PROTECTED, oobm=CONFIGURED))
    assert all(not one.changes for one in areas(there, {"host": "kvm1", **OFFERED}).values())
    assert areas(there, {"host": "kvm2", "state": "disabled"}) == {}


def test_others_that_would_take_part():
    off = replace(KVM1, ha=False)
    there = world(host(1, off, ha=PROTECTED, oobm=CONFIGURED), host(2, off, ha=PROTECTED, oobm=CONFIGURED), host(3, off))
    (warning,) = areas(there, {"host": "kvm1"})["cluster", "kvm1"].warnings
    assert warning.endswith("hosts that are not declared here: kvm2")
    storage = replace(there.seen.hosts[1], node=Node(2, "x", "sf.a", "running", True))
    there = world(there.seen.hosts[0], storage)
    refused(areas(there, {"host": "kvm1"})["cluster", "kvm1"], ChangeRefused, "would also let CloudStack fence kvm2")
    assert areas(there, {"host": "kvm1", "allow_hyperconverged": True})["cluster", "kvm1"].changes


# -- warnings


def test_warnings_are_said_once_and_only_before_a_change():
    other = replace(POOL, id="x;1", name="slow")
    idle = {"instances": False, "pools": (POOL, other)}
    there = world(host(1, **idle), host(2, **idle))
    entries = [{"host": f"kvm{number}", **OFFERED} for number in (1, 2)]
    no_vms, several = areas(there, *entries)["cluster", "kvm1"].warnings
    assert no_vms.startswith("hosts kvm1, kvm2: it has no VMs") and "2 pools have a heartbeat (fast, slow)" in several
    there = world(*(host(number, ha=PROTECTED, oobm=CONFIGURED, **idle) for number in (1, 2)))
    assert areas(there, *entries)["cluster", "kvm1"].warnings == []


# -- waiting


@pytest.mark.parametrize(
    ("now", "problem"),
    [
        ({"ha": PROTECTED}, None),
        ({"ha": PROTECTED, "oobm": replace(CONFIGURED, power="Disabled")}, "nobody has asked its controller"),
        (
            {"ha": replace(PROTECTED, state="Suspect"), "state": "Down"},
            "its agent is not connected (state Down); host HA has it as Suspect",
        ),
        ({"ha": replace(PROTECTED, state="Ineligible"), "peers": ()}, "no other KVM host of cluster kvm1 is Up"),
        ({"ha": replace(PROTECTED, state="Disabled", enabled=False)}, "host HA is switched off for it"),
    ],
)
def test_what_is_missing(now, problem):
    (wait,) = plan(world(), **OFFERED).waits
    later = Observation((host(1, **{"oobm": CONFIGURED, **now}),), (SOFIA,), (KVM1,), Fence(False))
    told = wait.missing(later)
    assert told is None if problem is None else problem in told
    assert "does not list it any more" in wait.missing(Observation((), (), (), Fence(False)))


def test_one_reading_serves_all():
    there = world()
    looks = {wait.look for one in plans(there, {"cluster": "kvm1", **{**OFFERED, "oobm_address": None}}) for wait in one.waits}
    assert not looks, "refused: no address"
    every = plans(there, *({"host": f"kvm{number}", **OFFERED} for number in (1, 2)))
    assert len({wait.look for one in every for wait in one.waits}) == 1
    assert not plan(there, **OFFERED, wait=False).waits
