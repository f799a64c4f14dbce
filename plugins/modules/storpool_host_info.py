#!/usr/bin/python
# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: storpool_host_info
short_description: Tell whether a KVM host has what CloudStack's StorPool heartbeat needs
version_added: 0.1.0
author:
  - StorPool CloudStack collection authors (@storpool)
description:
  - Runs on the host, and asks what the CloudStack agent of the host asks - C(storpool_confget), C(storpool -j service list) - with the
    search path that systemd gives the agent; besides, the services, the directory of the devices, and the script that resets the host.
  - What is wrong is in C(problems), each with what to do. The task itself does not fail for it.
  - Nothing of C(/etc/storpool.conf) but the ids of node and cluster leaves the host, its token in particular not.
extends_documentation_fragment:
  - storpool.cloudstack.attributes.info
options:
  command_timeout:
    description:
      - Seconds that each command may take. One that hangs is ended, with all that it has started.
    type: int
    default: 10
  client_service:
    description:
      - Service of the StorPool client.
    type: str
    default: storpool_block
  agent_service:
    description:
      - Service of the CloudStack agent.
    type: str
    default: cloudstack-agent
  device_dir:
    description:
      - Directory in which the devices appear. It comes with the first attached volume, so it may be missing when nothing is attached.
    type: path
    default: /dev/storpool-byid
  scripts_dir:
    description:
      - Directory of C(kvmspheartbeat.sh), relative to O(script_roots). When not given, C(kvm.scripts.dir) of O(properties_file), else
        C(scripts/vm/hypervisor/kvm).
    type: str
  script_roots:
    description:
      - Where the agent looks for its scripts.
    type: list
    elements: path
    default: [/usr/share/cloudstack-agent/lib, /usr/share/cloudstack-common]
  properties_file:
    description:
      - File of the agent's properties.
    type: path
    default: /etc/cloudstack/agent/agent.properties
  search_path:
    description:
      - Where commands are looked for. The default is the search path of systemd's services.
    type: list
    elements: path
    default: [/usr/local/sbin, /usr/local/bin, /usr/sbin, /usr/bin, /sbin, /bin]
notes:
  - The agent runs as root, and so should this task, to see the same.
seealso:
  - module: storpool.cloudstack.cloudstack_agent_properties
  - module: storpool.cloudstack.cloudstack_host_info
"""

EXAMPLES = r"""
- name: Look at the host
  storpool.cloudstack.storpool_host_info:
  register: look

- name: Say what is wrong with it
  ansible.builtin.debug:
    msg: "{{ look.problems | map(attribute='message') | join('; ') | default('nothing', true) }}"
"""

RETURN = r"""
host:
  description: What there is. What could not be found out is V(null).
  returned: always
  type: dict
  contains:
    node_id:
      description: Own id of the node (SP_OURID).
      type: int
      returned: always
      sample: 11
    cluster_id:
      description: Id of the StorPool cluster (SP_CLUSTER_ID).
      type: str
      returned: always
      sample: nzkr.b
    client_service:
      description: State of the client's service, as systemd has it.
      type: str
      returned: always
      sample: active
    client_status:
      description: State of this node's client, as the cluster has it. This is the heartbeat.
      type: str
      returned: always
      sample: running
    servers:
      description: StorPool servers on this node. With any, the node is hyper-converged.
      type: list
      elements: str
      returned: always
      sample: [storpool_server.service]
    device_dir:
      description: Whether the directory of the devices is there.
      type: bool
      returned: always
      sample: true
    script:
      description: Where the script that resets the host is.
      type: str
      returned: always
      sample: /usr/share/cloudstack-common/scripts/vm/hypervisor/kvm/kvmspheartbeat.sh
    agent:
      description: State of the agent's service, as systemd has it, and how often systemd itself has started it again since somebody did.
      type: dict
      returned: always
      sample: {state: active, restarts: 0}
problems:
  description: What is wrong - C(check) names the check, C(message) says it, C(hint) what to do.
  returned: always
  type: list
  elements: dict
  sample:
    - check: client
      message: "the client of node 11 is down, says storpool service list"
      hint: see storpool_block on this host
"""

from ..module_utils._on_host import OnHost, run_on_host
from ..module_utils.resources.host_info import act

DECLARED = OnHost(
    act=act,
    options=dict(
        command_timeout=dict(type="int", default=10),
        client_service=dict(type="str", default="storpool_block"),
        agent_service=dict(type="str", default="cloudstack-agent"),
        device_dir=dict(type="path", default="/dev/storpool-byid"),
        scripts_dir=dict(type="str"),
        script_roots=dict(type="list", elements="path", default=["/usr/share/cloudstack-agent/lib", "/usr/share/cloudstack-common"]),
        properties_file=dict(type="path", default="/etc/cloudstack/agent/agent.properties"),
        search_path=dict(
            type="list", elements="path", default=["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
        ),
    ),
)


def main():
    run_on_host(DECLARED)


if __name__ == "__main__":
    main()
