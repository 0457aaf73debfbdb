# SPDX-License-Identifier: Apache-2.0
"""Cursors of an API, which a caller is given sealed, and sends back so.

A cursor names a place among all records, those that were dropped too: in clear it would tell of them, and a forged one
would look for them. AES-SIV (RFC 5297) needs no random number: the same cursor is sealed alike for the same caller, and
says nothing else. It opens for that caller, that route and that parameter alone.
"""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Collection

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from proxy.model.decision import Reason
from proxy.model.query import Query, encode


class Seal:
    """Seals cursors, and opens what it sealed.

    Args:
        key: 64 secret bytes (AES-256-SIV).
    """

    __slots__ = ("_cipher",)

    def __init__(self, key: bytes) -> None:
        self._cipher = AESSIV(key)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(key=***)"

    def seal(self, audience: str, route: str, parameter: str, text: str) -> str:
        """Return a cursor as a caller gets it, in characters that no query encodes.

        Args:
            audience: the caller.
            route: that gave it out, and takes it back.
            parameter: of the query, in which it comes back.
            text: the cursor.
        """
        sealed = self._cipher.encrypt(_mark(text), [_mark(audience), _mark(route), _mark(parameter)])
        return urlsafe_b64encode(sealed).rstrip(b"=").decode("ascii")

    def open(self, audience: str, route: str, parameter: str, sealed: str) -> str | None:
        """Return the API's cursor; None if this one was never sealed so."""
        try:
            data = urlsafe_b64decode(sealed + "=" * (-len(sealed) % 4))
            if urlsafe_b64encode(data).rstrip(b"=") != sealed.encode():
                return None
            text = self._cipher.decrypt(data, [_mark(audience), _mark(route), _mark(parameter)])
            return text[1:].decode("utf-8", "surrogatepass")
        except (InvalidTag, ValueError, binascii.Error):
            return None


def unseal_query(query: Query, parameters: Collection[str], open_: Callable[[str, str], str | None]) -> str | Reason:
    """Return the query that goes on to the API: with its own cursors, and else byte for byte as it came.

    Args:
        query: of the request.
        parameters: those that carry cursors.
        open_: returns the API's cursor of a parameter and what came in it; None where it is none of ours.
    """
    opened: dict[str, str] = {}
    for name in parameters:
        found = query.find(name)
        if found is None or len(found) > 1:
            return Reason.CURSOR_INVALID
        for each in found:
            text = open_(name, each.value)
            if text is None:
                return Reason.CURSOR_INVALID
            opened[each.raw] = f"{encode(name)}={encode(text)}"
    return "&".join([opened.get(raw, raw) for raw in query.raw.split("&")]) if opened else query.raw


def _mark(text: str) -> bytes:
    """Return a text as bytes that are never empty: an empty part is not authenticated by every release of OpenSSL."""
    return b"=" + text.encode("utf-8", "surrogatepass")
