# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a host is asked, by small real commands, and what is made of the answers."""

from __future__ import annotations

import json
import os
import time

import pytest
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources import host_info
from ansible_collections.storpool.cloudstack.plugins.modules.storpool_host_info import DECLARED

TOKEN = "815815815815"
CONFGET = f"SP_AUTH_TOKEN={TOKEN}\nSP_EXTRA=a=b\nSP_OURID=11\nSP_CLUSTER_ID=nzkr.b\n"
SERVICES = {
    "clients": {"11": {"nodeId": 11, "status": "running"}, "12": {"nodeId": 12, "status": "down"}},
    "servers": {"1": {"nodeId": 1, "status": "running"}},
}
UNITS = """\
Id=storpool_block.service
LoadState=loaded
ActiveState=active
NRestarts=0

Id=cloudstack-agent.service
LoadState=loaded
ActiveState=active
NRestarts=2
"""
SCRIPT = "scripts/vm/hypervisor/kvm/kvmspheartbeat.sh"


class Host:
    """A directory with commands, devices and scripts."""

    def __init__(self, directory):
        self.directory = directory
        for name in ("bin", "storpool-byid"):
            (directory / name).mkdir()
        self.says("storpool_confget", CONFGET)
        self.services(SERVICES)
        self.says("systemctl", UNITS)
        self.script = directory / "common" / SCRIPT
        self.script.parent.mkdir(parents=True)
        self.script.write_text("#!/bin/sh\n")
        self.script.chmod(0o755)

    def does(self, name, script):
        path = self.directory / "bin" / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def says(self, name, text):
        (self.directory / f"{name}.out").write_text(text)
        self.does(name, f"cat {self.directory / name}.out")

    def services(self, data, attached=()):
        (self.directory / "services").write_text(json.dumps({"data": data}))
        (self.directory / "attached").write_text(json.dumps({"data": [{"client": one, "volume": "v"} for one in attached]}))
        self.does("storpool", f'case "$2" in attach) cat {self.directory}/attached;; *) cat {self.directory}/services;; esac')

    def look(self, **options):
        given = {name: spec.get("default") for name, spec in DECLARED.argument_spec().items()}
        given.update(
            device_dir=str(self.directory / "storpool-byid"),
            script_roots=[str(self.directory / "lib"), str(self.directory / "common")],
            properties_file=str(self.directory / "agent.properties"),
            search_path=[str(self.directory / "bin"), "/usr/bin", "/bin"],
        )
        result = DECLARED.run({**given, **options}, True)
        assert not result.get("failed"), result
        assert TOKEN not in str(result)
        return result


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


def problems(host, **options):
    return {one["check"]: one["message"] for one in host.look(**options)["problems"]}


def test_a_host_in_good_order(host):
    assert host.look()["problems"] == []
    assert host.look()["host"] == {
        "node_id": 11,
        "cluster_id": "nzkr.b",
        "client_service": "active",
        "client_status": "running",
        "servers": [],
        "device_dir": True,
        "script": str(host.script),
        "agent": {"state": "active", "restarts": 2},
    }


@pytest.mark.parametrize(
    ("says", "check", "message"),
    [
        ("SP_CLUSTER_ID=a.b\n", "identity", "no SP_OURID that is a number"),
        ("SP_CLUSTER_ID=a.b\nSP_OURID=1=1\n", "identity", "no SP_OURID that is a number"),
        ("SP_OURID=11\nSP_CLUSTER_ID=\n", "identity", "no SP_CLUSTER_ID"),
        ("SP_OURID=12\nSP_CLUSTER_ID=a.b\n", "client", "the client of node 12 is down"),
        ("SP_OURID=99\nSP_CLUSTER_ID=a.b\n", "client", "node 99 is not among the clients"),
    ],
)
def test_what_storpool_confget_says(host, says, check, message):
    host.says("storpool_confget", says)
    assert message in problems(host)[check]


@pytest.mark.parametrize("answer", ["", "words", "[]", "{}", '{"data": []}', '{"data": {"clients": []}}', '{"error": {"name": "x"}}'])
def test_answers_that_are_none(host, answer):
    host.says("storpool", answer)
    assert "did not answer with JSON" in problems(host)["client"]


def test_commands_that_fail_or_are_not_there(host):
    host.does("storpool", "echo first >&2; echo 'no route to host' >&2; exit 3")
    assert problems(host)["client"] == "storpool -j service list ended with status 3: no route to host"
    host.does("storpool", "kill -9 $$")
    assert "ended by signal 9" in problems(host)["client"]
    os.unlink(host.directory / "bin" / "storpool")
    os.unlink(host.directory / "bin" / "storpool_confget")
    found = problems(host, search_path=[str(host.directory / "bin")])
    assert found["client"] == f"storpool is in none of {host.directory / 'bin'}"
    assert found["identity"] == f"storpool_confget is in none of {host.directory / 'bin'}"
    (host.directory / "bin" / "storpool").write_bytes(b"\x7fELF nothing")
    (host.directory / "bin" / "storpool").chmod(0o755)
    assert "cannot be run" in problems(host)["client"]


def test_a_command_that_hangs_ends_with_all_that_it_started(host):
    """Its child holds the output open, so that reading to the end would last as long as the child."""
    alive = host.directory / "alive"
    host.does("storpool", f"(sleep 60; echo x >> {alive}) & echo $! > {host.directory}/child; wait")
    assert problems(host, command_timeout=3)["client"] == "storpool -j service list did not end within 3 s"
    child = int((host.directory / "child").read_text())
    for _unused in range(100):
        try:
            with open(f"/proc/{child}/stat", encoding="ascii") as stream:
                if stream.read().rsplit(")", 1)[1].split()[0] == "Z":
                    break
        except FileNotFoundError:
            break
        time.sleep(0.05)
    else:
        pytest.fail("the child lives on")


def test_services(host):
    host.says("systemctl", UNITS.replace("ActiveState=active\nNRestarts=0", "ActiveState=failed\nNRestarts="))
    assert problems(host)["client_service"] == "the service storpool_block.service is failed"
    host.says("systemctl", UNITS.replace("loaded", "not-found"))
    found = problems(host)
    assert "does not exist" in found["agent"]
    assert host.look(client_service="other")["host"]["client_service"] == "unknown"
    host.does("systemctl", "exit 1")
    assert "ended with status 1" in problems(host)["client_service"]


def test_servers_make_a_node_hyper_converged(host):
    host.says("systemctl", UNITS + "\nId=storpool_server_1.service\nLoadState=loaded\nActiveState=active\nNRestarts=0\n")
    assert host.look()["host"]["servers"] == ["storpool_server_1.service"]
    host.says("systemctl", UNITS)
    # Its services are down, but the cluster counts on it.
    host.services({**SERVICES, "servers": {"5": {"nodeId": 11, "status": "down"}}})
    assert host.look()["host"]["servers"] == ["server of node 11"]


def test_devices_may_be_missing_while_nothing_is_attached(host):
    (host.directory / "storpool-byid").rmdir()
    assert problems(host) == {} and host.look()["host"]["device_dir"] is False
    host.services(SERVICES, attached=[12])
    assert problems(host) == {}
    host.services(SERVICES, attached=[11, 11, 12])
    assert "although 2 volumes and snapshots are attached here" in problems(host)["device_dir"]
    (host.directory / "attached").write_text("words")
    assert "did not answer with JSON" in problems(host)["device_dir"]


def test_the_script_is_looked_for_where_the_agent_looks(host):
    host.script.chmod(0o644)
    assert problems(host)["script"] == f"{host.script} is not executable"
    other = host.directory / "lib" / "mine" / "kvmspheartbeat.sh"
    other.parent.mkdir(parents=True)
    other.write_text("")
    other.chmod(0o755)
    assert host.look(scripts_dir="mine")["host"]["script"] == str(other)
    (host.directory / "agent.properties").write_text("kvm.scripts.dir=mine\n")
    assert host.look()["host"]["script"] == str(other)
    (host.directory / "agent.properties").write_text("x=\\u00\nkvm.scripts.dir=mine\n")
    assert host.look()["host"]["script"] == str(host.script)
    host.script.unlink()
    assert "is at none of" in problems(host)["script"]


def test_run_gives_no_more_than_the_text(host):
    host.does("x", "printf 'a\\377b'")
    assert host_info.run(["x"], [str(host.directory / "bin"), "/usr/bin", "/bin"], 5).text == "a\ufffdb"
