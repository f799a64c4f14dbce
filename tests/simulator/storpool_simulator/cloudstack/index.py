# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which documents of a table refer to what; kept by a watcher, so it follows undoes and restarts as well."""

from __future__ import annotations

from collections.abc import Callable

from ..store import Document, Table


class Index:
    """`key` tells what a document refers to, None for nothing."""

    def __init__(self, table: Table, key: Callable[[Document], str | None]) -> None:
        self._table = table
        self._key = key
        self._found: dict[str, dict[str, None]] = {}
        table.watchers.append(self._changed)

    def _changed(self, id: str, old: Document | None, new: Document | None) -> None:
        before, after = self._key(old) if old else None, self._key(new) if new else None
        if before == after:
            return
        if before is not None:
            ids = self._found[before]
            del ids[id]
            if not ids:
                del self._found[before]
        if after is not None:
            self._found.setdefault(after, {})[id] = None

    def of(self, key: str) -> list[Document]:
        return [self._table[id] for id in self._found.get(key, ())]
