# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The StorPool API over ASGI: from the bytes of a request to the bytes of its answer."""

from __future__ import annotations

import asyncio
import json
import logging
import traceback
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from . import paths
from .calllog import Entry
from .calls.registry import Call, Calls, Context, Encoded
from .cluster import Cluster
from .errors import ApiError, invalid, missing
from .faults import Fault
from .tables import Mismatch
from .transport import Answer, cut, deliver, read_body
from .views import BrokenAnswer, encode
from .world import World

LOG = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

BAD_JSON = b'{"generation": 1, "data": [{"name": '
WITHOUT_EFFECT = frozenset({"transient", "error", "status", "cut_before"})
# After these the caller does not know what became of its call
ANSWERLESS = frozenset({"cut_after", "bad_json", "truncated"})
UNREACHABLE = "connectionError"
# Where bodies name the objects they are about, for faults on one object.
NAMING_KEYS = ("name", "volume", "snapshot", "volumes", "reassign", "toSnapshot", "remoteId")


def named_in(body: Any) -> set[str]:
    if isinstance(body, str):
        return {body}
    if isinstance(body, list):
        return set().union(*(named_in(one) for one in body)) if body else set()
    if isinstance(body, dict):
        return set().union(*(named_in(body[key]) for key in NAMING_KEYS if key in body))
    return set()


class Api:
    def __init__(self, world: World) -> None:
        self.world = world
        self.calls = Calls()
        self.ports: dict[int, Cluster] = {}
        self._authorization = b"Storpool v1:" + world.token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_body(receive)
        method: str = scope["method"]
        wire: str = scope["storpool_simulator.target"]
        target = paths.parse(wire)
        local = self.ports[scope["server"][1]]
        write = method == "POST"
        entry = Entry(local.name, method, wire, target.query, write, body)
        self.world.log.add(entry)
        fault = None
        try:
            self._authorize(scope)
            cluster = self._addressed(local, target)
            entry.cluster = cluster.name
            call = self._route(method, target)
            parsed = self._parse(call, target, body)
            fault = self._fault(entry, cluster, call, target, parsed)
            if fault is not None:
                entry.fault = fault.kind
                resets = self.world.resets
                await self._before(fault, cluster, scope)
                if self.world.resets != resets:
                    await cut(scope)  # it belongs to a story that is over
                    return
                if fault.kind in WITHOUT_EFFECT:
                    instead = self._instead(fault, entry)
                    if instead is not None:
                        entry.status = instead.status
                        await instead.send(send)
                    return
            answer = await self._run(call, target, cluster, parsed, receive)
        except ApiError as error:
            entry.error = error.name
            answer = self._error(error)
        except Exception as error:
            LOG.error("a bug of the simulator in %s %s\n%s", method, wire, traceback.format_exc())
            entry.error = "simulatorBug"
            answer = self._error(ApiError("simulatorBug", f"{type(error).__name__}: {error}", status=500))
        entry.status = answer.status
        await deliver(fault, answer, BAD_JSON, scope, send)

    # A call from within the process: what a management server's plugin or a host's agent asks of its cluster

    def local(self, cluster: Cluster, method: str, path: str, body: Any = None) -> dict:
        """The answer's document; the call is checked, logged and on record like one that came by the network.

        Whatever of the world changed before it is on record as well. Faults act, but for those that take time. Raises ApiError.
        """
        self.world.commit()
        wire = paths.BASE + path
        target = paths.parse(wire)
        write = method == "POST"
        data = b"" if body is None else encode(body)
        entry = Entry(cluster.name, method, wire, target.query, write, data, plugin=True)
        self.world.log.add(entry)
        try:
            call = self._route(method, target)
            parsed = self._parse(call, target, data)
            fault = self._fault(entry, cluster, call, target, parsed)
            if fault is not None:
                entry.fault = fault.kind
                self._refuse_locally(fault)
            document = json.loads(self._performed(call, target, cluster, parsed)[1])
            if fault is not None and fault.kind in ANSWERLESS:
                raise ApiError(UNREACHABLE, "the connection ended before the answer was complete")
        except ApiError as error:
            entry.error = error.name
            entry.status = error.status or self.world.assume.error_status
            raise
        entry.status = 200
        return document

    @staticmethod
    def _refuse_locally(fault: Fault) -> None:
        if fault.kind == "cut_before":
            raise ApiError(UNREACHABLE, "the connection was closed")
        if fault.kind == "status":
            raise ApiError(UNREACHABLE, f"HTTP status {fault.more['status']}", status=fault.more["status"])
        if fault.kind in WITHOUT_EFFECT:
            raise ApiError(fault.more["name"], fault.more["descr"], transient=fault.kind == "transient", status=fault.more["status"])

    # Before the call

    def _authorize(self, scope: Scope) -> None:
        """The token is the same for all clusters of the process."""
        for key, value in scope["headers"]:
            if key == b"authorization":
                if value == self._authorization:
                    return
                break
        assume = self.world.assume
        raise ApiError(assume.auth_name, "the authorization token is missing or wrong", status=assume.auth_status)

    def _addressed(self, local: Cluster, target: paths.Target) -> Cluster:
        if target.remote is None:
            return local
        cluster = self.world.cluster_called(target.remote)
        if cluster is None:
            raise missing("Cluster", target.remote)
        return cluster

    def _route(self, method: str, target: paths.Target) -> Call:
        assume = self.world.assume
        write = method == "POST"
        call = self.calls.get(write, target.query) if method in ("GET", "POST") else None
        if call is None:
            other = self.calls.get(not write, target.query)
            hint = f"; it is a {'POST' if other.write else 'GET'} call" if other else ""
            raise ApiError(assume.unknown_name, f"no such call: {method} {target.query}{hint}", status=assume.unknown_status)
        if len(target.args) != len(call.arguments):
            wanted = "/".join(name for name, _unused in call.arguments) or "none"
            raise ApiError(
                assume.unknown_name,
                f"{target.query}: {len(target.args)} path arguments were given, wanted: {wanted}",
                status=assume.unknown_status,
            )
        if call.function is None:
            raise ApiError(
                assume.unsupported_name, f"the simulator does not have the call {target.query}", status=assume.unsupported_status
            )
        if (target.multi and not target.all_clusters and not call.multi) or (target.all_clusters and (write or call.arguments)):
            form = "MultiCluster/AllClusters/" if target.all_clusters else "MultiCluster/"
            raise ApiError(assume.unknown_name, f"{target.query} cannot be called with {form}", status=assume.unknown_status)
        return call

    @staticmethod
    def _parse(call: Call, target: paths.Target, body: bytes) -> tuple[list, Any]:
        try:
            arguments = [check(value, name) for (name, check), value in zip(call.arguments, target.args, strict=True)]
            text: bytes | str | None = body if call.write else target.json
            if not text or not text.strip():
                if not call.optional:
                    raise invalid(f"{call.query} needs a JSON body")
                return arguments, {}
            try:
                value = json.loads(text)
            except (ValueError, RecursionError) as why:
                raise invalid(f"the body is not JSON that can be read: {why}") from why
            if call.request is not None:
                return arguments, call.request(value, "")
            if value != {}:
                raise invalid(f"{call.query} takes no fields: {', '.join(value) if isinstance(value, dict) else value!r}")
            return arguments, {}
        except Mismatch as why:
            raise invalid(str(why)) from why

    # Faults

    def _fault(self, entry: Entry, cluster: Cluster, call: Call, target: paths.Target, parsed: tuple[list, Any]) -> Fault | None:
        if not self.world.faults:
            return None
        objects = set(target.args) | named_in(parsed[1])
        return self.world.faults.take(cluster.name, call.query, call.write, objects, plugin=entry.plugin)

    async def _before(self, fault: Fault, cluster: Cluster, scope: Scope) -> None:
        if fault.kind == "delay":
            await asyncio.sleep(fault.more["seconds"])
        elif fault.kind == "held":
            await self.world.faults.hold(fault)
        elif fault.kind == "client_down":
            cluster.set_client(int(fault.more["client"]), "down")
            self.world.commit()
        elif fault.kind == "cut_before":
            await cut(scope)

    def _instead(self, fault: Fault, entry: Entry) -> Answer | None:
        if fault.kind == "cut_before":
            return None
        if fault.kind == "status":
            return Answer(fault.more["status"], str(fault.more["body"]).encode(), b"text/html")
        error = ApiError(fault.more["name"], fault.more["descr"], transient=fault.kind == "transient", status=fault.more["status"])
        entry.error = error.name
        return self._error(error)

    # The call

    def _error(self, error: ApiError) -> Answer:
        return Answer(error.status or self.world.assume.error_status, encode(error.body()))

    async def _run(self, call: Call, target: paths.Target, cluster: Cluster, parsed: tuple[list, Any], receive: Receive) -> Answer:
        context, body = self._performed(call, target, cluster, parsed)
        if context is not None and context.wait is not None:
            hung_up = asyncio.ensure_future(receive())
            try:
                replaced = await context.wait(hung_up.done)
            finally:
                hung_up.cancel()
            if replaced is not None:
                cluster = context.cluster
                body = self._body(call, target, cluster, _checked(call, replaced), cluster.generation)
        return Answer(200, body)

    def _performed(self, call: Call, target: paths.Target, cluster: Cluster, parsed: tuple[list, Any]) -> tuple[Context | None, bytes]:
        """The call's effect and its answer, which may be replaced after a wait."""
        if target.all_clusters:
            return None, self._all_clusters(call, cluster)
        arguments, body = parsed
        if target.multi and call.subjects is not None:
            cluster = self._executing(cluster, call.subjects(arguments, body))
        context = Context(self.world, cluster, target.multi, cluster.neighbours() if target.multi else [cluster])
        if call.write:
            data, generation = self._change(context, call, arguments, body)
        else:
            data, generation = self._read(context, call, arguments)
        return context, self._body(call, target, cluster, data, generation)

    @staticmethod
    def _body(call: Call, target: paths.Target, cluster: Cluster, data: bytes, generation: int) -> bytes:
        head = b'{"generation":%d,' % generation
        if target.multi and call.write:
            head += b'"clusterId":' + encode(cluster.id) + b","
        return head + b'"data":' + data + b"}"

    def _executing(self, local: Cluster, subjects: list[str]) -> Cluster:
        """A multi-cluster call is carried out where its object is, by preference here (sheet 4.4)."""
        for name in subjects:
            for cluster in local.neighbours():
                gid = cluster.gid_of(name)
                if gid and cluster.object(gid) is not None:
                    return cluster
        return local

    def _read(self, context: Context, call: Call, arguments: list) -> tuple[bytes, int]:
        assert call.function is not None
        data = _checked(call, call.function(context, *arguments))
        if self.world.assume.reads_raise_generation:
            context.cluster.raise_generation()
            self.world.commit()
        return data, context.cluster.generation

    def _change(self, context: Context, call: Call, arguments: list, body: Any) -> tuple[bytes, int]:
        """All or nothing: what a failing call changed is undone, and nothing is answered that is not on record."""
        assert call.function is not None
        cluster = context.cluster
        before = cluster.generation
        try:
            more = call.function(context, *arguments, body) or {}
            self.world.prepare()
            if self.world.assume.noop_raises_generation and cluster.generation == before:
                cluster.raise_generation()
            data = {"ok": True, **({"generation": cluster.generation} if call.tells_generation else {}), **more}
            encoded = _checked(call, data)
            self.world.commit(prepared=True)
        except BaseException:
            self.world.rollback()
            raise
        return encoded, cluster.generation

    def _all_clusters(self, call: Call, local: Cluster) -> bytes:
        """Each cluster of the location answers for itself (sheet 1.4)."""
        parts = []
        for cluster in local.neighbours():
            try:
                data, generation = self._read(Context(self.world, cluster, True, [cluster]), call, [])
                parts.append(b'{"response":{"generation":%d,"data":%b}}' % (generation, data))
            except ApiError as error:
                parts.append(encode(error.body()))
        return b'{"generation":%d,"data":{"clusters":[%b]}}' % (local.generation, b",".join(parts))


def _checked(call: Call, data: Any) -> bytes:
    if isinstance(data, Encoded):
        return data
    try:
        return encode(call.response(data, ""))
    except Mismatch as why:
        raise BrokenAnswer(f"{call.query}: {why}") from why
