# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation of the options by which info modules select volumes or snapshots."""

from __future__ import annotations


class ModuleDocFragment:
    """Options shared by modules that list volumes or snapshots."""

    DOCUMENTATION = r"""
options:
  names:
    description:
      - Names, also with the wildcards V(*), V(?) and V([...]). An object fits when one of them, or one of O(global_ids), is its own.
      - A single name without a wildcard is read by itself, without listing all others.
      - An anonymous object is called V(~) and its global id.
    type: list
    elements: str
    aliases: [name]
  global_ids:
    description:
      - Global ids, with or without the V(~) that may lead them.
    type: list
    elements: str
    aliases: [global_id]
  templates:
    description:
      - Names of StorPool templates, also with wildcards. An object fits when its template is one of them.
    type: list
    elements: str
    aliases: [template]
  parents:
    description:
      - Names of parent snapshots, also with wildcards. An object fits when its parent is one of them.
    type: list
    elements: str
    aliases: [parent]
  tags:
    description:
      - Tags that an object must have, all of them; it may have others. Values may have wildcards, V(*) is any value.
        An empty value means that the object must not have the tag.
    type: dict
  cloudstack:
    description:
      - Only objects that belong to CloudStack (they carry the tag C(cs)), or with V(false) only those that do not.
    type: bool
  attached:
    description:
      - Only objects that are attached to some client, or with V(false) only those that are attached to none.
    type: bool
  attached_to:
    description:
      - Only objects that are attached to one of these clients (their ids, C(SP_OURID)).
    type: list
    elements: int
  min_size:
    description:
      - Only objects of at least this size, in bytes or in binary units, as in V(10G).
    type: str
  max_size:
    description:
      - Only objects of at most this size.
    type: str
  older_than:
    description:
      - Only objects that were created longer ago than this, in seconds or as in V(7d), V(12h).
    type: str
  newer_than:
    description:
      - Only objects that were created since then.
    type: str
  healthy:
    description:
      - Only objects all of whose copies are there and in order, or with V(false) only those of which something is down, lost or missing.
        Costs one more read.
    type: bool
  fields:
    description:
      - Which members the objects in the result have; C(name) is always among them. When not given, all but those that cost a further read.
      - What is named is read - C(attachments), C(stored) and C(used), C(status) take one read each. Leaving C(attachments) out saves one.
    type: list
    elements: str
  space:
    description:
      - Whether the objects are to have C(stored) and C(used). StorPool takes its time to count them on large clusters.
    type: bool
    default: false
  status:
    description:
      - Whether the objects are to have C(status), which tells whether their data is available and complete.
    type: bool
    default: false
  limit:
    description:
      - How many objects the result holds at most.
      - Whatever it is, the result is cut before it grows too long for the controller (600,000 characters). C(truncated), C(total)
        and C(next) in the result tell that it was cut and how to go on.
    type: int
  after:
    description:
      - Begin behind the object of this name, in the order of names. Give C(next) of the result before to get the next page. It does not
        matter whether the object still exists.
    type: str
  summary_only:
    description:
      - Whether to return the figures of C(summary) and no objects.
    type: bool
    default: false
"""
