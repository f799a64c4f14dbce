# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether the latest check run of a scenario's converge.yml predicted the real run after it; prints where it did not, and fails.

python3 compare_runs.py RECORDS.jsonl [TASK...]    TASK: a task that only a real run comes to, such as a restart

Results of this collection's tasks have to be the same; of all others, whether they change something.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integration"))
from prediction import OURS, unlike

PLAYBOOK = "converge.yml"
# Named by the time of the write.
HOST_KNOWS = ("backup_file",)
Key = tuple[str, str, int]


def runs(path: Path) -> tuple[dict[Key, dict], dict[Key, dict]]:
    """The check run and the first real run after it, each with its tasks by host, name and number."""
    found: dict[int, list[dict[str, Any]]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        if record["playbook"] == PLAYBOOK and not record["status"].startswith("item"):
            found.setdefault(record["run"], []).append(record)
    checks = [number for number, records in found.items() if records[0]["check"]]
    if not checks:
        sys.exit("no check run is on record")
    after = list(found)[list(found).index(checks[-1]) + 1 :]
    if not after:
        sys.exit("no real run is on record after the check run")
    return keyed(found[checks[-1]]), keyed(found[after[0]])


def keyed(records: list[dict[str, Any]]) -> dict[Key, dict]:
    seen: Counter = Counter()
    shown = {}
    for record in records:
        name = (record["host"], record["task"])
        shown[(*name, seen[name])] = record
        seen[name] += 1
    return shown


def differences(said: dict[Key, dict], done: dict[Key, dict], only_real: list[str]) -> list[str]:
    found = []
    for key in dict.fromkeys([*said, *done]):
        before, after = said.get(key), done.get(key)
        where = f"{key[1]} on {key[0]}"
        if any(key[1].endswith(task) for task in only_real):
            if before and before["changed"]:
                found.append(f"{where}: check mode said that it changes something")
            continue
        told, did = bool(before and before["changed"]), bool(after and after["changed"])
        if told != did:
            found.append(f"{where}: changed is {told} in check mode and {did} in the real run")
        skipped = not before or before["status"] == "skipped" or not after or after["status"] == "skipped"
        if not skipped and before["action"].startswith(OURS):
            results = [{key: value for key, value in one["result"].items() if key not in HOST_KNOWS} for one in (before, after)]
            found += [f"{where}: {line}" for line in unlike(*results)]
    return found


if __name__ == "__main__":
    said, done = runs(Path(sys.argv[1]))
    lines = differences(said, done, sys.argv[2:])
    if lines:
        sys.exit("\n".join(lines))
    ours = [key for key, record in done.items() if record["action"].startswith(OURS) and record["status"] == "ok"]
    changes = sum(record["changed"] for record in done.values())
    if not ours or not changes:
        sys.exit(f"nothing was compared: {len(ours)} tasks of this collection, {changes} changes")
    print(f"{len(done)} tasks, {len(ours)} of this collection, {changes} changes: as predicted")
