# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that no public source settles, each as one named switch (`--assume NAME=VALUE`)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any


def switch(default: Any, why: str, *choices: Any) -> Any:
    return field(default=default, metadata={"why": why, "choices": choices})  # pylint: disable=invalid-field-call


class Switches:
    """Named values that can be changed by text; the subclasses are dataclasses of `switch` fields."""

    @classmethod
    def known(cls) -> dict[str, dataclasses.Field]:
        return {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]

    def set(self, name: str, text: str) -> None:
        known = self.known()
        if name not in known:
            raise ValueError(f"no assumption is called {name!r}; known: {', '.join(sorted(known))}")
        present = getattr(self, name)
        value: Any = text
        if isinstance(present, bool):
            words = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
            if text.lower() not in words:
                raise ValueError(f"assumption {name} is true or false, not {text!r}")
            value = words[text.lower()]
        elif isinstance(present, int):
            value = int(text)
        elif isinstance(present, float):
            value = float(text)
        choices = known[name].metadata["choices"]
        if choices and value not in choices:
            raise ValueError(f"assumption {name} is one of {choices}, not {text!r}")
        setattr(self, name, value)

    @classmethod
    def described(cls) -> str:
        """One line a switch, for --help."""
        lines = []
        for f in cls.known().values():
            choices = f" ({' | '.join(map(str, f.metadata['choices']))})" if f.metadata["choices"] else ""
            lines.append(f"  {f.name}={f.default}{choices}\n      {f.metadata['why']}")
        return "\n".join(lines)


@dataclass
class Assumptions(Switches):
    """The defaults are what the reference sheet suggests; rule ids are those of its section 4.1."""

    # Transport
    error_status: int = switch(500, "http-status: errors come with this status; 200 is possible too")
    auth_status: int = switch(401, "a wrong token: HTTP status")
    auth_name: str = switch("unauthorized", "a wrong token: name of the error")
    unknown_status: int = switch(404, "an unknown path: HTTP status")
    unknown_name: str = switch("unknownQuery", "an unknown path: name of the error")
    unsupported_status: int = switch(501, "a call that the simulator does not have: HTTP status")
    unsupported_name: str = switch("notSupported", "a call that the simulator does not have: name of the error")

    # Configuration
    reads_raise_generation: bool = switch(False, "generation-reads: reads do not increase the generation")
    noop_raises_generation: bool = switch(False, "a change that changes nothing leaves the generation as it is")
    default_replication: int = switch(3, "create-defaults: replication when nothing supplies one", 1, 2, 3)
    servers_name: str = switch("insufficientResources", "name of the error 'Not enough servers or fault sets'")
    max_volume_size: int = switch(15 << 40, "a size beyond this many bytes is insufficientResources")
    name_and_tags_bytes: int = switch(0, "limit of a name together with its tags (the knowledge base says 200); 0 = none")

    # Volumes and snapshots
    template_limits: str = switch(
        "template", "iops and bw of a clone: those of its template, also when unlimited, or those of its parent", "template", "parent"
    )
    move_limits: str = switch("template", "a change of template takes iops and bw from it, or keeps them", "template", "keep")
    empty_tag: str = switch("remove", "tags-merge: an empty value removes the key, or stays as an empty value", "remove", "keep")
    qc_template: bool = switch(True, "ref-qc: without a template, one named like the qc tag is taken")
    update_reply_name: bool = switch(True, "the answer of VolumeUpdate carries the name (CloudStack 4.17 reads it)")
    shrink_name: str = switch("invalidParam", "size-update: name of the error when shrinkOk is missing")
    smaller_than_parent: str = switch("refuse", "a volume smaller than its parent", "refuse", "allow")
    rename_attached: bool = switch(True, "an attached volume may be renamed (cinder swaps names so)")
    revert_attached: str = switch("busy", "revert: of an attached volume", "busy", "allow")
    revert_limits: str = switch("keep", "revert: limits, placement and template stay, or come from the snapshot", "keep", "snapshot")
    on_attached: str = switch("fail", "delete-attached: what VolumeDelete does without onAttached", "fail", "detach", "detachForce")
    snapshot_delete_attached: str = switch("busy", "snapshot-delete-attached: refused, or detached first", "busy", "detach")
    exported_name: str = switch("busy", "snapshot-delete-exported: name of the error with 'still exported'")
    no_delete_date: str = switch("omit", "targetDeleteDate of a snapshot without one: left out, or 0", "omit", "zero")
    no_on_volume: str = switch("-", "onVolume of a snapshot that is no volume's parent")
    in_use_name: str = switch("busy", "name of the error for a template, placement group, location or cluster in use")

    # Attachments
    atomic_reassign: bool = switch(True, "a list of reassign items is applied all or nothing")
    open_name: str = switch("busy", "reassign-force: name of the error 'is open at' (older releases: invalidParam)", "busy", "invalidParam")
    attach_timeout: str = switch("ok", "reassign-wait: when attachTimeout runs out the answer is ok, or an error", "ok", "error")
    wait_for_down_detach: bool = switch(False, "VolumesReassignWait also waits for clients that are down and only detach")
    attach_timeout_name: str = switch("timeout", "name of that error")

    # Remote
    acquire_attached: str = switch(
        "fail", "VolumeAcquire without onRemoteAttached while attached elsewhere", "fail", "detach", "detachForce", "export"
    )
    unexport_missing: str = switch("error", "SnapshotUnexport of what is not exported there: objectDoesNotExist, or ok", "error", "ok")

    # Key-value store
    kv_missing_key: str = switch("error", "KV/Get of a key that is not there: objectDoesNotExist, or an empty map", "error", "empty")

    # Background work, in seconds of the simulator's clock
    merge_delay: float = switch(0.2, "snapshot-delete-children: how long a deleted snapshot lingers")
    copy_delay: float = switch(0.2, "from-remote: how long a remote copy takes")
    transient_lifetime: float = switch(60.0, "base-on: how long a transient snapshot stays")
