# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What holds for every file of the repository."""

from __future__ import annotations

import subprocess
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
TRACKED = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout.split("\0")
FILES = [ROOT / name for name in TRACKED if name and (ROOT / name).is_file() and not (ROOT / name).is_symlink()]
CODE = [file for file in FILES if file.suffix in (".py", ".sh", ".toml") or file.name in ("Makefile", "run")]


def name_of(file: Path) -> str:
    return str(file.relative_to(ROOT))


def test_code_names_its_licence():
    without = [name_of(file) for file in CODE if file.stat().st_size and "SPDX-License-Identifier:" not in file.read_text(encoding="utf-8")]
    assert not without


def test_no_file_names_where_the_checkout_lies():
    assert not [name_of(file) for file in FILES if str(ROOT).encode() in file.read_bytes()]


def test_no_sanity_test_is_ignored():
    assert not [name for name in TRACKED if name.startswith("tests/sanity/ignore")]


def test_the_versions_agree():
    version = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))["version"]
    releases = yaml.safe_load((ROOT / "changelogs" / "changelog.yaml").read_text(encoding="utf-8"))["releases"]
    assert version in releases


def test_requirements_have_one_lower_bound():
    """What the execution environment installs is what the README and the tests say."""
    wanted = "requests>=2.28.0"
    for name in ("meta/ee-requirements.txt", "tests/requirements/test.txt"):
        assert wanted in (ROOT / name).read_text(encoding="utf-8").splitlines(), name
    assert "`requests` 2.28 or newer" in (ROOT / "README.md").read_text(encoding="utf-8")
