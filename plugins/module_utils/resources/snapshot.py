# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 4: StorPool snapshots: of one volume, of a consistent group, and the series that a schedule makes.

A snapshot is found by its name or global id, so whoever lost an answer finds what it did by looking again. Everything the planner predicts
follows the rules of the API reference (section 4); the rule's id stands where it matters.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

from .. import _storpool as sp
from .._errors import ChangeRefused, CollectionError, OptionError
from .._foresight import made_up_id
from .._plan import Change, Plan
from .._units import format_size, limit_to_api, parse_volume_name
from . import backup
from ._shared import (
    PLACES,
    POLICY,
    Registered,
    address_of,
    check_single,
    fetch_named,
    foresee_attachments,
    foresee_no_snapshot,
    foresee_snapshot,
    guard_cloudstack,
    index_attachments,
    name_shared,
    named,
    raw_fields,
    reassignment,
    tag_changes,
    template_gives,
    with_tags,
)
from .retention import spared_names
from .snapshot_removal import doomed, merged, removal, with_retention
from .snapshot_wanted import NEVER, Member, WantedSnapshot, parse_snapshot
from .snapshot_world import World, index_exports, snapshot_object


class Snapshots:
    """The snapshots of a cluster, as the runner manages them."""

    kind = "snapshot"

    def parse(self, options: Mapping[str, Any], now: float) -> WantedSnapshot:
        """Return what is wanted of one snapshot, group or series. :raises OptionError: names the option that cannot be meant."""
        return parse_snapshot(options, now)

    # -- observe

    def observe(self, client: sp.StorPool, wanted: Sequence[WantedSnapshot]) -> World:
        """Read the snapshots, and of the rest only what these make necessary."""
        only = wanted[0].by_key() if len(wanted) == 1 and not client.connection.multi_cluster else None
        local = [one for one in wanted if not one.backup_to]
        if only is not None:
            found = client.snapshot(only)
            world = World({found["name"]: found} if found else {})
        else:
            world = World(sp.by_name(client.snapshots()) if local else {})
        volumes: set[str] = set()
        attached = exported = templates = False
        for one in self.spread(local, world):
            missing = False
            for member, raw in self._members(one, world):
                if raw is None:
                    missing = missing or one.state == "present"
                    if one.state == "present" and member.volume:
                        volumes.add(member.volume)
                        if client.only_reads:
                            volumes.add(member.name)  # a volume of that name is in the way
                else:
                    if client.only_reads and one.renamed_from and one.state == "present" and raw["name"] != member.name:
                        volumes.add(member.name)
                    attached = attached or one.state == "absent" or one.attach is not None
                    exported = exported or one.state == "absent" or one.exports is not None
                templates = templates or (one.template is not None and (raw is None or raw["templateName"] != one.template))
            if one.rules and doomed(one, world, missing)[0]:
                attached = exported = True
        if volumes:
            world.volumes = fetch_named(volumes, client.volume, client.volumes)
        if attached:
            world.attachments = index_attachments(client.attachments())
        if exported:
            world.exports = index_exports(client.exports())
        if any(self._exports_to_make(one, raw, world) for one in local for _member, raw in self._members(one, world)):
            world.locations = [one["name"] for one in client.locations()]
        if templates:
            world.templates = sp.by_name(client.templates())
        if len(local) < len(wanted):
            backup.observe(client, [one for one in wanted if one.backup_to], world)
        if client.only_reads:
            self._look_at_registered(client, [one for one in local if one.state == "present"], world)
        return world

    def _look_at_registered(self, client: sp.StorPool, wanted: Sequence[WantedSnapshot], world: World) -> None:
        """Look whether there are the clients and placement groups that snapshots are to get; those that one has already are there."""
        clients = {number for one in wanted for number in one.attach or ()}
        groups = set()
        for one in wanted:
            for _member, raw in self._members(one, world):
                have = raw or {}
                groups |= {one.policy[option] for option in PLACES if one.policy.get(option) not in (None, have.get(POLICY[option]))}
        world.registered = Registered.read(client, clients, world.attachments, groups)

    @staticmethod
    def _members(wanted: WantedSnapshot, world: World) -> list[tuple[Member, dict[str, Any] | None]]:
        """Return the members of what is declared, each with the API's snapshot that is there for it."""
        if wanted.state == "pruned":
            return []
        if wanted.global_id:
            return [(wanted.members[0], world.snapshot("~" + wanted.global_id))]
        found = [(member, world.snapshot(member.name)) for member in wanted.members]
        if wanted.renamed_from and found[0][1] is None:
            return [(found[0][0], world.snapshot(wanted.renamed_from))]
        return found

    @staticmethod
    def _exports_to_make(wanted: WantedSnapshot, raw: Mapping[str, Any] | None, world: World) -> list[str]:
        if wanted.state != "present" or not wanted.exports:
            return []
        have = world.exports.get(raw["globalId"], {}) if raw and world.exports else {}
        return [location for location in wanted.exports if have.get(location, True)]

    def spread(self, wanted: Sequence[WantedSnapshot], world: World) -> Sequence[WantedSnapshot]:
        """Return what is declared, with the names that retention spares: those that the task itself declares."""
        if not any(one.rules for one in wanted):
            return wanted
        spared = spared_names([backup.declared(one) if one.backup_to else (None, self._declared(one, world)) for one in wanted])
        return [replace(one, spared=one.spared | names) if one.rules else one for one, names in zip(wanted, spared)]

    def _declared(self, wanted: WantedSnapshot, world: World) -> Iterator[str | None]:
        """Yield the names that are to be there, and those under which they are there now."""
        if wanted.state == "present":
            yield wanted.renamed_from
            for member, raw in self._members(wanted, world):
                yield member.name
                yield raw and raw["name"]

    # -- plan

    def plan(self, wanted: WantedSnapshot, world: World) -> Plan:
        """Return what to do about one snapshot, group or series."""
        try:
            if wanted.backup_to:
                return backup.plan(wanted, world)
            found = self._members(wanted, world)
            for _member, raw in found:
                check_single("snapshot", raw or {})
            if wanted.renamed_from and all(world.snapshot(name) is not None for name in (wanted.name, wanted.renamed_from)):
                # Deleting one now would have the next run delete the other.
                raise ChangeRefused(
                    f"both {wanted.name} and {wanted.renamed_from} exist", hint="delete one of them, or leave renamed_from out"
                )
            if wanted.state == "present":
                plan = self._plan_present(wanted, found, world)
                if plan.changes:  # last, because the real run leaves this to the server
                    world.registered.check(wanted)
            else:
                plan = self._plan_absent(wanted, found, world)
            return with_retention(wanted, plan, world) if wanted.rules else plan
        except CollectionError as exc:
            return Plan(wanted.label, None, None, refused=exc)

    def _plan_present(self, wanted: WantedSnapshot, found: list[tuple[Member, dict[str, Any] | None]], world: World) -> Plan:
        missing = [member for member, raw in found if raw is None]
        if len(missing) == len(found):
            return self._plan_create(wanted, world)
        if missing:
            there = ", ".join(member.name for member, raw in found if raw is not None)
            gone = ", ".join(member.volume for member in missing)
            raise ChangeRefused(
                f"of the group {wanted.label} only {there} exists; a snapshot of {gone} taken now would not be consistent with it",
                hint="delete what is left of the group (state: absent with the same name and volumes), or give the group another name",
            )
        changes: list[Change] = []
        before, after = [], []
        for _member, raw in found:
            document = self._shown(wanted, raw, world)
            made, changed = self._bring(wanted, document, world)
            if made:
                guard_cloudstack("snapshot", document, [change.action for change in made], wanted.allow_cloudstack_objects)
            changes += self._of(wanted, document, made)
            before.append(document)
            after.append(changed)
        return Plan(wanted.label if wanted.grouped else after[0]["name"], self._whole(wanted, before), self._whole(wanted, after), changes)

    @staticmethod
    def _shown(wanted: WantedSnapshot, raw: Mapping[str, Any], world: World) -> dict[str, Any]:
        """Return a snapshot as results show it; attachments and exports only where the options speak of them, on every run alike."""
        absent = wanted.state == "absent"
        attachments = world.attachments if absent or wanted.attach is not None else None
        return snapshot_object(raw, attachments, world.exports if absent or wanted.exports is not None else None)

    @staticmethod
    def _whole(wanted: WantedSnapshot, documents: list[dict[str, Any]]) -> dict[str, Any]:
        return {"name": wanted.label, "snapshots": documents} if wanted.grouped else documents[0]

    @staticmethod
    def _of(wanted: WantedSnapshot, document: Mapping[str, Any], changes: list[Change]) -> list[Change]:
        """Return the changes with the name of their snapshot in their words, where a plan has several snapshots."""
        if not wanted.grouped and not (wanted.rules and document["name"] != wanted.name):
            return changes
        return [replace(change, action=f"{change.action} ({document['name']})") for change in changes]

    def _plan_create(self, wanted: WantedSnapshot, world: World) -> Plan:
        if wanted.global_id:
            raise ChangeRefused(
                f"there is no snapshot with global_id {wanted.global_id}",
                hint="a global id cannot be chosen; give name and volume to take one",
            )
        if wanted.members[0].volume is None:
            raise OptionError("volume", None, "is needed to take the snapshot: there is none of this name", item=wanted.label)
        documents, items, seen = [], [], {}
        for member in wanted.members:
            volume = named(world.volumes, member.volume)
            if volume is None:
                raise OptionError(
                    "volumes" if wanted.grouped else "volume", member.volume, "is no volume of this cluster", item=wanted.label
                )
            if seen.setdefault(volume["globalId"], member) is not member:
                raise OptionError("volumes", member.volume, f"is the same volume as {seen[volume['globalId']].volume}")
            parse_volume_name(member.name)  # a new name has no "@" (VolumeSnapshotDesc)
            about = {"name": volume["name"], "tags": volume.get("tags") or {}}
            guard_cloudstack("snapshot", about, ["create"], wanted.allow_cloudstack_objects, about="volume")
            documents.append(self._new(wanted, member.name, volume, world))
            items.append({"volume": member.volume, "name": member.name})
        create = self._create_group(wanted, items) if wanted.grouped else self._create_one(wanted, items[0], documents[0])
        changes, after = [create], []
        for document in documents:
            made, changed = self._bring(wanted, document, world, fresh=True)
            changes += self._of(wanted, document, made)
            after.append(changed)
        # Last, because the real run leaves this to the server: all else is said first, as there.
        for member in wanted.members:
            _check_free(member.name, world)
        return Plan(wanted.label, None, self._whole(wanted, after), changes)

    @staticmethod
    def _new(wanted: WantedSnapshot, name: str, volume: Mapping[str, Any], world: World) -> dict[str, Any]:
        """Return the snapshot as it is when just taken: shape and policy are the volume's, tags its own (rule tags-not-inherited)."""
        raw = {
            **volume,
            "name": name,
            "globalId": None,
            "parentName": world.parents.get(volume["name"], volume["parentName"]),
            "onVolume": volume["name"],
            "tags": wanted.tags,
            "bound": False,
            "creationTimestamp": None,
            "recoveringFromRemote": False,
        }
        document = snapshot_object(raw)
        if wanted.exports is not None:
            document["exported_to"] = []
        if wanted.attach is not None:
            document["attachments"] = []
        return document

    @staticmethod
    def _create_one(wanted: WantedSnapshot, item: Mapping[str, Any], document: dict[str, Any]) -> Change:
        """Return the call that takes one snapshot, and enter in ``document`` what it sets."""
        body: dict[str, Any] = {"name": item["name"]}
        if document["tags"]:
            body["tags"] = document["tags"]
        if wanted.bind:
            body["bind"] = document["bound"] = True
        if wanted.delete_after:
            body["deleteAfter"] = wanted.delete_after
            document["delete_at"] = int(wanted.now) + wanted.delete_after
        if wanted.delete_at:
            body["targetDeleteDate"] = document["delete_at"] = wanted.delete_at
        return Change("create", sp.snapshot_create(item["volume"], body), {"snapshotGlobalId": "global_id"})

    @staticmethod
    def _create_group(wanted: WantedSnapshot, items: list[dict[str, Any]]) -> Change:
        """Return the one call that takes all (rule group-snapshot). Binding and date have no place in it and follow."""

        def learn(after: dict[str, Any], answer: list[dict[str, Any]]) -> None:
            ids = {one.get("snapshot"): one["snapshotGlobalId"] for one in answer}
            for document in after["snapshots"]:
                document["global_id"] = ids.get(document["name"])

        tags = {key: value for key, value in (wanted.tags or {}).items() if value != ""}
        return Change("create", sp.snapshot_create_group(items, tags), {"snapshots": learn})

    def _bring(
        self, wanted: WantedSnapshot, document: dict[str, Any], world: World, fresh: bool = False
    ) -> tuple[list[Change], dict[str, Any]]:
        """Return the changes that make one snapshot as declared, and the snapshot afterwards."""
        body: dict[str, Any] = {}
        after = dict(document)
        if not wanted.grouped and wanted.name and wanted.name != document["name"]:
            body["rename"] = after["name"] = parse_volume_name(wanted.name)
            _check_free(wanted.name, world)
        if wanted.template and wanted.template != document["template"]:
            given = template_gives(wanted.template, world.templates)
            body["template"] = after["template"] = wanted.template
            after.update({key: given[key] for key in POLICY if given[key] is not None})
        for key, value in wanted.policy.items():
            if after[key] != value:
                body[POLICY[key]] = limit_to_api(value)
                after[key] = value
        if wanted.tags is not None:
            tags = tag_changes(document["tags"], wanted.tags, wanted.tags_exact)
            if tags:
                body["tags"] = tags
                after["tags"] = with_tags(document["tags"], tags)
        if wanted.bind is not None and wanted.bind != document["bound"]:
            body["bind"] = after["bound"] = wanted.bind
        body.update(self._expiry(wanted, after, fresh))
        changes = []
        if body:
            changes.append(Change("update " + ", ".join(body), sp.snapshot_update(address_of(document), body)))
        changes += self._export_changes(wanted, after, world)
        if wanted.attach is not None:
            made, after["attachments"] = reassignment("snapshot", after, wanted.attach, wanted)
            changes += made
        return changes, after

    @staticmethod
    def _expiry(wanted: WantedSnapshot, after: dict[str, Any], fresh: bool) -> dict[str, Any]:
        """Return what to send about the date of deletion, and enter it in ``after``. A date that is set moves only when asked."""
        present = after["delete_at"]
        if wanted.delete_at is not None and wanted.delete_at != (present or NEVER):
            after["delete_at"] = wanted.delete_at or None
            return {"targetDeleteDate": wanted.delete_at}
        if wanted.delete_after == NEVER and present:
            after["delete_at"] = None
            return {"deleteAfter": NEVER}
        if wanted.delete_after and (not present or (wanted.renew_expiry and not fresh)):
            after["delete_at"] = int(wanted.now) + wanted.delete_after
            return {"deleteAfter": wanted.delete_after}
        return {}

    @staticmethod
    def _export_changes(wanted: WantedSnapshot, after: dict[str, Any], world: World) -> list[Change]:
        if wanted.exports is None:
            return []
        name, present = address_of(after), after["exported_to"]
        new = [location for location in wanted.exports if location not in present]
        for location in new:
            if location not in world.locations:
                known = ", ".join(sorted(world.locations)) or "none"
                raise OptionError("export_to", location, f"is no location that this cluster knows; there are: {known}")
        changes = [Change(f"export to {location}", sp.snapshot_export(name, location)) for location in new]
        old = [location for location in present if wanted.exports_exact and location not in wanted.exports]
        changes += [Change(f"unexport from {location}", sp.snapshot_unexport(name, location, wanted.force)) for location in old]
        after["exported_to"] = sorted({*present, *new} - {*old})
        return changes

    # -- absent

    def _plan_absent(self, wanted: WantedSnapshot, found: list[tuple[Member, dict[str, Any] | None]], world: World) -> Plan:
        changes: list[Change] = []
        documents = [self._shown(wanted, raw, world) for _member, raw in found if raw is not None]
        for document in documents:
            changes += self._of(wanted, document, removal(wanted, document, world))
        if not documents:
            return Plan(wanted.label, None, None)
        name = wanted.label if wanted.grouped else documents[0]["name"]
        waits = [merged(wanted, [document["global_id"] for document in documents])] if wanted.wait else []
        return Plan(name, self._whole(wanted, documents), None, changes, waits=waits)

    # -- after

    def predict(self, world: World, wanted: WantedSnapshot, plan: Plan) -> None:
        """Enter what ``plan`` leaves behind, for series and snapshots of the same volume that are planned next."""
        if wanted.backup_to:
            return
        world.gone.update(plan.notes.get("retention", {}).get("deleted", ()))
        if plan.before is None and plan.after is not None:
            for document in plan.after.get("snapshots") or [plan.after]:
                world.fresh[document["name"]] = (int(wanted.now), document["tags"])
                world.parents[document["on_volume"]] = document["name"]
        elif plan.after is None and plan.before is not None:
            world.gone.update(document["name"] for document in plan.before.get("snapshots") or [plan.before])

    def foresee(self, client: sp.StorPool, wanted: WantedSnapshot, plan: Plan, world: World) -> None:
        """Enter the snapshots that will be there, and those that will be gone."""
        if wanted.backup_to:
            backup.foresee(client, wanted, plan, world)
            return
        before, after = (each and (each.get("snapshots") or [each]) for each in (plan.before, plan.after))
        names = plan.notes.get("retention", {}).get("deleted", ())
        for raw in map(world.snapshot, [*names, *(one["name"] for one in (before if before and not after else ()))]):
            if raw:
                foresee_no_snapshot(client, raw)
        for document in after or ():
            identity = document["global_id"] or made_up_id()
            document = {**document, "global_id": identity}
            fields = {**raw_fields(document), "bound": document["bound"], "targetDeleteDate": document["delete_at"] or 0}
            if before:
                if not wanted.grouped and before[0]["name"] != document["name"]:
                    client.foresee("called", f"snapshot {before[0]['name']}", document["name"])
                client.foresee("snapshot", identity, {**client.as_foreseen("snapshot", world.snapshot("~" + identity)), **fields})
            else:
                foresee_snapshot(client, client.as_foreseen("volume", world.volumes[document["on_volume"]]), wanted.now, **fields)
            foresee_attachments(client, document, snapshot=True)
            if document["exported_to"] is not None:
                client.foresee("export", identity, [{"globalId": identity, "location": place} for place in document["exported_to"]])

    def show(self, document: dict[str, Any]) -> dict[str, Any]:
        """Return a snapshot or a group for the diff."""
        if "snapshots" in document:
            return {"name": document["name"], "snapshots": [self.show(one) for one in document["snapshots"]]}
        if "backup_to" in document:
            return {key: value for key, value in document.items() if key != "remote_ids"}
        shown = {key: value for key, value in document.items() if value is not None and key not in ("global_id", "created", "recovering")}
        shown["size"] = format_size(document["size"])
        if document["delete_at"]:
            shown["delete_at"] = datetime.fromtimestamp(document["delete_at"], timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        if document["attachments"] is not None:
            shown["attachments"] = [f"{one['client']} {one['rights']}" for one in document["attachments"]]
        return shown


def _check_free(name: str, world: World) -> None:
    """:raises ChangeRefused: a volume has the name (rule names-shared). Only check mode reads enough to know; else the server says it."""
    if name in world.volumes:
        raise name_shared("volume", name)


SNAPSHOTS = Snapshots()
