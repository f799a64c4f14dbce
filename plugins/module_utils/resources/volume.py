# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 4: StorPool volumes.

Identity is a name, a global id or a set of tags. Everything the planner predicts follows the rules of the API reference (section 4); the
rule's id stands where it matters.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from .. import _storpool as sp
from .._errors import ChangeRefused, CollectionError, OptionError
from .._foresight import made_up_id
from .._plan import Change, Plan
from .._units import NAME_LENGTH, format_size, limit_to_api
from ._shared import (
    NOTHING_STORED,
    PLACES,
    POLICY,
    UNSAID_POLICY,
    USUAL_REPLICATION,
    Attachments,
    Registered,
    address_of,
    attachments_of,
    check_single,
    detachment,
    fetch_named,
    foresee_attachments,
    foresee_snapshot,
    guard_cloudstack,
    index_attachments,
    name_shared,
    named,
    object_fields,
    raw_fields,
    reassignment,
    tag_changes,
    template_gives,
    with_tags,
)
from .volume_wanted import WantedVolume, parse_volume


@dataclass
class World:
    """What was read, and on top of it what earlier plans of the same task will have made."""

    volumes: dict[str, dict[str, Any]]
    attachments: Attachments | None = None
    snapshots: dict[str, dict[str, Any]] = field(default_factory=dict)
    templates: dict[str, dict[str, Any]] = field(default_factory=dict)
    remote: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    registered: Registered = field(default_factory=Registered)
    taken: set[str] = field(default_factory=set)  # names of snapshots that wanted names would collide with; looked at in check mode only
    volume_space: dict[str, int] = field(default_factory=dict)
    snapshot_space: dict[str, int] = field(default_factory=dict)
    predicted: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    # What was worked out of the above once, to be found again.
    _shown: dict[str, dict[str, Any]] = field(default_factory=dict, compare=False)
    _by_id: dict[str, str] | None = field(default=None, compare=False)
    _by_tag: dict[str, dict[str | None, list[str]]] = field(default_factory=dict, compare=False)
    _given: dict[str, dict[str, Any]] = field(default_factory=dict, compare=False)

    def attach(self, found: Sequence[Mapping[str, Any]]) -> None:
        """Take in the attachments (AttachmentDesc)."""
        self.attachments = index_attachments(found)
        self._shown.clear()

    def volume(self, reference: str | None) -> dict[str, Any] | None:
        """Return a volume as results show it, by name or ``~global_id``; as it was read, so that the order of a list does not matter."""
        if reference is None:
            return None
        raw = self.volumes.get(reference)
        if raw is None and reference.startswith("~"):
            if self._by_id is None:
                self._by_id = {"~" + one["globalId"]: one["name"] for one in self.volumes.values()}
            return self.volume(self._by_id.get(reference)) if self._by_id.get(reference) != reference else None
        if raw is None:
            return None
        shown = self._shown.get(reference)
        if shown is None:
            shown = self._shown[reference] = volume_object(raw, self.attachments)
        return shown

    def source(self, reference: str) -> dict[str, Any] | None:
        """Return a volume to copy, as earlier plans of the same task will have left it."""
        return self.predicted[reference] if reference in self.predicted else self.volume(reference)

    def template(self, name: str | None) -> Mapping[str, Any] | None:
        """Return what a template gives to volumes; see :func:`template_gives`."""
        if name not in self._given:
            given = template_gives(name, self.templates)
            if given is None:
                return None
            self._given[name] = given
        return self._given[name]

    def tagged(self, tags: Mapping[str, str]) -> list[str]:
        """Return the names of the volumes that have all of these tags."""
        for key in tags.keys() - self._by_tag.keys():
            index = self._by_tag[key] = {}
            for name, one in self.volumes.items():
                index.setdefault((one.get("tags") or {}).get(key), []).append(name)
        fewest = min((self._by_tag[key].get(value, []) for key, value in tags.items()), key=len)
        return [name for name in fewest if tags.items() <= self.volumes[name]["tags"].items()]


def volume_object(raw: Mapping[str, Any], attachments: Attachments | None) -> dict[str, Any]:
    """Return a volume as results and diffs show it, from the API's VolumeSummary; ``attachments`` is ``None`` when not read."""
    return {**object_fields(raw), "attachments": attachments_of(attachments, raw)}


class Volumes:
    """The volumes of a cluster, as the runner manages them."""

    kind = "volume"

    # -- desired

    def parse(self, options: Mapping[str, Any], now: float) -> WantedVolume:
        """Return what is wanted of one volume. :raises OptionError: names the option that cannot be meant."""
        return parse_volume(options)

    # -- observe

    def observe(self, client: sp.StorPool, wanted: Sequence[WantedVolume]) -> World:
        """Read the volumes, and of the rest only what these volumes make necessary."""
        only = wanted[0].by_key() if len(wanted) == 1 and not client.connection.multi_cluster else None
        if only is not None:
            found = client.volume(only)
            world = World({found["name"]: found} if found else {})
            if wanted[0].base_on and not found:
                source = client.volume(wanted[0].base_on)
                if source:
                    world.volumes[source["name"]] = source
        else:
            world = World(sp.by_name(client.volumes()))
        attached = new = kept = reverted = False
        parents: set[str] = set()
        templates = remote = False
        for one in wanted:
            volume = self._find(one, world, quiet=True)
            if volume is None:
                if one.state == "present":
                    new = True
                    # A clone takes its source's template over, and that template's limits (rule create-defaults).
                    templates = templates or bool(one.template or one.parent or one.base_on)
                    remote = remote or one.remote is not None
                    if one.parent:
                        parents.add(one.parent)
            else:
                attached = attached or one.attach is not None or one.state != "present"
                kept = kept or one.keep_snapshot is not None
                templates = templates or (one.template is not None and one.template != volume["template"])
                if one.state == "reverted":
                    reverted = True
                    parents.add(one.revert_to)
        if client.only_reads:
            names = {one.name for one in wanted if self._takes_a_name(one, world)}
            world.taken = set(fetch_named(names, client.snapshot, client.snapshots)) if names else set()
        if attached:
            world.attach(client.attachments())
        if templates:
            world.templates = sp.by_name(client.templates())
            parents.update(template["parentName"] for template in world.templates.values() if new and template["parentName"])
        if kept:
            world.snapshots = sp.by_name(client.snapshots())
            to_go = [(one, self._find(one, world, quiet=True)) for one in wanted if one.keep_snapshot is not None]
            if any(volume and volume["parent"] == _kept_name(one, volume) for one, volume in to_go):
                world.volume_space = _stored(client.volumes_space())
        elif parents:
            world.snapshots = fetch_named(parents, client.snapshot, client.snapshots)
        if remote:
            world.remote = {(one["location"], one["remoteId"]): one for one in client.remote_snapshots()}
        if reverted:
            self._observe_space(client, wanted, world)
        if client.only_reads:
            self._look_at_registered(client, wanted, world)
        return world

    def _look_at_registered(self, client: sp.StorPool, wanted: Sequence[WantedVolume], world: World) -> None:
        """Look whether there are the clients and placement groups that volumes are to get; those that one has already are there."""
        clients = {number for one in wanted if one.state != "absent" for number in one.attach or ()}
        groups = set()
        for one in wanted:
            if one.state == "present":
                have = self._find(one, world, quiet=True) or {}
                groups |= {one.policy[option] for option in PLACES if one.policy.get(option) not in (None, have.get(option))}
        world.registered = Registered.read(client, clients, world.attachments, groups)

    def _takes_a_name(self, wanted: WantedVolume, world: World) -> bool:
        """Tell whether a volume will be made or renamed under a name that nothing has yet."""
        if wanted.state != "present" or wanted.name is None:
            return False
        volume = self._find(wanted, world, quiet=True)
        return volume is None or volume["name"] != wanted.name

    def _observe_space(self, client: sp.StorPool, wanted: Sequence[WantedVolume], world: World) -> None:
        """Read how much was written since the parent snapshot, for volumes that stand on the snapshot they are to be reverted to."""
        stands_on_other = False
        for one in wanted:
            if one.state == "reverted":
                volume, snapshot = self._find(one, world, quiet=True), named(world.snapshots, one.revert_to)
                stands_on_other = stands_on_other or bool(volume and snapshot and volume["parent"] not in (None, snapshot["name"]))
        world.volume_space = _stored(client.volumes_space())
        if stands_on_other:
            world.snapshots = sp.by_name(client.snapshots())
            world.snapshot_space = _stored(client.snapshots_space())

    # -- plan

    def plan(self, wanted: WantedVolume, world: World) -> Plan:
        """Return what to do about one volume."""
        volume = None
        try:
            volume = self._find(wanted, world)
            if volume is not None and volume["name"] in world.volumes:
                check_single("volume", world.volumes[volume["name"]])
            if wanted.state == "absent":
                plan = self._plan_absent(wanted, volume, world)
            elif wanted.state == "reverted":
                plan = self._plan_reverted(wanted, volume, world)
            elif volume is None:
                plan = self._plan_create(wanted, world)
            else:
                plan = self._plan_update(wanted, volume, world)
            if plan.changes and volume is not None:
                guard_cloudstack("volume", volume, [change.action for change in plan.changes], wanted.allow_cloudstack_objects)
            # Last, because the real run leaves this to the server (rule names-shared): all else is said first, as there.
            if wanted.state == "present" and wanted.name in world.taken and self._takes_a_name(wanted, world):
                raise name_shared("snapshot", wanted.name)
            if plan.changes and wanted.state != "absent":
                world.registered.check(wanted)
            return plan
        except CollectionError as exc:
            return Plan(wanted.label, volume, volume, refused=exc)

    @staticmethod
    def _find(wanted: WantedVolume, world: World, quiet: bool = False) -> dict[str, Any] | None:
        """Return the volume that is meant, or ``None``.

        :raises ChangeRefused: several volumes fit (unless ``quiet``).
        """
        if wanted.global_id:
            volume = world.volume("~" + wanted.global_id)
            if volume is None and wanted.state != "absent" and not quiet:
                raise ChangeRefused(
                    f"there is no volume with global_id {wanted.global_id}",
                    hint="a global id cannot be chosen; leave it out to create a volume",
                )
            return volume
        if wanted.match_tags:
            fits = world.tagged(wanted.match_tags)
            if len(fits) > 1 and not quiet:
                raise ChangeRefused(
                    f"{len(fits)} volumes fit match_tags: {', '.join(sorted(fits)[:10])}",
                    hint="say which one is meant with name or global_id",
                )
            return world.volume(fits[0]) if fits else None
        volume = world.volume(wanted.name)
        if wanted.renamed_from:
            former = world.volume(wanted.renamed_from)
            if former and volume and not quiet:
                raise ChangeRefused(
                    f"both {wanted.name} and {wanted.renamed_from} exist", hint="delete one of them, or leave renamed_from out"
                )
            return volume or former
        return volume

    def _plan_create(self, wanted: WantedVolume, world: World) -> Plan:
        given = world.template(wanted.template)
        source = self._source(wanted, world, given)
        template = given or (world.template(source["template"]) if source and source.get("template") in world.templates else None)
        after: dict[str, Any] = {
            "name": wanted.name,
            "global_id": None,
            "size": None,
            "template": wanted.template,
            "parent": None,
            **UNSAID_POLICY,
            "tags": {},
            "attachments": [],
        }
        # What the request does not say comes from the template, else from the parent or base (rule create-defaults).
        if source:
            after.update({key: source[key] for key in POLICY if source.get(key) is not None})
            after["template"] = wanted.template or source.get("template")
        if template:
            after.update({key: value for key, value in template.items() if value is not None})
        if source:
            after.update(size=source["size"], parent=source["parent"])
        after.update(wanted.policy)
        if "place_all" in wanted.policy:
            after.update(
                {key: wanted.policy.get(key) or wanted.policy["place_all"] for key in ("place_head", "place_tail") if not template}
            )
        for key in ("place_head", "place_tail"):
            after[key] = after[key] or after["place_all"]  # rule place-defaults
        # Whoever is not told how many copies there are to be, or what a remote backup becomes here, has to look afterwards.
        read_back = bool(wanted.remote) or after["replication"] is None
        after["replication"] = after["replication"] or USUAL_REPLICATION
        after["tags"] = {key: value for key, value in (wanted.tags or {}).items() if value != ""}
        after["size"] = wanted.size or after["size"]
        if after["size"] is None:
            raise OptionError(
                "size", None, "is needed to create the volume: neither its template nor a parent gives one", item=wanted.label
            )
        if source and after["size"] < source["size"]:
            raise ChangeRefused(
                f"the source of {wanted.label} has {format_size(source['size'])}, more than the {format_size(after['size'])} asked for",
                hint="give at least the size of the source, or leave size out",
            )
        changes = self._creation(wanted, after, source) + self._attachment_changes(wanted, after, [])
        return Plan(wanted.label, None, after, changes, read_back=read_back)

    @staticmethod
    def _source(wanted: WantedVolume, world: World, template: Mapping[str, Any] | None) -> dict[str, Any] | None:
        """Return what the volume is made from: the fields it takes over, with ``parent`` as it will be."""
        if wanted.base_on:
            volume = world.source(wanted.base_on)
            if volume is None:
                raise OptionError("base_on", wanted.base_on, "is no volume of this cluster")
            return {**volume, "parent": None}  # a transient snapshot that the server names (rule base-on)
        if wanted.remote:
            location, identity = wanted.remote
            remote = world.remote.get(wanted.remote)
            if remote is None:
                raise OptionError(
                    "remote", {"location": location, "id": identity}, "is no snapshot that this location holds for this cluster"
                )
            return {"size": remote["size"], "parent": None}
        name = wanted.parent or (template or {}).get("parent")
        if name is None:
            return None
        snapshot = named(world.snapshots, name)
        if snapshot is None or snapshot.get("deleted"):
            raise OptionError("parent", name, "is no snapshot of this cluster")
        return {**volume_object(snapshot, {}), "parent": snapshot["name"]}

    @staticmethod
    def _creation(wanted: WantedVolume, after: dict[str, Any], source: dict[str, Any] | None) -> list[Change]:
        body = {key: value for key, value in (("name", wanted.name), ("template", wanted.template), ("tags", after["tags"])) if value}
        placement = {POLICY[key]: limit_to_api(value) for key, value in wanted.policy.items()}
        if not wanted.remote:
            body.update(placement)
            body.update(
                {key: value for key, value in (("size", wanted.size), ("parent", wanted.parent), ("baseOn", wanted.base_on)) if value}
            )
            learn = {"globalId": "global_id", "name": "name"}
            if wanted.base_on:
                learn["autoName"] = "parent"
            return [Change("create", sp.volume_create(body), learn, twin=None if wanted.name else partial(_twin, wanted.match_tags))]
        # VolumeFromRemote takes neither size nor limits; they follow as an update.
        later = {"size": wanted.size} if wanted.size and source and wanted.size > source["size"] else {}
        later.update({key: placement.pop(key) for key in ("iops", "bw") if key in placement})
        body.update(placement, remoteLocation=wanted.remote[0], remoteId=wanted.remote[1])
        changes = [Change("create", sp.volume_from_remote(body))]
        if later:
            # In the words and the order of an update, so that a run which finds the volume there goes on with this very change.
            changes.append(Change("update " + ", ".join(later), sp.volume_update(wanted.name, later)))
        return changes

    def _plan_update(self, wanted: WantedVolume, volume: dict[str, Any], world: World) -> Plan:
        body: dict[str, Any] = {}
        after = volume
        if wanted.name and wanted.name != volume["name"]:
            if world.volume(wanted.name) is not None:
                raise ChangeRefused(
                    f"cannot rename {volume['name']} to {wanted.name}: a volume of that name exists",
                    hint="choose another one, or rename or delete that one first",
                )
            body["rename"] = wanted.name
            after = {**after, "name": wanted.name}
        if wanted.size and wanted.size != volume["size"]:
            body["size"] = wanted.size
            if wanted.size < volume["size"]:
                if not wanted.allow_shrink:
                    raise ChangeRefused(
                        f"{volume['name']} has {format_size(volume['size'])}; making it {format_size(wanted.size)} would cut its end off",
                        allow_with="allow_shrink: true",
                    )
                body["shrinkOk"] = True
            after = {**after, "size": wanted.size}
        if wanted.template and wanted.template != volume["template"]:
            template = world.template(wanted.template)
            body["template"] = wanted.template
            after = {**after, "template": wanted.template, **{key: template[key] for key in POLICY if template[key] is not None}}
        for key, value in wanted.policy.items():
            if after[key] != value:
                body[POLICY[key]] = limit_to_api(value)
                after = {**after, key: value}
        if wanted.tags is not None:
            tags = tag_changes(volume["tags"], wanted.tags, wanted.tags_exact)
            if tags:
                body["tags"] = tags
                after = {**after, "tags": with_tags(volume["tags"], tags)}
        changes = []
        if body:
            words = [key for key in body if key != "shrinkOk"]
            changes.append(Change("update " + ", ".join(words), sp.volume_update(address_of(volume), body)))
        if wanted.attach is not None:
            if after is volume:
                after = dict(volume)
            changes += self._attachment_changes(wanted, after, volume["attachments"])
        return Plan(after["name"], volume, after, changes)

    @staticmethod
    def _attachment_changes(wanted: WantedVolume, after: dict[str, Any], present: list[dict[str, Any]]) -> list[Change]:
        """Return the one reassignment that makes the attachments as wanted, and enter them in ``after``."""
        if not wanted.attach and (wanted.attach is None or not present):
            return []
        if not after["name"]:
            raise OptionError(
                "attach_to",
                sorted(wanted.attach),
                "needs name when the volume is created: an anonymous one is attached by a second task, with its global_id",
            )
        changes, after["attachments"] = reassignment("volume", {**after, "attachments": present}, wanted.attach, wanted)
        return changes

    def _plan_absent(self, wanted: WantedVolume, volume: dict[str, Any] | None, world: World) -> Plan:
        if volume is None:
            return Plan(wanted.label, None, None)
        changes = detachment("volume", volume, wanted, "deleting it")
        notes = {}
        if wanted.keep_snapshot is not None:
            keep = wanted.keep_snapshot
            name = _kept_name(wanted, volume)
            notes["kept_snapshot"] = name
            if name not in world.snapshots:
                body = {
                    "name": name,
                    **({"deleteAfter": keep["delete_after"]} if keep["delete_after"] else {}),
                    **({"tags": keep["tags"]} if keep["tags"] else {}),
                }
                changes.append(Change("snapshot", sp.snapshot_create(address_of(volume), body)))
            elif volume["parent"] != name or world.volume_space.get(volume["name"]) != 0:
                # Only a snapshot with the very content is a way back; deleting on the strength of another would lose data.
                raise ChangeRefused(
                    f"a snapshot {name} exists, and it is not known to hold what {volume['name']} holds now; nothing was deleted",
                    hint="give the snapshot another name with keep_snapshot.name",
                )
        changes.append(Change("delete", sp.volume_delete(address_of(volume))))
        beside = ({}, {"kept_snapshot": notes["kept_snapshot"]} if notes else {})
        return Plan(volume["name"], volume, None, changes, notes, beside=beside)

    def _plan_reverted(self, wanted: WantedVolume, volume: dict[str, Any] | None, world: World) -> Plan:
        if volume is None:
            raise ChangeRefused(f"there is no volume {wanted.label} to revert", hint="make one from the snapshot (option parent)")
        snapshot = named(world.snapshots, wanted.revert_to)
        if snapshot is None or snapshot.get("deleted"):
            raise OptionError("revert_to", wanted.revert_to, "is no snapshot of this cluster")
        same, reason = self._same_content(volume, snapshot, wanted, world)
        after = dict(volume)
        if same:
            changes = self._attachment_changes(wanted, after, volume["attachments"])
            return Plan(volume["name"], volume, after, changes, {"revert": {"needed": False, "because": reason}})
        changes = detachment("volume", volume, wanted, "reverting it")
        changes.append(Change("revert", sp.volume_revert(address_of(volume), snapshot["name"], wanted.revert_size)))
        after.update(parent=snapshot["name"], attachments=[])
        if wanted.revert_size:
            after["size"] = snapshot["size"]
        changes += self._attachment_changes(wanted, after, [])
        # No field of the volume tells its content, so a revert to the snapshot it stands on would show no difference.
        beside = ({"content": f"its own: {reason}"}, {"content": f"that of snapshot {snapshot['name']}"})
        return Plan(volume["name"], volume, after, changes, {"revert": {"needed": True, "because": reason}}, beside=beside)

    @staticmethod
    def _same_content(volume: dict[str, Any], snapshot: Mapping[str, Any], wanted: WantedVolume, world: World) -> tuple[bool, str]:
        """Tell whether the volume's content is known to be the snapshot's, and how that is known.

        The API compares no contents. What it tells is how many bytes an object has of its own (``storedSize``): a volume with none has what
        its parent has, and so on down the chain. Anything else may differ.
        """
        if wanted.revert_size and volume["size"] != snapshot["size"]:
            return False, f"its size is {format_size(volume['size'])}, the snapshot's {format_size(snapshot['size'])}"
        stored, name, steps = world.volume_space.get(volume["name"]), volume["parent"], 0
        if stored is None:
            return False, "StorPool did not say how much was written to it, so its content cannot be known to be equal"
        if stored:
            return False, f"{stored} bytes were written to it since its parent snapshot {name}; whether they differ cannot be known"
        while name != snapshot["name"]:
            if name is None or steps > 64:
                return False, f"it does not stand on {snapshot['name']}"
            if world.snapshot_space.get(name):
                return (
                    False,
                    f"{world.snapshot_space[name]} bytes were written between {snapshot['name']} and its parent {volume['parent']}",
                )
            name = (world.snapshots.get(name) or {}).get("parentName") or None
            steps += 1
        return True, f"it stands on {snapshot['name']} and nothing was written to it since"

    # -- after

    def predict(self, world: World, wanted: WantedVolume, plan: Plan) -> None:
        """Enter what ``plan`` leaves behind, for volumes that are based on it."""
        if plan.before:
            world.predicted[plan.before["name"]] = None
            world.predicted["~" + plan.before["global_id"]] = plan.after
        if plan.after and plan.after["name"]:
            world.predicted[plan.after["name"]] = plan.after

    def foresee(self, client: sp.StorPool, wanted: WantedVolume, plan: Plan, world: World) -> None:
        """Enter the volume as it will be, its attachments, and the snapshot that is kept of it."""
        before, after = plan.before, plan.after
        present = before and client.as_foreseen("volume", world.volumes[before["name"]])
        if present and any(change.action == "snapshot" for change in plan.changes):
            keep = wanted.keep_snapshot
            expiry = {"targetDeleteDate": int(time.time()) + keep["delete_after"]} if keep["delete_after"] else {}
            foresee_snapshot(client, present, time.time(), name=plan.notes["kept_snapshot"], tags=keep["tags"], **expiry)
        if before and (after is None or after["name"] != before["name"]):
            client.foresee("called", f"volume {before['name']}", after["name"] if after else "-")
        if after is None:
            client.foresee("volume", before["global_id"], None)
            client.foresee("attachment", before["global_id"], [])
            return
        document = {**after, "global_id": before["global_id"] if before else made_up_id()}
        fresh = {"creationTimestamp": int(time.time())} if present is None else {}
        own = NOTHING_STORED if present is None or plan.notes.get("revert", {}).get("needed") else {}
        between = _foresee_between(client, wanted.base_on, world) if present is None and wanted.base_on else {}
        client.foresee("volume", document["global_id"], {**fresh, **(present or {}), **raw_fields(document), **own, **between})
        foresee_attachments(client, document)

    def show(self, document: dict[str, Any]) -> dict[str, Any]:
        """Return a volume for the diff."""
        shown = {key: value for key, value in document.items() if key != "global_id"}
        shown["size"] = format_size(document["size"])
        shown["attachments"] = [f"{one['client']} {one['rights']}" for one in document["attachments"] or ()]
        if document["attachments"] is None:
            del shown["attachments"]
        return shown


def _stored(listing: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Return by name how many bytes each object has of its own."""
    return {item["name"]: item["storedSize"] for item in listing}


def _foresee_between(client: sp.StorPool, base: str, world: World) -> dict[str, Any]:
    """Enter the snapshot between a volume and its copy, on which both stand then (rule base-on); return what the copy has of it."""
    raw = world.volumes.get(base) or next((one for one in world.volumes.values() if "~" + one["globalId"] == base), None)
    if raw is None:  # made by the same task
        return {}
    source = client.as_foreseen("volume", raw)
    name = f"*{source['name']}@{made_up_id()}"  # the server's to choose
    foresee_snapshot(client, source, time.time(), name=name, transient=True)
    return {"parentName": name}


def _kept_name(wanted: WantedVolume, volume: Mapping[str, Any]) -> str:
    """Return the name of the snapshot to keep. One that follows from the volume lets a repeated run see that the snapshot is there."""
    suffix = f"-deleted-{volume['global_id'].rpartition('.')[2]}"
    return wanted.keep_snapshot["name"] or volume["name"].lstrip("~#")[: NAME_LENGTH - len(suffix)] + suffix


VOLUMES = Volumes()


def _twin(tags: Mapping[str, str], client: sp.StorPool, answer: Mapping[str, Any]) -> sp.Write | None:
    """Return what takes the new volume back when there is another one with its tags: nothing else keeps two tasks from making one each."""
    fits = [one["globalId"] for one in client.volumes() if tags.items() <= one["tags"].items()]
    mine = answer["globalId"]
    return sp.volume_delete(f"~{mine}") if any(one != mine for one in fits) else None
