# SPDX-License-Identifier: Apache-2.0
"""Serves one of the demo's services until the process is told to stop."""

import asyncio
import signal
import ssl

from aiohttp import web

from proxy.errors import UsageError
from proxy.settings import parse_endpoint


async def serve(app: web.Application, listen: str, tls: ssl.SSLContext | None = None) -> None:
    """Serve an application, say where, and return after SIGTERM or SIGINT.

    Args:
        app: the service.
        listen: host and port.
        tls: if it speaks TLS.

    Raises:
        UsageError: the address is none, or cannot be bound.
    """
    host, port = parse_endpoint(listen, "--listen")
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port, ssl_context=tls).start()
        except OSError as error:
            raise UsageError(f"The address {listen} cannot be bound: {error.strerror}. Name another.") from error
        bound = runner.addresses[0]
        print(f"serving on {'http' if tls is None else 'https'}://{bound[0]}:{bound[1]}", flush=True)  # noqa: T201 - for whoever started it
        await wait_for_signal()
    finally:
        await runner.cleanup()


async def wait_for_signal() -> None:
    """Wait for SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
