#!/usr/bin/python
# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: storpool_ha
short_description: Protect KVM hosts with host HA and the StorPool heartbeat
version_added: 0.1.0
author:
  - StorPool CloudStack collection authors (@storpool)
description:
  - Configures and enables out-of-band management, proves it by asking for the power, configures and enables host HA, and waits until
    CloudStack says that the host is C(Available). For one host, a list, or all KVM hosts of a cluster or zone.
  - The switches of the cluster and the zone are turned on as well, where they are off, because HA takes part only where all three are on.
    A check run with C(--diff) tells which. They are never turned off.
  - Hosts go on independently of each other, in parallel; within a host the order is kept. What can be refused is refused before anything
    is written.
extends_documentation_fragment:
  - storpool.cloudstack.attributes
  - storpool.cloudstack.bulk
  - storpool.cloudstack.connection
  - storpool.cloudstack.cloudstack
options:
  hosts:
    description:
      - The hosts, when there are several. Each entry takes the options below, and what it leaves out it takes from the task's own options.
      - An entry may also name a cluster or zone. A host that has an entry of its own is as that says.
    type: list
    elements: dict
    suboptions:
      host: &host
        description:
          - Name or id of the host in CloudStack. With it, O(cluster) and O(zone) only say where it is.
        type: str
      cluster: &cluster
        description:
          - Name or id of a cluster. Without O(host), all its KVM hosts are meant.
        type: str
      zone: &zone
        description:
          - Name or id of a zone. Without O(host) and O(cluster), all its KVM hosts are meant.
        type: str
      state: &state
        description:
          - V(enabled) - the host is protected.
          - V(disabled) - HA is off for the host. Out-of-band management stays as it is.
          - V(absent) - HA and out-of-band management are both off for the host. CloudStack has no call that removes a configuration, so it
            keeps the provider and the address, user name and password of the controller, and uses none of them.
        type: str
        choices: [enabled, disabled, absent]
      oobm_driver: &oobm_driver
        description:
          - Driver of the controller. A host without out-of-band management gets V(ipmitool) when it is not given.
        type: str
        choices: [ipmitool, redfish, nestedcloudstack]
      oobm_address: &oobm_address
        description:
          - Address of the host's controller (BMC), as the management servers reach it. Needed for a host that has none yet.
        type: str
      oobm_port: &oobm_port
        description:
          - Port of the controller. With V(ipmitool), a host that has none yet gets V(623) when it is not given.
        type: int
      oobm_username: &oobm_username
        description:
          - User name at the controller. Needed for a host that has none yet.
        type: str
      oobm_password: &oobm_password
        description:
          - Password at the controller. It never appears in any output. CloudStack does not tell the one it has, so it is not compared.
          - Needed for a host that has none yet, and when anything else of its out-of-band management changes.
        type: str
      update_password: &update_password
        description:
          - V(on_create) - the password is stored when out-of-band management is configured for the first time or otherwise changes.
          - V(always) - it is stored, and reported as changed, by every run.
        type: str
        choices: [on_create, always]
      ha_provider: &ha_provider
        description:
          - HA provider, in any case.
        type: str
      allow_hyperconverged: &allow_hyperconverged
        description:
          - Whether to protect a host on which a StorPool server runs too, or of which that is not known. Fencing powers off the server
            as well, whatever depends on its disks. StorPool supports the heartbeat on compute-only hosts.
        type: bool
      allow_single_host_cluster: &allow_single_host_cluster
        description:
          - Whether to configure HA for a host that is alone in its cluster. CloudStack keeps it C(Ineligible) until there is another one,
            so combine it with O(wait=false).
        type: bool
      recover: &recover
        description:
          - Whether to take a fenced host back into service - end its maintenance, wait until CloudStack has looked at it, enable HA again.
          - Only a host that is well is taken back; its agent is Up, its power on and its StorPool client running. Otherwise, and when this
            is not set, a fenced host is refused with the reason.
          - It has no effect on a host that was not fenced; a maintenance that an operator began is left alone.
        type: bool
      wait: &wait
        description:
          - Whether to wait until the host is C(Available). A host in maintenance, or one that is disabled, cannot become so and is refused.
        type: bool
      wait_timeout: &wait_timeout
        description:
          - How long that may take, in seconds or as in V(5m), for all hosts together from the last change on. What is then missing is told
            of each host.
        type: str
      sp_node_ids: &sp_node_ids
        description:
          - "StorPool node ids (C(SP_OURID)) of hosts, by their names, as in C({kvm11: 11}). It may name any host, also one of another
            entry; two entries that give one host different ids are refused."
          - No call of either system tells which StorPool node a host is. What is not given here is looked for in the section of the host in
            O(storpool_conf).
        type: dict
      storpool_conf: &storpool_conf
        description:
          - A storpool.conf with a section for each host, where the task runs. When not given, C(/etc/storpool.conf) is looked at.
          - In an entry, it is for the hosts of that entry. Hosts that no entry declares are looked for in the files of all.
        type: path
  hosts_src:
    description:
      - File with the hosts, read where the task runs - JSON, YAML or CSV (by its ending) with a list of entries as in O(hosts).
    type: path
  host: *host
  cluster: *cluster
  zone: *zone
  state:
    <<: *state
    default: enabled
  oobm_driver: *oobm_driver
  oobm_address: *oobm_address
  oobm_port: *oobm_port
  oobm_username: *oobm_username
  oobm_password: *oobm_password
  update_password:
    <<: *update_password
    default: on_create
  ha_provider:
    <<: *ha_provider
    default: KVMHAProvider
  allow_hyperconverged:
    <<: *allow_hyperconverged
    default: false
  allow_single_host_cluster:
    <<: *allow_single_host_cluster
    default: false
  recover:
    <<: *recover
    default: false
  wait:
    <<: *wait
    default: true
  wait_timeout:
    <<: *wait_timeout
    default: "300"
  sp_node_ids: *sp_node_ids
  storpool_conf: *storpool_conf
notes:
  - CloudStack asks the controllers for the power by itself, again and again. The task asks only after it configured or enabled out-of-band
    management, or while CloudStack does not know the power, so a run that finds everything as declared writes nothing.
  - Turning on the switch of a cluster or zone lets all its hosts take part for which HA is enabled. A warning names those that the task
    does not declare.
  - A host without VMs is never recovered or fenced, and with several pools a setting decides which of them counts; warnings say so when
    a host is about to be protected.
  - The heartbeat on the hosts restarts them by itself when it fails, whether host HA is enabled or not. That is a setting of the agents.
seealso:
  - module: storpool.cloudstack.storpool_ha_info
  - module: storpool.cloudstack.cloudstack_settings
"""

EXAMPLES = r"""
- name: Protect the hosts of a cluster
  storpool.cloudstack.storpool_ha:
    hosts:
      - {host: kvm11, oobm_address: 198.51.100.1}
      - {host: kvm12, oobm_address: 198.51.100.2}
      - {host: kvm13, oobm_address: 198.51.100.3}
    oobm_driver: ipmitool
    oobm_username: ADMIN
    oobm_password: "{{ bmc_password }}"
    sp_node_ids: {kvm11: 11, kvm12: 12, kvm13: 13}
  vars:
    bmc_password: bmc-secret

- name: All of them are protected, as long as this changes nothing
  storpool.cloudstack.storpool_ha:
    cluster: kvm1
    sp_node_ids: {kvm11: 11, kvm12: 12, kvm13: 13}

- name: No HA while the network of a host is worked on
  storpool.cloudstack.storpool_ha:
    host: kvm12
    state: disabled

- name: Take back whatever was fenced and is well again, and protect all
  storpool.cloudstack.storpool_ha:
    cluster: kvm1
    recover: true
    wait_timeout: 10m
    sp_node_ids: {kvm11: 11, kvm12: 12, kvm13: 13}

- name: Neither HA nor out-of-band management
  storpool.cloudstack.storpool_ha:
    host: kvm13
    state: absent
"""

RETURN = r"""
hosts:
  description: One entry for each host, also for those of a declared cluster or zone; see O(return_objects).
  returned: always, unless the task failed before it read anything
  type: list
  elements: dict
  contains:
    name:
      description: Name of the host.
      type: str
      returned: always
      sample: kvm11
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
      sample: [configure out-of-band management, enable out-of-band management, prove power, configure HA, enable HA]
    unknown:
      description: What was sent when it failed, and is not known to have been done. Running the task again finds out.
      type: list
      elements: str
      returned: when the answer was lost and reading did not settle it
      sample: [enable HA]
    not_done:
      description: What was left to do when it failed.
      type: list
      elements: str
      returned: when something was left to do
      sample: [configure HA, enable HA]
    failed:
      description: Whether this host failed.
      type: bool
      returned: when it failed
      sample: true
    error:
      description: What went wrong with this host.
      type: dict
      returned: when it failed
      sample: {type: deadline, message: "waited 300 s, but HA of it is Suspect, not Available: its agent is not connected (state Down)"}
    object:
      description: The host afterwards.
      type: dict
      returned: always
      sample:
        id: 0c3f2a4e-6f0d-4f0e-9f6e-0f1f7f6f2d11
        name: kvm11
        zone: sofia
        cluster: kvm1
        state: Up
        resource_state: Enabled
        oobm: {enabled: true, driver: ipmitool, address: 198.51.100.1, port: "623", username: ADMIN, power: "On"}
        ha: {enabled: true, provider: kvmhaprovider, state: Available}
clusters:
  description:
    - The clusters of the hosts that are to be protected, with the switches of out-of-band management and HA. One that failed has C(failed),
      C(error), C(unknown) and C(not_done) as a host has them.
  returned: with O(state=enabled)
  type: list
  elements: dict
  sample:
    - name: kvm1
      changed: true
      actions: [enable HA]
      object: {name: kvm1, id: 1c3f2a4e-6f0d-4f0e-9f6e-0f1f7f6f2d11, oobm: true, ha: true}
zones:
  description:
    - The same for their zones. One that failed has C(failed), C(error), C(unknown) and C(not_done) as a host has them.
  returned: with O(state=enabled)
  type: list
  elements: dict
  sample:
    - name: sofia
      changed: false
      actions: []
      object: {name: sofia, id: 2c3f2a4e-6f0d-4f0e-9f6e-0f1f7f6f2d11, oobm: true, ha: true}
summary:
  description: How many hosts were declared, changed, right already, failed, not attempted.
  returned: always, unless the task failed before it read anything
  type: dict
  sample: {declared: 3, changed: 3, unchanged: 0, failed: 0, not_attempted: 0}
api:
  description: Calls made to both systems - reads, writes, attempts with all repetitions, and seconds waited between them.
  returned: always, unless the task failed before it ended
  type: dict
  sample: {reads: 6, writes: 0, attempts: 6, waited: 0.0}
error:
  description: The first failure, in parts that a playbook can act on.
  returned: on failure
  type: dict
  sample: {type: refused, object: hc1, allow_with: "allow_hyperconverged: true"}
"""

from ..module_utils._runner import Manages, run_module
from ..module_utils.resources.ha import HOST_HAS

DECLARED = Manages(
    resource=HOST_HAS,
    plural="hosts",
    names=False,
    systems=("cloudstack", "storpool"),
    item=dict(
        host=dict(type="str"),
        cluster=dict(type="str"),
        zone=dict(type="str"),
        state=dict(type="str", choices=["enabled", "disabled", "absent"], default="enabled"),
        oobm_driver=dict(type="str", choices=["ipmitool", "redfish", "nestedcloudstack"]),
        oobm_address=dict(type="str"),
        oobm_port=dict(type="int"),
        oobm_username=dict(type="str"),
        oobm_password=dict(type="str", no_log=True),
        update_password=dict(type="str", choices=["on_create", "always"], default="on_create", no_log=False),
        ha_provider=dict(type="str", default="KVMHAProvider"),
        allow_hyperconverged=dict(type="bool", default=False),
        allow_single_host_cluster=dict(type="bool", default=False),
        recover=dict(type="bool", default=False),
        wait=dict(type="bool", default=True),
        wait_timeout=dict(type="str", default="300"),
        sp_node_ids=dict(type="dict"),
        storpool_conf=dict(type="path"),
    ),
)


def main():
    run_module(DECLARED)


if __name__ == "__main__":
    main()
