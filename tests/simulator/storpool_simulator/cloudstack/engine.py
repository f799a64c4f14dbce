# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a command and its raw parameters to the content of an answer, now or in a job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import errors, parameters
from .facts import Command
from .ids import new_id
from .registry import Deed, deeds
from .request import Caller, Request

if TYPE_CHECKING:
    from ..faults import Fault
    from ..store import Document
    from .cloud import Cloud
    from .work import Steps


class Engine:
    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.deeds = deeds(cloud.facts)

    def request(self, command: Command, caller: Caller, raw: dict[str, str], entity: str | None = None) -> Request:
        reader = parameters.Reader(command, caller.role, self.cloud.resolve)
        return Request(self.cloud, command, caller, reader.read(parameters.unpack(raw)), raw, entity)

    def deed(self, command: Command) -> Deed:
        deed = self.deeds.get(command.name)
        if deed is None:
            raise errors.ServerError(
                self.cloud.assume.unsupported_command_status, f"the simulator does not have the command {command.name}"
            )
        return deed

    def run(self, request: Request, fault: Fault | None) -> dict[str, Any]:
        """The content of the answer; that of an asynchronous command is its job's id."""
        deed = self.deed(request.command)
        request.check_page()
        if deed.check is not None:
            deed.check(request)
        if request.command.is_async:
            return self._begin(request, deed, fault)
        content = deed.work(request)
        assert isinstance(content, dict)
        return content

    def _begin(self, request: Request, deed: Deed, fault: Fault | None) -> dict[str, Any]:
        wanted = request.raw.get("injectedjobid")
        if wanted and wanted in self.cloud.jobs.table:
            raise errors.invalid(f"UUID {wanted} already exists")
        name = request.command.name
        java = f"org.apache.cloudstack.api.command.{deed.package}.{name[0].upper()}{name[1:]}Cmd"
        entity = request.entity = deed.create(request) if deed.create is not None else None
        about = None
        if deed.instance:
            about = entity or request.get(deed.instance[1])
        instance = (deed.instance[0], about) if deed.instance and about else None
        job = self.cloud.jobs.submit(request, wanted or new_id(), instance, java, fault)
        return {"jobid": job["id"], **({"id": entity} if request.command.returns_id else {})}

    def carry_out(self, job: Document) -> dict[str, Any] | Steps:
        """The work of a job, whichever process took it on. Raises ServerError."""
        command = self.cloud.facts.commands[job["command"]]
        caller = Caller(self.cloud.users[job["user"]], self.cloud.accounts[job["account"]])
        return self.deed(command).work(self.request(command, caller, job["raw"], job["entity"]))
