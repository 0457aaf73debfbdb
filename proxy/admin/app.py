# SPDX-License-Identifier: Apache-2.0
"""``/livez``, ``/readyz`` and ``/metrics``: read-only, without anything personal."""

from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from proxy.model.readiness import Readiness

_ENCODE: Final = msgspec.json.Encoder().encode


async def _look() -> None:
    """Look at nothing: what is told is at hand."""


def make_admin(
    metrics: Callable[[], Collector],
    readiness: Callable[[], Readiness],
    look: Callable[[], Awaitable[None]] = _look,
) -> web.Application:
    """Return the admin application.

    Args:
        metrics: returns what is shown.
        readiness: returns whether requests can be decided.
        look: is awaited before either is asked for.
    """

    async def livez(_request: web.Request) -> web.Response:
        return web.json_response({"alive": True})

    async def readyz(_request: web.Request) -> web.Response:
        await look()
        state = readiness()
        return web.Response(status=200 if state.ready else 503, body=_ENCODE(state), content_type="application/json")

    async def expose(_request: web.Request) -> web.Response:
        await look()
        return web.Response(body=generate_latest(metrics()), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def sign(_request: web.Request, response: web.StreamResponse) -> None:
        response.headers["Server"] = "sekisho"

    app = web.Application()
    app.on_response_prepare.append(sign)
    app.add_routes([web.get("/livez", livez), web.get("/readyz", readyz), web.get("/metrics", expose)])
    return app
