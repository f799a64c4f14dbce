# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 4: what volumes, snapshots and VM snapshots of CloudStack have in common: whose they are, and where they lie on StorPool."""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Callable, TypeVar

from .._cloudstack import ANY_PROJECT, CloudStack, Command, is_id, pick
from .._errors import OptionError

_GLOBAL_ID = re.compile(r"[a-z0-9]+\.[a-z0-9]+\.[a-z0-9]+")

GONE = frozenset({"Destroy", "Expunging", "Expunged"})  # the states of a volume that there is no more, or only to be recovered
DELETED = GONE | {"Destroying", "Destroyed", "Error"}  # and of a snapshot, which is none either when taking it failed
PROOF = 10  # seconds in which both systems have to agree after the last write; they do at once

OWNER_SPEC: dict[str, dict[str, Any]] = dict(
    zone=dict(type="str"),
    account=dict(type="str"),
    domain=dict(type="str"),
    project=dict(type="str"),
)


@dataclass(frozen=True)
class Owner:
    """Where an object is looked for and made: each by name or id (a domain also by its path), ``None`` for anywhere."""

    zone: str | None = None
    account: str | None = None
    domain: str | None = None
    project: str | None = None

    def __str__(self) -> str:
        """Return what goes before the name of an object where two may have it: ``zone sofia, project web: ``, or nothing."""
        given = ", ".join(f"{name} {value}" for name, value in vars(self).items() if value)
        return f"{given}: " if given else ""


def parse_owner(options: Mapping[str, Any]) -> Owner:
    """Return whose objects the options of :data:`OWNER_SPEC` mean.

    :raises OptionError: one is empty, or they contradict each other.
    """
    given = {}
    for name in OWNER_SPEC:
        value = options[name]
        if value is not None and not value.strip():
            raise OptionError(name, value, "is empty; leave it out to look everywhere")
        given[name] = value and value.strip()
    if given["account"] and given["project"]:
        raise OptionError("project", given["project"], "cannot be combined with account; an object belongs to one of them")
    if given["account"] and not given["domain"]:
        raise OptionError("account", given["account"], "needs domain: accounts of several domains may share a name")
    return Owner(**given)


MOST_CHARACTERS = 255  # of a text that CloudStack takes, where it says nothing else (BaseCmd)
MOST_OF_A_DESCRIPTION = 4096  # where it says something else


def short_enough(text: str | None, option: str, most: int = MOST_CHARACTERS) -> str | None:
    """Return ``text``. :raises OptionError: it has more characters than CloudStack takes."""
    if text and len(text) > most:
        raise OptionError(option, text, f"has {len(text)} characters; CloudStack takes {most}")
    return text


def parse_text(options: Mapping[str, Any], name: str) -> str | None:
    """Return a text option without the blanks around it. :raises OptionError: it is empty, or too long for CloudStack."""
    value = options[name]
    text = None if value is None else str(value).strip()
    if text == "":
        raise OptionError(name, value, "is empty")
    return short_enough(text, name)


def parse_tags(given: Sequence[Any], option: str, label: str) -> list[str]:
    """Return CloudStack's kind of storage or host tags, sorted, each once.

    :raises OptionError: one has a comma in it, or all are too long together: CloudStack takes them as one text.
    """
    tags = sorted({str(tag).strip() for tag in given if str(tag).strip()})
    bad = [tag for tag in tags if "," in tag]
    if bad:
        raise OptionError(option, bad[0], "has a comma, which separates tags; make it two", item=label)
    short_enough(",".join(tags), option)
    return tags


def parse_names(options: Mapping[str, Any]) -> dict[str, str | None]:
    """Return ``name``, ``id`` and ``renamed_from``.

    :raises OptionError: neither a name nor an id is given, a former name alone, or one is too long for CloudStack.
    """
    texts = {name: short_enough(options[name] and options[name].strip(), name) for name in ("name", "id", "renamed_from")}
    if not (texts["name"] or texts["id"]):
        raise OptionError("name", options["name"], "is needed (or id)")
    if texts["renamed_from"] and not texts["name"]:
        raise OptionError("renamed_from", texts["renamed_from"], "needs name, the new one")
    return texts


class Directory:
    """Turns the names of zones, domains, projects and whatever else is listed into ids, reading each listing once.

    :raises OptionError: from all methods; nothing has that name, or several have it.
    """

    def __init__(self, client: CloudStack) -> None:
        self._client = client
        self._read: dict[tuple[str, tuple[tuple[str, Any], ...]], list[dict[str, Any]]] = {}

    def all(self, call: str, key: str, **params: Any) -> list[dict[str, Any]]:
        """Return a whole listing; the same one is read once."""
        asked = (call, tuple(sorted(params.items())))
        if asked not in self._read:
            self._read[asked] = self._client.list(call, key, unlimited=True, **params)
        return self._read[asked]

    def identity(self, name: str, option: str, call: str, key: str, **params: Any) -> str:
        """Return the id of the object that a listing has under this name; an id is taken as it is."""
        return name if is_id(name) else str(pick(self.all(call, key, **params), name, option)["id"])

    @staticmethod
    def asked(name: str) -> dict[str, str]:
        """Return the parameter that asks a listing for one object, given by name or id."""
        return {"id" if is_id(name) else "name": name}

    def zone(self, name: str, option: str = "zone") -> str:
        """Return the id of a zone."""
        return self.identity(name, option, "listZones", "zone")

    def domain(self, name: str, option: str = "domain") -> str:
        """Return the id of a domain, given by name, path or id."""
        return self.identity(name, option, "listDomains", "domain", listall=True)

    def project(self, name: str, domain: str | None = None) -> str:
        """Return the id of a project, of the domain with that id when one is given: several domains may have one of the same name."""
        if is_id(name):
            return name
        known = self.all("listProjects", "project", listall=True)
        return str(pick([one for one in known if domain in (None, one.get("domainid"))], name, "project")["id"])

    def belongs(self, owner: Owner) -> dict[str, Any]:
        """Return the parameters of a call that makes something: whose it becomes (the caller's when nothing is said), and in which zone."""
        found: dict[str, Any] = {}
        if owner.zone:
            found["zoneid"] = self.zone(owner.zone)
        if owner.domain:
            found["domainid"] = self.domain(owner.domain)
        if owner.account:
            found["account"] = owner.account
        if owner.project:
            found["projectid"] = self.project(owner.project, found.get("domainid"))
        return found

    def within(self, owner: Owner) -> dict[str, Any]:
        """Return the parameters of a listing of what that owner has; without account and project, of what everybody has.

        Listings leave other accounts out unless ``listall`` is set (sheet cloudstack-api, section 7). What belongs to projects is told
        only when a project is named.
        """
        return {"listall": True, **self.belongs(owner)}


def asked_or_all(
    client: CloudStack, directory: Directory, owner: Owner, call: str, key: str, names: Collection[str]
) -> list[dict[str, Any]]:
    """Return the objects of an owner that these names or ids may mean: one is asked for, several come from the listing."""
    within = directory.within(owner)
    if len(names) == 1:
        return client.list(call, key, **directory.asked(next(iter(names))), **within)
    return with_strangers(client, owner, call, key, client.list(call, key, unlimited=True, **within), names)


def of_project(row: Mapping[str, Any]) -> dict[str, str]:
    """Return the parameter by which listings show what belongs to the project of an object; none when that is in no project."""
    return {"projectid": row["projectid"]} if row.get("projectid") else {}


def with_strangers(
    client: CloudStack, owner: Owner, call: str, key: str, rows: list[dict[str, Any]], names: Collection[str]
) -> list[dict[str, Any]]:
    """Return ``rows``, and what projects have of the ids among ``names``, for :func:`within_reach` to tell.

    A listing by an id shows it wherever it belongs to, one of everything leaves out what belongs to projects.
    """
    missing = {name for name in names if is_id(name)} - {row["id"] for row in rows}
    if not missing or owner.project or owner.account:
        return rows
    return rows + [row for row in client.list(call, key, unlimited=True, projectid=ANY_PROJECT) if row["id"] in missing]


def within_reach(row: Mapping[str, Any] | None, owner: Owner, kind: str) -> Mapping[str, Any] | None:
    """Return the object that was found.

    :raises OptionError: it belongs to a project and none is named, so that listings would show nothing of what belongs to it.
    """
    if row and row.get("projectid") and not owner.project:
        told = f"{kind} {row.get('name')} ({row['id']}) belongs to project {row.get('project')}"
        raise OptionError("project", owner.project, f"is needed: {told}; name it in project")
    return row


Read = TypeVar("Read")


def settled(read: Callable[[], Read], busy: Callable[[Read], bool], seconds: float) -> Read:
    """Return what ``read`` returns once nothing is ``busy`` in it, at the latest after ``seconds``.

    A job whose answer was lost goes on, and what it makes cannot be planned for while it is in between.
    """
    deadline, pause = time.monotonic() + seconds, 0.2
    found = read()
    while busy(found) and time.monotonic() < deadline:
        time.sleep(pause)
        pause = min(2 * pause, 2.0)
        found = read()
    return found


def settled_vms(client: CloudStack, read: Callable[[], list[dict[str, Any]]], reverted: Collection[str]) -> list[dict[str, Any]]:
    """Return VMs as ``read`` lists them, once those of these names or ids have no job: an earlier run may have begun to stop one."""

    def busy(rows: list[dict[str, Any]]) -> bool:
        return any(one.get("jobid") and (one["name"] in reverted or one["id"] in reverted) for one in rows)

    return settled(read, busy, client.connection.job_timeout)


def storpool_address(path: str | None) -> str | None:
    """Return how StorPool's calls name what CloudStack knows by this path; ``None`` when StorPool does not have it (yet).

    ``/dev/storpool-byid/<global id>`` or, from very old releases, ``/dev/storpool/<name>`` (sheet cloudstack-storpool, section 5.1). What
    lies on other storage has a path of another kind, a file's name for instance.
    """
    folder, _slash, last = (path or "").rstrip("/").rpartition("/")
    if folder.endswith("/storpool"):
        return last
    return f"~{last}" if _GLOBAL_ID.fullmatch(last) else None


def one_of(
    found: Sequence[Mapping[str, Any]], wanted: str, option: str, kind: str, others: str = "zone, account or project"
) -> Mapping[str, Any] | None:
    """Return the object with that name or id, or ``None``.

    :param others: the options that can tell which of several is meant.
    :raises OptionError: several have it; it lists them, with what tells them apart.
    """
    fits = [one for one in found if wanted == one.get("id")] or [one for one in found if wanted == one.get("name")]
    if len(fits) < 2:
        return fits[0] if fits else None
    told = "; ".join(f"{one['id']} ({', '.join(_marks(one))})" for one in fits[:20])
    raise OptionError(option, wanted, f"is the name of {len(fits)} {kind}s: {told}; give the id, or {others}")


@dataclass
class OfVolumes:
    """What was read of things that belong to volumes: first of all these, by their owner."""

    volumes: dict[Owner, list[dict[str, Any]]] = field(default_factory=dict)
    _indexes: dict[tuple[str, Owner], dict[Any, list[Mapping[str, Any]]]] = field(default_factory=dict, init=False, repr=False)

    def volume(self, owner: Owner, called: str) -> Mapping[str, Any] | None:
        """Return the volume with that id or name, ``None`` when there is none. :raises OptionError: several have it."""
        rows = self.indexed("volumes", owner, "id", "name").get(called, ())
        found = one_of([one for one in rows if one.get("state") not in GONE], called, "volume", "volume")
        return within_reach(found, owner, "volume")

    def indexed(self, of: str, owner: Owner, *fields: str) -> dict[Any, list[Mapping[str, Any]]]:
        """Return rows by the values of these fields, so that ten thousand are not looked through for each of them."""
        if (of, owner) not in self._indexes:
            found = self._indexes[of, owner] = {}
            for row in getattr(self, of)[owner]:
                for value in dict.fromkeys(row.get(name) for name in fields):
                    found.setdefault(value, []).append(row)
        return self._indexes[of, owner]


def alone(by_name: Mapping[str, Any] | None, former: Mapping[str, Any] | None, wanted: Any) -> Mapping[str, Any] | None:
    """Return the one object that is there under the name or the former name of ``wanted``, ``None`` when there is none.

    :raises OptionError: there are two; a run that deletes would delete the one, and the next run the other.
    """
    if by_name and former and by_name is not former:
        raise OptionError("renamed_from", wanted.renamed_from, f"exists beside {wanted.name}; leave it out to mean {wanted.name} alone")
    return by_name or former


def _marks(one: Mapping[str, Any]) -> list[str]:
    words = {"volume": "volumename", "zone": "zonename", "VM": "vmname"}
    words.update({word: word for word in ("account", "domain", "project", "state")})
    return [f"{word} {one[key]}" for word, key in words.items() if one.get(key)]


def twin_of(call: str, key: str, undo: str, about: str, alike: Sequence[str], **params: Any) -> Callable[[CloudStack, Any], Command | None]:
    """Return what a :class:`Change` asks after it made an object (``twin``): whether the listing ``call`` has another one like it.

    CloudStack lets several objects have one name. Rows are alike when their name, their project and the fields ``alike`` are the same.
    What is deleted or failed stays in some listings, and is none of them.
    """

    def look(client: CloudStack, answer: Any) -> Command | None:
        made = answer.get(key) or {}
        if not made.get("id"):
            return None
        rows = client.list(call, key, name=made.get("name"), listall=True, **of_project(made), **params)
        mine = next((row for row in rows if row["id"] == made["id"]), made)  # the answer may tell less
        there = [row for row in rows if row.get("state") not in DELETED]
        same = [row["id"] for row in there if all(row.get(field) == mine.get(field) for field in ("name", "projectid", *alike))]
        return Command(undo, {"id": made["id"]}, about) if any(one != made["id"] for one in same) else None

    return look
