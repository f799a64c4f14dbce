# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signatures, envelopes, errors, parameters and pages, as the reference sheet on the CloudStack API tells them (its sections 2 to 7)."""

from __future__ import annotations

import http.client
import json
import re
import stat
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from storpool_simulator.cloudstack.facts import Facts
from storpool_simulator.cloudstack.signing import signature
from storpool_simulator.testing import Simulator, SimulatorError

from .cloudstack_support import VERSIONS, Reply, call, in_seconds, java_encoded, named, ok, one, refused, send, sign
from .support import free_ports, wait_until

CREDENTIALS = "unable to verify user credentials and/or request signature"


def pythonic(text: str) -> str:
    """As the published clients encode: "~" stays."""
    return quote(text, safe="*")


# Signatures


def test_the_documented_example() -> None:
    """The developer's guide of Apache CloudStack, "How to sign an API call with Python"."""
    key = "plgWJfZK4gyS3mOMTVmjUVg-X-jlWlnfaUJ9GAbBbf9EdM-kAYMmAiLqzzq1ElZLYq_u38zCm0bewzGUdP66mg"
    secret = "VDaACYb0LV9eNjTetIOElcVQkvJck_J_QljX_FcHRj87ZKiy0z0ty0ZsYBkoXkY9b7eq1EhwJaw7FF3akA3KBQ"
    params = {"apikey": key, "command": "listUsers", "response": "json"}
    assert signature(params, secret) == sign(params, secret) == "TTpdDq/7j/J58XCRHomKoQXEQds="


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("value", ["plain", "with blank", "a+b", "a*b", "(x)", "a/b?c=d&e", "Größe", "'quoted'", "!", "100%", "a~b"])
def test_values_are_encoded_as_java_does(cloud: Simulator, method: str, value: str) -> None:
    assert call(cloud, "listZones", method, keyword=value).status == 200


@pytest.mark.parametrize("value", ["~x9.b.1", "a~b"])
def test_a_bare_tilde_in_the_signature_is_refused(cloud: Simulator, value: str) -> None:
    reply = call(cloud, "listZones", encode=pythonic, keyword=value)
    assert (reply.status, reply.content) == (401, {"uuidList": [], "errorcode": 401, "errortext": CREDENTIALS})
    assert call(cloud, "listZones", encode=pythonic, keyword="x9.b.1").status == 200


def test_names_are_signed_as_sent_and_read_in_any_case(cloud: Simulator) -> None:
    reply = call(cloud, "listZones", NAME="nowhere")
    assert (reply.status, reply.content) == (200, {})


def test_query_string_and_form_are_one_request(cloud: Simulator) -> None:
    secret = cloud.cloudstack["secret"]
    query = {"command": "listZones", "apiKey": cloud.cloudstack["key"]}
    form = {"response": "json", "name": "sofia"}
    reply = send(cloud.cloudstack["url"], query, "POST", {**form, "signature": sign({**query, **form}, secret)})
    assert reply.content["count"] == 1
    assert send(cloud.cloudstack["url"], query, "POST", {**form, "signature": sign(query, secret)}).status == 401


def test_every_credential_problem_is_the_same_sentence(cloud: Simulator) -> None:
    key, secret = cloud.cloudstack["key"], cloud.cloudstack["secret"]
    replies = [
        call(cloud, "listZones", keys=(key, secret + "x")),
        call(cloud, "listZones", keys=("nobody", secret)),
        send(cloud.cloudstack["url"], {"command": "listZones", "response": "json"}),
        send(cloud.cloudstack["url"], {"command": "listZones", "response": "json", "apiKey": key}),
        call(cloud, "listZones", signatureVersion="3"),
        call(cloud, "listZones", signatureVersion="3", expires=in_seconds(-5)),
        call(cloud, "listZones", signatureVersion="3", expires="tomorrow"),
    ]
    for reply in replies:
        assert (reply.status, reply.envelope) == (401, "listzonesresponse")
        assert reply.content == {"uuidList": [], "errorcode": 401, "errortext": CREDENTIALS}
        assert "x-description" not in reply.headers


def test_expiry_counts_for_version_3_only(cloud: Simulator) -> None:
    assert call(cloud, "listZones", expires=in_seconds(-5)).status == 200
    assert call(cloud, "listZones", signatureVersion="2", expires=in_seconds(-5)).status == 200
    assert call(cloud, "listZones", signatureVersion="3", expires=in_seconds(3600)).status == 200


def test_signatures_follow_the_machines_clock_and_the_skew(cloud: Simulator) -> None:
    cloud.advance(100_000)
    assert call(cloud, "listZones", signatureVersion="3", expires=in_seconds(60)).status == 200
    cloud.control("POST", "/cloudstack/skew", {"seconds": 900})
    assert call(cloud, "listZones", signatureVersion="3", expires=in_seconds(60)).status == 401
    assert call(cloud, "listZones", signatureVersion="3", expires=in_seconds(1000)).status == 200


def test_an_unknown_command_with_a_key_is_401_in_the_errorresponse(cloud: Simulator) -> None:
    reply = call(cloud, "listNothing")
    assert (reply.status, reply.envelope, reply.content["errortext"]) == (401, "errorresponse", CREDENTIALS)
    assert "cserrorcode" not in reply.content


def test_the_role_comes_before_the_signature(cloud: Simulator) -> None:
    ops = one(cloud, "listUsers", "user", username="ops", listall=True)["apikey"]
    reply = call(cloud, "listHosts", keys=(ops, "wrong"))
    assert reply.status == 401 and reply.content["cserrorcode"] == 9999 and "'listHosts'" in reply.content["errortext"]
    assert call(cloud, "listZones", keys=(ops, "wrong")).content["errortext"] == CREDENTIALS


# Posts and timestamps enforced


@pytest.fixture
def enforcing(start: Callable[..., Simulator]) -> Simulator:
    sim = start(cloudstack="4.21.0")
    ok(sim, "updateConfiguration", name="enforce.post.requests.and.timestamps", value=True)
    return sim


def test_enforcement_begins_with_the_restart(enforcing: Simulator) -> None:
    update = {"name": "storage.cleanup.interval", "value": "4000"}
    assert call(enforcing, "updateConfiguration", **update).status == 200
    enforcing.restart_server()
    late = {"signatureVersion": "3", "expires": in_seconds(600)}
    reply = call(enforcing, "updateConfiguration", **update, **late)
    assert (reply.status, reply.content["cserrorcode"]) == (400, 9999)
    assert reply.content["errortext"] == "State changing command updateConfiguration needs to be sent using POST request"
    assert call(enforcing, "updateConfiguration", "POST", **update, **late).status == 200
    assert call(enforcing, "listZones", **late).status == 200
    assert call(enforcing, "listZones").status == 401
    assert call(enforcing, "listZones", signatureVersion="3", expires=in_seconds(20 * 60)).status == 401
    assert call(enforcing, "listZones", signatureVersion="3", expires=in_seconds(14 * 60)).status == 200


def test_older_releases_have_no_enforcement(cloud: Simulator) -> None:
    assert refused(cloud, "updateConfiguration", name="enforce.post.requests.and.timestamps", value=True)["errorcode"] == 431


# The unsigned port


def test_the_unsigned_port_opens_with_the_setting_and_a_restart(start: Callable[..., Simulator]) -> None:
    sim = start(cloudstack="4.20.2")
    port = free_ports()
    ok(sim, "updateConfiguration", name="integration.api.port", value=port)
    url = f"http://127.0.0.1:{port}/client/api"

    def reached() -> Reply | None:
        try:
            return send(url, {"command": "listZones", "response": "json"})
        except OSError:
            return None

    assert reached() is None
    sim.restart_server()
    reply = wait_until(reached)
    assert reply.content["zone"][0]["name"] == "sofia"
    unknown = send(url, {"command": "listNothing", "response": "json"})
    assert (unknown.status, unknown.envelope, unknown.content["cserrorcode"]) == (432, "errorresponse", 9999)
    assert send(url, {"command": "listZones"}, "POST", {"response": "json"}).text.startswith(b"<?xml")
    sim.restart()
    assert sim.cloudstack["integration_url"] == url
    assert send(url, {"command": "listZones", "response": "json"}).status == 200


def test_the_unsigned_port_is_off_by_default(cloud: Simulator) -> None:
    assert cloud.cloudstack["integration_url"] is None


# Answers


def test_without_response_json_the_answer_is_xml(cloud: Simulator) -> None:
    key, secret = cloud.cloudstack["key"], cloud.cloudstack["secret"]
    for more in ({}, {"response": "xml"}):
        wanted = {"command": "listZones", "apiKey": key, **more}
        reply = send(cloud.cloudstack["url"], {**wanted, "signature": sign(wanted, secret)})
        assert reply.status == 200 and reply.headers["content-type"].startswith("text/xml")
        assert b"<listzonesresponse" in reply.text and b"<name>sofia</name>" in reply.text


def test_json_tells_its_type(cloud: Simulator) -> None:
    assert call(cloud, "listZones").headers["content-type"] == "application/json; charset=UTF-8"


def test_an_error_of_the_server_repeats_its_text_in_a_header(cloud: Simulator) -> None:
    reply = call(cloud, "updateConfiguration")
    assert (reply.status, reply.envelope) == (431, "updateconfigurationresponse")
    assert reply.content == {
        "uuidList": [],
        "errorcode": 431,
        "cserrorcode": 9999,
        "errortext": "Unable to execute API command updateconfiguration due to missing parameter name",
    }
    assert reply.headers["x-description"] == reply.content["errortext"]


def test_nothing_found_has_neither_count_nor_list(cloud: Simulator) -> None:
    assert ok(cloud, "listHosts", name="nobody") == {}


def test_other_paths_are_not_the_api(cloud: Simulator) -> None:
    url = cloud.cloudstack["url"].replace("/client/api", "/client/")
    assert send(url, {"command": "listZones"}).status == 404


def test_null_fields_are_left_out_and_numbers_are_numbers(cloud: Simulator) -> None:
    host = one(cloud, "listHosts", "host", name="kvm11")
    assert None not in host.values() and "disconnected" not in host
    assert isinstance(host["memorytotal"], int) and host["memorywithoverprovisioning"] == str(host["memorytotal"])
    assert host["cpuallocated"] == "0%" and host["hahost"] is False
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}", host["created"])


# Parameters


def test_unknown_parameters_are_ignored(cloud: Simulator) -> None:
    assert ok(cloud, "listZones", nosuchthing="1", storageaccessgroup="x")["count"] == 1


@pytest.mark.parametrize(
    "params",
    [{"details[0]x": "1"}, {"details[a].k": "1"}, {"details[0].a[1].b": "1"}, {"details]0[.k": "1"}, {"details[0.k": "1"}],
    ids=lambda params: next(iter(params)),
)
def test_malformed_maps(cloud: Simulator, params: dict[str, str]) -> None:
    reply = call(cloud, "updateZone", **params)
    assert (reply.status, reply.content["cserrorcode"]) == (430, 9999)


@pytest.mark.parametrize(
    "command, params, text",
    [
        ("listHosts", {"page": "x", "pagesize": "2"}, "invalid value x for parameter page"),
        ("listHosts", {"page": "1", "pagesize": str(2**31)}, f"invalid value {2**31} for parameter pagesize"),
        ("listHosts", {"id": "00000000-0000-0000-0000-000000000000"}, "Invalid parameter id value=00000000-0000-0000-0000-000000000000"),
        ("listHosts", {"zoneid": "no-id"}, "Invalid parameter zoneid value=no-id"),
        ("listHosts", {"id": ""}, "Invalid parameter id value="),
        ("listHosts", {"name": "x" * 256}, "Value greater than max allowed length 255"),
        ("listHosts", {"name": "a\x07b"}, "illegal ASCII non-printable characters"),
        ("queryAsyncJobResult", {}, "missing parameter jobid"),
        ("queryAsyncJobResult", {"jobid": ""}, "missing parameter jobid"),
    ],
)
def test_refused_parameters(cloud: Simulator, command: str, params: dict[str, str], text: str) -> None:
    reply = call(cloud, command, "POST", **params)
    assert (reply.status, reply.content["cserrorcode"]) == (431, 9999)
    assert text in reply.content["errortext"]


def test_a_blank_integer_counts_as_not_given(cloud: Simulator) -> None:
    assert ok(cloud, "listDomains", level=" ", listall=True)["count"] == 2


def test_ids_may_be_internal_numbers_where_the_parameter_is_old(cloud: Simulator) -> None:
    assert ok(cloud, "listHosts", id="1")["host"][0]["name"] == "kvm11"
    assert refused(cloud, "listHosts", id="999")["errorcode"] == 431
    assert refused(cloud, "listHosts", id="0")["errorcode"] == 431


def test_ids_of_newer_parameters_that_are_no_uuid_do_not_count(start: Callable[..., Simulator]) -> None:
    sim = start(cloudstack="4.21.0")
    assert ok(sim, "listHosts", managementserverid="1")["count"] == 6


def test_booleans_are_true_or_anything_else(cloud: Simulator) -> None:
    assert ok(cloud, "listDomains", listall="TRUE")["count"] == 2
    assert ok(cloud, "listDomains", listall="yes")["count"] == 1


def test_names_match_whole_and_without_case_keywords_in_part(cloud: Simulator) -> None:
    assert ok(cloud, "listHosts", name="KVM11")["count"] == 1
    assert ok(cloud, "listHosts", name="kvm1") == {}
    assert ok(cloud, "listHosts", keyword="kvm")["count"] == 3


# Pages


def test_pages(cloud: Simulator) -> None:
    names = [host["name"] for host in ok(cloud, "listHosts")["host"]]
    pages = [ok(cloud, "listHosts", page=page, pagesize=4) for page in (1, 2, 3)]
    assert [page["count"] for page in pages] == [6, 6, 6]
    assert [host["name"] for page in pages for host in page.get("host", ())] == names
    assert "host" not in pages[2]
    assert ok(cloud, "listHosts", pagesize=-1)["count"] == len(names)


@pytest.mark.parametrize(
    "params, text, code",
    [
        ({"page": 1}, '"pagesize" parameter is required when "page" is specified', 9999),
        ({"pagesize": 10}, '"page" parameter is required when "pagesize" is specified', 9999),
        ({"page": 1, "pagesize": 501}, "Page size can not exceed max allowed page size value: 500", 4350),
        ({"page": 1, "pagesize": -1}, "Can't specify page parameter when pagesize is -1 (Unlimited)", 4350),
    ],
)
def test_refused_pages(cloud: Simulator, params: dict[str, int], text: str, code: int) -> None:
    content = refused(cloud, "listHosts", **params)
    assert (content["errorcode"], content["cserrorcode"], content["errortext"]) == (431, code, text)


def test_the_page_size_is_the_setting_in_force(cloud: Simulator) -> None:
    ok(cloud, "updateConfiguration", name="default.page.size", value=4)
    assert len(ok(cloud, "listHosts")["host"]) == 6
    cloud.restart_server()
    answer = ok(cloud, "listHosts")
    assert (answer["count"], len(answer["host"])) == (6, 4)
    assert refused(cloud, "listHosts", page=1, pagesize=5)["errorcode"] == 431
    assert len(ok(cloud, "listHosts", pagesize=-1)["host"]) == 6


# Discovery


@pytest.mark.parametrize("version", VERSIONS)
def test_list_apis_tells_what_the_release_has(clouds: Callable[[str], Simulator], version: str) -> None:
    sim, facts = clouds(version), Facts(version)
    apis = {api["name"]: api for api in ok(sim, "listApis")["api"]}
    assert set(apis) == set(facts.commands) and ("copySnapshot" in apis)
    for name, api in apis.items():
        assert api["isasync"] == facts.commands[name].is_async
        assert {param["name"] for param in api["params"]} == set(facts.commands[name].params)
        assert {field["name"] for field in api["response"]} == set(facts.commands[name].response)
    has_replication = "usestoragereplication" in {param["name"] for param in apis["createSnapshot"]["params"]}
    assert has_replication == (version >= "4.21")
    details = "details" in {field["name"] for field in apis["listStoragePools"]["response"]}
    assert details == (version >= "4.21")
    assert one(sim, "listApis", "api", name="LISTZONES")["name"] == "listZones"
    assert refused(sim, "listApis", name="listNothing")["errorcode"] == 530
    assert ok(sim, "listCapabilities")["capability"]["cloudstackversion"] == f"{version}.0"


@pytest.mark.parametrize("version", VERSIONS)
def test_every_listing_answers_within_the_fields_of_its_release(clouds: Callable[[str], Simulator], version: str) -> None:
    """The server checks its own answers; a field of another release would be a 500."""
    sim = clouds(version)
    for command in sorted(Facts(version).commands):
        if command.startswith("list"):
            status, content = sim.cs(
                command, listall=True, hypervisor="KVM", resourcetype="Storage", resourceid="1", type="primary", templatefilter="all"
            )
            assert status in (200, 431, 501), f"{command}: {status} {content}"


def test_a_command_that_is_not_simulated_says_so(cloud: Simulator) -> None:
    content = refused(cloud, "addCluster", clustername="c", clustertype="CloudManaged", hypervisor="KVM", podid="1", zoneid="1")
    assert content["errorcode"] == 501 and "addCluster" in content["errortext"]


# Faults and the call log


def test_the_call_log_has_commands_and_parameters_without_credentials(cloud: Simulator) -> None:
    cloud.reset_calls()
    ok(cloud, "listZones", name="sofia")
    ok(cloud, "updateConfiguration", name="force.ha", value=True)
    log = cloud.calls()
    assert (log["reads"], log["writes"]) == (1, 1)
    first, second = log["calls"]
    assert (first["call"], first["cluster"], first["body"], first["write"]) == ("listZones", "cloudstack", {"name": "sofia"}, False)
    assert second["body"] == {"name": "force.ha", "value": "true"}
    assert cloud.cloudstack["key"] not in json.dumps(log) and "signature" not in json.dumps(log)


def test_faults_of_the_wire(cloud: Simulator) -> None:
    cloud.fault("error", "listZones", name="535", descr="not now")
    assert refused(cloud, "listZones") == {"uuidList": [], "errorcode": 535, "cserrorcode": 9999, "errortext": "not now"}
    cloud.fault("transient", "listZones")
    assert refused(cloud, "listZones")["errorcode"] == 503
    cloud.fault("status", "listZones", status=502)
    assert call(cloud, "listZones").text.startswith(b"<html>")
    cloud.fault("bad_json", "listZones")
    with pytest.raises(ValueError):
        cloud.cs("listZones")
    for kind, effect in (("cut_before", False), ("cut_after", True), ("truncated", True)):
        ok(cloud, "resetConfiguration", name="force.ha")
        cloud.fault(kind, "updateConfiguration", object="force.ha")
        with pytest.raises((OSError, http.client.HTTPException, ValueError)):
            cloud.cs("updateConfiguration", name="force.ha", value=True)
        assert (ok(cloud, "listConfigurations", name="force.ha")["configuration"][0]["value"] == "true") is effect
    assert [entry["fault"] for entry in cloud.calls()["calls"] if entry["fault"]][:4] == ["error", "transient", "status", "bad_json"]


def test_a_fault_of_cloudstack_leaves_storpool_alone(cloud: Simulator) -> None:
    cloud.fault("error", "*", name="530", cluster="cloudstack", count=-1)
    assert cloud.get("VolumesList")[0] == 200
    assert refused(cloud, "listZones")["errorcode"] == 530


# Start


def test_the_ready_line_and_the_environment_file(start: Callable[..., Simulator], tmp_path: Path) -> None:
    path = tmp_path / "env"
    sim = start(cloudstack="4.22.0", env_file=path)
    text = path.read_text()
    for name, key in (("ENDPOINT", "url"), ("KEY", "key"), ("SECRET", "secret")):
        assert f"export CLOUDSTACK_{name}={sim.cloudstack[key]}\n" in text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = dict(sim.cloudstack)
    ok(sim, "updateConfiguration", name="force.ha", value=True)
    sim.kill()
    sim.start()
    assert sim.cloudstack == before
    assert one(sim, "listConfigurations", "configuration", name="force.ha")["value"] == "true"
    sim.reset()
    assert one(sim, "listConfigurations", "configuration", name="force.ha")["value"] == "false"
    assert named(sim, "listHosts", "host", "kvm11")


def test_a_state_without_cloudstack_gets_one_later(tmp_path: Path) -> None:
    with Simulator(tmp_path / "state", devices="none") as sim:
        with pytest.raises(SimulatorError):
            print(sim.cloudstack)
        sim.post("VolumeCreate", {"name": "kept", "size": 1 << 30})
    with Simulator(tmp_path / "state", devices="none", cloudstack="4.20.2") as sim:
        assert ok(sim, "listZones")["count"] == 1 and sim.get("Volume/kept")[0] == 200


def test_a_topology_asks_for_more_hosts(start: Callable[..., Simulator], tmp_path: Path) -> None:
    document = {
        "locations": [{"id": "sf", "name": "sofia", "clusters": [{"id": letter, "name": f"sofia-{letter}"} for letter in "abcd"]}],
        "cloudstack": {"clusters": 4, "hosts_per_cluster": 50},
    }
    path = tmp_path / "topology.json"
    path.write_text(json.dumps(document))
    sim = start(cloudstack="4.20.2", topology=path)
    assert ok(sim, "listClusters")["count"] == 5
    assert ok(sim, "listHosts", keyword="kvm")["count"] == 200
    kvm2 = named(sim, "listClusters", "cluster", "kvm2")
    assert ok(sim, "listHosts", clusterid=kvm2)["count"] == 50
    places = {(host["storpool"]["cluster"], host["storpool"]["client"]) for host in sim.hosts().values()}
    assert len(places) == 203
    for cluster in sim.clusters:
        assert "60" in sim.get("ServicesList", cluster)[1]["data"]["clients"]


def test_the_collections_own_client_talks_to_it(cloud: Simulator) -> None:
    module = pytest.importorskip("ansible_collections.storpool.cloudstack.plugins.module_utils._cloudstack")
    params = module.flat(
        {"a": True, "l": ["x", "y"], "d": {"k": "~v"}, "command": "listZones", "response": "json", "apiKey": cloud.cloudstack["key"]}
    )
    status, document = cloud.cs_raw(module.signed(params, cloud.cloudstack["secret"]))
    assert status == 200 and document["listzonesresponse"]["count"] == 1
    assert module.encode("a~b*c d") == java_encoded("a~b*c d")
