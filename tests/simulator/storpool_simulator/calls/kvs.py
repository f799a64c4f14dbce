# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The key-value store (sheet 3.13)."""

from __future__ import annotations

from ..cluster import Cluster
from ..errors import ApiError, exists, missing
from ..store import Document
from .registry import Context, change, read


def _bucket(cluster: Cluster, name: str) -> Document:
    bucket = cluster.buckets.get(name)
    if bucket is None:
        raise missing("Bucket", name)
    return bucket


@read("KV")
def buckets_list(context: Context) -> dict:
    return {"buckets": {name: bucket["version"] for name, bucket in context.cluster.buckets.items()}}


@read("KV/List")
def bucket_list(context: Context, name: str) -> dict:
    return _bucket(context.cluster, name)


@read("KV/Get")
def bucket_get(context: Context, name: str, key: str) -> dict:
    bucket = _bucket(context.cluster, name)
    if key not in bucket["pairs"] and context.world.assume.kv_missing_key == "error":
        raise missing("Key", key)
    return {**bucket, "pairs": {one: value for one, value in bucket["pairs"].items() if one == key}}


@change("KV/Create")
def bucket_create(context: Context, name: str, body: dict) -> None:
    if name in context.cluster.buckets:
        raise exists("Bucket", name)
    context.cluster.buckets.put(name, {"name": name, "version": 1, "pairs": {}})


@change("KV/Delete")
def bucket_delete(context: Context, name: str, body: dict) -> None:
    _bucket(context.cluster, name)
    context.cluster.buckets.drop(name)


@change("KV/Set")
def bucket_set(context: Context, name: str, body: dict) -> None:
    """An empty value deletes its key; `runIfVersionIs` guards against others' changes."""
    bucket = _bucket(context.cluster, name)
    wanted = body.get("runIfVersionIs")
    if wanted is not None and wanted != bucket["version"]:
        raise ApiError("runIfVersionIsMismatch", f"bucket '{name}' has version {bucket['version']}, not {wanted}")
    pairs = {**bucket["pairs"], **body.get("set", {})}
    context.cluster.buckets.put(
        name, {**bucket, "version": bucket["version"] + 1, "pairs": {key: value for key, value in pairs.items() if value != ""}}
    )
