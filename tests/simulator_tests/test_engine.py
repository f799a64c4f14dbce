# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Long random lives of clusters, against a model of nothing but bytes: whatever the order of calls, each object shows what it should."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path
from typing import Any

import pytest
from storpool_simulator.testing import Simulator

SIZE = 64 << 10
CLUSTERS = ("sofia-a", "sofia-b", "plovdiv-a")
LISTINGS = ("VolumesList", "SnapshotsList", "AttachmentsList", "ExportsList", "VolumeTemplatesList", "VolumeExportsList")


class Life:
    """Random calls; `bytes` is the model: (cluster, globalId) -> what the object has to show."""

    def __init__(self, sim: Simulator, seed: int) -> None:
        self.sim = sim
        self.dice = random.Random(seed)
        self.bytes: dict[tuple[str, str], bytes] = {}
        self.refused = 0

    def data(self, cluster: str, path: str) -> Any:
        status, reply = self.sim.get(path, cluster)
        assert status == 200, reply
        return reply["data"]

    def try_post(self, cluster: str, path: str, body: Any = None) -> dict | None:
        status, reply = self.sim.post(path, body, cluster)
        if status == 200:
            return reply["data"]
        assert reply["error"]["name"] != "simulatorBug", (path, body, reply)
        self.refused += 1
        return None

    def pick(self, cluster: str, listing: str) -> dict | None:
        ones = self.data(cluster, listing)
        return self.dice.choice(ones) if ones else None

    # Each step does one thing to one cluster and says in the model what it means for bytes.

    def create(self, cluster: str) -> None:
        reply = self.try_post(cluster, "VolumeCreate", {"size": SIZE, "template": self.dice.choice(["hybrid", "nvme", "hdd"])})
        if reply:
            self.bytes[(cluster, reply["globalId"])] = bytes(SIZE)

    def write(self, cluster: str) -> None:
        volume = self.pick(cluster, "VolumesList")
        if volume is None:
            return
        key = (cluster, volume["globalId"])
        offset = self.dice.randrange(0, volume["size"])
        data = self.dice.randbytes(min(self.dice.choice([1, 700, 5000, 20000]), volume["size"] - offset))
        self.sim.write(volume["name"], data, offset, cluster)
        self.bytes[key] = self.bytes[key][:offset] + data + self.bytes[key][offset + len(data) :]

    def clone(self, cluster: str) -> None:
        kind, listing = self.dice.choice([("parent", "SnapshotsList"), ("baseOn", "VolumesList")])
        source = self.pick(cluster, listing)
        if source is not None:
            reply = self.try_post(cluster, "VolumeCreate", {kind: "~" + source["globalId"]})
            if reply:
                self.bytes[(cluster, reply["globalId"])] = self.bytes[(cluster, source["globalId"])]
                self.learn(cluster)

    def learn(self, cluster: str) -> None:
        """Transient snapshots come without being asked for; they are as the volume on them was, which nobody wrote since."""
        for snapshot in self.data(cluster, "SnapshotsList"):
            key = (cluster, snapshot["globalId"])
            if key not in self.bytes:
                self.bytes[key] = self.bytes[(cluster, snapshot["createdFromGlobalId"])]

    def snapshot(self, cluster: str) -> None:
        volume = self.pick(cluster, "VolumesList")
        if volume is not None:
            body = {"bind": self.dice.random() < 0.3}
            reply = self.try_post(cluster, f"VolumeSnapshot/~{volume['globalId']}", body)
            if reply:
                self.bytes[(cluster, reply["snapshotGlobalId"])] = self.bytes[(cluster, volume["globalId"])]

    def group(self, cluster: str) -> None:
        volumes = self.data(cluster, "VolumesList")
        chosen = self.dice.sample(volumes, min(3, len(volumes)))
        reply = self.try_post(cluster, "VolumesGroupSnapshot", {"volumes": [{"volume": "~" + one["globalId"]} for one in chosen]})
        for one in (reply or {}).get("snapshots", []):
            self.bytes[(cluster, one["snapshotGlobalId"])] = self.bytes[(cluster, one["volumeGlobalId"])]

    def revert(self, cluster: str) -> None:
        volume, snapshot = self.pick(cluster, "VolumesList"), self.pick(cluster, "SnapshotsList")
        if volume is None or snapshot is None:
            return
        body = {"toSnapshot": "~" + snapshot["globalId"], "revertSize": self.dice.random() < 0.5}
        if self.try_post(cluster, f"VolumeRevert/~{volume['globalId']}", body) is not None:
            size = snapshot["size"] if body["revertSize"] else volume["size"]
            self.bytes[(cluster, volume["globalId"])] = self.bytes[(cluster, snapshot["globalId"])][:size].ljust(size, b"\0")

    def resize(self, cluster: str) -> None:
        volume = self.pick(cluster, "VolumesList")
        if volume is not None:
            size = self.dice.randrange(8, 200) * 512
            if self.try_post(cluster, f"VolumeUpdate/~{volume['globalId']}", {"size": size, "shrinkOk": True}) is not None:
                key = (cluster, volume["globalId"])
                self.bytes[key] = self.bytes[key][:size].ljust(size, b"\0")

    def attach(self, cluster: str) -> None:
        volume = self.pick(cluster, "VolumesList")
        if volume is not None:
            item: dict[str, Any] = {
                "volume": "~" + volume["globalId"],
                self.dice.choice(["rw", "ro", "detach"]): [self.dice.choice([11, 12])],
            }
            self.try_post(cluster, "VolumesReassignWait", {"reassign": [item]})

    def delete(self, cluster: str) -> None:
        kind, listing = self.dice.choice([("VolumeDelete", "VolumesList"), ("SnapshotDelete", "SnapshotsList")])
        one = self.pick(cluster, listing)
        if one is not None:
            body = {"onAttached": "detachForce"} if kind == "VolumeDelete" else None
            self.try_post(cluster, f"{kind}/~{one['globalId']}", body)

    def freeze(self, cluster: str) -> None:
        volume = self.pick(cluster, "VolumesList")
        if volume is not None:
            self.try_post(cluster, f"VolumeFreeze/~{volume['globalId']}")

    def rebase(self, cluster: str) -> None:
        volume = self.pick(cluster, "VolumesList")
        if volume is not None:
            self.try_post(cluster, f"VolumeRebase/~{volume['globalId']}", {})

    def move(self, cluster: str) -> None:
        listing, call = self.dice.choice([("VolumesList", "VolumeMoveToRemote"), ("SnapshotsList", "SnapshotMoveToRemote")])
        one = self.pick(cluster, listing)
        if one is not None and cluster != "plovdiv-a":
            target = "sofia-b" if cluster == "sofia-a" else "sofia-a"
            body = {"cluster": target, "onAttached": self.dice.choice(["fail", "detachForce", "export"])}
            self.forget()
            if self.try_post(cluster, f"{call}/~{one['globalId']}", body) is not None:
                self.carried(cluster, target)

    def carried(self, source: str, target: str) -> None:
        """What is new at the target is as it was at the source."""
        for cluster, gid in self.present():
            if cluster == target and (source, gid) in self.bytes:
                self.bytes.setdefault((cluster, gid), self.bytes[(source, gid)])
        self.forget()

    def forget(self) -> None:
        """A volume that left may come back with other bytes."""
        present = self.present()
        self.bytes = {key: shown for key, shown in self.bytes.items() if key in present}

    def backup(self, cluster: str) -> None:
        volume = self.pick(cluster, "VolumesList")
        if volume is None or cluster == "plovdiv-a":
            return
        reply = self.try_post(cluster, "VolumeBackup", {"volume": "~" + volume["globalId"], "location": "plovdiv"})
        if reply:
            for where in (cluster, "plovdiv-a"):
                self.bytes[(where, reply["remoteId"])] = self.bytes[(cluster, volume["globalId"])]

    def fetch(self, cluster: str) -> None:
        remote = self.data(cluster, "SnapshotsRemoteList")["snapshots"]
        if remote:
            one = self.dice.choice(remote)
            body = {"remoteId": one["remoteId"], "remoteLocation": one["location"]}
            if self.try_post(cluster, "SnapshotFromRemote", body) is not None:
                self.bytes[(cluster, one["remoteId"])] = self.bytes[("plovdiv-a", one["remoteId"])]

    def unexport(self, cluster: str) -> None:
        exports = self.data(cluster, "ExportsList")["exports"]
        if exports:
            one = self.dice.choice(exports)
            self.try_post(cluster, "SnapshotUnexport", {"snapshot": "~" + one["globalId"], "all": True, "force": True})

    def settle(self, cluster: str) -> None:
        self.sim.settle()

    STEPS = (
        *(create, write, write, write, clone, clone, snapshot, snapshot, group, revert, resize, attach, delete, delete, freeze),
        *(rebase, move, backup, fetch, unexport, settle),
    )

    def run(self, steps: int) -> None:
        for _unused in range(steps):
            self.dice.choice(self.STEPS)(self, self.dice.choice(CLUSTERS))

    def present(self) -> dict[tuple[str, str], dict]:
        return {
            (cluster, one["globalId"]): one
            for cluster in CLUSTERS
            for listing in ("VolumesList", "SnapshotsList")
            for one in self.data(cluster, listing)
        }

    def check(self) -> None:
        """All objects show their bytes, and the state directory holds nothing besides."""
        for (cluster, gid), one in self.present().items():
            shown = self.sim.content("~" + gid, cluster)
            wanted = self.bytes[(cluster, gid)]
            assert shown["size"] == one["size"] == len(wanted), one
            assert shown["sha256"] == hashlib.sha256(wanted).hexdigest(), (cluster, one)
        files = {path.name for path in (self.sim.state_dir / "content").iterdir()}
        assert len(files) == self.sim.counters()["files"]

    def everything(self) -> dict:
        return {(cluster, listing): self.sim.get(listing, cluster) for cluster in CLUSTERS for listing in LISTINGS}


@pytest.mark.parametrize(("seed", "devices"), [(2, "none"), (3, "link"), (4, "auto")])
def test_a_long_random_life(tmp_path: Path, seed: int, devices: str) -> None:
    with Simulator(tmp_path / "state", devices=devices) as sim:
        sim.background(False)
        life = Life(sim, seed)
        for _unused in range(2):
            life.run(150)
            life.check()
            before = life.everything()
            sim.kill()
            sim.start()
            sim.background(False)
            assert life.everything() == before
            life.check()
        sim.settle()
        life.check()
        assert life.refused < 500
        for cluster in CLUSTERS:
            for export in life.data(cluster, "ExportsList")["exports"]:
                life.try_post(cluster, "SnapshotUnexport", {"snapshot": "~" + export["globalId"], "all": True, "force": True})
            for volume in life.data(cluster, "VolumesList"):
                assert life.try_post(cluster, f"VolumeDelete/~{volume['globalId']}", {"onAttached": "detachForce"}) is not None
        sim.settle()
        for cluster in CLUSTERS:
            for snapshot in life.data(cluster, "SnapshotsList"):
                life.try_post(cluster, f"SnapshotDelete/~{snapshot['globalId']}")
            sim.settle()
            assert life.data(cluster, "SnapshotsList") == []
        assert sim.counters()["files"] == 0 and list((sim.state_dir / "content").iterdir()) == []
