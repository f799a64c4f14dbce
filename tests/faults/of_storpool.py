# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the StorPool modules can change."""

from __future__ import annotations

from typing import Any

from lab import Lab
from registry import MIB, scenario

DATA, MORE = b"first" * 100, b"second" * 100

# -- volumes


@scenario("storpool_volume")
def create(lab: Lab) -> dict[str, Any]:
    places = {"replication": 2, "place_all": "hdd", "place_tail": "ssd", "place_head": "nvme"}
    return {"name": "v", "size": MIB, "tags": {"a": "b"}, "iops": 1000, **places}


@scenario("storpool_volume")
def create_from_template(lab: Lab) -> dict[str, Any]:
    return {"name": "v", "size": MIB, "template": "nvme"}


@scenario("storpool_volume")
def create_from_snapshot(lab: Lab) -> dict[str, Any]:
    lab.volume("w", DATA, template="nvme")
    lab.snapshot("w", "s")
    lab.simulator.write("w", MORE)
    return {"name": "v", "parent": "s", "size": 2 * MIB}


@scenario("storpool_volume")
def create_from_volume(lab: Lab) -> dict[str, Any]:
    lab.volume("w", DATA, template="nvme")
    return {"name": "v", "base_on": "w", "attach_to": [11]}


@scenario("storpool_volume")
def create_from_backup(lab: Lab) -> dict[str, Any]:
    lab.volume("w", DATA)
    return {"name": "v", "remote": {"location": "plovdiv", "id": lab.backup("w")}, "size": 2 * MIB, "iops": 100}


@scenario("storpool_volume")
def create_without_a_name(lab: Lab) -> dict[str, Any]:
    return {"match_tags": {"uuid": "1"}, "size": MIB, "tags": {"a": "b"}}


@scenario("storpool_volume")
def create_and_attach(lab: Lab) -> dict[str, Any]:
    return {"name": "v", "size": MIB, "template": "hdd", "attach_to": [11, "12:ro"], "wait_timeout": "1"}


@scenario("storpool_volume")
def resize(lab: Lab) -> dict[str, Any]:
    lab.volume("v", DATA)
    return {"name": "v", "size": 2 * MIB}


@scenario("storpool_volume")
def shrink(lab: Lab) -> dict[str, Any]:
    lab.volume("v", DATA, size=2 * MIB)
    return {"name": "v", "size": MIB, "allow_shrink": True}


@scenario("storpool_volume")
def limits(lab: Lab) -> dict[str, Any]:
    lab.volume("v", iops=10)
    return {"name": "v", "iops": "unlimited", "bw": "10M"}


@scenario("storpool_volume")
def tags(lab: Lab) -> dict[str, Any]:
    lab.volume("v", tags={"a": "1", "b": "2"})
    return {"name": "v", "tags": {"a": "3", "c": "4"}, "tags_mode": "exact"}


@scenario("storpool_volume")
def move(lab: Lab) -> dict[str, Any]:
    lab.volume("v", DATA, template="hdd")
    return {"name": "v", "template": "nvme"}


@scenario("storpool_volume")
def rename(lab: Lab) -> dict[str, Any]:
    lab.volume("v", DATA)
    return {"name": "new", "renamed_from": "v"}


@scenario("storpool_volume")
def rename_by_id(lab: Lab) -> dict[str, Any]:
    made = lab.volume("v", DATA)
    return {"name": "new", "global_id": made["globalId"], "size": 2 * MIB, "attach_to": [12]}


@scenario("storpool_volume")
def change_everything(lab: Lab) -> dict[str, Any]:
    lab.volume("v", DATA, template="hdd", tags={"a": "1"})
    lab.attach("v", rw=[11])
    return {"name": "v", "size": 2 * MIB, "template": "nvme", "iops": 5, "tags": {"a": "2"}, "attach_to": [12], "exclusive": True}


@scenario("storpool_volume")
def attach(lab: Lab) -> dict[str, Any]:
    lab.volume("v", DATA)
    return {"name": "v", "attach_to": [11, "12:ro"]}


@scenario("storpool_volume")
def attach_exclusively(lab: Lab) -> dict[str, Any]:
    lab.volume("v", DATA)
    lab.attach("v", rw=[11], ro=[12])
    lab.simulator.open("v", 11)
    return {"name": "v", "attach_to": ["12:rw"], "exclusive": True, "force": True}


@scenario("storpool_volume")
def detach(lab: Lab) -> dict[str, Any]:
    lab.volume("v", DATA)
    lab.attach("v", rw=[11, 12])
    return {"name": "v", "attach_to": [], "exclusive": True}


@scenario("storpool_volume")
def delete(lab: Lab) -> dict[str, Any]:
    lab.volume("v", DATA)
    return {"name": "v", "state": "absent"}


@scenario("storpool_volume")
def delete_and_keep_a_snapshot(lab: Lab) -> dict[str, Any]:
    lab.volume("v", DATA, template="nvme")
    lab.attach("v", rw=[11])
    return {"name": "v", "state": "absent", "on_attached": "detach", "keep_snapshot": {"delete_after": "7d", "tags": {"why": "deleted"}}}


@scenario("storpool_volume")
def delete_and_keep_a_named_snapshot(lab: Lab) -> dict[str, Any]:
    lab.volume("v", DATA)
    lab.snapshot("v", "earlier")
    lab.simulator.write("v", MORE)
    return {"name": "v", "state": "absent", "keep_snapshot": {"name": "kept"}}


@scenario("storpool_volume")
def revert(lab: Lab) -> dict[str, Any]:
    lab.volume("v", DATA)
    lab.snapshot("v", "s")
    lab.simulator.write("v", MORE)
    return {"name": "v", "state": "reverted", "revert_to": "s"}


@scenario("storpool_volume")
def revert_an_attached_one(lab: Lab) -> dict[str, Any]:
    lab.volume("v", DATA)
    lab.snapshot("v", "s")
    lab.do("VolumeUpdate/v", {"size": 2 * MIB})
    lab.simulator.write("v", MORE)
    lab.attach("v", rw=[11])
    return {"name": "v", "state": "reverted", "revert_to": "s", "revert_size": True, "on_attached": "detach", "attach_to": [12]}


@scenario("storpool_volume")
def several_volumes(lab: Lab) -> dict[str, Any]:
    lab.volume("b", DATA)
    lab.volume("c", tags={"a": "1"})
    lab.attach("c", rw=[11])
    return {
        "volumes": [
            {"name": "a", "size": MIB, "template": "hdd"},
            {"name": "b", "size": 2 * MIB, "iops": 7},
            {"name": "c", "state": "absent", "on_attached": "detach"},
            {"name": "d", "base_on": "b", "attach_to": [12]},
            {"match_tags": {"uuid": "e"}, "size": MIB},
        ],
        "parallel": 1,
    }


@scenario("storpool_volume")
def several_volumes_at_once(lab: Lab) -> dict[str, Any]:
    lab.volume("v1", tags={"a": "1"})
    return {"names": [f"v{number}" for number in range(4)], "size": MIB, "tags": {"a": "2"}}


# -- snapshots


@scenario("storpool_snapshot")
def take(lab: Lab) -> dict[str, Any]:
    lab.volume("v", DATA, template="nvme")
    return {"name": "s", "volume": "v"}


@scenario("storpool_snapshot")
def take_bound_with_a_date(lab: Lab) -> dict[str, Any]:
    lab.volume("v", DATA)
    return {"name": "s", "volume": "v", "bind": True, "delete_after": "7d", "tags": {"a": "b"}, "attach_to": [12], "export_to": ["plovdiv"]}


@scenario("storpool_snapshot")
def take_a_group(lab: Lab) -> dict[str, Any]:
    lab.volume("db", DATA)
    lab.volume("log", MORE)
    return {"name": "{volume}-before", "volumes": ["db", "log"], "tags": {"a": "b"}}


@scenario("storpool_snapshot")
def take_a_group_bound_with_a_date(lab: Lab) -> dict[str, Any]:
    lab.volume("db", DATA)
    lab.volume("log", MORE)
    return {"name": "{volume}-before", "volumes": ["db", "log"], "bind": True, "delete_at": "2099-01-01T00:00:00Z"}


@scenario("storpool_snapshot")
def change_a_snapshot(lab: Lab) -> dict[str, Any]:
    lab.volume("v", DATA, template="hdd")
    lab.snapshot("v", "old", tags={"a": "1", "b": "2"}, deleteAfter=3600)
    return {
        "name": "s", "renamed_from": "old", "tags": {"a": "2"}, "tags_mode": "exact", "bind": True, "delete_after": "never",
        "template": "nvme", "iops": 9,
    }  # fmt: skip


@scenario("storpool_snapshot")
def give_a_date(lab: Lab) -> dict[str, Any]:
    lab.volume("v", DATA)
    lab.snapshot("v", "s", bind=True)
    places = {"replication": 2, "place_all": "hdd", "place_tail": "ssd", "place_head": "nvme"}
    return {"name": "s", "delete_after": "3h", "bind": False, "bw": "10M", **places}


@scenario("storpool_snapshot")
def attach_and_export(lab: Lab) -> dict[str, Any]:
    lab.volume("v", DATA)
    lab.snapshot("v", "s")
    return {"name": "s", "attach_to": [11, 12], "export_to": ["plovdiv"], "exclusive": True, "export_mode": "exact"}


@scenario("storpool_snapshot")
def take_back(lab: Lab) -> dict[str, Any]:
    lab.volume("v", DATA)
    lab.snapshot("v", "s")
    lab.attach("s", "snapshot", ro=[11])
    lab.do("SnapshotExport", {"snapshot": "s", "location": "plovdiv"})
    return {"name": "s", "attach_to": [], "exclusive": True, "export_to": [], "export_mode": "exact"}


@scenario("storpool_snapshot")
def delete_a_snapshot(lab: Lab) -> dict[str, Any]:
    lab.volume("v", DATA)
    lab.snapshot("v", "s")
    return {"name": "s", "state": "absent"}


@scenario("storpool_snapshot")
def delete_one_with_children(lab: Lab) -> dict[str, Any]:
    lab.volume("v", DATA)
    lab.snapshot("v", "s")
    lab.volume("child", parent="s")
    lab.simulator.write("child", MORE)
    return {"name": "s", "state": "absent", "wait": True}


@scenario("storpool_snapshot")
def delete_one_in_use(lab: Lab) -> dict[str, Any]:
    lab.volume("v", DATA)
    lab.snapshot("v", "s")
    lab.attach("s", "snapshot", ro=[11])
    lab.do("SnapshotExport", {"snapshot": "s", "location": "plovdiv"})
    return {"name": "s", "state": "absent", "on_attached": "detach", "unexport": True}


@scenario("storpool_snapshot")
def delete_a_group(lab: Lab) -> dict[str, Any]:
    for name in ("db", "log"):
        lab.volume(name, DATA)
        lab.snapshot(name, f"{name}-before")
    return {"name": "{volume}-before", "volumes": ["db", "log"], "state": "absent"}


def _series(lab: Lab, *volumes: str) -> None:
    for name in volumes:
        lab.volume(name, DATA)
    for year in range(2001, 2005):
        for name in volumes:
            lab.snapshot(name, f"{name}-{year}")


@scenario("storpool_snapshot")
def prune(lab: Lab) -> dict[str, Any]:
    _series(lab, "v")
    return {"name": "v-%Y", "state": "pruned", "keep_last": 1}


@scenario("storpool_snapshot")
def take_and_prune(lab: Lab) -> dict[str, Any]:
    _series(lab, "v")
    lab.attach("v-2002", "snapshot", ro=[11])
    return {"name": "v-%Y", "volume": "v", "keep_last": 2, "on_attached": "detach", "bind": True}


@scenario("storpool_snapshot")
def take_a_group_and_prune(lab: Lab) -> dict[str, Any]:
    _series(lab, "db", "log")
    return {"name": "{volume}-%Y", "volumes": ["db", "log"], "keep_last": 3, "delete_after": "9d"}


@scenario("storpool_snapshot")
def back_up(lab: Lab) -> dict[str, Any]:
    lab.volume("v", DATA)
    return {"name": "b", "volume": "v", "backup_to": "plovdiv", "tags": {"a": "b"}}


@scenario("storpool_snapshot")
def back_up_a_group(lab: Lab) -> dict[str, Any]:
    lab.volume("db", DATA)
    lab.volume("log", MORE)
    return {"name": "b", "volumes": ["db", "log"], "backup_to": "plovdiv"}


def _backups(lab: Lab) -> None:
    lab.volume("v", DATA)
    for year in (2001, 2002, 2003):
        lab.backup("v", **{"ansible-backup": f"v-{year}", "ansible-volume": "v"})


@scenario("storpool_snapshot")
def back_up_and_prune(lab: Lab) -> dict[str, Any]:
    _backups(lab)
    return {"name": "v-%Y", "volume": "v", "backup_to": "plovdiv", "keep_last": 2}


@scenario("storpool_snapshot")
def delete_a_backup(lab: Lab) -> dict[str, Any]:
    _backups(lab)
    return {"name": "v-2002", "volume": "v", "backup_to": "plovdiv", "state": "absent"}


@scenario("storpool_snapshot")
def several_snapshots(lab: Lab) -> dict[str, Any]:
    _series(lab, "v")
    lab.volume("w", MORE)
    return {
        "snapshots": [
            {"name": "s", "volume": "w", "bind": True},
            {"name": "v-2001", "tags": {"keep": "yes"}},
            {"name": "v-2002", "state": "absent"},
            {"name": "g-{volume}", "volumes": ["v", "other"]},
        ],
        "parallel": 1,
    }


# -- templates


@scenario("storpool_template")
def create_a_template(lab: Lab) -> dict[str, Any]:
    lab.snapshot("other", "base")
    places = {"replication": 2, "place_all": "hdd", "place_tail": "ssd", "place_head": "nvme", "reuse_server": True}
    return {"name": "t", **places, "parent": "base", "iops": 1000}


@scenario("storpool_template")
def change_a_template(lab: Lab) -> dict[str, Any]:
    lab.volume("v", DATA, template="nvme")
    return {"name": "fast", "renamed_from": "nvme", "bw": "100M", "size": MIB}


@scenario("storpool_template")
def propagate_a_template(lab: Lab) -> dict[str, Any]:
    lab.volume("v", DATA, template="nvme")
    lab.snapshot("v", "s")
    return {"name": "nvme", "iops": 500, "size": MIB, "propagate": True}


@scenario("storpool_template")
def delete_a_template(lab: Lab) -> dict[str, Any]:
    return {"name": "spare", "state": "absent"}


@scenario("storpool_template")
def several_templates(lab: Lab) -> dict[str, Any]:
    return {
        "templates": [{"name": "t", "replication": 1}, {"name": "spare", "state": "absent"}, {"name": "hdd", "iops": 5}],
        "parallel": 1,
    }


# -- images


def _image(lab: Lab, **more: Any) -> dict[str, Any]:
    path = lab.simulator.state_dir / "golden.raw"
    path.write_bytes(DATA.ljust(4096, b"\0"))
    devices = f"{lab.simulator.devices}/sofia-a/11/storpool"
    return {"name": "golden", "image": str(path), "format": "raw", "client": 11, "device_directory": devices, "wait_timeout": "1", **more}


@scenario("storpool_template_cache")
def take_an_image(lab: Lab) -> dict[str, Any]:
    return _image(lab, template="nvme", tags={"a": "b"})


@scenario("storpool_template_cache")
def take_an_image_after_another(lab: Lab) -> dict[str, Any]:
    lab.volume("golden.ansible-image", DATA, tags={"ansible-image-work": "sha256:another"})
    lab.attach("golden.ansible-image", rw=[12])
    return _image(lab)


@scenario("storpool_template_cache")
def change_the_snapshot_of_an_image(lab: Lab) -> dict[str, Any]:
    made = lab.run("storpool_template_cache", _image(lab))
    assert not made.get("failed"), made["msg"]
    return _image(lab, template="nvme", tags={"a": "b"})


@scenario("storpool_template_cache")
def drop_an_image(lab: Lab) -> dict[str, Any]:
    lab.volume("golden.ansible-image", DATA, tags={"ansible-image-work": "sha256:another"})
    lab.snapshot("golden.ansible-image", "golden", tags={"ansible-image": "sha256:another"})
    return _image(lab, state="absent")


# -- what only reads


def _populate(lab: Lab) -> None:
    lab.volume("v", DATA, template="nvme")
    lab.attach("v", rw=[11])
    lab.snapshot("v", "s")
    lab.do("SnapshotExport", {"snapshot": "s", "location": "plovdiv"})
    lab.backup("v")


@scenario("storpool_volume_info")
def tell_volumes(lab: Lab) -> dict[str, Any]:
    _populate(lab)
    return {"space": True, "status": True}


@scenario("storpool_snapshot_info")
def tell_snapshots(lab: Lab) -> dict[str, Any]:
    _populate(lab)
    return {"exports": True}


@scenario("storpool_snapshot_info")
def tell_backups(lab: Lab) -> dict[str, Any]:
    _populate(lab)
    return {"remote": True}


@scenario("storpool_cluster_info")
def tell_the_cluster(lab: Lab) -> dict[str, Any]:
    _populate(lab)
    return {}
