# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the CloudStack modules can change of settings, pools, offerings, hosts and the template cache, besides what of_cloudstack.py has."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from lab import Lab, storpool_state
from of_cloudstack import CONTROLLER, NODES, both_states, host_states, with_templates, without_ids
from registry import scenario

PATIENCE = 60.0  # seconds


def ready(result: dict[str, Any]) -> None:
    assert not result.get("failed"), result["msg"]


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# -- settings


def stored_settings(lab: Lab) -> dict[str, Any]:
    """All settings of all scopes that have a value of their own."""
    rows = [{key: value for key, value in row.items() if key != "updated"} for row in lab.simulator.db()["configurations"]]
    return without_ids({"settings": rows, **storpool_state(lab)})


@scenario("cloudstack_settings", world="cloudstack", state=stored_settings)
def set_in_every_scope(lab: Lab) -> dict[str, Any]:
    return {
        "settings": [
            {"name": "kvm.ha.fence.on.storage.heartbeat.failure", "value": True, "zone": "sofia"},
            {"name": "force.ha", "value": True, "cluster": "kvm1"},
            {"name": "storpool.delete.after.interval", "value": 86400, "storage_pool": "storpool-nvme"},
            {"name": "allow.public.user.templates", "value": False, "account": "ops"},
            {"name": "ldap.basedn", "value": "dc=example", "domain": "ROOT/ops"},
            {"name": "image.store.capacity.threshold", "value": 0.8, "image_store": "nfs-secondary"},
            {"name": "ha.tag", "value": "not for all to see", "secret": True},
        ],
        "parallel": 1,
    }


# -- pools

cloud = partial(scenario, world="cloudstack", state=both_states)
ARCHIVE = {"name": "archive", "zone": "sofia", "template": "hybrid"}


@cloud("cloudstack_storage_pool")
def make_a_pool_that_says_where_storpool_is(lab: Lab) -> dict[str, Any]:
    address = f"{lab.simulator.host}:{lab.simulator.port}"
    return {**ARCHIVE, "pool_api_http": address, "pool_auth_token": lab.simulator.token, "state": "disabled"}


@cloud("cloudstack_storage_pool")
def change_a_pool(lab: Lab) -> dict[str, Any]:
    ready(lab.run("cloudstack_storage_pool", {**ARCHIVE, "state": "disabled"}))
    changed = {"name": "cold", "renamed_from": "archive", "tags": ["cold"], "capacity": "20T", "state": "enabled"}
    return {"pools": [changed, {"name": "storpool-nvme", "state": "maintenance"}], "parallel": 1}


@cloud("cloudstack_storage_pool")
def remove_a_pool_by_force(lab: Lab) -> dict[str, Any]:
    ready(lab.run("cloudstack_storage_pool", {**ARCHIVE, "state": "maintenance"}))
    return {"name": "archive", "state": "absent", "forced": True}


# -- offerings


def all_offerings(lab: Lab) -> dict[str, Any]:
    """The offerings of both kinds."""
    listed = {"listDiskOfferings": "diskoffering", "listServiceOfferings": "serviceoffering"}
    found = {key: lab.simulator.cs(call, listall=True, state="all")[1].get(key, []) for call, key in listed.items()}
    return without_ids({key: [{name: one[name] for name in one if name != "created"} for one in rows] for key, rows in found.items()})


offering = partial(scenario, "cloudstack_offering", world="cloudstack", state=all_offerings)


@offering()
def make_offerings(lab: Lab) -> dict[str, Any]:
    machine = {"name": "small", "type": "compute", "cpu_number": 1, "cpu_speed": 1000, "memory": 512, "root_size": "8G", "offer_ha": True}
    disk = {"name": "silver", "custom_size": True, "custom_iops": True, "provisioning_type": "sparse", "encrypt": True, "zones": ["sofia"]}
    tier = {"name": "tier", "template": "nvme", "domains": ["ROOT/ops"], "min_iops": 5, "max_iops": 10}
    quality = {"name": "class", "qos_class": "gold", "strict_size": True}
    return {"offerings": [{**machine, "host_tags": ["ssd"]}, {**disk, "storage_tags": ["nvme"]}, tier, quality], "parallel": 1}


@offering()
def change_an_offering(lab: Lab) -> dict[str, Any]:
    ready(lab.run("cloudstack_offering", {"name": "old", "state": "inactive", "zones": ["sofia"]}))
    return {"name": "new", "renamed_from": "old", "state": "active", "storage_tags": ["hdd"], "zones": [], "template": "hdd"}


@offering()
def delete_an_offering(lab: Lab) -> dict[str, Any]:
    ready(lab.run("cloudstack_offering", {"name": "old"}))
    return {"name": "old", "state": "absent"}


# -- hosts

hosts = partial(scenario, "storpool_ha", world="cloudstack", state=host_states)
BY_ADDRESS = {"oobm_driver": "ipmitool", "oobm_port": 6230, "ha_provider": "KVMHAProvider"}


def protected(lab: Lab, *hosts: str) -> None:
    ready(lab.run("storpool_ha", {"hosts": [{"host": host} for host in hosts], **CONTROLLER, "sp_node_ids": NODES, "wait_timeout": "20"}))


@hosts()
def protect_a_cluster(lab: Lab) -> dict[str, Any]:
    """HA is switched off on two of its hosts."""
    protected(lab, *NODES)
    ready(lab.run("storpool_ha", {"hosts": [{"host": "kvm11"}, {"host": "kvm12"}], "state": "disabled"}))
    return {"cluster": "kvm1", "sp_node_ids": NODES, "wait_timeout": "20", "parallel": 1}


@hosts()
def change_a_controller(lab: Lab) -> dict[str, Any]:
    protected(lab, "kvm11")
    return {"host": "kvm11", **CONTROLLER, **BY_ADDRESS, "sp_node_ids": NODES, "wait_timeout": "20"}


@hosts()
def switch_ha_off(lab: Lab) -> dict[str, Any]:
    protected(lab, "kvm11")
    return {"host": "kvm11", "state": "disabled"}


@hosts()
def take_a_fenced_host_back(lab: Lab) -> dict[str, Any]:
    simulator = lab.simulator
    for name, value in (("activity.check.max.attempts", 1), ("activity.check.interval", 1), ("recover.wait.period", 1)):
        assert simulator.cs("updateConfiguration", name=f"kvm.ha.{name}", value=value)[0] == 200
    simulator.vm("web", "kvm11")
    ready(lab.run("storpool_ha", {"host": "kvm11", **CONTROLLER, "sp_node_ids": NODES, "wait_timeout": "20"}))
    controller = CONTROLLER["oobm_address"]

    def host() -> dict[str, Any]:
        return simulator.cs("listHosts", name="kvm11")[1]["host"][0]

    simulator.bmc(controller, power="off")
    until(lambda: host()["hostha"]["hastate"] == "Fenced" and host()["resourcestate"] == "Maintenance")
    simulator.bmc(controller, power="on")
    simulator.client(11, "running")
    simulator.agent("kvm11", "up")
    until(lambda: host()["state"] == "Up" and host()["outofbandmanagement"]["powerstate"] == "On")
    return {"host": "kvm11", "recover": True, "sp_node_ids": NODES, "wait_timeout": "20"}


# -- the template cache


@scenario("storpool_template_cache", world="cloudstack", state=lambda lab: without_ids(with_templates(lab)))
def copy_templates(lab: Lab) -> dict[str, Any]:
    lab.simulator.deploy("db1", template="small-raw")  # brings its template to the pool
    names = ["rocky-9", "small-raw"]
    return {"zone": "sofia", "names": names, "pools": ["storpool-nvme"], "wait_timeout": "20", "parallel": 1}
