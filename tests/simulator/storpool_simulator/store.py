# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documents in memory, written through to SQLite.

A table is a dictionary of documents. Documents are never changed in place: `put` replaces one, and remembers the old
one until the request ends, so that a failed request leaves nothing behind. Watchers keep indexes; an undo goes through
them like any other change. `commit` writes everything a request changed in one transaction, before its answer is sent.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Document = dict[str, Any]
Watcher = Callable[[str, "Document | None", "Document | None"], None]


class Table:
    def __init__(self, store: Store, space: str, kind: str) -> None:
        self.store = store
        self.space = space
        self.kind = kind
        self.rows: dict[str, Document] = {}
        # When each row came; listings keep that order, after an undo and after a restart too.
        self.order: dict[str, int] = {}
        self._last = 0
        self.watchers: list[Watcher] = []

    def __contains__(self, key: object) -> bool:
        return key in self.rows

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[str]:
        return iter(self.rows)

    def __getitem__(self, key: str) -> Document:
        return self.rows[key]

    def get(self, key: str) -> Document | None:
        return self.rows.get(key)

    def values(self) -> list[Document]:
        return list(self.rows.values())

    def items(self) -> list[tuple[str, Document]]:
        return list(self.rows.items())

    def put(self, key: str, document: Document) -> None:
        old = self.rows.get(key)
        if old == document:
            return
        self.store.journal.append((self, key, old, self.order.get(key, 0)))
        self._set(key, old, document)

    def change(self, key: str, **fields: Any) -> Document:
        document = {**self.rows[key], **fields}
        self.put(key, document)
        return document

    def drop(self, key: str) -> None:
        old = self.rows[key]
        self.store.journal.append((self, key, old, self.order[key]))
        self._set(key, old, None)

    def _set(self, key: str, old: Document | None, new: Document | None) -> None:
        if new is None:
            self.rows.pop(key, None)
            self.order.pop(key, None)
        else:
            if key not in self.rows:
                self._last += 1
                self.order[key] = self._last
            self.rows[key] = new
        for watcher in self.watchers:
            watcher(key, old, new)

    def _restore(self, key: str, old: Document | None, place: int) -> bool:
        """Undo one change; true when a row came back and has to find its place again."""
        back = old is not None and key not in self.rows
        self._set(key, self.rows.get(key), old)
        if back:
            self.order[key] = place
        return back

    def _sort(self) -> None:
        self.rows = dict(sorted(self.rows.items(), key=lambda item: self.order[item[0]]))


class Store:
    def __init__(self, path: Path) -> None:
        # The process may die at any moment and lose nothing; a crash of the whole machine is not what tests are about,
        # so nothing waits for the disk.
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute("PRAGMA journal_mode=WAL")
        self.connection.execute("PRAGMA synchronous=OFF")
        self.connection.execute(
            "CREATE TABLE IF NOT EXISTS documents (space TEXT, kind TEXT, key TEXT, body TEXT, PRIMARY KEY (space, kind, key))"
        )
        self.tables: dict[tuple[str, str], Table] = {}
        # What was there before each change, and its place
        self.journal: list[tuple[Table, str, Document | None, int]] = []

    def table(self, space: str, kind: str) -> Table:
        known = self.tables.get((space, kind))
        if known is None:
            known = self.tables[(space, kind)] = Table(self, space, kind)
        return known

    def load(self) -> None:
        """Read what an earlier process committed, in the order of first writing; watchers see every document."""
        for space, kind, key, body in self.connection.execute("SELECT space, kind, key, body FROM documents ORDER BY rowid"):
            self.table(space, kind)._set(key, None, json.loads(body))

    @property
    def dirty(self) -> bool:
        return bool(self.journal)

    def changed(self) -> list[tuple[Table, str]]:
        """What the request changed so far, each once, in order."""
        return list(dict.fromkeys((table, key) for table, key, _unused, _unused in self.journal))

    def commit(self) -> None:
        if not self.journal:
            return
        run = self.connection.execute
        places: dict[tuple[Table, str], int] = {}
        for table, key, _unused, place in self.journal:
            places.setdefault((table, key), place)
        run("BEGIN")
        for (table, key), place in places.items():
            document = table.rows.get(key)
            # One that went and came back is a new row here too.
            if document is None or (place and table.order[key] != place):
                run("DELETE FROM documents WHERE space = ? AND kind = ? AND key = ?", (table.space, table.kind, key))
            if document is not None:
                # An upsert keeps the row id, and with it the order of listings after a restart.
                run(
                    "INSERT INTO documents VALUES (?, ?, ?, ?) ON CONFLICT (space, kind, key) DO UPDATE SET body = excluded.body",
                    (table.space, table.kind, key, json.dumps(document, separators=(",", ":"))),
                )
        run("COMMIT")
        self.journal.clear()

    def mark(self) -> int:
        """A place to roll back to."""
        return len(self.journal)

    def rollback(self, mark: int = 0) -> None:
        undone, self.journal = self.journal[mark:], self.journal[:mark]
        unsorted = {table for table, key, old, place in reversed(undone) if table._restore(key, old, place)}
        for table in unsorted:
            table._sort()

    def clear(self) -> None:
        """Drop every document; the journal makes it one transaction with what follows."""
        for table in self.tables.values():
            for key in list(table.rows):
                table.drop(key)

    def close(self) -> None:
        self.connection.close()
