# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors as the server tells them (sheet section 4)."""

from __future__ import annotations

# cserrorcode
API_EXCEPTION = 9999  # ServerApiException
INVALID_VALUE = 4350  # InvalidParameterValueException
RUNTIME = 4250  # CloudRuntimeException
PERMISSION_DENIED = 4365
INTERNAL = 530

CREDENTIALS = "unable to verify user credentials and/or request signature"


class ServerError(Exception):
    """``status`` is HTTP status and errorcode at once; ``code`` the cserrorcode, None leaves it out."""

    def __init__(self, status: int, text: str, code: int | None = API_EXCEPTION) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.code = code

    def body(self) -> dict:
        shown: dict = {"uuidList": [], "errorcode": self.status}
        if self.code is not None:
            shown["cserrorcode"] = self.code
        return {**shown, "errortext": self.text}

    def result(self) -> dict:
        """What a failed job holds: no more than these two; only a ServerApiException keeps its code (sheet section 6)."""
        return {"errorcode": self.status if self.code == API_EXCEPTION else INTERNAL, "errortext": self.text}


def unauthorized() -> ServerError:
    """One sentence for every reason (sheet section 4)."""
    return ServerError(401, CREDENTIALS, None)


def parameter(text: str) -> ServerError:
    """A parameter that the server's frame refuses before the command runs."""
    return ServerError(431, text)


def invalid(text: str) -> ServerError:
    """A value that the command itself refuses."""
    return ServerError(431, text, INVALID_VALUE)


def failure(text: str) -> ServerError:
    """A run-time error of the server."""
    return ServerError(INTERNAL, text, RUNTIME)


def denied(text: str) -> ServerError:
    return ServerError(531, text, PERMISSION_DENIED)
