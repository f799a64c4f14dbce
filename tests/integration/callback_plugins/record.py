# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes every task's result as a line of JSON to the file named by RECORD_FILE: what tests look at instead of the screen."""

from __future__ import annotations

import json
import os

from ansible import context
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: record
type: notification
short_description: Records task results for tests
description:
  - Writes every task's result as a line of JSON.
requirements: []
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "record"

    def v2_playbook_on_start(self, playbook):
        # A file may get the records of several runs.
        self._run = {"run": os.getpid(), "playbook": os.path.basename(playbook._file_name), "check": bool(context.CLIARGS.get("check"))}

    def _write(self, status, result, ignored=False):
        # The public names came with ansible-core 2.19.
        content = result.result if hasattr(result, "result") else result._result
        task = result.task if hasattr(result, "task") else result._task
        host = result.host if hasattr(result, "host") else result._host
        line = {
            **self._run,
            "status": status,
            "ignored": ignored,
            "host": host.get_name(),
            "task": task.get_name(),
            "action": task.action,
            "changed": bool(content.get("changed", False)),
            "result": content,
        }
        with open(os.environ["RECORD_FILE"], "a", encoding="utf-8") as target:
            target.write(json.dumps(line, default=str) + "\n")

    def v2_runner_on_ok(self, result):
        self._write("ok", result)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self._write("failed", result, ignore_errors)

    def v2_runner_on_unreachable(self, result):
        self._write("unreachable", result)

    def v2_runner_on_skipped(self, result):
        self._write("skipped", result)

    def v2_runner_item_on_ok(self, result):
        self._write("item ok", result)

    def v2_runner_item_on_failed(self, result):
        self._write("item failed", result)

    def v2_runner_item_on_skipped(self, result):
        self._write("item skipped", result)
