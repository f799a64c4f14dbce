# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real bytes: content files, shared between objects until somebody writes.

A content is a sparse file of its own, named by a random id, and never belongs to one object for good: a snapshot, a clone and
a reverted volume refer to the same content as their source, and nothing is copied. Whoever writes takes a private copy first.
Bytes beyond the end of a file are zeros, so a volume that grew needs no change of its file.

What an object stores itself ("client bytes in this volume", VolumeSpace.storedSize) is found by comparing it with its parent:
the blocks in which they differ. So merging, reverting and rebasing need no book-keeping that could go wrong.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

BLOCK = 4096
CHUNK = 1 << 20
FICLONE = 0x40049409
_ZEROS = bytes(CHUNK)


def extents(fd: int, limit: int) -> Iterator[tuple[int, int]]:
    """The (start, end) of everything that holds data below `limit`."""
    size = min(os.fstat(fd).st_size, limit)
    at = 0
    while at < size:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        if start >= size:
            return
        at = min(os.lseek(fd, start, os.SEEK_HOLE), size)
        yield start, at


def read_exactly(fd: int, offset: int, length: int) -> bytes:
    """`length` bytes; what lies beyond the end of the file is zeros."""
    parts = []
    while length:
        part = os.pread(fd, length, offset)
        if not part:
            parts.append(bytes(length))
            break
        parts.append(part)
        offset += len(part)
        length -= len(part)
    return b"".join(parts)


def write_fully(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view = view[written:]
        offset += written


def _copy_range(source: int, target: int, start: int, end: int) -> None:
    while start < end:
        try:
            copied = os.copy_file_range(source, target, end - start, start, start)
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
            data = read_exactly(source, start, min(CHUNK, end - start))
            write_fully(target, data, start)
            copied = len(data)
        start += copied


class Contents:
    """The files, and who refers to them. An owner is (cluster, globalId)."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.owners: dict[str, set[tuple[str, str]]] = {}
        self.bytes_copied = 0
        # What hosts wrote when they converted images
        self.bytes_converted = 0
        self._suspects: set[str] = set()
        self._versions: dict[str, int] = {}
        self._sizes: dict[tuple, tuple[tuple, int]] = {}

    # References: kept by the watcher of the tables that hold them.

    def refer(self, content: str, owner: tuple[str, str]) -> None:
        self.owners.setdefault(content, set()).add(owner)

    def release(self, content: str, owner: tuple[str, str]) -> None:
        owners = self.owners.get(content, set())
        owners.discard(owner)
        if not owners:
            self.owners.pop(content, None)
            self._suspects.add(content)

    @contextlib.contextmanager
    def held(self, content: str | None) -> Iterator[None]:
        """The file stays while somebody reads it for longer than a request."""
        if content is None:
            yield
            return
        owner = ("", secrets.token_hex(4))
        self.refer(content, owner)
        try:
            yield
        finally:
            self.release(content, owner)
            self.sweep()

    def sweep(self) -> None:
        """Remove the files that nobody refers to any more, once the transaction that let them go is committed."""
        suspects, self._suspects = self._suspects, set()
        for content in suspects:
            if content not in self.owners:
                self.path(content).unlink(missing_ok=True)
                self._versions.pop(content, None)
        if suspects:
            self._sizes = {key: value for key, value in self._sizes.items() if not suspects.intersection(key)}

    def sweep_all(self) -> None:
        """At start: remove what an unfinished request left behind."""
        for path in self.directory.iterdir():
            if path.name not in self.owners:
                path.unlink()

    # Files

    def path(self, content: str) -> Path:
        return self.directory / content

    def create(self, size: int) -> str:
        content = secrets.token_hex(12)
        with open(self.path(content), "xb") as file:
            file.truncate(size)
        self._suspects.add(content)  # until somebody refers to it
        return content

    def copy(self, content: str, size: int) -> str:
        """A private copy of the first `size` bytes; the file system shares the blocks where it can."""
        made = self.create(0)
        with open(self.path(content), "rb") as source, open(self.path(made), "r+b") as target:
            try:
                fcntl.ioctl(target.fileno(), FICLONE, source.fileno())
            except OSError:
                for start, end in extents(source.fileno(), size):
                    _copy_range(source.fileno(), target.fileno(), start, end)
                    self.bytes_copied += end - start
            target.truncate(size)
        return made

    def fit(self, content: str, size: int) -> None:
        """A file that others see as a device is as long as the device."""
        if self.path(content).stat().st_size != size:
            os.truncate(self.path(content), size)
            self.touched(content)

    def grow(self, content: str, size: int) -> None:
        if self.path(content).stat().st_size < size:
            os.truncate(self.path(content), size)

    def write(self, content: str, offset: int, data: bytes) -> None:
        with open(self.path(content), "r+b") as file:
            write_fully(file.fileno(), data, offset)
        self.touched(content)

    def touched(self, content: str) -> None:
        """Somebody wrote to the file."""
        # Time stamps of files are coarser than two writes in a row.
        self._versions[content] = self._versions.get(content, 0) + 1

    def stamp(self, content: str | None) -> tuple:
        """Changes when the bytes change."""
        if content is None:
            return ()
        stat = self.path(content).stat()
        return (content, stat.st_mtime_ns, stat.st_blocks, stat.st_size, self._versions.get(content, 0))

    # Reading

    def read(self, content: str | None, offset: int, length: int) -> bytes:
        if content is None:
            return bytes(length)
        with open(self.path(content), "rb") as file:
            return read_exactly(file.fileno(), offset, length)

    def digest(self, content: str | None, size: int) -> str:
        """SHA-256 of the whole logical content; holes cost hashing but no reading."""
        digest = hashlib.sha256()
        at = 0

        def zeros(until: int) -> None:
            nonlocal at
            while at < until:
                step = min(CHUNK, until - at)
                digest.update(_ZEROS if step == CHUNK else bytes(step))
                at += step

        if content is not None:
            with open(self.path(content), "rb") as file:
                for start, end in extents(file.fileno(), size):
                    zeros(start)
                    while at < end:
                        data = read_exactly(file.fileno(), at, min(CHUNK, end - at))
                        digest.update(data)
                        at += len(data)
        zeros(size)
        return digest.hexdigest()

    def fingerprint(self, content: str | None, size: int) -> str:
        """SHA-256 of the size and of all blocks that are not zeros, with their places. Equal for equal bytes; holes cost nothing."""
        digest = hashlib.sha256(str(size).encode())
        if content is not None:
            with open(self.path(content), "rb") as file:
                until = 0
                for start, end in extents(file.fileno(), size):
                    at = max(until, start - start % BLOCK)
                    # To the end of a block, so that the blocks are the same whatever the extents are.
                    until = min(size, -(-end // BLOCK) * BLOCK)
                    while at < until:
                        data = read_exactly(file.fileno(), at, min(CHUNK, until - at))
                        for place in range(0, len(data), BLOCK):
                            block = data[place : place + BLOCK]
                            if block.count(0) != len(block):
                                digest.update(f"/{at + place}/".encode() + block)
                        at += len(data)
        return digest.hexdigest()

    def used(self, content: str | None, size: int) -> int:
        """Bytes that hold data."""
        if content is None:
            return 0
        return self._cached((content, str(size)), self.stamp(content), lambda: self._used(content, size))

    def _used(self, content: str, size: int) -> int:
        with open(self.path(content), "rb") as file:
            return sum(end - start for start, end in extents(file.fileno(), size))

    def own(self, content: str | None, parent: str | None, size: int) -> int:
        """Bytes that hold data and differ from the parent's."""
        if content is None or content == parent:
            return 0
        if parent is None:
            return self.used(content, size)
        return self._cached(
            (content, parent, str(size)), (self.stamp(content), self.stamp(parent)), lambda: self._own(content, parent, size)
        )

    def _own(self, content: str, parent: str, size: int) -> int:
        own = 0
        with open(self.path(content), "rb") as mine, open(self.path(parent), "rb") as theirs:
            for start, end in extents(mine.fileno(), size):
                for at in range(start, end, CHUNK):
                    length = min(CHUNK, end - at)
                    here, there = read_exactly(mine.fileno(), at, length), read_exactly(theirs.fileno(), at, length)
                    if here != there:
                        own += sum(
                            min(BLOCK, length - block)
                            for block in range(0, length, BLOCK)
                            if here[block : block + BLOCK] != there[block : block + BLOCK]
                        )
        return own

    def _cached(self, key: tuple, stamp: tuple, compute) -> int:
        known = self._sizes.get(key)
        if known is None or known[0] != stamp:
            known = self._sizes[key] = (stamp, compute())
        return known[1]

    def counters(self) -> dict:
        stats = [self.path(content).stat() for content in self.owners]
        return {
            "bytes_copied": self.bytes_copied,
            "bytes_converted": self.bytes_converted,
            "bytes_stored": sum(stat.st_blocks * 512 for stat in stats),
            "files": len(stats),
        }
