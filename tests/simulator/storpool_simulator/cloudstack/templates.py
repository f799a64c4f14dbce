# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Templates and ISOs: the records, their copies on secondary storage, what listings tell."""

from __future__ import annotations

import bz2
import gzip
import os
import shutil
import urllib.error
import urllib.parse
import urllib.request
import zipfile
import zlib
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from . import access, errors, qemu, resource_tags, secondary
from .answers import date
from .ids import identity, new_id
from .work import Chore, Steps, no_error

if TYPE_CHECKING:
    from ..store import Document
    from .cloud import Cloud

USER, BUILTIN, SYSTEM = "USER", "BUILTIN", "SYSTEM"
ACTIVE, INACTIVE = "Active", "Inactive"
# Of a copy: state and download state (``ObjectInDataStoreStateMachine``, ``VMTemplateStorageResourceAssoc.Status``)
READY, ALLOCATED, CREATING, COPYING, FAILED = "Ready", "Allocated", "Creating", "Copying", "Failed"
DOWNLOADED, NOT_DOWNLOADED, IN_PROGRESS, ERROR = "DOWNLOADED", "NOT_DOWNLOADED", "DOWNLOAD_IN_PROGRESS", "DOWNLOAD_ERROR"
# Direct download: hosts fetch the image themselves when they need it
BYPASSED = "BYPASSED"
COMPLETE = "Download Complete"
SCHEMES = ("http://", "https://", "file://", "ftp://")
MIB = 1 << 20
SECTOR = 512
# Checksums may be given as {algorithm}digest; without one its length tells
DIGESTS = {32: "md5", 40: "sha1", 64: "sha256", 96: "sha384", 128: "sha512"}
MISMATCH = "Template content is unsupported, or mismatch between selected format and template content. Found  : "

OS_TYPES = ("Debian GNU/Linux 12 (64-bit)", "Rocky Linux 9", "Ubuntu 24.04 LTS", "Windows Server 2022 (64-bit)", "Other Linux (64-bit)")
# Templates and ISOs that are there from the start; their files are made when they are first asked for
BUILT_IN = (
    ("debian-12", "QCOW2", 8 * MIB, "Debian GNU/Linux 12 (64-bit)"),
    ("rocky-9", "QCOW2", 6 * MIB, "Rocky Linux 9"),
    ("small-raw", "RAW", 2 * MIB, "Other Linux (64-bit)"),
    ("debian-12-netinst", "ISO", 2 * MIB, "Debian GNU/Linux 12 (64-bit)"),
)


def new(cloud: Cloud, id: str, name: str, form: str, account: str, **more: Any) -> Document:
    fields = {
        "name": name,
        "displaytext": name,
        "format": form,
        "iso": form == "ISO",
        "account": account,
        "url": None,
        "checksum": None,
        "ostype": None,
        "size": 0,
        "public": False,
        "featured": False,
        "extractable": False,
        "type": USER,
        "hypervisor": "KVM",
        "password": False,
        "sshkey": False,
        "direct": False,
        "bootable": True,
        "hvm": True,
        "scalable": False,
        "bits": 64,
        "arch": "x86_64",
        "tag": None,
        "details": {},
        "state": ACTIVE,
        "built_in": False,
        "zones": [],
        # What it was made from: ["volume" or "snapshot", its id]
        "source": None,
        # The internal number of the pool that holds its base snapshot (vm_template_details, spStoragePoolId)
        "storpool_pool": None,
    }
    return cloud.add("template", id, **{**fields, **more})


def populate(cloud: Cloud, zone: str, store: Document) -> None:
    for name in OS_TYPES:
        cloud.add("ostype", identity("ostype", name), name=name)
    account = next(iter(cloud.accounts.values()))["id"]
    for name, form, size, system in BUILT_IN:
        template = new(
            cloud,
            identity("template", name),
            name,
            form,
            account,
            ostype=identity("ostype", system),
            size=size,
            public=True,
            featured=True,
            extractable=True,
            type=BUILTIN if form != "ISO" else USER,
            built_in=True,
            zones=[zone],
            url=f"http://images.example.com/{name}.{secondary.SUFFIXES[form]}",
        )
        add_copy(cloud, template, store, state=READY, download_state=DOWNLOADED, percent=100, size=size)


def add_to_zone(cloud: Cloud, zone: str, store: Document) -> None:
    """What is there from the start is in further zones too."""
    for template in cloud.living(cloud.templates):
        cloud.templates.change(template["id"], zones=[*template["zones"], zone])
        add_copy(cloud, template, store, state=READY, download_state=DOWNLOADED, percent=100, size=template["size"])


def copy_to_zone(cloud: Cloud, template: Document, origin: Document, zone: str) -> Steps:
    """Another copy, of a ready one. Raises ServerError; then there is none."""
    store = cloud.secondary.store_of(zone)
    if store is None:
        raise errors.failure(f"Unable to find image store in zone {cloud.zones[zone]['name']}")
    here = yield from cloud.secondary.present(template, origin)
    there = cloud.secondary.place(store, origin["path"])
    row = add_copy(cloud, template, store, state=COPYING, download_state=IN_PROGRESS, size=origin["size"], physical=origin["physical"])
    try:
        yield Chore(lambda: shutil.copyfile(here, there))
    except OSError as error:
        cloud.template_stores.drop(copy_key(template["id"], store["id"]))
        cloud.world.commit()
        raise errors.failure(f"Failed to copy template {template['name']} to zone {cloud.zones[zone]['name']}: {error}") from error
    change_copy(cloud, row, state=READY, download_state=DOWNLOADED, percent=100)
    cloud.templates.change(template["id"], zones=[*cloud.templates[template["id"]]["zones"], zone])


# Copies on secondary storage


def copy_key(template: str, store: str) -> str:
    return f"{template}/{store}"


def add_copy(cloud: Cloud, template: Document, store: Document, **more: Any) -> Document:
    fields = {
        "template": template["id"],
        "store": store["id"],
        "zone": store["zone"],
        "path": cloud.secondary.template_path(template),
        "state": ALLOCATED,
        "download_state": NOT_DOWNLOADED,
        "percent": 0,
        "error": None,
        "physical": 0,
        "size": 0,
        # The base snapshot of a template that was made from a volume or snapshot on StorPool
        "local_path": None,
        "created": cloud.world.clock.now(),
    }
    key = copy_key(template["id"], store["id"])
    cloud.template_stores.put(key, {**fields, **more})
    return cloud.template_stores[key]


def copies(cloud: Cloud, template: str, zone: str | None = None) -> list[Document]:
    return [row for row in cloud.template_stores.values() if row["template"] == template and zone in (None, row["zone"])]


def ready_copy(cloud: Cloud, template: str, zone: str) -> Document | None:
    return next((row for row in copies(cloud, template, zone) if is_ready(row)), None)


def is_ready(row: Document) -> bool:
    return row["state"] == READY and row["download_state"] in (DOWNLOADED, BYPASSED)


def change_copy(cloud: Cloud, row: Document, **fields: Any) -> Document:
    return cloud.template_stores.change(copy_key(row["template"], row["store"]), **fields)


def drop_copies(cloud: Cloud, template: Document, zone: str | None) -> None:
    """The files go with the record of the copy, once that is on record."""
    for row in copies(cloud, template["id"], zone):
        store, path = cloud.stores[row["store"]], row["path"]
        cloud.template_stores.drop(copy_key(row["template"], row["store"]))
        cloud.world.after_commit(lambda store=store, path=path: cloud.secondary.drop(store, path))


def delete(cloud: Cloud, template: Document, zone: str | None = None) -> None:
    """In one zone, or everywhere. Raises ServerError."""
    if zone is not None and zone not in template["zones"]:
        raise errors.invalid(f"Template {template['name']} is not in zone {cloud.zones[zone]['name']}")
    drop_copies(cloud, template, zone)
    left = [one for one in template["zones"] if zone not in (None, one)]
    gone = {} if left else {"removed": cloud.world.clock.now(), "state": INACTIVE}
    cloud.templates.change(template["id"], zones=left, **gone)


# Downloads


def fetch(url: str, target: Path) -> None:
    part = target.with_suffix(".part")
    try:
        with urllib.request.urlopen(url, timeout=60) as source, open(part, "wb") as file:
            shutil.copyfileobj(source, file)
    except (OSError, ValueError, urllib.error.URLError) as error:
        part.unlink(missing_ok=True)
        raise qemu.ImageError(f"Failed to download {url}: {error}") from error
    os.replace(part, target)


def _opened(path: Path, url: str) -> IO[bytes] | None:
    """What is packed in a file, by the end of its url; None for one that is not packed. Raises what the unpackers raise."""
    suffix = Path(urllib.parse.urlsplit(url).path).suffix.lower()
    if suffix == ".gz":
        return gzip.open(path)
    if suffix == ".bz2":
        return bz2.open(path)
    if suffix != ".zip":
        return None
    archive = zipfile.ZipFile(path)
    return archive.open(archive.infolist()[0])


def _unpack(path: Path, url: str) -> None:
    """In place; nothing if it is not packed. Raises ImageError."""
    part = path.with_suffix(".part")
    try:
        source = _opened(path, url)
        if source is None:
            return
        with source, open(part, "wb") as file:
            shutil.copyfileobj(source, file)
    except (OSError, EOFError, IndexError, zlib.error, zipfile.BadZipFile) as error:
        part.unlink(missing_ok=True)
        raise qemu.ImageError(f"Failed to unpack {url}: {error}") from error
    os.replace(part, path)


def check(path: Path, form: str, wanted: str | None, url: str) -> int:
    """The virtual size of an image that has its checksum and its format; one that came packed is unpacked. Raises ImageError."""
    if wanted:
        algorithm, _unused, digest = wanted.rpartition("}") if wanted.startswith("{") else ("", "", wanted)
        name = algorithm.lstrip("{").replace("-", "").lower() or DIGESTS.get(len(digest))
        if name is None or secondary.checksum(path, name) != digest.lower():
            raise qemu.ImageError("corrupted checksum: the file does not have the checksum that was given")
    _unpack(path, url)
    if form == "ISO":
        return path.stat().st_size
    known = qemu.info(path)
    if known["format"] != secondary.FORMS.get(form):
        raise qemu.ImageError(MISMATCH + known["format"])
    if known.get("backing-filename") or "data-file" in known.get("format-specific", {}).get("data", {}):
        raise qemu.ImageError("the image refers to another file")
    return known["virtual-size"]


def download(cloud: Cloud, id: str, store: str) -> Steps:
    """registerTemplate answers at once; this goes on afterwards. Its failure is told by the template's status alone."""
    row = cloud.template_stores.get(copy_key(id, store))
    template = cloud.templates[id]
    if row is None:
        return
    path = cloud.secondary.place(cloud.stores[store], row["path"])
    cloud.template_stores.change(copy_key(id, store), state=CREATING, download_state=IN_PROGRESS)
    try:
        yield Chore(lambda: fetch(template["url"], path))
        size = yield Chore(lambda: check(path, template["format"], template["checksum"], template["url"]))
    except qemu.ImageError as error:
        path.unlink(missing_ok=True)
        if copy_key(id, store) in cloud.template_stores:
            cloud.template_stores.change(copy_key(id, store), state=FAILED, download_state=ERROR, error=str(error))
        return
    if copy_key(id, store) not in cloud.template_stores:
        path.unlink(missing_ok=True)
        return
    cloud.template_stores.change(
        copy_key(id, store), state=READY, download_state=DOWNLOADED, percent=100, size=size, physical=path.stat().st_size
    )
    cloud.templates.change(id, size=size)


def begin_downloads(cloud: Cloud) -> bool:
    """Those that wait for it, or that another process had begun."""
    began = False
    for key, row in cloud.template_stores.items():
        name = f"download {key}"
        waiting = row["state"] in (ALLOCATED, CREATING) and cloud.templates[row["template"]]["url"] and name not in cloud.workshop.under_way
        if waiting and cloud.templates[row["template"]]["source"] is None:
            cloud.workshop.start(name, download(cloud, row["template"], row["store"]), no_error)
            began = True
    return began


# Views


def new_ids(count: int) -> list[str]:
    return [new_id() for _unused in range(count)]


def status_of(row: Document) -> str:
    if row["download_state"] == DOWNLOADED:
        return COMPLETE
    if row["download_state"] == BYPASSED:
        return "Bypassed"
    if row["download_state"] == IN_PROGRESS:
        return f"{row['percent']}% Downloaded"
    return row["error"] or ("Processing" if row["state"] == CREATING else "")


def shown(cloud: Cloud, template: Document, zone: str | None, job: Document | None = None) -> dict[str, Any]:
    """One row of a listing: a template in a zone."""
    row = next(iter(copies(cloud, template["id"], zone)), None) if zone else None
    kind = "ISO" if template["iso"] else "Template"
    system = cloud.ostypes.get(template["ostype"]) if template["ostype"] else None
    path = cloud.secondary.path(cloud.stores[row["store"]], row["path"]) if row is not None else None
    physical = row["physical"] or (path.stat().st_size if path is not None and path.exists() else 0) if row is not None else 0
    source = template["source"]
    fields = {
        "id": template["id"],
        "name": template["name"],
        "displaytext": template["displaytext"],
        **access.owner_shown(cloud, template["account"]),
        "accountid": template["account"],
        "created": date(template["created"]),
        "removed": date(template["removed"]),
        "format": template["format"],
        "hypervisor": template["hypervisor"] if not template["iso"] else None,
        "bits": template["bits"],
        "bootable": template["bootable"] if template["iso"] else None,
        "checksum": template["checksum"],
        "crossZones": False,
        "directdownload": template["direct"],
        "isdynamicallyscalable": template["scalable"],
        "isextractable": template["extractable"],
        "isfeatured": template["featured"],
        "ispublic": template["public"],
        "isready": row is not None and is_ready(row),
        "ostypeid": system and system["id"],
        "ostypename": system and system["name"],
        "passwordenabled": template["password"],
        "sshkeyenabled": template["sshkey"],
        "requireshvm": template["hvm"],
        "templatetype": template["type"],
        "templatetag": template["tag"],
        "status": status_of(row) if row is not None else None,
        "size": template["size"] or None,
        "physicalsize": physical or None,
        "url": template["url"],
        "details": template["details"] or None,
        "deployasis": False,
        "hasannotations": False,
        "zoneid": zone,
        "zonename": cloud.zones[zone]["name"] if zone else None,
        "sourcetemplateid": source[1] if source and source[0] == "template" else None,
        "tags": resource_tags.shown(cloud, kind, template["id"]),
        "jobid": job and job["id"],
        "jobstatus": job and job["status"],
        # Rows of role Primary are missing or wrong in every release (plugin sheet 4.3), so only those of image stores are told
        "downloaddetails": [
            {
                "datastore": cloud.stores[one["store"]]["name"],
                "datastoreId": one["store"],
                "datastoreRole": "Image",
                "downloadPercent": str(one["percent"]),
                "downloadState": one["download_state"],
            }
            for one in copies(cloud, template["id"], zone)
        ],
        **cloud.since("4.20.0", {"arch": template["arch"]}),
    }
    return fields


def found(cloud: Cloud, id: str) -> Document:
    """A living template or ISO. Raises ServerError."""
    template = cloud.templates.get(id)
    if template is None or template["removed"] is not None:
        raise errors.invalid(f"unable to find template with id {id}")
    return template


def rounded(size: int) -> int:
    """StorPool's volumes are whole sectors."""
    return -(-size // SECTOR) * SECTOR
