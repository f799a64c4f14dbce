# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook storpool.cloudstack.warm_template_cache, by its name: check mode, the real run, another one, and what it refuses."""

from __future__ import annotations

import json
from functools import partial

import pytest
from conftest import CLOUDSTACKS
from prediction import differences, not_silent

TASK = "The templates are cached"


@pytest.fixture(params=[CLOUDSTACKS[-1]])
def simulator(request, cloud_of):
    return cloud_of(request.param)


on_oldest_and_newest = pytest.mark.parametrize("simulator", [CLOUDSTACKS[0], CLOUDSTACKS[-1]], indirect=True)


@pytest.fixture
def warm(play):
    """`warm(names=[...])` runs it with warm_template_cache_names and so on."""
    return partial(play, "warm_template_cache", env={"ANSIBLE_SHOW_CUSTOM_STATS": "true"})


def told(run):
    """The diff as a person sees it, and the summary."""
    return run.result(TASK)["diff"], run.result("Summary")["msg"]


@on_oldest_and_newest
@pytest.mark.parametrize(
    "given",
    [
        {"names": ["debian-12", "small-raw"], "zone": "sofia", "parallel": 2},
        {"names": "debian-12,small-raw", "pools": "storpool-nvme", "wait_timeout": "5m"},
        {"templates": [{"name": "debian-12"}, {"name": "small-raw", "pools": ["storpool-nvme"]}], "zone": "sofia"},
        {"filter": {"name": ["debian-*", "small-*"], "featured": True}},
    ],
)
def test_check_mode_tells_the_truth(warm, calls, given):
    calls()
    predicted = warm(check=True, **given)
    assert (predicted.rc, calls().writes) == (0, []), predicted.output
    real = warm(**given)
    assert real.rc == 0, real.output
    assert differences(predicted, real) == [] and told(predicted) == told(real)
    assert told(real)[1] == ["debian-12: prepare on storpool-nvme", "small-raw: prepare on storpool-nvme"]
    assert '"changed": 2' in real.output
    calls()
    again = warm(**given)
    assert not_silent(again, calls().writes) == [] and told(again)[1] == ["debian-12: was cached already", "small-raw: was cached already"]


def test_it_keeps_when_told_to(warm, calls):
    warm(names=["small-raw"])
    calls()
    run = warm(names=["small-raw"], keep=True)
    assert (run.rc, run.changed, calls().writes) == (0, 0, ["prepareTemplate"]), run.output


def test_all_are_tried(warm):
    run = warm(names=["no-such", "small-raw"])
    assert run.rc == 2
    result = run.result(TASK)
    assert result["summary"] == {"declared": 2, "changed": 1, "unchanged": 0, "failed": 1, "not_attempted": 0}
    assert "is no template in zone sofia" in result["msg"]


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({}, "Give one of warm_template_cache_names"),
        ({"names": ["a"], "filter": {"featured": True}}, "Give one of warm_template_cache_names"),
        ({"names": ["a"], "nmaes": ["b"]}, "Nobody knows the variables warm_template_cache_nmaes"),
        ({"names": ["a"], "parallel": "many"}, "warm_template_cache_parallel"),
        ({"names": ["a"], "keep": "perhaps"}, "warm_template_cache_keep"),
        ({"filter": ["a"]}, "warm_template_cache_filter"),
        ({"names": []}, "There is nothing in warm_template_cache_names"),
        ({"names": ["a"], "pools": []}, "There is nothing in warm_template_cache_pools"),
    ],
)
def test_variables_that_cannot_be_meant(warm, calls, given, problem):
    calls()
    run = warm(**given)
    assert run.rc == 2 and problem in json.dumps(run.failures), run.output
    assert calls().entries == []
