# SPDX-License-Identifier: Apache-2.0
"""What a request's id says: when it was asked. The layout is that of a ULID."""

from typing import Final

ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base 32: no I, L, O, U."""
LENGTH: Final = 26
_VALUE: Final = {character: value for value, character in enumerate(ALPHABET)}


def read_instant(request_id: str) -> float | None:
    """Return the instant of an id, in seconds since 1970, None if it is no id of ours."""
    if len(request_id) != LENGTH or not _VALUE.keys() >= set(request_id):
        return None
    milliseconds = 0
    for character in request_id[:10]:
        milliseconds = milliseconds << 5 | _VALUE[character]
    return milliseconds / 1000
