#!/usr/bin/python
# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cloudstack_host_info
short_description: Tell how CloudStack sees hosts, and wait until they are Up
version_added: 0.1.0
author:
  - StorPool CloudStack collection authors (@storpool)
description:
  - Returns hosts with their states, from one listing however many they are.
  - Can wait until they are in a state, for instance after their agents were restarted.
extends_documentation_fragment:
  - storpool.cloudstack.attributes.info
  - storpool.cloudstack.cloudstack
options:
  hosts:
    description:
      - The hosts, each by name, address or id. When not given, all.
    type: list
    elements: str
  wait_for:
    description:
      - State that all of them shall have before the task goes on, as CloudStack writes it.
    type: str
    choices: [Up, Down, Disconnected, Alert]
  wait_timeout:
    description:
      - Seconds to wait at most. With V(0) the state has to be right at once.
    type: int
    default: 300
notes:
  - CloudStack does not tell since when a host is in its state. Right after an agent was restarted it may still show the state before.
seealso:
  - module: storpool.cloudstack.storpool_host_info
"""

EXAMPLES = r"""
- name: Look at all hosts
  storpool.cloudstack.cloudstack_host_info:
  register: seen

- name: Go on when the first two are Up
  storpool.cloudstack.cloudstack_host_info:
    hosts: "{{ seen.hosts[:2] | map(attribute='name') }}"
    wait_for: Up
"""

RETURN = r"""
hosts:
  description: The hosts, in the order in which they were asked for, else by name.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: Id of the host.
      type: str
      returned: always
      sample: 3f1c2f1e-0a0b-4c0d-8e0f-000000000011
    name:
      description: Name of the host.
      type: str
      returned: always
      sample: kvm11
    address:
      description: Its address.
      type: str
      returned: always
      sample: 10.1.0.11
    state:
      description: Whether CloudStack is connected with its agent.
      type: str
      returned: always
      sample: Up
    resource_state:
      description: What an administrator made of it.
      type: str
      returned: always
      sample: Enabled
    hypervisor:
      description: Its hypervisor.
      type: str
      returned: always
      sample: KVM
    zone:
      description: Name of its zone.
      type: str
      returned: always
      sample: sofia
    pod:
      description: Name of its pod.
      type: str
      returned: always
      sample: pod1
    cluster:
      description: Name of its cluster.
      type: str
      returned: always
      sample: kvm1
    version:
      description: Version of its agent.
      type: str
      returned: always
      sample: 4.22.0.0
api:
  description: Calls made - reads, writes, attempts with all repetitions, and seconds waited between them.
  returned: always, unless the task failed before it ended
  type: dict
  sample: {reads: 1, writes: 0, attempts: 1, waited: 0.0}
error:
  description: The failure, in parts that a playbook can act on.
  returned: on failure
  type: dict
  sample: {type: deadline, message: "not Up in CloudStack after 300 s: kvm11 is Disconnected", hosts: [kvm11]}
"""

from ..module_utils._runner import Informs, run_module
from ..module_utils.resources.cloud_host_info import query

DECLARED = Informs(
    query=query,
    systems=("cloudstack",),
    options=dict(
        hosts=dict(type="list", elements="str"),
        wait_for=dict(type="str", choices=["Up", "Down", "Disconnected", "Alert"]),
        wait_timeout=dict(type="int", default=300),
    ),
)


def main():
    run_module(DECLARED)


if __name__ == "__main__":
    main()
