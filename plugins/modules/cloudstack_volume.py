#!/usr/bin/python
# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cloudstack_volume
short_description: Manage volumes of CloudStack, proved on StorPool
version_added: 0.1.0
author:
  - StorPool CloudStack collection authors (@storpool)
description:
  - Makes volumes of CloudStack (from nothing or from a snapshot), resizes and limits them, changes their offering, attaches them to VMs,
    moves them between storage pools, protects and deletes them - all through CloudStack.
  - Every run compares CloudStack and StorPool - existence, size, IOPS, template, tags, attachments. See O(verify) and O(repair). After
    changes both are read once more, and what is not as declared then, because of CloudStack or of somebody else, is an error.
  - A DATA volume is born on StorPool when it is attached for the first time.
extends_documentation_fragment:
  - storpool.cloudstack.attributes
  - storpool.cloudstack.bulk
  - storpool.cloudstack.connection
  - storpool.cloudstack.cloudstack
  - storpool.cloudstack.owner
options:
  volumes:
    description:
      - The volumes, when there are several. Each entry takes the options below, and what it leaves out it takes from the
        task's own options.
    type: list
    elements: dict
    suboptions:
      name: &name
        description:
          - Name of the volume. CloudStack allows several of one name; then O(id), or O(zone), O(account), O(project) are needed.
        type: str
      id: &id
        description:
          - Id of a volume that exists. With O(name), the volume has that name afterwards.
        type: str
      renamed_from: &renamed_from
        description:
          - Former name. When no volume is called O(name), the one of this name is renamed; on the next run nothing is left to do.
        type: str
      zone: &zone
        description:
          - Name or id of the zone in which the volume is looked for, and made. Needed to make one.
        type: str
      account: &account
        description:
          - Name of the account that has the volume, or is to have it. Needs O(domain).
          - When neither this nor O(project) is given, the volumes of all accounts are looked at, and a new one belongs to the caller.
        type: str
      domain: &domain
        description:
          - Name, path or id of the domain of O(account) or O(project).
        type: str
      project: &project
        description:
          - Name or id of the project that has the volume, or is to have it. Without it, volumes of projects are not seen, and the id
            of one is refused. Where domains have projects of one name, O(domain) says which.
        type: str
      state: &state
        description:
          - Whether the volume exists. ROOT volumes go with their VM.
        type: str
        choices: [present, absent]
      offering: &offering
        description:
          - Disk offering, by name or id. Needed to make a volume, unless it comes from a snapshot. Of one that exists it is changed.
        type: str
      size: &size
        description:
          - Size, in bytes or in binary units, in whole gibibytes, as in V(20G). For offerings that leave it open, and for ROOT volumes.
        type: str
      allow_shrink: &allow_shrink
        description:
          - Whether O(size), or the size of O(offering), may be less than the volume has. What lies beyond is lost.
        type: bool
      min_iops: &min_iops
        description:
          - CloudStack takes this with O(max_iops) or not at all; StorPool does not use it. When not given, it is O(max_iops).
        type: int
      max_iops: &max_iops
        description:
          - The IOPS limit, for offerings that leave it open, and for ROOT volumes.
        type: int
      snapshot: &snapshot
        description:
          - Volume snapshot, by name or id, that a new volume is made from. It gets the IOPS limit of the snapshot's volume, which
            O(max_iops) changes where the offering leaves the limit open.
          - It cannot have an offering that encrypts, and the snapshot cannot be one of an encrypted volume.
          - A volume that was made from another snapshot is refused. CloudStack or, where that does not tell, the chain of snapshots on
            StorPool knows what it was made from; it is not compared when neither does (a volume that was moved offline, for instance), nor
            when the snapshot is gone.
        type: str
      vm: &vm
        description:
          - VM that the volume is attached to, by name or id. An empty string detaches it. When not given, it stays as it is.
        type: str
      device_id: &device_id
        description:
          - Number of the device in O(vm), which no other volume of it may have. CloudStack chooses when it is not given. 0 is the ROOT
            volume's and 3 the CD-ROM's.
          - One that another volume of the same task leaves is free for this one; two volumes that change places take two tasks.
        type: int
      storage_pool: &storage_pool
        description:
          - Storage pool, by name or id, that the volume is on. It is moved there, live when its VM runs and both pools are on StorPool,
            otherwise offline, as a copy with another global id.
          - What CloudStack does not allow is refused before anything is sent, with the command that works instead, if there is one.
            Volumes of running VMs to or from other storage, encrypted volumes of VMs that do not run, VM snapshots, snapshots that the old
            pool alone has, pools that are not up.
          - A volume that is on no pool yet gets the one that CloudStack chooses, by the storage tags of the offering. It can only be
            declared when those leave no other choice.
        type: str
      encrypted: &encrypted
        description:
          - Whether the volume has to be encrypted. The offering decides that; this only proves it.
        type: bool
      delete_protection: &delete_protection
        description:
          - Whether CloudStack refuses to delete the volume (4.20 and newer). With O(state=absent), V(false) takes the protection away
            first.
        type: bool
      on_attached: &on_attached
        description:
          - What to do when a volume to be deleted is attached. V(fail) refuses, V(detach) detaches it.
        type: str
        choices: [fail, detach]
      verify: &verify
        description:
          - What to do when CloudStack and StorPool do not hold the same. V(strict) fails, V(warn) warns, V(off) does not look.
        type: str
        choices: [strict, warn, "off"]
      sp_node_ids: &sp_node_ids
        description:
          - "StorPool node ids (C(SP_OURID)) of hosts, by their names, as in C({kvm11: 11}). No call of either system tells them."
          - With it, a volume of a running VM has to be attached to the client of the VM's host and to no other; without it, to one client,
            whichever that is.
        type: dict
      repair: &repair
        description:
          - Whether to have CloudStack send size, limit and tier to StorPool again where they differ, as for the ROOT volumes that
            CloudStack 4.21 and newer make without limit. RV(volumes[].differences) tells what that can mend.
          - A volume that is larger on StorPool is never made smaller. A tier can be sent again to volumes whose offering leaves size or
            limit open.
        type: bool
  volumes_src:
    description:
      - File with the volumes, read where the task runs - JSON, YAML or CSV (by its ending) with a list of entries as in O(volumes).
    type: path
  names:
    description:
      - Names of volumes that are all alike. They take the task's own options.
    type: list
    elements: str
  name: *name
  id: *id
  renamed_from: *renamed_from
  state:
    <<: *state
    default: present
  offering: *offering
  size: *size
  allow_shrink:
    <<: *allow_shrink
    default: false
  min_iops: *min_iops
  max_iops: *max_iops
  snapshot: *snapshot
  vm: *vm
  device_id: *device_id
  storage_pool: *storage_pool
  encrypted: *encrypted
  delete_protection: *delete_protection
  on_attached:
    <<: *on_attached
    default: fail
  verify:
    <<: *verify
    default: strict
  sp_node_ids: *sp_node_ids
  repair:
    <<: *repair
    default: false
notes:
  - While a VM has VM snapshots, CloudStack does not let its volumes be resized, attached, detached or moved.
  - When CloudStack resizes a volume, a host is told, that of the VM if it runs. When the host fails, both systems have the size that they
    had, and the task fails with the host's words. When only libvirt is not told, CloudStack reports success and says so in the log of its
    management server alone; the VM then sees the size when it is started again. CloudStack 4.20.0 never tells it, which is a warning.
  - CloudStack takes no tier away. A change to an offering without one is refused, unless O(verify) says otherwise.
seealso:
  - module: storpool.cloudstack.cloudstack_offering
  - module: storpool.cloudstack.cloudstack_snapshot
  - module: storpool.cloudstack.storpool_volume
"""

EXAMPLES = r"""
- name: A volume for the database, attached
  storpool.cloudstack.cloudstack_volume:
    name: db-data
    zone: sofia
    offering: Custom
    size: 2G
    vm: db1

- name: It grows while the VM runs
  storpool.cloudstack.cloudstack_volume:
    name: db-data
    size: 4G

- name: The limits of all volumes are right on StorPool, too
  storpool.cloudstack.cloudstack_volume:
    name: db-data
    repair: true

- name: Nothing but this may hold it - the host that its VM runs on
  storpool.cloudstack.cloudstack_volume:
    name: db-data
    sp_node_ids: {kvm11: 11, kvm12: 12}

- name: Detach it, and keep it from being deleted by mistake (CloudStack 4.20 and newer)
  storpool.cloudstack.cloudstack_volume:
    name: db-data
    vm: ""
    delete_protection: true

- name: Delete it after all
  storpool.cloudstack.cloudstack_volume:
    name: db-data
    state: absent
    delete_protection: false
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
      description: Whether it changed.
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
      sample: [attach]
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
      sample: {type: refused, message: volume db-data has 4G, declared are 2G; what lies beyond would be lost}
    storpool:
      description:
        - What StorPool holds of it; null while the volume has never been attached, and when it was not asked (O(verify=off)).
        - After changes it is what was read back; in check mode it is what is there now. The attachments are null with O(sp_multi_cluster),
          where the cluster that is asked does not know those in the others.
      type: dict
      returned: for a volume that is to exist
      sample:
        global_id: sf.b.7
        size: 4294967296
        iops: 5000
        template: nvme
        tags: {cs: volume, uuid: 8d1f4f0a-02f2-4f3c-9a55-5f8b8b0f8f10, cvm: 41e3b6d3-7b0d-4f1a-a1a9-7e3e8f6f8a55}
        attachments: [{client: 11, rights: rw}]
    differences:
      description: What CloudStack and StorPool do not hold alike afterwards - the field, both values, and whether O(repair) can mend it.
      type: list
      elements: dict
      returned: for a volume that is to exist
      sample: [{field: max_iops, cloudstack: 5000, storpool: unlimited, mend: true}]
    object:
      description: The volume in CloudStack afterwards; null when it does not exist. Sizes are in bytes.
      type: dict
      returned: always
      sample:
        id: 8d1f4f0a-02f2-4f3c-9a55-5f8b8b0f8f10
        name: db-data
        state: Ready
        type: DATADISK
        zone: sofia
        account: admin
        domain: ROOT
        project: null
        offering: Custom
        size: 4294967296
        min_iops: null
        max_iops: null
        vm: db1
        device_id: 1
        storage_pool: storpool-nvme
        encrypted: false
        delete_protection: false
        snapshot_id: null
        global_id: sf.b.7
summary:
  description: How many volumes were declared, changed, right already, failed, not attempted.
  returned: always, unless the task failed before it read anything
  type: dict
  sample: {declared: 1, changed: 1, unchanged: 0, failed: 0, not_attempted: 0}
api:
  description: Calls made to both systems - reads, writes, attempts with all repetitions, and seconds waited between them.
  returned: always, unless the task failed before it ended
  type: dict
  sample: {reads: 6, writes: 2, attempts: 8, waited: 0.4}
error:
  description: The first failure, in parts that a playbook can act on.
  returned: on failure
  type: dict
  sample: {type: refused, object: db-data}
"""

from ..module_utils._runner import Manages, run_module
from ..module_utils.resources._cloud import OWNER_SPEC
from ..module_utils.resources.cloud_volume import CLOUD_VOLUMES

DECLARED = Manages(
    resource=CLOUD_VOLUMES,
    plural="volumes",
    systems=("cloudstack", "storpool"),
    item=dict(
        name=dict(type="str"),
        id=dict(type="str"),
        renamed_from=dict(type="str"),
        **OWNER_SPEC,
        state=dict(type="str", choices=["present", "absent"], default="present"),
        offering=dict(type="str"),
        size=dict(type="str"),
        allow_shrink=dict(type="bool", default=False),
        min_iops=dict(type="int"),
        max_iops=dict(type="int"),
        snapshot=dict(type="str"),
        vm=dict(type="str"),
        device_id=dict(type="int"),
        storage_pool=dict(type="str"),
        encrypted=dict(type="bool"),
        delete_protection=dict(type="bool"),
        on_attached=dict(type="str", choices=["fail", "detach"], default="fail"),
        verify=dict(type="str", choices=["strict", "warn", "off"], default="strict"),
        repair=dict(type="bool", default=False),
        sp_node_ids=dict(type="dict"),
    ),
)


def main():
    run_module(DECLARED)


if __name__ == "__main__":
    main()
