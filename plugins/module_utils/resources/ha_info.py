# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 4: what storpool_ha_info tells: a verdict for each host, and the sum of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from .._cloudstack import CloudStack
from .._errors import OptionError
from .ha_verdict import Verdict, judge
from .hosts import FENCE, Host, Observation, Selection, observe, parse_node_ids

_NAMED = 10  # names of hosts that one warning tells


def query(client: CloudStack, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the verdicts on the selected hosts. :raises OptionError: an option cannot be meant."""
    return told(observe(client, _selection(options)), bool(options["allow_hyperconverged"]))


def _selection(options: Mapping[str, Any]) -> Selection:
    for name in ("cluster", "zone"):
        if options[name] is not None and not options[name].strip():
            raise OptionError(name, options[name], "is empty; leave it out to take all")
    names = [str(name).strip() for name in options["hosts"] or ()]
    if options["hosts"] is not None and not all(names or [""]):
        raise OptionError("hosts", options["hosts"], "names no host; leave it out to take all")
    return Selection(names, options["cluster"], options["zone"], parse_node_ids(options["sp_node_ids"]), options["storpool_conf"])


def told(seen: Observation, allow_hyperconverged: bool) -> dict[str, Any]:
    """Return the result's members for what was read. Pure."""
    verdicts = [(host, judge(host, seen.fence, allow_hyperconverged)) for host in seen.hosts]
    warnings, summary = list(_warnings(verdicts)), _summary(verdicts)
    pools = sorted({pool.id: pool for host in seen.hosts for pool in host.pools}.values(), key=lambda one: (one.name, one.id))
    zones = {zone.id: zone.name for zone in seen.zones}
    clusters = {cluster.id: cluster.name for cluster in seen.clusters}
    return {
        "hosts": [_entry(host, verdict, seen) for host, verdict in verdicts],
        "summary": summary,
        "report": list(_report(verdicts, summary)),
        "fence_setting": {
            "name": FENCE,
            "value": seen.fence.value,
            "in_force": seen.fence.in_force,
            "restart_required": seen.fence.in_force is False,
            "ignored": {zone.name: zone.fence for zone in seen.zones if zone.fence is not None},
        },
        "pools": [
            {
                "name": pool.name,
                "id": pool.id,
                "type": pool.kind,
                "state": pool.state,
                "zone": zones.get(pool.zone),
                "cluster": clusters.get(pool.cluster or ""),
            }
            for pool in pools
        ],
        **({"warnings": warnings} if warnings else {}),
    }


def _entry(host: Host, verdict: Verdict, seen: Observation) -> dict[str, Any]:
    return {
        "name": host.name,
        "id": host.id,
        "zone": host.zone.name,
        "cluster": host.cluster.name,
        "pod": host.pod,
        "address": host.address,
        "version": host.version,
        "state": host.state,
        "resource_state": host.resource_state,
        "protected": verdict.protected,
        "eligible": verdict.eligible,
        "ha_enabled": host.ha.enabled,
        "ha_state": host.ha.state,
        "ha_provider": host.ha.provider,
        "oobm": asdict(host.oobm),
        "node_id": host.node.id,
        "node_id_from": host.node.source,
        "storpool_cluster": host.node.cluster,
        "client_state": host.node.client,
        "hyperconverged": host.node.hyperconverged,
        "peers": len(host.peers),
        "instances": host.instances,
        "in_force": seen.fence.in_force,
        "reasons": [asdict(reason) for reason in verdict.reasons],
        "warnings": [asdict(warning) for warning in verdict.warnings],
    }


def _summary(verdicts: Sequence[tuple[Host, Verdict]]) -> dict[str, Any]:
    """Return the counts that monitoring looks at. ``critical``: a host is not protected, or there is none."""
    bare = sorted(host.name for host, verdict in verdicts if not verdict.protected)
    warned = sum(verdict.protected and bool(verdict.warnings) for _host, verdict in verdicts)
    return {
        "status": "critical" if bare or not verdicts else "warning" if warned else "ok",
        "hosts": len(verdicts),
        "protected": len(verdicts) - len(bare),
        "not_protected": len(bare),
        "protected_with_warnings": warned,
        "not_protected_hosts": bare,
        "ha_states": _counted(host.ha.state for host, _verdict in verdicts),
        "reasons": _counted(reason.code for _host, verdict in verdicts for reason in verdict.reasons),
        "warnings": _counted(warning.code for _host, verdict in verdicts for warning in verdict.warnings),
    }


def _report(verdicts: Sequence[tuple[Host, Verdict]], summary: Mapping[str, Any]) -> Iterator[str]:
    """Yield lines for a person to read: the sum, then each host with what there is to do."""
    yield f"{summary['status'].upper()}: {summary['protected']} of {summary['hosts']} hosts are protected"
    for host, verdict in verdicts:
        said = "protected" if verdict.protected else "NOT PROTECTED"
        yield f"{host.name} (zone {host.zone.name}, cluster {host.cluster.name}, HA {host.ha.state}): {said}"
        for kind, found in (("", verdict.reasons), ("warning: ", verdict.warnings)):
            for one in found:
                yield f"  - {kind}{one.text} [{one.code}]. What to do: {one.do}"


def _counted(found: Iterator[str]) -> dict[str, int]:
    return dict(sorted(Counter(found).items()))


def _warnings(verdicts: Sequence[tuple[Host, Verdict]]) -> Iterator[str]:
    """Yield one line for each kind of warning, however many hosts it is about."""
    about: dict[str, list[str]] = {}
    first: dict[str, str] = {}
    for host, verdict in verdicts:
        for warning in verdict.warnings:
            about.setdefault(warning.code, []).append(host.name)
            first.setdefault(warning.code, f"{warning.text}. What to do: {warning.do}")
    for code, names in sorted(about.items()):
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        yield f"{code}: {', '.join(names[:_NAMED])}{more}: {first[code]}"
