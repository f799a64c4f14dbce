# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""storpool_template_cache without CloudStack: image files become snapshots, byte for byte, on real devices where the machine has them."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import textwrap
import time
from functools import partial
from pathlib import Path

import playbooks
import pytest
from ansible_collections.storpool.cloudstack.plugins.module_utils import _http
from conftest import _runner, as_at_first_start, connection, declared, validated
from storpool_simulator.testing import Simulator

MODULE = "storpool_template_cache"
MIB = 1 << 20
CLIENT = 11
MAKE = ["create volume", "attach volume", "fill", "detach volume", "snapshot", "delete volume"]
WORK = "golden.ansible-image"


@pytest.fixture(scope="session")
def device_process(tmp_path_factory):
    with Simulator(tmp_path_factory.mktemp("devices"), devices="auto") as process:
        print(f"devices are {process.ready['deviceMode']}")
        yield process


@pytest.fixture
def simulator(device_process):
    return as_at_first_start(device_process)


def qemu_img(*arguments):
    subprocess.run(["qemu-img", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)


def encrypted_image(path):
    """Make a qcow2 with LUKS. qemu-img measures the processor for that, and on a busy machine it now and then says that it cannot."""
    how = ["-o", "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10"]
    for attempt in range(20):
        try:
            return qemu_img("create", "-f", "qcow2", "--object", "secret,id=s,data=x", *how, path, "1M")
        except subprocess.CalledProcessError:
            if attempt == 19:
                raise


def contents(size=4 * MIB, seed=1):
    """Data, a hole, data at the very end."""
    dice = random.Random(seed)
    return dice.randbytes(MIB) + bytes(size - MIB - 4096) + dice.randbytes(4096)


def sector_hash(data):
    return hashlib.sha256(data + bytes(-len(data) % 512)).hexdigest()


@pytest.fixture
def image(tmp_path):
    """`image(format, options, data)` writes an image file and returns its path."""

    def make(form="qcow2", options=(), data=None, name="disk"):
        raw = tmp_path / f"{name}.raw"
        raw.write_bytes(contents() if data is None else data)
        if form == "raw":
            return raw
        path = tmp_path / f"{name}.{form}"
        qemu_img("convert", "-f", "raw", "-O", form, *options, raw, path)
        return path

    return make


@pytest.fixture
def where(simulator):
    return {"client": CLIENT, "device_directory": f"{simulator.devices}/sofia-a/{CLIENT}/storpool"}


@pytest.fixture
def make(run_module, where):
    return partial(run_module, MODULE, name="golden", **where)


def nothing_left(simulator):
    """No volume, no attachment, no device."""
    listed = {call: simulator.get(call)[1]["data"] for call in ("VolumesList", "AttachmentsList")}
    assert listed == {"VolumesList": [], "AttachmentsList": []}
    directory = Path(f"{simulator.devices}/sofia-a/{CLIENT}/storpool")
    assert not directory.exists() or list(directory.iterdir()) == []


# -- every format, byte for byte


@pytest.mark.parametrize(
    ("form", "options", "said"),
    [
        ("qcow2", (), None),
        ("qcow2", ("-c",), "qcow2"),
        ("qcow2", ("-o", "compat=0.10"), None),
        ("qcow2", ("-o", "cluster_size=4k,extended_l2=off,compression_type=zstd"), None),
        ("vmdk", ("-o", "subformat=monolithicSparse"), None),
        ("vmdk", ("-o", "subformat=streamOptimized"), "vmdk"),
        ("raw", (), "raw"),
    ],
)
@pytest.mark.parametrize("verify", [False, True])
def test_the_snapshot_holds_the_disk(three_runs, simulator, where, image, form, options, said, verify):
    path = image(form, options)
    result = three_runs(
        MODULE, name="golden", image=str(path), template="nvme", verify=verify, **({"format": said} if said else {}), **where
    )
    entry = result["templates"][0]
    assert entry["actions"] == [f"{word} and verify" if word == "fill" and verify else word for word in MAKE]
    checksum = f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    raw = next(one for one in simulator.get("SnapshotsList")[1]["data"] if one["name"] == "golden")
    assert raw["tags"] == {"ansible-image": checksum, "ansible-image-source": path.name, "ansible-image-format": form}
    assert (raw["templateName"], raw["size"]) == ("nvme", 4 * MIB)
    assert entry["object"] == {
        "name": "golden", "global_id": raw["globalId"], "size": 4 * MIB, "template": "nvme", "checksum": checksum,
        "source": path.name, "format": form, "tags": raw["tags"],
    }  # fmt: skip
    found = simulator.content("golden")
    assert found["sha256"] == sector_hash(contents())
    assert found["stored"] < 2 * MIB  # the hole takes no space
    nothing_left(simulator)


def test_a_volume_made_from_it_has_its_content(make, run_module, simulator, image):
    make(image=str(image()))
    before = simulator.counters()["bytes_copied"]
    run_module("storpool_volume", name="clone", parent="golden")
    assert simulator.content("clone")["sha256"] == sector_hash(contents())
    assert simulator.counters()["bytes_copied"] == before


@pytest.mark.parametrize("size", [1, 511, 513, MIB + 700])
def test_sizes_that_are_no_whole_sectors(make, simulator, image, size):
    data = random.Random(size).randbytes(size)
    result = make(image=str(image("raw", data=data)), format="raw", verify=True)
    assert not result.get("failed"), result.get("msg")
    assert result["templates"][0]["object"]["size"] == -(-size // 512) * 512
    assert simulator.content("golden")["sha256"] == sector_hash(data)


def test_devices_are_block_devices(device_process):
    if device_process.ready["deviceMode"] != "loop":
        pytest.skip("no loop devices on this machine; links to files stand for devices")
    assert device_process.devices


def test_an_image_whose_name_looks_like_something_else(make, simulator, image, tmp_path):
    """To qemu-img a name can be a protocol, options or JSON."""
    for number, name in enumerate(("nbd:127.0.0.1:1", 'json:{"driver":"null-co"}', "a,b=c.qcow2", "-O raw", "snapshot.id=1 %s")):
        path = shutil.copy(image(), tmp_path / name)
        result = make(name=f"golden-{number}", image=str(path))
        assert not result.get("failed"), result.get("msg")
        assert simulator.content(f"golden-{number}")["sha256"] == sector_hash(contents())


def test_several_at_once(run_module, simulator, where, image):
    entries = [
        {"name": f"golden-{seed}", "image": str(image(data=contents(seed=seed), name=f"d{seed}")), "tags": {"n": seed}} for seed in range(6)
    ]
    result = run_module(MODULE, templates=entries, template="hybrid", parallel=4, **where)
    assert result["summary"]["changed"] == 6, result.get("msg")
    for seed in range(6):
        assert simulator.content(f"golden-{seed}")["sha256"] == sector_hash(contents(seed=seed))
    nothing_left(simulator)
    again = run_module(MODULE, templates=entries, template="hybrid", **where)
    assert again["changed"] is False and again["api"]["reads"] == 2


# -- recognised by its checksum


def test_a_checksum_spares_reading_the_file(make, calls, image):
    path = image()
    checksum = f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest().upper()}"
    make(image=str(path), checksum=checksum)
    path.unlink()
    calls()
    result = make(image=str(path), checksum=checksum)
    assert (result["changed"], calls().reads) == (False, ["Snapshot", "Volume"]), result.get("msg")
    result = make(image=str(path))
    assert result["failed"] and "cannot be read: No such file" in result["msg"]


def test_another_image_under_the_same_name(make, calls, image):
    make(image=str(image()))
    calls()
    for check in (True, False):
        result = make(image=str(image(data=contents(seed=2))), check=check)
        assert result["failed"] and result["error"]["type"] == "refused" and "holds an image with sha256:" in result["msg"]
    assert calls().writes == []


def test_a_snapshot_that_is_no_image(make, do, image):
    do("VolumeCreate", {"name": "v", "size": MIB})
    do("VolumeSnapshot/v", {"name": "golden"})
    result = make(image=str(image()))
    assert result["failed"] and "was not made from an image" in result["msg"]
    result = make(image=str(image()), state="absent")
    assert result["failed"] and "was not made from an image" in result["msg"]


def test_tags_and_template_can_change(three_runs, simulator, where, image):
    path = str(image())
    three_runs(MODULE, name="golden", image=path, template="nvme", tags={"a": "1"}, **where)
    result = three_runs(MODULE, name="golden", image=path, template="hybrid", tags={"a": "2", "b": "3"}, **where)
    assert result["templates"][0]["actions"] == ["update tags, template"]
    assert result["templates"][0]["object"]["tags"]["b"] == "3"


def test_gone(three_runs, simulator, where, image, do):
    path = str(image())
    three_runs(MODULE, name="golden", image=path, **where)
    result = three_runs(MODULE, name="golden", image=path, state="absent", **where)
    assert result["templates"][0]["actions"] == ["delete"] and result["templates"][0]["object"] is None
    simulator.settle()
    assert simulator.get("SnapshotsList")[1]["data"] == []


# -- images that are not taken


def write_pipe(path):
    os.mkfifo(path)


def secret_backing(path, secret, *more):
    qemu_img("create", "-f", "qcow2", *more, "-b", secret, "-F", "raw", path, *(("1M",) if more else ()))


def secret_data_file(path, secret):
    qemu_img("create", "-f", "qcow2", "-o", f"data_file={secret},data_file_raw=on", path, "1M")


def poke(path, offset, data):
    with open(path, "r+b") as stream:
        stream.seek(offset)
        stream.write(data)


def vmdk_text(secret, **lines):
    fields = {"version": 1, "CID": "fffffffe", "parentCID": "ffffffff", "createType": '"monolithicFlat"', **lines}
    text = "# Disk DescriptorFile\n" + "".join(f"{key}={value}\n" for key, value in fields.items())
    return f'{text}RW 2048 FLAT "{secret}" 0\n'.encode()


def hidden_extents(path, secret, image):
    """A sparse extent of no capacity, which makes QEMU follow the description inside."""
    shutil.copy(image("vmdk"), path)
    poke(path, 512, vmdk_text(secret).ljust(20 * 512, b"\0"))
    poke(path, 12, bytes(8))


def parent_in_vmdk(path, secret, image):
    shutil.copy(image("vmdk"), path)
    with open(path, "rb") as stream:
        text = stream.read(21 * 512)[512:].partition(b"\0")[0].decode()
    text = text.replace("parentCID=ffffffff", f'parentCID=12345678\nparentFileNameHint="{secret}"')
    poke(path, 512, text.encode())


BAD = {
    "a backing file": (lambda path, secret, image: secret_backing(path, secret), {}, "stands on a backing file"),
    "a backing file in JSON": (
        lambda path, secret, image: secret_backing(
            path, "json:" + json.dumps({"driver": "raw", "file": {"driver": "file", "filename": str(secret)}}), "-u"
        ),
        {},
        "stands on a backing file",
    ),
    "a backing file over the network": (
        lambda path, secret, image: secret_backing(path, "nbd://127.0.0.1:1/x", "-u"),
        {"format": "qcow2"},
        "stands on a backing file",
    ),
    "an external data file": (lambda path, secret, image: secret_data_file(path, secret), {}, "keeps its data in another file"),
    "a VMDK of several files": (
        lambda path, secret, image: qemu_img("create", "-f", "vmdk", "-o", "subformat=twoGbMaxExtentSparse", path, "1M"),
        {},
        "description of a VMDK whose data lies in other files",
    ),
    "a VMDK with a flat extent": (
        lambda path, secret, image: qemu_img("create", "-f", "vmdk", "-o", "subformat=monolithicFlat", path, "1M"),
        {},
        "description of a VMDK whose data lies in other files",
    ),
    "a VMDK with a flat extent, said to be raw": (
        lambda path, secret, image: path.write_bytes(vmdk_text(secret)),
        {"format": "raw"},
        "description of a VMDK whose data lies in other files",
    ),
    "a VMDK that names the file": (lambda path, secret, image: path.write_bytes(vmdk_text(secret)), {"format": "vmdk"}, "lies in other"),
    "a VMDK with extents inside": (hidden_extents, {}, "does not describe itself as one file"),
    "a VMDK with a parent": (parent_in_vmdk, {}, "stands on a parent image"),
    "raw, not said to be": (lambda path, secret, image: shutil.copy(image("raw"), path), {}, "raw is taken only when you say so"),
    "qcow2, said to be raw": (lambda path, secret, image: shutil.copy(image(), path), {"format": "raw"}, "begins as a qcow2"),
    "vmdk, said to be qcow2": (
        lambda path, secret, image: shutil.copy(image("vmdk"), path),
        {"format": "qcow2"},
        "does not begin as a qcow2",
    ),
    "raw, said to be qcow2": (
        lambda path, secret, image: shutil.copy(image("raw"), path),
        {"format": "qcow2"},
        "does not begin as a qcow2",
    ),
    "compressed": (lambda path, secret, image: path.write_bytes(b"\x1f\x8b" + bytes(600)), {}, "is gzip data; unpack it first"),
    "a VDI": (lambda path, secret, image: qemu_img("create", "-f", "vdi", path, "1M"), {}, "is a VDI"),
    "a VHDX": (lambda path, secret, image: qemu_img("create", "-f", "vhdx", path, "8M"), {}, "is a VHDX"),
    "a tar archive": (lambda path, secret, image: path.write_bytes(bytes(257) + b"ustar" + bytes(300)), {}, "is a tar archive"),
    "an old qcow": (lambda path, secret, image: qemu_img("create", "-f", "qcow", path, "1M"), {}, "is a QCOW image of version 1"),
    "an encrypted one": (
        lambda path, secret, image: encrypted_image(path),
        {},
        "is encrypted",
    ),
    "LUKS": (lambda path, secret, image: path.write_bytes(b"LUKS\xba\xbe\0\2" + bytes(600)), {"format": "raw"}, "is encrypted (LUKS)"),
    "AES": (lambda path, secret, image: (shutil.copy(image(), path), poke(path, 32, b"\0\0\0\1")), {}, "is encrypted"),
    "compressed, said to be raw": (
        lambda path, secret, image: path.write_bytes(b"\x1f\x8b" + bytes(600)),
        {"format": "raw"},
        "is gzip data; unpack it first",
    ),
    "nothing": (lambda path, secret, image: path.write_bytes(b""), {"format": "raw"}, "holds a disk of no size"),
    "cut off": (lambda path, secret, image: path.write_bytes(image().read_bytes()[:50]), {}, "is cut off in its header"),
    "a directory": (lambda path, secret, image: path.mkdir(), {"format": "raw"}, "is a directory and no file"),
    "a pipe": (lambda path, secret, image: write_pipe(path), {"format": "raw"}, "is a pipe and no file"),
    "a device": (lambda path, secret, image: path.symlink_to("/dev/zero"), {"format": "raw"}, "is a device and no file"),
    "another checksum": (lambda path, secret, image: shutil.copy(image(), path), {"checksum": f"sha256:{'0' * 64}"}, "is not that of"),
    "no checksum": (lambda path, secret, image: shutil.copy(image(), path), {"checksum": "md5:1"}, "is not a checksum like sha256"),
}


@pytest.mark.parametrize(("prepare", "options", "says"), BAD.values(), ids=BAD)
def test_what_is_not_taken(make, calls, image, tmp_path, prepare, options, says):
    """Nothing is made, and above all no other file is read."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"for nobody" * 6554 * 16)
    path = tmp_path / "bad"
    prepare(path, secret, image)
    before = secret.stat().st_atime_ns
    calls()
    for check in (True, False):
        result = make(image=str(path), check=check, **options)
        assert result["failed"] and says in result["msg"], result["msg"]
        assert result["error"]["type"] == "bad_option"
    assert calls().writes == []
    assert secret.stat().st_atime_ns == before


# -- what goes wrong


@pytest.fixture
def fake_qemu_img(tmp_path, monkeypatch):
    """`fake_qemu_img(body)` puts a script of that name first in PATH; `$REAL` is the true one."""

    def put(body):
        directory = tmp_path / "bin"
        directory.mkdir(exist_ok=True)
        script = directory / "qemu-img"
        script.write_text(f"#!/bin/sh\nREAL={shutil.which('qemu-img')}\n{textwrap.dedent(body)}\n")
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
        return directory

    return put


def test_no_qemu_img(make, calls, image, monkeypatch, tmp_path):
    path = image()
    monkeypatch.setenv("PATH", str(tmp_path))
    calls()
    for check in (True, False):
        result = make(image=str(path), check=check)
        assert result["failed"] and "qemu-img is needed where the task runs" in result["msg"] and "qemu-utils" in result["error"]["hint"]
    assert calls().writes == []


def test_a_copy_that_fails_takes_its_volume_away(make, simulator, image, fake_qemu_img):
    path = image()
    fake_qemu_img('echo "qemu-img: error while reading at byte 7: Input/output error" >&2; exit 1')
    result = make(image=str(path))
    assert result["failed"] and f"qemu-img convert of {path} failed" in result["msg"] and "Input/output error" in result["msg"]
    assert f"volume {WORK}, which was to become the snapshot, was deleted again" in result["msg"]
    nothing_left(simulator)


def test_verify_finds_what_did_not_arrive(make, simulator, image, fake_qemu_img):
    path = image()
    fake_qemu_img('if [ "$1" = convert ]; then exit 0; fi; exec "$REAL" "$@"')
    result = make(image=str(path), verify=True)
    assert result["failed"] and "what is on the device is not what is in" in result["msg"]
    nothing_left(simulator)


def test_an_image_that_changes_meanwhile(make, simulator, image, fake_qemu_img):
    path = image()
    fake_qemu_img(f'"$REAL" "$@" || exit; echo >> {path}')
    result = make(image=str(path))
    assert result["failed"] and "was changed while it was copied" in result["msg"]
    nothing_left(simulator)
    assert simulator.get("SnapshotsList")[1]["data"] == []


def test_a_disk_larger_than_the_cluster(make, simulator, image):
    """What the header of an image says of its size is not to be believed: StorPool refuses, or qemu-img does, and nothing is left."""
    path = image()
    for size, problem in (((1 << 63) + 5, "has no room"), (1 << 50, "has no room"), (3 << 40, f"qemu-img convert of {path} failed")):
        poke(path, 24, size.to_bytes(8, "big"))
        result = make(image=str(path))
        assert result["failed"] and problem in result["msg"]
        nothing_left(simulator)


def test_a_device_that_does_not_come(make, simulator, image, tmp_path):
    result = make(image=str(image()), device_directory=str(tmp_path), wait_timeout="0")
    assert result["failed"] and result["error"]["type"] == "deadline" and "device_directory" in result["error"]["hint"]
    nothing_left(simulator)


def test_a_file_where_the_device_should_be(make, simulator, image, tmp_path):
    (tmp_path / WORK).write_bytes(bytes(4 * MIB))
    result = make(image=str(image()), device_directory=str(tmp_path))
    assert result["failed"] and "is not the link that StorPool makes to a device" in result["msg"]
    nothing_left(simulator)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"client": 99}, "option client: 99 is no client of this cluster; there are: 1, 2, 3, 11, 12, 13"),
        ({"client": 12}, "client 12 is down"),
        ({"template": "none"}, "option template: 'none' does not exist on this cluster"),
        ({"name": "taken"}, "a volume is called taken; volumes and snapshots share their names"),
        ({"name": "other"}, "a volume other.ansible-image exists that is not from here"),
    ],
)
def test_seen_before_anything_is_made(make, simulator, do, calls, image, options, problem):
    simulator.client(12, "down")
    do("VolumeCreate", {"name": "taken", "size": MIB})
    do("VolumeCreate", {"name": "other.ansible-image", "size": MIB})
    calls()
    for check in (True, False):
        result = make(image=str(image()), check=check, **options)
        assert result["failed"] and problem in result["msg"], result["msg"]
    assert calls().writes == []


def test_the_host_knows_its_client_id(run_module, simulator, where, image, monkeypatch):
    path = str(image())
    directory = where["device_directory"]
    result = run_module(MODULE, name="golden", image=path, device_directory=directory)
    assert result["failed"] and "has no SP_OURID" in result["msg"]
    monkeypatch.setenv("SP_OURID", str(CLIENT))
    result = run_module(MODULE, name="golden", image=path, device_directory=directory)
    assert result["changed"] is True, result.get("msg")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"name": None}, "option name is needed with image"),
        ({"zone": "sofia"}, "option zone: 'sofia' cannot be combined with image"),
        ({"keep": True}, "option keep: True cannot be combined with image"),
        ({"tags": {"ansible-image": "x"}}, "is a tag by which images are recognised"),
        ({"name": "n" * 190}, "is longer than 185 characters"),
        ({"image": None}, "option client: 11 is only for image"),
    ],
)
def test_options(make, image, options, problem):
    result = make(**{"image": str(image()), **options})
    assert result["failed"] and problem in result["msg"], result["msg"]


# -- cut short


def alive(pid):
    """Whether a process runs still; it may vanish between any two looks at it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_run_that_was_killed(simulator, make, image, where, tmp_path, fake_qemu_img):
    """kill -9 in the middle of the copy: the copying ends with it, and the next run finishes over what is half written."""
    path = image()
    directory = fake_qemu_img(
        f"""
        echo $$ > {tmp_path}/pid
        for last; do :; done
        head -c 3000000 /dev/urandom > "$last"
        echo "    (50.00/100%)"
        exec sleep 600
        """
    )
    options = {**connection(simulator, MODULE), **where, "name": "golden", "image": str(path), "progress_file": str(tmp_path / "progress")}
    code = (
        "import sys, json\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from conftest import _runner, declared, validated\n"
        f"_runner.execute(declared({MODULE!r}), validated({MODULE!r}, json.loads(sys.argv[1])), False, False)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, json.dumps(options)], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "progress").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    assert json.loads((tmp_path / "progress").read_text())["percent"] == 50
    child = int((tmp_path / "pid").read_text())
    process.send_signal(signal.SIGKILL)
    process.wait()
    while alive(child):
        assert time.monotonic() < deadline, "qemu-img outlives the task"
        time.sleep(0.05)
    assert [one["name"] for one in simulator.get("VolumesList")[1]["data"]] == [WORK]
    (directory / "qemu-img").unlink()
    predicted = make(image=str(path), check=True)
    result = make(image=str(path), verify=True)
    assert predicted["templates"][0]["actions"] == ["fill", "detach volume", "snapshot", "delete volume"]
    assert result["templates"][0]["actions"] == ["fill and verify", "detach volume", "snapshot", "delete volume"], result.get("msg")
    assert simulator.content("golden")["sha256"] == sector_hash(contents())
    nothing_left(simulator)


def killed(simulator, number, sent, options):
    """Runs the task in a process that ends by kill -9 at its write of that number, before it is sent or when it has been answered."""
    child = os.fork()
    if not child:
        call, writes = _http.Http._call, iter(range(1, 100))

        def deadly(http, method, path, data, write, waits):
            now = write and next(writes) == number
            if now and not sent:
                os.kill(os.getpid(), signal.SIGKILL)
            answer = call(http, method, path, data, write, waits)
            if now:
                os.kill(os.getpid(), signal.SIGKILL)
            return answer

        _http.Http._call = deadly
        try:
            _runner.execute(declared(MODULE), validated(MODULE, {**connection(simulator, MODULE), **options}), False, False)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("sent", [False, True])
@pytest.mark.parametrize("number", range(1, len(MAKE) + 1))
def test_killed_at_each_write(simulator, three_runs, image, where, number, sent):
    """Whatever a run was about to do or had just done: the next one says in check mode what it will do, does it, and nothing is left."""
    options = {"name": "golden", "image": str(image()), "template": "nvme", "verify": number % 2 == 0, **where}
    assert killed(simulator, number, sent, options) == -signal.SIGKILL
    if number == 1 and not sent:
        assert simulator.get("VolumesList")[1]["data"] == []
    entry = three_runs(MODULE, **options)["templates"][0]
    done = len(MAKE) - len(entry["actions"])
    assert done == number - (not sent)
    assert simulator.content("golden")["sha256"] == sector_hash(contents())
    nothing_left(simulator)


@pytest.mark.parametrize("number", range(1, len(MAKE)))
def test_killed_and_then_not_wanted(simulator, three_runs, image, where, number):
    options = {"name": "golden", "image": str(image()), **where}
    assert killed(simulator, number, True, options) == -signal.SIGKILL
    three_runs(MODULE, **options, state="absent")
    simulator.settle()
    nothing_left(simulator)
    assert simulator.get("SnapshotsList")[1]["data"] == []


@pytest.mark.parametrize("number", range(1, len(MAKE)))
def test_killed_and_then_another_image(simulator, three_runs, run_module, image, where, number):
    """The file was replaced meanwhile: what was made of the old one goes, or is told."""
    options = {"name": "golden", "image": str(image()), **where}
    assert killed(simulator, number, True, options) == -signal.SIGKILL
    image(data=contents(seed=2))
    if number < 5:
        three_runs(MODULE, **options)
        assert simulator.content("golden")["sha256"] == sector_hash(contents(seed=2))
        nothing_left(simulator)
    else:
        result = run_module(MODULE, **options)
        assert result["failed"] and "holds an image with sha256:" in result["msg"]


def leave(do, simulator, checksum, *, filled=False, attached=None, size=4 * MIB, data=b"old" * 1000):
    tags = {"ansible-image-work": checksum, **({"ansible-image-filled": checksum} if filled else {})}
    do("VolumeCreate", {"name": WORK, "size": size, "tags": tags})
    simulator.write(WORK, data)
    if attached:
        do("VolumesReassignWait", {"reassign": [{"volume": WORK, "rw": [attached]}]})


def test_what_an_earlier_image_left_behind(make, do, simulator, image):
    leave(do, simulator, f"sha256:{'1' * 64}", filled=True, attached=13)
    result = make(image=str(image()))
    assert result["templates"][0]["actions"] == ["detach leftover", "delete leftover", *MAKE], result.get("msg")
    assert simulator.content("golden")["sha256"] == sector_hash(contents())
    nothing_left(simulator)


def test_what_was_filled_is_not_filled_again(make, do, simulator, image):
    path = image()
    leave(do, simulator, f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}", filled=True, attached=CLIENT, data=contents())
    result = make(image=str(path))
    assert result["templates"][0]["actions"] == ["detach volume", "snapshot", "delete volume"], result.get("msg")
    assert simulator.content("golden")["sha256"] == sector_hash(contents())
    nothing_left(simulator)


def test_a_volume_left_beside_the_snapshot(make, do, simulator, image):
    path = str(image())
    checksum = make(image=path)["templates"][0]["object"]["checksum"]
    leave(do, simulator, checksum, attached=12)
    assert make(image=path)["templates"][0]["actions"] == ["detach volume", "delete volume"]
    leave(do, simulator, checksum)
    assert make(image=path, state="absent")["templates"][0]["actions"] == ["delete volume", "delete"]
    nothing_left(simulator)


def test_a_host_that_is_still_writing_keeps_its_volume(make, do, simulator, image):
    path = image()
    leave(do, simulator, f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}", attached=13)
    simulator.open(WORK, 13)
    result = make(image=str(path))
    assert result["failed"] and "is open at" in result["msg"] and "stop what uses it" in result["msg"]
    assert [one["client"] for one in simulator.get("AttachmentsList")[1]["data"]] == [13]


# -- as a playbook


@pytest.mark.parametrize("way", playbooks.WAYS)
def test_without_cloudstack_at_all(simulator, image, where, way, tmp_path):
    task = {"name": "Golden", f"storpool.cloudstack.{MODULE}": {"name": "golden", "image": str(image()), **where}}
    run = playbooks.run([task], env=playbooks.connection(simulator), way=way, diff=True)
    assert run.rc == 0 and run.changed == 1, run.output
    # Who waits in front of a terminal sees it move, when the task runs in the controller.
    assert ("golden: convert 100 % of 4M" in run.output) is (way == "worker"), run.output
    task[f"storpool.cloudstack.{MODULE}"]["name"] = "debian"
    del task[f"storpool.cloudstack.{MODULE}"]["image"]
    for option in where:
        del task[f"storpool.cloudstack.{MODULE}"][option]
    run = playbooks.run([task], env=playbooks.connection(simulator), way=way)
    assert "option cloudstack_url is set nowhere" in run.failures[0]["result"]["msg"], run.output
