# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests as a client writes them, for the tests; signed with the server's own code (``signing``)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from .signing import signature

EXPIRES = 600  # seconds


def query(command: str, params: Mapping[str, Any], key: str, **more: str) -> dict[str, str]:
    """Flat parameters: booleans as words, lists joined by commas, maps as ``name[0].key``; None is left out."""
    found: dict[str, str] = {}
    for name, value in params.items():
        if isinstance(value, bool):
            found[name] = str(value).lower()
        elif isinstance(value, Mapping):
            found.update({f"{name}[0].{inner}": str(one) for inner, one in value.items()})
        elif isinstance(value, (list, tuple)):
            found[name] = ",".join(map(str, value))
        elif value is not None:
            found[name] = str(value)
    expires = time.strftime("%Y-%m-%dT%H:%M:%S+0000", time.gmtime(time.time() + EXPIRES))
    return {**found, "command": command, "response": "json", "apiKey": key, "signatureVersion": "3", "expires": expires, **more}


def encoded(params: Mapping[str, str]) -> str:
    return "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in params.items())


def signed(params: Mapping[str, str], secret: str) -> str:
    return encoded({**params, "signature": signature(params, secret)})
