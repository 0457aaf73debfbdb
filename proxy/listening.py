# SPDX-License-Identifier: Apache-2.0
"""Addresses that others connect to: bound, served and told of. This module does I/O."""

import contextlib
import errno
import logging
import os
import socket
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from typing import Final

from aiohttp import web

from proxy import errors
from proxy.admin.jwks import make_jwks
from proxy.admin.serving import SHUTDOWN_SECONDS, Find, make_server
from proxy.assertion.held import HeldAssertionKeys
from proxy.settings import Settings, parse_endpoint

log = logging.getLogger("sekisho")


async def serve_jwks(stack: contextlib.AsyncExitStack, assertions: HeldAssertionKeys, settings: Settings) -> None:
    """Serve the public keys of assertions until the end of the stack, where that is asked for.

    Raises:
        UsageError: the address cannot be bound.
    """
    if settings.assertion_jwks_listen is not None:
        find = make_jwks(assertions.publish)
        at = await _serve(stack, find, settings.assertion_jwks_listen, "SEKISHO_ASSERTION_JWKS_LISTEN")
        log.info("public keys of assertions are served", extra={"path": at})


async def serve_admin(stack: contextlib.AsyncExitStack, admin: Find, settings: Settings) -> str:
    """Serve operators until the end of the stack, and return the address where.

    Raises:
        UsageError: the address cannot be bound.
    """
    return await _serve(stack, admin, settings.admin, "--admin")


async def _serve(stack: contextlib.AsyncExitStack, find: Find, endpoint: str, flag: str) -> str:
    host, port = parse_endpoint(endpoint, flag)
    server = make_server(find, is_local=is_loopback(host))
    runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=SHUTDOWN_SECONDS)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    with binding(endpoint, flag):
        await web.TCPSite(runner, host, port).start()
    return render_address(runner.addresses[0])


def is_loopback(host: str) -> bool:
    """Say whether only this machine reaches what listens there."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


@contextlib.contextmanager
def binding(endpoint: str, flag: str) -> Iterator[None]:
    """Say what an address that cannot be bound is, and which flag names it."""
    try:
        yield
    except (OSError, UnicodeError) as error:
        why = _tell_unbound(error)
        raise errors.UsageError(f"The address {endpoint} {why}: name another with {flag} HOST:PORT.") from error


def _tell_unbound(error: OSError | UnicodeError) -> str:
    if isinstance(error, UnicodeError):
        return "has a name that no host can have"
    if isinstance(error, socket.gaierror):
        return f"has a name that is not known here ({error.strerror})"
    why = os.strerror(error.errno or 0)
    return _UNBOUND.get(error.errno or 0, f"cannot be bound: {why}")


_UNBOUND: Final = {
    errno.EADDRINUSE: "is taken",
    errno.EADDRNOTAVAIL: "is none of this machine's (0.0.0.0 and [::] are all that it has)",
    errno.EACCES: "cannot be bound by this user, who may bind no port below 1024",
}


def render_address(bound: Sequence[object]) -> str:
    """Return what a socket is bound to, as one writes it."""
    host, port, *_ = bound
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
