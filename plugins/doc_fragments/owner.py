# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation of the options that say whose objects of CloudStack are meant."""

from __future__ import annotations


class ModuleDocFragment:
    """Options shared by the modules whose objects belong to an account."""

    DOCUMENTATION = r"""
options:
  zone:
    description:
      - Name or id of the zone in which the object is looked for, and made.
    type: str
  account:
    description:
      - Name of the account that has the object, or is to have it. Needs O(domain).
      - When neither this nor O(project) is given, the objects of all accounts are looked at, and a new one belongs to the caller.
    type: str
  domain:
    description:
      - Name, path or id of the domain of O(account) or O(project).
    type: str
  project:
    description:
      - Name or id of the project that has the object, or is to have it. Without it, objects of projects are not seen, and the id
        of one is refused. Where domains have projects of one name, O(domain) says which.
    type: str
"""
