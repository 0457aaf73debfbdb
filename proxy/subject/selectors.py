# SPDX-License-Identifier: Apache-2.0
"""Whose data a request is about, as far as the request itself says it, and whose an answer's head says it is.

A country that a caller wrote is only a claim: that the answer has to confirm it, or an owner vouches that the API
cannot answer otherwise, is the loader's to see to. A text that is no country is unknown. Where a register tells the
country, it is unknown until that was asked.

What could name somebody else to the API is refused, never resolved: a value that stands twice, a name that is spelt
another way beside it, an id with blanks round it. So is a request that names nobody where its route says that it does.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

import msgspec

from proxy.model.api import Selector, SubjectSource, Where
from proxy.model.country import CountryForm, parse_country, read_country
from proxy.model.decision import Reason
from proxy.model.facts import UNKNOWN, Fact
from proxy.model.query import Query, fold_name
from proxy.model.request import Headers
from proxy.model.subject import NO_SUBJECT, Subject
from proxy.subject.bodies import Body
from proxy.subject.paths import MAX_VALUES, compile_selector

MAX_SUBJECTS: Final = MAX_VALUES
"""Of one request; ids and countries that stand there again count, too."""
MAX_TEXT: Final = 1024
"""Characters of an id or a country in a query, a header or a body."""
_NOBODY: Final = (NO_SUBJECT,)
_SOMEBODY: Final = (Subject(),)
_NAMED: Final = frozenset({Where.QUERY, Where.FORM})
_IN_BODY: Final = frozenset({Where.JSON, Where.FORM})


class Asked(msgspec.Struct, frozen=True, gc=False):
    """The parts of a request in which subjects may stand."""

    parameters: Mapping[str, str]
    query: Query | None
    headers: Headers
    body: Body | None


class Claimed(msgspec.Struct, frozen=True, gc=False):
    """What a request says in one place: of several ids and several countries nobody could tell whose is which."""

    countries: tuple[str, ...]
    """As they are written."""
    ids: tuple[str, ...]


def select_subject(source: SubjectSource | None, parameters: Mapping[str, str]) -> Subject:
    """Return whose data a request is about where its path alone says it."""
    if source is None:
        return NO_SUBJECT
    return _select_plain(source.country, source.id, parameters) or Subject()


def needs_body(source: SubjectSource) -> bool:
    """Say whether subjects can only be told with the request's body."""
    return any(each.where in _IN_BODY for each in _list_selectors(source))


def needs_query(source: SubjectSource) -> bool:
    """Say whether subjects can only be told with the request's query: those of a form, too, see ``_find_in_form``."""
    return any(each.where in _NAMED for each in _list_selectors(source))


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
    if source is None:
        return _NOBODY
    if not source.lookup and source.form is _ANY_CASE:
        subject = _select_plain(source.country, source.id, parameters)
        if subject is not None:
            return (subject,)
    claims = _claim(source, Asked(parameters, query, headers, body))
    if isinstance(claims, Reason):
        return claims
    if any(len(claimed.countries) > 1 and len(claimed.ids) > 1 for claimed in claims):
        return Reason.SUBJECT_MALFORMED
    found: dict[Subject, None] = {}
    for claimed in [_join(claims)] if source.is_confirmed else claims:
        for subject in _make_subjects(source, claimed):
            found[subject] = None
            if len(found) > MAX_SUBJECTS:
                return Reason.SUBJECTS_EXCEEDED
    return tuple(found) or _SOMEBODY


def select_answer_country(source: SubjectSource, headers: Headers) -> Fact[str] | Reason:
    """Return the country that the head of an answer tells; unknown where it tells none.

    Args:
        source: names the field.
        headers: of the answer.
    """
    values = [value for name, value in headers if name.lower() == source.header]
    if not values:
        return UNKNOWN
    country = read_country(values[0], source.header_form) if len(values) == 1 else None
    return Reason.ANSWER_COUNTRY_MALFORMED if country is None else country


_ANY_CASE: Final = CountryForm.ANY_CASE
_PATH: Final = Where.PATH
_LITERAL: Final = Where.LITERAL


def _select_plain(country: Selector | None, id_: Selector | None, parameters: Mapping[str, str]) -> Subject | None:
    """Return the subject where whole path parameters, or the route itself, name it; None where more is to be read."""
    text = name = None
    if country is not None:
        text = _read_plain(country, parameters)
        if text is None:
            return None
    if id_ is not None:
        name = _read_plain(id_, parameters)
        if name is None:
            return None
    return Subject(
        country=UNKNOWN if text is None else _find_country(text),
        id=UNKNOWN if name is None else name,
        source="" if country is None else country.where,
    )


def _read_plain(selector: Selector, parameters: Mapping[str, str]) -> str | None:
    where = selector.where
    if where is _PATH:
        return None if selector.separator else parameters[selector.name]
    return selector.name if where is _LITERAL else None


def _list_selectors(source: SubjectSource) -> list[Selector]:
    """Return what has to be read: no country where a register tells it."""
    return [each for each in (None if source.lookup else source.country, source.id) if each is not None]


def _claim(source: SubjectSource, asked: Asked) -> list[Claimed] | Reason:
    """Return what a request says, place by place, or the first reason why it says nothing that is sure."""
    country, id_ = None if source.lookup else source.country, source.id
    if country is not None and id_ is not None and country.where is id_.where is Where.JSON:
        paths = compile_selector(country.name), compile_selector(id_.name)
        if paths[0].stem is not None and paths[0].stem == paths[1].stem:
            return _claim_together(country, id_, asked)
    countries = () if country is None else _find_texts(country, asked)
    if isinstance(countries, Reason):
        return countries
    ids = () if id_ is None else _find_texts(id_, asked)
    if isinstance(ids, Reason):
        return ids
    return [Claimed(countries, ids)]


def _claim_together(country: Selector, id_: Selector, asked: Asked) -> list[Claimed] | Reason:
    """Return what the objects say that hold both a country and an id: each of them does, or there is a reason."""
    countries, ids = _find_values(country, asked), _find_values(id_, asked)
    if isinstance(countries, Reason):
        return countries
    if isinstance(ids, Reason):
        return ids
    claims: list[Claimed] = []
    for one, other in zip(countries, ids, strict=True):
        told, named = _read_values(country, [one]), _read_values(id_, [other])
        if isinstance(told, Reason):
            return told
        if isinstance(named, Reason):
            return named
        claims.append(Claimed(told, named))
    return claims


def _join(claims: Iterable[Claimed]) -> Claimed:
    """Return claims as one in which everybody may be of every country.

    A record is confirmed by its country alone, whichever id it was claimed for.
    """
    countries = [text for claimed in claims for text in claimed.countries]
    ids = [text for claimed in claims for text in claimed.ids]
    return Claimed(tuple(dict.fromkeys(countries)), tuple(dict.fromkeys(ids)))


def _make_subjects(source: SubjectSource, claimed: Claimed) -> Iterable[Subject]:
    where = "" if source.country is None or source.lookup else source.country.where
    countries = dict.fromkeys(read_country(text, source.form) or UNKNOWN for text in claimed.countries) or (UNKNOWN,)
    return (
        Subject(country=country, id=id_, source=where) for id_ in claimed.ids or (UNKNOWN,) for country in countries
    )


def _find_texts(selector: Selector, asked: Asked) -> tuple[str, ...] | Reason:
    """Return the texts that a selector finds, at least one; or the reason why it finds none that is sure."""
    match selector.where:
        case Where.LITERAL:
            return (selector.name,)
        case Where.PATH:
            return _divide(selector, [asked.parameters[selector.name]])
        case Where.QUERY:
            return _find_parameters(selector, asked.query)
        case Where.FORM:
            return _find_in_form(selector, asked)
        case Where.HEADER:
            return _find_header(selector, asked.headers)
        case Where.JSON:
            values = _find_values(selector, asked)
            return values if isinstance(values, Reason) else _read_values(selector, values)


def _find_parameters(selector: Selector, query: Query | None) -> tuple[str, ...] | Reason:
    found = None if query is None else query.find(selector.name)
    if found is None or (selector.where is Where.QUERY and any(each.has_plus for each in found)):
        return Reason.SUBJECT_MALFORMED
    return _divide(selector, [each.value for each in found])


def _find_in_form(selector: Selector, asked: Asked) -> tuple[str, ...] | Reason:
    """Return what a form says, where the query has no parameter of that name: many servers take both for one."""
    if asked.query is None or asked.query.find(selector.name) != ():
        return Reason.SUBJECT_MALFORMED
    return _find_parameters(selector, None if asked.body is None else asked.body.form)


def _find_header(selector: Selector, headers: Headers) -> tuple[str, ...] | Reason:
    values, folded = [], fold_name(selector.name)
    for name, value in headers:
        if name.lower() == selector.name:
            values.append(value)
        elif fold_name(name) == folded:  # CGI reads X_Country for X-Country
            return Reason.SUBJECT_MALFORMED
    if selector.separator:  # RFC 9110 5.6.1: blanks stand round the elements of a list
        return _check([text.strip(" \t") for value in values for text in value.split(selector.separator)])
    return _divide(selector, values)


def _find_values(selector: Selector, asked: Asked) -> list[Any] | Reason:
    return compile_selector(selector.name).find(None if asked.body is None else asked.body.document)


def _read_values(selector: Selector, values: list[Any]) -> tuple[str, ...] | Reason:
    """Return the texts of a document's values: each a text or a whole number, or an array of such."""
    texts: list[str] = []
    for value in values:
        held = value if isinstance(value, list) else [value]
        if not held:
            return Reason.SUBJECT_MISSING
        if not all(isinstance(each, str) for each in held):
            return Reason.SUBJECT_MALFORMED
        texts += [text for each in held for text in _split(selector, each)]
    return _check(texts)


def _divide(selector: Selector, values: list[str]) -> tuple[str, ...] | Reason:
    """Return the texts of what may stand once; with a separator it may be repeated, too."""
    if len(values) > 1 and not selector.separator:
        return Reason.SUBJECT_MALFORMED
    return _check([text for value in values for text in _split(selector, value)])


def _split(selector: Selector, text: str) -> list[str]:
    return text.split(selector.separator) if selector.separator else [text]


def _check(texts: list[str]) -> tuple[str, ...] | Reason:
    if len(texts) > MAX_SUBJECTS:
        return Reason.SUBJECTS_EXCEEDED
    if not texts or not all(texts):
        return Reason.SUBJECT_MISSING
    return tuple(texts) if all(map(_is_name, texts)) else Reason.SUBJECT_MALFORMED


def _is_name(text: str) -> bool:
    """Say whether a text names somebody to all readers alike: none sees another where it drops what cannot be seen."""
    return len(text) <= MAX_TEXT and text.isprintable() and text[0] != " " != text[-1]


@lru_cache(maxsize=1024)
def _find_country(text: str) -> Fact[str]:
    """Return the country of a text; which texts are countries never changes."""
    return parse_country(text) or UNKNOWN
