# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What tasks may ask of CloudStack, beside test_call_budgets.py: listings that do not grow with the objects, a write for each change.

Each case runs in check mode, for real, and again.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from conftest import CLOUDSTACKS, on_host

MANY = 5
NAMES = [f"n{number}" for number in range(MANY)]
MODULES = sorted(path.stem for path in (Path(__file__).resolve().parents[2] / "plugins/modules").glob("[a-z]*.py"))


@dataclass(frozen=True)
class Budget:
    """One task: what it reads first, in check mode and for real alike; its writes; what it reads when nothing is left to do.

    `after` is what it may read at most beyond that, once it has written: for each object when it is in `each`.
    """

    module: str
    options: dict[str, Any]
    reads: list[str]
    writes: dict[str, int]
    again: list[str]
    after: list[str] = field(default_factory=list)
    each: list[str] = field(default_factory=list)


# Two volumes or two offerings may have the same name, so that after each creation a look tells whether somebody else made one meanwhile.
# What a job has become is asked as long as it takes: that is a wait and no budget.
BUDGETS = {
    "global settings": Budget(
        "cloudstack_settings",
        {
            "settings": [
                {"name": "storpool.volumes.stats.interval", "value": 1800},
                {"name": "storage.cleanup.interval", "value": 43200},
                {"name": "ha.tag", "value": "x"},
            ]
        },
        ["listConfigurations"],
        {"updateConfiguration": 3},
        ["listConfigurations"],
    ),
    "settings of a pool and a cluster": Budget(
        "cloudstack_settings",
        {
            "settings": [
                {"name": "storpool.delete.after.interval", "value": 86400, "storage_pool": "storpool-nvme"},
                {"name": "force.ha", "value": True, "cluster": "kvm1"},
            ]
        },
        ["listStoragePools", "listClusters", "listConfigurations", "listConfigurations"],
        {"updateConfiguration": 2},
        ["listStoragePools", "listClusters", "listConfigurations", "listConfigurations"],
    ),
    "storage pools": Budget(
        "cloudstack_storage_pool",
        {"zone": "sofia", "pools": [{"name": "p-hdd", "template": "hdd"}, {"name": "p-hybrid", "template": "hybrid"}]},
        ["listStoragePools", "listZones", "VolumeTemplatesStatus"],
        {"createStoragePool": 2},
        ["listStoragePools", "VolumeTemplatesStatus"],
    ),
    "offerings": Budget(
        "cloudstack_offering",
        {"offerings": [{"name": name, "max_iops": 1000} for name in NAMES]},
        ["listDiskOfferings", "listCapabilities"],
        {"createDiskOffering": MANY},
        ["listDiskOfferings"],
        each=["listDiskOfferings"],
    ),
    "offerings that go": Budget(
        "cloudstack_offering",
        {"offerings": [{"name": name, "state": "absent"} for name in NAMES]},
        ["listDiskOfferings"],
        {"deleteDiskOffering": MANY},
        ["listDiskOfferings"],
    ),
    "volumes": Budget(
        "cloudstack_volume",
        {"names": NAMES, "zone": "sofia", "offering": "Custom", "size": "1G", "vm": "db1"},
        ["listZones", "listVolumes", "listDiskOfferings", "listVirtualMachines", "listVMSnapshot"],
        {"createVolume": MANY, "attachVolume": MANY},
        ["listZones", "listVolumes", "listDiskOfferings", "VolumesList", "AttachmentsList"],
        after=["listZones", "listVolumes", "listDiskOfferings", "VolumesList", "AttachmentsList"],
        each=["listVolumes"],
    ),
    "volumes that grow": Budget(
        "cloudstack_volume",
        {"names": NAMES, "size": "2G"},
        ["listVolumes", "listDiskOfferings", "VolumesList", "AttachmentsList", "listVMSnapshot", "listCapabilities"],
        {"resizeVolume": MANY},
        ["listVolumes", "listDiskOfferings", "VolumesList", "AttachmentsList"],
        after=["listVolumes", "listDiskOfferings", "VolumesList", "AttachmentsList"],
    ),
    "volumes that go": Budget(
        "cloudstack_volume",
        {"names": NAMES, "state": "absent", "on_attached": "detach"},
        ["listVolumes"],
        {"detachVolume": MANY, "deleteVolume": MANY},
        ["listVolumes"],
        after=["VolumesList"],  # whether StorPool has let go of them, too
    ),
}
# What has to be there before.
BEFORE = {"offerings that go": ["offerings"], "volumes that grow": ["volumes"], "volumes that go": ["volumes"]}
READERS = {"cloudstack_host_info": ["listHosts"]}


@pytest.fixture
def simulator(cloud_of):
    return cloud_of(CLOUDSTACKS[-1])


@pytest.fixture
def spent(calls):
    """Reads and writes since the last question, counted: those of clients, without the questions after jobs."""

    def since() -> tuple[Counter, Counter]:
        mine = [entry for entry in calls().entries if not entry["plugin"] and entry["call"] != "queryAsyncJobResult"]
        return (
            Counter(entry["call"] for entry in mine if not entry["write"]),
            Counter(entry["call"] for entry in mine if entry["write"]),
        )

    return since


@pytest.mark.parametrize("name", BUDGETS)
def test_a_task_keeps_to_its_budget(name, simulator, run_module, spent):
    budget = BUDGETS[name]
    if budget.module == "cloudstack_volume":
        simulator.deploy("db1")
    for earlier in BEFORE.get(name, []):
        assert not run_module(BUDGETS[earlier].module, **BUDGETS[earlier].options).get("failed")
    spent()
    said = run_module(budget.module, check=True, **budget.options)
    assert (said.get("failed"), *spent()) == (None, Counter(budget.reads), Counter()), said.get("msg")
    done = run_module(budget.module, **budget.options)
    reads, writes = spent()
    assert (done.get("failed"), writes) == (None, Counter(budget.writes)), done.get("msg")
    most = Counter(budget.reads + budget.after + budget.each * MANY)
    assert reads <= most, f"more than its budget: {dict(reads - most)}"
    again = run_module(budget.module, **budget.options)
    assert (again["changed"], *spent()) == (False, Counter(budget.again), Counter())


@pytest.mark.parametrize(("module", "reads"), READERS.items(), ids=READERS)
def test_a_question_keeps_to_its_budget(module, reads, simulator, run_module, spent):
    spent()
    assert "failed" not in run_module(module)
    assert spent() == (Counter(reads), Counter())


def test_the_state_of_a_cluster_is_one_listing_of_each_kind(simulator, run_module, spent):
    spent()
    assert "failed" not in run_module("storpool_cluster_info")
    reads, writes = spent()
    assert (set(reads.values()), writes) == ({1}, Counter())


@pytest.mark.parametrize("module", [name for name in MODULES if not on_host(name)])
def test_each_module_has_a_budget(module):
    here = Path(__file__)
    assert f'"{module}"' in here.read_text() + here.with_name("test_call_budgets.py").read_text(), "which calls may it make?"
