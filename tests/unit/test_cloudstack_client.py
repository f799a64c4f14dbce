# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The CloudStack client against a server that checks every signature by its own means: calls, paging, jobs, what goes wrong."""

from __future__ import annotations

import base64
import calendar
import dataclasses
import hashlib
import hmac
import json
import re
import time
import uuid
from email.utils import formatdate
from pathlib import Path
from urllib.parse import unquote_plus

import pytest
from ansible_collections.storpool.cloudstack.plugins.module_utils import _cloudstack as cs
from ansible_collections.storpool.cloudstack.plugins.module_utils import _http
from ansible_collections.storpool.cloudstack.plugins.module_utils import _storpool as sp
from ansible_collections.storpool.cloudstack.plugins.module_utils._errors import (
    AnswerLost,
    ApiError,
    DeadlineExceeded,
    OptionError,
    Unauthorized,
    Unreachable,
    WriteInCheckMode,
)
from ansible_collections.storpool.cloudstack.plugins.module_utils._options import CloudStackConnection
from transcript import Exchange, Server, closed_port

SCHEMA = Path(__file__).parents[1] / "simulator" / "storpool_simulator" / "schema" / "cloudstack-api.json"
KEY, SECRET = "plgWJfZK4gyS3mOMTVmjUVg-X-jlWlnfaUJ9GAbBbf9", "VDaACYb0LV9eNjTetIOElcVQkvJck_J_QljX_FcHRj8"


def connection(url, **more):
    given = {"url": url, "key": KEY, "secret": SECRET, "verify": True, "timeout": 5, "job_timeout": 10, **more}
    return CloudStackConnection(**given, sources={"cloudstack_url": "option cloudstack_url", "cloudstack_key": "profile lab of p.ini"})


def connect(server, **more):
    client = cs.CloudStack(connection(f"http://127.0.0.1:{server.port}/client/api", **more))
    client._sleep = lambda seconds: None
    client.http._sleep = lambda seconds: None
    client.begin(_http.Stats(), read_only=False)
    return client


def jdk_encode(text):
    """What java.net.URLEncoder makes of a text, with + as %20; written down here once more, byte by byte."""
    kept = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-*_"
    return "".join(chr(byte) if byte in kept else f"%{byte:02X}" for byte in text.encode())


def call(command, answer=None, *, write=False, params=None, key=None, **more):
    """One expected call and the content of its envelope."""
    if answer is not None:
        more["body"] = json.dumps({key or f"{command.lower()}response": answer}).encode()
    return Exchange("POST" if write else "GET", command, params or {}, **more)


def refusal(command, status, text, cserrorcode=9999, **more):
    answer = {"uuidList": [], "errorcode": status, "errortext": text}
    if cserrorcode:
        answer["cserrorcode"] = cserrorcode
    return call(command, answer, status=status, **more)


class Api(Server):
    """Plays a transcript of commands: the parameters have to be these, and the signature right.

    The id that the client gives a job is `mine` in the transcript.
    """

    mine: str | None = None

    def _expected(self, request):
        path, _mark, query = request.path.partition("?")
        text = query or request.body.decode()
        given = [part.split("=", 1) for part in text.split("&")]
        params = {name: unquote_plus(value) for name, value in given}
        signature = params.pop("signature")
        line = "&".join(f"{name}={jdk_encode(params[name])}" for name in sorted(params)).lower()
        right = base64.b64encode(hmac.new(SECRET.encode(), line.encode(), hashlib.sha1).digest()).decode()
        if path != "/client/api" or signature != right:
            self.complaints.append(f"signature of {line} at {path}")
        fixed = {name: params.pop(name, None) for name in ("response", "apiKey", "signatureVersion", "expires")}
        if (fixed["response"], fixed["apiKey"], fixed["signatureVersion"]) != ("json", KEY, "3"):
            self.complaints.append(f"{fixed}")
        ends = calendar.timegm(time.strptime(fixed["expires"], "%Y-%m-%dT%H:%M:%S+0000"))
        if not 500 < ends - time.time() <= 900:
            self.complaints.append(f"expires {fixed['expires']}")
        if not self.script:
            self.complaints.append(f"one too many: {params}")
            return Exchange("", "", status=599)
        exchange = self.script.pop(0)
        command = params.pop("command")
        injected = params.pop("injectedjobid", None)
        if (injected is not None) != (command in cs.ASYNCHRONOUS) or (injected and str(uuid.UUID(injected)) != injected):
            self.complaints.append(f"injectedjobid {injected} with {command}")
        self.mine = injected or self.mine
        if self.mine and params.get("jobid") == self.mine:
            params["jobid"] = "mine"
        if (exchange.method, exchange.path, exchange.sent) != (request.method, command, params):
            self.complaints.append(f"expected {exchange.method} {exchange.path} {exchange.sent}, got {request.method} {command} {params}")
        return exchange


# -- signing


def test_values_are_encoded_as_the_server_does():
    assert cs.encode("~a1.b.c4") == "%7Ea1.b.c4"
    assert cs.encode("a b+c*d/e;f") == "a%20b%2Bc*d%2Fe%3Bf"
    every = "".join(chr(code) for code in range(32, 127)) + "žя"
    assert cs.encode(every) == jdk_encode(every)


@pytest.mark.parametrize("value", ["~a1.b.c4", "a*b", "100 %", "nvme;3f1c2f1e-0000-4000-8000-000000000001", "Größe", "a=b&c=d", ""])
def test_signatures_hold_for_reads_and_writes(value):
    with Api(
        call("listVolumes", {}, params={"keyword": value}), call("updateVolume", {}, write=True, params={"path": value, "Id": "x"})
    ) as server:
        client = connect(server)
        client.read("listVolumes", keyword=value)
        # The server sorts names as they are written: capital letters first.
        client.send(cs.Command("updateVolume", {"path": value, "Id": "x"}, "v"))


def test_parameters():
    assert cs.flat({"a": True, "b": False, "c": None, "d": [1, "x"], "e": {"SP_TEMPLATE": "t"}, "f": 5, "g": ""}) == {
        "a": "true",
        "b": "false",
        "d": "1,x",
        "e[0].SP_TEMPLATE": "t",
        "f": "5",
        "g": "",
    }


# -- answers


def test_an_answer_is_what_its_envelope_holds():
    with Api(
        call("listZones", {"count": 1, "zone": [{"id": "z"}]}),
        call("enableStorageMaintenance", {"success": True}, key="prepareprimarystorageformaintenanceresponse", write=True),
    ) as server:
        client = connect(server)
        assert client.read("listZones") == {"count": 1, "zone": [{"id": "z"}]}
        assert client.send(cs.Command("enableStorageMaintenance")) == {"success": True}


def test_the_version_is_read_once():
    with Api(call("listCapabilities", {"capability": {"cloudstackversion": "4.21.0.0-SNAPSHOT"}})) as server:
        client = connect(server)
        assert client.version == client.version == (4, 21, 0, 0)
        assert client.version > (4, 20, 2)


def hosts(numbers):
    return [{"id": str(number), "name": f"host{number}", "zoneid": "z", "clusterid": "c"} for number in numbers]


@pytest.mark.parametrize(
    ("pages", "found"),
    [
        ([{}], []),  # no match: neither count nor list
        ([{"count": 2, "host": [1, 2]}], [1, 2]),
        ([{"count": 5, "host": [1, 2]}, {"count": 5, "host": [3, 4]}, {"count": 5, "host": [5]}], [1, 2, 3, 4, 5]),
        ([{"count": 3, "host": [1, 2]}, {"count": 3}], [1, 2]),  # some went away meanwhile
        ([{"count": 4, "host": [1, 2]}, {"count": 4, "host": [3, 4]}], [1, 2, 3, 4]),
    ],
)
def test_paging(pages, found):
    pages = [{**page, "host": hosts(page["host"])} if "host" in page else page for page in pages]
    script = [
        call("listHosts", page, params={"type": "Routing", **({"page": str(number), "pagesize": "2"} if number > 1 else {})})
        for number, page in enumerate(pages, 1)
    ]
    with Api(*script) as server:
        assert connect(server).list("listHosts", "host", type="Routing") == hosts(found)


def test_a_listing_without_an_end(monkeypatch):
    monkeypatch.setattr(cs, "MOST_OBJECTS", 5)
    pages = [
        call("listHosts", {"count": 10**9, "host": hosts([0, 1])}, params={"page": str(number), "pagesize": "2"} if number > 1 else {})
        for number in (1, 2, 3)
    ]
    with Api(*pages) as server, pytest.raises(Unreachable, match="more than 5 objects"):
        connect(server).list("listHosts", "host")


def test_a_listing_without_limit_is_one_call():
    with Api(call("listConfigurations", {"count": 1, "configuration": [{"name": "a"}]}, params={"pagesize": "-1"})) as server:
        assert connect(server).list("listConfigurations", "configuration", unlimited=True) == [{"name": "a"}]


# -- jobs

JOB = "0b0b0b0b-1111-4222-8333-444444444444"


def job(status, **more):
    return call("queryAsyncJobResult", {"jobid": JOB, "jobstatus": status, "jobprocstatus": 0, **more}, params={"jobid": JOB})


def start(command="enableStorageMaintenance"):
    return call(command, {"jobid": JOB}, key="prepareprimarystorageformaintenanceresponse", write=True, params={"id": "p;1"})


MAINTAIN = cs.Command("enableStorageMaintenance", {"id": "p;1"}, "pool p")


def test_a_job_is_followed_to_its_end():
    with Api(start(), job(0), job(0), job(1, jobresult={"storagepool": {"state": "Maintenance"}})) as server:
        assert connect(server).send(MAINTAIN) == {"storagepool": {"state": "Maintenance"}}


def test_a_job_without_result():
    with Api(start(), job(1)) as server:
        assert connect(server).send(MAINTAIN) == {}


@pytest.mark.parametrize(
    ("end", "text"),
    [
        ({"jobresultcode": 530, "jobresult": {"errorcode": 530, "errortext": "the pool is busy"}}, "530: the pool is busy"),
        ({"jobresultcode": 530}, "530: no reason given"),  # as old servers answer
        ({"jobresult": {"errorcode": 431, "errortext": f"bad key {KEY}"}}, r"431: bad key \(hidden\)"),
    ],
)
def test_a_job_that_fails(end, text):
    with Api(start(), job(2, **end)) as server:
        with pytest.raises(ApiError, match=f"enableStorageMaintenance on pool p failed: {text}"):
            connect(server).send(MAINTAIN)


def test_a_cancelled_job():
    with Api(start(), job(3)) as server, pytest.raises(ApiError, match="cancelled"):
        connect(server).send(MAINTAIN)


def test_a_lost_job_may_have_taken_effect():
    with Api(start(), job(0), refusal("queryAsyncJobResult", 431, "unknown job", params={"jobid": JOB})) as server:
        with pytest.raises(AnswerLost, match=f"the job {JOB} of enableStorageMaintenance on pool p is not known") as caught:
            connect(server).send(MAINTAIN)
    assert caught.value.as_dict()["under_way"] is True  # so it is looked for, and not sent again


@pytest.mark.parametrize(
    "text",
    [
        "job cancelled because of management server restart or shutdown",
        "Execution was cancelled because of server shutdown",
    ],
)
def test_a_job_whose_server_went_down_may_have_taken_effect(text):
    with Api(start(), job(2, jobresult={"errorcode": 530, "errortext": text})) as server:
        with pytest.raises(AnswerLost, match=f"was begun \\(job {JOB}\\), then its management server went down: {text}") as caught:
            connect(server).send(MAINTAIN)
    assert caught.value.as_dict()["under_way"] is True


@pytest.mark.parametrize(
    ("ends", "comes"), [(["gone already", None], {}), (["gone already", "gone ALREADY"], "gone ALREADY"), (["busy"], "busy")]
)
def test_what_the_first_attempt_cleared_away_is_tried_once_more(ends, comes):
    jobs = [job(1) if end is None else job(2, jobresult={"errorcode": 530, "errortext": f"it is {end}"}) for end in ends]
    command = cs.Command(MAINTAIN.call, MAINTAIN.params, MAINTAIN.about, again="is gone Already")
    with Api(*[exchange for end in jobs for exchange in (start(), end)]) as server:
        if comes == {}:
            assert connect(server).send(command) == {}
        else:
            with pytest.raises(ApiError, match=comes):
                connect(server).send(command)


@pytest.mark.parametrize(("waits", "option"), [(0.01, "wait_timeout"), (None, "cloudstack_job_timeout")])
def test_a_job_that_takes_too_long(waits, option):
    with Api(start(), job(0)) as server:
        client = connect(server)
        client.connection = dataclasses.replace(client.connection, job_timeout=0.01)
        with pytest.raises(DeadlineExceeded, match="enableStorageMaintenance on pool p still runs after 0 s") as caught:
            client.send(cs.Command(MAINTAIN.call, MAINTAIN.params, MAINTAIN.about, waits=waits))
    assert caught.value.parts["job"] == JOB and caught.value.hint.endswith(f"or raise {option}")


def test_looking_at_a_job_survives_a_cut_connection():
    with Api(start(), Exchange("GET", "queryAsyncJobResult", {"jobid": JOB}, act="cut"), job(1, jobresult={"success": True})) as server:
        assert connect(server).send(MAINTAIN) == {"success": True}


LOST = Exchange("POST", "enableStorageMaintenance", {"id": "p;1"}, act="cut")


def mine(status, **more):
    return call("queryAsyncJobResult", {"jobid": "x", "jobstatus": status, "jobprocstatus": 0, **more}, params={"jobid": "mine"})


def test_a_job_whose_beginning_was_not_answered_is_found_by_the_id_it_was_given():
    with Api(LOST, mine(0), mine(0), mine(1, jobresult={"storagepool": {"state": "Maintenance"}})) as server:
        assert connect(server).send(MAINTAIN) == {"storagepool": {"state": "Maintenance"}}


def test_a_job_that_was_never_begun_is_a_lost_answer():
    unknown = [refusal("queryAsyncJobResult", 431, "unknown job", params={"jobid": "mine"}) for _pause in (0, *cs.LATE)]
    with Api(LOST, *unknown) as server, pytest.raises(AnswerLost, match="enableStorageMaintenance on pool p"):
        connect(server).send(MAINTAIN)


def test_which_commands_begin_a_job():
    told = json.loads(SCHEMA.read_text(encoding="utf-8"))["commands"]
    assert [name for name in sorted(cs.ASYNCHRONOUS) if not told[name].get("isasync")] == []
    sent = set()
    for path in (Path(cs.__file__).parent / "resources").glob("*.py"):
        sent |= set(re.findall(r'"([a-z]+[A-Z]\w+)"', path.read_text(encoding="utf-8")))
    forgotten = [name for name in sorted(sent & told.keys() - cs.ASYNCHRONOUS) if told[name].get("isasync")]
    assert forgotten == [], "commands that begin a job and are not known to"
    # What is switched on for a cluster or a zone is composed.
    composed = {f"enable{what}For{where}" for what in ("HA", "OutOfBandManagement") for where in ("Cluster", "Zone")}
    assert cs.ASYNCHRONOUS - sent == composed, "commands that nobody sends"


# -- errors


def test_a_refusal_has_its_parts_and_no_secret():
    text = f"unable to execute API command updatevolume; key {KEY}, value hunter2!"
    command = cs.Command("updateVolume", {"path": "hunter2!"}, "v", secrets=["hunter2!"], hints=[("Unable to execute", "do it by hand")])
    with Api(refusal("updateVolume", 431, text, 4350, write=True, params={"path": "hunter2!"})) as server:
        with pytest.raises(ApiError) as caught:
            connect(server).send(command)
    error = caught.value
    assert (error.name, error.parts["status"], error.parts["call"], error.parts["object"]) == ("431", 431, "updateVolume", "v")
    assert error.hint == "do it by hand"
    assert "key (hidden), value (hidden)" in str(error)
    assert KEY not in repr(error.as_dict()) and "hunter2" not in repr(error.as_dict())


def test_a_server_that_is_busy_is_asked_again():
    with Api(
        refusal("listZones", 429, "rate limit"),
        call("listZones", {}),
        refusal("updateZone", 503, "shutting down", write=True),
        call("updateZone", {}, write=True),
    ) as server:
        client = connect(server)
        client.read("listZones")
        client.send(cs.Command("updateZone"))
        assert client.http.stats.retries == 2


def test_a_role_that_lacks_a_command_is_no_wrong_signature():
    with Api(refusal("updateConfiguration", 401, "The API [updateConfiguration] does not exist or is not available", write=True)) as server:
        with pytest.raises(ApiError, match=r"updateConfiguration on force.ha failed: 401: The API"):
            connect(server).send(cs.Command("updateConfiguration", {}, "force.ha"))


def test_halves_of_characters_are_refused_before_anything_is_sent():
    client = cs.CloudStack(connection(f"http://127.0.0.1:{closed_port()}/client/api"))
    for half in ("\ud800", "\udfff"):
        with pytest.raises(OptionError, match=r"option keyword: .* has halves of characters") as refused:
            client.read("listZones", name="fine", keyword=f"a{half}b")
        assert refused.value.parts["option"] == "keyword"


def test_what_is_for_storpool_goes_there():
    class Cluster:
        """Takes what it is sent."""

        def send(self, write):
            return f"made {write.on}"

    client = cs.CloudStack(connection("http://127.0.0.1:1/client/api"))
    client.storpool = Cluster()
    assert client.send(sp.volume_delete("v")) == "made v"


def test_wrong_credentials_name_where_they_are_from():
    with Api(refusal("listZones", 401, "unable to verify user credentials", None)) as server:
        with pytest.raises(Unauthorized, match=r"cloudstack_key \(from profile lab of p.ini\)") as caught:
            connect(server).read("listZones")
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("skew", [-3600, 600, 3600])
def test_clocks_that_differ(skew):
    date = formatdate(time.time() + skew, usegmt=True)
    with Api(refusal("listZones", 401, "unable to verify user credentials", None, headers=(("Date", date),))) as server:
        with pytest.raises(Unauthorized, match=r"the clocks differ by (3[56]|5[89]|60)"):
            connect(server).read("listZones")


@pytest.mark.parametrize("skew", [100, 500])
def test_a_small_skew_is_not_blamed(skew):
    date = formatdate(time.time() + skew, usegmt=True)
    with Api(refusal("listZones", 401, "unable to verify user credentials", None, headers=(("Date", date),))) as server:
        with pytest.raises(Unauthorized, match="check cloudstack_key"):
            connect(server).read("listZones")


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        ({"body": b"<html>welcome</html>"}, "an HTML or XML page"),
        ({"body": b"<?xml version='1.0'?><listzonesresponse/>"}, "an HTML or XML page"),
        ({"body": b"", "status": 302, "headers": (("Location", "/client"),)}, "a redirect"),
    ],
)
def test_something_else_answers(answer, what):
    with Api(call("listZones", None, **answer)) as server:
        with pytest.raises(Unreachable, match=f"answered with {what}.*check cloudstack_url"):
            connect(server).read("listZones")


@pytest.mark.parametrize("body", [b"[]", b'{"a": {}, "b": {}}', b'{"a": []}', b"null", b'{"listzones'])
def test_what_is_no_answer_is_asked_for_again(body):
    with Api(call("listZones", None, body=body), call("listZones", {"count": 0})) as server:
        assert connect(server).read("listZones") == {"count": 0}


@pytest.mark.parametrize("exchange", [{"act": "cut"}, {"body": b"{}{"}, {"act": "truncate"}])
def test_a_write_without_an_answer_is_lost_and_not_repeated(exchange):
    with Api(call("updateZone", {} if "body" not in exchange else None, write=True, **exchange)) as server:
        with pytest.raises(AnswerLost, match=r"updateZone on sofia: CloudStack at .* took the request and then") as caught:
            connect(server).send(cs.Command("updateZone", {}, "sofia"))
    assert "signature" not in str(caught.value)


def test_errors_show_neither_key_nor_signature():
    script = [Exchange("GET", "listZones", {}, act="cut") for _unused in range(_http.CONNECT_ATTEMPTS)]
    with Api(*script) as server:
        with pytest.raises(Unreachable, match="took the request and then closed the connection") as caught:
            connect(server).read("listZones")
    assert KEY not in str(caught.value) and "signature" not in str(caught.value)


def test_nobody_listens():
    client = cs.CloudStack(connection(f"http://127.0.0.1:{closed_port()}/client/api", timeout=1))
    with pytest.raises(Unreachable, match=r"CloudStack at http://127.0.0.1:.* cannot be reached"):
        client.read("listZones")


def test_check_mode_writes_nothing():
    with Api() as server:
        client = connect(server)
        client.begin(_http.Stats(), read_only=True)
        with pytest.raises(WriteInCheckMode):
            client.send(cs.Command("updateZone"))


# -- names, ids and tokens


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("3f1c2f1e-0a0b-4c0d-8e0f-000000000001", True),
        ("nvme;3f1c2f1e-0a0b-4c0d-8e0f-000000000001", True),
        ("nvme", False),
        ("3f1c2f1e-0a0b-4c0d-8e0f-00000000000", False),
        (";3f1c2f1e-0a0b-4c0d-8e0f-000000000001", False),
    ],
)
def test_ids(text, is_one):
    assert cs.is_id(text) is is_one


def test_one_object_of_a_name():
    found = [{"id": "1", "name": "a"}, {"id": "2", "name": "b", "zonename": "z1"}, {"id": "3", "name": "b", "zonename": "z2"}]
    assert cs.pick(found, "a", "zone")["id"] == "1"
    assert cs.pick(found, "3", "zone")["id"] == "3"
    with pytest.raises(OptionError, match=r"option zone: 'b' is the name of 2: 2 \(z1\), 3 \(z2\); give the id"):
        cs.pick(found, "b", "zone")
    with pytest.raises(OptionError, match="'c' does not exist in CloudStack; there are: a, b"):
        cs.pick(found, "c", "zone")
    with pytest.raises(OptionError, match="there are: none"):
        cs.pick([], "c", "zone")


@pytest.mark.parametrize(
    ("text", "by_position", "shown"),
    [
        ("SP_API_HTTP=h:81;SP_AUTH_TOKEN=123;SP_TEMPLATE=t", False, "SP_API_HTTP=h:81;SP_AUTH_TOKEN=(hidden);SP_TEMPLATE=t"),
        ("sp_auth_token = 123;x=y", False, "sp_auth_token = (hidden);x=y"),
        ("storpool://123@h:81/t", False, "storpool://(hidden)@h:81/t"),
        ("SP_API_HTTP=h:81;SP_AUTH_TOKEN=123", True, "SP_API_HTTP=h:81;SP_AUTH_TOKEN=(hidden)"),
        ("API=h:81;KEY=123", True, "API=h:81;KEY=(hidden)"),
        ("API=h:81;KEY=123", False, "API=h:81;KEY=123"),
        ("plain", True, "plain"),
    ],
)
def test_tokens_are_hidden(text, by_position, shown):
    assert cs.hide_tokens(text, by_position) == shown
    assert set(cs.tokens_in(text, by_position)) <= {"123"}
    assert bool(cs.tokens_in(text, by_position)) == (shown != text)


def test_a_job_that_cannot_be_asked_about_goes_on():
    """The runner must not take it for one that had no effect: it looks again until the job shows."""
    with Api(start(), refusal("queryAsyncJobResult", 530, "database is down", params={"jobid": JOB})) as server:
        with pytest.raises(AnswerLost, match=f"enableStorageMaintenance on pool p was begun .job {JOB}., then .*database") as caught:
            connect(server).send(MAINTAIN)
    assert caught.value.as_dict()["under_way"] is True and "running the task again" in caught.value.as_dict()["hint"]
