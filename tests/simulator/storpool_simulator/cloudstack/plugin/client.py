# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plugin's way to StorPool (``StorPoolUtil``, plugin sheet 6 at the end): the calls it makes, as they go out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ...errors import ApiError
from .. import storage
from ..errors import ServerError

if TYPE_CHECKING:
    from ...cluster import Cluster
    from ...store import Document
    from ..cloud import Cloud

MULTI = "MultiCluster/"
EVERYWHERE = "MultiCluster/AllClusters/"
ALTERNATIVE, ALTERNATIVE_ON = "sp.alternative.endpoint", "sp.enable.alternative.endpoint"


class StorPoolError(Exception):
    """StorPool's error object; the plugin embeds it as text and reacts to `objectDoesNotExist` and "still exported" alone."""

    def __init__(self, name: str, descr: str) -> None:
        super().__init__(f"{name}: {descr}")
        self.name = name
        self.descr = descr

    @property
    def is_missing(self) -> bool:
        return self.name == "objectDoesNotExist"

    @property
    def text(self) -> str:
        return f"[name={self.name}, descr={self.descr}]"


def text_of(error: Exception) -> str:
    """What the plugin repeats of a failure."""
    return error.text if isinstance(error, (StorPoolError, ServerError)) else str(error)


def gid_of(path: str) -> str:
    """The globalId in a path of CloudStack: its last part."""
    return path.rstrip("/").rpartition("/")[2]


def path_of(gid: str) -> str:
    return storage.DEVICES + gid


def address_of(path_or_gid: str) -> str:
    """As objects without a name are addressed: "~" and the globalId."""
    return "~" + gid_of(path_or_gid)


class Client:
    """One StorPool API, that of a pool: its details, or the alternative endpoint where that is on."""

    def __init__(self, cloud: Cloud, cluster: Cluster, template: str, token: str) -> None:
        self.cloud = cloud
        self.cluster = cluster
        self.template = template
        self._token = token

    @classmethod
    def of_pool(cls, cloud: Cloud, pool: Document) -> Client:
        known, settings = storage.details(cloud, pool), cloud.settings
        address, token, template = known.get(storage.ADDRESS), known.get(storage.TOKEN), known.get(storage.TEMPLATE) or ""
        if settings.effective(settings.known[ALTERNATIVE_ON], pool["id"]) == "true":
            other = settings.effective(settings.known[ALTERNATIVE], pool["id"])
            if not other:
                raise StorPoolError("noEndpoint", f"{ALTERNATIVE_ON} is on, and {ALTERNATIVE} has no value")
            wanted = storage.connection(cloud, other)
            address, token, template = wanted.address, wanted.token, wanted.template or template
        cluster = storage.cluster_at(cloud, address or "")
        if cluster is None:
            raise StorPoolError("connectionError", f"nothing answers at {address}")
        return cls(cloud, cluster, template, token or "")

    @classmethod
    def of_host(cls, cloud: Cloud, host: Document) -> Client:
        """What the StorPool CLI of a host asks: its own cluster."""
        return cls(cloud, cloud.world.clusters[host["storpool"]], "", cloud.world.token)

    def _call(self, method: str, path: str, body: Any = None) -> dict:
        if self._token != self.cloud.world.token:
            raise StorPoolError(self.cloud.world.assume.auth_name, "the authorization token is missing or wrong")
        assert self.cloud.storpool is not None
        try:
            return self.cloud.storpool.local(self.cluster, method, path, body)
        except ApiError as error:
            raise StorPoolError(error.name, error.descr) from error

    def get(self, path: str, prefix: str = MULTI) -> Any:
        """The data of an answer. `prefix`: MULTI, EVERYWHERE or none."""
        return self._call("GET", prefix + path)["data"]

    def post(self, path: str, body: Any = None, prefix: str = MULTI) -> dict:
        """The whole answer: `data`, and `clusterId` of a multi-cluster call. What it changes is on record when it returns."""
        return self._call("POST", prefix + path, {} if body is None else body)

    # The calls of the plugin

    def volume_create(
        self, size: int | None, tags: dict[str, str], *, parent: str | None = None, template: str | None = None, **more: Any
    ) -> str:
        """The globalId. `parent`: the globalId of a snapshot; `more`: iops, baseOn."""
        body: dict[str, Any] = {"name": "", "template": template or self.template, "tags": tags}
        if size is not None:
            body["size"] = size
        if parent is not None:
            body["parent"] = address_of(parent)
        body.update({key: value for key, value in more.items() if value is not None})
        return self.post("VolumeCreate", body)["data"]["globalId"]

    def volume_update(self, gid: str, **fields: Any) -> None:
        self.post("VolumeUpdate/" + quote(address_of(gid)), fields)

    def volume_snapshot(self, gid: str, tags: dict[str, str], **more: Any) -> str:
        """The globalId of the snapshot. `more`: deleteAfter, template."""
        body = {"name": "", "tags": tags, **more}
        return self.post("VolumeSnapshot/" + quote(address_of(gid)), body)["data"]["snapshotGlobalId"]

    def volume_freeze(self, gid: str) -> None:
        self.post("VolumeFreeze/" + quote(address_of(gid)), {})

    def volume_revert(self, gid: str, snapshot: str, **more: Any) -> None:
        self.post("VolumeRevert/" + quote(address_of(gid)), {"toSnapshot": address_of(snapshot), **more})

    def volume_delete(self, gid: str) -> None:
        self.post("VolumeDelete/" + quote(address_of(gid)), {"onAttached": "detachForce"})

    def snapshot_delete(self, gid: str) -> None:
        self.post("SnapshotDelete/" + quote(address_of(gid)), {})

    def detach_everywhere(self, gid: str, kind: str = "volume") -> None:
        """Before a snapshot is deleted, a volume reverted or started elsewhere."""
        self.post("VolumesReassign", [{kind: address_of(gid), "detach": "all", "force": True}])

    def volume(self, gid: str) -> dict[str, Any]:
        return self.get("Volume/" + quote(address_of(gid)))[0]

    def snapshot(self, gid: str) -> dict[str, Any]:
        return self.get("Snapshot/" + quote(address_of(gid)))[0]

    def exists(self, gid: str, kind: str = "snapshot") -> bool:
        try:
            (self.volume if kind == "volume" else self.snapshot)(gid)
        except StorPoolError as error:
            if error.is_missing:
                return False
            raise
        return True

    def cluster_of_snapshot(self, gid: str) -> str:
        """The id of the cluster that has it, learnt by an update of nothing (plugin sheet 6)."""
        return self.post("SnapshotUpdate/" + quote(address_of(gid)), {})["clusterId"]
