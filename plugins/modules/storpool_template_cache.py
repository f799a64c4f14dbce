#!/usr/bin/python
# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: storpool_template_cache
short_description: Have templates on StorPool before the first volume needs them
version_added: 0.1.0
author:
  - StorPool CloudStack collection authors (@storpool)
description:
  - Through CloudStack - has templates cached on StorPool pools of a zone, and proves it on both layers. CloudStack itself begins to copy
    a template when the first virtual machine asks for it, and reports no failure of a copy that was asked for ahead.
  - Without CloudStack, with O(image) - makes a StorPool snapshot of a disk image, on a host that is a StorPool client. Volumes made from
    it (O(storpool.cloudstack.storpool_volume#module:parent)) need no copying.
  - A cache counts as verified when CloudStack has a row for the template and the pool, and StorPool a snapshot with the template's id in
    its tags, on the pool's StorPool template, large enough.
  - O(image) is recognised by its checksum. It is copied again only when the snapshot is gone, and a run that was cut short is finished
    or cleaned up by the next one.
extends_documentation_fragment:
  - storpool.cloudstack.attributes
  - storpool.cloudstack.bulk
  - storpool.cloudstack.connection
  - storpool.cloudstack.cloudstack
attributes:
  idempotent:
    support: partial
    details: With O(keep=true) each run sends the keep signal, which changes nothing that can be seen and counts as no change.
options:
  templates:
    description:
      - The templates or images, when there are several. Each entry takes the options below, and what it leaves out it takes from the
        task's own options.
    type: list
    elements: dict
    suboptions:
      name: &name
        description:
          - Name of the template in CloudStack, or with O(image) that of the snapshot to make.
          - Without O(name), O(id), O(filter) and O(image), the entry is about orphans; see O(state=absent).
        type: str
      id: &id
        description:
          - CloudStack's id of the template. Needed when several have the same name. Those that are on no pool are looked at only when the
            pools do not all have one of that name, so after a template was registered anew under an old name, give the id.
        type: str
      filter: &filter
        description:
          - All templates of the zone that fit every part of it. Templates for system VMs fit only when O(filter.type) names their type,
            and templates of projects are found only by O(name) or O(id).
        type: dict
        suboptions:
          name:
            description:
              - Names, also with the wildcards V(*), V(?) and V([...]).
            type: list
            elements: str
          featured:
            description:
              - Only featured templates, or with V(false) only others.
            type: bool
          public:
            description:
              - Only public templates, or with V(false) only others.
            type: bool
          account:
            description:
              - Only templates of this account.
            type: str
          tags:
            description:
              - Only templates with these resource tags of CloudStack's.
            type: dict
          type:
            description:
              - Only templates of these types, like V(USER) or V(BUILTIN).
            type: list
            elements: str
      zone: &zone
        description:
          - Zone of the pools, by name or id. Needed when several zones have StorPool pools.
        type: str
      pools: &pools
        description:
          - StorPool pools of the zone, by name or id. When not given, all of them are meant.
        type: list
        elements: str
      state: &state
        description:
          - V(present) - the templates are cached and verified, or the snapshot of O(image) is there.
          - V(absent) - of an O(image), its snapshot is gone.
          - V(absent) of a template changes nothing by itself, because CloudStack's API cannot evict a cache. The result says for each pool
            when CloudStack's own cleanup will collect it, or why it will not (RV(templates[].collection)). A name that CloudStack knows
            nowhere is a warning, since its caches may be collected already; a O(filter) that fits nothing is none.
          - V(absent) without any template reports what lies on the pools that CloudStack does not need, and what only looks so.
        type: str
        choices: [present, absent]
      keep: &keep
        description:
          - Whether to send CloudStack the signal to keep caches that are there already. Its cleanup collects caches that no volume uses,
            in two rounds (C(storage.cleanup.interval)), unless it gets this signal between them.
          - It is one write for each cache in every run but check mode, since CloudStack does not tell whether it is needed. It counts as no
            change.
        type: bool
      evict: &evict
        description:
          - V(storpool_orphans_only) lets O(state=absent) delete on StorPool what no row of CloudStack's can be about - of the template that
            is meant, or of all when none is. Nothing is deleted when it is not given.
          - Where another CloudStack stands on the same StorPool template, its caches have no row in this one, and would be deleted.
        type: str
        choices: [storpool_orphans_only]
      image: &image
        description:
          - Path of a disk image where the task runs, which has to be a StorPool client.
          - An image that is not complete in itself is refused, because C(qemu-img) would read the files it names - one with a backing
            file, a parent, an external data file, or with extents in other files.
          - An encrypted image is refused, and what is compressed or of another format, whatever O(format) says.
        type: path
      format: &format
        description:
          - Format of O(image). V(qcow2) and V(vmdk) are told by their beginning when it is not given. V(raw) has to be said, because
            any file could be that.
        type: str
        choices: [qcow2, raw, vmdk]
      checksum: &checksum
        description:
          - Checksum of O(image), V(sha256:) and 64 hexadecimal digits. The file has to have it.
          - When given, a snapshot that is there already is recognised without reading the file. Otherwise each run reads all of it.
        type: str
      template: &template
        description:
          - StorPool template of the snapshot that is made of O(image). It says where the data lies and how many copies there are.
        type: str
      tags: &tags
        description:
          - Further tags of the snapshot. C(ansible-image) (the checksum), C(ansible-image-source) and C(ansible-image-format) are set
            anyway.
        type: dict
      client: &client
        description:
          - StorPool client id of the host where the task runs. When not given, it is C(SP_OURID) from the environment or
            C(/etc/storpool.conf).
        type: int
      device_directory: &device_directory
        description:
          - Directory in which the devices of attached volumes appear by name. When not given, it is C(/dev/storpool).
        type: path
      verify: &verify
        description:
          - Whether to read image and device again after the copy, and compare them, before the snapshot is made.
        type: bool
      progress_file: &progress_file
        description:
          - File that says how far the copy is, as JSON with C(name), C(image), C(size), C(step) and C(percent), replaced at each percent.
          - A task that runs inside the controller also shows it as it goes on.
        type: path
      wait_timeout: &wait_timeout
        description:
          - How long to wait, in seconds or as in V(30m) - for CloudStack's copies of a template (V(3h) when not given), or for the device
            of the volume that the image is written to (V(60)).
          - When it is over, the error says for each pool what can be seen of the copy.
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
  id: *id
  filter: *filter
  zone: *zone
  pools: *pools
  state:
    <<: *state
    default: present
  keep:
    <<: *keep
    default: false
  evict: *evict
  image: *image
  format: *format
  checksum: *checksum
  template: *template
  tags: *tags
  client: *client
  device_directory: *device_directory
  verify:
    <<: *verify
    default: false
  progress_file: *progress_file
  wait_timeout: *wait_timeout
  parallel:
    description:
      - How many templates are prepared, or images copied, at once, from 1 to 256. CloudStack has a limit of its own for all that ask
        (C(template.preloader.pool.size)).
requirements:
  - qemu-img 5.0 or newer where the task runs, for O(image)
notes:
  - The options of CloudStack's connection are not needed when every entry has O(image).
  - Everything present costs two calls and one for each pool; a filter one more, a template of a project some more, and one more where
    pools of two zones have StorPool templates of one name. Those are on two StorPool clusters, and such zones take a task each, pointed
    at its cluster; the StorPool location of a zone's hosts (C(sp.cluster.id)) tells which is asked.
  - A cache whose snapshot was deleted on StorPool by hand cannot be told from a copy that failed, until CloudStack is asked to copy it and
    does nothing for half a minute. Then the task fails and says what helps; check mode does not ask, and predicts a copy.
  - Caches of direct downloads carry no id of their template. They count as verified when StorPool has as many as CloudStack has rows.
seealso:
  - module: storpool.cloudstack.storpool_snapshot
  - module: storpool.cloudstack.storpool_volume
  - module: storpool.cloudstack.cloudstack_settings
    description: For C(storage.template.cleanup.enabled) and C(storage.cleanup.interval).
"""

EXAMPLES = r"""
- name: Before the morning, the templates are on every StorPool pool of the zone
  storpool.cloudstack.storpool_template_cache:
    zone: sofia
    names:
      - debian-12
      - rocky-9
    wait_timeout: 1h
    parallel: 4

- name: All featured templates are on the fast pool, and stay there
  storpool.cloudstack.storpool_template_cache:
    zone: sofia
    pools:
      - storpool-nvme
    filter:
      featured: true
    keep: true

- name: When will the cache of a template go
  storpool.cloudstack.storpool_template_cache:
    zone: sofia
    name: rocky-9
    state: absent

- name: What lies on StorPool that CloudStack does not need
  storpool.cloudstack.storpool_template_cache:
    zone: sofia
    state: absent

- name: Delete of it what no row of CloudStack's is about
  storpool.cloudstack.storpool_template_cache:
    zone: sofia
    state: absent
    evict: storpool_orphans_only

- name: Without CloudStack, on a StorPool client - an image becomes a snapshot
  storpool.cloudstack.storpool_template_cache:
    name: golden-debian-12
    image: "{{ images }}/debian-12.qcow2"
    template: nvme
    verify: true
    device_directory: "{{ devices | default(omit) }}"  # only where it is not /dev/storpool
  register: golden

- name: Volumes made from it need no copying
  storpool.cloudstack.storpool_volume:
    names:
      - vm-1
      - vm-2
    parent: "{{ golden.templates[0].name }}"
"""

RETURN = r"""
templates:
  description: One entry for each template or image; see O(return_objects).
  returned: always, unless the task failed before it read anything
  type: list
  elements: dict
  contains:
    name:
      description: Name of the template or snapshot.
      type: str
      returned: always
      sample: debian-12
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
      sample: [prepare on storpool-nvme]
    kept:
      description: The pools on which the cache was kept, or was made just now.
      type: list
      elements: str
      returned: with O(keep=true)
      sample: [storpool-nvme]
    collection:
      description:
        - For each pool with a cache, when CloudStack's cleanup collects it. C(within) is how many seconds that takes at most, null when it
          is not going to happen; C(because) says why; C(volumes) counts the volumes on the pool that were made from the template.
      type: list
      elements: dict
      returned: for a template with O(state=absent)
      sample:
        - pool: storpool-nvme
          volumes: 3
          within: null
          because: 3 volumes on this pool were made from it; it is collected when they are gone
    unknown:
      description: What was sent when it failed, and is not known to have been done. Running the task again finds out.
      type: list
      elements: str
      returned: when the answer was lost and reading did not settle it
      sample: [snapshot]
    not_done:
      description: What was left to do when it failed.
      type: list
      elements: str
      returned: when something was left to do
      sample: [snapshot, delete volume]
    failed:
      description: Whether this one failed.
      type: bool
      returned: when it failed
      sample: true
    error:
      description: What went wrong with it.
      type: dict
      returned: when it failed
      sample: {type: refused, message: storage pool slow is Disabled; CloudStack would skip it and say nothing}
    object:
      description:
        - The template with its caches, null when nobody knows one of that name; of orphans the list C(found).
        - Of an O(image) the snapshot, null when it does not exist - C(name), C(global_id), C(size), C(template), C(tags), and of the image
          C(source), C(checksum) and C(format).
        - Of a pool, C(cached) is whether CloudStack has a row, C(verified) whether StorPool confirms it, C(global_id) the snapshot,
          C(problem) what is wrong, C(extra) further snapshots of the template on the pool that are not its cache.
        - Of what was C(found), C(what) is V(orphan), V(leftover) (of a failed copy), V(waiting) (for the cleanup), V(surplus) (one of
          several is needed), V(under way), V(temporary), V(delayed), V(heartbeat), V(exported) or V(unknown) (snapshots of volumes and
          VMs), or V(broken row); C(because) says more. C(removable) is what O(evict) would delete.
      type: dict
      returned: always
      sample:
        name: debian-12
        id: 5b1ad8d2-26b5-4f3c-9a6e-0f1f7f6f2d11
        zone: sofia
        size: 8388608
        pools:
          - {pool: storpool-nvme, cached: true, verified: true, global_id: sf.a.7}
summary:
  description: How many were declared, changed, right already, failed, not attempted.
  returned: always, unless the task failed before it read anything
  type: dict
  sample: {declared: 2, changed: 1, unchanged: 1, failed: 0, not_attempted: 0}
api:
  description: Calls made to both systems - reads, writes, attempts with all repetitions, and seconds waited between them.
  returned: always, unless the task failed before it ended
  type: dict
  sample: {reads: 4, writes: 1, attempts: 5, waited: 0.0}
error:
  description: The first failure, in parts that a playbook can act on.
  returned: on failure
  type: dict
  sample: {type: deadline, object: debian-12}
"""

from ..module_utils._image import FORMATS
from ..module_utils._runner import Manages, run_module
from ..module_utils.resources.cached_template import FILTER_SPEC, ORPHANS_ONLY
from ..module_utils.resources.template_cache import TEMPLATE_CACHE

DECLARED = Manages(
    resource=TEMPLATE_CACHE,
    plural="templates",
    systems=("cloudstack", "storpool"),
    optional=("cloudstack",),
    item=dict(
        name=dict(type="str"),
        id=dict(type="str"),
        filter=dict(type="dict", options=FILTER_SPEC),
        zone=dict(type="str"),
        pools=dict(type="list", elements="str"),
        state=dict(type="str", choices=["present", "absent"], default="present"),
        keep=dict(type="bool", default=False),
        evict=dict(type="str", choices=[ORPHANS_ONLY]),
        image=dict(type="path"),
        format=dict(type="str", choices=list(FORMATS)),
        checksum=dict(type="str"),
        template=dict(type="str"),
        tags=dict(type="dict"),
        client=dict(type="int"),
        device_directory=dict(type="path"),
        verify=dict(type="bool", default=False),
        progress_file=dict(type="path"),
        wait_timeout=dict(type="str"),
    ),
)


def main():
    run_module(DECLARED)


if __name__ == "__main__":
    main()
