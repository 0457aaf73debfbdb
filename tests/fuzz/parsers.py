# SPDX-License-Identifier: Apache-2.0
"""Parsers as targets: each takes any bytes, and fails where they bring an exception or two readings of one thing.

``make fuzz`` drives them by coverage; ``test_corpus`` runs them over the corpus in every ``make test``.
"""

from collections.abc import Iterator
from typing import Final

from proxy.caller.tokens import parse_token, read_credentials
from proxy.gateway.wire.bodies import ChunkedBody, FramingError, LengthBody, UntilCloseBody, request_body, response_body
from proxy.gateway.wire.grammar import MAX_FIELDS
from proxy.gateway.wire.heads import (
    RequestFrame,
    RequestReader,
    ResponseFrame,
    find_head_end,
    read_response,
)
from proxy.gateway.wire.render import LAST_CHUNK, render_chunk, render_request, render_response
from proxy.model.decision import Reason
from proxy.model.request import Headers, Target
from proxy.origin.proxy_protocol import V2_HEAD, V2_MAX, Header, Outcome, parse_header
from proxy.request.headers import find_varying, parse_host, read_request_fields
from proxy.request.response_headers import render_response_fields
from proxy.request.target import parse_target
from tests.support.tokens import CORP, an_issuer, base64url

Body = LengthBody | ChunkedBody | UntilCloseBody

_FRAMING: Final = {"content-length", "transfer-encoding", "connection", "upgrade"}
_ISSUERS: Final = {CORP: an_issuer()}


def cut(data: bytes) -> Iterator[bytes]:
    """Cut data into pieces whose sizes it says itself."""
    at = 0
    while at < len(data):
        size = data[at] % 7 + 1
        yield data[at : at + size]
        at += size


def render_fields(headers: Headers) -> bytes:
    """Render the fields that frame nothing."""
    lines = [f"{name}: {value}\r\n" for name, value in headers if name.lower() not in _FRAMING]
    return "".join(lines).encode("utf-8", "surrogateescape")


def keep(headers: Headers) -> Headers:
    return tuple((name, value) for name, value in headers if name.lower() not in _FRAMING)


def check_text(*texts: str) -> None:
    for text in texts:
        assert not {"\r", "\n", "\0"} & {*text}, "one thing has become two"


def feed(body: Body | None, pieces: Iterator[bytes]) -> tuple[bytes, bool, bytes] | None:
    """Return payload, whether it is whole and what is behind it; None where the framing breaks."""
    if body is None:
        return b"", True, b"".join(pieces)
    payload = b""
    try:
        for piece in pieces:
            if body.is_done:
                body.rest += piece
            else:
                payload += body.feed(piece)
    except FramingError:
        return None
    return payload, body.is_done, body.rest


def fuzz_request_head(data: bytes) -> None:
    """Read a request, in one piece and in many, again, and once more as we would send it on."""
    end = find_head_end(data)
    if end < 0:
        return
    head, reader = data[:end], RequestReader()
    frame = reader.read(head)
    sooner = find_end_in_pieces(data)
    assert sooner == end or (sooner < end and isinstance(frame, Reason)), "how it arrived has changed what it is"
    assert frame == reader.read(head)
    recalled = reader.recall(data)
    if isinstance(frame, Reason):
        assert recalled is None
        return
    assert recalled is None or (recalled == frame and recalled.block is frame.block and data == head)
    check_text(frame.method, frame.target, *(text for field in headers_of(frame) for text in field))
    check_request(frame)
    assert feed(request_body(frame), iter([data[end:]])) == feed(request_body(frame), cut(data[end:]))


def find_end_in_pieces(data: bytes) -> int:
    """Look for the end as each piece arrives, from where the last look may have overlooked it."""
    arrived = 0
    for piece in cut(data):
        start, arrived = max(0, arrived - 3), arrived + len(piece)
        end = find_head_end(data[:arrived], start)
        if end > 0:
            return end
    raise AssertionError("the end was overlooked")


def headers_of(frame: RequestFrame) -> Headers:
    return (*frame.block.headers, *frame.varying)


def check_request(frame: RequestFrame) -> None:
    """Ask what asks next, and read it as it goes on."""
    block = frame.block
    fields = read_request_fields(block.headers)
    if not isinstance(fields, Reason):
        find_varying(fields, frame.varying)
    if not isinstance(parse_target(frame.target), Target):
        return
    sent = render_request(frame.method, frame.target, render_fields(headers_of(frame)), block.length, block.is_chunked)
    again = RequestReader().read(sent)
    assert isinstance(again, RequestFrame)
    assert (again.method, again.target) == (frame.method, frame.target)
    assert (keep(again.block.headers), again.varying) == (keep(block.headers), frame.varying)
    assert (again.block.length, again.block.is_chunked) == (block.length, block.is_chunked)


def fuzz_response_head(data: bytes) -> None:
    """Read an answer, its body in one piece and in many, and once more as we would send it on."""
    end = find_head_end(data)
    frame = read_response(data[:end]) if end > 0 else None
    if frame is None:
        return
    assert frame == read_response(data[:end])
    check_text(*(text for field in frame.headers for text in field))
    for method in ("GET", "HEAD"):
        body = response_body(frame, method)
        assert feed(body, iter([data[end:]])) == feed(response_body(frame, method), cut(data[end:]))
    check_answer(frame)


def check_answer(frame: ResponseFrame) -> None:
    fields = render_response_fields(frame.headers, "Sun, 06 Nov 1994 08:49:37 GMT", personal_data=True)
    sent = render_response(frame.status, fields, frame.length, frame.is_chunked, closes=False, keeps=False)
    again = read_response(sent)
    assert again is not None or len(frame.headers) >= MAX_FIELDS - 1  # room for our own
    if again is not None:
        assert again.status == frame.status
        assert (again.length, again.is_chunked) == (None if frame.is_chunked else frame.length, frame.is_chunked)


def fuzz_chunked(data: bytes) -> None:
    """Read chunks in one piece and in many, and once more as we would send them on."""
    whole = feed(ChunkedBody(), iter([data]))
    assert whole == feed(ChunkedBody(), cut(data))
    assert whole == feed(ChunkedBody(), (data[at : at + 1] for at in range(len(data))))
    if whole is not None and whole[1]:
        sent = render_chunk(whole[0]) + LAST_CHUNK + whole[2]
        assert feed(ChunkedBody(), iter([sent])) == whole


def fuzz_target_and_fields(data: bytes) -> None:
    """Read a target and fields as the passage does, whatever the framing would have let through."""
    raw_target, *lines = data.decode("utf-8", "surrogateescape").split("\n")
    target = parse_target(raw_target)
    if isinstance(target, Target):
        assert target.text in {raw_target, raw_target.removesuffix("?")}
        assert parse_target(target.text) == target
        check_text(target.text)
    headers = tuple((name, value) for name, _, value in (line.partition(":") for line in lines))
    fields = read_request_fields(headers)
    if isinstance(fields, Reason):
        return
    assert {*fields.forwardable} <= {*headers}
    check_text(*(text for field in fields.forwardable for text in field))
    parse_host(fields.host)


def fuzz_proxy_header(data: bytes) -> None:
    """Read a PROXY header, and say of every beginning of it that more is needed."""
    parsed = parse_header(data)
    if isinstance(parsed, Header):
        assert 0 < parsed.length <= len(data)
        assert all(parse_header(data[:length]) is Outcome.NEED_MORE for length in range(parsed.length))
        assert parse_header(data[: parsed.length]) == parsed
        check_text(parsed.source)
    elif parsed is Outcome.NEED_MORE:
        assert len(data) < V2_HEAD + V2_MAX, "nothing that is longer is waited for"


def fuzz_token(data: bytes) -> None:
    """Read a token: the bytes as they are, and as the header and the claims that were encoded into one."""
    text = data.decode("latin-1")
    header, _, claims = data.partition(b"\n")
    for raw in (text, f"{base64url(header)}.{base64url(claims)}.AAAA"):
        credentials = read_credentials(f"Bearer {raw}")
        assert isinstance(credentials, Reason) or credentials[1] == raw.lstrip(" ")
        parse_token(raw, _ISSUERS)
