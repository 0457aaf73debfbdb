# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 as the far ends of a gateway read it: strictly, straight down the page, and every byte kept.

It shares nothing with what it judges. What is not exactly of the grammar (RFC 9112) fails the reader: a gateway that
writes anew whatever it passes on writes nothing else.
"""

import asyncio
import re
from typing import Final

import msgspec

HEAD_END: Final = b"\r\n\r\n"
_TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST_LINE: Final = re.compile(rb"(%s) ([!-~]+) HTTP/1\.1" % _TOKEN)
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9]) [ -~]*")
_FIELD: Final = re.compile(rb"(%s): ?((?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?)" % _TOKEN)
_LENGTH: Final = re.compile(rb"[0-9]{1,18}")
_CHUNK_SIZE: Final = re.compile(rb"[0-9A-Fa-f]{1,15}")
STREAM_LIMIT: Final = 1 << 20
"""What a stream may hold for these readers."""

Fields = tuple[tuple[str, str], ...]


class MalformedError(Exception):
    """The other end has written something that is no message."""


class Message(msgspec.Struct, frozen=True):
    """A whole request or answer."""

    start: tuple[bytes, ...]
    """Method and target, or the status."""
    fields: Fields
    """Names in lower case, in the order received."""
    body: bytes
    """Without its framing."""
    raw: bytes
    """Every byte of it."""

    @property
    def method(self) -> str:
        return self.start[0].decode()

    @property
    def target(self) -> str:
        return self.start[1].decode()

    @property
    def status(self) -> int:
        return int(self.start[0])

    def values(self, name: str) -> list[str]:
        return [value for other, value in self.fields if other == name]


async def read_request(reader: asyncio.StreamReader) -> Message:
    """Read a request to its end.

    Raises:
        MalformedError: it is none.
        asyncio.IncompleteReadError: the other end has closed.
    """
    head, start, fields = await _read_head(reader, _REQUEST_LINE)
    raw, body = await _read_body(reader, fields, b"0")
    return Message(start, fields, body, head + raw)


async def read_answer(reader: asyncio.StreamReader, method: str = "GET") -> Message:
    """Read an answer, an interim one as well, to its end; errors as of ``read_request``."""
    head, start, fields = await _read_head(reader, _STATUS_LINE)
    if method == "HEAD" or start[0] in {b"204", b"304"} or start[0].startswith(b"1"):
        return Message(start, fields, b"", head)
    raw, body = await _read_body(reader, fields, None)
    return Message(start, fields, body, head + raw)


async def _read_head(reader: asyncio.StreamReader, line: re.Pattern[bytes]) -> tuple[bytes, tuple[bytes, ...], Fields]:
    head = await reader.readuntil(HEAD_END)
    first, *lines = head.removesuffix(HEAD_END).split(b"\r\n")
    start, fields = line.fullmatch(first), [_FIELD.fullmatch(each) for each in lines]
    if start is None or None in fields:
        raise MalformedError(repr(head))
    found = (field.groups() for field in fields if field is not None)
    return head, start.groups(), tuple((name.decode().lower(), value.decode()) for name, value in found)


async def _read_body(reader: asyncio.StreamReader, fields: Fields, missing: bytes | None) -> tuple[bytes, bytes]:
    lengths = [value.encode() for name, value in fields if name == "content-length"]
    codings = [value for name, value in fields if name == "transfer-encoding"]
    if len(lengths) + len(codings) > 1 or codings not in ([], ["chunked"]):
        raise MalformedError(repr(fields))
    if codings:
        return await _read_chunks(reader)
    if not lengths and missing is None:
        body = await reader.read(-1)
        return body, body
    length = lengths[0] if lengths else b"0"
    if not _LENGTH.fullmatch(length):
        raise MalformedError(repr(fields))
    body = await reader.readexactly(int(length))
    return body, body


async def _read_chunks(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    raw, body = b"", b""
    while True:
        line = await reader.readuntil(b"\r\n")
        if not _CHUNK_SIZE.fullmatch(line[:-2]):
            raise MalformedError(repr(line))
        size = int(line, 16)
        data = await reader.readexactly(size + 2)
        raw, body = raw + line + data, body + data[:-2]
        if not data.endswith(b"\r\n"):
            raise MalformedError(repr(data))
        if size == 0:
            return raw, body
