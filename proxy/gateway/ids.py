# SPDX-License-Identifier: Apache-2.0
"""Request ids: 26 characters that sort by time and cannot be guessed (the ULID layout)."""

import os
from functools import lru_cache
from typing import Final

from proxy.model.request_id import ALPHABET

_RANDOM_LENGTH: Final = 16
"""Characters of five random bits each."""
_DRAWN_AT_ONCE: Final = 256
_LETTERS: Final = bytes(ALPHABET[byte % len(ALPHABET)].encode()[0] for byte in range(256))
"""What a random byte becomes: each letter as often as any other, for 256 is a multiple of 32."""

_drawn: list[str] = []
"""Random parts that nobody has taken yet. Taking one is one step, so that no two threads take the same."""
os.register_at_fork(after_in_child=_drawn.clear)  # a child that took them, too, would give the same ids


def make_request_id(now: float) -> str:
    """Return a new id: 48 bits of milliseconds, then 80 random bits.

    Args:
        now: a reading of the wall clock, seconds since 1970.
    """
    try:
        drawn = _drawn.pop()
    except IndexError:
        drawn = _draw()
    return _render_time(int(now * 1000)) + drawn


@lru_cache(maxsize=1)
def _render_time(milliseconds: int) -> str:
    return "".join([ALPHABET[milliseconds >> shift & 31] for shift in range(45, -1, -5)])


def _draw() -> str:
    """Draw many random parts at once, and return one of them."""
    letters = os.urandom(_DRAWN_AT_ONCE * _RANDOM_LENGTH).translate(_LETTERS).decode()
    parts = [letters[at : at + _RANDOM_LENGTH] for at in range(0, len(letters), _RANDOM_LENGTH)]
    drawn = parts.pop()
    _drawn.extend(parts)
    return drawn
