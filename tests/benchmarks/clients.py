# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a person would write without the collection: a loop over the API.

    python clients.py bare|bindings create|unchanged|change|delete COUNT SIZE [PARALLEL]

`bare` is http.client with kept connections, `bindings` the official package, which opens a connection for each call. Both find the server
by the variables that the collection reads. `unchanged` compares one listing with what is wanted, as any idempotent program has to.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

from stand_in import name_of


def connection() -> tuple[str, int, str]:
    return os.environ["SP_API_HTTP_HOST"], int(os.environ["SP_API_HTTP_PORT"]), os.environ["SP_AUTH_TOKEN"]


def each(count: int, parallel: int, worker: Callable[[Any], None]) -> None:
    """Let `parallel` threads work through the numbers below `count`."""
    numbers = iter(range(count))
    lock = threading.Lock()

    def following():
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            yield number

    threads = [threading.Thread(target=worker, args=(following(),)) for _unused in range(parallel)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class Bare:
    def __init__(self, host: str, port: int, token: str) -> None:
        self.connection = http.client.HTTPConnection(host, port)
        self.headers = {"Authorization": f"Storpool v1:{token}", "Content-Type": "application/json"}

    def call(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body)
        self.connection.request(method, f"/ctrl/1.0/{path}", data, self.headers)
        answer = json.loads(self.connection.getresponse().read())
        if "error" in answer:
            raise SystemExit(f"{path}: {answer['error']}")
        return answer["data"]


def bare(operation: str, count: int, size: int, parallel: int) -> None:
    if operation == "unchanged":
        have = {volume["name"]: volume for volume in Bare(*connection()).call("GET", "VolumesList")}
        different = [number for number in range(count) if have[name_of(number)]["size"] != size]
        raise SystemExit(f"{len(different)} volumes differ" if different else 0)

    def worker(numbers):
        client = Bare(*connection())
        for number in numbers:
            name = name_of(number)
            if operation == "create":
                client.call("POST", "VolumeCreate", {"name": name, "size": size, "template": "nvme"})
            elif operation == "change":
                client.call("POST", f"VolumeUpdate/{name}", {"size": size})
            else:
                client.call("POST", f"VolumeDelete/{name}", {})

    each(count, parallel, worker)


def bindings(operation: str, count: int, size: int, parallel: int) -> None:
    from storpool import spapi

    api = spapi.Api(*connection())
    if operation == "unchanged":
        have = {volume.name: volume for volume in api.volumesList()}
        different = [number for number in range(count) if have[name_of(number)].size != size]
        raise SystemExit(f"{len(different)} volumes differ" if different else 0)

    def worker(numbers):
        for number in numbers:
            name = name_of(number)
            if operation == "create":
                api.volumeCreate({"name": name, "size": size, "template": "nvme"})
            elif operation == "change":
                api.volumeUpdate(name, {"size": size})
            else:
                api.volumeDelete(name)

    each(count, parallel, worker)


if __name__ == "__main__":
    {"bare": bare, "bindings": bindings}[sys.argv[1]](sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), int((sys.argv[5:] or ["1"])[0]))
