# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 4: snapshots of volumes of CloudStack, on StorPool and on secondary storage, in one zone or in several.

Facts: reference sheet cloudstack-storpool, sections 0.3 and 5.5. What is declared and what is read for it: :mod:`.cloud_snapshot_world`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Callable

from .._cloudstack import CloudStack, Command
from .._errors import ChangeRefused, CollectionError, DeadlineExceeded, OptionError
from .._plan import Change, JointWait, Plan, Wait
from .._units import format_size, parse_duration
from ._both_layers import LUKS_HEADER, declarable
from ._cloud import PROOF, parse_owner, storpool_address, twin_of
from ._shared import for_diff, quiet
from .cloud_series import (
    KEEPING,
    LATER,
    STOPPED,
    changed_since,
    parse_naming,
    shown_revert,
    with_retention,
    with_vm_stopped,
)
from .cloud_snapshot_world import (
    BACKED_UP,
    BACKUP,
    BYPASS,
    BYPASS_UNTIL,
    ERROR,
    IMAGE,
    LOCATION,
    PRIMARY,
    READY,
    REPLICATION,
    UNDER_WAY,
    WantedSnapshot,
    World,
    backs_up,
    find,
    observe,
    rows_of,
    volume_of,
)
from .retention import spared_names
from .series import parse_zone

WAIT = "6h"  # as long as CloudStack gives a backup (backup.snapshot.wait)
_RESTART = "and restart the management servers"

_CREATE_HINTS = (
    ("active snapshot task", "wait until the other snapshot of this VM is done, and run the task again"),
    ("active vm snapshot", "wait until the VM snapshot of this VM is done, and run the task again"),
)
_DELETE_HINTS = (("was exported", "CloudStack lets go of its copy in the other location within minutes; run the task again then"),)
# Up to 4.20 the deletion of what StorPool does not have any more fails, but leaves no record of it for the next attempt (section 5.5).
_ALREADY_GONE = "clean-up Storpool snapshot"


class CloudSnapshots:
    """Snapshots of volumes, as the runner manages them."""

    kind = "snapshot"

    # -- desired

    def parse(self, options: Mapping[str, Any], now: float) -> WantedSnapshot:
        """Return what is wanted of one snapshot or series. :raises OptionError: names the option that cannot be meant."""
        volume, identity = (options[name] and options[name].strip() for name in ("volume", "id"))
        state, zone = options["state"], parse_zone(options["timezone"])
        if not volume and not (identity and state == "absent"):
            raise OptionError("volume", options["volume"], "is needed: the name or id of the volume")
        naming = parse_naming(options, now, zone, ("present", "reverted", "absent"), "its snapshots are told apart by their volume")
        label = f"{volume}/{naming.name or identity}" if volume else str(identity)
        wanted = WantedSnapshot(label, state, parse_owner(options), volume, identity, now, zone, naming)
        wanted.backup, wanted.stop_vm, wanted.verify = options["backup"], bool(options["stop_vm"]), options["verify"]
        wanted.wait = parse_duration(options["wait_timeout"], "wait_timeout")
        wanted.zones = tuple(dict.fromkeys(str(one).strip() for one in options["zones"] or ()))
        if not all(wanted.zones):
            raise OptionError("zones", options["zones"], "has an empty name in it", item=label)
        if wanted.stop_vm and state != "reverted":
            raise OptionError("stop_vm", True, "is for state: reverted", item=label)
        if wanted.zones and state not in ("present", "absent"):
            raise OptionError("zones", list(wanted.zones), "is for state: present and absent", item=label)
        if wanted.backup is not None and state != "present":
            raise OptionError("backup", wanted.backup, "is for state: present", item=label)
        return wanted

    # -- observe

    def observe(self, client: CloudStack, wanted: Sequence[WantedSnapshot]) -> World:
        """Read what the plans of these snapshots need; see :mod:`.cloud_snapshot_world`."""
        return observe(client, wanted)

    def spread(self, wanted: Sequence[WantedSnapshot], world: World) -> list[WantedSnapshot]:
        """Let those of volumes of one VM follow each other, because CloudStack takes one at a time; and stop and start the VM once."""
        volumes = [quiet(volume_of, one, world) or {} for one in wanted]
        names = [one.name or (quiet(find, one, world) or {}).get("name") if one.state in KEEPING else None for one in wanted]
        spared = spared_names([(volume.get("id"), [name]) for volume, name in zip(volumes, names)])
        last: dict[str, str] = {}
        found: list[WantedSnapshot] = []
        together: dict[str, dict[int, bool]] = {}  # of a VM, the positions of those that may stop it, and whether they have to
        for position, one in enumerate(wanted):
            machine = volumes[position].get("virtualmachineid")
            one = replace(one, spared=spared[position])
            if machine and one.state in KEEPING:
                one = replace(one, follows=last.get(machine))
                last[machine] = one.names()[0]
                if one.stop_vm:
                    plan = self.plan(one, world)
                    if not plan.refused:
                        together.setdefault(machine, {})[position] = plan.notes["revert"]["needed"]
            found.append(one)
        for needed in together.values():
            positions = [position for position, needs in needed.items() if needs] or list(needed)[-1:]
            for position in needed:
                found[position] = replace(found[position], stops=position == positions[0], starts=position == positions[-1])
        return found

    # -- plan

    def plan(self, wanted: WantedSnapshot, world: World) -> Plan:
        """Return what it takes to have the snapshot, or the series, as declared. Pure."""
        present = None
        try:
            volume = volume_of(wanted, world)
            present = find(wanted, world)
            if wanted.state == "absent":
                return self._plan_absent(wanted, present, world)
            if wanted.state == "reverted":
                return self._plan_reverted(wanted, volume, present, world)
            if volume is None:
                raise OptionError("volume", wanted.volume, "does not exist in CloudStack")
            if wanted.state == "pruned":
                plan = Plan(wanted.label, None, None)
            elif present is None:
                plan = self._plan_new(wanted, volume, world)
            else:
                plan = self._plan_present(wanted, volume, present, world)
            if not wanted.naming.rules:
                return plan
            return with_retention(wanted, plan, rows_of(wanted, world), BACKED_UP, ERROR, partial(_removal, wanted, world))
        except CollectionError as exc:
            document = present and _shown(present, world)
            return Plan(wanted.label, document, document, refused=exc)

    # present

    def _plan_new(self, wanted: WantedSnapshot, volume: Mapping[str, Any], world: World) -> Plan:
        if wanted.id:
            raise OptionError("id", wanted.id, f"is the id of no snapshot of volume {volume['name']}")
        self._check_volume(wanted, volume)
        kept, because = backs_up(world)
        self._check_settings(wanted, volume, kept, world)
        after: dict[str, Any] = {
            "id": None, "name": wanted.name, "volume": volume["name"], "state": BACKED_UP, "type": "MANUAL", "size": volume.get("size"),
            "account": volume.get("account"), "project": volume.get("project"), "zones": [volume.get("zonename")], "backup": kept,
        }  # fmt: skip
        notes: dict[str, Any] = {"storpool": None, "differences": [], "backup": {"done": kept, "because": because}}
        copy = self._copy(wanted, volume, {volume.get("zoneid")}, kept, after, world)

        def learn(document: dict[str, Any], made: Mapping[str, Any]) -> None:
            document.update(id=made["id"], state=made.get("state", BACKED_UP), size=made.get("virtualsize", document["size"]))
            if copy:
                copy.write.params["id"] = made["id"]

        # What could not be made is in CloudStack's way of making it again, and holds nothing.
        failed = [one for one in rows_of(wanted, world) if one["state"] == ERROR and one["name"] == wanted.name]
        changes = [_removal(wanted, world, one, "delete (failed)") for one in failed]
        params = {"volumeid": volume["id"], "name": wanted.name}
        create = Command("createSnapshot", params, wanted.label, waits=wanted.wait, hints=_CREATE_HINTS)
        twin = twin_of("listSnapshots", "snapshot", "deleteSnapshot", wanted.label, ("volumeid",), volumeid=volume["id"])
        changes += [Change("create", create, {"snapshot": learn}, twin=twin), *([copy] if copy else [])]
        return Plan(wanted.label, None, after, changes, notes, waits=self._waits(wanted, volume, after, notes, world))

    @staticmethod
    def _check_volume(wanted: WantedSnapshot, volume: Mapping[str, Any]) -> None:
        """:raises ChangeRefused: no snapshot can be taken of the volume as it is."""
        about = f"no snapshot can be taken of volume {volume['name']}"
        if volume.get("state") != READY:
            born = "attach it once; it is on StorPool only then" if volume.get("state") == "Allocated" else LATER
            raise ChangeRefused(f"{about}: it is {volume.get('state')}", hint=born)
        if volume.get("storage") and storpool_address(volume.get("path")) is None:  # only root admins see where it lies
            raise ChangeRefused(
                f"{about}: it is not on StorPool but on {volume.get('storage')}",
                hint="move it to a StorPool pool first (cloudstack_volume, storage_pool)",
            )
        if volume.get("vmstate") in ("Destroyed", "Expunging"):
            raise ChangeRefused(
                f"{about}: its VM {volume.get('vmname')} is {volume['vmstate']}", hint="recover the VM, or detach the volume"
            )

    @staticmethod
    def _check_settings(wanted: WantedSnapshot, volume: Mapping[str, Any], kept: bool, world: World) -> None:
        """:raises ChangeRefused: version and settings do not allow what is declared."""
        running = bool(volume.get("virtualmachineid")) and volume.get("vmstate") not in (None, STOPPED)
        if running and not world.capabilities.get("kvmsnapshotenabled"):
            raise ChangeRefused(
                f"VM {volume.get('vmname')} is {volume['vmstate']}, and kvm.snapshot.enabled is false: CloudStack takes no snapshots of "
                f"volume {volume['name']} then",
                hint=f"set kvm.snapshot.enabled to true (cloudstack_settings) {_RESTART}, or stop the VM",
            )
        old = world.version < BYPASS_UNTIL
        if running and volume.get("encryptformat"):
            # From 4.21 on the gate is the other way round (section 0.3).
            if old and world.settings.get(BYPASS) != "true":
                raise _encrypted(volume, f"{BYPASS} is false", f"set {BYPASS} to true (cloudstack_settings)")
            if not old and world.settings.get(BACKUP) == "false":
                raise _encrypted(volume, f"{BACKUP} is false", f"set {BACKUP} to true (cloudstack_settings) {_RESTART}")
        if wanted.backup is None or wanted.backup == kept:
            return
        _kept, because = backs_up(world)
        if wanted.backup:
            bypass = old and world.settings.get(BYPASS) == "true"
            hint = f"set {BYPASS} to false" if bypass else f"set {BACKUP} to true {_RESTART}"
        else:
            hint = f"set {BYPASS} to true" if old else f"set {BACKUP} to false {_RESTART}"
        would = "would not be copied" if wanted.backup else "would be copied"
        raise ChangeRefused(
            f"snapshot {wanted.label} {would} to secondary storage, because {because}; declared is backup: {str(wanted.backup).lower()}",
            hint=f"{hint} (cloudstack_settings), or leave backup out",
        )

    def _plan_present(self, wanted: WantedSnapshot, volume: Mapping[str, Any], present: Mapping[str, Any], world: World) -> Plan:
        shown = _shown(present, world)
        after, notes, warnings = dict(shown), {"storpool": None, "differences": []}, []
        if present["state"] != BACKED_UP:
            if present["state"] not in UNDER_WAY:
                raise ChangeRefused(f"snapshot {wanted.label} is {present['state']}", hint=LATER)
            copy = self._copy(wanted, volume, {volume.get("zoneid")}, None, after, world, present)
            waits = self._waits(wanted, volume, after, notes, world)
            if copy:
                copy = replace(copy, first=waits[0])
            return Plan(wanted.label, shown, after, [copy] if copy else [], notes, waits=waits)
        kept = _has_backup(present, world)
        if kept is not None:
            notes["backup"] = _told(kept)
        if wanted.backup is not None and kept != wanted.backup:
            has = "has a copy" if kept else "has no copy"
            raise ChangeRefused(
                f"snapshot {wanted.label} {has} on secondary storage, and declared is backup: {str(wanted.backup).lower()}",
                hint="that is decided when it is taken: delete it (state: absent) and take another",
            )
        if wanted.verify != "off":
            notes["storpool"] = _on_storpool(present, world)
            notes["differences"] = self._compared(wanted, volume, present, world)
        if notes["differences"]:
            text = f"snapshot {wanted.label} is not the same in CloudStack and on StorPool: {'; '.join(notes['differences'])}"
            if wanted.verify == "strict":
                raise ChangeRefused(text, hint="delete it (state: absent) and take another; verify: warn goes on without")
            warnings.append(text)
        copy = self._copy(wanted, volume, {one.get("zoneid") for one in world.rows(present["id"])}, kept, after, world, present)
        waits = self._waits(wanted, volume, after, notes, world) if copy else []
        return Plan(wanted.label, shown, after, [copy] if copy else [], notes, warnings, waits=waits)

    @staticmethod
    def _compared(wanted: WantedSnapshot, volume: Mapping[str, Any], row: Mapping[str, Any], world: World) -> list[str]:
        """Return what StorPool does not hold as CloudStack says; nothing for a snapshot that is on secondary storage alone."""
        on_pool = [one for one in world.rows(row["id"], PRIMARY) if one.get("zoneid") == volume.get("zoneid")]
        if not on_pool and world.rows(row["id"]):
            return []
        there = (world.storpool or {}).get(row["id"])
        if there is None:
            return [f"StorPool has no snapshot with the tags cs=snapshot and uuid={row['id']}"]
        found = []
        if there["size"] != row.get("virtualsize") + (LUKS_HEADER if volume.get("encryptformat") else 0):
            found.append(f"its size is {row.get('virtualsize')} in CloudStack and {there['size']} on StorPool")
        tags = {key: there["tags"].get(key) or None for key in ("cs", "uuid")}
        for key, value in (("cs", "snapshot"), ("uuid", row["id"])):
            if tags[key] != value:
                found.append(f"tag {key} is {tags[key]} on StorPool and should be {value}")
        return found

    def _waits(
        self, wanted: WantedSnapshot, volume: Mapping[str, Any], after: dict[str, Any], notes: dict[str, Any], world: World
    ) -> list[Wait | JointWait]:
        """Return what follows the writes: until it is BackedUp, until its copies are complete, and the proof on StorPool."""

        def done(client: CloudStack) -> bool:
            if after["state"] == BACKED_UP:
                return True
            rows = client.list("listSnapshots", "snapshot", id=after["id"], listall=True)
            after["state"] = rows[0]["state"] if rows else "not listed"
            if after["state"] not in (BACKED_UP, *UNDER_WAY):
                raise ChangeRefused(
                    f"snapshot {wanted.label} is {after['state']} now: CloudStack could not finish it",
                    hint="the log of the management server says why; the next run takes it anew",
                )
            return after["state"] == BACKED_UP

        def explain(client: CloudStack) -> str:
            rows = client.list("listSnapshots", "snapshot", id=after["id"], listall=True)
            lost = "" if any(one.get("jobid") for one in rows) else "; no job is at it any more (was a management server restarted?)"
            return f"it is {after['state']}{lost}"

        planned = dict(notes["backup"]) if "backup" in notes else None

        def incomplete(now: World) -> str | None:
            rows = [one for one in now.rows(after["id"]) if one.get("datastorestate") not in (None, READY)]
            return f"the copy of snapshot {wanted.label} in zone {rows[0].get('zonename')} is {rows[0]['datastorestate']}" if rows else None

        def missing(now: World) -> str | None:
            row = next((one for one in now.snapshots[wanted.owner] if one["id"] == after["id"]), None)
            if row is None:
                return f"snapshot {wanted.label} is not listed"
            # What a caller is not told stays as planned.
            after.update({key: value for key, value in _shown(row, now).items() if key != "backup" or value is not None})
            found = self._compared(wanted, volume, row, now)
            kept = _has_backup(row, now)
            if planned and kept is not None and kept != planned["done"]:
                notes["backup"]["done"] = kept
                has = "it has a copy" if kept else "it has no copy"
                found.append(f"{has} on secondary storage, although {planned['because']} (changed, and not restarted since?)")
            elif not planned and kept is not None:
                notes["backup"] = _told(kept)
            notes.update(storpool=_on_storpool(row, now), differences=found)
            lost = [zone for zone in (now.zone(one)[1] for one in wanted.zones) if zone not in after["zones"]]
            if lost:
                return f"snapshot {wanted.label} has no copy in zone {', '.join(lost)}"
            return f"snapshot {wanted.label}: {'; '.join(found)}" if found and wanted.verify == "strict" else None

        waits: list[Wait | JointWait] = [Wait(f"the backup of snapshot {wanted.label}", done, wanted.wait, explain)]
        if wanted.zones:
            waits.append(JointWait(world.look, incomplete, wanted.wait, "CloudStack goes on with it; run the task again later"))
        if wanted.verify != "off":
            waits.append(JointWait(world.look, missing, PROOF, "verify: warn goes on without"))
        return waits

    # copies

    def _copy(
        self,
        wanted: WantedSnapshot,
        volume: Mapping[str, Any],
        here: set[Any],
        kept: bool | None,
        after: dict[str, Any],
        world: World,
        present: Mapping[str, Any] | None = None,
    ) -> Change | None:
        """Return the copying to zones that lack a copy, by StorPool where the zones are made for it, else by secondary storage."""
        zones = dict(world.zone(one) for one in wanted.zones)
        lacking = {identity: name for identity, name in zones.items() if identity not in here}
        if not lacking:
            return None
        after["zones"] = sorted({*after["zones"], *lacking.values()})
        source = volume.get("zoneid")
        by_storpool, why_not = self._replicates(volume, lacking, world)
        if source not in here:  # it was deleted there alone
            files = {one["zoneid"] for one in world.rows(present["id"], IMAGE) if one.get("zoneid")} if present else set()
            source = min(files or filter(None, here), default=source)
            by_storpool, why_not = False, f"zone {volume.get('zonename')} has it no more"
        params: dict[str, Any] = {"id": present and present["id"], "sourcezoneid": source, "destzoneids": sorted(lacking)}
        if by_storpool:
            params["usestoragereplication"] = True
        elif kept is False:
            raise ChangeRefused(
                f"snapshot {wanted.label} cannot be copied to {', '.join(lacking.values())}: it has no copy on secondary storage, "
                f"and {why_not}",
                hint=f"take it with a backup ({BACKUP}: true), or on CloudStack 4.21 and newer set {REPLICATION} to true for a StorPool "
                "pool of each of these zones (cloudstack_settings)",
            )
        words = f"copy to {', '.join(lacking.values())}" + (" by StorPool" if by_storpool else "")
        return Change(words, Command("copySnapshot", params, wanted.label, waits=wanted.wait))

    @staticmethod
    def _replicates(volume: Mapping[str, Any], lacking: Mapping[str, str], world: World) -> tuple[bool, str]:
        """Tell whether StorPool itself can copy to these zones, and why not."""
        if world.version < BYPASS_UNTIL:
            return False, "StorPool's own copies need CloudStack 4.21"
        for identity, name in lacking.items():
            marked = [one for one in world.targets.get(identity, ()) if one.get(REPLICATION) == "true"]
            if not marked:
                return False, f"no StorPool pool of zone {name} has {REPLICATION}"
            if not any(one.get(LOCATION) for one in marked):
                return False, f"pool {marked[0]['name']} of zone {name} has no {LOCATION} (its hosts set it when they connect)"
        if not any(one.get(LOCATION) for one in world.targets.get(volume.get("zoneid"), ())):
            return False, f"the pools of zone {volume.get('zonename')} have no {LOCATION} (their hosts set it when they connect)"
        return True, ""

    # reverted

    def _plan_reverted(
        self, wanted: WantedSnapshot, volume: Mapping[str, Any] | None, present: Mapping[str, Any] | None, world: World
    ) -> Plan:
        if present is None:
            known = ", ".join(sorted(str(one["name"]) for one in rows_of(wanted, world))[:20]) or "none"
            raise OptionError("name", wanted.name or wanted.id, f"is no snapshot of volume {wanted.volume}; there are: {known}")
        if volume is None:
            raise ChangeRefused(
                f"volume {wanted.volume} does not exist any more", hint="make a new one from the snapshot (cloudstack_volume, snapshot)"
            )
        if present["state"] != BACKED_UP:
            raise ChangeRefused(f"snapshot {wanted.label} is {present['state']}", hint=LATER)
        there = (world.storpool or {}).get(present["id"])
        if there is None:
            raise ChangeRefused(
                f"snapshot {wanted.label} cannot be reverted to: StorPool does not have it",
                hint="make a volume from its copy on secondary storage (cloudstack_volume, snapshot), if it has one",
            )
        shown, machine = _shown(present, world), world.machines.get(volume.get("virtualmachineid") or "")
        size, old_size = present.get("virtualsize"), volume.get("size")
        because = f"its size is {format_size(old_size)}, the snapshot's {format_size(size)}" if size != old_size else None
        because = changed_since(volume, {there["name"]}, world.written) or because
        revert = Change("revert", Command("revertSnapshot", {"id": present["id"]}, wanted.label))
        changes, warnings, waits = [revert] if because else [], [], []
        if machine:
            changes = with_vm_stopped(machine, wanted, because, revert, "volumes", wanted.stops, wanted.starts)
        if because:
            self._check_revertible(volume, world)
            waits = [self._reverted(wanted, volume, there, size, world)]
        standing = world.written.get(storpool_address(volume.get("path")) or "")
        expected = (size or 0) + (LUKS_HEADER if volume.get("encryptformat") else 0)
        if because and standing and standing.size != expected:
            warnings.append(
                f"volume {volume['name']} will have {format_size(size)} in CloudStack as its snapshot has, and "
                f"{format_size(standing.size)} on StorPool as before: a revert does not change the size there; cloudstack_volume with "
                f"size: {declarable(standing.size)} makes them equal"
            )
        notes = {
            "storpool": _on_storpool(present, world),
            "differences": [],
            "revert": {
                "needed": bool(because),
                "because": because or "the volume stands on it and nothing was written to it since",
                "size_before": old_size,
                "size_after": size if because else old_size,
            },
        }
        beside = shown_revert(wanted.label, because, machine, changes)
        if because:
            beside[0]["volume_size"], beside[1]["volume_size"] = format_size(old_size), format_size(size)
        return Plan(wanted.label, shown, shown, changes, notes, warnings, beside=beside, waits=waits)

    @staticmethod
    def _check_revertible(volume: Mapping[str, Any], world: World) -> None:
        """:raises ChangeRefused: CloudStack would not revert the volume as it is."""
        if volume.get("state") != READY:
            raise ChangeRefused(f"volume {volume['name']} is {volume.get('state')}", hint=LATER)
        if volume.get("virtualmachineid") in world.with_vm_snapshots:
            raise ChangeRefused(
                f"volume {volume['name']} cannot be reverted: VM {volume.get('vmname')} has VM snapshots",
                hint="delete them first (cloudstack_vm_snapshot, state: absent), or revert the VM to one of them",
            )

    @staticmethod
    def _reverted(wanted: WantedSnapshot, volume: Mapping[str, Any], there: Mapping[str, Any], size: int | None, world: World) -> JointWait:
        """Return the proof of a revert: on StorPool the volume stands on the snapshot, and CloudStack has taken its size."""

        def missing(now: World) -> str | None:
            row = next((one for one in now.volumes[wanted.owner] if one["id"] == volume["id"]), None)
            standing = row and now.written.get(storpool_address(row.get("path")) or "")
            if not standing or standing.parent != there["name"]:
                return f"volume {volume['name']} does not stand on snapshot {wanted.label} on StorPool"
            return None if row.get("size") == size else f"volume {volume['name']} has {row.get('size')} bytes and the snapshot {size}"

        return JointWait(world.look, missing, PROOF, "somebody else may have changed it meanwhile; run the task again")

    # absent

    @staticmethod
    def _plan_absent(wanted: WantedSnapshot, present: Mapping[str, Any] | None, world: World) -> Plan:
        failed = [] if wanted.id else [one for one in rows_of(wanted, world) if one["state"] == ERROR and one["name"] == wanted.name]
        doomed = [one for one in (present, *failed) if one]
        if not doomed:
            return Plan(wanted.label, None, None)
        if present and present["state"] in UNDER_WAY - {"Allocated", "CreatedOnPrimary"}:
            raise ChangeRefused(f"snapshot {wanted.label} is {present['state']}", hint=LATER)
        shown = _shown(doomed[0], world)
        if not wanted.zones:
            return Plan(wanted.label, shown, None, [_removal(wanted, world, one, "delete") for one in doomed])
        zones = dict(world.zone(one) for one in wanted.zones)
        there = {one.get("zoneid") for one in world.rows(doomed[0]["id"])}
        changes = [
            _removal(wanted, world, doomed[0], f"delete in {name}", zoneid=identity)
            for identity, name in zones.items()
            if identity in there
        ]
        left = [zone for zone in shown["zones"] if zone not in zones.values()]
        return Plan(wanted.label, shown, {**shown, "zones": left} if left else None, changes)

    # -- after

    def predict(self, world: World, wanted: WantedSnapshot, plan: Plan) -> None:
        """Nothing: snapshots declared twice are refused before, and do not depend on each other."""

    def show(self, document: dict[str, Any]) -> dict[str, Any]:
        """Return a snapshot for the diff."""
        return for_diff(document, "id")


def _encrypted(volume: Mapping[str, Any], because: str, way_out: str) -> ChangeRefused:
    return ChangeRefused(
        f"volume {volume['name']} is encrypted and its VM {volume.get('vmname')} is {volume.get('vmstate')}: CloudStack takes no snapshot "
        f"of it then, because {because}",
        hint=f"{way_out}, or stop the VM",
    )


def _has_backup(row: Mapping[str, Any], world: World) -> bool | None:
    """Tell whether a copy is on secondary storage; ``None`` when that was not asked, or not told: only root admins see the kind of a store.

    Up to 4.20 a snapshot that was bypassed has a row there, too, which only points at StorPool and has the size of the volume; a file has
    any other (section 1.1).
    """
    rows = world.rows(row["id"])
    if world.copies is None or (rows and not any("datastoretype" in one for one in rows)):
        return None
    return any(one.get("physicalsize") != row.get("virtualsize") for one in world.rows(row["id"], IMAGE))


def _told(kept: bool) -> dict[str, Any]:
    """Return what results say of the backup of a snapshot that is there."""
    return {"done": kept, "because": "it was taken with it" if kept else "it was taken without"}


def _on_storpool(row: Mapping[str, Any], world: World) -> dict[str, Any] | None:
    """Return what StorPool holds of a snapshot, ``None`` when it has none or was not asked."""
    there = (world.storpool or {}).get(row["id"])
    return there and {
        "global_id": there["globalId"],
        "size": there["size"],
        "created": there["creationTimestamp"],
        "tags": {key: value for key, value in there["tags"].items() if value != ""},
    }


def _shown(row: Mapping[str, Any], world: World) -> dict[str, Any]:
    """Return a snapshot as results show it; its size in bytes. ``backup`` is ``None`` when it was not asked for."""
    return {
        "id": row["id"],
        "name": row.get("name"),
        "volume": row.get("volumename"),
        "state": row.get("state"),
        "type": row.get("snapshottype"),
        "size": row.get("virtualsize"),
        "account": row.get("account"),
        "project": row.get("project"),
        "zones": sorted({str(one.get("zonename")) for one in world.rows(row["id"])} or {str(row.get("zonename"))}),
        "backup": _has_backup(row, world),
    }


def _removal(wanted: WantedSnapshot, world: World, row: Mapping[str, Any], action: str, **zone: str) -> Change:
    """Return the deletion of a snapshot; while it is exported, CloudStack refuses it, so that is waited for."""
    label = f"{wanted.volume or row.get('volumename')}/{row['name']}"
    there = (world.storpool or {}).get(row["id"])
    work = None
    if there and there["globalId"] in world.exports:
        work = partial(_until_let_go, there["globalId"], label, wanted.wait)
    delete = Command("deleteSnapshot", {"id": row["id"], **zone}, label, hints=_DELETE_HINTS, again=_ALREADY_GONE)
    return Change(action, delete, work=work)


def _until_let_go(global_id: str, label: str, seconds: int, client: CloudStack, tell: Callable[[str], None]) -> None:
    """Wait until a snapshot is exported no more: CloudStack looks every few minutes whether its copy is complete (section 5.5).

    :raises DeadlineExceeded: it is exported still.
    """
    began, pause, told = time.monotonic(), 0.2, -60.0
    while True:
        where = [one["location"] for one in client.storpool.exports() if one["globalId"] == global_id]
        passed = time.monotonic() - began
        if not where:
            return
        if passed >= seconds:
            raise DeadlineExceeded(
                f"waited {seconds} s, but snapshot {label} is exported to {', '.join(where)} still, so CloudStack would not delete it",
                hint="it is let go when its copy there is complete; run the task again, or give it more wait_timeout",
            )
        if passed - told >= 60:
            tell(f"snapshot {label} is exported to {', '.join(where)}; waiting until CloudStack lets go of it, {passed:.0f} of {seconds} s")
            told = passed
        time.sleep(min(pause, max(0.0, seconds - passed)))
        pause = min(2 * pause, 10.0)


CLOUD_SNAPSHOTS = CloudSnapshots()
