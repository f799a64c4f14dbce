# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether check mode told the truth: compares what it said with what the real run then did, and finds what a silent run may not do."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from playbooks import Run

OURS = "storpool.cloudstack."

# What only the server can know before the thing is done, and what is about the run and not about the objects.
SERVER_KNOWS = {"global_id", "id", "remote_id", "remote_ids"}
# Where check mode says that it does not know: CloudStack chooses when it is not told.
SERVER_CHOOSES = {"account", "device_id", "domain", "storage_pool"}
# How check mode says the id of something that an earlier task of the run would make: nothing, or this inside a text.
ANY_ID = "(not known yet)"
ABOUT_THE_RUN = {"api", "invocation"}
A_MINUTE = 60


def ours(run: Run) -> list[dict[str, Any]]:
    """The records of this collection's tasks."""
    return [record for record in run.tasks if record["action"].startswith(OURS)]


def differences(predicted: Run, real: Run) -> list[str]:
    """Return where the real run was not what check mode predicted: changed, actions, diff, objects, summary, warnings."""
    said, done = ours(predicted), ours(real)
    if [record["task"] for record in said] != [record["task"] for record in done]:
        return [f"check mode ran the tasks {[record['task'] for record in said]}, the real run {[record['task'] for record in done]}"]
    # A moment within the check run, and the one within the real run that it stands for.
    apart = max(A_MINUTE, real.ended - predicted.began)
    found = []
    for before, after in zip(said, done, strict=True):
        for what in ("status", "changed"):
            if before[what] != after[what]:
                found.append(f"{before['task']}: {what}: check mode said {before[what]!r}, the real run {after[what]!r}")
        found += [f"{before['task']}: {line}" for line in unlike(before["result"], after["result"], apart=apart)]
    return found


def unlike(said: Any, done: Any, where: str = "", apart: float = A_MINUTE) -> list[str]:
    """Return the paths at which two results of one task differ, without what check mode cannot know.

    `apart` is how many seconds lie at most between a moment that depends on when the task ran, and the predicted one.
    """
    if where.endswith(".storpool") and any(isinstance(one, dict) and {"global_id", "snapshots"} & one.keys() for one in (said, done)):
        return []  # what StorPool holds of an object of CloudStack's, read after the writes
    if isinstance(said, dict) and isinstance(done, dict):
        found = []
        for key in sorted({*said, *done} - (SERVER_KNOWS if where else SERVER_KNOWS | ABOUT_THE_RUN), key=str):
            path = f"{where}.{key}" if where else str(key)
            if key not in said or key not in done:
                found.append(f"{path}: only {'the real run' if key in done else 'check mode'} has it")
            else:
                found += unlike(said[key], done[key], path, apart)
        return found
    if isinstance(said, list) and isinstance(done, list) and len(said) == len(done):
        return [line for number, pair in enumerate(zip(said, done, strict=True)) for line in unlike(*pair, f"{where}[{number}]", apart)]
    if said is None and where.endswith(".parent") and str(done).startswith(("*", "~")):
        return []  # the snapshot under a copy of a volume, or under what comes from a backup, which the server names
    if said is None and where.endswith(".name") and str(done).startswith("~"):
        return []  # what has no name is called by its global id
    if said is None and where.rpartition(".")[2] in SERVER_CHOOSES | {"snapshot_id"}:
        return []
    if isinstance(said, str) and ANY_ID in said and re.fullmatch(re.escape(said).replace(re.escape(ANY_ID), r"\S+"), str(done)):
        return []
    if where.rpartition(".")[2] in ("delete_at", "created") and said and done and abs(seconds(said) - seconds(done)) < apart:
        return []  # a time after the run began, or of a snapshot that the run has made
    return [] if said == done else [f"{where}: check mode said {said!r}, the real run {done!r}"]


def seconds(moment: int | str) -> float:
    """UNIX seconds of a moment in a result (seconds already) or in a diff (ISO 8601)."""
    return moment if isinstance(moment, int) else datetime.fromisoformat(moment.replace("Z", "+00:00")).timestamp()


def not_silent(again: Run, writes: list[str]) -> list[str]:
    """Return what a run that finds everything as declared did nevertheless."""
    found = [f"{record['task']} changed something" for record in again.tasks if record["changed"]]
    return found + ([f"StorPool was sent {', '.join(writes)}"] if writes else [])
