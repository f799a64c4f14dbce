# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Breaks planner, clients and runner, one place at a time and in a copy, and looks whether their unit tests and properties notice.

python3 tests/tools/code_mutants.py [--count N] [--seed S] [--quick] [--only FILE:NUMBER] [FILE...]

N mutants (60) are drawn by lot from all that there could be, as many from each file; the same seed draws the same ones. Each is the
file with one change: a comparison, a condition or a constant turned round, a statement, an argument or a returned value left out, two
arguments or operands swapped. `--quick` runs unit tests alone, so what properties catch counts as survived. `--only` (any number of
them) runs one again, by the name that a survivor is printed with; an edit of the file gives other names. Survivors are shown as diffs;
what they mean is for a person to say. Results also go to .cache/results/code-mutants.json.
"""

from __future__ import annotations

import argparse
import ast
import copy as duplicates
import difflib
import json
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import collection
from common import CACHE, DEFAULT_CORE, ROOT, ToolError, bin_dir, environment, main, run, say
from virtualenvs import ensure

PLACE = CACHE / "code-mutants"
CODE = "plugins/module_utils"
COUNT, SEED = 60, 20261122
HUNG = 240  # seconds after which the tests of a mutant count as hung, which is noticed too; unit tests alone in a quarter of it

SIMULATED = "properties/test_against_the_simulator.py::test_tasks_one_after_the_other[{}]"

# The tests of each file, quick ones first: the first that fails ends the run.
FITTING = {
    "_plan.py": ["unit/test_plan.py", "unit/test_runner.py", "unit/test_volume_plan.py", "unit/test_settings_plan.py"],
    "_runner.py": ["unit/test_runner.py", "unit/test_items.py", "unit/test_settings_plan.py"],
    "_module.py": ["unit/test_module.py", "unit/test_runner.py"],
    "_shown.py": ["unit/test_runner.py", "unit/test_settings_plan.py", "unit/test_storage_pool_plan.py"],
    "_http.py": ["unit/test_http.py", "unit/test_storpool_client.py", "unit/test_cloudstack_client.py", "hostile/test_tls.py"],
    "_cloudstack.py": ["unit/test_foresight.py", "unit/test_cloudstack_client.py", "unit/test_settings_plan.py", "unit/test_cloud.py"],
    "_storpool.py": ["unit/test_foresight.py", "unit/test_storpool_client.py", "unit/test_runner.py", "unit/test_volume_plan.py"],
    "_units.py": ["unit/test_units.py", "unit/test_volume_plan.py", "properties/test_volume_properties.py"],
    "_options.py": ["unit/test_options.py", "unit/test_http.py", "unit/test_hosts.py"],
    "_errors.py": ["unit/test_errors.py", "unit/test_runner.py", "unit/test_options.py", "unit/test_http.py"],
    "_forms.py": ["unit/test_http.py", "unit/test_storpool_client.py", "unit/test_cloudstack_client.py"],
    "_foresight.py": ["unit/test_foresight.py"],
    "_items.py": ["unit/test_items.py", "unit/test_runner.py"],
    "_properties.py": ["unit/test_agent_properties.py", "properties/test_agent_properties.py"],
    "resources/volume.py": ["unit/test_volume_plan.py", "properties/test_volume_properties.py"],
    "resources/volume_wanted.py": ["unit/test_volume_plan.py", "properties/test_volume_properties.py"],
    "resources/_shared.py": [
        "unit/test_volume_plan.py",
        "unit/test_snapshot_plan.py",
        "unit/test_template_plan.py",
        "unit/test_template_cache_plan.py",
        "properties/test_snapshot_properties.py",
    ],
    "resources/snapshot.py": ["unit/test_snapshot_plan.py", "unit/test_snapshot_retention.py", "properties/test_snapshot_properties.py"],
    "resources/snapshot_removal.py": [
        "unit/test_snapshot_plan.py",
        "unit/test_snapshot_retention.py",
        "properties/test_snapshot_properties.py",
    ],
    "resources/snapshot_wanted.py": ["unit/test_snapshot_plan.py", "unit/test_snapshot_retention.py"],
    "resources/snapshot_world.py": ["unit/test_snapshot_plan.py", "properties/test_snapshot_properties.py"],
    "resources/backup.py": ["unit/test_snapshot_plan.py"],
    "resources/series.py": [
        "unit/test_snapshot_retention.py",
        "unit/test_cloud_snapshot_plan.py",
        "properties/test_retention_properties.py",
    ],
    "resources/retention.py": ["unit/test_snapshot_retention.py", "properties/test_retention_properties.py"],
    "resources/template.py": ["unit/test_template_plan.py", "properties/test_template_properties.py"],
    "resources/settings.py": ["unit/test_settings_plan.py", "properties/test_settings_properties.py"],
    "resources/storage_pool.py": ["unit/test_storage_pool_plan.py", SIMULATED.format("cloudstack_storage_pool")],
    "resources/cached_template.py": ["unit/test_template_cache_plan.py", SIMULATED.format("storpool_template_cache")],
    "resources/cache_place.py": ["unit/test_template_cache_plan.py", SIMULATED.format("storpool_template_cache")],
    "resources/cache_watch.py": ["unit/test_template_cache_plan.py", SIMULATED.format("storpool_template_cache")],
    "resources/orphans.py": ["unit/test_template_cache_plan.py", SIMULATED.format("storpool_template_cache")],
    "resources/image.py": ["unit/test_template_cache_plan.py", SIMULATED.format("storpool_template_cache")],
    "resources/_both_layers.py": ["unit/test_cloud_volume_plan.py"],
    "resources/_cloud.py": [
        "unit/test_cloud.py",
        "unit/test_cloud_observe.py",
        "unit/test_cloud_snapshot_plan.py",
        "unit/test_offering_plan.py",
        "unit/test_runner.py",
    ],
    "resources/cloud_series.py": [
        "unit/test_cloud_snapshot_plan.py",
        "unit/test_vm_snapshot_plan.py",
        "unit/test_cloud.py",
        "properties/test_cloud_properties.py",
    ],
    "resources/cloud_volume.py": ["unit/test_cloud_volume_plan.py", "unit/test_cloud_observe.py", SIMULATED.format("cloudstack_volume")],
    "resources/cloud_volume_changes.py": ["unit/test_cloud_volume_plan.py", SIMULATED.format("cloudstack_volume")],
    "resources/cloud_volume_wanted.py": ["unit/test_cloud_volume_plan.py", SIMULATED.format("cloudstack_volume")],
    "resources/cloud_volume_world.py": [
        "unit/test_cloud_volume_plan.py",
        "unit/test_cloud_observe.py",
        SIMULATED.format("cloudstack_volume"),
    ],
    "resources/cloud_snapshot.py": [
        "unit/test_cloud_snapshot_plan.py",
        "unit/test_cloud_observe.py",
        SIMULATED.format("cloudstack_snapshot"),
    ],
    "resources/cloud_snapshot_world.py": [
        "unit/test_cloud_snapshot_plan.py",
        "unit/test_cloud_observe.py",
        SIMULATED.format("cloudstack_snapshot"),
    ],
    "resources/cloud_foresight.py": ["unit/test_cloud_foresight.py"],
    "resources/snapshot_policy.py": ["unit/test_snapshot_policy_plan.py", SIMULATED.format("cloudstack_snapshot_policy")],
    "resources/made_template.py": ["unit/test_made_template_plan.py", SIMULATED.format("cloudstack_template")],
    "resources/vm_snapshot.py": [
        "unit/test_vm_snapshot_plan.py",
        "unit/test_cloud_observe.py",
        "properties/test_cloud_properties.py",
        SIMULATED.format("cloudstack_vm_snapshot"),
    ],
    "resources/offering.py": ["unit/test_offering_plan.py", "properties/test_cloud_properties.py"],
    "resources/hosts.py": ["unit/test_hosts.py", "unit/test_ha_plan.py"],
    "resources/host_info.py": ["unit/test_host_info.py"],
    "resources/cloud_host_info.py": ["unit/test_cloud_host_info.py"],
    "resources/cluster_info.py": ["unit/test_info_cluster.py"],
    "resources/_select.py": ["unit/test_info_select.py"],
    "resources/agent_properties.py": ["unit/test_agent_properties.py", "properties/test_agent_properties.py"],
    "resources/ha.py": ["unit/test_ha_plan.py", "properties/test_ha_properties.py"],
    "resources/ha_verdict.py": ["unit/test_ha_verdict.py", "properties/test_ha_verdict_properties.py"],
}

TURNED: dict[type, type] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr,
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One change of one file. ``start`` and ``end`` are bytes of the source, ``text`` is what comes in their place."""

    file: str
    number: int
    what: str
    line: int
    start: int
    end: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.number} (line {self.line}, {self.what})"

    def source(self, whole: bytes) -> bytes:
        return whole[: self.start] + self.text.encode() + whole[self.end :]


def _sites(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes that may be mutated: not what only people or type checkers read, and not the inside of an f-string, whose place
    in the source Python 3.11 does not tell."""
    for name, value in ast.iter_fields(tree):
        if name in ("annotation", "returns", "decorator_list", "bases"):
            continue
        for node in value if isinstance(value, list) else [value]:
            if isinstance(node, ast.JoinedStr) or not isinstance(node, ast.AST):
                continue
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                continue  # a docstring
            yield node
            yield from _sites(node)


def _turned(node: ast.AST) -> Iterator[tuple[str, ast.AST | str]]:
    """Yield what one node could become, each with a word for it."""

    def changed(**fields: object) -> ast.AST:
        new = duplicates.copy(node)
        for name, value in fields.items():
            setattr(new, name, value)
        return new

    if isinstance(node, ast.Compare):
        for number, operator in enumerate(node.ops):
            yield "comparison", changed(ops=[*node.ops[:number], TURNED[type(operator)](), *node.ops[number + 1 :]])
    elif isinstance(node, (ast.BoolOp, ast.BinOp)) and type(node.op) in TURNED:
        yield "operator", changed(op=TURNED[type(node.op)]())
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield "negation left out", node.operand
    elif isinstance(node, (ast.IfExp, ast.If, ast.While)):
        yield "condition negated", ast.UnaryOp(ast.Not(), node.test)
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield "constant", changed(value=not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        yield "constant", changed(value=node.value + 1)
        yield "constant", changed(value=node.value - 1)
    elif isinstance(node, ast.Call):
        alike = isinstance(node.func, ast.Name) and node.func.id in ("min", "max")
        if len(node.args) > 1 and not alike and not any(isinstance(one, ast.Starred) for one in node.args):
            yield "arguments swapped", changed(args=[node.args[1], node.args[0], *node.args[2:]])
        for number in range(len(node.keywords)):
            yield "argument left out", changed(keywords=[*node.keywords[:number], *node.keywords[number + 1 :]])
    elif isinstance(node, ast.Return) and node.value is not None and not isinstance(node.value, ast.Constant):
        yield "value not returned", "return None"
    elif isinstance(node, (ast.Raise, ast.Continue, ast.Break, ast.AugAssign)) or _can_go(node):
        yield "statement left out", "pass"


def _can_go(node: ast.AST) -> bool:
    """Tell whether a statement does something that code after it can do without: a name that is never set would be noticed by anything."""
    if isinstance(node, ast.Assign):
        return not isinstance(node.targets[0], (ast.Name, ast.Tuple))
    return isinstance(node, ast.Expr) and isinstance(node.value, (ast.Call, ast.Yield, ast.YieldFrom))


def mutants_of(file: str, whole: bytes) -> list[Mutant]:
    """Every mutant of one file, in the order of its lines."""
    starts = [0]
    for line in whole.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    tree = ast.parse(whole)
    found = []
    for node in _sites(tree):
        for what, new in _turned(node):
            # Of a statement with a body only the condition is replaced.
            old = node.test if isinstance(node, (ast.If, ast.While)) else node
            start, end = starts[old.lineno - 1] + old.col_offset, starts[old.end_lineno - 1] + old.end_col_offset
            text = new if isinstance(new, str) else f"({ast.unparse(new)})"
            found.append((node.lineno, start, end, what, text))
    found.sort()
    return [Mutant(file, number, what, line, start, end, text) for number, (line, start, end, what, text) in enumerate(found, 1)]


def drawn(files: list[str], sources: dict[str, bytes], count: int, seed: int) -> list[Mutant]:
    """As many mutants of each file, as far as there are any."""
    lot = random.Random(seed)
    piles = {}
    for file in files:
        piles[file] = mutants_of(file, sources[file])
        lot.shuffle(piles[file])
    chosen: list[Mutant] = []
    while len(chosen) < count and any(piles.values()):
        for file in files:
            if piles[file] and len(chosen) < count:
                mutant = piles[file].pop()
                try:
                    compile(mutant.source(sources[file]), file, "exec")
                except SyntaxError:
                    continue  # such as an assignment expression whose parentheses are in the way
                chosen.append(mutant)
    return sorted(chosen, key=lambda one: (files.index(one.file), one.number))


def noticed(place: Path, file: str, quick: bool) -> str | None:
    """Run the tests that fit a file, or only unit tests; return the first that failed, ``None`` when none did."""
    env = environment(DEFAULT_CORE)
    env.update(PYTHONPATH=str(PLACE), ANSIBLE_COLLECTIONS_PATH=str(PLACE), HYPOTHESIS_PROFILE="quick")
    fitting = [one for one in FITTING[file] if one.startswith("unit/") or not quick]
    paths = [f"tests/{one}" for one in fitting if (place / "tests" / one.partition("::")[0]).exists()]
    command = ["nice", "-n", "10", bin_dir() / "python", "-m", "pytest", "-x", "-q", "--tb=no", "-rfE", *paths]
    seconds = HUNG // 4 if quick else HUNG
    try:
        done = run(command, cwd=place, env=env, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return f"(hung for {seconds} s)"
    if done.returncode == 0:
        return None
    first = re.search(r"^(?:FAILED|ERROR) (?:tests/)?(\S+)", done.stdout, re.MULTILINE)
    if not first and "Error while loading conftest" in done.stdout:
        return "(the file cannot be imported)"
    if not first:
        raise ToolError(f"pytest ended with status {done.returncode}:\n{done.stdout[-2000:]}")
    return first.group(1)


def difference(mutant: Mutant, whole: bytes) -> str:
    before, after = whole.decode().splitlines(), mutant.source(whole).decode().splitlines()
    return "\n".join(list(difflib.unified_diff(before, after, lineterm="", n=1))[2:])


def controlled(place: Path, file: str, whole: bytes, quick: bool) -> None:
    """The tests pass with the file as it is, and they do read this copy of it."""
    path = place / CODE / file
    first = noticed(place, file, quick)
    if first:
        raise ToolError(f"{first} fails without any mutant of {file}")
    path.write_bytes(whole + b'\nraise RuntimeError("a mutant that nothing can miss")\n')
    try:
        if not noticed(place, file, quick):
            raise ToolError(f"the tests of {file} do not read {path}")
    finally:
        path.write_bytes(whole)


def options_of(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="code_mutants.py")
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", metavar="FILE:NUMBER", action="append", default=[])
    parser.add_argument("files", metavar="FILE", nargs="*")
    asked = parser.parse_args(arguments)
    given = [*asked.files, *(one.rpartition(":")[0] for one in asked.only)]
    asked.files = list(dict.fromkeys(one.removeprefix(f"{CODE}/") for one in given)) or list(FITTING)
    unknown = [one for one in asked.files if one not in FITTING]
    if unknown:
        raise ToolError(f"no tests are known for {', '.join(unknown)}; files: {', '.join(FITTING)}")
    return asked


def tool(arguments: list[str]) -> int:
    asked = options_of(arguments)
    files, only = asked.files, asked.only
    ensure(f"core-{DEFAULT_CORE}")
    place = collection.copy(PLACE)
    sources = {file: (place / CODE / file).read_bytes() for file in files}
    if only:
        chosen = [one for file in files for one in mutants_of(file, sources[file]) if f"{file}:{one.number}" in only]
    else:
        chosen = drawn(files, sources, asked.count, asked.seed)
    say(f"{len(chosen)} mutants of {len(files)} files" + ("" if only else f", seed {asked.seed}"))
    ends: dict[str, list[int]] = {}
    kept = []
    started = time.monotonic()
    for file in files:
        mine = [one for one in chosen if one.file == file]
        if not mine:
            continue
        controlled(place, file, sources[file], asked.quick)
        path = place / CODE / file
        for mutant in mine:
            try:
                path.write_bytes(mutant.source(sources[file]))
                first = noticed(place, file, asked.quick)
            finally:
                path.write_bytes(sources[file])
            ends.setdefault(file, [0, 0])[0 if first else 1] += 1
            shown = difference(mutant, sources[file])
            kept.append({"mutant": str(mutant), "caught": first, "diff": shown})
            print(f"caught    {mutant}: {first}" if first else f"SURVIVED  {mutant}\n{shown}", flush=True)
    results = CACHE / "results" / "code-mutants.json"
    results.parent.mkdir(parents=True, exist_ok=True)
    results.write_text(json.dumps({"seed": asked.seed, "mutants": kept}, indent=1), encoding="utf-8")
    for file, (caught, survived) in ends.items():
        print(f"{file:28} {caught:4} caught {survived:4} survived")
    caught, survived = (sum(one[number] for one in ends.values()) for number in (0, 1))
    print(f"{len(chosen)} mutants: {caught} caught, {survived} survived, in {time.monotonic() - started:.0f} s", flush=True)
    # A survivor is a question, not a failure; a run that catches nothing is one.
    return 0 if caught or (only and chosen) else 1


if __name__ == "__main__":
    assert ROOT not in PLACE.parents or CACHE in PLACE.parents
    sys.exit(main(tool))
