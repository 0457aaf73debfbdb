# SPDX-License-Identifier: Apache-2.0
"""How a connection to an API is made: its addresses, each of them tried, over TCP or a Unix socket, and TLS on top."""

import asyncio
import enum
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit  # noqa: TID251 - an upstream's address, no request target

import msgspec

from proxy.clock import elapsed_seconds
from proxy.errors import UsageError
from proxy.gateway.upstream.tls import UpstreamTls

UNIX: Final = "unix:"
_PORTS: Final = {"http": 80, "https": 443}
_Address: TypeAlias = tuple[socket.AddressFamily, Any]


class Place(msgspec.Struct, frozen=True):
    """Where an API listens."""

    host: str
    port: int
    path: str = ""
    """Of a Unix socket; empty for TCP."""
    is_secure: bool = False
    """Whether it speaks TLS."""


class Cause(enum.StrEnum):
    """At which step connecting failed."""

    RESOLVE = "resolve"
    """Its name has no address."""
    CONNECT = "connect"
    TLS = "tls"
    """The handshake: among others, the certificate is not of whom is asked for."""
    TIMEOUT = "timeout"


class Fault(msgspec.Struct, frozen=True):
    """Why there is no connection."""

    cause: Cause
    text: str
    """For the operator's log."""


def parse_place(url: str) -> Place:
    """Return where a declared upstream is. The URL has been checked as the bundle was loaded."""
    if url.startswith(UNIX):
        return Place("localhost", 0, url.removeprefix(UNIX))
    parts = urlsplit(url)
    return Place(parts.hostname or "", parts.port or _PORTS[parts.scheme], is_secure=parts.scheme == "https")


async def dial(place: Place, tls: UpstreamTls, make: Callable[[], asyncio.Protocol], seconds: float) -> Fault | None:
    """Connect, and return why that failed if it did; the protocol hears of a connection that was made.

    Names are resolved each time, so that an API that moves is found. Each address gets its share of the time left: one
    that does not answer does not use up what the others need.

    Args:
        place: where the API listens.
        tls: what makes its end of the connection believed.
        make: makes the protocol.
        seconds: how long all of it may take.
    """
    ends_at = elapsed_seconds() + seconds
    try:
        context = await tls.read_context() if place.is_secure else None
        async with asyncio.timeout(seconds):
            addresses = await _find_addresses(place)
    except UsageError as error:
        return Fault(Cause.TLS, str(error))
    except TimeoutError:
        return Fault(Cause.TIMEOUT, "its name was not resolved in time")
    except (OSError, UnicodeError) as error:
        return Fault(Cause.RESOLVE, _tell(error))
    fault: Fault | None = Fault(Cause.RESOLVE, "its name has no address")
    for index, address in enumerate(addresses):
        share = max(0.0, ends_at - elapsed_seconds()) / (len(addresses) - index)
        fault = await _try(address, context, tls.server_name or place.host, make, share)
        if fault is None:
            break
    return fault


async def _find_addresses(place: Place) -> list[_Address]:
    if place.path:
        return [(socket.AF_UNIX, place.path)]
    found = await asyncio.get_running_loop().getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys((socket.AddressFamily(family), address) for family, _, _, _, address in found))


async def _try(
    address: _Address, context: ssl.SSLContext | None, name: str, make: Callable[[], asyncio.Protocol], seconds: float
) -> Fault | None:
    step = Cause.CONNECT
    try:
        async with asyncio.timeout(seconds):
            connected = await _connect(address)
            step = Cause.TLS if context is not None else step
            await _speak(connected, context, name, make, seconds)
    except TimeoutError:
        return Fault(Cause.TIMEOUT, f"no connection within {seconds:.3g} seconds")
    except (OSError, ssl.SSLError) as error:
        return Fault(step, _tell(error))
    return None


async def _connect(address: _Address) -> socket.socket:
    family, place = address
    connecting = socket.socket(family, socket.SOCK_STREAM)
    try:
        connecting.setblocking(False)  # noqa: FBT003 - the standard library's own
        if family != socket.AF_UNIX:
            connecting.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(connecting, place)
    except BaseException:
        connecting.close()
        raise
    return connecting


async def _speak(
    connected: socket.socket,
    context: ssl.SSLContext | None,
    name: str,
    make: Callable[[], asyncio.Protocol],
    seconds: float,
) -> None:
    """Hand a socket to the loop, which closes it whatever comes."""
    loop = asyncio.get_running_loop()
    if connected.family == socket.AF_UNIX:
        await loop.create_unix_connection(make, sock=connected)
    elif context is None:
        await loop.create_connection(make, sock=connected)
    else:
        await loop.create_connection(
            make, sock=connected, ssl=context, server_hostname=name, ssl_handshake_timeout=max(seconds, _LEAST_SECONDS)
        )


_LEAST_SECONDS: Final = 0.001
"""The loop takes no time of zero; what ends the attempt is the one around it."""


def _tell(error: Exception) -> str:
    """Return what an error says of itself, without our own addresses."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not taken: {error.verify_message}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__
