# SPDX-License-Identifier: Apache-2.0

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.gateway.wire import heads
from proxy.gateway.wire.grammar import MAX_FIELDS, MAX_HEAD_BYTES, MAX_LINE_BYTES
from proxy.gateway.wire.heads import (
    FIELD_BYTES,
    MAX_BLOCK_BYTES,
    MAX_BLOCKS,
    MAX_RECALL_BYTES,
    RequestFrame,
    RequestReader,
    find_head_end,
    read_response,
)
from proxy.model.decision import Reason
from proxy.model.request import VARYING

LINE = b"GET /v1/jp/users/42 HTTP/1.1\r\n"


def read(head: bytes) -> RequestFrame:
    frame = RequestReader().read(head)
    assert isinstance(frame, RequestFrame), frame
    return frame


ENDS = {
    "there is none yet": (b"GET / HTTP/1.1\r\nHost: a\r\n", 0, -1),
    "behind the empty line": (b"GET / HTTP/1.1\r\n\r\nrest", 0, 18),
    "the first of two": (b"A\r\n\r\nB\r\n\r\n", 0, 5),
    "only from where it is told to begin": (b"A\r\n\r\nB\r\n\r\n", 2, 10),
    "a head in bare LF ends, so that it can be refused": (b"GET / HTTP/1.1\nHost: a\n\n", 0, 24),
    "so does one that mixes them": (b"GET / HTTP/1.1\nHost: a\n\r\n", 0, 25),
    "nothing in nothing": (b"", 0, -1),
}


@pytest.mark.parametrize(("data", "start", "expected"), ENDS.values(), ids=ENDS)
def test_find_head_end(data: bytes, start: int, expected: int) -> None:
    assert find_head_end(data, start) == expected


@pytest.mark.parametrize("size", range(1, 6))
def test_find_head_end_in_pieces_finds_the_same(size: int) -> None:
    data = LINE + b"Host: a\r\n\r\n"
    for length in range(size, len(data), size):
        assert find_head_end(data[:length], max(0, length - size - 3)) == -1
    assert find_head_end(data, len(data) - 4) == len(data)


def test_request_is_read_as_it_was_written() -> None:
    frame = read(LINE + b"Host: users.internal\r\nX-Name: \t \xe6\x97\xa5 \t b \t\r\nx-name:\r\n\r\n")
    assert (frame.method, frame.target, frame.version) == ("GET", "/v1/jp/users/42", (1, 1))
    assert frame.block.headers == (("Host", "users.internal"), ("X-Name", "日 \t b"), ("x-name", ""))
    assert frame.is_persistent


def test_request_without_fields() -> None:
    assert read(b"GET / HTTP/1.1\r\n\r\n").block.headers == ()


PERSISTENCE = {
    "1.1 persists": (b"1.1", b"", True),
    "1.1 does not where it says so": (b"1.1", b"Connection: close\r\n", False),
    "in any case, in any place of a list, in any field": (
        b"1.1",
        b"Connection: a,\t CLOSE ,b\r\nConnection: keep-alive\r\n",
        False,
    ),
    "1.0 does not": (b"1.0", b"", False),
    "1.0 does where it asks": (b"1.0", b"connection: Keep-Alive\r\n", True),
    "close is stronger": (b"1.0", b"Connection: keep-alive, close\r\n", False),
    "what only looks like it": (b"1.1", b"Connection: closed\r\nX-Connection: close\r\n", True),
}


@pytest.mark.parametrize(("version", "fields", "expected"), PERSISTENCE.values(), ids=PERSISTENCE)
def test_persistence(version: bytes, fields: bytes, expected: bool) -> None:  # noqa: FBT001 - a row of the table
    assert read(b"GET / HTTP/" + version + b"\r\n" + fields + b"\r\n").is_persistent is expected
    response = read_response(b"HTTP/" + version + b" 200 OK\r\n" + fields + b"\r\n")
    assert response is not None
    assert response.is_persistent is expected


UPGRADES = {
    "a protocol": (b"Connection: Upgrade\r\nUpgrade: WebSocket\r\n", "websocket"),
    "among other options": (b"Connection: keep-alive, upgrade\r\nUpgrade: websocket\r\n", "websocket"),
    "not where Connection does not name it": (b"Upgrade: websocket\r\n", ""),
    "not where nothing is named": (b"Connection: upgrade\r\n", ""),
    "h2c is a protocol like any other": (
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\n",
        "h2c",
    ),
    "a list is no protocol that anybody declares": (b"Connection: upgrade\r\nUpgrade: h2c, a\r\n", "h2c, a"),
    "nor are two fields": (b"Connection: upgrade\r\nUpgrade: a\r\nUpgrade: b\r\n", "a, b"),
}


@pytest.mark.parametrize(("fields", "expected"), UPGRADES.values(), ids=UPGRADES)
def test_upgrade(fields: bytes, expected: str) -> None:
    assert read(LINE + fields + b"\r\n").upgrade == expected
    assert read(b"GET / HTTP/1.0\r\n" + fields + b"\r\n").upgrade == ""


def test_the_same_block_is_the_same_object() -> None:
    reader = RequestReader()
    heads = [b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n", b"PUT /2 HTTP/1.0\r\nHost: a\r\n\r\n", LINE + b"Host: b\r\n\r\n"]
    one, two, other = (reader.read(head) for head in heads)
    assert isinstance(one, RequestFrame)
    assert isinstance(two, RequestFrame)
    assert isinstance(other, RequestFrame)
    assert one.block is two.block
    assert one.block is not other.block
    assert (two.method, two.target) == ("PUT", "/2")


def test_a_remembered_block_is_still_held_to_the_version() -> None:
    reader = RequestReader()
    fields = b"Transfer-Encoding: chunked\r\n\r\n"
    assert isinstance(reader.read(b"PUT / HTTP/1.1\r\n" + fields), RequestFrame)
    assert reader.read(b"PUT / HTTP/1.0\r\n" + fields) is Reason.REQUEST_MALFORMED


RECALLED = {
    "the same bytes": (b"", LINE + b"Host: a\r\n\r\n", True),
    "another first line": (b"", b"PUT /2 HTTP/1.0\r\nHost: a\r\n\r\n", True),
    "another block": (b"", LINE + b"Host: b\r\n\r\n", False),
    "something behind it": (b"", LINE + b"Host: a\r\n\r\nx", False),
    "another head behind it": (b"", (LINE + b"Host: a\r\n\r\n") * 2, False),
    "a head that is not whole": (b"", LINE + b"Host: a\r\n", False),
    "a request line that is none": (b"", b"GET\r\nHost: a\r\n\r\n", False),
    "nothing": (b"", b"", False),
    "what was refused": (LINE + b"Host : a\r\n\r\n", LINE + b"Host : a\r\n\r\n", False),
    "what the version refuses": (
        b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"PUT / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        False,
    ),
}


@pytest.mark.parametrize(("before", "data", "expected"), RECALLED.values(), ids=RECALLED)
def test_recall(before: bytes, data: bytes, expected: bool) -> None:  # noqa: FBT001
    reader = RequestReader()
    first = reader.read(LINE + b"Host: a\r\n\r\n")
    reader.read(before)
    assert isinstance(first, RequestFrame)
    frame = reader.recall(data)
    assert (frame is not None) is expected
    if frame is not None:
        assert frame == reader.read(data)
        assert frame.block is first.block


def kept(reader: RequestReader) -> tuple[int, int]:
    blocks = [*reader._blocks.young, *reader._blocks._old]
    return len(blocks), sum(map(len, blocks))


def test_what_is_remembered_is_bounded_in_number() -> None:
    reader = RequestReader()
    for number in range(MAX_BLOCKS * 2):
        reader.read(LINE + b"X: %d\r\n\r\n" % number)
        assert kept(reader)[0] <= MAX_BLOCKS
    first = reader.read(LINE + b"X: %d\r\n\r\n" % (MAX_BLOCKS * 2 - 1))
    again = reader.read(LINE + b"X: %d\r\n\r\n" % (MAX_BLOCKS * 2 - 1))
    assert isinstance(first, RequestFrame)
    assert isinstance(again, RequestFrame)
    assert first.block is again.block


def test_what_is_remembered_is_bounded_in_bytes() -> None:
    reader = RequestReader()
    for number in range(MAX_BLOCKS // 2):
        reader.read(LINE + b"X: %d%b\r\n\r\n" % (number, b"x" * (MAX_BLOCK_BYTES - 20)))
        assert kept(reader)[1] <= MAX_RECALL_BYTES


def test_what_is_remembered_is_bounded_in_what_was_read_from_it() -> None:
    reader = RequestReader()
    for number in range(MAX_BLOCKS):
        reader.read(LINE + b"".join(b"%x:\r\n" % (number * 98 + field) for field in range(98)) + b"\r\n")
    fields = sum(len(block.headers) for each in (reader._blocks.young, reader._blocks._old) for block in each.values())
    assert 0 < kept(reader)[1] + fields * FIELD_BYTES <= MAX_RECALL_BYTES


def test_a_long_block_is_not_remembered() -> None:
    reader = RequestReader()
    reader.read(LINE + b"X: %b\r\n\r\n" % (b"x" * MAX_BLOCK_BYTES))
    assert kept(reader) == (0, 0)


def test_what_is_asked_for_again_and_again_is_not_forgotten() -> None:
    reader = RequestReader()
    usual = LINE + b"Host: usual\r\n\r\n"
    first = reader.read(usual)
    assert isinstance(first, RequestFrame)
    for number in range(MAX_BLOCKS * 3):
        reader.read(LINE + b"X: %d\r\n\r\n" % number)
        if number % 1000 == 0:
            again = reader.read(usual)
            assert isinstance(again, RequestFrame)
            assert again.block is first.block


LARGE = {
    "as many fields as there may be": (b"A: b\r\n" * MAX_FIELDS, None),
    "one more": (b"A: b\r\n" * (MAX_FIELDS + 1), Reason.HEAD_TOO_LARGE),
    "a line as long as may be": (b"A: " + b"x" * (MAX_LINE_BYTES - 5) + b"\r\n", None),
    "one byte more": (b"A: " + b"x" * (MAX_LINE_BYTES - 4) + b"\r\n", Reason.HEAD_TOO_LARGE),
    "a head that is too long": (
        (b"A: " + b"x" * (MAX_LINE_BYTES - 5) + b"\r\n") * (MAX_HEAD_BYTES // MAX_LINE_BYTES),
        Reason.HEAD_TOO_LARGE,
    ),
}


@pytest.mark.parametrize(("fields", "reason"), LARGE.values(), ids=LARGE)
def test_sizes(fields: bytes, reason: Reason | None) -> None:
    found = RequestReader().read(LINE + fields + b"\r\n")
    assert (found if isinstance(found, Reason) else None) is reason
    assert (read_response(b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n") is None) is (reason is not None)


def test_a_request_line_that_is_too_long() -> None:
    longest = MAX_LINE_BYTES - len("GET  HTTP/1.1\r\n")
    assert read(b"GET " + b"/" * longest + b" HTTP/1.1\r\n\r\n").target == "/" * longest
    assert RequestReader().read(b"GET " + b"/" * (longest + 1) + b" HTTP/1.1\r\n\r\n") is Reason.TARGET_TOO_LONG
    assert RequestReader().read(b"/" * (MAX_LINE_BYTES + 1) + b"\r\n\r\n") is Reason.TARGET_TOO_LONG


def test_response_is_read_as_it_was_written() -> None:
    frame = read_response(b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 3\r\nX: \xff\r\n\r\n")
    assert frame is not None
    assert (frame.status, frame.version, frame.length, frame.is_chunked) == (200, (1, 1), 3, False)
    assert frame.headers == (("Server", "x"), ("Content-Length", "3"), ("X", "\udcff"))
    assert frame.is_persistent


DOUBTFUL = {
    "204 that announces a body": b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
    "204 in chunks": b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
    "100 that announces a body": b"HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n",
}


@pytest.mark.parametrize("head", DOUBTFUL.values(), ids=DOUBTFUL)
def test_an_answer_that_cannot_have_the_body_it_announces_is_the_last(head: bytes) -> None:
    frame = read_response(head)
    assert frame is not None
    assert not frame.is_persistent


def test_an_answer_without_a_body_may_say_so() -> None:
    frame = read_response(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n")
    assert frame is not None
    assert frame.is_persistent


# What is new in each request.

PARENT = b"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-%02d\r\n"
APART = {
    "first": b"%bHost: a\r\nX-A: 1\r\n",
    "in the middle": b"Host: a\r\n%bX-A: 1\r\n",
    "last": b"Host: a\r\nX-A: 1\r\n%b",
}


@pytest.mark.parametrize("block", APART.values(), ids=APART)
def test_what_is_new_in_each_request_stands_apart_and_the_rest_is_the_same_object(block: bytes) -> None:
    reader = RequestReader()
    plain = reader.read(LINE + b"Host: a\r\nX-A: 1\r\n\r\n")
    assert isinstance(plain, RequestFrame)
    for number in range(3):
        head = LINE + block % (PARENT % number) + b"\r\n"
        recalled, frame = reader.recall(head), reader.read(head)
        assert isinstance(frame, RequestFrame)
        assert recalled == frame
        assert frame.block is plain.block
        assert frame.varying == (("traceparent", f"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{number:02}"),)
    assert kept(reader)[0] == 1


def test_fields_that_are_new_each_time_keep_their_order_their_names_and_their_values() -> None:
    lines = b"X-Request-Id:  a b \t\r\nHost: a\r\nTRACESTATE: a=1\r\nx-request-ID:\r\ntracestate: b=2\r\n"
    frame = RequestReader().read(LINE + lines + b"\r\n")
    assert isinstance(frame, RequestFrame)
    assert frame.block.headers == (("Host", "a"),)
    assert frame.varying == (
        ("X-Request-Id", "a b"),
        ("TRACESTATE", "a=1"),
        ("x-request-ID", ""),
        ("tracestate", "b=2"),
    )


NEW_AND_WRONG = {
    "a control character": (b"traceparent: \x01\r\n", Reason.HEADER_MALFORMED),
    "no CR": (b"traceparent: 1\n", Reason.REQUEST_MALFORMED),
    "a CR inside": (b"traceparent: 1\r2\r\n", Reason.REQUEST_MALFORMED),
    "a blank before the colon": (b"traceparent : 1\r\n", Reason.REQUEST_MALFORMED),
    "a line that goes on": (b"traceparent: 1\r\n 2\r\n", Reason.REQUEST_MALFORMED),
    "bytes that are no text": (b"traceparent: \xff\r\n", Reason.HEADER_MALFORMED),
    "a line that is too long": (b"traceparent: " + b"x" * MAX_LINE_BYTES + b"\r\n", Reason.HEAD_TOO_LARGE),
    "more fields than there may be": (b"traceparent: 1\r\n" * MAX_FIELDS, Reason.HEAD_TOO_LARGE),
    "too much in all": ((b"x-request-id: " + b"x" * (MAX_LINE_BYTES - 20) + b"\r\n") * 5, Reason.HEAD_TOO_LARGE),
}


@pytest.mark.parametrize(("lines", "reason"), NEW_AND_WRONG.values(), ids=NEW_AND_WRONG)
def test_what_is_new_is_held_to_the_grammar_whether_the_rest_is_remembered_or_not(lines: bytes, reason: Reason) -> None:
    reader = RequestReader()
    for _ in range(2):
        head = LINE + b"Host: a\r\n" + lines + b"\r\n"
        assert reader.recall(head) is None
        assert reader.read(head) is reason
        reader.read(LINE + b"Host: a\r\n\r\n")


LINES_OF_A_HEAD = st.sampled_from([
    b"Host: a\r\n", b"X-A: 1\r\n", PARENT % 1, PARENT % 2, b"Tracestate: a=1\r\n", b"x-request-id:\t1 \r\n",
    b"B3: \r\n", b"traceparent: \xc3\xa9\r\n", b"traceparent: \xff\r\n", b"traceparent:1\n", b"traceparent : 1\r\n",
    b" traceparent: 1\r\n", b"xtraceparent: 1\r\n", b"traceparentx: 1\r\n", b"traceparent\r\n",
    b"X: traceparent: 1\r\n", b"traceparent: a\rb\r\n", b"\r\n", b"\n", b"traceparent: 1\r\r\n",
    b"Content-Length: 3\r\n",
])  # fmt: skip


@given(st.lists(st.lists(LINES_OF_A_HEAD, max_size=6), min_size=1, max_size=4))
def test_a_head_that_is_taken_apart_says_what_it_says_in_one_piece(blocks: list[list[bytes]]) -> None:
    reader = RequestReader()
    for lines in blocks:
        head = LINE + b"".join(lines) + b"\r\n"
        whole = heads._read_block(head[len(LINE) :])
        recalled, frame = reader.recall(head), reader.read(head)
        assert recalled is None or recalled == frame
        if isinstance(whole, Reason):
            assert frame is whole
            assert recalled is None
            continue
        assert isinstance(frame, RequestFrame)
        assert (frame.block.length, frame.block.closes) == (whole.length, whole.closes)
        apart = [each for each in whole.headers if each[0].lower() in VARYING and each[1].isascii()]
        assert [*frame.varying] == apart
        assert [*frame.block.headers] == [each for each in whole.headers if each not in apart]
