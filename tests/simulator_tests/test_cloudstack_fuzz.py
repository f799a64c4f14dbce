# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever is sent, the server answers in its own form and has no bug to report."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from storpool_simulator.cloudstack.facts import Facts, Parameter
from storpool_simulator.testing import Simulator

from . import plugin_support as plugin
from .cloudstack_support import VERSIONS, call, job, ok

ROUNDS = 1500
STRANGE = (
    *("", " ", "-1", "0", "1", "2", "-2", "9" * 6000, "1e9", "²", "true", "TRUE", "no", "null", "x" * 300, "~x.y.1", "a,b,,c", ";", "%"),
    *(
        "<b>",
        "Größe",
        "\r\nX: y",
        "a\x00b",
        "00000000-0000-0000-0000-000000000000",
        "nvme;",
        "2026-01-01",
        "2026-01-01T00:00:00+0000",
        "[0]",
    ),
)
PLAIN = {"boolean": ("true", "false"), "integer": ("1", "10"), "long": ("1", "1073741824"), "date": ("2026-01-01",)}


def known_ids(sim: Simulator) -> dict[str, list[str]]:
    lists = {
        "ZoneResponse": ("listZones", "zone"),
        "PodResponse": ("listPods", "pod"),
        "ClusterResponse": ("listClusters", "cluster"),
        "HostResponse": ("listHosts", "host"),
        "StoragePoolResponse": ("listStoragePools", "storagepool"),
        "ImageStoreResponse": ("listImageStores", "imagestore"),
        "DomainResponse": ("listDomains", "domain"),
        "AccountResponse": ("listAccounts", "account"),
        "ManagementServerResponse": ("listManagementServers", "managementserver"),
        "GuestOSResponse": ("listOsTypes", "ostype"),
        "DiskOfferingResponse": ("listDiskOfferings", "diskoffering"),
        "ServiceOfferingResponse": ("listServiceOfferings", "serviceoffering"),
        "UserVmResponse": ("listVirtualMachines", "virtualmachine"),
        "ProjectResponse": ("listProjects", "project"),
        "VolumeResponse": ("listVolumes", "volume"),
        "SnapshotResponse": ("listSnapshots", "snapshot"),
        "VMSnapshotResponse": ("listVMSnapshot", "vmSnapshot"),
    }
    found = {related: [row["id"] for row in ok(sim, command, listall=True).get(key, ())] for related, (command, key) in lists.items()}
    found["TemplateResponse"] = [row["id"] for row in ok(sim, "listTemplates", templatefilter="all")["template"]]
    return found


def value_for(chance: random.Random, parameter: Parameter, ids: dict[str, list[str]]) -> str:
    if chance.random() < 0.3:
        return chance.choice(STRANGE)
    if ids.get(parameter.related):
        return chance.choice(ids[parameter.related])
    words = (
        "KVM",
        "StorPool",
        "zone",
        "Enabled",
        "force.ha",
        "STATUS",
        "ON",
        "OFF",
        "RESET",
        "KVMHAProvider",
        "ipmitool",
        "Storage",
        "primary",
        "UserVm",
        "DiskOffering",
        "QCOW2",
        "all",
        "DAILY",
    )
    return chance.choice(PLAIN.get(parameter.type, words))


@pytest.mark.parametrize("version", VERSIONS)
def test_nothing_that_is_sent_is_a_bug(clouds: Callable[[str], Simulator], version: str) -> None:
    sim, facts, chance = clouds(version), Facts(version), random.Random(version)
    first = plugin.deploy(sim, "one")
    plugin.stop(sim, first)
    vm = plugin.deploy(sim, "two")
    plugin.data_disk(sim, vm)
    plugin.data_disk(sim)
    plugin.snapshot(sim, plugin.root(sim, first)["id"])
    web = job(sim, "createProject", name="web", displaytext="Web")["project"]["id"]
    plugin.deploy(sim, "three", projectid=web)
    ids = known_ids(sim)
    served = [command for command in facts.commands.values() if command.name != "listApis"]
    worked = 0
    for number in range(ROUNDS):
        command = chance.choice(served)
        params = {}
        for parameter in command.params.values():
            if (parameter.required and chance.random() < 0.9) or chance.random() < 0.15:
                name = f"{parameter.name}[0].k" if parameter.type == "map" else parameter.name
                params[name] = value_for(chance, parameter, ids)
        if chance.random() < 0.05:
            params[chance.choice(("x[", "y]", "z[1]", "w[a].b", "v[0].k[1].j", "details", ""))] = "1"
        reply = call(sim, command.name, chance.choice(("GET", "POST")), **params)
        assert reply.status != 500, f"{number}: {command.name} {params}: {reply.text!r}"
        assert reply.envelope == command.envelope
        worked += reply.status == 200
        if number % 50 == 0:
            sim.advance(chance.choice((1, 30, 400)))
    assert worked > ROUNDS / 20
    bugs = [entry for entry in sim.calls()["calls"] if entry["error"] == "simulatorBug"]
    assert not bugs
    sim.advance(5)
    sim.settle()
    broken = [(job["command"], job["result"]["errortext"], job["raw"]) for job in sim.db()["jobs"] if "simulatorBug" in str(job["result"])]
    assert not broken


def test_commands_that_are_none(cloud: Simulator) -> None:
    for name in ("", "listzones", "ListZones", "__class__", "x\r\ny", "listZones ", "x" * 5000):
        reply = call(cloud, name, "POST")
        assert (reply.status, reply.envelope) == (401, "errorresponse")
