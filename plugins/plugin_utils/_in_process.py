# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The fast path: a task that needs no other host, user or environment runs in the controller's worker.

It runs the very code of the module (:func:`._runner.execute`), so only what Ansible's module machinery does around it is repeated here:
checking the arguments, and the wording of its errors.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime
from functools import cache
from typing import Any

from ansible import constants as C
from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.errors import UnsupportedError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase

from ..module_utils._foresight import OPTION
from ..module_utils._module import with_option
from ..module_utils._runner import execute
from ..module_utils._shown import shown_options, without_secrets

# Clients live as long as the worker: all items of a loop share one connection.
_CLIENTS: dict[Any, Any] = {}


def _plain(value: Any) -> Any:
    """Return an argument as a module gets it through JSON: without the marks that Ansible puts on texts and numbers, secrets decrypted."""
    kind = type(value)
    if value is None or kind in (str, bool, int, float):
        return value
    if isinstance(value, Mapping):
        return {str(key) if isinstance(key, str) else json.dumps(_plain(key)): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [_plain(inner) for inner in value]
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    for plain in (int, float):
        if isinstance(value, plain):
            return plain(value)
    return str(value)


@contextmanager
def _working_in(directory: str) -> Iterator[None]:
    """Let a relative path begin where it does for a module on a local connection."""
    before = os.getcwd()
    os.chdir(directory)
    try:
        yield
    finally:
        os.chdir(before)


def _ledger() -> str:
    """Return the file in which a check run keeps what its tasks would leave behind. The controller removes it with its other files."""
    return os.path.join(C.DEFAULT_LOCAL_TMP, "storpool-foreseen")


def _foreseen() -> list[Any]:
    """Return what the earlier tasks of this check run have entered."""
    try:
        with open(_ledger(), encoding="utf-8") as file:
            return [entry for line in file for entry in json.loads(line)]
    except FileNotFoundError:
        return []


def _foresee(entries: list[Any]) -> None:
    """Enter what a task would leave behind, in one write: tasks of several hosts do so at the same time."""
    opened = os.open(_ledger(), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with open(opened, "w", encoding="utf-8") as file:
        file.write(json.dumps(entries) + "\n")


@cache
def _collect_less_garbage() -> None:
    """Keep Python's garbage collection away from all that the worker, a fork, got from the controller, and let it look at the rest seldom.

    None of the former is ever freed here, yet a task with thousands of objects would have it looked through again and again, and its memory
    copied. Of the latter nearly all is needed to the end; looking after every 700 objects takes a tenth of the time of a large task.
    """
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)


class InProcessAction(ActionBase):
    """Base of the action plugins. ``DECLARED`` is what the module of the same name declares."""

    DECLARED: Any = None
    _supports_async = True
    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the task here when it asks for nothing that only a module has, else run the module."""
        task_vars = task_vars or {}
        result = super().run(tmp, task_vars)
        # Only a run that is in check mode as a whole has tasks whose effects are missed.
        checked = self._task.check_mode and boolean(task_vars.get("ansible_check_mode", False), strict=False)
        own = {OPTION: _foreseen()} if checked else {}
        here = self._may_run_here(task_vars)
        if here:
            result.update(self._run_here(own))
        else:
            arguments = {**self._task.args, **own}
            result.update(self._execute_module(module_args=arguments, task_vars=task_vars, wrap_async=self._task.async_val))
        new = result.pop(OPTION, None)
        if new and not self._only_looks():
            _foresee(new)
        if here and not self._shows_invocation(task_vars):
            result.pop("invocation", None)
        return result

    def _only_looks(self) -> bool:
        """Tell whether the task, or a block around it, is in check mode by its own word: it would change nothing in the real run either."""
        at = self._task
        while at is not None:
            if "check_mode" in (at.get_ds() or ()):
                return True
            at = getattr(at, "_parent", None)
        return False

    def _run_here(self, own: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the module would return, by the same code. ``own`` are options that are no user's."""
        validated = ArgumentSpecValidator(self.DECLARED.argument_spec()).validate(_plain(self._task.args))
        if validated.error_messages:
            # The words of AnsibleModule, so that both ways fail alike.
            message = validated.errors.msg
            if isinstance(validated.errors[0], UnsupportedError):
                message = f"Unsupported parameters for ({self._task.action}) module: {message}"
            message = with_option(message, self.DECLARED.argument_spec(), validated.validated_parameters)
            failure = {
                "failed": True,
                "msg": message,
                "invocation": {"module_args": shown_options(self.DECLARED, validated.validated_parameters)},
            }
            return without_secrets(failure, {str(value) for value in validated._no_log_values})
        _collect_less_garbage()
        with _working_in(self._loader.get_basedir()):
            options = {**validated.validated_parameters, **own}
            result = execute(self.DECLARED, options, bool(self._task.check_mode), bool(self._task.diff), _CLIENTS, self._tell)
        if validated._warnings:
            # Before those of the task itself, as AnsibleModule has them.
            twice = [f"Both option {one['option']} and its alias {one['alias']} are set." for one in validated._warnings]
            result["warnings"] = [*twice, *result.get("warnings", [])]
        return result

    def _tell(self, text: str) -> None:
        """Show how far a long task is, unless it is to be silent about itself."""
        if not self._task.no_log:
            self._display.display(f"{self._task.action.rpartition('.')[2]}: {text}")

    @staticmethod
    def _shows_invocation(task_vars: dict[str, Any]) -> bool:
        """Tell whether results carry the options of the task: always before core 2.21, from then on when the user asks for it."""
        try:
            return C.config.get_config_value("INJECT_INVOCATION", variables=task_vars)
        except AnsibleError:  # a core that does not know the setting
            return True

    def _may_run_here(self, task_vars: dict[str, Any]) -> bool:
        """Tell whether nothing about the task asks for another host, user, environment or interpreter."""
        if self._task.delegate_to:
            task_vars = task_vars.get("ansible_delegated_vars", {}).get(self._task.delegate_to, task_vars)
        return (
            self._connection.transport in ("local", "ansible.builtin.local")
            and not self._connection.become
            and not self._task.async_val
            and not any(self._task.environment or ())
            and self._same_interpreter(task_vars.get("ansible_python_interpreter"))
            and boolean(self._templar.template(task_vars.get("storpool_in_process", True)), strict=False)
        )

    def _same_interpreter(self, asked: Any) -> bool:
        """Tell whether the Python that is asked for (if any) is the one running here."""
        if asked is None or str(asked).startswith("auto"):
            return True
        asked = str(self._templar.template(asked))
        return os.path.realpath(asked) == os.path.realpath(sys.executable) and os.path.dirname(asked) == os.path.dirname(sys.executable)
