# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The examples of the README and of the guides do what they say, and nothing on a second run.

Each file's examples run in the order in which a reader meets them, against one simulator, because later ones build on earlier ones.
"""

from __future__ import annotations

import re
import time
from functools import partial
from pathlib import Path

import playbooks
import pytest
import yaml
from ansible_collections.storpool.cloudstack.plugins.module_utils import _errors, _options
from conftest import CLOUDSTACKS
from prediction import differences
from readme_examples import examples

ROOT = Path(__file__).resolve().parents[2]
FILES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
WITH_EXAMPLES = [file for file in FILES if any(example.runs for example in examples(file))]
LINKED = [*FILES, *(ROOT / name for name in ("CONTRIBUTING.md", "SECURITY.md")), *sorted((ROOT / "roles").glob("*/README.md"))]
OPERATION = ROOT / "docs" / "operation.md"
VAULT = {"bmc_password": "bmc-secret"}  # what examples take from elsewhere
A_DAY = 86400
THREE_RUNS = 180  # seconds that three runs take at the most, on a machine that has much else to do


@pytest.fixture
def sim(cloud_of):
    """With a CloudStack, and the VMs that the examples name."""
    simulator = cloud_of(CLOUDSTACKS[-1])
    for name in ("db1", "web1"):
        simulator.deploy(name)
    return simulator


def test_the_readme_has_examples():
    assert ROOT / "README.md" in WITH_EXAMPLES


@pytest.mark.parametrize(
    "names",
    [
        [path.stem for path in (ROOT / "plugins" / "modules").glob("[a-z]*.py")],
        [path.name for path in (ROOT / "roles").iterdir()],
        [path.stem for path in (ROOT / "playbooks").glob("*.yml")],
    ],
    ids=["modules", "roles", "playbooks"],
)
def test_the_readme_leads_to_everything(names):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [name for name in names if f"`storpool.cloudstack.{name}`" not in text] == []


@pytest.mark.parametrize("file", LINKED, ids=lambda file: str(file.relative_to(ROOT)))
def test_links_lead_somewhere(file):
    text = file.read_text(encoding="utf-8")
    targets = [target.partition("#") for target in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in target]
    assert [path for path, _hash, _anchor in targets if path and not (file.parent / path).exists()] == []
    for path, _hash, anchor in targets:
        if anchor:
            headings = re.findall(r"^#+ (.*)$", (file.parent / path if path else file).read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in [re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings], anchor


def test_every_section_of_the_plugins_document_is_declared():
    """The guide has those that the table of scenarios has."""
    rows = re.findall(r"^\| ([A-Z][^|]*) \| \[", (ROOT / "docs" / "scenarios.md").read_text(encoding="utf-8"), re.MULTILINE)
    sections = re.findall(r"^## (.*)$", (ROOT / "docs" / "plugin.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sections and [one.lower() for one in sections] == [one.lower() for one in rows[: len(sections)]]


def test_the_credential_type_gives_jobs_what_tasks_read():
    given = {}
    for example in examples(OPERATION):
        given.update({key: example.content[key] for key in ("env", "fields") if not example.runs and key in example.content})
    known = {*_options._ENVIRONMENT.values()}
    assert set(given["env"]) == known - {"SP_API_HTTP_PORT"}  # which has a default
    assert {value.strip("{} ") for value in given["env"].values()} == {field["id"] for field in given["fields"]}


def test_every_kind_of_failure_is_explained():
    kinds = {one.kind for one in vars(_errors).values() if isinstance(one, type) and issubclass(one, _errors.CollectionError)}
    explained = set(re.findall(r"^\| `([a-z_]+)` \|", OPERATION.read_text(encoding="utf-8"), re.MULTILINE))
    assert kinds - {"error", "defect"} == explained


def test_the_commands_of_the_playbooks_are_about_variables_that_there_are():
    text = OPERATION.read_text(encoding="utf-8")
    for name, rest in re.findall(r"`ansible-playbook storpool\.cloudstack\.(\w+) ([^`]*)`", text):
        plays = yaml.safe_load((ROOT / "playbooks" / f"{name}.yml").read_text(encoding="utf-8"))
        tasks = [task for play in plays for task in play.get("tasks", [])]
        known = next(task["vars"]["variables_spec"] for task in tasks if "variables_spec" in task.get("vars", {}))
        assert [one for one in re.findall(r"-e (\w+)=", rest) if one not in known] == [], name


def in_runs(file):
    """What is run at once: of the README each example by itself, of a guide all of them, which check mode has to foresee as a whole."""
    parts = [(str(example), playbooks.plays(example.content)) for example in examples(file) if example.runs]
    return parts if file.name == "README.md" else [(file.name, [play for _name, plays in parts for play in plays])]


@pytest.mark.timeout(900)  # three runs of each example
@pytest.mark.parametrize("file", WITH_EXAMPLES, ids=lambda file: str(file.relative_to(ROOT)))
def test_examples(file, sim):
    play = partial(playbooks.run, env=playbooks.connection(sim), variables=VAULT, diff=True)
    for what, content in in_runs(file):
        if "%d" in str(content) and (left := A_DAY - time.time() % A_DAY) < THREE_RUNS:
            time.sleep(left)  # a name with the day in it is to be the same in all three runs
        sim.reset_calls()
        predicted = play(content, check=True)
        assert predicted.rc == 0, f"{what} in check mode:\n{predicted.output}"
        assert sim.calls()["writes"] == 0, f"{what} wrote in check mode"
        real = play(content)
        assert real.rc == 0, f"{what}:\n{real.output}"
        assert differences(predicted, real) == [], f"{what} did not do what check mode said:\n{predicted.output}\n{real.output}"
        sim.reset_calls()
        again = play(content)
        assert again.rc == 0, f"{what} run again:\n{again.output}"
        assert again.changed == 0, f"{what} is not idempotent:\n{again.output}"
        assert sim.calls()["writes"] == 0, f"{what} run again wrote"
