# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sizes, limits, durations, names and tags: what people write and what the API holds."""

from __future__ import annotations

import pytest
from ansible_collections.storpool.cloudstack.plugins.module_utils import _units as units
from ansible_collections.storpool.cloudstack.plugins.module_utils._errors import OptionError

KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40


@pytest.mark.parametrize(
    ("written", "size"),
    [
        (512, 512),
        ("512", 512),
        ("512B", 512),
        ("1K", KIB),
        ("10G", 10 * GIB),
        ("10g", 10 * GIB),
        ("10 GiB", 10 * GIB),
        (" 10GB ", 10 * GIB),
        ("512M", 512 * MIB),
        ("1.5T", TIB * 3 // 2),
        ("0.5K", 512),
        ("2P", 2 << 50),
        (10 * GIB, 10 * GIB),
    ],
)
def test_sizes(written, size):
    assert units.parse_size(written) == size


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("", "is not a size"),
        ("ten", "is not a size"),
        ("10X", "is not a size"),
        ("-1G", "is not a size"),
        ("1e3", "is not a size"),
        ("0x200", "is not a size"),
        ("1,5G", "is not a size"),
        (True, "is not a size"),
        (None, "is not a size"),
        ("²", "is not a size"),
        ("9" * 5000, "is not a size"),
        (0, "greater than 0"),
        ("0G", "greater than 0"),
        (-512, "greater than 0"),
        (513, "multiple of 512 bytes; the next one is 1024"),
        ("1", "multiple of 512 bytes; the next one is 512"),
        ("0.3333G", "not a whole number"),
    ],
)
def test_sizes_that_cannot_be_meant(written, why):
    with pytest.raises(OptionError, match=why) as caught:
        units.parse_size(written, "some_size")
    assert str(caught.value).startswith("option some_size: ")
    assert caught.value.as_dict()["type"] == "bad_option"
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (None, None),
        (512, "512"),
        (1536, "1536"),
        (KIB, "1K"),
        (10 * GIB, "10G"),
        (TIB * 3 // 2, "1536G"),
        (2 << 50, "2P"),
        (GIB + 512, "1073742336"),
    ],
)
def test_sizes_are_shown_exactly(size, text):
    assert units.format_size(size) == text


@pytest.mark.parametrize(
    ("written", "limit"),
    [
        (5000, 5000),
        ("5000", 5000),
        ("unlimited", "unlimited"),
        ("Unlimited", "unlimited"),
        ("-", "unlimited"),
        (0, "unlimited"),
        ("0", "unlimited"),
    ],
)
def test_iops(written, limit):
    assert units.parse_iops(written) == limit


@pytest.mark.parametrize("written", ["5K", "many", "", -1, "-5", True, "1.5", "5 000"])
def test_iops_that_cannot_be_meant(written):
    with pytest.raises(OptionError, match="option iops: "):
        units.parse_iops(written)


@pytest.mark.parametrize(
    ("written", "limit"),
    [
        (102400, 102400),
        ("102400", 102400),
        ("100M", 102400),
        ("1G", 1048576),
        ("1K", 1),
        ("unlimited", "unlimited"),
        ("-", "unlimited"),
        (0, "unlimited"),
        ("0M", "unlimited"),
    ],
)
def test_bandwidth(written, limit):
    assert units.parse_bw(written) == limit


@pytest.mark.parametrize("written", ["100X", "512B", "0.5K", "", "-1M", False, "fast"])
def test_bandwidth_that_cannot_be_meant(written):
    with pytest.raises(OptionError, match="option bw: "):
        units.parse_bw(written)


@pytest.mark.parametrize(("api", "ours"), [("-", "unlimited"), (0, "unlimited"), (None, "unlimited"), (5000, 5000)])
def test_limits_of_the_api(api, ours):
    assert units.limit_from_api(api) == ours
    assert units.limit_to_api(ours) == ("-" if ours == "unlimited" else ours)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [(90, 90), ("90", 90), ("90s", 90), ("30m", 1800), ("12h", 43200), ("7d", 604800), ("2W", 1209600), (0, 0), (" 1 d ", 86400)],
)
def test_durations(written, seconds):
    assert units.parse_duration(written, "delete_after") == seconds


@pytest.mark.parametrize("written", ["", "soon", -1, "-1", "1.5h", "1y", True, "²", "9" * 5000, "9999999w", 10**12])
def test_durations_that_cannot_be_meant(written):
    with pytest.raises(OptionError, match="option delete_after: "):
        units.parse_duration(written, "delete_after")


@pytest.mark.parametrize("name", ["db-data", "a", "os--volume-1.2:3_x", "#internal", "9", "x" * 199, "List"])
def test_volume_names(name):
    assert units.parse_volume_name(name) == name


@pytest.mark.parametrize("name", ["", "list", "status", "a b", "a/b", "a@1", "*gone", "a#b", "ä", "~a.b.c", "x" * 200, "a\n", "..%2f"])
def test_names_that_storpool_refuses(name):
    with pytest.raises(OptionError, match="option name: "):
        units.parse_volume_name(name)


@pytest.mark.parametrize(("written", "reference"), [("db@12", "db@12"), ("db", "db"), ("~a1.b.c4", "~a1.b.c4"), ("#x", "#x")])
def test_references(written, reference):
    assert units.parse_reference(written, "parent") == reference


@pytest.mark.parametrize("written", ["", "~", "~a.b", "~A.b.c", "a b", "list", "a/b", "#a@1"])
def test_references_that_cannot_be_meant(written):
    with pytest.raises(OptionError, match="option parent: "):
        units.parse_reference(written, "parent")


@pytest.mark.parametrize("written", ["a1.b.c4", "~a1.b.c4"])
def test_global_ids(written):
    assert units.parse_global_id(written) == "a1.b.c4"


@pytest.mark.parametrize("written", ["", "a.b", "a.b.c.d", "A.b.c", "~~a.b.c", "a.b.c "])
def test_global_ids_that_cannot_be_meant(written):
    with pytest.raises(OptionError, match="not a StorPool global id"):
        units.parse_global_id(written)


def test_template_and_remote_names():
    assert units.parse_template_name("nvme-3_x") == "nvme-3_x"
    assert units.parse_remote_name("sofia.a:1", "location") == "sofia.a:1"
    for parse, name in ((units.parse_template_name, "a.b"), (units.parse_template_name, "list")):
        with pytest.raises(OptionError):
            parse(name)
    with pytest.raises(OptionError, match="option location"):
        units.parse_remote_name("a/b", "location")


def test_tags():
    assert units.parse_tags({"owner": "dba", "n": 5, "gone": None, "empty": "", 7: "x"}) == {
        "owner": "dba",
        "n": "5",
        "gone": "",
        "empty": "",
        "7": "x",
    }


@pytest.mark.parametrize(
    ("tags", "option"),
    [
        ({"a b": "x"}, "tags"),
        ({"": "x"}, "tags"),
        ({"a": "x y"}, "tags.a"),
        ({"a": ["x"]}, "tags.a"),
        ({"a": "x" * 200}, "tags.a"),
        ({"x" * 200: "a"}, "tags"),
        ({"a": "ü"}, "tags.a"),
    ],
)
def test_tags_that_storpool_refuses(tags, option):
    with pytest.raises(OptionError) as caught:
        units.parse_tags(tags)
    assert caught.value.parts["option"] == option
