# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""management-server.log, as far as tests look at it: what nothing but the log tells (plugin sheet 4.2, 4.6)."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from .answers import date

if TYPE_CHECKING:
    from ..clock import Clock

LINES = 1000


class Journal:
    """The last lines; they live in memory."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lines: deque[dict] = deque(maxlen=LINES)

    def add(self, level: str, source: str, text: str, **about: str | None) -> None:
        self._lines.append({"time": date(self._clock.now()), "level": level, "source": source, "text": text, **about})

    def shown(self) -> list[dict]:
        return list(self._lines)

    def clear(self) -> None:
        self._lines.clear()
