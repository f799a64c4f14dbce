# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The recurring clean-up: collection of cached templates, of destroyed volumes and VMs (plugin sheet 4.5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from . import errors, recurring, vms, volumes
from .plugin import cache, collector
from .plugin import volumes as driver

if TYPE_CHECKING:
    from .cloud import Cloud

DAY = 86400


def look(cloud: Cloud, now: float) -> None:
    """The switches are those in force."""
    if recurring.is_due(cloud, "cleanup", "storage.cleanup.interval", DAY, now) and cloud.settings.truth("storage.cleanup.enabled"):
        if cloud.settings.truth("storage.template.cleanup.enabled"):
            cache.collect(cloud)
        _expunge_volumes(cloud, now - cloud.settings.number("storage.cleanup.delay", DAY))
    if recurring.is_due(cloud, "expunge", "expunge.interval", DAY, now):
        _expunge_vms(cloud, now - cloud.settings.number("expunge.delay", DAY))
    collector.look(cloud, now)


def _expunge_volumes(cloud: Cloud, before: float) -> None:
    for volume in cloud.living(cloud.volumes):
        if volume["state"] == volumes.DESTROY and volume["destroyed"] <= before:
            _tried(cloud, lambda volume=volume: driver.expunge(cloud, volume))


def _expunge_vms(cloud: Cloud, before: float) -> None:
    for vm in cloud.living(cloud.vms):
        if vm["state"] == vms.DESTROYED and vm["destroyed"] <= before:
            _tried(cloud, lambda vm=vm: vms.expunge(cloud, vm))


def _tried(cloud: Cloud, work: Callable[[], None]) -> None:
    """What fails is logged, and tried again the next time."""
    try:
        work()
    except errors.ServerError as error:
        cloud.journal.add("WARN", "StorageManagerImpl", error.text)
