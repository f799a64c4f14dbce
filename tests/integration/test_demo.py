# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The demo runs, ends without a trace also when it is broken off, and fails when what it shows is not so."""

from __future__ import annotations

import copy
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import playbooks
import prediction
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path += [str(ROOT / "tests" / "demo"), str(ROOT / "tests" / "tools")]

import demo  # noqa: E402
from image import disk_image  # noqa: E402

CACHE = ROOT / ".cache" / "demo"
CHAPTERS = ROOT / "playbooks" / "demo_chapters"


def begin(*options: str) -> subprocess.Popen:
    command = [sys.executable, "-u", str(ROOT / "tests" / "demo" / "demo.py"), "--image", str(disk_image()), *options]
    # A group of its own, as a terminal gives it, so that a Ctrl-C can reach all of its processes.
    # Tests that a shell runs in the background inherit a Ctrl-C that is ignored; a terminal's is not.
    ignored = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
    finally:
        signal.signal(signal.SIGINT, ignored)


def until(true: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 120
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.005)


def processes_of(place: Path) -> dict[int, str]:
    """The command lines of processes that have to do with a directory, by their ids."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(place) in line:
            found[int(process.name)] = line
    return found


def stop_a_worker(place: Path) -> bool:
    """A worker of Ansible's that is held up: it has a session of its own, and would be there when its parent has long ended."""
    ansible = [pid for pid, line in processes_of(place).items() if "ansible-playbook" in line]
    for pid in ansible:
        if demo.parent_of(pid) in ansible:
            try:
                os.kill(pid, signal.SIGSTOP)
                return True
            except ProcessLookupError:
                return False
    return False


@pytest.fixture
def simulator(cloud_of):
    return cloud_of(demo.CLOUDSTACK)


@pytest.fixture
def places():
    """The directories of demos that this test has begun: what is there after it was not there before."""
    before = set(CACHE.glob("run-*"))
    return lambda: set(CACHE.glob("run-*")) - before


def test_every_chapter_is_part_of_the_tour():
    assert {chapter.path for chapter in demo.chapters()} == set(CHAPTERS.glob("*.yml"))


@pytest.mark.timeout(1800)
def test_the_demo_runs(places):
    with begin("--devices", "link") as process:
        output, _nothing = process.communicate()
    assert process.returncode == 0, output
    for chapter in demo.chapters():
        assert f"{chapter.short}: {chapter.title} ==" in output
        assert output.count(f"$ {chapter.command}\n") == 1
    for section, names in demo.SECTIONS.items():
        assert re.search(f"{re.escape(section)} +\\S", output) and names
    for line in ("10 devices hold the image", "0 bytes were copied", "no volume, no snapshot and no byte is left"):
        assert line in output
    assert "WARNING" not in output
    assert not places()


def test_the_clean_up_finds_nothing_where_the_demo_never_ran(playbook, simulator, calls):
    for check in (True, False):
        calls()
        done = playbook(Path("storpool.cloudstack.demo_clean_up"), variables={"demo_zone": "sofia"}, check=check, diff=True)
        assert (done.rc, done.changed, calls().writes) == (0, 0, []), done.output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "terminated"])
def test_a_demo_that_is_broken_off_leaves_nothing(number, places):
    with begin("--devices", "link") as process:
        for line in process.stdout:
            if line.startswith("== 2/"):
                break
        (place,) = places()
        assert any("storpool_simulator" in line for line in processes_of(place).values())
        until(lambda: stop_a_worker(place), "no task has run")
        if number == signal.SIGINT:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        process.communicate()
    assert process.returncode == (130 if number == signal.SIGINT else 143)
    assert not places()
    assert not processes_of(place)


# -- it fails when it has to: a tour with results of our own making

ENTRY = {"name": "v", "changed": True, "actions": ["create"], "object": {"name": "v", "size": 1 << 30, "global_id": None}}
RESULT = {
    "changed": True,
    "volumes": [ENTRY],
    "diff": [{"before_header": "volume v", "after_header": "volume v", "before": {}, "after": {"name": "v", "size": "1G"}}],
    "summary": {"declared": 1, "changed": 1, "unchanged": 0, "failed": 0, "not_attempted": 0},
    "api": {"reads": 1, "writes": 0},
}


def a_run(result: dict | None = None, **record: object) -> playbooks.Run:
    result = RESULT if result is None else result
    action = "storpool.cloudstack.storpool_volume"
    one = {"task": "A volume", "action": action, "status": "ok", "ignored": False, "changed": result["changed"], "result": result, **record}
    return playbooks.Run(0, "what Ansible said", [one])


def changed(where: str, value: object) -> dict:
    """The result with something else in one place."""
    result = copy.deepcopy(RESULT)
    at = result
    *path, last = [int(part) if part.isdigit() else part for part in where.split(".")]
    for part in path:
        at = at[part]
    at[last] = value
    return result


SILENT = {**RESULT, "changed": False, "volumes": [{**ENTRY, "changed": False, "actions": []}], "diff": []}


@pytest.fixture
def show(monkeypatch, capsys):
    """`show()` runs a chapter in which all is as it has to be, but for what is given: results, calls that wrote, contents."""

    def chapter(check=None, real=None, again=None, wrote=((), ("VolumeCreate",), ()), contents=("a", "a", "b", "b")):
        runs = iter([check or a_run(), real or a_run(changed("volumes.0.object.global_id", "a.b.c")), again or a_run(SILENT)])
        logs, hashes = iter(wrote), iter(contents)
        monkeypatch.setattr(demo.playbooks, "run", lambda *_arguments, **_options: next(runs))
        sim = SimpleNamespace(
            reset_calls=lambda: None,
            calls=lambda: {"calls": [{"call": call, "write": True} for call in next(logs)]},
            get=lambda _query: (200, {"data": [{"volume": "v", "rights": "rw"}]}),
            fingerprint=lambda _name: next(hashes),
        )
        demo.Tour(sim, "", 0, {}, {}).chapter(demo.Chapter(CHAPTERS / "made_up.yml", "Made up", "for a test"))
        return capsys.readouterr().out

    return chapter


def test_a_chapter_that_is_right(show):
    output = show()
    assert "+ volume v: size 1G" in output
    assert "changed=0" in output


DIFFERENT = {
    "changed": changed("changed", False),
    "volumes[0].actions": changed("volumes.0.actions", ["create", "attach"]),
    "volumes[0].changed": changed("volumes.0.changed", False),
    "volumes[0].object.size": changed("volumes.0.object.size", 2 << 30),
    "volumes[0].object.tags": changed("volumes.0.object.tags", {}),
    "volumes": changed("volumes", []),
    "diff[0].after.size": changed("diff.0.after.size", "2G"),
    "diff[0].before": changed("diff.0.before", {"name": "v"}),
    "summary.changed": changed("summary.changed", 2),
    "warnings": changed("warnings", ["something was odd"]),
}


@pytest.mark.parametrize("where", DIFFERENT)
def test_the_demo_fails_when_the_real_run_is_not_what_was_predicted(show, where):
    with pytest.raises(demo.DemoFailed, match=f"not what check mode predicted[^$]*{re.escape(where)}"):
        show(real=a_run(DIFFERENT[where]))


def test_another_task_is_a_difference(show):
    with pytest.raises(demo.DemoFailed, match="not what check mode predicted"):
        show(real=a_run(task="Another"))


def test_a_task_that_only_check_mode_skips_is_a_difference(show):
    with pytest.raises(demo.DemoFailed, match="not what check mode predicted"):
        show(check=a_run({"changed": False, "skipped": True}, status="skipped"))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"wrote": (("VolumeCreate",), ("VolumeCreate",), ())}, "check mode wrote"),
        ({"contents": ("a", "z", "b", "b")}, "check mode changed the content"),
        ({"wrote": ((), ("VolumeCreate",), ("VolumeUpdate",))}, "not silent[^$]*VolumeUpdate"),
        ({"again": a_run()}, "not silent[^$]*A volume changed something"),
        ({"again": a_run({"changed": True}, action="ansible.builtin.command")}, "not silent"),
        ({"contents": ("a", "a", "b", "c")}, "run again, it changed the content"),
        ({"check": playbooks.Run(2, "no such option", [])}, "ansible-playbook failed[^$]*no such option"),
        ({"real": playbooks.Run(2, "no such option", [])}, "ansible-playbook failed"),
        ({"again": playbooks.Run(4, "no such option", [])}, "ansible-playbook failed"),
    ],
)
def test_the_demo_fails_when_a_run_does_what_it_may_not(show, how, message):
    with pytest.raises(demo.DemoFailed, match=message):
        show(**how)


def test_a_failure_ends_the_demo_with_its_reason(monkeypatch, capsys, tmp_path):
    image = tmp_path / "image"
    image.write_bytes(bytes(512))
    monkeypatch.setattr(demo.sys, "argv", ["demo.py", "--image", str(image), "--devices", "link"])
    monkeypatch.setattr(demo.signal, "signal", lambda *_arguments: None)
    # This process has children of its own.
    monkeypatch.setattr(demo, "adopt_orphans", lambda: None)
    monkeypatch.setattr(demo, "end_children", lambda: None)
    monkeypatch.setattr(demo.tempfile, "tempdir", None)

    def failed(*_arguments):
        raise demo.DemoFailed("chapter clones: it was not so")

    monkeypatch.setattr(demo, "run_tour", failed)
    assert demo.main() == 1
    assert "The demo failed: chapter clones: it was not so" in capsys.readouterr().out


def test_an_image_that_is_no_disk_is_refused(tmp_path):
    image = tmp_path / "image"
    image.write_bytes(bytes(700))
    with pytest.raises(demo.DemoFailed, match="700 bytes; a disk image has a multiple of 512"):
        demo.run_tour(image, tmp_path, "link")


# -- what check mode cannot know


@pytest.mark.parametrize(
    ("said", "done"),
    [
        ({"volumes": [{"object": {"global_id": None}}]}, {"volumes": [{"object": {"global_id": "a.b.c"}}]}),
        ({"api": {"writes": 0}}, {"api": {"writes": 1}}),
        ({"object": {"parent": None}}, {"object": {"parent": "*v@12"}}),
        ({"object": {"delete_at": 1795356000}}, {"object": {"delete_at": 1795356003}}),
        ({"delete_at": 1795356000}, {"delete_at": 1795356003}),
        ({"after": {"delete_at": "2026-11-29T15:42:15Z"}}, {"after": {"delete_at": "2026-11-29T15:42:17Z"}}),
    ],
)
def test_what_only_the_server_knows_is_no_difference(said, done):
    assert prediction.unlike(said, done) == []


@pytest.mark.parametrize(
    ("said", "done"),
    [
        ({"object": {"parent": None}}, {"object": {"parent": "golden"}}),
        ({"object": {"delete_at": 1795356000}}, {"object": {"delete_at": 1795960800}}),
        ({"object": {"delete_at": None}}, {"object": {"delete_at": 1795960800}}),
        ({"object": {"size": 512}}, {"object": {}}),
        ({"volumes": []}, {"volumes": [{}]}),
    ],
)
def test_all_else_is_a_difference(said, done):
    assert prediction.unlike(said, done)
