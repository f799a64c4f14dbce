# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 4: what plans leave behind in CloudStack and, by the plugin's doing, on StorPool, for the next tasks of a check run.

Each function takes a plan and enters rows of listings, as far as modules read them. What StorPool's plugin does is told by the reference
sheet cloudstack-storpool, sections 4 and 5. Nobody is deceived by what is left out: the real run compares both systems after its writes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Callable

from .._cloudstack import ANY_PROJECT, COPIES, OF_OWNERS, CloudStack, cached_on, setting_identity
from .._foresight import is_made_up, made_up_id
from .._plan import Plan
from .._units import limit_to_api
from ._both_layers import size_there
from ._cloud import storpool_address
from ._shared import FRESH_SNAPSHOT, NOTHING_STORED, foresee_no_snapshot, foresee_snapshot
from .cache_place import PROVIDER
from .cloud_volume_world import pools_for
from .ha import ON
from .hosts import FENCE, HA_SWITCH, OOBM_SWITCH, SP_CLUSTER_ID
from .offering import KINDS, known_offerings, raw_offering

FORESEEN = "foreseen"  # of a volume's row: it is as a plan leaves it, so there is nothing to compare yet
SECTOR = 512
_BY_ID = "/dev/storpool-byid/"
# What is read of hosts. What is entered is written to a file: of rows that may have secrets of others, only what is needed.
_OF_HOST = (
    "id", "name", "zoneid", "zonename", "clusterid", "podname", "ipaddress", "state", "version", "memoryallocated", "memoryallocatedbytes",
)  # fmt: skip
_OWNER = ("account", "domainid", "domain", "projectid", "project", "zoneid", "zonename")
_NO_POLICY = {"bw": "-", "replication": None, "placeAll": "", "placeHead": "", "placeTail": "", "templateName": ""}


def foresee(client: CloudStack, plans: Sequence[Plan]) -> None:
    """Let both clients answer as they would after the plans."""
    left = _Aftermath(client)
    for plan in plans:
        for enter in dict.fromkeys(_ENTERS[change.write.call] for change in plan.changes if change.write.call in _ENTERS):
            enter(left, plan)


class _Aftermath:
    """The two clients, with what is read of CloudStack kept: each listing is read once for all plans of a task."""

    def __init__(self, client: CloudStack) -> None:
        self.client = client
        self.storpool = client.storpool
        self.now = time.time()
        self._read: dict[str, dict[str, dict[str, Any]]] = {}
        self._volumes: dict[str, dict[str, Any]] | None = None
        self._snapshots: list[dict[str, Any]] | None = None
        self._offerings: dict[str, dict[str, Any]] | None = None

    def rows(self, call: str, key: str, **params: Any) -> dict[str, dict[str, Any]]:
        """Return a listing by id, with what belongs to projects."""
        if key not in self._read:
            several = ({}, {"projectid": ANY_PROJECT}) if key in OF_OWNERS else ({},)
            found = [self.client.list(call, key, unlimited=True, listall=True, **params, **more) for more in several]
            self._read[key] = {one["id"]: one for rows in found for one in rows}
        return self._read[key]

    def enter(self, key: str, identity: str, row: dict[str, Any] | None) -> None:
        """Enter a row, also for the next plans."""
        self.client.foresee(key, identity, row)
        if key in self._read:
            self._read[key].pop(identity, None)
            if row:
                self._read[key][identity] = row

    def volume(self, identity: str | None) -> dict[str, Any]:
        """Return a volume of CloudStack's."""
        return self.rows("listVolumes", "volume").get(identity or "", {})

    def machine(self, identity: str | None) -> dict[str, Any]:
        """Return a VM."""
        return self.rows("listVirtualMachines", "virtualmachine").get(identity or "", {})

    def only_pool(self, volume: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the pool that a volume comes to when it is attached for the first time, ``None`` when CloudStack has a choice."""
        if self._offerings is None:
            self._offerings = known_offerings(self.client, compute=False)
        pools = self.rows("listStoragePools", "storagepool").values()
        found = pools_for(self._offerings.get(volume.get("diskofferingid") or ""), volume.get("zoneid"), pools)
        return dict(found[0]) if len(found) == 1 else None

    def there(self, row: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return StorPool's volume of a volume of CloudStack's."""
        if self._volumes is None:
            self._volumes = {f"~{one['globalId']}": one for one in self.storpool.volumes()}
        address = storpool_address(row.get("path")) or ""
        found = self._volumes.get(address) or next((one for one in self._volumes.values() if one["name"] == address), None)
        return found and self.storpool.as_foreseen("volume", found)

    def every_snapshot(self) -> list[dict[str, Any]]:
        """Return StorPool's snapshots."""
        if self._snapshots is None:
            self._snapshots = self.storpool.snapshots()
        return self._snapshots

    def snapshots(self, owner: str, identity: str) -> list[dict[str, Any]]:
        """Return StorPool's snapshots with these tags."""
        return [one for one in self.every_snapshot() if (one["tags"].get("cs"), one["tags"].get("uuid")) == (owner, identity)]

    def snapshot(self, volume: Mapping[str, Any], owner: str, identity: str) -> None:
        """Enter the snapshot that the plugin takes of a volume."""
        there = self.there(volume)
        if there:
            foresee_snapshot(self.storpool, there, self.now, tags={"cs": owner, "uuid": identity})


def _params(plan: Plan, *calls: str) -> Iterator[dict[str, Any]]:
    return (dict(change.write.params) for change in plan.changes if change.write.call in calls)


def _belongs(made: Mapping[str, Any]) -> dict[str, Any]:
    """Return whose something is that a call makes, as far as it says so."""
    return {key: made[key] for key in ("domainid", "projectid") if made.get(key)}


def _offering(left: _Aftermath, plan: Plan) -> None:
    document = plan.after or plan.before
    identity = document["id"] or made_up_id()
    left.enter(KINDS[document["type"]].key, identity, plan.after and {**raw_offering(document), "id": identity})


def _pool(left: _Aftermath, plan: Plan) -> None:
    before, after = plan.before, plan.after
    if after is None:
        left.enter("storagepool", before["id"], None)
        return
    # Never its token: what is entered is written to a file.
    new = {}
    for made in _params(plan, "createStoragePool"):
        details = {"SP_API_HTTP_HOST": after["api"], "SP_TEMPLATE": after["template"]}
        new = {
            "provider": PROVIDER, "type": PROVIDER, "scope": "ZONE", "zoneid": made["zoneid"], "zonename": after["zone"],
            "istagarule": False, "details": details,
        }  # fmt: skip
    identity = before["id"] if before else f"{after['template']};{made_up_id()}"
    if before and is_made_up(identity):
        new = left.rows("listStoragePools", "storagepool")[identity]  # that of a pool that is there is laid over what is listed
    row = {"id": identity, "name": after["name"], "state": after["state"], "tags": ",".join(after["tags"])}
    left.enter("storagepool", identity, {**new, **row, "capacitybytes": after["capacity"]})


def _setting(left: _Aftermath, plan: Plan) -> None:
    secret = any(change.write.secrets for change in plan.changes)
    for params in _params(plan, "updateConfiguration", "resetConfiguration"):
        value = params.get("value", plan.after["value"])
        if not secret:
            left.client.foresee("configuration", setting_identity(params["name"], params), value)


def _volume(left: _Aftermath, plan: Plan) -> None:
    before, after = plan.before, plan.after
    row = left.volume(before["id"]) if before else {}
    there = row and left.there(row)
    if after is None:
        left.enter("volume", before["id"], None)
        if there:
            left.storpool.foresee("volume", there["globalId"], None)
        return
    identity = row.get("id") or made_up_id()
    row = {
        "type": "DATADISK", "tags": [], **row, "id": identity, FORESEEN: True, "name": after["name"], "state": after["state"],
        "size": after["size"], "miniops": after["min_iops"], "maxiops": after["max_iops"], "deleteprotection": after["delete_protection"],
    }  # fmt: skip
    for made in _params(plan, "createVolume"):
        row.update(
            zoneid=made["zoneid"], zonename=after["zone"], account=after["account"], domainpath=after["domain"], project=after["project"],
            **_belongs(made), diskofferingid=made.get("diskofferingid"), diskofferingname=after["offering"],
            snapshotid=made.get("snapshotid"), encryptformat="LUKS" if after["encrypted"] else None,
        )  # fmt: skip
    for changed in _params(plan, "changeOfferingForVolume"):
        row.update(diskofferingid=changed["diskofferingid"], diskofferingname=after["offering"])
    for moved in _params(plan, "migrateVolume"):
        row.update(storage=after["storage_pool"], storageid=moved["storageid"])
        there = there and {**there, "templateName": moved["storageid"].partition(";")[0]}
    for _detached in _params(plan, "detachVolume"):
        row.update(virtualmachineid=None, vmname=None, vmdisplayname=None, vmstate=None, deviceid=None)
    for attached in _params(plan, "attachVolume"):
        machine = left.machine(attached["virtualmachineid"])
        row.update(virtualmachineid=machine["id"], vmname=machine["name"], vmdisplayname=machine.get("displayname"))
        row.update(vmstate=machine.get("state"), deviceid=after["device_id"])
    if row["state"] == "Ready" and not row.get("path"):
        pool = left.only_pool(row) or {"name": after["storage_pool"], "id": None}
        row.update(path=_BY_ID + made_up_id(), storage=pool["name"], storageid=pool["id"])
        if pool.get("provider", PROVIDER) != PROVIDER:
            row["path"] = row["path"].rpartition(".")[2]  # a file's name
    left.enter("volume", identity, row)
    if row.get("path") and (there or is_made_up(row["path"])):
        there = there or _new_on_storpool(left, row)
        limit = limit_to_api(row["maxiops"] or "unlimited")
        left.storpool.foresee("volume", there["globalId"], {**there, "size": size_there(row), "iops": limit})


def _new_on_storpool(left: _Aftermath, row: Mapping[str, Any]) -> dict[str, Any]:
    identity = row["path"][len(_BY_ID) :]
    parent = next(iter(left.snapshots("snapshot", row["snapshotid"])), {}) if row.get("snapshotid") else {}
    return {
        "name": f"~{identity}", "globalId": identity, "parentName": parent.get("name", ""), "creationTimestamp": int(left.now),
        "tags": {"cs": "volume", "uuid": row["id"]}, **_NO_POLICY, **NOTHING_STORED,
        "templateName": (row.get("storageid") or "").partition(";")[0],
    }  # fmt: skip


def _snapshot(left: _Aftermath, plan: Plan) -> None:
    document = plan.after or plan.before
    copies: list[dict[str, Any]] = []
    identity = (document or {}).get("id")
    for made in _params(plan, "createSnapshot"):
        volume, identity = left.volume(made["volumeid"]), made_up_id()
        row = {
            "id": identity, "name": made["name"], "volumeid": volume["id"], "volumename": volume["name"], "volumetype": volume.get("type"),
            "state": document["state"], "snapshottype": document["type"], "virtualsize": document["size"], "created": _moment(left.now),
            **{key: volume[key] for key in _OWNER if key in volume}, "account": document["account"],
            "physicalsize": document["size"], "datastorestate": "Ready",
        }  # fmt: skip
        left.enter("snapshot", identity, row)
        copies = [{**row, "datastoretype": "Primary"}]
        if document["backup"]:
            copies.append({**row, "datastoretype": "Image", "physicalsize": 0})
        left.snapshot(volume, "snapshot", identity)
    for copied in _params(plan, "copySnapshot"):
        copies = copies or left.client.list("listSnapshots", "snapshot", unlimited=True, listall=True, showunique=False, id=identity)
        zones = {one["id"]: one["name"] for one in left.rows("listZones", "zone").values()}
        of_files = "datastoretype" in copies[0] and not copied.get("usestoragereplication")  # only root admins see the kind of a store
        role = {"datastoretype": "Image", "physicalsize": 0} if of_files else {}
        copies += [{**copies[0], **role, "zoneid": zone, "zonename": zones.get(zone)} for zone in copied["destzoneids"]]
    for gone in _params(plan, "deleteSnapshot"):
        if "zoneid" in gone and plan.after is not None:
            copies = left.client.list("listSnapshots", "snapshot", unlimited=True, listall=True, showunique=False, id=gone["id"])
            left.client.foresee(COPIES, gone["id"], [one for one in copies if one.get("zoneid") != gone["zoneid"]])
            copies = []
            continue
        left.enter("snapshot", gone["id"], None)
        for one in left.snapshots("snapshot", gone["id"]):
            foresee_no_snapshot(left.storpool, one)
    if copies:
        left.client.foresee(COPIES, identity, copies)
    for reverted in _params(plan, "revertSnapshot"):
        row = left.rows("listSnapshots", "snapshot")[reverted["id"]]
        volume = left.volume(row["volumeid"])
        left.enter("volume", volume["id"], {**volume, FORESEEN: True, "size": row["virtualsize"]})
        _stand_on(left, volume, next(iter(left.snapshots("snapshot", row["id"])), None))


def _stand_on(left: _Aftermath, volume: Mapping[str, Any], snapshot: Mapping[str, Any] | None) -> None:
    there = left.there(volume)
    if there and snapshot:
        left.storpool.foresee("volume", there["globalId"], {**there, "parentName": snapshot["name"], **NOTHING_STORED})


def _vm_snapshot(left: _Aftermath, plan: Plan) -> None:
    volumes = left.rows("listVolumes", "volume")
    for made in _params(plan, "createVMSnapshot"):
        identity, machine = made_up_id(), left.machine(made["virtualmachineid"])
        row = {
            "id": identity, "displayname": made["name"], "virtualmachineid": machine["id"], "virtualmachinename": machine["name"],
            "state": plan.after["state"], "type": plan.after["type"], "description": plan.after["description"],
            "created": _moment(left.now), **{key: machine[key] for key in _OWNER if key in machine},
        }  # fmt: skip
        left.enter("vmSnapshot", identity, row)
        for volume in [one for one in volumes.values() if one.get("virtualmachineid") == machine["id"]]:
            left.snapshot(volume, "group", identity)
    for gone in _params(plan, "deleteVMSnapshot"):
        left.enter("vmSnapshot", gone["vmsnapshotid"], None)
        for one in left.snapshots("group", gone["vmsnapshotid"]):
            foresee_no_snapshot(left.storpool, one)
    for reverted in _params(plan, "revertToVMSnapshot"):
        # Each volume goes back to that snapshot of the group which it stands on, at once or through others.
        group = {one["name"]: one for one in left.snapshots("group", reverted["vmsnapshotid"])}
        parents = {one["name"]: one["parentName"] for one in left.every_snapshot()}
        row = left.rows("listVMSnapshot", "vmSnapshot").get(reverted["vmsnapshotid"], {})
        for volume in [one for one in volumes.values() if one.get("virtualmachineid") == row.get("virtualmachineid")]:
            name = (left.there(volume) or {}).get("parentName")
            while name and name not in group:
                name = parents.get(name)
            _stand_on(left, volume, group.get(name or ""))


def _policies(left: _Aftermath, plan: Plan) -> None:
    for gone in _params(plan, "deleteSnapshotPolicies"):
        left.enter("snapshotpolicy", gone["id"], None)
    known = {one["interval"]: one["id"] for one in plan.before["policies"]}
    for made in _params(plan, "createSnapshotPolicy"):
        identity = known.get(made["intervaltype"].lower()) or made_up_id()
        left.enter("snapshotpolicy", identity, {**made, "id": identity})


def _template(left: _Aftermath, plan: Plan) -> None:
    before, after = plan.before, plan.after
    for _gone in _params(plan, "deleteTemplate"):
        left.enter("template", before["id"], None)
    for made in _params(plan, "createTemplate"):
        identity = made_up_id()
        zones = {one["name"]: one["id"] for one in left.rows("listZones", "zone").values()}
        row = {
            "id": identity, "name": after["name"], "displaytext": after["display_text"], "isready": True, "status": "Download Complete",
            "size": after["size"], "ispublic": after["public"], "isfeatured": after["featured"],
            "zonename": after["zones"][0], "zoneid": zones.get(after["zones"][0]), "templatetype": "USER", "tags": [],
            **_belongs(made), "account": made.get("account"), "project": after["project"],
        }  # fmt: skip
        left.enter("template", identity, row)
        base = plan.notes.get("base", {}).get("expected")
        if base:
            left.storpool.foresee("snapshot", *_template_object(left, identity, after["size"], ""))


def _template_object(left: _Aftermath, template: str, size: int | None, storpool_template: str) -> tuple[str, dict[str, Any]]:
    """Return the global id and row of the snapshot that is a template on StorPool."""
    identity = made_up_id()
    row = {
        **FRESH_SNAPSHOT, **_NO_POLICY, **NOTHING_STORED, "name": f"~{identity}", "globalId": identity, "parentName": "",
        "size": -(-int(size or 0) // SECTOR) * SECTOR, "iops": "-", "tags": {"cs": "template", "uuid": template},
        "creationTimestamp": int(left.now), "onVolume": "-", "templateName": storpool_template,
    }  # fmt: skip
    return identity, row


def _cached(left: _Aftermath, plan: Plan) -> None:
    for prepared in _params(plan, "prepareTemplate"):
        identity, pool = prepared["templateid"], prepared["storageid"]
        row = left.rows("listTemplates", "template", templatefilter="all").get(identity, {"id": identity, "name": plan.name})
        # An address may have a password in it; it only matters that there is one.
        shown = {key: bool(value) if key == "url" else value for key, value in row.items() if key != "details"}
        left.client.foresee(cached_on(pool), identity, shown)
        left.storpool.foresee("snapshot", *_template_object(left, identity, row.get("size"), pool.partition(";")[0]))


def _host(left: _Aftermath, plan: Plan) -> None:
    after = plan.after
    row = left.rows("listHosts", "host", type="Routing", hypervisor="KVM").get(after["id"])
    if row:
        ha, oobm = after["ha"], dict(after["oobm"])
        # What the controller of a host that is not Up will say is not known, but it will have been asked.
        oobm["powerstate"] = oobm.pop("power") or ON
        becomes = {
            "resourcestate": after["resource_state"], "outofbandmanagement": oobm,
            "hostha": {"haenable": ha["enabled"], "hastate": ha["state"], "haprovider": ha["provider"]},
        }  # fmt: skip
        left.enter("host", row["id"], {**{key: row[key] for key in _OF_HOST if key in row}, **becomes})


def _area(left: _Aftermath, plan: Plan) -> None:
    after = plan.after
    row = left.rows("listZones" if plan.kind == "zone" else "listClusters", plan.kind).get(after["id"])
    if row:
        details = {key: value for key, value in (row.get("resourcedetails") or {}).items() if key in (FENCE, SP_CLUSTER_ID)}
        details.update({name: str(after[key]).lower() for key, name in (("ha", HA_SWITCH), ("oobm", OOBM_SWITCH))})
        left.enter(plan.kind, row["id"], {**{key: row[key] for key in ("id", "name", "zoneid") if key in row}, "resourcedetails": details})


def _orphan(left: _Aftermath, plan: Plan) -> None:
    for change in plan.changes:
        listing = {"SnapshotDelete": "snapshot", "VolumeDelete": "volume"}.get(change.write.call)
        if listing and str(change.write.on).startswith("~"):  # others are not orphans but of images
            left.storpool.foresee(listing, change.write.on.lstrip("~"), None)


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S+0000", time.gmtime(seconds))


# What is entered for the calls of a plan; those that are not here leave nothing behind that another task would read.
_ENTERS: dict[str, Callable[[_Aftermath, Plan], None]] = {
    call: enter
    for enter, calls in (
        (
            _offering,
            "createDiskOffering createServiceOffering updateDiskOffering updateServiceOffering deleteDiskOffering deleteServiceOffering "
            "addResourceDetail removeResourceDetail",
        ),
        (_pool, "createStoragePool updateStoragePool deleteStoragePool enableStorageMaintenance cancelStorageMaintenance"),
        (_setting, "updateConfiguration resetConfiguration"),
        (
            _volume,
            "createVolume attachVolume detachVolume resizeVolume changeOfferingForVolume migrateVolume updateVolume deleteVolume",
        ),
        (_snapshot, "createSnapshot copySnapshot deleteSnapshot revertSnapshot"),
        (_vm_snapshot, "createVMSnapshot deleteVMSnapshot revertToVMSnapshot"),
        (_policies, "createSnapshotPolicy deleteSnapshotPolicies"),
        (_template, "createTemplate deleteTemplate"),
        (_cached, "prepareTemplate"),
        (_orphan, "SnapshotDelete VolumeDelete"),
        (
            _host,
            "configureOutOfBandManagement enableOutOfBandManagementForHost disableOutOfBandManagementForHost "
            "issueOutOfBandManagementPowerAction configureHAForHost enableHAForHost disableHAForHost cancelHostMaintenance",
        ),
        (
            _area,
            "enableHAForCluster enableHAForZone enableOutOfBandManagementForCluster enableOutOfBandManagementForZone",
        ),
    )
    for call in calls.split()
}
