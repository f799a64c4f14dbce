# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulator's clock: the machine's, moved forward on demand."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator


class Clock:
    def __init__(self) -> None:
        self.offset = 0.0
        self._shown: float | None = None

    def now(self) -> float:
        return time.time() + self.offset if self._shown is None else self._shown

    def seconds(self) -> int:
        """UNIX seconds, as the API tells times."""
        return int(self.now())

    @contextlib.contextmanager
    def at(self, moment: float) -> Iterator[None]:
        """While it lasts the clock shows that moment: for what happened in a time that was skipped."""
        self._shown = moment
        try:
            yield
        finally:
            self._shown = None

    def advance(self, seconds: float) -> None:
        if seconds < 0:
            raise ValueError("the clock only goes forward")
        self.offset += seconds
