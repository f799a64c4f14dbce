# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 1: one kept-alive HTTP session to one system behind several endpoints.

Deadline, retries with jittered back-off, failover, the read-only guard of check mode and the count of calls live here and nowhere else.
"""

from __future__ import annotations

import io
import json
import random
import socket
import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import BadStatusLine, HTTPException, HTTPResponse, RemoteDisconnected
from ssl import SSLError
from typing import Any, Callable
from urllib.parse import urlsplit

from ._errors import AnswerLost, CollectionError, Unreachable, WriteInCheckMode

try:
    from requests.adapters import HTTPAdapter
    from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError
    from urllib3.util import is_connection_dropped

    REQUESTS_ERROR = None
except ImportError:  # reported by the runner with Ansible's own text for missing libraries
    REQUESTS_ERROR = traceback.format_exc()

CONNECT_TIMEOUT = 5.0  # seconds for one TCP connection
RESTED = 0.02  # seconds after which a kept connection may have been closed by the server
CONNECT_ATTEMPTS = 6  # as many as the official bindings make, over all endpoints
BACKOFF_FIRST, BACKOFF_LONGEST = 0.25, 5.0  # seconds
FIND_OUT = "whether it took effect is not known; running the task again finds out and finishes"
SILENCE = 0.25  # the part of a read's time that endpoints may let pass without a word, while there is another one to ask
GATEWAY_TIMEOUTS = (504, 524)  # statuses; the latter is Cloudflare's
_PIECE = 1 << 20  # bytes read at a time
BODY_LIMIT = 128 << 20  # bytes of one answer; a listing of a hundred thousand volumes fits, a runaway body does not
VALUES_LIMIT = 8_000_000  # values in one answer: as Python objects, small ones take twenty times the room that they had in the body
_SMALL = 1 << 20  # bytes; a body up to this size cannot hold too many


class Transient(Exception):
    """Raised by a decoder: the call had no effect and trying again can help. ``error`` is what to report at last."""

    def __init__(self, error: CollectionError) -> None:
        super().__init__(str(error))
        self.error = error


def loaded(body: bytes) -> Any:
    """Return what a JSON body says. :raises ValueError: it is not JSON, or such that no answer of an API is."""
    if len(body) > _SMALL and body.count(b",") + body.count(b"[") + body.count(b"{") > VALUES_LIMIT:
        raise ValueError(f"more than {VALUES_LIMIT} values")
    try:
        return json.loads(body)
    except RecursionError:
        raise ValueError("nested too deeply") from None


class Stats:
    """Counts of one task: calls by kind, attempts beyond the first of each, seconds waited between them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.reads = self.writes = self.retries = 0
        self.waited = 0.0

    def call(self, write: bool) -> None:
        """Count one call (not its repetitions)."""
        with self._lock:
            if write:
                self.writes += 1
            else:
                self.reads += 1

    def retry(self, waited: float) -> None:
        """Count one more attempt of a call already counted, after ``waited`` seconds."""
        with self._lock:
            self.retries += 1
            self.waited += waited

    def as_dict(self) -> dict[str, Any]:
        """Return the ``api`` member of a result."""
        return {
            "reads": self.reads,
            "writes": self.writes,
            "attempts": self.reads + self.writes + self.retries,
            "waited": round(self.waited, 1),
        }


class Endpoint:
    """One address of the API: ``base`` is its URL, ``label`` how errors call it."""

    def __init__(self, base: str, label: str) -> None:
        self.base = base.rstrip("/")
        self.label = label
        address = urlsplit(self.base)
        self.host = address.netloc
        self._path = address.path

    def target(self, path: str) -> str:
        """Return what a request line asks for: ``path`` (which may be only a query) below the address."""
        return self._path + path if path.startswith("/") else (self._path or "/") + path


@dataclass(frozen=True)
class Reply:
    """What one endpoint answered: HTTP status, whole body, headers."""

    endpoint: Endpoint
    status: int
    body: bytes
    headers: Mapping[str, str]


class Http:
    """Calls to one system.

    :param endpoints: in order of preference; the one that answered last is asked first.
    :param headers: sent with every call (the credentials among them; they go to the endpoints only, redirects are never followed).
    :param timeout: seconds that one call may take in all, with its retries and failovers. Where there are several endpoints, those that
        take a read and say nothing may use up a quarter of it (:data:`SILENCE`); the last one that is left has all the rest.
    :param decode: takes a :class:`Reply` and returns the answer; raises :class:`Transient` when the call may be sent again,
        any :class:`CollectionError` when not, and ``ValueError`` when the body is no answer of this API at all.
    :param pool: how many connections are kept open.
    :param verify: whether the certificate of an ``https`` endpoint is checked; a path names the authorities that may vouch for it.
    """

    def __init__(
        self,
        endpoints: list[Endpoint],
        headers: dict[str, str],
        timeout: float,
        decode: Callable[[Reply], Any],
        pool: int = 8,
        verify: bool | str = True,
    ) -> None:
        self.endpoints = endpoints
        self.timeout = timeout
        self.stats = Stats()
        self.read_only = False
        self._decode = decode
        self._headers = "".join(f"{name}: {value}\r\n" for name, value in {"Accept-Encoding": "identity", **headers}.items())
        self._pool = pool
        self._verify = verify
        self._kept: dict[Endpoint, _Connections] = {}
        self._preferred = 0
        self._clock = time.monotonic
        self._sleep = time.sleep

    def close(self) -> None:
        """Close the kept connections."""
        for connections in self._kept.values():
            connections.close()

    def get(self, path: str) -> Any:
        """Read. Repeated until it is answered, the deadline passes or all endpoints failed six times.

        :raises CollectionError: the server's refusal, or :class:`Unreachable`.
        """
        return self._call("GET", path, None, False, 0.0)

    def post(self, path: str, body: bytes, *, waits: float = 0.0) -> Any:
        """Write. Sent again only when it is certain that it had no effect.

        :param waits: seconds that the server itself may wait before it answers; added to the deadline.
        :raises AnswerLost: sent, and no usable answer came back.
        :raises CollectionError: as :meth:`get`.
        """
        if self.read_only:
            raise WriteInCheckMode(
                f"a write ({path}) was about to be sent in check mode", hint="this is a defect of the collection; nothing was sent"
            )
        return self._call("POST", path, body, True, waits)

    def _call(self, method: str, path: str, data: bytes | None, write: bool, waits: float) -> Any:
        self.stats.call(write)
        deadline = self._clock() + self.timeout + waits
        attempt = failures = 0
        silent: set[Endpoint] = set()
        while True:
            endpoint = self.endpoints[self._preferred]
            attempt += 1
            # A write is not taken elsewhere while it may be under way here; a read can be.
            others = 0 if write else len(self.endpoints) - 1 - len(silent - {endpoint})
            patience = self.timeout * SILENCE / (len(self.endpoints) - 1) if others > 0 else None
            status = 0
            try:
                reply = self._send(method, endpoint, path, data, deadline, patience)
                status = reply.status
                return self._decode(reply)
            except Transient as exc:
                problem = exc.error
            except _NotSent as exc:
                problem = Unreachable(f"{endpoint.label} cannot be reached: {exc}")
            except (_Cut, ValueError) as exc:
                what = exc if isinstance(exc, _Cut) else f"answered what is no answer: {exc!s:.200}"
                # A query carries credentials and a signature that would still be good.
                problem = Unreachable(f"{endpoint.label} took {path.partition('?')[0] or 'the request'} and then {what}")
                if isinstance(exc, _TooLong) and not write:
                    raise problem from exc
                if isinstance(exc, _TimeUp):
                    silent.add(endpoint)
                if write:
                    if silent:
                        self._fail_over(endpoint)  # whoever reads it back had better ask another one
                    raise AnswerLost(
                        problem.message,
                        hint=FIND_OUT,
                        # A gateway that gives up waiting says nothing of the server behind it, which goes on.
                        under_way=isinstance(exc, _TimeUp) or status in GATEWAY_TIMEOUTS or None,
                    ) from exc
            around = 1
            if isinstance(problem, Unreachable):
                failures += 1
                around = len(self.endpoints)
                self._fail_over(endpoint)
            # A further endpoint is tried at once; only a whole round without success is worth a pause.
            rounds, place = divmod(attempt - 1, around)
            pause = _backoff(rounds) if place == around - 1 else 0.0
            if failures >= CONNECT_ATTEMPTS * around or self._clock() + pause >= deadline:
                raise self._given_up(problem, attempt)
            if pause:
                self._sleep(pause)
            self.stats.retry(pause)

    @staticmethod
    def _given_up(problem: CollectionError, attempts: int) -> CollectionError:
        """Return ``problem`` with how often it was tried."""
        problem.parts["attempts"] = attempts
        if attempts > 1:
            problem.message += f"; gave up after {attempts} attempts"
        return problem

    def _fail_over(self, failed: Endpoint) -> None:
        """Prefer the endpoint after ``failed``, unless another thread has moved on already."""
        if self.endpoints[self._preferred] is failed:
            self._preferred = (self._preferred + 1) % len(self.endpoints)

    def _send(
        self, method: str, endpoint: Endpoint, path: str, data: bytes | None, deadline: float, patience: float | None = None
    ) -> Reply:
        """Send one request and return its answer; tells apart what never left (:class:`_NotSent`) from what was cut off (:class:`_Cut`).

        :param patience: seconds without a byte after which this endpoint counts as silent, when that is sooner than the deadline.
        """
        request = self._request(method, endpoint, path, data)
        remaining = max(0.1, deadline - self._clock())
        if patience is not None and patience < remaining:
            remaining = patience
        connections = self._connections(endpoint)
        connection = connections.take(remaining)
        try:
            connection.sock.sendall(request)
            answer = HTTPResponse(_Ear(connection.sock, deadline, self._clock), method=method)
            answer.begin()
            body = self._body(answer)
        except BaseException as exc:
            connection.close()
            if isinstance(exc, socket.timeout):
                raise _TimeUp(f"did not answer within {remaining:.0f} s") from exc
            if isinstance(exc, BadStatusLine) and not isinstance(exc, RemoteDisconnected):
                # Its words are not repeated: whoever echoes a request would have the key and the signature in them.
                raise _Cut("answered with what is no HTTP") from None
            if isinstance(exc, (HTTPException, OSError)):
                raise _Cut(f"closed the connection ({_plain(exc)})") from exc
            raise
        if answer.will_close:
            connection.close()
        else:
            connections.give_back(connection)
        return Reply(endpoint, answer.status, body, answer.headers)

    def _request(self, method: str, endpoint: Endpoint, path: str, data: bytes | None) -> bytes:
        """Return a request in one piece: sent in two, as the standard library does it, it takes one more switch of threads."""
        length = f"Content-Length: {len(data)}\r\n" if data is not None else ""
        head = f"{method} {endpoint.target(path)} HTTP/1.1\r\nHost: {endpoint.host}\r\n{self._headers}{length}\r\n"
        return head.encode("ascii") + (data or b"")

    def _connections(self, endpoint: Endpoint) -> _Connections:
        if endpoint not in self._kept:
            try:
                self._kept.setdefault(endpoint, _Connections(endpoint, self._pool, self._verify))
            except OSError as exc:
                raise Unreachable(f"{endpoint.label} cannot be verified: {exc}") from exc
        return self._kept[endpoint]

    @staticmethod
    def _body(answer: Any) -> bytes:
        """Return the body of an answer. One that drips is cut off by :class:`_Ear`, one without an end here."""
        expected = answer.length  # None: until the connection ends, or in chunks
        pieces: list[bytes] = []
        size = 0
        while size != expected:
            piece = answer.read1(_PIECE)
            if not piece:
                break
            pieces.append(piece)
            size += len(piece)
            if size > BODY_LIMIT:
                raise _TooLong(f"answered with more than {BODY_LIMIT} bytes")
        if expected is not None and size < expected:
            raise _Cut("broke off its answer")
        answer.close()
        return b"".join(pieces)


class _Ear(io.RawIOBase):
    """What :class:`HTTPResponse` reads from: no wait is longer than the socket's time-out or goes beyond ``deadline``.

    A socket's own time-out begins anew with every byte, so headers that drip would last as long as the server likes.
    """

    def __init__(self, sock: Any, deadline: float, clock: Callable[[], float]) -> None:
        super().__init__()
        self._sock = sock
        self._deadline = deadline
        self._clock = clock
        self._set = sock.gettimeout()
        self._heard = False

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return the stream that the standard library asks a socket for."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        """Tell that this is a stream to read from."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a part of ``buffer``. :raises socket.timeout: nothing came in time, or the time is up."""
        if self._heard:
            left = self._deadline - self._clock()
            if left <= 0:
                raise _Cut("had not ended its answer when the time was up")
            if left < self._set:
                self._set = left
                self._sock.settimeout(left)
        self._heard = True
        return self._sock.recv_into(buffer)


class _Connections:
    """The kept connections to one endpoint: made as ``requests`` makes them (TCP options, TLS, verification), then used directly.

    What ``Session`` and ``HTTPAdapter.send`` do for each call (merging cookies, proxies and ``.netrc``, which an API client must not have,
    and building a ``Response``) costs several times what the call itself does.
    """

    def __init__(self, endpoint: Endpoint, most: int, verify: bool | str) -> None:
        adapter = HTTPAdapter()
        self._pool = adapter.poolmanager.connection_from_url(endpoint.base)
        adapter.cert_verify(self._pool, endpoint.base, verify, None)
        self._most = most
        self._idle: list[tuple[Any, float]] = []

    def take(self, seconds: float) -> Any:
        """Return a connection on which nothing may take longer than ``seconds``.

        :raises _NotSent: there is none to be had; whatever goes wrong here, TLS included, nothing was sent.
        """
        connection = self._used() or self._new(min(CONNECT_TIMEOUT, seconds))
        seconds = round(seconds + 0.05, 1)  # the same for call after call, so that it is set once
        if connection.sock.gettimeout() != seconds:
            connection.sock.settimeout(seconds)
        return connection

    def give_back(self, connection: Any) -> None:
        """Keep a connection, on which everything was read, for the next call."""
        if len(self._idle) < self._most:
            self._idle.append((connection, time.monotonic()))
        else:
            connection.close()

    def close(self) -> None:
        """Close what is kept."""
        while self._idle:
            self._idle.pop()[0].close()

    def _used(self) -> Any:
        """Return a kept connection that the server has not closed, or ``None``."""
        while True:
            try:
                connection, since = self._idle.pop()
            except IndexError:
                return None
            if time.monotonic() - since < RESTED or not is_connection_dropped(connection):
                return connection
            connection.close()

    def _new(self, seconds: float) -> Any:
        connection = self._pool._new_conn()
        connection.timeout = seconds
        try:
            connection.connect()
        except NewConnectionError as exc:
            raise _NotSent(_plain(exc)) from exc
        except (ConnectTimeoutError, socket.timeout) as exc:
            raise _NotSent(f"no connection within {seconds:.0f} s") from exc
        except SSLError as exc:
            raise _NotSent(f"TLS: {_plain(exc)}") from exc
        except (HTTPError, OSError) as exc:
            raise _NotSent(_plain(exc)) from exc
        return connection


class _NotSent(Exception):
    """The request cannot have reached the server."""


class _Cut(Exception):
    """The request may have reached the server; no whole answer came back."""


class _TimeUp(_Cut):
    """No answer came in time; the server may still be at it."""


class _TooLong(_Cut):
    """The answer has no end in sight; asking again would only bring it again."""


def _plain(exc: Any) -> str:
    """Return the last, plainest words of an error of ``urllib3``, which nests them deeply."""
    text = str(exc.args[-1] if getattr(exc, "args", None) else exc).partition(" (_ssl.c:")[0]
    return text.rsplit("] ", 1)[-1].rsplit(": ", 1)[-1].strip("()'\" \r\n") or type(exc).__name__


def _backoff(rounds: int) -> float:
    """Return a pause in seconds: doubling, capped, jittered so that many clients do not come back at once."""
    return min(BACKOFF_LONGEST, BACKOFF_FIRST * 2 ** min(rounds, 10)) * random.uniform(0.5, 1.0)
