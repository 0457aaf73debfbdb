# SPDX-License-Identifier: Apache-2.0
"""Which fields of an API's answer reach the caller, as the lines that are sent.

An API answers with the same names again and again: what becomes of a name is worked out once. What becomes of a field
with a value in which a line ends, or that is no text, does not depend on its name: it does not pass.
"""

import enum
from functools import lru_cache
from typing import Final

from proxy.model.request import Headers
from proxy.request.headers import CONTROL, NAME, REQUEST_FIELDS, Treatment, canonical_name

RESPONSE_DROPPED: Final = frozenset(
    {
        *(name for name, treatment in REQUEST_FIELDS.items() if treatment in {Treatment.HOP_BY_HOP, Treatment.FRAMING}),
        "server",  # the gateway is who answers
        "alt-svc",  # RFC 7838: would lead the caller round the gateway
        "public-key-pins",
    }
)
"""Fields of the API's answer that do not reach the caller; ``sekisho-*`` neither."""

CACHE_FIELDS: Final = frozenset(
    {
        "cache-control",
        "expires",
        "pragma",
        "age",
        "surrogate-control",
        "edge-control",
        "cdn-cache-control",
        "cloudflare-cdn-cache-control",
        "vercel-cdn-cache-control",
        "netlify-cdn-cache-control",
        "akamai-cache-control",
    }
)
"""Replaced by ``Cache-Control: no-store`` on routes with personal data."""

_DROPPED_PREFIXES: Final = ("sekisho-", "x-accel-")
_NO_STORE: Final = "Cache-Control: no-store\r\n"
"""RFC 9111 5.2.2.5."""
_MAX_KEPT: Final = 1024
"""Names, and lists of names, of which it is kept what becomes of them."""
_NOTHING: Final[frozenset[str]] = frozenset()


class _Fate(enum.Enum):
    """What becomes of a field, by its name."""

    PASSES = enum.auto()
    CACHES = enum.auto()
    """It passes on routes without personal data."""
    CONNECTION = enum.auto()
    """It is dropped, and so is what it names (RFC 9110 7.6.1)."""
    DROPPED = enum.auto()


_PASSES: Final = _Fate.PASSES
_CACHES: Final = _Fate.CACHES
_CONNECTION: Final = _Fate.CONNECTION


def render_response_fields(headers: Headers, *, personal_data: bool) -> bytes:
    """Return the field lines of the API's answer that may reach the caller, each ended by CRLF.

    Args:
        headers: as the API sent them.
        personal_data: whether the route carries personal data; its answers are never stored.
    """
    lines: list[str] = []
    named = _NOTHING
    for name, value in headers:
        fate = _find_fate(name)
        if fate is _PASSES or (fate is _CACHES and not personal_data):
            if value.isprintable() or not CONTROL.search(value):
                lines.append(f"{name}: {value}\r\n")
        elif fate is _CONNECTION:
            named |= _read_options(value)
    if named:
        lines = [line for line in lines if canonical_name(line.partition(":")[0]) not in named]
    if personal_data:
        lines.append(_NO_STORE)
    return "".join(lines).encode()


@lru_cache(maxsize=_MAX_KEPT)
def _find_fate(name: str) -> _Fate:
    """Say what becomes of a field of this name. The table is one and never changes: nothing else has a part in it."""
    canonical = canonical_name(name)
    if name.lower() == "connection":
        return _Fate.CONNECTION
    if canonical in RESPONSE_DROPPED or canonical.startswith(_DROPPED_PREFIXES) or not NAME.fullmatch(name):
        return _Fate.DROPPED
    return _Fate.CACHES if canonical in CACHE_FIELDS else _Fate.PASSES


@lru_cache(maxsize=_MAX_KEPT)
def _read_options(value: str) -> frozenset[str]:
    """Return the fields that a ``Connection`` field names, but those that are dropped anyway."""
    return frozenset(canonical_name(option.strip()) for option in value.split(",")) - RESPONSE_DROPPED - {""}
