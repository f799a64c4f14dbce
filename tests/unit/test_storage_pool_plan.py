# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""StorPool primary storage: what is declared, what is planned for it, and what is refused."""

from __future__ import annotations

import pytest
from ansible_collections.storpool.cloudstack.plugins.module_utils._errors import ApiError, OptionError, Unauthorized, Unreachable
from ansible_collections.storpool.cloudstack.plugins.module_utils._plan import plan_all, waves
from ansible_collections.storpool.cloudstack.plugins.module_utils._shown import shown_options
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources.storage_pool import (
    STORAGE_POOLS,
    Address,
    World,
    parse_address,
)
from ansible_collections.storpool.cloudstack.plugins.modules.cloudstack_storage_pool import DECLARED
from things import actions, calls, checked

TOKEN, OTHER = "1556129910218014736", "815815815815815815"
API = "10.0.0.1:81"
ZONE = {"id": "3f1c2f1e-0a0b-4c0d-8e0f-000000000002", "name": "sofia"}
ID = "nvme;3f1c2f1e-0a0b-4c0d-8e0f-000000000001"
TIB = 1 << 40


def status(name, replication=3, place="nvme"):
    return {"name": name, "replication": replication, "placeAll": place, "stored": {"capacity": 10 * TIB}}


def row(name="fast", identity=ID, state="Up", tags="fast", **more):
    """A pool as listStoragePools has it."""
    fields = {"id": identity, "name": name, "provider": "StorPool", "zoneid": ZONE["id"], "zonename": "sofia", "state": state}
    return {**fields, "tags": tags, "disksizetotal": TIB, **more}


def world(*pools, api=API, token=TOKEN, there=None, addresses=None, reach=(API,)):
    known = {one["id"]: Address(api, one["id"].partition(";")[0], token) for one in pools}
    storpool = {(API, TOKEN): {name: status(name) for name in ("nvme", "hybrid")} if there is None else there}
    return World([dict(one) for one in pools], Address(API, "", TOKEN), frozenset(reach), 60.0, addresses or known, [ZONE], storpool)


def wanted(**options):
    every = {name: spec.get("default") for name, spec in DECLARED.item.items()}
    return STORAGE_POOLS.parse({**every, "name": "fast", **options}, 0.0)


def plan(world, **options):
    return STORAGE_POOLS.plan(wanted(**options), world)


# -- options


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"name": None}, r"option name is needed \(or id\)"),
        ({"name": " "}, "option name: ' ' is empty"),
        ({"name": None, "id": ID, "renamed_from": "x"}, "renamed_from: 'x' needs name"),
        ({"pool_api_http": "http://x"}, "option pool_api_http: 'http://x' is not the address of a StorPool API"),
        ({"pool_auth_token": "a;b"}, r"option pool_auth_token of fast: '\(hidden\)' has characters"),
        ({"tags": ["a,b"]}, "'a,b' has a comma"),
        ({"capacity": "much"}, "option capacity: 'much' is not a size"),
        ({"template": "a b"}, "option template: 'a b' is not a name"),
    ],
)
def test_what_cannot_be_meant(options, problem):
    with pytest.raises(OptionError, match=problem):
        wanted(**options)


@pytest.mark.parametrize(
    ("text", "address"),
    [("10.0.0.1", "10.0.0.1:81"), ("sp.example:8080", "sp.example:8080"), ("[fe80::1]", "[fe80::1]:81"), ("[::1]:82", "[::1]:82")],
)
def test_addresses(text, address):
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["", "a:b", "h:0", "h:70000", "fe80::1", "t@h:81", "h;x", "storpool://t@h:81/x"])
def test_what_is_no_address(text):
    with pytest.raises(OptionError):
        parse_address(text)


# -- new


def test_a_new_pool():
    made = plan(world(), zone="sofia", template="nvme", tags=["b", "a", "a"], capacity="2T")
    assert calls(made) == [
        (
            "createStoragePool",
            {
                "provider": "StorPool", "scope": "zone", "hypervisor": "KVM", "name": "fast", "zoneid": ZONE["id"],
                "url": f"SP_API_HTTP={API};SP_AUTH_TOKEN={TOKEN};SP_TEMPLATE=nvme", "capacitybytes": 2 * TIB, "tags": ["a", "b"],
            },
        )
    ]  # fmt: skip
    assert made.changes[0].write.secrets == [TOKEN]
    assert made.after == {
        "id": None, "name": "fast", "zone": "sofia", "state": "Up", "tags": ["a", "b"], "template": "nvme", "api": API, "capacity": 2 * TIB,
    }  # fmt: skip
    assert TOKEN not in repr((made.before, made.after, made.notes, made.warnings))


def test_a_new_pool_takes_capacity_from_storpool_and_its_name_as_tag():
    made = plan(world(), zone=ZONE["id"], template="nvme")
    assert made.changes[0].write.params["capacitybytes"] == made.after["capacity"] == 10 * TIB
    assert "tags" not in made.changes[0].write.params and made.after["tags"] == ["fast"]
    bare = plan(world(), zone="sofia", template="nvme", tags=[])
    assert [one.action for one in bare.changes] == ["create", "update tags"] and bare.after["tags"] == []


@pytest.mark.parametrize(("state", "then"), [("enabled", []), ("disabled", ["disable"]), ("maintenance", ["maintain"]), ("present", [])])
def test_what_follows_knows_the_id_of_the_new_pool(state, then):
    made = plan(world(), zone="sofia", template="nvme", state=state)
    assert actions(made) == ["create", *then]
    made.changes[0].learn["storagepool"](made.after, {"id": ID})
    assert made.after["id"] == ID
    assert [change.write.params["id"] for change in made.changes[1:]] == [ID] * len(then)
    assert len(made.waits) == (state == "maintenance")


@pytest.mark.parametrize("option", ["zone", "template"])
def test_a_new_pool_needs_both(option):
    made = plan(world(), **{"zone": "sofia", "template": "nvme", option: None})
    assert f"option {option} is needed: there is no storage pool fast" in str(made.refused)


def test_a_zone_that_is_not_there():
    assert "'varna' does not exist in CloudStack; there are: sofia" in str(plan(world(), zone="varna", template="nvme").refused)


@pytest.mark.parametrize(
    ("there", "options", "problem"),
    [
        (Unauthorized("no"), {}, r"option sp_auth_token: '\(hidden\)' is refused by StorPool at 10.0.0.1:81"),
        (Unauthorized("no"), {"pool_auth_token": TOKEN}, "option pool_auth_token: "),
        (Unreachable("nobody"), {}, "option sp_api_http_host: '10.0.0.1:81' is not where a StorPool answers: nobody"),
        (Unreachable("nobody"), {"pool_api_http": "10.0.0.1"}, "option pool_api_http: '10.0.0.1:81'"),
        ({}, {}, "option template: 'nvme' is no template of the StorPool at 10.0.0.1:81; there are: none"),
        ({"hybrid": status("hybrid")}, {}, "there are: hybrid"),
        ({"nvme": status("nvme", "-")}, {}, "has no replication or placement"),
        ({"nvme": status("nvme", 3, "")}, {}, "has no replication or placement"),
    ],
)
def test_which_of_address_token_and_template_is_wrong(there, options, problem):
    made = plan(world(there=there), zone="sofia", template="nvme", **options)
    with pytest.raises(OptionError, match=problem):
        raise made.refused
    assert calls(made) == [] and TOKEN not in str(made.refused)


def test_two_pools_on_one_template():
    made = plan(world(row("first")), zone="sofia", template="nvme")
    assert "template nvme at 10.0.0.1:81 is that of storage pool first already" in str(made.refused)
    assert made.refused.parts["pool"] == "first"


def test_two_addresses_of_one_storpool_are_one():
    made = plan(world(row("first"), api="10.0.0.2:81", reach=[API, "10.0.0.2:81"]), zone="sofia", template="nvme")
    assert "is that of storage pool first already" in str(made.refused)


def test_a_template_of_that_name_elsewhere_is_worth_a_warning():
    made = plan(world(row("first"), api="10.9.9.9:81"), zone="sofia", template="nvme")
    assert actions(made) == ["create"]
    assert "storage pool first is on a template nvme too, at 10.9.9.9:81" in made.warnings[0]


def test_two_new_pools_on_one_template_in_one_task():
    every = [wanted(name=name, zone="sofia", template="nvme") for name in ("a", "b")]
    first, second = plan_all(STORAGE_POOLS, every, waves(every, "pools"), world())
    assert actions(first) == ["create"]
    assert "is that of storage pool a already" in str(second.refused)


# -- there


def test_what_is_right_is_left_alone():
    made = plan(world(row(tags="b,a")), tags=["a", "b"], template="nvme", zone="sofia", state="enabled", pool_auth_token=TOKEN)
    assert calls(made) == [] and made.before == made.after and made.warnings == []
    assert made.notes == {"storpool": {"verified": True}}
    assert made.before["api"] == API and made.before["template"] == "nvme" and TOKEN not in repr(made.before)


def test_name_and_tags_are_one_update():
    made = plan(world(row("slow")), renamed_from="slow", tags=["x", "y"])
    assert actions(made) == ["update rename and tags"]
    assert calls(made) == [("updateStoragePool", {"id": ID, "name": "fast", "tags": "x,y"})]
    assert (made.after["name"], made.after["tags"]) == ("fast", ["x", "y"])


def test_tags_are_taken_away():
    assert calls(plan(world(row()), tags=[])) == [("updateStoragePool", {"id": ID, "tags": ""})]


def test_a_pool_by_its_id():
    assert calls(plan(world(row("slow")), id=ID)) == [("updateStoragePool", {"id": ID, "name": "fast"})]
    assert calls(plan(world(row("slow")), id=ID, name=None)) == []
    assert "is no storage pool of this CloudStack" in str(plan(world(), id=ID).refused)
    assert calls(plan(world(), id=ID, state="absent")) == []


def test_one_name_in_two_zones():
    pools = (row(), row(identity="hybrid;3f1c2f1e-0a0b-4c0d-8e0f-00000000000a", zonename="varna", zoneid="v"))
    assert "option name: 'fast' is the name of 2" in str(plan(world(*pools)).refused)
    assert plan(world(*pools), zone="varna").before["template"] == "hybrid"


@pytest.mark.parametrize(
    ("have", "state", "steps"),
    [
        ("Up", "enabled", []),
        ("Up", "disabled", ["disable"]),
        ("Up", "maintenance", ["maintain"]),
        ("Disabled", "enabled", ["enable"]),
        ("Disabled", "disabled", []),
        ("Disabled", "maintenance", ["enable", "maintain"]),
        ("Maintenance", "enabled", ["end maintenance"]),
        ("Maintenance", "disabled", ["end maintenance", "disable"]),
        ("Maintenance", "maintenance", []),
        ("ErrorInMaintenance", "maintenance", ["maintain"]),
        ("ErrorInMaintenance", "enabled", ["end maintenance"]),
        ("PrepareForMaintenance", "maintenance", []),
        ("PrepareForMaintenance", "present", []),
        ("Maintenance", "present", []),
    ],
)
def test_states(have, state, steps):
    made = plan(world(row(state=have)), state=state)
    assert actions(made) == steps
    if state != "present":
        assert made.after["state"] == {"enabled": "Up", "disabled": "Disabled", "maintenance": "Maintenance"}[state]
    assert len(made.waits) == ("maintain" in steps or (have == "PrepareForMaintenance" and state == "maintenance"))


CALLS = {
    "disable": ("updateStoragePool", {"id": ID, "enabled": False}),
    "enable": ("updateStoragePool", {"id": ID, "enabled": True}),
    "maintain": ("enableStorageMaintenance", {"id": ID}),
    "end maintenance": ("cancelStorageMaintenance", {"id": ID}),
}


def test_the_calls_of_the_states():
    for have, state in (("Up", "disabled"), ("Disabled", "maintenance"), ("Maintenance", "enabled")):
        made = plan(world(row(state=have)), state=state)
        assert calls(made) == [CALLS[action] for action in actions(made)]


@pytest.mark.parametrize(
    ("have", "state"), [("PrepareForMaintenance", "enabled"), ("Creating", "disabled"), ("CancelMaintenance", "maintenance")]
)
def test_a_pool_on_its_way_is_left_to_it(have, state):
    assert f"storage pool fast is {have}; it cannot be made" in str(plan(world(row(state=have)), state=state).refused)


@pytest.mark.parametrize(
    ("states", "outcome"), [(["Maintenance"], True), (["PrepareForMaintenance"], False), ([], True), (["ErrorInMaintenance"], ApiError)]
)
def test_waiting_for_maintenance(states, outcome):
    class Client:
        def list(self, call, key, **params):
            assert params == {"id": ID}
            return [{"state": state} for state in states]

    wait = plan(world(row()), state="maintenance").waits[0]
    assert wait.seconds == 60.0
    if outcome is ApiError:
        with pytest.raises(ApiError):
            wait.done(Client())
    else:
        assert wait.done(Client()) is outcome


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"template": "hybrid"}, "was made with template nvme, not hybrid (make another pool"),
        ({"pool_api_http": "10.0.0.9:81"}, "was made with pool_api_http 10.0.0.1:81, not 10.0.0.9:81 (CloudStack does not change these"),
        ({"pool_auth_token": OTHER}, "was made with another token than pool_auth_token"),
    ],
)
def test_what_cannot_be_changed(options, problem):
    made = plan(world(row()), **options)
    assert problem in str(made.refused) and OTHER not in str(made.refused)


def test_a_pool_of_another_provider():
    assert "is not StorPool's but of the provider DefaultPrimary" in str(plan(world(row(provider="DefaultPrimary"))).refused)


def test_a_tag_that_is_a_rule():
    assert "is a rule" in str(plan(world(row(tags="tags[0] == 'a'", istagarule=True)), tags=["x"]).refused)


@pytest.mark.parametrize(
    ("there", "problem"),
    [
        ({}, "has no template nvme"),
        (Unauthorized("no"), "refuses the token that the pool was made with"),
        (ApiError("x", "broken"), "broken"),
    ],
)
def test_a_pool_that_cannot_work(there, problem):
    for state in ("present", "enabled"):
        assert problem in str(plan(world(row(), there=there), state=state).refused)
    made = plan(world(row(), there=there), state="disabled")
    assert actions(made) == ["disable"] and problem in made.warnings[0]
    assert made.notes["storpool"]["verified"] is False


def test_a_pool_that_cannot_be_proved_from_here():
    made = plan(world(row(), there=Unreachable("nobody")))
    assert made.refused is None and "cannot be reached from here (nobody)" in made.warnings[0]
    made = plan(world(row(), token=""))
    assert "shows neither its address nor its token" in made.warnings[0]


# -- absent


def test_only_what_is_in_maintenance_is_deleted():
    assert calls(plan(world(row(state="Maintenance")), state="absent")) == [("deleteStoragePool", {"id": ID})]
    assert calls(plan(world(row(state="Maintenance")), state="absent", forced=True)) == [("deleteStoragePool", {"id": ID, "forced": True})]
    made = plan(world(row()), state="absent")
    assert "storage pool fast is Up; CloudStack deletes only what is in maintenance" in str(made.refused)
    assert made.refused.parts["allow_with"] == "maintenance_first: true"
    assert actions(plan(world(row()), state="absent", maintenance_first=True)) == ["maintain", "delete"]
    assert actions(plan(world(row(state="Disabled")), state="absent", maintenance_first=True)) == ["enable", "maintain", "delete"]
    made = plan(world(row(state="PrepareForMaintenance")), state="absent", maintenance_first=True)
    assert "cannot be deleted now" in str(made.refused)


def test_what_is_not_there_is_absent():
    made = plan(world(), state="absent")
    assert calls(made) == [] and made.refused is None and made.before is made.after is None


@pytest.mark.parametrize(
    ("text", "way_out"),
    [
        ("This primary storage cannot be deleted because it currently contains one or more snapshots.", "volume snapshots"),
        ("This primary storage cannot be deleted because it currently contains one or more template snapshots.", "templates made from"),
        ("Cannot delete pool fast as there are associated volumes for this pool", "forced: true"),
        ("Cannot delete pool fast as there are associated non-destroyed vols for this pool", "delete or migrate its volumes first"),
        ("Unable to delete storage due to it is not in Maintenance state, pool: x", "maintenance_first"),
    ],
)
def test_refused_deletions_are_explained(text, way_out):
    hints = plan(world(row(state="Maintenance")), state="absent").changes[-1].write.hints
    found = next(hint for part, hint in hints if part.lower() in text.lower())
    assert way_out in found


# -- secrets


def test_the_invocation_shows_no_token():
    options = checked(
        DECLARED,
        pools=[{"name": "a", "pool_auth_token": OTHER}],
        pool_auth_token=TOKEN,
        cloudstack_key="4711471147114711",
        cloudstack_secret="815815",
    )
    shown = repr(shown_options(DECLARED, options))
    assert not [secret for secret in (TOKEN, OTHER, "4711471147114711", "815815") if secret in shown]
    assert TOKEN not in repr(wanted(pool_auth_token=TOKEN)) and TOKEN not in repr(world(row()).addresses)


def test_the_diff_shows_a_pool_in_the_units_that_people_write():
    made = plan(world(), zone="sofia", template="nvme", capacity="10T")
    shown = STORAGE_POOLS.show(made.after)
    assert shown["capacity"] == "10T"
    assert {**shown, "capacity": None} == {**made.after, "capacity": None}


LONG = [("name", "n" * 256), ("renamed_from", "n" * 256), ("tags", ["t" * 100, "u" * 100, "v" * 100])]


@pytest.mark.parametrize(("option", "value"), LONG)
def test_what_cloudstack_finds_too_long_is_refused_before_it_is_sent(option, value):
    with pytest.raises(OptionError, match=f"option {option}: .* characters; CloudStack takes 255"):
        wanted(**{option: value})
    wanted(**{option: "n" * 255 if isinstance(value, str) else ["t" * 254]})
