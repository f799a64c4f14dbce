# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What may be declared to each module that changes something, in a world small enough for names to meet, as strategies.

A module that changes something and has no story fails a test. `world` names the simulator, `prepare` what is there before the first task,
`state` everything that is compared afterwards (from tests/faults, which compares the same), `option` is the list option for many objects at
once. `unseen` tells of options whose effect no state shows (a password, the bytes of a revert), `anew` of those that ask for it every time,
`secret` of those of which a check run keeps nothing for its next tasks, `renews` which calls are sent by a task that finds everything as
declared.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ansible_collections.storpool.cloudstack.plugins.module_utils._units import NAME_LENGTH
from hypothesis import strategies as st
from lab import A_YEAR, MIB, Lab, storpool_state
from of_cloudstack import CONTROLLER, NODES, a_project, both_states, host_states, machines, policies, snapshots, templates, with_templates

Options = dict[str, Any]

one_of = st.sampled_from
flag = st.booleans()


def mostly(usual: list[Any], *odd: Any) -> st.SearchStrategy[Any]:
    """Values of which one in a dozen is an odd one: were there more, most tasks with several objects would be refused."""
    return st.integers(0, 11).flatmap(lambda lot: one_of(odd if lot == 7 else usual))


# Where a name is a text of letters, digits and a few signs, and where it is any text; with others that are there.
def plain_names(*others: str) -> st.SearchStrategy[str]:
    return mostly(["a", "b", "c", "x" * NAME_LENGTH, *others], "x" * (NAME_LENGTH + 1), "a b", "имя", "a/b", "~1", "")


def names(*others: str) -> st.SearchStrategy[str]:
    return mostly(["a", "b", "том", "x" * 255, *others], "卷 1", "x" * 256, " ", "a\u0301")


def optional(draw: Callable[..., Any], **strategies: Any) -> Options:
    """Options each of which is there or not."""
    return {name: draw(strategy) for name, strategy in strategies.items() if draw(st.booleans())}


def seldom(draw: Callable[..., Any], **strategies: Any) -> Options:
    """Options of which few are there, so that those that refuse a task do not refuse most of them."""
    return {name: draw(strategies[name]) for name in draw(st.lists(one_of(sorted(strategies)), unique=True, max_size=2))}


def an_id(name: str) -> str:
    """What stands for an id that only the world has which `prepare` makes; `prepare` enters it among the lab's facts."""
    return f"(id of {name})"


def several(story: Story, least: int, most: int) -> st.SearchStrategy[list[Options]]:
    """A list of objects, few of them declared twice."""
    return st.lists(story.wishes(), min_size=least, max_size=most, unique_by=lambda options: repr([options.get(key) for key in NAMING]))


def filled(lab: Lab, value: Any) -> Any:
    """Options as they are declared in a world."""
    if isinstance(value, dict):
        return {key: filled(lab, one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [filled(lab, one) for one in value]
    return lab.facts.get(value, value) if isinstance(value, str) else value


# Options that say which object is meant.
NAMING = (
    "name",
    "type",
    "id",
    "global_id",
    "match_tags",
    "volume",
    "vm",
    "host",
    "cluster",
    "zone",
    "account",
    "domain",
    "storage_pool",
    "image_store",
)


@dataclass(frozen=True)
class Story:
    module: str
    wishes: Any
    option: str
    state: Callable[[Lab], Any]
    prepare: Callable[[Lab], None]
    world: str = "cloudstack"
    unseen: Callable[[Options], bool] = lambda options: False
    anew: Callable[[Options], bool] = lambda options: False
    secret: Callable[[Options], bool] = lambda options: False
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


# Once for all worlds: those that are compared with each other are made at different seconds.
FAR_OFF = str(int(time.time()) + 2 * A_YEAR)


def some_objects(lab: Lab) -> None:
    lab.facts[an_id("v")] = lab.volume("v", template="hybrid", tags={"x": "1", "only": "one"}, iops=500)["globalId"]
    lab.facts[an_id("s")] = lab.snapshot("v", "s", tags={"x": "1"})["snapshotGlobalId"]
    lab.volume("cs", tags={"cs": "vol", "x": "1"})
    lab.attach("v", rw=[11])
    lab.facts[an_id("backup")] = lab.backup("v")
    for name in ("n-20260101", "n-20250101"):
        lab.snapshot("v", name)
    lab.facts["(far off)"] = FAR_OFF


@st.composite
def volumes(draw: Callable[..., Any]) -> Options:
    options = optional(
        draw, allow_shrink=flag, replication=st.integers(1, 3), force=flag,
        attach_to=one_of([[], [11], ["11:ro", 12], [13]]), exclusive=flag,
        tags_mode=one_of(["merge", "exact"]), on_attached=one_of(["detach", "detach", "fail", "detach_force"]),
        tags=st.dictionaries(one_of(["x", "y"]), one_of(["1", ""]), max_size=2),
    )  # fmt: skip
    places = one_of(["hdd", "ssd"])
    options.update(
        seldom(
            draw, template=mostly(["hybrid", "nvme", "nvme"], "no-such"), iops=one_of([0, 1, 500, "unlimited", 1 << 40]), place_all=places,
            bw=one_of(["1M", "unlimited", 1]), place_head=places, place_tail=places, attach_to=mostly([[12], [11, 13]], ["x"]),
            tags=mostly([{"x": "2"}, {"y": "x" * NAME_LENGTH}], {"é": "1"}, {"x" * 300: "1"}, {"x": "y" * 300}),
        )
    )  # fmt: skip
    if draw(st.integers(0, 5)):
        options["size"] = draw(mostly([MIB, "1M", "2M", "2M", "4G"], 512, 513, "0"))
    options["state"] = draw(one_of(["present", "present", "present", "absent", "reverted"]))
    if options["state"] == "reverted":
        options["revert_to"] = draw(mostly(["s"], "no-such"))
        options.update(optional(draw, revert_size=flag))
    if options["state"] == "absent":
        kept = one_of([{}, {"name": "kept"}, {"name": "s"}, {"delete_after": "1h", "tags": {"k": "1"}}])
        options.update(optional(draw, keep_snapshot=kept))
    if draw(one_of([True, False, False])):
        remote = {"location": "plovdiv", "id": draw(mostly([an_id("backup")], "sf.a.zz"))}
        options.update(draw(one_of([{"parent": "s"}, {"base_on": "v"}, {"remote": remote}, {"renamed_from": "v"}])))
    by = draw(one_of(["name", "name", "name", "name", "global_id", "match_tags"]))
    if by == "global_id":
        options["global_id"] = draw(mostly([an_id("v")], "sf.a.zz"))
    elif by == "match_tags":
        options["match_tags"] = draw(mostly([{"only": "one"}, {"no": "such"}], {"x": "1"}))
    if by == "name" or (by == "global_id" and draw(flag)):
        options["name"] = draw(plain_names("v", "v") if options["state"] == "present" else mostly(["v", "v", "cs", "a"], "имя"))
    if draw(st.integers(0, 3)) or options.get("name") == "cs":
        options["allow_cloudstack_objects"] = draw(mostly([True], False))
    if "tags" not in options:
        options.pop("tags_mode", None)
    if "attach_to" not in options:
        options.pop("exclusive", None)
    return options


@st.composite
def backups(draw: Callable[..., Any]) -> Options:
    options = optional(draw, tags=st.dictionaries(one_of(["x", "y"]), one_of(["1", ""]), max_size=1))
    options.update(name=draw(mostly(["b", "n-%Y%m%d"], "имя")), backup_to=draw(mostly(["plovdiv"], "mars")))
    options.update(draw(mostly([{"volume": "v"}, {"volumes": ["v", "cs"]}], {"volume": "no-such"})))
    options["allow_cloudstack_objects"] = draw(mostly([True], False))
    state = options["state"] = draw(one_of(["present", "present", "absent", "pruned"]))
    if "%" in options["name"] and state != "absent":
        options.update(optional(draw, keep_last=st.integers(0, 2)), keep_yearly=draw(st.integers(1, 2)))
    return options


@st.composite
def local_snapshots(draw: Callable[..., Any]) -> Options:
    options = optional(
        draw, tags=st.dictionaries(one_of(["x", "y"]), one_of(["1", ""]), max_size=2), bind=flag, allow_cloudstack_objects=flag,
        on_attached=one_of(["fail", "detach", "detach_force"]), unexport=flag, force=flag,
    )  # fmt: skip
    state = options["state"] = draw(one_of(["present", "present", "present", "absent", "pruned"]))
    timed = state == "pruned" or draw(one_of([True, False, False]))
    grouped = draw(one_of([True, False, False]))
    per_volume = "{volume}-" if grouped or draw(st.integers(0, 3)) == 0 else ""
    name = one_of(["n-%Y%m%d", "n-%Y"]) if timed else one_of(["g"]) if grouped else plain_names("s", "s")
    options["name"] = per_volume + draw(name)
    if grouped:
        options["volumes"] = draw(mostly([["v", "cs"], ["v"]], ["v", "v"], ["v", "no-such"]))
    else:
        options["volume"] = draw(mostly(["v", "v", "cs"], "no-such"))
    if "cs" in (*options.get("volumes", ()), options.get("volume")):
        options["allow_cloudstack_objects"] = draw(mostly([True], False))
    if timed and state != "absent":
        rules = {f"keep_{rule}": st.integers(0, 2) for rule in ("last", "hourly", "daily", "weekly", "monthly", "yearly")}
        options.update(seldom(draw, **rules), keep_last=draw(st.integers(1, 2)))
        options.update(
            seldom(draw, max_deletes=st.integers(0, 2), series_tags=st.just({"y": "1"}), timezone=mostly(["Asia/Kathmandu"], "Mars"))
        )
    if state == "present":
        options.update(optional(draw, attach_to=one_of([[], [11], [12, 13]]), export_to=mostly([[], ["plovdiv"]], ["mars"])))
        places = one_of(["hdd", "ssd"])
        options.update(
            seldom(
                draw, delete_after=mostly(["1d", "never"], "0"), delete_at=mostly(["(far off)", "never"], "2020-01-01"), place_all=places,
                template=mostly(["nvme"], "no-such"), iops=one_of([1, "unlimited"]), bw=one_of(["1M"]), replication=st.integers(1, 3),
                place_head=places, place_tail=places, renamed_from=one_of(["s", "a"]),
            )
        )  # fmt: skip
        if "attach_to" in options:
            options.update(optional(draw, exclusive=flag))
        if "export_to" in options:
            options.update(optional(draw, export_mode=one_of(["merge", "exact"])))
        if "tags" in options:
            options.update(optional(draw, tags_mode=one_of(["merge", "exact"])))
        if "delete_after" in options:
            options.update(optional(draw, renew_expiry=flag))
    if not (timed or grouped) and draw(st.integers(0, 4)) == 0:
        options["global_id"] = draw(mostly([an_id("s")], "sf.a.zz"))
        del options["volume"], options["name"]
    return options


def storpool_snapshots() -> st.SearchStrategy[Options]:
    return st.integers(0, 5).flatmap(lambda lot: local_snapshots() if lot else backups())


@st.composite
def storpool_templates(draw: Callable[..., Any]) -> Options:
    places = mostly(["hdd", "ssd", "default"], "mars")
    options = optional(
        draw, size=mostly(["1M", "4K"], 5), iops=one_of(["5", "unlimited"]), bw=one_of(["9", "unlimited"]),
        replication=mostly([1, 2, 3], 0, 4),
        parent=mostly(["s"], "no-such"), reuse_server=flag, propagate=flag, place_all=places, place_head=places, place_tail=places,
        allow_cloudstack_objects=flag,
    )  # fmt: skip
    options.update(seldom(draw, renamed_from=one_of(["a", "hybrid"]), replication=st.just(3)))
    return {**options, "name": draw(plain_names("nvme", "hybrid")), "state": draw(one_of(["present", "present", "absent"]))}


# -- CloudStack


# Most tasks say nothing of whose something is.
OWNERS: list[Options] = [
    *[{}] * 12, {"domain": "ROOT"}, {"account": "admin", "domain": "ROOT"},
    {"project": "web"}, {"zone": "sofia"}, {"zone": "sofia", "domain": "ROOT"},
]  # fmt: skip
NOBODYS: list[Options] = [{"project": "no-such"}, {"zone": "no-such"}, {"account": "ops", "domain": "ROOT/ops"}, {"account": "admin"}]
OWNED = mostly(OWNERS, *NOBODYS)


def made(lab: Lab, module: str, options: Options) -> Options:
    """Something that is there before the first task: what the result tells of it."""
    result = lab.run(module, options)
    assert not result.get("failed"), result["msg"]
    return next(value for value in result.values() if isinstance(value, list) and value and "object" in value[0])[0]["object"]


def two_machines(lab: Lab) -> None:
    for name in ("db1", "db2"):
        lab.facts[an_id(name)] = lab.simulator.deploy(name)["id"]
    lab.facts[an_id("d")] = made(lab, "cloudstack_volume", {"name": "d", "zone": "sofia", "offering": "Custom", "size": "1G"})["id"]
    a_project(lab, "web")


def stopped_machines(lab: Lab) -> None:
    two_machines(lab)
    for machine in lab.simulator.cs("listVirtualMachines", listall=True)[1]["virtualmachine"]:
        if machine["name"] == "db2":
            lab.simulator.cs_done("stopVirtualMachine", id=machine["id"])


@st.composite
def cloud_volumes(draw: Callable[..., Any]) -> Options:
    options = optional(draw, vm=one_of(["db1", "db1", "db2", ""]), verify=one_of(["strict", "warn", "off"]), repair=flag)
    kinds: list[Options] = [
        {"offering": "Custom", "size": "1G"}, {"offering": "Custom", "size": "2G"}, {"offering": "Custom", "size": 3 << 30},
        {"offering": "Small"}, {"offering": "Open", "size": "2G", "max_iops": 100}, {"snapshot": "s"}, {"snapshot": "s", "size": "2G"},
        {"offering": "Secret", "size": "1G"},
    ]  # fmt: skip
    odd: list[Options] = [
        {"offering": "no-such"},
        {"snapshot": "no-such"},
        {"offering": "Custom", "size": "1M"},
        {"offering": "Custom", "size": "64T"},
    ]
    options["name"] = draw(names("d", "d"))
    if options["name"] != "d" or draw(flag):
        options.update(draw(mostly(kinds, *odd)))
    options.update(
        seldom(
            draw, max_iops=one_of([100, 0]), storage_pool=mostly(["storpool-nvme", "archive"], "no-such"), delete_protection=flag,
            renamed_from=one_of(["d", "a"]), encrypted=flag, sp_node_ids=mostly([NODES], {"kvm11": 12}), id=mostly([an_id("d")], "no-such"),
            vm=mostly(["db2"], "no-such"), size=one_of(["1G", "2G", "4G"]),
        )
    )  # fmt: skip
    if options.get("vm"):
        options.update(optional(draw, device_id=mostly([4, 5], 3)))
    if "max_iops" in options:
        options.update(optional(draw, min_iops=mostly([0], 101)))
    if "id" in options and draw(flag):
        del options["name"]
    options.update(allow_shrink=draw(flag), on_attached=draw(one_of(["fail", "detach", "detach"])), **draw(OWNED))
    return {"zone": "sofia", **options, "state": draw(one_of(["present", "present", "present", "absent"]))}


KEEP: dict[str, Any] = {
    **{f"keep_{rule}": st.integers(0, 2) for rule in ("hourly", "daily", "weekly", "monthly", "yearly")}, "max_deletes": st.integers(0, 2),
}  # fmt: skip


@st.composite
def series(draw: Callable[..., Any], state: str) -> Options:
    """The name of a snapshot or of a series, with what is kept of it."""
    if state != "pruned" and draw(st.integers(0, 2)):
        return {"name": draw(names("n-%Y%m%d"))}
    kept = {"keep_last": draw(st.integers(1, 2)), **seldom(draw, **KEEP)} if state in ("present", "pruned") else {}
    return {"name": draw(one_of(["n-%Y%m%d", "n-%Y"])), **kept}


@st.composite
def cloud_snapshots(draw: Callable[..., Any]) -> Options:
    state = draw(one_of(["present", "present", "absent", "reverted", "pruned"]))
    options = {"volume": draw(mostly(["d", "d", an_id("d"), "ROOT-1", "ROOT-2"], "no-such")), "state": state, **draw(OWNED)}
    options.update(optional(draw, verify=one_of(["strict", "warn", "off"])), **draw(series(state)))
    options.update(seldom(draw, timezone=mostly(["Europe/Sofia"], "Mars"), wait_timeout=one_of(["1m", "2m"])))
    if state == "present":
        options.update(optional(draw, backup=mostly([True], False), zones=mostly([["sofia"], []], ["no-such"])))
    if state == "reverted":
        options.update(optional(draw, stop_vm=flag), name=draw(names("s", "s", "s")))
    if state in ("absent", "reverted") and draw(st.integers(0, 3)) == 0:
        options["id"] = draw(mostly([an_id("s")], "no-such"))
        del options["name"]
    return options


@st.composite
def vm_snapshots(draw: Callable[..., Any]) -> Options:
    state = draw(one_of(["present", "present", "absent", "reverted", "pruned"]))
    options = {"vm": draw(mostly(["db1", "db1", an_id("db1"), "db2", "db2"], "no-such")), "state": state, **draw(OWNED)}
    options.update(optional(draw, verify=one_of(["strict", "warn", "off"])), **draw(series(state)))
    options.update(seldom(draw, timezone=mostly(["Europe/Sofia"], "Mars")))
    if state == "present":
        options.update(optional(draw, description=one_of(["about", "относно"])))
    if state == "reverted":
        options.update(optional(draw, stop_vm=flag), name=draw(names("before", "before", "before")))
    if state in ("absent", "reverted") and draw(st.integers(0, 3)) == 0:
        options["id"] = draw(mostly([an_id("before")], "no-such"))
        del options["name"]
    return options


@st.composite
def snapshot_policies(draw: Callable[..., Any]) -> Options:
    every = {
        "hourly": mostly(["5", "59"], "60", "5:1"), "daily": mostly(["30:2", "0:3"], "0:24"), "weekly": mostly(["0:3:1", "0:3:7"], "0:3:8"),
        "monthly": mostly(["0:3:1", "0:3:28"], "0:3:29"),
    }  # fmt: skip
    zones = one_of(["UTC", "Asia/Kathmandu"])
    chosen = draw(st.lists(one_of(sorted(every)), unique=True, min_size=1, max_size=3))
    policy = [
        {"interval": kind, "schedule": draw(every[kind]), "timezone": draw(zones), "keep": draw(mostly([1, 8], 0))} for kind in chosen
    ]
    state = draw(one_of(["present", "present", "absent"]))
    declared = {"policies": policy, "exact": draw(flag)} if state == "present" else {}
    return {"volume": draw(mostly(["d", "d", an_id("d"), "ROOT-1", "ROOT-2"], "no-such")), "state": state, **draw(OWNED), **declared}


def with_snapshot(lab: Lab) -> None:
    stopped_machines(lab)
    made(lab, "cloudstack_volume", {"name": "d", "vm": "db2"})
    lab.facts[an_id("s")] = made(lab, "cloudstack_snapshot", {"volume": "d", "name": "s"})["id"]


def with_choices(lab: Lab) -> None:
    """Besides, offerings that leave the limit open or encrypt, and a second pool, with a tag."""
    with_snapshot(lab)
    made(lab, "cloudstack_offering", {"name": "Open", "custom_iops": True})
    made(lab, "cloudstack_offering", {"name": "Secret", "encrypt": True})
    made(lab, "cloudstack_storage_pool", {"name": "archive", "zone": "sofia", "template": "hybrid", "tags": ["archive"]})


def with_vm_snapshot(lab: Lab) -> None:
    stopped_machines(lab)
    lab.facts[an_id("before")] = made(lab, "cloudstack_vm_snapshot", {"vm": "db1", "name": "before"})["id"]


@st.composite
def made_templates(draw: Callable[..., Any]) -> Options:
    options = optional(
        draw, display_text=one_of(["about", "относно"]), public=flag, featured=flag, verify=one_of(["strict", "warn", "off"]),
        os_type=mostly(["Debian GNU/Linux 12 (64-bit)"], "no-such"),
    )  # fmt: skip
    options.update(seldom(draw, wait_timeout=one_of(["1m", "0"])))
    options.update(draw(mostly([{"volume": "d"}, {"volume": "d", "snapshot": "s"}], {"volume": "d", "snapshot": "no-such"}, {})))
    return {
        "zone": "sofia",
        **options,
        **draw(OWNED),
        "name": draw(names("debian-12")),
        "state": draw(one_of(["present", "present", "absent"])),
    }


# Settings of every type, in every scope that there is, with values of which some are no values of theirs.
SETTINGS: dict[str, tuple[tuple[Any, ...], list[Options]]] = {
    "force.ha": ((["true", True, False], "0", "maybe"), [{"cluster": "kvm1"}]),
    "storage.stats.interval": (([70000, "60000"], "x", -1, 1 << 31), []),
    "backup.framework.sync.interval": (([300, 1 << 31], "1e3"), []),
    "ha.tag": ((["a", "", "етикет", "x" * 4095], "x" * 4096, "x" * 5000), []),
    "sp.enable.alternative.endpoint": (([True, False], "x"), [{"storage_pool": "storpool-nvme"}]),
    "cluster.memory.allocated.capacity.disablethreshold": (([0.5, "0.85"], 2, "x"), [{"cluster": "kvm1"}]),
    "sp.alternative.endpoint": (
        (["SP_API_HTTP=127.0.0.1:81;SP_AUTH_TOKEN=815815815815815815;SP_TEMPLATE=nvme"], "x"), [{"storage_pool": "storpool-nvme"}],
    ),
    "storage.overprovisioning.factor": (([1, 2.5], "x"), [{"storage_pool": "storpool-nvme"}]),
    "kvm.ha.fence.on.storage.heartbeat.failure": (([True, "false"], None), [{"zone": "sofia"}]),
    "network.throttling.rate": (([100, "200"], "x"), [{"zone": "sofia"}]),
    "guest.domain.suffix": ((["a.example", ""], "б"), [{"zone": "sofia"}]),
    "allow.user.expunge.recover.vm": (([True, False], 5), [{"account": "ops"}, {"account": "ops", "domain": "ROOT/ops"}]),
    "vmsnapshot.expire.interval": (([-1, 5], "x"), [{"account": "ops"}, {"account": "admin", "domain": "ROOT"}]),
    "ldap.basedn": ((["dc=a", "dc=б"], ""), [{"domain": "ROOT/ops"}]),
    "ldap.bind.password": ((["hunter2hunter2"], ""), [{"domain": "ROOT"}]),
    "alert.smtp.password": ((["hunter2hunter2"], ""), []),
    "image.store.capacity.threshold": (([0.5, "0.90"], "x"), [{"image_store": "nfs-secondary"}]),
    "kvm.snapshot.enabled": (([True, False], "x"), []),
    "no.such": ((["1"], "x"), []),
}  # fmt: skip
ENCRYPTED = ("ldap.bind.password", "alert.smtp.password")
NO_SCOPES: list[Options] = [{"zone": "no-such"}, {"account": "no-such"}, {"domain": "ops"}, {"image_store": "no-such"}, {"cluster": "kvm1"}]


@st.composite
def settings(draw: Callable[..., Any]) -> Options:
    name = draw(mostly(sorted(SETTINGS.keys() - {"no.such"}), "no.such"))
    values, scopes = SETTINGS[name]
    options: Options = {"name": name, **seldom(draw, secret=flag, update_encrypted=one_of(["on_create", "always"]))}
    if draw(st.integers(0, 3)):
        options.update(optional(draw, state=st.just("present")), value=draw(mostly(*values)))
    else:
        options["state"] = "default"
    if draw(flag):
        options.update(draw(mostly(scopes or [{}], *NO_SCOPES)))
    return options


def all_settings(lab: Lab) -> Any:
    """Every setting, everywhere and in each scope that the wishes know."""
    simulator = lab.simulator
    listings = {
        "storageid": ("listStoragePools", "storagepool", "name"), "zoneid": ("listZones", "zone", "name"),
        "clusterid": ("listClusters", "cluster", "name"),
        "accountid": ("listAccounts", "account", "name"), "domainid": ("listDomains", "domain", "path"),
        "imagestoreuuid": ("listImageStores", "imagestore", "name"),
    }  # fmt: skip
    scopes = {"everywhere": {}}
    for parameter, (call, key, name) in listings.items():
        scopes.update({f"{key} {one[name]}": {parameter: one["id"]} for one in simulator.cs(call, listall=True)[1][key]})
    return {
        scope: {
            one["name"]: one.get("value")
            for one in simulator.cs("listConfigurations", pagesize=-1, **which)[1].get("configuration", [])
            if one["category"] != "Secure"  # shown as it is stored, which differs each time
        }
        for scope, which in scopes.items()
    }


@st.composite
def pools(draw: Callable[..., Any]) -> Options:
    options = optional(
        draw, tags=one_of([["x"], ["y", "x"], []]), capacity=mostly(["10T", "1T"], "1"), maintenance_first=flag,
        pool_auth_token=mostly(["(token)"], "815815815815815815"),
    )  # fmt: skip
    options.update(
        seldom(
            draw, pool_api_http=mostly(["127.0.0.1:81"], "x"), id=mostly([an_id("storpool-nvme")], "no-such"), forced=flag,
            renamed_from=one_of(["a", "storpool-nvme"]), maintenance_first=flag,
        )
    )  # fmt: skip
    states = ["present", "present", "enabled", "disabled", "maintenance", "absent"]
    options.update(name=draw(names("storpool-nvme")), zone="sofia", state=draw(one_of(states)))
    if draw(st.integers(0, 5)):
        # A pool has a template for itself.
        options["template"] = draw(
            mostly([{"storpool-nvme": "nvme", "a": "hybrid", "b": "hdd"}.get(options["name"], "spare")], "mars", "nvme")
        )
    return options


def a_pool(lab: Lab) -> None:
    lab.facts[an_id("storpool-nvme")] = lab.simulator.cs("listStoragePools")[1]["storagepool"][0]["id"]
    lab.facts["(token)"] = lab.simulator.token
    lab.do("VolumeTemplateCreate", {"name": "spare", "replication": 2, "placeAll": "hdd"})


def pools_and_offerings(lab: Lab) -> Any:
    compute = lab.simulator.cs("listServiceOfferings", listall=True, state="all")[1].get("serviceoffering", [])
    told = [{key: value for key, value in one.items() if key not in ("id", "created", "diskofferingid")} for one in compute]
    return {"compute": sorted(told, key=repr), **both_states(lab)}


@st.composite
def offerings(draw: Callable[..., Any]) -> Options:
    options = optional(
        draw, display_text=one_of(["one", "две"]), max_iops=one_of([100, 200]), storage_tags=one_of([["x"], ["x", "y"], []]),
        details=one_of([{"k": "1"}, {"k": None}, {"ключ": "стойност"}]), template=one_of(["nvme", "hdd", ""]),
    )  # fmt: skip
    options.update(
        seldom(
            draw, max_iops=mostly([300], 0, -1), template=mostly(["hybrid"], "mars"), renamed_from=one_of(["a", "Small"]), custom_iops=flag,
            provisioning_type=one_of(["thin", "sparse", "fat"]), encrypt=flag, zones=mostly([["sofia"], []], ["no-such"]),
            domains=mostly([["ROOT/ops"], []], ["no-such"]), display_text=mostly(["x" * 255], "", "x" * 4097),
            id=mostly([an_id("Custom")], "no-such"),
        )
    )  # fmt: skip
    if "max_iops" in options:
        options.update(optional(draw, min_iops=one_of([1, 200])))
    kind = draw(one_of(["disk", "disk", "compute"]))
    if kind == "compute":
        options.update(cpu_number=draw(mostly([1, 1, 2], 0)), cpu_speed=1000, memory=draw(mostly([512, 1024], 32, 0)))
        options.update(seldom(draw, root_size=mostly(["1G"], "1M"), offer_ha=flag, host_tags=one_of([["x"], []])))
    else:
        options.update(optional(draw, size=one_of(["1G", "2G"]), qos_class=one_of(["gold", ""])))
        options.update(seldom(draw, size=mostly(["3G"], "1M", "0", "8192P"), custom_size=flag, strict_size=flag))
    states = ["present", "present", "active", "inactive", "absent"]
    return {**options, "name": draw(names("Custom")), "type": kind, "state": draw(one_of(states))}


def an_offering(lab: Lab) -> None:
    listed = lab.simulator.cs("listDiskOfferings", listall=True)[1]["diskoffering"]
    lab.facts[an_id("Custom")] = next(one["id"] for one in listed if one["name"] == "Custom")


@st.composite
def cached_templates(draw: Callable[..., Any]) -> Options:
    options = optional(draw, pools=mostly([["storpool-nvme"]], ["no-such"]))
    options.update(seldom(draw, wait_timeout=one_of(["1m", "2m"])), zone="sofia", state=draw(one_of(["present", "present", "absent"])))
    parts = optional(
        draw, name=one_of([["d*", "small-raw"], ["*"], ["no-such"]]), featured=flag, public=flag, account=one_of(["system", "admin"]),
    )  # fmt: skip
    parts.update(seldom(draw, tags=st.just({"x": "1"}), type=mostly([["BUILTIN", "USER"]], ["SYSTEM"])))
    name = draw(mostly(["debian-12", "rocky-9", "small-raw"], "no-such", "имя"))
    ways: list[Options] = [{"name": name}, {"name": name}, {"id": draw(mostly([an_id("rocky-9")], "no-such"))}, {"filter": parts}]
    if options["state"] == "absent":
        return {**options, **optional(draw, evict=st.just("storpool_orphans_only")), **draw(one_of([*ways, {}]))}
    return {**options, **optional(draw, keep=flag), **draw(one_of(ways))}


def with_orphans(lab: Lab) -> None:
    """Snapshots that look like caches of templates that CloudStack does not know."""
    lab.volume("v", template="nvme")
    for number in range(2):
        lab.snapshot("v", f"orphan-{number}", tags={"cs": "template", "uuid": f"00000000-0000-4000-8000-00000000000{number}"})
    listed = lab.simulator.cs("listTemplates", templatefilter="all")[1]["template"]
    lab.facts[an_id("rocky-9")] = next(one["id"] for one in listed if one["name"] == "rocky-9")


def kept(options: Options) -> list[str]:
    """The signal that puts the cleanup of a cache off."""
    return ["prepareTemplate"] if options.get("keep") and options["state"] == "present" else []


@st.composite
def hosts(draw: Callable[..., Any]) -> Options:
    options = optional(draw, allow_hyperconverged=flag, recover=flag, update_password=one_of(["always", "on_create", "on_create"]))
    options.update(
        seldom(
            draw, allow_single_host_cluster=flag, oobm_driver=one_of(["ipmitool", "redfish", "nestedcloudstack"]),
            wait_timeout=one_of(["1m", "2m"]), oobm_port=mostly([623, 624], 0, 70000), ha_provider=mostly(["kvmhaprovider"], "no-such"),
        )
    )  # fmt: skip
    where = draw(
        mostly([{"host": "kvm11"}, {"host": "kvm12"}, {"host": "hc1"}, {"cluster": "kvm1"}, {"zone": "sofia"}], {"host": "no-such"})
    )
    if draw(st.integers(0, 5)):
        options.update({key: value for key, value in CONTROLLER.items() if key != "oobm_address" or "host" in where})
    if where == {"host": "hc1"}:
        options["allow_hyperconverged"] = draw(mostly([True], False))
    state = draw(one_of(["enabled", "enabled", "disabled", "absent"]))
    return {**options, **where, "state": state, "sp_node_ids": {**NODES, "hc1": 1, "hc2": 2, "hc3": 3}, "wait": False}


def reverted(options: Options) -> bool:
    """Contents change, which are told elsewhere (tests/integration)."""
    return options["state"] == "reverted"


def renewed(options: Options) -> bool:
    """A password is set anew, which nobody can see."""
    return options.get("update_password") == "always"


def encrypted(options: Options) -> bool:
    return options["name"] in ENCRYPTED


def encrypted_anew(options: Options) -> bool:
    """Nobody can see whether what is encrypted is as declared."""
    return encrypted(options) and options.get("update_encrypted") == "always"


def expires_anew(options: Options) -> bool:
    return bool(options.get("renew_expiry"))


STORIES = {
    story.module: story
    for story in (
        Story("storpool_volume", volumes, "volumes", storpool_state, some_objects, "storpool", unseen=reverted),
        Story(
            "storpool_snapshot",
            storpool_snapshots,
            "snapshots",
            storpool_state,
            some_objects,
            "storpool",
            unseen=expires_anew,
            anew=expires_anew,
        ),
        Story("storpool_template", storpool_templates, "templates", storpool_state, some_objects, "storpool"),
        Story("cloudstack_volume", cloud_volumes, "volumes", machines, with_choices),
        Story("cloudstack_snapshot", cloud_snapshots, "snapshots", snapshots, with_snapshot, unseen=reverted),
        Story("cloudstack_vm_snapshot", vm_snapshots, "vm_snapshots", machines, with_vm_snapshot, unseen=reverted),
        Story("cloudstack_snapshot_policy", snapshot_policies, "snapshot_policies", policies, with_snapshot),
        Story("cloudstack_template", made_templates, "templates", templates, with_snapshot),
        Story("cloudstack_settings", settings, "settings", all_settings, nothing, unseen=encrypted, anew=encrypted_anew, secret=encrypted),
        Story("cloudstack_storage_pool", pools, "pools", both_states, a_pool),
        Story("cloudstack_offering", offerings, "offerings", pools_and_offerings, an_offering),
        Story("storpool_template_cache", cached_templates, "templates", with_templates, with_orphans, renews=kept),
        Story("storpool_ha", hosts, "hosts", declared_of_hosts, nothing_moves, unseen=renewed, anew=renewed),
    )
}
