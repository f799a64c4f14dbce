# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""StorPool clusters for tests, demonstrations and benchmarks. The interface is told in README.md."""

from __future__ import annotations

__version__ = "0.1.0"
