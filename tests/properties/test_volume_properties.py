# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What holds for every volume that can be declared, over every cluster that can be there.

The plans' writes are carried out by a small model of StorPool, written from the rules of the reference sheet without a look at the planner.
"""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import planning
import pytest
from ansible_collections.storpool.cloudstack.plugins.module_utils import _units as units
from ansible_collections.storpool.cloudstack.plugins.module_utils._errors import CollectionError, OptionError
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources.volume import VOLUMES
from ansible_collections.storpool.cloudstack.plugins.modules.storpool_volume import DECLARED
from hypothesis import assume, given
from hypothesis import strategies as st
from planning import CLIENTS, Cluster, carried_out, maybe
from things import raw_snapshot, raw_template, raw_volume

SECTOR = 512
TEMPLATES = {
    "hybrid": raw_template(),
    "nvme": raw_template("nvme", placeAll="nvme", placeHead="nvme", placeTail="nvme", iops=1000),
    "bare": raw_template("bare", replication="-", placeAll="default", placeHead="default", placeTail="default"),
    "sized": raw_template("sized", size=8 * SECTOR, bw=9),
}
NAMES = ["a", "b", "c", "d"]
SNAPSHOTS = ["s", "t"]


class Model(Cluster):
    """StorPool as far as volumes are concerned; also the client that the planner observes through."""

    def __init__(self, volumes, snapshots, attachments, templates=None):
        self.all_templates = TEMPLATES if templates is None else templates
        self.by_name = {one["name"]: copy.deepcopy(one) for one in volumes}
        self.snaps = {one["name"]: copy.deepcopy(one) for one in snapshots}
        self.attached = {name: dict(clients) for name, clients in attachments.items() if clients}
        self.number = 100

    # -- reads

    def volumes(self):
        return list(copy.deepcopy(self.by_name).values())

    def volume(self, name):
        found = self.by_name.get(name) or next((one for one in self.by_name.values() if "~" + one["globalId"] == name), None)
        return copy.deepcopy(found)

    def attachments(self):
        return [
            {"volume": name, "client": client, "rights": rights}
            for name, all_of in self.attached.items()
            for client, rights in all_of.items()
        ]

    def templates(self):
        return list(self.all_templates.values())

    def snapshots(self):
        return list(self.snaps.values())

    def snapshot(self, name):
        return self.snaps.get(name)

    def volumes_space(self):
        return [{"name": name, "storedSize": one.get("written", 0)} for name, one in self.by_name.items()]

    def snapshots_space(self):
        return [{"name": name, "storedSize": 0} for name in self.snaps]

    def remote_snapshots(self):
        return []

    # -- writes

    def _policy(self, one, body):
        for key in ("iops", "bw", "replication", "placeAll", "placeHead", "placeTail", "size"):
            if key in body:
                one[key] = body[key]
        tags = {**one.get("tags", {}), **body.get("tags", {})}
        one["tags"] = {key: value for key, value in tags.items() if value}

    def _from_template(self, one, name):
        template = self.all_templates[name]
        one["templateName"] = name
        one.update({key: template[key] for key in ("iops", "bw", "placeAll", "placeHead", "placeTail")})
        if template["replication"] != "-":
            one["replication"] = template["replication"]

    def VolumeCreate(self, _on, body):
        self.number += 1
        name = body.get("name") or f"~sf.a.{self.number}"
        assert name not in self.by_name and name not in self.snaps
        one = raw_volume(body.get("name", ""), self.number, templateName="", placeAll="default", placeHead="", placeTail="", size=None)
        source = self.snaps[body["parent"]] if "parent" in body else self.by_name[body["baseOn"]] if "baseOn" in body else None
        if source:
            one.update(
                {key: source[key] for key in ("iops", "bw", "replication", "placeAll", "placeHead", "placeTail", "templateName", "size")}
            )
            one["parentName"] = source["name"] if "parent" in body else f"*{source['name']}@{self.number}"
        template = body.get("template") or one["templateName"]
        if template:
            self._from_template(one, template)
            if one["size"] is None and self.all_templates[template]["size"] != "-":
                one["size"] = self.all_templates[template]["size"]
        if "placeAll" in body and not template:
            one["placeHead"] = one["placeTail"] = ""
        self._policy(one, body)
        one["placeHead"] = one["placeHead"] or one["placeAll"]
        one["placeTail"] = one["placeTail"] or one["placeAll"]
        assert one["size"] and (not source or one["size"] >= source["size"])
        self.by_name[one["name"]] = one

    def VolumeUpdate(self, on, body):
        one = self.by_name.pop(on)
        assert body.get("size", one["size"]) >= one["size"] or body.get("shrinkOk") is True
        if "template" in body:
            self._from_template(one, body["template"])
        self._policy(one, body)
        if "rename" in body:
            assert body["rename"] not in self.by_name
            one["name"] = body["rename"]
            if on in self.attached:
                self.attached[one["name"]] = self.attached.pop(on)
        self.by_name[one["name"]] = one

    def VolumeDelete(self, on, _body):
        assert not self.attached.get(on), "busy"
        del self.by_name[on]

    def VolumeRevert(self, on, body):
        assert not self.attached.get(on), "busy"
        self.by_name[on]["parentName"] = body["toSnapshot"]
        self.by_name[on]["written"] = 0
        if body.get("revertSize"):
            self.by_name[on]["size"] = self.snaps[body["toSnapshot"]]["size"]

    def VolumeSnapshot(self, on, body):
        assert body["name"] not in self.snaps and body["name"] not in self.by_name
        self.snaps[body["name"]] = raw_snapshot(body["name"], size=self.by_name[on]["size"], parentName=self.by_name[on]["parentName"])
        self.by_name[on].update(parentName=body["name"], written=0)

    def VolumesReassignWait(self, _on, body):
        for item in body["reassign"]:
            assert item["volume"] in self.by_name
            clients = self.attached.setdefault(item["volume"], {})
            for client in list(clients) if item.get("detach") == "all" else item.get("detach", ()):
                clients.pop(client, None)
            for rights in ("rw", "ro"):
                clients.update(dict.fromkeys(item.get(rights, ()), rights))
            if not clients:
                del self.attached[item["volume"]]

    def shown(self, name, with_attachments):
        one = self.by_name[name]
        return {
            "name": one["name"],
            "size": one["size"],
            "template": one["templateName"] or None,
            "iops": "unlimited" if one["iops"] == "-" else one["iops"],
            "bw": "unlimited" if one["bw"] == "-" else one["bw"],
            "replication": one["replication"],
            "place_all": one["placeAll"],
            "place_head": one["placeHead"],
            "place_tail": one["placeTail"],
            "tags": one["tags"],
            "attachments": [{"client": client, "rights": rights} for client, rights in sorted(self.attached.get(name, {}).items())]
            if with_attachments
            else None,
        }

    def state(self):
        """All that matters about it, without the order in which things were made."""
        return (
            {name: self.shown(name, True) for name in self.by_name if not name.startswith("~")},
            sorted(repr({**self.shown(name, True), "name": "~"}) for name in self.by_name if name.startswith("~")),
            sorted(name.rpartition("-deleted-")[0] or name for name in self.snaps),
        )


sizes = st.integers(1, 20).map(lambda sectors: sectors * SECTOR)
limits = st.sampled_from(["-", 1, 5, 1000])
tags = st.dictionaries(st.sampled_from(["x", "y", "cs"]), st.sampled_from(["1", "2"]), max_size=2)
places = st.sampled_from(["default", "ssd", "nvme"])
rights = st.dictionaries(st.sampled_from(CLIENTS), st.sampled_from(["rw", "ro"]), max_size=3)


@st.composite
def models(draw):
    volumes = []
    for number, name in enumerate(draw(st.lists(st.sampled_from([*NAMES, ""]), unique=True, max_size=5)), 1):
        volumes.append(
            raw_volume(
                name, number,
                size=draw(sizes), iops=draw(limits), bw=draw(limits), tags=draw(tags), templateName=draw(st.sampled_from(["", *TEMPLATES])),
                parentName=draw(st.sampled_from(["", *SNAPSHOTS])), placeAll=draw(places), placeHead=draw(places), placeTail=draw(places),
                replication=draw(st.integers(1, 3)), written=draw(st.sampled_from([0, 4096])),
            )
        )  # fmt: skip
    snapshots = [raw_snapshot(name, 50 + number, size=draw(sizes), iops=draw(limits)) for number, name in enumerate(SNAPSHOTS)]
    return Model(volumes, snapshots, {one["name"]: draw(rights) for one in volumes})


@st.composite
def wishes(draw, name=None):
    """Options of one volume as somebody might write them; not all of them make sense together."""
    options: dict[str, Any] = {
        "size": draw(maybe(sizes | st.sampled_from(["1K", "4K"]))),
        "allow_shrink": draw(st.booleans()),
        "template": draw(maybe(st.sampled_from([*TEMPLATES, "no-such"]))),
        "iops": draw(maybe(st.sampled_from([0, 5, "unlimited"]))),
        "bw": draw(maybe(st.sampled_from([9, "1M", "unlimited"]))),
        "replication": draw(maybe(st.integers(1, 3))),
        "place_all": draw(maybe(places)),
        "place_head": draw(maybe(places)),
        "place_tail": draw(maybe(places)),
        "tags": draw(maybe(st.dictionaries(st.sampled_from(["x", "y"]), st.sampled_from(["1", "2", ""]), max_size=2))),
        "attach_to": draw(maybe(rights.map(lambda clients: [f"{client}:{right}" for client, right in clients.items()]))),
        "force": draw(st.booleans()),
        "on_attached": draw(st.sampled_from(["fail", "detach", "detach_force"])),
        "allow_cloudstack_objects": draw(st.booleans()),
        "state": draw(st.sampled_from(["present", "present", "present", "absent", "reverted"])),
    }
    identity = draw(st.sampled_from(["name", "name", "name", "global_id", "tags"])) if name is None else "name"
    if identity == "name":
        options["name"] = name or draw(st.sampled_from([*NAMES, "e"]))
        options["renamed_from"] = draw(maybe(st.sampled_from(NAMES))) if name is None else None
    elif identity == "global_id":
        options["global_id"] = f"sf.a.{draw(st.integers(1, 6))}"
        options["name"] = draw(maybe(st.sampled_from(["e"])))
    else:
        options["match_tags"] = {draw(st.sampled_from(["x", "y"])): "1"}
    if options["tags"] is not None:
        options["tags_mode"] = draw(st.sampled_from(["merge", "exact"]))
    if options["attach_to"] is not None:
        options["exclusive"] = draw(st.booleans())
    if options["state"] == "reverted":
        options.update(revert_to=draw(st.sampled_from([*SNAPSHOTS, "no-such"])), revert_size=draw(st.booleans()))
    if options["state"] == "absent" and draw(st.booleans()):
        options["keep_snapshot"] = {"name": draw(maybe(st.sampled_from(["kept", "s"])))}
    source = draw(st.sampled_from([None, None, "parent", "base_on"]))
    if source:
        options[source] = draw(st.sampled_from(SNAPSHOTS if source == "parent" else NAMES))
    return {key: value for key, value in options.items() if value is not None}


parsed = partial(planning.parsed, DECLARED, now=1_700_000_000.0)
planned = partial(planning.planned, DECLARED)


@given(models(), wishes())
def test_one_volume(model, options):
    """The planner never raises; a refusal changes nothing; what it predicts comes to be; and then nothing is left to do."""
    wanted = parsed(options)
    _groups, (plan,) = planned(model, [wanted])
    if plan.refused is not None:
        assert isinstance(plan.refused, CollectionError)
        assert not plan.changes
        return
    carried_out(model, [[0]], [plan])
    if plan.after is not None:
        volume = model.volume(plan.after["name"] or f"~sf.a.{model.number}")
        assert volume is not None
        shown = model.shown(volume["name"], plan.after["attachments"] is not None)
        expected = {key: value for key, value in plan.after.items() if key in shown}
        assert expected == {**shown, "name": plan.after["name"]}
    _groups, (again,) = planned(model, [wanted])
    assert again.refused is None
    assert not again.changes
    assert again.before == again.after


@given(models(), wishes())
def test_changed_is_what_differs(model, options):
    """There are changes exactly when the after-state differs (a revert changes what no field shows)."""
    wanted = parsed(options)
    _groups, (plan,) = planned(model, [wanted])
    if plan.refused is None and wanted.state != "reverted":
        assert bool(plan.changes) == (plan.before != plan.after)


@given(models(), st.data())
def test_the_order_of_a_list_does_not_matter(model, data):
    """Whatever order the entries have, the end is the same."""
    names = data.draw(st.lists(st.sampled_from([*NAMES, "e"]), min_size=2, max_size=4, unique=True))
    declared = [data.draw(wishes(name)) for name in names]
    ends = []
    for order in (declared, data.draw(st.permutations(declared))):
        there = copy.deepcopy(model)
        wanted = [parsed(options) for options in order]
        try:
            groups, plans = planned(there, wanted)
        except OptionError:  # a circle of copies, in any order
            ends.append("refused")
            continue
        # With one refusal the runner does nothing at all.
        if any(plan.refused for plan in plans):
            ends.append("refused")
            continue
        # Two that go, and keep the same name for the way back, are no declaration that could be met.
        kept = [plan.notes["kept_snapshot"] for plan in plans if "kept_snapshot" in plan.notes]
        assume(len(kept) == len(set(kept)))
        carried_out(there, groups, plans)
        ends.append(there.state())
        _groups, again = planned(there, wanted)
        for one, plan in zip(wanted, again, strict=True):
            assert not plan.changes or one.base_on, plan.changes
    assert ends[0] == ends[1]


@given(models(), wishes())
def test_planning_is_pure(model, options):
    wanted = parsed(options)
    world = VOLUMES.observe(model, [wanted])
    before = copy.deepcopy((wanted, world))
    first, second = VOLUMES.plan(wanted, world), VOLUMES.plan(wanted, world)
    assert (wanted, world) == before
    assert repr((first.before, first.after, first.changes, first.notes)) == repr(
        (second.before, second.after, second.changes, second.notes)
    )


# -- units


@given(st.integers(1, 1 << 62).map(lambda sectors: sectors * SECTOR))
def test_sizes_are_shown_as_they_are_read(size):
    assert units.parse_size(units.format_size(size)) == size


@given(st.integers(1, 10**15))
def test_limits_come_back(limit):
    assert units.limit_from_api(units.limit_to_api(units.parse_iops(str(limit)))) == limit


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=30)
    | st.from_regex(r"[0-9]{1,40}(\.[0-9]{1,40})? ?[KMGTPsmhdw]?i?B?", fullmatch=True),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)


PARSERS = [
    units.parse_size,
    units.parse_iops,
    units.parse_bw,
    units.parse_volume_name,
    units.parse_template_name,
    units.parse_global_id,
    lambda value: units.parse_duration(value, "x"),
    lambda value: units.parse_reference(value, "x"),
    lambda value: units.parse_remote_name(value, "x"),
]


@pytest.mark.parametrize("parse", PARSERS)
@given(value=anything)
def test_any_value_is_read_or_refused(parse, value):
    try:
        read = parse(value)
    except OptionError as exc:
        assert len(str(exc)) < 500
    else:
        assert isinstance(read, (int, str))


OPTIONS = {name: spec["type"] for name, spec in DECLARED.item.items()}


@st.composite
def any_options(draw):
    """Every option with any value of its type: what Ansible lets through."""
    of_type = {
        "str": st.text(max_size=12) | st.sampled_from(["v", "1G", "unlimited", "~a.b.c", "list"]),
        "int": st.integers(),
        "bool": st.booleans(),
        "dict": st.dictionaries(st.text(max_size=5), anything, max_size=3),
        "list": st.lists(anything, max_size=3),
    }
    options = {}
    for name, kind in OPTIONS.items():
        options[name] = draw(st.none() | of_type[kind])
        if options[name] is not None and "choices" in DECLARED.item[name]:
            options[name] = draw(st.sampled_from(DECLARED.item[name]["choices"]))
        if options[name] is not None and "options" in DECLARED.item[name]:
            of_part = {
                part: of_type[spec["type"]] if spec.get("required") else st.none() | of_type[spec["type"]]
                for part, spec in DECLARED.item[name]["options"].items()
            }
            options[name] = {part: draw(strategy) for part, strategy in of_part.items()}
    return options


@given(any_options())
def test_any_options_are_read_or_refused(options):
    try:
        VOLUMES.parse(options, 0.0)
    except OptionError as exc:
        assert exc.parts["option"].split(".")[0] in OPTIONS
