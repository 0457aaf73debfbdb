# SPDX-License-Identifier: Apache-2.0
"""How a connection to an API is made: its addresses, each of them tried, over TCP or a Unix socket, and TLS on top."""

import asyncio
import enum
import os
import socket
import ssl
from collections.abc import Callable
from typing import Final, TypeAlias
from urllib.parse import urlsplit  # noqa: TID251 - an upstream's address, no request target

import msgspec

from proxy.clock import elapsed_seconds
from proxy.errors import UsageError
from proxy.gateway.upstream.tls import UpstreamTls

UNIX: Final = "unix:"
_PORTS: Final = {"http": 80, "https": 443}
_Address: TypeAlias = tuple[str, int | None]


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
    """Return what can be connected to: paths of Unix sockets, or hosts as numbers with their ports."""
    if place.path:
        return [(place.path, None)]
    found = await asyncio.get_running_loop().getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys((str(address[0]), int(address[1])) for *_, address in found))


async def _try(
    address: _Address, context: ssl.SSLContext | None, name: str, make: Callable[[], asyncio.Protocol], seconds: float
) -> Fault | None:
    loop = asyncio.get_running_loop()
    host, port = address
    try:
        async with asyncio.timeout(seconds):
            if port is None:
                await loop.create_unix_connection(make, host)
            else:  # the loop sets TCP_NODELAY
                server_name = name if context is not None else None
                await loop.create_connection(make, host, port, ssl=context, server_hostname=server_name)
    except TimeoutError:
        return Fault(Cause.TIMEOUT, f"no connection within {seconds:.3g} seconds")
    except ssl.SSLError as error:
        return Fault(Cause.TLS, _tell(error))
    except OSError as error:
        return Fault(Cause.CONNECT, _tell(error))
    return None


def _tell(error: Exception) -> str:
    """Return what an error says, without the addresses that some loops add."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not taken: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {(error.reason or 'no reason given').lower().replace('_', ' ')}"
    if isinstance(error, socket.gaierror):
        return str(error.strerror)
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return type(error).__name__
