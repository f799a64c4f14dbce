# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The places in the code of the resources where changes are made: all there are, and those that a task came by."""

from __future__ import annotations

import ast
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from ansible_collections.storpool.cloudstack.plugins.module_utils import _plan

RESOURCES = Path(_plan.__file__).parent / "resources"
Place = tuple[str, int]  # name of the file, line


def all_changes() -> dict[Place, str]:
    """Every place where a `Change` is made, with its text; one that stands on several lines counts by its first."""
    found = {}
    for path in sorted(RESOURCES.glob("*.py")):
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Change":
                found[path.name, node.lineno] = " ".join((ast.get_source_segment(text, node) or "").split())
    return found


@contextlib.contextmanager
def noting_changes(places: set[Place]) -> Iterator[None]:
    """Enter the places where changes are made meanwhile."""
    make = _plan.Change.__init__

    def noting(self: _plan.Change, *args: object, **more: object) -> None:
        frame = sys._getframe(1)
        places.add((Path(frame.f_code.co_filename).name, frame.f_lineno))
        make(self, *args, **more)

    with mock.patch.object(_plan.Change, "__init__", noting):
        yield
