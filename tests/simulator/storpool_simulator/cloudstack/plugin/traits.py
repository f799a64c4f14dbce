# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the plugin does in which release (plugin sheet 0.3). Everything that depends on the release asks here."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..facts import Facts


class Traits:
    def __init__(self, facts: Facts) -> None:
        has = facts.has
        # The template's volume itself becomes the cached snapshot (VolumeFreeze), with the volume's tags
        self.freezes_cache = not has("4.20.1")
        # A host grows the template's volume even where its size is right already (#10662)
        self.always_grows_cache = not has("4.21.0")
        # SP_QOSCLASS and SP_TEMPLATE of offerings; in volumes from snapshots only later
        self.tiers = has("4.20.0")
        self.tiers_from_snapshots = has("4.21.0")
        # The tag `disk`, and the uuid tag overwritten by "~" and the globalId at attach (plugin sheet 5.1)
        self.disk_tag = has("4.21.0")
        self.uuid_trap = has("4.21.0")
        # Max IOPS are sent for a ROOT volume that is created from a template
        self.root_iops = not has("4.21.0")
        # sp.bypass.secondary.storage has an effect; later snapshot.backup.to.secondary alone has one
        self.bypass_setting = not has("4.21.0")
        # A snapshot of an encrypted volume of a running VM: with bypass, or (later) with backup
        self.encrypted_needs_backup = has("4.21.0")
        # Hosts fetch templates of direct download themselves (#9833)
        self.direct_download = has("4.21.0")
        self.replication = has("4.21.0")
        # A snapshot that StorPool no longer has counts as deleted
        self.missing_is_deleted = has("4.21.0")
        # The cluster of an object is asked of StorPool (SnapshotUpdate with nothing in it); earlier it was read off the globalId
        self.asks_cluster = has("4.21.0")
        # Custom IOPS given at deploy do not arrive (#14103)
        self.loses_custom_iops = has("4.20.0")
        self.delete_protection = has("4.20.0")
        # Memory snapshots alone keep a volume from being resized
        self.disk_vm_snapshots_allow_resize = has("4.22.0")
        # kvm.snapshot.enabled: what is stored counts, later what is in force
        self.snapshot_switch_is_stored = not has("4.22.0")
        # listSnapshotPolicies without a volume or an id
        self.lists_all_policies = has("4.22.0")
