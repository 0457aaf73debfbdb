# SPDX-License-Identifier: Apache-2.0
"""An API, or whoever speaks in its place, whose answers others would read differently: row 20 of the threat model."""

from collections.abc import Iterator
from typing import Final

import msgspec
import pytest

from tests.support.edge import USER, Edge, get, run_edge


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    with run_edge(tmp_path_factory.mktemp("edge")) as edge:
        yield edge


FORGED_ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nFORGED"
ACCEPTED: Final = b"HTTP/1.1 200 OK\r\n"


class Hostile(msgspec.Struct, frozen=True):
    """What an API writes for an answer. A forged answer to the next request stands behind it."""

    data: bytes
    statuses: tuple[int, ...] = (502,)
    """What the caller may hear; none: the connection is cut within the answer."""
    body: bytes | None = None
    """Of an answer of 200."""


HOSTILE: Final = {
    "length and chunks": Hostile(ACCEPTED + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "two lengths": Hostile(ACCEPTED + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}"),
    "two lengths that agree": Hostile(ACCEPTED + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}"),
    "two lengths in one field": Hostile(ACCEPTED + b"Content-Length: 2, 2\r\n\r\n{}"),
    "a length with a sign": Hostile(ACCEPTED + b"Content-Length: +2\r\n\r\n{}"),
    "a negative length": Hostile(ACCEPTED + b"Content-Length: -1\r\n\r\n"),
    "a length that is none": Hostile(ACCEPTED + b"Content-Length: two\r\n\r\n{}"),
    "a coding that nobody asked for": Hostile(ACCEPTED + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    "chunked twice": Hostile(ACCEPTED + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "a folded field": Hostile(ACCEPTED + b"Content-Length: 2\r\nX-A: 1\r\n b\r\n\r\n{}"),
    "a blank before the colon": Hostile(ACCEPTED + b"Content-Length : 2\r\n\r\n{}"),
    "a NUL in a field": Hostile(ACCEPTED + b"Content-Length: 2\r\nX-A: \0\r\n\r\n{}"),
    "a carriage return in a field": Hostile(ACCEPTED + b"Content-Length: 2\r\nX-A: a\rb\r\n\r\n{}"),
    "no status line": Hostile(b"hello\r\n\r\n"),
    "a status that is none": Hostile(b"HTTP/1.1 99 Odd\r\nContent-Length: 2\r\n\r\n{}"),
    "another protocol": Hostile(b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\n{}"),
    "a head without an end": Hostile(ACCEPTED + b"X-A: " + b"a" * 70_000 + b"\r\n\r\n"),
    "101 that nobody asked for": Hostile(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    ),
    "interim answers without an end": Hostile(b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n" * 500),
    "a chunk that is none": Hostile(ACCEPTED + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\nzz\r\n", (502, 0)),
    "a chunk longer than its size": Hostile(
        ACCEPTED + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}}\r\n0\r\n\r\n", (502, 0)
    ),
    "a chunk beyond 64 bits": Hostile(
        ACCEPTED + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n10000000000000002\r\n", (502, 0)
    ),
    "more than its length": Hostile(ACCEPTED + b"Content-Length: 2\r\n\r\n{}", (200,), b"{}"),
    "more than its chunks": Hostile(
        ACCEPTED + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", (200,), b"{}"
    ),
    "204 with a body": Hostile(b"HTTP/1.1 204 No Content\r\n\r\n", (204,)),
    "304 with a body": Hostile(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 56\r\n\r\n", (304,)),
}  # fmt: skip
"""Row 20, from behind: an API, or whoever speaks in its place, that would answer for others."""


@pytest.mark.parametrize("case", HOSTILE.values(), ids=HOSTILE.keys())
def test_row_20_no_answer_is_taken_from_a_connection_in_doubt(edge: Edge, case: Hostile) -> None:
    edge.api.answers[USER] = case.data + FORGED_ANSWER
    try:
        heard = edge.play(get(), answers=1)
        first = edge.api.seen[0][0]
        others = [edge.play(get(f"/v1/jp/users/{number}"), answers=1) for number in range(5)]
    finally:
        edge.api.answers.clear()
    assert (heard.statuses or [0])[0] in case.statuses
    assert heard.is_cut is (heard.statuses == [])
    assert not heard.answers or heard.answers[0].body == case.body or heard.statuses != [200]
    assert [other.answers[0].body for other in others] == [f"GET /v1/jp/users/{n}".encode() for n in range(5)]
    assert first not in {number for number, _ in edge.api.seen}
