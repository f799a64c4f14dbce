# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What tasks of a check run leave behind for the next: rows that are laid over listings, and ids that nobody has given yet."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from ansible_collections.storpool.cloudstack.plugins.module_utils._cloudstack import COPIES, CloudStack, cached_on, setting_identity
from ansible_collections.storpool.cloudstack.plugins.module_utils._errors import OptionError
from ansible_collections.storpool.cloudstack.plugins.module_utils._foresight import (
    MADE_UP,
    Foresight,
    is_made_up,
    made_up_id,
    without_made_up,
)
from ansible_collections.storpool.cloudstack.plugins.module_utils._http import Stats
from ansible_collections.storpool.cloudstack.plugins.module_utils._options import CloudStackConnection
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources._shared import Registered
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources.settings import SCOPES, SETTINGS
from test_http import connect
from things import raw_snapshot, raw_template, raw_volume

ROWS = [{"id": "a", "size": 1, "name": "one"}, {"id": "b", "size": 2, "name": "two"}]


def test_without_entries_a_listing_is_what_was_read():
    assert Foresight().active is False and Foresight([]).active is True
    foresight = Foresight([["here", "volume", "c", {"id": "c"}]])
    for place, listing in (("there", "volume"), ("here", "snapshot")):
        assert foresight.over(place, listing, ROWS, "id") is ROWS and foresight.each(place, listing, ROWS, "id") is ROWS


@pytest.mark.parametrize(
    ("entered", "listed"),
    [
        ([("a", {"size": 9})], [{"id": "a", "size": 9, "name": "one"}, ROWS[1]]),
        ([("a", None)], [ROWS[1]]),
        ([("c", {"id": "c"})], [*ROWS, {"id": "c"}]),
        ([("c", {"id": "c"}), ("c", None)], ROWS),
        ([("c", None)], ROWS),
        ([("a", None), ("a", {"id": "a", "size": 5})], [{"id": "a", "size": 5, "name": "one"}, ROWS[1]]),
        ([("b", {"size": 7}), ("d", {"id": "d"}), ("a", None)], [{"id": "b", "size": 7, "name": "two"}, {"id": "d"}]),
    ],
)
def test_what_was_entered_is_laid_over_a_listing(entered, listed):
    """By the task that entered it, and by the next."""
    first = Foresight([])
    for identity, row in entered:
        first.enter("here", "volume", identity, row)
    assert first.new == [["here", "volume", identity, row] for identity, row in entered]
    second = Foresight(first.new)
    assert second.new == []
    for foresight in (first, second):
        assert foresight.over("here", "volume", ROWS, "id") == listed
    assert ROWS[0] == {"id": "a", "size": 1, "name": "one"}, "what was read stays as it is"


def test_several_rows_of_one_identity_go_together():
    found = [{"of": "a", "n": 1}, {"of": "a", "n": 2}, {"of": "b", "n": 3}]
    foresight = Foresight([["here", "attachment", "a", []], ["here", "attachment", "c", [{"of": "c", "n": 4}, {"of": "c", "n": 5}]]])
    assert foresight.each("here", "attachment", found, "of") == [found[2], {"of": "c", "n": 4}, {"of": "c", "n": 5}]


def test_ids_that_nobody_has_given():
    first, second = made_up_id(), made_up_id()
    assert first != second and first.startswith(MADE_UP) and is_made_up(first) and is_made_up(f"/dev/storpool-byid/{first}")
    assert not is_made_up("sf.a.1") and not is_made_up(None) and not is_made_up(7)
    shown = without_made_up(
        {"id": first, "ids": [second, "sf.a.1"], "path": f"/dev/{first}", "text": f"volume ~{first} of {second}", "n": 7}
    )
    assert shown == {"id": None, "ids": [None, "sf.a.1"], "path": None, "text": "volume (not known yet) of (not known yet)", "n": 7}


# -- what the clients answer

URL = "http://127.0.0.1:1/client/api"


def cloudstack(found, *entries):
    """A client of a server that lists `found`, after the plans of earlier tasks."""
    client = CloudStack(CloudStackConnection(URL, "key", "secret", True, 5, 10, {}))
    client._listed = lambda call, key, unlimited, params: [dict(one) for one in found]
    client.begin(Stats(), read_only=True, foresight=Foresight([[URL, *entry] for entry in entries]))
    return client


DATA, LOG = {"id": "v1", "name": "data", "zoneid": "z1"}, {"id": "v2", "name": "log", "zoneid": "z1"}


@pytest.mark.parametrize(
    ("asked", "entries", "listed"),
    [
        ({}, [], [DATA, LOG]),
        ({}, [("volume", "v1", {"id": "v1", "size": 5})], [{**DATA, "size": 5}, LOG]),
        ({}, [("volume", "v1", None)], [LOG]),
        ({}, [("snapshot", "v1", None)], [DATA, LOG]),
        ({}, [("volume", "v3", {"id": "v3", "name": "new"})], [DATA, LOG, {"id": "v3", "name": "new"}]),
        ({"name": "data"}, [("volume", "v1", {"id": "v1", "name": "other"})], [LOG]),
        ({"name": "data", "zoneid": None}, [("volume", "v3", {"id": "v3", "name": "data"})], [DATA, LOG, {"id": "v3", "name": "data"}]),
        ({"zoneid": "z2"}, [("volume", "v3", {"id": "v3", "zoneid": "z1"}), ("volume", "v4", {"id": "v4"})], [DATA, LOG, {"id": "v4"}]),
    ],
)
def test_a_listing_of_cloudstacks_as_it_would_be(asked, entries, listed):
    """What a server lists fits what it was asked for; what is laid over has to be looked at."""
    assert cloudstack([DATA, LOG], *entries).list("listVolumes", "volume", **asked) == listed


@pytest.mark.parametrize(
    ("key", "row", "entry", "told"),
    [
        ("snapshot", {"volumeid": "o1", "volumename": "old"}, ("volume", "o1", {"id": "o1", "name": "new"}), {"volumename": "new"}),
        ("volume", {"storageid": "o1", "storage": "old"}, ("storagepool", "o1", {"id": "o1", "name": "new"}), {"storage": "new"}),
        ("volume", {"diskofferingid": "o1"}, ("diskoffering", "o1", {"id": "o1", "name": "new"}), {"diskofferingname": "new"}),
        ("volume", {"storageid": "o1", "storage": "old"}, ("storagepool", "o2", {"id": "o2", "name": "new"}), {}),
        ("snapshot", {"volumeid": "o1", "volumename": "old"}, ("volume", "o1", None), {}),
    ],
)
def test_who_is_renamed_has_the_new_name_in_other_listings_too(key, row, entry, told):
    row = {"id": "r1", **row}
    for asked in ({}, {"showunique": False}):
        assert cloudstack([row], entry).list(f"list{key}s", key, **asked) == [{**row, **told}]


def test_no_server_is_asked_for_what_it_cannot_know():
    client = cloudstack([DATA])
    client.foresee("volume", MADE_UP + "1", {"id": MADE_UP + "1", "name": "new"})
    assert client.list("listVolumes", "volume", id=MADE_UP + "1") == [{"id": MADE_UP + "1", "name": "new"}]
    assert client.list("listVolumes", "volume", id=MADE_UP + "2") == []


def test_a_client_that_no_task_has_begun_foresees_nothing():
    client = cloudstack([DATA], ("volume", "v1", None))
    client.begin(Stats(), read_only=False)
    assert client.list("listVolumes", "volume") == [DATA]
    never = CloudStack(CloudStackConnection(URL, "key", "secret", True, 5, 10, {}))
    never._listed = lambda *asked: [DATA]
    assert never.list("listVolumes", "volume") == [DATA]


COPY, FAR = {"id": "s1", "zoneid": "z1"}, {"id": "s1", "zoneid": "z2"}


@pytest.mark.parametrize(
    ("entries", "listed"),
    [
        ([], [COPY, FAR]),
        ([(COPIES, "s1", [COPY])], [COPY]),
        ([("snapshot", "s1", None)], []),
        ([(COPIES, "s2", [{"id": "s2"}])], [COPY, FAR, {"id": "s2"}]),
        ([("snapshot", "s2", {"id": "s2"})], [COPY, FAR]),
    ],
)
def test_the_copies_of_a_snapshot_as_they_would_be(entries, listed):
    assert cloudstack([COPY, FAR], *entries).list("listSnapshots", "snapshot", showunique=False) == listed


def test_templates_are_listed_by_pool():
    client = cloudstack([{"id": "t1"}], (cached_on("p1"), "t2", {"id": "t2"}), ("template", "t1", None))
    assert client.list("listTemplates", "template", storageid="p1") == [{"id": "t1"}, {"id": "t2"}]
    assert client.list("listTemplates", "template", storageid="p2") == [{"id": "t1"}]
    assert client.list("listTemplates", "template") == []


def test_settings_have_the_value_of_their_scope():
    settings = [{"name": "a", "value": "1"}, {"name": "b", "value": "2"}]
    client = cloudstack(settings)
    client.foresee("configuration", setting_identity("a", {"zoneid": "z1"}), "9")
    client.foresee("configuration", setting_identity("b", {}), "8")
    changed = [{"name": "a", "value": "9", "foreseen": True}, {"name": "b", "value": "8", "foreseen": True}]
    assert client.list("listConfigurations", "configuration", zoneid="z1") == [changed[0], settings[1]]
    assert client.list("listConfigurations", "configuration") == [settings[0], changed[1]]
    assert client.list("listConfigurations", "configuration", zoneid="z2") == settings


def storpool(*entries, **lists):
    """A client of a cluster with these objects, after the plans of earlier tasks."""
    client = connect(1)
    answers = {"VolumesList": "volume", "SnapshotsList": "snapshot", "VolumeTemplatesStatus": "template"}

    def get(call, name=None):
        if call in answers:
            return [dict(one) for one in lists.get(answers[call], ())]
        if call == "VolumeListSnapshots":
            return [{"name": "asked of the server"}]
        return [one for one in lists.get(call.lower(), ()) if name in (one["name"], f"~{one['globalId']}")]

    client._get = get
    client.begin(Stats(), read_only=True, foresight=Foresight([[client._place, *entry] for entry in entries]))
    return client


def names(rows):
    return [one["name"] for one in rows]


BASE, TOP = raw_snapshot("base", 51), raw_snapshot("top", 52, parentName="base")
VOLUME = raw_volume("data", 1, parentName="top")


@pytest.mark.parametrize(
    ("entries", "chain"),
    [
        ([], ["asked of the server"]),
        ([("template", "t", None)], ["asked of the server"]),
        ([("volume", "sf.a.2", raw_volume("other", 2))], ["top", "base"]),
        ([("snapshot", "sf.a.60", raw_snapshot("other", 60))], ["top", "base"]),
        ([("volume", "sf.a.1", {**VOLUME, "parentName": "base"})], ["base"]),
        ([("volume", "sf.a.1", None)], []),
    ],
)
def test_what_a_volume_stands_on_is_followed_through_what_is_foreseen(entries, chain):
    assert names(storpool(*entries, volume=[VOLUME], snapshot=[BASE, TOP]).volume_snapshots("data")) == chain


def test_one_object_of_storpools_as_it_would_be():
    bigger = {**VOLUME, "size": 5}
    renamed = storpool(("volume", "sf.a.1", {**bigger, "name": "new"}), volume=[VOLUME])
    assert renamed.as_foreseen("volume", VOLUME)["size"] == 5 and renamed.as_foreseen("volume", TOP) is TOP
    assert renamed.as_foreseen("snapshot", VOLUME) is VOLUME
    assert renamed.volume("data") is None and renamed.volume("new")["size"] == 5 and renamed.volume("~sf.a.1")["name"] == "new"
    gone = storpool(("volume", "sf.a.1", None), volume=[VOLUME])
    assert gone.volume("data") is None and gone.volumes() == []
    assert storpool(volume=[VOLUME]).volume("data")["name"] == "data"


@pytest.mark.parametrize(
    ("entries", "parents", "on"),
    [
        ([], ["top"], ["-", "data"]),
        ([("volume", "sf.a.1", None)], [], ["-", "data"]),
        ([("volume", "sf.a.1", {**VOLUME, "parentName": "base"})], ["base"], ["data", "-"]),
        ([("called", "snapshot top", "~sf.a.52"), ("called", "snapshot ~sf.a.52", "named")], ["named"], ["-", "data"]),
        ([("called", "volume data", "")], ["top"], ["-", "-"]),
    ],
)
def test_what_others_call_an_object_follows_it(entries, parents, on):
    """The name of the parent, and of the volume that stands on a snapshot."""
    listed = {"volume": [VOLUME], "snapshot": [BASE, {**TOP, "onVolume": "data"}]}
    client = storpool(*entries, **listed)
    assert [one["parentName"] for one in client.volumes()] == parents
    assert [one["onVolume"] for one in client.snapshots()] == on


def test_the_room_of_templates_as_it_would_be():
    there = {**raw_template("hdd"), "stored": {"capacity": 7}}
    other = {**raw_template("ssd", placeAll="ssd"), "stored": {"capacity": 9}}
    new = [raw_template("like", placeAll="ssd"), raw_template("unlike", replication=2)]
    entries = [("template", "hdd", None), *(("template", one["name"], one) for one in new)]
    found = storpool(*entries, template=[there, other]).templates_status()
    assert [(one["name"], one["stored"]["capacity"]) for one in found] == [("ssd", 9), ("like", 9), ("unlike", None)]


def test_what_is_new_has_nothing_of_its_own_yet_and_is_well():
    client = storpool(("volume", "sf.a.2", raw_volume("new", 2)), volume=[VOLUME])
    client._get = {"VolumesGetStatusQuick": {"data": {"status": "down"}}}.get
    status = client.volumes_status()
    assert status["data"] == {"status": "down"} and list(status) == ["new", "data"]
    assert status["new"] == {
        "status": "up", "decreasedRedundancy": False, "migrating": False, "balancerBlocked": False, "downBytes": 0, "syncingDataBytes": 0,
    }  # fmt: skip


class Cluster:
    """A client of StorPool's that has these clients and placement groups, and counts what it is asked."""

    def __init__(self, configured=(), running=(), groups=(), multi_cluster=False):
        self.connection = SimpleNamespace(multi_cluster=multi_cluster)
        self.configured, self.running, self.groups, self.asked = configured, running, groups, []

    def clients_config(self):
        self.asked.append("clients_config")
        return [{"id": number} for number in self.configured]

    def services(self):
        self.asked.append("services")
        return {"clients": {str(number): {} for number in self.running}}

    def placement_groups(self):
        self.asked.append("placement_groups")
        return {name: {} for name in self.groups}


def wants(attach=None, **policy):
    return SimpleNamespace(attach=attach, policy=policy, label="v")


@pytest.mark.parametrize(
    ("cluster", "clients", "attachments", "groups", "asked"),
    [
        (Cluster(configured=[11]), {11}, None, set(), ["clients_config"]),
        (Cluster(configured=[11]), set(), None, set(), []),
        (Cluster(configured=[]), {11}, {"a": {11: "ro"}, "b": {12: "rw"}}, set(), []),
        (Cluster(configured=["11"]), {11, 12}, {"b": {12: "rw"}}, set(), ["clients_config"]),
        (Cluster(configured=[12], running=[11]), {11}, {}, set(), ["clients_config", "services"]),
        (Cluster(groups=["hdd"]), set(), {}, {"hdd"}, ["placement_groups"]),
        (Cluster(multi_cluster=True), {11}, {}, {"hdd"}, []),
    ],
)
def test_what_is_registered_is_looked_up_only_where_it_is_not_known(cluster, clients, attachments, groups, asked):
    found = Registered.read(cluster, clients, attachments, groups)
    assert cluster.asked == asked
    found.check(wants(dict.fromkeys(clients, "rw"), place_all="hdd"))


@pytest.mark.parametrize(
    ("wanted", "option", "says"),
    [
        (wants({11: "rw", 99: "ro"}), "attach_to", "is no client of this cluster; there are: 11, 12"),
        (
            wants({11: "rw"}, place_head="hdd", place_tail="tape"),
            "place_tail",
            "is no placement group of this cluster; there are: hdd, ssd",
        ),
    ],
)
def test_what_is_not_registered_is_refused(wanted, option, says):
    with pytest.raises(OptionError, match=says) as refused:
        Registered({12, 11}, {"ssd", "hdd"}).check(wanted)
    assert (refused.value.parts["option"], refused.value.parts["item"]) == (option, "v")
    Registered().check(wanted)  # nobody had to look


def test_settings_of_a_new_pool_where_there_is_no_other():
    """Then nothing tells which settings a pool can have."""
    rows = [{"name": "a", "value": "1"}, {"name": "b"}]
    pool = {"id": f"nvme;{made_up_id()}", "name": "new"}
    known = {"listConfigurations": rows, "listStoragePools": [pool]}
    client = SimpleNamespace(list=lambda call, key, **params: known[call])
    assert SETTINGS._of_new(client, SCOPES["storage_pool"]) == rows
    known["listStoragePools"] = [pool, {"id": "ssd;1", "name": "old"}]
    client.list = lambda call, key, **params: [{"name": "a", "value": "2"}, {"name": "own"}] if "storageid" in params else known[call]
    assert SETTINGS._of_new(client, SCOPES["storage_pool"]) == [{"name": "a", "value": "1"}, {"name": "own", "value": None}]
