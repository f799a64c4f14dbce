# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""cloudstack_offering against each version of the simulated CloudStack and the StorPool behind it."""

from __future__ import annotations

import pytest

MODULE = "cloudstack_offering"
GIB = 1 << 30


@pytest.fixture
def simulator(cloud):
    return cloud


@pytest.fixture
def offerings(simulator):
    """`offerings()` is what the server lists of disks, by name; `offerings("Service")` of machines."""

    def listing(kind="Disk"):
        listed = simulator.cs(f"list{kind}Offerings", listall=True, state="all")[1]
        return {one["name"]: one for one in listed.get(f"{kind.lower()}offering", [])}

    return listing


def test_disk_offerings(declare, offerings):
    result = declare(
        offerings=[{"name": "gold", "max_iops": 10000, "size": "20G"}, {"name": "open", "custom_iops": True}], storage_tags=["nvme"]
    )
    made = offerings()
    assert [entry["actions"] for entry in result["offerings"]] == [["create"], ["create"]]
    assert made["gold"]["disksize"] == 20 and made["gold"]["maxiops"] == 10000 and made["gold"]["tags"] == "nvme"
    assert made["open"]["iscustomized"] is True and made["open"]["iscustomizediops"] is True
    assert result["offerings"][0]["object"]["id"] == made["gold"]["id"]
    assert result["offerings"][0]["object"]["size"] == 20 * GIB


def test_compute_offering(declare, offerings):
    declare(name="small", type="compute", cpu_number=1, cpu_speed=1000, memory=512, root_size="8G", offer_ha=True, host_tags=["ssd"])
    made = offerings("Service")["small"]
    assert made["cpunumber"] == 1 and made["memory"] == 512 and made["offerha"] is True and made["hosttags"] == "ssd"


def test_what_converges(declare, offerings, simulator):
    declare(name="gold", storage_tags=["nvme"], details={"note": "1"})
    identity = offerings()["gold"]["id"]
    result = declare(
        name="platinum", renamed_from="gold", storage_tags=["hdd", "fast"], details={"note": "2", "more": "3"}, display_text="Best"
    )
    assert result["offerings"][0]["object"]["id"] == identity
    after = offerings()["platinum"]
    assert sorted(after["tags"].split(",")) == ["fast", "hdd"] and after["displaytext"] == "Best"
    assert after["details"] == {"note": "2", "more": "3"}
    declare(name="platinum", details={"note": None})
    assert offerings()["platinum"]["details"] == {"more": "3"}


def test_zones_and_domains(declare, offerings, simulator):
    declare(name="local", zones=["sofia"], domains=["ROOT/ops"])
    made = offerings()["local"]
    assert made["zone"] == "sofia" and made["domain"].endswith("ops")
    declare(name="local", zones=[], domains=[])
    assert not offerings()["local"].get("zoneid") and not offerings()["local"].get("domainid")


def test_inactive(declare, offerings):
    declare(name="old", state="inactive")
    assert offerings()["old"]["state"] == "Inactive"
    declare(name="old", state="active")
    assert offerings()["old"]["state"] == "Active"


def test_tiers(simulator, declare, run_module, offerings, calls):
    if simulator.cloudstack["version"].startswith("4.19"):
        result = run_module(MODULE, name="archive", template="hdd")
        assert result["failed"] and "4.19.3.0 does not read it" in result["msg"] and calls().writes == []
        return
    result = declare(name="archive", template="hdd")
    assert offerings()["archive"]["details"] == {"SP_TEMPLATE": "hdd"} and "warnings" not in result
    result = declare(name="archive", qos_class="gold")
    assert offerings()["archive"]["details"] == {"SP_TEMPLATE": "hdd", "SP_QOSCLASS": "gold"}
    # What somebody else took away or changed comes back, and nothing else is sent.
    identity = offerings()["archive"]["id"]
    simulator.cs_done("removeResourceDetail", resourceid=identity, resourcetype="DiskOffering", key="SP_QOSCLASS")
    assert declare(name="archive", template="hdd", qos_class="gold")["offerings"][0]["actions"] == ["set SP_QOSCLASS"]
    declare(name="archive", template="")
    assert offerings()["archive"]["details"] == {"SP_QOSCLASS": "gold"}
    result = run_module(MODULE, name="both", template="hdd", qos_class="gold")
    assert result["changed"] and "the class wins" in result["warnings"][0]
    again = run_module(MODULE, name="both")
    assert not again["changed"] and "the class wins" in again["warnings"][0], "it is told as long as it is so"


def test_the_template_of_a_compute_offering(simulator, declare, run_module, offerings):
    """A ROOT volume is on it, which cloudstack_volume proves."""
    if simulator.cloudstack["version"].startswith("4.19"):
        return
    declare(name="small-hdd", type="compute", cpu_number=1, cpu_speed=500, memory=512, template="hdd")
    assert offerings("Service")["small-hdd"]["serviceofferingdetails"] == {"SP_TEMPLATE": "hdd"}
    simulator.deploy("m1", offering="small-hdd")
    root = simulator.cs_volumes()[0]["name"]
    proved = run_module("cloudstack_volume", name=root)
    assert not proved.get("failed") and proved["volumes"][0]["storpool"]["template"] == "hdd"
    result = run_module(MODULE, name="small-hdd", type="compute", qos_class="gold")
    assert result["failed"] and "is read from disk offerings only" in result["msg"]
    declare(name="small-hdd", type="compute", template="")
    assert not offerings("Service")["small-hdd"].get("serviceofferingdetails")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"max_iops": 20000}, "max_iops is 10000, declared is 20000"),
        ({"size": "30G"}, "size is 20G, declared is 30G"),
        ({"template": "none"}, "is no template of this StorPool"),
        ({"zones": ["none"]}, "option zones: 'none' does not exist in CloudStack"),
        ({"domains": ["none"]}, "option domains: 'none' does not exist in CloudStack"),
        ({"id": "3f1c2f1e-0a0b-4c0d-8e0f-00000000ffff"}, "is the id of no disk offering"),
    ],
)
def test_refused_before_anything_is_written(run_module, calls, options, problem):
    made = run_module(MODULE, name="gold", size="20G", max_iops=10000)
    assert made["changed"], made
    calls()
    for check in (True, False):
        result = run_module(MODULE, check=check, **{"name": "gold", "display_text": "never", **options})
        assert result["failed"] and problem in result["msg"], result["msg"]
    assert calls().writes == []


def test_absent(declare, offerings):
    declare(name="gold")
    result = declare(name="gold", state="absent")
    assert result["offerings"][0]["actions"] == ["delete"] and "gold" not in offerings()


def test_reads_only_what_it_needs(run_module, calls):
    run_module(MODULE, offerings=[{"name": f"o{number}"} for number in range(20)])
    calls()
    result = run_module(MODULE, offerings=[{"name": f"o{number}"} for number in range(20)])
    assert not result["changed"] and result["api"]["reads"] == 1 and calls().writes == []
