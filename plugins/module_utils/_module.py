# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 4: what every ordinary module is, whatever it does: it parses its arguments, acts, and exits with the result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Callable

from ansible.module_utils.basic import AnsibleModule

from ._foresight import OPTION
from ._shown import without_secrets


def with_option(message: str, spec: Mapping[str, dict[str, Any]], options: Mapping[str, Any]) -> str:
    """Return Ansible's word on a wrong argument; of what is no map where one belongs it does not say in which option it stands."""
    if not message.startswith("dictionary requested"):
        return message
    name = _no_map(spec, options)
    return f"option {name}: {message}" if name else message


def _no_map(spec: Mapping[str, dict[str, Any]], options: Mapping[str, Any]) -> str | None:
    """Return the name of the option, of these or of one of their maps, that should be a map or a list of them and is not."""
    for name, one in spec.items():
        value = options.get(name)
        if not one.get("options") or value is None:
            continue
        if value == []:  # what Ansible leaves of a list with such an entry
            return name
        for entry in value if isinstance(value, list) and one.get("type") == "list" else [value]:
            if not isinstance(entry, Mapping):
                return name
            inner = _no_map(one["options"], entry)
            if inner:
                return f"{name}.{inner}"
    return None


def be_module(
    spec: Mapping[str, dict[str, Any]], shown: Callable[[Mapping[str, Any]], dict[str, Any]], act: Callable[[Any], dict[str, Any]]
) -> None:
    """Be a module with this argument spec.

    :param shown: returns the options as the result's ``invocation`` may show them; it has to bear options that nobody has validated.
    :param act: takes the module, with its options, and returns the result of the task, without secrets.
    """

    class Module(AnsibleModule):
        """Refuses wrong arguments without showing what ``shown`` would have hidden, and hides secrets as results do.

        Ansible's own removal works by substring: a token that is ``1`` or ``true`` would take the result apart.
        """

        foreseen: list[Any] | None = None

        def _load_params(self) -> None:
            super()._load_params()
            self.foreseen = self.params.pop(OPTION, None)  # of the action plugin, and no option

        def fail_json(self, msg: str, **kwargs: Any) -> None:
            options = getattr(self, "params", {})
            kwargs.setdefault("invocation", {"module_args": shown(options)})
            secrets = {str(value) for value in self.no_log_values}
            self.no_log_values.clear()
            if "error" not in kwargs:
                msg = with_option(msg, spec, options)
            super().fail_json(**without_secrets({"msg": msg, **kwargs}, secrets))

    # no_log keeps the options out of the system log: a token may stand inside an ordinary value.
    module = Module(argument_spec=spec, supports_check_mode=True, no_log=True)
    result = act(module)
    module.no_log_values.clear()  # our results are built without secrets
    for warning in result.pop("warnings", []):
        module.warn(warning)
    if result.pop("failed", False):
        module.fail_json(**result)
    module.exit_json(**result)
