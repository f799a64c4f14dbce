# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is read of hosts for host HA: which calls it takes, which StorPool node a host is, and what the fence setting really is."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime, timezone

import pytest
from ansible_collections.storpool.cloudstack.plugins.module_utils import _options
from ansible_collections.storpool.cloudstack.plugins.module_utils._errors import ApiError, OptionError
from ansible_collections.storpool.cloudstack.plugins.module_utils._options import read_node_ids
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources.hosts import (
    FENCE,
    OwnConf,
    Selection,
    look_again,
    observe,
    parse_node_ids,
)

NOWHERE = None  # the file of this machine, which no test may depend on


@pytest.fixture(autouse=True)
def no_file_of_this_machine(monkeypatch):
    monkeypatch.setattr(_options, "STORPOOL_CONF", "/nowhere/storpool.conf")


def services(clients, servers=()):
    return {
        "clients": {str(node): {"id": node, "nodeId": node, "status": status} for node, status in clients.items()},
        "servers": {str(node): {"id": node, "nodeId": node, "status": "running"} for node in servers},
    }


class Storage:
    """StorPool clusters by id, all of them in one location unless their ids say otherwise."""

    def __init__(self, here="sf.a", silent=(), alone=(), **clusters):
        self.here, self.silent, self.alone = here, silent, alone
        self.by_id = {name.replace("_", "."): one for name, one in clusters.items()}
        self.asked = []

    def services(self):
        self.asked.append("here")
        return self.by_id[self.here]

    def services_of(self, cluster):
        self.asked.append(cluster)
        if cluster in self.silent or cluster not in self.by_id:
            raise ApiError("objectDoesNotExist", f"no cluster {cluster}")
        return self.by_id[cluster]

    def services_of_location(self, cluster):
        location = cluster.split(".")[0]
        self.asked.append(f"all of {location}")
        if location in self.alone:
            raise ApiError("unknownQuery", "no such call")
        return [None if name in self.silent else one for name, one in self.by_id.items() if name.startswith(location)]

    def clusters(self):
        self.asked.append("clusters")
        return [{"id": name} for name in self.by_id]


class Cloud:
    """A CloudStack with one zone; hosts by name: (cluster, fields)."""

    def __init__(self, storpool, hosts, clusters=None, pools=(), fence=None, servers=(), events=(), zone=None):
        self.storpool = storpool
        self.asked = []
        clusters = clusters or {"kvm1": "sf.a"}
        self.rows = {
            "listZones": [{"id": "zone", "name": "sofia", **(zone or {})}],
            "listClusters": [
                {"id": f"id-{name}", "name": name, "zoneid": "zone", "resourcedetails": {"sp.cluster.id": storpool} if storpool else {}}
                for name, storpool in clusters.items()
            ],
            "listHosts": [
                {
                    "id": f"id-{name}",
                    "name": name,
                    "zoneid": "zone",
                    "clusterid": f"id-{fields.pop('cluster', 'kvm1')}",
                    "state": "Up",
                    "resourcestate": "Enabled",
                    **fields,
                }
                for name, fields in hosts.items()
            ],
            "listStoragePools": list(pools),
            "listConfigurations": [{"name": f"{FENCE}.other"}, *([{"name": FENCE, **fence}] if fence else [])],
            "listManagementServers": list(servers),
            "listEvents": events,
        }

    def list(self, call, key, unlimited=False, **params):
        assert unlimited or params.keys() & {"id", "name", "startdate"}, f"all of {call} are asked for at once"
        self.asked.append((call, params))
        rows = self.rows[call]
        if isinstance(rows, Exception):
            raise rows
        names = ("zoneid", "clusterid")
        return [dict(row) for row in rows if all(row.get(name) == params[name] for name in names if name in params and name in row)]


def node_of(cloud, ids=None, conf=NOWHERE, name="kvm11"):
    found = observe(cloud, Selection(node_ids=ids or {}, conf=conf)).hosts
    return next(host.node for host in found if host.name == name)


# -- which calls


def test_the_calls_of_one_cluster():
    cloud = Cloud(Storage(sf_a=services({11: "running"})), {"kvm11": {}})
    host = observe(cloud, Selection(node_ids={"kvm11": 11})).hosts[0]
    assert [call for call, _params in cloud.asked] == ["listZones", "listClusters", "listHosts", "listStoragePools", "listConfigurations"]
    assert cloud.storpool.asked == ["sf.a"]
    assert (host.node.id, host.node.client, host.node.hyperconverged, host.node.source) == (11, "running", False, "sp_node_ids")


def test_clusters_of_one_location_are_asked_together_while_they_agree():
    storage = Storage(sf_a=services({11: "running"}), sf_b=services({11: "running", 12: "down"}))
    cloud = Cloud(storage, {"kvm11": {}, "kvm12": {"cluster": "kvm2"}}, {"kvm1": "sf.a", "kvm2": "sf.b"})
    found = observe(cloud, Selection(node_ids={"kvm11": 11, "kvm12": 12})).hosts
    assert storage.asked == ["all of sf"]
    assert [host.node.client for host in found] == ["running", "down"]


@pytest.mark.parametrize("other", [services({11: "down"}), services({11: "running"}, servers=[11])])
def test_clusters_that_differ_are_asked_one_by_one(other):
    storage = Storage(sf_a=services({11: "running"}), sf_b=other)
    cloud = Cloud(storage, {"kvm11": {}, "kvm21": {"cluster": "kvm2"}}, {"kvm1": "sf.a", "kvm2": "sf.b"})
    found = {host.name: host.node for host in observe(cloud, Selection(node_ids={"kvm11": 11, "kvm21": 11})).hosts}
    assert storage.asked == ["all of sf", "sf.a", "sf.b"]
    assert (found["kvm11"].client, found["kvm11"].hyperconverged) == ("running", False)
    assert (found["kvm21"].client, found["kvm21"].hyperconverged) == (other["clients"]["11"]["status"], bool(other["servers"]))


def test_each_location_is_asked_by_itself():
    storage = Storage(sf_a=services({11: "running"}), pd_a=services({11: "down"}))
    cloud = Cloud(storage, {"kvm11": {}, "kvm21": {"cluster": "kvm2"}}, {"kvm1": "sf.a", "kvm2": "pd.a"})
    found = observe(cloud, Selection(node_ids={"kvm11": 11, "kvm21": 11})).hosts
    assert sorted(storage.asked) == ["pd.a", "sf.a"]
    assert [host.node.client for host in found] == ["running", "down"]


@pytest.mark.parametrize("trouble", [{"alone": ("sf",)}, {"silent": ("sf.b",)}])
def test_clusters_that_do_not_answer_together_are_asked_one_by_one(trouble):
    storage = Storage(sf_a=services({11: "running"}), sf_b=services({21: "running"}), **trouble)
    cloud = Cloud(storage, {"kvm11": {}, "kvm21": {"cluster": "kvm2"}}, {"kvm1": "sf.a", "kvm2": "sf.b"})
    found = {host.name: host.node for host in observe(cloud, Selection(node_ids={"kvm11": 11, "kvm21": 21})).hosts}
    assert storage.asked == ["all of sf", "sf.a", "sf.b"]
    assert found["kvm11"].client == "running"
    if "silent" in trouble:
        assert (found["kvm21"].client, found["kvm21"].hyperconverged) == (None, None)
        assert "StorPool cluster sf.b did not answer: objectDoesNotExist" in found["kvm21"].problem
    else:
        assert found["kvm21"].client == "running"


def test_nothing_is_asked_of_storpool_without_a_node_id():
    cloud = Cloud(Storage(), {"kvm11": {}})
    node = node_of(cloud)
    assert cloud.storpool.asked == []
    assert node.id is None and "neither sp_node_ids nor a section of storpool.conf" in node.problem


def test_a_cluster_that_knows_no_other_is_the_one():
    storage = Storage(here="x", x=services({11: "running"}))
    assert node_of(Cloud(storage, {"kvm11": {}}), {"kvm11": 11}).client == "running"
    assert storage.asked == ["sf.a", "clusters", "here"]


def test_among_several_clusters_nobody_guesses():
    storage = Storage(here="x", x=services({11: "running"}), y=services({}))
    storage.by_id = {"sf.x": storage.by_id["x"], "sf.y": storage.by_id["y"]}
    node = node_of(Cloud(storage, {"kvm11": {}}), {"kvm11": 11})
    assert node.client is None and "did not answer" in node.problem


@pytest.mark.parametrize("noted", [None, "n/a", ""])
def test_without_a_noted_cluster_it_is_that_of_the_connection(noted):
    storage = Storage(sf_a=services({11: "down"}))
    node = node_of(Cloud(storage, {"kvm11": {}}, {"kvm1": noted}), {"kvm11": 11})
    assert (node.cluster, node.client, storage.asked) == (None, "down", ["here"])


# -- which node


CONF = """
SP_OURID=7
SP_CLUSTER_ID=sf.a

[kvm11]
SP_OURID=11
[kvm12]
SP_OURID = twelve
[kvm13]
SP_IFACE1_CFG=1
"""


def test_sections_of_storpool_conf(tmp_path):
    conf = tmp_path / "storpool.conf"
    conf.write_text(CONF, encoding="utf-8")
    (tmp_path / "storpool.conf.d").mkdir()
    (tmp_path / "storpool.conf.d" / "more.conf").write_text("[kvm13]\nSP_OURID=13\n", encoding="utf-8")
    assert read_node_ids(str(conf)) == {"kvm11": 11, "kvm13": 13}
    assert read_node_ids(NOWHERE) == {}


def test_a_file_that_was_named_has_to_be_there(tmp_path):
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    (tmp_path / "words").write_text("= no name\n", encoding="utf-8")
    for name in ("missing", "bytes", "words", ".", "nu\0ll"):
        with pytest.raises(OptionError, match="option storpool_conf"):
            read_node_ids(str(tmp_path / name))
    with pytest.raises(OptionError, match=r"option storpool_conf.* null character"):
        read_node_ids("~nobody\0here")


def test_where_a_node_id_is_from(tmp_path):
    conf = tmp_path / "storpool.conf"
    conf.write_text(CONF, encoding="utf-8")
    storage = Storage(sf_a=services({11: "running", 12: "running"}))
    hosts = {"kvm11": {}, "kvm12": {}}
    assert node_of(Cloud(storage, {name: {} for name in hosts}), conf=str(conf)).source == "storpool.conf"
    given = node_of(Cloud(storage, {name: {} for name in hosts}), {"kvm11": 12}, str(conf))
    assert (given.id, given.source) == (12, "sp_node_ids")
    by_id = node_of(Cloud(storage, {name: {} for name in hosts}), {"id-kvm11": 12}, str(conf))
    assert (by_id.id, by_id.source) == (12, "sp_node_ids")
    assert node_of(Cloud(storage, {name: {} for name in hosts}), conf=str(conf), name="kvm12").id is None


def nodes_of(tmp_path, confs, *own):
    """The node ids of four hosts in two clusters, and what is wrong with them, as the entries `own` look for them in files."""
    for name, sections in confs.items():
        (tmp_path / name).write_text("".join(f"[{host}]\nSP_OURID={number}\n" for host, number in sections.items()), encoding="utf-8")
    clusters = {"kvm1": "sf.a", "kvm2": "sf.b"}
    every = {"kvm11": {}, "kvm12": {}, "kvm21": {"cluster": "kvm2"}, "kvm22": {"cluster": "kvm2"}}
    cloud = Cloud(Storage(sf_a=services({}), sf_b=services({})), every, clusters)
    found = observe(cloud, Selection(confs=[replace(one, conf=str(tmp_path / one.conf)) for one in own])).hosts
    return {host.name: host.node.id for host in found}, {host.name: host.node.problem for host in found}


def test_each_entry_has_its_own_storpool_conf(tmp_path):
    confs = {"a": {"kvm11": 11, "kvm12": 12, "kvm21": 91}, "b": {"kvm11": 92, "kvm21": 21}}
    found, problems = nodes_of(tmp_path, confs, OwnConf("a", host="kvm11"), OwnConf("b", cluster="kvm2", zone="sofia"))
    assert found == {"kvm11": 11, "kvm12": 12, "kvm21": 21, "kvm22": None}, "kvm12, of no entry, is in one of the files"
    assert "neither sp_node_ids nor a section" in problems["kvm22"]
    found, _problems = nodes_of(tmp_path, confs, OwnConf("b", host="id-kvm11"), OwnConf("a", cluster="id-kvm1"), OwnConf("b", zone="zone"))
    assert found == {"kvm11": 92, "kvm12": 12, "kvm21": 21, "kvm22": None}, "the first that fits counts"
    found, problems = nodes_of(tmp_path, confs, OwnConf("a", host="kvm12"), OwnConf("b", host="kvm22"))
    assert found == {"kvm11": None, "kvm12": 12, "kvm21": None, "kvm22": None}
    assert problems["kvm11"] == "the files of storpool_conf disagree about it: 11, 92"


def test_a_host_is_known_without_its_domain(tmp_path):
    conf = tmp_path / "storpool.conf"
    conf.write_text(CONF, encoding="utf-8")
    cloud = Cloud(Storage(sf_a=services({11: "running"})), {"kvm11.example.com": {}})
    assert node_of(cloud, conf=str(conf), name="kvm11.example.com").id == 11


def test_two_hosts_cannot_be_one_node():
    cloud = Cloud(Storage(sf_a=services({11: "running"})), {"kvm11": {}, "kvm12": {}})
    node = node_of(cloud, {"kvm11": 11, "kvm12": 11})
    assert node.id is None and node.client is None
    assert node.problem == "node id 11 is told of 2 hosts of StorPool cluster sf.a: kvm11, kvm12"


def test_a_node_that_is_not_there():
    node = node_of(Cloud(Storage(sf_a=services({12: "running"})), {"kvm11": {}}), {"kvm11": 11})
    assert (node.id, node.client, node.hyperconverged) == (11, None, False)
    assert node.problem == "StorPool cluster sf.a has no client on node 11"


@pytest.mark.parametrize("value", [0, 4096, "eleven", None, 1.5])
def test_wrong_node_ids(value):
    with pytest.raises(OptionError, match=r"option sp_node_ids\.kvm11"):
        parse_node_ids({"kvm11": value})


def test_node_ids_are_numbers_or_texts():
    assert parse_node_ids({"kvm11": "11", "kvm12": 12}) == {"kvm11": 11, "kvm12": 12}
    assert parse_node_ids(None) == {}


# -- which hosts


def test_a_selection():
    hosts = {"kvm11": {}, "kvm12": {}, "kvm21": {"cluster": "kvm2"}}
    clusters = {"kvm1": "sf.a", "kvm2": "sf.a"}

    def chosen(**selection):
        cloud = Cloud(Storage(), {name: dict(fields) for name, fields in hosts.items()}, clusters)
        return [host.name for host in observe(cloud, Selection(conf=NOWHERE, **selection)).hosts]

    assert chosen() == ["kvm11", "kvm12", "kvm21"]
    assert chosen(zone="sofia") == chosen(zone="zone") == ["kvm11", "kvm12", "kvm21"]
    assert chosen(cluster="kvm2") == chosen(cluster="id-kvm2", zone="sofia") == ["kvm21"]
    assert chosen(hosts=("kvm12", "id-kvm11", "kvm11")) == ["kvm11", "kvm12"]
    for wrong in ({"zone": "varna"}, {"cluster": "kvm9"}, {"hosts": ("kvm99",)}, {"hosts": ("kvm21",), "cluster": "kvm1"}):
        with pytest.raises(OptionError, match="does not exist in CloudStack"):
            chosen(**wrong)


def test_peers_are_hosts_of_the_cluster_that_are_up():
    hosts = {"kvm11": {}, "kvm12": {}, "kvm13": {"state": "Down"}, "kvm21": {"cluster": "kvm2"}}
    cloud = Cloud(Storage(), hosts, {"kvm1": "sf.a", "kvm2": "sf.a"})
    found = {host.name: host.peers for host in observe(cloud, Selection(hosts=("kvm11", "kvm13"), conf=NOWHERE)).hosts}
    assert found == {"kvm11": ("kvm12",), "kvm13": ("kvm11", "kvm12")}


def test_hosts_are_looked_at_again_with_one_call():
    cloud = Cloud(Storage(), {"kvm11": {}, "kvm12": {}})
    seen = observe(cloud, Selection(conf=NOWHERE))
    cloud.asked.clear()
    cloud.rows["listHosts"].pop()
    again = look_again(cloud, seen)
    assert [one.name for one in seen.hosts] == ["kvm11", "kvm12"] and [one.name for one in again.hosts] == ["kvm11"]
    assert cloud.asked == [("listHosts", {"type": "Routing", "hypervisor": "KVM", "zoneid": "zone"})]


@pytest.mark.parametrize("fields, expected", [({}, None), ({"memoryallocatedbytes": 0}, False), ({"memoryallocatedbytes": 1 << 30}, True)])
def test_memory_tells_of_instances(fields, expected):
    assert observe(Cloud(Storage(), {"kvm11": fields}), Selection(conf=NOWHERE)).hosts[0].instances is expected


def test_pools_with_a_heartbeat():
    pools = [
        {"id": "1", "name": "storpool", "type": "StorPool", "zoneid": "zone", "state": "Up"},
        {"id": "2", "name": "nfs of the cluster", "type": "NetworkFilesystem", "zoneid": "zone", "clusterid": "id-kvm1", "state": "Up"},
        {"id": "3", "name": "nfs of another", "type": "NetworkFilesystem", "zoneid": "zone", "clusterid": "id-kvm2", "state": "Up"},
        {"id": "4", "name": "ceph", "type": "RBD", "zoneid": "zone", "state": "Up"},
        {"id": "5", "name": "elsewhere", "type": "StorPool", "zoneid": "other", "state": "Up"},
    ]
    cloud = Cloud(Storage(), {"kvm11": {}}, pools=pools, fence={"value": "false", "isdynamic": False, "defaultvalue": "false"})
    assert [pool.name for pool in observe(cloud, Selection(conf=NOWHERE)).hosts[0].pools] == ["storpool", "nfs of the cluster"]


def test_no_password_of_a_controller_is_kept():
    raw = {"enabled": True, "powerstate": "On", "driver": "ipmitool", "address": "a", "port": "623", "username": "u", "password": "s****"}
    cloud = Cloud(Storage(), {"kvm11": {"outofbandmanagement": raw}})
    host = observe(cloud, Selection(conf=NOWHERE)).hosts[0]
    assert host.oobm.configured and host.oobm.power == "On" and "s****" not in repr(host)
    assert observe(Cloud(Storage(), {"kvm11": {}}), Selection(conf=NOWHERE)).hosts[0].oobm.power == "Disabled"
    assert ("listHosts", {"type": "Routing", "hypervisor": "KVM"}) in cloud.asked


# -- the fence setting


def stamp(seconds):
    return datetime.fromtimestamp(int(seconds), timezone.utc).strftime("%Y-%m-%dT%H:%M:%S+0000")


NOW = time.time()


def server(name, ago):
    return {"name": name, "state": "Up", "lastserverstart": stamp(NOW - ago)}


STARTED = [server("ms1", 500), server("ms2", 900)]
LONG_AGO = [server("ms1", 30 * 86400)]
UPDATED = "Successfully completed updating configuration.  Name:"
EDIT = {"type": "CONFIGURATION.VALUE.EDIT", "level": "INFO", "description": f"{UPDATED} {FENCE} New Value: x"}
OTHER = {**EDIT, "description": f"{UPDATED} force.ha New Value: true"}
RESET = {**EDIT, "description": "Successfully completed resetting configuration"}


def fence_of(value="true", servers=None, events=(), **row):
    row = {"value": value, "defaultvalue": "false", "isdynamic": False, **row}
    cloud = Cloud(Storage(), {"kvm11": {}}, fence=row, servers=STARTED if servers is None else servers, events=events)
    return observe(cloud, Selection(conf=NOWHERE)).fence, cloud.asked


def test_a_default_is_not_asked_about():
    fence, asked = fence_of("false")
    assert (fence.value, fence.in_force, asked[-1][0]) == (False, True, "listConfigurations")


def test_of_a_fence_setting_that_a_check_run_foresees_nobody_knows_whether_the_servers_are_restarted_after_it():
    fence, asked = fence_of(foreseen=True)
    assert (fence.value, fence.in_force, asked[-1][0]) == (True, None, "listConfigurations")
    assert fence_of("false", foreseen=True)[0].in_force is True


def test_changes_are_looked_for_since_the_server_that_runs_longest_was_started():
    fence, asked = fence_of(events=[EDIT])
    assert fence.in_force is False
    assert asked[-1] == ("listEvents", {"type": "CONFIGURATION.VALUE.EDIT", "startdate": STARTED[1]["lastserverstart"], "listall": True})


@pytest.mark.parametrize(
    "events, servers, expected",
    [
        ([], STARTED, True),
        ([OTHER], STARTED, True),
        ([{**EDIT, "level": "ERROR"}], STARTED, True),
        ([OTHER, EDIT], STARTED, False),
        ([RESET], STARTED, False),
        ([], LONG_AGO, None),  # events are not kept that long
        ([EDIT], LONG_AGO, False),
        ([], [], None),
        ([], [{"name": "ms1", "state": "Up"}], None),
        ([EDIT], [{**STARTED[0], "state": "Down"}], None),
        (ApiError("432", "not for this role"), STARTED, None),
    ],
)
def test_in_force(events, servers, expected):
    fence, _asked = fence_of(events=events, servers=servers)
    assert (fence.value, fence.in_force) == (True, expected)


def test_several_pools_make_the_default_matter():
    pools = [{"id": kind, "name": kind, "type": kind, "zoneid": "zone", "state": "Up"} for kind in ("StorPool", "NetworkFilesystem")]
    row = {"value": "false", "defaultvalue": "false", "isdynamic": False}
    cloud = Cloud(Storage(), {"kvm11": {}}, pools=pools, fence=row, servers=STARTED, events=[EDIT])
    assert observe(cloud, Selection(conf=NOWHERE)).fence.in_force is False


def test_a_cloudstack_without_the_setting():
    assert observe(Cloud(Storage(), {"kvm11": {}}), Selection(conf=NOWHERE)).fence.in_force is None


def test_switches_and_the_value_of_a_zone():
    details = {"resourceHAEnabled": "false", FENCE: "true"}
    zone = observe(Cloud(Storage(), {"kvm11": {}}, zone={"resourcedetails": details}), Selection(conf=NOWHERE)).zones[0]
    assert (zone.ha, zone.oobm, zone.fence) == (False, True, "true")
