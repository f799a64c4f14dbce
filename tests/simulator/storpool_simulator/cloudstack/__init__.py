# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A CloudStack management server beside the StorPool clusters, in one process, state, call log, clock and set of faults.

"Sheet" in this package means the reference sheet on the CloudStack API; "plugin sheet" the one on its StorPool plugin and host HA.
"""
