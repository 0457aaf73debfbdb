# SPDX-License-Identifier: Apache-2.0
"""Keyed pseudonyms: the same person has the same name in every record, and nobody without the key knows whose.

BLAKE2b in keyed mode (RFC 7693), 128 bits, with a personalisation for each kind of name, so that a caller and a
data subject of the same identifier do not share one.
"""

import hashlib
from typing import Final

KEY_BYTES: Final = 32
_DIGEST_BYTES: Final = 16


class Pseudonyms:
    """Names people by a key.

    Args:
        key: 32 secret bytes.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"a pseudonym key has {KEY_BYTES} bytes, not {len(key)}")
        self._callers = hashlib.blake2b(digest_size=_DIGEST_BYTES, key=key, person=b"caller")
        self._subjects = hashlib.blake2b(digest_size=_DIGEST_BYTES, key=key, person=b"subject")

    def __repr__(self) -> str:
        return "Pseudonyms(key=***)"

    def of_caller(self, principal: str) -> str:
        """Return the name of a caller, ``issuer|subject``."""
        state = self._callers.copy()
        state.update(principal.encode("utf-8", "surrogatepass"))
        return state.hexdigest()

    def of_subject(self, api: str, subject_id: str) -> str:
        """Return the name of a data subject of an API, ``api:hash`` as grants write it."""
        state = self._subjects.copy()
        state.update(f"{api}|{subject_id}".encode("utf-8", "surrogatepass"))
        return f"{api}:{state.hexdigest()}"
