# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 0: everything that can go wrong, as exceptions that become the ``error`` of a result.

Each says in one sentence what happened, and carries the parts of it (option, call, object, hint) for playbooks that react to them.
"""

from __future__ import annotations

import base64
import html
import json
import re
import reprlib
from collections.abc import Iterable
from functools import lru_cache
from typing import Any
from urllib.parse import quote

SHORTEST_SECRET = 6  # a shorter one would eat ordinary words of a message
LONGEST_TEXT = 2000  # characters of another's text that an error repeats
LONGEST_MESSAGE = 4000  # characters of a message in all; Ansible's own list of the options that there are takes half of it


class _Brief(reprlib.Repr):
    """Shows values as ``repr`` does, and of a huge one (or one that holds itself a million times) only the beginning."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 5
        self.maxdict = self.maxlist = self.maxtuple = self.maxset = 20
        self.maxlong = self.maxstring = self.maxother = 200


_BRIEF = _Brief()


def brief(value: Any) -> str:
    """Return a value as errors show it, in no more than 200 characters."""
    return f"{value[:200]!r:.200}" if isinstance(value, str) else f"{_BRIEF.repr(value):.200}"


def plain_text(text: str, longest: int = LONGEST_TEXT) -> str:
    """Return a text of a server's or a user's as errors repeat it: one line, not endless, and nothing in it that a terminal obeys."""
    if len(text) > longest:
        text = f"{text[:longest]}..."
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else " " if one.isspace() else one.encode("unicode_escape").decode() for one in text)


def redacted(text: str, secrets: Iterable[str], word: str) -> str:
    """Return ``text`` with ``word`` in place of each secret, also where it is written otherwise: quoted, escaped, in base64.

    One that is as short as ordinary words are stays: it would eat those.
    """
    for secret in secrets:
        if len(secret) >= SHORTEST_SECRET:
            for form in _forms(secret):
                text = text.replace(form, word)
    return text


@lru_cache(maxsize=64)  # a task that fails for thousands of objects looks for the same few in each message
def _forms(secret: str) -> list[str]:
    """Return how a text may have a secret in it, the longest form first: one may be a part of another."""
    octets = secret.encode("utf-8", "surrogatepass")
    forms = {
        secret,
        repr(secret)[1:-1],
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        html.escape(secret),
        plain_text(secret, len(secret)),
        base64.b64encode(octets).decode(),
    }
    for kept in ("", "/", "*"):  # a form's value, a path, what Java leaves as it is
        for tilde in ("~", "%7E"):
            escaped = quote(octets, safe=kept).replace("~", tilde)
            forms |= {escaped, escaped.replace("%20", "+")}
    return sorted(forms, key=len, reverse=True)


def without_credentials(address: str) -> str:
    """Return an address as it may be shown: without what stands before an ``@`` in it, and without what follows a ``?`` or ``;``."""
    scheme, slashes, rest = address.partition("://") if "://" in address else ("", "", address)
    if "@" in rest:
        rest = f"(hidden)@{rest.rpartition('@')[2]}"
    shown = re.split("[?;]", rest, maxsplit=1)
    return scheme + slashes + (f"{shown[0]}{rest[len(shown[0])]}(hidden)" if len(shown) > 1 else rest)


class CollectionError(Exception):
    """Base of all errors that a task reports instead of a traceback.

    ``parts`` are the structured members of the result's ``error``; members that are ``None`` are left out.
    """

    kind = "error"

    def __init__(self, message: str, *, hint: str | None = None, **parts: Any) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.parts = parts

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message

    def as_dict(self) -> dict[str, Any]:
        """Return the ``error`` of a result: ``type``, ``message``, ``hint`` and whatever the error knows besides."""
        document = {"type": self.kind, "message": self.message, "hint": self.hint, **self.parts}
        return {key: value for key, value in document.items() if value is not None}


def failure(exc: CollectionError) -> dict[str, Any]:
    """Return the result of a task that this error ended before anything was done."""
    return {"failed": True, "changed": False, "msg": str(exc), "error": exc.as_dict()}


def unexpected(exc: Exception) -> str:
    """Return what a task says of an exception that nobody foresaw."""
    return f"unexpected error, a defect of this collection: {type(exc).__name__}: {exc}"


class OptionError(CollectionError):
    """An option has a value that cannot be meant: names the option, the value and the way out."""

    kind = "bad_option"

    def __init__(self, option: str, value: Any, way_out: str, *, item: str | None = None) -> None:
        shown = brief(value)
        where = f" of {item}" if item else ""
        # What was not given has no value that anybody wrote, and "None is needed" can be read as its contrary.
        told = "" if value is None and way_out.startswith(("is needed", "needs", "is set nowhere")) else f": {shown}"
        super().__init__(f"option {option}{where}{told} {way_out}", option=option, value=shown, item=item)


class ChangeRefused(CollectionError):
    """The change is possible but dangerous, and was not asked for by name."""

    kind = "refused"

    def __init__(self, message: str, *, allow_with: str | None = None, hint: str | None = None, **parts: Any) -> None:
        if allow_with and not hint:
            hint = f"set {allow_with} to allow it"
        super().__init__(message, hint=hint, allow_with=allow_with, **parts)


class Unreachable(CollectionError):
    """No endpoint could be spoken to, or what answered there is not the API."""

    kind = "unreachable"


class Unauthorized(CollectionError):
    """The server refused the credentials."""

    kind = "unauthorized"


class ApiError(CollectionError):
    """The API answered with an error object.

    ``name`` is the API's error name (``objectDoesNotExist``), ``transient`` its own word on whether trying again can help. ``said`` is all
    that the server said, as it came: a secret has to be looked for in that, and not in what has been cut short.
    """

    kind = "api"

    def __init__(
        self,
        name: str,
        description: str,
        *,
        transient: bool = False,
        status: int | None = None,
        call: str | None = None,
        object_name: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.said = description
        name, description = plain_text(name), plain_text(description)
        on = f" on {object_name}" if object_name else ""
        super().__init__(
            f"{call or 'the API'}{on} failed: {name}: {description}",
            hint=hint,
            name=name,
            description=description,
            transient=transient,
            status=status,
            call=call,
            object=object_name,
        )
        self.name = name
        self.description = description
        self.transient = transient


class AnswerLost(CollectionError):
    """A write was sent and no usable answer came back: it may or may not have taken effect.

    Never retried by the client; the caller reads first (``_plan`` and ``_runner`` do). With the part ``under_way`` the server may still be
    at it, and sending it again could do it twice; so what a reading does not show is left to a later run.
    """

    kind = "answer_lost"


class DeadlineExceeded(CollectionError):
    """The time given for an operation ran out."""

    kind = "deadline"


class WriteInCheckMode(CollectionError):
    """A write reached the client of a check-mode run: a defect of this collection, stopped before it left the machine."""

    kind = "defect"
