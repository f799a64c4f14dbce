# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 3: what a plan is, and the order in which plans are carried out.

A plan is made by a pure function of what is wanted and what is there. ``changed``, the diff, the predicted after-state and the calls all
come from it, so check mode and the real run cannot tell different stories.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Callable, Protocol

from ._errors import ChangeRefused, CollectionError, OptionError


@dataclass(frozen=True)
class Change:
    """One write of a plan.

    ``action`` is the word for it in results (``create``, ``resize``), ``write`` the call that does it. ``learn`` names the fields of the
    after-state that only the server can tell, by the key under which its answer has them; a function is given the
    after-state and the answer's value, and may raise when the answer shows that the object is not what it has to be.
    ``first`` is waited for before the write is sent. ``work`` is done where the task runs before the write is sent, as part of the same
    action (filling a device): it takes the client, and a function that tells people how far it is.
    ``twin`` is for objects of which the server lets two tasks make one each at the same moment. It is called once the object is made, with
    the client and the answer, looks, and returns the write that takes it back when there is another one. Each of two tasks that sees the
    other's takes back its own; whoever looks after that has the only one.
    ``follows`` is set for what is done because earlier changes of the same plan are, and cannot be told from what is there (a proof of what
    was configured): a look that finds the earlier ones done leaves it to be done, and a refusal of it stands.
    """

    action: str
    write: Any
    learn: Mapping[str, str | Callable[[dict[str, Any], Any], None]] = field(default_factory=dict)
    first: Wait | None = field(default=None, compare=False)
    work: Callable[[Any, Callable[[str], None]], None] | None = field(default=None, compare=False)
    twin: Callable[[Any, Any], Any] | None = field(default=None, compare=False)
    follows: bool = field(default=False, compare=False)


@dataclass(frozen=True)
class Wait:
    """Something that goes on by itself after the last write, and is waited for by reading.

    ``done`` takes the client and tells whether it has ended; ``what`` says what has to end, ``seconds`` how long that may take.
    ``explain`` takes the client and says what is known of it when the time is up.
    """

    what: str
    done: Callable[[Any], bool]
    seconds: float
    explain: Callable[[Any], str] | None = None


@dataclass(frozen=True)
class JointWait:
    """Something that many objects are waited for with one reading, after the changes of all of them.

    ``look`` takes the client and reads; the waits of a task with the same one share it. ``missing`` takes what it returned and says what
    is not so yet, ``None`` when nothing is. ``seconds`` count from the last change of the task. ``hint`` is the way out when they are over.
    """

    look: Callable[[Any], Any]
    missing: Callable[[Any], str | None]
    seconds: float
    hint: str | None = None


@dataclass
class Plan:
    """What happens to one declared object.

    ``before`` and ``after`` are the object as results show it (``None``: it does not exist). ``notes`` are facts for the result entry,
    ``warnings`` go to the person. A plan with ``refused`` set has no changes. ``beside`` is what the changes do to other objects, before
    and after; only the diff shows it. ``waits`` follow the changes; they count as no change, and check mode leaves them out.
    ``renewals`` are writes that put off the end of what is as declared already (a keep signal): sent after the changes, they change nothing
    that can be seen, count as no change, can be sent twice, and check mode leaves them out.
    With ``read_back`` the object is read once more at the end, because the answers do not tell what it has become.
    ``kind`` is set for an object of another kind that was not declared itself, but has to change for those that were (the cluster of a
    host): its entry goes to a list of its own (``clusters``), and it is not counted.
    """

    name: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    changes: Sequence[Change] = ()
    notes: dict[str, Any] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    refused: CollectionError | None = None
    read_back: bool = False
    beside: tuple[Mapping[str, Any], Mapping[str, Any]] = ({}, {})
    waits: Sequence[Wait | JointWait] = ()
    renewals: Sequence[Any] = ()
    kind: str | None = None


class Wanted(Protocol):
    """One declared object, parsed. ``label`` names it for people."""

    label: str

    def names(self) -> Sequence[str]:
        """Return every name under which this object is known before or after; two declared objects may not share one."""

    def needs(self) -> Sequence[str]:
        """Return the names of objects that have to be in their declared state before this one is planned."""


class Resource(Protocol):
    """How one kind of object is managed. The runner needs nothing else to know of it.

    A resource may also have ``spread(wanted, world)``, a pure function from what was declared to the objects that are planned, for what
    is declared as a whole (the hosts of a cluster). ``observe`` then has to bear both. And it may have ``foresee(client, wanted, plan,
    world)``, which lets the client answer the next tasks of a check run as it would after ``plan`` (see :mod:`._foresight`). ``world`` is
    as it was read; what the client lists is as other plans of the task would leave it. With ``in_parts`` set, several entries may each
    be about a part of one object (a template on one pool each); otherwise no two plans may have the same ``global_id`` or ``id`` before.
    """

    kind: str

    def parse(self, options: Mapping[str, Any], now: float) -> Any:
        """Return what is wanted, from the options of one object. ``now`` is the UNIX time of the task's begin (the planner has no clock).

        :raises OptionError: an option that cannot be meant.
        """

    def observe(self, client: Any, wanted: Sequence[Any]) -> Any:
        """Return the world as far as ``wanted`` needs it, with as few reads as possible."""

    def plan(self, wanted: Any, world: Any) -> Plan:
        """Return the plan for one object. Pure: the same arguments give the same plan, and neither is changed."""

    def predict(self, world: Any, wanted: Any, plan: Plan) -> None:
        """Let ``world`` be as it will be after ``plan``, for the objects planned next."""

    def show(self, document: dict[str, Any]) -> dict[str, Any]:
        """Return ``before`` or ``after`` as the diff shows it: managed fields only, in the units people write."""


def waves(wanted: Sequence[Wanted], option: str) -> list[list[int]]:
    """Return the positions of ``wanted`` in groups: each group needs only earlier ones, and within a group order is free.

    :raises OptionError: two of them are the same object, or they need each other in a circle; ``option`` names the list.
    """
    owner: dict[str, int] = {}
    for position, one in enumerate(wanted):
        for name in one.names():
            if owner.setdefault(name, position) != position:
                raise OptionError(
                    option, name, f"is declared twice (entries {owner[name] + 1} and {position + 1}); declare each object once"
                )
    if not any(one.needs() for one in wanted):
        return [list(range(len(wanted)))] if wanted else []
    waiting = {position: {owner[name] for name in one.needs() if name in owner} - {position} for position, one in enumerate(wanted)}
    groups = []
    while waiting:
        ready = [position for position, needs in waiting.items() if not needs & waiting.keys()]
        if not ready:
            circle = ", ".join(wanted[position].label for position in list(waiting)[:5])
            raise OptionError(option, circle, "need each other in a circle; split them over two tasks")
        groups.append(ready)
        for position in ready:
            del waiting[position]
    return groups


def plan_all(resource: Resource, wanted: Sequence[Any], groups: Sequence[Sequence[int]], world: Any) -> list[Plan]:
    """Return the plans in the order of ``wanted``, each made in the world that the earlier groups leave behind."""
    plans: list[Any] = [None] * len(wanted)
    plan, predict = resource.plan, resource.predict
    for group in groups:
        for position in group:
            one = wanted[position]
            made = plans[position] = plan(one, world)
            if made.changes:
                predict(world, one, made)
    _refuse_doubles(plans, ("global_id",) if getattr(resource, "in_parts", False) else ("global_id", "id"))
    return plans


def _refuse_doubles(plans: Sequence[Plan], identities: Sequence[str]) -> None:
    """Refuse what turned out to be one object under two names, as by name and by id: the two would undo each other's changes."""
    owner: dict[str, Plan] = {}
    for plan in plans:
        identity = plan.before and next(filter(None, map(plan.before.get, identities)), None)
        first = owner.setdefault(identity, plan) if identity else plan
        if first is not plan:
            for one in (first, plan):
                one.changes, one.waits = (), ()
                name = plan.before.get("name") or plan.name
                one.refused = ChangeRefused(f"{name} is declared twice, under two names", hint="declare each object once")


def diff_of(plan: Plan, show: Callable[[dict[str, Any]], dict[str, Any]], kind: str) -> dict[str, Any]:
    """Return the diff of one object. The diff of many is a list of these: one text of all would cost Ansible's display half a minute."""
    return {
        "before_header": f"{plan.kind or kind} {plan.name}",
        "after_header": f"{plan.kind or kind} {plan.name}",
        "before": {**(show(plan.before) if plan.before else {}), **plan.beside[0]},
        "after": {**(show(plan.after) if plan.after else {}), **plan.beside[1]},
    }
