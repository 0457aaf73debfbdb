# SPDX-License-Identifier: Apache-2.0

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.gateway.wire.heads import RequestFrame, RequestReader, read_response
from proxy.gateway.wire.render import CONTINUE, render_chunk, render_request, render_response
from proxy.model.request import Headers

FIELDS = b"Host: users.internal\r\nAccept: */*\r\n"


def test_request() -> None:
    assert render_request("GET", "/a?b", FIELDS, None, is_chunked=False) == b"GET /a?b HTTP/1.1\r\n" + FIELDS + b"\r\n"


def test_request_with_a_body_of_nothing_says_so() -> None:
    assert render_request("POST", "/", b"", 0, is_chunked=False) == b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n"


def test_request_that_upgrades() -> None:
    expected = b"GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    assert render_request("GET", "/", b"", None, is_chunked=False, upgrade="websocket") == expected


def test_a_target_that_is_not_ascii_is_not_sent() -> None:
    with pytest.raises(UnicodeEncodeError):
        render_request("GET", "/\u65e5", b"", None, is_chunked=False)


STATUSES = {
    200: b"HTTP/1.1 200 OK\r\n",
    404: b"HTTP/1.1 404 Not Found\r\n",
    299: b"HTTP/1.1 299 \r\n",
    599: b"HTTP/1.1 599 \r\n",
}


@pytest.mark.parametrize(("status", "line"), STATUSES.items())
def test_response(status: int, line: bytes) -> None:
    head = render_response(status, FIELDS, 3, is_chunked=False, closes=False, keeps=False)
    assert head == line + FIELDS + b"Content-Length: 3\r\n\r\n"


CONNECTIONS = {
    "neither": (False, False, b""),
    "closes": (True, False, b"Connection: close\r\n"),
    "keeps": (False, True, b"Connection: keep-alive\r\n"),
    "close is stronger": (True, True, b"Connection: close\r\n"),
}


@pytest.mark.parametrize(("closes", "keeps", "line"), CONNECTIONS.values(), ids=CONNECTIONS)
def test_response_says_what_becomes_of_the_connection(closes: bool, keeps: bool, line: bytes) -> None:  # noqa: FBT001
    head = render_response(200, b"", None, is_chunked=True, closes=closes, keeps=keeps)
    assert head == b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n" + line + b"\r\n"


def test_response_that_switches() -> None:
    head = render_response(101, b"", None, is_chunked=False, closes=False, keeps=False, upgrade="websocket")
    assert head == b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"


def test_an_empty_chunk_does_not_end_the_body() -> None:
    assert render_chunk(b"") == b""
    assert render_chunk(b"x" * 26) == b"1a\r\n" + b"x" * 26 + b"\r\n"


def test_continue_is_an_interim_answer() -> None:
    frame = read_response(CONTINUE)
    assert frame is not None
    assert frame.status == 100


TOKENS = st.text(st.sampled_from("AZaz09!#$%&'*+.^_`|~-"), min_size=1, max_size=12)
VALUES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20).map(lambda text: text.strip(" \t"))
NOT_FRAMING = TOKENS.filter(lambda name: name.lower() not in {"content-length", "transfer-encoding", "connection"})
HEADERS = st.lists(st.tuples(NOT_FRAMING, VALUES), max_size=8).map(tuple)
LENGTHS = st.one_of(st.none(), st.integers(0, 10**18 - 1))


def render_fields(headers: Headers) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in headers).encode()


@given(TOKENS, TOKENS, HEADERS, LENGTHS, st.booleans())
def test_a_request_is_read_as_it_was_rendered(
    method: str,
    path: str,
    headers: Headers,
    length: int | None,
    is_chunked: bool,  # noqa: FBT001
) -> None:
    length = None if is_chunked else length
    frame = RequestReader().read(render_request(method, "/" + path, render_fields(headers), length, is_chunked))
    assert isinstance(frame, RequestFrame)
    assert (frame.method, frame.target) == (method, "/" + path)
    assert frame.block.headers[: len(headers)] == headers
    assert (frame.block.length, frame.block.is_chunked) == (length, is_chunked)


@given(st.integers(200, 599), HEADERS, LENGTHS, st.booleans(), st.booleans())
def test_an_answer_is_read_as_it_was_rendered(
    status: int,
    headers: Headers,
    length: int | None,
    is_chunked: bool,  # noqa: FBT001
    closes: bool,  # noqa: FBT001
) -> None:
    length = None if is_chunked or status == 204 else length
    is_chunked = is_chunked and status != 204
    head = render_response(status, render_fields(headers), length, is_chunked, closes=closes, keeps=not closes)
    frame = read_response(head)
    assert frame is not None
    assert frame.headers[: len(headers)] == headers
    assert (frame.status, frame.length, frame.is_chunked) == (status, length, is_chunked)
    assert frame.is_persistent is not closes
