# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The verdict on any host at all: what *protected* promises, and that repairing something never takes it away."""

from __future__ import annotations

from dataclasses import replace

from ansible_collections.storpool.cloudstack.plugins.module_utils.resources.ha_info import told
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources.ha_verdict import judge
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
from hypothesis import given
from hypothesis import strategies as st

STATES = ("Disabled", "Available", "Ineligible", "Suspect", "Degraded", "Checking", "Recovering", "Recovered", "Fencing", "Fenced", "Else")
flags, maybe = st.booleans(), st.sampled_from([True, False, None])

zones = st.builds(Zone, st.just("z"), st.just("sofia"), flags, flags, st.sampled_from([None, "true", "false"]))
clusters = st.builds(Cluster, st.just("c"), st.just("kvm1"), st.just("z"), flags, flags, st.sampled_from([None, "sf.a"]))
pools = st.builds(
    Pool,
    st.uuids().map(str),
    st.sampled_from("ab"),
    st.just("x"),
    st.sampled_from(["StorPool", "NetworkFilesystem"]),
    st.sampled_from(["Up", "Maintenance", ""]),
    st.just("z"),
    st.sampled_from([None, "c"]),
)
nodes = st.builds(
    Node,
    st.sampled_from([None, 11]),
    st.sampled_from([None, "sp_node_ids"]),
    st.just("sf.a"),
    st.sampled_from([None, "running", "down"]),
    maybe,
    st.just("for some reason"),
)
hosts = st.builds(
    Host,
    id=st.just("h"),
    name=st.just("kvm11"),
    zone=zones,
    cluster=clusters,
    pod=st.just("pod1"),
    address=st.just("10.1.0.1"),
    state=st.sampled_from(["Up", "Down", "Disconnected", "Alert", "Connecting", "Unknown"]),
    resource_state=st.sampled_from(["Enabled", "Disabled", "Maintenance", "PrepareForMaintenance", "Degraded", "Unknown"]),
    version=st.sampled_from([None, "", "4.18.1.0", "4.19.3.0", "4.22.0.0-SNAPSHOT", "main"]),
    ha=st.builds(HostHa, flags, st.sampled_from(STATES), st.sampled_from([None, "kvmhaprovider", "KVMHAProvider", "other"])),
    oobm=st.builds(
        Oobm,
        flags,
        st.sampled_from(["On", "Off", "Unknown", "Disabled"]),
        st.sampled_from([None, "ipmitool"]),
        st.sampled_from([None, "a"]),
    ),
    node=nodes,
    peers=st.lists(st.sampled_from(["kvm12", "kvm13"]), unique=True).map(tuple),
    pools=st.lists(pools, max_size=3).map(tuple),
    instances=maybe,
)
fences = st.builds(Fence, maybe, flags, flags, maybe)


@given(hosts, fences, flags)
def test_what_protected_promises(host, fence, allow):
    verdict = judge(host, fence, allow)
    if verdict.protected:
        assert verdict.eligible and (host.state, host.resource_state, host.ha.state) == ("Up", "Enabled", "Available")
        assert host.oobm.power == "On" and host.node.client == "running" and host.peers
        assert any(pool.is_storpool and pool.state == "Up" for pool in host.pools)
        assert allow or not host.node.hyperconverged
    elif not verdict.eligible:
        assert verdict.reasons, "what CloudStack leaves alone has a reason"


@given(hosts, fences, flags)
def test_each_reason_and_warning_is_told_once_with_what_to_do(host, fence, allow):
    verdict = judge(host, fence, allow)
    found = [*verdict.reasons, *verdict.warnings]
    assert len({one.code for one in found}) == len(found)
    assert all(one.text and one.do for one in found)


@given(hosts, fences)
def test_the_fence_setting_never_takes_protection_away(host, fence):
    assert judge(host, fence).reasons == judge(host, Fence()).reasons


REPAIRS = {
    "agent_down": {"state": "Up"},
    "maintenance": {"resource_state": "Enabled"},
    "host_disabled": {"resource_state": "Enabled"},
    "no_peer": {"peers": ("kvm12",)},
    "client_down": {"node": Node(11, "sp_node_ids", "sf.a", "running", False)},
    "node_unknown": {"node": Node(11, "sp_node_ids", "sf.a", "running", False)},
    "power_unknown": {"oobm": Oobm(True, "On", "ipmitool", "a", "623", "u")},
    "ha_suspect": {"ha": HostHa(True, "Available", "kvmhaprovider")},
}


@given(hosts, fences)
def test_a_repair_takes_its_reason_away_and_brings_none(host, fence):
    before = judge(host, fence).reasons
    for code in {one.code for one in before} & REPAIRS.keys():
        after = {one.code for one in judge(replace(host, **REPAIRS[code]), fence).reasons}
        assert after < {one.code for one in before} and code not in after, code


@given(st.lists(hosts, max_size=3), fences, flags)
def test_the_sum_is_the_sum(found, fence, allow):
    found = [replace(host, id=str(number), name=f"kvm{number}") for number, host in enumerate(found)]
    result = told(Observation(tuple(found), (), (), fence), allow)
    summary = result["summary"]
    assert summary["protected"] + summary["not_protected"] == summary["hosts"] == len(found) == len(result["hosts"])
    assert sum(summary["ha_states"].values()) == len(found)
    assert sum(summary["reasons"].values()) == sum(len(one["reasons"]) for one in result["hosts"])
    assert (summary["status"] == "critical") is (summary["not_protected"] > 0 or not found)
    assert len(result["report"]) == 1 + len(found) + sum(summary["reasons"].values()) + sum(summary["warnings"].values())
