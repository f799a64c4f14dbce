# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 5: modules about the host that they run on, which speak to no API. They have no fast path: their place is the target.

What they import is copied to every host, so they do without :mod:`._runner` and what hangs on it.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Callable

from ._errors import LONGEST_MESSAGE, CollectionError, failure, plain_text, unexpected
from ._module import be_module
from ._shown import HIDDEN


@dataclass(frozen=True)
class OnHost:
    """Declares such a module. ``act`` takes the options and whether nothing may be changed, and returns the result.

    ``hide`` returns the options as the result's ``invocation`` may show them.
    """

    act: Callable[[Mapping[str, Any], bool], dict[str, Any]]
    options: Mapping[str, dict[str, Any]]
    hide: Callable[[Mapping[str, Any]], dict[str, Any]] = dict
    systems: tuple[str, ...] = ()

    def argument_spec(self) -> dict[str, dict[str, Any]]:
        """Return the whole argument spec of the module."""
        return dict(self.options)

    def run(self, options: Mapping[str, Any], check: bool) -> dict[str, Any]:
        """Return the result of a task; never raises."""
        try:
            result = self.act(options, check)
        except CollectionError as exc:
            result = _failure(exc)
        except OSError as exc:
            result = _failure(CollectionError(f"the operating system refused: {exc}"))
        except Exception as exc:  # a defect of ours must still end in a result
            result = _failure(CollectionError(unexpected(exc)))
            result["exception"] = traceback.format_exc()
        result["invocation"] = {"module_args": self.shown(options)}
        return result

    def shown(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options as they may be shown. What is no option may be a secret under a misspelt name."""
        return {name: value if name in self.options else HIDDEN for name, value in self.hide(options).items()}


def _failure(exc: CollectionError) -> dict[str, Any]:
    exc.message = plain_text(exc.message, LONGEST_MESSAGE)
    return failure(exc)


def run_on_host(declared: OnHost) -> None:
    """Be the module."""

    def act(module: Any) -> dict[str, Any]:
        result = declared.run(module.params, module.check_mode)
        if not module._diff:
            result.pop("diff", None)
        return result

    be_module(declared.argument_spec(), declared.shown, act)
