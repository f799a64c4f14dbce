# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The field tables of the API (storpool-api.json), read by storpool_simulator.tables."""
