# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two tasks at once against one CloudStack, with desired states that overlap or contradict each other.

What there is at the end is compared with what there is when the two run one after the other, in either order: each object has to be as one
of the two orders leaves it, once. FAULT_RACES says how many races of each kind there are, FAULT_SEED sets the first seed.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from lab import PATIENCE, SEED, Clients, Lab, counted, raced, settles, wrong_end
from of_cloudstack import CONTROLLER, NODES, host_states, machines, policies, snapshots, templates
from of_infrastructure import all_offerings, both_states, ready, stored_settings, until

RACES = int(os.environ.get("FAULT_RACES", "3"))  # of each kind; they take longer than those for StorPool


@dataclass(frozen=True)
class Race:
    """Options of two tasks of a module, the world they need, and what is told of it afterwards."""

    module: str
    one: dict[str, Any]
    other: dict[str, Any]
    state: Callable[[Lab], Any]
    prepare: Callable[[Lab], object] = Lab.clear
    # The last word of the one who runs again is silent the next time.
    settles: bool = True
    # Makes ends between the two, which there may be when a task fails and says so: the server has two things of what is one here.
    between: tuple[Callable[[Lab], object], ...] = ()


def vms(lab: Lab) -> None:
    for name in ("db1", "db2"):
        lab.simulator.deploy(name)


def with_data(lab: Lab) -> None:
    vms(lab)
    ready(lab.run("cloudstack_volume", {**DATA, "name": "data", "vm": "db1"}))


def with_volume(lab: Lab) -> None:
    vms(lab)
    ready(lab.run("cloudstack_volume", {**DATA, "name": "data", "vm": "db1"}))
    ready(lab.run("cloudstack_volume", {"name": "data", "vm": ""}))


def with_snapshot(lab: Lab) -> None:
    with_volume(lab)
    ready(lab.run("cloudstack_snapshot", {"volume": "data", "name": "before"}))


def without_places(lab: Lab) -> Any:
    """The machines without the numbers of devices, which CloudStack deals out in the order of the calls."""
    state = machines(lab)
    return {**state, "volume": [{**one, "deviceid": None} for one in state["volume"]]}


def made_templates(lab: Lab) -> Any:
    """The templates alone: what CloudStack keeps of one that was taken back, it collects later."""
    return {"templates": templates(lab)["templates"]}


def of_kvm11(lab: Lab, *commands: str, **more: str) -> None:
    (host,) = lab.simulator.cs("listHosts", name="kvm11")[1]["host"]
    for command in commands:
        lab.simulator.cs_done(command, hostid=host["id"], **more)


def without_power(lab: Lab) -> None:
    """Out-of-band management was switched off after host HA had been looked for, and before that was switched on."""
    ready(lab.run("storpool_ha", PROTECTED))
    of_kvm11(lab, "disableOutOfBandManagementForHost")
    until(lambda: lab.simulator.hosts()["kvm11"]["ha"]["state"] == "Ineligible")


def before_host_ha(lab: Lab) -> None:
    """It was switched off before the power was proved, so that host HA was not configured."""
    (host,) = lab.simulator.cs("listHosts", name="kvm11")[1]["host"]
    given = {"driver": "ipmitool", "address": CONTROLLER["oobm_address"], "port": "623"}
    given.update(username=CONTROLLER["oobm_username"], password=CONTROLLER["oobm_password"])
    assert lab.simulator.cs("configureOutOfBandManagement", hostid=host["id"], **given)[0] == 200
    of_kvm11(lab, "enableOutOfBandManagementForHost", "disableOutOfBandManagementForHost")


PROTECTED = {"host": "kvm11", **CONTROLLER, "sp_node_ids": NODES, "wait_timeout": "20"}
POOL = {"name": "p", "zone": "sofia", "template": "hybrid"}
DATA = {"zone": "sofia", "offering": "Custom", "size": "1G"}
RACE_KINDS = {
    "volumes overlap": Race(
        "cloudstack_volume", {**DATA, "names": ["a", "b"], "vm": "db1"}, {**DATA, "names": ["b", "c"], "vm": "db1"}, without_places, vms
    ),
    "sizes": Race("cloudstack_volume", {"name": "data", "size": "2G"}, {"name": "data", "size": "3G"}, machines, with_data, settles=False),
    "VMs": Race("cloudstack_volume", {"name": "data", "vm": "db1"}, {"name": "data", "vm": "db2"}, machines, with_volume),
    "volume or none": Race(
        "cloudstack_volume", {**DATA, "name": "data", "vm": "db1"}, {"name": "data", "state": "absent", "on_attached": "detach"},
        machines, with_data,
    ),
    "names of a volume": Race(
        "cloudstack_volume", {"name": "n1", "renamed_from": "data"}, {"name": "n2", "renamed_from": "data"}, machines, with_data,
        settles=False,
    ),
    "same snapshot": Race(
        "cloudstack_snapshot", {"volume": "data", "name": "s"}, {"volume": "data", "name": "s"}, snapshots, with_volume
    ),
    "snapshot or none": Race(
        "cloudstack_snapshot", {"volume": "data", "name": "before"}, {"volume": "data", "name": "before", "state": "absent"},
        snapshots, with_snapshot,
    ),
    "same VM snapshot": Race("cloudstack_vm_snapshot", {"vm": "db1", "name": "s"}, {"vm": "db1", "name": "s"}, machines, with_data),
    "policies": Race(
        "cloudstack_snapshot_policy",
        {"volume": "data", "policies": [{"interval": "daily", "schedule": "0:3", "keep": 2}]},
        {"volume": "data", "policies": [{"interval": "daily", "schedule": "0:4", "keep": 3}]},
        policies, with_data,
    ),
    "same template": Race(
        "cloudstack_template", {"name": "golden", "zone": "sofia", "volume": "data", "os_type": "Rocky Linux 9"},
        {"name": "golden", "zone": "sofia", "volume": "data", "os_type": "Rocky Linux 9"}, made_templates, with_volume,
    ),
    "same offering": Race("cloudstack_offering", {"name": "o", "size": "5G"}, {"name": "o", "size": "5G"}, all_offerings),
    "offering or none": Race("cloudstack_offering", {"name": "o"}, {"name": "o", "state": "absent"}, all_offerings),
    "settings": Race("cloudstack_settings", {"name": "ha.tag", "value": "one"}, {"name": "ha.tag", "value": "other"}, stored_settings),
    "same pool": Race("cloudstack_storage_pool", POOL, POOL, both_states),
    "pool or none": Race(
        "cloudstack_storage_pool", POOL, {"name": "p", "zone": "sofia", "state": "absent", "maintenance_first": True}, both_states
    ),
    "protected or not": Race(
        "storpool_ha", PROTECTED, {"host": "kvm11", "state": "absent"}, host_states, between=(without_power, before_host_ha),
    ),
}  # fmt: skip


def prepared(race: Race, lab: Lab) -> None:
    lab.clear()
    race.prepare(lab)


def end_of(race: Race, lab: Lab, story: Callable[[Lab], object]) -> Any:
    prepared(race, lab)
    story(lab)
    return race.state(lab)


def one_after_the_other(race: Race, lab: Lab, *both: dict[str, Any]) -> Any:
    prepared(race, lab)
    for options in both:
        lab.run(race.module, options, Clients(PATIENCE))
    return race.state(lab)


@pytest.mark.parametrize("kind", RACE_KINDS)
def test_two_tasks_race(kind: str, lab_of: Callable[[str], Lab]):
    race, lab = RACE_KINDS[kind], lab_of("cloudstack")
    orders = [one_after_the_other(race, lab, race.one, race.other), one_after_the_other(race, lab, race.other, race.one)]
    between = [end_of(race, lab, story) for story in race.between]
    for seed in range(SEED, SEED + RACES):
        print(f"seed {seed}")
        lot = random.Random(seed)
        prepared(race, lab)
        results = raced(lab, lot, 0.01, 0.05, race.module, race.one, race.other)
        told = [(result["changed"], result.get("msg"), result.get("warnings")) for result in results]
        ends = [*orders, *(between if any(result.get("failed") for result in results) else [])]
        wrong = wrong_end(race.state(lab), *ends)
        assert not wrong, f"seed {seed}: {told}\n" + "\n".join(wrong)
        if race.settles:
            settles(lab, race.module, lot.choice([race.one, race.other]))
    counted("races", f"{RACES} races of CloudStack: {kind}")
