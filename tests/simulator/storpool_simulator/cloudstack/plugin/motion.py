# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How volumes get from pool to pool (``StorPoolDataMotionStrategy``, ``StorPoolPrimaryDataStoreDriver``; plugin sheet 5.8)."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from .. import errors, nfs, qemu, storage
from ..work import Chore, Steps
from . import agents, extraction, tags
from . import volumes as driver
from .client import Client, StorPoolError, address_of, gid_of, path_of, text_of

if TYPE_CHECKING:
    from ...store import Document
    from ..cloud import Cloud

FAILURES = (StorPoolError, agents.HostError, qemu.ImageError, OSError)


# Without a running VM, and the live change between two StorPool pools


def change_template(cloud: Cloud, volume: Document, pool: Document) -> None:
    """Live: the volume stays what it is, with the placement of the other pool. Raises ServerError."""
    try:
        client = Client.of_pool(cloud, pool)
        client.volume_update(gid_of(volume["path"]), template=client.template)
    except StorPoolError as error:
        raise errors.failure(f"Migrate volume failed: Could not migrate volume {volume['name']} due to {error.text}") from error
    cloud.volumes.change(volume["id"], pool=pool["id"])
    cloud.world.commit()


def move(cloud: Cloud, volume: Document, pool: Document) -> Steps:
    """Offline: another volume comes about, and the old one goes; the path changes. Raises ServerError."""
    here, there = storage.on_storpool(cloud.pools[volume["pool"]]), storage.on_storpool(pool)
    try:
        if here and there:
            path = _copied(cloud, volume, pool)
        elif there:
            path = yield from _from_nfs(cloud, volume, pool)
        elif here:
            path = yield from _to_nfs(cloud, volume, pool)
        else:
            path = yield from _between_nfs(cloud, volume, pool)
    except FAILURES as error:
        raise errors.failure(f"Migrate volume failed: Could not copy volume {volume['name']}: {text_of(error)}") from error
    _settle(cloud, volume, pool, path)


def _settle(cloud: Cloud, volume: Document, pool: Document, path: str) -> None:
    """The record points to the new volume first, so that a server that goes down leaves the old one over at worst."""
    old = dict(volume)
    cloud.volumes.change(volume["id"], pool=pool["id"], path=path)
    cloud.world.commit()
    try:
        driver.delete(cloud, old)
    except errors.ServerError as error:
        cloud.journal.add("WARN", "VolumeServiceImpl", f"the source volume of a migration stays: {error.text}", volume=volume["id"])


def _copied(cloud: Cloud, volume: Document, pool: Document) -> str:
    """StorPool copies by reference; it may do so on another cluster of the location only if the volume is there."""
    client = Client.of_pool(cloud, pool)
    vm = driver.vm_of(cloud, volume)
    wanted = tags.tags(volume["id"], tags.VOLUME, vm and vm["id"], tags.policy_of(cloud, vm))
    gid = client.volume_create(None, wanted, baseOn=address_of(volume["path"]), iops=volume["maxiops"])
    return path_of(gid)


def _new_volume(cloud: Cloud, client: Client, volume: Document, policy: bool) -> str:
    vm = driver.vm_of(cloud, volume)
    wanted = tags.tags(volume["id"], tags.VOLUME, vm and vm["id"], tags.policy_of(cloud, vm) if policy else None)
    return client.volume_create(volume["size"], wanted, iops=volume["maxiops"])


def _from_nfs(cloud: Cloud, volume: Document, pool: Document) -> Steps:
    """A host converts the file into a new volume."""
    client = Client.of_pool(cloud, pool)
    source = nfs.file_of(cloud, volume)
    gid = _new_volume(cloud, client, volume, True)
    try:
        host = agents.endpoint(cloud, volume["zone"], client.cluster.id)
        yield from agents.delayed(cloud, agents.DOWNLOAD_VOLUME, volume["id"], volume["name"])
        agents.attach(cloud, host, gid)
        try:
            target = agents.writable(cloud, gid)
            yield Chore(lambda: qemu.convert(source, "raw", target, existing=True, empty=True))
            agents.written(cloud, gid)
        finally:
            agents.detach(cloud, host, gid, force=True)
    except Exception:
        client.volume_delete(gid)
        raise
    return path_of(gid)


def _to_nfs(cloud: Cloud, volume: Document, pool: Document) -> Steps:
    """Over secondary storage, from a temporary snapshot."""
    middle = yield from extraction.extract(cloud, volume)
    target = nfs.directory(cloud, pool["id"]) / volume["id"]
    try:
        yield Chore(lambda: qemu.convert(middle, "qcow2", target))
        os.truncate(target, volume["size"])
    finally:
        middle.unlink(missing_ok=True)
    return volume["id"]


def _between_nfs(cloud: Cloud, volume: Document, pool: Document) -> Steps:
    source, target = nfs.file_of(cloud, volume), nfs.directory(cloud, pool["id"]) / volume["id"]
    yield Chore(lambda: shutil.copyfile(source, target))
    return volume["id"]


# With a running VM, to another host


def move_with_vm(cloud: Cloud, vm: Document, host: Document, wanted: dict[str, str], others: list[Document]) -> Steps:
    """Volumes to StorPool pools (`wanted`: pool by volume) while the VM goes to `host`; `others` of its volumes stay where they are.

    Raises ServerError.
    """
    source = cloud.hosts[vm["host"]]
    made: dict[str, str] = {}
    attached: list[Document] = []
    try:
        for id, pool in wanted.items():
            volume = cloud.volumes[id]
            if volume["encrypt"]:
                raise agents.HostError(f"Cannot live migrate encrypted volume [{volume['name']}] to StorPool")
            client = Client.of_pool(cloud, cloud.pools[pool])
            made[id] = _new_volume(cloud, client, volume, False)
        yield from agents.delayed(cloud, agents.MIGRATE, vm["id"], vm["name"], host["id"], host["name"])
        for id in made:
            yield from _mirrored(cloud, cloud.volumes[id], host, made[id])
        for volume in others:
            driver.attach(cloud, volume, host)
            attached.append(volume)
    except (*FAILURES, errors.ServerError) as error:
        _undo(cloud, host, made, wanted, attached)
        pools = ", ".join(cloud.pools[pool]["name"] for pool in wanted.values())
        raise errors.failure(
            f"Copy volume(s) of VM [{vm['name']}] to storage(s) [{pools}] and VM to host [{host['name']}] failed in "
            f"StorPoolDataMotionStrategy.copyAsync. Error message: [{text_of(error)}]."
        ) from error
    for volume in others:
        driver.leave(cloud, volume, source)
        cloud.volumes.change(volume["id"], seen=volume["seen"] or volume["size"])
    for id, gid in made.items():
        volume = cloud.volumes[id]
        driver.leave(cloud, volume, source)
        agents.hold_open(cloud, host, gid, True)
        _settle(cloud, volume, cloud.pools[wanted[id]], path_of(gid))
        cloud.volumes.change(id, seen=volume["seen"] or volume["size"])


def _mirrored(cloud: Cloud, volume: Document, host: Document, gid: str) -> Steps:
    """The target host attaches the new volume, and the old one's bytes get into it."""
    agents.attach(cloud, host, gid)
    source: Path
    if storage.on_storpool(cloud.pools[volume["pool"]]):
        source = agents.readable(cloud, gid_of(volume["path"]))
    else:
        source = nfs.file_of(cloud, volume)
    target = agents.writable(cloud, gid)
    yield Chore(lambda: qemu.convert(source, "raw", target, existing=True, empty=True))
    agents.written(cloud, gid)


def _undo(cloud: Cloud, host: Document, made: dict[str, str], wanted: dict[str, str], attached: list[Document]) -> None:
    for volume in attached:
        driver.leave(cloud, volume, host)
    for id, gid in made.items():
        try:
            Client.of_pool(cloud, cloud.pools[wanted[id]]).volume_delete(gid)
        except StorPoolError as error:
            cloud.journal.add("WARN", "StorPoolDataMotionStrategy", f"volume {address_of(gid)} stays: {error.text}")
