# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Management servers: what a restart does (plugin sheet 1.2)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from .plugin import cache, delayed

START = 1.0  # seconds until a server that was restarted says it has started

if TYPE_CHECKING:
    from ..store import Document
    from .cloud import Cloud


def restart(cloud: Cloud, chosen: Iterable[Document], lose_jobs: bool) -> None:
    """They read the settings anew; their running jobs are lost or go on."""
    loaded, now, chosen = cloud.settings.loaded_at_start(), cloud.world.clock.now() + START, list(chosen)
    for server in chosen:
        if lose_jobs:
            cloud.jobs.lose(server["id"])
            cache.lose_preloads(cloud)
        cloud.servers.change(server["id"], started=now, loaded=loaded)
    for server in chosen:
        cloud.servers.change(server["id"], looks_after_delayed=delayed.is_on(cloud))
