# SPDX-License-Identifier: Apache-2.0
"""The PROXY protocol, versions 1 and 2, as HAProxy's ``proxy-protocol.txt`` (2020/03/05) describes it.

The reader is handed what has arrived so far, one byte or many, and says: more is needed, here is what it says, or this
is no PROXY header. It never looks beyond the header, and never keeps more than the longest header that it takes.

- What the header says is a text: the source's address, ``LOCAL`` for a connection of the proxy's own (a health check),
  or nothing where the proxy does not know (``UNKNOWN``, ``AF_UNSPEC``, a Unix socket, a datagram).
- Addresses are read as each version writes them, and nothing is repaired: a leading zero, a zone, a port too large, an
  address of the other family, or a byte too few is no PROXY header.
- What follows the addresses in version 2 (TLVs, section 2.2.1) is passed over by its length, the checksum among it:
  none of it is needed, and so none of it is read.
"""

import enum
import re
from ipaddress import IPv4Address, IPv6Address
from typing import Final, TypeAlias

import msgspec

from proxy.model.origin import LOCAL

V1_PREFIX: Final = b"PROXY "
V1_MAX: Final = 107
"""Bytes of the longest line, its end included (section 2.1)."""
V2_SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
V2_HEAD: Final = 16
V2_MAX: Final = 4096
"""Bytes of addresses and TLVs that are taken: a certificate's subject and a cloud's identifiers fit many times."""

_COMMAND_LOCAL: Final = 0x20
_COMMAND_PROXY: Final = 0x21
_LENGTHS: Final = {0x00: 0, 0x11: 12, 0x12: 12, 0x21: 36, 0x22: 36, 0x31: 216, 0x32: 216}
"""Bytes of the addresses, by family and transport (section 2.2)."""
_TCP4: Final = 0x11
_TCP6: Final = 0x21
_LINE: Final = re.compile(
    rb"PROXY (TCP4|TCP6) ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+) (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4})"
)
_UNKNOWN_LINE: Final = re.compile(rb"PROXY UNKNOWN(?: [ -~]*)?")
_MAX_PORT: Final = 65535


class Outcome(enum.Enum):
    """What bytes are that are no whole header."""

    NEED_MORE = "need more"
    MALFORMED = "malformed"


class Header(msgspec.Struct, frozen=True):
    """A header that has arrived."""

    source: str
    """The source's address, ``LOCAL``, or empty where it is not known."""
    length: int
    """Bytes of the header; what follows belongs to the connection itself."""


Parsed: TypeAlias = Header | Outcome


def parse_header(data: bytes) -> Parsed:
    """Read the PROXY header at the beginning of a connection.

    Args:
        data: everything that has arrived so far.
    """
    if data.startswith(V2_SIGNATURE):
        return _parse_binary(data)
    if data.startswith(V1_PREFIX):
        return _parse_line(data)
    is_begun = V2_SIGNATURE.startswith(data) or V1_PREFIX.startswith(data)
    return Outcome.NEED_MORE if is_begun else Outcome.MALFORMED


def _parse_line(data: bytes) -> Parsed:
    end = data.find(b"\r\n", 0, V1_MAX)
    if end < 0:
        is_open = len(data) < V1_MAX and b"\n" not in data and b"\r" not in data[:-1]
        return Outcome.NEED_MORE if is_open else Outcome.MALFORMED
    line = data[:end]
    if _UNKNOWN_LINE.fullmatch(line):
        return Header("", end + 2)
    match = _LINE.fullmatch(line)
    if match is None or max(int(match[4]), int(match[5])) > _MAX_PORT:
        return Outcome.MALFORMED
    family: type[IPv4Address | IPv6Address] = IPv4Address if match[1] == b"TCP4" else IPv6Address
    try:
        source, _ = family(match[2].decode()), family(match[3].decode())
    except ValueError:
        return Outcome.MALFORMED
    return Header(str(source), end + 2)


def _parse_binary(data: bytes) -> Parsed:
    head = data[len(V2_SIGNATURE) : V2_HEAD]
    if not _may_be(head):
        return Outcome.MALFORMED
    if len(data) < V2_HEAD:
        return Outcome.NEED_MORE
    command, kind, length = head[0], head[1], int.from_bytes(head[2:], "big")
    needed = _LENGTHS[kind] if command == _COMMAND_PROXY else 0
    if not needed <= length <= V2_MAX:
        return Outcome.MALFORMED
    if len(data) < V2_HEAD + length:
        return Outcome.NEED_MORE
    if command == _COMMAND_LOCAL:
        return Header(LOCAL, V2_HEAD + length)
    return Header(_read_source(kind, data[V2_HEAD : V2_HEAD + needed]), V2_HEAD + length)


def _may_be(head: bytes) -> bool:
    """Whether what has arrived of version and command, family and transport is known; nothing else may be sent."""
    if head and head[0] not in {_COMMAND_LOCAL, _COMMAND_PROXY}:
        return False
    return len(head) < 2 or head[0] == _COMMAND_LOCAL or head[1] in _LENGTHS


def _read_source(kind: int, addresses: bytes) -> str:
    if kind == _TCP4:
        return str(IPv4Address(addresses[:4]))
    return str(IPv6Address(addresses[:16])) if kind == _TCP6 else ""
