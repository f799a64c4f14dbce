# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which test stands for which scenario of StorPool's Marvin tests, and for which section of its document on the plugin's functions.

`python3 tests/scenarios/catalogue.py` writes docs/scenarios.md from it; a test compares the two, and looks that the tests are there.
"""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "scenarios.md"
HERE, SIMULATOR = "tests/scenarios", "tests/simulator_tests"
UPSTREAM = "test/integration/plugins/storpool"
VOLUMES = "test_marvin_storpool_volumes"
OLD_NAMES = (
    "Volumes and snapshots addressed by names are from before 4.17, and from what upgrades did then: "
    "no release served here makes or renames them."
)


@dataclass(frozen=True)
class Suite:
    """Scenarios of Marvin with one name; `rows`: (Marvin's scenario, tests, remark). Without rows each test of the module is one."""

    name: str
    module: str = ""
    starts: str = "test_"
    rows: tuple[tuple[str, tuple[str, ...], str], ...] = ()
    # Scenarios that are no use here, and why
    without: str = ""

    def lines(self) -> list[tuple[str, tuple[str, ...], str]]:
        if self.rows or not self.module:
            return list(self.rows)
        names = [name for name in tests_of(f"{HERE}/{self.module}.py") if name.startswith(self.starts)]
        return [(name.removeprefix("test_"), (f"{HERE}/{self.module}.py::{name}",), "") for name in names]


def here(module: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{HERE}/test_marvin_{module}.py::test_{name}" for name in names)


def simulator(module: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{SIMULATOR}/test_cloudstack_{module}.py::test_{name}" for name in names)


def volumes(*numbers: int) -> tuple[str, ...]:
    """Tests of TestStorPoolVolumes by number."""
    names = tests_of(f"{HERE}/{VOLUMES}.py")
    return tuple(f"{HERE}/{VOLUMES}.py::{name}" for name in names if int(name.split("_")[1]) in numbers)


def tests_of(path: str) -> list[str]:
    """The names of the test functions in a file."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return [node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]


def upstream() -> list[Suite]:
    """CloudStack's own, state of 4.22."""
    return [
        Suite("TestStorPoolVolumes", VOLUMES),
        Suite("TestVmSnapshots", "test_marvin_vm_snapshots"),
        Suite("TestTagsOnStorPool", "test_marvin_tags"),
        Suite("TestEncryptedVolumes", "test_marvin_encrypted_volumes"),
        Suite("test_storpool_tiers", "test_marvin_tiers"),
        Suite("MigrateVolumeToStorPool", rows=_first_three()),
        Suite("test_snapshot_copy_on_primary_storage", "test_marvin_snapshot_copy"),
    ]


def _first_three() -> tuple[tuple[str, tuple[str, ...], str], ...]:
    tests = _those("migrate_to_storpool", "nfs_to_storpool")
    return tuple((one.rpartition("::test_")[2], (one,), "") for one in tests)


def integration() -> list[Suite]:
    """storpool/storpool-cloudstack-integration, older and broader."""
    multi, life = "multicluster", "integration"
    live = here(multi, "live_migration_01_to_10")
    limits = here(multi, "max_iops_05_to_14_after_live_migration")
    sets = ("on_cluster_attach_detach", "on_cluster_resize", "on_cluster_snapshot_volume_and_template", "on_cluster_vm_snapshot")
    tags = _those("tags", "")[:8]
    nfs, with_vm = (_those("migrate_to_storpool", part) for part in ("migration_from_nfs", "migrate_vm_with_volumes"))
    return [
        Suite(
            "multicluster_bypass_secondary_storage (13)",
            rows=(
                ("01 to 09", volumes(*range(1, 10)), "as TestStorPoolVolumes"),
                ("10 bypassed template of a snapshot on secondary", here(multi, "10_bypassed_template_of_a_snapshot_on_secondary"), ""),
                ("11 volume from primary-only snapshot", here(multi, "11_volume_from_primary_only_snapshot"), ""),
                ("12 volume from a snapshot that is nowhere", here(multi, "12_volume_from_snapshot_that_is_nowhere"), "expected to fail"),
                ("13 the same, present on secondary", here(multi, "13_volume_from_snapshot_on_secondary_alone"), ""),
            ),
        ),
        Suite(
            "multicluster_max_iops (14)",
            rows=(
                ("resize of attached, detached, root", _limits_of_resize(), ""),
                ("after revert", here(multi, "max_iops_04_after_revert"), ""),
                ("after live migration, local and remote: plain, new disk, snapshots, resized, restored", limits, ""),
            ),
        ),
        Suite(
            "multicluster_on_local_cluster (17), multicluster_on_remote_cluster (11)",
            rows=(
                ("attach, resize, snapshot, template, VM snapshot on hosts of either cluster", here(multi, *sets), ""),
                ("14 VM on second cluster", here(multi, "14_vm_on_second_cluster_with_a_template_cached_in_the_first"), ""),
            ),
        ),
        Suite(
            "multicluster_primary_storage (4)",
            rows=(
                ("01 VM on a new pool", here(multi, "primary_storage_01_vm_on_a_new_pool"), ""),
                ("02 volume on a new pool", here(multi, "primary_storage_02_volume_on_a_new_pool"), ""),
                ("03 delete pool with snapshots", here(multi, "primary_storage_03_delete_pool_with_snapshots"), ""),
                ("04 delete pool with templates", here(multi, "primary_storage_04_delete_pool_with_templates"), ""),
            ),
        ),
        Suite(
            "multicluster_live_migration (11)",
            rows=(
                ("01 to 10: plain, new disk, snapshots, resized, restored; local and remote", live, ""),
                ("11 between clusters", here(multi, "live_migration_11_between_clusters"), ""),
            ),
        ),
        Suite(
            "multicluster_vm_snapshot (3)",
            rows=(("create, revert, delete", here(multi, "on_cluster_vm_snapshot"), "on hosts of either cluster"),),
        ),
        Suite(
            "change_storpool_template (5)",
            rows=(
                (
                    "resize and scale to other classes and templates, VM snapshots afterwards",
                    _those("integration", "change_template"),
                    "",
                ),
            ),
        ),
        Suite("migrate_vm_with_volumes (4)", rows=(("live and offline, hosts without StorPool", with_vm, "NFS stands for Ceph"),)),
        Suite("migration_from_nfs (5)", rows=(("live and offline", nfs, ""),)),
        Suite("sp_cluster_on_second_zone (29)", rows=(("01 to 29", volumes(*range(1, 30)), "the `second zone` variants"),)),
        Suite("storpool_tags (8)", rows=(("01 to 08", tags, ""),)),
        Suite(
            "user_commands (5)",
            rows=(
                (
                    "as another user; 05 user may not delete the admin's vc-policy tag",
                    _those("integration", "user_commands"),
                    "a domain admin",
                ),
            ),
        ),
        Suite(
            "volumes_1 (7)",
            rows=(
                ("create, attach, write, detach, delete", here(life, "volumes_1_create_attach_write_detach_delete"), ""),
                ("what is refused", here(life, "volumes_1_refused_attachments"), ""),
            ),
        ),
        Suite(
            "volumes_2 (4)",
            rows=(("many disks", here(life, "volumes_2_many_disks"), ""), ("sizes", here(life, "volumes_2_custom_sizes"), "")),
        ),
        Suite("vm_snapshot_storpool (3)", "test_marvin_vm_snapshots"),
        Suite(
            "vm_life_cycle",
            rows=(
                ("deploy, stop, start, reboot", here(life, "vm_life_cycle_stop_start_reboot"), ""),
                ("destroy, recover, expunge", here(life, "vm_life_cycle_destroy_recover_expunge"), ""),
                ("restore", here(life, "vm_life_cycle_restore"), ""),
                ("migrate", here(life, "vm_life_cycle_migrate"), ""),
                ("ISO", here(life, "vm_life_cycle_iso"), ""),
                ("two instances from one template", here(life, "vm_life_cycle_two_from_one_template_share_it"), "ours"),
            ),
        ),
        Suite("rename_volumes_snapshots_after_migration (13), migrating_from_uuid_to_global_id (8), migration_uuid_*", without=OLD_NAMES),
        Suite("cleanup_volumes_and_snapshots (4)", without="A helper that clears a test bed, no check of the plugin."),
    ]


def _those(module: str, part: str) -> tuple[str, ...]:
    """The tests of a module with that in their names."""
    path = f"{HERE}/test_marvin_{module}.py"
    return tuple(f"{path}::{name}" for name in tests_of(path) if part in name)


def _limits_of_resize() -> tuple[str, ...]:
    names = ("max_iops_01_resize_attached_volume", "max_iops_02_resize_detached_volume", "max_iops_03_resize_root_volume")
    return here("multicluster", *names)


def sections() -> list[tuple[str, tuple[str, ...]]]:
    """The sections of StorPool's document on the plugin's functions."""
    return [
        ("Creating template from a snapshot", (*volumes(1, 2), *simulator("snapshots", "template_by_storpool", "template_by_file"))),
        (
            "Creating ROOT volume from templates",
            (
                *here("integration", "vm_life_cycle_two_from_one_template_share_it"),
                *simulator("templates", "first_use_makes_the_cache_and_clones_copy_nothing", "collection_takes_two_rounds"),
            ),
        ),
        ("Creating a ROOT volume from an ISO image", here("integration", "vm_life_cycle_iso")),
        (
            "Creating a DATA volume",
            (
                *here("integration", "volumes_1_create_attach_write_detach_delete"),
                *simulator("volumes", "a_data_volume_is_born_at_its_first_attach"),
            ),
        ),
        (
            "Creating volume from snapshot",
            (
                *volumes(20),
                *simulator("snapshots", "volume_from_primary_copies_nothing", "volume_from_secondary_is_brought_back_once"),
            ),
        ),
        ("Resizing volumes", (*volumes(15, 16, 18, 19), *simulator("volumes", "a_resize_that_the_vm_is_not_told_of_succeeds"))),
        ("Creating snapshots", (*volumes(3, 4), *simulator("snapshots", "backed_up_by_default", "deleting_cascades"))),
        ("Reverting volume to snapshot", simulator("snapshots", "revert", "revert_refused")),
        ("Migrating volumes to other Storage pools", (*here("migrate_to_storpool", "migration_from_nfs_05_back_again"), *volumes(24, 25))),
        (
            "Virtual machine snapshot and group snapshot",
            (*here("vm_snapshots", "01_create_vm_snapshots", "02_revert_vm_snapshots"), *simulator("vm_snapshots", "a_group_of_all_disks")),
        ),
        ("BW/IOPS limitations", (*_limits_of_resize(), *simulator("offerings", "iops_of_root_and_data"))),
        ("Support for host HA", simulator("ha", "a_dead_host_is_recovered_then_fenced", "without_host_ha_the_heartbeat_decides")),
        (
            "Supported operations for volume encryption",
            (*simulator("encryption", "what_is_supported", "what_is_refused"), *here("encrypted_volumes", "01_migrate_vm_live")),
        ),
    ]


def mentioned() -> set[str]:
    """Every test that the document names."""
    rows = [row for suite in (*upstream(), *integration()) for row in suite.lines()]
    return {one for _unused, tests, _remark in rows for one in tests} | {one for _unused, tests in sections() for one in tests}


def _link(test: str) -> str:
    path, _unused, name = test.partition("::")
    return f"[{name}](../{path})"


def _table(suite: Suite) -> list[str]:
    if suite.without:
        return [suite.without]
    lines = ["| scenario | tests | |", "| --- | --- | --- |"]
    return lines + [f"| {name} | {'<br>'.join(map(_link, tests))} | {remark} |" for name, tests, remark in suite.lines()]


def render() -> str:
    """The document."""
    text = [
        "# Scenarios",
        "",
        "What StorPool documents and tests about its CloudStack plugin, and the test here that shows it on the simulated systems.",
        "The scenarios run on CloudStack 4.19.3, 4.20.2, 4.21.0 and 4.22.0, where the release has them.",
        "Written by `python3 tests/scenarios/catalogue.py`.",
        "",
        "## The plugin's functions",
        "",
        "| section of the document | tests |",
        "| --- | --- |",
        *(f"| {title} | {'<br>'.join(map(_link, tests))} |" for title, tests in sections()),
        "",
        f"## Marvin tests of CloudStack ({UPSTREAM})",
    ]
    for suite in upstream():
        text += ["", f"### {suite.name}", "", *_table(suite)]
    text += ["", "## Marvin tests of storpool-cloudstack-integration"]
    for suite in integration():
        text += ["", f"### {suite.name}", "", *_table(suite)]
    return "\n".join(text) + "\n"


if __name__ == "__main__":
    DOCUMENT.parent.mkdir(exist_ok=True)
    sys.exit(0 if DOCUMENT.write_text(render(), encoding="utf-8") else 1)
