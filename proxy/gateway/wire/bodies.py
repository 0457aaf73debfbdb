# SPDX-License-Identifier: Apache-2.0
"""A body on its way in, in whatever pieces it arrives (RFC 9112 6 and 7).

Each kind is fed bytes and gives back payload, until it is done; what stood behind its end is then its ``rest``.
Nothing of the sender's framing survives: chunks, extensions and trailers are read by the grammar and dropped.
"""

import re
from typing import Final, NoReturn

from proxy.gateway.wire.grammar import MAX_LENGTH, TOKEN, read_fields
from proxy.gateway.wire.heads import RequestFrame, ResponseFrame, is_bodiless

MAX_CHUNK_LINE_BYTES: Final = 16 + 256 + 2
"""Of a line before a chunk: sixteen digits, extensions, its end."""
MAX_EXTENSION_BYTES: Final = 16 * 1024
"""Of all chunk extensions of one body, as Node.js has it since CVE-2024-22019."""
MAX_TRAILER_BYTES: Final = 8 * 1024
"""Of all trailer lines of one body."""

_CHUNK_LINE: Final = re.compile(rf"([0-9A-Fa-f]{{1,16}})((?:;{TOKEN}(?:={TOKEN})?)*)\r\n".encode())
"""RFC 9112 7.1 ``chunk-size [chunk-ext] CRLF``, without the blanks and the quoted strings that 7.1.1 allows."""
_END: Final = b"\r\n"


class FramingError(Exception):
    """A body breaks the grammar, or a limit of it. Nothing behind this can be told apart any more."""


class LengthBody:
    """A body of as many bytes as ``Content-Length`` says."""

    __slots__ = ("_left", "is_done", "rest")

    def __init__(self, length: int) -> None:
        self._left = length
        self.is_done = length == 0
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        """Return the payload in data; data itself where all of it is."""
        left = self._left - len(data)
        if left > 0:
            self._left = left
            return data
        self._left = 0
        self.is_done = True
        if left == 0:
            return data
        self.rest += data[left:]
        return data[:left]

    def finish(self) -> bool:
        """Say whether the body was whole when the peer closed."""
        return self.is_done


class UntilCloseBody:
    """A body that ends where the connection does: only an answer can have one."""

    __slots__ = ("is_done", "rest")

    def __init__(self) -> None:
        self.is_done = False
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        """Return the payload in data: all of it."""
        return data

    def finish(self) -> bool:
        """Take the close for the end: nothing tells whether it is one."""
        self.is_done = True
        return True


class ChunkedBody:
    """A body in chunks (RFC 9112 7.1).

    What is held back is never more than a line before a chunk, or the trailers, may be long.
    """

    __slots__ = ("_extension_bytes", "_held", "_is_broken", "_is_in_trailers", "_left", "is_done", "rest")

    def __init__(self) -> None:
        self._left = 0
        """Bytes of the chunk under way that are to come, the CRLF behind it included."""
        self._held = b""
        self._extension_bytes = 0
        self._is_in_trailers = False
        self._is_broken = False
        self.is_done = False
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        """Return the payload in data, of as many chunks as there are.

        Raises:
            FramingError: the grammar or a limit is broken, now or before. No payload is returned of data.
        """
        if self._is_broken:
            self._break()
        if self.is_done:
            self.rest += data
            return b""
        if self._left - len(_END) >= len(data):
            self._left -= len(data)
            return data
        if self._held:
            data, self._held = self._held + data, b""
        parts: list[bytes] = []
        at = 0
        while at >= 0:
            at = self._step(data, at, parts)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def finish(self) -> bool:
        """Say whether the body was whole when the peer closed."""
        return self.is_done

    def _step(self, data: bytes, at: int, parts: list[bytes]) -> int:
        """Read one thing and return where the next begins, -1 where data is used up or the body ends."""
        if self._is_in_trailers:
            return self._read_trailers(data, at)
        if self._left:
            return self._read_chunk(data, at, parts)
        return self._read_line(data, at, parts)

    def _read_line(self, data: bytes, at: int, parts: list[bytes]) -> int:
        match = _CHUNK_LINE.match(data, at, at + MAX_CHUNK_LINE_BYTES)
        if match is None:
            if len(data) - at >= MAX_CHUNK_LINE_BYTES or data.find(b"\n", at) >= 0:
                self._break()
            self._held = data[at:]
            return -1
        size = int(match[1], 16)
        self._extension_bytes += len(match[2])
        if size > MAX_LENGTH or self._extension_bytes > MAX_EXTENSION_BYTES:
            self._break()
        if size == 0:
            self._is_in_trailers = True
            return self._read_trailers(data, match.end())
        self._left = size + len(_END)
        return self._read_chunk(data, match.end(), parts)

    def _read_chunk(self, data: bytes, at: int, parts: list[bytes]) -> int:
        end = at + self._left - len(_END)
        if end > at:
            if at < len(data):
                parts.append(data[at:end])
            if end > len(data):
                self._left -= len(data) - at
                return -1
            self._left = len(_END)
        after = data[end : end + len(_END)]
        if after == _END:
            self._left = 0
            return end + len(_END)
        if not _END.startswith(after):
            self._break()
        self._held = after
        return -1

    def _read_trailers(self, data: bytes, at: int) -> int:
        if data.startswith(_END, at):
            end = at + len(_END)
        else:
            found = data.find(_END + _END, at)
            end = found + 2 * len(_END) if found >= 0 else -1
        if (len(data) if end < 0 else end) - at > MAX_TRAILER_BYTES:
            self._break()
        if end < 0:
            if data.count(b"\n", at) != data.count(_END, at):
                self._break()
            self._held = data[at:]
            return -1
        trailers = data[at:end]
        if read_fields(trailers) is None:
            self._break()
        self.is_done = True
        self.rest = data[end:]
        return -1

    def _break(self) -> NoReturn:
        self._is_broken = True
        self._held = b""
        raise FramingError("a chunked body breaks the grammar of RFC 9112 7.1, or a limit")


def request_body(frame: RequestFrame) -> LengthBody | ChunkedBody | None:
    """Return what reads a request's body; None where it has none."""
    if frame.block.is_chunked:
        return ChunkedBody()
    return LengthBody(frame.block.length) if frame.block.length else None


def response_body(frame: ResponseFrame, method: str) -> LengthBody | ChunkedBody | UntilCloseBody | None:
    """Return what reads an answer's body (RFC 9112 6.3); None where it has none.

    Args:
        frame: the head of the answer.
        method: of the request; never CONNECT, which no gateway passes on.
    """
    if method == "HEAD" or is_bodiless(frame.status) or frame.status == 304:
        return None
    if frame.is_chunked:
        return ChunkedBody()
    if frame.length is None:
        return UntilCloseBody()
    return LengthBody(frame.length) if frame.length else None
