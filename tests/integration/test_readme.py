# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The examples of the README and of the guides do what they say, and nothing on a second run.

Each file's examples run in the order in which a reader meets them, against one simulator, because later ones build on earlier ones.
"""

from __future__ import annotations

from pathlib import Path

import playbooks
import pytest
from prediction import differences
from readme_examples import examples

ROOT = Path(__file__).resolve().parents[2]
FILES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
WITH_EXAMPLES = [file for file in FILES if any(example.runs for example in examples(file))]


def test_the_readme_has_examples():
    assert ROOT / "README.md" in WITH_EXAMPLES


@pytest.mark.timeout(900)  # three runs of each example
@pytest.mark.parametrize("file", WITH_EXAMPLES, ids=lambda file: str(file.relative_to(ROOT)))
def test_examples(file, sim):
    env = playbooks.connection(sim)
    for example in examples(file):
        if not example.runs:
            continue
        sim.reset_calls()
        predicted = playbooks.run(example.content, env=env, check=True, diff=True)
        assert predicted.rc == 0, f"{example} in check mode:\n{predicted.output}"
        assert sim.calls()["writes"] == 0, f"{example} wrote in check mode"
        real = playbooks.run(example.content, env=env, diff=True)
        assert real.rc == 0, f"{example}:\n{real.output}"
        assert differences(predicted, real) == [], f"{example} did not do what check mode said:\n{predicted.output}\n{real.output}"
        sim.reset_calls()
        again = playbooks.run(example.content, env=env, diff=True)
        assert again.rc == 0, f"{example} run again:\n{again.output}"
        assert again.changed == 0, f"{example} is not idempotent:\n{again.output}"
        assert sim.calls()["writes"] == 0, f"{example} run again wrote"
