# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every ordinary module does around its work, over a stand-in for Ansible's own class."""

from __future__ import annotations

import pytest
from ansible_collections.storpool.cloudstack.plugins.module_utils import _module
from ansible_collections.storpool.cloudstack.plugins.module_utils._foresight import OPTION
from ansible_collections.storpool.cloudstack.plugins.module_utils._shown import HIDDEN

SPEC = {"name": {"type": "str"}, "token": {"type": "str", "no_log": True}, "things": {"type": "list", "options": {"a": {}}}}


class Ended(Exception):
    """A module ends its process."""


class Ansible:
    """As much of AnsibleModule as counts: it loads its arguments, warns, and ends."""

    given: dict = {}
    wrong: str | None = None
    made: dict = {}

    def __init__(self, **made):
        type(self).mro()[1].made = made
        self.no_log_values = {"s3cret", 1234567}
        self.warned = []
        self._load_params()
        if self.wrong:
            self.fail_json(msg=self.wrong)

    def _load_params(self):
        self.params = dict(self.given)

    def warn(self, text):
        self.warned.append(text)

    def fail_json(self, msg, **result):
        raise Ended("failed", msg, result, self)

    def exit_json(self, **result):
        raise Ended("done", None, result, self)


def module(monkeypatch, act, given=None, wrong=None):
    monkeypatch.setattr(_module, "AnsibleModule", Ansible)
    monkeypatch.setattr(Ansible, "given", given or {"name": "a"})
    monkeypatch.setattr(Ansible, "wrong", wrong)
    with pytest.raises(Ended) as ended:
        _module.be_module(SPEC, lambda options: {"shown": sorted(options)}, act)
    return ended.value.args


def test_a_module_that_succeeds(monkeypatch):
    def act(module):
        assert (module.params, module.foreseen) == ({"name": "a"}, [["there"]])
        return {"changed": True, "warnings": ["13 is unlucky"], "token": "s3cret"}

    end, _message, result, made = module(monkeypatch, act, {"name": "a", OPTION: [["there"]]})
    assert (end, result, made.warned) == ("done", {"changed": True, "token": "s3cret"}, ["13 is unlucky"])
    assert made.no_log_values == set(), "Ansible's own removal works by substring"
    assert Ansible.made == {"argument_spec": SPEC, "supports_check_mode": True, "no_log": True}


def test_a_module_that_fails(monkeypatch):
    result = {"failed": True, "msg": "no s3cret", "error": {"type": "refused", "message": "no"}, "invocation": {"module_args": {}}}
    end, message, told, made = module(monkeypatch, lambda module: dict(result))
    assert (end, message) == ("failed", "no s3cret"), "results are built without secrets, and need no removal"
    assert told == {"error": result["error"], "invocation": result["invocation"]} and made.foreseen is None


def test_wrong_arguments(monkeypatch):
    end, message, told, made = module(monkeypatch, None, wrong="dictionary requested, s3cret is not 1234567", given={"things": []})
    assert (end, message) == ("failed", f"option things: dictionary requested, {HIDDEN} is not {HIDDEN}")
    assert told == {"invocation": {"module_args": {"shown": ["things"]}}} and not made.no_log_values
