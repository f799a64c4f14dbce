# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What no source settles is one switch each: here every switch is turned the other way and seen to matter.

The other test files run with the defaults, so each switch is seen from both sides.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest
from storpool_simulator.assumptions import Assumptions
from storpool_simulator.testing import Simulator

from .conftest import client_of, restore
from .support import GIB, MIB, Client

FLIPS: dict[str, object] = {
    "error_status": 200,
    "auth_status": 403,
    "auth_name": "forbidden",
    "unknown_status": 400,
    "unknown_name": "whatIsThat",
    "unsupported_status": 400,
    "unsupported_name": "notHere",
    "reads_raise_generation": "true",
    "noop_raises_generation": "true",
    "default_replication": 1,
    "servers_name": "tooFewServers",
    "max_volume_size": GIB,
    "name_and_tags_bytes": 200,
    "template_limits": "parent",
    "move_limits": "keep",
    "empty_tag": "keep",
    "qc_template": "false",
    "update_reply_name": "false",
    "shrink_name": "wouldShrink",
    "smaller_than_parent": "allow",
    "rename_attached": "false",
    "revert_attached": "allow",
    "revert_limits": "snapshot",
    "on_attached": "detach",
    "snapshot_delete_attached": "detach",
    "exported_name": "stillExported",
    "no_delete_date": "zero",
    "no_on_volume": "none",
    "in_use_name": "inUse",
    "atomic_reassign": "false",
    "open_name": "invalidParam",
    "attach_timeout": "error",
    "attach_timeout_name": "tooLate",
    "wait_for_down_detach": "true",
    "acquire_attached": "detach",
    "unexport_missing": "ok",
    "kv_missing_key": "empty",
    "merge_delay": 0,
    "copy_delay": 0,
    "transient_lifetime": 0,
}


@pytest.fixture(scope="module")
def turned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    with Simulator(
        tmp_path_factory.mktemp("turned"), devices="none", assume={name: str(value) for name, value in FLIPS.items()}
    ) as running:
        yield running


@pytest.fixture
def flipped(turned: Simulator) -> Iterator[Client]:
    restore(turned)
    client = client_of(turned)
    yield client
    client.close()


def test_every_switch_is_turned_here() -> None:
    defaults = {item.name: item.default for item in dataclasses.fields(Assumptions)}
    assert set(FLIPS) == set(defaults)
    assert not [name for name, value in defaults.items() if str(value).lower() == str(FLIPS[name])]


@pytest.mark.rule("http-status")
def test_errors_may_come_with_status_200(flipped: Client) -> None:
    for reply in (flipped.get("Volume/none"), flipped.post("VolumeCreate", {"bogus": 1}), flipped.post("VolumeDelete/none")):
        assert reply.status == 200 and reply.error


def test_transport_errors(flipped: Client) -> None:
    reply = flipped.raw("GET", "/ctrl/1.0/VolumesList", headers={})
    assert (reply.status, reply.error) == (403, "forbidden")
    reply = flipped.get("NoSuchCall")
    assert (reply.status, reply.error) == (400, "whatIsThat")
    reply = flipped.get("VagList/1")
    assert (reply.status, reply.error) == (400, "notHere")


@pytest.mark.rule("generation-reads")
def test_reads_may_count(flipped: Client) -> None:
    first = flipped.get("VolumesList").generation
    second = flipped.get("VolumesList").generation
    assert second > first


@pytest.mark.rule("generation")
def test_a_change_of_nothing_may_count(flipped: Client, api: Client) -> None:
    for client, counts in ((flipped, True), (api, False)):
        client.create("vol")
        client.attach("vol", rw=[1])
        body = [{"volume": "vol", "rw": [1]}]
        first = client.post("VolumesReassign", body).generation
        second = client.post("VolumesReassign", body).generation
        assert (second > first) is counts


@pytest.mark.rule("create-defaults")
def test_defaults_of_a_create(flipped: Client, api: Client) -> None:
    for client, replication in ((flipped, 1), (api, 3)):
        client.create("vol")
        assert client.volume("vol")["replication"] == replication
    assert flipped.post("VolumeCreate", {"size": 2 * GIB}).error == "insufficientResources"
    flipped.do("PlacementGroupUpdate/few", {"addDisks": [101]})
    assert flipped.post("VolumeCreate", {"size": MIB, "replication": 3, "placeAll": "few"}).error == "tooFewServers"
    assert flipped.post("VolumeCreate", {"name": "n" * 150, "size": MIB, "tags": {"k" * 30: "v" * 30}}).error == "invalidParam"
    flipped.create("n" * 150, tags={"k": "v"})
    assert not api.post("VolumeCreate", {"name": "n" * 150, "size": MIB, "tags": {"k" * 30: "v" * 30}}).failed


def test_limits_of_clones_and_moves(flipped: Client, api: Client) -> None:
    for client, clone, moved in ((flipped, 77, 77), (api, "-", "-")):
        client.create("vol", template="nvme", iops=77)
        client.snap("vol", "snap")
        client.create("clone", size=None, parent="snap")
        assert client.volume("clone")["iops"] == clone
        client.do("VolumeUpdate/vol", {"template": "hdd"})
        assert client.volume("vol")["iops"] == moved


@pytest.mark.rule("tags-merge")
def test_an_empty_tag_may_stay(flipped: Client) -> None:
    flipped.create("vol", tags={"a": "1", "b": "2"})
    flipped.do("VolumeUpdate/vol", {"tags": {"a": ""}})
    assert flipped.volume("vol")["tags"] == {"a": "", "b": "2"}


@pytest.mark.rule("ref-qc")
def test_the_qc_tag_may_mean_nothing(flipped: Client) -> None:
    flipped.create("vol", tags={"qc": "nvme"})
    assert flipped.volume("vol")["templateName"] == ""


@pytest.mark.rule("size-update")
def test_answers_and_refusals_of_an_update(flipped: Client, api: Client) -> None:
    flipped.create("vol", size=2 * MIB)
    assert "name" not in flipped.do("VolumeUpdate/vol", {"iops": 1})
    assert flipped.post("VolumeUpdate/vol", {"size": MIB}).error == "wouldShrink"
    api.create("vol")
    assert api.do("VolumeUpdate/vol", {"iops": 1})["name"] == "vol"


def test_smaller_than_the_parent(flipped: Client, api: Client) -> None:
    for client, refused in ((flipped, False), (api, True)):
        client.create("vol", size=2 * MIB)
        client.write("vol", b"x" * (2 * MIB))
        client.snap("vol", "snap")
        assert client.post("VolumeCreate", {"name": "small", "parent": "snap", "size": MIB}).failed is refused
        assert ("small" in client.volumes()) is not refused
    assert flipped.content("small")["size"] == MIB
    flipped.do("VolumeUpdate/small", {"size": 2 * MIB})
    assert flipped.read("small", 0, 2 * MIB) == b"x" * MIB + bytes(MIB)


def test_renaming_an_attached_volume(flipped: Client, api: Client) -> None:
    for client, refused in ((flipped, True), (api, False)):
        client.create("vol")
        client.attach("vol", rw=[1])
        assert client.post("VolumeUpdate/vol", {"rename": "new"}).failed is refused
        assert set(client.volumes()) == {"vol" if refused else "new"} == {item["volume"] for item in client.attachments()}


@pytest.mark.rule("revert")
def test_revert_of_an_attached_volume_and_its_limits(flipped: Client, api: Client) -> None:
    for client, attached, iops in ((flipped, True, 1), (api, False, 2)):
        client.create("vol", iops=1, template="nvme")
        client.snap("vol", "snap")
        client.do("VolumeUpdate/vol", {"iops": 2})
        client.write("vol", b"later")
        if attached:
            client.attach("vol", rw=[1])
        client.do("VolumeRevert/vol", {"toSnapshot": "snap"})
        assert client.volume("vol")["iops"] == iops
        assert client.read("vol", 0, 5) == bytes(5)


@pytest.mark.rule("delete-attached")
def test_delete_may_detach_by_itself(flipped: Client) -> None:
    flipped.create("vol")
    flipped.attach("vol", rw=[1])
    assert flipped.post("VolumeDelete/vol", {"onAttached": "fail"}).error == "busy"
    flipped.do("VolumeDelete/vol")
    assert flipped.volumes() == {} and flipped.attachments() == []


@pytest.mark.rule("snapshot-delete-attached", "snapshot-delete-exported")
def test_snapshot_delete_may_detach_by_itself(flipped: Client) -> None:
    flipped.create("vol")
    flipped.snap("vol", "snap")
    flipped.attach("snap", snapshot=True, ro=[1])
    flipped.do("SnapshotDelete/snap")
    assert flipped.attachments() == []
    flipped.snap("vol", "exported")
    flipped.do("SnapshotExport", {"snapshot": "exported", "location": "plovdiv"})
    reply = flipped.post("SnapshotDelete/exported")
    assert reply.error == "stillExported" and "still exported" in reply.descr


@pytest.mark.rule("delete-date")
def test_how_a_snapshot_without_date_or_volume_is_shown(flipped: Client, api: Client) -> None:
    for client, date, volume in ((flipped, 0, "none"), (api, None, "-")):
        client.create("vol")
        client.snap("vol", "snap")
        assert client.snapshot("snap").get("targetDeleteDate") == date
        client.do("VolumeDelete/vol")
        assert client.snapshot("snap")["onVolume"] == volume


def test_names_of_what_is_in_use(flipped: Client) -> None:
    flipped.create("vol", template="nvme")
    assert flipped.post("VolumeTemplateDelete/nvme").error == "inUse"
    assert flipped.post("PlacementGroupDelete/nvme").error == "inUse"


@pytest.mark.rule("reassign")
def test_a_list_may_be_applied_in_part(flipped: Client) -> None:
    flipped.create("vol")
    assert flipped.post("VolumesReassign", [{"volume": "vol", "rw": [1]}, {"volume": "none", "rw": [1]}]).error == "objectDoesNotExist"
    assert flipped.attached("vol") == {1: "rw"}


@pytest.mark.rule("reassign-force")
def test_older_releases_call_an_open_volume_invalid(flipped: Client) -> None:
    flipped.create("vol")
    flipped.attach("vol", rw=[1])
    flipped.sim("PUT", "open/sofia-a/vol", {"client": 1, "open": True})
    reply = flipped.post("VolumesReassign", [{"volume": "vol", "detach": "all"}])
    assert reply.error == "invalidParam" and "is open at" in reply.descr


@pytest.mark.rule("reassign-wait")
def test_an_attach_that_times_out_may_be_an_error(flipped: Client) -> None:
    flipped.create("vol")
    flipped.sim("PUT", "clients/sofia-a/2", {"status": "down"})
    reply = flipped.post("VolumesReassignWait", {"reassign": [{"volume": "vol", "rw": [2]}], "attachTimeout": 1})
    assert reply.error == "tooLate" and reply.seconds > 0.8


@pytest.mark.rule("reassign-wait")
def test_a_detach_may_wait_for_a_client_that_is_down(flipped: Client) -> None:
    flipped.create("vol")
    flipped.attach("vol", rw=[2])
    flipped.sim("PUT", "clients/sofia-a/2", {"status": "down"})
    reply = flipped.post("VolumesReassignWait", {"reassign": [{"volume": "vol", "detach": "all", "force": True}], "attachTimeout": 1})
    assert reply.error == "tooLate" and reply.seconds > 0.8


def test_acquiring_what_is_attached_elsewhere(flipped: Client, turned: Simulator, api: Client, sim: Simulator) -> None:
    for client, running, refused in ((flipped, turned, False), (api, sim, True)):
        client.create("vol")
        client.attach("vol", rw=[1])
        other = client_of(running, "sofia-b", "MultiCluster/")
        assert other.post("VolumeAcquire/vol", {}).failed is refused
        assert ("vol" in client.volumes()) is refused
        other.close()


def test_missing_exports_and_keys(flipped: Client, api: Client) -> None:
    for client, refused in ((flipped, False), (api, True)):
        client.create("vol")
        client.snap("vol", "snap")
        client.do("KV/Create/bucket")
        assert client.post("SnapshotUnexport", {"snapshot": "snap", "location": "plovdiv"}).failed is refused
        reply = client.get("KV/Get/bucket/none")
        assert reply.failed is refused and (refused or reply.data["pairs"] == {})


@pytest.mark.rule("star-names", "from-remote", "base-on")
def test_background_work_without_delay(flipped: Client, turned: Simulator, api: Client) -> None:
    """With no delay everything is done a moment later; with the defaults a transient snapshot is still seen then."""
    for client in (flipped, api):
        client.create("vol")
        client.create("clone", size=None, baseOn="vol")
    assert [item["transient"] for item in api.snapshots().values()] == [True]
    turned.advance(0.01)
    assert flipped.snapshots() == {}
