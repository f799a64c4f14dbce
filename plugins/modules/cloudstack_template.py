#!/usr/bin/python
# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cloudstack_template
short_description: Make CloudStack templates from snapshots and volumes on StorPool
version_added: 0.1.0
author:
  - StorPool CloudStack collection authors (@storpool)
description:
  - Makes templates of CloudStack from a volume snapshot or a volume, and deletes templates.
  - Proves that the template is on secondary storage and, where CloudStack's version and settings make it by way of StorPool, that its base
    is there. VMs from such a template clone the base without copying.
  - CloudStack does not tell what a template was made from. The module writes it at the end of the display text, and so makes it only once.
extends_documentation_fragment:
  - storpool.cloudstack.attributes
  - storpool.cloudstack.bulk
  - storpool.cloudstack.connection
  - storpool.cloudstack.cloudstack
  - storpool.cloudstack.owner
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
      zone: &zone
        description:
          - Name or id of the zone in which the template is looked for, and made.
        type: str
      account: &account
        description:
          - Name of the account that has the template, or is to have it. Needs O(domain).
          - When neither this nor O(project) is given, the templates of all accounts are looked at, and a new one belongs to the caller.
        type: str
      domain: &domain
        description:
          - Name, path or id of the domain of O(account) or O(project).
        type: str
      project: &project
        description:
          - Name or id of the project that has the template, or is to have it. Without it, templates of projects are not seen.
            Where domains have projects of one name, O(domain) says which.
        type: str
      state: &state
        description:
          - Whether the template exists. With O(zone), V(absent) is about that zone alone.
        type: str
        choices: [present, absent]
      snapshot: &snapshot
        description:
          - Volume snapshot, by name or id, that the template is made from.
        type: str
      volume: &volume
        description:
          - Volume, by name or id, that the template is made from; with O(snapshot), the volume whose snapshot is meant. The VM of a volume
            has to be stopped.
        type: str
      os_type: &os_type
        description:
          - Operating system of a new template, by CloudStack's name or id. When not given, it is that of O(snapshot), if CloudStack tells
            that.
        type: str
      display_text: &display_text
        description:
          - Text of a new template; what it was made from is added. When not given, it is O(name).
        type: str
      public: &public
        description:
          - Whether a new template is for all accounts.
        type: bool
      featured: &featured
        description:
          - Whether a new template is featured.
        type: bool
      verify: &verify
        description:
          - What to do when StorPool does not have the base of a new template that should have one. V(strict) fails, V(warn) tells it in the
            result, V(off) does not look.
        type: str
        choices: [strict, warn, "off"]
      wait_timeout: &wait_timeout
        description:
          - How long the making of a template may take, as in V(30m).
        type: str
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
  snapshot: *snapshot
  volume: *volume
  os_type: *os_type
  display_text: *display_text
  public:
    <<: *public
    default: false
  featured:
    <<: *featured
    default: false
  verify:
    <<: *verify
    default: strict
  wait_timeout:
    <<: *wait_timeout
    default: 6h
notes:
  - Text, operating system and visibility are for a new template; of one that exists they are not compared.
  - CloudStack makes no templates of encrypted volumes and of the last snapshots of deleted volumes; both are refused before anything is
    sent.
  - When a template is deleted, CloudStack leaves its base on StorPool. M(storpool.cloudstack.storpool_template_cache) finds it.
seealso:
  - module: storpool.cloudstack.cloudstack_snapshot
  - module: storpool.cloudstack.storpool_template_cache
"""

EXAMPLES = r"""
- name: A snapshot of the machine that is the model
  storpool.cloudstack.cloudstack_snapshot:
    volume: db-data
    name: golden

- name: A template from it
  storpool.cloudstack.cloudstack_template:
    name: golden
    zone: sofia
    snapshot: golden
    volume: db-data
    os_type: Debian GNU/Linux 12 (64-bit)

- name: No longer needed
  storpool.cloudstack.cloudstack_template:
    name: golden
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
      sample: golden
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
      sample: [create]
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
      sample: [create]
    failed:
      description: Whether this template failed.
      type: bool
      returned: when it failed
      sample: true
    error:
      description: What went wrong with this template.
      type: dict
      returned: when it failed
      sample: {type: refused, message: "template golden cannot be made from snapshot golden: it is BackingUp, not BackedUp"}
    storpool:
      description: The snapshot of StorPool's that the template's clones stand on; null when there is none yet, or when it was not asked.
      type: dict
      returned: for a template that is to exist
      sample:
        global_id: sf.b.31
        size: 2147483648
        template: nvme
        tags: {cs: template, uuid: 0f1d8d3a-9a39-4d1c-8e0f-2a0b1c2d3e4f}
    base:
      description: Whether a new template was to get a base on StorPool, and why.
      type: dict
      returned: when it is made
      sample: {expected: false, because: snapshot.backup.to.secondary is true}
    differences:
      description: What StorPool does not hold although it should.
      type: list
      elements: str
      returned: for a template that is to exist
      sample: []
    object:
      description: The template in CloudStack afterwards; null when it does not exist. Its C(origin) is null when its display text does not
        tell it.
      type: dict
      returned: always
      sample:
        id: 0f1d8d3a-9a39-4d1c-8e0f-2a0b1c2d3e4f
        name: golden
        display_text: golden (from snapshot 6c1b6a4e-3a0d-4d1c-9a39-0a0b1c2d3e4f)
        ready: true
        size: 2147483648
        origin: {kind: snapshot, id: 6c1b6a4e-3a0d-4d1c-9a39-0a0b1c2d3e4f}
        account: admin
        project: null
        public: false
        featured: false
        zones: [sofia]
summary:
  description: How many templates were declared, changed, right already, failed, not attempted.
  returned: always, unless the task failed before it read anything
  type: dict
  sample: {declared: 1, changed: 1, unchanged: 0, failed: 0, not_attempted: 0}
api:
  description: Calls made to both systems - reads, writes, attempts with all repetitions, and seconds waited between them.
  returned: always, unless the task failed before it ended
  type: dict
  sample: {reads: 8, writes: 1, attempts: 9, waited: 0.4}
error:
  description: The first failure, in parts that a playbook can act on.
  returned: on failure
  type: dict
  sample: {type: refused, object: golden}
"""

from ..module_utils._runner import Manages, run_module
from ..module_utils.resources._cloud import OWNER_SPEC
from ..module_utils.resources.cloud_snapshot import WAIT
from ..module_utils.resources.made_template import MADE_TEMPLATES

DECLARED = Manages(
    resource=MADE_TEMPLATES,
    plural="templates",
    systems=("cloudstack", "storpool"),
    item=dict(
        name=dict(type="str"),
        **OWNER_SPEC,
        state=dict(type="str", choices=["present", "absent"], default="present"),
        snapshot=dict(type="str"),
        volume=dict(type="str"),
        os_type=dict(type="str"),
        display_text=dict(type="str"),
        public=dict(type="bool", default=False),
        featured=dict(type="bool", default=False),
        verify=dict(type="str", choices=["strict", "warn", "off"], default="strict"),
        wait_timeout=dict(type="str", default=WAIT),
    ),
)


def main():
    run_module(DECLARED)


if __name__ == "__main__":
    main()
