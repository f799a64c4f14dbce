# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The StorPool plugin: what its driver, its strategies and its part of the agents do (plugin sheet 4, 5).

`client` is the only way to StorPool, so each call is in the call log of its cluster. `agents` is what KVM hosts do for the plugin.
"""
