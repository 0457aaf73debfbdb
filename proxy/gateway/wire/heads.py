# SPDX-License-Identifier: Apache-2.0
"""Heads of requests and of answers: looked at once they are whole, and then read in one way or not at all.

Most clients say the same in every request but its first line. So the field lines of a request are read once, and who
sends the same bytes again gets the same value, from a cache that is bounded in number and bytes. The cache decides
nothing: reading is a pure function of the bytes.

Some fields are new in each request, such as the id of its trace (``VARYING``). Their lines are taken out of the block
before it is looked up, and read for themselves.
"""

import re
from typing import Final

import msgspec

from proxy.gateway.wire.grammar import (
    MAX_FIELDS,
    MAX_HEAD_BYTES,
    MAX_LINE_BYTES,
    TOKEN,
    read_fields,
    read_framing,
    take_headers,
    why_malformed,
)
from proxy.gateway.wire.recall import Recall
from proxy.model.decision import Reason
from proxy.model.request import VARYING, Headers

MAX_BLOCKS: Final = 8192
"""Blocks of field lines that are remembered."""
MAX_BLOCK_BYTES: Final = 4 * 1024
"""Of a block that is remembered. Longer ones are read anew each time."""
MAX_RECALL_BYTES: Final = 24 * 1024 * 1024
"""Of all of them, and of what was read from them."""
FIELD_BYTES: Final = 192
"""What a field that was read takes beside its line: most of it, where lines are short."""

_HEAD_END: Final = b"\r\n\r\n"
_BROKEN_END: Final = re.compile(rb"\n\r?\n")
"""An empty line of which one end or both are bare LF."""
_REQUEST_LINE: Final = re.compile(rf"({TOKEN}) ([!-~\x80-\xff]+) HTTP/1\.([01])\r\n".encode("latin-1"))
"""RFC 9112 3, with one SP where SP is, and the versions that are spoken."""
_FIRSTS: Final = "".join(sorted({letter for name in VARYING for letter in (name[0], name[0].upper())}))
_APART: Final = re.compile(rf"\n(?=[{_FIRSTS}])((?i:{'|'.join(sorted(VARYING))})):([\t -~]*)\r(?=\n)".encode())
"""A line of a field that is new in each request, in ASCII, with the LF before it. By their first letters most lines are
passed over."""
_OTHER_VERSION: Final = re.compile(rf"{TOKEN} [!-~\x80-\xff]+(?: HTTP/[0-9]\.[0-9])?\r\n".encode("latin-1"))
"""RFC 9112 2.3 ``HTTP-version``; without one it is a request of HTTP/0.9."""
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: [\t -~\x80-\xff]*)?\r\n")
"""RFC 9112 4. The blank before a reason phrase that is empty is left out by some servers."""
_METHODS: Final = {name.encode(): name for name in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")}

VERSION_1_0: Final = (1, 0)
VERSION_1_1: Final = (1, 1)


class RequestBlock(msgspec.Struct, frozen=True):
    """The field lines of a request."""

    headers: Headers
    """As received, without those of ``VARYING``. The same object for the same bytes, as long as they are remembered."""
    length: int | None
    """``Content-Length``; None where there is no such field."""
    is_chunked: bool
    closes: bool
    """``Connection: close``"""
    keeps: bool
    """``Connection: keep-alive``"""
    upgrade: str
    """What ``Upgrade`` names, in lower case, where ``Connection`` names ``upgrade``; else empty. A list of protocols
    is left one text, which no route declares."""


class RequestFrame(msgspec.Struct, frozen=True):
    """A request's head: the method and the target are only known to be one word each."""

    method: str
    target: str
    """Unchanged; a byte that is no UTF-8 is a lone surrogate."""
    version: tuple[int, int]
    block: RequestBlock
    is_persistent: bool
    """Whether the connection may carry another request behind this one (RFC 9112 9.3)."""
    varying: Headers = ()
    """The fields of ``VARYING``, as received."""

    @property
    def upgrade(self) -> str:
        """What the client wants to switch to; nothing in HTTP/1.0 (RFC 9110 7.8)."""
        return self.block.upgrade if self.version == VERSION_1_1 else ""


class ResponseFrame(msgspec.Struct, frozen=True):
    """The head of an answer."""

    status: int
    version: tuple[int, int]
    headers: Headers
    """As received; a byte that is no UTF-8 is a lone surrogate, and such a field goes no further."""
    length: int | None
    is_chunked: bool
    is_persistent: bool
    """Whether the connection may be used again once this answer is whole."""
    upgrade: str


def find_head_end(data: bytes, start: int = 0) -> int:
    """Return the index behind the empty line that ends a head, -1 while it is not there.

    A head that ends in bare LF ends, too: it can be refused at once, and is by whoever reads it.

    Args:
        data: from the first byte of the head.
        start: where to begin: what lies before was looked at but for its last three bytes.
    """
    end = data.find(_HEAD_END, start)
    if end >= 0:
        return end + len(_HEAD_END)
    broken = _BROKEN_END.search(data, start)
    return broken.end() if broken else -1


class RequestReader:
    """Reads heads of requests, for all connections of a process, and remembers blocks of field lines."""

    def __init__(self) -> None:
        self._blocks = Recall[RequestBlock](
            count=MAX_BLOCKS, key_bytes=MAX_BLOCK_BYTES, total_bytes=MAX_RECALL_BYTES, weigh=_weigh
        )

    def recall(self, data: bytes) -> RequestFrame | None:
        """Return the request where data is one whole head, and nothing more, whose field lines are remembered.

        Lines that are remembered hold no end of a head but their own. So where this says what the request is, there
        is nothing to be searched, and nothing behind the head.
        """
        if len(data) > MAX_BLOCK_BYTES or not data.endswith(_HEAD_END):
            return None
        match = _REQUEST_LINE.match(data)
        if match is None:
            return None
        raw = data[match.end() :]
        varying: Headers = ()
        block = self._blocks.young.get(raw)
        if block is None:
            raw, varying = _take_apart(data, match.end())
            block = self._blocks.young.get(raw) if varying else None
            if block is None or len(block.headers) + len(varying) > MAX_FIELDS:
                return None
        frame = _make_frame(match, block, varying)
        return None if isinstance(frame, Reason) else frame

    def read(self, head: bytes) -> RequestFrame | Reason:
        """Return the request, or the reason to refuse it and to close the connection.

        Args:
            head: from the request line to the empty line, both inclusive.
        """
        match = _REQUEST_LINE.match(head)
        if match is None:
            return _why_no_request(head)
        if match.end() > MAX_LINE_BYTES:
            return Reason.TARGET_TOO_LONG
        raw = head[match.end() :]
        varying: Headers = ()
        block = self._blocks.young.get(raw) or self._blocks.find(raw)
        if block is None:
            if len(head) > MAX_HEAD_BYTES:
                return Reason.HEAD_TOO_LARGE
            raw, varying = _take_apart(head, match.end())
            read = (self._blocks.find(raw) if varying else None) or _read_block(raw)
            if isinstance(read, Reason):
                return read
            if len(read.headers) + len(varying) > MAX_FIELDS:
                return Reason.HEAD_TOO_LARGE
            block = read
            self._blocks.keep(raw, block)
        return _make_frame(match, block, varying)


def _take_apart(data: bytes, start: int) -> tuple[bytes, Headers]:
    """Return a block without the lines that are new in each request, and what these say.

    What looks like one of them and is none stays in the block, for whoever reads that to refuse.

    Args:
        data: a head.
        start: where its block begins, behind the LF of the request line.
    """
    found = [*_APART.finditer(data, start - 1)]
    if not found or any(line.end() - line.start() > MAX_LINE_BYTES for line in found):
        return data[start:], ()
    parts, at = [], start - 1
    for line in found:
        parts.append(data[at : line.start()])
        at = line.end()
    parts.append(data[at:])
    return b"".join(parts)[1:], tuple([(line[1].decode(), line[2].strip(b" \t").decode()) for line in found])


def _make_frame(line: re.Match[bytes], block: RequestBlock, varying: Headers) -> RequestFrame | Reason:
    method, target, minor = line.groups()
    is_current = minor == b"1"
    if block.is_chunked and not is_current:
        return Reason.REQUEST_MALFORMED
    return RequestFrame(
        _METHODS.get(method) or method.decode(),
        target.decode("utf-8", "surrogateescape"),
        VERSION_1_1 if is_current else VERSION_1_0,
        block,
        not block.closes and (is_current or block.keeps),
        varying,
    )


def _weigh(block: RequestBlock) -> int:
    return len(block.headers) * FIELD_BYTES


def _read_block(raw: bytes) -> RequestBlock | Reason:
    fields = read_fields(raw)
    if fields is None:
        return why_malformed(raw)
    if not (raw.isascii() or _is_text(raw)):
        return Reason.HEADER_MALFORMED
    framing = read_framing(fields)
    if isinstance(framing, Reason):
        return framing
    return RequestBlock(
        take_headers(fields), framing.length, framing.is_chunked, framing.closes, framing.keeps, framing.upgrade
    )


def _is_text(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def _why_no_request(head: bytes) -> Reason:
    if _OTHER_VERSION.match(head):
        return Reason.VERSION_UNSUPPORTED
    end = head.find(b"\n")
    return Reason.TARGET_TOO_LONG if not 0 <= end < MAX_LINE_BYTES else Reason.REQUEST_MALFORMED


def read_response(head: bytes) -> ResponseFrame | None:
    """Return the answer, or None where nothing of it can be trusted: the connection must not be used again.

    Args:
        head: from the status line to the empty line, both inclusive.
    """
    match = _STATUS_LINE.match(head)
    if match is None or len(head) > MAX_HEAD_BYTES or match.end() > MAX_LINE_BYTES:
        return None
    fields = read_fields(head[match.end() :])
    framing = read_framing(fields) if fields is not None else Reason.UPSTREAM_BROKEN
    is_current = match[1] == b"1"
    if fields is None or isinstance(framing, Reason) or (framing.is_chunked and not is_current):
        return None
    status = int(match[2])
    is_sure = not (is_bodiless(status) and (framing.is_chunked or framing.length))
    return ResponseFrame(
        status,
        VERSION_1_1 if is_current else VERSION_1_0,
        take_headers(fields),
        framing.length,
        framing.is_chunked,
        is_sure and not framing.closes and (is_current or framing.keeps),
        framing.upgrade,
    )


def is_bodiless(status: int) -> bool:
    """Say whether an answer of this status has no body and must not say that it has (RFC 9112 6.1, RFC 9110 8.6)."""
    return status < 200 or status == 204
