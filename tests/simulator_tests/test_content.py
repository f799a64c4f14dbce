# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real bytes: copies are equal, shares are shared, groups are consistent, devices lead to the content."""

from __future__ import annotations

import os
import random
import shutil
import stat
import struct
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from storpool_simulator.testing import Simulator

from .conftest import client_of
from .support import KIB, MIB, Client, files_of, sha256, wait_until


def pattern(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


def test_what_is_written_is_what_is_read(api: Client) -> None:
    api.create("vol", size=4 * MIB)
    assert api.sha("vol") == sha256(bytes(4 * MIB))
    image = bytearray(4 * MIB)
    dice = random.Random(1)
    for index in range(20):
        offset, length = dice.randrange(0, 4 * MIB - 70000), dice.randrange(1, 70000)
        piece = pattern(index, length)
        api.write("vol", piece, offset)
        image[offset : offset + length] = piece
    assert api.content("vol")["size"] == 4 * MIB
    assert api.sha("vol") == sha256(bytes(image))
    assert api.read("vol", 1234, 99999) == bytes(image[1234 : 1234 + 99999])


def test_a_write_beyond_the_end_is_refused(api: Client) -> None:
    api.create("vol", size=512)
    before = api.sha("vol")
    for offset, data in ((512, b"x"), (500, b"x" * 13), (1 << 40, b"x")):
        reply = api.raw("PUT", f"/_sim/content/sofia-a/vol?offset={offset}", data, {})
        assert reply.status >= 400
    assert api.content("vol")["size"] == 512 and api.sha("vol") == before


def test_a_snapshot_is_not_written(api: Client) -> None:
    api.create("vol")
    api.snap("vol", "snap")
    assert api.raw("PUT", "/_sim/content/sofia-a/snap?offset=0", b"x", {}).status >= 400
    assert api.sha("snap") == sha256(bytes(MIB))


def test_a_group_is_of_one_moment(api: Client) -> None:
    """Also one that is taken while the clock goes on to the next second."""
    names = [f"v{number}" for number in range(40)]
    for name in names:
        api.create(name, size=MIB)
    across = 0
    for turn in range(100):
        time.sleep(max(0.0, 0.995 - time.time() % 1))  # just before the next second
        before = int(time.time())
        made = api.do("VolumesGroupSnapshot", {"volumes": [{"volume": name, "name": f"g{turn}-{name}"} for name in names]})["snapshots"]
        if int(time.time()) != before:
            across += 1
            mine = {one["snapshot"] for one in made}
            assert len({one["creationTimestamp"] for name, one in api.snapshots().items() if name in mine}) == 1
        if across == 3:
            return
    raise AssertionError("no group was taken across a second")


def test_every_kind_of_copy_is_equal_and_apart(api: Client, far: Client, sim: Simulator) -> None:
    image = pattern(2, 2 * MIB)
    api.create("vol", size=2 * MIB)
    api.create("vol2", size=2 * MIB)
    for name in ("vol", "vol2"):
        api.write(name, image)
    wanted = sha256(image)
    api.snap("vol", "snap")
    api.create("clone", size=None, parent="snap")
    api.create("based", size=None, baseOn="vol")
    api.do("VolumesGroupSnapshot", {"volumes": [{"volume": "vol", "name": "g1"}, {"volume": "vol2", "name": "g2"}]})
    api.create("reverted", size=2 * MIB)
    api.write("reverted", b"other")
    api.do("VolumeRevert/reverted", {"toSnapshot": "snap"})
    api.do("VolumeBackup", {"volume": "vol", "location": "plovdiv"})
    api.do("SnapshotExport", {"snapshot": "snap", "location": "plovdiv"})
    sid = api.snapshot("snap")["globalId"]
    far.do("SnapshotFromRemote", {"remoteId": sid, "remoteLocation": "sofia", "name": "copy"})
    sim.settle()
    for name in ("vol", "vol2", "snap", "clone", "based", "g1", "g2", "reverted"):
        assert api.sha(name) == wanted, name
    copies = far.snapshots()
    assert len(copies) == 2
    assert {far.sha(name) for name in copies} == {wanted}
    for name in ("vol", "clone", "based", "reverted"):
        api.write(name, name.encode() * 1000, 4096)
    hashes = {name: api.sha(name) for name in ("vol", "clone", "based", "reverted")}
    assert len({wanted, *hashes.values()}) == 5
    for name in ("snap", "g1", "g2", "vol2"):
        assert api.sha(name) == wanted, name
    sim.settle()
    assert {name: api.sha(name) for name in hashes} == hashes
    assert {far.sha(name) for name in copies} == {wanted}


def test_a_chain_of_snapshots_keeps_every_state(api: Client, sim: Simulator) -> None:
    api.create("vol", size=MIB)
    states = {}
    image = bytearray(MIB)
    for index in range(12):
        piece = pattern(index, 10000)
        offset = (index * 77777) % (MIB - 10000)
        api.write("vol", piece, offset)
        image[offset : offset + 10000] = piece
        api.snap("vol", f"s{index}")
        states[f"s{index}"] = sha256(bytes(image))
    assert {name: api.sha(name) for name in states} == states
    order = list(states)
    random.Random(3).shuffle(order)
    for name in order:
        api.do(f"SnapshotDelete/{name}")
        sim.settle()
        del states[name]
        assert {other: api.sha(other) for other in states} == states
        assert api.sha("vol") == sha256(bytes(image))
    assert api.snapshots() == {}


def test_zeros_written_over_data_are_zeros(api: Client) -> None:
    api.create("vol", size=MIB)
    api.write("vol", b"\xff" * MIB)
    api.snap("vol", "snap")
    api.write("vol", bytes(64 * KIB), 128 * KIB)
    assert api.sha("vol") == sha256(b"\xff" * (128 * KIB) + bytes(64 * KIB) + b"\xff" * (MIB - 192 * KIB))
    api.do("SnapshotDelete/snap")
    api.sim("POST", "settle")
    assert api.sha("vol") == sha256(b"\xff" * (128 * KIB) + bytes(64 * KIB) + b"\xff" * (MIB - 192 * KIB))


def test_volumes_are_sparse_and_cloning_copies_nothing(api: Client, sim: Simulator) -> None:
    api.create("vol", size=1 << 40)
    api.write("vol", pattern(4, 8 * MIB), 1 << 39)
    before = sim.counters()
    assert 8 * MIB <= before["bytes_stored"] < 16 * MIB
    api.snap("vol", "snap")
    for index in range(20):
        api.create(f"clone{index}", size=None, parent="snap")
    api.create("based", size=None, baseOn="vol")
    api.do("VolumeCreate", {"name": "frozen", "parent": "snap"})
    api.do("VolumeFreeze/frozen")
    api.do("VolumeRevert/clone1", {"toSnapshot": "frozen"})
    after = sim.counters()
    assert after["bytes_copied"] == before["bytes_copied"]
    assert after["bytes_stored"] - before["bytes_stored"] < MIB
    assert api.read("clone7", 1 << 39, 8 * MIB) == pattern(4, 8 * MIB)
    assert api.read("clone1", 1 << 39, 1000) == pattern(4, 8 * MIB)[:1000]


def test_delete_gives_the_space_back(api: Client, sim: Simulator) -> None:
    start, initial = sim.counters(), files_of(sim)
    api.create("vol", size=64 * MIB)
    api.write("vol", pattern(5, 8 * MIB))
    api.snap("vol", "snap")
    api.write("vol", pattern(6, 8 * MIB), 8 * MIB)
    api.create("clone", size=None, parent="snap")
    full = sim.counters()
    assert full["bytes_stored"] - start["bytes_stored"] >= 16 * MIB
    files = files_of(sim)
    assert set(initial) < set(files) and sum(files.values()) >= sum(initial.values()) + 16 * MIB
    api.do("VolumeDelete/vol")
    sim.settle()
    partial = sim.counters()
    assert partial["bytes_stored"] <= full["bytes_stored"] - 8 * MIB
    assert api.read("clone", 0, 8 * MIB) == pattern(5, 8 * MIB)
    api.do("SnapshotDelete/snap")
    sim.settle()
    assert api.read("clone", 0, 8 * MIB) == pattern(5, 8 * MIB)
    api.do("VolumeDelete/clone")
    sim.settle()
    end = sim.counters()
    assert (end["bytes_stored"], end["files"]) == (start["bytes_stored"], start["files"])
    assert set(files_of(sim)) == set(initial)


def test_shrinking_gives_space_back(api: Client, sim: Simulator) -> None:
    api.create("vol", size=16 * MIB)
    api.write("vol", pattern(7, 16 * MIB))
    full = sim.counters()["bytes_stored"]
    api.do("VolumeUpdate/vol", {"size": 4 * MIB, "shrinkOk": True})
    assert sim.counters()["bytes_stored"] <= full - 12 * MIB
    assert api.sha("vol") == sha256(pattern(7, 16 * MIB)[: 4 * MIB])


def test_a_rebased_object_keeps_its_content(api: Client, sim: Simulator) -> None:
    api.create("vol")
    api.write("vol", pattern(8, 300000))
    api.snap("vol", "one")
    api.write("vol", pattern(9, 300000), 200000)
    api.snap("vol", "two")
    api.create("child", size=None, parent="two")
    content = api.sha("child")
    api.do("VolumeRebase/child", {"parentName": "one"})
    assert api.volume("child")["parentName"] == "one" and api.sha("child") == content
    api.do("VolumeRebase/child", {})
    assert api.volume("child")["parentName"] == "" and api.sha("child") == content
    api.create("stranger")
    api.snap("stranger", "foreign")
    api.create("other", size=None, parent="two")
    assert api.post("VolumeRebase/other", {"parentName": "foreign"}).failed
    api.do("SnapshotRebase/two", {})
    assert api.snapshot("two")["parentName"] == "" and api.sha("two") == content == api.sha("other")


RECORD = struct.Struct(">Q")


def records(image: bytes) -> set[int]:
    """The sequence numbers in a content, one a sector, 0 where none was written."""
    return {number for offset in range(0, len(image), 512) if (number := RECORD.unpack_from(image, offset)[0])}


def test_a_group_snapshot_is_a_prefix_of_ordered_writes(api: Client, sim: Simulator) -> None:
    """A writer puts number after number alternately on two volumes, each only after the one before was acknowledged."""
    names = ("left", "right")
    for name in names:
        api.create(name, size=2 * MIB)
    stop = threading.Event()
    acknowledged = [0]
    failures: list[Exception] = []

    def write() -> None:
        writer = client_of(sim)
        try:
            number = 0
            while not stop.is_set() and number < 2 * 4096 - 2:
                number += 1
                writer.write(names[number % 2], RECORD.pack(number), number // 2 * 512)
                acknowledged[0] = number
        except Exception as exc:
            failures.append(exc)
        finally:
            writer.close()

    thread = threading.Thread(target=write)
    thread.start()
    taken = []
    for index in range(12):
        wait_until(lambda enough=index * 8 + 4: failures or acknowledged[0] > enough)
        low = acknowledged[0]
        api.do("VolumesGroupSnapshot", {"volumes": [{"volume": name, "name": f"{name}-{index}"} for name in names]})
        taken.append((index, low, acknowledged[0] + 1))
    stop.set()
    thread.join()
    assert not failures
    for index, low, high in taken:
        found = records(api.read(f"left-{index}", 0, 2 * MIB)) | records(api.read(f"right-{index}", 0, 2 * MIB))
        assert found == set(range(1, len(found) + 1)), f"group {index} is not a prefix"
        assert low <= len(found) <= high
    assert records(api.read("left", 0, 2 * MIB)) | records(api.read("right", 0, 2 * MIB)) == set(range(1, acknowledged[0] + 1))


# Devices


def check_devices(running: Simulator, block: bool) -> None:
    api = client_of(running)
    gid = api.create("vol", size=MIB)["globalId"]
    snap_id = api.snap("vol", "snap")["snapshotGlobalId"]
    api.attach("vol", rw=[1])
    api.attach("snap", snapshot=True, ro=[1])
    root = Path(running.state_dir)
    by_name, by_id = sorted(root.rglob("storpool/vol")), sorted(root.rglob(f"storpool-byid/{gid}"))
    assert len(by_name) == len(by_id) == 1, list(root.rglob("*"))
    assert by_name[0].exists() and by_id[0].exists()
    assert by_name[0].is_symlink() and os.path.realpath(by_name[0]) == os.path.realpath(by_id[0])
    assert list(root.rglob("storpool/snap")) and list(root.rglob(f"storpool-byid/{snap_id}"))
    assert stat.S_ISBLK(by_name[0].stat().st_mode) is block
    image = pattern(10, MIB)
    with by_name[0].open("r+b") as stream:
        stream.write(image)
        stream.flush()
        os.fsync(stream.fileno())
    assert api.sha("vol") == sha256(image)
    api.snap("vol", "after")
    assert api.sha("after") == sha256(image) and api.sha("snap") == sha256(bytes(MIB))
    path = next(iter(sorted(root.rglob("storpool/vol"))))
    with path.open("r+b") as stream:
        stream.write(b"second state")
        stream.flush()
        os.fsync(stream.fileno())
    assert api.read("vol", 0, 12) == b"second state" and api.sha("after") == sha256(image)
    assert path.read_bytes() == b"second state" + image[12:]
    api.do("VolumeUpdate/vol", {"size": 2 * MIB})
    grown = next(iter(sorted(root.rglob("storpool/vol"))))
    with grown.open("rb") as stream:
        assert stream.seek(0, os.SEEK_END) == 2 * MIB
    api.do("VolumeUpdate/vol", {"rename": "renamed"})
    assert not [item for item in root.rglob("storpool/vol") if os.path.lexists(item)]
    assert list(root.rglob("storpool/renamed")) and list(root.rglob(f"storpool-byid/{gid}"))
    anonymous = api.create(None, size=512)
    api.attach(anonymous["name"], rw=[1])
    assert list(root.rglob(f"storpool-byid/{anonymous['globalId']}"))
    api.attach("renamed", detach="all")
    api.attach("snap", snapshot=True, detach="all")
    for link in ("storpool/renamed", f"storpool-byid/{gid}", "storpool/snap", f"storpool-byid/{snap_id}"):
        assert not [item for item in root.rglob(link) if os.path.lexists(item)], link
    api.close()


def test_devices_as_links(start: Callable[..., Simulator]) -> None:
    check_devices(start(devices="link"), block=False)


def test_a_fingerprint_is_of_the_bytes_and_not_of_the_holes(api: Client, sim: Simulator) -> None:
    big = 1 << 40  # hashing it whole would take minutes
    for name in ("holes", "zeros", "other"):
        api.create(name, size=big)
    assert len({sim.fingerprint(name) for name in ("holes", "zeros", "other")}) == 1
    api.write("zeros", bytes(3 * MIB), 5 * MIB + 512)
    assert sim.fingerprint("zeros") == sim.fingerprint("holes")
    for name, offset in (("holes", 0), ("zeros", 0), ("other", 4096)):
        api.write(name, b"data", 700 * MIB + offset)
    assert sim.fingerprint("zeros") == sim.fingerprint("holes") != sim.fingerprint("other")
    api.snap("holes", "snap")
    assert sim.fingerprint("snap") == sim.fingerprint("holes")
    api.write("holes", b"more", 700 * MIB + 4)
    assert sim.fingerprint("snap") == sim.fingerprint("zeros") != sim.fingerprint("holes")
    api.do("VolumeUpdate/zeros", {"size": 2 * big})
    assert sim.fingerprint("snap") != sim.fingerprint("zeros")


def test_a_fingerprint_of_a_size_that_is_no_whole_block(api: Client, sim: Simulator) -> None:
    for name in ("a", "b"):
        api.create(name, size=4096 + 512)
        api.write(name, b"x" * 512, 4096)
    api.write("b", bytes(4096))
    assert sim.fingerprint("a") == sim.fingerprint("b")
    api.write("b", b"y", 4096 + 511)
    assert sim.fingerprint("a") != sim.fingerprint("b")


def backing_files() -> set[str]:
    """What the loop devices of this machine are attached to."""
    return {path.read_text().strip() for path in Path("/sys/block").glob("loop*/loop/backing_file") if path.exists()}


def test_devices_as_loop_devices(tmp_path: Path) -> None:
    why = loop_trouble(tmp_path)
    if why:
        pytest.skip(f"loop devices cannot be used here: {why}")
    state = tmp_path / "state"
    with Simulator(state, devices="loop") as running:
        check_devices(running, block=True)
        api = client_of(running)
        api.create("left", size=MIB)
        api.attach("left", rw=[1])
        assert any(str(state) in name for name in backing_files())
        running.kill()
        running.restart()
        (path,) = state.rglob("storpool/left")
        path.write_bytes(b"after the restart".ljust(512))
        assert api.read("left", 0, 17) == b"after the restart"
        api.close()
    assert not any(str(state) in name for name in backing_files())


def loop_trouble(tmp_path: Path) -> str:
    """Why loop devices do not work here, or nothing."""
    image = tmp_path / "probe"
    image.write_bytes(bytes(MIB))
    if shutil.which("losetup") is None:
        return "no losetup"
    made = subprocess.run(["losetup", "--find", "--show", str(image)], capture_output=True, text=True, check=False)
    if made.returncode:
        return made.stderr.strip() or f"losetup ended with {made.returncode}"
    subprocess.run(["losetup", "--detach", made.stdout.strip()], check=True)
    return ""
