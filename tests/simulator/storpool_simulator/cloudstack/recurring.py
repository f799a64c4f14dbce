# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tasks that the server runs every so many seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .cloud import Cloud


def is_due(cloud: Cloud, task: str, setting: str, default: int, now: float) -> bool:
    """Whether the task runs now: its interval is the setting's value in force, counted from the first look; 0 switches it off."""
    last, interval = cloud.meta.get(task), cloud.settings.number(setting, default)
    if last is not None and (interval <= 0 or now - last["at"] < interval):
        return False
    cloud.meta.put(task, {"at": now})
    return last is not None
