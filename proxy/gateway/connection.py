# SPDX-License-Identifier: Apache-2.0
"""What a connection itself says of whoever is at its other end, and how it is cut."""

import asyncio
import contextlib
import socket
import struct
from typing import Final

from aiohttp.web_protocol import RequestHandler

_RESET: Final = struct.pack("ii", 1, 0)
"""``SO_LINGER`` with no time: closing resets the connection, which no client takes for the end of an answer."""


class Connection(RequestHandler):
    """One connection of a caller."""

    __slots__ = ("certificate", "proxied")

    certificate: bytes | None
    """What the peer has shown in the handshake, in DER: it is the same for every request of the connection."""
    proxied: tuple[str, ...]
    """What the PROXY header of a trusted proxy said."""


def peer_ip(transport: asyncio.Transport | None) -> str:
    """Return the address at the other end, empty where there is none any more."""
    peer = transport.get_extra_info("peername") if transport is not None else None
    return str(peer[0]) if isinstance(peer, tuple) else ""


def read_shown(protocol: RequestHandler | None) -> tuple[bytes | None, tuple[str, ...]]:
    """Return what a connection itself says: the certificate of its handshake, and its PROXY header."""
    return (protocol.certificate, protocol.proxied) if isinstance(protocol, Connection) else (None, ())


def abort(transport: asyncio.Transport | None) -> None:
    """Reset a connection: an answer that is delimited by its end must not seem to have ended."""
    if transport is None:
        return
    connection = transport.get_extra_info("socket")
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    transport.abort()
