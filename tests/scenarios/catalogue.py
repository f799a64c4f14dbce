# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which test stands for which scenario of StorPool's Marvin tests, and for which section of its document on the plugin's functions.

`python3 tests/scenarios/catalogue.py` writes docs/scenarios.md from it; a test compares the two, and looks that the tests are there.
"""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "scenarios.md"
HERE, SIMULATOR, MODULES = "tests/scenarios", "tests/simulator_tests", "tests/integration"
UPSTREAM = "test/integration/plugins/storpool"
VOLUMES = "test_marvin_storpool_volumes"
OLD_NAMES = (
    "They check an upgrade: a plugin from before CloudStack had one of its own addressed volumes and snapshots by names, and its successor "
    "renamed them. No release served here makes or renames them."
)
LOCAL, REMOTE = "the `local cluster` variant", "the `remote cluster` variant"


@dataclass(frozen=True)
class Suite:
    """Scenarios of Marvin with one name; `rows`: (Marvin's scenario, tests, remark). Without rows each test of the module is one."""

    name: str
    module: str = ""
    starts: str = "test_"
    # The release of CloudStack that has the first of them
    since: str = ""
    rows: tuple[tuple[str, tuple[str, ...], str], ...] = ()
    # Scenarios that are no use here, and why
    without: str = ""

    def lines(self) -> list[tuple[str, tuple[str, ...], str]]:
        if self.rows or not self.module:
            return list(self.rows)
        names = [name for name in tests_of(f"{HERE}/{self.module}.py") if name.startswith(self.starts)]
        tests = [f"{HERE}/{self.module}.py::{name}" for name in names]
        return [(name.removeprefix("test_"), (test,), remark_on(test)) for name, test in zip(names, tests, strict=True)]

    @property
    def title(self) -> str:
        return f"{self.name}, CloudStack {self.since} and newer" if self.since else self.name


def here(module: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{HERE}/test_marvin_{module}.py::test_{name}" for name in names)


def simulator(module: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{SIMULATOR}/test_cloudstack_{module}.py::test_{name}" for name in names)


def modules(module: str, *names: str) -> tuple[str, ...]:
    """Tests of the collection's modules, with a playbook's options."""
    return tuple(f"{MODULES}/test_{module}.py::test_{name}" for name in names)


def volumes(*numbers: int) -> tuple[str, ...]:
    """Tests of TestStorPoolVolumes by number."""
    names = tests_of(f"{HERE}/{VOLUMES}.py")
    return tuple(f"{HERE}/{VOLUMES}.py::{name}" for name in names if int(name.split("_")[1]) in numbers)


@cache
def _functions(path: str) -> dict[str, ast.FunctionDef]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def tests_of(path: str) -> list[str]:
    """The names of the test functions in a file."""
    return list(_functions(path))


def remark_on(test: str) -> str:
    """Of a test that older releases leave out."""
    path, _unused, name = test.partition("::")
    for node in ast.walk(_functions(path)[name]):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "only_since":
            return f"CloudStack {ast.literal_eval(node.args[0])} and newer"
    return ""


def upstream() -> list[Suite]:
    """CloudStack's own, state of 4.22."""
    return [
        Suite("TestStorPoolVolumes", VOLUMES),
        Suite("TestVmSnapshots", "test_marvin_vm_snapshots"),
        Suite("TestTagsOnStorPool", "test_marvin_tags"),
        Suite("TestEncryptedVolumes", "test_marvin_encrypted_volumes"),
        Suite("test_storpool_tiers", "test_marvin_tiers", since="4.20"),
        Suite("MigrateVolumeToStorPool", rows=_first_three()),
        Suite("test_snapshot_copy_on_primary_storage", "test_marvin_snapshot_copy", since="4.21"),
    ]


def _first_three() -> tuple[tuple[str, tuple[str, ...], str], ...]:
    tests = _those("migrate_to_storpool", "nfs_to_storpool")
    return tuple((one.rpartition("::test_")[2], (one,), "") for one in tests)


def integration() -> list[Suite]:
    """storpool/storpool-cloudstack-integration, older and broader."""
    multi, life = "multicluster", "integration"
    limits, live = here(multi, "max_iops_05_to_14_migrate_vm_live"), here(multi, "live_migration_01_to_10")
    with_vm, nfs = _those("migrate_to_storpool", "migrate_vm_with_volumes"), _those("migrate_to_storpool", "migration_from_nfs")
    moves = ("migrate_live", "migrate_vm_live_attach_disk", "migrate_vm_live_with_snapshots", "resize_volume", "restore")
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
                ("01 resize, attached", here(multi, "max_iops_01_resize_attached_volume"), ""),
                ("02 resize, detached", here(multi, "max_iops_02_resize_detached_volume"), ""),
                ("03 resize_iops_root_volume", here(multi, "max_iops_03_resize_iops_root_volume"), ""),
                ("04 iops_root_volume_reverted", here(multi, "max_iops_04_iops_root_volume_reverted"), ""),
                *((f"{number:02} {name}", limits, "the `local` variants") for number, name in enumerate(moves, 5)),
                *((f"{number} {name}, on remote", limits, "the `remote` variants") for number, name in enumerate(moves, 10)),
            ),
        ),
        Suite(
            "multicluster_on_local_cluster (17)",
            rows=(
                ("01 attach_detach_volume_to_running_vm", volumes(14), LOCAL),
                ("02 resize_root_volume_on_working_vm", volumes(15), LOCAL),
                ("03 resize_attached_volume_on_working_vm", volumes(16), LOCAL),
                ("04 attach_detach_volume_to_stopped_vm", volumes(17), LOCAL),
                ("05 resize_attached_volume", volumes(18), LOCAL),
                ("06 resize_detached_volume", volumes(19), LOCAL),
                ("07 snapshot_to_volume", volumes(20), LOCAL),
                ("08 snapshot_detached_volume", volumes(21), LOCAL),
                ("09 snapshot_root_disk", volumes(22), LOCAL),
                ("10 volume_to_template", volumes(23), LOCAL),
                ("11 migrate_vm_to_another_storage", volumes(24), LOCAL),
                ("12 migrate_volume_to_another_storage", volumes(25), LOCAL),
                ("13 create_vm_on_another_storpool_storage", volumes(26), LOCAL),
                ("14 create_vm_on_second_cluster_with_template_from_first", _those(multi, "on_local_cluster_14"), ""),
                ("15 to 17 VM snapshots: create, revert, delete", volumes(10, 11, 12), LOCAL),
            ),
        ),
        Suite(
            "multicluster_on_remote_cluster (11)",
            rows=(
                ("01 start_vm_on_remote_cluster", here(multi, "on_remote_cluster_01_start_vm_on_remote_cluster"), ""),
                ("02 attach_detach_volume_to_vm_on_remote", volumes(14), REMOTE),
                ("03 resize_root_volume_of_vm_on_remote", volumes(15), REMOTE),
                ("04 resize_attached_volume_of_vm_on_remote", volumes(16), REMOTE),
                ("05 snapshot_root_disk_working_vm_on_remote", volumes(22), REMOTE),
                ("06 snapshot_to_template_secondary_storage", volumes(1), REMOTE),
                ("07 snapshot_to_template_bypass_secondary", volumes(2), REMOTE),
                ("08 volume_to_template", volumes(23), REMOTE),
                ("09 create_vm_snapshots", volumes(10), REMOTE),
                ("10 revert_vm_snapshots", volumes(11), REMOTE),
                ("11 delete_vm_snapshots", volumes(12), REMOTE),
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
                *((f"{number:02} {name}", live, "the `local` variants") for number, name in enumerate(moves, 1)),
                *((f"{number:02} {name}, on remote", live, "the `remote` variants") for number, name in enumerate(moves, 6)),
                ("11 between clusters", here(multi, "live_migration_11_between_clusters"), ""),
            ),
        ),
        Suite(
            "multicluster_vm_snapshot (3)",
            rows=(("01 to 03: create, revert, delete", volumes(10, 11, 12), "the `local cluster` and `remote cluster` variants"),),
        ),
        Suite(
            "change_storpool_template (5)",
            rows=(
                (
                    "01 to 04 resize to other classes and templates, VM snapshots afterwards",
                    _those("integration", "change_template")[:4],
                    "CloudStack 4.20 and newer",
                ),
                ("05 scale to another offering", _those("integration", "change_template")[4:], ""),
            ),
        ),
        Suite("migrate_vm_with_volumes (4)", rows=(("live and offline, hosts without StorPool", with_vm, "NFS stands for Ceph"),)),
        Suite("migration_from_nfs (5)", rows=(("live and offline", nfs, ""),)),
        Suite("sp_cluster_on_second_zone (29)", rows=(("01 to 29", volumes(*range(1, 30)), "the `second zone` variants"),)),
        Suite("storpool_tags (8)", rows=(("01 to 08", _those("tags", "")[:8], ""),)),
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
                ("01 attach_detach_volume_to_vm", volumes(14), ""),
                ("02 attach_detach_volume_to_stopped_vm", volumes(17), ""),
                ("03 resize_attached_volume", volumes(16, 18), ""),
                ("04 resize_detached_volume", volumes(19), ""),
                ("05 snapshot_to_volume", volumes(20), ""),
                ("06 snapshot_to_template", volumes(1), ""),
                ("07 snapshot_to_template_bypass_secondary", volumes(2), ""),
            ),
        ),
        Suite(
            "volumes_2 (4)",
            rows=(
                ("01 snapshot_detached_volume", volumes(21), ""),
                ("02 snapshot_attached_volume", volumes(3, 22), ""),
                ("03 migrate_vm_to_another_storage", volumes(24), ""),
                ("04 migrate_volume_to_another_storage", volumes(25), ""),
            ),
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
            ),
        ),
        Suite("rename_volumes_snapshots_after_migration (13), migrating_from_uuid_to_global_id (8), migration_uuid_*", without=OLD_NAMES),
        Suite("cleanup_volumes_and_snapshots (4)", without="A helper that clears a test bed, no check of the plugin."),
    ]


def ours() -> Suite:
    """What none of Marvin's tests checks (plugin sheet, end of section 8), and what else scenarios here do."""
    life = "integration"
    return Suite(
        "ours",
        rows=(
            ("host HA with the heartbeat of StorPool", _section("Support for host HA"), ""),
            (
                "prepareTemplate",
                (
                    *modules("template_cache", "cached_and_proved", "templates_times_pools", "a_copy_that_fails_is_told_at_the_deadline"),
                    *simulator("templates", "prepare_makes_the_cache"),
                ),
                "",
            ),
            (
                "collection of unused caches",
                (
                    *modules("template_cache", "kept_through_the_cleanup", "when_it_will_go"),
                    *simulator("templates", "collection_takes_two_rounds"),
                ),
                "",
            ),
            (
                "settings",
                (
                    *modules("cloudstack_settings", "many_at_once", "scopes_by_name_and_by_id", "what_waits_for_a_restart"),
                    *simulator("settings", "the_settings_of_the_sheet", "a_dynamic_value_works_at_once_another_after_all_have_restarted"),
                ),
                "",
            ),
            (
                "alternative endpoint",
                (*modules("cloudstack_settings", "an_endpoint"), *simulator("pools", "the_alternative_endpoint_is_asked_instead")),
                "",
            ),
            (
                "delayed delete",
                (
                    *modules("cloudstack_template", "the_last_snapshot_of_a_deleted_volume_is_refused"),
                    *simulator("encryption", "delayed_delete", "the_global_delay_waits_for_a_restart"),
                    *simulator("encryption", "a_server_that_started_before_does_not_see_the_end"),
                ),
                "",
            ),
            (
                "orphans",
                (
                    *modules("template_cache", "orphans_are_told_and_left_alone", "only_orphans_are_deleted"),
                    *simulator("templates", "abandoned_objects_are_reported"),
                ),
                "",
            ),
            ("two machines from one template share it", here(life, "two_machines_from_one_template_share_it"), ""),
            ("life of a volume", here(life, "life_of_a_volume"), ""),
            ("attachments that are refused", here(life, "refused_attachments"), ""),
            ("many disks", here(life, "many_disks"), ""),
            ("sizes", here(life, "custom_sizes"), ""),
        ),
    )


def _section(title: str) -> tuple[str, ...]:
    return dict(sections())[title]


def _those(module: str, part: str) -> tuple[str, ...]:
    """The tests of a module with that in their names."""
    path = f"{HERE}/test_marvin_{module}.py"
    return tuple(f"{path}::{name}" for name in tests_of(path) if part in name)


def sections() -> list[tuple[str, tuple[str, ...]]]:
    """The sections of StorPool's document on the plugin's functions; first what a playbook declares."""
    limits = _those("multicluster", "max_iops")[:4]
    return [
        (
            "Creating template from a snapshot",
            (
                *volumes(1, 2, 6),
                *modules("cloudstack_template", "from_a_snapshot_by_its_copy_on_secondary_storage", "from_a_snapshot_by_way_of_storpool"),
                *simulator("snapshots", "template_by_storpool", "template_by_file"),
            ),
        ),
        (
            "Creating ROOT volume from templates",
            (
                *here("integration", "two_machines_from_one_template_share_it"),
                *modules("template_cache", "cached_and_proved", "a_clone_moves_no_byte_of_it", "a_deleted_template_waits_for_the_cleanup"),
                *simulator("templates", "first_use_makes_the_cache_and_clones_copy_nothing", "collection_takes_two_rounds"),
            ),
        ),
        ("Creating a ROOT volume from an ISO image", here("integration", "vm_life_cycle_iso")),
        (
            "Creating a DATA volume",
            (
                *here("integration", "life_of_a_volume"),
                *modules("cloudstack_volume", "born_at_the_first_attach"),
                *simulator("volumes", "a_data_volume_is_born_at_its_first_attach"),
            ),
        ),
        (
            "Creating volume from snapshot",
            (
                *volumes(20, 27),
                *_those("multicluster", "volume_from"),
                *simulator("snapshots", "volume_from_primary_copies_nothing", "volume_from_secondary_is_brought_back_once"),
            ),
        ),
        (
            "Resizing volumes",
            (
                *volumes(15, 16, 18, 19),
                *modules("cloudstack_volume", "resize_of_a_running_vm_reaches_its_host"),
                *simulator("volumes", "a_resize_that_the_vm_is_not_told_of_succeeds"),
            ),
        ),
        (
            "Creating snapshots",
            (
                *volumes(3, 4, 7, 8),
                *modules("cloudstack_snapshot", "taken_backed_up_and_gone_again", "without_a_backup_as_the_version_has_it"),
                *simulator("snapshots", "backed_up_by_default", "deleting_cascades"),
            ),
        ),
        (
            "Reverting volume to snapshot",
            (
                *here("encrypted_volumes", "07_revert_volume_snapshot"),
                *here("tags", "08_vcpolicy_tag_to_reverted_disk"),
                *here("multicluster", "max_iops_04_iops_root_volume_reverted"),
                *modules("cloudstack_snapshot", "reverted_by_content", "a_size_that_changes_is_told"),
                *simulator("snapshots", "revert", "revert_refused"),
            ),
        ),
        ("Migrating volumes to other Storage pools", (*_those("migrate_to_storpool", ""), *volumes(24, 25))),
        (
            "Virtual machine snapshot and group snapshot",
            (
                *_those("vm_snapshots", ""),
                *modules("cloudstack_vm_snapshot", "one_consistent_group", "reverted_by_content"),
                *simulator("vm_snapshots", "a_group_of_all_disks"),
            ),
        ),
        ("BW/IOPS limitations", (*limits, *simulator("offerings", "iops_of_root_and_data"))),
        (
            "Support for host HA",
            (
                *modules("storpool_ha", "hosts_of_a_list", "hyperconverged_hosts"),
                *simulator("ha", "a_dead_host_is_recovered_then_fenced", "without_host_ha_the_heartbeat_decides"),
            ),
        ),
        (
            "Supported operations for volume encryption",
            (*_those("encrypted_volumes", ""), *simulator("encryption", "what_is_supported", "what_is_refused")),
        ),
    ]


def mentioned() -> set[str]:
    """Every test that the document names."""
    rows = [row for suite in (*upstream(), *integration(), ours()) for row in suite.lines()]
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
        "The scenarios run on CloudStack 4.19.3, 4.20.2, 4.21.0 and 4.22.0, where the release has them. What a playbook can declare with",
        "this collection they declare, in three runs: check mode, which has to be right and may not write, the real run, and another one,",
        "which may not change anything. `python3 tests/tools/stages.py scenarios` runs them all, with `-- -k WORD` those of that name.",
        "",
        "Written by `python3 tests/scenarios/catalogue.py`.",
        "",
        "## The plugin's functions",
        "",
        "`make demo` shows them too, as playbooks, with a table of the sections at its end.",
        "",
        "| section of the document | tests |",
        "| --- | --- |",
        *(f"| {title} | {'<br>'.join(map(_link, tests))} |" for title, tests in sections()),
        "",
        f"## Marvin tests of CloudStack ({UPSTREAM})",
    ]
    for suite in upstream():
        text += ["", f"### {suite.title}", "", *_table(suite)]
    text += ["", "## Marvin tests of storpool-cloudstack-integration"]
    for suite in integration():
        text += ["", f"### {suite.title}", "", *_table(suite)]
    text += ["", "## What none of them has", "", *_table(ours())]
    return "\n".join(text) + "\n"


if __name__ == "__main__":
    DOCUMENT.parent.mkdir(exist_ok=True)
    sys.exit(0 if DOCUMENT.write_text(render(), encoding="utf-8") else 1)
