# SPDX-License-Identifier: Apache-2.0
"""``/livez``, ``/readyz`` and ``/metrics``: read-only, without anything personal."""

from collections.abc import Callable
from typing import Final

import msgspec
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from proxy.model.readiness import Readiness
from proxy.telemetry import Metrics

_ENCODE: Final = msgspec.json.Encoder().encode


def make_admin(metrics: Metrics, readiness: Callable[[], Readiness]) -> web.Application:
    """Return the admin application."""

    async def livez(_request: web.Request) -> web.Response:
        return web.json_response({"alive": True})

    async def readyz(_request: web.Request) -> web.Response:
        state = readiness()
        return web.Response(status=200 if state.ready else 503, body=_ENCODE(state), content_type="application/json")

    async def expose(_request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def sign(_request: web.Request, response: web.StreamResponse) -> None:
        response.headers["Server"] = "sekisho"

    app = web.Application()
    app.on_response_prepare.append(sign)
    app.add_routes([web.get("/livez", livez), web.get("/readyz", readyz), web.get("/metrics", expose)])
    return app
