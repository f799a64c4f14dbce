# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The demo: the chapters of playbooks/demo.yml against a simulated StorPool that holds real bytes.

Each chapter runs three times: in check mode with diff, for real, and again. The demo fails when a run fails, when the real run is not
what check mode predicted, when check mode or the last run sends StorPool a single write, when the last run changes anything, or when the
contents are not what they have to be. The playbooks prove contents on the devices; what only a simulator can tell (bytes copied, what a
snapshot holds, what happened in the very moment of a snapshot) is looked at here, by the witnesses.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "demo"
sys.path.insert(0, str(ROOT / "tests" / "integration"))

import playbooks  # noqa: E402
import screen  # noqa: E402
from prediction import differences, not_silent, ours  # noqa: E402
from storpool_simulator.testing import Simulator, address  # noqa: E402

TOUR = ROOT / "playbooks" / "demo.yml"
CLEAN_UP = ROOT / "playbooks" / "demo_clean_up.yml"
CLUSTER = "sofia-a"
CLIENT, OTHER_CLIENT = 11, 12
CLOUDSTACK = "4.22.0"
ZONE = "sofia"
VM, OTHER_VM, ISO_VM = "demo-db", "demo-web", "demo-iso"
TEMPLATE = "debian-12"
HOSTS = ("kvm11", "kvm12", "kvm13")
BMC_USER, BMC_PASSWORD = "ADMIN", "bmc-secret"
A_MINUTE, AN_HOUR, A_DAY = 60, 3600, 24 * 3600
TWO_DAYS = 2 * A_DAY
# What CloudStack does by itself every few seconds it does more often.
SOON = {"poll_seconds": 0.5, "job_seconds": 0.5, "maintenance_seconds": 0.5}
LUKS = b"LUKS\xba\xbe"
SECTOR, MEBIBYTE = 512, 1 << 20
DEVICES = {"loop": "block devices", "link": "links to files"}


class DemoFailed(Exception):
    """What the demo shows turned out not to be so."""


@dataclass
class Chapter:
    """One playbook: its short name, and a sentence. ``facts`` is what was proved, in words."""

    path: Path
    short: str
    title: str
    facts: list[str] = field(default_factory=list)
    actions: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def command(self) -> str:
        """How a user runs it."""
        inside = self.path.relative_to(ROOT / "playbooks").with_suffix("")
        return f"ansible-playbook storpool.cloudstack.{'.'.join(inside.parts)}"

    def fail(self, why: str, *details: str) -> DemoFailed:
        return DemoFailed("\n  ".join([f"chapter {self.name}: {why}", *details]))


def plural(record: dict[str, Any]) -> str:
    """What the results of a task's module call its objects: storpool_volume has volumes."""
    kind = record["action"].rpartition(".")[2].partition("_")[2]
    return {"ha": "hosts", "settings": "settings", "template_cache": "templates"}.get(kind, f"{kind}s")


def chapters() -> list[Chapter]:
    """The chapters in their order; demo.yml and the plays' names are the only places that know them."""
    found = []
    for one in yaml.safe_load(TOUR.read_text(encoding="utf-8")):
        path = TOUR.parent / one["ansible.builtin.import_playbook"]
        found.append(Chapter(path, one["name"], yaml.safe_load(path.read_text(encoding="utf-8"))[0]["name"]))
    return found


@dataclass
class Tour:
    sim: Simulator
    image_sha256: str
    grown: int  # size of the volumes that grow; their second half is free for an application to write to
    env: dict[str, str]
    variables: dict[str, Any]
    converted: int = 0  # bytes that hosts converted while VMs were deployed
    damaged: tuple[str, ...] = ()  # disks that the upgrade of a VM damaged

    # -- what is there

    def listing(self, query: str) -> list[dict[str, Any]]:
        status, answer = self.sim.get(query)
        if status != 200:
            raise DemoFailed(f"{query} answered {status}: {answer}")
        return answer["data"]

    def names(self) -> list[str]:
        """All volumes and snapshots, without those that StorPool is about to take away."""
        found = [one["name"] for query in ("VolumesList", "SnapshotsList") for one in self.listing(query)]
        return sorted(name for name in found if not name.startswith("*"))

    def contents(self) -> dict[str, str]:
        """A fingerprint of every byte that a host could have written past StorPool's API: of all that is attached for writing."""
        attached = {one["volume"] for one in self.listing("AttachmentsList") if one["rights"] == "rw"}
        return {name: self.sim.fingerprint(name) for name in sorted(attached)}

    def disks(self, vm: str) -> dict[str, str]:
        """The disks of a VM by name, each as StorPool calls it."""
        return {disk["name"]: address(disk) for disk in self.sim.vms()[vm]["disks"]}

    def parent(self, volume: str) -> str:
        return self.listing(f"Volume/{volume}")[0]["parentName"]

    def backups(self) -> dict[str, int]:
        """The files on CloudStack's secondary storage, with their sizes."""
        return self.sim.secondary()["files"]

    # -- one run of a playbook

    def play(self, chapter: Chapter, **how: Any) -> tuple[playbooks.Run, list[str]]:
        """Run it as its command says; also return the writes that StorPool and CloudStack were sent."""
        self.sim.reset_calls()
        target = chapter.command.split()[1]
        done = playbooks.run(Path(target), env=self.env, variables=self.variables, **how)
        if done.rc != 0:
            raise chapter.fail("ansible-playbook failed", *done.output.splitlines())
        return done, [one["call"] for one in self.sim.calls()["calls"] if one["write"]]

    # -- one chapter

    def chapter(self, chapter: Chapter) -> playbooks.Run:
        """Show one chapter: check, real, again. :raises DemoFailed: at the first thing that is not as it has to be."""
        started = time.monotonic()
        for event in EVENTS.get(chapter.name, lambda _tour: [])(self):
            screen.line("happened", event)
        at_first = self.contents()
        screen.command(f"{chapter.command} --check --diff")
        predicted, writes = self.play(chapter, check=True, diff=True)
        if writes:
            raise chapter.fail("check mode wrote", *writes)
        if self.contents() != at_first:
            raise chapter.fail("check mode changed the content of a volume")
        self._show_prediction(predicted)

        screen.command(f"{chapter.command} --diff")
        with WITNESSES[chapter.name](self, chapter) if chapter.name in WITNESSES else nullcontext():
            real, writes = self.play(chapter, diff=True)
        wrong = differences(predicted, real)
        if wrong:
            raise chapter.fail("the real run was not what check mode predicted", *wrong)
        self._show_real(chapter, real, writes)

        after = self.contents()
        screen.command(chapter.command)
        again, writes = self.play(chapter, diff=True)
        wrong = not_silent(again, writes)
        if wrong:
            raise chapter.fail("run again, it was not silent", *wrong)
        if self.contents() != after:
            raise chapter.fail("run again, it changed the content of a volume")
        reads = sum(record["result"]["api"]["reads"] for record in ours(again))
        chapter.seconds = time.monotonic() - started
        screen.line("changed=0", f"{screen.count(reads, 'read')}, no write, every byte as it was")
        return real

    @staticmethod
    def _show_prediction(run: playbooks.Run) -> None:
        for record in ours(run):
            verdict = "would change" if record["changed"] else "read" if record["action"].endswith("_info") else "right already"
            screen.line(verdict, record["task"])
            for text in screen.changes(record["result"], plural(record)):
                screen.show(f"       {text}")
        skipped = sum(record["status"] == "skipped" for record in run.tasks)
        if skipped:
            screen.line("left out", f"what can only be seen or done afterwards ({screen.count(skipped, 'task')})")

    @staticmethod
    def _show_real(chapter: Chapter, run: playbooks.Run, writes: list[str]) -> None:
        actions: dict[str, int] = {}
        for record in run.tasks:
            if record["action"].startswith("ansible.builtin.assert"):
                chapter.facts.append(str(record["result"]["msg"]))
            elif record in ours(run):
                for action in [action for entry in record["result"].get(plural(record), []) for action in entry.get("actions", [])]:
                    what = action.partition(" (")[0]  # of a group or a series, the object follows
                    actions[what] = actions.get(what, 0) + 1
                if record["changed"]:
                    screen.line("changed", f"{record['task']} - as predicted")
            elif record["changed"]:
                screen.line("changed", record["task"])
        chapter.actions = [f"{action} x{count}" if count > 1 else action for action, count in actions.items()]
        for system in ("StorPool", "CloudStack"):
            # CloudStack's commands are written with a small letter.
            got = [call for call in writes if call[0].islower() == (system == "CloudStack")]
            if got:
                kinds = {call: got.count(call) for call in got}
                screen.line(system, f"got {', '.join(f'{count} {call}' for call, count in kinds.items())}")
        for fact in chapter.facts:
            screen.line("proved", fact)


# -- events: what happens to VMs and hosts before a chapter, as only a simulator can make it


def vms_are_deployed(tour: Tour) -> list[str]:
    """By CloudStack's API, as its users do it."""
    before = tour.sim.counters()["bytes_converted"]
    for name in (VM, OTHER_VM):
        tour.sim.deploy(name, offering="demo-machine")
    tour.converted = tour.sim.counters()["bytes_converted"] - before
    (iso,) = tour.sim.cs("listIsos", isofilter="all")[1]["iso"]
    disks = {one["name"]: one["id"] for one in tour.sim.cs("listDiskOfferings")[1]["diskoffering"]}
    tour.sim.deploy(ISO_VM, offering="demo-machine", templateid=iso["id"], hypervisor="KVM", diskofferingid=disks["demo-silver"], size=1)
    roots = {name: [disk["name"] for disk in vm["disks"]] for name, vm in tour.sim.vms().items()}
    tour.variables.update(demo_cloned_roots=roots[VM] + roots[OTHER_VM], demo_iso_roots=roots[ISO_VM])
    return [f"{VM} and {OTHER_VM} were deployed from the template, {ISO_VM} from the ISO {iso['name']}; they run"]


def a_vm_moves(tour: Tour) -> list[str]:
    """Live, with its encrypted volume, by CloudStack's API."""
    vm = tour.sim.vms()[OTHER_VM]
    names = {one["id"]: one["name"] for one in tour.sim.cs("listHosts", type="Routing")[1]["host"]}
    identity, target = next((key, name) for key, name in names.items() if name in HOSTS and key != vm["host"])
    tour.sim.cs_job("migrateVirtualMachine", virtualmachineid=vm["id"], hostid=identity)
    client = tour.sim.hosts()[target]["storpool"]["client"]
    disks = {address.lstrip("~") for address in tour.disks(OTHER_VM).values()}
    where = {one["client"] for one in tour.listing("AttachmentsList") if one["globalId"] in disks}
    if where != {client}:
        raise DemoFailed(f"{OTHER_VM} moved to {target}, and its disks are attached to the clients {where}, not to {client}")
    return [f"{OTHER_VM} moved from {names[vm['host']]} to {target} while it ran; its {len(disks)} disks are attached there alone"]


def a_pool_on_nfs(tour: Tour) -> list[str]:
    (zone,) = [one["id"] for one in tour.sim.cs("listZones")[1]["zone"] if one["name"] == ZONE]
    name = tour.variables["demo_nfs_pool"]
    given = {"name": name, "zoneid": zone, "scope": "zone", "hypervisor": "KVM", "tags": "nfs", "url": "nfs://192.0.2.7/export/demo"}
    status, answer = tour.sim.cs("createStoragePool", **given)
    if status != 200:
        raise DemoFailed(f"createStoragePool answered {status}: {answer}")
    return [f"{name} is a storage pool on NFS"]


def servers_restart(tour: Tour) -> list[str]:
    tour.sim.restart_server()
    tour.sim.cs_job("stopVirtualMachine", id=tour.sim.vms()[OTHER_VM]["id"])
    return [
        "the management servers were restarted, so the setting is in force",
        f"{OTHER_VM} was stopped: CloudStack takes no snapshot of an encrypted volume while it runs",
    ]


def damage(tour: Tour, what: str, disks: dict[str, str]) -> list[str]:
    for disk in disks.values():
        tour.sim.write(disk, b"damaged" * 1000, MEBIBYTE * 3)
    tour.damaged = tuple(disks)
    return [f"{what}: 7000 bytes of {', '.join(disks)} are damaged"]


def an_upgrade_goes_wrong(tour: Tour) -> list[str]:
    return damage(tour, "an upgrade goes wrong", tour.disks(VM) | tour.disks(OTHER_VM))


def a_second_try_goes_wrong(tour: Tour) -> list[str]:
    return damage(tour, "a second try goes wrong", {"demo-safe": tour.disks(OTHER_VM)["demo-safe"]})


def it_is_one_night(_tour: Tour) -> list[str]:
    """Names hold the day: what check mode says before midnight is not what is done after it."""
    left = A_DAY - time.time() % A_DAY
    if left > A_MINUTE:
        return []
    time.sleep(left)
    return ["midnight passed (UTC)"]


def vms_run(tour: Tour) -> list[str]:
    for number, name in enumerate(HOSTS, 1):
        tour.sim.vm(f"demo-app{number}", name)
    return [f"a VM runs on each of the hosts {', '.join(HOSTS)}"]


def a_host_dies(tour: Tour) -> list[str]:
    """Its power fails; CloudStack's own machinery does the rest, minutes of which pass here in a moment."""
    tour.sim.restart_server()
    lost, passed, step = HOSTS[0], 0, 20
    tour.sim.bmc(tour.sim.hosts()[lost]["bmc"], power="off")
    while (now := tour.sim.hosts()[lost])["ha"]["state"] != "Fenced" or now["resourcestate"] != "Maintenance":
        if passed > AN_HOUR:
            raise DemoFailed(f"{lost} lost its power and was not fenced: {now['ha']}")
        tour.sim.advance(step)
        passed += step
    runs_on = next(name for name, host in tour.sim.hosts().items() if "demo-app1" in host["vms"])
    restarted = "the management servers were restarted, so the setting is in force"
    return [restarted, f"{lost} lost its power", f"CloudStack fenced it within {passed // 60 + 1} minutes; demo-app1 runs on {runs_on} now"]


def it_is_repaired(tour: Tour) -> list[str]:
    lost = HOSTS[0]
    host = tour.sim.hosts()[lost]
    tour.sim.bmc(host["bmc"], power="on")
    tour.sim.client(host["storpool"]["client"], "running", host["storpool"]["cluster"])
    tour.sim.agent(lost, "up")
    tour.sim.vm("demo-app0", lost)  # it is not without a VM while it is taken back
    tour.sim.advance(10)
    return [f"{lost} was powered on; its agent and its StorPool client run"]


EVENTS: dict[str, Callable[[Tour], list[str]]] = {
    "cloud_roots": vms_are_deployed,
    "cloud_change": a_vm_moves,
    "cloud_copies": servers_restart,
    "cloud_nfs": a_pool_on_nfs,
    "cloud_group_revert": an_upgrade_goes_wrong,
    "cloud_revert": a_second_try_goes_wrong,
    "nightly": it_is_one_night,
    "retention": it_is_one_night,
    "protect": vms_run,
    "host_dies": a_host_dies,
    "host_returns": it_is_repaired,
}


# -- witnesses: what only a simulator can tell, around the real run of a chapter


@contextmanager
def nothing_is_copied(tour: Tour, chapter: Chapter) -> Iterator[None]:
    before = tour.sim.counters()["bytes_copied"]
    yield
    after = tour.sim.counters()
    if after["bytes_copied"] != before:
        raise chapter.fail(f"{after['bytes_copied'] - before} bytes were copied")
    chapter.facts.append(f"0 bytes were copied; everything together takes {screen.bytes_of(after['bytes_stored'])}")


def holds_the_image(snapshot: str) -> Callable[[Tour, Chapter], Any]:
    @contextmanager
    def witness(tour: Tour, chapter: Chapter) -> Iterator[None]:
        yield
        found = tour.sim.content(snapshot)["sha256"]
        if found != tour.image_sha256:
            raise chapter.fail(f"{snapshot} has sha256 {found}, the image {tour.image_sha256}")
        chapter.facts.append(f"{snapshot} holds the image, sha256 {found[:12]}")

    return witness


Pair = tuple[str, str]


def taken_while_written(volumes: Callable[[Tour], Pair], snapshots: Callable[[Tour], Pair]) -> Callable[[Tour, Chapter], Any]:
    """An application writes a number to one volume, then to the other, then the next number.

    Snapshots of one instant cannot be further apart than a single write; snapshots taken one after the other can.
    """

    @contextmanager
    def witness(tour: Tour, chapter: Chapter) -> Iterator[None]:
        written, begun, done, last = volumes(tour), threading.Event(), threading.Event(), 0

        def application() -> None:
            nonlocal last
            connection = Simulator(tour.sim.state_dir)  # a connection of its own to the one that runs
            connection.ready = tour.sim.ready
            try:
                while not done.wait(0.002):
                    number = last + 1
                    for volume in written:
                        connection.write(volume, number.to_bytes(8, "big"), tour.grown // 2)
                    last = number
                    begun.set()
            finally:
                begun.set()

        writer = threading.Thread(target=application)
        writer.start()
        try:
            begun.wait()
            yield
        finally:
            done.set()
            writer.join()
        a, b = (int.from_bytes(tour.sim.read(snapshot, tour.grown // 2, 8), "big") for snapshot in snapshots(tour))
        if not 0 < b <= a <= b + 1 or a > last:
            raise chapter.fail(f"the snapshots are not of one instant: the first stands at write {a}, the second at write {b}, of {last}")
        chapter.facts.append(f"taken while {2 * last} writes went to both in turn: one stands at write {a}, the other at {b}")

    return witness


def data_disks(tour: Tour) -> Pair:
    disks = tour.disks(VM)
    return disks["demo-data"], disks["demo-log"]


def stand_on(tour: Tour) -> Pair:
    """What the DATA volumes stand on, which is their newest snapshot."""
    first, second = (tour.parent(disk) for disk in data_disks(tour))
    return first, second


@contextmanager
def backed_up(tour: Tour, chapter: Chapter) -> Iterator[None]:
    before = tour.backups()
    yield
    sizes = [size for name, size in tour.backups().items() if name not in before]
    if len(sizes) != 1:
        raise chapter.fail(f"on secondary storage appeared {screen.count(len(sizes), 'file')}")
    chapter.facts.append(f"a file of {screen.bytes_of(sizes[0])} appeared on secondary storage")


@contextmanager
def made_of_snapshots(tour: Tour, chapter: Chapter) -> Iterator[None]:
    before, copied = tour.backups(), tour.sim.counters()["bytes_copied"]
    yield
    copied = tour.sim.counters()["bytes_copied"] - copied
    new = {name: size for name, size in tour.backups().items() if name not in before}
    backed_up = [name for name in new if name.startswith("snapshots/")]
    (row,) = tour.sim.cs_volumes(name="demo-copy")
    own = tour.sim.content(address(row))["own"]
    if backed_up or copied or own:
        raise chapter.fail(
            f"{copied} bytes were copied, {own} are demo-copy's own, on secondary storage appeared {backed_up or 'no snapshot'}"
        )
    if not any(name.startswith("template/") for name in new):
        raise chapter.fail("no template appeared on secondary storage")
    chapter.facts.append("no snapshot appeared on secondary storage")
    chapter.facts.append("0 bytes were copied for the volume, and it holds 0 bytes of its own")
    chapter.facts.append(f"the template is on secondary storage, {screen.bytes_of(max(new.values()))}")


@contextmanager
def disks_are_as_before(tour: Tour, chapter: Chapter) -> Iterator[None]:
    def unlike() -> list[str]:
        stand = {name: (disk, tour.parent(disk)) for vm in (VM, OTHER_VM) for name, disk in tour.disks(vm).items() if name in tour.damaged}
        return [name for name, pair in stand.items() if len({tour.sim.fingerprint(one) for one in pair}) > 1]

    before = unlike()
    yield
    after = unlike()
    if sorted(before) != sorted(tour.damaged) or after:
        raise chapter.fail(f"{before} differed from their snapshots before, {after} do after")
    chapter.facts.append(f"{', '.join(before)} differed from their snapshots; now every byte is theirs")


@contextmanager
def equal_their_snapshots(tour: Tour, chapter: Chapter) -> Iterator[None]:
    pairs = {volume: f"{volume}-before-upgrade" for volume in ("demo-vm03", "demo-vm04")}
    damaged = [volume for volume, snapshot in pairs.items() if tour.sim.content(volume)["sha256"] != tour.sim.content(snapshot)["sha256"]]
    yield
    for volume, snapshot in pairs.items():
        if tour.sim.content(volume)["sha256"] != tour.sim.content(snapshot)["sha256"]:
            raise chapter.fail(f"{volume} does not hold what {snapshot} holds")
    chapter.facts.append(f"{' and '.join(damaged)} differed from their snapshots; now every byte is theirs")


@contextmanager
def converted_once(tour: Tour, chapter: Chapter) -> Iterator[None]:
    before = tour.sim.counters()["bytes_converted"]
    yield
    converted = tour.sim.counters()["bytes_converted"] - before
    if not converted:
        raise chapter.fail("no host converted anything, so the template was cached before")
    chapter.facts.append(f"a host converted {screen.bytes_of(converted)} of the template, once")


@contextmanager
def cloned_without_bytes(tour: Tour, chapter: Chapter) -> Iterator[None]:
    yield
    disks = tour.disks(VM) | tour.disks(OTHER_VM)
    own = {name: tour.sim.content(disks[name])["own"] for name in tour.variables["demo_cloned_roots"]}
    if tour.converted or any(own.values()):
        raise chapter.fail(f"{tour.converted} bytes were converted for them, and they hold bytes of their own: {own}")
    chapter.facts.append(f"0 bytes were converted for {' and '.join(own)}, and they hold 0 bytes of their own")


@contextmanager
def born_at_the_first_attach(tour: Tour, chapter: Chapter) -> Iterator[None]:
    yield
    calls = [one["call"] for one in tour.sim.calls()["calls"] if one["write"]]
    if "VolumeCreate" in calls[: calls.index("attachVolume")] or calls.count("VolumeCreate") != calls.count("createVolume"):
        raise chapter.fail("the volumes were not made on StorPool by their first attach", *calls)
    chapter.facts.append("CloudStack made them on StorPool when they were attached, not before")
    if tour.sim.read(tour.disks(OTHER_VM)["demo-safe"], 0, len(LUKS)) != LUKS:
        raise chapter.fail("demo-safe does not begin as an encrypted volume does")
    chapter.facts.append("the encrypted one begins with a LUKS header, not with what the VM writes")


@contextmanager
def seen_by_the_host(tour: Tour, chapter: Chapter) -> Iterator[None]:
    def seen() -> int:
        (data,) = [disk for disk in tour.sim.vms()[VM]["disks"] if disk["name"] == "demo-data"]
        return data["seen"]

    def safe() -> tuple[str, str]:
        disk = tour.disks(OTHER_VM)["demo-safe"]
        return tour.sim.fingerprint(disk), tour.listing(f"Volume/{disk}")[0]["templateName"]

    def tier() -> str | None:
        return tour.listing(f"Volume/{tour.disks(VM)['demo-log']}")[0]["tags"].get("qc")

    before, (content, template) = seen(), safe()
    yield
    after, (moved, on_template) = seen(), safe()
    if after <= before:
        raise chapter.fail(f"the host of {VM} sees {after} bytes of demo-data as before")
    if moved != content or on_template == template:
        raise chapter.fail(f"demo-safe did not move from {template} with all its bytes; it is on {on_template}")
    if tier() != tour.variables["demo_qos_class"]:
        raise chapter.fail(f"demo-log has the QoS class {tier()}")
    chapter.facts.append(f"the host of {VM} sees {screen.bytes_of(after)} of demo-data instead of {screen.bytes_of(before)}")
    chapter.facts.append(f"on StorPool demo-log has the QoS class {tier()}")
    chapter.facts.append(f"demo-safe moved from StorPool template {template} to {on_template} with every byte")


@contextmanager
def moved_whole(tour: Tour, chapter: Chapter) -> Iterator[None]:
    """Both are read past CloudStack: StorPool's bytes, and the file on the NFS server."""

    def copy() -> tuple[str, str]:
        (row,) = tour.sim.cs_volumes(name="demo-copy")
        if row["path"].startswith("/dev/storpool-byid/"):
            content = tour.sim.read(address(row), 0, row["size"])
        else:
            content = (tour.sim.state_dir / "primary" / row["storageid"] / row["path"]).read_bytes()
        return row["storage"], hashlib.sha256(content).hexdigest()

    (before, content) = copy()
    yield
    (after, moved) = copy()
    if after == before or moved != content:
        raise chapter.fail(f"demo-copy was on {before} with sha256 {content}, and is on {after} with {moved}")
    chapter.facts.append(f"demo-copy moved from {before} to {after} with every byte, sha256 {content[:12]}")


WITNESSES: dict[str, Callable[[Tour, Chapter], Any]] = {
    "clones": nothing_is_copied,
    "cloud_ground": converted_once,
    "cloud_roots": cloned_without_bytes,
    "cloud_data": born_at_the_first_attach,
    "cloud_change": seen_by_the_host,
    "cloud_snapshots": backed_up,
    "cloud_copies": made_of_snapshots,
    "cloud_nfs": moved_whole,
    "cloud_nfs_back": moved_whole,
    "cloud_group": taken_while_written(data_disks, stand_on),
    "cloud_group_revert": disks_are_as_before,
    "cloud_revert": disks_are_as_before,
    "group_snapshot": taken_while_written(
        lambda _tour: ("demo-vm03", "demo-vm04"), lambda _tour: ("demo-vm03-before-upgrade", "demo-vm04-before-upgrade")
    ),
    "revert": equal_their_snapshots,
    "delete": holds_the_image("demo-vm09-kept"),
}


# -- the whole

# What the plugin does, by the headings of StorPool's document on it, and the chapters that show it.
SECTIONS = {
    "Creating template from a snapshot": ("cloud_copies",),
    "Creating ROOT volume from templates": ("cloud_ground", "cloud_roots", "demo_clean_up"),
    "Creating a ROOT volume from an ISO image": ("cloud_roots",),
    "Creating a DATA volume": ("cloud_data",),
    "Creating volume from snapshot": ("cloud_copies",),
    "Resizing volumes": ("cloud_change",),
    "Creating snapshots": ("cloud_snapshots", "cloud_copies", "demo_clean_up"),
    "Reverting volume to snapshot": ("cloud_revert",),
    "Migrating volumes to other storage pools": ("cloud_change", "cloud_nfs", "cloud_nfs_back"),
    "Virtual machine snapshot and group snapshot": ("group_snapshot", "cloud_group", "cloud_group_revert"),
    "BW/IOPS limitations": ("cloud_ground", "cloud_roots", "cloud_change"),
    "Support for host HA": ("protect", "host_dies", "host_returns", "protected_again"),
    "Supported operations for volume encryption": (
        "cloud_data",
        "cloud_change",
        "cloud_copies",
        "cloud_group",
        "cloud_group_revert",
        "cloud_revert",
        "demo_clean_up",
    ),
}


def what_is_there(overview: playbooks.Run) -> None:
    """Show what the last chapter found."""
    for record in ours(overview):
        kind = record["action"].rpartition("storpool_")[2].removesuffix("_info")
        screen.table(
            [f"{kind}", "size", "stands on", "iops", "attached to", "tags", "deleted on", "own data"],
            [
                (
                    one["name"],
                    screen.bytes_of(one["size"]),
                    one["parent"],
                    one["iops"],
                    [f"{to['client']} {to['rights']}" for to in one["attachments"]],
                    " ".join(f"{key}={tag}" for key, tag in one["tags"].items() if key != "demo") or None,
                    one.get("delete_at") and time.strftime("%Y-%m-%d", time.gmtime(one["delete_at"])),
                    screen.bytes_of(one["stored"]),
                )
                for one in record["result"][f"{kind}s"]
            ],
        )
        screen.show()


def clean_up(tour: Tour) -> Chapter:
    """Take it all away with the collection's own means, and see that no byte stays behind."""
    chapter = Chapter(CLEAN_UP, "Clean up", "")
    screen.command(f"{chapter.command} --check --diff")
    predicted, writes = tour.play(chapter, check=True, diff=True)
    screen.line("would change", f"{sum(record['changed'] for record in ours(predicted))} of {len(ours(predicted))} tasks")
    screen.command(chapter.command)
    real, _writes = tour.play(chapter, diff=True)
    wrong = differences(predicted, real) + [f"check mode wrote {call}" for call in writes]
    if wrong:
        raise chapter.fail("the real run was not what check mode predicted", *wrong)
    again, writes = tour.play(chapter, diff=True)
    wrong = not_silent(again, writes)
    if wrong:
        raise chapter.fail("run again, it was not silent", *wrong)
    for name in (VM, OTHER_VM, ISO_VM):
        tour.sim.cs_job("destroyVirtualMachine", id=tour.sim.vms()[name]["id"], expunge=True)
    (template,) = tour.sim.cs("listTemplates", templatefilter="all", name=TEMPLATE)[1]["template"]
    tour.sim.cs_job("deleteTemplate", id=template["id"])
    screen.line("happened", f"the VMs were expunged, and the template {TEMPLATE} was deleted")
    if not tour.names():
        raise chapter.fail(f"the cache of {TEMPLATE} went with it, not by CloudStack's cleanup")
    tour.sim.advance(TWO_DAYS)
    tour.sim.settle()
    screen.line("happened", "two days passed, in which CloudStack's cleanup collected what was cached of it")
    left = tour.sim.counters()
    if tour.names() or left["files"]:
        raise chapter.fail(f"{', '.join(tour.names())} and {left['bytes_stored']} bytes are left")
    chapter.facts = [f"the cache of the deleted template {TEMPLATE} was collected", "no volume, no snapshot and no byte is left"]
    for fact in chapter.facts:
        screen.line("proved", fact)
    return chapter


def run_tour(image: Path, directory: Path, devices: str) -> None:
    state = directory / "state"
    size = image.stat().st_size
    if not size or size % SECTOR:
        raise DemoFailed(f"{image} has {size} bytes; a disk image has a multiple of {SECTOR}")
    grown = max(8, -(-size // MEBIBYTE)) * 2
    with Simulator(state, devices=devices, cloudstack=CLOUDSTACK, assume=SOON) as sim:
        known = sim.hosts()
        tour = Tour(
            sim=sim,
            image_sha256=hashlib.sha256(image.read_bytes()).hexdigest(),
            grown=grown * MEBIBYTE,
            env={
                **playbooks.connection(sim),
                "TMPDIR": str(directory),
                "ANSIBLE_REMOTE_TMP": str(directory / "remote"),
                "ANSIBLE_FORCE_COLOR": "false",
            },
            variables={
                "demo_image": str(image),
                "demo_grown_size": f"{grown}M",
                "demo_client": CLIENT,
                "demo_devices": str(sim.devices / CLUSTER / str(CLIENT) / "storpool"),
                "demo_other_client": OTHER_CLIENT,
                "demo_other_devices": str(sim.devices / CLUSTER / str(OTHER_CLIENT) / "storpool"),
                "demo_ha_hosts": [{"host": name, "oobm_address": known[name]["bmc"]} for name in HOSTS],
                "demo_oobm_username": BMC_USER,
                "demo_oobm_password": BMC_PASSWORD,
                "demo_sp_node_ids": {name: known[name]["storpool"]["client"] for name in HOSTS},
                "demo_zone": ZONE,
                "demo_cloud_template": TEMPLATE,
                "demo_nfs_pool": "demo-nfs",
                "demo_qos_class": "fast",
            },
        )
        screen.show(f"A simulated StorPool answers at {sim.url}; attached volumes appear as {DEVICES[sim.ready['deviceMode']]}.")
        screen.show(f"A simulated CloudStack {CLOUDSTACK} answers at {sim.cloudstack['url']}.")
        screen.show(f"The disk image has {size} bytes, sha256 {tour.image_sha256}.")
        story = chapters()
        for number, chapter in enumerate(story, 1):
            screen.heading(f"{number}/{len(story)}  {chapter.short}: {chapter.title}")
            overview = tour.chapter(chapter)
        screen.heading("What is there at the end")
        what_is_there(overview)
        screen.heading("Nothing is to stay behind")
        last = clean_up(tour)
        screen.heading("What was shown")
        rows = [(one.short, one.actions, "yes" if one.actions else None, "silent", one.facts) for one in story]
        rows.append((last.short, None, "yes", "silent", last.facts))
        screen.table(["chapter", "what was done", "check = real", "again", "proof"], rows)
        screen.show()
        by_name = {one.name: one.short for one in (*story, last)}
        screen.table(
            ["what the plugin does", "shown in"],
            [(section, ", ".join(by_name[name] for name in names)) for section, names in SECTIONS.items()],
        )


def ended(number: int, _frame: Any) -> None:
    sys.exit(128 + number)


def adopt_orphans() -> None:
    """Processes that are left over when their parent is killed become children of this one (Linux: PR_SET_CHILD_SUBREAPER)."""
    ctypes.CDLL(None).prctl(36, 1)


def end_children() -> None:
    """What was broken off may have left workers of Ansible, which have sessions of their own and hear of no Ctrl-C."""
    while children := [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if parent_of(pid) == os.getpid()]:
        for pid in children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def parent_of(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return None


def main() -> int:
    parser = argparse.ArgumentParser(description="The demo of the collection")
    parser.add_argument("--image", type=Path, required=True, help="a disk image")
    parser.add_argument("--devices", default="auto", choices=["auto", *DEVICES], help="how attached volumes appear; loop devices need root")
    arguments = parser.parse_args()
    # An end by SIGTERM leaves the `with` blocks like any other: the simulator ends and its files go.
    signal.signal(signal.SIGTERM, ended)
    adopt_orphans()
    started = time.monotonic()
    CACHE.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="run-", dir=CACHE))
    tempfile.tempdir = str(directory)
    try:
        run_tour(arguments.image.resolve(), directory, arguments.devices)
    except DemoFailed as failure:
        screen.show("\n" + screen.paint("failed", "The demo failed: ") + str(failure))
        return 1
    except KeyboardInterrupt:
        screen.show("\nThe demo was broken off; nothing is left running.")
        return 130
    finally:
        end_children()
        shutil.rmtree(directory, ignore_errors=True)
    screen.show(f"\nThe demo took {time.monotonic() - started:.0f} s. The simulator has ended and its files are gone.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
