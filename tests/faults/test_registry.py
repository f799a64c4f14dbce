# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The scenarios of tests/faults leave nothing out: no module, no state, no option that declares something, no change in the code."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from integration.conftest import declared
from lab import Lab
from places import all_changes
from registry import SCENARIOS
from test_each_call import CLEAN, clean_run

MODULES = Path(__file__).resolve().parents[2] / "plugins" / "modules"

# Options that say which object it is, how the task goes about it, or what it may do: they lead to no other change. `keep` has the task send
# again what changes nothing.
NO_CHANGE = {
    "id", "global_id", "zone", "account", "domain", "project", "filter", "timezone", "verify", "wait", "wait_timeout", "progress_file",
    "force", "keep", "max_deletes", "renew_expiry", "series_tags", "checksum", "storpool_conf", "sp_node_ids", "update_password",
    "update_encrypted", "repair", "allow_cloudstack_objects", "allow_hyperconverged", "allow_single_host_cluster",
}  # fmt: skip
# Which of a series go; the deletion is that of keep_last.
RULES = {"keep_hourly", "keep_daily", "keep_weekly", "keep_monthly", "keep_yearly"}
# The host's own file is changed, and no server is asked; how it fares when it is killed is in tests/unit/test_agent_properties.py.
WITHOUT_A_SERVER = {"cloudstack_agent_properties", "storpool_host_info"}


def managed() -> list[str]:
    return sorted({scenario.module for scenario in SCENARIOS if not scenario.reads_only})


def told(spec: Mapping[str, Any], options: Mapping[str, Any], plural: str, before: str = "") -> Iterator[str]:
    """The options that are given, and the states that are declared; entries of lists count as the task itself does."""
    for name, value in options.items():
        if name in spec and value is not None:
            yield before + name
            if name == "state":
                yield f"state={value}"
            inner = spec[name].get("options")
            for entry in (value if isinstance(value, list) else [value]) if inner else ():
                yield from told(inner, entry, plural, before if name == plural else f"{before}{name}.")


def declarable(spec: Mapping[str, Any], before: str = "") -> Iterator[str]:
    for name, one in spec.items():
        if name in NO_CHANGE | RULES:
            continue
        yield before + name
        if name == "state":
            yield from (f"state={choice}" for choice in one["choices"] if choice != one.get("default"))
        yield from declarable(one.get("options") or {}, f"{before}{name}.")


def test_every_module_has_scenarios():
    modules = {path.stem for path in MODULES.glob("*.py") if path.stem != "__init__"}
    assert {module for module in modules if not declared(module).systems} == WITHOUT_A_SERVER
    covered = {scenario.module for scenario in SCENARIOS}
    assert sorted(modules - WITHOUT_A_SERVER - covered) == [], "modules without an entry in tests/faults/of_*.py (see registry.py)"
    assert sorted(covered - modules) == []


@pytest.mark.parametrize("module", managed())
def test_every_state_and_option_is_declared_by_a_scenario(module: str, lab_of: Callable[[str], Lab]):
    known = declared(module)
    given: set[str] = set()
    for scenario in SCENARIOS:
        if scenario.module == module:
            given.update(told(known.argument_spec(), clean_run(scenario, lab_of(scenario.world)).options, known.plural))
    assert sorted(set(declarable(known.item)) - given) == [], f"no scenario of {module} in tests/faults/of_*.py declares these"


def test_every_change_in_the_code_is_made_by_a_scenario(lab_of: Callable[[str], Lab]):
    made = set().union(*(clean_run(scenario, lab_of(scenario.world)).changes for scenario in SCENARIOS))
    assert len(CLEAN) >= len(SCENARIOS)
    missing = [f"{name}:{line}: {text}" for (name, line), text in all_changes().items() if (name, line) not in made]
    assert not missing, "no scenario in tests/faults/of_*.py makes these changes:\n" + "\n".join(missing)
