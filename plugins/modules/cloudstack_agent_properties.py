#!/usr/bin/python
# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cloudstack_agent_properties
short_description: Set properties of the CloudStack agent of a KVM host, and leave everything else in its file alone
version_added: 0.1.0
author:
  - StorPool CloudStack collection authors (@storpool)
description:
  - Changes keys of C(agent.properties) on the host that the task runs on. Comments, order, line ends, other keys, escapes and continued
    lines stay byte for byte.
  - A key that is active gets its new value in its place. One that is not is added below its commented-out default, which stays.
  - The new file is read again and compared with what was declared before it replaces the old one, in one step. Whenever the task is
    killed, the file is either the old or the new one.
  - The agent reads its file when it starts, so a change has no effect before it is restarted. See O(pending).
extends_documentation_fragment:
  - storpool.cloudstack.attributes
attributes:
  check_mode:
    details: Nothing is written.
  diff_mode:
    description: Returns the file before and after. The values of keys that look secret are hidden.
options:
  path:
    description:
      - The file. It has to exist. A symbolic link stays one.
    type: path
    default: /etc/cloudstack/agent/agent.properties
  properties:
    description:
      - Keys and the values that they shall have. Numbers compare as numbers, true and false in any case, all else to the letter.
      - A key without a value (V(null)) is commented out.
    type: dict
    default: {}
  defaults:
    description:
      - Keys and the values that they get when the file has none for them, so that it says explicitly what holds.
    type: dict
    default: {}
  backup:
    description:
      - Whether to keep the file as it was, under its name with the time, as in C(agent.properties.20261122-181530~), before it is changed.
    type: bool
    default: true
  pending:
    description:
      - File that is made before the properties change, and says that the agent has to be restarted. Whoever restarts the agent removes
        it; a run that was cut off in between leaves it behind, and C(restart_pending) tells the next run.
      - It belongs on a file system that a reboot empties, because a reboot restarts the agent.
    type: path
notes:
  - The agent writes its own file, too. When that happens during the task, the change is planned anew from what the agent wrote.
seealso:
  - module: storpool.cloudstack.storpool_host_info
  - name: Role storpool.cloudstack.heartbeat
    description: Sets the properties of the StorPool heartbeat on KVM hosts and restarts their agents one at a time.
    link: https://github.com/storpool/ansible-collection-cloudstack/blob/main/roles/heartbeat/README.md
"""

EXAMPLES = r"""
- name: A host that loses StorPool stays up, and its heartbeat is asked for every 30 seconds
  storpool.cloudstack.cloudstack_agent_properties:
    properties:
      reboot.host.and.alert.management.on.heartbeat.timeout: false
      kvm.heartbeat.update.frequency: 30000
    defaults:
      host.reserved.mem.mb: 1024
    pending: /run/cloudstack-agent.restart-pending
  register: properties

- name: Say whether the agent has to be restarted
  ansible.builtin.debug:
    msg: "restart needed: {{ properties.restart_pending }}"

- name: Without a health check script of our own
  storpool.cloudstack.cloudstack_agent_properties:
    properties:
      agent.health.check.script.path: null
"""

RETURN = r"""
file:
  description: The file, links resolved.
  returned: success
  type: str
  sample: /etc/cloudstack/agent/agent.properties
changes:
  description: What was done (in check mode, what would be done) to which key.
  returned: success
  type: list
  elements: dict
  contains:
    key:
      description: The key.
      type: str
      returned: always
      sample: kvm.heartbeat.update.frequency
    action:
      description: V(set) an active entry, V(added) one, or V(commented_out).
      type: str
      returned: always
      sample: set
    before:
      description: Its value before; hidden if the key looks secret.
      type: str
      returned: always
      sample: "60000"
    after:
      description: Its value afterwards; hidden if the key looks secret.
      type: str
      returned: always
      sample: "30000"
restart_pending:
  description: Whether the file changed, or the file named by O(pending) was there already.
  returned: success
  type: bool
  sample: true
backup_file:
  description: Where the file is as it was.
  returned: when it changed, and a backup was asked for
  type: str
  sample: /etc/cloudstack/agent/agent.properties.20261122-181530~
error:
  description: The failure, in parts that a playbook can act on.
  returned: on failure
  type: dict
  sample: {type: bad_option, option: path, value: "'/nowhere'", message: "option path: '/nowhere' does not exist"}
"""

from ..module_utils._on_host import OnHost, run_on_host
from ..module_utils.resources.agent_properties import act, hide

DECLARED = OnHost(
    act=act,
    hide=hide,
    options=dict(
        path=dict(type="path", default="/etc/cloudstack/agent/agent.properties"),
        properties=dict(type="dict", default={}),
        defaults=dict(type="dict", default={}),
        backup=dict(type="bool", default=True),
        pending=dict(type="path"),
    ),
)


def main():
    run_on_host(DECLARED)


if __name__ == "__main__":
    main()
