# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What holds for every VM snapshot and every offering of CloudStack that can be declared, over every CloudStack that can be there."""

from __future__ import annotations

import copy
from datetime import datetime, timezone
from typing import Any

from ansible_collections.storpool.cloudstack.plugins.module_utils._errors import CollectionError
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources._cloud import Owner
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources.offering import OFFERINGS
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources.offering import World as Offered
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources.vm_snapshot import VM_SNAPSHOTS
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources.vm_snapshot import World as Taken
from ansible_collections.storpool.cloudstack.plugins.modules import cloudstack_offering, cloudstack_vm_snapshot
from hypothesis import given
from hypothesis import strategies as st
from planning import maybe, parsed
from things import raw_snapshot

NOW = 1_795_356_000


# -- VM snapshots


class Machines:
    """One VM with its snapshots, on both systems."""

    def __init__(self, machine, volumes, snapshots, torn):
        self.machine, self.volumes, self.torn = machine, volumes, torn
        self.snapshots = {one["id"]: one for one in snapshots}

    def world(self):
        groups = {
            identity: [
                raw_snapshot("", 50 + number, tags={"cs": "group", "uuid": identity}, creationTimestamp=NOW)
                for number in range(len(self.volumes) - (identity in self.torn))
            ]
            for identity in self.snapshots
        }
        return Taken(
            {Owner(): [self.machine]}, {"m1": copy.deepcopy(list(self.snapshots.values()))}, {"m1": self.volumes}, groups,
            look=lambda client: None,
        )  # fmt: skip

    def send(self, change):
        call, params = change.write.call, dict(change.write.params)
        if call == "createVMSnapshot":
            assert self.machine["state"] in ("Running", "Stopped") and params["snapshotmemory"] is False
            self.snapshots["new"] = taken("new", params["name"], "Ready", NOW, description=params["description"])
        elif call == "deleteVMSnapshot":
            del self.snapshots[params["vmsnapshotid"]]
        elif call == "revertToVMSnapshot":
            assert self.machine["state"] == "Stopped" and params["vmsnapshotid"] in self.snapshots
        elif call == "stopVirtualMachine":
            self.machine["state"] = "Stopped"
        elif call == "startVirtualMachine":
            assert self.machine["state"] == "Stopped"
            self.machine["state"] = "Running"
        elif call == "createTags":
            self.machine["tags"] = [{"key": params["tags[0].key"]}]
        elif call == "deleteTags":
            self.machine["tags"] = []
        else:
            raise AssertionError(call)


def taken(identity, name, state, moment, **more):
    created = datetime.fromtimestamp(moment, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S+0000")
    fields = {"id": identity, "displayname": name, "virtualmachineid": "m1", "virtualmachinename": "db1", "state": state, "type": "Disk"}
    return {**fields, "created": created, **more}


@st.composite
def machines(draw):
    states = ["Running", "Running", "Stopped", "Starting"]
    machine = {"id": "m1", "name": "db1", "state": draw(st.sampled_from(states)), "tags": []}
    paths = ["/dev/storpool-byid/sf.a.{0}", "/dev/storpool-byid/sf.a.{0}", "/mnt/{0}"]
    volumes = [
        {"id": f"v{number}", "name": f"disk{number}", "path": draw(st.sampled_from(paths)).format(number), "virtualmachineid": "m1"}
        for number in range(draw(st.integers(0, 2)))
    ]
    # Days before now at which snapshots of these names were taken.
    days = {"before": 3, "n-20261122": 0, "n-20261121": 1, "n-20261101": 21, "n-20251122": 365, "n-1": 40}
    names = draw(st.lists(st.sampled_from(sorted(days)), max_size=5))
    states = ["Ready", "Ready", "Ready", "Error", "Creating"]
    snapshots = [
        taken(f"s{number}", name, draw(st.sampled_from(states)), NOW - 3600 - 86400 * days[name]) for number, name in enumerate(names)
    ]
    return Machines(machine, volumes, snapshots, draw(st.sets(st.sampled_from(["s0", "s1"]), max_size=1)))


@given(
    machines(),
    st.fixed_dictionaries(
        {
            "vm": st.sampled_from(["db1", "db1", "db1", "m1", "no-such"]),
            "name": st.sampled_from(["before", "n-%Y%m%d", "n-%Y%m%d", "other"]),
            "state": st.sampled_from(["present", "present", "absent", "reverted", "pruned"]),
            "verify": st.sampled_from(["strict", "warn", "off"]),
            "keep_last": maybe(st.integers(1, 3)),
            "keep_monthly": maybe(st.integers(1, 3)),
            "max_deletes": maybe(st.integers(0, 3)),
            "stop_vm": maybe(st.booleans()),
        }
    ),
)
def test_one_vm_snapshot_or_series(model, options):
    """The planner never raises; a refusal changes nothing; what it predicts comes to be; and then nothing is left to do."""
    wanted = parsed(cloudstack_vm_snapshot.DECLARED, options, NOW)
    plan = VM_SNAPSHOTS.plan(wanted, model.world())
    if plan.refused is not None:
        assert isinstance(plan.refused, CollectionError) and not plan.changes
        return
    state = model.machine["state"]
    before = {one["displayname"] for one in model.snapshots.values()}
    for change in plan.changes:
        model.send(change)
    assert model.machine["state"] == state and not model.machine["tags"]
    there = {one["displayname"] for one in model.snapshots.values()}
    if wanted.state == "present":
        assert wanted.name in there
        # Whatever was there under other names and is no member of the series that is pruned stays.
        assert {name for name in before - there if not name.startswith("n-2")} == set()
    if wanted.state == "absent":
        assert (wanted.name not in there or wanted.vm == "no-such") and before - there <= {wanted.name}
    if wanted.state == "reverted":
        assert there == before
        return  # the content of disks is not in this model: see tests/integration
    again = VM_SNAPSHOTS.plan(wanted, model.world())
    assert again.refused is None and not again.changes and again.before == again.after


# -- offerings


class Offers:
    """The offerings of a CloudStack, as its listings have them."""

    NAMES = {
        "disk": {"disksize": "disksize", "customized": "iscustomized", "disksizestrictness": "disksizestrictness", "encrypt": "encrypt"},
        "compute": {"cpunumber": "cpunumber", "cpuspeed": "cpuspeed", "memory": "memory", "offerha": "offerha",
                    "rootdisksize": "rootdisksize", "encryptroot": "encryptroot", "hosttags": "hosttags"},
    }  # fmt: skip
    BOTH = {"miniops": "miniops", "maxiops": "maxiops", "customizediops": "iscustomizediops", "provisioningtype": "provisioningtype",
            "name": "name", "displaytext": "displaytext", "state": "state"}  # fmt: skip
    TAGS = {"disk": "tags", "compute": "storagetags"}
    DETAILS = {"disk": "details", "compute": "serviceofferingdetails"}

    def __init__(self):
        self.rows: dict[str, list[dict[str, Any]]] = {"disk": [], "compute": []}
        self.number = 0

    def world(self):
        return Offered(copy.deepcopy(self.rows), templates=frozenset({"nvme", "hdd"}), version=(4, 22, 0, 0))

    def send(self, change, after):
        call, params = change.write.call, dict(change.write.params)
        kind = "compute" if "ServiceOffering" in (call, params.get("resourcetype")) or "ServiceOffering" in call else "disk"
        rows = self.rows[kind]
        if call.startswith("create"):
            self.number += 1
            row: dict[str, Any] = {"id": f"{kind}{self.number}", "state": "Active"}
            details = params.pop(self.DETAILS[kind], {})
            tags = params.pop("tags", [])
            hosts = params.pop("hosttags", [])
            row.update({self.DETAILS[kind]: details, self.TAGS[kind]: ",".join(tags)}, **({"hosttags": ",".join(hosts)} if hosts else {}))
            names = {**self.NAMES[kind], **self.BOTH}
            row.update({names[key]: value for key, value in params.items()})
            if kind == "disk" and not row.get("disksize"):
                row["disksize"] = 0
            rows.append(row)
            (take,) = change.learn.values()
            take(after, row)
            return
        row = next(one for one in rows if one["id"] == params.get("id", params.get("resourceid")))
        if call.startswith("update"):
            row.update({key: value for key, value in params.items() if key != "id"})
        elif call.startswith("delete"):
            rows.remove(row)
        elif call == "addResourceDetail":
            for number in range(sum(key.endswith(".key") for key in params)):
                row[self.DETAILS[kind]][params[f"details[{number}].key"]] = params[f"details[{number}].value"]
        elif call == "removeResourceDetail":
            del row[self.DETAILS[kind]][params["key"]]
        else:
            raise AssertionError(call)


@st.composite
def offerings(draw):
    kind = draw(st.sampled_from(["disk", "compute"]))
    options: dict[str, Any] = {
        "type": kind,
        "name": draw(st.sampled_from(["a", "b"])),
        "renamed_from": draw(st.sampled_from([None, None, "a", "b"])),
        "state": draw(st.sampled_from(["present", "present", "active", "inactive", "absent"])),
        "display_text": draw(maybe(st.sampled_from(["one", "two"]))),
        "max_iops": draw(maybe(st.sampled_from([100, 200]))),
        "storage_tags": draw(maybe(st.lists(st.sampled_from(["x", "y", " x "]), max_size=3))),
        "details": draw(maybe(st.dictionaries(st.sampled_from(["k", "l"]), st.sampled_from(["1", "2", None]), max_size=2))),
        "template": draw(st.sampled_from([None, "nvme", "", "no-such"])),
    }
    if kind == "compute":
        options.update(cpu_number=1, cpu_speed=1000, memory=draw(st.sampled_from([None, 512, 512, 512])))
        options["host_tags"] = draw(maybe(st.lists(st.sampled_from(["x", "y"]), max_size=2)))
    else:
        options.update(size=draw(maybe(st.sampled_from(["1G", "2G"]))), qos_class=draw(st.sampled_from([None, "gold", ""])))
    return options


@given(st.lists(offerings(), min_size=1, max_size=5))
def test_offerings_one_after_the_other(every):
    """Whatever was declared before: what a plan predicts comes to be, and then nothing is left to do."""
    model = Offers()
    for options in every:
        wanted = parsed(cloudstack_offering.DECLARED, options, NOW)
        before = copy.deepcopy(model.rows)
        plan = OFFERINGS.plan(wanted, model.world())
        if plan.refused is not None:
            assert isinstance(plan.refused, CollectionError) and not plan.changes
            continue
        assert bool(plan.changes) == (plan.before != plan.after)
        for change in plan.changes:
            model.send(change, plan.after)
        again = OFFERINGS.plan(wanted, model.world())
        assert again.refused is None and not again.changes
        assert again.before == again.after == plan.after
        touched = {plan.after["id"] if plan.after else None, plan.before["id"] if plan.before else None}
        for kind, rows in before.items():
            assert [one for one in rows if one["id"] not in touched] == [one for one in model.rows[kind] if one["id"] not in touched]
