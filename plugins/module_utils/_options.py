# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 0: where settings come from.

One order everywhere: option, profile file, environment, ``/etc/storpool.conf``. An empty value counts as not set. Every value remembers
its source, so that an error can name it.
"""

from __future__ import annotations

import configparser
import difflib
import glob
import os
import platform
import re
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean

from ._errors import OptionError, without_credentials
from ._files import read_bytes
from ._units import parse_remote_name, parse_whole

STORPOOL_SPEC: dict[str, dict[str, Any]] = dict(
    sp_api_http_host=dict(type="list", elements="str"),
    sp_api_http_port=dict(type="int"),
    sp_auth_token=dict(type="str", no_log=True),
    sp_cluster=dict(type="str"),
    sp_multi_cluster=dict(type="bool"),
    sp_timeout=dict(type="int"),
    profile=dict(type="str"),
    profile_file=dict(type="path"),
)

CLOUDSTACK_SPEC: dict[str, dict[str, Any]] = dict(
    cloudstack_url=dict(type="str", aliases=["api_url"]),
    cloudstack_key=dict(type="str", aliases=["api_key"], no_log=True),
    cloudstack_secret=dict(type="str", aliases=["api_secret"], no_log=True),
    cloudstack_validate_certs=dict(type="bool"),
    cloudstack_ca_path=dict(type="path"),
    cloudstack_timeout=dict(type="int"),
    cloudstack_job_timeout=dict(type="int"),
    profile=dict(type="str"),
    profile_file=dict(type="path"),
)

DEFAULT_PORT = 81  # SP_API_HTTP_PORT when nothing says otherwise (bindings, spconfig.py)
DEFAULT_TIMEOUT = 120
DEFAULT_PROFILE_FILE = "~/.config/storpool.cloudstack/profiles.ini"
STORPOOL_CONF = "/etc/storpool.conf"
MOST_BYTES = 1 << 20  # of a profile file

DEFAULT_JOB_TIMEOUT = 3600

# What a host's name or address is made of, besides its port; brackets go around IPv6 addresses, which may tell an interface after a %.
_HOST = re.compile(r"[A-Za-z0-9_.:%\[\]-]{1,300}")
_URL = re.compile(r"https?://(?:[A-Za-z0-9_.-]{1,253}|\[[0-9A-Fa-f:.%]{2,60}\])(?::[0-9]{1,5})?(?:/[!$&'()*+,;=:A-Za-z0-9_.~%-]*)*")
_CLUSTER_ID = re.compile(r"~[A-Za-z0-9]+(\.[A-Za-z0-9]+)?")
_CONF = {"sp_api_http_host": "SP_API_HTTP_HOST", "sp_api_http_port": "SP_API_HTTP_PORT", "sp_auth_token": "SP_AUTH_TOKEN"}
_ENVIRONMENT = {
    **_CONF,  # storpool.conf and the environment use the same names
    "cloudstack_url": "CLOUDSTACK_ENDPOINT",
    "cloudstack_key": "CLOUDSTACK_KEY",
    "cloudstack_secret": "CLOUDSTACK_SECRET",
}


@dataclass(frozen=True)
class Setting:
    """A value and, for people, where it came from (``option sp_auth_token``, ``environment variable SP_AUTH_TOKEN``, ...)."""

    value: Any
    source: str


@dataclass(frozen=True)
class StorPoolConnection:
    """How to reach a StorPool cluster. ``token`` never appears in a message; the other settings do, with their source."""

    hosts: tuple[tuple[str, int], ...]
    token: str
    cluster: str | None
    multi_cluster: bool
    timeout: int
    sources: Mapping[str, str]

    def secrets(self) -> set[str]:
        """Return what may appear nowhere."""
        return {self.token}


@dataclass(frozen=True)
class CloudStackConnection:
    """How to reach a CloudStack management server. ``key`` and ``secret`` never appear in a message.

    ``verify`` is that of ``requests``: whether to verify certificates, or the authorities to verify them with. Times in seconds.
    """

    url: str
    key: str
    secret: str
    verify: bool | str
    timeout: int
    job_timeout: int
    sources: Mapping[str, str]

    def secrets(self) -> set[str]:
        """Return what may appear nowhere."""
        return {self.key, self.secret}


def _present(value: Any) -> bool:
    """Tell whether a value says anything; an empty variable in a playbook makes a list of one empty string."""
    if isinstance(value, list):
        return any(_present(one) for one in value)
    return value is not None and str(value).strip() != ""


class Settings:
    """Looks settings up in the one order.

    :param options: the module's options; an option that is not set is ``None``.
    :param environ: the environment to read.
    :raises OptionError: the profile, or its file, does not exist.
    """

    def __init__(self, options: Mapping[str, Any], environ: Mapping[str, str] | None = None, conf: str = STORPOOL_CONF) -> None:
        self._options = options
        self._environ = os.environ if environ is None else environ
        self._conf_path = conf
        self._conf: dict[str, Setting] | None = None
        self._profile = self._read_profile()

    def get(self, name: str) -> Setting | None:
        """Return the setting ``name`` (an option's name), or ``None`` when nobody sets it."""
        if _present(self._options.get(name)):
            return Setting(self._options[name], f"option {name}")
        if _present(self._profile.get(name)):
            return Setting(self._profile[name], f"profile {self._options['profile']} of {self._profile_file}")
        variable = _ENVIRONMENT.get(name)
        if variable and _present(self._environ.get(variable)):
            return Setting(self._environ[variable], f"environment variable {variable}")
        if name in _CONF:
            if self._conf is None:
                self._conf = read_storpool_conf(self._conf_path)
            return self._conf.get(_CONF[name])
        return None

    def _read_profile(self) -> Mapping[str, str]:
        profile = self._options.get("profile")
        if not _present(profile):
            return {}
        path = os.path.expanduser(self._options.get("profile_file") or DEFAULT_PROFILE_FILE)
        self._profile_file = path
        parser = configparser.ConfigParser(interpolation=None)
        content = read_bytes(path, "profile_file", MOST_BYTES)
        try:
            parser.read_string(content.decode("utf-8"))
        except (configparser.Error, UnicodeDecodeError) as exc:
            # The text of a parser's error quotes lines of the file, and a line may hold a token.
            raise OptionError("profile_file", path, "is not an INI file with one [section] for each profile") from exc
        if not parser.has_section(profile):
            raise OptionError("profile", profile, f"is not in {path}, which has: {', '.join(parser.sections()) or 'no profile'}")
        return _known(dict(parser.items(profile)), f"{profile} of {path}")


def _known(given: Mapping[str, str], where: str) -> dict[str, str]:
    """Return the settings of a profile by the names of their options. :raises OptionError: one is misspelt; names the nearest."""
    names = {
        name: option
        for option, spec in {**STORPOOL_SPEC, **CLOUDSTACK_SPEC}.items()
        if not option.startswith("profile")
        for name in (option, *spec.get("aliases", ()))
    }
    for key in given:
        if key not in names:
            near = difflib.get_close_matches(key, names, 1)
            meant = f"did you mean {near[0]}? " if near else ""
            raise OptionError("profile", where, f"sets {key:.100}, which is no setting; {meant}There are: {', '.join(names)}")
    return {names[key]: value for key, value in given.items()}


def read_storpool_conf(path: str = STORPOOL_CONF, hostname: str | None = None) -> dict[str, Setting]:
    """Return the settings of ``/etc/storpool.conf`` and its drop-ins, as the official bindings read them.

    Keys before the first section hold for every host, the section named after this host overrides them, file by file: the main file, then
    ``storpool.conf.d/*.conf`` in sorted order. A file that does not exist or may not be read sets nothing (sheet, section 1.3).
    """
    hostname = hostname or platform.node()
    found: dict[str, Setting] = {}
    for name, parser in _conf_files(path):
        for section in ("*", hostname):
            if parser.has_section(section):
                found.update((key, Setting(value, name)) for key, value in parser.items(section) if _present(value))
    return found


def read_node_ids(path: str | None = None) -> dict[str, int]:
    """Return the ``SP_OURID`` of each host that has a section of its own in ``storpool.conf``, by the section's name.

    What stands before the first section is left out: it is the id of this host. ``None`` is ``/etc/storpool.conf``, if there is one.

    :raises OptionError: the file that was named cannot be read, or is no ``storpool.conf``.
    """
    if path is not None and "\0" in path:
        raise OptionError("storpool_conf", path, "cannot be read: no path has a null character in it")
    found: dict[str, int] = {}
    for _name, parser in _conf_files(STORPOOL_CONF if path is None else os.path.expanduser(path), named=path is not None):
        for section in parser.sections():
            number = parse_whole(parser.get(section, "SP_OURID", fallback=None), 1, 4095) if section != "*" else None
            if number is not None:
                found[section] = number
    return found


def _conf_files(path: str, named: bool = False) -> Iterator[tuple[str, configparser.ConfigParser]]:
    """Yield ``storpool.conf`` and its drop-ins, by name, with what is common to all hosts as the section ``*``.

    What cannot be read is left out, as the bindings do, unless a user ``named`` the file.
    """
    drop_ins = sorted(glob.glob(os.path.join(f"{path}.d", "*.conf")))
    for name in [path, *(one for one in drop_ins if not os.path.basename(one).startswith("."))]:
        parser = configparser.ConfigParser(interpolation=None, default_section=None, strict=False, delimiters=("=",), allow_no_value=True)
        parser.optionxform = str  # the names are upper case
        try:
            lines = read_bytes(name, "storpool_conf", MOST_BYTES).decode("utf-8").splitlines()
            # Indentation means nothing to the bindings, to Python's reader it means that the line before goes on.
            parser.read_string("\n".join(["[*]", *(line.strip() for line in lines)]))
        except (OptionError, UnicodeDecodeError, configparser.Error) as exc:
            if not named or name != path:
                continue
            if isinstance(exc, OptionError):
                raise
            raise OptionError("storpool_conf", path, f"cannot be read as a storpool.conf: {type(exc).__name__}") from exc
        yield name, parser


def _split_host(text: str, port: int, source: str) -> tuple[str, int]:
    """Return host and port of ``host``, ``host:port``, ``[v6]`` or ``[v6]:port``."""
    text = text.strip()
    shown = without_credentials(text)
    if not _HOST.fullmatch(text):
        raise OptionError(
            "sp_api_http_host", shown, f"(from {source}) is not a host name or address; give only the host, as in 10.0.0.1 or 10.0.0.1:81"
        )
    if text.count(":") > 1 and not text.startswith("["):
        return f"[{text}]", port
    host, bracket, tail = text.rpartition("]") if text.startswith("[") else ("", "", text)
    name, colon, given = tail.partition(":")
    if colon:
        port = parse_whole(given, 1, 65535)
        if port is None:
            raise OptionError("sp_api_http_host", shown, f"(from {source}) has no valid port after the colon")
    if (name if bracket else not name) or host + bracket == "[]":
        raise OptionError("sp_api_http_host", shown, f"(from {source}) is not a host name or address")
    return host + bracket + name, port


def _look_up(
    spec: Mapping[str, Any], needed: tuple[str, ...], options: Mapping[str, Any], environ: Mapping[str, str] | None, conf: str
) -> dict[str, Setting | None]:
    """Return every connection setting of ``spec``. :raises OptionError: one of ``needed`` is set nowhere; names where to set it."""
    settings = Settings(options, environ, conf)
    found = {name: settings.get(name) for name in spec if not name.startswith("profile")}
    for name in needed:
        if found[name] is None:
            in_conf = f" or {_CONF[name]} in {conf}" if name in _CONF else ""
            raise OptionError(
                name, None, f"is set nowhere: give the option, a profile, the environment variable {_ENVIRONMENT[name]}{in_conf}"
            )
    return found


def _sources(found: Mapping[str, Setting | None]) -> dict[str, str]:
    return {name: setting.source for name, setting in found.items() if setting}


def _flag(setting: Setting | None, name: str, default: bool) -> bool:
    """Return a yes or no; a profile file spells it in words. :raises OptionError: it says neither."""
    if setting is None:
        return default
    try:
        return boolean(setting.value)
    except TypeError:
        raise OptionError(name, setting.value, f"(from {setting.source}) is neither true nor false") from None


def _secret(setting: Setting, name: str) -> str:
    """Return a secret that fits into a header or a query. :raises OptionError: it does not; shows where it is from, not what it is."""
    value = str(setting.value).strip()
    if not value.isascii() or not value.isprintable() or " " in value:
        raise OptionError(name, "(hidden)", f"(from {setting.source}) has characters that it cannot have; check for line breaks and blanks")
    return value


def storpool_connection(
    options: Mapping[str, Any], environ: Mapping[str, str] | None = None, conf: str = STORPOOL_CONF
) -> StorPoolConnection:
    """Return how to reach StorPool, from the options and whatever stands behind them.

    :raises OptionError: a setting is missing or cannot be meant; says which option to set.
    """
    found = _look_up(STORPOOL_SPEC, ("sp_api_http_host", "sp_auth_token"), options, environ, conf)
    port = _number(found["sp_api_http_port"], "sp_api_http_port", DEFAULT_PORT, 65535)
    hosts = found["sp_api_http_host"]
    names = [name for name in (hosts.value if isinstance(hosts.value, list) else str(hosts.value).split(",")) if str(name).strip()]
    if not names:
        raise OptionError("sp_api_http_host", hosts.value, f"(from {hosts.source}) names no host")
    cluster = found["sp_cluster"]
    return StorPoolConnection(
        hosts=tuple(_split_host(name, port, hosts.source) for name in names),
        token=_secret(found["sp_auth_token"], "sp_auth_token"),
        cluster=_cluster(cluster.value) if cluster else None,
        multi_cluster=_flag(found["sp_multi_cluster"], "sp_multi_cluster", False),
        timeout=_number(found["sp_timeout"], "sp_timeout", DEFAULT_TIMEOUT, 86400),
        sources=_sources(found),
    )


def cloudstack_connection(options: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> CloudStackConnection:
    """Return how to reach CloudStack, from the options and whatever stands behind them.

    :raises OptionError: a setting is missing or cannot be meant; says which option to set.
    """
    found = _look_up(CLOUDSTACK_SPEC, ("cloudstack_url", "cloudstack_key", "cloudstack_secret"), options, environ, STORPOOL_CONF)
    url = found["cloudstack_url"]
    text = str(url.value).strip().rstrip("/")
    if not _URL.fullmatch(text):
        raise OptionError(
            "cloudstack_url",
            without_credentials(text),
            f"(from {url.source}) is not the address of an API, like https://cloudstack.example.com/client/api",
        )
    ca_path = found["cloudstack_ca_path"]
    if ca_path:
        _check_authorities(os.path.expanduser(ca_path.value), ca_path.source)
    verify = _flag(found["cloudstack_validate_certs"], "cloudstack_validate_certs", True)
    return CloudStackConnection(
        url=text,
        key=_secret(found["cloudstack_key"], "cloudstack_key"),
        secret=_secret(found["cloudstack_secret"], "cloudstack_secret"),
        verify=verify and (os.path.expanduser(ca_path.value) if ca_path else True),
        timeout=_number(found["cloudstack_timeout"], "cloudstack_timeout", DEFAULT_TIMEOUT, 86400),
        job_timeout=_number(found["cloudstack_job_timeout"], "cloudstack_job_timeout", DEFAULT_JOB_TIMEOUT, 604800),
        sources=_sources(found),
    )


def _check_authorities(path: str, source: str) -> None:
    """:raises OptionError: there are no certificates of authorities; a directory of them is taken as it is."""
    if not os.path.exists(path):
        raise OptionError("cloudstack_ca_path", path, f"(from {source}) does not exist")
    if os.path.isdir(path):
        return
    content = read_bytes(path, "cloudstack_ca_path", MOST_BYTES * 8)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=content.decode("ascii", "ignore"))
    except (ssl.SSLError, ValueError):
        raise OptionError("cloudstack_ca_path", path, f"(from {source}) holds no certificates in PEM form") from None


def _cluster(value: str) -> str:
    """Return the name of a cluster, or ``~`` and its id (both forms follow ``RemoteCommand/``)."""
    return value if _CLUSTER_ID.fullmatch(value) else parse_remote_name(value, "sp_cluster")


def _number(setting: Setting | None, name: str, default: int, highest: int) -> int:
    if setting is None:
        return default
    number = parse_whole(setting.value, 1, highest)
    if number is None:
        raise OptionError(name, setting.value, f"(from {setting.source}) is not a number from 1 to {highest}")
    return number
