# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation of the options of modules that take one object or many."""

from __future__ import annotations


class ModuleDocFragment:
    """Options shared by all modules that take one object or many."""

    DOCUMENTATION = r"""
options:
  on_error:
    description:
      - What to do with the other objects when one fails. V(stop) attempts no further ones, V(continue) attempts all.
      - With V(stop), an object that must be refused stops the task before the first change.
      - Either way the task fails, and its result tells for each object what was done and what was not.
    type: str
    choices: [stop, continue]
    default: stop
  return_objects:
    description:
      - Which objects the result holds. Failed ones are always in it.
      - When not given, it is V(all) for a single object and V(changed) for a list.
    type: str
    choices: [changed, all, none]
  parallel:
    description:
      - How many changes that do not depend on each other are sent at once, from 1 to 256.
    type: int
    default: 8
"""
