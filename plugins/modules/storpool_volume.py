#!/usr/bin/python
# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: storpool_volume
short_description: Manage StorPool volumes
version_added: 0.1.0
author:
  - StorPool CloudStack collection authors (@storpool)
description:
  - Creates, changes, attaches, reverts and deletes StorPool volumes, one or ten thousand in one task.
  - Reads once, changes only what differs, and tells in check mode exactly what it would do.
extends_documentation_fragment:
  - storpool.cloudstack.attributes
  - storpool.cloudstack.bulk
  - storpool.cloudstack.connection
options:
  volumes:
    description:
      - The volumes, when there are several. Each entry takes the options below.
      - What an entry leaves out it takes from the task's own options.
    type: list
    elements: dict
    suboptions:
      name: &name
        description:
          - Name of the volume. A volume found by O(global_id), O(match_tags) or O(renamed_from) is given this name.
        type: str
      global_id: &global_id
        description:
          - Global id of an existing volume. It is never renamed or created under another id, so it finds the volume whatever it is called.
        type: str
      match_tags: &match_tags
        description:
          - Tags that identify the volume. Exactly one volume may have them all; when none has, one is created with them.
        type: dict
      state: &state
        description:
          - V(present) - the volume exists as described. V(absent) - it does not exist.
          - V(reverted) - its content is that of the snapshot O(revert_to). It is reverted unless StorPool's figures show that
            it stands on that snapshot and nothing was written since; the result tells how that is known. Of the other options only
            those of attaching count then; size, limits, tags, template and name stay as they are.
        type: str
        choices: [present, absent, reverted]
      renamed_from: &renamed_from
        description:
          - Former name. When no volume is called O(name), the volume of this name is renamed; on the next run nothing is left to do.
        type: str
      size: &size
        description:
          - Size in bytes or in binary units, as in V(10G). A multiple of 512 bytes.
          - May be left out when a template or a source gives it.
        type: str
      allow_shrink: &allow_shrink
        description:
          - Whether O(size) may be less than the present size, which cuts off the end of the volume.
        type: bool
      template: &template
        description:
          - StorPool template that gives placement, replication and limits. Changing it moves the data of an existing volume.
        type: str
      parent: &parent
        description:
          - Snapshot to create the volume from. Used only when the volume is created. V(~) and a global id name an anonymous snapshot.
        type: str
      base_on: &base_on
        description:
          - Volume to create a copy of. Used only when the volume is created.
        type: str
      remote: &remote
        description:
          - Backup in another location to create the volume from. Used only when the volume is created.
        type: dict
        suboptions:
          location:
            description: Name of the location.
            type: str
            required: true
          id:
            description: Global id of the snapshot in that location.
            type: str
            required: true
      iops: &iops
        description:
          - Limit of operations per second, or V(unlimited).
        type: str
      bw: &bw
        description:
          - Limit of bandwidth in KB/s (StorPool's unit), with a suffix in bytes per second as in V(100M), or V(unlimited).
        type: str
      replication: &replication
        description:
          - Number of copies, 1 to 3.
        type: int
      place_all: &place_all
        description:
          - Placement group for all copies but the last.
        type: str
      place_head: &place_head
        description:
          - Placement group for the first copy.
        type: str
      place_tail: &place_tail
        description:
          - Placement group for the last copy, the one that is read from.
        type: str
      tags: &tags
        description:
          - Tags of the volume. An empty value removes the tag.
        type: dict
      tags_mode: &tags_mode
        description:
          - V(merge) leaves other tags alone, V(exact) removes them.
        type: str
        choices: [merge, exact]
      attach_to: &attach_to
        description:
          - Clients (their ids, C(SP_OURID)) that the volume is to be attached to.
          - An entry is an id as V(11), with rights as V(11:ro), or a map with C(client) and C(rights) (V(rw) or V(ro)).
        type: list
        elements: raw
      exclusive: &exclusive
        description:
          - Whether the volume is to be detached from all clients that O(attach_to) does not name.
        type: bool
      force: &force
        description:
          - Whether to detach from a client that has the volume open.
        type: bool
      wait_timeout: &wait_timeout
        description:
          - How long to wait until the clients see the change, in seconds or as in V(2m). V(60) when not given.
        type: str
      revert_to: &revert_to
        description:
          - Snapshot to revert to, with O(state=reverted).
        type: str
      revert_size: &revert_size
        description:
          - Whether reverting also takes over the size of the snapshot.
        type: bool
      on_attached: &on_attached
        description:
          - What to do when a volume to be deleted or reverted is attached. V(fail) refuses, V(detach) detaches it,
            V(detach_force) detaches it also from clients that have it open.
        type: str
        choices: [fail, detach, detach_force]
      keep_snapshot: &keep_snapshot
        description:
          - Take a snapshot before deleting the volume, as a way back. StorPool has no other.
        type: dict
        suboptions:
          name:
            description: Name of the snapshot. When not given, it is made of the volume's name and id.
            type: str
          delete_after:
            description: When StorPool deletes the snapshot, as in V(7d) from now. When not given, never.
            type: str
          tags:
            description: Tags of the snapshot.
            type: dict
      allow_cloudstack_objects: &allow_cloudstack_objects
        description:
          - Whether volumes that belong to CloudStack (they carry the tag C(cs)) may be changed.
        type: bool
  volumes_src:
    description:
      - File with the volumes, read where the task runs - JSON, YAML or CSV (by its ending) with a list of entries as in O(volumes).
        For thousands of volumes this is many times faster than a list in the task.
    type: path
  names:
    description:
      - Names of volumes that are all alike. They take the task's own options.
    type: list
    elements: str
  name: *name
  global_id: *global_id
  match_tags: *match_tags
  state:
    <<: *state
    default: present
  renamed_from: *renamed_from
  size: *size
  allow_shrink:
    <<: *allow_shrink
    default: false
  template: *template
  parent: *parent
  base_on: *base_on
  remote: *remote
  iops: *iops
  bw: *bw
  replication: *replication
  place_all: *place_all
  place_head: *place_head
  place_tail: *place_tail
  tags: *tags
  tags_mode:
    <<: *tags_mode
    default: merge
  attach_to: *attach_to
  exclusive:
    <<: *exclusive
    default: false
  force:
    <<: *force
    default: false
  wait_timeout: *wait_timeout
  revert_to: *revert_to
  revert_size:
    <<: *revert_size
    default: false
  on_attached:
    <<: *on_attached
    default: fail
  keep_snapshot: *keep_snapshot
  allow_cloudstack_objects:
    <<: *allow_cloudstack_objects
    default: false
seealso:
  - module: storpool.cloudstack.storpool_snapshot
  - module: storpool.cloudstack.storpool_template
  - module: storpool.cloudstack.storpool_volume_info
"""

EXAMPLES = r"""
- name: A volume of 10 GiB on the template nvme
  storpool.cloudstack.storpool_volume:
    name: db-data
    size: 10G
    template: nvme
    iops: 5000
    tags:
      owner: dba

- name: Grow it and lift the limit
  storpool.cloudstack.storpool_volume:
    name: db-data
    size: 20G
    iops: unlimited

- name: Attach it to client 11 and to nobody else
  storpool.cloudstack.storpool_volume:
    name: db-data
    attach_to: [11]
    exclusive: true

- name: A copy of it, and an empty one, both on another template
  storpool.cloudstack.storpool_volume:
    volumes:
      - name: db-test
        base_on: db-data
      - name: scratch
        size: 1G
    template: hybrid

- name: Delete it wherever it is attached, with a way back for a week
  storpool.cloudstack.storpool_volume:
    name: db-data
    state: absent
    on_attached: detach
    keep_snapshot:
      delete_after: 7d
"""

RETURN = r"""
volumes:
  description: One entry for each volume; see O(return_objects).
  returned: always, unless the task failed before it read anything
  type: list
  elements: dict
  contains:
    name:
      description: Name of the volume.
      type: str
      returned: always
      sample: db-data
    changed:
      description: Whether this volume changed.
      type: bool
      returned: always
      sample: true
    actions:
      description: What was done (in check mode, what would be done), in order.
      type: list
      elements: str
      returned: always
      sample: [create, attach]
    unknown:
      description: What was sent when it failed, and is not known to have been done. Running the task again finds out.
      type: list
      elements: str
      returned: when the answer was lost and reading did not settle it
      sample: [create]
    not_done:
      description: What was left to do when it failed.
      type: list
      elements: str
      returned: when something was left to do
      sample: [attach]
    failed:
      description: Whether this volume failed.
      type: bool
      returned: when it failed
      sample: true
    error:
      description: What went wrong with this volume.
      type: dict
      returned: when it failed
      sample: {type: refused, message: db-data is attached to client 11 (rw); deleting it needs it detached}
    revert:
      description: Whether reverting was needed, and how that is known.
      type: dict
      returned: with O(state=reverted)
      sample: {needed: false, because: it stands on before-upgrade and nothing was written to it since}
    kept_snapshot:
      description: Name of the snapshot taken before the volume was deleted.
      type: str
      returned: with O(keep_snapshot)
      sample: db-data-deleted-c4
    object:
      description:
        - The volume afterwards; null when it does not exist.
        - Its C(attachments) are null when they were not read. They are with O(attach_to), and with any O(state) but V(present).
      type: dict
      returned: always
      sample:
        name: db-data
        global_id: a1.b.c4
        size: 10737418240
        template: nvme
        parent: null
        iops: 5000
        bw: unlimited
        replication: 3
        place_all: nvme
        place_head: nvme
        place_tail: nvme
        tags: {owner: dba}
        attachments: [{client: 11, rights: rw}]
summary:
  description: How many volumes were declared, changed, right already, failed, not attempted.
  returned: always, unless the task failed before it read anything
  type: dict
  sample: {declared: 1, changed: 1, unchanged: 0, failed: 0, not_attempted: 0}
api:
  description: Calls made - reads, writes, attempts with all repetitions, and seconds waited between them.
  returned: always, unless the task failed before it ended
  type: dict
  sample: {reads: 1, writes: 1, attempts: 2, waited: 0.0}
error:
  description: The first failure, in parts that a playbook can act on.
  returned: on failure
  type: dict
  sample: {type: api, name: insufficientResources, call: VolumeCreate, object: db-data}
"""

from ..module_utils._runner import Manages, run_module
from ..module_utils.resources.volume import VOLUMES

DECLARED = Manages(
    resource=VOLUMES,
    plural="volumes",
    item=dict(
        name=dict(type="str"),
        global_id=dict(type="str"),
        match_tags=dict(type="dict"),
        state=dict(type="str", choices=["present", "absent", "reverted"], default="present"),
        renamed_from=dict(type="str"),
        size=dict(type="str"),
        allow_shrink=dict(type="bool", default=False),
        template=dict(type="str"),
        parent=dict(type="str"),
        base_on=dict(type="str"),
        remote=dict(type="dict", options=dict(location=dict(type="str", required=True), id=dict(type="str", required=True))),
        iops=dict(type="str"),
        bw=dict(type="str"),
        replication=dict(type="int"),
        place_all=dict(type="str"),
        place_head=dict(type="str"),
        place_tail=dict(type="str"),
        tags=dict(type="dict"),
        tags_mode=dict(type="str", choices=["merge", "exact"], default="merge"),
        attach_to=dict(type="list", elements="raw"),
        exclusive=dict(type="bool", default=False),
        force=dict(type="bool", default=False),
        wait_timeout=dict(type="str"),
        revert_to=dict(type="str"),
        revert_size=dict(type="bool", default=False),
        on_attached=dict(type="str", choices=["fail", "detach", "detach_force"], default="fail"),
        keep_snapshot=dict(type="dict", options=dict(name=dict(type="str"), delete_after=dict(type="str"), tags=dict(type="dict"))),
        allow_cloudstack_objects=dict(type="bool", default=False),
    ),
)


def main():
    run_module(DECLARED)


if __name__ == "__main__":
    main()
