# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Events: who did what when. Only changes of settings are kept (``ActionEventUtils``, ``QueryManagerImpl``)."""

from __future__ import annotations

from typing import Any

from ...store import Document
from .. import answers
from ..answers import date
from ..cloud import Cloud
from ..ids import new_id
from ..registry import command
from ..request import Request

SETTING_CHANGED = "CONFIGURATION.VALUE.EDIT"
LEVEL, STATE = "INFO", "Completed"


def record(request: Request, kind: str, text: str) -> None:
    """The newest comes last here; listings turn it round."""
    request.cloud.add("event", new_id(), type=kind, text=text, user=request.caller.user["name"], account=request.caller.account["id"])


def _shown(cloud: Cloud, event: Document) -> dict[str, Any]:
    account = cloud.accounts[event["account"]]
    domain = cloud.domains[account["domain"]]
    return {
        "id": event["id"],
        "username": event["user"],
        "type": event["type"],
        "level": LEVEL,
        "description": event["text"],
        "account": account["name"],
        "domainid": domain["id"],
        "domain": domain["name"],
        "created": date(event["created"]),
        "state": STATE,
        **cloud.since("4.19.0", {"archived": False}),
        **cloud.since("4.19.3", {"domainpath": domain["path"]}),
    }


@command("listEvents", package="user.event")
def list_events(request: Request) -> dict:
    """The newest first. Dates hold to the second, both ends included. Without listall only those of the caller's account."""
    cloud = request.cloud
    everybody = request.caller.is_root and request.get("listall")
    first, last = request.get("startdate"), request.get("enddate")
    found = [
        event
        for event in cloud.living(cloud.table("event"))
        if (everybody or event["account"] == request.caller.account["id"])
        and request.matches(id=event["id"], type=event["type"], level=LEVEL, state=STATE, archived=False)
        and (first is None or int(event["created"]) >= int(first))
        and (last is None or int(event["created"]) <= int(last))
        and request.has_keyword(event["type"], event["text"], LEVEL)
    ]
    found.sort(key=lambda event: (event["created"], event["dbid"]), reverse=True)
    return answers.listing(request, found, lambda event: _shown(cloud, event))
