# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where settings come from: option, profile, environment, /etc/storpool.conf; and what errors say about it."""

from __future__ import annotations

import platform

import pytest
from ansible_collections.storpool.cloudstack.plugins.module_utils import _options
from ansible_collections.storpool.cloudstack.plugins.module_utils._errors import OptionError

TOKEN = "1556129910218014736"


class Place:
    """A machine with its own configuration, environment and profile file."""

    def __init__(self, path):
        self.path = path
        self.conf = path / "storpool.conf"
        self.profiles = path / "profiles.ini"
        self.environ = {}
        self.options = dict.fromkeys(_options.STORPOOL_SPEC)

    def drop_in(self, name, text):
        directory = self.path / "storpool.conf.d"
        directory.mkdir(exist_ok=True)
        (directory / name).write_text(text)

    def connect(self, **options):
        return _options.storpool_connection({**self.options, **options}, self.environ, str(self.conf))

    def refused(self, **options):
        with pytest.raises(OptionError) as caught:
            self.connect(**options)
        assert TOKEN not in str(caught.value)
        assert TOKEN not in str(caught.value.as_dict())
        return str(caught.value)


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


@pytest.fixture
def everywhere(place):
    """Every place sets the three settings, each differently."""
    place.profiles.write_text(f"[prod]\nsp_api_http_host = profile.host\nsp_api_http_port = 8002\nsp_auth_token = {TOKEN}2\n")
    place.environ.update(SP_API_HTTP_HOST="env.host", SP_API_HTTP_PORT="8003", SP_AUTH_TOKEN=f"{TOKEN}3")
    place.conf.write_text(f"SP_API_HTTP_HOST=conf.host\nSP_API_HTTP_PORT=8004\nSP_AUTH_TOKEN={TOKEN}4\n")
    return place


def told(connection):
    return connection.hosts, connection.token


def test_option_first(everywhere):
    connection = everywhere.connect(
        sp_api_http_host=["option.host"],
        sp_api_http_port=8001,
        sp_auth_token=f"{TOKEN}1",
        profile="prod",
        profile_file=str(everywhere.profiles),
    )
    assert told(connection) == ((("option.host", 8001),), f"{TOKEN}1")
    assert connection.sources["sp_api_http_host"] == "option sp_api_http_host"


def test_then_profile(everywhere):
    connection = everywhere.connect(profile="prod", profile_file=str(everywhere.profiles))
    assert told(connection) == ((("profile.host", 8002),), f"{TOKEN}2")
    assert connection.sources["sp_auth_token"] == f"profile prod of {everywhere.profiles}"


def test_then_environment(everywhere):
    connection = everywhere.connect()
    assert told(connection) == ((("env.host", 8003),), f"{TOKEN}3")
    assert connection.sources["sp_api_http_port"] == "environment variable SP_API_HTTP_PORT"


def test_then_storpool_conf(everywhere):
    everywhere.environ.clear()
    connection = everywhere.connect()
    assert told(connection) == ((("conf.host", 8004),), f"{TOKEN}4")
    assert connection.sources["sp_auth_token"] == str(everywhere.conf)


def test_each_setting_is_looked_up_by_itself(everywhere):
    everywhere.profiles.write_text("[prod]\nsp_api_http_host = profile.host\n")
    del everywhere.environ["SP_API_HTTP_PORT"]
    connection = everywhere.connect(profile="prod", profile_file=str(everywhere.profiles))
    assert told(connection) == ((("profile.host", 8004),), f"{TOKEN}3")


@pytest.mark.parametrize("empty", ["", " "])
def test_empty_is_unset(everywhere, empty):
    everywhere.environ.update(SP_API_HTTP_HOST=empty, SP_AUTH_TOKEN=empty, SP_API_HTTP_PORT=empty)
    everywhere.profiles.write_text("[prod]\nsp_api_http_host =\nsp_auth_token =\nsp_api_http_port =\n")
    connection = everywhere.connect(sp_api_http_host=[empty], sp_auth_token=empty, profile="prod", profile_file=str(everywhere.profiles))
    assert told(connection) == ((("conf.host", 8004),), f"{TOKEN}4")


@pytest.mark.parametrize("hosts", [[], None, [""]])
def test_an_empty_list_of_hosts_is_unset(everywhere, hosts):
    assert everywhere.connect(sp_api_http_host=hosts).hosts == (("env.host", 8003),)


def test_the_real_environment_is_the_default(everywhere, monkeypatch):
    for name in ("SP_API_HTTP_HOST", "SP_API_HTTP_PORT", "SP_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SP_API_HTTP_HOST", "real.host")
    connection = _options.storpool_connection(everywhere.options, conf=str(everywhere.conf))
    assert connection.hosts == (("real.host", 8004),)


def test_defaults(place):
    connection = place.connect(sp_api_http_host=["h"], sp_auth_token=TOKEN)
    assert connection.hosts == (("h", 81),)
    assert (connection.timeout, connection.cluster, connection.multi_cluster) == (120, None, False)


def test_ourid_is_never_taken(place):
    """Only the three names count; SP_OURID and the rest of the file are not ours."""
    place.conf.write_text(f"SP_OURID=7\nSP_API_HTTP_HOST=h\nSP_AUTH_TOKEN={TOKEN}\nsp_api_http_port=99\n")
    assert place.connect().hosts == (("h", 81),)


# -- /etc/storpool.conf


def test_host_section_overrides_common(place):
    place.conf.write_text(
        f"SP_API_HTTP_HOST=common\nSP_AUTH_TOKEN={TOKEN}\n[{platform.node()}]\nSP_API_HTTP_HOST=mine\n[other]\nSP_API_HTTP_HOST=theirs\n"
    )
    assert place.connect().hosts == (("mine", 81),)


def test_drop_ins_in_sorted_order(place):
    place.conf.write_text(f"SP_API_HTTP_HOST=main\nSP_AUTH_TOKEN={TOKEN}\n")
    place.drop_in("20-b.conf", "SP_API_HTTP_HOST=twenty\n")
    place.drop_in("10-a.conf", "SP_API_HTTP_HOST=ten\nSP_API_HTTP_PORT=8010\n")
    place.drop_in(".30-hidden.conf", "SP_API_HTTP_HOST=hidden\n")
    place.drop_in("40-old.conf.bak", "SP_API_HTTP_HOST=backup\n")
    place.drop_in("50.txt", "SP_API_HTTP_HOST=text\n")
    connection = place.connect()
    assert connection.hosts == (("twenty", 8010),)
    assert connection.sources["sp_api_http_host"].endswith("20-b.conf")


def test_a_common_key_of_a_later_file_beats_a_host_key_of_an_earlier_one(place):
    """As the official bindings do it: common, then host section, file by file."""
    place.conf.write_text(f"SP_AUTH_TOKEN={TOKEN}\n[{platform.node()}]\nSP_API_HTTP_HOST=mine\n")
    place.drop_in("a.conf", "SP_API_HTTP_HOST=later\n")
    assert place.connect().hosts == (("later", 81),)


def test_a_later_empty_value_does_not_erase(place):
    place.conf.write_text(f"SP_API_HTTP_HOST=main\nSP_AUTH_TOKEN={TOKEN}\n")
    place.drop_in("a.conf", "SP_API_HTTP_HOST=\n")
    assert place.connect().hosts == (("main", 81),)


def test_layout_of_the_file(place):
    """Comments, blanks around =, indentation and = in values, as the bindings' own reader takes them."""
    place.conf.write_text(
        f"# comment\n; another\n\n  SP_API_HTTP_HOST = h \n    SP_AUTH_TOKEN={TOKEN}\n\tSP_API_HTTP_PORT\t=\t90\nOTHER=a=b%c\n"
    )
    assert told(place.connect()) == ((("h", 90),), TOKEN)


def test_settings_of_another_host_only(place):
    settings = _options.read_storpool_conf(str(place.conf), "b")
    assert settings == {}
    place.conf.write_text("A=1\n[a]\nA=2\n[b]\nA=3\n")
    assert {host: _options.read_storpool_conf(str(place.conf), host)["A"].value for host in "abc"} == {"a": "2", "b": "3", "c": "1"}


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"[unclosed\n", b"[*]\nSP_API_HTTP_HOST=star\n[*]\n"])
def test_a_file_that_cannot_be_read_sets_nothing(place, content):
    place.conf.write_bytes(content)
    place.environ.update(SP_API_HTTP_HOST="h", SP_AUTH_TOKEN=TOKEN)
    assert place.connect().hosts == (("h", 81),)


# -- profiles


def test_several_profiles_in_one_file(place):
    place.profiles.write_text(
        f"[a]\nsp_api_http_host = h1, h2:8081\nsp_auth_token = {TOKEN}\nsp_cluster = sofia-b\nsp_multi_cluster = yes\nsp_timeout = 7\n"
        "[b]\nsp_api_http_host = b\nsp_auth_token = 2\n"
    )
    connection = place.connect(profile="a", profile_file=str(place.profiles))
    assert connection.hosts == (("h1", 81), ("h2", 8081))
    assert (connection.cluster, connection.multi_cluster, connection.timeout) == ("sofia-b", True, 7)
    assert place.connect(profile="b", profile_file=str(place.profiles)).hosts == (("b", 81),)


def test_default_profile_file(place, monkeypatch):
    monkeypatch.setenv("HOME", str(place.path))
    directory = place.path / ".config" / "storpool.cloudstack"
    directory.mkdir(parents=True)
    (directory / "profiles.ini").write_text(f"[a]\nsp_api_http_host = h\nsp_auth_token = {TOKEN}\n")
    assert place.connect(profile="a").hosts == (("h", 81),)


def test_profile_that_is_not_there(place):
    place.profiles.write_text(f"[prod]\nsp_auth_token = {TOKEN}\n[lab]\n")
    message = place.refused(profile="pord", profile_file=str(place.profiles))
    assert message == f"option profile: 'pord' is not in {place.profiles}, which has: prod, lab"


def test_profile_file_that_cannot_be_read(place):
    message = place.refused(profile="prod", profile_file=str(place.path / "nowhere.ini"))
    assert message.startswith("option profile_file: ")
    assert message.endswith("cannot be read: No such file or directory")


@pytest.mark.parametrize("content", [f"sp_auth_token = {TOKEN}\n", f"[a]\n{TOKEN}\n", f"[a]\nsp_auth_token={TOKEN}\n[a]\n"])
def test_profile_file_that_is_no_ini_keeps_the_token(place, content):
    place.profiles.write_text(content)
    assert "is not an INI file" in place.refused(profile="a", profile_file=str(place.profiles))


# -- what cannot be meant


@pytest.mark.parametrize("missing", ["sp_api_http_host", "sp_auth_token"])
def test_missing_says_every_place(place, missing):
    given = {"sp_api_http_host": ["h"], "sp_auth_token": TOKEN}
    del given[missing]
    message = place.refused(**given)
    assert message.startswith(f"option {missing} is set nowhere: ")
    for part in ("the option", "a profile", f"environment variable {missing.upper()}", str(place.conf)):
        assert part in message


@pytest.mark.parametrize(
    ("written", "host"),
    [
        ("10.0.0.1", ("10.0.0.1", 81)),
        ("10.0.0.1:8080", ("10.0.0.1", 8080)),
        ("node-1.example", ("node-1.example", 81)),
        ("::1", ("[::1]", 81)),
        ("fd00::1:2", ("[fd00::1:2]", 81)),
        ("[::1]", ("[::1]", 81)),
        ("[::1]:8080", ("[::1]", 8080)),
        (" h ", ("h", 81)),
    ],
)
def test_hosts(place, written, host):
    assert place.connect(sp_api_http_host=[written], sp_auth_token=TOKEN).hosts == (host,)


def test_several_hosts_in_one_variable(place):
    place.environ.update(SP_API_HTTP_HOST="h1, h2:82 ,,[::1]:83", SP_AUTH_TOKEN=TOKEN)
    assert place.connect().hosts == (("h1", 81), ("h2", 82), ("[::1]", 83))


@pytest.mark.parametrize(
    "written", ["http://h", "h/ctrl", "a b", "h:0", "h:65536", "h:x", "h:", ":81", "[::1", "[::1]x:5", "[]:81", "h:²", "h:-1", ","]
)
def test_hosts_that_cannot_be_meant(place, written):
    place.environ.update(SP_API_HTTP_HOST=written, SP_AUTH_TOKEN=TOKEN)
    message = place.refused()
    assert message.startswith("option sp_api_http_host: ")
    assert "environment variable SP_API_HTTP_HOST" in message


@pytest.mark.parametrize("port", ["0", "65536", "x", "-1", "²", "8 1", "9" * 5000])
def test_ports_that_cannot_be_meant(place, port):
    place.environ.update(SP_API_HTTP_HOST="h", SP_AUTH_TOKEN=TOKEN, SP_API_HTTP_PORT=port)
    message = place.refused()
    assert message.startswith("option sp_api_http_port: ")
    assert "(from environment variable SP_API_HTTP_PORT)" in message


@pytest.mark.parametrize("timeout", [0, -5, 86401])
def test_timeouts_that_cannot_be_meant(place, timeout):
    assert "sp_timeout" in place.refused(sp_api_http_host=["h"], sp_auth_token=TOKEN, sp_timeout=timeout)


@pytest.mark.parametrize("token", [f"{TOKEN}\nX-Evil: 1", f"{TOKEN} x", f"{TOKEN}ü"])
def test_tokens_that_cannot_be_meant(place, token):
    message = place.refused(sp_api_http_host=["h"], sp_auth_token=token)
    assert "(from option sp_auth_token)" in message
    assert "Evil" not in message


def test_a_line_break_at_the_end_of_the_token_is_harmless(place):
    assert place.connect(sp_api_http_host=["h"], sp_auth_token=f"{TOKEN}\n").token == TOKEN


@pytest.mark.parametrize("cluster", ["sofia-b", "~sf.b", "a:b.c"])
def test_clusters(place, cluster):
    assert place.connect(sp_api_http_host=["h"], sp_auth_token=TOKEN, sp_cluster=cluster).cluster == cluster


@pytest.mark.parametrize("cluster", ["a/b", "~../x", "~", "~a.b.c", "~ä.b", "~a.", "a b", "list", "a\n"])
def test_clusters_that_cannot_be_meant(place, cluster):
    assert "option sp_cluster" in place.refused(sp_api_http_host=["h"], sp_auth_token=TOKEN, sp_cluster=cluster)


@pytest.mark.parametrize(
    ("written", "multi"),
    [("true", True), ("Yes", True), ("1", True), ("on", True), ("false", False), ("no", False), ("0", False), ("", False)],
)
def test_multi_cluster_of_a_profile(place, written, multi):
    place.profiles.write_text(f"[a]\nsp_api_http_host = h\nsp_auth_token = {TOKEN}\nsp_multi_cluster = {written}\n")
    assert place.connect(profile="a", profile_file=str(place.profiles)).multi_cluster is multi


def test_multi_cluster_that_cannot_be_meant(place):
    place.profiles.write_text(f"[a]\nsp_api_http_host = h\nsp_auth_token = {TOKEN}\nsp_multi_cluster = ture\n")
    assert "option sp_multi_cluster: 'ture'" in place.refused(profile="a", profile_file=str(place.profiles))
