# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A play whose tasks build on each other is predicted as a whole: check mode knows what its own earlier tasks would have made.

Every play runs in check mode with diff, for real, and again; each task's prediction is compared with what the task then does.
"""

from __future__ import annotations

import re

import pytest
from conftest import CLOUDSTACKS
from playbooks import Run
from prediction import differences, not_silent

VOLUME = "storpool.cloudstack.storpool_volume"
SNAPSHOT = "storpool.cloudstack.storpool_snapshot"
TEMPLATE = "storpool.cloudstack.storpool_template"
CACHE = "storpool.cloudstack.storpool_template_cache"


def tasks(*modules):
    """Tasks with numbers for names, of (module, options) pairs."""
    return [{"name": f"{number}", module: options} for number, (module, options) in enumerate(modules, 1)]


@pytest.fixture
def thrice(playbook, calls):
    """`thrice(tasks)` predicts, does and does again; returns the prediction and the real run."""

    def run(play, in_process=True, again=True, **more):
        calls()
        predicted = playbook(play, check=True, diff=True, in_process=in_process, **more)
        assert (predicted.rc, calls().writes) == (0, []), predicted.output
        real = playbook(play, diff=True, in_process=in_process, **more)
        assert real.rc == 0, real.output
        assert not (wrong := differences(predicted, real)), "\n".join(wrong)
        calls()
        if again:
            silent = playbook(play, diff=True, in_process=in_process, **more)
            assert silent.rc == 0 and not_silent(silent, calls().writes) == [], silent.output
        return predicted, real

    return run


@pytest.mark.parametrize(("took", "wrong"), [(40, 1), (70, 0)])
def test_times_are_compared_by_how_long_the_runs_took(took, wrong):
    """On a busy machine more than a minute may lie between a task of the check run and the same one of the real run."""

    def run(began, moment):
        record = {"task": "Snapshot", "action": SNAPSHOT, "status": "ok", "changed": True, "result": {"snapshot": {"delete_at": moment}}}
        return Run(0, "", [record], began, began + took)

    assert len(differences(run(0, 1800000000), run(took, 1800000100))) == wrong


LIFE = tasks(
    (TEMPLATE, {"name": "gold", "replication": 3, "place_all": "hdd", "place_tail": "ssd", "iops": 3000}),
    (VOLUME, {"name": "a", "size": "1G", "template": "gold", "tags": {"app": "db"}, "attach_to": [11]}),
    (SNAPSHOT, {"name": "a-1", "volume": "a", "tags": {"app": "db"}}),
    (VOLUME, {"names": ["b", "c"], "parent": "a-1", "attach_to": ["11:ro"]}),
    (VOLUME, {"name": "b", "size": "2G", "iops": 500, "attach_to": [12], "exclusive": True}),
    (SNAPSHOT, {"name": "{volume}-group", "volumes": ["b", "c"], "delete_after": "7d"}),
    (VOLUME, {"name": "b", "state": "reverted", "revert_to": "a-1", "on_attached": "detach"}),
    (VOLUME, {"name": "b", "state": "reverted", "revert_to": "b-group"}),
    (VOLUME, {"name": "d", "renamed_from": "c"}),
    (VOLUME, {"name": "d", "tags": {"owner": "web"}, "attach_to": ["11:ro"]}),
    (SNAPSHOT, {"name": "a-1", "bind": True, "tags": {"kept": "yes"}}),
    (SNAPSHOT, {"name": "a-nightly-%Y", "volume": "a", "keep_last": 1}),
    (SNAPSHOT, {"name": "a-kept", "renamed_from": "a-1"}),
    (VOLUME, {"name": "f", "parent": "a-kept"}),
    (VOLUME, {"name": "g", "renamed_from": "a"}),
    (SNAPSHOT, {"name": "a-kept", "tags": {"kept": "long"}}),
    (VOLUME, {"name": "f", "state": "absent", "keep_snapshot": {"name": "f-kept", "delete_after": "7d"}}),
    (VOLUME, {"name": "f", "parent": "f-kept"}),
    (TEMPLATE, {"name": "gold", "iops": 4000, "propagate": True}),
    (TEMPLATE, {"name": "golden", "renamed_from": "gold"}),
    (VOLUME, {"name": "b", "tags": {"seen": "yes"}}),
    (TEMPLATE, {"name": "golden", "iops": 5000, "propagate": True}),
    (VOLUME, {"name": "e", "base_on": "d", "template": "hybrid"}),
    (VOLUME, {"name": "d", "tags": {"copied": "yes"}}),
    ("storpool.cloudstack.storpool_volume_info", {"tags": {"app": "db"}, "space": True}),
    ("storpool.cloudstack.storpool_snapshot_info", {"volume": "f", "space": True}),
)


@pytest.mark.parametrize("in_process", [True, False], ids=["in the worker", "as modules"])
def test_a_life_is_foreseen(thrice, in_process):
    thrice(LIFE, in_process, again=False)  # what is renamed and deleted on the way would be made anew


BUILT = tasks(
    (TEMPLATE, {"name": "gold", "replication": 3, "place_all": "hdd"}),
    (VOLUME, {"name": "a", "size": "1G", "template": "gold", "attach_to": [11]}),
    (SNAPSHOT, {"name": "a-1", "volume": "a", "attach_to": [12]}),
    (VOLUME, {"names": ["b", "c"], "parent": "a-1", "attach_to": ["11:ro"]}),
    (SNAPSHOT, {"name": "{volume}-group", "volumes": ["b", "c"]}),
    (VOLUME, {"name": "d", "parent": "c-group", "size": "2G"}),
    (VOLUME, {"name": "d", "attach_to": [11, "12:ro"]}),
)
REMOVED = tasks(
    (VOLUME, {"names": ["a", "b", "c", "d"], "state": "absent", "on_attached": "detach"}),
    (SNAPSHOT, {"names": ["b-group", "c-group"], "state": "absent", "wait": True}),
    (SNAPSHOT, {"name": "a-1", "state": "absent", "on_attached": "detach", "wait": True}),
    (TEMPLATE, {"name": "gold", "state": "absent"}),
)


# All that needs StorPool alone, but for the one chapter in which a command damages data, of which nobody could know beforehand.
TOUR = (
    "template", "golden", "snapshot", "clones", "resize", "attach", "group_snapshot", "nightly", "retention", "rename", "delete",
    "way_back",
)  # fmt: skip


def test_the_tour_is_foreseen_as_one_run(playbook, simulator, calls, tmp_path):
    """Each chapter of the demo builds on those before it; the demo itself predicts them one by one."""
    image = tmp_path / "disk.raw"
    image.write_bytes(bytes(range(256)) * (4 << 12))
    devices = simulator.devices / "sofia-a"
    variables = {
        "demo_image": str(image), "demo_grown_size": "32M", "demo_client": 11, "demo_devices": str(devices / "11" / "storpool"),
        "demo_other_client": 12, "demo_other_devices": str(devices / "12" / "storpool"),
    }  # fmt: skip
    play = [{"import_playbook": f"storpool.cloudstack.demo_chapters.{chapter}"} for chapter in TOUR]
    predicted = playbook(play, check=True, diff=True, variables=variables)
    assert (predicted.rc, calls().writes) == (0, []), predicted.output
    real = playbook(play, diff=True, variables=variables)
    assert real.rc == 0, real.output
    assert differences(predicted, real) == [] and real.changed > len(TOUR)


def test_what_is_built_is_there_and_what_is_removed_is_not_in_the_way(thrice):
    thrice(BUILT)
    thrice(REMOVED)


BACKED_UP = tasks(
    (VOLUME, {"names": ["a", "b"], "size": "1G", "template": "nvme"}),
    (SNAPSHOT, {"name": "{volume}-1", "volume": "a", "backup_to": "plovdiv", "tags": {"why": "test"}}),
    (SNAPSHOT, {"name": "{volume}-1", "volume": "a", "backup_to": "plovdiv", "tags": {"why": "test"}}),
    (SNAPSHOT, {"name": "both", "volumes": ["a", "b"], "backup_to": "plovdiv"}),
    (SNAPSHOT, {"name": "series-%Y", "volume": "b", "backup_to": "plovdiv", "keep_last": 1}),
    (SNAPSHOT, {"name": "series-%Y", "volume": "b", "backup_to": "plovdiv", "keep_last": 1, "state": "pruned"}),
    (SNAPSHOT, {"name": "both", "volumes": ["a", "b"], "backup_to": "plovdiv", "state": "absent"}),
    ("storpool.cloudstack.storpool_snapshot_info", {"remote": True}),
    (SNAPSHOT, {"name": "both", "volumes": ["a", "b"], "backup_to": "plovdiv"}),
)


def test_backups_in_another_location_are_foreseen(thrice):
    predicted, _real = thrice(BACKED_UP, again=False)
    assert [predicted.record(f"{number}")["changed"] for number in range(1, 10)] == [1, 1, 0, 1, 1, 0, 1, 0, 1]


@pytest.fixture(params=["StorPool alone", "beside CloudStack"])
def storpool(request, simulator):
    """The environment of a playbook that knows StorPool alone, or a CloudStack too."""
    if request.param == "beside CloudStack":
        nowhere = "http://127.0.0.1:9/client/api"
        return {"CLOUDSTACK_ENDPOINT": nowhere, "CLOUDSTACK_KEY": "k", "CLOUDSTACK_SECRET": "s"}
    return {}


def test_images_are_foreseen(thrice, simulator, tmp_path, storpool):
    """With what is made of their snapshots."""
    image = tmp_path / "golden.raw"
    image.write_bytes(b"image" * 1000)
    where = {"format": "raw", "client": 11, "device_directory": f"{simulator.devices}/sofia-a/11/storpool"}
    golden = {"name": "golden", "image": str(image), **where}
    play = tasks(
        (CACHE, {**golden, "template": "nvme", "tags": {"os": "none"}}),
        (CACHE, {**golden, "template": "nvme"}),
        (CACHE, {**golden, "name": "plain"}),
        (VOLUME, {"names": ["a", "b"], "parent": "golden", "attach_to": [12]}),
        (VOLUME, {"name": "c", "parent": "plain", "size": "1G"}),
        (VOLUME, {"name": "a", "state": "reverted", "revert_to": "golden"}),
        (CACHE, {**golden, "template": "hdd", "tags": {"os": "some"}}),
        (VOLUME, {"name": "d", "parent": "golden"}),
        ("storpool.cloudstack.storpool_snapshot_info", {"names": ["golden", "plain"]}),
        (CACHE, {**golden, "state": "absent"}),
        (CACHE, {**golden, "template": "hdd"}),
    )
    predicted, _real = thrice(play, again=False, env=storpool)
    assert [predicted.record(f"{number}")["changed"] for number in range(1, 12)] == [1, 0, 1, 1, 1, 0, 1, 1, 0, 1, 1]


def test_a_name_that_will_be_taken_is_taken(playbook):
    run = playbook(tasks((VOLUME, {"name": "a", "size": "1G", "template": "nvme"}), (SNAPSHOT, {"name": "a", "volume": "a"})), check=True)
    assert run.rc == 2 and "a volume is called a" in run.output


A = (VOLUME, {"name": "a", "size": "1G", "template": "nvme"})


# What is there before, the task, what it says of a client or placement group that there is not.
REFUSED = [
    ([], (VOLUME, {"name": "b", "size": "1G", "template": "nvme", "attach_to": [99]}), "attach_to of [a-z]: .?99.? is no client"),
    ([A], (VOLUME, {"name": "a", "attach_to": [11, "99:ro"]}), "attach_to of [a-z]: .?99.? is no client"),
    ([A], (SNAPSHOT, {"name": "s", "volume": "a", "attach_to": [99]}), "attach_to of [a-z]: .?99.? is no client"),
    ([A], (VOLUME, {"name": "a", "place_tail": "tape"}), "place_tail of [a-z]: .tape. is no placement group"),
    ([], (VOLUME, {"name": "b", "size": "1G", "place_all": "tape"}), "place_all of [a-z]: .tape. is no placement group"),
    ([A, (SNAPSHOT, {"name": "s", "volume": "a"})], (SNAPSHOT, {"name": "s", "place_all": "tape"}), "place_all of s: .tape. is no"),
    ([], (TEMPLATE, {"name": "t", "replication": 3, "place_all": "tape"}), "place_all of [a-z]: .tape. is no placement group"),
]


@pytest.mark.parametrize(("before", "task", "says"), REFUSED)
def test_what_the_server_will_refuse_is_refused(run_module, calls, before, task, says):
    for module, options in before:
        assert not run_module(module.rpartition(".")[2], **options).get("failed")
    calls()
    check = run_module(task[0].rpartition(".")[2], check=True, **task[1])
    assert check["failed"] and re.search(says, check["msg"]) and calls().writes == [], check
    assert run_module(task[0].rpartition(".")[2], **task[1])["failed"]


def test_it_is_refused_also_of_what_is_foreseen(playbook):
    made = [A, (SNAPSHOT, {"name": "s", "volume": "a"})]
    run = playbook([{**task, "ignore_errors": True} for task in tasks(*made, *(task for _before, task, _says in REFUSED))], check=True)
    assert [record["status"] for record in run.tasks] == ["ok", "ok", *["failed"] * len(REFUSED)], run.output
    for record, (_before, _task, says) in zip(run.tasks[2:], REFUSED, strict=True):
        assert re.search(says, record["result"]["msg"])


def test_a_client_that_has_something_attached_needs_no_look(run_module, do, calls):
    """What is attached as declared takes no read more in check mode either."""
    do("VolumeCreate", {"name": "a", "size": 1 << 30, "template": "nvme"})
    do("VolumesReassignWait", {"reassign": [{"volume": "a", "rw": [11], "ro": [12]}]})
    calls()
    for clients in ([11, "12:ro"], ["12:rw", "11:ro"]):
        assert not run_module("storpool_volume", check=True, name="a", attach_to=clients).get("failed")
        assert calls().reads == ["Volume", "AttachmentsList"]


@pytest.mark.parametrize("where", ["task", "block"])
def test_a_task_that_only_looks_is_not_built_upon(playbook, calls, where):
    """It says check_mode: true itself, so the real run does not make the volume either."""
    look, use = tasks((VOLUME, {"name": "a", "size": "1G", "template": "nvme"}), (SNAPSHOT, {"name": "s", "volume": "a"}))
    play = [{**look, "check_mode": True} if where == "task" else {"name": "Look", "block": [look], "check_mode": True}, use]
    for check in (True, False):
        run = playbook(play, check=check)
        assert run.rc == 2 and "is no volume of this cluster" in run.output, run.output
    assert calls().writes == []


def test_a_run_starts_from_what_is_there(playbook):
    """Nothing of one check run is known to the next, and ids are not made up where a person would see them."""
    make, use = tasks((VOLUME, {"name": "a", "size": "1G", "template": "nvme"}), (SNAPSHOT, {"name": "s", "volume": "a"}))
    first = playbook([make, use], check=True, diff=True)
    assert first.rc == 0 and "foreseen.id" not in first.output + str(first.records)
    assert playbook([use], check=True).rc == 2


NEWEST = pytest.mark.parametrize("cloud", CLOUDSTACKS[-1:], indirect=True)  # for what is the same with all


# -- where it is kept


@NEWEST
@pytest.mark.parametrize("in_process", [True, False], ids=["in the worker", "as modules"])
def test_what_is_kept_has_no_secret_and_is_nobody_elses(playbook, cloud, tmp_path, in_process):
    """A file of the controller's user alone, which goes with the run."""
    pool_token, endpoint_token, mark = cloud.token, "815815815815815815", "Marked-7391"
    endpoint = f"SP_API_HTTP=10.0.0.1:81;SP_AUTH_TOKEN={endpoint_token};SP_TEMPLATE=nvme"
    host = next({"host": name, "oobm_address": one["bmc"]} for name, one in cloud.hosts().items() if name == "kvm11")
    pool = {"name": "second", "zone": "sofia", "template": "hdd", "pool_auth_token": pool_token}
    play = tasks(
        (f"{CLOUD}storage_pool", pool),
        (f"{CLOUD}storage_pool", {**pool, "tags": ["fast"]}),
        (f"{CLOUD}settings", {"name": "sp.alternative.endpoint", "value": endpoint, "storage_pool": "second"}),
        (f"{CLOUD}settings", {"name": "alert.smtp.password", "value": mark}),
        (f"{CLOUD}settings", {"name": "alert.email.addresses", "value": mark, "secret": True}),
        (f"{CLOUD}settings", {"name": "alert.email.addresses", "secret": True, "state": "default"}),
        (HA, {**host, "oobm_username": "ADMIN", "oobm_password": mark, "sp_node_ids": NODES}),
        (CACHE, {"name": "debian-12", "zone": "sofia", "pools": ["second"]}),
        (VOLUME, {"name": "v", "size": "1G", "sp_auth_token": cloud.token}),
    )
    kept, shown = tmp_path / "kept", tmp_path / "local"
    look = f"stat -c %a {shown}/*/storpool-foreseen > {kept} && cat {shown}/*/storpool-foreseen >> {kept}"
    play.append({"name": "Look", "ansible.builtin.shell": look, "check_mode": False})
    run = playbook(play, check=True, diff=True, in_process=in_process, env={"ANSIBLE_LOCAL_TEMP": str(shown)})
    assert run.rc == 0, run.output
    mode, _newline, text = kept.read_text().partition("\n")
    assert mode == "600"
    assert all(word in text for word in ("second", "kvm11", "debian-12", "StorPool")), "it is what the tasks have entered"
    for secret in (pool_token, endpoint_token, mark, cloud.cloudstack["secret"], cloud.cloudstack["key"]):
        assert secret not in text
        assert secret not in run.output + str(run.records)
    assert list(shown.rglob("*foreseen*")) == []


# -- through CloudStack

CLOUD = "storpool.cloudstack.cloudstack_"
SYSTEM = "Debian GNU/Linux 12 (64-bit)"


@pytest.fixture(params=[CLOUDSTACKS[0], CLOUDSTACKS[-1]])
def cloud(request, cloud_of):
    """The oldest and the newest CloudStack, between which lies all that is foreseen differently."""
    return cloud_of(request.param)


@pytest.fixture
def db1(cloud):
    """A VM of which snapshots can be taken while it runs."""
    cloud.cs("updateConfiguration", name="kvm.snapshot.enabled", value="true")
    cloud.restart_server()
    return cloud.deploy("db1")


@pytest.fixture
def simulator(request):
    """CloudStack's for the tests that take one, else StorPool alone."""
    return request.getfixturevalue("cloud" if "cloud" in request.fixturenames else "sim")


SECOND = (f"{CLOUD}storage_pool", {"name": "second", "zone": "sofia", "template": "hdd", "tags": ["second"]})
POOLS = tasks(
    SECOND,
    (f"{CLOUD}storage_pool", {"name": "second", "zone": "sofia", "tags": ["second", "more"]}),
    (f"{CLOUD}offering", {"name": "on second", "storage_tags": ["second"]}),
    (
        f"{CLOUD}volume",
        {"zone": "sofia", "size": "1G", "volumes": [{"name": name, "offering": "on second"} for name in ("p", "q")]},
    ),
    (f"{CLOUD}volume", {"name": "p", "vm": "db1"}),
    (f"{CLOUD}volume", {"name": "p", "storage_pool": "second"}),
    (f"{CLOUD}volume", {"name": "q", "vm": "db1", "storage_pool": "second"}),
    (f"{CLOUD}volume", {"name": "p", "storage_pool": "storpool-nvme"}),
    (f"{CLOUD}snapshot", {"volume": "q", "name": "s1"}),
    (f"{CLOUD}volume", {"name": "r", "zone": "sofia", "snapshot": "s1", "offering": "on second"}),
    (f"{CLOUD}volume", {"name": "r", "storage_pool": "second"}),
    ("storpool.cloudstack.storpool_volume_info", {"tags": {"cs": "volume"}, "fields": ["size", "template", "iops"]}),
)


@NEWEST
def test_the_pool_of_a_first_attachment_is_foreseen(thrice, db1):
    """When the tags of the offering leave one; p is on it before it is declared to be, and moves from there."""
    predicted, _real = thrice(POOLS, again=False)
    assert [predicted.record(f"{number}")["changed"] for number in (6, 7, 8, 11)] == [False, True, True, False]


@NEWEST
def test_a_pool_that_cloudstack_will_choose_is_not_known(playbook, db1):
    """It may be the declared one; check mode says so."""
    play = tasks(
        SECOND,
        (f"{CLOUD}volume", {"name": "p", "zone": "sofia", "size": "1G", "offering": "Custom", "vm": "db1"}),
        (f"{CLOUD}volume", {"name": "p", "storage_pool": "second"}),
    )
    run = playbook(play, check=True)
    assert run.rc == 0 and "CloudStack chooses its pool then" in "".join(run.result("3")["warnings"]), run.output


@NEWEST
def test_settings_of_a_foreseen_pool(thrice, db1):
    """A new pool has the global values, whatever another pool has of its own."""
    own, other = "storpool.delete.after.interval", "sp.enable.alternative.endpoint"
    assert db1
    play = tasks(
        (f"{CLOUD}settings", {"settings": [{"name": other, "value": True, "storage_pool": "storpool-nvme"}]}),
        SECOND,
        (f"{CLOUD}settings", {"settings": [{"name": own, "value": 60, "storage_pool": "second"}]}),
        (
            f"{CLOUD}settings",
            {"storage_pool": "second", "settings": [{"name": own, "value": 60}, {"name": other, "value": False}]},
        ),
        (f"{CLOUD}storage_pool", {"name": "third", "renamed_from": "second"}),
        (f"{CLOUD}settings", {"name": own, "storage_pool": "third", "state": "default"}),
        (f"{CLOUD}settings", {"name": own, "storage_pool": "third", "value": 3}),
    )
    thrice(play, again=False)


CACHED = tasks(
    (f"{CLOUD}volume", {"name": "a", "zone": "sofia", "size": "1G", "offering": "Custom", "vm": "db1"}),
    (f"{CLOUD}snapshot", {"volume": "a", "name": "s1"}),
    (f"{CLOUD}template", {"name": "t1", "zone": "sofia", "snapshot": "s1", "volume": "a", "os_type": SYSTEM}),
    (f"{CLOUD}template", {"name": "t1", "zone": "sofia", "snapshot": "s1", "volume": "a"}),
    (CACHE, {"name": "t1", "zone": "sofia", "pools": ["storpool-nvme"]}),
    (CACHE, {"name": "t1", "zone": "sofia", "pools": ["storpool-nvme"]}),
    SECOND,
    (CACHE, {"names": ["t1", "rocky-9"], "zone": "sofia"}),
    (CACHE, {"filter": {"name": ["t?", "rocky-*"]}, "zone": "sofia"}),
    (CACHE, {"names": ["t1", "rocky-9"], "zone": "sofia", "state": "absent"}),
    (f"{CLOUD}template", {"name": "t1", "zone": "sofia", "state": "absent"}),
    (CACHE, {"filter": {"name": ["t?", "rocky-*"]}, "zone": "sofia"}),
)


def test_caches_of_foreseen_templates_on_foreseen_pools(thrice, db1):
    assert db1
    thrice(CACHED, again=False)


@NEWEST
def test_what_belongs_to_a_project_is_foreseen_there(thrice, cloud):
    """And does not stand in the way of what has the same name outside."""
    project = cloud.cs_job("createProject", name="web", displaytext="Web")["jobresult"]["project"]["id"]
    cloud.cs("updateConfiguration", name="kvm.snapshot.enabled", value="true")
    cloud.restart_server()
    cloud.deploy("web1", projectid=project)
    web = {"project": "web", "zone": "sofia"}
    play = tasks(
        (f"{CLOUD}volume", {**web, "name": "a", "size": "1G", "offering": "Custom", "vm": "web1"}),
        (f"{CLOUD}volume", {"zone": "sofia", "name": "a", "size": "2G", "offering": "Custom"}),
        (f"{CLOUD}volume", {**web, "name": "a", "vm": "web1"}),
        (f"{CLOUD}snapshot", {**web, "volume": "a", "name": "s1"}),
        (f"{CLOUD}snapshot", {**web, "volume": "a", "name": "s1"}),
        (f"{CLOUD}volume", {**web, "name": "b", "snapshot": "s1"}),
        (f"{CLOUD}vm_snapshot", {**web, "vm": "web1", "name": "v1"}),
        (f"{CLOUD}vm_snapshot", {**web, "vm": "web1", "name": "v1"}),
        (f"{CLOUD}template", {**web, "name": "t1", "snapshot": "s1", "volume": "a", "os_type": SYSTEM}),
        (f"{CLOUD}template", {**web, "name": "t1", "snapshot": "s1", "volume": "a", "os_type": SYSTEM}),
        (f"{CLOUD}vm_snapshot", {**web, "vm": "web1", "name": "v1", "state": "absent"}),
        (f"{CLOUD}volume", {**web, "names": ["a", "b"], "state": "absent", "on_attached": "detach"}),
        (f"{CLOUD}volume", {"zone": "sofia", "name": "a", "size": "2G", "offering": "Custom"}),
    )
    predicted, _real = thrice(play, again=False)
    changed = [predicted.record(f"{number}")["changed"] for number in range(1, 14)]
    assert changed == [1, 1, 0, 1, 0, 1, 1, 0, 1, 0, 1, 1, 0]


HA = "storpool.cloudstack.storpool_ha"
NODES = {"kvm11": 11, "kvm12": 12, "kvm13": 13}


@pytest.fixture
def hosts(cloud):
    """What is declared of the hosts, whose cluster has HA turned off."""
    cluster = cloud.cs("listClusters", name="kvm1")[1]["cluster"][0]["id"]
    for what in ("HA", "OutOfBandManagement"):
        assert cloud.cs_job(f"disable{what}ForCluster", clusterid=cluster)["jobstatus"] == 1
    entries = [{"host": name, "oobm_address": host["bmc"]} for name, host in cloud.hosts().items() if name in ("kvm11", "kvm12")]
    return {"hosts": entries, "oobm_username": "ADMIN", "oobm_password": "bmc-secret", "sp_node_ids": NODES, "wait_timeout": "120"}


@NEWEST
def test_host_ha_is_foreseen(thrice, hosts):
    """With what storpool_ha_info then says of the hosts."""
    look = (f"{HA}_info", {"zone": "sofia", "sp_node_ids": NODES})
    play = tasks(
        (HA, hosts),
        look,
        SECOND,
        (HA, {"host": "kvm11", "sp_node_ids": NODES}),
        (HA, {"host": "kvm12", "sp_node_ids": NODES, "oobm_port": 624, "oobm_password": "bmc-secret", "wait_timeout": "120"}),
        (HA, {"host": "kvm11", "sp_node_ids": NODES, "state": "disabled"}),
        (HA, {"host": "kvm12", "sp_node_ids": NODES, "state": "absent"}),
        look,
        (HA, {"hosts": [{"host": name} for name in ("kvm11", "kvm12")], "sp_node_ids": NODES, "state": "absent"}),
        (HA, {"host": "kvm11", "sp_node_ids": NODES, "wait_timeout": "120"}),
        look,
    )
    predicted, _real = thrice(play, again=False)
    assert [predicted.record(f"{number}")["changed"] for number in range(1, 12)] == [1, 0, 1, 0, 1, 1, 1, 0, 1, 1, 0]
    assert "bmc-secret" not in predicted.output + str(predicted.records)


MADE = tasks(
    (TEMPLATE, {"name": "gold", "replication": 3, "place_all": "nvme"}),
    (f"{CLOUD}storage_pool", {"name": "second", "zone": "sofia", "template": "gold", "tags": ["second"]}),
    (f"{CLOUD}offering", {"offerings": [{"name": "silver", "max_iops": 1000}, {"name": "open", "custom_iops": True}]}),
    (f"{CLOUD}offering", {"name": "second", "storage_tags": ["second"], "custom_iops": True}),
    (f"{CLOUD}offering", {"name": "silver", "display_text": "Silver"}),
    (f"{CLOUD}settings", {"settings": [{"name": "storage.cleanup.interval", "value": 1000}]}),
    (CACHE, {"name": "debian-12", "zone": "sofia", "pools": ["storpool-nvme"]}),
    (CACHE, {"name": "debian-12", "zone": "sofia", "pools": ["storpool-nvme", "second"]}),
    (
        f"{CLOUD}volume",
        {"zone": "sofia", "size": "1G", "volumes": [{"name": "a", "offering": "silver"}, {"name": "b", "offering": "Custom"}]},
    ),
    (f"{CLOUD}volume", {"name": "a", "vm": "db1"}),
    (f"{CLOUD}volume", {"name": "b", "vm": "db1"}),
    (f"{CLOUD}snapshot", {"volume": "a", "name": "s1"}),
    (f"{CLOUD}snapshot", {"volume": "a", "name": "s1", "backup": True}),
    (f"{CLOUD}volume", {"name": "c", "zone": "sofia", "snapshot": "s1"}),
    (f"{CLOUD}template", {"name": "t1", "zone": "sofia", "snapshot": "s1", "volume": "a", "os_type": SYSTEM}),
    (f"{CLOUD}snapshot_policy", {"volume": "a", "policies": [{"interval": "daily", "schedule": "10:00", "keep": 3}]}),
    (f"{CLOUD}snapshot_policy", {"volume": "a", "policies": [{"interval": "hourly", "schedule": "10", "keep": 3}]}),
    (f"{CLOUD}vm_snapshot", {"vm": "db1", "name": "v1"}),
    (f"{CLOUD}vm_snapshot", {"vm": "db1", "name": "v1", "description": ""}),
)


CHANGED = tasks(
    (f"{CLOUD}vm_snapshot", {"vm": "db1", "name": "v1", "state": "reverted", "stop_vm": True}),
    (f"{CLOUD}vm_snapshot", {"vm": "db1", "name": "v2"}),
    (f"{CLOUD}vm_snapshot", {"vm": "db1", "name": "v2", "state": "reverted", "stop_vm": True}),
    (f"{CLOUD}vm_snapshot", {"vm": "db1", "name": "v1", "state": "reverted", "stop_vm": True}),
    (f"{CLOUD}vm_snapshot", {"vm_snapshots": [{"vm": "db1", "name": "v1"}, {"vm": "db1", "name": "v2"}], "state": "absent"}),
    (f"{CLOUD}volume", {"name": "a", "size": "2G"}),
    (f"{CLOUD}volume", {"name": "a", "offering": "open", "max_iops": 700}),
    (f"{CLOUD}volume", {"name": "a", "max_iops": 900}),
    (f"{CLOUD}volume", {"name": "b", "storage_pool": "second"}),
    (f"{CLOUD}volume", {"name": "b", "vm": ""}),
    (f"{CLOUD}volume", {"name": "beta", "renamed_from": "b", "vm": "db1"}),
    (f"{CLOUD}snapshot", {"volume": "a", "name": "s2"}),
    (f"{CLOUD}snapshot", {"volume": "a", "name": "s2", "state": "reverted"}),
    (f"{CLOUD}snapshot", {"volume": "a", "name": "s1", "state": "reverted", "stop_vm": True}),
    (f"{CLOUD}offering", {"name": "open", "details": {"a": "b"}}),
    (f"{CLOUD}offering", {"name": "open", "details": {"a": None}}),
    (f"{CLOUD}storage_pool", {"name": "third", "renamed_from": "second"}),
    (f"{CLOUD}volume", {"name": "beta", "storage_pool": "third"}),
    (f"{CLOUD}offering", {"name": "opened", "renamed_from": "open"}),
    (f"{CLOUD}volume", {"name": "alpha", "renamed_from": "a", "size": "2G"}),  # the revert has left StorPool with that
    (f"{CLOUD}volume", {"name": "alpha", "offering": "opened", "max_iops": 900}),
    (f"{CLOUD}snapshot", {"volume": "alpha", "name": "s1"}),
    (f"{CLOUD}template", {"name": "t2", "zone": "sofia", "snapshot": "s1", "volume": "alpha", "os_type": SYSTEM}),
    (f"{CLOUD}volume", {"name": "a", "renamed_from": "alpha"}),
    (f"{CLOUD}storage_pool", {"name": "third", "state": "disabled"}),
    (f"{CLOUD}storage_pool", {"name": "third", "state": "enabled"}),
)
REMOVED_AGAIN = tasks(
    (f"{CLOUD}snapshot_policy", {"volume": "a", "state": "absent"}),
    (f"{CLOUD}template", {"templates": [{"name": "t1"}, {"name": "t2"}], "zone": "sofia", "state": "absent"}),
    (f"{CLOUD}volume", {"names": ["beta", "c"], "state": "absent", "on_attached": "detach"}),
    (f"{CLOUD}snapshot", {"snapshots": [{"volume": "a", "name": "s1"}, {"volume": "a", "name": "s2"}], "state": "absent"}),
    (f"{CLOUD}volume", {"name": "a", "state": "absent", "on_attached": "detach"}),
    (f"{CLOUD}offering", {"names": ["silver", "opened", "second"], "state": "absent"}),
    (f"{CLOUD}settings", {"settings": [{"name": "storage.cleanup.interval"}], "state": "default"}),
)


@pytest.mark.timeout(1800)  # 51 tasks, three runs
def test_what_cloudstack_would_have_is_foreseen(thrice, db1):
    thrice(MADE)
    thrice(CHANGED, again=False)  # what is moved to and fro on the way would be so again
    thrice(REMOVED_AGAIN)
