# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the demo looks: headings, a line for each task, diffs of many objects in few lines, tables."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any

WIDTH = 150
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
    show(f"     {paint(kind, f'{kind:<13}')}{text}")


def changes(diff: Any) -> list[str]:
    """Return a line for each object of a diff; objects to which the same happens share one."""
    folded: list[list[str]] = []
    for one in diff if isinstance(diff, list) else [diff] if diff else []:
        sign, name, text = _change(one)
        if folded and folded[-1][0] == sign and folded[-1][2] == text:
            folded[-1].append(name)
        else:
            folded.append([sign, name, text])
    lines = []
    for sign, name, text, *more in folded:
        lines.append(paint(sign, _cut(f"{sign} {name}{': ' if text else ''}{text}")))
        if more:
            lines.append(paint(sign, _cut(f"{sign} {len(more)} more alike: {more[0]}{' ... ' + more[-1].split()[-1] if len(more) > 1 else ''}")))
    return lines


def _change(one: dict[str, Any]) -> tuple[str, str, str]:
    before, after = one.get("before") or {}, one.get("after") or {}
    name = one.get("after_header") or one.get("before_header") or ""
    if not isinstance(before, dict) or not isinstance(after, dict):
        return "~", name, f"{before} -> {after}"
    if not after:
        return "-", name, ""
    own = name.split()[-1:]
    if not before:
        return "+", name, ", ".join(f"{key} {value(after[key])}" for key in after if after[key] not in (None, "", [], {}) and [after[key]] != own)
    moved = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    return "~", name, ", ".join(f"{key} {value(before.get(key))} -> {value(after.get(key))}" for key in moved)


def value(content: Any) -> str:
    if content is None or content in ("", [], {}):
        return "none"
    if isinstance(content, dict):
        return " ".join(f"{key}={value(inner)}" for key, inner in content.items())
    if isinstance(content, list):
        return " + ".join(map(value, content))
    return str(content)


def _cut(text: str) -> str:
    return text if len(text) <= WIDTH else text[: WIDTH - 3] + "..."


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Columns as wide as they need to be; numbers to the right."""
    rows = [[value(cell) if cell is not None else "" for cell in row] for row in rows]
    widths = [max(len(row[at]) for row in [list(head), *rows]) for at in range(len(head))]
    show("   " + paint("heading", "  ".join(f"{cell:<{width}}" for cell, width in zip(head, widths)).rstrip()))
    for row in rows:
        show("   " + "  ".join(f"{cell:>{width}}" if cell.isdigit() else f"{cell:<{width}}" for cell, width in zip(row, widths)).rstrip())


def bytes_of(number: int) -> str:
    """A number of bytes as people say it."""
    if abs(number) < 1024:
        return f"{number} bytes"
    return f"{number / 1024**2:.1f} MiB" if abs(number) >= 1024**2 else f"{number / 1024:.1f} KiB"
