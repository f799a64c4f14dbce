# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The same properties for every module, with both simulated systems in place of models, and everything done that a task does.

Tasks follow each other in one world, so that each finds what the earlier ones left behind. Nothing is known here of what a task should do:
check mode has to have told it, the second run has to be silent, and what was refused has to leave everything as it was.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import test_snapshot_properties as snapshots
import test_template_properties as templates
import test_volume_properties as volumes
from ansible_collections.storpool.cloudstack.plugins.module_utils import _foresight, _runner
from ansible_collections.storpool.cloudstack.plugins.module_utils._errors import OptionError
from hypothesis import Phase, event, given, settings
from hypothesis import strategies as st
from integration.conftest import connection, declared, validated
from prediction import unlike
from stories import STORIES, Story, filled, several
from things import checked
from ways import ROOT, module_of

# Kinds of errors that are known before anything is sent.
REFUSED = ("bad_option", "refused")

some = settings(max_examples=settings.default.max_examples // 16)


# Volumes and snapshots share their names. The real run leaves it to StorPool to say so; check mode looks by itself.
TAKEN = "objectExists"
SHARED = "volumes and snapshots share their names"


def told(result: dict[str, Any]) -> str:
    shown = {key: value for key, value in result.items() if key not in ("invocation", "api")}
    return json.dumps(shown, ensure_ascii=False, default=str)[:1500]


def objects(story: Story, result: dict[str, Any], every: Sequence[Mapping[str, Any]]) -> list[Any]:
    """The objects of a result, without what the answers to writes do not tell: when they were made, and what becomes of them by itself."""
    found = json.loads(json.dumps([entry["object"] for entry in result[story.option]]))
    for document, options in zip(found, every if len(found) == len(every) else [{}] * len(found), strict=True):
        for one in (document or {}).get("snapshots", [document] if document else []):
            one.pop("created", None)
            one.get("ha", {}).pop("state", None)
            if one.get("value") == "(hidden, changed)":
                one["value"] = "(hidden)"
            for key, option in (("attachments", "attach_to"), ("exported_to", "export_to")):
                if key in one and (one[key] == [] or len(every) > 1) and option not in options:
                    one[key] = None  # of what was made just now it is known, of what was there already nobody, or another entry, asked
            if options.get("verify") == "off":
                one.pop("backup", None)  # so is this
    return found


def one_task(lab: Any, story: Story, every: list[dict[str, Any]]) -> str:
    """Run a task with one object or several in check mode, for real, and again; return how it ended."""
    every = filled(lab, every)
    options = every[0] if len(every) == 1 else {story.option: every, "return_objects": "all"}
    unseen, anew = any(map(story.unseen, every)), any(map(story.anew, every))
    renewals = [call for one in every for call in story.renews(one)]
    before = story.state(lab)
    lab.simulator.reset_calls()
    said = lab.run(story.module, options, check=True)
    assert lab.writes() == [], f"check mode wrote: {options}"
    real = lab.run(story.module, options)
    wrote = lab.writes()
    if said.get("failed") or real.get("failed"):
        error = real.get("error") or {}
        assert error.get("type") != "defect", f"{options}: {told(real)}"
        assert story.state(lab) == before, f"{options}: {told(real)}"
        assert said.get("failed") and real.get("failed"), f"{options}\ncheck mode said {told(said)}\nthe real run {told(real)}"
        if SHARED in said["msg"]:
            assert error.get("name") == TAKEN or said["msg"] == real["msg"], f"{options}: {told(real)}"
            return "refused"
        assert said["msg"] == real["msg"], f"{options}\ncheck mode said {told(said)}\nthe real run {told(real)}"
        assert wrote == [] and not real["changed"], f"{options}: failed after {wrote}: {told(real)}"
        assert error.get("type") in REFUSED, f"{options}: {told(real)}"
        return "refused"
    assert unlike(said, real) == [], f"{options}"
    after = story.state(lab)
    if real["changed"]:
        assert wrote, f"{options} changed something without a write: {told(real)}"
        assert after != before or unseen, f"{options} changed nothing: {told(real)}"
    else:
        assert wrote == renewals and after == before, f"{options} is said to have changed nothing: {wrote}, {told(real)}"
    lab.simulator.reset_calls()
    again = lab.run(story.module, options)
    if not anew:
        assert not again.get("failed") and not again["changed"], f"{options}\ndone: {told(real)}\nagain: {told(again)}"
        assert lab.writes() == renewals, f"{options}"
        differ = unlike(objects(story, real, every), objects(story, again, every))
        # What a snapshot stands on goes by the order in which those of a list come and go; what a copy stands on has no name before.
        chained = len(every) > 1 or "base_on" in options
        assert [line for line in differ if not (chained and line.partition(":")[0].endswith((".parent", ".on_volume")))] == [], (
            f"{options}: {differ}"
        )
        assert story.state(lab) == after
    return "changed" if real["changed"] else "unchanged"


@pytest.mark.parametrize("module", STORIES)
@some
@given(data=st.data())
def test_tasks_one_after_the_other(module, data, world_of):
    """What check mode predicts comes to be, on both systems; the second run is silent; what is refused changes nothing."""
    story = STORIES[module]
    tasks = data.draw(st.lists(several(story, 1, 2), min_size=1, max_size=3))
    lab = world_of(story)
    for every in tasks:
        event(f"{module}: {one_task(lab, story, every)}, of {len(every)}")


def check_run(lab: Any, tasks: list[tuple[str, dict[str, Any]]]) -> list[dict[str, Any]]:
    """What a run in check mode says of each task, up to the first that fails: each knows what the earlier ones would leave behind."""
    results: list[dict[str, Any]] = []
    left: list[Any] = []
    for module, options in tasks:
        given = validated(module, {**connection(lab.simulator, module), **options})
        results.append(_runner.execute(declared(module), {**given, _foresight.OPTION: left}, True, False, lab.clients))
        left = [*left, *json.loads(json.dumps(results[-1].pop(_foresight.OPTION, [])))]
        if results[-1].get("failed"):
            break
    return results


def the_tasks_of_a_run(lab: Any, tasks: list[tuple[str, dict[str, Any]]]) -> str:
    tasks = [list(task) for task in filled(lab, tasks)]
    lab.simulator.reset_calls()
    said = check_run(lab, tasks)
    assert lab.writes() == [], f"check mode wrote: {tasks}"
    for (module, options), before in zip(tasks, said, strict=False):
        real = lab.run(module, options)
        if any("CloudStack chooses" in warning for warning in before.get("warnings", ())):
            return "not known"
        about = f"{module} {options} of {tasks}\ncheck mode said {told(before)}\nthe real run {told(real)}"
        assert bool(before.get("failed")) == bool(real.get("failed")), about
        if before.get("failed"):
            assert SHARED in before["msg"] or before["msg"] == real["msg"], about
            return f"refused after {len(said) - 1}"
        assert unlike(before, real) == [], f"{unlike(before, real)}\n{about}"
    return f"{sum(one['changed'] for one in said)} changed"


@pytest.mark.parametrize("module", STORIES)
@some
@given(data=st.data())
def test_a_check_run_of_several_tasks_foretells_all_of_them(module, data, world_of):
    """Each task of a run in check mode knows what the earlier ones would leave behind."""
    story = STORIES[module]
    every = [one for one in data.draw(st.lists(story.wishes(), min_size=2, max_size=4)) if not (story.anew(one) or story.secret(one))]
    event(f"{module}: {the_tasks_of_a_run(world_of(story), [(module, options) for options in every])}")


def ended(lab: Any, story: Story, entries: list[dict[str, Any]]) -> Any:
    entries = filled(lab, entries)
    result = lab.run(story.module, {story.option: entries})
    if result.get("failed"):
        if (result.get("error") or {}).get("name") == TAKEN:
            return "refused"
        assert (result.get("error") or {}).get("type") in REFUSED, told(result)
        return "refused"
    again = lab.run(story.module, {story.option: entries})
    if "under two names" in again.get("msg", ""):
        return "refused"  # what was not there yet could not be known to be the same
    assert not again.get("failed") and (not again["changed"] or any(map(story.anew, entries))), f"{entries}: {told(again)}"
    return without_chains(story.state(lab))


# Of what a snapshot stands on, and how much of that is its own
CHAINED = ("parentName", "firstNotParentObjectId", "onVolume")


def without_chains(state: Any) -> Any:
    """A state without what StorPool makes of the order in which snapshots of one volume were taken."""
    if isinstance(state, dict):
        return {key: without_chains(value) for key, value in state.items() if key not in CHAINED}
    return [without_chains(value) for value in state] if isinstance(state, list) else state


@pytest.mark.parametrize("module", STORIES)
@some
@given(data=st.data())
def test_the_order_of_a_list_does_not_matter(module, data, world_of):
    story = STORIES[module]
    entries = data.draw(several(story, 2, 3))
    mixed = data.draw(st.permutations(entries))
    ends = []
    for order in (entries, mixed):
        ends.append(ended(world_of(story), story, copy.deepcopy(order)))
    event(f"{module}: {'refused' if ends[0] == 'refused' else 'done'}")
    assert ends[0] == ends[1]


# -- the models of the other properties, held to the simulator


def attachments(lab: Any, of_snapshots: bool) -> dict[str, dict[int, str]]:
    found: dict[str, dict[int, str]] = {}
    for one in lab.get("AttachmentsList"):
        if one["snapshot"] is of_snapshots:
            found.setdefault(one["volume"], {})[one["client"]] = one["rights"]
    return found


def standing(lab: Any) -> list[dict[str, Any]]:
    """The snapshots without those that go by themselves: deleted ones, and those between a volume and its copy."""
    return [one for one in lab.get("SnapshotsList") if not (one["deleted"] or one["name"].startswith("*"))]


def model_of_volumes(lab: Any) -> Any:
    stored = {one["name"]: one["storedSize"] for one in lab.get("VolumesSpace")}
    listed = [{**one, "written": stored.get(one["name"], 0)} for one in lab.get("VolumesList")]
    known = {one["name"]: one for one in lab.get("VolumeTemplatesList")}
    return volumes.Model(listed, standing(lab), attachments(lab, False), known)


def model_of_snapshots(lab: Any) -> Any:
    model = snapshots.Model(standing(lab), int(time.time()))
    model.theirs = {one["name"]: one for one in lab.get("VolumesList")}
    model.known = {one["name"]: one for one in lab.get("VolumeTemplatesList")}
    model.attached = attachments(lab, True)
    names = {one["globalId"]: name for name, one in model.snaps.items()}
    for export in lab.get("ExportsList")["exports"]:
        model.exported.setdefault(names[export["globalId"]], set()).add(export["location"])
    return model


def model_of_templates(lab: Any) -> Any:
    return templates.Model(
        [{key: value for key, value in one.items() if key not in ("id", "limitType")} for one in lab.get("VolumeTemplatesList")],
        [*lab.get("VolumesList"), *standing(lab)],
    )


def shown(module: str, model: Any) -> Any:
    """The state of a model without what differs between two that did the same."""
    if module == "storpool_template":
        every, objects = model.state()
        keys = ("name", "templateName", *templates.CARRIED)
        return every, [{key: one[key] for key in keys if key in one} for one in objects]
    if module == "storpool_snapshot":
        return {name: {**one, "delete_at": None} for name, one in model.state().items()}
    return model.state()


MODELS = {
    "storpool_volume": (volumes, model_of_volumes),
    "storpool_snapshot": (snapshots, model_of_snapshots),
    "storpool_template": (templates, model_of_templates),
}


# What comes from another location, and goes there, is in no model.
BEYOND_THE_MODELS = {"remote", "backup_to"}


@pytest.mark.parametrize("module", MODELS)
@some
@given(data=st.data())
def test_a_plan_applied_to_the_model_is_the_simulator_after_a_real_run(module, data, world_of):
    story = STORIES[module]
    tests, model_of = MODELS[module]
    every = data.draw(st.lists(story.wishes(), min_size=1, max_size=3))
    what = module_of(module).DECLARED
    lab = world_of(story)
    for options in filled(lab, every):
        if options.keys() & BEYOND_THE_MODELS:
            continue
        model = model_of(lab)
        try:
            wanted = what.resource.parse(checked(what, **options), time.time())
        except OptionError:
            continue
        groups, plans = tests.planned(model, [wanted])
        real = lab.run(module, options)
        assert bool(plans[0].refused) == bool(real.get("failed")), f"{options}: {plans[0].refused}; {told(real)}"
        if plans[0].refused:
            continue
        tests.carried_out(model, groups, plans)
        assert shown(module, model) == shown(module, model_of(lab)), f"{options}: {told(real)}"
        event(f"{module}: {'changed' if real['changed'] else 'unchanged'}")


# -- nothing is forgotten


def changing_modules() -> list[str]:
    """The modules that plan: those whose declaration has a resource, and reads nothing alone."""
    found = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("[a-z]*.py"))
    return [name for name in found if hasattr(module_of(name).DECLARED, "resource")]


def test_every_module_that_plans_has_a_story():
    assert changing_modules() == sorted(STORIES)


# Options that no story draws, with the reason.
NOT_DRAWN: dict[str, dict[str, str]] = {
    "storpool_volume": {"wait_timeout": "how long to wait changes no end"},
    "storpool_snapshot": dict.fromkeys(("wait", "wait_timeout"), "whether and how long to wait changes no end, but what is seen at once"),
    "storpool_template_cache": dict.fromkeys(
        ("image", "format", "checksum", "template", "tags", "client", "device_directory", "verify", "progress_file"),
        "of images, which need devices: see tests/integration/test_template_images.py",
    ),
    "storpool_ha": {"storpool_conf": "of a host: see tests/integration/test_storpool_ha.py"},
}


@pytest.mark.parametrize("module", STORIES)
def test_stories_use_all_that_can_be_declared(module):
    """Each option that a module has is drawn for it, and more than one of its choices."""
    drawn: dict[str, set[str]] = {}
    story, item = STORIES[module], module_of(module).DECLARED.item

    @settings(max_examples=250, derandomize=True, database=None, phases=[Phase.generate])
    @given(story.wishes())
    def draw(options):
        for name, value in options.items():
            drawn.setdefault(name, set()).add(repr(value))

    draw()
    assert sorted(drawn.keys() - item.keys()) == [] and sorted(item.keys() - drawn.keys()) == sorted(NOT_DRAWN.get(module, {}))
    for name, values in drawn.items():
        choices = set(map(repr, item[name].get("choices", ())))
        assert len(choices & values) >= min(2, len(choices)), f"only {values} of {name}"
