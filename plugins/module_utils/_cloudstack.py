# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 2: the CloudStack API: signing, envelopes, errors, paging, jobs.

Facts are those of the server's sources (reference sheet cloudstack-api, sections 2 to 7). The signing is our own because the published
Python clients leave ``~`` as it is, while the server's ``URLEncoder`` makes it ``%7E``; StorPool's ids begin with ``~``, and such a call
gets 401.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import time
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

from . import _storpool as sp
from ._errors import AnswerLost, ApiError, CollectionError, DeadlineExceeded, OptionError, Unauthorized, Unreachable, plain_text, redacted
from ._foresight import NOTHING, Foresight, is_made_up
from ._forms import CLOUDSTACK_BEGUN, CLOUDSTACK_CAPABILITIES, CLOUDSTACK_JOB, cloudstack_misfit
from ._http import FIND_OUT, Endpoint, Http, Reply, Stats, Transient, loaded
from ._options import CloudStackConnection

EXPIRES = 600  # seconds that a signature is valid; the server refuses more than 15 minutes
POLL_FIRST, POLL_LONGEST = 0.2, 2.0  # seconds between two looks at a job
LATE = (0.2, 0.5, 1.0)  # seconds before further looks for a job whose beginning was not answered
RUNNING, SUCCEEDED, FAILED, CANCELLED = range(4)  # jobstatus
UNKNOWN_JOB = 431
MOST_OBJECTS = 500_000  # in one listing; a server that finds ever more pages has no such cloud behind it

# SP_API_HTTP=host:port;SP_AUTH_TOKEN=token;..., storpool://token@host:port/template
_TOKENS = re.compile(r"(SP_AUTH_TOKEN\s*=\s*|storpool://)[^;@]+", re.IGNORECASE)
_SECOND = re.compile(r"^([^=;]*=[^;]*;[^=;]*=)[^;]+")  # KEY=host:port;KEY=token, whatever the keys (sp.cluster.endpoint)
HIDDEN_TOKEN = "(hidden)"
# What the jobs of a management server that went down end with (AsyncJobManagerImpl; the wording is not verified, so matched loosely).
_SERVER_WENT_DOWN = re.compile(r"cancell?ed because of (?:management )?server (?:restart|shutdown)", re.IGNORECASE)
_READS = {"listCapabilities": CLOUDSTACK_CAPABILITIES, "queryAsyncJobResult": CLOUDSTACK_JOB}
COPIES = "snapshot copies"  # the rows of a snapshot, one for each store
# Parameters of listings that a row has a field of the same name for.
_ASKED = ("id", "name", "zoneid", "clusterid", "virtualmachineid", "volumeid", "storageid", "account", "domainid")
# The names of other objects in the rows of a listing: the field with the id, the field with the name, and the listing of those objects.
_TOLD_OF = {
    "volume": (
        ("storageid", "storage", "storagepool"),
        ("diskofferingid", "diskofferingname", "diskoffering"),
        ("serviceofferingid", "serviceofferingname", "serviceoffering"),
    ),
    "snapshot": (("volumeid", "volumename", "volume"),),
}
OF_OWNERS = frozenset({"volume", "virtualmachine", "snapshot", "vmSnapshot", "template"})  # keys of listings of what somebody owns
ANY_PROJECT = "-1"  # as projectid; what belongs to projects is listed only by itself
_SETTING_SCOPES = ("zoneid", "clusterid", "storageid", "accountid", "domainid", "imagestoreuuid")
_ID = re.compile(r"(?:[^;]+;)?[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


# The commands that begin a job, of those that this collection sends (sheet cloudstack-api.json, ``isasync``).
ASYNCHRONOUS = frozenset(
    """
    addResourceDetail attachVolume cancelHostMaintenance cancelStorageMaintenance changeOfferingForVolume configureHAForHost
    copySnapshot createSnapshot createTags createTemplate createVMSnapshot createVolume deleteSnapshot deleteTags deleteTemplate
    deleteVMSnapshot detachVolume disableHAForHost disableOutOfBandManagementForHost enableHAForCluster enableHAForHost
    enableHAForZone enableOutOfBandManagementForCluster enableOutOfBandManagementForHost enableOutOfBandManagementForZone
    enableStorageMaintenance issueOutOfBandManagementPowerAction migrateVolume removeResourceDetail resizeVolume revertSnapshot
    revertToVMSnapshot startVirtualMachine stopVirtualMachine updateVolume
    """.split()
)


@dataclass(frozen=True)
class Command:
    """One changing call of CloudStack. ``about`` names the object for messages, ``waits`` replaces the job's deadline (seconds; the
    option ``wait_timeout``).

    ``secrets`` are texts among the parameters that no error may repeat. ``hints`` explain refusals: a part of the server's text, and what
    to do about it. ``again`` is a part of a refusal that the first attempt removes the cause of: the command is sent once more then.
    """

    call: str
    params: Mapping[str, Any] = field(default_factory=dict)
    about: str = ""
    waits: float | None = None
    secrets: Sequence[str] = ()
    hints: Sequence[tuple[str, str]] = ()
    again: str = ""


def encode(value: str) -> str:
    """Return ``value`` as Java's ``URLEncoder`` does with ``+`` as ``%20``: everything but letters, digits and ``. - * _`` is escaped."""
    return quote(value, safe="*").replace("~", "%7E")


def flat(params: Mapping[str, Any]) -> dict[str, str]:
    """Return parameters as the API takes them: booleans as words, lists joined by commas, maps as ``name[0].key``; ``None`` is left out."""
    found: dict[str, str] = {}
    for name, value in params.items():
        if value is None:
            continue
        if isinstance(value, bool):
            found[name] = "true" if value else "false"
        elif isinstance(value, Mapping):
            found.update({f"{name}[0].{key}": str(inner) for key, inner in value.items()})
        elif isinstance(value, (list, tuple, set)):
            found[name] = ",".join(str(one) for one in value)
        else:
            found[name] = str(value)
    return found


def signed(params: Mapping[str, str], secret: str) -> str:
    """Return the query of a request with its signature (``ApiServer.verifyRequest``): sorted by name, lower-cased, HMAC-SHA1, base64."""
    query = "&".join(f"{name}={encode(params[name])}" for name in sorted(params))
    digest = hmac.new(secret.encode(), query.lower().encode(), hashlib.sha1).digest()
    return f"{query}&signature={encode(base64.b64encode(digest).decode())}"


def hide_tokens(text: str, by_position: bool = False) -> str:
    """Return the address of a StorPool pool, in any of its forms, without its token (sheet cloudstack-storpool, sections 1.1 and 1.3).

    ``by_position``: the second of two parts is the token, whatever stands before its ``=``.
    """
    shown = _TOKENS.sub(rf"\1{HIDDEN_TOKEN}", text)
    return _SECOND.sub(rf"\1{HIDDEN_TOKEN}", shown) if by_position else shown


def tokens_in(text: str, by_position: bool = False) -> list[str]:
    """Return the tokens that :func:`hide_tokens` hides."""
    matches = [*_TOKENS.finditer(text), *(_SECOND.finditer(text) if by_position else ())]
    return [match.group(0)[len(match.group(1)) :] for match in matches]


def is_id(text: str) -> bool:
    """Tell whether this is an id of CloudStack's and not a name; that of a StorPool pool is ``<template>;<uuid>``."""
    return _ID.fullmatch(text) is not None


def pick(found: Sequence[Mapping[str, Any]], name: str, option: str) -> Mapping[str, Any]:
    """Return the one object of a listing that has this name, path or id. :raises OptionError: none has it, or several do."""
    fits = [one for one in found if name in (one.get("name"), one.get("path"), one.get("id"))]
    if len(fits) == 1:
        return fits[0]
    if fits:
        where = [next((one[key] for key in ("zonename", "domainpath", "path", "domain") if one.get(key)), name) for one in fits]
        several = ", ".join(f"{one['id']} ({place})" for one, place in zip(fits, where))
        raise OptionError(option, name, f"is the name of {len(fits)}: {several}; give the id")
    known = ", ".join(sorted({str(one.get("path" if option == "domain" else "name")) for one in found})[:20])
    raise OptionError(option, name, f"does not exist in CloudStack; there are: {known or 'none'}")


def _readable(call: str, wrong: str | None) -> None:
    """:raises Unreachable: something is ``wrong`` with the answer to ``call``."""
    if wrong:
        raise Unreachable(f"CloudStack's answer to {call} cannot be read: {wrong}", hint="check what answers at cloudstack_url")


def setting_identity(name: str, params: Mapping[str, Any]) -> str:
    """Return what tells a setting of one scope apart, from the parameters that name the scope."""
    return next((f"{name} of {scope} {params[scope]}" for scope in _SETTING_SCOPES if params.get(scope)), name)


def cached_on(pool: str) -> str:
    """Return what the listing of the templates on a pool is called."""
    return f"template on {pool}"


def _is_asked_for(row: Mapping[str, Any], key: str, params: Mapping[str, Any], listed: Collection[str]) -> bool:
    """Tell whether a listing shows a foreseen row; a row does not tell all that can be asked for.

    What belongs to a project is shown where that, or :data:`ANY_PROJECT`, is asked for, or an id. ``listed`` are the ids that the server
    showed.
    """
    if key in OF_OWNERS:
        project = row.get("projectid")
        if not (project if params.get("projectid") == ANY_PROJECT else params.get("projectid", project) == project):
            return False
        if project and row["id"] not in listed and not {"projectid", "id"} & params.keys():
            return False
    return all(row.get(name, params[name]) == params[name] for name in _ASKED if params.get(name) is not None)


class CloudStack:
    """A CloudStack management server.

    :param connection: where and as whom; see :func:`._options.cloudstack_connection`.
    :param parallel: how many calls go out at once at most.
    """

    def __init__(self, connection: CloudStackConnection, parallel: int = 8) -> None:
        self.connection = connection
        # The cluster behind its primary storage. The runner sets it for each task: one client serves tasks with and without it.
        self.storpool: sp.StorPool | None = None
        self.http = Http(
            [Endpoint(connection.url, f"CloudStack at {connection.url}")],
            {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"},
            connection.timeout,
            self._decode,
            pool=parallel,
            verify=connection.verify,
        )
        self._version: tuple[int, ...] | None = None
        self._foresight = NOTHING
        self._clock = time.time
        self._sleep = time.sleep

    def begin(self, stats: Stats, read_only: bool, foresight: Foresight = NOTHING) -> None:
        """Start a task: count into ``stats`` and, in check mode, refuse to write and answer as if earlier tasks had (on both systems)."""
        self.http.stats, self.http.read_only, self._foresight = stats, read_only, foresight
        if self.storpool:
            self.storpool.begin(stats, read_only, foresight)

    def foresee(self, listing: str, identity: str, row: Any) -> None:
        """Enter what a plan leaves behind: a row of a listing (by the listing's key) with its id, ``None`` when it is gone.

        Of :data:`COPIES`, the list of all rows of that id; of :func:`cached_on` a pool, templates. Of ``configuration``, the value of a
        setting; its identity is :func:`setting_identity`.
        """
        self._foresight.enter(self.connection.url, listing, identity, row)

    @property
    def version(self) -> tuple[int, ...]:
        """The server's version as numbers, (4, 21, 0, 0); read once."""
        if self._version is None:
            self.capabilities()
        return self._version

    # -- reads

    def capabilities(self) -> dict[str, Any]:
        """Return what the server says of itself: its version, and some settings."""
        found = self.read("listCapabilities")["capability"]
        parts = found["cloudstackversion"].split("-")[0].split(".")
        self._version = tuple(int(part) for part in parts if re.fullmatch("[0-9]{1,9}", part))
        return found

    def read(self, call: str, **params: Any) -> dict[str, Any]:
        """Return the content of an answer. :raises ApiError: the server refused."""
        try:
            answer = self.http.get("?" + self._query(call, params))
        except ApiError as exc:
            raise sp.about(exc, call, "") from exc.__cause__
        if call in _READS:
            _readable(call, _READS[call].misfit(answer))
        return answer

    def list(self, call: str, key: str, unlimited: bool = False, **params: Any) -> list[dict[str, Any]]:
        """Return all objects of a listing, page by page or, ``unlimited``, in one call (for what a server has hundreds of).

        The first call leaves the size to the server (a size above its ``default.page.size`` is an error); further calls ask for as many.
        """
        if not self._foresight.active:
            return self._listed(call, key, unlimited, params)
        # A server knows nothing of ids that were made up.
        found = [] if any(map(is_made_up, params.values())) else self._listed(call, key, unlimited, params)
        return self.as_foreseen(key, found, params)

    def as_foreseen(self, key: str, found: list[dict[str, Any]], params: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return a listing as it would be after the earlier tasks of a check run."""
        place = self.connection.url
        if key == "template" and params.get("storageid"):
            key = cached_on(params["storageid"])
        if key == "configuration":
            values = self._foresight.rows(place, key)
            named = [(setting_identity(one["name"], params), one) for one in found]
            return [{**one, "value": values[name], "foreseen": True} if name in values else one for name, one in named]
        copies, listed = params.get("showunique") is False, {one.get("id") for one in found}
        if copies:
            found = self._foresight.each(place, COPIES, found, "id")
            gone = {identity for identity, row in self._foresight.rows(place, key).items() if row is None}
            found = [one for one in found if one["id"] not in gone]
        elif self._foresight.rows(place, key):
            found = self._foresight.over(place, key, found, "id")
        laid = self._foresight.rows(place, COPIES if copies else key)
        if laid:
            found = [one for one in found if one["id"] not in laid or _is_asked_for(one, key, params, listed)]
        for its_id, its_name, other in _TOLD_OF.get(key, ()):
            names = {identity: row["name"] for identity, row in self._foresight.rows(place, other).items() if row}
            if names:
                found = [{**one, its_name: names[one[its_id]]} if one.get(its_id) in names else one for one in found]
        return found

    def _listed(self, call: str, key: str, unlimited: bool, params: dict[str, Any]) -> list[dict[str, Any]]:
        if unlimited:
            params["pagesize"] = -1  # the server's word for no limit
        answer = self._page(call, key, params)
        found = list(answer.get(key, ()))
        size, page = len(found), 1
        while size and not unlimited and len(found) < answer.get("count", 0):
            page += 1
            more = self._page(call, key, {**params, "page": page, "pagesize": size}).get(key, ())
            if not more:
                break
            found.extend(more)
            if len(found) > MOST_OBJECTS:
                _readable(call, f"it lists more than {MOST_OBJECTS} objects")
        return found

    def _page(self, call: str, key: str, params: Mapping[str, Any]) -> dict[str, Any]:
        answer = self.read(call, **params)
        _readable(call, cloudstack_misfit(key, answer))
        return answer

    # -- writes

    def send(self, write: Command | sp.Write) -> Any:
        """Send a write and return what it made: the answer's content or, for a job, the job's result.

        :raises ApiError: the server refused it or the job failed.
        :raises AnswerLost: it may or may not have taken effect.
        :raises DeadlineExceeded: the job is still running.
        """
        if isinstance(write, sp.Write):
            return self.storpool.send(write)
        try:
            return self._sent(write)
        except ApiError as exc:
            if not write.again or write.again.lower() not in exc.description.lower():
                raise
        return self._sent(write)

    def _sent(self, write: Command) -> Any:
        params, mine = dict(write.params), None
        if write.call in ASYNCHRONOUS:
            # The job gets an id of ours, so that it can be asked for when the answer that would have told it is lost (sheet, section 6).
            params["injectedjobid"] = mine = str(uuid.uuid4())
        try:
            answer = self.http.post("", self._query(write.call, params, write.secrets).encode())
            wrong = CLOUDSTACK_BEGUN.misfit(answer)
            if wrong:
                raise AnswerLost(f"CloudStack's answer cannot be read: {wrong}", hint=FIND_OUT)
        except ApiError as exc:
            raise self._explained(exc, write) from exc.__cause__
        except AnswerLost as exc:
            exc.message = f"{write.call} on {write.about}: {exc.message}"
            begun = mine is not None and self._has_begun(mine)
            if begun is None:
                exc.parts["under_way"] = True  # nobody can tell that it is not
            if not begun:
                raise
            return self._wait(mine, write)
        job = answer.get("jobid")
        return self._wait(job, write) if job else answer

    def _has_begun(self, job: str) -> bool | None:
        """Tell whether CloudStack has a job with this id, ``None`` when it does not say.

        Its request may still be on the way, so that it is asked for more than once.
        """
        for pause in (0, *LATE):
            self._sleep(pause)
            try:
                self.read("queryAsyncJobResult", jobid=job)
                return True
            except CollectionError as exc:
                if not isinstance(exc, ApiError) or exc.parts.get("status") != UNKNOWN_JOB:
                    return None
        return False

    def _wait(self, job: str, write: Command) -> Any:
        limit = write.waits or self.connection.job_timeout
        deadline = time.monotonic() + limit
        pause = POLL_FIRST
        while True:
            try:
                state = self.read("queryAsyncJobResult", jobid=job)
            except CollectionError as exc:
                if isinstance(exc, ApiError) and exc.parts.get("status") == UNKNOWN_JOB:
                    raise AnswerLost(
                        f"the job {job} of {write.call} on {write.about} is not known to CloudStack any more",
                        hint=FIND_OUT,
                        under_way=True,  # who forgot the job may not have been who does it
                    ) from exc
                # Whatever is wrong with asking, the job goes on.
                raise AnswerLost(
                    f"{write.call} on {write.about} was begun (job {job}), then {exc.message}",
                    hint=f"{exc.hint + '; ' if exc.hint else ''}how it ended is not known; running the task again finds out and finishes",
                    under_way=True,
                ) from exc
            status = state["jobstatus"]
            if status == SUCCEEDED:
                return state.get("jobresult") or {}
            if status in (FAILED, CANCELLED):
                result = state.get("jobresult") or {}
                text = self._redacted(str(result.get("errortext", "no reason given" if status == FAILED else "cancelled")))
                if _SERVER_WENT_DOWN.search(text):
                    raise AnswerLost(
                        f"{write.call} on {write.about} was begun (job {job}), then its management server went down: {plain_text(text)}",
                        hint=FIND_OUT,
                        under_way=True,  # a host may still be at it
                    )
                raise self._explained(ApiError(str(result.get("errorcode", state.get("jobresultcode", 530))), text), write)
            if time.monotonic() + pause >= deadline:
                raise DeadlineExceeded(
                    f"{write.call} on {write.about} still runs after {limit:.0f} s (job {job})",
                    hint=f"it goes on; run the task again later, or raise {'wait_timeout' if write.waits else 'cloudstack_job_timeout'}",
                    job=job,
                )
            self._sleep(pause)
            pause = min(POLL_LONGEST, pause * 1.5)

    # -- inside

    @staticmethod
    def _explained(exc: ApiError, write: Command) -> ApiError:
        """Return a refusal that names call and object and what to do about it, without the secrets of the call."""
        text = redacted(exc.said, write.secrets, HIDDEN_TOKEN)
        hint = next((way_out for part, way_out in write.hints if part.lower() in text.lower()), exc.hint)
        plain = ApiError(exc.name, text, transient=exc.transient, status=exc.parts.get("status"), hint=hint)
        plain.parts["attempts"] = exc.parts.get("attempts")
        return sp.about(plain, write.call, write.about)

    def _query(self, call: str, params: Mapping[str, Any], secrets: Sequence[str] = ()) -> str:
        expires = time.strftime("%Y-%m-%dT%H:%M:%S+0000", time.gmtime(self._clock() + EXPIRES))
        every = {
            **flat(params),
            "command": call,
            "response": "json",
            "apiKey": self.connection.key,
            "signatureVersion": "3",
            "expires": expires,
        }
        try:
            return signed(every, self.connection.secret)
        except UnicodeEncodeError:
            odd = next(name for name, value in every.items() if any("\ud800" <= letter <= "\udfff" for letter in value))
            shown = HIDDEN_TOKEN if every[odd] in secrets else every[odd]
            raise OptionError(odd, shown, "has halves of characters, which no text can have") from None

    def _decode(self, reply: Reply) -> dict[str, Any]:
        """Return what is inside the envelope."""
        try:
            document = loaded(reply.body)
        except ValueError:
            document = None
        if not isinstance(document, dict) or len(document) != 1 or not isinstance(next(iter(document.values())), dict):
            raise self._no_answer(reply)
        content = next(iter(document.values()))
        if reply.status == 200 and "errorcode" not in content:
            return content
        if reply.status == 401 and content.get("cserrorcode") is None:
            raise self._unauthorized(reply)
        failure = ApiError(
            str(content.get("errorcode", reply.status)), self._redacted(str(content.get("errortext", ""))), status=reply.status
        )
        # Too many requests, or a server about to stop: neither has begun the work (sheet, section 4).
        raise Transient(failure) if reply.status in (429, 503) else failure

    def _no_answer(self, reply: Reply) -> Exception:
        label = reply.endpoint.label
        if 300 <= reply.status < 400 or (reply.status < 500 and reply.body.lstrip()[:1] == b"<"):
            what = "a redirect" if 300 <= reply.status < 400 else "an HTML or XML page"
            return Unreachable(
                f"{label} answered with {what} (HTTP {reply.status}): this is not the CloudStack API",
                hint=f"check cloudstack_url (from {self.connection.sources.get('cloudstack_url')}); it usually ends in /client/api",
            )
        return ValueError(f"HTTP {reply.status}, {len(reply.body)} bytes that are no CloudStack answer")

    def _unauthorized(self, reply: Reply) -> CollectionError:
        """Return why a signature was refused, as far as it can be told: a wrong clock looks to the server like a wrong secret."""
        sources = self.connection.sources
        where = " and ".join(f"{name} (from {sources.get(name)})" for name in ("cloudstack_key", "cloudstack_secret"))
        hint = f"check {where}, and that the user is enabled"
        try:
            skew = self._clock() - parsedate_to_datetime(reply.headers["Date"]).timestamp()
        except (KeyError, TypeError, ValueError, OverflowError):
            skew = 0.0
        if abs(skew) >= EXPIRES - 60:
            hint = f"the clocks differ by {abs(skew):.0f} s, so the signature is not valid there; set the clock here or on the server"
        return Unauthorized(f"{reply.endpoint.label} refused the credentials", hint=hint)

    def _redacted(self, text: str) -> str:
        return redacted(text, self.connection.secrets(), HIDDEN_TOKEN)
