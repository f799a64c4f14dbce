# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 0: one object or ten thousand, as one list of options.

A task declares one object in its top-level options, many in a list (``volumes``), many alike by ``names``, or very many in a file
(``volumes_src``). Whatever an entry leaves out it takes from the top level.
"""

from __future__ import annotations

import ast
import csv
import io
import json
import os
from collections.abc import Collection, Mapping
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ._errors import OptionError
from ._files import read_bytes

BULK_SPEC: dict[str, dict[str, Any]] = dict(
    on_error=dict(type="str", choices=["stop", "continue"], default="stop"),
    return_objects=dict(type="str", choices=["changed", "all", "none"]),
    parallel=dict(type="int", default=8),
)

MOST_PARALLEL = 256  # each takes a thread and a connection
MOST_BYTES = 64 << 20  # of a file of objects; a hundred thousand take a quarter of it

_EXACT = {"str": str, "int": int, "bool": bool, "dict": dict, "list": list}


def bulk_spec(item: Mapping[str, dict[str, Any]], plural: str, names: bool = True, key: str = "name") -> dict[str, dict[str, Any]]:
    """Return the argument spec for a module whose one object has the options ``item`` and whose list is called ``plural``.

    With ``names`` the objects may also be given by a list of what tells them apart, the option ``key``: ``names``, or ``vms``.
    """
    entry = {name: {key: value for key, value in spec.items() if key != "default"} for name, spec in item.items()}
    spec = {**item, plural: dict(type="list", elements="dict", options=entry), f"{plural}_src": dict(type="path"), **BULK_SPEC}
    if names:
        spec[f"{key}s"] = dict(type="list", elements="str")
    return spec


def expand(
    options: Mapping[str, Any], item: Mapping[str, dict[str, Any]], plural: str, key: str = "name", secret: bool = False
) -> tuple[list[dict[str, Any]], bool]:
    """Return the options of each declared object, and whether the task declares one object by its top-level options.

    The option ``key`` tells objects apart, so it cannot be shared. ``secret``: objects may have secrets, so that errors repeat nothing of
    what stands in a file but names of options and the value of ``key``.

    :raises OptionError: more than one way of declaring at once, a file that cannot be read, an entry with a wrong option.
    """
    if not 1 <= options["parallel"] <= MOST_PARALLEL:
        raise OptionError("parallel", options["parallel"], f"is not a number from 1 to {MOST_PARALLEL}")
    shared = {name: options[name] for name in item}
    lists = [name for name in (plural, f"{plural}_src", f"{key}s") if options.get(name) is not None]
    if len(lists) > 1:
        raise OptionError(lists[1], "(given)", f"cannot be combined with {lists[0]}; put all objects into one of them")
    if not lists:
        return [shared], True
    if key in item and shared[key] is not None:
        raise OptionError(key, shared[key], f"cannot be combined with {lists[0]}, whose entries have {key}s of their own")
    source = lists[0]
    if source == f"{key}s":
        for number, one in enumerate(options[source], 1):
            if _is_map(one):
                raise OptionError(source, "(a map)", f"is no {key} (entry {number}); entries with options of their own go into {plural}")
        return [{**shared, key: one} for one in options[source]], False
    if source == plural:
        return [{**shared, **{key: value for key, value in entry.items() if value is not None}} for entry in options[plural]], False
    found = read_file(options[source], source, plural, item if secret else None)
    return _entries(found, shared, item, options[source], key if secret else None), False


def _is_map(text: str) -> bool:
    """Tell whether a name is what Ansible makes of a map where a text is wanted."""
    try:
        return text.startswith("{") and isinstance(ast.literal_eval(text), dict)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return False


def read_file(path: str, option: str, plural: str, known: Collection[str] | None = None) -> list[Any]:
    """Return the entries of a JSON, YAML or CSV file (told apart by the ending): a list, or a map with the list under ``plural``.

    :param known: the options that an entry may have, when nothing else that stands in the file may be repeated.
    :raises OptionError: the file cannot be read or holds no such list.
    """
    path = os.path.expanduser(path)
    ending = os.path.splitext(path)[1].lower()
    if ending not in (".json", ".yml", ".yaml", ".csv"):
        raise OptionError(option, path, "must end in .json, .yml, .yaml or .csv")
    content = read_bytes(path, option, MOST_BYTES)
    try:
        text = content.decode("utf-8-sig")  # spreadsheets put a byte order mark first
        if ending == ".json":
            found = json.loads(text)
        elif ending == ".csv":
            rows = csv.DictReader(io.StringIO(text, newline=""), restkey="(beyond the columns of the first line)")
            columns = rows.fieldnames or ()
            if len(set(columns)) < len(columns):
                raise ValueError("its first line names a column twice")
            for number, column in enumerate(columns, 1):
                if known is not None and column not in known:
                    # It may be no name but a value, where the first line is missing or the columns are set apart otherwise.
                    raise ValueError(f"what its first line calls column {number} is no option; there are: {', '.join(known)}")
            found = [{key: value for key, value in row.items() if value not in (None, "")} for row in rows]
            while found and not found[-1]:
                del found[-1]  # spreadsheets leave rows of mere commas below the last one
        else:
            found = _load_yaml(text, option, path)
    except RecursionError:
        raise OptionError(option, path, "is nested too deeply") from None
    except _InYaml as exc:
        raise OptionError(option, path, f"is not valid {ending[1:].upper()}: {exc if known is None else exc.where}") from None
    except (ValueError, csv.Error) as exc:
        raise OptionError(option, path, f"is not valid {ending[1:].upper()}: {exc}") from exc
    if isinstance(found, dict):
        found = found.get(plural)
    if not isinstance(found, list):
        raise OptionError(option, path, f"holds neither a list nor a map with the list {plural}")
    return found


class _InYaml(ValueError):
    """What is wrong with a YAML text, in the words of its parser, which quote the text; ``where`` says the place alone."""

    def __init__(self, exc: Exception) -> None:
        super().__init__(str(exc))
        mark = getattr(exc, "problem_mark", None) or getattr(exc, "context_mark", None)
        self.where = f"see line {mark.line + 1}, column {mark.column + 1}" if mark else "a value is not what its tag says"


def _load_yaml(text: str, option: str, path: str) -> Any:
    try:
        import yaml
    except ImportError:
        raise OptionError(option, path, "needs PyYAML where the task runs; use JSON or CSV, or install it") from None
    try:
        return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, ValueError) as exc:
        raise _InYaml(exc) from exc


def _entries(
    found: list[Any], shared: dict[str, Any], item: Mapping[str, dict[str, Any]], path: str, only: str | None = None
) -> list[dict[str, Any]]:
    """Return ``found`` merged over ``shared``, each checked against the spec. With ``only``, errors show this of an entry and nothing else.

    An entry whose values already have their exact types needs nothing from Ansible's validator, which costs many times the work of
    planning the object; any other entry goes through it, for its conversions and its messages.
    """
    exact = {
        name: _EXACT[spec.get("type", "str")]
        for name, spec in item.items()
        if spec.get("type", "str") in _EXACT and not spec.get("options") and spec.get("elements", "raw") in ("raw",)
    }
    choices = {name: spec["choices"] for name, spec in item.items() if "choices" in spec}
    validator = None
    entries = []
    for number, entry in enumerate(found, 1):
        where = f"entry {number} of {path}"
        if not isinstance(entry, dict):
            raise OptionError("entry", "(hidden)" if only else entry, "is not a map of options", item=where)
        for name, value in entry.items():
            # pylint: disable-next=unidiomatic-typecheck  # true is an int, and a text is not yet a number
            if type(value) is not exact.get(name) or (name in choices and value not in choices[name]):
                break
        else:
            entries.append({**shared, **entry})
            continue
        if validator is None:
            validator = ArgumentSpecValidator({name: {k: v for k, v in spec.items() if k != "default"} for name, spec in item.items()})
        result = validator.validate(entry)
        if result.error_messages:
            shown = ({only: entry[only]} if only in item and only in entry else "(hidden)") if only else entry
            raise OptionError("entry", shown, f"is wrong: {'; '.join(result.error_messages)}", item=where)
        entries.append({**shared, **{key: value for key, value in result.validated_parameters.items() if value is not None}})
    return entries
