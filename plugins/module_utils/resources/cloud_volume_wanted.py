# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 4: what is wanted of volumes of CloudStack, from the options of ``cloudstack_volume``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .._errors import OptionError
from .._units import parse_size, parse_whole
from ._cloud import Owner, parse_names, parse_owner
from .hosts import parse_node_ids
from .offering import GIB

_RESERVED = {0: "the ROOT volume", 3: "the CD-ROM"}  # devices that CloudStack gives to no data volume
_MOST = (1 << 31) - 1


@dataclass
class WantedVolume:
    """One declared volume; ``None`` means that the option was not given. ``vm`` is empty when it shall be attached to none."""

    label: str
    state: str
    owner: Owner
    name: str | None = None
    id: str | None = None
    renamed_from: str | None = None
    offering: str | None = None
    size: int | None = None
    min_iops: int | None = None
    max_iops: int | None = None
    allow_shrink: bool = False
    snapshot: str | None = None
    vm: str | None = None
    device_id: int | None = None
    storage_pool: str | None = None
    encrypted: bool | None = None
    delete_protection: bool | None = None
    on_attached: str = "fail"
    verify: str = "strict"
    repair: bool = False
    node_ids: dict[str, int] = field(default_factory=dict)
    follows: str | None = None  # one that is declared beside it and leaves the device that this one gets

    def names(self) -> Sequence[str]:
        known = [self.id] if self.id else []
        place = [f"device {self.device_id} of VM {self.vm}"] if self.state == "present" and self.device_id is not None else []
        return (*known, *(f"{self.owner}{name}" for name in (self.name, self.renamed_from, *place) if name))

    def needs(self) -> Sequence[str]:
        return (self.follows,) if self.follows else ()


def parse_volume(options: Mapping[str, Any]) -> WantedVolume:
    """Return what is wanted of one volume. :raises OptionError: names the option that cannot be meant."""
    texts = parse_names(options)
    label = texts["name"] or texts["id"]
    wanted = WantedVolume(label, options["state"], parse_owner(options), **texts)
    if options["size"] is not None:
        wanted.size = parse_size(options["size"])
        if wanted.size % GIB:
            raise OptionError("size", options["size"], "must be whole gibibytes, CloudStack's unit, as in 10G", item=label)
    for name in ("min_iops", "max_iops", "device_id"):
        if options[name] is not None:
            value = parse_whole(options[name], 0, _MOST)
            if value is None:
                raise OptionError(name, options[name], "must be a whole number, 0 or more", item=label)
            setattr(wanted, name, value)
    if wanted.min_iops is not None:
        if wanted.max_iops is None:
            raise OptionError("min_iops", wanted.min_iops, "needs max_iops; CloudStack takes both or none", item=label)
        if wanted.min_iops > wanted.max_iops:
            raise OptionError("min_iops", wanted.min_iops, f"is above max_iops ({wanted.max_iops})", item=label)
    for name in ("offering", "snapshot", "storage_pool"):
        if options[name] is not None:
            if not options[name].strip():
                raise OptionError(name, options[name], "is empty", item=label)
            setattr(wanted, name, options[name].strip())
    wanted.vm = options["vm"] if options["vm"] is None else options["vm"].strip()
    if wanted.device_id is not None and not wanted.vm:
        raise OptionError("device_id", wanted.device_id, "needs vm", item=label)
    if wanted.device_id in _RESERVED:
        whose = _RESERVED[wanted.device_id]
        raise OptionError("device_id", wanted.device_id, f"is that of {whose}; data volumes have 1, 2, 4 and on", item=label)
    for name in ("encrypted", "delete_protection", "on_attached", "verify"):
        setattr(wanted, name, options[name])
    wanted.allow_shrink, wanted.repair = bool(options["allow_shrink"]), bool(options["repair"])
    if wanted.repair and wanted.verify == "off":
        raise OptionError("repair", True, "needs verify: strict or warn", item=label)
    wanted.node_ids = parse_node_ids(options["sp_node_ids"])
    return wanted
