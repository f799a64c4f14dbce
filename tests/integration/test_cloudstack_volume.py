# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""cloudstack_volume against each version of the simulated CloudStack, with the StorPool that its plugin drives."""

from __future__ import annotations

import re

import pytest
from storpool_simulator.testing import address

MODULE = "cloudstack_volume"
GIB = 1 << 30


@pytest.fixture
def simulator(cloud):
    return cloud


@pytest.fixture
def volumes(simulator):
    """`volumes()` is what CloudStack lists, by name."""
    return lambda: {one["name"]: one for one in simulator.cs_volumes()}


@pytest.fixture
def on_storpool(simulator):
    """`on_storpool(row)` is the volume on StorPool."""
    return lambda row: simulator.get(f"Volume/{address(row)}")[1]["data"][0]


@pytest.fixture
def db1(simulator):
    return simulator.deploy("db1")


def entry(result):
    return result["volumes"][0]


# -- life


def test_born_at_the_first_attach(declare, volumes, on_storpool, db1):
    made = declare(name="data", zone="sofia", offering="Custom", size="1G")
    assert entry(made)["object"]["state"] == "Allocated" and entry(made)["storpool"] is None
    assert "path" not in volumes()["data"]
    attached = declare(name="data", vm="db1")
    assert entry(attached)["actions"] == ["attach"]
    there = on_storpool(volumes()["data"])
    assert entry(attached)["storpool"]["global_id"] == there["globalId"] and there["size"] == GIB
    assert there["tags"]["cs"] == "volume" and there["tags"]["cvm"] == db1["id"]
    assert entry(attached)["object"]["device_id"] == volumes()["data"]["deviceid"]


def test_all_at_once_and_away_again(declare, volumes, simulator, db1):
    result = declare(names=["a", "b"], zone="sofia", offering="Custom", size="1G", vm="db1")
    assert [one["actions"] for one in result["volumes"]] == [["create", "attach"]] * 2
    result = declare(names=["a", "b"], state="absent", on_attached="detach")
    assert [one["actions"] for one in result["volumes"]] == [["detach", "delete"]] * 2
    assert set(volumes()) == {volumes()[name]["name"] for name in volumes() if name.startswith("ROOT")}


def test_resize_of_a_running_vm_reaches_its_host(declare, volumes, on_storpool, simulator, db1):
    declare(name="data", zone="sofia", offering="Custom", size="1G", vm="db1")
    simulator.reset_calls()
    result = declare(name="data", size="2G")
    assert entry(result)["object"]["size"] == 2 * GIB == volumes()["data"]["size"] == on_storpool(volumes()["data"])["size"]
    declare(name="data", size="1G", allow_shrink=True)
    assert on_storpool(volumes()["data"])["size"] == GIB


def test_shrinking_is_refused(run_module, calls, declare, db1):
    declare(name="data", zone="sofia", offering="Custom", size="2G", vm="db1")
    calls()
    result = run_module(MODULE, name="data", size="1G")
    assert "what lies beyond would be lost" in result["msg"] and result["error"]["allow_with"] == "allow_shrink: true"
    assert calls().writes == []


def test_limits(declare, run_module, volumes, on_storpool, db1):
    offerings = [{"name": "gold", "size": "1G", "max_iops": 5000}, {"name": "open", "custom_iops": True}]
    assert run_module("cloudstack_offering", offerings=offerings)["changed"]
    declare(name="data", zone="sofia", offering="gold", vm="db1")
    assert on_storpool(volumes()["data"])["iops"] == 5000
    declare(name="data", offering="open", size="1G", max_iops=700)
    assert on_storpool(volumes()["data"])["iops"] == 700
    declare(name="data", max_iops=800)
    assert on_storpool(volumes()["data"])["iops"] == 800


def test_tiers(declare, run_module, volumes, on_storpool, simulator, db1):
    if simulator.release < (4, 20):
        refused = run_module("cloudstack_offering", name="archive", template="hdd")
        assert "does not read it" in refused["msg"]
        return
    run_module("cloudstack_offering", offerings=[{"name": "archive", "template": "hdd"}, {"name": "classy", "qos_class": "gold"}])
    result = declare(name="data", zone="sofia", offering="archive", size="1G", vm="db1")
    assert on_storpool(volumes()["data"])["templateName"] == "hdd" and entry(result)["differences"] == []
    declare(name="other", zone="sofia", offering="Custom", size="1G", vm="db1")
    result = declare(name="other", offering="classy", size="1G")
    assert on_storpool(volumes()["other"])["tags"]["qc"] == "gold" and entry(result)["differences"] == []


def test_rename_and_protect(declare, volumes, simulator, run_module):
    declare(name="old", zone="sofia", offering="Custom", size="1G")
    declare(name="new", renamed_from="old")
    assert "new" in volumes() and "old" not in volumes()
    if simulator.release < (4, 20):
        assert "from 4.20 on" in run_module(MODULE, name="new", delete_protection=True)["msg"]
        return
    declare(name="new", delete_protection=True)
    assert "is protected from deletion" in run_module(MODULE, name="new", state="absent")["msg"]
    declare(name="new", state="absent", delete_protection=False)
    assert "new" not in volumes()


def test_moved_to_another_vm(declare, volumes, simulator, db1):
    simulator.deploy("db2")
    declare(name="data", zone="sofia", offering="Custom", size="1G", vm="db1")
    result = declare(name="data", vm="db2", device_id=4)
    assert entry(result)["actions"] == ["detach", "attach"]
    assert (volumes()["data"]["vmname"], volumes()["data"]["deviceid"]) == ("db2", 4)
    declare(name="data", vm="")
    assert not volumes()["data"].get("virtualmachineid")


def test_to_another_pool_and_back(declare, run_module, volumes, on_storpool, simulator, db1):
    """Live only the template changes; offline it is a copy by reference, another volume on StorPool. Either has the same content."""
    assert run_module("cloudstack_storage_pool", name="hybrid", zone="sofia", template="hybrid")["changed"]
    declare(name="data", zone="sofia", offering="Custom", size="1G", vm="db1")
    first = volumes()["data"]["path"]
    simulator.write(address(first), b"kept", 4096)

    def moved(name, pool, template):
        result = declare(name=name, storage_pool=pool)
        there = on_storpool(volumes()[name])
        assert (volumes()[name]["storage"], there["templateName"], entry(result)["storpool"]["template"]) == (pool, template, template)
        return volumes()[name]["path"]

    assert moved("data", "hybrid", "hybrid") == first
    simulator.cs_done("stopVirtualMachine", id=db1["id"])
    copy = moved("data", "storpool-nvme", "nvme")
    assert copy != first and simulator.read(address(copy), 4096, 4) == b"kept"
    assert simulator.get(f"Volume/{address(first)}")[0] != 200
    moved(next(name for name in volumes() if name.startswith("ROOT")), "hybrid", "hybrid")


# -- both layers


def test_a_limit_that_is_lost_is_seen_and_mended(declare, run_module, volumes, simulator, calls):
    """The ROOT volumes that 4.21 and newer make from templates have no limit on StorPool."""
    run_module("cloudstack_offering", name="fast", type="compute", cpu_number=1, cpu_speed=500, memory=512, max_iops=900)
    simulator.deploy("limited", offering="fast")
    root = next(name for name, one in volumes().items() if one.get("vmname") == "limited")
    result = run_module(MODULE, name=root)
    if simulator.release < (4, 21):
        assert not result.get("failed") and entry(result)["differences"] == [], result
        return
    assert result["failed"] and "max_iops is 900 in CloudStack and unlimited on StorPool" in result["msg"]
    assert run_module(MODULE, name=root, verify="warn")["warnings"]
    mended = declare(name=root, repair=True)
    assert entry(mended)["actions"] == ["repair max_iops"] and entry(mended)["storpool"]["iops"] == 900


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"size": 2 * GIB}, "size is 1073741824 in CloudStack and 2147483648 on StorPool"),
        ({"iops": 77}, "max_iops is unlimited in CloudStack and 77 on StorPool"),
        ({"template": "hdd"}, "template is nvme in CloudStack and hdd on StorPool"),
        ({"tags": {"cvm": "somebody"}}, "tag cvm is"),
    ],
)
def test_what_somebody_changed_on_storpool_is_named(declare, run_module, volumes, simulator, do, calls, db1, change, words):
    declare(name="data", zone="sofia", offering="Custom", size="1G", vm="db1")
    do(f"VolumeUpdate/{address(volumes()['data'])}", change)
    calls()
    result = run_module(MODULE, name="data")
    assert result["failed"] and words in result["msg"] and calls().writes == []
    assert not run_module(MODULE, name="data", verify="off").get("failed")


def test_a_volume_that_is_gone_on_storpool(declare, run_module, volumes, do, db1):
    declare(name="data", zone="sofia", offering="Custom", size="1G", vm="db1")
    declare(name="data", vm="")
    do(f"VolumeDelete/{address(volumes()['data'])}")
    result = run_module(MODULE, name="data")
    assert result["failed"] and "existence is Ready in CloudStack and does not exist on StorPool" in result["msg"]
    assert "point sp_api_http_host (or sp_cluster) at that" in result["error"]["hint"]


@pytest.mark.parametrize("seen_by", ["one client", "client 11"])
def test_attachments_are_compared(declare, run_module, volumes, simulator, do, calls, db1, seen_by):
    """The VM runs on kvm11, whose StorPool client is 11."""
    nodes = {} if seen_by == "one client" else {"sp_node_ids": {"kvm11": 11, "kvm12": 12}}
    made = declare(name="data", zone="sofia", offering="Custom", size="1G", vm="db1", **nodes)
    assert entry(made)["storpool"]["attachments"] == [{"client": 11, "rights": "rw"}]
    there = address(volumes()["data"])

    def told():
        calls()
        result = run_module(MODULE, name="data", **nodes)
        assert result["failed"] and calls().writes == []
        return re.search("attachment is (.*) on StorPool", result["msg"]).group(1)

    do("VolumesReassignWait", {"reassign": [{"volume": there, "rw": [12]}]})
    assert told() == f"{seen_by} (VM db1 is Running) in CloudStack and client 11 and 12"
    do("VolumesReassignWait", {"reassign": [{"volume": there, "detach": [11], "force": True}]})
    if nodes:
        assert told() == "client 11 (VM db1 is Running) in CloudStack and client 12"
    else:
        assert not run_module(MODULE, name="data").get("failed"), "whose client that is, nobody said"
    do("VolumesReassignWait", {"reassign": [{"volume": there, "detach": [12], "force": True}]})
    assert told() == f"{seen_by} (VM db1 is Running) in CloudStack and none"


def test_a_detached_volume_that_a_client_still_has(declare, run_module, volumes, do, db1):
    declare(name="data", zone="sofia", offering="Custom", size="1G", vm="db1")
    declare(name="data", vm="")
    do("VolumesReassignWait", {"reassign": [{"volume": address(volumes()["data"]), "rw": [13]}]})
    result = run_module(MODULE, name="data")
    assert result["failed"] and "attachment is none in CloudStack and client 13 on StorPool" in result["msg"]
    assert run_module(MODULE, name="data", verify="warn")["warnings"]


def test_a_tier_of_the_offering_is_sent_again(declare, run_module, volumes, on_storpool, simulator, do, db1):
    if simulator.release < (4, 20):
        return
    run_module("cloudstack_offering", offerings=[{"name": "archive", "template": "hdd"}, {"name": "classy", "qos_class": "gold"}])
    for offering, change, words in (
        ("archive", {"template": "nvme"}, "template is hdd in CloudStack and nvme"),
        ("classy", {"tags": {"qc": ""}}, "tag qc is gold in CloudStack and None"),
    ):
        declare(name=offering, zone="sofia", offering=offering, size="1G", vm="db1")
        do(f"VolumeUpdate/{address(volumes()[offering])}", change)
        refused = run_module(MODULE, name=offering)
        assert words in refused["msg"] and "repair: true" in refused["error"]["hint"]
        mended = declare(name=offering, repair=True)
        assert entry(mended)["differences"] == [] and entry(mended)["actions"][0].startswith("repair t")
        do(f"VolumeUpdate/{address(volumes()[offering])}", change)
        grown = declare(name=offering, size="2G", repair=True)
        assert entry(grown)["differences"] == [] and entry(grown)["actions"][0].startswith("resize and repair t")
        assert (on_storpool(volumes()[offering])["size"], volumes()[offering]["size"]) == (2 * GIB, 2 * GIB)


def test_a_tier_that_would_stay_behind_is_told_before(declare, run_module, simulator, calls, db1):
    """CloudStack takes no tier away: an offering without one sends size and limit."""
    if simulator.release < (4, 20):
        return
    run_module("cloudstack_offering", name="classy", qos_class="gold")
    declare(name="data", zone="sofia", offering="classy", size="1G", vm="db1")
    calls()
    result = run_module(MODULE, name="data", offering="Custom", size="1G")
    assert "would not be the same in CloudStack and on StorPool: tag qc is None in CloudStack and gold" in result["msg"]
    assert calls().writes == []


def test_a_deletion_is_looked_for_on_storpool(declare, run_module, volumes, calls, simulator, db1):
    declare(name="data", zone="sofia", offering="Custom", size="1G", vm="db1")
    there = address(volumes()["data"])
    calls()
    declare(name="data", state="absent", on_attached="detach")
    assert simulator.get(f"Volume/{there}")[0] != 200


# -- what goes wrong


@pytest.mark.parametrize("state", ["Running", "Stopped"])
def test_a_host_that_fails_to_resize(declare, run_module, volumes, on_storpool, simulator, db1, state):
    """The answer of the host decides: size and limit are what they were, and the next run does it."""
    declare(name="data", zone="sofia", offering="Custom", size="1G", vm="db1")
    if state == "Stopped":
        simulator.cs_done("stopVirtualMachine", id=db1["id"])
    simulator.fault("host_fails", "StorPoolResizeVolume", text="libvirt said no")
    result = run_module(MODULE, name="data", size="2G")
    assert result["failed"] and "libvirt said no" in result["msg"], result
    assert entry(result)["object"]["size"] == GIB == on_storpool(volumes()["data"])["size"]
    assert entry(declare(name="data", size="2G"))["storpool"]["size"] == 2 * GIB == volumes()["data"]["size"]


def test_a_vm_that_is_not_told_of_a_resize(declare, simulator, db1):
    """CloudStack's API does not tell: the job succeeds, both systems have the new size."""
    declare(name="data", zone="sofia", offering="Custom", size="1G", vm="db1")
    simulator.fault("host_fails", "NotifyResize", text="no such domain")
    result = declare(name="data", size="2G")
    assert entry(result)["storpool"]["size"] == 2 * GIB and entry(result)["differences"] == []


# -- from a snapshot


@pytest.fixture
def taken(simulator, run_module, declare, db1):
    """Two snapshots, of a stopped VM's volume with 1G."""
    declare(name="source", zone="sofia", offering="Custom", size="1G", vm="db1")
    simulator.cs_done("stopVirtualMachine", id=db1["id"])
    found = {}
    for name in ("monday", "tuesday"):
        result = run_module("cloudstack_snapshot", volume="source", name=name)
        assert not result.get("failed"), result
        found[name] = simulator.cs("listSnapshots", name=name, listall=True)[1]["snapshot"][0]["id"]
    return found


def test_from_a_snapshot_and_from_no_other(declare, run_module, volumes, on_storpool, simulator, calls, taken):
    made = declare(name="copy", zone="sofia", snapshot="monday")
    assert entry(made)["object"]["snapshot_id"] == taken["monday"] and entry(made)["object"]["state"] == "Ready"
    assert on_storpool(volumes()["copy"])["parentName"].startswith("~"), "no byte was copied"
    assert not run_module(MODULE, name="copy", snapshot=taken["monday"])["changed"]
    calls()
    for other in ("tuesday", taken["tuesday"]):
        refused = run_module(MODULE, name="copy", snapshot=other)
        assert "was made from snapshot" in refused["msg"] and f"declared is snapshot {other}" in refused["msg"], refused
        assert calls().writes == []
    assert "was made empty" in run_module(MODULE, name="source2", **new(run_module, "source2"), snapshot="monday")["msg"]
    assert not run_module("cloudstack_snapshot", volume="source", name="monday", state="absent").get("failed")
    assert not run_module(MODULE, name="copy", snapshot="monday")["changed"], "what is gone is not compared"


def new(run_module, name):
    options = {"zone": "sofia", "offering": "Custom", "size": "1G"}
    assert run_module(MODULE, name=name, **options)["changed"]
    return options


def test_limits_from_a_snapshot(run_module, declare, volumes, on_storpool, calls, taken):
    """CloudStack gives it the limit of the snapshot's volume, whatever the offering says (plugin sheet 5.7)."""
    run_module("cloudstack_offering", offerings=[{"name": "gold", "size": "1G", "max_iops": 5000}, {"name": "open", "custom_iops": True}])
    result = declare(name="copy", zone="sofia", snapshot="monday", offering="open", max_iops=700)
    assert entry(result)["actions"] == ["create", "limit"] and on_storpool(volumes()["copy"])["iops"] == 700
    told = run_module(MODULE, name="fixed", zone="sofia", snapshot="monday", offering="gold")
    assert not told.get("failed") and "not that of offering gold (5000)" in told["warnings"][0]


# -- names


def test_two_of_one_name(run_module, simulator, calls):
    zone = simulator.cs("listZones")[1]["zone"][0]["id"]
    offering = next(one["id"] for one in simulator.cs("listDiskOfferings")[1]["diskoffering"] if one["name"] == "Small")
    for _number in range(2):
        simulator.cs_done("createVolume", name="twin", zoneid=zone, diskofferingid=offering)
    calls()
    result = run_module(MODULE, name="twin", size="10G")
    assert "is the name of 2 volumes" in result["msg"] and calls().writes == []
    assert not run_module(MODULE, id=simulator.cs_volumes(name="twin")[0]["id"]).get("failed")


# -- calls


def test_however_many_the_reads_stay_the_same(declare, run_module, calls, db1):
    names = [f"v{number}" for number in range(12)]
    run_module(MODULE, names=names, zone="sofia", offering="Custom", size="1G", vm="db1", parallel=4)
    calls()
    result = run_module(MODULE, names=names, size="1G")
    assert not result["changed"] and calls().writes == []
    assert result["api"]["reads"] == 4, "the volumes, the offerings, StorPool's volumes and their attachments"
