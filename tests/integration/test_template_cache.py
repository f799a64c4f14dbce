# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""storpool_template_cache through each version of the simulated CloudStack, whose plugin copies real images to the StorPool behind it."""

from __future__ import annotations

import hashlib
import subprocess
from functools import partial
from pathlib import Path

import pytest
from ansible_collections.storpool.cloudstack.plugins.module_utils import _storpool
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources import cache_watch
from conftest import CLOUDSTACKS, _runner, connection, declared, validated
from prediction import unlike
from storpool_simulator.testing import Simulator, address

MODULE = "storpool_template_cache"
MIB = 1 << 20
INTERVAL = 600  # seconds; of the cleanup here
# What depends on no release runs with one, what depends on how the plugin makes the snapshot with one of each way.
ANY_RELEASE = pytest.mark.parametrize("cloud", CLOUDSTACKS[-1:], indirect=True)
BOTH_WAYS = pytest.mark.parametrize("cloud", [CLOUDSTACKS[0], CLOUDSTACKS[-1]], indirect=True)
NOBODY = "00000000-0000-4000-8000-00000000000"  # and a digit: ids of templates that CloudStack does not have


@pytest.fixture
def simulator(cloud):
    return cloud


@pytest.fixture
def ask(run_module):
    return partial(run_module, MODULE)


@pytest.fixture
def listed(simulator):
    """`listed(command, key)` is what a listing has, by name."""

    def read(command, key, **params):
        return {one["name"]: one for one in simulator.cs(command, **params)[1].get(key, [])}

    return read


@pytest.fixture
def two_pools(run_module):
    result = run_module("cloudstack_storage_pool", name="storpool-hybrid", zone="sofia", template="hybrid")
    assert not result.get("failed"), result


@pytest.fixture
def caches(simulator, listed):
    """`caches(template)` are the living snapshots on StorPool that carry the template's id, by StorPool template."""

    def find(name):
        identity = listed("listTemplates", "template", templatefilter="all")[name]["id"]
        every = simulator.get("SnapshotsList")[1]["data"]
        return {one["templateName"]: one for one in every if one["tags"].get("uuid") == identity and not one["deleted"]}

    return find


def root_of(simulator, template, name="web"):
    """Runs an instance made from a template; returns its ROOT volume."""

    def identity(command, key, wanted, **params):
        return next(one["id"] for one in simulator.cs(command, **params)[1][key] if one["name"] == wanted)

    vm = simulator.cs_done(
        "deployVirtualMachine",
        name=name,
        zoneid=identity("listZones", "zone", "sofia"),
        serviceofferingid=identity("listServiceOfferings", "serviceoffering", "Small Instance"),
        templateid=identity("listTemplates", "template", template, templatefilter="all"),
    )["virtualmachine"]
    return simulator.cs_volumes(virtualmachineid=vm["id"])[0]


@pytest.fixture
def deploy(simulator):
    """`deploy(template)` runs an instance made from it; returns its ROOT volume."""
    return partial(root_of, simulator)


@pytest.fixture
def cleanup(simulator):
    """`cleanup()` lives through one round of CloudStack's cleanup, which comes soon here: the simulator lives a day look by look."""
    simulator.cs("updateConfiguration", name="storage.cleanup.interval", value=str(INTERVAL))
    simulator.restart_server()
    simulator.reset_calls()

    def wait():
        simulator.settle()  # a prepareTemplate that was answered is carried out by a thread of the server, which is not minutes late
        simulator.advance(INTERVAL + 60)
        simulator.settle()

    return wait


def pools_of(result, number=0):
    return {one["pool"]: one for one in result["templates"][number]["object"]["pools"]}


def image_of(simulator, template):
    """The raw content of a template on secondary storage."""
    for store in simulator.control("GET", "/cloudstack/secondary").values():
        for name in store["files"]:
            path = Path(store["directory"]) / name
            if template["id"] in name or template["name"] in name:
                raw = path.with_name("raw-for-test")
                subprocess.run(["qemu-img", "convert", "-O", "raw", path, raw], check=True)
                return raw.read_bytes()
    return None


# -- present


def test_cached_and_proved(declare, caches, listed, simulator):
    result = declare(name="debian-12", zone="sofia")
    entry = result["templates"][0]
    template = listed("listTemplates", "template", templatefilter="all")["debian-12"]
    snapshot = caches("debian-12")["nvme"]
    assert entry["actions"] == ["prepare on storpool-nvme"]
    assert entry["object"] == {
        "name": "debian-12", "id": template["id"], "zone": "sofia", "size": template["size"],
        "pools": [{"pool": "storpool-nvme", "cached": True, "verified": True, "global_id": snapshot["globalId"]}],
    }  # fmt: skip
    assert snapshot["tags"]["cs"] == "template" and snapshot["size"] == template["size"]
    image = image_of(simulator, template)
    assert image is not None and simulator.content(snapshot["name"])["sha256"] == hashlib.sha256(image).hexdigest()


@pytest.mark.parametrize("version", CLOUDSTACKS)
def test_a_clone_moves_no_byte_of_it(version, tmp_path):
    """Without devices: what is attached with one is copied by the simulator, because anything could write to the device."""
    with Simulator(tmp_path, cloudstack=version, devices="none") as process:
        options = validated(MODULE, {**connection(process, MODULE), "name": "debian-12"})
        assert _runner.execute(declared(MODULE), options, False, False)["changed"] is True
        before = process.counters()
        roots = [root_of(process, "debian-12", name) for name in ("web", "db")]
        after = process.counters()
        assert (after["bytes_copied"], after["bytes_converted"]) == (before["bytes_copied"], before["bytes_converted"])
        cache = next(one for one in process.get("SnapshotsList")[1]["data"] if one["tags"].get("cs") == "template")
        for volume in roots:
            found = process.content(address(volume))
            assert found["own"] == 0 and found["sha256"] == process.content(cache["name"])["sha256"]


@pytest.mark.usefixtures("two_pools")
def test_templates_times_pools(declare, caches):
    result = declare(zone="sofia", names=["debian-12", "rocky-9", "small-raw"], return_objects="all", parallel=2)
    assert [entry["actions"] for entry in result["templates"]] == [["prepare on storpool-hybrid", "prepare on storpool-nvme"]] * 3
    assert all(set(caches(name)) == {"nvme", "hybrid"} for name in ("debian-12", "rocky-9", "small-raw"))


@pytest.mark.usefixtures("two_pools")
def test_what_is_missing_of_some(declare, caches):
    declare(name="rocky-9", pools=["storpool-nvme"])
    result = declare(names=["rocky-9", "small-raw"], zone="sofia", return_objects="all")
    assert [entry["actions"] for entry in result["templates"]] == [
        ["prepare on storpool-hybrid"],
        ["prepare on storpool-hybrid", "prepare on storpool-nvme"],
    ]


@pytest.mark.usefixtures("two_pools")
@pytest.mark.parametrize("by", ["names", "ids", "filter"])
def test_what_it_costs_when_all_is_there(run_module, calls, listed, by):
    """At most a call for each pool and two more, and no write; a filter has to see templates that no pool has."""
    known = listed("listTemplates", "template", templatefilter="all")
    which = {
        "names": {"names": sorted(known)},
        "ids": {"templates": [{"id": one["id"]} for one in known.values()]},
        "filter": {"filter": {"name": ["*"]}},
    }[by]
    assert run_module(MODULE, zone="sofia", **which)["summary"]["changed"] == 3
    for check in (False, True):
        calls()
        result = run_module(MODULE, zone="sofia", check=check, **which)
        spent = calls()
        assert (result["changed"], result["summary"]["unchanged"], spent.writes) == (False, 3, [])
        expected = ["listStoragePools", "SnapshotsList", "listTemplates", "listTemplates", *(["listTemplates"] if by == "filter" else [])]
        assert spent.reads == expected and result["api"]["reads"] == len(expected)


def test_what_many_cost_on_many_pools(run_module, calls, simulator, listed, do, tmp_path):
    """n templates on m pools, everything present: at most 2 + m calls, no write, whatever n and m are."""
    do("VolumeTemplateCreate", {"name": "spare", "replication": 2, "placeAll": "hdd"})
    pools = ["storpool-nvme"]
    for template in ("hybrid", "hdd", "spare"):
        pools.append(f"storpool-{template}")
        made = run_module("cloudstack_storage_pool", name=pools[-1], zone="sofia", template=template)
        assert not made.get("failed"), made
    image = tmp_path / "small.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, "1M"], check=True)
    zone, system = listed("listZones", "zone")["sofia"]["id"], simulator.cs("listOsTypes")[1]["ostype"][0]["id"]
    names = [f"small-{number}" for number in range(6)]
    for name in names:
        new = {"format": "QCOW2", "hypervisor": "KVM", "ostypeid": system, "zoneid": zone, "url": image.as_uri()}
        assert simulator.cs("registerTemplate", name=name, displaytext=name, **new)[0] == 200
    simulator.settle()
    ids = [one["id"] for name, one in listed("listTemplates", "template", templatefilter="all").items() if name in names]
    result = run_module(MODULE, zone="sofia", names=names)
    assert result["summary"]["changed"] == 6, result.get("msg")
    for n in (1, 2, 6):
        for m in (1, 3, 4):
            for which in ({"names": names[:n]}, {"templates": [{"id": one} for one in ids[:n]]}):
                for check in (False, True):
                    calls()
                    result = run_module(MODULE, zone="sofia", pools=pools[:m], check=check, return_objects="all", **which)
                    spent = calls()
                    assert (result["changed"], spent.writes, len(spent.entries) <= 2 + m) == (False, [], True), (n, m, spent.reads)
                    told = [one["verified"] for entry in result["templates"] for one in entry["object"]["pools"]]
                    assert told == [True] * n * m
    # Each template on other pools: those that are meant count, not the pairs.
    each = [{"name": name, "pools": [pools[number % 3]]} for number, name in enumerate(names)]
    calls()
    assert run_module(MODULE, zone="sofia", templates=each)["changed"] is False
    assert len(calls().entries) <= 2 + 3


def test_a_filter(declare):
    result = declare(filter={"name": ["debian-*", "small-*"], "featured": True, "type": ["BUILTIN"]}, zone="sofia")
    assert [entry["name"] for entry in result["templates"]] == ["debian-12", "small-raw"]
    result = declare(templates=[{"filter": {"name": ["rocky-*"]}}, {"name": "debian-12"}], return_objects="all")
    assert [(entry["name"], entry["changed"]) for entry in result["templates"]] == [("rocky-9", True), ("debian-12", False)]


@BOTH_WAYS
@pytest.mark.parametrize("limit", [1, 2, 3])
def test_a_limit_of_its_own(run_module, simulator, held, limit):
    """So many templates are asked for and not there yet, never more; the next one is asked for when one is there."""
    with held("StorPoolDownloadTemplate", lambda fault: fault["hits"] >= limit, count=-1):
        result = run_module(MODULE, zone="sofia", names=["debian-12", "rocky-9", "small-raw"], parallel=limit)
    assert result["summary"]["changed"] == 3, result.get("msg")
    made = "VolumeFreeze" if simulator.cloudstack["version"].startswith(("4.19", "4.20.0")) else "VolumeDelete"
    order = [one["call"] for one in simulator.calls()["calls"] if one["call"] in ("prepareTemplate", made)]
    under_way = [order[: end + 1].count("prepareTemplate") - order[: end + 1].count(made) for end in range(len(order))]
    assert max(under_way) == limit and sorted(order) == sorted(["prepareTemplate", made] * 3)


# -- keep


def test_kept_through_the_cleanup(ask, caches, calls, cleanup):
    ask(names=["debian-12", "rocky-9"], zone="sofia")
    kept = caches("debian-12")["nvme"]["globalId"]
    for _round in range(3):
        cleanup()
        calls()
        predicted = ask(name="debian-12", zone="sofia", keep=True, check=True)
        assert calls().writes == []
        result = ask(name="debian-12", zone="sofia", keep=True)
        assert unlike(predicted, result) == []
        assert (result["changed"], result["templates"][0]["kept"]) == (False, ["storpool-nvme"])
        assert [one for one in calls().writes if one == "prepareTemplate"] == ["prepareTemplate"]
    # The one of before, and no other in its place
    assert [(name, one["globalId"]) for name, one in caches("debian-12").items()] == [("nvme", kept)]
    assert caches("rocky-9") == {}


@pytest.mark.parametrize("kind", ["cut_after", "cut_before", "bad_json", "transient"])
def test_keep_signals_can_be_lost(ask, simulator, kind):
    ask(name="small-raw")
    simulator.fault(kind if kind != "transient" else "status", "prepareTemplate", **({"status": 503} if kind == "transient" else {}))
    result = ask(name="small-raw", keep=True)
    assert (result.get("failed"), result["changed"]) == (None, False), result
    assert simulator.faults()[0]["hits"] == 1


# -- absent


def test_when_it_will_go(declare, caches, deploy, cleanup):
    declare(names=["debian-12", "rocky-9"], zone="sofia")
    deploy("debian-12")
    result = declare(names=["debian-12", "rocky-9", "small-raw"], zone="sofia", state="absent", return_objects="all")
    told = {entry["name"]: entry["collection"] for entry in result["templates"]}
    assert told["small-raw"] == []
    assert (told["rocky-9"][0]["volumes"], told["rocky-9"][0]["within"]) == (0, 2 * INTERVAL)
    assert (told["debian-12"][0]["volumes"], told["debian-12"][0]["within"]) == (1, None)
    assert told["debian-12"][0]["because"].startswith("1 volumes on this pool were made from it")
    # And so it comes.
    for _round in range(3):
        cleanup()
    assert (set(caches("debian-12")), caches("rocky-9")) == ({"nvme"}, {})
    assert declare(name="rocky-9", state="absent")["templates"][0]["collection"] == []


def test_it_will_not_go_where_the_cleanup_is_off(declare, simulator):
    declare(name="small-raw")
    simulator.cs("updateConfiguration", name="storage.template.cleanup.enabled", value="false")
    told = declare(name="small-raw", state="absent")["templates"][0]["collection"][0]
    assert told["within"] is None and "storage.template.cleanup.enabled is not true" in told["because"]


def test_a_deleted_template_waits_for_the_cleanup(declare, listed, simulator, caches, cleanup):
    declare(name="small-raw")
    identity = listed("listTemplates", "template", templatefilter="all")["small-raw"]["id"]
    simulator.cs_done("deleteTemplate", id=identity)
    for which in ({"name": "small-raw"}, {"id": identity}):
        result = declare(state="absent", evict="storpool_orphans_only", **which)
        assert result["templates"][0]["collection"][0]["within"] == 2 * INTERVAL and result["templates"][0]["actions"] == []
    found = declare(state="absent")["templates"][0]["object"]["found"]
    assert [(one["what"], one["removable"], one["template"]) for one in found] == [("waiting", False, "small-raw")]
    for _round in range(3):
        cleanup()
    assert declare(state="absent")["templates"][0]["object"]["found"] == []


# -- orphans


@pytest.fixture
def leftovers(simulator, do, listed, ask):
    """One of each kind, by name: what it is on StorPool, and what is to be said of it."""
    ask(names=["debian-12"], zone="sofia")
    templates = listed("listTemplates", "template", templatefilter="all")

    def snapshot(name, **tags):
        do("VolumeCreate", {"name": f"{name}-origin", "size": MIB, "template": "nvme"})
        made = do(f"VolumeSnapshot/{name}-origin", {"name": name, "tags": tags})["snapshotGlobalId"]
        do(f"VolumeDelete/{name}-origin")
        return made

    def volume(name, **tags):
        return do("VolumeCreate", {"name": name, "size": MIB, "template": "nvme", "tags": tags})["globalId"]

    made = {
        snapshot("deleted-template", cs="template", uuid=f"{NOBODY}1"): ("orphan", True),
        snapshot("no-row", cs="template", uuid=templates["rocky-9"]["id"]): ("orphan", True),
        snapshot("one-too-many", cs="template", uuid=templates["debian-12"]["id"]): ("surplus", False),
        snapshot("direct", cs="template"): ("surplus", False),
        snapshot("export", cs="temporary", uuid=f"{NOBODY}2"): ("temporary", False),
        snapshot("delayed", cs="delayDelete", uuid=f"{NOBODY}3"): ("delayed", False),
        snapshot("backup", cs="snapshot", uuid=f"{NOBODY}5"): ("unknown", False),
        snapshot("group", cs="group", uuid=f"{NOBODY}8"): ("unknown", False),
        volume("failed", cs="template", uuid=templates["rocky-9"]["id"]): ("leftover", True),
        volume("going-on", cs="template", uuid=templates["debian-12"]["id"]): ("under way", False),
        volume("written", cs="template", uuid=templates["small-raw"]["id"]): ("under way", False),
        volume("direct-attempt", cs="template"): ("leftover", False),
        volume("heart", cs="check-volume-is-on-host", uuid=f"{NOBODY}4"): ("heartbeat", False),
    }
    do("VolumesReassignWait", {"reassign": [{"volume": "written", "rw": [11]}]})
    # What is none: another's, one on the template of no pool.
    snapshot("theirs")
    do("VolumeCreate", {"name": "elsewhere", "size": MIB, "template": "hdd", "tags": {"cs": "template", "uuid": f"{NOBODY}6"}})
    return made


def everything(simulator):
    found = [one for call in ("SnapshotsList", "VolumesList") for one in simulator.get(call)[1]["data"]]
    return {one["globalId"] for one in found if not one.get("deleted")}


def test_orphans_are_told_and_left_alone(declare, leftovers, simulator):
    before = everything(simulator)
    result = declare(zone="sofia", state="absent")
    found = result["templates"][0]["object"]["found"]
    assert {one["global_id"]: (one["what"], one["removable"]) for one in found} == leftovers
    assert all(one["because"] and one["pool"] == "storpool-nvme" and one["size"] == MIB for one in found)
    assert everything(simulator) == before


def test_snapshots_that_cloudstack_knows_are_no_orphans(declare, deploy, simulator, do):
    """Of a volume and of a VM. An export is told, because CloudStack can forget to end it."""
    root = deploy("small-raw")
    simulator.cs("updateConfiguration", name="kvm.snapshot.enabled", value="true")
    taken = simulator.cs_done("createSnapshot", volumeid=root["id"])["snapshot"]
    simulator.cs_done("stopVirtualMachine", id=root["virtualmachineid"])
    simulator.cs_done("createVMSnapshot", virtualmachineid=root["virtualmachineid"], snapshotmemory=False)
    kinds = {one["tags"].get("cs"): one for one in simulator.get("SnapshotsList")[1]["data"]}
    assert {"snapshot", "group", "template"} <= set(kinds) and kinds["snapshot"]["tags"]["uuid"] == taken["id"]
    assert declare(zone="sofia", state="absent")["templates"][0]["object"]["found"] == []
    do("SnapshotExport", {"snapshot": f"~{kinds['snapshot']['globalId']}", "location": "plovdiv"})
    found = declare(zone="sofia", state="absent", evict="storpool_orphans_only")["templates"][0]["object"]["found"]
    assert [(one["what"], one["global_id"], one["removable"]) for one in found] == [("exported", kinds["snapshot"]["globalId"], False)]
    assert "a copy in plovdiv needs it" in found[0]["because"]


def test_only_orphans_are_deleted(declare, leftovers, simulator):
    before = everything(simulator)
    result = declare(zone="sofia", state="absent", evict="storpool_orphans_only")
    gone = {identity for identity, (_what, removable) in leftovers.items() if removable}
    assert len(result["templates"][0]["actions"]) == len(gone) == 3
    simulator.settle()
    assert before - everything(simulator) == gone


def test_the_orphans_of_one_template(declare, leftovers, simulator):
    before = everything(simulator)
    result = declare(name="rocky-9", zone="sofia", state="absent", evict="storpool_orphans_only")
    simulator.settle()
    gone = before - everything(simulator)
    assert {leftovers[identity] for identity in gone} == {("orphan", True), ("leftover", True)} and len(gone) == 2
    assert result["templates"][0]["object"]["pools"][0].get("extra") is None
    result = declare(id=f"{NOBODY}1", zone="sofia", state="absent", evict="storpool_orphans_only")
    assert len(result["templates"][0]["actions"]) == 1
    result = declare(name="gone", zone="sofia", state="absent", evict="storpool_orphans_only")
    assert result["templates"][0]["object"] is None and "has no template gone" in result["warnings"][0]


@pytest.fixture
def private(simulator, listed, tmp_path):
    """A template that only another account sees."""
    image = tmp_path / "private.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, "2M"], check=True)
    account = next(one for one in simulator.cs("listAccounts", listall=True)[1]["account"] if one["name"] == "ops")
    status, answer = simulator.cs(
        "registerTemplate", name="private", displaytext="private", format="QCOW2", hypervisor="KVM", url=image.as_uri(),
        ostypeid=simulator.cs("listOsTypes")[1]["ostype"][0]["id"], zoneid=listed("listZones", "zone")["sofia"]["id"],
        account="ops", domainid=account["domainid"],
    )  # fmt: skip
    assert status == 200, answer
    simulator.settle()
    assert "private" not in listed("listTemplates", "template", templatefilter="executable")
    return answer["template"][0]["id"]


@pytest.mark.parametrize("deleted", [False, True])
def test_what_others_keep_to_themselves_is_no_orphan(declare, private, simulator, deleted):
    """Templates that CloudStack lists only to those who ask for everything have caches, too."""
    declare(name="private", zone="sofia")
    if deleted:
        simulator.cs_done("deleteTemplate", id=private)
    before = everything(simulator)
    result = declare(zone="sofia", state="absent", evict="storpool_orphans_only")
    assert result["templates"][0]["actions"] == [] and everything(simulator) == before
    assert [one["what"] for one in result["templates"][0]["object"]["found"]] == (["waiting"] if deleted else [])


@BOTH_WAYS
def test_a_row_that_appears_meanwhile(ask, simulator, leftovers, listed, monkeypatch):
    """Between the reading of StorPool and that of CloudStack a copy begins and ends: what it made stays, and so does its volume."""
    template = listed("listTemplates", "template", templatefilter="all")["rocky-9"]
    pool = listed("listStoragePools", "storagepool")["storpool-nvme"]["id"]
    read = _storpool.StorPool.snapshots
    seen = set()

    def read_late(client):
        found = read(client)
        if not seen:
            seen.update(everything(simulator))
            simulator.cs("prepareTemplate", templateid=template["id"], zoneid=template["zoneid"], storageid=pool)
            simulator.settle()
        return found

    monkeypatch.setattr(_storpool.StorPool, "snapshots", read_late)
    result = ask(zone="sofia", state="absent", evict="storpool_orphans_only")
    assert not result.get("failed"), result["msg"]
    simulator.settle()
    made = everything(simulator) - seen
    assert len(made) == 1 and not any(made & set(action.split()) for action in result["templates"][0]["actions"])
    assert ask(name="rocky-9", zone="sofia", pools=["storpool-nvme"], check=True)["changed"] is False


@ANY_RELEASE
def test_orphans_of_another_cluster_are_not_touched(ask, simulator, leftovers, calls):
    """CloudStack has caches and none is seen on the StorPool that was given, so it is not that of the pool."""
    other = simulator.clusters["plovdiv-a"]["url"].rpartition(":")[2]
    status, answer = simulator.post("VolumeCreate", {"name": "v", "size": MIB, "template": "nvme"}, "plovdiv-a")
    assert status == 200, answer
    simulator.post("VolumeSnapshot/v", {"name": "theirs", "tags": {"cs": "template", "uuid": f"{NOBODY}7"}}, "plovdiv-a")
    calls()
    for which in ({}, {"id": f"{NOBODY}7"}):
        for check in (True, False):
            result = ask(zone="sofia", state="absent", evict="storpool_orphans_only", sp_api_http_port=int(other), check=check, **which)
            assert result["failed"] and "CloudStack has 1 caches on pool storpool-nvme, and this StorPool cluster has none" in result["msg"]
    assert calls().writes == []


def test_a_leftover_is_no_proof(declare, leftovers, caches):
    """A snapshot of an earlier copy lies there: the row that is new does not make it the cache."""
    result = declare(name="rocky-9", zone="sofia", pools=["storpool-nvme"])
    place = pools_of(result)["storpool-nvme"]
    assert place["verified"] and len(place["extra"]) == 1 and place["global_id"] not in leftovers


def test_a_base_is_needed(ask, declare, deploy, simulator, cleanup):
    """A template made from a volume stands on a snapshot with the same tags as a cache."""
    volume = deploy("small-raw")
    vm = simulator.cs("listVirtualMachines", listall=True)[1]["virtualmachine"][0]
    simulator.cs_done("stopVirtualMachine", id=vm["id"])
    system = simulator.cs("listOsTypes")[1]["ostype"][0]["id"]
    made = simulator.cs_done("createTemplate", volumeid=volume["id"], name="golden", displaytext="golden", ostypeid=system)["template"]
    every = simulator.get("SnapshotsList")[1]["data"]
    bases = {one["globalId"] for one in every if one["tags"].get("uuid") == made["id"]}
    result = ask(name="golden", zone="sofia", check=True)
    assert pools_of(result)["storpool-nvme"] == {"pool": "storpool-nvme", "cached": True, "verified": True, "global_id": None}
    assert declare(zone="sofia", state="absent", evict="storpool_orphans_only")["templates"][0]["actions"] == []
    before = simulator.counters()["bytes_converted"]
    result = declare(name="golden", zone="sofia")
    place = pools_of(result)["storpool-nvme"]
    assert place["verified"] and place["global_id"] not in bases and "extra" not in place
    if bases:
        assert simulator.counters()["bytes_converted"] == before
    assert declare(zone="sofia", state="absent", evict="storpool_orphans_only")["templates"][0]["actions"] == []
    # No code deletes it once its template is gone.
    simulator.cs_done("deleteTemplate", id=made["id"])
    for _round in range(3):
        cleanup()
    result = declare(zone="sofia", state="absent", evict="storpool_orphans_only")
    assert len(result["templates"][0]["actions"]) == len(bases)


def test_a_direct_download(declare, ask, listed, simulator, tmp_path):
    """The host fetches it; its snapshot does not say of which template it is."""
    if simulator.cloudstack["version"] < "4.21":
        pytest.skip("StorPool pools take direct downloads from 4.21 on")
    image = tmp_path / "direct.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, "2M"], check=True)
    zone = listed("listZones", "zone")["sofia"]["id"]
    system = simulator.cs("listOsTypes")[1]["ostype"][0]["id"]
    new = {"format": "QCOW2", "hypervisor": "KVM", "ostypeid": system, "zoneid": zone, "directdownload": True}
    status, answer = simulator.cs("registerTemplate", name="direct", displaytext="direct", url=image.as_uri(), **new)
    assert status == 200, answer
    simulator.settle()
    predicted, real = ask(name="direct", check=True), ask(name="direct", wait_timeout="60")
    # How large the disk is CloudStack learns with the download.
    assert unlike(predicted, real) == ["templates[0].object.size: check mode said None, the real run 2097152"]
    there = {"pool": "storpool-nvme", "cached": True, "verified": True, "global_id": None}
    assert pools_of(real)["storpool-nvme"] == pools_of(declare(name="direct"))["storpool-nvme"] == there
    untold = [one for one in simulator.get("SnapshotsList")[1]["data"] if one["tags"] == {"cs": "template"}]
    assert len(untold) == 1
    assert declare(zone="sofia", state="absent", evict="storpool_orphans_only")["templates"][0]["object"]["found"] == []


# -- what goes wrong


def test_a_copy_that_fails_is_told_at_the_deadline(ask, simulator, after_the):
    simulator.fault("host_fails", "StorPoolDownloadTemplate", text="no space left on device")
    after_the("prepareTemplate", simulator.settle)
    result = ask(name="debian-12", zone="sofia", wait_timeout="1")
    assert result["failed"] and result["error"]["type"] == "deadline", result
    assert "is there and no host has it, so the copy has not begun or has failed" in result["msg"]
    assert "management server's log" in result["msg"] and "wait_timeout" in result["error"]["hint"]
    assert result["templates"][0]["actions"] == ["prepare on storpool-nvme"]
    place = pools_of(result)["storpool-nvme"]
    assert (place["cached"], place["verified"]) == (True, False)
    result = ask(name="debian-12", zone="sofia")
    assert result["changed"] is True and pools_of(result)["storpool-nvme"]["verified"], result.get("msg")


def test_a_copy_that_takes_long(ask, simulator):
    held = simulator.fault("host_held", "StorPoolDownloadTemplate")
    result = ask(name="debian-12", zone="sofia", wait_timeout="1")
    assert result["failed"] and "waited 1 s, but the copy of template debian-12 to StorPool has not ended" in result["msg"]
    simulator.lift(held)
    simulator.settle()
    assert ask(name="debian-12", zone="sofia")["changed"] is False


@ANY_RELEASE
def test_who_waits_does_not_ask_cloudstack_all_the_time(ask, simulator, held, calls):
    """StorPool tells when there is something to see: then rows are read, and once more for the result."""

    def is_looked_at(_fault):
        return sum(one["call"] == "SnapshotsList" for one in simulator.calls()["calls"]) > 4

    calls()
    with held("StorPoolDownloadTemplate", is_looked_at):
        assert ask(name="debian-12", zone="sofia")["changed"] is True
    order = [one for one in calls().entries if not one["plugin"]]
    asked = [one["call"] for one in order[[one["call"] for one in order].index("prepareTemplate") + 1 :]]
    assert asked.count("SnapshotsList") > 3 and asked.count("listTemplates") == 2, asked


@pytest.mark.parametrize("kind", ["cut_after", "cut_before", "bad_json"])
def test_lost_answers(ask, simulator, kind):
    simulator.fault(kind, "prepareTemplate")
    result = ask(name="small-raw", zone="sofia", wait_timeout="60")
    assert result["templates"][0]["actions"] == ["prepare on storpool-nvme"], result
    assert pools_of(result)["storpool-nvme"]["verified"] and simulator.faults()[0]["hits"] == 1


class Looks:
    """A clock that goes on by a second with each look at the copies, however long that takes; `made` counts them."""

    def __init__(self, monkeypatch):
        self.made = 0
        look = cache_watch.Watch.done

        def done(watch, client):
            self.made += 1
            return look(watch, client)

        monkeypatch.setattr(cache_watch.Watch, "done", done)
        monkeypatch.setattr(cache_watch, "time", self)

    def monotonic(self):
        return float(self.made)


@pytest.fixture
def looks(monkeypatch):
    """Whether anything is copied is seen at each look; when nothing is for three looks, that counts as never."""
    monkeypatch.setattr(cache_watch, "LOOK", 1.0)
    monkeypatch.setattr(cache_watch, "IDLE", 2.0)
    return Looks(monkeypatch)


@pytest.mark.usefixtures("looks")
def test_a_cache_deleted_by_hand(ask, caches, do, simulator, listed, declare, cleanup):
    """CloudStack takes its row for a finished cache for ever. That is told long before the deadline, and what is told to do helps."""
    ask(name="small-raw")
    do(f"SnapshotDelete/{caches('small-raw')['nvme']['name']}")
    simulator.settle()
    found = ask(state="absent")["templates"][0]["object"]["found"]
    assert [(one["kind"], one["what"], one["template"]) for one in found] == [("row", "broken row", "small-raw")]
    for wait in ({}, {"wait_timeout": "0"}):
        result = ask(name="small-raw", **wait)
        assert result["failed"] and "deleted by hand" in result["msg"]
        assert result["error"]["type"] == ("deadline" if wait else "refused")
    result = ask(name="small-raw")
    assert "asked for a copy CloudStack makes none" in result["msg"] and "register the template anew" in result["error"]["hint"]
    told = ask(name="small-raw", state="absent")["templates"][0]["collection"][0]
    assert told["within"] is None and "there is nothing to collect, and its row stays" in told["because"]
    for _round in range(3):
        cleanup()
    assert pools_of(ask(name="small-raw", state="absent"))["storpool-nvme"]["cached"] is True
    old = listed("listTemplates", "template", templatefilter="all")["small-raw"]
    source = next(Path(store["directory"]) / name for store in simulator.control("GET", "/cloudstack/secondary").values()
                  for name in store["files"] if old["id"] in name or "small-raw" in name)  # fmt: skip
    new = {key: old[key] for key in ("name", "displaytext", "format", "hypervisor", "ostypeid", "zoneid")}
    status, answer = simulator.cs("registerTemplate", url=source.as_uri(), **new)
    assert status == 200, answer
    simulator.settle()
    declare(id=answer["template"][0]["id"])


@ANY_RELEASE
def test_who_waits_for_others_is_not_dead(ask, simulator, do, held, looks):
    """A copy that failed is asked for again, and CloudStack copies one at a time: nothing is done about it until the other one ends."""
    simulator.fault("host_fails", "StorPoolDownloadTemplate", text="no space left on device")
    assert ask(name="small-raw", wait_timeout="0")["failed"]
    simulator.settle()
    for one in simulator.get("VolumesList")[1]["data"]:
        do(f"VolumeDelete/{one['name']}")
    simulator.cs("updateConfiguration", name="template.preloader.pool.size", value="1")
    simulator.restart_server()
    identity = simulator.cs("listTemplates", templatefilter="all", name="debian-12")[1]["template"][0]
    pool = simulator.cs("listStoragePools")[1]["storagepool"][0]["id"]
    looks.made = 0
    with held("StorPoolDownloadTemplate", lambda _fault: looks.made > 4, object=identity["id"]):
        simulator.cs("prepareTemplate", templateid=identity["id"], zoneid=identity["zoneid"], storageid=pool)
        result = ask(name="small-raw")
    assert result["changed"] is True and pools_of(result)["storpool-nvme"]["verified"], result


@BOTH_WAYS
def test_a_copy_that_goes_on_is_not_dead(ask, held, looks):
    with held("StorPoolDownloadTemplate", lambda _fault: looks.made > 5):
        assert ask(name="debian-12", wait_timeout="0")["error"]["type"] == "deadline"
        result = ask(name="debian-12")
    assert result["changed"] is True and pools_of(result)["storpool-nvme"]["verified"], result


def test_a_snapshot_that_is_too_small(ask, caches, do, listed, simulator):
    ask(name="rocky-9")
    identity = listed("listTemplates", "template", templatefilter="all")["rocky-9"]["id"]
    do(f"SnapshotDelete/{caches('rocky-9')['nvme']['name']}")
    do("VolumeCreate", {"name": "v", "size": MIB, "template": "nvme"})
    do("VolumeSnapshot/v", {"tags": {"cs": "template", "uuid": identity}})
    simulator.settle()
    result = ask(name="rocky-9", check=True)
    assert result["failed"] and "is no good (the snapshot has 1M, the template 6M)" in result["msg"]


def test_pools_that_cloudstack_would_skip(ask, run_module, calls):
    run_module("cloudstack_storage_pool", name="storpool-nvme", state="disabled")
    calls()
    for check in (True, False):
        result = ask(name="debian-12", check=check)
        assert result["failed"] and "storage pool storpool-nvme is Disabled; CloudStack would skip it" in result["msg"]
    assert calls().writes == []


def test_templates_that_are_not_there_yet(ask, simulator, listed, calls):
    zone = listed("listZones", "zone")["sofia"]["id"]
    system = simulator.cs("listOsTypes")[1]["ostype"][0]["id"]
    new = {"displaytext": "x", "format": "QCOW2", "hypervisor": "KVM", "ostypeid": system, "zoneid": zone, "url": "file:///no/such.qcow2"}
    simulator.cs("registerTemplate", name="late", **new)
    simulator.settle()
    result = ask(name="late")
    assert result["failed"] and "template late is not ready in zone sofia" in result["msg"]
    simulator.cs("registerTemplate", name="debian-12", **new)
    result = ask(name="debian-12")
    assert result["failed"] and "is the name of 2 templates" in result["msg"] and "give the id" in result["msg"]
    assert "prepareTemplate" not in calls().writes


def test_on_error_continue(ask):
    result = ask(names=["debian-12", "no-such", "small-raw"], on_error="continue")
    assert result["failed"] and result["summary"] == {"declared": 3, "changed": 2, "unchanged": 0, "failed": 1, "not_attempted": 0}


def test_another_storpool_cluster(ask, simulator, run_module):
    """Looking at the wrong cluster is no reason to wait for hours."""
    ask(name="small-raw")
    other = simulator.clusters["plovdiv-a"]["url"].rpartition(":")[2]
    status, answer = simulator.post("VolumeTemplateUpdate/nvme", {"rename": "nvme-2"}, "plovdiv-a")
    assert status == 200, answer
    result = ask(name="small-raw", sp_api_http_port=int(other))
    assert result["failed"] and "this StorPool cluster has no template nvme, so pool storpool-nvme is on another one" in result["msg"]
