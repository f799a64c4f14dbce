#!/usr/bin/python
# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cloudstack_offering
short_description: Manage disk and compute offerings with IOPS limits and StorPool tiers
version_added: 0.1.0
author:
  - StorPool CloudStack collection authors (@storpool)
description:
  - Makes, changes, deactivates and deletes the offerings of CloudStack that decide what StorPool volumes get - the IOPS limit, the QoS
    class (detail C(SP_QOSCLASS)), another StorPool template than that of the pool (detail C(SP_TEMPLATE)).
  - Details, tags, names, zones and domains converge. What CloudStack sets only when an offering is made (sizes, IOPS, CPUs, encryption)
    is compared, and a difference is an error that says what to do.
  - An offering with O(template) is proved on StorPool - the template has to exist.
extends_documentation_fragment:
  - storpool.cloudstack.attributes
  - storpool.cloudstack.bulk
  - storpool.cloudstack.connection
  - storpool.cloudstack.cloudstack
options:
  offerings:
    description:
      - The offerings, when there are several. Each entry takes the options below, and what it leaves out it takes from the
        task's own options.
    type: list
    elements: dict
    suboptions:
      name: &name
        description:
          - Name of the offering. CloudStack allows several of one name; then O(id) is needed.
        type: str
      id: &id
        description:
          - Id of an offering that exists. With O(name), the offering has that name afterwards.
        type: str
      renamed_from: &renamed_from
        description:
          - Former name. When no offering is called O(name), the one of this name is renamed; on the next run nothing is left to do.
        type: str
      type: &type
        description:
          - Whether it is an offering for disks or for machines (their CPUs, memory and ROOT disk).
        type: str
        choices: [disk, compute]
      state: &state
        description:
          - V(present) - the offering exists as described. V(active) - it can also be chosen.
          - V(inactive) - it exists, and nothing new can be made with it (CloudStack 4.19.3 and newer). V(absent) - it does not exist.
        type: str
        choices: [present, active, inactive, absent]
      display_text: &display_text
        description:
          - What people read. A new offering has its name when it is not given.
        type: str
      size: &size
        description:
          - Size of the disk, in bytes or in binary units, in whole gibibytes, as in V(10G). When a disk offering is made without it,
            the size is chosen with each volume.
        type: str
      custom_size: &custom_size
        description:
          - Whether the size is chosen with each volume.
        type: bool
      strict_size: &strict_size
        description:
          - Whether volumes keep the size of the offering.
        type: bool
      min_iops: &min_iops
        description:
          - CloudStack takes this with O(max_iops) or not at all; StorPool does not use it. A new offering has O(max_iops) here
            when it is not given.
        type: int
      max_iops: &max_iops
        description:
          - The IOPS limit that StorPool gives each volume. For a compute offering it is that of the ROOT disk.
        type: int
      custom_iops: &custom_iops
        description:
          - Whether the IOPS limit is chosen with each volume.
        type: bool
      provisioning_type: &provisioning_type
        description:
          - How other storages provision it. StorPool volumes are always thin.
        type: str
        choices: [thin, sparse, fat]
      encrypt: &encrypt
        description:
          - Whether volumes, or the ROOT disk, are encrypted with LUKS by the host.
        type: bool
      cpu_number: &cpu_number
        description:
          - CPUs of a machine. Needed to make a compute offering.
        type: int
      cpu_speed: &cpu_speed
        description:
          - Speed of a CPU in MHz. Needed to make a compute offering.
        type: int
      memory: &memory
        description:
          - Memory of a machine in MiB. Needed to make a compute offering.
        type: int
      root_size: &root_size
        description:
          - Size of the ROOT disk, in bytes or in binary units, in whole gibibytes. When not given, it is that of the template.
        type: str
      offer_ha: &offer_ha
        description:
          - Whether CloudStack starts a machine elsewhere when its host is lost.
        type: bool
      storage_tags: &storage_tags
        description:
          - Tags that a storage pool must have - all of them. An empty list takes them away.
        type: list
        elements: str
      host_tags: &host_tags
        description:
          - Tags that a host must have, for a compute offering - all of them. An empty list takes them away.
        type: list
        elements: str
      qos_class: &qos_class
        description:
          - QoS class of StorPool that volumes get (tag C(qc), read by storpool_qos). An empty string takes it away.
          - For disk offerings, with CloudStack 4.20 and newer.
        type: str
      template: &template
        description:
          - StorPool template that volumes get instead of that of their pool. An empty string takes it away.
          - With CloudStack 4.20 and newer. Where O(qos_class) is set as well, that wins and the template is not used.
        type: str
      details: &details
        description:
          - Further details; each key has the value afterwards, and V(null) removes it. Others are left alone.
        type: dict
      zones: &zones
        description:
          - Zones that have the offering, by name or id - all of them. An empty list stands for every zone.
        type: list
        elements: str
      domains: &domains
        description:
          - Domains that have the offering, by name, path or id - all of them. An empty list stands for everybody.
        type: list
        elements: str
  offerings_src:
    description:
      - File with the offerings, read where the task runs - JSON, YAML or CSV (by its ending) with a list of entries as in O(offerings).
    type: path
  names:
    description:
      - Names of offerings that are all alike. They take the task's own options.
    type: list
    elements: str
  name: *name
  id: *id
  renamed_from: *renamed_from
  type:
    <<: *type
    default: disk
  state:
    <<: *state
    default: present
  display_text: *display_text
  size: *size
  custom_size: *custom_size
  strict_size: *strict_size
  min_iops: *min_iops
  max_iops: *max_iops
  custom_iops: *custom_iops
  provisioning_type: *provisioning_type
  encrypt: *encrypt
  cpu_number: *cpu_number
  cpu_speed: *cpu_speed
  memory: *memory
  root_size: *root_size
  offer_ha: *offer_ha
  storage_tags: *storage_tags
  host_tags: *host_tags
  qos_class: *qos_class
  template: *template
  details: *details
  zones: *zones
  domains: *domains
notes:
  - Volumes keep the limit and the tier that they were made with until they change offering, also when the details of the offering change.
seealso:
  - module: storpool.cloudstack.cloudstack_volume
  - module: storpool.cloudstack.storpool_template
"""

EXAMPLES = r"""
- name: Two tiers
  storpool.cloudstack.cloudstack_offering:
    size: 20G
    storage_tags: [storpool-nvme]
    offerings:
      - name: silver
        max_iops: 1000
      - name: gold
        max_iops: 10000
        display_text: 20 GiB, fast

- name: Of any size, on another StorPool template than the pool's (CloudStack 4.20 and newer)
  storpool.cloudstack.cloudstack_offering:
    name: archive
    template: hdd

- name: A machine whose ROOT disk is limited
  storpool.cloudstack.cloudstack_offering:
    type: compute
    name: small-limited
    cpu_number: 1
    cpu_speed: 1000
    memory: 1024
    max_iops: 500
    offer_ha: true

- name: Nothing new with this one
  storpool.cloudstack.cloudstack_offering:
    name: silver
    state: inactive

- name: Delete it
  storpool.cloudstack.cloudstack_offering:
    name: silver
    state: absent
"""

RETURN = r"""
offerings:
  description: One entry for each offering; see O(return_objects).
  returned: always, unless the task failed before it read anything
  type: list
  elements: dict
  contains:
    name:
      description: Name of the offering.
      type: str
      returned: always
      sample: gold
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
      sample: ["update storage_tags", "set SP_TEMPLATE"]
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
      sample: ["set SP_TEMPLATE"]
    failed:
      description: Whether this offering failed.
      type: bool
      returned: when it failed
      sample: true
    error:
      description: What went wrong with this offering.
      type: dict
      returned: when it failed
      sample: {type: refused, message: "offering gold cannot become that: max_iops is 10000, declared is 20000; ..."}
    object:
      description:
        - The offering afterwards; null when it does not exist. Zones and domains are ids, an empty list stands for all of them.
        - Of a compute offering C(cpu_number), C(cpu_speed) (MHz), C(memory) (MiB), C(root_size) (bytes), C(offer_ha) and C(host_tags), in
          place of C(size) (bytes), C(custom_size) and C(strict_size).
      type: dict
      returned: always
      sample:
        id: 5a0e1f3c-70a1-4ae5-8b1b-1e0d1f2c3b4a
        name: gold
        type: disk
        display_text: 20 GiB, fast
        state: Active
        size: 21474836480
        custom_size: false
        strict_size: false
        min_iops: 10000
        max_iops: 10000
        custom_iops: false
        provisioning_type: thin
        encrypt: false
        storage_tags: [storpool-nvme]
        details: {}
        zones: []
        domains: []
summary:
  description: How many offerings were declared, changed, right already, failed, not attempted.
  returned: always, unless the task failed before it read anything
  type: dict
  sample: {declared: 2, changed: 1, unchanged: 1, failed: 0, not_attempted: 0}
api:
  description: Calls made to both systems - reads, writes, attempts with all repetitions, and seconds waited between them.
  returned: always, unless the task failed before it ended
  type: dict
  sample: {reads: 1, writes: 1, attempts: 2, waited: 0.0}
error:
  description: The first failure, in parts that a playbook can act on.
  returned: on failure
  type: dict
  sample: {type: refused, object: gold}
"""

from ..module_utils._runner import Manages, run_module
from ..module_utils.resources.offering import OFFERINGS

DECLARED = Manages(
    resource=OFFERINGS,
    plural="offerings",
    systems=("cloudstack", "storpool"),
    item=dict(
        name=dict(type="str"),
        id=dict(type="str"),
        renamed_from=dict(type="str"),
        type=dict(type="str", choices=["disk", "compute"], default="disk"),
        state=dict(type="str", choices=["present", "active", "inactive", "absent"], default="present"),
        display_text=dict(type="str"),
        size=dict(type="str"),
        custom_size=dict(type="bool"),
        strict_size=dict(type="bool"),
        min_iops=dict(type="int"),
        max_iops=dict(type="int"),
        custom_iops=dict(type="bool"),
        provisioning_type=dict(type="str", choices=["thin", "sparse", "fat"]),
        encrypt=dict(type="bool"),
        cpu_number=dict(type="int"),
        cpu_speed=dict(type="int"),
        memory=dict(type="int"),
        root_size=dict(type="str"),
        offer_ha=dict(type="bool"),
        storage_tags=dict(type="list", elements="str"),
        host_tags=dict(type="list", elements="str"),
        qos_class=dict(type="str"),
        template=dict(type="str"),
        details=dict(type="dict"),
        zones=dict(type="list", elements="str"),
        domains=dict(type="list", elements="str"),
    ),
)


def main():
    run_module(DECLARED)


if __name__ == "__main__":
    main()
