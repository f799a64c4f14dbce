# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 0: sizes, limits, durations and names between what people write and what the API holds.

Canonical units: bytes for sizes, operations per second and KB/s for limits, whole seconds for durations, ``unlimited`` for no limit.
"""

from __future__ import annotations

import re
from datetime import datetime, tzinfo
from typing import Any

from ._errors import OptionError

SECTOR = 512  # unit of every StorPool size (bindings, VolumeSize)
UNLIMITED = "unlimited"
API_UNLIMITED = "-"  # how the API writes "no limit" or "not set"

_SUFFIXES = {"": 1, "B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40, "P": 1 << 50}
# Digits are counted because Python refuses to convert thousands of them, with an error of its own.
_SIZE = re.compile(r"([0-9]{1,30}(?:\.[0-9]{1,30})?)\s*([KMGTP]?)(i?B)?", re.IGNORECASE)
_DURATION = re.compile(r"([0-9]{1,18})\s*([smhdw]?)", re.IGNORECASE)
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}

# Patterns and lengths of the API (bindings, sptypes.py); "list" and "status" are words of the path and refused as names.
_VOLUME_NAME = re.compile(r"#?[A-Za-z0-9_\-.:]+")
_SNAPSHOT_NAME = re.compile(r"[A-Za-z0-9_\-.:@]+")
_TEMPLATE_NAME = re.compile(r"[A-Za-z0-9_\-]+")
_REMOTE_NAME = re.compile(r"#?[A-Za-z0-9_\-.:]+")
_GLOBAL_ID = re.compile(r"[a-z0-9]+\.[a-z0-9]+\.[a-z0-9]+")
_TAG_NAME = re.compile(r"[A-Za-z0-9_\-.:]+")
_TAG_VALUE = re.compile(r"[A-Za-z0-9_\-.:]*")
_RESERVED = frozenset({"list", "status"})
NAME_LENGTH = 199
_LONGEST = 100 * 365 * 86400  # seconds; sockets and calendars can still hold that
_LAST_MOMENT = 253402300799  # 9999-12-31T23:59:59Z, the last one a calendar has


def _scaled(value: Any, option: str, units: str) -> int:
    """Return a whole number from ``value`` (an integer or a number with a binary suffix)."""
    if isinstance(value, bool):
        raise OptionError(option, value, f"is not {units}")
    if isinstance(value, int):
        return value
    match = _SIZE.fullmatch(str(value).strip())
    if not match:
        raise OptionError(option, value, f"is not {units}")
    number, suffix = match.group(1), _SUFFIXES[match.group(2).upper()]
    if "." not in number:
        return int(number) * suffix
    whole, fraction = number.split(".")
    scaled, rest = divmod(int(whole + fraction) * suffix, 10 ** len(fraction))
    if rest:
        raise OptionError(option, value, f"is not a whole number of units; give {units}")
    return scaled


def parse_whole(value: Any, lowest: int, highest: int) -> int | None:
    """Return the whole number that ``value`` is or spells in plain digits, or ``None`` when it is none from ``lowest`` to ``highest``."""
    text = str(value).strip()
    if isinstance(value, bool) or not text.isascii() or not text.isdigit() or len(text) > 18:
        return None
    return int(text) if lowest <= int(text) <= highest else None


def parse_size(value: Any, option: str = "size") -> int:
    """Return a size in bytes from bytes or a binary unit (``10G``, ``512M``, ``1.5T``).

    :raises OptionError: not a size, not positive, or no multiple of 512 bytes (the API's rule ``size``).
    """
    size = _scaled(value, option, "a size in bytes or like 512M, 10G, 1T (binary units)")
    if size <= 0:
        raise OptionError(option, value, "must be greater than 0")
    if size % SECTOR:
        raise OptionError(option, value, f"must be a multiple of {SECTOR} bytes; the next one is {size + SECTOR - size % SECTOR}")
    return size


def format_size(size: int | None) -> str | None:
    """Return ``size`` bytes in the largest binary unit that divides it evenly, as :func:`parse_size` takes it back."""
    if size is None:
        return None
    for suffix in ("P", "T", "G", "M", "K"):
        unit = _SUFFIXES[suffix]
        if size and size % unit == 0:
            return f"{size // unit}{suffix}"
    return str(size)


def _parse_limit(value: Any, option: str, units: str) -> int | str:
    if isinstance(value, str) and value.strip().lower() in (UNLIMITED, API_UNLIMITED):
        return UNLIMITED
    number = _scaled(value, option, units)
    if number < 0:
        raise OptionError(option, value, f"must not be negative; use {UNLIMITED} for no limit")
    # CloudStack lifts a limit by sending 0 (rule "limits"), so 0 and unlimited are one thing here as well.
    return number or UNLIMITED


def parse_iops(value: Any, option: str = "iops") -> int | str:
    """Return a limit in operations per second, or ``unlimited``.

    :raises OptionError: neither a whole number nor ``unlimited``.
    """
    if isinstance(value, str) and re.search(r"[A-Za-z]", value) and value.strip().lower() != UNLIMITED:
        raise OptionError(option, value, f"is not a number of operations per second or {UNLIMITED}")
    return _parse_limit(value, option, f"a number of operations per second or {UNLIMITED}")


def parse_bw(value: Any, option: str = "bw") -> int | str:
    """Return a bandwidth limit in KB/s, or ``unlimited``.

    A bare number is StorPool's own unit, KB/s; with a suffix it is bytes per second in binary units (``100M`` is 102400 KB/s).

    :raises OptionError: not a bandwidth, or below 1 KB/s.
    """
    limit = _parse_limit(value, option, f"a bandwidth in KB/s, like 100M (per second), or {UNLIMITED}")
    if limit == UNLIMITED or not re.search(r"[A-Za-z]", str(value)):
        return limit
    kilobytes, rest = divmod(int(limit), 1024)
    if rest:
        raise OptionError(option, value, "must be a whole number of KB/s")
    return kilobytes


def limit_from_api(value: Any) -> int | str:
    """Return a limit as this collection writes it from the API's form (``-`` and 0 are unlimited)."""
    return UNLIMITED if value in (API_UNLIMITED, 0, None) else value


def limit_to_api(value: int | str) -> int | str:
    """Return a limit as the API takes it."""
    return API_UNLIMITED if value == UNLIMITED else value


def parse_duration(value: Any, option: str) -> int:
    """Return whole seconds from seconds or a number with s, m, h, d or w (``7d``, ``12h``).

    :raises OptionError: not a duration, or more than a hundred years.
    """
    match = _DURATION.fullmatch(str(value).strip())
    if not match or isinstance(value, bool):
        raise OptionError(option, value, "is not a duration in seconds or like 30m, 12h, 7d, 2w")
    seconds = int(match.group(1)) * _SECONDS[match.group(2).lower()]
    if seconds > _LONGEST:
        raise OptionError(option, value, "is longer than a hundred years")
    return seconds


def parse_moment(value: Any, option: str, zone: tzinfo) -> int:
    """Return UNIX seconds from UNIX seconds or ISO 8601 (``2026-12-31T23:00:00Z``; without an offset it is meant in ``zone``).

    ``never`` and 0 are 0, which is how the API writes "no date" (rule ``delete-date``).

    :raises OptionError: no moment.
    """
    text = str(value).strip()
    if text.lower() == "never":
        return 0
    if not isinstance(value, bool) and (seconds := parse_whole(text, 0, _LAST_MOMENT)) is not None:
        return seconds
    try:
        moment = datetime.fromisoformat(re.sub("[zZ]$", "+00:00", text))
    except ValueError:
        raise OptionError(option, value, "is no time: give UNIX seconds, ISO 8601 as in 2026-12-31T23:00:00Z, or never") from None
    return min(int((moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp()), _LAST_MOMENT)


def _parse_name(value: Any, option: str, pattern: re.Pattern, allowed: str) -> str:
    name = str(value)
    if not pattern.fullmatch(name):
        raise OptionError(option, value, f"is not a name StorPool takes: {allowed}")
    if name.lstrip("#") in (".", ".."):
        raise OptionError(option, value, "is no name: in the address of a call, and in the path of a device, it leads elsewhere")
    if len(name) > NAME_LENGTH:
        raise OptionError(option, value, f"is longer than {NAME_LENGTH} characters")
    if name in _RESERVED:
        raise OptionError(option, value, "is a reserved word of StorPool; choose another name")
    return name


def parse_volume_name(value: Any, option: str = "name") -> str:
    """Return a name for a volume or a named snapshot.

    :raises OptionError: breaks StorPool's pattern, length or reserved words (rule ``reserved-names``).
    """
    return _parse_name(value, option, _VOLUME_NAME, "letters, digits and _ - . : (a # may lead)")


def parse_reference(value: Any, option: str) -> str:
    """Return a name, or ``~global_id``, that refers to an existing volume or snapshot.

    :raises OptionError: neither a name nor a global id.
    """
    name = str(value)
    if name.startswith("~"):
        return "~" + parse_global_id(name, option)
    if name.startswith("#"):
        return parse_volume_name(name, option)
    return _parse_name(value, option, _SNAPSHOT_NAME, "letters, digits and _ - . : @, or ~ and a global id")


def parse_template_name(value: Any, option: str = "template") -> str:
    """Return a template name. :raises OptionError: breaks StorPool's pattern."""
    return _parse_name(value, option, _TEMPLATE_NAME, "letters, digits, _ and -")


def parse_remote_name(value: Any, option: str) -> str:
    """Return the name of a location or cluster. :raises OptionError: breaks StorPool's pattern."""
    return _parse_name(value, option, _REMOTE_NAME, "letters, digits and _ - . :")


def parse_global_id(value: Any, option: str = "global_id") -> str:
    """Return a global id (three lower-case parts with dots) without the ``~`` that may lead it.

    :raises OptionError: not a global id.
    """
    text = str(value)
    bare = text[1:] if text.startswith("~") else text
    if not _GLOBAL_ID.fullmatch(bare):
        raise OptionError(option, value, "is not a StorPool global id (three lower-case parts with dots, like a1.b.c4)")
    return bare


def parse_tags(value: Any, option: str = "tags") -> dict[str, str]:
    """Return tags as a map of strings.

    :raises OptionError: a name or value that breaks StorPool's pattern or its 199 characters.
    """
    tags = {}
    for key, raw in value.items():
        text = "" if raw is None else str(raw)
        if not _TAG_NAME.fullmatch(str(key)) or len(str(key)) > NAME_LENGTH:
            raise OptionError(option, key, "is not a tag name: letters, digits and _ - . : up to 199 characters")
        if not _TAG_VALUE.fullmatch(text) or len(text) > NAME_LENGTH:
            raise OptionError(f"{option}.{key}", raw, "is not a tag value: letters, digits and _ - . : up to 199 characters")
        tags[str(key)] = text
    return tags
