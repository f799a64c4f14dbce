# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The official bindings make every call they have, and no answer loses or nulls a field on the way through them.

The calls are counted off the bindings themselves, so none can be forgotten. What the bindings get wrong by themselves (section 6.1 of the
reference sheet) is listed here, must show up exactly so, and the fields it touches are looked at in the raw data instead.
"""

from __future__ import annotations

import copy
import http.client
from collections.abc import Iterator
from typing import Any

import pytest
from storpool import spapi, spjson, sptypes
from storpool.spcatch import InvalidArgumentError
from storpool_simulator.testing import Simulator

from . import tables
from .support import MIB, Client
from .world import CHANGES, READS, UNSUPPORTED, populate


class Recording(spapi.Api):
    """The bindings, keeping the data of the last answer before they decode it."""

    raw: Any = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        data = super().__call__(*args, **kwargs)
        self.raw = copy.deepcopy(data)
        return data


def methods() -> dict[str, Any]:
    """Every API call of the bindings; what has no call behind it (`kvsTryUpdate`, `volumeDevLinkWait`) has no documentation object."""
    return {name: func for name, func in vars(spapi.Api).items() if hasattr(func, "spDoc") and name != "spDoc"}


def losses(raw: Any, decoded: Any, at: str = "data") -> Iterator[tuple[str, str]]:
    """(`Object.field`, what happened to it) for everything that is not the same after decoding."""
    if isinstance(decoded, spjson.JsonObjectImpl):
        kind = type(decoded).__name__
        if not isinstance(raw, dict):
            yield at, f"was {raw!r}"
            return
        attrs = decoded.to_json()
        for key, value in raw.items():
            if key not in attrs:
                yield f"{kind}.{key}", "lost"
            elif attrs[key] is None and value is not None:
                yield f"{kind}.{key}", f"nulled: {value!r}"
            else:
                yield from losses(value, attrs[key], f"{kind}.{key}")
        for key in set(attrs) - set(raw):
            if attrs[key] not in (None, [], {}, set()):
                yield f"{kind}.{key}", f"invented: {attrs[key]!r}"
            elif tables.fields_of(kind).get(key, {}).get("required"):
                yield f"{kind}.{key}", "not in the answer"
    elif isinstance(decoded, dict):
        keys = {str(key): value for key, value in decoded.items()}
        if not isinstance(raw, dict) or set(keys) != set(raw):
            yield at, f"keys {sorted(raw)} became {sorted(keys)}"
            return
        for key, value in raw.items():
            if keys[key] is None and value is not None:
                yield f"{at}[]", f"nulled: {key}"
            else:
                yield from losses(value, keys[key], f"{at}[]")
    elif isinstance(decoded, (list, set, tuple)):
        if not isinstance(raw, list) or len(raw) != len(decoded):
            yield at, f"{len(raw)} elements became {len(decoded)}"
            return
        items = sorted(decoded) if isinstance(decoded, set) else decoded
        for one, other in zip(sorted(raw) if isinstance(decoded, set) else raw, items, strict=True):
            yield from losses(one, other, f"{at}[]")
    elif at == "DiskObject.state":
        if tables.TYPES["ObjectState"]["names"][raw] != decoded:
            yield at, f"{raw!r} became {decoded!r}"
    elif raw != decoded or type(raw) is not type(decoded):
        yield at, f"{raw!r} became {decoded!r}"


DISK_EXTRAS = ("agFreeNotTrimmed", "pendingErrorRecoveries", "scrubbing", "totalErrorsDetected")
# What the bindings do to a correct answer: call -> (field, what happens). Sections 6.1 and 2.3 of the sheet, and nothing else.
KNOWN_LOSSES: dict[str, set[tuple[str, str]]] = {
    "attachmentsList": {("AttachmentDesc.tags", "lost"), ("AttachmentDesc.volume", "nulled")},
    "snapshotCreateGroup": {("GroupSnapshotsResult.ok", "lost")},
    "volumeUpdate": {("ApiOk.name", "lost")},
    "disksList": {(f"UpDiskSummary.{key}", "lost") for key in DISK_EXTRAS},
    "serverDisksList": {(f"UpDiskSummary.{key}", "lost") for key in DISK_EXTRAS},
    "diskDescribe": {(f"Disk.{key}", "lost") for key in DISK_EXTRAS},
    "serverDiskDescribe": {(f"Disk.{key}", "lost") for key in DISK_EXTRAS},
}


def bindings(sim: Simulator, **more: Any) -> Recording:
    return Recording(host=sim.host, port=sim.port, auth=sim.token, transientRetries=0, timeout=30, **more)


def compare(name: str, api: Recording, args: tuple, found: dict[tuple[str, str], list[Any]], **more: Any) -> Any:
    """Make a call and note what the bindings did to its answer; gives the raw data."""
    api.raw = None
    decoded = getattr(api, name)(*args, **more)
    assert api.raw is not None
    faults = tables.check(tables._without_extras(api.raw, name), tables.CALLS[name]["response"])
    assert not faults, f"{name}{args}: {faults[:5]}"
    for where, what in losses(api.raw, decoded):
        found.setdefault((where, what.split(":")[0]), []).append((name, what))
    return api.raw


def at_rest(raw: Any) -> Any:
    """An answer without what counts down from second to second."""
    if isinstance(raw, dict):
        return {key: at_rest(value) for key, value in raw.items() if key != "remaining"}
    return [at_rest(value) for value in raw] if isinstance(raw, list) else raw


def only_known(name: str, found: dict[tuple[str, str], list[Any]]) -> None:
    """The bindings did exactly what they are known to do."""
    known = KNOWN_LOSSES.get(name, set())
    assert set(found) == known, {key: found.get(key, ["not seen"])[:3] for key in set(found) ^ known}
    for _unused, what in found.get(("AttachmentDesc.volume", "nulled"), []):
        assert "@" in what or "*" in what, what


def test_every_call_of_the_bindings_is_accounted_for() -> None:
    assert len(methods()) == 122
    listed = [set(READS), set(CHANGES), set(UNSUPPORTED)]
    assert set.union(*listed) == set(methods())
    assert sum(map(len, listed)) == len(methods())
    assert set(methods()) == set(tables.CALLS)


def test_the_field_tables_are_those_of_the_bindings() -> None:
    kinds = {
        kind.__name__: kind
        for module in (sptypes, spapi)
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, spjson.JsonObjectImpl)
    }
    compared = 0
    for name in tables.OBJECTS:
        if name in kinds:
            compared += 1
            assert set(tables.fields_of(name)) == set(kinds[name].__jsonAttrDefs__), name
    assert compared > 150


@pytest.mark.parametrize(
    ("name", "multi"),
    [
        pytest.param(name, multi, id=f"{name}-{'multi' if multi else 'plain'}")
        for name in sorted(READS)
        for multi in (False, True)
        if not multi or tables.CALLS[name]["multiCluster"]
    ],
)
def test_a_read_loses_nothing(populated: tuple[Simulator, dict], name: str, multi: bool) -> None:
    sim, world = populated
    api = bindings(sim, multiCluster=multi)
    found: dict[tuple[str, str], list[Any]] = {}
    for args in READS[name](world):
        raw = compare(name, api, args, found)
        again = getattr(api, name)(*args, returnRawAPIData=True)
        assert at_rest(again) == at_rest(raw) or name == "clientConfigWait"
        assert raw or name in ("faultSetsList", "tasksList", "volumeListSnapshots", "volumeExportsList", "volumesRemoteList"), (
            f"{name}{args} is empty: the state is not populated"
        )
    only_known(name, found)


@pytest.mark.parametrize("name", sorted(CHANGES))
def test_a_change_loses_nothing(sim: Simulator, name: str) -> None:
    world = populate(sim)
    api = bindings(sim)
    found: dict[tuple[str, str], list[Any]] = {}
    calls = sim.calls()["writes"]
    for args in CHANGES[name](world):
        raw = compare(name, api, args, found)
        assert raw["ok"] is True
    assert sim.calls()["writes"] == calls + len(CHANGES[name](world))
    only_known(name, found)


@pytest.mark.parametrize("name", sorted(CHANGES))
def test_a_change_gives_the_raw_data_when_asked(sim: Simulator, name: str) -> None:
    world = populate(sim)
    api = bindings(sim)
    raw = getattr(api, name)(*CHANGES[name](world)[0], returnRawAPIData=True)
    assert raw["ok"] is True and raw == api.raw


@pytest.mark.parametrize("name", sorted(name for name in CHANGES if tables.CALLS[name]["multiCluster"]))
def test_a_change_through_multi_cluster_loses_nothing(sim: Simulator, name: str) -> None:
    world = populate(sim)
    found: dict[tuple[str, str], list[Any]] = {}
    compare(name, bindings(sim, multiCluster=True), CHANGES[name](world)[0], found)
    only_known(name, found)


@pytest.mark.parametrize("name", sorted(UNSUPPORTED))
def test_an_unsupported_call_gives_the_one_clear_error(populated: tuple[Simulator, dict], name: str) -> None:
    sim, world = populated
    with pytest.raises(spapi.ApiError) as caught:
        getattr(bindings(sim), name)(*UNSUPPORTED[name](world))
    assert (caught.value.name, caught.value.status, caught.value.transient) == ("notSupported", 501, False)
    assert tables.CALLS[name]["query"].split("/")[0] in caught.value.desc


def test_the_values_that_the_bindings_lose_are_right_in_the_raw_data(populated: tuple[Simulator, dict]) -> None:
    sim, world = populated
    api = bindings(sim)
    entries = {(item["volume"], item["client"]): item for item in api.attachmentsList(returnRawAPIData=True)}
    auto = {name for name, _unused in entries if "@" in name}
    assert set(entries) == {("vol", 1), ("vol", 2), ("vol", 11), ("snap", 1)} | {(name, 3) for name in auto} and len(auto) == 1
    assert auto <= set(world["snapshots"])
    assert entries["vol", 1]["tags"] == {"a": "1", "cs": "volume"} and entries["snap", 1]["tags"] == {"t": "1"}
    decoded = {(item.volume, item.client) for item in api.attachmentsList()}
    assert decoded == {("vol", 1), ("vol", 2), ("vol", 11), ("snap", 1), (None, 3)}


def test_the_populated_state_shows_every_kind_of_object(populated: tuple[Simulator, dict]) -> None:
    sim, world = populated
    api = bindings(sim)
    snapshots = api.snapshotsList(returnRawAPIData=True)
    for key in ("autoName", "bound", "deleted", "transient", "recoveringFromRemote"):
        assert {item[key] for item in snapshots} == {True, False}, key
    assert any(item.get("targetDeleteDate") for item in snapshots)
    assert any(item["name"].startswith("~") for item in snapshots)
    volumes = api.volumesList(returnRawAPIData=True)
    assert {bool(item["parentName"]) for item in volumes} == {bool(item["templateName"]) for item in volumes} == {True, False}
    assert {item["iops"] == "-" for item in volumes} == {True, False}
    assert any(item["name"] == world["anonymous"] for item in volumes)
    assert {item["status"] for item in api.servicesList(returnRawAPIData=True)["clients"].values()} == {"running", "down"}
    assert api.exportsList(returnRawAPIData=True)["exports"] and api.snapshotsRemoteList(returnRawAPIData=True)["snapshots"]
    assert api.maintenanceList(returnRawAPIData=True)["nodes"]
    statuses = api.volumesStatus(returnRawAPIData=True)
    assert {item["snapshot"] for item in statuses.values()} == {True, False}


class TestKnownDefects:
    """Section 6.1, one by one: the day the bindings mend one of these, the list above has to shrink."""

    @pytest.fixture
    def bound(self, sim: Simulator, api: Client) -> Recording:
        api.create("vol")
        api.create("big", size=2 * MIB)
        api.snap("vol", "snap")
        return bindings(sim)

    def last_body(self, sim: Simulator) -> Any:
        return sim.calls()["calls"][-1]["body"]

    def test_unknown_keys_are_dropped(self, sim: Simulator, bound: Recording) -> None:
        bound.volumeRevert("big", {"toSnapshot": "snap", "revertSize": True})
        assert self.last_body(sim) == {"toSnapshot": "snap"}
        bound.volumeUpdate("big", {"limitType": "total", "iops": 3})
        assert self.last_body(sim) == {"iops": 3}

    def test_a_list_for_reassign_wait_is_mangled(self, sim: Simulator, bound: Recording, api: Client) -> None:
        bound.volumesReassignWait([{"volume": "vol", "rw": [1]}])
        assert self.last_body(sim) == {"reassign": []}
        assert api.attachments() == []
        with pytest.raises(ValueError):
            bound.volumesReassignWait([{"volume": "vol", "rw": [1], "force": True}])

    def test_mc_mode_move_is_refused(self, bound: Recording) -> None:
        with pytest.raises(InvalidArgumentError, match="does not match any type"):
            bound.volumesReassignWait({"reassign": [{"volume": "vol", "rw": [1], "mcMode": "move"}]})
        bound.volumesReassignWait({"reassign": [{"volume": "vol", "rw": [1], "mcMode": "export"}]})

    @pytest.mark.parametrize(
        ("call", "args"),
        [
            ("volumeCreate", ({"name": "", "size": MIB},)),
            ("volumeUpdate", ("vol", {"rename": ""})),
            ("snapshotCreate", ("vol", {"name": ""})),
            ("snapshotFromRemote", ({"name": "", "remoteId": "pd.a.b", "remoteLocation": "plovdiv"},)),
        ],
    )
    def test_empty_names_are_refused(self, sim: Simulator, bound: Recording, call: str, args: tuple) -> None:
        sim.reset_calls()
        with pytest.raises(InvalidArgumentError):
            getattr(bound, call)(*args)
        assert sim.calls()["calls"] == []

    def test_the_second_argument_of_a_call_without_a_body_is_a_cluster(self, sim: Simulator, bound: Recording) -> None:
        with pytest.raises(spapi.ApiError):
            bound.volumeDelete("vol", "nowhere")
        assert "RemoteCommand/nowhere/VolumeDelete/vol" in sim.calls()["calls"][-1]["path"]
        with pytest.raises(http.client.InvalidURL):
            bound.volumeDelete("vol", {"onAttached": "detach"})

    def test_empty_sets_are_sent(self, sim: Simulator, bound: Recording) -> None:
        bound.placementGroupUpdate("fresh", {"addDisks": {101}})
        assert self.last_body(sim) == {"addDisks": [101], "rmDisks": []}

    def test_names_go_into_the_path_as_they_are(self, bound: Recording) -> None:
        bound.kvsCreate("bucket")
        bound.kvsUpdate("bucket", {"set": {"a/b": "1", "a b": "2"}})
        with pytest.raises(spapi.ApiError):
            bound.kvsGet("bucket", "a/b")
        with pytest.raises(http.client.InvalidURL):
            bound.kvsGet("bucket", "a b")

    def test_the_port_defaults_to_80(self) -> None:
        assert spapi.Api()._port == 80

    def test_a_mismatch_of_the_version_is_told_by_its_name(self, bound: Recording) -> None:
        bound.kvsCreate("bucket")
        version = bound.kvsUpdate("bucket", {"set": {"a": "1"}}) and bound.kvsList("bucket").version
        assert bound.kvsTryUpdate("bucket", {"set": {"a": "2"}, "runIfVersionIs": version}) is True
        assert bound.kvsTryUpdate("bucket", {"set": {"a": "3"}, "runIfVersionIs": version}) is False
        assert bound.kvsGet("bucket", "a").pairs == {"a": "2"}
