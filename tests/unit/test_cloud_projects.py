# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What belongs to projects: CloudStack's listings leave it out unless a project is named, or an object by its id."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from ansible_collections.storpool.cloudstack.plugins.module_utils._errors import OptionError
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources._cloud import (
    Directory,
    OfVolumes,
    Owner,
    of_project,
    twin_of,
    with_strangers,
    within_reach,
)
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources.cloud_snapshot import CLOUD_SNAPSHOTS
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources.cloud_volume import CLOUD_VOLUMES
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources.made_template import MADE_TEMPLATES
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources.snapshot_policy import SNAPSHOT_POLICIES
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources.vm_snapshot import VM_SNAPSHOTS
from ansible_collections.storpool.cloudstack.plugins.modules import (
    cloudstack_snapshot,
    cloudstack_snapshot_policy,
    cloudstack_template,
    cloudstack_vm_snapshot,
    cloudstack_volume,
)
from things import checked, raw_volume

WEB, MAIL = "3f1c2f1e-0a0b-4c0d-8e0f-00000000000a", "3f1c2f1e-0a0b-4c0d-8e0f-00000000000b"
DATA = "3f1c2f1e-0a0b-4c0d-8e0f-000000000001"
PROJECTS = [
    {"id": WEB, "name": "web", "domain": "ROOT", "domainid": "d0"},
    {"id": MAIL, "name": "mail", "domain": "ROOT", "domainid": "d0"},
    {"id": "p3", "name": "mail", "domain": "ops", "domainid": "d1"},
]
OF_WEB = {"projectid": WEB, "project": "web"}


class Server:
    """Answers listings from tables as CloudStack does: of one project, of all of them, or of none; an id is found anywhere."""

    def __init__(self, **listings):
        self.listings = {"listProjects": PROJECTS, "listDomains": [{"id": "d1", "name": "ops", "path": "ROOT/ops"}], **listings}
        self.asked = []
        self.connection = SimpleNamespace(job_timeout=0.0)
        self.version = (4, 22, 0, 0)
        volumes = [raw_volume("", 1)]
        self.storpool = SimpleNamespace(
            volume=lambda _name: volumes[0], volumes=lambda: volumes, snapshots=list, volumes_space=list, snapshots_space=list,
            attachments=list, exports=list, connection=SimpleNamespace(multi_cluster=False),
        )  # fmt: skip

    def list(self, call, key, unlimited=False, **params):
        self.asked.append((call, params))
        project, named = params.get("projectid"), params.get("id") or params.get("vmsnapshotid")
        rows = [one for one in self.listings.get(call, []) if named in (None, one["id"])]
        if params.get("templatefilter") != "all" and not named:
            rows = [one for one in rows if one.get("projectid") == project or (project == "-1" and "projectid" in one)]
        return [one for one in rows if all(params.get(name) in (None, one.get(name)) for name in ("name", "virtualmachineid"))]

    def of(self, call):
        return [params for name, params in self.asked if name == call]


def observed(resource, module, server, *entries):
    return resource.observe(server, [resource.parse(checked(module.DECLARED, **one), 0.0) for one in entries])


def test_a_name_that_two_projects_have():
    directory = Directory(Server())
    with pytest.raises(OptionError, match=rf"'mail' is the name of 2: {MAIL} \(ROOT\), p3 \(ops\)"):
        directory.project("mail")
    assert directory.belongs(Owner(project="mail", domain="ROOT/ops")) == {"domainid": "d1", "projectid": "p3"}
    assert directory.project("web") == directory.project(WEB) == WEB
    with pytest.raises(OptionError, match="does not exist in CloudStack; there are: mail"):
        directory.project("web", "d1")


def test_what_is_within_reach():
    row = {"id": DATA, "name": "data", **OF_WEB}
    assert within_reach(row, Owner(project="web"), "volume") is row and within_reach(None, Owner(), "volume") is None
    plain = {"id": DATA, "name": "data", "account": "admin"}
    assert within_reach(plain, Owner(), "volume") is plain and of_project(plain) == {} and of_project(row) == {"projectid": WEB}
    with pytest.raises(OptionError, match=rf"volume data \({DATA}\) belongs to project web; name it in project") as refused:
        within_reach(row, Owner(), "volume")
    assert refused.value.parts["option"] == "project"
    with pytest.raises(OptionError, match="belongs to project web"):
        OfVolumes({Owner(): [row]}).volume(Owner(), DATA)


@pytest.mark.parametrize(
    ("owner", "names", "calls"),
    [
        (Owner(), {DATA, "log"}, [{"projectid": "-1"}]),
        (Owner(domain="ROOT"), {DATA}, [{"projectid": "-1"}]),
        (Owner(), {"data", "log"}, []),
        (Owner(), {MAIL, "log"}, []),
        (Owner(project="mail"), {DATA}, []),
        (Owner(account="ops", domain="ROOT/ops"), {DATA}, []),
    ],
)
def test_ids_that_are_not_listed_are_looked_for_in_projects(owner, names, calls):
    rows = [{"id": MAIL, "name": "log"}]
    server = Server(listVolumes=[{"id": DATA, **OF_WEB}, {"id": "another", **OF_WEB}, *rows])
    found = with_strangers(server, owner, "listVolumes", "volume", rows, names)
    assert server.of("listVolumes") == calls and [one["id"] for one in found] == [MAIL, *([DATA] if calls else [])]


@pytest.mark.parametrize(("other", "undone"), [(WEB, True), (MAIL, False), (None, False)])
def test_twins_are_of_one_project(other, undone):
    made = {"id": "new", "name": "t", "domainid": "d0", **OF_WEB}
    rows = [made, {"id": "old", "name": "t", "domainid": "d0", **({"projectid": other} if other else {"account": "admin"})}]
    server = Server(listTemplates=rows)
    look = twin_of("listTemplates", "template", "deleteTemplate", "t", ("domainid",), templatefilter="all")
    assert bool(look(server, {"template": made})) is undone
    assert server.asked == [("listTemplates", {"name": "t", "listall": True, "projectid": WEB, "templatefilter": "all"})]


def test_vm_snapshots_and_volumes_are_listed_where_their_vm_is():
    machines = [{"id": "m1", "name": "db1", "state": "Running", **OF_WEB}, {"id": "m2", "name": "db2", "state": "Running"}]
    snapshots = [{"id": f"s-{one['id']}", "displayname": "s", "state": "Ready", **one, "virtualmachineid": one["id"]} for one in machines]
    disks = [{**one, "id": f"v-{one['id']}", "virtualmachineid": one["id"]} for one in machines]
    server = Server(listVirtualMachines=machines, listVMSnapshot=snapshots, listVolumes=disks)
    world = observed(VM_SNAPSHOTS, cloudstack_vm_snapshot, server, {"vm": "db1", "name": "s", "project": "web"}, {"vm": "db2", "name": "s"})
    assert world.snapshots.keys() == world.volumes.keys() == {"m1", "m2"}
    assert server.of("listVMSnapshot") == server.of("listVolumes") == [{"listall": True, "projectid": WEB}, {"listall": True}]
    server = Server(listVirtualMachines=machines, listVMSnapshot=snapshots, listVolumes=disks)
    world = observed(VM_SNAPSHOTS, cloudstack_vm_snapshot, server, {"vm": "db1", "name": "s", "project": "web"})
    assert server.of("listVMSnapshot") == [{"listall": True, "projectid": WEB, "virtualmachineid": "m1"}]
    server = Server(listVirtualMachines=[{**machines[0], "id": DATA}])
    world = observed(VM_SNAPSHOTS, cloudstack_vm_snapshot, server, {"vm": DATA, "name": "s"})
    (wanted,) = [VM_SNAPSHOTS.parse(checked(cloudstack_vm_snapshot.DECLARED, vm=DATA, name="s"), 0.0)]
    assert "belongs to project web" in str(VM_SNAPSHOTS.plan(wanted, world).refused)


def volume(**more):
    return {"id": DATA, "name": "data", "state": "Ready", "type": "DATADISK", "path": "/dev/storpool-byid/sf.a.1", "size": 1, **more}


def test_vm_snapshots_that_forbid_changes_of_volumes():
    mine, target = {"virtualmachineid": "m1", "vmname": "db1"}, {"id": "m2", "name": "db2", **OF_WEB}
    snapshots = [{"id": "s", "virtualmachineid": "m2", **OF_WEB}]
    server = Server(listVolumes=[volume(**mine, **OF_WEB)], listVirtualMachines=[target], listVMSnapshot=snapshots)
    world = observed(CLOUD_VOLUMES, cloudstack_volume, server, {"name": "data", "vm": "db2", "project": "web"})
    assert world.with_snapshots == {"m2"}
    assert server.of("listVMSnapshot") == [{"listall": True, "projectid": WEB, "virtualmachineid": one} for one in ("m1", "m2")]
    server = Server(listVolumes=[volume()], listVirtualMachines=[{**target, "id": MAIL}])
    world = observed(CLOUD_VOLUMES, cloudstack_volume, server, {"name": "data", "vm": MAIL})
    assert "VM db2" in str(world.vms[Owner(), MAIL]) and "belongs to project web" in str(world.vms[Owner(), MAIL])


@pytest.mark.parametrize("state", ["present", "absent"])
@pytest.mark.parametrize("many", [False, True])
def test_a_volume_of_a_project_by_its_id(state, many):
    server = Server(listVolumes=[volume(**OF_WEB), volume(id=MAIL)])
    entries = [{"name": None, "id": one, "state": state} for one in (DATA, MAIL)][: 2 if many else 1]
    world = observed(CLOUD_VOLUMES, cloudstack_volume, server, *entries)
    wanted = CLOUD_VOLUMES.parse(checked(cloudstack_volume.DECLARED, **entries[0]), 0.0)
    assert "belongs to project web" in str(CLOUD_VOLUMES.plan(wanted, world).refused)


def test_reverting_looks_for_vm_snapshots_where_the_volume_is():
    disk = volume(virtualmachineid="m1", **OF_WEB)
    taken = [{"id": "s1", "name": "s", "state": "BackedUp", "volumeid": DATA, **OF_WEB}]
    server = Server(listVolumes=[disk], listSnapshots=taken, listVMSnapshot=[{"id": "g", "virtualmachineid": "m1", **OF_WEB}])
    world = observed(CLOUD_SNAPSHOTS, cloudstack_snapshot, server, {"volume": "data", "name": "s", "state": "reverted", "project": "web"})
    assert world.with_vm_snapshots == {"m1"}
    # By its id alone it is found, and what belongs to it is not.
    server = Server(listSnapshots=taken)
    entry = {"name": None, "id": "s1", "state": "absent"}
    world = observed(CLOUD_SNAPSHOTS, cloudstack_snapshot, server, entry)
    wanted = CLOUD_SNAPSHOTS.parse(checked(cloudstack_snapshot.DECLARED, **entry), 0.0)
    assert "snapshot s (s1) belongs to project web" in str(CLOUD_SNAPSHOTS.plan(wanted, world).refused)


def test_policies_are_asked_for_with_the_project_of_the_volume():
    server = Server(listVolumes=[volume(**OF_WEB)])
    observed(SNAPSHOT_POLICIES, cloudstack_snapshot_policy, server, {"volume": "data", "project": "web", "state": "absent"})
    assert server.of("listSnapshotPolicies") == [{"volumeid": DATA, "listall": True, "projectid": WEB}]


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        ({}, "abcd"),
        ({"project": "web"}, "b"),
        ({"account": "OPS", "domain": "ROOT/ops"}, "d"),
        ({"domain": "ROOT/ops"}, "cd"),
    ],
)
def test_templates_are_those_of_the_owner_though_all_are_listed(given, seen):
    rows = [
        {"id": "a", "name": "t", "account": "ops", "domainid": "d0"},
        {"id": "b", "name": "t", "domainid": "d0", **OF_WEB},
        {"id": "c", "name": "t", "account": "admin", "domainid": "d1"},
        {"id": "d", "name": "t", "account": "ops", "domainid": "d1"},
    ]
    server = Server(listTemplates=rows)
    world = observed(MADE_TEMPLATES, cloudstack_template, server, {"name": "t", "state": "absent", **given})
    assert ["".join(one["id"] for one in found) for found in world.templates.values()] == [seen]
