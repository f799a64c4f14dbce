# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tags that the plugin gives its objects on StorPool (plugin sheet 5.1). An empty value removes a tag."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import resource_tags

if TYPE_CHECKING:
    from ...store import Document
    from ..cloud import Cloud

UUID, KIND, VM, POLICY, TIER, DISK = "uuid", "cs", "cvm", "vc-policy", "qc", "disk"
VOLUME, SNAPSHOT, TEMPLATE, GROUP, TEMPORARY, DELAYED = "volume", "snapshot", "template", "group", "temporary", "delayDelete"
TEST = "check-volume-is-on-host"
# Details of offerings
QOS_CLASS, SP_TEMPLATE = "SP_QOSCLASS", "SP_TEMPLATE"
NO_POLICY = "no"


def policy_of(cloud: Cloud, vm: Document | None) -> str | None:
    """The VM's resource tag vc-policy."""
    return resource_tags.value(cloud, "UserVm", vm["id"], POLICY) if vm is not None else None


def tags(uuid: str | None, kind: str | None, vm: str | None = None, policy: str | None = None, **more: str | None) -> dict[str, str]:
    """Those that have a value; "" empties one."""
    given = {UUID: uuid, VM: vm, KIND: kind, POLICY: policy, **more}
    return {key: value for key, value in given.items() if value is not None}
