# SPDX-License-Identifier: Apache-2.0
"""Whose data a request is about: each subject once, or the reason why nobody can tell."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model.api import Selector, SubjectSource, Where
from proxy.model.country import NAMES, CountryForm
from proxy.model.decision import Reason
from proxy.model.facts import NOT_APPLICABLE, UNKNOWN, Fact
from proxy.model.query import Query, encode
from proxy.model.request import Headers
from proxy.model.subject import NO_SUBJECT, Subject
from proxy.request.query import parse_query
from proxy.subject.bodies import Body, read_body
from proxy.subject.selectors import (
    MAX_SUBJECTS,
    needs_body,
    needs_query,
    select_answer_country,
    select_subject,
    select_subjects,
)

COUNTRY = Selector(Where.PATH, "country")
USER = Selector(Where.PATH, "user_id")
SOURCE = SubjectSource(country=COUNTRY, id=USER)

COUNTRIES: dict[str, tuple[str, Fact[str]]] = {
    "upper case": ("JP", "JP"),
    "lower case, as most APIs write it": ("jp", "JP"),
    "mixed case": ("jP", "JP"),
    "Norway is no boolean": ("no", "NO"),
    "Hong Kong is not China": ("hk", "HK"),
    "no country": ("zz", UNKNOWN),
    "reserved for the United Kingdom, whose code is GB": ("uk", UNKNOWN),
    "a union": ("EU", UNKNOWN),
    "alpha-3": ("JPN", UNKNOWN),
    "a name": ("Japan", UNKNOWN),
    "a number of ISO 3166": ("392", UNKNOWN),
    "an ending dot": ("jp.", UNKNOWN),
    "a dot in front": (".jp", UNKNOWN),
    "a tilde": ("~jp", UNKNOWN),
    "a subdivision": ("JP-13", UNKNOWN),
    "a word of ours": ("unknown", UNKNOWN),
    "nothing": ("", UNKNOWN),
    "a space behind": ("jp ", UNKNOWN),
    "full-width letters": ("\uff2a\uff30", UNKNOWN),
    "a dotless i, whose upper case is I": ("\u0131d", UNKNOWN),
    "a ligature, whose upper case is FI": ("\ufb01", UNKNOWN),
    "a sharp s, whose upper case is SS": ("\u00df", UNKNOWN),
}


@pytest.mark.parametrize(("text", "country"), COUNTRIES.values(), ids=COUNTRIES)
def test_a_country_of_the_path_is_normalised_or_unknown(text: str, country: Fact[str]) -> None:
    assert select_subject(SOURCE, {"country": text, "user_id": "42"}) == Subject(
        country=country, id="42", source="path"
    )


@pytest.mark.parametrize("user_id", ["42", "042", "a.b", "...", "unknown", "A"])
def test_an_id_is_what_the_caller_wrote(user_id: str) -> None:
    assert select_subject(SOURCE, {"country": "jp", "user_id": user_id}).id == user_id


def test_a_declared_country_is_not_read_from_the_path() -> None:
    source = SubjectSource(country=Selector(Where.LITERAL, "JP"), id=USER)

    assert select_subject(source, {"JP": "CN", "country": "CN", "user_id": "42"}) == Subject(
        country="JP", id="42", source="literal"
    )


def test_what_a_route_does_not_say_is_unknown() -> None:
    assert select_subject(SubjectSource(), {"country": "jp"}) == Subject(country=UNKNOWN, id=UNKNOWN)


def test_a_route_without_personal_data_has_no_subject() -> None:
    assert select_subject(None, {"country": "jp", "user_id": "42"}) == NO_SUBJECT
    assert (NO_SUBJECT.country, NO_SUBJECT.id) == (NOT_APPLICABLE, NOT_APPLICABLE)


@given(st.text(max_size=6), st.text(max_size=6))
def test_selecting_never_raises_and_says_only_countries(country: str, user_id: str) -> None:
    subject = select_subject(SOURCE, {"country": country, "user_id": user_id})

    assert subject.country is UNKNOWN or subject.country in NAMES
    assert subject.id == user_id


def path(name: str, separator: str = "") -> Selector:
    return Selector(Where.PATH, name, separator)


def query(name: str, separator: str = "") -> Selector:
    return Selector(Where.QUERY, name, separator)


def header(name: str, separator: str = "") -> Selector:
    return Selector(Where.HEADER, name, separator)


def body(name: str, separator: str = "") -> Selector:
    return Selector(Where.JSON, name, separator)


def form(name: str, separator: str = "") -> Selector:
    return Selector(Where.FORM, name, separator)


def select(source: SubjectSource | None, sent: Any = None, **parameters: str) -> tuple[Subject, ...] | Reason:
    """Select from a request that has this query, these fields or this body."""
    read_query, headers, read = Query(), (), None
    if isinstance(sent, str):
        parsed = parse_query(sent)
        assert isinstance(parsed, Query)
        read_query = parsed
    elif isinstance(sent, tuple):
        headers = sent
    elif isinstance(sent, bytes):
        assert source is not None
        is_form = Where.FORM in {each.where for each in (source.country, source.id) if each is not None}
        media_type = "application/x-www-form-urlencoded" if is_form else "application/json"
        found = read_body(media_type, None, sent, source)
        assert isinstance(found, Body)
        read = found
    return select_subjects(source, parameters, read_query, headers, read)


def pairs(found: tuple[Subject, ...] | Reason) -> list[tuple[Fact[str], Fact[str]]] | Reason:
    return found if isinstance(found, Reason) else [(each.country, each.id) for each in found]


@pytest.mark.parametrize(("text", "country"), COUNTRIES.values(), ids=COUNTRIES)
def test_a_path_alone_is_read_alike_by_both(text: str, country: Fact[str]) -> None:
    assert select(SOURCE, country=text, user_id="42") == (select_subject(SOURCE, {"country": text, "user_id": "42"}),)


def test_one_subject_of_nobody_and_one_that_nobody_names() -> None:
    assert select(None) == (NO_SUBJECT,)
    assert select(SubjectSource()) == (Subject(),)


IDS = SubjectSource(id=query("ids", ","))
ID = SubjectSource(id=query("id"))
BOTH = SubjectSource(id=query("id", ","), country=query("country", ","))
EACH = SubjectSource(id=body("$.users[*].id"), country=body("$.users[*].country"))
IN_BODY = SubjectSource(id=body("$.id"))
IN_FORM = SubjectSource(id=form("id"), country=form("country"))
IN_HEADER = SubjectSource(id=header("x-subject"), country=header("x-country"))
IN_ONE_HEADER = SubjectSource(id=header("x-subject"))
LISTED = SubjectSource(id=header("x-subjects", ","))

Pairs = list[tuple[Fact[str], Fact[str]]]
CASES: dict[str, tuple[SubjectSource, Any, Pairs | Reason]] = {
    "one of the query": (ID, "id=42", [(UNKNOWN, "42")]),
    "among other parameters": (ID, "a=1&id=42&b=2", [(UNKNOWN, "42")]),
    "encoded": (ID, "id=%E6%97%A5", [(UNKNOWN, "日")]),
    "a blank inside": (ID, "id=a%20b", [(UNKNOWN, "a b")]),
    "a comma, where none separates": (ID, "id=1,2", [(UNKNOWN, "1,2")]),
    "several in one text": (IDS, "ids=1,2,3", [(UNKNOWN, "1"), (UNKNOWN, "2"), (UNKNOWN, "3")]),
    "an encoded comma separates, too": (IDS, "ids=1%2C2", [(UNKNOWN, "1"), (UNKNOWN, "2")]),
    "several by repetition": (IDS, "ids=1&ids=2,3", [(UNKNOWN, "1"), (UNKNOWN, "2"), (UNKNOWN, "3")]),
    "one twice is one": (IDS, "ids=1,2,1", [(UNKNOWN, "1"), (UNKNOWN, "2")]),
    "a repeated one, where none separates": (ID, "id=1&id=2", Reason.SUBJECT_MALFORMED),
    "the same repeated": (ID, "id=1&id=1", Reason.SUBJECT_MALFORMED),
    "an alias beside it": (ID, "id=1&ID=2", Reason.SUBJECT_MALFORMED),
    "an alias in its place": (ID, "id[]=2", Reason.SUBJECT_MALFORMED),
    "an encoded name": (ID, "%69d=2", Reason.SUBJECT_MALFORMED),
    "none": (ID, "a=1", Reason.SUBJECT_MISSING),
    "no query": (ID, "", Reason.SUBJECT_MISSING),
    "an empty one": (ID, "id=", Reason.SUBJECT_MISSING),
    "an empty one among several": (IDS, "ids=1,,2", Reason.SUBJECT_MISSING),
    "an empty one at the end": (IDS, "ids=1,", Reason.SUBJECT_MISSING),
    "a blank behind": (ID, "id=1%20", Reason.SUBJECT_MALFORMED),
    "a blank behind a comma": (IDS, "ids=1,%202", Reason.SUBJECT_MALFORMED),
    "a blank alone": (ID, "id=%20", Reason.SUBJECT_MALFORMED),
    "a plus sign, which is a blank to some": (ID, "id=a+b", Reason.SUBJECT_MALFORMED),
    "an encoded plus sign": (ID, "id=%2B81", [(UNKNOWN, "+81")]),
    "what cannot be seen": (ID, "id=4%E2%80%8B2", Reason.SUBJECT_MALFORMED),
    "written from right to left": (ID, "id=4%E2%80%AE2", Reason.SUBJECT_MALFORMED),
    "too long": (ID, "id=" + "1" * 1025, Reason.SUBJECT_MALFORMED),
    "as many as may be": (IDS, "ids=" + ",".join(["1"] * MAX_SUBJECTS), [(UNKNOWN, "1")]),
    "too many": (IDS, "ids=" + ",".join(["1"] * (MAX_SUBJECTS + 1)), Reason.SUBJECTS_EXCEEDED),
    "an id and a country": (BOTH, "id=42&country=jp", [("JP", "42")]),
    "several ids of one country": (BOTH, "id=1,2&country=JP", [("JP", "1"), ("JP", "2")]),
    "one id of several countries": (BOTH, "id=1&country=JP,TW", [("JP", "1"), ("TW", "1")]),
    "several of both": (BOTH, "id=1,2&country=JP,TW", Reason.SUBJECT_MALFORMED),
    "an id without a country": (BOTH, "id=42", Reason.SUBJECT_MISSING),
    "a country without an id": (BOTH, "country=JP", Reason.SUBJECT_MISSING),
    "no country": (BOTH, "id=42&country=zz", [(UNKNOWN, "42")]),
    "a country and none": (BOTH, "id=42&country=JP,zz", [("JP", "42"), (UNKNOWN, "42")]),
    "an id in JSON": (IN_BODY, b'{"id": "42"}', [(UNKNOWN, "42")]),
    "a number in JSON": (IN_BODY, b'{"id": 42}', [(UNKNOWN, "42")]),
    "a number beyond 64 bits": (IN_BODY, b'{"id": 36893488147419103233}', [(UNKNOWN, "36893488147419103233")]),
    "an array in JSON": (IN_BODY, b'{"id": ["1", 2]}', [(UNKNOWN, "1"), (UNKNOWN, "2")]),
    "a fraction": (IN_BODY, b'{"id": 42.0}', Reason.SUBJECT_MALFORMED),
    "an exponent": (IN_BODY, b'{"id": 42e0}', Reason.SUBJECT_MALFORMED),
    "minus nought": (IN_BODY, b'{"id": -0}', Reason.SUBJECT_MALFORMED),
    "null": (IN_BODY, b'{"id": null}', Reason.SUBJECT_MALFORMED),
    "true": (IN_BODY, b'{"id": true}', Reason.SUBJECT_MALFORMED),
    "an object": (IN_BODY, b'{"id": {"id": "1"}}', Reason.SUBJECT_MALFORMED),
    "an array in an array": (IN_BODY, b'{"id": [["1"]]}', Reason.SUBJECT_MALFORMED),
    "null in an array": (IN_BODY, b'{"id": ["1", null]}', Reason.SUBJECT_MALFORMED),
    "an empty array": (IN_BODY, b'{"id": []}', Reason.SUBJECT_MISSING),
    "an empty text": (IN_BODY, b'{"id": ""}', Reason.SUBJECT_MISSING),
    "a control character": (IN_BODY, b'{"id": "4\\u00002"}', Reason.SUBJECT_MALFORMED),
    "no member": (IN_BODY, b'{"name": "42"}', Reason.SUBJECT_MISSING),
    "a member in another letter case": (IN_BODY, b'{"id": "42", "Id": "43"}', Reason.SUBJECT_MALFORMED),
    "a text of several in JSON": (
        SubjectSource(id=body("$.ids", "|")),
        b'{"ids": ["1|2", "3"]}',
        [(UNKNOWN, "1"), (UNKNOWN, "2"), (UNKNOWN, "3")],
    ),
    "each with its own country": (
        EACH,
        b'{"users": [{"id": 1, "country": "JP"}, {"country": "tw", "id": 2}]}',
        [("JP", "1"), ("TW", "2")],
    ),
    "each with several countries": (
        EACH,
        b'{"users": [{"id": 1, "country": ["JP", "TW"]}, {"id": [2, 3], "country": "KR"}]}',
        [("JP", "1"), ("TW", "1"), ("KR", "2"), ("KR", "3")],
    ),
    "one with several of both": (
        EACH,
        b'{"users": [{"id": [1, 2], "country": ["JP", "TW"]}]}',
        Reason.SUBJECT_MALFORMED,
    ),
    "one without a country": (EACH, b'{"users": [{"id": 1, "country": "JP"}, {"id": 2}]}', Reason.SUBJECT_MISSING),
    "one without an id": (EACH, b'{"users": [{"id": 1, "country": "JP"}, {"country": "JP"}]}', Reason.SUBJECT_MISSING),
    "one whose country is null": (EACH, b'{"users": [{"id": 1, "country": null}]}', Reason.SUBJECT_MALFORMED),
    "too many in JSON": (
        EACH,
        json.dumps({"users": [{"id": n, "country": "JP"} for n in range(MAX_SUBJECTS + 1)]}).encode(),
        Reason.SUBJECTS_EXCEEDED,
    ),
    "too many countries of few": (
        EACH,
        json.dumps({"users": [{"id": n, "country": list(NAMES)} for n in range(9)]}).encode(),
        Reason.SUBJECTS_EXCEEDED,
    ),
    "of a form": (IN_FORM, b"id=42&country=JP", [("JP", "42")]),
    "a plus sign is a blank in a form": (IN_FORM, b"id=a+b&country=JP", [("JP", "a b")]),
    "twice in a form": (IN_FORM, b"id=42&id=43&country=JP", Reason.SUBJECT_MALFORMED),
    "an alias in a form": (IN_FORM, b"id=42&id[0]=43&country=JP", Reason.SUBJECT_MALFORMED),
    "not in a form": (IN_FORM, b"id=42", Reason.SUBJECT_MISSING),
    "of header fields": (IN_HEADER, (("X-Subject", "42"), ("x-country", "jp")), [("JP", "42")]),
    "a field twice": (IN_ONE_HEADER, (("X-Subject", "42"), ("X-Subject", "42")), Reason.SUBJECT_MALFORMED),
    "a field's alias": (IN_ONE_HEADER, (("X-Subject", "42"), ("X_Subject", "43")), Reason.SUBJECT_MALFORMED),
    "no field": (IN_HEADER, (("X-Country", "jp"),), Reason.SUBJECT_MISSING),
    "an empty field": (IN_HEADER, (("X-Subject", ""), ("X-Country", "jp")), Reason.SUBJECT_MISSING),
    "a list in a field": (LISTED, (("X-Subjects", "1, 2 ,3"),), [(UNKNOWN, "1"), (UNKNOWN, "2"), (UNKNOWN, "3")]),
    "a list in two fields": (LISTED, (("X-Subjects", "1"), ("X-Subjects", "2")), [(UNKNOWN, "1"), (UNKNOWN, "2")]),
}


@pytest.mark.parametrize(("source", "sent", "expected"), CASES.values(), ids=CASES)
def test_subjects_are_each_found_once_or_there_is_a_reason(
    source: SubjectSource, sent: Any, expected: Pairs | Reason
) -> None:
    assert pairs(select(source, sent)) == expected


def test_several_of_a_path_parameter() -> None:
    source = SubjectSource(id=path("ids", ","), country=path("country"))
    assert pairs(select(source, ids="1,2", country="jp")) == [("JP", "1"), ("JP", "2")]
    assert select(source, ids="1,", country="jp") is Reason.SUBJECT_MISSING


def test_an_id_of_the_query_with_the_routes_own_country() -> None:
    source = SubjectSource(id=query("id"), country=Selector(Where.LITERAL, "JP"))
    assert select(source, "id=42") == (Subject(country="JP", id="42", source="literal"),)


@pytest.mark.parametrize(
    ("raw_query", "expected"),
    [
        ("", [("JP", "42")]),
        ("page=2", [("JP", "42")]),
        ("id=43", Reason.SUBJECT_MALFORMED),
        ("id=42", Reason.SUBJECT_MALFORMED),
        ("ID[]=43", Reason.SUBJECT_MALFORMED),
        ("country=TW", Reason.SUBJECT_MALFORMED),
    ],
)
def test_beside_a_form_the_query_names_nobody(raw_query: str, expected: Pairs | Reason) -> None:
    parsed, read = parse_query(raw_query), parse_query("id=42&country=JP")
    assert isinstance(parsed, Query)
    assert isinstance(read, Query)
    assert pairs(select_subjects(IN_FORM, {}, parsed, (), Body(form=read))) == expected


FORMS: dict[str, tuple[CountryForm, str, Fact[str]]] = {
    "alpha-3": (CountryForm.ALPHA3, "JPN", "JP"),
    "alpha-2 for alpha-3": (CountryForm.ALPHA3, "JP", UNKNOWN),
    "upper case": (CountryForm.ALPHA2, "JP", "JP"),
    "lower case for upper case": (CountryForm.ALPHA2, "jp", UNKNOWN),
    "lower case": (CountryForm.LOWER, "jp", "JP"),
    "a name": (CountryForm.NAME, "South Korea", "KR"),
}


@pytest.mark.parametrize(("country_form", "text", "country"), FORMS.values(), ids=FORMS)
def test_a_country_is_read_in_the_form_that_is_declared(
    country_form: CountryForm, text: str, country: Fact[str]
) -> None:
    of_query = SubjectSource(country=query("country"), form=country_form)
    assert select(of_query, f"country={encode(text)}") == (Subject(country=country, source="query"),)
    of_path = SubjectSource(country=path("country"), form=country_form)
    assert select(of_path, country=text) == (Subject(country=country, source="path"),)


def test_where_a_register_tells_the_country_it_is_unknown_until_that_was_asked() -> None:
    source = SubjectSource(id=path("id"), country=query("country"), lookup="crm")
    assert select(source, "country=JP", id="42") == (Subject(country=UNKNOWN, id="42", source=""),)
    assert select(SubjectSource(lookup="crm", is_in_answer=True)) == (Subject(),)


NEEDS: dict[str, tuple[SubjectSource, bool, bool]] = {
    "nothing": (SubjectSource(), False, False),
    "the path": (SOURCE, False, False),
    "a header": (IN_HEADER, False, False),
    "the query": (ID, True, False),
    "JSON": (IN_BODY, False, True),
    "a form, which some servers take for one with the query": (IN_FORM, True, True),
    "both": (SubjectSource(id=body("$.id"), country=query("country")), True, True),
    "no country where a register tells it": (
        SubjectSource(id=path("id"), country=body("$.country"), lookup="crm"),
        False,
        False,
    ),
}


@pytest.mark.parametrize(("source", "in_query", "in_body"), NEEDS.values(), ids=NEEDS)
def test_what_has_to_be_read_is_known_before(source: SubjectSource, *, in_query: bool, in_body: bool) -> None:
    assert (needs_query(source), needs_body(source)) == (in_query, in_body)


@pytest.mark.parametrize("source", [ID, IN_BODY, IN_FORM, EACH, IN_HEADER, IDS], ids=str)
def test_what_was_not_read_names_nobody(source: SubjectSource) -> None:
    assert select_subjects(source, {}, None, (), None) in {Reason.SUBJECT_MISSING, Reason.SUBJECT_MALFORMED}


TOLD = SubjectSource(header="x-subject-country", header_form=CountryForm.ALPHA2)
HEADS: dict[str, tuple[Headers, Fact[str] | Reason]] = {
    "one field": ((("Date", "x"), ("X-Subject-Country", "JP")), "JP"),
    "none": ((("Date", "x"),), UNKNOWN),
    "two": ((("X-Subject-Country", "JP"), ("x-subject-country", "JP")), Reason.ANSWER_COUNTRY_MALFORMED),
    "another form": ((("X-Subject-Country", "jp"),), Reason.ANSWER_COUNTRY_MALFORMED),
    "no country": ((("X-Subject-Country", "ZZ"),), Reason.ANSWER_COUNTRY_MALFORMED),
    "a list": ((("X-Subject-Country", "JP, TW"),), Reason.ANSWER_COUNTRY_MALFORMED),
    "empty": ((("X-Subject-Country", ""),), Reason.ANSWER_COUNTRY_MALFORMED),
}


@pytest.mark.parametrize(("headers", "expected"), HEADS.values(), ids=HEADS)
def test_the_head_of_an_answer_tells_a_country_once_and_as_declared(
    headers: Headers, expected: Fact[str] | Reason
) -> None:
    assert select_answer_country(TOLD, headers) == expected


WORDS = st.sampled_from(["id", "ids", "country", "ID", "id[]", "jp", "1", "1,2", "", " ", "é"])
SOURCES = st.sampled_from([ID, IDS, BOTH, IN_BODY, IN_FORM, EACH, IN_HEADER, LISTED])


@given(SOURCES, st.lists(st.tuples(WORDS, WORDS), max_size=4))
def test_whatever_is_asked_for_nobody_is_named_without_a_name(
    source: SubjectSource, sent: list[tuple[str, str]]
) -> None:
    text = "&".join(f"{encode(name)}={encode(value)}" for name, value in sent)
    parsed = parse_query(text)
    assert isinstance(parsed, Query)
    read = Body(document=dict(sent), form=parsed)

    found = select_subjects(source, {}, Query() if source is IN_FORM else parsed, tuple(sent), read)

    if not isinstance(found, Reason):
        assert all(each.id not in {"", " ", UNKNOWN} for each in found)
        assert len(set(found)) == len(found) > 0
        assert all(each.country is UNKNOWN or each.country in NAMES for each in found)


ONES = st.text(alphabet="ab1 é%&=+", min_size=1, max_size=5).filter(lambda text: text.strip() == text)


@given(st.lists(ONES, min_size=1, max_size=5))
def test_the_same_subjects_are_found_wherever_they_stand(ids: list[str]) -> None:
    listed = ",".join(encode(each) for each in ids)
    document = json.dumps({"ids": ids}).encode()
    expected = list(dict.fromkeys(ids))

    for source, sent in (
        (IDS, f"ids={listed}"),
        (SubjectSource(id=form("ids", ",")), f"ids={listed}".encode()),
        (SubjectSource(id=body("$.ids")), document),
        (SubjectSource(id=body("$.ids[*]")), document),
        (LISTED, tuple(("X-Subjects", each) for each in ids)),
    ):
        assert pairs(select(source, sent)) == [(UNKNOWN, each) for each in expected]
