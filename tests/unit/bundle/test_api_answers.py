# SPDX-License-Identifier: Apache-2.0
"""What may leave of an answer: fields, envelope, heads, the parameters of a search; and what is refused of them."""

from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.bundle.api_answers import FieldEntry, MemberEntry, find_clashes
from proxy.bundle.apis import ApiEntry
from proxy.bundle.schema import validate
from proxy.model.inspection import DEFAULT_KEPT, Beyond, Field, Inspection, Media, Member, OnDenied
from proxy.model.json_path import EVERY, JsonPath, parse_json_path
from proxy.model.problem import Problem
from tests.support.api_entries import CLAIM, KNOWN, SEARCH, UPSTREAM, a_route, compiled, problems_of_route


def test_everything_that_a_route_declares_of_its_answers() -> None:
    route = compiled(
        a_route(
            SEARCH, answers="ndjson", on_denied="refuse", undeclared="refuse", searchable_by=["country", "after"],
            answer_headers=["X-Api-Version"],
            fields={"$.name": "user.name", "$.phones[*]": {"category": "user.contact", "keep": "2"}},
            envelope={"$.page": "keep", "$.total": "total", "$.next": {"cursor": "after"}, "$.is": {"says": "keep"}},
        )
    )  # fmt: skip
    assert route.searchable_by == frozenset({"country", "after"})
    assert route.inspection == Inspection(
        media=Media.LINES,
        records=("users", EVERY),
        country=("country",),
        id=("id",),
        fields=(Field(("name",), "user.name"), Field(("phones", EVERY), "user.contact", 2)),
        members=(
            Member(("page",)),
            Member(("total",), Beyond.TOTAL),
            Member(("next",), Beyond.CURSOR, "after"),
            Member(("is",)),
        ),
        on_denied=OnDenied.REFUSE,
        refuses_undeclared=True,
        headers=frozenset({"x-api-version"}),
    )


def test_what_a_route_leaves_out() -> None:
    route = compiled(a_route(KNOWN, searchable_by=None))
    assert route.searchable_by is None
    assert route.inspection == Inspection(fields=(Field(("name",), "user.name", DEFAULT_KEPT),))


@pytest.mark.parametrize(
    ("name", "media"), [("json", Media.JSON), ("ndjson", Media.LINES), ("events", Media.EVENTS)], ids=str
)
def test_what_the_body_is(name: str, media: Media) -> None:
    inspection = compiled(a_route(SEARCH, answers=name)).inspection
    assert inspection is not None
    assert inspection.media is media


MISSING: Final = (
    "records could be dropped here, and hidden ones must not be found by probing: `searchable_by` is missing, "
    "the query parameters that may stand (none: [])"
)
ONE: Final = {"country": "$.country", "id": "{user_id}"}


@pytest.mark.parametrize(
    ("subject", "changes", "is_needed"),
    [
        pytest.param(SEARCH, {}, True, id="records that tell whose they are"),
        pytest.param({**CLAIM, "records": "$[*]", "confirm": "$.country"}, {}, True, id="records that confirm a claim"),
        pytest.param({"records": "$[*]", "id": "$.id", "lookup": "x"}, {}, True, id="records of whom a register knows"),
        pytest.param(ONE, {"answers": "ndjson"}, True, id="lines"),
        pytest.param(ONE, {"answers": "events"}, True, id="events"),
        pytest.param(SEARCH, {"on_denied": "refuse"}, False, id="an answer that is refused whole"),
        pytest.param(ONE, {}, False, id="a single record"),
        pytest.param({**ONE, "records": "$.user"}, {}, False, id="a single record further down"),
        pytest.param({**KNOWN, "records": "$[*]"}, {}, False, id="records of one who is known"),
        pytest.param({"id": "{user_id}", "lookup": "x"}, {}, False, id="one of whom a register knows"),
        pytest.param({"country": {"answer_header": "X-C"}}, {}, False, id="one whom the head names"),
    ],
)
def test_a_search_says_what_it_may_be_asked_where_records_could_be_dropped(
    subject: dict[str, Any],
    changes: dict[str, Any],
    is_needed: bool,  # noqa: FBT001
) -> None:
    problems = problems_of_route(a_route(subject, searchable_by=None, **changes))
    assert problems == ([Problem((), MISSING)] if is_needed else [])
    assert problems_of_route(a_route(subject, searchable_by=[], **changes)) == []


def test_a_cursor_comes_back_in_a_parameter_that_is_listed() -> None:
    envelope = {"$.next": {"cursor": "after"}}
    (problem,) = problems_of_route(a_route(SEARCH, envelope=envelope, searchable_by=["afer"]))
    assert problem.path == ("envelope", "$.next", "cursor")
    assert problem.message == (
        "the cursor comes back as 'after', which `searchable_by` does not list (did you mean 'afer'?)"
    )


def test_the_parameter_that_names_the_subject_is_listed() -> None:
    subject = {"records": "$[*]", "country": "$.country", "id": {"query": "ids", "split": ","}}
    (problem,) = problems_of_route(a_route(subject, searchable_by=["limit"]))
    assert problem.path == ("searchable_by",)
    assert problem.message == "the parameter 'ids', in which `subject` finds id, is not listed"


def test_a_parameter_that_is_taken_for_the_cursors_is_none() -> None:
    envelope = {"$.next": {"cursor": "page"}}
    (problem,) = problems_of_route(a_route(SEARCH, envelope=envelope, searchable_by=["page", "limit", "page[size]"]))
    assert problem == Problem(
        ("searchable_by", 2), "some servers take 'page[size]' for 'page': a request with it would be refused"
    )


OUTSIDE: Final = "the envelope is what stands outside of the records"
WRONG: Final[dict[str, tuple[dict[str, Any], tuple[Any, ...], str]]] = {
    "a field that is the record": ({"fields": {"$": "user"}}, ("fields", "$"), "declare its members one by one"),
    "a field that is no path": ({"fields": {"name": "user"}}, ("fields", "name"), "it begins with $"),
    "a field at an index": ({"fields": {"$.a[0]": "user"}}, ("fields", "$.a[0]"), "neither .name, ['name'] nor [*]"),
    "a field inside another": (
        {"fields": {"$.a": "user", "$.a.b": "user.name"}}, ("fields", "$.a.b"),
        "it overlaps $.a: declare the one or the other, or members that differ",
    ),
    "a field round another": (
        {"fields": {"$.a[*].b": "user.name", "$.a": "user"}}, ("fields", "$.a"), "it overlaps $.a[*].b",
    ),
    "one field in two spellings": (
        {"fields": {"$.a": "user.name", "$['a']": "user"}}, ("fields", "$['a']"), "it overlaps $.a"
    ),
    "a name where all members are taken": (
        {"fields": {"$.a[*].b": "user.name", "$.a.c.d": "user"}}, ("fields", "$.a.c.d"), "it overlaps $.a[*].b",
    ),
    "a member round the records": ({"envelope": {"$.users": "keep"}}, ("envelope", "$.users"), OUTSIDE),
    "a member that is the document": ({"envelope": {"$": "keep"}}, ("envelope", "$"), OUTSIDE),
    "a member that is a record": ({"envelope": {"$.users[*]": "keep"}}, ("envelope", "$.users[*]"), OUTSIDE),
    "a member beside the records, in their map": (
        {"envelope": {"$.users.total": "total"}}, ("envelope", "$.users.total"), "it overlaps `records`",
    ),
    "a member of a record": (
        {"envelope": {"$.users[*].page": "keep"}}, ("envelope", "$.users[*].page"), "it overlaps `records`",
    ),
    "a member inside another": (
        {"envelope": {"$.page": "keep", "$.page.next": {"cursor": "c"}}}, ("envelope", "$.page.next"),
        "it overlaps $.page",
    ),
    "a member of a document that is one record": (
        {"subject": {"country": "$.country"}, "envelope": {"$.page": "keep"}}, ("envelope",),
        "the whole document is one record, and nothing is outside: say where the `records` of `subject` stand",
    ),
    "a member that is no path": ({"envelope": {"page": "keep"}}, ("envelope", "page"), "it begins with $"),
    "a head that is the connection's": ({"answer_headers": ["Upgrade"]}, ("answer_headers", 0), "the connection"),
    "a head that is of the body": ({"answer_headers": ["X-V", "ETag"]}, ("answer_headers", 1), "the API's own"),
    "a head that counts what is hidden": ({"answer_headers": ["X-Total-Count"]}, ("answer_headers", 0), "API's own"),
    "a head of ours": ({"answer_headers": ["Sekisho-X"]}, ("answer_headers", 0), "name a field"),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "path", "words"), WRONG.values(), ids=WRONG)
def test_what_is_refused(changes: dict[str, Any], path: tuple[str | int, ...], words: str) -> None:
    (problem,) = problems_of_route({**a_route(SEARCH), **changes})
    assert problem.path == path
    assert words in problem.message


def test_the_head_that_tells_the_country_does_not_leave() -> None:
    route = a_route({"country": {"answer_header": "X-Country"}}, answer_headers=["x-country"])
    (problem,) = problems_of_route(route)
    assert problem == Problem(
        ("answer_headers", 0), "it tells the country of the subject, and does not reach the caller"
    )


@pytest.mark.parametrize(
    ("changes", "path", "message"),
    [
        pytest.param({"envelope": {"$.a": "totl"}}, ("envelope", "$.a"),
                     "expected keep, total or {cursor: PARAMETER} (did you mean 'total'?)", id="a misspelt word"),
        pytest.param({"envelope": {"$.a": {}}}, ("envelope", "$.a"), "expected exactly one of: cursor, says",
                     id="a member that says nothing"),
        pytest.param({"envelope": {"$.a": {"curser": "a"}}}, ("envelope", "$.a", "curser"),
                     "unknown key 'curser' (did you mean 'cursor'?)", id="a misspelt cursor"),
        pytest.param({"fields": {"$.a": {"category": "user", "kep": "1"}}}, ("fields", "$.a", "kep"),
                     "unknown key 'kep' (did you mean 'keep'?)", id="a misspelt length"),
        pytest.param({"fields": {"$.a": {"keep": "1"}}}, ("fields", "$.a"), "`category` is missing",
                     id="a field of no category"),
        pytest.param({"on_denied": "droop"}, ("on_denied",),
                     "'droop' is not one of: drop, refuse (did you mean 'drop'?)", id="a misspelt treatment"),
        pytest.param({"answers": "jsonl"}, ("answers",),
                     "'jsonl' is not one of: json, ndjson, events (did you mean 'json'?)", id="a misspelt body"),
        pytest.param({"searchable_by": ["a&b"]}, ("searchable_by", 0),
                     "'a&b' is no name of a parameter: letters, digits and any of _ $ @ : . [ ] -",
                     id="a parameter that is several"),
        pytest.param({"answer_headers": ["X_V"]}, ("answer_headers", 0),
                     "'X_V' is no name of a header field: letters, digits and '-'", id="a head with another spelling"),
        pytest.param({"subject": {**SEARCH, "country": {"answer_heder": "X"}}}, ("subject", "country", "answer_heder"),
                     "unknown key 'answer_heder' (did you mean 'answer_header'?)", id="a misspelt place"),
        pytest.param({"subject": {**SEARCH, "country": {"query": "a", "form": "b"}}}, ("subject", "country"),
                     "expected exactly one of: value, query, header, body, form, answer_header", id="two places"),
        pytest.param({"subject": {**SEARCH, "id": {"split": ","}}}, ("subject", "id"),
                     "expected exactly one of: value, query, header, body, form", id="no place"),
        pytest.param({"subject": {**SEARCH, "id": {"query": "a", "split": "ab"}}}, ("subject", "id", "split"),
                     "'ab' does not tell values apart: one character that is neither letter nor digit",
                     id="two characters between"),
        pytest.param({"subject": {**SEARCH, "country": {"value": "$.c", "format": "alpha-3"}}},
                     ("subject", "country", "format"),
                     "'alpha-3' is not one of: alpha2, alpha2-lower, alpha3, alpha2-any-case, name "
                     "(did you mean 'alpha3'?)", id="a misspelt form"),
        pytest.param({"subject": {**SEARCH, "confirm": {"value": "$.a", "answer_header": "X"}}}, ("subject", "confirm"),
                     "expected exactly one of: value, answer_header", id="two confirmations"),
    ],
)  # fmt: skip
def test_a_wrong_key_or_word_is_told_with_the_nearest(
    changes: dict[str, Any], path: tuple[str | int, ...], message: str
) -> None:
    route = {**a_route(SEARCH), **changes}
    found = validate(ApiEntry, {"id": "users", "upstream": UPSTREAM, "routes": [route]})
    assert isinstance(found, list)
    assert [(problem.path, problem.message) for problem in found] == [(("routes", 0, *path), message)]


PATHS = st.lists(st.lists(st.sampled_from(["a", "b", EVERY]), max_size=4).map(tuple), max_size=6)
DOCUMENTS = st.lists(st.sampled_from("abc"), max_size=5).map(tuple)


def _covers(path: JsonPath, place: tuple[str, ...]) -> bool:
    """Say whether a place is what a path names, or inside of it."""
    return len(path) <= len(place) and all(
        step is EVERY or step == name for step, name in zip(path, place, strict=False)
    )


def _is_clash(one: JsonPath, other: JsonPath) -> bool:
    for left, right in zip(one, other, strict=False):
        if left != right:
            return left is EVERY or right is EVERY
    return True


@settings(max_examples=300)
@given(PATHS, DOCUMENTS)
def test_paths_that_do_not_clash_have_no_place_in_common(paths: list[JsonPath], place: tuple[str, ...]) -> None:
    named = {f"path {number}": path for number, path in enumerate(paths)}
    clashes = find_clashes(named)
    kept: list[JsonPath] = []
    for name, path in named.items():
        assert (name in clashes) is any(_is_clash(path, other) for other in kept)
        if name in clashes:
            assert _is_clash(path, named[clashes[name]])
        else:
            kept.append(path)
    assert sum(_covers(path, place) for path in kept) <= 1


def test_the_long_forms_say_the_same_as_the_short_ones() -> None:
    assert parse_json_path("$.a") == ("a",)
    short = compiled(a_route(KNOWN, fields={"$.a": "user"}, envelope=None, searchable_by=None))
    long = compiled(a_route(KNOWN, fields={"$.a": {"category": "user", "keep": "4"}}, searchable_by=None))
    assert short == long
    assert FieldEntry(category="user").keep == DEFAULT_KEPT
    assert MemberEntry(cursor="after").says == Beyond.NOTHING
