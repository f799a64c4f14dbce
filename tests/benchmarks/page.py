# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Draws the results of the benchmark: a page with tables, and charts beside it. Every number on the page comes from the results."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot

CHARTS = "performance"
NOTICEABLE = 0.05  # of the processors; when others took more, the page says so
WIDE = 30  # bars whose longest is so many times the shortest get a logarithmic scale
COLOURS = {
    "nothing": "#9aa0a6",
    "bare": "#5f6b7a",
    "bindings": "#e69f00",
    "ours": "#0b7a4b",
    "module": "#56b48c",
    "peer": "#a05195",
}
STYLE = {
    "svg.fonttype": "none",  # texts stay texts: smaller, and they can be searched
    "svg.hashsalt": "storpool.cloudstack",  # the same results give the same file
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e6e8",
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
}

Group = dict[str, Any]
Row = dict[str, Any]


@dataclass(frozen=True)
class Section:
    """A part of the page: the groups whose id matches, in one chart and a table each."""

    title: str
    ids: str
    chart: str
    text: str

    def groups(self, results: dict[str, Any]) -> list[list[Group]]:
        """Return the groups by title, each at all its latencies."""
        found: dict[str, list[Group]] = {}
        for group in results["groups"]:
            if re.fullmatch(self.ids, group["id"]):
                found.setdefault(group["title"], []).append(group)
        return list(found.values())


def sections(results: dict[str, Any]) -> list[Section]:
    """Return the sections, one for each number of volumes."""
    sizes = sorted({int(group["id"].split("-")[1]) for group in results["groups"] if group["id"].startswith("bulk-")})
    return [
        Section(
            "One task",
            "single|setting",
            "one",
            "What is asked about is there already and as declared, so that a task only reads. The tasks of other collections are about "
            "things of theirs that are alike: a volume, a pool, a setting.",
        ),
        Section(
            "A loop",
            "loop",
            "loop",
            "The tasks of a loop share one connection as long as they run in the controller's worker. As ordinary modules, each starts a "
            "Python of its own.",
        ),
        *(
            Section(
                f"{size:,} volumes in one task",
                f"bulk-{size}-.*",
                f"bulk-{size}",
                "Volumes are declared in a file (`volumes_src`), which the task itself reads. Writes go out 8 at a time, as they do when "
                "nothing is said; the bindings' loop is what a script makes of them, one write after the other.",
            )
            for size in sizes
        ),
        Section(
            "Many writes at a time",
            "goal",
            "goal",
            "The row that goals were set for before anything was written: 16 writes at a time, a little latency.",
        ),
        Section(
            "Other work on StorPool",
            "info|group",
            "storpool",
            "Ansible copies every object of a result several times, so that few fields are cheaper than all. Snapshots of one instant are "
            "one write, whoever sends it.",
        ),
        Section(
            "Work on CloudStack",
            "settings|settings-changed|role|hosts|templates",
            "cloudstack",
            "Measured against the simulated CloudStack, whose own time is in every bar alike.",
        ),
    ]


def write(results: dict[str, Any], directory: Path) -> Iterator[Path]:
    """Write the page and its charts and yield their paths; charts that no longer belong to the page are removed."""
    charts = directory / CHARTS
    charts.mkdir(parents=True, exist_ok=True)
    parts = [_head(results), _goals(results)]
    made: list[Path] = []

    def chart(name: str, draw: Callable[[Path], None], title: str) -> str:
        path = charts / f"{name}.svg"
        with pyplot.rc_context(STYLE):
            draw(path)
        made.append(path)
        return f"![{title}]({CHARTS}/{name}.svg)"

    overview = [group for group in results["groups"] if group["id"] != "growth" and _least(group)]
    if overview:
        title = "How far from the least that it could take"
        picture = chart("overview", lambda path: _draw_overview(overview, path), title)
        parts.append(f"## {title}\n\n{OVERVIEW}\n\n{picture}")
    for section in sections(results):
        groups = section.groups(results)
        if groups:
            picture = chart(section.chart, lambda path, groups=groups: _draw_bars(groups, path), section.title)
            tables = "\n\n".join(f"### {same[0]['title']}\n\n{_table(same)}" for same in groups)
            parts.append(f"## {section.title}\n\n{section.text}\n\n{picture}\n\n{tables}")
    growing = [group for group in results["groups"] if group["id"] == "growth"]
    if growing:
        picture = chart("growth", lambda path: _draw_growth(growing, path), "How cost grows")
        parts.append(f"## How cost grows\n\n{GROWTH}\n\n{picture}\n\n{_growth_table(growing)}")
    page = directory / "performance.md"
    page.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    for old in set(charts.glob("*.svg")) - set(made):
        old.unlink()
    yield page
    yield from made


# -- the page

OVERVIEW = (
    "The time of a task of ours, with all of `ansible-playbook`, over that of an empty play and a bare client together: a client of a page "
    "of code that makes the least calls over kept connections, with nothing declared, checked, predicted or read back. "
    "1 is what cannot be beaten."
)
GROWTH = (
    "A straight line is growth in proportion to the number of volumes, over what a play costs anyhow (dotted). Dashed are bare clients "
    "that do the same. Memory is of all processes together, pages they share counted once; a creation has `return_objects: none`. "
    "In the table, what is beyond an empty play is by the quickest rounds of both."
)


def _head(results: dict[str, Any]) -> str:
    machine = results["machine"]
    versions = ", ".join(f"{name} {one}" for name, one in results["versions"].items())
    lines = [
        "<!-- Made by `make bench` from tests/benchmarks/results.json; not to be edited. -->",
        "# What it costs",
        "",
        "Whole processes side by side, in turn, so that a slow moment of the machine hits all alike: seconds are medians; ratios are taken "
        "within each round, and their median is told, with the lowest and the highest in brackets. Ratios can be compared between "
        "machines, seconds cannot. Latency is what a server waits before each answer. Memory is of the largest process; calls are counted "
        "by the server. `make bench` measures again and writes this page.",
        "",
        f"Measured on {results['when'][:10]} at commit {results['commit']}, in up to {results['rounds']} rounds and "
        f"{results['took_seconds'] / 60:.0f} minutes: {machine['cores']} cores ({machine['processor']}), {machine['memory_gib']} GiB, "
        f"{machine['system']}. {versions}.",
    ]
    if results["small"]:
        lines += ["", "**A quick run, to see that it works: its numbers say nothing about speed.**"]
    elif not results["whole"]:
        lines += ["", "**Not the whole of it: fewer rows, sizes or rounds were asked for than `make bench` has by itself.**"]
    if machine["others"] > NOTICEABLE:
        lines += ["", f"**The machine was busy: other programs took {machine['others']:.0%} of its processors meanwhile.**"]
    return "\n".join(lines)


def _goals(results: dict[str, Any]) -> str:
    rows = [
        [
            goal["title"],
            goal["wanted"],
            f"{goal['reached']:.2f}{'' if goal['unit'] == 'x' else ' '}{goal['unit']}",
            "yes" if goal["met"] else "**no**",
        ]
        for goal in results["goals"]
    ]
    return "## Goals\n\n" + _markdown(["", "wanted", "reached", "met"], rows, right=(2,)) if rows else "No goal was asked for."


def _markdown(heads: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int]) -> str:
    rules = ["---:" if number in right else "---" for number in range(len(heads))]
    return "\n".join("| " + " | ".join(row) + " |" for row in (heads, rules, *rows))


def _spread(ratio: dict[str, float]) -> str:
    told = [f"{ratio[key]:.{1 if ratio['median'] >= 10 else 2}f}" for key in ("median", "lowest", "highest")]
    return told[0] if told[1] == told[2] else f"{told[0]} ({told[1]}-{told[2]})"


def _table(groups: Sequence[Group]) -> str:
    heads = ["", *(f"{what}, {group['latency_ms']:g} ms" for group in groups for what in ("seconds", "of an empty play", "of ours"))]
    rows = []
    for number, row in enumerate(groups[0]["rows"]):
        cells = [row["name"]]
        for group in groups:
            same = group["rows"][number]
            cells += [f"{same['median']:.2f}", _spread(same["of_base"]), _spread(same["of_ours"])]
        calls = [str(row["calls"].get(key, "")) for key in ("reads", "writes", "connections")]
        all_of_it = "" if row["all_processes_mib"] is None else f"{row['all_processes_mib']:.0f}"
        rows.append([*cells, *calls, f"{row['largest_process_mib']:.0f}", all_of_it])
    heads += ["reads", "writes", "connections", "MiB", "MiB, all processes"]
    return _markdown(heads, rows, right=range(1, len(heads)))


def _growth_table(groups: Sequence[Group]) -> str:
    rows = []
    for group in groups:
        base, *others = group["rows"]
        for row in others:
            calls = str(sum(row["calls"].get(key, 0) for key in ("reads", "writes")))
            memory = "" if row["all_processes_mib"] is None else f"{row['all_processes_mib']:.0f}"
            beyond = _beyond(row, base)
            each = f"{beyond / group['objects'] * 1e6:.0f}"
            rows.append([f"{group['objects']:,}", row["name"], f"{row['median']:.2f}", f"{beyond:.2f}", each, calls, memory])
    heads = ["volumes", "", "seconds", "beyond an empty play", "microseconds a volume", "calls", "MiB, all processes"]
    return _markdown(heads, rows, right=(0, 2, 3, 4, 5, 6))


def _beyond(row: Row, base: Row) -> float:
    """Return the seconds of a play beyond those of an empty one, by the quickest rounds of both; a bare client's are its own."""
    return max(0.001, min(row["seconds"]) - (0.0 if row["kind"] == "bare" else min(base["seconds"])))


# -- the charts


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    pyplot.close(figure)
    # A third of it is indentation and millionths of a point.
    lines = re.sub(r"(\.\d\d)\d+", r"\1", path.read_text(encoding="utf-8")).splitlines()
    path.write_text("\n".join(line.strip() for line in lines) + "\n", encoding="utf-8")


def _draw_bars(titles: Sequence[Sequence[Group]], path: Path) -> None:
    """Draw one panel for each title, one bar for each contender and latency."""
    heights = [1.1 + sum(0.5 + 0.5 * (len(groups) > 1) for _row in groups[0]["rows"]) for groups in titles]
    figure, panels = pyplot.subplots(
        len(titles), 1, figsize=(9.5, 0.36 * sum(heights) + 0.3), height_ratios=heights, squeeze=False, layout="constrained"
    )
    for panel, groups in zip(panels[:, 0], titles, strict=True):
        rows, thick = groups[0]["rows"], 0.8 / len(groups)
        longest = max(max(row["seconds"]) for group in groups for row in group["rows"])
        shortest = min(row["median"] for group in groups for row in group["rows"])
        logarithmic = longest > WIDE * shortest
        for place, group in enumerate(groups):
            for number, row in enumerate(group["rows"]):
                y = number + (place - (len(groups) - 1) / 2) * thick
                panel.barh(y, row["median"], 0.9 * thick, color=COLOURS[row["kind"]], alpha=1 - 0.45 * place)
                panel.hlines(y, min(row["seconds"]), max(row["seconds"]), color="#202124", linewidth=0.8)
                label = f"{row['median']:.2f} s, {row['of_base']['median']:.{1 if row['of_base']['median'] >= 10 else 2}f}x"
                beyond = max(row["seconds"]) * 1.03 if logarithmic else max(row["seconds"]) + longest * 0.008
                panel.text(beyond, y, label, va="center", fontsize=7, color="#3c4043")
        panel.set_yticks(range(len(rows)), [row["name"] for row in rows])
        panel.invert_yaxis()
        panel.grid(axis="y", visible=False)
        if logarithmic:
            panel.set_xscale("log")
            panel.set_xlim(shortest / 1.6, longest * 2.4)
            panel.xaxis.set_major_formatter("{x:g}")
            panel.minorticks_off()
        else:
            panel.set_xlim(0, longest * 1.18)
        of = " and, paler, ".join(f"{group['latency_ms']:g} ms" for group in groups)
        panel.set_title(f"{groups[0]['title']} - {of} latency")
        panel.set_xlabel("seconds, logarithmic; x: times an empty play" if logarithmic else "seconds; x: times an empty play", fontsize=8)
    _save(figure, path)


def _of_kind(group: Group, kind: str) -> Row | None:
    return next((row for row in group["rows"] if row["kind"] == kind), None)


def _least(group: Group) -> list[float] | None:
    """Return the ratios of ours to an empty play and the bare client together, round by round."""
    ours, bare = _of_kind(group, "ours"), _of_kind(group, "bare")
    if not ours or not bare:
        return None
    return [
        mine / (empty + least) for mine, empty, least in zip(ours["seconds"], group["rows"][0]["seconds"], bare["seconds"], strict=False)
    ]


def _draw_overview(groups: Sequence[Group], path: Path) -> None:
    """Draw a dot with its spread for each group and latency."""
    titles = list(dict.fromkeys(group["title"] for group in groups))
    latencies = sorted({group["latency_ms"] for group in groups})
    figure, panel = pyplot.subplots(figsize=(9.5, 0.3 * len(titles) + 1.1), layout="constrained")
    for place, latency in enumerate(latencies):
        shift = (place - (len(latencies) - 1) / 2) * 0.24
        colour = ("#0b7a4b", "#e69f00", "#a05195")[place % 3]
        drawn = [(titles.index(group["title"]) + shift, _least(group) or []) for group in groups if group["latency_ms"] == latency]
        for y, ratios in drawn:
            panel.hlines(y, min(ratios), max(ratios), color=colour, linewidth=1)
        panel.plot(
            [median(ratios) for _y, ratios in drawn], [y for y, _ratios in drawn], "o", color=colour, markersize=4, label=f"{latency:g} ms"
        )
    panel.axvline(1, color="#202124", linewidth=0.8)
    panel.set_yticks(range(len(titles)), titles)
    panel.invert_yaxis()
    panel.set_xlim(left=0)
    panel.set_xlabel("times as long as an empty play and a bare client together")
    panel.legend(title="latency", loc="best", fontsize=8, frameon=False)
    _save(figure, path)


def _draw_growth(groups: Sequence[Group], path: Path) -> None:
    """Draw seconds, memory and calls over the number of objects."""
    names = [row["name"] for row in groups[0]["rows"] if row["kind"] == "ours"]
    measures: dict[str, Callable[[Row], float | None]] = {
        "seconds": lambda row: row["median"],
        "MiB, all processes": lambda row: row["all_processes_mib"],
        "calls": lambda row: row["calls"]["reads"] + row["calls"]["writes"],
    }
    figure, panels = pyplot.subplots(1, len(measures), figsize=(9.5, 3.6), layout="constrained")
    for panel, (title, measure) in zip(panels, measures.items(), strict=True):
        for prefix, style, alpha in (("bare client: ", "--", 0.7), ("", "o-", 1.0)):
            for name, colour in zip(names, ("#0b7a4b", "#a05195", "#e69f00"), strict=True):
                points = []
                for group in groups:
                    row = next(one for one in group["rows"] if one["name"] == prefix + name)
                    value = measure(row)
                    if value is not None:
                        points.append((group["objects"], value))
                if points:
                    label = None if prefix else name
                    panel.plot(*zip(*points, strict=True), style, color=colour, linewidth=1, markersize=3.5, alpha=alpha, label=label)
        empty = [value for group in groups if (value := measure(group["rows"][0])) is not None]
        if empty:
            panel.axhline(median(empty), linestyle=":", color="#5f6b7a", linewidth=1)
        panel.set_xlim(left=0)
        panel.set_ylim(bottom=0)
        panel.set_title(title)
        panel.set_xlabel("volumes")
        panel.xaxis.set_major_formatter("{x:,.0f}")
        panel.yaxis.set_major_formatter("{x:,g}")
        panel.tick_params(labelsize=7)
    panels[0].legend(fontsize=8, frameon=False, loc="upper left")
    _save(figure, path)
