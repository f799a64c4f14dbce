# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The order of plans: what needs what, what is declared twice, what goes in circles."""

from __future__ import annotations

import pytest
from ansible_collections.storpool.cloudstack.plugins.module_utils._errors import OptionError
from ansible_collections.storpool.cloudstack.plugins.module_utils._plan import Change, Plan, Wait, diff_of, plan_all, waves
from things import Things, WantedThing


def wanted(*things):
    """`a`, or `b<a,c`: b needs a and c."""
    made = []
    for thing in things:
        name, _mark, needs = thing.partition("<")
        made.append(WantedThing(name, 1, needs.split(",") if needs else []))
    return made


@pytest.mark.parametrize(
    ("things", "groups"),
    [
        ([], []),
        (["a"], [[0]]),
        (["a", "b", "c"], [[0, 1, 2]]),
        (["b<a", "a"], [[1], [0]]),
        (["c<b", "b<a", "a"], [[2], [1], [0]]),
        (["d<b,c", "c<a", "b<a", "a", "e"], [[3, 4], [1, 2], [0]]),
        (["b<elsewhere"], [[0]]),
        (["a<a"], [[0]]),
    ],
)
def test_waves(things, groups):
    assert waves(wanted(*things), "things") == groups


def test_a_long_chain():
    things = wanted(*(f"t{number}<t{number + 1}" for number in range(300)), "t300")
    assert waves(things, "things") == [[position] for position in range(300, -1, -1)]


@pytest.mark.parametrize(("things", "both"), [(["a", "a"], (1, 2)), (["x", "a", "y", "a"], (2, 4))])
def test_declared_twice(things, both):
    with pytest.raises(OptionError) as caught:
        waves(wanted(*things), "things")
    assert str(caught.value) == f"option things: 'a' is declared twice (entries {both[0]} and {both[1]}); declare each object once"


class TwoNames(WantedThing):
    def names(self):
        return [self.label, "old-" + self.label]


def test_declared_twice_under_two_names():
    with pytest.raises(OptionError, match="'old-a' is declared twice"):
        waves([TwoNames("a", 1), WantedThing("old-a", 1)], "things")


def test_one_object_may_name_itself_twice():
    class Same(WantedThing):
        def names(self):
            return [self.label, self.label]

    assert waves([Same("a", 1)], "things") == [[0]]


def test_needing_a_former_name():
    assert waves([WantedThing("c", 1, ["old-a"]), TwoNames("a", 1)], "things") == [[1], [0]]


def test_a_circle_of_many_names_the_first_five():
    with pytest.raises(OptionError, match="option things: 'a, b, c, d, e' need each other in a circle"):
        waves(wanted("a<b", "b<c", "c<d", "d<e", "e<f", "f<a"), "things")


def test_changes_are_the_same_when_they_do_the_same():
    """What goes with a change is made anew by each plan; two plans are compared to see whether something is still to be done."""
    beside = {"first": Wait("x", bool, 1.0), "work": lambda client, tell: None, "twin": lambda client, answer: None, "follows": True}
    assert all(Change("set", 1, **{name: value}) == Change("set", 1) for name, value in beside.items())
    assert Change("set", 1) != Change("set", 2) and Change("set", 1) != Change("make", 1)


@pytest.mark.parametrize("things", [["a<b", "b<a"], ["x", "a<b", "b<c", "c<a"]])
def test_circles(things):
    with pytest.raises(OptionError, match="need each other in a circle") as caught:
        waves(wanted(*things), "things")
    assert "x" not in caught.value.parts["value"]


def test_plans_are_made_in_the_world_that_earlier_ones_leave():
    things = wanted("b<a", "a")
    world = {}
    plans = plan_all(Things(), things, waves(things, "things"), world)
    assert [plan.name for plan in plans] == ["b", "a"]  # in the order of the declaration
    assert plans[0].refused is None
    assert world == {"a": 1, "b": 1}


def test_without_the_world_the_need_is_not_met():
    things = wanted("b<a")
    assert plan_all(Things(), things, waves(things, "things"), {})[0].refused is not None


def test_a_plan_without_changes_predicts_nothing():
    class Strict(Things):
        def predict(self, world, wanted, plan):
            raise AssertionError("nothing changes")

    plan_all(Strict(), wanted("a"), [[0]], {"a": 1})


def test_diff_of_one():
    (plan,) = plan_all(Things(), wanted("a"), [[0]], {})
    diff = diff_of(plan, Things().show, "thing")
    assert diff["before"] == {}
    assert diff["after"] == {"name": "a", "value": 1}
    assert diff["before_header"] == diff["after_header"] == "thing a"


def test_the_diff_shows_what_changes_beside_it_too():
    plan = Plan("a", None, None, beside=({"existing": 1}, {"existing": 2}), kind="cluster")
    assert diff_of(plan, Things().show, "thing") == {
        "before_header": "cluster a", "after_header": "cluster a", "before": {"existing": 1}, "after": {"existing": 2},
    }  # fmt: skip
