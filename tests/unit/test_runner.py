# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A task from its options to its result, over a store that fails as told. The network is not the point here."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from functools import partial
from unittest.mock import ANY

import pytest
from ansible_collections.storpool.cloudstack.plugins.module_utils import _http, _runner
from ansible_collections.storpool.cloudstack.plugins.module_utils._errors import (
    AnswerLost,
    ApiError,
    ChangeRefused,
    OptionError,
    Unreachable,
)
from ansible_collections.storpool.cloudstack.plugins.module_utils._foresight import Foresight
from ansible_collections.storpool.cloudstack.plugins.module_utils._module import with_option
from ansible_collections.storpool.cloudstack.plugins.module_utils._plan import Change, JointWait, Plan, Wait
from ansible_collections.storpool.cloudstack.plugins.module_utils._runner import Mode
from ansible_collections.storpool.cloudstack.plugins.module_utils._shown import HIDDEN
from ansible_collections.storpool.cloudstack.plugins.module_utils._storpool import StorPool
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources import cloud_foresight
from things import THINGS, Put, Store, Things, WantedThing, checked
from transcript import GET, POST, Server

LOST = ("lost before", "lost after")
REFUSED = ApiError("insufficientResources", "no space", call="Create")
TOKEN = "1556129910218014736"


def run(store, check=False, diff=True, **given):
    return THINGS.run(store, checked(THINGS, **given), Mode(check, diff))


def many(count, **more):
    return [{"name": f"t{number}", "value": number, **more} for number in range(1, count + 1)]


def entry(result, name):
    (found,) = [one for one in result["things"] if one["name"] == name]
    return found


# -- success, no change, check mode, diff


def test_one():
    store = Store()
    result = run(store, name="a", value=7)
    assert result == {
        "changed": True,
        "things": [
            {"name": "a", "changed": True, "actions": ["create", "set"], "object": {"name": "a", "value": 7, "serial": 4711}, "lucky": True}
        ],
        "summary": {"declared": 1, "changed": 1, "unchanged": 0, "failed": 0, "not_attempted": 0},
        "diff": [{"before_header": "thing a", "after_header": "thing a", "before": {}, "after": {"name": "a", "value": 7}}],
    }
    assert store.writes == [("Create", "a"), ("Set", "a")]


def test_second_run():
    store = Store(a=7)
    result = run(store, name="a", value=7)
    assert result == {
        "changed": False,
        "things": [
            {"name": "a", "changed": False, "actions": [], "object": {"name": "a", "value": 7, "serial": 700}, "lucky": True},
        ],
        "summary": {"declared": 1, "changed": 0, "unchanged": 1, "failed": 0, "not_attempted": 0},
        "diff": [],
    }
    assert (store.writes, store.reads) == ([], 1)


@pytest.mark.parametrize("given", [{"name": "a", "value": 7}, {"things": many(20), "value": 3}, {"names": ["a", "t1"], "value": 13}])
def test_check_mode_tells_what_the_run_then_does(given):
    predicted, real = run(store := Store(t1=1, t2=5), check=True, **given), run(Store(t1=1, t2=5), **given)
    assert store.writes == []
    for result in (predicted, real):
        for one in result["things"]:
            one["object"].pop("serial")
    assert predicted == real


def test_without_diff():
    assert "diff" not in run(Store(), diff=False, name="a")


def test_the_diff_of_many_is_a_list_of_small_ones():
    result = run(Store(t1=1), things=many(3))
    assert [diff["after_header"] for diff in result["diff"]] == ["thing t2", "thing t3"]


def test_nothing_declared():
    store = Store()
    result = run(store, things=[])
    assert result["changed"] is False
    assert result["things"] == []
    assert store.writes == []


@pytest.mark.parametrize(("keep", "names"), [(None, ["t2", "t3"]), ("changed", ["t2", "t3"]), ("all", ["t1", "t2", "t3"]), ("none", [])])
def test_return_objects_of_many(keep, names):
    result = run(Store(t1=1), things=many(3), **({"return_objects": keep} if keep else {}))
    assert [one["name"] for one in result["things"]] == names
    assert result["summary"]["declared"] == 3
    assert result["changed"] is True


@pytest.mark.parametrize(("keep", "names"), [(None, ["a"]), ("changed", []), ("all", ["a"]), ("none", [])])
def test_return_objects_of_one(keep, names):
    result = run(Store(a=1), name="a", value=1, **({"return_objects": keep} if keep else {}))
    assert [one["name"] for one in result["things"]] == names


def test_failed_ones_are_always_returned():
    store = Store({("Create", "t2"): [REFUSED]})
    result = run(store, things=many(3), return_objects="none", on_error="continue")
    assert [one["name"] for one in result["things"]] == ["t2"]


def test_warnings():
    assert run(Store(), name="a", value=13)["warnings"] == ["13 is unlucky"]


# -- order and parallelism


@pytest.mark.parametrize("parallel", [1, 2, 8])
def test_what_is_needed_goes_first(parallel):
    store = Store()
    run(store, parallel=parallel, things=[{"name": "c", "requires": ["b"]}, {"name": "b", "requires": ["a"]}, {"name": "a"}])
    assert store.writes == [("Create", "a"), ("Create", "b"), ("Create", "c")]


def test_writes_go_out_in_parallel_and_no_more_than_told():
    class Slow(Store):
        now = most = 0
        together = threading.Barrier(4)

        def send(self, write):
            with self.lock:
                self.now += 1
                self.most = max(self.most, self.now)
            self.together.wait(60)  # so that all that may be at it at once are
            time.sleep(0.005)
            try:
                return super().send(write)
            finally:
                with self.lock:
                    self.now -= 1

    store = Slow()
    run(store, things=[{"name": f"t{number}"} for number in range(12)], parallel=4)
    assert store.most == 4
    assert len(store.state) == 12


def test_one_write_needs_no_thread(monkeypatch):
    def no_threads(*_given, **_named):
        raise AssertionError("a thread for one write")

    monkeypatch.setattr(threading, "Thread", no_threads)
    run(Store(), name="a", value=1)


# -- refusals


def test_a_refusal_comes_before_the_first_write():
    store = Store(t3=9)
    result = run(store, things=[*many(2), {"name": "t3", "value": 1, "forbidden": True}, {"name": "t4", "requires": ["t3"]}])
    assert store.writes == []
    assert result["failed"] is True
    assert result["changed"] is False
    assert result["summary"] == {"declared": 4, "changed": 0, "unchanged": 0, "failed": 1, "not_attempted": 3}
    assert result["msg"] == (
        "1 of 4 failed, 0 changed, 0 were right already, 3 not attempted. "
        "First failure: thing t3: t3 is forbidden (set courage: true to allow it)"
    )
    assert result["error"] == {
        "object": "t3",
        "type": "refused",
        "message": "t3 is forbidden",
        "hint": "set courage: true to allow it",
        "allow_with": "courage: true",
    }
    assert entry(result, "t3") == {
        "name": "t3",
        "changed": False,
        "actions": [],
        "failed": True,
        "error": {"type": "refused", "message": "t3 is forbidden", "hint": "set courage: true to allow it", "allow_with": "courage: true"},
        "object": {"name": "t3", "value": 9, "serial": 900},
    }
    assert entry(result, "t1")["not_done"] == ["create", "set"]
    assert entry(result, "t1")["actions"] == []
    assert entry(result, "t1")["object"] is None


def test_a_refusal_does_not_hinder_the_others_when_told_to_continue():
    store = Store()
    things = [*many(2), {"name": "t3", "value": 1, "forbidden": True}]
    result = run(store, things=things, on_error="continue")
    assert set(store.state) == {"t1", "t2"}
    assert result["summary"] == {"declared": 3, "changed": 2, "unchanged": 0, "failed": 1, "not_attempted": 0}
    assert (result["failed"], result["changed"]) == (True, True)


@pytest.mark.parametrize("on_error", ["stop", "continue"])
def test_check_mode_of_a_refusal(on_error):
    things = [*many(2), {"name": "t3", "value": 1, "forbidden": True}]
    predicted, real = run(store := Store(), check=True, things=things, on_error=on_error), run(Store(), things=things, on_error=on_error)
    assert store.writes == []
    for result in (predicted, real):
        for one in result["things"]:
            (one["object"] or {}).pop("serial", None)
    assert predicted == real


def test_options_that_cannot_be_meant_come_before_the_first_read():
    store = Store()
    with pytest.raises(OptionError, match="must not be negative"):
        run(store, things=[{"name": "a", "value": -1}])
    with pytest.raises(OptionError, match="is declared twice"):
        run(store, names=["a", "a"])
    assert store.reads == 0


# -- failures


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("no space", "thing a: no space"),
        ("thing a is attached", "thing a is attached"),
        ("thing a: no space", "thing a: no space"),
        ("thing ab is attached", "thing a: thing ab is attached"),
    ],
)
def test_a_failure_names_its_object_once(said, told):
    assert run(Store({("Create", "a"): [ChangeRefused(said, hint="stop")]}), name="a", value=1)["msg"].startswith(f"{told} (stop)")


def test_failure_of_one():
    store = Store({("Create", "a"): [REFUSED]})
    result = run(store, name="a", value=1)
    assert (result["failed"], result["changed"]) == (True, False)
    assert result["msg"] == "thing a: Create failed: insufficientResources: no space"
    assert result["things"] == [
        {
            "name": "a",
            "changed": False,
            "actions": [],
            "failed": True,
            "error": REFUSED.as_dict(),
            "not_done": ["create", "set"],
            "object": None,
            "lucky": False,
        }
    ]
    assert "diff" not in result or result["diff"] == []


def test_half_done_is_told_as_it_is():
    store = Store({("Set", "a"): [REFUSED]})
    result = run(store, name="a", value=5)
    assert (result["failed"], result["changed"]) == (True, True)
    assert result["msg"].endswith("no space. Done before that: create; not done: set")
    (one,) = result["things"]
    assert (one["actions"], one["not_done"]) == (["create"], ["set"])
    assert one["object"] == {"name": "a", "value": 0, "serial": 0}  # not the 5 it was to become


def test_half_done_and_then_unreadable():
    store = Store({("Set", "a"): [REFUSED]})
    store.read_errors = []
    original = store.list

    def fail_the_second():
        if store.reads:
            raise Unreachable("gone")
        return original()

    store.list = fail_the_second
    (one,) = run(store, name="a", value=5)["things"]
    assert one["object"] is None


@pytest.mark.parametrize("parallel", [1, 4])
def test_stop_at_the_first_failure(parallel):
    store = Store({("Create", "t5"): [REFUSED]})
    result = run(store, things=many(50), parallel=parallel)
    counts = result["summary"]
    assert counts["failed"] == 1
    assert counts["changed"] + counts["not_attempted"] == 49
    assert counts["changed"] <= 4 + 2 * parallel
    if parallel == 1:
        assert counts["changed"] == 4
        assert [one["name"] for one in result["things"]] == [f"t{number}" for number in range(1, 51)]
        assert entry(result, "t6")["not_done"] == ["create", "set"]
        assert entry(result, "t6")["object"] is None
    assert len(store.state) == counts["changed"]


@pytest.mark.parametrize("parallel", [1, 4])
def test_continue_after_a_failure(parallel):
    store = Store({("Create", "t5"): [REFUSED], ("Set", "t7"): [REFUSED]})
    result = run(store, things=many(50), on_error="continue", parallel=parallel)
    assert result["summary"] == {"declared": 50, "changed": 48, "unchanged": 0, "failed": 2, "not_attempted": 0}
    assert len(store.state) == 49  # t7 was created
    assert result["msg"].startswith("2 of 50 failed, 48 changed, 0 were right already, 0 not attempted. First failure: thing t5: ")
    assert result["error"]["object"] == "t5"


def test_what_needs_a_failed_one_fails_too_when_told_to_continue():
    store = Store({("Create", "a"): [REFUSED]})
    result = run(store, things=[{"name": "a"}, {"name": "b"}, {"name": "c", "requires": ["b"]}], on_error="continue")
    assert set(store.state) == {"b", "c"}
    assert result["summary"]["failed"] == 1


def test_a_defect_in_a_thread_is_reported_and_stops_the_rest(monkeypatch):
    over, carry_out = threading.Event(), _runner._Run._carry_out

    def noted(self, wanted, outcome):
        carry_out(self, wanted, outcome)
        if outcome.plan.name == "t1":
            over.set()

    monkeypatch.setattr(_runner._Run, "_carry_out", noted)

    class Slow(Store):
        def send(self, write):
            if write.name != "t1":
                assert over.wait(60)
            return super().send(write)

    store = Slow({("Create", "t1"): [ValueError("oops")]})
    result = run(store, things=many(50), on_error="continue", parallel=2)
    assert "defect of this collection: ValueError: oops" in result["msg"]
    assert "Traceback" in result["error"]["traceback"]
    assert result["summary"]["not_attempted"] >= 48


# -- lost answers


@pytest.mark.parametrize("lost", LOST)
@pytest.mark.parametrize("call", ["Create", "Set"])
def test_a_lost_answer_is_settled_by_reading(call, lost):
    store = Store({(call, "a"): [lost]})
    result = run(store, name="a", value=5)
    assert result["changed"] is True
    assert "failed" not in result
    assert result["things"][0]["actions"] == ["create", "set"]
    assert store.state == {"a": 5}
    assert store.writes.count((call, "a")) == (1 if lost == "lost after" else 2)
    assert store.reads == 2


def test_what_only_the_server_knows_is_read_after_a_lost_answer():
    store = Store({("Set", "a"): ["lost after"]})
    (one,) = run(store, name="a", value=5)["things"]
    assert one["object"] == {"name": "a", "value": 5, "serial": 500}


def test_answers_lost_again_and_again():
    store = Store({("Create", "a"): ["lost before"] * 4 + ["lost after"], ("Set", "a"): []})
    result = run(store, name="a", value=5)
    assert result["things"][0]["actions"] == ["create", "set"]
    assert store.state == {"a": 5}


def test_answers_lost_for_ever():
    store = Store({("Create", "a"): ["lost before"] * 100})
    result = run(store, name="a", value=5)
    assert result["error"]["type"] == "answer_lost"
    assert store.writes == [("Create", "a")] * (_runner._Run.REPLANS + 1)


@pytest.mark.parametrize("lost", LOST)
def test_lost_answers_among_many(lost):
    script = {("Create", f"t{number}"): [lost] for number in range(1, 20, 3)} | {
        ("Set", f"t{number}"): [lost] for number in range(2, 20, 3)
    }
    store = Store(script)
    result = run(store, things=many(20), parallel=4)
    assert result["summary"]["changed"] == 20
    assert store.state == {f"t{number}": number for number in range(1, 21)}


def test_a_lost_answer_and_then_no_reading():
    store = Store({("Create", "a"): ["lost after"]})
    original = store.list

    def once():
        if store.reads:
            raise Unreachable("nobody there")
        return original()

    store.list = once
    result = run(store, name="a", value=5)
    assert result["error"]["type"] == "answer_lost"
    assert "then it could not be read back: nobody there" in result["msg"]
    assert result["changed"] is False
    (one,) = result["things"]
    assert (one["actions"], one["unknown"], one["not_done"], one["object"]) == ([], ["create"], ["set"], None)
    assert "Done before that: nothing; not known: create; not done: set" in result["msg"]


def test_what_could_be_done_twice_is_not_sent_again_while_the_server_may_be_at_it(monkeypatch):
    monkeypatch.setattr(_runner, "LATE_EFFECTS", (0.0, 0.0))
    slow = AnswerLost("the server did not answer", under_way=True)
    store = Store({("Create", "a"): [slow]})
    result = run(store, name="a", value=5)
    assert result["error"]["type"] == "answer_lost"
    assert "it is not there yet and may still come" in result["msg"]
    assert (store.writes, store.reads) == ([("Create", "a")], 5)  # before, after, twice more, and what is there at the end
    assert entry(result, "a")["unknown"] == ["create"]


def test_the_late_effect_of_a_write_that_was_sent_twice_is_our_own():
    store = Store({("Create", "a"): ["lost before", "exists"]})
    result = run(store, name="a", value=5)
    assert entry(result, "a")["actions"] == ["create", "set"]
    assert "warnings" not in result


def test_a_refusal_in_the_servers_own_words_for_what_the_lost_one_did_meanwhile():
    def late(store):
        store.state["a"] = 7
        raise ApiError("530", "it is set already", call="Set")

    store = Store({("Set", "a"): ["lost before", late]}, a=1)
    result = run(store, name="a", value=7)
    assert result["things"][0]["actions"] == ["set"] and not result.get("failed")
    store = Store({("Set", "a"): ["lost before", ApiError("530", "no", call="Set")]}, a=1)
    result = run(store, name="a", value=7)
    assert result["failed"] and result["things"][0]["not_done"] == ["set"]


def test_only_the_change_that_was_sent_is_taken_for_done():
    """Somebody else sets the value while the answer to the creation is lost."""
    store = Store({("Create", "a"): ["lost after"]})
    original = store.list

    def others():
        if store.writes:
            store.state["a"] = 5
        return original()

    store.list = others
    assert entry(run(store, name="a", value=5), "a")["actions"] == ["create"]


class InTwoReadings(Things):
    """What is set shows in two readings; a plan of the two can be one that nobody would make of the thing as it is."""

    def __init__(self, refuses):
        self.refuses = refuses

    def observe(self, client, wanted):
        return {"first": client.list(), "second": client.list()}

    def plan(self, wanted, world):
        of_both = super().plan(wanted, world["first"])
        if world["first"] != world["second"]:
            if self.refuses:
                return replace(of_both, changes=[], refused=ChangeRefused("the readings contradict each other"))
            of_both.changes = [Change("half set", change.write) for change in of_both.changes]
        return of_both


@pytest.mark.parametrize("refuses", [False, True])
def test_an_effect_between_two_readings_of_a_look_is_looked_at_again(refuses):
    store = Store({("Set", "a"): ["lost before"]}, a=1)
    original = store.list

    def late():
        seen = original()
        if store.reads == 3:  # the first of the look after the write
            store.state["a"] = 5
        return seen

    store.list = late
    result = replace(THINGS, resource=InTwoReadings(refuses)).run(store, checked(THINGS, name="a", value=5), Mode(False, True))
    assert result["things"][0]["actions"] == ["set"] and not result.get("failed")
    assert (store.writes, store.reads) == ([("Set", "a")], 6)


# -- somebody else


def test_somebody_else_created_it_meanwhile():
    store = Store({("Create", "a"): ["exists"]})
    result = run(store, name="a", value=5)
    assert store.state == {"a": 5}
    assert result["things"][0]["actions"] == ["set"]
    assert "was changed by somebody else meanwhile" in result["warnings"][0]


def test_somebody_else_did_all_of_it():
    store = Store({("Create", "a"): [lambda store: store.state.update(a=5)]})
    result = run(store, name="a", value=5)
    assert result["changed"] is False
    assert result["things"][0]["actions"] == []
    assert result["things"][0]["object"]["value"] == 5
    assert "somebody else" in result["warnings"][0]


def test_somebody_else_deleted_it_meanwhile():
    store = Store({("Set", "a"): ["gone"]}, a=1)
    result = run(store, name="a", value=5)
    assert store.state == {"a": 5}
    assert result["things"][0]["actions"] == ["create", "set"]


def test_a_conflict_that_stays_is_an_error():
    """The server says that it exists, and no listing shows it."""
    store = Store({("Create", "a"): [ApiError("objectExists", "a snapshot has that name", call="Create", object_name="a")] * 9})
    result = run(store, name="a")
    assert result["failed"] is True
    assert "a snapshot has that name" in result["msg"]
    assert store.writes == [("Create", "a")]


def test_what_is_refused_after_a_change_by_others():
    def meddle(store):
        store.state["a"] = 3
        raise AnswerLost("cut")

    store = Store({("Create", "a"): [meddle]})
    result = run(store, name="a", value=5, forbidden=False)
    assert store.state == {"a": 5}
    assert result["changed"] is True


@pytest.mark.parametrize("code", ["431", "530"])
def test_what_somebody_else_did_is_no_failure_in_cloudstacks_words_either(code):
    def meddle(store):
        store.state["a"] = 5
        raise ApiError(code, "it has that value")

    store = Store({("Set", "a"): [meddle]}, a=1)
    result = run(store, name="a", value=5)
    assert (result["changed"], result["things"][0]["actions"], store.state) == (False, [], {"a": 5})
    assert "was changed by somebody else meanwhile" in result["warnings"][0]


@pytest.mark.parametrize("value", [1, 2])
def test_what_cloudstack_refuses_for_good_is_not_sent_again(value):
    """Whether or not others changed something meanwhile."""

    def refuse(store):
        store.state["a"] = value
        raise ApiError("530", "the storage said no")

    store = Store({("Set", "a"): [refuse]}, a=1)
    result = run(store, name="a", value=5)
    assert result["failed"] and "the storage said no" in result["msg"] and store.writes == [("Set", "a")]


class Proving(Things):
    """What is set is proved afterwards, and no listing tells whether it was."""

    def plan(self, wanted, world):
        made = super().plan(wanted, world)
        made.changes = [*made.changes, Change("prove", Put("Prove", wanted.label, wanted.value), follows=True)] if made.changes else []
        return made


@pytest.mark.parametrize("lost", LOST)
def test_what_follows_is_done_although_the_answer_before_it_was_lost(lost):
    store = Store({("Set", "a"): [lost]}, a=1)
    result = replace(THINGS, resource=Proving()).run(store, checked(THINGS, name="a", value=5), Mode(False, True))
    assert result["things"][0]["actions"] == ["set", "prove"] and store.writes[-1] == ("Prove", "a")


def test_a_proof_that_fails_is_an_error():
    store = Store({("Prove", "a"): [ApiError("530", "the power cannot be read")]}, a=1)
    result = replace(THINGS, resource=Proving()).run(store, checked(THINGS, name="a", value=5), Mode(False, True))
    assert result["failed"] and "cannot be read" in result["msg"] and result["things"][0]["actions"] == ["set"]


class Twins(Things):
    """A store that lets two make the same thing: `seen` tells, look by look, whether there are two."""

    def __init__(self, *seen):
        self.seen = list(seen)

    def plan(self, wanted, world):
        made = super().plan(wanted, world)
        made.changes = [replace(one, twin=self.look) if one.action == "create" else one for one in made.changes]
        return made

    def look(self, store, answer):
        assert answer["serial"] == 4711
        return Put("Take back", "a", 0) if self.seen and self.seen.pop(0) else None


class Both(Store):
    """What one takes back is gone, or is the other's; `others` tells which, each time."""

    def __init__(self, *others, **more):
        super().__init__(**more)
        self.others = list(others)

    def send(self, write):
        if write.call != "Take back":
            return super().send(write)
        self.writes.append((write.call, write.name))
        if not self.others.pop(0):
            del self.state[write.name]
        return {}


def twins(resource, store, monkeypatch, **given):
    monkeypatch.setattr(_runner, "TWINS", 0.0)
    return replace(THINGS, resource=resource).run(store, checked(THINGS, name="a", value=5, **given), Mode(False, True))


def test_what_two_made_at_once_is_taken_back_and_the_others_is_used(monkeypatch):
    result = twins(Twins(True), store := Both(True), monkeypatch)
    assert store.writes == [("Create", "a"), ("Take back", "a"), ("Set", "a")]
    assert (result["things"][0]["actions"], store.state) == (["set"], {"a": 5})
    assert result["things"][0]["object"]["serial"] == 0, "that of the other one"
    assert "was made by somebody else at the same moment" in result["warnings"][0]


def test_a_thing_that_is_not_to_be_there_learns_nothing():
    """Neither of two plans need have an after-state: it may be about something that is to go."""
    for before, after in ((None, {"a": 1}), ({"a": 1}, None), (None, None)):
        outcome = _runner._Outcome(Plan("a", None, before))
        outcome.learn(after)
        assert outcome.plan.after == before
    outcome = _runner._Outcome(Plan("a", None, {"a": 1, "b": 2}))
    outcome.learn({"a": 3, "b": None})
    assert outcome.plan.after == {"a": 3, "b": 2}


def test_the_end_of_a_task_is_told_of_every_object():
    def finish(entries):
        return {"told": [(one["name"], one["changed"]) for one in entries]}

    given = {"things": many(2), "return_objects": "none"}
    result = replace(THINGS, finish=finish).run(Store(t1=1), checked(THINGS, **given), Mode(False, False))
    assert (result["things"], result["told"]) == ([], [("t1", False), ("t2", True)])


class Seeing(Things):
    """Tells what it would leave behind."""

    def foresee(self, client, wanted, plan, world):
        client.foreseen.append((wanted.label, plan.name, dict(world)))


class OfStorPool(Store, StorPool):
    """A store that is taken for StorPool's client."""

    def __init__(self, **state):
        super().__init__(**state)
        self.foreseen = []


def test_a_check_run_foresees_what_would_be_changed(monkeypatch):
    """In the order of what was declared; what is right already or refused leaves nothing behind."""
    plans = []
    monkeypatch.setattr(cloud_foresight, "foresee", lambda client, made: plans.extend(plan.name for plan in made))
    given = {"things": [*many(3), {"name": "no", "value": 1, "forbidden": True}], "on_error": "continue"}
    seeing = replace(THINGS, resource=Seeing())
    for client, foresight, check in ((OfStorPool(t2=2), Foresight([]), True), (OfStorPool(t2=2), Foresight(), True)):
        seeing.run(client, checked(THINGS, **given), Mode(check, False, foresight=foresight))
        assert [one[:2] for one in client.foreseen] == ([("t1", "t1"), ("t3", "t3")] if foresight.active else []) and not plans
    both = Store(t2=2)
    both.storpool = OfStorPool()
    seeing.run(both, checked(THINGS, **given), Mode(True, False, foresight=Foresight([])))
    assert plans == ["t1", "t3"] and [one[0] for one in both.storpool.foreseen] == ["t1", "t3"]


def test_when_both_made_way_it_is_made_again(monkeypatch):
    result = twins(Twins(True, False), store := Both(False), monkeypatch)
    assert store.writes == [("Create", "a"), ("Take back", "a"), ("Create", "a"), ("Set", "a")]
    assert (result["things"][0]["actions"], store.state) == (["create", "set"], {"a": 5})


def test_two_that_always_meet_end_with_an_error(monkeypatch):
    result = twins(Twins(*[True] * 9), store := Both(*[False] * 9), monkeypatch)
    assert result["failed"] and "whenever this task does" in result["msg"] and store.state == {}
    assert result["things"][0]["actions"] == [] and result["things"][0]["not_done"] == ["create", "set"]


def test_what_cannot_be_taken_back_is_told_as_done(monkeypatch):
    store = Both(*[True] * 2)
    store.send = lambda write, send=store.send: (nothing for nothing in ()).throw(REFUSED) if write.call == "Take back" else send(write)
    result = twins(Twins(True), store, monkeypatch)
    assert result["failed"] and result["things"][0]["actions"] == ["create"]


# -- execute: results that leave the machine

INFORM_OPTIONS = {"sp_api_http_host": ["127.0.0.1"], "sp_auth_token": TOKEN, "sp_api_http_port": 1}


def execute(query, clients=None, check=False, **options):
    declared = _runner.Informs(query=query, options=dict(what=dict(type="raw")))
    return _runner.execute(declared, checked(declared, **{**INFORM_OPTIONS, **options}), check, False, clients)


def test_a_query():
    with Server(GET("/ctrl/1.0/ClustersList", data={"clusters": []})) as server:
        result = execute(lambda client, _options: {"found": client.clusters()}, sp_api_http_port=server.port)
    assert (result["changed"], result["found"]) == (False, [])
    assert result["api"] == {"reads": 1, "writes": 0, "attempts": 1, "waited": 0.0}
    assert result["invocation"]["module_args"]["sp_auth_token"] == HIDDEN
    assert result["invocation"]["module_args"]["sp_api_http_host"] == ["127.0.0.1"]


@pytest.mark.parametrize("check", [True, False])
def test_check_mode_cannot_write_even_when_a_resource_tries(check):
    """The guard is in the client, below everything that could be wrong above it."""
    from ansible_collections.storpool.cloudstack.plugins.module_utils import _storpool

    class Careless(Things):
        def observe(self, client, wanted):
            client.send(_storpool.volume_delete("v"))
            return {"a": 1}

    declared = _runner.Manages(resource=Careless(), item=THINGS.item, plural="things")
    with Server(*([] if check else [POST("/ctrl/1.0/VolumeDelete/v", {}, data={"ok": True})])) as server:
        options = checked(declared, **{**INFORM_OPTIONS, "sp_api_http_port": server.port}, name="a", value=1)
        result = _runner.execute(declared, options, check, False)
    assert result.get("error", {}).get("type") == ("defect" if check else None)


def test_a_query_cannot_write():
    from ansible_collections.storpool.cloudstack.plugins.module_utils import _storpool

    result = execute(lambda client, _options: client.send(_storpool.volume_delete("v")))
    assert result["error"]["type"] == "defect"


@pytest.mark.parametrize(
    "failure",
    [
        ValueError(f"bad {TOKEN}"),
        ApiError("x", f"descr {TOKEN}", hint=f"hint {TOKEN}"),
        Unreachable(f"at {TOKEN}", more=[{"deep": TOKEN}]),
    ],
)
def test_secrets_are_taken_out_of_what_others_wrote(failure):
    def query(_client, _options):
        raise failure

    result = execute(query)
    assert result["failed"] is True
    assert TOKEN not in repr(result)
    assert HIDDEN in result["msg"]


def test_a_defect_has_a_traceback():
    result = execute(lambda _client, _options: 1 / 0)
    assert result["msg"].startswith("unexpected error, a defect of this collection: ZeroDivisionError")
    assert "Traceback" in result["exception"]


def test_secrets_from_the_environment_are_taken_out_too(monkeypatch):
    monkeypatch.setenv("SP_AUTH_TOKEN", f"{TOKEN}9")

    def query(client, _options):
        raise Unreachable(f"with {client.connection.token}")

    result = execute(query, sp_auth_token=None)
    assert f"{TOKEN}9" not in repr(result)


def test_a_short_secret_does_not_eat_words():
    def query(_client, _options):
        raise Unreachable("a name")

    assert execute(query, sp_auth_token="a")["msg"] == "a name"


def test_long_lists_are_not_repeated_in_the_invocation():
    result = execute(lambda _client, _options: {}, what=list(range(101)))
    assert result["invocation"]["module_args"]["what"] == "<101 entries>"
    result = execute(lambda _client, _options: {}, what=list(range(100)))
    assert result["invocation"]["module_args"]["what"] == list(range(100))


def test_secrets_hide_under_other_names_and_in_entries():
    spec = dict(
        key=dict(type="str", no_log=True, aliases=["api_key"]),
        things=dict(type="list", elements="dict", options=dict(token=dict(type="str", no_log=True), name=dict(type="str"))),
    )
    declared = _runner.Informs(query=lambda _client, _options: {"msg": "hunter2-alias hunter2-entry"}, options=spec)
    given = {**INFORM_OPTIONS, "api_key": "hunter2-alias", "things": [{"token": "hunter2-entry", "name": "n"}]}
    result = _runner.execute(declared, checked(declared, **given), False, False)
    assert result["invocation"]["module_args"]["things"] == [{"token": HIDDEN, "name": "n"}]
    assert "hunter2" not in repr(result)


def test_options_that_a_module_hides_itself():
    declared = _runner.Manages(
        resource=THINGS.resource, item=THINGS.item, plural="things", hide=lambda options: {**options, "name": "(hidden)"}
    )
    result = _runner.execute(declared, checked(declared, name="hunter2", **INFORM_OPTIONS), True, False)
    assert result["invocation"]["module_args"]["name"] == "(hidden)"


def test_no_requests(monkeypatch):
    monkeypatch.setattr(_http, "REQUESTS_ERROR", "a traceback")
    result = execute(lambda _client, _options: {})
    assert "requests" in result["msg"]
    assert result["failed"] is True


def test_clients_are_kept_for_the_same_connection_only():
    clients = {}
    seen = []
    for change in ({}, {}, {"sp_auth_token": "other-token"}, {"sp_api_http_port": 2}, {"sp_cluster": "c"}, {"sp_multi_cluster": True}):
        execute(lambda client, _options: seen.append(client) or {}, clients, **change)
    assert seen[0] is seen[1]
    assert len({id(one) for one in seen}) == len(clients) == 5


def test_each_task_has_counts_and_mode_of_its_own():
    clients = {}
    with Server(GET("/ctrl/1.0/VolumesList", data=[]), GET("/ctrl/1.0/VolumesList", data=[])) as server:
        for _unused in range(2):
            result = execute(lambda client, _options: {"x": client.volumes()}, clients, sp_api_http_port=server.port)
            assert result["api"]["reads"] == 1
    assert server.connections == 1


def test_missing_settings_are_an_error_not_a_traceback(monkeypatch):
    monkeypatch.delenv("SP_AUTH_TOKEN", raising=False)
    monkeypatch.setattr("ansible_collections.storpool.cloudstack.plugins.module_utils._options.STORPOOL_CONF", "/nowhere/storpool.conf")
    result = execute(lambda _client, _options: {}, sp_auth_token="")
    assert result["error"]["option"] == "sp_auth_token"
    assert "exception" not in result


# -- what is declared as a whole, waits that are shared, objects that change along


class Families(Things):
    """A thing called `t*` stands for all whose names begin with `t`; a keeper, an object of another kind, changes before them.

    Each is waited for until its value has settled, which the store says to one listing for all.
    """

    def __init__(self, seconds=5.0):
        self.seconds = seconds

    def spread(self, wanted, world):
        keeper = WantedThing("keeper", 1)
        found = []
        for one in wanted:
            names = [name for name in world if name.startswith(one.label[:-1])] if one.label.endswith("*") else [one.label]
            found += [WantedThing(name, one.value, ["keeper"]) for name in names if name != "keeper"]
        return [keeper, *found]

    def plan(self, wanted, world):
        made = super().plan(wanted, world)
        if wanted.label == "keeper":
            made.kind = "warden"
        else:
            made.waits = [JointWait(self.look, partial(self.missing, wanted.label), self.seconds, "be patient")]
        return made

    @staticmethod
    def look(store):
        store.list()
        return store

    @staticmethod
    def missing(name, store):
        return None if name in store.settled or store.reads >= store.settles_at else f"{name} is restless"


class Restless(Store):
    """All is settled from the given reading on, some things earlier."""

    def __init__(self, *arguments, settles_at=3, settled=(), **state):
        super().__init__(*arguments, **state)
        self.settles_at, self.settled = settles_at, settled


def run_families(store, check=False, seconds=5.0, **given):
    declared = replace(THINGS, resource=Families(seconds))
    return declared.run(store, checked(declared, **given), Mode(check, True))


def test_what_is_declared_as_a_whole_is_spread():
    store = Restless(t1=1, t2=2, other=5)
    result = run_families(store, name="t*", value=7)
    assert [(one["name"], one["actions"]) for one in result["things"]] == [("t1", ["set"]), ("t2", ["set"])]
    assert result["summary"] == {"declared": 2, "changed": 2, "unchanged": 0, "failed": 0, "not_attempted": 0}
    assert store.writes[:2] == [("Create", "keeper"), ("Set", "keeper")]
    assert [one["name"] for one in result["wardens"]] == ["keeper"]
    assert [one["after_header"] for one in result["diff"]] == ["warden keeper", "thing t1", "thing t2"]


def test_objects_are_waited_for_together():
    store = Restless(keeper=1, settles_at=4, t1=1, t2=2, t3=3)
    result = run_families(store, name="t*", value=7)
    assert not result.get("failed")
    assert store.reads == 4, "one to begin with, three for all of them"
    assert result["wardens"] == [{"name": "keeper", "changed": False, "actions": [], "object": ANY, "lucky": False}]


def test_check_mode_does_not_wait():
    store = Restless(keeper=1, settles_at=99, t1=1)
    assert not run_families(store, check=True, name="t*", value=7).get("failed")
    assert store.reads == 1


def test_what_is_missing_at_the_end_is_told_of_each():
    store = Restless(keeper=1, settles_at=99, settled=("t2",), t1=1, t2=7, t3=7)
    result = run_families(store, seconds=0.0, name="t*", value=7)
    assert result["failed"] and result["summary"]["failed"] == 2, result
    assert result["msg"].startswith("2 of 3 failed, 0 changed, 1 were right already") and "t1 is restless (be patient)" in result["msg"]
    errors = {one["name"]: one["error"]["message"] for one in result["things"] if one.get("failed")}
    assert errors == {"t1": "waited 0 s, but t1 is restless", "t3": "waited 0 s, but t3 is restless"}
    assert result["things"][0]["object"]["value"] == 7, "as it is now"


def test_a_reading_that_fails_ends_the_wait():
    store = Restless(keeper=1, t1=7)
    store.script[("Set", "t1")] = [lambda the: the.read_errors.append(Unreachable("nobody is there"))]
    result = run_families(store, name="t*", value=8)
    assert result["failed"] and result["things"][0]["error"]["type"] == "unreachable"
    assert result["things"][0]["actions"] == ["set"]


def test_an_object_that_changes_along_fails_the_task_and_stops_those_that_need_it():
    store = Restless({("Create", "keeper"): [REFUSED]}, t1=1)
    result = run_families(store, name="t*", value=7)
    assert result["failed"] and result["wardens"][0]["failed"] is True
    assert result["msg"].startswith("warden keeper: ") and store.writes == [("Create", "keeper")]
    assert result["summary"] == {"declared": 1, "changed": 0, "unchanged": 0, "failed": 0, "not_attempted": 1}


class Careful(Things):
    """Sets a value only when the store has been seen three times; takes no value that the answer says is odd."""

    def plan(self, wanted, world):
        made = super().plan(wanted, world)
        wait = Wait("the third look", lambda store: len(store.list()) >= 0 and store.reads >= 3, 5)
        made.changes = [replace(one, first=wait, learn={"ok": self.odd}) if one.action == "set" else one for one in made.changes]
        return made

    @staticmethod
    def odd(after, answer):
        if after["value"] == 13:
            raise ApiError("odd", "13 it is")


def test_a_change_can_wait_for_something_first():
    store = Store(a=1)
    declared = replace(THINGS, resource=Careful())
    declared.run(store, checked(declared, name="a", value=7), Mode(False, True))
    assert (store.reads, store.writes) == (3, [("Set", "a")])


def test_an_answer_can_be_refused():
    store = Store(a=1)
    declared = replace(THINGS, resource=Careful())
    result = declared.run(store, checked(declared, name="a", value=13), Mode(False, True))
    assert result["failed"] and result["things"][0]["actions"] == ["set"] and "not_done" not in result["things"][0]


class Laborious(Things):
    """Setting a value is preceded by work of its own, which may fail; a value that is right already is renewed."""

    def __init__(self, fails=False, waits=None):
        self.fails = fails
        self.waits = waits or []

    def plan(self, wanted, world):
        made = super().plan(wanted, world)
        made.changes = [replace(one, work=self.labour) if one.action == "set" else one for one in made.changes]
        made.renewals = [Put("Set", wanted.label, wanted.value)] if wanted.value == world.get(wanted.label) else []
        made.waits = self.waits
        return made

    def labour(self, store, tell):
        tell(f"{len(store.list())} things are there")
        if self.fails:
            raise ApiError("odd", "the work cannot be done")


def laborious(store, check=False, said=None, **given):
    declared = replace(THINGS, resource=given.pop("resource", None) or Laborious())
    return declared.run(store, checked(declared, **given), Mode(check, True, *([said.append] if said is not None else [])))


def test_work_comes_before_the_write_and_says_how_far_it_is():
    store, said = Store(a=1), []
    result = laborious(store, said=said, name="a", value=7)
    assert (result["things"][0]["actions"], store.writes, said) == (["set"], [("Set", "a")], ["1 things are there"])
    assert laborious(Store(a=1), name="a", value=7)["changed"] is True, "nobody has to listen"
    store, said = Store(a=1), []
    assert laborious(store, check=True, said=said, name="a", value=7)["changed"] is True
    assert (store.writes, said) == ([], [])


def test_work_that_fails_leaves_the_write_undone():
    store = Store()
    result = laborious(store, name="a", value=7, resource=Laborious(fails=True))
    assert result["failed"] and store.writes == [("Create", "a")]
    assert (result["things"][0]["actions"], result["things"][0]["not_done"]) == (["create"], ["set"])


@pytest.mark.parametrize("lost", [[], ["lost before"], ["lost after"]])
def test_what_is_renewed_is_no_change(lost):
    store = Store({("Set", "a"): lost}, a=7)
    result = laborious(store, name="a", value=7)
    assert (result.get("failed"), result["changed"], result["diff"]) == (None, False, [])
    assert store.writes == [("Set", "a")] * (1 + len(lost))
    store = Store(a=7)
    assert laborious(store, check=True, name="a", value=7)["changed"] is False and store.writes == []


def test_what_cannot_be_renewed_is_an_error():
    store = Store({("Set", "a"): ["lost before", "lost before"]}, a=7)
    result = laborious(store, name="a", value=7)
    assert result["failed"] and result["error"]["type"] == "answer_lost" and result["changed"] is False


def test_a_wait_can_say_what_is_known_when_its_time_is_up():
    wait = Wait("the copy", lambda store: False, 0.0, lambda store: f"{store.reads} looks were in vain")
    result = laborious(Store(a=1), name="a", value=7, resource=Laborious(waits=[wait]))
    assert "waited 0 s, but the copy has not ended: 2 looks were in vain" in result["msg"], result["msg"]


def test_a_system_that_is_optional_may_be_missing(monkeypatch):
    for name in ("CLOUDSTACK_ENDPOINT", "CLOUDSTACK_KEY", "CLOUDSTACK_SECRET"):
        monkeypatch.delenv(name, raising=False)
    given = {"sp_api_http_host": ["127.0.0.1"], "sp_auth_token": TOKEN, "name": "a"}
    needed = replace(THINGS, systems=("cloudstack", "storpool"))
    result = _runner.execute(needed, checked(needed, **given), False, False)
    assert result["msg"].startswith("option cloudstack_url is set nowhere")
    optional = replace(needed, optional=("cloudstack",))
    clients = {}
    monkeypatch.setattr(optional.resource, "observe", lambda client, wanted: clients.update(seen=client) or {"a": 0})
    assert _runner.execute(optional, checked(optional, **given), False, False)["changed"] is False
    assert "option cloudstack_url" in str(clients["seen"].without_cloudstack)


@pytest.mark.parametrize(
    ("message", "options", "told"),
    [
        ("dictionary requested, could not parse JSON or key=value", {"things": []}, "option things: dictionary requested, could not"),
        ("dictionary requested, could not parse JSON or key=value", {"things": [{"name": "a"}]}, "dictionary requested, could not"),
        ("missing required arguments: x", {"things": []}, "missing required arguments: x"),
    ],
)
def test_of_an_entry_that_is_no_map_the_option_is_told(message, options, told):
    assert with_option(message, THINGS.argument_spec(), options).startswith(told)


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"remote": ""}, "remote"),
        ({"keep": ["a"]}, "keep"),
        ({"keep": {"where": "here"}}, "keep.where"),
        ({"keep": {"name": "a"}, "many": [{"remote": {"id": "1"}}, {"remote": "b"}]}, "many.remote"),
        ({"many": [{"remote": {}}]}, None),
        ({}, None),
    ],
)
def test_of_what_is_no_map_the_option_is_told(options, option):
    remote = dict(type="dict", options=dict(id=dict(type="str")))
    keep = dict(type="dict", options=dict(name=dict(type="str"), where=remote))
    spec = dict(name=dict(type="str"), remote=remote, keep=keep, many=dict(type="list", elements="dict", options=dict(remote=remote)))
    message = "dictionary requested, could not parse JSON or key=value"
    assert with_option(message, spec, options) == (f"option {option}: {message}" if option else message)
