# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""StorPool primary storage: the provider's checks and texts, maintenance, deletion, details (plugin sheet 1.3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from storpool_simulator.testing import Simulator

from .cloudstack_support import VERSIONS, failed_job, job, named, ok, one, refused, setting
from .plugin_support import data_disk, deploy, pool_id

GIB = 1 << 30


def address(sim: Simulator, cluster: str = "sofia-a") -> str:
    return sim.clusters[cluster]["url"].removeprefix("http://")


def url_of(sim: Simulator, template: str = "hybrid", token: str | None = None, cluster: str = "sofia-a") -> str:
    return f"SP_API_HTTP={address(sim, cluster)};SP_AUTH_TOKEN={token or sim.token};SP_TEMPLATE={template}"


def wanted(sim: Simulator, **more: Any) -> dict[str, Any]:
    """The parameters of a pool that can be created; None leaves one out."""
    given = {
        "name": "fast",
        "zoneid": named(sim, "listZones", "zone", "sofia"),
        "provider": "StorPool",
        "scope": "zone",
        "hypervisor": "KVM",
        "capacitybytes": 10 * GIB,
        "url": url_of(sim),
    }
    return {**given, **more}


def details_of(sim: Simulator, pool: str) -> dict[str, str]:
    rows = ok(sim, "listResourceDetails", resourcetype="Storage", resourceid=pool)["resourcedetail"]
    return {row["key"]: row["value"] for row in rows}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_pool_is_created(clouds: Callable[[str], Simulator], version: str) -> None:
    sim = clouds(version)
    pool = ok(sim, "createStoragePool", **wanted(sim))["storagepool"]
    template, _unused, rest = pool["id"].partition(";")
    assert (template, len(rest)) == ("hybrid", 36)
    expected = {
        "name": "fast",
        "provider": "StorPool",
        "type": "StorPool",
        "scope": "ZONE",
        "state": "Up",
        "path": "/dev/storpool-byid/",
        "tags": "fast",
    }
    assert {key: pool[key] for key in expected} == expected
    assert one(sim, "listStoragePools", "storagepool", id=pool["id"]) == pool
    stored = {"SP_AUTH_TOKEN": sim.token, "SP_API_HTTP_HOST": address(sim), "SP_TEMPLATE": "hybrid"}
    assert details_of(sim, pool["id"]) == stored
    assert pool.get("details") == (stored if version >= "4.21" else None)
    assert pool.get("capacitybytes") == (10 * GIB if version >= "4.22" else None)
    if version >= "4.21":
        assert setting(sim, "sp.cluster.location", storageid=pool["id"])["value"] == "sofia"
    assert setting(sim, "sp.cluster.id", clusterid=named(sim, "listClusters", "cluster", "kvm1"))["value"] == "sf.a"


@pytest.mark.parametrize("form", ["parts", "uri", "template"])
def test_the_forms_of_the_url(cloud: Simulator, form: str) -> None:
    url = {"parts": url_of(cloud), "uri": f"storpool://{cloud.token}@{address(cloud)}/hybrid", "template": "hybrid"}[form]
    pool = ok(cloud, "createStoragePool", **wanted(cloud, url=url))["storagepool"]
    assert details_of(cloud, pool["id"])["SP_API_HTTP_HOST"] == address(cloud)


@pytest.mark.parametrize(
    "change, text",
    [
        ({"url": "SP_AUTH_TOKEN=1;SP_TEMPLATE=hybrid"}, "No SP_API_HTTP"),
        ({"url": "SP_API_HTTP=1.2.3.4:81;SP_TEMPLATE=hybrid"}, "No SP_AUTH_TOKEN"),
        ({"url": "SP_API_HTTP=1.2.3.4:81;SP_AUTH_TOKEN=1"}, "No SP_TEMPLATE"),
        (
            {"url": "SP_API_HTTP=127.0.0.1:1;SP_AUTH_TOKEN=1;SP_TEMPLATE=hybrid"},
            "No such storpool template hybrid or credentials are invalid",
        ),
        ({"capacitybytes": None}, "Capcity bytes is required"),
        ({"hypervisor": "VMware"}, "Only KVM hypervisors supported!"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_the_provider_refuses(cloud: Simulator, change: dict[str, Any], text: str) -> None:
    content = refused(cloud, "createStoragePool", **wanted(cloud, **change))
    assert (content["errorcode"], content["cserrorcode"]) == (530, 4250)
    assert content["errortext"] == f"Failed to add data store: {text}"
    assert ok(cloud, "listStoragePools")["count"] == 1


def test_template_and_token_are_looked_up_on_storpool(cloud: Simulator) -> None:
    for url in (url_of(cloud, "missing"), url_of(cloud, token="1234"), url_of(cloud, "missing", cluster="sofia-b")):
        text = refused(cloud, "createStoragePool", **wanted(cloud, url=url))["errortext"]
        assert "No such storpool template" in text and cloud.token not in text
    cloud.post("VolumeTemplateCreate", {"name": "missing", "placeAll": "ssd", "replication": 3})
    assert ok(cloud, "createStoragePool", **wanted(cloud, url=url_of(cloud, "missing")))["storagepool"]["id"].startswith("missing;")


def test_one_pool_for_a_template_of_a_cluster(cloud: Simulator) -> None:
    text = refused(cloud, "createStoragePool", **wanted(cloud, url=url_of(cloud, "nvme")))["errortext"]
    assert text == "Failed to add data store: StorPool cluster and template already in use by pool storpool-nvme"
    assert ok(cloud, "createStoragePool", **wanted(cloud, url=url_of(cloud, "nvme", cluster="sofia-b")))["storagepool"]["state"] == "Up"


@pytest.mark.parametrize(
    "change, text, code",
    [
        ({"scope": "cluster"}, "cluster id can't be null, if scope is cluster", 431),
        ({"scope": "galaxy"}, "invalid scope for pool galaxy", 431),
        ({"hypervisor": None}, "Missing parameter hypervisor", 431),
        ({"hypervisor": "XenServer"}, "zone wide storage pool is not supported for hypervisor type XenServer", 431),
        ({"provider": "Nobody"}, "can't find provider: Nobody", 431),
        ({"name": None}, "missing parameter name", 431),
    ],
)
def test_what_the_server_refuses_before_the_provider(cloud: Simulator, change: dict[str, Any], text: str, code: int) -> None:
    content = refused(cloud, "createStoragePool", **wanted(cloud, **change))
    assert content["errorcode"] == code and text in content["errortext"]


def test_a_pool_of_a_cluster(cloud: Simulator) -> None:
    cluster = named(cloud, "listClusters", "cluster", "kvm1")
    content = refused(cloud, "createStoragePool", **wanted(cloud, scope="cluster", clusterid=cluster))
    assert content["errortext"] == "Failed to add data store: Only Zone-Wide scope is supported!"


def test_space_is_that_of_the_template(cloud: Simulator) -> None:
    before = one(cloud, "listStoragePools", "storagepool")
    (status,) = [row for row in cloud.get("VolumeTemplatesStatus")[1]["data"] if row["name"] == "nvme"]
    assert before["disksizetotal"] == status["stored"]["capacity"]
    cloud.post("VolumeCreate", {"name": "v", "size": GIB, "template": "nvme"})
    cloud.write("v", b"x" * (8 << 20))
    assert one(cloud, "listStoragePools", "storagepool")["disksizeused"] > before["disksizeused"]


# Changes


def test_updates(cloud: Simulator) -> None:
    id = named(cloud, "listStoragePools", "storagepool", "storpool-nvme")
    pool = ok(cloud, "updateStoragePool", id=id, name="renamed", tags=["a", "b"])["storagepool"]
    assert (pool["name"], pool["tags"]) == ("renamed", "a,b")
    assert "tags" not in ok(cloud, "updateStoragePool", id=id, tags="")["storagepool"]
    ok(cloud, "updateStoragePool", id=id, details={"Mixed.Case": "1"}, url="SP_API_HTTP=1:2;SP_AUTH_TOKEN=3;SP_TEMPLATE=4")
    assert details_of(cloud, id) == {
        "SP_AUTH_TOKEN": cloud.token,
        "SP_API_HTTP_HOST": address(cloud),
        "SP_TEMPLATE": "nvme",
        "Mixed.Case": "1",
    }
    assert refused(cloud, "updateStoragePool", id=id)["errorcode"] == 530
    assert ok(cloud, "listStorageTags") == {}


def test_a_pool_is_disabled_and_enabled(cloud: Simulator) -> None:
    id = named(cloud, "listStoragePools", "storagepool", "storpool-nvme")
    assert refused(cloud, "updateStoragePool", id=id, enabled=True)["errorcode"] == 431
    assert ok(cloud, "updateStoragePool", id=id, enabled=False)["storagepool"]["state"] == "Disabled"
    assert ok(cloud, "listStoragePools", status="disabled")["count"] == 1
    assert ok(cloud, "updateStoragePool", id=id, enabled=True)["storagepool"]["state"] == "Up"


def test_deletion_and_its_refusals(cloud: Simulator) -> None:
    id = named(cloud, "listStoragePools", "storagepool", "storpool-nvme")
    assert "it is not in Maintenance state" in refused(cloud, "deleteStoragePool", id=id)["errortext"]
    job(cloud, "enableStorageMaintenance", id=id)
    for field, text in (
        ("volumes", "associated non-destroyed vols"),
        ("snapshots", "contains one or more snapshots."),
        ("template_snapshots", "template snapshots."),
    ):
        cloud.control("PUT", "/cloudstack/pools/storpool-nvme", {field: 1})
        content = refused(cloud, "deleteStoragePool", id=id)
        assert content["errorcode"] == 530 and text in content["errortext"]
        cloud.control("PUT", "/cloudstack/pools/storpool-nvme", {field: 0})
    assert ok(cloud, "deleteStoragePool", id=id) == {"success": True}
    assert ok(cloud, "listStoragePools") == {}
    assert ok(cloud, "listStoragePools", id=id) == {}, "a removed object still resolves"
    assert refused(cloud, "deleteStoragePool", id=id)["errorcode"] == 431
    assert ok(cloud, "createStoragePool", **wanted(cloud, url=url_of(cloud, "nvme")))["storagepool"]["name"] == "fast"


def test_maintenance_stops_instances(cloud: Simulator) -> None:
    cloud.vm("web", "kvm11")
    id = named(cloud, "listStoragePools", "storagepool", "storpool-nvme")
    job(cloud, "enableStorageMaintenance", id=id)
    assert one(cloud, "listVirtualMachines", "virtualmachine")["state"] == "Stopped"
    job(cloud, "cancelStorageMaintenance", id=id)
    assert one(cloud, "listStoragePools", "storagepool")["state"] == "Up"


# Resource details


def test_resource_details(cloud: Simulator) -> None:
    id = named(cloud, "listStoragePools", "storagepool", "storpool-nvme")
    cloud.cs_job("addResourceDetail", resourceid=id, resourcetype="Storage", **{"details[0].key": "color", "details[0].value": "red"})
    assert details_of(cloud, id)["color"] == "red"
    (row,) = ok(cloud, "listResourceDetails", resourcetype="Storage", key="color", value="red")["resourcedetail"]
    assert row == {"resourceid": id, "resourcetype": "Storage", "key": "color", "value": "red", "fordisplay": True}
    assert failed_job(
        cloud, "addResourceDetail", resourceid=id, resourcetype="Storage", **{"details[0].key": "color", "details[0].value": ""}
    )
    cloud.cs_job("removeResourceDetail", resourceid=id, resourcetype="Storage", key="color")
    assert "color" not in details_of(cloud, id)
    assert refused(cloud, "listResourceDetails", resourcetype="Storage")["errorcode"] == 431


def test_providers(cloud: Simulator) -> None:
    names = {row["name"] for row in ok(cloud, "listStorageProviders", type="primary")["dataStoreProvider"]}
    assert {"StorPool", "DefaultPrimary"} <= names
    assert refused(cloud, "listStorageProviders", type="other")["errorcode"] == 431


def test_the_alternative_endpoint_is_asked_instead(cloud: Simulator) -> None:
    """Of a pool's own value: the plugin's next calls go there, and back again when it is switched off."""
    vm, pool = deploy(cloud), pool_id(cloud)

    def cluster_of_new_volume(name: str) -> str:
        cloud.reset_calls()
        data_disk(cloud, vm, name)
        (made,) = [call for call in cloud.calls()["calls"] if call["call"] == "VolumeCreate"]
        return made["cluster"]

    ok(cloud, "updateConfiguration", name="sp.alternative.endpoint", value=url_of(cloud, "nvme", cluster="sofia-b"), storageid=pool)
    assert cluster_of_new_volume("before") == "sofia-a"
    for switch, cluster in (("true", "sofia-b"), ("false", "sofia-a")):
        ok(cloud, "updateConfiguration", name="sp.enable.alternative.endpoint", value=switch, storageid=pool)
        assert cluster_of_new_volume(switch) == cluster


def test_the_first_pool_follows_the_ports(start: Callable[..., Simulator]) -> None:
    sim = start(cloudstack="4.21.0")
    id = named(sim, "listStoragePools", "storagepool", "storpool-nvme")
    assert details_of(sim, id)["SP_API_HTTP_HOST"] == address(sim)
    sim.kill()
    sim.start()
    assert details_of(sim, id) == one(sim, "listStoragePools", "storagepool")["details"]
    assert details_of(sim, id)["SP_API_HTTP_HOST"] == address(sim)
