# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every path that a user can give, and every file that the collection writes.

What is read may be anything at all and is refused in time and with its name. What is written is its owner's alone or as it was, is there
whole or not at all, and never takes the place of something that is no file. A path option that is added has to be entered here.
"""

from __future__ import annotations

import os
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.storpool.cloudstack.plugins.module_utils import _files
from ansible_collections.storpool.cloudstack.plugins.module_utils._errors import OptionError
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources import agent_properties
from integration.conftest import connection
from test_bad_inputs import BESIDE, LEAST
from ways import FAST, MODULES, ROOT, as_module, in_worker, spec_of

MIB = 1 << 20

# What each path option is for; lists and directories have no file that could be read.
READS = {"profile_file", "cloudstack_ca_path", "storpool_conf", "image", "properties_file"}
WRITES = {("cloudstack_agent_properties", "path"), ("cloudstack_agent_properties", "pending"), ("storpool_template_cache", "progress_file")}
DIRECTORIES = {"device_directory", "device_dir"}
# What makes a module look at the file.
LOOKED_AT = {
    "image": {"name": "i", "template": "nvme"},
    "storpool_conf": {"host": "kvm11"},
    "cloudstack_ca_path": {"cloudstack_url": "https://127.0.0.1:9/client/api"},
}


def path_options() -> Iterator[tuple[str, str]]:
    for module in MODULES:
        for name, one in spec_of(module).items():
            if one.get("type") == "path":
                yield module, name


READ = [(module, name) for module, name in path_options() if name in READS or name.endswith("_src")]


def test_every_path_option_is_known_here():
    known = {*READ, *WRITES, *((module, name) for module, name in path_options() if name in DIRECTORIES)}
    assert set(path_options()) == known


@pytest.mark.usefixtures("short_pauses")
@pytest.mark.parametrize(("module", "option"), READ, ids=[f"{module}-{option}" for module, option in READ])
def test_what_is_read_may_be_anything(module, option, cloud, oddities):
    """A pipe, a device, a hole of terabytes, a loop of links, nothing at all: refused, by name, with nothing sent."""
    wrong = []
    for name, path in oddities.items():
        if option == "cloudstack_ca_path" and os.path.isdir(path):
            continue  # a directory of authorities, as OpenSSL has it
        if option == "storpool_conf" and name.startswith(("deep", "laughs")):
            continue  # texts without a section, and so without any host
        # The entries of a list have what is needed of their own.
        needed = {} if option.endswith("_src") else {**LEAST.get(module, {}), **BESIDE.get(option, {}), **LOOKED_AT.get(option, {})}
        given = {**connection(cloud, module), **needed, option: str(path)}
        given = {key: value for key, value in given.items() if key in spec_of(module) and value is not None}
        if option == "image":
            given.pop("pools")
        cloud.reset_calls()
        for way in (as_module, in_worker) if module in FAST else (as_module,):
            result = way(module, dict(given))
            text = f"{way.__name__} {name}: {result.get('msg')!r:.400}"
            if option == "properties_file" and not result.get("failed"):
                # A host without an agent has none, and of a text that says nothing it is told nothing.
                if "exception" in result or (name not in ("missing", "beyond", "binary.json") and not name.startswith(("deep", "laughs"))):
                    wrong.append(text)
            elif not result.get("failed") or "exception" in result or (result.get("error") or {}).get("type") != "bad_option":
                # The content of a file is read as what it says it is.
                wrong.append(text)
            elif not result["error"]["option"].startswith((option, "name", "volumes", "settings")) and path.name not in result["msg"]:
                wrong.append(f"names neither option nor path: {text}")
        assert [call["call"] for call in cloud.calls()["calls"] if call["write"]] == []
    assert not wrong, "\n".join(wrong)


# -- what is written: `write(path)` writes some text to a path that a user gave, by each option that can be written to


def write_progress(path: str) -> None:
    _files.check_writable(path, "progress_file")
    _files.write_whole(path, "progress_file", "new\n")


def write_properties(path: str) -> None:
    result = as_module("cloudstack_agent_properties", {"path": path, "properties": {"a": "new"}})
    if result.get("failed"):
        assert result["error"]["type"] == "bad_option", result
        raise OptionError("path", path, result["msg"])
    assert not result.get("failed"), result


@pytest.fixture
def properties(tmp_path: Path) -> Path:
    path = tmp_path / "agent" / "agent.properties"
    path.parent.mkdir()
    path.write_text("a=old\n")
    return path


def write_pending(path: str) -> None:
    """The word that a restart is owed is left before the agent's properties are changed."""
    properties = Path(path).parent / "for-pending.properties"
    properties.write_text("a=old\n")
    result = as_module("cloudstack_agent_properties", {"path": str(properties), "properties": {"a": "new"}, "pending": path})
    if result.get("failed"):
        assert properties.read_text() == "a=old\n", "it was changed although nobody will know"
        raise OptionError("pending", path, result["msg"])


WAYS_TO_WRITE: dict[tuple[str, str], Callable[[str], None]] = {
    ("cloudstack_agent_properties", "path"): write_properties,
    ("cloudstack_agent_properties", "pending"): write_pending,
    ("storpool_template_cache", "progress_file"): write_progress,
}
NEW = [one for one in WAYS_TO_WRITE if one[1] != "path"]  # the agent's file has to be there
named = pytest.mark.parametrize("option", WAYS_TO_WRITE, ids="-".join)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_every_way_to_write_is_tried():
    assert set(WAYS_TO_WRITE) == WRITES


@pytest.mark.parametrize("umask", [0o000, 0o077])
@pytest.mark.parametrize("option", NEW, ids="-".join)
def test_a_new_file_is_its_owners_alone(option, tmp_path, umask):
    before = os.umask(umask)
    try:
        WAYS_TO_WRITE[option](str(tmp_path / "new"))
    finally:
        os.umask(before)
    assert mode(tmp_path / "new") == 0o600


@named
@pytest.mark.parametrize("was", [0o600, 0o640, 0o664, 0o400])
def test_a_file_that_is_there_keeps_its_mode_and_owner(option, tmp_path, was):
    path = tmp_path / "file"
    path.write_text("a=old\n")
    path.chmod(was)
    owner = (12345, 23456) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    os.chown(path, *owner)
    number = path.stat().st_ino
    WAYS_TO_WRITE[option](str(path))
    assert (mode(path), path.stat().st_uid, path.stat().st_gid) == (was, *owner)
    assert path.read_text() != "a=old\n"
    assert path.stat().st_ino != number, "written in place: a reader could find half of it"


@named
def test_a_link_stays_one_and_what_it_leads_to_is_written(option, tmp_path):
    path, target = tmp_path / "link", tmp_path / "elsewhere" / "file"
    target.parent.mkdir()
    target.write_text("a=old\n")
    path.symlink_to(target)
    WAYS_TO_WRITE[option](str(path))
    assert path.is_symlink()
    assert target.read_text() != "a=old\n"


@named
@pytest.mark.parametrize("kind", ["directory", "pipe", "device", "link to a device", "loop"])
def test_what_is_no_file_is_refused_and_left_as_it_is(option, tmp_path, kind):
    path = tmp_path / "path"
    if kind == "directory":
        path.mkdir()
        (path / "precious").write_text("x")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "device":
        try:
            os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        except OSError:
            pytest.skip("who runs this may not make a device")
    else:
        path.symlink_to("/dev/null")
    before = path.lstat()
    with pytest.raises(OptionError) as refused:
        WAYS_TO_WRITE[option](str(path))
    assert str(path) in str(refused.value) or os.path.realpath(path) in str(refused.value)
    after = path.lstat()
    assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    assert sorted(one.name for one in tmp_path.rglob("*") if one.name not in ("for-pending.properties", "precious")) == ["path"]


@named
def test_nothing_is_written_through_what_was_laid_in_the_way(option, tmp_path):
    """Somebody who may write to the directory lays a link under the name of the temporary file: it is not followed."""
    victim, path = tmp_path / "victim", tmp_path / "file"
    victim.write_text("precious")
    path.write_text("a=old\n")
    for name in (".file.new", "file.new", ".file.backup"):
        (tmp_path / name).symlink_to(victim)
    try:
        WAYS_TO_WRITE[option](str(path))
    except (OptionError, AssertionError):
        pass  # refused is as good
    assert victim.read_text() == "precious"


@named
def test_another_name_of_a_file_that_was_laid_in_the_way(option, tmp_path):
    """A hard link to somebody's file has the name of the temporary one: that file is not emptied."""
    victim, path = tmp_path / "victim", tmp_path / "file"
    victim.write_text("precious")
    path.write_text("a=old\n")
    os.link(victim, tmp_path / ".file.new")
    WAYS_TO_WRITE[option](str(path))
    assert path.read_text() != "a=old\n"
    assert victim.read_text() == "precious"


def test_many_that_write_one_file(tmp_path):
    """As the images of one task with one progress_file: each succeeds, and whoever reads finds a whole text."""
    path = tmp_path / "progress"
    texts = [f"{number} " * 2000 + "\n" for number in range(4)]
    begun, read = threading.Event(), set()

    def write(text: str) -> None:
        for _unused in range(50):
            _files.write_whole(str(path), "progress_file", text)
            begun.set()

    with ThreadPoolExecutor(len(texts)) as pool:
        written = [pool.submit(write, text) for text in texts]
        assert begun.wait(60)
        while not all(one.done() for one in written):
            read.add(path.read_text())
        for one in written:
            one.result()
    assert read | {path.read_text()} <= set(texts)
    assert os.listdir(tmp_path) == ["progress"]


@named
def test_where_no_file_can_be(option, tmp_path):
    for path in (tmp_path / "no" / "such" / "file", tmp_path / ("n" * 300), tmp_path / "a\0b"):
        if option[1] == "pending" and path.parent != tmp_path:
            continue  # its directory is made
        with pytest.raises(OptionError) as refused:
            WAYS_TO_WRITE[option](str(path))
        assert any(word in str(refused.value) for word in ("n" * 20, path.name, repr(path.name)[1:-1]))


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_text("old")

    def full(_file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_files.os, "fsync", full)
    with pytest.raises(OptionError, match="No space left"):
        _files.write_whole(str(path), "progress_file", "new")
    assert path.read_text() == "old"


def test_a_backup_is_as_the_file_was(properties):
    properties.chmod(0o640)
    result = as_module("cloudstack_agent_properties", {"path": str(properties), "properties": {"a": "new"}, "backup": True})
    assert mode(Path(result["backup_file"])) == 0o640
    assert Path(result["backup_file"]).parent == properties.parent
    assert Path(result["backup_file"]).read_text() == "a=old\n"


def test_progress_is_written_by_a_real_task(cloud, tmp_path):
    """The option leads to that code: a task with a path that cannot be written stops before anything is made."""
    image = tmp_path / "disk.raw"
    image.write_bytes(b"x" * MIB)
    options = {**connection(cloud, "storpool_template_cache"), "name": "i", "image": str(image), "format": "raw", "template": "nvme"}
    options = {name: value for name, value in options.items() if not name.startswith("cloudstack_")}
    for path in (tmp_path, tmp_path / "no" / "such"):
        cloud.reset_calls()
        result = as_module("storpool_template_cache", {**options, "progress_file": str(path)})
        assert result["failed"] and result["error"]["option"] == "progress_file", result
        assert str(path) in result["msg"]
        assert [call["call"] for call in cloud.calls()["calls"] if call["write"]] == []


# -- nothing else is written


class Opened:
    """Tells which files this process opened to write. Python never forgets such a hook, so that it is asked to be silent."""

    def __init__(self) -> None:
        self.paths: set[str] = set()
        self.on = False
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.on and event == "open" and isinstance(arguments[0], (str, bytes, os.PathLike)):
            flags = arguments[2] if isinstance(arguments[2], int) else 0
            if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND):
                self.paths.add(os.fsdecode(arguments[0]))
        elif self.on and event in ("os.mkdir", "os.rename", "os.symlink", "os.link", "tempfile.mkstemp", "tempfile.mkdtemp"):
            self.paths.add(f"{event} {arguments[-1 if event != 'os.mkdir' else 0]}")


@pytest.fixture(scope="session")
def opened() -> Opened:
    return Opened()


@pytest.mark.parametrize("module", sorted(set(MODULES) & set(FAST)))
def test_no_module_writes_a_file_that_nobody_named(module, cloud, opened):
    """All that a task of the fast path does, real and in check mode, leaves no file behind: no cache, no session, no lock."""
    options = {**connection(cloud, module), **LEAST.get(module, {})}
    for check in (True, False):
        in_worker(module, dict(options), check=check)  # what is imported is compiled
        opened.paths.clear()
        opened.on = True
        try:
            in_worker(module, dict(options), check=check)
        finally:
            opened.on = False
        assert {path for path in opened.paths if not path.startswith("/dev/null")} == set()


# The builtin modules that write a file on a host.
WRITING = {
    "copy", "template", "lineinfile", "blockinfile", "replace", "get_url", "unarchive", "assemble", "fetch", "tempfile", "iptables", "cron",
    "git", "known_hosts",
}  # fmt: skip


def tasks_of(document: Any) -> Iterator[dict[str, Any]]:
    if isinstance(document, dict):
        yield document
        for value in document.values():
            yield from tasks_of(value)
    elif isinstance(document, list):
        for value in document:
            yield from tasks_of(value)


def test_what_roles_and_playbooks_write_has_a_mode():
    """A file that a role or playbook writes by a builtin module is its owner's alone, unless it says otherwise."""
    wrong, looked = [], 0
    for path in sorted([*(ROOT / "roles").rglob("*.yml"), *(ROOT / "playbooks").rglob("*.yml")]):
        for task in tasks_of(yaml.safe_load(path.read_text(encoding="utf-8"))):
            for name, arguments in task.items():
                if isinstance(name, str) and name.startswith("ansible.builtin."):
                    looked += 1
                    if name.removeprefix("ansible.builtin.") in WRITING and not (isinstance(arguments, dict) and arguments.get("mode")):
                        wrong.append(f"{path.relative_to(ROOT)}: {task.get('name')}: {name} without a mode")
                    if name == "ansible.builtin.file" and isinstance(arguments, dict) and arguments.get("state") in ("touch", "directory"):
                        wrong += [] if arguments.get("mode") else [f"{path.relative_to(ROOT)}: {task.get('name')}: {name} without a mode"]
    assert looked > 20
    assert not wrong, "\n".join(wrong)


def test_what_this_collection_calls_a_place_stays_one():
    """Names are joined to a directory, put into addresses, and never lead out of them."""
    from ansible_collections.storpool.cloudstack.plugins.module_utils import _units as units

    for name in ("..", ".", "#..", "../x", "a/b", "/etc", "..%2f", "\0"):
        for parse in (units.parse_volume_name, units.parse_template_name, lambda one: units.parse_reference(one, "parent")):
            with pytest.raises(OptionError):
                parse(name)


def test_the_file_of_the_agent_has_a_place():
    for path in ("agent.properties", "../x", "", "x\n"):
        with pytest.raises(OptionError):
            agent_properties.act({"path": path, "properties": {"a": "1"}, "defaults": {}, "backup": False, "pending": None}, True)
