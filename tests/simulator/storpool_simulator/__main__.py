# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""python -m storpool_simulator"""

from __future__ import annotations

from .cli import main

if __name__ == "__main__":
    raise SystemExit(main())
