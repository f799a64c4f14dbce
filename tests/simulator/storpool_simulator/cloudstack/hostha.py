# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Host HA: eligibility, the state machine and its questions (plugin sheet 3.2, 3.3; ``HAManagerImpl``, ``KVMHAProvider``)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from . import errors, hosts, instances, maintenance, outofband, vms

if TYPE_CHECKING:
    from ..store import Document
    from .cloud import Cloud

LOG = logging.getLogger(__name__)

# Hypervisor -> class names of its providers
PROVIDERS = {"KVM": "KVMHAProvider", "Simulator": "SimulatorHAProvider"}
HYPERVISOR = "KVM"
SWITCH = "resourceHAEnabled"
HISTORY = 100  # transitions that are kept for tests

DISABLED, AVAILABLE, INELIGIBLE, SUSPECT, DEGRADED, CHECKING, RECOVERING, RECOVERED, FENCING, FENCED = (
    "Disabled", "Available", "Ineligible", "Suspect", "Degraded", "Checking", "Recovering", "Recovered", "Fencing", "Fenced",
)  # fmt: skip
STATES = (DISABLED, AVAILABLE, INELIGIBLE, SUSPECT, DEGRADED, CHECKING, RECOVERING, RECOVERED, FENCING, FENCED)

# (from, event) -> to
TRANSITIONS: dict[tuple[str, str], str] = {
    (DISABLED, "Enabled"): AVAILABLE,
    (INELIGIBLE, "Eligible"): AVAILABLE,
    (AVAILABLE, "HealthCheckPassed"): AVAILABLE,
    (AVAILABLE, "HealthCheckFailed"): SUSPECT,
    (SUSPECT, "HealthCheckPassed"): AVAILABLE,
    (SUSPECT, "HealthCheckFailed"): SUSPECT,
    (SUSPECT, "PerformActivityCheck"): CHECKING,
    (CHECKING, "TooFewActivityCheckSamples"): SUSPECT,
    (CHECKING, "ActivityCheckFailureUnderThresholdRatio"): DEGRADED,
    (CHECKING, "ActivityCheckFailureOverThresholdRatio"): RECOVERING,
    (DEGRADED, "HealthCheckPassed"): AVAILABLE,
    (DEGRADED, "HealthCheckFailed"): DEGRADED,
    (DEGRADED, "PeriodicRecheckResourceActivity"): SUSPECT,
    (RECOVERING, "RetryRecovery"): RECOVERING,
    (RECOVERING, "Recovered"): RECOVERED,
    (RECOVERING, "RecoveryOperationThresholdExceeded"): FENCING,
    (RECOVERED, "RecoveryWaitPeriodTimeout"): AVAILABLE,
    (FENCING, "RetryFencing"): FENCING,
    (FENCING, "Fenced"): FENCED,
    (FENCED, "HealthCheckFailed"): FENCED,
    (FENCED, "HealthCheckPassed"): INELIGIBLE,
    **{(state, "Disabled"): DISABLED for state in STATES},
    **{(state, "Ineligible"): INELIGIBLE for state in STATES if state not in (DISABLED, FENCED, INELIGIBLE)},
}

FRESH: dict[str, Any] = {
    "provider": None,
    "enabled": False,
    "state": DISABLED,
    # Activity checks so far, and those that failed
    "checks": 0,
    "failures": 0,
    "recoveries": 0,
    # When the last activity check was, when it became degraded, when the wait after a recovery began
    "checked": None,
    "degraded": None,
    "recovered": None,
    "history": [],
}
NO_CHECKS = {"checks": 0, "failures": 0}


# Configuration


def configure(cloud: Cloud, host: Document, provider: str) -> Document:
    """The provider's name in any case; it is stored in lower case. Raises ServerError."""
    known = {name.lower(): hypervisor for hypervisor, name in PROVIDERS.items()}
    if provider.lower() not in known:
        raise errors.failure(f"Given HA provider [{provider}] does not exist.")
    if known[provider.lower()] != HYPERVISOR:
        raise errors.ServerError(
            431,
            f"Incompatible haprovider provided [{known[provider.lower()]}] for the resource [{host['dbid']}] "
            f"of hypervisor type: [{HYPERVISOR}].",
        )
    return cloud.hosts.change(host["id"], ha={**(host["ha"] or FRESH), "provider": provider.lower()})


def switch_host(cloud: Cloud, host: Document, on: bool) -> Document:
    """Enabling takes effect at the next look; disabling at once."""
    if host["ha"] is None:
        raise errors.parameter(f"HAProvider is not provided for the resource [{host['dbid']}], failing configuration.")
    host = cloud.hosts.change(host["id"], ha={**host["ha"], "enabled": on})
    return host if on else disable(cloud, host)


def disable(cloud: Cloud, host: Document) -> Document:
    """The state becomes Disabled and all counters are forgotten."""
    kept = {key: host["ha"][key] for key in ("provider", "enabled", "state", "history")}
    return Step(cloud, cloud.hosts.change(host["id"], ha={**FRESH, **kept}), cloud.world.clock.now()).move("Disabled")


def disable_all(cloud: Cloud, chosen: list[Document]) -> None:
    """After a cluster or zone was switched off."""
    for host in chosen:
        if host["ha"]:
            disable(cloud, host)


def is_eligible(cloud: Cloud, host: Document) -> bool:
    """Out-of-band management usable, neither in maintenance nor disabled, and a neighbour to ask (plugin sheet 3.2)."""
    kept_out = (*maintenance.STATES, maintenance.DISABLED)
    return outofband.enabled(cloud, host) and host["resource"] not in kept_out and bool(hosts.neighbours(cloud, host))


# The machine


def poll(cloud: Cloud, now: float) -> None:
    """One look at every host that was configured."""
    for host in cloud.living(cloud.hosts):
        if host["ha"] is not None:
            Step(cloud, host, now).look()


class Step:
    """One look at one host, at one moment."""

    def __init__(self, cloud: Cloud, host: Document, now: float) -> None:
        self.cloud = cloud
        self.id = host["id"]
        self.now = now

    @property
    def host(self) -> Document:
        return self.cloud.hosts[self.id]

    @property
    def ha(self) -> dict[str, Any]:
        return self.host["ha"]

    def note(self, **fields: Any) -> None:
        self.cloud.hosts.change(self.id, ha={**self.ha, **fields})

    def move(self, event: str, **fields: Any) -> Document:
        """An event without a transition changes nothing."""
        state = self.ha["state"]
        to = TRANSITIONS.get((state, event))
        if to is not None and (to != state or fields):
            history = self.ha["history"]
            if to != state:
                history = [*history[1 - HISTORY :], {"at": self.now, "event": event, "from": state, "to": to}]
                LOG.debug("host %s: %s -> %s (%s)", self.host["name"], state, to, event)
            self.note(**{**fields, "state": to, "history": history})
        return self.host

    def setting(self, name: str) -> float:
        """One of kvm.ha.*, in the host's cluster."""
        setting = self.cloud.settings.known[f"kvm.ha.{name}"]
        return float(self.cloud.settings.effective(setting, self.host["cluster"]) or setting.default or 0)

    def look(self) -> None:
        if not (self._is_on() and self._takes_part()):
            return
        if self.ha["state"] == CHECKING:
            self._conclude()
            if self.ha["state"] != SUSPECT:
                return
        if self.ha["state"] in (AVAILABLE, SUSPECT, DEGRADED, FENCED):
            self._check_health()
        state = self.ha["state"]
        if state == SUSPECT and self._passed("checked", "activity.check.interval"):
            self._check_activity()
        elif state == DEGRADED and self._passed("degraded", "degraded.max.period"):
            self.move("PeriodicRecheckResourceActivity")
        elif state == RECOVERING:
            self._retry_recovery()
        elif state == RECOVERED:
            self._wait_after_recovery()
        elif state == FENCING:
            self._fence()

    def _passed(self, mark: str, setting: str) -> bool:
        since = self.ha[mark]
        return since is None or self.now - since > self.setting(setting)

    def _is_on(self) -> bool:
        """Enabled on host, cluster and zone; follows with Enabled or Disabled."""
        if not (self.ha["enabled"] and all(outofband.allowed_by(self.cloud, self.host, SWITCH).values())):
            if self.ha["state"] != DISABLED:
                disable(self.cloud, self.host)
            return False
        if self.ha["state"] == DISABLED:
            self.move("Enabled")
        return True

    def _takes_part(self) -> bool:
        if not is_eligible(self.cloud, self.host):
            self.move("Ineligible")
            return False
        if self.ha["state"] == INELIGIBLE:
            self.move("Eligible")
        return True

    # Its questions

    def _check_health(self) -> None:
        """Only the host's own agent counts. A fenced host that is well again loses HA, until somebody enables it anew."""
        if self.host["agent"] != "up":
            self.move("HealthCheckFailed")
            return
        fenced = self.ha["state"] == FENCED
        self.move("HealthCheckPassed", **NO_CHECKS, recoveries=0, recovered=None)
        if fenced:
            switch_host(self.cloud, self.host, False)

    def _has_activity(self) -> bool:
        """The first pool without activity decides; a host without instances has no pool to ask and counts as active."""
        pools = set().union(*(vms.pools_of(self.cloud, vm) for vm in instances.running_on(self.cloud, self.host)))
        return not pools or hosts.client_runs(self.cloud, self.host)

    def _check_activity(self) -> None:
        """The neighbours have answered when the next look comes."""
        self.note(checked=self.now)
        self.move("PerformActivityCheck")

    def _conclude(self) -> None:
        checks, failures = self.ha["checks"] + 1, self.ha["failures"] + (not self._has_activity())
        self.note(checks=checks, failures=failures)
        if checks < self.setting("activity.check.max.attempts"):
            self.move("TooFewActivityCheckSamples")
        elif failures > checks * self.setting("activity.check.failure.ratio"):
            self.move("ActivityCheckFailureOverThresholdRatio", **NO_CHECKS)
            self._recover()
        else:
            self.move("ActivityCheckFailureUnderThresholdRatio", **NO_CHECKS, degraded=self.now)

    # Its actions

    def _may_recover(self) -> bool:
        return self.ha["recoveries"] < self.setting("recover.failure.threshold")

    def _recover(self) -> None:
        """A RESET; every attempt counts, also one that fails."""
        if not self._may_recover():
            return
        done = self._act("RESET")
        self.note(recoveries=self.ha["recoveries"] + 1, **NO_CHECKS)
        if done:
            self.move("Recovered", recovered=None)

    def _retry_recovery(self) -> None:
        if self._may_recover():
            self._recover()
        else:
            self.move("RecoveryOperationThresholdExceeded")
            self._fence()

    def _wait_after_recovery(self) -> None:
        if self.ha["recovered"] is None:
            self.note(recovered=self.now)
        if self._passed("recovered", "recover.wait.period"):
            self.move("RecoveryWaitPeriodTimeout", recovered=None)

    def _fence(self) -> None:
        """OFF, again and again until it works; then instances run elsewhere and the host goes into maintenance."""
        if not self._act("OFF"):
            return
        self.move("Fenced", recoveries=0, recovered=None)
        self.cloud.hosts.change(self.id, state=hosts.DOWN)
        instances.restart_elsewhere(self.cloud, self.host)
        maintenance.begin(self.cloud, self.host)

    def _act(self, action: str) -> bool:
        try:
            outofband.act(self.cloud, self.host, action)
        except errors.ServerError as why:
            LOG.debug("host %s: %s failed: %s", self.host["name"], action, why)
            return False
        return True
