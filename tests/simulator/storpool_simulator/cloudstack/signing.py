# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The signature of a request, as ``ApiServer.verifyRequest`` computes it (sheet section 2)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import quote

SIGNATURE = "signature"
ENFORCED_AHEAD = 15 * 60  # seconds that `expires` may lie ahead while posts and timestamps are enforced
_MOMENT = re.compile(r"\d+-\d\d?-\d\d?T\d\d?:\d\d?:\d\d?[+-]\d{4}\Z")


def encode(value: str) -> str:
    """``java.net.URLEncoder`` with "+" as "%20": only letters, digits and ". - * _" stay; "~" becomes "%7E"."""
    return quote(value, safe="*").replace("~", "%7E")


def signature(parameters: Mapping[str, str], secret: str) -> str:
    """Of all parameters but the signature itself; names keep the case they came in, values are encoded, then all is lower-cased."""
    text = "&".join(f"{name}={encode(parameters[name])}" for name in sorted(parameters) if name.lower() != SIGNATURE)
    return base64.b64encode(hmac.new(secret.encode(), text.lower().encode(), hashlib.sha1).digest()).decode()


def moment(text: str) -> float | None:
    """UNIX seconds of yyyy-MM-dd'T'HH:mm:ssZ, as `expires` is written; None when it is no such date."""
    if not _MOMENT.match(text):
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S%z").timestamp()
    except ValueError:
        return None
