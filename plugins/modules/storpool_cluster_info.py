#!/usr/bin/python
# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: storpool_cluster_info
short_description: Tell what a StorPool cluster consists of and how it is
version_added: 0.1.0
author:
  - StorPool CloudStack collection authors (@storpool)
description:
  - Returns services, clients, disks, network peers, templates with their capacity, placement groups, attachments, locations, clusters and
    nodes in maintenance, and a verdict on them.
  - Makes only the reads that what is asked for takes.
extends_documentation_fragment:
  - storpool.cloudstack.attributes.info
  - storpool.cloudstack.connection
options:
  gather:
    description:
      - What to gather. When not given, everything.
      - V(clients) and V(templates) take two reads each, of which V(clients) shares one with V(services). Everything else takes one.
      - The verdict is about what is gathered, and C(checked) tells what that is. With V(maintenance) it tells what is down by intent.
    type: list
    elements: str
    choices: [services, clients, disks, peers, templates, placement_groups, attachments, locations, clusters, maintenance]
seealso:
  - module: storpool.cloudstack.storpool_volume_info
  - module: storpool.cloudstack.storpool_snapshot_info
  - module: storpool.cloudstack.storpool_template
"""

EXAMPLES = r"""
- name: Everything
  storpool.cloudstack.storpool_cluster_info:
  register: cluster

- name: Go on only with a cluster in good order
  ansible.builtin.assert:
    that: cluster.health.status == 'ok'
    fail_msg: "{{ cluster.health.reasons | map(attribute='message') | join('; ') }}"

- name: How much room each template has
  storpool.cloudstack.storpool_cluster_info:
    gather: [templates]
  register: room

- name: Show it
  ansible.builtin.debug:
    msg: "{{ item.name }} has {{ item.space.free | human_readable }} free"
  loop: "{{ room.templates }}"
  loop_control:
    label: "{{ item.name }}"

- name: Which hosts see their volumes
  storpool.cloudstack.storpool_cluster_info:
    gather: [clients, attachments, maintenance]
"""

RETURN = r"""
health:
  description: A verdict on what was gathered.
  returned: success
  type: dict
  contains:
    status:
      description:
        - V(critical) when the cluster or its management does not run, V(warning) when redundancy, room or the way to a host is lost,
          otherwise V(ok).
      type: str
      returned: always
      sample: warning
    reasons:
      description: What is wrong, the worst first.
      type: list
      elements: dict
      returned: always
      sample: [{level: warning, about: client 12, message: "is down; volumes and snapshots attached to it: 3"}]
    checked:
      description: What the verdict is about.
      type: list
      elements: str
      returned: always
      sample: [services, clients]
services:
  description: State of the cluster and its services.
  returned: when gathered
  type: dict
  contains:
    status:
      description: State of the cluster, V(running), V(waiting) or V(down).
      type: str
      returned: always
      sample: running
    servers:
      description: Servers, with disks that they miss or wait for.
      type: list
      elements: dict
      returned: always
      sample: [{id: 1, node: 1, status: running, version: "20.0", started: 1772353800, missing_disks: [], pending_disks: []}]
    mgmt:
      description: Management nodes. One is active.
      type: list
      elements: dict
      returned: always
      sample: [{id: 1, node: 1, status: running, version: "20.0", started: 1772353800, active: true}]
    bridges:
      description: Bridges to other clusters.
      type: list
      elements: dict
      returned: always
      sample: [{id: 1, node: 1, status: running, version: "20.0", started: 1772353800}]
    iscsi_targets:
      description: iSCSI targets, with the same members as bridges.
      type: list
      elements: dict
      returned: always
      sample: [{id: 1, node: 1, status: running, version: "20.0", started: 1772353800}]
clients:
  description: Clients, which are the hosts that volumes are attached to, by id (C(SP_OURID)).
  returned: when gathered
  type: list
  elements: dict
  contains:
    id:
      description: Id of the client.
      type: int
      returned: always
      sample: 11
    node:
      description: Node that it runs on.
      type: int
      returned: always
      sample: 11
    status:
      description: V(running) or V(down).
      type: str
      returned: always
      sample: running
    config_status:
      description: Whether it has applied the present configuration - V(ok), V(updating) or V(down).
      type: str
      returned: always
      sample: ok
    generation:
      description: Present generation of the configuration; null when it is not known for this client.
      type: int
      returned: always
      sample: 1021
    client_generation:
      description: Generation that it has applied.
      type: int
      returned: always
      sample: 1021
    version:
      description: Version of StorPool; null when the client is not known as a service.
      type: str
      returned: always
      sample: "20.0"
    started:
      description: When it was started, in UNIX seconds; null when it is down.
      type: int
      returned: always
      sample: 1772353800
disks:
  description: Disks, by id. Sizes are in bytes and null while a disk is down.
  returned: when gathered
  type: list
  elements: dict
  sample:
    - id: 201
      server: 2
      up: true
      ssd: true
      model: PM1733
      serial: S4YPNE0M
      description: ""
      soft_eject: "off"
      device: /dev/sdb
      size: 1920383410176
      stored: 21474836480
disks_summary:
  description: How many disks there are in which state, and the size of those that are up and the bytes on them.
  returned: when disks are gathered
  type: dict
  sample: {count: 9, up: 9, down: 0, soft_ejecting: 0, size: 17283450691584, stored: 21474836480}
peers:
  description: Nodes in the network of the cluster.
  returned: when gathered
  type: list
  elements: dict
  sample: [{node: 1, beacon_status: NODE_UP, cluster_status: CNODE_UP, joined: true, voting: true}]
templates:
  description: Templates, as M(storpool.cloudstack.storpool_template) returns them, with their capacity.
  returned: when gathered
  type: list
  elements: dict
  contains:
    name:
      description: Name of the template.
      type: str
      returned: always
      sample: nvme
    size:
      description: Size in bytes of volumes that are created without one; null when it says none.
      type: int
      returned: always
      sample: null
    parent:
      description: Snapshot that volumes are created from when they name no other; null when it names none.
      type: str
      returned: always
      sample: null
    iops:
      description: Limit of operations per second, or V(unlimited).
      type: raw
      returned: always
      sample: 5000
    bw:
      description: Limit of bandwidth in KB/s, or V(unlimited).
      type: raw
      returned: always
      sample: unlimited
    replication:
      description: Number of copies.
      type: int
      returned: always
      sample: 3
    place_all:
      description: Placement group for all copies but the last.
      type: str
      returned: always
      sample: nvme
    place_head:
      description: Placement group for the first copy.
      type: str
      returned: always
      sample: nvme
    place_tail:
      description: Placement group for the last copy.
      type: str
      returned: always
      sample: nvme
    reuse_server:
      description: Whether several copies may be on one server.
      type: bool
      returned: always
      sample: false
    space:
      description:
        - Bytes that volumes of the template can hold in all (C(capacity)) and still (C(free)), before replication; bytes stored in them
          and taken on disks; sizes provisioned; how many volumes and snapshots there are; bytes available in each placement group.
        - Null when the template came or went meanwhile.
      type: dict
      returned: always
      sample:
        capacity: 5761150230528
        free: 5739675394048
        stored: 21474836480
        on_disk: 64424509440
        provisioned: 107374182400
        volumes: 10
        snapshots: 2
        removing_snapshots: 0
        available: {all: 11479350788096, head: 5739675394048, tail: 5739675394048}
placement_groups:
  description: Placement groups with the ids of their disks.
  returned: when gathered
  type: list
  elements: dict
  sample: [{name: nvme, disks: [301, 302, 303]}]
attachments:
  description: What is attached to which client, by client.
  returned: when gathered
  type: list
  elements: dict
  sample: [{client: 11, name: db-data, global_id: a1.b.c4, rights: rw, snapshot: false, position: 0}]
attachments_summary:
  description:
    - How many attachments there are, in all and of each client. C(truncated) tells that the list was cut before it grew too long
      for the controller.
  returned: when attachments are gathered
  type: dict
  sample: {count: 1, clients: [{client: 11, count: 1}], truncated: false}
locations:
  description: Locations that the cluster knows.
  returned: when gathered
  type: list
  elements: dict
  sample: [{name: plovdiv, id: pd}]
clusters:
  description: Clusters that the cluster knows.
  returned: when gathered
  type: list
  elements: dict
  sample: [{name: sofia-b, id: b, location: sofia}]
maintenance:
  description: Nodes in maintenance, with times in seconds.
  returned: when gathered
  type: list
  elements: dict
  sample: [{node: 3, description: kernel, started: 1772353800, duration: 3600, remaining: 1800, overrun: false}]
api:
  description: Calls made - reads, writes, attempts with all repetitions, and seconds waited between them.
  returned: success
  type: dict
  sample: {reads: 11, writes: 0, attempts: 11, waited: 0.0}
error:
  description: What went wrong, in parts that a playbook can act on.
  returned: on failure
  type: dict
  sample: {type: unreachable}
"""

from ..module_utils._runner import Informs, run_module
from ..module_utils.resources.cluster_info import GATHER, query

DECLARED = Informs(query=query, options=dict(gather=dict(type="list", elements="str", choices=list(GATHER))))


def main():
    run_module(DECLARED)


if __name__ == "__main__":
    main()
