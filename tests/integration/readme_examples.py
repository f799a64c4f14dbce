# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finds the examples of a Markdown file: its fenced blocks marked `yaml`.

A list with plays is a playbook, another list is tasks; both can be run. Anything else (a requirements file, say) only has to be YAML.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


@dataclass
class Example:
    file: Path
    line: int
    heading: str
    content: Any

    @property
    def runs(self) -> bool:
        return isinstance(self.content, list)

    def __str__(self) -> str:
        return f"{self.file.name}:{self.line} ({self.heading})"


def examples(file: Path) -> list[Example]:
    found = []
    heading, block, start = "", None, 0
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        if block is not None:
            if line.strip() == "```":
                found.append(Example(file, start, heading, yaml.safe_load("\n".join(block))))
                block = None
            else:
                block.append(line)
        elif re.match(r"```ya?ml\b", line):
            block, start = [], number
        elif line.startswith("#"):
            heading = line.lstrip("#").strip()
    if block is not None:
        raise ValueError(f"{file.name}:{start}: the block has no end")
    return found
