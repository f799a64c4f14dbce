# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 4: the schedules by which CloudStack itself takes snapshots of volumes.

Facts: reference sheet cloudstack-storpool, section 5.5. A volume has one policy for each interval; making a second one changes the first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Callable

from .._cloudstack import CloudStack, Command
from .._errors import ChangeRefused, CollectionError, OptionError
from .._plan import Change, JointWait, Plan
from .._units import parse_whole
from ._cloud import PROOF, Directory, OfVolumes, Owner, asked_or_all, of_project, parse_owner
from ._shared import quiet
from .series import parse_zone

# In the order in which answers number them (``IntervalType``).
INTERVALS = ("hourly", "daily", "weekly", "monthly")
# What the parts of a schedule are, and their limits: minute, hour, then the day of the week (Sunday is 1) or of the month.
_MINUTE, _HOUR = ("minute", 0, 59), ("hour", 0, 23)
_PARTS = {
    "hourly": (_MINUTE,),
    "daily": (_MINUTE, _HOUR),
    "weekly": (_MINUTE, _HOUR, ("day of the week", 1, 7)),
    "monthly": (_MINUTE, _HOUR, ("day of the month", 1, 28)),
}
_FORMS = {"hourly": "MM", "daily": "MM:HH", "weekly": "MM:HH:DD", "monthly": "MM:HH:DD"}
LISTS_ALL_SINCE = (4, 22)
_MOST = (1 << 31) - 1

POLICY_SPEC: dict[str, dict[str, Any]] = dict(
    interval=dict(type="str", required=True, choices=list(INTERVALS)),
    schedule=dict(type="str"),
    timezone=dict(type="str", default="UTC"),
    keep=dict(type="int"),
)


@dataclass(frozen=True)
class Policy:
    """One policy: ``schedule`` in CloudStack's form (minute first), ``keep`` the number of snapshots."""

    interval: str
    schedule: str
    timezone: str
    keep: int


@dataclass
class WantedPolicies:
    """The policies of one volume; with ``gone`` the intervals that are to have none (all of them when it is empty)."""

    label: str
    state: str
    owner: Owner
    policies: dict[str, Policy]
    gone: tuple[str, ...] = ()
    exact: bool = False

    def names(self) -> Sequence[str]:
        return [f"{self.owner}{self.label}"]

    def needs(self) -> Sequence[str]:
        return ()


@dataclass
class World(OfVolumes):
    """What was read: volumes by owner, policies by the id of their volume, and for what is to change how many each interval may keep."""

    policies: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    most: dict[str, int] = field(default_factory=dict)
    look: Callable[[CloudStack], World] | None = None


class SnapshotPolicies:
    """Snapshot policies, as the runner manages them: those of one volume are one object."""

    kind = "snapshot policies"

    # -- desired

    def parse(self, options: Mapping[str, Any], now: float) -> WantedPolicies:
        """Return what is wanted of one volume. :raises OptionError: names the option that cannot be meant."""
        volume = options["volume"] and options["volume"].strip()
        if not volume:
            raise OptionError("volume", options["volume"], "is needed: the name or id of the volume")
        wanted = WantedPolicies(volume, options["state"], parse_owner(options), {}, exact=bool(options["exact"]))
        given = options["policies"]
        if wanted.state == "absent":
            if wanted.exact:
                raise OptionError("exact", True, "is for state: present", item=volume)
            wanted.gone = tuple(dict.fromkeys(one["interval"] for one in given or ()))
            return wanted
        if given is None or not (given or wanted.exact):
            raise OptionError("policies", given, "needs at least one policy; to remove them all, set state: absent", item=volume)
        for one in given:
            policy = _parse(one, volume)
            if policy.interval in wanted.policies:
                raise OptionError("policies", policy.interval, "is there twice; a volume has one policy for each interval", item=volume)
            wanted.policies[policy.interval] = policy
        return wanted

    # -- observe

    def observe(self, client: CloudStack, wanted: Sequence[WantedPolicies]) -> World:
        """List the volumes once, and the policies of each; from 4.22 on those of all volumes with one call."""
        directory = Directory(client)
        world = World(look=partial(self.observe, wanted=wanted))
        for owner in dict.fromkeys(one.owner for one in wanted):
            names = {one.label for one in wanted if one.owner == owner}
            world.volumes[owner] = asked_or_all(client, directory, owner, "listVolumes", "volume", names)
        known = [volume for volume in (quiet(_volume, one, world) for one in wanted) if volume]
        if len(known) > 1 and client.version >= LISTS_ALL_SINCE:
            for owner in world.volumes:
                params = {key: value for key, value in directory.within(owner).items() if key != "zoneid"}
                for row in client.list("listSnapshotPolicies", "snapshotpolicy", unlimited=True, **params):
                    world.policies.setdefault(row["volumeid"], []).append(row)
        else:
            for volume in known:
                # From 4.22 on the command has listall and projectid as other listings have; before it ignores them.
                asked = {"volumeid": volume["id"], "listall": True, **of_project(volume)}
                world.policies[volume["id"]] = client.list("listSnapshotPolicies", "snapshotpolicy", **asked)
        for one in wanted:
            volume = quiet(_volume, one, world)
            for policy in _unlike(one, _present(volume, world)) if volume else ():
                if policy.interval not in world.most:
                    name = f"snapshot.max.{policy.interval}"
                    listed = client.list("listConfigurations", "configuration", name=name)
                    value = next((parse_whole(row.get("value"), 0, _MOST) for row in listed if row["name"] == name), None)
                    world.most[policy.interval] = _MOST if value is None else value
        return world

    # -- plan

    def plan(self, wanted: WantedPolicies, world: World) -> Plan:
        """Return what it takes for the volume to have the policies as declared. Pure."""
        volume = None
        try:
            volume = _volume(wanted, world)
            if volume is None:
                if wanted.state == "absent":
                    return Plan(wanted.label, None, None)
                raise OptionError("volume", wanted.label, "does not exist in CloudStack")
            present = _present(volume, world)
            shown = _shown(volume, present)
            unlike = _unlike(wanted, present)
            if unlike:
                self._check(wanted, volume, unlike, world)
            if wanted.state == "absent":
                doomed = [interval for interval in present if not wanted.gone or interval in wanted.gone]
            else:
                doomed = [interval for interval in present if wanted.exact and interval not in wanted.policies]
            changes = []
            for interval in doomed:
                write = Command("deleteSnapshotPolicies", {"id": present[interval]["id"]}, wanted.label)
                changes.append(Change(f"delete {interval}", write))
            for policy in unlike:
                params = {
                    "volumeid": volume["id"], "intervaltype": policy.interval.upper(), "schedule": policy.schedule,
                    "timezone": policy.timezone, "maxsnaps": policy.keep,
                }  # fmt: skip
                word = "update" if policy.interval in present else "create"
                changes.append(Change(f"{word} {policy.interval}", Command("createSnapshotPolicy", params, wanted.label)))
            left = {interval: one for interval, one in present.items() if interval not in doomed}
            for policy in unlike:
                left[policy.interval] = {"id": (present.get(policy.interval) or {}).get("id"), **vars(policy)}
            after = _shown(volume, left)
            return Plan(wanted.label, shown, after, changes, waits=self._proof(wanted, volume, after, world) if changes else ())
        except CollectionError as exc:
            document = volume and _shown(volume, _present(volume, world))
            return Plan(wanted.label, document, document, refused=exc)

    @staticmethod
    def _check(wanted: WantedPolicies, volume: Mapping[str, Any], unlike: Sequence[Policy], world: World) -> None:
        """:raises CollectionError: CloudStack would not take these policies."""
        if volume.get("encryptformat"):
            raise ChangeRefused(
                f"volume {volume['name']} is encrypted; CloudStack has no snapshot policies for encrypted volumes",
                hint="take its snapshots with a scheduled task (cloudstack_snapshot, with the time in the name and keep_daily)",
            )
        if volume.get("state") != "Ready":
            born = "attach it once" if volume.get("state") == "Allocated" else "run the task again when CloudStack is done with it"
            raise ChangeRefused(f"volume {volume['name']} is {volume.get('state')}, and CloudStack wants it Ready for a policy", hint=born)
        for policy in unlike:
            most = world.most.get(policy.interval, _MOST)
            if policy.keep > most:
                raise OptionError(
                    "policies", policy.keep, f"is more than CloudStack lets a policy keep that is {policy.interval} ({most}); raise the "
                    f"setting snapshot.max.{policy.interval} (cloudstack_settings), or keep fewer", item=wanted.label
                )  # fmt: skip

    @staticmethod
    def _proof(wanted: WantedPolicies, volume: Mapping[str, Any], after: dict[str, Any], world: World) -> list[JointWait]:
        """Return the listing that follows the writes; it tells the ids as well."""

        def missing(now: World) -> str | None:
            listed = _shown(volume, _present(volume, now))["policies"]
            told = [{**one, "id": None} for one in listed]
            if told != [{**one, "id": None} for one in after["policies"]]:
                return f"CloudStack lists other policies of volume {wanted.label}: {told or 'none'}"
            after["policies"] = listed
            return None

        return [JointWait(world.look, missing, PROOF, "somebody else may have changed them meanwhile; run the task again")]

    # -- after

    def predict(self, world: World, wanted: WantedPolicies, plan: Plan) -> None:
        """Nothing: the policies of one volume do not depend on those of another."""

    def show(self, document: dict[str, Any]) -> dict[str, Any]:
        """Return the policies of a volume for the diff."""
        return {
            "volume": document["volume"],
            "policies": [{key: value for key, value in one.items() if key != "id"} for one in document["policies"]],
        }


def _parse(given: Mapping[str, Any], item: str) -> Policy:
    interval, text, keep = given["interval"], str(given["schedule"] or "").strip(), given["keep"]
    limits, form = _PARTS[interval], _FORMS[interval]
    parts = text.split(":")
    if len(parts) != len(limits):
        raise OptionError("schedule", given["schedule"], f"is not of the form {form}, which one that is {interval} has", item=item)
    numbers = []
    for part, (word, least, most) in zip(parts, limits):
        number = parse_whole(part, least, most)
        if number is None:
            raise OptionError("schedule", text, f"has {part!r} for the {word}, which is {least} to {most} ({form})", item=item)
        numbers.append(number)
    if keep is None or keep < 1:
        raise OptionError("keep", keep, "is needed: how many snapshots of the policy to keep, at least 1", item=item)
    # A name that Java does not know becomes GMT without a word.
    parse_zone(given["timezone"])
    return Policy(interval, _written(numbers), given["timezone"], keep)


def _written(numbers: Sequence[int]) -> str:
    return ":".join(f"{number:02}" for number in numbers)


def _volume(wanted: WantedPolicies, world: World) -> Mapping[str, Any] | None:
    return world.volume(wanted.owner, wanted.label)


def _present(volume: Mapping[str, Any], world: World) -> dict[str, dict[str, Any]]:
    """Return the policies of a volume by their interval, in its order."""
    found = {}
    for row in world.policies.get(volume["id"], ()):
        kind, text = row.get("intervaltype"), str(row.get("schedule"))
        interval = INTERVALS[kind] if kind in range(len(INTERVALS)) else str(kind).lower()
        if interval not in _PARTS:
            raise CollectionError(
                f"CloudStack tells of a snapshot policy of volume {volume['name']} with an interval {kind!r:.50} that is none",
                hint=f"there are: {', '.join(INTERVALS)}",
            )
        numbers = [int(part) for part in text.split(":") if re.fullmatch("[0-9]{1,9}", part)]
        schedule = _written(numbers[: len(_PARTS[interval])]) if numbers else text
        found[interval] = {
            "id": row["id"], "interval": interval, "schedule": schedule, "timezone": row.get("timezone"), "keep": row.get("maxsnaps"),
        }  # fmt: skip
    return dict(sorted(found.items(), key=lambda one: INTERVALS.index(one[0])))


def _unlike(wanted: WantedPolicies, present: Mapping[str, Mapping[str, Any]]) -> list[Policy]:
    """Return the declared policies that are not there as declared."""
    return [one for one in wanted.policies.values() if {**(present.get(one.interval) or {}), **vars(one)} != present.get(one.interval)]


def _shown(volume: Mapping[str, Any], policies: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "id": volume["id"],
        "volume": volume["name"],
        "policies": [dict(one) for _interval, one in sorted(policies.items(), key=lambda one: INTERVALS.index(one[0]))],
    }


SNAPSHOT_POLICIES = SnapshotPolicies()
