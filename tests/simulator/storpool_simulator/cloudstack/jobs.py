# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asynchronous jobs: pending for a number of polls, then done or failed; or lost (sheet section 6, plugin sheet 7.2)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from . import errors
from .answers import date

if TYPE_CHECKING:
    from ..faults import Fault
    from ..store import Document
    from .cloud import Cloud
    from .request import Request

LOG = logging.getLogger(__name__)

RUNNING, SUCCEEDED, FAILED, CANCELLED = range(4)


class Jobs:
    """A job does its work at the poll that first finds it finished, or by itself a while later when nobody asks."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.table = cloud.table("job")

    def submit(self, request: Request, id: str, instance: tuple[str, str] | None, java: str, fault: Fault | None) -> Document:
        assume, kind = self.cloud.assume, fault.kind if fault else None
        more = fault.more if fault else {}
        polls = int(more["polls"]) if kind == "job_slow" else assume.job_polls
        server = next(iter(self.cloud.servers.values()))
        job = self.cloud.add(
            "job",
            id,
            command=request.command.name,
            java=java,
            raw=request.raw,
            user=request.caller.user["id"],
            account=request.caller.account["id"],
            server=server["id"],
            instance=list(instance) if instance else None,
            entity=request.entity,
            status=RUNNING,
            polls=polls,
            due=self.cloud.world.clock.now() + assume.job_seconds * max(1, polls),
            completed=None,
            result=None,
            code=0,
            lost=kind == "job_lost",
            fails=errors.ServerError(int(more["code"]), str(more["text"])).result() if kind == "job_fails" else None,
            effect=not (kind == "job_lost" and not more["effect"]),
        )
        return job

    def is_known(self, job: Document) -> bool:
        """Neither lost nor expired (job.expire.minutes)."""
        if job["lost"] or job["completed"] is None:
            return not job["lost"]
        return job["completed"] > self.cloud.world.clock.now() - self.cloud.settings.number("job.expire.minutes", 1440) * 60

    def pending(self) -> list[Document]:
        return [one for one in self.table.values() if one["status"] == RUNNING]

    def pending_of(self, kind: str) -> dict[str, Document]:
        """The running jobs on objects of a kind, by the object's id."""
        return {one["instance"][1]: one for one in self.pending() if one["instance"] and one["instance"][0] == kind and not one["lost"]}

    def poll(self, id: str) -> Document | None:
        """The job as a client sees it now; each look brings it nearer to its end."""
        job = self.table.get(id)
        if job is None or not self.is_known(job):
            return None
        if job["status"] == RUNNING:
            if job["polls"] <= 0:
                return self.finish(job)
            return self.table.change(id, polls=job["polls"] - 1)
        return job

    @staticmethod
    def _work_name(id: str) -> str:
        return f"job {id}"

    def finish(self, job: Document) -> Document:
        """Do the work, unless a fault says otherwise; what a failing job changed since its last step is undone.

        The job may still be running afterwards, when a part of its work takes time.
        """
        id = job["id"]
        if self._work_name(id) in self.cloud.workshop.under_way or self._waits_for_others(job):
            return job
        if job["fails"] is not None:
            return self._end(job, FAILED, job["fails"])
        if not job["effect"]:
            return self._end(job, FAILED, None)
        self.cloud.world.commit()
        try:
            outcome = self.cloud.engine.carry_out(job)
        except Exception as error:
            self.cloud.world.rollback()
            return self._failed(job, error)
        if isinstance(outcome, dict):
            return self._end(job, SUCCEEDED, outcome)
        self.cloud.workshop.start(self._work_name(id), outcome, lambda result, error: self._worked(id, result, error))
        return self.table[id]

    def _waits_for_others(self, job: Document) -> bool:
        """Whether earlier jobs on the same object still run: CloudStack does these one after the other. Those that can be are finished."""
        for one in self.pending() if job["instance"] else ():
            if one["id"] == job["id"]:
                return False
            if one["instance"] == job["instance"]:
                ripe = one["polls"] <= 0 or one["due"] <= self.cloud.world.clock.now()
                if not ripe or self.finish(one)["status"] == RUNNING:
                    return True
        return False

    def _worked(self, id: str, result: dict[str, Any] | None, error: Exception | None) -> None:
        job = self.table[id]
        if error is not None:
            self._failed(job, error)
        else:
            self._end(job, SUCCEEDED, result)

    def _failed(self, job: Document, error: Exception) -> Document:
        if isinstance(error, errors.ServerError):
            return self._end(job, FAILED, error.result())
        LOG.error("a bug of the simulator in the job of %s", job["command"], exc_info=error)
        return self._end(job, FAILED, errors.failure(f"simulatorBug: {type(error).__name__}: {error}").result())

    def _end(self, job: Document, status: int, result: dict[str, Any] | None) -> Document:
        code = 0 if status == SUCCEEDED else (result or {}).get("errorcode", 530)
        return self.table.change(job["id"], status=status, result=result, code=code, completed=self.cloud.world.clock.now())

    def run_due(self) -> bool:
        """Finish what nobody polled in time."""
        now = self.cloud.world.clock.now()
        due = [job for job in self.pending() if job["due"] <= now]
        for job in due:
            self.finish(job)
        # One that has begun goes on by itself; there is nothing to do about it.
        return any(job["status"] != RUNNING for job in (self.table[one["id"]] for one in due))

    def lose(self, server: str) -> None:
        """The server went down with its jobs: these end as failed with a generic text (plugin sheet 7.2)."""
        text = self.cloud.assume.lost_job_text
        for job in self.pending():
            if job["server"] == server:
                self.cloud.workshop.abandon(self._work_name(job["id"]))
                self._end(job, FAILED, errors.failure(text).result())

    def shown(self, job: Document) -> dict[str, Any]:
        """As queryAsyncJobResult and listAsyncJobs tell it; jobresult only once there is one."""
        cloud = self.cloud
        account = cloud.accounts[job["account"]]
        domain = cloud.domains[account["domain"]]
        server = cloud.servers[job["server"]]
        shown: dict[str, Any] = {
            "accountid": account["id"],
            "userid": job["user"],
            "cmd": job["java"],
            "jobid": job["id"],
            "jobstatus": job["status"],
            "jobprocstatus": 0,
            "jobresultcode": job["code"],
            "created": date(job["created"]),
            "completed": date(job["completed"]),
            **cloud.since(
                "4.19.0",
                {"account": account["name"], "domainid": domain["id"], "domainpath": domain["path"], "managementserverid": server["id"]},
            ),
            **cloud.since("4.21.0", {"managementservername": server["name"]}),
        }
        if job["result"] is not None:
            shown.update(jobresulttype="object", jobresult=job["result"])
        if job["instance"]:
            shown.update(jobinstancetype=job["instance"][0], jobinstanceid=job["instance"][1])
        return shown
