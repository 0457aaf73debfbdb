# SPDX-License-Identifier: Apache-2.0
"""Whose data one request is about, step by step."""

from typing import Any, Final

import pytest

from proxy.model.api import Selector, SubjectSource, Where
from proxy.model.decision import Reason
from proxy.model.facts import UNKNOWN
from proxy.model.request import Headers, Target
from proxy.model.subject import BodyNeeded, LookupNeeded, Subject, Told
from proxy.pipeline.whose import BODY_BYTES, NO_DIRECTORY, Whose, find_field, is_plain, locate
from proxy.request.catalog import Match
from tests.support.passages import NOW
from tests.support.people import Drive, Register

PATH: Final = Selector(Where.PATH, "country")
ID: Final = Selector(Where.PATH, "id")
QUERY: Final = Selector(Where.QUERY, "ids", ",")
BODY: Final = Selector(Where.JSON, "$.country")
FORM: Final = Selector(Where.FORM, "country")
JSON: Final[Headers] = (("Content-Type", "application/json"),)


def _match(**parameters: str) -> Match:
    match = Drive()
    match.ask("/v1/people")
    found = match.passage._match
    assert found is not None
    return Match(found.route, parameters)


def find(whose: Whose, query: str = "", headers: Headers = (), directory: Any = NO_DIRECTORY, **names: str) -> Any:
    return whose.find(_match(**names), Target("/", (), query), headers, directory, NOW)


PLAIN: Final[dict[str, tuple[SubjectSource | None, bool]]] = {
    "no subject": (None, True),
    "a country of the path": (SubjectSource(country=PATH), True),
    "both of the path": (SubjectSource(country=PATH, id=ID), True),
    "a country that the route itself says": (SubjectSource(country=Selector(Where.LITERAL, "JP")), True),
    "an id of the path alone": (SubjectSource(id=ID), False),
    "several in one parameter": (SubjectSource(country=Selector(Where.PATH, "country", ",")), False),
    "a country of the query": (SubjectSource(country=QUERY), False),
    "an id of the body": (SubjectSource(country=PATH, id=BODY), False),
    "a country that records confirm": (SubjectSource(country=PATH, is_in_answer=True), False),
    "a country that the head confirms": (SubjectSource(country=PATH, header="x-country"), False),
    "a country that a register tells": (SubjectSource(country=PATH, id=ID, lookup="staff"), False),
    "nothing": (SubjectSource(), False),
}


@pytest.mark.parametrize(("source", "is_so"), PLAIN.values(), ids=PLAIN)
def test_what_the_path_says_at_once_and_for_certain_is_plain(source: SubjectSource | None, is_so: bool) -> None:  # noqa: FBT001
    assert is_plain(source) is is_so


def test_where_the_request_says_nothing_there_is_no_subject_yet() -> None:
    assert find(Whose(SubjectSource(is_in_answer=True))) == ()
    assert find(Whose(SubjectSource(id=ID, is_in_answer=True)), id="7") == ()


def test_what_the_request_says() -> None:
    assert find(Whose(SubjectSource(country=PATH, id=ID, is_in_answer=True)), country="tw", id="7") == (
        Subject(country="TW", id="7", source="path"),
    )


def test_a_country_that_nobody_knows_is_unknown_rather_than_none() -> None:
    (subject,) = find(Whose(SubjectSource(country=PATH, is_in_answer=True)), country="zz")
    assert subject.country is UNKNOWN


@pytest.mark.parametrize(
    ("query", "why"), [("ids=a&ids=%zz", Reason.QUERY_MALFORMED), ("", Reason.SUBJECT_MISSING),
                       ("ids=", Reason.SUBJECT_MISSING)]
)  # fmt: skip
def test_what_a_query_says_unclearly_is_refused(query: str, why: Reason) -> None:
    found = find(Whose(SubjectSource(country=PATH, id=QUERY)), query, country="tw")
    assert found is why


@pytest.mark.parametrize("selector", [BODY, FORM])
def test_a_body_is_needed_whole_and_once(selector: Selector) -> None:
    whose = Whose(SubjectSource(country=selector))
    assert find(whose) == BodyNeeded(BODY_BYTES)
    whose.take_body(b'{"country":"tw"}' if selector is BODY else b"country=tw")
    kind = "application/json" if selector is BODY else "application/x-www-form-urlencoded"
    (subject,) = find(whose, headers=(("content-TYPE", kind),))
    assert (subject.country, subject.source) == ("TW", "body" if selector is BODY else "form")


WRONG: Final[dict[str, tuple[bytes, Headers, Reason]]] = {
    "of no type": (b"{}", (), Reason.BODY_TYPE_UNSUPPORTED),
    "of two types": (b"{}", JSON + JSON, Reason.BODY_TYPE_UNSUPPORTED),
    "of another type": (b"{}", (("Content-Type", "text/plain"),), Reason.BODY_TYPE_UNSUPPORTED),
    "coded": (b"{}", (*JSON, ("Content-Encoding", "gzip")), Reason.BODY_CODING_UNSUPPORTED),
    "empty": (b"", JSON, Reason.BODY_MISSING),
    "no JSON": (b"{", JSON, Reason.BODY_MALFORMED),
    "without the subject": (b"{}", JSON, Reason.SUBJECT_MISSING),
}


@pytest.mark.parametrize(("data", "headers", "why"), WRONG.values(), ids=WRONG)
def test_a_body_that_says_nothing_for_certain_is_refused(data: bytes, headers: Headers, why: Reason) -> None:
    whose = Whose(SubjectSource(country=BODY))
    whose.take_body(data)
    assert find(whose, headers=headers) == why


# Registers.

LOOKED_UP: Final = SubjectSource(id=QUERY, lookup="staff")


def _countries(found: Any) -> list[tuple[object, object]]:
    return [(each.id, each.country) for each in found]


def test_ids_that_nobody_knows_yet_are_asked_for_together_and_once() -> None:
    whose, directory = Whose(LOOKED_UP), Register({"a": "TW"})
    assert find(whose, "ids=a,b,c,b", directory=directory) == LookupNeeded("staff", ("b", "c"))
    directory.known |= Register({"b": "JP KR"}).known
    assert _countries(find(whose, "ids=a,b,c,b", directory=directory)) == [
        ("a", "TW"), ("b", "JP"), ("b", "KR"), ("c", UNKNOWN)
    ]  # fmt: skip
    assert whose.has_failed


def test_an_id_that_the_register_does_not_know_is_no_failure() -> None:
    whose = Whose(LOOKED_UP)
    (subject,) = find(whose, "ids=a", directory=Register({"a": "?"}))
    assert (subject.country, subject.source, whose.has_failed) == (UNKNOWN, "lookup:staff", False)


def test_where_there_is_no_directory_nobody_can_tell() -> None:
    whose = Whose(LOOKED_UP)
    (subject,) = find(whose, "ids=a")
    assert (subject.country, whose.has_failed) == (UNKNOWN, True)


def test_a_subject_is_located_once_for_each_of_its_countries() -> None:
    subject = Subject(id="a", source="query")
    located = locate(Register({"a": "JP TW"}), "staff", subject, NOW)
    assert located == tuple(Subject(id="a", country=country, source="lookup:staff") for country in ("JP", "TW"))
    assert locate(Register(), "staff", subject, NOW) is Told.NOT_FOUND
    assert locate(Register({"a": "!"}), "staff", subject, NOW) is Told.FAILED
    assert locate(Register(), "staff", Subject(), NOW) == (Subject(),)


def test_fields_that_stand_twice_are_a_list() -> None:
    assert find_field((("A", "1"), ("b", "2"), ("a", "3")), "a") == "1, 3"
    assert find_field((("A", "1"),), "b") is None


def test_a_body_that_searches_is_had_once_and_searches_by_what_is_allowed() -> None:
    whose = Whose(SubjectSource(is_in_answer=True))
    assert whose.ask_body() == BodyNeeded(BODY_BYTES)
    whose.take_body(b'{"name": "Sato"}')
    assert whose.ask_body() is None
    assert whose.check_search(JSON, {"name", "limit"}) is None
    assert whose.check_search(JSON, {"limit"}) is Reason.BODY_UNDECLARED
    assert whose.check_search((), {"name"}) is Reason.BODY_TYPE_UNSUPPORTED
