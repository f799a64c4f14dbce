# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The recurring clean-up of storage: collection of cached templates, of destroyed volumes (plugin sheet 4.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .plugin import cache

if TYPE_CHECKING:
    from .cloud import Cloud

LAST = "cleanup"


def look(cloud: Cloud, now: float) -> None:
    """Every storage.cleanup.interval seconds, counted from the first look; the switches are those in force."""
    last = cloud.meta.get(LAST)
    if last is None:
        cloud.meta.put(LAST, {"at": now})
        return
    if not cloud.settings.truth("storage.cleanup.enabled") or now - last["at"] < cloud.settings.number("storage.cleanup.interval", 86400):
        return
    cloud.meta.put(LAST, {"at": now})
    if cloud.settings.truth("storage.template.cleanup.enabled"):
        cache.collect(cloud)
