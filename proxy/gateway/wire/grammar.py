# SPDX-License-Identifier: Apache-2.0
"""Field lines (RFC 9112 5) and the fields that frame a body or end a connection (RFC 9112 6, 9; RFC 9110 7.6.1, 7.8).

One grammar for both directions. What it takes and what it refuses is the table in ``strictness``.
"""

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from proxy.model.decision import Reason
from proxy.model.request import Headers

MAX_HEAD_BYTES: Final = 64 * 1024
"""Of a head with its start line and its end. nginx takes 32 KiB, Envoy 60 KiB, HAProxy 16 KiB by default."""
MAX_LINE_BYTES: Final = 16 * 1024
"""Of a request line or a field line, its end included: more than twice the longest target that is taken."""
MAX_FIELDS: Final = 100
"""Field lines of a head; HAProxy takes 101, Envoy and Apache 100."""

TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - RFC 9110 5.6.2 ``token``
_NAMES: Final = re.compile(rf"{TOKEN}(?::{TOKEN})*")
"""Field names, joined by the one character that stands behind each."""
_LENGTH: Final = re.compile(r"[0-9]{1,18}")
"""RFC 9110 8.6 ``1*DIGIT``, of a size that is no overflow in anybody's 64 bits."""
MAX_LENGTH: Final = 10**18 - 1
"""Bytes of a body, or of a chunk, that can be said at all."""
_PLAIN: Final = bytes(code for code in range(256) if code >= 0x20 and code != 0x7F) + b"\t"
"""RFC 9110 5.5 ``field-vchar``, blank and tab: what may stand between the ends of lines."""
_BLANK_IN_NAME: Final = re.compile(rb"[ \t]|[^:\r\n]*(?:[ \t]:|\r\n)")
"""What a line begins with that is folded (RFC 9112 5.2), has a blank before its colon (5.1) or has no colon."""

_FRAMING: Final = frozenset({"content-length", "transfer-encoding", "connection", "upgrade"})


class Framing(msgspec.Struct, frozen=True):
    """What a head says of the body behind it, and of the connection."""

    length: int | None = None
    """``Content-Length``; None where there is no such field."""
    is_chunked: bool = False
    closes: bool = False
    """``Connection: close``"""
    keeps: bool = False
    """``Connection: keep-alive``, which only HTTP/1.0 needs."""
    upgrade: str = ""
    """What ``Upgrade`` names, in lower case, where ``Connection`` names ``upgrade``; a list is left one text."""


UNFRAMED: Final = Framing()


class Fields(msgspec.Struct, frozen=True):
    """A block of field lines."""

    headers: Headers
    names: Sequence[str]
    """Of ``headers``, in lower case, in their order."""


NO_FIELDS: Final = Fields((), ())


def read_fields(block: bytes, undecodable: str) -> Fields | None:
    """Read field lines; None where they break the grammar.

    Args:
        block: the lines, and the empty line at their end.
        undecodable: what becomes of bytes that are no UTF-8: an error handler of ``bytes.decode``.
    """
    try:
        lines = block.decode("utf-8", undecodable).split("\r\n")
    except UnicodeDecodeError:
        return None
    del lines[-2:]
    # Nothing but plain text between two ends: as many CR, LF and other controls as CRLFs were found.
    if len(block.translate(None, _PLAIN)) != 2 * (len(lines) + 1):
        return None
    headers = []
    names = []
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            return None
        names.append(name)
        headers.append((name, value.strip(" \t")))
    if not headers:
        return NO_FIELDS
    joined = ":".join(names)
    if not _NAMES.fullmatch(joined):
        return None
    return Fields(tuple(headers), joined.lower().split(":"))


def why_malformed(block: bytes) -> Reason:
    """Return the reason to refuse a request whose field lines break the grammar.

    One field is at fault where the lines themselves are beyond doubt, else the whole request is.
    """
    ends = block.count(b"\r\n")
    if block.count(b"\r") != ends or block.count(b"\n") != ends or b"\0" in block:
        return Reason.REQUEST_MALFORMED
    lines = block.removesuffix(b"\r\n").splitlines(keepends=True)
    return Reason.REQUEST_MALFORMED if any(map(_BLANK_IN_NAME.match, lines)) else Reason.HEADER_MALFORMED


def is_too_large(block: bytes) -> bool:
    """Say whether there are more field lines, or longer ones, than are read."""
    if block.count(b"\n") > MAX_FIELDS + 1:
        return True
    return len(block) > MAX_LINE_BYTES and max(map(len, block.split(b"\n"))) >= MAX_LINE_BYTES


def read_framing(fields: Fields) -> Framing | Reason:
    """Return what frames the body, or the reason why that is in doubt."""
    present = _FRAMING.intersection(fields.names)
    if not present:
        return UNFRAMED
    length = None
    is_chunked = False
    if "transfer-encoding" in present:
        codings = _values(fields, "transfer-encoding")
        if len(codings) > 1 or "content-length" in present:
            return Reason.REQUEST_MALFORMED
        if codings[0].lower() != "chunked":
            return Reason.TRANSFER_CODING_UNSUPPORTED
        is_chunked = True
    elif "content-length" in present:
        lengths = _values(fields, "content-length")
        if len(lengths) > 1 or not _LENGTH.fullmatch(lengths[0]):
            return Reason.REQUEST_MALFORMED
        length = int(lengths[0])
    if "connection" not in present:
        return Framing(length, is_chunked)
    options = {o.strip(" \t").lower() for value in _values(fields, "connection") for o in value.split(",")}
    upgrade = ", ".join(_values(fields, "upgrade")).lower() if "upgrade" in options else ""
    return Framing(length, is_chunked, "close" in options, "keep-alive" in options, upgrade)


def _values(fields: Fields, name: str) -> list[str]:
    return [value for found, (_, value) in zip(fields.names, fields.headers, strict=True) if found == name]
