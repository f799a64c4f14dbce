# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 1: disk images as files: what they are, whether they may be read, and their way onto a block device.

An image is untrusted input: one that names a backing file, an external data file or extents makes ``qemu-img`` open those, and so copies
any file of this host (and with a protocol prefix anything it can reach) into the volume. Nothing is therefore given to ``qemu-img`` before
its header was read here, no format is ever guessed by ``qemu-img``, and raw, which anything can be, is taken only when that is said.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from typing import Any, Callable

from ._errors import CollectionError, DeadlineExceeded, OptionError
from ._files import opened
from ._units import SECTOR, format_size

FORMATS = ("qcow2", "raw", "vmdk")
QEMU_IMG = "qemu-img"

_CHECKSUM = re.compile(r"sha256:[0-9a-f]{64}")
_PIECE = 4 << 20  # bytes read at a time
_DEVICE_POLL = 0.1  # seconds; the udev rules of StorPool make the link some moments after the attachment

_QCOW2_MAGIC, _VMDK_MAGIC = b"QFI\xfb", b"KDMV"
# Beginnings of what is no disk image we take, and what to do about it. Offsets: ISO 9660 and tar have their marks further in.
_OTHERS = (
    (0, b"\x1f\x8b", "gzip data; unpack it first"),
    (0, b"BZh", "bzip2 data; unpack it first"),
    (0, b"\xfd7zXZ\x00", "xz data; unpack it first"),
    (0, b"\x28\xb5\x2f\xfd", "zstd data; unpack it first"),
    (0, b"PK\x03\x04", "a zip archive; unpack it first"),
    (257, b"ustar", "a tar archive (an OVA, perhaps); unpack it first"),
    (0, b"# Disk DescriptorFile", "the description of a VMDK whose data lies in other files; make one file of it (monolithicSparse)"),
    (0, b"COWD", "an old VMDK of several files; make one file of it (monolithicSparse)"),
    (0, b"vhdxfile", "a VHDX; convert it to qcow2 first"),
    (0, b"conectix", "a VHD; convert it to qcow2 first"),
    (0, b"LUKS\xba\xbe", "encrypted (LUKS); decrypt it first"),
    (64, b"\x7f\x10\xda\xbe", "a VDI; convert it to qcow2 first"),
)

# QCOW2 (QEMU's docs/interop/qcow2.txt): header of version 2, what version 3 adds, marks of header extensions.
_QCOW2 = struct.Struct(">4sIQIIQIIQQIIQ")
_QCOW2_V3 = struct.Struct(">QQQII")
_CORRUPT, _DATA_FILE = 1 << 1, 1 << 2
_EXTENSION_END, _EXTENSION_DATA_FILE = 0, 0x44415441

# VMDK (Virtual Disk Format 5.0): header of a sparse extent; QEMU reads the description behind the first sector wherever the header says.
_VMDK = struct.Struct("<4sIIqqqqIQQQ")
_VMDK_DESCRIPTION = 20 * SECTOR
_AT_END = (1 << 64) - 1
_VMDK_KINDS = ("monolithicsparse", "streamoptimized")


@dataclass(frozen=True)
class Image:
    """An image file that may be read. ``size`` is that of the disk in it, in bytes; ``state`` tells whether the file has changed."""

    path: str
    format: str
    size: int
    checksum: str
    state: tuple[int, ...] = field(default=(), repr=False)

    @property
    def volume_size(self) -> int:
        """The size of a volume that holds it: StorPool's sizes are multiples of a sector."""
        return -(-self.size // SECTOR) * SECTOR


def parse_checksum(value: Any, option: str = "checksum") -> str:
    """Return a checksum as ``sha256:`` and 64 digits. :raises OptionError: it is none."""
    text = str(value).strip().lower()
    if not _CHECKSUM.fullmatch(text):
        raise OptionError(option, value, "is not a checksum like sha256:9f86d081884c7d659a2f... (64 hexadecimal digits)")
    return text


def read_image(path: str, given_format: str | None, given_checksum: str | None = None) -> Image:
    """Return what is in an image file, read to its end once for the checksum.

    :param given_format: one of :data:`FORMATS`, or ``None`` to tell qcow2 and vmdk by their beginning.
    :raises OptionError: the file cannot be read, is not what it is said to be, or would make ``qemu-img`` read other files.
    """
    with opened(path, "image") as descriptor:
        state = _state(descriptor)
        form = _format(descriptor, path, given_format)
        size = {"qcow2": _qcow2_size, "vmdk": _vmdk_size, "raw": _raw_size}[form](descriptor, path)
        if size <= 0:
            raise OptionError("image", path, "holds a disk of no size")
        checksum = _checksum(descriptor)
        if _state(descriptor) != state:
            raise OptionError("image", path, "was changed while it was read; run the task again when it is complete")
    if given_checksum not in (None, checksum):
        raise OptionError("checksum", given_checksum, f"is not that of {path}, which has {checksum}")
    return Image(path, form, size, checksum, state)


def require_qemu_img() -> None:
    """:raises CollectionError: ``qemu-img`` is not to be found where the task runs."""
    if shutil.which(QEMU_IMG) is None:
        raise CollectionError(
            f"{QEMU_IMG} is needed where the task runs, and is not in its PATH",
            hint="install it there: the package qemu-utils on Debian and Ubuntu, qemu-img on Enterprise Linux",
        )


def device_of(directory: str, name: str, size: int, seconds: float) -> str:
    """Return the path of the device of an attached volume, once it is there in its full size.

    :raises DeadlineExceeded: it did not come.
    :raises CollectionError: something else has its place.
    """
    path = os.path.join(directory, name)
    deadline = time.monotonic() + seconds
    while True:
        try:
            # A file that a careless command left where a device was expected would take gigabytes of the host's memory.
            if not os.path.islink(path) and os.path.exists(path):
                raise CollectionError(f"{path} is not the link that StorPool makes to a device; remove it")
            if _size_of_device(path) == size:
                return path
        except PermissionError as exc:
            raise CollectionError(f"{path} may not be opened: {exc.strerror}", hint="run the task as root (become: true)") from exc
        except OSError:
            pass  # not there yet
        if time.monotonic() >= deadline:
            raise DeadlineExceeded(
                f"volume {name} is attached, but {path} was not there with {format_size(size)} within {seconds:g} s",
                hint="run the task on the host of that client (delegate_to), or say with device_directory where its devices appear",
            )
        time.sleep(_DEVICE_POLL)


def copy_to_device(image: Image, device: str, empty: bool, verify: bool, tell: Callable[[str, float], None]) -> None:
    """Write the disk in ``image`` to ``device`` and make sure it has arrived there.

    :param empty: the device is known to hold zeros only, so zeros need not be written.
    :param verify: read both again and compare them.
    :param tell: is told the step (``convert``, ``verify``) and the percentage, now and then.
    :raises CollectionError: ``qemu-img`` failed, the contents differ, or the file was changed meanwhile.
    """
    with opened(image.path, "image") as descriptor:
        if _state(descriptor) != image.state:
            raise CollectionError(f"{image.path} was changed after it was checked; run the task again")
        # One driver, no backing file, and the very file that was checked, whatever its name looks like to qemu-img.
        file = {"driver": "file", "filename": f"/proc/self/fd/{descriptor}"}
        source: dict[str, Any] = {"driver": image.format, "file": file}
        if image.format != "raw":
            source["backing"] = None
        named = "json:" + json.dumps(source)
        # writeback: its default for conversions ignores flushes.
        command = ["convert", "-p", "-n", "-t", "writeback", *(["--target-is-zero"] if empty else []), "-O", "raw", named, device]
        _qemu_img(command, descriptor, image.path, lambda percent: tell("convert", percent))
        _flush(device)
        if verify:
            _qemu_img(["compare", "-p", "-F", "raw", named, device], descriptor, image.path, lambda percent: tell("verify", percent))
        if _state(descriptor) != image.state:
            raise CollectionError(f"{image.path} was changed while it was copied; run the task again when it is complete")


# -- files


def _state(descriptor: int) -> tuple[int, ...]:
    """Return what changes with the content of a file; the time of its last change of status can only be set by the clock."""
    known = os.fstat(descriptor)
    return known.st_dev, known.st_ino, known.st_size, known.st_mtime_ns, known.st_ctime_ns


def _checksum(descriptor: int) -> str:
    digest = hashlib.sha256()
    offset = 0
    while piece := os.pread(descriptor, _PIECE, offset):
        digest.update(piece)
        offset += len(piece)
    return f"sha256:{digest.hexdigest()}"


def _format(descriptor: int, path: str, given: str | None) -> str:
    head = os.pread(descriptor, SECTOR, 0)
    found = {_QCOW2_MAGIC: "qcow2", _VMDK_MAGIC: "vmdk"}.get(head[:4])
    if given == found and found is not None:
        return found
    if given in (None, "raw") and found is not None:
        if given is None:
            return found
        # Whatever guesses formats later would take the disk for an image again, and follow what that names.
        raise OptionError("format", given, f"is not what {path} looks like, which begins as a {found}")
    other = next((what for offset, mark, what in _OTHERS if head[offset : offset + len(mark)] == mark), None)
    if other is not None:
        raise OptionError("image", path, f"is {other}")
    if given is None:
        raise OptionError(
            "format", None, f"is needed: {path} is neither qcow2 nor vmdk, and raw is taken only when you say so (format: raw)"
        )
    if given != "raw":
        raise OptionError("format", given, f"is not what {path} is: it does not begin as a {given} does")
    return given


def _raw_size(descriptor: int, path: str) -> int:
    return os.fstat(descriptor).st_size


def _qcow2_size(descriptor: int, path: str) -> int:
    """Return the size of the disk. :raises OptionError: the image is damaged, encrypted or stands on another file."""
    head = os.pread(descriptor, _QCOW2.size + _QCOW2_V3.size, 0)
    if len(head) < _QCOW2.size:
        raise OptionError("image", path, "is cut off in its header")
    _magic, version, backing, _backing_size, cluster_bits, size, crypt, *_tables = _QCOW2.unpack_from(head)
    if version not in (2, 3):
        raise OptionError("image", path, f"is a QCOW image of version {version}; convert it to qcow2 first")
    if backing:
        raise OptionError("image", path, "stands on a backing file, which could be any file of this host; flatten it (qemu-img convert)")
    if crypt:
        raise OptionError("image", path, "is encrypted; decrypt it first")
    extensions = _QCOW2.size
    if version == 3:
        if len(head) < _QCOW2.size + _QCOW2_V3.size:
            raise OptionError("image", path, "is cut off in its header")
        incompatible, _compatible, _autoclear, _order, extensions = _QCOW2_V3.unpack_from(head, _QCOW2.size)
        if incompatible & _DATA_FILE:
            raise _external(path)
        if incompatible & _CORRUPT:
            raise OptionError("image", path, "is marked as corrupt; repair it (qemu-img check -r all)")
    end = 1 << min(cluster_bits, 21)
    while extensions + 8 <= end:
        mark = os.pread(descriptor, 8, extensions)
        kind, length = struct.unpack(">II", mark) if len(mark) == 8 else (_EXTENSION_END, 0)
        if kind == _EXTENSION_DATA_FILE:
            raise _external(path)
        if kind == _EXTENSION_END:
            break
        extensions += 8 + -(-length // 8) * 8
    return size


def _external(path: str) -> OptionError:
    return OptionError("image", path, "keeps its data in another file, which could be any file of this host; make one file of it")


def _vmdk_size(descriptor: int, path: str) -> int:
    """Return the size of the disk. :raises OptionError: the image is more than one file, or stands on another."""
    capacity, place, directory = _vmdk_header(descriptor, path, 0)
    if directory == _AT_END:
        # Its true header is a copy at the end: marker, header, end of stream, a sector each.
        length = os.fstat(descriptor).st_size
        if length % SECTOR or _vmdk_header(descriptor, path, length - 2 * SECTOR)[:2] != (capacity, place):
            raise OptionError("image", path, "has two headers that contradict each other")
    if capacity <= 0 or place <= 0:
        # QEMU would take its description for that of an image of several files.
        raise OptionError("image", path, "does not describe itself as one file; make one of it (monolithicSparse)")
    for offset in (SECTOR, place * SECTOR):
        text = os.pread(descriptor, _VMDK_DESCRIPTION, offset).partition(b"\0")[0].decode("latin-1")
        if "parentfilenamehint" in text.lower() or re.search(r"(?im)^\s*parentCID\s*=\s*(?!f{8}\b)", text):
            raise OptionError("image", path, "stands on a parent image, which could be any file of this host; flatten it")
        if offset != place * SECTOR:
            continue
        kind = re.search(r'(?im)^\s*createType\s*=\s*"(.*)"', text)
        if kind is None or kind.group(1).lower() not in _VMDK_KINDS:
            raise OptionError("image", path, f"is a VMDK of the kind {kind.group(1) if kind else 'unknown'}; make it monolithicSparse")
        extents = re.findall(r"(?im)^\s*(?:RW|RDONLY|NOACCESS)\s+\d+\s+(\w+)", text)
        if [extent.upper() for extent in extents] != ["SPARSE"]:
            raise OptionError("image", path, "keeps its data in other files, which could be any files of this host; make one file of it")
    return capacity * SECTOR


def _vmdk_header(descriptor: int, path: str, offset: int) -> tuple[int, int, int]:
    """Return capacity and place of the description (in sectors), and where the grain directory is."""
    head = os.pread(descriptor, _VMDK.size, max(offset, 0))
    if len(head) < _VMDK.size or not head.startswith(_VMDK_MAGIC):
        raise OptionError("image", path, "is cut off")
    _magic, _version, _flags, capacity, _grain, place, _length, _entries, _spare, directory, _overhead = _VMDK.unpack(head)
    return capacity, place, directory


# -- devices and qemu-img


def _size_of_device(path: str) -> int:
    """Return the size of a block device, or of the file that stands for one in a simulation."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.lseek(descriptor, 0, os.SEEK_END)
    finally:
        os.close(descriptor)


def _flush(device: str) -> None:
    """Have all written to the device, and forget it, so that what is read next comes from there."""
    descriptor = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def _die_with_parent() -> Callable[[], None]:
    """Return what makes a child end when this process is killed; it would go on writing to a device that the next run fills."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def arrange() -> None:
        prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(1)

    return arrange


def _qemu_img(arguments: list[str], descriptor: int, path: str, tell: Callable[[float], None]) -> None:
    """Run ``qemu-img`` with the image open as ``descriptor``. :raises CollectionError: it failed; with its words."""
    require_qemu_img()
    environment = {**os.environ, "LC_ALL": "C"}
    with tempfile.TemporaryFile() as errors:
        # pylint: disable-next=consider-using-with,subprocess-popen-preexec-fn  # it is closed below; nothing else sets that signal
        child = subprocess.Popen(
            [QEMU_IMG, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            pass_fds=(descriptor,),
            env=environment,
            preexec_fn=_die_with_parent(),
        )
        try:
            said = b""
            while piece := os.read(child.stdout.fileno(), 4096):
                said = (said + piece)[-4096:]
                percents = re.findall(rb"\(([0-9.]+)/100%\)", said)
                if percents:
                    tell(float(percents[-1]))
            status = child.wait()
        finally:
            child.kill()
            child.wait()
            child.stdout.close()
        errors.seek(0)
        words = errors.read(8192).decode("utf-8", "replace").strip() or said.decode("utf-8", "replace").replace("\r", "\n").strip()
    if status == 0:
        return
    if arguments[0] == "compare" and status == 1:
        raise CollectionError(f"what is on the device is not what is in {path}: {_last_line(words)}")
    raise CollectionError(f"{QEMU_IMG} {arguments[0]} of {path} failed: {_last_line(words)}", exit_status=status)


def _last_line(words: str) -> str:
    return words.splitlines()[-1].strip() if words else "no reason given"
