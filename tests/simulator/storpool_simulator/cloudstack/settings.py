# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings: what there is in a release, what is stored, what is in force (plugin sheet 1.1, 1.2, 1.4).

A value is stored for the whole or for one object of the setting's scope. A setting that is not dynamic works with the value that
the management servers read when they started.
"""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING

from .facts import release

if TYPE_CHECKING:
    from .cloud import Cloud

GLOBAL = "Global"
HIDDEN, SECURE = "Hidden", "Secure"
# ``Configuration.ValueType``, which `type` tells, by the class of the key
VALUE_TYPES = {"Integer": "Number", "Long": "Number", "Float": "Decimal", "Double": "Decimal"}


@dataclass(frozen=True)
class Setting:
    name: str
    type: str
    default: str | None
    scope: str
    dynamic: bool
    category: str
    component: str = "ConfigurationManager"

    @property
    def encrypted(self) -> bool:
        return self.category in (HIDDEN, SECURE)

    @property
    def value_type(self) -> str:
        return VALUE_TYPES.get(self.type, self.type)

    @property
    def words(self) -> str:
        """The display text: the name in words."""
        return " ".join(self.name.replace("-", ".").split(".")).capitalize()


@lru_cache(maxsize=1)
def _rows() -> list[dict]:
    return json.loads(resources.files("storpool_simulator.schema").joinpath("cloudstack-settings.json").read_text("utf-8"))["settings"]


def of_release(version: str) -> dict[str, Setting]:
    """The settings of a release by name, sorted as listings are."""
    found = {}
    for row in sorted(_rows(), key=lambda one: one["name"]):
        entry = dict(row)
        since, changes = entry.pop("since", None), entry.pop("changes", {})
        if since is not None and release(since) > release(version):
            continue
        for when, fields in changes.items():
            if release(when) <= release(version):
                entry.update(fields)
        found[entry["name"]] = Setting(**entry)
    return found


class Settings:
    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.known = of_release(cloud.facts.version)
        self._folded = {name.lower(): setting for name, setting in self.known.items()}
        self.stored = cloud.table("setting")

    def find(self, name: str) -> Setting | None:
        known = self.known.get(name)
        if known is None and self.cloud.assume.names_ignore_case:
            known = self._folded.get(name.lower())
        return known

    @staticmethod
    def _key(setting: Setting, owner: str | None) -> str:
        return f"{setting.name}@{owner or ''}"

    def store(self, setting: Setting, value: str | None, owner: str | None = None) -> None:
        """Globally, or for the object `owner` of the setting's scope."""
        self.stored.put(self._key(setting, owner), {"name": setting.name, "owner": owner, "value": value})

    def forget(self, setting: Setting, owner: str | None = None) -> None:
        key = self._key(setting, owner)
        if key in self.stored:
            self.stored.drop(key)

    def value(self, setting: Setting) -> str | None:
        """What is stored for the whole: what an unscoped listing shows."""
        row = self.stored.get(self._key(setting, None))
        return row["value"] if row else setting.default

    def own(self, setting: Setting, owner: str) -> str | None:
        """What is stored for one object, or None."""
        row = self.stored.get(self._key(setting, owner))
        return row["value"] if row else None

    def effective(self, setting: Setting, owner: str) -> str | None:
        """In the object's scope; without a value of its own it is the global one that the server works with (``ConfigKey.valueIn``)."""
        own = self.own(setting, owner)
        if own is not None:
            return own
        return self.in_force(setting.name) if self.cloud.assume.scope_falls_back_to == "in_force" else self.value(setting)

    # In force

    def in_force(self, name: str) -> str | None:
        """What the servers work with: for a setting that is not dynamic, what the one that runs longest read at its start."""
        setting = self.known[name]
        if setting.dynamic:
            return self.value(setting)
        oldest = min(self.cloud.servers.values(), key=lambda one: one["started"])
        return oldest["loaded"].get(name, setting.default)

    def number(self, name: str, otherwise: int = 0) -> float:
        """A number in force; what cannot be read counts as `otherwise`."""
        try:
            return float(self.in_force(name) or otherwise) if name in self.known else otherwise
        except ValueError:
            return otherwise

    def truth(self, name: str) -> bool:
        return name in self.known and self.in_force(name) == "true"

    def loaded_at_start(self) -> dict[str, str | None]:
        """What a server that starts now reads: global values of settings that are not dynamic, where they differ from the default."""
        return {
            row["name"]: row["value"]
            for row in self.stored.values()
            if row["owner"] is None and row["name"] in self.known and not self.known[row["name"]].dynamic
        }

    def all_in_force(self) -> dict[str, str | None]:
        return {name: self.in_force(name) for name in self.known}

    def shown(self, setting: Setting, value: str | None) -> str | None:
        """A value as an answer has it; encryption makes another text each time (``DBEncryptionUtil``)."""
        if not setting.encrypted or not value:
            return value
        return base64.b64encode(secrets.token_bytes(12 + len(value.encode()) + 16)).decode()
