#!/usr/bin/python
# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: storpool_snapshot_info
short_description: Tell what StorPool snapshots there are
version_added: 0.1.0
author:
  - StorPool CloudStack collection authors (@storpool)
description:
  - Returns the snapshots that fit, as M(storpool.cloudstack.storpool_snapshot) returns them and with more about each, and figures over all.
  - With O(remote) it returns what other locations hold for this cluster, which is where backups are.
  - Makes only the reads that what is asked for takes - one for the snapshots, and one each for attachments, exports and status.
  - A snapshot that goes away meanwhile is left out; asking for one that does not exist returns none and is no failure.
extends_documentation_fragment:
  - storpool.cloudstack.attributes.info
  - storpool.cloudstack.connection
  - storpool.cloudstack.selection
options:
  volume:
    description:
      - Only snapshots that this volume stands on, from its parent to the first of the chain. Read by a call of its own, without
        listing all snapshots. V(~) and a global id name an anonymous volume.
      - With O(remote), only snapshots that the other location knows as taken of a volume of this name.
    type: str
  series:
    description:
      - Only snapshots whose name the pattern makes that M(storpool.cloudstack.storpool_snapshot) was given for them, as in
        V(nightly-%Y%m%d) or V({volume}-%Y%m%d%H). A pattern with V({volume}) needs O(volume).
    type: str
  bound:
    description:
      - Only snapshots that go away by themselves once nothing stands on them, or with V(false) only those that do not.
    type: bool
  exported:
    description:
      - Only snapshots that are exported to another location, or with V(false) only those that are not. Costs one more read.
    type: bool
  exports:
    description:
      - Whether the snapshots are to have C(exported_to).
    type: bool
    default: false
  backup:
    description:
      - Only snapshots that are backups of another location's, or with V(false) only those that are not.
    type: bool
  deleted:
    description:
      - What to do with snapshots that are being deleted, whose data is still being merged into what stands on them.
    type: str
    choices: [exclude, include, only]
    default: exclude
  transient:
    description:
      - What to do with the snapshots that StorPool makes and takes away by itself when a volume is copied.
    type: str
    choices: [exclude, include, only]
    default: exclude
  expires:
    description:
      - Only snapshots that StorPool will delete at some time, or with V(false) only those that stay.
    type: bool
  expires_within:
    description:
      - Only snapshots that StorPool will delete within this time, in seconds or as in V(7d), V(12h).
    type: str
  remote:
    description:
      - Return the snapshots that other locations hold for this cluster or export to it, in C(remote_snapshots), instead of this
        cluster's own. Of the filters it takes O(names), O(global_ids) (their ids over there), O(volume), O(series), O(tags),
        O(cloudstack), O(min_size), O(max_size), O(older_than), O(newer_than) and O(locations).
    type: bool
    default: false
  locations:
    description:
      - With O(remote), only what these locations hold.
    type: list
    elements: str
    aliases: [location]
seealso:
  - module: storpool.cloudstack.storpool_snapshot
  - module: storpool.cloudstack.storpool_volume_info
  - module: storpool.cloudstack.storpool_cluster_info
"""

EXAMPLES = r"""
- name: What a volume can be reverted to
  storpool.cloudstack.storpool_snapshot_info:
    volume: db-data
    fields: [name, created, tags]

- name: The nightly ones that go within a week
  storpool.cloudstack.storpool_snapshot_info:
    series: nightly-%Y%m%d
    expires_within: 7d

- name: Old snapshots that nothing will delete, and what deleting each would free
  storpool.cloudstack.storpool_snapshot_info:
    expires: false
    cloudstack: false
    older_than: 90d
    space: true

- name: What is exported, and where to
  storpool.cloudstack.storpool_snapshot_info:
    exported: true
    exports: true

- name: Snapshots that are still being deleted
  storpool.cloudstack.storpool_snapshot_info:
    deleted: only

- name: Backups that another location has
  storpool.cloudstack.storpool_snapshot_info:
    remote: true
    locations: [plovdiv]
    tags:
      owner: dba
"""

RETURN = r"""
snapshots:
  description: The snapshots that fit, in the order of their names. Empty with O(remote).
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the snapshot; that of an anonymous one is made by StorPool.
      type: str
      returned: always
      sample: before-upgrade
    global_id:
      description: Global id, which never changes.
      type: str
      returned: when asked for
      sample: a1.b.c4
    size:
      description: Size in bytes.
      type: int
      returned: when asked for
      sample: 10737418240
    template:
      description: StorPool template; null when it has none.
      type: str
      returned: when asked for
      sample: nvme
    parent:
      description: Snapshot that it stands on; null when there is none.
      type: str
      returned: when asked for
      sample: null
    on_volume:
      description: Volume that stands directly on it; null when there is none.
      type: str
      returned: when asked for
      sample: db-data
    iops:
      description: Limit of operations per second, or V(unlimited).
      type: raw
      returned: when asked for
      sample: 5000
    bw:
      description: Limit of bandwidth in KB/s, or V(unlimited).
      type: raw
      returned: when asked for
      sample: unlimited
    replication:
      description: Number of copies.
      type: int
      returned: when asked for
      sample: 3
    place_all:
      description: Placement group for all copies but the last.
      type: str
      returned: when asked for
      sample: nvme
    place_head:
      description: Placement group for the first copy.
      type: str
      returned: when asked for
      sample: nvme
    place_tail:
      description: Placement group for the last copy.
      type: str
      returned: when asked for
      sample: nvme
    reuse_server:
      description: Whether several copies may be on one server.
      type: bool
      returned: when asked for
      sample: false
    tags:
      description: Tags.
      type: dict
      returned: when asked for
      sample: {owner: dba}
    attachments:
      description: Clients that it is attached to.
      type: list
      elements: dict
      returned: when asked for
      sample: [{client: 11, rights: ro}]
    bound:
      description: Whether it goes away by itself once nothing stands on it.
      type: bool
      returned: when asked for
      sample: false
    created:
      description: When it was created, in UNIX seconds.
      type: int
      returned: when asked for
      sample: 1772353800
    delete_at:
      description: When StorPool will delete it, in UNIX seconds; null when it stays.
      type: int
      returned: when asked for
      sample: null
    recovering:
      description: Whether it is still being copied from another location.
      type: bool
      returned: when asked for
      sample: false
    exported_to:
      description: Locations that it is exported to.
      type: list
      elements: str
      returned: with O(exports)
      sample: [plovdiv]
    deleted:
      description: Whether it is being deleted.
      type: bool
      returned: when asked for
      sample: false
    transient:
      description: Whether StorPool made it for a copy of a volume and will take it away.
      type: bool
      returned: when asked for
      sample: false
    auto_name:
      description: Whether StorPool made its name.
      type: bool
      returned: when asked for
      sample: false
    backup:
      description: Whether it is a backup of another location's snapshot.
      type: bool
      returned: when asked for
      sample: false
    backup_of:
      description: Global id of that snapshot.
      type: str
      returned: when asked for
      sample: null
    cluster:
      description: Cluster that it is in.
      type: str
      returned: with O(sp_multi_cluster)
      sample: sofia-a
    stored:
      description: Bytes in the snapshot itself, before replication.
      type: int
      returned: with O(space)
      sample: 4294967296
    used:
      description: Bytes that deleting it would free.
      type: int
      returned: with O(space)
      sample: 4294967296
    status:
      description: Whether the data is available and complete; null when the snapshot went away meanwhile.
      type: dict
      returned: with O(status)
      sample:
        status: up
        decreased_redundancy: false
        migrating: false
        balancer_blocked: false
        down_bytes: 0
        syncing_bytes: 0
        down_disks: []
        missing_disks: []
        soft_ejecting_disks: []
remote_snapshots:
  description: What other locations hold, in the order of names.
  returned: with O(remote)
  type: list
  elements: dict
  contains:
    name:
      description: Name over there, or V(~) and its id.
      type: str
      returned: always
      sample: ~pd.a.a8
    remote_id:
      description: Global id over there, with which O(storpool.cloudstack.storpool_volume#module:remote) asks for it.
      type: str
      returned: when asked for
      sample: pd.a.a8
    location:
      description: Location that holds it.
      type: str
      returned: when asked for
      sample: plovdiv
    size:
      description: Size in bytes.
      type: int
      returned: when asked for
      sample: 10737418240
    on_volume:
      description: Volume that it was taken of, as the other location knows it; null when it does not.
      type: str
      returned: when asked for
      sample: null
    tags:
      description: Tags.
      type: dict
      returned: when asked for
      sample: {owner: dba}
    local_snapshot:
      description: Snapshot of this cluster that it is the same as; null when there is none, or only one that is being deleted.
      type: str
      returned: when asked for
      sample: null
    created:
      description: When it was created, in UNIX seconds.
      type: int
      returned: when asked for
      sample: 1772353800
total:
  description: How many snapshots fit, in the result or not.
  returned: success
  type: int
  sample: 1
truncated:
  description: Whether snapshots that come after those in the result fit as well.
  returned: success
  type: bool
  sample: false
next:
  description: Name of the last snapshot in the result when there are more; give it as O(after) to go on. Otherwise null.
  returned: success
  type: str
  sample: null
summary:
  description: Figures over all snapshots that fit, in the result or not.
  returned: success
  type: dict
  contains:
    count:
      description: How many there are.
      type: int
      returned: always
      sample: 1
    size:
      description: Their sizes together, in bytes.
      type: int
      returned: always
      sample: 10737418240
    cloudstack:
      description: How many of them belong to CloudStack.
      type: int
      returned: without O(remote)
      sample: 0
    templates:
      description: How many there are of each template, and their sizes together.
      type: list
      elements: dict
      returned: without O(remote)
      sample: [{template: nvme, count: 1, size: 10737418240}]
    attached:
      description: How many of them are attached.
      type: int
      returned: when the attachments were read
      sample: 1
    stored:
      description: Bytes written to them, before replication.
      type: int
      returned: with O(space)
      sample: 4294967296
    used:
      description: Bytes that deleting each of them would free, together.
      type: int
      returned: with O(space)
      sample: 4294967296
api:
  description: Calls made - reads, writes, attempts with all repetitions, and seconds waited between them.
  returned: success
  type: dict
  sample: {reads: 2, writes: 0, attempts: 2, waited: 0.0}
error:
  description: What went wrong, in parts that a playbook can act on.
  returned: on failure
  type: dict
  sample: {type: unreachable}
"""

from ..module_utils._runner import Informs, run_module
from ..module_utils.resources._select import SELECT_SPEC
from ..module_utils.resources.snapshot_info import query

DECLARED = Informs(
    query=query,
    options=dict(
        **SELECT_SPEC,
        volume=dict(type="str"),
        series=dict(type="str"),
        bound=dict(type="bool"),
        exported=dict(type="bool"),
        exports=dict(type="bool", default=False),
        backup=dict(type="bool"),
        deleted=dict(type="str", choices=["exclude", "include", "only"], default="exclude"),
        transient=dict(type="str", choices=["exclude", "include", "only"], default="exclude"),
        expires=dict(type="bool"),
        expires_within=dict(type="str"),
        remote=dict(type="bool", default=False),
        locations=dict(type="list", elements="str", aliases=["location"]),
    ),
)


def main():
    run_module(DECLARED)


if __name__ == "__main__":
    main()
