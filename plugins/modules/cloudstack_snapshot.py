#!/usr/bin/python
# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cloudstack_snapshot
short_description: Manage snapshots of CloudStack volumes, proved on StorPool
version_added: 0.1.0
author:
  - StorPool CloudStack collection authors (@storpool)
description:
  - Takes snapshots of volumes through CloudStack, reverts volumes to them, copies them to other zones, deletes them, and keeps of a series
    what retention says.
  - Whether a snapshot also gets a copy on secondary storage, CloudStack's version and settings decide; the result says so and why.
    Every run proves that StorPool has the snapshot.
  - A name with the time in it makes a scheduled task do its work once in each period, however often it runs.
extends_documentation_fragment:
  - storpool.cloudstack.attributes
  - storpool.cloudstack.bulk
  - storpool.cloudstack.connection
  - storpool.cloudstack.cloudstack
  - storpool.cloudstack.owner
options:
  snapshots:
    description:
      - The snapshots, when there are several. Each entry takes the options below, and what it leaves out it takes from the
        task's own options.
    type: list
    elements: dict
    suboptions:
      volume: &volume
        description:
          - The volume, by name or id. Needed, unless O(state=absent) and O(id) is given. Snapshots of a deleted volume are found by
            its name, too.
        type: str
      name: &name
        description:
          - Name of the snapshot. The snapshots of one volume are told apart by it.
          - It may hold the time at which the task began, in the directives of strftime that make digits, as in V(nightly-%Y%m%d).
            Within the period of the finest directive the name is the same, so a task that runs again within the period changes nothing.
        type: str
      id: &id
        description:
          - Id of a snapshot that exists, instead of its name.
        type: str
      zone: &zone
        description:
          - Name or id of the zone in which the volume is looked for.
        type: str
      account: &account
        description:
          - Name of the account that has the volume. Needs O(domain). When neither this nor O(project) is given, all accounts are looked at.
        type: str
      domain: &domain
        description:
          - Name, path or id of the domain of O(account) or O(project).
        type: str
      project: &project
        description:
          - Name or id of the project that has the volume. Without it, volumes of projects are not seen, and the id
            of one is refused. Where domains have projects of one name, O(domain) says which.
        type: str
      state: &state
        description:
          - V(present) - the snapshot exists and can be used (BackedUp); it is taken when there is none of its name. One that is being
            backed up is waited for. With retention, the series it belongs to then has only what the rules keep.
          - V(reverted) - the volume has the content and the size of the snapshot. Nothing is done when it stands on it and nothing was
            written to it since. What was written since is lost.
          - V(absent) - it does not exist. V(pruned) - none is taken; of the series only those exist that the rules of retention keep.
        type: str
        choices: [present, reverted, absent, pruned]
      backup: &backup
        description:
          - Whether it has to be copied to secondary storage. CloudStack decides that by its settings; when they say otherwise, the task is
            refused and says which setting to change. When not given, it is as they say.
          - They are C(snapshot.backup.to.secondary), and before CloudStack 4.21 also C(sp.bypass.secondary.storage).
        type: bool
      zones: &zones
        description:
          - With O(state=present), zones (names or ids) that have a copy of it. StorPool makes the copies itself on CloudStack 4.21 and
            newer when a StorPool pool of each of these zones has C(use.storage.replication); otherwise what is on secondary storage is
            copied. Copies in other zones are left alone.
          - With O(state=absent), the zones in which alone it does not exist.
        type: list
        elements: str
      timezone: &timezone
        description:
          - Time zone of the times in O(name) and of the calendar of retention, as in V(Europe/Sofia).
          - Where the clocks are set back, a name with the hour comes twice, so that there is no second one in that hour. V(UTC) has no such
            hour.
        type: str
      stop_vm: &stop_vm
        description:
          - Whether O(state=reverted) may stop a VM that runs. It is started again afterwards. CloudStack reverts volumes only of stopped
            VMs. Several volumes of one VM in one task stop and start it once.
        type: bool
      verify: &verify
        description:
          - What to do when StorPool does not have the snapshot as CloudStack says. V(strict) fails, V(warn) warns, V(off) does not look.
        type: str
        choices: [strict, warn, "off"]
      wait_timeout: &wait_timeout
        description:
          - How long the backup to secondary storage, or a copy to another zone, may take, as in V(30m); and how long to wait, before a
            deletion, until StorPool's export to another zone has ended.
        type: str
      keep_last: &keep_last
        description:
          - Retention - how many of the newest members of the series to keep. The series are the snapshots of the volume whose names O(name)
            can make, at any time. A member is deleted when no C(keep_) option keeps it, unless the task itself declares it.
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
          - Refuse the task when retention would delete more snapshots than this.
        type: int
  snapshots_src:
    description:
      - File with the snapshots, read where the task runs - JSON, YAML or CSV (by its ending) with a list of entries as in O(snapshots).
    type: path
  volumes:
    description:
      - Volumes, by name or id, whose snapshots are all alike. They take the task's own options.
    type: list
    elements: str
  volume: *volume
  name: *name
  id: *id
  state:
    <<: *state
    default: present
  backup: *backup
  zones: *zones
  timezone:
    <<: *timezone
    default: UTC
  stop_vm:
    <<: *stop_vm
    default: false
  verify:
    <<: *verify
    default: strict
  wait_timeout:
    <<: *wait_timeout
    default: 6h
  keep_last: *keep_last
  keep_hourly: *keep_hourly
  keep_daily: *keep_daily
  keep_weekly: *keep_weekly
  keep_monthly: *keep_monthly
  keep_yearly: *keep_yearly
  max_deletes: *max_deletes
notes:
  - Volumes of one VM are done one after the other, because CloudStack takes one snapshot of a VM at a time. They are not of one moment;
    M(storpool.cloudstack.cloudstack_vm_snapshot) takes such.
  - A snapshot that CloudStack could not finish (in state Error) counts as none; the next run removes it and takes another.
  - Snapshots that policies take, and the last snapshots of deleted volumes, are left alone unless they are meant by O(id) or O(name).
  - A VM that O(stop_vm=true) stops carries the tag C(ansible-start-after-revert) until it runs again. When the task is interrupted
    in between, the next run starts the VM.
  - After a revert to a snapshot that is smaller than the volume, CloudStack has the smaller size and StorPool keeps the larger one.
seealso:
  - module: storpool.cloudstack.cloudstack_vm_snapshot
  - module: storpool.cloudstack.cloudstack_volume
  - module: storpool.cloudstack.storpool_snapshot
"""

EXAMPLES = r"""
- name: Before an upgrade
  storpool.cloudstack.cloudstack_snapshot:
    volume: db-data
    name: before-upgrade

- name: The upgrade went wrong
  storpool.cloudstack.cloudstack_snapshot:
    volume: db-data
    name: before-upgrade
    state: reverted
    stop_vm: true

- name: A new volume from it, to look at
  storpool.cloudstack.cloudstack_volume:
    name: db-look
    zone: sofia
    snapshot: before-upgrade

- name: Every night, and a week of them
  storpool.cloudstack.cloudstack_snapshot:
    name: nightly-%Y%m%d
    volumes: [db-data, db-log]
    timezone: Europe/Sofia
    keep_daily: 7

- name: No longer needed
  storpool.cloudstack.cloudstack_snapshot:
    volume: db-data
    name: before-upgrade
    state: absent
"""

RETURN = r"""
snapshots:
  description: One entry for each snapshot; see O(return_objects).
  returned: always, unless the task failed before it read anything
  type: list
  elements: dict
  contains:
    name:
      description: Volume and name of the snapshot.
      type: str
      returned: always
      sample: db-data/before-upgrade
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
      sample: [create, copy to plovdiv by StorPool]
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
      sample: [copy to plovdiv by StorPool]
    failed:
      description: Whether this snapshot failed.
      type: bool
      returned: when it failed
      sample: true
    error:
      description: What went wrong with this snapshot.
      type: dict
      returned: when it failed
      sample: {type: refused, message: "VM db1 runs; CloudStack reverts volumes only of stopped VMs", allow_with: "stop_vm: true"}
    storpool:
      description: The snapshot on StorPool; null when it was not asked.
      type: dict
      returned: with O(state=present) and O(state=reverted)
      sample:
        global_id: sf.b.21
        size: 2147483648
        created: 1763800000
        tags: {cs: snapshot, uuid: 6c1b6a4e-3a0d-4d1c-9a39-0a0b1c2d3e4f}
    differences:
      description: What StorPool and secondary storage do not hold as CloudStack says.
      type: list
      elements: str
      returned: with O(state=present) and O(state=reverted)
      sample: []
    backup:
      description: Whether it is copied to secondary storage, and why.
      type: dict
      returned: with O(state=present), when it was asked
      sample: {done: true, because: snapshot.backup.to.secondary is true}
    revert:
      description: Whether a revert was needed, why, and the size of the volume in CloudStack before and after.
      type: dict
      returned: with O(state=reverted)
      sample: {needed: true, because: 1048576 bytes were written to volume db-data since, size_before: 2147483648, size_after: 2147483648}
    retention:
      description: What the rules keep, with the reasons, and what was deleted. What the task itself declares is kept as C(declared).
      type: dict
      returned: with retention
      sample: {kept: {nightly-20261122: [daily 2026-11-22]}, deleted: [nightly-20261115]}
    object:
      description: The snapshot in CloudStack afterwards; null when it does not exist. Its C(backup) is null when that was not asked.
      type: dict
      returned: always
      sample:
        id: 6c1b6a4e-3a0d-4d1c-9a39-0a0b1c2d3e4f
        name: before-upgrade
        volume: db-data
        state: BackedUp
        type: MANUAL
        size: 2147483648
        account: admin
        project: null
        zones: [sofia]
        backup: true
summary:
  description: How many snapshots were declared, changed, right already, failed, not attempted.
  returned: always, unless the task failed before it read anything
  type: dict
  sample: {declared: 1, changed: 1, unchanged: 0, failed: 0, not_attempted: 0}
api:
  description: Calls made to both systems - reads, writes, attempts with all repetitions, and seconds waited between them.
  returned: always, unless the task failed before it ended
  type: dict
  sample: {reads: 6, writes: 1, attempts: 7, waited: 0.2}
error:
  description: The first failure, in parts that a playbook can act on.
  returned: on failure
  type: dict
  sample: {type: refused, object: db-data/before-upgrade}
"""

from ..module_utils._runner import Manages, run_module
from ..module_utils.resources._cloud import OWNER_SPEC
from ..module_utils.resources.cloud_series import RETENTION_SPEC
from ..module_utils.resources.cloud_snapshot import CLOUD_SNAPSHOTS, WAIT

DECLARED = Manages(
    resource=CLOUD_SNAPSHOTS,
    plural="snapshots",
    key="volume",
    systems=("cloudstack", "storpool"),
    item=dict(
        volume=dict(type="str"),
        name=dict(type="str"),
        id=dict(type="str"),
        **OWNER_SPEC,
        state=dict(type="str", choices=["present", "reverted", "absent", "pruned"], default="present"),
        backup=dict(type="bool"),
        zones=dict(type="list", elements="str"),
        timezone=dict(type="str", default="UTC"),
        stop_vm=dict(type="bool", default=False),
        verify=dict(type="str", choices=["strict", "warn", "off"], default="strict"),
        wait_timeout=dict(type="str", default=WAIT),
        **RETENTION_SPEC,
    ),
)


def main():
    run_module(DECLARED)


if __name__ == "__main__":
    main()
