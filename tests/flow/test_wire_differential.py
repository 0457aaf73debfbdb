# SPDX-License-Identifier: Apache-2.0
"""What our grammar accepts, llhttp (behind aiohttp's parsers) reads alike: nothing is understood in two ways."""

import asyncio
from collections.abc import Iterator

import msgspec
import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpRequestParser, HttpResponseParser, RawRequestMessage
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.gateway.wire.bodies import (
    ChunkedBody,
    FramingError,
    LengthBody,
    UntilCloseBody,
    request_body,
    response_body,
)
from proxy.gateway.wire.grammar import MAX_FIELDS, MAX_LINE_BYTES
from proxy.gateway.wire.heads import (
    RequestBlock,
    RequestFrame,
    RequestReader,
    ResponseFrame,
    find_head_end,
    read_response,
)
from proxy.model.decision import Reason
from proxy.model.request import Headers
from proxy.pipeline.passage import METHODS
from proxy.request.target import parse_target


class Reading(msgspec.Struct, frozen=True):
    """What a reader made of a message."""

    start: tuple[str | int, ...]
    headers: Headers
    is_chunked: bool
    is_persistent: bool
    payload: bytes
    is_whole: bool


Read = tuple[Reading, bytes]
"""What was read, and the bytes that it was read from: what is behind them belongs to another message."""


def read_request(data: bytes) -> Read | None:
    end = find_head_end(data)
    frame = RequestReader().read(data[:end]) if end > 0 else Reason.REQUEST_MALFORMED
    if not isinstance(frame, RequestFrame):
        return None
    start = (frame.method, frame.target, *frame.version)
    block = msgspec.structs.replace(frame.block, headers=(*frame.block.headers, *frame.varying))
    return finish(data, end, start, block, request_body(frame), is_persistent=frame.is_persistent)


def read_answer(data: bytes) -> Read | None:
    end = find_head_end(data)
    frame = read_response(data[:end]) if end > 0 else None
    if frame is None:
        return None
    body = response_body(frame, "GET")
    is_persistent = frame.is_persistent and not isinstance(body, UntilCloseBody)
    return finish(data, end, (frame.status, *frame.version), frame, body, is_persistent=is_persistent)


def finish(
    data: bytes,
    end: int,
    start: tuple[str | int, ...],
    head: RequestBlock | ResponseFrame,
    body: LengthBody | ChunkedBody | UntilCloseBody | None,
    *,
    is_persistent: bool,
) -> Read | None:
    payload, rest = b"", data[end:]
    if body is not None:
        try:
            payload = body.feed(rest)
        except FramingError:
            return None
        rest = body.rest or (body._held if isinstance(body, ChunkedBody) else b"")  # held back: not yet accepted
    is_whole = body is None or body.is_done
    reading = Reading(start, head.headers, head.is_chunked, is_persistent, payload, is_whole)
    return reading, data[: len(data) - len(rest)]


def refer(data: bytes, parser: HttpRequestParser | HttpResponseParser) -> Reading | str:
    """Return what aiohttp's parser makes of the first message, or why it refuses it."""
    try:
        messages, _, _ = parser.feed_data(data)
    except HttpProcessingError as error:
        return repr(error)
    if not messages:
        return "not a whole head"
    message, payload = messages[0]
    start = (message.method, message.path) if isinstance(message, RawRequestMessage) else (message.code,)
    return Reading(
        (*start, *message.version),
        tuple((name.decode(), value.decode("utf-8", "surrogateescape")) for name, value in message.raw_headers),
        message.chunked,
        not message.should_close,
        payload.read_nowait(),
        payload.is_eof(),
    )


def refer_request(data: bytes, loop: asyncio.AbstractEventLoop) -> Reading | str:
    line, count = MAX_LINE_BYTES, 2 * MAX_FIELDS
    parser = HttpRequestParser(
        BaseProtocol(loop), loop, 2**16, max_line_size=line, max_field_size=line, max_headers=count
    )
    return refer(data, parser)


def refer_answer(data: bytes, loop: asyncio.AbstractEventLoop) -> Reading | str:
    line, count = MAX_LINE_BYTES, 2 * MAX_FIELDS
    parser = HttpResponseParser(
        BaseProtocol(loop),
        loop,
        2**16,
        max_line_size=line,
        max_field_size=line,
        max_headers=count,
        auto_decompress=False,
        read_until_eof=True,
    )
    return refer(data, parser)


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


LINES = (
    b"Accept: */*",
    b"A:b",
    b"A: \t b \t",
    b"Empty:",
    b"X: \xe6\x97\xa5",
    b"!#$%&'*+-.^_`|~: a",
    b"Content-Length: 5",
    b"content-length: 0",
    b"Content-Length: 005",
    b"Content-Length: 5, 5",
    b"Content-Length: +5",
    b"Content-Length : 5",
    b"Content_Length: 5",
    b"Transfer-Encoding: chunked",
    b"transfer-encoding:CHUNKED",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: chunked, identity",
    b"Transfer-Encoding: \x0bchunked",
    b"Connection: close",
    b"Connection: keep-alive",
    b"connection: Close, x",
    b"Connection: x,\tkeep-alive ",
    b"Connection:",
    b" folded",
    b"no colon",
    b": no name",
)
BODIES = (
    b"",
    b"hello",
    b"hello, world",
    b"5\r\nhello\r\n0\r\n\r\n",
    b"5;a=b\r\nhello\r\n0\r\nA: b\r\n\r\n",
    b"A\r\n0123456789\r\n5\r\nhel",
    b"5\r\nhello!\r\n0\r\n\r\n",
)
BYTES = (b"", b"\r", b"\n", b"\r\n", b"\0", b" ", b"\t", b":", b",", b";", b"\x0b", b"\x7f", b"\xff", b"0", b"a")


@st.composite
def messages(draw: st.DrawFn, start_lines: tuple[bytes, ...]) -> bytes:
    """Messages most of which are nearly right."""
    lines = draw(st.lists(st.sampled_from(LINES), max_size=4))
    data = b"\r\n".join([draw(st.sampled_from(start_lines)), b"Host: a", *lines, b"", draw(st.sampled_from(BODIES))])
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(data)))
        data = data[:at] + draw(st.sampled_from(BYTES)) + data[at + draw(st.integers(0, 2)) :]
    return data


REQUEST_LINES = (
    b"GET / HTTP/1.1",
    b"PUT /a?b=c HTTP/1.1",
    b"POST /a//b/../c;d=%2F#e HTTP/1.1",
    b"PATCH /\xe6\x97\xa5 HTTP/1.1",
    b"OPTIONS * HTTP/1.1",
    b"DELETE http://b/c HTTP/1.1",
    b"GET / HTTP/1.0",
    b"GET / HTTP/1.2",
    b"GET /a b HTTP/1.1",
)
STATUS_LINES = (
    b"HTTP/1.1 200 OK",
    b"HTTP/1.1 200 ",
    b"HTTP/1.1 200",
    b"HTTP/1.0 404 Not Found",
    b"HTTP/1.1 304 Not Modified",
    b"HTTP/1.1 599 \xff",
)


def is_refused_further_on(ours: Reading, refusal: str) -> bool:
    """Say whether the reference refuses what we leave to others: the methods, the targets, ``Host``."""
    method, target = str(ours.start[0]), str(ours.start[1])
    return (
        ("BadHttpMethod" in refusal and method not in METHODS)
        or ("InvalidURLError" in refusal and isinstance(parse_target(target), Reason))
        or ("Missing 'Host'" in refusal and all(name.lower() != "host" for name, _ in ours.headers))
    )


def unclosed(reading: Reading) -> Reading:
    """Return the reading as if the connection went on: we close it where a message says both, aiohttp does not."""
    said = ",".join(value for name, value in reading.headers if name.lower() == "connection").lower()
    return reading if "close" not in said else msgspec.structs.replace(reading, is_persistent=True)


@settings(max_examples=400)
@given(messages(REQUEST_LINES))
def test_a_request_that_we_accept_is_read_alike(loop: asyncio.AbstractEventLoop, data: bytes) -> None:
    read = read_request(data)
    if read is None:
        return
    ours, accepted = read
    theirs = refer_request(accepted, loop)
    if isinstance(theirs, str):
        assert is_refused_further_on(ours, theirs), theirs
    else:
        assert unclosed(theirs) == unclosed(ours)
        assert theirs.is_persistent >= ours.is_persistent


@settings(max_examples=400)
@given(messages(STATUS_LINES))
def test_an_answer_that_we_accept_is_read_alike(loop: asyncio.AbstractEventLoop, data: bytes) -> None:
    read = read_answer(data)
    if read is None:
        return
    ours, accepted = read
    theirs = refer_answer(accepted, loop)
    assert isinstance(theirs, Reading), theirs
    assert unclosed(theirs) == unclosed(ours)
    assert theirs.is_persistent >= ours.is_persistent


def test_most_of_what_is_compared_is_accepted(loop: asyncio.AbstractEventLoop) -> None:
    heads = [line + b"\r\nHost: a\r\n\r\n" for line in REQUEST_LINES[:3]]
    assert [read_request(head) for head in heads] == [(refer_request(head, loop), head) for head in heads]
    answers = [line + b"\r\nContent-Length: 5\r\n\r\nhello" for line in STATUS_LINES[:3]]
    assert [read_answer(answer) for answer in answers] == [(refer_answer(answer, loop), answer) for answer in answers]
