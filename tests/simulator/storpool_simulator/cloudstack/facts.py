# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the API of one release has: commands, their parameters, the fields of their answers.

Read from schema/cloudstack-api.json, and from schema/cloudstack-extra.json what that lacks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from typing import Any

VERSIONS = ("4.19.3", "4.20.2", "4.21.0", "4.22.0")
DEFAULT_LENGTH = 255
ADMIN = "Admin"
# Fields that hold the object of another command.
EMBEDDED = {"hostharesponse": "listHostHAResources", "outofbandmanagementresponse": "configureOutOfBandManagement"}
FOR_ALL = frozenset(
    (
        *("listApis", "listCapabilities", "listZones", "listDomains", "listAccounts", "listUsers", "listConfigurations"),
        *("listProjects", "createProject", "activateProject", "suspendProject", "deleteProject"),
        *("queryAsyncJobResult", "listAsyncJobs", "listOsTypes", "listDiskOfferings", "listServiceOfferings"),
        *("listTemplates", "registerTemplate", "createTemplate", "updateTemplate", "deleteTemplate", "copyTemplate", "extractTemplate"),
        *("listIsos", "registerIso", "deleteIso", "createTags", "deleteTags", "listTags"),
        *("listVolumes", "createVolume", "attachVolume", "detachVolume", "resizeVolume", "updateVolume", "deleteVolume", "uploadVolume"),
        *("extractVolume", "migrateVolume", "listSnapshots", "createSnapshot", "deleteSnapshot", "revertSnapshot", "listSnapshotPolicies"),
        *("createSnapshotPolicy", "deleteSnapshotPolicies", "updateSnapshotPolicy", "copySnapshot", "archiveSnapshot"),
        *("listVMSnapshot", "createVMSnapshot", "deleteVMSnapshot", "revertToVMSnapshot", "createSnapshotFromVMSnapshot"),
        *("listVirtualMachines", "deployVirtualMachine", "startVirtualMachine", "stopVirtualMachine", "rebootVirtualMachine"),
        *("destroyVirtualMachine", "restoreVirtualMachine", "updateVirtualMachine", "scaleVirtualMachine"),
    )
)
READING = ("get", "list", "query", "find")

_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}\Z")


def release(version: str) -> tuple[int, ...]:
    """Comparable numbers: "4.21.0.0" and "4.21.0" are the same release."""
    numbers = [int(part) for part in version.split(".")]
    return tuple(numbers + [0] * (4 - len(numbers)))


class BrokenAnswer(Exception):
    """An answer with a field that the release does not have, or of another type: a bug of the simulator."""


@dataclass(frozen=True)
class Parameter:
    name: str
    type: str
    required: bool = False
    length: int = DEFAULT_LENGTH
    since: str = ""
    related: str = ""
    items: str = ""
    authorized: tuple[str, ...] = ()


@dataclass(frozen=True)
class Field:
    name: str
    type: str
    since: str = ""
    authorized: tuple[str, ...] = ()
    fields: dict[str, Field] | None = None


@dataclass(frozen=True)
class Command:
    """``envelope`` is the outer key of answers, ``object`` the inner one; ``flat``: the fields lie directly in the envelope."""

    name: str
    envelope: str
    object: str | None
    is_async: bool
    paged: bool
    lists: bool
    flat: bool
    returns_id: bool
    since: str
    authorized: tuple[str, ...]
    params: dict[str, Parameter] = field(default_factory=dict)
    response: dict[str, Field] = field(default_factory=dict)

    def is_for(self, role: str) -> bool:
        """Older commands do not name the roles that may use them; then they are for root admins, but for a few."""
        return role in self.authorized if self.authorized else role == ADMIN or self.name in FOR_ALL

    @property
    def changes(self) -> bool:
        """Whether the server takes it for state-changing (sheet section 2)."""
        return changes(self.name)


def changes(name: str) -> bool:
    return not name.lower().startswith(READING)


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_bool(value: Any) -> bool:
    return value is True or value is False


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_date(value: Any) -> bool:
    return isinstance(value, str) and bool(_DATE.match(value))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


# Everything else is text: names of enumerations, ids, addresses (sheet section 3, "Encoding").
_FORMS: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("long", "integer", "int", "short"), _is_int),
    "boolean": _is_bool,
    **dict.fromkeys(("double", "float"), _is_number),
    "date": _is_date,
    **dict.fromkeys(("list", "set"), lambda value: isinstance(value, list)),
    **dict.fromkeys(("map", *EMBEDDED), lambda value: isinstance(value, dict)),
    "responseobject": lambda value: True,
}


class Facts:
    def __init__(self, version: str) -> None:
        if version not in VERSIONS:
            raise ValueError(f"CloudStack is one of {', '.join(VERSIONS)}, not {version!r}")
        self.version = version
        self._release = release(version)
        document = _document()
        self.related_apis: dict[str, list[str]] = document["related_apis"]
        self._classes = document["classes"]
        self.commands = {
            name: self._command(name, entry) for name, entry in document["commands"].items() if self.has(entry.get("first_seen"))
        }

    def has(self, first_seen: str | None) -> bool:
        return first_seen is None or release(first_seen) <= self._release

    def _command(self, name: str, entry: dict) -> Command:
        return Command(
            name=name,
            envelope=entry["envelope"],
            object=entry.get("object"),
            is_async=entry.get("isasync", False),
            paged=entry.get("paged", False),
            lists=entry.get("answers_with_list", False),
            flat=entry.get("flat", False),
            returns_id=entry.get("returns_id_with_job", False),
            since=entry.get("since", ""),
            authorized=tuple(entry.get("authorized", ())),
            params={one["name"]: self._parameter(one) for one in entry["params"] if self.has(one.get("first_seen"))},
            response=self._fields(self._classes[entry["response"]]),
        )

    @staticmethod
    def _parameter(entry: dict) -> Parameter:
        known = {key: value for key, value in entry.items() if key not in ("first_seen", "authorized")}
        return Parameter(**known, authorized=tuple(entry.get("authorized", ())))

    def _fields(self, entries: list[dict]) -> dict[str, Field]:
        found = {}
        for one in entries:
            if self.has(one.get("first_seen")):
                inner = self._fields(one["fields"]) if "fields" in one else None
                found[one["name"]] = Field(one["name"], one["type"], one.get("since", ""), tuple(one.get("authorized", ())), inner)
        return found

    # Answers

    def checked(self, command: Command, value: dict, role: str = ADMIN) -> dict:
        """One object of an answer: without what is null or not for the role. Raises BrokenAnswer."""
        return self._checked(command.response, value, role, command.name)

    def _checked(self, fields: dict[str, Field], value: dict, role: str, where: str) -> dict:
        shown = {}
        for key, one in value.items():
            if one is None:
                continue
            known = fields.get(key)
            if known is None:
                raise BrokenAnswer(f"{where}: {self.version} has no field {key!r}")
            if known.authorized and role not in known.authorized:
                continue
            if not _FORMS.get(known.type, _is_text)(one):
                raise BrokenAnswer(f"{where}: {key} is a {known.type}, not {one!r}")
            shown[key] = self._inner(known, one, role, where)
        return shown

    def _inner(self, known: Field, value: Any, role: str, where: str) -> Any:
        path = f"{where}.{known.name}"
        if known.type in EMBEDDED:
            return self.checked(self.commands[EMBEDDED[known.type]], value, role)
        if known.fields is not None and isinstance(value, list):
            return [self._checked(known.fields, one, role, path) if isinstance(one, dict) else one for one in value]
        return value


def _read(name: str) -> dict:
    return json.loads(resources.files("storpool_simulator.schema").joinpath(name).read_text("utf-8"))


@lru_cache(maxsize=1)
def _document() -> dict:
    document, extra = _read("cloudstack-api.json"), _read("cloudstack-extra.json")
    return {**document, **{part: {**document[part], **extra[part]} for part in ("commands", "classes")}}
