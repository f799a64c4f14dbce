# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 4: which StorPool snapshots go: the deletion of one, and what retention does not keep of a series.

The rules of retention are in :mod:`.retention`; here is what belongs to a series, and what keeps a snapshot from being deleted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from .. import _storpool as sp
from .._errors import ChangeRefused
from .._plan import Change, Plan, Wait
from ._shared import address_of, detachment, guard_cloudstack
from .retention import check_most, kept
from .series import volume_word
from .snapshot_wanted import WantedSnapshot
from .snapshot_world import World, snapshot_object


class Instance(NamedTuple):
    """One member of a series: a snapshot, or the snapshots of one group. ``snapshots`` is empty for what the task is about to make."""

    label: str
    moment: int
    snapshots: list[dict[str, Any]]


def removal(wanted: WantedSnapshot, document: Mapping[str, Any], world: World) -> list[Change]:
    """Return what deletes one snapshot. :raises ChangeRefused: somebody uses it, and that was not to be ended."""
    guard_cloudstack("snapshot", document, ["delete"], wanted.allow_cloudstack_objects)
    changes = detachment("snapshot", document, wanted, "deleting it")
    exports = world.exports.get(document["global_id"], {})
    if exports:
        if not wanted.unexport:
            where = ", ".join(f"{place} (a backup under way)" if under_way else place for place, under_way in sorted(exports.items()))
            raise ChangeRefused(
                f"{document['name']} is exported to {where}; StorPool deletes no exported snapshot", allow_with="unexport: true"
            )
        changes.append(Change("unexport", sp.snapshot_unexport(address_of(document), None, force=True)))  # rule snapshot-delete-exported
    return [*changes, Change("delete", sp.snapshot_delete(address_of(document)))]


def merged(wanted: WantedSnapshot, ids: list[str]) -> Wait:
    """Return the wait until deleted snapshots are gone; one with children lingers meanwhile (rule snapshot-delete-children)."""

    left = list(ids)

    def done(client: sp.StorPool) -> bool:
        while left and client.snapshot("~" + left[0]) is None:
            del left[0]
        return not left

    return Wait(f"the merging of {wanted.label} into its children", done, wanted.wait_timeout)


def doomed(wanted: WantedSnapshot, world: World, creating: bool) -> tuple[list[Instance], dict[str, list[str]]]:
    """Return what retention does not keep, oldest first, and what it keeps with the reasons."""
    series = _series(wanted, world, creating)
    # A group stays whole, whichever of its snapshots is declared.
    declared = {one.label for one in series if not wanted.spared.isdisjoint((one.label, *(raw["name"] for raw in one.snapshots)))}
    reasons = kept([(one.label, one.moment) for one in series], wanted.rules, wanted.zone, declared)
    return sorted((one for one in series if one.label not in reasons and one.snapshots), key=lambda one: (one.moment, one.label)), reasons


def with_retention(wanted: WantedSnapshot, plan: Plan, world: World) -> Plan:
    """Return ``plan`` with the deletions that leave of the series only what the rules keep."""
    creating = wanted.state == "present" and plan.before is None
    going, reasons = doomed(wanted, world, creating)
    changes, warnings, held, ids, deleted = list(plan.changes), list(plan.warnings), {}, [], []
    for instance in going:
        documents = [snapshot_object(raw, world.attachments, world.exports) for raw in instance.snapshots]
        reason = "; ".join(filter(None, (_held(wanted, document, world) for document in documents)))
        if reason:
            held[instance.label] = reason
            warnings.append(f"retention keeps {instance.label} for now, which its rules would delete: {reason}")
            continue
        for document in documents:
            changes += [replace(change, action=f"{change.action} ({document['name']})") for change in removal(wanted, document, world)]
            deleted.append(document["name"])
            ids.append(document["global_id"])
    check_most(wanted.label, deleted, wanted.max_deletes)
    notes = {**plan.notes, "retention": {"kept": reasons, "deleted": deleted, "held": held}}
    before = sorted(raw["name"] for _label, raw in _labelled(wanted, world))
    after = sorted({*before, *(member.name for member in wanted.members if creating)} - {*deleted})
    waits = [*plan.waits, merged(wanted, ids)] if wanted.wait and ids else plan.waits
    return replace(plan, changes=changes, notes=notes, warnings=warnings, waits=waits, beside=({"series": before}, {"series": after}))


def _held(wanted: WantedSnapshot, document: Mapping[str, Any], world: World) -> str | None:
    """Return why a snapshot cannot be deleted as the options stand."""
    if document["attachments"] and wanted.on_attached == "fail":
        return f"{document['name']} is attached to client {', '.join(str(one['client']) for one in document['attachments'])}"
    exports = world.exports.get(document["global_id"])
    if exports and not wanted.unexport:
        return f"{document['name']} is exported to {', '.join(sorted(exports))}"
    return None


def _series(wanted: WantedSnapshot, world: World, creating: bool) -> list[Instance]:
    """Return the series: what its names and tags say belongs to it, groups as a whole, and what this task adds to it."""
    found: dict[str, list[dict[str, Any]]] = {}
    for label, raw in _labelled(wanted, world):
        found.setdefault(label, []).append(raw)
    series = [Instance(label, max(one["creationTimestamp"] for one in members), members) for label, members in found.items()]
    newest = max((one.moment for one in series), default=0)
    made = {name: moment for name, (moment, tags) in world.fresh.items() if _fits(wanted, name, tags)}
    if creating:
        made[wanted.members[0].name] = int(wanted.now)
    # What is made now is the newest, however the clocks of this machine and of the cluster differ.
    return series + [Instance(name, max(moment, newest), []) for name, moment in made.items()]


def _labelled(wanted: WantedSnapshot, world: World) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return the snapshots of the series, each with the name by which it is counted.

    Those of a group are counted by the name that the first volume's has, also when that one is gone: of groups made in one second the
    name tells which is the newest, and a group of which a part is deleted must not become a newer one.
    """
    first = volume_word(wanted.members[0].volume or "")
    for prefix, expression in _expressions(wanted):
        for raw in world.beginning_with(prefix):
            match = expression.fullmatch(raw["name"]) if expression else True
            if not match or raw["name"] in world.gone or not _tagged(wanted, raw.get("tags") or {}):
                continue
            yield (wanted.pattern.fill(match.groups(), first) if wanted.grouped else raw["name"]), raw


def _tagged(wanted: WantedSnapshot, tags: Mapping[str, str]) -> bool:
    if tags.get("cs") and not wanted.allow_cloudstack_objects:
        return False  # CloudStack's; whatever it is called
    return wanted.series_tags.items() <= tags.items()


def _fits(wanted: WantedSnapshot, name: str, tags: Mapping[str, str]) -> bool:
    first = next(iter(_expressions(wanted)))[1]
    return (first is None or bool(first.fullmatch(name))) and _tagged(wanted, tags)


def _expressions(wanted: WantedSnapshot) -> Iterator[tuple[str, Any]]:
    """Return for each volume what the names of its snapshots in the series begin with, and what they look like."""
    pattern = wanted.pattern
    if pattern is None or not pattern.timed:
        yield "", None
        return
    words = [volume_word(member.volume or "") for member in wanted.members]
    for word in words if pattern.per_volume else words[:1]:
        yield pattern.prefix(word), pattern.expression(word)
