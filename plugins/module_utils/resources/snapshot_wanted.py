# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 4: what is wanted of snapshots, from the options of ``storpool_snapshot``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import Any, NamedTuple

from .._errors import OptionError
from .._units import (
    parse_duration,
    parse_global_id,
    parse_moment,
    parse_reference,
    parse_remote_name,
    parse_tags,
    parse_template_name,
    parse_volume_name,
)
from . import backup
from ._shared import parse_attachments, parse_policy, parse_wanted_tags
from .retention import RULES, Rules, parse_rules
from .series import VOLUME, NamePattern, parse_zone, volume_word

NEVER = 0  # how the API writes "no date of deletion" in requests (rule delete-date)


class Member(NamedTuple):
    """One snapshot of what is declared: the volume it is taken of and its name, as far as they were given."""

    volume: str | None
    name: str | None


@dataclass
class WantedSnapshot:
    """One declared snapshot, consistent group or series, in canonical units; ``None`` means that the option was not given."""

    label: str
    state: str
    now: float
    zone: tzinfo
    members: list[Member]
    grouped: bool
    pattern: NamePattern | None
    global_id: str | None = None
    renamed_from: str | None = None
    tags: dict[str, str] | None = None
    tags_exact: bool = False
    bind: bool | None = None
    delete_after: int | None = None
    delete_at: int | None = None
    renew_expiry: bool = False
    template: str | None = None
    policy: dict[str, Any] = field(default_factory=dict)
    attach: dict[int, str] | None = None
    exclusive: bool = False
    force: bool = False
    wait: bool | None = None
    wait_timeout: int = 60
    on_attached: str = "fail"
    exports: list[str] | None = None
    exports_exact: bool = False
    unexport: bool = False
    backup_to: str | None = None
    rules: Rules | None = None
    series_tags: dict[str, str] = field(default_factory=dict)
    max_deletes: int | None = None
    spared: frozenset[str] = frozenset()  # names, or those of backups, that retention leaves alone because the task declares them
    allow_cloudstack_objects: bool = False

    @property
    def name(self) -> str | None:
        """The name of the one snapshot, or what a group is called."""
        return self.label if self.grouped else self.members[0].name

    def names(self) -> Sequence[str]:
        if self.state == "pruned":
            return [f"the series {self.label}"]
        if self.backup_to:
            return [f"{self.label} in {self.backup_to}"]
        found = [member.name for member in self.members if member.name]
        if self.renamed_from:
            found.append(self.renamed_from)
        if self.global_id:
            found.append("~" + self.global_id)
        return found

    def needs(self) -> Sequence[str]:
        return ()

    def by_key(self) -> str | None:
        """Return the one name that a single read can ask for, or ``None`` when only a listing finds everything."""
        if self.rules or self.renamed_from or self.backup_to or len(self.members) != 1:
            return None
        return "~" + self.global_id if self.global_id else self.members[0].name


def parse_snapshot(options: Mapping[str, Any], now: float) -> WantedSnapshot:
    """Return what is wanted of one snapshot, group or series. :raises OptionError: names the option that cannot be meant."""
    name, global_id = options["name"], options["global_id"]
    if name is not None and str(name).startswith("~"):
        name, global_id = None, name  # an anonymous snapshot is listed under "~" and its global id (rule anon-snapshot-tilde)
    zone = parse_zone(options["timezone"] or "UTC")
    wanted = WantedSnapshot(
        label="",
        state=options["state"] or "present",
        now=now,
        zone=zone,
        members=[],
        grouped=options["volumes"] is not None,
        pattern=NamePattern(str(name)) if name is not None else None,
        global_id=parse_global_id(global_id) if global_id is not None else None,
        allow_cloudstack_objects=bool(options["allow_cloudstack_objects"]),
        on_attached=options["on_attached"] or "fail",
        unexport=bool(options["unexport"]),
        wait=options["wait"],
    )
    _parse_retention(options, wanted)
    _parse_members(options, wanted)
    if options["renamed_from"] is not None:
        if wanted.grouped or wanted.pattern is None or wanted.pattern.timed:
            raise OptionError("renamed_from", options["renamed_from"], "needs name, the plain name that the snapshot is to have")
        wanted.renamed_from = parse_reference(options["renamed_from"], "renamed_from")
        if wanted.renamed_from == wanted.members[0].name:
            raise OptionError("renamed_from", wanted.renamed_from, "is the same as name")
    _parse_shape(options, wanted)
    _parse_expiry(options, wanted)
    _parse_reach(options, wanted)
    if options["backup_to"] is not None:
        wanted.backup_to = parse_remote_name(options["backup_to"], "backup_to")
        backup.check(wanted, options)
    return wanted


def _parse_members(options: Mapping[str, Any], wanted: WantedSnapshot) -> None:
    """Enter what the declared object consists of: the names are those of the period in which the task began."""
    if options["volume"] is not None and wanted.grouped:
        raise OptionError("volumes", options["volumes"], "cannot be combined with volume; a group names all its volumes here")
    volumes = [parse_reference(one, "volumes") for one in options["volumes"]] if wanted.grouped else []
    if wanted.grouped and (not volumes or len(set(volumes)) < len(volumes)):
        raise OptionError("volumes", options["volumes"], "must name at least one volume, and each once")
    if options["volume"] is not None:
        volumes = [parse_reference(options["volume"], "volume")]
    pattern = wanted.pattern
    if pattern is None:
        if wanted.grouped:
            raise OptionError("name", None, "is needed for a group; it has {volume} in it, as in {volume}-%Y%m%d")
        if wanted.global_id is None and not (wanted.state == "pruned" and wanted.series_tags):
            raise OptionError("name", None, "is needed: without a name or global_id each run would take another snapshot")
        wanted.members = [Member(volumes[0] if volumes else None, None)]
        wanted.label = (
            f"~{wanted.global_id}"
            if wanted.global_id
            else "with tags " + ",".join(f"{key}={value}" for key, value in wanted.series_tags.items())
        )
        return
    if options["backup_to"] is not None:
        _parse_backup(wanted, pattern, volumes)
        return
    if pattern.per_volume and not volumes:
        raise OptionError("name", pattern.text, "has {volume} in it, so volume or volumes is needed")
    moment = datetime.fromtimestamp(wanted.now, wanted.zone)
    parsed = parse_volume_name if pattern.timed or wanted.grouped else parse_reference
    wanted.members = [Member(one, parsed(pattern.render(moment, volume_word(one or "")), "name")) for one in volumes or [None]]
    if len({member.name for member in wanted.members}) < len(wanted.members):
        raise OptionError("name", pattern.text, "gives several volumes the same name; put {volume} into it")
    if wanted.state == "pruned":
        wanted.label = pattern.text if wanted.grouped else pattern.text.replace(VOLUME, volume_word(volumes[0]) if volumes else VOLUME)
    else:
        wanted.label = pattern.render(moment) if wanted.grouped else wanted.members[0].name


def _parse_backup(wanted: WantedSnapshot, pattern: NamePattern, volumes: list[str]) -> None:
    """Enter a backup: its name stands in a tag, and one name serves a whole group."""
    if wanted.grouped and pattern.per_volume:
        raise OptionError("name", pattern.text, "is the name of the whole backup of a group; leave {volume} out of it")
    wanted.members = [Member(one, None) for one in volumes or [None]]
    word = volume_word(volumes[0]) if volumes else VOLUME
    name = pattern.render(datetime.fromtimestamp(wanted.now, wanted.zone), word)
    wanted.label = pattern.text.replace(VOLUME, word) if wanted.state == "pruned" else parse_volume_name(name)


def _parse_retention(options: Mapping[str, Any], wanted: WantedSnapshot) -> None:
    rules = parse_rules(options)
    if options["series_tags"] is not None:
        wanted.series_tags = parse_tags(options["series_tags"], "series_tags")
    if rules is None:
        if wanted.state == "pruned":
            raise OptionError("state", "pruned", "needs at least one of " + ", ".join(f"keep_{rule}" for rule in RULES))
        for option in ("series_tags", "max_deletes"):
            if options[option] is not None:
                raise OptionError(option, options[option], "is only for retention; give keep_last, keep_daily or the like with it")
        return
    first = next(f"keep_{rule}" for rule in RULES if options[f"keep_{rule}"] is not None)
    if wanted.state == "absent":
        raise OptionError(first, options[first], "cannot be combined with state: absent; use state: pruned to take no snapshot")
    if not (wanted.pattern and wanted.pattern.timed) and not wanted.series_tags:
        raise OptionError(first, options[first], "needs a series: a name with the time in it (as db-%Y%m%d), or series_tags")
    if wanted.grouped and not (wanted.pattern and wanted.pattern.timed):
        raise OptionError("name", options["name"], "needs the time in it (as {volume}-%Y%m%d), which tells one group from the next")
    if options["max_deletes"] is not None and options["max_deletes"] < 0:
        raise OptionError("max_deletes", options["max_deletes"], "must not be negative")
    wanted.rules, wanted.max_deletes = rules, options["max_deletes"]


def _parse_shape(options: Mapping[str, Any], wanted: WantedSnapshot) -> None:
    parse_wanted_tags(options, wanted, "series_tags")  # without those it would not belong to its own series
    wanted.bind = options["bind"]
    if options["template"] is not None:
        wanted.template = parse_template_name(options["template"])
    wanted.policy = parse_policy(options)


def _parse_expiry(options: Mapping[str, Any], wanted: WantedSnapshot) -> None:
    if options["delete_after"] is not None and options["delete_at"] is not None:
        raise OptionError("delete_at", options["delete_at"], "cannot be combined with delete_after; there is one date of deletion")
    wanted.renew_expiry = bool(options["renew_expiry"])
    if options["delete_after"] is not None:
        never = str(options["delete_after"]).strip().lower() == "never"
        wanted.delete_after = NEVER if never else parse_duration(options["delete_after"], "delete_after")
    elif wanted.renew_expiry:
        raise OptionError("renew_expiry", True, "needs delete_after")
    if options["delete_at"] is not None:
        wanted.delete_at = parse_moment(options["delete_at"], "delete_at", wanted.zone)
        if wanted.state == "present" and wanted.delete_at != NEVER and wanted.delete_at <= wanted.now:
            raise OptionError("delete_at", options["delete_at"], "is in the past; StorPool takes only dates to come, or never")


def _parse_reach(options: Mapping[str, Any], wanted: WantedSnapshot) -> None:
    """Enter who can see the snapshot: clients and other locations."""
    if options["backup_to"] is not None:
        wanted.wait_timeout = backup.WAIT
    parse_attachments(options, wanted, "snapshot", "ro")
    if "rw" in (wanted.attach or {}).values():
        raise OptionError(
            "attach_to", options["attach_to"], "asks for rw; a snapshot is attached read-only (create a volume from it to write)"
        )
    if options["export_to"] is not None:
        wanted.exports = list(dict.fromkeys(parse_remote_name(one, "export_to") for one in options["export_to"]))
    wanted.exports_exact = options["export_mode"] == "exact"
    if wanted.exports_exact and wanted.exports is None:
        raise OptionError("export_mode", "exact", "needs export_to (an empty list takes all exports back)")
