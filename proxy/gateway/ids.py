# SPDX-License-Identifier: Apache-2.0
"""Request ids: 26 characters that sort by time and cannot be guessed (the ULID layout)."""

import os
from functools import lru_cache
from typing import Final

from proxy.model.request_id import ALPHABET

_RANDOM_LENGTH: Final = 16
"""Characters of five random bits each."""
_DRAWN_AT_ONCE: Final = 256
_PAIRS: Final = [first + second for first in ALPHABET for second in ALPHABET]
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
    milliseconds = int(now * 1000)
    return _render_begin(milliseconds >> 10) + _PAIRS[milliseconds & 1023] + drawn


@lru_cache(maxsize=1)
def _render_begin(number: int) -> str:
    """Render all but the last ten bits of a time, which stay the same for a second."""
    return "".join([_PAIRS[number >> shift & 1023] for shift in (30, 20, 10, 0)])


def _draw() -> str:
    """Draw many random parts at once, and return one of them."""
    letters = os.urandom(_DRAWN_AT_ONCE * _RANDOM_LENGTH).translate(_LETTERS).decode()
    parts = [letters[at : at + _RANDOM_LENGTH] for at in range(0, len(letters), _RANDOM_LENGTH)]
    drawn = parts.pop()
    _drawn.extend(parts)
    return drawn
