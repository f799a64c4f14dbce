# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 0: files that users name, read and written.

A path may lead to anything: a pipe that nobody writes to would hold the task for ever, a device would fill the memory, and a file renamed
to the name of a device would take its place.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress

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
        _check_regular(os.fstat(descriptor).st_mode, path, option)
        yield descriptor
    finally:
        os.close(descriptor)


def _check_regular(mode: int, path: str, option: str) -> None:
    if not stat.S_ISREG(mode):
        raise OptionError(option, path, f"is {next((word for test, word in _KINDS if test(mode)), 'something else')} and no file")


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


def check_writable(path: str, option: str) -> None:
    """:raises OptionError: something else than a regular file is there, or it can neither be written nor made."""
    try:
        if os.path.lexists(path):
            _check_regular(os.stat(path).st_mode, path, option)
        if not os.access(os.path.dirname(os.path.realpath(path)), os.W_OK | os.X_OK):
            raise OptionError(option, path, "cannot be written: its directory does not exist, or may not be written")
    except OSError as exc:
        raise OptionError(option, path, f"cannot be written: {exc.strerror}") from exc
    except ValueError as exc:  # characters that no path can have
        raise OptionError(option, path, f"cannot be written: {exc}") from exc


def new_name(path: str) -> str:
    """Return what a file is called until it takes the place of the one at ``path``."""
    return os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.new")


@contextmanager
def new_file(path: str) -> Iterator[int]:
    """Yield a new file beside the one at ``path``, locked against others that would replace that at the same time.

    Its name is always the same, so that what a killed run leaves behind is used by the next one. Renamed, it is not there any more.
    """
    name = new_name(path)
    while True:
        new = os.open(name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        fcntl.flock(new, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if os.fstat(new).st_nlink > 1:
                os.unlink(name)  # it is another file as well, which is not to be written
            # Another run may have renamed it while this one waited.
            elif os.path.samestat(os.fstat(new), os.stat(name, follow_symlinks=False)):
                break
        os.close(new)
    try:
        yield new
    finally:
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(new), os.stat(name, follow_symlinks=False)):
                os.unlink(name)
        os.close(new)


def write_whole(path: str, option: str, text: str) -> None:
    """Let a regular file have this text, at once: whoever reads it finds the old text or the new one, however many write it.

    A new file is its owner's alone, one that is there keeps its mode and owner; of a link it is the target that is written.

    :raises OptionError: it cannot be written, or something else than a regular file is there; names option and path.
    """
    path = os.path.realpath(path)
    try:
        with new_file(path) as new:
            old = os.stat(path) if os.path.lexists(path) else None
            if old:
                _check_regular(old.st_mode, path, option)
            os.ftruncate(new, 0)
            with open(new, "w", encoding="utf-8", closefd=False) as stream:
                stream.write(text)
            if old and (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(new, old.st_uid, old.st_gid)
            os.fchmod(new, stat.S_IMODE(old.st_mode) if old else 0o600)
            os.fsync(new)
            os.rename(new_name(path), path)
    except OSError as exc:
        raise OptionError(option, path, f"cannot be written: {exc.strerror}") from exc
    except ValueError as exc:  # characters that no path can have
        raise OptionError(option, path, f"cannot be written: {exc}") from exc
