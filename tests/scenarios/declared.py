# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a scenario declares: a task of this collection, by its action plugin as in a worker of `ansible-playbook`, three times."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from storpool_simulator.testing import Simulator

sys.path.append(str(Path(__file__).resolve().parents[1] / "integration"))

from hostile.ways import in_worker
from integration.conftest import connection
from prediction import unlike

Row = dict[str, Any]


def task(sim: Simulator, module: str, cluster: str, check: bool = False, **options: Any) -> Row:
    """The result of one run; StorPool is asked at `cluster`, about all clusters of its location."""
    known = connection(sim, module)
    if "sp_api_http_host" in known:
        host, _unused, port = sim.clusters[cluster]["url"].rpartition("/")[2].rpartition(":")
        known.update(sp_api_http_host=[host], sp_api_http_port=int(port), sp_multi_cluster=True)
    return in_worker(module, {**known, **options}, check=check, diff=True)


def three_runs(sim: Simulator, module: str, cluster: str, **options: Any) -> Row:
    """The result of the real run, which check mode predicted without a write, and after which there is nothing left to do."""
    sim.reset_calls()
    predicted = task(sim, module, cluster, check=True, **options)
    assert not predicted.get("failed"), predicted["msg"]
    assert sim.calls(summary=True)["writes"] == 0, "check mode wrote"
    real = task(sim, module, cluster, **options)
    assert not real.get("failed"), real["msg"]
    wrong = unlike(predicted, real)
    assert not wrong, wrong
    sim.reset_calls()
    again = task(sim, module, cluster, **options)
    assert (again["changed"], sim.calls(summary=True)["writes"]) == (False, 0), again
    return real
