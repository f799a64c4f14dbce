# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What may be declared to each module that changes something, in a world small enough for names to meet, as strategies.

A module that changes something and has no story fails a test. `world` names the simulator, `prepare` what is there before the first task,
`state` everything that is compared afterwards (from tests/faults, which compares the same), `option` is the list option for many objects at
once. `unseen` tells of options whose effect no state shows (a password, the bytes of a revert), `renews` which calls are sent by a task
that finds everything as declared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from lab import MIB, Lab, storpool_state
from of_cloudstack import CONTROLLER, NODES, both_states, host_states, machines, policies, snapshots, templates, with_templates

Options = dict[str, Any]

# Where a name is a text of letters, digits and a few signs, and where it is any text.
PLAIN_NAMES = ["a", "b", "a", "b", "x" * 200, "x" * 201, "a b", "имя", "a/b", "~1", ""]
NAMES = ["a", "b", "a", "b", "том", "卷 1", "x" * 255, "x" * 256, " ", "a\u0301"]


def optional(draw: Callable[..., Any], **strategies: Any) -> Options:
    """Options each of which is there or not."""
    return {name: draw(strategy) for name, strategy in strategies.items() if draw(st.booleans())}


one_of = st.sampled_from
flag = st.booleans()


@dataclass(frozen=True)
class Story:
    module: str
    wishes: Any
    option: str
    state: Callable[[Lab], Any]
    prepare: Callable[[Lab], None]
    world: str = "cloudstack"
    unseen: Callable[[Options], bool] = lambda options: False
    renews: Callable[[Options], list[str]] = lambda options: []


def nothing(lab: Lab) -> None:
    """The world as it is at first start."""


def nothing_moves(lab: Lab) -> None:
    """The world as it is at first start, in which CloudStack does not look at its hosts."""
    lab.simulator.background(False)


def declared_of_hosts(lab: Lab) -> Any:
    """What can be declared of hosts: without what CloudStack finds out about them once HA is enabled."""
    state = host_states(lab)
    for host in state["hosts"]:
        host["hostha"] = {key: value for key, value in host["hostha"].items() if key != "hastate"}
        host["outofbandmanagement"] = {key: value for key, value in host["outofbandmanagement"].items() if key != "powerstate"}
    return state


# -- StorPool


def some_objects(lab: Lab) -> None:
    lab.volume("v", template="hybrid", tags={"x": "1"}, iops=500)
    lab.snapshot("v", "s", tags={"x": "1"})
    lab.volume("cs", tags={"cs": "vol", "x": "1"})
    lab.attach("v", rw=[11])


@st.composite
def volumes(draw: Callable[..., Any]) -> Options:
    options = optional(
        draw, size=one_of([MIB, "1M", "2M", "4G", 512, 513, "0"]), template=one_of(["hybrid", "nvme", "no-such"]),
        iops=one_of([0, 1, 500, "unlimited", 1 << 40]), bw=one_of(["1M", "unlimited", 1]), replication=st.integers(1, 3), allow_shrink=flag,
        place_all=one_of(["hdd", "ssd"]), tags=st.dictionaries(one_of(["x", "y", "é"]), one_of(["1", "", "y" * 300]), max_size=2),
        attach_to=one_of([[], [11], ["11:ro", 12], [13], ["x"]]), exclusive=flag, force=flag, allow_cloudstack_objects=flag,
        on_attached=one_of(["fail", "detach"]), tags_mode=one_of(["merge", "exact"]),
    )  # fmt: skip
    options["name"] = draw(one_of([*PLAIN_NAMES, "v", "cs", "s"]))
    options["state"] = draw(one_of(["present", "present", "present", "absent", "reverted"]))
    if options["state"] == "reverted":
        options["revert_to"] = draw(one_of(["s", "s", "no-such"]))
    if draw(one_of([True, False, False])):
        options.update(draw(one_of([{"parent": "s"}, {"base_on": "v"}, {"renamed_from": "v"}])))
    if "tags" not in options:
        options.pop("tags_mode", None)
    if "attach_to" not in options:
        options.pop("exclusive", None)
    return options


@st.composite
def storpool_snapshots(draw: Callable[..., Any]) -> Options:
    options = optional(
        draw, tags=st.dictionaries(one_of(["x", "y"]), one_of(["1", ""]), max_size=2), bind=flag, allow_cloudstack_objects=flag,
        on_attached=one_of(["fail", "detach"]), keep_last=st.integers(0, 2), keep_daily=st.integers(0, 2),
    )  # fmt: skip
    options.update(name=draw(one_of([*PLAIN_NAMES, "s", "v", "n-%Y%m%d"])), state=draw(one_of(["present", "present", "absent", "pruned"])))
    options["volume"] = draw(one_of(["v", "cs", "no-such"]))
    if options["state"] == "present":
        options.update(optional(draw, attach_to=one_of([[], [11], [12, 13]]), export_to=one_of([[], ["plovdiv"], ["mars"]])))
    if "%" not in options["name"]:
        options.pop("keep_last", None)
        options.pop("keep_daily", None)
    return options


@st.composite
def storpool_templates(draw: Callable[..., Any]) -> Options:
    places = one_of(["hdd", "ssd", "default", "mars"])
    options = optional(
        draw, size=one_of(["1M", "4K", 5]), iops=one_of(["5", "unlimited"]), bw=one_of(["9", "unlimited"]), replication=st.integers(0, 4),
        parent=one_of(["s", "no-such"]), reuse_server=flag, propagate=flag, place_all=places, place_head=places, place_tail=places,
        renamed_from=one_of(["a", "hybrid"]), allow_cloudstack_objects=flag,
    )  # fmt: skip
    return {**options, "name": draw(one_of([*PLAIN_NAMES, "nvme"])), "state": draw(one_of(["present", "present", "absent"]))}


# -- CloudStack


def two_machines(lab: Lab) -> None:
    lab.simulator.deploy("db1")
    lab.simulator.deploy("db2")
    made = lab.run("cloudstack_volume", {"name": "d", "zone": "sofia", "offering": "Custom", "size": "1G"})
    assert not made.get("failed"), made["msg"]


def stopped_machines(lab: Lab) -> None:
    two_machines(lab)
    for machine in lab.simulator.cs("listVirtualMachines", listall=True)[1]["virtualmachine"]:
        if machine["name"] == "db2":
            lab.simulator.cs_done("stopVirtualMachine", id=machine["id"])


@st.composite
def cloud_volumes(draw: Callable[..., Any]) -> Options:
    options = optional(
        draw, offering=one_of(["Custom", "Custom", "Small", "no-such"]), size=one_of(["1G", "2G", 1 << 30, "1M"]), allow_shrink=flag,
        vm=one_of(["db1", "db2", "", "no-such"]), max_iops=one_of([100]), storage_pool=one_of(["storpool-nvme", "no-such"]),
        delete_protection=flag, on_attached=one_of(["fail", "detach"]), verify=one_of(["strict", "warn", "off"]), repair=flag,
        renamed_from=one_of(["d", "a"]),
    )  # fmt: skip
    if options.get("vm"):
        options.update(optional(draw, device_id=one_of([3, 5])))
    return {
        **options,
        "name": draw(one_of([*NAMES, "d"])),
        "zone": "sofia",
        "state": draw(one_of(["present", "present", "present", "absent"])),
    }


@st.composite
def cloud_snapshots(draw: Callable[..., Any]) -> Options:
    options = optional(draw, backup=flag, verify=one_of(["strict", "warn", "off"]), stop_vm=flag, timezone=one_of(["Europe/Sofia", "Mars"]))
    options.update(
        name=draw(one_of([*NAMES, "n-%Y%m%d", "n-%Y%m%d"])), state=draw(one_of(["present", "present", "absent", "reverted", "pruned"]))
    )
    options["volume"] = draw(one_of(["d", "ROOT-1", "no-such"]))
    if "%" in options["name"]:
        options.update(optional(draw, keep_last=st.integers(1, 2), keep_monthly=st.integers(1, 2)))
    return options


@st.composite
def vm_snapshots(draw: Callable[..., Any]) -> Options:
    options = optional(draw, description=one_of(["about", "относно"]), verify=one_of(["strict", "off"]), stop_vm=flag)
    options.update(name=draw(one_of([*NAMES, "n-%Y%m%d"])), state=draw(one_of(["present", "present", "absent", "reverted", "pruned"])))
    options["vm"] = draw(one_of(["db1", "db2", "no-such"]))
    if "%" in options["name"]:
        options.update(optional(draw, keep_last=st.integers(1, 2), keep_daily=st.integers(1, 2)))
    return options


@st.composite
def snapshot_policies(draw: Callable[..., Any]) -> Options:
    every = {
        "hourly": one_of(["5", "59", "60", "5:1"]), "daily": one_of(["30:2", "0:24", "0:3"]), "weekly": one_of(["0:3:1", "0:3:7", "0:3:8"]),
        "monthly": one_of(["0:3:1", "0:3:28", "0:3:29"]),
    }  # fmt: skip
    zones = one_of(["UTC", "Asia/Kathmandu"])
    chosen = draw(st.lists(one_of(sorted(every)), unique=True, max_size=3))
    policy = [
        {"interval": kind, "schedule": draw(every[kind]), "timezone": draw(zones), "keep": draw(one_of([1, 8, 0]))} for kind in chosen
    ]
    state = draw(one_of(["present", "present", "absent"]))
    return {
        "volume": draw(one_of(["d", "ROOT-1", "no-such"])),
        "state": state,
        "exact": draw(flag),
        **({"policies": policy} if policy and state == "present" else {}),
    }


def with_snapshot(lab: Lab) -> None:
    stopped_machines(lab)
    for module, options in (("volume", {"name": "d", "vm": "db2"}), ("snapshot", {"volume": "d", "name": "s"})):
        made = lab.run(f"cloudstack_{module}", options)
        assert not made.get("failed"), made["msg"]


@st.composite
def made_templates(draw: Callable[..., Any]) -> Options:
    options = optional(
        draw, display_text=one_of(["about", "относно"]), public=flag, featured=flag, verify=one_of(["strict", "off"]),
        os_type=one_of(["Debian GNU/Linux 12 (64-bit)", "no-such"]),
    )  # fmt: skip
    options.update(draw(one_of([{"volume": "d"}, {"volume": "d", "snapshot": "s"}, {"volume": "d", "snapshot": "no-such"}, {}])))
    return {
        **options,
        "name": draw(one_of([*NAMES, "debian-12"])),
        "zone": "sofia",
        "state": draw(one_of(["present", "present", "absent"])),
    }


@st.composite
def settings(draw: Callable[..., Any]) -> Options:
    known = {
        "force.ha": ["true", True, "0", "maybe"], "storage.stats.interval": [70000, "60000", "x", -1],
        "ha.tag": ["a", "", "етикет"], "sp.enable.alternative.endpoint": [True, False, "x"],
        "cluster.memory.allocated.capacity.disablethreshold": [0.5, "0.85", 2, "x"], "no.such": ["1"],
        "sp.alternative.endpoint": ["SP_API_HTTP=127.0.0.1:81;SP_AUTH_TOKEN=815815815815815815;SP_TEMPLATE=nvme", "x"],
    }  # fmt: skip
    name = draw(one_of(sorted(known)))
    options: Options = {"name": name}
    if draw(st.integers(0, 3)):
        options["value"] = draw(one_of(known[name]))
    else:
        options["state"] = "default"
    scope = draw(one_of([{}, {}, {"zone": "sofia"}, {"cluster": "kvm1"}, {"storage_pool": "storpool-nvme"}, {"zone": "no-such"}]))
    return {**options, **scope}


def all_settings(lab: Lab) -> Any:
    """Every setting, everywhere and in each scope that the wishes know."""
    simulator = lab.simulator
    pool = simulator.cs("listStoragePools")[1]["storagepool"][0]["id"]
    zone = simulator.cs("listZones")[1]["zone"][0]["id"]
    cluster = next(one["id"] for one in simulator.cs("listClusters")[1]["cluster"] if one["name"] == "kvm1")
    return [
        {
            one["name"]: one.get("value")
            for one in simulator.cs("listConfigurations", pagesize=-1, **scope)[1]["configuration"]
            if one["category"] != "Secure"  # shown as it is stored, which differs each time
        }
        for scope in ({}, {"zoneid": zone}, {"clusterid": cluster}, {"storageid": pool})
    ]


@st.composite
def pools(draw: Callable[..., Any]) -> Options:
    options = optional(
        draw, tags=one_of([["x"], ["y", "x"], []]), capacity=one_of(["10T", "1T", "1"]), maintenance_first=flag,
        template=one_of(["hybrid", "hybrid", "nvme", "mars"]), forced=flag, renamed_from=one_of(["a", "storpool-nvme"]),
        pool_auth_token=one_of(["815815815815815815"]),
    )  # fmt: skip
    states = ["present", "present", "enabled", "disabled", "maintenance", "absent"]
    return {**options, "name": draw(one_of([*NAMES, "storpool-nvme"])), "zone": "sofia", "state": draw(one_of(states))}


def pools_and_offerings(lab: Lab) -> Any:
    compute = lab.simulator.cs("listServiceOfferings", listall=True, state="all")[1].get("serviceoffering", [])
    told = [{key: value for key, value in one.items() if key not in ("id", "created")} for one in compute]
    return {"compute": sorted(told, key=repr), **both_states(lab)}


@st.composite
def offerings(draw: Callable[..., Any]) -> Options:
    options = optional(
        draw, display_text=one_of(["one", "две"]), max_iops=one_of([100, 200, 0, -1]), storage_tags=one_of([["x"], ["x", "y"], []]),
        details=one_of([{"k": "1"}, {"k": None}, {"ключ": "стойност"}]), template=one_of(["nvme", "hdd", "mars"]),
        renamed_from=one_of(["a", "Small"]),
    )  # fmt: skip
    kind = draw(one_of(["disk", "disk", "compute"]))
    if kind == "compute":
        options.update(cpu_number=draw(st.integers(0, 2)), cpu_speed=1000, memory=draw(one_of([512, 32, 0])))
    else:
        options.update(optional(draw, size=one_of(["1G", "2G", "1M", "0"]), qos_class=one_of(["gold", ""])))
    states = ["present", "present", "active", "inactive", "absent"]
    return {**options, "name": draw(one_of([*NAMES, "Custom"])), "type": kind, "state": draw(one_of(states))}


@st.composite
def cached_templates(draw: Callable[..., Any]) -> Options:
    options = optional(draw, pools=one_of([["storpool-nvme"], ["no-such"]]), keep=flag)
    return {
        **options,
        "name": draw(one_of(["debian-12", "rocky-9", "small-raw", "no-such", "имя"])),
        "zone": "sofia",
        "state": draw(one_of(["present", "present", "absent"])),
    }


def kept(options: Options) -> list[str]:
    """The signal that puts the cleanup of a cache off."""
    return ["prepareTemplate"] if options.get("keep") and options["state"] == "present" else []


@st.composite
def hosts(draw: Callable[..., Any]) -> Options:
    options = optional(
        draw, allow_hyperconverged=flag, recover=flag, update_password=one_of(["always", "on_create"]),
        oobm_port=one_of([623, 0, 70000]), ha_provider=one_of(["kvmhaprovider", "no-such"]),
    )  # fmt: skip
    if draw(st.integers(0, 4)):
        options.update(CONTROLLER)
    state = draw(one_of(["enabled", "enabled", "disabled", "absent"]))
    return {
        **options,
        "host": draw(one_of(["kvm11", "kvm12", "hc1", "no-such"])),
        "state": state,
        "sp_node_ids": {**NODES, "hc1": 1},
        "wait": False,
    }


def reverted(options: Options) -> bool:
    """Contents change, which are told elsewhere (tests/integration)."""
    return options["state"] == "reverted"


def renewed(options: Options) -> bool:
    """A password is set anew, which nobody can see."""
    return options.get("update_password") == "always"


STORIES = {
    story.module: story
    for story in (
        Story("storpool_volume", volumes, "volumes", storpool_state, some_objects, "storpool", unseen=reverted),
        Story("storpool_snapshot", storpool_snapshots, "snapshots", storpool_state, some_objects, "storpool"),
        Story("storpool_template", storpool_templates, "templates", storpool_state, some_objects, "storpool"),
        Story("cloudstack_volume", cloud_volumes, "volumes", machines, two_machines),
        Story("cloudstack_snapshot", cloud_snapshots, "snapshots", snapshots, stopped_machines, unseen=reverted),
        Story("cloudstack_vm_snapshot", vm_snapshots, "vm_snapshots", machines, stopped_machines, unseen=reverted),
        Story("cloudstack_snapshot_policy", snapshot_policies, "snapshot_policies", policies, two_machines),
        Story("cloudstack_template", made_templates, "templates", templates, with_snapshot),
        Story("cloudstack_settings", settings, "settings", all_settings, nothing),
        Story("cloudstack_storage_pool", pools, "pools", both_states, nothing),
        Story("cloudstack_offering", offerings, "offerings", pools_and_offerings, nothing),
        Story("storpool_template_cache", cached_templates, "templates", with_templates, nothing, renews=kept),
        Story("storpool_ha", hosts, "hosts", declared_of_hosts, nothing_moves, unseen=renewed),
    )
}
