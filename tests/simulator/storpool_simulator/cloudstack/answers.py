# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers as they go out: lists, single objects, successes, errors; checked against the release's fields (sheet section 3)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from .request import Request

ERROR_ENVELOPE = "errorresponse"
_TEXT = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def encode(envelope: str, content: dict) -> bytes:
    return _TEXT({envelope: content}).encode()


def encode_xml(envelope: str, content: dict) -> bytes:
    """Just enough for a client that forgot ``response=json`` to see what it got."""
    return f'<?xml version="1.0" encoding="UTF-8"?><{envelope} cloud-stack-version="">{_xml(content)}</{envelope}>'.encode()


def _xml(value: Any) -> str:
    if isinstance(value, dict):
        return "".join(
            "".join(f"<{key}>{_xml(one)}</{key}>" for one in inner) if isinstance(inner, list) else f"<{key}>{_xml(inner)}</{key}>"
            for key, inner in value.items()
        )
    return escape(str(value).lower() if isinstance(value, bool) else str(value))


def date(seconds: float | None) -> str | None:
    """yyyy-MM-dd'T'HH:mm:ssZ with a numeric zone."""
    return None if seconds is None else datetime.fromtimestamp(int(seconds), timezone.utc).strftime("%Y-%m-%dT%H:%M:%S%z")


def listing(request: Request, found: Iterable[Any], view: Callable[[Any], dict] = dict, count: str = "all") -> dict:
    """One page of a list. Nothing found: neither count nor array; a page beyond the end: only the count.

    `count` "page" tells the length of the page instead of the number of all matches.
    """
    command = request.command
    everything = list(found)
    first, size = request.page()
    page = everything[first:] if size is None else everything[first : first + size]
    if not everything:
        return {}
    content: dict[str, Any] = {"count": len(page) if count == "page" else len(everything)}
    if page:
        assert command.object is not None
        content[command.object] = [request.cloud.facts.checked(command, view(one), request.caller.role) for one in page]
    return content


def single(request: Request, shown: dict) -> dict:
    checked = request.cloud.facts.checked(request.command, shown, request.caller.role)
    return checked if request.command.flat or request.command.object is None else {request.command.object: checked}


def success(text: str | None = None, ok: bool = True) -> dict:
    return {"success": ok} if text is None else {"displaytext": text, "success": ok}
