# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 4: disk images as StorPool snapshots, without CloudStack.

The way is that of the plugin (sheet cloudstack-storpool, section 4.7): volume, attachment, ``qemu-img convert``, detachment, snapshot,
volume gone. What is under way stands on a work volume whose name follows from the snapshot's, and how far it is, in its tags; so a run that
finds one goes on from there, or takes it away.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from .. import _storpool as sp
from .._errors import ChangeRefused, CollectionError, OptionError
from .._files import check_writable, write_whole
from .._foresight import made_up_id
from .._image import Image, copy_to_device, device_of, parse_checksum, read_image, require_qemu_img
from .._options import STORPOOL_CONF, read_storpool_conf
from .._plan import Change, Plan
from .._units import NAME_LENGTH, format_size, parse_duration, parse_tags, parse_template_name, parse_volume_name, parse_whole
from ._shared import (
    FRESH_SNAPSHOT,
    POLICY,
    USUAL_POLICY,
    Attachments,
    address_of,
    attachments_of,
    check_known,
    check_single,
    fetch_named,
    for_diff,
    foresee_no_snapshot,
    index_attachments,
    name_shared,
    raw_policy,
    reassignment,
    tag_changes,
    template_gives,
    with_tags,
)

# Tags of a snapshot made from an image.
CHECKSUM, SOURCE, FORMAT = "ansible-image", "ansible-image-source", "ansible-image-format"
# Tags of its work volume: what it is for, and that all of it has been written. Both have the checksum as their value.
UNDER_WAY, FILLED = "ansible-image-work", "ansible-image-filled"

DEVICES = "/dev/storpool"  # links of StorPool's, by the name of the volume
WAIT = 60  # seconds for attachment and device
_SUFFIX = ".ansible-image"
_OWN_TAGS = (CHECKSUM, SOURCE, FORMAT)
_STEP = 10  # percent; more often nobody is told


@dataclass
class WantedImage:
    """One declared snapshot of an image; ``None`` means that the option was not given."""

    label: str
    name: str
    state: str
    image: str
    checksum: str | None
    format: str | None
    template: str | None
    tags: dict[str, str]
    client: int | None
    devices: str
    verify: bool
    progress_file: str | None
    wait_timeout: int
    exclusive: bool = True  # for :func:`reassignment`: whoever has the work volume is left over from a run that was cut short
    force: bool = False

    @property
    def work(self) -> str:
        """The name of the work volume."""
        return self.name + _SUFFIX

    def names(self) -> Sequence[str]:
        return (self.name, self.work)

    def needs(self) -> Sequence[str]:
        return ()


@dataclass
class World:
    """What was read. ``images`` are the files, or what is wrong with them, by what was declared of them; ``clients`` are the states of the
    clients by id; ``here`` is this host's client id, ``trouble`` what would keep an image from being written."""

    snapshots: dict[str, dict[str, Any]]
    volumes: dict[str, dict[str, Any]]
    attachments: Attachments = field(default_factory=dict)
    templates: dict[str, dict[str, Any]] = field(default_factory=dict)
    clients: dict[int, str] = field(default_factory=dict)
    images: dict[tuple[str, str | None, str | None], Image | CollectionError] = field(default_factory=dict)
    here: int | None = None
    trouble: CollectionError | None = None


class Images:
    """Snapshots made from image files."""

    kind = "image"

    # -- desired

    def parse(self, options: Mapping[str, Any]) -> WantedImage:
        """Return what is wanted of one image. :raises OptionError: names the option that cannot be meant."""
        if options["name"] is None:
            raise OptionError("name", None, "is needed with image: the name of the snapshot that is made from it")
        name = parse_volume_name(options["name"])
        if len(name) + len(_SUFFIX) > NAME_LENGTH:
            raise OptionError("name", name, f"is longer than {NAME_LENGTH - len(_SUFFIX)} characters")
        client = options["client"]
        if client is not None and parse_whole(client, 1, 4095) is None:
            raise OptionError("client", client, "is no client id (1 to 4095, SP_OURID on that host)")
        tags = parse_tags(options["tags"] or {})
        reserved = next((tag for tag in tags if tag in _OWN_TAGS), None)
        if reserved:
            raise OptionError(f"tags.{reserved}", tags[reserved], "is a tag by which images are recognised; choose another")
        return WantedImage(
            label=name,
            name=name,
            state=options["state"] or "present",
            image=os.path.expanduser(options["image"]),
            checksum=parse_checksum(options["checksum"]) if options["checksum"] is not None else None,
            format=options["format"],
            template=parse_template_name(options["template"]) if options["template"] is not None else None,
            tags=tags,
            client=client,
            devices=options["device_directory"] or DEVICES,
            verify=bool(options["verify"]),
            progress_file=options["progress_file"],
            wait_timeout=parse_duration(options["wait_timeout"], "wait_timeout") if options["wait_timeout"] is not None else WAIT,
        )

    # -- observe

    def observe(self, client: sp.StorPool, wanted: Sequence[WantedImage]) -> World:
        """Read the snapshots and work volumes, and of files and cluster what is needed to make those that are missing."""
        one = len(wanted) == 1 and not client.connection.multi_cluster
        if one:
            world = World(*(fetch_named([name], read, list) for name, read in zip(wanted[0].names(), (client.snapshot, client.volume))))
        else:
            world = World(sp.by_name(client.snapshots()), sp.by_name(client.volumes()))
        missing = []
        for each in wanted:
            snapshot = self._snapshot(each, world)
            if each.state == "absent":
                continue
            if each.checksum is None or snapshot is None:
                world.images[_declared(each)] = self._look_at(each)
            if snapshot is None:
                missing.append(each)
            elif each.template and snapshot["templateName"] != each.template:
                world.templates = world.templates or sp.by_name(client.templates())
        if missing:
            self._observe_to_make(client, missing, world, one)
        if any(each.work in world.volumes or (each.state == "absent" and each.name in world.snapshots) for each in wanted):
            world.attachments = index_attachments(client.attachments())
        return world

    @staticmethod
    def _observe_to_make(client: sp.StorPool, missing: Sequence[WantedImage], world: World, one: bool) -> None:
        """Read all that could be in the way, before a copy that may take long."""
        if one:
            namesake = client.volume(missing[0].name)
            world.volumes.update({namesake["name"]: namesake} if namesake else {})
        if any(each.template for each in missing):
            world.templates = sp.by_name(client.templates())
        world.clients = {int(each["id"]): str(each["configStatus"]) for each in client.clients_config()}
        world.here = _own_id()
        try:
            require_qemu_img()
        except CollectionError as exc:
            world.trouble = exc

    @staticmethod
    def _look_at(wanted: WantedImage) -> Image | CollectionError:
        try:
            if wanted.progress_file:
                check_writable(os.path.expanduser(wanted.progress_file), "progress_file")
            return read_image(wanted.image, wanted.format, wanted.checksum)
        except CollectionError as exc:
            return exc

    # -- plan

    def plan(self, wanted: WantedImage, world: World) -> Plan:
        """Return what to do about one image."""
        snapshot = self._snapshot(wanted, world)
        before = image_object(snapshot) if snapshot else None
        try:
            for raw, kind in ((snapshot, "snapshot"), (world.volumes.get(wanted.work), "volume")):
                if raw:
                    check_single(kind, raw)
            work = self._work(wanted, world)
            if wanted.state == "absent":
                return self._plan_absent(wanted, snapshot, before, work, world)
            if snapshot is None:
                return self._plan_new(wanted, work, world)
            return self._plan_there(wanted, snapshot, before, work, world)
        except CollectionError as exc:
            return Plan(wanted.label, before, before, refused=exc)

    @staticmethod
    def _snapshot(wanted: WantedImage, world: World) -> dict[str, Any] | None:
        found = world.snapshots.get(wanted.name)
        return None if found is None or found.get("deleted") else found

    @staticmethod
    def _work(wanted: WantedImage, world: World) -> dict[str, Any] | None:
        """Return the work volume. :raises ChangeRefused: something else has its name."""
        found = world.volumes.get(wanted.work)
        if found is not None and UNDER_WAY not in (found.get("tags") or {}):
            raise ChangeRefused(
                f"a volume {wanted.work} exists that is not from here (it has no tag {UNDER_WAY})", hint="rename it, or choose another name"
            )
        return found

    def _plan_there(
        self, wanted: WantedImage, snapshot: Mapping[str, Any], before: dict[str, Any], work: dict[str, Any] | None, world: World
    ) -> Plan:
        """Plan for a snapshot that exists: it has to be of this image; what a run left behind goes."""
        checksum = wanted.checksum or _image(wanted, world).checksum
        if before["checksum"] != checksum:
            what = f"holds an image with {before['checksum']}" if before["checksum"] else "was not made from an image"
            raise ChangeRefused(
                f"snapshot {wanted.name} {what}, and {wanted.image} has {checksum}",
                hint="give each image a snapshot of its own (a version in the name), or delete this one first",
                checksum=before["checksum"],
            )
        body: dict[str, Any] = {}
        after = dict(before)
        tags = tag_changes(before["tags"], wanted.tags, exact=False)
        if tags:
            body["tags"], after["tags"] = tags, with_tags(before["tags"], tags)
        if wanted.template and wanted.template != before["template"]:
            template_gives(wanted.template, world.templates)
            body["template"] = after["template"] = wanted.template
        changes = [Change("update " + ", ".join(body), sp.snapshot_update(wanted.name, body))] if body else []
        return Plan(wanted.label, before, after, [*self._away(wanted, work, world), *changes])

    def _plan_new(self, wanted: WantedImage, work: dict[str, Any] | None, world: World) -> Plan:
        image = _image(wanted, world)
        if world.trouble:
            raise world.trouble
        if wanted.name in world.volumes:
            raise name_shared("volume", wanted.name)
        client = self._client(wanted, world)
        given = template_gives(wanted.template, world.templates)
        if given and given["parent"]:
            raise OptionError("template", wanted.template, "makes volumes from a parent snapshot, so they would not be empty; take another")
        tags = {
            **wanted.tags,
            CHECKSUM: image.checksum,
            SOURCE: re.sub(r"[^A-Za-z0-9_.:-]", "_", os.path.basename(wanted.image))[-NAME_LENGTH:],
            FORMAT: image.format,
        }
        after = {
            "name": wanted.name, "global_id": None, "size": image.volume_size, "template": wanted.template,
            "checksum": image.checksum, "source": tags[SOURCE], "format": image.format, "tags": with_tags({}, tags),
        }  # fmt: skip
        changes: list[Change] = []
        if work and not self._fits(work, wanted, image):
            changes += self._away(wanted, work, world, "leftover")
            work = None
        attached = attachments_of(world.attachments, work) if work else []
        fresh = work is None
        if fresh:
            body = {"name": wanted.work, "size": image.volume_size, "tags": {UNDER_WAY: image.checksum}}
            changes.append(
                Change("create volume", sp.volume_create({**body, **({"template": wanted.template} if wanted.template else {})}))
            )
        if fresh or work["tags"].get(FILLED) != image.checksum:
            attach, attached = reassignment("volume", {"name": wanted.work, "attachments": attached}, {client: "rw"}, wanted)
            changes += [replace(change, action=f"{change.action} volume") for change in attach]
            marked = sp.volume_update(wanted.work, {"tags": {FILLED: image.checksum}})
            changes.append(Change("fill and verify" if wanted.verify else "fill", marked, work=_filling(wanted, image, fresh)))
        if attached:
            changes.append(self._detach(wanted))
        snapshot = sp.snapshot_create(wanted.work, {"name": wanted.name, "tags": tags})
        changes.append(Change("snapshot", snapshot, {"snapshotGlobalId": "global_id"}))
        changes.append(Change("delete volume", sp.volume_delete(wanted.work)))
        return Plan(wanted.label, None, after, changes)

    @staticmethod
    def _client(wanted: WantedImage, world: World) -> int:
        """Return the client that writes the image. :raises CollectionError: it is not known, or not up."""
        client = wanted.client or world.here
        if client is None:
            raise OptionError(
                "client",
                None,
                f"is needed: this host has no SP_OURID in the environment or {STORPOOL_CONF}; run the task on a StorPool client",
            )
        check_known("client", client, world.clients, "client")
        if world.clients[client] == "down":
            raise ChangeRefused(f"client {client} is down, so nothing can be attached there", hint="start storpool_block on that host")
        return client

    @staticmethod
    def _fits(work: Mapping[str, Any], wanted: WantedImage, image: Image) -> bool:
        """Tell whether a run for this very image made the work volume; then its tags tell how far it got."""
        return (
            work["tags"][UNDER_WAY] == image.checksum
            and work["size"] == image.volume_size
            and (wanted.template is None or work["templateName"] == wanted.template)
        )

    def _away(self, wanted: WantedImage, work: dict[str, Any] | None, world: World, what: str = "volume") -> list[Change]:
        """Return what takes a work volume away. It is not forced from a host that has it open: a run is still writing there."""
        if work is None:
            return []
        detach = [self._detach(wanted, f"detach {what}")] if attachments_of(world.attachments, work) else []
        return [*detach, Change(f"delete {what}", sp.volume_delete(wanted.work))]

    @staticmethod
    def _detach(wanted: WantedImage, word: str = "detach volume") -> Change:
        return Change(word, sp.reassign_wait([{"volume": wanted.work, "detach": "all"}], wanted.wait_timeout))

    def _plan_absent(
        self,
        wanted: WantedImage,
        snapshot: Mapping[str, Any] | None,
        before: dict[str, Any] | None,
        work: dict[str, Any] | None,
        world: World,
    ) -> Plan:
        changes = self._away(wanted, work, world)
        if snapshot is not None:
            if before["checksum"] is None:
                raise ChangeRefused(
                    f"snapshot {wanted.name} was not made from an image", hint="delete it with storpool_snapshot, if it is meant to go"
                )
            have = attachments_of(world.attachments, snapshot)
            if have:
                where = ", ".join(str(one["client"]) for one in have)
                raise ChangeRefused(f"snapshot {wanted.name} is attached to client {where}", hint="detach it with storpool_snapshot first")
            changes.append(Change("delete", sp.snapshot_delete(address_of(before))))
        return Plan(wanted.label, before, None, changes)

    def foresee(self, client: sp.StorPool, wanted: WantedImage, plan: Plan, world: World) -> None:
        """Enter the snapshot as it will be; the work volume that a run left behind will be gone."""
        work = world.volumes.get(wanted.work)
        if work:
            client.foresee("volume", work["globalId"], None)
            client.foresee("attachment", work["globalId"], [])
        present = plan.before and client.as_foreseen("snapshot", world.snapshots[wanted.name])
        if plan.after is None:
            if present:
                foresee_no_snapshot(client, present)
            return
        policy = {} if present else dict(USUAL_POLICY)
        if wanted.template and plan.after["template"] != (plan.before or {}).get("template"):
            given = template_gives(wanted.template, world.templates)
            policy.update((key, given[key]) for key in POLICY if given[key] is not None)
        row = present or {
            **FRESH_SNAPSHOT, "creationTimestamp": int(time.time()), "onVolume": "-", "parentName": "", "globalId": made_up_id(),
            "size": plan.after["size"],
        }  # fmt: skip
        own = {"name": plan.after["name"], "templateName": plan.after["template"] or "", "tags": plan.after["tags"]}
        client.foresee("snapshot", row["globalId"], {**row, **raw_policy(policy), **own})

    def show(self, document: dict[str, Any]) -> dict[str, Any]:
        """Return a snapshot for the diff."""
        return for_diff(document, "global_id")


def image_object(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return a snapshot made from an image as results show it, from the API's SnapshotSummary."""
    tags = with_tags({}, raw.get("tags") or {})
    return {
        "name": raw["name"],
        "global_id": raw["globalId"],
        "size": raw["size"],
        "template": raw["templateName"] or None,
        "checksum": tags.get(CHECKSUM),
        "source": tags.get(SOURCE),
        "format": tags.get(FORMAT),
        "tags": tags,
    }


def _declared(wanted: WantedImage) -> tuple[str, str | None, str | None]:
    return wanted.image, wanted.format, wanted.checksum


def _image(wanted: WantedImage, world: World) -> Image:
    """Return the file's facts. :raises CollectionError: it cannot be taken."""
    found = world.images[_declared(wanted)]
    if isinstance(found, CollectionError):
        raise found
    return found


def _own_id() -> int | None:
    """Return the client id of the host where the task runs, where StorPool's own tools find it."""
    setting = read_storpool_conf().get("SP_OURID")
    return parse_whole(os.environ.get("SP_OURID") or (setting.value if setting else ""), 1, 4095)


def _filling(wanted: WantedImage, image: Image, fresh: bool) -> Callable[[Any, Callable[[str], None]], None]:
    """Return the work that writes the image to the attached work volume; one that fails takes the volume away again."""

    def fill(client: Any, tell: Callable[[str], None]) -> None:
        report = _Progress(wanted, image, tell)
        try:
            device = device_of(wanted.devices, wanted.work, image.volume_size, wanted.wait_timeout)
            copy_to_device(image, device, fresh, wanted.verify, report)
        except CollectionError as exc:
            with suppress(CollectionError):
                client.send(sp.reassign_wait([{"volume": wanted.work, "detach": "all"}], wanted.wait_timeout))
                client.send(sp.volume_delete(wanted.work))
                exc.message += f"; volume {wanted.work}, which was to become the snapshot, was deleted again"
            raise

    return fill


class _Progress:
    """Tells people, and a file that others can watch, how far a copy is."""

    def __init__(self, wanted: WantedImage, image: Image, tell: Callable[[str], None]) -> None:
        self._wanted = wanted
        self._image = image
        self._tell = tell
        self._last = ("", -1)
        self._told = ("", -1)

    def __call__(self, step: str, percent: float) -> None:
        now = (step, int(percent))
        if now == self._last:
            return
        self._last = now
        if self._wanted.progress_file:
            self._write(step, now[1])
        if step != self._told[0] or now[1] >= self._told[1] + _STEP or now[1] == 100:
            self._told = now
            self._tell(f"{self._wanted.name}: {step} {now[1]} % of {format_size(self._image.volume_size)}")

    def _write(self, step: str, percent: int) -> None:
        """Replace the file in one step, so that whoever reads it finds a whole document. :raises OptionError: it cannot be written."""
        path = os.path.expanduser(self._wanted.progress_file)
        document = {"name": self._wanted.name, "image": self._image.path, "size": self._image.size, "step": step, "percent": percent}
        write_whole(path, "progress_file", json.dumps(document) + "\n")


IMAGES = Images()
