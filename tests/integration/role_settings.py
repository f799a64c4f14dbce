# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Variables of the role global_settings behind each of which stands one setting of CloudStack, whatever its version."""

from __future__ import annotations

_EACH = (
    ("storpool_fence_on_heartbeat_failure", True, "kvm.ha.fence.on.storage.heartbeat.failure"),
    ("storpool_delayed_delete_check", 300, "storpool.list.snapshots.delete.after.interval"),
    ("storpool_volume_tags_checkup", 0, "storpool.volume.tags.checkup"),
    ("storpool_snapshot_tags_checkup", 43200, "storpool.snapshot.tags.checkup"),
    ("storpool_volumes_stats_interval", 1800, "storpool.volumes.stats.interval"),
    ("storpool_storage_stats_interval", 900, "storpool.storage.stats.interval"),
    ("storpool_cleanup", True, "storage.cleanup.enabled"),
    ("storpool_cleanup_interval", 43200, "storage.cleanup.interval"),
    ("storpool_cleanup_delay", 3600, "storage.cleanup.delay"),
    ("storpool_cache_cleanup", False, "storage.template.cleanup.enabled"),
)
DECLARED = {variable: value for variable, value, _setting in _EACH}
BEHIND = {setting: str(value).lower() for _variable, value, setting in _EACH}
