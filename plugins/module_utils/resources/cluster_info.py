# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 4: what a cluster consists of, how it is, and how much room it has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .. import _storpool as sp
from .._units import SECTOR
from ._select import length
from ._shared import template_object

GATHER = (
    "services", "clients", "disks", "peers", "templates", "placement_groups", "attachments", "locations", "clusters", "maintenance",
)
ATTACHMENTS_BUDGET = 400_000  # characters; everything else of a cluster is small beside it
FREE_PERCENT = 10  # a template with less room than this is worth a word
_MANY = 20  # reasons of one kind that are told one by one

Reason = tuple  # (level, about, message)


class _Reads:
    """Reads each listing once, however many parts are made of it."""

    def __init__(self, client: sp.StorPool) -> None:
        self._client = client
        self._read: dict[str, Any] = {}

    def __call__(self, name: str) -> Any:
        if name not in self._read:
            self._read[name] = getattr(self._client, name)()
        return self._read[name]


def query(client: sp.StorPool, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of the cluster that are asked for, and a verdict on them; one read for each listing that they take."""
    asked = [part for part in GATHER if part in (options["gather"] or GATHER)]
    reads = _Reads(client)
    result: dict[str, Any] = {}
    for part in asked:
        result.update(_PARTS[part](reads))
    result["health"] = health(result)
    return result


def _in_order(found: Mapping[str, Any]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield the entries of a map with numbers for keys, by number."""
    for key in sorted(found, key=int):
        yield int(key), found[key]


def _service(number: int, raw: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": number, "node": raw.get("nodeId"), "status": raw["status"], "version": raw["version"], "started": raw.get("startTime")}


def _services(reads: _Reads) -> dict[str, Any]:
    raw = reads("services")
    servers = [
        {**_service(number, one), "missing_disks": one.get("missingDisks") or [], "pending_disks": one.get("pendingDisks") or []}
        for number, one in _in_order(raw.get("servers") or {})
    ]
    return {
        "services": {
            "status": raw["clusterStatus"],
            "servers": servers,
            "mgmt": [{**_service(number, one), "active": one["active"]} for number, one in _in_order(raw.get("mgmt") or {})],
            "bridges": [_service(number, one) for number, one in _in_order(raw.get("bridges") or {})],
            "iscsi_targets": [_service(number, one) for number, one in _in_order(raw.get("iscsiTargets") or {})],
        }
    }


def _clients(reads: _Reads) -> dict[str, Any]:
    """Clients are told of by two listings, which may differ while one comes or goes."""
    services = dict(_in_order(reads("services").get("clients") or {}))
    configured = {int(one["id"]): one for one in reads("clients_config")}
    clients = []
    for number in sorted({*services, *configured}):
        service, config = services.get(number), configured.get(number, {})
        known = _service(number, service) if service else {"id": number, "node": None, "status": "down", "version": None, "started": None}
        clients.append({
            **known,
            "config_status": config.get("configStatus", "down"),
            "client_generation": config.get("clientGeneration"),
            "generation": config.get("generation"),
        })
    return {"clients": clients}


def _disks(reads: _Reads) -> dict[str, Any]:
    disks = []
    for number, raw in _in_order(reads("disks")):
        up = raw["generationLeft"] == -1  # sheet 3.10
        # One that is down tells neither.
        sectors, stored = (raw.get("sectorsCount"), raw.get("objectsOnDiskSize")) if up else (None, None)
        disks.append({
            "id": number,
            "server": raw["serverId"],
            "up": up,
            "ssd": raw["ssd"],
            "model": raw["model"],
            "serial": raw["serial"],
            "description": raw["description"],
            "soft_eject": raw["softEject"],
            "device": raw.get("device"),
            "size": None if sectors is None else sectors * SECTOR,
            "stored": stored,
        })
    up_ones = [one for one in disks if one["up"]]
    return {
        "disks": disks,
        "disks_summary": {
            "count": len(disks),
            "up": len(up_ones),
            "down": len(disks) - len(up_ones),
            "soft_ejecting": sum(one["soft_eject"] != "off" for one in disks),
            "size": sum(one["size"] or 0 for one in up_ones),
            "stored": sum(one["stored"] or 0 for one in up_ones),
        },
    }


def _peers(reads: _Reads) -> dict[str, Any]:
    return {
        "peers": [
            {
                "node": number,
                "beacon_status": raw["beaconStatus"],
                "cluster_status": raw["clusterStatus"],
                "joined": raw["joined"],
                "voting": not raw["nonVoting"],
            }
            for number, raw in _in_order(reads("peers"))
        ]
    }


def _templates(reads: _Reads) -> dict[str, Any]:
    """Limits and parent stand in one listing, capacity in the other; a template that came or went between them has no figures."""
    figures = {one["name"]: one for one in reads("templates_status")}
    found = sorted(reads("templates"), key=lambda raw: raw["name"])
    return {"templates": [{**template_object(raw), "space": _space(figures.get(raw["name"]))} for raw in found]}


def _space(raw: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if raw is None:
        return None
    return {
        "capacity": raw["stored"]["capacity"],
        "free": raw["stored"]["free"],
        "stored": raw["storedSize"],
        "on_disk": raw["onDiskSize"],
        "provisioned": raw["totalSize"],
        "volumes": raw["volumesCount"],
        "snapshots": raw["snapshotsCount"],
        "removing_snapshots": raw["removingSnapshotsCount"],
        "available": {place: raw[f"availablePlace{place.capitalize()}"] for place in ("all", "head", "tail")},
    }


def _placement_groups(reads: _Reads) -> dict[str, Any]:
    found = reads("placement_groups")
    return {"placement_groups": [{"name": name, "disks": sorted(found[name].get("disks") or [])} for name in sorted(found)]}


def _attachments(reads: _Reads) -> dict[str, Any]:
    found = sorted(reads("attachments"), key=lambda raw: (int(raw["client"]), raw["pos"]))
    entries, spent, clients = [], 0, {}
    for raw in found:
        clients[int(raw["client"])] = clients.get(int(raw["client"]), 0) + 1
        entry = {
            "client": int(raw["client"]),
            "name": raw["volume"],
            "global_id": raw.get("globalId"),
            "rights": raw["rights"],
            "snapshot": raw["snapshot"],
            "position": raw["pos"],
        }
        if raw.get("cluster"):
            entry["cluster"] = raw["cluster"]
        spent += length(entry)
        if spent <= ATTACHMENTS_BUDGET:
            entries.append(entry)
    result: dict[str, Any] = {
        "attachments": entries,
        "attachments_summary": {
            "count": len(found),
            "clients": [{"client": client, "count": clients[client]} for client in sorted(clients)],
            "truncated": len(entries) < len(found),
        },
    }
    if len(entries) < len(found):
        result["warnings"] = [
            f"there are {len(found)} attachments and {len(entries)} are in the result; it would be too long with more. "
            "storpool_volume_info with attached_to tells what is attached to a client"
        ]
    return result


def _locations(reads: _Reads) -> dict[str, Any]:
    return {"locations": [{"name": raw["name"], "id": raw["id"]} for raw in sorted(reads("locations"), key=lambda raw: raw["name"])]}


def _clusters(reads: _Reads) -> dict[str, Any]:
    found = sorted(reads("clusters"), key=lambda raw: raw["name"])
    return {"clusters": [{"name": raw["name"], "id": raw["id"], "location": raw["location"]} for raw in found]}


def _maintenance(reads: _Reads) -> dict[str, Any]:
    return {
        "maintenance": [
            {
                "node": raw["nodeId"],
                "description": raw["description"],
                "started": raw["started"],
                "duration": raw["duration"],
                "remaining": raw.get("remaining"),
                "overrun": raw["overrun"],
            }
            for raw in sorted(reads("maintenance").get("nodes") or [], key=lambda raw: raw["nodeId"])
        ]
    }


_PARTS: dict[str, Callable[[_Reads], dict[str, Any]]] = {
    "services": _services,
    "clients": _clients,
    "disks": _disks,
    "peers": _peers,
    "templates": _templates,
    "placement_groups": _placement_groups,
    "attachments": _attachments,
    "locations": _locations,
    "clusters": _clusters,
    "maintenance": _maintenance,
}


# -- the verdict


def health(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return a verdict on what was gathered: ``ok``, ``warning`` or ``critical``, with reasons. Pure.

    Critical is what stops the cluster or its management; a warning is what has cost redundancy or room, or keeps a host from its volumes.
    What is down on a node in maintenance is said to be so, and is no more than a warning.
    """
    planned = {one["node"] for one in found.get("maintenance", ())}
    reasons = [
        *_of_services(found.get("services"), planned),
        *_of_clients(found.get("clients", ()), found.get("attachments_summary"), planned),
        *_of_disks(found.get("disks", ())),
        *_of_peers(found.get("peers", ()), planned),
        *_of_templates(found.get("templates", ())),
        *(("warning", f"node {one['node']}", "its maintenance has overrun") for one in found.get("maintenance", ()) if one["overrun"]),
    ]
    levels = {level for level, _about, _message in reasons}
    return {
        "status": next((level for level in ("critical", "warning") if level in levels), "ok"),
        "reasons": [{"level": one[0], "about": one[1], "message": one[2]} for one in sorted(reasons, key=lambda one: one[0] != "critical")],
        "checked": [part for part in ("services", "clients", "disks", "peers", "templates", "maintenance") if part in found],
    }


def _planned(node: int | None, planned: set[int]) -> str:
    return " (its node is in maintenance)" if node in planned else ""


def _of_services(services: Mapping[str, Any] | None, planned: set[int]) -> Iterator[Reason]:
    if services is None:
        return
    if services["status"] != "running":
        yield "critical", "cluster", f"is {services['status']}"
    for kind, title in (("servers", "server"), ("bridges", "bridge"), ("iscsi_targets", "iSCSI target"), ("mgmt", "management node")):
        for one in services[kind]:
            if one["status"] != "running":
                yield "warning", f"{title} {one['id']}", f"is {one['status']}{_planned(one['node'], planned)}"
            if one.get("missing_disks"):
                yield "warning", f"{title} {one['id']}", f"misses disks {', '.join(map(str, one['missing_disks']))}"
    if not any(one["active"] for one in services["mgmt"]):
        yield "critical", "management", "no management node is active"


def _of_clients(clients: Any, attached: Mapping[str, Any] | None, planned: set[int]) -> Iterator[Reason]:
    counts = {one["client"]: one["count"] for one in attached["clients"]} if attached else {}
    for one in clients:
        has = f"; volumes and snapshots attached to it: {counts[one['id']]}" if counts.get(one["id"]) else ""
        if one["status"] != "running":
            yield "warning", f"client {one['id']}", f"is {one['status']}{_planned(one['node'], planned)}{has}"
        elif one["config_status"] != "ok":
            yield "warning", f"client {one['id']}", f"has not applied the present configuration ({one['config_status']}){has}"


def _of_disks(disks: Any) -> Iterator[Reason]:
    down = [one for one in disks if not one["up"]]
    for one in down[:_MANY]:
        yield "warning", f"disk {one['id']}", f"of server {one['server']} is down"
    if len(down) > _MANY:
        yield "warning", "disks", f"{len(down) - _MANY} more are down"


def _of_peers(peers: Any, planned: set[int]) -> Iterator[Reason]:
    for one in peers:
        if one["beacon_status"] != "NODE_UP" or one["cluster_status"] != "CNODE_UP":
            status = f"beacon {one['beacon_status']}, cluster {one['cluster_status']}"
            yield "warning", f"node {one['node']}", f"is not in the cluster ({status}){_planned(one['node'], planned)}"


def _of_templates(templates: Any) -> Iterator[Reason]:
    for one in templates:
        space = one["space"]
        if space and space["free"] * 100 < space["capacity"] * FREE_PERCENT:
            left = f"{space['free'] * 100 // space['capacity']}% of its capacity free: {space['free']} of {space['capacity']} bytes"
            yield "warning", f"template {one['name']}", f"has {left}"
