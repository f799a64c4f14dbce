# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every module both ways: in the controller's worker (the fast path) and as an ordinary module. The results are the same, field by field.

A case is one task. All cases of a module run in one real playbook, from the same state of the simulator, once each way. A module of the
collection without cases fails here.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import playbooks
import pytest
import yaml
from conftest import CLOUDSTACKS, needs_cloudstack, on_host

ROOT = Path(__file__).resolve().parents[2]
ALL = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py") if not path.stem.startswith("_"))
MODULES = [name for name in ALL if not on_host(name)]
MIB = 1 << 20
TOKEN = "815815815815815815"  # nobody's


@dataclass
class Case:
    """One task: what it is given and what comes of it (`ok`, `changed` or `failed`)."""

    comes: str
    options: dict[str, Any]
    keywords: dict[str, Any] = field(default_factory=dict)
    says: str = ""  # what the message has to contain


def ok(says: str = "", /, keywords: dict[str, Any] | None = None, **options: Any) -> Case:
    return Case("ok", options, keywords or {}, says)


def changed(keywords: dict[str, Any] | None = None, **options: Any) -> Case:
    return Case("changed", options, keywords or {})


def failed(says: str, /, keywords: dict[str, Any] | None = None, **options: Any) -> Case:
    return Case("failed", options, keywords or {}, says)


CHECK = {"check_mode": True, "diff": True}
DIFF = {"diff": True}

# What every module of StorPool's has in common, whatever it does.
CONNECTION = [
    failed("Unsupported parameters for", no_such_option=1),
    failed("refused the token", sp_auth_token=TOKEN),
    failed("cannot be reached", sp_api_http_host=["127.0.0.1"], sp_api_http_port=1, sp_timeout=1),
    failed("option sp_api_http_host", sp_api_http_host=["http://x"]),
    failed("cannot be converted", sp_api_http_port="x"),
    failed("unable to convert to bool", sp_multi_cluster="perhaps"),
    failed("option profile_file", profile="prod", profile_file="/nowhere/profiles.ini"),
    failed("option sp_auth_token", sp_auth_token="815815815815 815815"),
]

# What every module of CloudStack's has in common.
CLOUDSTACK_CONNECTION = [
    failed("Unsupported parameters for", no_such_option=1),
    failed("refused the credentials", cloudstack_secret=TOKEN),
    failed("refused the credentials", api_key=TOKEN),
    failed("cannot be reached", cloudstack_url="http://127.0.0.1:1/client/api", cloudstack_timeout=1),
    failed("option cloudstack_url", cloudstack_url="cloud.example"),
    failed("option cloudstack_ca_path", cloudstack_ca_path="/nowhere"),
    failed("cannot be converted", cloudstack_timeout="x"),
    failed("unable to convert to bool", cloudstack_validate_certs="perhaps"),
]

# What a module needs to be told before it speaks to anybody.
LEAST = {
    "cloudstack_offering": {"name": "o"},
    "cloudstack_snapshot": {"name": "s", "volume": "ROOT-1"},
    "cloudstack_snapshot_policy": {"volume": "ROOT-1", "state": "absent"},
    "cloudstack_template": {"name": "t", "volume": "ROOT-1"},
    "cloudstack_vm_snapshot": {"name": "s", "vm": "web1"},
    "cloudstack_volume": {"name": "v"},
    "cloudstack_settings": {"name": "force.ha", "value": True},
    "cloudstack_storage_pool": {"name": "p"},
    "storpool_volume": {"name": "v"},
    "storpool_ha": {"host": "kvm11"},
    "storpool_snapshot": {"name": "s", "volume": "seed"},
    "storpool_template": {"name": "t"},
    "storpool_template_cache": {"name": "debian-12"},
}

ENDPOINT = f"SP_API_HTTP=127.0.0.1:81;SP_AUTH_TOKEN={TOKEN};SP_TEMPLATE=nvme"
STATS = "storpool.volumes.stats.interval"
# Nothing goes on by itself here, so no host becomes Available.
PROTECTED = {
    "oobm_address": "198.51.100.1",
    "oobm_username": "ADMIN",
    "oobm_password": "bmc-secret",
    "sp_node_ids": {"kvm11": 11, "kvm12": 12, "kvm13": 13, "hc1": 1},
    "wait": False,
}

CASES: dict[str, list[Case]] = {
    "cloudstack_offering": [
        changed(CHECK, name="o", size="10G", max_iops=100),
        changed(DIFF, name="o", size="10G", max_iops=100, storage_tags=["x", "y"]),
        ok("", DIFF, name="o", size=10737418240, max_iops="100", storage_tags=["y", "x"]),
        changed(DIFF, name="p", renamed_from="o", template="hdd", details={"a": "b"}),
        changed(CHECK, name="p", state="inactive", details={"a": None}),
        Case("changed", {"name": "p", "qos_class": "gold"}, {}, "the class wins"),
        changed(None, offerings=[{"name": "c", "memory": 512}, {"name": "d", "memory": 64}], type="compute", cpu_number=1, cpu_speed=500),
        failed("max_iops is 100, declared is 200", DIFF, name="p", max_iops=200),
        failed("is no template of this StorPool", name="p", template="none"),
        failed("1 of 2 failed", None, offerings=[{"name": "p", "display_text": "P"}, {"name": "q", "id": "q"}], on_error="continue"),
        failed("must be whole gibibytes", name="q", size="1M"),
        failed("value of type must be one of", name="q", type="service"),
        failed("unable to convert to bool", name="q", encrypt="perhaps"),
        changed(DIFF, name="p", state="absent"),
    ],
    "cloudstack_host_info": [
        ok("", None),
        ok("", CHECK, hosts=["kvm12", "10.1.0.1"], wait_for="Up", wait_timeout="0"),
        failed("not Down in CloudStack: kvm11 is Up", DIFF, hosts=["kvm11"], wait_for="Down", wait_timeout=0),
        failed("'kvm99' is not a host of CloudStack", hosts=["kvm99"]),
        failed("is no number of seconds", wait_timeout=-1),
        failed("value of wait_for must be one of", wait_for="up"),
        failed("cannot be converted", wait_timeout="long"),
    ],
    "cloudstack_settings": [
        changed(CHECK, name=STATS, value=1800),
        changed(DIFF, name=STATS, value="1800"),
        ok("", DIFF, name=STATS, value=1800),
        ok("", CHECK, name=STATS, value=1800.0),
        changed(DIFF, settings=[{"name": "force.ha", "value": True, "cluster": "kvm1"}, {"name": STATS, "state": "default"}]),
        changed(DIFF, name="sp.alternative.endpoint", value=ENDPOINT, storage_pool="storpool-nvme"),
        ok("", CHECK, name="sp.alternative.endpoint", value=ENDPOINT, storage_pool="storpool-nvme"),
        changed(None, name="alert.smtp.password", value="hunter2"),
        ok("stored encrypted", None, name="alert.smtp.password", value="hunter3"),
        changed({"loop": [5, 6]}, name=STATS, value="{{ item }}"),
        Case("changed", {"name": "sp.bypass.secondary.storage", "value": "{{ 1 == 1 }}"}, {}, "no effect from CloudStack 4.21"),
        changed(None, name="ha.tag", value="race"),  # its answer is lost: see the fault of the fixture
        failed("did you mean force.ha", DIFF, name="force.haa", value=True),
        failed("does not exist in CloudStack", None, name="force.ha", value=True, cluster="none"),
        failed("is neither true nor false", None, name="force.ha", value="perhaps"),
        failed("1 of 2 failed", DIFF, settings=[{"name": "ha.tag", "value": "y"}, {"name": "zzz", "value": 1}], on_error="continue"),
        failed("1 of 2 failed", CHECK, settings=[{"name": "ha.tag", "value": "z"}, {"name": "zzz", "value": 1}]),
        failed("cannot be combined with state: default", name="force.ha", value=1, state="default"),
        failed("is declared twice", settings=[{"name": "force.ha", "value": 1}, {"name": "force.ha", "value": 2}]),
        failed("value of state must be one of", name="force.ha", state="gone"),
        failed("Unsupported parameters for", settings=[{"name": "x", "valeu": ENDPOINT}]),
        failed("unable to convert to bool", name="x", value=ENDPOINT, secret="perhaps"),
    ],
    "cloudstack_storage_pool": [
        changed(CHECK, name="p", zone="sofia", template="hybrid"),
        changed(DIFF, name="p", zone="sofia", template="hybrid", tags=["x", "y"], state="disabled"),
        ok("", DIFF, name="p", tags=["y", "x"], state="disabled"),
        changed(CHECK, name="p", state="maintenance"),
        changed(DIFF, name="q", renamed_from="p", state="enabled"),
        ok("", CHECK, pools=[{"name": "q"}, {"name": "storpool-nvme"}], return_objects="all"),
        failed("is that of storage pool storpool-nvme already", DIFF, name="r", zone="sofia", template="nvme"),
        failed("is no template of the StorPool", name="r", zone="sofia", template="none"),
        failed("option pool_auth_token", name="r", zone="sofia", template="hdd", pool_auth_token=TOKEN),
        failed("was made with another token", name="q", pool_auth_token=TOKEN),
        failed("deletes only what is in maintenance", CHECK, name="q", state="absent"),
        failed("1 of 2 failed", None, pools=[{"name": "q", "tags": []}, {"name": "none"}], on_error="continue"),
        failed("value of state must be one of", name="q", state="gone"),
        failed("Unsupported parameters for", pools=[{"name": "q", "pool_auth_token": TOKEN, "x": 1}]),
        failed("unable to convert to bool", name="q", forced="perhaps"),
        changed(DIFF, name="q", state="absent", maintenance_first=True),
    ],
    "cloudstack_snapshot": [
        changed(CHECK, name="s", volume="ROOT-1"),
        changed(DIFF, name="s", volume="ROOT-1", backup=True),
        ok("", DIFF, name="s", volume="ROOT-1", zones=["sofia"]),
        ok("", CHECK, name="s", volume="ROOT-1", verify="off"),
        ok("", DIFF, name="s", volume="ROOT-1", state="reverted"),
        changed(CHECK, name="nightly-%Y%m%d", volume="ROOT-1", keep_last="1"),
        failed("would be copied to secondary storage", name="t", volume="ROOT-1", backup=False),
        failed("does not exist in CloudStack", DIFF, name="s", volume="none"),
        failed("option zones: 'nowhere' does not exist", name="s", volume="ROOT-1", zones=["nowhere"]),
        failed("is no snapshot of volume ROOT-1", name="none", volume="ROOT-1", state="reverted"),
        failed("has no time in it", name="s", volume="ROOT-1", keep_last=2),
        failed("needs at least one of keep_last", name="s-%Y", volume="ROOT-1", state="pruned"),
        failed("1 of 2 failed", CHECK, snapshots=[{"volume": "ROOT-1"}, {"volume": "none"}], name="t", on_error="continue"),
        changed(CHECK, volumes=["ROOT-1"], name="t"),
        failed("value of verify must be one of", name="s", volume="ROOT-1", verify="perhaps"),
        failed("option wait_timeout", name="s", volume="ROOT-1", wait_timeout="soon"),
        failed("unable to convert to bool", name="s", volume="ROOT-1", state="reverted", stop_vm="perhaps"),
        changed(DIFF, name="s", volume="ROOT-1", state="absent"),
        ok("", DIFF, name="s", volume="ROOT-1", state="absent"),
    ],
    "cloudstack_snapshot_policy": [
        changed(CHECK, volume="ROOT-1", policies=[{"interval": "daily", "schedule": "0:3", "keep": 3}]),
        changed(DIFF, volume="ROOT-1", policies=[{"interval": "daily", "schedule": "0:3", "keep": 3}]),
        ok("", DIFF, volume="ROOT-1", policies=[{"interval": "daily", "schedule": "00:03", "keep": "3"}]),
        changed(CHECK, volumes=["ROOT-1"], exact=True, policies=[{"interval": "hourly", "schedule": "1", "keep": 3}]),
        failed("does not exist in CloudStack", volume="none", policies=[{"interval": "hourly", "schedule": "1", "keep": 3}]),
        failed("is not of the form MM", volume="ROOT-1", policies=[{"interval": "hourly", "schedule": "1:1", "keep": 3}]),
        failed("value of interval must be one of", volume="ROOT-1", policies=[{"interval": "yearly"}]),
        failed("snapshot.max.hourly", CHECK, volume="ROOT-1", policies=[{"interval": "hourly", "schedule": "1", "keep": 99}]),
        failed(
            "1 of 2 failed",
            None,
            snapshot_policies=[{"volume": "ROOT-1"}, {"volume": "none"}],
            on_error="continue",
            policies=[{"interval": "weekly", "schedule": "1:1:1", "keep": 1}],
        ),
        changed(DIFF, volume="ROOT-1", state="absent"),
        ok("", CHECK, volume="ROOT-1", state="absent"),
    ],
    # The VM runs in this world, so nothing can be made of its volume, but of its volume's snapshot.
    "cloudstack_template": [
        changed(CHECK, name="g", zone="sofia", snapshot="golden", os_type="Rocky Linux 9"),
        changed(DIFF, name="g", zone="sofia", snapshot="golden", volume="ROOT-1", os_type="Rocky Linux 9", display_text="Model"),
        ok("", DIFF, name="g", snapshot="golden"),
        changed(CHECK, templates=[{"name": "h"}, {"name": "i", "public": True}], snapshot="golden", os_type="Rocky Linux 9"),
        failed("was made from snapshot", CHECK, name="g", volume="ROOT-1"),
        changed(DIFF, name="g", state="absent"),
        failed("its VM web1 is Running", CHECK, name="t", zone="sofia", volume="ROOT-1", os_type="Rocky Linux 9"),
        failed("option volume of t: 'none' does not exist", name="t", volume="none"),
        failed("option snapshot of t: 'none' does not exist", CHECK, name="t", snapshot="none"),
        failed("is no operating system", name="t", volume="ROOT-1", os_type="none"),
        failed("what the template is made of", name="t"),
        failed("1 of 2 failed", CHECK, templates=[{"name": "none", "state": "absent"}, {"name": "u", "volume": "no"}], on_error="continue"),
        failed("value of verify must be one of", name="t", volume="ROOT-1", verify="perhaps"),
        failed("unable to convert to bool", name="t", volume="ROOT-1", public="perhaps"),
        ok("", DIFF, name="none", state="absent"),
        changed(DIFF, names=["small-raw"], state="absent"),
        ok("", CHECK, name="small-raw", state="absent"),
    ],
    "cloudstack_vm_snapshot": [
        changed(CHECK, name="s", vm="web1", description="first"),
        changed(DIFF, name="s", vm="web1", description="first"),
        ok("", DIFF, name="s", vm="web1"),
        ok("", CHECK, name="s", vm="web1", verify="off"),
        ok("", DIFF, name="s", vm="web1", state="reverted"),
        changed(CHECK, name="nightly-%Y%m%d", vm="web1", keep_last="1"),
        failed("does not exist in CloudStack", DIFF, name="s", vm="none"),
        failed("is no snapshot of VM web1", name="none", vm="web1", state="reverted"),
        failed("has no time in it", name="s", vm="web1", keep_last=2),
        failed("needs at least one of keep_last", name="s-%Y", vm="web1", state="pruned"),
        failed("1 of 2 failed", CHECK, vm_snapshots=[{"vm": "web1"}, {"vm": "none"}], name="t", on_error="continue"),
        changed(CHECK, vms=["web1"], name="t"),
        failed("value of verify must be one of", name="s", vm="web1", verify="perhaps"),
        failed("unable to convert to bool", name="s", vm="web1", state="reverted", stop_vm="perhaps"),
        changed(DIFF, name="s", vm="web1", state="absent"),
        ok("", DIFF, name="s", vm="web1", state="absent"),
    ],
    "cloudstack_volume": [
        changed(CHECK, name="v", zone="sofia", offering="Custom", size="1G"),
        changed(DIFF, name="v", zone="sofia", offering="Custom", size="1G"),
        ok("", DIFF, name="v", size="1G", encrypted=False),
        changed(CHECK, name="v", vm="web1"),
        changed(DIFF, name="v", vm="web1", size="2G"),
        ok("", CHECK, names=["v"], vm="web1", return_objects="all"),
        changed(DIFF, name="w", renamed_from="v", delete_protection=True, vm=""),
        failed("what lies beyond would be lost", DIFF, name="w", size="1G"),
        failed("is protected from deletion", CHECK, name="w", state="absent"),
        failed("is no disk offering", name="n", zone="sofia", offering="none"),
        failed("option zone is needed", name="n", offering="Small"),
        failed("option vm of w: 'none' does not exist", name="w", vm="none"),
        failed("1 of 2 failed", None, volumes=[{"name": "w", "size": "3G"}, {"name": "n"}], on_error="continue"),
        failed("must be whole gibibytes", name="w", size="1M"),
        failed("value of on_attached must be one of", name="w", state="absent", on_attached="force"),
        failed("unable to convert to bool", name="w", repair="perhaps"),
        changed(DIFF, name="w", state="absent", delete_protection=False),
    ],
    "storpool_ha": [
        changed(CHECK, host="kvm11", **PROTECTED),
        changed(DIFF, host="kvm11", **PROTECTED),
        ok("", DIFF, host="kvm11", **PROTECTED),
        ok("", CHECK, host="kvm11", wait=False, sp_node_ids={"kvm11": 11}),
        changed(DIFF, host="kvm11", **PROTECTED, update_password="always"),
        changed(DIFF, hosts=[{"host": "kvm12", "oobm_address": "198.51.100.2"}, {"host": "kvm11"}], **PROTECTED, return_objects="all"),
        failed("waited 0 s, but HA of it is Disabled", host="kvm11", **{**PROTECTED, "wait": True, "wait_timeout": "0"}),
        failed("1 of 3 failed", None, cluster="kvm1", **{**PROTECTED, "oobm_address": None}, on_error="continue"),
        failed("is hyper-converged", CHECK, host="hc1", **PROTECTED),
        failed("it is not known whether", host="kvm11", wait=False),
        failed("authentication failed", host="kvm13", **{**PROTECTED, "oobm_address": "198.51.100.3", "oobm_password": TOKEN}),
        failed("option oobm_port", host="kvm11", oobm_port=0),
        failed("value of oobm_driver must be one of", host="kvm11", oobm_driver="IPMI"),
        failed("Unsupported parameters for", hosts=[{"host": "kvm11", "oobm_password": TOKEN, "x": 1}]),
        failed("unable to convert to bool", host="kvm11", recover="perhaps"),
        changed(DIFF, host="kvm11", state="absent"),
    ],
    "storpool_ha_info": [
        ok("", None, zone="sofia", sp_node_ids={"kvm11": 11}),
        ok("no_instances: hc1", CHECK, cluster="converged", allow_hyperconverged="yes"),
        ok("Both option hosts and its alias host are set", None, host="kvm11", hosts=["kvm11"]),
        failed("'kvm99' does not exist in CloudStack", hosts=["kvm11", "kvm99"]),
        failed("is no StorPool node id", sp_node_ids={"kvm11": "eleven"}),
        failed("unable to convert to bool", allow_hyperconverged="perhaps"),
    ],
    "storpool_volume": [
        changed(CHECK, name="v", size="1G", template="nvme", tags={"a": "b"}),
        changed(DIFF, name="v", size="1G", template="nvme", tags={"a": "b"}),
        ok("", DIFF, name="v", size="1G", template="nvme", tags={"a": "b"}),
        ok("", CHECK, name="v", size="1G"),
        changed(None, name="v", size=2147483648, iops=100, attach_to=[11, "12:ro"]),
        changed(DIFF, name="w", renamed_from="v", attach_to=[], exclusive="yes"),
        changed(DIFF, names=["x", "y", "z"], size="1M", parallel="2"),
        changed(DIFF, volumes=[{"name": "x", "size": "2M"}, {"name": "y"}, {"name": "c", "base_on": "y"}], return_objects="all"),
        changed(None, match_tags={"uuid": "1"}, size="1M"),
        changed({"no_log": True}, name="secret", size="1M"),
        changed({"loop": ["l1", "l2", "l3"]}, name="{{ item }}", size="1M"),
        changed({"register": "made"}, name="registered", size="1M"),
        ok("", None, name="{{ made.volumes[0].name }}", size="{{ made.volumes[0].object.size }}"),
        changed(None, name="race", size="1M", template="hdd"),  # a warning: see the fault of the fixture
        failed("would cut its end off", DIFF, name="w", size="1M"),
        failed("1 of 2 failed", DIFF, volumes=[{"name": "w", "size": "1M"}, {"name": "n", "size": "1M"}], on_error="continue"),
        failed("1 of 2 failed", CHECK, volumes=[{"name": "w", "size": "1M"}, {"name": "m", "size": "1M"}]),
        failed("No such client registered", name="w", attach_to=[99]),
        failed("Done before that: create; not done: attach", name="half", size="1M", attach_to=[98]),
        failed("belongs to CloudStack", name="theirs", size="1G"),
        failed("option size: '10X' is not a size", name="v", size="10X"),
        failed("cannot be combined with volumes", name="v", volumes=[]),
        failed("is declared twice", names=["v", "v"]),
        failed("value of state must be one of", name="v", state="gone"),
        failed("missing required arguments: id", name="v", remote={"location": "x"}),
        failed("Unsupported parameters for", volumes=[{"nme": "v"}]),
        failed("could not parse JSON or key=value", volumes=["v w"]),
        failed("cannot be converted", name="v", parallel="many"),
        failed("value of state must be one of", volumes=[{"name": "v", "state": "gone"}]),
        changed(DIFF, name="w", state="absent"),
    ],
    "storpool_snapshot": [
        changed(CHECK, name="s", volume="seed"),
        changed(DIFF, name="s", volume="seed", tags={"a": "b"}),
        ok("", DIFF, name="s", volume="seed", tags={"a": "b"}),
        changed(None, name="{volume}-group", volumes=["seed", "theirs"], delete_after="7d", allow_cloudstack_objects=True),
        failed("", name="t", volume="no-such-volume"),
        failed("value of state must be one of", name="s", state="gone"),
        failed("cannot be converted", name="s", volume="seed", keep_last="few"),
        changed(DIFF, name="s", state="absent"),
    ],
    "storpool_template": [
        changed(CHECK, name="t", replication=2, place_all="ssd"),
        changed(DIFF, name="t", replication=2, place_all="ssd"),
        ok("", DIFF, name="t", replication=2),
        changed(None, templates=[{"name": "t", "iops": 5}, {"name": "u"}], replication=2, place_all="ssd"),
        failed("replication", name="t", replication=9),
        failed("value of state must be one of", name="t", state="gone"),
        failed("unable to convert to bool", name="t", propagate="perhaps"),
        changed(DIFF, names=["t", "u"], state="absent"),
    ],
    "storpool_template_cache": [
        changed(CHECK, name="rocky-9"),
        changed(CHECK, filter={"name": ["debian-*", "rocky-*"]}, zone="sofia", pools=["storpool-nvme"], keep="yes"),
        ok("", DIFF, name="debian-12", state="absent"),
        ok("", CHECK, state="absent", zone="sofia"),
        changed(DIFF, state="absent", zone="sofia", evict="storpool_orphans_only"),
        ok("", DIFF, state="absent", zone="sofia", evict="storpool_orphans_only"),
        failed("is no template in zone sofia; there are: debian-12", CHECK, names=["debian-12", "no-such"]),
        failed("has no StorPool pool; zones with such pools: sofia", name="debian-12", zone="none"),
        failed("option pools: 'none' does not exist in CloudStack", name="debian-12", pools=["none"]),
        failed("fits no template", filter={"name": ["none*"]}),
        failed("is needed to say which template is meant", keep=True),
        failed("is only for image", name="debian-12", format="raw"),
        failed("cannot be read: No such file", DIFF, name="golden", image="/nowhere/golden.qcow2"),
        failed("is a device and no file", CHECK, templates=[{"name": "golden", "image": "/dev/null", "format": "raw"}]),
        failed("is not a checksum", name="golden", image="golden.qcow2", checksum="sha1:0"),
        failed("value of format must be one of", name="golden", image="golden.qcow2", format="iso"),
        failed("Unsupported parameters for", name="debian-12", filter={"nmae": ["x"]}),
        failed("unable to convert to bool", name="debian-12", keep="perhaps"),
    ],
    "storpool_volume_info": [
        ok("", None, name="seed"),
        ok("", CHECK),
        ok("", DIFF, fields=["name", "size"]),
        failed("", fields=["no-such-field"]),
        failed("cannot be converted", limit="few"),
    ],
    "storpool_snapshot_info": [
        ok("", None),
        ok("", CHECK, deleted="include"),
        ok("Both option locations and its alias location are set", None, remote=True, locations=["plovdiv"], location=["plovdiv"]),
        failed("value of deleted must be one of", deleted="maybe"),
        failed("unable to convert to bool", bound="perhaps"),
    ],
    "storpool_cluster_info": [
        ok("", None, gather=["templates", "clients"]),
        ok("", CHECK, gather=["attachments"]),
        failed("value of gather must be one or more of", gather=["everything"]),
    ],
}


def test_only_modules_about_their_host_have_one_way():
    actions = {path.stem for path in (ROOT / "plugins" / "action").glob("*.py")}
    assert sorted(actions - {"__init__"}) == MODULES


def test_every_module_has_cases():
    assert sorted(CASES) == MODULES
    for module, cases in CASES.items():
        kinds = {case.comes for case in cases}
        assert {"ok", "failed"} <= kinds, module
        assert any(case.keywords.get("check_mode") for case in cases), module


def seed(simulator, module=""):
    """The same state each time, down to the ids."""
    simulator.reset()
    simulator.clear_faults()
    simulator.background(False)
    for body in ({"name": "seed", "size": MIB, "template": "hdd"}, {"name": "theirs", "size": MIB, "tags": {"cs": "uuid"}}):
        status, answer = simulator.post("VolumeCreate", body)
        assert "error" not in answer, (status, answer)
    # The answer to the creation of this one is lost after it took effect.
    simulator.fault("cut_after", "VolumeCreate", object="race")
    if "cloudstack" in simulator.ready:
        # What a deleted template has left.
        orphan = {"cs": "template", "uuid": "00000000-0000-4000-8000-000000000000"}
        for call, body in (
            ("VolumeCreate", {"name": "origin", "size": MIB, "template": "nvme"}),
            ("VolumeSnapshot/origin", {"tags": orphan}),
        ):
            assert "error" not in simulator.post(call, body)[1]
        simulator.fault("cut_after", "updateConfiguration", object="race")
        simulator.deploy("web1")
        if module == "cloudstack_template":
            root = simulator.cs_volumes()[0]
            simulator.cs_done("createSnapshot", volumeid=root["id"], name="golden")
    simulator.reset_calls()


def tasks(module, cases):
    made = []
    for number, case in enumerate(cases):
        made.append({"name": f"Case {number}", f"storpool.cloudstack.{module}": case.options, "ignore_errors": True, **case.keywords})
    return made


def settled(value: Any, key: str = "", waits: bool = False) -> Any:
    """A result without what differs between any two runs: moments, and what chance decides (attempts; which of several gets which id).

    :param waits: there are jobs among the calls, and how often their state is read is a question of how long they take.
    """
    if isinstance(value, dict):
        return {settled(name): settled(one, name, waits) for name, one in value.items() if name != "ansible_facts"}
    if isinstance(value, list):
        return [settled(one, key, waits) for one in value]
    if key in ("attempts", "waited") or (key == "global_id" and value) or (key == "reads" and waits):
        return "some"
    if isinstance(value, int) and not isinstance(value, bool) and value > 1_500_000_000 and key not in ("size", "free", "capacity"):
        return "a moment" if value < 1 << 31 else value
    if isinstance(value, str):
        # Ids that are made up; those that are there from the start are of version 5.
        value = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", "made up", value)
        value = re.sub(r"; gave up after \d+ attempts", "", value)  # one alone is not told
        value = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\S*", "a moment", value)
        value = re.sub(r"nightly-\d{8}\b", "nightly of a day", value)
    return value


@pytest.fixture
def simulator(request):
    """Modules of CloudStack's have one, of the newest version."""
    callspec = getattr(request.node, "callspec", None)
    if callspec and "module" in callspec.params and needs_cloudstack(callspec.params["module"]):
        return request.getfixturevalue("cloud_of")(CLOUDSTACKS[-1])
    return request.getfixturevalue("sim")


@pytest.mark.parametrize("module", MODULES)
def test_both_ways(simulator, playbook, calls, module):
    assert module in CASES, f"{module} has no case here"
    common = CLOUDSTACK_CONNECTION if needs_cloudstack(module) else CONNECTION
    # The code behind the connection is the same for all; one module of each system is put through all of it.
    common = common if module in ("storpool_volume", "cloudstack_settings") else common[:2]
    cases = [*CASES[module], *(Case(case.comes, {**LEAST.get(module, {}), **case.options}, {}, case.says) for case in common)]
    runs, reads, writes = {}, {}, {}
    for in_process in (True, False):
        seed(simulator, module)
        # Messages of Ansible's that show a set show it in the order of hashes. Pipelining only makes modules start faster.
        env = {"PYTHONHASHSEED": "0", "ANSIBLE_PIPELINING": "true"}
        runs[in_process] = playbook(tasks(module, cases), in_process=in_process, env=env)
        asked = [(entry["write"], entry["call"], settled(entry["body"])) for entry in calls().entries]
        writes[in_process] = sorted((one for one in asked if one[0]), key=repr)
        reads[in_process] = sorted((one for one in asked if not one[0] and one[1] != "queryAsyncJobResult"), key=repr)
    here, there = (runs[way] for way in (True, False))
    differ = []
    for number, case in enumerate(cases):
        one, other = here.record(f"Case {number}"), there.record(f"Case {number}")
        comes = "failed" if one["status"] == "failed" else "changed" if one["changed"] else "ok"
        where = f"{module}, case {number} {case.options}"
        assert comes == case.comes, f"{where}: {one}"
        assert case.says in str(one["result"].get("msg", "")) + str(one["result"].get("warnings", "")), f"{where}: {one}"
        for what in ("status", "changed"):
            if one[what] != other[what]:
                differ.append(f"{where}: {what}: {one[what]} here, {other[what]} as a module")
        results = (settled(record["result"], waits=needs_cloudstack(module)) for record in (one, other))
        differ += [f"{where}: {line}" for line in differences(*results)]
    assert not differ, "\n".join(differ)
    assert writes[True] == writes[False]
    assert reads[True] == reads[False]


def differences(here: Any, there: Any, path: str = "") -> list[str]:
    if isinstance(here, dict) and isinstance(there, dict):
        found = []
        for key in sorted({*here, *there}, key=str):
            if key not in here or key not in there:
                value = here.get(key, there.get(key))
                found.append(f"{path}.{key} = {value!r} only {'here' if key in here else 'as a module'}")
            else:
                found += differences(here[key], there[key], f"{path}.{key}")
        return found
    if isinstance(here, list) and isinstance(there, list) and len(here) == len(there):
        return [line for number, pair in enumerate(zip(here, there, strict=True)) for line in differences(*pair, f"{path}[{number}]")]
    return [] if here == there else [f"{path}: {here!r} here, {there!r} as a module"]


# -- secrets


@pytest.mark.parametrize("in_process", [True, False])
def test_no_token_in_any_output(simulator, playbook, in_process, tmp_path):
    profiles = tmp_path / "profiles.ini"
    profiles.write_text(f"[p]\nsp_api_http_host = {simulator.host}:{simulator.port}\nsp_auth_token = {TOKEN}1\n")
    content = [
        {"name": "Wrong option", "storpool.cloudstack.storpool_volume": {"name": "v", "sp_auth_token": "{{ lookup('env', 'WRONG') }}"}},
        {
            "name": "Broken option",
            "storpool.cloudstack.storpool_volume": {"name": "v", "sp_auth_token": "{{ lookup('env', 'WRONG') }}", "size": "x"},
        },
        {
            "name": "Unknown option",
            "storpool.cloudstack.storpool_volume": {"name": "v", "sp_auth_token": "{{ lookup('env', 'WRONG') }}", "syze": 1},
        },
        {
            "name": "Unreachable",
            "storpool.cloudstack.storpool_volume": {
                "name": "v",
                "sp_auth_token": "{{ lookup('env', 'WRONG') }}",
                "sp_api_http_port": 1,
                "sp_timeout": 1,
            },
        },
        {"name": "Profile", "storpool.cloudstack.storpool_volume": {"name": "v", "profile": "p", "profile_file": str(profiles)}},
        {
            "name": "Right",
            "storpool.cloudstack.storpool_volume": {"name": "v", "size": "1M", "sp_auth_token": "{{ lookup('env', 'RIGHT') }}"},
        },
        {"name": "Environment", "storpool.cloudstack.storpool_volume": {"name": "v", "size": "2M"}},
        {
            "name": "Check",
            "check_mode": True,
            "storpool.cloudstack.storpool_volume": {"name": "v", "size": "3M", "sp_auth_token": "{{ lookup('env', 'RIGHT') }}"},
        },
    ]
    run = playbook(
        [{**task, "ignore_errors": True} for task in content],
        "-vvvv",
        in_process=in_process,
        diff=True,
        # From core 2.21 on results tell their options only on request; a leak there has to be looked for.
        env={"WRONG": TOKEN, "RIGHT": simulator.token, "ANSIBLE_INJECT_INVOCATION": "true"},
    )
    statuses = [record["status"] for record in run.tasks]
    assert statuses == ["failed"] * 5 + ["ok"] * 3, run.output
    for secret in (TOKEN, simulator.token):
        assert secret not in run.output
        assert secret not in repr(run.records)
    shown = run.result("Right")["invocation"]["module_args"]["sp_auth_token"]
    assert shown == "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"


# -- where a task runs


def sections(run):
    """The output of each task, by its name (at -vvv it tells whether a module was sent)."""
    parts = re.split(r"^TASK \[(.+?)\].*$", run.output, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_conditions(simulator, playbook, tmp_path):
    """What the fast path steps aside for, and what it does not."""
    wrapper = tmp_path / "python"
    wrapper.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    wrapper.chmod(0o755)
    here = {
        "plain": {},
        "empty environment": {"environment": {}},
        "own interpreter": {"vars": {"ansible_python_interpreter": sys.executable}},
        "automatic interpreter": {"vars": {"ansible_python_interpreter": "auto_silent"}},
        "poll without async": {"poll": 5},
        "delegated to localhost": {"delegate_to": "localhost"},
        "told so": {"vars": {"storpool_in_process": "{{ 1 == 1 }}"}},
        "no_log": {"no_log": True},
        "timeout": {"timeout": 60},
    }
    aside = {
        "become": {"become": True},
        "async": {"async": 60, "poll": 1},
        "environment": {"environment": {"X": "y"}},
        "other interpreter": {"vars": {"ansible_python_interpreter": str(wrapper)}},
        "other interpreter in a template": {"vars": {"which": str(wrapper), "ansible_python_interpreter": "{{ which }}"}},
        "told not to": {"vars": {"storpool_in_process": False}},
        "told not to in words": {"vars": {"storpool_in_process": "no"}},
        "told not to in a template": {"vars": {"storpool_in_process": "{{ 1 == 2 }}"}},
    }
    module = {"storpool.cloudstack.storpool_volume": {"name": "v", "size": "1M"}}
    content = [
        {
            "hosts": "localhost",
            "gather_facts": False,
            "tasks": [{"name": name, **module, **keywords} for name, keywords in {**here, **aside}.items()],
        },
        {
            "hosts": "localhost",
            "gather_facts": False,
            "environment": {"X": "y"},
            "tasks": [{"name": "environment of the play", **module}],
        },
        {
            "hosts": "localhost",
            "gather_facts": False,
            "become": True,
            "tasks": [{"name": "become of the play", **module}],
        },
    ]
    run = playbooks.run(content, "-vvv", env=playbooks.connection(simulator))
    assert run.rc == 0, run.output
    output = sections(run)
    sent = {name for name, text in output.items() if "AnsiballZ_storpool_volume" in text}
    assert sent == {*aside, "environment of the play", "become of the play"}
    results = [record["result"] for record in run.tasks]
    assert [result["changed"] for result in results] == [True] + [False] * (len(results) - 1)


@pytest.mark.parametrize("in_process", [True, False])
def test_relative_paths_begin_at_the_playbook(simulator, tmp_path, in_process):
    (tmp_path / "volumes.csv").write_text("name,size\nv,1M\n")
    path = tmp_path / "play.yml"
    tasks = [{"name": "From a file", "storpool.cloudstack.storpool_volume": {"volumes_src": "volumes.csv"}}]
    path.write_text(yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    run = playbooks.run(path, env=playbooks.connection(simulator), variables={"storpool_in_process": in_process})
    assert run.result("From a file")["summary"]["changed"] == 1, run.output


@pytest.mark.parametrize("in_process", [True, False])
def test_keys_that_yaml_makes_numbers_of(simulator, playbook, in_process):
    content = """
    - {name: Tag, storpool.cloudstack.storpool_volume: {name: v, size: 1M, tags: {2026: x, true: y}}}
    - {name: Find, storpool.cloudstack.storpool_volume_info: {tags: {2026: x, true: y}}}
    """
    run = playbook(content, in_process=in_process)
    assert [one["tags"] for one in run.result("Find")["volumes"]] == [{"2026": "x", "true": "y"}], run.output


def test_other_hosts(simulator, tmp_path):
    """A task for another host goes there; one that is delegated from it to the controller runs here."""
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(
        "all:\n  hosts:\n    away:\n      ansible_host: 127.0.0.1\n      ansible_port: 1\n      ansible_ssh_executable: /bin/false\n"
        "    same:\n      ansible_connection: local\n      ansible_python_interpreter: /no/such/python\n"
    )
    module = {"storpool.cloudstack.storpool_volume": {"name": "v", "size": "1M"}}
    content = [
        {
            "hosts": "away",
            "gather_facts": False,
            "ignore_unreachable": True,
            "tasks": [{"name": "here", **module, "delegate_to": "localhost"}, {"name": "away", **module}],
        },
        {
            "hosts": "same",
            "gather_facts": False,
            "tasks": [
                {"name": "delegated", **module, "delegate_to": "localhost"},
                {"name": "with its own Python", **module, "ignore_errors": True},
                {"name": "for the other", **module, "delegate_to": "away", "ignore_unreachable": True},
            ],
        },
    ]
    run = playbooks.run(content, "-i", str(inventory), "-vvv", env=playbooks.connection(simulator))
    assert run.result("here")["changed"] is True
    assert run.record("away")["status"] == "unreachable"
    assert run.result("delegated")["changed"] is False
    assert run.record("with its own Python")["status"] == "failed"
    assert run.record("for the other")["status"] == "unreachable"


def test_defaults_of_a_group_reach_both_ways(simulator):
    for in_process in (True, False):
        simulator.reset()
        play = {
            "hosts": "localhost",
            "gather_facts": False,
            "module_defaults": {
                "group/storpool.cloudstack.storpool": {
                    "sp_api_http_host": [simulator.host],
                    "sp_api_http_port": simulator.port,
                    "sp_auth_token": simulator.token,
                }
            },
            "tasks": [
                {"name": "Volume", "storpool.cloudstack.storpool_volume": {"name": "v", "size": "1M"}},
                {"name": "Info", "storpool.cloudstack.storpool_volume_info": {"name": "v"}},
            ],
        }
        run = playbooks.run([play], variables={"storpool_in_process": in_process})
        assert run.rc == 0, run.output
        assert run.result("Volume")["changed"] is True


def test_a_loop_shares_one_connection_and_many_tasks_do_not_share_their_counts(simulator, playbook):
    run = playbook(
        [
            {"name": "Loop", "storpool.cloudstack.storpool_volume": {"name": "l{{ item }}", "size": "1M"}, "loop": [1, 2, 3]},
            {"name": "Again", "storpool.cloudstack.storpool_volume": {"name": "l{{ item }}", "size": "1M"}, "loop": [1, 2, 3]},
        ]
    )
    assert [one["api"]["writes"] for one in run.result("Loop")["results"]] == [1, 1, 1]
    assert [one["api"] for one in run.result("Again")["results"]] == [{"reads": 1, "writes": 0, "attempts": 1, "waited": 0.0}] * 3
