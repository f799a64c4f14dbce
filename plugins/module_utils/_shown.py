# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 1: what people may see of a task: its options and its result, without the secrets in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ._errors import LONGEST_MESSAGE, plain_text, redacted, without_credentials
from ._foresight import OPTION

HIDDEN = "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"  # Ansible's own word for it
# Options that are addresses, also by their other names. One that cannot be meant may have a password or a key in it.
_ADDRESSES = ("cloudstack_url", "api_url", "sp_api_http_host", "pool_api_http")
_LONG = 100  # lists longer than this are not repeated in the invocation


def shown_options(declared: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options for the result's ``invocation``: secrets hidden, long lists only counted."""
    hide = getattr(declared, "hide", None)
    shown = (hide(options) if hide else options).items()
    counted = {
        name: f"<{len(value)} entries>" if isinstance(value, list) and len(value) > _LONG else value
        for name, value in shown
        if name != OPTION
    }
    return _masked(declared.argument_spec(), counted)


def _by_alias(spec: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return an argument spec that knows options by their other names too: Ansible leaves those among the options."""
    return {name: one for option, one in spec.items() for name in (option, *one.get("aliases", ()))}


def _masked(spec: Mapping[str, dict[str, Any]], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options, and those of the entries in lists, without the values of secret ones."""
    known = _by_alias(spec)
    shown = {name: _plain_address(value) if name in _ADDRESSES else value for name, value in options.items()}
    return {name: None if value is None else _masked_one(known.get(name), value) for name, value in shown.items()}


def _plain_address(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain_address(one) for one in value]
    return without_credentials(value) if isinstance(value, str) else value


def _masked_one(one: Mapping[str, Any] | None, value: Any) -> Any:
    """Return the value of an option as it may be shown. What is no option may be a secret under a misspelt name."""
    if one is None or one.get("no_log"):
        return HIDDEN
    inner = one.get("options")
    if inner:
        if isinstance(value, Mapping):
            return _masked(inner, value)
        if isinstance(value, list):
            return [_masked_one(one, entry) for entry in value]
        if has_secrets(inner):
            return HIDDEN  # entries may be given as text
    return value


def has_secrets(spec: Mapping[str, dict[str, Any]]) -> bool:
    """Tell whether options with this spec, or those of entries among them, may be secret."""
    return any(one.get("no_log") or has_secrets(one.get("options") or {}) for one in spec.values())


def secrets_in(spec: Mapping[str, dict[str, Any]], options: Mapping[str, Any]) -> Iterator[str]:
    """Yield the values of secret options, also of those in the entries of lists."""
    for name, one in spec.items():
        value = options.get(name)
        if one.get("no_log") and value:
            yield str(value)
        elif isinstance(value, (list, Mapping)) and has_secrets(one.get("options") or {}):
            for entry in [value] if isinstance(value, Mapping) else value:
                yield from secrets_in(one["options"], entry)


def hidden_in(given: Mapping[str, Any], shown: Mapping[str, Any]) -> Iterator[str]:
    """Yield the values that are shown otherwise than they were given."""
    for name, value in given.items():
        if value is not None and shown.get(name) != value:
            yield str(value)


def without_secrets(result: dict[str, Any], secrets: set[str]) -> dict[str, Any]:
    """Return ``result`` with secrets taken out of the texts that others wrote: messages, errors and tracebacks.

    Others may also have written what a terminal obeys, or without an end; only a traceback has lines.
    """

    def clean(value: Any, lines: bool = False) -> Any:
        if isinstance(value, str):
            value = redacted(value, secrets, HIDDEN)
            return value if lines else plain_text(value, LONGEST_MESSAGE)
        if isinstance(value, dict):
            # What kind of error it is, and of which option, are words of ours that a playbook compares with.
            return {key: inner if key in ("type", "option", "name") else clean(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [clean(inner) for inner in value]
        return value

    for name in ("msg", "error", "exception", "warnings"):
        if name in result:
            result[name] = clean(result[name], lines=name == "exception")
    for entries in result.values():
        for entry in entries if isinstance(entries, list) else ():
            if isinstance(entry, dict) and isinstance(entry.get("error"), dict):
                entry["error"] = clean(entry["error"])
    return result
