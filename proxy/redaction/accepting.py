# SPDX-License-Identifier: Apache-2.0
"""What codings a caller takes (RFC 9110 12.5.3), what the API is asked for, and what the caller gets."""

import re
from functools import lru_cache
from typing import Final

from proxy.model.request import Headers, canonical_name
from proxy.redaction.codings import ALIASES, CODINGS, IDENTITY

ACCEPT_ENCODING: Final = "accept-encoding"
_ELEMENT: Final = re.compile(
    r"(?P<coding>[A-Za-z0-9!#$%&'*+.^_`|~-]+)(?:[ \t]*;[ \t]*[qQ]=(?P<weight>0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?"
)
"""RFC 9110 12.5.3 ``codings [ weight ]``; 12.4.2 ``weight``."""
_ANY: Final = "*"
_MAX_KEPT: Final = 128
"""Values of which it is kept what they come to: callers have a few, each at most as long as a line of a head."""

_PARTIAL: Final = frozenset({"range", "if-range"})
"""They ask for a part of an answer, which cannot be judged."""
_CONDITIONAL: Final = frozenset({"if-none-match", "if-modified-since", "if-match", "if-unmodified-since"})
"""They ask whether an answer is still what it was: the caller had it filtered, the API knows only the whole."""
_READING: Final = frozenset({"GET", "HEAD"})


def join_accept_encoding(headers: Headers) -> str:
    """Return the ``Accept-Encoding`` of a request, its fields joined (RFC 9110 5.3); empty where there is none."""
    return ", ".join(value for name, value in headers if name.lower() == ACCEPT_ENCODING)


def fit_request(headers: Headers, method: str) -> Headers:
    """Return the fields of a request whose answer is looked into, as they go on to the API.

    None asks for a part of the answer, or for a comparison with what the caller has. The conditions of a write stay
    what they are: they hold of what is written. The codings asked for are those that the caller takes and we read.
    """
    dropped = {ACCEPT_ENCODING, *_PARTIAL, *(_CONDITIONAL if method in _READING else ())}
    kept = [(name, value) for name, value in headers if canonical_name(name) not in dropped]
    return (*kept, ("Accept-Encoding", _narrow(join_accept_encoding(headers))))


@lru_cache(maxsize=_MAX_KEPT)
def choose_coding(used: str, accept_encoding: str) -> str:
    """Return the coding in which the caller gets an answer.

    That which the API used, if the caller takes it, so that nothing grows; else none; one that the caller wants most
    where it takes no answer without. Where it takes none of ours, none either: RFC 9110 12.5.3 lets a server do so.

    Args:
        used: by the API.
        accept_encoding: of the caller's request, joined; empty for none.
    """
    weights = _read_weights(accept_encoding)
    if used != IDENTITY and weights[used]:
        return used
    if weights[IDENTITY]:
        return IDENTITY
    best = max(CODINGS, key=lambda coding: weights[coding])
    return best if weights[best] else IDENTITY


@lru_cache(maxsize=_MAX_KEPT)
def _narrow(accept_encoding: str) -> str:
    weights = _read_weights(accept_encoding)
    taken = sorted((coding for coding in CODINGS if weights[coding]), key=lambda coding: -weights[coding])
    return ", ".join(taken) or IDENTITY


def _read_weights(accept_encoding: str) -> dict[str, int]:
    """Return how much each of our codings is wanted, in thousandths. What is malformed wants nothing."""
    stated: dict[str, int] = {}
    for element in accept_encoding.split(","):
        match = _ELEMENT.fullmatch(element.strip(" \t"))
        if match:
            coding = match["coding"].lower()
            stated[ALIASES.get(coding, coding)] = _read_weight(match["weight"])
    others = stated.get(_ANY)
    weights = {coding: stated.get(coding, others or 0) for coding in CODINGS}
    # Without a word on it, or on all others, an answer without coding is taken.
    weights[IDENTITY] = stated.get(IDENTITY, 1000 if others is None else others)
    return weights


def _read_weight(text: str | None) -> int:
    return 1000 if text is None else round(float(text) * 1000)
