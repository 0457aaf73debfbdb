# SPDX-License-Identifier: Apache-2.0
"""An identity provider for the demo and the tests: real keys, real tokens, a JWKS over HTTP.

It can also do what a bad one does: sign with a key it does not publish, or say what it may not.
"""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms

from proxy.clock import unix_seconds
from proxy.demo.story import Person

LIFETIME_SECONDS: Final = 3600
NOBODY: Final[Mapping[str, Person]] = MappingProxyType({})


class Issuer:
    """One issuer of tokens.

    Args:
        issuer: its ``iss``.
        algorithm: ``RS256``, ``ES256`` or ``EdDSA``.
        key_id: the ``kid`` of its key.
        key: one that fits the algorithm; a new one unless given.
    """

    def __init__(self, issuer: str, algorithm: str = "ES256", key_id: str = "key-1", key: Any = None) -> None:
        self.issuer = issuer
        self.algorithm = algorithm
        self.key_id = key_id
        self.key: Any = key or make_key(algorithm)

    def key_set(self) -> dict[str, Any]:
        """Return the JWK Set that it publishes."""
        public = get_default_algorithms()[self.algorithm].to_jwk(self.key.public_key(), as_dict=True)
        return {"keys": [public | {"kid": self.key_id, "use": "sig", "alg": self.algorithm}]}

    def token(self, now: float, *, key: Any = None, header: dict[str, Any] | None = None, **claims: Any) -> str:
        """Return a token that is valid for an hour from ``now``; a claim given as None is left out.

        Args:
            now: seconds since 1970.
            key: another key to sign with, to forge one.
            header: fields to add to the header.
            claims: claims to add or change.
        """
        standard = {
            "iss": self.issuer,
            "aud": "pii-gateway",
            "sub": "somebody",
            "iat": int(now),
            "exp": int(now) + LIFETIME_SECONDS,
        }
        payload = {name: value for name, value in (standard | claims).items() if value is not None}
        return jwt.encode(
            payload, key or self.key, algorithm=self.algorithm, headers={"kid": self.key_id, **(header or {})}
        )


def make_key(algorithm: str) -> Any:
    """Return a new private key that fits the algorithm."""
    if algorithm.startswith(("RS", "PS")):
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return ed25519.Ed25519PrivateKey.generate() if algorithm == "EdDSA" else ec.generate_private_key(ec.SECP256R1())


def make_issuer_app(issuers: Mapping[str, Issuer], people: Mapping[str, Person] = NOBODY) -> web.Application:
    """Return the service that publishes each issuer's keys at ``/NAME/jwks.json``.

    Args:
        issuers: by name.
        people: who gets a token at ``/tokens/NAME``; whoever asks for it, because this is a sample.
    """

    async def jwks(request: web.Request) -> web.Response:
        issuer = issuers.get(request.match_info["name"])
        if issuer is None:
            return web.Response(status=404)
        return web.Response(text=json.dumps(issuer.key_set()), content_type="application/jwk-set+json")

    async def issue(request: web.Request) -> web.Response:
        person = people.get(request.match_info["person"])
        if person is None:
            return web.Response(status=404)
        return web.Response(text=issuers[person.issuer].token(unix_seconds(), **person.claims()))

    app = web.Application()
    app.add_routes([web.get("/{name}/jwks.json", jwks), web.get("/tokens/{person}", issue)])
    return app
