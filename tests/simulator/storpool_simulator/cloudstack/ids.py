# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ids of objects."""

from __future__ import annotations

import uuid

_NAMESPACE = uuid.UUID("5f0e5a0c-0f5e-4b4e-8a43-6a7a3a3c1d2e")


def identity(kind: str, name: str) -> str:
    """The id of an object that is there from the start: the same after a reset."""
    return str(uuid.uuid5(_NAMESPACE, f"{kind}/{name}"))


def new_id() -> str:
    return str(uuid.uuid4())
