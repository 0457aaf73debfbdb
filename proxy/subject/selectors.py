# SPDX-License-Identifier: Apache-2.0
"""Reads the data subject from a request's path parameters.

A country that a caller wrote is only a claim; the loader takes it as the subject's country only where an owner
vouches that the API cannot answer otherwise (``authoritative``). A text that is no country is unknown.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

import msgspec

from proxy.model.api import Selector, SubjectSource, Where
from proxy.model.country import parse_country
from proxy.model.decision import Reason
from proxy.model.facts import UNKNOWN, Fact
from proxy.model.query import Query
from proxy.model.request import Headers
from proxy.model.subject import NO_SUBJECT, Subject
from proxy.subject.bodies import Body

_IN_BODY: Final = frozenset({Where.JSON, Where.FORM})


def select_subject(source: SubjectSource | None, parameters: Mapping[str, str]) -> Subject:
    """Return whose data a request is about."""
    if source is None:
        return NO_SUBJECT
    country, id_ = source.country, source.id
    return Subject(
        country=UNKNOWN if country is None else _find_country(_read(country, parameters)),
        id=UNKNOWN if id_ is None else _read(id_, parameters),
        source="" if country is None else country.where,
    )


def _read(selector: Selector, parameters: Mapping[str, str]) -> str:
    return parameters[selector.name] if selector.where is Where.PATH else selector.name


@lru_cache(maxsize=1024)
def _find_country(text: str) -> Fact[str]:
    """Return the country of a text; which texts are countries never changes."""
    return parse_country(text) or UNKNOWN


class Claimed(msgspec.Struct, frozen=True, gc=False):
    """What a request says in one place, before look-ups."""

    countries: tuple[Fact[str], ...] = ()
    """One or several; unknown for a text that is no country."""
    ids: tuple[str, ...] = ()


def needs_body(source: SubjectSource) -> bool:
    """Say whether subjects can only be told with the request's body."""
    return any(each is not None and each.where in _IN_BODY for each in (source.country, source.id))


def needs_query(source: SubjectSource) -> bool:
    """Say whether subjects can only be told with the request's query."""
    return any(each is not None and each.where is Where.QUERY for each in (source.country, source.id))


def select_subjects(
    source: SubjectSource | None,
    parameters: Mapping[str, str],
    query: Query | None,
    headers: Headers,
    body: Body | None,
) -> tuple[Subject, ...] | Reason:
    """Return whose data a request is about, one subject for each id and country; or why that cannot be told.

    Args:
        source: where the route says it.
        parameters: of the path.
        query: where ``needs_query``.
        headers: the fields that go on to the API, and no others.
        body: where ``needs_body``.
    """
    raise NotImplementedError


def select_answer_country(source: SubjectSource, headers: Headers) -> Fact[str] | Reason:
    """Return the country that the head of an answer tells; unknown where it tells none.

    Args:
        source: names the field.
        headers: of the answer.
    """
    raise NotImplementedError
