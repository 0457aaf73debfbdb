# SPDX-License-Identifier: Apache-2.0
"""What the head of an answer may say, and what of it leaves."""

import gzip
import json
import time
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model.decision import Reason
from proxy.model.inspection import Inspection, Media
from proxy.model.request import Headers, ResponseHead
from proxy.redaction.answers import ANSWER_FIELDS, UNTRUE_FIELDS, Reading, open_answer, read_media_type
from proxy.redaction.codings import CODINGS
from proxy.redaction.options import RedactionOptions

JSON: Final = ("Content-Type", "application/json")
OPTIONS: Final = RedactionOptions()


def look(
    status: int,
    *headers: tuple[str, str],
    method: str = "GET",
    accepts: str = "",
    inspection: Inspection = Inspection(),  # noqa: B008 - frozen
) -> Reading | Reason:
    return open_answer(inspection, ResponseHead(status, headers), method, accepts, options=OPTIONS)


def read(
    status: int,
    *headers: tuple[str, str],
    method: str = "GET",
    accepts: str = "",
    inspection: Inspection = Inspection(),  # noqa: B008 - frozen
) -> Reading:
    reading = look(status, *headers, method=method, accepts=accepts, inspection=inspection)
    assert isinstance(reading, Reading)
    return reading


# The type.

DECLARED = {
    "JSON": (Media.JSON, "application/json", "application/json"),
    "in capitals": (Media.JSON, "Application/JSON", "application/json"),
    "a type built upon JSON": (Media.JSON, "application/vnd.ly.user+json", "application/vnd.ly.user+json"),
    "in UTF-8": (Media.JSON, "application/json; charset=utf-8", "application/json; charset=utf-8"),
    "in capitals and quotes": (Media.JSON, 'application/json;CHARSET="UTF-8"', "application/json; charset=utf-8"),
    "another parameter does not leave": (Media.JSON, 'application/json; v="a;\\"b"; x=1', "application/json"),
    "an empty parameter": (Media.JSON, "application/json; ;charset=utf-8;", "application/json; charset=utf-8"),
    "lines": (Media.LINES, "application/x-ndjson", "application/x-ndjson"),
    "lines, without the x": (Media.LINES, "application/ndjson", "application/ndjson"),
    "lines by another name": (Media.LINES, "application/jsonl; charset=utf-8", "application/jsonl; charset=utf-8"),
    "lines by a third": (Media.LINES, "application/x-jsonlines", "application/x-jsonlines"),
    "events": (Media.EVENTS, "text/event-stream", "text/event-stream"),
    "events in UTF-8": (Media.EVENTS, "text/event-stream;charset=utf-8", "text/event-stream; charset=utf-8"),
}


@pytest.mark.parametrize(("media", "value", "expected"), DECLARED.values(), ids=DECLARED)
def test_a_declared_type_leaves_plain(media: Media, value: str, expected: str) -> None:
    reading = read(200, ("content-type", value), inspection=Inspection(media=media))
    assert reading.headers == (("Content-Type", expected),)
    assert reading.has_body


UNDECLARED = {
    "an HTML page": (Media.JSON, "text/html"),
    "several parts": (Media.JSON, "multipart/mixed; boundary=a"),
    "a picture": (Media.JSON, "image/png"),
    "text that may be JSON": (Media.JSON, "text/json"),
    "a picture built upon JSON": (Media.JSON, "image/x+json"),
    "a problem, which is no answer": (Media.JSON, "application/problem+json"),
    "a type that only begins alike": (Media.JSON, "application/json-seq"),
    "one that only ends alike": (Media.JSON, "application/notjson"),
    "nothing built upon JSON": (Media.JSON, "application/+json"),
    "lines in place of a document": (Media.JSON, "application/x-ndjson"),
    "events in place of a document": (Media.JSON, "text/event-stream"),
    "a document in place of lines": (Media.LINES, "application/json"),
    "a document in place of events": (Media.EVENTS, "application/json"),
    "lines under another kind": (Media.LINES, "text/x-ndjson"),
    "two types in one field": (Media.JSON, "application/json, application/json"),
    "no type": (Media.JSON, ""),
    "half of one": (Media.JSON, "application"),
    "one with a blank inside": (Media.JSON, "application/ json"),
    "one with a parameter that is not parted": (Media.JSON, "application/json charset=utf-8"),
    "one with a parameter without a value": (Media.JSON, "application/json; charset"),
    "one with a quote that is not ended": (Media.JSON, 'application/json; charset="utf-8'),
    "one with a letter that only looks like one": (Media.JSON, "application/j\u017fon"),
}


@pytest.mark.parametrize(("media", "value"), UNDECLARED.values(), ids=UNDECLARED)
def test_another_type_is_refused(media: Media, value: str) -> None:
    reading = look(200, ("Content-Type", value), inspection=Inspection(media=media))
    assert reading is Reason.ANSWER_TYPE_UNDECLARED


def test_no_type_and_two_are_refused() -> None:
    assert look(200) is Reason.ANSWER_TYPE_UNDECLARED
    assert look(200, JSON, JSON) is Reason.ANSWER_TYPE_UNDECLARED
    assert look(200, JSON, ("content-type", "text/html")) is Reason.ANSWER_TYPE_UNDECLARED


CHARSETS = ["latin1", "utf-16", "Shift_JIS", "utf8", '""', '"utf\\-16"', "utf-8; charset=utf-8", "utf-8;charset=euc-jp"]


@pytest.mark.parametrize("charset", CHARSETS)
def test_another_charset_is_refused(charset: str) -> None:
    value = f"application/json; charset={charset}"
    assert look(200, ("Content-Type", value)) is Reason.ANSWER_CHARSET_UNSUPPORTED


@given(st.sampled_from(Media), st.text() | st.from_regex(r"application/json(;[ ]?[a-z]+=[a-z]+)*", fullmatch=True))
def test_any_type_leaves_as_one_that_is_declared_or_not_at_all(media: Media, value: str) -> None:
    told = read_media_type(media, (value,))
    if not isinstance(told, Reason):
        assert read_media_type(media, (told,)) == told


def test_a_type_of_many_semicolons_takes_no_time() -> None:
    began = time.process_time()
    read_media_type(Media.JSON, ("application/json" + ";  " * 5_000 + "x y",))
    assert time.process_time() - began < 1


# The status.

STATUSES = {
    "100": 100,
    "103": 103,
    "206, a part": 206,
    "207, many answers in one": 207,
    "226, a difference": 226,
    "299, unknown": 299,
    "300": 300,
    "301, which names a place": 301,
    "302": 302,
    "304, though nothing conditional was asked": 304,
    "307": 307,
    "399": 399,
    "600, no status": 600,
    "99, no status": 99,
}


@pytest.mark.parametrize("status", STATUSES.values(), ids=STATUSES)
def test_another_status_is_refused(status: int) -> None:
    assert look(status, JSON) is Reason.ANSWER_STATUS_UNDECLARED
    assert look(status, JSON, method="HEAD") is Reason.ANSWER_STATUS_UNDECLARED


def test_a_part_that_calls_itself_whole_is_refused() -> None:
    assert look(200, JSON, ("Content-Range", "bytes 0-9/100")) is Reason.ANSWER_STATUS_UNDECLARED


@pytest.mark.parametrize("status", [200, 201, 202, 203])
def test_a_body_of_these_is_read(status: int) -> None:
    reading = read(status, JSON)
    assert (reading.status, reading.has_body, reading.replacement) == (status, True, None)


@pytest.mark.parametrize("status", [204, 205])
def test_these_have_no_body_and_tell_of_none(status: int) -> None:
    reading = read(status, ("Content-Type", "text/html"), ("ETag", '"1"'), ("X-Request-Id", "7"))
    assert (reading.status, reading.has_body, reading.replacement) == (status, False, None)
    assert reading.headers == (("X-Request-Id", "7"),)


@pytest.mark.parametrize("status", [201, 202])
def test_a_write_may_answer_nothing_if_it_says_so(status: int) -> None:
    reading = read(status, ("Content-Length", "0"), ("Location", "/v1/users/42"), method="POST")
    assert (reading.has_body, reading.headers) == (False, ())
    assert look(status, ("Content-Length", "1"), method="POST") is Reason.ANSWER_TYPE_UNDECLARED


def test_an_empty_200_is_left_to_the_filter() -> None:
    assert read(200, JSON, ("Content-Length", "0")).has_body


@pytest.mark.parametrize("status", [400, 401, 404, 416, 422, 451, 499, 500, 503, 599])
def test_of_an_error_the_status_leaves_and_the_body_does_not(status: int) -> None:
    reading = read(
        status,
        ("Content-Type", "text/html; charset=latin1"),
        ("Content-Encoding", "gzip, br"),
        ("Content-Range", "bytes */42"),
        ("Retry-After", "5"),
        accepts="gzip",
    )
    assert (reading.status, reading.has_body) == (status, True)
    assert reading.replacement is not None
    assert json.loads(reading.replacement)["status"] == status
    assert set(json.loads(reading.replacement)) == {"type", "title", "status"}
    assert reading.headers == (("Retry-After", "5"), ("Content-Type", "application/problem+json"))


def test_an_errors_problem_is_as_small_as_it_may_be() -> None:
    assert read(404).replacement == b'{"type":"about:blank","title":"Not Found","status":404}'
    assert read(499).replacement == b'{"type":"about:blank","title":"Error","status":499}'


def test_an_error_of_a_head_request_has_no_body() -> None:
    reading = read(404, JSON, method="HEAD")
    assert (reading.status, reading.has_body, reading.replacement) == (404, False, None)
    assert reading.headers == (("Content-Type", "application/problem+json"),)


def test_a_head_request_is_told_the_type_and_no_length() -> None:
    told = read(200, JSON, ("Content-Length", "1234"), ("ETag", '"1"'), method="HEAD", accepts="gzip")
    assert (told.has_body, told.headers) == (False, (JSON,))
    untold = read(200, ("Content-Length", "1234"), method="HEAD")
    assert (untold.has_body, untold.headers) == (False, ())
    assert look(200, ("Content-Type", "text/html"), method="HEAD") is Reason.ANSWER_TYPE_UNDECLARED


# The fields.


@pytest.mark.parametrize(
    "name",
    ["ETag", "Last-Modified", "Digest", "Content-Digest", "Repr-Digest", "Content-MD5", "Accept-Ranges", "Link",
     "X-Total-Count", "Set-Cookie", "Location", "Content-Location", "Content-Disposition", "Content-Length", "Server",
     "X-Powered-By", "Cache-Control", "X-User-Name", "Server-Timing", "X_Request_Id"],
)  # fmt: skip
@pytest.mark.parametrize("status", [200, 204, 404])
def test_what_is_not_listed_does_not_leave(name: str, status: int) -> None:
    without, with_it = read(status, JSON), read(status, JSON, (name, "42"))
    assert with_it.headers == without.headers


def test_what_is_listed_leaves_as_it_is() -> None:
    fields = (("X-Request-ID", "7"), ("retry-after", "3"), ("Allow", "GET"), ("Connection", "x-request-id"))
    assert read(200, *fields, JSON).headers == (*fields, JSON)


def test_what_is_declared_leaves_as_often_as_it_stands_there() -> None:
    fields = (("Set-Cookie", "a=1"), ("X-Api-Version", "2"), ("set-cookie", "b=2"), ("Location", "/v1"))
    inspection = Inspection(headers=frozenset({"set-cookie", "x-api-version", "location"}))
    assert read(200, *fields, JSON, inspection=inspection).headers == (*fields, JSON)


@pytest.mark.parametrize("name", sorted(UNTRUE_FIELDS - {"content-range", "content-encoding", "content-type", "vary"}))
def test_what_would_be_untrue_does_not_leave_though_it_be_declared(name: str) -> None:
    inspection = Inspection(headers=frozenset({name}))
    assert read(200, JSON, (name, "42"), inspection=inspection).headers == (JSON,)


def test_the_two_lists_have_nothing_in_common() -> None:
    assert not ANSWER_FIELDS & UNTRUE_FIELDS
    assert all(name == name.lower() for name in ANSWER_FIELDS | UNTRUE_FIELDS)


@given(st.lists(st.tuples(st.sampled_from([*ANSWER_FIELDS, *UNTRUE_FIELDS, "x-any"]), st.text(max_size=5))))
def test_nothing_leaves_but_what_is_listed(fields: list[tuple[str, str]]) -> None:
    reading = look(200, *fields)
    if isinstance(reading, Reading):
        ours = {"Content-Type", "Content-Encoding", "Vary"}
        assert all(name in ours or name in ANSWER_FIELDS for name, _ in reading.headers)


# The coding.


@pytest.mark.parametrize("coding", CODINGS)
def test_it_is_coded_again_where_the_caller_takes_that(coding: str) -> None:
    reading = read(200, JSON, ("Content-Encoding", coding.upper()), accepts=f"{coding}, identity;q=0.1")
    assert reading.headers == (JSON, ("Content-Encoding", coding), ("Vary", "Accept-Encoding"))
    coded = reading.encoder.encode(b"{}") + reading.encoder.end()
    assert coded != b"{}"
    assert b"".join(reading.decoder.feed(coded)) == b"{}"


def test_it_is_decoded_where_the_caller_takes_none() -> None:
    reading = read(200, JSON, ("Content-Encoding", "gzip"), ("Vary", "Origin"))
    assert reading.headers == (JSON, ("Vary", "Origin"), ("Vary", "Accept-Encoding"))
    assert reading.encoder.encode(b"{}") == b"{}"
    assert b"".join(reading.decoder.feed(gzip.compress(b"{}"))) == b"{}"


VARYING: dict[str, Headers] = {
    "by name": (("Vary", "Origin, accept-encoding"),),
    "in a field of its own": (("Vary", "Origin"), ("vary", "Accept-Encoding")),
    "by a star": (("Vary", "*"),),
}


@pytest.mark.parametrize("vary", VARYING.values(), ids=VARYING)
def test_what_it_varies_by_is_said_once(vary: Headers) -> None:
    reading = read(200, JSON, ("Content-Encoding", "gzip"), *vary, accepts="gzip")
    assert [value for name, value in reading.headers if name == "Vary"] == [value for _, value in vary]


def test_without_any_coding_it_varies_by_what_the_api_says() -> None:
    assert read(200, JSON, ("Vary", "Origin"), accepts="gzip").headers == (JSON, ("Vary", "Origin"))


@pytest.mark.parametrize("value", ["gzip, br", "compress", "aes128gcm", ""])
def test_another_coding_is_refused(value: str) -> None:
    assert look(200, JSON, ("Content-Encoding", value)) is Reason.ANSWER_CODING_UNSUPPORTED


def test_two_codings_in_two_fields_are_refused() -> None:
    fields = (("Content-Encoding", "gzip"), ("content-encoding", "gzip"))
    assert look(200, JSON, *fields) is Reason.ANSWER_CODING_UNSUPPORTED


@pytest.mark.parametrize(
    ("media", "type_"), [(Media.LINES, "application/x-ndjson"), (Media.EVENTS, "text/event-stream")]
)
def test_a_stream_leaves_part_by_part(media: Media, type_: str) -> None:
    fields = (("Content-Type", type_), ("Content-Encoding", "gzip"))
    reading = read(200, *fields, accepts="gzip", inspection=Inspection(media=media))
    assert b"".join(reading.decoder.feed(reading.encoder.encode(b"{}\n"))) == b"{}\n"
