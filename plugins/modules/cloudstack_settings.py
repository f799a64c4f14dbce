#!/usr/bin/python
# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cloudstack_settings
short_description: Manage CloudStack settings, many at once and in any scope
version_added: 0.1.0
author:
  - StorPool CloudStack collection authors (@storpool)
description:
  - Sets and resets CloudStack settings, globally or for a zone, cluster, storage pool, account, domain or image store.
  - Lists the settings of each scope once, compares values by their type, writes only what differs, and tells which of the changed
    settings wait for a restart of the management servers.
  - Warns about settings that do not do what their name says on the server's version.
extends_documentation_fragment:
  - storpool.cloudstack.attributes
  - storpool.cloudstack.bulk
  - storpool.cloudstack.cloudstack
options:
  settings:
    description:
      - The settings, when there are several. Each entry takes the options below.
      - What an entry leaves out it takes from the task's own options.
    type: list
    elements: dict
    suboptions:
      name: &name
        description:
          - Name of the setting, as the API calls it.
        type: str
      value: &value
        description:
          - Value of the setting. Booleans and numbers may be written as such. An empty text clears it.
          - A token inside the address of a StorPool pool never appears in any output.
        type: raw
      state: &state
        description:
          - V(present) - the setting has the value O(value). V(default) - it has no value of its own, but the default or,
            in a scope, the global one.
        type: str
        choices: [present, default]
      secret: &secret
        description:
          - Whether the whole value is a secret that may not appear in any output. A value that the server stores encrypted always is one.
        type: bool
      update_encrypted: &update_encrypted
        description:
          - What to do about a value that the server stores encrypted, and so cannot be compared.
          - V(on_create) - it is written when the setting is empty; otherwise a warning says that it was not compared.
            V(always) - it is written, and reported as changed, by every run.
        type: str
        choices: [on_create, always]
      zone: &zone
        description:
          - Zone that the setting is for, by name or id.
        type: str
      cluster: &cluster
        description:
          - Cluster that the setting is for, by name or id.
        type: str
      storage_pool: &storage_pool
        description:
          - Primary storage pool that the setting is for, by name or id.
        type: str
      account: &account
        description:
          - Account that the setting is for, by name or id.
        type: str
      domain: &domain
        description:
          - Domain that the setting is for, by name, path or id. Together with O(account), the domain of that account.
        type: str
      image_store: &image_store
        description:
          - Image store that the setting is for, by name or id.
        type: str
  settings_src:
    description:
      - File with the settings, read where the task runs - JSON, YAML or CSV (by its ending) with a list of entries as in O(settings).
    type: path
  name: *name
  value: *value
  state:
    <<: *state
    default: present
  secret:
    <<: *secret
    default: false
  update_encrypted:
    <<: *update_encrypted
    default: on_create
  zone: *zone
  cluster: *cluster
  storage_pool: *storage_pool
  account: *account
  domain: *domain
  image_store: *image_store
notes:
  - In a scope the server shows the value in force there, inherited or not. A setting whose inherited value is the declared one is left
    alone, and O(state=default) is met when the scope has the global value.
  - The server lists the value that is stored. Whether a change already has an effect it does not tell - what C(restart_required) names
    has none before all management servers were restarted.
  - C(kvm.snapshot.enabled) is not among the settings that CloudStack lists before 4.22. This module reads it from the capabilities.
  - A scope given by its id costs no call to find it; settings of one scope cost one listing, however many there are.
seealso:
  - module: storpool.cloudstack.cloudstack_storage_pool
  - name: StorPool's CloudStack plugin
    description: What its settings do.
    link: https://kb.storpool.com/storpool_integrations/github/cloudstack.html
"""

EXAMPLES = r"""
- name: Keep snapshots on StorPool, and let one failed pool fence a host
  storpool.cloudstack.cloudstack_settings:
    settings:
      - name: snapshot.backup.to.secondary
        value: false
      - name: kvm.ha.fence.on.storage.heartbeat.failure
        value: true
      - name: storpool.volumes.stats.interval
        value: 1800
  register: settings

- name: Say what waits for a restart
  ansible.builtin.debug:
    msg: "Restart the management servers for: {{ settings.restart_required | join(', ') }}"
  when: settings.restart_required | length > 0

- name: Deleted volumes of one pool can be brought back for a day
  storpool.cloudstack.cloudstack_settings:
    name: storpool.delete.after.interval
    value: 86400
    storage_pool: storpool-nvme

- name: Back to the default
  storpool.cloudstack.cloudstack_settings:
    name: storpool.volumes.stats.interval
    state: default
"""

RETURN = r"""
settings:
  description: One entry for each setting; see O(return_objects).
  returned: always, unless the task failed before it read anything
  type: list
  elements: dict
  contains:
    name:
      description: Name of the setting, with its scope when it has one.
      type: str
      returned: always
      sample: storpool.delete.after.interval (storage pool storpool-nvme)
    changed:
      description: Whether it changed.
      type: bool
      returned: always
      sample: true
    actions:
      description: What was done (in check mode, what would be done).
      type: list
      elements: str
      returned: always
      sample: [set]
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
      sample: [set]
    restart_required:
      description: Whether the change waits for a restart of the management servers.
      type: bool
      returned: when it does
      sample: true
    compared:
      description: False when the value could not be compared, because the server stores it encrypted.
      type: bool
      returned: when it could not
      sample: false
    failed:
      description: Whether this setting failed.
      type: bool
      returned: when it failed
      sample: true
    error:
      description: What went wrong with this setting.
      type: dict
      returned: when it failed
      sample: {type: refused, message: this CloudStack has no setting force.haa, hint: "did you mean force.ha?"}
    object:
      description: The setting afterwards, secrets hidden.
      type: dict
      returned: always
      sample:
        name: storpool.delete.after.interval
        scope: storage pool storpool-nvme
        value: "86400"
        default: "0"
        dynamic: false
        type: Number
restart_required:
  description: Names of the settings changed by this task that have no effect before all management servers were restarted.
  returned: always, unless the task failed before it read anything
  type: list
  elements: str
  sample: [snapshot.backup.to.secondary]
summary:
  description: How many settings were declared, changed, right already, failed, not attempted.
  returned: always, unless the task failed before it read anything
  type: dict
  sample: {declared: 3, changed: 1, unchanged: 2, failed: 0, not_attempted: 0}
api:
  description: Calls made - reads, writes, attempts with all repetitions, and seconds waited between them.
  returned: always, unless the task failed before it ended
  type: dict
  sample: {reads: 1, writes: 1, attempts: 2, waited: 0.0}
error:
  description: The first failure, in parts that a playbook can act on.
  returned: on failure
  type: dict
  sample: {type: bad_option, option: value, value: "'yes'", message: "option value of force.ha: 'yes' is neither true nor false"}
"""

from ..module_utils._runner import Manages, run_module
from ..module_utils.resources.settings import SETTINGS

DECLARED = Manages(
    resource=SETTINGS,
    plural="settings",
    names=False,
    systems=("cloudstack",),
    finish=SETTINGS.finish,
    hide=SETTINGS.hide,
    item=dict(
        name=dict(type="str"),
        value=dict(type="raw"),
        state=dict(type="str", choices=["present", "default"], default="present"),
        secret=dict(type="bool", default=False),
        update_encrypted=dict(type="str", choices=["on_create", "always"], default="on_create"),
        zone=dict(type="str"),
        cluster=dict(type="str"),
        storage_pool=dict(type="str"),
        account=dict(type="str"),
        domain=dict(type="str"),
        image_store=dict(type="str"),
    ),
)


def main():
    run_module(DECLARED)


if __name__ == "__main__":
    main()
