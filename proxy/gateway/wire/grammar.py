# SPDX-License-Identifier: Apache-2.0
"""Field lines (RFC 9112 5) and the fields that frame a body or end a connection (RFC 9112 6, 9; RFC 9110 7.6.1, 7.8).

One grammar for both directions. What it takes and what it refuses is the table in ``strictness``.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Final

import msgspec

from proxy.gateway.wire.recall import Recall
from proxy.model.decision import Reason
from proxy.model.request import Headers

MAX_HEAD_BYTES: Final = 64 * 1024
"""Of a head with its start line and its end. nginx takes 32 KiB, Envoy 60 KiB, HAProxy 16 KiB by default."""
MAX_LINE_BYTES: Final = 16 * 1024
"""Of a request line or a field line, its end included: more than twice the longest target that is taken."""
MAX_FIELDS: Final = 100
"""Field lines of a head; HAProxy takes 101, Envoy and Apache 100."""

TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - RFC 9110 5.6.2 ``token``
_NAME: Final = re.compile(TOKEN.encode())
_LENGTH: Final = re.compile(rb"[0-9]{1,18}")
"""RFC 9110 8.6 ``1*DIGIT``, of a size that is no overflow in anybody's 64 bits."""
MAX_LENGTH: Final = 10**18 - 1
"""Bytes of a body, or of a chunk, that can be said at all."""
_PLAIN: Final = b"\t" + bytes(code for code in range(0x20, 0x100) if code != 0x7F)
"""RFC 9110 5.5 ``field-vchar``, blank and tab: what may stand between the ends of lines."""
_BLANK_IN_NAME: Final = re.compile(rb"[ \t]|[^:]*(?:[ \t]:|\r?$)")
"""What a line begins with that is folded (RFC 9112 5.2), has a blank before its colon (5.1) or has no colon."""


class Framing(msgspec.Struct, frozen=True):
    """What fields say of the body behind a head, and of the connection."""

    length: int | None = None
    """``Content-Length``; None where there is no such field."""
    is_chunked: bool = False
    closes: bool = False
    """``Connection: close``"""
    keeps: bool = False
    """``Connection: keep-alive``, which only HTTP/1.0 needs."""
    switches: bool = False
    """``Connection: upgrade``"""
    protocol: str = ""
    """What ``Upgrade`` names, in lower case. A list of protocols is left one text, which nobody declares."""

    @property
    def upgrade(self) -> str:
        """The protocol to switch to: ``Upgrade`` means nothing unless ``Connection`` names it (RFC 9110 7.8)."""
        return self.protocol if self.switches else ""


UNFRAMED: Final = Framing()


class FieldLine(msgspec.Struct, frozen=True):
    """A field line."""

    field: tuple[str, str]
    """Name as written and value without the blanks around it; a byte that is no UTF-8 is a lone surrogate."""
    framing: Framing | Reason | None
    """What it says of the body or the connection, or why that is in doubt; None where it speaks of neither."""


_LINES: Final = Recall[FieldLine](count=4096, key_bytes=256, total_bytes=512 * 1024)
"""Most lines of most heads are some that were seen before. Longer ones are tokens and cookies, read anew each time."""


def read_fields(block: bytes) -> Sequence[FieldLine] | None:
    """Read field lines; None where they break the grammar, or a limit.

    Args:
        block: the lines, and the empty line at their end.
    """
    lines = block.split(b"\n")
    if lines.pop() or not lines or lines.pop() != b"\r" or len(lines) > MAX_FIELDS:
        return None
    find = _LINES.young.get
    fields = []
    for line in lines:
        field = find(line) or _LINES.find(line) or _read_line(line)
        if field is None:
            return None
        fields.append(field)
    return fields


def _read_line(line: bytes) -> FieldLine | None:
    """Read what stands before a LF: only one CR, at its end, is anything but plain text."""
    raw_name, colon, raw_value = line.partition(b":")
    if not colon or not _NAME.fullmatch(raw_name) or line[-1:] != b"\r" or line.translate(None, _PLAIN) != b"\r":
        return None
    if len(line) >= MAX_LINE_BYTES:
        return None
    value = raw_value.strip(b" \t\r").decode("utf-8", "surrogateescape")
    # What frames is put in lower case as ASCII: in Unicode's, a Kelvin sign would be a ``k``. A tab is left beside it:
    # llhttp does not read ``chunked`` where a tab follows.
    framing = _READ_FRAMING.get(raw_name.lower())
    field = FieldLine((raw_name.decode(), value), framing and framing(raw_value.strip(b" \r").lower()))
    _LINES.keep(line, field)
    return field


def _read_length(value: bytes) -> Framing | Reason:
    return Framing(length=int(value)) if _LENGTH.fullmatch(value) else Reason.REQUEST_MALFORMED


def _read_coding(value: bytes) -> Framing | Reason:
    return Framing(is_chunked=True) if value == b"chunked" else Reason.TRANSFER_CODING_UNSUPPORTED


def _read_connection(value: bytes) -> Framing:
    options = {option.strip(b" \t") for option in value.split(b",")}
    return Framing(closes=b"close" in options, keeps=b"keep-alive" in options, switches=b"upgrade" in options)


def _read_upgrade(value: bytes) -> Framing:
    return Framing(protocol=value.strip(b"\t").decode("utf-8", "surrogateescape"))


_READ_FRAMING: Final[Mapping[bytes, Callable[[bytes], Framing | Reason]]] = {
    b"content-length": _read_length,
    b"transfer-encoding": _read_coding,
    b"connection": _read_connection,
    b"upgrade": _read_upgrade,
}


def take_headers(fields: Sequence[FieldLine]) -> Headers:
    """Return the fields as they were received."""
    return tuple([line.field for line in fields])


def why_malformed(block: bytes) -> Reason:
    """Return the reason to refuse a request whose field lines break the grammar, or a limit.

    One field is at fault where the lines themselves are beyond doubt, else the whole request is.
    """
    lines = block.split(b"\n")
    if len(lines) - 2 > MAX_FIELDS or max(map(len, lines)) >= MAX_LINE_BYTES:
        return Reason.HEAD_TOO_LARGE
    ends = block.count(b"\r\n")
    if block.count(b"\r") != ends or block.count(b"\n") != ends or b"\0" in block:
        return Reason.REQUEST_MALFORMED
    return Reason.REQUEST_MALFORMED if any(map(_BLANK_IN_NAME.match, lines[:-2])) else Reason.HEADER_MALFORMED


def read_framing(fields: Sequence[FieldLine]) -> Framing | Reason:
    """Return what frames the body, or the reason why that is in doubt."""
    found = [line.framing for line in fields if line.framing is not None]
    return reduce(_join, found) if found else UNFRAMED


def _join(one: Framing | Reason, other: Framing | Reason) -> Framing | Reason:
    if isinstance(one, Reason):
        return one
    if isinstance(other, Reason):
        return other
    if (one.length is not None or one.is_chunked) and (other.length is not None or other.is_chunked):
        return Reason.REQUEST_MALFORMED  # twice, even if they agree, or both at once
    return Framing(
        other.length if one.length is None else one.length,
        one.is_chunked or other.is_chunked,
        one.closes or other.closes,
        one.keeps or other.keeps,
        one.switches or other.switches,
        f"{one.protocol}, {other.protocol}" if one.protocol and other.protocol else one.protocol or other.protocol,
    )
