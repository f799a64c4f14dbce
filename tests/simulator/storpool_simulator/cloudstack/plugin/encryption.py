# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Encrypted volumes: 2 MiB more on StorPool, with a LUKS header that a host makes (plugin sheet 5.9)."""

from __future__ import annotations

import secrets
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from .. import qemu
from ..work import Chore, Steps
from . import agents
from .client import Client, StorPoolError, gid_of

if TYPE_CHECKING:
    from ...store import Document
    from ..cloud import Cloud

FORMAT = "LUKS"
CRYPTSETUP = "cryptsetup"
# LUKS1 has its data behind exactly 2 MiB. Real iterations take seconds; these keep the header's form.
_HEADER = ("--type", "luks1", "--cipher", "aes-xts-plain64", "--key-size", "512", "--pbkdf-force-iterations", "1000")


def is_unfinished(volume: Document) -> bool:
    """Whether a host still has to encrypt it: its server may have gone down in between."""
    return bool(volume["encrypt"]) and not volume.get("sealed")


def seal(cloud: Cloud, volume: Document, parent: str | None) -> Steps:
    """A host formats the new volume, and for a ROOT volume copies the cached snapshot `parent` into it: no clone, a full copy.

    The agent answers success whatever becomes of it, so a volume may end up without a header. Raises ServerError.
    """
    passphrase = volume.get("passphrase") or secrets.token_hex(32)
    cloud.volumes.change(volume["id"], passphrase=passphrase)
    client = Client.of_pool(cloud, cloud.pools[volume["pool"]])
    host = agents.endpoint(cloud, volume["zone"], client.cluster.id, encryption=True)
    gid = gid_of(volume["path"])
    try:
        yield from agents.delayed(cloud, agents.SET_ENCRYPTION, volume["id"], volume["name"])
        agents.attach(cloud, host, gid)
        try:
            target = agents.writable(cloud, gid)
            source = agents.readable(cloud, parent) if parent is not None else None
            yield Chore(lambda: write(target, passphrase, source))
            agents.written(cloud, gid)
        finally:
            agents.detach(cloud, host, gid, force=True)
    except (agents.HostError, qemu.ImageError, StorPoolError) as error:
        text = error.text if isinstance(error, StorPoolError) else str(error)
        words = f"Volume {volume['id']} could not be encrypted: {text}"
        cloud.journal.add("ERROR", "StorPoolSetVolumeEncryptionCommandWrapper", words, volume=volume["id"])
    changed = cloud.volumes.change(volume["id"], sealed=True)
    cloud.world.commit()
    return changed


def write(target: Path, passphrase: str, source: Path | None) -> None:
    """The header, and the content behind it."""
    qemu.run("luksFormat", "--batch-mode", *_HEADER, "--key-file", "-", target, program=CRYPTSETUP, stdin=passphrase.encode())
    if source is None:
        return
    with tempfile.TemporaryDirectory() as place:
        key = Path(place) / "key"
        key.touch(0o600)
        key.write_text(passphrase, encoding="ascii")
        options = f"driver=luks,key-secret=key,file.filename={target}"
        qemu.run("convert", "-n", "-f", "raw", "--object", f"secret,id=key,file={key}", "--target-image-opts", source, options)
