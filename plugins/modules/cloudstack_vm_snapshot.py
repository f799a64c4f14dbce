#!/usr/bin/python
# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cloudstack_vm_snapshot
short_description: Manage VM snapshots of CloudStack as consistent groups on StorPool
version_added: 0.1.0
author:
  - StorPool CloudStack collection authors (@storpool)
description:
  - Takes snapshots of all volumes of a VM at one moment, reverts a VM to one, deletes them, and keeps of a series what retention says.
  - StorPool takes them as one consistent group, without the VM's memory; every run proves that it has one snapshot for each volume.
  - A name with the time in it makes a scheduled task do its work once in each period, however often it runs.
extends_documentation_fragment:
  - storpool.cloudstack.attributes
  - storpool.cloudstack.bulk
  - storpool.cloudstack.connection
  - storpool.cloudstack.cloudstack
  - storpool.cloudstack.owner
options:
  vm_snapshots:
    description:
      - The VM snapshots, when there are several. Each entry takes the options below, and what it leaves out it takes from the
        task's own options.
    type: list
    elements: dict
    suboptions:
      vm: &vm
        description:
          - The VM, by name or id. It has to be given, here or for all.
        type: str
      name: &name
        description:
          - Name of the VM snapshot. Names of one VM are told apart by it.
          - It may hold the time at which the task began, in the directives of strftime that make digits, as in V(nightly-%Y%m%d).
            Within the period of the finest directive the name is the same, so a task that runs again within the period changes nothing.
        type: str
      id: &id
        description:
          - Id of a VM snapshot, instead of its name, to revert to it or to delete it.
        type: str
      zone: &zone
        description:
          - Name or id of the zone in which the VM is looked for.
        type: str
      account: &account
        description:
          - Name of the account that has the VM. Needs O(domain). When neither this nor O(project) is given, all accounts are looked at.
        type: str
      domain: &domain
        description:
          - Name, path or id of the domain of O(account) or O(project).
        type: str
      project: &project
        description:
          - Name or id of the project that has the VM. Without it, VMs of projects are not seen, and the id
            of one is refused. Where domains have projects of one name, O(domain) says which.
        type: str
      state: &state
        description:
          - V(present) - the VM snapshot exists; it is taken when there is none of its name. With retention, the series it belongs to
            then has only what the rules keep.
          - V(reverted) - the volumes of the VM have the content of the snapshot. Nothing is done when all of them stand on it and
            nothing was written to them since. What was written since is lost.
          - V(absent) - it does not exist. V(pruned) - none is taken; of the series only those exist that the rules of retention keep.
        type: str
        choices: [present, reverted, absent, pruned]
      timezone: &timezone
        description:
          - Time zone of the times in O(name) and of the calendar of retention, as in V(Europe/Sofia).
          - Where the clocks are set back, a name with the hour comes twice, so that there is no second one in that hour. V(UTC) has no such
            hour.
        type: str
      description: &description
        description:
          - Text that a new VM snapshot gets.
        type: str
      stop_vm: &stop_vm
        description:
          - Whether O(state=reverted) may stop a VM that runs. It is started again afterwards. CloudStack reverts only stopped VMs.
        type: bool
      verify: &verify
        description:
          - What to do when StorPool does not have one snapshot for each volume, all of one moment. V(strict) fails, V(warn) warns, V(off)
            does not look.
        type: str
        choices: [strict, warn, "off"]
      keep_last: &keep_last
        description:
          - Retention - how many of the newest members of the series to keep. The series are the snapshots of the VM whose names O(name) can
            make, at any time. A member is deleted when no C(keep_) option keeps it, unless the task itself declares it.
        type: int
      keep_hourly: &keep_hourly
        description:
          - Retention - keep the newest of each hour, for this many of the newest periods that have one.
        type: int
      keep_daily: &keep_daily
        description:
          - Retention - keep the newest of each day, for this many of the newest periods that have one.
        type: int
      keep_weekly: &keep_weekly
        description:
          - Retention - keep the newest of each week (ISO, from Monday), for this many of the newest periods that have one.
        type: int
      keep_monthly: &keep_monthly
        description:
          - Retention - keep the newest of each month, for this many of the newest periods that have one.
        type: int
      keep_yearly: &keep_yearly
        description:
          - Retention - keep the newest of each year, for this many of the newest periods that have one.
        type: int
      max_deletes: &max_deletes
        description:
          - Refuse the task when retention would delete more VM snapshots than this.
        type: int
  vm_snapshots_src:
    description:
      - File with the VM snapshots, read where the task runs - JSON, YAML or CSV (by its ending) with a list of entries as in
        O(vm_snapshots).
    type: path
  vms:
    description:
      - VMs, by name or id, whose snapshots are all alike. They take the task's own options.
    type: list
    elements: str
  vm: *vm
  name: *name
  id: *id
  state:
    <<: *state
    default: present
  timezone:
    <<: *timezone
    default: UTC
  description: *description
  stop_vm:
    <<: *stop_vm
    default: false
  verify:
    <<: *verify
    default: strict
  keep_last: *keep_last
  keep_hourly: *keep_hourly
  keep_daily: *keep_daily
  keep_weekly: *keep_weekly
  keep_monthly: *keep_monthly
  keep_yearly: *keep_yearly
  max_deletes: *max_deletes
notes:
  - While a VM has VM snapshots, CloudStack does not let its volumes be resized, attached, detached or moved.
  - CloudStack keeps at most C(vmsnapshot.max) of them for a VM. Where there is no room for another one, what retention deletes goes
    first.
  - A VM that O(stop_vm=true) stops carries the tag C(ansible-start-after-revert) until it runs again. When the task is interrupted
    in between, the next run starts the VM.
seealso:
  - module: storpool.cloudstack.cloudstack_snapshot
  - module: storpool.cloudstack.storpool_snapshot
"""

EXAMPLES = r"""
- name: Before an upgrade, all volumes of both VMs at the same instant each
  storpool.cloudstack.cloudstack_vm_snapshot:
    name: before-upgrade
    vms: [db1, web1]

- name: The upgrade went wrong
  storpool.cloudstack.cloudstack_vm_snapshot:
    vm: db1
    name: before-upgrade
    state: reverted
    stop_vm: true

- name: No longer needed
  storpool.cloudstack.cloudstack_vm_snapshot:
    name: before-upgrade
    state: absent
    vms: [db1, web1]

- name: Every night, and a week of them
  storpool.cloudstack.cloudstack_vm_snapshot:
    vm: db1
    name: nightly-%Y%m%d
    timezone: Europe/Sofia
    keep_daily: 7
"""

RETURN = r"""
vm_snapshots:
  description: One entry for each VM snapshot; see O(return_objects).
  returned: always, unless the task failed before it read anything
  type: list
  elements: dict
  contains:
    name:
      description: VM and name of the VM snapshot.
      type: str
      returned: always
      sample: db1/before-upgrade
    changed:
      description: Whether something changed.
      type: bool
      returned: always
      sample: true
    actions:
      description: What was done (in check mode, what would be done), in order.
      type: list
      elements: str
      returned: always
      sample: [mark the VM, stop the VM, revert, start the VM, unmark the VM]
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
      sample: [start the VM]
    failed:
      description: Whether this VM snapshot failed.
      type: bool
      returned: when it failed
      sample: true
    error:
      description: What went wrong with this VM snapshot.
      type: dict
      returned: when it failed
      sample: {type: refused, message: "VM db1 runs; CloudStack reverts disks only of stopped VMs", allow_with: "stop_vm: true"}
    storpool:
      description: The group on StorPool - one snapshot for each volume, and whether they are of one moment.
      type: dict
      returned: with O(state=present) and O(state=reverted)
      sample: {consistent: true, snapshots: [{global_id: sf.b.21, size: 2147483648, created: 1763800000}]}
    differences:
      description: What StorPool does not hold as CloudStack says.
      type: list
      elements: str
      returned: with O(state=present) and O(state=reverted)
      sample: []
    revert:
      description: Whether a revert was needed, and why.
      type: dict
      returned: with O(state=reverted)
      sample: {needed: true, because: 1048576 bytes were written to volume db-data since}
    retention:
      description: What the rules keep, with the reasons, and what was deleted. What the task itself declares is kept as C(declared).
      type: dict
      returned: with retention
      sample: {kept: {nightly-20261122: [daily 2026-11-22]}, deleted: [nightly-20261115]}
    object:
      description: The VM snapshot afterwards; null when it does not exist.
      type: dict
      returned: always
      sample:
        id: 6c1b6a4e-3a0d-4d1c-9a39-0a0b1c2d3e4f
        name: before-upgrade
        vm: db1
        state: Ready
        type: Disk
        description: null
summary:
  description: How many VM snapshots were declared, changed, right already, failed, not attempted.
  returned: always, unless the task failed before it read anything
  type: dict
  sample: {declared: 1, changed: 1, unchanged: 0, failed: 0, not_attempted: 0}
api:
  description: Calls made to both systems - reads, writes, attempts with all repetitions, and seconds waited between them.
  returned: always, unless the task failed before it ended
  type: dict
  sample: {reads: 4, writes: 1, attempts: 5, waited: 0.2}
error:
  description: The first failure, in parts that a playbook can act on.
  returned: on failure
  type: dict
  sample: {type: refused, object: db1/before-upgrade}
"""

from ..module_utils._runner import Manages, run_module
from ..module_utils.resources._cloud import OWNER_SPEC
from ..module_utils.resources.cloud_series import RETENTION_SPEC
from ..module_utils.resources.vm_snapshot import VM_SNAPSHOTS

DECLARED = Manages(
    resource=VM_SNAPSHOTS,
    plural="vm_snapshots",
    key="vm",
    systems=("cloudstack", "storpool"),
    item=dict(
        vm=dict(type="str"),
        name=dict(type="str"),
        id=dict(type="str"),
        **OWNER_SPEC,
        state=dict(type="str", choices=["present", "reverted", "absent", "pruned"], default="present"),
        timezone=dict(type="str", default="UTC"),
        description=dict(type="str"),
        stop_vm=dict(type="bool", default=False),
        verify=dict(type="str", choices=["strict", "warn", "off"], default="strict"),
        **RETENTION_SPEC,
    ),
)


def main():
    run_module(DECLARED)


if __name__ == "__main__":
    main()
