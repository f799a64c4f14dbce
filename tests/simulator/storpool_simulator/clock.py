# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulator's clock: the machine's, moved forward on demand, or stopped, so that only what is asked for passes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator


class Clock:
    def __init__(self) -> None:
        self.offset = 0.0
        self._stopped: float | None = None
        self._shown: float | None = None

    def now(self) -> float:
        if self._shown is not None:
            return self._shown
        return (time.time() if self._stopped is None else self._stopped) + self.offset

    def stop(self) -> None:
        """From now on only `advance` moves it."""
        if self._stopped is None:
            self._stopped = time.time()

    def go_on(self) -> None:
        """From the moment that it shows."""
        if self._stopped is not None:
            self.offset, self._stopped = self.now() - time.time(), None

    def start_anew(self) -> None:
        """As the machine's clock."""
        self.offset, self._stopped = 0.0, None

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
