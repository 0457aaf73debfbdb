# SPDX-License-Identifier: Apache-2.0
"""The frame that every line of a ledger begins with: its number, the hash of the line before, and when it was written.

::

    {"n":17,"prev":"<base64 of the leaf hash of line 16>","time":"2026-11-22T06:04:01.123Z","line":"decision",...}

The order is fixed and there is no space, so that a verifier compares bytes and parses nothing. ``prev`` is the whole
hash, so that where one line was changed the next still says what it was.
"""

import base64
import re
from typing import Any, Final

import msgspec

from proxy.ledger.merkle import EMPTY_ROOT

TIME_LENGTH: Final = 24
"""Of RFC 3339 in UTC with milliseconds: instants of the same length sort as text."""
HASH_LENGTH: Final = 44
"""Of 32 bytes in base64 (RFC 4648 4)."""
FIRST_PREV: Final = base64.b64encode(EMPTY_ROOT)
"""``prev`` of the very first line: nothing stands before it."""

_FRAME: Final = re.compile(
    rb'\{"n":(0|[1-9][0-9]{0,18}),"prev":"([A-Za-z0-9+/]{43}=)","time":"'
    rb'([0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9]\.[0-9]{3}Z)","line":"([a-z-]{1,32})"[,}]'
)
_ENCODE: Final = msgspec.json.Encoder().encode
_ESCAPED: Final = {code: f"\\u{code:04x}" for code in (*range(0x7F, 0xA0), 0x2028, 0x2029)}
"""What JSON leaves as it is and readers of lines take for an end or a command (RFC 8259 7 escapes the rest)."""


class Frame(msgspec.Struct, frozen=True):
    """What the frame of a line says."""

    n: int
    prev: bytes
    """Base64, as it stands there."""
    time: bytes
    kind: str


class Rendered(msgspec.Struct, frozen=True, gc=False):
    """A line whose body is rendered already."""

    body: bytes
    """One JSON object, by ``encode``."""
    stranger: str = ""
    """Of a refusal of a caller that nobody knows: the address, or what is said in place of one that is not known."""
    reason: str = ""
    """Why it was refused."""


def encode(value: Any) -> bytes:
    """Render a value as JSON; no character that ends a line anywhere is left inside.

    Raises:
        TypeError, ValueError: it cannot be rendered.
    """
    data = _ENCODE(value)
    if data.isascii():
        return data if b"\x7f" not in data else data.replace(b"\x7f", b"\\u007f")
    return data.decode().translate(_ESCAPED).encode()


def encode_body(line: Any) -> bytes:
    """Return a line as one JSON object, without its frame.

    Raises:
        TypeError, ValueError: it cannot be rendered.
    """
    return line.body if type(line) is Rendered else encode(line)


def frame(n: int, prev: bytes, time: bytes, body: bytes) -> bytes:
    """Return a line, without its newline.

    Args:
        n: its number.
        prev: base64 of the leaf hash of the line before.
        time: when it is written.
        body: the JSON object that ``encode_body`` rendered.
    """
    return b'{"n":%d,"prev":"%b","time":"%b",%b' % (n, prev, time, body[1:])


def read_frame(line: bytes) -> Frame | None:
    """Return what the frame of a line says, None if it begins with none."""
    match = _FRAME.match(line)
    if match is None:
        return None
    n, prev, time, kind = match.groups()
    return Frame(int(n), prev, time, kind.decode())
