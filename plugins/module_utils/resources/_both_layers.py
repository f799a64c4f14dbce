# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 4: one volume as CloudStack lists it and as StorPool holds it, and in what the two differ. Pure.

Facts: reference sheet cloudstack-storpool, sections 5.1, 5.3, 5.7 and 5.9.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .._units import UNLIMITED, format_size, limit_from_api
from ._cloud import storpool_address
from ._shared import Attachments, attachments_of, named
from .offering import GIB, QOS_CLASS, TEMPLATE

LUKS_HEADER = 2097152  # bytes that an encrypted volume has more on StorPool (section 5.9)
RUNNING, STOPPED = "Running", "Stopped"


def on_storpool(row: Mapping[str, Any]) -> bool:
    """Tell whether a volume of CloudStack's lies on StorPool; one that was never attached lies nowhere."""
    return storpool_address(row.get("path")) is not None


def size_there(row: Mapping[str, Any]) -> int:
    """Return the size that StorPool has of a volume of CloudStack's."""
    return row["size"] + (LUKS_HEADER if row.get("encryptformat") == "LUKS" else 0)


def held(row: Mapping[str, Any], storpool: Mapping[str, Mapping[str, Any]], attachments: Attachments | None) -> dict[str, Any] | None:
    """Return what StorPool holds of a volume, as results show it; ``None`` when it has none or was not asked."""
    there = named(storpool, storpool_address(row.get("path")))
    return there and {
        "global_id": there["globalId"],
        "size": there["size"],
        "iops": limit_from_api(there["iops"]),
        "template": there["templateName"],
        "tags": there["tags"],
        "attachments": attachments_of(attachments, there),
    }


def compared(
    row: Mapping[str, Any],
    offering: Mapping[str, Any] | None,
    storpool: Mapping[str, Mapping[str, Any]],
    attachments: Attachments | None = None,
    client: int | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield what CloudStack and StorPool say differently of a volume: the field, both values, and whether ``repair`` can mend it.

    The tag ``uuid`` is the StorPool address instead of CloudStack's id once 4.21 has attached a volume; ``cvm`` is there only while the VM
    runs. ``attachments`` are those on StorPool (``None``: not known), ``client`` is the StorPool client of the VM's host, when known.
    """
    if not on_storpool(row):
        return
    there, expected = named(storpool, storpool_address(row["path"])), size_there(row)
    if there and there["size"] != expected:
        # A volume that is larger on StorPool may hold data there: making it smaller is nobody's repair.
        yield _difference("size", expected, there["size"], mend=there["size"] < expected)
    if "foreseen" in row:
        return  # of what a check run foresees nothing else is known of both
    if there is None:
        yield _difference("existence", row["state"], "does not exist")
        return
    yield from _tier(row, offering, there)
    yield from _tags(row, there)
    yield from _attached(row, attachments_of(attachments, there), client)


def _tier(row: Mapping[str, Any], offering: Mapping[str, Any] | None, there: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    details = (offering or {}).get("details", {})
    tier, template = details.get(QOS_CLASS), details.get(TEMPLATE)
    limit = row.get("maxiops") or UNLIMITED
    if not (tier or template) and limit_from_api(there["iops"]) != limit:
        yield _difference("max_iops", limit, limit_from_api(there["iops"]), mend=True)
    expected = template if template and not tier else str(row.get("storageid", "")).partition(";")[0]
    # A tier is sent with a change of offering, also to the one that it has, which CloudStack takes when that leaves something to choose.
    again = bool(offering and offering["type"] == "disk" and (offering["custom_size"] or offering["custom_iops"]))
    if expected and there["templateName"] != expected:
        yield _difference("template", expected, there["templateName"], mend=again and not tier and expected == template)
    if (there["tags"].get("qc") or None) != tier:
        yield _difference("tag qc", tier, there["tags"].get("qc") or None, mend=again and tier is not None)


def sent(
    before: Mapping[str, Any], row: Mapping[str, Any], there: Mapping[str, Any], offering: Mapping[str, Any] | None, changed: bool
) -> dict[str, Any]:
    """Return what becomes of StorPool's volume when CloudStack makes ``row`` of what it has, ``changed`` its offering too (section 5.4).

    With a tier in the offering the limit is left alone, and a tier that the new offering does not have stays. A volume that is larger on
    StorPool than CloudStack knows is taken to stay so, unless it grows beyond: that has to be seen before anything is cut off.
    """
    details = (offering or {}).get("details", {})
    tier, template = details.get(QOS_CLASS), details.get(TEMPLATE)
    size = size_there(row)
    found: dict[str, Any] = {"size": max(there["size"], size) if there["size"] > size_there(before) else size}
    if not (tier or template):
        found["iops"] = row.get("maxiops")
    elif changed and tier:
        found["tags"] = {**there["tags"], "qc": tier}
    elif changed:
        found["templateName"] = template
    return found


def _tags(row: Mapping[str, Any], there: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    tags, machine = there["tags"], row.get("virtualmachineid") or None
    if tags.get("cs") != "volume":
        yield _difference("tag cs", "volume", tags.get("cs") or None)
    if tags.get("uuid") not in (row["id"], storpool_address(row["path"])):
        yield _difference("tag uuid", row["id"], tags.get("uuid") or None)
    if (tags.get("cvm") or None) not in ((machine,) if row.get("vmstate") == RUNNING else (machine, None)):
        yield _difference("tag cvm", machine, tags.get("cvm") or None)
    if machine and tags.get("disk") and tags["disk"] != str(row.get("deviceid")):
        yield _difference("tag disk", str(row.get("deviceid")), tags["disk"])


def _attached(row: Mapping[str, Any], have: Sequence[Mapping[str, Any]] | None, client: int | None) -> Iterator[dict[str, Any]]:
    """A VM that runs has its volumes on one client, that of its host; two would write over each other (#10799). Others are on none.

    A VM on its way from host to host, or from state to state, may be anything.
    """
    if have is None or row.get("vmstate") not in (RUNNING, STOPPED, None):
        return
    clients = [one["client"] for one in have if one["rights"] == "rw"]
    there = "client " + " and ".join(str(one) for one in clients) if clients else "none"
    about = f" (VM {row.get('vmname')} is {row['vmstate']})" if row.get("virtualmachineid") else ""
    if row.get("vmstate") != RUNNING:
        if clients:
            yield _difference("attachment", f"none{about}", there)
    elif len(clients) != 1 or client not in (None, clients[0]):
        yield _difference("attachment", f"client {client}{about}" if client else f"one client{about}", there)


def _difference(name: str, cloudstack: Any, storpool: Any, mend: bool = False) -> dict[str, Any]:
    return {"field": name, "cloudstack": cloudstack, "storpool": storpool, "mend": mend}


def told(differences: Sequence[Mapping[str, Any]]) -> str:
    """Return the differences in words."""
    return ", ".join(f"{one['field']} is {one['cloudstack']} in CloudStack and {one['storpool']} on StorPool" for one in differences)


def way_out(differences: Sequence[Mapping[str, Any]]) -> str:
    """Return what can be done about the differences."""
    mended = ", ".join(one["field"] for one in differences if one["mend"])
    if all(one["mend"] for one in differences):
        return "repair: true has CloudStack set StorPool right; verify: warn goes on without"
    ways = [f"repair: true mends {mended}"] if mended else []
    larger = [one for one in differences if one["field"] == "size" and not one["mend"]]
    ways += [f"size: {declarable(one['storpool'])} has CloudStack take the size that StorPool has" for one in larger]
    if any(not one["mend"] and one not in larger for one in differences):
        ways.append(f"{'for the rest ' if ways else ''}find out who changed it and set it right there")
    if any(one["field"] == "existence" for one in differences):
        ways.append("if it lies on another StorPool cluster, point sp_api_http_host (or sp_cluster) at that")
    return "; ".join([*ways, "verify: warn goes on without"])


def declarable(size: int) -> str:
    """Return the size to declare for a volume that has this one on StorPool: in whole gibibytes, without the LUKS header."""
    whole, more = divmod(size, GIB)
    return str(format_size((whole + (more not in (0, LUKS_HEADER))) * GIB))


def origin_of(
    row: Mapping[str, Any],
    storpool: Mapping[str, Mapping[str, Any]],
    snapshots: Mapping[str, Mapping[str, Any]],
    taken_of: Mapping[str, Any],
) -> str | None:
    """Return the id of the snapshot that a volume was made from, ``None`` when neither system tells.

    Not every release tells it in listings (``snapshotid``). On StorPool the volume stands on the snapshot, with those between that were
    taken of itself. ``snapshots`` are StorPool's by name, ``taken_of`` the ids of the volumes that CloudStack's snapshots were taken of,
    by theirs.
    """
    if row.get("snapshotid"):
        return str(row["snapshotid"])
    there = named(storpool, storpool_address(row.get("path")))
    below, seen = there and there["parentName"], set()
    while below and below not in seen and below in snapshots:
        seen.add(below)
        tags = snapshots[below]["tags"]
        identity = tags.get("uuid") if tags.get("cs") == "snapshot" else None
        if taken_of.get(identity, row["id"]) != row["id"]:
            return identity
        below = snapshots[below]["parentName"]
    return None
