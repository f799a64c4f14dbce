# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The template cache: what is declared, what both layers say, what is planned, what is left over."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from ansible_collections.storpool.cloudstack.plugins.module_utils._errors import ChangeRefused, OptionError
from ansible_collections.storpool.cloudstack.plugins.module_utils._image import Image
from ansible_collections.storpool.cloudstack.plugins.module_utils._storpool import StorPool
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources import cache_watch, image
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources.cache_place import Place, World, find_place
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources.cached_template import CACHED_TEMPLATES, WantedCache
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources.image import IMAGES, WantedImage
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources.template_cache import TEMPLATE_CACHE
from ansible_collections.storpool.cloudstack.plugins.modules.storpool_template_cache import DECLARED
from things import GIB, calls, checked, raw_snapshot, raw_template, raw_volume, sound

SOFIA, PLOVDIV = "3f1c2f1e-0a0b-4c0d-8e0f-0000000000a1", "3f1c2f1e-0a0b-4c0d-8e0f-0000000000a2"
DEBIAN, ROCKY, GONE = (f"3f1c2f1e-0a0b-4c0d-8e0f-0000000000b{number}" for number in (1, 2, 3))


def pool(name="fast", on="nvme", zone="sofia", state="Up", number=1):
    return {
        "id": f"{on};3f1c2f1e-0a0b-4c0d-8e0f-0000000000c{number}", "name": name, "provider": "StorPool", "state": state,
        "zoneid": SOFIA if zone == "sofia" else PLOVDIV, "zonename": zone,
    }  # fmt: skip


FAST, SLOW = pool(), pool("slow", "hdd", number=2)


def template(name="debian", identity=DEBIAN, size=GIB, **more):
    fields = {"id": identity, "name": name, "size": size, "isready": True, "templatetype": "USER", "account": "admin", "zoneid": SOFIA}
    return {**fields, "url": "http://x/y.qcow2", "isfeatured": False, "ispublic": True, **more}


def cache(number, identity=DEBIAN, on="nvme", size=GIB, **more):
    tags = {"cs": "template", **({"uuid": identity} if identity else {})}
    return {**raw_snapshot("", number, templateName=on, size=size, tags=tags), **more}


def world(*snapshots, pools=(FAST,), rows=None, listed=None, **more):
    """`rows`: the templates that have a row, by the name of the pool."""
    by_pool = {one["id"]: {each["id"]: each for each in (rows or {}).get(one["name"], [])} for one in pools}
    return World([dict(one) for one in pools], by_pool, list(snapshots), {} if listed is None else {SOFIA: listed}, **more)


def wanted(**options):
    return TEMPLATE_CACHE.parse(checked(DECLARED, **options), 0.0)


def plan(given, **options):
    return sound(CACHED_TEMPLATES.plan(wanted(**options), given))


# -- options


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, "option name is needed to say which template is meant"),
        ({"name": "a", "filter": {"featured": True}}, "option filter: .* cannot be combined with name or id"),
        ({"filter": {}}, "option filter: {} says nothing"),
        ({"filter": {"name": None, "public": None}, "state": "absent"}, "option filter: {} says nothing"),
        ({"name": "a", "pools": []}, r"option pools: \[\] is empty; leave it out to mean all"),
        ({"name": "a", "evict": "storpool_orphans_only"}, "evict: 'storpool_orphans_only' is only for state: absent"),
        ({"name": "a", "keep": True, "state": "absent"}, "option keep: True contradicts state: absent"),
        ({"name": "a", "wait_timeout": "soon"}, "option wait_timeout: 'soon' is not a duration"),
        ({"name": "a", "verify": True}, "option verify: True is only for image"),
        ({"name": "a", "image": "x", "pools": ["p"]}, r"option pools: \['p'\] cannot be combined with image"),
        ({"image": "x"}, "option name is needed with image"),
        ({"image": "x", "name": "a b"}, "option name: 'a b' is not a name StorPool takes"),
        ({"image": "x", "name": "a" * 186}, "option name: '?a+'? is longer than 185 characters"),
        ({"image": "x", "name": "a", "tags": {"ansible-image": "y"}}, "option tags.ansible-image: 'y' is a tag by which images are"),
        ({"image": "x", "name": "a", "client": 5000}, "option client: 5000 is no client id"),
        ({"image": "x", "name": "a", "checksum": "sha256:12"}, "option checksum: 'sha256:12' is not a checksum"),
    ],
)
def test_what_cannot_be_meant(options, problem):
    with pytest.raises(OptionError, match=problem):
        wanted(**options)


def test_the_two_ways():
    assert isinstance(wanted(name="debian"), WantedCache)
    assert isinstance(wanted(name="debian", image="x"), WantedImage)
    assert wanted(state="absent", zone="sofia").about_orphans
    assert [list(one.needs()) for one in (wanted(name="debian"), wanted(name="debian", image="x"))] == [[], []]
    assert wanted(name="a" * 185, image="x").work == "a" * 185 + ".ansible-image"
    server = Server(rows=[template()], snapshots=[cache(1)])
    declared = [wanted(name="debian")]
    seen = TEMPLATE_CACHE.observe(server, declared)
    assert list(seen) == [WantedCache] and TEMPLATE_CACHE.spread(declared, seen) == declared
    shown = TEMPLATE_CACHE.show(TEMPLATE_CACHE.plan(declared[0], seen).after)
    assert shown == {"id": DEBIAN, "pools": {"fast": "cached"}}
    of_image = TEMPLATE_CACHE.plan(wanted(name="golden", image="x"), {WantedImage: image_world()})
    assert TEMPLATE_CACHE.show(of_image.after)["size"] == "1G"


def test_without_cloudstack_there_are_no_templates_of_its():
    storpool = object.__new__(StorPool)
    storpool.without_cloudstack = OptionError("cloudstack_url", None, "is needed")
    declared = wanted(name="debian")
    assert "cloudstack_url" in str(CACHED_TEMPLATES.plan(declared, CACHED_TEMPLATES.observe(storpool, [declared])).refused)


@pytest.mark.parametrize(
    ("pools", "options", "problem"),
    [
        ([], {}, "CloudStack has none at all"),
        ([FAST], {"zone": "varna"}, "'varna' has no StorPool pool; zones with such pools: sofia"),
        ([FAST, pool("far", zone="plovdiv", number=3)], {}, "zone is needed: there are StorPool pools in plovdiv, sofia"),
        ([FAST], {"pools": ["none"]}, "option pools: 'none' does not exist in CloudStack; there are: fast"),
        ([FAST, pool("far", zone="plovdiv", number=3)], {"zone": "sofia", "pools": ["far"]}, "'far' does not exist"),
        ([FAST, pool(number=4)], {"pools": ["fast"]}, "'fast' is the name of 2"),
    ],
)
def test_pools_that_cannot_be_meant(pools, options, problem):
    made = plan(world(pools=pools, listed=[template()]), name="debian", **options)
    with pytest.raises(OptionError, match=problem):
        raise made.refused


# -- both layers


def test_there():
    made = plan(world(cache(1), rows={"fast": [template()]}), name="debian")
    assert (made.refused, calls(made), made.before, made.after, list(made.waits)) == (None, [], made.after, made.before, [])
    assert made.before["pools"] == [{"pool": "fast", "cached": True, "verified": True, "global_id": "sf.a.1"}]


@pytest.mark.parametrize(
    ("snapshots", "rows", "place"),
    [
        ([], [], {"cached": False, "verified": False}),
        ([cache(1)], [], {"cached": False, "verified": False, "extra": ["sf.a.1"]}),
        ([], [template()], {"cached": True, "verified": False, "problem": "CloudStack has a row"}),
        ([cache(1, on="hdd")], [template()], {"cached": True, "verified": False, "problem": "CloudStack has a row"}),
        ([cache(1, identity=ROCKY)], [template()], {"cached": True, "verified": False, "problem": "CloudStack has a row"}),
        ([cache(1, deleted=True)], [template()], {"cached": True, "verified": False, "problem": "CloudStack has a row"}),
        ([cache(1, name="*del")], [template()], {"cached": True, "verified": False, "problem": "CloudStack has a row"}),
        (
            [raw_snapshot("", 1, templateName="nvme", tags={"cs": "snapshot", "uuid": DEBIAN})],
            [template()],
            {"cached": True, "verified": False, "problem": "CloudStack has a row"},
        ),
        ([cache(1, size=GIB - 512)], [template()], {"cached": True, "verified": False, "extra": ["sf.a.1"], "problem": "the snapshot has"}),
        ([cache(1)], [template(size=GIB - 7)], {"cached": True, "verified": True, "global_id": "sf.a.1"}),
        ([cache(1, size=2 * GIB)], [template(size=None)], {"cached": True, "verified": True, "global_id": "sf.a.1"}),
    ],
)
def test_what_is_there(snapshots, rows, place):
    made = plan(world(*snapshots, rows={"fast": rows}, listed=[template()]), name="debian")
    found = {**made.before["pools"][0]}
    problem = found.pop("problem", "")
    assert problem.startswith(place.pop("problem", "-" if problem else ""))
    assert found == {"pool": "fast", "global_id": None, **place}


def test_the_newest_of_several_is_the_cache():
    made = plan(world(cache(1, creationTimestamp=5), cache(2, creationTimestamp=9), rows={"fast": [template()]}), name="debian")
    assert made.before["pools"][0] == {"pool": "fast", "cached": True, "verified": True, "global_id": "sf.a.2", "extra": ["sf.a.1"]}


def test_a_base_is_no_cache():
    """Of a template made from a volume: the base has the tags of a cache, the cache stands on it."""
    base, child = cache(1), cache(2, parentName="~sf.a.1")
    own = template(url=None)
    assert plan(world(base, child, rows={"fast": [own]}), name="debian").before["pools"][0]["global_id"] == "sf.a.2"
    made = plan(
        world(base, cache(2, on="hdd", parentName="~sf.a.1"), pools=(FAST, SLOW), rows={"slow": [own]}, listed=[own]), name="debian"
    )
    assert [one["verified"] for one in made.before["pools"]] == [False, True]
    made = plan(world(base, listed=[own]), name="debian")
    assert made.before["pools"][0] == {"pool": "fast", "cached": False, "verified": False, "global_id": None}


def test_direct_downloads_are_counted():
    """Their snapshots carry no id."""
    one, other = template(directdownload=True), template("rocky", ROCKY, directdownload=True)
    there = {"pool": "fast", "cached": True, "verified": True, "global_id": None}
    assert plan(world(cache(1, None), cache(2, None), rows={"fast": [one, other]}), name="debian").before["pools"] == [there]
    made = plan(world(cache(1, None), cache(2, None, on="hdd"), rows={"fast": [one, other]}, listed=[one, other]), name="debian")
    assert made.before["pools"][0]["problem"] == "2 direct downloads have a row on this pool, and StorPool has 1 snapshots of such"
    assert [call for call, _params in calls(made)] == ["prepareTemplate"]


# -- observe


class Server:
    """Lists what belongs to a project only to who asks for projects, and private templates only with listall, as CloudStack does."""

    def __init__(self, pools=(FAST,), rows=(), templates=(), volumes=(), snapshots=(), projects=(), **taken):
        self.pools, self.rows, self.templates, self.volumes, self.projects = pools, rows, templates, volumes, projects
        self.taken, self.threads, self.clusters = taken, None, {}
        self.storpool = SimpleNamespace(
            snapshots=lambda: list(snapshots), volumes=list, attachments=list, exports=list, templates=lambda: [raw_template("nvme")]
        )

    def list(self, call, key, unlimited=False, **params):
        if params == {"name": "template.preloader.pool.size"}:  # and CloudStack lists all that begin so
            values = {"template.preloader.pool.size.max": "1", "template.preloader.pool.size": self.threads}
            return [{"name": name, "value": value} for name, value in values.items() if value]
        assert unlimited and call.lower().startswith(f"list{key.lower()}")
        if call == "listClusters":
            return [{"id": zone, "zoneid": zone, "resourcedetails": details} for zone, details in self.clusters.items()]
        if call in ("listStoragePools", "listConfigurations"):
            return list(self.pools) if call == "listStoragePools" else []
        assert params["listall"] is True
        if call != "listTemplates":
            found = self.volumes if call == "listVolumes" else self.taken.get(call, [])
        else:
            found = self.rows if "storageid" in params else self.templates
        return [one for one in found if (one["id"] in self.projects) is (params.get("projectid") == "-1")]


def observed(server, **options):
    return CACHED_TEMPLATES.observe(server, [wanted(**options)])


def test_what_belongs_to_a_project_is_found_by_its_name():
    own = template()
    server = Server(rows=[own], templates=[own], snapshots=[cache(1)], projects=[DEBIAN])
    for which in ({"name": "debian"}, {"id": DEBIAN}):
        made = plan(observed(server, **which), **which)
        assert (made.refused, list(made.changes), made.before["pools"][0]["verified"]) == (None, [], True)
    made = plan(observed(Server(templates=[own], projects=[DEBIAN]), name="debian"), name="debian")
    assert [change.action for change in made.changes] == ["prepare on fast"]


@pytest.mark.parametrize(
    ("options", "rows", "snapshots", "settled"),
    [
        ({"name": "debian"}, [template()], [cache(1)], True),
        ({"id": DEBIAN}, [template(), template("rocky", ROCKY)], [cache(1)], True),
        ({"id": DEBIAN, "keep": True}, [template()], [cache(1)], True),
        ({"name": "debian", "keep": True}, [template()], [cache(1)], False),
        ({"name": "debian"}, [template(), template(identity=ROCKY)], [cache(1), cache(2, ROCKY)], False),
        ({"name": "debian"}, [template()], [], False),
        ({"name": "debian"}, [], [cache(1)], False),
        ({"filter": {"name": ["deb*"]}}, [template()], [cache(1)], False),
    ],
)
def test_a_zone_is_listed_only_for_what_its_pools_do_not_settle(options, rows, snapshots, settled):
    seen = observed(Server(rows=rows, templates=[template()], snapshots=snapshots), **options)
    assert list(seen.templates) == ([] if settled else [SOFIA])


@pytest.mark.parametrize(("rows", "snapshots", "doubtful"), [([template()], [], True), ([template()], [cache(1)], False), ([], [], False)])
def test_the_templates_of_storpool_are_read_when_a_row_has_no_snapshot(rows, snapshots, doubtful):
    seen = observed(Server(rows=rows, templates=[template()], snapshots=snapshots), name="debian")
    assert seen.known_templates == (frozenset({"nvme"}) if doubtful else None)


def test_what_belongs_to_a_project_is_no_orphan():
    own = template()
    evict = {"state": "absent", "evict": "storpool_orphans_only"}
    for rows in ([own], []):
        server = Server(rows=rows, templates=[own], snapshots=[cache(1)], projects=[DEBIAN])
        told = [one["what"] for one in plan(observed(server, **evict), **evict).before["found"]]
        assert told == ([] if rows else ["orphan"])
    volume = {"id": "v", "templateid": DEBIAN, "state": "Ready"}
    server = Server(rows=[own], templates=[own], volumes=[volume], snapshots=[cache(1)], projects=["v"])
    gone = {"name": "debian", "state": "absent"}
    assert plan(observed(server, **gone), **gone).notes["collection"][0]["volumes"] == 1


def test_snapshots_of_projects_and_of_vms_are_known():
    both = {"listSnapshots": [{"id": DEBIAN}], "listVMSnapshot": [{"id": ROCKY}]}
    taken = [raw_snapshot("", number, templateName="nvme", tags={"cs": kind, "uuid": identity}) for number, kind, identity in (
        (1, "snapshot", DEBIAN), (2, "group", ROCKY), (3, "snapshot", GONE), (4, "group", GONE),
    )]  # fmt: skip
    given = observed(Server(snapshots=taken, projects=[DEBIAN, ROCKY], **both), state="absent")
    made = plan(given, state="absent", evict="storpool_orphans_only")
    assert [(one["global_id"], one["what"], one["removable"]) for one in made.before["found"]] == [
        ("sf.a.3", "unknown", False),
        ("sf.a.4", "unknown", False),
    ]
    assert made.changes == []


# -- plan


def test_only_what_is_missing_is_prepared():
    made = plan(world(cache(1), pools=(FAST, SLOW), rows={"fast": [template()]}, listed=[template()]), name="debian", wait_timeout="5m")
    assert calls(made) == [("prepareTemplate", {"templateid": DEBIAN, "zoneid": SOFIA, "storageid": SLOW["id"]})]
    assert [change.action for change in made.changes] == ["prepare on slow"] and made.changes[0].write.hints[0][0] == "not ready"
    assert [one["verified"] for one in made.after["pools"]] == [True, True]
    assert [(wait.what, wait.seconds) for wait in made.waits] == [("the copy of template debian to StorPool", 300.0)]
    assert made.renewals == []


def test_keeping_is_no_change():
    made = plan(world(cache(1), pools=(FAST, SLOW), rows={"fast": [template()]}, listed=[template()]), name="debian", keep=True)
    assert [renewal.params["storageid"] for renewal in made.renewals] == [FAST["id"]]
    assert [change.write.params["storageid"] for change in made.changes] == [SLOW["id"]]
    assert made.notes == {"kept": ["fast", "slow"]}
    made = plan(world(cache(1), rows={"fast": [template()]}), name="debian", keep=True)
    assert (made.changes, made.before) == ([], made.after)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (world(listed=[template(isready=False, status="12% Downloaded")]), "not ready in zone sofia: 12% Downloaded"),
        (world(pools=[pool(state="Maintenance")], listed=[template()]), "storage pool fast is Maintenance"),
        (world(cache(1, size=512), rows={"fast": [template()]}, listed=[template()]), "is no good"),
        (world(rows={"fast": [template()]}, listed=[template()], known_templates=frozenset({"hdd"})), "is on another one"),
        (world(listed=[template("other")]), "option name: 'debian' is no template in zone sofia; there are: other"),
        (world(listed=[template(), template(identity=ROCKY, account="ops")]), f"{DEBIAN} .account admin., {ROCKY} .account ops."),
    ],
)
def test_what_would_be_in_vain(given, problem):
    made = plan(given, name="debian")
    assert made.changes == ()
    with pytest.raises((ChangeRefused, OptionError), match=problem):
        raise made.refused


def test_filters():
    every = [
        template(isfeatured=True),
        template("rocky", ROCKY, templatetype="BUILTIN", tags=[{"key": "os", "value": "el"}]),
        template("systemvm", GONE, templatetype="SYSTEM"),
    ]
    given = world(listed=every)

    def names(**chosen):
        return [one.name for one in CACHED_TEMPLATES.spread([wanted(filter=chosen)], given)]

    assert names(public=True) == ["debian", "rocky"]
    assert names(name=["d*", "sys*"]) == ["debian"]
    assert names(featured=False) == ["rocky"]
    assert names(tags={"os": "el"}) == names(type=["BUILTIN"]) == ["rocky"]
    assert names(type=["SYSTEM"]) == ["systemvm"]
    with pytest.raises(OptionError, match="fits no template in zone sofia"):
        names(account="nobody")


def test_a_filter_means_each_template_by_its_id():
    """Also of those that share a name; of what is to go, also what CloudStack has removed."""
    rows = {"fast": [template("alike", GONE, removed="2026-11-22"), template("other", "o", removed="2026-11-22"), template("alike", ROCKY)]}
    given = world(rows=rows, listed=[template("alike", ROCKY), template("alike")])

    def meant(**options):
        return [(one.label, one.name, one.id, one.filter) for one in CACHED_TEMPLATES.spread([wanted(**options)], given)]

    assert meant(filter={"name": ["alike"]}) == [("alike", "alike", identity, None) for identity in (DEBIAN, ROCKY)]
    assert meant(filter={"name": ["alike"]}, state="absent") == [("alike", "alike", identity, None) for identity in (DEBIAN, ROCKY, GONE)]
    assert meant(name="debian") == [("debian", "debian", None, None)], "without a filter it is as declared"


# -- zones whose pools have StorPool templates of one name

FAR = pool("far", zone="plovdiv", number=3)
HOMES = {SOFIA: {"sp.cluster.id": "SF.a"}, PLOVDIV: {"sp.cluster.id": "pd.a"}}


def in_two_zones(*snapshots, pools=(FAST, FAR), clusters=None):
    server = Server(pools=pools, rows=[template()], templates=[template(zoneid=None)], snapshots=snapshots)
    server.clusters = HOMES if clusters is None else clusters
    return server


@pytest.mark.parametrize(("zone", "verified"), [("sofia", True), ("plovdiv", False)])
def test_a_snapshot_of_one_zone_is_no_cache_of_another(zone, verified):
    """Two pools on one StorPool template are on two clusters; this one has the location sf."""
    made = plan(observed(in_two_zones(cache(1)), name="debian", zone=zone), name="debian", zone=zone)
    assert made.before["pools"][0]["verified"] is verified and list(made.changes) == []
    told = "storage pool far is on a StorPool cluster of location pd, and the one that is asked is of sf"
    assert bool(made.refused) is not verified and (verified or told in str(made.refused))


@pytest.mark.parametrize("details", [{}, None, {"sp.cluster.id": "n/a"}, {"sp.cluster.id": "sf.b"}])
def test_where_the_location_is_not_known_the_name_of_the_template_counts(details):
    server = in_two_zones(cache(1), clusters={PLOVDIV: details})
    assert plan(observed(server, name="debian", zone="plovdiv"), name="debian", zone="plovdiv").before["pools"][0]["verified"]


def test_where_each_zone_has_templates_of_its_own_no_location_is_asked_for():
    server = in_two_zones(cache(1), pools=(FAST, pool("far", "hdd", "plovdiv", number=3)), clusters=None)
    assert plan(observed(server, name="debian", zone="sofia"), name="debian", zone="sofia").before["pools"][0]["verified"]


def test_what_a_check_run_foresees_is_where_it_is_wanted():
    seen = observed(in_two_zones(cache(1, globalId="zzforeseen.id.1")), name="debian", zone="plovdiv")
    assert plan(seen, name="debian", zone="plovdiv").before["pools"][0]["verified"]


def test_a_copy_that_will_not_come_here_is_not_waited_for():
    watch = watching(in_two_zones(cache(1)), homes={SOFIA: {"pd"}})
    with pytest.raises(ChangeRefused, match="is on a StorPool cluster of location pd"):
        watch.done(in_two_zones(cache(1)))


# -- the copies that are waited for


def leftover(number, identity=DEBIAN, on="nvme"):
    return raw_volume("", number, templateName=on, tags={"cs": "template", "uuid": identity})


def watching(server, volumes=(), attached=(), old=(), lost=True, own=None, homes=None):
    server.storpool.volumes = lambda: list(volumes)
    server.storpool.attachments = lambda: [{"volume": one} for one in attached]
    return cache_watch.Watch(own or template(), [(FAST, Place(lost, None, lost=lost))], set(old), homes or {})


@pytest.mark.parametrize(
    ("rows", "volumes", "attached", "snapshots", "words"),
    [
        ([], [], [], [], "CloudStack has not begun"),
        ([template()], [leftover(7), leftover(8)], ["~sf.a.8"], [], "a host is writing volume ~sf.a.8"),
        ([template()], [leftover(7)], ["~sf.a.9"], [], "volume ~sf.a.7 is there and no host has it"),
        ([template()], [leftover(7, ROCKY), leftover(8, on="hdd")], ["~sf.a.7", "~sf.a.8"], [], "nothing is being written"),
        ([template()], [raw_volume("", 7, templateName="nvme")], ["~sf.a.7"], [], "nothing is being written"),
        ([template()], [], [], [cache(1, size=512)], "the snapshot has 512, the template 1G"),
        ([template()], [], [], [cache(1)], "it has just ended"),
    ],
)
def test_how_far_a_copy_is(rows, volumes, attached, snapshots, words):
    server = Server(rows=rows, snapshots=snapshots)
    told = watching(server, volumes, attached).explain(server)
    assert told.startswith(f"fast: {words}") or (told.startswith("fast: ") and words in told)
    assert told.endswith("CloudStack's API does not")


@pytest.mark.parametrize(
    ("rows", "snapshots", "old", "own", "done"),
    [
        ([template()], [cache(1)], [], None, True),
        ([template()], [cache(1)], ["sf.a.1"], None, False),
        ([template()], [cache(1, ROCKY)], [], None, False),
        ([], [cache(1)], [], None, False),
        ([template(size=2 * GIB)], [cache(1)], [], None, False),
        ([template(directdownload=True)], [cache(1, None)], [], template(directdownload=True), True),
        ([template(directdownload=True)], [], [], template(directdownload=True), False),
    ],
)
def test_a_copy_has_ended_when_both_layers_have_what_was_not_there_before(rows, snapshots, old, own, done):
    server = Server(rows=rows, snapshots=snapshots)
    assert watching(server, old=old, own=own, lost=False).done(server) is done


class Clock:
    """What the module takes for the time."""

    now = 100.0

    def monotonic(self):
        return self.now


@pytest.mark.parametrize(
    ("lost", "volumes", "threads", "dead"),
    [
        (True, [], None, True),
        (False, [], None, False),
        (True, [leftover(7)], None, False),
        (True, [leftover(7, ROCKY)], None, True),
        (True, [leftover(7, on="hdd")], None, True),
        # Eight copies go on at once; when others have all the threads it may have to wait for them.
        (True, [leftover(number, ROCKY) for number in range(7)], None, True),
        (True, [leftover(number, ROCKY) for number in range(8)], None, False),
        (True, [leftover(7, ROCKY), leftover(8, ROCKY)], "2", False),
        (True, [leftover(7, ROCKY), leftover(8, ROCKY)], "3", True),
    ],
)
def test_a_copy_of_which_nothing_is_written_for_a_while_is_given_up(lost, volumes, threads, dead, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(cache_watch, "time", clock)
    server = Server(rows=[template()])
    server.threads = threads
    watch = watching(server, volumes, lost=lost)
    looks = []
    server.storpool.volumes = lambda: looks.append(clock.now) or list(volumes)
    problem = None
    for clock.now in (100.0, 104.0, 105.0, 109.0, 110.0, 130.0, 134.0, 135.0):
        try:
            assert watch.done(server) is False
        except ChangeRefused as exc:
            problem = exc
            break
    assert (problem is not None, looks[:2]) == (dead, [105.0, 110.0] if lost else [])
    if dead:
        assert clock.now == 135.0 and problem.message.startswith("on fast CloudStack has a row"), "30 s after the first look that saw none"


# -- absent


def test_when_the_cleanup_comes():
    def told(users=None, own=None, **settings):
        given = world(cache(1), rows={"fast": [own or template()]}, listed=[], users=users or {}, settings=settings)
        made = plan(given, name="debian", state="absent")
        assert (made.changes, made.before) == ((), made.after)
        return made.notes["collection"][0]

    assert told(**{"storage.cleanup.interval": "3600"})["within"] == 7200
    assert told()["within"] == 2 * 86400
    for found, because in (
        (told({(DEBIAN, FAST["id"]): 2}), "2 volumes on this pool"),
        (told(**{"storage.cleanup.enabled": "false"}), "storage.cleanup.enabled is not true"),
        (told(own=template(templatetype="SYSTEM")), "never collects its own"),
    ):
        assert found["within"] is None and because in found["because"]


def test_what_is_gone_already():
    """A second run of a play that cleans up finds nothing, which is what it wants."""
    given = world(rows={"fast": [template()]}, listed=[template()])
    gone = plan(given, name="rocky", state="absent")
    assert (gone.refused, gone.changes, gone.before, gone.after, gone.notes) == (None, (), None, None, {"collection": []})
    assert "has no template rocky and no cache of one" in gone.warnings[0]
    assert "is no template in zone sofia" in str(plan(given, name="rocky").refused)
    assert CACHED_TEMPLATES.spread([wanted(filter={"name": ["rocky*"]}, state="absent")], given) == []


def test_an_orphan_is_not_what_a_row_may_be_about():
    living = template("rocky", ROCKY)
    given = world(
        cache(1), cache(2), cache(3, ROCKY), cache(4, GONE), cache(5, GONE, on="hdd"), cache(6, None),
        rows={"fast": [template()]}, listed=[template(), living],
        volumes=[
            raw_volume("", 7, templateName="nvme", tags={"cs": "template", "uuid": ROCKY}),
            raw_volume("", 8, templateName="nvme", tags={"cs": "template", "uuid": DEBIAN}),
            raw_volume("", 9, templateName="nvme", tags={"cs": "template", "uuid": GONE}),
        ],
        attached=frozenset({"~sf.a.9"}),
    )  # fmt: skip
    made = plan(given, state="absent", evict="storpool_orphans_only")
    told = {one["global_id"]: (one["what"], one["removable"]) for one in made.before["found"]}
    assert told == {
        "sf.a.1": ("surplus", False), "sf.a.3": ("orphan", True), "sf.a.4": ("orphan", True), "sf.a.6": ("surplus", False),
        "sf.a.7": ("leftover", True), "sf.a.8": ("under way", False), "sf.a.9": ("under way", False),
    }  # fmt: skip
    assert [(change.write.call, change.write.on) for change in made.changes] == [
        ("SnapshotDelete", "~sf.a.3"),
        ("SnapshotDelete", "~sf.a.4"),
        ("VolumeDelete", "~sf.a.7"),
    ]
    assert list(plan(given, state="absent").changes) == []


def test_a_pool_of_the_same_storpool_template_needs_its_caches():
    """With several clusters to look at, those of a pool in another zone are seen here."""
    far = pool("far", zone="plovdiv", number=9)
    given = world(
        cache(1), cache(2, GONE), cache(3, ROCKY), cache(4, None),
        rows={"far": [template(), template("gone", GONE, removed="2026-11-22"), template("direct", "d", directdownload=True)]},
        listed=[template(), template("rocky", ROCKY)], pools=[FAST, far],
        volumes=[raw_volume("", 7, templateName="nvme", tags={"cs": "template", "uuid": DEBIAN})],
    )  # fmt: skip
    made = plan(given, state="absent", zone="sofia", evict="storpool_orphans_only")
    assert [(one["global_id"], one["what"]) for one in made.before["found"]] == [("sf.a.3", "orphan")]
    assert [change.write.on for change in made.changes] == ["~sf.a.3"]


def test_nothing_is_deleted_where_no_cache_is_seen():
    given = world(cache(3, GONE), rows={"fast": [template()]}, listed=[template()])
    for which in ({}, {"id": GONE}):
        made = plan(given, state="absent", evict="storpool_orphans_only", **which)
        assert made.changes == () and "this StorPool cluster has none of them" in made.refused.message
    assert plan(given, state="absent").refused is None


def test_a_row_of_a_removed_template_still_counts():
    given = world(cache(1), rows={"fast": [template(removed="2026-11-22")]}, listed=[])
    assert [one["what"] for one in plan(given, state="absent").before["found"]] == ["waiting"]
    assert plan(given, name="debian", state="absent", evict="storpool_orphans_only").changes == []


@pytest.mark.parametrize(
    ("snapshots", "rows", "word"),
    [
        ([cache(1)], [template()], "cached"),
        ([cache(1, creationTimestamp=1), cache(2)], [template()], "cached, 1 not needed"),
        ([], [template()], "unfinished"),
        ([], [], "not cached"),
    ],
)
def test_the_diff_has_a_word_for_each_pool(snapshots, rows, word):
    made = plan(world(*snapshots, rows={"fast": rows}, listed=[template()]), name="debian")
    assert CACHED_TEMPLATES.show(made.before) == {"id": DEBIAN, "pools": {"fast": word}}


def test_the_diff_has_a_word_for_each_orphan():
    made = plan(world(cache(4, GONE), rows={"fast": [template("old", ROCKY)]}, listed=[template("old", ROCKY)]), state="absent")
    (orphan, row) = CACHED_TEMPLATES.show(made.before)["found"]
    assert orphan == "snapshot sf.a.4: orphan" and row == "row : broken row"


def of_plugin(owner, number, volume=False, **more):
    tags = {"cs": owner, "uuid": GONE, **more}
    return (raw_volume if volume else raw_snapshot)("", number, templateName="nvme", tags=tags)


@pytest.mark.parametrize(
    ("snapshots", "volumes", "found"),
    [
        ([of_plugin("temporary", 1)], [], ("snapshot", "temporary", "a running export needs it")),
        ([of_plugin("delayDelete", 1)], [], ("snapshot", "delayed", "StorPool deletes it by itself")),
        ([], [of_plugin("check-volume-is-on-host", 1, volume=True)], ("volume", "heartbeat", "the heartbeat of a cluster")),
        ([of_plugin("check-volume-is-on-host", 1)], [], None),
        ([], [of_plugin("volume", 1, volume=True)], None),
        ([], [raw_volume("", 1, templateName="nvme", tags={"cs": "template"})], ("volume", "leftover", "of a direct download")),
        ([of_plugin("snapshot", 1)], [], ("snapshot", "unknown", "CloudStack lists no snapshot")),
        ([of_plugin("snapshot", 1, uuid=ROCKY)], [], None),
        ([of_plugin("snapshot", 5, uuid=ROCKY)], [], ("snapshot", "exported", "a copy in far needs it")),
        ([raw_snapshot("", 1, templateName="nvme", tags=None)], [], None),
        ([], [], None),
    ],
)
def test_what_else_the_plugin_leaves(snapshots, volumes, found):
    more = {"known_snapshots": frozenset({ROCKY}), "exports": {"sf.a.5": "far"}}
    made = plan(world(*snapshots, volumes=volumes, **more), state="absent", evict="storpool_orphans_only")
    told = [(one["kind"], one["what"], one["because"]) for one in made.before["found"]]
    assert len(told) == bool(found) and made.changes == [], "all these are left to people"
    if found:
        assert told[0][:2] == found[:2] and told[0][2].startswith(found[2])


def test_the_base_of_a_living_template_is_no_orphan():
    given = world(cache(1), listed=[template(url=None)])
    assert plan(given, state="absent", evict="storpool_orphans_only").before["found"] == []


def test_places_are_found_without_asking_anybody():
    assert find_place(template(), FAST, world()).verified is False


# -- images

CHECKSUM = f"sha256:{'a' * 64}"
WORK = "golden.ansible-image"


def image_world(snapshots=(), volumes=(), attachments=None, **more):
    given = {
        "templates": {"nvme": raw_template("nvme")},
        "clients": {11: "ok", 12: "down"},
        "images": {("x", None, None): Image("x", "qcow2", GIB, CHECKSUM), ("x", None, CHECKSUM): Image("x", "qcow2", GIB, CHECKSUM)},
        "here": 11,
        **more,
    }
    return image.World({one["name"]: one for one in snapshots}, {one["name"]: one for one in volumes}, attachments or {}, **given)


def image_plan(given, **options):
    return sound(IMAGES.plan(wanted(name="golden", image="x", **options), given))


def work(filled=False, checksum=CHECKSUM, **more):
    tags = {"ansible-image-work": checksum, **({"ansible-image-filled": checksum} if filled else {})}
    return raw_volume(WORK, 1, tags=tags, templateName="nvme", **more)


def golden(checksum=CHECKSUM, **more):
    return raw_snapshot("golden", 2, tags={"ansible-image": checksum}, templateName="nvme", **more)


@pytest.mark.parametrize(
    ("given", "actions"),
    [
        (image_world(), "create volume, attach volume, fill, detach volume, snapshot, delete volume"),
        (image_world(volumes=[work()]), "attach volume, fill, detach volume, snapshot, delete volume"),
        (image_world(volumes=[work()], attachments={WORK: {11: "rw"}}), "fill, detach volume, snapshot, delete volume"),
        (
            image_world(volumes=[work()], attachments={WORK: {13: "rw"}}),
            "attach and detach volume, fill, detach volume, snapshot, delete volume",
        ),
        (image_world(volumes=[work(True)], attachments={WORK: {11: "rw"}}), "detach volume, snapshot, delete volume"),
        (image_world(volumes=[work(True)]), "snapshot, delete volume"),
        (image_world([golden()], [work(True)]), "delete volume"),
        (image_world([golden()], [work()], {WORK: {11: "rw"}}), "detach volume, delete volume"),
        (image_world([golden()]), ""),
        (
            image_world(volumes=[work(True, "sha256:old")], attachments={WORK: {11: "rw"}}),
            "detach leftover, delete leftover, create volume, attach volume, fill, detach volume, snapshot, delete volume",
        ),
        (
            image_world(volumes=[work(size=2 * GIB)]),
            "delete leftover, create volume, attach volume, fill, detach volume, snapshot, delete volume",
        ),
    ],
)
def test_a_run_goes_on_where_another_stopped(given, actions):
    made = image_plan(given, template="nvme")
    assert made.refused is None
    assert ", ".join(change.action for change in made.changes) == actions


def test_an_empty_device_is_told_from_one_that_was_written():
    """Zeros need not be written to a volume that was just made."""
    assert [change.work is not None for change in image_plan(image_world()).changes] == [False, False, True, False, False, False]


def writes(made):
    return [(change.action, change.write.call, change.write.on, change.write.body) for change in made.changes]


def test_what_is_sent_to_make_a_snapshot_of_an_image():
    sent = {action: (call, on, body) for action, call, on, body in writes(image_plan(image_world(), template="nvme", tags={"os": "el"}))}
    assert sent["create volume"][2] == {"name": WORK, "size": GIB, "tags": {"ansible-image-work": CHECKSUM}, "template": "nvme"}
    assert sent["fill"] == ("VolumeUpdate", WORK, {"tags": {"ansible-image-filled": CHECKSUM}})
    tags = {"os": "el", "ansible-image": CHECKSUM, "ansible-image-source": "x", "ansible-image-format": "qcow2"}
    assert sent["snapshot"][1:] == (WORK, {"name": "golden", "tags": tags})
    assert sent["delete volume"][:2] == ("VolumeDelete", WORK)


@pytest.mark.parametrize(
    ("given", "actions"),
    [
        (image_world([golden()]), ["delete"]),
        (image_world([golden()], [work()], {WORK: {11: "rw"}}), ["detach volume", "delete volume", "delete"]),
        (image_world(volumes=[work()]), ["delete volume"]),
        (image_world(), []),
        (image_world([golden()], attachments={"golden": {12: "ro"}}), "snapshot golden is attached to client 12"),
        (image_world([raw_snapshot("golden")]), "was not made from an image"),
    ],
)
def test_images_that_are_to_go(given, actions):
    made = image_plan(given, state="absent")
    if isinstance(actions, str):
        assert actions in str(made.refused)
    else:
        assert [change.action for change in made.changes] == actions and made.after is None and not made.refused


@pytest.mark.parametrize("fails", [None, "copy", "take away"])
def test_a_copy_that_fails_takes_its_volume_away_again(fails, monkeypatch):
    done, sent = [], []

    class Client:
        """Takes writes, unless it is not there any more."""

        def send(self, write):
            sent.append(write.call)
            if fails == "take away":
                raise OptionError("client", 11, "is gone")

    def copy(*given):
        done.append(given[:4])
        if fails:
            raise OptionError("image", "x", "cannot be read")

    monkeypatch.setattr(image, "device_of", lambda *given: given)
    monkeypatch.setattr(image, "copy_to_device", copy)
    fill = next(change.work for change in image_plan(image_world(), verify=True).changes if change.work)
    if fails:
        with pytest.raises(OptionError, match="cannot be read") as failure:
            fill(Client(), print)
        assert ("was deleted again" in failure.value.message) is (fails == "copy")
    else:
        fill(Client(), print)
    assert done == [(Image("x", "qcow2", GIB, CHECKSUM), ("/dev/storpool", WORK, GIB, 60), True, True)]
    assert sent == {None: [], "copy": ["VolumesReassignWait", "VolumeDelete"], "take away": ["VolumesReassignWait"]}[fails]


@pytest.mark.parametrize(
    ("given", "options", "problem"),
    [
        (image_world([golden("sha256:other")]), {}, "holds an image with sha256:other"),
        (image_world([raw_snapshot("golden")]), {}, "was not made from an image"),
        (image_world(volumes=[raw_volume("golden")]), {}, "a volume is called golden"),
        (image_world(volumes=[raw_volume(WORK)]), {}, "that is not from here"),
        (image_world(), {"client": 12}, "client 12 is down"),
        (image_world(), {"client": 13}, "13 is no client of this cluster; there are: 11, 12"),
        (image_world(here=None), {}, "has no SP_OURID"),
        (image_world(), {"template": "none"}, "'none' does not exist on this cluster"),
        (image_world(templates={"nvme": raw_template("nvme", parentName="p")}), {"template": "nvme"}, "makes volumes from a parent"),
        (image_world(images={("x", None, None): OptionError("image", "x", "is bad")}), {}, "is bad"),
        (image_world(trouble=OptionError("qemu-img", None, "is missing")), {}, "is missing"),
    ],
)
def test_images_that_are_not_taken(given, options, problem):
    made = image_plan(given, **options)
    assert made.changes == ()
    with pytest.raises((ChangeRefused, OptionError), match=problem):
        raise made.refused


def test_a_checksum_that_is_given_needs_no_file():
    made = image_plan(image_world([golden()], images={}), checksum=CHECKSUM)
    assert (made.refused, list(made.changes)) == (None, [])


class Recorder:
    """StorPool's reads, each told by its name."""

    def __init__(self, snapshots=(), volumes=(), multi_cluster=False):
        self.kept = {"snapshot": {one["name"]: one for one in snapshots}, "volume": {one["name"]: one for one in volumes}}
        self.connection = SimpleNamespace(multi_cluster=multi_cluster)
        self.reads = []

    def __getattr__(self, name):
        answers = {
            "snapshots": list(self.kept["snapshot"].values()), "volumes": list(self.kept["volume"].values()), "attachments": [],
            "templates": [raw_template("nvme")], "clients_config": [{"id": "11", "configStatus": "ok"}],
        }  # fmt: skip

        def read(*called):
            self.reads.append(" ".join((name, *called)))
            return self.kept[name].get(called[0]) if called else answers[name]

        return read


ONE = ["snapshot golden", f"volume {WORK}"]
TO_MAKE = ["volume golden", "clients_config"]


@pytest.mark.parametrize(
    ("snapshots", "volumes", "options", "reads", "files"),
    [
        ([golden()], [], {"checksum": CHECKSUM}, ONE, 0),
        ([golden()], [], {}, ONE, 1),
        ([golden()], [], {"template": "nvme"}, ONE, 1),
        ([golden()], [], {"template": "hdd"}, [*ONE, "templates"], 1),
        ([golden()], [work()], {}, [*ONE, "attachments"], 1),
        ([golden()], [], {"state": "absent"}, [*ONE, "attachments"], 0),
        ([], [], {"state": "absent"}, ONE, 0),
        ([], [work()], {"state": "absent"}, [*ONE, "attachments"], 0),
        ([], [], {"checksum": CHECKSUM}, [*ONE, *TO_MAKE], 1),
        ([golden(deleted=True)], [], {}, [*ONE, *TO_MAKE], 1),
        ([], [work()], {"template": "nvme"}, [*ONE, TO_MAKE[0], "templates", TO_MAKE[1], "attachments"], 1),
    ],
)
def test_what_an_image_takes_to_be_planned(snapshots, volumes, options, reads, files, monkeypatch):
    read = []
    monkeypatch.setattr(image, "read_image", lambda *declared: read.append(declared) or Image("x", "qcow2", GIB, CHECKSUM))
    monkeypatch.setattr(image, "require_qemu_img", lambda: None)
    monkeypatch.setenv("SP_OURID", "11")
    client = Recorder(snapshots, volumes)
    seen = IMAGES.observe(client, [wanted(name="golden", image="x", **options)])
    assert client.reads == reads and read == [("x", None, options.get("checksum"))] * files
    assert (seen.clients, seen.here, seen.trouble) == (({11: "ok"}, 11, None) if TO_MAKE[1] in reads else ({}, None, None))
    assert list(seen.templates) == (["nvme"] if "templates" in reads else [])


@pytest.mark.parametrize(("number", "multi_cluster"), [(2, False), (1, True)])
def test_several_images_or_clusters_take_whole_listings(number, multi_cluster):
    client = Recorder([golden()], [raw_volume("golden")], multi_cluster)
    declared = [wanted(name=name, image="x", checksum=CHECKSUM, state="absent") for name in ("golden", "other")[:number]]
    seen = IMAGES.observe(client, declared)
    assert client.reads == ["snapshots", "volumes", "attachments"] and list(seen.snapshots) == list(seen.volumes) == ["golden"]


def test_what_would_keep_an_image_from_being_written_is_kept_for_the_plan(monkeypatch, tmp_path):
    monkeypatch.setattr(image, "require_qemu_img", lambda: (_unused for _unused in ()).throw(OptionError("qemu-img", None, "is missing")))
    monkeypatch.setenv("SP_OURID", "11")
    declared = wanted(name="golden", image=str(tmp_path / "none"), template="nvme")
    seen = IMAGES.observe(Recorder(), [declared])
    assert "is missing" in str(seen.trouble) and "none" in str(next(iter(seen.images.values())))
    elsewhere = wanted(name="golden", image="x", progress_file=str(tmp_path / "no" / "such"))
    assert "progress_file" in str(next(iter(IMAGES.observe(Recorder(), [elsewhere]).images.values())))


def test_how_far_a_copy_is_told_each_tenth_and_written_whenever_it_changes(tmp_path):
    told, written = [], []
    path = tmp_path / "progress"
    progress = image._Progress(wanted(name="golden", image="x", progress_file=str(path)), Image("x", "qcow2", GIB, CHECKSUM), told.append)
    for step, percent in (("copy", 0.0), ("copy", 0.4), ("copy", 9.9), ("copy", 10.0), ("copy", 97.5), ("copy", 100.0), ("verify", 3.0)):
        path.unlink(missing_ok=True)
        progress(step, percent)
        written.append(json.loads(path.read_text())["percent"] if path.exists() else None)
    assert [one.removeprefix("golden: ").partition(" %")[0] for one in told] == ["copy 0", "copy 10", "copy 97", "copy 100", "verify 3"]
    assert written == [0, None, 9, 10, 97, 100, 3]
