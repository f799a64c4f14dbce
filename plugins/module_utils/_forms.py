# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 0: whether what a server answered has the form that is read of it.

Whoever stands at the API's address may answer anything. What would later be a ``KeyError`` in a planner, or a plan made of nonsense, is
found here, at the door. Only what is read is looked at: fields that nobody reads may come, go and change with a server's version.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

# The classes that json makes. A bool is none of the whole numbers here.
TEXT = (str,)
WHOLE = (int,)
FLAG = (bool,)
MAP = (dict,)
WHOLE_OR_TEXT = (int, str)  # "-" where there is no limit
NONE = (type(None),)

_WORDS = {str: "a text", int: "a whole number", bool: "true or false", dict: "a map", list: "a list", type(None): "null", float: "a number"}


class Form:
    """What the members of an object have to be: classes, or the form of a member that is an object or holds some.

    :param must: members that have to be there. ``may``: members that may be missing or null.
    :param many: whether the answer is one such object (``None``), a ``list`` of them, or a ``dict`` of them by any key.
    :param numbered: whether the keys of that ``dict`` are numbers.
    """

    def __init__(
        self, must: Mapping[str, Any], may: Mapping[str, Any] | None = None, many: type | None = None, numbered: bool = False
    ) -> None:
        self.many = many
        self.numbered = numbered
        self._exact = [(name, kinds) for name, kinds in must.items() if isinstance(kinds, tuple)]
        self._loose = [(name, (*kinds, *NONE)) for name, kinds in (may or {}).items() if isinstance(kinds, tuple)]
        self._inner = [(name, form, name in must) for name, form in {**must, **(may or {})}.items() if not isinstance(form, tuple)]

    def misfit(self, found: Any) -> str | None:
        """Return in words what is wrong with ``found``, or ``None``."""
        if self.many is None:
            return self._of_each([("", found)])
        if found.__class__ is not self.many:
            return f"it is {_word(found)}, not {_WORDS[self.many]}"
        if self.numbered and not all(key.isascii() and key.isdigit() and len(key) < 19 for key in found):
            return "a key is no number"
        return self._of_each(enumerate(found, 1) if self.many is list else found.items())

    def _of_each(self, objects: Iterable[tuple[Any, Any]]) -> str | None:
        exact, loose, inner = self._exact, self._loose, self._inner
        for place, one in objects:
            if one.__class__ is not dict:
                return f"{_entry(place)}is {_word(one)}, not a map"
            get = one.get
            for name, kinds in exact:
                if get(name).__class__ not in kinds:
                    return f"{_entry(place)}{name} {_is_not(one, name, kinds)}"
            for name, kinds in loose:
                if get(name).__class__ not in kinds:
                    return f"{_entry(place)}{name} {_is_not(one, name, kinds)}"
            for name, form, needed in inner:
                if needed or get(name) is not None:
                    wrong = form.misfit(get(name))
                    if wrong:
                        return f"{_entry(place)}{name}: {wrong}"
        return None


class Each:
    """A ``list`` of values of some class, or a ``dict`` of them by any key."""

    def __init__(self, many: type, kind: type) -> None:
        self.many = many
        self.kind = kind

    def misfit(self, found: Any) -> str | None:
        """Return in words what is wrong with ``found``, or ``None``."""
        if found.__class__ is not self.many:
            return f"it is {_word(found)}, not {_WORDS[self.many]}"
        kind = self.kind
        for value in found if self.many is list else found.values():
            if value.__class__ is not kind:
                return f"it holds {_word(value)}, not {_WORDS[kind]}"
        return None


def _entry(place: Any) -> str:
    return f"entry {place!s:.50}: " if place != "" else ""


def _is_not(one: Mapping[str, Any], name: str, kinds: tuple[type, ...]) -> str:
    wanted = " or ".join(_WORDS[kind] for kind in kinds if kind is not NONE[0])
    return f"is {_word(one[name])}, not {wanted}" if name in one else "is missing"


def _word(value: Any) -> str:
    return _WORDS.get(value.__class__, "something else")


TAGS = Each(dict, str)
NUMBERS = Each(list, int)

# -- StorPool: by the name of the call (field tables of the API, sheet storpool-api)

_POLICY = {"parentName": TEXT, "iops": WHOLE_OR_TEXT, "bw": WHOLE_OR_TEXT, "placeAll": TEXT, "placeHead": TEXT, "placeTail": TEXT}
_VOLUME = {
    "name": TEXT, "globalId": TEXT, "size": WHOLE, "templateName": TEXT, "replication": WHOLE_OR_TEXT, "creationTimestamp": WHOLE,
    **_POLICY,
}  # fmt: skip
_SNAPSHOT = {**_VOLUME, "bound": FLAG, "deleted": FLAG, "transient": FLAG, "autoName": FLAG, "onVolume": TEXT, "recoveringFromRemote": FLAG}
_MAY = {"tags": TAGS, "clusterName": TEXT, "targetDeleteDate": WHOLE, "backup": FLAG, "backupOfGlobalId": TEXT, "reuseServer": FLAG}
_SPACE = {"storedSize": WHOLE, "spaceUsed": WHOLE}
_STATUS = {
    "status": TEXT, "decreasedRedundancy": FLAG, "migrating": FLAG, "balancerBlocked": FLAG, "downBytes": WHOLE, "syncingDataBytes": WHOLE,
}  # fmt: skip
_TEMPLATE = {"name": TEXT, "size": WHOLE_OR_TEXT, "replication": WHOLE_OR_TEXT, **_POLICY}
_TEMPLATE_COUNTS = (
    "storedSize", "onDiskSize", "volumesCount", "snapshotsCount", "removingSnapshotsCount", "availablePlaceAll", "availablePlaceHead",
    "availablePlaceTail",
)  # fmt: skip
_DISK = {"generationLeft": WHOLE, "serverId": WHOLE, "ssd": FLAG, "model": TEXT, "serial": TEXT, "description": TEXT, "softEject": TEXT}
_SERVICE = {"status": TEXT, "version": TEXT}
_SERVICE_MAY = {"startTime": WHOLE, "nodeId": WHOLE, "missingDisks": NUMBERS, "pendingDisks": NUMBERS}
_SERVICES = Form(_SERVICE, _SERVICE_MAY, dict, numbered=True)
_MGMT = Form({**_SERVICE, "active": FLAG}, _SERVICE_MAY, dict, numbered=True)
_REMOTE_SNAPSHOT = {"remoteId": TEXT, "location": TEXT, "name": TEXT, "size": WHOLE, "creationTimestamp": WHOLE}
_MAINTENANCE = {"nodeId": WHOLE, "description": TEXT, "started": WHOLE, "duration": WHOLE, "overrun": FLAG}

_CLUSTER = Form({"clusterStatus": TEXT}, {**dict.fromkeys(("servers", "clients", "bridges", "iscsiTargets"), _SERVICES), "mgmt": _MGMT})

STORPOOL = {
    "AllClusters/ServicesList": Form({"clusters": Form({}, {"response": Form({}, {"data": _CLUSTER})}, list)}),
    "AttachmentsList": Form(
        {"volume": TEXT, "client": WHOLE, "rights": TEXT, "snapshot": FLAG, "pos": WHOLE}, {"globalId": TEXT, "cluster": TEXT}, list
    ),
    "ClientsConfigDump": Form({"id": WHOLE, "configStatus": TEXT}, {"clientGeneration": WHOLE, "generation": WHOLE}, list),
    "ClustersList": Form({"clusters": Form({"name": TEXT, "id": TEXT, "location": TEXT}, {}, list)}),
    "DisksList": Form(_DISK, {"sectorsCount": WHOLE, "objectsOnDiskSize": WHOLE, "device": TEXT}, dict, numbered=True),
    "ExportsList": Form({"exports": Form({"globalId": TEXT, "location": TEXT}, {"snapshot": TEXT, "backingUp": FLAG}, list)}),
    "LocationsList": Form({"locations": Form({"name": TEXT, "id": TEXT}, {}, list)}),
    "MaintenanceList": Form({}, {"nodes": Form(_MAINTENANCE, {"remaining": WHOLE}, list)}),
    "NetworkPeersList": Form({"beaconStatus": TEXT, "clusterStatus": TEXT, "joined": FLAG, "nonVoting": FLAG}, {}, dict, numbered=True),
    "PlacementGroupsList": Form({}, {"disks": NUMBERS}, dict),
    "ServicesList": _CLUSTER,
    "Snapshot": Form(_SNAPSHOT, _MAY, list),
    "SnapshotsList": Form(_SNAPSHOT, _MAY, list),
    "SnapshotsRemoteList": Form({"snapshots": Form(_REMOTE_SNAPSHOT, {"tags": TAGS, "onVolume": TEXT, "localSnapshot": TEXT}, list)}),
    "SnapshotsSpace": Form({**_SNAPSHOT, **_SPACE}, _MAY, list),
    "Volume": Form(_VOLUME, _MAY, list),
    "VolumeListSnapshots": Form(_SNAPSHOT, _MAY, list),
    "VolumeTemplatesList": Form(_TEMPLATE, {"reuseServer": FLAG}, list),
    "VolumeTemplatesStatus": Form(
        {"name": TEXT, "stored": Form({"capacity": WHOLE, "free": WHOLE}), "totalSize": WHOLE, **dict.fromkeys(_TEMPLATE_COUNTS, WHOLE)},
        {},
        list,
    ),
    "VolumesGetStatusQuick": Form(_STATUS, dict.fromkeys(("downDrives", "missingDrives", "softEjectingDrives"), NUMBERS), dict),
    "VolumesList": Form(_VOLUME, _MAY, list),
    "VolumesSpace": Form({**_VOLUME, **_SPACE}, _MAY, list),
}

# -- CloudStack: by the name of the list in the answer; a field means the same in all of them (sheet cloudstack-api)

_TEXTS = dict.fromkeys(
    ("account", "category", "clusterid", "clustername", "created", "defaultvalue", "description", "diskofferingid",
     "diskofferingname", "displayname", "displaytext", "domain", "domainid", "domainpath", "haprovider", "hastate", "hosttags",
     "hypervisor", "id", "ipaddress", "key", "name", "path", "podid", "podname", "powerstate", "project", "projectid", "provider",
     "resourcestate", "scope", "serviceofferingid", "snapshotid", "state", "storageid", "templateid", "value", "version",
     "virtualmachineid", "vmname", "volumeid", "volumename", "zoneid", "zonename"),
    TEXT,
)  # fmt: skip
_MAPS = {
    **dict.fromkeys(("details", "resourcedetails"), MAP),
    "hostha": Form({}, dict.fromkeys(("haprovider", "hastate"), TEXT)),
    "outofbandmanagement": Form({}, dict.fromkeys(("address", "driver", "powerstate", "username"), TEXT)),
}
_NUMBERS = dict.fromkeys(
    ("capacitybytes", "disksize", "disksizeallocated", "disksizetotal", "memoryallocated", "memoryallocatedbytes", "rootdisksize", "size"),
    WHOLE,
)
_WITH_NAME = (
    "account", "cluster", "diskoffering", "domain", "host", "imagestore", "pod", "project", "serviceoffering", "snapshot", "storagepool",
    "template", "virtualmachine", "volume", "zone",
)  # fmt: skip


def _listing(*must: str) -> Form:
    known = {**_TEXTS, **_MAPS, **_NUMBERS}
    return Form(dict.fromkeys(must, TEXT), {name: kinds for name, kinds in known.items() if name not in must}, list)


_ANY_LISTING = _listing()
_LISTINGS = {
    **dict.fromkeys(_WITH_NAME, _listing("id", "name")),
    "cluster": _listing("id", "name", "zoneid"),
    "configuration": _listing("name"),
    "haprovider": _listing("haprovider"),
    "host": _listing("id", "name", "zoneid", "clusterid"),
    "resourcedetail": _listing("key"),
    "snapshotpolicy": _listing("id"),
    "vmSnapshot": _listing("id"),
}

CLOUDSTACK_JOB = Form({"jobstatus": WHOLE}, {"jobresult": MAP, "jobresultcode": WHOLE})
CLOUDSTACK_BEGUN = Form({}, {"jobid": TEXT})
CLOUDSTACK_CAPABILITIES = Form({"capability": Form({"cloudstackversion": TEXT}, {"kvmsnapshotenabled": FLAG})})


def cloudstack_misfit(key: str, answer: Mapping[str, Any]) -> str | None:
    """Return in words what is wrong with the objects that an answer lists under ``key``, or ``None``."""
    if not isinstance(answer.get("count", 0), int):
        return "count is not a whole number"
    wrong = _LISTINGS.get(key, _ANY_LISTING).misfit(answer.get(key, []))
    return f"{key}: {wrong}" if wrong else None
