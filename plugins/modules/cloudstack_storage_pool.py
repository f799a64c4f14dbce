#!/usr/bin/python
# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cloudstack_storage_pool
short_description: Manage StorPool primary storage in CloudStack
version_added: 0.1.0
author:
  - StorPool CloudStack collection authors (@storpool)
description:
  - Makes, proves, renames, tags, disables, maintains and deletes the primary storage pools that the StorPool plugin serves.
  - Before a pool is made, its API address, token and template are proved on StorPool, and the error says which of them is wrong.
    Those of a pool that exists are proved by every run with O(state=present) or O(state=enabled).
  - The token never appears in any output.
extends_documentation_fragment:
  - storpool.cloudstack.attributes
  - storpool.cloudstack.bulk
  - storpool.cloudstack.connection
  - storpool.cloudstack.cloudstack
options:
  pools:
    description:
      - The pools, when there are several. Each entry takes the options below, and what it leaves out it takes from the
        task's own options.
    type: list
    elements: dict
    suboptions:
      name: &name
        description:
          - Name of the pool.
        type: str
      id: &id
        description:
          - CloudStack's id of the pool, C(template;uuid), to name one that exists. With O(name), the pool has that name afterwards.
        type: str
      renamed_from: &renamed_from
        description:
          - Former name. When no pool is called O(name), the pool of this name is renamed; on the next run nothing is left to do.
        type: str
      state: &state
        description:
          - V(present) - the pool exists as described, whatever state it is in. V(enabled) - it is also in use (Up).
          - V(disabled) - nothing new is placed on it. V(maintenance) - CloudStack has stopped the VMs with volumes on it.
          - V(absent) - it does not exist.
        type: str
        choices: [present, enabled, disabled, maintenance, absent]
      zone: &zone
        description:
          - Zone of the pool, by name or id. Needed to make a pool, and when several zones have a pool of this name.
        type: str
      template: &template
        description:
          - StorPool template that the pool stands on. Needed to make a pool; of one that exists it cannot be changed.
          - One template serves one pool. A second one is refused with the name of the first.
        type: str
      pool_api_http: &pool_api_http
        description:
          - Address and port of the StorPool API as the management servers and hosts reach it, like V(10.0.0.1:81).
          - When not given, a new pool gets the first of O(sp_api_http_host). Of a pool that exists it cannot be changed.
        type: str
      pool_auth_token: &pool_auth_token
        description:
          - Token that the plugin uses. When not given, a new pool gets O(sp_auth_token). Of a pool that exists it cannot be changed.
        type: str
      capacity: &capacity
        description:
          - Size that a new pool is entered with, in bytes or in binary units, as in V(10T). When not given, it is what StorPool says.
          - The plugin's statistics replace it soon, so it is not compared afterwards.
        type: str
      tags: &tags
        description:
          - Storage tags of the pool - all of them. An empty list takes them away. A new pool has its name as tag when it is not given.
        type: list
        elements: str
      maintenance_first: &maintenance_first
        description:
          - Whether O(state=absent) may put the pool into maintenance first. CloudStack stops the VMs with volumes on it.
        type: bool
      forced: &forced
        description:
          - Whether O(state=absent) also expunges volumes that were destroyed but are still there.
        type: bool
  pools_src:
    description:
      - File with the pools, read where the task runs - JSON, YAML or CSV (by its ending) with a list of entries as in O(pools).
    type: path
  names:
    description:
      - Names of pools that are all alike. They take the task's own options.
    type: list
    elements: str
  name: *name
  id: *id
  renamed_from: *renamed_from
  state:
    <<: *state
    default: present
  zone: *zone
  template: *template
  pool_api_http: *pool_api_http
  pool_auth_token: *pool_auth_token
  capacity: *capacity
  tags: *tags
  maintenance_first:
    <<: *maintenance_first
    default: false
  forced:
    <<: *forced
    default: false
notes:
  - The plugin does not take another address or token for a pool that exists. Use the settings C(sp.alternative.endpoint) and
    C(sp.enable.alternative.endpoint) of the pool for that, with M(storpool.cloudstack.cloudstack_settings).
  - Ids of StorPool pools contain a semicolon. Quote them in shells, and do not use them as file names.
seealso:
  - module: storpool.cloudstack.storpool_template
  - module: storpool.cloudstack.cloudstack_settings
"""

EXAMPLES = r"""
- name: A template on StorPool
  storpool.cloudstack.storpool_template:
    name: hybrid-cs
    replication: 3
    place_all: hdd
    place_tail: ssd

- name: A pool on it
  storpool.cloudstack.cloudstack_storage_pool:
    name: storpool-hybrid
    zone: sofia
    template: hybrid-cs
    tags: [storpool, hybrid]

- name: Nothing new on it for now
  storpool.cloudstack.cloudstack_storage_pool:
    name: storpool-hybrid
    state: disabled

- name: Back in use, under another name
  storpool.cloudstack.cloudstack_storage_pool:
    name: storpool-archive
    renamed_from: storpool-hybrid
    state: enabled

- name: Delete it
  storpool.cloudstack.cloudstack_storage_pool:
    name: storpool-archive
    state: absent
    maintenance_first: true
"""

RETURN = r"""
pools:
  description: One entry for each pool; see O(return_objects).
  returned: always, unless the task failed before it read anything
  type: list
  elements: dict
  contains:
    name:
      description: Name of the pool.
      type: str
      returned: always
      sample: storpool-hybrid
    changed:
      description: Whether it changed.
      type: bool
      returned: always
      sample: true
    actions:
      description: What was done (in check mode, what would be done), in order.
      type: list
      elements: str
      returned: always
      sample: [create, disable]
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
      sample: [delete]
    failed:
      description: Whether this pool failed.
      type: bool
      returned: when it failed
      sample: true
    error:
      description: What went wrong with this pool.
      type: dict
      returned: when it failed
      sample: {type: refused, message: template nvme at 10.0.0.1:81 is that of storage pool storpool-nvme already, pool: storpool-nvme}
    storpool:
      description: Whether StorPool confirms the address, token and template of a pool that existed before, and the C(reason) if not.
      type: dict
      returned: for a pool that existed before, but with O(state=absent)
      sample: {verified: true}
    object:
      description: The pool afterwards; null when it does not exist.
      type: dict
      returned: always
      sample:
        id: hybrid-cs;0c3f2a4e-6f0d-4f0e-9f6e-0f1f7f6f2d11
        name: storpool-hybrid
        zone: sofia
        state: Up
        tags: [hybrid, storpool]
        template: hybrid-cs
        api: 10.0.0.1:81
        capacity: 10995116277760
summary:
  description: How many pools were declared, changed, right already, failed, not attempted.
  returned: always, unless the task failed before it read anything
  type: dict
  sample: {declared: 1, changed: 1, unchanged: 0, failed: 0, not_attempted: 0}
api:
  description: Calls made to both systems - reads, writes, attempts with all repetitions, and seconds waited between them.
  returned: always, unless the task failed before it ended
  type: dict
  sample: {reads: 3, writes: 1, attempts: 4, waited: 0.0}
error:
  description: The first failure, in parts that a playbook can act on.
  returned: on failure
  type: dict
  sample: {type: refused, object: storpool-hybrid}
"""

from ..module_utils._runner import Manages, run_module
from ..module_utils.resources.storage_pool import STORAGE_POOLS

DECLARED = Manages(
    resource=STORAGE_POOLS,
    plural="pools",
    systems=("cloudstack", "storpool"),
    item=dict(
        name=dict(type="str"),
        id=dict(type="str"),
        renamed_from=dict(type="str"),
        state=dict(type="str", choices=["present", "enabled", "disabled", "maintenance", "absent"], default="present"),
        zone=dict(type="str"),
        template=dict(type="str"),
        pool_api_http=dict(type="str"),
        pool_auth_token=dict(type="str", no_log=True),
        capacity=dict(type="str"),
        tags=dict(type="list", elements="str"),
        maintenance_first=dict(type="bool", default=False),
        forced=dict(type="bool", default=False),
    ),
)


def main():
    run_module(DECLARED)


if __name__ == "__main__":
    main()
