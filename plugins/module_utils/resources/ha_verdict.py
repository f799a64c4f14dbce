# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 4: whether host HA protects a KVM host, and if not, why and what to do. Pure: a function of what :mod:`.hosts` has read.

*Protected* means: should this host die now, CloudStack would find it out by the StorPool heartbeat, reset or power it off, and start its
VMs elsewhere. A *reason* takes that away, a *warning* does not. The meaning is the same on all versions from 4.19 on, where the heartbeat
of StorPool came (sheet cloudstack-storpool, 0.3: the code that decides is the same to 4.22). Facts: the same sheet, sections 2.3 to 3.5.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from .hosts import ENABLED, FENCE, RUNNING, UP, Fence, Host

PROVIDER = "kvmhaprovider"
AVAILABLE = "Available"
_SINCE = (4, 19)  # the StorPool heartbeat
MAINTENANCE = (
    "PrepareForMaintenance", "PrepareForMaintenanceWithErrors", "ErrorInPrepareForMaintenance", "Maintenance", "ErrorInMaintenance",
)  # fmt: skip
_DECLARED = "Degraded"  # by an operator; out-of-band management counts as disabled for the host then
_ENABLE = "enable it with storpool.cloudstack.storpool_ha, state: enabled"
_RESTART = "restart all management servers, one at a time (role storpool.cloudstack.global_settings does it)"

# What a state of host HA other than Available means, and what to do (sheet 3.3).
_STATES = {
    "Disabled": (
        "CloudStack has not looked at it since host HA was enabled",
        "wait some seconds and look again; if it stays, see that the management servers run",
    ),
    "Ineligible": (
        "CloudStack leaves it alone",
        "settle the other reasons; if there is none, wait some seconds, then look for HAManagerImpl in management-server.log",
    ),
    "Suspect": (
        "its agent does not answer, and CloudStack has begun to find out whether it is alive",
        "look at cloudstack-agent on the host; if the agent answers again, the host becomes Available by itself",
    ),
    "Checking": (
        "its agent does not answer, and its neighbours are being asked about its StorPool client",
        "look at the host; by default this takes ten checks, one a minute, before it is reset",
    ),
    "Degraded": (
        "its agent does not answer, but its StorPool client runs or it has no VMs, so it is neither reset nor fenced",
        "restart cloudstack-agent on the host; its VMs run on, but nobody manages them",
    ),
    "Recovering": (
        "it counts as dead and is being reset through out-of-band management",
        "wait; if it stays, see that its controller answers",
    ),
    "Recovered": (
        "it was reset, and CloudStack gives it time to come up (kvm.ha.recover.wait.period)",
        "see that the host boots and its agent and StorPool client start; it then becomes Available by itself",
    ),
    "Fencing": (
        "it counts as dead, and CloudStack tries to power it off until that succeeds; until then its VMs are not started elsewhere",
        "see that its controller answers; while it has no power CloudStack goes on trying for ever",
    ),
    "Fenced": (
        "it was powered off and its VMs were started elsewhere",
        "repair and start it, then run storpool.cloudstack.storpool_ha with recover: true, which ends its maintenance and enables HA again",
    ),
}


@dataclass(frozen=True)
class Reason:
    """``code`` is for programs and never changes, ``text`` says what is the matter, ``do`` what to do about it."""

    code: str
    text: str
    do: str


@dataclass(frozen=True)
class Verdict:
    """``eligible``: all that CloudStack asks for before it looks after a host is there. ``protected``: there is no reason against it."""

    eligible: bool
    reasons: tuple[Reason, ...]
    warnings: tuple[Reason, ...]

    @property
    def protected(self) -> bool:
        return not self.reasons


def judge(host: Host, fence: Fence, allow_hyperconverged: bool = False) -> Verdict:
    """Return the verdict on one host.

    :param allow_hyperconverged: that a StorPool server runs on the same node is a warning then, and no reason.
    """
    shared = tuple(_hyperconverged(host))
    reasons = (
        *_of_cloudstack(host),
        *_of_oobm(host),
        *_of_ha(host),
        *_of_storpool(host),
        *(() if allow_hyperconverged else shared),
    )
    warnings = (*(shared if allow_hyperconverged else ()), *_of_instances(host), *_of_fence(host, fence))
    return Verdict(is_eligible(host), reasons, warnings)


def is_eligible(host: Host) -> bool:
    """Return whether CloudStack would look after it (sheet 3.2)."""
    ha = host.ha.provider is not None and host.ha.enabled and host.zone.ha and host.cluster.ha
    oobm = host.oobm.configured and host.oobm.enabled and host.zone.oobm and host.cluster.oobm
    return ha and oobm and host.resource_state == ENABLED and bool(host.peers)


# -- reasons


def _of_cloudstack(host: Host) -> Iterator[Reason]:
    """The host itself and its neighbours."""
    version = _version(host.version)
    if version and version < _SINCE:
        yield Reason(
            "too_old",
            f"its agent is of CloudStack {host.version}, and StorPool's heartbeat came with 4.19",
            "upgrade CloudStack to 4.19 or newer",
        )
    if host.state != UP:
        yield Reason(
            "agent_down", f"its agent is not connected (state {host.state})", "see that the host runs and start cloudstack-agent on it"
        )
    if host.resource_state in MAINTENANCE:
        yield Reason("maintenance", f"it is in maintenance ({host.resource_state})", "end its maintenance when the work is done")
    elif host.resource_state == _DECLARED:
        yield Reason("declared_degraded", "it was declared degraded", "take that back with cancelHostAsDegraded when it is repaired")
    elif host.resource_state != ENABLED:
        yield Reason(
            "host_disabled", f"it takes no part in CloudStack (resource state {host.resource_state})", "enable the host in CloudStack"
        )
    if not host.peers:
        yield Reason(
            "no_peer",
            f"no other KVM host of cluster {host.cluster.name} is Up, so nobody could be asked about it or take over its VMs",
            "add a second host to the cluster, or bring one up",
        )


def _of_oobm(host: Host) -> Iterator[Reason]:
    """Out-of-band management, without which a dead host cannot be reset or powered off."""
    oobm = host.oobm
    if not oobm.configured:
        yield Reason(
            "oobm_not_configured",
            "out-of-band management is not configured",
            "give storpool.cloudstack.storpool_ha the driver, address, port, user and password of its controller",
        )
    elif not oobm.enabled:
        yield Reason("oobm_not_enabled", "out-of-band management is not enabled for it", _ENABLE)
    if not host.cluster.oobm:
        yield Reason("oobm_off_in_cluster", f"out-of-band management is switched off in cluster {host.cluster.name}", _ENABLE)
    if not host.zone.oobm:
        yield Reason("oobm_off_in_zone", f"out-of-band management is switched off in zone {host.zone.name}", _ENABLE)
    if not (oobm.configured and oobm.enabled and host.cluster.oobm and host.zone.oobm) or host.resource_state == _DECLARED:
        return  # nobody asks for the power then
    where = f"{oobm.driver} at {oobm.address}"
    if oobm.power == "Unknown":
        yield Reason(
            "power_unknown",
            f"its controller ({where}) does not answer, so it could be neither reset nor powered off",
            "see that the management servers reach the controller and that user and password are right",
        )
    elif oobm.power == "Off":
        yield Reason("power_off", f"its controller ({where}) says that the power is off", "power it on")
    elif oobm.power != "On":
        yield Reason(
            "power_unproved",
            f"nobody has asked its controller ({where}) for the power state yet",
            "wait some seconds and look again, or issue the power action STATUS",
        )


def _of_ha(host: Host) -> Iterator[Reason]:
    """Host HA: configured, enabled on three levels, and Available."""
    ha = host.ha
    if ha.provider is None:
        yield Reason("ha_not_configured", "host HA is not configured", _ENABLE)
    elif ha.provider.lower() != PROVIDER:
        yield Reason("ha_other_provider", f"its HA provider is {ha.provider}", f"configure {PROVIDER} with storpool.cloudstack.storpool_ha")
    if ha.provider is not None and not ha.enabled:
        what = "host HA is switched off for it" if ha.state == "Disabled" else f"host HA is switched off for it (state {ha.state})"
        yield Reason("ha_not_enabled", what, f"{_ENABLE}; CloudStack itself switches it off when a fenced host comes back")
    if not host.cluster.ha:
        yield Reason("ha_off_in_cluster", f"host HA is switched off in cluster {host.cluster.name}", _ENABLE)
    if not host.zone.ha:
        yield Reason("ha_off_in_zone", f"host HA is switched off in zone {host.zone.name}", _ENABLE)
    switched_on = ha.provider is not None and ha.enabled and host.cluster.ha and host.zone.ha
    if ha.state != AVAILABLE and (switched_on or ha.state != "Disabled"):
        text, do = _STATES.get(ha.state, ("CloudStack says no more about it", "look at management-server.log"))
        yield Reason(f"ha_{ha.state.lower()}", f"host HA has it as {ha.state}: {text}", do)


def _of_storpool(host: Host) -> Iterator[Reason]:
    """The heartbeat: a StorPool pool to have it on, and the StorPool client behind the host."""
    pools = [pool for pool in host.pools if pool.is_storpool]
    if not pools:
        yield Reason(
            "no_pool",
            f"zone {host.zone.name} has no StorPool primary storage, on which the heartbeat depends",
            "add one with storpool.cloudstack.cloudstack_storage_pool",
        )
    elif not any(pool.state == UP for pool in pools):
        states = ", ".join(f"{pool.name} ({pool.state})" for pool in pools)
        yield Reason(
            "pool_not_up", f"no StorPool primary storage of zone {host.zone.name} is Up: {states}", "end the maintenance of the pool"
        )
    node = host.node
    if node.id is None:
        yield Reason(
            "node_unknown",
            f"its StorPool node id is not known: {node.problem}",
            "give sp_node_ids the SP_OURID of the host (storpool_confget on the host tells it)",
        )
    elif node.client is None and node.hyperconverged is None:
        yield Reason(
            "client_unknown",
            f"the state of its StorPool client is not known: {node.problem}",
            "see that the StorPool connection reaches that cluster",
        )
    elif node.client is None:
        yield Reason(
            "client_missing",
            f"{node.problem}",
            "see that sp_node_ids or storpool.conf has the SP_OURID of this host, and that storpool_block was started there",
        )
    elif node.client != RUNNING:
        yield Reason(
            "client_down",
            f"its StorPool client {node.id} is {node.client}: to CloudStack its heart has stopped, and the host may reset itself",
            "start storpool_block on the host, or see why it does not reach the cluster",
        )


def _hyperconverged(host: Host) -> Iterator[Reason]:
    if host.node.hyperconverged:
        yield Reason(
            "hyperconverged",
            f"StorPool node {host.node.id} also runs a storage server, which a reset or power-off would take down with it",
            "use host HA on compute-only nodes; allow_hyperconverged: true accepts the risk",
        )


# -- warnings


def _of_instances(host: Host) -> Iterator[Reason]:
    if host.instances is False:
        yield Reason(
            "no_instances",
            "it has no VMs: CloudStack has no volumes to ask about then, takes it for alive and never resets or fences it",
            "nothing, as long as nothing runs there",
        )


def _of_fence(host: Host, fence: Fence) -> Iterator[Reason]:
    """The setting matters where several pools have a heartbeat: false lets the last one of a list decide, true the first that fails."""
    up = sorted(pool.name for pool in host.pools if pool.state == UP)
    if fence.in_force is False:
        yield Reason(
            "fence_waits",
            f"{FENCE} is shown as {_word(fence.value)}, but was changed after the management servers were started, so it has no effect",
            _RESTART,
        )
    elif fence.in_force is None and fence.value is not None and len(up) > 1:
        yield Reason(
            "fence_unknown",
            f"{FENCE} is shown as {_word(fence.value)}; whether the management servers were restarted since it was set cannot be told",
            f"if in doubt, {_RESTART}",
        )
    works_as = fence.value if fence.in_force is not False else not fence.value
    if len(up) > 1 and not works_as:
        yield Reason(
            "several_pools",
            f"{len(up)} pools have a heartbeat ({', '.join(up)}), and with {FENCE} false the last one in CloudStack's list decides",
            f"set {FENCE} to true globally (storpool.cloudstack.cloudstack_settings), then {_RESTART}"
            if not fence.value
            else f"the setting is true already; {_RESTART}",
        )
    if host.zone.fence is not None:
        yield Reason(
            "fence_of_zone_ignored",
            f"zone {host.zone.name} has its own {FENCE} ({host.zone.fence}), which CloudStack accepts and never reads"
            + (f" (so does {host.version})" if host.version else ""),
            "set the global value, and take the zone's back (state: default)",
        )


def _word(value: bool | None) -> str:
    return str(value).lower()


def _version(text: str | None) -> tuple[int, ...]:
    """Return the first two numbers of a version, as far as it has them."""
    return tuple(int(part) for part in (text or "").split(".")[:2] if re.fullmatch("[0-9]{1,9}", part))
