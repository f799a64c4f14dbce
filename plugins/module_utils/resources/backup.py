# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 4: backups of volumes in another location, which ``storpool_snapshot`` manages besides local snapshots.

A backup gets no name from StorPool, so two tags are its identity. The other location exports it back, which is how it is seen from here
(``SnapshotsRemoteList``). While its data is on the way, the snapshot that it is made of is exported with ``backingUp`` (``ExportsList``).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from .. import _storpool as sp
from .._errors import ChangeRefused, OptionError
from .._foresight import made_up_id
from .._plan import Change, Plan, Wait
from ._shared import fetch_named, guard_cloudstack, named
from .retention import check_most, kept
from .series import volume_word

NAME_TAG = "ansible-backup"  # the name that the task gave the backup; all backups of a group have the same
VOLUME_TAG = "ansible-volume"  # the volume of a backup that is no group's
WAIT = 3600  # seconds for a copy, when the options say nothing
AT_ONCE = 1  # deleteAfter in seconds; 0 would leave the backup where it is, only unseen (SnapshotRemoteUnexportDesc)

# What a backup does not have: the copy lies in another cluster, where this one cannot change it.
_LOCAL_ONLY = (
    "global_id", "renamed_from", "bind", "delete_after", "delete_at", "template", "iops", "bw", "replication", "place_all", "place_head",
    "place_tail", "attach_to", "export_to", "series_tags",
)  # fmt: skip


def check(wanted: Any, options: Mapping[str, Any]) -> None:
    """Refuse options that a backup cannot have. :raises OptionError: names it."""
    for option in _LOCAL_ONLY:
        if options[option] is not None:
            raise OptionError(
                option, options[option], "is for local snapshots; a backup in another location cannot have it", item=wanted.label
            )
    if wanted.tags_exact:
        raise OptionError(
            "tags_mode", "exact", "is for local snapshots; the tags of a backup are those it was made with", item=wanted.label
        )
    if any(member.volume is None for member in wanted.members):
        raise OptionError("backup_to", wanted.backup_to, "needs volume or volumes, and a name that tells one backup from the next")


def observe(client: sp.StorPool, wanted: Sequence[Any], world: Any) -> None:
    """Read the backups and, for those to be made, the volumes; for those that are there, whether they are complete."""
    world.remote = client.remote_snapshots()
    present = [one for one in wanted if one.state == "present"]
    new = [one for one in present if not _found(one, world)]
    if len(new) < len(present):
        world.copying = _copying(client)
    if new:
        volumes = {member.volume for one in new for member in one.members}
        world.volumes.update(fetch_named(volumes, client.volume, client.volumes))
        world.locations = [one["name"] for one in client.locations()]


def plan(wanted: Any, world: Any) -> Plan:
    """Return what to do about one backup, of one volume or of a group, and about the series it belongs to."""
    found = [] if wanted.state == "pruned" else _found(wanted, world)
    before = _document(wanted, found, world) if found else None
    if wanted.state != "present":
        changes = _deletion(wanted, found) if found else []
        made = Plan(wanted.label, before, None, changes)
    elif found:
        made = _plan_present(wanted, found, before)
    else:
        made = _plan_create(wanted, world)
    return _with_retention(wanted, made, world) if wanted.rules else made


def foresee(client: sp.StorPool, wanted: Any, plan: Plan, world: Any) -> None:
    """Enter the backups that the other location will have, and those that will be gone."""
    for change in plan.changes:
        for item in change.write.body.get("remoteSnapshots", ()):
            client.foresee("remote", item["globalSnapshotId"], None)
    if plan.before is None and plan.after:
        for member in wanted.members:
            volume, identity = named(world.volumes, member.volume), made_up_id()
            row = {"name": f"~{identity}", "remoteId": identity, "location": wanted.backup_to, "tags": plan.after["tags"]}
            client.foresee(
                "remote", identity, {**row, "size": volume["size"], "onVolume": volume["name"], "creationTimestamp": int(wanted.now)}
            )


def _identity(wanted: Any) -> dict[str, str]:
    tags = {NAME_TAG: wanted.label}
    if not wanted.grouped:
        tags[VOLUME_TAG] = volume_word(wanted.members[0].volume)
    return tags


def declared(wanted: Any) -> tuple[Hashable, Sequence[str]]:
    """Return whose backups in which location are of one series, and the name of the one that is to be there."""
    return (wanted.backup_to, _identity(wanted).get(VOLUME_TAG)), [wanted.label] if wanted.state == "present" else []


def _ours(wanted: Any, remote: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the backups in the location that are of the same volume, or of a group."""
    kind = None if wanted.grouped else volume_word(wanted.members[0].volume)
    return [one for one in remote if one["location"] == wanted.backup_to and (one.get("tags") or {}).get(VOLUME_TAG) == kind]


def _found(wanted: Any, world: Any) -> list[Mapping[str, Any]]:
    return [one for one in _ours(wanted, world.remote) if (one.get("tags") or {}).get(NAME_TAG) == wanted.label]


def _copying(client: sp.StorPool) -> set[str]:
    """Return the global ids of backups whose data is on its way."""
    return {one["globalId"] for one in client.exports() if one.get("backingUp")}


def _document(wanted: Any, found: Sequence[Mapping[str, Any]], world: Any) -> dict[str, Any]:
    """Return a backup as results show it."""
    return {
        "name": wanted.label,
        "backup_to": wanted.backup_to,
        "volumes": [member.volume for member in wanted.members],
        "remote_ids": sorted(one["remoteId"] for one in found),
        "tags": dict(found[0].get("tags") or {}),
        "copying": any(one["remoteId"] in world.copying for one in found) if wanted.state == "present" else None,
    }


def _plan_present(wanted: Any, found: Sequence[Mapping[str, Any]], before: dict[str, Any]) -> Plan:
    if len(found) < len(wanted.members):
        raise ChangeRefused(
            f"of the backup {wanted.label} in {wanted.backup_to} only {len(found)} of {len(wanted.members)} volumes are there; "
            "what is backed up now would not be consistent with it",
            hint="delete what is left (state: absent with the same name and volumes), or give the backup another name",
        )
    lacking = {key: value for key, value in (wanted.tags or {}).items() if value != before["tags"].get(key, "")}
    if lacking:
        raise ChangeRefused(
            f"the backup {wanted.label} in {wanted.backup_to} has other tags ({', '.join(sorted(lacking))}) and cannot be changed",
            hint="leave tags as they were, or give the next backup another name",
        )
    if not before["copying"] or wanted.wait is False:
        return Plan(wanted.label, before, before)
    return Plan(wanted.label, before, {**before, "copying": False}, waits=[_copied(wanted)])


def _plan_create(wanted: Any, world: Any) -> Plan:
    if wanted.backup_to not in world.locations:
        known = ", ".join(sorted(world.locations)) or "none"
        raise OptionError("backup_to", wanted.backup_to, f"is no location that this cluster knows; there are: {known}")
    for member in wanted.members:
        volume = named(world.volumes, member.volume)
        if volume is None:
            raise OptionError("volumes" if wanted.grouped else "volume", member.volume, "is no volume of this cluster", item=wanted.label)
        about = {"name": volume["name"], "tags": volume.get("tags") or {}}
        guard_cloudstack("snapshot", about, ["create"], wanted.allow_cloudstack_objects, about="volume")
    tags = {**{key: value for key, value in (wanted.tags or {}).items() if value != ""}, **_identity(wanted)}
    volumes = [member.volume for member in wanted.members]
    if wanted.grouped:
        write, learn = sp.volumes_group_backup(volumes, wanted.backup_to, tags), {"backups": _learn_group}
    else:
        write, learn = sp.volume_backup(volumes[0], wanted.backup_to, tags), {"remoteId": _learn_one}
    waits = wanted.wait is not False
    after = {"name": wanted.label, "backup_to": wanted.backup_to, "volumes": volumes, "remote_ids": [], "tags": tags, "copying": not waits}
    return Plan(wanted.label, None, after, [Change("back up", write, learn)], waits=[_copied(wanted)] if waits else [])


def _learn_one(after: dict[str, Any], remote_id: str) -> None:
    after["remote_ids"] = [remote_id]


def _learn_group(after: dict[str, Any], backups: Mapping[str, Mapping[str, Any]]) -> None:
    after["remote_ids"] = sorted(one["remoteId"] for one in backups.values())


def _copied(wanted: Any) -> Wait:
    """Return the wait until the other location has everything: it lists the backup, and no export of it is still a backup in the making."""

    def done(client: sp.StorPool) -> bool:
        copying = _copying(client)
        there = [one for one in _ours(wanted, client.remote_snapshots()) if (one.get("tags") or {}).get(NAME_TAG) == wanted.label]
        return len(there) >= len(wanted.members) and not any(one["remoteId"] in copying for one in there)

    return Wait(f"the copy of {wanted.label} to {wanted.backup_to}", done, wanted.wait_timeout)


def _deletion(wanted: Any, found: Sequence[Mapping[str, Any]]) -> list[Change]:
    """Return the one call that lets go of backups and has the other location delete them."""
    items = [{"location": one["location"], "globalSnapshotId": one["remoteId"], "deleteAfter": AT_ONCE} for one in found]
    return [Change("delete", sp.snapshots_remote_unexport(items))]


def _with_retention(wanted: Any, made: Plan, world: Any) -> Plan:
    """Return ``made`` with the deletion that leaves of the series only what the rules keep; a group's backups go together."""
    expression = wanted.pattern.expression("" if wanted.grouped else volume_word(wanted.members[0].volume))
    series: dict[str, list[Mapping[str, Any]]] = {}
    for one in _ours(wanted, world.remote):
        name = (one.get("tags") or {}).get(NAME_TAG, "")
        if expression.fullmatch(name):
            series.setdefault(name, []).append(one)
    moments = {name: max(one["creationTimestamp"] for one in found) for name, found in series.items()}
    creating = wanted.state == "present" and made.before is None
    before = sorted(moments)
    if creating:
        moments[wanted.label] = max(int(wanted.now), *moments.values(), 0)
    reasons = kept(moments.items(), wanted.rules, wanted.zone, wanted.spared)
    deleted = sorted((name for name in series if name not in reasons), key=lambda name: (moments[name], name))
    check_most(wanted.label, deleted, wanted.max_deletes)
    changes = list(made.changes)
    if deleted:
        changes += [
            replace(one, action="delete old backups") for one in _deletion(wanted, [one for name in deleted for one in series[name]])
        ]
    notes = {**made.notes, "retention": {"kept": reasons, "deleted": deleted, "held": {}}}
    return replace(made, changes=changes, notes=notes, beside=({"series": before}, {"series": sorted({*moments} - {*deleted})}))
