# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every module can change, as scenarios: each prepares a world and says what is then declared.

    @scenario("storpool_volume")
    def resize(lab):
        lab.volume("v", size=MIB)                  # the preparation
        return {"name": "v", "size": 2 * MIB}      # the options of the task

The same function prepares the same world again and again; ids and times may differ. `world` names the simulator it needs, `state` what is
compared afterwards (a function of the lab; the whole StorPool side when nothing is said). Scenarios stand in the modules named `of_*`,
which are all loaded; a module of the collection without a scenario fails a test (test_registry.py), and so do a state, an option and a
change in the code that no scenario is about.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lab import Lab, storpool_state

MIB = 1 << 20


@dataclass(frozen=True)
class Scenario:
    module: str
    name: str
    declare: Callable[[Lab], dict[str, Any]]
    world: str = "storpool"  # or "cloudstack", or "two zones" of it
    state: Callable[[Lab], Any] = storpool_state
    # How many of its cases run when not all do.
    sample: int = 0

    def __post_init__(self) -> None:
        if not self.sample:
            object.__setattr__(self, "sample", 12 if self.on_cloud else 30)

    @property
    def on_cloud(self) -> bool:
        return self.world != "storpool"

    @property
    def reads_only(self) -> bool:
        return self.module.endswith("_info")

    def __str__(self) -> str:
        return f"{self.module}-{self.name}"


SCENARIOS: list[Scenario] = []


def scenario(module: str, **more: Any) -> Callable[[Callable[[Lab], dict[str, Any]]], Callable[[Lab], dict[str, Any]]]:
    """Enter the decorated function as a scenario of `module`."""

    def enter(declare: Callable[[Lab], dict[str, Any]]) -> Callable[[Lab], dict[str, Any]]:
        SCENARIOS.append(Scenario(module, declare.__name__, declare, **more))
        return declare

    return enter
