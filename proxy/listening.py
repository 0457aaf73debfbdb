# SPDX-License-Identifier: Apache-2.0
"""Addresses that others connect to: bound, served and told of. This module does I/O."""

import contextlib
import errno
import logging
import os
from collections.abc import Iterator, Sequence

from aiohttp import web

from proxy import errors
from proxy.admin.jwks import make_jwks
from proxy.assertion.held import HeldAssertionKeys
from proxy.settings import Settings, parse_endpoint

log = logging.getLogger("sekisho")


async def serve_jwks(stack: contextlib.AsyncExitStack, assertions: HeldAssertionKeys, settings: Settings) -> None:
    """Serve the public keys of assertions until the end of the stack, where that is asked for.

    Raises:
        UsageError: the address cannot be bound.
    """
    if settings.assertion_jwks_listen is not None:
        runner = web.AppRunner(make_jwks(assertions.publish), access_log=None, handle_signals=False)
        at = await _serve_app(stack, runner, settings.assertion_jwks_listen, "assertion_jwks_listen")
        log.info("public keys of assertions are served", extra={"path": at})


async def serve_admin(stack: contextlib.AsyncExitStack, admin: web.Application, settings: Settings) -> str:
    """Serve operators until the end of the stack, and return the address where.

    Raises:
        UsageError: the address cannot be bound.
    """
    runner = web.AppRunner(admin, access_log=None, handle_signals=False)
    return await _serve_app(stack, runner, settings.admin, "--admin")


async def _serve_app(stack: contextlib.AsyncExitStack, runner: web.AppRunner, endpoint: str, flag: str) -> str:
    host, port = parse_endpoint(endpoint, flag)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    with binding(endpoint, flag):
        await web.TCPSite(runner, host, port).start()
    return render_address(runner.addresses[0])


@contextlib.contextmanager
def binding(endpoint: str, flag: str) -> Iterator[None]:
    """Say what an address that cannot be bound is, and which flag names it."""
    try:
        yield
    except OSError as error:
        why = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be bound: {os.strerror(error.errno or 0)}"
        raise errors.UsageError(f"The address {endpoint} {why}: name another with {flag} HOST:PORT.") from error


def render_address(bound: Sequence[object]) -> str:
    """Return what a socket is bound to, as one writes it."""
    host, port, *_ = bound
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
