# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Modules of other collections that do what one of ours does: a task about one object which is there already, so that nothing changes.

The collections come out of the community's package `ansible` on PyPI, of the release for the ansible-core that is measured; what they speak
to is a simulated CloudStack (grounds.py) or a stand-in with the few answers that the task asks for.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import trustme
from contest import BenchError

PACKAGE = "ansible==12.3.0"  # for ansible-core 2.19
COLLECTIONS = ("community/proxmox", "hetzner/hcloud", "ngine_io/cloudstack")

LOCATION = {
    "id": 1,
    "name": "fsn1",
    "description": "Falkenstein",
    "country": "DE",
    "city": "Falkenstein",
    "latitude": 50.4,
    "longitude": 12.3,
    "network_zone": "eu-central",
}
VOLUME = {
    "id": 1,
    "name": "data",
    "size": 10,
    "status": "available",
    "server": None,
    "location": LOCATION,
    "linux_device": "/dev/disk/by-id/scsi-0HC_Volume_1",
    "protection": {"delete": False},
    "labels": {},
    "format": None,
    "created": "2026-01-01T00:00:00+00:00",
}
ONE_PAGE = {"pagination": {"page": 1, "per_page": 25, "previous_page": None, "next_page": None, "last_page": 1, "total_entries": 1}}
HETZNER_ANSWERS = {"/volumes": {"volumes": [VOLUME], "meta": ONE_PAGE}, "/volumes/1": {"volume": VOLUME}}
PROXMOX_ANSWERS = {
    "/api2/json/version": {"data": {"version": "9.0.3", "release": "9.0", "repoid": "0"}},
    "/api2/json/pools": {"data": [{"poolid": "data", "comment": "of the benchmark"}]},
}


def hetzner_task(port: int) -> dict[str, Any]:
    """A volume that is there."""
    given = {"api_endpoint": f"http://127.0.0.1:{port}", "api_token": "x" * 64, "name": "data", "size": 10, "location": "fsn1"}
    return {"hetzner.hcloud.volume": given}


def proxmox_task(port: int) -> dict[str, Any]:
    """A pool of machines and storage that is there."""
    login = {"api_host": "127.0.0.1", "api_port": port, "api_user": "root@pam", "api_token_id": "bench", "api_token_secret": "x" * 36}
    return {"community.proxmox.proxmox_pool": {**login, "poolid": "data", "comment": "of the benchmark"}}


def cloudstack_task(name: str, value: Any) -> dict[str, Any]:
    """A global setting."""
    return {"ngine_io.cloudstack.cs_configuration": {"name": name, "value": value}}


def certificate(path: Path) -> Path:
    """Write a certificate for this machine's own address, with its key."""
    made = trustme.CA()
    pair = made.issue_cert("127.0.0.1")
    pair.private_key_pem.write_to_path(path)
    for blob in pair.cert_chain_pems:
        blob.write_to_path(path, append=True)
    made.cert_pem.write_to_path(path, append=True)
    return path


def collections(cache: Path) -> Path:
    """Return a directory with the collections, after getting them when they are not there yet."""
    place = cache / f"peers-{PACKAGE.partition('==')[2]}"
    if not place.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:", "--dest", scratch]
            done = subprocess.run([sys.executable, "-m", "pip", "download", *options, PACKAGE], check=False)
            if done.returncode:
                raise BenchError(f"{PACKAGE}, whose collections are measured against, cannot be had from the package index")
            unpacked = Path(scratch) / "unpacked"
            prefixes = tuple(f"ansible_collections/{one}/" for one in COLLECTIONS)
            with zipfile.ZipFile(next(Path(scratch).glob("*.whl"))) as wheel:
                wheel.extractall(unpacked, [name for name in wheel.namelist() if name.startswith(prefixes)])
            with suppress(OSError):  # somebody else got them meanwhile
                unpacked.rename(place)
    return place


def versions(place: Path) -> dict[str, str]:
    """Return what was got, by name."""
    found = {}
    for one in COLLECTIONS:
        manifest = json.loads((place / "ansible_collections" / one / "MANIFEST.json").read_text(encoding="utf-8"))
        found[one.replace("/", ".")] = manifest["collection_info"]["version"]
    return found
