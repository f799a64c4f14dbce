# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Projects: whose objects are whose, and which listings show them (``AccountManagerImpl``, ``ProjectManagerImpl``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from storpool_simulator.testing import Simulator

from . import plugin_support as plugin
from .cloudstack_support import call, failed_job, job, named, ok, one, refused

LISTS = {
    "volume": ("listVolumes", "volume", {}),
    "vm": ("listVirtualMachines", "virtualmachine", {}),
    "snapshot": ("listSnapshots", "snapshot", {}),
    "vm snapshot": ("listVMSnapshot", "vmSnapshot", {}),
    "template": ("listTemplates", "template", {"templatefilter": "self"}),
}


@pytest.fixture
def sim(clouds: Callable[[str], Simulator]) -> Simulator:
    return clouds("4.22.0")


def project(sim: Simulator, name: str = "web", **more: Any) -> dict[str, Any]:
    return job(sim, "createProject", name=name, displaytext=f"project {name}", **more)["project"]


def keys_of(sim: Simulator, user: str) -> tuple[str, str]:
    known = sim.control("GET", "/cloudstack/users")[user]
    return known["key"], known["secret"]


def one_of_each(sim: Simulator, name: str, **owner: Any) -> None:
    """A VM of this name and what belongs to it, of one owner."""
    vm = plugin.deploy(sim, name, **owner)
    listing = {key: value for key, value in owner.items() if key == "projectid"}
    (disk,) = ok(sim, "listVolumes", virtualmachineid=vm["id"], **listing)["volume"]
    plugin.stop(sim, vm)
    taken = plugin.snapshot(sim, disk["id"], name)
    job(sim, "createTemplate", name=name, ostypeid=vm["ostypeid"], snapshotid=taken["id"], **owner)
    job(sim, "createVMSnapshot", virtualmachineid=vm["id"], name=name)


def owners(sim: Simulator, kind: str, **params: Any) -> list[str]:
    """Whose the objects of a kind are that a listing shows: the account, or the project."""
    command, key, needed = LISTS[kind]
    rows = ok(sim, command, **{**needed, **params}).get(key, [])
    for row in rows:
        assert ("account" in row) is not ("project" in row) is not ("projectid" not in row)
    return sorted({row.get("account") or row["project"] for row in rows})


def test_a_project_has_an_account_of_its_own(cloud: Simulator) -> None:
    made = project(cloud)
    assert made["state"] == "Active" and made["owner"] == [{"account": "admin"}] and made["projectaccountname"] == "PrjAcct-web-1"
    assert [row["id"] for row in ok(cloud, "listProjects", listall=True)["project"]] == [made["id"]]
    assert one(cloud, "listProjects", "project", name="WEB")["id"] == made["id"]
    # It is nobody's to see or to name
    assert {row["name"] for row in ok(cloud, "listAccounts", listall=True)["account"]} == {"admin", "ops"}
    wanted = {"name": "d", "zoneid": plugin.zone_id(cloud), "diskofferingid": small(cloud)}
    by_name = {"account": made["projectaccountname"], "domainid": made["domainid"]}
    assert "Unable to find account" in refused(cloud, "createVolume", **wanted, **by_name)["errortext"]
    assert "together" in refused(cloud, "createVolume", **wanted, **by_name, projectid=made["id"])["errortext"]
    disk = job(cloud, "createVolume", **wanted, projectid=made["id"])["volume"]
    assert (disk["project"], disk["projectid"], disk["domain"]) == ("web", made["id"], "ROOT") and "account" not in disk


def small(sim: Simulator) -> str:
    return named(sim, "listDiskOfferings", "diskoffering", "Small")


def test_a_name_is_there_once_in_a_domain(sim: Simulator) -> None:
    project(sim)
    assert "already exists in domain" in refused(sim, "createProject", name="Web", displaytext="x")["errortext"]
    ops = named(sim, "listDomains", "domain", "ops")
    other = project(sim, account="ops", domainid=ops)
    assert (other["domain"], other["owner"]) == ("ops", [{"account": "ops"}])
    assert "together" in refused(sim, "createProject", name="n", displaytext="x", account="ops")["errortext"]
    assert ok(sim, "listProjects")["count"] == 1 and ok(sim, "listProjects", listall=True)["count"] == 2
    assert one(sim, "listProjects", "project", domainid=ops)["id"] == other["id"]
    theirs = call(sim, "listProjects", keys=keys_of(sim, "ops"), listall="true").content
    assert [row["id"] for row in theirs["project"]] == [other["id"]]


def test_listings_leave_projects_out_until_they_are_asked_for(sim: Simulator) -> None:
    web, mail = project(sim)["id"], project(sim, "mail")["id"]
    one_of_each(sim, "ours")
    one_of_each(sim, "theirs", projectid=web)
    ops = named(sim, "listDomains", "domain", "ops")
    plugin.data_disk(sim, name="foreign", account="ops", domainid=ops)
    job(sim, "createVolume", name="post", zoneid=plugin.zone_id(sim), diskofferingid=small(sim), projectid=mail)
    for kind in LISTS:
        everybody = ["admin", "ops"] if kind == "volume" else ["admin"]
        of_projects = ["mail", "web"] if kind == "volume" else ["web"]
        assert owners(sim, kind) == ["admin"], kind
        assert owners(sim, kind, projectid=web) == owners(sim, kind, projectid=web, listall=True) == ["web"], kind
        assert owners(sim, kind, projectid=web, name="ours") == [] and owners(sim, kind, name="theirs") == [], kind
        if kind == "template":
            continue  # their filter says which
        assert owners(sim, kind, listall=True) == everybody, kind
        assert owners(sim, kind, projectid=-1) == of_projects, kind
        assert owners(sim, kind, projectid=-1, listall=True) == sorted(everybody + of_projects), kind
    assert owners(sim, "volume", account="ops", domainid=ops) == ["ops"] == owners(sim, "volume", domainid=ops)


def test_the_id_of_an_object_finds_it_in_its_project(sim: Simulator) -> None:
    web = project(sim)["id"]
    one_of_each(sim, "theirs", projectid=web)
    for kind, (command, key, needed) in LISTS.items():
        (row,) = ok(sim, command, **needed, projectid=web)[key]
        parameter = "vmsnapshotid" if kind == "vm snapshot" else "id"
        assert owners(sim, kind, **{parameter: row["id"]}) == owners(sim, kind, **{parameter: row["id"]}, listall=True) == ["web"], kind
    vm = ok(sim, "listVirtualMachines", projectid=web)["virtualmachine"][0]["id"]
    # That of the VM, or a list of ids, does not
    disks = [row["id"] for row in ok(sim, "listVolumes", virtualmachineid=vm, projectid=web)["volume"]]
    assert owners(sim, "volume", virtualmachineid=vm, listall=True) == owners(sim, "volume", ids=",".join(disks), listall=True) == []
    assert owners(sim, "vm snapshot", virtualmachineid=vm, listall=True) == []
    job(sim, "createTags", resourceids=disks[0], resourcetype="Volume", **{"tags[0].key": "k", "tags[0].value": "v"})
    assert ok(sim, "listTags", listall=True) == {} and ok(sim, "listTags", projectid=web)["tag"][0]["project"] == "web"


def test_to_a_root_admin_all_templates_are_all(sim: Simulator) -> None:
    """templatefilter=all goes by no account and no project, but without projectid it leaves those of projects out."""
    web = project(sim)["id"]
    one_of_each(sim, "theirs", projectid=web)
    names = {"debian-12", "rocky-9", "small-raw"}

    def seen(wanted: str, **params: Any) -> set[str]:
        return {row["name"] for row in ok(sim, "listTemplates", templatefilter=wanted, **params).get("template", ())}

    assert seen("all") == seen("all", account="ops", domainid=named(sim, "listDomains", "domain", "ops")) == names
    assert seen("all", projectid=web) == seen("all", projectid=-1) == {*names, "theirs"}
    assert seen("self", projectid=web) == {"theirs"} and "theirs" in seen("executable", projectid=web)
    assert "theirs" not in seen("executable") | seen("self") | seen("featured")


def test_who_asks_for_what_is_not_theirs(sim: Simulator) -> None:
    web = project(sim)["id"]
    keys = keys_of(sim, "ops")
    assert call(sim, "listVolumes", keys=keys, projectid=web).content["errorcode"] == 531
    assert call(sim, "listVolumes", keys=keys, projectid="-1").content == {}
    assert call(sim, "createVolume", keys=keys, name="x", projectid=web, diskofferingid=small(sim)).content["errorcode"] in (431, 531)
    assert "together" in refused(sim, "listVolumes", account="admin", projectid=web)["errortext"]
    assert "could not find account nobody" in refused(sim, "listVolumes", account="nobody")["errortext"]
    assert "projectid" in refused(sim, "listVolumes", projectid="6a1a3f0e-0000-4000-8000-000000000000")["errortext"]


def test_a_suspended_project_gets_nothing_new(sim: Simulator) -> None:
    web = project(sim)["id"]
    vm = plugin.deploy(sim, "theirs", projectid=web)
    assert job(sim, "suspendProject", id=web)["project"]["state"] == "Suspended"
    (stopped,) = ok(sim, "listVirtualMachines", projectid=web)["virtualmachine"]
    assert (stopped["id"], stopped["state"]) == (vm["id"], "Stopped")
    (disk,) = ok(sim, "listVolumes", projectid=web)["volume"]
    wanted = {"name": "d", "zoneid": plugin.zone_id(sim), "diskofferingid": small(sim), "projectid": web}
    for command, params in (("createVolume", wanted), ("createSnapshot", {"volumeid": disk["id"]})):
        assert refused(sim, command, **params)["errorcode"] == 531
    assert job(sim, "activateProject", id=web)["project"]["state"] == "Active"
    assert job(sim, "createVolume", **wanted)["volume"]["projectid"] == web


def test_a_project_is_deleted_with_what_it_has(sim: Simulator) -> None:
    web = project(sim)["id"]
    one_of_each(sim, "theirs", projectid=web)
    template = one(sim, "listTemplates", "template", templatefilter="self", projectid=web)["id"]
    for kind in ("1 VMTemplateVO", "1 VMSnapshotVO", "1 UserVmVO"):
        assert kind in failed_job(sim, "deleteProject", id=web)["errortext"]
        if kind == "1 VMTemplateVO":
            job(sim, "deleteTemplate", id=template)
        else:
            taken = ok(sim, "listVMSnapshot", projectid=web)["vmSnapshot"] if kind == "1 VMSnapshotVO" else []
            for row in taken:
                job(sim, "deleteVMSnapshot", vmsnapshotid=row["id"])
    (disk,) = ok(sim, "listVolumes", projectid=web)["volume"]
    assert job(sim, "deleteProject", id=web, cleanup=True) == {"success": True}
    assert ok(sim, "listProjects", listall=True) == {} and plugin.on_storpool(sim, disk) is None
    for command, key, needed in LISTS.values():
        rows = ok(sim, command, **{**needed, **({"templatefilter": "all"} if needed else {})}, projectid=-1, listall=True).get(key, [])
        assert not [row for row in rows if row.get("project")]
    # Nothing of it is left to be asked for
    assert "Unable to find project" in refused(sim, "listVolumes", projectid=web)["errortext"]


def test_volumes_change_hands(sim: Simulator) -> None:
    web = project(sim)["id"]
    disk = plugin.data_disk(sim)
    assert "either a project ID or an account ID" in refused(sim, "assignVolume", volumeid=disk["id"])["errortext"]
    assert ok(sim, "assignVolume", volumeid=disk["id"], projectid=web)["volume"]["project"] == "web"
    back = {"volumeid": disk["id"], "accountid": named(sim, "listAccounts", "account", "admin")}
    assert refused(sim, "assignVolume", **back, projectid=web)["errorcode"] == 431
    assert ok(sim, "assignVolume", **back)["volume"]["account"] == "admin"


@pytest.mark.parametrize("version", ["4.21.0", "4.22.0"])
def test_policies_of_volumes_of_a_project(clouds: Callable[[str], Simulator], version: str) -> None:
    """The release that lists those of all volumes also leaves out those of projects."""
    sim = clouds(version)
    web = project(sim)["id"]
    vm = plugin.deploy(sim, "theirs", projectid=web)
    (disk,) = ok(sim, "listVolumes", virtualmachineid=vm["id"], projectid=web)["volume"]
    wanted = {"volumeid": disk["id"], "intervaltype": "HOURLY", "schedule": "10", "timezone": "UTC", "maxsnaps": 2}
    made = ok(sim, "createSnapshotPolicy", **wanted)["snapshotpolicy"]["id"]
    plain = ok(sim, "listSnapshotPolicies", volumeid=disk["id"]).get("snapshotpolicy", [])
    assert [row["id"] for row in plain] == ([made] if version == "4.21.0" else [])
    assert one(sim, "listSnapshotPolicies", "snapshotpolicy", volumeid=disk["id"], projectid=web)["id"] == made
    if version == "4.22.0":
        assert ok(sim, "listSnapshotPolicies", listall=True) == {} and ok(sim, "listSnapshotPolicies", projectid=web)["count"] == 1
