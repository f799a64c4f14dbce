# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The CloudStack API over ASGI: from the bytes of a request to the bytes of its answer."""

from __future__ import annotations

import asyncio
import json
import logging
import time
import traceback
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from ..calllog import Entry
from ..faults import JOB_KINDS
from ..transport import Answer, cut, deliver, read_body
from . import answers, errors, parameters, signing
from .facts import Command, changes
from .request import Caller

if TYPE_CHECKING:
    from ..faults import Fault
    from ..world import World
    from .cloud import Cloud

LOG = logging.getLogger(__name__)

PATH = "/client/api"
NAME = "cloudstack"
FORM = b"application/x-www-form-urlencoded"
TRANSIENT = 503
NOT_LOGGED = frozenset(("signature", "apikey", "signatureversion", "expires", "response", "command"))
BAD_JSON = b'{"errorresponse": {"uuidList": [], '

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Api:
    def __init__(self, world: World, cloud: Cloud) -> None:
        self.world = world
        self.cloud = cloud
        # Ports where nothing is signed (integration.api.port)
        self.unsigned: set[int] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_body(receive)
        target: str = scope["storpool_simulator.target"]
        unsigned = scope["server"][1] in self.unsigned
        raw = _parameters(scope, target, b"" if unsigned else body)
        name = raw.get("command", "")
        shown = {key: value for key, value in raw.items() if key.lower() not in NOT_LOGGED}
        entry = Entry(NAME, scope["method"], target.partition("?")[0], name, changes(name), json.dumps(shown).encode())
        self.world.log.add(entry)
        command = self.cloud.facts.commands.get(name)
        fault = None
        try:
            caller = self._system(command) if unsigned else self._caller(scope["method"], command, raw)
            assert command is not None
            fault = self.world.faults.take(NAME, name, entry.write, set(raw.values()), command.is_async) if self.world.faults else None
            if fault is not None:
                entry.fault = fault.kind
                if await self._acts_before(fault, scope):
                    return
            if fault is not None and fault.kind == "status":
                answer = Answer(fault.more["status"], str(fault.more["body"]).encode(), b"text/html")
            else:
                answer = self._encoded(200, command.envelope, raw, self._run(command, caller, raw, fault))
        except errors.ServerError as error:
            entry.error = str(error.status)
            answer = self._refusal(command, raw, error)
        except Exception as error:
            LOG.error("a bug of the simulator in %s\n%s", name, traceback.format_exc())
            self.world.rollback()
            entry.error = "simulatorBug"
            answer = self._refusal(command, raw, errors.ServerError(500, f"simulatorBug: {type(error).__name__}: {error}"))
        entry.status = answer.status
        answer.ahead = self.cloud.skew
        await deliver(fault, answer, BAD_JSON, scope, send)

    # Who asks

    def _system(self, command: Command | None) -> Caller:
        """The unsigned port acts for the system account, here that of the admin."""
        if command is None:
            raise errors.ServerError(432, "The given command does not exist or it is not available for user")
        user = next(iter(self.cloud.users.values()))
        return Caller(user, self.cloud.accounts[user["account"]])

    def _caller(self, method: str, command: Command | None, raw: dict[str, str]) -> Caller:
        """The checks in the order of ``ApiServlet`` and ``ApiServer.verifyRequest`` (sheet section 2)."""
        enforced = self.cloud.settings.truth("enforce.post.requests.and.timestamps")
        name = raw.get("command", "")
        if enforced and method != "POST" and changes(name):
            raise errors.ServerError(400, f"State changing command {name} needs to be sent using POST request")
        if command is None:
            raise errors.unauthorized()
        folded = {key.lower(): value for key, value in raw.items()}
        signature, key = folded.get("signature"), folded.get("apikey")
        if signature is None or key is None:
            raise errors.unauthorized()
        self._check_expiry(folded, enforced)
        caller = self._known(key)
        if not command.is_for(caller.role):
            raise errors.ServerError(401, f"The given command '{name}' either does not exist, is not available for user.")
        if signature != signing.signature(raw, caller.user["secret"]):
            raise errors.unauthorized()
        return caller

    def _check_expiry(self, folded: dict[str, str], enforced: bool) -> None:
        """By the machine's own clock, moved only by `skew`: clients do not know the simulator's."""
        if folded.get("signatureversion") != "3":
            if enforced:
                raise errors.unauthorized()
            return
        expires = signing.moment(folded.get("expires", ""))
        now = time.time() + self.cloud.skew
        if expires is None or expires < now or (enforced and expires > now + signing.ENFORCED_AHEAD):
            raise errors.unauthorized()

    def _known(self, key: str) -> Caller:
        user = next((one for one in self.cloud.living(self.cloud.users) if one["key"] == key), None)
        if user is None or user["state"] != "enabled":
            raise errors.unauthorized()
        account = self.cloud.accounts[user["account"]]
        if account["state"] != "enabled" or not account["key_access"]:
            raise errors.unauthorized()
        return Caller(user, account)

    # The call

    def _run(self, command: Command, caller: Caller, raw: dict[str, str], fault: Fault | None) -> dict:
        """All or nothing, and nothing is answered that is not on record. Raises ServerError."""
        try:
            if fault is not None and fault.kind in ("transient", "error"):
                raise _demanded(fault)
            parameters.refuse_control_characters(raw)
            request = self.cloud.engine.request(command, caller, raw)
            content = self.cloud.engine.run(request, fault if fault is not None and fault.kind in JOB_KINDS else None)
            self.world.commit()
            return content
        except errors.ServerError:
            self.world.rollback()
            raise

    async def _acts_before(self, fault: Fault, scope: Scope) -> bool:
        """True: the connection is gone already."""
        resets = self.world.resets
        if fault.kind == "delay":
            await asyncio.sleep(fault.more["seconds"])
        elif fault.kind == "held":
            await self.world.faults.hold(fault)
        elif fault.kind == "client_down":
            next(iter(self.world.clusters.values())).set_client(int(fault.more["client"]), "down")
            self.world.commit()
        if fault.kind == "cut_before" or self.world.resets != resets:
            await cut(scope)  # after a reset it belongs to a story that is over
            return True
        return False

    # Answers

    def _refusal(self, command: Command | None, raw: dict[str, str], error: errors.ServerError) -> Answer:
        envelope = command.envelope if command is not None else answers.ERROR_ENVELOPE
        answer = self._encoded(error.status, envelope, raw, error.body())
        if error.code is not None:
            line = "".join(one if one.isprintable() else " " for one in error.text)
            answer.headers = ((b"x-description", line.encode("latin-1", "replace")),)
        return answer

    def _encoded(self, status: int, envelope: str, raw: dict[str, str], content: dict) -> Answer:
        """JSON for response=json alone, XML otherwise."""
        wanted = next((value for key, value in raw.items() if key.lower() == "response"), "xml")
        if wanted.lower() != "json":
            return Answer(status, answers.encode_xml(envelope, content), b"text/xml; charset=UTF-8")
        kind = self.cloud.settings.in_force("json.content.type") or "application/json; charset=UTF-8"
        return Answer(status, answers.encode(envelope, content), kind.encode())


def _demanded(fault: Fault) -> errors.ServerError:
    """An error on demand: its `name` is the error code, `status` wins over it."""
    if fault.kind == "transient":
        return errors.ServerError(int(fault.more["status"] or TRANSIENT), fault.more["descr"])
    name = str(fault.more["name"])
    return errors.ServerError(int(fault.more["status"] or (name if name.isdigit() else 530)), fault.more["descr"])


def _parameters(scope: Scope, target: str, body: bytes) -> dict[str, str]:
    """Query string and form body together; of a name given twice the first counts."""
    texts = [target.partition("?")[2]]
    if any(key == b"content-type" and value.lower().startswith(FORM) for key, value in scope["headers"]):
        texts.append(body.decode("utf-8", "replace"))
    found: dict[str, str] = {}
    for text in texts:
        for name, value in parse_qsl(text, keep_blank_values=True):
            found.setdefault(name, value)
    return found
