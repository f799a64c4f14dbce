# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 4: what volumes there are."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from .. import _storpool as sp
from ._select import common_members, page, parse_selection, summary
from ._shared import index_attachments
from .volume import volume_object

FIELDS = (
    "name", "global_id", "size", "template", "parent", "iops", "bw", "replication", "place_all", "place_head", "place_tail", "reuse_server",
    "tags", "attachments", "created", "cluster", "stored", "used", "status",
)


def query(client: sp.StorPool, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the volumes that fit, with one read of the volumes and one each of attachments and status where they matter.

    The space listing has all that the plain one has, so it takes its place. What goes away between two reads is left out or has no
    figures; it fails nothing.

    :raises OptionError: an option that cannot be meant.
    """
    selection = parse_selection(options, FIELDS, time.time())
    only = selection.single()
    if selection.space:
        found = client.volumes_space()
    elif only is not None:
        one = client.volume(only)
        found = [one] if one else []
    else:
        found = client.volumes()
    attachments = index_attachments(client.attachments()) if selection.attachments else None
    status = client.volumes_status() if selection.status else {}
    fits = selection.matching(found, attachments, status)

    def entry(raw: dict[str, Any]) -> dict[str, Any]:
        return {**volume_object(raw, attachments), **common_members(raw, status)}

    return {**page(fits, entry, selection, "volumes"), "summary": summary(fits, attachments)}
