# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What holds for every snapshot, consistent group and series that can be declared, over every cluster that can be there.

The plans' writes are carried out by a small model of StorPool, written from the rules of the reference sheet without a look at the planner.
Series reach over years, and their calendars are those of time zones that change their clocks, skip a day or are not whole hours off.
"""

from __future__ import annotations

import copy
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import planning
from ansible_collections.storpool.cloudstack.plugins.module_utils._errors import CollectionError
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources.retention import RULES
from ansible_collections.storpool.cloudstack.plugins.modules.storpool_snapshot import DECLARED
from hypothesis import given
from hypothesis import strategies as st
from planning import CLIENTS, Cluster, carried_out, ends, maybe
from things import raw_snapshot, raw_template, raw_volume

NOW = 1_795_356_000  # 2026-11-22 14:00:00 UTC
VOLUMES = ["db", "log", "web"]
NAMES = ["s", "t", "db-s", "log-s"]
PLACES = ["plovdiv", "varna"]
TEMPLATES = {"hybrid": raw_template(), "nvme": raw_template("nvme", placeAll="nvme", placeHead="nvme", placeTail="nvme", iops=1000)}
POLICY = {
    "iops": "iops", "bw": "bw", "replication": "replication",
    "place_all": "placeAll", "place_head": "placeHead", "place_tail": "placeTail",
}  # fmt: skip


class Model(Cluster):
    """StorPool as far as snapshots are concerned; also the client that the planner observes through."""

    def __init__(self, snapshots: list[dict[str, Any]], now: int = NOW) -> None:
        self.now, self.number = now, 500
        self.theirs = {name: raw_volume(name, number) for number, name in enumerate(VOLUMES, 1)}
        self.snaps = {one["name"]: one for one in copy.deepcopy(snapshots)}
        self.attached: dict[str, dict[int, str]] = {}
        self.exported: dict[str, set[str]] = {}
        self.known = TEMPLATES

    # -- reads

    def volume(self, name):
        return copy.deepcopy(self.theirs.get(name))

    def volumes(self):
        return copy.deepcopy(list(self.theirs.values()))

    def snapshot(self, name):
        return copy.deepcopy(self._snap(name))

    def snapshots(self):
        return copy.deepcopy(list(self.snaps.values()))

    def attachments(self):
        return [
            {"volume": name, "client": client, "rights": rights, "snapshot": True, "volumeGlobalId": self.snaps[name]["globalId"]}
            for name, clients in self.attached.items()
            for client, rights in clients.items()
        ]

    def exports(self):
        ids = {one["name"]: one["globalId"] for one in self.snaps.values()}
        return [
            {"globalId": ids[name], "location": place, "backingUp": False} for name, all_of in self.exported.items() for place in all_of
        ]

    def locations(self):
        return [{"name": place} for place in PLACES]

    def templates(self):
        return copy.deepcopy(list(self.known.values()))

    # -- writes

    def _snap(self, name):
        return self.snaps.get(name) or next((one for one in self.snaps.values() if "~" + one["globalId"] == name), None)

    def _take(self, volume, name, tags, **fields):
        self.number += 1
        assert volume in self.theirs and name and name not in self.snaps and name not in self.theirs
        fields.update({key: self.theirs[volume][key] for key in ("templateName", *POLICY.values())})
        made = raw_snapshot(name, self.number, tags=tags, creationTimestamp=self.now, onVolume=volume, recoveringFromRemote=False, **fields)
        self.snaps[name] = made

    def VolumeSnapshot(self, on, body):
        date = self.now + body["deleteAfter"] if body.get("deleteAfter") else body.get("targetDeleteDate", 0)
        self._take(on, body["name"], body.get("tags", {}), bound=body.get("bind", False), targetDeleteDate=date)

    def VolumesGroupSnapshot(self, _on, body):
        for one in body["volumes"]:
            self._take(one["volume"], one["name"], body.get("tags", {}))

    def SnapshotUpdate(self, on, body):
        one = self._snap(on)
        if "tags" in body:
            tags = {**one["tags"], **body.pop("tags")}
            one["tags"] = {key: value for key, value in tags.items() if value}
        if "bind" in body:
            one["bound"] = body.pop("bind")
        if "template" in body:
            one["templateName"] = body.pop("template")
            given = self.known[one["templateName"]]
            one.update({key: given[key] for key in POLICY.values() if given[key] != "-" or key != "replication"})
        one.update({key: body.pop(key) for key in POLICY.values() if key in body})
        if "deleteAfter" in body:
            after = body.pop("deleteAfter")
            one["targetDeleteDate"] = self.now + after if after else 0
        if "targetDeleteDate" in body:
            one["targetDeleteDate"] = body.pop("targetDeleteDate")
        if "rename" in body:
            new = body.pop("rename")
            assert new not in self.snaps and new not in self.theirs
            for held in (self.snaps, self.attached, self.exported):
                if one["name"] in held:
                    held[new] = held.pop(one["name"])
            one["name"] = new
        assert not body, body

    def SnapshotDelete(self, on, _body):
        one = self._snap(on)
        assert not self.attached.get(one["name"]) and not self.exported.get(one["name"]), "in use"
        del self.snaps[one["name"]]

    def SnapshotExport(self, _on, body):
        self.exported.setdefault(self._snap(body["snapshot"])["name"], set()).add(body["location"])

    def SnapshotUnexport(self, _on, body):
        name = self._snap(body["snapshot"])["name"]
        gone = set(PLACES) if body.get("all") else {body["location"]}
        self.exported[name] = self.exported.get(name, set()) - gone

    def VolumesReassignWait(self, _on, body):
        for item in body["reassign"]:
            clients = self.attached.setdefault(self._snap(item["snapshot"])["name"], {})
            for client in list(clients) if item.get("detach") == "all" else item.get("detach", ()):
                clients.pop(client, None)
            clients.update(dict.fromkeys(item.get("ro", ()), "ro"))
            assert "rw" not in item

    def shown(self, name):
        one = self.snaps[name]
        return {
            "name": name,
            "tags": one["tags"],
            "bound": one["bound"],
            "template": one["templateName"],
            **{option: "unlimited" if one[key] == "-" else one[key] for option, key in POLICY.items()},
            "delete_at": one.get("targetDeleteDate") or None,
            "exported_to": sorted(self.exported.get(name, ())),
            "attachments": [{"client": client, "rights": rights} for client, rights in sorted(self.attached.get(name, {}).items())],
        }

    def state(self):
        return {name: self.shown(name) for name in self.snaps}


tags = st.dictionaries(st.sampled_from(["x", "y", "cs"]), st.sampled_from(["1", "2"]), max_size=2)
dates = st.sampled_from([NOW + 3600, NOW + 86400])


@st.composite
def models(draw):
    snapshots = []
    for number, name in enumerate(draw(st.lists(st.sampled_from(NAMES), unique=True)), 1000):
        fields = {
            "tags": draw(tags),
            "bound": draw(st.booleans()),
            "onVolume": draw(st.sampled_from(VOLUMES)),
            "recoveringFromRemote": False,
        }
        fields.update(creationTimestamp=NOW - draw(st.integers(1, 10**6)), targetDeleteDate=draw(st.just(0) | dates))
        snapshots.append(raw_snapshot(name, number, **fields))
    model = Model(snapshots)
    for name in model.snaps:
        clients = draw(st.lists(st.sampled_from([11, 12]), unique=True, max_size=2))
        model.attached[name] = dict.fromkeys(clients, "ro")
        model.exported[name] = set(draw(st.lists(st.sampled_from(PLACES), unique=True, max_size=1)))
    return model


@st.composite
def wishes(draw, name=None):
    """Options of one snapshot or group as somebody might write them; not all of them make sense together."""
    options: dict[str, Any] = {
        "state": draw(st.sampled_from(["present", "present", "present", "absent"])),
        "tags": draw(maybe(st.dictionaries(st.sampled_from(["x", "y"]), st.sampled_from(["1", "2", ""]), max_size=2))),
        "bind": draw(maybe(st.booleans())),
        "allow_cloudstack_objects": draw(st.booleans()),
        "on_attached": draw(st.sampled_from(["fail", "detach", "detach_force"])),
    }
    if draw(st.booleans()) and name is None:
        options.update(name="{volume}-s", volumes=draw(st.lists(st.sampled_from([*VOLUMES, "no-such"]), unique=True, min_size=1)))
    else:
        options.update(name=name or draw(st.sampled_from([*NAMES, "db"])), volume=draw(maybe(st.sampled_from([*VOLUMES, "no-such"]))))
        options["renamed_from"] = draw(maybe(st.sampled_from(NAMES))) if name is None else None
    options["template"] = draw(st.sampled_from([None, None, "nvme", "hybrid", "no-such"]))
    options["iops"] = draw(maybe(st.sampled_from([5, "unlimited"])))
    options["place_tail"] = draw(maybe(st.sampled_from(["hdd", "nvme"])))
    expiry = draw(st.sampled_from([None, None, "delete_after", "delete_at"]))
    if expiry == "delete_after":
        options.update(delete_after=draw(st.sampled_from(["1h", "1d", "never"])))
    elif expiry == "delete_at":
        options["delete_at"] = draw(dates.map(str) | st.just("never"))
    if options["tags"] is not None:
        options["tags_mode"] = draw(st.sampled_from(["merge", "exact"]))
    if options["state"] == "absent":
        options["unexport"] = draw(st.booleans())
    else:
        options["attach_to"] = draw(maybe(st.lists(st.sampled_from(CLIENTS), unique=True, max_size=2)))
        options["export_to"] = draw(maybe(st.lists(st.sampled_from([*PLACES, *PLACES, "mars"]), unique=True, max_size=2)))
        if options["attach_to"] is not None:
            options["exclusive"] = draw(st.booleans())
        if options["export_to"] is not None:
            options["export_mode"] = draw(st.sampled_from(["merge", "exact"]))
    return {key: value for key, value in options.items() if value is not None}


planned = partial(planning.planned, DECLARED)


def parsed(options, now=NOW):
    return planning.parsed(DECLARED, options, now)


def documents(document):
    return document.get("snapshots", [document])


@given(models(), wishes())
def test_one_snapshot_or_group(model, options):
    """The planner never raises; a refusal changes nothing; what it predicts comes to be; and then nothing is left to do."""
    wanted = parsed(options)
    groups, (plan,) = planned(model, [wanted])
    if plan.refused is not None:
        assert isinstance(plan.refused, CollectionError) and not plan.changes
        return
    assert bool(plan.changes) == (plan.before != plan.after)
    others = {name: one for name, one in model.state().items() if name not in wanted.names()}
    carried_out(model, groups, [plan])
    for document in documents(plan.after) if plan.after else ():
        shown = model.shown(document["name"])
        assert {key: document[key] for key in shown if document[key] is not None} == {
            key: value for key, value in shown.items() if document[key] is not None
        }
    if plan.after is None:
        assert not any(member.name in model.snaps for member in wanted.members)
    assert {name: one for name, one in model.state().items() if name in others} == others
    _groups, (again,) = planned(model, [wanted])
    assert again.refused is None and not again.changes and again.before == again.after


@given(models(), st.data())
def test_the_order_of_a_list_does_not_matter(model, data):
    names = data.draw(st.lists(st.sampled_from(NAMES), min_size=2, max_size=4, unique=True))
    declared = [data.draw(wishes(name)) for name in names]
    first, second = ends(DECLARED, model, (declared, data.draw(st.permutations(declared))), NOW)
    assert first == second


# -- series over years

ZONES = ["UTC", "Europe/Sofia", "Asia/Kathmandu", "Pacific/Apia", "America/Sao_Paulo", "Australia/Lord_Howe", "Africa/Casablanca"]
EVERY = {"{volume}-%Y%m%d-%H%M": timedelta(hours=7, minutes=30), "{volume}-%Y%m%d": timedelta(days=1), "{volume}-%G%V": timedelta(weeks=1)}


@st.composite
def schedules(draw):
    """A series of groups: pattern, zone, the moments at which the schedule ran (with pauses), and the rules."""
    pattern = draw(st.sampled_from(sorted(EVERY)))
    start = datetime.fromtimestamp(draw(st.integers(1_262_304_000, 1_893_456_000)), timezone.utc)  # 2010 to 2030
    moments, step = [], EVERY[pattern]
    for pause in draw(st.lists(st.sampled_from([1, 1, 1, 2, 30, 400]), min_size=1, max_size=12)):
        start += pause * step
        moments.append(int(start.timestamp()))
    rules = draw(st.dictionaries(st.sampled_from(RULES), st.integers(1, 4), min_size=1, max_size=3))
    return pattern, draw(st.sampled_from(ZONES)), moments, {f"keep_{rule}": number for rule, number in rules.items()}


@given(schedules(), st.booleans())
def test_a_schedule_over_years_prunes_itself(schedule, grouped):
    """Each run takes its group and prunes; a repetition within the period does nothing; groups live and die as a whole."""
    pattern, zone, moments, rules = schedule
    model = Model([])
    about = {"volumes": ["db", "log"]} if grouped else {"volume": "db"}
    options = {"name": pattern, "timezone": zone, **about, **rules}
    for moment in moments:
        model.now = moment
        wanted = parsed(options, now=moment)
        before = set(model.snaps)
        groups, (plan,) = planned(model, [wanted])
        assert plan.refused is None, plan.refused
        carried_out(model, groups, [plan])
        there = set(model.snaps)
        retention = plan.notes["retention"]
        assert {member.name for member in wanted.members} <= there
        assert before - there == set(retention["deleted"])
        assert len(there) == len(retention["kept"]) * (2 if grouped else 1) <= sum(rules.values()) * 2
        if grouped:
            assert {name.removeprefix("db-") for name in there if name.startswith("db-")} == {
                name.removeprefix("log-") for name in there if name.startswith("log-")
            }
        _groups, (again,) = planned(model, [wanted])
        assert again.refused is None and not again.changes
        _groups, (pruned,) = planned(model, [parsed({**options, "state": "pruned"}, now=moment)])
        assert pruned.refused is None and not pruned.changes


@given(schedules())
def test_what_is_kept_are_the_newest_of_their_periods(schedule):
    """Counted anew, by the calendar of the zone: each rule keeps the newest member of as many periods as it says."""
    pattern, zone, moments, rules = schedule
    model = Model([])
    for moment in moments:
        model.now = moment
        name = parsed({"name": pattern, "timezone": zone, "volume": "db"}, now=moment).members[0].name
        if name not in model.snaps:
            model.VolumeSnapshot("db", {"name": name})
    calendar = timezone.utc if zone == "UTC" else ZoneInfo(zone)
    newest_first = sorted(model.snaps.values(), key=lambda one: -one["creationTimestamp"])
    keep = {one["name"] for one in newest_first[: rules.get("keep_last", 0)]}
    forms = {"hourly": "%Y%m%d%H%z", "daily": "%Y%m%d", "weekly": "%G%V", "monthly": "%Y%m", "yearly": "%Y"}
    for rule, form in forms.items():
        periods: dict[str, str] = {}
        for one in newest_first:
            periods.setdefault(datetime.fromtimestamp(one["creationTimestamp"], calendar).strftime(form), one["name"])
        keep |= set(list(periods.values())[: rules.get(f"keep_{rule}", 0)])
    wanted = parsed({"name": pattern, "timezone": zone, "volume": "db", "state": "pruned", **rules}, now=moments[-1])
    groups, (plan,) = planned(model, [wanted])
    carried_out(model, groups, [plan])
    assert set(model.snaps) == keep
