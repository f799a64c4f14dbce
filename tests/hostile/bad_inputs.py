# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes inputs that nobody should give, from the argument specs alone: a module or role that is added is covered by itself."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

# A secret of a test has this in it, whatever else; it may appear nowhere.
MARK = "MarkedSecret7391"

HUGE = "9" * 400
TEXTS = [
    "", " ", "a" * 5000, "\x00", "a\x00b",
    "\x1b[31mred\x1b[0m", "two\nlines", "tab\there", "naïve", "имя", "卷", "😀", "\u202eright to left", "\ud800",
    "../../etc/passwd", "a/b", "a b", "-", "~", "#", "~~", "list", "status", "'; drop", "$(id)", "{{ x }}", "%s%n", "10X", "1..5G", "-5G",
    "NaN", "inf", HUGE, "0x10", "1e5", "٣", "null", "a\r\nX-Injected: yes", "x" * 200, ["a"], [], {"a": 1}, {}, True, 1.5, 10**40, -1, 0,
]  # fmt: skip
NUMBERS = ["x", "", " ", 1.5, -1, 0, 10**30, -(10**30), [], {}, True, "1e5", "٣", "0x10", HUGE, "1 2", "NaN", [1], {"a": 1}, 65536, 1 << 31]
FLAGS = ["perhaps", "", 2, -1, [], {}, "yes no", 0.5, HUGE, "\x00"]
LISTS = [
    "",
    "a,,b",
    {},
    {"a": 1},
    [None],
    [[]],
    [{}],
    ["", ""],
    ["a", "a"],
    ["\x00"],
    5,
    -1,
    True,
    [["a"]],
    ["a" * 5000],
    ["имя"],
    [1.5],
    [{"a": {}}],
    ["x"] * 3000,
]
MAPS = ["x", "", [], ["a"], 5, {"": ""}, {"a": {"b": {}}}, {"k\x00": "v"}, {"ключ": "v"}, {"k": "значение"}, {"k": ["v"]}, {"k" * 300: "v"},
        {"k": "v" * 5000}, "{", "a=", {"a b": "c d"}, {"k": None}, {"k\r\nX-Injected": "yes"}]  # fmt: skip
UNKNOWN = ["gone", "", " ", 0, True, [], {}, "PRESENT ", HUGE]
SECRETS = [f"{MARK}\n", f"{MARK} {MARK}", f"{MARK}\x00", f"{MARK}é", f"{MARK}\r\nX-Injected: yes", [MARK], {"a": MARK}]
BY_TYPE = {"int": NUMBERS, "float": NUMBERS, "bool": FLAGS, "list": LISTS, "dict": MAPS}


@dataclass(frozen=True)
class Bad:
    """One option, or several that go against each other, with what is given."""

    options: Mapping[str, Any]
    names: tuple[str, ...]
    secret: bool = False

    def __repr__(self) -> str:
        return f"{self.options!r:.300}"


def values(spec: Mapping[str, Any], paths: list[str]) -> list[Any]:
    if spec.get("no_log"):
        return SECRETS
    kind = spec.get("type", "str")
    if kind == "path":
        return [*paths, "", "\x00", 5, [], {}, "no-such-file.json", "a" * 5000]
    if "choices" in spec and kind != "list":
        return UNKNOWN
    return BY_TYPE.get(kind, TEXTS)


def of_option(name: str, spec: Mapping[str, Any], paths: list[str]) -> Iterator[Bad]:
    for value in values(spec, paths):
        yield Bad({name: value}, (name,), bool(spec.get("no_log")))
    inner = spec.get("options") or {}
    if inner:
        yield Bad({name: _entry(spec, {"no_such_option": 1})}, ("no_such_option",))
        for inner_name, inner_spec in inner.items():
            for bad in of_option(inner_name, inner_spec, paths):
                given = {"name": "v", **bad.options} if "name" in inner else dict(bad.options)
                yield Bad({name: _entry(spec, given)}, (*bad.names, name), bad.secret)


def _entry(spec: Mapping[str, Any], given: dict[str, Any]) -> Any:
    return [given] if spec.get("type") == "list" else given


def of_spec(spec: Mapping[str, Mapping[str, Any]], paths: list[str], count: int, seed: int) -> list[Bad]:
    """`count` inputs, the options taking turns; with the same seed always the same."""
    chance = random.Random(seed)
    queues = []
    for name, one in sorted(spec.items()):
        made = list(of_option(name, one, paths))
        chance.shuffle(made)
        queues.append(made)
    # Two or three options at once that were not meant to go together.
    names = sorted(spec)
    pairs = []
    for _unused in range(count):
        chosen = chance.sample(names, min(len(names), chance.choice((2, 3))))
        pairs.append(
            Bad(
                {name: chance.choice(values(spec[name], paths)) for name in chosen},
                tuple(chosen),
                any(spec[name].get("no_log") for name in chosen),
            )
        )
    queues.append(pairs)
    queues.append([Bad({f"no_{name}": MARK}, (f"no_{name}",), True) for name in chance.sample(names, min(len(names), 5))])
    chosen = []
    while len(chosen) < count and any(queues):
        for queue in queues:
            if queue:
                chosen.append(queue.pop())
    return chosen[:count]
