# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whose an object of CloudStack is, and where it lies on StorPool."""

from __future__ import annotations

import pytest
from ansible_collections.storpool.cloudstack.plugins.module_utils._errors import OptionError
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources._cloud import (
    Directory,
    Owner,
    one_of,
    parse_owner,
    storpool_address,
    twin_of,
)
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources.cloud_series import Standing, changed_since

ZONE = "3f1c2f1e-0a0b-4c0d-8e0f-000000000001"
OTHER_ZONE = "3f1c2f1e-0a0b-4c0d-8e0f-000000000002"
ROWS = {
    "listZones": [{"id": ZONE, "name": "sofia"}, {"id": OTHER_ZONE, "name": "twin"}, {"id": "z3", "name": "twin"}],
    "listDomains": [{"id": "d1", "name": "ops", "path": "ROOT/ops"}],
    "listProjects": [{"id": "p1", "name": "web"}],
}


class Client:
    """Answers listings and counts them."""

    def __init__(self):
        self.calls = []

    def list(self, call, key, unlimited=False, **params):
        self.calls.append((call, params))
        return ROWS[call]


def options(**given):
    return {"zone": None, "account": None, "domain": None, "project": None, **given}


def test_owner():
    assert parse_owner(options()) == Owner()
    assert parse_owner(options(zone=" sofia ", account="ops", domain="ROOT/ops")) == Owner("sofia", "ops", "ROOT/ops")


@pytest.mark.parametrize(
    ("given", "option"),
    [({"zone": " "}, "zone"), ({"account": "ops"}, "account"), ({"account": "ops", "domain": "ROOT", "project": "web"}, "project")],
)
def test_owner_refused(given, option):
    with pytest.raises(OptionError) as refused:
        parse_owner(options(**given))
    assert refused.value.parts["option"] == option


def test_each_listing_is_read_once_and_ids_need_none():
    client = Client()
    directory = Directory(client)
    owner = Owner("sofia", "ops", "ROOT/ops")
    assert directory.belongs(owner) == {"zoneid": ZONE, "domainid": "d1", "account": "ops"}
    assert directory.within(owner) == {"listall": True, "zoneid": ZONE, "domainid": "d1", "account": "ops"}
    assert directory.within(Owner(project="web")) == {"listall": True, "projectid": "p1"}
    assert directory.belongs(Owner(zone=OTHER_ZONE)) == {"zoneid": OTHER_ZONE}
    assert client.calls == [("listZones", {}), ("listDomains", {"listall": True}), ("listProjects", {"listall": True})]


def test_unclear_names_are_refused():
    directory = Directory(Client())
    for name, words in (("nowhere", "does not exist"), ("twin", "is the name of 2")):
        with pytest.raises(OptionError, match=words):
            directory.zone(name)


@pytest.mark.parametrize(
    ("path", "address"),
    [
        ("/dev/storpool-byid/sf.b.a1", "~sf.b.a1"),
        ("/dev/storpool/old-name", "old-name"),
        ("sf.b.a1", "~sf.b.a1"),
        ("0aecb402-a02a-4f41-9fd0-1a24f3818832", None),
        ("/var/lib/libvirt/images/0aecb402-a02a-4f41-9fd0-1a24f3818832", None),
        ("", None),
        (None, None),
    ],
)
def test_address_on_storpool(path, address):
    assert storpool_address(path) == address


def test_one_of_several():
    rows = [
        {"id": "1", "name": "data", "zonename": "sofia", "account": "admin"},
        {"id": "2", "name": "data", "zonename": "sofia", "account": "ops"},
        {"id": "3", "name": "1"},
    ]
    assert one_of(rows, "absent", "name", "volume") is None
    assert one_of(rows, "1", "name", "volume") is rows[0], "an id goes before a name"
    with pytest.raises(
        OptionError,
        match=r"option name: 'data' is the name of 2 volumes: 1 \(zone sofia, account admin\); 2 \(zone sofia, account ops\); give the id",
    ):
        one_of(rows, "data", "name", "volume")


@pytest.mark.parametrize(
    ("listed", "made", "undone"),
    [
        ([{"id": "1", "zoneid": "z1"}], {}, False),
        ([{"id": "1", "zoneid": "z1"}, {"id": "2", "zoneid": "z1"}], {}, True),
        ([{"id": "2", "zoneid": "z1"}, {"id": "1", "zoneid": "z1"}], {}, True),
        ([{"id": "1", "zoneid": "z1"}, {"id": "2", "zoneid": "z2"}], {}, False),
        ([{"id": "1", "zoneid": "z1"}, {"id": "2", "zoneid": "z1", "name": "database"}], {}, False),
        ([{"id": "1", "zoneid": "z1"}, {"id": "2", "zoneid": "z1", "state": "Expunging"}], {}, False),
        ([{"id": "1", "zoneid": "z1"}, {"id": "2", "zoneid": "z1", "state": "Ready"}], {}, True),
        ([{"id": "2", "zoneid": "z1"}], {}, True),  # its own record is not listed yet; the answer tells the same
        ([{"id": "1", "zoneid": "z1"}, {"id": "2", "zoneid": "z1"}], {"projectid": "p1"}, True),
        ([{"id": "2", "zoneid": "z1"}], {"id": None}, False),
    ],
)
def test_one_of_two_that_were_made_alike_is_taken_back(listed, made, undone):
    asked = []

    class Lists:
        """Objects called data, if not otherwise."""

        def list(self, call, key, **params):
            asked.append((call, key, params))
            return [{"name": "data", **one} for one in listed]

    look = twin_of("listVolumes", "volume", "deleteVolume", "data", ("zoneid",), showunique=True)
    back = look(Lists(), {"volume": {"id": "1", "name": "data", "zoneid": "z1", **made}})
    assert (back and (back.call, back.params, back.about)) == (("deleteVolume", {"id": "1"}, "data") if undone else None)
    project = {"projectid": "p1"} if "projectid" in made else {}
    assert asked == ([] if "id" in made else [("listVolumes", "volume", {"name": "data", "listall": True, "showunique": True, **project})])


def test_a_chain_of_snapshots_is_followed_so_far_and_no_circle_for_ever():
    chain = {f"n{number}": Standing(f"n{number + 1}", 0, 1) for number in range(200)}
    volume = {"name": "data", "path": "/dev/storpool/n0"}
    assert changed_since(volume, {"n64"}, chain) is None
    assert changed_since(volume, {"n65"}, chain) == "volume data does not stand on it"
