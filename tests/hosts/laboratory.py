# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The laboratory: containers that run systemd as hosts, the simulators as everything around them, and what connects the two.

A service that runs on a host is a connection to here; it makes the agent of that host, or its StorPool client, be up in the simulators.
The power of a host's BMC in the simulator is the life of its container. See README.md.

It runs inside the namespaces that tests/tools/molecule.py makes, with that tool's environment for podman:

python3 laboratory.py serve                     in the background; prints a line when the simulators answer
python3 laboratory.py create | destroy          all hosts, made anew and booted; none
python3 laboratory.py events                    what happened to hosts since they were made, as JSON
python3 laboratory.py cut HOST | mend HOST      the way from a host to StorPool's API: gone, there again
python3 laboratory.py reset HOST                pulls the plug and puts it back
python3 laboratory.py booted HOST               waits until one can log in and its services run
python3 laboratory.py until HOST STATE          lets CloudStack's time pass until host HA says that; prints the states before
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import shutil
import socket
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
STORPOOL = "192.0.2.10"  # both simulators
MANAGEMENT = "192.0.2.20"  # where agents connect to
PORT = 8250
NETWORK = "storpool-cloudstack-hosts"
SUBNET, GATEWAY = "10.1.0.0/16", "10.1.255.254"
IMAGE = "localhost/storpool-cloudstack-host:latest"
# A name of its own for each checkout: what a killed run left is found by it.
CGROUP = f"/storpool-cloudstack-hosts-{hashlib.sha256(str(HERE).encode()).hexdigest()[:8]}"
CLUSTER = "sofia-a"
VERSION = "4.22.0"
LOOK = 0.2
# A service that ends, or is killed with its host, closes its connection at once. Silence alone is mostly that of a machine that is busy.
SILENCE = 60.0
BOOT_SECONDS = 300.0
# How often the simulated CloudStack looks at host HA, and how long of its time and of ours a state may take.
POLL, PATIENCE, OUR_PATIENCE = 4, 4000, 60.0
AGENT, CLIENT, SERVER = "cloudstack-agent", "storpool_block", "cloudstack-management"


@dataclass
class Host:
    name: str
    address: str
    services: tuple[str, ...]
    client: int = 0
    pid: int = 0
    losses: int = 0
    cut: bool = False
    resets: int = 0  # that are under way
    # service -> the connection that says that it runs
    running: dict[str, object] = field(default_factory=dict)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def alive(self) -> bool:
        return bool(self.pid) and Path(f"/proc/{self.pid}").exists()


# Names, addresses and clients are those of the simulated CloudStack.
KVM = [Host(f"kvm{10 + number}", f"10.1.0.{number}", (CLIENT, AGENT), 10 + number) for number in (1, 2, 3)]
SERVERS = [Host(f"ms{number}", f"10.1.0.{240 + number}", (SERVER,)) for number in (1, 2)]
HOSTS = {host.name: host for host in (*KVM, *SERVERS)}


class LaboratoryError(Exception):
    """Told to who asked."""


async def command(*words: str) -> str:
    process = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
    output = (await process.communicate())[0].decode(errors="replace")
    if process.returncode:
        raise LaboratoryError(f"`{' '.join(words)}` ended with status {process.returncode}: {output.strip()[-2000:]}")
    return output


class Laboratory:
    def __init__(self, work: Path, simulator) -> None:
        self.work = work
        self.simulator = simulator
        self.events: list[dict] = []
        self.there = False

    def note(self, host: Host, event: str, **more) -> None:
        self.events.append({"at": time.time(), "host": host.name, "event": event, **more})
        print(f"{time.strftime('%H:%M:%S')} {host.name}: {event} {more or ''}", flush=True)

    # Hosts

    async def create(self) -> dict:
        await self.destroy()
        self.simulator.reset()
        self.simulator.reset_calls()
        self.simulator.clear_faults()
        self.events.clear()
        for host in HOSTS.values():
            host.running, host.losses, host.cut, host.resets = {}, 0, False, 0
        for host in KVM:
            self.simulator.agent(host.name, "down")
            self.simulator.client(host.client, "down")
        self.there = True
        await asyncio.gather(*(self.make(host) for host in HOSTS.values()))
        await asyncio.gather(*(self.booted(host) for host in HOSTS.values()))
        return {"hosts": sorted(HOSTS)}

    async def destroy(self) -> dict:
        self.there = False
        for host in HOSTS.values():
            async with host.lock:
                host.pid = 0
        names = (await command("podman", "ps", "--all", "--format", "{{.Names}}")).split()
        if names:
            await command("podman", "rm", "--force", "--time=0", *names)
        return {}

    async def make(self, host: Host) -> None:
        place = self.work / "hosts" / host.name
        self.install(host, place)
        async with host.lock:
            await command(
                *("podman", "run", "--detach", "--name", host.name, "--hostname", host.name, "--pull=never", "--systemd=always"),
                *("--network", NETWORK, "--ip", host.address, "--cgroup-parent", CGROUP),
                *("--volume", f"{place}:/mnt/host:ro", IMAGE),
            )
            await self.look_up(host)
        self.note(host, "on")

    def install(self, host: Host, place: Path) -> None:
        """What an installation puts on a host, for its first boot."""
        shutil.rmtree(place, ignore_errors=True)
        files = place / "files"
        texts = {
            place / "laboratory": f"{MANAGEMENT}:{PORT}",
            place / "services": " ".join(host.services),
            place / "cloudstack": self.simulator.cloudstack["url"].split("/")[2],
            files / "root/.ssh/authorized_keys": (self.work / "ssh" / "key.pub").read_text(encoding="utf-8"),
            files / "etc/storpool.conf": (HERE / "storpool.conf").read_text(encoding="utf-8").format(
                host=self.simulator.host, port=self.simulator.port, token=self.simulator.token, name=host.name, client=host.client,
                cluster=self.simulator.clusters[CLUSTER]["id"],
            ),
        }  # fmt: skip
        if host.client:
            texts[files / "etc/cloudstack/agent/agent.properties"] = (HERE / "agent.properties").read_text(encoding="utf-8").format(
                name=host.name, management=MANAGEMENT, port=PORT, address=host.address
            )  # fmt: skip
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            path.chmod(0o600)
        for path in (place, *(one for one in place.rglob("*") if one.is_dir())):
            path.chmod(0o755)
        (files / "root/.ssh").chmod(0o700)

    async def look_up(self, host: Host) -> None:
        host.pid = int(await command("podman", "inspect", "--format", "{{.State.Pid}}", host.name))

    async def booted(self, host: Host) -> None:
        """Its services run and one can log in; raises LaboratoryError after BOOT_SECONDS."""
        deadline = time.monotonic() + BOOT_SECONDS
        while host.resets or not (set(host.services) <= set(host.running) and await self.answers(host)):
            if time.monotonic() > deadline:
                log = ""
                with contextlib.suppress(LaboratoryError):
                    log = await command("podman", "exec", host.name, "journalctl", "--no-pager", "--lines=50")
                raise LaboratoryError(f"{host.name} did not boot; of its services {sorted(host.running)} run.\n{log}")
            await asyncio.sleep(LOOK)

    @staticmethod
    async def answers(host: Host) -> bool:
        try:
            reader, writer = await asyncio.wait_for(asyncio.open_connection(host.address, 22), 2)
            greeting = await asyncio.wait_for(reader.read(4), 2)
            writer.close()
        except (OSError, asyncio.TimeoutError):
            return False
        return greeting == b"SSH-"

    # Power

    async def off(self, host: Host, why: str) -> None:
        async with host.lock:
            if host.alive:
                self.note(host, "off", why=why)
                await command("podman", "kill", "--signal=KILL", host.name)
            host.pid = 0

    async def on(self, host: Host, why: str) -> None:
        async with host.lock:
            if self.there and not host.alive:
                while host.running:  # of the one before; nobody may take that for services that run now
                    await asyncio.sleep(LOOK / 10)
                # Of the one before, podman may still be putting things away.
                await command("podman", "start", host.name)
                await self.look_up(host)
                self.note(host, "on", why=why)
                await self.route(host)

    async def route(self, host: Host) -> None:
        """The way to StorPool's API, as it is to be; a reboot mends no network."""
        route = ["nsenter", f"--net=/proc/{host.pid}/ns/net", "ip", "route"]
        if host.cut:
            await command(*route, "replace", "unreachable", STORPOOL)
        elif STORPOOL in await command(*route, "show", "type", "unreachable"):
            await command(*route, "delete", "unreachable", STORPOOL)

    async def reset(self, host: Host, why: str) -> None:
        host.resets += 1
        try:
            self.note(host, "reset", why=why)
            await self.off(host, why)
            await self.on(host, why)
        finally:
            host.resets -= 1

    async def follow_power(self) -> None:
        """The fake BMCs decide; a host that ended by itself (a reboot) comes again while it has power."""
        while True:
            await asyncio.sleep(LOOK)
            if not self.there:
                continue
            try:
                for host in KVM:
                    if host.resets or host.lock.locked():
                        continue
                    one = self.simulator.hosts()[host.name]
                    lost, host.losses = one["losses"] > host.losses, one["losses"]
                    if one["power"] == "off":
                        await self.off(host, "BMC")
                    elif lost:
                        await self.reset(host, "BMC")
                    elif host.pid and not host.alive:
                        self.note(host, "ended")
                        await self.on(host, "reboot")
                    elif not host.pid:
                        await self.on(host, "BMC")
            except Exception as why:  # the next look may find it in order
                print(f"power: {type(why).__name__}: {why}", flush=True)

    # Connections

    async def serve(self) -> None:
        server = await asyncio.start_server(self.connected, MANAGEMENT, PORT)
        async with server:
            await server.serve_forever()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            message = json.loads(await asyncio.wait_for(reader.readline(), SILENCE))
            if "ask" in message:
                answer = await self.asked(message, writer.get_extra_info("peername")[0])
            else:
                answer = await self.told(message)
            said = json.dumps(answer).encode() + b"\n"
            if "service" in message:
                await self.held(HOSTS[message["from"]], message["service"], reader, writer, said)
            else:
                writer.write(said)
                await writer.drain()
        except LaboratoryError as why:
            writer.write(json.dumps({"error": str(why)}).encode() + b"\n")
        except (OSError, ValueError, KeyError, asyncio.TimeoutError, asyncio.IncompleteReadError) as why:
            print(f"connection: {type(why).__name__}: {why}", flush=True)
        finally:
            with contextlib.suppress(OSError):
                writer.close()

    async def told(self, message: dict) -> dict:
        """A host's service, or an event of it."""
        host = HOSTS.get(message["from"])
        if host is None or not self.there:
            raise LaboratoryError("no host of this laboratory")
        if message.get("event") == "started":
            self.note(host, "management server started")
            self.simulator.restart_server(host.name)
        elif message.get("event") == "reset":
            # Who asks for it is answered by the end: it must not go on meanwhile as if it were well.
            await self.reset(host, "its own heartbeat")
        elif message.get("service") not in host.services:
            raise LaboratoryError(f"{host.name} has no {message.get('service')}")
        elif message["service"] == CLIENT and message["client"] != host.client:
            raise LaboratoryError(f"{host.name} is not client {message['client']}")
        return {"ok": True}

    async def held(self, host: Host, service: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, said: bytes) -> None:
        """While the service is heard, it runs. The simulators know of it before it is answered."""
        host.running[service] = reader
        self.note(host, f"{service} up")
        self.show(host, service, True)
        try:
            writer.write(said)
            await writer.drain()
            while await asyncio.wait_for(reader.readline(), SILENCE):
                pass
        except (OSError, asyncio.TimeoutError):
            pass
        # A newer connection of the same service may have taken over.
        if host.running.get(service) is reader:
            del host.running[service]
            self.note(host, f"{service} down")
            if self.there:
                self.show(host, service, False)

    def show(self, host: Host, service: str, runs: bool) -> None:
        if service == AGENT:
            self.simulator.agent(host.name, "up" if runs else "down")
        elif service == CLIENT:
            self.simulator.client(host.client, "running" if runs else "down")

    async def until(self, host: Host, state: str) -> dict:
        """Look by look, so that none of the state machine's steps is missed."""
        passed, deadline = 0, time.monotonic() + OUR_PATIENCE
        while passed < PATIENCE or time.monotonic() < deadline:
            ha = self.simulator.hosts()[host.name]["ha"] or {}
            if ha.get("state") == state:
                return {"went": [one["to"] for one in ha["history"]]}
            self.simulator.advance(POLL)
            passed += POLL
            # What it takes may still be under way on a host.
            await asyncio.sleep(0 if passed < PATIENCE else LOOK)
        raise LaboratoryError(f"{host.name} is not {state} after {PATIENCE} s but {ha.get('state')}; it went {ha.get('history')}")

    async def asked(self, message: dict, peer: str) -> dict:
        """From the command of this file."""
        if peer != MANAGEMENT:
            raise LaboratoryError("that is not for hosts to ask")
        what, words = message["ask"], message["words"]
        if what in ("create", "destroy"):
            return await getattr(self, what)()
        if what == "events":
            return {"events": self.events, "lines": [f"{one['host']} {one['event']}" for one in self.events]}
        host = HOSTS[words[0]]
        if what == "reset":
            await self.reset(host, "asked")
            await self.booted(host)
        elif what == "booted":
            await self.booted(host)
        elif what == "until":
            return await self.until(host, words[1])
        elif what in ("cut", "mend"):
            host.cut = what == "cut"
            self.note(host, f"{what} from StorPool's API")
            async with host.lock:
                if host.alive:
                    await self.route(host)
        else:
            raise LaboratoryError(f"nothing known of {what}")
        return {"ok": True}


def ask(words: list[str]) -> int:
    with socket.create_connection((MANAGEMENT, PORT)) as connection:
        connection.sendall(json.dumps({"ask": words[0], "words": words[1:]}).encode() + b"\n")
        answer = json.loads(connection.makefile("rb").readline())
    if "error" in answer:
        sys.exit(answer["error"])
    print(json.dumps(answer))
    return 0


async def run(work: Path) -> None:
    # Only where the simulator is installed; asking needs nothing.
    from storpool_simulator.testing import Simulator

    with Simulator(work / "simulator", host=STORPOOL, devices="none", cloudstack=VERSION) as simulator:
        laboratory = Laboratory(work, simulator)
        serving = asyncio.ensure_future(laboratory.serve())
        await asyncio.sleep(0)
        cloud = simulator.cloudstack
        ready = {
            "SP_API_HTTP_HOST": simulator.host,
            "SP_API_HTTP_PORT": str(simulator.port),
            "SP_AUTH_TOKEN": simulator.token,
            "CLOUDSTACK_ENDPOINT": cloud["url"],
            "CLOUDSTACK_KEY": cloud["key"],
            "CLOUDSTACK_SECRET": cloud["secret"],
        }
        print(json.dumps({"ready": ready}), flush=True)
        await asyncio.gather(serving, laboratory.follow_power())


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        asyncio.run(run(Path(os.environ["LABORATORY_WORK"])))
    elif sys.argv[1:]:
        sys.exit(ask(sys.argv[1:]))
    else:
        sys.exit(__doc__)
