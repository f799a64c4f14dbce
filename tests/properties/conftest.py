# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""How many examples: some hundred, the same each time; with HYPOTHESIS_PROFILE=thorough 10,000, other ones each time."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from hypothesis import HealthCheck, settings

# The objects and options that tests of units use serve here too.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit"))

# The set-up of a whole world is one example; on a busy machine that may look slow.
COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}
settings.register_profile("quick", max_examples=200, derandomize=True, database=None, **COMMON)
settings.register_profile("thorough", max_examples=10_000, **COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))
