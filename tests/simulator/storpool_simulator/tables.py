# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
# pylint: disable=unidiomatic-typecheck  # JSON knows six exact types, and true is no number
"""The field tables: requests and answers are checked against them.

Each schema is compiled once into a function, because a listing of thousands of objects checks millions of fields. A
request is read generously where the API is generous (rule numeric-strings) and an answer strictly.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import lru_cache
from importlib import resources
from typing import Any

Check = Callable[[Any, str], Any]


class Mismatch(Exception):
    """A value that does not fit its table; `where` is the path of the field."""

    def __init__(self, where: str, why: str) -> None:
        super().__init__(f"{where or 'body'}: {why}")
        self.where = where
        self.why = why


LONGEST_NUMBER = 40
_NUMBER = re.compile(r"-?[0-9]+\Z")


def _at(where: str, key: object) -> str:
    return f"{where}.{key}" if where else str(key)


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 80 else text[:77] + "..."


class Tables:
    """All calls and objects, and a compiled check for each; `strict` is the side of the answers."""

    def __init__(self, document: dict) -> None:
        self.types: dict[str, dict] = document["types"]
        self.objects: dict[str, dict] = document["objects"]
        self.calls: list[dict] = document["calls"]
        self.constants: dict[str, Any] = document["constants"]
        self._compiled: dict[tuple[str, str, bool], Check] = {}

    def check(self, schema: dict, *, strict: bool) -> Check:
        return self._compile(schema, strict)

    def has_field(self, schema: dict, field: str) -> bool:
        return schema["kind"] == "object" and field in self.objects[schema["name"]]["fields"]

    def _compile(self, schema: dict, strict: bool) -> Check:
        kind = schema["kind"]
        return getattr(self, f"_{kind}")(schema, strict)

    def _named(self, group: str, name: str, strict: bool) -> Check:
        """Compiled once; looked up late, so that types may refer to each other."""
        key = (group, name, strict)
        if key not in self._compiled:
            self._compiled[key] = self._record(self.objects[name], strict) if group == "object" else self._compile(self.types[name], strict)
        return self._compiled[key]

    def _type(self, schema: dict, strict: bool) -> Check:
        return self._named("type", schema["name"], strict)

    def _object(self, schema: dict, strict: bool) -> Check:
        return self._named("object", schema["name"], strict)

    def _optional(self, schema: dict, strict: bool) -> Check:
        return self._compile(schema["of"], strict)

    _internal = _optional
    _default = _optional

    def _bool(self, schema: dict, strict: bool) -> Check:
        def check(value: Any, where: str) -> bool:
            if value is True or value is False:
                return value
            raise Mismatch(where, f"expected true or false, got {_shown(value)}")

        return check

    def _int(self, schema: dict, strict: bool) -> Check:
        low, high, multiple = schema.get("min"), schema.get("max"), schema.get("multipleOf")

        def check(value: Any, where: str) -> int:
            if type(value) is not int:
                if strict or not isinstance(value, str) or not _NUMBER.match(value):
                    raise Mismatch(where, f"expected an integer, got {_shown(value)}")
                if len(value) > LONGEST_NUMBER:
                    raise Mismatch(where, "a number of too many digits")
                value = int(value)
            if low is not None and value < low:
                raise Mismatch(where, f"{value} is below {low}")
            if high is not None and value > high:
                raise Mismatch(where, f"{value} is above {high}")
            if multiple is not None and value % multiple:
                raise Mismatch(where, f"{value} is not a multiple of {multiple}")
            return value

        return check

    def _intOrUnlimited(self, schema: dict, strict: bool) -> Check:
        number, unlimited = self._int(schema, strict), schema["unlimited"]

        def check(value: Any, where: str) -> Any:
            return value if value == unlimited else number(value, where)

        return check

    def _intEnum(self, schema: dict, strict: bool) -> Check:
        return self._int({"min": schema["first"], "max": schema["first"] + len(schema["names"]) - 1}, strict)

    def _string(self, schema: dict, strict: bool) -> Check:
        # "$" also stands before a line feed at the end; a name may not have one.
        pattern = (
            re.compile(schema["portablePattern" if "portablePattern" in schema else "pattern"].replace("$", r"\Z"))
            if "pattern" in schema
            else None
        )
        longest = schema.get("maxLength")
        reserved = frozenset(schema.get("reserved", ()))

        def check(value: Any, where: str) -> str:
            if type(value) is not str:
                raise Mismatch(where, f"expected a string, got {_shown(value)}")
            if pattern is not None and not pattern.match(value):
                raise Mismatch(where, f"{_shown(value)} does not match {schema['pattern']}")
            if longest is not None and len(value) > longest:
                raise Mismatch(where, f"longer than {longest} characters")
            if value in reserved:
                raise Mismatch(where, f"'{value}' is reserved")
            return value

        return check

    def _enum(self, schema: dict, strict: bool) -> Check:
        values = schema["values"]

        def check(value: Any, where: str) -> Any:
            for known in values:
                if value == known and type(value) is type(known):
                    return value
                if not strict and type(known) is int and value == str(known):
                    return known
            raise Mismatch(where, f"expected one of {', '.join(map(str, values))}, got {_shown(value)}")

        return check

    def _const(self, schema: dict, strict: bool) -> Check:
        const = schema["value"]

        def check(value: Any, where: str) -> Any:
            if value == const and type(value) is type(const):
                return value
            raise Mismatch(where, f"expected {_shown(const)}, got {_shown(value)}")

        return check

    def _array(self, schema: dict, strict: bool) -> Check:
        item = self._compile(schema["items"], strict)

        def check(value: Any, where: str) -> list:
            if type(value) is not list:
                raise Mismatch(where, f"expected a list, got {_shown(value)}")
            return [item(one, f"{where}[{index}]") for index, one in enumerate(value)]

        return check

    def _set(self, schema: dict, strict: bool) -> Check:
        array = self._array(schema, strict)

        def check(value: Any, where: str) -> list:
            items = array(value, where)
            if len(set(items)) != len(items):
                raise Mismatch(where, "an element is there twice")
            return items

        return check

    def _map(self, schema: dict, strict: bool) -> Check:
        # Keys of JSON objects are strings, so a numeric key is always a numeric string.
        key_check, value_check = self._compile(schema["keys"], False), self._compile(schema["values"], strict)

        def check(value: Any, where: str) -> dict:
            if type(value) is not dict:
                raise Mismatch(where, f"expected an object, got {_shown(value)}")
            for key in value:
                key_check(key, f"{where} key" if where else "key")
            return {key: value_check(one, _at(where, key)) for key, one in value.items()}

        return check

    def _anyOf(self, schema: dict, strict: bool) -> Check:
        # Constants are compared, not tried: most values are none of them, and a refusal is dear.
        constants = [option["value"] for option in schema["options"] if option["kind"] == "const"]
        others = [option for option in schema["options"] if option["kind"] != "const"]
        options = [(self._required(option), self._compile(option, strict)) for option in others]

        def check(value: Any, where: str) -> Any:
            for constant in constants:
                if value == constant and type(value) is type(constant):
                    return value
            told: Mismatch | None = None
            for required, option in options:
                try:
                    return option(value, where)
                except Mismatch as why:
                    # The message of the option that the value was meant for helps most.
                    meant = required is not None and type(value) is dict and required <= value.keys()
                    if told is None or meant:
                        told = why
            raise told or Mismatch(where, f"expected one of {_shown(constants)}, got {_shown(value)}")

        return check

    def _required(self, schema: dict) -> frozenset[str] | None:
        if schema["kind"] != "object":
            return None
        return frozenset(name for name, entry in self.objects[schema["name"]]["fields"].items() if entry["required"])

    def _record(self, schema: dict, strict: bool) -> Check:
        """An object with the listed keys; `fields` holds either schemas (all required) or entries of the object table."""
        fields: dict[str, Check] = {}
        required = []
        defaults: dict[str, Any] = {}
        for name, entry in schema["fields"].items():
            plain = "schema" not in entry
            fields[name] = self._compile(entry if plain else entry["schema"], strict)
            if plain or entry["required"]:
                required.append(name)
            elif not strict and "default" in entry:
                defaults[name] = entry["default"]

        def check(value: Any, where: str) -> dict:
            if type(value) is not dict:
                raise Mismatch(where, f"expected an object, got {_shown(value)}")
            checked = dict(defaults) if defaults else {}
            for key, one in value.items():
                try:
                    field = fields[key]
                except KeyError:
                    raise Mismatch(_at(where, key), "unknown field") from None
                checked[key] = field(one, _at(where, key) if where else key)
            for key in required:
                if key not in checked:
                    raise Mismatch(_at(where, key), "required field is missing")
            return checked

        return check


@lru_cache(maxsize=1)
def load() -> Tables:
    return Tables(json.loads(resources.files("storpool_simulator.schema").joinpath("storpool-api.json").read_text("utf-8")))
