# SPDX-License-Identifier: Apache-2.0
"""Tokens of the benchmark: one issuer, one RS256 key of 2048 bits, and tokens that must be refused.

The names are invented. `LISTED_AFFILIATE` is the affiliate that every contender with rules must refuse.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from proxy.clock import unix_seconds

ISSUER: Final = "https://login.example.com"
AUDIENCE: Final = "https://users.example.com"
KEY_ID: Final = "bench-2048"
AFFILIATE: Final = "acme-tokyo"
LISTED_AFFILIATE: Final = "acme-shanghai"


def new_key() -> rsa.RSAPrivateKey:
    """Return a fresh RSA key of 2048 bits."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@dataclass(frozen=True, slots=True)
class Issuer:
    """Sign tokens with one key, and forge them with another."""

    key: rsa.RSAPrivateKey = field(default_factory=new_key)
    forger: rsa.RSAPrivateKey = field(default_factory=new_key)

    def token(self, **changes: object) -> str:
        """Return a valid token, with some claims changed."""
        return sign(claims_for(**changes), self.key)

    def forged_token(self) -> str:
        """Return a token that differs from a valid one only in who signed it."""
        return sign(claims_for(), self.forger)

    def expired_token(self) -> str:
        """Return a token that ended an hour ago, well outside any tolerance for clocks."""
        return self.token(exp=datetime.fromtimestamp(unix_seconds(), UTC) - timedelta(hours=1))

    def public_pem(self) -> bytes:
        """Return the public key as PEM."""
        encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        return self.key.public_key().public_bytes(encoding, form)

    def key_set(self) -> str:
        """Return the public key as a JSON Web Key Set."""
        key = jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        return json.dumps({"keys": [{**key, "kid": KEY_ID, "alg": "RS256", "use": "sig"}]})


def claims_for(**changes: object) -> dict[str, object]:
    """Return the claims of an ordinary employee, valid for one hour."""
    now = datetime.fromtimestamp(unix_seconds(), UTC)
    claims: dict[str, object] = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "e-000417",
        "iat": now,
        "exp": now + timedelta(hours=1),
        "affiliate": AFFILIATE,
        "employment_type": "permanent",
        "residence_country": "JP",
    }
    return claims | changes


def sign(claims: dict[str, object], key: rsa.RSAPrivateKey) -> str:
    """Return a signed token that names the issuer's key, whoever signs."""
    return jwt.encode(claims, key, algorithm="RS256", headers={"kid": KEY_ID})
