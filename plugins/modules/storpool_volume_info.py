#!/usr/bin/python
# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: storpool_volume_info
short_description: Tell what StorPool volumes there are
version_added: 0.1.0
author:
  - StorPool CloudStack collection authors (@storpool)
description:
  - Returns the volumes that fit, as M(storpool.cloudstack.storpool_volume) returns them and with more about each, and figures over all.
  - Makes only the reads that what is asked for takes - one for the volumes, one for their attachments, and one for their status.
  - A volume that goes away meanwhile is left out; asking for one that does not exist returns none and is no failure.
extends_documentation_fragment:
  - storpool.cloudstack.attributes.info
  - storpool.cloudstack.connection
  - storpool.cloudstack.selection
seealso:
  - module: storpool.cloudstack.storpool_volume
  - module: storpool.cloudstack.storpool_snapshot_info
  - module: storpool.cloudstack.storpool_cluster_info
"""

EXAMPLES = r"""
- name: One volume
  storpool.cloudstack.storpool_volume_info:
    name: db-data
  register: db

- name: Say where it is attached
  ansible.builtin.debug:
    msg: "{{ db.volumes | map(attribute='attachments') | list }}"

- name: Names and sizes of all volumes of the database team on two tiers
  storpool.cloudstack.storpool_volume_info:
    names: ['db-*']
    templates: [nvme, 'hybrid*']
    tags:
      owner: dba
    fields: [name, size]

- name: Large volumes that are attached nowhere, and how much is written to them
  storpool.cloudstack.storpool_volume_info:
    attached: false
    min_size: 100G
    older_than: 30d
    space: true

- name: Volumes of CloudStack with a copy missing
  storpool.cloudstack.storpool_volume_info:
    cloudstack: true
    healthy: false

- name: Only the figures
  storpool.cloudstack.storpool_volume_info:
    summary_only: true

- name: Two pages of all
  block:
    - name: The first
      storpool.cloudstack.storpool_volume_info:
        limit: 500
      register: first

    - name: The next
      storpool.cloudstack.storpool_volume_info:
        limit: 500
        after: "{{ first.next }}"
      when: first.truncated
"""

RETURN = r"""
volumes:
  description: The volumes that fit, in the order of their names.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the volume, or V(~) and its global id when it has none.
      type: str
      returned: always
      sample: db-data
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
      sample: [{client: 11, rights: rw}]
    created:
      description: When it was created, in UNIX seconds.
      type: int
      returned: when asked for
      sample: 1772353800
    cluster:
      description: Cluster that it is in.
      type: str
      returned: with O(sp_multi_cluster)
      sample: sofia-a
    stored:
      description: Bytes written to the volume itself, before replication.
      type: int
      returned: with O(space)
      sample: 4294967296
    used:
      description: Bytes of the volume including those in its parents.
      type: int
      returned: with O(space)
      sample: 4294967296
    status:
      description: Whether the data is available and complete; null when the volume went away meanwhile.
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
total:
  description: How many volumes fit, in the result or not.
  returned: success
  type: int
  sample: 1
truncated:
  description: Whether volumes that come after those in the result fit as well.
  returned: success
  type: bool
  sample: false
next:
  description: Name of the last volume in the result when there are more; give it as O(after) to go on. Otherwise null.
  returned: success
  type: str
  sample: null
summary:
  description: Figures over all volumes that fit, in the result or not.
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
      returned: always
      sample: 0
    templates:
      description: How many there are of each template, and their sizes together.
      type: list
      elements: dict
      returned: always
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
      description: Bytes of them including those in their parents, which several may share.
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
from ..module_utils.resources.volume_info import query

DECLARED = Informs(query=query, options=SELECT_SPEC)


def main():
    run_module(DECLARED)


if __name__ == "__main__":
    main()
