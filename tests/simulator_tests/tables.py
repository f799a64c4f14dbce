# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The field tables of the API, kept apart from the simulator's own copy, and a validator that shares nothing with the simulator's code."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


TABLES: dict = json.loads((HERE / "api-tables.json").read_text(encoding="utf-8"))
TYPES: dict[str, dict] = TABLES["types"]
OBJECTS: dict[str, dict] = TABLES["objects"]
CALLS: dict[str, dict] = TABLES["calls"]
RULES: dict[str, str] = TABLES["rules"]

# Fields that clients use and the bindings do not know (section 2.3 of the sheet), as far as they are answers.
EXTRA_ANSWER_FIELDS: dict[str, dict[str, dict]] = {
    "AttachmentDesc": {
        # The tables know names of volumes only, so the bindings lose those of unnamed snapshots (section 6.1).
        "volume": {
            "kind": "anyOf",
            "options": [{"kind": "type", "name": "VolumeNameOrGlobalId"}, {"kind": "type", "name": "SnapshotNameOrGlobalId"}],
        },
        "tags": {"kind": "map", "keys": {"kind": "type", "name": "VolumeTagName"}, "values": {"kind": "type", "name": "VolumeTagValue"}},
    },
    "GroupSnapshotsResult": {"ok": {"kind": "const", "value": True}, "generation": {"kind": "int"}},
    "UpDiskSummary": {
        "agFreeNotTrimmed": {"kind": "int"},
        "pendingErrorRecoveries": {"kind": "int"},
        "totalErrorsDetected": {"kind": "int"},
        "scrubbing": {"kind": "bool"},
    },
}
# CloudStack 4.17 reads the name out of the answer to an update: an assumption that the simulator may take up.
EXTRA_CALL_FIELDS: dict[str, dict[str, dict]] = {"volumeUpdate": {"name": {"kind": "type", "name": "VolumeNameOrGlobalId"}}}
# Change calls answer {"ok": true, "generation": N}: section 1.4 makes both mandatory although the tables give "ok" a default.
ALWAYS_PRESENT = {"ApiOk": {"ok", "generation"}}

SUMMARY_WITH_KIND = {
    "kind": "record",
    "fields": {
        "ok": {"kind": "const", "value": True},
        "volumes": {
            "kind": "array",
            "items": {
                "kind": "anyOf",
                "options": [{"kind": "x-plus", "name": "SnapshotSummary"}, {"kind": "x-plus", "name": "VolumeSummary"}],
            },
        },
    },
}
# Calls that only other clients have (section 2.2).
EXTRA_CALLS = [
    {"name": "volumesAndSnapshotsList", "http": "GET", "query": "VolumesAndSnapshotsList", "request": None, "response": SUMMARY_WITH_KIND},
    {
        "name": "snapshotReconcile",
        "http": "POST",
        "query": "SnapshotReconcile/{snapshotName}",
        "request": None,
        "response": {"kind": "object", "name": "ApiOk"},
    },
]


def _pattern(query: str) -> re.Pattern:
    return re.compile("^" + re.sub(r"\\\{[^}]*\\\}", "[^/]+", re.escape(query)) + "$")


_ROUTES = [(call["http"], _pattern(call["query"]), call) for call in [*CALLS.values(), *EXTRA_CALLS]]


def split_path(path: str) -> tuple[str, str | None, bool, bool]:
    """`/ctrl/1.0/...` into (query, remote cluster, multi-cluster, all clusters)."""
    rest = path.split("?", 1)[0].removeprefix("/ctrl/1.0/")
    remote = None
    if rest.startswith("RemoteCommand/"):
        remote, rest = rest.removeprefix("RemoteCommand/").split("/", 1)
    multi = rest.startswith("MultiCluster/")
    rest = rest.removeprefix("MultiCluster/")
    every = multi and rest.startswith("AllClusters/")
    return rest.removeprefix("AllClusters/") if every else rest, remote, multi, every


def find_call(method: str, path: str) -> dict | None:
    query = split_path(path)[0]
    for http, pattern, call in _ROUTES:
        if http == method and pattern.match(query):
            return call
    return None


def _key_ok(key: str, schema: dict) -> list[str]:
    schema = resolve(schema)
    if schema["kind"] in ("int", "intEnum", "intOrUnlimited"):
        if not re.fullmatch(r"-?(0|[1-9][0-9]*)", key):
            return [] if key == schema.get("unlimited") else [f"key {key!r} is not a number"]
        return check(int(key), schema)
    return check(key, schema)


def resolve(schema: dict) -> dict:
    """Follow type references and the wrappers that say nothing about the value."""
    while schema["kind"] in ("type", "optional", "internal", "default"):
        schema = TYPES[schema["name"]] if schema["kind"] == "type" else schema["of"]
    return schema


def _integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _int_faults(value: Any, schema: dict, at: str) -> list[str]:
    if not _integer(value):
        return [f"{at}: {value!r} is not an integer"]
    if value < schema.get("min", value) or value > schema.get("max", value):
        return [f"{at}: {value} is out of range"]
    if value % schema.get("multipleOf", 1):
        return [f"{at}: {value} is not a multiple of {schema['multipleOf']}"]
    return []


def _string_faults(value: Any, schema: dict, at: str) -> list[str]:
    if not isinstance(value, str):
        return [f"{at}: {value!r} is not a string"]
    pattern = schema.get("portablePattern", schema.get("pattern"))
    if pattern and not re.match(pattern, value):
        return [f"{at}: {value!r} does not match {pattern}"]
    if len(value) > schema.get("maxLength", len(value)):
        return [f"{at}: {value[:20]!r}... has {len(value)} characters"]
    if value in schema.get("reserved", ()):
        return [f"{at}: {value!r} is reserved"]
    return []


@functools.cache
def fields_of(name: str) -> dict[str, dict]:
    """All fields of an object, those of its bases included."""
    found: dict[str, dict] = {}
    obj: dict | None = OBJECTS[name]
    chain = []
    while obj is not None:
        chain.append(obj)
        obj = OBJECTS[obj["extends"]] if obj["extends"] else None
    for part in reversed(chain):
        found.update(part["fields"])
    return found


@functools.cache
def bases(name: str) -> list[str]:
    names = []
    current: str | None = name
    while current:
        names.append(current)
        current = OBJECTS[current]["extends"]
    return names


def _object_faults(value: Any, name: str, at: str, more: dict[str, dict] | None = None) -> list[str]:
    if not isinstance(value, dict):
        return [f"{at}: {value!r} is not an object ({name})"]
    fields = {key: field["schema"] for key, field in fields_of(name).items()}
    required = {key for key, field in fields_of(name).items() if field["required"]}
    extra: dict[str, dict] = dict(more or {})
    for base in bases(name):
        extra.update(EXTRA_ANSWER_FIELDS.get(base, {}))
        required |= ALWAYS_PRESENT.get(base, set())
    required |= set(more or {})
    faults = [f"{at}.{key}: missing ({name})" for key in sorted(required - set(value))]
    for key, item in value.items():
        schema = extra.get(key) or fields.get(key)
        if schema is None:
            faults.append(f"{at}.{key}: not a field of {name}")
        else:
            faults += check(item, schema, f"{at}.{key}")
    return faults


def check(value: Any, schema: dict, at: str = "data") -> list[str]:
    """What is wrong with a value, as a list of sentences."""
    schema = resolve(schema)
    kind = schema["kind"]
    if kind == "int":
        return _int_faults(value, schema, at)
    if kind == "intEnum":
        return _int_faults(value, {"min": schema["first"], "max": schema["first"] + len(schema["names"]) - 1}, at)
    if kind == "intOrUnlimited":
        return [] if value == schema["unlimited"] else _int_faults(value, schema, at)
    if kind == "string":
        return _string_faults(value, schema, at)
    if kind == "bool":
        return [] if isinstance(value, bool) else [f"{at}: {value!r} is not a boolean"]
    if kind == "enum":
        return (
            []
            if any(value == item and type(value) is type(item) for item in schema["values"])
            else [f"{at}: {value!r} not in {schema['values']}"]
        )
    if kind == "const":
        return [] if value == schema["value"] and type(value) is type(schema["value"]) else [f"{at}: {value!r} is not {schema['value']!r}"]
    if kind in ("array", "set"):
        if not isinstance(value, list):
            return [f"{at}: {value!r} is not an array"]
        faults = [fault for index, item in enumerate(value) for fault in check(item, schema["items"], f"{at}[{index}]")]
        if kind == "set" and len(value) != len({json.dumps(item) for item in value}):
            faults.append(f"{at}: the set has an element twice")
        return faults
    if kind == "map":
        if not isinstance(value, dict):
            return [f"{at}: {value!r} is not an object"]
        faults = []
        for key, item in value.items():
            faults += [f"{at}: {fault}" for fault in _key_ok(key, schema["keys"])]
            faults += check(item, schema["values"], f"{at}[{key!r}]")
        return faults
    if kind == "record":
        if not isinstance(value, dict):
            return [f"{at}: {value!r} is not an object"]
        if set(value) != set(schema["fields"]):
            return [f"{at}: keys {sorted(value)} instead of {sorted(schema['fields'])}"]
        return [fault for key, item in value.items() for fault in check(item, schema["fields"][key], f"{at}.{key}")]
    if kind == "object":
        return _object_faults(value, schema["name"], at)
    if kind == "x-plus":
        return _object_faults(value, schema["name"], at, {"snapshot": {"kind": "const", "value": schema["name"].startswith("Snapshot")}})
    if kind == "anyOf":
        tried = [check(value, option, at) for option in schema["options"]]
        return [] if not all(tried) else min(tried, key=len)
    raise AssertionError(f"unknown kind {kind}")


def check_envelope(method: str, path: str, status: int, body: Any) -> list[str]:
    """What is wrong with a whole answer."""
    if not isinstance(body, dict):
        return [f"the answer is not an object: {body!r}"]
    if "error" in body:
        error = body["error"]
        if not isinstance(error, dict) or not isinstance(error.get("name"), str) or not isinstance(error.get("descr"), str):
            return [f"malformed error: {body!r}"]
        faults = [] if set(error) <= {"name", "descr", "transient"} else [f"error with keys {sorted(error)}"]
        if not isinstance(error.get("transient", False), bool) or not error["name"] or not error["descr"]:
            faults.append(f"malformed error: {body!r}")
        if "data" in body:
            faults.append("both error and data")
        if error["name"] == "simulatorBug":
            faults.append(f"the simulator found a bug in itself: {error['descr']}")
        return faults
    query, _unused, multi, every = split_path(path)
    if status != 200:
        return [f"status {status} without an error"]
    call = find_call(method, path)
    if call is None:
        return [f"{method} {query} was answered but is in no table"]
    if every:
        return _check_all_clusters(body, call)
    faults = [f"top-level key {key!r}" for key in set(body) - {"generation", "data", "clusterId"}]
    if not _integer(body.get("generation")):
        faults.append(f"generation is {body.get('generation')!r}")
    if "clusterId" in body:
        faults += check(body["clusterId"], {"kind": "type", "name": "ClusterId"}, "clusterId") + (
            [] if multi else ["clusterId without MultiCluster/"]
        )
    if "data" not in body:
        return [*faults, "no data"]
    return faults + check(_without_extras(body["data"], call["name"]), call["response"])


def _without_extras(data: Any, call: str) -> Any:
    extra = EXTRA_CALL_FIELDS.get(call, {})
    if not isinstance(data, dict):
        return data
    return {key: value for key, value in data.items() if key not in extra or check(value, extra[key])}


def _check_all_clusters(body: dict, call: dict) -> list[str]:
    faults: list[str] = []
    data = body.get("data")
    if not isinstance(data, dict) or set(data) != {"clusters"} or not isinstance(data["clusters"], list):
        return [f"not the AllClusters form: {str(body)[:200]}"]
    for index, entry in enumerate(data["clusters"]):
        if "error" in entry:
            faults += [] if isinstance(entry["error"].get("name"), str) else [f"clusters[{index}]: malformed error"]
            continue
        response = entry.get("response")
        if not isinstance(response, dict) or not {"generation", "data"} <= set(response):
            faults.append(f"clusters[{index}]: no response")
            continue
        faults += check(response["data"], call["response"], f"clusters[{index}].data")
    return faults


def request_schema(call: dict) -> dict | None:
    schema = call["request"]
    while schema is not None and schema["kind"] in ("optional", "default"):
        schema = schema["of"]
    return schema


def walk_answer_fields(schema: dict, seen: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Every (object, field) that an answer of this form may hold."""
    schema = resolve(schema)
    kind = schema["kind"]
    if kind == "object":
        if schema["name"] in seen:
            return
        for key, field in fields_of(schema["name"]).items():
            yield schema["name"], key
            yield from walk_answer_fields(field["schema"], (*seen, schema["name"]))
    elif kind in ("array", "set"):
        yield from walk_answer_fields(schema["items"], seen)
    elif kind == "map":
        yield from walk_answer_fields(schema["values"], seen)
    elif kind == "record":
        for item in schema["fields"].values():
            yield from walk_answer_fields(item, seen)
    elif kind == "anyOf":
        for item in schema["options"]:
            yield from walk_answer_fields(item, seen)
