# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 0: Java properties files, changed in as few characters as it takes. Pure: texts in, texts out.

The format is that of ``java.util.Properties.load``, which is how the CloudStack agent reads ``agent.properties``: ISO 8859-1, lines ended
by LF, CR or CRLF, comments that begin with ``#`` or ``!``, lines continued by an odd number of backslashes, keys ended by ``=``, ``:`` or
a blank, escapes, and of several entries for one key the last one counts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ._errors import CollectionError, OptionError

ENCODING = "iso-8859-1"  # every byte is one character, so that what is not understood is kept as it is
HIDDEN = "(hidden)"

_BLANKS = " \t\f"
_NATURAL = re.compile(r"[^\r\n]*(?:\r\n|\r|\n|$)")
_BODY = re.compile(r"[^\r\n]*")
# Indentation, key, and what stands between it and the value; in a line already joined.
_ENTRY = re.compile(r"([ \t\f]*)((?:\\.|[^\\=: \t\f])*)([ \t\f]*[=:]?[ \t\f]*)", re.DOTALL)
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|(.))", re.DOTALL)
_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_LETTERS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}
_SHORT = {value: letter for letter, value in _LETTERS.items()}
_COMMENTED = re.compile(r"[ \t\f]*[#!]+[ \t\f]*([^\s=:]+)([ \t\f]*[=:][ \t\f]*)([^\r\n]*)")
_WHOLE = re.compile(r"[+-]?[0-9]+")
_SECRET = re.compile(r"passw|passphrase|secret|token|credential|(^|[._-])(pass|pwd|api-?key|key)$", re.IGNORECASE)


@dataclass(frozen=True)
class Line:
    """One logical line: ``raw`` as it stands in the file with all its continuations and its line end. ``key`` is ``None`` for a comment or
    an empty line, else the entry's, unescaped, as is ``value``. ``open``: the file ends inside it, after a backslash."""

    raw: str
    key: str | None = None
    value: str = ""
    open: bool = False


@dataclass(frozen=True)
class Changed:
    """What a plan does about one key: ``set`` an active entry, ``added`` one, or ``commented_out``. Values unescaped, ``None`` for none."""

    key: str
    action: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class Planned:
    """The text that a file shall have, and how it comes from the one it has."""

    text: str
    changes: tuple[Changed, ...]
    warnings: tuple[str, ...]


# -- reading


def parse(text: str) -> list[Line]:
    """Return the logical lines of a file; their ``raw`` texts joined are the file. :raises CollectionError: Java would refuse the file."""
    lines: list[Line] = []
    naturals = [match.group() for match in _NATURAL.finditer(text) if match.group()]
    position = 0
    while position < len(naturals):
        first = naturals[position]
        start = first.lstrip(_BLANKS)
        position += 1
        number = position
        if start[:1] in ("#", "!", "\r", "\n", ""):
            lines.append(Line(first))
            continue
        raw, joined = first, ""
        goes_on, joined = _continued(_BODY.match(first).group())
        while goes_on and position < len(naturals):
            following = naturals[position]
            if not joined.strip(_BLANKS) and following.strip(_BLANKS + "\r\n")[:1] in ("#", "!", ""):
                goes_on = False  # a lone backslash before an empty line or a comment is nothing
                break
            raw += following
            position += 1
            goes_on, more = _continued(_BODY.match(following).group().lstrip(_BLANKS))
            joined += more
        ends_open = goes_on and position == len(naturals)
        # What Java makes of a lone backslash at the very end: an entry without a name, but not before CRLF.
        if not joined.strip(_BLANKS) and (not ends_open or raw.endswith("\r\n")):
            lines.append(Line(raw, open=ends_open))
            continue
        entry = _ENTRY.match(joined)
        value = _unescaped(joined[entry.end() :], number)
        lines.append(Line(raw, _unescaped(entry.group(2), number), value, ends_open))
    return lines


def values(lines: list[Line]) -> dict[str, str]:
    """Return what Java makes of the lines: of several entries for a key the last one."""
    return {line.key: line.value for line in lines if line.key is not None}


def _continued(body: str) -> tuple[bool, str]:
    """Tell whether a line goes on in the next one, and return it without the backslash that says so."""
    backslashes = len(body) - len(body.rstrip("\\"))
    return (True, body[:-1]) if backslashes % 2 else (False, body)


def _unescaped(text: str, number: int) -> str:
    def one(match: re.Match) -> str:
        if match.group(1):
            return chr(int(match.group(1), 16))
        if match.group(2) == "u":
            raise CollectionError(
                f"line {number} has \\u without four hexadecimal digits, and Java refuses the whole file for it",
                hint="write \\\\u for a backslash and a u",
            )
        return _LETTERS.get(match.group(2), match.group(2))

    # Two escapes make one character beyond the basic plane.
    return _PAIR.sub(lambda match: match.group().encode("utf-16", "surrogatepass").decode("utf-16"), _ESCAPE.sub(one, text))


# -- values


def as_text(value: object, option: str, key: str) -> str | None:
    """Return a value as the file has it. :raises OptionError: it is neither a text, a number, a boolean nor none."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float, str)):
        text = str(value)
        return text.lower() if text in ("True", "False") else text  # a template makes words of booleans
    raise OptionError(option, HIDDEN if is_secret(key) else value, "is neither a text, a number nor a boolean", item=key)


def same(have: str | None, want: str | None) -> bool:
    """Tell whether two values mean the same to the agent: numbers as numbers, true and false in any case, all else to the letter."""
    if have is None or want is None or have == want:
        return have == want
    if _WHOLE.fullmatch(have) and _WHOLE.fullmatch(want):
        return int(have) == int(want)
    return have.lower() == want.lower() and want.lower() in ("true", "false")


def is_secret(key: str) -> bool:
    """Tell whether a key is named like one whose value may not be shown."""
    return _SECRET.search(key) is not None


# -- planning


def plan(text: str, wanted: Mapping[str, str | None], fallbacks: Mapping[str, str] | None = None) -> Planned:
    """Return what becomes of a file.

    :param wanted: the values of keys; ``None`` comments all active entries of the key out.
    :param fallbacks: values of keys that are only set when the file has no active entry with something in it (what is blank the agent
        takes as not set).

    An active entry gets its new value in its place, and of several the last one, which is the one that counts. A key that is not active
    is added below its last commented-out entry (which stays), else at the end.
    """
    lines = parse(text)
    have = values(lines)
    goal = dict(wanted)
    for key, value in (fallbacks or {}).items():
        if key not in goal and not have.get(key, "").strip():
            goal[key] = value
    new = list(lines)
    changes = []
    for key, value in goal.items():
        before = have.get(key)
        if value is None and key in have:
            new = [piece for line in new for piece in (_commented_out(line) if line.key == key else [line])]
            changes.append(Changed(key, "commented_out", before, None))
        elif value is not None and not same(before, value):
            if before is None:
                _add(new, key, value)
            else:
                last = max(at for at, line in enumerate(new) if line.key == key)
                new[last] = _with_value(new[last], value)
            changes.append(Changed(key, "added" if before is None else "set", before, value))
    twice = sorted(key for key in goal if goal[key] is not None and sum(line.key == key for line in lines) > 1)
    planned = Planned(
        "".join(line.raw for line in new),
        tuple(changes),
        tuple(f"{key} stands in the file several times; the last entry counts, and is the one that is kept right" for key in twice),
    )
    prove(text, planned)
    return planned


def prove(text: str, planned: Planned) -> None:
    """:raises CollectionError: the planned text, read again, has not exactly the changed values, or something else is not as it was."""
    before, after = parse(text), parse(planned.text)
    expected = values(before)
    for change in planned.changes:
        expected.pop(change.key, None)
        if change.after is not None:
            expected[change.key] = change.after
    touched = {change.key for change in planned.changes}
    kept = [line.raw for line in before if line.key not in touched]
    strange = False
    for line in after:
        if line.key in touched:
            continue
        # A last line that had no end has one when another was added below.
        if kept and (line.raw == kept[0] or (len(kept) == 1 and line.raw.rstrip("\r\n") == kept[0])):
            del kept[0]
        elif line.key is not None:
            strange = True  # only comments, of what was commented out, may come in between
    if values(after) != expected or kept or strange:
        raise CollectionError("the changed text, read again, is not what was declared; the file was left as it is", hint="this is a defect")


def _line_end(lines: list[Line]) -> str:
    """Return how the last of the lines that has an end ends, because a file may end its lines in several ways."""
    for line in reversed(lines):
        end = line.raw[len(line.raw.rstrip("\r\n")) :]
        if end:
            return "\r\n" if end.endswith("\r\n") else end[-1]
    return "\n"


def _add(lines: list[Line], key: str, value: str) -> None:
    """Enter a new entry below the commented-out one, else at the end."""
    mentions = [at for at, line in enumerate(lines) if line.key is None and _mentions(line.raw, key)]
    at = mentions[-1] + 1 if mentions else len(lines)
    if at and lines[at - 1].open:
        at -= 1  # the last line would go on into this one
    end = _line_end(lines[:at])
    if at and not lines[at - 1].raw.endswith(("\r", "\n")):
        last = lines[at - 1]
        lines[at - 1] = Line(last.raw + end, last.key, last.value)
    lines.insert(at, Line(f"{_escaped_key(key)}={_escaped(value)}{end}", key, value))


def _mentions(raw: str, key: str) -> bool:
    match = _COMMENTED.match(raw)
    return match is not None and match.group(1) == key


def _commented_out(line: Line) -> list[Line]:
    """Return an entry as comments, one for each line that it takes."""
    return [Line("#" + match.group()) for match in _NATURAL.finditer(line.raw) if match.group()]


def _with_value(line: Line, value: str) -> Line:
    """Return an entry with another value; its key, the way it is set apart, and its line end stay."""
    key, between, end = _frame(line)
    # A blank sets a key apart, too, but an equals sign is what a reader of the file expects.
    return Line(key + (between if between.strip(_BLANKS) else "=") + _escaped(value) + end, line.key, value)


def _frame(line: Line) -> tuple[str, str, str]:
    """Return what stands around the value of an entry, in one line: the key, what sets it apart, and the line end."""
    naturals = [match.group() for match in _NATURAL.finditer(line.raw) if match.group()]
    last = _BODY.match(naturals[-1]).group()
    end = naturals[-1][len(last) :]
    joined = ""
    for number, natural in enumerate(naturals):
        body = _BODY.match(natural).group()
        joined += _continued(body if number == 0 else body.lstrip(_BLANKS))[1]
    entry = _ENTRY.match(joined)
    return entry.group(1) + entry.group(2), entry.group(3), end


def _escaped_key(key: str) -> str:
    return _escaped(key, "=: #!")


def _escaped(text: str, special: str = "") -> str:
    """Return a value as a file has it: only what would be misread is escaped, so that it stays readable."""
    made = ""
    for at, letter in enumerate(text):
        if letter in _SHORT:
            made += "\\" + _SHORT[letter]
        elif letter == "\\" or letter in special or (letter == " " and at == 0):
            made += "\\" + letter
        elif " " <= letter <= "~":
            made += letter
        else:
            units = letter.encode("utf-16-be", "surrogatepass").hex()
            made += "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))
    return made


# -- showing


def shown(text: str, changed: frozenset[str] | set[str] = frozenset()) -> str:
    """Return a file as a diff may show it: without the values of keys that look secret, also of those in comments.

    ``changed`` are keys whose hidden values shall be seen to differ.
    """
    made = []
    goes_on = False  # a secret that was commented out may take several lines
    for line in parse(text):
        if line.key is not None and is_secret(line.key):
            key, between, end = _frame(line)
            made.append(key + between + ("(hidden, changed)" if line.key in changed else HIDDEN) + end)
            goes_on = False
        elif line.key is not None:
            made.append(line.raw)
            goes_on = False
        else:
            body = _BODY.match(line.raw).group()
            match = _COMMENTED.match(body)
            secret = goes_on or (match is not None and is_secret(match.group(1)))
            begin = 1 if goes_on else match.start(3) if match else 0
            made.append(body[:begin] + HIDDEN + line.raw[len(body) :] if secret and body[begin:] else line.raw)
            goes_on = secret and _continued(body)[0]
    return "".join(made)
