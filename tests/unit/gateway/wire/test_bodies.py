# SPDX-License-Identifier: Apache-2.0

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.gateway.wire.bodies import (
    MAX_CHUNK_LINE_BYTES,
    MAX_EXTENSION_BYTES,
    MAX_TRAILER_BYTES,
    ChunkedBody,
    FramingError,
    LengthBody,
    UntilCloseBody,
    request_body,
    response_body,
)
from proxy.gateway.wire.heads import RequestFrame, RequestReader, read_response
from proxy.gateway.wire.render import LAST_CHUNK, render_chunk

Body = LengthBody | ChunkedBody | UntilCloseBody


def feed_all(body: Body, pieces: list[bytes]) -> bytes:
    """Feed pieces as a driver does, and return the payload. What comes behind the end goes behind the rest."""
    payload = b""
    for piece in pieces:
        if body.is_done:
            body.rest += piece
        else:
            payload += body.feed(piece)
    return payload


@st.composite
def cut(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """Cut data anywhere, into any number of pieces, some of them empty."""
    marks = sorted(draw(st.lists(st.integers(0, len(data)), max_size=12)))
    return [data[start:end] for start, end in zip([0, *marks], [*marks, len(data)], strict=True)]


CHUNKED = {
    "one chunk": (b"5\r\nhello\r\n0\r\n\r\n", b"hello", b""),
    "several": (b"1\r\nh\r\n4\r\nello\r\n0\r\n\r\n", b"hello", b""),
    "none": (b"0\r\n\r\n", b"", b""),
    "digits in both cases": (b"a\r\n0123456789\r\nB\r\n0123456789a\r\n0\r\n\r\n", b"01234567890123456789a", b""),
    "zeros in front": (b"0000000000000005\r\nhello\r\n000\r\n\r\n", b"hello", b""),
    "extensions are dropped": (b"5;a;b=c\r\nhello\r\n0;last=1\r\n\r\n", b"hello", b""),
    "trailers are dropped": (b"5\r\nhello\r\n0\r\nX-A: b\r\nX-C:\r\n\r\n", b"hello", b""),
    "what follows is the rest": (b"5\r\nhello\r\n0\r\n\r\nGET / HTTP/1.1\r\n", b"hello", b"GET / HTTP/1.1\r\n"),
    "what follows trailers, too": (b"0\r\nA: b\r\n\r\nrest", b"", b"rest"),
    "payload that looks like framing": (b"7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n", b"\r\n0\r\n\r\n", b""),
}


@pytest.mark.parametrize(("data", "payload", "rest"), CHUNKED.values(), ids=CHUNKED)
def test_chunked_body_in_pieces_of_any_size(data: bytes, payload: bytes, rest: bytes) -> None:
    for size in range(1, len(data) + 1):
        body = ChunkedBody()
        assert feed_all(body, [data[at : at + size] for at in range(0, len(data), size)]) == payload
        assert body.is_done
        assert body.rest == rest
        assert body.finish()


BROKEN = {
    "no size": b"\r\nhello",
    "no digit": b"g\r\n",
    "a sign": b"+5\r\nhello\r\n",
    "a prefix": b"0x5\r\nhello\r\n",
    "a blank before the size": b" 5\r\nhello\r\n",
    "a blank behind the size": b"5 \r\nhello\r\n",
    "an underscore, which int() takes": b"1_0\r\n",
    "seventeen digits": b"00000000000000005\r\nhello\r\n",
    "a size beyond what a length can say": b"ffffffffffffffff\r\n",
    "a bare LF behind the size": b"5\nhello\r\n",
    "a bare CR behind the size": b"5\rhello\r\n",
    "a NUL behind the size": b"5\x00\r\nhello\r\n",
    "a chunk that is longer than it says": b"5\r\nhello!\r\n",
    "a chunk that ends in a bare LF": b"5\r\nhello\n0\r\n\r\n",
    "a chunk that ends in CR alone": b"5\r\nhello\r0\r\n\r\n",
    "a chunk without an end, before the next": b"5\r\nhello0\r\n\r\n",
    "an extension without a name": b"5;\r\nhello\r\n",
    "an extension with a blank": b"5; a=b\r\nhello\r\n",
    "an extension in quotes": b'5;a="b"\r\nhello\r\n',
    "an extension that holds a bare LF": b"5;a\nb\r\nhello\r\n",
    "an extension that is too long": b"5;" + b"a" * 300 + b"\r\nhello\r\n",
    "a trailer without a colon": b"0\r\nabc\r\n\r\n",
    "a trailer that is folded": b"0\r\nA: b\r\n c\r\n\r\n",
    "a trailer with a bare LF": b"0\r\nA: b\nC: d\r\n\r\n",
    "a trailer with a NUL": b"0\r\nA: \x00\r\n\r\n",
    "trailers that are too long": b"0\r\n" + b"A: b\r\n" * (MAX_TRAILER_BYTES // 6) + b"\r\n",
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("size", [1, 2, 3, 10_000])
def test_chunked_body_that_breaks_the_grammar(data: bytes, size: int) -> None:
    body = ChunkedBody()
    with pytest.raises(FramingError):
        feed_all(body, [data[at : at + size] for at in range(0, len(data), size)])
    assert not body.is_done
    assert not body.finish()
    with pytest.raises(FramingError):  # there is no way back
        body.feed(b"0\r\n\r\n")


def test_extensions_are_bounded_over_the_whole_body() -> None:
    line = b"1;" + b"a" * 200 + b"\r\nx\r\n"
    with pytest.raises(FramingError):
        ChunkedBody().feed(line * (MAX_EXTENSION_BYTES // 200 + 1))


def test_a_line_that_never_ends_is_not_held() -> None:
    body = ChunkedBody()
    for _ in range(MAX_CHUNK_LINE_BYTES - 1):
        assert body.feed(b"0") == b""
    with pytest.raises(FramingError):
        body.feed(b"0")


def test_payload_that_is_all_of_a_piece_is_not_copied() -> None:
    length, chunked = LengthBody(10), ChunkedBody()
    piece, last = b"12345", b"67890"
    assert length.feed(piece) is piece
    assert length.feed(last) is last
    assert length.is_done
    assert chunked.feed(b"a\r\n") == b""
    assert chunked.feed(piece) is piece
    assert chunked.feed(last) is last
    assert not chunked.is_done


def test_length_body_leaves_the_rest() -> None:
    body = LengthBody(5)
    assert body.feed(b"helloGET /") == b"hello"
    assert body.is_done
    assert body.rest == b"GET /"


def test_bodies_say_whether_the_close_was_their_end() -> None:
    length, chunked, until_close = LengthBody(5), ChunkedBody(), UntilCloseBody()
    for body in (length, chunked, until_close):
        body.feed(b"4\r\n")
        assert not body.is_done
    assert not length.finish()
    assert not chunked.finish()
    assert until_close.finish()
    assert until_close.is_done


@given(st.data(), st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.binary(max_size=20))
def test_what_is_rendered_in_chunks_is_read_back(data: st.DataObject, parts: list[bytes], rest: bytes) -> None:
    wire = b"".join(map(render_chunk, parts)) + LAST_CHUNK + rest
    body = ChunkedBody()
    assert feed_all(body, data.draw(cut(wire))) == b"".join(parts)
    assert body.is_done
    assert body.rest == rest


@given(st.data(), st.binary(max_size=60), st.integers(0, 80))
def test_a_length_body_is_the_same_in_any_pieces(data: st.DataObject, wire: bytes, length: int) -> None:
    body = LengthBody(length)
    assert feed_all(body, data.draw(cut(wire))) == wire[:length]
    assert body.is_done is (len(wire) >= length)
    assert body.rest == wire[length:]


ALMOST = st.lists(
    st.sampled_from([b"0", b"5", b"a", b"\r\n", b"\r", b"\n", b";", b"=", b"hello", b"A: b", b" ", b"\x00"]),
    max_size=20,
).map(b"".join)


def outcome(pieces: list[bytes]) -> tuple[bytes, bool, bytes] | None:
    body = ChunkedBody()
    try:
        payload = feed_all(body, pieces)
    except FramingError:
        return None
    return payload, body.is_done, body.rest


@given(st.data(), st.one_of(ALMOST, st.binary(max_size=100)))
def test_a_chunked_body_is_the_same_in_any_pieces_and_breaks_only_in_its_own_way(
    data: st.DataObject, wire: bytes
) -> None:
    assert outcome(data.draw(cut(wire))) == outcome([wire])


REQUESTS = {
    "no framing, no body": (b"", type(None)),
    "a length of nothing": (b"Content-Length: 0\r\n", type(None)),
    "a length": (b"Content-Length: 5\r\n", LengthBody),
    "chunks": (b"Transfer-Encoding: Chunked\r\n", ChunkedBody),
}


@pytest.mark.parametrize(("fields", "kind"), REQUESTS.values(), ids=REQUESTS)
def test_request_body(fields: bytes, kind: type) -> None:
    frame = RequestReader().read(b"PUT / HTTP/1.1\r\n" + fields + b"\r\n")
    assert isinstance(frame, RequestFrame)
    assert type(request_body(frame)) is kind


RESPONSES = {
    "to HEAD, whatever it says": ("HEAD", b"200", b"Content-Length: 5\r\n", type(None)),
    "to HEAD, without any framing": ("HEAD", b"200", b"", type(None)),
    "204": ("GET", b"204", b"", type(None)),
    "204, whatever it says": ("GET", b"204", b"Content-Length: 5\r\n", type(None)),
    "304 tells the length of what it does not send": ("GET", b"304", b"Content-Length: 5\r\n", type(None)),
    "an interim answer": ("GET", b"103", b"", type(None)),
    "101": ("GET", b"101", b"Connection: upgrade\r\nUpgrade: websocket\r\n", type(None)),
    "a length": ("GET", b"200", b"Content-Length: 5\r\n", LengthBody),
    "a length of nothing": ("GET", b"200", b"Content-Length: 0\r\n", type(None)),
    "chunks": ("GET", b"200", b"Transfer-Encoding: chunked\r\n", ChunkedBody),
    "neither": ("POST", b"500", b"", UntilCloseBody),
}


@pytest.mark.parametrize(("method", "status", "fields", "kind"), RESPONSES.values(), ids=RESPONSES)
def test_response_body(method: str, status: bytes, fields: bytes, kind: type) -> None:
    frame = read_response(b"HTTP/1.1 " + status + b" x\r\n" + fields + b"\r\n")
    assert frame is not None
    assert type(response_body(frame, method)) is kind
