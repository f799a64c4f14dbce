# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Out-of-band management and host HA are switched alike: on a host, a cluster, a zone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...store import Document
from .. import answers
from ..cloud import Cloud
from ..registry import Work, command
from ..request import Request

LEVELS = ("Cluster", "Zone")


@dataclass(frozen=True)
class Kind:
    """`word` is that of the commands, `detail` the detail of clusters and zones; `enabled` is the field that tells it in an answer."""

    word: str
    package: str
    detail: str
    enabled: str
    switch_host: Callable[[Cloud, Document, bool], Document]
    disable_all: Callable[[Cloud, list[Document]], None]
    # What a cluster's or zone's command answers
    level_answer: Callable[[Request, bool], dict[str, Any]]


def host_of(request: Request) -> Document:
    """The host that a command is about."""
    return request.found("hostid", request.cloud.hosts)


def _of_host(kind: Kind, on: bool) -> Work:
    def work(request: Request) -> dict[str, Any]:
        host = kind.switch_host(request.cloud, host_of(request), on)
        return answers.single(request, {"hostid": host["id"], kind.enabled: on, "status": True})

    return work


def _of_level(kind: Kind, level: str, on: bool) -> Work:
    def work(request: Request) -> dict[str, Any]:
        cloud = request.cloud
        id = request.found(f"{level}id", cloud.table(level))["id"]
        cloud.set_switch(level, id, kind.detail, on)
        if not on:
            kind.disable_all(cloud, cloud.hosts_of(**{level: id}))
        return kind.level_answer(request, on)

    return work


def register(kind: Kind) -> None:
    """The six commands of a kind."""
    for on, verb in ((True, "enable"), (False, "disable")):
        command(f"{verb}{kind.word}ForHost", instance=("Host", "hostid"), package=kind.package)(_of_host(kind, on))
        for level in LEVELS:
            about, name = (level, f"{level.lower()}id"), f"{verb}{kind.word}For{level}"
            command(name, instance=about, package=kind.package)(_of_level(kind, level.lower(), on))
