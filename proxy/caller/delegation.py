# SPDX-License-Identifier: Apache-2.0
"""The actors of a delegated token (RFC 8693 4.1): who acts now, and who passed it on before."""

from collections.abc import Mapping
from typing import Any, Final

MAX_ACTORS: Final = 8
"""Delegations of one token; RFC 8693 sets no bound."""


def find_actors(claims: Mapping[str, Any]) -> list[Mapping[str, Any]] | None:
    """Return the actors of a token, who acts now first; None if they are not as the RFC has them.

    Each is told by ``sub``, and ``iss`` where that is another issuer than the token's.
    """
    actors: list[Mapping[str, Any]] = []
    current: Mapping[str, Any] = claims
    while "act" in current:
        current = current["act"]
        if len(actors) == MAX_ACTORS or not isinstance(current, dict) or not _is_name(current.get("sub")):
            return None
        if not all(_is_name(current.get(name, "-")) for name in ("iss", "client_id")):
            return None
        actors.append(current)
    return actors


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value)
