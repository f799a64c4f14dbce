# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the tests of the core share: API objects, checked options, and a kind of object small enough to see the runner at work."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.storpool.cloudstack.plugins.module_utils._errors import (
    AnswerLost,
    ApiError,
    ChangeRefused,
    CollectionError,
    OptionError,
)
from ansible_collections.storpool.cloudstack.plugins.module_utils._plan import Change, Plan
from ansible_collections.storpool.cloudstack.plugins.module_utils._runner import Manages
from ansible_collections.storpool.cloudstack.plugins.modules import storpool_volume

GIB = 1 << 30
SECTOR = 512


def checked(declared: Manages, **given: Any) -> dict[str, Any]:
    """The options as Ansible hands them to a module."""
    result = ArgumentSpecValidator(declared.argument_spec()).validate(given)
    assert not result.error_messages, result.error_messages
    return result.validated_parameters


def sound(plan: Plan) -> Plan:
    """The plan, when it is one: what it is about has a name, what it refuses it does not do, and it says what to do instead."""
    assert isinstance(plan.name, str) and all(one is None or isinstance(one, dict) for one in (plan.before, plan.after))
    if plan.refused:
        assert not plan.changes, plan.refused
        assert plan.refused.hint or not isinstance(plan.refused, ChangeRefused), plan.refused
    return plan


def actions(plan: Plan) -> list[str]:
    """What a plan does, in its own words."""
    return [change.action for change in plan.changes]


def calls(plan: Plan) -> list[tuple[str, dict[str, Any]]]:
    """What a plan sends to CloudStack: call and parameters."""
    return [(change.write.call, dict(change.write.params)) for change in plan.changes]


def steps(plan: Plan) -> list[tuple[str, str]]:
    """What a plan does, and the call that does it."""
    return [(change.action, change.write.call) for change in plan.changes]


def sent(plan: Plan) -> list[tuple[str, str, dict[str, Any]]]:
    """All of this: what it does, and with which call and parameters."""
    return [(change.action, change.write.call, dict(change.write.params)) for change in plan.changes]


# -- volumes


def volume_options(**given: Any) -> dict[str, Any]:
    return checked(storpool_volume.DECLARED, **given)


def raw_volume(name: str = "v", number: int = 1, **fields: Any) -> dict[str, Any]:
    """A VolumeSummary; an empty name makes it anonymous."""
    identity = f"sf.a.{number}"
    return {
        "name": name or f"~{identity}",
        "globalId": identity,
        "size": GIB,
        "templateName": "hybrid",
        "parentName": "",
        "iops": "-",
        "bw": "-",
        "replication": 3,
        "placeAll": "hdd",
        "placeHead": "hdd",
        "placeTail": "ssd",
        "tags": {},
        "creationTimestamp": 1700000000,
        "objectsCount": 32,
        "visibleVolumeId": number,
        **fields,
    }


def raw_snapshot(name: str = "s", number: int = 1000, **fields: Any) -> dict[str, Any]:
    return {**raw_volume(name, number), "autoName": False, "bound": False, "deleted": False, "transient": False, "onVolume": "-", **fields}


def raw_template(name: str = "hybrid", **fields: Any) -> dict[str, Any]:
    return {
        "name": name,
        "iops": "-",
        "bw": "-",
        "replication": 3,
        "placeAll": "hdd",
        "placeHead": "hdd",
        "placeTail": "ssd",
        "size": "-",
        "parentName": "",
        **fields,
    }


# -- things: a name and a value


@dataclass
class WantedThing:
    label: str
    value: int | None
    requires: list[str] = field(default_factory=list)
    forbidden: bool = False

    def names(self) -> Sequence[str]:
        return [self.label]

    def needs(self) -> Sequence[str]:
        return self.requires


@dataclass(frozen=True)
class Put:
    """A write: create a thing, or set its value."""

    call: str
    name: str
    value: int
    about: str = ""


class Things:
    """Creates with value 0 first, then sets the value: two changes, so that things can be half done."""

    kind = "thing"

    def parse(self, options: Mapping[str, Any], now: float) -> WantedThing:
        if options["value"] is not None and options["value"] < 0:
            raise OptionError("value", options["value"], "must not be negative")
        return WantedThing(options["name"], options["value"], options["requires"] or [], bool(options["forbidden"]))

    def observe(self, client: Store, wanted: Sequence[WantedThing]) -> dict[str, int]:
        return client.list()

    def plan(self, wanted: WantedThing, world: dict[str, int]) -> Plan:
        present = world.get(wanted.label)
        before = None if present is None else {"name": wanted.label, "value": present, "serial": present * 100}
        if wanted.forbidden and present != wanted.value:
            return Plan(wanted.label, before, before, refused=ChangeRefused(f"{wanted.label} is forbidden", allow_with="courage: true"))
        missing = [name for name in wanted.requires if name not in world]
        if missing:
            return Plan(wanted.label, before, before, refused=OptionError("requires", missing[0], "does not exist"))
        changes = []
        if present is None:
            changes.append(Change("create", Put("Create", wanted.label, 0), {"serial": "serial"}))
        if wanted.value is not None and wanted.value != (present or 0):
            changes.append(Change("set", Put("Set", wanted.label, wanted.value)))
        value = wanted.value if wanted.value is not None else (present or 0)
        after = before if not changes else {"name": wanted.label, "value": value, "serial": before and before["serial"]}
        warnings = ["13 is unlucky"] if wanted.value == 13 else []
        return Plan(wanted.label, before, after, changes, notes={"lucky": value == 7}, warnings=warnings)

    def predict(self, world: dict[str, int], wanted: WantedThing, plan: Plan) -> None:
        world[wanted.label] = plan.after["value"]

    def show(self, document: dict[str, Any]) -> dict[str, Any]:
        return {"name": document["name"], "value": document["value"]}


THINGS = Manages(
    resource=Things(),
    plural="things",
    item=dict(name=dict(type="str"), value=dict(type="int"), requires=dict(type="list", elements="str"), forbidden=dict(type="bool")),
)


class Store:
    """Holds things, and fails as told: `script` maps (call, name) to what happens at successive writes.

    Words: "lost before" and "lost after" its effect; "exists" and "gone" (the API's errors, another party has been there); any
    CollectionError is raised as it is; a callable is called with the store and may do anything, then the write goes on.
    """

    def __init__(self, script: Mapping[tuple[str, str], list[Any]] | None = None, **state: int) -> None:
        self.state = dict(state)
        self.script = {key: list(value) for key, value in (script or {}).items()}
        self.writes: list[tuple[str, str]] = []
        self.reads = 0
        self.read_errors: list[CollectionError] = []
        self.lock = threading.Lock()

    def list(self) -> dict[str, int]:
        with self.lock:
            self.reads += 1
            if self.read_errors:
                raise self.read_errors.pop(0)
            return dict(self.state)

    def send(self, write: Put) -> dict[str, Any]:
        with self.lock:
            self.writes.append((write.call, write.name))
            acts = self.script.get((write.call, write.name), [])
            act = acts.pop(0) if acts else None
            if callable(act):
                act(self)
            elif isinstance(act, Exception):
                raise act
            elif act == "lost before":
                raise AnswerLost("the server took it and then closed the connection")
            elif act == "exists":
                self.state.setdefault(write.name, 0)
            elif act == "gone":
                self.state.pop(write.name, None)
            if write.call == "Create":
                if write.name in self.state:
                    raise ApiError("objectExists", "it exists", call=write.call, object_name=write.name)
            elif write.name not in self.state:
                raise ApiError("objectDoesNotExist", "it is gone", call=write.call, object_name=write.name)
            self.state[write.name] = write.value
            if act == "lost after":
                raise AnswerLost("the server took it and then closed the connection")
            return {"ok": True, "serial": 4711}
