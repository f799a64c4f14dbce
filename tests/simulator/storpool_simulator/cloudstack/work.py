# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work that takes its time, done beside the event loop: conversions of images, downloads.

What carries out a command may be a generator. It yields a `Chore` for what touches files alone; that runs in a thread, while the
server goes on answering, and its result comes back as the value of the `yield` (or is raised there). It yields a `Pause` to wait for
somebody else. Whatever it changed before a `yield` is on record.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cloud import Cloud

LOG = logging.getLogger(__name__)
THREADS = 4


@dataclass(frozen=True)
class Chore:
    """Something to do in a thread; it must not touch the world."""

    do: Callable[[], Any]


@dataclass(frozen=True)
class Pause:
    seconds: float = 0.02


Steps = Generator[Chore | Pause, Any, Any]
# Gets the result and None, or None and the error
Done = Callable[[Any, Exception | None], None]


def no_error(_result: Any, error: Exception | None) -> None:
    """For work that nobody waits for: there is nobody to tell of an error, so it is one of the simulator."""
    if error is not None:
        raise error


class Workshop:
    """Drives generators from step to step. Between two steps anything may happen."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="chore")
        # What is under way, and what it is about
        self.under_way: dict[str, Steps] = {}
        self._locks: set[str] = set()

    def start(self, name: str, steps: Steps, done: Done) -> None:
        """Go as far as it gets without waiting; `done` is called at the end, perhaps at once. It stands alone in a transaction."""
        self.cloud.world.commit()
        self.under_way[name] = steps
        self._proceed(name, steps, done, lambda: next(steps))

    def _proceed(self, name: str, steps: Steps, done: Done, step: Callable[[], Chore | Pause]) -> None:
        world = self.cloud.world
        if self.under_way.get(name) is not steps:
            return  # a reset, or its server is gone
        try:
            wanted = step()
        except StopIteration as end:
            del self.under_way[name]
            done(end.value, None)
        except Exception as error:
            del self.under_way[name]
            world.rollback()
            done(None, error)
        else:
            world.commit()
            self._wait(name, steps, done, wanted)
            return
        world.commit()

    def _wait(self, name: str, steps: Steps, done: Done, wanted: Chore | Pause) -> None:
        loop = asyncio.get_running_loop()
        if isinstance(wanted, Pause):
            loop.call_later(wanted.seconds, self._proceed, name, steps, done, lambda: steps.send(None))
            return

        def ended(future: asyncio.Future) -> None:
            if future.cancelled():
                return
            error = future.exception()
            self._proceed(name, steps, done, (lambda: steps.throw(error)) if error else (lambda: steps.send(future.result())))

        loop.run_in_executor(self._threads, wanted.do).add_done_callback(ended)

    def abandon(self, name: str) -> None:
        """Nobody waits for it any more; a chore that runs in a thread comes to nothing."""
        steps = self.under_way.pop(name, None)
        if steps is not None:
            steps.close()

    def abandon_all(self) -> None:
        for name in list(self.under_way):
            self.abandon(name)
        self._locks.clear()

    def alone(self, key: str, steps: Steps) -> Steps:
        """The steps, while nobody else does something under the same key."""
        while key in self._locks:
            yield Pause()
        self._locks.add(key)
        try:
            return (yield from steps)
        finally:
            self._locks.discard(key)

    def is_busy(self, key: str) -> bool:
        """Whether steps are under way under the key; what says so in the tables alone was cut short with its server."""
        return key in self._locks

    async def idle(self) -> None:
        """Until nothing is under way."""
        while self.under_way:
            await asyncio.sleep(0.01)
