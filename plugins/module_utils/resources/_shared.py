# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 4: what volumes, snapshots and templates have in common."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Callable

from .. import _storpool as sp
from .._errors import ChangeRefused, CollectionError, OptionError
from .._foresight import made_up_id
from .._plan import Change
from .._units import (
    format_size,
    limit_from_api,
    limit_to_api,
    parse_bw,
    parse_duration,
    parse_iops,
    parse_tags,
    parse_template_name,
    parse_whole,
)

# name of an attached object -> client id -> rights
Attachments = dict  # dict[str, dict[int, str]]

NOTHING_STORED = {"storedSize": 0, "spaceUsed": 0}
# What the API tells of a snapshot that was just taken, besides what it has of its volume.
FRESH_SNAPSHOT = {
    **dict.fromkeys(("autoName", "bound", "deleted", "destroyed", "recoveringFromRemote", "transient"), False),
    "targetDeleteDate": 0,
}

# Fields of VolumePolicyDesc, by their names in options and results.
POLICY = {
    "iops": "iops",
    "bw": "bw",
    "replication": "replication",
    "place_all": "placeAll",
    "place_head": "placeHead",
    "place_tail": "placeTail",
}

# What nobody has said of a volume or template: a template or parent may have copies, place_all tells the other places.
UNSAID_POLICY: dict[str, Any] = {
    "iops": "unlimited", "bw": "unlimited", "replication": None, "place_all": "default", "place_head": None, "place_tail": None,
}  # fmt: skip
# What a volume has when nothing says otherwise.
USUAL_REPLICATION = 3
USUAL_POLICY: dict[str, Any] = {**UNSAID_POLICY, "replication": USUAL_REPLICATION, "place_head": "default", "place_tail": "default"}

PLACES = ("place_all", "place_head", "place_tail")

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


def quiet(find: Callable[..., Any], *arguments: Any) -> Any:
    """Return what ``find`` finds, or ``None`` also when it is not clear what is meant: the plan says so."""
    try:
        return find(*arguments)
    except CollectionError:
        return None


def guard_cloudstack(kind: str, document: Mapping[str, Any], actions: Sequence[str], allowed: bool, about: str | None = None) -> None:
    """Refuse to change an object that CloudStack owns (it carries the tag ``cs``), unless that was asked for.

    :param about: what is said to belong to CloudStack, when it is not the object of that kind itself.
    :raises ChangeRefused: says which CloudStack action to use instead.
    """
    if allowed or not document["tags"].get("cs"):
        return
    instead = _CLOUDSTACK_WAY.get((kind, actions[0].split()[0]), "its own API or user interface")
    owned = f"{about or kind} {document['name']} belongs to CloudStack (tag cs={document['tags']['cs']})"
    raise ChangeRefused(
        f"{owned}; a change here would set the two systems apart",
        allow_with="allow_cloudstack_objects: true",
        hint=f"use CloudStack: {instead}; or set allow_cloudstack_objects: true to change only StorPool",
    )


def attachments_of(attachments: Attachments | None, raw: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """Return the attachments of an API object as results show them, by client id; ``None`` when they were not read and so are not known."""
    if not attachments:
        return None if attachments is None else []
    have = attachments.get(raw["name"]) or attachments.get("~" + raw["globalId"]) or {}
    return [{"client": client, "rights": have[client]} for client in sorted(have)]


def is_passing(name: str) -> bool:
    """Tell whether a snapshot's name is one that StorPool gives to what is being deleted or is only in passing (rule star-names)."""
    return name.startswith("*")


def named(objects: Mapping[str, Mapping[str, Any]], reference: str | None) -> Mapping[str, Any] | None:
    """Return the API object with that name or ``~global_id``."""
    if reference is None:
        return None
    found = objects.get(reference)
    if found is None and reference.startswith("~"):
        found = next((one for one in objects.values() if "~" + one["globalId"] == reference), None)
    return found


def check_single(kind: str, raw: Mapping[str, Any]) -> None:
    """:raises ChangeRefused: several clusters have an object of this name, and a change would reach one or the other."""
    if sp.IN_CLUSTERS in raw:
        raise ChangeRefused(
            f"{len(raw[sp.IN_CLUSTERS])} {kind}s are called {raw['name']}, in the clusters {', '.join(raw[sp.IN_CLUSTERS])}",
            hint="say which one is meant with sp_cluster, and leave sp_multi_cluster out",
        )


def name_shared(kind: str, name: str) -> ChangeRefused:
    """Return the refusal of a name that an object of the other ``kind`` has (rule names-shared)."""
    return ChangeRefused(
        f"a {kind} is called {name}; volumes and snapshots share their names", hint="choose another one, or rename or delete what has it"
    )


def check_known(option: str, value: Any, known: Collection[Any], what: str, item: str | None = None) -> None:
    """:raises OptionError: a cluster has nothing of this name or number among those that are ``known``."""
    if value not in known:
        there = ", ".join(str(one) for one in sorted(known)) or "none"
        raise OptionError(option, value, f"is no {what} of this cluster; there are: {there}", item=item)


@dataclass
class Registered:
    """The clients and placement groups of a cluster, for check mode: the real run leaves it to the server to refuse one that there is not.

    ``None``: nothing declared made it necessary to look.
    """

    clients: Collection[int] | None = None
    groups: Collection[str] | None = None

    @classmethod
    def read(cls, client: sp.StorPool, clients: set[int], attachments: Attachments | None, groups: Collection[str]) -> Registered:
        """Look as far as these clients and groups are not known; of several clusters only one would tell."""
        found = cls()
        if client.connection.multi_cluster:
            return found
        if groups:
            found.groups = set(client.placement_groups())
        attached = {client for rights in (attachments or {}).values() for client in rights}
        if clients - attached:
            found.clients = attached | {int(one["id"]) for one in client.clients_config()}
            if clients - found.clients:
                # One that comes or goes may be in the other listing alone.
                found.clients |= {int(number) for number in client.services().get("clients") or ()}
        return found

    def check(self, wanted: Any) -> None:
        """:raises OptionError: ``wanted`` names a client or placement group that there is not."""
        if self.groups is not None:
            for option in PLACES:
                if wanted.policy.get(option) is not None:
                    check_known(option, wanted.policy[option], self.groups, "placement group", wanted.label)
        if self.clients is not None:
            for number in wanted.attach or ():
                check_known("attach_to", number, self.clients, "client", wanted.label)


def fetch_named(
    names: Collection[str], read_one: Callable[[str], Any], read_all: Callable[[], list[dict[str, Any]]]
) -> dict[str, dict[str, Any]]:
    """Return API objects by name with one call: a single one is asked for, several come from the listing."""
    if len(names) == 1:
        found = read_one(next(iter(names)))
        return {found["name"]: found} if found else {}
    return {one["name"]: one for one in read_all()}


def index_attachments(found: Sequence[Mapping[str, Any]]) -> Attachments:
    """Return attachments by the name of the attached object."""
    index: Attachments = {}
    for one in found:
        index.setdefault(one["volume"], {})[int(one["client"])] = one["rights"]
    return index


def address_of(document: Mapping[str, Any]) -> str:
    """Return how a call names a volume or snapshot: by its name, which for an anonymous one is ``~global_id`` already."""
    return document["name"] or "~" + document["global_id"]


def reassignment(
    kind: str,
    document: Mapping[str, Any],
    wish: Mapping[int, str],
    wanted: Any,
) -> tuple[list[Change], list[dict[str, Any]]]:
    """Return the one change that attaches ``document`` as ``wish`` says (client to rights), and its attachments afterwards.

    ``document`` has the present ``attachments``; ``wanted`` says whether clients that are not named lose it (``exclusive``), whether those
    that have it open do (``force``), and how long to wait for the clients (``wait_timeout``).
    """
    have = {one["client"]: one["rights"] for one in document["attachments"]}
    gone = [client for client in have if wanted.exclusive and client not in wish]
    item: dict[str, Any] = {}
    for rights in ("rw", "ro"):
        clients = [client for client, wished in wish.items() if wished == rights and have.get(client) != rights]
        if clients:
            item[rights] = clients
    if not item and not gone:
        return [], document["attachments"]
    words = [word for word, there in (("attach", item), ("detach", gone)) if there]
    if wanted.exclusive and have.keys().isdisjoint(wish):
        item["detach"] = "all"  # also whoever attaches it meanwhile (rule reassign)
    elif gone:
        item["detach"] = gone
    if wanted.force:
        item["force"] = True
    left = {**{client: rights for client, rights in have.items() if client not in gone}, **wish}
    after = [{"client": client, "rights": left[client]} for client in sorted(left)]
    write = sp.reassign_wait([{kind: address_of(document), **item}], wanted.wait_timeout)
    return [Change(" and ".join(words), write)], after


def detachment(kind: str, document: Mapping[str, Any], wanted: Any, to_do: str) -> list[Change]:
    """Return the detachment that has to come before ``to_do``, as ``wanted.on_attached`` allows it.

    :raises ChangeRefused: it was not asked for.
    """
    if not document["attachments"]:
        return []
    if wanted.on_attached == "fail":
        where = ", ".join(f"{one['client']} ({one['rights']})" for one in document["attachments"])
        raise ChangeRefused(
            f"{document['name']} is attached to client {where}; {to_do} needs it detached", allow_with="on_attached: detach"
        )
    item: dict[str, Any] = {kind: address_of(document), "detach": "all"}
    if wanted.on_attached == "detach_force":
        item["force"] = True
    return [Change("detach", sp.reassign_wait([item], wanted.wait_timeout))]


def object_fields(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return what results, diffs and info modules show of a volume and of a snapshot alike, from the API's VolumeSummaryBase."""
    return {
        "name": raw["name"],
        "global_id": raw["globalId"],
        "size": raw["size"],
        "template": raw["templateName"] or None,
        "parent": raw["parentName"] or None,
        "iops": limit_from_api(raw["iops"]),
        "bw": limit_from_api(raw["bw"]),
        "replication": raw["replication"],
        "place_all": raw["placeAll"],
        "place_head": raw["placeHead"],
        "place_tail": raw["placeTail"],
        "tags": {key: value for key, value in (raw.get("tags") or {}).items() if value != ""},
    }


def raw_fields(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the API would tell of a volume or snapshot as results show it: the reverse of :func:`object_fields`."""
    return {
        "name": document["name"] or "~" + document["global_id"],
        "globalId": document["global_id"],
        "size": document["size"],
        "templateName": document["template"] or "",
        "parentName": document["parent"] or "",
        "tags": document["tags"],
        **raw_policy(document),
    }


def raw_policy(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the API would tell of limits, replication and placement, as far as ``document`` has them."""
    return {key: limit_to_api(document[option]) for option, key in POLICY.items() if option in document}


def foresee_attachments(client: sp.StorPool, document: Mapping[str, Any], snapshot: bool = False) -> None:
    """Let the client list an object's attachments as results show them, when they are known."""
    if document.get("attachments") is not None:
        about = {"volume": document["name"], "globalId": document["global_id"], "snapshot": snapshot, "pos": 0, "tags": {}}
        client.foresee("attachment", document["global_id"], [{**one, **about} for one in document["attachments"]])


def foresee_snapshot(client: sp.StorPool, volume: Mapping[str, Any], moment: float, **fields: Any) -> None:
    """Let the client know a snapshot of a volume (the API's rows), which takes over what the volume had of its own."""
    identity = fields.get("globalId") or made_up_id()
    row = {
        **{key: value for key, value in volume.items() if key not in NOTHING_STORED}, **FRESH_SNAPSHOT,
        "name": f"~{identity}", "globalId": identity, "onVolume": volume["name"], "tags": {}, "creationTimestamp": int(moment),
        **fields, "parentName": volume["parentName"],
    }  # fmt: skip
    own = {"storedSize": volume["storedSize"], "spaceUsed": 0} if "storedSize" in volume else {sp.STORED_OF: volume["globalId"]}
    client.foresee("snapshot", identity, {**row, **own})
    client.foresee("volume", volume["globalId"], {**volume, "parentName": row["name"], **NOTHING_STORED})


def foresee_no_snapshot(client: sp.StorPool, raw: Mapping[str, Any]) -> None:
    """Let the client know that a snapshot is gone; what stands on it stands on its parent then."""
    client.foresee("called", f"snapshot {raw['name']}", raw["parentName"])
    client.foresee("snapshot", raw["globalId"], None)
    client.foresee("attachment", raw["globalId"], [])
    client.foresee("export", raw["globalId"], [])


def for_diff(document: Mapping[str, Any], *hidden: str) -> dict[str, Any]:
    """Return an object as the diff shows it: its size as people write it, and without what nobody declares."""
    return {**{key: value for key, value in document.items() if key not in hidden}, "size": format_size(document["size"])}


def template_object(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return a template as results, diffs and storpool_cluster_info show it, from the API's VolumeTemplateDesc."""
    return {
        "name": raw["name"],
        "size": None if raw["size"] == "-" else raw["size"],
        "parent": raw["parentName"] or None,
        "iops": limit_from_api(raw["iops"]),
        "bw": limit_from_api(raw["bw"]),
        "replication": None if raw["replication"] == "-" else raw["replication"],
        "place_all": raw["placeAll"],
        "place_head": raw["placeHead"],
        "place_tail": raw["placeTail"],
        "reuse_server": bool(raw.get("reuseServer")),
    }


def raw_template(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the API would tell of a template as results show it: the reverse of :func:`template_object`."""
    return {
        "name": document["name"],
        "size": document["size"] or "-",
        "parentName": document["parent"] or "",
        **raw_policy(document),
        "replication": document["replication"] or "-",
        "reuseServer": document["reuse_server"],
    }


def template_gives(name: str | None, templates: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return what a template gives to a volume or snapshot, in the terms of results. :raises OptionError: there is no such template."""
    if name is None:
        return None
    raw = templates.get(name)
    if raw is None:
        known = ", ".join(sorted(templates)) or "none"
        raise OptionError("template", name, f"does not exist on this cluster; there are: {known}")
    template = template_object(raw)
    return {key: template[key] for key in (*POLICY, "size", "parent")}


def parse_clients(value: Any, option: str, default: str = "rw") -> dict[int, str]:
    """Return client ids and rights from a list of ``11``, ``11:ro`` or ``{client: 11, rights: ro}``.

    ``default`` are the rights when none are given.

    :raises OptionError: no client id (1 to 4095), no such rights, or a client named twice.
    """
    clients: dict[int, str] = {}
    for entry in value:
        if isinstance(entry, Mapping):
            unknown = sorted(set(entry) - {"client", "rights"})
            if unknown or "client" not in entry:
                raise OptionError(option, dict(entry), "is not of the form {client: 11, rights: rw or ro}")
            client, rights = entry["client"], entry.get("rights") or default
        else:
            client, _colon, rights = str(entry).partition(":")
            rights = rights or default
        if rights not in ("rw", "ro"):
            raise OptionError(option, rights, "is no kind of access; use rw or ro")
        number = parse_whole(client, 1, 4095)
        if number is None:
            raise OptionError(option, entry, "is no client id (1 to 4095, SP_OURID on that host)")
        if number in clients:
            raise OptionError(option, number, "is named twice")
        clients[number] = rights
    return clients


def parse_attachments(options: Mapping[str, Any], wanted: Any, kind: str, default: str) -> None:
    """Enter in ``wanted`` which clients it is to be attached to, and how. :raises OptionError: what cannot be meant."""
    if options["attach_to"] is not None:
        wanted.attach = parse_clients(options["attach_to"], "attach_to", default)
    wanted.exclusive = bool(options["exclusive"])
    if wanted.exclusive and wanted.attach is None:
        raise OptionError("exclusive", True, f"needs attach_to (an empty list detaches the {kind} everywhere)")
    wanted.force = bool(options["force"])
    if options["wait_timeout"] is not None:
        wanted.wait_timeout = parse_duration(options["wait_timeout"], "wait_timeout")


def parse_wanted_tags(options: Mapping[str, Any], wanted: Any, marks: str) -> None:
    """Enter in ``wanted`` the tags, and whether others are to go.

    :param marks: the option with tags by which the object is found; it has to have those too. They stand in ``wanted`` under the same name.
    :raises OptionError: what cannot be meant.
    """
    if options["tags"] is not None:
        wanted.tags = parse_tags(options["tags"])
    wanted.tags_exact = options["tags_mode"] == "exact"
    if wanted.tags_exact and wanted.tags is None:
        raise OptionError("tags_mode", "exact", "needs tags (give an empty map to remove all)")
    found_by = getattr(wanted, marks)
    if found_by:
        for key, value in found_by.items():
            if (wanted.tags or {}).get(key, value) != value:
                raise OptionError(f"tags.{key}", wanted.tags[key], f"contradicts {marks} ({value}), which tell what is meant")
        wanted.tags = {**found_by, **(wanted.tags or {})}


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
    for option in PLACES:
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
