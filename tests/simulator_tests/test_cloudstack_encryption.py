# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Encrypted volumes: what they are on StorPool, what may be done with them and what not (plugin sheet 0.3, 5.9)."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from storpool_simulator.testing import Simulator

from .cloudstack_support import VERSIONS, failed_job, job, named, ok, refused
from .plugin_support import (
    GIB,
    address,
    configure,
    data_disk,
    deploy,
    digest,
    listed,
    of_running_vms,
    on_storpool,
    pool_id,
    primary_only,
    root,
    snapshot,
    stop,
    storpool_path,
    volume,
    volumes,
    zone_id,
)
from .test_cloudstack_migration import second_pool

every_version = pytest.mark.parametrize("version", VERSIONS)
Clouds = Callable[[str], Simulator]
HEADER = 2 << 20
MAGIC = b"LUKS\xba\xbe"


def encrypted_disk(sim: Simulator) -> str:
    return ok(sim, "createDiskOffering", name="enc", displaytext="enc", customized=True, encrypt=True)["diskoffering"]["id"]


def encrypted_root(sim: Simulator) -> str:
    wanted = {"name": "enc", "displaytext": "enc", "cpunumber": 1, "cpuspeed": 500, "memory": 512, "encryptroot": True}
    return ok(sim, "createServiceOffering", **wanted)["serviceoffering"]["id"]


def decrypted(sim: Simulator, disk: dict, place: Path, length: int) -> bytes:
    """The content behind the header, with the passphrase that CloudStack keeps."""
    image, key, plain = place / "image", place / "key", place / "plain"
    image.write_bytes(sim.read(address(disk), 0, HEADER + length))
    key.write_text(sim.control("GET", "/cloudstack/passphrases")[disk["id"]])
    options = f"driver=luks,key-secret=key,file.filename={image}"
    subprocess.run(
        ["qemu-img", "convert", "--object", f"secret,id=key,file={key}", "--image-opts", options, "-O", "raw", str(plain)], check=True
    )
    return plain.read_bytes()


@every_version
def test_two_mib_more_and_a_luks_header(clouds: Clouds, version: str, tmp_path: Path) -> None:
    sim = clouds(version)
    plain = root(sim, deploy(sim, "plain"))
    content = sim.read(address(plain), 0, plain["size"])
    vm = deploy(sim, "secret", serviceofferingid=encrypted_root(sim))
    data_disk(sim, vm, diskofferingid=encrypted_disk(sim))
    for disk in volumes(sim, vm):
        row = on_storpool(sim, disk)
        assert row is not None and row["size"] == disk["size"] + HEADER and row["parentName"] == "", "no clone: a full copy"
        assert sim.read(address(disk), 0, 6) == MAGIC
        assert disk["encryptformat"] == "LUKS"
    assert ok(sim, "listVolumes", isencrypted=True)["count"] == 2
    disk = root(sim, vm)
    assert disk["size"] == plain["size"] and decrypted(sim, disk, tmp_path, disk["size"]) == content
    assert content[:4096] not in sim.read(address(disk), 0, HEADER + disk["size"])
    image = tmp_path / "header"
    image.write_bytes(sim.read(address(disk), 0, HEADER))
    assert subprocess.run(["cryptsetup", "isLuks", str(image)], check=False).returncode == 0


def test_a_failed_encryption_step_goes_unnoticed(cloud: Simulator) -> None:
    """The agent answers success: only a look at the volume tells."""
    cloud.fault("host_fails", "StorPoolSetVolumeEncryption", text="cryptsetup: not found")
    disk = data_disk(cloud, deploy(cloud), diskofferingid=encrypted_disk(cloud))
    assert (disk["state"], disk["encryptformat"]) == ("Ready", "LUKS") and cloud.read(address(disk), 0, 6) != MAGIC
    assert [line for line in cloud.control("GET", "/cloudstack/log")["lines"] if "could not be encrypted" in line["text"]]


def _encrypting(sim: Simulator, *names: str) -> None:
    """Only these hosts do."""
    for name in sim.hosts():
        sim.control("PUT", f"/cloudstack/hosts/{name}", {"encryption": name in names})


@every_version
def test_hosts_without_encryption(clouds: Clouds, version: str) -> None:
    """Machines with encrypted disks start and go where a host has it; without such a host there is no encrypted volume."""
    sim = clouds(version)
    _encrypting(sim, "kvm13")
    shown = {row["name"]: row for row in ok(sim, "listHosts", type="Routing")["host"]}
    assert [name for name, row in shown.items() if row["encryptionsupported"]] == ["kvm13"]
    assert shown["kvm12"]["details"]["host.volume.encryption"] == "false"
    vm = deploy(sim, serviceofferingid=encrypted_root(sim))
    assert vm["hostname"] == "kvm13" and sim.read(address(root(sim, vm)), 0, 6) == MAGIC
    text = failed_job(sim, "migrateVirtualMachine", virtualmachineid=vm["id"], hostid=shown["kvm11"]["id"])["errortext"]
    assert "host kvm11 does not support volume encryption" in text
    assert ok(sim, "listVirtualMachines", id=vm["id"])["virtualmachine"][0]["hostname"] == "kvm13"
    plain, disk = deploy(sim, "plain", hostid=shown["kvm11"]["id"]), data_disk(sim, diskofferingid=encrypted_disk(sim))
    text = failed_job(sim, "attachVolume", id=disk["id"], virtualmachineid=plain["id"])["errortext"]
    assert "host kvm11 does not support volume encryption" in text and "virtualmachineid" not in volume(sim, disk["id"])
    _encrypting(sim)
    unborn = data_disk(sim, None, "unborn", diskofferingid=volume(sim, disk["id"])["diskofferingid"])
    text = failed_job(sim, "attachVolume", id=unborn["id"], virtualmachineid=plain["id"])["errortext"]
    assert "Could not find a host with volume encryption" in text
    stop(sim, vm)
    assert failed_job(sim, "startVirtualMachine", id=vm["id"])["errorcode"] == 533
    _encrypting(sim, "kvm12")
    job(sim, "startVirtualMachine", id=vm["id"])
    job(sim, "attachVolume", id=disk["id"], virtualmachineid=vm["id"])


@every_version
def test_what_is_supported(clouds: Clouds, version: str) -> None:
    """Live migration of the VM, VM snapshots, attach and detach, live change of the pool, snapshot, revert, delete."""
    sim = clouds(version)
    of_running_vms(sim)
    vm = deploy(sim, serviceofferingid=encrypted_root(sim))
    disk = data_disk(sim, vm, diskofferingid=encrypted_disk(sim))
    job(sim, "migrateVirtualMachine", virtualmachineid=vm["id"])
    sim.write(address(disk), b"before", HEADER + 4096)
    group = job(sim, "createVMSnapshot", virtualmachineid=vm["id"])["vmsnapshot"]
    stop(sim, vm)
    sim.write(address(disk), b"after!", HEADER + 4096)
    job(sim, "revertToVMSnapshot", vmsnapshotid=group["id"])
    assert sim.read(address(disk), HEADER + 4096, 6) == b"before" and sim.read(address(disk), 0, 6) == MAGIC
    job(sim, "deleteVMSnapshot", vmsnapshotid=group["id"])
    made = snapshot(sim, disk["id"])
    row = on_storpool(sim, storpool_path(sim, made["id"]), "Snapshot")
    assert row is not None and row["size"] == disk["size"] + HEADER and made["virtualsize"] == disk["size"]
    sim.write(address(disk), b"after!", HEADER + 4096)
    job(sim, "revertSnapshot", id=made["id"])
    assert sim.read(address(disk), HEADER + 4096, 6) == b"before" and volume(sim, disk["id"])["size"] == disk["size"]
    job(sim, "deleteSnapshot", id=made["id"])
    job(sim, "startVirtualMachine", id=vm["id"])
    job(sim, "detachVolume", id=disk["id"])
    job(sim, "attachVolume", id=disk["id"], virtualmachineid=vm["id"])
    job(sim, "migrateVolume", volumeid=disk["id"], storageid=second_pool(sim), livemigrate=True)
    row = on_storpool(sim, disk)
    assert row is not None and row["templateName"] == "hybrid"
    job(sim, "resizeVolume", id=disk["id"], size=2)
    row = on_storpool(sim, disk)
    assert row is not None and row["size"] == 2 * GIB + HEADER


@every_version
@pytest.mark.parametrize("alone", [False, True])
def test_the_gate_for_running_instances(clouds: Clouds, version: str, alone: bool) -> None:
    """Up to 4.20 with bypass only; from 4.21 on only with backup, which looks inverted."""
    sim = clouds(version)
    of_running_vms(sim)
    if alone:
        primary_only(sim)
    vm = deploy(sim, serviceofferingid=encrypted_root(sim))
    disk = root(sim, vm)
    if alone == (version < "4.21"):
        made = snapshot(sim, disk["id"])
        assert made["state"] == "BackedUp"
    else:
        text = failed_job(sim, "createSnapshot", volumeid=disk["id"])["errortext"]
        assert text == "Volume snapshots for encrypted volumes are not supported if VM is running"
        (row,) = ok(sim, "listSnapshots")["snapshot"]
        assert row["state"] == "Error"
        job(sim, "deleteSnapshot", id=row["id"])
    stop(sim, vm)
    assert listed(sim, snapshot(sim, disk["id"], "stopped")["id"])[0]["state"] == "BackedUp"


@every_version
def test_what_is_refused(clouds: Clouds, version: str) -> None:
    sim = clouds(version)
    vm = deploy(sim, serviceofferingid=encrypted_root(sim))
    stop(sim, vm)
    disk, pool = root(sim, vm), second_pool(sim)
    made = snapshot(sim, disk["id"])
    system = ok(sim, "listOsTypes")["ostype"][0]["id"]
    wanted = {"createVolume": {"snapshotid": made["id"], "name": "x"}, "createTemplate": {"name": "t", "ostypeid": system}}
    assert refused(sim, "createVolume", **wanted["createVolume"])["errortext"] == (
        "Cannot create new volumes from encrypted volume snapshots"
    )
    for source in ({"snapshotid": made["id"]}, {"volumeid": disk["id"]}):
        assert refused(sim, "createTemplate", **wanted["createTemplate"], **source)["errortext"] == (
            "Cannot create templates from encrypted volumes"
        )
    answer = refused(sim, "extractVolume", id=disk["id"], zoneid=zone_id(sim), mode="HTTP_DOWNLOAD")
    assert answer["errortext"] == "Extraction of encrypted volumes is unsupported"
    policy = {"volumeid": disk["id"], "intervaltype": "DAILY", "schedule": "00:01", "timezone": "UTC", "maxsnaps": 1}
    assert "Encrypted volumes don't support snapshot schedules" in refused(sim, "createSnapshotPolicy", **policy)["errortext"]
    text = failed_job(sim, "migrateVolume", volumeid=disk["id"], storageid=pool)["errortext"]
    assert text == "Migration of encrypted volumes is unsupported"
    text = failed_job(sim, "migrateVirtualMachine", virtualmachineid=vm["id"], storageid=pool)["errortext"]
    assert text == "Migration of encrypted volumes is unsupported"
    job(sim, "startVirtualMachine", id=vm["id"])
    target = next(row["id"] for row in ok(sim, "listHosts", type="Routing")["host"] if row["name"] == "hc1")
    params = {"migrateto[0].volume": disk["id"], "migrateto[0].pool": pool}
    text = failed_job(sim, "migrateVirtualMachineWithVolume", virtualmachineid=vm["id"], hostid=target, **params)["errortext"]
    assert "Cannot live migrate encrypted volume" in text
    text = failed_job(sim, "migrateVolume", volumeid=disk["id"], storageid=pool)["errortext"]
    assert text.endswith("the parameter livemigrate should be specified")


# Delayed delete, which leaves encrypted volumes out


def _delay(sim: Simulator, seconds: int) -> None:
    ok(sim, "updateConfiguration", name="storpool.delete.after.interval", value=str(seconds), storageid=pool_id(sim))


@every_version
def test_delayed_delete(clouds: Clouds, version: str) -> None:
    sim = clouds(version)
    _delay(sim, 600)
    sim.restart_server()
    disk = data_disk(sim, deploy(sim))
    job(sim, "detachVolume", id=disk["id"])
    sim.write(address(disk), b"kept for ten minutes")
    content = digest(sim, disk)
    ok(sim, "deleteVolume", id=disk["id"])
    (kept,) = ok(sim, "listSnapshots")["snapshot"]
    assert (kept["intervaltype"], kept["state"], kept["locationtype"]) == ("RECURRING", "BackedUp", "PRIMARY")
    row = on_storpool(sim, kept["name"], "Snapshot")
    assert row is not None and row["tags"]["cs"] == "delayDelete" and row["targetDeleteDate"] > 0
    system = ok(sim, "listOsTypes")["ostype"][0]["id"]
    text = refused(sim, "createTemplate", name="t", ostypeid=system, snapshotid=kept["id"])["errortext"]
    assert text.startswith("Cannot create a template from the last snapshot of deleted volume.")
    back = job(sim, "createVolume", snapshotid=kept["id"], name="back")["volume"]
    assert digest(sim, back) == content
    sim.advance(601)
    sim.advance(361)
    assert ok(sim, "listSnapshots") == {} and on_storpool(sim, kept["name"], "Snapshot") is None
    assert digest(sim, back) == content


def _last_snapshot(sim: Simulator) -> dict:
    """Of a volume that is deleted."""
    disk = data_disk(sim, deploy(sim))
    job(sim, "detachVolume", id=disk["id"])
    ok(sim, "deleteVolume", id=disk["id"])
    (kept,) = ok(sim, "listSnapshots")["snapshot"]
    return kept


def test_a_server_that_started_before_does_not_see_the_end(cloud: Simulator) -> None:
    """The snapshots are looked after by servers that started while a pool had the interval (plugin sheet 1.1, 5.11)."""
    _delay(cloud, 600)
    kept = _last_snapshot(cloud)
    cloud.advance(601)
    cloud.advance(361)
    assert on_storpool(cloud, kept["name"], "Snapshot") is None and listed(cloud, kept["id"])[0]["state"] == "BackedUp"
    text = failed_job(cloud, "createVolume", snapshotid=kept["id"], name="late")["errortext"]
    assert "does not exists neither on primary, neither on secondary storage" in text
    cloud.restart_server()
    cloud.advance(361)
    assert ok(cloud, "listSnapshots") == {}


def test_the_report_of_abandoned_objects_has_the_last_snapshots(cloud: Simulator) -> None:
    """Wrongly: what CloudStack notes of them is an address, and it looks for paths (plugin sheet 4.6)."""
    _delay(cloud, 10 * 86400)
    kept = _last_snapshot(cloud)
    cloud.advance(86400 + 10)
    found = [line["gid"] for line in cloud.log() if line["source"] == "StorPoolAbandonObjectsCollector"]
    assert found == [kept["name"]]


def test_delayed_delete_is_not_for_encrypted_volumes(cloud: Simulator) -> None:
    _delay(cloud, 600)
    disk = data_disk(cloud, deploy(cloud), diskofferingid=encrypted_disk(cloud))
    job(cloud, "detachVolume", id=disk["id"])
    ok(cloud, "deleteVolume", id=disk["id"])
    assert ok(cloud, "listSnapshots") == {}


def test_the_global_delay_waits_for_a_restart(cloud: Simulator) -> None:
    ok(cloud, "updateConfiguration", name="storpool.delete.after.interval", value="600")
    first = data_disk(cloud, deploy(cloud))
    job(cloud, "detachVolume", id=first["id"])
    ok(cloud, "deleteVolume", id=first["id"])
    assert ok(cloud, "listSnapshots") == {}
    configure(cloud, "storpool.delete.after.interval", "600")
    vm = named(cloud, "listVirtualMachines", "virtualmachine", "web")
    second = data_disk(cloud, {"id": vm})
    job(cloud, "detachVolume", id=second["id"])
    ok(cloud, "deleteVolume", id=second["id"])
    assert len(ok(cloud, "listSnapshots")["snapshot"]) == 1
