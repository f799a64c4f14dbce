#!/usr/bin/python
# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cloudstack_snapshot_policy
short_description: Manage the schedules by which CloudStack takes snapshots of volumes
version_added: 0.1.0
author:
  - StorPool CloudStack collection authors (@storpool)
description:
  - Makes, changes and removes the snapshot policies of volumes. What is written is proved by listing it.
  - A volume has at most one policy for each interval.
extends_documentation_fragment:
  - storpool.cloudstack.attributes
  - storpool.cloudstack.bulk
  - storpool.cloudstack.cloudstack
  - storpool.cloudstack.owner
options:
  snapshot_policies:
    description:
      - The volumes with their policies, when they are not alike. Each entry takes the options below, and what it leaves out it takes from
        the task's own options.
    type: list
    elements: dict
    suboptions:
      volume: &volume
        description:
          - The volume, by name or id. It has to be given, here or for all.
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
          - V(present) - the volume has the policies of O(policies). V(absent) - it has none of the intervals that stand in O(policies);
            none at all when that is not given.
        type: str
        choices: [present, absent]
      policies: &policies
        description:
          - The policies of the volume.
        type: list
        elements: dict
        suboptions:
          interval:
            description:
              - How often a snapshot is taken.
            type: str
            required: true
            choices: [hourly, daily, weekly, monthly]
          schedule:
            description:
              - When it is taken, minute first, as CloudStack has it - V(MM) for hourly, V(MM:HH) for daily, V(MM:HH:DD) for weekly (1 is
                Sunday) and monthly (1 to 28). Needed for O(state=present).
            type: str
          timezone:
            description:
              - Time zone of the schedule, as in V(Europe/Sofia).
            type: str
            default: UTC
          keep:
            description:
              - How many snapshots of this policy to keep; at most what the setting C(snapshot.max.hourly) and the like say. Needed for
                O(state=present).
            type: int
      exact: &exact
        description:
          - Whether policies of other intervals than those of O(policies) are removed.
        type: bool
  snapshot_policies_src:
    description:
      - File with the volumes, read where the task runs - JSON, YAML or CSV (by its ending) with a list of entries as in
        O(snapshot_policies).
    type: path
  volumes:
    description:
      - Volumes, by name or id, that have the same policies. They take the task's own options.
    type: list
    elements: str
  volume: *volume
  state:
    <<: *state
    default: present
  policies: *policies
  exact:
    <<: *exact
    default: false
notes:
  - Snapshots that a policy has taken stay when it is removed.
  - CloudStack has no policies for encrypted volumes.
seealso:
  - module: storpool.cloudstack.cloudstack_snapshot
  - module: storpool.cloudstack.cloudstack_settings
"""

EXAMPLES = r"""
- name: Every hour for eight hours, and every night for a week
  storpool.cloudstack.cloudstack_snapshot_policy:
    volumes: [db-data, db-log]
    policies:
      - {interval: hourly, schedule: "5", keep: 8}
      - {interval: daily, schedule: "30:02", timezone: Europe/Sofia, keep: 7}

- name: Nothing but every Sunday
  storpool.cloudstack.cloudstack_snapshot_policy:
    volume: db-log
    exact: true
    policies:
      - {interval: weekly, schedule: "0:3:1", keep: 4}

- name: None any more
  storpool.cloudstack.cloudstack_snapshot_policy:
    volumes: [db-data, db-log]
    state: absent
"""

RETURN = r"""
snapshot_policies:
  description: One entry for each volume; see O(return_objects).
  returned: always, unless the task failed before it read anything
  type: list
  elements: dict
  contains:
    name:
      description: The volume, as it was given.
      type: str
      returned: always
      sample: db-data
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
      sample: [delete weekly, create daily]
    unknown:
      description: What was sent when it failed, and is not known to have been done. Running the task again finds out.
      type: list
      elements: str
      returned: when the answer was lost and reading did not settle it
      sample: [create daily]
    not_done:
      description: What was left to do when it failed.
      type: list
      elements: str
      returned: when something was left to do
      sample: [create daily]
    failed:
      description: Whether this volume failed.
      type: bool
      returned: when it failed
      sample: true
    error:
      description: What went wrong with this volume.
      type: dict
      returned: when it failed
      sample: {type: refused, message: volume secret is encrypted; CloudStack has no snapshot policies for encrypted volumes}
    object:
      description: The volume and its policies afterwards; null when there is no such volume.
      type: dict
      returned: always
      sample:
        id: 8d1f4f0a-02f2-4f3c-9a55-5f8b8b0f8f10
        volume: db-data
        policies:
          - {id: 0d5c3a4e-7f1b-4f60-9a39-2a0b1c2d3e4f, interval: daily, schedule: "30:02", timezone: Europe/Sofia, keep: 7}
summary:
  description: How many volumes were declared, changed, right already, failed, not attempted.
  returned: always, unless the task failed before it read anything
  type: dict
  sample: {declared: 1, changed: 1, unchanged: 0, failed: 0, not_attempted: 0}
api:
  description: Calls made to CloudStack - reads, writes, attempts with all repetitions, and seconds waited between them.
  returned: always, unless the task failed before it ended
  type: dict
  sample: {reads: 4, writes: 1, attempts: 5, waited: 0.0}
error:
  description: The first failure, in parts that a playbook can act on.
  returned: on failure
  type: dict
  sample: {type: refused, object: db-data}
"""

from ..module_utils._runner import Manages, run_module
from ..module_utils.resources._cloud import OWNER_SPEC
from ..module_utils.resources.snapshot_policy import POLICY_SPEC, SNAPSHOT_POLICIES

DECLARED = Manages(
    resource=SNAPSHOT_POLICIES,
    plural="snapshot_policies",
    key="volume",
    systems=("cloudstack",),
    item=dict(
        volume=dict(type="str"),
        **OWNER_SPEC,
        state=dict(type="str", choices=["present", "absent"], default="present"),
        policies=dict(type="list", elements="dict", options=POLICY_SPEC),
        exact=dict(type="bool", default=False),
    ),
)


def main():
    run_module(DECLARED)


if __name__ == "__main__":
    main()
