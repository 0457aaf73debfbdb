# SPDX-License-Identifier: Apache-2.0
"""Request ids: 26 characters that sort by time and cannot be guessed (the ULID layout)."""

import os
from typing import Final

from proxy.model.request_id import ALPHABET

_PAIRS: Final = [first + second for first in ALPHABET for second in ALPHABET]


def make_request_id(now: float) -> str:
    """Return a new id: 48 bits of milliseconds, then 80 random bits.

    Args:
        now: a reading of the wall clock, seconds since 1970.
    """
    number = int(now * 1000) << 80 | int.from_bytes(os.urandom(10))
    return "".join([_PAIRS[number >> shift & 1023] for shift in range(120, -1, -10)])
