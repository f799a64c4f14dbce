# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 4: the file of the CloudStack agent's properties: what is declared of it, and how it is replaced.

Whenever this process is killed, the file is whole: the old one or the new one, never part of one. The agent itself writes its file, too
(its id, for instance, whenever it connects); so the file is read once more right before it is replaced.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Mapping
from typing import Any

from .. import _properties as properties
from .._errors import CollectionError, OptionError
from .._files import absolute, new_file, new_name, read_bytes, write_whole
from .._properties import HIDDEN, Planned

TRIES = 5  # how often the agent may write the file while it is being changed
MOST = 1 << 20  # bytes; a real one has some thousand


def act(options: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """Make the file as declared and return the result of the task.

    :raises OptionError: the file is not there, or a value cannot be one of a property.
    :raises CollectionError: the file cannot be read by Java, or does not stop changing.
    """
    wanted = _texts(options["properties"], "properties")
    fallbacks = _texts(options["defaults"], "defaults")
    for key, value in fallbacks.items():
        if value is None:
            raise OptionError("defaults", None, "is no default; use properties to comment a key out", item=key)
        if key in wanted:
            raise OptionError("defaults", key, "is among the properties, too; give it once")
    path = os.path.realpath(absolute(options["path"], "path"))  # a link stays one
    pending = options["pending"] and absolute(options["pending"], "pending")
    owed = bool(pending) and os.path.lexists(pending)
    if owed and not os.path.isfile(pending):
        raise OptionError("pending", pending, "is there and is no file")
    before = _read(path)
    planned = properties.plan(_decoded(before), wanted, fallbacks)
    result: dict[str, Any] = {"file": path}
    if planned.changes and not check:
        with new_file(path) as new:
            before, planned = _replace(path, new, wanted, fallbacks, options["backup"], pending, result)
    result.update(
        changed=bool(planned.changes),
        changes=[_shown(change) for change in planned.changes],
        restart_pending=owed or bool(planned.changes),
        warnings=list(planned.warnings),
        diff=_diff(path, _decoded(before), planned),
    )
    return result


def hide(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options without the values of keys that look secret."""
    shown = dict(options)
    for name in ("properties", "defaults"):
        if isinstance(shown.get(name), Mapping):
            shown[name] = {key: HIDDEN if properties.is_secret(str(key)) else value for key, value in shown[name].items()}
    return shown


def _texts(declared: Mapping[str, Any] | None, option: str) -> dict[str, str | None]:
    made = {}
    for key, value in (declared or {}).items():
        if not str(key).strip() or not str(key).isprintable():
            raise OptionError(option, key, "is no name of a property")
        made[str(key)] = properties.as_text(value, option, str(key))
    return made


def _read(path: str) -> bytes:
    if not os.path.lexists(path):
        raise OptionError("path", path, "does not exist; is the CloudStack agent installed on this host?")
    return read_bytes(path, "path", MOST)


def _decoded(content: bytes) -> str:
    return content.decode(properties.ENCODING)


def _shown(change: properties.Changed) -> dict[str, Any]:
    values = {"before": change.before, "after": change.after}
    if properties.is_secret(change.key):
        values = {name: value and HIDDEN for name, value in values.items()}
    return {"key": change.key, "action": change.action, **values}


def _diff(path: str, before: str, planned: Planned) -> dict[str, str]:
    secret = {change.key for change in planned.changes if properties.is_secret(change.key)}
    return {
        "before_header": path,
        "after_header": path,
        "before": properties.shown(before),
        "after": properties.shown(planned.text, secret),
    }


# -- writing


def _replace(
    path: str,
    new: int,
    wanted: Mapping[str, str | None],
    fallbacks: Mapping[str, str | None],
    backup: bool,
    pending: str | None,
    result: dict[str, Any],
) -> tuple[bytes, Planned]:
    """Replace the file and return what it was and what was done. In ``result`` the backup is entered."""
    for _unused in range(TRIES):
        before = _read(path)
        old = os.stat(path)
        planned = properties.plan(_decoded(before), wanted, fallbacks)
        if not planned.changes:
            return before, planned  # somebody else was faster
        _fill(new, planned.text.encode(properties.ENCODING), old, path)
        properties.prove(_decoded(before), Planned(_decoded(_content(new)), planned.changes, ()))
        if backup and "backup_file" not in result:
            result["backup_file"] = _back_up(path, before, old)
        if pending:
            _mark(pending, path)
        if _read(path) == before:
            os.rename(new_name(path), path)
            _sync_directory(path)
            return before, planned
        result.pop("backup_file", None)
    raise CollectionError(
        f"{path} changed {TRIES} times while it was being changed, and was left to whoever writes it", hint="run the task again"
    )


def _fill(new: int, content: bytes, old: os.stat_result, like: str) -> None:
    """Write the content to the disk, with owner, mode and labels of the old file."""
    os.ftruncate(new, 0)
    os.lseek(new, 0, os.SEEK_SET)
    left = memoryview(content)
    while left:
        left = left[os.write(new, left) :]
    mine = os.fstat(new)
    if (mine.st_uid, mine.st_gid) != (old.st_uid, old.st_gid):
        os.fchown(new, old.st_uid, old.st_gid)
    os.fchmod(new, stat.S_IMODE(old.st_mode))
    with contextlib.suppress(OSError):  # a file system without labels
        for name in os.listxattr(like):
            os.setxattr(new, name, os.getxattr(like, name))
    os.fsync(new)


def _content(file: int) -> bytes:
    """Return what the file holds, read again."""
    os.lseek(file, 0, os.SEEK_SET)
    parts = []
    while True:
        part = os.read(file, 1 << 20)
        if not part:
            return b"".join(parts)
        parts.append(part)


def _back_up(path: str, content: bytes, old: os.stat_result) -> str:
    """Keep the old file under its name with the time, and return that. Two within a second are numbered; each is whole or not there."""
    whole = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.backup")
    copy = os.open(whole, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        _fill(copy, content, old, path)
    finally:
        os.close(copy)
    name = stamped = f"{path}.{time.strftime('%Y%m%d-%H%M%S')}"
    number = 1
    while os.path.lexists(name + "~"):
        number += 1
        name = f"{stamped}-{number}"
    os.rename(whole, name + "~")
    return name + "~"


def _mark(pending: str, path: str) -> None:
    """Leave word, before the file changes, that the agent has to be restarted. Whoever has restarted it takes the word away."""
    os.makedirs(os.path.dirname(pending), exist_ok=True)
    write_whole(pending, "pending", f"{path} was changed by Ansible and the agent was not restarted since\n")
    _sync_directory(pending)


def _sync_directory(path: str) -> None:
    directory = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
