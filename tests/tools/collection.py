# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible finds a collection by its path, ROOT/ansible_collections/storpool/cloudstack. This makes such a root.

python3 tests/tools/collection.py link         .cache/collections: a link to this checkout, for tests and the demo
python3 tests/tools/collection.py copy ROOT    a copy of what git knows, for the tools that walk a whole tree (ansible-test, build)
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from common import COLLECTIONS, ROOT, ToolError, main, output, run

INSIDE = Path("ansible_collections/storpool/cloudstack")


def link() -> Path:
    target = COLLECTIONS / INSIDE
    if not target.is_symlink() or target.resolve() != ROOT:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        # Relative, so that a checkout can be moved.
        target.symlink_to(os.path.relpath(ROOT, target.parent))
    return target


def tracked() -> list[str]:
    """The files of the checkout: those that git tracks and those it would, without what is ignored or deleted."""
    names = output(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]).split("\0")
    return sorted(name for name in set(names) if name and (ROOT / name).exists())


def copy(root: Path) -> Path:
    """Bring ROOT's copy up to date: files that did not change keep their time, files that are gone go."""
    target = root.absolute() / INSIDE
    wanted = set(tracked())
    if not wanted:
        raise ToolError("git knows of no file here")
    for name in wanted:
        source, copied = ROOT / name, target / name
        copied.parent.mkdir(parents=True, exist_ok=True)
        if copied.is_symlink() or (copied.exists() and not copied.is_file()):
            shutil.rmtree(copied) if copied.is_dir() and not copied.is_symlink() else copied.unlink()
        if not copied.exists() or copied.stat().st_mtime != source.stat().st_mtime or copied.stat().st_size != source.stat().st_size:
            shutil.copy2(source, copied, follow_symlinks=False)
    for directory, names, files in os.walk(target):
        if ".git" in names:
            names.remove(".git")
        for name in files:
            path = Path(directory, name)
            if str(path.relative_to(target)) not in wanted:
                path.unlink()
    if not (target / ".git").exists():
        # Else git would speak for the checkout around the copy, which ignores it, and ansible-test would find nothing to test.
        run(["git", "init", "--quiet"], cwd=target)
    return target


def tool(arguments: list[str]) -> int:
    if arguments == ["link"]:
        print(link())
    elif len(arguments) == 2 and arguments[0] == "copy":
        print(copy(Path(arguments[1])))
    else:
        raise ToolError("usage: collection.py link | copy ROOT")
    return 0


if __name__ == "__main__":
    main(tool)
