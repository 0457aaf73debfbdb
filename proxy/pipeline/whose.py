# SPDX-License-Identifier: Apache-2.0
"""Whose data one request is about, where its path alone does not say: found out step by step.

1. What the request says: its path, its query, its fields, its body. What it says unclearly is refused.
2. What a directory says of the ids, where the route declares one.
3. Where the request says nothing, the answer will: then there is no subject yet.
"""

from collections.abc import Collection
from typing import Final, TypeAlias

import msgspec

from proxy.model.api import SubjectSource, Where
from proxy.model.decision import Reason
from proxy.model.facts import UNKNOWN
from proxy.model.ports import Directory
from proxy.model.query import Query
from proxy.model.request import Headers, Target
from proxy.model.subject import BodyNeeded, Located, LookupNeeded, Subject, Told
from proxy.request.catalog import Match
from proxy.request.query import parse_query
from proxy.subject.bodies import Body, read_body, read_searched
from proxy.subject.selectors import needs_body, needs_query, select_subjects

BODY_BYTES: Final = 64 * 1024
"""The largest body of a request in which a subject is looked for: reading one so large takes some 10 ms."""
_FAILED: Final = Located(Told.FAILED)

Wanted: TypeAlias = BodyNeeded | LookupNeeded


class NoDirectory:
    """Stands where there is none: nobody can tell."""

    def find(self, lookup: str, id_: str, now: float) -> Located:  # noqa: ARG002 - the port's
        """Say that nobody can tell."""
        return _FAILED


NO_DIRECTORY: Final = NoDirectory()


def is_plain(source: SubjectSource | None) -> bool:
    """Say whether a route and its path say whose data it is, at once and for certain."""
    if source is None:
        return True
    selectors = [each for each in (source.country, source.id) if each is not None]
    return (
        source.country is not None
        and all(each.where in {Where.PATH, Where.LITERAL} and not each.separator for each in selectors)
        and not (source.lookup or source.header or source.is_in_answer)
    )


def locate(directory: Directory, lookup: str, subject: Subject, now: float) -> tuple[Subject, ...] | Told:
    """Return a subject once for each country that a directory has for it.

    Returns:
        Also one of an unknown country, where the directory does not know the id; else why there is none: ``FAILED``, or
        ``NOT_FOUND`` for one that must be asked for first.
    """
    if not isinstance(subject.id, str):
        return (subject,)
    located = directory.find(lookup, subject.id, now)
    if located is None:
        return Told.NOT_FOUND
    if located.told is Told.FAILED:
        return Told.FAILED
    source = f"lookup:{lookup}"
    if located.told is Told.NOT_FOUND:
        return (msgspec.structs.replace(subject, country=UNKNOWN, source=source),)
    return tuple(msgspec.structs.replace(subject, country=country, source=source) for country in located.countries)


class Whose:
    """Whose data one request is about.

    Args:
        source: where its route says so.
    """

    __slots__ = ("_body", "_is_asked", "_query", "_raw_body", "_source", "has_failed")

    def __init__(self, source: SubjectSource) -> None:
        self._source = source
        self._raw_body: bytes | None = None
        self._body: Body | None = None
        self._is_asked = False
        self._query: Query | None = None
        self.has_failed = False
        """Whether a directory could not tell something."""

    def take_body(self, data: bytes) -> None:
        """Take the whole body of the request."""
        self._raw_body = data

    def find(
        self, match: Match, target: Target, headers: Headers, directory: Directory, now: float
    ) -> tuple[Subject, ...] | Wanted | Reason:
        """Return whose data it is, none where only the answer tells, why to refuse, or what must be had first."""
        source = self._source
        if source.country is None and source.id is None:
            return ()
        if self._query is None and needs_query(source):
            query = parse_query(target.raw_query)
            if isinstance(query, Reason):
                return query
            self._query = query
        if needs_body(source) and self._body is None:
            wanted = self._read_body(headers)
            if wanted is not None:
                return wanted
        subjects = select_subjects(source, match.parameters, self._query, headers, self._body)
        if isinstance(subjects, Reason):
            return subjects
        if not source.lookup or source.id is None:
            return () if source.country is None else subjects
        return self._look_up(subjects, directory, now)

    def ask_body(self) -> BodyNeeded | None:
        """Return that the body must be had, None once it was."""
        return BodyNeeded(BODY_BYTES) if self._raw_body is None else None

    def check_search(self, headers: Headers, allowed: Collection[str]) -> Reason | None:
        """Return why the body may not search where records could be dropped: as ``check_searchable`` of a query.

        Args:
            headers: of the request.
            allowed: the names of the members, or of a form's fields, that may stand there.
        """
        type_, coding = find_field(headers, "content-type"), find_field(headers, "content-encoding")
        names = read_searched(type_, coding, self._raw_body or b"")
        if isinstance(names, Reason):
            return names
        return None if names <= frozenset(allowed) else Reason.BODY_UNDECLARED

    def _read_body(self, headers: Headers) -> BodyNeeded | Reason | None:
        if self._raw_body is None:
            return BodyNeeded(BODY_BYTES)
        body = read_body(
            find_field(headers, "content-type"), find_field(headers, "content-encoding"), self._raw_body, self._source
        )
        if isinstance(body, Reason):
            return body
        self._body = body
        return None

    def _look_up(
        self, subjects: tuple[Subject, ...], directory: Directory, now: float
    ) -> tuple[Subject, ...] | LookupNeeded:
        lookup = self._source.lookup
        found: list[Subject] = []
        missing: list[str] = []
        for subject in subjects:
            located = locate(directory, lookup, subject, now)
            if located is Told.NOT_FOUND and not self._is_asked:
                missing.append(str(subject.id))
            elif isinstance(located, Told):  # nobody could tell, or nobody did although asked
                self.has_failed = True
                found.append(msgspec.structs.replace(subject, country=UNKNOWN, source=f"lookup:{lookup}"))
            else:
                found += located
        if missing:
            self._is_asked = True
            return LookupNeeded(lookup, tuple(dict.fromkeys(missing)))
        return tuple(found)


def find_field(headers: Headers, name: str) -> str | None:
    """Return the values of a field, joined as a list (RFC 9110 5.3); None where there is none."""
    values = [value for each, value in headers if each.lower() == name]
    return ", ".join(values) if values else None
