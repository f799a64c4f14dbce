# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secondary storage: a directory per image store that stands for its NFS export, with real files.

Paths in the tables are relative to the store, in CloudStack's layout: `template/tmpl/<account>/<template>/<uuid>.qcow2`,
`snapshots/<account>/<volume>/<uuid>`, `volumes/<account>/<volume>/<uuid>.qcow2`, by internal numbers.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from . import qemu
from .work import Chore, Steps

if TYPE_CHECKING:
    from ..store import Document
    from .cloud import Cloud

SUFFIXES = {"QCOW2": "qcow2", "RAW": "raw", "ISO": "iso", "VMDK": "vmdk", "VHD": "vhd"}
# qemu-img's names of formats
FORMS = {"QCOW2": "qcow2", "RAW": "raw", "ISO": "raw", "VMDK": "vmdk", "VHD": "vpc"}
BLOCK = 64 << 10


def built_in_bytes(name: str, size: int) -> bytes:
    """What a built-in image holds: the same in every run; half of its blocks are empty."""
    chance = random.Random(name)
    parts = [bytes(BLOCK) if number % 2 else chance.randbytes(BLOCK) for number in range(-(-size // BLOCK))]
    return b"".join(parts)[:size]


class Secondary:
    def __init__(self, cloud: Cloud, directory: Path) -> None:
        self.cloud = cloud
        self.directory = directory

    def path(self, store: Document, relative: str) -> Path:
        return self.directory / store["name"] / relative

    def place(self, store: Document, relative: str) -> Path:
        """The path of a file that is about to be written."""
        path = self.path(store, relative)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def store_of(self, zone: str) -> Document | None:
        """The image store that new things of a zone go to."""
        return next((one for one in self.cloud.living(self.cloud.stores) if one["zone"] == zone and not one["readonly"]), None)

    def template_path(self, template: Document) -> str:
        account = self.cloud.accounts[template["account"]]
        return f"template/tmpl/{account['dbid']}/{template['dbid']}/{template['id']}.{SUFFIXES.get(template['format'], 'img')}"

    def present(self, template: Document, row: Document) -> Steps:
        """The file of a template's copy (`row` of template_stores); a built-in one is made when it is first asked for."""
        path = self.path(self.cloud.stores[row["store"]], row["path"])
        if template["built_in"] and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            yield Chore(lambda: make_built_in(template["name"], template["size"], template["format"], path))
        return path

    def drop(self, store: Document, relative: str) -> None:
        self.path(store, relative).unlink(missing_ok=True)

    def clear(self) -> None:
        discard(self.directory)


def discard(directory: Path) -> None:
    """Remove it with all that is in it, also while a chore that nobody waits for any more writes there: that writes to nowhere then."""
    if directory.exists():
        gone = tempfile.mkdtemp(dir=directory.parent, prefix="gone-")
        os.rename(directory, os.path.join(gone, directory.name))
        shutil.rmtree(gone, ignore_errors=True)


def make_built_in(name: str, size: int, form: str, path: Path) -> None:
    """In one step, so that nobody sees half of it."""
    with tempfile.TemporaryDirectory(dir=path.parent) as place:
        raw, made = Path(place) / "raw", Path(place) / "made"
        raw.write_bytes(built_in_bytes(name, size))
        if FORMS[form] == "raw":
            made = raw
        else:
            qemu.convert(raw, "raw", made, FORMS[form])
        os.replace(made, path)


def checksum(path: Path, algorithm: str) -> str:
    digest = hashlib.new(algorithm)
    with open(path, "rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()
