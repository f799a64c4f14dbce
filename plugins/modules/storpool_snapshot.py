#!/usr/bin/python
# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: storpool_snapshot
short_description: Manage StorPool snapshots
version_added: 0.1.0
author:
  - StorPool CloudStack collection authors (@storpool)
description:
  - Takes snapshots of one volume or of a consistent group, changes, exports, attaches and deletes them.
  - Keeps of a series of snapshots what retention says.
  - Makes backups of volumes in another location and waits for them.
  - A name with the time in it makes a scheduled task do its work once in each period, however often it runs.
  - Snapshots that StorPool makes for itself or is deleting (their names begin with an asterisk) are never touched.
extends_documentation_fragment:
  - storpool.cloudstack.attributes
  - storpool.cloudstack.bulk
  - storpool.cloudstack.connection
options:
  snapshots:
    description:
      - The snapshots, when there are several. Each entry takes the options below.
      - What an entry leaves out it takes from the task's own options.
    type: list
    elements: dict
    suboptions:
      name: &name
        description:
          - Name of the snapshot. With O(volumes), the pattern that makes the names of all of them.
          - It may hold the time at which the task began, in the directives of strftime that make digits (V(%Y), V(%m), V(%d), V(%H),
            V(%M), V(%S), V(%j), V(%y), V(%G), V(%V), V(%u)), as in V(db-%Y%m%d-%H). Within the period of the finest directive the name
            is the same, so a task that runs again within the period changes nothing.
          - It may hold V({volume}), which is replaced by the name of the volume (its global id when it has none).
          - With O(backup_to), the name that the backup is known by; it is kept in a tag. For a group it is one name, without
            V({volume}).
        type: str
      timezone: &timezone
        description:
          - Time zone of the times in O(name), of the calendar of retention, and of O(delete_at) without an offset, as in
            V(Europe/Sofia).
          - On the day on which summer time ends one hour comes twice; a name with the hour in it is then the same for both. V(UTC) has
            no such hour.
        type: str
      global_id: &global_id
        description:
          - Global id of an existing snapshot. It finds the snapshot whatever it is called, and O(name) then renames it.
        type: str
      volume: &volume
        description:
          - Volume to take the snapshot of, by name or V(~) and global id. Used only when the snapshot is taken - one of that name is the
            one that is meant, whichever volume it was taken of, so names of several volumes need V({volume}) in them.
        type: str
      volumes: &volumes
        description:
          - Volumes of a consistent group. Their snapshots are taken by one call, at one moment.
          - When all snapshots of the group exist, nothing is taken. When only some do, the task fails, because a snapshot taken later
            would not be consistent with them.
        type: list
        elements: str
      state: &state
        description:
          - V(present) - the snapshot exists as described; it is taken when there is none of its name. With retention, the series it
            belongs to then has only what the rules keep.
          - V(absent) - it does not exist. One that has children lingers until StorPool has merged its data into them; see O(wait).
          - V(pruned) - no snapshot is taken; of the series only those exist that the rules of retention keep.
        type: str
        choices: [present, absent, pruned]
      renamed_from: &renamed_from
        description:
          - Former name. When no snapshot is called O(name), the one of this name is renamed; on the next run nothing is left to do.
        type: str
      tags: &tags
        description:
          - Tags of the snapshot. An empty value removes the tag. StorPool copies no tags from the volume.
          - With O(backup_to), tags of the backup; they are set when it is made and cannot change.
        type: dict
      tags_mode: &tags_mode
        description:
          - V(merge) leaves other tags alone, V(exact) removes them.
        type: str
        choices: [merge, exact]
      bind: &bind
        description:
          - Whether the snapshot is bound - StorPool deletes it when it has neither children nor attachments.
        type: bool
      delete_after: &delete_after
        description:
          - When StorPool deletes the snapshot, as in V(7d) from now. V(never) or V(0) cancels.
          - It sets the date of a snapshot that has none, at first when it is taken. A date that is set stays, unless
            O(renew_expiry=true).
        type: str
      delete_at: &delete_at
        description:
          - When StorPool deletes the snapshot, in ISO 8601 (V(2026-12-31T23:00:00Z)) or UNIX seconds. V(never) or V(0) cancels.
        type: str
      renew_expiry: &renew_expiry
        description:
          - Whether every run moves the date to O(delete_after) from now. Such a task always changes something.
        type: bool
      template: &template
        description:
          - StorPool template of the snapshot, which gives placement and replication. Changing it moves the data. A new snapshot has
            that of its volume.
        type: str
      iops: &iops
        description:
          - Limit of operations per second of the attached snapshot, or V(unlimited).
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
      attach_to: &attach_to
        description:
          - Clients (their ids, C(SP_OURID)) that the snapshot is to be attached to, as V(11) or a map with C(client). Always read-only.
        type: list
        elements: raw
      exclusive: &exclusive
        description:
          - Whether the snapshot is to be detached from all clients that O(attach_to) does not name.
        type: bool
      force: &force
        description:
          - Whether to detach from a client that has the snapshot open, and to take an export back while the other location still
            copies.
        type: bool
      wait: &wait
        description:
          - Whether to wait until what goes on by itself has ended.
          - A backup is waited for unless this is V(false). It is complete when its location lists it and StorPool no longer reports it
            as a backup under way.
          - With O(state=absent) and retention the task waits for deleted snapshots to be gone only when this is V(true).
        type: bool
      wait_timeout: &wait_timeout
        description:
          - How long to wait at most, in seconds or as in V(2m). When not given, V(60), and V(1h) for a backup.
        type: str
      on_attached: &on_attached
        description:
          - What to do when a snapshot to be deleted is attached. V(fail) refuses, V(detach) detaches it, V(detach_force) detaches it
            also from clients that have it open.
          - Retention does not fail, it keeps such a snapshot for now and warns.
        type: str
        choices: [fail, detach, detach_force]
      export_to: &export_to
        description:
          - Locations that may copy the snapshot.
        type: list
        elements: str
      export_mode: &export_mode
        description:
          - V(merge) leaves exports to other locations alone, V(exact) takes them back.
        type: str
        choices: [merge, exact]
      unexport: &unexport
        description:
          - Whether a snapshot to be deleted may lose its exports, even while another location copies it. Otherwise it is refused, and
            retention keeps it for now and warns.
        type: bool
      backup_to: &backup_to
        description:
          - Location that is to have a backup of O(volume), or one consistent backup of O(volumes), in place of a snapshot here.
          - StorPool gives a backup no name. The task knows it by the tags C(ansible-backup) (its O(name)) and, when it is no group's,
            C(ansible-volume), and sees it as long as its location exports it to this one.
          - With O(state=absent) and retention StorPool is told to let go of the backup and to have its location delete it, which that
            location may put off (C(minimumDeleteDelay) of its bridge).
        type: str
      keep_last: &keep_last
        description:
          - Retention - how many of the newest members of the series to keep.
          - The series are the snapshots whose names O(name) can make (for these volumes, at any time) and which have all
            O(series_tags). The name decides, not the volume that StorPool may still know. A group counts as one member and is kept or
            deleted as a whole.
          - Snapshots that carry the tag C(cs) belong to CloudStack and to no series, unless O(allow_cloudstack_objects=true).
          - A member is deleted when no C(keep_) option keeps it. Its age is the time of creation that StorPool reports.
          - What the task itself declares present, in this entry or another, is kept whatever the rules say (C(declared) among the reasons).
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
      series_tags: &series_tags
        description:
          - Tags that snapshots of the series have besides their names. With a name that has no time in it, or with none, they alone
            make the series. A snapshot that the task takes gets them.
        type: dict
      max_deletes: &max_deletes
        description:
          - Refuse the task when retention would delete more snapshots than this.
        type: int
      allow_cloudstack_objects: &allow_cloudstack_objects
        description:
          - Whether snapshots that belong to CloudStack (they carry the tag C(cs)) may be changed, and snapshots be taken of its
            volumes, which CloudStack would not know of.
        type: bool
  snapshots_src:
    description:
      - File with the snapshots, read where the task runs - JSON, YAML or CSV (by its ending) with a list of entries as in O(snapshots).
    type: path
  names:
    description:
      - Names of snapshots that are all alike. They take the task's own options.
    type: list
    elements: str
  name: *name
  timezone:
    <<: *timezone
    default: UTC
  global_id: *global_id
  volume: *volume
  volumes: *volumes
  state:
    <<: *state
    default: present
  renamed_from: *renamed_from
  tags: *tags
  tags_mode:
    <<: *tags_mode
    default: merge
  bind: *bind
  delete_after: *delete_after
  delete_at: *delete_at
  renew_expiry:
    <<: *renew_expiry
    default: false
  template: *template
  iops: *iops
  bw: *bw
  replication: *replication
  place_all: *place_all
  place_head: *place_head
  place_tail: *place_tail
  attach_to: *attach_to
  exclusive:
    <<: *exclusive
    default: false
  force:
    <<: *force
    default: false
  wait: *wait
  wait_timeout: *wait_timeout
  on_attached:
    <<: *on_attached
    default: fail
  export_to: *export_to
  export_mode:
    <<: *export_mode
    default: merge
  unexport:
    <<: *unexport
    default: false
  backup_to: *backup_to
  keep_last: *keep_last
  keep_hourly: *keep_hourly
  keep_daily: *keep_daily
  keep_weekly: *keep_weekly
  keep_monthly: *keep_monthly
  keep_yearly: *keep_yearly
  series_tags: *series_tags
  max_deletes: *max_deletes
  allow_cloudstack_objects:
    <<: *allow_cloudstack_objects
    default: false
seealso:
  - module: storpool.cloudstack.storpool_snapshot_info
  - module: storpool.cloudstack.storpool_volume
"""

EXAMPLES = r"""
- name: A snapshot before the upgrade, deleted by StorPool after a week
  storpool.cloudstack.storpool_snapshot:
    name: db-before-upgrade
    volume: db-data
    delete_after: 7d

- name: One an hour, and of the older ones what is worth keeping
  storpool.cloudstack.storpool_snapshot:
    name: "{volume}-%Y%m%d-%H"
    volume: db-data
    keep_last: 24
    keep_daily: 7
    keep_weekly: 4
    keep_monthly: 12

- name: A consistent group each night, kept for two weeks
  storpool.cloudstack.storpool_snapshot:
    name: "{volume}-nightly-%Y%m%d"
    volumes: [db-data, db-log]
    timezone: Europe/Sofia
    keep_daily: 14
    max_deletes: 4

- name: Only clear up
  storpool.cloudstack.storpool_snapshot:
    name: "{volume}-nightly-%Y%m%d"
    volumes: [db-data, db-log]
    state: pruned
    keep_daily: 7

- name: Let another location copy it, and nobody else
  storpool.cloudstack.storpool_snapshot:
    name: golden
    export_to: [plovdiv]
    export_mode: exact

- name: A backup of both volumes in another location, one a day
  storpool.cloudstack.storpool_snapshot:
    name: db-%Y%m%d
    volumes: [db-data, db-log]
    backup_to: plovdiv
    wait_timeout: 4h
    keep_daily: 30

- name: Delete it, also when it is exported or attached, and wait until its space is free
  storpool.cloudstack.storpool_snapshot:
    name: golden
    state: absent
    unexport: true
    on_attached: detach
    wait: true
    wait_timeout: 30m
"""

RETURN = r"""
snapshots:
  description: One entry for each declared snapshot, group or series; see O(return_objects).
  returned: always, unless the task failed before it read anything
  type: list
  elements: dict
  contains:
    name:
      description: Name of the snapshot; of a group and of a series, what it is declared by.
      type: str
      returned: always
      sample: db-data-20261122-14
    changed:
      description: Whether anything changed for this entry.
      type: bool
      returned: always
      sample: true
    actions:
      description: What was done (in check mode, what would be done), in order.
      type: list
      elements: str
      returned: always
      sample: [create, delete (db-data-20261121-13)]
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
      sample: [delete (db-data-20261121-13)]
    failed:
      description: Whether this entry failed.
      type: bool
      returned: when it failed
      sample: true
    error:
      description: What went wrong with this entry.
      type: dict
      returned: when it failed
      sample: {type: refused, message: golden is exported to plovdiv; StorPool deletes no exported snapshot}
    retention:
      description:
        - What the rules of retention keep, each with the reasons, what they deleted, and what they would delete but for the reason given.
        - A group goes by the name of one of its snapshots.
      type: dict
      returned: with retention
      sample:
        kept: {db-data-20261122-14: [last, daily 2026-11-22]}
        deleted: [db-data-20261121-13]
        held: {db-data-20261121-12: db-data-20261121-12 is exported to plovdiv}
    object:
      description:
        - The snapshot afterwards; null when it does not exist. Of a group, its C(name) and the list of its C(snapshots).
        - Of a backup, C(name), C(backup_to), C(volumes), C(remote_ids), C(tags), and in C(copying) whether its data is still on the way.
        - Its C(attachments) are null when O(attach_to) was not given, its C(exported_to) when O(export_to) was not. C(created) is null
          for a snapshot that was taken by this very task.
      type: dict
      returned: always
      sample:
        name: db-data-20261122-14
        global_id: a1.b.c4
        size: 10737418240
        template: nvme
        parent: null
        on_volume: db-data
        iops: unlimited
        bw: unlimited
        replication: 3
        place_all: nvme
        place_head: nvme
        place_tail: nvme
        tags: {owner: dba}
        bound: false
        created: 1795356000
        delete_at: 1795960800
        recovering: false
        exported_to: null
        attachments: null
summary:
  description: How many entries were declared, changed, right already, failed, not attempted.
  returned: always, unless the task failed before it read anything
  type: dict
  sample: {declared: 1, changed: 1, unchanged: 0, failed: 0, not_attempted: 0}
api:
  description: Calls made - reads, writes, attempts with all repetitions, and seconds waited between them.
  returned: always, unless the task failed before it ended
  type: dict
  sample: {reads: 2, writes: 1, attempts: 3, waited: 0.0}
error:
  description: The first failure, in parts that a playbook can act on.
  returned: on failure
  type: dict
  sample: {type: refused, object: golden, allow_with: "unexport: true"}
"""

from ..module_utils._runner import Manages, run_module
from ..module_utils.resources.snapshot import SNAPSHOTS

DECLARED = Manages(
    resource=SNAPSHOTS,
    plural="snapshots",
    item=dict(
        name=dict(type="str"),
        timezone=dict(type="str", default="UTC"),
        global_id=dict(type="str"),
        volume=dict(type="str"),
        volumes=dict(type="list", elements="str"),
        state=dict(type="str", choices=["present", "absent", "pruned"], default="present"),
        renamed_from=dict(type="str"),
        tags=dict(type="dict"),
        tags_mode=dict(type="str", choices=["merge", "exact"], default="merge"),
        bind=dict(type="bool"),
        delete_after=dict(type="str"),
        delete_at=dict(type="str"),
        renew_expiry=dict(type="bool", default=False),
        template=dict(type="str"),
        iops=dict(type="str"),
        bw=dict(type="str"),
        replication=dict(type="int"),
        place_all=dict(type="str"),
        place_head=dict(type="str"),
        place_tail=dict(type="str"),
        attach_to=dict(type="list", elements="raw"),
        exclusive=dict(type="bool", default=False),
        force=dict(type="bool", default=False),
        wait=dict(type="bool"),
        wait_timeout=dict(type="str"),
        on_attached=dict(type="str", choices=["fail", "detach", "detach_force"], default="fail"),
        export_to=dict(type="list", elements="str"),
        export_mode=dict(type="str", choices=["merge", "exact"], default="merge"),
        unexport=dict(type="bool", default=False),
        backup_to=dict(type="str"),
        keep_last=dict(type="int"),
        keep_hourly=dict(type="int"),
        keep_daily=dict(type="int"),
        keep_weekly=dict(type="int"),
        keep_monthly=dict(type="int"),
        keep_yearly=dict(type="int"),
        series_tags=dict(type="dict"),
        max_deletes=dict(type="int"),
        allow_cloudstack_objects=dict(type="bool", default=False),
    ),
)


def main():
    run_module(DECLARED)


if __name__ == "__main__":
    main()
