# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which KVM clusters and hosts there are, and which StorPool client runs on each host."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..topology import ClusterPlan

FIRST_CLIENT = 11
LAST_NODE = 63  # StorPool numbers its nodes up to this
DEFAULT_HOSTS = 3
FIRST_HOST = 11

# StorPool cluster, client id
Place = tuple[str, int]


def kvm_clusters(document: dict, plans: list[ClusterPlan]) -> list[list[Place]]:
    """The hosts of each KVM cluster, by the wish {"clusters": N, "hosts_per_cluster": N} of the topology.

    Without a wish all compute-only clients of the first StorPool cluster are one KVM cluster. With a number of clusters, the StorPool
    clusters of the first location take turns, a KVM cluster each; they get as many compute-only clients as that takes.
    """
    wish = document.get("cloudstack", {})
    size = int(wish.get("hosts_per_cluster", DEFAULT_HOSTS))
    if "clusters" not in wish:
        places = [(plans[0].name, client) for client in plans[0].clients]
        size = size if "hosts_per_cluster" in wish else max(1, len(places))
        return [places[start : start + size] for start in range(0, len(places), size)]
    backing = [plan for plan in plans if plan.location == plans[0].location]
    found = []
    for plan in backing:
        plan.clients = []
    for index in range(int(wish["clusters"])):
        plan = backing[index % len(backing)]
        first = FIRST_CLIENT + len(plan.clients)
        clients = list(range(first, first + size))
        if clients and clients[-1] > LAST_NODE:
            raise ValueError(f"StorPool cluster {plan.name} has no room for so many hosts; give its location more clusters")
        plan.clients = [*plan.clients, *clients]
        found.append([(plan.name, client) for client in clients])
    return found


def further_zones(document: dict, plans: list[ClusterPlan]) -> list[ClusterPlan]:
    """The StorPool clusters behind the zones after the first one, by the wish {"zones": N}: the first cluster of each further location."""
    firsts: dict[str, ClusterPlan] = {}
    for plan in plans:
        firsts.setdefault(plan.location, plan)
    wanted = int(document.get("cloudstack", {}).get("zones", 1))
    if not 1 <= wanted <= len(firsts):
        raise ValueError(f"{wanted} zones need as many locations, each with a cluster")
    return list(firsts.values())[1:wanted]
