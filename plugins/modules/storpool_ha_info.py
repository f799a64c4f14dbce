#!/usr/bin/python
# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: storpool_ha_info
short_description: Tell which KVM hosts host HA protects, and why not the others
version_added: 0.1.0
author:
  - StorPool CloudStack collection authors (@storpool)
description:
  - Returns a verdict for each KVM host of CloudStack. A host is protected when CloudStack would find out by StorPool's heartbeat that it is
    dead, reset it or power it off, and start its VMs elsewhere.
  - Every reason against it comes with what to do about it, and so does every warning.
  - Changes nothing, and asks no controller for its power; what CloudStack saw last is told.
  - Means the same on CloudStack 4.19 to 4.22.
extends_documentation_fragment:
  - storpool.cloudstack.attributes.info
  - storpool.cloudstack.cloudstack
  - storpool.cloudstack.connection
options:
  hosts:
    description:
      - Hosts, each by name or id. When not given, all of O(cluster) or O(zone) are meant, or of all zones.
    type: list
    elements: str
    aliases: [host]
  cluster:
    description:
      - Cluster of CloudStack that the hosts are in, by name or id.
    type: str
  zone:
    description:
      - Zone that the hosts are in, by name or id.
    type: str
  sp_node_ids:
    description:
      - "StorPool node ids (C(SP_OURID)) of hosts, by their names or ids, as in C({kvm11: 11}). It may name any host."
      - No call of either system tells which StorPool node a host is. What is not given here is looked for in the section of the host in
        O(storpool_conf). A host that neither tells of is not protected, for the reason V(node_unknown).
      - The example shows how to ask the hosts themselves.
    type: dict
  storpool_conf:
    description:
      - A storpool.conf with a section for each host, where the task runs. When not given, C(/etc/storpool.conf) is looked at.
    type: path
  allow_hyperconverged:
    description:
      - Whether a host on which a StorPool server runs too can count as protected. It is a warning then.
    type: bool
    default: false
notes:
  - A zone takes six calls in all - five to CloudStack, one to StorPool. There are two more while the fence setting is not the default or
    several pools have a heartbeat, and one more for each StorPool cluster where clusters of a location have clients of the same id in
    different states.
  - The StorPool cluster of a host is the one that CloudStack notes for the host's cluster (C(sp.cluster.id)), whatever O(sp_cluster) says.
    Where CloudStack has noted none, it is that of the connection.
seealso:
  - module: storpool.cloudstack.storpool_ha
  - module: storpool.cloudstack.cloudstack_settings
  - module: storpool.cloudstack.storpool_cluster_info
"""

EXAMPLES = r"""
- name: Is every host of the zone protected
  storpool.cloudstack.storpool_ha_info:
    zone: sofia
    sp_node_ids: {kvm11: 11, kvm12: 12, kvm13: 13}
  register: ha

- name: Tell why not, and what to do
  ansible.builtin.debug:
    var: ha.report

- name: Two hosts, and what has to be done about them
  storpool.cloudstack.storpool_ha_info:
    hosts: [kvm11, kvm12]
    storpool_conf: "{{ conf_of_the_zone | default(omit) }}"  # such as /root/storpool-of-the-zone.conf
  register: two

- name: Show it
  ansible.builtin.debug:
    var: two.hosts | map(attribute='reasons') | flatten | map(attribute='do') | unique

# Let the hosts of a group tell their node ids themselves.
- name: Ask each host
  ansible.builtin.shell:
    cmd: set -o pipefail; storpool_confget | sed -n 's/^SP_OURID=//p'
    executable: /bin/bash
  register: ourid
  delegate_to: "{{ item }}"
  loop: "{{ groups['kvm'] | default([]) }}"
  changed_when: false
  check_mode: false

- name: Go on only with a cluster that is protected, and see what it says
  storpool.cloudstack.storpool_ha_info:
    cluster: kvm1
    sp_node_ids: "{{ dict(ourid.results | map(attribute='item') | zip(ids)) }}"
  vars:
    ids: "{{ ourid.results | map(attribute='stdout') }}"
  register: cluster
"""

RETURN = r"""
hosts:
  description: The selected hosts, by name.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the host.
      type: str
      returned: always
      sample: kvm11
    id:
      description: Its id in CloudStack.
      type: str
      returned: always
      sample: c4a08b27-056a-54d4-a448-53f87c25f1af
    zone:
      description: Zone.
      type: str
      returned: always
      sample: sofia
    cluster:
      description: Cluster of CloudStack.
      type: str
      returned: always
      sample: kvm1
    pod:
      description: Pod.
      type: str
      returned: always
      sample: pod1
    address:
      description: Its address in CloudStack.
      type: str
      returned: always
      sample: 10.1.0.1
    version:
      description: Version of its agent.
      type: str
      returned: always
      sample: 4.20.2.0
    state:
      description: State of the connection to its agent, V(Up) when all is well.
      type: str
      returned: always
      sample: Up
    resource_state:
      description: V(Enabled), V(Disabled), V(Maintenance) and so on.
      type: str
      returned: always
      sample: Enabled
    protected:
      description: The verdict. True when there is no reason against it.
      type: bool
      returned: always
      sample: true
    eligible:
      description:
        - Whether all is there that CloudStack asks for before it looks after a host. HA and out-of-band management enabled on host, cluster
          and zone, the host not in maintenance, another host of the cluster Up.
      type: bool
      returned: always
      sample: true
    ha_enabled:
      description: Whether host HA is enabled for it.
      type: bool
      returned: always
      sample: true
    ha_state:
      description: State of host HA, V(Available) when all is well.
      type: str
      returned: always
      sample: Available
    ha_provider:
      description: HA provider; null when host HA is not configured.
      type: str
      returned: always
      sample: kvmhaprovider
    oobm:
      description: Out-of-band management. C(power) is what CloudStack saw last. The password is not told.
      type: dict
      returned: always
      sample: {enabled: true, power: "On", driver: ipmitool, address: 198.51.100.1, port: "623", username: ADMIN}
    node_id:
      description: StorPool node id; null when it cannot be told.
      type: int
      returned: always
      sample: 11
    node_id_from:
      description: Where that is from, V(sp_node_ids) or V(storpool.conf).
      type: str
      returned: always
      sample: sp_node_ids
    storpool_cluster:
      description: Id of the StorPool cluster; null when CloudStack has noted none.
      type: str
      returned: always
      sample: sf.a
    client_state:
      description: State of its StorPool client, which is its heartbeat, V(running) or V(down); null when it is not known.
      type: str
      returned: always
      sample: running
    hyperconverged:
      description: Whether a StorPool server runs on the same node; null when that is not known.
      type: bool
      returned: always
      sample: false
    peers:
      description: How many other hosts of its cluster are Up.
      type: int
      returned: always
      sample: 2
    instances:
      description:
        - Whether VMs are placed on it, system VMs too, or were until an hour ago (memory is allocated there); null when it is not known.
      type: bool
      returned: always
      sample: true
    in_force:
      description: As in RV(fence_setting).
      type: bool
      returned: always
      sample: true
    reasons:
      description: Why it is not protected, each with a code for programs, a text, and what to do.
      type: list
      elements: dict
      returned: always
      contains:
        code:
          description:
            - V(agent_down), V(maintenance), V(declared_degraded), V(host_disabled), V(no_peer), V(too_old), V(oobm_not_configured),
              V(oobm_not_enabled), V(oobm_off_in_cluster), V(oobm_off_in_zone), V(power_unknown), V(power_off), V(power_unproved),
              V(ha_not_configured), V(ha_other_provider), V(ha_not_enabled), V(ha_off_in_cluster), V(ha_off_in_zone), V(no_pool),
              V(pool_not_up), V(node_unknown), V(client_unknown), V(client_missing), V(client_down), V(hyperconverged).
            - And one for each state of host HA but C(Available), as V(ha_suspect), V(ha_checking), V(ha_degraded), V(ha_recovering),
              V(ha_recovered), V(ha_fencing), V(ha_fenced), V(ha_ineligible), V(ha_disabled).
          type: str
          returned: always
          sample: client_down
        text:
          description: What is the matter.
          type: str
          returned: always
          sample: "its StorPool client 11 is down: to CloudStack its heart has stopped, and the host may reset itself"
        do:
          description: What to do about it.
          type: str
          returned: always
          sample: start storpool_block on the host, or see why it does not reach the cluster
    warnings:
      description:
        - What limits the protection without taking it away, in the same form. V(no_instances), V(several_pools), V(fence_waits),
          V(fence_unknown), V(fence_of_zone_ignored), and V(hyperconverged) when O(allow_hyperconverged) is set.
      type: list
      elements: dict
      returned: always
      sample: []
summary:
  description: The verdicts in numbers.
  returned: success
  type: dict
  contains:
    status:
      description: V(critical) when a host is not protected or there is none, V(warning) when there are warnings, otherwise V(ok).
      type: str
      returned: always
      sample: critical
    hosts:
      description: How many hosts there are.
      type: int
      returned: always
      sample: 3
    protected:
      description: How many of them are protected.
      type: int
      returned: always
      sample: 2
    not_protected:
      description: How many are not.
      type: int
      returned: always
      sample: 1
    protected_with_warnings:
      description: How many of the protected ones have warnings.
      type: int
      returned: always
      sample: 0
    not_protected_hosts:
      description: Names of those that are not protected.
      type: list
      elements: str
      returned: always
      sample: [kvm11]
    ha_states:
      description: How many hosts are in which state of host HA.
      type: dict
      returned: always
      sample: {Available: 3}
    reasons:
      description: How often there is which reason, by its code.
      type: dict
      returned: always
      sample: {client_down: 1}
    warnings:
      description: How often there is which warning, by its code.
      type: dict
      returned: always
      sample: {}
report:
  description: The same for a person to read - the sum, each host, and what there is to do.
  returned: success
  type: list
  elements: str
  sample:
    - "CRITICAL: 1 of 2 hosts are protected"
    - "kvm11 (zone sofia, cluster kvm1, HA Available): protected"
    - "kvm12 (zone sofia, cluster kvm1, HA Available): NOT PROTECTED"
    - "  - out-of-band management is not enabled for it [oobm_not_enabled]. What to do: enable it with storpool.cloudstack.storpool_ha"
fence_setting:
  description:
    - The setting that says which of several pools decides. CloudStack reads its global value when a management server starts.
  returned: success
  type: dict
  contains:
    name:
      description: Its name.
      type: str
      returned: always
      sample: kvm.ha.fence.on.storage.heartbeat.failure
    value:
      description: The value that CloudStack shows; null when it does not have the setting.
      type: bool
      returned: always
      sample: false
    in_force:
      description:
        - Whether that is the value it works with. False when it was changed after a running management server was started, by what
          CloudStack's events tell; null when they do not reach back that far.
        - It is not asked for while the value is the default and one pool has a heartbeat, because it makes no difference then.
      type: bool
      returned: always
      sample: true
    restart_required:
      description: Whether the value waits for a restart of all management servers.
      type: bool
      returned: always
      sample: false
    ignored:
      description: Values of zones, which CloudStack accepts and never reads.
      type: dict
      returned: always
      sample: {}
pools:
  description: The pools with a heartbeat (StorPool and NFS) that the hosts have.
  returned: success
  type: list
  elements: dict
  sample:
    - name: storpool-nvme
      id: nvme;ecc0b8d6-ab26-5782-9990-4d72a9a43a53
      type: StorPool
      state: Up
      zone: sofia
      cluster: null
api:
  description: Calls made - reads, writes, attempts with all repetitions, and seconds waited between them.
  returned: success
  type: dict
  sample: {reads: 6, writes: 0, attempts: 6, waited: 0.0}
error:
  description: What went wrong, in parts that a playbook can act on.
  returned: on failure
  type: dict
  sample: {type: unreachable}
"""

from ..module_utils._runner import Informs, run_module
from ..module_utils.resources.ha_info import query

DECLARED = Informs(
    query=query,
    options=dict(
        hosts=dict(type="list", elements="str", aliases=["host"]),
        cluster=dict(type="str"),
        zone=dict(type="str"),
        sp_node_ids=dict(type="dict"),
        storpool_conf=dict(type="path"),
        allow_hyperconverged=dict(type="bool", default=False),
    ),
    systems=("cloudstack", "storpool"),
)


def main():
    run_module(DECLARED)


if __name__ == "__main__":
    main()
