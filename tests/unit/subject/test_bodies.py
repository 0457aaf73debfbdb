# SPDX-License-Identifier: Apache-2.0
"""Bodies of requests: read as every reader reads them, or refused."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model.api import Selector, SubjectSource, Where
from proxy.model.decision import Reason
from proxy.subject.bodies import MAX_DEPTH, OTHER_NUMBER, Body, read_body, read_searched

JSON = SubjectSource(id=Selector(Where.JSON, "$.id"))
FORM = SubjectSource(id=Selector(Where.FORM, "id"))
JSON_TYPE = "application/json"
FORM_TYPE = "application/x-www-form-urlencoded"

DOCUMENTS: dict[str, tuple[bytes, Any]] = {
    "an object": (b'{"id": "42"}', {"id": "42"}),
    "an array": (b'["1", "2"]', ["1", "2"]),
    "a text": (b'"42"', "42"),
    "literals": (b"[true, false, null]", [True, False, None]),
    "blanks round it": (b' \t\r\n{"id":\n"42"} ', {"id": "42"}),
    "a whole number": (b'{"id": 42}', {"id": "42"}),
    "nought": (b'{"id": 0}', {"id": "0"}),
    "a negative number": (b'{"id": -7}', {"id": "-7"}),
    "minus nought": (b'{"id": -0}', {"id": OTHER_NUMBER}),
    "a number beyond 64 bits": (b'{"id": 36893488147419103233}', {"id": "36893488147419103233"}),
    "a number of 5,000 digits": (b"[1" + b"0" * 5000 + b"]", ["1" + "0" * 5000]),
    "a fraction": (b'{"id": 42.0}', {"id": OTHER_NUMBER}),
    "an exponent": (b'{"id": 42e0}', {"id": OTHER_NUMBER}),
    "an infinite exponent": (b'{"id": 1e999}', {"id": OTHER_NUMBER}),
    "an escaped name": (rb'{"\u0069d": "42"}', {"id": "42"}),
    "a surrogate pair": (rb'{"id": "\ud83d\ude00"}', {"id": "\U0001f600"}),
    "an escaped backslash before a u": (rb'{"id": "\\ud800"}', {"id": r"\ud800"}),
    "UTF-8": ('{"id": "日本"}'.encode(), {"id": "日本"}),
    "one name in two objects": (b'{"a": {"id": 1}, "b": {"id": 2}}', {"a": {"id": "1"}, "b": {"id": "2"}}),
    "as deep as may be": (b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, None),
}

MALFORMED = {
    "no JSON": b"id=42",
    "blanks alone": b"  ",
    "two documents": b"{} {}",
    "a comma at the end": b'{"id": "42",}',
    "a comma at the end of an array": b"[1,]",
    "single quotes": b"{'id': '42'}",
    "a name without quotes": b'{id: "42"}',
    "a comment": b'{"id": /* 43 */ "42"}',
    "a leading nought": b'{"id": 042}',
    "a plus sign": b'{"id": +42}',
    "hexadecimal": b'{"id": 0x2a}',
    "a dot at the end": b'{"id": 42.}',
    "an underscore": b'{"id": 4_2}',
    "digits of another script": '{"id": ٤٢}'.encode(),
    "NaN": b'{"id": NaN}',
    "Infinity": b'{"id": -Infinity}',
    "a literal in capitals": b"[True]",
    "a control character in a text": b'{"id": "4\n2"}',
    "an escape that is none": rb'{"id": "\x34"}',
    "half an escape": rb'{"id": "\u00"}',
    "an escape with a sign": rb'{"id": "\u+034"}',
    "a no-break space": '{"id":\u00a0"42"}'.encode(),
    "a byte order mark": b'\xef\xbb\xbf{"id": "42"}',
    "UTF-16": '{"id": "42"}'.encode("utf-16"),
    "UTF-16 without a mark": '{"id": "42"}'.encode("utf-16-le"),
    "Latin-1": '{"id": "é"}'.encode("latin-1"),
    "half a surrogate pair": rb'{"id": "\ud800"}',
    "half a surrogate pair in a name": rb'{"\uDFFF": "42"}',
    "the other half first": rb'{"id": "\ude00\ud83d"}',
    "a name twice": b'{"id": "42", "id": "43"}',
    "a name twice, once escaped": rb'{"id": "42", "\u0069d": "43"}',
    "a name twice, deep down": b'{"a": [{"b": 1, "b": 1}]}',
    "deeper than may be": b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1),
    "objects deeper than may be": b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1),
    "very deep": b"[" * 100_000 + b"]" * 100_000,
    "cut off": b'{"id": "42"',
    "NUL behind it": b'{"id": "42"}\0',
}

TYPES: dict[str, tuple[SubjectSource, str | None, Reason | None]] = {
    "JSON": (JSON, "application/json", None),
    "in other letters": (JSON, "Application/JSON", None),
    "by its structure": (JSON, "application/vnd.api+json", None),
    "with its charset": (JSON, "application/json; charset=utf-8", None),
    "with its charset in quotes and capitals": (JSON, 'application/json;charset="UTF-8"', None),
    "with another parameter": (JSON, "application/json; profile=x", None),
    "with an empty parameter": (JSON, "application/json;", None),
    "with another charset": (JSON, "application/json; charset=utf-16", Reason.BODY_TYPE_UNSUPPORTED),
    "with two charsets": (JSON, "application/json; charset=utf-8; charset=utf-8", Reason.BODY_TYPE_UNSUPPORTED),
    "with a charset that is hidden": (
        JSON,
        'application/json; a="; charset=utf-8"; charset=utf-7',
        Reason.BODY_TYPE_UNSUPPORTED,
    ),
    "none": (JSON, None, Reason.BODY_TYPE_UNSUPPORTED),
    "an empty one": (JSON, "", Reason.BODY_TYPE_UNSUPPORTED),
    "text": (JSON, "text/plain", Reason.BODY_TYPE_UNSUPPORTED),
    "two types": (JSON, "application/json, text/html", Reason.BODY_TYPE_UNSUPPORTED),
    "lines of JSON": (JSON, "application/x-ndjson", Reason.BODY_TYPE_UNSUPPORTED),
    "a blank inside": (JSON, "application /json", Reason.BODY_TYPE_UNSUPPORTED),
    "a form for JSON": (JSON, FORM_TYPE, Reason.BODY_TYPE_UNSUPPORTED),
    "JSON for a form": (FORM, JSON_TYPE, Reason.BODY_TYPE_UNSUPPORTED),
    "parts": (FORM, "multipart/form-data; boundary=x", Reason.BODY_TYPE_UNSUPPORTED),
    "a form": (FORM, FORM_TYPE, None),
    "a form with its charset": (FORM, f"{FORM_TYPE}; charset=UTF-8", None),
    "a form with another charset": (FORM, f"{FORM_TYPE}; charset=shift_jis", Reason.BODY_TYPE_UNSUPPORTED),
}


@pytest.mark.parametrize(("data", "document"), DOCUMENTS.values(), ids=DOCUMENTS)
def test_a_document_is_read(data: bytes, document: Any) -> None:
    body = read_body(JSON_TYPE, None, data, JSON)

    assert isinstance(body, Body)
    assert body.form is None
    assert document is None or body.document == document


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
def test_what_readers_take_differently_is_refused(data: bytes) -> None:
    assert read_body(JSON_TYPE, None, data, JSON) is Reason.BODY_MALFORMED


@pytest.mark.parametrize(("source", "content_type", "reason"), TYPES.values(), ids=TYPES)
def test_a_body_is_of_the_type_that_is_sought(
    source: SubjectSource, content_type: str | None, reason: Reason | None
) -> None:
    data = b'{"id":"42"}' if source is JSON else b"id=42"
    read = read_body(content_type, None, data, source)

    assert read is reason if reason else isinstance(read, Body)


def test_a_body_that_may_be_two_things_at_once_is_neither() -> None:
    source = SubjectSource(id=Selector(Where.FORM, "id"), country=Selector(Where.JSON, "$.country"))
    for content_type in (JSON_TYPE, FORM_TYPE):
        assert read_body(content_type, None, b"1", source) is Reason.BODY_TYPE_UNSUPPORTED


@pytest.mark.parametrize("coding", ["gzip", "br", "identity, gzip", "GZIP", "", "x"])
def test_a_coded_body_is_refused(coding: str) -> None:
    assert read_body(JSON_TYPE, coding, b"{}", JSON) is Reason.BODY_CODING_UNSUPPORTED


@pytest.mark.parametrize("coding", [None, "identity", " Identity "])
def test_a_body_in_no_coding_is_read(coding: str | None) -> None:
    assert read_body(JSON_TYPE, coding, b"{}", JSON) == Body(document={})


@pytest.mark.parametrize("source", [JSON, FORM])
def test_no_body_is_a_reason_of_its_own(source: SubjectSource) -> None:
    assert read_body(None, None, b"", source) is Reason.BODY_MISSING


def test_a_form_is_read() -> None:
    body = read_body(FORM_TYPE, None, b"id=4%32&note=a%0D%0Ab", FORM)

    assert isinstance(body, Body)
    assert body.form is not None
    assert [(each.name, each.value) for each in body.form.parameters] == [("id", "42"), ("note", "a\r\nb")]


@pytest.mark.parametrize("data", [b"id=\xe6\x97\xa5", b"id=%ff", b"id=1;id=2", b"id=1%00", b"id=%"])
def test_a_form_that_servers_read_differently_is_refused(data: bytes) -> None:
    assert read_body(FORM_TYPE, None, data, FORM) is Reason.BODY_MALFORMED


NAMES = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=4)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | NAMES,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(NAMES, below, max_size=3),
    max_leaves=10,
)


def as_read(value: Any) -> Any:
    """Return a value with whole numbers as texts."""
    if isinstance(value, list):
        return [as_read(each) for each in value]
    if isinstance(value, dict):
        return {name: as_read(each) for name, each in value.items()}
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


@given(VALUES, st.booleans())
def test_what_was_rendered_is_read_again(value: Any, ascii_only: bool) -> None:  # noqa: FBT001 - drawn
    body = read_body(JSON_TYPE, None, json.dumps(value, ensure_ascii=ascii_only).encode(), JSON)

    assert body == Body(document=as_read(value))


@given(st.binary(max_size=40) | st.text(alphabet='{}[]":,\\u0d8e-1 ', max_size=40).map(str.encode))
def test_whatever_bytes_come_they_are_read_or_refused(data: bytes) -> None:
    for content_type, source in ((JSON_TYPE, JSON), (FORM_TYPE, FORM)):
        read = read_body(content_type, None, data, source)
        assert read in {Reason.BODY_MALFORMED, Reason.BODY_MISSING} if isinstance(read, Reason) else True


@given(st.text(max_size=30))
def test_whatever_the_type_is_reading_never_raises(content_type: str) -> None:
    assert isinstance(read_body(content_type, content_type, b"{}", JSON), Body | Reason)


SEARCHED: dict[str, tuple[str | None, str | None, bytes, frozenset[str] | Reason]] = {
    "members of a document, those at the top": (JSON_TYPE, None, b'{"a": {"b": 1}, "c": 2}', frozenset("ac")),
    "fields of a form": (FORM_TYPE, None, b"a=1&b=2&a=3", frozenset("ab")),
    "nothing": (None, None, b"", frozenset()),
    "no object": (JSON_TYPE, None, b"[1]", Reason.BODY_UNDECLARED),
    "a name that is encoded for no reason": (FORM_TYPE, None, b"%61=1", Reason.BODY_MALFORMED),
    "no form": (FORM_TYPE, None, b"a=%", Reason.BODY_MALFORMED),
    "no JSON": (JSON_TYPE, None, b"a=1", Reason.BODY_MALFORMED),
    "a coding": (JSON_TYPE, "gzip", b"{}", Reason.BODY_CODING_UNSUPPORTED),
    "another type": ("text/plain", None, b"{}", Reason.BODY_TYPE_UNSUPPORTED),
    "no type": (None, None, b"{}", Reason.BODY_TYPE_UNSUPPORTED),
}


@pytest.mark.parametrize(("type_", "coding", "data", "expected"), SEARCHED.values(), ids=SEARCHED)
def test_a_body_that_searches_says_by_what(
    type_: str | None, coding: str | None, data: bytes, expected: frozenset[str] | Reason
) -> None:
    assert read_searched(type_, coding, data) == expected
