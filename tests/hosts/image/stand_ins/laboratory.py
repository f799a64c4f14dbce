# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a host tells the laboratory around it: that a service of it runs, for as long as it does, and that it wants to be reset.

A service is a connection that is held, so a service that is killed, frozen or loses its host is known to be gone. It says something
every second; who is not heard for a minute is taken for gone.
"""

import json
import os
import socket
import sys
import time

SECOND = 1.0
AGAIN = 1.0
PATIENCE = 60.0
ADDRESS = "/mnt/host/laboratory"


def connect(address, message):
    """Say what this is; raises OSError when that is not heard or not accepted."""
    connection = socket.create_connection(address, timeout=PATIENCE)
    try:
        connection.sendall(json.dumps({"from": socket.gethostname(), **message}).encode() + b"\n")
        answer = connection.makefile("rb").readline()
        if not answer:
            raise OSError("the laboratory closed the connection")
        refused = json.loads(answer).get("error")
        if refused:
            raise OSError(refused)
    except BaseException:
        connection.close()
        raise
    return connection


def known_address():
    with open(ADDRESS, encoding="utf-8") as source:
        host, _colon, port = source.read().strip().rpartition(":")
    return host, int(port)


def tell_systemd():
    """A unit of Type=notify is started now: what comes after it finds the service known to all."""
    if os.environ.get("NOTIFY_SOCKET"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as there:
            there.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"].replace("@", "\0", 1))


def hold(service, address=None, **more):
    """For ever: a connection that says that the service runs; it comes again when it breaks."""
    while True:
        try:
            with connect(address or known_address(), {"service": service, **more}) as connection:
                print(f"{service}: connected", flush=True)
                tell_systemd()
                while True:
                    time.sleep(SECOND)
                    connection.sendall(b"\n")
        except OSError as why:
            print(f"{service}: {why}", flush=True)
            time.sleep(AGAIN)


if __name__ == "__main__":
    if sys.argv[1:] != ["reset"]:
        sys.exit("usage: laboratory.py reset")
    connect(known_address(), {"event": "reset"}).close()
