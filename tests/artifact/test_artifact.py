# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a user installs: only the product is in it, it installs without the network, and it works from where it was installed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
from fnmatch import fnmatch
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from storpool_simulator.testing import Simulator

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
INSIDE = Path("ansible_collections/storpool/cloudstack")

# What may be in the artifact; all else is a mistake in galaxy.yml's build_ignore.
PRODUCT = (
    "MANIFEST.json",
    "FILES.json",
    "README.md",
    "CHANGELOG.md",
    "CODE_OF_CONDUCT.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "LICENSE",
    "LICENSES/GPL-3.0-or-later.txt",
    "changelogs/changelog.yaml",
    "meta/ee-*.txt",
    "meta/*.yml",
    "plugins/*.py",
    "plugins/*.yml",
    "roles/*/README.md",
    "roles/*/*.yml",
    "roles/*/*.j2",
    "roles/*/files/*",
    "playbooks/*",
    "docs/*",
    "extensions/eda/*",
    "extensions/audit/*",
)
NEEDED = ("README.md", "CHANGELOG.md", "LICENSE", "meta/runtime.yml", "meta/execution-environment.yml", "changelogs/changelog.yaml")


def called(*command, **options) -> str:
    done = subprocess.run(
        [str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=600, **options
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}:\n{done.stdout}"
    return done.stdout


@pytest.fixture(scope="module")
def artifact(tmp_path_factory) -> Path:
    said = called(sys.executable, ROOT / "tests" / "tools" / "build.py", tmp_path_factory.mktemp("dist"))
    return Path(said.splitlines()[-1])


@pytest.fixture(scope="module")
def members(artifact) -> list[tarfile.TarInfo]:
    with tarfile.open(artifact) as tar:
        return tar.getmembers()


@pytest.fixture(scope="module")
def installed(artifact, tmp_path_factory) -> Path:
    """A path where nothing but the artifact is installed, with the environment that finds only it."""
    place = tmp_path_factory.mktemp("installed")
    called(BIN / "ansible-galaxy", "collection", "install", "--offline", "-p", place, artifact, env=environment(place), cwd=place)
    assert (place / INSIDE / "MANIFEST.json").exists()
    return place


def environment(place: Path) -> dict[str, str]:
    # An empty one, because the user's own would change what is tested.
    configuration = place / "ansible.cfg"
    configuration.touch()
    env = {name: value for name, value in os.environ.items() if not name.startswith(("SP_", "ANSIBLE_", "PYTHONPATH"))}
    env.update(
        PATH=f"{BIN}{os.pathsep}{env.get('PATH', os.defpath)}",
        ANSIBLE_CONFIG=str(configuration),
        ANSIBLE_HOME=str(place / "home"),
        ANSIBLE_COLLECTIONS_PATH=str(place),
        ANSIBLE_LOCALHOST_WARNING="false",
        ANSIBLE_PYTHON_INTERPRETER=sys.executable,
        ANSIBLE_NOCOLOR="true",
    )
    return env


def modules() -> list[str]:
    return sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py") if path.stem != "__init__")


def test_only_the_product_is_in_it(members):
    names = [member.name for member in members if not member.isdir()]
    strays = [name for name in names if not any(fnmatch(name, pattern) for pattern in PRODUCT)]
    hidden = [name for name in names if any(part.startswith(".") or part in ("tests", "__pycache__") for part in Path(name).parts)]
    assert not strays, "not product, or not yet in this test's list"
    assert not hidden


def test_all_of_the_product_is_in_it(members):
    names = {member.name for member in members}
    assert not [name for name in NEEDED if name not in names]
    tracked = called("git", "ls-files", "plugins", "roles", "playbooks", "meta", cwd=ROOT).splitlines()
    assert not [name for name in tracked if (ROOT / name).exists() and name not in names and not Path(name).name.startswith(".")]


def test_nothing_in_it_points_outside(members):
    assert not [member.name for member in members if member.issym() or member.islnk()]


def test_it_names_no_place_of_the_machine_that_built_it(installed):
    for path in (installed / INSIDE).rglob("*"):
        if path.is_file():
            assert str(ROOT).encode() not in path.read_bytes(), path


def test_it_verifies(installed):
    verify = [BIN / "ansible-galaxy", "collection", "verify", "--offline", "storpool.cloudstack"]
    said = called(*verify, env=environment(installed), cwd=installed)
    assert "successfully" in said.lower(), said


@pytest.mark.parametrize("system", ["storpool", "cloudstack"])
def test_its_modules_are_in_their_action_groups(system):
    """`module_defaults` with `group/storpool.cloudstack.storpool` reaches every module that takes its options; CloudStack likewise."""
    group = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text(encoding="utf-8"))["action_groups"][system]
    declared = {name: import_module(f"ansible_collections.storpool.cloudstack.plugins.modules.{name}").DECLARED for name in modules()}
    assert group == sorted(name for name, one in declared.items() if system in one.systems)


def test_every_module_has_documentation(installed):
    names = [f"storpool.cloudstack.{name}" for name in modules()]
    assert names, "no module is in the collection"
    shown = json.loads(called(BIN / "ansible-doc", "--json", "-t", "module", *names, env=environment(installed), cwd=installed))
    for name in names:
        assert shown[name]["doc"]["short_description"] and shown[name]["examples"] and shown[name]["return"], name
        assert shown[name]["doc"]["filename"].startswith(str(installed)), "the documentation of another copy was shown"


PLAYBOOK = """\
- name: Use the installed collection
  hosts: localhost
  gather_facts: false
  tasks:
    - name: Make a volume
      storpool.cloudstack.storpool_volume:
        name: installed
        size: 1G
        template: hybrid
"""


@pytest.mark.parametrize("way", ["worker", "module"])
def test_a_playbook_runs_from_there(installed, tmp_path, way):
    playbook = yaml.safe_load(PLAYBOOK)
    if way == "module":
        # An environment makes the task an ordinary module instead of a call in the controller's worker.
        playbook[0]["environment"] = {"TESTED_AS": "module"}
    (tmp_path / "playbook.yml").write_text(yaml.safe_dump(playbook), encoding="utf-8")
    with Simulator(tmp_path / "state") as sim:
        env = environment(installed)
        env.update(SP_API_HTTP_HOST=str(sim.host), SP_API_HTTP_PORT=str(sim.port), SP_AUTH_TOKEN=str(sim.token))
        for expected in ("changed=1", "changed=0"):
            said = called(BIN / "ansible-playbook", "playbook.yml", env=env, cwd=tmp_path)
            assert re.search(rf"ok=1\s+{expected}\s+.*failed=0", said), said
        assert sim.content("installed")["size"] == 2**30
