# SPDX-License-Identifier: Apache-2.0
"""Which fields of an API's answer reach the caller, as the lines that are sent.

An API answers with the same names in the same order again and again: what becomes of them is worked out once. A field
with a value in which a line ends, or that is no text, does not pass, whatever its name.
"""

from functools import lru_cache
from itertools import compress
from typing import Final

import msgspec

from proxy.model.request import Headers, canonical_name
from proxy.request.headers import CONTROL, NAME, REQUEST_FIELDS, Treatment, render_fields

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
_CONTROLS: Final = bytes(byte for byte in range(128) if CONTROL.match(chr(byte)))
_MAX_KEPT: Final = 128
"""Lists of names, and values of ``Connection``, of which it is kept what becomes of them. An API has a few; one that
makes up names fills a head with them, and each list then takes some 130 KiB."""


class _Plan(msgspec.Struct, frozen=True):
    """What becomes of fields of these names, in this order."""

    passes: tuple[bool, ...]
    """Of each whether it does, unless it is named by another or for its value."""
    lines: str
    """Those that do, with a place for each value."""
    ends: int
    """How many control characters end these lines."""
    has_date: bool
    """Whether ``Date`` is among them."""
    naming: tuple[int, ...]
    """Which of the fields name others that are dropped, too: ``Connection`` (RFC 9110 7.6.1)."""


def render_response_fields(headers: Headers, date: str, *, personal_data: bool) -> bytes:
    """Return the field lines of the API's answer that may reach the caller, each ended by CRLF.

    Args:
        headers: as the API sent them.
        date: when they came, for an answer that does not say itself (RFC 9110 6.6.1).
        personal_data: whether the route carries personal data; its answers are never stored.
    """
    names, values = zip(*headers, strict=True) if headers else ((), ())
    plan = _make_plan(names, personal_data)
    lines = _render(headers, values, plan, personal_data=personal_data)
    return lines if plan.has_date else lines + f"Date: {date}\r\n".encode()


def _render(headers: Headers, values: tuple[str, ...], plan: "_Plan", *, personal_data: bool) -> bytes:
    if plan.naming:
        named = frozenset[str]().union(*[_read_options(values[place]) for place in plan.naming])
        if named:
            return _render_singly(headers, plan, named, personal_data=personal_data)
    try:
        data = (plan.lines % tuple(compress(values, plan.passes))).encode()
    except UnicodeEncodeError:
        return _render_singly(headers, plan, personal_data=personal_data)
    if len(data) - len(data.translate(None, _CONTROLS)) != plan.ends:
        return _render_singly(headers, plan, personal_data=personal_data)
    return data


@lru_cache(maxsize=_MAX_KEPT)
def _make_plan(names: tuple[str, ...], personal_data: bool) -> _Plan:  # noqa: FBT001 - a part of the key
    """Say what becomes of fields of these names. The tables never change: nothing else has a part in it."""
    dropped = RESPONSE_DROPPED | CACHE_FIELDS if personal_data else RESPONSE_DROPPED
    passes = tuple(_passes(name, dropped) for name in names)
    lines = "".join(f"{name.replace('%', '%%')}: %s\r\n" for name in compress(names, passes))
    lines += _NO_STORE if personal_data else ""
    naming = tuple(place for place, name in enumerate(names) if name.lower() == "connection")
    has_date = any(name.lower() == "date" for name in names)
    return _Plan(passes, lines, lines.count("\r") + lines.count("\n"), has_date, naming)


def _passes(name: str, dropped: frozenset[str]) -> bool:
    canonical = canonical_name(name)
    is_ours = canonical in dropped or canonical.startswith(_DROPPED_PREFIXES)
    return not is_ours and NAME.fullmatch(name) is not None


@lru_cache(maxsize=_MAX_KEPT)
def _read_options(value: str) -> frozenset[str]:
    """Return the fields that a ``Connection`` field names, but those that are dropped anyway."""
    return frozenset(canonical_name(option.strip()) for option in value.split(",")) - RESPONSE_DROPPED - {""}


def _render_singly(headers: Headers, plan: _Plan, named: frozenset[str] = frozenset(), *, personal_data: bool) -> bytes:
    """Render field by field: without those that are named, or with a value in which a line ends or that is no text."""
    kept = [
        (name, value)
        for name, value in compress(headers, plan.passes)
        if canonical_name(name) not in named and not CONTROL.search(value)
    ]
    return render_fields(kept) + (_NO_STORE.encode() if personal_data else b"")
