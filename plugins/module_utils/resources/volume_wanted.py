# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 4: what is wanted of volumes, from the options of ``storpool_volume``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .._errors import OptionError
from .._units import (
    parse_duration,
    parse_global_id,
    parse_reference,
    parse_remote_name,
    parse_size,
    parse_tags,
    parse_template_name,
    parse_volume_name,
)
from ._shared import CREATION_SOURCES, parse_attachments, parse_policy, parse_wanted_tags


@dataclass
class WantedVolume:
    """One declared volume, in canonical units; ``None`` means that the option was not given."""

    label: str
    name: str | None
    global_id: str | None
    match_tags: dict[str, str] | None
    state: str
    renamed_from: str | None = None
    size: int | None = None
    allow_shrink: bool = False
    template: str | None = None
    parent: str | None = None
    base_on: str | None = None
    remote: tuple[str, str] | None = None
    policy: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, str] | None = None
    tags_exact: bool = False
    attach: dict[int, str] | None = None
    exclusive: bool = False
    force: bool = False
    wait_timeout: int = 60
    revert_to: str | None = None
    revert_size: bool = False
    on_attached: str = "fail"
    keep_snapshot: dict[str, Any] | None = None
    allow_cloudstack_objects: bool = False

    def names(self) -> Sequence[str]:
        found = [self.name] if self.name else []
        if self.renamed_from:
            found.append(self.renamed_from)
        if self.global_id:
            found.append("~" + self.global_id)
        if self.match_tags:
            found.append("tags " + ", ".join(f"{key}={value}" for key, value in sorted(self.match_tags.items())))
        return found

    def needs(self) -> Sequence[str]:
        return (self.base_on,) if self.base_on else ()

    def by_key(self) -> str | None:
        """Return the one name that a single read can ask for, or ``None`` when only a listing finds the volume."""
        if self.renamed_from or self.match_tags:
            return None
        return "~" + self.global_id if self.global_id else self.name


def parse_volume(options: Mapping[str, Any]) -> WantedVolume:
    """Return what is wanted of one volume. :raises OptionError: names the option that cannot be meant."""
    name = options["name"]
    global_id = options["global_id"]
    if name is not None and str(name).startswith("~"):
        name, global_id = None, name  # an anonymous volume is listed under "~" and its global id (rule anon-volume)
    match_tags = parse_tags(options["match_tags"], "match_tags") if options["match_tags"] else None
    if name is None and global_id is None and not match_tags:
        raise OptionError("name", None, "is needed to say which volume is meant (or global_id, or match_tags)")
    if match_tags and "" in match_tags.values():
        raise OptionError("match_tags", options["match_tags"], "has an empty value; StorPool keeps no empty tags, so none fits")
    if global_id is not None and match_tags:
        raise OptionError("match_tags", options["match_tags"], "cannot be combined with global_id; one of them identifies the volume")
    wanted = WantedVolume(
        label="",
        name=parse_volume_name(name) if name is not None else None,
        global_id=parse_global_id(global_id) if global_id is not None else None,
        match_tags=match_tags,
        state=options["state"] or "present",
        allow_cloudstack_objects=bool(options["allow_cloudstack_objects"]),
        on_attached=options["on_attached"] or "fail",
    )
    wanted.label = wanted.name or (
        f"~{wanted.global_id}" if wanted.global_id else "with tags " + ",".join(f"{k}={v}" for k, v in match_tags.items())
    )
    if options["renamed_from"] is not None:
        if wanted.name is None:
            raise OptionError("renamed_from", options["renamed_from"], "needs name, the name the volume is to have")
        wanted.renamed_from = parse_volume_name(options["renamed_from"], "renamed_from")
        if wanted.renamed_from == wanted.name:
            raise OptionError("renamed_from", wanted.renamed_from, "is the same as name")
    if options["keep_snapshot"] is not None:
        wanted.keep_snapshot = _parse_keep(options["keep_snapshot"], wanted)
    if options["revert_to"] is not None:
        wanted.revert_to = parse_reference(options["revert_to"], "revert_to")
    if wanted.state == "reverted" and wanted.revert_to is None:
        raise OptionError("revert_to", None, "is needed with state: reverted; it names the snapshot")
    if wanted.state != "reverted" and wanted.revert_to is not None:
        raise OptionError("revert_to", wanted.revert_to, "is only for state: reverted")
    wanted.revert_size = bool(options["revert_size"])
    _parse_shape(options, wanted)
    parse_attachments(options, wanted, "volume", "rw")
    return wanted


def _parse_shape(options: Mapping[str, Any], wanted: WantedVolume) -> None:
    if options["size"] is not None:
        wanted.size = parse_size(options["size"])
    wanted.allow_shrink = bool(options["allow_shrink"])
    if options["template"] is not None:
        wanted.template = parse_template_name(options["template"])
    sources = [name for name in CREATION_SOURCES if options[name] is not None]
    if len(sources) > 1:
        raise OptionError(sources[1], options[sources[1]], f"cannot be combined with {sources[0]}; a volume is made from one thing")
    if options["parent"] is not None:
        wanted.parent = parse_reference(options["parent"], "parent")
    if options["base_on"] is not None:
        wanted.base_on = parse_reference(options["base_on"], "base_on")
    if options["remote"] is not None:
        remote = options["remote"]
        if wanted.name is None:
            raise OptionError("remote", remote, "needs name: a volume made from a remote backup has to be named")
        wanted.remote = (parse_remote_name(remote["location"], "remote.location"), parse_global_id(remote["id"], "remote.id"))
    wanted.policy = parse_policy(options)
    parse_wanted_tags(options, wanted, "match_tags")


def _parse_keep(keep: Mapping[str, Any], wanted: WantedVolume) -> dict[str, Any]:
    if wanted.state != "absent":
        raise OptionError("keep_snapshot", dict(keep), "is only for state: absent")
    return {
        "name": parse_volume_name(keep["name"], "keep_snapshot.name") if keep["name"] else None,
        "delete_after": parse_duration(keep["delete_after"], "keep_snapshot.delete_after") if keep["delete_after"] else None,
        "tags": parse_tags(keep["tags"], "keep_snapshot.tags") if keep["tags"] else {},
    }
