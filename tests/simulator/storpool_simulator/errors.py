# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors as the API names them (sheet 4.2)."""

from __future__ import annotations


class ApiError(Exception):
    """An answer {"error": {"name", "descr", "transient"}}; `status` None means: the status of ordinary errors."""

    def __init__(self, name: str, descr: str, *, transient: bool = False, status: int | None = None) -> None:
        super().__init__(f"{name}: {descr}")
        self.name = name
        self.descr = descr
        self.transient = transient
        self.status = status

    def body(self) -> dict:
        return {"error": {"name": self.name, "descr": self.descr, "transient": self.transient}}


def missing(what: str, name: object) -> ApiError:
    return ApiError("objectDoesNotExist", f"{what} '{name}' does not exist")


def exists(what: str, name: object) -> ApiError:
    return ApiError("objectExists", f"{what} '{name}' already exists")


def invalid(descr: str) -> ApiError:
    return ApiError("invalidParam", descr)


def busy(descr: str) -> ApiError:
    return ApiError("busy", descr)


def insufficient(descr: str) -> ApiError:
    return ApiError("insufficientResources", descr)
