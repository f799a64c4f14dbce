# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rows of the benchmark: what is done, and who does it."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import peers
from clients import FEW, Bare
from contest import ratio
from grounds import GIB
from measuring import Bench, Goal
from stand_in import name_of
from storpool_simulator.testing import Simulator

sys.path.append(str(Path(__file__).resolve().parents[1] / "integration"))

import role_settings

VOLUME = "storpool.cloudstack.storpool_volume"
SETTINGS = "storpool.cloudstack.cloudstack_settings"
PARALLEL = 8  # what the collection does when nothing is said; the bare client does as many
MIB_LIMIT = 150
LONG = 10_000  # volumes, from which on a loop of calls takes a minute
UNCHANGED = {"name": name_of(1), "size": "1G", "template": "nvme"}
OPERATIONS = {"create": "create", "unchanged": "nothing to change", "few": f"one in {FEW} to change", "delete": "delete"}


# -- one at a time


def single(bench: Bench, latency: float) -> None:
    """One task about one volume, beside other collections' tasks about one thing of theirs."""
    task, holding = {VOLUME: UNCHANGED}, bench.server.holding(1000)
    rows = bench.group(
        "single",
        "One task, nothing to change",
        latency,
        bench.empty(),
        bench.playbook("ansible.builtin.ping", [{"ansible.builtin.ping": {}}], kind="nothing"),
        bench.client("bare client", "bare", "one", {"name": name_of(1), "size": GIB}, holding),
        bench.client("official bindings", "bindings", "one", {"name": name_of(1), "size": GIB}, holding),
        *bench.both_ways("storpool_volume", [task], holding),
        *(
            bench.playbook(name, [task(ground.port)], ground=ground, prepare=partial(ground.ask, "fill", volumes=0, size=0), kind="peer")
            for name, task, ground in (
                ("hetzner.hcloud.volume", peers.hetzner_task, bench.hetzner),
                ("community.proxmox.proxmox_pool", peers.proxmox_task, bench.proxmox),
            )
        ),
    )
    if rows:
        found = ratio(rows["storpool_volume"], rows["ansible.builtin.ping"])
        bench.goal("one task that changes nothing, against ansible.builtin.ping", latency, found.middle, 1)


def setting(bench: Bench, latency: float) -> None:
    """One task about one setting of CloudStack, beside the community's module for that."""
    name, value = next(iter(bench.settings.items()))
    bench.group(
        "setting",
        "One setting of CloudStack, nothing to change",
        latency,
        bench.empty(),
        bench.client("bare client", "bare", "settings", {"values": {name: value}, "write": False, "parallel": 1}, ground=bench.zone),
        *bench.both_ways("cloudstack_settings", [{SETTINGS: {"name": name, "value": value}}], ground=bench.zone),
        bench.playbook("ngine_io.cloudstack.cs_configuration", [peers.cloudstack_task(name, value)], ground=bench.zone, kind="peer"),
    )


def loop(bench: Bench, latency: float) -> None:
    """What most playbooks do about many objects."""
    count, holding = bench.looped, bench.server.holding(1000)
    items = {"loop": f"{{{{ range({count}) | list }}}}"}
    task = {VOLUME: {**UNCHANGED, "name": "b-{{ '%05d' | format(item) }}"}, **items}
    echo = {"ansible.builtin.debug": {"msg": "{{ item }}"}, **items}
    rows = bench.group(
        "loop",
        f"A loop of {count}, nothing to change",
        latency,
        bench.empty(),
        bench.playbook("ansible.builtin.debug in the loop", [echo], kind="nothing"),
        bench.client("bare client", "bare", "loop", {"count": count, "size": GIB}, holding),
        bench.client("official bindings", "bindings", "loop", {"count": count, "size": GIB}, holding),
        *bench.both_ways("storpool_volume in the loop", [task], holding),
    )
    if rows and not latency:
        found = ratio(rows["storpool_volume in the loop"], rows[bench.BASE])
        bench.goal(f"loop of {count} unchanged against an empty play", latency, found.middle, 3)


# -- many in one task


def volumes_of(operation: str, count: int) -> list[dict[str, Any]]:
    """What is declared of `count` volumes."""
    return [{"name": name_of(number), "size": "2G" if operation == "few" and number % FEW == 0 else "1G"} for number in range(count)]


def from_file(bench: Bench, operation: str, count: int, **more: Any) -> list[dict[str, Any]]:
    """The one task of ours over `count` volumes."""
    source = bench.arena.directory / f"volumes-{operation}-{count}.json"
    source.write_text(json.dumps(volumes_of(operation, count)), encoding="utf-8")
    state = "absent" if operation == "delete" else "present"
    return [{VOLUME: {"volumes_src": str(source), "template": "nvme", "state": state, **more}}]


def bulk(bench: Bench, latency: float, count: int, operation: str) -> None:
    """One task over `count` volumes, beside the loops that a person would write."""
    holding = bench.server.holding(0 if operation == "create" else count)
    given = {"count": count, "size": GIB, "parallel": PARALLEL}
    largest = count == bench.sizes[-1]
    bare = f"bare client, {PARALLEL} in parallel" if operation != "unchanged" else "bare client"
    contenders = [
        bench.empty(),
        bench.client(bare, "bare", operation, given, holding),
        *bench.both_ways("storpool_volume from a file", from_file(bench, operation, count), holding, memory=largest),
    ]
    if operation != "delete" or count < LONG:  # a deletion takes them as long as a creation
        contenders.insert(2, bench.client("official bindings", "bindings", operation, given, holding))
    if operation == "create":
        quiet = from_file(bench, operation, count, return_objects="none")
        contenders.append(bench.playbook("storpool_volume from a file, return_objects: none", quiet, holding))
    if operation == "unchanged":
        names = f"{{{{ query('ansible.builtin.sequence', 'start=0 count={count} format=b-%05d') }}}}"
        by_names = [{VOLUME: {"names": names, "size": "1G", "template": "nvme"}}]
        contenders.append(bench.playbook("storpool_volume by names", by_names, holding))
    rows = bench.group(f"bulk-{count}-{operation}", f"{count:,} volumes: {OPERATIONS[operation]}", latency, *contenders)
    if not rows or not largest:
        return
    mine, base = rows["storpool_volume from a file"], rows[bench.BASE]
    if operation == "unchanged":
        if not latency:
            bench.goal(f"{count:,} unchanged from a file against an empty play", latency, ratio(mine, base).middle, 2)
        bench.goal(f"calls for {count:,} unchanged", latency, sum(mine.calls[key] for key in ("reads", "writes")), 1, unit="")
    if mine.together is not None:
        bench.goal(f"memory of all processes, {OPERATIONS[operation]}, {count:,}", latency, mine.together, MIB_LIMIT, unit=" MiB")


def goal_of_creation(bench: Bench, latency: float) -> None:
    """The one row that a goal was set for beforehand: 2 ms latency, 16 in parallel."""
    count, parallel, holding = bench.sizes[-1], 16, bench.server.holding(0)
    given = {"count": count, "size": GIB, "parallel": parallel}
    bare = f"bare client, {parallel} in parallel"
    mine, tasks = "storpool_volume from a file", partial(from_file, bench, "create", count, parallel=parallel)
    rows = bench.group(
        "goal",
        f"{count:,} volumes: create, {parallel} in parallel",
        latency,
        bench.empty(),
        bench.client(bare, "bare", "create", given, holding),
        bench.client("official bindings", "bindings", "create", given, holding),
        bench.playbook(mine, tasks(), holding),
        bench.playbook(f"{mine}, return_objects: none", tasks(return_objects="none"), holding),
    )
    if rows:
        for name in (mine, f"{mine}, return_objects: none"):
            found = ratio(rows[name], rows[bare], rows[bench.BASE])
            bench.goal(f"{count:,} creates against bare client and empty play, {name}", latency, found.middle, 1.3)
            gain = ratio(rows["official bindings"], rows[name])
            bench.goal(f"{count:,} creates, the bindings' loop against {name}", latency, gain.middle, 8, at_least=True)


def info(bench: Bench, latency: float) -> None:
    """All volumes of a cluster in one answer."""
    count = bench.sizes[-1]
    holding = bench.server.holding(count)
    task = {"storpool.cloudstack.storpool_volume_info": {}}
    slim = {"storpool.cloudstack.storpool_volume_info": {"fields": ["name", "size"]}}
    bench.group(
        "info",
        f"What is there, of {count:,} volumes",
        latency,
        bench.empty(),
        bench.client("bare client", "bare", "info", {}, holding),
        bench.client("official bindings", "bindings", "info", {}, holding),
        *bench.both_ways("storpool_volume_info", [task], holding, memory=True),
        bench.playbook("storpool_volume_info, two fields", [slim], holding),
    )


def group_snapshot(bench: Bench, latency: float) -> None:
    """Many volumes at the same instant."""
    names, zone = [f"g-{number:02d}" for number in range(64)], bench.zone

    def volumes_again() -> None:
        zone.afresh()
        zone.latency(0)
        for name in names:
            status, answer = zone.simulator.post("VolumeCreate", {"name": name, "size": 1 << 20, "template": "hdd"})
            if status != 200:
                raise RuntimeError(f"{name} could not be made: {answer}")
        zone.latency(latency)
        zone.simulator.reset_calls()

    task = {"storpool.cloudstack.storpool_snapshot": {"name": "{volume}-s", "volumes": names}}
    given = {"volumes": names, "name": "s"}
    bench.group(
        "group",
        f"One snapshot of {len(names)} volumes at the same instant",
        latency,
        bench.empty(),
        bench.client("bare client", "bare", "group", given, volumes_again, zone),
        bench.client("official bindings", "bindings", "group", given, volumes_again, zone),
        *bench.both_ways("storpool_snapshot", [task], volumes_again, zone),
    )


# -- CloudStack


def settings(bench: Bench, latency: float) -> None:
    """Many settings in one task, beside a loop over the community's module for one."""
    _settings(bench, latency, "settings", "nothing to change", bench.settings, "bare client")


def settings_changed(bench: Bench, latency: float) -> None:
    """The same settings, all of them to change."""
    zone = bench.zone
    other = {name: {"true": "false", "false": "true"}.get(value) or str(int(value) + 1) for name, value in bench.settings.items()}
    _settings(bench, latency, "settings-changed", "all to change", other, f"bare client, {PARALLEL} in parallel", zone.afresh)
    zone.afresh()


def _settings(
    bench: Bench, latency: float, identity: str, what: str, values: dict[str, str], bare: str, prepare: Callable[[], Any] | None = None
) -> None:
    """`prepare` puts the settings back; without it they have these values already, and nobody writes."""
    zone = bench.zone
    given = {"values": values, "write": prepare is not None, "parallel": PARALLEL}
    task = {SETTINGS: {"settings": [{"name": name, "value": value} for name, value in values.items()]}}
    each = {**peers.cloudstack_task("{{ item.key }}", "{{ item.value }}"), "loop": f"{{{{ {json.dumps(values)} | dict2items }}}}"}
    bench.group(
        identity,
        f"{len(values)} settings of CloudStack, {what}",
        latency,
        bench.empty(),
        bench.client(bare, "bare", "settings", given, prepare, zone),
        *bench.both_ways("cloudstack_settings", [task], prepare, zone),
        bench.playbook("ngine_io.cloudstack.cs_configuration in a loop", [each], prepare, zone, kind="peer"),
    )


ROLE = {**role_settings.DECLARED, "storpool_bypass_secondary": True}


def role(bench: Bench, latency: float) -> None:
    """The settings that StorPool wants, by the role."""
    zone = bench.zone
    tasks = [{"ansible.builtin.import_role": {"name": "storpool.cloudstack.global_settings"}, "vars": ROLE}]
    ways = bench.both_ways("role global_settings", tasks, ground=zone)
    if bench.wants("role"):
        zone.afresh()
        bench.arena.run(ways[0])
    bench.group(
        "role",
        "The role global_settings, nothing to change",
        latency,
        bench.empty(),
        bench.client("bare client", "bare", "settings", {"values": role_settings.BEHIND, "write": False, "parallel": 1}, ground=zone),
        *ways,
    )
    zone.afresh()


def hosts(bench: Bench, latency: float) -> None:
    """Which hosts of a zone host HA protects."""
    nodes = {name: host["storpool"]["client"] for name, host in bench.zone.simulator.hosts().items()}
    task = {"storpool.cloudstack.storpool_ha_info": {"zone": "sofia", "sp_node_ids": nodes}}
    bench.group(
        "hosts",
        f"Assessment of host HA, {len(nodes)} hosts",
        latency,
        bench.empty(),
        bench.client("bare client", "bare", "hosts", {"count": len(nodes)}, ground=bench.zone),
        *bench.both_ways("storpool_ha_info", [task], ground=bench.zone),
    )


def templates(bench: Bench, latency: float) -> None:
    """CloudStack's templates that are on StorPool already."""
    zone, names = bench.zone, ["debian-12", "rocky-9", "small-raw"]
    tasks = [{"storpool.cloudstack.storpool_template_cache": {"zone": "sofia", "names": names}}]
    ways = bench.both_ways("storpool_template_cache", tasks, ground=zone)
    if bench.wants("templates"):
        zone.afresh()
        zone.simulator.background(True)  # its copying goes on by itself
        bench.arena.run(ways[0])
        zone.simulator.background(False)
    bench.group(
        "templates",
        f"{len(names)} templates of CloudStack, cached on StorPool already",
        latency,
        bench.empty(),
        bench.client("bare client", "bare", "templates", {"names": names}, ground=zone),
        *ways,
    )
    zone.afresh()


# -- growth, and the ground itself


def growth(bench: Bench) -> None:
    """How time, memory and calls grow with the number of objects."""
    works = {
        "nothing to change": ("unchanged", lambda count: from_file(bench, "unchanged", count)),
        "create": ("create", lambda count: from_file(bench, "create", count, return_objects="none")),
        "what is there": ("info", lambda _count: [{"storpool.cloudstack.storpool_volume_info": {}}]),
    }
    beyond: dict[tuple[str, int], float] = {}
    for count in bench.growth:
        contenders = [bench.empty(memory=True)]
        for name, (operation, tasks) in works.items():
            holding = bench.server.holding(0 if operation == "create" else count)
            given = {} if operation == "info" else {"count": count, "size": GIB, "parallel": PARALLEL}
            contenders.append(bench.playbook(name, tasks(count), holding, memory=True))
            contenders.append(bench.client(f"bare client: {name}", "bare", operation, given, holding))
        rows = bench.group("growth", f"Growth: {count:,} volumes", 0.0, *contenders, objects=count)
        for name in works if rows else ():
            base = rows[bench.BASE]
            beyond[name, count] = max(0.001, min(rows[name].seconds) - min(base.seconds))
    if beyond and len(bench.growth) > 1:
        before, last = bench.growth[-2:]
        for name in works:
            found = (beyond[name, last] / last) / (beyond[name, before] / before)
            bench.goal(f"time of a volume, {name}, of {last:,} against of {before:,}", 0.0, found, 1.25)


def simulator(bench: Bench) -> None:
    """Measure the ground itself: it has to be quick enough not to hide what stands on it."""
    if not bench.wants("simulator"):
        return
    print("\nThe simulator", flush=True)
    many, some = bench.sizes[-1], min(bench.sizes[-1], 1000)
    timed: dict[str, list[float]] = {}

    def take(name: str, work: Callable[[], Any]) -> None:
        started = time.monotonic()
        work()
        timed.setdefault(name, []).append(time.monotonic() - started)

    def create(client: Bare, numbers: range) -> None:
        for number in numbers:
            client.call("POST", "VolumeCreate", {"name": name_of(number), "size": GIB, "template": "nvme"})

    for _round in range(min(bench.rounds, 2)):
        with tempfile.TemporaryDirectory(prefix="simulator-", dir=bench.arena.directory) as state:
            server = Simulator(state, devices="none")
            try:
                take("start-up", server.start)
                client = Bare(server.host, server.port, server.token)
                take(f"{some:,} creates over one connection", partial(create, client, range(some)))
                create(client, range(some, many))
                take(f"listing of {many:,} volumes", partial(client.call, "GET", "VolumesList"))
            finally:
                server.stop()
    for (name, seconds), limit in zip(timed.items(), (1, 2, 0.25), strict=True):
        print(f"  {name:58}{median(seconds):8.3f}  ({min(seconds):.3f}-{max(seconds):.3f})", flush=True)
        bench.goals.append(Goal(f"simulator: {name}", median(seconds), limit, unit=" s"))


def everything(bench: Bench) -> None:
    """Run all rows, at each latency."""
    each = [single, setting, loop, info, group_snapshot, settings, settings_changed, role, hosts, templates]
    for latency in bench.latencies:
        for row in each[:3]:
            row(bench, latency)
        for count in bench.sizes:
            for operation in OPERATIONS:
                bulk(bench, latency, count, operation)
        for row in each[3:]:
            row(bench, latency)
    goal_of_creation(bench, 0.002)
    growth(bench)
    simulator(bench)
