# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 4: names with a time in them, and which names belong together because one pattern makes them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from .._errors import OptionError

VOLUME = "{volume}"

# The directives of strftime that make digits only, which is what a StorPool name may hold, and what they look like.
_DIGITS = {
    "Y": r"\d{4}",
    "G": r"\d{4}",
    "y": r"\d{2}",
    "m": r"0[1-9]|1[0-2]",
    "d": r"0[1-9]|[12]\d|3[01]",
    "H": r"[01]\d|2[0-3]",
    "M": r"[0-5]\d",
    "S": r"[0-5]\d|6[01]",
    "j": r"[0-3]\d{2}",
    "V": r"[0-4]\d|5[0-3]",
    "u": r"[1-7]",
}
_PARTS = re.compile(r"%(.?)|(\{[^}]*\}?)|([^%{]+)", re.DOTALL)


def parse_zone(name: str, option: str = "timezone") -> tzinfo:
    """Return a time zone by its IANA name. :raises OptionError: there is none of that name where the task runs."""
    if name.upper() == "UTC":
        return timezone.utc
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError, TypeError):
        raise OptionError(
            option, name, "is no time zone known here; use UTC, or a name like Europe/Sofia (needs the system's tzdata)"
        ) from None


class NamePattern:
    """A name with directives of strftime (``db-%Y%m%d-%H``) and perhaps ``{volume}``.

    Within the period of its finest directive it makes the same name, so a run that is repeated within the period finds what is there.

    :raises OptionError: a directive or a word in braces that is not known.
    """

    def __init__(self, text: str, option: str = "name") -> None:
        self.text = text
        self._parts: list[tuple[str, str]] = []  # ("time", directive), ("volume", ""), ("text", text)
        for match in _PARTS.finditer(text):
            directive, braces, plain = match.groups()
            if directive is not None:
                if directive not in _DIGITS:
                    known = " ".join(f"%{one}" for one in _DIGITS)
                    raise OptionError(option, text, f"has %{directive}, which is none of {known}")
                self._parts.append(("time", directive))
            elif braces is not None:
                if braces != VOLUME:
                    raise OptionError(option, text, f"has {braces} in it; the only word in braces is {VOLUME}")
                self._parts.append(("volume", ""))
            else:
                self._parts.append(("text", plain))
        kinds = {kind for kind, _text in self._parts}
        self.timed = "time" in kinds
        self.per_volume = "volume" in kinds

    def render(self, moment: datetime, volume: str = VOLUME) -> str:
        """Return the name at ``moment`` (which has its time zone)."""
        made = [moment.strftime("%" + text) if kind == "time" else volume if kind == "volume" else text for kind, text in self._parts]
        return "".join(made)

    def fill(self, digits: Sequence[str], volume: str) -> str:
        """Return the name with these digits of the time, one text a directive."""
        left = iter(digits)
        return "".join(next(left) if kind == "time" else volume if kind == "volume" else text for kind, text in self._parts)

    def prefix(self, volume: str) -> str:
        """Return what every name of the series begins with."""
        found = ""
        for kind, text in self._parts:
            if kind == "time":
                break
            found += volume if kind == "volume" else text
        return found

    def expression(self, volume: str) -> re.Pattern:
        """Return what fits a name of the series; its groups are the digits of the time, so that the members of one group have the same."""
        made = [f"({_DIGITS[text]})" if kind == "time" else re.escape(volume if kind == "volume" else text) for kind, text in self._parts]
        return re.compile("".join(made))


def volume_word(reference: str) -> str:
    """Return what stands for a volume in the name of a snapshot: its name or global id without the leading mark."""
    return reference.lstrip("#~")
