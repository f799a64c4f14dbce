# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The agent's file: what is changed of it, and that it is whole at every moment."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading

import pytest
from ansible_collections.storpool.cloudstack.plugins.module_utils import _properties as properties
from ansible_collections.storpool.cloudstack.plugins.module_utils._errors import CollectionError, OptionError
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources import agent_properties
from ansible_collections.storpool.cloudstack.plugins.modules.cloudstack_agent_properties import DECLARED

REBOOT = "reboot.host.and.alert.management.on.heartbeat.timeout"
SHIPPED = f"""\
#Storage
#Wed Nov 18 10:12:01 UTC 2026
guid=3f1c2f1e
  workers = 5

# Heartbeat update timeout (in ms).
# Depending on the use case, this timeout might need increasing/decreasing.
#heartbeat.update.timeout=60000

# Reboot the host when the heartbeat fails
# {REBOOT}=true

keystore.passphrase=ba5eba11
kvm.heartbeat.update.frequency=\\
    60000
resource:com.cloud.hypervisor.kvm.resource.LibvirtComputingResource
private.network.device cloudbr1
"""


def planned(declared, text=SHIPPED, **more):
    return properties.plan(text, declared, **more)


def changed_lines(before, after):
    """Lines that are only in one of two texts."""
    old, new = before.splitlines(), after.splitlines()
    return [line for line in old if line not in new], [line for line in new if line not in old]


def test_a_key_is_added_below_its_commented_out_default():
    text = planned({REBOOT: "false", "heartbeat.update.timeout": "30000"}).text
    assert f"# {REBOOT}=true\n{REBOOT}=false\n\nkeystore" in text
    assert "#heartbeat.update.timeout=60000\nheartbeat.update.timeout=30000\n\n# Reboot" in text
    assert changed_lines(SHIPPED, text)[0] == []


def test_an_active_key_is_set_in_its_place():
    text = planned({"workers": "6", "kvm.heartbeat.update.frequency": "30000", "private.network.device": "cloudbr2", "resource": "x"}).text
    assert changed_lines(SHIPPED, text) == (
        [
            "  workers = 5",
            "kvm.heartbeat.update.frequency=\\",
            "    60000",
            "resource:com.cloud.hypervisor.kvm.resource.LibvirtComputingResource",
            "private.network.device cloudbr1",
        ],
        ["  workers = 6", "kvm.heartbeat.update.frequency=30000", "resource:x", "private.network.device=cloudbr2"],
    )


def test_other_keys_go_to_the_end():
    assert planned({"host.reserved.mem.mb": "1024"}).text == SHIPPED + "host.reserved.mem.mb=1024\n"
    assert planned({"b": "1"}, "a=1").text == "a=1\nb=1\n"
    assert planned({"b": "1"}, "a=1\r\n").text == "a=1\r\nb=1\r\n"
    assert planned({"b": "1"}, "").text == "b=1\n"
    assert planned({"b": "1"}, "x=1\na=1\\").text == "x=1\nb=1\na=1\\"  # the last line would go on into it


def test_nothing_is_done_about_what_means_the_same():
    for value in (60000, "60000", "060000"):
        assert planned({"kvm.heartbeat.update.frequency": str(value)}).changes == ()
    assert planned({"a": "true"}, "a=TRUE\n").changes == ()
    assert planned({"a": "true"}, "a=yes\n").text == "a=true\n"  # the agent takes nothing but true for true
    assert planned({"a": "60000"}, "a=60000 \n").text == "a=60000\n"  # blanks at the end belong to the value


def test_fallbacks_are_for_keys_without_a_value():
    fallbacks = {"workers": "9", "guid": "9", "host.reserved.cpu.count": "0", "blank": "1"}
    text = SHIPPED + "blank=  \n"
    made = planned({}, text, fallbacks=fallbacks)
    assert [(change.key, change.action) for change in made.changes] == [("host.reserved.cpu.count", "added"), ("blank", "set")]


def test_of_several_entries_the_last_one_counts():
    made = planned({"a": "3"}, "a=3\nb=1\na=2\n")
    assert made.text == "a=3\nb=1\na=3\n"
    assert "a stands in the file several times" in made.warnings[0]
    assert planned({"a": "2"}, "a=3\nb=1\na=2\n").changes == ()


def test_null_comments_out_all_of_it():
    assert planned({"a": None}, "a=1\nb=1\n a = 2\\\n  3\n#a=0\n").text == "#a=1\nb=1\n# a = 2\\\n#  3\n#a=0\n"
    assert planned({"a": None}, "#a=1\n").changes == ()


def test_what_java_refuses_is_refused():
    with pytest.raises(CollectionError, match=r"line 3 has \\u without"):
        planned({"x": "1"}, "# \\u00\na=b\nc=\\u00zz\n")


def test_a_plan_that_does_not_do_what_it_says_is_stopped():
    lie = properties.Planned("a=2\nb=1\n", (properties.Changed("a", "set", "1", "3"),), ())
    with pytest.raises(CollectionError, match="was left as it is"):
        properties.prove("a=1\nb=1\n", lie)
    for text in ("a=3\n", "b=1\na=3\nb=1\n", "a=3\nb = 1\n"):
        with pytest.raises(CollectionError, match="was left as it is"):
            properties.prove("a=1\nb=1\n", properties.Planned(text, (properties.Changed("a", "set", "1", "3"),), ()))


def test_keys_that_look_secret():
    for key in ("keystore.passphrase", "db.password", "api.key", "apikey", "sp.auth.token", "client_secret"):
        assert properties.is_secret(key), key
    for key in ("private.network.device", REBOOT, "workers", "keyboard", "guest.cpu.mode"):
        assert not properties.is_secret(key), key


# -- the module


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "agent.properties"
    path.write_text(SHIPPED)
    path.chmod(0o640)
    return path


def run(file, check=False, **options):
    given = {"path": str(file), "properties": {}, "defaults": {}, "backup": True, "pending": None, **options}
    return DECLARED.run(given, check)


def test_three_runs(file, tmp_path):
    pending = tmp_path / "run" / "pending"
    options = {"properties": {REBOOT: False, "workers": 5}, "defaults": {"host.reserved.mem.mb": 1024}, "pending": str(pending)}
    said = run(file, check=True, **options)
    assert (file.read_text(), sorted(os.listdir(tmp_path))) == (SHIPPED, ["agent.properties"])
    done = run(file, **options)
    backup = done.pop("backup_file")
    assert said == done and done["changed"] and done["restart_pending"]
    assert done["changes"][0] == {"key": REBOOT, "action": "added", "before": None, "after": "false"}
    assert file.read_text() == properties.plan(SHIPPED, {REBOOT: "false"}, {"host.reserved.mem.mb": "1024"}).text
    assert re.fullmatch(re.escape(str(file)) + r"\.\d{8}-\d{6}~", backup)
    for path in (file, backup):
        assert os.stat(path).st_mode & 0o777 == 0o640
    with open(backup, encoding="ascii") as stream:
        assert stream.read() == SHIPPED
    assert "not restarted since" in pending.read_text()
    assert sorted(os.listdir(tmp_path)) == sorted(["agent.properties", os.path.basename(backup), "run"])
    again = run(file, **options)
    assert (again["changed"], again["restart_pending"]) == (False, True)
    pending.unlink()
    assert run(file, **options)["restart_pending"] is False


def test_two_backups_within_a_second_have_two_names(file):
    made = [run(file, properties={"workers": number})["backup_file"] for number in range(10, 13)]
    assert len(set(made)) == 3
    assert "backup_file" not in run(file, properties={"workers": 20}, backup=False)


def test_a_link_stays_one(file, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(file)
    assert run(link, properties={"workers": 7})["file"] == str(file)
    assert link.is_symlink() and "workers = 7" in file.read_text()


def test_secrets_are_hidden(file):
    result = run(file, properties={"keystore.passphrase": "hunter2hunter2"}, defaults={"x.token": "hunter2hunter2"})
    assert "hunter2hunter2" in file.read_text()
    assert "hunter2" not in str(result) and "ba5eba11" not in str(result)
    assert "keystore.passphrase=(hidden, changed)" in result["diff"]["after"] and "keystore.passphrase=(hidden)" in result["diff"]["before"]


def test_wrong_options(file, tmp_path):
    for options, says in (
        ({"properties": {"a": [1]}}, "option properties of a: [1] is neither a text"),
        ({"properties": {"a.token": {"x": "hunter2"}}}, "(hidden)"),
        ({"properties": {" ": 1}}, "is no name of a property"),
        ({"defaults": {"a": None}}, "use properties to comment a key out"),
        ({"defaults": {"a": 1}, "properties": {"a": 2}}, "give it once"),
        ({"path": str(tmp_path / "none")}, "is the CloudStack agent installed"),
        ({"path": str(tmp_path)}, "is a directory and no file"),
    ):
        result = run(file, **options)
        assert result["failed"] and says in result["msg"] and "hunter2" not in str(result), options
    assert file.read_text() == SHIPPED


def test_what_the_agent_writes_meanwhile_is_not_lost(file, monkeypatch):
    wrote = []
    fill = agent_properties._fill

    def slow(*args):
        if len(wrote) < 2:
            wrote.append(1)
            file.write_text(file.read_text() + f"id{len(wrote)}=1\n")
        fill(*args)

    monkeypatch.setattr(agent_properties, "_fill", slow)
    assert run(file, properties={"workers": 6})["changed"]
    assert file.read_text() == SHIPPED.replace("workers = 5", "workers = 6") + "id1=1\nid2=1\n"


def test_a_file_that_never_rests_is_left_alone(file, monkeypatch):
    fill = agent_properties._fill

    def slow(*args):
        file.write_text(file.read_text() + "id=1\n")
        fill(*args)

    monkeypatch.setattr(agent_properties, "_fill", slow)
    result = run(file, properties={"workers": 6})
    assert result["failed"] and "left to whoever writes it" in result["msg"]
    assert "workers = 5" in file.read_text()


def test_runs_at_the_same_time_lose_nothing(file):
    keys = [f"k{number}" for number in range(8)]
    results = []
    threads = [threading.Thread(target=lambda key=key: results.append(run(file, properties={key: 1}))) for key in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(result["changed"] for result in results)
    assert {key: properties.values(properties.parse(file.read_text())).get(key) for key in keys} == dict.fromkeys(keys, "1")


def test_a_lasting_temporary_file_is_no_hindrance(file):
    (file.parent / ".agent.properties.new").write_text("half of someth")
    assert run(file, properties={"workers": 6})["changed"]
    assert sorted(name for name in os.listdir(file.parent) if not name.endswith("~")) == ["agent.properties"]


# -- kill -9, at every moment


def killed_at(moment, act):
    """Do `act` in a process of its own, which kills itself at its moment-th call of the operating system; tell whether it came so far."""
    child = os.fork()
    if child:
        _pid, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            assert os.WTERMSIG(status) == signal.SIGKILL
            return True
        assert os.WEXITSTATUS(status) == 0
        return False
    code = 1
    try:
        left = [moment]

        def profile(_frame, event, function):
            if event in ("c_call", "c_return") and getattr(function, "__module__", "") in ("posix", "_io", "io", "fcntl"):
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                left[0] -= 1

        sys.setprofile(profile)
        act()
        sys.setprofile(None)
        code = 0
    finally:
        os._exit(code)


def test_a_kill_at_any_moment_leaves_the_old_file_or_the_new_one(file, tmp_path):
    pending = tmp_path / "pending"
    options = {"properties": {REBOOT: False, "workers": 6}, "pending": str(pending)}
    goal = properties.plan(SHIPPED, {REBOOT: "false", "workers": "6"}).text
    seen = []
    for moment in range(1000):
        for name in os.listdir(tmp_path):
            (tmp_path / name).unlink()
        file.write_text(SHIPPED)
        file.chmod(0o640)
        if not killed_at(moment, lambda: run(file, **options)):
            break
        text = file.read_text()
        assert text in (SHIPPED, goal)
        assert os.stat(file).st_mode & 0o777 == 0o640
        assert text == SHIPPED or pending.exists(), "nobody would know that the agent has to be restarted"
        backups = [name for name in os.listdir(tmp_path) if name.endswith("~")]
        assert text == SHIPPED or backups
        assert all((tmp_path / name).read_text() == SHIPPED for name in backups)
        seen.append(text == goal)
        result = run(file, **options)
        assert not result.get("failed"), result
        assert result["restart_pending"] and file.read_text() == goal
        assert [name for name in os.listdir(tmp_path) if name.startswith(".agent.properties.new")] == []
    else:
        pytest.fail("it never came to its end")
    # It was killed often enough, before and after the file was replaced, and never in between.
    assert len(seen) > 40 and True in seen and seen == sorted(seen)


def test_a_missing_file_is_an_option_error():
    with pytest.raises(OptionError):
        agent_properties.act({"path": "/nowhere/x", "properties": {}, "defaults": {}, "backup": True, "pending": None}, True)
