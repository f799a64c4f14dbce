# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Out-of-band management: what is configured, the power states that the server remembers, power actions (plugin sheet 3.1, OOBM)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import errors, hosts, maintenance
from .bmc import OFF, ON, BmcError

if TYPE_CHECKING:
    from ..store import Document
    from .cloud import Cloud

DRIVERS = ("ipmitool", "redfish", "nestedcloudstack")
SWITCH = "outOfBandManagementEnabled"
DISABLED, UNKNOWN = "Disabled", "Unknown"
ACTIONS = ("ON", "OFF", "CYCLE", "RESET", "SOFT", "STATUS")
NEED_POWER = ("CYCLE", "RESET", "SOFT")


def allowed_by(cloud: Cloud, host: Document, switch: str) -> dict[str, bool]:
    """What cluster and zone say; an absent switch counts as enabled."""
    switches = {"zone": cloud.zones[host["zone"]]["details"], "cluster": cloud.clusters[host["cluster"]]["details"]}
    return {where: one.get(switch, "true") == "true" for where, one in switches.items()}


def enabled(cloud: Cloud, host: Document) -> bool:
    """Configured and enabled on host, cluster and zone, and the host not declared degraded."""
    on_host = host["oobm"] is not None and host["oobm_enabled"] and host["resource"] != maintenance.DEGRADED
    return on_host and all(allowed_by(cloud, host, SWITCH).values())


def check_enabled(cloud: Cloud, host: Document) -> None:
    for where, allowed in allowed_by(cloud, host, SWITCH).items():
        if not allowed:
            raise errors.failure(f"Out-of-band management is disabled for the host's {where}. Aborting Operation.")
    if not enabled(cloud, host):
        raise errors.failure("Out-of-band management is disabled or not configured for the host. Aborting Operation.")


def power_state(host: Document) -> str:
    """What the server remembers; the controller may know better."""
    return host["oobm"]["power"] if host["oobm"] else DISABLED


def _remember(cloud: Cloud, host: Document, power: str) -> Document:
    return cloud.hosts.change(host["id"], oobm={**host["oobm"], "power": power})


def shown(host: Document, **more: Any) -> dict[str, Any]:
    """The password only by its first character."""
    oobm = host["oobm"] or {}
    fields = {key: oobm.get(key) for key in ("driver", "address", "port", "username")}
    password = oobm.get("password")
    return {
        "enabled": bool(oobm) and host["oobm_enabled"],
        "powerstate": power_state(host),
        **fields,
        "password": password[0] + "****" if password else None,
        **more,
    }


# Configuration


def configure(cloud: Cloud, host: Document, given: dict[str, str]) -> Document:
    """Replaces what is stored; the driver's name is compared in lower case and stored as it was given."""
    stored = {"power": DISABLED, **(host["oobm"] or {}), **{key: value for key, value in given.items() if value}}
    if stored["driver"].lower() not in DRIVERS:
        raise errors.failure("Out-of-band management driver is not available. Please provide a valid driver name.")
    return cloud.hosts.change(host["id"], oobm=stored)


def switch_host(cloud: Cloud, host: Document, on: bool) -> Document:
    """The power state is Disabled then, until the next look."""
    if host["oobm"] is None:
        raise errors.failure(
            "Out-of-band management is not configured for the host. Please configure the host before enabling/disabling it."
        )
    cloud.hosts.change(host["id"], oobm_enabled=on)
    return _remember(cloud, cloud.hosts[host["id"]], DISABLED)


def disable_all(cloud: Cloud, chosen: list[Document]) -> None:
    """After a cluster or zone was switched off."""
    for host in chosen:
        if host["oobm"]:
            _remember(cloud, host, DISABLED)


# The controller


def _credentials(host: Document) -> tuple[str, str, str]:
    return host["oobm"]["address"], host["oobm"]["username"], host["oobm"]["password"]


def act(cloud: Cloud, host: Document, action: str) -> str:
    """A power action through the controller; gives what the driver tells. Only STATUS renews what the server remembers."""
    check_enabled(cloud, host)
    if host["oobm"]["driver"] not in DRIVERS:
        raise errors.failure("Configured out-of-band management driver is not available. Aborting any out-of-band management action.")
    try:
        power = cloud.bmcs.status(*_credentials(host))
        if action == "STATUS":
            _remember(cloud, host, power.capitalize())
            return f"Chassis Power is {power}"
        if action in NEED_POWER and power == OFF:
            raise BmcError("Set Chassis Power Control failed: Command not supported in present state")
        _switch(cloud, host, action)
    except BmcError as why:
        if action == "STATUS":
            _remember(cloud, host, UNKNOWN)
        raise errors.failure(f"Out-of-band Management action [{action}] on {_told(host)} failed with error: {why}") from why
    return f"Chassis Power Control: {action.capitalize()}"


def _told(host: Document) -> str:
    return f'Host {{"id":{host["dbid"]},"name":"{host["name"]}","type":"Routing","uuid":"{host["id"]}"}}'


def _switch(cloud: Cloud, host: Document, action: str) -> None:
    address = host["oobm"]["address"]
    power = OFF if action in ("OFF", "SOFT") else ON
    before = cloud.bmcs.status(*_credentials(host))
    cloud.bmcs.switch(*_credentials(host), power)
    if power == OFF or action in ("CYCLE", "RESET"):
        power_changed(cloud, address, OFF)
    if power == ON and (before == OFF or action != "ON"):
        power_changed(cloud, address, ON)


def power_changed(cloud: Cloud, address: str, power: str) -> None:
    """What it means for the host behind the controller."""
    if power == OFF:
        cloud.bmcs.count_loss(address)
    host = hosts.of_bmc(cloud, address)
    if host is None:
        return
    if power == OFF:
        hosts.lose_power(cloud, host)
    else:
        hosts.begin_boot(cloud, cloud.hosts[host["id"]])


def change_password(cloud: Cloud, host: Document, new: str | None) -> None:
    check_enabled(cloud, host)
    if not new:
        raise errors.failure(f"Cannot change out-of-band management password as provided new-password is null or empty for {_told(host)}.")
    try:
        cloud.bmcs.set_password(*_credentials(host), new)
    except BmcError as why:
        raise errors.failure(f"Failed to change out-of-band management password for {_told(host)} with error: {why}") from why
    cloud.hosts.change(host["id"], oobm={**host["oobm"], "password": new})


def look(cloud: Cloud, host: Document) -> None:
    """The background look at the power state."""
    if host["oobm"] is None:
        return
    if not enabled(cloud, host):
        power = DISABLED
    else:
        try:
            power = cloud.bmcs.status(*_credentials(host)).capitalize() if host["oobm"]["driver"] in DRIVERS else UNKNOWN
        except BmcError:
            power = UNKNOWN
    if power != host["oobm"]["power"]:
        _remember(cloud, host, power)
