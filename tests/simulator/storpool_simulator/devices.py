# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Attached volumes as devices: STATE/dev/CLUSTER/CLIENT/storpool/NAME and .../storpool-byid/GLOBALID (sheet 5.2).

Where loop devices work, the links lead to one; else to the content file. All clients of a volume share one loop device, as two
would have two caches over the same bytes.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import shutil
import stat
import struct
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .cluster import Cluster
    from .store import Document
    from .world import World

LOG = logging.getLogger(__name__)

# linux/loop.h
LOOP_CLR_FD = 0x4C01
LOOP_SET_CAPACITY = 0x4C07
LOOP_CONFIGURE = 0x4C0A
LOOP_CTL_GET_FREE = 0x4C82
LO_FLAGS_READ_ONLY = 1
LO_FLAGS_AUTOCLEAR = 4
LOOP_MAJOR = 7
SECTOR = 512


class Loop:
    """A loop device over a content file. The kernel takes it down when its last user is gone, also after a kill -9."""

    def __init__(self, backing: Path, read_only: bool) -> None:
        mode = os.O_RDONLY if read_only else os.O_RDWR
        flags = LO_FLAGS_AUTOCLEAR | (LO_FLAGS_READ_ONLY if read_only else 0)
        file = os.open(backing, mode)
        control = os.open("/dev/loop-control", os.O_RDWR)
        try:
            for _unused in range(50):
                number = fcntl.ioctl(control, LOOP_CTL_GET_FREE)
                self.path = f"/dev/loop{number}"
                if not os.path.exists(self.path):
                    os.mknod(self.path, 0o600 | stat.S_IFBLK, os.makedev(LOOP_MAJOR, number))
                self.fd = os.open(self.path, mode)
                name = str(backing).encode()[-63:]
                info = struct.pack("=5Q4I64s64s32s2Q", 0, 0, 0, 0, 0, 0, 0, 0, flags, name, b"", b"", 0, 0)
                try:
                    fcntl.ioctl(self.fd, LOOP_CONFIGURE, struct.pack("=2I", file, SECTOR) + info + bytes(64))
                    return
                except OSError as error:
                    os.close(self.fd)
                    if error.errno != errno.EBUSY:
                        raise
                    # Somebody else took the number between the two steps.
                    time.sleep(0.01)
            raise OSError(errno.EBUSY, "no free loop device")
        finally:
            os.close(control)
            os.close(file)

    def flush(self) -> None:
        os.fsync(self.fd)

    def resized(self) -> None:
        fcntl.ioctl(self.fd, LOOP_SET_CAPACITY)

    def close(self) -> None:
        os.close(self.fd)


def loops_work(directory: Path) -> bool:
    if os.geteuid() != 0 or not os.path.exists("/dev/loop-control"):
        return False
    try:
        with tempfile.NamedTemporaryFile(dir=directory) as file:
            file.truncate(1 << 20)
            Loop(Path(file.name), True).close()
    except OSError as error:
        LOG.info("loop devices do not work here (%s); attached volumes are links to files", error)
        return False
    return True


def detach_stale(directory: Path) -> None:
    """Loop devices over our files that an earlier process left behind because somebody still held them."""
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            if not Path(backing.read_text().strip().removesuffix(" (deleted)")).is_relative_to(directory):
                continue
            fd = os.open(f"/dev/{backing.parent.parent.name}", os.O_RDONLY)
        except OSError:
            continue
        try:
            fcntl.ioctl(fd, LOOP_CLR_FD)
        except OSError as error:
            LOG.warning("%s: %s", backing, error)
        finally:
            os.close(fd)


@dataclass
class Device:
    content: str
    read_only: bool
    size: int
    target: str
    loop: Loop | None = None
    links: set[Path] = field(default_factory=set)


class Devices:
    def __init__(self, world: World, directory: Path, mode: str) -> None:
        self.world = world
        self.directory = directory
        self._files = world.contents
        if mode in ("auto", "loop"):
            works = loops_work(self._files.directory)
            if mode == "loop" and not works:
                raise OSError("loop devices do not work here; use --devices link")
            mode = "loop" if works else "link"
        self.mode = mode
        self.visible = mode != "none"
        self._devices: dict[tuple[str, str], Device] = {}
        self._marked: dict[tuple[str, str], None] = {}

    def start(self) -> None:
        """Forget an earlier process's devices and make those of the attachments on record."""
        shutil.rmtree(self.directory, ignore_errors=True)
        if self.mode == "loop":
            detach_stale(self._files.directory)
        if self.visible:
            self.directory.mkdir(parents=True)
            for cluster in self.world.clusters.values():
                for gid in list(cluster.attached):
                    self.mark(cluster, gid)
            self.sync()

    def stop(self) -> None:
        for device in self._devices.values():
            self._remove(device)
        self._devices.clear()
        if self.visible:
            shutil.rmtree(self.directory, ignore_errors=True)

    def mark(self, cluster: Cluster, gid: str) -> None:
        """Something about the object or its attachments changed; `sync` looks at it after the commit."""
        if self.visible:
            self._marked[(cluster.name, gid)] = None

    def sync(self) -> None:
        marked, self._marked = self._marked, {}
        for name, gid in marked:
            cluster = self.world.clusters[name]
            wanted: dict[tuple[str, str], list[tuple[Cluster, Document]]] = {}
            for one in cluster.neighbours():
                wanted.setdefault((one.name, gid), [])
                owner = one.owner_of(gid) if gid in one.attached else None
                if owner is not None:
                    wanted.setdefault((owner.name, gid), []).extend((one, attachment) for attachment in one.attached[gid].values())
            for key, attachments in wanted.items():
                if attachments:
                    self._settle(key, attachments)
                elif key in self._devices:
                    self._remove(self._devices.pop(key))

    def _settle(self, key: tuple[str, str], attachments: list[tuple[Cluster, Document]]) -> None:
        cluster, gid = self.world.clusters[key[0]], key[1]
        document = cluster.object(gid)
        content = self.world.payload.content(cluster, gid)
        assert document is not None and content is not None
        read_only = all(one["rights"] == "ro" for _unused, one in attachments)
        device = self._devices.get(key)
        if device is None or device.content != content or device.read_only != read_only:
            if device is not None:
                self._remove(device)
            device = self._devices[key] = self._make(content, read_only, document["size"])
        elif device.size != document["size"]:
            self._fit(content, read_only, document["size"])
            device.size = document["size"]
            if device.loop is not None:
                device.loop.resized()
        links = set()
        for one, attachment in attachments:
            base = self.directory / one.name / str(attachment["client"])
            links.add(base / "storpool-byid" / gid)
            if document["name"]:
                links.add(base / "storpool" / document["name"])
        for link in device.links - links:
            link.unlink(missing_ok=True)
        for link in links - device.links:
            link.parent.mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(device.target)
        device.links = links

    def _fit(self, content: str, read_only: bool, size: int) -> None:
        # A read-only device may share its file with objects of another size; it never cuts.
        if read_only:
            self._files.grow(content, size)
        else:
            self._files.fit(content, size)

    def _make(self, content: str, read_only: bool, size: int) -> Device:
        self._fit(content, read_only, size)
        path = self._files.path(content)
        loop = None
        if self.mode == "loop":
            try:
                loop = Loop(path, read_only)
            except OSError as error:
                LOG.warning("no loop device for %s (%s); a link to the file instead", path, error)
        return Device(content, read_only, size, loop.path if loop else str(path), loop)

    @staticmethod
    def _remove(device: Device) -> None:
        for link in device.links:
            link.unlink(missing_ok=True)
        if device.loop is not None:
            device.loop.close()

    # Bytes that are on their way between a device and its file

    def _loop(self, cluster: Cluster, gid: str) -> Loop | None:
        device = self._devices.get((cluster.name, gid))
        return device.loop if device is not None and not device.read_only else None

    def target(self, cluster: Cluster, gid: str) -> Path | None:
        """The writable device of an attached volume, where there are real ones."""
        loop = self._loop(cluster, gid)
        return Path(loop.path) if loop is not None else None

    def flush(self, cluster: Cluster, gid: str) -> None:
        loop = self._loop(cluster, gid)
        if loop is not None:
            loop.flush()

    def write(self, cluster: Cluster, gid: str, offset: int, data: bytes) -> bool:
        """Write through the device, so that its cache knows; False when there is none."""
        loop = self._loop(cluster, gid)
        if loop is None:
            return False
        view = memoryview(data)
        while view:
            written = os.pwrite(loop.fd, view, offset)
            view = view[written:]
            offset += written
        return True
