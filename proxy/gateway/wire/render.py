# SPDX-License-Identifier: Apache-2.0
"""Heads and chunks on their way out: made from values, and framed here alone.

``fields`` are complete field lines, each ended by CRLF, without any that frame a body or speak of the connection.
"""

from http import HTTPStatus
from typing import Final

LAST_CHUNK: Final = b"0\r\n\r\n"
"""Ends a body in chunks; no trailers."""
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_CHUNKED: Final = b"Transfer-Encoding: chunked\r\n"
_CLOSE: Final = b"Connection: close\r\n"
_KEEP_ALIVE: Final = b"Connection: keep-alive\r\n"
_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}
_STATUS_LINES: Final = {
    status: f"HTTP/1.1 {status} {_PHRASES.get(status, '')}\r\n".encode() for status in range(100, 600)
}
"""RFC 9112 4: the phrase may be empty, the blank before it may not be left out."""


def render_request(  # noqa: PLR0917 - called once a request, in this order
    method: str,
    target: str,
    fields: bytes,
    length: int | None,
    is_chunked: bool,  # noqa: FBT001 - beside the length, of which it is the other case
    upgrade: str = "",
) -> bytes:
    """Return the head of a request.

    Args:
        method: as received.
        target: in ASCII, as it was matched.
        fields: field lines.
        length: of the body; None where there is none or it is chunked.
        is_chunked: whether the body goes out in chunks.
        upgrade: the protocol to switch to; empty for none.
    """
    return b"%b%b%b\r\n" % (
        f"{method} {target} HTTP/1.1\r\n".encode("ascii"),
        fields,
        _frame(length, is_chunked, upgrade),
    )


def render_response(
    status: int,
    fields: bytes,
    length: int | None,
    is_chunked: bool,  # noqa: FBT001 - as above
    *,
    closes: bool,
    keeps: bool,
    upgrade: str = "",
) -> bytes:
    """Return the head of an answer.

    Args:
        status: from 100 to 599.
        fields: field lines.
        length: of the body, or of the one that a HEAD request did not ask for; None where there is none to be told.
        is_chunked: whether the body goes out in chunks.
        closes: whether the connection is closed behind this answer.
        keeps: whether to say that it is not: a client of HTTP/1.0 that asked for it has to be told.
        upgrade: the protocol that is switched to; empty for none.
    """
    connection = _CLOSE if closes else _KEEP_ALIVE if keeps else b""
    return b"%b%b%b%b\r\n" % (_STATUS_LINES[status], fields, _frame(length, is_chunked, upgrade), connection)


def _frame(length: int | None, is_chunked: bool, upgrade: str) -> bytes:  # noqa: FBT001 - as above
    if upgrade:
        return b"Connection: upgrade\r\nUpgrade: %b\r\n" % upgrade.encode("ascii")
    if is_chunked:
        return _CHUNKED
    return b"" if length is None else b"Content-Length: %d\r\n" % length


def render_chunk(data: bytes) -> bytes:
    """Return data as one chunk; nothing for nothing, because a chunk of no bytes is the last one."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""
