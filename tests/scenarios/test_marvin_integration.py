# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What else storpool-cloudstack-integration checks: other offerings, other users, volumes and the life of instances."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from simulator_tests.plugin_support import template_id

from .world import GIB, World

CONTENT = b"what the guest wrote"


# change_storpool_template: other QoS classes and templates by resize and by scaling the VM (4.20+)


def test_change_template_01_resize_to_an_offering_of_another_class(world: World) -> None:
    world.only_since("4.20")
    disk = world.disk(world.deploy(), offering=world.disk_offering(qos_class="one"))
    world.change(disk, offering=world.disk_offering(qos_class="two"), size="2G")
    assert world.tags(disk)["qc"] == "two" and world.there(disk)["size"] == 2 * GIB


def test_change_template_02_resize_to_an_offering_of_another_template(world: World) -> None:
    world.only_since("4.20")
    disk = world.disk(world.deploy(), offering=world.disk_offering(template="hybrid"))
    world.change(disk, offering=world.disk_offering(template="hdd"), size="2G")
    assert world.there(disk)["templateName"] == "hdd"


def test_change_template_03_from_class_to_template(world: World) -> None:
    """The plugin sends the new template and leaves the tag of the old class, of which the task warns."""
    world.only_since("4.20")
    disk = world.disk(world.deploy(), offering=world.disk_offering(qos_class="one"))
    wanted = {"id": disk["id"], "offering": world.disk_offering(template="hdd"), "size": "1G"}
    result = world.run("volume", **wanted, verify="warn")
    assert result["changed"] and "tag qc is None in CloudStack and one on StorPool" in result["warnings"][0]
    assert world.there(disk)["templateName"] == "hdd" and not world.run("volume", **wanted, verify="warn")["changed"]


def test_change_template_04_vm_snapshots_afterwards(world: World) -> None:
    world.only_since("4.20")
    vm = world.deploy()
    disk = world.disk(vm, offering=world.disk_offering(template="hybrid"))
    world.change(disk, offering=world.disk_offering(template="hdd"), size="1G")
    world.write(disk, CONTENT)
    group = world.group(vm)
    world.write(disk, bytes(len(CONTENT)))
    world.stop(vm)
    world.revert_group(group)
    assert world.read(disk, len(CONTENT)) == CONTENT and world.there(disk)["templateName"] == "hdd"


def test_change_template_05_scale_to_an_offering_with_other_limits(world: World) -> None:
    """And, where there are such, of another template and of another class."""
    vm = world.stopped()
    _scale(world, vm, world.service_offering(max_iops=1234))
    assert world.same(world.root(vm))["iops"] == 1234
    if world.version >= "4.20":
        _scale(world, vm, world.service_offering(template="hybrid"))
        assert world.there(world.root(vm))["templateName"] == "hybrid"
        machine = {"name": world.name("service"), "displaytext": "x", "cpunumber": 1, "cpuspeed": 500, "memory": 512}
        made = world.ok("createServiceOffering", **machine, diskofferingid=world.disk_offering(qos_class="two"))
        _scale(world, vm, made["serviceoffering"]["id"])
        assert world.tags(world.root(vm))["qc"] == "two"
    world.start(vm)


def _scale(world: World, vm: dict, offering: str) -> None:
    world.job("scaleVirtualMachine", id=vm["id"], serviceofferingid=offering)
    assert world.machine(vm)["serviceofferingid"] == offering


# user_commands: the same as another user than the admin


@contextlib.contextmanager
def _as(world: World, name: str) -> Iterator[None]:
    own = dict(world.sim.ready["cloudstack"])
    keys = world.sim.control("GET", "/cloudstack/users")[name]
    world.sim.ready["cloudstack"].update(key=keys["key"], secret=keys["secret"])
    try:
        yield
    finally:
        world.sim.ready["cloudstack"].update(own)


def _account(world: World) -> dict[str, str]:
    """Owner of what the admin makes for the other user."""
    return {"account": "ops", "domainid": world.named("listDomains", "domain", "ops")}


def test_user_commands_01_deploy_and_attach(world: World) -> None:
    vm = world.deploy(**_account(world))
    disk = world.disk(account="ops", domain="ops")
    with _as(world, "ops"):
        world.attach(disk, vm)
    assert world.tags(world.volume(disk["id"]))["cvm"] == vm["id"]


def test_user_commands_02_snapshot_and_volume(world: World) -> None:
    disk = world.root(world.deploy(**_account(world)))
    with _as(world, "ops"):
        snapshot = world.snapshot(disk)
        volume = world.copy_of(snapshot)
        assert volume["account"] == "ops" and "path" not in volume, "only root admins see where it lies"
        rows = world.ok("listSnapshots", id=snapshot["id"], showunique=False)["snapshot"]
        assert len(rows) == 2 and not any("datastoreid" in row for row in rows)
        world.drop_snapshot(snapshot)


def test_user_commands_03_resize(world: World) -> None:
    disk = world.root(world.deploy(**_account(world)))
    with _as(world, "ops"):
        world.resize(disk, 2)
    assert world.there(disk)["size"] == 2 * GIB


def test_user_commands_04_vm_snapshots(world: World) -> None:
    vm = world.deploy(**_account(world))
    with _as(world, "ops"):
        group = world.group(vm)
        world.drop_group(group)
    assert not world.tagged(group["id"])


def test_user_commands_05_user_may_not_delete_the_admins_tag(world: World) -> None:
    vm = world.deploy(**_account(world))
    world.tag(vm)
    with _as(world, "ops"):
        text = world.failed("deleteTags", resourceids=vm["id"], resourcetype="UserVm", **{"tags[0].key": "vc-policy"})
    assert "does not have permission" in text and world.tags(world.root(vm))["vc-policy"] == "gold"
    world.untag(vm)


# Ours: Marvin's volumes_1 and volumes_2 are among TestStorPoolVolumes


def test_life_of_a_volume(world: World) -> None:
    vm, disk = world.deploy(), world.disk()
    assert disk["state"] == "Allocated" and "path" not in disk, "on StorPool it comes with the first attachment"
    disk = world.attach(disk, vm)
    world.write(disk, CONTENT)
    assert "not attached to any VM" in world.refused("deleteVolume", id=disk["id"])
    world.detach(disk)
    assert world.read(world.attach(world.volume(disk["id"]), world.deploy()), len(CONTENT)) == CONTENT
    world.detach(disk)
    world.drop(disk)
    assert world.sp(disk) is None and "volume" not in world.ok("listVolumes", id=disk["id"])


def test_refused_attachments(world: World) -> None:
    vm = world.deploy()
    disk = world.disk(vm)
    assert "not attached to any VM" in world.refused("attachVolume", id=disk["id"], virtualmachineid=vm["id"])
    assert "type DATADISK" in world.refused("attachVolume", id=world.root(vm)["id"], virtualmachineid=vm["id"])
    assert "stopped to detach its root volume" in world.refused("detachVolume", id=world.root(vm)["id"])


def test_many_disks(world: World) -> None:
    vm = world.deploy()
    for _unused in range(4):
        world.disk(vm)
    assert [disk["deviceid"] for disk in world.volumes(vm)] == [0, 1, 2, 4, 5], "3 is the CD-ROM's"
    assert all(world.clients(disk) == [world.client_of(vm)] for disk in world.volumes(vm))


def test_custom_sizes(world: World) -> None:
    offering = world.disk_offering()
    assert "out of allowed range" in world.refused("createVolume", name="x", zoneid=world.zone_id, diskofferingid=offering, size=5000)
    disk = world.disk(world.deploy(), offering=offering, gib=7)
    assert world.same(disk)["size"] == 7 * GIB


# vm_life_cycle


def test_vm_life_cycle_stop_start_reboot(world: World) -> None:
    vm = world.deploy()
    disk = world.root(vm)
    world.stop(vm)
    assert world.clients(disk) == []
    world.start(vm)
    assert world.clients(disk) == [world.client_of(vm)]
    world.job("rebootVirtualMachine", id=vm["id"])
    assert world.root(vm)["path"] == disk["path"]


def test_vm_life_cycle_destroy_recover_expunge(world: World) -> None:
    vm = world.deploy()
    disk = world.root(vm)
    world.job("destroyVirtualMachine", id=vm["id"])
    assert world.sp(disk) is not None
    world.ok("recoverVirtualMachine", id=vm["id"])
    world.start(vm)
    world.job("destroyVirtualMachine", id=vm["id"], expunge=True)
    assert world.sp(disk) is None


def test_vm_life_cycle_restore(world: World) -> None:
    vm = world.deploy()
    disk, clean = world.root(vm), world.digest(world.root(vm))
    world.write(disk, CONTENT)
    world.job("restoreVirtualMachine", virtualmachineid=vm["id"])
    assert world.root(vm)["path"] != disk["path"] and world.digest(world.root(vm)) == clean


def test_vm_life_cycle_migrate(world: World) -> None:
    vm = world.deploy()
    disk = world.root(vm)
    world.migrate(vm)
    assert world.root(vm)["path"] == disk["path"] and world.clients(disk) == [world.client_of(vm)]


def test_vm_life_cycle_iso(world: World) -> None:
    """The volume is empty: installing is CloudStack's matter."""
    listed = world.ok("listIsos", isofilter="all", listall=True)["iso"]
    vm = world.deploy(templateid=listed[0]["id"], hypervisor="KVM", diskofferingid=world.disk_offering(size="1G"))
    row = world.there(world.root(vm))
    assert row["parentName"] == "" and row["size"] == GIB


def test_two_machines_from_one_template_share_it(world: World) -> None:
    """The second ROOT volume moves no byte of the template (the seed: creating ROOT volume from templates)."""
    template = template_id(world.sim)
    first = world.deploy(templateid=template)
    counted = world.copied_bytes()
    second = world.deploy(templateid=template)
    assert world.copied_bytes() == counted
    parents = {world.there(world.root(vm))["parentName"] for vm in (first, second)}
    assert len(parents) == 1 and parents != {""}
