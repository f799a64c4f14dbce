# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 5: a task from its options to its result.

The ordinary module and the action plugin (the fast path) both call :func:`execute`; that is why their results are the same.
"""

from __future__ import annotations

import random
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Callable

from ansible.module_utils.basic import missing_required_lib

from . import _foresight, _http
from ._errors import AnswerLost, ApiError, CollectionError, DeadlineExceeded, OptionError, failure, unexpected
from ._items import bulk_spec, expand
from ._module import be_module
from ._options import CLOUDSTACK_SPEC, STORPOOL_SPEC, cloudstack_connection, storpool_connection
from ._plan import Change, JointWait, Plan, Resource, Wait, diff_of, plan_all, waves
from ._shown import has_secrets, hidden_in, secrets_in, shown_options, without_secrets
from ._storpool import EXISTS, NOT_THERE, StorPool

LATE_EFFECTS = (0.5, 1.0, 2.0)  # seconds between further looks for the effect of a write whose answer was lost
TWINS = 0.25  # seconds, doubled each time, within which a task makes anew what two tasks had made
# CloudStack's codes for what cannot be done with an object as it is now, among other things (sheet cloudstack-api, section 4).
NOT_AS_IT_IS = ("431", "530")


def _tell_nobody(text: str) -> None:
    """Nobody is there to hear how far a long task is."""


@dataclass(frozen=True)
class Mode:
    """How a task runs: whether it only predicts, whether its result has a diff, who is told now and then how far a long one is, and what
    earlier tasks of the same check run would have left behind. What turns out to be secret on the way is added to ``secrets``."""

    check: bool
    diff: bool
    tell: Callable[[str], None] = _tell_nobody
    foresight: _foresight.Foresight = _foresight.NOTHING
    secrets: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Manages:
    """Declares a module that brings objects into a state: ``item`` is the argument spec of one, ``plural`` the name of the list of them.

    ``key`` is the option that tells objects apart; with ``names`` a list of its values may be given instead of a list of objects.
    ``finish`` takes the entries of all objects and returns what else the result of the task says. ``hide`` returns the options as the
    result's ``invocation`` may show them, when secrets can stand in values that are none in themselves; it has to bear options that
    nobody has validated. Of ``systems``, those that are ``optional`` may be set nowhere; the resource then gets a client of StorPool's
    whose ``without_cloudstack`` says what is missing.
    """

    resource: Resource
    item: Mapping[str, dict[str, Any]]
    plural: str
    names: bool = True
    key: str = "name"
    systems: Sequence[str] = ("storpool",)
    optional: Sequence[str] = ()
    finish: Callable[[Sequence[Mapping[str, Any]]], dict[str, Any]] | None = None
    hide: Callable[[Mapping[str, Any]], dict[str, Any]] | None = None

    def argument_spec(self) -> dict[str, dict[str, Any]]:
        """Return the whole argument spec of the module."""
        return {**bulk_spec(self.item, self.plural, self.names, self.key), **_connection_spec(self.systems)}

    def run(self, client: Any, options: Mapping[str, Any], mode: Mode) -> dict[str, Any]:
        """Return the result of a task; see :class:`_Run`."""
        return _Run(self, client, options, mode).result()


@dataclass(frozen=True)
class Informs:
    """Declares a module that only reads. ``query`` takes a client and the options and returns the result's own members."""

    query: Callable[[Any, Mapping[str, Any]], dict[str, Any]]
    options: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    systems: Sequence[str] = ("storpool",)

    def argument_spec(self) -> dict[str, dict[str, Any]]:
        """Return the whole argument spec of the module."""
        return {**self.options, **_connection_spec(self.systems)}

    def run(self, client: Any, options: Mapping[str, Any], mode: Mode) -> dict[str, Any]:
        """Return the result of a task. Whatever the mode, nothing is written."""
        client.begin(client.http.stats, read_only=True, foresight=mode.foresight)
        return {"changed": False, **self.query(client, options)}


def _connection_spec(systems: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the connection options of a module that speaks to ``systems``."""
    specs = {"storpool": STORPOOL_SPEC, "cloudstack": CLOUDSTACK_SPEC}
    return {name: spec for system in systems for name, spec in specs[system].items()}


# -- the two ways in


def run_module(declared: Manages | Informs) -> None:
    """Be an ordinary module."""
    be_module(
        declared.argument_spec(),
        partial(shown_options, declared),
        lambda module: execute(declared, {**module.params, _foresight.OPTION: module.foreseen}, module.check_mode, module._diff),
    )


def execute(
    declared: Manages | Informs,
    options: Mapping[str, Any],
    check: bool,
    diff: bool,
    clients: dict[Any, Any] | None = None,
    tell: Callable[[str], None] = _tell_nobody,
) -> dict[str, Any]:
    """Run a task and return its whole result; never raises.

    :param options: validated by Ansible against the argument spec.
    :param clients: keeps the client, and so its connections, for the next task of the same process.
    :param tell: is told now and then how far a long task is.
    """
    secrets = set(secrets_in(declared.argument_spec(), options))
    try:
        if _http.REQUESTS_ERROR:
            raise CollectionError(missing_required_lib("requests"), hint="install it for the Python that runs the task")
        client = _connect(declared, options, {} if clients is None else clients, secrets)
        stats, foresight = _http.Stats(), _foresight.Foresight(options.get(_foresight.OPTION))
        client.begin(stats, check, foresight)
        result = declared.run(client, options, Mode(check, diff, tell, foresight, secrets))
        if foresight.active:
            result = {**_foresight.without_made_up(result), _foresight.OPTION: foresight.new}
        result["api"] = stats.as_dict()
    except CollectionError as exc:
        result = failure(exc)
    except Exception as exc:  # a defect of ours must still end in a result that hides the token
        result = {
            "failed": True,
            "changed": False,
            "msg": unexpected(exc),
            "error": {"type": "defect", "message": f"{type(exc).__name__}: {exc}"},
            "exception": traceback.format_exc(),
        }
    result["invocation"] = {"module_args": shown_options(declared, options)}
    return without_secrets(result, secrets)


def _connect(declared: Manages | Informs, options: Mapping[str, Any], clients: dict[Any, Any], secrets: set[str]) -> Any:
    """Return the client of a module: a StorPool or, when it speaks to CloudStack, a CloudStack that knows the StorPool behind it."""
    systems, optional = declared.systems, getattr(declared, "optional", ())
    parallel = int(options.get("parallel") or 1)

    def kept(connection: Any, make: Callable[[], Any]) -> Any:
        secrets.update(connection.secrets())
        key = (repr({**vars(connection), "sources": None}), parallel)
        if key not in clients:
            clients[key] = make()
        return clients[key]

    storpool = None
    if "storpool" in systems:
        to_storpool = storpool_connection(options)
        storpool = kept(to_storpool, lambda: StorPool(to_storpool, parallel))
    if "cloudstack" not in systems:
        return storpool
    from ._cloudstack import CloudStack  # what a module does not need is not loaded

    try:
        to_cloudstack = cloudstack_connection(options)
    except OptionError as exc:
        if storpool is None or "cloudstack" not in optional:
            raise
        storpool.without_cloudstack = exc
        return storpool
    client = kept(to_cloudstack, lambda: CloudStack(to_cloudstack, parallel))
    client.storpool = storpool
    return client


# -- one run of a module that manages objects


@dataclass
class _Outcome:
    """What became of one plan."""

    plan: Plan
    done: list[str] = field(default_factory=list)
    not_done: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)  # sent, unanswered, and not to be seen afterwards
    error: CollectionError | None = None
    skipped: bool = False
    notes: dict[str, Any] = field(default_factory=dict)

    def learn(self, present: Mapping[str, Any] | None) -> None:
        """Let the after-state have what was read of the object meanwhile."""
        if present is not None and self.plan.after is not None:
            self.plan.after.update({key: value for key, value in present.items() if value is not None})


class _Run:
    """Desired, observe, plan, apply, result, for any resource."""

    REPLANS = 5  # how often one object is looked at again after lost answers or changes by others

    def __init__(self, declared: Manages, client: Any, options: Mapping[str, Any], mode: Mode) -> None:
        self.resource = declared.resource
        self.declared = declared
        self.client = client
        self.options = options
        self.mode = mode
        self.warnings: list[str] = []
        self._stopped = threading.Event()

    def result(self) -> dict[str, Any]:
        """Do the task and return its result."""
        secret = has_secrets(self.declared.item) or self.declared.hide is not None
        entries, self.single = expand(self.options, self.declared.item, self.declared.plural, self.declared.key, secret)
        if secret:
            for entry in entries:  # those of a file are among no options
                self.mode.secrets.update(secrets_in(self.declared.item, entry))
                if self.declared.hide:
                    self.mode.secrets.update(hidden_in(entry, self.declared.hide(entry)))
        now = time.time()
        wanted = [self._parse(entry, number, now) for number, entry in enumerate(entries, 1)]
        groups = waves(wanted, self.declared.plural)
        world = self.resource.observe(self.client, wanted)
        spread = getattr(self.resource, "spread", None)
        if spread:
            wanted = spread(wanted, world)
            groups = waves(wanted, self.declared.plural)
        plans = plan_all(self.resource, wanted, groups, world)
        outcomes = [_Outcome(plan, error=plan.refused, not_done=[change.action for change in plan.changes]) for plan in plans]
        refused = any(outcome.error for outcome in outcomes)
        if refused and self.options["on_error"] == "stop":
            # Nothing half-done: what can be refused is refused before the first write.
            for outcome in outcomes:
                outcome.skipped = outcome.error is None and bool(outcome.plan.changes or outcome.plan.waits)
        elif self.mode.check:
            for outcome in outcomes:
                outcome.done, outcome.not_done = outcome.not_done, []
            if self.mode.foresight.active:
                self._foresee([(one, outcome.plan) for one, outcome in zip(wanted, outcomes) if outcome.done and not outcome.error], world)
        else:
            for group in groups:
                work = [(wanted[position], outcomes[position]) for position in group if _has_work(plans[position])]
                self._apply(work)
                self._read_back([(one, outcome) for one, outcome in work if outcome.plan.read_back and outcome.done and not outcome.error])
            self._wait_together(list(zip(wanted, outcomes)))
        return self._result(outcomes)

    def _foresee(self, plans: Sequence[tuple[Any, Plan]], world: Any) -> None:
        """Enter what the plans would leave behind, for the next tasks of the check run."""
        if not isinstance(self.client, StorPool):
            from .resources.cloud_foresight import foresee

            foresee(self.client, [plan for _wanted, plan in plans])
        if hasattr(self.resource, "foresee"):
            storpool = self.client if isinstance(self.client, StorPool) else self.client.storpool
            for wanted, plan in plans:
                self.resource.foresee(storpool, wanted, plan, world)

    def _parse(self, entry: Mapping[str, Any], number: int, now: float) -> Any:
        try:
            return self.resource.parse(entry, now)
        except CollectionError as exc:
            if not self.single:
                exc.message = f"entry {number}: {exc.message}"
                exc.parts["entry"] = number
            raise

    # -- apply

    def _apply(self, work: list[tuple[Any, _Outcome]]) -> None:
        """Carry out plans whose order is free, several at once."""
        if not work:
            return
        threads = min(int(self.options["parallel"]), len(work))
        if threads <= 1:
            for wanted, outcome in work:
                self._carry_out(wanted, outcome)
            return
        queue = iter(work)
        lock = threading.Lock()

        def worker() -> None:
            while True:
                with lock:
                    one = next(queue, None)
                if one is None:
                    return
                self._carry_out(*one)

        workers = [threading.Thread(target=worker, daemon=True) for _unused in range(threads)]
        for thread in workers:
            thread.start()
        for thread in workers:
            thread.join()

    def _carry_out(self, wanted: Any, outcome: _Outcome) -> None:
        """Do the changes of one plan in order. After a lost answer, or when somebody else was faster, look again and go on from there."""
        if self._stopped.is_set() or outcome.error:
            outcome.skipped = outcome.error is None
            return
        changes = list(outcome.plan.changes)
        looks = 0
        lost = ""  # the action of which an answer was lost last
        try:
            while changes:
                change = changes[0]
                if change.first:
                    self._wait(change.first)
                if change.work:
                    change.work(self.client, self.mode.tell)
                try:
                    answer = self.client.send(change.write)
                except CollectionError as exc:
                    looks += 1
                    if isinstance(exc, AnswerLost):
                        lost = change.action
                        outcome.unknown = [lost]
                    late = isinstance(exc, ApiError) and change.action == lost  # refused for what the lost one has done meanwhile
                    if looks > self.REPLANS or not (late or _worth_a_look(exc, change)):
                        raise
                    changes = self._look_again(wanted, outcome, changes, exc, change.action == lost)
                    outcome.unknown = []
                else:
                    self._note_done(outcome, changes.pop(0), answer)
                    back = change.twin(self.client, answer) if change.twin else None
                    if back:
                        self.client.send(back)
                        outcome.done.remove(change.action)
                        changes.insert(0, change)
                        looks += 1
                        changes = self._make_way(wanted, outcome, looks)
            for wait in outcome.plan.waits:
                if isinstance(wait, Wait):
                    self._wait(wait)
            for renewal in outcome.plan.renewals:
                self._renew(renewal)
        except CollectionError as exc:
            outcome.error = exc
            if self.options["on_error"] == "stop":
                self._stopped.set()
        except Exception as exc:  # in a thread nobody else would see it
            outcome.error = CollectionError(unexpected(exc), traceback=traceback.format_exc())
            self._stopped.set()
        outcome.not_done = [change.action for change in changes[len(outcome.unknown) :]]
        if outcome.error and (outcome.done or outcome.unknown):
            # A half-done object is reported as it is, not as it was to become.
            outcome.plan.after = self._what_is_there([wanted])[0]

    def _read_back(self, work: list[tuple[Any, _Outcome]]) -> None:
        """Complete what the answers did not tell of the objects that were made, with as few reads as possible."""
        if work:
            for (_wanted, outcome), present in zip(work, self._what_is_there([wanted for wanted, _outcome in work])):
                outcome.learn(present)

    def _what_is_there(self, wanted: Sequence[Any]) -> list[dict[str, Any] | None]:
        """Return the objects as they are now; ``None`` also for what cannot be read."""
        try:
            world = self.resource.observe(self.client, wanted)
            return [self.resource.plan(one, world).before for one in wanted]
        except CollectionError:
            return [None] * len(wanted)

    def _wait(self, wait: Wait) -> None:
        """Read again and again until it is done. :raises DeadlineExceeded: it takes longer than it may."""
        deadline, pause = time.monotonic() + wait.seconds, 0.1
        while not wait.done(self.client):
            left = deadline - time.monotonic()
            if left <= 0:
                known = f": {wait.explain(self.client)}" if wait.explain else ""
                raise DeadlineExceeded(
                    f"waited {wait.seconds:g} s, but {wait.what} has not ended{known}",
                    hint="run the task again, it goes on from there; or give it more wait_timeout",
                )
            time.sleep(min(pause, left))
            pause = min(2 * pause, 2.0)

    def _wait_together(self, work: list[tuple[Any, _Outcome]]) -> None:
        """Wait for what many objects become by themselves, with one reading for all that share it. Objects that failed are left alone."""
        waiting: dict[Any, list[tuple[_Outcome, JointWait]]] = {}
        going_on = [(wanted, outcome) for wanted, outcome in work if not (outcome.error or outcome.skipped or self._stopped.is_set())]
        for _wanted, outcome in going_on:
            for wait in outcome.plan.waits:
                if isinstance(wait, JointWait):
                    waiting.setdefault(wait.look, []).append((outcome, wait))
        began = time.monotonic()
        for look, left in waiting.items():
            pause = 0.1
            while left:
                try:
                    seen = look(self.client)
                except CollectionError as exc:
                    for outcome, _wait in left:
                        outcome.error = exc
                    break
                passed = time.monotonic() - began
                left = [one for one in left if self._goes_on(*one, seen, passed)]
                if left:
                    time.sleep(min(pause, *(wait.seconds - passed for _outcome, wait in left)))
                    pause = min(2 * pause, 2.0)
        failed = [(wanted, outcome) for wanted, outcome in going_on if outcome.error and outcome.done]
        if failed:
            for (_wanted, outcome), present in zip(failed, self._what_is_there([wanted for wanted, _outcome in failed])):
                outcome.plan.after = present

    @staticmethod
    def _goes_on(outcome: _Outcome, wait: JointWait, seen: Any, passed: float) -> bool:
        """Tell whether there is something to wait for still; enters the failure when there is, but no time is left."""
        missing = wait.missing(seen)
        if missing is None:
            return False
        if passed >= wait.seconds:
            outcome.error = DeadlineExceeded(f"waited {wait.seconds:g} s, but {missing}", hint=wait.hint)
            return False
        return True

    def _renew(self, write: Any) -> None:
        """Send a write that can be sent twice, once more when its answer is lost."""
        try:
            self.client.send(write)
        except AnswerLost:
            self.client.send(write)

    @staticmethod
    def _note_done(outcome: _Outcome, change: Change, answer: Any) -> None:
        outcome.done.append(change.action)
        if outcome.plan.after is not None and isinstance(answer, dict):
            for key, target in change.learn.items():
                if answer.get(key) is None:
                    continue
                if callable(target):
                    target(outcome.plan.after, answer[key])
                else:
                    outcome.plan.after[target] = answer[key]

    def _look_again(self, wanted: Any, outcome: _Outcome, changes: list[Change], exc: CollectionError, sent: bool) -> list[Change]:
        """Return what is left to do for one object, after reading it anew.

        A change that is no longer in the new plan has taken effect (a lost answer: only the one that was sent can be ours) or was made by
        somebody else (a conflict). With ``sent`` an answer to the first change was lost, perhaps earlier: a refusal may come of its late
        effect.
        """
        planned = {change.action for change in changes}
        # What the server may still be at is given a moment: it cannot be sent again.
        for pause in (0.0, *LATE_EFFECTS) if sent and exc.parts.get("under_way") else (0.0,):
            time.sleep(pause)
            plan = self._seen_anew(wanted, exc)
            if sent and (plan.refused or not planned.issuperset(change.action for change in plan.changes)):
                # A look is several readings: when the effect comes between two of them it is of no one moment, and the next one is.
                plan = self._seen_anew(wanted, exc)
            if plan.refused:
                raise plan.refused
            left = [change.action for change in plan.changes]
            if changes[0].action not in left:
                break
        if sent:
            if changes[0].action not in left:
                outcome.done.append(changes[0].action)
            elif not isinstance(exc, AnswerLost):
                raise exc
            elif exc.parts.get("under_way"):
                exc.message += "; it is not there yet and may still come, so it was not sent again"
                raise exc
        else:
            as_it_was = len(plan.changes) >= len(changes) and plan.changes[:1] == changes[:1]
            if as_it_was or (getattr(exc, "name", "") in NOT_AS_IT_IS and changes[0].action in left):
                raise exc  # it is still to be done: the refusal stands
            self.warnings.append(f"{self.resource.kind} {plan.name} was changed by somebody else meanwhile ({exc.message})")
        outcome.learn(plan.after)
        return _with_what_follows(plan.changes, changes[1:])

    def _seen_anew(self, wanted: Any, exc: CollectionError) -> Plan:
        """Return the plan for one object as it is now. :raises CollectionError: ``exc``, when it cannot be read."""
        try:
            world = self.resource.observe(self.client, [wanted])
        except CollectionError as unread:
            exc.message += f"; then it could not be read back: {unread.message}"
            raise exc from unread
        return self.resource.plan(wanted, world)

    def _make_way(self, wanted: Any, outcome: _Outcome, looks: int) -> list[Change]:
        """Return what is left to do for one object after the one made here was taken back, because there were two.

        :raises CollectionError: somebody makes it whenever it is made here.
        """
        name = outcome.plan.name
        if looks > self.REPLANS:
            raise CollectionError(
                f"somebody else makes {self.resource.kind} {name} whenever this task does; the one made here was taken back {looks} times",
                hint="let one task at a time make it, then run this one again",
            )
        time.sleep(random.uniform(0, TWINS * 2**looks))  # the other one may just have made way, too
        plan = self.resource.plan(wanted, self.resource.observe(self.client, [wanted]))
        if plan.refused:
            raise plan.refused
        self.warnings.append(f"{self.resource.kind} {name} was made by somebody else at the same moment; the one made here was taken back")
        outcome.learn(plan.after)
        return list(plan.changes)

    # -- result

    def _result(self, outcomes: Sequence[_Outcome]) -> dict[str, Any]:
        keep = self.options["return_objects"] or ("all" if self.single else "changed")
        declared = sum(not outcome.plan.kind for outcome in outcomes)
        counts = {"declared": declared, "changed": 0, "unchanged": 0, "failed": 0, "not_attempted": 0}
        every, entries, diffs = [], [], []
        others: dict[str, list[dict[str, Any]]] = {}
        for outcome in outcomes:
            plan = outcome.plan
            changed = bool(outcome.done)
            if plan.kind:
                others.setdefault(f"{plan.kind}s", [])
            else:
                counts["failed" if outcome.error else "not_attempted" if outcome.skipped else "changed" if changed else "unchanged"] += 1
            if plan.warnings:
                self.warnings.extend(plan.warnings)
            if keep == "all" or outcome.error or (keep == "changed" and (changed or outcome.skipped)):
                (others[f"{plan.kind}s"] if plan.kind else entries).append(_entry(outcome, changed))
            if self.declared.finish:
                every.append(_entry(outcome, changed))
            if self.mode.diff and changed and not outcome.error:
                diffs.append(diff_of(plan, self.resource.show, self.resource.kind))
        done = any(outcome.done for outcome in outcomes)
        result: dict[str, Any] = {"changed": done, self.declared.plural: entries, **others, "summary": counts}
        if self.declared.finish:
            result.update(self.declared.finish(every))
        if self.mode.diff:
            result["diff"] = diffs
        if self.warnings:
            result["warnings"] = self.warnings
        if any(outcome.error for outcome in outcomes):
            result.update(failed=True, **self._failed(outcomes, counts))
        return result

    def _failed(self, outcomes: Sequence[_Outcome], counts: Mapping[str, int]) -> dict[str, Any]:
        first = next(outcome for outcome in outcomes if outcome.error)
        error = first.error
        message, about = str(error), f"{first.plan.kind or self.resource.kind} {first.plan.name}"
        if not message.startswith((f"{about} ", f"{about}:")):  # many begin with it
            message = f"{about}: {message}"
        if first.done or first.unknown:
            unknown = f" not known: {', '.join(first.unknown)};" if first.unknown else ""
            not_done = ", ".join(first.not_done) or "nothing more was left"
            message += f". Done before that: {', '.join(first.done) or 'nothing'};{unknown} not done: {not_done}"
        if counts["failed"] and (not self.single or counts["declared"] != 1):
            message = (
                f"{counts['failed']} of {counts['declared']} failed, {counts['changed']} changed, "
                f"{counts['unchanged']} were right already, "
                f"{counts['not_attempted']} not attempted. First failure: {message}"
            )
        return {"msg": message, "error": {"object": first.plan.name, **error.as_dict()}}


def _has_work(plan: Plan) -> bool:
    """Tell whether carrying a plan out asks for anything at all."""
    return bool(plan.changes or plan.waits or plan.renewals)


def _with_what_follows(changes: Sequence[Change], earlier: Sequence[Change]) -> list[Change]:
    """Return the ``changes`` of a new plan, with those of the ``earlier`` one that follow from what is done by now, in its order."""
    new = {change.action: change for change in changes}
    missing = [change for change in earlier if change.follows and change.action not in new]
    if not missing:
        return list(changes)
    known = {change.action for change in earlier}
    ordered = [change if change in missing else new.get(change.action) for change in earlier]
    return [*(change for change in changes if change.action not in known), *(change for change in ordered if change)]


def _worth_a_look(exc: CollectionError, change: Change) -> bool:
    """Tell whether reading the object anew can settle the write of ``change``, which failed."""
    if isinstance(exc, ApiError):
        return exc.name in (EXISTS, NOT_THERE) or (exc.name in NOT_AS_IT_IS and change.action != "create" and not change.follows)
    return isinstance(exc, AnswerLost)


def _entry(outcome: _Outcome, changed: bool) -> dict[str, Any]:
    """Return the entry of one object in the result; the same shape for one and for many."""
    plan = outcome.plan
    entry: dict[str, Any] = {"name": plan.name, "changed": changed, "actions": outcome.done}
    if outcome.error:
        entry["failed"] = True
        entry["error"] = outcome.error.as_dict()
    if outcome.unknown:
        entry["unknown"] = outcome.unknown
    if outcome.not_done:
        entry["not_done"] = outcome.not_done
    entry["object"] = plan.before if (outcome.error or outcome.skipped) and not changed and not outcome.unknown else plan.after
    entry.update(plan.notes)
    return entry
