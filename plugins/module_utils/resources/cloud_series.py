# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 4: what volume snapshots and VM snapshots of CloudStack have in common: names with the time in them, retention, reverting."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from typing import Any, Callable

from .. import _storpool as sp
from .._cloudstack import Command
from .._errors import ChangeRefused, CollectionError, OptionError, brief
from .._plan import Change, Plan, Wait
from ._cloud import short_enough, storpool_address
from .retention import RULES, Rules, check_most, kept, parse_rules
from .series import NamePattern

RUNNING, STOPPED = "Running", "Stopped"
KEEPING = ("present", "reverted")  # the states that take a snapshot to be there
# A VM that is stopped to be reverted carries this tag until it runs again, so that a run after an interrupted one starts it.
MARK = "ansible-start-after-revert"
_LONGEST_CHAIN = 64  # of snapshots between a volume and the one it is to be reverted to
LATER = "wait until CloudStack is done with it and run the task again"
RETENTION_SPEC: dict[str, dict[str, Any]] = {**{f"keep_{rule}": dict(type="int") for rule in RULES}, "max_deletes": dict(type="int")}


@dataclass(frozen=True)
class Naming:
    """The name of a snapshot at the time of the task, the series that its pattern makes, and what is kept of that."""

    name: str | None = None
    pattern: NamePattern | None = None
    rules: Rules | None = None
    max_deletes: int | None = None


def parse_naming(options: Mapping[str, Any], now: float, zone: tzinfo, by_id: Collection[str], about_volume: str) -> Naming:
    """Return how it is called and what is kept. For ``state: pruned`` the name is the pattern itself.

    :param by_id: the states for which an id does instead of a name.
    :param about_volume: what is wrong with the word {volume} in a name.
    :raises OptionError: what cannot be meant.
    """
    text, state = options["name"] and options["name"].strip(), options["state"]
    if not text and not (options["id"] and state in by_id):
        raise OptionError("name", options["name"], "is needed: without a name each run would take another snapshot")
    pattern = NamePattern(text) if text else None
    if pattern and pattern.per_volume:
        raise OptionError("name", text, f"has {{volume}} in it; {about_volume}")
    rules, most = parse_rules(options), options["max_deletes"]
    name = pattern and (pattern.text if state == "pruned" else pattern.render(datetime.fromtimestamp(now, zone)))
    short_enough(name, "name")
    if rules is None and state == "pruned":
        raise OptionError("state", state, "needs at least one of " + ", ".join(f"keep_{rule}" for rule in RULES))
    if rules is not None and state not in ("present", "pruned"):
        raise OptionError("state", state, "cannot be combined with retention; use state: pruned to take no snapshot")
    if rules is not None and not (pattern and pattern.timed):
        raise OptionError("name", text, "has no time in it, as in nightly-%Y%m%d, so retention has no series")
    if most is not None and (rules is None or most < 0):
        raise OptionError("max_deletes", most, "is for retention (keep_last and the like), and not negative")
    return Naming(name, pattern, rules, most)


def with_retention(
    wanted: Any, plan: Plan, rows: Sequence[Mapping[str, Any]], ready: str, failed: str, removal: Callable[[Mapping[str, Any], str], Change]
) -> Plan:
    """Return ``plan`` with the deletions that leave of the series only what the rules keep, and what the task declares itself.

    :param wanted: has ``naming``, the time ``now``, the time zone ``zone``, ``state``, ``label``, and the names ``spared``
        (:func:`.retention.spared_names`).
    :param rows: what CloudStack lists, with ``name``, ``state`` and ``created``; what is in a state other than ``ready`` and ``failed`` is
        left alone, and what failed goes. The declared one, when it is being made, counts as made; nothing is deleted before it is.
    :param removal: makes the deletion of a row, under this word.
    """
    naming: Naming = wanted.naming
    creating = plan.before is None and plan.after is not None
    expression = naming.pattern.expression("")
    rows = [one for one in rows if expression.fullmatch(one.get("name") or "")]
    coming = [one for one in rows if one["state"] not in (ready, failed)]
    busy = [one for one in coming if wanted.state != "present" or one["name"] != naming.name]
    series = [(one["name"], moment(one["created"])) for one in rows if one["state"] != failed and one not in busy]
    newest = max((made for _name, made in series), default=0)
    if creating:
        # What is made now is the newest, however the clocks of this machine and of the server differ.
        series.append((naming.name, max(int(wanted.now), newest)))
    reasons = kept(series, naming.rules, wanted.zone, wanted.spared | ({naming.name} if wanted.state == "present" else set()))
    doomed = sorted((one for one in rows if one["name"] not in reasons and one not in busy), key=lambda one: moment(one["created"]))
    deleted = [one["name"] for one in doomed]
    check_most(wanted.label, deleted, naming.max_deletes)
    before = sorted(one["name"] for one in rows)
    after = sorted({*before, *([naming.name] if creating else [])} - {*deleted})
    warnings = [*plan.warnings, *(f"retention leaves {one['name']} alone, which is {one['state']}" for one in busy)]
    notes = {**plan.notes, "retention": {"kept": reasons, "deleted": deleted}}
    if plan.notes:
        plan.notes.update(notes)  # the proof completes this one
        notes = plan.notes
    removals = [removal(one, f"delete ({one['name']})") for one in doomed]
    if len(coming) > len(busy) and removals:
        removals[0] = replace(removals[0], first=next((one for one in plan.waits if isinstance(one, Wait)), None))
    return replace(plan, changes=[*plan.changes, *removals], notes=notes, warnings=warnings, beside=({"series": before}, {"series": after}))


def moment(text: str) -> int:
    """Return UNIX seconds of a time as CloudStack tells it, ``2026-11-22T18:00:00+0000``. :raises CollectionError: it is none."""
    try:
        return int(datetime.strptime(text, "%Y-%m-%dT%H:%M:%S%z").timestamp())
    except (OverflowError, TypeError, ValueError):
        raise CollectionError(f"CloudStack tells a time that is none: {brief(text)}") from None


@dataclass(frozen=True)
class Standing:
    """The snapshot that a volume or snapshot of StorPool's stands on, the bytes it has of its own (``None``: not known), and its size."""

    parent: str
    stored: int | None
    size: int


def standings(storpool: sp.StorPool, snapshots: Sequence[Mapping[str, Any]]) -> dict[str, Standing]:
    """Return what all volumes and ``snapshots`` stand on, by name and by ``~global_id``."""
    stored = {one["name"]: one["storedSize"] for one in (*storpool.volumes_space(), *storpool.snapshots_space())}
    found = {}
    for one in (*storpool.volumes(), *snapshots):
        found[one["name"]] = found[f"~{one['globalId']}"] = Standing(one["parentName"], stored.get(one["name"]), one["size"])
    return found


def changed_since(volume: Mapping[str, Any], names: Collection[str], written: Mapping[str, Standing]) -> str | None:
    """Return why a volume may not have the content of a snapshot of one of these names; ``None`` when it is known to have it.

    StorPool compares no contents; a volume that stands on a snapshot, with no bytes of its own on the way, has its content.
    """
    name, total = storpool_address(volume.get("path")) or "", 0
    for _step in range(_LONGEST_CHAIN):
        if name in names or name not in written:
            break
        if written[name].stored is None:
            return f"StorPool does not say how much was written to volume {volume['name']}"
        total += written[name].stored
        name = written[name].parent
    if name not in names:
        return f"volume {volume['name']} does not stand on it"
    return f"{total} bytes were written to volume {volume['name']} since" if total else None


def with_vm_stopped(
    machine: Mapping[str, Any], wanted: Any, because: str | None, revert: Change, what: str, stops: bool = True, starts: bool = True
) -> list[Change]:
    """Return the changes of a revert and, where it takes that, the stopping of the VM before and its start afterwards.

    :param machine: as listVirtualMachines has it.
    :param wanted: has ``stop_vm`` and a ``label``.
    :param because: why the revert is needed; when it is not, a VM that an interrupted run has stopped is started.
    :param what: what CloudStack reverts of stopped VMs only.
    :param stops: it is this one, of all that are reverted of the VM together, that stops it; ``starts`` likewise.
    :raises ChangeRefused: the VM is in the way.
    """
    state, marked = machine.get("state"), any(tag.get("key") == MARK for tag in machine.get("tags") or ())
    restart = wanted.stop_vm and (marked or (bool(because) and state == RUNNING))
    if because and state == RUNNING and not wanted.stop_vm:
        raise ChangeRefused(
            f"VM {machine['name']} runs; CloudStack reverts {what} only of stopped VMs",
            hint="stop it, or set stop_vm: true, which also starts it again", allow_with="stop_vm: true",
        )  # fmt: skip
    if (because or restart) and state not in (RUNNING, STOPPED):
        raise ChangeRefused(f"VM {machine['name']} is {state}", hint=LATER)
    about, tag = f"VM {machine['name']}", {"resourceids": machine["id"], "resourcetype": "UserVm", "tags[0].key": MARK}
    changes: list[Change] = []
    if restart and stops and because and state == RUNNING:
        if not marked:
            changes.append(Change("mark the VM", Command("createTags", {**tag, "tags[0].value": wanted.label}, about)))
        changes.append(Change("stop the VM", Command("stopVirtualMachine", {"id": machine["id"]}, about)))
    if because:
        changes.append(revert)
    if restart and starts:
        if because or state == STOPPED:
            changes.append(Change("start the VM", Command("startVirtualMachine", {"id": machine["id"]}, about)))
        changes.append(Change("unmark the VM", Command("deleteTags", tag, about)))
    return changes


def shown_revert(
    label: str, because: str | None, machine: Mapping[str, Any] | None, changes: Sequence[Change]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what the diff shows of a revert: whose content it is, and what becomes of the VM, before and after."""
    before, after = {}, {}
    if because:
        before["content"], after["content"] = f"its own: {because}", f"that of {label}"
    actions = {change.action for change in changes}
    words = [word for action, word in (("stop the VM", "stopped for it"), ("start the VM", "started again")) if action in actions]
    if machine and words:
        before["vm"], after["vm"] = f"{machine['name']} is {machine['state']}", f"{machine['name']} is {' and '.join(words)}"
    return before, after
