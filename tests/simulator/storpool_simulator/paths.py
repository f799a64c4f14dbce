# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The path forms of the API (sheet 1.1): plain, MultiCluster/, MultiCluster/AllClusters/, RemoteCommand/NAME/ before either."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qs, unquote

BASE = "/ctrl/1.0/"
# The one group of calls whose names have two words.
DOUBLE = "KV"
DOUBLES = frozenset({"List", "Get", "Create", "Delete", "Set"})


@dataclass
class Target:
    query: str
    args: list[str]
    remote: str | None
    multi: bool
    all_clusters: bool
    json: str | None


def is_api(path: str) -> bool:
    return path.startswith(BASE)


def parse(target: str) -> Target:
    """`target` as it came on the wire. Each segment is decoded by itself, so an encoded slash stays inside its segment.

    A "#" is a character like any other: the bindings send it raw in names of volumes.
    """
    path, _unused, query_string = target.partition("?")
    segments = [unquote(segment) for segment in path[len(BASE) :].split("/")]
    remote = None
    multi = all_clusters = False
    if len(segments) > 2 and segments[0] == "RemoteCommand":
        remote = segments[1]
        segments = segments[2:]
    if len(segments) > 1 and segments[0] == "MultiCluster":
        multi = True
        segments = segments[1:]
        if len(segments) > 1 and segments[0] == "AllClusters":
            all_clusters = True
            segments = segments[1:]
    query, args = segments[0], segments[1:]
    if query == DOUBLE and args and args[0] in DOUBLES:
        query, args = f"{query}/{args[0]}", args[1:]
    argument = parse_qs(query_string).get("json") if query_string else None
    return Target(query, args, remote, multi, all_clusters, argument[0] if argument else None)
