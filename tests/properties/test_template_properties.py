# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What holds for every template that can be declared, over every cluster that can be there; StorPool is a small model, written from
the rules of the reference sheet without a look at the planner."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import planning
from ansible_collections.storpool.cloudstack.plugins.module_utils._errors import CollectionError
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources._shared import template_object
from ansible_collections.storpool.cloudstack.plugins.modules.storpool_template import DECLARED
from hypothesis import given
from hypothesis import strategies as st
from planning import GROUPS, Cluster, carried_out, ends, maybe
from things import raw_snapshot, raw_template, raw_volume

NAMES = ["a", "b", "c"]
PLACES = {"place_all": "placeAll", "place_head": "placeHead", "place_tail": "placeTail"}
CARRIED = ("iops", "bw", "replication", "placeAll", "placeHead", "placeTail", "reuseServer")


class Model(Cluster):
    """StorPool as far as templates are concerned; also the client that the planner observes through."""

    def __init__(self, templates, objects):
        self.all = {one["name"]: one for one in templates}
        self.objects = objects

    def templates(self):
        return copy.deepcopy(list(self.all.values()))

    def volumes(self):
        return copy.deepcopy([one for one in self.objects if "bound" not in one])

    def snapshots(self):
        return copy.deepcopy([*(one for one in self.objects if "bound" in one), raw_snapshot("gold")])

    def snapshot(self, name):
        return next((one for one in self.snapshots() if one["name"] == name), None)

    def VolumeTemplateCreate(self, _on, body):
        assert body["name"] not in self.all
        made = raw_template(body["name"], replication="-", placeAll="default", placeHead="", placeTail="", reuseServer=False)
        self._take(made, body)
        for place in ("placeHead", "placeTail"):
            made[place] = made[place] or made["placeAll"]
        self.all[made["name"]] = made

    def _take(self, one, body):
        assert all(body.get(place, "hdd") in GROUPS for place in PLACES.values())
        one.update({key: value for key, value in body.items() if key in (*CARRIED, "size", "name")})
        if "parent" in body:
            one["parentName"] = body["parent"]

    def VolumeTemplateUpdate(self, on, body):
        one = self.all.pop(on)
        if "rename" in body:
            assert body["rename"] not in self.all
            for reached in self.objects:
                if reached["templateName"] == on:
                    reached["templateName"] = body["rename"]
            one["name"] = body["rename"]
        self._take(one, body)
        self.all[one["name"]] = one
        if body.get("propagate"):
            for reached in self.objects:
                if reached["templateName"] == one["name"]:
                    reached.update({key: body[key] for key in CARRIED if key in body})

    def VolumeTemplateDelete(self, on, _body):
        assert not any(one["templateName"] == on for one in self.objects), "in use"
        del self.all[on]

    def state(self):
        return self.all, self.objects


groups = st.sampled_from(GROUPS)


@st.composite
def models(draw):
    def policy():
        return {
            "iops": draw(st.sampled_from(["-", 5])), "bw": draw(st.sampled_from(["-", 9])), "replication": draw(st.integers(1, 3)),
            "placeAll": draw(groups), "placeHead": draw(groups), "placeTail": draw(groups), "reuseServer": draw(st.booleans()),
        }  # fmt: skip

    names = draw(st.lists(st.sampled_from(NAMES), unique=True))
    templates = [raw_template(name, **{**policy(), "size": draw(st.sampled_from(["-", 4096]))}) for name in names]
    objects = []
    for number, kind in enumerate(draw(st.lists(st.sampled_from([raw_volume, raw_snapshot]), max_size=3))):
        tags = {"cs": "volume"} if draw(st.booleans()) else {}
        objects.append(kind(f"o{number}", number, **policy(), templateName=draw(st.sampled_from([*names, ""])), tags=tags))
    return Model(templates, objects)


@st.composite
def wishes(draw, name=None):
    """Options of one template as somebody might write them; not all of them make sense together."""
    options: dict[str, Any] = {
        "name": name or draw(st.sampled_from(NAMES)),
        "state": draw(st.sampled_from(["present", "present", "present", "absent"])),
        "renamed_from": draw(maybe(st.sampled_from(NAMES))) if name is None else None,
        "size": draw(maybe(st.sampled_from(["4K", "1M"]))),
        "parent": draw(maybe(st.sampled_from(["gold", "gold", "no-such"]))),
        "iops": draw(maybe(st.sampled_from(["5", "unlimited"]))),
        "bw": draw(maybe(st.sampled_from(["9", "unlimited"]))),
        "replication": draw(maybe(st.integers(1, 3))),
        "reuse_server": draw(maybe(st.booleans())),
        "propagate": draw(st.booleans()),
        "allow_cloudstack_objects": draw(st.booleans()),
        **{place: draw(maybe(st.sampled_from([*GROUPS, *GROUPS, "mars"]))) for place in PLACES},
    }
    return {key: value for key, value in options.items() if value is not None}


parsed = partial(planning.parsed, DECLARED)
planned = partial(planning.planned, DECLARED)


@given(models(), wishes())
def test_one_template(model, options):
    """The planner never raises; a refusal changes nothing; what it predicts comes to be; and then nothing is left to do."""
    wanted = parsed(options)
    before = copy.deepcopy(model.objects)
    order, (plan,) = planned(model, [wanted])
    if plan.refused is not None:
        assert isinstance(plan.refused, CollectionError) and not plan.changes
        return
    assert bool(plan.changes) == (plan.before != plan.after or plan.beside[0] != plan.beside[1])
    carried_out(model, order, [plan])
    if plan.after is None:
        assert wanted.name not in model.all
    else:
        assert template_object(model.all[plan.after["name"]]) == plan.after
    if not wanted.propagate:
        assert [{**one, "templateName": None} for one in model.objects] == [{**one, "templateName": None} for one in before]
    elif not wanted.allow_cloudstack_objects:
        for old, new in zip(before, model.objects, strict=True):
            assert not old["tags"] or {**old, "templateName": None} == {**new, "templateName": None}
    _order, (again,) = planned(model, [wanted])
    assert again.refused is None and not again.changes and again.before == again.after


@given(models(), st.data())
def test_the_order_of_a_list_does_not_matter(model, data):
    names = data.draw(st.lists(st.sampled_from(NAMES), min_size=2, max_size=3, unique=True))
    declared = [data.draw(wishes(name)) for name in names]
    first, second = ends(DECLARED, model, (declared, data.draw(st.permutations(declared))))
    assert first == second
