# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scenarios of StorPool's Marvin tests, by their names, through API calls as there; docs/scenarios.md tells which is where."""
