# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Errors that quote: a file of objects that cannot be meant, an address with a password in it, a server that says what it was told.

Nothing of a secret is in them, however it is written there: escaped, quoted for an address, in base64, cut short, over several lines.
"""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, quote_plus, urlsplit

import pytest
from ansible_collections.storpool.cloudstack.plugins.module_utils import _cloudstack as cs
from ansible_collections.storpool.cloudstack.plugins.module_utils._errors import LONGEST_TEXT, CollectionError, OptionError
from ansible_collections.storpool.cloudstack.plugins.module_utils._options import CloudStackConnection
from integration.conftest import connection
from servers import Proxy, Raw
from test_answers import KEY, SECRET, to, whole
from test_bad_inputs import LEAST
from ways import MODULES, as_module, in_worker, module_of, spec_of

MARK = "Marked-secret-7391"
WAYS = pytest.mark.parametrize("way", [as_module, in_worker], ids=["module", "worker"])


def traces(text: str) -> list[str]:
    """Parts of the marked secret in a text, and of what base64 makes of it."""
    return [one for one in ("Marked", "marked", "7391", base64.b64encode(MARK.encode()).decode()[:8]) if one in text]


# -- files


def secrets_of_entries(module: str) -> list[str]:
    """The options of one object whose values are secret; of settings any value may be."""
    declared = module_of(module).DECLARED
    item = getattr(declared, "item", {})
    return [name for name, one in item.items() if one.get("no_log")] or (["value"] if getattr(declared, "hide", None) and item else [])


WITH_SECRETS = [module for module in MODULES if secrets_of_entries(module)]


def key_of(module: str) -> str:
    declared = module_of(module).DECLARED
    return declared.key if declared.key in declared.item else "host"


def files_of(module: str) -> Iterator[tuple[str, str]]:
    """Files that cannot be meant, by name, with a secret in each."""
    declared = module_of(module).DECLARED
    key, option = key_of(module), secrets_of_entries(module)[0]
    good = {key: "x", option: MARK, **({"secret": True} if option == "value" else {})}
    flag, *_others = (name for name, one in declared.item.items() if one.get("type") == "bool")
    yield "misspelt.json", json.dumps([{**good, "no_such_option": 1}])
    yield "of-the-wrong-type.json", json.dumps([{**good, flag: "perhaps"}])
    yield "texts.json", json.dumps([f"{key}=x {option}={MARK}"])
    yield "lists.json", json.dumps([[key, "x", option, MARK]])
    yield "broken.json", f'[{{"{key}": "x", "{option}": "{MARK}" "}}]'
    for name, value in (("tag", f"!{MARK}"), ("number", f"!!int {MARK}"), ("anchor", f"*{MARK}"), ("reserved", f"@{MARK}"),
                        ("escape", f'"{MARK}\\q"'), ("decimal", f"!!float {MARK}")):  # fmt: skip
        yield f"{name}.yml", f"- {key}: x\n  {option}: {value}\n"
    yield "set-apart-otherwise.csv", f"{key};{option}\nx;{MARK}\n"
    yield "without-a-first-line.csv", f"x,{MARK}\ny,{MARK}\n"
    yield "beyond.csv", f"{key}\nx,{MARK}\n"


def test_modules_with_secrets_in_their_objects():
    assert WITH_SECRETS == ["cloudstack_settings", "cloudstack_storage_pool", "storpool_ha"]


@WAYS
@pytest.mark.parametrize("module", WITH_SECRETS)
def test_a_file_that_cannot_be_meant_is_not_quoted(module, way, cloud, tmp_path):
    """The error names the file and the place in it."""
    source = f"{module_of(module).DECLARED.plural}_src"
    for name, content in files_of(module):
        path = tmp_path / name
        path.write_text(content)
        result = way(module, {**connection(cloud, module), source: str(path)})
        assert result["failed"], name
        assert result["error"]["type"] == "bad_option", result
        assert str(path) in result["msg"]
        assert (not name.endswith(".json") or name == "broken.json") or "entry 1 of" in result["msg"]
        assert traces(json.dumps(result)) == [], f"{name}: {result['msg']}"


@pytest.mark.parametrize("module", WITH_SECRETS)
def test_a_crash_over_what_stands_in_a_file(module, cloud, tmp_path, monkeypatch):
    """What was read from a file is secret for the rest of the task, as an option's value is."""
    declared = module_of(module).DECLARED

    def crash(_self: Any, given: Any, _now: float) -> Any:
        raise RuntimeError(f"{given}")

    monkeypatch.setattr(type(declared.resource), "parse", crash)
    path = tmp_path / "objects.json"
    (option,) = secrets_of_entries(module)[:1]
    path.write_text(json.dumps([{key_of(module): "x", option: f'{MARK}"é\\', **({"secret": True} if option == "value" else {})}]))
    result = as_module(module, {**connection(cloud, module), f"{declared.plural}_src": str(path)})
    assert "defect" in result["msg"]
    assert "RuntimeError" in result["error"]["message"]
    assert traces(json.dumps(result)) == []


# -- addresses

ADDRESSES = {
    "cloudstack_url": (
        "cloudstack_settings",
        [f"https://user:{MARK}@127.0.0.1/client/api", f"https://user:x/{MARK}@127.0.0.1/client/api", f"user:{MARK}@127.0.0.1/client/api",
         f"https://127.0.0.1/client/api?apiKey={MARK}", f"https://u:{MARK}@127.0.0.1/client/api?x=y"],
    ),
    "api_url": ("cloudstack_settings", [f"https://user:{MARK}@127.0.0.1/client/api"]),
    "sp_api_http_host": ("storpool_volume_info", [[f"http://user:{MARK}@127.0.0.1"], ["127.0.0.1", f"{MARK}@127.0.0.1:81"]]),
    "pool_api_http": (
        "cloudstack_storage_pool",
        [f"SP_API_HTTP=10.0.0.1:81;SP_AUTH_TOKEN={MARK};SP_TEMPLATE=nvme", f"storpool://{MARK}@10.0.0.1:81/nvme"],
    ),
}  # fmt: skip


@WAYS
@pytest.mark.parametrize("option", ADDRESSES)
def test_an_address_with_a_secret_in_it(option, way, cloud):
    """Refused, and shown without: in the error, and among the options at -vvv."""
    module, values = ADDRESSES[option]
    for value in values:
        given = {name: one for name, one in connection(cloud, module).items() if (name, option) != ("cloudstack_url", "api_url")}
        result = way(module, {**given, **LEAST.get(module, {}), option: value})
        assert result["error"]["option"] == {"api_url": "cloudstack_url"}.get(option, option), result
        assert traces(json.dumps(result)) == [], result
        assert "127.0.0.1" in json.dumps(result["invocation"]) or option == "pool_api_http"


# -- servers that repeat what they were told

ODD = MARK + "\"'\\ /+&<~é\n%"
FORMS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "JSON": json.dumps,
    "Python": repr,
    "HTML": html.escape,
    "an address": quote,
    "a form": quote_plus,
    "all of it quoted": lambda text: quote(text, safe=""),
    "Java": lambda text: quote(text, safe="*").replace("~", "%7E").replace("%20", "+"),
    "one line": lambda text: " ".join(text.split("\n")),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
}


def refusing(description: str) -> Any:
    """A CloudStack that refuses everything in these words."""
    body = json.dumps({"errorresponse": {"errorcode": 530, "errortext": description, "cserrorcode": 4250}}).encode()
    return Raw(whole(body, b"HTTP/1.1 530 Refused\r\nConnection: close\r\n"))


def client_of(server: Raw) -> cs.CloudStack:
    return cs.CloudStack(CloudStackConnection(f"http://127.0.0.1:{server.port}/client/api", KEY, SECRET, True, 20, 20, {}))


@pytest.mark.parametrize("form", FORMS)
def test_a_refusal_that_quotes_a_secret(form):
    with refusing(f"the command -P {FORMS[form](ODD)} failed") as server:
        with pytest.raises(CollectionError) as caught:
            client_of(server).send(cs.Command("configureX", {"password": ODD}, "kvm11", secrets=[ODD]))
    assert "the command -P" in str(caught.value)
    assert traces(json.dumps(caught.value.as_dict()) + str(caught.value)) == []


def test_a_refusal_that_is_cut_short_within_a_secret():
    """An error repeats so many characters of a server's text; the secret is looked for before it is cut."""
    for before in range(LONGEST_TEXT - len(MARK), LONGEST_TEXT + 1):
        with refusing("x" * before + MARK) as server:
            with pytest.raises(CollectionError) as caught:
                client_of(server).send(cs.Command("configureX", {"password": MARK}, "kvm11", secrets=[MARK]))
        assert traces(str(caught.value)) == []


def test_a_secret_that_no_text_can_have():
    """Half a character, as what a variable of the environment in another encoding gives: refused by name alone."""
    with refusing("") as server:
        with pytest.raises(OptionError) as caught:
            client_of(server).send(cs.Command("configureX", {"password": MARK + "\udce9"}, "kvm11", secrets=[MARK + "\udce9"]))
        assert server.heard == []
    assert caught.value.parts["option"] == "password"
    assert traces(str(caught.value)) == []


@pytest.mark.parametrize("module", ["storpool_volume_info", "cloudstack_settings"])
def test_a_service_that_echoes_what_it_hears(module, monkeypatch):
    """No HTTP at all: its first line is the request, with key and signature in it."""
    monkeypatch.setattr("ansible_collections.storpool.cloudstack.plugins.module_utils._http.CONNECT_ATTEMPTS", 1)
    with Raw(lambda send: send(server.heard[-1])) as server:
        result = as_module(module, {**LEAST.get(module, {}), **to(module, server.port)})
        assert server.heard
    assert "answered with what is no HTTP" in result["msg"]
    assert "signature" not in json.dumps(result) and KEY not in json.dumps(result)


def test_a_controllers_password_in_the_words_of_a_server(cloud, tmp_path):
    """The whole way: a password from a file, quoted by CloudStack in an error."""

    def change(path: str, status: int, body: bytes) -> tuple[int, bytes]:
        if not urlsplit(path).query:  # a write
            words = f"ipmitool -H 198.51.100.1 -P {quote_plus(ODD)} and {ODD}: refused"
            return 530, json.dumps({"errorresponse": {"errorcode": 530, "errortext": words, "cserrorcode": 4250}}).encode()
        return status, body

    hosts = tmp_path / "hosts.json"
    hosts.write_text(json.dumps([{"host": "kvm11", "oobm_address": "198.51.100.1", "oobm_username": "ADMIN", "oobm_password": ODD}]))
    address = urlsplit(cloud.cloudstack["url"])
    with Proxy(f"http://{address.hostname}:{address.port}", change) as proxy:
        there = {"cloudstack_url": f"http://127.0.0.1:{proxy.port}/client/api", "sp_node_ids": {"kvm11": 11, "kvm12": 12, "kvm13": 13}}
        result = as_module("storpool_ha", {**connection(cloud, "storpool_ha"), **there, "hosts_src": str(hosts)}, diff=True)
    assert "ipmitool -H 198.51.100.1 -P" in result["msg"], result
    assert traces(json.dumps(result)) == []


def test_every_option_that_is_an_address_is_known_here():
    """An option that takes an address may have a secret in it, and has to be among those that are shown without."""
    named = {name for module in MODULES for name in spec_of(module) if name.endswith(("_url", "_http", "_http_host"))}
    assert named == {name for name in ADDRESSES if name != "api_url"}
