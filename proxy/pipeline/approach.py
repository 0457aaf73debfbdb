# SPDX-License-Identifier: Apache-2.0
"""What is known of a request before its target is read: all that follows from its fields and its connection alone.

A caller sends the same fields again and again, and what follows from them costs more than all else that a request does.
So it is worked out once (``Approaches``), and dies with the checkpoint.
"""

from typing import Final, TypeAlias

import msgspec

from proxy.model.api import Api
from proxy.model.decision import Reason
from proxy.model.request import Headers, RequestHead, Target, TokenPlace
from proxy.request.headers import RequestFields

MAX_KEPT: Final = 20_000
"""Approaches that are kept; then all of them go."""
MAX_KEPT_BYTES: Final = 64 * 1024 * 1024
"""Of memory that they take, with the fields that are kept with them."""
FIELD_BYTES: Final = 320
"""What a field takes beside its characters, as received and as it goes on: most of it, where fields are short."""


class Approach(msgspec.Struct, frozen=True):
    """What a request's fields and its connection come to. Nothing in it depends on the time, or on the request line."""

    headers: Headers
    peer_ip: str
    proxied: tuple[str, ...]
    certificate: bytes | None
    """Up to here, what it was made of."""
    fields: RequestFields
    chain: tuple[str, ...]
    """The connection's other end, and what it says of whose request it passes on."""
    shown: bytes | Reason | None
    """The certificate that the request came with, or the reason why that is ambiguous."""
    credentials: tuple[TokenPlace, str] | Reason
    """The raw token and where it stood, or the reason why there is none."""
    host: str
    """In lower case; empty where it is malformed."""
    api: Api | Reason
    """The API that is meant, or the reason why there is none."""
    front: str
    """The field lines that begin what goes to that API; empty where they are those of the upstream, as it declares no
    host (``Checkpoint.fronts``)."""
    rest: bytes
    """The field lines of the caller that go on."""


class Asked(msgspec.Struct, frozen=True):
    """A canonical request to a declared API."""

    approach: Approach
    target: Target
    api: Api
    shown: bytes | None
    """The certificate that it came with."""
    trace: str
    """The id of its trace; empty where it is in none."""
    varying: bytes
    """Field lines that go on beside those of the approach: what is new in each request."""


Key: TypeAlias = tuple[int, str]


class Approaches:
    """Approaches of one checkpoint, found again by everything that they were made of.

    A head is known again by its fields being the very same object, which is kept and so keeps its identity: whoever
    parses heads gives the same one for the same bytes. To compare hundreds of characters would cost more.
    """

    def __init__(self) -> None:
        self._kept: dict[Key, Approach] = {}
        self._bytes = 0

    def find(self, head: RequestHead) -> Approach | None:
        """Return the approach of a head, None if it is not kept."""
        kept = self._kept.get((id(head.headers), head.peer_ip))
        if (
            kept is None
            or kept.headers is not head.headers
            or kept.proxied != head.proxied
            or kept.certificate != head.certificate
        ):
            return None
        return kept

    def keep(self, approach: Approach) -> None:
        """Keep an approach, in bounded memory."""
        size = sum(len(name) + len(value) + FIELD_BYTES for name, value in approach.headers)
        if len(self._kept) >= MAX_KEPT or self._bytes + size > MAX_KEPT_BYTES:
            self._kept.clear()
            self._bytes = 0
        self._kept[id(approach.headers), approach.peer_ip] = approach
        self._bytes += size
