# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts as CloudStack lists them, and the wait for a state: one listing a look, until a deadline."""

from __future__ import annotations

import pytest
from ansible_collections.storpool.cloudstack.plugins.module_utils._errors import ApiError, DeadlineExceeded, OptionError, Unreachable
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources import cloud_host_info

DOWN = "Disconnected"


def row(name, state="Up", address="10.1.0.1", number=1):
    return {"id": f"id-{number}", "name": name, "state": state, "ipaddress": address, "zonename": "sofia", "type": "Routing"}


class Server:
    """Answers each listing with the next of `looks`, and the last one again and again; an exception is raised."""

    def __init__(self, *looks):
        self.looks = list(looks)
        self.asked = []

    def list(self, call, key, **params):
        self.asked.append((call, params))
        look = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        if isinstance(look, Exception):
            raise look
        return look


@pytest.fixture
def clock(monkeypatch):
    """Time goes on only while somebody sleeps."""

    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now

        def sleep(self, seconds):
            self.now += seconds

    made = Clock()
    monkeypatch.setattr(cloud_host_info, "time", made)
    return made


def query(server, hosts=None, wait_for=None, wait_timeout=300):
    return cloud_host_info.query(server, {"hosts": hosts, "wait_for": wait_for, "wait_timeout": wait_timeout})["hosts"]


def test_all_by_name_or_some_as_asked():
    server = Server([row("kvm12", number=2, address="10.1.0.2"), row("kvm11")])
    assert [one["name"] for one in query(server)] == ["kvm11", "kvm12"]
    assert [one["id"] for one in query(server, ["id-2", "10.1.0.1", "kvm12"])] == ["id-2", "id-1", "id-2"]
    assert server.asked[0] == ("listHosts", {"unlimited": True, "type": "Routing", "details": "min"})


def test_names_that_mean_none_or_several():
    server = Server([row("kvm", number=1), row("kvm", number=2), row("other", number=3, address="10.9.0.9")])
    with pytest.raises(OptionError, match=r"means 2 hosts: id-1 \(kvm, sofia\), id-2"):
        query(server, ["kvm"])
    with pytest.raises(OptionError, match=r"is not a host of CloudStack; there are: kvm \(10.1.0.1\)"):
        query(server, ["kvm9"])
    with pytest.raises(OptionError, match="there are: none"):
        query(Server([]), ["kvm9"])


def test_it_waits_with_one_listing_a_look(clock):
    server = Server([row("a", DOWN), row("b", number=2)], [row("a", DOWN), row("b", number=2)], [row("a"), row("b", number=2)])
    assert [one["state"] for one in query(server, ["a", "b"], "Up")] == ["Up", "Up"]
    assert len(server.asked) == 3
    assert clock.now == 1000 + 2 * cloud_host_info.LOOK_EVERY


def test_it_ends_at_the_deadline(clock):
    server = Server([row("a", DOWN), row("b", "Alert", number=2)])
    with pytest.raises(DeadlineExceeded, match="not Up in CloudStack after 30 s: a is Disconnected, b is Alert") as caught:
        query(server, ["a", "b"], "Up", 30)
    assert caught.value.as_dict()["hosts"] == ["a", "b"]
    assert clock.now <= 1030


def test_without_time_it_has_to_be_right_at_once(clock):
    server = Server([row("a", DOWN)])
    with pytest.raises(DeadlineExceeded, match="not Up in CloudStack: a is Disconnected"):
        query(server, ["a"], "Up", 0)
    assert (len(server.asked), clock.now) == (1, 1000)


def test_a_management_server_may_be_away_while_it_waits(clock):
    server = Server(Unreachable("cannot be reached"), Unreachable("cannot be reached"), [row("a")])
    assert query(server, ["a"], "Up")[0]["state"] == "Up"
    with pytest.raises(Unreachable):
        query(Server(Unreachable("cannot be reached")), ["a"], "Up", 10)
    for options in ({}, {"wait_for": "Up", "wait_timeout": 0}):
        server = Server(Unreachable("cannot be reached"), [row("a")])
        with pytest.raises(Unreachable):
            query(server, ["a"], **options)


def test_other_errors_end_the_wait(clock):
    with pytest.raises(ApiError):
        query(Server(ApiError("431", "no")), ["a"], "Up")
    with pytest.raises(OptionError, match="is no number of seconds"):
        query(Server([]), None, "Up", -1)


def test_a_wait_that_no_clock_can_hold_is_refused():
    with pytest.raises(OptionError, match="option wait_timeout: 1000"):
        query(Server(), wait_for="Up", wait_timeout=10**400)
