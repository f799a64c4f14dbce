# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the demo looks: headings, a line for each task, diffs of many objects in few lines, tables."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

WIDTH = 120
COLOURS = {"heading": "1", "command": "36", "changed": "33", "proved": "32", "+": "32", "~": "33", "-": "31", "failed": "31"}


def paint(kind: str, text: str) -> str:
    if kind in COLOURS and sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
        return f"\033[{COLOURS[kind]}m{text}\033[0m"
    return text


def show(text: str = "") -> None:
    print(text, flush=True)


def heading(text: str) -> None:
    show("\n" + paint("heading", f"== {text} {'=' * max(4, 100 - len(text))}"))


def command(text: str) -> None:
    show("\n   " + paint("command", f"$ {text}"))


def line(kind: str, text: str) -> None:
    show(f"     {paint(kind, f'{kind:<15}')}{text}")


def changes(result: dict[str, Any], plural: str) -> list[str]:
    """Return a line for each object that a result changes; neighbours to which the same happens share one."""
    entries = {entry["name"]: entry for entry in result.get(plural) or []}
    diff = result.get("diff") or []
    folded: list[list[str]] = []
    for one in [member for group in (diff if isinstance(diff, list) else [diff]) for member in _members(group)]:
        sign, name, text = _change(one, entries)
        if folded and folded[-1][0] == sign and folded[-1][2] == text:
            folded[-1].append(name)
        else:
            folded.append([sign, name, text])
    lines = []
    for sign, name, text, *more in folded:
        lines += _wrapped(sign, f"{name}{': ' if text else ''}{text}")
        if more:
            lines += _wrapped(sign, f"{len(more)} more alike: {more[0]}{' ... ' + more[-1].split()[-1] if len(more) > 1 else ''}")
    return lines


def _wrapped(sign: str, text: str) -> list[str]:
    return [paint(sign, part) for part in textwrap.wrap(f"{sign} {text}", WIDTH, subsequent_indent="    ", break_on_hyphens=False)]


def _members(one: dict[str, Any]) -> list[dict[str, Any]]:
    """The objects of a group, each with its own before and after; any other diff as it is."""
    sides = [one.get("before") or {}, one.get("after") or {}]
    lists = [(key, inner) for side in sides for key, inner in side.items() if isinstance(inner, list) and inner]
    groups = {key for key, inner in lists if all("name" in each for each in inner if isinstance(each, dict)) and isinstance(inner[0], dict)}
    members = []
    for key in sorted(groups):
        before, after = ({each["name"]: each for each in side.get(key) or []} for side in sides)
        for name in {**before, **after}:
            header = f"{(one.get('after_header') or '').partition(' ')[0]} {name}"
            members.append({"after_header": header, "before": before.get(name), "after": after.get(name)})
    return members or [one]


def _change(one: dict[str, Any], entries: dict[str, dict[str, Any]]) -> tuple[str, str, str]:
    before, after = one.get("before") or {}, one.get("after") or {}
    header = one.get("after_header") or one.get("before_header") or ""
    name = header.rpartition(" ")[2]
    entry = entries.get(name, {})
    moved = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    if after and not before:
        return "+", header, ", ".join(f"{key} {value(after[key])}" for key in after if _tells(after[key]) and after[key] != name)
    if after and moved:
        return "~", header, ", ".join(filter(None, (_moved(key, before.get(key), after.get(key)) for key in moved)))
    # What happens to a volume as a whole is told by the actions.
    because = entry.get("revert", {}).get("because")
    return "~" if after else "-", header, ", ".join(entry.get("actions", [])) + (f" ({because})" if because else "")


def _moved(key: str, before: Any, after: Any) -> str:
    if isinstance(before, list) and isinstance(after, list) and len(before + after) > 3:
        gone, come = (" ".join(str(one) for one in side if one not in other) for side, other in ((before, after), (after, before)))
        return f"{key} loses {gone or 'none'} and gains {come or 'none'}"
    if before is None:
        return f"{key} {value(after)}" if _tells(after) else ""
    return f"{key} {value(before)} -> {value(after)}"


def _tells(content: Any) -> bool:
    return content not in (None, "", [], {}, False, "unlimited")


def value(content: Any) -> str:
    if content is None or content in ("", [], {}):
        return "none"
    if isinstance(content, dict):
        return " ".join(f"{key}={value(inner)}" for key, inner in content.items())
    if isinstance(content, list):
        return " + ".join(map(value, content))
    return str(content)


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Columns as wide as they need to be, numbers to the right; a list in a cell takes a line for each of its elements."""
    lines: list[list[str]] = []
    for row in rows:
        cells = [list(map(value, cell)) if isinstance(cell, (list, tuple)) else ["" if cell is None else value(cell)] for cell in row]
        lines += [[cell[at] if at < len(cell) else "" for cell in cells] for at in range(max(1, *map(len, cells)))]
    widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
    show("   " + paint("heading", _row(head, widths)))
    for one in lines:
        show("   " + _row(one, widths))


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    pairs = zip(cells, widths, strict=True)
    return "  ".join(f"{cell:>{width}}" if cell.isdigit() else f"{cell:<{width}}" for cell, width in pairs).rstrip()


def count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def bytes_of(number: int) -> str:
    """A number of bytes as people say it."""
    if abs(number) < 1024:
        return f"{number} bytes"
    unit, size = next((unit, size) for unit, size in (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024)) if abs(number) >= size)
    return f"{number / size:.1f} {unit}"
