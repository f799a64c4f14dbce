# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What belongs to projects: made in them, found in them, and another object than what has the same name outside of them.

The project `web` has a VM `db1` with a volume `data`, and so has the account that asks.
"""

from __future__ import annotations

import subprocess

import pytest
from storpool_simulator.testing import address

VERSION = "4.22.0"
VOLUME, SNAPSHOT, POLICY = "cloudstack_volume", "cloudstack_snapshot", "cloudstack_snapshot_policy"
VM_SNAPSHOT, TEMPLATE, CACHE = "cloudstack_vm_snapshot", "cloudstack_template", "storpool_template_cache"
NEW = {"zone": "sofia", "offering": "Custom", "size": "1G"}
HOURLY = {"interval": "hourly", "schedule": "05", "keep": 3}
SYSTEM = "Debian GNU/Linux 12 (64-bit)"


@pytest.fixture
def simulator(cloud_of, request):
    """Of the newest release, unless the test names others."""
    return cloud_of(getattr(request, "param", VERSION))


@pytest.fixture
def project(simulator):
    """`project(name, **more)` makes a project, and gives its id."""

    def make(name, **more):
        return simulator.cs_job("createProject", name=name, displaytext=name, **more)["jobresult"]["project"]["id"]

    return make


@pytest.fixture
def web(project):
    return project("web")


@pytest.fixture
def machines(simulator, web):
    """The VMs `db1`, by project; both are stopped."""
    found = {"web": simulator.deploy("db1", projectid=web), None: simulator.deploy("db1")}
    for machine in found.values():
        simulator.cs_job("stopVirtualMachine", id=machine["id"])
    return found


@pytest.fixture
def data(machines, run_module):
    """The ids of the volumes `data`, by project."""
    found = {}
    for name in machines:
        made = run_module(VOLUME, name="data", vm="db1", project=name, **NEW)
        assert made["changed"], made
        found[name] = made["volumes"][0]["object"]["id"]
    return found


@pytest.fixture
def rows(simulator, web):
    """`rows(call, key, project)` is what CloudStack lists of the project, or outside of projects."""

    def listed(call, key, project, **more):
        where = {"projectid": web} if project else {}
        return simulator.cs(call, listall=True, **where, **more)[1].get(key, [])

    return listed


def only(result, key):
    (entry,) = result[key]
    return entry


BOTH = pytest.mark.parametrize("inside", ["web", None])


@BOTH
def test_volumes(three_runs, run_module, simulator, machines, rows, inside):
    """Made, attached, changed and deleted in one place; what has its name in the other stays what it was."""
    outside = None if inside else "web"
    other = only(run_module(VOLUME, name="data", vm="db1", project=outside, **NEW), "volumes")["object"]
    made = only(three_runs(VOLUME, name="data", vm="db1", project=inside, **NEW), "volumes")
    assert made["actions"] == ["create", "attach"] and made["object"]["id"] != other["id"]
    assert (made["object"]["project"], made["object"]["account"]) == (inside, None if inside else "admin")
    there = [one for one in rows("listVolumes", "volume", inside) if one["name"] == "data"]
    assert [(one["id"], one["virtualmachineid"]) for one in there] == [(made["object"]["id"], machines[inside]["id"])]
    assert made["storpool"]["tags"]["cvm"] == machines[inside]["id"]
    grown = only(three_runs(VOLUME, name="data", size="2G", project=inside), "volumes")
    assert (grown["actions"], grown["object"]["id"], grown["storpool"]["size"]) == (["resize"], made["object"]["id"], 2 << 30)
    three_runs(VOLUME, name="renamed", renamed_from="data", project=inside)
    gone = only(three_runs(VOLUME, name="renamed", state="absent", on_attached="detach", project=inside), "volumes")
    assert gone["actions"] == ["detach", "delete"]
    (left,) = [one for one in rows("listVolumes", "volume", outside) if one["name"] == "data"]
    assert (left["id"], left["size"], left["virtualmachineid"]) == (other["id"], 1 << 30, machines[outside]["id"])
    assert simulator.get(f"Volume/{address(left)}")[0] == 200


@BOTH
def test_volumes_from_snapshots(three_runs, run_module, data, rows, inside):
    """The snapshot is that of the same project; both have the same name."""
    taken = {}
    for project, identity in data.items():
        taken[project] = only(run_module(SNAPSHOT, volume=identity, name="s", project=project), "snapshots")["object"]["id"]
    made = only(three_runs(VOLUME, name="copy", snapshot="s", project=inside, **NEW), "volumes")["object"]
    (row,) = rows("listVolumes", "volume", inside, id=made["id"])
    assert row["snapshotid"] == taken[inside] and row.get("project") == inside


def test_vm_snapshots_of_a_project_forbid_what_they_forbid(run_module, data, calls):
    """They are seen when it is planned: nothing is begun."""
    assert run_module(VOLUME, name="more", project="web", **NEW)["changed"]
    assert run_module(VM_SNAPSHOT, vm="db1", name="before", project="web")["changed"]
    calls()
    refused = run_module(VOLUME, name="more", vm="db1", project="web")
    assert refused["failed"] and "VM snapshots" in refused["msg"] and calls().writes == []


@BOTH
def test_snapshots(three_runs, run_module, data, rows, inside):
    outside = None if inside else "web"
    other = only(run_module(SNAPSHOT, volume="data", name="s", project=outside), "snapshots")["object"]["id"]
    made = only(three_runs(SNAPSHOT, volume="data", name="s", project=inside), "snapshots")
    assert made["actions"] == ["create"] and made["storpool"]["tags"]["uuid"] == made["object"]["id"] != other
    assert (made["object"]["project"], made["object"]["account"]) == (inside, None if inside else "admin")
    (row,) = rows("listSnapshots", "snapshot", inside)
    assert (row["id"], row["volumeid"], row.get("project")) == (made["object"]["id"], data[inside], inside)
    three_runs(SNAPSHOT, volume="data", name="s", state="absent", project=inside)
    assert [one["id"] for one in rows("listSnapshots", "snapshot", outside)] == [other] and not rows("listSnapshots", "snapshot", inside)


def test_snapshots_are_reverted_and_thinned_out(three_runs, run_module, simulator, data, rows):
    volume = {one["id"]: address(one) for one in rows("listVolumes", "volume", "web")}[data["web"]]
    simulator.write(volume, b"1" * 4096)
    content = simulator.content(volume)["sha256"]
    for day in ("20261101", "20261102"):
        assert run_module(SNAPSHOT, volume="data", name=f"nightly-{day}", project="web")["changed"]
        simulator.advance(2)
    simulator.write(volume, b"2" * 4096)
    reverted = only(three_runs(SNAPSHOT, volume="data", name="nightly-20261102", state="reverted", project="web"), "snapshots")
    assert reverted["actions"] == ["revert"] and simulator.content(volume)["sha256"] == content
    pruned = only(three_runs(SNAPSHOT, volume="data", name="nightly-%Y%m%d", state="pruned", keep_last=1, project="web"), "snapshots")
    assert pruned["retention"]["deleted"] == ["nightly-20261101"]


def test_a_volume_of_a_vm_with_vm_snapshots_is_not_reverted(run_module, simulator, data, rows, calls):
    assert run_module(SNAPSHOT, volume="data", name="s", project="web")["changed"]
    volume = {one["id"]: address(one) for one in rows("listVolumes", "volume", "web")}[data["web"]]
    simulator.write(volume, b"2" * 4096)
    assert run_module(VM_SNAPSHOT, vm="db1", name="before", project="web")["changed"]
    calls()
    refused = run_module(SNAPSHOT, volume="data", name="s", state="reverted", project="web")
    assert refused["failed"] and "VM snapshots" in refused["msg"] and calls().writes == []


@pytest.mark.parametrize(
    ("simulator", "inside", "many"),
    [("4.21.0", "web", False), (VERSION, "web", False), (VERSION, "web", True), (VERSION, None, True)],
    indirect=["simulator"],
)
def test_snapshot_policies(three_runs, run_module, data, inside, many):
    """From 4.22 on policies are listed of all volumes, and like other things those of projects by themselves."""
    outside = None if inside else "web"
    names = ["data", "log"] if many else ["data"]
    if many:
        for project in (inside, outside):
            assert run_module(VOLUME, name="log", vm="db1", project=project, **NEW)["changed"]
    assert run_module(POLICY, volume="data", policies=[{**HOURLY, "keep": 5}], project=outside)["changed"]
    made = three_runs(POLICY, volumes=names, policies=[HOURLY], project=inside)
    assert [one["actions"] for one in made["snapshot_policies"]] == [["create hourly"]] * len(names)
    assert made["snapshot_policies"][0]["object"]["id"] == data[inside]
    three_runs(POLICY, volumes=names, state="absent", project=inside)
    again = run_module(POLICY, volume="data", policies=[{**HOURLY, "keep": 5}], project=outside)
    assert again["changed"] is False


def test_vm_snapshots(three_runs, run_module, simulator, data, rows):
    other = only(run_module(VM_SNAPSHOT, vm="db1", name="before", project=None), "vm_snapshots")["object"]["id"]
    volume = {one["id"]: address(one) for one in rows("listVolumes", "volume", "web")}[data["web"]]
    simulator.write(volume, b"1" * 4096)
    content = simulator.content(volume)["sha256"]
    made = only(three_runs(VM_SNAPSHOT, vm="db1", name="before", project="web"), "vm_snapshots")
    assert made["actions"] == ["create"] and len(made["storpool"]["snapshots"]) == 2 and made["storpool"]["consistent"] is True
    (row,) = rows("listVMSnapshot", "vmSnapshot", "web")
    assert row["id"] == made["object"]["id"] != other and row.get("project") == "web"
    simulator.write(volume, b"2" * 4096)
    reverted = only(three_runs(VM_SNAPSHOT, vm="db1", name="before", state="reverted", project="web"), "vm_snapshots")
    assert reverted["actions"] == ["revert"] and simulator.content(volume)["sha256"] == content
    three_runs(VM_SNAPSHOT, vm="db1", name="before", state="absent", project="web")
    assert [one["id"] for one in rows("listVMSnapshot", "vmSnapshot", None)] == [other]


def test_vm_snapshots_of_several_owners_in_one_task(three_runs, data, rows):
    items = [{"vm": "db1", "project": "web"}, {"vm": "db1"}]
    made = three_runs(VM_SNAPSHOT, vm_snapshots=items, name="before")
    assert [one["actions"] for one in made["vm_snapshots"]] == [["create"], ["create"]]
    assert len(rows("listVMSnapshot", "vmSnapshot", "web")) == len(rows("listVMSnapshot", "vmSnapshot", None)) == 1


@BOTH
def test_templates(three_runs, run_module, data, rows, inside):
    """The listing that an admin gets of all templates goes by no project and no account; the module does."""
    outside = None if inside else "web"
    for project in data:
        assert run_module(SNAPSHOT, volume="data", name="s", project=project)["changed"]
    wanted = {"name": "model", "zone": "sofia", "snapshot": "s", "os_type": SYSTEM}
    other = only(run_module(TEMPLATE, project=outside, **wanted), "templates")["object"]["id"]
    made = only(three_runs(TEMPLATE, project=inside, **wanted), "templates")
    assert made["actions"] == ["create"] and made["object"]["id"] != other
    assert (made["object"]["project"], made["object"]["account"]) == (inside, None if inside else "admin")
    (row,) = rows("listTemplates", "template", inside, templatefilter="self", name="model")
    assert (row["id"], row.get("project"), row.get("account")) == (made["object"]["id"], inside, None if inside else "admin")
    three_runs(TEMPLATE, name="model", state="absent", project=inside)
    (left,) = rows("listTemplates", "template", outside, templatefilter="self", name="model")
    assert left["id"] == other


def test_templates_of_two_projects(three_runs, run_module, project, data, simulator):
    """What the one has is not taken for a second one of the other."""
    mail = project("mail")
    simulator.cs_job("createVolume", name="data", projectid=mail, **volume_of(simulator))
    assert run_module(SNAPSHOT, volume="data", name="s", project="web")["changed"]
    identity = only(run_module(SNAPSHOT, volume="data", name="s", project="web"), "snapshots")["object"]["id"]
    wanted = {"name": "model", "zone": "sofia", "snapshot": identity, "os_type": SYSTEM}
    first = only(three_runs(TEMPLATE, project="web", **wanted), "templates")["object"]["id"]
    assert only(run_module(TEMPLATE, project="web", **wanted), "templates")["object"]["id"] == first
    refused = run_module(TEMPLATE, project="mail", **{**wanted, "snapshot": "s"})
    assert refused["failed"] and "does not exist" in refused["msg"]


def volume_of(simulator):
    offering = next(one["id"] for one in simulator.cs("listDiskOfferings")[1]["diskoffering"] if one["name"] == "Small")
    return {"diskofferingid": offering, "zoneid": simulator.cs("listZones")[1]["zone"][0]["id"]}


@pytest.fixture
def model(simulator, web, tmp_path):
    """The id of a template of the project."""
    image = tmp_path / "model.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, "2M"], check=True)
    system, zone = simulator.cs("listOsTypes")[1]["ostype"][0]["id"], simulator.cs("listZones")[1]["zone"][0]["id"]
    given = {"format": "QCOW2", "hypervisor": "KVM", "ostypeid": system, "zoneid": zone, "projectid": web}
    status, answer = simulator.cs("registerTemplate", name="model", displaytext="model", url=image.as_uri(), **given)
    assert status == 200, answer
    simulator.settle()
    return answer["template"][0]["id"]


def test_caches_of_templates_of_projects(three_runs, run_module, model, simulator):
    """By name or id; a filter is about what is in no project. Their caches are no orphans."""
    made = three_runs(CACHE, templates=[{"filter": {"name": ["debian-*"]}}, {"name": "model"}], zone="sofia")["templates"]
    assert [one["name"] for one in made] == ["debian-12", "model"]
    assert made[1]["object"]["id"] == model and made[1]["object"]["pools"][0]["cached"] is True
    assert three_runs(CACHE, id=model, zone="sofia")["changed"] is False
    assert "fits no template" in run_module(CACHE, filter={"name": ["model"]}, zone="sofia")["msg"]
    before = simulator.get("SnapshotsList")[1]["data"]
    orphans = only(run_module(CACHE, zone="sofia", state="absent", evict="storpool_orphans_only"), "templates")
    assert orphans["object"]["found"] == [] and simulator.get("SnapshotsList")[1]["data"] == before


def test_playbooks_take_the_project(thrice, data, rows):
    thrice("snapshot_vms", project="web", vms=["db1"], name="nightly")
    thrice("revert_vm", project="web", vm="db1", snapshot="nightly")
    assert [one["displayname"] for one in rows("listVMSnapshot", "vmSnapshot", "web")] == ["nightly"]
    assert rows("listVMSnapshot", "vmSnapshot", None) == []


@pytest.mark.parametrize(
    ("module", "options"),
    [
        (VOLUME, {"name": "data", "size": "2G"}),
        (VOLUME, {"name": "data", "state": "absent"}),
        (SNAPSHOT, {"volume": "data", "name": "s"}),
        (POLICY, {"volume": "data", "policies": [HOURLY]}),
        (VM_SNAPSHOT, {"vm": "db1", "name": "s"}),
        (TEMPLATE, {"name": "t", "snapshot": "s"}),
    ],
)
def test_a_project_that_is_none(run_module, web, calls, module, options):
    calls()
    refused = run_module(module, project="wbe", **options)
    assert refused["failed"] and "project" in refused["msg"] and "does not exist in CloudStack; there are: web" in refused["msg"]
    assert calls().writes == []


def test_two_projects_of_one_name(three_runs, run_module, project, web, simulator, calls):
    """The domain tells them apart, or the id."""
    ops = simulator.cs("listDomains", name="ops")[1]["domain"][0]["id"]
    other = project("web", account="ops", domainid=ops)
    calls()
    refused = run_module(VOLUME, name="data", project="web", **NEW)
    assert refused["failed"] and web in refused["msg"] and other in refused["msg"] and calls().writes == []
    made = only(three_runs(VOLUME, name="data", project="web", domain="ROOT/ops", **NEW), "volumes")["object"]
    assert (made["domain"], made["project"]) == ("ROOT/ops", "web")
    three_runs(VOLUME, name="data", project=web, **NEW)
    for identity in (web, other):
        assert [one["name"] for one in simulator.cs("listVolumes", projectid=identity)[1]["volume"]] == ["data"]
    three_runs(VOLUME, name="data", project="web", domain="ROOT/ops", state="absent")
    assert "volume" not in simulator.cs("listVolumes", projectid=other)[1]


@BOTH
def test_two_matches_are_listed(run_module, simulator, web, inside, calls):
    where = {"projectid": web} if inside else {}
    made = [simulator.cs_job("createVolume", name="twin", **where, **volume_of(simulator))["jobresult"]["volume"]["id"] for _each in "ab"]
    # Of the other place there is one, which is none of them.
    simulator.cs_job("createVolume", name="twin", **({} if inside else {"projectid": web}), **volume_of(simulator))
    calls()
    refused = run_module(VOLUME, name="twin", size="1G", project=inside)
    assert refused["failed"] and "is the name of 2 volumes" in refused["msg"] and "give the id" in refused["msg"]
    assert all(identity in refused["msg"] for identity in made) and refused["msg"].count("project web") == (2 if inside else 0)
    assert calls().writes == []


def test_an_id_does_not_lead_into_a_project_that_is_not_named(run_module, data, machines, calls):
    """It would find the object, and then nothing of what belongs to it."""
    run_module(VOLUME, name="log", project="web", **NEW)
    calls()
    theirs = data["web"]
    for module, options in (
        (VOLUME, {"id": theirs, "size": "2G"}),
        (VOLUME, {"id": theirs, "state": "absent"}),
        (VOLUME, {"volumes": [{"id": theirs}, {"name": "data"}], "size": "2G"}),
        (SNAPSHOT, {"volume": theirs, "name": "s"}),
        (SNAPSHOT, {"volume": theirs, "name": "s", "state": "absent"}),
        (SNAPSHOT, {"snapshots": [{"volume": theirs}, {"volume": "data"}], "name": "s"}),
        (POLICY, {"volume": theirs, "policies": [HOURLY]}),
        (VM_SNAPSHOT, {"vm": machines["web"]["id"], "name": "s"}),
        (VOLUME, {"name": "data", "vm": machines["web"]["id"]}),
    ):
        refused = run_module(module, check=True, **options)
        assert refused["failed"] and "belongs to project web; name it" in str(refused), (module, options, refused)
    assert calls().writes == []
    assert run_module(VOLUME, id=theirs, project="web", size="1G")["changed"] is False
