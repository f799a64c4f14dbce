# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 4: what volumes, snapshots and templates have in common."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Callable

from .._errors import ChangeRefused, OptionError
from .._units import parse_bw, parse_iops, parse_template_name, parse_whole

# name of an attached object -> client id -> rights
Attachments = dict  # dict[str, dict[int, str]]

# Fields of VolumePolicyDesc, by their names in options and results.
POLICY = {
    "iops": "iops",
    "bw": "bw",
    "replication": "replication",
    "place_all": "placeAll",
    "place_head": "placeHead",
    "place_tail": "placeTail",
}

CREATION_SOURCES = ("parent", "base_on", "remote")

# What an operator does in CloudStack instead, by the first word of the action that was refused (design.md section 3).
_CLOUDSTACK_WAY = {
    ("volume", "update"): "resizeVolume or changeOfferingForVolume",
    ("volume", "attach"): "attachVolume, or start the VM",
    ("volume", "detach"): "detachVolume, or stop the VM",
    ("volume", "delete"): "destroyVolume or deleteVolume",
    ("volume", "snapshot"): "createSnapshot",
    ("volume", "revert"): "revertSnapshot",
    ("snapshot", "create"): "createSnapshot, or createVMSnapshot for several volumes",
    ("snapshot", "delete"): "deleteSnapshot, deleteVMSnapshot or deleteTemplate",
}


def guard_cloudstack(kind: str, document: Mapping[str, Any], actions: Sequence[str], allowed: bool) -> None:
    """Refuse to change an object that CloudStack owns (it carries the tag ``cs``), unless that was asked for.

    :raises ChangeRefused: says which CloudStack action to use instead.
    """
    if allowed or not document["tags"].get("cs"):
        return
    instead = _CLOUDSTACK_WAY.get((kind, actions[0].split()[0]), "its own API or user interface")
    raise ChangeRefused(
        f"{kind} {document['name']} belongs to CloudStack (tag cs={document['tags']['cs']}); a change here would set the two systems apart",
        allow_with="allow_cloudstack_objects: true",
        hint=f"use CloudStack: {instead}; or set allow_cloudstack_objects: true to change only StorPool",
    )


def attachments_of(attachments: Attachments, raw: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the attachments of an API object as results show them, by client id."""
    if not attachments:
        return []
    have = attachments.get(raw["name"]) or attachments.get("~" + raw["globalId"]) or {}
    return [{"client": client, "rights": have[client]} for client in sorted(have)]


def named(objects: Mapping[str, Mapping[str, Any]], reference: str | None) -> Mapping[str, Any] | None:
    """Return the API object with that name or ``~global_id``."""
    if reference is None:
        return None
    found = objects.get(reference)
    if found is None and reference.startswith("~"):
        found = next((one for one in objects.values() if "~" + one["globalId"] == reference), None)
    return found


def fetch_named(
    names: Collection[str], read_one: Callable[[str], Any], read_all: Callable[[], list[dict[str, Any]]]
) -> dict[str, dict[str, Any]]:
    """Return API objects by name with one call: a single one is asked for, several come from the listing."""
    if len(names) == 1:
        found = read_one(next(iter(names)))
        return {found["name"]: found} if found else {}
    return {one["name"]: one for one in read_all()}


def parse_clients(value: Any, option: str) -> dict[int, str]:
    """Return client ids and rights from a list of ``11``, ``11:ro`` or ``{client: 11, rights: ro}``.

    :raises OptionError: no client id (1 to 4095), no such rights, or a client named twice.
    """
    clients: dict[int, str] = {}
    for entry in value:
        if isinstance(entry, Mapping):
            unknown = sorted(set(entry) - {"client", "rights"})
            if unknown or "client" not in entry:
                raise OptionError(option, dict(entry), "is not of the form {client: 11, rights: rw or ro}")
            client, rights = entry["client"], entry.get("rights") or "rw"
        else:
            client, _colon, rights = str(entry).partition(":")
            rights = rights or "rw"
        if rights not in ("rw", "ro"):
            raise OptionError(option, rights, "is no kind of access; use rw or ro")
        number = parse_whole(client, 1, 4095)
        if number is None:
            raise OptionError(option, entry, "is no client id (1 to 4095, SP_OURID on that host)")
        if number in clients:
            raise OptionError(option, number, "is named twice")
        clients[number] = rights
    return clients


def parse_policy(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return limits, replication and placement (the keys of :data:`POLICY`), as far as they were given.

    :raises OptionError: a value that StorPool cannot hold.
    """
    policy: dict[str, Any] = {}
    if options["iops"] is not None:
        policy["iops"] = parse_iops(options["iops"])
    if options["bw"] is not None:
        policy["bw"] = parse_bw(options["bw"])
    if options["replication"] is not None:
        if not 1 <= options["replication"] <= 3:
            raise OptionError("replication", options["replication"], "must be 1, 2 or 3")
        policy["replication"] = options["replication"]
    for option in ("place_all", "place_head", "place_tail"):
        if options[option] is not None:
            policy[option] = parse_template_name(options[option], option)
    return policy


def tag_changes(present: Mapping[str, str], wanted: Mapping[str, str], exact: bool) -> dict[str, str]:
    """Return the tags to send: an update merges key by key and an empty value clears a tag (rule ``tags-merge``)."""
    changes = {key: value for key, value in wanted.items() if present.get(key, "") != value}
    if exact:
        changes.update({key: "" for key in present if key not in wanted})
    return changes


def with_tags(present: Mapping[str, str], changes: Mapping[str, str]) -> dict[str, str]:
    """Return the tags as they are after ``changes``."""
    return {key: value for key, value in {**present, **changes}.items() if value != ""}
