# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation of what modules can do."""

from __future__ import annotations


class ModuleDocFragment:
    """Attributes of modules that bring objects into a state; C(INFO) of modules that only read."""

    DOCUMENTATION = r"""
attributes:
  check_mode:
    description: Can run in check mode and tell what would change without changing it.
    support: full
    details: The client refuses every write in check mode.
  diff_mode:
    description: Returns what changes, as a list with one small diff for each object.
    support: full
  idempotent:
    description: Does nothing when run again with the same options.
    support: full
"""

    INFO = r"""
attributes:
  check_mode:
    description: Can run in check mode and tell what would change without changing it.
    support: full
    details: The module only reads.
  diff_mode:
    description: Returns what changes, as a list with one small diff for each object.
    support: N/A
    details: The module only reads.
  idempotent:
    description: Does nothing when run again with the same options.
    support: full
    details: The module only reads.
"""
