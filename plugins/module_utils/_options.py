# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 0: where settings come from.

One order everywhere: option, profile file, environment, ``/etc/storpool.conf``. An empty value counts as not set. Every value remembers
its source, so that an error can name it.
"""

from __future__ import annotations

import configparser
import glob
import os
import platform
from dataclasses import dataclass
from typing import Any, Mapping

from ._errors import OptionError
from ._units import parse_remote_name

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

DEFAULT_PORT = 81  # SP_API_HTTP_PORT when nothing says otherwise (bindings, spconfig.py)
DEFAULT_TIMEOUT = 120
DEFAULT_PROFILE_FILE = "~/.config/storpool.cloudstack/profiles.ini"
STORPOOL_CONF = "/etc/storpool.conf"

_ENVIRONMENT = {"sp_api_http_host": "SP_API_HTTP_HOST", "sp_api_http_port": "SP_API_HTTP_PORT", "sp_auth_token": "SP_AUTH_TOKEN"}
_CONF = dict(_ENVIRONMENT)  # storpool.conf uses the same names


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


def _present(value: Any) -> bool:
    return value is not None and value != "" and value != []


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
        try:
            with open(path, encoding="utf-8") as stream:
                parser.read_file(stream)
        except OSError as exc:
            raise OptionError("profile_file", path, f"cannot be read: {exc.strerror}") from exc
        except (configparser.Error, UnicodeDecodeError) as exc:
            # The text of a parser's error quotes lines of the file, and a line may hold a token.
            raise OptionError("profile_file", path, "is not an INI file with one [section] for each profile") from exc
        if not parser.has_section(profile):
            raise OptionError("profile", profile, f"is not in {path}, which has: {', '.join(parser.sections()) or 'no profile'}")
        return dict(parser.items(profile))


def read_storpool_conf(path: str = STORPOOL_CONF, hostname: str | None = None) -> dict[str, Setting]:
    """Return the settings of ``/etc/storpool.conf`` and its drop-ins, as the official bindings read them.

    Keys before the first section hold for every host, the section named after this host overrides them, file by file: the main file, then
    ``storpool.conf.d/*.conf`` in sorted order. A file that does not exist or may not be read sets nothing (the reference sheet's section 1.3).
    """
    hostname = hostname or platform.node()
    found: dict[str, Setting] = {}
    drop_ins = sorted(glob.glob(os.path.join(f"{path}.d", "*.conf")))
    for name in [path, *(one for one in drop_ins if not os.path.basename(one).startswith("."))]:
        parser = configparser.ConfigParser(interpolation=None, default_section=None, strict=False, delimiters=("=",), allow_no_value=True)
        parser.optionxform = str  # the names are upper case
        try:
            with open(name, encoding="utf-8") as stream:
                parser.read_string("[*]\n" + stream.read())
        except (OSError, UnicodeDecodeError, configparser.Error):
            continue
        for section in ("*", hostname):
            if parser.has_section(section):
                found.update((key, Setting(value, name)) for key, value in parser.items(section) if _present(value))
    return found


def _split_host(text: str, port: int, source: str) -> tuple[str, int]:
    """Return host and port of ``host``, ``host:port``, ``[v6]`` or ``[v6]:port``."""
    text = text.strip()
    if "://" in text or "/" in text or not text or any(letter.isspace() for letter in text):
        raise OptionError("sp_api_http_host", text, f"(from {source}) is not a host name or address; give only the host, as in 10.0.0.1 or 10.0.0.1:81")
    if text.count(":") > 1 and not text.startswith("["):
        return f"[{text}]", port
    host, bracket, tail = text.rpartition("]") if text.startswith("[") else ("", "", text)
    name, colon, given = tail.partition(":")
    if colon:
        if not given.isdigit() or not 0 < int(given) < 65536:
            raise OptionError("sp_api_http_host", text, f"(from {source}) has no valid port after the colon")
        port = int(given)
    return host + bracket + name, port


def storpool_connection(options: Mapping[str, Any], environ: Mapping[str, str] | None = None, conf: str = STORPOOL_CONF) -> StorPoolConnection:
    """Return how to reach StorPool, from the options and whatever stands behind them.

    :raises OptionError: a setting is missing or cannot be meant; says which option to set and every place that was looked at.
    """
    settings = Settings(options, environ, conf)
    found = {name: settings.get(name) for name in STORPOOL_SPEC if not name.startswith("profile")}
    for name in ("sp_api_http_host", "sp_auth_token"):
        if found[name] is None:
            raise OptionError(name, None, f"is set nowhere: give the option, a profile, the environment variable {_ENVIRONMENT[name]} or {_CONF[name]} in {conf}")
    port = _number(found["sp_api_http_port"], "sp_api_http_port", DEFAULT_PORT, 65535)
    hosts = found["sp_api_http_host"]
    names = hosts.value if isinstance(hosts.value, list) else str(hosts.value).split(",")
    token = str(found["sp_auth_token"].value).strip()
    if not token.isascii() or not token.isprintable() or " " in token:
        raise OptionError("sp_auth_token", "(hidden)", f"(from {found['sp_auth_token'].source}) has characters that no token has; check for line breaks and blanks")
    cluster = found["sp_cluster"]
    multi = found["sp_multi_cluster"]
    return StorPoolConnection(
        hosts=tuple(_split_host(name, port, hosts.source) for name in names if str(name).strip()),
        token=token,
        cluster=_cluster(cluster.value) if cluster else None,
        multi_cluster=str(multi.value).lower() in ("true", "yes", "1", "on") if multi else False,
        timeout=_number(found["sp_timeout"], "sp_timeout", DEFAULT_TIMEOUT, 86400),
        sources={name: setting.source for name, setting in found.items() if setting},
    )


def _cluster(value: str) -> str:
    """Return the name of a cluster, or ``~`` and its id (both forms follow ``RemoteCommand/``)."""
    return value if value.startswith("~") and value[1:].replace(".", "", 1).isalnum() else parse_remote_name(value, "sp_cluster")


def _number(setting: Setting | None, name: str, default: int, highest: int) -> int:
    if setting is None:
        return default
    text = str(setting.value).strip()
    if not text.isdigit() or not 0 < int(text) <= highest:
        raise OptionError(name, setting.value, f"(from {setting.source}) is not a number from 1 to {highest}")
    return int(text)
