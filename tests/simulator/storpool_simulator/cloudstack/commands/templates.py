# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Templates and ISOs (plugin sheet 4, 5.10; ``TemplateManagerImpl``)."""

from __future__ import annotations

from typing import Any

from ...store import Document
from .. import access, answers, errors, resource_tags, secondary, storage, templates
from ..ids import new_id
from ..plugin import bases, cache, snapshots
from ..registry import command
from ..request import UNLIMITED, Request
from ..work import Steps

FILTERS = ("featured", "self", "selfexecutable", "sharedexecutable", "executable", "community", "all")
ABOUT = ("Template", "id")
EVERY_ZONE = "-1"
UPDATES = {
    "name": "name",
    "displaytext": "displaytext",
    "ostypeid": "ostype",
    "passwordenabled": "password",
    "sshkeyenabled": "sshkey",
    "isdynamicallyscalable": "scalable",
    "templatetag": "tag",
}


@command("listOsTypes", package="user.guest")
def list_os_types(request: Request) -> dict:
    cloud = request.cloud
    found = [
        one
        for one in cloud.living(cloud.ostypes)
        if request.matches(id=one["id"], description=one["name"])
        and one["id"] in request.get("ids", [one["id"]])
        and request.get("oscategoryid") is None
        and request.has_keyword(one["name"])
    ]

    def view(one: Document) -> dict[str, Any]:
        shown = {"id": one["id"], "description": one["name"], "isuserdefined": False}
        return {**shown, **cloud.since("4.19.0", {"name": one["name"], "fordisplay": True})}

    return answers.listing(request, found, view)


# Lists


def _is_seen(request: Request, template: Document, wanted: str, scope: access.Scope) -> bool:
    """What a filter lets through (``searchForTemplatesInternal``); one that is asked for by its id passes all of them.

    To a root admin the filter all shows what everybody has, whatever account, domain or project is named beside it.
    """
    if wanted == "all" or request.get("id") is not None:
        return template["public"] or access.reaches(request, template["account"])
    mine = scope.accounts is not None and template["account"] in scope.accounts
    ready = any(row["state"] == templates.READY for row in templates.copies(request.cloud, template["id"]))
    if wanted == "featured":
        return template["featured"] and template["public"] and ready
    if wanted == "community":
        return template["public"] and not template["featured"] and ready
    if wanted in ("self", "selfexecutable"):
        # With listall that is what the domain has
        return (mine or (scope.accounts is None and scope.names(template))) and (ready or wanted == "self")
    if wanted == "sharedexecutable":
        return False
    return (mine or template["public"]) and ready


def _rows(request: Request, iso: bool, wanted: str) -> list[tuple[Document, str | None]]:
    """A row per template and zone, or per template with showunique."""
    cloud, asked = request.cloud, request.get("zoneid")
    pool, store = request.get("storageid"), request.get("imagestoreid")
    kind = "ISO" if iso else "Template"
    scope = access.scope(request, listall=wanted == "all")
    found: list[tuple[Document, str | None]] = []
    for template in cloud.templates.values():
        if template["iso"] is not iso or not (template["removed"] is None or request.get("showremoved")):
            continue
        if not scope.kind_fits(template) or not _is_seen(request, template, wanted, scope):
            continue
        if template["id"] not in request.get("ids", [template["id"]]) or not request.has_keyword(template["name"], template["displaytext"]):
            continue
        same = request.matches(
            id=template["id"],
            name=template["name"],
            hypervisor=template["hypervisor"],
            templatetype=template["type"],
            ispublic=template["public"],
            bootable=template["bootable"],
            arch=template["arch"],
        )
        if not same or not resource_tags.matches(cloud, kind, template["id"], request.get("tags")):
            continue
        # Any row of the pool counts, finished or not (plugin sheet 4.3)
        if pool is not None and cache.row_of(cloud, template["id"], pool) is None:
            continue
        if store is not None and all(row["store"] != store for row in templates.copies(cloud, template["id"])):
            continue
        zones = [zone for zone in template["zones"] if asked in (None, zone)] or ([None] if template["removed"] and asked is None else [])
        found += [(template, zone) for zone in (zones[:1] if request.get("showunique") else zones)]
    ready = request.get("isready")
    if ready is None:
        return found
    return [one for one in found if (one[1] is not None and templates.ready_copy(cloud, one[0]["id"], one[1]) is not None) is ready]


def _listing(request: Request, iso: bool, wanted: str) -> dict:
    cloud = request.cloud
    pending = cloud.jobs.pending_of("Template")
    return answers.listing(
        request, _rows(request, iso, wanted), lambda one: templates.shown(cloud, one[0], one[1], pending.get(one[0]["id"]))
    )


@command("listTemplates", package="user.template")
def list_templates(request: Request) -> dict:
    wanted = request.params["templatefilter"].lower()
    if wanted not in FILTERS:
        raise errors.invalid("Please specify a valid template filter.")
    if wanted == "all" and not request.caller.is_root:
        raise errors.invalid("Filter all can be specified by admin only")
    return _listing(request, False, wanted)


@command("listIsos", package="user.iso")
def list_isos(request: Request) -> dict:
    """Without a filter those of the caller (selfexecutable)."""
    wanted = request.get("isofilter", "selfexecutable").lower()
    if wanted not in FILTERS:
        raise errors.invalid("Please specify a valid template filter.")
    return _listing(request, True, wanted)


# Register, change


def _zones(request: Request) -> list[str]:
    given = request.get("zoneids") or ([request.params["zoneid"]] if "zoneid" in request.params else [])
    if not given:
        raise errors.invalid("Please specify zoneid or zoneids")
    every = [zone["id"] for zone in request.cloud.living(request.cloud.zones)]
    return every if EVERY_ZONE in given else list(dict.fromkeys(given))


def _register(request: Request, form: str, **more: Any) -> dict:
    cloud, params = request.cloud, request.params
    if not params["url"].lower().startswith(templates.SCHEMES):
        raise errors.invalid(f"Unsupported scheme for url: {params['url']}")
    if form not in secondary.SUFFIXES or (form == "ISO") is not bool(more.get("iso")):
        raise errors.invalid(f"{form} is not an image format that can be registered so")
    stores = []
    for zone in _zones(request):
        store = cloud.secondary.store_of(zone)
        if store is None:
            raise errors.failure(f"Unable to find image store to download template in zone {cloud.zones[zone]['name']}")
        stores.append(store)
    template = templates.new(
        cloud,
        new_id(),
        params["name"],
        form,
        access.new_owner(request),
        displaytext=params.get("displaytext") or params["name"],
        url=params["url"],
        checksum=params.get("checksum"),
        ostype=params.get("ostypeid"),
        public=params.get("ispublic", False),
        featured=params.get("isfeatured", False),
        extractable=params.get("isextractable", False),
        zones=[store["zone"] for store in stores],
        details=params.get("details", {}),
        direct=params.get("directdownload", False),
        **more,
    )
    direct = {"state": templates.READY, "download_state": templates.BYPASSED} if template["direct"] else {}
    for store in stores:
        templates.add_copy(cloud, template, store, **direct)
    shown = [request.cloud.facts.checked(request.command, templates.shown(cloud, template, zone)) for zone in template["zones"]]
    assert request.command.object is not None
    return {"count": len(shown), request.command.object: shown}


def _traits(request: Request) -> dict[str, Any]:
    """What whoever makes a template says of the machines that come of it."""
    params = request.params
    return {
        "password": params.get("passwordenabled", False),
        "sshkey": params.get("sshkeyenabled", False),
        "scalable": params.get("isdynamicallyscalable", False),
        "hvm": params.get("requireshvm", True),
        "bits": params.get("bits", 64),
        "tag": params.get("templatetag"),
    }


@command("registerTemplate", package="user.template")
def register_template(request: Request) -> dict:
    """Answers at once; the download goes on in the background."""
    params = request.params
    if params["hypervisor"].lower() != "kvm":
        raise errors.invalid(f"Hypervisor {params['hypervisor']} is not available here")
    return _register(
        request,
        params["format"].upper(),
        **_traits(request),
        type=templates.USER,
    )


@command("registerIso", package="user.iso")
def register_iso(request: Request) -> dict:
    return _register(request, "ISO", iso=True, bootable=request.get("bootable", True), hypervisor="None")


@command("updateTemplate", package="user.template")
def update_template(request: Request) -> dict:
    cloud, params = request.cloud, request.params
    template = access.own(request, "id", cloud.templates)
    fields = {key: params[name] for name, key in UPDATES.items() if name in params}
    if "details" in params:
        fields["details"] = {**template["details"], **params["details"]}
    template = cloud.templates.change(template["id"], **fields)
    return answers.single(request, templates.shown(cloud, template, next(iter(template["zones"]), None)))


@command("deleteTemplate", instance=ABOUT, package="user.template")
def delete_template(request: Request) -> dict:
    """The copies on secondary storage go; caches stay until they are collected, bases for ever (plugin sheet 4.5, 4.6)."""
    cloud = request.cloud
    template = access.own(request, "id", cloud.templates)
    users = [vm["name"] for vm in cloud.living(cloud.vms) if vm.get("template") == template["id"]]
    if users and not request.get("forced"):
        raise errors.invalid(f"Unable to delete Template with id: {template['id']} because Instance(s): [{', '.join(users)}] are using it.")
    templates.delete(cloud, template, request.get("zoneid"))
    return answers.success()


@command("deleteIso", instance=("Iso", "id"), package="user.iso")
def delete_iso(request: Request) -> dict:
    cloud = request.cloud
    template = access.own(request, "id", cloud.templates)
    if any(vm.get("iso") == template["id"] for vm in cloud.living(cloud.vms)):
        raise errors.invalid("Unable to delete iso, as it's used by other vms")
    templates.delete(cloud, template, request.get("zoneid"))
    return answers.success()


@command("copyTemplate", instance=ABOUT, package="user.template")
def copy_template(request: Request) -> Steps:
    """The file goes to the secondary storage of other zones; a base on StorPool stays where it is."""
    cloud, params = request.cloud, request.params
    template = access.own(request, "id", cloud.templates, shared=True)
    wanted = list(dict.fromkeys([*params.get("destzoneids", []), *([params["destzoneid"]] if params.get("destzoneid") else [])]))
    if not wanted:
        raise errors.invalid("Either destzoneid or destzoneids parameters have to be specified.")
    source = params.get("sourcezoneid") or next(iter(template["zones"]), None)
    if source in wanted:
        raise errors.invalid("Please specify different source and destination zones.")
    origin = templates.ready_copy(cloud, template["id"], source) if source is not None else None
    if origin is None:
        raise errors.invalid(f"Template {template['name']} is not ready in the source zone")
    for zone in wanted:
        if zone not in cloud.templates[template["id"]]["zones"]:
            yield from templates.copy_to_zone(cloud, template, origin, zone)
    template = cloud.templates[template["id"]]
    return answers.single(request, templates.shown(cloud, template, wanted[0]))


@command("prepareTemplate", package="admin.template")
def prepare_template(request: Request) -> dict:
    """Answers at once, whatever becomes of it: only the log tells. Pools that are not Up or not in the zone are skipped silently.

    So are those on NFS, whose caches nothing here is about.
    """
    cloud, zone = request.cloud, request.params["zoneid"]
    template = request.found("templateid", cloud.templates)
    request.found("zoneid", cloud.zones)
    if templates.ready_copy(cloud, template["id"], zone) is None:
        raise errors.invalid(f"Unable to prepare template {template['name']}: it is not ready in zone {cloud.zones[zone]['name']}")
    wanted = request.get("storageid")
    for pool in cloud.living(cloud.pools):
        if wanted in (None, pool["id"]) and pool["state"] == storage.UP and pool["zone"] == zone and storage.on_storpool(pool):
            cache.prepare(cloud, template, pool)
    return {"count": 1, "template": [request.cloud.facts.checked(request.command, templates.shown(cloud, template, zone))]}


# Made from a volume or a snapshot


def _create(request: Request) -> str:
    """The record of createTemplate's template, before its job."""
    cloud, params = request.cloud, request.params
    sources = [(kind, params[name]) for kind, name in (("volume", "volumeid"), ("snapshot", "snapshotid")) if name in params]
    if len(sources) != 1:
        raise errors.invalid("Failed to create private template record, neither volume ID nor snapshot ID were specified, or both.")
    kind, id = sources[0]
    source = access.own(request, f"{kind}id", cloud.table(kind))
    if kind == "volume":
        bases.check(cloud, source)
    else:
        snapshots.check_template_source(cloud, source)
    zone = cloud.zones[request.found("zoneid", cloud.zones)["id"] if params.get("zoneid") else source["zone"]]
    template = templates.new(
        cloud,
        new_id(),
        params["name"],
        "QCOW2",
        access.new_owner(request),
        displaytext=params.get("displaytext") or params["name"],
        ostype=params["ostypeid"],
        size=source["size"],
        public=params.get("ispublic", False),
        featured=params.get("isfeatured", False),
        **_traits(request),
        details=params.get("details", {}),
        source=[kind, id],
        zones=[zone["id"]],
    )
    return template["id"]


@command("createTemplate", create=_create, instance=("Template", ""), package="user.template")
def create_template(request: Request) -> Steps:
    cloud = request.cloud
    assert request.entity is not None
    template = cloud.templates[request.entity]
    kind, id = template["source"]
    make = bases.from_volume if kind == "volume" else snapshots.template_from
    yield from make(cloud, template, cloud.table(kind)[id])
    template = cloud.templates[template["id"]]
    return answers.single(request, templates.shown(cloud, template, next(iter(template["zones"]), None)))


@command("extractTemplate", instance=ABOUT, package="user.template")
def extract_template(request: Request) -> dict:
    """The url leads to the file on secondary storage itself."""
    cloud = request.cloud
    template = access.own(request, "id", cloud.templates, shared=True)
    if not template["extractable"] and not request.caller.is_root:
        raise errors.denied(f"template {template['name']} can't be extracted")
    zone = request.get("zoneid") or next(iter(template["zones"]), None)
    row = templates.ready_copy(cloud, template["id"], zone) if zone not in (None, str(UNLIMITED)) else None
    if row is None or zone is None:
        raise errors.invalid(f"The template {template['name']} is not on secondary storage")
    url = cloud.secondary.path(cloud.stores[row["store"]], row["path"]).as_uri()
    shown = {
        "id": template["id"],
        "name": template["name"],
        "accountid": template["account"],
        "state": "DOWNLOAD_URL_CREATED",
        "extractMode": request.params["mode"].upper(),
        "url": url,
        "zoneid": zone,
        "zonename": cloud.zones[zone]["name"],
        "created": answers.date(cloud.world.clock.now()),
    }
    return answers.single(request, shown)
