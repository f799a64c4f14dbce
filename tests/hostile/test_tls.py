# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""TLS to CloudStack: verified unless the user says otherwise, by the authorities that are named, for the host that was asked for."""

from __future__ import annotations

import datetime
import json
import ssl
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import trustme
from ansible_collections.storpool.cloudstack.plugins.module_utils import _http
from integration.conftest import connection
from servers import Proxy
from ways import as_module

NOW = datetime.datetime.now(datetime.timezone.utc)


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_path(authority, tmp_path) -> str:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture
def ask(cloud, authority, monkeypatch) -> Iterator[Callable[..., tuple[dict[str, Any], list[str]]]]:
    """`ask(certificate, **options)` runs a task against CloudStack behind TLS; returns its result and what the server was asked."""
    monkeypatch.setattr(_http, "CONNECT_ATTEMPTS", 1)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    address = urlsplit(cloud.cloudstack["url"])

    def run(certificate: trustme.LeafCert, host: str = "127.0.0.1", **options: Any) -> tuple[dict[str, Any], list[str]]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        with Proxy(f"http://{address.hostname}:{address.port}", context=context) as proxy:
            there = {
                **connection(cloud, "cloudstack_settings"),
                "cloudstack_url": f"https://{host}:{proxy.port}/client/api",
                "cloudstack_timeout": 20,
            }
            result = as_module("cloudstack_settings", {**there, "name": "force.ha", "value": True, **options}, check=True)
        text = json.dumps(result)
        assert cloud.cloudstack["key"] not in text
        assert cloud.cloudstack["secret"] not in text
        return result, proxy.seen

    yield run


@pytest.fixture
def good(authority) -> trustme.LeafCert:
    return authority.issue_cert("127.0.0.1", "localhost")


def refused(answer: tuple[dict[str, Any], list[str]], why: str) -> None:
    result, asked = answer
    assert result["failed"]
    assert result["error"]["type"] == "unreachable"
    assert "TLS" in result["msg"]
    assert why in result["msg"], result["msg"]
    assert "_ssl.c" not in result["msg"]
    assert asked == []  # not a byte of a request, and so no key, before the certificate was found good


def test_an_unknown_authority_is_refused_by_default(ask, good):
    refused(ask(good), "unable to get local issuer certificate")


def test_the_users_authority(ask, good, ca_path):
    result, asked = ask(good, cloudstack_ca_path=ca_path)
    assert not result.get("failed"), result
    assert asked


def test_the_users_authority_from_a_profile(ask, good, ca_path, tmp_path):
    profiles = tmp_path / "profiles.ini"
    profiles.write_text(f"[p]\ncloudstack_ca_path = {ca_path}\n")
    result, _asked = ask(good, profile="p", profile_file=str(profiles))
    assert not result.get("failed"), result


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_no_authority_comes_from_the_environment(ask, good, ca_path, monkeypatch, name):
    """Whom a task trusts is said by its options and profile alone."""
    monkeypatch.setenv(name, ca_path)
    refused(ask(good), "unable to get local issuer certificate")


def test_another_authority(ask, good, tmp_path):
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    refused(ask(good, cloudstack_ca_path=str(other)), "issuer certificate")


def test_another_host(ask, authority, ca_path):
    refused(ask(authority.issue_cert("cloud.example.com"), cloudstack_ca_path=ca_path), "127.0.0.1")


def test_another_name_of_the_same_address(ask, authority, ca_path):
    refused(ask(authority.issue_cert("127.0.0.1"), host="localhost", cloudstack_ca_path=ca_path), "localhost")


def test_an_expired_certificate(ask, authority, ca_path):
    old = authority.issue_cert("127.0.0.1", not_before=NOW - datetime.timedelta(days=20), not_after=NOW - datetime.timedelta(days=1))
    refused(ask(old, cloudstack_ca_path=ca_path), "certificate has expired")


def test_a_certificate_of_the_future(ask, authority, ca_path):
    young = authority.issue_cert("127.0.0.1", not_before=NOW + datetime.timedelta(days=1), not_after=NOW + datetime.timedelta(days=9))
    refused(ask(young, cloudstack_ca_path=ca_path), "certificate is not yet valid")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_verification_can_be_switched_off(ask, authority, host):
    result, asked = ask(authority.issue_cert("cloud.example.com"), host=host, cloudstack_validate_certs=False)
    assert not result.get("failed"), result
    assert asked


def test_plain_http_at_a_tls_port_and_tls_at_a_plain_one(cloud, ask, good, ca_path):
    address = urlsplit(cloud.cloudstack["url"])
    options = {**connection(cloud, "cloudstack_settings"), "name": "force.ha", "value": True, "cloudstack_timeout": 20}
    result = as_module(
        "cloudstack_settings", {**options, "cloudstack_url": f"https://{address.hostname}:{address.port}/client/api"}, check=True
    )
    assert result["error"]["type"] == "unreachable"
    assert "TLS" in result["msg"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "does not exist"),
        (b"no certificate", "holds no certificates"),
        (b"", "holds no certificates"),
        (b"\x00\xff" * 50, "holds no certificates"),
    ],
)
def test_authorities_that_are_none(ask, good, tmp_path, content, says):
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    result, asked = ask(good, cloudstack_ca_path=str(path))
    assert result["error"]["option"] == "cloudstack_ca_path"
    assert says in result["msg"]
    assert asked == []


@pytest.mark.parametrize("name", ["pipe.json", "huge.json", "zero.json"])
def test_authorities_in_odd_places(ask, good, oddities, name):
    if name not in oddities:
        pytest.skip("who runs this may not make a device")
    result, _asked = ask(good, cloudstack_ca_path=str(oddities[name]))
    assert result["error"]["option"] == "cloudstack_ca_path"
