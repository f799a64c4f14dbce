# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The verdict on a host: what takes protection away, what only limits it, and that everything says what to do."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources.ha_info import told
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources.ha_verdict import _STATES, judge
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

ZONE = Zone("z", "sofia")
CLUSTER = Cluster("c", "kvm1", "z", storpool="sf.a")
POOL = Pool("nvme;p", "storpool-nvme", "StorPool", "StorPool", "Up", "z", None)
NFS = Pool("n", "nfs", "DefaultPrimary", "NetworkFilesystem", "Up", "z", None)
GOOD = Host(
    id="h",
    name="kvm11",
    zone=ZONE,
    cluster=CLUSTER,
    pod="pod1",
    address="10.1.0.1",
    state="Up",
    resource_state="Enabled",
    version="4.20.2.0",
    ha=HostHa(True, "Available", "kvmhaprovider"),
    oobm=Oobm(True, "On", "ipmitool", "198.51.100.1", "623", "ADMIN"),
    node=Node(11, "sp_node_ids", "sf.a", "running", False),
    peers=("kvm12", "kvm13"),
    pools=(POOL,),
    instances=True,
)
DEFAULT = Fence(False)
TRUE = Fence(True, changed=False)
WAITS = Fence(True, changed=True)
UNKNOWN = Fence(True, changed=None)


def codes(found):
    return [one.code for one in found]


def reasons(fence=DEFAULT, allow=False, **changes):
    return codes(judge(replace(GOOD, **changes), fence, allow).reasons)


def warnings(fence=DEFAULT, allow=False, **changes):
    return codes(judge(replace(GOOD, **changes), fence, allow).warnings)


def test_nothing_speaks_against_a_good_host():
    verdict = judge(GOOD, DEFAULT)
    assert (verdict.protected, verdict.eligible, verdict.reasons, verdict.warnings) == (True, True, (), ())


# what is changed -> the reasons, and whether CloudStack still looks after the host
AGAINST = {
    "agent down": ({"state": "Disconnected"}, ["agent_down"], True),
    "agent in alert": ({"state": "Alert"}, ["agent_down"], True),
    "host down": ({"state": "Down"}, ["agent_down"], True),
    "maintenance": ({"resource_state": "Maintenance"}, ["maintenance"], False),
    "before maintenance": ({"resource_state": "PrepareForMaintenance"}, ["maintenance"], False),
    "failed maintenance": ({"resource_state": "ErrorInPrepareForMaintenance"}, ["maintenance"], False),
    "declared degraded": (
        {"resource_state": "Degraded", "oobm": replace(GOOD.oobm, power="Disabled")},
        ["declared_degraded"],
        False,
    ),
    "disabled": ({"resource_state": "Disabled"}, ["host_disabled"], False),
    "alone": ({"peers": ()}, ["no_peer"], False),
    "too old": ({"version": "4.18.2.4"}, ["too_old"], True),
    "no controller": ({"oobm": Oobm()}, ["oobm_not_configured"], False),
    "controller off": ({"oobm": replace(GOOD.oobm, enabled=False, power="Disabled")}, ["oobm_not_enabled"], False),
    "controllers of the cluster off": ({"cluster": replace(CLUSTER, oobm=False)}, ["oobm_off_in_cluster"], False),
    "controllers of the zone off": ({"zone": replace(ZONE, oobm=False)}, ["oobm_off_in_zone"], False),
    "controller silent": ({"oobm": replace(GOOD.oobm, power="Unknown")}, ["power_unknown"], True),
    "power off": ({"oobm": replace(GOOD.oobm, power="Off")}, ["power_off"], True),
    "controller not asked": ({"oobm": replace(GOOD.oobm, power="Disabled")}, ["power_unproved"], True),
    "HA not configured": ({"ha": HostHa()}, ["ha_not_configured"], False),
    "other provider": ({"ha": replace(GOOD.ha, provider="simulatorhaprovider")}, ["ha_other_provider"], True),
    "HA not enabled": ({"ha": HostHa(False, "Disabled", "kvmhaprovider")}, ["ha_not_enabled"], False),
    "HA of the cluster off": (
        {"cluster": replace(CLUSTER, ha=False), "ha": HostHa(True, "Disabled", "kvmhaprovider")},
        ["ha_off_in_cluster"],
        False,
    ),
    "HA of the zone off": ({"zone": replace(ZONE, ha=False), "ha": HostHa(True, "Disabled", "kvmhaprovider")}, ["ha_off_in_zone"], False),
    "HA just enabled": ({"ha": HostHa(True, "Disabled", "kvmhaprovider")}, ["ha_disabled"], True),
    "after fencing": ({"ha": HostHa(False, "Ineligible", "kvmhaprovider")}, ["ha_not_enabled", "ha_ineligible"], False),
    "no pool": ({"pools": ()}, ["no_pool"], True),
    "only NFS": ({"pools": (NFS,)}, ["no_pool"], True),
    "pool in maintenance": ({"pools": (replace(POOL, state="Maintenance"),)}, ["pool_not_up"], True),
    "client down": ({"node": replace(GOOD.node, client="down")}, ["client_down"], True),
    "no such client": ({"node": Node(99, "sp_node_ids", "sf.a", None, False, "no client 99")}, ["client_missing"], True),
    "cluster silent": ({"node": Node(11, "sp_node_ids", "sf.a", problem="did not answer")}, ["client_unknown"], True),
    "unknown node": ({"node": Node(problem="nobody tells")}, ["node_unknown"], True),
    "hyper-converged": ({"node": replace(GOOD.node, hyperconverged=True)}, ["hyperconverged"], True),
}


@pytest.mark.parametrize("case", AGAINST)
def test_what_speaks_against_protection(case):
    changes, expected, eligible = AGAINST[case]
    verdict = judge(replace(GOOD, **changes), DEFAULT)
    assert codes(verdict.reasons) == expected
    assert (verdict.protected, verdict.eligible) == (False, eligible)


@pytest.mark.parametrize("state", sorted(_STATES))
def test_every_other_state_of_host_ha_is_a_reason_of_its_own(state):
    assert reasons(ha=replace(GOOD.ha, state=state)) == [f"ha_{state.lower()}"]


def test_a_state_that_nobody_knows_yet():
    assert reasons(ha=replace(GOOD.ha, state="Resting")) == ["ha_resting"]


def test_all_reasons_are_told_at_once():
    found = reasons(
        state="Down", resource_state="Maintenance", peers=(), oobm=Oobm(), ha=HostHa(True, "Fenced", "kvmhaprovider"), pools=(), node=Node()
    )
    assert found == ["agent_down", "maintenance", "no_peer", "oobm_not_configured", "ha_fenced", "no_pool", "node_unknown"]


def test_a_pool_in_maintenance_beside_one_that_is_up_is_no_reason():
    assert reasons(pools=(POOL, replace(POOL, id="x", name="x", state="Maintenance"))) == []


def test_hyperconverged_when_allowed_is_a_warning():
    node = replace(GOOD.node, hyperconverged=True)
    assert (reasons(allow=True, node=node), warnings(allow=True, node=node)) == ([], ["hyperconverged"])


@pytest.mark.parametrize("instances, expected", [(True, []), (None, []), (False, ["no_instances"])])
def test_a_host_without_instances_is_warned_of(instances, expected):
    assert (reasons(instances=instances), warnings(instances=instances)) == ([], expected)


TWO = (POOL, NFS)
FENCES = {
    "one pool": (DEFAULT, (POOL,), []),
    "two pools, the last one decides": (DEFAULT, TWO, ["several_pools"]),
    "two pools, one of them not up": (DEFAULT, (POOL, replace(NFS, state="Maintenance")), []),
    "two pools, the first that fails decides": (TRUE, TWO, []),
    "two pools, not yet": (WAITS, TWO, ["fence_waits", "several_pools"]),
    "two pools, no longer": (Fence(False, changed=True), TWO, ["fence_waits"]),
    "two pools, nobody knows": (UNKNOWN, TWO, ["fence_unknown"]),
    "one pool, nobody knows": (UNKNOWN, (POOL,), []),
    "one pool, not yet": (WAITS, (POOL,), ["fence_waits"]),
    "no such setting": (Fence(), TWO, ["several_pools"]),
}


@pytest.mark.parametrize("case", FENCES)
def test_which_pool_decides(case):
    fence, pools, expected = FENCES[case]
    assert (reasons(fence, pools=pools), warnings(fence, pools=pools)) == ([], expected)


def test_the_value_of_a_zone_is_never_read():
    assert warnings(zone=replace(ZONE, fence="true")) == ["fence_of_zone_ignored"]
    assert "4.20.2" in judge(replace(GOOD, zone=replace(ZONE, fence="true")), TRUE).warnings[0].text


@pytest.mark.parametrize(
    "fence, expected",
    [
        (Fence(), None),
        (DEFAULT, True),
        (TRUE, True),
        (WAITS, False),
        (UNKNOWN, None),
        (Fence(False, changed=None), True),  # a default counts as never changed
        (Fence(True, dynamic=True, changed=True), True),
    ],
)
def test_in_force(fence, expected):
    assert fence.in_force is expected


def every_verdict():
    hosts = [replace(GOOD, **changes) for changes, _expected, _eligible in AGAINST.values()]
    hosts += [replace(GOOD, ha=replace(GOOD.ha, state=state)) for state in _STATES]
    hosts += [replace(GOOD, instances=False, zone=replace(ZONE, fence="true"), pools=pools) for pools in ((POOL,), TWO)]
    return [judge(host, fence, allow) for host in hosts for fence in (DEFAULT, TRUE, WAITS, UNKNOWN) for allow in (False, True)]


def test_everything_says_what_to_do():
    found = {one for verdict in every_verdict() for one in (*verdict.reasons, *verdict.warnings)}
    assert len({one.code for one in found}) == 39
    for one in found:
        assert one.code.replace("_", "").isalpha() and one.code.islower()
        assert one.text and one.do and not one.text.endswith(".") and not one.do.endswith("."), one


def test_the_documentation_knows_every_code():
    from ansible_collections.storpool.cloudstack.plugins.modules.storpool_ha_info import RETURN

    found = {one.code for verdict in every_verdict() for one in (*verdict.reasons, *verdict.warnings)}
    assert {code for code in found if f"V({code})" not in RETURN} == set()


# -- what the module makes of verdicts


def seen(*hosts, fence=DEFAULT):
    return Observation(tuple(hosts), (ZONE,), (CLUSTER,), fence)


def test_the_sum():
    idle = replace(GOOD, id="i", name="kvm12", instances=False)
    broken = replace(GOOD, id="b", name="kvm13", node=replace(GOOD.node, client="down"), ha=replace(GOOD.ha, state="Degraded"))
    result = told(seen(GOOD, idle, broken), False)
    assert result["summary"] == {
        "status": "critical",
        "hosts": 3,
        "protected": 2,
        "not_protected": 1,
        "protected_with_warnings": 1,
        "not_protected_hosts": ["kvm13"],
        "ha_states": {"Available": 2, "Degraded": 1},
        "reasons": {"client_down": 1, "ha_degraded": 1},
        "warnings": {"no_instances": 1},
    }
    assert [one["protected"] for one in result["hosts"]] == [True, True, False]
    assert len(result["warnings"]) == 1 and result["warnings"][0].startswith("no_instances: kvm12: it has no VMs")


def test_the_report():
    down = replace(GOOD, id="b", name="kvm12", node=replace(GOOD.node, client="down"), instances=False)
    report = told(seen(GOOD, down), False)["report"]
    assert report[:3] == [
        "CRITICAL: 1 of 2 hosts are protected",
        "kvm11 (zone sofia, cluster kvm1, HA Available): protected",
        "kvm12 (zone sofia, cluster kvm1, HA Available): NOT PROTECTED",
    ]
    assert report[3].startswith("  - its StorPool client 11 is down") and "[client_down]. What to do: start storpool_block" in report[3]
    assert report[4].startswith("  - warning: it has no VMs") and len(report) == 5


@pytest.mark.parametrize("hosts, status", [((), "critical"), ((GOOD,), "ok"), ((replace(GOOD, instances=False),), "warning")])
def test_the_status(hosts, status):
    assert told(seen(*hosts), False)["summary"]["status"] == status


def test_a_warning_about_many_hosts_is_one_line():
    many = [replace(GOOD, id=str(number), name=f"kvm{number}", instances=False) for number in range(50)]
    (line,) = told(seen(*many), False)["warnings"]
    assert "kvm9 and 40 more" in line and "kvm10" not in line


def test_an_entry_has_all_that_the_documentation_lists():
    import yaml
    from ansible_collections.storpool.cloudstack.plugins.modules.storpool_ha_info import RETURN

    documented = yaml.safe_load(RETURN)
    result = told(seen(GOOD), False)
    assert set(result["hosts"][0]) == set(documented["hosts"]["contains"])
    assert set(result["summary"]) == set(documented["summary"]["contains"])
    assert set(result["fence_setting"]) == set(documented["fence_setting"]["contains"])
    assert set(result["pools"][0]) == set(documented["pools"]["sample"][0])
