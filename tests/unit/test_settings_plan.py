# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Settings: what is declared, what is read for it, and what is planned."""

from __future__ import annotations

import pytest
from ansible_collections.storpool.cloudstack.plugins.module_utils._errors import OptionError
from ansible_collections.storpool.cloudstack.plugins.module_utils._plan import plan_all, waves
from ansible_collections.storpool.cloudstack.plugins.module_utils._shown import shown_options
from ansible_collections.storpool.cloudstack.plugins.module_utils.resources.settings import SETTINGS, check_type, same
from ansible_collections.storpool.cloudstack.plugins.modules.cloudstack_settings import DECLARED
from things import checked, sent

POOL = "nvme;3f1c2f1e-0a0b-4c0d-8e0f-000000000001"
ZONE = "3f1c2f1e-0a0b-4c0d-8e0f-000000000002"
TOKEN = "1556129910218014736"
ENDPOINT = f"SP_API_HTTP=10.0.0.1:81;SP_AUTH_TOKEN={TOKEN};SP_TEMPLATE=nvme"


def row(name, value=None, kind="String", scope="Global", dynamic=False, default=None, category="Advanced"):
    """A setting as listConfigurations has it: what is not set is left out."""
    fields = {"name": name, "value": value, "defaultvalue": default, "type": kind, "scope": scope, "isdynamic": dynamic}
    return {**{key: one for key, one in fields.items() if one is not None}, "category": category}


GLOBAL = [
    row("force.ha", "false", "Boolean", "Cluster", True, "false"),
    row("ha.tag"),
    row("kvm.ha.activity.check.failure.ratio", "0.7", "Decimal", "Cluster", True, "0.7"),
    row("kvm.ha.fence.on.storage.heartbeat.failure", "false", "Boolean", "Zone", False, "false"),
    row("snapshot.backup.to.secondary", "true", "Boolean", default="true"),
    row("sp.alternative.endpoint", "", scope="StoragePool", dynamic=True),
    row("sp.bypass.secondary.storage", "false", "Boolean", dynamic=True, default="false"),
    row("sp.cluster.endpoint", scope="Cluster", dynamic=True),
    row("storpool.delete.after.interval", "0", "Number", "StoragePool", False, "0"),
    row("storpool.volumes.stats.interval", "3600", "Number", default="3600"),
    row("secstorage.secret", category="Secure"),
]
FROM_4_21 = row("storpool.snapshot.recovery.from.remote.check", "300", "Number", default="300")
SHOWN_IN_4_22 = row("kvm.snapshot.enabled", "true", "Boolean", default="true", category="Snapshots")


class Server:
    """Answers listings from tables, and keeps what it was asked."""

    def __init__(self, *more, scoped=(), enabled=False, **listings):
        self.settings = {one["name"]: one for one in [*GLOBAL, *more]}
        self.scoped = {one["name"]: one for one in scoped}
        self.enabled = enabled
        self.listings = listings
        self.asked = []

    def list(self, call, key, unlimited=False, **params):
        self.asked.append((call, params))
        if call != "listConfigurations":
            found = self.listings.get(call, [])
            return [one for one in found if params.get("name") in (None, one["name"])]
        return list(self.scoped.values() if params else self.settings.values())

    def read(self, call, **params):
        self.asked.append((call, params))
        return {"capability": {"cloudstackversion": "4.20.2.0", "kvmsnapshotenabled": self.enabled}}


def wanted(**options):
    every = {name: spec.get("default") for name, spec in DECLARED.item.items()}
    return SETTINGS.parse({**every, **options}, 0.0)


def plans(server, *entries):
    every = [wanted(**entry) for entry in entries]
    return plan_all(SETTINGS, every, waves(every, "settings"), SETTINGS.observe(server, every))


def plan(server, **options):
    return plans(server, options)[0]


# -- what is declared


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, "option name is needed"),
        ({"name": "a"}, "option value of a is needed"),
        ({"name": "a", "value": ["x"]}, "is not a single value"),
        ({"name": "a", "value": 1, "state": "default"}, "cannot be combined with state: default"),
        ({"name": "a", "value": 1, "zone": "z", "cluster": "c"}, "option cluster of a: 'c' cannot be combined with zone"),
        ({"name": "a", "value": 1, "storage_pool": " "}, "option storage_pool of a: ' ' is empty"),
    ],
)
def test_what_cannot_be_meant(options, problem):
    with pytest.raises(OptionError, match=problem):
        wanted(**options)


@pytest.mark.parametrize(
    ("value", "text"),
    [(True, "true"), (False, "false"), (5, "5"), (0.5, "0.5"), (1800.0, "1800"), (" x ", "x"), ("", ""), ("null", ""), ("True", "True")],
)
def test_values_become_texts(value, text):
    assert wanted(name="a", value=value).value == text


def test_an_account_may_name_its_domain():
    one = wanted(name="a", value=1, account="ops", domain="ROOT/ops")
    assert (one.label, one.scope.kind, one.scope.within) == ("a (account ops of ROOT/ops)", "account", "ROOT/ops")


# -- comparing


@pytest.mark.parametrize(
    ("have", "want", "kind", "equal"),
    [
        ("true", "True", "Boolean", True),
        ("true", "false", "Boolean", False),
        ("3600", "3600.0", "Number", True),
        ("0.7", "0.70", "Decimal", True),
        ("0.7", ".7", "Float", True),
        ("1e2", "100", "Decimal", True),
        ("x", "5", "Number", False),
        ("", "0", "Number", False),
        ("abc ", "abc", "String", True),
        ("abc", "ABC", "String", False),
        ("1.0", "1", "String", False),
        ("", "", "String", True),
    ],
)
def test_values_are_compared_by_type(have, want, kind, equal):
    assert same(have, want, kind) is equal


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("yes", "Boolean"),
        ("1", "Boolean"),
        ("1.5", "Number"),
        ("10s", "Long"),
        ("a", "Decimal"),
        ("1,5", "Range"),
        ("", "Number"),
        ("", "Boolean"),
        ("٣", "Number"),
    ],
)
def test_a_value_of_another_type_is_an_error(value, kind):
    with pytest.raises(OptionError, match=f"option value of s: '{value}' is n"):
        check_type(value, kind, "s")


@pytest.mark.parametrize(
    ("value", "kind"), [("", "String"), ("TRUE", "Boolean"), ("-1", "Number"), (".5", "Decimal"), ("x", "String"), ("x", "Order")]
)
def test_a_value_of_the_type_is_none(value, kind):
    check_type(value, kind, "s")


# -- what is planned


def test_what_is_right_is_left_alone():
    made = plan(Server(), name="storpool.volumes.stats.interval", value=3600)
    assert sent(made) == [] and made.before == made.after
    assert made.before == {
        "name": "storpool.volumes.stats.interval", "scope": "global", "type": "Number",
        "value": "3600", "default": "3600", "dynamic": False,
    }  # fmt: skip


def test_a_change_knows_whether_it_waits_for_a_restart():
    made = plan(Server(), name="storpool.volumes.stats.interval", value=1800)
    assert sent(made) == [("set", "updateConfiguration", {"name": "storpool.volumes.stats.interval", "value": "1800"})]
    assert made.notes == {"restart_required": True} and made.after["value"] == "1800"
    assert plan(Server(), name="force.ha", value="TRUE").changes[0].write.params == {"name": "force.ha", "value": "true"}
    assert plan(Server(), name="force.ha", value=True).notes == {}


def test_empty_and_unset_are_the_same():
    assert sent(plan(Server(), name="ha.tag", value="")) == []
    assert sent(plan(Server(row("ha.tag", "x")), name="ha.tag", value="")) == [
        ("set", "updateConfiguration", {"name": "ha.tag", "value": ""})
    ]


def test_back_to_the_default():
    server = Server(row("storpool.volumes.stats.interval", "5", "Number", default="3600"))
    made = plan(server, name="storpool.volumes.stats.interval", state="default")
    assert sent(made) == [("reset", "resetConfiguration", {"name": "storpool.volumes.stats.interval"})]
    assert made.after["value"] == "3600"
    assert sent(plan(Server(), name="storpool.volumes.stats.interval", state="default")) == []


DELETE_AFTER = "storpool.delete.after.interval"


def in_pool(value):
    return row(DELETE_AFTER, value, "Number", "StoragePool", False, "0")


def test_a_scope_by_its_id_costs_one_listing():
    server = Server(scoped=[in_pool("0")])
    made = plan(server, name=DELETE_AFTER, value=86400, storage_pool=POOL)
    assert sent(made) == [("set", "updateConfiguration", {"name": DELETE_AFTER, "value": "86400", "storageid": POOL})]
    assert server.asked == [("listConfigurations", {"storageid": POOL})]


def test_a_scope_by_its_name_is_looked_up():
    server = Server(scoped=[in_pool("0")], listStoragePools=[{"id": POOL, "name": "nvme"}, {"id": "x", "name": "other"}])
    made = plan(server, name=DELETE_AFTER, value=5, storage_pool="nvme")
    assert made.changes[0].write.params["storageid"] == POOL
    assert [call for call, _params in server.asked] == ["listStoragePools", "listConfigurations"]


def test_a_scope_that_does_not_exist_and_one_that_is_not_clear():
    server = Server(
        listStoragePools=[{"id": "1", "name": "a"}, {"id": "2", "name": "a"}], listDomains=[{"id": "3", "name": "ROOT", "path": "ROOT"}]
    )
    every = plans(
        server,
        {"name": DELETE_AFTER, "value": 1, "storage_pool": "b"},
        {"name": DELETE_AFTER, "value": 1, "storage_pool": "a"},
        {"name": DELETE_AFTER, "value": 1, "domain": "ROOT/x"},
    )
    texts = [str(made.refused) for made in every]
    assert "option storage_pool: 'b' does not exist in CloudStack; there are: a" in texts[0]
    assert "'a' is the name of 2: 1 (a), 2 (a); give the id" in texts[1]
    assert "option domain: 'ROOT/x' does not exist in CloudStack; there are: ROOT" in texts[2]


def test_an_account_of_a_domain():
    accounts = [
        {"id": "1", "name": "ops", "domain": "a", "domainpath": "ROOT/a"},
        {"id": "2", "name": "ops", "domain": "b", "domainpath": "ROOT/b"},
    ]
    server = Server(scoped=[row("x", "1", scope="Account")], listAccounts=accounts)
    assert plan(server, name="x", value="2", account="ops", domain="ROOT/b").changes[0].write.params["accountid"] == "2"
    assert "is the name of 2" in str(plan(server, name="x", value="2", account="ops").refused)


def test_an_image_store_is_reset_by_another_parameter():
    server = Server(row("x", "1", scope="ImageStore"), scoped=[row("x", "2", scope="ImageStore")])
    made = plan(server, name="x", state="default", image_store=ZONE)
    assert sent(made) == [("reset", "resetConfiguration", {"name": "x", "imagestoreid": ZONE})]
    assert made.after["value"] == "1"
    assert plan(server, name="x", value=5, image_store=ZONE).changes[0].write.params["imagestoreuuid"] == ZONE


def test_forty_settings_in_four_scopes_are_four_listings():
    ids = [f"3f1c2f1e-0a0b-4c0d-8e0f-00000000000{number}" for number in range(3)]
    server = Server(scoped=[in_pool("0"), *(row(f"s{number}", "0") for number in range(10))])
    entries = [{"name": "force.ha", "value": False}, *({"name": f"s{n}", "value": 0, "zone": one} for one in ids for n in range(10))]
    assert not any(made.changes or made.refused for made in plans(server, *entries))
    assert [call for call, _params in server.asked] == ["listConfigurations"] * 4


# -- refused


def test_an_unknown_name_gets_the_nearest():
    made = plan(Server(), name="storpool.volume.stats.interval", value=1)
    assert "has no setting storpool.volume.stats.interval (did you mean storpool.volumes.stats.interval" in str(made.refused)
    assert "come and go" in str(plan(Server(), name="zzz", value=1).refused)


def test_a_scope_that_the_setting_lacks():
    server = Server(scoped=[in_pool("0")])
    made = plan(server, name="storpool.volumes.stats.interval", value=1, storage_pool=POOL)
    assert "storpool.volumes.stats.interval cannot be set for a storage pool (give its own scope" in str(made.refused)
    assert "no setting force.haa (did you mean force.ha" in str(plan(server, name="force.haa", value=True, storage_pool=POOL).refused)


def test_an_endpoint_is_there_before_it_is_used():
    every = [wanted(name=f"sp.{name}alternative.endpoint", value="x", storage_pool=POOL) for name in ("enable.", "")]
    assert waves(every, "settings") == [[1], [0]]


def test_one_scope_by_name_and_by_id():
    server = Server(scoped=[in_pool("0")], listStoragePools=[{"id": POOL, "name": "nvme"}])
    first, second = plans(
        server, {"name": DELETE_AFTER, "value": 1, "storage_pool": POOL}, {"name": DELETE_AFTER, "value": 2, "storage_pool": "nvme"}
    )
    assert first.refused is None
    assert f"is declared twice, also as {DELETE_AFTER} (storage pool {POOL})" in str(second.refused)


def test_the_same_setting_twice():
    with pytest.raises(OptionError, match="is declared twice"):
        plans(Server(), {"name": "force.ha", "value": True}, {"name": "force.ha", "value": False})


# -- what a scope inherits


@pytest.mark.parametrize(
    ("scope_has", "options", "actions"),
    [
        ("0", {"value": 0}, ["set"]),  # perhaps only inherited: it has to be the scope's own from now on
        ("0", {"value": 7}, ["set"]),
        ("0", {"state": "default"}, ["reset"]),
        ("5", {"value": 5}, []),
        ("5", {"state": "default"}, ["reset"]),
        ("7", {"state": "default"}, []),
    ],
)
def test_a_global_value_that_changes_in_the_same_task(scope_has, options, actions):
    server = Server(scoped=[in_pool(scope_has)])
    scoped, everywhere = plans(server, {"name": DELETE_AFTER, "storage_pool": POOL, **options}, {"name": DELETE_AFTER, "value": 7})
    assert [change.action for change in everywhere.changes] == ["set"]
    assert [change.action for change in scoped.changes] == actions
    assert scoped.after["value"] == ("7" if "state" in options else str(options["value"]))


# -- traps


FENCE = "kvm.ha.fence.on.storage.heartbeat.failure"
BYPASS, BACKUP, RUNNING = "sp.bypass.secondary.storage", "snapshot.backup.to.secondary", "kvm.snapshot.enabled"


def warnings(server, *entries):
    return [text for made in plans(server, *entries) for text in made.warnings]


def test_bypass_from_4_21_on():
    told = warnings(Server(FROM_4_21, SHOWN_IN_4_22), {"name": BYPASS, "value": True})
    assert told == [f"{BYPASS} has no effect from CloudStack 4.21 on; set {BACKUP} to false instead"]
    assert warnings(Server(SHOWN_IN_4_22), {"name": BYPASS, "value": True}) == []
    assert warnings(Server(FROM_4_21), {"name": BYPASS, "value": False}) == []


def test_fencing_in_a_zone():
    server = Server(scoped=[row(FENCE, "false", "Boolean", "Zone")])
    assert warnings(server, {"name": FENCE, "value": True, "zone": ZONE}) == [
        f"{FENCE} is accepted for a zone but read globally: only the global value has an effect"
    ]
    assert warnings(server, {"name": FENCE, "value": True}) == []


def test_an_endpoint_for_all_pools():
    assert "meant for one storage pool" in warnings(Server(), {"name": "sp.alternative.endpoint", "value": ENDPOINT})[0]
    server = Server(scoped=[row("sp.alternative.endpoint", "", scope="StoragePool")])
    assert warnings(server, {"name": "sp.alternative.endpoint", "value": ENDPOINT, "storage_pool": POOL}) == []
    assert warnings(Server(), {"name": "sp.alternative.endpoint", "value": ""}) == []


@pytest.mark.parametrize(
    ("server", "more", "told"),
    [
        (Server(), (), "which this CloudStack does not list; declare it in the same task"),
        (Server(), ({"name": RUNNING, "value": True},), None),
        (Server(), ({"name": RUNNING, "value": False},), "which is false"),
        (Server(enabled=True), ({"name": RUNNING, "state": "default"},), None),
        (Server(SHOWN_IN_4_22), (), None),
        (Server({**SHOWN_IN_4_22, "value": "false"}), (), "which is false"),
    ],
)
def test_snapshots_of_running_machines(server, more, told):
    found = warnings(server, {"name": BACKUP, "value": False}, *more)
    assert len(found) == bool(told) and (not told or told in found[0])


def test_a_setting_that_no_listing_shows():
    server = Server(enabled=False)
    made = plan(server, name=RUNNING, value=True)
    assert sent(made) == [("set", "updateConfiguration", {"name": RUNNING, "value": "true"})]
    assert made.notes == {"restart_required": True}
    assert [call for call, _params in server.asked] == ["listConfigurations", "listCapabilities"]
    assert sent(plan(Server(enabled=True), name=RUNNING, value=True)) == []
    assert sent(plan(Server(enabled=True), name=RUNNING, state="default"))[0][1] == "resetConfiguration"


# -- secrets


def test_a_token_inside_a_value():
    server = Server(scoped=[row("sp.alternative.endpoint", ENDPOINT.replace(TOKEN, "777"), scope="StoragePool", dynamic=True)])
    made = plan(server, name="sp.alternative.endpoint", value=ENDPOINT, storage_pool=POOL)
    assert made.before["value"] == "SP_API_HTTP=10.0.0.1:81;SP_AUTH_TOKEN=(hidden);SP_TEMPLATE=nvme"
    assert made.after["value"] == "SP_API_HTTP=10.0.0.1:81;SP_AUTH_TOKEN=(hidden, changed);SP_TEMPLATE=nvme"
    assert made.changes[0].write.params["value"] == ENDPOINT and list(made.changes[0].write.secrets) == [TOKEN]
    assert TOKEN not in repr((made.before, made.after, made.warnings, made.notes))


def test_a_token_by_position():
    server = Server(scoped=[row("sp.cluster.endpoint", scope="Cluster", dynamic=True)])
    made = plan(server, name="sp.cluster.endpoint", value=f"API=h:81;KEY={TOKEN}", cluster=ZONE)
    assert made.after["value"] == "API=h:81;KEY=(hidden)"
    assert list(made.changes[0].write.secrets) == [TOKEN]


def test_a_value_that_is_a_secret():
    made = plan(Server(), name="ha.tag", value="hunter2", secret=True)
    assert (made.before["value"], made.after["value"], made.changes[0].write.secrets) == ("", "(hidden)", ["hunter2"])
    again = plan(Server(row("ha.tag", "hunter1")), name="ha.tag", value="hunter2", secret=True)
    assert (again.before["value"], again.after["value"]) == ("(hidden)", "(hidden, changed)")
    assert sent(plan(Server(row("ha.tag", "hunter2")), name="ha.tag", value="hunter2", secret=True)) == []
    broken = plan(Server(), name="storpool.volumes.stats.interval", value="hunter2", secret=True)
    assert "hunter2" not in str(broken.refused)


def test_a_value_that_the_server_encrypts():
    name = "secstorage.secret"
    encrypted = Server(row(name, "ciphertext", category="Secure"))
    made = plan(Server(), name=name, value="hunter2")
    assert (made.after["value"], [change.action for change in made.changes], list(made.changes[0].write.secrets)) == (
        "(hidden)", ["set"], ["hunter2"],
    )  # fmt: skip
    made = plan(encrypted, name=name, value="hunter2")
    assert sent(made) == [] and made.notes == {"compared": False} and "cannot be read" in made.warnings[0]
    made = plan(encrypted, name=name, value="hunter2", update_encrypted="always")
    assert [change.action for change in made.changes] == ["set"] and made.warnings == []
    made = plan(encrypted, name=name, state="default")
    assert [change.action for change in made.changes] == ["reset"] and made.after["value"] == ""
    assert sent(plan(Server(), name=name, state="default")) == []
    assert "hunter2" not in repr(made) and "ciphertext" not in repr((made.before, made.after))


def test_the_invocation_shows_no_secret():
    options = checked(
        DECLARED,
        settings=[
            {"name": "sp.alternative.endpoint", "value": ENDPOINT, "storage_pool": POOL},
            {"name": "sp.cluster.endpoint", "value": f"A=h:81;B={TOKEN}", "cluster": "c"},
            {"name": "ha.tag", "value": "hunter2", "secret": True},
            {"name": "force.ha", "value": True},
        ],
        api_secret="815815815",
        api_key="4711471147114711",
        cloudstack_url="http://c/client/api",
    )
    shown = shown_options(DECLARED, options)
    assert [one["value"] for one in shown["settings"]] == [
        "SP_API_HTTP=10.0.0.1:81;SP_AUTH_TOKEN=(hidden);SP_TEMPLATE=nvme",
        "A=h:81;B=(hidden)",
        "(hidden)",
        True,
    ]
    for secret in (TOKEN, "hunter2", "815815815", "4711471147114711"):
        assert secret not in repr(shown)
    assert options["settings"][0]["value"] == ENDPOINT  # what the task works with stays as it is


@pytest.mark.parametrize(
    "options",
    [
        {"name": "x", "value": "hunter2", "secret": "yes"},
        {"settings": [{"name": "x", "value": "hunter2"}], "secret": True},
        {"settings": "name=x value=hunter2"},
        {"name": "ldap.bind.password", "value": "hunter2"},
        {"settings": [{"name": "router.health.checks.auth.secret", "value": "hunter2"}]},
        {"settings": ["name=x value=SP_AUTH_TOKEN=hunter2"]},
        {"settings": [{"name": "x", "value": {"SP_AUTH_TOKEN": 1, "x": "storpool://hunter2@h/t"}}]},
        {"name": 5, "value": "SP_AUTH_TOKEN=hunter2", "secret": None},
    ],
)
def test_options_that_nobody_has_validated(options):
    assert "hunter2" not in repr(SETTINGS.hide(options))


def test_the_task_says_what_waits_for_a_restart():
    entries = [
        {"name": "b", "changed": True, "restart_required": True},
        {"name": "a", "changed": True, "restart_required": True},
        {"name": "c", "changed": True},
        {"name": "d", "changed": False, "restart_required": True},
    ]
    assert SETTINGS.finish(entries) == {"restart_required": ["a", "b"]}


def test_a_token_that_is_given_to_a_setting_of_another_kind_is_not_told():
    with pytest.raises(OptionError) as caught:
        check_type("SP_API_HTTP=h:81;SP_AUTH_TOKEN=1556129910218014736", "Boolean", "kvm.snapshot.enabled")
    assert "1556129910218014736" not in str(caught.value) and "SP_API_HTTP=h:81" in str(caught.value)
