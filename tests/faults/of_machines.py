# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the CloudStack modules can change of the volumes of VMs, their snapshots and templates, besides what of_cloudstack.py has."""

from __future__ import annotations

import json
import re
import time
from functools import partial
from typing import Any

from lab import Lab
from of_cloudstack import a_stopped_vm, machines, policies, snapshots, templates
from of_infrastructure import ready
from registry import scenario

cloud = partial(scenario, world="cloudstack")
DATA = {"name": "data", "zone": "sofia", "offering": "Custom", "size": "1G"}
OPEN = {"name": "open", "custom_iops": True}
ARCHIVE = {"name": "archive", "zone": "sofia", "template": "hybrid"}
ROCKY = "Rocky Linux 9"


# -- volumes


@cloud("cloudstack_volume", state=machines)
def make_a_volume_from_a_snapshot(lab: Lab) -> dict[str, Any]:
    lab.simulator.deploy("db1")
    ready(lab.run("cloudstack_offering", OPEN))
    # CloudStack takes none of volumes whose VM runs.
    for options in ({**DATA, "offering": "open", "max_iops": 200, "vm": "db1"}, {"name": "data", "vm": ""}):
        ready(lab.run("cloudstack_volume", options))
    ready(lab.run("cloudstack_snapshot", {"volume": "data", "name": "before"}))
    return {"name": "look", "zone": "sofia", "snapshot": "before", "offering": "open", "max_iops": 300, "vm": "db1"}


def without_keys(lab: Lab) -> Any:
    """The machines, and of volumes with a LUKS header (2 MiB longer) not their contents: its key is another one each time."""
    return json.loads(re.sub(r"(~ 1075838976) [0-9a-f]{12}", r"\1", json.dumps(machines(lab))))


@cloud("cloudstack_volume", state=without_keys)
def make_an_encrypted_volume_with_limits(lab: Lab) -> dict[str, Any]:
    lab.simulator.deploy("db1")
    ready(lab.run("cloudstack_offering", {**OPEN, "encrypt": True}))
    return {**DATA, "offering": "open", "min_iops": 100, "max_iops": 200, "encrypted": True, "vm": "db1"}


@cloud("cloudstack_volume", state=machines)
def shrink_and_move_a_volume(lab: Lab) -> dict[str, Any]:
    """It is detached, since CloudStack shrinks none of a VM that runs."""
    lab.simulator.deploy("db1")
    ready(lab.run("cloudstack_storage_pool", ARCHIVE))
    for options in ({**DATA, "size": "2G", "vm": "db1"}, {"name": "data", "vm": ""}):
        ready(lab.run("cloudstack_volume", options))
    return {"name": "data", "size": "1G", "allow_shrink": True, "storage_pool": "archive"}


@cloud("cloudstack_volume", state=machines)
def repair_a_limit(lab: Lab) -> dict[str, Any]:
    lab.simulator.deploy("db1")
    ready(lab.run("cloudstack_offering", OPEN))
    ready(lab.run("cloudstack_volume", {**DATA, "offering": "open", "max_iops": 200, "vm": "db1"}))
    (path,) = (one["path"] for one in lab.simulator.cs("listVolumes", name="data")[1]["volume"])
    lab.do(f"VolumeUpdate/~{path.rpartition('/')[2]}", {"iops": 77})
    return {"name": "data", "repair": True}


@cloud("cloudstack_volume", state=machines)
def make_several_volumes(lab: Lab) -> dict[str, Any]:
    lab.simulator.deploy("db1")
    ready(lab.run("cloudstack_volume", {**DATA, "name": "old"}))
    several = [{"name": "a"}, {"name": "b", "size": "2G"}, {"name": "old", "state": "absent"}]
    return {"volumes": several, "zone": "sofia", "offering": "Custom", "size": "1G", "vm": "db1", "parallel": 1}


# -- snapshots of volumes

# Wherever it is noon now: the name that a run of these tests begins with is the name it ends with.
_TO_NOON = 12 - time.gmtime().tm_hour
NIGHTLY = {"name": "nightly-%Y%m%d", "timezone": f"Etc/GMT{-_TO_NOON:+d}"}


def nights(lab: Lab, module: str, **what: str) -> None:
    for day in ("20261101", "20261102", "20261103"):
        ready(lab.run(module, {**what, "name": f"nightly-{day}"}))


@cloud("cloudstack_snapshot", state=snapshots)
def take_a_snapshot_and_prune(lab: Lab) -> dict[str, Any]:
    root = a_stopped_vm(lab)
    nights(lab, "cloudstack_snapshot", volume=root["name"])
    return {"volume": root["name"], **NIGHTLY, "keep_last": 2, "backup": True}


@cloud("cloudstack_snapshot", state=snapshots)
def prune_snapshots(lab: Lab) -> dict[str, Any]:
    root = a_stopped_vm(lab)
    nights(lab, "cloudstack_snapshot", volume=root["name"])
    return {"volume": root["name"], **NIGHTLY, "state": "pruned", "keep_daily": 1}


@cloud("cloudstack_snapshot", state=snapshots)
def delete_a_snapshot(lab: Lab) -> dict[str, Any]:
    root = a_stopped_vm(lab)
    ready(lab.run("cloudstack_snapshot", {"volume": root["name"], "name": "before"}))
    return {"volume": root["name"], "name": "before", "state": "absent"}


@cloud("cloudstack_snapshot", world="two zones", state=snapshots)
def copy_a_snapshot_to_another_zone(lab: Lab) -> dict[str, Any]:
    root = a_stopped_vm(lab)
    return {"volume": root["name"], "name": "before", "zones": ["plovdiv"]}


@cloud("cloudstack_snapshot", world="two zones", state=snapshots)
def delete_the_copy_in_another_zone(lab: Lab) -> dict[str, Any]:
    root = a_stopped_vm(lab)
    there = {"volume": root["name"], "name": "before", "zones": ["plovdiv"]}
    ready(lab.run("cloudstack_snapshot", there))
    return {**there, "state": "absent"}


# -- policies


@cloud("cloudstack_snapshot_policy", state=policies)
def end_policies(lab: Lab) -> dict[str, Any]:
    root = a_stopped_vm(lab)
    both = [{"interval": "weekly", "schedule": "0:3:1", "keep": 2}, {"interval": "hourly", "schedule": "5", "keep": 2}]
    ready(lab.run("cloudstack_snapshot_policy", {"volume": root["name"], "policies": both}))
    return {"volume": root["name"], "state": "absent"}


@cloud("cloudstack_snapshot_policy", state=policies)
def keep_more(lab: Lab) -> dict[str, Any]:
    root = a_stopped_vm(lab)
    daily = {"interval": "daily", "schedule": "0:3", "keep": 2}
    ready(lab.run("cloudstack_snapshot_policy", {"volume": root["name"], "policies": [daily]}))
    return {"volume": root["name"], "policies": [{**daily, "keep": 5, "timezone": "Europe/Sofia"}]}


# -- templates


@cloud("cloudstack_template", state=templates)
def make_a_template_from_a_snapshot(lab: Lab) -> dict[str, Any]:
    root = a_stopped_vm(lab)
    ready(lab.run("cloudstack_snapshot", {"volume": root["name"], "name": "before"}))
    told = {"display_text": "Golden", "public": True, "featured": True, "wait_timeout": "30"}
    return {"name": "golden", "zone": "sofia", "snapshot": "before", "volume": root["name"], "os_type": ROCKY, **told}


@cloud("cloudstack_template", state=templates)
def delete_a_template(lab: Lab) -> dict[str, Any]:
    root = a_stopped_vm(lab)
    ready(lab.run("cloudstack_template", {"name": "golden", "zone": "sofia", "volume": root["name"], "os_type": ROCKY}))
    return {"name": "golden", "state": "absent"}


# -- snapshots of VMs


@cloud("cloudstack_vm_snapshot", state=machines)
def take_a_vm_snapshot_and_prune(lab: Lab) -> dict[str, Any]:
    lab.simulator.deploy("db1")
    nights(lab, "cloudstack_vm_snapshot", vm="db1")
    return {"vm": "db1", **NIGHTLY, "keep_last": 2, "description": "by night"}


@cloud("cloudstack_vm_snapshot", state=machines)
def prune_vm_snapshots(lab: Lab) -> dict[str, Any]:
    lab.simulator.deploy("db1")
    nights(lab, "cloudstack_vm_snapshot", vm="db1")
    return {"vm": "db1", **NIGHTLY, "state": "pruned", "keep_daily": 1}


@cloud("cloudstack_vm_snapshot", state=machines)
def delete_a_vm_snapshot(lab: Lab) -> dict[str, Any]:
    lab.simulator.deploy("db1")
    ready(lab.run("cloudstack_vm_snapshot", {"vm": "db1", "name": "before"}))
    return {"vm": "db1", "name": "before", "state": "absent"}
