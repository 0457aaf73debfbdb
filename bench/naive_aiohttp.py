# SPDX-License-Identifier: Apache-2.0
"""A naive gateway, for comparison only: aiohttp server and client, RS256 on every request, nothing else.

It buffers bodies, trusts what it is sent and logs nothing. Never put it in front of anything.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

import jwt
from aiohttp import ClientSession, TCPConnector, web
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from bench.identity import AUDIENCE, ISSUER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KEY: Final = web.AppKey("key", rsa.RSAPublicKey)
UPSTREAM: Final = web.AppKey("upstream", str)
SESSION: Final = web.AppKey("session", ClientSession)
NOT_FORWARDED: Final = frozenset({"host", "authorization", "connection", "content-length", "transfer-encoding"})


async def open_session(app: web.Application) -> AsyncIterator[None]:
    """Keep one client session for the life of the server."""
    async with ClientSession(connector=TCPConnector(limit=0), auto_decompress=False) as session:
        app[SESSION] = session
        yield


def verify(request: web.Request) -> None:
    """Refuse a request whose token is not good."""
    token = request.headers.get("Authorization", "").removeprefix("Bearer ")
    try:
        jwt.decode(token, request.app[KEY], algorithms=["RS256"], audience=AUDIENCE, issuer=ISSUER)
    except jwt.InvalidTokenError as error:
        raise web.HTTPUnauthorized(headers={"WWW-Authenticate": "Bearer"}) from error


async def forward(request: web.Request) -> web.Response:
    """Verify, pass the request on, and pass the answer back."""
    verify(request)
    kept = {name: value for name, value in request.headers.items() if name.lower() not in NOT_FORWARDED}
    url = request.app[UPSTREAM] + request.path_qs
    session = request.app[SESSION]
    async with session.request(request.method, url, headers=kept, data=await request.read()) as answer:
        body = await answer.read()
        return web.Response(status=answer.status, body=body, content_type=answer.content_type)


def load_key(path: Path) -> rsa.RSAPublicKey:
    """Read the public key once: parsing it for each request would cost as much as the check itself."""
    key = load_pem_public_key(path.read_bytes())
    if not isinstance(key, rsa.RSAPublicKey):
        raise TypeError(f"{path} holds no RSA key")
    return key


def build_app(key: rsa.RSAPublicKey, upstream: str) -> web.Application:
    """Return the application."""
    app = web.Application()
    app[KEY] = key
    app[UPSTREAM] = upstream
    app.cleanup_ctx.append(open_session)
    app.router.add_route("*", "/{path:.*}", forward)
    return app


def main() -> None:
    """Serve on loopback until told to stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream-port", type=int, required=True)
    parser.add_argument("--key", type=Path, required=True, help="public key, PEM")
    options = parser.parse_args()
    app = build_app(load_key(options.key), f"http://127.0.0.1:{options.upstream_port}")
    web.run_app(app, host="127.0.0.1", port=options.port, access_log=None, print=None)


if __name__ == "__main__":
    main()
