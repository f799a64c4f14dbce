# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 2: the StorPool API, one method or one :class:`Write` a call.

Reads are methods that return the ``data`` of the answer. Writes are values: a plan holds them, the runner sends them with
:meth:`StorPool.send`. Paths, bodies and what they mean are those of the official bindings 7.3.0 and the clients that StorPool ships.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from ._errors import AnswerLost, ApiError, CollectionError, DeadlineExceeded, Unauthorized, Unreachable, redacted
from ._foresight import NOTHING, Foresight, is_made_up
from ._forms import STORPOOL
from ._http import Endpoint, Http, Reply, Stats, Transient, loaded
from ._options import StorPoolConnection

NOT_THERE = "objectDoesNotExist"
EXISTS = "objectExists"
IN_CLUSTERS = "(clusters)"  # no field of the API's
STORED_OF = "(stored of)"  # nor this: the global id of the volume whose own data a foreseen snapshot takes over
# The status of what was just made
_AS_NEW = {
    "status": "up", "decreasedRedundancy": False, "migrating": False, "balancerBlocked": False, "downBytes": 0, "syncingDataBytes": 0,
}  # fmt: skip
_SPACE = {"storedSize", "spaceUsed", STORED_OF}
_SHAPE = ("replication", "placeAll", "placeHead", "placeTail")
_ROOT = "/ctrl/1.0/"
_ENCODER = json.JSONEncoder(separators=(",", ":"))  # json.dumps makes a new one for each call

# Calls that the bindings send with MultiCluster/ when asked to (column MC of the call table), among those used here.
_MULTI_CLUSTER = frozenset(
    {
        "AttachmentsList",
        "Snapshot",
        "SnapshotDelete",
        "SnapshotGetInfo",
        "SnapshotUpdate",
        "SnapshotsList",
        "SnapshotsSpace",
        "Volume",
        "VolumeBackup",
        "VolumeCreate",
        "VolumeDelete",
        "VolumeGetInfo",
        "VolumeRevert",
        "VolumeSnapshot",
        "VolumeUpdate",
        "VolumesGetStatusQuick",
        "VolumesGroupBackup",
        "VolumesGroupSnapshot",
        "VolumesList",
        "VolumesReassignWait",
        "VolumesSpace",
    }
)

# What to do about errors whose own words do not say it; the texts are those that clients in the field match on (sheet 4.2).
_HINTS = (
    ("is open at", "the device is in use on that host; stop what uses it, or set force to take it away"),
    ("No such client registered", "no client with that id has joined this cluster; storpool_cluster_info lists the clients"),
    (EXISTS, "volumes and snapshots share their names; choose another one, or rename or delete what has it"),
    ("still exported", "unexport it first"),
    (
        "insufficientResources",
        "the cluster has not enough free space or servers for this; storpool_cluster_info shows the capacity of each template",
    ),
)


@dataclass(frozen=True)
class Write:
    """One changing call: ``call`` is StorPool's name of it, ``on`` the object in the path (if any), ``body`` the request.

    ``waits`` is how many seconds the server itself may take before it answers; ``about`` names the object for messages. ``once`` tells that
    nothing in it (like a name that can be taken only once) keeps the server from doing it twice.
    """

    call: str
    on: str | None = None
    body: Any = None
    about: str = ""
    waits: float = 0.0
    once: bool = False


def volume_create(body: dict[str, Any]) -> Write:
    """Create a volume; the answer carries ``globalId`` and ``name``."""
    return Write("VolumeCreate", None, body, body.get("name") or "(anonymous volume)", once="name" not in body)


def volume_update(name: str, body: dict[str, Any]) -> Write:
    """Change size, limits, tags, template or name of a volume in one transaction."""
    return Write("VolumeUpdate", name, body, name)


def volume_delete(name: str) -> Write:
    """Delete a volume; an attached one is refused by the server (``busy``)."""
    return Write("VolumeDelete", name, {}, name)


def volume_revert(name: str, snapshot: str, revert_size: bool) -> Write:
    """Replace the contents of a detached volume by those of a snapshot."""
    body: dict[str, Any] = {"toSnapshot": snapshot}
    if revert_size:
        body["revertSize"] = True
    return Write("VolumeRevert", name, body, name)


def volume_from_remote(body: dict[str, Any]) -> Write:
    """Create a volume from a backup in another location."""
    return Write("VolumeFromRemote", None, body, body["name"])


def volume_backup(volume: str, location: str, tags: dict[str, str]) -> Write:
    """Make a backup of a volume in another location; the answer carries ``remoteId``."""
    body: dict[str, Any] = {"volume": volume, "location": location}
    if tags:
        body["tags"] = tags
    return Write("VolumeBackup", None, body, volume, once=True)


def volumes_group_backup(volumes: list[str], location: str, tags: dict[str, str]) -> Write:
    """Make one consistent backup of several volumes in another location; the answer carries ``backups`` by volume."""
    body: dict[str, Any] = {"volumes": volumes, "location": location}
    if tags:
        body["tags"] = tags
    return Write("VolumesGroupBackup", None, body, ", ".join(volumes), once=True)


def reassign_wait(items: list[dict[str, Any]], timeout: int | None) -> Write:
    """Attach and detach, and return when the clients have caught up or ``timeout`` seconds have passed."""
    body: dict[str, Any] = {"reassign": items}
    if timeout is not None:
        body["attachTimeout"] = timeout
    about = ", ".join(item.get("volume") or item.get("snapshot") or "" for item in items)
    return Write("VolumesReassignWait", None, body, about, waits=float(timeout or 0))


def snapshot_create(volume: str, body: dict[str, Any]) -> Write:
    """Take a snapshot of one volume; the answer carries ``snapshotGlobalId``."""
    return Write("VolumeSnapshot", volume, body, body.get("name") or volume)


def snapshot_create_group(volumes: list[dict[str, Any]], tags: dict[str, str]) -> Write:
    """Take one consistent snapshot of several volumes; the answer lists ``snapshots``."""
    body: dict[str, Any] = {"volumes": volumes}
    if tags:
        body["tags"] = tags
    return Write("VolumesGroupSnapshot", None, body, ", ".join(item["volume"] for item in volumes))


def snapshot_update(name: str, body: dict[str, Any]) -> Write:
    """Change tags, binding, expiry, limits, template or name of a snapshot."""
    return Write("SnapshotUpdate", name, body, name)


def snapshot_delete(name: str) -> Write:
    """Delete a snapshot; with children it lingers as ``deleted`` until its data is merged into them."""
    return Write("SnapshotDelete", name, {}, name)


def snapshot_export(name: str, location: str) -> Write:
    """Let another location copy a snapshot."""
    return Write("SnapshotExport", None, {"snapshot": name, "location": location}, name)


def snapshot_unexport(name: str, location: str | None, force: bool = False) -> Write:
    """Take an export back, from one location or (``None``) from all."""
    body: dict[str, Any] = {"snapshot": name}
    if location is None:
        body["all"] = True
    else:
        body["location"] = location
    if force:
        body["force"] = True
    return Write("SnapshotUnexport", None, body, name)


def snapshots_remote_unexport(items: list[dict[str, Any]]) -> Write:
    """Let go of snapshots that other locations export to this one; with ``deleteAfter`` their location deletes them."""
    return Write("SnapshotsRemoteUnexport", None, {"remoteSnapshots": items}, ", ".join(item["globalSnapshotId"] for item in items[:10]))


def template_create(body: dict[str, Any]) -> Write:
    """Create a volume template."""
    return Write("VolumeTemplateCreate", None, body, body["name"])


def template_update(name: str, body: dict[str, Any]) -> Write:
    """Change a volume template, with ``propagate`` also the volumes and snapshots made from it."""
    return Write("VolumeTemplateUpdate", name, body, name)


def template_delete(name: str) -> Write:
    """Delete a volume template."""
    return Write("VolumeTemplateDelete", name, {}, name)


class StorPool:
    """A StorPool cluster. One instance keeps its connections; it is cheap to call from several threads.

    :param connection: where and as whom; see :func:`._options.storpool_connection`.
    :param parallel: how many calls go out at once at most.
    """

    def __init__(self, connection: StorPoolConnection, parallel: int = 8) -> None:
        self.connection = connection
        self.http = Http(
            [Endpoint(f"http://{host}:{port}", f"StorPool at {host}:{port}") for host, port in connection.hosts],
            {"Authorization": f"Storpool v1:{connection.token}", "Content-Type": "application/json"},
            connection.timeout,
            self._decode,
            pool=parallel,
        )
        remote = f"RemoteCommand/{_in_path(connection.cluster)}/" if connection.cluster else ""
        self._prefix = f"{_ROOT}{remote}"
        self._cluster_found = not connection.cluster
        # Why there is no CloudStack to speak to, for modules that can do without.
        self.without_cloudstack: CollectionError | None = None
        self._foresight = NOTHING
        self._place = f"StorPool {connection.hosts[0]}/{connection.cluster or ''}"

    def begin(self, stats: Stats, read_only: bool, foresight: Foresight = NOTHING) -> None:
        """Start a task: count into ``stats`` and, in check mode, refuse to write and answer as if earlier tasks had written."""
        self.http.stats, self.http.read_only, self._foresight = stats, read_only, foresight

    def foresee(self, listing: str, identity: str, row: Any) -> None:
        """Enter what a plan leaves behind: a row of ``volume``, ``snapshot`` (by global id) or ``template`` (by name), ``None`` when it is
        gone, so of ``remote`` (by remote id); of ``attachment`` and ``export`` the list of all rows of that global id; of ``called`` what
        other rows call it then."""
        self._foresight.enter(self._place, listing, identity, row)

    def as_foreseen(self, listing: str, raw: dict[str, Any]) -> dict[str, Any]:
        """Return a row that was read, as the plans since would leave it."""
        return self._foresight.rows(self._place, listing).get(raw["globalId"]) or raw

    @property
    def only_reads(self) -> bool:
        """Whether this is a check run. What the server will refuse at a write has to be seen by reading then."""
        return self.http.read_only

    # -- writes

    def send(self, write: Write) -> Any:
        """Send a write and return the answer's ``data``.

        :raises ApiError: the server refused it.
        :raises AnswerLost: it may or may not have taken effect.
        :raises DeadlineExceeded: an attachment is entered, but a client has not confirmed it in the time given.
        """
        started = time.monotonic()
        try:
            answer = self.http.post(self._path(write.call, write.on), _encoded(write.body), waits=write.waits)
        except ApiError as exc:
            raise about(exc, write.call, write.about) from exc.__cause__
        except Unreachable as exc:
            raise self._with_way_out(exc) from exc.__cause__
        except AnswerLost as exc:
            if not write.once:
                exc.parts["under_way"] = None  # the server does it once, however often it is sent
            raise
        if write.waits and time.monotonic() - started >= write.waits:
            self._confirm_clients(write)
        return answer

    def _confirm_clients(self, write: Write) -> None:
        """Look whether the clients of a reassignment caught up: when its time runs out, the answer may be ok all the same."""
        concerned = {int(client) for item in write.body["reassign"] for rights in ("rw", "ro") for client in item.get(rights, ())}
        behind = [
            f"{one['id']} ({one['configStatus']})"
            for one in self.clients_config()
            if int(one["id"]) in concerned and one["configStatus"] != "ok"
        ]
        if behind:
            raise DeadlineExceeded(
                f"{write.about} is attached, but client {', '.join(behind)} has not confirmed it within {write.waits:.0f} s",
                hint="start the block service (storpool_block) on that host, or raise wait_timeout; the device comes when the client does",
            )

    # -- reads

    def volumes(self) -> list[dict[str, Any]]:
        """Return all volumes (VolumeSummary)."""
        return self._over("volume", self._get("VolumesList"))

    def volume(self, name: str) -> dict[str, Any] | None:
        """Return one volume (VolumeSummary) by name or ``~globalId``, or ``None``."""
        return self._one("Volume", "volume", name)

    def volume_snapshots(self, name: str) -> list[dict[str, Any]]:
        """Return the snapshots of a volume (SnapshotSummary): those it stands on. None when there is no such volume."""
        if self._foresight.rows(self._place, "volume") or self._foresight.rows(self._place, "snapshot"):
            known = by_name(self.snapshots())
            at, chain = self.volume(name), []
            while at and (at := known.get(at["parentName"])):
                chain.append(at)
            return chain
        try:
            return self._get("VolumeListSnapshots", name)
        except ApiError as exc:
            if self._is_missing(exc):
                return []
            raise

    def volumes_space(self) -> list[dict[str, Any]]:
        """Return all volumes with ``storedSize`` and ``spaceUsed``; slow on large clusters (sheet 6.2)."""
        return self._with_space("volume", self._get("VolumesSpace"))

    def volumes_status(self) -> dict[str, dict[str, Any]]:
        """Return the quick status of all volumes and snapshots, by name."""
        found = self._get("VolumesGetStatusQuick")
        new = [row["name"] for kind in ("volume", "snapshot") for row in self._foreseen(kind)]
        return {**dict.fromkeys(new, _AS_NEW), **found} if new else found

    def snapshots(self) -> list[dict[str, Any]]:
        """Return all snapshots (SnapshotSummary), also those being deleted."""
        return self._over("snapshot", self._get("SnapshotsList"))

    def snapshot(self, name: str) -> dict[str, Any] | None:
        """Return one snapshot (SnapshotSummary) by name or ``~globalId``, or ``None``."""
        return self._one("Snapshot", "snapshot", name)

    def snapshots_space(self) -> list[dict[str, Any]]:
        """Return all snapshots with ``storedSize`` and ``spaceUsed``."""
        return self._with_space("snapshot", self._get("SnapshotsSpace"))

    def attachments(self) -> list[dict[str, Any]]:
        """Return all attachments (AttachmentDesc) of volumes and snapshots."""
        found = self._foresight.each(self._place, "attachment", self._get("AttachmentsList"), "globalId")
        # What is renamed stays attached.
        names = {row["globalId"]: row["name"] for kind in ("volume", "snapshot") for row in self._foreseen(kind)}
        return [{**one, "volume": names.get(one["globalId"], one["volume"])} for one in found] if names else found

    def templates(self) -> list[dict[str, Any]]:
        """Return all volume templates."""
        return self._over("template", self._get("VolumeTemplatesList"), "name")

    def templates_status(self) -> list[dict[str, Any]]:
        """Return capacity and use of all volume templates."""
        found = self._get("VolumeTemplatesStatus")
        there = {one["name"] for one in found}
        gone = {name for name, row in self._foresight.rows(self._place, "template").items() if row is None}
        new = []
        for row in self._foreseen("template"):
            # Templates of one placement and replication share their space.
            shape = [row[key] for key in _SHAPE]
            like = next((one for one in found if [one.get(key) for key in _SHAPE] == shape), None)
            if row["name"] not in there:
                new.append({**(like or {"stored": {"capacity": None}}), **row})
        return [one for one in found if one["name"] not in gone] + new

    def placement_groups(self) -> dict[str, dict[str, Any]]:
        """Return the placement groups by name."""
        return self._get("PlacementGroupsList")

    def services(self) -> dict[str, Any]:
        """Return the state of the cluster and its services."""
        return self._get("ServicesList")

    def services_of(self, cluster: str) -> dict[str, Any]:
        """Return the same of another cluster, by its id (``sf.b``), whatever ``sp_cluster`` says. :raises ApiError: no such cluster."""
        return self._get_at(f"{_ROOT}RemoteCommand/~{_in_path(cluster)}/ServicesList", "ServicesList")

    def services_of_location(self, cluster: str) -> list[dict[str, Any] | None]:
        """Return the same of all clusters in the location of that one, ``None`` for one that did not answer.

        Nothing in the answer tells which is which (sheet, section 1.4).
        """
        call = "AllClusters/ServicesList"
        found = self._get_at(f"{_ROOT}RemoteCommand/~{_in_path(cluster)}/MultiCluster/{call}", call)
        return [(one.get("response") or {}).get("data") for one in found["clusters"]]

    def clients_config(self) -> list[dict[str, Any]]:
        """Return for each client how far it has applied the configuration."""
        return self._get("ClientsConfigDump")

    def peers(self) -> dict[str, dict[str, Any]]:
        """Return the network peers by node id."""
        return self._get("NetworkPeersList")

    def disks(self) -> dict[str, dict[str, Any]]:
        """Return the disks by id."""
        return self._get("DisksList")

    def locations(self) -> list[dict[str, Any]]:
        """Return the locations this cluster knows."""
        return self._get("LocationsList")["locations"]

    def clusters(self) -> list[dict[str, Any]]:
        """Return the clusters this cluster knows."""
        return self._get("ClustersList")["clusters"]

    def exports(self) -> list[dict[str, Any]]:
        """Return the exported snapshots."""
        return self._foresight.each(self._place, "export", self._get("ExportsList")["exports"], "globalId")

    def remote_snapshots(self) -> list[dict[str, Any]]:
        """Return the snapshots that other locations hold for this cluster or export to it."""
        return self._foresight.over(self._place, "remote", self._get("SnapshotsRemoteList")["snapshots"], "remoteId")

    def maintenance(self) -> dict[str, Any]:
        """Return the nodes in maintenance."""
        return self._get("MaintenanceList")

    # -- inside

    def _get(self, call: str, on: str | None = None) -> Any:
        try:
            return self._get_at(self._path(call, on), call, on)
        except ApiError as exc:
            if on is None and exc.name == NOT_THERE:
                exc.hint = f"check sp_cluster (from {self.connection.sources.get('sp_cluster')})"
            raise

    def _get_at(self, path: str, call: str, on: str | None = None) -> Any:
        """Return what a call tells, which may be one to another cluster, or to several."""
        try:
            found = self.http.get(path)
        except ApiError as exc:
            raise about(exc, call, on or "") from exc.__cause__
        except Unreachable as exc:
            raise self._with_way_out(exc) from exc.__cause__
        return self._readable(call, found)

    def _readable(self, call: str, found: Any) -> Any:
        """Return an answer. :raises Unreachable: it has not the form of one to this call."""
        wrong = STORPOOL[call].misfit(found)
        if wrong:
            raise self._with_way_out(Unreachable(f"StorPool's answer to {call} cannot be read: {wrong}"))
        return found

    def _with_way_out(self, exc: Unreachable) -> Unreachable:
        """Return the same error, saying which options are to be looked at and where their values are from."""
        sources = self.connection.sources
        exc.hint = exc.hint or (
            f"check sp_api_http_port (from {sources.get('sp_api_http_port', 'the default, 81')}) "
            f"and sp_api_http_host (from {sources.get('sp_api_http_host')})"
        )
        return exc

    def _is_missing(self, exc: ApiError) -> bool:
        """Tell whether the error means that the object is not there. What is not there may be the cluster of ``RemoteCommand/`` instead."""
        if exc.name != NOT_THERE:
            return False
        if not self._cluster_found:
            try:
                self.maintenance()  # names nothing but the cluster
            except ApiError as failure:
                exc.hint = failure.hint
                return False
            self._cluster_found = True
        return True

    def _foreseen(self, listing: str) -> list[dict[str, Any]]:
        """Return the rows that earlier tasks of a check run would have left."""
        return [row for row in self._foresight.rows(self._place, listing).values() if row is not None]

    def _over(self, listing: str, found: list[dict[str, Any]], key: str = "globalId") -> list[dict[str, Any]]:
        if not self._foresight.active:
            return found
        laid = self._as_called(self._foresight.over(self._place, listing, found, key))
        # What is known of space is told by the listings of space alone.
        return [{name: value for name, value in one.items() if name not in _SPACE} if _SPACE & one.keys() else one for one in laid]

    def _as_called(self, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return rows with the name that their parent will have by then and, snapshots, the volume that will stand on them."""
        volumes, names = self._foreseen("volume"), self._foresight.rows(self._place, "called")
        if not (volumes or names):
            return found
        stand_on = {one["parentName"]: one["name"] for one in reversed(volumes)}
        elsewhere = {one["name"] for one in volumes} | {name for name in names if name.startswith("volume ")}
        called = []
        for row in found:
            new = {"parentName": row["parentName"]}
            for _step in names:  # what it stands on may be called otherwise or be gone, more than once
                before, new["parentName"] = new["parentName"], names.get(f"snapshot {new['parentName']}", new["parentName"])
                if before == new["parentName"]:
                    break
            if "onVolume" in row:
                volume = row["onVolume"]
                new["onVolume"] = stand_on.get(row["name"]) or ("-" if {volume, f"volume {volume}"} & elsewhere else volume)
            called.append({**row, **new})
        return called

    def _with_space(self, listing: str, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return a listing with space as it would be: a volume has nothing of its own when it is made, reverted or just snapshotted."""
        rows = self._foresight.rows(self._place, listing)
        if not rows:
            return found
        stored = {one["globalId"]: {"storedSize": one["storedSize"], "spaceUsed": one["spaceUsed"]} for one in found}
        if any(row and STORED_OF in row for row in rows.values()):
            stored.update((one["globalId"], {"storedSize": one["storedSize"]}) for one in self._get("VolumesSpace"))
        nothing = {"storedSize": 0, "spaceUsed": 0}
        return [
            {**nothing, **stored.get(one.get(STORED_OF, one["globalId"]), {}), **one} if one["globalId"] in rows else one
            for one in self._as_called(self._foresight.over(self._place, listing, found, "globalId"))
        ]

    def _one(self, call: str, listing: str, name: str) -> dict[str, Any] | None:
        """Return the only element of the list that ``Volume/{name}`` and ``Snapshot/{name}`` answer with."""
        foreseen = [row for row in self._foreseen(listing) if name in (row["name"], "~" + row["globalId"])]
        if foreseen or is_made_up(name):
            return next(iter(self._as_called(foreseen)), None)
        found = self._read_one(call, name)
        rows = self._foresight.rows(self._place, listing)
        if found and rows and found["globalId"] in rows:
            return None  # it will be gone, or have the name under which it was not found above
        return found and self._as_called([found])[0]

    def _read_one(self, call: str, name: str) -> dict[str, Any] | None:
        try:
            found = self._get(call, name)
        except ApiError as exc:
            if self._is_missing(exc):
                return None
            raise
        return found[0] if found else None

    def _path(self, call: str, on: str | None) -> str:
        multi = "MultiCluster/" if self.connection.multi_cluster and call in _MULTI_CLUSTER else ""
        path = f"{self._prefix}{multi}{call}"
        return path if on is None else f"{path}/{_in_path(on)}"

    def _decode(self, reply: Reply) -> Any:
        """Return ``data`` of an answer; an error object counts whatever the HTTP status is (rule ``http-status``)."""
        status = reply.status
        try:
            document = loaded(reply.body)
        except ValueError:
            raise self._no_json(reply) from None
        if not isinstance(document, dict):
            raise ValueError("JSON, but no object")
        error = document.get("error")
        if status in (401, 403):
            raise self._refused(reply)
        if isinstance(error, dict):
            name, description = str(error.get("name", "unnamed")), self._redacted(str(error.get("descr", "")))
            failure = ApiError(name, description, transient=error.get("transient") is True, status=status, hint=_hint(name, description))
            raise Transient(failure) if failure.transient or status == 429 else failure
        if status == 200 and "data" in document:
            return document["data"]
        if status == 429:
            raise Transient(ApiError("HTTP 429", "too many requests", transient=True, status=status))
        raise ValueError(f"HTTP {status} with neither data nor an error")

    def _no_json(self, reply: Reply) -> Exception:
        """Return what to raise for a body that is not JSON: a passing fault, or another service on that port."""
        status, label = reply.status, reply.endpoint.label
        if status == 429:
            return Transient(ApiError("HTTP 429", "too many requests", transient=True, status=status))
        if status in (401, 403):
            return self._refused(reply)
        if 300 <= status < 400 or (status < 500 and reply.body.lstrip()[:1] == b"<"):
            what = "a redirect" if 300 <= status < 400 else "an HTML page"
            return Unreachable(f"{label} answered with {what} (HTTP {status}): this is not the StorPool API")
        return ValueError(f"HTTP {status}, {len(reply.body)} bytes that are not JSON")

    def _refused(self, reply: Reply) -> Unauthorized:
        return Unauthorized(
            f"{reply.endpoint.label} refused the token (sp_auth_token from {self.connection.sources.get('sp_auth_token')})",
            hint="compare it with SP_AUTH_TOKEN in /etc/storpool.conf of a node of this cluster",
        )

    def _redacted(self, text: str) -> str:
        return redacted(text, [self.connection.token], "(token)")


def _in_path(name: str) -> str:
    return quote(name, safe="~:@")


def _encoded(body: Any) -> bytes:
    return _ENCODER.encode(body).encode()


def _hint(name: str, description: str) -> str | None:
    return next((hint for words, hint in _HINTS if words in description or words == name), None)


def about(exc: ApiError, call: str, name: str) -> ApiError:
    """Return the same error, naming the call and the object."""
    known = {key: exc.parts.get(key) for key in ("transient", "status")}
    named = ApiError(exc.name, exc.description, call=call, object_name=name or None, hint=exc.hint, **known)
    named.parts["attempts"] = exc.parts.get("attempts")
    return named


def by_name(objects: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return API objects by their name; an anonymous one is known by ``~globalId``, which is its name.

    In multi-cluster mode several clusters may have one of a name. Such an object then tells their names as :data:`IN_CLUSTERS`, because a
    call that names it would reach either.
    """
    found = {item["name"]: item for item in objects}
    if len(found) < len(objects):
        clusters: dict[str, list[str]] = {}
        for item in objects:
            clusters.setdefault(item["name"], []).append(item.get("clusterName") or "?")
        found.update((name, {**found[name], IN_CLUSTERS: sorted(where)}) for name, where in clusters.items() if len(where) > 1)
    return found
