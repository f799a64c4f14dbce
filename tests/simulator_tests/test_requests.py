# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wrong requests: one clear error that names the field, and nothing changed. Most of them are made from the field tables."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from storpool_simulator.testing import Simulator

from . import tables
from .conftest import client_of
from .support import MIB, NOT_SENT, Client, Reply, state
from .world import CHANGES, READS, request

# Where an empty name has a meaning (section 2.3 of the sheet).
EMPTY_IS_FINE = {("volumeCreate", "name"), ("volumeUpdate", "rename"), ("snapshotCreate", "name"), ("snapshotFromRemote", "name")}
# Not settled by any source: an empty name here.
EMPTY_IS_OPEN = {("snapshotUpdate", "rename"), ("snapshotCreateGroup", "name"), ("volumeFromRemote", "name")}
MIXED = (5, True, [], {}, None)


def wrong_strings(schema: dict) -> Iterator[Any]:
    yield from MIXED
    pattern = schema.get("portablePattern", schema.get("pattern"))
    if pattern:
        yield from (text for text in ("bad name", "ümlaut", "a/b", "~nonsense", "a\nb", "UPPER.", "") if not re.match(pattern, text))
    if "maxLength" in schema:
        yield "a" * (schema["maxLength"] + 1)
    yield from schema.get("reserved", ())


def wrong_numbers(schema: dict) -> Iterator[Any]:
    yield from ("abc", "", "1.5", "0x10", 1.5, True, [], {}, None)
    if "min" in schema:
        yield from (schema["min"] - 1, str(schema["min"] - 1))
    if "max" in schema:
        yield from (schema["max"] + 1, str(schema["max"] + 1))
    if "multipleOf" in schema:
        yield from (schema["multipleOf"] + 1, str(2 * schema["multipleOf"] - 1))


def wrong_values(schema: dict) -> Iterator[Any]:
    """Values that a field of this form must not take."""
    schema = tables.resolve(schema)
    kind = schema["kind"]
    if kind == "int":
        yield from wrong_numbers(schema)
    elif kind == "intOrUnlimited":
        yield from (value for value in wrong_numbers(schema) if value != schema["unlimited"])
        yield "unlimited"
    elif kind == "string":
        yield from wrong_strings(schema)
    elif kind == "bool":
        yield from ("yes", "", 5, [], {}, None)
    elif kind == "enum":
        yield from (*MIXED, "nonsense", "")
    elif kind in ("array", "set"):
        yield from ("text", 5, True, {"a": 1}, None)
        yield from ([value] for value in wrong_values(schema["items"]))
    elif kind == "map":
        yield from ("text", 5, True, [1], None)
        good_key = "key"
        yield from ({key: "value"} for key in wrong_strings(tables.resolve(schema["keys"])) if isinstance(key, str))
        yield from ({good_key: value} for value in wrong_values(schema["values"]))
    elif kind == "anyOf":
        choices = [list(wrong_values(option)) for option in schema["options"]]
        candidates = [value for values in choices for value in values]
        yield from (
            value for value in candidates if all(tables.check(value, option) for option in schema["options"]) and not numeric(value)
        )
    elif kind == "const":
        yield from (value for value in (5, "nonsense", None, []) if value != schema["value"])
    elif kind == "object":
        yield from ("text", 5, None, True)


def numeric(value: Any) -> bool:
    """Numeric strings stand for numbers, also inside a list."""
    if isinstance(value, list):
        return bool(value) and all(numeric(item) for item in value)
    return isinstance(value, str) and re.fullmatch(r"-?[0-9]+", value) is not None


def option_for(schema: dict, value: Any) -> dict:
    """The branch of a choice that a value belongs to."""
    schema = tables.resolve(schema)
    if schema["kind"] != "anyOf":
        return schema
    return min((tables.resolve(option) for option in schema["options"]), key=lambda option: len(tables.check(value, option)))


def places(schema: dict, value: Any, path: tuple = ()) -> Iterator[tuple[tuple, dict[str, dict], set[str]]]:
    """Every object inside a request: where it is, its fields, the required ones."""
    schema = option_for(schema, value)
    if schema["kind"] == "object":
        fields = tables.fields_of(schema["name"])
        forms = {key: field["schema"] for key, field in fields.items()}
        yield path, forms, {key for key, field in fields.items() if field["required"]}
    elif schema["kind"] == "record":
        forms = schema["fields"]
        yield path, forms, set(forms)
    elif schema["kind"] in ("array", "set") and isinstance(value, list):
        for index, item in enumerate(value):
            yield from places(schema["items"], item, (*path, index))
        return
    else:
        return
    for key, form in forms.items():
        if isinstance(value, dict) and key in value:
            yield from places(form, value[key], (*path, key))


def at(body: Any, path: tuple) -> Any:
    for step in path:
        body = body[step]
    return body


def with_value(body: Any, path: tuple, key: str, value: Any) -> Any:
    changed = copy.deepcopy(body)
    at(changed, path)[key] = value
    return changed


def without(body: Any, path: tuple, key: str) -> Any:
    changed = copy.deepcopy(body)
    del at(changed, path)[key]
    return changed


REQUESTS = sorted(name for name in CHANGES if tables.request_schema(tables.CALLS[name]) is not None)


def bodies(name: str, world: dict) -> Iterator[tuple[str, Any]]:
    for args in CHANGES[name](world):
        _unused, query, body = request(name, args)
        if body is not NOT_SENT:
            yield query, body


def refused(client: Client, query: str, body: Any, name: str) -> None:
    reply = client.post(query, body)
    shown = f"{query} {json.dumps(body)[:300]}"
    assert reply.failed, f"accepted: {shown}"
    assert reply.error == "invalidParam", f"{reply.body}: {shown}"
    assert name in reply.descr, f"{reply.descr!r} does not name {name!r}: {shown}"


@pytest.fixture
def steady(populated: tuple[Simulator, dict]) -> Iterator[tuple[Client, dict]]:
    """The populated cluster, which has to be the same afterwards."""
    sim, world = populated
    client = client_of(sim)
    before = state(client)
    yield client, world
    assert state(client) == before
    client.close()


@pytest.mark.parametrize("name", REQUESTS)
def test_an_unknown_field_is_refused(steady: tuple[Client, dict], name: str) -> None:
    client, world = steady
    schema = tables.request_schema(tables.CALLS[name])
    assert schema is not None
    tried = 0
    for query, body in bodies(name, world):
        for path, _unused, _unused in places(schema, body):
            for value in (1, None, "x"):
                refused(client, query, with_value(body, path, "unheardOf", value), "unheardOf")
                tried += 1
    assert tried


@pytest.mark.parametrize("name", REQUESTS)
def test_a_wrong_value_is_refused(steady: tuple[Client, dict], name: str) -> None:
    """Wrong types, null, and both sides of every limit, for every field of every request object."""
    client, world = steady
    schema = tables.request_schema(tables.CALLS[name])
    assert schema is not None
    seen = set()
    for query, body in bodies(name, world):
        for path, forms, _unused in places(schema, body):
            kind = (tuple(step for step in path if isinstance(step, str)), tuple(sorted(forms)))
            if kind in seen:
                continue
            seen.add(kind)
            for field, form in forms.items():
                for value in wrong_values(form):
                    if value == "" and (name, field) in EMPTY_IS_FINE | EMPTY_IS_OPEN:
                        continue
                    refused(client, query, with_value(body, path, field, value), field)
    assert seen


@pytest.mark.parametrize("name", REQUESTS)
def test_a_missing_field_is_named(steady: tuple[Client, dict], name: str) -> None:
    client, world = steady
    schema = tables.request_schema(tables.CALLS[name])
    assert schema is not None
    for query, body in bodies(name, world):
        for path, _unused, required in places(schema, body):
            for field in required:
                if name in ("volumesReassign", "volumesReassignWait", "remoteBridgeAdd") and field in (
                    "volume",
                    "snapshot",
                    "location",
                    "remote",
                ):
                    reply = client.post(query, without(body, path, field))
                    assert reply.error == "invalidParam" and re.search("volume|snapshot|location|remote", reply.descr)
                else:
                    refused(client, query, without(body, path, field), field)


@pytest.mark.parametrize("name", REQUESTS)
def test_a_body_of_the_wrong_kind_is_refused(steady: tuple[Client, dict], name: str) -> None:
    client, world = steady
    for query, body in bodies(name, world):
        kinds: list[Any] = ["text", 5, True, [5], [[]]]
        if isinstance(body, list):
            kinds += [{}, {"volume": "vol"}]
        elif name != "volumesReassignWait":
            kinds += [[], [body]]
        for wrong in kinds:
            reply = client.post(query, wrong)
            assert reply.error == "invalidParam", (query, wrong)
            assert len(reply.descr) > 10


@pytest.mark.parametrize("name", sorted(set(CHANGES) - set(REQUESTS)))
def test_a_call_without_a_request_takes_no_fields(steady: tuple[Client, dict], name: str) -> None:
    client, world = steady
    for args in CHANGES[name](world):
        query = request(name, args)[1]
        refused(client, query, {"unheardOf": 1}, "unheardOf")
        for wrong in ([5], "text", 5):
            assert client.post(query, wrong).error == "invalidParam"


@pytest.mark.parametrize("body", ["absent", "empty", "object"])
def test_a_call_without_a_request_may_come_with_an_empty_body(api: Client, body: str) -> None:
    api.create("vol")
    path = "/ctrl/1.0/VolumeDelete/vol"
    reply = api.raw("POST", path, {"absent": None, "empty": b"", "object": b"{}"}[body])
    assert reply.data["ok"] is True and api.volumes() == {}


@pytest.mark.parametrize(
    "text", [b"{", b"", b"nonsense", b'{"name": "x",}', b"{'name': 'x'}", b'{"name": "x"} more', b"\xff\xfe", b'{"size": NaN, "name": "x"}']
)
def test_what_is_not_json_is_refused(steady: tuple[Client, dict], text: bytes) -> None:
    client, _unused = steady
    reply = client.raw("POST", "/ctrl/1.0/VolumeCreate", text)
    assert not tables.check_envelope("POST", reply.path, reply.status, reply.body)
    assert reply.error == "invalidParam" and reply.status >= 400


@pytest.mark.parametrize(
    "text",
    [b"[" * 100000, b'{"name":' * 50000, b'{"name": "x", "size": "' + b"9" * 6000 + b'"}', b'{"name": "x", "size": ' + b"9" * 6000 + b"}"],
    ids=["deep list", "deep object", "long number as text", "long number"],
)
def test_what_cannot_be_read_is_refused(steady: tuple[Client, dict], text: bytes) -> None:
    client, _unused = steady
    reply = client.raw("POST", "/ctrl/1.0/VolumeCreate", text)
    assert not tables.check_envelope("POST", reply.path, reply.status, reply.body)
    assert reply.error in ("invalidParam", "insufficientResources")


def test_a_long_number_in_a_path_is_refused(steady: tuple[Client, dict]) -> None:
    client, _unused = steady
    reply = client.get("DiskDescribe/" + "9" * 6000)
    assert (reply.failed and reply.status < 500) or reply.error == "invalidParam"


def test_names_may_be_percent_encoded(api: Client) -> None:
    gid = api.create("#vol:x")["globalId"]
    auto = api.snap("%23vol:x")["snapshotGlobalId"]
    (name,) = api.snapshots()
    assert "@" in name
    for query in ("Volume/%23vol:x", "Volume/%23vol%3Ax", f"Volume/%7E{gid}", f"Volume/~{gid}"):
        assert api.get(query).data[0]["globalId"] == gid, query
    for query in (f"Snapshot/{name}", f"Snapshot/{name.replace('@', '%40')}"):
        assert api.get(query).data[0]["globalId"] == auto, query


def test_the_content_type_does_not_matter(api: Client) -> None:
    for index, kind in enumerate(("application/json", "application/x-www-form-urlencoded", "text/plain", None)):
        headers = {"Authorization": f"Storpool v1:{api.token}", **({"Content-Type": kind} if kind else {})}
        body = json.dumps({"name": f"v{index}", "size": MIB}).encode()
        assert api.raw("POST", "/ctrl/1.0/VolumeCreate", body, headers).data["ok"] is True
    assert len(api.volumes()) == 4


@pytest.mark.parametrize(
    "auth",
    [
        None,
        "",
        "Storpool v1:",
        "Storpool v1:1234567890123456789",
        "Storpool v1:{token}0",
        "Storpool v1:{short}",
        "storpool v1:{token}",
        "Storpool v1: {token}",
        "Storpool  v1:{token}",
        "Bearer {token}",
        "{token}",
    ],
)
def test_without_the_token_nothing_is_told_or_done(steady: tuple[Client, dict], auth: str | None) -> None:
    client, _unused = steady
    headers = {} if auth is None else {"Authorization": auth.format(token=client.token, short=client.token[:-1])}
    for method, path, body in (
        ("GET", "/ctrl/1.0/VolumesList", None),
        ("GET", "/ctrl/1.0/NoSuchCall", None),
        ("POST", "/ctrl/1.0/VolumeCreate", b'{"name": "intruder", "size": 512}'),
        ("POST", "/ctrl/1.0/VolumeDelete/plain", b"not json"),
        ("GET", "/ctrl/1.0/MultiCluster/VolumesList", None),
        ("GET", "/ctrl/1.0/RemoteCommand/sofia-b/VolumesList", None),
    ):
        reply = client.raw(method, path, body, headers)
        assert reply.status == 401 and reply.error == "unauthorized"
        assert client.token not in json.dumps(reply.body) and "plain" not in reply.descr


def test_the_control_interface_needs_no_token(steady: tuple[Client, dict]) -> None:
    client, _unused = steady
    reply = client.raw("GET", "/_sim/health", headers={})
    assert reply.status == 200 and reply.body == {"ok": True}


@pytest.mark.parametrize(
    "path",
    [
        "/ctrl/1.0/NoSuchCall",
        "/ctrl/1.0/volumeslist",
        "/ctrl/1.0/VolumesList/more",
        "/ctrl/1.0/Volume",
        "/ctrl/1.0/",
        "/ctrl/2.0/VolumesList",
        "/ctrl/1.0/MultiCluster/NoSuchCall",
        "/ctrl/1.0/RemoteCommand/sofia-b/NoSuchCall",
        "/ctrl/1.0/RemoteCommand/nowhere/VolumesList",
        "/ctrl/1.0/RemoteCommand/~no.where/VolumesList",
        "/ctrl/1.0/MultiCluster/AllClusters/NoSuchCall",
        "/ctrl/1.0/DiskGetInfo/101",
        "/ctrl/1.0/VolumeBalancerGroups",
        "/VolumesList",
        "/",
    ],
)
def test_an_unknown_path_is_one_clear_error(steady: tuple[Client, dict], path: str) -> None:
    client, _unused = steady
    for method, body in (("GET", None), ("POST", b"{}")):
        reply = client.raw(method, path, body)
        assert reply.status >= 400
        if not path.startswith("/ctrl/1.0/"):
            assert b"data" not in reply.body if isinstance(reply.body, bytes) else reply.failed
            continue
        assert reply.failed and not tables.check_envelope(method, path, reply.status, reply.body)
        last = path.rstrip("/").rsplit("/", 1)[-1]
        assert last in ("1.0", "more", "101") or last in reply.descr or "here" in path


def test_a_wrong_method_is_one_clear_error(steady: tuple[Client, dict]) -> None:
    client, world = steady
    replies: list[Reply] = []
    for name in [*CHANGES, *READS]:
        call = tables.CALLS[name]
        twin = "POST" if call["http"] == "GET" else "GET"
        if any(other["http"] == twin and other["query"] == call["query"] for other in tables.CALLS.values()):
            continue
        args = (CHANGES.get(name) or READS[name])(world)[0]
        query = request(name, args)[1]
        replies += [client.raw(twin, f"/ctrl/1.0/{query}", b"{}" if twin == "POST" else None), client.raw("DELETE", f"/ctrl/1.0/{query}")]
        replies.append(client.raw("PUT", f"/ctrl/1.0/{query}", b"{}"))
    assert len(replies) > 200
    for reply in replies:
        assert reply.failed and 400 <= reply.status < 600, reply
        assert not tables.check_envelope(reply.method, reply.path, reply.status, reply.body)


@pytest.mark.parametrize(
    "query",
    [
        "Volume/{}",
        "VolumeDescribe/{}",
        "VolumeGetInfo/{}",
        "Snapshot/{}",
        "SnapshotDescribe/{}",
        "VolumeTemplateDescribe/{}",
        "VolumeListSnapshots/{}",
        "PlacementGroupDescribe/{}",
        "KV/List/{}",
    ],
)
def test_what_does_not_exist_is_called_so(steady: tuple[Client, dict], query: str) -> None:
    client, _unused = steady
    reply = client.get(query.format("missing-one"))
    assert reply.error == "objectDoesNotExist" and "missing-one" in reply.descr


@pytest.mark.parametrize(
    "query",
    [
        "VolumeDelete/{}",
        "VolumeUpdate/{}",
        "VolumeSnapshot/{}",
        "SnapshotDelete/{}",
        "SnapshotUpdate/{}",
        "VolumeFreeze/{}",
        "VolumeTemplateDelete/{}",
        "VolumeRebase/{}",
        "PlacementGroupDelete/{}",
    ],
)
def test_a_change_of_what_does_not_exist_is_refused(steady: tuple[Client, dict], query: str) -> None:
    client, _unused = steady
    for name in ("missing-one", *(["~sf.a.zzzz"] if "Volume" in query and "Template" not in query else [])):
        reply = client.post(query.format(name), {})
        assert reply.error == "objectDoesNotExist" and name.strip("~") in reply.descr


@pytest.mark.parametrize(
    "query",
    [
        "DiskDescribe/x",
        "DiskDescribe/4096",
        "ServerDisksList/0",
        "ClientConfigWait/x",
        "ClientConfigWait/0",
        "Volume/list",
        "Volume/bad%20name",
        "VolumeDescribe/~nonsense",
        "Volume/" + "a" * 200,
    ],
)
def test_a_bad_part_of_the_path_is_refused(steady: tuple[Client, dict], query: str) -> None:
    client, _unused = steady
    assert client.get(query).failed


def test_a_volume_is_no_snapshot_and_the_other_way_round(steady: tuple[Client, dict]) -> None:
    client, _unused = steady
    for query in (
        "Snapshot/vol",
        "SnapshotDescribe/vol",
        "SnapshotGetInfo/vol",
        "Volume/snap",
        "VolumeDescribe/snap",
        "VolumeGetInfo/snap",
    ):
        assert client.get(query).error == "objectDoesNotExist", query
    for query in (
        "SnapshotDelete/vol",
        "SnapshotUpdate/vol",
        "VolumeDelete/snap",
        "VolumeUpdate/snap",
        "VolumeFreeze/snap",
        "VolumeSnapshot/snap",
    ):
        assert client.post(query, {}).error == "objectDoesNotExist", query
    for more in ({"parent": "vol"}, {"baseOn": "snap"}):
        assert client.post("VolumeCreate", {"name": "x", "size": MIB, **more}).error == "objectDoesNotExist"


def test_more_than_the_cluster_has(steady: tuple[Client, dict]) -> None:
    client, _unused = steady
    assert client.post("VolumeCreate", {"name": "huge", "size": 1 << 60}).error == "insufficientResources"
    assert client.post("VolumeUpdate/plain", {"size": 1 << 60}).error == "insufficientResources"


def test_not_enough_servers_for_the_replication(api: Client) -> None:
    api.do("PlacementGroupUpdate/few", {"addDisks": [101]})
    reply = api.post("VolumeCreate", {"name": "vol", "size": MIB, "replication": 3, "placeAll": "few"})
    assert "Not enough servers or fault sets for replication 3" in reply.descr
    assert api.volumes() == {}
    api.do("VolumeCreate", {"name": "vol", "size": MIB, "replication": 1, "placeAll": "few"})


def test_the_error_of_the_key_value_store(api: Client) -> None:
    assert api.post("KV/Set/none", {"set": {"a": "b"}}).error == "objectDoesNotExist"
    api.do("KV/Create/bucket")
    assert api.post("KV/Create/bucket").error == "objectExists"
    api.do("KV/Set/bucket", {"set": {"a": "1", "b": "2"}})
    version = api.get("KV/List/bucket").data["version"]
    assert api.post("KV/Set/bucket", {"set": {"a": "9"}, "runIfVersionIs": version - 1}).error == "runIfVersionIsMismatch"
    assert api.get("KV/List/bucket").data == {"name": "bucket", "version": version, "pairs": {"a": "1", "b": "2"}}
    api.do("KV/Set/bucket", {"set": {"a": "", "c": "3"}, "runIfVersionIs": version})
    after = api.get("KV/List/bucket").data
    assert after["pairs"] == {"b": "2", "c": "3"} and after["version"] > version
    assert api.get("KV").data["buckets"] == {"bucket": after["version"]}
    assert api.get("KV/Get/bucket/b").data["pairs"] == {"b": "2"}
    api.do("KV/Delete/bucket")
    assert api.get("KV/List/bucket").error == "objectDoesNotExist"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def garbage(draw: st.DrawFn) -> tuple[str, Any]:
    """Some change with a body whose keys are often those of the tables and whose values seldom are."""
    name = draw(st.sampled_from(REQUESTS))
    schema = tables.resolve(tables.request_schema(tables.CALLS[name]) or {})
    keys = st.text(max_size=5)
    if schema["kind"] == "object":
        keys = st.sampled_from(sorted(tables.fields_of(schema["name"]))) | keys
    body = draw(st.dictionaries(keys, JSON, max_size=4) | JSON)
    return tables.CALLS[name]["query"].format(**{arg["name"]: "missing-one" for arg in tables.CALLS[name]["pathArgs"]}), body


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(garbage())
def test_garbage_is_answered_in_form(api: Client, sent: tuple[str, Any]) -> None:
    query, body = sent
    before = api.generation()
    reply = api.post(query, body)
    assert not reply.failed or api.generation() == before
