#!/usr/bin/python
# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: storpool_template
short_description: Manage StorPool templates
version_added: 0.1.0
author:
  - StorPool CloudStack collection authors (@storpool)
description:
  - Creates, changes, renames and deletes StorPool templates, which give volumes and snapshots their placement, replication and limits.
  - A changed template is for new volumes. With O(propagate) the volumes and snapshots that exist are part of the declared state too.
  - Reads once, changes only what differs, and tells in check mode exactly what it would do.
extends_documentation_fragment:
  - storpool.cloudstack.attributes
  - storpool.cloudstack.bulk
  - storpool.cloudstack.connection
options:
  templates:
    description:
      - The templates, when there are several. Each entry takes the options below, and what it leaves out it takes from the
        task's own options.
    type: list
    elements: dict
    suboptions:
      name: &name
        description:
          - Name of the template.
        type: str
      state: &state
        description:
          - V(present) - the template exists as described. V(absent) - it does not exist.
          - A template that volumes or snapshots still use is not deleted; the error tells how many there are and names the first of them.
        type: str
        choices: [present, absent]
      renamed_from: &renamed_from
        description:
          - Former name. When no template is called O(name), the template of this name is renamed; on the next run nothing is left to do.
          - Volumes and snapshots keep their template under its new name. CloudStack does not - the address of its primary storage
            names the template (C(SP_TEMPLATE)) and has to be changed with it.
        type: str
      size: &size
        description:
          - Size of volumes that are created without one, in bytes or in binary units, as in V(10G).
          - It can be changed but not taken away again, and it is never propagated.
        type: str
      parent: &parent
        description:
          - Name of the snapshot that volumes are created from when they name no other.
          - It can be changed but not taken away again, and it is never propagated.
        type: str
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
          - Placement group for all copies but the last. A new template has V(default) when it is not given.
        type: str
      place_head: &place_head
        description:
          - Placement group for the first copy. A new template has that of O(place_all) when it is not given.
        type: str
      place_tail: &place_tail
        description:
          - Placement group for the last copy, the one that is read from. A new template has that of O(place_all) when it is not given.
        type: str
      reuse_server: &reuse_server
        description:
          - Whether several copies may be on one server.
        type: bool
      propagate: &propagate
        description:
          - Whether the volumes and snapshots that the template has already are to have its limits, replication and placement as well -
            all that the template says, also what this task does not give.
          - Each object is compared, so the task changes something when the template is right and an object is not, and nothing
            when all are. The diff and C(propagated) in the result name the objects that change, and only those.
          - Changed placement or replication moves their data. Limits that single volumes were given are replaced, also by V(unlimited).
          - Volumes and snapshots of CloudStack are changed only with O(allow_cloudstack_objects).
        type: bool
      allow_cloudstack_objects: &allow_cloudstack_objects
        description:
          - Whether O(propagate) may change volumes and snapshots that belong to CloudStack (they carry the tag C(cs)).
        type: bool
  templates_src:
    description:
      - File with the templates, read where the task runs - JSON, YAML or CSV (by its ending) with a list of entries as in O(templates).
    type: path
  names:
    description:
      - Names of templates that are all alike. They take the task's own options.
    type: list
    elements: str
  name: *name
  state:
    <<: *state
    default: present
  renamed_from: *renamed_from
  size: *size
  parent: *parent
  iops: *iops
  bw: *bw
  replication: *replication
  place_all: *place_all
  place_head: *place_head
  place_tail: *place_tail
  reuse_server: *reuse_server
  propagate:
    <<: *propagate
    default: false
  allow_cloudstack_objects:
    <<: *allow_cloudstack_objects
    default: false
seealso:
  - module: storpool.cloudstack.storpool_volume
  - module: storpool.cloudstack.storpool_cluster_info
"""

EXAMPLES = r"""
- name: Three copies, two on disks and the one that is read from on flash
  storpool.cloudstack.storpool_template:
    name: hybrid-r3
    replication: 3
    place_all: hdd
    place_tail: ssd

- name: Limit it, for new volumes and for those that exist
  storpool.cloudstack.storpool_template:
    name: hybrid-r3
    iops: 5000
    bw: 200M
    propagate: true

- name: Give it another name
  storpool.cloudstack.storpool_template:
    name: hybrid
    renamed_from: hybrid-r3

- name: Tiers of one make
  storpool.cloudstack.storpool_template:
    templates:
      - name: bronze
        iops: 1000
      - name: silver
        iops: 5000
      - name: gold
        iops: unlimited
    replication: 3
    place_all: nvme

- name: Delete those that nothing uses any more
  storpool.cloudstack.storpool_template:
    names: [bronze, silver]
    state: absent
"""

RETURN = r"""
templates:
  description: One entry for each template; see O(return_objects).
  returned: always, unless the task failed before it read anything
  type: list
  elements: dict
  contains:
    name:
      description: Name of the template.
      type: str
      returned: always
      sample: hybrid-r3
    changed:
      description: Whether this template, or an object that it reaches, changed.
      type: bool
      returned: always
      sample: true
    actions:
      description: What was done (in check mode, what would be done), in order.
      type: list
      elements: str
      returned: always
      sample: ["update iops, bw and propagate"]
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
      sample: ["update iops, bw and propagate"]
    failed:
      description: Whether this template failed.
      type: bool
      returned: when it failed
      sample: true
    error:
      description: What went wrong with this template.
      type: dict
      returned: when it failed
      sample: {type: refused, message: "template hybrid is in use by 2 volumes (db-data, db-log) and 1 snapshot (before-upgrade)"}
    propagated:
      description: Which existing objects are changed to what the template says.
      type: dict
      returned: with O(propagate)
      contains:
        options:
          description: Options in which some of them differ.
          type: list
          elements: str
          returned: always
          sample: [iops, bw]
        volumes:
          description:
            - Volumes that are changed - how many, and the names of the first hundred. C(all_named) tells whether that is all of them.
          type: dict
          returned: always
          sample: {count: 2, names: [db-data, db-log], all_named: true}
        snapshots:
          description: Snapshots that are changed, in the same form.
          type: dict
          returned: always
          sample: {count: 0, names: [], all_named: true}
    object:
      description: The template afterwards; null when it does not exist.
      type: dict
      returned: always
      sample:
        name: hybrid-r3
        size: null
        parent: null
        iops: 5000
        bw: 204800
        replication: 3
        place_all: hdd
        place_head: hdd
        place_tail: ssd
        reuse_server: false
summary:
  description: How many templates were declared, changed, right already, failed, not attempted.
  returned: always, unless the task failed before it read anything
  type: dict
  sample: {declared: 1, changed: 1, unchanged: 0, failed: 0, not_attempted: 0}
api:
  description: Calls made - reads, writes, attempts with all repetitions, and seconds waited between them.
  returned: always, unless the task failed before it ended
  type: dict
  sample: {reads: 3, writes: 1, attempts: 4, waited: 0.0}
error:
  description: The first failure, in parts that a playbook can act on.
  returned: on failure
  type: dict
  sample: {type: refused, object: hybrid}
"""

from ..module_utils._runner import Manages, run_module
from ..module_utils.resources.template import TEMPLATES

DECLARED = Manages(
    resource=TEMPLATES,
    plural="templates",
    item=dict(
        name=dict(type="str"),
        state=dict(type="str", choices=["present", "absent"], default="present"),
        renamed_from=dict(type="str"),
        size=dict(type="str"),
        parent=dict(type="str"),
        iops=dict(type="str"),
        bw=dict(type="str"),
        replication=dict(type="int"),
        place_all=dict(type="str"),
        place_head=dict(type="str"),
        place_tail=dict(type="str"),
        reuse_server=dict(type="bool"),
        propagate=dict(type="bool", default=False),
        allow_cloudstack_objects=dict(type="bool", default=False),
    ),
)


def main():
    run_module(DECLARED)


if __name__ == "__main__":
    main()
