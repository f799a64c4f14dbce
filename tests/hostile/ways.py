# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Both ways into a module, in this process: the ordinary module with all that Ansible's own code does around it, and the fast path."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ansible.module_utils import basic

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("[a-z]*.py"))
FAST = {path.stem for path in (ROOT / "plugins" / "action").glob("[a-z]*.py")}
PLUGINS = "ansible_collections.storpool.cloudstack.plugins"


def module_of(name: str) -> Any:
    return importlib.import_module(f"{PLUGINS}.modules.{name}")


def spec_of(name: str) -> dict[str, dict[str, Any]]:
    return module_of(name).DECLARED.argument_spec()


def _handed_over(arguments: dict[str, Any]) -> contextlib.AbstractContextManager[Any]:
    try:
        from ansible.module_utils.testing import patch_module_args
    except ImportError:  # before core 2.18

        @contextlib.contextmanager
        def patch_module_args(arguments):
            before = basic._ANSIBLE_ARGS
            basic._ANSIBLE_ARGS = json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode()
            try:
                yield
            finally:
                basic._ANSIBLE_ARGS = before

    return patch_module_args(arguments)


def as_module(name: str, options: dict[str, Any], check: bool = False, diff: bool = False) -> dict[str, Any]:
    """The result of the ordinary module; its exit status has to fit."""
    arguments = {**options, "_ansible_check_mode": check, "_ansible_diff": diff, "_ansible_module_name": f"storpool.cloudstack.{name}"}
    said = io.StringIO()
    status: Any = None
    with _handed_over(arguments), contextlib.redirect_stdout(said), contextlib.redirect_stderr(io.StringIO()) as errors:
        try:
            module_of(name).main()
        except SystemExit as exc:
            status = exc.code
    lines = said.getvalue().strip().splitlines()
    assert len(lines) == 1, f"{name} {options!r:.500}: {said.getvalue()!r:.500} {errors.getvalue()!r:.2000}"
    result = json.loads(lines[0])
    assert bool(status) == bool(result.get("failed")), f"exit status {status} with failed={result.get('failed')}"
    return result


def in_worker(name: str, options: dict[str, Any], check: bool = False, diff: bool = False) -> dict[str, Any]:
    """The result of the fast path."""
    action = importlib.import_module(f"{PLUGINS}.action.{name}").ActionModule
    plugin = action.__new__(action)
    plugin._task = SimpleNamespace(action=f"storpool.cloudstack.{name}", args=options, check_mode=check, diff=diff, no_log=False)
    plugin._loader = SimpleNamespace(get_basedir=lambda: str(Path.cwd()))
    plugin._display = SimpleNamespace(display=lambda _text: None)
    result = plugin._run_here({})
    json.dumps(result)  # it has to get through to the controller
    return result


if __name__ == "__main__":  # what a test measures in a process of its own
    print(json.dumps(as_module(sys.argv[1], json.loads(sys.argv[2]))))
