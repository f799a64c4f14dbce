# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Resource tags of any object (createTags). Table `tag`, by `<type>/<id>/<key>`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import access

if TYPE_CHECKING:
    from ..store import Document
    from .cloud import Cloud

# Resource types of CloudStack and the tables of their objects
TABLES = {
    "UserVm": "vm",
    "Volume": "volume",
    "Snapshot": "snapshot",
    "Template": "template",
    "ISO": "template",
    "VMSnapshot": "vmsnapshot",
    "SnapshotPolicy": "policy",
    "DiskOffering": "diskoffering",
    "ServiceOffering": "serviceoffering",
    "Zone": "zone",
}


def row_key(kind: str, id: str, key: str) -> str:
    return f"{kind}/{id}/{key}"


def put(cloud: Cloud, kind: str, id: str, key: str, value: str, account: str, by: str | None = None) -> None:
    """`account`: whose object it is; `by`: the account that set the tag."""
    cloud.tags.put(row_key(kind, id, key), {"kind": kind, "id": id, "key": key, "value": value, "account": account, "by": by or account})


def drop(cloud: Cloud, kind: str, id: str, key: str) -> None:
    if row_key(kind, id, key) in cloud.tags:
        cloud.tags.drop(row_key(kind, id, key))


def value(cloud: Cloud, kind: str, id: str, key: str) -> str | None:
    row = cloud.tags.get(row_key(kind, id, key))
    return row["value"] if row else None


def of(cloud: Cloud, kind: str, id: str) -> list[Document]:
    return cloud.tags_of_object.of(f"{kind}/{id}")


def forget(cloud: Cloud, kind: str, id: str) -> None:
    for row in of(cloud, kind, id):
        drop(cloud, kind, id, row["key"])


def row_shown(cloud: Cloud, row: Document) -> dict[str, Any]:
    return {
        "key": row["key"],
        "value": row["value"],
        "resourcetype": row["kind"],
        "resourceid": row["id"],
        **access.owner_shown(cloud, row["account"]),
    }


def shown(cloud: Cloud, kind: str, id: str) -> list[dict[str, Any]]:
    """The `tags` of an answer."""
    return [row_shown(cloud, row) for row in of(cloud, kind, id)]


def matches(cloud: Cloud, kind: str, id: str, wanted: dict[str, str] | None) -> bool:
    """A list's parameter `tags`: all of the pairs."""
    return all(value(cloud, kind, id, key) == text for key, text in (wanted or {}).items())
