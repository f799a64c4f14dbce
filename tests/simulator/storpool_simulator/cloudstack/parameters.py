# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the parameters on the wire to typed values (sheet section 5, ``ParamUnpackWorker`` and ``ParamProcessWorker``)."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

from . import errors, signing
from .facts import Command, Parameter

# (related response class, uuid or internal id) -> uuid of the object, removed ones too; None when there is none
Resolve = Callable[[str, str], "str | None"]

# ``UuidUtils`` looks whether there is one in it: the id of a StorPool pool, "<template>;<uuid>", passes too
_UUID = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")
# No number of 64 bits has more digits
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}\Z")
_INTERNAL = re.compile(r"[0-9]{1,18}\Z")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_OLD_DATES = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d")
INT_MAX, LONG_MAX = 2**31 - 1, 2**63 - 1
MALFORMED = 430


def is_internal(text: str) -> bool:
    """Whether it may be an internal number of an object."""
    return bool(_INTERNAL.match(text))


def refuse_control_characters(raw: dict[str, str]) -> None:
    for name, value in raw.items():
        if _CONTROL.search(value):
            raise errors.parameter(
                f"Received value {_CONTROL.sub('?', value)} for parameter {name} is invalid, "
                "contains illegal ASCII non-printable characters"
            )


def unpack(raw: dict[str, str]) -> dict[str, Any]:
    """Names in lower case; ``name[0].key=value`` becomes ``{name: {0: {key: value}}}``, where the keys keep their case."""
    found: dict[str, Any] = {}
    for name, value in raw.items():
        if "[" in name:
            plain, index, key = _bracketed(name)
            maps = found.setdefault(plain, {})
            if not isinstance(maps, dict):
                maps = found[plain] = {}
            maps.setdefault(index, {})[key] = value
        else:
            found[name.lower()] = value
    return found


def _bracketed(name: str) -> tuple[str, int, str]:
    opening, closing = name.find("["), name.find("]")
    rest = name[closing + 1 :]
    well_formed = opening > 0 and name.count("[") == 1 and name.count("]") == 1 and closing > opening and rest.startswith(".")
    if not well_formed or not is_internal(name[opening + 1 : closing]):
        raise errors.ServerError(
            MALFORMED,
            f"Unable to decode parameter {name}; if specifying an object array, please use parameter[index].field=XXX, "
            "e.g. userGroupList[0].group=httpGroup",
        )
    return name[:opening].lower(), int(name[opening + 1 : closing]), rest[1:]


def pairs(maps: dict[int, dict[str, str]] | None) -> dict[str, str]:
    """A map in either of its two styles: ``[0].key=value``, or ``[0].key=k&[0].value=v`` (sheet section 5)."""
    found: dict[str, str] = {}
    for one in (maps or {}).values():
        if one.keys() in ({"key", "value"}, {"key"}):
            # deleteTags takes keys without values
            found[one["key"]] = one.get("value", "")
        else:
            found.update(one)
    return found


def entries(raw: dict[str, str], name: str) -> list[dict[str, str]]:
    """The maps of a parameter like ``datadisksdetails[0].diskofferingid=...``, by their number; their keys in lower case."""
    found: dict[str, dict[str, str]] = {}
    for key, value in raw.items():
        if key.lower().startswith(f"{name}["):
            number, _unused, inner = key[len(name) + 1 :].partition("].")
            found.setdefault(number, {})[inner.lower()] = value
    return [found[number] for number in sorted(found)]


class Reader:
    """Reads the parameters of one command for a caller of one role."""

    def __init__(self, command: Command, role: str, resolve: Resolve) -> None:
        self.command = command
        self.role = role
        self.resolve = resolve
        self._unable = f"Unable to execute API command {command.name.lower()} due to"

    def read(self, unpacked: dict[str, Any]) -> dict[str, Any]:
        """Typed values of what was given; unknown parameters, and those not for the role, are ignored."""
        found = {}
        for parameter in self.command.params.values():
            if parameter.authorized and self.role not in parameter.authorized:
                continue
            value = unpacked.get(parameter.name)
            if value is None or value == "":
                if parameter.required:
                    raise errors.parameter(f"{self._unable} missing parameter {parameter.name}")
                if value is None:
                    continue
            typed = self._typed(parameter, value)
            if typed is not None:
                found[parameter.name] = typed
        return found

    def _typed(self, parameter: Parameter, value: Any) -> Any:
        return getattr(self, f"_{parameter.type}")(parameter, value)

    def _wrong(self, parameter: Parameter, value: Any) -> errors.ServerError:
        return errors.parameter(f"{self._unable} invalid value {value} for parameter {parameter.name}")

    def _string(self, parameter: Parameter, value: Any) -> str:
        if len(str(value)) > parameter.length:
            raise errors.parameter(
                f"{self._unable} invalid value. Value greater than max allowed length {parameter.length} for param: {parameter.name}"
            )
        return str(value)

    def _boolean(self, parameter: Parameter, value: Any) -> bool:
        return str(value).lower() == "true"

    def _number(self, parameter: Parameter, value: Any, most: int) -> int:
        if not _INTEGER.match(str(value)) or not -most - 1 <= int(value) <= most:
            raise self._wrong(parameter, value)
        return int(value)

    def _integer(self, parameter: Parameter, value: Any) -> int | None:
        """A blank one counts as not given."""
        return self._number(parameter, value, INT_MAX) if str(value).strip() else None

    def _long(self, parameter: Parameter, value: Any) -> int:
        return self._number(parameter, value, LONG_MAX)

    def _map(self, parameter: Parameter, value: Any) -> dict[str, str]:
        return pairs(value) if isinstance(value, dict) else {}

    def _date(self, parameter: Parameter, value: Any) -> float:
        known = signing.moment(str(value))
        if known is not None:
            return known
        for form in _OLD_DATES:
            try:
                return datetime.strptime(str(value), form).replace(tzinfo=timezone.utc).timestamp()
            except ValueError:
                continue
        raise errors.parameter(
            f"Unable to parse date {value} for command {self.command.name.lower()}, "
            "please pass dates in the format mentioned in the api documentation"
        )

    def _list(self, parameter: Parameter, value: Any) -> list:
        items = [one for one in str(value).split(",") if one]
        if parameter.items == "uuid":
            return [known for known in (self._uuid(parameter, one) for one in items) if known is not None]
        if parameter.items in ("long", "integer"):
            return [self._long(parameter, one) for one in items]
        return items

    def _uuid(self, parameter: Parameter, value: Any) -> str | None:
        """Ids without a `since` also take internal numbers; with one, what is no uuid silently counts as not given."""
        text = str(value)
        if text == "-1":
            return text
        if parameter.since and not _UUID.search(text):
            return None
        if is_internal(text) and not int(text):
            raise errors.parameter(f"Invalid value provided for API arg: {parameter.name}")
        known = self.resolve(parameter.related, text)
        if known is None:
            raise errors.parameter(
                f"{self._unable} invalid value. Invalid parameter {parameter.name} value={text} due to incorrect long value format, "
                "or entity does not exist or due to incorrect parameter annotation for the field in api cmd class."
            )
        return known
