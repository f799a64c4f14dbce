# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One call of the API: who asks, what for, with which parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import errors
from .facts import ADMIN, Command

if TYPE_CHECKING:
    from ..store import Document, Table
    from .cloud import Cloud

UNLIMITED = -1


@dataclass(frozen=True)
class Caller:
    user: Document
    account: Document

    @property
    def role(self) -> str:
        return self.account["role"]

    @property
    def is_root(self) -> bool:
        return self.role == ADMIN


@dataclass
class Request:
    """`params` holds typed values of what was given, `raw` the parameters as they came."""

    cloud: Cloud
    command: Command
    caller: Caller
    params: dict[str, Any]
    raw: dict[str, str]
    # The id of the object that the command's create step made
    entity: str | None = None

    def get(self, name: str, default: Any = None) -> Any:
        return self.params.get(name, default)

    def found(self, name: str, table: Table) -> Document:
        """The object that a parameter names; ids resolve also when it is gone, and -1 always (sheet section 5). Raises ServerError."""
        id = self.params[name]
        document = table.get(id)
        if document is None or document["removed"] is not None:
            raise errors.invalid(f"Unable to find {table.kind} by id {document['dbid'] if document else id}")
        return document

    def check_page(self) -> None:
        """page and pagesize come together; -1 is unlimited and has no pages (``ParamGenericValidationWorker``, ``BaseListCmd``)."""
        page, size = self.get("page"), self.get("pagesize")
        if size is not None and size != UNLIMITED and page is None:
            raise errors.parameter('"page" parameter is required when "pagesize" is specified')
        if page is not None and size is None:
            raise errors.parameter('"pagesize" parameter is required when "page" is specified')
        if page is not None and size == UNLIMITED:
            raise errors.invalid("Can't specify page parameter when pagesize is -1 (Unlimited)")
        most = self.cloud.page_size
        if size is not None and most != UNLIMITED and size > most:
            raise errors.invalid(f"Page size can not exceed max allowed page size value: {most}")

    def page(self) -> tuple[int, int | None]:
        """Where the page begins and how long it is; lists without pages come whole."""
        if not self.command.paged:
            return 0, None
        size = self.get("pagesize", self.cloud.page_size)
        if size == UNLIMITED:
            return 0, None
        return max(0, self.get("page", 1) - 1) * size, size

    def same(self, name: str, value: Any) -> bool:
        """Whether the object has what the parameter asks for; an absent parameter asks for nothing. Names: the database ignores case."""
        wanted = self.get(name)
        if wanted is None:
            return True
        if isinstance(wanted, str) and isinstance(value, str) and self.cloud.assume.names_ignore_case:
            return wanted.lower() == value.lower()
        return wanted == value

    def matches(self, **values: Any) -> bool:
        """Whether the object has all that the parameters of these names ask for."""
        return all(self.same(name, value) for name, value in values.items())

    def has_keyword(self, *values: str | None) -> bool:
        """A substring of any of the values."""
        keyword = self.get("keyword")
        return not keyword or any(keyword.lower() in value.lower() for value in values if value)
