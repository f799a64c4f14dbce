# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""One object, a list, names, a file: all become one list of options."""

from __future__ import annotations

import json

import pytest
from ansible_collections.storpool.cloudstack.plugins.module_utils import _items
from ansible_collections.storpool.cloudstack.plugins.module_utils._errors import OptionError
from ansible_collections.storpool.cloudstack.plugins.modules.storpool_volume import DECLARED as VOLUME
from things import THINGS, checked, volume_options


def expand(**given):
    entries, single = _items.expand(checked(THINGS, **given), THINGS.item, THINGS.plural)
    return [{key: value for key, value in entry.items() if value is not None} for entry in entries], single


def test_one():
    assert expand(name="a", value=1) == ([{"name": "a", "value": 1}], True)


def test_a_list_takes_what_it_leaves_out_from_the_task():
    given = expand(value=1, forbidden=True, things=[{"name": "a"}, {"name": "b", "value": 2}, {"name": "c", "forbidden": False}])
    assert given == (
        [
            {"name": "a", "value": 1, "forbidden": True},
            {"name": "b", "value": 2, "forbidden": True},
            {"name": "c", "value": 1, "forbidden": False},
        ],
        False,
    )


def test_names():
    assert expand(names=["a", "b"], value=3) == ([{"name": "a", "value": 3}, {"name": "b", "value": 3}], False)


@pytest.mark.parametrize("given", [{"things": []}, {"names": []}])
def test_an_empty_list_declares_nothing(given):
    assert expand(**given) == ([], False)


def test_defaults_of_the_task_do_not_hide_in_entries():
    """An entry that says nothing of `state` takes the task's, not the default of the spec."""
    options = volume_options(state="absent", volumes=[{"name": "a"}, {"name": "b", "state": "present"}])
    entries, _single = _items.expand(options, VOLUME.item, "volumes")
    assert [entry["state"] for entry in entries] == ["absent", "present"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"things": [], "names": ["a"]}, "option names: '(given)' cannot be combined with things"),
        ({"things": [], "things_src": "x.json"}, "option things_src: '(given)' cannot be combined with things"),
        ({"names": [], "things_src": "x.json"}, "option names: '(given)' cannot be combined with things_src"),
        ({"name": "a", "names": ["b"]}, "option name: 'a' cannot be combined with names"),
        ({"name": "a", "things": [{"name": "b"}]}, "option name: 'a' cannot be combined with things"),
    ],
)
def test_ways_that_cannot_be_combined(given, message):
    with pytest.raises(OptionError) as caught:
        expand(**given)
    assert str(caught.value).startswith(message)


def test_a_map_among_names_is_no_name():
    """Ansible makes a text of it; as a name it would be absent, for instance, whatever it meant."""
    with pytest.raises(OptionError) as caught:
        expand(names=["a", str({"name": "b", "value": "hidden"})])
    told = "option names: '(a map)' is no name (entry 2); entries with options of their own go into things"
    assert str(caught.value) == told
    odd = ["{volume}-1", "{", "{'a'}", "{'a': b}", "[1]"]
    assert [one["name"] for one in expand(names=odd)[0]] == odd


# -- files

ENTRIES = [{"name": "a"}, {"name": "b", "value": 2}]
MERGED = [{"name": "a", "value": 1}, {"name": "b", "value": 2}]


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("things.json", json.dumps(ENTRIES)),
        ("things.json", json.dumps({"things": ENTRIES, "comment": "x"})),
        ("things.JSON", json.dumps(ENTRIES)),
        ("things.yml", "- name: a\n- {name: b, value: 2}\n"),
        ("things.yaml", "things:\n  - name: a\n    value:\n  - {name: b, value: '2'}\n"),
        ("things.csv", "name,value\na,\nb,2\n"),
        ("things.csv", "value,name\r\n,a\r\n2,b\r\n"),
        ("things.csv", "\ufeffname,value\na\nb,2\n"),
        ("things.json", "\ufeff" + json.dumps(ENTRIES)),
    ],
)
def test_files(tmp_path, file, content):
    path = tmp_path / file
    path.write_text(content, encoding="utf-8", newline="")
    assert expand(things_src=str(path), value=1) == (MERGED, False)


def test_lists_and_maps_in_a_file(tmp_path):
    path = tmp_path / "volumes.csv"
    path.write_text('name,size,tags,attach_to,exclusive\na,1G,"a=1,b=2","11,12:ro",yes\nb,2G,"{""c"": ""3""}",,\n')
    entries, _single = _items.expand(volume_options(volumes_src=str(path)), VOLUME.item, "volumes")
    assert [(entry["tags"], entry["attach_to"], entry["exclusive"]) for entry in entries] == [
        ({"a": "1", "b": "2"}, ["11", "12:ro"], True),
        ({"c": "3"}, None, False),
    ]


def test_empty_rows_of_a_spreadsheet(tmp_path):
    path = tmp_path / "things.csv"
    path.write_text("name,value\na,1\n\nb,2\n,\n,\n")
    assert expand(things_src=str(path)) == ([{"name": "a", "value": 1}, {"name": "b", "value": 2}], False)


@pytest.mark.parametrize("parallel", [0, -1, 257])
def test_parallel_that_cannot_be_meant(parallel):
    with pytest.raises(OptionError, match=r"option parallel: .* is not a number from 1 to 256"):
        expand(name="a", parallel=parallel)


def test_home_in_a_path(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "things.json").write_text("[]")
    assert _items.read_file("~/things.json", "things_src", "things") == []


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("gone.json", None, "cannot be read: No such file or directory"),
        (".", None, "must end in .json, .yml, .yaml or .csv"),
        ("things.txt", "x", "must end in"),
        ("things.json", "[", "is not valid JSON: "),
        ("things.json", "", "is not valid JSON: "),
        ("things.yml", "a: [", "is not valid YML: "),
        ("things.yml", "!!python/object/apply:os.system ['true']", "is not valid YML: "),
        ("things.csv", b"\xff\xfe\x00", "is not valid CSV: "),
        ("things.csv", "name,value,name\na,1,b\n", "names a column twice"),
        ("things.json", "{}", "holds neither a list nor a map with the list things"),
        ("things.json", '{"volumes": []}', "holds neither a list nor a map with the list things"),
        ("things.yml", "", "holds neither a list"),
        ("things.json", '"x"', "holds neither a list"),
    ],
)
def test_files_that_cannot_be_meant(tmp_path, file, content, message):
    path = tmp_path / file
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(OptionError) as caught:
        expand(things_src=str(path))
    assert str(caught.value).startswith("option things_src: ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("things.json", '[{"name": "a"}, {"name": "b", "valu": 1}]', "Unsupported parameters|valu"),
        ("things.json", '[{"name": "a"}, {"name": "b", "value": "x"}]', "unable to convert|cannot be converted"),
        ("things.json", '[{"name": "a"}, 5]', "is not a map"),
        ("things.json", '[{"name": "a"}, {"name": ["b"], "value": {}}]', "cannot be converted"),
        ("things.csv", "name,value\na,1\nb,2,3\n", "beyond the columns"),
    ],
)
def test_entries_that_cannot_be_meant_say_which(tmp_path, file, content, message):
    path = tmp_path / file
    path.write_text(content)
    with pytest.raises(OptionError, match=message) as caught:
        expand(things_src=str(path))
    assert f"entry 2 of {path}" in str(caught.value)


def test_choices_hold_in_files(tmp_path):
    path = tmp_path / "volumes.json"
    path.write_text('[{"name": "a", "state": "gone"}]')
    with pytest.raises(OptionError, match="value of state must be one of"):
        _items.expand(volume_options(volumes_src=str(path)), VOLUME.item, "volumes")


def test_conversions_in_files_are_those_of_the_task(tmp_path):
    path = tmp_path / "volumes.yml"
    path.write_text("- {name: 5, size: 1073741824, allow_shrink: 'yes', replication: '2'}\n")
    entries, _single = _items.expand(volume_options(volumes_src=str(path)), VOLUME.item, "volumes")
    told = volume_options(name=5, size=1073741824, allow_shrink="yes", replication="2")
    for option in ("name", "size", "allow_shrink", "replication"):
        assert entries[0][option] == told[option]
        assert type(entries[0][option]) is type(told[option])


def test_sub_options_are_checked_in_files(tmp_path):
    path = tmp_path / "volumes.json"
    path.write_text('[{"name": "a", "remote": {"location": "x"}}]')
    with pytest.raises(OptionError, match="missing required arguments: id"):
        _items.expand(volume_options(volumes_src=str(path)), VOLUME.item, "volumes")
