# SPDX-License-Identifier: Apache-2.0
"""``/.well-known/jwks.json``: the public keys of assertions, for those who verify. Nothing else is served here."""

from collections.abc import Callable
from typing import Final

from proxy.admin.serving import Answer, Find, Page

PLACE: Final = "/.well-known/jwks.json"
MAX_AGE_SECONDS: Final = 300
"""How long it may be kept: far shorter than the time from the adding of a key to its first signature."""


def make_jwks(publish: Callable[[], bytes]) -> Find:
    """Return what answers who verifies.

    Args:
        publish: returns the JWK Set as it is now.
    """

    async def keys() -> Answer:
        return Answer(publish(), media_type="application/jwk-set+json", cache=f"public, max-age={MAX_AGE_SECONDS}")

    def find(path: str) -> Page | None:
        return keys if path == PLACE else None

    return find
