# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 0: reading files that users name.

A path may lead to anything: a pipe that nobody writes to would hold the task for ever, a device would fill the memory.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from ._errors import OptionError

_KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def absolute(path: str, option: str) -> str:
    """Return a path that does not depend on where the task runs. :raises OptionError: it is none."""
    if not path.startswith("/") or not path.isprintable():
        raise OptionError(option, path, "is no path that begins with /")
    return path


@contextmanager
def opened(path: str, option: str) -> Iterator[int]:
    """Open a regular file (links to one are followed) for reading; gives its descriptor.

    :raises OptionError: it is not there, may not be read, or is no regular file; names option and path.
    """
    try:
        # Opening a pipe to read waits for a writer, unless it is told not to wait.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError as exc:
        raise OptionError(option, path, f"cannot be read: {exc.strerror}") from exc
    except ValueError as exc:  # characters that no path can have
        raise OptionError(option, path, f"cannot be read: {exc}") from exc
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise OptionError(option, path, f"is {next((word for test, word in _KINDS if test(mode)), 'something else')} and no file")
        yield descriptor
    finally:
        os.close(descriptor)


def read_bytes(path: str, option: str, most: int) -> bytes:
    """Return what is in a regular file (links to one are followed).

    :param most: bytes that it may have.
    :raises OptionError: it is not there, may not be read, is larger, or is no regular file; names option and path.
    """
    with opened(path, option) as descriptor:
        try:
            with open(descriptor, "rb", closefd=False) as stream:
                content = stream.read(most + 1)
        except OSError as exc:
            raise OptionError(option, path, f"cannot be read: {exc.strerror}") from exc
    if len(content) > most:
        raise OptionError(option, path, f"has more than {most >> 20} MiB; divide it")
    return content
