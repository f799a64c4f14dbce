# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 4: which of many API objects an info module returns, which of their members, and how much at once.

The API filters and pages nothing (sheet 1.2), so all of it happens here.
"""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .._errors import OptionError
from .._units import parse_duration, parse_global_id, parse_size
from ._shared import Attachments, attachments_of

BUDGET = 600_000  # characters of objects in one result; a result must stay under 700,000 with all that is around them
# Members that take a further read, by the option that asks for them.
SLOWER = {"space": ("stored", "used"), "status": ("status",), "exports": ("exported_to",)}

SELECT_SPEC: dict[str, dict[str, Any]] = dict(
    names=dict(type="list", elements="str", aliases=["name"]),
    global_ids=dict(type="list", elements="str", aliases=["global_id"]),
    templates=dict(type="list", elements="str", aliases=["template"]),
    parents=dict(type="list", elements="str", aliases=["parent"]),
    tags=dict(type="dict"),
    cloudstack=dict(type="bool"),
    attached=dict(type="bool"),
    attached_to=dict(type="list", elements="int"),
    min_size=dict(type="str"),
    max_size=dict(type="str"),
    older_than=dict(type="str"),
    newer_than=dict(type="str"),
    healthy=dict(type="bool"),
    fields=dict(type="list", elements="str"),
    space=dict(type="bool", default=False),
    status=dict(type="bool", default=False),
    limit=dict(type="int"),
    after=dict(type="str"),
    summary_only=dict(type="bool", default=False),
)

_WILDCARD = re.compile(r"[*?[]")
_NAME = re.compile(r"[#~]?[A-Za-z0-9_\-.:@]+")  # whatever StorPool lists; a leading * is a wildcard here


class Names:
    """Names with wildcards; tells whether a name is among them."""

    def __init__(self, names: Iterable[str]) -> None:
        self.exact = frozenset(name for name in names if not _WILDCARD.search(name))
        patterns = [fnmatch.translate(name) for name in names if name not in self.exact]
        self.pattern = re.compile("|".join(patterns)) if patterns else None

    def __contains__(self, name: str) -> bool:
        return name in self.exact or (self.pattern is not None and self.pattern.match(name) is not None)

    def single(self) -> str | None:
        """Return the only name that is meant, or ``None`` when several can be."""
        return next(iter(self.exact)) if len(self.exact) == 1 and self.pattern is None else None


@dataclass
class Selection:
    """What is to be returned. ``tests`` look at an API object, ``later`` at the attachments and the status that belong to it."""

    names: Names | None
    global_ids: frozenset[str] | None
    fields: tuple[str, ...]
    tests: list[Callable[[Mapping[str, Any]], bool]] = field(default_factory=list)
    attached: bool | None = None
    attached_to: frozenset[int] | None = None
    healthy: bool | None = None
    limit: int | None = None
    after: str | None = None
    summary_only: bool = False

    def single(self) -> str | None:
        """Return the name (or ``~global_id``) that one read can ask for, or ``None`` when it takes a listing."""
        if self.names is not None and self.global_ids is None:
            return self.names.single()
        if self.global_ids is not None and self.names is None and len(self.global_ids) == 1:
            return "~" + next(iter(self.global_ids))
        return None

    @property
    def attachments(self) -> bool:
        """Whether the attachments have to be read."""
        return "attachments" in self.fields or self.attached is not None or self.attached_to is not None

    @property
    def space(self) -> bool:
        """Whether the space figures have to be read."""
        return any(name in self.fields for name in SLOWER["space"])

    @property
    def status(self) -> bool:
        """Whether the status has to be read."""
        return "status" in self.fields or self.healthy is not None

    def identity(self, name: str, global_id: str) -> bool:
        """Tell whether an object of that name and id is one of those asked for."""
        if self.names is None and self.global_ids is None:
            return True
        return (self.names is not None and name in self.names) or (self.global_ids is not None and global_id in self.global_ids)

    def matching(self, found: Iterable[dict[str, Any]], attachments: Attachments | None, status: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the API objects that fit, in the order of their names."""
        fits = [raw for raw in found if self.identity(raw["name"], raw["globalId"]) and all(test(raw) for test in self.tests)]
        if self.attached is not None or self.attached_to is not None:
            fits = [raw for raw in fits if self._attached(attachments_of(attachments, raw) or [])]
        if self.healthy is not None:
            fits = [raw for raw in fits if (found_status := status_of(status, raw)) and is_healthy(found_status) is self.healthy]
        return sorted(fits, key=lambda raw: raw["name"])

    def _attached(self, present: Sequence[Mapping[str, Any]]) -> bool:
        if self.attached is not None and bool(present) is not self.attached:
            return False
        return self.attached_to is None or any(one["client"] in self.attached_to for one in present)


def parse_selection(options: Mapping[str, Any], fields: Sequence[str], now: float) -> Selection:
    """Return what is asked for by the options of :data:`SELECT_SPEC`.

    :param fields: the members an object of this kind can have.
    :raises OptionError: an option that cannot be meant.
    """
    ids = options["global_ids"]
    for name in options["names"] or ():
        if not _WILDCARD.search(name) and not _NAME.fullmatch(name):
            raise OptionError("names", name, "is no name that StorPool gives: letters, digits and _ - . : @, behind a # or ~ perhaps")
    selection = Selection(
        names=Names(options["names"]) if options["names"] is not None else None,
        global_ids=frozenset(parse_global_id(one, "global_ids") for one in ids) if ids is not None else None,
        fields=_parse_fields(options, fields),
        attached=options["attached"],
        attached_to=frozenset(options["attached_to"]) if options["attached_to"] is not None else None,
        healthy=options["healthy"],
        limit=options["limit"],
        after=options["after"],
        summary_only=bool(options["summary_only"]),
    )
    if selection.limit is not None and selection.limit < 1:
        raise OptionError("limit", selection.limit, "must be at least 1; for figures alone set summary_only: true")
    if selection.attached is False and selection.attached_to is not None:
        raise OptionError("attached_to", sorted(selection.attached_to), "cannot be combined with attached: false")
    selection.tests += tests_of(options, now)
    return selection


def _parse_fields(options: Mapping[str, Any], fields: Sequence[str]) -> tuple[str, ...]:
    asked = options["fields"]
    slower = {name: option for option, names in SLOWER.items() for name in names}
    if asked is None:
        return tuple(name for name in fields if name not in slower or options.get(slower[name]))
    unknown = [name for name in asked if name not in fields]
    if unknown:
        raise OptionError("fields", unknown[0], f"is no member of these objects; there are: {', '.join(fields)}")
    return tuple(name for name in fields if name == "name" or name in asked or options.get(slower.get(name, "")))


def tests_of(options: Mapping[str, Any], now: float) -> list[Callable[[Mapping[str, Any]], bool]]:
    """Return the tests on an API object that the options ask for. :raises OptionError: a size or duration that is none."""
    tests: list[Callable[[Mapping[str, Any]], bool]] = []
    for option, key in (("templates", "templateName"), ("parents", "parentName")):
        if options[option] is not None:
            tests.append(_named_in(key, Names(options[option])))
    if options["tags"]:
        tests += [_tagged(key, "" if value is None else str(value)) for key, value in options["tags"].items()]
    if options["cloudstack"] is not None:
        tests.append(_tagged("cs", "*" if options["cloudstack"] else ""))
    if options["min_size"] is not None:
        least = parse_size(options["min_size"], "min_size")
        tests.append(lambda raw: raw["size"] >= least)
    if options["max_size"] is not None:
        most = parse_size(options["max_size"], "max_size")
        tests.append(lambda raw: raw["size"] <= most)
    if options["older_than"] is not None:
        latest = now - parse_duration(options["older_than"], "older_than")
        tests.append(lambda raw: raw["creationTimestamp"] <= latest)
    if options["newer_than"] is not None:
        earliest = now - parse_duration(options["newer_than"], "newer_than")
        tests.append(lambda raw: raw["creationTimestamp"] > earliest)
    return tests


def _named_in(key: str, names: Names) -> Callable[[Mapping[str, Any]], bool]:
    return lambda raw: raw[key] != "" and raw[key] in names


def _tagged(key: str, value: str) -> Callable[[Mapping[str, Any]], bool]:
    """Return a test for one tag. A value never holds a wildcard (its pattern has none), so a wildcard is always meant as one."""
    if value == "":
        return lambda raw: not (raw.get("tags") or {}).get(key)
    pattern = re.compile(fnmatch.translate(value))

    def test(raw: Mapping[str, Any]) -> bool:
        held = (raw.get("tags") or {}).get(key)
        return bool(held) and pattern.match(held) is not None

    return test


# -- members that volumes and snapshots share


def common_members(raw: Mapping[str, Any], status: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return what info modules tell of a volume or snapshot beyond what the module that manages it does."""
    made = {"reuse_server": bool(raw.get("reuseServer")), "created": raw["creationTimestamp"], "status": status_of(status, raw)}
    if raw.get("clusterName"):
        made["cluster"] = raw["clusterName"]
    if "storedSize" in raw:
        made.update(stored=raw["storedSize"], used=raw["spaceUsed"])
    return made


def status_of(status: Mapping[str, Mapping[str, Any]], raw: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the status of an API object as results show it, from the quick status of all; ``None`` when it went away meanwhile."""
    found = status.get(raw["name"]) or status.get("~" + raw["globalId"])
    if found is None:
        return None
    return {
        "status": found["status"],
        "decreased_redundancy": found["decreasedRedundancy"],
        "migrating": found["migrating"],
        "balancer_blocked": found["balancerBlocked"],
        "down_bytes": found["downBytes"],
        "syncing_bytes": found["syncingDataBytes"],
        "down_disks": found.get("downDrives") or [],
        "missing_disks": found.get("missingDrives") or [],
        "soft_ejecting_disks": found.get("softEjectingDrives") or [],
    }


def is_healthy(status: Mapping[str, Any]) -> bool:
    """Tell whether all copies are there and in order. Moving data about is healthy."""
    return status["status"] == "up" and not status["decreased_redundancy"] and not status["down_bytes"] and not status["missing_disks"]


# -- what goes out


def length(entry: Mapping[str, Any]) -> int:
    """Return how many characters ``entry`` takes in a result."""
    return len(json.dumps(entry)) + 2


def page(
    found: Sequence[dict[str, Any]], make: Callable[[dict[str, Any]], dict[str, Any]], selection: Selection, plural: str
) -> dict[str, Any]:
    """Return the result's members for objects in the order of names: as many as fit, from where it was asked to begin.

    A page never ends between two objects of one name (they may be in two clusters), so that ``next`` loses none.
    """
    if selection.summary_only:
        return {plural: [], "total": len(found), "truncated": False, "next": None}
    entries: list[dict[str, Any]] = []
    spent, last, cut = 0, None, None
    for raw in found:
        if selection.after is not None and raw["name"] <= selection.after:
            continue
        whole = make(raw)
        entry = {name: whole[name] for name in selection.fields if name in whole}
        if raw["name"] != last:
            spent += length(entry)
            if entries and spent > BUDGET:
                cut = "long"
            elif selection.limit is not None and len(entries) >= selection.limit:
                cut = "limit"
            if cut:
                break
        entries.append(entry)
        last = raw["name"]
    result: dict[str, Any] = {plural: entries, "total": len(found), "truncated": cut is not None, "next": last if cut else None}
    if cut == "long":
        result["warnings"] = [
            f"{len(found)} {plural.replace('_', ' ')} fit and {len(entries)} are in the result; it would be too long with more. "
            f"Ask for less with fields or summary_only, or go on with after: {last}"
        ]
    return result


def summary(found: Collection[Mapping[str, Any]], attachments: Attachments | None) -> dict[str, Any]:
    """Return figures over all objects that fit, whether or not they are in the result."""
    templates: dict[str, list[int]] = {}
    for raw in found:
        figures = templates.setdefault(raw["templateName"], [0, 0])
        figures[0] += 1
        figures[1] += raw["size"]
    told: dict[str, Any] = {
        "count": len(found),
        "size": sum(raw["size"] for raw in found),
        "cloudstack": sum(bool((raw.get("tags") or {}).get("cs")) for raw in found),
        "templates": [{"template": name or None, "count": figures[0], "size": figures[1]} for name, figures in sorted(templates.items())],
    }
    if attachments is not None:
        told["attached"] = sum(bool(attachments_of(attachments, raw)) for raw in found)
    if all("storedSize" in raw for raw in found) and found:
        told["stored"] = sum(raw["storedSize"] for raw in found)
        told["used"] = sum(raw["spaceUsed"] for raw in found)
    return told
