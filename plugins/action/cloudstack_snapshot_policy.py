# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The fast path of the module of the same name."""

from __future__ import annotations

from ..modules.cloudstack_snapshot_policy import DECLARED as _DECLARED
from ..plugin_utils._in_process import InProcessAction


class ActionModule(InProcessAction):
    """Run cloudstack_snapshot_policy in the controller where nothing speaks against it."""

    DECLARED = _DECLARED
