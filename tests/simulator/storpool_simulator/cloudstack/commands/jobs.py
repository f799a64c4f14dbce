# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looking at asynchronous jobs (sheet section 6)."""

from __future__ import annotations

from .. import answers, errors
from ..registry import command
from ..request import Request


@command("queryAsyncJobResult", package="user.job")
def query_async_job_result(request: Request) -> dict:
    jobs, id = request.cloud.jobs, request.params["jobid"]
    job = jobs.poll(id)
    if job is None:
        raise errors.invalid(f"Unable to find a job by id {id}")
    return answers.single(request, jobs.shown(job))


@command("listAsyncJobs", package="user.job")
def list_async_jobs(request: Request) -> dict:
    """Without listall only the caller's own."""
    cloud, since = request.cloud, request.get("startdate", 0)
    mine = None if request.get("listall") and request.caller.is_root else request.caller.account["id"]
    found = [
        job
        for job in cloud.jobs.table.values()
        if cloud.jobs.is_known(job)
        and mine in (None, job["account"])
        and job["created"] >= since
        and request.same("managementserverid", job["server"])
        and request.has_keyword(job["java"])
    ]
    return answers.listing(request, found, cloud.jobs.shown)
