# SPDX-License-Identifier: Apache-2.0
"""Whose data a route carries: every way to say it, what each comes to, and what is refused with its mend."""

from typing import Any, Final

import pytest

from proxy.model.api import Selector, SubjectSource, Where
from proxy.model.country import CountryForm
from proxy.model.json_path import EVERY, parse_json_path
from tests.support.api_entries import CLAIM, KNOWN, SEARCH, VOUCHED, a_route, compiled, problems_of_route

ID: Final = Selector(Where.PATH, "user_id")
POST: Final[dict[str, Any]] = {"methods": ["POST"], "action": "create"}

REQUESTS: Final[dict[str, tuple[dict[str, Any], dict[str, Any], SubjectSource]]] = {
    "of the path, for which an owner vouches": (
        KNOWN, {},
        SubjectSource(country=Selector(Where.PATH, "country"), id=ID, is_authoritative=True),
    ),
    "of the route itself": (
        {"country": "JP", "authoritative": VOUCHED}, {},
        SubjectSource(country=Selector(Where.LITERAL, "JP"), is_authoritative=True),
    ),
    "of the path, in another form": (
        {**KNOWN, "country": {"value": "{country}", "format": "alpha3"}}, {},
        SubjectSource(
            country=Selector(Where.PATH, "country"), id=ID, form=CountryForm.ALPHA3, is_authoritative=True
        ),
    ),
    "of the query, several ids in one text": (
        {"country": {"query": "c"}, "id": {"query": "ids", "split": ","}, "authoritative": VOUCHED}, {},
        SubjectSource(
            country=Selector(Where.QUERY, "c"), id=Selector(Where.QUERY, "ids", ","), is_authoritative=True
        ),
    ),
    "of a field of the head, whose name has no letter case": (
        {"country": {"header": "X-Tenant-Country"}, "authoritative": VOUCHED}, {},
        SubjectSource(country=Selector(Where.HEADER, "x-tenant-country"), is_authoritative=True),
    ),
    "of a body of JSON": (
        {"country": {"body": "$.user.country"}, "id": {"body": "$.user.ids[*]"}, "authoritative": VOUCHED}, POST,
        SubjectSource(
            country=Selector(Where.JSON, "$.user.country"), id=Selector(Where.JSON, "$.user.ids[*]"),
            is_authoritative=True,
        ),
    ),
    "of a form": (
        {"country": {"form": "c"}, "id": {"form": "id"}, "authoritative": VOUCHED}, POST,
        SubjectSource(country=Selector(Where.FORM, "c"), id=Selector(Where.FORM, "id"), is_authoritative=True),
    ),
    "of a register, by an id of the request": (
        {"id": "{user_id}", "lookup": "staff"}, {"methods": ["PUT"], "action": "update"},
        SubjectSource(id=ID, lookup="staff"),
    ),
    "claimed, and confirmed by the head of the answer": (
        {**CLAIM, "confirm": {"answer_header": "X-Subject-Country", "format": "alpha2-lower"}}, {"fields": None,
        "searchable_by": None},
        SubjectSource(
            country=Selector(Where.PATH, "country"), id=ID, header="x-subject-country",
            header_form=CountryForm.LOWER,
        ),
    ),
    "claimed, and confirmed by the answer": (
        {**CLAIM, "confirm": "$.country"}, {},
        SubjectSource(country=Selector(Where.PATH, "country"), id=ID, is_in_answer=True),
    ),
    "told by the head of the answer": (
        {"country": {"answer_header": "X-Country", "format": "name"}, "id": "{user_id}"}, {"methods": ["GET", "HEAD"]},
        SubjectSource(id=ID, header="x-country", header_form=CountryForm.NAME),
    ),
    "told by the records": (SEARCH, {}, SubjectSource(is_in_answer=True)),
    "told by the one record that the answer is": (
        {"country": "$.country", "id": "{user_id}"}, {"searchable_by": None}, SubjectSource(id=ID, is_in_answer=True)
    ),
    "told by a register, by the ids of the records": (
        {"records": "$[*]", "id": "$.id", "lookup": "staff"}, {}, SubjectSource(lookup="staff", is_in_answer=True)
    ),
    "of the route itself, with ids in the records": (
        {"records": "$[*]", "id": "$.id", "country": "JP", "authoritative": VOUCHED}, {},
        SubjectSource(country=Selector(Where.LITERAL, "JP"), is_authoritative=True),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("subject", "changes", "expected"), REQUESTS.values(), ids=REQUESTS)
def test_a_country_comes_from(subject: dict[str, Any], changes: dict[str, Any], expected: SubjectSource) -> None:
    route = compiled(a_route(subject, **changes))
    assert route.subject == expected
    assert expected.is_confirmed is ("confirm" in subject)


def test_what_the_records_tell_stands_in_the_inspection() -> None:
    route = compiled(a_route({**SEARCH, "country": {"value": "$.home.country", "format": "alpha3"}}))
    assert route.inspection is not None
    assert route.inspection.records == ("users", EVERY)
    assert (route.inspection.country, route.inspection.form) == (("home", "country"), CountryForm.ALPHA3)
    assert (route.inspection.id, route.inspection.is_id_key) == (("id",), False)


def test_what_confirms_a_claim_stands_where_the_country_of_a_record_does() -> None:
    route = compiled(a_route({**CLAIM, "confirm": {"value": "$.c", "format": "name"}}))
    assert route.inspection is not None
    assert (route.inspection.country, route.inspection.form) == (("c",), CountryForm.NAME)


def test_an_id_may_be_the_name_under_which_a_record_stands() -> None:
    route = compiled(a_route({"records": "$.by_id[*]", "country": "$.country", "id": "key"}))
    assert route.inspection is not None
    assert (route.inspection.id, route.inspection.is_id_key) == (None, True)


def test_with_a_register_the_records_tell_no_country() -> None:
    route = compiled(a_route({"records": "$[*]", "id": "$.id", "lookup": "staff"}))
    assert route.inspection is not None
    assert (route.inspection.country, route.inspection.id) == (None, ("id",))


WRONG: Final[dict[str, tuple[dict[str, Any], dict[str, Any], tuple[Any, ...], str]]] = {
    "no country": (
        {"id": "{user_id}"}, {}, ("subject",),
        "`country` is missing: say where it stands, or which register tells it of the id (`lookup`)",
    ),
    "a claim that nobody checks": (
        CLAIM, {}, ("subject",),
        ("this country is a claim: `authoritative` (who vouches that the API answers for no other) or `confirm` is "
        "missing"),
    ),
    "a country of the route that nobody vouches for": (
        {"country": "JP"}, {}, ("subject",),
        ("the route says the country itself: `authoritative` (who vouches that the API answers for no other) or "
        "`confirm` is missing"),
    ),
    "a claim that is vouched for and confirmed": (
        {**KNOWN, "confirm": "$.country"}, {}, ("subject", "confirm"),
        "what the answer confirms needs nobody who vouches for it: leave out `confirm`, or `authoritative`",
    ),
    "a country of the records that is vouched for": (
        {**SEARCH, "authoritative": VOUCHED}, {}, ("subject", "authoritative"),
        "the country comes from the answer, not from whoever asks: leave this out",
    ),
    "a country of the records that is confirmed": (
        {**SEARCH, "confirm": "$.c"}, {}, ("subject", "confirm"),
        "the country comes from the answer, not from whoever asks: leave this out",
    ),
    "a country, and a register that tells it": (
        {**KNOWN, "lookup": "staff"}, {}, ("subject", "lookup"),
        "the register tells the country: leave out `lookup`, or `country` with what belongs to it",
    ),
    "a register without an id": (
        {"lookup": "staff"}, {}, ("subject", "lookup"), "a register tells the country of an id: `id` is missing",
    ),
    "a register, and somebody who vouches": (
        {"id": "{user_id}", "lookup": "staff", "authoritative": VOUCHED}, {}, ("subject", "authoritative"),
        "the register tells the country, and nobody claims one: leave this out",
    ),
    "records that are no path": (
        {**SEARCH, "records": "$..users"}, {}, ("subject", "records"), "neither .name, ['name'] nor [*]",
    ),
    "a key of no map": (
        {**SEARCH, "records": "$.users", "id": "key"}, {"searchable_by": None}, ("subject", "id"),
        "`key` is the name under which a record stands in a map: `records` ends in [*], such as $.users[*]",
    ),
    "a key of no records": (
        {"country": "$.country", "id": "key"}, {"searchable_by": None}, ("subject", "id"), "`records` ends in [*]",
    ),
    "a country that is a key": ({**SEARCH, "country": "key"}, {}, ("subject", "country"), "'key' is not a parameter"),
    "a misspelt parameter": (
        {**KNOWN, "country": "{contry}"}, {}, ("subject", "country"),
        "no parameter 'contry' in the path (did you mean 'country'?)",
    ),
    "a code in lower case": (
        {**KNOWN, "country": "jp"}, {}, ("subject", "country"),
        ("'jp' is not a parameter of the path, such as {country}, or a member of the record, such as $.country, or a "
        "country code: write JP (upper case)"),
    ),
    "an id that is a text": (
        {**KNOWN, "id": "42"}, {}, ("subject", "id"),
        "'42' is not a parameter of the path, such as {id}, or a member of the record, such as $.id, or `key`",
    ),
    "a claim that the request confirms": (
        {**CLAIM, "confirm": "{country}"}, {}, ("subject", "confirm"),
        "'{country}' is not in the answer: a member of each record is, such as $.country, or {answer_header: NAME}",
    ),
    "a country at several places": (
        {**SEARCH, "country": "$.homes[*].country"}, {}, ("subject", "country"),
        "'$.homes[*].country' is several values: name one member; of an array that it holds, each counts",
    ),
    "a country that is the record": (
        {**SEARCH, "country": "$"}, {}, ("subject", "country"), "'$' is the whole record: name a member of it",
    ),
    "a country at an index": ({**SEARCH, "country": "$.a[0]"}, {}, ("subject", "country"), "is no JSONPath"),
    "a country in a token": (
        {"country": {"header": "Authorization"}, "authoritative": VOUCHED}, {}, ("subject", "country"),
        "'Authorization' means something else, or does not reach the API: name a field that is the API's own",
    ),
    "a country in a cookie": (
        {"country": {"header": "Cookie"}, "authoritative": VOUCHED}, {}, ("subject", "country"), "means something else",
    ),
    "a country in a field that is new in each request": (
        {"country": {"header": "X-Correlation-Id"}, "authoritative": VOUCHED}, {}, ("subject", "country"), "else",
    ),
    "a country in a field of ours": (
        {"country": {"header": "Sekisho-Purpose"}, "authoritative": VOUCHED}, {}, ("subject", "country"), "else",
    ),
    "a country in a field that proxies write": (
        {"country": {"header": "X-Forwarded-Country"}, "authoritative": VOUCHED}, {}, ("subject", "country"), "else",
    ),
    "a country in a field that is dropped": (
        {"country": {"header": "X-User-Country"}, "authoritative": VOUCHED}, {}, ("subject", "country"), "reach",
    ),
    "a country in the answer's framing": (
        {"country": {"answer_header": "Content-Length"}}, {}, ("subject", "country"), "belongs to the connection",
    ),
    "a country in what caches read": (
        {"country": {"answer_header": "Cache-Control"}}, {}, ("subject", "country"), "belongs to the connection",
    ),
    "a path of a body that is none": (
        {**KNOWN, "id": {"body": "user.id"}}, POST, ("subject", "id"), "is no JSONPath (RFC 9535), such as $.user.id",
    ),
    "what a body leaves out": (
        {**KNOWN, "id": {"body": "$.users[0:2].id"}}, POST, ("subject", "id"), "selects by a filter, a slice, a list",
    ),
    "a body of a GET": (
        {**KNOWN, "id": {"body": "$.id"}}, {}, ("subject", "id"),
        "a GET has no body to find it in: declare a route for POST, PUT or PATCH alone",
    ),
    "a form of a DELETE": (
        {**KNOWN, "id": {"form": "id"}}, {"methods": ["DELETE"], "action": "delete"}, ("subject", "id"), "a DELETE has",
    ),
    "a body that is not taken": (
        {**KNOWN, "id": {"body": "$.id"}}, {**POST, "max_body_bytes": "0"}, ("subject", "id"), "`max_body_bytes: 0`",
    ),
    "a body that is two things": (
        {"country": {"form": "c"}, "id": {"body": "$.id"}, "authoritative": VOUCHED}, POST, ("subject",),
        "a body is JSON or a form, not both: `body` and `form` do not go together",
    ),
    "several codes of the route": (
        {**KNOWN, "country": {"value": "JP", "split": ","}}, {}, ("subject", "country", "split"), "leave `split` out",
    ),
    "several ids in a text of a record": (
        {**SEARCH, "id": {"value": "$.id", "split": ","}}, {}, ("subject", "id", "split"),
        "several values in one text stand in a request: leave `split` out",
    ),
    "ids of the path between commas": (
        {**KNOWN, "id": {"value": "{user_id}", "split": ","}}, {}, ("subject", "id", "split"),
        "a parameter of the path never holds ',', but any of . _ ~ -",
    ),
    "a code of the route in another form": (
        {**KNOWN, "country": {"value": "JP", "format": "alpha3"}}, {}, ("subject", "country", "format"),
        "a code that the route itself says is written one way: leave `format` out",
    ),
    "records of a route that declares no fields": (
        SEARCH, {"fields": None, "searchable_by": None}, (),
        ("`country` of the subject stands in the answer, and what is looked into lets nothing undeclared leave: "
        "`fields` is missing"),
    ),
    "a claim confirmed by the records, without fields": (
        {**CLAIM, "confirm": "$.country"}, {"fields": None, "searchable_by": None}, (), "`fields` is missing",
    ),
    "where records stand, without fields": (
        {**KNOWN, "records": "$[*]"}, {"fields": None, "searchable_by": None}, (), "`records` of the subject stands",
    ),
    "a country that the answer to a change tells": (
        {"country": "$.country", "id": "{user_id}"}, {"methods": ["PUT"], "action": "update", "searchable_by": None},
        ("subject", "country"),
        ("the answer tells whose data it is once something has been changed: take it from the request, or from a "
        "register (`lookup`) by an id of the request"),
    ),
    "a claim that the answer to a change confirms": (
        {**CLAIM, "confirm": "$.country"}, {"methods": ["DELETE"], "action": "delete"}, ("subject", "confirm"),
        "once something has been changed",
    ),
    "a country in the head of the answer to a change": (
        {"country": {"answer_header": "X-Country"}}, {"methods": ["PATCH"], "action": "update"}, ("subject", "country"),
        "once something has been changed",
    ),
    "a register asked for the ids of the answer to a change": (
        {"id": "$.id", "lookup": "staff"}, {"methods": ["POST"], "action": "create", "searchable_by": None},
        ("subject", "id"), "once something has been changed",
    ),
    "an export by POST": (
        SEARCH, {"methods": ["POST"], "action": "export"}, ("subject", "country"),
        "by an id of the request. `reads_only` vouches that a POST changes nothing",
    ),
    "a change that calls itself a GET": (
        SEARCH, {"action": "update"}, ("subject", "country"), "once something has been changed",
    ),
    "records of a HEAD": (
        SEARCH, {"methods": ["GET", "HEAD"]}, ("subject", "country"),
        "the answer to a HEAD has no records to tell whose data it is: declare the route without HEAD",
    ),
    "a claim that the records of a HEAD confirm": (
        {**CLAIM, "confirm": "$.country"}, {"methods": ["HEAD"]}, ("subject", "confirm"), "without HEAD",
    ),
    "a tunnel of somebody who is known too late": (
        {"country": {"answer_header": "X-Country"}},
        {"upgrade": ["websocket"], "fields": None, "searchable_by": None}, ("subject", "country"),
        "a tunnel opens before anything of it could tell whose data it is: take it from the request",
    ),
    "a tunnel of whoever the records name": (
        {"country": "$.country"}, {"upgrade": ["websocket"], "fields": None, "searchable_by": None},
        ("subject", "country"), "a tunnel opens before",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("subject", "changes", "path", "words"), WRONG.values(), ids=WRONG)
def test_what_is_refused(
    subject: dict[str, Any], changes: dict[str, Any], path: tuple[str | int, ...], words: str
) -> None:
    (problem,) = problems_of_route(a_route(subject, **changes))
    assert problem.path == path
    assert words in problem.message


@pytest.mark.parametrize("text", ["$.a", "$['b c'].d", "$.e_f.g-h"])
def test_a_member_is_named_as_json_paths_name_it(text: str) -> None:
    route = compiled(a_route({"country": text, "id": text}, searchable_by=None))
    assert route.inspection is not None
    assert route.inspection.country == route.inspection.id == parse_json_path(text)
