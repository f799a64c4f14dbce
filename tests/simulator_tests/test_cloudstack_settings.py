# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings: what a release has, scopes, what is shown and what is in force (plugin sheet 1.1, 1.2, 1.4)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from storpool_simulator.testing import Simulator

from .cloudstack_support import VERSIONS, named, ok, one, refused, setting

# name -> type as answers tell it, default, dynamic, scope, first of our versions, of the plugin sheet's tables 1.1 and 1.4
SHEET = {
    "sp.bypass.secondary.storage": ("Boolean", "false", True, "", "4.19.3"),
    "sp.cluster.id": ("String", "n/a", True, "clusterid", "4.19.3"),
    "sp.enable.alternative.endpoint": ("Boolean", "false", True, "storageid", "4.19.3"),
    "sp.alternative.endpoint": ("String", "", True, "storageid", "4.19.3"),
    "storpool.volumes.stats.interval": ("Number", "3600", False, "", "4.19.3"),
    "storpool.storage.stats.interval": ("Number", "3600", False, "", "4.19.3"),
    "storpool.delete.after.interval": ("Number", "0", False, "storageid", "4.19.3"),
    "storpool.list.snapshots.delete.after.interval": ("Number", "360", False, "", "4.19.3"),
    "storpool.volume.tags.checkup": ("Number", "86400", False, "", "4.19.3"),
    "storpool.snapshot.tags.checkup": ("Number", "86400", False, "", "4.19.3"),
    "storpool.snapshot.recovery.from.remote.check": ("Number", "300", False, "", "4.21.0"),
    "sp.cluster.location": ("String", None, True, "storageid", "4.21.0"),
    "sp.cluster.endpoint": ("String", None, True, "clusterid", "4.21.0"),
    "snapshot.backup.to.secondary": ("Boolean", "true", False, "", "4.19.3"),
    "use.storage.replication": ("Boolean", "false", True, "storageid", "4.21.0"),
    "storage.cleanup.enabled": ("Boolean", "true", False, "", "4.19.3"),
    "storage.template.cleanup.enabled": ("Boolean", "true", False, "", "4.19.3"),
    "kvm.ha.activity.check.failure.ratio": ("Decimal", "0.7", True, "clusterid", "4.19.3"),
    "kvm.ha.activity.check.max.attempts": ("Number", "10", True, "clusterid", "4.19.3"),
    "kvm.ha.recover.wait.period": ("Number", "600", True, "clusterid", "4.19.3"),
    "kvm.ha.fence.on.storage.heartbeat.failure": ("Boolean", "false", False, "zoneid", "4.19.3"),
    "force.ha": ("Boolean", "false", True, "clusterid", "4.19.3"),
    "outofbandmanagement.action.timeout": ("Number", "60", True, "clusterid", "4.19.3"),
    "default.page.size": ("Number", "500", False, "", "4.19.3"),
    "integration.api.port": ("Number", "0", False, "", "4.19.3"),
    "enforce.post.requests.and.timestamps": ("Boolean", "false", False, "", "4.21.0"),
}


def scope_id(sim: Simulator, parameter: str) -> str:
    lists = {
        "zoneid": ("listZones", "zone", "sofia"),
        "clusterid": ("listClusters", "cluster", "kvm1"),
        "storageid": ("listStoragePools", "storagepool", "storpool-nvme"),
        "accountid": ("listAccounts", "account", "ops"),
        "domainid": ("listDomains", "domain", "ops"),
        "imagestoreuuid": ("listImageStores", "imagestore", "nfs-secondary"),
    }
    command, key, name = lists[parameter]
    return named(sim, command, key, name, listall=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_settings_of_the_sheet(clouds: Callable[[str], Simulator], version: str) -> None:
    sim = clouds(version)
    rows = {row["name"]: row for row in ok(sim, "listConfigurations", pagesize=-1)["configuration"]}
    scoped = {
        parameter: {
            row["name"] for row in ok(sim, "listConfigurations", pagesize=-1, **{parameter: scope_id(sim, parameter)})["configuration"]
        }
        for parameter in ("zoneid", "clusterid", "storageid")
    }
    for name, (kind, default, dynamic, scope, first) in SHEET.items():
        assert (name in rows) is (version >= first), name
        if name in rows:
            row = rows[name]
            assert (row["type"], row.get("defaultvalue"), row["isdynamic"], row.get("value")) == (kind, default, dynamic, default), name
            assert [parameter for parameter, names in scoped.items() if name in names] == ([scope] if scope else []), name


@pytest.mark.parametrize("version", VERSIONS)
def test_kvm_snapshots_are_hidden_before_4_22(clouds: Callable[[str], Simulator], version: str) -> None:
    sim = clouds(version)
    new = version == "4.22.0"
    found = ok(sim, "listConfigurations", name="kvm.snapshot.enabled").get("configuration", [])
    assert [row["value"] for row in found] == (["true"] if new else [])
    assert sim.in_force()["kvm.snapshot.enabled"] == ("true" if new else "false")
    assert sim.in_force()["kvm.vmstoragesnapshot.enabled"] == ("true" if new else "false")
    answer = ok(sim, "updateConfiguration", name="kvm.snapshot.enabled", value=not new)["configuration"]
    assert (answer["value"] == "false") is new, "a hidden value comes encrypted"
    sim.restart_server()
    assert sim.in_force()["kvm.snapshot.enabled"] == ("false" if new else "true")
    assert ok(sim, "listCapabilities")["capability"]["kvmsnapshotenabled"] is not new


def test_an_unpaged_listing_is_cut_at_the_page_size(cloud: Simulator) -> None:
    cut = ok(cloud, "listConfigurations")
    whole = ok(cloud, "listConfigurations", pagesize=-1)
    assert cut["count"] == whole["count"] == len(whole["configuration"]) > len(cut["configuration"]) == 500


def test_names_match_in_part_and_keywords_anywhere(cloud: Simulator) -> None:
    names = {row["name"] for row in ok(cloud, "listConfigurations", name="SP.CLUSTER")["configuration"]}
    assert names == {"sp.cluster.id"}
    assert "sp.cluster.id" in {row["name"] for row in ok(cloud, "listConfigurations", keyword="n/a")["configuration"]}
    assert {row["category"] for row in ok(cloud, "listConfigurations", category="Snapshots")["configuration"]} == {"Snapshots"}
    assert refused(cloud, "listConfigurations", group="nothing")["cserrorcode"] == 4350


# Writing


def test_a_dynamic_value_works_at_once_another_after_all_have_restarted(cloud: Simulator) -> None:
    for name, value in (("sp.bypass.secondary.storage", "true"), ("snapshot.backup.to.secondary", "false")):
        assert ok(cloud, "updateConfiguration", name=name, value=value)["configuration"]["value"] == value
        assert setting(cloud, name)["value"] == value
    assert cloud.in_force()["sp.bypass.secondary.storage"] == "true"
    assert cloud.in_force()["snapshot.backup.to.secondary"] == "true"
    cloud.restart_server("ms1")
    assert cloud.in_force()["snapshot.backup.to.secondary"] == "true", "ms2 still works with the old one"
    cloud.restart_server("ms2")
    assert cloud.in_force()["snapshot.backup.to.secondary"] == "false"
    ok(cloud, "resetConfiguration", name="snapshot.backup.to.secondary")
    assert setting(cloud, "snapshot.backup.to.secondary")["value"] == "true"
    assert cloud.in_force()["snapshot.backup.to.secondary"] == "false"


def test_a_restart_of_the_process_is_none_of_the_servers(start: Callable[..., Simulator]) -> None:
    sim = start(cloudstack="4.20.2")
    ok(sim, "updateConfiguration", name="snapshot.backup.to.secondary", value=False)
    sim.kill()
    sim.start()
    assert sim.in_force()["snapshot.backup.to.secondary"] == "true"
    assert setting(sim, "snapshot.backup.to.secondary")["value"] == "false"


def test_the_answer_echoes_what_was_asked_and_the_stored_value_is_trimmed(cloud: Simulator) -> None:
    assert ok(cloud, "updateConfiguration", name="ha.tag", value="  gold ")["configuration"]["value"] == "  gold "
    assert setting(cloud, "ha.tag")["value"] == "gold"


def test_without_a_value_the_row_comes_back(cloud: Simulator) -> None:
    assert ok(cloud, "updateConfiguration", name="force.ha")["configuration"]["value"] == "false"


@pytest.mark.parametrize("empty", ["", "null", "  "])
def test_empty_values_clear(cloud: Simulator, empty: str) -> None:
    ok(cloud, "updateConfiguration", name="ha.tag", value="gold")
    ok(cloud, "updateConfiguration", name="ha.tag", value=empty)
    assert "value" not in setting(cloud, "ha.tag")
    pool = scope_id(cloud, "storageid")
    ok(cloud, "updateConfiguration", name="sp.alternative.endpoint", value=empty, storageid=pool)
    assert setting(cloud, "sp.alternative.endpoint", storageid=pool)["value"] == ""


@pytest.mark.parametrize(
    "name, value, text",
    [
        ("storpool.volumes.stats.interval", "often", "Please enter a valid integer value for parameter storpool.volumes.stats.interval"),
        ("storpool.volumes.stats.interval", "", "value: null. Please enter a valid integer value"),
        ("storpool.volumes.stats.interval", "1.5", "valid integer value"),
        ("storpool.volumes.stats.interval", str(2**31), "valid integer value"),
        ("kvm.ha.recover.timeout", str(2**63), "valid long value"),
        ("agent.load.threshold", "x", "valid float value"),
        ("force.ha", "True", "Please enter either 'true' or 'false'."),
        ("force.ha", "yes", "Please enter either 'true' or 'false'."),
        ("force.ha", "", "Please enter either 'true' or 'false'."),
        ("no.such.setting", "1", "Config parameter with name no.such.setting doesn't exist"),
    ],
)
def test_refused_values(cloud: Simulator, name: str, value: str, text: str) -> None:
    content = refused(cloud, "updateConfiguration", name=name, value=value)
    assert (content["errorcode"], content["cserrorcode"]) == (431, 4350)
    assert text in content["errortext"]


def test_names_are_found_without_case(cloud: Simulator) -> None:
    ok(cloud, "updateConfiguration", name="Force.HA", value=True)
    assert setting(cloud, "force.ha")["value"] == "true"


# Scopes


@pytest.mark.parametrize(
    "parameter, scope, name, value",
    [
        ("zoneid", "zone", "kvm.ha.fence.on.storage.heartbeat.failure", "true"),
        ("clusterid", "cluster", "kvm.ha.recover.timeout", "90"),
        ("storageid", "storagepool", "sp.alternative.endpoint", "SP_API_HTTP=1.2.3.4:81;SP_AUTH_TOKEN=123;SP_TEMPLATE=t"),
        ("accountid", "account", "allow.user.view.destroyed.vm", "true"),
        ("domainid", "domain", "ldap.basedn", "dc=x"),
        ("imagestoreuuid", "imagestore", "secstorage.nfs.version", "4"),
    ],
)
def test_a_value_in_a_scope(cloud: Simulator, parameter: str, scope: str, name: str, value: str) -> None:
    where = {parameter: scope_id(cloud, parameter)}
    listed = ok(cloud, "listConfigurations", pagesize=-1, **where)["configuration"]
    assert {row["scope"] for row in listed} == {scope}
    before = setting(cloud, name)
    assert "scope" not in before, "an unscoped listing does not tell scopes"
    assert ok(cloud, "updateConfiguration", name=name, value=value, **where)["configuration"]["value"] == value
    assert setting(cloud, name, **where)["value"] == value
    assert setting(cloud, name) == before, "the global value stays"
    reset = {"imagestoreid": where[parameter]} if parameter == "imagestoreuuid" else where
    assert ok(cloud, "resetConfiguration", name=name, **reset)["configuration"].get("value") == before.get("value")
    assert setting(cloud, name, **where).get("value") == before.get("value")


def test_a_pool_has_an_id_with_a_semicolon(cloud: Simulator) -> None:
    pool = scope_id(cloud, "storageid")
    template, _unused, rest = pool.partition(";")
    assert template == "nvme" and len(rest) == 36


def test_scopes_that_do_not_fit(cloud: Simulator) -> None:
    zone, cluster = scope_id(cloud, "zoneid"), scope_id(cloud, "clusterid")
    for command, more in (("updateConfiguration", {"value": "1"}), ("resetConfiguration", {})):
        content = refused(cloud, command, name="storpool.volumes.stats.interval", zoneid=zone, **more)
        assert content["errortext"] == "Invalid scope id provided for the parameter storpool.volumes.stats.interval"
        content = refused(cloud, command, name="force.ha", zoneid=zone, clusterid=cluster, **more)
        assert content["errortext"] == "cannot handle multiple IDs, provide only one ID corresponding to the scope"
    assert refused(cloud, "listConfigurations", zoneid=zone, clusterid=cluster)["cserrorcode"] == 4350


def test_with_a_scope_the_count_is_that_of_the_page(cloud: Simulator) -> None:
    cluster = scope_id(cloud, "clusterid")
    whole = ok(cloud, "listConfigurations", clusterid=cluster)["count"]
    page = ok(cloud, "listConfigurations", clusterid=cluster, page=1, pagesize=5)
    assert page["count"] == 5 < whole


def test_a_scope_without_a_value_has_the_global_one(cloud: Simulator) -> None:
    cluster = scope_id(cloud, "clusterid")
    ok(cloud, "updateConfiguration", name="kvm.ha.recover.timeout", value="77")
    assert setting(cloud, "kvm.ha.recover.timeout", clusterid=cluster)["value"] == "77"


def test_a_scope_shows_the_global_value_in_force(cloud: Simulator) -> None:
    """``ConfigKey.valueIn`` falls back to the value that the server caches until its restart."""
    pool = scope_id(cloud, "storageid")
    ok(cloud, "updateConfiguration", name="storpool.delete.after.interval", value="3600")
    assert setting(cloud, "storpool.delete.after.interval", storageid=pool)["value"] == "0"
    cloud.restart_server()
    assert setting(cloud, "storpool.delete.after.interval", storageid=pool)["value"] == "3600"


def test_secrets_come_encrypted_and_differ_each_time(cloud: Simulator) -> None:
    answer = ok(cloud, "updateConfiguration", name="alert.smtp.password", value="swordfish")["configuration"]
    first, second = (setting(cloud, "alert.smtp.password")["value"] for _unused in range(2))
    assert len({answer["value"], first, second, "swordfish"}) == 4
    assert "configuration" not in ok(cloud, "listConfigurations", keyword="Hidden", category="Hidden")


# Events

FENCE = "kvm.ha.fence.on.storage.heartbeat.failure"


@pytest.mark.parametrize("version", VERSIONS)
def test_events_tell_of_changed_settings_the_newest_first(clouds: Callable[[str], Simulator], version: str) -> None:
    sim = clouds(version)
    before = ok(sim, "listEvents", listall=True).get("count", 0)
    ok(sim, "updateConfiguration", name=FENCE, value="true")
    ok(sim, "resetConfiguration", name=FENCE)
    found = ok(sim, "listEvents", listall=True, type="CONFIGURATION.VALUE.EDIT")
    assert found["count"] == before + 2
    assert [event["description"] for event in found["event"][:2]] == [
        "Successfully completed resetting configuration",
        "Successfully completed updating configuration.  Name: kvm.ha.fence.on.storage.heartbeat.failure New Value: true",
    ]
    found = ok(sim, "listEvents", listall=True, keyword=FENCE)["event"]
    assert {event["type"] for event in found} == {"CONFIGURATION.VALUE.EDIT"} and found[0]["username"] == "admin"
    assert ok(sim, "listEvents", listall=True, startdate="2100-01-01T00:00:00+0000") == {}


def test_a_restarted_server_started_after_what_was_changed_before(cloud: Simulator) -> None:
    ok(cloud, "updateConfiguration", name=FENCE, value="true")
    changed = ok(cloud, "listEvents", listall=True)["event"][0]["created"]
    cloud.restart_server()
    assert all(server["lastserverstart"] > changed for server in ok(cloud, "listManagementServers")["managementserver"])


def test_what_a_zone_has_of_its_own_is_among_its_details(cloud: Simulator) -> None:
    zone = one(cloud, "listZones", "zone")
    assert "resourcedetails" not in zone
    ok(cloud, "updateConfiguration", name=FENCE, value="true", zoneid=zone["id"])
    assert one(cloud, "listZones", "zone")["resourcedetails"] == {FENCE: "true"}
