# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The calls, one function each, in modules by subject. `registry.all_calls()` joins them with their tables."""
