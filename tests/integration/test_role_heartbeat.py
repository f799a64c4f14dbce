# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role heartbeat on hosts that are directories (see kvm_hosts.py), against the simulators."""

from __future__ import annotations

import json

import pytest
from conftest import CLOUDSTACKS
from kvm_hosts import SHIPPED, Hosts
from prediction import differences

ROLE = "storpool.cloudstack.heartbeat"
NAMES = {"kvm11": 11, "kvm12": 12, "kvm13": 13}
RESTART = "Restart the agent"
ONE_BY_ONE = [f"{what} {name}" for name in NAMES for what in ("restart", "up")]
REBOOT = "reboot.host.and.alert.management.on.heartbeat.timeout"
WRITTEN = f"""\
#Storage
guid=3f1c2f1e
workers=5

# Reboot host and alert management on heartbeat timeout
#{REBOOT}=true
{REBOOT}=false

# heartbeat update timeout (in ms)
#heartbeat.update.timeout=60000
heartbeat.update.timeout=60000

host.reserved.mem.mb=8192
keystore.passphrase=ba5eba11
kvm.heartbeat.update.frequency=30000
kvm.heartbeat.update.max.tries=5
kvm.heartbeat.update.retry.sleep=10000
kvm.heartbeat.checker.timeout=360000
kvm.scripts.dir=scripts/vm/hypervisor/kvm
host.reserved.cpu.count=0
"""
ENOUGH = 20  # seconds, for a restart on a busy machine; an agent that never comes back costs as many
DECLARED = {"storpool_heartbeat_self_reboot": False, "storpool_heartbeat_frequency": 30, "heartbeat_up_timeout": 60}


@pytest.fixture
def simulator(cloud_of):
    return cloud_of(CLOUDSTACKS[-1])


@pytest.fixture
def hosts(tmp_path, simulator):
    return Hosts(tmp_path, simulator, NAMES)


def environment(hosts):
    """Pipelining only makes modules start faster."""
    return {"PATH": hosts.path, "ANSIBLE_PIPELINING": "true"}


@pytest.fixture
def apply(hosts, playbook):
    def run(*options, play=None, check=False, diff=False, **declared):
        content = {"name": "Play", "hosts": "kvm", "gather_facts": False, "roles": [{"role": ROLE, "vars": {**DECLARED, **declared}}]}
        return playbook([{**content, **(play or {})}], "-i", str(hosts.inventory), *options, check=check, diff=diff, env=environment(hosts))

    return run


def restarted(run):
    """The hosts whose agents were restarted, or would be."""
    return [record["host"] for record in run.tasks if record["task"].endswith(RESTART) and record["changed"]]


def messages(run, task):
    return " ".join(str(record["result"].get("msg")) for record in run.tasks if record["task"].endswith(task))


def test_three_runs(apply, hosts, calls):
    predicted = apply(check=True, diff=True)
    assert predicted.rc == 0, predicted.output
    assert (hosts.events(), hosts.touched(), calls().writes) == ([], [], [])
    real = apply(diff=True)
    assert real.rc == 0, real.output
    assert hosts.events() == ONE_BY_ONE and calls().writes == []
    for name in NAMES:
        assert hosts.file(name).read_text() == hosts.in_force(name) == WRITTEN
        assert not hosts.pending(name).exists()
    assert restarted(predicted) == restarted(real) == list(NAMES)
    assert predicted.changed == real.changed == 6
    # Whether an agent comes back that was not restarted is nothing that check mode could ask.
    proofs = ("is Up in CloudStack", "StorPool on the host")
    for run in (predicted, real):
        run.records = [record for record in run.records if not record["task"].endswith(proofs)]
        run.records.sort(key=lambda record: record["host"])  # whose task ends first is chance
        for record in run.records:
            record["result"].pop("backup_file", None)
    assert differences(predicted, real) == []
    again = apply()
    assert (again.rc, again.changed, hosts.events()) == (0, 0, []), again.output
    said = predicted.output + real.output + json.dumps(real.records)
    assert "815815" not in said and "ba5eba11" not in said
    # A host that lost what was declared, and one whose agent has ended.
    hosts.file("kvm12").write_text(SHIPPED)
    hosts.unit("agent-kvm13", state="failed")
    assert restarted(apply(check=True)) == ["kvm12", "kvm13"]
    run = apply()
    assert (run.rc, restarted(run)) == (0, ["kvm12", "kvm13"]), run.output
    assert hosts.events() == ["restart kvm12", "up kvm12", "restart kvm13", "up kvm13"]


@pytest.mark.parametrize("play", [{"serial": 1}, {"serial": 2}, {"max_fail_percentage": 100}])
def test_one_at_a_time_whatever_the_play_says(apply, hosts, play):
    hosts.breaks("kvm12", "silent")
    run = apply(play=play, heartbeat_up_timeout=ENOUGH)
    assert run.rc != 0
    assert hosts.events() == ["restart kvm11", "up kvm11", "restart kvm12"]
    assert hosts.touched() == ["kvm11", "kvm12"]


@pytest.mark.parametrize("how", ["restart", "crash", "again"])
def test_a_host_that_does_not_come_back_is_the_last_one_touched(apply, hosts, how):
    hosts.breaks("kvm11", how)
    # The one that is started again is Up in CloudStack when that is looked at, but it is another one.
    run = apply(heartbeat_up_timeout=ENOUGH, heartbeat_settle=2)
    assert run.rc != 0 and "kvm11" in [record["host"] for record in run.failures]
    assert [line for line in hosts.events() if line.startswith("restart")] == ["restart kvm11"]
    assert hosts.touched() == ["kvm11"]
    assert ("does not keep running" in run.output) is (how == "again")
    assert hosts.pending("kvm11").exists() is (how == "restart")


def test_a_host_that_is_not_up_stops_the_next_run_too(apply, hosts, simulator):
    hosts.breaks("kvm11", "silent")
    run = apply(heartbeat_up_timeout=ENOUGH)
    assert run.rc != 0 and f"not Up in CloudStack after {ENOUGH} s: kvm11 is Disconnected" in run.output
    assert (hosts.events(), hosts.touched()) == (["restart kvm11"], ["kvm11"])
    for check in (True, False):
        run = apply(heartbeat_up_timeout=2, check=check)
        assert run.rc != 0 and "kvm11 is Disconnected" in run.output
        assert (hosts.events(), hosts.touched()) == ([], ["kvm11"])
    hosts.breaks("kvm11", "")
    simulator.agent("kvm11", "up")
    run = apply()
    assert run.rc == 0, run.output
    assert hosts.events() == ONE_BY_ONE[2:]


@pytest.mark.parametrize("strategy", ["free", "host_pinned"])
def test_a_strategy_that_lets_hosts_run_ahead_is_refused(apply, hosts, strategy):
    run = apply(play={"strategy": strategy})
    assert run.rc != 0 and "not supported in the free strategy" in " ".join(run.output.split()), run.output
    assert (hosts.touched(), hosts.events()) == ([], [])


def test_ignored_errors_do_not_let_the_roll_out_go_on(apply, hosts):
    hosts.breaks("kvm11", "silent")
    role = {"name": "Role", "ansible.builtin.import_role": {"name": ROLE}, "vars": {**DECLARED, "heartbeat_up_timeout": ENOUGH}}
    apply(play={"roles": [], "tasks": [{**role, "ignore_errors": True}]})
    assert hosts.events() == ["restart kvm11"]
    assert hosts.touched() == ["kvm11"]


def test_a_run_that_was_cut_off_is_finished(apply, hosts):
    """Between the file and the restart: the file is right, the agent has not read it, and there is word of it."""
    one = ("--limit", "kvm11")
    run = apply(*one, heartbeat_restart="never")
    assert "has to be restarted, because its properties changed" in messages(run, "a restart is left to do")
    assert hosts.file("kvm11").read_text() == WRITTEN and hosts.in_force("kvm11") == SHIPPED
    run = apply(*one, check=True, heartbeat_restart="never")
    assert "an earlier run changed its properties" in messages(run, "left to do")
    assert hosts.events() == []
    assert restarted(apply(*one, check=True)) == ["kvm11"]
    run = apply(*one)
    assert run.rc == 0 and hosts.events() == ["restart kvm11", "up kvm11"], run.output
    assert hosts.in_force("kvm11") == WRITTEN
    assert (apply(*one).changed, hosts.events()) == (0, [])
    run = apply(*one, heartbeat_restart="always")
    assert (run.changed, hosts.events()) == (1, ["restart kvm11", "up kvm11"])


# -- what is refused, before anything is touched


@pytest.mark.parametrize("wrong", ["client", "hang", "commands"])
def test_what_is_wrong_on_one_host_stops_all(apply, hosts, simulator, wrong):
    if wrong == "client":
        simulator.client(13, "down")
        says = "kvm13: the client of node 13 is down, says storpool service list"
    elif wrong == "hang":
        hosts.storpool("kvm13", "hang")
        says = "storpool -j service list did not end within 3 s"
    else:
        hosts.storpool("kvm13", "error")
        says = "ended with status 1: storpool: could not connect to the API: Connection refused"
    run = apply(heartbeat_command_timeout=3 if wrong == "hang" else 20)
    assert run.rc != 0 and says in " ".join(run.output.split()), run.output
    assert (hosts.touched(), hosts.events()) == ([], [])


def test_storage_nodes_are_refused_unless_allowed(tmp_path, simulator, playbook):
    hosts = Hosts(tmp_path, simulator, {"hc1": 1})
    play = {"name": "Play", "hosts": "kvm", "gather_facts": False, "roles": [{"role": ROLE, "vars": DECLARED}]}
    run = playbook([play], "-i", str(hosts.inventory), env=environment(hosts))
    assert run.rc != 0 and "also runs StorPool servers" in run.output and hosts.touched() == []
    play["roles"][0]["vars"] = {**DECLARED, "heartbeat_allow_hyperconverged": True}
    run = playbook([play], "-i", str(hosts.inventory), env=environment(hosts))
    assert run.rc == 0 and hosts.touched() == ["hc1"], run.output


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        ({"storpool_heartbeat_tries": 0}, "storpool_heartbeat_tries: 0 is too little"),
        ({"storpool_heartbeat_frequency": "often"}, "storpool_heartbeat_frequency"),
        ({"heartbeat_cloudstack_host": "kvm99"}, "'kvm99' is not a host of CloudStack"),
        ({"heartbeat_properties": {"workers": [1]}}, "neither a text, a number nor a boolean"),
    ],
)
def test_what_is_declared_wrong_is_refused(apply, hosts, declared, says):
    run = apply("--limit", "kvm11", **declared)
    assert run.rc != 0 and says in run.output, run.output
    assert (hosts.touched(), hosts.events()) == ([], [])


def test_the_operator_has_to_decide_about_the_self_reboot(hosts, playbook):
    play = {"name": "Play", "hosts": "kvm", "gather_facts": False, "roles": [ROLE]}
    run = playbook([play], "-i", str(hosts.inventory), env=environment(hosts))
    assert run.rc != 0 and "missing required arguments: storpool_heartbeat_self_reboot" in run.output
    assert hosts.touched() == []


def test_other_properties_and_the_risk_of_a_self_reboot(apply, hosts):
    declared = {
        "storpool_heartbeat_self_reboot": True,
        "storpool_heartbeat_tries": 3,
        "storpool_heartbeat_retry_sleep": 7,
        "storpool_reserved_memory": 4096,
        "storpool_health_check_script": "/opt/check",
        "heartbeat_properties": {"workers": 9, "guid": None, "keystore.passphrase": "hunter2hunter2"},
    }
    run = apply("--limit", "kvm11", diff=True, **declared)
    assert run.rc == 0, run.output
    lines = hosts.in_force("kvm11").splitlines()
    expected = ["#guid=3f1c2f1e", "workers=9", "host.reserved.mem.mb=4096", "agent.health.check.script.path=/opt/check"]
    assert {*expected, f"{REBOOT}=true", "keystore.passphrase=hunter2hunter2"} <= set(lines)
    said = run.output + json.dumps(run.records)
    assert "hunter2" not in said and "keystore.passphrase=(hidden, changed)" in said
    risk = messages(run, "State the risk of a self-reboot")
    assert "Self-reboot is ON" in risk and "about 26 to 56 s later" in risk
    assert REBOOT in risk and "kvm.heartbeat.update.max.tries" in risk
    run = apply(check=True)
    assert messages(run, "State the risk of a self-reboot").count("Self-reboot is OFF") == 1
