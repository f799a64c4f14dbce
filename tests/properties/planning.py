# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What properties of plans have in common: options that were drawn are parsed and planned for, and the plans carried out on a model.

`parsed`, `planned` and `ends` take what a module declares first.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from types import SimpleNamespace
from typing import Any

from ansible_collections.storpool.cloudstack.plugins.module_utils._errors import OptionError
from ansible_collections.storpool.cloudstack.plugins.module_utils._plan import Plan, plan_all, waves
from ansible_collections.storpool.cloudstack.plugins.module_utils._runner import Manages
from hypothesis import assume
from hypothesis import strategies as st
from things import checked

CLIENTS = [11, 12, 13]
GROUPS = ["default", "hdd", "ssd", "nvme"]


class Cluster:
    """What models of StorPool have in common: a method for each call, and every client and placement group that is asked for."""

    connection = SimpleNamespace(multi_cluster=False)
    only_reads = True  # so that names of snapshots count, which a model without a server cannot refuse later

    def clients_config(self) -> list[dict[str, Any]]:
        return [{"id": number} for number in CLIENTS]

    def services(self) -> dict[str, Any]:
        return {"clients": {str(number): {} for number in CLIENTS}}

    def placement_groups(self) -> dict[str, Any]:
        return dict.fromkeys(GROUPS)

    def send(self, write: Any) -> None:
        getattr(self, write.call)(write.on, copy.deepcopy(write.body))


def maybe(strategy: st.SearchStrategy) -> st.SearchStrategy:
    return st.none() | strategy


def parsed(declared: Manages, options: dict[str, Any], now: float = 0.0) -> Any:
    """What is wanted; options that mean nothing are no example."""
    try:
        return declared.resource.parse(
            checked(declared, **{name: value for name, value in options.items() if value is not None}), float(now)
        )
    except OptionError:
        assume(False)


def planned(declared: Manages, model: Any, wanted: Sequence[Any]) -> tuple[list[list[int]], list[Plan]]:
    """The plans, and in which groups they are carried out."""
    groups = waves(wanted, declared.plural)
    return groups, plan_all(declared.resource, wanted, groups, declared.resource.observe(model, wanted))


def carried_out(model: Any, groups: Sequence[Sequence[int]], plans: Sequence[Plan]) -> None:
    for group in groups:
        for position in group:
            for change in plans[position].changes:
                model.send(change.write)


def ends(declared: Manages, model: Any, orders: Iterable[Sequence[dict[str, Any]]], now: float = 0.0) -> list[Any]:
    """What becomes of the model by each of these lists of options; nothing when one of their entries is refused."""
    found: list[Any] = []
    for order in orders:
        there = copy.deepcopy(model)
        groups, plans = planned(declared, there, [parsed(declared, options, now) for options in order])
        if any(plan.refused for plan in plans):
            found.append("refused")
            continue
        carried_out(there, groups, plans)
        found.append(there.state())
    return found
