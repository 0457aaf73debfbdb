# SPDX-License-Identifier: Apache-2.0
"""Whose data a test case or a question is about, found out as a passage does it, but that nobody is asked.

What a case says of its subject stands in the place of what the request, a register or the answer would say. Registers
in memory are asked; one that is kept elsewhere is not, and what it would say is unknown.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from proxy.bundle.cases import CaseGiven, CaseSubject
from proxy.model.api import Route, SubjectSource, Where
from proxy.model.decision import Reason
from proxy.model.facts import UNKNOWN
from proxy.model.request import Headers, Target
from proxy.model.subject import Located, Subject, Told
from proxy.pipeline.whose import Whose, is_plain
from proxy.request.catalog import Match
from proxy.request.query import check_searchable, parse_query
from proxy.subject.register import Asked, Lookup
from proxy.subject.selectors import select_subject
from proxy.subject.told import NOT_FOUND

ANSWERED: Final = Subject(source="answer")
"""Whose data it is, the answer will tell."""
_FORM: Final = "application/x-www-form-urlencoded"


class GivenDirectory:
    """Tells the countries of ids as a case gives them, or a register in memory.

    Args:
        lookups: the registers, by id.
        given: whose data the records of an answer are.
    """

    def __init__(self, lookups: Mapping[str, Lookup], given: Iterable[CaseSubject] = ()) -> None:
        self._lookups = lookups
        self._given: dict[str, set[str]] = {}
        for each in given:
            if each.id is not None and each.country is not None:
                self._given.setdefault(each.id, set()).add(each.country)
        self.not_asked: dict[str, set[str]] = {}
        """Registers that are kept elsewhere, each with the ids that it would be asked for."""

    def find(self, lookup: str, id_: str, now: float) -> Located:  # noqa: ARG002 - the port's
        """Return what is known of an id."""
        given = self._given.get(id_)
        if given is not None:
            return Located(Told.FOUND, tuple(sorted(given)))
        register = self._lookups.get(lookup)
        if register is None or isinstance(register, Asked):
            self.not_asked.setdefault(lookup, set()).add(id_)
            return NOT_FOUND
        countries = register.find(id_)
        return Located(Told.FOUND, countries) if countries else NOT_FOUND


def make_subject(given: CaseSubject) -> Subject:
    """Return a subject as a case gives it."""
    country = UNKNOWN if given.country is None else given.country
    return Subject(country=country, id=UNKNOWN if given.id is None else given.id)


def find_subjects(
    match: Match, target: Target, given: CaseGiven, directory: GivenDirectory, now: float
) -> tuple[Subject, ...] | Reason:
    """Return whose data a case is about, none where only the answer tells, or why it would be refused.

    A body that a route reads and the case does not give leaves the subject unknown.
    """
    source = match.route.subject
    if source is None or is_plain(source):
        said = select_subject(source, match.parameters)
        return (said,) if _agrees(given.subject, said) else Reason.SUBJECT_NOT_CONFIRMED
    tells_itself = given.answer is not None and source.is_in_answer  # whose each record is
    if given.subject is not None and not tells_itself:
        told = make_subject(given.subject)
        id_ = source.id
        if told.id is UNKNOWN and id_ is not None and id_.where is Where.PATH and not id_.separator:
            told = msgspec.structs.replace(told, id=match.parameters[id_.name])
        return (told,)
    whose = Whose(source)
    if given.body is not None:
        whose.take_body(given.body.strip().encode())
    found = whose.find(match, target, _list_headers(source, given), directory, now)
    return found if isinstance(found, tuple | Reason) else (Subject(),)


def _agrees(given: CaseSubject | None, said: Subject) -> bool:
    """Say whether a case says nothing else of its subject than the path of its request does."""
    if given is None:
        return True
    told = make_subject(given)
    return told.country in {UNKNOWN, said.country} and told.id in {UNKNOWN, said.id}


def _list_headers(source: SubjectSource, given: CaseGiven) -> Headers:
    headers = tuple((given.headers or {}).items())
    if given.body is None or any(name.lower() == "content-type" for name, _ in headers):
        return headers
    is_form = any(each is not None and each.where is Where.FORM for each in (source.country, source.id))
    return (*headers, ("Content-Type", _FORM if is_form else "application/json"))


def find_search(route: Route, target: Target) -> Reason | None:
    """Return why a request may not search where records could be dropped."""
    if not target.raw_query:
        return None
    query = parse_query(target.raw_query)
    return query if isinstance(query, Reason) else check_searchable(query, route.searchable_by or frozenset())


def with_reference(subject: Subject, reference: str) -> Subject:
    """Return a subject under the name by which a grant knows it; empty for none."""
    return msgspec.structs.replace(subject, reference=reference) if reference else subject
