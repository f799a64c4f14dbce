# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 4: hosts as CloudStack lists them, and waiting until they are in a state. One listing a look, however many hosts.

``listHosts`` has no field that tells the moment of a host's last sign of life: ``lastpinged`` counts units of 1.024 s as if they were
milliseconds (so it shows days of January 1970, and changes every 17 minutes), and ``disconnected`` is not written by every way of going.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from .._cloudstack import CloudStack
from .._errors import CollectionError, DeadlineExceeded, OptionError, Unreachable
from .._units import parse_duration

LOOK_EVERY = 2.0  # seconds


def query(client: CloudStack, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the hosts, all those that are asked for in the state that is waited for.

    :raises OptionError: one does not exist, or a name is that of several.
    :raises DeadlineExceeded: one was not in the state in time.
    """
    state, limit = options["wait_for"], options["wait_timeout"]
    if limit < 0:
        raise OptionError("wait_timeout", limit, "is no number of seconds")
    deadline = time.monotonic() + parse_duration(limit, "wait_timeout")
    while True:
        error: CollectionError
        try:
            found = _look(client, options["hosts"])
        except Unreachable as exc:
            # A management server that is away for a moment is part of what is waited for.
            if state is None or not limit:
                raise
            error = exc
        else:
            late = [one for one in found if state is not None and one["state"] != state]
            if not late:
                return {"hosts": found}
            names = ", ".join(f"{one['name']} is {one['state']}" for one in late)
            within = f" after {limit} s" if limit else ""
            error = DeadlineExceeded(
                f"not {state} in CloudStack{within}: {names}",
                hint="see /var/log/cloudstack/agent/agent.log on the host and the log of the management server",
                hosts=[one["name"] for one in late],
            )
        if time.monotonic() + LOOK_EVERY > deadline:
            raise error
        time.sleep(LOOK_EVERY)


def _look(client: CloudStack, asked: Sequence[str] | None) -> list[dict[str, Any]]:
    raw = client.list("listHosts", "host", unlimited=True, type="Routing", details="min")
    found = [_shown(one) for one in raw]
    if asked is None:
        return sorted(found, key=lambda one: one["name"])
    return [_pick(found, name) for name in asked]


def _pick(found: Sequence[dict[str, Any]], name: str) -> dict[str, Any]:
    fits = [one for one in found if name in (one["name"], one["id"], one["address"])]
    if len(fits) == 1:
        return fits[0]
    if fits:
        several = ", ".join(f"{one['id']} ({one['name']}, {one['zone']})" for one in fits)
        raise OptionError("hosts", name, f"means {len(fits)} hosts: {several}; give the id")
    known = ", ".join(f"{one['name']} ({one['address']})" for one in found[:20])
    raise OptionError("hosts", name, f"is not a host of CloudStack; there are: {known or 'none'}")


def _shown(raw: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": raw["id"],
        "name": raw["name"],
        "address": raw.get("ipaddress"),
        "state": raw.get("state"),
        "resource_state": raw.get("resourcestate"),
        "hypervisor": raw.get("hypervisor"),
        "zone": raw.get("zonename"),
        "pod": raw.get("podname"),
        "cluster": raw.get("clustername"),
        "version": raw.get("version"),
    }
