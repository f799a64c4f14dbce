# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What holds for every setting that can be declared, of every type and in every scope, over every CloudStack that can be there.

The plans' writes are carried out by a small model of CloudStack's settings: values of scopes over the global ones, and nothing else.
"""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import planning
from ansible_collections.storpool.cloudstack.plugins.module_utils._errors import CollectionError, OptionError
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources.settings import SCOPES, SETTINGS, check_type, same
from ansible_collections.storpool.cloudstack.plugins.modules.cloudstack_settings import DECLARED
from hypothesis import given
from hypothesis import strategies as st
from planning import carried_out
from things import checked

IDS = {kind: [f"3f1c2f1e-0a0b-4c0d-8e0f-0000000000{rank}{number}" for number in (1, 2)] for rank, kind in enumerate(SCOPES)}
NAMES = {kind: ["one", "two"] for kind in SCOPES}
HIDDEN = "kvm.snapshot.enabled"  # no listing has it up to 4.21
TOKEN = "1556129910218014736"
KINDS = {
    "a.boolean": ("Boolean", ("zone", "cluster")),
    "a.number": ("Number", ("storage_pool", "account", "domain")),
    "a.long": ("Long", ()),
    "a.range": ("Range", ("cluster",)),
    "a.decimal": ("Decimal", ("zone", "image_store")),
    "a.string": ("String", tuple(SCOPES)),
    "an.odd": ("CSV", ("storage_pool",)),
    "a.secret": ("String", ("zone",)),
    "sp.cluster.endpoint": ("String", ("cluster",)),
    "sp.alternative.endpoint": ("String", ("storage_pool",)),
    "sp.enable.alternative.endpoint": ("Boolean", ("storage_pool",)),
    "sp.bypass.secondary.storage": ("Boolean", ()),
    "kvm.ha.fence.on.storage.heartbeat.failure": ("Boolean", ("zone",)),
}
OF_TYPE = {
    "Boolean": ["true", "false"], "Number": ["0", "5", "-3"], "Long": ["0", "99999999999"], "Range": ["0", "0.5"], "Decimal": ["0.7", "1"],
    "String": ["", "x", "y", f"SP_API_HTTP=h:81;SP_AUTH_TOKEN={TOKEN}"], "CSV": ["", "a,b"],
}  # fmt: skip


class Model:
    """CloudStack as far as settings are concerned; also the client that the planner observes through."""

    def __init__(self, everywhere: dict[str, str | None], scoped: dict[tuple[str, str], dict[str, str]], dynamic: bool, running: bool):
        self.everywhere, self.scoped, self.dynamic, self.running = everywhere, scoped, dynamic, running
        self.writes: list[tuple[str, dict[str, Any]]] = []

    def row(self, name: str, value: str | None) -> dict[str, Any]:
        kind = KINDS[name][0]
        found = {"name": name, "value": value, "defaultvalue": OF_TYPE[kind][0], "type": kind, "isdynamic": self.dynamic}
        category = "Secure" if name == "a.secret" else "Advanced"
        if category == "Secure" and value:
            found["value"] = f"ENC({value})"
        return {**{key: one for key, one in found.items() if one is not None}, "category": category}

    def list(self, call: str, key: str, unlimited: bool = False, **params: Any) -> list[dict[str, Any]]:
        if call != "listConfigurations":
            kind = next(kind for kind, how in SCOPES.items() if how.listing == call)
            found = [
                {"id": identity, "name": name, "domain": "ROOT", "path": f"ROOT/{name}"}
                for identity, name in zip(IDS[kind], NAMES[kind], strict=True)
            ]
            return [one for one in found if params.get("name") in (None, one["name"])]
        if not params:
            return [self.row(name, value) for name, value in self.everywhere.items()]
        parameter, identity = next(iter(params.items()))
        kind = next(kind for kind, how in SCOPES.items() if how.parameter == parameter)
        own = self.scoped.get((kind, identity), {})
        return [self.row(name, own.get(name, value)) for name, value in self.everywhere.items() if kind in KINDS[name][1]]

    def read(self, call: str) -> dict[str, Any]:
        assert call == "listCapabilities"
        return {"capability": {"kvmsnapshotenabled": self.running}}

    def send(self, command: Any) -> None:
        params = dict(command.params)
        self.writes.append((command.call, dict(params)))
        name, value = params.pop("name"), params.pop("value", None)
        if name == HIDDEN:
            assert not params
            self.running = value == "true"
            return
        parameters = {kind: how.parameter for kind, how in SCOPES.items()}
        if command.call == "resetConfiguration":
            assert value is None
            parameters["image_store"] = "imagestoreid"
        else:
            assert command.call == "updateConfiguration" and value is not None
        if not params:
            self.everywhere[name] = OF_TYPE[KINDS[name][0]][0] if value is None else value
            return
        parameter, identity = next(iter(params.items()))
        kind = next(kind for kind, one in parameters.items() if one == parameter)
        assert identity in IDS[kind] and kind in KINDS[name][1]
        own = self.scoped.setdefault((kind, identity), {})
        if value is None:
            own.pop(name, None)
        else:
            own[name] = value

    def value(self, kind: str | None, identity: str | None, name: str) -> str:
        if name == HIDDEN:
            return "true" if self.running else "false"
        found = self.everywhere[name]
        if kind:
            found = self.scoped.get((kind, identity), {}).get(name, found)
        return found or ""

    def state(self) -> dict[Any, str]:
        scopes = [(None, None), *((kind, identity) for kind in SCOPES for identity in IDS[kind])]
        return {
            (*scope, name): self.value(*scope, name) for scope in scopes for name in self.everywhere if scope[0] in (None, *KINDS[name][1])
        }


@st.composite
def models(draw):
    def value(name: str) -> str:
        return draw(st.sampled_from(OF_TYPE[KINDS[name][0]]))

    everywhere = {name: value(name) or None for name in KINDS if draw(st.integers(0, 9))}
    scoped: dict[tuple[str, str], dict[str, str]] = {}
    for name in draw(st.lists(st.sampled_from(sorted(everywhere) or ["a.string"]), max_size=6)):
        if name in everywhere and KINDS[name][1]:
            kind = draw(st.sampled_from(KINDS[name][1]))
            scoped.setdefault((kind, draw(st.sampled_from(IDS[kind]))), {})[name] = value(name)
    return Model(everywhere, scoped, draw(st.booleans()), draw(st.booleans()))


values = (
    st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["true", "TRUE", "0", "+5", "05", "0.70", "x", " x ", "", "null", "a,b", f"SP_API_HTTP=h:81;SP_AUTH_TOKEN={TOKEN}"])
    | st.text(max_size=5)
)


@st.composite
def wishes(draw):
    """Options of one setting as somebody might write them; most are of the right type, and in a scope that it has."""
    name = draw(st.sampled_from([*KINDS, HIDDEN, "no.such"]))
    kind, kinds = KINDS.get(name, ("Boolean", ()))
    options: dict[str, Any] = {
        "name": name,
        "secret": draw(st.booleans()),
        "update_encrypted": draw(st.sampled_from(["on_create", "always"])),
    }
    if draw(st.integers(0, 3)):
        options["value"] = draw(st.sampled_from(OF_TYPE[kind])) if draw(st.integers(0, 3)) else draw(values)
    else:
        options["state"] = "default"
    if draw(st.booleans()):
        scope = draw(st.sampled_from(kinds if kinds and draw(st.integers(0, 5)) else sorted(SCOPES)))
        options[scope] = draw(st.sampled_from([*IDS[scope], *NAMES[scope], "no-such"]))
        if scope == "account" and draw(st.booleans()):
            options["domain"] = draw(st.sampled_from(["ROOT", "elsewhere"]))
    return options


parsed = partial(planning.parsed, DECLARED)
planned = partial(planning.planned, DECLARED)


def is_told(plan) -> bool:
    """Whether it can be seen afterwards that a setting is as declared: what is stored encrypted cannot."""
    return plan.before is not None and plan.before["name"] != "a.secret"


@given(models(), wishes())
def test_one_setting(model, options):
    """The planner never raises; a refusal changes nothing; what it predicts comes to be; and then nothing is left to do."""
    wanted = parsed(options)
    before = model.state()
    groups, (plan,) = planned(model, [wanted])
    if plan.refused is not None:
        assert isinstance(plan.refused, CollectionError) and not plan.changes
        return
    assert bool(plan.changes) == (plan.before != plan.after) or not is_told(plan)
    carried_out(model, groups, [plan])
    scope = wanted.scope
    identity = dict(zip(NAMES[scope.kind], IDS[scope.kind], strict=True)).get(scope.name, scope.name) if scope.kind else None
    now = model.value(scope.kind, identity, wanted.name)
    if "(hidden" not in plan.after["value"] and is_told(plan):
        assert same(now, plan.after["value"], plan.after["type"])
    if wanted.value is not None and is_told(plan):
        assert same(now, wanted.value, plan.after["type"])
    changed = {key for key, value in model.state().items() if value != before.get(key)}
    assert all(key[2] == wanted.name for key in changed) and (not scope.kind or changed <= {(scope.kind, identity, wanted.name)})
    _groups, (again,) = planned(model, [wanted])
    assert again.refused is None
    if is_told(plan) or wanted.update_encrypted == "on_create":
        assert not again.changes and again.before == again.after


@given(models(), st.lists(wishes(), min_size=2, max_size=5), st.randoms())
def test_the_order_of_a_list_does_not_matter(model, options, random):
    """Whatever order the entries have, the end is the same, and the second run is silent."""
    mixed = list(options)
    random.shuffle(mixed)
    ends = []
    for order in (options, mixed):
        there = copy.deepcopy(model)
        wanted = [parsed(one) for one in order]
        try:
            groups, plans = planned(there, wanted)
        except OptionError as exc:
            assert "is declared twice" in str(exc)
            ends.append("twice")
            continue
        if any(plan.refused for plan in plans):
            ends.append("refused")
            continue
        carried_out(there, groups, plans)
        ends.append(there.state())
        _groups, again = planned(there, wanted)
        for one, plan in zip(wanted, again, strict=True):
            assert not plan.changes or (not is_told(plan) and one.update_encrypted == "always"), plan.changes
    assert ends[0] == ends[1]


@given(models(), wishes())
def test_planning_is_pure(model, options):
    wanted = parsed(options)
    world = SETTINGS.observe(model, [wanted])
    before = copy.deepcopy((wanted, world.settings, world.ids, world.replaced))
    first, second = SETTINGS.plan(wanted, world), SETTINGS.plan(wanted, world)
    assert (wanted, world.settings, world.ids, world.replaced) == before
    assert (first.before, first.after, first.notes, first.warnings) == (second.before, second.after, second.notes, second.warnings)
    assert [change.write for change in first.changes] == [change.write for change in second.changes]


@given(models(), wishes())
def test_no_token_is_shown(model, options):
    _groups, (plan,) = planned(model, [parsed(options)])
    assert TOKEN not in repr((plan.before, plan.after, plan.notes, plan.warnings, str(plan.refused)))


@given(st.sampled_from(["Boolean", "Number", "Long", "Decimal", "Range", "String", "CSV"]), st.text(max_size=8), st.text(max_size=8))
def test_values_that_mean_the_same_are_symmetric(kind, one, other):
    assert same(one, one, kind) and same(f" {one} ", one, kind)
    assert same(one, other, kind) == same(other, one, kind)


@given(st.sampled_from(["Number", "Decimal"]), st.integers() | st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_one_of_its_type_or_refused(kind, number):
    text = SETTINGS.parse(checked(DECLARED, name="a", value=number), 0.0).value
    try:
        check_type(text, kind, "a")
    except OptionError:
        # CloudStack's numbers have no exponent, and a whole number no fraction.
        assert "e" in text or (kind == "Number" and "." in text)
    else:
        assert float(text) == float(number)


def test_an_encrypted_value_that_a_scope_may_have_inherited_is_written_when_the_global_one_changes():
    zone = {"name": "a.secret", "value": "x", "zone": IDS["zone"][0], "update_encrypted": "on_create"}
    wanted = [parsed({"name": "a.secret", "state": "default"}), parsed(zone)]
    model = Model({"a.secret": "x"}, {}, True, False)
    groups, plans = planned(model, wanted)
    carried_out(model, groups, plans)
    assert model.value("zone", IDS["zone"][0], "a.secret") == "x"
    assert not any(plan.changes for plan in planned(model, wanted)[1])
