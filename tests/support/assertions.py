# SPDX-License-Identifier: Apache-2.0
"""Keys of assertions that tests know, and assertions read as an API reads them: by PyJWT, from the published keys."""

import json
from pathlib import Path
from typing import Any, Final

import jwt

from proxy.assertion.keys import EDDSA, ES256, AssertionKey, AssertionKeys, make_ring_text

SINCE: Final = 1_600_000_000.0
KEY: Final = AssertionKey(SINCE, EDDSA, b"a" * 32)
NEXT: Final = AssertionKey(SINCE + 1000, ES256, b"b" * 32)
KEYS: Final = AssertionKeys([KEY])


def write_assertion_keys(path: Path, *more: AssertionKey) -> Path:
    """Write a file of keys, and return where."""
    path.write_text(make_ring_text(KEY) + "".join(f"{key.render()}\n" for key in more), encoding="ascii")
    path.chmod(0o600)
    return path


def read_assertion(
    token: str, audience: str = "users", *, now: float | None = None, keys: AssertionKeys = KEYS
) -> dict[str, Any]:
    """Return the claims of an assertion that one of these keys has signed, for this API.

    Args:
        token: the assertion.
        audience: the API.
        now: when it must be valid; None: at this moment of the wall clock.
        keys: whose public part was published.
    """
    published = jwt.PyJWKSet.from_dict(json.loads(keys.publish()))
    header = jwt.get_unverified_header(token)
    assert header.keys() == {"alg", "kid", "typ"}
    assert header["typ"] == "sekisho-decision+jwt"
    key = published[header["kid"]]
    claims: dict[str, Any] = jwt.decode(
        token, key, algorithms=[key.algorithm_name], audience=audience, issuer="sekisho",
        options={"require": ["exp", "iat", "jti"], "verify_exp": now is None, "verify_iat": now is None},
    )  # fmt: skip
    assert now is None or claims["iat"] <= now < claims["exp"]
    return claims
