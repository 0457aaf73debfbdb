# SPDX-License-Identifier: Apache-2.0
"""``/.well-known/jwks.json``: the public keys of assertions, for those who verify. Nothing else is served here."""

from collections.abc import Callable
from typing import Final

from aiohttp import web

PLACE: Final = "/.well-known/jwks.json"
MAX_AGE_SECONDS: Final = 300
"""How long it may be kept: far shorter than the time from the adding of a key to its first signature."""


def make_jwks(publish: Callable[[], bytes]) -> web.Application:
    """Return the application.

    Args:
        publish: returns the JWK Set as it is now.
    """
    headers = {"Cache-Control": f"public, max-age={MAX_AGE_SECONDS}", "X-Content-Type-Options": "nosniff"}

    async def keys(_request: web.Request) -> web.Response:
        return web.Response(body=publish(), content_type="application/jwk-set+json", headers=headers)

    async def sign(_request: web.Request, response: web.StreamResponse) -> None:
        response.headers["Server"] = "sekisho"

    app = web.Application()
    app.on_response_prepare.append(sign)
    app.add_routes([web.get(PLACE, keys)])
    return app
