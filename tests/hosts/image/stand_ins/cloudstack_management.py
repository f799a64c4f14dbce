# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""In the place of a management server: each start is a restart of it in the simulated CloudStack, whose API it hands on at its port."""

import contextlib
import os
import socket
import threading
import time

import laboratory

PORT = 8080
API = "/mnt/host/cloudstack"
# A management server takes a minute or two; here it is enough that the port of one is not open at once.
START = {"ms1": 1.5}


def pump(source, target):
    with contextlib.suppress(OSError):
        while part := source.recv(65536):
            target.sendall(part)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def serve(connection):
    with open(API, encoding="utf-8") as source:
        host, _colon, port = source.read().strip().rpartition(":")
    with connection, contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=60) as api:
        back = threading.Thread(target=pump, args=(api, connection), daemon=True)
        back.start()
        pump(connection, api)
        back.join()


def hold():
    laboratory.hold("cloudstack-management")
    os._exit(1)


time.sleep(START.get(socket.gethostname(), 0))
# Settings come into force with the restart, so the simulator hears of it before anybody can ask this server.
with contextlib.closing(laboratory.connect(laboratory.known_address(), {"event": "started"})):
    pass
threading.Thread(target=hold, daemon=True).start()
with socket.create_server(("0.0.0.0", PORT)) as listener:
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
